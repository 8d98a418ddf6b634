//! What a node carries for its contacts: who may leave how much, receipts, and what is dropped.

use std::{collections::BTreeMap, ops::ControlFlow};

use proto::{
    IdentityId, Millis,
    limits::{
        CARRIED_BYTES_MAX, CARRIED_BYTES_PER_CONTACT_MAX, CARRIED_DAYS_MAX, CARRIED_MAX,
        CARRIED_PER_CONTACT_MAX,
    },
    seal::{Envelope, Receipt, Tag},
};
use store::{Carried, ContactState, Error, Owed, Receipted, Snapshot, Source, Trust, Txn, View};

use super::{DAY_MS, is_past, sealing, whose};
use crate::{event::EventKind, events::About, view::WhoseLetters};

type Result<T> = std::result::Result<T, Error>;

/// How long a receipt is kept for who waits for it, in milliseconds: as long as a letter is carried.
const OWED_KEPT_MS: u64 = CARRIED_DAYS_MAX * DAY_MS;

/// Letters and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Load {
    pub(crate) count: usize,
    pub(crate) bytes: u64,
}

/// What contacts' letters take here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Usage {
    pub(crate) all: Load,
    of: BTreeMap<IdentityId, Load>,
}

impl Usage {
    pub(super) fn count(view: &View<impl Source>) -> Result<Self> {
        let mut usage = Self::default();
        view.each_carried(0, |_, carried| {
            usage.add(carried.from, carried.envelope.len() as u64);
            ControlFlow::Continue(())
        })?;
        Ok(usage)
    }

    fn add(&mut self, contact: IdentityId, bytes: u64) {
        for load in [&mut self.all, self.of.entry(contact).or_default()] {
            load.count += 1;
            load.bytes += bytes;
        }
    }

    fn take(&mut self, contact: IdentityId, bytes: u64) {
        for load in [&mut self.all, self.of.entry(contact).or_default()] {
            load.count = load.count.saturating_sub(1);
            load.bytes = load.bytes.saturating_sub(bytes);
        }
    }

    fn of(&self, contact: IdentityId) -> Load {
        self.of.get(&contact).copied().unwrap_or_default()
    }

    /// Whether a contact may leave so many bytes more: its own part isn't full, and either there is room
    /// for all or somebody has more here, whose oldest letters go first.
    fn has_room_for(&self, contact: IdentityId, bytes: u64) -> bool {
        let own = self.of(contact);
        if own.count >= CARRIED_PER_CONTACT_MAX || own.bytes + bytes > CARRIED_BYTES_PER_CONTACT_MAX
        {
            return false;
        }
        !self.is_full(bytes)
            || self
                .heaviest()
                .is_some_and(|(id, load)| id != contact && load.bytes > own.bytes + bytes)
    }

    fn is_full(&self, bytes: u64) -> bool {
        self.all.count >= CARRIED_MAX || self.all.bytes + bytes > CARRIED_BYTES_MAX
    }

    fn heaviest(&self) -> Option<(IdentityId, Load)> {
        let heaviest = self.of.iter().max_by_key(|(_, load)| load.bytes);
        heaviest.map(|(id, load)| (*id, *load))
    }
}

/// What is carried in all.
pub(crate) fn load(view: &View<impl Source>) -> Result<Load> {
    Usage::count(view).map(|usage| usage.all)
}

/// Whether letters of this contact are carried.
pub(super) fn carries_for(view: &View<impl Source>, contact: IdentityId) -> Result<bool> {
    let Some(known) = view.contact(&contact)? else {
        return Ok(false);
    };
    Ok(known.state == ContactState::Ready
        && match whose(view)? {
            WhoseLetters::Nobody => false,
            WhoseLetters::Verified => matches!(known.trust, Trust::Verified | Trust::Words),
            WhoseLetters::Contacts => true,
        })
}

/// Whether a contact may leave a letter of so many bytes.
pub(super) fn has_room(
    view: &View<impl Source>,
    usage: &mut Option<Usage>,
    contact: IdentityId,
    bytes: u64,
) -> Result<bool> {
    if usage.is_none() {
        *usage = Some(Usage::count(view)?);
    }
    let room = usage
        .as_ref()
        .is_some_and(|usage| usage.has_room_for(contact, bytes));
    Ok(room && carries_for(view, contact)?)
}

