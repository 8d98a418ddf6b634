//! Nodes that are killed at random moments: while both sides write, while one catches up with what
//! the other wrote meanwhile, and while its file is written anew after something was taken back.
//!
//! A writer for each node posts replies and remembers which were acknowledged. After every kill
//! and restart the writer's node must still have them; in the end both nodes must show the same,
//! and nobody may have signed two entries at one place.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::json;

use crate::{
    args::Args,
    harness::{Node, hand_on, made_up::Random, pair},
    table::{Table, Times, count},
};

/// A kill comes within this time after the writers began.
const KILL_AFTER_MS_MAX: usize = 300;
/// Of so many rounds one begins with a node that is behind, and one is quiet.
const KINDS_OF_ROUNDS: usize = 10;
/// When a file that is to be written anew is written: the store waits for two quiet seconds.
const QUIET_MS: usize = 1_950;
/// Kills of a quiet round come within this time after [`QUIET_MS`].
const QUIET_KILL_MS_MAX: usize = 200;
/// Replies of one writer in one round, so that a fast machine doesn't fill its disk.
const REPLIES_PER_ROUND: usize = 500;
/// Threads that the replies are spread over.
const THREADS: usize = 8;
const START_TARGET: Duration = Duration::from_secs(1);
/// For two nodes to become equal once nobody disturbs them.
const CONVERGE_WITHIN: Duration = Duration::from_secs(120);

struct Findings {
    /// Of each node: what it acknowledged as written.
    acknowledged: [BTreeSet<String>; 2],
    lost: BTreeSet<String>,
    forks: BTreeSet<String>,
    starts: Vec<Duration>,
}

pub(crate) fn run(args: &Args, table: &mut Table) {
    eprintln!("    seed {}", args.seed);
    let (ana, ben) = pair("Ana", "Ben");
    let forum = ana.new_forum("Crossroads");
    let threads: Vec<_> = (0..THREADS)
        .map(|number| ana.new_thread(&forum, &format!("Thread {number}"), "It begins."))
        .collect();
    hand_on(&ana, &ben, &forum);
    for thread in &threads {
        ben.receives(thread);
    }
    let mut nodes = [ana, ben];
    let mut random = Random::new(args.seed);
    let mut findings = Findings {
        acknowledged: Default::default(),
        lost: BTreeSet::new(),
        forks: BTreeSet::new(),
        starts: Vec::new(),
    };
    for round in 0..args.rounds {
        let victim = random.below(2);
        let delay = Duration::from_millis(random.below(KILL_AFTER_MS_MAX) as u64);
        let thread = &threads[round % THREADS];
        match round % KINDS_OF_ROUNDS {
            4 => round_behind(&mut nodes, victim, delay, thread, &mut findings),
            8 => {
                let late = QUIET_MS + random.below(QUIET_KILL_MS_MAX);
                let delay = Duration::from_millis(late as u64);
                quiet_round(&mut nodes, victim, delay, thread, &mut findings);
            }
            _ => one_round(&mut nodes, victim, delay, thread, &mut findings),
        }
        note_forks(&nodes[victim], &forum, &mut findings);
        if (round + 1).is_multiple_of(20) {
            let written: usize = findings.acknowledged.iter().map(BTreeSet::len).sum();
            eprintln!("    {} rounds, {written} entries acknowledged", round + 1);
        }
    }
    let converged = converge(&nodes, &threads, &mut findings);
    for node in &nodes {
        note_forks(node, &forum, &mut findings);
    }
    show(args, table, findings, converged);
}

fn one_round(
    nodes: &mut [Node; 2],
    victim: usize,
    delay: Duration,
    topic: &str,
    findings: &mut Findings,
) {
    let stop = AtomicBool::new(false);
    let written = thread::scope(|scope| {
        let writers = [0, 1].map(|at| {
            let (node, stop) = (&nodes[at], &stop);
            scope.spawn(move || write(node, topic, stop))
        });
        thread::sleep(delay);
        nodes[victim].signal(Signal::KILL);
        stop.store(true, Ordering::Relaxed);
        writers.map(|writer| writer.join().unwrap())
    });
    let killed = nodes[victim].ended();
    assert!(!killed.success(), "it was killed, and ended with {killed}");
    let began = Instant::now();
    nodes[victim].start();
    findings.starts.push(began.elapsed());
    for id in &written[victim] {
        if nodes[victim].entry(id).is_none() {
            eprintln!("    lost: {id}");
            findings.lost.insert(id.clone());
        }
    }
    for (acknowledged, written) in findings.acknowledged.iter_mut().zip(written) {
        acknowledged.extend(written);
    }
}

/// The victim is away while the other writes, and is killed while it takes that in.
fn round_behind(
    nodes: &mut [Node; 2],
    victim: usize,
    delay: Duration,
    topic: &str,
    findings: &mut Findings,
) {
    nodes[victim].kill();
    let written = write(&nodes[1 - victim], topic, &AtomicBool::new(false));
    findings.acknowledged[1 - victim].extend(written);
    nodes[victim].start();
    thread::sleep(delay);
    kill_and_start(&mut nodes[victim], findings);
}

