//! Spaces as the engine uses them: the session's view of the store, and making, offering and
//! writing to them.

use proto::{
    DeviceId, EntryId, IdentityId, Millis, SpaceId,
    admission::Chain,
    audience::SpaceFacts,
    body::{Body, Genesis},
    frontier::Frontier,
    limits::{CHECKPOINT_BYTES, CHECKPOINT_ENTRIES},
    merkle::{Hash, Node, Prefix},
    session::{ServedRun, SpaceStore},
    space::{Descriptor, SpaceContext, SpaceKind},
    verify::FeedFacts,
};
use store::{Error, Snapshot, Source, SpaceRecord, Txn, View};

use crate::{files::Keys, records};

/// A snapshot as a session reads it.
pub(crate) struct SnapshotSpaces<'s>(pub(crate) &'s Snapshot);

impl SpaceStore for SnapshotSpaces<'_> {
    type Error = Error;

    fn context(&self, space: SpaceId) -> Result<Option<SpaceContext>, Error> {
        self.0.context(space)
    }

    fn digest(&self, space: SpaceId) -> Result<Hash, Error> {
        self.0.digest(space)
    }

    fn node(&self, space: SpaceId, prefix: &Prefix) -> Result<Node, Error> {
        self.0.tree_node(space, prefix)
    }

    fn frontier(&self, space: SpaceId, device: DeviceId) -> Result<Option<Frontier>, Error> {
        self.0.frontier(space, device)
    }

    fn frontiers(&self, space: SpaceId, prefix: &Prefix, after: Option<DeviceId>, limit: usize) -> Result<Vec<Frontier>, Error> {
        self.0.frontiers(space, prefix, after, limit)
    }

    fn facts(&self, space: SpaceId, device: DeviceId) -> Result<FeedFacts, Error> {
        self.0.facts(space, device)
    }

    fn run(&self, space: SpaceId, device: DeviceId, from: u64) -> Result<Option<ServedRun>, Error> {
        self.0.run(space, device, from, CHECKPOINT_ENTRIES as usize, CHECKPOINT_BYTES as usize)
    }

    fn fork_proof(&self, space: SpaceId, device: DeviceId) -> Result<Option<Vec<u8>>, Error> {
        self.0.fork_proof(space, device)
    }

    fn body(&self, space: SpaceId, device: DeviceId, seq: u64) -> Result<Option<Vec<u8>>, Error> {
        self.0.body(space, device, seq)
    }

    fn holes(&self, space: SpaceId, device: DeviceId, limit: usize) -> Result<Vec<u64>, Error> {
        self.0.holes(space, device, limit)
    }
}

/// A space as the audience rule sees it. `own` is this node's identity.
pub(crate) fn facts(space: &store::Space, own: IdentityId) -> SpaceFacts {
    let creator = space.descriptor.as_ref().map(|descriptor| descriptor.creator);
    let other = space.pair.and_then(|pair| pair.into_iter().find(|person| *person != own));
    SpaceFacts { id: space.id, kind: space.kind, counterpart: creator.or(other).unwrap_or(own) }
}

/// The row of a forum or a blog.
pub(crate) fn described(descriptor: &Descriptor, chain: Chain, now: Millis) -> SpaceRecord {
    SpaceRecord { id: descriptor.id(), kind: descriptor.kind, descriptor: Some(descriptor.clone()), pair: None, own_chain: chain, joined: now }
}

/// The row of a conversation.
pub(crate) const fn conversation(id: SpaceId, pair: [IdentityId; 2], now: Millis) -> SpaceRecord {
    SpaceRecord { id, kind: SpaceKind::Conversation, descriptor: None, pair: Some(pair), own_chain: Chain::root(), joined: now }
}

/// The own blog's space.
pub(crate) fn own_blog(view: &View<impl Source>, own: IdentityId) -> Result<Option<store::Space>, Error> {
    let spaces = view.spaces()?;
    Ok(spaces.into_iter().find(|space| {
        space.kind == SpaceKind::Blog && space.descriptor.as_ref().is_some_and(|descriptor| descriptor.creator == own)
    }))
}

/// Offers a space to a contact, with an admission that lets them write. The contact's count must
/// be raised with it.
pub(crate) fn put_offer(txn: &mut Txn<'_>, keys: &Keys, space: &store::Space, to: IdentityId) -> Result<(), Error> {
    let Some(descriptor) = &space.descriptor else {
        return Err(Error::Refused("only forums and blogs can be offered".into()));
    };
    let own = records::own(txn)?.ok_or(Error::Closed)?;
    let chain = txn.own_chain(space.id)?;
    let admitted = chain.admit(space.id, &own.certificate, &keys.device, to);
    let admitted = admitted.map_err(|error| Error::Refused(format!("this can't be offered on: {error}")))?;
    let rev = records::contact(txn, to)?.map_or(1, |contact| contact.rev);
    records::put_offer_out(txn, to, space.id, &descriptor.encode(), &admitted.encode(), rev)
}

/// An entry that was written, with the genesis before it where it was the feed's first.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) space: SpaceId,
    pub(crate) device: DeviceId,
    /// The first new entry.
    pub(crate) first: u64,
    pub(crate) id: EntryId,
    pub(crate) topic: Option<EntryId>,
    pub(crate) author: IdentityId,
}

/// Appends an own entry.
pub(crate) fn append(txn: &mut Txn<'_>, keys: &Keys, space: SpaceId, now: Millis, body: &Body<'_>) -> Result<Written, Error> {
    let own = records::own(txn)?.ok_or(Error::Closed)?;
    let device = keys.device.id();
    let first = txn.frontier(space, device)?.map_or(0, |feed| feed.base);
    let chain = txn.own_chain(space)?;
    let genesis = Genesis { certificate: own.certificate.clone(), name: &own.name, chain };
    let appended = txn.append(space, &keys.device, now, body, move || Body::Genesis(Box::new(genesis)))?;
    let author = own.certificate.identity;
    Ok(Written { space, device, first, id: appended.id, topic: appended.topic, author })
}
