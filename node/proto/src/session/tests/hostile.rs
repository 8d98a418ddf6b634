//! Peers that break the protocol, or keep it to the letter and ask for too much.

use super::*;
use crate::{
    frame::{BODIES_MAX, Data, FRONTIERS_MAX},
    merkle::FANOUT,
    run::Run,
    verify::Comparison,
};

/// A side that met somebody in a space with many feeds, and whose peer is under our control.
fn victim(feeds: u8) -> (Side, SpaceId, u32) {
    let (mut one, other, space) = pair((3, 3));
    for n in 0..feeds {
        let mut writer = Memory::new(Person::from_bytes([n, 1, 79]));
        writer.join_forum(&one, space);
        one.copy_feed(&writer, space, writer.me.device.id());
    }
    let (mut one, _) = meet(one, other, &BTreeSet::new(), (1, 0));
    one.wire.clear();
    one.sent = 0;
    let channel = one.session.by_space[&space];
    (one, space, channel)
}

impl Side {
    fn hear(&mut self, frame: &Control) -> Result<(), Fatal<()>> {
        self.hear_bytes(Lane::Control, &frame.encode())
    }

    fn hear_bytes(&mut self, lane: Lane, bytes: &[u8]) -> Result<(), Fatal<()>> {
        self.session.handle_frame(lane, bytes, NOW, &self.store)
    }

    /// What would be stored, without storing it.
    fn unstored(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.session.poll_work()).collect()
    }
}

fn claim(device: [u8; 32], base: u64) -> Frontier {
    Frontier {
        base,
        top: crate::EntryId([1; 32]),
        ..Frontier::empty(DeviceId(device))
    }
}

#[test]
fn a_subtree_is_listed_once_however_often_it_is_asked_for() {
    let (mut one, _, channel) = victim(60);
    let empty = Control::Node {
        channel,
        prefix: Prefix::root(),
        node: Node::Bucket(Vec::new()),
    };
    for _ in 0..200 {
        one.hear(&empty).unwrap();
    }
    one.drive();
    let listing = one.sent;
    assert!(listing < 62 * 120, "{listing}");
    for _ in 0..200 {
        one.hear(&empty).unwrap();
        one.drive();
    }
    assert_eq!(one.sent, listing);
}

#[test]
fn a_subtree_is_told_once_however_often_it_differs() {
    let (mut one, _, channel) = victim(60);
    for n in 0..200_u8 {
        one.hear(&Control::Node {
            channel,
            prefix: Prefix::root(),
            node: Node::Branch(Box::new([[n; 32]; FANOUT])),
        })
        .unwrap();
        one.drive();
    }
    assert!(one.sent < FANOUT * 16 * 120, "{}", one.sent);
    let told = one.sent;
    for _ in 0..50 {
        let generation = one.session.generation;
        let digests = vec![[9; 32]];
        one.hear(&Control::Digests {
            generation,
            digests,
        })
        .unwrap();
        one.drive();
    }
    assert_eq!(one.sent, told);
}

/// Nothing is said while the peer doesn't read, so what it asks for piles up as sets.
#[test]
fn searches_without_end_are_answered_once() {
    let (mut one, ..) = victim(0);
    for generation in 10..500 {
        one.hear(&Control::Spaces {
            generation,
            tags: Vec::new(),
        })
        .unwrap();
    }
    one.drive();
    assert_eq!(one.wire[&Lane::Control].len(), 2, "tags and digests");
    assert!(one.session.common().is_empty());
    for generation in [0, GENERATIONS_MAX + 1] {
        let frame = Control::Spaces {
            generation,
            tags: Vec::new(),
        };
        assert!(matches!(one.hear(&frame), Err(Fatal::Order(_))));
    }
}

#[test]
fn offers_wait_for_those_before_them_and_only_the_newest() {
    let (mut one, ..) = victim(0);
    let offers = |n: u8| {
        vec![OfferFrame {
            descriptor: vec![n; 4_000],
            chain: Vec::new(),
        }]
    };
    for n in 10..200_u8 {
        let rev = u64::from(n);
        one.hear(&Control::Offers {
            rev,
            offers: offers(n),
            whereabouts: Whereabouts::default(),
        })
        .unwrap();
        one.hear(&Control::Seen { rev: u64::MAX }).unwrap();
    }
    let work = one.unstored();
    assert_eq!(
        work,
        [Output::Offers {
            rev: 10,
            offers: offers(10),
            whereabouts: Whereabouts::default(),
        }],
        "our count was seen before"
    );
    one.session.handle_offers_kept(10);
    let newest = Output::Offers {
        rev: 199,
        offers: offers(199),
        whereabouts: Whereabouts::default(),
    };
    assert_eq!(one.unstored(), [newest]);
    one.session.handle_offers_kept(199);
    one.hear(&Control::Offers {
        rev: 199,
        offers: offers(1),
        whereabouts: Whereabouts::default(),
    })
    .unwrap();
    assert!(one.unstored().is_empty());
}

