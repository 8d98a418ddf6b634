//! What meetings want stored: one batch is one job of the writer, so one commit.

mod jobs;

use std::{collections::BTreeSet, sync::Arc};

use proto::{
    DeviceId, EndpointId, EntryId, IdentityId, Millis, SpaceId,
    admission::Chain,
    body::{Body, kind},
    frame::OfferFrame,
    limits::{BATCH_BYTES_MAX, OFFERS_PER_CONTACT_MAX},
    run::{BodyPart, Run},
    session::EndProof,
    space::{Descriptor, SpaceContext, SpaceKind},
    verify::{Comparison, removal_of},
};
use store::{Error, ImportError, Imported, NewEntry, Txn};

pub(crate) use self::jobs::{Job, JobResult};

use crate::{
    beacons, circles, clock,
    event::EventKind,
    events::About,
    inner::{Inner, about_contact},
    introductions::{self, Heard},
    letters, own_feed,
    records::{self, OfferState},
    spaces,
};

/// Delivered messages that are told at once.
const EVENTS_MAX: usize = 256;

/// What is told after the commit.
#[derive(Default)]
pub(crate) struct Aftermath {
    pub(crate) events: Told,
    pub(crate) audience: bool,
    /// Contacts who may have a circle now, or may no more.
    pub(crate) moved: BTreeSet<IdentityId>,
    /// Letters have arrived another way.
    pub(crate) letters: bool,
    /// Circles of which pages were told that their members or rules may have changed.
    circles: BTreeSet<SpaceId>,
    /// Keys of beacons changed.
    pub(crate) beacons: bool,
    /// New entries about introductions.
    pub(crate) introductions: Vec<Heard>,
}

impl Aftermath {
    /// Pages show who is in a circle and what was decided.
    fn note_circle(&mut self, space: SpaceId) {
        if self.circles.insert(space) {
            self.events.push(sync_event(space));
        }
    }

    /// An entry came in a letter, and doesn't join what is held yet.
    pub(crate) fn note_loose(&mut self, space: SpaceId, author: IdentityId, id: EntryId) {
        let about = About {
            subject: Some(id.to_string()),
            space: Some(space),
            topic: None,
            contact: Some(author),
        };
        self.events.push((EventKind::Entry, about));
    }
}

/// Events in order. Those of new entries become texts only after the commit: the writer has
/// thousands of them in a batch, and others wait for it.
#[derive(Default)]
pub(crate) struct Told(Vec<Telling>);

enum Telling {
    Event((EventKind, About)),
    Entries(SpaceId, Vec<NewEntry>),
}

impl Told {
    fn push(&mut self, event: (EventKind, About)) {
        self.0.push(Telling::Event(event));
    }

    pub(crate) fn events(self) -> Vec<(EventKind, About)> {
        let mut events = Vec::new();
        for telling in self.0 {
            match telling {
                Telling::Event(event) => events.push(event),
                Telling::Entries(space, entries) => {
                    let told = entries.iter();
                    events.extend(told.filter_map(|entry| entry_event(space, entry)));
                }
            }
        }
        events
    }
}

impl Inner {
    /// Stores a batch of one meeting. Durable when it returns.
    pub(crate) async fn take_in(
        self: &Arc<Self>,
        contact: IdentityId,
        endpoint: EndpointId,
        jobs: Vec<Job>,
    ) -> Result<Vec<JobResult>, Error> {
        let keys = self.keys().ok_or(Error::Closed)?;
        let (own, device) = (keys.identity.id(), keys.device.id());
        let from = From {
            contact,
            endpoint,
            own,
            device,
            now: clock::now(),
        };
        let (results, aftermath, followed) = self
            .store
            .write(move |txn| {
                let (results, aftermath) = from.take_all(txn, jobs)?;
                txn.settle()?;
                let followed =
                    introductions::follow(txn, &keys, &aftermath.introductions, from.now)?;
                Ok((results, aftermath, followed))
            })
            .await?;
        self.tell_aftermath(endpoint, aftermath, &results);
        introductions::followed(self, &followed);
        Ok(results)
    }

