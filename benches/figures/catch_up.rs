//! A full node fills an empty one.

use std::time::{Duration, Instant};

use crate::{
    args::Args,
    filled::{Filled, held},
    harness::{Node, befriend, offer},
    process::{cpu, disk, pid, rss, rss_peak},
    table::{Table, Times, count, mb},
};

/// 100,000 entries take two seconds; a slow machine and a debug build take longer.
const WITHIN: Duration = Duration::from_secs(600);
/// A node that was just added is busy for a moment.
const SETTLE: Duration = Duration::from_secs(2);

const RATE_TARGET: u64 = 60_000;
/// The store gives space back when nothing is to be done for a moment.
const QUIET: Duration = Duration::from_secs(5);
const BYTES_TARGET: u64 = 500;

struct Run {
    took: Duration,
    receiver: Duration,
    sender: Duration,
    memory: u64,
    open: (u64, u64),
    /// The same after [`QUIET`].
    quiet: (u64, u64),
    closed: (u64, u64),
}

pub(crate) fn run(args: &Args, table: &mut Table) {
    let filled = Filled::with(args.entries);
    let rate = |took: Duration| (args.entries as f64 / took.as_secs_f64()) as u64;
    table.known(
        "floor: checking hashes, bodies and a signature a run, one thread",
        format!("{} entries/s", count(rate(filled.verifying))),
    );
    table.known(
        "floor: the store alone, importing with all that pages need",
        format!("{} entries/s", count(rate(filled.storing))),
    );
    let runs: Vec<_> = (0..args.runs).map(|_| once(&filled)).collect();
    let times = Times::of(runs.iter().map(|run| run.took).collect());
    let (median, slowest) = (rate(times.median()), rate(times.max()));
    let what = format!("catch-up of {} entries", count(args.entries as u64));
    table.figure(
        &what,
        format!(
            "{} entries/s (median of {}; slowest {})",
            count(median),
            runs.len(),
            count(slowest)
        ),
        ">= 60,000 entries/s",
        median >= RATE_TARGET,
    );
    let each = |bytes: u64| bytes / args.entries as u64;
    let open = runs
        .iter()
        .map(|run| run.open.0.max(run.open.1))
        .max()
        .unwrap();
    let quiet = runs
        .iter()
        .map(|run| run.quiet.0.max(run.quiet.1))
        .max()
        .unwrap();
    let closed = runs.iter().map(|run| run.closed).max().unwrap();
    table.figure(
        "disk an entry",
        format!(
            "{} bytes at the last entry; {} after {} s of quiet; {} ({} by blocks) after a clean stop",
            each(open),
            each(quiet),
            QUIET.as_secs(),
            each(closed.0),
            each(closed.1)
        ),
        "<= 500 bytes",
        each(quiet) <= BYTES_TARGET,
    );
    let memory = runs.iter().map(|run| run.memory).max().unwrap();
    table.known("receiver's peak memory above idle", mb(memory));
    let cpu = |of: fn(&Run) -> Duration| runs.iter().map(of).max().unwrap().as_millis();
    table.known(
        "processor time",
        format!(
            "{} ms at the receiver, {} ms at the sender",
            cpu(|run| run.receiver),
            cpu(|run| run.sender)
        ),
    );
}

fn once(filled: &Filled) -> Run {
    let Filled { node, forum, .. } = filled;
    let mut empty = Node::named("Ben");
    let receiver_id = empty.id();
    befriend(node, &empty);
    std::thread::sleep(SETTLE);
    let (sender, receiver) = (pid(node), pid(&empty));
    let offer = offer(node, &empty, forum);
    let accept = format!("/offers/{}/accept", offer["id"].as_str().unwrap());
    let idle = rss(receiver);
    let (sender_before, receiver_before) = (cpu(sender), cpu(receiver));
    let began = Instant::now();
    empty.post(&accept, &serde_json::json!({}));
    empty.within(WITHIN, "all entries", |node| {
        (held(node, forum) >= filled.held).then_some(())
    });
    let took = began.elapsed();
    assert_eq!(held(&empty, forum), filled.held);
    let run = Run {
        took,
        receiver: cpu(receiver) - receiver_before,
        sender: cpu(sender) - sender_before,
        memory: rss_peak(receiver).saturating_sub(idle),
        open: disk(&empty),
        quiet: {
            std::thread::sleep(QUIET);
            disk(&empty)
        },
        closed: {
            empty.stop();
            disk(&empty)
        },
    };
    // So that each run is like the first.
    node.delete(&format!("/contacts/{receiver_id}"));
    run
}
