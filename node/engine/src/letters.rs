//! Letters: private messages that a mutual friend carries, sealed, to somebody who is out of reach.
//!
//! Nothing is sealed until somebody is there who could carry it. Then each message that its receiver's
//! device is not known to hold is sealed to that device and handed over, to a few contacts at most. Who
//! carries a letter learns its size, its age and who gave it to them, and for whom it is only when it hands it
//! to whomever recognises its tag. A receipt goes back the same way and ends the carrying.
//!
//! `sealing.rs` is what happens at both ends, in transactions, and `keys.rs` the keys for it; `carrying.rs` what a carrier does;
//! `showing.rs` what pages see of it; `exchange.rs` speaks with one contact's device; `epochs.rs` makes used keys unrecoverable.

mod carrying;
mod epochs;
mod exchange;
mod keys;
mod sealing;
mod showing;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use proto::{
    DeviceId, IdentityId, Millis, SpaceId,
    body::Lifetime,
    limits::{CLOCK_EARLIEST_MS, LETTER_DAYS},
};
use store::{OwnLetter, Setting, Source, Txn, View};
use tokio::sync::Notify;

use self::{carrying::Usage, epochs::Epochs, sealing::UnderWay};
pub(crate) use self::{
    carrying::load,
    exchange::{Exchange, Word},
    sealing::settle,
    showing::{Sealed, loose_message, loose_messages, mark_read, mark_space_read, sealed_to},
};
use crate::{clock, inner::Inner, view::WhoseLetters};

/// How many contacts are given one letter. With four a campsite's letters arrive nearly as often, and as
/// soon, as if everybody carried them; see `docs/PERFORMANCE.md`.
pub(crate) const COPIES: usize = 4;
/// Between the opening of a letter and the end of its key: several letters share the work.
const FORGET_AFTER: Duration = Duration::from_secs(20);
/// Keys' epochs are at most so long.
const EPOCH_LASTS: Duration = Duration::from_secs(24 * 3_600);
/// Between two looks for letters that nobody has to carry any more.
const SWEEP_EVERY: Duration = Duration::from_secs(3_600);
const DAY_MS: u64 = 24 * 3_600_000;
/// The day of a letter whose sender doesn't know the date: nobody drops it for that.
const NO_DAY: u16 = u16::MAX;

const WHOSE: &str = "carry-letters";

/// What all meetings share about letters.
pub(crate) struct Letters {
    epochs: Arc<Mutex<Epochs>>,
    /// What each contact's letters take here; `None` until it was counted.
    usage: Arc<Mutex<Option<Usage>>>,
    under_way: Arc<Mutex<UnderWay>>,
    /// A key was used since the epoch began.
    used: AtomicBool,
    wake: Notify,
    /// One change of the epoch at a time.
    changing: tokio::sync::Mutex<()>,
    /// Counts changes of what is expected.
    expected: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Letters {
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        Ok(Self {
            epochs: Arc::new(Mutex::new(Epochs::open(dir)?)),
            usage: Arc::default(),
            under_way: Arc::default(),
            // What was used just before the last end was not forgotten yet.
            used: AtomicBool::new(true),
            wake: Notify::new(),
            changing: tokio::sync::Mutex::default(),
            expected: AtomicU64::new(0),
        })
    }

    /// Other letters are expected from now on.
    fn note_expected(&self) {
        self.expected.fetch_add(1, Ordering::Relaxed);
    }

    /// A key was used: its epoch ends soon.
    fn note_used(&self) {
        self.used.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }
}

/// The day since 1970, where the clock can be believed.
fn day(now: Millis) -> Option<u16> {
    Some(now)
        .filter(|now| now.0 >= CLOCK_EARLIEST_MS)
        .and_then(|now| u16::try_from(now.0 / DAY_MS).ok())
}

/// The day from which on a letter that is sealed now isn't kept: one with what disappears no longer than
/// that stays, but a day.
fn expiry(now: Millis, lifetime: Lifetime) -> u16 {
    let days = match u16::try_from(lifetime.millis().div_ceil(DAY_MS)) {
        Ok(days) if lifetime.ends() => days.min(LETTER_DAYS),
        _ => LETTER_DAYS,
    };
    day(now).map_or(NO_DAY, |day| day.saturating_add(days + 1).min(NO_DAY - 1))
}

/// Whether that day has come, as far as is known.
fn is_past(expires_day: u16, now: Millis) -> bool {
    expires_day != NO_DAY && day(now).is_some_and(|today| today >= expires_day)
}

/// Whose letters this node carries: everybody's among the contacts, unless the person says otherwise.
pub(crate) fn whose(view: &View<impl Source>) -> Result<WhoseLetters, store::Error> {
    Ok(match view.setting(&WHOSE.to_owned())? {
        Some(Setting(value)) if value == b"nobody" => WhoseLetters::Nobody,
        Some(Setting(value)) if value == b"verified" => WhoseLetters::Verified,
        _ => WhoseLetters::Contacts,
    })
}

