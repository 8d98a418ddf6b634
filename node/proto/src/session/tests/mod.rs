//! Two sessions over a plain store in memory: what must hold whatever the order and the cuts.

mod fetch;
mod forks;
mod hostile;
mod offers;
mod settings;
mod tails;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::{
    audience::{ContactFacts, SpaceFacts, clear},
    beacon::BeaconKey,
    body::Body,
    frame::{Control, Whereabouts},
    sim::{Memory, Person},
};

const NOW: Millis = Millis(1_790_000_000_000);

/// One side of a meeting.
struct Side {
    store: Memory,
    session: Session,
    /// Frames on their way to the other side, by stream.
    wire: BTreeMap<Lane, VecDeque<Vec<u8>>>,
    sent: usize,
    equal: BTreeSet<SpaceId>,
    rejected: Vec<Reject>,
    offers: Vec<OfferFrame>,
    reached: Vec<Whereabouts>,
    seen_by: u64,
    holds: u64,
    /// Bodies that were sent by themselves.
    bodies_sent: usize,
}

fn start(
    store: &Memory,
    dialer: bool,
    to: &Person,
    agreed: &BTreeSet<SpaceId>,
    revs: (u64, u64),
) -> Start {
    let clearances = store
        .spaces()
        .filter_map(|(id, kind)| {
            let facts = SpaceFacts {
                id,
                kind,
                counterpart: to.identity.id(),
                member: false,
            };
            let contact = ContactFacts {
                identity: to.identity.id(),
                ready: true,
                excluded: false,
                member: false,
            };
            clear(&facts, &contact).map(|clearance| (clearance, kind))
        })
        .collect();
    Start {
        dialer,
        exporter: [9; 32],
        seed: [u8::from(dialer); 32],
        class: LinkClass::Fast,
        device: store.me.device.id(),
        clearances,
        agreed: agreed.clone(),
        rev: revs.0,
        seen_rev: revs.1,
        offers: Vec::new(),
        whereabouts: Whereabouts::default(),
    }
}

impl Side {
    fn new(
        store: Memory,
        dialer: bool,
        to: &Person,
        agreed: &BTreeSet<SpaceId>,
        revs: (u64, u64),
    ) -> Self {
        let session = Session::new(start(&store, dialer, to, agreed, revs), &store).unwrap();
        Self {
            store,
            session,
            wire: BTreeMap::new(),
            sent: 0,
            equal: BTreeSet::new(),
            rejected: Vec::new(),
            offers: Vec::new(),
            reached: Vec::new(),
            seen_by: 0,
            holds: 0,
            bodies_sent: 0,
        }
    }

    /// Does what the session says until it says nothing more; true where anything happened.
    fn drive(&mut self) -> bool {
        let mut any = false;
        while let Some(output) = self.session.poll(&self.store).unwrap() {
            any = true;
            match output {
                Output::Control(bytes) => self.post(Lane::Control, bytes),
                work => self.store(work),
            }
        }
        while let Some(frame) = self.session.poll_data(&self.store, |_| true).unwrap() {
            any = true;
            self.bodies_sent += usize::from(frame.bytes[0] == 0x22);
            self.post(Lane::Space(frame.channel), frame.bytes);
        }
        any
    }

    /// Stores what the session hands out, and tells it what became of that.
    fn store(&mut self, work: Output) {
        let (store, session) = (&mut self.store, &mut self.session);
        let imported = match work {
            Output::Import { space, run } => {
                let (device, bytes) = (run.device(), receive::run_bytes(&run));
                (space, device, bytes, store.import(space, run).err())
            }
            Output::ImportTail { space, tail } => {
                let device = tail.device();
                (space, device, 0, store.import_tail(space, tail).err())
            }
            Output::ImportEnd {
                space,
                device,
                proof,
            } => (
                space,
                device,
                0,
                store.import_end(space, device, &proof).err(),
            ),
            Output::Fill {
                space,
                device,
                seq,
                body,
            } => (
                space,
                device,
                0,
                store.fill(space, device, seq, &body).err(),
            ),
            Output::Compare { space, overlap } => {
                let result = store.compare(space, &overlap);
                let overlap = (overlap.device(), overlap.start());
                session
                    .handle_compared(space, overlap, &result, NOW, store)
                    .unwrap();
                return;
            }
            Output::Control(_) | Output::Common(_) => return,
            Output::Offers {
                rev,
                offers,
                whereabouts,
            } => {
                self.offers.extend(offers);
                self.reached.push(whereabouts);
                session.handle_offers_kept(rev);
                return;
            }
            Output::SeenBy { rev } => {
                self.seen_by = rev;
                return;
            }
            Output::Equal(space) => {
                self.equal.insert(space);
                return;
            }
            Output::PeerHolds { base, .. } => {
                self.holds = base;
                return;
            }
            Output::Rejected(reject) => {
                self.rejected.push(reject);
                return;
            }
        };
        let (space, device, bytes, refused) = imported;
        session
            .handle_imported(space, device, bytes, refused, NOW, store)
            .unwrap();
    }

