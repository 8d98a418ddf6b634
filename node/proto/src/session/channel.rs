//! The state of one common space in a session.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{
    BODY_QUEUE_MAX, GRACE_FEEDS_MAX, STALL_MS, claims::Claims, serve::Downwards, tail::Tails,
};
use crate::{
    audience::Clearance,
    entry::Head,
    frame::BODIES_MAX,
    ids::{DeviceId, IdentityId, SpaceId},
    merkle::Prefix,
    space::SpaceKind,
    time::Millis,
    verify::End,
};

/// Times that something is asked for again without progress before the peer has to tell a new frontier.
pub(super) const RETRIES_MAX: u32 = 3;
/// Bytes that an entry of a map costs beside itself, near enough.
pub(super) const MAP_NODE: usize = 16;
/// Entries of one feed that count as lacking at most: a claim above it is no figure for a page.
pub(super) const LACK_MAX: u64 = 1 << 40;

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
    /// Place behind the last that the peer said to have and we may take.
    pub(super) target: u64,
    /// When it last made progress.
    pub(super) since: Millis,
    /// Times that it was asked for again without progress.
    pub(super) retries: u32,
}

impl Wanted {
    fn lack(&self) -> u64 {
        self.target.saturating_sub(self.next).min(LACK_MAX)
    }
}

/// The feeds that were asked for, and how many entries they lack together.
#[derive(Debug, Default)]
pub(super) struct Wants {
    feeds: BTreeMap<DeviceId, Wanted>,
    lack: u64,
}

impl Wants {
    pub(super) const fn lack(&self) -> u64 {
        self.lack
    }

    pub(super) fn is_empty(&self) -> bool {
        self.feeds.is_empty()
    }

    pub(super) fn contains(&self, device: &DeviceId) -> bool {
        self.feeds.contains_key(device)
    }

    /// The next place of a feed that should come; `None` where nothing of it was asked for.
    pub(super) fn next(&self, device: &DeviceId) -> Option<u64> {
        self.feeds.get(device).map(|wanted| wanted.next)
    }

    /// Whether more of a feed is expected.
    pub(super) fn behind(&self, device: &DeviceId) -> bool {
        self.feeds
            .get(device)
            .is_some_and(|wanted| wanted.next < wanted.target)
    }

    pub(super) fn insert(&mut self, device: DeviceId, wanted: Wanted) {
        self.remove(&device);
        self.lack += wanted.lack();
        self.feeds.insert(device, wanted);
    }

    pub(super) fn remove(&mut self, device: &DeviceId) {
        if let Some(wanted) = self.feeds.remove(device) {
            self.lack -= wanted.lack();
        }
    }

    /// Entries came up to `next`.
    pub(super) fn advance(&mut self, device: DeviceId, next: u64, now: Millis) {
        if let Some(wanted) = self.feeds.get(&device).copied() {
            let wanted = Wanted {
                next,
                since: now,
                retries: 0,
                ..wanted
            };
            self.insert(device, wanted);
        }
    }

    /// Feeds that made no progress for too long and that `waits` doesn't name, with the place to
    /// ask from again. Those that were asked for often enough are given up.
    pub(super) fn stalled(
        &mut self,
        now: Millis,
        waits: impl Fn(&DeviceId) -> bool,
    ) -> Vec<(DeviceId, u64)> {
        let mut again = Vec::new();
        let mut lost = Vec::new();
        for (device, wanted) in &mut self.feeds {
            if waits(device) || now.since(wanted.since) < STALL_MS {
                continue;
            }
            wanted.retries += 1;
            wanted.since = now;
            if wanted.retries < RETRIES_MAX {
                again.push((*device, wanted.next));
            } else {
                lost.push(*device);
            }
        }
        for device in lost {
            self.remove(&device);
        }
        again
    }
}

/// Runs of a feed that are on their way to the disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct InFlight {
    /// The head behind the last of them.
    pub(super) head: Head,
    /// Whose feed it is, where its genesis is among them.
    pub(super) author: Option<IdentityId>,
    /// How many.
    pub(super) runs: u32,
}

#[derive(Debug)]
pub(super) struct Channel {
    pub(super) clearance: Clearance,
    pub(super) kind: SpaceKind,
    /// What the peer said to hold; bounded by [`super::THEIRS_MAX`].
    pub(super) theirs: Claims,
    /// How much the peer said to hold of our own feed.
    held: u64,

