//! A node that holds many entries by invented people, written straight into its database.
//!
//! The people are real to every other node: each has an identity, a certified device, and an
//! admission that the forum's creator signed. So the entries travel and verify as any others.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use proto::{
    EntryId, Millis, SpaceId,
    admission::{Certificate, Role},
    body::{Answer, Body, Genesis},
    keys::{DeviceKey, IdentityKey},
    limits::BATCH_ENTRIES_MAX,
    space::SpaceContext,
    verify::{FeedFacts, Outcome, VerifiedRun, verify_run},
};
use store::Store;

use crate::harness::{
    Node,
    made_up::{Creator, Random, encode_run, now, padded, words},
};

/// People who write.
pub(crate) const AUTHORS: usize = 10;
/// Threads among the entries; the rest are replies.
const THREADS: usize = 100;
/// Between two entries.
const STEP_MS: u64 = 60_000;
/// Entries of a feed that are verified and imported together: up to a checkpoint.
const RUN_ENTRIES: usize = 256;

/// A running node that holds the entries.
pub(crate) struct Filled {
    pub(crate) node: Node,
    pub(crate) forum: String,
    /// What the forum counts: the entries and the first entries of their feeds.
    pub(crate) held: u64,
    pub(crate) threads: Vec<String>,
    /// Each author's oldest entry among the newest thirtieth of all.
    pub(crate) today: Vec<String>,
    /// Hashing, checking signatures and bodies of all entries, on one thread.
    pub(crate) verifying: Duration,
    /// Storing them with everything that pages need, a commit for every batch.
    pub(crate) storing: Duration,
}

impl Filled {
    /// Makes a node with a forum of `entries` entries.
    pub(crate) fn with(entries: usize) -> Self {
        let mut node = Node::named("Ana");
        let forum = node.new_forum("Crossroads");
        node.stop();
        let written = write(&node.data_dir(), forum.parse().unwrap(), entries);
        node.start();
        let held = held(&node, &forum);
        assert_eq!(held, (entries + AUTHORS) as u64, "what the forum counts");
        Self {
            node,
            forum,
            held,
            threads: written.threads.iter().map(EntryId::to_string).collect(),
            today: written.today.iter().map(EntryId::to_string).collect(),
            verifying: written.verifying,
            storing: written.storing,
        }
    }
}

/// Entries of a forum that a node shows; 0 before it has the forum.
pub(crate) fn held(node: &Node, forum: &str) -> u64 {
    let answer = node.call("GET", &format!("/forums/{forum}"), None);
    answer.body["entries"].as_u64().unwrap_or_default()
}

struct Written {
    threads: Vec<EntryId>,
    today: Vec<EntryId>,
    verifying: Duration,
    storing: Duration,
}

/// One invented person's feed.
struct Feed {
    key: DeviceKey,
    facts: FeedFacts,
    waiting: Vec<(Millis, Vec<u8>)>,
    /// The first entry from this time on.
    today: (Millis, Option<EntryId>),
}

impl Feed {
    fn new(seed: u8, creator: &Creator, space: SpaceId, today: Millis) -> (Self, Vec<u8>) {
        let identity = IdentityKey::from_seed(&[seed; 32]);
        let key = DeviceKey::from_seed(&[seed + 100; 32]);
        let name = format!("Author {seed}");
        let genesis = Body::Genesis(Box::new(Genesis {
            certificate: Certificate::sign(&identity, &key, 1, Role::Main),
            name: &name,
            chain: creator.admit(space, identity.id()),
        }));
        let facts = FeedFacts::unknown(key.id());
        let feed = Self {
            key,
            facts,
            waiting: Vec::new(),
            today: (today, None),
        };
        (feed, genesis.encode())
    }

    /// What waits as a run that is signed at its checkpoints and its end.
    fn encode(&mut self, space: SpaceId) -> Vec<u8> {
        let bytes = encode_run(space, &self.key, self.facts.head, &self.waiting);
        self.waiting.clear();
        bytes
    }
}