/// Two claims of the largest number overflowed the sum.
#[test]
fn absurd_claims_neither_overflow_nor_keep_other_feeds_waiting() {
    let (one, other, space) = pair((3, 30));
    let (mut one, mut other) = meet(one, other, &BTreeSet::new(), (1, 0));
    let channel = one.session.by_space[&space];
    let frontiers = (1..=3).map(|n| claim([n; 32], u64::MAX)).collect();
    one.hear(&Control::Frontiers { channel, frontiers })
        .unwrap();
    assert!(one.session.progress().want > 1_000_000);
    other.store.write(space, 5);
    other
        .session
        .handle_local(space, other.store.me.device.id());
    talk(&mut one, &mut other, |_| 0);
    assert_eq!(one.store.contents(space), other.store.contents(space));
    // What never comes is given up.
    let mut now = NOW;
    for _ in 0..5 {
        now = now.plus(STALL_MS);
        one.session.handle_timeout(now, &one.store).unwrap();
    }
    assert_eq!(one.session.progress().want, 0);
    assert_eq!(one.session.next_timeout(), None);
}

#[test]
fn claims_are_remembered_up_to_a_bound() {
    let (mut one, _, channel) = victim(0);
    for n in 0..=(THEIRS_MAX / FRONTIERS_MAX) as u32 {
        let frontiers = (0..FRONTIERS_MAX as u32).map(|m| {
            let mut device = [7; 32];
            device[..4].copy_from_slice(&n.to_be_bytes());
            device[4..8].copy_from_slice(&m.to_be_bytes());
            claim(device, 0)
        });
        let frontiers = frontiers.collect();
        one.hear(&Control::Frontiers { channel, frontiers })
            .unwrap();
    }
    let remembered: usize = one
        .session
        .channels
        .values()
        .map(|c| c.theirs.count())
        .sum();
    assert_eq!(remembered, THEIRS_MAX);
}

#[test]
fn only_what_is_held_is_queued_to_be_served() {
    let (mut one, _, channel) = victim(0);
    let own = one.store.me.device.id();
    let feeds = (0..200).map(|n| (DeviceId([n; 32]), 0)).collect();
    one.hear(&Control::Want { channel, feeds }).unwrap();
    assert!(!one.session.channels[&channel].has_work());
    for _ in 0..100 {
        let feeds = vec![(own, 0), (own, u64::MAX), (own, 1)];
        one.hear(&Control::Want { channel, feeds }).unwrap();
    }
    assert_eq!(one.session.channels[&channel].serve.len(), 1);
    for n in 0..100 {
        let seqs = (0..BODIES_MAX as u64).map(|seq| n * 1_000 + seq).collect();
        one.hear(&Control::WantBodies {
            channel,
            device: own,
            seqs,
        })
        .unwrap();
    }
    assert_eq!(one.session.channels[&channel].bodies.len(), BODY_QUEUE_MAX);
}

#[test]
fn bodies_are_taken_where_asked_for_and_once() {
    let (mut one, space, channel) = victim(1);
    let feed = Person::from_bytes([0, 1, 79]).device.id();
    let body = one.store.body(space, feed, 0).unwrap().unwrap();
    let frame = |seq| Data::Body {
        device: feed,
        seq,
        body: &body,
    };
    let lane = Lane::Space(channel);
    one.hear_bytes(lane, &frame(0).encode()).unwrap();
    assert!(one.unstored().is_empty());
    one.store.drop_body(space, feed, 0);
    let frontiers = vec![claim(feed.0, 1)];
    one.hear(&Control::Frontiers { channel, frontiers })
        .unwrap();
    one.drive();
    for _ in 0..10 {
        one.hear_bytes(lane, &frame(0).encode()).unwrap();
        one.hear_bytes(lane, &frame(5).encode()).unwrap();
    }
    assert_eq!(one.unstored().len(), 1);
}

