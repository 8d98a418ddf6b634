//! People, their devices, and nodes that exchange entries as meetings do.

use std::{collections::BTreeMap, future::Future};

use proto::{
    DeviceId, EntryId, IdentityId, Millis, SpaceId,
    admission::{Certificate, Chain, Role},
    body::{Answer, Body, Genesis, Quotable, Revocation},
    entry::{Head, Header},
    keys::{DeviceKey, Domain, IdentityKey},
    run::{BodyPart, Item, Run},
    space::{Descriptor, SpaceKind},
    verify::{Outcome, Reject, verify_run},
};
use store::{Appended, Error, ImportError, Imported, SpaceRecord, Store, Txn};

/// A time after the earliest that a clock may show.
pub const T0: u64 = 1_790_000_000_000;

pub fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

/// Runs a change and waits until it is durable.
pub fn write<R: Send + 'static>(
    store: &Store,
    change: impl FnOnce(&mut Txn<'_>) -> Result<R, Error> + Send + 'static,
) -> Result<R, Error> {
    block_on(store.write(change))
}

/// A device of a person.
#[derive(Clone)]
pub struct Device {
    pub identity: IdentityKey,
    pub key: DeviceKey,
    pub certificate: Certificate,
    pub name: String,
}

impl Device {
    /// The `n`th device of the person that grows from `seed`.
    pub fn new(seed: u8, n: u8) -> Self {
        let identity = IdentityKey::from_seed(&[seed; 32]);
        let mut key = [seed; 32];
        key[0] = n + 1;
        key[1] = 0xdd;
        let key = DeviceKey::from_seed(&key);
        let certificate = Certificate::sign(&identity, &key, u32::from(n), Role::Main);
        Self {
            identity,
            key,
            certificate,
            name: format!("person {seed}"),
        }
    }

    pub fn id(&self) -> DeviceId {
        self.key.id()
    }

    pub fn person(&self) -> IdentityId {
        self.identity.id()
    }

    pub fn genesis(&self, chain: &Chain) -> Vec<u8> {
        Body::Genesis(Box::new(Genesis {
            certificate: self.certificate.clone(),
            name: &self.name,
            chain: chain.clone(),
        }))
        .encode()
    }
}

/// A forum or a blog and who was let in.
#[derive(Clone)]
pub struct Place {
    pub descriptor: Descriptor,
    pub chains: BTreeMap<IdentityId, Chain>,
}

impl Place {
    /// The first person makes it and lets the others in.
    pub fn new(kind: SpaceKind, name: &str, people: &[&Device]) -> Self {
        let creator = people[0];
        let descriptor = Descriptor {
            kind,
            name: name.to_owned(),
            description: String::new(),
            creator: creator.person(),
            onward: kind != SpaceKind::Circle,
            salt: [7; 32],
        };
        let id = descriptor.id();
        let mut chains = BTreeMap::from([(creator.person(), Chain::root())]);
        for other in people.iter().skip(1) {
            let chain = Chain::root()
                .admit(id, &creator.certificate, &creator.key, other.person())
                .unwrap();
            chains.entry(other.person()).or_insert(chain);
        }
        Self { descriptor, chains }
    }

    pub fn id(&self) -> SpaceId {
        self.descriptor.id()
    }

    pub fn record(&self) -> SpaceRecord {
        SpaceRecord {
            id: self.id(),
            kind: self.descriptor.kind,
            descriptor: Some(self.descriptor.clone()),
            pair: None,
            own_chain: Chain::root(),
            joined: Millis(T0),
        }
    }

    /// An empty node that holds it.
    pub fn node(&self) -> Store {
        let store = Store::in_memory().unwrap();
        self.join(&store);
        store
    }

    pub fn join(&self, store: &Store) {
        let record = self.record();
        write(store, move |txn| txn.create_space(&record)).unwrap();
    }
}

/// Writes an entry at a node.
pub fn post(store: &Store, place: &Place, device: &Device, at: u64, body: &Body<'_>) -> Appended {
    try_post(store, place, device, at, body).unwrap()
}

