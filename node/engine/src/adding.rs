//! Adding a contact over a meet connection: using somebody's link, and what both sides keep.

#[cfg(test)]
mod tests;
mod welcoming;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use links::{CloseCode, MeetStream, Protocol};
use proto::{
    IdentityId, Millis,
    card::{Card, Invite, Join, JoinAnswer, PairSecret, Refusal},
    nearby::Met,
    space::conversation_id,
};
use store::{Contact, Txn};
use tokio::time::timeout;

pub(crate) use self::welcoming::{Waiting, decide, welcome};
use crate::{
    beacons, clock,
    error::{Error, Result},
    event::EventKind,
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
    // Added anew: what either side believes of the other's counts is void, and of letters too.
    let devices: Vec<_> = contact.devices.keys().copied().collect();
    txn.forget_letters(id, &devices)?;
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