    // On its way here: feeds of `theirs`.
    pub(super) wants: Wants,
    pub(super) in_flight: BTreeMap<DeviceId, InFlight>,
    /// What ends feeds and is on its way to the disk.
    pub(super) ends: BTreeMap<DeviceId, End>,
    /// Feeds of a circle that couldn't be judged before more is known of who owned it.
    pub(super) unknown: BTreeSet<DeviceId>,
    /// Feeds with rules of a circle that are on their way to the disk.
    pub(super) ruling: BTreeSet<DeviceId>,
    /// Times in a row that a feed was asked for and brought only what is known.
    pub(super) fruitless: BTreeMap<DeviceId, u32>,
    /// Feeds to ask for again after a moment, because gossip may bring them.
    deferred: BTreeMap<DeviceId, Millis>,
    /// Entries above gaps.
    pub(super) tails: Tails,
    /// Bodies that were asked for, of our own holes, and whether they came.
    asked_bodies: BTreeMap<(DeviceId, u64), bool>,

    // What is to be told.
    /// Feeds whose frontier the peer should hear; feeds that are held.
    pub(super) announce: BTreeSet<DeviceId>,
    /// Subtrees to tell, and those that were told or are: below our own branches only, once each.
    pub(super) nodes: BTreeSet<Prefix>,
    walked: BTreeSet<Prefix>,
    /// Subtrees of which the peer wants all frontiers, and how far they were told; our own
    /// branches only, once each.
    pub(super) listings: VecDeque<(Prefix, Option<DeviceId>)>,
    listed: BTreeSet<Prefix>,
    /// Feeds to ask for, from where.
    pub(super) ask: BTreeMap<DeviceId, u64>,
    /// Feeds of whose holes the bodies are to be asked for.
    pub(super) ask_bodies: BTreeSet<DeviceId>,

    // What the peer asked for, of what is held.
    /// Feeds from above, a chunk of each in turn.
    pub(super) downwards: VecDeque<DeviceId>,
    pub(super) downwards_from: BTreeMap<DeviceId, Downwards>,
    pub(super) serve: VecDeque<DeviceId>,
    pub(super) serve_from: BTreeMap<DeviceId, u64>,
    pub(super) bodies: BTreeSet<(DeviceId, u64)>,
    /// Feeds of which the peer should get what ended them, and what it got.
    pub(super) ends_to_tell: BTreeSet<DeviceId>,
    pub(super) told_ends: BTreeMap<DeviceId, End>,
}

impl Channel {
    pub(super) fn new(clearance: Clearance, kind: SpaceKind) -> Self {
        Self {
            clearance,
            kind,
            theirs: Claims::default(),
            held: 0,
            wants: Wants::default(),
            in_flight: BTreeMap::new(),
            ends: BTreeMap::new(),
            unknown: BTreeSet::new(),
            ruling: BTreeSet::new(),
            fruitless: BTreeMap::new(),
            deferred: BTreeMap::new(),
            tails: Tails::default(),
            asked_bodies: BTreeMap::new(),
            announce: BTreeSet::new(),
            nodes: BTreeSet::new(),
            walked: BTreeSet::new(),
            listings: VecDeque::new(),
            listed: BTreeSet::new(),
            ask: BTreeMap::new(),
            ask_bodies: BTreeSet::new(),
            downwards: VecDeque::new(),
            downwards_from: BTreeMap::new(),
            serve: VecDeque::new(),
            serve_from: BTreeMap::new(),
            bodies: BTreeSet::new(),
            ends_to_tell: BTreeSet::new(),
            told_ends: BTreeMap::new(),
        }
    }

    pub(super) const fn space(&self) -> SpaceId {
        self.clearance.space()
    }

    /// Whether the peer said for the first time to hold so much of our own feed.
    pub(super) const fn holds(&mut self, base: u64) -> bool {
        let more = base > self.held;
        if more {
            self.held = base;
        }
        more
    }

    /// Tells a subtree, unless it was told.
    pub(super) fn walk(&mut self, prefix: Prefix) {
        if self.walked.insert(prefix.clone()) {
            self.nodes.insert(prefix);
        }
    }

    /// Tells all frontiers of a subtree, unless they were told.
    pub(super) fn list(&mut self, prefix: &Prefix) {
        if self.listed.insert(prefix.clone()) {
            self.listings.push_back((prefix.clone(), None));
        }
    }

    /// Asks for a feed, unless that is under way: what the peer writes meanwhile is asked for when
    /// this is done.
    pub(super) fn want(&mut self, device: DeviceId, from: u64, target: u64, now: Millis) {
        if self.wants.contains(&device) {
            return;
        }
        let wanted = Wanted {
            next: from,
            target,
            since: now,
            retries: 0,
        };
        self.wants.insert(device, wanted);
        self.ask.insert(device, from);
    }

    /// Nothing more of a feed is expected.
    pub(super) fn unwant(&mut self, device: &DeviceId) {
        self.wants.remove(device);
        self.ask.remove(device);
        self.deferred.remove(device);
        self.tails.unwant(device);
    }

    /// Entries that were asked for and didn't come yet, as far as known.
    pub(super) const fn lack(&self) -> u64 {
        self.wants.lack().saturating_add(self.tails.lack())
    }

