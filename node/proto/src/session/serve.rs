//! What goes to the peer on the spaces' streams: what it asked for, and what ended feeds.

use super::{Channel, DataFrame, EndProof, ServedRun, Session, SpaceStore, channel::priority};
use crate::{
    fork::ForkProof,
    frame::{Data, TailWant},
    ids::{DeviceId, SpaceId},
    run::Run,
};

/// Bytes of bodies in the first chunk of a tail: a feed's newest few posts, so that every feed's
/// first ones come before any feed's others.
const FIRST_CHUNK_BYTES: usize = 4 * 1024;
/// Bytes of bodies in a chunk at most, to which they double: what the receiver keeps in one page of its disk.
const CHUNK_BYTES: usize = 16 * 1024;
/// How much a feed's first chunk precedes other data of the same kind of space.
const NEWEST_FIRST: i32 = 5;

/// A feed that is sent from above.
#[derive(Debug, Clone, Copy)]
pub(super) struct Downwards {
    genesis: bool,
    from: u64,
    end: Option<u64>,
    /// Nothing of it was sent yet.
    fresh: bool,
    /// Bytes of the next chunk.
    bytes: usize,
}

impl Session {
    /// The next frame with entries, if any stream with something to send has room.
    ///
    /// # Errors
    /// The store's.
    pub fn poll_data<S: SpaceStore>(
        &mut self,
        store: &S,
        has_room: impl Fn(u32) -> bool,
    ) -> Result<Option<DataFrame>, S::Error> {
        loop {
            let next = self
                .channels
                .iter_mut()
                .filter(|(channel, state)| state.has_work() && has_room(**channel))
                .max_by_key(|(channel, state)| (state.urgency(), std::cmp::Reverse(**channel)));
            let Some((channel, state)) = next else {
                return Ok(None);
            };
            let priority = state.urgency();
            if let Some((bytes, entries)) = state.produce(store)? {
                return Ok(Some(DataFrame {
                    clearance: state.clearance,
                    channel: *channel,
                    priority,
                    bytes,
                    entries,
                    last: !state.has_work(),
                }));
            }
        }
    }
}

impl Channel {
    /// What goes first: by the kind of space, then feeds of which nothing came yet.
    fn urgency(&self) -> i32 {
        let first = self.downwards.front();
        let fresh = first.and_then(|device| self.downwards_from.get(device));
        let fresh = fresh.is_some_and(|down| down.fresh);
        priority(self.kind) + if fresh { NEWEST_FIRST } else { 0 }
    }

    /// The peer asks for a feed from above. What it asked before of the same feed is replaced.
    pub(super) fn enqueue_downwards(&mut self, want: &TailWant) {
        let down = Downwards {
            genesis: want.genesis,
            from: want.from,
            end: want.end,
            fresh: want.end.is_none(),
            bytes: match want.end {
                Some(_) => CHUNK_BYTES,
                None => FIRST_CHUNK_BYTES,
            },
        };
        let queued = self.downwards_from.insert(want.device, down);
        if queued.is_some() {
            return;
        }
        if down.fresh {
            self.downwards.push_front(want.device);
        } else {
            self.downwards.push_back(want.device);
        }
    }

    /// Sends the next chunk of the feed whose turn it is.
    fn produce_tail<S: SpaceStore>(
        &mut self,
        device: DeviceId,
        store: &S,
    ) -> Result<Option<(Vec<u8>, u64)>, S::Error> {
        self.downwards.pop_front();
        let Some(down) = self.downwards_from.remove(&device) else {
            return Ok(None);
        };
        let space = self.space();
        if down.genesis {
            let rest = Downwards {
                genesis: false,
                ..down
            };
            self.downwards_from.insert(device, rest);
            self.downwards.push_front(device);
            let run = store.run(space, device, 0)?;
            return Ok(run.map(|run| {
                let entries = run.end;
                let run = &run.bytes;
                (Data::Run { device, run }.encode(), entries)
            }));
        }
        let range = (down.from, down.end);
        let Some(tail) = store.tail(space, device, range, down.bytes)? else {
            return Ok(None);
        };
        if tail.start > down.from {
            let rest = Downwards {
                end: Some(tail.start),
                fresh: false,
                bytes: (down.bytes * 2).min(CHUNK_BYTES),
                ..down
            };
            self.downwards_from.insert(device, rest);
            self.downwards.push_back(device);
        }
        let run = &tail.bytes;
        Ok(Some((Data::Tail { device, run }.encode(), tail.entries)))
    }

