//! What a meeting of known contacts costs when there is nothing new.

use std::{thread, time::Duration};

use crate::{
    args::Args,
    filled::{Filled, held},
    harness::{Node, befriend, connected, hand_on},
    table::{Table, count},
};

const FEW: usize = 100;
const BYTES_TARGET: u64 = 300;
/// Restarts of one side, each a meeting.
const MEETINGS: usize = 5;
/// As for catching up.
const WITHIN: Duration = Duration::from_secs(600);
/// Long enough for everything that a meeting wants to say.
const SETTLE: Duration = Duration::from_secs(2);

pub(crate) fn run(args: &Args, table: &mut Table) {
    for entries in [FEW, args.entries] {
        let mut meetings = bytes_of_meetings(entries);
        meetings.sort_unstable();
        let largest = meetings.last().map_or(0, |(to, fro)| to + fro);
        let shown: Vec<_> = meetings
            .iter()
            .map(|(to, fro)| format!("{to} + {fro}"))
            .collect();
        table.figure(
            &format!(
                "a meeting with nothing new, {} entries held",
                count(entries as u64)
            ),
            format!(
                "{largest} bytes at most (sent + received: {})",
                shown.join(", ")
            ),
            "< 300 bytes, one round trip",
            largest < BYTES_TARGET && largest > 0,
        );
    }
}

/// Bytes sent and received in meetings after restarts of one side.
fn bytes_of_meetings(entries: usize) -> Vec<(u64, u64)> {
    let Filled {
        node: ana,
        forum,
        held: all,
        ..
    } = Filled::with(entries);
    let mut ben = Node::named("Ben");
    befriend(&ana, &ben);
    hand_on(&ana, &ben, &forum);
    ben.within(WITHIN, "all entries", |node| {
        (held(node, &forum) >= all).then_some(())
    });
    let id = ana.id();
    thread::sleep(SETTLE);
    let mut meetings = Vec::new();
    for _ in 0..MEETINGS {
        ben.stop();
        ben.start();
        connected(&ana, &ben);
        thread::sleep(SETTLE);
        // The program counts from its beginning, so this is the one meeting since.
        let contact = ben.get(&format!("/contacts/{id}"));
        let exchanged = |name: &str| contact["exchanged"][name].as_u64().unwrap();
        assert_eq!(
            exchanged("entries_in") + exchanged("entries_out"),
            0,
            "{contact}"
        );
        meetings.push((exchanged("bytes_out"), exchanged("bytes_in")));
    }
    meetings
}
