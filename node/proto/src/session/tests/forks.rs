//! Forks, revocations and holes: all end alike, whoever learnt what first.

use super::*;
use crate::{
    body::{Genesis, Revocation},
    frame::Data,
    ids::EntryId,
};

#[test]
fn a_fork_ends_alike_on_both_sides_and_its_proof_is_passed_on() {
    let (mut one, other, space) = pair((10, 3));
    let cem = Person::new(3);
    let mut third = Memory::new(cem.clone());
    third.join_forum(&one, space);
    third.write(space, 5);
    let mut liar = third.clone();
    third.write_as(space, 2, "truth");
    liar.write_as(space, 4, "lie");
    one.copy_feed(&third, space, cem.device.id());
    let mut other = other;
    other.copy_feed(&liar, space, cem.device.id());
    let (one, other) = meet(one, other, &BTreeSet::new(), (1, 0));
    let fork = one.store.frontier(space, cem.device.id()).unwrap().unwrap();
    assert_eq!(fork.fork, Some(6), "genesis and five entries are shared");
    assert_eq!(
        Some(fork),
        other.store.frontier(space, cem.device.id()).unwrap()
    );
    assert_eq!(one.store.contents(space), other.store.contents(space));
    let mut fourth = Memory::new(Person::new(4));
    fourth.join_forum(&one.store, space);
    let (one, fourth) = meet(one.store, fourth, &BTreeSet::new(), (1, 0));
    assert_eq!(
        fourth.store.frontier(space, cem.device.id()).unwrap(),
        Some(fork)
    );
    assert_eq!(one.store.contents(space), fourth.store.contents(space));
}

#[test]
fn a_hole_is_filled_by_whoever_has_the_body() {
    let (one, other, space) = pair((10, 3));
    let (one, mut other) = meet(one, other, &BTreeSet::new(), (1, 0));
    let device = one.store.me.device.id();
    other.store.drop_body(space, device, 4);
    assert_ne!(
        one.store.digest(space).unwrap(),
        other.store.digest(space).unwrap()
    );
    let (one, other) = meet(one.store, other.store, &BTreeSet::from([space]), (1, 1));
    assert_eq!(one.store.contents(space), other.store.contents(space));
}

/// A body that fills a hole brought all other holes to be asked for again, so that n holes cost n
/// times n bodies.
#[test]
fn many_holes_cost_one_body_each() {
    let (one, other, space) = pair((700, 3));
    let (one, mut other) = meet(one, other, &BTreeSet::new(), (1, 0));
    let device = one.store.me.device.id();
    for seq in 1..=600 {
        other.store.drop_body(space, device, seq);
    }
    let (one, other) = meet(one.store, other.store, &BTreeSet::from([space]), (1, 1));
    assert_eq!(one.store.contents(space), other.store.contents(space));
    assert_eq!(one.bodies_sent, 600);
}

/// Both lack bodies that the other has.
#[test]
fn holes_on_both_sides_are_filled() {
    let (one, other, space) = pair((300, 3));
    let (mut one, mut other) = meet(one, other, &BTreeSet::new(), (1, 0));
    let device = one.store.me.device.id();
    for seq in 1..=200 {
        let side = if seq % 2 == 0 { &mut one } else { &mut other };
        side.store.drop_body(space, device, seq);
    }
    let (one, other) = meet(one.store, other.store, &BTreeSet::from([space]), (1, 1));
    assert_eq!(one.store.contents(space), other.store.contents(space));
    assert!(one.bodies_sent + other.bodies_sent <= 300);
}