    /// Tells everybody what was stored.
    pub(crate) fn tell_aftermath(
        &self,
        endpoint: EndpointId,
        aftermath: Aftermath,
        results: &[JobResult],
    ) {
        self.events.emit_all(aftermath.events.events());
        if aftermath.audience {
            self.tell_audience();
        } else {
            self.tell_audience_of(&aftermath.moved);
        }
        if aftermath.beacons {
            self.contacts_changed();
        }
        if aftermath.letters {
            self.tell_letters();
        }
        for result in results {
            self.pass_on(endpoint, result);
        }
    }

    /// Tells the other meetings what a batch changed: they pass it on.
    fn pass_on(&self, from: EndpointId, result: &JobResult) {
        match result {
            JobResult::Feed {
                space,
                device,
                bytes,
                refused,
                new,
                ended,
            } => {
                for device in ended {
                    self.tell_meetings(*space, *device, 0, None);
                }
                if let Some((first, _)) = new {
                    self.tell_meetings(*space, *device, *first, Some(from));
                } else if *bytes == 0 && refused.is_none() {
                    // A fork's proof or a body: others may lack it too.
                    self.tell_meetings(*space, *device, 0, Some(from));
                }
            }
            JobResult::Compared {
                space,
                overlap,
                result: Comparison::Fork { .. },
            } => self.tell_meetings(*space, overlap.0, 0, Some(from)),
            JobResult::Compared { .. } | JobResult::OffersKept { .. } | JobResult::Done => {}
        }
    }
}

/// Whose batch it is, and who we are.
#[derive(Clone, Copy)]
pub(crate) struct From {
    pub(crate) contact: IdentityId,
    pub(crate) endpoint: EndpointId,
    pub(crate) own: IdentityId,
    pub(crate) device: DeviceId,
    /// When it came.
    pub(crate) now: Millis,
}

impl From {
    /// Takes in a batch, in one transaction.
    pub(crate) fn take_all(
        &self,
        txn: &mut Txn<'_>,
        jobs: Vec<Job>,
    ) -> Result<(Vec<JobResult>, Aftermath), Error> {
        let mut aftermath = Aftermath::default();
        let mut results = self.take_into(txn, jobs, &mut aftermath)?;
        if txn.has_loose()? {
            results.extend(self.settle_letters(txn, &results, &mut aftermath)?);
        }
        Ok((results, aftermath))
    }

    /// The same, as part of something that tells more.
    pub(crate) fn take_into(
        &self,
        txn: &mut Txn<'_>,
        jobs: Vec<Job>,
        aftermath: &mut Aftermath,
    ) -> Result<Vec<JobResult>, Error> {
        let spaces: BTreeSet<SpaceId> = jobs.iter().flat_map(Job::spaces).collect();
        let before = circles::cleared(txn, self.own, &spaces)?;
        let results: Result<Vec<JobResult>, Error> = jobs
            .into_iter()
            .map(|job| {
                // What many runs change of a topic is written once for all of them.
                match job {
                    Job::Import { .. } => txn.hold_topics(),
                    _ => txn.settle()?,
                }
                self.take(txn, job, aftermath)
            })
            .collect();
        let results = results?;
        // Every meeting searches anew for what its contact may have, so it is those contacts only
        // for whom something changed, whatever was written, filled or cut: a member could keep all
        // the others' meetings from ever getting anywhere.
        let after = circles::cleared(txn, self.own, &spaces)?;
        let moved = before.symmetric_difference(&after).map(|(_, who)| *who);
        let moved: BTreeSet<IdentityId> = moved.collect();
        records::bump_revs_of(txn, &moved)?;
        aftermath.moved.extend(moved);
        Ok(results)
    }

    /// Entries that came in letters may join what a batch brought.
    fn settle_letters(
        &self,
        txn: &mut Txn<'_>,
        results: &[JobResult],
        aftermath: &mut Aftermath,
    ) -> Result<Vec<JobResult>, Error> {
        txn.settle()?;
        let feeds: BTreeSet<_> = results
            .iter()
            .filter_map(|result| match result {
                JobResult::Feed {
                    space,
                    device,
                    new: Some(_),
                    ..
                } => Some((*space, *device)),
                _ => None,
            })
            .collect();
        let mut settled = Vec::new();
        for (space, device) in feeds {
            settled.extend(letters::settle(txn, space, device, self, aftermath)?);
        }
        Ok(settled)
    }

