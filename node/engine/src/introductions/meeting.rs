//! The meeting of two who were introduced: who is dialled, and what is said on the connection.

use std::{collections::HashSet, sync::Arc, time::Duration};

use links::{CloseCode, Connection, MeetStream, Protocol};
use proto::{
    IdentityId, Millis,
    card::PairSecret,
    introduction::{Frame, IntroductionId},
    limits::CONTACTS_MAX,
};
use store::{Introduction, Said, Source, View};
use tokio::time::timeout;

use super::{card_of, is_over, is_to_meet, tell};
use crate::{
    adding, beacons,
    choices::Caller,
    clock,
    error::{Error, Result},
    inner::Inner,
    records::{self, ContactState},
    view::Trust,
};

/// How long a meeting of two who were introduced may take.
const EXCHANGE_WAIT: Duration = Duration::from_secs(10);
/// Between two rounds of dialling those who were introduced; it doubles up to the second.
const ROUND_MIN: Duration = Duration::from_millis(500);
const ROUND_MAX: Duration = Duration::from_secs(60);

/// Dials those who are to be met, until the node stops.
pub(crate) async fn attend(inner: Arc<Inner>) {
    let mut wait = ROUND_MIN;
    loop {
        let waiting = match round(&inner).await {
            Ok(waiting) => waiting,
            Err(error) => {
                tracing::warn!(%error, "could not look after introductions");
                true
            }
        };
        let pause = async {
            if waiting {
                tokio::time::sleep(wait).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = inner.stop.cancelled() => return,
            () = inner.introductions.changed.notified() => wait = ROUND_MIN,
            () = pause => wait = (wait * 2).min(ROUND_MAX),
        }
    }
}

/// One round; whether somebody is still to be met.
async fn round(inner: &Arc<Inner>) -> Result<bool> {
    let (Some(keys), Some(links)) = (inner.keys(), inner.links()) else {
        return Ok(false);
    };
    let (own, now) = (keys.identity.id(), clock::now());
    let (rows, contacts) = {
        let snapshot = inner.store.read()?;
        (snapshot.introductions()?, snapshot.contacts()?)
    };
    let mut waiting = false;
    let mut expected = HashSet::new();
    let mut to_dial = Vec::new();
    for (id, row) in rows {
        // An answer may have been lost: until they met they may come again.
        let met = |id: &IdentityId| {
            let mut known = contacts.iter();
            known.any(|(known, contact)| known == id && contact.last_met.is_some())
        };
        let again = row.done && row.one == own && !met(&row.other) && !is_over(&row, now);
        if !again && !is_to_meet(&row, own, now) {
            continue;
        }
        let Some(card) = card_of(id, &row) else {
            continue;
        };
        expected.insert(card.endpoint);
        waiting = true;
        if !row.done && links.id() < card.endpoint {
            to_dial.push((id, card));
        }
    }
    inner.admission.set_introduced(expected);
    forget_strangers(inner, own, now).await?;
    if inner.hindrance().is_some() {
        return Ok(waiting);
    }
    let (may, key) = {
        let snapshot = inner.store.read()?;
        let may = inner.may_call(&snapshot, Caller::Node)?;
        (may, beacons::own(&snapshot)?)
    };
    for (id, card) in to_dial {
        let mut addrs = inner.lan.addrs_of(card.endpoint);
        addrs.extend(&card.addrs);
        addrs.retain(|addr| may.at(addr));
        let relay = card.relay.clone().filter(|_| may.internet);
        let contact = card.certificate.identity;
        inner.lan.knock(&addrs, key.clone());
        let addrs = inner.lan.ways(&addrs);
        let dial = links.dial(card.endpoint, &addrs, relay, Protocol::Meet);
        let dialled = tokio::select! {
            () = inner.stop.cancelled() => return Ok(false),
            dialled = dial => dialled,
        };
        match dialled {
            Ok(conn) => {
                let met = timeout(EXCHANGE_WAIT, introduce_us(inner, &conn, id)).await;
                if let Ok(Err(error)) = &met {
                    inner.note_error(contact, &error.to_string());
                }
                conn.close(CloseCode::Done, "");
            }
            Err(error) => inner.note_error(contact, &error.to_string()),
        }
    }
    Ok(waiting)
}

/// Who was to be met and won't be, because the time is over or the introducer is gone: nothing of
/// them stays.
async fn forget_strangers(inner: &Inner, own: IdentityId, now: Millis) -> Result<()> {
    let none = {
        let snapshot = inner.store.read()?;
        strangers(&snapshot, own, now)?.is_empty()
    };
    if none {
        return Ok(());
    }
    inner
        .store
        .write(move |txn| {
            for stranger in strangers(txn, own, now)? {
                txn.remove_contact(&stranger)?;
            }
            Ok(())
        })
        .await?;
    inner.lan.contacts_changed();
    Ok(())
}

/// Those who were prepared for a meeting that no introduction leads to.
pub(super) fn strangers(
    view: &View<impl Source>,
    own: IdentityId,
    now: Millis,
) -> Result<Vec<IdentityId>, store::Error> {
    let rows = view.introductions()?;
    let is_open = |row: &Introduction| {
        let says = [row.one_says, row.other_says];
        !row.done && !is_over(row, now) && !says.contains(&Said::No)
    };
    let expected = |id: &IdentityId| {
        let mut rows = rows.iter().map(|(_, row)| row);
        rows.any(|row| row.one == own && row.other == *id && is_open(row))
    };
    let contacts = view.contacts()?.into_iter();
    let prepared = contacts.filter(|(id, contact)| is_prepared(contact) && !expected(id));
    Ok(prepared.map(|(id, _)| id).collect())
}

/// Whether somebody stands among the contacts for an introduction only.
pub(super) fn is_prepared(contact: &store::Contact) -> bool {
    contact.state == ContactState::Pending
        && contact.link.is_none()
        && contact.pair_secret.is_none()
        && records::shown_trust(contact.trust) == Trust::Introduced
}

fn unreachable(detail: &str) -> Error {
    Error::Unreachable {
        detail: detail.to_owned(),
    }
}

/// The dialer's side.
async fn introduce_us(inner: &Arc<Inner>, conn: &Connection, id: IntroductionId) -> Result<()> {
    let lost = |_| unreachable("the connection ended");
    let keys = inner.ready()?;
    let exporter = conn
        .exporter(adding::EXPORTER_LABEL, b"")
        .map_err(|_| unreachable("the connection ended"))?;
    let row = inner.store.read()?.introduction(&id)?;
    let other = row.map(|row| row.other);
    let other = other.ok_or_else(|| unreachable("the introduction isn't there any more"))?;
    let opened = MeetStream::open(conn.clone()).await;
    let mut stream = opened.map_err(|_| unreachable("the connection ended"))?;
    let people = id.people(&exporter, keys.identity.id(), other);
    let hello = Frame::Introduced(id, people).encode();
    stream.send(hello.into()).await.map_err(lost)?;
    let answer = stream.recv().await.map_err(lost)?;
    let answer = answer.ok_or_else(|| unreachable("they aren't ready to meet yet"))?;
    let Ok(Frame::Welcome(secret)) = Frame::decode(&answer) else {
        return Err(unreachable("the other side answered with something else"));
    };
    let kept = keep(inner, conn, id, move |_, _| Some(secret)).await?;
    kept.map(drop)
        .ok_or_else(|| unreachable("the introduction isn't good any more"))
}

/// The acceptor's side, from the first frame on.
pub(crate) async fn welcome(
    inner: &Arc<Inner>,
    conn: &Connection,
    mut stream: MeetStream,
    exporter: [u8; 32],
    frame: &[u8],
) {
    let Ok(Frame::Introduced(id, people)) = Frame::decode(frame) else {
        conn.close(CloseCode::Misbehaved, "");
        return;
    };
    let choose = move |row: &Introduction, known: Option<&store::Contact>| {
        secret_with(id, &exporter, &people, row, known)
    };
    match keep(inner, conn, id, choose).await {
        Ok(Some(secret)) => {
            let welcome = Frame::Welcome(secret).encode();
            if stream.send(welcome.into()).await.is_ok() {
                stream.finish().await;
            }
            conn.close(CloseCode::Done, "");
        }
        Ok(None) => conn.close(CloseCode::Refused, ""),
        Err(error) => {
            tracing::warn!(%error, "somebody who was introduced could not be added");
            conn.close(CloseCode::Busy, "");
        }
    }
}

/// The acceptor's choice: a secret that is in use stays, and the other side takes it from here.
/// Nothing where the dialer means others.
pub(super) fn secret_with(
    id: IntroductionId,
    exporter: &[u8; 32],
    people: &[u8; 32],
    row: &Introduction,
    known: Option<&store::Contact>,
) -> Option<PairSecret> {
    if id.people(exporter, row.other, row.one) != *people {
        return None;
    }
    let kept = adding::secret_in_use(known);
    Some(kept.unwrap_or_else(|| id.pair_secret(exporter, row.one, row.other)))
}

/// Makes a contact of the one at the other end, under the secret that is chosen; nothing where the
/// introduction doesn't say so.
async fn keep(
    inner: &Arc<Inner>,
    conn: &Connection,
    id: IntroductionId,
    choose: impl FnOnce(&Introduction, Option<&store::Contact>) -> Option<PairSecret> + Send + 'static,
) -> Result<Option<PairSecret>> {
    let keys = inner.ready()?;
    let (own, now, remote) = (keys.identity.id(), clock::now(), conn.remote());
    let met = inner
        .store
        .write(move |txn| {
            let Some(mut row) = txn.introduction(&id)?.filter(|row| row.one == own) else {
                return Ok(None);
            };
            let known = txn.contact(&row.other)?;
            let is_met = |contact: &store::Contact| {
                contact.state == ContactState::Ready && contact.last_met.is_some()
            };
            let again = row.done && !known.as_ref().is_some_and(is_met) && !is_over(&row, now);
            if !again && !is_to_meet(&row, own, now) {
                return Ok(None);
            }
            let card = card_of(id, &row).filter(|card| card.endpoint == remote);
            let is_contact = |contact: &store::Contact| contact.state == ContactState::Ready;
            let contacts = txn.contacts()?;
            let others = contacts.iter().filter(|(id, _)| *id != row.other).count();
            let room = known.as_ref().is_some_and(is_contact) || others < CONTACTS_MAX;
            let chosen = choose(&row, known.as_ref());
            let (Some(card), Some(secret)) = (card.filter(|_| room), chosen) else {
                return Ok(None);
            };
            let Some(secret) = adding::befriend_under(txn, &keys, &card, |_| secret, now)? else {
                return Ok(None);
            };
            row.done = true;
            txn.put_introduction(&id, &row)?;
            Ok(Some((row.other, card.endpoint, secret)))
        })
        .await?;
    let Some((contact, endpoint, secret)) = met else {
        return Ok(None);
    };
    inner.begin_contact(contact, &[endpoint]);
    inner.tell_audience();
    tell(inner, contact);
    Ok(Some(secret))
}
