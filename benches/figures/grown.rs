//! Two equal stores of many spaces or many feeds by invented people, and new entries in the first.
//!
//! The entries are short: what is measured here follows feeds and spaces, not texts.

use std::path::{Path, PathBuf};

use proto::{
    DeviceId, EntryId, Millis, SpaceId,
    admission::{Certificate, Chain, Role},
    author,
    body::{Answer, Body, Genesis},
    keys::{DeviceKey, IdentityKey},
    limits::ADMISSIONS_PER_INVITER_MAX,
    space::{Descriptor, SpaceContext, SpaceKind},
    verify::{FeedFacts, Outcome, VerifiedRun, verify_run},
};
use store::{SpaceRecord, Store};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::harness::made_up::encode_run;

/// Between two entries of a feed.
const STEP_MS: u64 = 60_000;
const BEGINNING: Millis = Millis(1_790_000_000_000);
/// When everything is imported: after all that was written.
pub(crate) const NOW: Millis = Millis(1_798_000_000_000);
/// Runs of one commit.
const RUNS_PER_COMMIT: usize = 200;

/// What is grown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) spaces: usize,
    /// In each space.
    pub(crate) feeds: usize,
    /// In each feed, its first one included; at most one checkpoint's worth.
    pub(crate) entries: usize,
}

/// A feed's key and how far it is.
struct Feed {
    space: usize,
    key: DeviceKey,
    facts: FeedFacts,
}

struct Space {
    context: SpaceContext,
    record: SpaceRecord,
    root: EntryId,
}

pub(crate) struct Grown {
    pub(crate) stores: [Store; 2],
    pub(crate) runtime: Runtime,
    spaces: Vec<Space>,
    feeds: Vec<Feed>,
    _folder: TempDir,
}

fn seed(what: u8, space: usize, number: usize) -> [u8; 32] {
    let mut seed = [what; 32];
    seed[..8].copy_from_slice(&(space as u64).to_be_bytes());
    seed[8..16].copy_from_slice(&(number as u64).to_be_bytes());
    seed
}

/// One invented person.
struct Person {
    identity: IdentityKey,
    device: DeviceKey,
    certificate: Certificate,
}

impl Person {
    fn new(space: usize, number: usize) -> Self {
        let identity = IdentityKey::from_seed(&seed(1, space, number));
        let device = DeviceKey::from_seed(&seed(2, space, number));
        let certificate = Certificate::sign(&identity, &device, 1, Role::Main);
        Self {
            identity,
            device,
            certificate,
        }
    }
}

impl Grown {
    pub(crate) fn new(shape: Shape) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let paths = ["one.redb", "other.redb"].map(|name| folder.path().join(name));
        let [one, other] = &paths;
        let store = Store::open(one).unwrap();
        let (mut spaces, mut feeds) = (Vec::new(), Vec::new());
        let mut waiting = Vec::new();
        for number in 0..shape.spaces {
            spaces.push(space(number, shape.feeds));
            let record = spaces[number].record.clone();
            let made = store.write(move |txn| txn.create_space(&record));
            runtime.block_on(made).unwrap();
            let made = fill(&mut spaces[number], number, shape);
            for (feed, run) in made {
                feeds.push(feed);
                waiting.push((spaces[number].context.id, run));
                if waiting.len() == RUNS_PER_COMMIT {
                    import(&runtime, &store, std::mem::take(&mut waiting));
                }
            }
        }
        import(&runtime, &store, waiting);
        store.close();
        drop(store);
        std::fs::copy(one, other).unwrap();
        let stores = paths.map(|path: PathBuf| Store::open(Path::new(&path)).unwrap());
        Self {
            stores,
            runtime,
            spaces,
            feeds,
            _folder: folder,
        }
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = SpaceId> + '_ {
        self.spaces.iter().map(|space| space.context.id)
    }

    /// The device of the first feed.
    pub(crate) fn device(&self) -> DeviceId {
        self.feeds[0].key.id()
    }

    /// One new entry in each of so many feeds at the first store, spread over all feeds.
    pub(crate) fn write(&mut self, feeds: usize) {
        let step = (self.feeds.len() / feeds).max(1);
        let mut runs = Vec::new();
        for at in (0..self.feeds.len()).step_by(step).take(feeds) {
            let feed = &mut self.feeds[at];
            let space = &self.spaces[feed.space];
            let head = feed.facts.head;
            let body = Body::Reply(Answer {
                root: space.root,
                text: "What is new?",
                parent: None,
            });
            let created = Millis(BEGINNING.0 + head.next * STEP_MS);
            let run = author::append(&feed.key, space.context.id, &head, created, &body);
            feed.facts.head = run.head();
            runs.push((space.context.id, run));
        }
        import(&self.runtime, &self.stores[0], runs);
    }
}

