//! Introductions: a contact makes two of their contacts known to each other.
//!
//! What is said about one travels as entries of the conversations that are there. An entry is taken
//! up in the transaction that imports it, with all that follows: the introducer's node passes an
//! answer on there, so it happens once, whenever the power goes. When both said yes, the one with
//! the lower endpoint dials the other, and that connection makes the pair's secret.

#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use links::{CloseCode, Connection, MeetStream, Protocol};
use proto::{
    DeviceId, IdentityId, Millis, SpaceId,
    body::{Body, Introduced},
    card::{Card, PairSecret},
    introduction::{Frame, IntroductionId},
    limits::{
        CONTACTS_MAX, DESCRIPTION_CHARS_MAX, INTRODUCTION_EXPIRY_MS, INTRODUCTIONS_PER_CONTACT_MAX,
    },
    space::conversation_id,
    text,
};
use store::{Introduction, Said, Source, Txn, View};
use tokio::{sync::Notify, time::timeout};

use crate::{
    adding, beacons,
    choices::Caller,
    clock,
    error::{Error, Result, invalid},
    event::EventKind,
    files::{self, Keys},
    inner::{Inner, about_contact},
    records::{self, ContactState},
    spaces::{self, Written},
    view::Trust,
};

/// How long a meeting of two who were introduced may take.
const EXCHANGE_WAIT: Duration = Duration::from_secs(10);
/// Between two rounds of dialling those who were introduced; it doubles up to the second.
const ROUND_MIN: Duration = Duration::from_millis(500);
const ROUND_MAX: Duration = Duration::from_secs(60);

/// Entries behind an introduction among which an answer is looked for, a few microseconds each: so
/// much is rarely said between the two.
const ANSWERS_LOOKED_AT_MAX: usize = 2_048;

/// What the node knows of introductions beside what is on the disk.
#[derive(Debug, Default)]
pub(crate) struct Introductions {
    changed: Notify,
    refused: Mutex<u64>,
}

impl Introductions {
    /// Something may have changed: who is to be dialled, or where they are.
    pub(crate) fn wake(&self) {
        self.changed.notify_one();
    }

    /// Counts entries that are no good; how many there were since the start.
    fn refuse(&self, count: u64) -> u64 {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        *refused += count;
        *refused
    }
}

fn is_over(row: &Introduction, now: Millis) -> bool {
    now.since(row.at) > INTRODUCTION_EXPIRY_MS
}

/// Whether the two are to meet: both said yes, and there is time.
fn is_to_meet(row: &Introduction, own: IdentityId, now: Millis) -> bool {
    row.one == own
        && row.one_says == Said::Yes
        && row.other_says == Said::Yes
        && !row.done
        && !is_over(row, now)
}

/// The card of the other, checked for this introduction.
fn card_of(id: IntroductionId, row: &Introduction) -> Option<Card> {
    let binding = id.binding(row.by, row.one, row.other);
    let card = Card::decode(&row.card, &binding).ok()?;
    (card.certificate.identity == row.other).then_some(card)
}

fn conversation_with(
    view: &View<impl Source>,
    contact: IdentityId,
) -> Result<Option<SpaceId>, store::Error> {
    let row = view.contact(&contact)?;
    let ready = row.filter(|row| row.state == ContactState::Ready);
    let secret = ready.and_then(|row| row.pair_secret);
    let id = secret.map(|secret| conversation_id(&secret.0));
    match id {
        Some(id) if view.space(id)?.is_some() => Ok(Some(id)),
        _ => Ok(None),
    }
}

// What the person does.

