//! How fast a person's own entries become durable: alone, and from many writers at once, through
//! the engine and through the HTTP API, beside what the disk and the database allow.

use std::{
    fs::OpenOptions,
    os::unix::fs::FileExt as _,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use engine::{Config, LinkConfig, Node as Engine, Radios, StorageConfig};
use redb::{Database, TableDefinition};
use serde_json::json;

use crate::{
    args::Args,
    harness::Node,
    kept::Kept,
    table::{Table, Times, count},
};

const RATE_TARGET: u64 = 3_000;
/// In times of one fdatasync.
const ALONE_TARGET: f64 = 4.0;
/// Tasks that write through the engine at once.
const TASKS: usize = 64;
/// Connections that write through the HTTP API at once.
const CONNECTIONS: usize = 32;
/// Bytes that a sync of the disk writes: a page.
const PAGE: usize = 4_096;
/// Pages of the file that is overwritten.
const PAGES: usize = 256;
/// Bytes of the text of a post.
const TEXT_BYTES: usize = 256;

const ROWS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("rows");

pub(crate) fn run(args: &Args, table: &mut Table) {
    let folder = tempfile::tempdir().unwrap();
    let sync = sync_times(folder.path(), args.samples);
    table.known("floor: fdatasync of 4 KiB, overwritten", sync.to_string());
    let commits = commit_times(folder.path(), args.samples);
    let each = commits.median().as_secs_f64();
    table.known(
        "floor: a durable commit of one insert by redb",
        format!("{commits}; {} a second", count((1.0 / each) as u64)),
    );
    let alone = engine_writes(args, table, &sync);
    api_writes(args, table, &sync, &alone);
}

/// Overwrites a page of a file and waits until it is on the disk.
fn sync_times(folder: &Path, samples: usize) -> Times {
    let path = folder.join("synced");
    let file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .open(path)
        .unwrap();
    file.write_all_at(&vec![1; PAGE * PAGES], 0).unwrap();
    file.sync_all().unwrap();
    let times = (0..samples).map(|number| {
        let page = [number as u8; PAGE];
        let began = Instant::now();
        let at = (number * 7 % PAGES * PAGE) as u64;
        file.write_all_at(&page, at).unwrap();
        file.sync_data().unwrap();
        began.elapsed()
    });
    Times::of(times.collect())
}

/// As the node commits: two phases, and quick to repair.
fn commit_times(folder: &Path, samples: usize) -> Times {
    let database = Database::create(folder.join("commits.redb")).unwrap();
    let value = [7; TEXT_BYTES];
    let times = (0..samples).map(|number| {
        let began = Instant::now();
        let mut txn = database.begin_write().unwrap();
        txn.set_two_phase_commit(true);
        txn.set_quick_repair(true);
        let mut rows = txn.open_table(ROWS).unwrap();
        rows.insert(number as u64, &value[..]).unwrap();
        drop(rows);
        txn.commit().unwrap();
        began.elapsed()
    });
    Times::of(times.collect())
}

fn text(number: usize) -> String {
    let mut text = format!("Post {number}. ");
    text.extend("It rained. ".chars().cycle().take(TEXT_BYTES - text.len()));
    text
}

fn syncs(times: &Times, sync: &Times) -> f64 {
    times.median().as_secs_f64() / sync.median().as_secs_f64()
}

/// Writes through the engine, in this process; the times of single posts.
fn engine_writes(args: &Args, table: &mut Table, sync: &Times) -> Times {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let (alone, took) = runtime.block_on(async {
        let links = LinkConfig {
            bind: vec!["127.0.0.1:0".parse().unwrap()],
            radios: Radios::none(),
            ..LinkConfig::default()
        };
        let data_dir = folder.path().join("data");
        let node = Engine::start(Config {
            data_dir,
            links,
            storage: StorageConfig::default(),
        })
        .await
        .unwrap();
        node.set_up("Ana").await.unwrap();
        let forum = node.create_forum("Crossroads", "").await.unwrap();
        let thread = node.create_thread(forum.id, "Writing", "It begins.");
        let topic = thread.await.unwrap().topic.id;
        let mut alone = Vec::new();
        for number in 0..args.samples {
            let began = Instant::now();
            node.reply(topic, &text(number), None).await.unwrap();
            alone.push(began.elapsed());
        }
        let node = Arc::new(node);
        let began = Instant::now();
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let (node, posts) = (Arc::clone(&node), share(args.posts, TASKS, task));
                tokio::spawn(async move {
                    for number in 0..posts {
                        node.reply(topic, &text(number), None).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let took = began.elapsed();
        node.shutdown().await;
        (Times::of(alone), took)
    });
    show_alone(table, "the engine", &alone, sync);
    show_many(table, &format!("the engine, {TASKS} writers"), args, took);
    alone
}

/// How many of all posts one of several writers writes.
const fn share(posts: usize, writers: usize, writer: usize) -> usize {
    posts / writers + (writer < posts % writers) as usize
}

fn api_writes(args: &Args, table: &mut Table, sync: &Times, engine: &Times) {
    let node = Node::named("Ana");
    let forum = node.new_forum("Crossroads");
    let topic = node.new_thread(&forum, "Writing", "It begins.");
    let path = format!("/api/v1/threads/{topic}/replies");
    let post = |kept: &mut Kept, number: usize| {
        let page = kept.post(&path, &json!({ "body": text(number) }));
        assert_eq!(page.status, 201, "{}", page.text());
        page.took
    };
    let mut kept = Kept::api(&node);
    let alone = Times::of((0..args.samples).map(|n| post(&mut kept, n)).collect());
    let above = alone.median().saturating_sub(engine.median());
    table.known(
        "one post durable, through the HTTP API",
        format!(
            "{alone}; {:.1} fdatasyncs, {} us above the engine",
            syncs(&alone, sync),
            above.as_micros()
        ),
    );
    let began = Instant::now();
    thread::scope(|scope| {
        for writer in 0..CONNECTIONS {
            let (node, post) = (&node, &post);
            scope.spawn(move || {
                let mut kept = Kept::api(node);
                for number in 0..share(args.posts, CONNECTIONS, writer) {
                    post(&mut kept, number);
                }
            });
        }
    });
    let took = began.elapsed();
    let what = format!("the HTTP API, {CONNECTIONS} connections");
    show_many(table, &what, args, took);
}

fn show_alone(table: &mut Table, path: &str, alone: &Times, sync: &Times) {
    let ratio = syncs(alone, sync);
    table.figure(
        &format!("one post durable, through {path}"),
        format!("{alone}; {ratio:.1} fdatasyncs"),
        "median < 4 fdatasyncs",
        ratio < ALONE_TARGET,
    );
}

fn show_many(table: &mut Table, path: &str, args: &Args, took: Duration) {
    let rate = (args.posts as f64 / took.as_secs_f64()) as u64;
    table.figure(
        &format!("{} durable posts through {path}", count(args.posts as u64)),
        format!("{} posts/s", count(rate)),
        ">= 3,000 posts/s",
        rate >= RATE_TARGET,
    );
}
