//! What a meeting costs that has little or nothing to bring: among many entries and spaces, and in
//! forums of few and of many feeds.
//!
//! The two sides are the node's own session over two of its stores, in one thread, so that bytes,
//! round trips and processor time can be counted exactly. What a connection adds (its handshake,
//! packets) and the storing of what is new cost the same whatever was held before.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use proto::{
    DeviceId, IdentityId, SpaceId,
    audience::{Clearance, ContactFacts, SpaceFacts, clear},
    frame::LinkClass,
    session::{Lane, Output, Session, Start, run_bytes},
    space::SpaceKind,
};
use rustix::time::{ClockId, clock_gettime};
use store::{ImportError, Store};

use crate::{
    args::Args,
    grown::{Grown, NOW, Shape},
    table::{Table, count, ms},
};

/// Flights after which two sides that don't fall silent are given up.
const FLIGHTS_MAX: usize = 1_000;
/// Bytes of a frame beside its content: its length.
const FRAME_BYTES: usize = 4;
/// Bytes of both hellos.
const NOTHING_NEW_TARGET: usize = 300;
/// What a meeting of a large forum may cost more than that of a small one with the same news.
const GROWTH_TARGET: f64 = 30.0;

/// Both sides of a meeting, from the first frame to silence.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    bytes: usize,
    /// Frames that cross at the same time are one flight; two flights are a round trip.
    flights: usize,
    processor: [Duration; 2],
    /// Entries that came to the side that lacked them.
    entries: usize,
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [one, other] = self.processor;
        write!(
            f,
            "{} bytes, {} round trips, processor {} and {}",
            count(self.bytes as u64),
            self.flights as f64 / 2.0,
            ms(one),
            ms(other)
        )
    }
}

struct Side<'s> {
    store: &'s Store,
    session: Session,
    sent: VecDeque<(Lane, Vec<u8>)>,
    processor: Duration,
    entries: usize,
}

/// Many entries and spaces.
pub(crate) fn run(args: &Args, table: &mut Table) {
    let feeds = 10;
    let shape = Shape {
        spaces: args.spaces,
        feeds,
        entries: (args.many / args.spaces / feeds).max(2),
    };
    let mut grown = Grown::new(shape);
    let entries = shape.spaces * shape.feeds * shape.entries;
    let among = format!(
        "among {} entries in {} spaces",
        count(entries as u64),
        count(shape.spaces as u64)
    );
    let agreed: BTreeSet<_> = grown.ids().collect();
    let nothing = meet(&grown, &agreed);
    table.figure(
        &format!("a meeting with nothing new {among}"),
        nothing.to_string(),
        "< 300 bytes, one round trip",
        nothing.bytes < NOTHING_NEW_TARGET && nothing.flights <= 2,
    );
    for new in [1, 1_000] {
        let new = new.min(shape.spaces * shape.feeds);
        grown.write(new);
        let cost = meet(&grown, &agreed);
        assert_eq!(cost.entries, new, "new entries that arrived");
        table.known(
            &format!("a meeting with {} new {among}", count(new as u64)),
            cost.to_string(),
        );
    }
    let search = meet(&grown, &BTreeSet::new());
    table.known(
        &format!("a first meeting, all the same, {among}"),
        search.to_string(),
    );
}

/// Forums of more and more feeds.
pub(crate) fn feeds(args: &Args, table: &mut Table) {
    let mut smallest = None;
    for feeds in [10, 1_000, args.feeds] {
        let shape = Shape {
            spaces: 1,
            feeds,
            entries: 3,
        };
        let mut grown = Grown::new(shape);
        let agreed: BTreeSet<_> = grown.ids().collect();
        for changed in [1, 10] {
            grown.write(changed);
            let cost = meet(&grown, &agreed);
            assert_eq!(cost.entries, changed, "new entries that arrived");
            let small = smallest.get_or_insert(cost.bytes);
            let growth = cost.bytes as f64 / *small as f64;
            table.figure(
                &format!(
                    "a forum of {} feeds, {changed} of them with a new entry",
                    count(feeds as u64)
                ),
                cost.to_string(),
                "bytes follow the difference",
                growth < GROWTH_TARGET,
            );
        }
    }
}

