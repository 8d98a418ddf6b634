//! Welcoming who uses a link of ours: one who comes in at once, one who waits for the person.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
};

use links::{CloseCode, Connection, MeetStream};
use proto::{
    IdentityId, Millis,
    card::{Card, InviteSecret, Join, JoinAnswer, PairSecret, Refusal},
    introduction::Frame,
    limits::CONTACTS_MAX,
};
use store::{Contact, Txn};
use tokio::{sync::oneshot, time::timeout};

use super::{
    DECISION_WAIT, EXCHANGE_WAIT, EXPORTER_LABEL, become_contacts, own_card, same, secret_in_use,
};
use crate::{
    clock,
    error::Result,
    event::EventKind,
    events::About,
    inner::{Inner, about_contact},
    introductions,
    records::{self, ContactState},
    view::Trust,
};

/// Somebody whose connection waits for our decision.
pub(crate) struct Waiting {
    pub(crate) decide: oneshot::Sender<bool>,
}

/// Somebody came through the open door: through an invite of ours, or not at all.
pub(crate) async fn welcome(inner: Arc<Inner>, conn: Connection) {
    let exchange = timeout(EXCHANGE_WAIT, hear(&inner, &conn)).await;
    let (mut stream, exporter, join) = match exchange {
        Ok(Some(heard)) => heard,
        Ok(None) | Err(_) => {
            conn.close(CloseCode::Misbehaved, "");
            return;
        }
    };
    let answer = match answer(&inner, &conn, &exporter, &join).await {
        Ok(Answer::Welcome(answer)) => answer,
        Ok(Answer::Refuse(refusal)) => JoinAnswer::Refused(refusal),
        Ok(Answer::Ask {
            card,
            secret,
            decided,
        }) => {
            let sent = stream.send(JoinAnswer::Wait.encode().into()).await;
            let id = card.certificate.identity;
            let decision = match sent {
                Ok(()) => timeout(DECISION_WAIT, decided).await,
                Err(_) => return,
            };
            match decision {
                Ok(Ok(true)) => match accept(&inner, &exporter, *card, &secret).await {
                    Ok(answer) => answer,
                    Err(error) => {
                        tracing::warn!(%error, "could not accept a contact");
                        return;
                    }
                },
                Ok(Ok(false)) => JoinAnswer::Refused(Refusal::Declined),
                Ok(Err(_)) | Err(_) => {
                    let waiting = inner.waiting.lock();
                    hang_up(&mut waiting.unwrap_or_else(PoisonError::into_inner), id);
                    return;
                }
            }
        }
        Err(error) => {
            tracing::warn!(%error, "could not answer somebody who used a link");
            return;
        }
    };
    if stream.send(answer.encode().into()).await.is_ok() {
        stream.finish().await;
    }
    conn.close(CloseCode::Done, "");
}

/// Somebody whose line nobody holds any more doesn't wait; they may have come again, on another.
pub(super) fn hang_up(waiting: &mut BTreeMap<IdentityId, Waiting>, id: IdentityId) {
    if waiting.get(&id).is_some_and(|one| one.decide.is_closed()) {
        waiting.remove(&id);
    }
}

async fn hear(inner: &Arc<Inner>, conn: &Connection) -> Option<(MeetStream, [u8; 32], Join)> {
    inner.keys()?;
    let exporter = conn.exporter(EXPORTER_LABEL, b"").ok()?;
    let mut stream = MeetStream::open(conn.clone()).await.ok()?;
    let join = stream.recv().await.ok()??;
    if Frame::begins(&join) {
        introductions::welcome(inner, conn, stream, exporter, &join).await;
        return None;
    }
    Some((stream, exporter, Join::decode(&join).ok()?))
}

enum Answer {
    Welcome(JoinAnswer),
    Refuse(Refusal),
    Ask {
        card: Box<Card>,
        secret: InviteSecret,
        decided: oneshot::Receiver<bool>,
    },
}

async fn answer(
    inner: &Arc<Inner>,
    conn: &Connection,
    exporter: &[u8; 32],
    join: &Join,
) -> Result<Answer> {
    let keys = inner.ready()?;
    let found = {
        let snapshot = inner.store.read()?;
        records::invite_by_tag(&snapshot, &join.tag)?
    };
    let Some((invite_id, invite)) =
        found.filter(|(_, invite)| same(&invite.secret.proof(exporter, true), &join.proof))
    else {
        return Ok(Answer::Refuse(Refusal::Unknown));
    };
    let Ok(card) = Card::decode(&join.card, exporter) else {
        return Ok(Answer::Refuse(Refusal::Malformed));
    };
    let id = card.certificate.identity;
    if card.endpoint != conn.remote() || id == keys.identity.id() {
        return Ok(Answer::Refuse(Refusal::Malformed));
    }
    if invite.expires <= clock::now() {
        return Ok(Answer::Refuse(Refusal::Expired));
    }
    let known = inner.store.read()?.contacts()?;
    if known.len() >= CONTACTS_MAX && !known.iter().any(|(known, _)| *known == id) {
        return Ok(Answer::Refuse(Refusal::Full));
    }
    let (name, row, now) = (card.name.clone(), invite_id.clone(), clock::now());
    let used = inner
        .store
        .write(move |txn| use_invite(txn, &row, id, &name, now))
        .await?;
    if used == Use::Refused {
        let about = About {
            subject: Some(invite_id),
            ..About::default()
        };
        inner.events.emit(EventKind::Contact, about);
        return Ok(Answer::Refuse(Refusal::Used));
    }
    if used == Use::Declined {
        return Ok(Answer::Refuse(Refusal::Declined));
    }
    if used == Use::Asks
        && let Some(answer) = ask(inner, &card, &invite.secret)?
    {
        return Ok(answer);
    }
    accept(inner, exporter, card, &invite.secret)
        .await
        .map(Answer::Welcome)
}