/// Introduces two contacts to each other.
pub(crate) async fn make(
    inner: &Arc<Inner>,
    one: IdentityId,
    other: IdentityId,
    message: &str,
) -> Result<IntroductionId> {
    let keys = inner.ready()?;
    let message = message.trim().replace("\r\n", "\n");
    if !text::is_text(&message, DESCRIPTION_CHARS_MAX) {
        return Err(invalid(
            "message",
            &format!("expected at most {DESCRIPTION_CHARS_MAX} characters"),
        ));
    }
    if one == other {
        return Err(invalid("other", "expected another contact than the first"));
    }
    let mut bytes = [0; 16];
    files::fill_random(&mut bytes);
    let (id, now) = (IntroductionId(bytes), clock::now());
    let written = inner
        .store
        .write(move |txn| introduce(txn, &keys, id, (one, other), &message, now))
        .await?;
    for written in &written {
        inner.tell_written(written);
    }
    tell(inner, one);
    tell(inner, other);
    Ok(id)
}

fn introduce(
    txn: &mut Txn<'_>,
    keys: &Keys,
    id: IntroductionId,
    (one, other): (IdentityId, IdentityId),
    message: &str,
    now: Millis,
) -> Result<Vec<Written>, store::Error> {
    let refused = |text: String| Err(store::Error::Refused(text));
    let own = keys.identity.id();
    for (known, row) in txn.introductions()? {
        if is_over(&row, now) && !row.done {
            txn.remove_introduction(&known)?;
            continue;
        }
        let same = [row.one, row.other];
        if row.by == own && same.contains(&one) && same.contains(&other) {
            return refused("these two are introduced already: it waits for their answers".into());
        }
    }
    for person in [one, other] {
        let made = txn.introductions()?;
        let waiting = made
            .iter()
            .filter(|(_, row)| row.by == own && [row.one, row.other].contains(&person));
        if waiting.count() >= INTRODUCTIONS_PER_CONTACT_MAX {
            return refused(format!(
                "{INTRODUCTIONS_PER_CONTACT_MAX} introductions of one contact at a time are the most"
            ));
        }
    }
    let spaces = (conversation_with(txn, one)?, conversation_with(txn, other)?);
    let (Some(space), Some(other_space)) = spaces else {
        return refused("only two who are your contacts can be introduced".into());
    };
    let mut written = Vec::new();
    let mut other_name = String::new();
    for (space, about) in [(space, other), (other_space, one)] {
        let row = txn.contact(&about)?;
        let name = txn.name(about)?.or(row.map(|row| row.name));
        let name = name.unwrap_or_default();
        let body = Body::Introduction {
            id,
            identity: about,
            name: &name,
            message: Some(message).filter(|message| !message.is_empty()),
        };
        written.push(spaces::append(txn, keys, space, now, &body)?);
        if about == other {
            other_name = name;
        }
    }
    let row = Introduction {
        by: own,
        one,
        other,
        other_name,
        message: message.to_owned(),
        at: now,
        one_says: Said::Nothing,
        other_says: Said::Nothing,
        card: Vec::new(),
        beacon: None,
        done: false,
    };
    txn.put_introduction(&id, &row)?;
    Ok(written)
}

/// Answers an introduction that we got.
pub(crate) async fn answer(inner: &Arc<Inner>, id: IntroductionId, yes: bool) -> Result<()> {
    let keys = inner.ready()?;
    let (card, fresh) = (adding::own_card(inner)?, beacons::fresh_key());
    let now = clock::now();
    let own = keys.identity.id();
    let (written, other) = inner
        .store
        .write(move |txn| {
            let refused = |text: &str| Err(store::Error::Refused(text.to_owned()));
            let Some(mut row) = txn.introduction(&id)?.filter(|row| row.one == own) else {
                return refused("this introduction isn't there any more");
            };
            if row.one_says != Said::Nothing {
                return refused("it was answered already");
            }
            if is_over(&row, now) {
                return refused("it is more than 14 days old: ask for another");
            }
            let Some(space) = conversation_with(txn, row.by)? else {
                return refused("who introduced you is no contact any more");
            };
            beacons::ensure(txn, fresh)?;
            let binding = id.binding(row.by, row.one, row.other);
            let shown = card.encode(&keys.device, &binding);
            let yes = match beacons::own(txn)? {
                Some(beacon) if yes => Some(Introduced {
                    card: &shown,
                    beacon,
                }),
                _ => None,
            };
            row.one_says = if yes.is_some() { Said::Yes } else { Said::No };
            txn.put_introduction(&id, &row)?;
            prepare(txn, id, &row, now)?;
            let body = Body::Introduced { id, yes };
            let written = spaces::append(txn, &keys, space, now, &body)?;
            Ok((written, row.other))
        })
        .await?;
    inner.tell_written(&written);
    tell(inner, other);
    Ok(())
}

