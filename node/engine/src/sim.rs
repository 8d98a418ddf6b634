//! A simulated node on the real store, over a disk that loses power, tears writes and fills up.
//!
//! What a batch of a meeting and a person's wish come to is the engine's own code; the simulator
//! in [`proto::sim`] decides what happens when. Built for tests only (feature `sim`). Enter at
//! [`RealStore`].
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a simulation that goes wrong has found a bug and says so"
)]

#[cfg(test)]
mod tests;

use proto::{
    IdentityId, Millis, SpaceId,
    admission::{Certificate, Chain},
    card::{Card, PairSecret},
    session::Output,
    sim::{Audience, Change, Changed, NodeStore, Peer, Person, Rng, Stored, Taken, Words},
    space::{Descriptor, SpaceKind},
};
use store::{
    Error, Snapshot, Store, Txn,
    sim::{Cut, Disk, Fault, Image, Room},
};

use crate::{
    adding, api,
    files::Keys,
    inner::audience_of,
    intake::{From, Job, JobResult},
    records::{self, OfferState},
    spaces,
};

/// Calls of the disk in a commit, more or less: one of them meets the power cut.
const CALLS_OF_A_COMMIT: u64 = 24;

/// A node on the real store.
pub struct RealStore {
    keys: Keys,
    certificate: Certificate,
    disk: Disk,
    /// `None` only while it is opened anew.
    store: Option<Store>,
    changes: u64,
    full: bool,
    /// The power fails in the next commit.
    doomed: Option<u64>,
}

impl RealStore {
    fn store(&self) -> &Store {
        self.store.as_ref().expect("the store is open")
    }

    fn own(&self) -> IdentityId {
        self.keys.identity.id()
    }

    /// Opens the store anew, as after a start of the program.
    fn open(&mut self) {
        self.store = None;
        match Store::on(&self.disk) {
            Ok(store) => self.store = Some(store),
            Err(error) => panic!("a store can't be opened after a power cut: {error}"),
        }
    }

    /// One commit. Like the writer's, it may be followed by a rest.
    fn run<R>(
        &mut self,
        change: impl FnOnce(&mut Txn<'_>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        self.changes += 1;
        if let Some(seed) = self.doomed.take() {
            let call = self.disk.calls() + Rng::new(seed).below(CALLS_OF_A_COMMIT);
            self.disk.fail(call, Fault::Failing);
            // Also where the commit was durable already, nobody hears of it any more.
            return self.store().run(change).and(Err(Error::Closed));
        }
        let result = self.store().run(change);
        if self.changes.is_multiple_of(256) && !self.full {
            self.store().rest();
        }
        result
    }
}

impl NodeStore for RealStore {
    type Error = Error;
    type View<'v> = Box<Snapshot>;
    type Image = Image;

    const HONOURS_ENDS: bool = true;

    fn new(me: &Person, name: &str, now: Millis) -> Self {
        let keys = Keys {
            identity: me.identity.clone(),
            device: me.device.clone(),
        };
        let mut real = Self {
            keys,
            certificate: me.certificate.clone(),
            disk: Disk::new(),
            store: None,
            changes: 0,
            full: false,
            doomed: None,
        };
        real.open();
        let blog = Descriptor {
            kind: SpaceKind::Blog,
            name: name.to_owned(),
            description: String::new(),
            creator: real.own(),
            onward: true,
            salt: [7; 32],
        };
        let (certificate, name) = (real.certificate.clone(), name.to_owned());
        real.run(|txn| {
            txn.create_space(&spaces::described(&blog, Chain::root(), now))?;
            records::set_own(txn, certificate, &name)
        })
        .expect("a fresh disk works");
        real
    }

    fn view(&self) -> Result<Box<Snapshot>, Error> {
        self.store().read().map(Box::new)
    }

    fn spaces(&self) -> Result<Vec<(SpaceId, SpaceKind)>, Error> {
        let spaces = self.store().read()?.space_facts(self.own())?;
        Ok(spaces.iter().map(|space| (space.id, space.kind)).collect())
    }

    fn audience(&self, peer: &Peer) -> Result<Option<Audience>, Error> {
        let snapshot = self.store().read()?;
        let audience = audience_of(&snapshot, self.own(), peer.contact)?;
        Ok(audience.map(|audience| Audience {
            agreed: audience.agreed_with(peer.endpoint),
            clearances: audience.clearances,
            rev: audience.rev,
            seen_rev: audience.seen_rev,
            offers: audience.offers,
        }))
    }

    fn take(&mut self, peer: &Peer, jobs: Vec<Output>, now: Millis) -> Result<Taken, Error> {
        let from = From {
            contact: peer.contact,
            endpoint: peer.endpoint,
            own: self.own(),
            device: self.keys.device.id(),
            now,
        };
        let jobs: Vec<Job> = jobs.into_iter().filter_map(Job::of).collect();
        let (results, aftermath) = self.run(|txn| from.take_all(txn, jobs))?;
        Ok(Taken {
            results: results.into_iter().map(stored).collect(),
            audience: aftermath.audience || !aftermath.moved.is_empty(),
        })
    }