    /// Whether entries are expected.
    pub(super) fn expects(&self) -> bool {
        !(self.wants.is_empty() && self.tails.is_empty())
    }

    /// Puts asking for a feed off; false where too many are put off already.
    pub(super) fn defer(&mut self, device: DeviceId, until: Millis) -> bool {
        if self.deferred.len() >= GRACE_FEEDS_MAX && !self.deferred.contains_key(&device) {
            return false;
        }
        self.deferred.entry(device).or_insert(until);
        true
    }

    pub(super) fn next_deferred(&self) -> Option<Millis> {
        self.deferred.values().min().copied()
    }

    /// Feeds that were put off long enough.
    pub(super) fn take_due(&mut self, now: Millis) -> Vec<DeviceId> {
        let due = self.deferred.iter().filter(|(_, at)| **at <= now);
        let due: Vec<DeviceId> = due.map(|(device, _)| *device).collect();
        for device in &due {
            self.deferred.remove(device);
        }
        due
    }

    /// Which of a feed's holes, told in ascending order, to ask for next; they count as asked for
    /// from now on. What the peer doesn't have isn't asked for again and again.
    pub(super) fn ask_holes(&mut self, device: DeviceId, holes: &[u64]) -> Vec<u64> {
        let filled: Vec<_> = self
            .asked_of(device)
            .filter(|(seq, came)| *came && holes.binary_search(seq).is_err())
            .collect();
        for (seq, _) in filled {
            self.asked_bodies.remove(&(device, seq));
        }
        let room = BODY_QUEUE_MAX.saturating_sub(self.asked_bodies.len());
        let unasked = holes
            .iter()
            .filter(|seq| !self.asked_bodies.contains_key(&(device, **seq)));
        let seqs: Vec<u64> = unasked.take(room.min(BODIES_MAX)).copied().collect();
        self.asked_bodies
            .extend(seqs.iter().map(|seq| ((device, *seq), false)));
        seqs
    }

    /// Bodies that were asked for and aren't stored yet.
    pub(super) fn holes_asked(&self) -> usize {
        self.asked_bodies.len()
    }

    /// Whether a body was asked for and comes for the first time.
    pub(super) fn takes_body(&mut self, device: DeviceId, seq: u64) -> bool {
        let came = self.asked_bodies.get_mut(&(device, seq));
        came.is_some_and(|came| !std::mem::replace(came, true))
    }

    /// The peer may have bodies now that it hadn't when they were asked for.
    pub(super) fn forget_asked(&mut self, device: DeviceId) {
        let asked: Vec<u64> = self.asked_of(device).map(|(seq, _)| seq).collect();
        for seq in asked {
            self.asked_bodies.remove(&(device, seq));
        }
    }

    fn asked_of(&self, device: DeviceId) -> impl Iterator<Item = (u64, bool)> + '_ {
        self.asked_bodies
            .range((device, 0)..=(device, u64::MAX))
            .map(|((_, seq), came)| (*seq, *came))
    }

    /// Bytes of memory, near enough: what stands in its sets.
    pub(super) fn size(&self) -> usize {
        let feeds = self.theirs.size()
            + self.wants.feeds.len() * (MAP_NODE + size_of::<(DeviceId, Wanted)>())
            + self.in_flight.len() * (MAP_NODE + size_of::<(DeviceId, InFlight)>())
            + self.ends.len() * (MAP_NODE + size_of::<(DeviceId, End)>())
            + self.told_ends.len() * (MAP_NODE + size_of::<(DeviceId, End)>());
        let numbered = self.fruitless.len()
            + self.deferred.len()
            + self.asked_bodies.len()
            + self.ask.len()
            + self.serve_from.len()
            + self.bodies.len();
        let named = self.announce.len() + self.ask_bodies.len() + self.serve.len();
        let named = named + self.unknown.len() + self.ruling.len();
        let trees = self.nodes.len() + self.walked.len() + self.listings.len() + self.listed.len();
        let downwards = size_of::<(DeviceId, Downwards)>() + size_of::<DeviceId>();
        size_of::<Self>()
            + feeds
            + self.tails.size()
            + self.downwards_from.len() * (MAP_NODE + downwards)
            + numbered * (MAP_NODE + size_of::<(DeviceId, u64)>())
            + (named + self.ends_to_tell.len()) * (MAP_NODE + size_of::<DeviceId>())
            + trees * (MAP_NODE + 2 * size_of::<DeviceId>())
    }

    pub(super) fn has_work(&self) -> bool {
        !(self.serve.is_empty()
            && self.downwards.is_empty()
            && self.ends_to_tell.is_empty()
            && self.bodies.is_empty())
    }

    /// The peer asks for a feed that is held, from a place on.
    pub(super) fn enqueue(&mut self, device: DeviceId, from: u64) {
        if self.serve_from.insert(device, from).is_none() {
            self.serve.push_back(device);
        }
    }
}