    fn take(
        &self,
        txn: &mut Txn<'_>,
        job: Job,
        aftermath: &mut Aftermath,
    ) -> Result<JobResult, Error> {
        let bytes = job.bytes();
        Ok(match job {
            Job::Import { space, run } => {
                let feed = (space, run.device());
                let missing = txn.missing_below(space)?;
                let result = txn.import_from(self.contact, space, run, self.now);
                imported(txn, feed, bytes, missing, result, aftermath)?
            }
            Job::ImportTail { space, tail } => {
                let feed = (space, tail.device());
                let missing = txn.missing_below(space)?;
                let result = txn.import_tail_from(self.contact, space, tail, self.now);
                imported(txn, feed, bytes, missing, result, aftermath)?
            }
            Job::Compare { space, overlap } => {
                let key = (overlap.device(), overlap.start());
                match txn.compare(space, &overlap) {
                    Ok(result) => {
                        if matches!(result, Comparison::Fork { .. }) {
                            aftermath.events.push(sync_event(space));
                        }
                        JobResult::Compared {
                            space,
                            overlap: key,
                            result,
                        }
                    }
                    Err(ImportError::Reject(reject)) => JobResult::refused(space, key.0, 0, reject),
                    Err(ImportError::Store(error)) => return Err(error),
                }
            }
            Job::End {
                space,
                device,
                proof,
            } => {
                aftermath.events.push(sync_event(space));
                let result = match &proof {
                    EndProof::Fork(proof) => txn.import_fork(space, device, proof),
                    EndProof::Revocation(body) => txn.import_revocation(space, device, body),
                };
                Self::settled(space, device, result)?
            }
            Job::Fill {
                space,
                device,
                seq,
                body,
            } => {
                aftermath.events.push(sync_event(space));
                Self::settled(
                    space,
                    device,
                    txn.fill_from(self.contact, space, (device, seq), &body, self.now),
                )?
            }
            Job::Common(spaces) => {
                records::set_agreed(txn, self.contact, self.endpoint, spaces)?;
                JobResult::Done
            }
            Job::Offers {
                rev,
                offers,
                whereabouts,
            } => {
                if let Some(key) = whereabouts.beacon {
                    beacons::keep(txn, self.contact, self.endpoint, key)?;
                    aftermath.beacons = true;
                }
                if let Some(relay) = whereabouts.relay {
                    records::set_relay(txn, self.contact, self.endpoint, relay)?;
                }
                self.offers(txn, rev, &offers, aftermath)?;
                JobResult::OffersKept { rev }
            }
            Job::SeenBy { rev } => {
                records::change_contact(txn, self.contact, |contact| {
                    contact.acked_rev = contact.acked_rev.max(rev)
                })?;
                JobResult::Done
            }
            Job::PeerHolds { space, base } => {
                self.peer_holds(txn, space, base, aftermath)?;
                aftermath.letters |= letters::arrived(txn, space, self.contact, base)?;
                JobResult::Done
            }
        })
    }

    fn settled<T>(
        space: SpaceId,
        device: DeviceId,
        result: Result<T, ImportError>,
    ) -> Result<JobResult, Error> {
        match result {
            Ok(_) => Ok(JobResult::Feed {
                space,
                device,
                bytes: 0,
                refused: None,
                new: None,
                ended: Vec::new(),
            }),
            Err(ImportError::Reject(reject)) => Ok(JobResult::refused(space, device, 0, reject)),
            Err(ImportError::Store(error)) => Err(error),
        }
    }

