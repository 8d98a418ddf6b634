//! What meetings want stored: one batch is one job of the writer, so one commit.

use std::{collections::BTreeSet, sync::Arc};

use proto::{
    DeviceId, EndpointId, IdentityId, SpaceId,
    admission::Chain,
    frame::OfferFrame,
    limits::OFFERS_PER_CONTACT_MAX,
    space::{Descriptor, SpaceContext, SpaceKind},
    verify::{Comparison, Overlap, Reject, VerifiedRun},
};
use store::{Error, ImportError, Imported, Txn};

use crate::{
    clock,
    event::EventKind,
    events::About,
    inner::Inner,
    records::{self, OfferState},
    spaces,
};

/// One thing to store.
pub(crate) enum Job {
    Import { space: SpaceId, run: VerifiedRun },
    Compare { space: SpaceId, overlap: Overlap },
    Fork { space: SpaceId, device: DeviceId, proof: Vec<u8> },
    Fill { space: SpaceId, device: DeviceId, seq: u64, body: Vec<u8> },
    Common(BTreeSet<SpaceId>),
    Offers { rev: u64, offers: Vec<OfferFrame> },
    SeenBy { rev: u64 },
    Equal { space: SpaceId },
    PeerHolds { space: SpaceId, base: u64 },
}

impl Job {
    pub(crate) fn entries(&self) -> usize {
        match self {
            Self::Import { run, .. } => run.items().len(),
            _ => 1,
        }
    }

    /// Bytes as the session counts them.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Import { run, .. } => proto::session::run_bytes(run),
            _ => 0,
        }
    }
}

/// What became of a job.
pub(crate) enum JobResult {
    /// Of an import, a fork proof or a body.
    Feed {
        space: SpaceId,
        device: DeviceId,
        bytes: usize,
        refused: Option<Reject>,
        /// First new entry and how many.
        new: Option<(u64, u64)>,
    },
    Compared { space: SpaceId, overlap: (DeviceId, u64), result: Comparison },
    OffersKept { rev: u64 },
    Done,
}

/// What is told after the commit.
#[derive(Default)]
struct Aftermath {
    events: Vec<(EventKind, About)>,
    audience: bool,
}

impl Inner {
    /// Stores a batch of one meeting. Durable when it returns.
    pub(crate) async fn take_in(self: &Arc<Self>, contact: IdentityId, endpoint: EndpointId, jobs: Vec<Job>) -> Result<Vec<JobResult>, Error> {
        let own = self.keys().map(|keys| (keys.identity.id(), keys.device.id()));
        let Some((own, device)) = own else {
            return Err(Error::Closed);
        };
        let from = From { contact, endpoint, own, device };
        let (results, aftermath) = self
            .store
            .write(move |txn| {
                let mut aftermath = Aftermath::default();
                let results = jobs.into_iter().map(|job| from.take(txn, job, &mut aftermath)).collect::<Result<Vec<_>, _>>()?;
                Ok((results, aftermath))
            })
            .await?;
        self.events.emit_all(aftermath.events);
        if aftermath.audience {
            self.tell_audience();
        }
        Ok(results)
    }
}

/// Whose batch it is, and who we are.
#[derive(Clone, Copy)]
struct From {
    contact: IdentityId,
    endpoint: EndpointId,
    own: IdentityId,
    device: DeviceId,
}

impl From {
    fn take(&self, txn: &mut Txn<'_>, job: Job, aftermath: &mut Aftermath) -> Result<JobResult, Error> {
        let bytes = job.bytes();
        Ok(match job {
            Job::Import { space, run } => {
                let (device, now) = (run.device(), clock::now());
                let (refused, new) = match txn.import(space, run, now) {
                    Ok(imported) => (None, noted(space, &imported, aftermath)),
                    Err(ImportError::Reject(reject)) => (Some(reject), None),
                    Err(ImportError::Store(error)) => return Err(error),
                };
                JobResult::Feed { space, device, bytes, refused, new }
            }
            Job::Compare { space, overlap } => {
                let key = (overlap.device(), overlap.start());
                match txn.compare(space, &overlap) {
                    Ok(result) => {
                        if matches!(result, Comparison::Fork { .. }) {
                            aftermath.events.push(sync_event(space));
                        }
                        JobResult::Compared { space, overlap: key, result }
                    }
                    Err(ImportError::Reject(reject)) => {
                        JobResult::Feed { space, device: key.0, bytes: 0, refused: Some(reject), new: None }
                    }
                    Err(ImportError::Store(error)) => return Err(error),
                }
            }
            Job::Fork { space, device, proof } => {
                aftermath.events.push(sync_event(space));
                Self::settled(space, device, txn.import_fork(space, device, &proof))?
            }
            Job::Fill { space, device, seq, body } => {
                aftermath.events.push(sync_event(space));
                Self::settled(space, device, txn.fill(space, device, seq, &body, clock::now()))?
            }
            Job::Common(spaces) => {
                records::set_agreed(txn, self.contact, self.endpoint, spaces)?;
                JobResult::Done
            }
            Job::Offers { rev, offers } => {
                self.offers(txn, rev, &offers, aftermath)?;
                JobResult::OffersKept { rev }
            }
            Job::SeenBy { rev } => {
                records::set_acked_rev(txn, self.contact, rev)?;
                JobResult::Done
            }
            Job::Equal { .. } => JobResult::Done,
            Job::PeerHolds { space, base } => {
                self.peer_holds(txn, space, base, aftermath)?;
                JobResult::Done
            }
        })
    }

