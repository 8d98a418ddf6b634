//! Both ends of a letter: sealing it, opening it, and the entry that was inside.
//!
//! Each function is part of one transaction, so a crash leaves a letter sealed with its number and key
//! used up, or not sealed; opened with its key gone and its entry kept, or not opened.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use proto::{
    DeviceId, EndpointId, IdentityId, Millis, SpaceId,
    body::{Body, Lifetime},
    entry::Header,
    keys::{DeviceKey, Domain},
    limits::{BATCH_BYTES_MAX, LETTER_DAYS},
    run::{BodyPart, Item, Run},
    seal::{Envelope, Letter, Line, Party, Prekey, Receipt, SEAL_RANDOM_BYTES, Tag, WINDOW},
    space::conversation_id,
    verify::{Outcome, verify_body, verify_run},
};
use store::{
    Contact, ContactState, Error, Lines, Loose, Owed, OwnLetter, Receipted, Source, Txn, View,
};
use zeroize::Zeroizing;

use super::{COPIES, DAY_MS, NO_DAY, day, epochs::Epochs, expiry, is_past, lock};
use crate::{
    files,
    intake::{Aftermath, From, Job, JobResult},
};

type Result<T> = std::result::Result<T, Error>;

/// A last resort may be used for so many days: a contact who isn't met for longer needs it most.
pub(super) const LAST_RESORT_GOOD_DAYS: u16 = 60;
/// A key that wasn't used for so long has been forgotten by its holder, in milliseconds.
const PREKEY_KEPT_MS: u64 = (LAST_RESORT_GOOD_DAYS as u64 + LETTER_DAYS as u64) * DAY_MS;
/// Entries of one conversation that came in letters and don't join yet: a window of each of four devices.
const LOOSE_MAX: usize = 4 * WINDOW as usize;
/// And bytes of their bodies: some of the longest texts.
const LOOSE_BYTES_MAX: usize = 1024 * 1024;
/// Entries that are looked at for one contact before somebody else's turn.
const ENTRIES_MAX: u64 = WINDOW;

/// This device, as far as letters need it.
#[derive(Clone)]
pub(super) struct Me {
    pub(super) party: Party,
    pub(super) key: DeviceKey,
    pub(super) epochs: Arc<Mutex<Epochs>>,
}

impl Me {
    fn space_with(contact: &Contact) -> Option<SpaceId> {
        let secret = contact.pair_secret.as_ref()?;
        Some(conversation_id(&secret.0))
    }

    /// The line to a contact's device, and the one from there.
    fn lines_with(
        &self,
        identity: IdentityId,
        device: DeviceId,
        contact: &Contact,
    ) -> Option<(Line, Line)> {
        let secret = contact.pair_secret.as_ref()?;
        let (space, other) = (Self::space_with(contact)?, Party { identity, device });
        Some((
            Line::new(secret, self.party, other, space),
            Line::new(secret, other, self.party, space),
        ))
    }
}

fn ready(view: &View<impl Source>) -> Result<Vec<(IdentityId, Contact)>> {
    let mut contacts = view.contacts()?;
    contacts.retain(|(_, contact)| contact.state == ContactState::Ready);
    Ok(contacts)
}

/// Where the lines with a device stand. A new pair of lines begins anywhere: numbers and keys' numbers of
/// earlier ones, with a contact who was removed and came back, must not come again.
pub(super) fn lines_of(txn: &mut Txn<'_>, device: DeviceId) -> Result<Lines> {
    if let Some(lines) = txn.lines(&device)? {
        return Ok(lines);
    }
    let mut start = [0; 8];
    files::fill_random(&mut start);
    let start = u64::from_be_bytes(start);
    let lines = Lines {
        next: (start >> 24) + WINDOW,
        prekey: (start as u32) >> 2,
        ..Lines::default()
    };
    txn.put_lines(&device, &lines)?;
    Ok(lines)
}

