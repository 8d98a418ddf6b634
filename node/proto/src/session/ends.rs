//! What ends feeds: proofs of forks and revocations, told to who doesn't know them and learned.
//!
//! A feed that has ended stops without a signature of its own; what ended it vouches for its last
//! entry, and is believed of a known feed only. So a feed that is sent from its beginning goes as
//! its genesis, then what ended it, then the rest, and who holds something of it and misses the
//! end is told that first.

use super::{Fatal, Output, Session, SpaceStore, channel::Channel, stored::Kind};
use crate::{
    fork::ForkProof,
    frame::Data,
    frontier::Frontier,
    ids::{DeviceId, SpaceId},
    limits::MEMBERS_MAX,
    space::SpaceKind,
    verify::{
        End, FeedFacts, ForkPoint, Reject, removal_of, verify_fork, verify_removal,
        verify_revocation,
    },
};

/// Something that ends a feed, as encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndProof {
    /// The proof of a fork.
    Fork(Vec<u8>),
    /// The body of a revocation, or of a removal from a circle.
    Revocation(Vec<u8>),
}

impl EndProof {
    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Fork(bytes) | Self::Revocation(bytes) => bytes,
        }
    }

    fn frame(&self, device: DeviceId) -> Vec<u8> {
        match self {
            Self::Fork(proof) => Data::Fork { device, proof },
            Self::Revocation(body) => Data::Revocation { device, body },
        }
        .encode()
    }
}

/// Feeds of a circle that wait for more to be known of it: as many as it has members, and some.
const UNKNOWN_MAX: usize = 2 * MEMBERS_MAX;

impl Session {
    /// A proof that an author forked. It counts for what comes after it at once.
    pub(super) fn handle_fork<S: SpaceStore>(
        &mut self,
        channel: u32,
        device: DeviceId,
        proof: &[u8],
        store: &S,
    ) -> Result<(), Fatal<S::Error>> {
        let Some(facts) = self.facts(channel, device, store).map_err(Fatal::Store)? else {
            return Ok(());
        };
        let Ok(parsed) = ForkProof::decode(proof) else {
            return self.reject(Reject::ForkProof);
        };
        let end = End::Fork(ForkPoint {
            seq: parsed.seq,
            backlink: parsed.backlink,
        });
        // A fork is kept also under a revocation: it vouches for the entries below it.
        let known = facts.fork.map(End::Fork);
        if known.is_some_and(|known| !end.beats(&known)) {
            return Ok(());
        }
        let Some(space) = self.space_of(channel) else {
            return Ok(());
        };
        let Some(context) = store.context(space).map_err(Fatal::Store)? else {
            return Ok(());
        };
        match verify_fork(&context, &facts, proof) {
            Ok(_) => self.take_end(channel, &facts, end, EndProof::Fork(proof.to_vec())),
            Err(reject) => return self.reject(reject),
        }
        Ok(())
    }

    /// A revocation of a feed's device, without the entry that carries it. It counts for what comes
    /// after it at once.
    pub(super) fn handle_revocation<S: SpaceStore>(
        &mut self,
        channel: u32,
        device: DeviceId,
        body: &[u8],
        store: &S,
    ) -> Result<(), Fatal<S::Error>> {
        let Some(facts) = self.facts(channel, device, store).map_err(Fatal::Store)? else {
            return Ok(());
        };
        let Some(space) = self.space_of(channel) else {
            return Ok(());
        };
        let verdict = match removal_of(body) {
            None => verify_revocation(space, &facts, body),
            Some(removal) => match verify_removal(space, &facts, &removal) {
                Ok(_) if !store.counts(space, &removal).map_err(Fatal::Store)? => {
                    Err(Reject::EndOfUnknownFeed)
                }
                verdict => verdict,
            },
        };
        let end = match verdict {
            Ok(last) => End::Revoked(last),
            Err(reject) => {
                self.defer_unknown(space, device, &reject);
                return self.reject(reject);
            }
        };
        if facts.end().is_none_or(|known| end.beats(&known)) {
            self.take_end(channel, &facts, end, EndProof::Revocation(body.to_vec()));
        }
        Ok(())
    }

