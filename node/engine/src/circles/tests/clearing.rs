//! Who may have a circle follows at once from whatever came, and from nothing else.

use proto::{
    EndpointId, Millis,
    admission::{Certificate, Role},
    card::PairSecret,
    keys::{DeviceKey, IdentityKey},
    limits::{CHECKPOINT_BYTES, CHECKPOINT_ENTRIES},
    run::{BodyPart, Run},
    session::EndProof,
    space::{Descriptor, SpaceKind},
    verify::{Outcome, verify_run},
};
use store::{Store, sim::Disk};

use super::super::*;
use crate::{
    inner::audience_of,
    intake::{Aftermath, From, Job},
    own_feed, records, spaces,
};

const NOW: Millis = Millis(1_790_000_000_000);

/// Somebody's node, as far as it stores.
struct Person {
    keys: Keys,
    store: Store,
}

fn keys(seed: u8) -> Keys {
    Keys {
        identity: IdentityKey::from_seed(&[seed; 32]),
        device: DeviceKey::from_seed(&[seed + 100; 32]),
    }
}

fn certificate(keys: &Keys) -> Certificate {
    Certificate::sign(&keys.identity, &keys.device, 1, Role::Main)
}

fn circle() -> Descriptor {
    Descriptor {
        kind: SpaceKind::Circle,
        name: "Quiet".into(),
        description: String::new(),
        creator: keys(ANA).identity.id(),
        onward: false,
        salt: [3; 32],
    }
}

const ANA: u8 = 1;
const BEN: u8 = 2;
const CEM: u8 = 3;

impl Person {
    /// Is in Ana's circle, and has Ana and Cem as contacts.
    fn new(seed: u8) -> Self {
        let (own, ana) = (keys(seed), keys(ANA));
        let (space, who) = (circle().id(), own.identity.id());
        let root = proto::admission::Chain::root();
        let chain = if seed == ANA {
            root
        } else {
            root.admit(space, &certificate(&ana), &ana.device, who)
                .unwrap()
        };
        let person = Self {
            keys: own,
            store: Store::on(&Disk::new()).unwrap(),
        };
        person.write(|txn, own| {
            records::set_own(txn, certificate(own), "Somebody")?;
            for contact in [ANA, CEM].into_iter().filter(|other| *other != seed) {
                let mut row = records::new_contact("A friend", NOW);
                row.state = records::ContactState::Ready;
                row.pair_secret = Some(PairSecret([contact; 32]));
                txn.put_contact(&keys(contact).identity.id(), &row)?;
            }
            txn.create_space(&spaces::described(&circle(), chain.clone(), NOW))?;
            begin(txn, own, space, NOW).map(drop)
        });
        person
    }