pub fn try_post(
    store: &Store,
    place: &Place,
    device: &Device,
    at: u64,
    body: &Body<'_>,
) -> Result<Appended, Error> {
    let (space, device) = (place.id(), device.clone());
    let chain = place
        .chains
        .get(&device.person())
        .cloned()
        .unwrap_or_default();
    let body = body.encode();
    write(store, move |txn| {
        let genesis = device.genesis(&chain);
        let body = Body::decode(&body)?;
        txn.append(space, &device.key, Millis(at), &body, |_| Ok(genesis))
    })
}

pub fn thread<'a>(title: &'a str, text: &'a str) -> Body<'a> {
    Body::Thread { title, text }
}

pub fn reply(root: EntryId, text: &str, parent: Option<EntryId>) -> Body<'_> {
    Body::Reply(Answer { root, text, parent })
}

pub fn edit(target: EntryId, text: &str) -> Body<'_> {
    Body::Edit {
        target,
        title: None,
        text: Some(text),
        tags: None,
        quote: None,
        salt: None,
    }
}

pub fn react(target: EntryId, emoji: &str, on: bool) -> Body<'_> {
    Body::Reaction {
        target,
        emoji,
        on,
        salt: [3; 8],
    }
}

pub fn article<'a>(device: &Device, title: &'a str, text: &'a str, at: u64) -> Body<'a> {
    let quotable = Quotable {
        title,
        text,
        tags: vec!["tag"],
        created: Millis(at),
    };
    let quote = quotable.sign(&device.key);
    Body::Article {
        title,
        text,
        tags: vec!["tag"],
        quote,
    }
}

pub fn revocation(
    owner: &Device,
    space: SpaceId,
    device: DeviceId,
    seq: u64,
    id: EntryId,
) -> Body<'static> {
    Body::Revocation(Box::new(Revocation::sign(
        &owner.identity,
        space,
        device,
        seq,
        id,
    )))
}

/// A feed of replies, as runs: quicker than posting each.
pub fn long_feed(place: &Place, device: &Device, root: EntryId, entries: usize) -> Vec<Vec<u8>> {
    let space = place.id();
    let chain = place
        .chains
        .get(&device.person())
        .cloned()
        .unwrap_or_default();
    let mut bodies = vec![device.genesis(&chain)];
    bodies.extend((1..entries).map(|n| reply(root, &format!("reply {n}"), None).encode()));
    feed_of(space, device, &bodies)
}

/// A feed of any bodies, as runs.
pub fn feed_of(space: SpaceId, device: &Device, bodies: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let (mut head, mut runs, mut run) = (Head::EMPTY, Vec::new(), Run::new(0, EntryId([0; 32])));
    for (n, body) in bodies.iter().enumerate() {
        let header = Header {
            space,
            device: device.id(),
            seq: head.next,
            backlink: head.top,
            created: Millis(T0 + n as u64),
            body_len: body.len() as u32,
            body_hash: *blake3::hash(body).as_bytes(),
        };
        let (id, signed) = (header.id(), head.checkpoint_next(header.body_len));
        run.items.push(Item {
            created: header.created,
            body: BodyPart::Present(body),
        });
        head = head.after(id, header.body_len);
        if signed || n + 1 == bodies.len() {
            let signature = device.key.sign(Domain::Entry, &id.0);
            run.signatures.push((run.items.len() as u32 - 1, signature));
            runs.push(run.encode());
            run = Run::new(head.next, head.top);
        }
    }
    runs
}

/// Takes many runs in one job.
pub fn take_all(store: &Store, space: SpaceId, device: DeviceId, runs: Vec<Vec<u8>>, now: u64) {
    write(store, move |txn| {
        let context = txn.context(space)?.unwrap();
        for run in runs {
            let facts = txn.facts(space, device)?;
            match verify_run(&context, &facts, run).unwrap() {
                Outcome::Continues(run) => drop(txn.import(space, run, Millis(now)).unwrap()),
                other => panic!("{other:?}"),
            }
        }
        Ok(())
    })
    .unwrap();
}

