//! Figures of the store, in one run: import, disk, pages, single appends.
//!
//! `cargo bench -p store` imports 100,000 replies whose encoded body has 300 bytes, by 10 authors
//! into one forum of 100 threads, in batches of 4,096 entries; `cargo bench -p store -- 1000000` as
//! many replies as it says.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::cast_precision_loss
)]

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use proto::{
    EntryId, Millis, SpaceId,
    admission::{Certificate, Chain, Role},
    body::{Answer, Body, Genesis},
    entry::{Head, Header},
    keys::{DeviceKey, Domain, IdentityKey},
    run::{BodyPart, Item, Run},
    space::{Descriptor, SpaceContext, SpaceKind},
    verify::{FeedFacts, Outcome, VerifiedRun, verify_run},
};
use store::{SpaceRecord, Store};

const AUTHORS: usize = 10;
const THREADS: usize = 100;
const ENTRIES: usize = 100_000;
const BODY_BYTES: usize = 300;
const BATCH: usize = 4_096;
const T0: u64 = 1_790_000_000_000;

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

struct Author {
    key: DeviceKey,
    head: Head,
    bodies: Vec<(u64, Vec<u8>)>,
    runs: Vec<Vec<u8>>,
    ids: Vec<EntryId>,
}

impl Author {
    /// Signs what was written since the last run, and makes a run of it.
    fn close_run(&mut self, space: SpaceId) {
        let bodies = std::mem::take(&mut self.bodies);
        if bodies.is_empty() {
            return;
        }
        let mut run = Run::new(self.head.next, self.head.top);
        let count = bodies.len();
        for (at, (created, body)) in bodies.iter().enumerate() {
            let header = Header {
                space,
                device: self.key.id(),
                seq: self.head.next,
                backlink: self.head.top,
                created: Millis(*created),
                body_len: body.len() as u32,
                body_hash: *blake3::hash(body).as_bytes(),
            };
            let id = header.id();
            if self.head.checkpoint_next(header.body_len) || at + 1 == count {
                let signature = self.key.sign(Domain::Entry, &id.0);
                run.signatures.push((at as u32, signature));
            }
            self.head = self.head.after(id, header.body_len);
            self.ids.push(id);
            run.items.push(Item {
                created: Millis(*created),
                body: BodyPart::Present(body),
            });
        }
        self.runs.push(run.encode());
    }
}

/// A reply whose encoding has exactly [`BODY_BYTES`].
fn reply(root: EntryId, n: usize) -> Vec<u8> {
    let mut text = format!("Reply number {n}. ");
    while text.len() < 256 {
        text.push_str("The kettle sings and nobody has brought the cups. ");
    }
    text.truncate(256);
    let encode = |text: &str| {
        Body::Reply(Answer {
            root,
            text,
            parent: None,
        })
        .encode()
    };
    let body = encode(&text);
    text.truncate(text.len() + BODY_BYTES - body.len().max(BODY_BYTES));
    let short = BODY_BYTES.saturating_sub(body.len());
    text.push_str(&"x".repeat(short));
    let mut body = encode(&text);
    while body.len() > BODY_BYTES {
        text.pop();
        body = encode(&text);
    }
    body
}

fn write_history(
    space: SpaceId,
    creator: &IdentityKey,
    entries: usize,
) -> (Vec<Author>, Vec<EntryId>) {
    let mut authors = Vec::new();
    let creator_device = DeviceKey::from_seed(&[100; 32]);
    let creator_certificate = Certificate::sign(creator, &creator_device, 1, Role::Main);
    for n in 0..AUTHORS {
        let (identity, key, chain) = if n == 0 {
            (creator.clone(), creator_device.clone(), Chain::root())
        } else {
            let identity = IdentityKey::from_seed(&[n as u8 + 1; 32]);
            let key = DeviceKey::from_seed(&[n as u8 + 101; 32]);
            let chain = Chain::root()
                .admit(space, &creator_certificate, &creator_device, identity.id())
                .unwrap();
            (identity, key, chain)
        };
        let certificate = Certificate::sign(&identity, &key, 1, Role::Main);
        let name = format!("Author {n}");
        let genesis = Body::Genesis(Box::new(Genesis {
            certificate,
            name: &name,
            chain,
        }))
        .encode();
        let mut author = Author {
            key,
            head: Head::EMPTY,
            bodies: vec![(T0, genesis)],
            runs: Vec::new(),
            ids: Vec::new(),
        };
        author.close_run(space);
        authors.push(author);
    }
    let mut roots = Vec::new();
    for n in 0..THREADS {
        let author = &mut authors[n % AUTHORS];
        let title = format!("Thread {n}");
        let body = Body::Thread {
            title: &title,
            text: "What do you think?",
        };
        author.bodies.push((T0 + n as u64, body.encode()));
        author.close_run(space);
        roots.push(*author.ids.last().unwrap());
    }
    for n in 0..entries {
        let author = &mut authors[n % AUTHORS];
        // Threads are answered in no order that suits an index.
        let root = roots[(n * 7919 + n / 13) % THREADS];
        let created = T0 + 1_000 + 90_000 * n as u64 / 10;
        author.bodies.push((created, reply(root, n)));
        if author.bodies.len() == 256 {
            author.close_run(space);
        }
    }
    for author in &mut authors {
        author.close_run(space);
    }
    (authors, roots)
}

fn verified(context: &SpaceContext, authors: &[Author]) -> Vec<VerifiedRun> {
    let mut heads: BTreeMap<usize, Head> = BTreeMap::new();
    let mut out = Vec::new();
    for (n, author) in authors.iter().enumerate() {
        for run in &author.runs {
            let facts = FeedFacts {
                head: *heads.get(&n).unwrap_or(&Head::EMPTY),
                ..FeedFacts::unknown(author.key.id())
            };
            match verify_run(context, &facts, run.clone()).unwrap() {
                Outcome::Continues(run) => {
                    heads.insert(n, run.head());
                    out.push(run);
                }
                Outcome::Overlaps(_) | Outcome::ContinuesTail(_) => unreachable!(),
            }
        }
    }
    out
}