/// Drops keys and entries that wait in vain, and letters that are long past.
pub(super) fn sweep(txn: &mut Txn<'_>, now: Millis) -> Result<()> {
    for ((sender, id), mut row) in txn.own_prekeys()? {
        if guessed(&mut row.made, now) {
            txn.put_own_prekey(&(sender, id), &row)?;
        } else if now.since(row.made) > PREKEY_KEPT_MS {
            txn.remove_own_prekey(&(sender, id))?;
        }
    }
    for ((device, number), mut letter) in txn.own_letters()? {
        if guessed(&mut letter.sealed, now) {
            txn.put_own_letter(&(device, number), &letter)?;
        } else if letter.delivered && now.since(letter.sealed) > PREKEY_KEPT_MS {
            super::forget(txn, device, number, &letter)?;
        } else if is_past(letter.expires_day, now) && !letter.envelope.is_empty() {
            // Its receipt may still come.
            letter.envelope = Vec::new();
            txn.put_own_letter(&(device, number), &letter)?;
        }
    }
    for (key, mut loose) in txn.all_loose()? {
        if guessed(&mut loose.received, now) {
            txn.put_loose(&key, &loose)?;
        } else if now.since(loose.received) > PREKEY_KEPT_MS {
            txn.remove_loose(&key)?;
        }
    }
    Ok(())
}

/// A time that was noted while the clock stood in 1970 becomes now, once that can be believed.
pub(super) fn guessed(noted: &mut Millis, now: Millis) -> bool {
    let wrong = day(*noted).is_none() && day(now).is_some();
    if wrong {
        *noted = now;
    }
    wrong
}

// Sealing.

/// A letter to be carried, and the hash of its receipt.
pub(super) struct Handing {
    pub(super) receipt: [u8; 32],
    pub(super) envelope: Vec<u8>,
}

/// Letters that were given to carriers who haven't said yet that they keep them: the hashes of receipts,
/// and where to. Several may be there at once, and all of them together get as many as one letter may have.
pub(super) type UnderWay = BTreeMap<[u8; 32], BTreeSet<EndpointId>>;

/// Letters that `courier` may carry, at most so many and so many bytes: those that were sealed before and
/// have too few carriers, then what isn't sealed yet. For nobody who is `online`, nor for the courier.
pub(super) fn hand_over(
    txn: &mut Txn<'_>,
    me: &Me,
    (courier, at): (IdentityId, EndpointId),
    online: &BTreeSet<IdentityId>,
    under_way: &mut UnderWay,
    (mut count, mut bytes): (u32, u64),
    now: Millis,
) -> Result<Vec<Handing>> {
    let mut handed = Vec::new();
    let away = ready(txn)?
        .into_iter()
        .filter(|(id, _)| *id != courier && !online.contains(id));
    let away: Vec<_> = away.collect();
    let mut take = |letter: &OwnLetter| {
        let len = letter.envelope.len() as u64;
        let given = under_way.get(&letter.receipt.hash());
        if given.is_some_and(|given| given.contains(&at))
            || given.map_or(0, BTreeSet::len) + letter.carriers.len() >= COPIES
        {
            return true;
        }
        let fits = count > 0 && len <= bytes;
        if fits {
            (count, bytes) = (count - 1, bytes - len);
            let receipt = letter.receipt.hash();
            under_way.entry(receipt).or_default().insert(at);
            handed.push(Handing {
                receipt: letter.receipt.hash(),
                envelope: letter.envelope.clone(),
            });
        }
        fits
    };
    for (identity, contact) in &away {
        for device in contact.devices.keys() {
            let mut sealed = txn.own_letters_to(*device)?;
            sealed.retain(|(_, letter)| Me::space_with(contact) == Some(letter.space));
            for (number, letter) in &sealed {
                let wanted = !letter.delivered
                    && !letter.envelope.is_empty()
                    && !is_past(letter.expires_day, now)
                    && !letter.carriers.contains(&courier);
                if !wanted {
                    continue;
                }
                // What was taken back since isn't given to anybody else.
                if own_entry(txn, letter.space, me.party.device, letter.seq)?.is_none() {
                    let mut taken_back = letter.clone();
                    taken_back.envelope = Vec::new();
                    txn.put_own_letter(&(*device, *number), &taken_back)?;
                } else if !take(letter) {
                    return Ok(handed);
                }
            }
            let done: BTreeSet<u64> = sealed.iter().map(|(_, letter)| letter.seq).collect();
            for letter in seal_for(txn, me, (*identity, *device, contact), &done, now)? {
                if !take(&letter) {
                    return Ok(handed);
                }
            }
        }
    }
    Ok(handed)
}

