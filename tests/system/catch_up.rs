//! Being away, and dying without warning.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use serde_json::json;

use crate::harness::{Node, connected, hand_on, pair};

#[test]
fn who_was_away_catches_up_both_ways() {
    let (mut ana, mut ben) = pair("Ana", "Ben");
    let (ana_id, ben_id) = (ana.id(), ben.id());
    let forum = ana.new_forum("Lake");
    hand_on(&ana, &ben, &forum);
    let thread = ana.new_thread(&forum, "Hello", "hello");
    ben.receives(&thread);

    ben.stop();
    let from_ana: Vec<_> = (0..40)
        .map(|number| ana.reply(&thread, &format!("from Ana {number}")))
        .collect();
    let article = ana.publish("River", "wet");
    ana.stop();
    ben.start();
    let from_ben: Vec<_> = (0..40)
        .map(|number| ben.reply(&thread, &format!("from Ben {number}")))
        .collect();
    let message = ben.send(&ana_id, "while you were away");
    ana.start();
    ben.until("Ana", |ben| ben.is_online(&ana_id).then_some(()));
    ana.until("Ben", |ana| ana.is_online(&ben_id).then_some(()));

    for id in from_ana.iter().chain([&article]) {
        ben.receives(id);
    }
    for id in from_ben.iter().chain([&message]) {
        ana.receives(id);
    }
    let (mut at_ana, mut at_ben) = (ana.texts(&thread), ben.texts(&thread));
    assert_eq!(at_ana.len(), 81);
    at_ana.sort();
    at_ben.sort();
    assert_eq!(at_ana, at_ben);
    let behind = ben.contact(&ana_id).unwrap()["behind"].clone();
    assert_eq!(behind["want"], 0, "{behind}");
}

#[test]
fn a_node_that_was_set_up_before_a_kill_is_the_same_after() {
    let mut node = Node::fresh();
    let made = node.post("/setup", &json!({ "name": "Ana" }));
    node.kill();
    node.start();
    assert_eq!(node.get("/status")["identity"], made["identity"]);
}

/// Kills a node again and again while it writes; whatever it had acknowledged is there afterwards,
/// at both, and its feed stays one feed.
#[test]
fn no_acknowledged_entry_is_lost_by_kill_9() {
    const ROUNDS: usize = 4;
    const WRITERS: usize = 3;
    const ENTRIES_BEFORE_KILL: usize = 25;
    let (mut ana, ben) = pair("Ana", "Ben");
    let forum = ana.new_forum("Lake");
    hand_on(&ana, &ben, &forum);
    let thread = ana.new_thread(&forum, "Hello", "hello");
    ben.receives(&thread);

    let acknowledged = Mutex::new(Vec::new());
    for round in 0..ROUNDS {
        let dead = AtomicBool::new(false);
        thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (ana, dead, acknowledged, thread) = (&ana, &dead, &acknowledged, &thread);
                scope.spawn(move || {
                    for number in 0.. {
                        if dead.load(Ordering::Relaxed) {
                            return;
                        }
                        let body = format!("round {round} writer {writer} number {number}");
                        let path = format!("/threads/{thread}/replies");
                        match ana.try_call("POST", &path, Some(&json!({ "body": body }))) {
                            Ok(answer) => {
                                assert_eq!(answer.status, 201, "{answer:?}");
                                let id = answer.body["id"].as_str().unwrap().to_owned();
                                acknowledged.lock().unwrap().push((id, body));
                            }
                            Err(_) => return,
                        }
                    }
                });
            }
            let enough = (round + 1) * ENTRIES_BEFORE_KILL;
            ana.until("some writing", |_| {
                (acknowledged.lock().unwrap().len() >= enough).then_some(())
            });
            ana.signal(rustix::process::Signal::KILL);
            dead.store(true, Ordering::Relaxed);
        });
        ana.kill();
        ana.start();
        for (id, body) in acknowledged.lock().unwrap().iter() {
            assert_eq!(
                ana.entry(id).expect("an acknowledged entry")["body"],
                body.as_str()
            );
        }
    }
    connected(&ana, &ben);
    let last = ana.reply(&thread, "still here");
    ben.receives(&last);
    for (id, body) in acknowledged.lock().unwrap().iter() {
        ben.reads(id, body);
    }
    for node in [&ana, &ben] {
        assert_eq!(node.list("/forums")[0]["forks"], json!([]));
    }
    assert_eq!(ana.texts(&thread).len(), ben.texts(&thread).len());
}

#[test]
fn a_receiver_that_is_killed_goes_on_where_it_was() {
    let (ana, mut ben) = pair("Ana", "Ben");
    let forum = ana.new_forum("Lake");
    hand_on(&ana, &ben, &forum);
    let thread = ana.new_thread(&forum, "Hello", "hello");
    ben.receives(&thread);
    ben.stop();
    let ids: Vec<_> = (0..150)
        .map(|number| ana.reply(&thread, &format!("{number} {}", "x".repeat(2_000))))
        .collect();
    for kill_after in [1, 40, 90] {
        ben.start();
        ben.receives(&ids[kill_after]);
        ben.kill();
    }
    ben.start();
    for id in &ids {
        ben.receives(id);
    }
    assert_eq!(ben.texts(&thread), ana.texts(&thread));
}