    /// Notes a feed of a circle that can't be judged before more is known of who owned it.
    pub(super) fn defer_unknown(&mut self, space: SpaceId, device: DeviceId, reject: &Reject) {
        let unknown = matches!(reject, Reject::EndOfUnknownFeed | Reject::NoMember);
        let channel = self.by_space.get(&space);
        if let Some(state) = channel.and_then(|channel| self.channels.get_mut(channel))
            && unknown
            && state.kind == SpaceKind::Circle
            && state.unknown.len() < UNKNOWN_MAX
        {
            state.unknown.insert(device);
        }
    }

    fn take_end(&mut self, channel: u32, facts: &FeedFacts, end: End, proof: EndProof) {
        let Some(space) = self.space_of(channel) else {
            return;
        };
        let device = facts.device;
        let begun = self
            .pending
            .begin((space, device), Kind::End, proof.bytes().len());
        if begun && let Some(state) = self.channels.get_mut(&channel) {
            if facts.end().is_none_or(|known| end.beats(&known)) {
                state.ends.insert(device, end);
            }
            self.work.push_back(Output::ImportEnd {
                space,
                device,
                proof,
            });
        }
    }
}

impl Channel {
    /// Tells what ended a feed to a peer who doesn't know it, unless it was told.
    pub(super) fn tell_end<S: SpaceStore>(
        &mut self,
        own: &Frontier,
        theirs: &Frontier,
        store: &S,
    ) -> Result<(), S::Error> {
        let device = own.device;
        if own.fork.or(own.revoked).is_some()
            && let Some(end) = store.facts(self.space(), device)?.end()
            && is_news(&end, theirs)
            && self.told_ends.get(&device) != Some(&end)
        {
            self.told_ends.insert(device, end);
            self.ends_to_tell.insert(device);
        }
        Ok(())
    }

    /// The frame with what ended the next of the feeds of which that is to be told.
    pub(super) fn produce_end<S: SpaceStore>(
        &mut self,
        device: DeviceId,
        store: &S,
    ) -> Result<Option<Vec<u8>>, S::Error> {
        if let Some(end) = store.facts(self.space(), device)?.end() {
            self.told_ends.insert(device, end);
        }
        let proof = store.end_proof(self.space(), device)?;
        Ok(proof.map(|proof| proof.frame(device)))
    }

    /// What is known of a feed with the end that is on its way to the disk.
    pub(super) fn with_end(&self, facts: FeedFacts) -> FeedFacts {
        let end = self.ends.get(&facts.device);
        match end.filter(|end| facts.end().is_none_or(|known| end.beats(&known))) {
            Some(End::Fork(fork)) => FeedFacts {
                fork: Some(*fork),
                ..facts
            },
            Some(End::Revoked(last)) => FeedFacts {
                fork: None,
                revoked: Some(*last),
                ..facts
            },
            None => facts,
        }
    }

    /// What ended a feed was stored or refused.
    pub(super) fn settle_end(&mut self, device: DeviceId) {
        let end = self.ends.remove(&device);
        let flight = self.in_flight.get(&device);
        // What was checked with the end in mind stays below it and goes on.
        let beyond = flight
            .zip(end)
            .is_some_and(|(flight, end)| flight.head.next > end.limit());
        if beyond || flight.is_none() {
            self.in_flight.remove(&device);
            self.unwant(&device);
        }
        self.tails.forget(&device);
    }
}

/// Whether a peer that holds something of a feed doesn't know of this end, or of one that counts
/// less. Two ends of a kind at one place differ in the entry below: by their tops two frontiers
/// show which they mean.
fn is_news(end: &End, theirs: &Frontier) -> bool {
    let theirs_limit = match end {
        End::Fork(_) => theirs.fork,
        End::Revoked(_) => theirs.revoked.map(|last| last.saturating_add(1)),
    };
    let limit = end.limit();
    let news = match theirs_limit {
        None => true,
        Some(theirs_limit) if theirs_limit == limit => {
            theirs.base == limit && theirs.top != end.last()
        }
        Some(theirs_limit) => limit < theirs_limit,
    };
    theirs.base > 0 && news
}

/// Whether the peer knows of an end that would count here: it tells that once it knows what we hold.
pub(super) fn hears_of(own: &Frontier, theirs: &Frontier) -> bool {
    let lower = |own: Option<u64>, theirs: Option<u64>| {
        theirs.is_some_and(|theirs| own.is_none_or(|own| theirs < own))
    };
    let revoked = lower(own.revoked, theirs.revoked);
    revoked || (own.revoked.is_none() && lower(own.fork, theirs.fork))
}