/// Seals our entries that a contact's device isn't known to hold.
fn seal_for(
    txn: &mut Txn<'_>,
    me: &Me,
    (identity, device, contact): (IdentityId, DeviceId, &Contact),
    done: &BTreeSet<u64>,
    now: Millis,
) -> Result<Vec<OwnLetter>> {
    let (Some(space), Some((line, _))) = (
        Me::space_with(contact),
        me.lines_with(identity, device, contact),
    ) else {
        return Ok(Vec::new());
    };
    let own = txn.frontier(space, me.party.device)?;
    let held = own.map_or(0, |own| own.base);
    let from = txn.acknowledged(space, identity)?;
    let mut lowest = lowest_on_its_way(txn, device, now)?;
    let mut letters = Vec::new();
    for seq in (from..held).filter(|seq| !done.contains(seq)) {
        if letters.len() as u64 >= ENTRIES_MAX {
            break;
        }
        let Some((header, body)) = own_entry(txn, space, me.party.device, seq)? else {
            continue;
        };
        let lifetime = match Body::decode(&body) {
            // That something was read is told when the two meet.
            Ok(Body::Receipt { .. }) => continue,
            Ok(said) if said.can_vanish() => txn.lifetime_of(space, me.party.device, seq)?,
            _ => Lifetime::STAYS,
        };
        let mut lines = lines_of(txn, device)?;
        // The receiver looks for so many on either side of the highest that came, so nobody may be left behind.
        let from = lines.arrived.min(lowest);
        if lines.next >= from.saturating_add(WINDOW) {
            break;
        }
        let Some((prekey, once)) = take_prekey(txn, device, now)? else {
            break;
        };
        let letter = Letter {
            receipt: Receipt(*files::random_seed()),
            signature: me.key.sign(Domain::Entry, &header.id().0),
            header,
            body,
        };
        let mut random = Zeroizing::new([0; SEAL_RANDOM_BYTES]);
        files::fill_random(&mut *random);
        let (number, expires_day) = (lines.next, expiry(now, lifetime));
        let Ok(envelope) = line.seal(&letter, &prekey, number, expires_day, random) else {
            // The key isn't good, or the entry is too long for any letter.
            if once {
                txn.remove_their_prekey(&(device, prekey.id))?;
            }
            continue;
        };
        if once {
            txn.remove_their_prekey(&(device, prekey.id))?;
        }
        lowest = lowest.min(number);
        lines.next += 1;
        txn.put_lines(&device, &lines)?;
        let row = OwnLetter {
            space,
            seq,
            expires_day,
            sealed: now,
            receipt: letter.receipt,
            carriers: Vec::new(),
            delivered: false,
            envelope: envelope.bytes().to_vec(),
        };
        txn.put_receipted(&row.receipt.hash(), &Receipted::Own(device, number))?;
        txn.put_own_letter(&(device, number), &row)?;
        letters.push(row);
    }
    Ok(letters)
}

/// An entry of our own with its body; nothing where that was taken back.
fn own_entry(
    txn: &Txn<'_>,
    space: SpaceId,
    device: DeviceId,
    seq: u64,
) -> Result<Option<(Header, Vec<u8>)>> {
    let Some(served) = txn.run(space, device, seq, 1, BATCH_BYTES_MAX)? else {
        return Ok(None);
    };
    let Ok(run) = Run::decode(&served.bytes) else {
        return Ok(None);
    };
    let mut entries = run.headers(space, device).zip(&run.items);
    let found = entries.find(|((_, header), _)| header.seq == seq);
    Ok(found.and_then(|((_, header), item)| match item.body {
        BodyPart::Present(body) => Some((header, body.to_vec())),
        BodyPart::Absent { .. } => None,
    }))
}

