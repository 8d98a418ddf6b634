//! Disappearing messages: when the next one goes, and telling that it went.
//!
//! What disappears, and from when on, is in the store; the task here only looks at the clock. It sleeps
//! until something is due, and wakes when anything changed that may be due earlier.

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use proto::{IdentityId, Millis, SpaceId, body::Setting, space::SpaceKind};
use store::{Error, InForce, Txn, Vanished};

use crate::{
    clock,
    event::EventKind,
    events::About,
    files::Keys,
    inner::Inner,
    spaces::{self, Written},
};

/// Messages that go in one transaction.
const AT_ONCE: usize = 256;
/// As long as something waits for its time the clock is looked at so often: it may be set, and a machine
/// that slept doesn't count that time in its waits.
const LOOK_EVERY: Duration = Duration::from_secs(300);
/// After the disk failed it is tried again so much later.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Drops what is due. `corrected` says that the clock may have been wrong before.
pub(crate) async fn drop_due(inner: &Inner, now: Millis, mut corrected: bool) -> Result<(), Error> {
    loop {
        let correct = std::mem::take(&mut corrected);
        let vanished = inner
            .store
            .write(move |txn| {
                if correct {
                    txn.correct_timers(now)?;
                }
                txn.vanish(now, AT_ONCE)
            })
            .await?;
        let more = vanished.more;
        tell(inner, vanished);
        if !more {
            return Ok(());
        }
    }
}

fn tell(inner: &Inner, vanished: Vanished) {
    let events = vanished.entries.into_iter().map(|(space, id, author)| {
        let about = About {
            subject: Some(id.to_string()),
            space: Some(space),
            topic: None,
            contact: author,
        };
        (EventKind::Entry, about)
    });
    inner.events.emit_all(events);
}

/// Drops messages as their time comes.
pub(crate) async fn attend(inner: Arc<Inner>) {
    // The clock may have been set while nothing ran here.
    let mut last = None;
    loop {
        let changed = inner.events.changed();
        let changed = changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let wait = match look(&inner, &mut last).await {
            Ok(wait) => wait,
            Err(error) => {
                tracing::warn!(%error, "messages whose time is over could not be dropped yet");
                Some(AGAIN_AFTER)
            }
        };
        tokio::select! {
            () = inner.stop.cancelled() => return,
            () = changed => {}
            () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
        }
    }
}

/// Drops what is due: how long to sleep, `None` where nothing waits for its time.
async fn look(inner: &Inner, last: &mut Option<Millis>) -> Result<Option<Duration>, Error> {
    let Some(due) = inner.store.read()?.next_due()? else {
        return Ok(None);
    };
    let now = clock::now();
    let set_back = last.is_none_or(|last| now < last);
    if set_back || due <= now {
        drop_due(inner, now, set_back).await?;
    }
    *last = Some(now);
    let due = inner.store.read()?.next_due()?;
    Ok(due.map(|due| Duration::from_millis(due.since(now)).min(LOOK_EVERY)))
}

/// Before something of ours that disappears is written, our own feed takes over the setting that is in
/// force, so that it is covered there.
pub(crate) fn take_over_setting(
    txn: &mut Txn<'_>,
    keys: &Keys,
    space: SpaceId,
    now: Millis,
) -> Result<Option<Written>, Error> {
    let conversation = txn
        .space(space)?
        .is_some_and(|space| space.kind == SpaceKind::Conversation);
    if !conversation {
        return Ok(None);
    }
    let agreed = txn.agreement(space, keys.identity.id())?;
    let (lifetime, over) = match agreed.in_force {
        InForce::Theirs(theirs) if theirs.lifetime != agreed.our_lifetime() => {
            (theirs.lifetime, theirs.id)
        }
        _ => return Ok(None),
    };
    let setting = Setting {
        lifetime: Some(lifetime),
        receipts: None,
        over: Some(over),
    };
    let body = proto::body::Body::Setting(setting);
    spaces::append(txn, keys, space, now, &body).map(Some)
}

/// Who set what is in force. One that only took over the other's counts as the other's.
pub(crate) fn set_by(
    agreed: &store::Agreement,
    own: IdentityId,
    contact: IdentityId,
) -> Option<(IdentityId, Millis)> {
    let (placed, who, other, others) = match agreed.in_force {
        InForce::Nobody => return None,
        InForce::Ours(ours) => (ours, own, contact, agreed.theirs),
        InForce::Theirs(theirs) => (theirs, contact, own, agreed.ours),
    };
    let taken_over = others
        .filter(|others| placed.over == Some(others.id) && placed.lifetime == others.lifetime);
    Some(match taken_over {
        Some(others) => (other, others.created),
        None => (who, placed.created),
    })
}
