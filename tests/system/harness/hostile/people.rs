//! A node with made-up contacts, and what each of them holds.

use std::{net::SocketAddr, path::Path};

use data_encoding::HEXLOWER;
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

use crate::harness::{
    Node,
    made_up::{Creator, Random, encode_run, now, padded},
};

/// Entries of a feed that are signed once.
const RUN_ENTRIES: usize = 256;
/// Who wrote what the node holds at first; nobody's contact.
const WRITER: usize = 9_999_999;

/// A running node that holds a forum, and has contacts.
pub(crate) struct Scene {
    pub(crate) node: Node,
    pub(crate) forum: Forum,
    address: Address,
}

/// What it takes to write in the forum as anybody.
pub(crate) struct Forum {
    creator: Creator,
    descriptor: Descriptor,
    root: EntryId,
}

/// Whom to dial, where, and as whom we are known there.
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

pub(super) fn seed(number: usize, what: u8) -> [u8; 32] {
    let mut seed = [what; 32];
    seed[..8].copy_from_slice(&(number as u64 + 1).to_be_bytes());
    seed
}

impl Address {
    /// Of a node as long as it runs.
    pub(crate) fn of(node: &Node) -> Self {
        let identity = node.id().parse().unwrap();
        let key = std::fs::read(node.data_dir().join("endpoint.key")).unwrap();
        let key = SecretKey::from_bytes(&key.try_into().unwrap());
        let status = node.get("/status");
        let at = status["links"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|link| link["addrs"].as_array().unwrap().clone())
            .find_map(|addr| addr.as_str()?.parse().ok())
            .expect("the node has an address");
        Self {
            id: EndpointId(*key.public().as_bytes()),
            at,
            identity,
        }
    }
}

/// Gives a node that is stopped so many made-up contacts.
pub(crate) fn enlist(node: &Node, contacts: usize) {
    let database = Store::open(&node.data_dir().join("waymeet.redb")).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(put_contacts(&database, contacts));
    database.close();
}

async fn put_contacts(database: &Store, contacts: usize) {
    let rows: Vec<_> = (0..contacts).map(contact).collect();
    let write = database.write(move |txn| {
        for (id, row) in &rows {
            txn.put_contact(id, row)?;
        }
        Ok(())
    });
    write.await.unwrap();
}

impl Scene {
    /// A node that holds `entries` of its own, with so many contacts.
    pub(crate) fn new(contacts: usize, entries: usize) -> Self {
        let mut node = Node::named("Ana");
        let forum = node.new_forum("Crossroads");
        let root = node.new_thread(&forum, "Open", "The first post.");
        node.stop();
        let dir = node.data_dir();
        let creator = Creator::read(&dir);
        let database = Store::open(&dir.join("waymeet.redb")).unwrap();
        let space: SpaceId = forum.parse().unwrap();
        let root: EntryId = root.parse().unwrap();
        let held = database.read().unwrap().space(space).unwrap().unwrap();
        let descriptor = held.descriptor.unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(put_contacts(&database, contacts));
        let forum = Forum {
            creator,
            descriptor,
            root,
        };
        runtime.block_on(forum.fill(&database, WRITER, entries));
        database.close();
        drop(database);
        node.start();
        let address = Address::of(&node);
        Self {
            node,
            forum,
            address,
        }
    }

    pub(crate) fn address(&self) -> Address {
        self.address.clone()
    }

    /// What another process needs to act for its contacts, as words of a command line; they name
    /// the folder with the creator's keys, not the keys.
    pub(crate) fn words(&self) -> Vec<String> {
        let Address { id, at, identity } = &self.address;
        vec![
            self.node.data_dir().to_str().unwrap().to_owned(),
            HEXLOWER.encode(&self.forum.descriptor.encode()),
            self.forum.root.to_string(),
            HEXLOWER.encode(id.as_bytes()),
            at.to_string(),
            identity.to_string(),
        ]
    }
}

/// Reads what [`Scene::words`] gave.
pub(crate) fn from_words(words: &[String]) -> (Forum, Address) {
    let [folder, descriptor, root, id, at, identity] = words else {
        panic!("expected the words of a scene, found {words:?}");
    };
    let bytes = |hex: &str| HEXLOWER.decode(hex.as_bytes()).unwrap();
    let forum = Forum {
        creator: Creator::read(Path::new(folder)),
        descriptor: Descriptor::decode(&bytes(descriptor)).unwrap(),
        root: root.parse().unwrap(),
    };
    let address = Address {
        id: EndpointId(bytes(id).try_into().unwrap()),
        at: at.parse().unwrap(),
        identity: identity.parse().unwrap(),
    };
    (forum, address)
}

impl Forum {
    /// One of the node's contacts, who wrote so many entries.
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
        self.fill(&store, number, entries).await;
        let descriptor = &self.descriptor;
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

    /// Writes a person's feed of replies.
    async fn fill(&self, store: &Store, number: usize, entries: usize) {
        let (space, context) = (
            self.descriptor.id(),
            SpaceContext::described(&self.descriptor),
        );
        let root = self.root;
        let mut random = Random::new(number as u64);
        let name = format!("Contact {number}");
        let genesis = Body::Genesis(Box::new(Genesis {
            certificate: Certificate::sign(&identity(number), &device(number), 1, Role::Main),
            name: &name,
            chain: self.creator.admit(space, identity(number).id()),
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
}

fn identity(number: usize) -> IdentityKey {
    IdentityKey::from_seed(&seed(number, 1))
}

pub(super) fn device(number: usize) -> DeviceKey {
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
