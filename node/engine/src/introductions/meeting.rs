//! The meeting of two who were introduced: who is dialled, and what is said on the connection.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use links::{CloseCode, Connection, MeetStream, Protocol};
use proto::{
    IdentityId, Millis,
    card::PairSecret,
    introduction::{Frame, IntroductionId},
    limits::CONTACTS_MAX,
};
use store::{Introduction, Source, View};
use tokio::time::{Instant, timeout};

use super::{card_of, is_declined, is_over, is_to_meet, number, tell};
use crate::{
    adding, beacons,
    choices::Caller,
    clock,
    error::{Error, Result},
    inner::Inner,
    records::{self, ContactState},
    view::Trust,
};

const ENDED: &str = "the connection ended";
const GONE: &str = "the introduction isn't there any more";
const NOT_READY: &str = "they aren't ready to meet yet";
/// How long a meeting of two who were introduced may take.
const EXCHANGE_WAIT: Duration = Duration::from_secs(10);
/// Between two rounds of dialling those who were introduced; it doubles up to the second.
const ROUND_MIN: Duration = Duration::from_millis(500);
const ROUND_MAX: Duration = Duration::from_secs(60);
/// When the one with the higher endpoint dials too. The other's dial takes less where there is a way,
/// and both at once harm nothing.
const OTHER_DIALS_AFTER: Duration = Duration::from_secs(3);

/// Since when those who are to be met are: as many as introductions may wait.
type Since = BTreeMap<IntroductionId, Instant>;