/// The next key of a device, and whether it is for one letter.
fn take_prekey(txn: &Txn<'_>, device: DeviceId, now: Millis) -> Result<Option<(Prekey, bool)>> {
    let keys = txn.their_prekeys_of(device)?;
    let good = |until: u16| until == NO_DAY || day(now).is_none_or(|today| today < until);
    let once = keys.iter().find(|(_, row)| row.until_day.is_none());
    let last = || keys.iter().find(|(_, row)| row.until_day.is_some_and(good));
    let Some((id, row)) = once.or_else(last) else {
        return Ok(None);
    };
    let key = Prekey::new(*id, &row.key).ok();
    Ok(key.map(|key| (key, row.until_day.is_none())))
}

/// The lowest number of our letters to a device that may still arrive; the greatest of all where none may.
fn lowest_on_its_way(view: &View<impl Source>, device: DeviceId, now: Millis) -> Result<u64> {
    let letters = view.own_letters_to(device)?;
    let mut waiting = letters
        .iter()
        .filter(|(_, letter)| !letter.delivered && !is_past(letter.expires_day, now));
    Ok(waiting.next().map_or(u64::MAX, |(number, _)| *number))
}

/// Where our line to a device stands, if it wasn't told that: the lowest number that may still arrive, or
/// the next, and the lowest number of its keys that we have or may get.
pub(super) fn line_to_tell(
    txn: &mut Txn<'_>,
    device: DeviceId,
    now: Millis,
) -> Result<Option<(u64, u32)>> {
    let lines = lines_of(txn, device)?;
    let lowest = lowest_on_its_way(txn, device, now)?;
    let next = lowest.min(lines.next);
    if next == lines.told {
        return Ok(None);
    }
    let keys = txn.their_prekeys_of(device)?;
    let mut once = keys.iter().filter(|(_, row)| row.until_day.is_none());
    let held = once.next().map_or(u32::MAX, |(id, _)| id.0);
    // While a letter is on its way, so is its key.
    let key = if lowest == u64::MAX { held } else { 0 };
    Ok(Some((next, key)))
}

/// The device was told `next` and says what it expects: our numbers go on from there.
pub(super) fn line_heard(txn: &mut Txn<'_>, device: DeviceId, next: u64, high: u64) -> Result<()> {
    let mut lines = lines_of(txn, device)?;
    lines.told = next;
    lines.arrived = high;
    lines.next = lines.next.max(high);
    txn.put_lines(&device, &lines)
}

/// A device says where its line to us stands: what is below isn't expected any more, and the keys that it
/// used for it end. Returns what we expect next.
pub(super) fn their_line(
    txn: &mut Txn<'_>,
    device: DeviceId,
    (next, key): (u64, u32),
) -> Result<u64> {
    let mut lines = lines_of(txn, device)?;
    lines.window = lines.window.skipped_to(next);
    txn.put_lines(&device, &lines)?;
    for (id, row) in txn.own_prekeys_for(device)? {
        if row.until_day.is_none() && id.0 < key && id.0 < lines.prekeys_kept {
            txn.remove_own_prekey(&(device, id))?;
        }
    }
    Ok(lines.window.high)
}

// Opening.

/// Whose letter a tag is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) from: Party,
    pub(super) number: u64,
    /// It came before.
    pub(super) arrived: bool,
}

