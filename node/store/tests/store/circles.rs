//! Circles: whatever order rules, removals and everything else come in, nodes end equal, and what
//! was cut off leaves no trace.

use proptest::prelude::*;
use proto::{
    DeviceId, EntryId, IdentityId, SpaceId,
    admission::Chain,
    body::{
        Body, Rule,
        rule::{Action, HandOver, MemberTag, Remains, Removal},
    },
    keys::Domain,
    merkle::Prefix,
    space::SpaceKind,
    verify::{LastGood, Reject},
};
use store::{ImportError, Standing, Store, Txn};

use crate::support::{
    Device, Place, T0, Took, healthy, post, revocation, runs, settle, take, thread, try_post, write,
};

fn ruled(under: Option<EntryId>, action: Action) -> Body<'static> {
    Body::Rule(Box::new(Rule { under, action }))
}

/// What one node writes when it removes somebody of whom it holds this much.
fn removal(
    store: &Store,
    circle: &Place,
    by: &Device,
    under: Option<EntryId>,
    who: &Device,
) -> Body<'static> {
    let snapshot = store.read().unwrap();
    let facts = |device| snapshot.facts(circle.id(), device).unwrap();
    let last = facts(who.id()).head;
    let feeds = last.next.checked_sub(1).map(|seq| {
        let id = last.top;
        let last = LastGood { seq, id };
        let signature = who.key.sign(Domain::Entry, &id.0);
        (who.id(), Remains { last, signature })
    });
    let place = facts(by.id()).head.next;
    let feeds = feeds.into_iter().collect();
    let by_device = (&by.certificate, place);
    let person = who.person();
    let removal = Removal::sign(&by.key, circle.id(), by_device, under, person, feeds);
    Body::Rule(Box::new(Rule::removal(removal)))
}

fn hand_over(circle: &Place, to: &Device, named: &[&Device]) -> Action {
    let mut named: Vec<_> = named
        .iter()
        .map(|one| MemberTag::of(circle.id(), one.person()))
        .collect();
    named.sort_unstable();
    Action::HandOver(Box::new(HandOver {
        to: to.person(),
        named,
        others: Vec::new(),
    }))
}

#[derive(Debug, Clone)]
enum Message {
    Run(DeviceId, Vec<u8>),
    Alone(Vec<u8>),
}

/// A circle with two owners one after the other, who both remove, and people who were let in late.
struct History {
    circle: Place,
    people: [Device; 5],
    messages: Vec<Message>,
    /// What Cem wrote before he was removed, in entries.
    cem: u64,
}

const ANA: usize = 0;
const BEN: usize = 1;
const CEM: usize = 2;
const DORA: usize = 3;
const EVA: usize = 4;