/// Keeps a letter to carry it; false where there is no room, or it is too old.
pub(super) fn keep(
    txn: &mut Txn<'_>,
    usage: &mut Option<Usage>,
    from: IdentityId,
    envelope: &Envelope,
    now: Millis,
) -> Result<bool> {
    let (bytes, outside) = (envelope.bytes().len() as u64, envelope.outside());
    match txn.receipted(&outside.receipt)? {
        // It was given before, by whomever.
        Some(Receipted::Carried(number)) => {
            let known = txn.carried(&number)?;
            return Ok(known.is_some_and(|known| known.envelope == envelope.bytes()));
        }
        Some(Receipted::Own(..)) => return Ok(false),
        None => {}
    }
    if is_past(outside.expires_day, now) || !has_room(txn, usage, from, bytes)? {
        return Ok(false);
    }
    let Some(usage) = usage else {
        return Ok(false);
    };
    while usage.is_full(bytes) {
        let Some((heaviest, _)) = usage.heaviest() else {
            return Ok(false);
        };
        if !drop_oldest_of(txn, usage, heaviest)? {
            return Ok(false);
        }
    }
    let number = txn.next_carried()?;
    let carried = Carried {
        from,
        since: now,
        envelope: envelope.bytes().to_vec(),
    };
    txn.put_receipted(&outside.receipt, &Receipted::Carried(number))?;
    txn.put_carried(&number, &carried)?;
    usage.add(from, bytes);
    Ok(true)
}