/// The tags of letters that may come, or came lately, from any contact's device.
pub(super) fn expected(view: &View<impl Source>, me: &Me) -> Result<Vec<(Tag, Expected)>> {
    let mut tags = Vec::new();
    for (identity, contact) in ready(view)? {
        for device in contact.devices.keys() {
            let Some(lines) = view.lines(device)?.filter(|lines| lines.prekey > 0) else {
                continue;
            };
            let Some((_, line)) = me.lines_with(identity, *device, &contact) else {
                continue;
            };
            let expected = lines.window.expected().map(|number| (number, false));
            let arrived = lines.window.arrived().map(|number| (number, true));
            tags.extend(expected.chain(arrived).map(|(number, arrived)| {
                let from = line.from();
                let of = Expected {
                    from,
                    number,
                    arrived,
                };
                (line.tag(number), of)
            }));
        }
    }
    Ok(tags)
}

/// What opening a letter gave.
pub(super) struct Opened {
    pub(super) receipt: Receipt,
    pub(super) results: Vec<JobResult>,
    pub(super) aftermath: Aftermath,
}

/// Opens a letter: its key ends, its entry is kept, its receipt is owed. Nothing changes where it is none.
pub(super) fn open(
    txn: &mut Txn<'_>,
    me: &Me,
    of: Expected,
    envelope: &Envelope,
    from: &From,
) -> Result<Option<Opened>> {
    let (identity, device) = (of.from.identity, of.from.device);
    let contact = txn
        .contact(&identity)?
        .filter(|contact| contact.state == ContactState::Ready);
    let Some((contact, mut lines)) = contact.zip(txn.lines(&device)?) else {
        return Ok(None);
    };
    let (Some(space), Some((_, line))) = (
        Me::space_with(&contact),
        me.lines_with(identity, device, &contact),
    ) else {
        return Ok(None);
    };
    if line.tag(of.number) != envelope.outside().tag {
        return Ok(None);
    }
    if !lines.window.expects(of.number) {
        // Somebody else brought it meanwhile.
        let owed = txn.owed(&envelope.outside().tag)?;
        let known = owed.filter(|owed| owed.receipt.hash() == envelope.outside().receipt);
        return Ok(known.map(|owed| Opened {
            receipt: owed.receipt,
            results: Vec::new(),
            aftermath: Aftermath::default(),
        }));
    }
    let id = line.prekey_of(envelope.outside(), of.number);
    let Some(row) = txn.own_prekey(&(device, id))? else {
        return Ok(None);
    };
    let secret = {
        let epochs = lock(&me.epochs);
        let key = epochs.get(row.epoch);
        key.and_then(|key| key.unwrap(device, id, &row.wrapped))
    };
    let Some(letter) = secret.and_then(|secret| line.open(envelope, &secret, of.number).ok())
    else {
        return Ok(None);
    };
    let Some(keep) = is_to_be_kept(txn, space, &letter)? else {
        // There is no room for it: it stays sealed, and is brought again.
        return Ok(None);
    };
    if row.until_day.is_none() {
        txn.remove_own_prekey(&(device, id))?;
    }
    lines.window = lines.window.after(of.number);
    txn.put_lines(&device, &lines)?;
    let owed = Owed {
        receipt: letter.receipt,
        to: identity,
        told: false,
        opened: true,
        since: from.now,
    };
    txn.put_owed(&envelope.outside().tag, &owed)?;
    let (mut results, mut aftermath) = (Vec::new(), Aftermath::default());
    let receipt = letter.receipt;
    let weak = row.until_day.is_some();
    if weak {
        txn.note_weak(space, letter.id())?;
    }
    if keep {
        keep_entry(txn, (space, identity), letter, from, &mut aftermath)?;
    }
    results.extend(settle(txn, space, device, from, &mut aftermath)?);
    Ok(Some(Opened {
        receipt,
        results,
        aftermath,
    }))
}