    /// Keeps a contact's offers. Their own blog is taken at once, unless we left it.
    fn offers(
        &self,
        txn: &mut Txn<'_>,
        rev: u64,
        offers: &[OfferFrame],
        aftermath: &mut Aftermath,
    ) -> Result<(), Error> {
        for offer in offers {
            if removal_of(&offer.chain).is_some() {
                self.removed(txn, offer, aftermath)?;
                continue;
            }
            let (Ok(descriptor), Ok(chain)) = (
                Descriptor::decode(&offer.descriptor),
                Chain::decode(&offer.chain),
            ) else {
                tracing::debug!(contact = ?self.contact, "dropped an offer that can't be read");
                continue;
            };
            let context = SpaceContext::described(&descriptor);
            let sound =
                chain.check(&context, self.own).is_ok() && chain.inviter() == Some(self.contact);
            let known = txn.space(context.id)?.is_some();
            if !sound || known {
                continue;
            }
            if descriptor.kind == SpaceKind::Blog && descriptor.creator == self.contact {
                if txn.left(&context.id)?.is_some() {
                    continue;
                }
                let now = self.now;
                match txn.create_space(&spaces::described(&descriptor, chain, now)) {
                    Ok(()) => own_feed::restore(txn, self.device, context.id, now)?,
                    Err(Error::TooManySpaces { .. }) => continue,
                    Err(error) => return Err(error),
                }
                records::bump_revs(txn)?;
                aftermath.audience = true;
                aftermath.events.push(sync_event(context.id));
                continue;
            }
            let kept = txn.offers_in()?;
            let theirs = kept
                .iter()
                .filter(|(_, kept)| kept.from == self.contact && kept.state == OfferState::Waiting);
            let repeated = theirs
                .clone()
                .any(|(_, kept)| kept.descriptor == offer.descriptor);
            if repeated || theirs.count() >= OFFERS_PER_CONTACT_MAX {
                continue;
            }
            let id = records::put_offer_in(txn, self.contact, offer, self.now)?;
            let about = About {
                subject: Some(id),
                space: Some(context.id),
                contact: Some(self.contact),
                topic: None,
            };
            aftermath.events.push((EventKind::Offer, about));
        }
        records::change_contact(txn, self.contact, |contact| contact.seen_rev = rev).map(drop)
    }

    /// The owner of a circle tells us that we were removed: that counts like any removal, and takes an
    /// invitation back.
    fn removed(
        &self,
        txn: &mut Txn<'_>,
        offer: &OfferFrame,
        aftermath: &mut Aftermath,
    ) -> Result<(), Error> {
        let Some(removal) = removal_of(&offer.chain) else {
            return Ok(());
        };
        let Ok(descriptor) = Descriptor::decode(&offer.descriptor) else {
            return Ok(());
        };
        let space = descriptor.id();
        let ours = removal.identity == self.own && removal.by.identity == self.contact;
        if !ours || !removal.holds(space) {
            return Ok(());
        }
        for (id, kept) in txn.offers_in()? {
            if kept.from == self.contact && kept.descriptor == offer.descriptor {
                txn.remove_offer_in(&id)?;
            }
        }
        if txn.space(space)?.is_none() {
            return Ok(());
        }
        match txn.import_removal(space, &offer.chain) {
            Ok(true) => aftermath.note_circle(space),
            Ok(false) => {}
            Err(ImportError::Reject(reject)) => {
                tracing::debug!(contact = ?self.contact, %reject, "a removal isn't known to count");
            }
            Err(ImportError::Store(error)) => return Err(error),
        }
        Ok(())
    }

    /// The contact's device holds this much of our feed: messages up to there are delivered.
    fn peer_holds(
        &self,
        txn: &mut Txn<'_>,
        space: SpaceId,
        base: u64,
        aftermath: &mut Aftermath,
    ) -> Result<(), Error> {
        let kind = txn.space(space)?.map(|space| space.kind);
        let conversation = kind == Some(SpaceKind::Conversation);
        let circle = kind == Some(SpaceKind::Circle);
        let before = txn.acknowledged(space, self.contact)?;
        let held = txn.frontier(space, self.device)?.map_or(0, |own| own.base);
        let base = base.min(held);
        // Who leaves a circle wants to know that somebody heard it.
        let noted = conversation || circle;
        if !noted || !txn.acknowledge(space, self.contact, base, self.now)? || circle {
            return Ok(());
        }
        let mut from = before;
        while from < base {
            let Some(served) = txn.run(space, self.device, from, EVENTS_MAX, BATCH_BYTES_MAX)?
            else {
                break;
            };
            let Ok(run) = Run::decode(&served.bytes) else {
                break;
            };
            let entries = run
                .headers(space, self.device)
                .zip(&run.items)
                .take_while(|((_, header), _)| header.seq < base);
            for ((id, _), item) in entries {
                let BodyPart::Present(body) = item.body else {
                    continue;
                };
                if !matches!(Body::decode(body), Ok(Body::Message { .. })) {
                    continue;
                }
                let about = About {
                    subject: Some(id.to_string()),
                    space: Some(space),
                    contact: Some(self.contact),
                    topic: None,
                };
                aftermath.events.push((EventKind::Delivery, about));
            }
            from = served.end;
        }
        Ok(())
    }
}