fn tell(inner: &Inner, contact: IdentityId) {
    inner
        .events
        .emit(EventKind::Contact, about_contact(contact));
    inner.lan.contacts_changed();
    inner.introductions.wake();
}

/// Both said yes: where the other is met is known from now on.
fn prepare(
    txn: &mut Txn<'_>,
    id: IntroductionId,
    row: &Introduction,
    now: Millis,
) -> Result<(), store::Error> {
    if !is_to_meet(row, row.one, now) {
        return Ok(());
    }
    let (Some(card), Some(beacon)) = (card_of(id, row), row.beacon.clone()) else {
        return Ok(());
    };
    let known = txn.contact(&row.other)?;
    let there = txn.contact_at(card.endpoint)?;
    if there.is_some_and(|there| there != row.other) {
        return Ok(());
    }
    let mut contact = match known {
        Some(contact) if contact.state == ContactState::Ready => return Ok(()),
        Some(contact) => contact,
        None => records::new_contact(&card.name, now),
    };
    contact.trust = records::kept_trust(Trust::Introduced);
    contact.state = ContactState::Pending;
    records::put_device(&mut contact, &card);
    txn.put_contact(&row.other, &contact)?;
    beacons::keep(txn, row.other, card.endpoint, beacon)
}

// What comes in.

/// An entry about an introduction that was just imported.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heard {
    pub(crate) space: SpaceId,
    pub(crate) device: DeviceId,
    pub(crate) seq: u64,
    pub(crate) author: IdentityId,
}

/// What follows from entries that were heard, for after the commit.
#[derive(Default)]
pub(crate) struct Followed {
    written: Vec<Written>,
    people: Vec<IdentityId>,
    refused: u64,
}

/// Takes up entries in the transaction that imported them.
pub(crate) fn follow(
    txn: &mut Txn<'_>,
    keys: &Keys,
    heard: &[Heard],
    now: Millis,
) -> Result<Followed, store::Error> {
    let mut followed = Followed::default();
    for one in heard {
        let Some(bytes) = txn.body(one.space, one.device, one.seq)? else {
            continue;
        };
        let from_contact = conversation_with(txn, one.author)? == Some(one.space);
        let good = match Body::decode(&bytes) {
            _ if !from_contact => false,
            Ok(Body::Introduction {
                id,
                identity,
                name,
                message,
            }) => {
                let own = keys.identity.id();
                let row = Introduction {
                    by: one.author,
                    one: own,
                    other: identity,
                    other_name: name.to_owned(),
                    message: message.unwrap_or_default().to_owned(),
                    at: now,
                    one_says: Said::Nothing,
                    other_says: Said::Nothing,
                    card: Vec::new(),
                    beacon: None,
                    done: false,
                };
                let taken = introduced(txn, id, &row, &mut followed)?;
                if taken {
                    answered_before(txn, keys, *one, id, now, &mut followed)?;
                }
                taken
            }
            Ok(Body::Introduced { id, yes }) => {
                answered(txn, keys, one.author, (id, yes), now, &mut followed)?
            }
            _ => false,
        };
        followed.refused += u64::from(!good);
    }
    Ok(followed)
}

