//! What comes back from the disk and from the clock.

use std::collections::{BTreeMap, VecDeque};

use super::{Fatal, Fetch, STALL_MS, Session, SpaceStore, channel::Channel};
use crate::{
    ids::{DeviceId, SpaceId},
    session::Output,
    time::Millis,
    verify::{Comparison, Reject, ask_below},
};

/// Proofs, bodies and comparisons of one feed that wait for the disk at most: a body of every hole
/// that is asked for at once.
const JOBS_PER_FEED_MAX: usize = super::BODY_QUEUE_MAX;

/// What waits for the disk besides runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// What ends a feed.
    End,
    /// A body.
    Fill,
    /// Entries above a gap.
    Tail,
    /// A run to compare, and the place behind its last entry.
    Compare { end: u64 },
}

/// What waits for the disk, by feed in the order in which it was handed out. It comes back in the
/// same order.
#[derive(Debug, Default)]
pub(super) struct Pending {
    jobs: BTreeMap<(SpaceId, DeviceId), VecDeque<(Kind, usize)>>,
    bytes: usize,
}

impl Pending {
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that the notes themselves take.
    pub(super) fn size(&self) -> usize {
        let jobs = self.jobs.values().map(VecDeque::capacity).sum::<usize>();
        jobs * size_of::<(Kind, usize)>() + self.jobs.len() * 128
    }

