//! Invites that we made: rows, the open door, and the extra endpoints of many-use ones.

use std::sync::{Arc, PoisonError};

use links::{EndpointSecret, TemporaryEndpoint};
use proto::{
    card::{self, InviteSecret},
    limits::{INVITE_EXPIRY_S_DEFAULT, INVITE_EXPIRY_S_MAX, INVITE_USES_MAX, INVITES_MAX},
    text,
};
use zeroize::Zeroizing;

use crate::{
    Error, Result, clock,
    error::invalid,
    event::EventKind,
    events::About,
    files,
    inner::Inner,
    records::{self, Invite},
    view::{Internet, NewInvite},
};

/// Characters of a note.
const NOTE_CHARS_MAX: usize = 100;

/// Makes an invite; its link works when this returns.
pub(crate) async fn create(inner: &Arc<Inner>, new: NewInvite) -> Result<String> {
    inner.ready()?;
    let uses = new.uses.unwrap_or(1);
    if !(1..=INVITE_USES_MAX).contains(&uses) {
        return Err(invalid(
            "uses",
            &format!("expected 1 to {INVITE_USES_MAX}, found {uses}"),
        ));
    }
    let expires_in_s = new.expires_in_s.unwrap_or(INVITE_EXPIRY_S_DEFAULT);
    if !(1..=INVITE_EXPIRY_S_MAX).contains(&expires_in_s) {
        return Err(invalid(
            "expires_in_s",
            &format!("expected 1 to {INVITE_EXPIRY_S_MAX} seconds, found {expires_in_s}"),
        ));
    }
    let note = new.note.unwrap_or_default();
    if !text::is_text(&note, NOTE_CHARS_MAX) {
        return Err(invalid(
            "note",
            &format!("expected at most {NOTE_CHARS_MAX} characters"),
        ));
    }
    let mut secret = InviteSecret([0; 16]);
    files::fill_random(&mut secret.0);
    let now = clock::now();
    let id = records::local_id();
    let row = Invite {
        secret,
        endpoint_secret: (uses > 1).then(files::random_seed),
        link: String::new(),
        uses,
        used: 0,
        created: now,
        expires: now.plus(expires_in_s * 1_000),
        note,
        used_by: Vec::new(),
        tried_again: false,
        local_only: false,
    };
    let opened = match &row.endpoint_secret {
        Some(seed) => Some(open_endpoint(inner, seed).await?),
        None => None,
    };
    let row_id = id.clone();
    let added = inner
        .store
        .write(move |txn| {
            records::remove_stale_invites(txn, now)?;
            if txn.invites()?.len() >= INVITES_MAX {
                return Ok(false);
            }
            txn.put_invite(&row_id, &row)?;
            Ok(true)
        })
        .await?;
    if !added {
        return Err(Error::Conflict {
            detail: format!("{INVITES_MAX} invites are open, which is the most: delete one first"),
        });
    }
    if let Some(opened) = opened {
        inner
            .temporary
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id.clone(), opened);
    }
    refresh_door(inner)?;
    inner.events.emit(
        EventKind::Contact,
        About {
            subject: Some(id.clone()),
            ..About::default()
        },
    );
    Ok(id)
}

async fn open_endpoint(inner: &Inner, seed: &[u8; 32]) -> Result<TemporaryEndpoint> {
    let links = inner.links().ok_or_else(|| Error::Links {
        detail: "they are off".into(),
    })?;
    let opened = links
        .open_temporary(EndpointSecret::from_bytes(*seed))
        .await;
    opened.map_err(|error| Error::Links {
        detail: error.to_string(),
    })
}

/// The link of an invite, with the addresses of this moment.
pub(crate) fn link(inner: &Inner, id: &str, row: &Invite, internet: Internet) -> String {
    let temporary = inner
        .temporary
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let links = inner.links();
    let (endpoint, addrs) = match (&row.endpoint_secret, temporary.get(id), &links) {
        (Some(seed), None, _) => (EndpointSecret::from_bytes(**seed).id(), Vec::new()),
        (Some(_), Some(opened), _) => (opened.id(), opened.addrs_now()),
        (None, _, Some(links)) => (links.id(), links.addrs_now()),
        (None, _, None) => (proto::EndpointId([0; 32]), Vec::new()),
    };
    card::Invite {
        endpoint,
        secret: row.secret.clone(),
        expires: row.expires,
        many: row.uses > 1,
        local_only: internet == Internet::Off,
        addrs,
        relay: links.and_then(|links| links.relay()),
    }
    .link()
}

/// Deletes an invite; its link ends at once.
pub(crate) async fn delete(inner: &Arc<Inner>, id: &str) -> Result<()> {
    inner.ready()?;
    let row = id.to_owned();
    if !inner
        .store
        .write(move |txn| txn.remove_invite(&row))
        .await?
    {
        return Err(Error::NotFound { what: "the invite" });
    }
    let opened = inner
        .temporary
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .remove(id);
    if let Some(opened) = opened {
        opened.close().await;
    }
    refresh_door(inner)?;
    inner.events.emit(
        EventKind::Contact,
        About {
            subject: Some(id.to_owned()),
            ..About::default()
        },
    );
    Ok(())
}

/// Opens the door as long as any invite may still be answered. A used one is answered too, with
/// what is wrong, until it expires.
pub(crate) fn refresh_door(inner: &Inner) -> Result<()> {
    let (snapshot, now) = (inner.store.read()?, clock::now());
    let open = snapshot
        .invites()?
        .iter()
        .any(|(_, row)| row.uses == 1 && row.expires > now);
    inner.admission.set_meet_open(open);
    Ok(())
}

/// Opens what the invites need after a start.
pub(crate) async fn reopen(inner: &Arc<Inner>) -> Result<()> {
    let (rows, now) = (inner.store.read()?.invites()?, clock::now());
    inner
        .temporary
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clear();
    for (id, row) in rows.iter().filter(|(_, row)| row.expires > now) {
        if let Some(seed) = &row.endpoint_secret {
            let seed: Zeroizing<[u8; 32]> = seed.clone();
            let opened = open_endpoint(inner, &seed).await?;
            inner
                .temporary
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(id.clone(), opened);
        }
    }
    refresh_door(inner)
}

/// Closes the endpoints of many-use invites, all at once.
pub(crate) async fn close_all(inner: &Inner) {
    let opened = std::mem::take(
        &mut *inner
            .temporary
            .lock()
            .unwrap_or_else(PoisonError::into_inner),
    );
    let mut closing = tokio::task::JoinSet::new();
    for endpoint in opened.into_values() {
        closing.spawn(endpoint.close());
    }
    closing.join_all().await;
}
