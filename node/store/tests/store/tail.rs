//! Entries above a gap: whatever comes in which order, a node ends with what it would hold had it
//! taken everything from the first entry on.

use proptest::prelude::*;
use proto::{
    DeviceId, Millis, SpaceId,
    body::Body,
    run::Run,
    session::ServedTail,
    space::SpaceKind,
    verify::{Outcome, Reject, verify_run, verify_tail_chunk},
};
use store::Store;

use crate::support::{
    Device, Place, T0, healthy, pull, react, reply, runs, settle, take, thread, try_post, until,
    write,
};

struct World {
    forum: Place,
    ben: Device,
    /// Ana's node, which has everything.
    full: Store,
}

/// A thread of Ana's and `count` answers to it by Ben, some of them long, some edited or retracted.
fn world(count: u64) -> World {
    let (ana, ben) = (Device::new(1, 0), Device::new(2, 0));
    let forum = Place::new(SpaceKind::Forum, "Camp", &[&ana, &ben]);
    let full = forum.node();
    let post = |device: &Device, at: u64, body: &Body<'_>| {
        try_post(&full, &forum, device, at, body).unwrap().id
    };
    let root = post(&ana, T0, &thread("Fire", "who brings wood?"));
    let mut own = Vec::new();
    for n in 0..count {
        let at = if n % 41 == 0 { 0 } else { T0 + n * 1_000 };
        let text = format!("answer {n} {}", "long ".repeat((n as usize * 7919) % 400));
        let big = "x".repeat(60_000);
        let id = match n % 29 {
            3 if !own.is_empty() => post(
                &ben,
                at,
                &Body::Retract {
                    target: own[own.len() / 2],
                },
            ),
            7 if !own.is_empty() => post(
                &ben,
                at,
                &crate::support::edit(own[own.len() - 1], "better"),
            ),
            11 => post(&ben, at, &react(root, "👍", n % 2 == 0)),
            13 => post(&ben, at, &reply(root, &big, None)),
            _ => post(&ben, at, &reply(root, &text, own.last().copied())),
        };
        if matches!(n % 29, 0..=2 | 4..=6 | 8..=10 | 12..) {
            own.push(id);
        }
    }
    World { forum, ben, full }
}

fn served(
    from: &Store,
    space: SpaceId,
    device: DeviceId,
    range: (u64, Option<u64>),
    bytes: usize,
) -> Option<ServedTail> {
    from.read()
        .unwrap()
        .tail_run(space, device, range, bytes)
        .unwrap()
}

/// Takes a chunk as a meeting does; `None` where it is dropped.
fn take_chunk(
    to: &Store,
    space: SpaceId,
    device: DeviceId,
    bytes: &[u8],
    now: u64,
) -> Result<usize, Reject> {
    let (context, facts) = {
        let view = to.read().unwrap();
        (
            view.context(space).unwrap().unwrap(),
            view.facts(space, device).unwrap(),
        )
    };
    let chunk = verify_tail_chunk(&context, &facts, bytes.to_vec())?;
    settle(
        write(to, move |txn| {
            Ok(txn.import_tail(space, chunk, Millis(now)))
        })
        .unwrap(),
    )
    .map(|imported| imported.entries.len())
}

/// Takes a run that continues a tail.
fn raise(
    to: &Store,
    space: SpaceId,
    device: DeviceId,
    bytes: &[u8],
    now: u64,
) -> Result<usize, Reject> {
    let (context, facts) = {
        let view = to.read().unwrap();
        (
            view.context(space).unwrap().unwrap(),
            view.facts(space, device).unwrap(),
        )
    };
    match verify_run(&context, &facts, bytes.to_vec())? {
        Outcome::ContinuesTail(more) => {
            settle(write(to, move |txn| Ok(txn.import_tail(space, more, Millis(now)))).unwrap())
                .map(|imported| imported.entries.len())
        }
        Outcome::Continues(run) => {
            settle(write(to, move |txn| Ok(txn.import(space, run, Millis(now)))).unwrap())
                .map(|imported| imported.entries.len())
        }
        Outcome::Overlaps(_) => Ok(0),
    }
}

