//! One session with somebody who is there: from the first word to a contact, or to the reason why not.

use std::sync::Arc;

use links::{CloseCode, Connection, MeetStream};
use proto::{
    EndpointId, IdentityId,
    beacon::BeaconKey,
    limits::CONTACTS_MAX,
    nearby::{Compared, Line, Met, Own, Reject, Session, Step},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};

use super::{
    EXCHANGE_WAIT, EXPORTER_LABEL, GREETING_WAIT, Opening, Person, SAID_MAX, Stage, air, crowded,
    lock, tell,
};
use crate::{
    adding, beacons,
    error::{Error, Result},
    files,
    inner::Inner,
    records::{self, ContactState},
};

/// Why a session came to nothing.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the connection was lost")]
    Lost,
    #[error("their node took too long")]
    Slow,
    #[error("they said no")]
    TheyDeclined,
    #[error("you said no")]
    WeDeclined,
    #[error("it was closed")]
    Closed,
    #[error("too many people are listed")]
    Crowded,
    #[error("their node sent what doesn't belong there: {0}")]
    Misbehaved(#[from] Reject),
    #[error(transparent)]
    Own(#[from] Error),
}

/// Runs a session to its end. True where no other with this device is wanted.
pub(super) async fn converse(inner: &Arc<Inner>, opening: &Arc<Opening>, conn: Connection) -> bool {
    let remote = conn.remote();
    if !opening.begin(remote) {
        conn.close(CloseCode::Busy, "");
        crowded(inner);
        return true;
    }
    let mut talk = Talk {
        inner: inner.clone(),
        opening: opening.clone(),
        conn: conn.clone(),
        person: None,
        device: None,
    };
    let result = talk.run().await;
    opening.ended(remote);
    let (code, again) = match &result {
        Ok(()) => (CloseCode::Done, false),
        Err(Failure::Lost) => (CloseCode::Dropped, true),
        Err(Failure::Slow | Failure::Closed) => (CloseCode::Done, false),
        Err(Failure::TheyDeclined | Failure::WeDeclined) => (CloseCode::Done, false),
        Err(Failure::Crowded) => (CloseCode::Busy, false),
        Err(Failure::Misbehaved(reject)) => {
            tracing::debug!(%reject, "somebody nearby broke the protocol");
            (CloseCode::Misbehaved, false)
        }
        Err(Failure::Own(error)) => {
            tracing::warn!(%error, "somebody nearby could not be added");
            (CloseCode::Busy, false)
        }
    };
    conn.close(code, "");
    if let (Err(failure), Some((id, _))) = (result, talk.person) {
        let mut state = lock(&inner.nearby.state);
        if let Some(person) = state.people.iter_mut().find(|person| person.id == id)
            && matches!(person.stage, Stage::Comparing { .. })
        {
            person.stage = Stage::Ended(failure.to_string());
        }
        drop(state);
        tell(inner, Some(&id));
    }
    !again
}

/// A session while it runs.
struct Talk {
    inner: Arc<Inner>,
    opening: Arc<Opening>,
    conn: Connection,
    /// Its place in the list, and what the person says of it, once there are words.
    person: Option<(String, mpsc::Receiver<bool>)>,
    /// Who they turned out to be.
    device: Option<(IdentityId, EndpointId)>,
}

impl Talk {
    async fn run(&mut self) -> std::result::Result<(), Failure> {
        let (mut session, mut steps) = self.begin()?;
        let opened = timeout(GREETING_WAIT, MeetStream::open(self.conn.clone())).await;
        let mut stream = opened
            .map_err(|_| Failure::Slow)?
            .map_err(|_| Failure::Lost)?;
        let stop = self.opening.stop.clone();
        let mut due = Some(Instant::now() + GREETING_WAIT);
        let (mut met, mut they_kept) = (false, false);
        loop {
            let mut queue = std::collections::VecDeque::from(std::mem::take(&mut steps));
            while let Some(step) = queue.pop_front() {
                match step {
                    Step::Send(frame) => {
                        let sent = timeout(EXCHANGE_WAIT, stream.send(frame.into())).await;
                        sent.map_err(|_| Failure::Slow)?
                            .map_err(|_| Failure::Lost)?;
                    }
                    Step::Compare(compared) => {
                        self.list(compared)?;
                        due = None;
                    }
                    Step::TheyAccept => self.note_their_yes(),
                    Step::Recall(identity) => {
                        due = Some(Instant::now() + EXCHANGE_WAIT);
                        let secret = self.known(identity)?;
                        let filler = files::random_seed();
                        queue.extend(session.recall(secret.as_ref(), *filler));
                    }
                    Step::Met(found) => {
                        self.keep(*found).await?;
                        met = true;
                        let key = beacons::own_or_made(&self.inner).await;
                        queue.extend(session.kept(key.map_err(Error::from)?));
                    }
                    Step::TheyKept(beacon) => {
                        self.keep_beacon(beacon).await?;
                        they_kept = true;
                    }
                    Step::Declined => return Err(Failure::TheyDeclined),
                }
            }
            if met && they_kept {
                self.confirm();
                stream.finish().await;
                return Ok(());
            }
            let wait = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            steps = tokio::select! {
                () = stop.cancelled() => return Err(Failure::Closed),
                () = wait => return Err(Failure::Slow),
                said = said(&mut self.person) => match said {
                    true => session.accept(),
                    false => {
                        for step in session.decline() {
                            if let Step::Send(frame) = step {
                                let _ = timeout(EXCHANGE_WAIT, stream.send(frame.into())).await;
                            }
                        }
                        stream.finish().await;
                        return Err(Failure::WeDeclined);
                    }
                },
                frame = stream.recv() => match frame {
                    Ok(Some(frame)) => session.handle(&frame)?,
                    Ok(None) | Err(_) => return Err(Failure::Lost),
                },
            };
        }
    }

    fn begin(&self) -> std::result::Result<(Session, Vec<Step>), Failure> {
        let keys = self.inner.ready()?;
        let exporter = self
            .conn
            .exporter(EXPORTER_LABEL, b"")
            .map_err(|_| Failure::Lost)?;
        let (local, remote) = (self.conn.local(), self.conn.remote());
        let dialed = self.conn.dialed();
        let (dialer, acceptor) = if dialed {
            (local, remote)
        } else {
            (remote, local)
        };
        let line = Line {
            exporter,
            dialer,
            acceptor,
        };
        let card = adding::own_card(&self.inner)?;
        let random = (*files::random_seed(), *files::random_seed());
        let own = Own::new(&card, &keys.device, &self.opening.key, &line, random);
        Ok(if dialed {
            Session::dial(line, own)
        } else {
            (Session::answer(line, own), Vec::new())
        })
    }

    /// Lists somebody with their words. An earlier try of the same device that came to nothing goes.
    fn list(&mut self, compared: Compared) -> std::result::Result<(), Failure> {
        if !self.opening.compare() {
            crowded(&self.inner);
            return Err(Failure::Crowded);
        }
        let remote = self.conn.remote();
        let (say, said) = mpsc::channel(SAID_MAX);
        let id = records::local_id();
        {
            let mut state = lock(&self.inner.nearby.state);
            let current = state.opening.as_ref();
            if !current.is_some_and(|current| Arc::ptr_eq(current, &self.opening)) {
                return Err(Failure::Closed);
            }
            let earlier = |person: &Person| {
                person.remote == remote && matches!(person.stage, Stage::Ended(_))
            };
            state.people.retain(|person| !earlier(person));
            state.people.push(Person {
                id: id.clone(),
                name: compared.name,
                remote,
                words: compared.words,
                stage: Stage::Comparing {
                    we_accept: false,
                    they_accept: false,
                },
                say,
            });
        }
        tell(&self.inner, Some(&id));
        self.person = Some((id, said));
        Ok(())
    }

    fn change(&self, change: impl FnOnce(&mut Stage)) {
        let Some((id, _)) = &self.person else { return };
        {
            let mut state = lock(&self.inner.nearby.state);
            let person = state.people.iter_mut().find(|person| person.id == *id);
            if let Some(person) = person {
                change(&mut person.stage);
            }
        }
        tell(&self.inner, Some(id));
    }

    fn note_their_yes(&self) {
        self.change(|stage| {
            if let Stage::Comparing { they_accept, .. } = stage {
                *they_accept = true;
            }
        });
    }

    fn confirm(&self) {
        self.change(|stage| {
            if let Stage::Done { confirmed, .. } = stage {
                *confirmed = true;
            }
        });
    }

    /// The secret with somebody who is a contact already.
    fn known(&self, identity: IdentityId) -> Result<Option<proto::card::PairSecret>> {
        let contacts = self.inner.store.read()?.contacts()?;
        let known = contacts.iter().find(|(id, _)| *id == identity);
        if known.is_none() && contacts.len() >= CONTACTS_MAX {
            return Err(Error::Conflict {
                detail: format!("{CONTACTS_MAX} contacts are the most that there can be"),
            });
        }
        let ready = known.filter(|(_, contact)| contact.state == ContactState::Ready);
        Ok(ready.and_then(|(_, contact)| contact.pair_secret.clone()))
    }

    async fn keep(&mut self, met: Met) -> Result<()> {
        let (contact, known) = (met.card.certificate.identity, met.known);
        let device = (contact, met.card.endpoint);
        self.device = Some(device);
        air::met(&self.inner, &self.opening, &self.conn, device);
        adding::met_nearby(&self.inner, met).await?;
        self.change(|stage| {
            *stage = Stage::Done {
                contact,
                known,
                confirmed: false,
            };
        });
        Ok(())
    }

    /// They are found by this, wherever they are next.
    async fn keep_beacon(&self, beacon: BeaconKey) -> Result<()> {
        if let Some((contact, endpoint)) = self.device {
            self.inner
                .store
                .write(move |txn| beacons::keep(txn, contact, endpoint, beacon))
                .await?;
            self.inner.contacts_changed();
        }
        Ok(())
    }
}

/// What the person says; waits for ever where nobody is asked.
async fn said(person: &mut Option<(String, mpsc::Receiver<bool>)>) -> bool {
    if let Some((_, said)) = person
        && let Some(yes) = said.recv().await
    {
        return yes;
    }
    std::future::pending().await
}