/// The CPU time that this thread's process has used.
fn timed<R>(what: impl FnOnce() -> R) -> (R, Duration) {
    let start = Instant::now();
    let result = what();
    (result, start.elapsed())
}

fn main() {
    let entries = std::env::args().skip(1).find_map(|word| word.parse().ok());
    let entries = entries.unwrap_or(ENTRIES);
    let creator = IdentityKey::from_seed(&[1; 32]);
    let descriptor = Descriptor {
        kind: SpaceKind::Forum,
        name: "Bench".into(),
        description: String::new(),
        creator: creator.id(),
        onward: true,
        salt: [9; 32],
    };
    let context = SpaceContext::described(&descriptor);
    let space = context.id;
    let (authors, roots) = write_history(space, &creator, entries);
    let (runs, verifying) = timed(|| verified(&context, &authors));
    let total: usize = runs.iter().map(|run| run.items().len()).sum();
    println!(
        "verified {total} entries in {} runs: {:.0} entries/s",
        runs.len(),
        total as f64 / verifying.as_secs_f64()
    );

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("waymeet.redb");
    let store = Store::open(&path).unwrap();
    let record = SpaceRecord {
        id: space,
        kind: SpaceKind::Forum,
        descriptor: Some(descriptor),
        pair: None,
        own_chain: Chain::root(),
        joined: Millis(T0),
    };
    block_on(store.write(move |txn| txn.create_space(&record))).unwrap();
    let now = Millis(T0 + 100 * 24 * 3_600_000);

    let mut batches: Vec<Vec<VerifiedRun>> = vec![Vec::new()];
    for run in runs {
        let held: usize = batches
            .last()
            .unwrap()
            .iter()
            .map(|r| r.items().len())
            .sum();
        if held + run.items().len() > BATCH {
            batches.push(Vec::new());
        }
        batches.last_mut().unwrap().push(run);
    }
    let count = batches.len();
    let (inside, importing) = timed(|| {
        let mut inside = Duration::ZERO;
        for batch in batches {
            inside += block_on(store.write(move |txn| {
                let start = Instant::now();
                txn.hold_topics();
                for run in batch {
                    txn.import(space, run, now)
                        .map_err(|e| store::Error::Refused(e.to_string()))?;
                }
                Ok(start.elapsed())
            }))
            .unwrap();
        }
        inside
    });
    println!(
        "imported in {count} durable batches: {:.0} entries/s with commits, {:.0} inside the jobs",
        total as f64 / importing.as_secs_f64(),
        total as f64 / inside.as_secs_f64()
    );
    let len = std::fs::metadata(&path).unwrap().len();
    println!(
        "file while open: {:.1} bytes an entry",
        len as f64 / total as f64
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let used = std::fs::metadata(&path).unwrap().blocks() * 512;
        println!(
            "blocks on disk: {:.1} bytes an entry",
            used as f64 / total as f64
        );
    }

    let snapshot = store.read().unwrap();
    let topic = snapshot.topic(roots[42]).unwrap().unwrap();
    let mut cursor = None;
    for _ in 0..5 {
        cursor = snapshot
            .items(topic.number, cursor.as_ref(), 100)
            .unwrap()
            .next;
    }
    let mut times: Vec<Duration> = (0..50)
        .map(|_| {
            let snapshot = store.read().unwrap();
            let (page, took) =
                timed(|| snapshot.items(topic.number, cursor.as_ref(), 100).unwrap());
            assert_eq!(page.items.len(), 100);
            took
        })
        .collect();
    times.sort();
    println!(
        "page of 100 posts out of {}: median {:?}, slowest {:?}",
        topic.items, times[25], times[49]
    );
    let (page, took) = timed(|| snapshot.topics(space, None, 100).unwrap());
    println!(
        "list of {} topics with first entries: {took:?}",
        page.items.len()
    );
    let (hits, took) = timed(|| snapshot.search("number 4242.", None, 10).unwrap());
    println!(
        "search, one call: {took:?}, {} hits, more: {}",
        hits.items.len(),
        hits.next.is_some()
    );
    let (served, took) = timed(|| {
        let mut served = 0;
        for author in &authors {
            let mut from = 0;
            while let Some(run) = snapshot.run(space, author.key.id(), from, 1, 1).unwrap() {
                from = run.end;
                served += run.bytes.len();
            }
        }
        served
    });
    println!(
        "served {served} bytes of runs: {:.0} entries/s",
        total as f64 / took.as_secs_f64()
    );
    drop(snapshot);

    let key = authors[0].key.clone();
    let (_, took) = timed(|| {
        for n in 0..200 {
            let key = key.clone();
            let root = roots[0];
            block_on(store.write(move |txn| {
                let text = format!("Live {n}");
                let body = Body::Reply(Answer {
                    root,
                    text: &text,
                    parent: None,
                });
                txn.append(space, &key, now, &body, |_| Ok(Vec::new()))
            }))
            .unwrap();
        }
    });
    println!("single durable append: {:?}", took / 200);
    let (_, took) = timed(|| store.close());
    println!("close with compaction: {took:?}");
    drop(store);
    let len = std::fs::metadata(&path).unwrap().len();
    println!(
        "file after closing: {:.1} bytes an entry",
        len as f64 / total as f64
    );
    let (store, took) = timed(|| Store::open(&path).unwrap());
    println!("open: {took:?}");
    drop(store);
}
