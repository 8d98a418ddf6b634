//! The newest entries before the history: asking for tails, and taking their chunks.

use super::{
    Fatal, Output, STALL_MS, Session, SpaceStore,
    channel::{Channel, LACK_MAX, MAP_NODE, RETRIES_MAX},
    stored::Kind,
};
use crate::{
    frame::TailWant,
    frontier::{Frontier, Tail},
    ids::DeviceId,
    time::Millis,
    verify::{FeedFacts, Reject, TailFacts, VerifiedTail, verify_tail_chunk},
};

/// Bytes a second below which a link counts as slow while something is being fetched: less than
/// any Wi-Fi, more than Bluetooth.
const SLOW_BYTES_PER_S: u64 = 1_000_000;
/// The pace is judged from this long after something was asked for, in milliseconds: handshakes and
/// the peer's disk take their time too.
const PACE_AFTER_MS: u64 = 1_000;

/// How fast entries come while any are expected.
#[derive(Debug, Default)]
pub(super) struct Pace {
    since: Option<Millis>,
    bytes: u64,
    /// When data came last.
    last: Option<Millis>,
}

impl Pace {
    pub(super) const fn begin(&mut self, now: Millis) {
        if self.since.is_none() {
            self.since = Some(now);
            self.bytes = 0;
        }
    }

    pub(super) const fn end(&mut self) {
        self.since = None;
    }

    pub(super) const fn count(&mut self, bytes: usize, now: Millis) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        self.last = Some(now);
    }

    /// When something came last.
    pub(super) const fn last(&self) -> Option<Millis> {
        self.last
    }

    pub(super) fn is_slow(&self, now: Millis) -> bool {
        let Some(since) = self.since else {
            return false;
        };
        let took = now.since(since);
        took >= PACE_AFTER_MS && self.bytes.saturating_mul(1_000) / took < SLOW_BYTES_PER_S
    }
}

/// A tail that was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// The lowest place that was asked for.
    from: u64,
    /// Place behind the highest that should come next; `None` for the peer's newest.
    end: Option<u64>,
    /// Entries that are lacking, as far as known.
    lack: u64,
    /// When it last made progress.
    since: Millis,
    /// Times that it was asked for again without progress.
    retries: u32,
}

/// Chunks of a feed that are on their way to the disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flight {
    /// The tail once they are stored.
    pub(super) tail: TailFacts,
    chunks: u32,
}

/// The tails of a space: what was asked for and what is on its way to the disk; at most one each
/// for each feed of the peer's that is remembered.
#[derive(Debug, Default)]
pub(super) struct Tails {
    wants: std::collections::BTreeMap<DeviceId, Wanted>,
    flights: std::collections::BTreeMap<DeviceId, Flight>,
    /// To ask for with the next frame.
    ask: std::collections::BTreeMap<DeviceId, TailWant>,
    /// Feeds whose tail didn't fit what is held: they are fetched from below.
    refused: std::collections::BTreeSet<DeviceId>,
    lack: u64,
}

impl Tails {
    pub(super) const fn lack(&self) -> u64 {
        self.lack
    }

    /// Bytes that it takes in memory, about.
    pub(super) fn size(&self) -> usize {
        self.wants.len() * (MAP_NODE + size_of::<(DeviceId, Wanted)>())
            + self.flights.len() * (MAP_NODE + size_of::<(DeviceId, Flight)>())
            + self.ask.len() * (MAP_NODE + size_of::<TailWant>())
            + self.refused.len() * (MAP_NODE + size_of::<DeviceId>())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.wants.is_empty()
    }

    pub(super) fn contains(&self, device: &DeviceId) -> bool {
        self.wants.contains_key(device)
    }

    /// Whether the peer's newest were asked for, or what lies below a tail; `None` where neither.
    fn wants_newest(&self, device: &DeviceId) -> Option<bool> {
        self.wants.get(device).map(|wanted| wanted.end.is_none())
    }

    /// Whether tails of a feed may be asked for.
    pub(super) fn allows(&self, device: &DeviceId) -> bool {
        !self.refused.contains(device)
    }

    /// No more tails of a feed: it forked somewhere, or the peer's doesn't hold.
    pub(super) fn refuse(&mut self, device: DeviceId) {
        self.unwant(&device);
        self.refused.insert(device);
    }

    pub(super) fn flight(&self, device: &DeviceId) -> Option<&Flight> {
        self.flights.get(device)
    }

    /// What was asked for upwards is on its way to the disk too.
    pub(super) fn fly(&mut self, device: DeviceId, tail: TailFacts) {
        let chunks = self.flights.get(&device).map_or(0, |flight| flight.chunks);
        let chunks = chunks.saturating_add(1);
        self.flights.insert(device, Flight { tail, chunks });
    }

    /// A chunk came back from the disk.
    pub(super) fn land(&mut self, device: DeviceId, refused: bool) {
        if let Some(flight) = self.flights.get_mut(&device) {
            flight.chunks = flight.chunks.saturating_sub(1);
            if flight.chunks == 0 || refused {
                self.flights.remove(&device);
            }
        }
        if refused {
            self.refuse(device);
        }
    }

    /// The feed ended below: nothing above a gap counts any more.
    pub(super) fn forget(&mut self, device: &DeviceId) {
        self.unwant(device);
        self.flights.remove(device);
    }

    /// Asks for a tail; `held` is how much is held from the first entry on.
    pub(super) fn want(
        &mut self,
        device: DeviceId,
        (from, end, lack): (u64, Option<u64>, u64),
        held: u64,
        now: Millis,
    ) {
        self.unwant(&device);
        let genesis = held == 0;
        let lack = lack.min(LACK_MAX);
        self.lack = self.lack.saturating_add(lack);
        self.wants.insert(
            device,
            Wanted {
                from,
                end,
                lack,
                since: now,
                retries: 0,
            },
        );
        let want = TailWant {
            device,
            genesis,
            from,
            end,
        };
        self.ask.insert(device, want);
    }

