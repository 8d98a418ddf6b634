//! The newest first: over slow links, where much is lacking, and with cuts while a gap is filled.

use super::*;
use crate::frame::Data;

/// Two people in one forum; the first wrote that many posts of some length.
fn far_apart(count: u64) -> (Memory, Memory, SpaceId) {
    let (mut one, other, space) = pair((0, 3));
    one.write_as(space, count, &"some words ".repeat(25));
    (one, other, space)
}

/// Sides whose link is told to be slow.
fn slow_sides(one: Memory, other: Memory) -> (Side, Side) {
    let (a, b) = (one.me.clone(), other.me.clone());
    let side = |store: Memory, dialer, to: &Person| {
        let mut side = Side::new(store, dialer, to, &BTreeSet::new(), (1, 0));
        let start = Start {
            class: LinkClass::Slow,
            ..start(&side.store, dialer, to, &BTreeSet::new(), (1, 0))
        };
        side.session = Session::new(start, &side.store).unwrap();
        side
    };
    (side(one, true, &b), side(other, false, &a))
}

/// Takes one frame of each stream in turn, at most `frames` in all; returns the data frames that
/// went from the first to the second.
fn talk_a_while(one: &mut Side, other: &mut Side, frames: usize) -> Vec<Vec<u8>> {
    let mut data = Vec::new();
    for _ in 0..frames {
        one.drive();
        other.drive();
        let lanes: Vec<(bool, Lane)> = [(true, &*one), (false, &*other)]
            .iter()
            .flat_map(|(first, side)| {
                let waiting = side.wire.iter().filter(|(_, queue)| !queue.is_empty());
                waiting.map(|(lane, _)| (*first, *lane))
            })
            .collect();
        let Some((first, lane)) = lanes.first().copied() else {
            break;
        };
        let (from, to) = if first {
            (&mut *one, &mut *other)
        } else {
            (&mut *other, &mut *one)
        };
        let frame = from.wire.get_mut(&lane).unwrap().pop_front().unwrap();
        if first && lane != Lane::Control {
            data.push(frame.clone());
        }
        to.session
            .handle_frame(lane, &frame, NOW, &to.store)
            .unwrap();
    }
    data
}

fn tail_of(side: &Side, space: SpaceId, device: DeviceId) -> Option<(u64, u64, u64)> {
    let frontier = side.store.frontier(space, device).unwrap()?;
    let tail = frontier.tail?;
    Some((frontier.base, tail.start, tail.end))
}

#[test]
fn over_a_slow_link_the_newest_come_first_and_the_history_follows() {
    let (one, other, space) = far_apart(700);
    let ana = one.me.device.id();
    let (mut one, mut other) = slow_sides(one, other);
    let mut seen = Vec::new();
    for _ in 0..1_000 {
        talk_a_while(&mut one, &mut other, 1);
        if one.store.contents(space) == other.store.contents(space) {
            break;
        }
        seen.extend(tail_of(&other, space, ana));
    }
    seen.dedup();
    assert_eq!(seen[0].2, 701, "the newest entry is in the first chunk");
    assert!(seen[0].1 > 600, "and it is small: {:?}", seen[0]);
    assert!(seen.is_sorted_by(|a, b| a.1 > b.1), "downwards: {seen:?}");
    assert!(seen.iter().all(|(base, ..)| *base == 1));
    assert!(one.store.contents(space) == other.store.contents(space));
    assert!(one.rejected.is_empty() && other.rejected.is_empty());
    assert_eq!(other.session.progress().want, 0);
    assert_eq!(tail_of(&other, space, ana), None);
}

#[test]
fn over_a_fast_link_the_newest_come_first_and_the_history_from_below() {
    let (one, other, space) = far_apart(3_000);
    let ana = one.me.device.id();
    let (a, b) = (one.me.clone(), other.me.clone());
    let mut one = Side::new(one, true, &b, &BTreeSet::new(), (1, 0));
    let mut other = Side::new(other, false, &a, &BTreeSet::new(), (1, 0));
    let mut seen = Vec::new();
    for _ in 0..1_000 {
        talk_a_while(&mut one, &mut other, 1);
        seen.extend(tail_of(&other, space, ana));
        if one.store.contents(space) == other.store.contents(space) {
            break;
        }
    }
    seen.dedup();
    assert_eq!(seen.first().map(|tail| tail.2), Some(3_001));
    assert!(seen.iter().all(|(_, start, _)| *start >= 3_001 - 64));
    assert!(seen.is_sorted_by(|a, b| a.0 <= b.0));
    assert!(one.store.contents(space) == other.store.contents(space));
    assert!(one.rejected.is_empty() && other.rejected.is_empty());
}