    fn settled<T>(space: SpaceId, device: DeviceId, result: Result<T, ImportError>) -> Result<JobResult, Error> {
        let refused = match result {
            Ok(_) => None,
            Err(ImportError::Reject(reject)) => Some(reject),
            Err(ImportError::Store(error)) => return Err(error),
        };
        Ok(JobResult::Feed { space, device, bytes: 0, refused, new: None })
    }

    /// Keeps a contact's offers. Their own blog is taken at once, unless we left it.
    fn offers(&self, txn: &mut Txn<'_>, rev: u64, offers: &[OfferFrame], aftermath: &mut Aftermath) -> Result<(), Error> {
        for offer in offers {
            let (Ok(descriptor), Ok(chain)) = (Descriptor::decode(&offer.descriptor), Chain::decode(&offer.chain)) else {
                tracing::debug!(contact = ?self.contact, "dropped an offer that can't be read");
                continue;
            };
            let context = SpaceContext::described(&descriptor);
            let sound = chain.check(&context, self.own).is_ok() && chain.inviter() == Some(self.contact);
            let known = txn.space(context.id)?.is_some() || records::is_left(txn, context.id)?;
            if !sound || known || !matches!(descriptor.kind, SpaceKind::Forum | SpaceKind::Blog) {
                continue;
            }
            if descriptor.kind == SpaceKind::Blog && descriptor.creator == self.contact {
                match txn.create_space(spaces::described(&descriptor, chain, clock::now())) {
                    Ok(()) => {}
                    Err(Error::TooManySpaces { .. }) => continue,
                    Err(error) => return Err(error),
                }
                records::bump_revs(txn)?;
                aftermath.audience = true;
                aftermath.events.push(sync_event(context.id));
                continue;
            }
            let waiting = records::offers_in(txn)?;
            let from_them = waiting.iter().filter(|offer| offer.from == self.contact && offer.state == OfferState::Waiting).count();
            let repeated = waiting.iter().any(|known| known.from == self.contact && known.space == context.id);
            if repeated || from_them >= OFFERS_PER_CONTACT_MAX {
                continue;
            }
            let id = records::put_offer_in(txn, self.contact, context.id, offer, clock::now())?;
            let about = About { subject: Some(id), space: Some(context.id), contact: Some(self.contact), topic: None };
            aftermath.events.push((EventKind::Offer, about));
        }
        records::set_seen_rev(txn, self.contact, rev)
    }

    /// The contact's device holds this much of our feed: messages up to there are delivered.
    fn peer_holds(&self, txn: &mut Txn<'_>, space: SpaceId, base: u64, aftermath: &mut Aftermath) -> Result<(), Error> {
        let conversation = txn.space(space)?.is_some_and(|space| space.kind == SpaceKind::Conversation);
        let before = txn.acknowledged(space, self.contact)?;
        let held = txn.frontier(space, self.device)?.map_or(0, |own| own.base);
        let base = base.min(held);
        if !conversation || base <= before {
            return Ok(());
        }
        txn.set_acknowledged(space, self.contact, base)?;
        for seq in before..base {
            if let Some(id) = txn.message_id(space, self.device, seq)? {
                let about = About { subject: Some(id.to_string()), space: Some(space), contact: Some(self.contact), topic: None };
                aftermath.events.push((EventKind::Delivery, about));
            }
        }
        Ok(())
    }
}

fn sync_event(space: SpaceId) -> (EventKind, About) {
    (EventKind::Sync, About { space: Some(space), ..About::default() })
}

/// Notes what an import brought; returns the first new entry and how many.
fn noted(space: SpaceId, imported: &Imported, aftermath: &mut Aftermath) -> Option<(u64, u64)> {
    aftermath.events.extend(imported.entries.iter().map(|entry| {
        let about = About {
            subject: Some(entry.id.to_string()),
            space: Some(space),
            topic: entry.topic.map(|topic| topic.to_string()),
            contact: Some(entry.author),
        };
        (EventKind::Entry, about)
    }));
    (imported.count > 0).then_some((imported.start, imported.count))
}