    pub(super) fn unwant(&mut self, device: &DeviceId) {
        if let Some(wanted) = self.wants.remove(device) {
            self.lack = self.lack.saturating_sub(wanted.lack);
        }
        self.ask.remove(device);
    }

    /// A chunk came: true where it was the last one of what was asked for.
    fn advance(&mut self, device: DeviceId, start: u64, entries: u64, now: Millis) -> bool {
        let Some(wanted) = self.wants.get_mut(&device) else {
            return true;
        };
        let lack = wanted.lack.saturating_sub(entries);
        self.lack = self.lack.saturating_sub(wanted.lack - lack);
        *wanted = Wanted {
            end: Some(start),
            lack,
            since: now,
            retries: 0,
            ..*wanted
        };
        start <= wanted.from
    }

    /// At most `limit` of those that are to be asked for.
    pub(super) fn take_asks(&mut self, limit: usize) -> Vec<TailWant> {
        let asks = std::iter::from_fn(|| self.ask.pop_first());
        asks.take(limit).map(|(_, want)| want).collect()
    }

    /// Asks again for what made no progress; gives up what was asked for often enough.
    pub(super) fn retry(&mut self, now: Millis) {
        let mut lost = Vec::new();
        for (device, wanted) in &mut self.wants {
            if self.flights.contains_key(device) || now.since(wanted.since) < STALL_MS {
                continue;
            }
            wanted.retries += 1;
            wanted.since = now;
            if wanted.retries >= RETRIES_MAX {
                lost.push(*device);
                continue;
            }
            let want = TailWant {
                device: *device,
                genesis: wanted.end.is_none(),
                from: wanted.from,
                end: wanted.end,
            };
            self.ask.insert(*device, want);
        }
        for device in lost {
            self.unwant(&device);
        }
    }
}

impl Session {
    /// A chunk of a tail that was asked for. Others are dropped.
    pub(super) fn handle_tail<S: SpaceStore>(
        &mut self,
        channel: u32,
        device: DeviceId,
        run: &[u8],
        now: Millis,
        store: &S,
    ) -> Result<(), Fatal<S::Error>> {
        let Some(state) = self.channels.get(&channel) else {
            return Ok(());
        };
        let Some(newest) = state.tails.wants_newest(&device) else {
            return Ok(());
        };
        let space = state.space();
        let Some(context) = store.context(space).map_err(Fatal::Store)? else {
            return Ok(());
        };
        let Some(facts) = self.facts(channel, device, store).map_err(Fatal::Store)? else {
            return Ok(());
        };
        let checked = if newest == facts.tail.is_none() {
            verify_tail_chunk(&context, &facts, run.to_vec()).map(Some)
        } else {
            // Another meeting began this tail, or closed its gap.
            Ok(None)
        };
        let rejected = match checked {
            Ok(Some(tail)) => {
                self.take_tail(channel, &facts, tail, now);
                return Ok(());
            }
            Ok(None) | Err(Reject::Gap { .. }) => None,
            Err(reject) => Some(reject),
        };
        if let Some(state) = self.channels.get_mut(&channel) {
            state.tails.unwant(&device);
            *state.fruitless.entry(device).or_default() += 1;
            if rejected.is_some() {
                state.tails.refuse(device);
            }
        }
        self.evaluate(channel, &[device], now, store, false)
            .map_err(Fatal::Store)?;
        rejected.map_or(Ok(()), |reject| self.reject(reject))
    }

    /// Hands a checked chunk, or what continues a tail upwards, out to be stored.
    pub(super) fn take_tail(
        &mut self,
        channel: u32,
        facts: &FeedFacts,
        tail: VerifiedTail,
        now: Millis,
    ) {
        let Some(state) = self.channels.get_mut(&channel) else {
            return;
        };
        let (space, device) = (state.space(), tail.device());
        let waits = self.pending.begin((space, device), Kind::Tail, tail.size());
        if !waits {
            state.tails.refuse(device);
            return;
        }
        state.tails.fly(device, grown(facts.tail, &tail));
        if facts.tail.is_none_or(|known| tail.start() < known.start)
            && state
                .tails
                .advance(device, tail.start(), tail.items().len() as u64, now)
        {
            state.tails.unwant(&device);
        }
        self.work.push_back(Output::ImportTail { space, tail });
    }
}

impl Channel {
    /// A feed's frontier with what is on its way to the disk above a gap.
    pub(super) fn with_flight(&self, own: Frontier) -> Frontier {
        let flight = self.tails.flight(&own.device).map(|flight| flight.tail);
        match flight {
            Some(tail) => Frontier {
                tail: Some(Tail {
                    start: tail.start,
                    end: tail.next,
                    top: tail.top,
                }),
                ..own
            },
            None => own,
        }
    }
}

/// The tail with a part more, below or above.
fn grown(known: Option<TailFacts>, more: &VerifiedTail) -> TailFacts {
    match known {
        Some(known) if more.start() >= known.next => TailFacts {
            next: more.end(),
            top: more.top(),
            since_checkpoint: None,
            ..known
        },
        Some(known) => TailFacts {
            start: more.start(),
            backlink: more.backlink(),
            ..known
        },
        None => TailFacts {
            start: more.start(),
            backlink: more.backlink(),
            next: more.end(),
            top: more.top(),
            since_checkpoint: None,
        },
    }
}