fn history() -> History {
    let people = [1, 2, 3, 4, 5].map(|seed| Device::new(seed, 0));
    let [ana, ben, cem, dora, eva] = &people;
    let mut circle = Place::new(SpaceKind::Circle, "Quiet", &[ana, ben, cem]);
    let id = circle.id();
    let to_ben = circle.chains[&ben.person()].clone();
    let by_ben = to_ben
        .admit(id, &ben.certificate, &ben.key, dora.person())
        .unwrap();
    // Ana invites Eva when she isn't the owner any more.
    let late = Chain::root()
        .admit(id, &ana.certificate, &ana.key, eva.person())
        .unwrap();
    circle.chains.insert(dora.person(), by_ben);
    circle.chains.insert(eva.person(), late);
    let stores: Vec<Store> = people
        .iter()
        .map(|_| {
            let store = Store::in_memory().unwrap();
            circle.join(&store);
            store
        })
        .collect();
    let write_at = |who: usize, body: &Body<'_>| {
        post(&stores[who], &circle, &people[who], T0, body);
    };
    let bring = |to: usize, from: usize| {
        let device = people[from].id();
        for run in runs(&stores[from], id, device) {
            let _ = take(&stores[to], id, device, &run, T0);
        }
    };
    let all: Vec<(usize, usize)> = (0..3)
        .flat_map(|to| (0..3).map(move |of| (to, of)))
        .collect();
    for who in [ANA, BEN, CEM] {
        write_at(who, &thread("Hello", "I am here"));
    }
    for (to, of) in all {
        bring(to, of);
    }
    write_at(CEM, &thread("More", "Before"));
    bring(BEN, CEM);
    let cem_held = stores[BEN].read().unwrap().facts(id, cem.id()).unwrap();
    let action = hand_over(&circle, ben, &[ana, ben, cem]);
    let over = post(&stores[ANA], &circle, ana, T0, &ruled(None, action)).id;
    // What Ana decides now is too late, and her own node knows.
    write_at(ANA, &ruled(None, Action::Close(None)));
    write_at(ANA, &removal(&stores[ANA], &circle, ana, None, ben));
    bring(BEN, ANA);
    write_at(BEN, &removal(&stores[BEN], &circle, ben, Some(over), cem));
    write_at(BEN, &thread("Later", "Without Cem"));
    write_at(CEM, &thread("After", "Nobody is to read this"));
    bring(DORA, ANA);
    bring(DORA, BEN);
    write_at(DORA, &thread("Hello", "By Ben's invitation"));
    // Dora's own node lets her write; Eva's hasn't heard that Ana is no owner.
    write_at(EVA, &thread("Hello", "Too late"));
    let mut messages = Vec::new();
    for (store, device) in stores.iter().zip(&people) {
        let feed = runs(store, id, device.id());
        messages.extend(feed.into_iter().map(|run| Message::Run(device.id(), run)));
        let snapshot = store.read().unwrap();
        let alone = snapshot.revocation(id, cem.id()).unwrap();
        messages.extend(alone.map(Message::Alone));
    }
    History {
        circle,
        people,
        messages,
        cem: cem_held.head.next,
    }
}