struct Writer {
    store: Store,
    runtime: tokio::runtime::Runtime,
    context: SpaceContext,
    batch: Vec<VerifiedRun>,
    verifying: Duration,
    storing: Duration,
}

impl Writer {
    fn open(data_dir: &Path, space: SpaceId) -> Self {
        let store = Store::open(&data_dir.join("waymeet.redb")).unwrap();
        let context = store.read().unwrap().context(space).unwrap().unwrap();
        Self {
            store,
            runtime: tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap(),
            context,
            batch: Vec::new(),
            verifying: Duration::ZERO,
            storing: Duration::ZERO,
        }
    }

    /// Verifies what waits in a feed and puts it into the batch; gives the ids.
    fn take(&mut self, feed: &mut Feed) -> Vec<EntryId> {
        let bytes = feed.encode(self.context.id);
        let began = Instant::now();
        let run = match verify_run(&self.context, &feed.facts, bytes) {
            Ok(Outcome::Continues(run)) => run,
            other => panic!("an invented feed is refused: {other:?}"),
        };
        self.verifying += began.elapsed();
        feed.facts.head = run.head();
        let ids = run.items().iter().map(|item| item.id).collect();
        let (today, first) = &mut feed.today;
        let mut new = run.items().iter().filter(|item| item.created >= *today);
        *first = first.or_else(|| new.next().map(|item| item.id));
        self.batch.push(run);
        let entries: usize = self.batch.iter().map(|run| run.items().len()).sum();
        if entries >= BATCH_ENTRIES_MAX - RUN_ENTRIES {
            self.store_batch();
        }
        ids
    }

    fn store_batch(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        let (space, now) = (self.context.id, now());
        let began = Instant::now();
        let stored = self.store.write(move |txn| {
            txn.hold_topics();
            for run in batch {
                let imported = txn.import(space, run, now);
                assert!(imported.is_ok(), "an invented run is refused");
            }
            Ok(())
        });
        self.runtime.block_on(stored).unwrap();
        self.storing += began.elapsed();
    }
}

/// Writes threads by all authors in turn, then replies by random authors in random threads, each
/// a minute after the one before, the last one some minutes ago.
fn write(data_dir: &Path, space: SpaceId, entries: usize) -> Written {
    let threads_wanted = THREADS.min(entries);
    let creator = Creator::read(data_dir);
    let mut writer = Writer::open(data_dir, space);
    let begins = now().0 - (entries as u64 + 10) * STEP_MS;
    let time = |number: usize| Millis(begins + number as u64 * STEP_MS);
    let today = time(entries - entries / 30);
    let mut random = Random::new(1);
    let mut threads = Vec::new();
    let mut feeds = Vec::new();
    for author in 0..AUTHORS {
        let (mut feed, genesis) = Feed::new(author as u8 + 1, &creator, space, today);
        feed.waiting.push((time(0), genesis));
        for number in (author..threads_wanted).step_by(AUTHORS) {
            let title = format!("Thread {number}: {}", words(&mut random, 30));
            let body = padded(&mut random, |text| {
                Body::Thread {
                    title: &title,
                    text,
                }
                .encode()
            });
            feed.waiting.push((time(number), body));
        }
        threads.extend_from_slice(&writer.take(&mut feed)[1..]);
        feeds.push(feed);
    }
    for number in threads_wanted..entries {
        let root = threads[random.below(threads.len())];
        let body = padded(&mut random, |text| {
            let parent = None;
            Body::Reply(Answer { root, text, parent }).encode()
        });
        let feed = &mut feeds[random.below(AUTHORS)];
        feed.waiting.push((time(number), body));
        if feed.waiting.len() == RUN_ENTRIES {
            writer.take(feed);
        }
    }
    for feed in feeds.iter_mut().filter(|feed| !feed.waiting.is_empty()) {
        writer.take(feed);
    }
    writer.store_batch();
    writer.store.close();
    Written {
        threads,
        today: feeds.iter().filter_map(|feed| feed.today.1).collect(),
        verifying: writer.verifying,
        storing: writer.storing,
    }
}