/// Whether an entry that came in a letter is kept; `None` where it should be and can't.
fn is_to_be_kept(txn: &Txn<'_>, space: SpaceId, letter: &Letter) -> Result<Option<bool>> {
    let (device, seq) = (letter.header.device, letter.header.seq);
    let held = txn.frontier(space, device)?.map_or(0, |feed| feed.base);
    if seq < held
        || txn.loose(&(space, device, seq))?.is_some()
        || txn.has_forgotten(space, device, seq, &letter.id())?
    {
        return Ok(Some(false));
    }
    let Some(context) = txn.context(space)? else {
        return Ok(None);
    };
    let sound = verify_body(&context, &letter.header, &letter.body).is_ok();
    let known = txn.loose_in(space)?;
    let bytes: usize = known.iter().map(|(_, _, loose)| loose.body.len()).sum();
    let room = known.len() < LOOSE_MAX && bytes + letter.body.len() <= LOOSE_BYTES_MAX;
    Ok((sound && room).then_some(true))
}

/// Keeps an entry that came in a letter. It joins its feed in [`settle`].
fn keep_entry(
    txn: &mut Txn<'_>,
    (space, author): (SpaceId, IdentityId),
    letter: Letter,
    from: &From,
    aftermath: &mut Aftermath,
) -> Result<()> {
    let (device, seq) = (letter.header.device, letter.header.seq);
    let loose = Loose {
        author,
        backlink: letter.header.backlink,
        created: letter.header.created,
        signature: letter.signature,
        body: letter.body,
        received: from.now,
        read: false,
    };
    aftermath.note_loose(space, author, letter.header.id());
    txn.put_loose(&(space, device, seq), &loose)
}

/// The header of an entry that came in a letter.
pub(super) fn loose_header(space: SpaceId, device: DeviceId, seq: u64, loose: &Loose) -> Header {
    loose.header(space, device, seq)
}

/// Takes entries that came in letters into their feed, as far as they join what is held now, and drops
/// those that came another way.
pub(crate) fn settle(
    txn: &mut Txn<'_>,
    space: SpaceId,
    device: DeviceId,
    from: &From,
    aftermath: &mut Aftermath,
) -> Result<Vec<JobResult>> {
    let mut results = Vec::new();
    let loose: BTreeMap<u64, Loose> = txn
        .loose_in(space)?
        .into_iter()
        .filter(|(of, ..)| *of == device)
        .map(|(_, seq, loose)| (seq, loose))
        .collect();
    for (seq, loose) in loose {
        let facts = txn.facts(space, device)?;
        let above = facts
            .tail
            .is_some_and(|tail| (tail.start..tail.next).contains(&seq));
        if seq < facts.head.next || above {
            let id = loose_header(space, device, seq, &loose).id();
            // Its author may have dropped it by now, and it isn't read here yet.
            if txn
                .fill_from_letter(space, device, seq, &loose.body, loose.received)
                .is_ok()
                && loose.read
            {
                txn.mark_read(&[id], from.now)?;
            }
            txn.remove_loose(&(space, device, seq))?;
            continue;
        }
        if seq > facts.head.next {
            break;
        }
        if loose.backlink != facts.head.top {
            // The feed has another entry before it: the next meeting tells of the fork.
            txn.remove_loose(&(space, device, seq))?;
            continue;
        }
        let mut run = Run::new(seq, loose.backlink);
        run.items.push(Item {
            created: loose.created,
            body: BodyPart::Present(&loose.body),
        });
        run.signatures.push((0, loose.signature));
        let Some(context) = txn.context(space)? else {
            break;
        };
        let id = loose_header(space, device, seq, &loose).id();
        if let Ok(Outcome::Continues(run)) = verify_run(&context, &facts, run.encode()) {
            let jobs = vec![Job::Import { space, run }];
            results.extend(from.take_into(txn, jobs, aftermath)?);
            txn.settle()?;
            if loose.read {
                txn.mark_read(&[id], from.now)?;
            }
        }
        // Where the feed doesn't take it, the next meeting says why.
        txn.remove_loose(&(space, device, seq))?;
    }
    // What came last may say how long the others stay.
    for (of, seq, _) in txn.loose_in(space)? {
        if of == device {
            txn.time_loose(space, device, seq, from.now)?;
        }
    }
    Ok(results)
}
