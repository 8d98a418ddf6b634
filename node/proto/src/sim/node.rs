//! What a simulated node does with its store: the trait behind which a store is on trial.
//!
//! A call that changes something is one transaction, durable when it returns.

use std::{collections::BTreeSet, fmt::Debug, ops::Deref};

use super::Person;
use crate::{
    audience::Clearance,
    body::{Answer, Body, Quotable},
    frame::OfferFrame,
    ids::{DeviceId, EndpointId, EntryId, IdentityId, SpaceId},
    keys::DeviceKey,
    session::{Output, SpaceStore},
    space::SpaceKind,
    time::Millis,
    verify::{Comparison, Reject},
};

/// A store with what a node keeps of contacts beside its spaces.
pub trait NodeStore: Sized {
    /// Why the store failed.
    type Error: Debug;
    /// A consistent view.
    type View<'v>: Deref<Target: SpaceStore<Error = Self::Error> + Sized>
    where
        Self: 'v;
    /// A copy of the whole disk, as a backup.
    type Image;

    /// Retracts and revocations have their effect in it.
    const HONOURS_ENDS: bool;

    /// A fresh one of a person's device, with its own blog.
    fn new(me: &Person, name: &str, now: Millis) -> Self;

    /// Everything as of the newest commit.
    ///
    /// # Errors
    /// The store's.
    fn view(&self) -> Result<Self::View<'_>, Self::Error>;

    /// The spaces that are held.
    ///
    /// # Errors
    /// The store's.
    fn spaces(&self) -> Result<Vec<(SpaceId, SpaceKind)>, Self::Error>;

    /// What a meeting starts with; `None` where they are no contact.
    ///
    /// # Errors
    /// The store's.
    fn audience(&self, peer: &Peer) -> Result<Option<Audience>, Self::Error>;

    /// Stores a batch of a meeting.
    ///
    /// # Errors
    /// The store's: nothing of the batch is kept.
    fn take(&mut self, peer: &Peer, jobs: Vec<Output>, now: Millis) -> Result<Taken, Self::Error>;

    /// Does what a person wants.
    ///
    /// # Errors
    /// The store's: nothing is kept.
    fn change(&mut self, change: &Change, now: Millis) -> Result<Changed, Self::Error>;

    /// The power fails now: what wasn't synced is lost, in whole or in part. Afterwards the store
    /// is open again.
    fn power_cut(&mut self, seed: u64);

    /// The power fails during the next commit, at any place in it: that call fails, whatever became
    /// of it. [`Self::power_cut`] follows.
    fn cut_power_in_next_commit(&mut self, seed: u64);

    /// The disk has no room any more, or has some again.
    fn set_full(&mut self, full: bool);

    /// A copy of the disk.
    fn image(&self) -> Self::Image;

    /// An older copy takes the disk's place.
    fn put_back(&mut self, image: &Self::Image);
}

/// Who is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The person.
    pub contact: IdentityId,
    /// Their device's endpoint.
    pub endpoint: EndpointId,
}

/// What a meeting starts with, and hears of anew when it changes.
#[derive(Debug, Clone)]
pub struct Audience {
    /// What the contact may have.
    pub clearances: Vec<(Clearance, SpaceKind)>,
    /// Spaces found common with this device last time.
    pub agreed: BTreeSet<SpaceId>,
    /// Our count of changes.
    pub rev: u64,
    /// Theirs that we know.
    pub seen_rev: u64,
    /// What waits for them.
    pub offers: Vec<OfferFrame>,
}

/// What became of a batch.
#[derive(Debug)]
pub struct Taken {
    /// Of each job, in order.
    pub results: Vec<Stored>,
    /// What contacts may have has changed.
    pub audience: bool,
}

/// What became of a job.
#[derive(Debug)]
pub enum Stored {
    /// Of an import, a fork's proof or a body.
    Feed {
        /// The space.
        space: SpaceId,
        /// The feed.
        device: DeviceId,
        /// As the session counts them; 0 where it was no import.
        bytes: usize,
        /// Why it wasn't kept.
        refused: Option<Reject>,
        /// First new entry and how many.
        new: Option<(u64, u64)>,
        /// Feeds that a revocation among them cut.
        ended: Vec<DeviceId>,
    },
    /// Of a comparison.
    Compared {
        /// The space.
        space: SpaceId,
        /// Device and start of the run.
        overlap: (DeviceId, u64),
        /// What it showed.
        result: Comparison,
    },
    /// Offers are kept.
    OffersKept {
        /// The contact's count.
        rev: u64,
    },
    /// Nothing to tell the session.
    Done,
}

/// What a person does.
#[derive(Debug, Clone)]
pub enum Change {
    /// Becomes somebody's contact, with the pair's secret.
    Befriend {
        /// Who.
        person: Box<Person>,
        /// Their device.
        endpoint: EndpointId,
        /// The pair's.
        secret: [u8; 32],
    },
    /// Forgets a contact.
    Forget(IdentityId),
    /// Makes a forum.
    Found {
        /// Its name.
        name: String,
        /// Makes its id.
        salt: [u8; 32],
    },
    /// Offers a space to a contact.
    Offer {
        /// Which.
        space: SpaceId,
        /// To whom.
        to: IdentityId,
    },
    /// Takes an offer of this space, if one waits.
    Accept(SpaceId),
    /// Leaves a space.
    Leave(SpaceId),
    /// Excludes a contact from a space, or no longer.
    Exclude {
        /// Which.
        space: SpaceId,
        /// Whom.
        contact: IdentityId,
        /// From now on.
        excluded: bool,
    },
    /// Writes an entry.
    Write {
        /// Where.
        space: SpaceId,
        /// What.
        words: Words,
    },
}

/// What is written.
#[derive(Debug, Clone)]
pub enum Words {
    /// Something new, as fits the space: a thread, an article or a message.
    Post(String),
    /// An answer to a thread.
    Reply(EntryId, String),
    /// Takes back an own entry.
    Retract(EntryId),
    /// The end of a device, as encoded.
    Revocation(Vec<u8>),
}

impl Words {
    /// The body that says this in a space of this kind; `None` where nothing does.
    #[must_use]
    pub fn body(&self, kind: SpaceKind, now: Millis, key: &DeviceKey) -> Option<Body<'_>> {
        let title = "Something";
        Some(match (self, kind) {
            (Self::Post(text), SpaceKind::Conversation) => Body::Message {
                text,
                parent: None,
                salt: None,
            },
            (Self::Post(text), SpaceKind::Blog) => {
                let quotable = Quotable {
                    title,
                    text,
                    tags: Vec::new(),
                    created: now,
                };
                Body::Article {
                    title,
                    text,
                    tags: Vec::new(),
                    quote: quotable.sign(key),
                }
            }
            (Self::Post(text), _) => Body::Thread { title, text },
            (Self::Reply(root, text), kind) => {
                let answer = Answer {
                    root: *root,
                    text,
                    parent: None,
                };
                if kind == SpaceKind::Blog {
                    Body::Comment(answer)
                } else {
                    Body::Reply(answer)
                }
            }
            (Self::Retract(target), _) => Body::Retract { target: *target },
            (Self::Revocation(bytes), _) => Body::decode(bytes).ok()?,
        })
    }
}

/// What a change came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// Done.
    Done,
    /// A space is held now.
    Holds(SpaceId),
    /// Entries are kept.
    Written {
        /// Their places and ids, in order.
        entries: Vec<(u64, EntryId)>,
        /// Feeds that were cut by it.
        ended: Vec<DeviceId>,
    },
    /// It couldn't be, for a reason of its own; the store is well.
    Refused(String),
}
