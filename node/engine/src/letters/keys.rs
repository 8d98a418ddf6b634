//! Keys for letters: those that we make for others, and those that others made for us.

use proto::{
    DeviceId, IdentityId, Millis,
    seal::{LastResort, PREKEYS_MAX, Party, Prekey, PrekeyBatch, PrekeyId, PrekeySecret},
};
use store::{Error, Lines, OwnPrekey, TheirPrekey, Txn};

use super::{
    DAY_MS, NO_DAY, day,
    epochs::Epochs,
    lock,
    sealing::{LAST_RESORT_GOOD_DAYS, Me, lines_of},
};
use crate::files;

type Result<T> = std::result::Result<T, Error>;

/// Keys that each of a contact's devices is to have of us: a day's worth of messages while apart.
const PREKEYS_ON_HAND: usize = 32;
/// A last resort is replaced after so many days.
const LAST_RESORT_DAYS: u64 = 7;

/// Keys for letters from a contact's device, as many as it lacks, those that it isn't known to keep among
/// them; empty where it lacks none.
pub(super) fn prekeys_for(
    txn: &mut Txn<'_>,
    me: &Me,
    (identity, device): (IdentityId, DeviceId),
    now: Millis,
) -> Result<PrekeyBatch> {
    let mut lines = lines_of(txn, device)?;
    let mut batch = PrekeyBatch::default();
    let (mut have, mut fresh) = (0, None);
    for (id, row) in txn.own_prekeys_for(device)? {
        let Some(prekey) = public(me, device, id, &row) else {
            // Its epoch's key was lost.
            txn.remove_own_prekey(&(device, id))?;
            continue;
        };
        let lacks = id.0 >= lines.prekeys_kept;
        match row.until_day {
            None => {
                have += 1;
                batch.once.extend(lacks.then_some(prekey));
            }
            Some(until) if now.since(row.made) < LAST_RESORT_DAYS * DAY_MS => {
                fresh = Some((prekey, until, lacks));
            }
            Some(_) => {}
        }
    }
    if have * 2 <= PREKEYS_ON_HAND {
        for _ in have..PREKEYS_ON_HAND {
            let made = make(txn, me, device, &mut lines, (now, None))?;
            batch.once.extend(made);
        }
    }
    let resort = match fresh {
        Some((prekey, until, lacks)) => lacks.then_some((prekey, until)),
        None => {
            let until = day(now).map_or(NO_DAY, |day| day.saturating_add(LAST_RESORT_GOOD_DAYS));
            let made = make(txn, me, device, &mut lines, (now, Some(until)))?;
            made.map(|prekey| (prekey, until))
        }
    };
    let sender = Party { identity, device };
    batch.last_resort =
        resort.map(|(prekey, until)| LastResort::sign(prekey, until, &me.key, sender));
    txn.put_lines(&device, &lines)?;
    Ok(batch)
}

fn public(me: &Me, sender: DeviceId, id: PrekeyId, row: &OwnPrekey) -> Option<Prekey> {
    let epochs = lock(&me.epochs);
    let secret = epochs.get(row.epoch)?.unwrap(sender, id, &row.wrapped)?;
    secret.public(id)
}

fn make(
    txn: &mut Txn<'_>,
    me: &Me,
    sender: DeviceId,
    lines: &mut Lines,
    (made, until_day): (Millis, Option<u16>),
) -> Result<Option<Prekey>> {
    let (id, secret) = (PrekeyId(lines.prekey), PrekeySecret(*files::random_seed()));
    let wrapped = {
        let epochs = lock(&me.epochs);
        epochs.current().and_then(|(epoch, key)| {
            let wrapped = key.wrap(sender, id, &secret)?;
            Some((epoch, wrapped))
        })
    };
    let (Some((epoch, wrapped)), Some(prekey)) = (wrapped, secret.public(id)) else {
        return Ok(None);
    };
    lines.prekey = lines.prekey.saturating_add(1);
    let row = OwnPrekey {
        epoch,
        wrapped,
        made,
        until_day,
    };
    txn.put_own_prekey(&(sender, id), &row)?;
    Ok(Some(prekey))
}

/// Keeps the keys that a contact's device made for us. A last resort that it didn't sign is refused.
pub(super) fn keep_prekeys(
    txn: &mut Txn<'_>,
    me: &Me,
    (identity, device): (IdentityId, DeviceId),
    batch: &PrekeyBatch,
) -> Result<Option<u32>> {
    let receiver = Party { identity, device };
    let signed = |last: &LastResort| last.is_from(receiver, me.party);
    if !batch.last_resort.as_ref().is_none_or(signed) {
        return Ok(None);
    }
    let mut lines = lines_of(txn, device)?;
    let known = txn.their_prekeys_of(device)?;
    let fresh = |prekey: &Prekey| prekey.id.0 >= lines.had && prekey.id.0 < u32::MAX;
    let mut next = lines.had;
    let once = batch.once.iter().filter(|prekey| fresh(prekey));
    for prekey in once.take((2 * PREKEYS_MAX).saturating_sub(known.len())) {
        let row = TheirPrekey {
            key: prekey.bytes(),
            until_day: None,
        };
        txn.put_their_prekey(&(device, prekey.id), &row)?;
        next = next.max(prekey.id.0 + 1);
    }
    if let Some(last) = batch
        .last_resort
        .as_ref()
        .filter(|last| fresh(&last.prekey))
    {
        for (id, _) in known.iter().filter(|(_, row)| row.until_day.is_some()) {
            txn.remove_their_prekey(&(device, *id))?;
        }
        let row = TheirPrekey {
            key: last.prekey.bytes(),
            until_day: Some(last.until_day),
        };
        txn.put_their_prekey(&(device, last.prekey.id), &row)?;
        next = next.max(last.prekey.id.0 + 1);
    }
    lines.had = next;
    txn.put_lines(&device, &lines)?;
    Ok(Some(next))
}

/// A contact's device keeps our keys below `next`.
pub(super) fn prekeys_kept(txn: &mut Txn<'_>, device: DeviceId, next: u32) -> Result<()> {
    let mut lines = lines_of(txn, device)?;
    lines.prekeys_kept = lines.prekeys_kept.max(next.min(lines.prekey));
    txn.put_lines(&device, &lines)
}

/// Wraps every secret by the newest epoch's key, and drops what nobody will use.
pub(super) fn wrap_anew(txn: &mut Txn<'_>, epochs: &Epochs) -> Result<()> {
    let Some((epoch, key)) = epochs.current() else {
        return Ok(());
    };
    for ((sender, id), mut row) in txn.own_prekeys()? {
        if row.epoch == epoch {
            continue;
        }
        let old = epochs.get(row.epoch);
        let secret = old.and_then(|old| old.unwrap(sender, id, &row.wrapped));
        match secret.and_then(|secret| key.wrap(sender, id, &secret)) {
            Some(wrapped) => {
                (row.epoch, row.wrapped) = (epoch, wrapped);
                txn.put_own_prekey(&(sender, id), &row)?;
            }
            None => drop(txn.remove_own_prekey(&(sender, id))?),
        }
    }
    Ok(())
}
