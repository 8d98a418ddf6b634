//! A node with made-up contacts, and what each of them holds.

use std::net::SocketAddr;

use iroh::SecretKey;
use links::EndpointSecret;
use proto::{
    EndpointId, EntryId, IdentityId, Millis, SpaceId,
    admission::{Certificate, Role},
    body::{Answer, Body, Genesis},
    card::PairSecret,
    keys::{DeviceKey, IdentityKey},
    space::{Descriptor, SpaceContext, SpaceKind},
    verify::{FeedFacts, Outcome, verify_run},
};
use store::{Contact, ContactDevice, ContactState, SpaceRecord, Store, Trust};

use crate::{
    args::Random,
    filled::{Creator, encode_run, now, padded},
    harness::Node,
};

/// Entries of a feed that are signed once.
const RUN_ENTRIES: usize = 256;

/// A running node that holds a forum, and its contacts' keys.
pub(crate) struct Scene {
    pub(crate) node: Node,
    creator: Creator,
    descriptor: Descriptor,
    root: EntryId,
    address: Address,
}

/// Whom to dial, and as whom we are known there.
#[derive(Clone)]
pub(crate) struct Address {
    pub(crate) id: EndpointId,
    pub(crate) at: SocketAddr,
    pub(crate) identity: IdentityId,
}

/// A contact of the node, with what it holds of the forum.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) endpoint: [u8; 32],
    pub(crate) device: proto::DeviceId,
    pub(crate) space: SpaceId,
    pub(crate) kind: SpaceKind,
    pub(crate) creator: IdentityId,
    pub(crate) secret: PairSecret,
    pub(crate) entries: u64,
    pub(crate) held: Store,
}

fn seed(number: usize, what: u8) -> [u8; 32] {
    let mut seed = [what; 32];
    seed[..8].copy_from_slice(&(number as u64 + 1).to_be_bytes());
    seed
}

impl Scene {
    /// A node that holds `entries` of its own, with so many contacts.
    pub(crate) fn new(contacts: usize, entries: usize) -> Self {
        let mut node = Node::named("Ana");
        let forum = node.new_forum("Crossroads");
        let root = node.new_thread(&forum, "Open", "The first post.");
        let identity: IdentityId = node.id().parse().unwrap();
        node.stop();
        let dir = node.data_dir();
        let creator = Creator::read(&dir);
        let database = Store::open(&dir.join("waymeet.redb")).unwrap();
        let space: SpaceId = forum.parse().unwrap();
        let root: EntryId = root.parse().unwrap();
        let held = database.read().unwrap().space(space).unwrap().unwrap();
        let descriptor = held.descriptor.unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let rows: Vec<_> = (0..contacts).map(contact).collect();
        let write = database.write(move |txn| {
            for (id, row) in &rows {
                txn.put_contact(id, row)?;
            }
            Ok(())
        });
        runtime.block_on(write).unwrap();
        runtime.block_on(fill(
            &database,
            &creator,
            &descriptor,
            root,
            9_999_999,
            entries,
        ));
        database.close();
        drop(database);
        let key: [u8; 32] = std::fs::read(dir.join("endpoint.key"))
            .unwrap()
            .try_into()
            .unwrap();
        let id = EndpointId(*SecretKey::from_bytes(&key).public().as_bytes());
        node.start();
        let status = node.get("/status");
        let at = status["links"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|link| link["addrs"].as_array().unwrap().clone())
            .find_map(|addr| addr.as_str()?.parse().ok())
            .expect("the node has an address");
        let address = Address { id, at, identity };
        Self {
            node,
            creator,
            descriptor,
            root,
            address,
        }
    }

    pub(crate) fn address(&self) -> Address {
        self.address.clone()
    }

    /// One of the contacts, who wrote so many entries.
    pub(crate) async fn person(&self, number: usize, entries: usize) -> Person {
        let store = Store::in_memory().unwrap();
        let record = SpaceRecord {
            id: self.descriptor.id(),
            kind: self.descriptor.kind,
            descriptor: Some(self.descriptor.clone()),
            pair: None,
            own_chain: self
                .creator
                .admit(self.descriptor.id(), identity(number).id()),
            joined: now(),
        };
        store
            .write(move |txn| txn.create_space(&record))
            .await
            .unwrap();
        let (root, descriptor) = (self.root, &self.descriptor);
        fill(&store, &self.creator, descriptor, root, number, entries).await;
        Person {
            endpoint: seed(number, 3),
            device: device(number).id(),
            space: descriptor.id(),
            kind: descriptor.kind,
            creator: descriptor.creator,
            secret: PairSecret(seed(number, 4)),
            entries: entries as u64 + 1,
            held: store,
        }
    }
}

fn identity(number: usize) -> IdentityKey {
    IdentityKey::from_seed(&seed(number, 1))
}

fn device(number: usize) -> DeviceKey {
    DeviceKey::from_seed(&seed(number, 2))
}

fn contact(number: usize) -> (IdentityId, Contact) {
    let certificate = Certificate::sign(&identity(number), &device(number), 1, Role::Main);
    let device_row = ContactDevice {
        endpoint: EndpointSecret::from_bytes(seed(number, 3)).id(),
        addrs: Vec::new(),
        relay: None,
        certificate: certificate.encode().to_vec(),
        agreed: std::collections::BTreeSet::new(),
    };
    let row = Contact {
        name: format!("Contact {number}"),
        nickname: None,
        trust: Trust::Unverified,
        state: ContactState::Ready,
        pair_secret: Some(PairSecret(seed(number, 4))),
        added: now(),
        last_met: None,
        last_link: None,
        note: String::new(),
        link: None,
        my_rev: 1,
        seen_rev: 0,
        acked_rev: 0,
        devices: [(device(number).id(), device_row)].into(),
    };
    (identity(number).id(), row)
}

/// Writes a person's feed of replies.
async fn fill(
    store: &Store,
    creator: &Creator,
    descriptor: &Descriptor,
    root: EntryId,
    number: usize,
    entries: usize,
) {
    let (space, context) = (descriptor.id(), SpaceContext::described(descriptor));
    let mut random = Random::new(number as u64);
    let name = format!("Contact {number}");
    let genesis = Body::Genesis(Box::new(Genesis {
        certificate: Certificate::sign(&identity(number), &device(number), 1, Role::Main),
        name: &name,
        chain: creator.admit(space, identity(number).id()),
    }));
    let key = device(number);
    let mut facts = FeedFacts::unknown(key.id());
    let mut waiting = vec![(now(), genesis.encode())];
    let mut runs = Vec::new();
    for entry in 0..entries {
        let body = padded(&mut random, |text| {
            let parent = None;
            Body::Reply(Answer { root, text, parent }).encode()
        });
        waiting.push((Millis(now().0), body));
        let last = entry + 1 == entries;
        if waiting.len() == RUN_ENTRIES || last {
            let bytes = encode_run(space, &key, facts.head, &waiting);
            waiting.clear();
            let Ok(Outcome::Continues(run)) = verify_run(&context, &facts, bytes) else {
                panic!("an invented feed is refused");
            };
            facts.head = run.head();
            runs.push(run);
        }
        if runs.len() == 16 || last {
            let batch = std::mem::take(&mut runs);
            let stored = store.write(move |txn| {
                for run in batch {
                    assert!(
                        txn.import(space, run, now()).is_ok(),
                        "an invented run is refused"
                    );
                }
                Ok(())
            });
            stored.await.unwrap();
        }
    }
}
