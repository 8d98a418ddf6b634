//! What goes to the peer: frontiers that it should hear of, and what it asked for.

use super::{DataFrame, Session, SpaceStore, priority};
use crate::{
    frame::{Control, Data, FRONTIERS_MAX},
    frontier::Frontier,
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
                .iter()
                .filter(|(channel, state)| state.has_work() && has_room(**channel))
                .max_by_key(|(channel, state)| (priority(state.kind), std::cmp::Reverse(**channel)))
                .map(|(channel, _)| *channel);
            let Some(channel) = next else {
                return Ok(None);
            };
            if let Some((bytes, entries)) = self.produce(channel, store)? {
                let Some(state) = self.channels.get(&channel) else {
                    return Ok(None);
                };
                let (clearance, priority, last) =
                    (state.clearance, priority(state.kind), !state.has_work());
                return Ok(Some(DataFrame {
                    clearance,
                    channel,
                    priority,
                    bytes,
                    entries,
                    last,
                }));
            }
        }
    }

    /// Takes one step of a channel's work; `None` where that step had nothing to send.
    fn produce<S: SpaceStore>(
        &mut self,
        channel: u32,
        store: &S,
    ) -> Result<Option<(Vec<u8>, u64)>, S::Error> {
        let Some(state) = self.channels.get_mut(&channel) else {
            return Ok(None);
        };
        let space = state.space();
        if let Some(device) = state.forks.pop_front() {
            let proof = store.fork_proof(space, device)?;
            return Ok(proof.map(|proof| {
                let proof = &proof;
                (Data::Fork { device, proof }.encode(), 0)
            }));
        }
        if let Some((device, seq)) = state.bodies.pop_front() {
            let body = store.body(space, device, seq)?;
            return Ok(body.map(|body| {
                let body = &body;
                (Data::Body { device, seq, body }.encode(), 0)
            }));
        }
        let Some(device) = state.serve.front().copied() else {
            return Ok(None);
        };
        let from = state.serve_from.get(&device).copied().unwrap_or(0);
        let Some(run) = store.run(space, device, from)? else {
            state.serve.pop_front();
            state.serve_from.remove(&device);
            return Ok(None);
        };
        state.serve_from.insert(device, run.end);
        // A forked feed's prefix may end unsigned: only the proof vouches for it, and the proof is
        // believed of a known feed only. So the genesis goes first, then the proof, then the rest.
        if from == 0 && store.fork_proof(space, device)?.is_some() {
            state.enqueue_fork(device);
        }
        let held = store
            .frontier(space, device)?
            .map_or(0, |frontier| frontier.base);
        if run.end >= held {
            state.serve.pop_front();
            state.serve_from.remove(&device);
        }
        let entries = run.end.saturating_sub(from);
        let run = &run.bytes;
        Ok(Some((Data::Run { device, run }.encode(), entries)))
    }

    /// Tells the frontiers of feeds that changed, where the peer doesn't know them yet.
    pub(super) fn announce<S: SpaceStore>(&mut self, store: &S) -> Result<(), S::Error> {
        let mut frames = Vec::new();
        for (channel, state) in &mut self.channels {
            if state.announce.is_empty() {
                continue;
            }
            let mut frontiers = Vec::new();
            for device in std::mem::take(&mut state.announce) {
                if let Some(frontier) = store.frontier(state.space(), device)? {
                    frontiers.push(frontier);
                }
            }
            frames.extend(
                frontiers
                    .chunks(FRONTIERS_MAX)
                    .map(|chunk| Control::Frontiers {
                        channel: *channel,
                        frontiers: chunk.to_vec(),
                    }),
            );
        }
        for frame in frames {
            self.send(&frame);
        }
        Ok(())
    }

    /// Goes on telling all frontiers of subtrees of which the peer holds few feeds, a frame at a
    /// time. False when there is nothing left to tell.
    pub(super) fn list<S: SpaceStore>(&mut self, store: &S) -> Result<bool, S::Error> {
        let Some((channel, state)) = self
            .channels
            .iter_mut()
            .find(|(_, state)| !state.listings.is_empty())
        else {
            return Ok(false);
        };
        let channel = *channel;
        let Some((prefix, after, known)) = state.listings.pop_front() else {
            return Ok(false);
        };
        let listed = store.frontiers(state.space(), &prefix, after, FRONTIERS_MAX)?;
        let more = listed.len() >= FRONTIERS_MAX;
        let last = listed.last().map(|frontier| frontier.device);
        let frontiers: Vec<Frontier> = listed
            .into_iter()
            .filter(|own| known.get(&own.device) != Some(own))
            .collect();
        if more {
            state.listings.push_front((prefix, last, known));
        }
        if !frontiers.is_empty() {
            self.send(&Control::Frontiers { channel, frontiers });
        }
        Ok(true)
    }
}
