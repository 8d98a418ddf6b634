//! What carrying costs in a meeting: nobody's letter among as many as a node may carry, and none.
//!
//! As in `slow`, the nodes are in a network namespace of their own, on a line of 100 kB/s.

use std::{
    thread,
    time::{Duration, Instant},
};

use proto::{IdentityId, limits::CARRIED_MAX};
use store::{Carried, Receipted, Store};

use crate::{
    harness::{Node, befriend, connected, made_up::now},
    slow,
    table::{Table, count},
};

/// The word that begins the arguments of the process inside the namespace.
pub(crate) const INSIDE: &str = "--letters-inside";
const BYTES_TARGET: u64 = 200_000;
const TIME_TARGET: Duration = Duration::from_secs(1);
const NONE_TARGET: u64 = 300;
/// Bytes of the shortest envelope.
const ENVELOPE_BYTES: usize = 1_447;
/// Bytes of the hints alone.
const NAMES_BYTES: u64 = 4 * CARRIED_MAX as u64;
/// Letters of one transaction.
const BATCH: u64 = 1_000;
/// Between two questions.
const ASK: Duration = Duration::from_millis(5);
/// Long enough for everything that a meeting wants to say.
const SETTLE: Duration = Duration::from_secs(3);
const WITHIN: Duration = Duration::from_secs(60);

pub(crate) fn run(table: &mut Table) {
    let Some(numbers) = slow::numbers_inside(INSIDE, 0) else {
        return table.known("letters in a meeting", slow::SKIPPED.to_owned());
    };
    let [none, all, seconds] = numbers[..] else {
        panic!("the process inside said {numbers:?}");
    };
    table.figure(
        "letters: a meeting with nothing new, none carried",
        format!("{none} bytes, both ways"),
        "< 300 bytes",
        none < NONE_TARGET as f64,
    );
    let what = format!(
        "letters: {} carried, none for the other, over 100 kB/s",
        count(CARRIED_MAX as u64)
    );
    table.figure(
        &what,
        format!("{all} bytes, both ways; all named {seconds:.2} s after the hello"),
        "< 200 kB, < 1 s",
        all < BYTES_TARGET as f64 && seconds < TIME_TARGET.as_secs_f64(),
    );
}

/// Inside the namespace: prints the bytes of both meetings and the seconds of the second.
pub(crate) fn inside() {
    let (mut ana, mut ben) = (Node::named("Ana"), Node::named("Ben"));
    befriend(&ana, &ben);
    thread::sleep(SETTLE);
    slow::shape();
    let (none, _) = meet(&ana, &mut ben, 0);
    ben.stop();
    ana.stop();
    carry(&ana);
    ana.start();
    let (all, took) = meet_again(&ana, &mut ben, NAMES_BYTES);
    println!("{none} {all} {}", took.as_secs_f64());
}

/// Stops the other, lets both meet, and gives the bytes of the meeting and the time from the hello
/// until so many had come.
fn meet(ana: &Node, ben: &mut Node, least: u64) -> (u64, Duration) {
    ben.stop();
    meet_again(ana, ben, least)
}

fn meet_again(ana: &Node, ben: &mut Node, least: u64) -> (u64, Duration) {
    let id = ana.id();
    ben.start();
    let bytes = |ben: &Node| {
        let exchanged = ben.contact(&id).unwrap()["exchanged"].clone();
        let of = |name: &str| exchanged[name].as_u64().unwrap();
        (of("bytes_in"), of("bytes_out"))
    };
    let began = Instant::now();
    let mut hello = None;
    loop {
        assert!(began.elapsed() < WITHIN, "they never meet");
        let online = ben.is_online(&id);
        if online && hello.is_none() {
            hello = Some(Instant::now());
        }
        if online && bytes(ben).0 >= least {
            break;
        }
        thread::sleep(ASK);
    }
    let took = hello.map_or(Duration::ZERO, |hello| hello.elapsed());
    connected(ana, ben);
    thread::sleep(SETTLE);
    let (to, fro) = bytes(ben);
    (to + fro, took)
}

/// Fills a node that is stopped with letters of somebody's, for nobody here.
fn carry(node: &Node) {
    let database = Store::open(&node.data_dir().join("waymeet.redb")).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for first in (0..CARRIED_MAX as u64).step_by(BATCH as usize) {
        let write = database.write(move |txn| {
            for number in first..first + BATCH {
                let mut envelope = vec![number as u8; ENVELOPE_BYTES];
                let hash = *blake3::hash(&number.to_be_bytes()).as_bytes();
                envelope[0] = 1;
                envelope[1..17].copy_from_slice(&hash[..16]);
                envelope[17..19].fill(0xff);
                envelope[19..51].copy_from_slice(&hash);
                let carried = Carried {
                    from: IdentityId([9; 32]),
                    since: now(),
                    envelope,
                };
                txn.put_receipted(&hash, &Receipted::Carried(number))?;
                txn.put_carried(&number, &carried)?;
            }
            Ok(())
        });
        runtime.block_on(write).unwrap();
    }
    database.close();
}
