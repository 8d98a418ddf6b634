//! What pages show of letters: entries that came in one and don't join what is held yet, and where own
//! messages are.

use std::collections::BTreeMap;

use proto::{
    DeviceId, EntryId, IdentityId, Millis, SpaceId,
    body::{Body, kind},
};
use store::{Error, Item, Loose, OwnLetter, Snapshot, Txn};

use super::{is_past, sealing::loose_header};

type Result<T> = std::result::Result<T, Error>;

/// Where an entry of ours is, as far as letters tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sealed {
    /// So many people carry it.
    CarriedBy(u64),
    /// One of the receiver's devices opened it.
    Delivered,
    /// Nobody carries it any more, and it hasn't arrived.
    Expired,
}

/// Where our entries to a contact are that were sealed, by their places.
pub(crate) fn sealed_to(
    snapshot: &Snapshot,
    space: SpaceId,
    contact: IdentityId,
    now: Millis,
) -> Result<BTreeMap<u64, Sealed>> {
    let mut entries: BTreeMap<u64, Vec<OwnLetter>> = BTreeMap::new();
    let devices = snapshot.contact(&contact)?.map(|known| known.devices);
    for device in devices.unwrap_or_default().keys() {
        for (_, letter) in snapshot.own_letters_to(*device)? {
            if letter.space == space {
                entries.entry(letter.seq).or_default().push(letter);
            }
        }
    }
    let states = entries
        .into_iter()
        .filter_map(|(seq, letters)| Some((seq, state_of(&letters, now)?)));
    Ok(states.collect())
}

fn state_of(letters: &[OwnLetter], now: Millis) -> Option<Sealed> {
    if letters.iter().any(|letter| letter.delivered) {
        return Some(Sealed::Delivered);
    }
    let good: Vec<_> = letters
        .iter()
        .filter(|letter| !is_past(letter.expires_day, now))
        .collect();
    let mut carriers: Vec<_> = good.iter().flat_map(|letter| &letter.carriers).collect();
    carriers.sort_unstable();
    carriers.dedup();
    match carriers.len() as u64 {
        0 if good.is_empty() => Some(Sealed::Expired),
        0 => None,
        people => Some(Sealed::CarriedBy(people)),
    }
}

/// Messages of a conversation that came in letters and don't join what is held yet, by the author's time.
pub(crate) fn loose_messages(snapshot: &Snapshot, space: SpaceId) -> Result<Vec<Item>> {
    let mut items: Vec<_> = snapshot
        .loose_in(space)?
        .into_iter()
        .filter_map(|(device, seq, loose)| message(space, device, seq, &loose))
        .collect();
    items.sort_by_key(|item| (item.created, item.device, item.seq));
    Ok(items)
}

/// One of them, by its id.
pub(crate) fn loose_message(snapshot: &Snapshot, id: EntryId) -> Result<Option<Item>> {
    let rows = snapshot.all_loose()?.into_iter();
    let mut items =
        rows.filter_map(|((space, device, seq), loose)| message(space, device, seq, &loose));
    Ok(items.find(|item| item.id == id))
}

fn message(space: SpaceId, device: DeviceId, seq: u64, loose: &Loose) -> Option<Item> {
    let (text, parent, setting) = match Body::decode(&loose.body) {
        Ok(Body::Message { text, parent, .. }) => (text, parent, None),
        Ok(Body::Setting(setting)) => ("", None, Some(setting)),
        _ => return None,
    };
    Some(Item {
        id: loose_header(space, device, seq, loose).id(),
        space,
        topic: EntryId([0; 32]),
        device,
        author: loose.author,
        seq,
        kind: if setting.is_some() {
            kind::SETTING
        } else {
            kind::MESSAGE
        },
        created: loose.created,
        received: loose.received,
        doubtful: store::is_doubtful(loose.created, loose.received.0),
        unread: !loose.read && setting.is_none(),
        retracted: false,
        missing: false,
        parent,
        title: None,
        text: text.to_owned(),
        tags: Vec::new(),
        edited: None,
        reactions: Vec::new(),
        reblog: None,
        setting,
    })
}

/// Marks those read that are among `ids`; returns whether there was one.
pub(crate) fn mark_read(txn: &mut Txn<'_>, ids: &[EntryId], now: Millis) -> Result<Vec<SpaceId>> {
    let mut spaces = Vec::new();
    if !txn.has_loose()? {
        return Ok(spaces);
    }
    for ((space, device, seq), mut loose) in txn.all_loose()? {
        if !loose.read && ids.contains(&loose_header(space, device, seq, &loose).id()) {
            loose.read = true;
            txn.put_loose(&(space, device, seq), &loose)?;
            txn.time_loose(space, device, seq, now)?;
            spaces.push(space);
        }
    }
    Ok(spaces)
}

/// Marks all of a space read.
pub(crate) fn mark_space_read(txn: &mut Txn<'_>, space: SpaceId, now: Millis) -> Result<bool> {
    let mut any = false;
    for (device, seq, mut loose) in txn.loose_in(space)? {
        if !loose.read {
            loose.read = true;
            txn.put_loose(&(space, device, seq), &loose)?;
            txn.time_loose(space, device, seq, now)?;
            any = true;
        }
    }
    Ok(any)
}
