//! Making, offering and writing to spaces.

use proto::{
    DeviceId, EntryId, IdentityId, Millis, SpaceId,
    admission::Chain,
    body::{Body, Genesis},
    space::{Descriptor, SpaceKind},
};
use store::{Error, NewEntry, OfferOut, Source, SpaceRecord, Txn, View};

use crate::{
    circles,
    files::Keys,
    own_feed,
    records::{self, OfferState},
};

/// The row of a forum or a blog.
pub(crate) fn described(descriptor: &Descriptor, chain: Chain, now: Millis) -> SpaceRecord {
    SpaceRecord {
        id: descriptor.id(),
        kind: descriptor.kind,
        descriptor: Some(descriptor.clone()),
        pair: None,
        own_chain: chain,
        joined: now,
    }
}

/// The row of a conversation.
pub(crate) const fn conversation(id: SpaceId, pair: [IdentityId; 2], now: Millis) -> SpaceRecord {
    SpaceRecord {
        id,
        kind: SpaceKind::Conversation,
        descriptor: None,
        pair: Some(pair),
        own_chain: Chain::root(),
        joined: now,
    }
}

/// The own blog's space.
pub(crate) fn own_blog(
    view: &View<impl Source>,
    own: IdentityId,
) -> Result<Option<store::Space>, Error> {
    let spaces = view.spaces()?;
    Ok(spaces.into_iter().find(|space| {
        space.kind == SpaceKind::Blog
            && space
                .descriptor
                .as_ref()
                .is_some_and(|descriptor| descriptor.creator == own)
    }))
}

/// Offers a space to a contact, with an admission that lets them write. The contact's count must
/// be raised with it.
pub(crate) fn put_offer(
    txn: &mut Txn<'_>,
    keys: &Keys,
    space: &store::Space,
    to: IdentityId,
) -> Result<(), Error> {
    let Some(descriptor) = &space.descriptor else {
        return Err(Error::Refused(
            "only forums, blogs and circles can be offered".into(),
        ));
    };
    let own = txn.own_device()?.ok_or(Error::Closed)?;
    let chain = txn.own_chain(space.id)?;
    let admitted = chain.admit(space.id, &own.certificate, &keys.device, to);
    let admitted =
        admitted.map_err(|error| Error::Refused(format!("this can't be offered on: {error}")))?;
    let rev = txn.contact(&to)?.map_or(1, |contact| contact.my_rev);
    let offer = OfferOut {
        descriptor: descriptor.encode(),
        chain: admitted.encode(),
        rev,
    };
    records::put_offer_out(txn, to, space.id, offer)
}

/// Offers a space to a contact, who hears it at the next meeting.
pub(crate) fn offer(
    txn: &mut Txn<'_>,
    keys: &Keys,
    id: SpaceId,
    contact: IdentityId,
) -> Result<(), Error> {
    let space = txn.space(id)?.ok_or(Error::UnknownSpace)?;
    records::change_contact(txn, contact, |row| row.my_rev += 1)?;
    put_offer(txn, keys, &space, contact)
}

/// Takes an offered space, begins to write in it where it is a circle, so that its members see who
/// came, and forgets all offers of it: the space, and who offered it. `None`
/// where no such offer waits.
pub(crate) fn accept(
    txn: &mut Txn<'_>,
    keys: &Keys,
    id: &str,
    now: Millis,
) -> Result<Option<(SpaceId, IdentityId)>, Error> {
    let Some(row) = txn
        .offer_in(&id.to_owned())?
        .filter(|row| row.state == OfferState::Waiting)
    else {
        return Ok(None);
    };
    let (Ok(descriptor), Ok(chain)) = (
        Descriptor::decode(&row.descriptor),
        Chain::decode(&row.chain),
    ) else {
        return Ok(None);
    };
    let space = descriptor.id();
    if txn.space(space)?.is_none() {
        records::set_left(txn, space, None)?;
        txn.create_space(&described(&descriptor, chain, now))?;
        own_feed::restore(txn, keys.device.id(), space, now)?;
        records::bump_revs(txn)?;
        if descriptor.kind == SpaceKind::Circle {
            circles::begin(txn, keys, space, now)?;
        }
    }
    for (same, _) in txn
        .offers_in()?
        .into_iter()
        .filter(|(_, same)| same.descriptor == row.descriptor)
    {
        txn.remove_offer_in(&same)?;
    }
    Ok(Some((space, row.from)))
}

/// Leaves a space: its content is deleted, but what keeps the own feed from contradicting itself.
pub(crate) fn leave(
    txn: &mut Txn<'_>,
    device: DeviceId,
    id: SpaceId,
    now: Millis,
) -> Result<(), Error> {
    own_feed::keep(txn, device, id)?;
    txn.leave_space(id)?;
    records::set_left(txn, id, Some(now))?;
    records::withdraw_offers(txn, id)?;
    records::bump_revs(txn)
}

/// An entry that was written, with the genesis before it where it was the feed's first.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) space: SpaceId,
    pub(crate) device: DeviceId,
    pub(crate) id: EntryId,
    pub(crate) entries: Vec<NewEntry>,
}

/// The beginning of the own feed.
pub(crate) fn own_genesis(txn: &Txn<'_>, space: SpaceId) -> Result<Vec<u8>, Error> {
    let own = txn.own_device()?.ok_or(Error::Closed)?;
    let genesis = Genesis {
        certificate: own.certificate,
        name: &own.name,
        chain: txn.own_chain(space)?,
    };
    Ok(Body::Genesis(Box::new(genesis)).encode())
}

/// Appends an own entry.
pub(crate) fn append(
    txn: &mut Txn<'_>,
    keys: &Keys,
    space: SpaceId,
    now: Millis,
    body: &Body<'_>,
) -> Result<Written, Error> {
    // Only the first entry of a feed needs what costs checks of signatures.
    let genesis = |txn: &Txn<'_>| own_genesis(txn, space);
    let appended = txn.append(space, &keys.device, now, body, genesis)?;
    Ok(Written {
        space,
        device: keys.device.id(),
        id: appended.id,
        entries: appended.entries,
    })
}