/// Waits until a condition holds.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "never: {what}");
        std::thread::yield_now();
    }
}

/// What the doctor finds.
pub fn findings(store: &Store) -> Vec<String> {
    let mut found = Vec::new();
    let view = store.read().unwrap();
    let sums = view.check_up(&mut |finding| found.push(finding.to_string()), &mut |_| {
        true
    });
    assert_eq!(sums.unwrap().findings, found.len() as u64);
    found
}

/// The doctor finds nothing.
#[track_caller]
pub fn healthy(store: &Store) {
    assert_eq!(findings(store), [""; 0]);
}

/// What a run turned into at a node.
#[derive(Debug)]
pub enum Took {
    Imported(Imported),
    /// Not followed any further here.
    Compared,
}

/// Takes a run in as a meeting does.
pub fn take(
    store: &Store,
    space: SpaceId,
    device: DeviceId,
    run: &[u8],
    now: u64,
) -> Result<Took, Reject> {
    let snapshot = store.read().unwrap();
    let context = snapshot.context(space).unwrap().unwrap();
    let facts = snapshot.facts(space, device).unwrap();
    drop(snapshot);
    match verify_run(&context, &facts, run.to_vec())? {
        Outcome::Continues(run) => {
            settle(write(store, move |txn| Ok(txn.import(space, run, Millis(now)))).unwrap())
                .map(Took::Imported)
        }
        Outcome::ContinuesTail(tail) => settle(
            write(store, move |txn| {
                Ok(txn.import_tail(space, tail, Millis(now)))
            })
            .unwrap(),
        )
        .map(Took::Imported),
        Outcome::Overlaps(overlap) => {
            settle(write(store, move |txn| Ok(txn.compare(space, &overlap))).unwrap())
                .map(|_| Took::Compared)
        }
    }
}

/// A peer's fault, or what was kept; our own faults end the test.
pub fn settle<T>(result: Result<T, ImportError>) -> Result<T, Reject> {
    match result {
        Ok(value) => Ok(value),
        Err(ImportError::Reject(reject)) => Err(reject),
        Err(ImportError::Store(error)) => panic!("{error}"),
    }
}

/// All runs that a node serves of a feed.
pub fn runs(store: &Store, space: SpaceId, device: DeviceId) -> Vec<Vec<u8>> {
    let snapshot = store.read().unwrap();
    let mut runs = Vec::new();
    let mut from = 0;
    while let Some(run) = snapshot.run(space, device, from, 1, 1).unwrap() {
        assert!(run.end > from);
        from = run.end;
        runs.push(run.bytes);
    }
    runs
}

/// One node takes everything that another has, feed by feed.
pub fn pull(to: &Store, from: &Store, space: SpaceId, now: u64) {
    let frontiers = from
        .read()
        .unwrap()
        .frontiers(space, &proto::merkle::Prefix::root(), None, usize::MAX)
        .unwrap();
    for frontier in frontiers {
        let device = frontier.device;
        let snapshot = from.read().unwrap();
        let base = to
            .read()
            .unwrap()
            .frontier(space, device)
            .unwrap()
            .map_or(0, |own| own.base);
        let mut next = base;
        while let Some(run) = snapshot.run(space, device, next, 1, 1).unwrap() {
            next = run.end;
            let _ = take(to, space, device, &run.bytes, now);
            if let Some(proof) = snapshot.fork_proof(space, device).unwrap() {
                let _ = settle(
                    write(to, move |txn| Ok(txn.import_fork(space, device, &proof))).unwrap(),
                );
            }
        }
        if let Some(body) = snapshot.revocation(space, device).unwrap() {
            let import = move |txn: &mut Txn<'_>| Ok(txn.import_revocation(space, device, &body));
            let _ = settle(write(to, import).unwrap());
        }
    }
}
