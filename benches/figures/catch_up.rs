//! A full node fills an empty one.

use std::time::{Duration, Instant};

use crate::{
    bare,
    filled::{Filled, held},
    harness::{Node, befriend, made_up::BODY_BYTES, offer},
    process::{cpu, disk, loopback, pid, rss, rss_peak},
    table::{Table, Times, count, mb},
};

/// A million entries take ten seconds; a slow machine and a debug build take longer.
const WITHIN: Duration = Duration::from_secs(600);
/// A node that was just added is busy for a moment.
const SETTLE: Duration = Duration::from_secs(2);

/// Between two looks at the file.
const PAUSE: Duration = Duration::from_millis(250);

/// Of the bare floor's rate.
const RATIO_TARGET: f64 = 0.6;
/// Of the bytes of the encoded bodies.
const WIRE_TARGET: f64 = 1.10;
/// The store gives space back when nothing is to be done for a moment: within this time.
const QUIET: Duration = Duration::from_secs(60);
/// Bytes of the file's blocks for each entry.
const DISK_TARGET: u64 = 430;
/// At the receiver, above what it takes when idle.
const MEMORY_TARGET: u64 = 64_000_000;

struct Run {
    took: Duration,
    /// What the bare floor took just before, and its file's bytes.
    bare: (Duration, u64),
    receiver: Duration,
    sender: Duration,
    memory: u64,
    /// Bytes of the meeting's streams, in both directions.
    wire: u64,
    /// Bytes over loopback meanwhile, the questions about progress included.
    loopback: u64,
    open: (u64, u64),
    /// The same when space was given back, and after what time of quiet.
    quiet: (u64, u64),
    quiet_after: Duration,
    closed: (u64, u64),
}

/// Catches up `runs` times with as many entries, each beside the bare floor.
pub(crate) fn run(entries: usize, runs: usize, table: &mut Table) {
    let filled = Filled::with(entries);
    let rate = |took: Duration| (entries as f64 / took.as_secs_f64()) as u64;
    let shown = |took: Duration| format!("{} entries/s", count(rate(took)));
    let what = |figure: &str| format!("{figure}, {} entries", count(entries as u64));
    table.known(
        &what("floor: checking hashes, bodies and a signature a run, one thread"),
        shown(filled.verifying),
    );
    table.known(
        &what("floor: the store alone, importing with all that pages need"),
        shown(filled.storing),
    );
    let runs: Vec<_> = (0..runs).map(|_| once(&filled, entries)).collect();
    let bare = Times::of(runs.iter().map(|run| run.bare.0).collect());
    let each = |bytes: u64| bytes / entries as u64;
    table.known(
        &what("floor, bare: QUIC, chain, a signature a run, segments, an index row"),
        format!(
            "{} (median of {}; slowest {}), {} bytes an entry",
            shown(bare.median()),
            runs.len(),
            shown(bare.max()),
            each(runs[0].bare.1)
        ),
    );
    let times = Times::of(runs.iter().map(|run| run.took).collect());
    let ratio = bare.median().as_secs_f64() / times.median().as_secs_f64();
    table.figure(
        &what("catch-up"),
        format!(
            "{} (median of {}; slowest {}), {ratio:.2} of the bare floor",
            shown(times.median()),
            runs.len(),
            shown(times.max())
        ),
        ">= 0.6 of the bare floor",
        ratio >= RATIO_TARGET,
    );
    let most = |of: fn(&Run) -> u64| runs.iter().map(of).max().unwrap();
    let times_bodies = |bytes: u64| bytes as f64 / (entries * BODY_BYTES) as f64;
    let wire = times_bodies(most(|run| run.wire));
    let loopback = times_bodies(most(|run| run.loopback));
    table.figure(
        &what("catch-up: bytes of the meeting's streams"),
        format!(
            "{wire:.3} times the encoded bodies; {loopback:.3} with QUIC, UDP, IP and all else on loopback"
        ),
        "<= 1.10 times",
        wire <= WIRE_TARGET,
    );
    table.figure(
        &what("catch-up: disk an entry, by blocks"),
        format!(
            "{} bytes at the last entry (length {}); {} after {} s of quiet; {} after a clean stop",
            each(most(|run| run.open.1)),
            each(most(|run| run.open.0)),
            each(most(|run| run.quiet.1)),
            runs.iter()
                .map(|run| run.quiet_after.as_secs())
                .max()
                .unwrap(),
            each(most(|run| run.closed.1))
        ),
        "<= 430 bytes",
        each(most(|run| run.quiet.1)) <= DISK_TARGET,
    );
    let memory = most(|run| run.memory);
    table.figure(
        &what("catch-up: receiver's peak memory above idle"),
        mb(memory),
        "< 64 MB, also of more entries",
        memory < MEMORY_TARGET,
    );
    let cpu = |of: fn(&Run) -> Duration| runs.iter().map(of).max().unwrap().as_millis();
    table.known(
        &what("catch-up: processor time"),
        format!(
            "{} ms at the receiver, {} ms at the sender",
            cpu(|run| run.receiver),
            cpu(|run| run.sender)
        ),
    );
}

fn once(filled: &Filled, entries: usize) -> Run {
    let bare = bare::once(entries);
    let Filled { node, forum, .. } = filled;
    let mut empty = Node::named("Ben");
    let receiver_id = empty.id();
    befriend(node, &empty);
    std::thread::sleep(SETTLE);
    let (sender_pid, receiver_pid) = (pid(node), pid(&empty));
    let offer = offer(node, &empty, forum);
    let accept = format!("/offers/{}/accept", offer["id"].as_str().unwrap());
    let idle = rss(receiver_pid);
    let (sender_before, receiver_before) = (cpu(sender_pid), cpu(receiver_pid));
    let loopback_before = loopback();
    let began = Instant::now();
    empty.post(&accept, &serde_json::json!({}));
    empty.within(WITHIN, "all entries", |node| {
        (held(node, forum) >= filled.held).then_some(())
    });
    let took = began.elapsed();
    let loopback = loopback() - loopback_before;
    let (sender, receiver) = (
        cpu(sender_pid) - sender_before,
        cpu(receiver_pid) - receiver_before,
    );
    let memory = rss_peak(receiver_pid).saturating_sub(idle);
    assert_eq!(held(&empty, forum), filled.held);
    let contact = empty.get(&format!("/contacts/{}", node.id()));
    let exchanged = |name: &str| contact["exchanged"][name].as_u64().unwrap();
    let open = disk(&empty);
    let quiet_since = Instant::now();
    while disk(&empty).1 > DISK_TARGET * entries as u64 && quiet_since.elapsed() < QUIET {
        std::thread::sleep(PAUSE);
    }
    let quiet = disk(&empty);
    let run = Run {
        took,
        open,
        quiet,
        quiet_after: quiet_since.elapsed(),
        bare,
        loopback,
        wire: exchanged("bytes_in") + exchanged("bytes_out"),
        receiver,
        sender,
        memory,
        closed: {
            empty.stop();
            disk(&empty)
        },
    };
    // So that each run is like the first.
    node.delete(&format!("/contacts/{receiver_id}"));
    run
}
