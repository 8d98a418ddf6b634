//! A catch-up over long distances: what a node's small windows leave of a link.
//!
//! In a network namespace of its own all datagrams between the two go through a relay that holds
//! each of them up by half a round trip; whatever goes past the relay is dropped (`tc`). There is no
//! loss and no other bound. Where namespaces may not be made the part is skipped and says so.

use std::{
    net::{SocketAddr, UdpSocket},
    process::{Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use crate::{
    harness::{
        hostile::{Peer, Scene},
        made_up::BODY_BYTES,
    },
    table::Table,
};

/// The word that begins the arguments of the process inside the namespace.
pub(crate) const INSIDE: &str = "--far-inside";
/// Round trips in milliseconds.
const ROUND_TRIPS_MS: [u64; 3] = [50, 100, 200];
/// The round trip for which there is a target, and the target in Mbit/s.
const TARGET_MS: u64 = 100;
const TARGET: f64 = 20.0;
/// Datagrams that are on their way in one direction at most; more than any window here.
const ON_THE_WAY_MAX: usize = 16 * 1024;
/// Longer than any datagram.
const DATAGRAM_BYTES: usize = 2_048;
/// The relay's address.
const RELAY: &str = "127.0.0.2:0";

pub(crate) fn run(entries: usize, table: &mut Table) {
    let script = "ip link set lo up && exec \"$@\"";
    let mut inside = Command::new("unshare");
    inside.args(["--net", "sh", "-c", script, "sh"]);
    inside.arg(std::env::current_exe().unwrap());
    inside.args([INSIDE, &entries.to_string()]);
    let output = inside.stderr(Stdio::inherit()).output();
    let text = output
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok());
    let Some(text) = text else {
        let why = "skipped: needs unshare, ip and tc, and the right to use them";
        return table.known("far", why.to_owned());
    };
    for (ms, rate) in ROUND_TRIPS_MS.into_iter().zip(text.split_whitespace()) {
        let rate: f64 = rate.parse().unwrap();
        let what = format!("far: a catch-up of {entries} entries over a round trip of {ms} ms");
        let found = format!("{rate:.1} Mbit/s of bodies, from dialling to the last one durable");
        if ms == TARGET_MS {
            table.figure(&what, found, ">= 20 Mbit/s", rate >= TARGET);
        } else {
            table.known(&what, found);
        }
    }
}

/// Inside the namespace: prints the rate at each round trip.
pub(crate) fn inside(entries: usize) {
    for command in [
        "qdisc add dev lo root handle 1: htb",
        "class add dev lo parent 1: classid 1:1 htb rate 1gbit",
        "qdisc add dev lo parent 1:1 blackhole",
        "filter add dev lo parent 1: protocol ip u32 match ip protocol 17 0xff \
         match ip src 127.0.0.1/32 match ip dst 127.0.0.1/32 flowid 1:1",
    ] {
        let words = command.split_whitespace();
        let tc = Command::new("tc").args(words).status();
        assert!(tc.unwrap().success(), "tc refused {command:?}");
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let scene = Scene::new(ROUND_TRIPS_MS.len() + 1, 10);
    for (number, ms) in ROUND_TRIPS_MS.into_iter().enumerate() {
        let person = runtime.block_on(scene.forum.person(number, entries));
        let mut address = scene.address();
        address.at = relay(address.at, Duration::from_millis(ms / 2));
        let took = runtime.block_on(Peer::catch_up(&address, &person));
        let bits = entries * BODY_BYTES * 8;
        println!("{}", bits as f64 / 1e6 / took.as_secs_f64());
    }
}

/// Relays datagrams between a node and one other, each later by `delay`; gives where to send them.
fn relay(node: SocketAddr, delay: Duration) -> SocketAddr {
    let near = Arc::new(UdpSocket::bind(RELAY).unwrap());
    let far = Arc::new(UdpSocket::bind(RELAY).unwrap());
    let address = near.local_addr().unwrap();
    let other = Arc::new(Mutex::new(None));
    let (from, to) = (near.clone(), far.clone());
    let note = other.clone();
    hold_up(
        from,
        delay,
        move |from| *note.lock().unwrap() = Some(from),
        move |datagram| drop(to.send_to(datagram, node)),
    );
    hold_up(
        far,
        delay,
        |_| {},
        move |datagram| {
            if let Some(other) = *other.lock().unwrap() {
                drop(near.send_to(datagram, other));
            }
        },
    );
    address
}

fn hold_up(
    socket: Arc<UdpSocket>,
    delay: Duration,
    came: impl Fn(SocketAddr) + Send + 'static,
    send: impl Fn(&[u8]) + Send + 'static,
) {
    let (queue, waiting) = mpsc::sync_channel::<(Instant, Vec<u8>)>(ON_THE_WAY_MAX);
    thread::spawn(move || {
        let mut datagram = [0; DATAGRAM_BYTES];
        while let Ok((len, from)) = socket.recv_from(&mut datagram) {
            came(from);
            if queue
                .send((Instant::now() + delay, datagram[..len].to_vec()))
                .is_err()
            {
                return;
            }
        }
    });
    thread::spawn(move || {
        for (due, datagram) in waiting {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            send(&datagram);
        }
    });
}
