//! What hostile contacts cost: others' time beside them, and the node's memory.
//!
//! The node is the real program. Contacts are made up in its database, and speak to it through
//! the real links and sessions from this process, each in its own way. A catch-up by an honest
//! contact is timed alone and beside a hostile one in turn, so that the ratio holds on a busy
//! machine. The hostile contact's own work runs on the same processors.

mod peer;
mod people;

use std::{thread, time::Duration};

use tokio::runtime::Runtime;

use self::{
    peer::{Manner, Peer},
    people::Scene,
};
use crate::{
    args::Args,
    process::{pid, rss, rss_peak},
    table::{Table, Times, mb},
};

/// What a hostile contact has done before anybody is timed beside it.
const WARM_UP: Duration = Duration::from_secs(5);
/// How much longer others may take.
const TARGET: f64 = 1.10;
/// Hostile connections, and resident bytes under them.
const CROWD: usize = 200;
const CROWD_MEMORY: u64 = 256_000_000;
/// How long the crowd has to fill what it can.
const CROWD_WAIT: Duration = Duration::from_secs(20);

const MANNERS: [(Manner, &str); 7] = [
    (Manner::ReadsSlowly, "reads 1 kB/s"),
    (Manner::StopsReading, "stops reading"),
    (Manner::FloodsEntries, "floods with valid entries"),
    (
        Manner::FloodsGarbage,
        "floods with entries nobody asked for",
    ),
    (Manner::FloodsWants, "floods with wants"),
    (Manner::FloodsHints, "floods with hints"),
    (Manner::Lies, "claims endless feeds"),
];

pub(crate) fn run(args: &Args, table: &mut Table) {
    let runtime = Runtime::new().unwrap();
    for (manner, what) in MANNERS {
        beside(&runtime, args, table, manner, what);
    }
    crowd(&runtime, args, table);
}

/// Times catch-ups alone and beside a hostile contact, in turn.
fn beside(runtime: &Runtime, args: &Args, table: &mut Table, manner: Manner, what: &str) {
    let (entries, rounds) = (args.honest, args.runs * 2 + 1);
    let scene = Scene::new(rounds * 2 + 2, entries);
    let (mut alone, mut with) = (Vec::new(), Vec::new());
    let flood = if manner == Manner::FloodsEntries {
        args.flood
    } else {
        10
    };
    let mal = runtime.block_on(scene.person(0, flood));
    let mut ratios = Vec::new();
    for round in 0..rounds {
        let [first, second] = [1, 2].map(|at| round * 2 + at);
        let time = |person| {
            let honest = runtime.block_on(scene.person(person, entries));
            let took = runtime.block_on(Peer::catch_up(&scene, &honest));
            // What followed the catch-up is over before the next one.
            thread::sleep(Duration::from_millis(500));
            took
        };
        let took = time(first);
        alone.push(took);
        let hostile = runtime.spawn(Peer::misbehave(scene.address(), mal.clone(), manner));
        thread::sleep(if round == 0 { WARM_UP } else { WARM_UP / 5 });
        let beside = time(second);
        with.push(beside);
        hostile.abort();
        drop(runtime.block_on(hostile));
        ratios.push(beside.as_secs_f64() / took.as_secs_f64());
    }
    ratios.sort_by(f64::total_cmp);
    let ratio = ratios[ratios.len() / 2];
    table.figure(
        &format!("isolation: a catch-up of {entries} entries beside one who {what}"),
        format!(
            "{ratio:.3} times as long (median of {rounds}; alone {:.0} ms, beside {:.0} ms)",
            Times::of(alone).median().as_secs_f64() * 1e3,
            Times::of(with).median().as_secs_f64() * 1e3,
        ),
        "< 1.10",
        ratio < TARGET,
    );
}

/// Many connections, each hostile in one of the ways that take memory.
fn crowd(runtime: &Runtime, args: &Args, table: &mut Table) {
    let scene = Scene::new(CROWD + 2, args.entries);
    let before = rss(pid(&scene.node));
    let mut tasks = Vec::new();
    for number in 0..CROWD {
        let person = runtime.block_on(scene.person(number, 10));
        let manner = [
            Manner::StopsReading,
            Manner::StallsInFrames,
            Manner::Lies,
            Manner::StopsReading,
            Manner::StallsInFrames,
            Manner::SaysNothing,
            Manner::FloodsGarbage,
            Manner::StopsReading,
        ][number % 8];
        tasks.push(runtime.spawn(Peer::misbehave(scene.address(), person, manner)));
    }
    let strangers = runtime.spawn(Peer::knock(scene.address()));
    thread::sleep(CROWD_WAIT);
    let within = rss(pid(&scene.node));
    let honest = runtime.block_on(scene.person(CROWD, args.honest));
    let took = runtime.block_on(Peer::catch_up(&scene, &honest));
    let peak = rss_peak(pid(&scene.node));
    let open = scene
        .node
        .list("/contacts")
        .iter()
        .filter(|one| one["online"] == true)
        .count();
    strangers.abort();
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    table.figure(
        &format!("isolation: resident memory under {CROWD} hostile connections and strangers"),
        format!(
            "{} at the most, {} after {} s, {} before; {open} in meetings",
            mb(peak),
            mb(within),
            CROWD_WAIT.as_secs(),
            mb(before)
        ),
        "< 256 MB",
        peak < CROWD_MEMORY,
    );
    table.known(
        "isolation: an honest catch-up beside them",
        format!("{:.0} ms", took.as_secs_f64() * 1e3),
    );
}
