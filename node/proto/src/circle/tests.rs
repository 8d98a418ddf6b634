use super::*;
use crate::{
    admission::{Certificate, Role},
    body::{Body, BodyError},
    keys::{DeviceKey, Domain, IdentityKey},
    limits::NAMED_MAX,
    verify::removal_of,
};

const SPACE: SpaceId = SpaceId([9; 32]);

struct Person {
    device: DeviceKey,
    certificate: Certificate,
}

impl Person {
    fn new(seed: u8) -> Self {
        let identity = IdentityKey::from_seed(&[seed; 32]);
        let device = DeviceKey::from_seed(&[seed + 100; 32]);
        let certificate = Certificate::sign(&identity, &device, 1, Role::Main);
        Self {
            device,
            certificate,
        }
    }

    fn id(&self) -> IdentityId {
        self.certificate.identity
    }

    fn held(&self, seq: u64, under: Option<EntryId>, action: Action) -> Held {
        Held {
            author: self.id(),
            device: self.device.id(),
            seq,
            id: Some(entry(self.device.id(), seq)),
            rule: Rule { under, action },
        }
    }

    fn removes(&self, seq: u64, under: Option<EntryId>, who: &Self, last: u64) -> Held {
        let device = who.device.id();
        let id = entry(device, last);
        let last = LastGood { seq: last, id };
        let signature = who.device.sign(Domain::Entry, &id.0);
        let feeds = vec![(device, Remains { last, signature })];
        let by = (&self.certificate, seq);
        let removal = Removal::sign(&self.device, SPACE, by, under, who.id(), feeds);
        self.held(seq, under, Action::Remove(Box::new(removal)))
    }

    fn hands_over(&self, seq: u64, under: Option<EntryId>, to: &Self, named: &[&Self]) -> Held {
        let mut named: Vec<_> = named
            .iter()
            .map(|one| MemberTag::of(SPACE, one.id()))
            .collect();
        named.sort_unstable();
        let hand_over = HandOver {
            to: to.id(),
            named,
            others: Vec::new(),
        };
        self.held(seq, under, Action::HandOver(Box::new(hand_over)))
    }
}

fn entry(device: DeviceId, seq: u64) -> EntryId {
    EntryId(*blake3::hash(&[&device.0[..], &seq.to_be_bytes()].concat()).as_bytes())
}

/// The same in whatever order the rules come.
fn fold(creator: &Person, rules: &[Held]) -> Government {
    let folded = |rules: Vec<Held>| {
        let of = |who| Ok::<_, ()>(rules.iter().filter(|h| h.author == who).cloned().collect());
        Government::fold(SPACE, creator.id(), of).unwrap()
    };
    let one = folded(rules.to_vec());
    assert_eq!(one, folded(rules.iter().rev().cloned().collect()));
    one
}

#[test]
fn the_creator_owns_it_until_a_hand_over() {
    let [ana, ben, cem] = [1, 2, 3].map(Person::new);
    let empty = fold(&ana, &[]);
    assert_eq!((empty.owner(), empty.closed), (Some(ana.id()), false));
    let over = ana.hands_over(5, None, &ben, &[&ben, &cem]);
    let under = over.id;
    let rules = [
        ana.removes(3, None, &cem, 7),
        over,
        // Too late, or not under the right term.
        ana.held(6, None, Action::Close(None)),
        ben.held(2, None, Action::Close(None)),
        cem.held(2, under, Action::Close(None)),
        // In time.
        ben.held(3, under, Action::Close(Some(EntryId([4; 32])))),
    ];
    let now = fold(&ana, &rules);
    assert_eq!((now.owner(), now.under()), (Some(ben.id()), under));
    assert!(!now.closed && now.closed_threads.contains(&EntryId([4; 32])));
    assert_eq!(
        now.cut(cem.id(), cem.device.id()).map(|cut| cut.seq),
        Some(7)
    );
    assert_eq!(now.rules, 3);
    let back = ben.hands_over(9, under, &ana, &[&ana]);
    let again = ana.held(7, back.id, Action::Close(None));
    let circular = fold(&ana, &[&rules[..], &[back, again]].concat());
    assert_eq!(circular.owner(), Some(ana.id()));
    assert!(circular.closed && circular.terms().len() == 3);
}

#[test]
fn a_hand_over_to_somebody_who_is_no_member_does_not_count() {
    let [ana, ben, cem] = [1, 2, 3].map(Person::new);
    for rules in [
        vec![ana.hands_over(5, None, &ben, &[&cem])],
        vec![ana.hands_over(5, None, &ana, &[&ana])],
        vec![
            ana.removes(4, None, &ben, 1),
            ana.hands_over(5, None, &ben, &[&ben]),
        ],
        vec![cem.hands_over(5, None, &ben, &[&ben])],
    ] {
        assert_eq!(fold(&ana, &rules).owner(), Some(ana.id()));
    }
    // The first that counts is the one.
    let rules = [
        ana.hands_over(4, None, &ben, &[&cem]),
        ana.hands_over(5, None, &cem, &[&ben, &cem]),
        ana.hands_over(6, None, &ben, &[&ben, &cem]),
    ];
    assert_eq!(fold(&ana, &rules).owner(), Some(cem.id()));
}