/// Two branches of one author, the first held by the victim.
fn forked(victim: &mut Side, space: SpaceId) -> (Memory, Memory) {
    let mut author = Memory::new(Person::new(33));
    author.join_forum(&victim.store, space);
    let mut liar = author.clone();
    author.write_as(space, 600, "truth");
    liar.write_as(space, 600, "lie");
    victim
        .store
        .copy_feed(&author, space, author.me.device.id());
    (author, liar)
}

/// Proofs, bodies and runs to compare weren't counted, so a peer could fill the memory while the
/// disk was busy.
#[test]
fn everything_that_waits_for_the_disk_counts() {
    let (mut one, space, channel) = victim(0);
    let (_, liar) = forked(&mut one, space);
    let device = liar.me.device.id();
    let frontiers = vec![claim(device.0, 1_000)];
    one.hear(&Control::Frontiers { channel, frontiers })
        .unwrap();
    let run = liar.run(space, device, 257).unwrap().unwrap().bytes;
    let frame = Data::Run { device, run: &run }.encode();
    let mut taken = 0;
    while one.session.accepts_data() && taken < 10_000 {
        one.hear_bytes(Lane::Space(channel), &frame).unwrap();
        taken += 1;
    }
    assert!(taken < 500, "{taken} runs wait");
    let work = one.unstored();
    assert_eq!(work.len(), taken);
    for output in work {
        let Output::Compare { overlap, .. } = output else {
            panic!("{output:?}");
        };
        let key = (overlap.device(), overlap.start());
        one.session
            .handle_compared(space, key, &Comparison::Known, NOW, &one.store)
            .unwrap();
    }
    assert!(one.session.accepts_data());
    assert_eq!(one.session.pending.bytes(), 0);
}

#[test]
fn a_proof_is_stored_once_and_told_once() {
    let (mut one, space, channel) = victim(0);
    let (author, liar) = forked(&mut one, space);
    let device = author.me.device.id();
    let mut third = Memory::new(Person::new(34));
    third.join_forum(&one.store, space);
    third.copy_feed(&liar, space, device);
    let mut holder = one.store.clone();
    holder.copy_feed(&author, space, device);
    let (holder, _) = meet(holder, third, &BTreeSet::new(), (1, 0));
    let proof = holder.store.end_proof(space, device).unwrap().unwrap();
    let frame = Data::Fork {
        device,
        proof: proof.bytes(),
    }
    .encode();
    let lane = Lane::Space(channel);
    for _ in 0..100 {
        one.hear_bytes(lane, &frame).unwrap();
    }
    let work = one.unstored();
    assert_eq!(work.len(), 1);
    let end = holder.store.facts(space, device).unwrap().end().unwrap();
    assert_eq!(end.limit(), 1);
    let known = one.session.channels[&channel].ends.get(&device);
    assert_eq!(known, Some(&end));
    for output in work {
        one.store(output);
    }
    for _ in 0..100 {
        one.hear_bytes(lane, &frame).unwrap();
    }
    assert!(one.unstored().is_empty());
    // A peer that pretends not to know the fork gets its proof once.
    one.drive();
    one.wire.clear();
    for base in 2..100 {
        let frontiers = vec![claim(device.0, base)];
        one.hear(&Control::Frontiers { channel, frontiers })
            .unwrap();
        one.drive();
    }
    let proofs = one.wire[&lane].iter().filter(|frame| frame[0] == 0x21);
    assert_eq!(proofs.count(), 1);
}

#[test]
fn a_peer_that_brings_only_what_is_known_is_no_longer_asked() {
    let (mut one, space, channel) = victim(1);
    let device = Person::from_bytes([0, 1, 79]).device.id();
    let run = one.store.run(space, device, 0).unwrap().unwrap().bytes;
    let frame = Data::Run { device, run: &run }.encode();
    let frontiers = vec![claim(device.0, 1_000)];
    one.hear(&Control::Frontiers { channel, frontiers })
        .unwrap();
    let mut asked = 0;
    for _ in 0..100 {
        one.drive();
        asked += one
            .wire
            .remove(&Lane::Control)
            .map_or(0, |frames| frames.len());
        one.hear_bytes(Lane::Space(channel), &frame).unwrap();
    }
    assert!(asked <= 4, "{asked}");
}