/// A fork that is learnt in the middle of a meeting, over another one, reaches this peer too,
/// although the two had nothing to compare.
#[test]
fn a_fork_learnt_elsewhere_is_told_to_a_peer_that_was_equal() {
    let (mut one, other, space) = pair((10, 3));
    let cem = Person::new(3);
    let mut third = Memory::new(cem.clone());
    third.join_forum(&one, space);
    third.write(space, 5);
    let mut liar = third.clone();
    third.write_as(space, 2, "truth");
    liar.write_as(space, 4, "lie");
    one.copy_feed(&third, space, cem.device.id());
    let (one, other) = meet(one, other, &BTreeSet::new(), (1, 0));
    let (mut one, mut other) = meet(one.store, other.store, &BTreeSet::from([space]), (1, 1));
    assert_eq!(one.equal, BTreeSet::from([space]));
    // Somebody else brings the other branch.
    let mut elsewhere = Memory::new(Person::new(5));
    elsewhere.join_forum(&one.store, space);
    elsewhere.copy_feed(&liar, space, cem.device.id());
    let (taught, _) = meet(one.store.clone(), elsewhere, &BTreeSet::new(), (1, 0));
    one.store = taught.store;
    one.session.handle_local(space, cem.device.id());
    talk(&mut one, &mut other, |_| 0);
    let fork = other.store.frontier(space, cem.device.id()).unwrap();
    assert_eq!(fork.unwrap().fork, Some(6));
    assert_eq!(one.store.frontier(space, cem.device.id()).unwrap(), fork);
}

/// The proof is on its way to the disk when the prefix comes, which ends unsigned.
#[test]
fn a_proof_counts_before_it_is_stored() {
    let (mut one, other, space) = pair((1, 1));
    let cem = Person::new(3);
    let mut third = Memory::new(cem.clone());
    third.join_forum(&one, space);
    third.write(space, 5);
    let mut liar = third.clone();
    third.write_as(space, 2, "truth");
    liar.write_as(space, 4, "lie");
    one.copy_feed(&third, space, cem.device.id());
    let mut elsewhere = Memory::new(Person::new(5));
    elsewhere.join_forum(&one, space);
    elsewhere.copy_feed(&liar, space, cem.device.id());
    let (one, _) = meet(one, elsewhere, &BTreeSet::new(), (1, 0));
    let (a, b) = (one.store.me.clone(), other.me.clone());
    let mut one = Side::new(one.store, true, &b, &BTreeSet::new(), (1, 0));
    let mut other = Side::new(other, false, &a, &BTreeSet::new(), (1, 0));
    // The other side's disk is slow: it does nothing until all frames came.
    let mut late = VecDeque::new();
    for _ in 0..50 {
        one.drive();
        while let Some(output) = other.session.poll(&other.store).unwrap() {
            match output {
                Output::Control(bytes) => other.post(Lane::Control, bytes),
                work => late.push_back(work),
            }
        }
        while let Some(frame) = other.session.poll_data(&other.store, |_| true).unwrap() {
            other.post(Lane::Space(frame.channel), frame.bytes);
        }
        for (from, to) in [(true, ()), (false, ())] {
            let (from, to) = match (from, to) {
                (true, ()) => (&mut one, &mut other),
                (false, ()) => (&mut other, &mut one),
            };
            for (lane, frames) in std::mem::take(&mut from.wire) {
                for frame in frames {
                    to.session
                        .handle_frame(lane, &frame, NOW, &to.store)
                        .unwrap();
                }
            }
        }
    }
    assert!(
        late.iter()
            .any(|work| matches!(work, Output::ImportEnd { .. }))
    );
    for work in late {
        other.store(work);
    }
    talk(&mut one, &mut other, |_| 0);
    assert!(other.rejected.is_empty(), "{:?}", other.rejected);
    let fork = other.store.frontier(space, cem.device.id()).unwrap();
    assert_eq!(fork, one.store.frontier(space, cem.device.id()).unwrap());
    assert_eq!(fork.unwrap().base, 6);
}

