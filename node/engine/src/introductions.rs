//! Introductions: a contact makes two of their contacts known to each other.
//!
//! What is said about one travels as entries of the conversations that are there. An entry is taken
//! up in the transaction that imports it, with all that follows: the introducer's node passes an
//! answer on there, so it happens once, whenever the power goes. When both said yes they meet, and
//! that connection makes the pair's secret.

mod heard;
mod meeting;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use proto::{
    IdentityId, Millis, SpaceId,
    body::{Body, Introduced},
    card::Card,
    introduction::IntroductionId,
    limits::{DESCRIPTION_CHARS_MAX, INTRODUCTION_EXPIRY_MS, INTRODUCTIONS_PER_CONTACT_MAX},
    space::conversation_id,
    text,
};
use store::{Introduction, Said, Source, Txn, View};
use tokio::sync::Notify;

pub(crate) use self::{
    heard::{Heard, follow, followed},
    meeting::{attend, welcome},
};
use crate::{
    adding, beacons, clock,
    error::{Result, invalid},
    event::EventKind,
    files::{self, Keys},
    inner::{Inner, about_contact},
    records::{self, ContactState},
    spaces::{self, Written},
    view::Trust,
};

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

/// Whether one of the two said no.
fn is_declined(row: &Introduction) -> bool {
    [row.one_says, row.other_says].contains(&Said::No)
}

/// What its introducer calls an introduction that is kept under this key.
fn number(key: IntroductionId, row: &Introduction) -> IntroductionId {
    row.number.unwrap_or(key)
}

/// The introduction of one introducer by its number: others may use the same.
fn find(
    view: &View<impl Source>,
    by: IdentityId,
    id: IntroductionId,
) -> Result<Option<(IntroductionId, Introduction)>, store::Error> {
    let mut rows = view.introductions()?.into_iter();
    Ok(rows.find(|(key, row)| row.by == by && number(*key, row) == id))
}

/// Somebody became a contact: no other introduction to them waits any more.
pub(crate) fn close(
    txn: &mut Txn<'_>,
    own: IdentityId,
    contact: IdentityId,
) -> Result<(), store::Error> {
    for (key, row) in txn.introductions()? {
        if row.one == own && row.other == contact && !row.done {
            txn.remove_introduction(&key)?;
        }
    }
    Ok(())
}

/// The card of the other, checked for this introduction.
fn card_of(key: IntroductionId, row: &Introduction) -> Option<Card> {
    let beacon = row.beacon.as_ref()?;
    let binding = number(key, row).binding(row.by, row.one, row.other, beacon);
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
        // A no means not now: whoever said it can be asked again, within the bound below.
        if row.by == own && same.contains(&one) && same.contains(&other) && !is_declined(&row) {
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
        number: None,
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
            let number = number(id, &row);
            let beacon = beacons::own(txn)?.filter(|_| yes);
            let shown = beacon.as_ref().map(|beacon| {
                let binding = number.binding(row.by, row.one, row.other, beacon);
                card.encode(&keys.device, &binding)
            });
            let yes = match (&shown, beacon) {
                (Some(card), Some(beacon)) => Some(Introduced { card, beacon }),
                _ => None,
            };
            row.one_says = if yes.is_some() { Said::Yes } else { Said::No };
            txn.put_introduction(&id, &row)?;
            prepare(txn, id, &row, now)?;
            let body = Body::Introduced { id: number, yes };
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
    inner.contacts_changed();
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