/// Asks the person, as long as the line is held; nothing where they have said yes since.
fn ask(inner: &Inner, card: &Card, invite: &InviteSecret) -> Result<Option<Answer>> {
    let id = card.certificate.identity;
    let (decide, decided) = oneshot::channel();
    let lines = || inner.waiting.lock().unwrap_or_else(PoisonError::into_inner);
    lines().insert(id, Waiting { decide });
    // It may have been decided when nobody held the line.
    let state = inner.store.read()?.contact(&id)?.map(|known| known.state);
    if state == Some(ContactState::Asks) {
        inner.events.emit(EventKind::Contact, about_contact(id));
        return Ok(Some(Answer::Ask {
            card: Box::new(card.clone()),
            secret: invite.clone(),
            decided,
        }));
    }
    drop(decided);
    hang_up(&mut lines(), id);
    Ok(match state {
        Some(_) => None,
        None => Some(Answer::Refuse(Refusal::Declined)),
    })
}

/// What a use of an invite comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Welcome,
    Asks,
    Declined,
    Refused,
}

/// Uses an invite, in the transaction that counts it: of two who come at once one comes in. Who came
/// in by it may use it again, since the answer may have got lost; who was removed may not.
pub(super) fn use_invite(
    txn: &mut Txn<'_>,
    invite_id: &str,
    id: IdentityId,
    name: &str,
    now: Millis,
) -> Result<Use, store::Error> {
    let key = invite_id.to_owned();
    let Some(mut invite) = txn.invite(&key)? else {
        return Ok(Use::Refused);
    };
    let known = txn.contact(&id)?;
    let again = invite.used_by.contains(&id);
    if invite.uses > 1 && again && known.is_none() {
        return Ok(Use::Declined);
    }
    if !again && invite.used >= invite.uses {
        invite.tried_again = true;
        txn.put_invite(&key, &invite)?;
        return Ok(Use::Refused);
    }
    if !again {
        invite.used += 1;
        invite.used_by.push(id);
        txn.put_invite(&key, &invite)?;
    }
    let accepted = known
        .as_ref()
        .is_some_and(|known| known.state == ContactState::Ready || records::is_accepted(known));
    if invite.uses == 1 || accepted {
        return Ok(Use::Welcome);
    }
    let mut contact = known.unwrap_or_else(|| records::new_contact(name, now));
    contact.state = ContactState::Asks;
    contact.trust = records::kept_trust(Trust::Unverified);
    name.clone_into(&mut contact.name);
    txn.put_contact(&id, &contact)?;
    Ok(Use::Asks)
}

async fn accept(
    inner: &Arc<Inner>,
    exporter: &[u8; 32],
    card: Card,
    invite: &InviteSecret,
) -> Result<JoinAnswer> {
    let keys = inner.ready()?;
    let own = own_card(inner)?.encode(&keys.device, exporter);
    let id = card.certificate.identity;
    let made = PairSecret::new(exporter, invite, keys.identity.id(), id);
    let fresh = made.clone();
    let choose = move |known: Option<&Contact>| kept_or(known, fresh);
    let secret = become_contacts(inner, &keys, card, choose, None).await?;
    Ok(match secret {
        Some(secret) => JoinAnswer::Welcome {
            proof: invite.proof(exporter, false),
            card: own,
            kept: Some(secret).filter(|secret| *secret != made),
        },
        None => JoinAnswer::Refused(Refusal::Malformed),
    })
}

/// The person decided about somebody who asks; whether they hold the line. A no is on the disk
/// already. Only then the line is looked for: who comes meanwhile reads there what was decided.
pub(crate) async fn decide(inner: &Arc<Inner>, id: IdentityId, yes: bool) -> Result<bool> {
    if yes {
        // Until they hear of it: pending, without a link.
        let accept = |contact: &mut Contact| {
            if contact.state == ContactState::Asks {
                contact.state = ContactState::Pending;
            }
        };
        inner
            .store
            .write(move |txn| records::change_contact(txn, id, accept))
            .await?;
    }
    let waiting = inner
        .waiting
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .remove(&id);
    let there = waiting.is_some_and(|waiting| waiting.decide.send(yes).is_ok());
    inner.events.emit(EventKind::Contact, about_contact(id));
    Ok(there)
}

/// The choice of who answers: the other side may have heard an answer before, and have written under
/// that secret.
pub(super) fn kept_or(known: Option<&Contact>, made: PairSecret) -> PairSecret {
    secret_in_use(known).unwrap_or(made)
}
