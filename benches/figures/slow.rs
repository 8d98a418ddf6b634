//! A month behind over a link of 100 kB/s: when today's posts can be read.
//!
//! The link is the loopback interface of a network namespace of its own: all its datagrams, of both
//! nodes together, go through a token bucket (`tc`); what this program asks the nodes doesn't. Where
//! namespaces may not be made the part is skipped and says so.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    filled::{Filled, held},
    harness::{Node, befriend, made_up::BODY_BYTES, offer},
    table::Table,
};

/// The word that begins the arguments of the process inside the namespace.
pub(crate) const INSIDE: &str = "--slow-inside";
/// Bytes a second of the link.
const RATE: u64 = 100_000;
/// Today's posts are readable within this.
const TARGET: Duration = Duration::from_secs(3);
/// Twice what the slow link needs for everything, and a moment.
const WITHIN_FACTOR: u64 = 2;
/// Between two questions.
const ASK: Duration = Duration::from_millis(20);
/// Nodes that were just added say a few things more.
const SETTLE: Duration = Duration::from_secs(2);

pub(crate) fn run(entries: usize, table: &mut Table) {
    let what = format!("slow link: {entries} entries behind");
    let Some(seconds) = numbers_inside(INSIDE, entries) else {
        return table.known(&what, SKIPPED.to_owned());
    };
    let [today, all, least] = seconds[..] else {
        panic!("the process inside said {seconds:?}");
    };
    table.figure(
        &format!("{what}: today's posts of everybody readable"),
        format!("{today:.2} s after saying yes to the forum"),
        "< 3 s",
        today < TARGET.as_secs_f64(),
    );
    table.known(
        &format!("{what}: everything"),
        format!("{all:.1} s; the bodies alone take {least:.1} s on this link"),
    );
}

/// Why a part that needs a namespace isn't there.
pub(crate) const SKIPPED: &str = "skipped: needs unshare, ip and tc, and the right to use them";

/// Runs this program with a word and a number in a network namespace of its own; the numbers that it
/// prints, where that can be done.
pub(crate) fn numbers_inside(word: &str, number: usize) -> Option<Vec<f64>> {
    let program = std::env::current_exe().unwrap();
    let script = "ip link set lo up && exec \"$@\"";
    let mut inside = Command::new("unshare");
    inside.args(["--net", "sh", "-c", script, "sh"]);
    inside.arg(program).args([word, &number.to_string()]);
    let output = inside.stderr(Stdio::inherit()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let numbers = text.split_whitespace().map(|word| word.parse().unwrap());
    output.status.success().then(|| numbers.collect())
}

/// Inside the namespace: prints the seconds until today's posts and until everything was there.
pub(crate) fn inside(entries: usize) {
    let filled = Filled::with(entries);
    let empty = Node::named("Ben");
    befriend(&filled.node, &empty);
    std::thread::sleep(SETTLE);
    let offer = offer(&filled.node, &empty, &filled.forum);
    let accept = format!("/offers/{}/accept", offer["id"].as_str().unwrap());
    shape();
    let least = (entries * BODY_BYTES) as f64 / RATE as f64;
    let within = Duration::from_secs(least as u64 * WITHIN_FACTOR + 30);
    let began = Instant::now();
    empty.post(&accept, &serde_json::json!({}));
    for id in &filled.today {
        let path = format!("/entries/{id}");
        while empty.call("GET", &path, None).status != 200 {
            assert!(began.elapsed() < within, "today's posts never came");
            std::thread::sleep(ASK);
        }
    }
    let today = began.elapsed();
    while held(&empty, &filled.forum) < filled.held {
        assert!(began.elapsed() < within, "the rest never came");
        std::thread::sleep(ASK * 4);
    }
    let all = began.elapsed();
    println!("{} {} {least}", today.as_secs_f64(), all.as_secs_f64());
}

/// Slows all datagrams down, with a queue of 400 ms.
pub(crate) fn shape() {
    let bucket = format!(
        "dev lo parent 1:1 tbf burst 16kb latency 400ms rate {}",
        RATE * 8
    );
    for command in [
        "qdisc add dev lo root handle 1: htb",
        "class add dev lo parent 1: classid 1:1 htb rate 1gbit",
        &format!("qdisc add {bucket}"),
        "filter add dev lo parent 1: protocol ip u32 match ip protocol 17 0xff flowid 1:1",
    ] {
        let tc = Command::new("tc").args(command.split(' ')).status();
        assert!(tc.unwrap().success(), "tc refused {command:?}");
    }
}