pub(crate) fn set_whose(txn: &mut Txn<'_>, whose: WhoseLetters) -> Result<(), store::Error> {
    let value: &[u8] = match whose {
        WhoseLetters::Nobody => b"nobody",
        WhoseLetters::Verified => b"verified",
        WhoseLetters::Contacts => b"contacts",
    };
    txn.put_setting(&WHOSE.to_owned(), &Setting(value.to_vec()))
}

/// The contact's device holds our feed of a conversation up to `base`: what was sealed of it has arrived,
/// and whoever carries it is told. Returns whether there was any.
pub(crate) fn arrived(
    txn: &mut Txn<'_>,
    space: SpaceId,
    contact: IdentityId,
    base: u64,
) -> Result<bool, store::Error> {
    let mut any = false;
    let devices = txn.contact(&contact)?.map(|known| known.devices);
    for device in devices.unwrap_or_default().into_keys() {
        for (number, mut letter) in txn.own_letters_to(device)? {
            if letter.space != space || letter.seq >= base {
                continue;
            }
            any |= !letter.delivered;
            letter.delivered = true;
            letter.envelope = Vec::new();
            if letter.carriers.is_empty() {
                forget(txn, device, number, &letter)?;
            } else {
                txn.put_own_letter(&(device, number), &letter)?;
            }
        }
    }
    Ok(any)
}

/// An expired message is to be sealed again when somebody can carry it.
pub(crate) fn send_again(
    txn: &mut Txn<'_>,
    contact: IdentityId,
    seq: u64,
    now: Millis,
) -> Result<bool, store::Error> {
    let mut again = false;
    let devices = txn.contact(&contact)?.map(|known| known.devices);
    for device in devices.unwrap_or_default().into_keys() {
        for (number, letter) in txn.own_letters_to(device)? {
            if letter.seq == seq && !letter.delivered && is_past(letter.expires_day, now) {
                forget(txn, device, number, &letter)?;
                again = true;
            }
        }
    }
    Ok(again)
}

fn forget(
    txn: &mut Txn<'_>,
    device: DeviceId,
    number: u64,
    letter: &OwnLetter,
) -> Result<(), store::Error> {
    txn.remove_receipted(&letter.receipt.hash())?;
    txn.remove_own_letter(&(device, number)).map(drop)
}

impl Inner {
    /// Something changed that meetings may hand over or ask for.
    pub(crate) fn tell_letters(&self) {
        for meeting in self.meetings().values() {
            meeting.notices.letters();
        }
    }

    /// Ends the epoch of keys: the secrets of those that were used can't be had any more, whatever is
    /// left of them on the disk.
    pub(crate) async fn forget_used_keys(&self) -> Result<(), crate::Error> {
        let letters = &self.letters;
        let _one = letters.changing.lock().await;
        letters.used.store(false, Ordering::Relaxed);
        let changed = self.change_epoch().await;
        if changed.is_err() {
            letters.used.store(true, Ordering::Relaxed);
        }
        changed
    }

    async fn change_epoch(&self) -> Result<(), crate::Error> {
        let letters = &self.letters;
        // One that was cut before it ended is ended first: what was used since belongs to the newer key.
        let mut cut = lock(&letters.epochs).is_cut();
        loop {
            lock(&letters.epochs).begin().map_err(folder)?;
            let epochs = letters.epochs.clone();
            self.store
                .write(move |txn| keys::wrap_anew(txn, &lock(&epochs)))
                .await?;
            lock(&letters.epochs).finish().map_err(folder)?;
            if !std::mem::take(&mut cut) {
                return Ok(());
            }
        }
    }
}

fn folder(error: io::Error) -> crate::Error {
    crate::Error::Folder {
        detail: format!("the keys' epoch could not be written: {error}"),
    }
}

/// Ends epochs, and drops what nobody has to carry any more.
pub(crate) async fn attend(inner: Arc<Inner>) {
    let mut epoch_ends = tokio::time::Instant::now() + EPOCH_LASTS;
    let mut sweep_at = tokio::time::Instant::now();
    loop {
        let soon = inner.letters.used.load(Ordering::Relaxed);
        let ends = if soon {
            epoch_ends.min(tokio::time::Instant::now() + FORGET_AFTER)
        } else {
            epoch_ends
        };
        tokio::select! {
            () = inner.stop.cancelled() => break,
            // Only the first use shortens the wait.
            () = inner.letters.wake.notified(), if !soon => continue,
            () = tokio::time::sleep_until(ends) => {
                epoch_ends = tokio::time::Instant::now() + EPOCH_LASTS;
                if let Err(error) = inner.forget_used_keys().await {
                    tracing::warn!(%error, "keys of opened letters could not be forgotten yet");
                }
            }
            () = tokio::time::sleep_until(sweep_at) => {
                sweep_at = tokio::time::Instant::now() + SWEEP_EVERY;
                let now = clock::now();
                if let Err(error) = inner.store.write(move |txn| carrying::sweep(txn, now)).await {
                    tracing::warn!(%error, "old letters could not be dropped yet");
                }
                *lock(&inner.letters.usage) = None;
            }
        }
    }
    if inner.letters.used.load(Ordering::Relaxed)
        && let Err(error) = inner.forget_used_keys().await
    {
        tracing::warn!(%error, "keys of opened letters are forgotten at the next start");
    }
}