    fn change(&mut self, change: &Change, now: Millis) -> Result<Changed, Error> {
        let keys = self.keys.clone();
        match self.run(|txn| make(txn, &keys, change, now)) {
            // Refused for a reason of its own: the store is well.
            Err(
                error @ (Error::Refused(_)
                | Error::OwnEntry(_)
                | Error::OwnBody(_)
                | Error::UnknownSpace
                | Error::TooManySpaces { .. }),
            ) => Ok(Changed::Refused(error.to_string())),
            other => other,
        }
    }

    fn power_cut(&mut self, seed: u64) {
        let mut rng = Rng::new(seed);
        let kinds = Cut::ALL;
        let cut = kinds[rng.index(kinds.len())];
        self.doomed = None;
        self.store = None;
        self.disk = Disk::from_image(self.disk.cut(cut, rng.next()));
        self.open();
    }

    fn cut_power_in_next_commit(&mut self, seed: u64) {
        self.doomed = Some(seed);
    }

    fn set_full(&mut self, full: bool) {
        let was = std::mem::replace(&mut self.full, full);
        self.disk
            .set_room(if full { Room::None } else { Room::Enough });
        if was && !full {
            self.open();
        }
    }

    fn image(&self) -> Image {
        self.disk.image()
    }

    fn put_back(&mut self, image: &Image) {
        self.store = None;
        self.doomed = None;
        self.disk = Disk::from_image(image.clone());
        self.open();
    }
}

/// Does what a person wants, in one transaction.
fn make(txn: &mut Txn<'_>, keys: &Keys, change: &Change, now: Millis) -> Result<Changed, Error> {
    let device = keys.device.id();
    match change {
        Change::Befriend {
            person,
            endpoint,
            secret,
        } => {
            let card = Card {
                certificate: person.certificate.clone(),
                name: "a friend".to_owned(),
                endpoint: *endpoint,
                addrs: Vec::new(),
                relay: None,
            };
            adding::befriend(txn, keys, &card, &PairSecret(*secret), now)?;
        }
        Change::Forget(contact) => api::contacts::forget(txn, keys, *contact)?,
        Change::Found { name, salt } => {
            let descriptor = Descriptor {
                kind: SpaceKind::Forum,
                name: name.clone(),
                description: String::new(),
                creator: keys.identity.id(),
                onward: true,
                salt: *salt,
            };
            txn.create_space(&spaces::described(&descriptor, Chain::root(), now))?;
            records::bump_revs(txn)?;
            return Ok(Changed::Holds(descriptor.id()));
        }
        Change::Offer { space, to } => {
            if txn.contact(to)?.is_none() {
                return Ok(Changed::Refused("no contact".to_owned()));
            }
            spaces::offer(txn, keys, *space, *to)?;
        }
        Change::Accept(space) => {
            let offers = txn.offers_in()?;
            let of_space = offers.iter().filter(|(_, row)| {
                let descriptor = Descriptor::decode(&row.descriptor);
                row.state == OfferState::Waiting
                    && descriptor.is_ok_and(|descriptor| descriptor.id() == *space)
            });
            // Their ids are random, whose they are is not.
            let offer = of_space.min_by_key(|(_, row)| row.from);
            let taken = match offer {
                Some((id, _)) => spaces::accept(txn, keys, id, now)?,
                None => None,
            };
            return Ok(match taken {
                Some((space, _)) => Changed::Holds(space),
                None => Changed::Refused("no such offer".to_owned()),
            });
        }
        Change::Leave(space) => spaces::leave(txn, device, *space, now)?,
        Change::Exclude {
            space,
            contact,
            excluded,
        } => {
            txn.exclude(*space, *contact, *excluded)?;
            records::bump_revs(txn)?;
        }
        Change::Write { space, words } => return write(txn, keys, *space, words, now),
    }
    Ok(Changed::Done)
}

fn write(
    txn: &mut Txn<'_>,
    keys: &Keys,
    space: SpaceId,
    words: &Words,
    now: Millis,
) -> Result<Changed, Error> {
    let kind = txn.space(space)?.ok_or(Error::UnknownSpace)?.kind;
    let Some(body) = words.body(kind, now, &keys.device) else {
        return Ok(Changed::Refused("this can't be said".to_owned()));
    };
    let written = spaces::append(txn, keys, space, now, &body)?;
    Ok(Changed::Written {
        entries: written.entries.iter().map(|e| (e.seq, e.id)).collect(),
        ended: Vec::new(),
    })
}

fn stored(result: JobResult) -> Stored {
    match result {
        JobResult::Feed {
            space,
            device,
            bytes,
            refused,
            new,
            ended,
        } => Stored::Feed {
            space,
            device,
            bytes,
            refused,
            new,
            ended,
        },
        JobResult::Compared {
            space,
            overlap,
            result,
        } => Stored::Compared {
            space,
            overlap,
            result,
        },
        JobResult::OffersKept { rev } => Stored::OffersKept { rev },
        JobResult::Done => Stored::Done,
    }
}
