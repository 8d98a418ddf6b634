//! Adding a contact over a meet connection: using somebody's link, and welcoming who uses ours.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError},
    time::Duration,
};

use links::{CloseCode, Connection, MeetStream, Protocol};
use proto::{
    IdentityId, Millis,
    card::{Card, Invite, InviteSecret, Join, JoinAnswer, PairSecret, Refusal},
    introduction::Frame,
    limits::CONTACTS_MAX,
    nearby::Met,
    space::conversation_id,
};
use store::{Contact, Txn};
use tokio::{sync::oneshot, time::timeout};

use crate::{
    beacons, clock,
    error::{Error, Result},
    event::EventKind,
    events::About,
    files::Keys,
    inner::{Inner, about_contact},
    introductions,
    records::{self, ContactState},
    spaces,
    view::Trust,
};

/// The label of the keying material that a meet takes from its connection.
pub(crate) const EXPORTER_LABEL: &[u8] = b"waymeet/meet/1";
/// How long the other side may take for its part of the exchange.
const EXCHANGE_WAIT: Duration = Duration::from_secs(10);
/// How long a joiner's connection is kept while the person decides; then it comes again.
const DECISION_WAIT: Duration = Duration::from_secs(10 * 60);
/// How often a pending join is tried.
const RETRY_MIN: Duration = Duration::from_secs(2);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Somebody whose connection waits for our decision.
pub(crate) struct Waiting {
    pub(crate) decide: oneshot::Sender<bool>,
}

/// What a join came to.
enum Joined {
    Contact(IdentityId),
    Waiting,
}