    fn post(&mut self, lane: Lane, bytes: Vec<u8>) {
        self.sent += bytes.len() + 4;
        self.wire.entry(lane).or_default().push_back(bytes);
    }
}

/// Lets two sides talk until both are silent; `pick` chooses which stream goes on.
fn talk(one: &mut Side, other: &mut Side, mut pick: impl FnMut(usize) -> usize) {
    for _ in 0..100_000 {
        let active = one.drive() | other.drive();
        let ready: Vec<(bool, Lane)> = [(true, &*one), (false, &*other)]
            .iter()
            .flat_map(|(first, side)| {
                side.wire
                    .iter()
                    .filter(|(_, q)| !q.is_empty())
                    .map(|(lane, _)| (*first, *lane))
            })
            .collect();
        if ready.is_empty() {
            if active {
                continue;
            }
            return;
        }
        let (from_one, lane) = ready[pick(ready.len()) % ready.len()];
        let (from, to) = if from_one {
            (&mut *one, &mut *other)
        } else {
            (&mut *other, &mut *one)
        };
        let frame = from.wire.get_mut(&lane).unwrap().pop_front().unwrap();
        to.session
            .handle_frame(lane, &frame, NOW, &to.store)
            .unwrap();
    }
    panic!("the two sides never fell silent");
}

fn meet(one: Memory, other: Memory, agreed: &BTreeSet<SpaceId>, revs: (u64, u64)) -> (Side, Side) {
    let (a, b) = (one.me.clone(), other.me.clone());
    let mut one = Side::new(one, true, &b, agreed, revs);
    let mut other = Side::new(other, false, &a, agreed, revs);
    talk(&mut one, &mut other, |_| 0);
    (one, other)
}

/// Two people in one forum, who wrote `counts` entries each.
fn pair(counts: (u64, u64)) -> (Memory, Memory, SpaceId) {
    let (ana, ben) = (Person::new(1), Person::new(2));
    let mut one = Memory::new(ana.clone());
    let mut other = Memory::new(ben.clone());
    let space = one.create_forum(1);
    other.join_forum(&one, space);
    one.write(space, counts.0);
    other.write(space, counts.1);
    (one, other, space)
}

#[test]
fn both_end_with_everything_of_both() {
    let (one, other, space) = pair((700, 3));
    let (one, other) = meet(one, other, &BTreeSet::new(), (1, 0));
    assert_eq!(one.store.contents(space), other.store.contents(space));
    assert_eq!(one.store.contents(space).len(), 705);
    assert!(one.rejected.is_empty() && other.rejected.is_empty());
    assert_eq!(
        one.session.progress(),
        Progress {
            want: 0,
            compared: true
        }
    );
}

#[test]
fn nothing_new_costs_one_frame_each_way_and_under_300_bytes() {
    let (one, other, space) = pair((300, 300));
    let (one, other) = meet(one, other, &BTreeSet::new(), (1, 0));
    let (one, other) = meet(one.store, other.store, &BTreeSet::from([space]), (1, 1));
    assert!(
        one.sent + other.sent < 300,
        "{} and {}",
        one.sent,
        other.sent
    );
    assert_eq!(one.equal, BTreeSet::from([space]));
    assert!(one.session.progress().compared);
}

#[test]
fn one_new_entry_after_an_agreed_meeting_needs_no_search() {
    let (one, other, space) = pair((300, 300));
    let (mut one, other) = meet(one, other, &BTreeSet::new(), (1, 0));
    one.store.write(space, 1);
    let (one, other) = meet(one.store, other.store, &BTreeSet::from([space]), (1, 1));
    assert_eq!(one.store.contents(space), other.store.contents(space));
    assert!(one.sent < 1_000, "{}", one.sent);
}