    fn write<T>(&self, change: impl Fn(&mut Txn<'_>, &Keys) -> Result<T, Error>) -> T {
        self.store.run(|txn| change(txn, &self.keys)).unwrap()
    }

    fn id(&self) -> IdentityId {
        self.keys.identity.id()
    }

    /// What they wrote, from this place on.
    fn wrote(&self, from: u64) -> Vec<u8> {
        let (entries, bytes) = (CHECKPOINT_ENTRIES as usize, CHECKPOINT_BYTES as usize);
        let snapshot = self.store.read().unwrap();
        let device = self.keys.device.id();
        let run = snapshot.run(circle().id(), device, from, entries, bytes);
        run.unwrap().unwrap().bytes
    }

    fn takes(&self, job: Job) -> Aftermath {
        let from = From {
            contact: keys(ANA).identity.id(),
            endpoint: EndpointId([9; 32]),
            own: self.id(),
            device: self.keys.device.id(),
            now: NOW,
        };
        let taken = self.store.run(|txn| {
            let taken = from.take_all(txn, vec![job])?;
            txn.settle()?;
            Ok(taken)
        });
        taken.unwrap().1
    }

    /// Takes what somebody wrote, from this place on.
    fn hears(&self, other: &Self, from: u64) -> Aftermath {
        self.hears_bytes(other, other.wrote(from))
    }

    fn hears_bytes(&self, other: &Self, bytes: Vec<u8>) -> Aftermath {
        let space = circle().id();
        let snapshot = self.store.read().unwrap();
        let context = snapshot.context(space).unwrap().unwrap();
        let facts = snapshot.facts(space, other.keys.device.id()).unwrap();
        let Ok(Outcome::Continues(run)) = verify_run(&context, &facts, bytes) else {
            panic!("it continues what is held");
        };
        self.takes(Job::Import { space, run })
    }

    fn rev(&self, who: IdentityId) -> u64 {
        let snapshot = self.store.read().unwrap();
        snapshot.contact(&who).unwrap().unwrap().my_rev
    }

    fn gives(&self, who: IdentityId) -> bool {
        let snapshot = self.store.read().unwrap();
        let audience = audience_of(&snapshot, self.id(), who).unwrap().unwrap();
        let mut cleared = audience.clearances.iter();
        cleared.any(|(clearance, _)| clearance.space() == circle().id())
    }
}

fn three() -> (Person, Person, Person) {
    let (ana, ben, cem) = (Person::new(ANA), Person::new(BEN), Person::new(CEM));
    ana.hears(&cem, 0);
    ben.hears(&ana, 0);
    (ana, ben, cem)
}

fn removes(ana: &Person, cem: &Person) -> Vec<u8> {
    ana.write(|txn, own| remove(txn, own, circle().id(), cem.id(), NOW).map(drop));
    let run = ana.wrote(1);
    let run = Run::decode(&run).unwrap();
    let BodyPart::Present(body) = run.items[0].body else {
        panic!("she holds what she wrote");
    };
    body.to_vec()
}

/// A member could make every running meeting begin anew each second, and so keep everybody from
/// getting anything, also from people who aren't in the circle.
#[test]
fn only_contacts_for_whom_something_changed_hear_of_it() {
    let (ana, ben, cem) = three();
    let id = circle().id();
    assert!(!ben.gives(cem.id()), "nothing of his is held");
    let came = ben.hears(&cem, 0);
    assert_eq!(came.moved, BTreeSet::from([cem.id()]));
    assert!(ben.gives(cem.id()) && ben.gives(ana.id()));
    let revs = || (ben.rev(ana.id()), ben.rev(cem.id()));
    let before = revs();
    for thread in [None, Some(EntryId([1; 32])), None] {
        cem.write(|txn, own| write(txn, own, id, NOW, None, Action::Close(thread)).map(drop));
    }
    let noise = ben.hears(&cem, 1);
    assert!(noise.moved.is_empty() && !noise.audience);
    assert_eq!(revs(), before);
    cem.write(|txn, own| write(txn, own, id, NOW, None, Action::Leave).map(drop));
    let left = ben.hears(&cem, 4);
    assert_eq!(left.moved, BTreeSet::from([cem.id()]));
    assert!(!left.audience && !ben.gives(cem.id()));
    assert_eq!(revs(), (before.0, before.1 + 1));
}

#[test]
fn a_removal_that_is_told_again_changes_nothing() {
    let (ana, ben, cem) = three();
    ben.hears(&cem, 0);
    let body = removes(&ana, &cem);
    let end = || Job::End {
        space: circle().id(),
        device: cem.keys.device.id(),
        proof: EndProof::Revocation(body.clone()),
    };
    assert_eq!(ben.takes(end()).moved, BTreeSet::from([cem.id()]));
    assert!(!ben.gives(cem.id()));
    let before = (ben.rev(ana.id()), ben.rev(cem.id()));
    let again = ben.takes(end());
    assert!(again.moved.is_empty() && !again.audience);
    assert!(ben.hears(&ana, 1).moved.is_empty(), "nor in its place");
    assert_eq!((ben.rev(ana.id()), ben.rev(cem.id())), before);
}

/// A removal whose body was missing withdraws the permission when it is filled in.
#[test]
fn a_removal_that_is_filled_in_ends_what_the_removed_may_have() {
    let (ana, ben, cem) = three();
    ben.hears(&cem, 0);
    let body = removes(&ana, &cem);
    let bytes = ana.wrote(1);
    let mut run = Run::decode(&bytes).unwrap();
    let (len, hash) = (run.items[0].body.len(), run.items[0].body.hash());
    run.items[0].body = BodyPart::Absent { len, hash };
    let missing = ben.hears_bytes(&ana, run.encode());
    assert!(missing.moved.is_empty() && ben.gives(cem.id()));
    let rev = ben.rev(cem.id());
    let filled = ben.takes(Job::Fill {
        space: circle().id(),
        device: ana.keys.device.id(),
        seq: 1,
        body,
    });
    assert_eq!(filled.moved, BTreeSet::from([cem.id()]));
    assert!(!ben.gives(cem.id()) && ben.gives(ana.id()));
    assert_eq!(ben.rev(cem.id()), rev + 1);
}

/// Who left a circle and holds it again knows whom they removed before anybody tells them.
#[test]
fn what_was_decreed_is_known_after_coming_back() {
    let (ana, _, cem) = three();
    removes(&ana, &cem);
    let id = circle().id();
    ana.write(|txn, own| spaces::leave(txn, own.device.id(), id, NOW));
    ana.write(|txn, own| {
        let chain = proto::admission::Chain::root();
        txn.create_space(&spaces::described(&circle(), chain, NOW))?;
        own_feed::restore(txn, own.device.id(), id, NOW)
    });
    let government = governed(&ana.store.read().unwrap(), id).unwrap();
    assert!(government.is_removed(cem.id()) && !ana.gives(cem.id()));
}