    pub(super) const fn import(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    const fn imported(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Notes something; false where the feed has too much waiting already.
    pub(super) fn begin(&mut self, feed: (SpaceId, DeviceId), kind: Kind, bytes: usize) -> bool {
        let jobs = self.jobs.entry(feed).or_default();
        if jobs.len() >= JOBS_PER_FEED_MAX {
            return false;
        }
        // Tiny things are bounded too.
        let bytes = bytes.saturating_add(64);
        jobs.push_back((kind, bytes));
        self.bytes = self.bytes.saturating_add(bytes);
        true
    }

    /// The oldest of a feed came back.
    fn end(&mut self, feed: (SpaceId, DeviceId)) -> Option<Kind> {
        let jobs = self.jobs.get_mut(&feed)?;
        let (kind, bytes) = jobs.pop_front()?;
        if jobs.is_empty() {
            self.jobs.remove(&feed);
        }
        self.bytes = self.bytes.saturating_sub(bytes);
        Some(kind)
    }
}

impl Session {
    /// An import, a fork proof or a body was stored or refused. `bytes` is what [`Output::Import`]
    /// carried by [`super::run_bytes`], 0 for the others.
    ///
    /// # Errors
    /// As [`Self::handle_frame`].
    pub fn handle_imported<S: SpaceStore>(
        &mut self,
        space: SpaceId,
        device: DeviceId,
        bytes: usize,
        refused: Option<Reject>,
        now: Millis,
        store: &S,
    ) -> Result<(), Fatal<S::Error>> {
        let kind = if bytes > 0 {
            self.pending.imported(bytes);
            None
        } else {
            self.pending.end((space, device))
        };
        if let Some(reject) = &refused {
            self.defer_unknown(space, device, reject);
        }
        if let Some(channel) = self.by_space.get(&space).copied()
            && let Some(state) = self.channels.get_mut(&channel)
        {
            state.settle(device, kind, refused.is_some());
            if refused.is_none() {
                state.announce.insert(device);
            }
            let unknown = state.take_unknown(device, refused.is_some());
            let tail = kind == Some(Kind::Tail);
            let expected = state.wants.behind(&device) || state.tails.contains(&device);
            let fill = kind == Some(Kind::Fill);
            if refused.is_some() || !expected {
                // A body that doesn't fit is of another branch: where it parts is being asked for.
                if !fill {
                    state.unwant(&device);
                }
                // What doesn't fit above a gap is fetched from below.
                if refused.is_none() || tail {
                    self.evaluate(channel, &[device], now, store, self.gossip_up)
                        .map_err(Fatal::Store)?;
                }
            }
            // Who owns a circle may be known now.
            self.evaluate(channel, &unknown, now, store, false)
                .map_err(Fatal::Store)?;
        }
        refused.map_or(Ok(()), |reject| self.reject(reject))
    }

    /// An overlap was compared with what is held.
    ///
    /// # Errors
    /// As [`Self::handle_frame`].
    pub fn handle_compared<S: SpaceStore>(
        &mut self,
        space: SpaceId,
        overlap: (DeviceId, u64),
        result: &Comparison,
        now: Millis,
        store: &S,
    ) -> Result<(), Fatal<S::Error>> {
        let (device, start) = overlap;
        let kind = self.pending.end((space, device));
        let own = store.frontier(space, device).map_err(Fatal::Store)?;
        let own_base = own.map_or(0, |own| own.base);
        let Some(channel) = self.by_space.get(&space).copied() else {
            return Ok(());
        };
        let Some(state) = self.channels.get_mut(&channel) else {
            return Ok(());
        };
        state.settle(device, kind, true);
        match result {
            Comparison::Known => {
                let end = match kind {
                    Some(Kind::Compare { end }) => end,
                    _ => start,
                };
                self.known(channel, device, end, now, store)
                    .map_err(Fatal::Store)
            }
            Comparison::Below => {
                state.unwant(&device);
                if start > own_base {
                    // It differs from what is held above a gap: only from below can be found where.
                    state.tails.refuse(device);
                    return self
                        .evaluate(channel, &[device], now, store, false)
                        .map_err(Fatal::Store);
                }
                let theirs = state.theirs.get(&device);
                let target = theirs.map_or(start, |theirs| theirs.base);
                if start > 0 {
                    state.want(device, ask_below(start), target, now);
                }
                Ok(())
            }
            Comparison::Fork { .. } => {
                state.unwant(&device);
                state.tails.forget(&device);
                state.announce.insert(device);
                self.evaluate(channel, &[device], now, store, false)
                    .map_err(Fatal::Store)
            }
        }
    }

    /// The contact's offers up to `rev` are kept.
    pub fn handle_offers_kept(&mut self, rev: u64) {
        self.seen_rev = rev;
        self.say.seen = true;
        self.offers_storing = false;
        if let Some((rev, offers, whereabouts)) = self.offers_waiting.take() {
            self.offers_storing = true;
            self.work.push_back(Output::Offers {
                rev,
                offers,
                whereabouts,
            });
        }
    }

    /// What may be asked for from now on. What was asked for before and isn't to be taken any more
    /// is dropped as it comes.
    ///
    /// # Errors
    /// The store's.
    pub fn handle_fetch<S: SpaceStore>(
        &mut self,
        fetch: Fetch,
        now: Millis,
        store: &S,
    ) -> Result<(), S::Error> {
        if self.fetch == fetch {
            return Ok(());
        }
        self.fetch = fetch;
        let known: Vec<(u32, Vec<DeviceId>)> = self
            .channels
            .iter()
            .map(|(channel, state)| (*channel, state.theirs.devices().copied().collect()))
            .collect();
        for (channel, devices) in known {
            self.evaluate(channel, &devices, now, store, false)?;
        }
        Ok(())
    }

    /// Something of a feed changed here: written, imported over another session, forked, filled.
    pub fn handle_local(&mut self, space: SpaceId, device: DeviceId) {
        if self.theirs.is_none() {
            // Our hello is made already, and told of what was.
            self.hello_stale = true;
        }
        if let Some(channel) = self.by_space.get(&space)
            && let Some(state) = self.channels.get_mut(channel)
        {
            state.announce.insert(device);
        }
    }

    /// Whether the peer still hears us is in doubt: says again what says nothing new, for the
    /// acknowledgement of the transport below.
    pub fn handle_probe(&mut self) {
        self.say.seen |= self.theirs.is_some();
    }

    /// Time passed.
    ///
    /// # Errors
    /// The store's.
    pub fn handle_timeout<S: SpaceStore>(
        &mut self,
        now: Millis,
        store: &S,
    ) -> Result<(), S::Error> {
        let due: Vec<(u32, Vec<DeviceId>)> = self
            .channels
            .iter_mut()
            .map(|(channel, state)| (*channel, state.take_due(now)))
            .collect();
        for (channel, devices) in due {
            self.evaluate(channel, &devices, now, store, false)?;
        }
        if self.stall_check.is_some_and(|at| at <= now) {
            self.stall_check = None;
            self.retry_stalled(now);
        }
        Ok(())
    }

    /// What is asked for comes feed by feed: as long as anything comes, nothing is stuck.
    fn retry_stalled(&mut self, now: Millis) {
        let moving = self.pace.last().is_some_and(|at| now.since(at) < STALL_MS);
        for state in self.channels.values_mut().filter(|_| !moving) {
            let in_flight = &state.in_flight;
            let waits = |device: &DeviceId| in_flight.contains_key(device);
            let again = state.wants.stalled(now, waits);
            state.ask.extend(again);
            state.ask.retain(|device, _| state.wants.contains(device));
            state.tails.retry(now);
        }
        if self.channels.values().any(Channel::expects) {
            self.stall_check = Some(now.plus(STALL_MS));
        }
    }
}

impl Channel {
    /// Rules of a feed are on the disk, or were refused: what couldn't be judged without them.
    fn take_unknown(&mut self, device: DeviceId, refused: bool) -> Vec<DeviceId> {
        if !self.ruling.remove(&device) || refused {
            return Vec::new();
        }
        self.unknown.iter().copied().collect()
    }

    /// Something of a feed came back from the disk: a run where there is no kind. After a
    /// refusal, a fork or a comparison what is under way no longer fits.
    fn settle(&mut self, device: DeviceId, kind: Option<Kind>, refused: bool) {
        match kind {
            None => {
                if let Some(flight) = self.in_flight.get_mut(&device) {
                    flight.runs = flight.runs.saturating_sub(1);
                    if flight.runs == 0 || refused {
                        self.in_flight.remove(&device);
                    }
                }
            }
            Some(Kind::Fill) => {}
            Some(Kind::Tail) => self.tails.land(device, refused),
            Some(Kind::End) => self.settle_end(device),
            Some(Kind::Compare { .. }) => {
                self.in_flight.remove(&device);
            }
        }
    }
}