#[test]
fn what_honest_nodes_cause_is_no_offence() {
    let (mut one, space, _) = victim(1);
    let device = Person::from_bytes([0, 1, 79]).device.id();
    for _ in 0..10 * STRIKES_MAX {
        one.session
            .handle_imported(
                space,
                device,
                1,
                Some(Reject::TooManyFeeds),
                NOW,
                &one.store,
            )
            .unwrap();
    }
    let fault = Some(Reject::BadSignature { seq: 1 });
    let ends = (0..STRIKES_MAX).map(|_| {
        one.session
            .handle_imported(space, device, 1, fault.clone(), NOW, &one.store)
    });
    assert_eq!(ends.last(), Some(Err(Fatal::Misbehaving)));
}

/// What was to be said of a space goes with the permission for it.
#[test]
fn nothing_of_a_space_leaves_after_its_permission() {
    let (mut one, space, channel) = victim(60);
    let own = one.store.me.device.id();
    one.hear(&Control::Node {
        channel,
        prefix: Prefix::root(),
        node: Node::Bucket(Vec::new()),
    })
    .unwrap();
    let feeds = vec![(own, 0)];
    one.hear(&Control::Want { channel, feeds }).unwrap();
    one.store.write(space, 1);
    one.session.handle_local(space, own);
    one.session
        .handle_audience(Vec::new(), 2, Vec::new(), Whereabouts::default());
    one.drive();
    let control = &one.wire[&Lane::Control];
    let kinds: Vec<u8> = control.iter().map(|frame| frame[0]).collect();
    assert_eq!(kinds, [2, 8], "a new search, and the offers");
    assert_eq!(one.wire.len(), 1, "no entries");
    assert_eq!(one.session.gossip_channel(space), None);
}

/// The hello spoke of spaces that are no longer allowed when the other side's came.
#[test]
fn an_audience_that_changes_before_the_hello_leads_to_a_search() {
    let (mut one, other, space) = pair((5, 5));
    let second = one.create_forum(8);
    let mut other = other;
    other.join_forum(&one, second);
    let agreed = BTreeSet::from([space, second]);
    let (one, other) = meet(one, other, &BTreeSet::new(), (1, 0));
    let (a, b) = (one.store.me.clone(), other.store.me.clone());
    let mut one = Side::new(one.store, true, &b, &agreed, (1, 1));
    let mut other = Side::new(other.store, false, &a, &agreed, (1, 1));
    let mut clearances = start(&one.store, true, &b, &agreed, (1, 1)).clearances;
    clearances.retain(|(clearance, _)| clearance.space() == space);
    one.session
        .handle_audience(clearances, 2, Vec::new(), Whereabouts::default());
    talk(&mut one, &mut other, |_| 0);
    assert_eq!(one.session.common(), BTreeSet::from([space]));
    assert_eq!(other.session.common(), BTreeSet::from([space]));
    one.store.write(space, 1);
    one.session.handle_local(space, a.device.id());
    talk(&mut one, &mut other, |_| 0);
    assert_eq!(one.store.contents(space), other.store.contents(space));
}

/// While the control stream is full nothing is said, but what came in is stored: or two nodes that
/// both have much to say would wait for each other.
#[test]
fn entries_are_handed_out_while_nothing_can_be_said() {
    let (one, other, space) = pair((300, 3));
    let (a, b) = (one.me.clone(), other.me.clone());
    let mut one = Side::new(one, true, &b, &BTreeSet::new(), (1, 0));
    let mut other = Side::new(other, false, &a, &BTreeSet::new(), (1, 0));
    for _ in 0..10 {
        one.drive();
        other.drive();
        for (lane, frames) in std::mem::take(&mut other.wire) {
            for frame in frames {
                one.hear_bytes(lane, &frame).unwrap();
            }
        }
        let control = one.wire.remove(&Lane::Control).unwrap_or_default();
        for frame in control {
            other.hear_bytes(Lane::Control, &frame).unwrap();
        }
    }
    one.drive();
    let entries = std::mem::take(&mut one.wire);
    for (lane, frames) in entries
        .into_iter()
        .filter(|(lane, _)| *lane != Lane::Control)
    {
        for frame in frames {
            other.hear_bytes(lane, &frame).unwrap();
        }
    }
    let work = other.unstored();
    assert!(!work.is_empty());
    for output in work {
        other.store(output);
    }
    assert_eq!(other.store.contents(space).len(), 301 + 4);
}