/// A meeting of the two stores; afterwards they hold the same.
fn meet(grown: &Grown, agreed: &BTreeSet<SpaceId>) -> Cost {
    let people = [IdentityId([1; 32]), IdentityId([2; 32])];
    let spaces: Vec<SpaceId> = grown.ids().collect();
    let mut sides = [0, 1].map(|at| {
        let cleared = |id: &SpaceId| clearance(*id, people[1 - at]);
        let start = Start {
            dialer: at == 0,
            exporter: [9; 32],
            seed: [at as u8; 32],
            class: LinkClass::Fast,
            device: if at == 0 {
                grown.device()
            } else {
                DeviceId([2; 32])
            },
            clearances: spaces.iter().map(cleared).collect(),
            agreed: agreed.clone(),
            rev: 1,
            // What was never agreed on has to be searched for.
            seen_rev: u64::from(!agreed.is_empty()),
            offers: Vec::new(),
            whereabouts: proto::frame::Whereabouts::default(),
        };
        Side::new(&grown.stores[at], start)
    });
    let mut cost = Cost::default();
    loop {
        for side in &mut sides {
            side.drive(grown);
        }
        let [one, other] = &mut sides;
        if one.sent.is_empty() && other.sent.is_empty() {
            break;
        }
        cost.flights += 1;
        assert!(cost.flights < FLIGHTS_MAX, "the two never fall silent");
        // What was sent before the other's frames came crosses them.
        let (to_other, to_one) = (
            std::mem::take(&mut one.sent),
            std::mem::take(&mut other.sent),
        );
        for (_, frame) in to_other.iter().chain(&to_one) {
            cost.bytes += frame.len() + FRAME_BYTES;
        }
        other.hear(to_other);
        one.hear(to_one);
    }
    let digest = |at: usize, space| grown.stores[at].read().unwrap().digest(space).unwrap();
    assert!(spaces.iter().all(|id| digest(0, *id) == digest(1, *id)));
    cost.processor = [sides[0].processor, sides[1].processor];
    cost.entries = sides[1].entries;
    cost
}

fn clearance(id: SpaceId, contact: IdentityId) -> (Clearance, SpaceKind) {
    let kind = SpaceKind::Forum;
    let facts = SpaceFacts {
        id,
        kind,
        counterpart: contact,
        member: false,
    };
    let contact = ContactFacts {
        identity: contact,
        ready: true,
        excluded: false,
        member: false,
    };
    (clear(&facts, &contact).unwrap(), kind)
}

/// The processor time of this thread so far.
fn now() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

impl<'s> Side<'s> {
    fn new(store: &'s Store, start: Start) -> Self {
        let began = now();
        let snapshot = store.read().unwrap();
        let session = Session::new(start, &snapshot).unwrap();
        Self {
            store,
            session,
            sent: VecDeque::new(),
            processor: now() - began,
            entries: 0,
        }
    }

    /// Does what the session says until it says nothing more.
    fn drive(&mut self, grown: &Grown) {
        loop {
            let began = now();
            let snapshot = self.store.read().unwrap();
            let mut imports = Vec::new();
            while let Some(output) = self.session.poll(&snapshot).unwrap() {
                match output {
                    Output::Control(bytes) => self.sent.push_back((Lane::Control, bytes)),
                    Output::Import { space, run } => imports.push((space, run)),
                    Output::Common(_)
                    | Output::Equal(_)
                    | Output::PeerHolds { .. }
                    | Output::Offers { .. } => {}
                    other => panic!("equal histories led to {other:?}"),
                }
            }
            while let Some(frame) = self.session.poll_data(&snapshot, |_| true).unwrap() {
                self.sent
                    .push_back((Lane::Space(frame.channel), frame.bytes));
            }
            self.processor += now() - began;
            if imports.is_empty() {
                return;
            }
            let told: Vec<_> = imports
                .iter()
                .map(|(space, run)| (*space, run.device(), run_bytes(run)))
                .collect();
            self.entries += imports.len();
            let stored = self.store.write(move |txn| {
                for (space, run) in imports {
                    match txn.import(space, run, NOW) {
                        Ok(_) => {}
                        Err(ImportError::Store(error)) => return Err(error),
                        Err(ImportError::Reject(reject)) => panic!("refused: {reject}"),
                    }
                }
                Ok(())
            });
            grown.runtime.block_on(stored).unwrap();
            let began = now();
            let snapshot = self.store.read().unwrap();
            for (space, device, bytes) in told {
                self.session
                    .handle_imported(space, device, bytes, None, NOW, &snapshot)
                    .unwrap();
            }
            self.processor += now() - began;
        }
    }

    fn hear(&mut self, frames: VecDeque<(Lane, Vec<u8>)>) {
        let began = now();
        // As the node does: a view of the store for each frame.
        for (lane, frame) in frames {
            let snapshot = self.store.read().unwrap();
            self.session
                .handle_frame(lane, &frame, NOW, &snapshot)
                .unwrap();
        }
        self.processor += now() - began;
    }
}