/// What became of an import, where so many entries were missing below newer ones before it.
fn imported(
    txn: &Txn<'_>,
    (space, device): (SpaceId, DeviceId),
    bytes: usize,
    missing: u64,
    result: Result<Imported, ImportError>,
    aftermath: &mut Aftermath,
) -> Result<JobResult, Error> {
    let mut imported = match result {
        Ok(imported) => imported,
        Err(ImportError::Reject(reject)) => {
            return Ok(JobResult::refused(space, device, bytes, reject));
        }
        Err(ImportError::Store(error)) => return Err(error),
    };
    let about = imported.entries.iter().filter(|entry| {
        let kinds = [kind::INTRODUCTION, kind::INTRODUCED];
        entry.kind.is_some_and(|kind| kinds.contains(&kind))
    });
    aftermath.introductions.extend(about.filter_map(|entry| {
        entry.author.map(|author| Heard {
            space,
            device,
            seq: entry.seq,
            author,
        })
    }));
    if is_membership(txn, &imported)? && is_circle(txn, space)? {
        aftermath.note_circle(space);
    }
    // A receipt is nothing that a page shows by itself.
    let reader = imported
        .entries
        .iter()
        .find(|entry| entry.kind == Some(kind::RECEIPT));
    if let Some(reader) = reader {
        let about = About {
            space: Some(space),
            contact: reader.author,
            ..About::default()
        };
        aftermath.events.push((EventKind::Delivery, about));
    }
    let new = noted(space, &mut imported, aftermath);
    if (missing == 0) != (txn.missing_below(space)? == 0) {
        // Pages say whether older posts are still arriving.
        aftermath.events.push(sync_event(space));
    }
    Ok(JobResult::Feed {
        space,
        device,
        bytes,
        refused: None,
        new,
        ended: imported.ended,
    })
}

/// Whether entries may change what pages show of a circle: rules, and a contact who is new.
fn is_membership(txn: &Txn<'_>, imported: &Imported) -> Result<bool, Error> {
    for entry in &imported.entries {
        match (entry.kind, entry.author) {
            (Some(kind::RULE), _) => return Ok(true),
            (Some(kind::GENESIS), Some(author)) if txn.contact(&author)?.is_some() => {
                return Ok(true);
            }
            _ => {}
        }
    }
    Ok(!imported.ended.is_empty())
}

fn is_circle(txn: &Txn<'_>, space: SpaceId) -> Result<bool, Error> {
    let space = txn.space(space)?;
    Ok(space.is_some_and(|space| space.kind == SpaceKind::Circle))
}

fn sync_event(space: SpaceId) -> (EventKind, About) {
    (
        EventKind::Sync,
        About {
            space: Some(space),
            ..About::default()
        },
    )
}

/// Notes what an import brought; returns the first new entry and how many.
fn noted(space: SpaceId, imported: &mut Imported, aftermath: &mut Aftermath) -> Option<(u64, u64)> {
    let entries = std::mem::take(&mut imported.entries);
    let first = entries.first()?.seq;
    let count = entries.len() as u64;
    aftermath.events.0.push(Telling::Entries(space, entries));
    Some((first, count))
}

/// The event that tells of a new entry: what a page shows of it. An edit, a retract or a reaction
/// is told as a change of its target, a new name as a change of its contact.
pub(crate) fn entry_event(space: SpaceId, entry: &NewEntry) -> Option<(EventKind, About)> {
    let topic = entry.topic.filter(|topic| topic.0 != [0; 32]);
    let subject = entry.target.or(entry.topic.map(|_| entry.id));
    let about = About {
        subject: subject.map(|id| id.to_string()),
        space: Some(space),
        topic: topic.map(|topic| topic.to_string()),
        contact: entry.author,
    };
    match (subject, entry.kind) {
        (Some(_), _) => Some((EventKind::Entry, about)),
        (None, Some(kind::PROFILE)) => Some((EventKind::Contact, about_contact(entry.author?))),
        (None, _) => None,
    }
}