    /// Takes one step of the work; `None` where that step had nothing to send.
    fn produce<S: SpaceStore>(&mut self, store: &S) -> Result<Option<(Vec<u8>, u64)>, S::Error> {
        let space = self.space();
        if let Some(device) = self.ends_to_tell.pop_first() {
            return Ok(self.produce_end(device, store)?.map(|frame| (frame, 0)));
        }
        if let Some((device, seq)) = self.bodies.pop_first() {
            let body = store.body(space, device, seq)?;
            return Ok(body.map(|body| {
                let body = &body;
                (Data::Body { device, seq, body }.encode(), 0)
            }));
        }
        if let Some(device) = self.downwards.front().copied() {
            return self.produce_tail(device, store);
        }
        let Some(device) = self.serve.front().copied() else {
            return Ok(None);
        };
        let from = self.serve_from.get(&device).copied().unwrap_or(0);
        // It may have ended since it was asked for.
        if from > 0
            && let Some(own) = store.frontier(space, device)?
            && let Some(theirs) = self.theirs.get(&device)
        {
            self.tell_end(&own, &theirs, store)?;
            if self.ends_to_tell.remove(&device) {
                return Ok(self.produce_end(device, store)?.map(|frame| (frame, 0)));
            }
        }
        let Some(run) = store.run(space, device, from)? else {
            self.served(device);
            return Ok(None);
        };
        let own = store.frontier(space, device)?;
        let held = own.map_or(0, |own| own.end_above(from));
        let fork = own.and_then(|own| own.fork);
        let ended = own.is_some_and(|own| own.fork.or(own.revoked).is_some());
        // Only what ended a feed vouches for its last entry, and that is believed of a known feed
        // only. So the genesis goes first, then what ended it, then the rest.
        if from == 0 && ended {
            self.ends_to_tell.insert(device);
        }
        let entries = run.end.saturating_sub(from);
        let ends = run.end >= held;
        if ends {
            self.served(device);
        } else {
            self.serve_from.insert(device, run.end);
        }
        let run = if ends && fork == Some(run.end) {
            lengthened(space, device, run, store)?
        } else {
            run.bytes
        };
        let run = &run;
        Ok(Some((Data::Run { device, run }.encode(), entries)))
    }

    fn served(&mut self, device: DeviceId) {
        self.serve.pop_front();
        self.serve_from.remove(&device);
    }
}

/// The run that ends just below a fork, made to end signed where it doesn't.
fn lengthened<S: SpaceStore>(
    space: SpaceId,
    device: DeviceId,
    served: ServedRun,
    store: &S,
) -> Result<Vec<u8>, S::Error> {
    let Some(EndProof::Fork(proof)) = store.end_proof(space, device)? else {
        return Ok(served.bytes);
    };
    let (Ok(mut run), Ok(proof)) = (Run::decode(&served.bytes), ForkProof::decode(&proof)) else {
        return Ok(served.bytes);
    };
    let signed = run
        .signatures
        .last()
        .is_some_and(|(at, _)| *at as usize + 1 == run.items.len());
    let top = run.links(space, device).last();
    if !signed && top.is_some_and(|top| proof.lengthen(&mut run, top.id)) {
        Ok(run.encode())
    } else {
        Ok(served.bytes)
    }
}
