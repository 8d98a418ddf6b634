//! Telling that messages were read, where both people want to tell each other.
//!
//! A task of its own waits a moment after something was read, so that a page of messages makes one receipt
//! and not twenty. What was agreed is looked at when the receipt is written, so that withdrawing counts at
//! once.

use std::{sync::Arc, time::Duration};

use proto::{Millis, body::Body, space::SpaceKind};
use store::{Error, Txn};

use crate::{
    clock,
    files::Keys,
    inner::Inner,
    spaces::{self, Written},
};

/// At most one receipt a conversation in this time: people read a page in one go.
const COALESCED: Duration = Duration::from_secs(3);

/// Writes receipts as messages are read.
pub(crate) async fn attend(inner: Arc<Inner>) {
    loop {
        // The first look is for what was read just before the last end.
        if let Some(keys) = inner.keys() {
            match tell(&inner, keys).await {
                Ok(()) => {}
                Err(error) => tracing::warn!(%error, "it could not be told yet what was read"),
            }
        }
        tokio::select! {
            () = inner.stop.cancelled() => return,
            () = inner.was_read.notified() => {}
        }
        tokio::select! {
            () = inner.stop.cancelled() => return,
            () = tokio::time::sleep(COALESCED) => {}
        }
    }
}

async fn tell(inner: &Arc<Inner>, keys: Keys) -> Result<(), Error> {
    if !is_due(inner, &keys)? {
        return Ok(());
    }
    let now = clock::now();
    let written = inner
        .store
        .write(move |txn| write_receipts(txn, &keys, now))
        .await?;
    for written in &written {
        inner.tell_written(written);
    }
    Ok(())
}

/// Whether anything is to be told: a look that writes nothing.
fn is_due(inner: &Inner, keys: &Keys) -> Result<bool, Error> {
    let snapshot = inner.store.read()?;
    for space in snapshot.spaces()? {
        let (own, device) = (keys.identity.id(), keys.device.id());
        if space.kind == SpaceKind::Conversation
            && !snapshot.receipts_due(space.id, own, device)?.is_empty()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Writes what is to be told as read.
pub(crate) fn write_receipts(
    txn: &mut Txn<'_>,
    keys: &Keys,
    now: Millis,
) -> Result<Vec<Written>, Error> {
    let mut all = Vec::new();
    for space in txn.spaces()? {
        if space.kind != SpaceKind::Conversation {
            continue;
        }
        for due in txn.receipts_due(space.id, keys.identity.id(), keys.device.id())? {
            let body = Body::Receipt {
                device: due.device,
                seq: due.seq,
            };
            all.push(spaces::append(txn, keys, space.id, now, &body)?);
        }
    }
    Ok(all)
}