#[test]
fn every_feed_s_newest_come_before_any_feed_s_history() {
    let (mut one, other, space) = far_apart(300);
    for n in 0..6_u8 {
        let mut writer = Memory::new(Person::from_bytes([n, 1, 79]));
        writer.join_forum(&one, space);
        writer.write_as(space, 400, &"other words ".repeat(25));
        one.copy_feed(&writer, space, writer.me.device.id());
    }
    let (mut one, mut other) = slow_sides(one, other);
    let frames = talk_a_while(&mut one, &mut other, 10_000);
    let chunks: Vec<DeviceId> = frames
        .iter()
        .filter_map(|frame| match Data::decode(frame).unwrap() {
            Data::Tail { device, .. } => Some(device),
            _ => None,
        })
        .collect();
    let first: BTreeSet<_> = chunks.iter().take(7).collect();
    assert_eq!(first.len(), 7);
    assert!(chunks.len() > 14);
    assert!(one.store.contents(space) == other.store.contents(space));
}

#[test]
fn what_is_written_meanwhile_is_taken_before_the_gap_is_filled() {
    let (one, other, space) = far_apart(700);
    let ana = one.me.device.id();
    let (mut one, mut other) = slow_sides(one, other);
    while tail_of(&other, space, ana).is_none() {
        talk_a_while(&mut one, &mut other, 1);
    }
    let older = other.store.clone();
    one.store.write(space, 300);
    // Gossip brings it, or the next meeting does.
    let (mut one, mut other) = slow_sides(one.store, older);
    let mut tops = Vec::new();
    while one.store.contents(space) != other.store.contents(space) {
        assert!(tops.len() < 5_000);
        talk_a_while(&mut one, &mut other, 1);
        tops.push(tail_of(&other, space, ana));
    }
    let raised = tops
        .iter()
        .position(|tail| matches!(tail, Some((.., 1_001))));
    let filled = tops
        .iter()
        .position(|tail| matches!(tail, Some((_, start, _)) if *start < 300));
    assert!(raised.unwrap() < filled.unwrap());
    assert!(other.rejected.is_empty());
}

#[test]
fn a_friend_passes_on_what_it_has_above_a_gap() {
    let (one, other, space) = far_apart(700);
    let ana = one.me.device.id();
    let mut cem = Memory::new(Person::new(3));
    cem.join_forum(&one, space);
    let (mut one, mut other) = slow_sides(one, other);
    while tail_of(&other, space, ana).is_none_or(|(_, start, _)| start > 400) {
        talk_a_while(&mut one, &mut other, 1);
    }
    let (ben, cem) = slow_sides(other.store, cem);
    let (mut ben, mut cem) = (ben, cem);
    talk(&mut ben, &mut cem, |_| 0);
    assert_eq!(tail_of(&ben, space, ana), tail_of(&cem, space, ana));
    assert!(ben.store.contents(space) == cem.store.contents(space));
    assert!(ben.rejected.is_empty() && cem.rejected.is_empty());
    // Both get the rest from where it is.
    let (mut one, mut cem) = slow_sides(one.store, cem.store);
    talk(&mut one, &mut cem, |_| 0);
    let (mut ben, mut cem) = slow_sides(ben.store, cem.store);
    talk(&mut ben, &mut cem, |_| 0);
    assert!(one.store.contents(space) == cem.store.contents(space));
    assert!(ben.store.contents(space) == cem.store.contents(space));
}

/// The author signed two histories, and the gap hides where they part.
#[test]
fn a_fork_inside_a_gap_ends_the_same_for_everybody() {
    for (at, slow) in [
        (50, true),
        (400, true),
        (680, true),
        (50, false),
        (400, false),
    ] {
        let (mut ana, ben, space) = pair((at, 2));
        let device = ana.me.device.id();
        let mut twin = ana.clone();
        ana.write_as(space, 700 - at + 900, "one");
        twin.write_as(space, 700 - at + 1_000, "other");
        let mut cem = Memory::new(Person::new(3));
        cem.join_forum(&ana, space);
        let sides = |a: Memory, b: Memory| {
            if slow {
                slow_sides(a, b)
            } else {
                let (x, y) = (a.me.clone(), b.me.clone());
                let one = Side::new(a, true, &y, &BTreeSet::new(), (1, 0));
                let other = Side::new(b, false, &x, &BTreeSet::new(), (1, 0));
                (one, other)
            }
        };
        // Ben has the top of one history, Cem all of the other.
        let (mut one, mut ben) = sides(ana, ben);
        while tail_of(&ben, space, device).is_none() {
            talk_a_while(&mut one, &mut ben, 1);
        }
        let (mut two, mut cem) = sides(twin, cem);
        talk(&mut two, &mut cem, |_| 0);
        let (mut nodes, mut last) = (vec![one.store, ben.store, cem.store], Vec::new());
        for round in 0..12 {
            let (x, y) = [(1, 2), (0, 1), (0, 2)][round % 3];
            let (left, right) = sides(nodes[x].clone(), nodes[y].clone());
            let (mut left, mut right) = (left, right);
            talk(&mut left, &mut right, |_| 0);
            (nodes[x], nodes[y]) = (left.store, right.store);
            last = nodes.iter().map(|node| node.contents(space)).collect();
        }
        assert!(
            last.iter().all(|contents| *contents == last[0]),
            "forked at {at}"
        );
        let frontier = nodes[1].frontier(space, device).unwrap().unwrap();
        assert_eq!((frontier.base, frontier.fork), (at + 1, Some(at + 1)));
        assert_eq!(frontier.tail, None);
    }
}

