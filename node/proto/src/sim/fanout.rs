//! How long a post takes to all over four hops, and what it costs each.

use super::{
    Change, Changed, Graph, Link, NodeStore, Setting, Timetable, Words,
    world::{MINUTE, SECOND, World},
};
use crate::{ids::SpaceId, session::SpaceStore};

/// How exactly times are taken, in microseconds.
const STEP: u64 = 500;
/// A post that took longer didn't arrive, in microseconds.
const ARRIVED_MAX: u64 = MINUTE;
/// Hops from the one who writes to the farthest.
const HOPS: u32 = 4;

/// What a post came to.
#[derive(Debug, Clone)]
pub struct FanOut {
    /// How many had it at last, its author included.
    pub nodes: usize,
    /// Pairs of contacts, each with a meeting.
    pub pairs: usize,
    /// When half of them had it, in microseconds.
    pub half_us: u64,
    /// When all had it.
    pub all_us: u64,
    /// Bytes that went over all links, divided by the nodes.
    pub bytes_a_node: u64,
    /// Frames and hints, divided by the nodes, times a hundred.
    pub frames_a_node_x100: u64,
}

/// Lets one of many nodes in one forum write a post, on good links that are always there.
///
/// # Panics
/// Where it doesn't reach all.
#[must_use]
pub fn fan_out<S: NodeStore>(nodes: usize, seed: u64) -> FanOut {
    let setting = Setting {
        nodes,
        forums: 0,
        acts: 0,
        faults: 0,
        hostile: 0,
        twins: 0,
        clocks: false,
        graph: Some(Graph::Levels),
        timetable: Some(Timetable::Always),
        link: Some(Link::LAN),
        ..Setting::small(seed)
    };
    let mut world = World::<S>::new(setting);
    let space = world.gather();
    // What belongs to the first post of a feed isn't counted.
    world.post_text(space);
    world.run_until(world.now() + MINUTE);
    let (bytes, frames) = world.sent();
    let began = world.now();
    let next = world.post_text(space);
    let mut half_us = 0;
    let all_us = loop {
        let until = world.now() + STEP;
        world.run_until(until);
        let have = world.have(space, next);
        let passed = world.now() - began;
        if half_us == 0 && have * 2 >= nodes {
            half_us = passed;
        }
        if have == nodes {
            break passed;
        }
        if passed > ARRIVED_MAX {
            world.fail(&format!("a post reached {have} of {nodes}"));
        }
    };
    world.run_until(world.now() + MINUTE);
    let after = world.sent();
    FanOut {
        nodes,
        pairs: world.pairs.len(),
        half_us,
        all_us,
        bytes_a_node: (after.0 - bytes) / nodes as u64,
        frames_a_node_x100: 100 * (after.1 - frames) / nodes as u64,
    }
}

impl<S: NodeStore> World<S> {
    /// Brings all into one forum of the first.
    fn gather(&mut self) -> SpaceId {
        self.run_until(2 * MINUTE);
        let found = Change::Found {
            name: "all".to_owned(),
            salt: [3; 32],
        };
        let Some(Changed::Holds(space)) = self.change(0, &found) else {
            self.fail("no forum could be made");
        };
        self.oracle.space(space);
        for n in 0..self.nodes.len() {
            self.oracle.knows(space, self.nodes[n].person.identity.id());
        }
        let mut in_it = vec![0];
        for _ in 0..=HOPS {
            for n in in_it.clone() {
                for m in self.nodes[n].contacts.clone() {
                    if !in_it.contains(&m) {
                        let to = self.identity(m);
                        self.change(n, &Change::Offer { space, to });
                    }
                }
            }
            let until = self.now() + 10 * SECOND;
            self.run_until(until);
            for n in 0..self.nodes.len() {
                let taken = !in_it.contains(&n)
                    && self.change(n, &Change::Accept(space)) == Some(Changed::Holds(space));
                if taken {
                    in_it.push(n);
                }
            }
        }
        let until = self.now() + MINUTE;
        self.run_until(until);
        space
    }

    /// The first writes; how many entries its feed has then.
    fn post_text(&mut self, space: SpaceId) -> u64 {
        let words = Words::Post("A post of about as many words as people write. ".repeat(6));
        match self.change(0, &Change::Write { space, words }) {
            Some(Changed::Written { entries, .. }) => entries.last().map_or(0, |(seq, _)| seq + 1),
            other => self.fail(&format!("no post: {other:?}")),
        }
    }

    fn have(&self, space: SpaceId, next: u64) -> usize {
        let device = self.nodes[0].person.device.id();
        let holds = |n: &usize| {
            let view = self.well(*n, self.nodes[*n].store.view());
            let frontier = self.well(*n, view.frontier(space, device));
            frontier.is_some_and(|frontier| frontier.base >= next)
        };
        (0..self.nodes.len()).filter(holds).count()
    }

    fn sent(&self) -> (u64, u64) {
        let Self { figures, .. } = self;
        (figures.bytes, figures.frames + figures.hints)
    }
}