/// Why a join came to nothing.
#[derive(Debug, thiserror::Error)]
enum JoinError {
    #[error("{0}")]
    Refused(Refusal),
    #[error("the other side could not be reached: {0}")]
    Unreachable(String),
    #[error("the other side answered with something that is no answer: {0}")]
    Malformed(String),
    #[error(transparent)]
    Own(#[from] Error),
}

// Using a link.

/// Uses a link: a contact where the other side answers at once, else a pending one that is tried
/// until the link expires.
pub(crate) async fn join(inner: &Arc<Inner>, link: &str) -> Result<IdentityId> {
    inner.ready()?;
    let invite = Invite::parse(link).map_err(|error| Error::Invalid {
        field: "link",
        detail: error.to_string(),
    })?;
    if inner
        .links()
        .is_some_and(|links| links.id() == invite.endpoint)
    {
        return Err(Error::Invalid {
            field: "link",
            detail: "this is your own link: give it to somebody else".into(),
        });
    }
    if invite.expires <= clock::now() {
        return Err(Error::Conflict {
            detail: Refusal::Expired.to_string(),
        });
    }
    let id = records::pending_id(&invite);
    match attempt(inner, &invite, true).await {
        Ok(Joined::Contact(id)) => Ok(id),
        Ok(Joined::Waiting) => keep(inner, id, link).await,
        Err(JoinError::Refused(refusal)) => Err(Error::Conflict {
            detail: refusal.to_string(),
        }),
        Err(JoinError::Own(error)) => Err(error),
        Err(error @ (JoinError::Unreachable(_) | JoinError::Malformed(_))) => {
            inner.note_error(id, &error.to_string());
            keep(inner, id, link).await
        }
    }
}

async fn keep(inner: &Arc<Inner>, id: IdentityId, link: &str) -> Result<IdentityId> {
    let mut row = records::new_contact("", clock::now());
    row.link = Some(link.to_owned());
    inner
        .store
        .write(move |txn| txn.put_contact(&id, &row))
        .await?;
    inner.events.emit(EventKind::Contact, about_contact(id));
    inner.tasks.spawn(retry(inner.clone(), id));
    Ok(id)
}

/// Tries a pending join until it is answered, removed or expired.
pub(crate) async fn retry(inner: Arc<Inner>, id: IdentityId) {
    let mut wait = RETRY_MIN;
    loop {
        tokio::select! {
            () = inner.stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        wait = (wait * 2).min(RETRY_MAX);
        let row = inner
            .store
            .read()
            .and_then(|snapshot| snapshot.contact(&id));
        let link = row.ok().flatten().and_then(|row| row.link);
        let Some(Ok(invite)) = link.map(|link| Invite::parse(&link)) else {
            return;
        };
        if invite.expires <= clock::now() {
            inner.note_error(id, &Refusal::Expired.to_string());
            return;
        }
        match attempt(&inner, &invite, false).await {
            Ok(Joined::Contact(_)) => {
                inner.events.emit(EventKind::Contact, about_contact(id));
                return;
            }
            Ok(Joined::Waiting) => wait = RETRY_MIN,
            Err(JoinError::Refused(refusal)) => {
                inner.note_error(id, &refusal.to_string());
                inner.events.emit(EventKind::Contact, about_contact(id));
                return;
            }
            Err(error) => inner.note_error(id, &error.to_string()),
        }
    }
}

/// One try; the first one doesn't stay for a decision that takes its time.
async fn attempt(inner: &Arc<Inner>, invite: &Invite, first: bool) -> Result<Joined, JoinError> {
    let keys = inner.ready()?;
    let unreachable = |error: &dyn std::fmt::Display| JoinError::Unreachable(error.to_string());
    let links = inner
        .links()
        .ok_or_else(|| unreachable(&"the links are off"))?;
    let dialed = links
        .dial(
            invite.endpoint,
            &invite.addrs,
            invite.relay.clone(),
            Protocol::Meet,
        )
        .await;
    let conn = dialed.map_err(|error| unreachable(&error))?;
    let exporter = conn
        .exporter(EXPORTER_LABEL, b"")
        .map_err(|error| unreachable(&error))?;
    let mut stream = MeetStream::open(conn.clone())
        .await
        .map_err(|error| unreachable(&error))?;
    let (card, known_before) = (own_card(inner)?, ready_contacts(inner)?);
    let join = Join {
        tag: invite.secret.tag(),
        proof: invite.secret.proof(&exporter, true),
        card: card.encode(&keys.device, &exporter),
    };
    stream
        .send(join.encode().into())
        .await
        .map_err(|error| unreachable(&error))?;
    let mut wait = EXCHANGE_WAIT;
    loop {
        let answer = timeout(wait, stream.recv())
            .await
            .map_err(|_| unreachable(&"no answer"))?;
        let answer = answer
            .map_err(|error| unreachable(&error))?
            .ok_or_else(|| unreachable(&"the connection ended"))?;
        match JoinAnswer::decode(&answer)
            .map_err(|error| JoinError::Malformed(error.to_string()))?
        {
            JoinAnswer::Refused(refusal) => return Err(JoinError::Refused(refusal)),
            JoinAnswer::Wait if first => return Ok(Joined::Waiting),
            JoinAnswer::Wait => wait = DECISION_WAIT,
            JoinAnswer::Welcome { proof, card, kept } => {
                if !same(&proof, &invite.secret.proof(&exporter, false)) {
                    return Err(JoinError::Malformed(
                        "it does not know the link's secret".into(),
                    ));
                }
                let theirs = Card::decode(&card, &exporter)
                    .map_err(|error| JoinError::Malformed(error.to_string()))?;
                if !invite.many && theirs.endpoint != conn.remote() {
                    return Err(JoinError::Malformed(
                        "its card names another endpoint".into(),
                    ));
                }
                let (own, id) = (keys.identity.id(), theirs.certificate.identity);
                let made = PairSecret::new(&exporter, &invite.secret, own, id);
                let known_before = known_before.contains(&id);
                let said = Said::new(own, id, kept.unwrap_or(made), known_before);
                // The row that waited for this answer goes in the same transaction.
                let waited = Some(records::pending_id(invite));
                let choose = move |known: Option<&Contact>| said.choose(known);
                let secret = become_contacts(inner, &keys, theirs, choose, waited).await?;
                if secret.is_none() {
                    return Err(JoinError::Malformed(
                        "it shows the secret of somebody else's conversation".into(),
                    ));
                }
                conn.close(CloseCode::Done, "");
                return Ok(Joined::Contact(id));
            }
        }
    }
}

pub(crate) fn own_card(inner: &Inner) -> Result<Card> {
    let own = inner.store.read()?.own_device()?.ok_or(Error::NotSetUp)?;
    let links = inner.links().ok_or_else(|| Error::Unreachable {
        detail: "the links are off".into(),
    })?;
    Ok(Card {
        certificate: own.certificate,
        name: own.name,
        endpoint: links.id(),
        addrs: links.addrs(),
        relay: links.relay(),
    })
}

/// Comparing secrets takes the same time wherever they differ.
fn same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    blake3::Hash::from(*one) == blake3::Hash::from(*other)
}

fn ready_contacts(inner: &Inner) -> Result<BTreeSet<IdentityId>> {
    let contacts = inner.store.read()?.contacts()?.into_iter();
    let ready = contacts.filter(|(_, contact)| contact.state == ContactState::Ready);
    Ok(ready.map(|(id, _)| id).collect())
}

/// The secret that is in use with somebody who is a contact.
pub(crate) fn secret_in_use(known: Option<&Contact>) -> Option<PairSecret> {
    let ready = known.filter(|contact| contact.state == ContactState::Ready);
    ready.and_then(|contact| contact.pair_secret.clone())
}

/// The choice of who answers: the other side may have heard an answer before, and have written under
/// that secret.
fn kept_or(known: Option<&Contact>, made: PairSecret) -> PairSecret {
    secret_in_use(known).unwrap_or(made)
}

/// What the joiner was told.
struct Said {
    secret: PairSecret,
    /// Where the two became contacts meanwhile, that is because the other side uses a link of ours at
    /// the same time, and each would take the other's: the one of the lower identity's dial counts.
    crosses: bool,
}

impl Said {
    fn new(own: IdentityId, other: IdentityId, secret: PairSecret, known_before: bool) -> Self {
        let crosses = own > other && !known_before;
        Self { secret, crosses }
    }