/// Both hellos told of the same, and nobody looked again: the entry waited for the next meeting, or
/// for another one of the same feed. Found by the simulator.
#[test]
fn what_is_written_while_a_meeting_begins_is_told() {
    let (one, other, space) = pair((3, 3));
    let (one, other) = meet(one, other, &BTreeSet::new(), (1, 0));
    let (ana, ben) = (one.store.me.clone(), other.store.me.clone());
    let agreed = BTreeSet::from([space]);
    let mut one = Side::new(one.store, true, &ben, &agreed, (1, 1));
    let mut other = Side::new(other.store, false, &ana, &agreed, (1, 1));
    one.store.write(space, 1);
    one.session.handle_local(space, ana.device.id());
    talk(&mut one, &mut other, |_| 0);
    assert_eq!(one.store.contents(space), other.store.contents(space));
    assert!(one.session.progress().compared && other.session.progress().compared);
}

#[test]
fn a_space_that_one_side_lacks_is_never_named() {
    let (mut one, other, space) = pair((2, 2));
    let secret = one.create_forum(7);
    one.write(secret, 50);
    let frames = std::cell::RefCell::new(Vec::new());
    let (a, b) = (one.me.clone(), other.me.clone());
    let mut one = Side::new(one, true, &b, &BTreeSet::new(), (1, 0));
    let mut other = Side::new(other, false, &a, &BTreeSet::new(), (1, 0));
    talk(&mut one, &mut other, |_| 0);
    one.drive();
    frames
        .borrow_mut()
        .extend(one.wire.values().flatten().cloned());
    assert_eq!(other.session.common(), BTreeSet::from([space]));
    assert!(
        frames
            .borrow()
            .iter()
            .all(|frame| !frame.windows(32).any(|bytes| bytes == secret.0))
    );
    assert_eq!(one.session.common(), BTreeSet::from([space]));
    assert!(other.store.contents(secret).is_empty());
}

#[test]
fn an_echo_of_tags_proves_nothing() {
    let (one, _, _) = pair((2, 2));
    let ben = Person::new(2);
    let mut liar = Side::new(one, true, &ben, &BTreeSet::new(), (1, 0));
    let mut control = Vec::new();
    for round in 0..3 {
        liar.drive();
        let mine: Vec<_> = liar
            .wire
            .entry(Lane::Control)
            .or_default()
            .drain(..)
            .collect();
        control.extend(mine.clone());
        for frame in mine {
            let answer = match Control::decode(&frame).unwrap() {
                Control::Hello(hello) => Control::Hello(Hello { rev: 5, ..hello }),
                other => other,
            };
            if round < 2 {
                liar.session
                    .handle_frame(Lane::Control, &answer.encode(), NOW, &liar.store)
                    .unwrap();
            }
        }
    }
    assert!(liar.session.common().is_empty());
}

/// A folder that was put back from an older copy: a device that wrote on from there would sign
/// other entries at places that others hold.
#[test]
fn what_a_device_wrote_and_lost_comes_back_from_others() {
    let (mut one, other, space) = pair((3, 3));
    let older = one.clone();
    one.write(space, 300);
    let (one, other) = meet(one, other, &BTreeSet::new(), (1, 0));
    let (older, other) = meet(older, other.store, &BTreeSet::from([space]), (1, 1));
    assert_eq!(older.store.contents(space), one.store.contents(space));
    assert_eq!(older.store.contents(space), other.store.contents(space));
    assert!(older.rejected.is_empty() && other.rejected.is_empty());
}

#[test]
fn live_entries_are_announced_and_fetched() {
    let (one, other, space) = pair((2, 2));
    let (mut one, mut other) = meet(one, other, &BTreeSet::new(), (1, 0));
    for _ in 0..5 {
        one.store.write(space, 1);
        one.session.handle_local(space, one.store.me.device.id());
        talk(&mut one, &mut other, |_| 0);
        assert_eq!(one.store.contents(space), other.store.contents(space));
    }
}

#[test]
fn gossip_brings_an_entry_and_the_session_fetches_what_gossip_lost() {
    let (one, other, space) = pair((2, 2));
    let (mut one, mut other) = meet(one, other, &BTreeSet::new(), (1, 0));
    other.session.handle_gossip_up(true);
    let device = one.store.me.device.id();
    let message = |side: &Side, from: u64| {
        let (tag, channel) = side.session.gossip_channel(space).unwrap();
        let run = side.store.run(space, device, from).unwrap().unwrap();
        let mut out = tag.to_vec();
        crate::wire::put_varint(&mut out, u64::from(channel));
        out.extend_from_slice(&device.0);
        out.extend_from_slice(&run.bytes);
        out
    };
    let base = one.store.frontier(space, device).unwrap().unwrap().base;
    one.store.write(space, 1);
    let hint = message(&one, base);
    other
        .session
        .handle_gossip(&hint, NOW, &other.store)
        .unwrap();
    other.drive();
    assert_eq!(one.store.contents(space), other.store.contents(space));
    // Lost by gossip: announced, waited for, then asked for.
    one.store.write(space, 1);
    one.session.handle_local(space, device);
    talk(&mut one, &mut other, |_| 0);
    assert_ne!(one.store.contents(space), other.store.contents(space));
    let due = other.session.next_timeout().unwrap();
    other.session.handle_timeout(due, &other.store).unwrap();
    talk(&mut one, &mut other, |_| 0);
    assert_eq!(one.store.contents(space), other.store.contents(space));
    // Another meeting's message is dropped.
    let mut foreign = hint;
    foreign[0] ^= 1;
    other
        .session
        .handle_gossip(&foreign, NOW, &other.store)
        .unwrap();
    assert!(!other.drive());
}