/// Two branches fork again, both at the same place. The frontiers name that place alike, so the
/// proofs are told by what stands below it.
#[test]
fn two_forks_at_one_place_end_alike() {
    let mut ana = Memory::new(Person::new(1));
    let space = ana.create_forum(1);
    let cem = Person::new(9);
    let device = cem.device.id();
    let mut trunk = Memory::new(cem);
    trunk.join_forum(&ana, space);
    trunk.write(space, 3);
    let mut people = Vec::new();
    for (seed, (branch, twig)) in (10..).zip([("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")]) {
        let mut author = trunk.clone();
        author.write_as(space, 3, branch);
        author.write_as(space, 2, &format!("{branch}{twig}"));
        let mut person = Memory::new(Person::new(seed));
        person.join_forum(&ana, space);
        person.copy_feed(&author, space, device);
        people.push(person);
    }
    let mut meet_two = |a: usize, b: usize| {
        let (one, other) = (people[a].clone(), people[b].clone());
        let (one, other) = meet(one, other, &BTreeSet::new(), (1, 0));
        (people[a], people[b]) = (one.store, other.store);
        people
            .iter()
            .map(|person| person.frontier(space, device).unwrap().unwrap())
            .collect()
    };
    let _: Vec<Frontier> = meet_two(0, 1);
    let frontiers = meet_two(2, 3);
    assert_eq!((frontiers[0].fork, frontiers[2].fork), (Some(7), Some(7)));
    assert_ne!(frontiers[0].top, frontiers[2].top);
    for (a, b) in [(0, 2), (0, 1), (2, 3), (1, 3), (0, 3)] {
        meet_two(a, b);
    }
    let frontiers = meet_two(1, 2);
    assert!(
        frontiers.iter().all(|frontier| *frontier == frontiers[0]),
        "{frontiers:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// An author forks many times, branches of branches too, and people learn of it in any order:
    /// when everybody met everybody, all hold the same.
    #[test]
    fn all_end_alike_whatever_branches_there_are(shapes in proptest::collection::vec((any::<prop::sample::Index>(), 0..12_u64, 1..8_u64), 1..5), holders in proptest::collection::vec(any::<prop::sample::Index>(), 4), order in proptest::collection::vec((0..4_usize, 0..4_usize), 0..12)) {
        let mut ana = Memory::new(Person::new(1));
        let space = ana.create_forum(1);
        let cem = Person::new(9);
        let device = cem.device.id();
        let mut trunk = Memory::new(cem);
        trunk.join_forum(&ana, space);
        trunk.write(space, 8);
        let mut branches = vec![trunk];
        for (n, (parent, keep, count)) in shapes.into_iter().enumerate() {
            let mut branch = parent.get(&branches).clone();
            branch.cut(space, device, 1 + keep);
            branch.write_as(space, count, &format!("branch {n}"));
            branches.push(branch);
        }
        let mut people: Vec<Memory> = (10..14_u8).map(|seed| {
            let mut person = Memory::new(Person::new(seed));
            person.join_forum(&ana, space);
            person
        }).collect();
        for (person, holder) in people.iter_mut().zip(holders) {
            person.copy_feed(holder.get(&branches), space, device);
        }
        let everybody = (0..4).flat_map(|_| (0..4).flat_map(|a| (0..4).map(move |b| (a, b))));
        for (a, b) in order.into_iter().chain(everybody).filter(|(a, b)| a != b) {
            let (left, right) = meet(people[a].clone(), people[b].clone(), &BTreeSet::new(), (1, 0));
            (people[a], people[b]) = (left.store, right.store);
        }
        for person in &people[1..] {
            prop_assert_eq!(person.frontier(space, device).unwrap(), people[0].frontier(space, device).unwrap());
            prop_assert_eq!(person.contents(space), people[0].contents(space));
        }
    }
}

fn end_of(person: &Person, store: &Memory, space: SpaceId, seq: u64) -> EndProof {
    let device = person.device.id();
    let (_, id, _) = store
        .contents(space)
        .into_iter()
        .filter(|(feed, ..)| *feed == device)
        .nth(seq as usize)
        .unwrap();
    let revocation = Revocation::sign(&person.identity, space, device, seq, id);
    EndProof::Revocation(Body::Revocation(Box::new(revocation)).encode())
}

/// The entry that carried a revocation may be gone, cut by another end: it travels beside it.
#[test]
fn a_revocation_reaches_who_holds_nothing_part_or_all_of_the_feed() {
    for held in [None, Some(4), Some(9)] {
        let (mut one, mut other, space) = pair((1, 1));
        let cem = Person::new(3);
        let device = cem.device.id();
        let mut third = Memory::new(cem.clone());
        third.join_forum(&one, space);
        third.write(space, 8);
        one.copy_feed(&third, space, device);
        if let Some(held) = held {
            other.copy_feed(&third, space, device);
            other.cut(space, device, held);
        }
        one.import_end(space, device, &end_of(&cem, &third, space, 5))
            .unwrap();
        let (one, other) = meet(one, other, &BTreeSet::new(), (1, 0));
        let frontier = one.store.frontier(space, device).unwrap();
        assert_eq!(
            frontier.map(|own| (own.base, own.revoked)),
            Some((6, Some(5)))
        );
        assert_eq!(other.store.frontier(space, device).unwrap(), frontier);
        assert_eq!(one.store.contents(space), other.store.contents(space));
        assert!(one.rejected.is_empty() && other.rejected.is_empty());
    }
}

/// One follows the other branch, or cut the feed at a fork, at its very beginning too.
#[test]
fn a_revocation_beats_a_fork_on_both_sides() {
    for shared in [0, 5] {
        let (mut one, mut other, space) = pair((1, 1));
        let cem = Person::new(3);
        let device = cem.device.id();
        let mut third = Memory::new(cem.clone());
        third.join_forum(&one, space);
        third.write(space, shared);
        let mut liar = third.clone();
        if shared == 0 {
            liar = Memory::new(cem.clone());
            liar.join_forum(&one, space);
            liar.cut(space, device, 0);
            let genesis = Genesis {
                certificate: cem.certificate.clone(),
                name: "Somebody",
                chain: liar.chain(space).unwrap().clone(),
            };
            liar.write_body(space, &Body::Genesis(Box::new(genesis)));
        }
        third.write_as(space, 3, "truth");
        liar.write_as(space, 4, "lie");
        one.copy_feed(&third, space, device);
        other.copy_feed(&liar, space, device);
        // The other learns of the fork first.
        let mut elsewhere = Memory::new(Person::new(5));
        elsewhere.join_forum(&one, space);
        elsewhere.copy_feed(&third, space, device);
        let (_, taught) = meet(elsewhere, other, &BTreeSet::new(), (1, 0));
        let frontier = taught.store.frontier(space, device).unwrap().unwrap();
        assert_eq!(
            frontier.fork,
            Some(if shared == 0 { 0 } else { shared + 1 })
        );
        let end = end_of(&cem, &third, space, shared + 3);
        one.import_end(space, device, &end).unwrap();
        let (one, other) = meet(one, taught.store, &BTreeSet::new(), (1, 0));
        let frontier = one.store.frontier(space, device).unwrap().unwrap();
        assert_eq!(frontier.revoked, Some(shared + 3));
        assert_eq!(frontier.base, shared + 4);
        assert_eq!(other.store.frontier(space, device).unwrap(), Some(frontier));
        assert_eq!(one.store.contents(space), other.store.contents(space));
    }
}

/// Two people say different last words about one device: the lower counts.
#[test]
fn of_two_revocations_the_lower_counts_everywhere() {
    let (mut one, mut other, space) = pair((1, 1));
    let cem = Person::new(3);
    let device = cem.device.id();
    let mut third = Memory::new(cem.clone());
    third.join_forum(&one, space);
    third.write(space, 8);
    for (node, seq) in [(&mut one, 6), (&mut other, 3)] {
        node.copy_feed(&third, space, device);
        node.import_end(space, device, &end_of(&cem, &third, space, seq))
            .unwrap();
    }
    let (one, other) = meet(one, other, &BTreeSet::new(), (1, 0));
    let frontier = one.store.frontier(space, device).unwrap();
    assert_eq!(frontier.map(|own| own.revoked), Some(Some(3)));
    assert_eq!(other.store.frontier(space, device).unwrap(), frontier);
}

/// What anybody else says of a device ends nothing, and a session with such a peer ends.
#[test]
fn a_foreign_revocation_ends_nothing() {
    let (one, other, space) = pair((5, 5));
    let (mut one, _) = meet(one, other, &BTreeSet::new(), (1, 0));
    let device = one.store.me.device.id();
    let channel = *one.session.by_space.get(&space).unwrap();
    let stranger = Person::new(9);
    let revocation = Revocation::sign(&stranger.identity, space, device, 0, EntryId([7; 32]));
    let other_space = SpaceId([9; 32]);
    let mine = one.store.me.clone();
    let elsewhere = Revocation::sign(&mine.identity, other_space, device, 0, EntryId([7; 32]));
    for revocation in [revocation, elsewhere] {
        let body = Body::Revocation(Box::new(revocation)).encode();
        let frame = Data::Revocation {
            device,
            body: &body,
        }
        .encode();
        let lane = Lane::Space(channel);
        one.session
            .handle_frame(lane, &frame, NOW, &one.store)
            .unwrap();
    }
    one.drive();
    assert_eq!(
        one.rejected,
        [Reject::EndOfUnknownFeed, Reject::RevocationProof]
    );
    let frontier = one.store.frontier(space, device).unwrap().unwrap();
    assert_eq!((frontier.base, frontier.revoked), (6, None));
}

/// The body that fills a hole on one branch was sent for the place on the other: refusing it took
/// back what was just asked for, to find where the two part. Found by the simulator.
#[test]
fn a_hole_on_another_branch_does_not_hide_the_fork() {
    for shared in [0, 3] {
        let (mut one, mut other, space) = pair((1, 1));
        let cem = Person::new(3);
        let device = cem.device.id();
        let mut third = Memory::new(cem.clone());
        third.join_forum(&one, space);
        third.write(space, shared);
        let mut liar = third.clone();
        third.write_as(space, 8, "truth");
        liar.write_as(space, 1, "lie");
        one.copy_feed(&third, space, device);
        other.copy_feed(&liar, space, device);
        other.drop_body(space, device, shared as usize + 1);
        let (one, other) = meet(one, other, &BTreeSet::new(), (1, 0));
        let frontier = one.store.frontier(space, device).unwrap();
        assert_eq!(frontier.map(|own| own.fork), Some(Some(shared + 1)));
        assert_eq!(other.store.frontier(space, device).unwrap(), frontier);
        assert_eq!(one.store.contents(space), other.store.contents(space));
    }
}

/// A feed was asked for, and its end learnt before it was sent: what is left of it ends without a
/// signature, so the end goes first. Found by the simulator.
#[test]
fn an_end_that_is_learnt_while_a_feed_is_sent_goes_before_the_rest() {
    let (mut one, mut other, space) = pair((1, 1));
    let cem = Person::new(3);
    let device = cem.device.id();
    let mut third = Memory::new(cem.clone());
    third.join_forum(&one, space);
    third.write(space, 8);
    for node in [&mut one, &mut other] {
        node.copy_feed(&third, space, device);
        node.cut(space, device, 3);
    }
    let (mut one, other) = meet(one, other, &BTreeSet::new(), (1, 0));
    one.session.handle_local(space, device);
    let (mut one, mut other) = (one, other);
    talk(&mut one, &mut other, |_| 0);
    one.store.copy_feed(&third, space, device);
    one.store
        .import_end(space, device, &end_of(&cem, &third, space, 5))
        .unwrap();
    let channel = *one.session.by_space.get(&space).unwrap();
    let feeds = vec![(device, 3)];
    let want = Control::Want { channel, feeds }.encode();
    one.session
        .handle_frame(Lane::Control, &want, NOW, &one.store)
        .unwrap();
    let frames = std::iter::from_fn(|| one.session.poll_data(&one.store, |_| true).unwrap());
    let kinds: Vec<u8> = frames.map(|frame| frame.bytes[0]).collect();
    assert_eq!(kinds, [0x24, 0x20]);
}
