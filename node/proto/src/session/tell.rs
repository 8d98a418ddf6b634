//! Control frames, made when they can be sent from what is to be told by then.

use super::{Channel, Session, SpaceStore};
use crate::{
    frame::{BODIES_MAX, Control, FEATURE_RELAY, FRONTIERS_MAX, WANTS_MAX},
    frontier::Frontier,
};

impl Session {
    /// The next control frame.
    pub(super) fn next_control<S: SpaceStore>(
        &mut self,
        store: &S,
    ) -> Result<Option<Vec<u8>>, S::Error> {
        if let Some(hello) = self.say.hello.take() {
            return Ok(Some(Control::Hello(hello).encode()));
        }
        // The answer to a search comes before everything that uses its channels.
        if std::mem::take(&mut self.say.spaces) {
            return Ok(Some(self.spaces().encode()));
        }
        if std::mem::take(&mut self.say.digests) {
            return Ok(Some(self.digests(store)?.encode()));
        }
        if std::mem::take(&mut self.say.offers) {
            let mut whereabouts = self.whereabouts.clone();
            let features = self.theirs.as_ref().map_or(0, |hello| hello.features);
            whereabouts.relay = whereabouts.relay.filter(|_| features & FEATURE_RELAY != 0);
            let offers = Control::Offers {
                rev: self.rev,
                offers: self.offers.clone(),
                whereabouts,
            };
            return Ok(Some(offers.encode()));
        }
        if std::mem::take(&mut self.say.seen) {
            let rev = self.seen_rev;
            return Ok(Some(Control::Seen { rev }.encode()));
        }
        for (channel, state) in &mut self.channels {
            if let Some(frame) = state.next_control(*channel, store)? {
                return Ok(Some(frame.encode()));
            }
        }
        Ok(None)
    }
}

impl Channel {
    fn next_control<S: SpaceStore>(
        &mut self,
        channel: u32,
        store: &S,
    ) -> Result<Option<Control>, S::Error> {
        while !self.announce.is_empty() {
            let frontiers = self.announced(store)?;
            if !frontiers.is_empty() {
                return Ok(Some(Control::Frontiers { channel, frontiers }));
            }
        }
        if let Some(prefix) = self.nodes.pop_first() {
            let node = store.node(self.space(), &prefix)?;
            return Ok(Some(Control::Node {
                channel,
                prefix,
                node,
            }));
        }
        if !self.ask.is_empty() {
            let feeds = std::iter::from_fn(|| self.ask.pop_first());
            let feeds = feeds.take(WANTS_MAX).collect();
            return Ok(Some(Control::Want { channel, feeds }));
        }
        let feeds = self.tails.take_asks(WANTS_MAX);
        if !feeds.is_empty() {
            return Ok(Some(Control::WantTails { channel, feeds }));
        }
        while let Some(device) = self.ask_bodies.first().copied() {
            let limit = self.holes_asked() + BODIES_MAX;
            let holes = store.holes(self.space(), device, limit)?;
            let seqs = self.ask_holes(device, &holes);
            if seqs.len() < BODIES_MAX {
                self.ask_bodies.remove(&device);
            }
            if !seqs.is_empty() {
                return Ok(Some(Control::WantBodies {
                    channel,
                    device,
                    seqs,
                }));
            }
        }
        self.listing(channel, store)
    }

    /// Frontiers of feeds that changed. The peer may have to be told what ended them.
    fn announced<S: SpaceStore>(&mut self, store: &S) -> Result<Vec<Frontier>, S::Error> {
        let mut frontiers = Vec::new();
        while frontiers.len() < FRONTIERS_MAX
            && let Some(device) = self.announce.pop_first()
        {
            let Some(own) = store.frontier(self.space(), device)? else {
                continue;
            };
            if let Some(theirs) = self.theirs.get(&device) {
                self.tell_end(&own, &theirs, store)?;
            }
            frontiers.push(own);
        }
        Ok(frontiers)
    }

    /// Goes on telling the frontiers of subtrees of which the peer holds few feeds, as far as they
    /// differ from what it said to hold.
    fn listing<S: SpaceStore>(
        &mut self,
        channel: u32,
        store: &S,
    ) -> Result<Option<Control>, S::Error> {
        while let Some((prefix, after)) = self.listings.pop_front() {
            let listed = store.frontiers(self.space(), &prefix, after, FRONTIERS_MAX)?;
            if listed.len() >= FRONTIERS_MAX {
                let last = listed.last().map(|frontier| frontier.device);
                self.listings.push_front((prefix, last));
            }
            let differ = listed
                .into_iter()
                .filter(|own| self.theirs.get(&own.device) != Some(*own));
            let frontiers: Vec<Frontier> = differ.collect();
            if !frontiers.is_empty() {
                return Ok(Some(Control::Frontiers { channel, frontiers }));
            }
        }
        Ok(None)
    }
}