#[test]
fn gossip_is_dropped_while_the_disk_is_busy() {
    let (mut one, space, channel) = victim(0);
    let mut writer = Memory::new(Person::new(40));
    writer.join_forum(&one.store, space);
    let device = writer.me.device.id();
    let run = writer.run(space, device, 0).unwrap().unwrap().bytes;
    assert_eq!(Run::decode(&run).unwrap().items.len(), 1);
    let (tag, number) = one.session.gossip_channel(space).unwrap();
    assert_eq!(number, channel);
    let mut message = tag.to_vec();
    crate::wire::put_varint(&mut message, u64::from(channel));
    message.extend_from_slice(&device.0);
    message.extend_from_slice(&run);
    one.session.pending.import(IMPORT_BYTES_MAX);
    one.session
        .handle_gossip(&message, NOW, &one.store)
        .unwrap();
    assert!(one.unstored().is_empty());
    one.session.pending = Pending::default();
    one.session
        .handle_gossip(&message, NOW, &one.store)
        .unwrap();
    assert_eq!(one.unstored().len(), 1);
}

/// Everything that one side says to another in a meeting of forks, holes and new entries.
fn overheard() -> (Memory, Memory, SpaceId, Vec<(Lane, Vec<u8>)>) {
    let (mut one, mut other, space) = pair((300, 5));
    let cem = Person::new(3);
    let mut third = Memory::new(cem.clone());
    third.join_forum(&one, space);
    third.write(space, 5);
    let mut liar = third.clone();
    third.write_as(space, 2, "truth");
    liar.write_as(space, 4, "lie");
    one.copy_feed(&third, space, cem.device.id());
    other.copy_feed(&liar, space, cem.device.id());
    other.copy_feed(&one, space, one.me.device.id());
    other.drop_body(space, one.me.device.id(), 7);
    let (a, b) = (one.me.clone(), other.me.clone());
    let mut left = Side::new(one.clone(), true, &b, &BTreeSet::new(), (1, 0));
    let mut right = Side::new(other.clone(), false, &a, &BTreeSet::new(), (1, 0));
    let mut said = Vec::new();
    for _ in 0..30 {
        left.drive();
        right.drive();
        for (lane, frames) in std::mem::take(&mut left.wire) {
            for frame in frames {
                right.hear_bytes(lane, &frame).unwrap();
                said.push((lane, frame));
            }
        }
        for (lane, frames) in std::mem::take(&mut right.wire) {
            for frame in frames {
                left.hear_bytes(lane, &frame).unwrap();
            }
        }
    }
    assert_eq!(left.store.contents(space), right.store.contents(space));
    (one, other, space, said)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Frames of a real meeting, damaged, repeated, left out and out of order: nothing panics,
    /// nothing is stored that nobody wrote, and the next honest meeting makes both sides equal.
    #[test]
    fn damaged_frames_do_no_lasting_harm(picks in proptest::collection::vec((any::<prop::sample::Index>(), proptest::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>())), any::<bool>()), 1..120)) {
        let (one, other, space, said) = overheard();
        let before = other.contents(space);
        let (a, b) = (one.me.clone(), other.me.clone());
        let mut victim = Side::new(other, false, &a, &BTreeSet::new(), (1, 0));
        let hello = said[0].clone();
        for (pick, damage, store) in std::iter::once((None, None, true)).chain(picks.into_iter().map(|(pick, damage, store)| (Some(pick), damage, store))) {
            let (lane, mut frame) = pick.map_or(hello.clone(), |pick| pick.get(&said).clone());
            if let Some((at, byte)) = damage {
                let at = at.index(frame.len());
                frame[at] = byte;
            }
            if victim.hear_bytes(lane, &frame) == Err(Fatal::Misbehaving) {
                break;
            }
            if store {
                victim.drive();
            }
            victim.wire.clear();
        }
        victim.drive();
        let known: BTreeSet<_> = one.contents(space).into_iter().chain(before).map(|(device, id, _)| (device, id)).collect();
        for (device, id, _) in victim.store.contents(space) {
            prop_assert!(known.contains(&(device, id)));
        }
        let mut left = Side::new(one, true, &b, &BTreeSet::new(), (1, 0));
        let mut right = Side::new(victim.store, false, &a, &BTreeSet::new(), (1, 0));
        talk(&mut left, &mut right, |_| 0);
        prop_assert_eq!(left.store.contents(space), right.store.contents(space));
    }
}