#[test]
fn a_tail_that_lies_is_refused_and_the_feed_fetched_from_below() {
    let (one, other, space) = far_apart(700);
    let ana = one.me.device.id();
    let (mut one, mut other) = slow_sides(one, other);
    let mut changed = 0;
    for _ in 0..5_000 {
        one.drive();
        other.drive();
        for lane in one.wire.keys().copied().collect::<Vec<_>>() {
            let Some(mut frame) = one.wire.get_mut(&lane).unwrap().pop_front() else {
                continue;
            };
            if frame[0] == 0x23 && changed < 2 {
                changed += 1;
                let at = frame.len() / 2;
                frame[at] ^= 1;
            }
            other
                .session
                .handle_frame(lane, &frame, NOW, &other.store)
                .unwrap();
        }
        hear_control(&mut other, &mut one);
    }
    assert!(changed > 0);
    assert!(!other.rejected.is_empty());
    assert_eq!(one.store.contents(space).len(), 704 + 1);
    assert!(one.store.contents(space) == other.store.contents(space));
    assert_eq!(tail_of(&other, space, ana), None);
}

/// Passes everything on that one side has to say.
fn hear_control(from: &mut Side, to: &mut Side) {
    for lane in from.wire.keys().copied().collect::<Vec<_>>() {
        while let Some(frame) = from.wire.get_mut(&lane).unwrap().pop_front() {
            to.session
                .handle_frame(lane, &frame, NOW, &to.store)
                .unwrap();
        }
    }
}

#[test]
fn a_long_queue_is_no_stall() {
    let (one, other, space) = far_apart(700);
    let ana = one.me.device.id();
    let (mut one, mut other) = slow_sides(one, other);
    while tail_of(&other, space, ana).is_none() {
        talk_a_while(&mut one, &mut other, 1);
    }
    other.drive();
    // Something else of this meeting came a moment ago: nothing is asked for again.
    let later = NOW.plus(STALL_MS + 1);
    other.session.pace.count(1, later.plus(0));
    other.session.handle_timeout(later, &other.store).unwrap();
    let asks = |side: &mut Side| {
        let mut asks = 0;
        while let Some(output) = side.session.poll(&side.store).unwrap() {
            let Output::Control(frame) = output else {
                continue;
            };
            asks += usize::from(matches!(
                Control::decode(&frame).unwrap(),
                Control::WantTails { .. }
            ));
        }
        asks
    };
    assert_eq!(asks(&mut other), 0);
    let silent = later.plus(STALL_MS + 1);
    other.session.handle_timeout(silent, &other.store).unwrap();
    assert_eq!(asks(&mut other), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Cuts at any frame, links that are fast or slow each time, entries written meanwhile, and a
    /// third node that meets either.
    #[test]
    fn any_meetings_with_gaps_converge(count in 20..900_u64, meetings in proptest::collection::vec((0..3_usize, any::<bool>(), 0..60_usize, 0..40_u64), 1..8)) {
        let (ana, ben, space) = pair((count, 3));
        let mut cem = Memory::new(Person::new(3));
        cem.join_forum(&ana, space);
        let mut nodes = [ana, ben, cem];
        let pairs = [(0, 1), (1, 2), (0, 2)];
        let fast = |a: Memory, b: Memory| {
            let (x, y) = (a.me.clone(), b.me.clone());
            (Side::new(a, true, &y, &BTreeSet::new(), (1, 0)), Side::new(b, false, &x, &BTreeSet::new(), (1, 0)))
        };
        let last = [(0, true, 100_000, 0), (1, true, 100_000, 0), (2, false, 100_000, 0), (0, false, 100_000, 0), (1, false, 100_000, 0)];
        for (which, slow, frames, written) in meetings.into_iter().chain(last) {
            let (x, y) = pairs[which];
            nodes[x].write(space, written);
            let (one, other) = (nodes[x].clone(), nodes[y].clone());
            let (mut one, mut other) = if slow { slow_sides(one, other) } else { fast(one, other) };
            talk_a_while(&mut one, &mut other, frames);
            prop_assert!(one.rejected.is_empty() && other.rejected.is_empty(), "{:?} {:?}", one.rejected, other.rejected);
            (nodes[x], nodes[y]) = (one.store, other.store);
        }
        for node in &nodes[1..] {
            prop_assert!(node.contents(space) == nodes[0].contents(space));
        }
    }
}
