//! What goes to the peer on the spaces' streams: what it asked for, and the proofs of forks.

use super::{Channel, DataFrame, ServedRun, Session, SpaceStore, channel::priority};
use crate::{
    fork::ForkProof,
    frame::Data,
    ids::{DeviceId, SpaceId},
    run::Run,
};

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
                .max_by_key(|(channel, state)| {
                    (priority(state.kind), std::cmp::Reverse(**channel))
                });
            let Some((channel, state)) = next else {
                return Ok(None);
            };
            if let Some((bytes, entries)) = state.produce(store)? {
                return Ok(Some(DataFrame {
                    clearance: state.clearance,
                    channel: *channel,
                    priority: priority(state.kind),
                    bytes,
                    entries,
                    last: !state.has_work(),
                }));
            }
        }
    }
}

impl Channel {
    /// Takes one step of the work; `None` where that step had nothing to send.
    fn produce<S: SpaceStore>(&mut self, store: &S) -> Result<Option<(Vec<u8>, u64)>, S::Error> {
        let space = self.space();
        if let Some(device) = self.forks.pop_first() {
            let proof = store.fork_proof(space, device)?;
            return Ok(proof.map(|proof| {
                let proof = &proof;
                (Data::Fork { device, proof }.encode(), 0)
            }));
        }
        if let Some((device, seq)) = self.bodies.pop_first() {
            let body = store.body(space, device, seq)?;
            return Ok(body.map(|body| {
                let body = &body;
                (Data::Body { device, seq, body }.encode(), 0)
            }));
        }
        let Some(device) = self.serve.front().copied() else {
            return Ok(None);
        };
        let from = self.serve_from.get(&device).copied().unwrap_or(0);
        let Some(run) = store.run(space, device, from)? else {
            self.served(device);
            return Ok(None);
        };
        let own = store.frontier(space, device)?;
        let (held, fork) = own.map_or((0, None), |own| (own.base, own.fork));
        // Only the proof vouches for the prefix of a forked feed, and it is believed of a known
        // feed only. So the genesis goes first, then the proof, then the rest.
        if from == 0 && fork.is_some() {
            self.forks.insert(device);
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
    let Some(proof) = store.fork_proof(space, device)? else {
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