/// A contact introduces somebody to us. False where that is no good: ourselves or the introducer,
/// somebody who is a contact, the same once more, or too many.
fn introduced(
    txn: &mut Txn<'_>,
    id: IntroductionId,
    row: &Introduction,
    followed: &mut Followed,
) -> Result<bool, store::Error> {
    let is_ready = |contact: store::Contact| contact.state == ContactState::Ready;
    if row.other == row.one
        || row.other == row.by
        || txn.introduction(&id)?.is_some()
        || txn.contact(&row.other)?.is_some_and(is_ready)
    {
        return Ok(false);
    }
    let mut waiting = 0;
    for (known, kept) in txn.introductions()? {
        if is_over(&kept, row.at) && !kept.done {
            txn.remove_introduction(&known)?;
        } else if kept.by == row.by && !kept.done {
            if kept.other == row.other && kept.one_says != Said::No {
                return Ok(false);
            }
            waiting += 1;
        }
    }
    if waiting >= INTRODUCTIONS_PER_CONTACT_MAX {
        return Ok(false);
    }
    txn.put_introduction(&id, row)?;
    followed.people.push(row.by);
    Ok(true)
}

/// Where the newest came first, the introducer's word of the other's answer may have come before that
/// of the introduction.
fn answered_before(
    txn: &mut Txn<'_>,
    keys: &Keys,
    at: Heard,
    id: IntroductionId,
    now: Millis,
    followed: &mut Followed,
) -> Result<(), store::Error> {
    for seq in (at.seq + 1..).take(ANSWERS_LOOKED_AT_MAX) {
        let Some(bytes) = txn.body(at.space, at.device, seq)? else {
            continue;
        };
        if let Ok(Body::Introduced { id: about, yes }) = Body::decode(&bytes)
            && about == id
        {
            answered(txn, keys, at.author, (id, yes), now, followed)?;
            return Ok(());
        }
    }
    Ok(())
}

/// An answer: to us who introduced, from one of the two, or of the other, passed on to us.
fn answered(
    txn: &mut Txn<'_>,
    keys: &Keys,
    from: IdentityId,
    (id, yes): (IntroductionId, Option<Introduced<'_>>),
    now: Millis,
    followed: &mut Followed,
) -> Result<bool, store::Error> {
    let own = keys.identity.id();
    let Some(mut row) = txn.introduction(&id)? else {
        return Ok(false);
    };
    let whose = match () {
        () if row.by == own && from == row.one => row.one,
        () if row.by == own && from == row.other => row.other,
        () if row.one == own && from == row.by => row.other,
        () => return Ok(false),
    };
    let said = if whose == row.one {
        &mut row.one_says
    } else {
        &mut row.other_says
    };
    if *said != Said::Nothing {
        return Ok(false);
    }
    *said = if yes.is_some() { Said::Yes } else { Said::No };
    if let Some(yes) = &yes {
        let binding = id.binding(row.by, row.one, row.other);
        let Ok(card) = Card::decode(yes.card, &binding) else {
            return Ok(false);
        };
        let theirs = txn.contact_at(card.endpoint)?;
        let is_taken = theirs.is_some_and(|contact| contact != whose);
        if card.certificate.identity != whose || row.by != own && is_taken {
            return Ok(false);
        }
    }
    if row.by == own {
        let to = if whose == row.one { row.other } else { row.one };
        if let Some(space) = conversation_with(txn, to)? {
            let body = Body::Introduced { id, yes };
            followed
                .written
                .push(spaces::append(txn, keys, space, now, &body)?);
        }
    } else if let Some(yes) = yes {
        row.card = yes.card.to_vec();
        row.beacon = Some(yes.beacon);
    }
    txn.put_introduction(&id, &row)?;
    if row.by != own {
        prepare(txn, id, &row, now)?;
    }
    followed.people.extend([row.one, row.other]);
    Ok(true)
}

/// After the commit.
pub(crate) fn followed(inner: &Arc<Inner>, followed: &Followed) {
    for written in &followed.written {
        inner.tell_written(written);
    }
    for person in &followed.people {
        tell(inner, *person);
    }
    if followed.refused > 0 {
        let refused = inner.introductions.refuse(followed.refused);
        tracing::info!(
            refused,
            "an entry about an introduction was no good and counts for nothing"
        );
    }
}

// Meeting.

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
fn strangers(
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
fn is_prepared(contact: &store::Contact) -> bool {
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
fn secret_with(
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
