//! The state of one common space in a session.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    audience::Clearance,
    entry::Head,
    frontier::Frontier,
    ids::{DeviceId, SpaceId},
    limits::FEEDS_PER_SPACE_MAX,
    merkle::Prefix,
    space::SpaceKind,
    time::Millis,
};

/// Bodies that a peer may have asked for and not got yet.
pub(super) const BODY_QUEUE_MAX: usize = 4_096;

/// Private messages first, then by kind; history and attachments get their own classes later.
pub(super) const fn priority(kind: SpaceKind) -> i32 {
    match kind {
        SpaceKind::Conversation => 30,
        SpaceKind::Own => 25,
        SpaceKind::Circle => 20,
        SpaceKind::Forum | SpaceKind::Blog => 10,
    }
}

/// A feed that was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// The next place that should come.
    pub(super) next: u64,
    /// Place behind the last that the peer said to have.
    pub(super) target: u64,
    /// When it last made progress.
    pub(super) since: Millis,
    /// Times that it was asked for again without progress.
    pub(super) retries: u32,
}

/// Runs of a feed that are on their way to the disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct InFlight {
    /// The head behind the last of them.
    pub(super) head: Head,
    /// How many.
    pub(super) runs: u32,
}

#[derive(Debug)]
pub(super) struct Channel {
    pub(super) clearance: Clearance,
    pub(super) kind: SpaceKind,
    /// What the peer said to hold.
    pub(super) theirs: BTreeMap<DeviceId, Frontier>,
    pub(super) wanted: BTreeMap<DeviceId, Wanted>,
    pub(super) in_flight: BTreeMap<DeviceId, InFlight>,
    /// Feeds to ask for again after a moment, because gossip may bring them.
    pub(super) deferred: BTreeMap<DeviceId, Millis>,
    /// Feeds whose frontier the peer should hear.
    pub(super) announce: BTreeSet<DeviceId>,
    /// Subtrees of which the peer wants all frontiers, and how far they were told.
    pub(super) listings: VecDeque<(Prefix, Option<DeviceId>, BTreeMap<DeviceId, Frontier>)>,
    /// Feeds that the peer asked for, from where.
    pub(super) serve: VecDeque<DeviceId>,
    pub(super) serve_from: BTreeMap<DeviceId, u64>,
    pub(super) forks: VecDeque<DeviceId>,
    pub(super) bodies: VecDeque<(DeviceId, u64)>,
}

impl Channel {
    pub(super) const fn new(clearance: Clearance, kind: SpaceKind) -> Self {
        Self {
            clearance,
            kind,
            theirs: BTreeMap::new(),
            wanted: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            deferred: BTreeMap::new(),
            announce: BTreeSet::new(),
            listings: VecDeque::new(),
            serve: VecDeque::new(),
            serve_from: BTreeMap::new(),
            forks: VecDeque::new(),
            bodies: VecDeque::new(),
        }
    }

    pub(super) const fn space(&self) -> SpaceId {
        self.clearance.space()
    }

    pub(super) fn wanted_entries(&self) -> u64 {
        self.wanted
            .values()
            .map(|wanted| wanted.target.saturating_sub(wanted.next))
            .sum()
    }

    pub(super) fn next_deferred(&self) -> Option<Millis> {
        self.deferred.values().min().copied()
    }

    pub(super) fn has_work(&self) -> bool {
        !(self.serve.is_empty() && self.forks.is_empty() && self.bodies.is_empty())
    }

    /// The peer asks for a feed from a place on.
    pub(super) fn enqueue(&mut self, device: DeviceId, from: u64) {
        if self.serve_from.len() >= FEEDS_PER_SPACE_MAX {
            return;
        }
        if self.serve_from.insert(device, from).is_none() {
            self.serve.push_back(device);
        }
    }

    pub(super) fn enqueue_fork(&mut self, device: DeviceId) {
        if !self.forks.contains(&device) {
            self.forks.push_back(device);
        }
    }
}