    fn choose(self, known: Option<&Contact>) -> PairSecret {
        match secret_in_use(known) {
            Some(made_meanwhile) if self.crosses => made_meanwhile,
            _ => self.secret,
        }
    }
}

/// Makes a contact of who showed a card: the row, the conversation, our blog's offer. Returns the
/// pair's secret; nothing where it is the one of another conversation of ours.
async fn become_contacts(
    inner: &Arc<Inner>,
    keys: &Keys,
    card: Card,
    choose: impl FnOnce(Option<&Contact>) -> PairSecret + Send + 'static,
    waited: Option<IdentityId>,
) -> Result<Option<PairSecret>> {
    let id = card.certificate.identity;
    if id == keys.identity.id() {
        return Err(Error::Conflict {
            detail: "this link leads to yourself".into(),
        });
    }
    let keys = keys.clone();
    let endpoint = card.endpoint;
    let secret = inner
        .store
        .write(move |txn| {
            let secret = befriend_under(txn, &keys, &card, choose, clock::now())?;
            if let Some(waited) = waited.filter(|_| secret.is_some()) {
                txn.remove_contact(&waited)?;
            }
            Ok(secret)
        })
        .await?;
    if secret.is_some() {
        inner.begin_contact(id, &[endpoint]);
        inner.tell_audience();
        inner.events.emit(EventKind::Contact, about_contact(id));
    }
    Ok(secret)
}

/// Makes a contact under the secret that is chosen, which is returned. Nothing is done where that is
/// the one of a conversation with somebody else: nobody gets to name that of others.
pub(crate) fn befriend_under(
    txn: &mut Txn<'_>,
    keys: &Keys,
    card: &Card,
    choose: impl FnOnce(Option<&Contact>) -> PairSecret,
    now: Millis,
) -> Result<Option<PairSecret>, store::Error> {
    let known = txn.contact(&card.certificate.identity)?;
    let secret = choose(known.as_ref());
    let is_ours = known.and_then(|contact| contact.pair_secret) == Some(secret.clone());
    if !is_ours && txn.space(conversation_id(&secret.0))?.is_some() {
        return Ok(None);
    }
    befriend(txn, keys, card, &secret, now)?;
    Ok(Some(secret))
}

/// Makes a contact of somebody whose words were compared nearby. Who was one already keeps the
/// secret, and with it the conversation.
pub(crate) async fn met_nearby(inner: &Arc<Inner>, met: Met) -> Result<()> {
    let keys = inner.ready()?;
    let (id, endpoint) = (met.card.certificate.identity, met.card.endpoint);
    let now = clock::now();
    inner
        .store
        .write(move |txn| {
            if !met.known {
                befriend(txn, &keys, &met.card, &met.secret, now)?;
            }
            txn.set_name(id, &met.card.name, now)?;
            records::change_contact(txn, id, |contact| {
                contact.name.clone_from(&met.card.name);
                contact.trust = records::kept_trust(Trust::Verified);
                records::put_device(contact, &met.card);
            })
        })
        .await?;
    inner.begin_contact(id, &[endpoint]);
    inner.tell_audience();
    inner.events.emit(EventKind::Contact, about_contact(id));
    Ok(())
}

pub(crate) fn befriend(
    txn: &mut Txn<'_>,
    keys: &Keys,
    card: &Card,
    secret: &PairSecret,
    now: Millis,
) -> Result<(), store::Error> {
    let id = card.certificate.identity;
    let mut contact = txn
        .contact(&id)?
        .unwrap_or_else(|| records::new_contact(&card.name, now));
    // Added anew: what either side believes of the other's counts is void.
    (contact.acked_rev, contact.seen_rev) = (0, 0);
    contact.name.clone_from(&card.name);
    if contact.state != ContactState::Ready {
        // By whom somebody comes in says what is known of them, and not who introduced them besides.
        contact.trust = records::kept_trust(Trust::Unverified);
    }
    contact.state = ContactState::Ready;
    contact.pair_secret = Some(secret.clone());
    contact.my_rev += 1;
    records::put_device(&mut contact, card);
    txn.put_contact(&id, &contact)?;
    beacons::owe(txn, id, contact.my_rev)?;
    txn.set_name(id, &card.name, now)?;
    let own = keys.identity.id();
    introductions::close(txn, own, id)?;
    let conversation = conversation_id(&secret.0);
    if txn.space(conversation)?.is_none() {
        txn.create_space(&spaces::conversation(conversation, [own, id], now))?;
    }
    if let Some(blog) = spaces::own_blog(txn, own)? {
        spaces::put_offer(txn, keys, &blog, id)?;
    }
    Ok(())
}

// Welcoming.

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
fn hang_up(waiting: &mut BTreeMap<IdentityId, Waiting>, id: IdentityId) {
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
enum Use {
    Welcome,
    Asks,
    Declined,
    Refused,
}

/// Uses an invite, in the transaction that counts it: of two who come at once one comes in. Who came
/// in by it may use it again, since the answer may have got lost; who was removed may not.
fn use_invite(
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