#[test]
fn an_owner_removes_neither_themselves_nor_what_made_them_the_owner() {
    let [ana, ben, cem] = [1, 2, 3].map(Person::new);
    let over = ana.hands_over(5, None, &ben, &[&ben]);
    let under = over.id;
    let rules = |last| vec![over.clone(), ben.removes(2, under, &ana, last)];
    assert!(!fold(&ana, &rules(4)).is_removed(ana.id()));
    assert!(fold(&ana, &rules(5)).is_removed(ana.id()));
    assert!(!fold(&ana, &[ana.removes(1, None, &ana, 0)]).is_removed(ana.id()));
    assert!(!fold(&ana, &[cem.removes(1, None, &ben, 0)]).is_removed(ben.id()));
    // Of two removals the lower place counts.
    let twice = [ana.removes(1, None, &ben, 8), ana.removes(2, None, &ben, 6)];
    let cut = fold(&ana, &twice).cut(ben.id(), ben.device.id()).unwrap();
    assert_eq!((cut.seq, cut.by.1), (6, 2));
    assert_eq!(
        fold(&ana, &twice).cut(ben.id(), ana.device.id()),
        None,
        "a feed that isn't named"
    );
}

#[test]
fn a_chain_lets_in_whom_an_owner_invited_in_time() {
    let [ana, ben, cem, dora] = [1, 2, 3, 4].map(Person::new);
    let admit = |chain: &Chain, by: &Person, whom: &Person| {
        chain
            .admit(SPACE, &by.certificate, &by.device, whom.id())
            .unwrap()
    };
    let to_ben = admit(&Chain::root(), &ana, &ben);
    let to_cem = admit(&Chain::root(), &ana, &cem);
    let by_ben = admit(&to_ben, &ben, &dora);
    let before = fold(&ana, &[]);
    assert!(before.admits(&Chain::root(), ana.id()) && before.admits(&to_cem, cem.id()));
    assert!(!before.admits(&by_ben, dora.id()), "Ben isn't the owner");
    let after = fold(&ana, &[ana.hands_over(5, None, &ben, &[&ben])]);
    assert!(after.admits(&to_ben, ben.id()) && after.admits(&by_ben, dora.id()));
    assert!(!after.admits(&to_cem, cem.id()), "not named, so too late");
    let named = fold(&ana, &[ana.hands_over(5, None, &ben, &[&ben, &cem])]);
    assert!(named.admits(&to_cem, cem.id()));
}

#[test]
fn so_many_rules_and_owners_count_and_no_more() {
    let people: Vec<Person> = (1..=100).map(Person::new).collect();
    let mut rules = Vec::new();
    let mut under = None;
    for pair in people.windows(2) {
        let over = pair[0].hands_over(1, under, &pair[1], &[&pair[1]]);
        under = over.id;
        rules.push(over);
    }
    assert_eq!(fold(&people[0], &rules).terms().len(), TERMS_MAX);
    // Hand-overs that don't count take no room from others, nor have any without end.
    let [ana, ben] = [&people[0], &people[1]];
    let empty = (1..=HAND_OVERS_MAX as u64).map(|n| ana.hands_over(n, None, ben, &[]));
    let mut rules: Vec<Held> = empty.collect();
    rules.push(ana.hands_over(500, None, ben, &[ben]));
    assert_eq!(fold(ana, &rules).owner(), Some(ana.id()));
    rules.remove(0);
    assert_eq!(fold(ana, &rules).owner(), Some(ben.id()));
    let many = (1..=RULES_MAX as u64 + 9).map(|n| {
        let close = n <= RULES_MAX as u64;
        let action = if close {
            Action::Close(None)
        } else {
            Action::Reopen(None)
        };
        ana.held(n, None, action)
    });
    let government = fold(ana, &many.collect::<Vec<_>>());
    assert!(government.closed && government.rules == RULES_MAX);
}

#[test]
fn a_removal_holds_as_it_was_signed_only() {
    let [ana, ben] = [1, 2].map(Person::new);
    let held = ana.removes(3, None, &ben, 7);
    let bytes = Body::Rule(Box::new(held.rule)).encode();
    let removal = removal_of(&bytes).unwrap();
    assert!(removal.holds(SPACE) && !removal.holds(SpaceId([8; 32])));
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        let holds = removal_of(&bad).is_some_and(|removal| removal.holds(SPACE));
        assert!(!holds, "byte {at}");
    }
}

/// What is signed by nobody but the owner would let them put words into the mouth of whom they remove.
#[test]
fn a_feed_ends_with_an_entry_that_its_own_device_signed() {
    let [ana, ben] = [1, 2].map(Person::new);
    let last = LastGood {
        seq: 7,
        id: EntryId([0x66; 32]),
    };
    for (signer, holds) in [(&ben, true), (&ana, false)] {
        let signature = signer.device.sign(Domain::Entry, &last.id.0);
        let feeds = vec![(ben.device.id(), Remains { last, signature })];
        let by = (&ana.certificate, 3);
        let removal = Removal::sign(&ana.device, SPACE, by, None, ben.id(), feeds);
        assert_eq!(removal.holds(SPACE), holds);
    }
}

#[test]
fn lists_in_rules_are_sorted_and_bounded() {
    let refused = |hand_over| {
        let rule = Rule {
            under: None,
            action: Action::HandOver(Box::new(hand_over)),
        };
        let bytes = Body::Rule(Box::new(rule)).encode();
        matches!(Body::decode(&bytes), Err(BodyError::Field { .. }))
    };
    let of = |named: Vec<MemberTag>| HandOver {
        to: IdentityId([1; 32]),
        named,
        others: Vec::new(),
    };
    let tags = |n: usize| -> Vec<MemberTag> {
        (0..n as u128).map(|n| MemberTag(n.to_be_bytes())).collect()
    };
    assert!(!refused(of(tags(NAMED_MAX))));
    assert!(refused(of(tags(NAMED_MAX + 1))));
    assert!(refused(of(tags(2).into_iter().rev().collect())));
    assert!(refused(of(vec![MemberTag([1; 16]); 2])));
}