/// Takes messages until they bring nothing new.
fn take_all(store: &Store, id: SpaceId, messages: &[Message]) {
    loop {
        let before = store.read().unwrap().digest(id).unwrap();
        for message in messages {
            match message {
                Message::Run(device, run) => {
                    let _ = take(store, id, *device, run, T0);
                }
                Message::Alone(body) => {
                    let body = body.clone();
                    let import = move |txn: &mut Txn<'_>| Ok(txn.import_removal(id, &body));
                    let _ = settle(write(store, import).unwrap());
                }
            }
        }
        if store.read().unwrap().digest(id).unwrap() == before {
            return;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn entries_in_any_order_end_equal(order in Just(history().messages).prop_shuffle()) {
        let History { circle, people, messages, cem } = history();
        let id = circle.id();
        let (one, two) = (circle.node(), circle.node());
        take_all(&one, id, &messages);
        take_all(&two, id, &order);
        let all = |store: &Store| {
            let snapshot = store.read().unwrap();
            let found = snapshot.frontiers(id, &Prefix::root(), None, usize::MAX).unwrap();
            (snapshot.digest(id).unwrap(), found)
        };
        prop_assert_eq!(all(&one), all(&two));
        let snapshot = two.read().unwrap();
        let government = snapshot.government(id).unwrap().unwrap();
        prop_assert_eq!(&government, &one.read().unwrap().government(id).unwrap().unwrap());
        prop_assert_eq!(government.owner(), Some(people[BEN].person()));
        prop_assert!(!government.closed);
        let standing = |who: usize| snapshot.standing(id, &government, people[who].person()).unwrap();
        prop_assert_eq!(standing(CEM), Standing::Removed);
        prop_assert_eq!(standing(ANA), Standing::Member);
        prop_assert_eq!(standing(DORA), Standing::Member);
        prop_assert_eq!(standing(EVA), Standing::Unknown);
        prop_assert_eq!(snapshot.facts(id, people[CEM].id()).unwrap().head.next, cem);
        healthy(&two);
    }
}

/// A removed person's other device, of which the owner held nothing, is refused from its beginning.
#[test]
fn a_feed_that_a_removal_does_not_name_is_dropped_and_refused() {
    let [ana, ben] = [1, 2].map(|seed| Device::new(seed, 0));
    let second = Device::new(2, 1);
    let circle = Place::new(SpaceKind::Circle, "Quiet", &[&ana, &ben]);
    let (id, writer, node) = (circle.id(), circle.node(), circle.node());
    for (device, store) in [(&ana, &writer), (&second, &node)] {
        post(store, &circle, device, T0, &thread("Hello", "there"));
    }
    let other = runs(&node, id, second.id());
    let body = removal(&writer, &circle, &ana, None, &ben);
    post(&writer, &circle, &ana, T0, &body);
    for run in runs(&writer, id, ana.id()) {
        take(&node, id, ana.id(), &run, T0).unwrap();
    }
    let base = |device: &Device| {
        node.read()
            .unwrap()
            .facts(id, device.id())
            .unwrap()
            .head
            .next
    };
    assert_eq!(base(&second), 0);
    for run in [&other[0], &other[0]] {
        let refused = take(&node, id, second.id(), run, T0).unwrap_err();
        assert_eq!(refused, Reject::NoMember);
    }
    assert_eq!(base(&ana), 3);
    healthy(&node);
}

/// An owner of before can write down a removal as if it had been in time, but not have written it.
#[test]
fn a_removal_in_the_place_of_another_entry_counts_for_nothing() {
    let [ana, ben, cem] = [1, 2, 3].map(|seed| Device::new(seed, 0));
    let circle = Place::new(SpaceKind::Circle, "Quiet", &[&ana, &ben, &cem]);
    let (id, writer, node) = (circle.id(), circle.node(), circle.node());
    for device in [&ana, &cem] {
        post(&writer, &circle, device, T0, &thread("Hello", "there"));
    }
    let held = |who: &Device| node.read().unwrap().facts(id, who.id()).unwrap().head.next;
    let standing = |who: IdentityId| {
        let snapshot = node.read().unwrap();
        let government = snapshot.government(id).unwrap().unwrap();
        snapshot.standing(id, &government, who).unwrap()
    };
    let backdated = removal(&writer, &circle, &ana, None, &cem).encode();
    post(&writer, &circle, &ana, T0, &thread("Something", "else"));
    post(&writer, &circle, &cem, T0, &thread("And", "more"));
    for device in [&ana, &cem] {
        let feed = runs(&writer, id, device.id());
        let known = feed.iter().take(1);
        for run in known {
            take(&node, id, device.id(), run, T0).unwrap();
        }
    }
    let import = |body: Vec<u8>| {
        let import = move |txn: &mut Txn<'_>| Ok(txn.import_removal(id, &body));
        settle(write(&node, import).unwrap())
    };
    // Before the place is held it is believed, and not any more once something else stands there.
    assert_eq!(import(backdated.clone()), Ok(true));
    assert_eq!(standing(cem.person()), Standing::Removed);
    for run in runs(&writer, id, ana.id()).iter().skip(1) {
        take(&node, id, ana.id(), run, T0).unwrap();
    }
    assert_eq!(standing(cem.person()), Standing::Member);
    assert_eq!(import(backdated), Err(Reject::EndOfUnknownFeed));
    for run in runs(&writer, id, cem.id()) {
        let took = take(&node, id, cem.id(), &run, T0).unwrap();
        assert!(matches!(took, Took::Imported(_) | Took::Compared));
    }
    assert_eq!(held(&cem), 3);
    healthy(&node);
}

/// A removal is there to be told for itself after a fork cut the entry that carried it.
#[test]
fn a_removal_outlasts_the_entry_that_carried_it() {
    let [ana, ben] = [1, 2].map(|seed| Device::new(seed, 0));
    let circle = Place::new(SpaceKind::Circle, "Quiet", &[&ana, &ben]);
    let (id, node) = (circle.id(), circle.node());
    post(&node, &circle, &ana, T0, &thread("Hello", "there"));
    post(&node, &circle, &ben, T0, &thread("Hello", "too"));
    let first = node.read().unwrap().facts(id, ana.id()).unwrap().head;
    post(&node, &circle, &ben, T0, &thread("And", "more"));
    let body = removal(&node, &circle, &ana, None, &ben);
    post(&node, &circle, &ana, T0, &body);
    let told = node.read().unwrap().revocation(id, ben.id()).unwrap();
    assert_eq!(told.as_deref(), Some(&body.encode()[..]));
    // Her identity ends the device below it.
    let seq = first.next - 1;
    let revoked = revocation(&ana, id, ana.id(), seq, first.top).encode();
    let import = move |txn: &mut Txn<'_>| Ok(txn.import_revocation(id, ana.id(), &revoked));
    settle(write(&node, import).unwrap()).unwrap();
    let snapshot = node.read().unwrap();
    assert_eq!(
        snapshot
            .facts(id, Device::new(1, 0).id())
            .unwrap()
            .head
            .next,
        first.next
    );
    assert_eq!(snapshot.revocation(id, ben.id()).unwrap(), told);
    let government = snapshot.government(id).unwrap().unwrap();
    assert!(government.is_removed(ben.person()));
    healthy(&node);
}

/// A rule is kept whoever wrote it; that it is held makes nobody an owner.
#[test]
fn a_member_removes_nobody_also_where_their_rule_is_held() {
    let [ana, ben, cem] = [1, 2, 3].map(|seed| Device::new(seed, 0));
    let circle = Place::new(SpaceKind::Circle, "Quiet", &[&ana, &ben, &cem]);
    let (id, node) = (circle.id(), circle.node());
    for one in [&ana, &ben, &cem] {
        post(&node, &circle, one, T0, &thread("Hello", "there"));
    }
    let before = node.read().unwrap().facts(id, cem.id()).unwrap();
    let body = removal(&node, &circle, &ben, None, &cem);
    post(&node, &circle, &ben, T0, &body);
    let bytes = body.encode();
    let alone = write(&node, move |txn| Ok(txn.import_removal(id, &bytes))).unwrap();
    assert!(matches!(
        alone,
        Err(ImportError::Reject(Reject::EndOfUnknownFeed))
    ));
    let snapshot = node.read().unwrap();
    let government = snapshot.government(id).unwrap().unwrap();
    assert!(!government.is_removed(cem.person()));
    assert_eq!(snapshot.facts(id, cem.id()).unwrap(), before);
    assert_eq!(snapshot.revocation(id, cem.id()).unwrap(), None);
    healthy(&node);
}

#[test]
fn who_leaves_is_in_it_no_more_until_they_return() {
    let [ana, ben] = [1, 2].map(|seed| Device::new(seed, 0));
    let circle = Place::new(SpaceKind::Circle, "Quiet", &[&ana, &ben]);
    let (id, node) = (circle.id(), circle.node());
    post(&node, &circle, &ana, T0, &thread("Hello", "there"));
    let standing = || {
        let snapshot = node.read().unwrap();
        let government = snapshot.government(id).unwrap().unwrap();
        let of = snapshot.standing(id, &government, ben.person());
        (
            of.unwrap(),
            snapshot.is_in_circle(id, ben.person()).unwrap(),
        )
    };
    assert_eq!(standing(), (Standing::Unknown, false));
    post(&node, &circle, &ben, T0, &thread("Hello", "too"));
    assert_eq!(standing(), (Standing::Member, true));
    post(&node, &circle, &ben, T0, &ruled(None, Action::Leave));
    assert_eq!(standing(), (Standing::Left, false));
    post(&node, &circle, &ben, T0, &ruled(None, Action::Return));
    assert_eq!(standing(), (Standing::Member, true));
    // An owner who removes them ends it for good, and their own node refuses to go on.
    let body = removal(&node, &circle, &ana, None, &ben);
    post(&node, &circle, &ana, T0, &body);
    assert_eq!(standing(), (Standing::Removed, false));
    assert!(try_post(&node, &circle, &ben, T0, &thread("No", "more")).is_err());
    assert!(node.read().unwrap().is_in_circle(id, ana.person()).unwrap());
    healthy(&node);
}

/// A removal in a space that is no circle ends nothing.
#[test]
fn a_forum_knows_no_removals() {
    let [ana, ben] = [1, 2].map(|seed| Device::new(seed, 0));
    let forum = Place::new(SpaceKind::Forum, "Camp", &[&ana, &ben]);
    let (id, node) = (forum.id(), forum.node());
    post(&node, &forum, &ana, T0, &thread("Hello", "there"));
    post(&node, &forum, &ben, T0, &thread("Hello", "too"));
    let body = removal(&node, &forum, &ana, None, &ben);
    post(&node, &forum, &ana, T0, &body);
    post(&node, &forum, &ben, T0, &thread("Still", "here"));
    let bytes = body.encode();
    let import = move |txn: &mut Txn<'_>| -> Result<Result<bool, ImportError>, store::Error> {
        Ok(txn.import_removal(id, &bytes))
    };
    let refused = settle(write(&node, import).unwrap());
    assert_eq!(refused, Err(Reject::RevocationProof));
    assert_eq!(node.read().unwrap().government(id).unwrap(), None);
    healthy(&node);
}

/// Who isn't the owner may write as many rules as other entries: they are kept, count for nothing
/// and change nothing.
#[test]
fn a_flood_of_rules_by_a_member_changes_nothing() {
    let [ana, ben, cem] = [1, 2, 3].map(|seed| Device::new(seed, 0));
    let circle = Place::new(SpaceKind::Circle, "Quiet", &[&ana, &ben, &cem]);
    let (id, node) = (circle.id(), circle.node());
    for device in [&ana, &ben, &cem] {
        post(&node, &circle, device, T0, &thread("Hello", "there"));
    }
    let government = || node.read().unwrap().government(id).unwrap().unwrap();
    let before = government();
    for _ in 0..200 {
        let body = removal(&node, &circle, &cem, None, &ben);
        post(&node, &circle, &cem, T0, &body);
        let over = hand_over(&circle, &cem, &[&cem]);
        post(&node, &circle, &cem, T0, &ruled(None, over));
    }
    assert_eq!(government(), before);
    let snapshot = node.read().unwrap();
    assert_eq!(snapshot.facts(id, ben.id()).unwrap().head.next, 2);
    assert_eq!(snapshot.facts(id, cem.id()).unwrap().head.next, 402);
    healthy(&node);
    // The end of the device takes them away again, and leaves nothing that counts.
    let seq = 1;
    let top = snapshot.beginning(id, cem.id()).unwrap().unwrap().id;
    let ended = revocation(&cem, id, cem.id(), seq - 1, top).encode();
    let device = cem.id();
    let import = move |txn: &mut Txn<'_>| Ok(txn.import_revocation(id, device, &ended));
    settle(write(&node, import).unwrap()).unwrap();
    assert_eq!(government(), before);
    healthy(&node);
}

/// What a removal leaves of a feed ends unsigned where more of it was held: the removal vouches for
/// it, for whoever is told of it first.
#[test]
fn what_a_removal_leaves_is_served_to_who_knows_of_it() {
    let [ana, ben] = [1, 2].map(|seed| Device::new(seed, 0));
    let circle = Place::new(SpaceKind::Circle, "Quiet", &[&ana, &ben]);
    let (id, writer, behind) = (circle.id(), circle.node(), circle.node());
    post(&writer, &circle, &ana, T0, &thread("Hello", "there"));
    post(&writer, &circle, &ben, T0, &thread("One", "held by Ana"));
    for device in [&ana, &ben] {
        for run in runs(&writer, id, device.id()) {
            take(&behind, id, device.id(), &run, T0).unwrap();
        }
    }
    // Ana removes Ben where two more of his posts haven't come.
    let body = removal(&behind, &circle, &ana, None, &ben);
    post(&behind, &circle, &ana, T0, &body);
    for text in ["two", "three"] {
        post(&writer, &circle, &ben, T0, &thread("More", text));
    }
    let (ahead, fresh) = (circle.node(), circle.node());
    for run in runs(&writer, id, ben.id()) {
        take(&ahead, id, ben.id(), &run, T0).unwrap();
    }
    for run in runs(&behind, id, ana.id()) {
        take(&ahead, id, ana.id(), &run, T0).unwrap();
    }
    let base = |store: &Store| store.read().unwrap().facts(id, ben.id()).unwrap().head.next;
    assert_eq!((base(&ahead), base(&behind)), (2, 2));
    healthy(&ahead);
    let served = runs(&ahead, id, ben.id());
    assert_eq!(served.len(), 2);
    take(&fresh, id, ben.id(), &served[0], T0).unwrap();
    let unsigned = take(&fresh, id, ben.id(), &served[1], T0).unwrap_err();
    assert_eq!(unsigned, Reject::Unsigned);
    let alone = ahead
        .read()
        .unwrap()
        .revocation(id, ben.id())
        .unwrap()
        .unwrap();
    let import = move |txn: &mut Txn<'_>| Ok(txn.import_revocation(id, ben.id(), &alone));
    assert_eq!(settle(write(&fresh, import).unwrap()), Ok(true));
    take(&fresh, id, Device::new(2, 0).id(), &served[1], T0).unwrap();
    healthy(&fresh);
}

/// When a removal turns out to count for nothing, what it left without a signature goes too, and
/// all comes again.
#[test]
fn a_feed_comes_back_whole_when_its_removal_counts_no_more() {
    let [ana, cem] = [1, 3].map(|seed| Device::new(seed, 0));
    let circle = Place::new(SpaceKind::Circle, "Quiet", &[&ana, &cem]);
    let (id, writer, node) = (circle.id(), circle.node(), circle.node());
    post(&writer, &circle, &ana, T0, &thread("Hello", "there"));
    post(&writer, &circle, &cem, T0, &thread("One", "x"));
    let backdated = removal(&writer, &circle, &ana, None, &cem).encode();
    for text in ["two", "three"] {
        post(&writer, &circle, &cem, T0, &thread("More", text));
    }
    let first = runs(&writer, id, ana.id());
    post(&writer, &circle, &ana, T0, &thread("Something", "else"));
    for (device, feed) in [(&ana, &first), (&cem, &runs(&writer, id, cem.id()))] {
        for run in feed {
            take(&node, id, device.id(), run, T0).unwrap();
        }
    }
    let base = || node.read().unwrap().facts(id, cem.id()).unwrap().head.next;
    assert_eq!(base(), 4);
    let import = move |txn: &mut Txn<'_>| Ok(txn.import_removal(id, &backdated));
    assert_eq!(settle(write(&node, import).unwrap()), Ok(true));
    assert_eq!(base(), 2);
    healthy(&node);
    for run in runs(&writer, id, ana.id()) {
        take(&node, id, ana.id(), &run, T0).unwrap();
    }
    assert_eq!(base(), 1, "only the first entry is signed");
    healthy(&node);
    for run in runs(&writer, id, cem.id()) {
        take(&node, id, cem.id(), &run, T0).unwrap();
    }
    assert_eq!(base(), 4);
    healthy(&node);
}