#[test]
fn many_feeds_reconcile_at_the_cost_of_the_difference() {
    let (mut one, mut other, space) = pair((1, 1));
    for n in 0..600_u16 {
        let mut writer = Memory::new(Person::from_bytes([(n % 251) as u8, (n / 251) as u8, 77]));
        writer.join_forum(&one, space);
        writer.write(space, 1);
        one.copy_feed(&writer, space, writer.me.device.id());
        if n > 2 {
            other.copy_feed(&writer, space, writer.me.device.id());
        }
    }
    let (one, other) = meet(one, other, &BTreeSet::new(), (1, 0));
    assert_eq!(one.store.contents(space), other.store.contents(space));
    assert!(one.sent + other.sent < 40_000, "{}", one.sent + other.sent);
}

#[test]
fn an_empty_node_learns_of_many_feeds() {
    let (mut one, other, space) = pair((1, 1));
    for n in 0..100_u8 {
        let mut writer = Memory::new(Person::from_bytes([n, 1, 78]));
        writer.join_forum(&one, space);
        writer.write(space, 1);
        one.copy_feed(&writer, space, writer.me.device.id());
    }
    let (one, other) = meet(one, other, &BTreeSet::new(), (1, 0));
    assert_eq!(one.store.contents(space), other.store.contents(space));
}

#[test]
fn both_sides_may_begin_a_search_at_once() {
    let (one, other, space) = pair((2, 2));
    let (mut one, mut other) = meet(one, other, &BTreeSet::new(), (1, 0));
    for rev in 2..6 {
        let (ana, ben) = (one.store.me.clone(), other.store.me.clone());
        one.session.handle_audience(
            start(&one.store, true, &ben, &BTreeSet::new(), (0, 0)).clearances,
            rev,
            vec![],
            Whereabouts::default(),
        );
        other.session.handle_audience(
            start(&other.store, false, &ana, &BTreeSet::new(), (0, 0)).clearances,
            rev,
            vec![],
            Whereabouts::default(),
        );
        talk(&mut one, &mut other, |_| 0);
    }
    assert_eq!(one.session.common(), BTreeSet::from([space]));
    one.store.write(space, 2);
    one.session.handle_local(space, one.store.me.device.id());
    talk(&mut one, &mut other, |_| 0);
    assert_eq!(one.store.contents(space), other.store.contents(space));
}

#[test]
fn broken_frames_end_the_session_and_bad_entries_are_counted() {
    let (one, other, space) = pair((2, 2));
    let (_, mut other) = meet(one, other, &BTreeSet::new(), (1, 0));
    let fatal = |bytes: &[u8], side: &mut Side| {
        side.session
            .handle_frame(Lane::Control, bytes, NOW, &side.store)
    };
    assert!(matches!(fatal(&[99], &mut other), Err(Fatal::Frame(_))));
    assert!(matches!(fatal(&[], &mut other), Err(Fatal::Frame(_))));
    let hello = other.session.own_hello.clone().unwrap();
    assert!(matches!(
        fatal(&Control::Hello(hello).encode(), &mut other),
        Err(Fatal::Order(_))
    ));
    let (first, _, _) = pair((2, 2));
    let mut fresh = Side::new(first, true, &Person::new(2), &BTreeSet::new(), (1, 0));
    assert!(matches!(
        fatal(&Control::Seen { rev: 1 }.encode(), &mut fresh),
        Err(Fatal::Order(_))
    ));
    let old = Control::Hello(Hello {
        version: 0,
        ..fresh.session.own_hello.clone().unwrap()
    });
    assert_eq!(fatal(&old.encode(), &mut fresh), Err(Fatal::Version(0)));
    // A peer that goes on sending proofs of nothing is shut out.
    let channel = *other.session.by_space.get(&space).unwrap();
    let proof = crate::frame::Data::Fork {
        device: DeviceId([5; 32]),
        proof: b"nothing",
    }
    .encode();
    other
        .session
        .handle_frame(Lane::Space(channel), &proof, NOW, &other.store)
        .unwrap();
    other.drive();
    assert_eq!(other.rejected, [Reject::ForkProof]);
    for _ in 0..STRIKES_MAX {
        if let Err(end) = other.session.handle_imported(
            space,
            DeviceId([5; 32]),
            0,
            Some(Reject::ForkProof),
            NOW,
            &other.store,
        ) {
            assert_eq!(end, Fatal::Misbehaving);
            return;
        }
    }
    panic!("never shut out");
}