/// The victim takes something back, and is killed while its file is written anew.
fn quiet_round(
    nodes: &mut [Node; 2],
    victim: usize,
    delay: Duration,
    topic: &str,
    findings: &mut Findings,
) {
    let node = &nodes[victim];
    let id = node.reply(topic, "I shouldn't have said that.");
    node.delete(&format!("/entries/{id}"));
    thread::sleep(delay);
    kill_and_start(&mut nodes[victim], findings);
    // What lies in this node's file was acknowledged in earlier rounds.
    let known: Vec<_> = findings.acknowledged[victim]
        .iter()
        .rev()
        .take(50)
        .collect();
    for id in known {
        if nodes[victim].entry(id).is_none() {
            eprintln!("    lost: {id}");
            findings.lost.insert(id.clone());
        }
    }
}

fn kill_and_start(node: &mut Node, findings: &mut Findings) {
    node.signal(Signal::KILL);
    let killed = node.ended();
    assert!(!killed.success(), "it was killed, and ended with {killed}");
    let began = Instant::now();
    node.start();
    findings.starts.push(began.elapsed());
}

/// Posts until it is told to stop or the node is gone; what was acknowledged.
fn write(node: &Node, topic: &str, stop: &AtomicBool) -> Vec<String> {
    let path = format!("/threads/{topic}/replies");
    let mut written = Vec::new();
    for number in 0..REPLIES_PER_ROUND {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let body = json!({ "body": format!("Reply {number} of this round.") });
        match node.try_call("POST", &path, Some(&body)) {
            Ok(answer) if answer.status == 201 => {
                // A body that broke off is no acknowledgement.
                written.extend(answer.body["id"].as_str().map(str::to_owned));
            }
            Ok(answer) => panic!("a reply was refused: {answer:?}"),
            Err(_) => break,
        }
    }
    written
}

fn note_forks(node: &Node, forum: &str, findings: &mut Findings) {
    let forum = node.get(&format!("/forums/{forum}"));
    for fork in forum["forks"].as_array().unwrap() {
        eprintln!("    fork: {fork}");
        findings.forks.insert(fork.to_string());
    }
}

/// Waits until both show the same; how long that took. Looks for everything acknowledged once more.
fn converge(nodes: &[Node; 2], threads: &[String], findings: &mut Findings) -> Option<Duration> {
    let shown = |node: &Node| -> BTreeSet<String> {
        threads
            .iter()
            .flat_map(|thread| node.list(&format!("/threads/{thread}")))
            // Who never had the text of something taken back doesn't know where it stood.
            .filter(|post| post["missing"] != true && post["retracted"] != true)
            .filter_map(|post| post["id"].as_str().map(str::to_owned))
            .collect()
    };
    let began = Instant::now();
    let (ours, theirs, equal) = loop {
        let both = [shown(&nodes[0]), shown(&nodes[1])];
        let equal = both[0] == both[1];
        if equal || began.elapsed() > CONVERGE_WITHIN {
            let [ours, theirs] = both;
            break (ours, theirs, equal);
        }
        thread::sleep(Duration::from_millis(100));
    };
    let took = began.elapsed();
    for (acknowledged, shown) in findings.acknowledged.iter().zip([&ours, &theirs]) {
        findings
            .lost
            .extend(acknowledged.difference(shown).cloned());
    }
    if !equal {
        let only = |one: &BTreeSet<String>, other| one.difference(other).count();
        eprintln!(
            "    not equal: {} only at the first, {} only at the second",
            only(&ours, &theirs),
            only(&theirs, &ours)
        );
    }
    equal.then_some(took)
}

fn show(args: &Args, table: &mut Table, findings: Findings, converged: Option<Duration>) {
    let written: usize = findings.acknowledged.iter().map(BTreeSet::len).sum();
    let what = format!(
        "{} kill -9 while both sides write (seed {}): acknowledged entries lost",
        args.rounds, args.seed
    );
    let lost = findings.lost.len();
    table.figure(
        &what,
        format!("{lost} of {}", count(written as u64)),
        "0",
        lost == 0 && written > 0,
    );
    let forks = findings.forks.len();
    table.figure("kill: forks", forks.to_string(), "0", forks == 0);
    let times = Times::of(findings.starts);
    table.figure(
        "kill: start again",
        times.to_string(),
        "< 1 s each",
        times.max() < START_TARGET,
    );
    let text = converged.map_or("not within two minutes".to_owned(), |took| {
        format!(
            "both show the same, {:.1} s after the last start",
            took.as_secs_f64()
        )
    });
    table.figure(
        "kill: in the end",
        text,
        "both show the same",
        converged.is_some(),
    );
}
