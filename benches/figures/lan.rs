//! How soon contacts meet on a local network, and what being found there costs. Each node is on a
//! host of its own, a network namespace, so this part needs root.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    args::Args,
    harness::{Node, befriend, connected, hand_on},
    net::{Host, Net, Switch, hosts::is_at},
    process::{cpu, pid},
    table::{Table, Times},
};

const MET_MEDIAN: Duration = Duration::from_secs(1);
const MET_WORST: Duration = Duration::from_secs(3);
const READ: Duration = Duration::from_secs(2);
const BEACON_BYTES_A_MINUTE: f64 = 1_000.0;
const CPU_TARGET_PERCENT: f64 = 1.0;
/// Devices on one network.
const DEVICES: usize = 20;
/// Contacts of the one that is looked at.
const CONTACTS: usize = 5;
/// After the start a search asks often, then ever more seldom.
const SETTLE: Duration = Duration::from_secs(20);
const LISTENED: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(2);
const MDNS: u16 = 5353;
/// One in range or read after this long is a failure.
const WITHIN: Duration = Duration::from_secs(30);

pub(crate) fn run(args: &Args, table: &mut Table) {
    if !rustix::process::geteuid().is_root() {
        return table.known("local networks", "left out: needs root".to_owned());
    }
    let Some(net) = Net::start(&[]) else {
        return table.known("local networks", "left out: see above".to_owned());
    };
    let home = net.switch();
    meetings(args, &net, &home, table);
    drop(home);
    neighbours(args, &net, table);
}

/// Ben goes out of range until both have noticed, and comes back to an address that he never had.
fn meetings(args: &Args, net: &Net, home: &Switch, table: &mut Table) {
    let woods = net.switch();
    let ana_host = net.host(home, &["10.1.0.1/16"]);
    let mut ben_host = net.host(home, &["10.1.0.2/16"]);
    let (ana, ben) = (ana_host.node("Ana"), ben_host.node("Ben"));
    is_at(&ana, "10.1.0.1");
    befriend(&ana, &ben);
    let forum = ana.new_forum("Crossroads");
    hand_on(&ana, &ben, &forum);
    let (ana_id, ben_id) = (ana.id(), ben.id());
    let (mut met, mut read) = (Vec::new(), Vec::new());
    for n in 0..args.meetings {
        ben_host.walk(&woods, &["10.3.0.2/16"]);
        for (node, other) in [(&ana, &ben_id), (&ben, &ana_id)] {
            node.until("the other to be gone", |node| {
                (!node.is_online(other)).then_some(())
            });
        }
        let thread = ana.new_thread(&forum, "Meanwhile", &n.to_string());
        ben_host.walk(home, &[&format!("10.1.1.{}/16", n + 1)]);
        let began = Instant::now();
        let (mut online, mut here) = (None, None);
        while online.is_none() || here.is_none() {
            assert!(began.elapsed() < WITHIN, "not met: {online:?} {here:?}");
            if online.is_none() && ben.is_online(&ana_id) {
                online = Some(began.elapsed());
            }
            if here.is_none() && ben.entry(&thread).is_some() {
                here = Some(began.elapsed());
            }
            thread::sleep(PAUSE);
        }
        met.extend(online);
        read.extend(here);
    }
    let (met, read) = (Times::of(met), Times::of(read));
    table.figure(
        "local network: in range to connected",
        met.to_string(),
        "median < 1 s, worst < 3 s",
        met.median() < MET_MEDIAN && met.max() < MET_WORST,
    );
    table.figure(
        "local network: in range to the first new post",
        read.to_string(),
        "< 2 s",
        read.max() < READ,
    );
}

/// What the search costs among many devices: one with some contacts, the others strangers to it.
fn neighbours(args: &Args, net: &Net, table: &mut Table) {
    let home = net.switch();
    let hosts: Vec<Host> = (1..=DEVICES)
        .map(|n| net.host(&home, &[&format!("10.1.0.{n}/16")]))
        .collect();
    let nodes: Vec<Node> = hosts
        .iter()
        .enumerate()
        .map(|(n, host)| host.node(&format!("Node {n}")))
        .collect();
    is_at(&nodes[0], "10.1.0.1");
    for other in &nodes[1..=CONTACTS] {
        befriend(&nodes[0], other);
    }
    thread::sleep(SETTLE);
    let pids: Vec<_> = nodes.iter().map(pid).collect();
    let before: Vec<_> = pids.iter().map(|pid| cpu(*pid)).collect();
    let capture = home.capture();
    thread::sleep(LISTENED.max(Duration::from_secs(args.idle_s)));
    let window = LISTENED.max(Duration::from_secs(args.idle_s)).as_secs_f64();
    let packets = capture.end();
    let busy = |at: usize| 100.0 * (cpu(pids[at]) - before[at]).as_secs_f64() / window;
    let percent = busy(0);
    let stranger = busy(DEVICES - 1);
    for other in &nodes[1..=CONTACTS] {
        connected(&nodes[0], other);
    }
    table.figure(
        &format!("idle among {DEVICES} devices on a local network, {CONTACTS} of them contacts"),
        format!("{percent:.2} % of a core; one without contacts {stranger:.2} %"),
        "< 1 %",
        percent.max(stranger) < CPU_TARGET_PERCENT,
    );
    let beacons = packets
        .iter()
        .filter(|packet| packet.ports().is_some_and(|(_, to)| to == MDNS));
    let bytes: usize = beacons.map(|packet| packet.frame.len()).sum();
    let a_minute = bytes as f64 / DEVICES as f64 / (window / 60.0);
    table.figure(
        "idle: bytes of beacons and searching, a node and minute, with all headers",
        format!("{a_minute:.0}"),
        "< 1 kB",
        a_minute < BEACON_BYTES_A_MINUTE,
    );
}