#[test]
fn entries_that_nobody_asked_for_are_dropped() {
    let (one, other, space) = pair((3, 3));
    let (mut one, mut other) = meet(one, other, &BTreeSet::new(), (1, 0));
    let device = one.store.me.device.id();
    let base = one.store.frontier(space, device).unwrap().unwrap().base;
    one.store.write(space, 1);
    let run = one.store.run(space, device, base).unwrap().unwrap();
    let channel = *other.session.by_space.get(&space).unwrap();
    let frame = crate::frame::Data::Run {
        device,
        run: &run.bytes,
    }
    .encode();
    other
        .session
        .handle_frame(Lane::Space(channel), &frame, NOW, &other.store)
        .unwrap();
    assert!(!other.drive());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// A session may be cut after any number of frames, with streams overtaking each other in any
    /// order; the next one goes on from what was stored.
    #[test]
    fn any_order_and_any_cuts_converge(counts in (0..600_u64, 0..300_u64), picks in proptest::collection::vec(any::<u8>(), 1..60), cuts in proptest::collection::vec(0..40_usize, 0..4)) {
        let (mut one, mut other, space) = pair(counts);
        let mut picks = picks.into_iter().cycle();
        for cut in cuts {
            let (a, b) = (one.me.clone(), other.me.clone());
            let mut left = Side::new(one, true, &b, &BTreeSet::new(), (1, 0));
            let mut right = Side::new(other, false, &a, &BTreeSet::new(), (1, 0));
            for _ in 0..cut {
                left.drive();
                right.drive();
                let ready: Vec<(bool, Lane)> = [(true, &left), (false, &right)].iter().flat_map(|(first, side)| side.wire.iter().filter(|(_, q)| !q.is_empty()).map(|(lane, _)| (*first, *lane))).collect();
                if ready.is_empty() { break; }
                let (from_left, lane) = ready[usize::from(picks.next().unwrap()) % ready.len()];
                let (from, to) = if from_left { (&mut left, &mut right) } else { (&mut right, &mut left) };
                let frame = from.wire.get_mut(&lane).unwrap().pop_front().unwrap();
                to.session.handle_frame(lane, &frame, NOW, &to.store).unwrap();
            }
            (one, other) = (left.store, right.store);
        }
        let (a, b) = (one.me.clone(), other.me.clone());
        let mut left = Side::new(one, true, &b, &BTreeSet::new(), (1, 0));
        let mut right = Side::new(other, false, &a, &BTreeSet::new(), (1, 0));
        talk(&mut left, &mut right, |n| usize::from(picks.next().unwrap()) % n);
        prop_assert_eq!(left.store.contents(space), right.store.contents(space));
        prop_assert!(left.rejected.is_empty() && right.rejected.is_empty());
    }

    #[test]
    fn no_bytes_of_a_peer_panic(frames in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..80)), 0..20)) {
        let (one, other, space) = pair((3, 3));
        let (_, mut other) = meet(one, other, &BTreeSet::new(), (1, 0));
        let channel = *other.session.by_space.get(&space).unwrap();
        for (data, bytes) in frames {
            let lane = if data { Lane::Space(channel) } else { Lane::Control };
            let _ = other.session.handle_frame(lane, &bytes, NOW, &other.store);
            let _ = other.session.handle_gossip(&bytes, NOW, &other.store);
            other.drive();
        }
    }
}

#[test]
fn a_conversation_tells_what_the_other_side_holds() {
    let (ana, ben) = (Person::new(1), Person::new(2));
    let (mut one, mut other) = (Memory::new(ana.clone()), Memory::new(ben.clone()));
    let space = one.create_conversation([5; 32], &ben);
    other.create_conversation([5; 32], &ana);
    one.write_body(
        space,
        &Body::Message {
            text: "psst",
            parent: None,
            salt: None,
        },
    );
    let (one, other) = meet(one, other, &BTreeSet::new(), (1, 0));
    assert_eq!(one.holds, 2, "the genesis and the message");
    assert_eq!(one.store.contents(space), other.store.contents(space));
}