fn drop_oldest_of(txn: &mut Txn<'_>, usage: &mut Usage, contact: IdentityId) -> Result<bool> {
    let mut oldest = None;
    txn.each_carried(0, |number, carried| {
        if carried.from == contact {
            oldest = Some((number, carried.clone()));
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    let Some((number, carried)) = oldest else {
        return Ok(false);
    };
    drop_carried(txn, number, &carried)?;
    usage.take(contact, carried.envelope.len() as u64);
    Ok(true)
}

fn drop_carried(txn: &mut Txn<'_>, number: u64, carried: &Carried) -> Result<()> {
    if let Ok(envelope) = Envelope::decode(&carried.envelope) {
        txn.remove_receipted(&envelope.outside().receipt)?;
    }
    txn.remove_carried(&number).map(drop)
}

/// The tags of what is carried that a contact didn't give us, from a number on.
pub(super) fn carried_from(
    snapshot: &Snapshot,
    from: u64,
    except: IdentityId,
    now: Millis,
) -> Result<Vec<(u64, Tag)>> {
    let mut tags = Vec::new();
    snapshot.each_carried(from, |number, carried| {
        if carried.from != except
            && let Ok(envelope) = Envelope::decode(&carried.envelope)
            && !is_past(envelope.outside().expires_day, now)
        {
            tags.push((number, envelope.outside().tag));
        }
        if tags.len() < CARRIED_MAX {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    Ok(tags)
}

/// Somebody opened letters: who carries them stops, and tells who gave them. Returns the events, and whether
/// anything was carried.
pub(super) fn receipts(
    txn: &mut Txn<'_>,
    usage: &mut Option<Usage>,
    receipts: &[Receipt],
    now: Millis,
) -> Result<(Vec<(EventKind, About)>, bool)> {
    let (mut events, mut any) = (Vec::new(), false);
    for receipt in receipts {
        let hash = receipt.hash();
        match txn.receipted(&hash)? {
            Some(Receipted::Own(device, number)) => {
                events.extend(delivered(txn, device, number, now)?);
            }
            Some(Receipted::Carried(number)) => {
                let Some(carried) = txn.carried(&number)? else {
                    continue;
                };
                any = true;
                if let Ok(envelope) = Envelope::decode(&carried.envelope) {
                    owe(txn, &envelope, *receipt, carried.from, now)?;
                }
                drop_carried(txn, number, &carried)?;
                if let Some(usage) = usage {
                    usage.take(carried.from, carried.envelope.len() as u64);
                }
            }
            None => {}
        }
    }
    Ok((events, any))
}

/// Keeps a receipt for who gave us the letter. What is kept for one contact is bounded like what is carried
/// for them; a receipt that is known already stays, whatever else bears the same tag.
fn owe(
    txn: &mut Txn<'_>,
    envelope: &Envelope,
    receipt: Receipt,
    to: IdentityId,
    now: Millis,
) -> Result<()> {
    let tag = envelope.outside().tag;
    if txn.owed(&tag)?.is_some() {
        return Ok(());
    }
    let all = txn.all_owed()?;
    let theirs = all.iter().filter(|(_, owed)| owed.to == to && !owed.opened);
    if theirs.clone().count() >= CARRIED_PER_CONTACT_MAX
        && let Some((oldest, _)) = theirs.min_by_key(|(_, owed)| owed.since)
    {
        txn.remove_owed(oldest)?;
    }
    let owed = Owed {
        receipt,
        to,
        told: false,
        opened: false,
        since: now,
    };
    txn.put_owed(&tag, &owed)
}

fn delivered(
    txn: &mut Txn<'_>,
    device: proto::DeviceId,
    number: u64,
    now: Millis,
) -> Result<Option<(EventKind, About)>> {
    let Some(mut letter) = txn.own_letter(&(device, number))? else {
        return Ok(None);
    };
    if letter.delivered {
        return Ok(None);
    }
    letter.delivered = true;
    letter.envelope = Vec::new();
    txn.put_own_letter(&(device, number), &letter)?;
    txn.start_delivered(letter.space, letter.seq, now)?;
    if let Some(mut lines) = txn.lines(&device)? {
        lines.arrived = lines.arrived.max(number.saturating_add(1));
        txn.put_lines(&device, &lines)?;
    }
    Ok(Some(delivery_event(&letter)))
}

fn delivery_event(letter: &store::OwnLetter) -> (EventKind, About) {
    let about = About {
        space: Some(letter.space),
        ..About::default()
    };
    (EventKind::Delivery, about)
}

/// A contact carries letters of ours. Returns the events.
pub(super) fn carried_by(
    txn: &mut Txn<'_>,
    contact: IdentityId,
    hashes: &[[u8; 32]],
) -> Result<Vec<(EventKind, About)>> {
    let mut events = Vec::new();
    for hash in hashes {
        if let Some(Receipted::Own(device, number)) = txn.receipted(hash)?
            && let Some(mut letter) = txn.own_letter(&(device, number))?
            && !letter.carriers.contains(&contact)
        {
            letter.carriers.push(contact);
            txn.put_own_letter(&(device, number), &letter)?;
            events.push(delivery_event(&letter));
        }
    }
    Ok(events)
}

/// Receipts that a contact waits for: of letters that it gave us or wrote, and of ours that it carries
/// although they have arrived.
pub(super) fn owed_to(
    view: &View<impl Source>,
    contact: IdentityId,
    max: usize,
) -> Result<Vec<Receipt>> {
    let owed = view.all_owed()?.into_iter();
    let theirs = owed.filter(|(_, owed)| owed.to == contact && !owed.told);
    let own = view.own_letters()?.into_iter();
    let ours = own.filter(|(_, letter)| letter.delivered && letter.carriers.contains(&contact));
    Ok(theirs
        .map(|(_, owed)| owed.receipt)
        .chain(ours.map(|(_, letter)| letter.receipt))
        .take(max)
        .collect())
}

/// A contact has these receipts, by their hashes.
pub(super) fn told(txn: &mut Txn<'_>, contact: IdentityId, hashes: &[[u8; 32]]) -> Result<()> {
    for hash in hashes {
        if let Some(Receipted::Own(device, number)) = txn.receipted(hash)?
            && let Some(mut letter) = txn.own_letter(&(device, number))?
            && letter.delivered
        {
            letter.carriers.retain(|carrier| *carrier != contact);
            txn.put_own_letter(&(device, number), &letter)?;
        }
    }
    for (tag, mut owed) in txn.all_owed()? {
        if owed.to != contact || owed.told || !hashes.contains(&owed.receipt.hash()) {
            continue;
        }
        if owed.opened {
            owed.told = true;
            txn.put_owed(&tag, &owed)?;
        } else {
            txn.remove_owed(&tag)?;
        }
    }
    Ok(())
}

/// Drops what nobody has to carry, wait for or open any more.
pub(super) fn sweep(txn: &mut Txn<'_>, now: Millis) -> Result<()> {
    let (mut old, mut undated) = (Vec::new(), Vec::new());
    txn.each_carried(0, |number, carried| {
        let mut since = carried.since;
        if sealing::guessed(&mut since, now) {
            undated.push((number, since));
            return ControlFlow::Continue(());
        }
        let expires = Envelope::decode(&carried.envelope).map(|e| e.outside().expires_day);
        let past = expires.is_ok_and(|day| is_past(day, now));
        if past || now.since(carried.since) > CARRIED_DAYS_MAX * DAY_MS {
            old.push((number, carried.clone()));
        }
        ControlFlow::Continue(())
    })?;
    for (number, carried) in old {
        drop_carried(txn, number, &carried)?;
    }
    for (number, since) in undated {
        if let Some(mut carried) = txn.carried(&number)? {
            carried.since = since;
            txn.put_carried(&number, &carried)?;
        }
    }
    for (tag, mut owed) in txn.all_owed()? {
        if sealing::guessed(&mut owed.since, now) {
            txn.put_owed(&tag, &owed)?;
        } else if now.since(owed.since) > OWED_KEPT_MS {
            txn.remove_owed(&tag)?;
        }
    }
    sealing::sweep(txn, now)
}