fn tail_of(store: &Store, space: SpaceId, device: DeviceId) -> Option<(u64, u64, u64)> {
    let frontier = store.read().unwrap().frontier(space, device).unwrap()?;
    frontier
        .tail
        .map(|tail| (frontier.base, tail.start, tail.end))
}

/// Everything that pages show, topic by topic. An author's own posts stand in their order.
fn texts(store: &Store, space: SpaceId) -> Vec<String> {
    healthy(store);
    let view = store.read().unwrap();
    let mut texts = Vec::new();
    for topic in view.topics(space, None, 500).unwrap().items {
        let mut cursor = None;
        let mut last = 0;
        loop {
            let page = view.items(topic.number, cursor.as_ref(), 500).unwrap();
            for item in page.items {
                assert!(item.seq >= last, "{} after {last}", item.seq);
                last = item.seq;
                // Who got a retracted entry without its body doesn't know where it stood.
                if item.retracted {
                    continue;
                }
                texts.push(format!("{} {} {:?}", item.id, item.text, item.title));
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
    }
    texts
}

/// What both must agree on once nothing is missing: frontiers, bodies, what pages show, and that a
/// third node can be served from there.
fn assert_same(world: &World, other: &Store) {
    healthy(other);
    let (space, device) = (world.forum.id(), world.ben.id());
    let (one, two) = (world.full.read().unwrap(), other.read().unwrap());
    assert_eq!(
        two.frontier(space, device).unwrap(),
        one.frontier(space, device).unwrap()
    );
    assert_eq!(
        two.facts(space, device).unwrap(),
        one.facts(space, device).unwrap()
    );
    assert_eq!(two.digest(space).unwrap(), one.digest(space).unwrap());
    assert_eq!(counts(&two, space).entries, counts(&one, space).entries);
    assert_eq!(two.missing_below(space).unwrap(), 0);
    drop((one, two));
    assert_eq!(
        bodies(other, space, device),
        bodies(&world.full, space, device)
    );
    let mut shown = texts(other, space);
    let mut expected = texts(&world.full, space);
    shown.sort();
    expected.sort();
    assert_eq!(shown, expected);
    let third = world.forum.node();
    pull(&third, other, space, T0 * 2);
    assert_eq!(
        third.read().unwrap().digest(space).unwrap(),
        world.full.read().unwrap().digest(space).unwrap()
    );
}

fn counts(view: &store::Snapshot, space: SpaceId) -> store::Counts {
    view.space(space).unwrap().unwrap().counts
}

fn bodies(store: &Store, space: SpaceId, device: DeviceId) -> Vec<(u64, String)> {
    let mut bodies = Vec::new();
    for bytes in runs(store, space, device) {
        let run = Run::decode(&bytes).unwrap();
        bodies.extend((run.start..).zip(run.items.iter().map(|item| format!("{:?}", item.body))));
    }
    bodies
}

#[test]
fn the_newest_are_shown_at_once_and_the_gap_closes_downwards() {
    let world = world(900);
    let (space, ben) = (world.forum.id(), world.ben.id());
    let node = world.forum.node();
    let genesis = runs(&world.full, space, ben)[0].clone();
    take(&node, space, ben, &genesis, T0 * 2).unwrap();
    let first = served(&world.full, space, ben, (1, None), 4_096).unwrap();
    assert!(first.start > 800 && first.start + first.entries == 901);
    take_chunk(&node, space, ben, &first.bytes, T0 * 2).unwrap();
    assert_eq!(tail_of(&node, space, ben), Some((1, first.start, 901)));
    let missing = node.read().unwrap().missing_below(space).unwrap();
    assert_eq!(missing, first.start - 1);
    assert!(!texts(&node, space).is_empty());
    let mut end = first.start;
    while let Some(chunk) = served(&world.full, space, ben, (1, Some(end)), 16 * 1024) {
        let new = take_chunk(&node, space, ben, &chunk.bytes, T0 * 2).unwrap();
        assert_eq!(new as u64, chunk.entries);
        end = chunk.start;
    }
    assert_eq!((end, tail_of(&node, space, ben)), (1, None));
    pull(&node, &world.full, space, T0 * 2);
    assert_same(&world, &node);
}

#[test]
fn what_lies_above_a_gap_is_served_on() {
    let world = world(600);
    let (space, ben) = (world.forum.id(), world.ben.id());
    let (node, third) = (world.forum.node(), world.forum.node());
    for to in [&node, &third] {
        take(to, space, ben, &runs(&world.full, space, ben)[0], T0 * 2).unwrap();
    }
    let mut end = None;
    for _ in 0..8 {
        let chunk = served(&world.full, space, ben, (1, end), 9_000).unwrap();
        take_chunk(&node, space, ben, &chunk.bytes, T0 * 2).unwrap();
        end = Some(chunk.start);
    }
    let mut end = None;
    while let Some(chunk) = served(&node, space, ben, (1, end), 5_000) {
        take_chunk(&third, space, ben, &chunk.bytes, T0 * 2).unwrap();
        end = Some(chunk.start);
    }
    assert_eq!(tail_of(&third, space, ben), tail_of(&node, space, ben));
    // The tail also goes upwards, from inside.
    let (_, start, top) = tail_of(&node, space, ben).unwrap();
    let view = node.read().unwrap();
    let mut next = start;
    while let Some(run) = view.run(space, ben, next, 1, 1).unwrap() {
        assert!(run.end > next && run.end <= top);
        next = run.end;
    }
    assert_eq!(next, top);
    drop(view);
    pull(&third, &world.full, space, T0 * 2);
    assert_same(&world, &third);
}

#[test]
fn a_fork_or_a_revocation_ends_what_is_above_a_gap() {
    let world = world(400);
    let (space, ben) = (world.forum.id(), world.ben.id());
    let node = world.forum.node();
    take(&node, space, ben, &runs(&world.full, space, ben)[0], T0 * 2).unwrap();
    let chunk = served(&world.full, space, ben, (1, None), 4_096).unwrap();
    take_chunk(&node, space, ben, &chunk.bytes, T0 * 2).unwrap();
    let id = world
        .full
        .read()
        .unwrap()
        .frontier(space, ben)
        .unwrap()
        .unwrap()
        .top;
    let revocation = crate::support::revocation(&world.ben, space, ben, 400, id).encode();
    let refused = write(&node, move |txn| {
        Ok(txn.import_revocation(space, ben, &revocation))
    })
    .unwrap();
    settle(refused).unwrap();
    assert_eq!(tail_of(&node, space, ben), None);
    assert_eq!(node.read().unwrap().missing_below(space).unwrap(), 0);
    assert!(
        texts(&node, space).is_empty(),
        "nothing of it is shown any more"
    );
    let again = take_chunk(&node, space, ben, &chunk.bytes, T0 * 2);
    assert!(matches!(again, Err(Reject::BeyondRevocation { .. })));
    pull(&node, &world.full, space, T0 * 2);
    assert_eq!(
        node.read()
            .unwrap()
            .frontier(space, ben)
            .unwrap()
            .unwrap()
            .base,
        401
    );
}

#[test]
fn a_tail_of_another_branch_gives_way_to_what_is_held_below() {
    let (one, other) = (world(300), world(120));
    let (space, ben) = (one.forum.id(), one.ben.id());
    // The same device wrote on differently after its 121st entry.
    for n in 0..200 {
        let body = thread("Other", "branch");
        try_post(&other.full, &other.forum, &other.ben, T0 + 900 + n, &body).unwrap();
    }
    let node = one.forum.node();
    take(&node, space, ben, &runs(&one.full, space, ben)[0], T0 * 2).unwrap();
    let chunk = served(&one.full, space, ben, (1, None), 4_096).unwrap();
    take_chunk(&node, space, ben, &chunk.bytes, T0 * 2).unwrap();
    for run in runs(&other.full, space, ben).iter().skip(1) {
        take(&node, space, ben, run, T0 * 2).unwrap();
    }
    assert_eq!(tail_of(&node, space, ben), None);
    assert_eq!(bodies(&node, space, ben), bodies(&other.full, space, ben));
    // And now the whole of the first branch shows the fork.
    for run in runs(&one.full, space, ben) {
        let _ = take(&node, space, ben, &run, T0 * 2);
    }
    let frontier = node.read().unwrap().frontier(space, ben).unwrap().unwrap();
    assert_eq!((frontier.base, frontier.fork), (121, Some(121)));
}

#[test]
fn leaving_a_space_with_a_gap_leaves_nothing() {
    let world = world(300);
    let (space, ben) = (world.forum.id(), world.ben.id());
    let node = world.forum.node();
    take(&node, space, ben, &runs(&world.full, space, ben)[0], T0 * 2).unwrap();
    let chunk = served(&world.full, space, ben, (1, None), 4_096).unwrap();
    take_chunk(&node, space, ben, &chunk.bytes, T0 * 2).unwrap();
    write(&node, move |txn| txn.leave_space(space)).unwrap();
    until("the feed is gone", || {
        let view = node.read().unwrap();
        view.frontier(space, ben).unwrap().is_none() && view.missing_below(space).unwrap() == 0
    });
    world.forum.join(&node);
    pull(&node, &world.full, space, T0 * 2);
    let view = node.read().unwrap();
    assert_eq!(
        view.digest(space).unwrap(),
        world.full.read().unwrap().digest(space).unwrap()
    );
}

#[derive(Debug, Clone)]
enum Step {
    /// A chunk of so many bytes from above.
    Down(usize),
    /// The next run from below.
    Up,
    /// The next run above the tail.
    Raise,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..40_000_usize).prop_map(Step::Down),
        2 => Just(Step::Up),
        2 => Just(Step::Raise),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Chunks from above, runs from below and what is written meanwhile, in any order.
    #[test]
    fn any_order_ends_with_the_same(count in 2..700_u64, later in 0..300_u64, steps in proptest::collection::vec(step(), 0..40)) {
        let whole = world(count + later);
        let space = whole.forum.id();
        let ben = whole.ben.id();
        // A peer that has only the first part, cut at a signed entry.
        let part = whole.forum.node();
        for run in runs(&whole.full, space, ben) {
            let decoded = Run::decode(&run).unwrap();
            if decoded.end() > count.max(1) { break; }
            take(&part, space, ben, &run, T0 * 2).unwrap();
        }
        let node = whole.forum.node();
        take(&node, space, ben, &runs(&whole.full, space, ben)[0], T0 * 2).unwrap();
        let mut raised = false;
        for step in steps {
            let tail = tail_of(&node, space, ben);
            let base = node.read().unwrap().frontier(space, ben).unwrap().unwrap().base;
            let from = if raised || tail.is_some_and(|tail| tail.2 > count) { &whole.full } else { &part };
            let moved = match step {
                Step::Down(bytes) => served(from, space, ben, (base, tail.map(|tail| tail.1)), bytes)
                    .map(|chunk| take_chunk(&node, space, ben, &chunk.bytes, T0 * 2)),
                Step::Up => {
                    let run = from.read().unwrap().run(space, ben, base, 1, 1).unwrap();
                    run.map(|run| raise(&node, space, ben, &run.bytes, T0 * 2))
                }
                Step::Raise => {
                    raised = true;
                    let next = tail.map_or(base, |tail| tail.2);
                    let run = whole.full.read().unwrap().run(space, ben, next, 1, 1).unwrap();
                    run.map(|run| raise(&node, space, ben, &run.bytes, T0 * 2))
                }
            };
            if let Some(Err(reject)) = moved {
                prop_assert!(!reject.is_fault(), "{reject:?}");
            }
            let frontier = node.read().unwrap().frontier(space, ben).unwrap().unwrap();
            let held = frontier.base + frontier.tail.map_or(0, |tail| tail.end - tail.start);
            prop_assert_eq!(counts(&node.read().unwrap(), space).entries, held);
        }
        while let Some((base, start, _)) = tail_of(&node, space, ben) {
            let chunk = served(&whole.full, space, ben, (base, Some(start)), 16 * 1024).unwrap();
            take_chunk(&node, space, ben, &chunk.bytes, T0 * 2).unwrap();
        }
        pull(&node, &whole.full, space, T0 * 2);
        assert_same(&whole, &node);
    }
}