fn space(number: usize, feeds: usize) -> Space {
    let creator = Person::new(number, 0);
    let descriptor = Descriptor {
        kind: SpaceKind::Forum,
        name: format!("Forum {number} of {feeds}"),
        description: String::new(),
        creator: creator.identity.id(),
        onward: true,
        salt: seed(3, number, 0),
    };
    let context = SpaceContext::described(&descriptor);
    let record = SpaceRecord {
        id: context.id,
        kind: SpaceKind::Forum,
        descriptor: Some(descriptor),
        pair: None,
        own_chain: Chain::root(),
        joined: BEGINNING,
    };
    Space {
        context,
        record,
        root: EntryId([0; 32]),
    }
}

/// The feeds of a space: the creator's, and those of the people whom the creator let in, and, where
/// these are too many, of whom these let in.
fn fill(space: &mut Space, number: usize, shape: Shape) -> Vec<(Feed, VerifiedRun)> {
    let id = space.context.id;
    let creator = Person::new(number, 0);
    let inviters_wanted = shape.feeds / ADMISSIONS_PER_INVITER_MAX;
    let inviters: Vec<(Person, Chain)> = (1..=inviters_wanted)
        .map(|at| {
            let inviter = Person::new(number, shape.feeds + at);
            let chain = Chain::root()
                .admit(
                    id,
                    &creator.certificate,
                    &creator.device,
                    inviter.identity.id(),
                )
                .unwrap();
            (inviter, chain)
        })
        .collect();
    let mut made = Vec::new();
    for at in 0..shape.feeds {
        let person = Person::new(number, at);
        let invitee = person.identity.id();
        let chain = match (at, at % (inviters.len() + 1)) {
            (0, _) => Ok(Chain::root()),
            (_, 0) => Chain::root().admit(id, &creator.certificate, &creator.device, invitee),
            (_, by) => {
                let (inviter, chain) = &inviters[by - 1];
                chain.admit(id, &inviter.certificate, &inviter.device, invitee)
            }
        };
        made.push(feed(space, number, person, &chain.unwrap(), shape.entries));
    }
    made
}

fn feed(
    space: &mut Space,
    number: usize,
    person: Person,
    chain: &Chain,
    entries: usize,
) -> (Feed, VerifiedRun) {
    let is_first = chain.admissions().is_empty();
    let genesis = Body::Genesis(Box::new(Genesis {
        certificate: person.certificate,
        name: "Somebody",
        chain: chain.clone(),
    }));
    let mut bodies = vec![genesis.encode()];
    for at in 1..entries {
        let title = format!("Thread of forum {number}");
        let text = format!("Entry {at}.");
        let body = if is_first && at == 1 {
            Body::Thread {
                title: &title,
                text: &text,
            }
        } else {
            let (root, text, parent) = (space.root, text.as_str(), None);
            Body::Reply(Answer { root, text, parent })
        };
        bodies.push(body.encode());
    }
    let times = (0..).map(|at| Millis(BEGINNING.0 + at * STEP_MS));
    let waiting: Vec<_> = times.zip(bodies).collect();
    let facts = FeedFacts::unknown(person.device.id());
    let bytes = encode_run(space.context.id, &person.device, facts.head, &waiting);
    let run = match verify_run(&space.context, &facts, bytes) {
        Ok(Outcome::Continues(run)) => run,
        other => panic!("an invented feed is refused: {other:?}"),
    };
    if is_first {
        space.root = run.items()[1.min(run.items().len() - 1)].id;
    }
    let facts = FeedFacts {
        head: run.head(),
        ..facts
    };
    let feed = Feed {
        space: number,
        key: person.device,
        facts,
    };
    (feed, run)
}

fn import(runtime: &Runtime, store: &Store, runs: Vec<(SpaceId, VerifiedRun)>) {
    let stored = store.write(move |txn| {
        for (space, run) in runs {
            let imported = txn.import(space, run, NOW);
            assert!(imported.is_ok(), "an invented run is refused");
        }
        Ok(())
    });
    runtime.block_on(stored).unwrap();
}
