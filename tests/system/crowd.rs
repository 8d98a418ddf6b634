//! Many hostile contacts at once: what they make the real program hold is bounded.

use std::{fs, thread, time::Duration};

use tokio::sync::watch;

use crate::harness::hostile::{Manner, Peer, Scene};

const CROWD: usize = 40;
const GREEDY: [Manner; 5] = [
    Manner::StopsReading,
    Manner::StallsInFrames,
    Manner::Lies,
    Manner::FloodsHints,
    Manner::FloodsGarbage,
];
/// What the crowd has to fill what it can, while others arrive.
const MOMENT: Duration = Duration::from_secs(2);
/// Bytes of a connection's state, tasks and gossip, and what QUIC may hold unread for it.
const EACH_BYTES: u64 = 400_000;
/// Bytes over all: larger windows, the links' room, what waits for the disk, peers' claims.
const TOGETHER_BYTES: u64 = 10_000_000 + 42_000_000 + 9_000_000 + 65_000_000;

fn resident(scene: &Scene, name: &str) -> u64 {
    let pid = fs::read_to_string(scene.node.data_dir().join("lock")).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", pid.trim())).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1_024
}

/// Each does what takes memory in its own way. The sum stays what the bounds add up to, and
/// somebody honest still gets through.
#[test]
fn a_hostile_crowd_takes_bounded_memory_and_an_honest_one_gets_through() {
    let scene = Scene::new(CROWD + 1, 2_000);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (stop, stopped) = watch::channel(false);
    let before = resident(&scene, "VmRSS");
    let mut tasks = Vec::new();
    for number in 0..CROWD {
        let person = runtime.block_on(scene.forum.person(number, 1));
        let manner = GREEDY[number % GREEDY.len()];
        let acting = Peer::misbehave(scene.address(), person, manner, stopped.clone());
        tasks.push(runtime.spawn(acting));
    }
    thread::sleep(MOMENT);
    let honest = runtime.block_on(scene.forum.person(CROWD, 1_000));
    let took = runtime.block_on(Peer::catch_up(&scene.address(), &honest));
    let more = resident(&scene, "VmHWM") - before;
    eprintln!("{more} bytes above {before}; an honest catch-up took {took:?}");
    stop.send_replace(true);
    for task in tasks {
        runtime.block_on(task).unwrap();
    }
    assert!(more < CROWD as u64 * EACH_BYTES + TOGETHER_BYTES, "{more}");
}