/// Dials those who are to be met, until the node stops.
pub(crate) async fn attend(inner: Arc<Inner>) {
    let mut wait = ROUND_MIN;
    let mut since = Since::new();
    loop {
        let waiting = match round(&inner, &mut since).await {
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
async fn round(inner: &Arc<Inner>, since: &mut Since) -> Result<bool> {
    let (Some(keys), Some(links)) = (inner.keys(), inner.links()) else {
        return Ok(false);
    };
    let (own, now) = (keys.identity.id(), clock::now());
    let (rows, contacts) = {
        let snapshot = inner.store.read()?;
        (snapshot.introductions()?, snapshot.contacts()?)
    };
    let mut expected = BTreeMap::new();
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
        expected.insert(id, card.endpoint);
        let for_long = since.entry(id).or_insert_with(Instant::now).elapsed() > OTHER_DIALS_AFTER;
        let speaks = links.id() < card.endpoint;
        if speaks && !row.done || !speaks && for_long {
            to_dial.push((id, card));
        }
    }
    since.retain(|id, _| expected.contains_key(id));
    let waiting = !expected.is_empty();
    inner
        .admission
        .set_introduced(expected.into_values().collect());
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
                let met = timeout(EXCHANGE_WAIT, meet(inner, &conn, id)).await;
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
    inner.contacts_changed();
    Ok(())
}

/// Those who were prepared for a meeting that no introduction leads to.
pub(super) fn strangers(
    view: &View<impl Source>,
    own: IdentityId,
    now: Millis,
) -> Result<Vec<IdentityId>, store::Error> {
    let rows = view.introductions()?;
    let is_open = |row: &Introduction| !row.done && !is_over(row, now) && !is_declined(row);
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

/// Whether the one at the other end is who asks, and we who say whose introduction it is: one side
/// decides about the secret, whoever dialled, or two connections at once would leave two of them.
fn is_ours_to_say(inner: &Inner, conn: &Connection) -> bool {
    inner
        .links()
        .is_some_and(|links| links.id() < conn.remote())
}

/// The dialer's side.
async fn meet(inner: &Arc<Inner>, conn: &Connection, key: IntroductionId) -> Result<()> {
    let exporter = conn
        .exporter(adding::EXPORTER_LABEL, b"")
        .map_err(|_| unreachable(ENDED))?;
    let opened = MeetStream::open(conn.clone()).await;
    let mut stream = opened.map_err(|_| unreachable(ENDED))?;
    if is_ours_to_say(inner, conn) {
        return introduce_us(inner, conn, &mut stream, &exporter, key).await;
    }
    let row = inner.store.read()?.introduction(&key)?;
    let row = row.ok_or_else(|| unreachable(GONE))?;
    let id = number(key, &row);
    let people = id.people(&exporter, row.by, row.one, row.other);
    let asks = Frame::Asks(id, people).encode();
    stream
        .send(asks.into())
        .await
        .map_err(|_| unreachable(ENDED))?;
    let said = stream.recv().await.map_err(|_| unreachable(ENDED))?;
    let said = said.ok_or_else(|| unreachable(NOT_READY))?;
    welcome(inner, conn, stream, exporter, &said).await;
    Ok(())
}

/// The side with the lower endpoint.
async fn introduce_us(
    inner: &Arc<Inner>,
    conn: &Connection,
    stream: &mut MeetStream,
    exporter: &[u8; 32],
    key: IntroductionId,
) -> Result<()> {
    let lost = |_| unreachable(ENDED);
    let row = inner.store.read()?.introduction(&key)?;
    let row = row.ok_or_else(|| unreachable(GONE))?;
    let id = number(key, &row);
    let people = id.people(exporter, row.by, row.one, row.other);
    let hello = Frame::Introduced(id, people).encode();
    stream.send(hello.into()).await.map_err(lost)?;
    let answer = stream.recv().await.map_err(lost)?;
    let answer = answer.ok_or_else(|| unreachable(NOT_READY))?;
    let Ok(Frame::Welcome(secret)) = Frame::decode(&answer) else {
        return Err(unreachable("the other side answered with something else"));
    };
    let kept = keep(inner, conn, key, move |_, _| secret).await?;
    kept.map(drop)
        .ok_or_else(|| unreachable("the introduction isn't good any more"))
}

/// The other side, and the acceptor's in any case, from the first frame on.
pub(crate) async fn welcome(
    inner: &Arc<Inner>,
    conn: &Connection,
    mut stream: MeetStream,
    exporter: [u8; 32],
    frame: &[u8],
) {
    let ours = is_ours_to_say(inner, conn);
    let (asked, id, people) = match Frame::decode(frame) {
        Ok(Frame::Introduced(id, people)) if !ours => (false, id, people),
        Ok(Frame::Asks(id, people)) if ours => (true, id, people),
        _ => {
            conn.close(CloseCode::Misbehaved, "");
            return;
        }
    };
    let kept = match meant(inner, id, &exporter, &people) {
        Ok(Some(key)) if asked => {
            if let Err(error) = introduce_us(inner, conn, &mut stream, &exporter, key).await {
                tracing::debug!(%error, "somebody who was introduced asked in vain");
            }
            conn.close(CloseCode::Done, "");
            return;
        }
        Ok(Some(key)) => {
            let choose = move |row: &Introduction, known: Option<&store::Contact>| {
                secret_with(id, &exporter, row, known)
            };
            keep(inner, conn, key, choose).await
        }
        Ok(None) => Ok(None),
        Err(error) => Err(error),
    };
    match kept {
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

/// The introduction that the other side means: of that number, between those two, by that third.
fn meant(
    inner: &Inner,
    id: IntroductionId,
    exporter: &[u8; 32],
    people: &[u8; 32],
) -> Result<Option<IntroductionId>> {
    let own = inner.ready()?.identity.id();
    let rows = inner.store.read()?.introductions()?;
    Ok(among(&rows, own, id, exporter, people))
}

pub(super) fn among(
    rows: &[(IntroductionId, Introduction)],
    own: IdentityId,
    id: IntroductionId,
    exporter: &[u8; 32],
    people: &[u8; 32],
) -> Option<IntroductionId> {
    let is_meant = |key: IntroductionId, row: &Introduction| {
        let said = id.people(exporter, row.by, row.other, row.one);
        row.one == own && number(key, row) == id && said == *people
    };
    let mut rows = rows.iter();
    rows.find(|(key, row)| is_meant(*key, row))
        .map(|(key, _)| *key)
}

/// The choice of the one with the higher endpoint: a secret that is in use stays, and the other side
/// takes it from here.
pub(super) fn secret_with(
    id: IntroductionId,
    exporter: &[u8; 32],
    row: &Introduction,
    known: Option<&store::Contact>,
) -> PairSecret {
    let kept = adding::secret_in_use(known);
    kept.unwrap_or_else(|| id.pair_secret(exporter, row.one, row.other))
}

/// Makes a contact of the one at the other end, under the secret that is chosen; nothing where the
/// introduction doesn't say so.
async fn keep(
    inner: &Arc<Inner>,
    conn: &Connection,
    id: IntroductionId,
    choose: impl FnOnce(&Introduction, Option<&store::Contact>) -> PairSecret + Send + 'static,
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
            let Some(card) = card.filter(|_| room) else {
                return Ok(None);
            };
            let chosen = |known: Option<&store::Contact>| choose(&row, known);
            let Some(secret) = adding::befriend_under(txn, &keys, &card, chosen, now)? else {
                return Ok(None);
            };
            if !known.as_ref().is_some_and(is_contact) {
                records::change_contact(txn, row.other, |contact| {
                    contact.trust = records::kept_trust(Trust::Introduced);
                })?;
            }
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
