//! Messages that friends carry: Ana and Cem are never up at the same time.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use store::Store;

use crate::harness::{Node, befriend, connected, contains, files_below};

const TEXT: &str = "meet me where the two paths cross, said the heron";

fn state(node: &Node, message: &str) -> Value {
    let entry = node.entry(message).unwrap();
    json!([entry["state"], entry["carried_by"]])
}

#[track_caller]
pub(crate) fn is(node: &Node, message: &str, wanted: &Value) {
    node.until(&format!("the message to be {wanted}"), |node| {
        (state(node, message) == *wanted).then_some(())
    });
}

/// Who knows each other has left keys with each other.
fn have_keys(nodes: &[&Node], of: u64) {
    for node in nodes {
        node.until("keys for letters", |node| {
            (node.get("/letters")["keys_from"] == of).then_some(())
        });
    }
}

pub(crate) fn carries(node: &Node, letters: u64) {
    node.until(&format!("{letters} letters to be carried"), |node| {
        (node.get("/letters")["carried"] == letters).then_some(())
    });
}

pub(crate) fn all_know_each_other<const N: usize>(names: [&str; N]) -> [Node; N] {
    let nodes = names.map(Node::named);
    for (at, one) in nodes.iter().enumerate() {
        for other in nodes.iter().skip(at + 1) {
            befriend(one, other);
        }
    }
    let all: Vec<_> = nodes.iter().collect();
    have_keys(&all, N as u64 - 1);
    nodes
}

pub(crate) fn gone(node: &Node, who: &str) {
    node.until("somebody to be gone", |node| {
        (!node.is_online(who)).then_some(())
    });
}

#[test]
fn a_friend_carries_a_message_between_two_who_never_meet() {
    let [mut ana, ben, mut cem] = all_know_each_other(["Ana", "Ben", "Cem"]);
    let (ana_id, cem_id) = (ana.id(), cem.id());
    cem.stop();
    gone(&ana, &cem_id);
    let message = ana.send(&cem_id, TEXT);
    is(&ana, &message, &json!(["carried", 1]));
    // The first message of a feed is preceded by the entry that says whose it is.
    carries(&ben, 2);
    ana.stop();
    gone(&ben, &ana_id);
    for (path, bytes) in files_below(&ben.data_dir()) {
        assert!(!contains(&bytes, TEXT.as_bytes()), "{}", path.display());
    }
    cem.start();
    let read = cem.reads(&message, TEXT);
    assert_eq!(read["author"]["id"], ana_id.as_str());
    assert_eq!(read["unread"], true);
    cem.until("nothing to be missing before it", |cem| {
        cem.entry(&message)?["ahead"].is_null().then_some(())
    });
    carries(&ben, 0);
    cem.stop();
    gone(&ben, &cem_id);
    ana.start();
    is(&ana, &message, &json!(["delivered", null]));
    // The two meet: nothing is doubled.
    cem.start();
    connected(&ana, &cem);
    let answer = cem.send(&ana_id, "I will");
    ana.reads(&answer, "I will");
    assert_eq!(cem.list(&format!("/conversations/{ana_id}")).len(), 2);
    is(&ana, &message, &json!(["delivered", null]));
}

#[test]
fn a_message_that_comes_before_an_earlier_one_is_shown_and_settles() {
    let [mut ana, mut ben, mut dan, mut cem] = all_know_each_other(["Ana", "Ben", "Dan", "Cem"]);
    let (ana_id, ben_id, cem_id, dan_id) = (ana.id(), ben.id(), cem.id(), dan.id());
    cem.stop();
    dan.stop();
    gone(&ana, &cem_id);
    gone(&ana, &dan_id);
    let first = ana.send(&cem_id, "first");
    is(&ana, &first, &json!(["carried", 1]));
    ben.stop();
    gone(&ana, &ben_id);
    dan.start();
    connected(&ana, &dan);
    is(&ana, &first, &json!(["carried", 2]));
    let second = ana.send(&cem_id, "second");
    is(&ana, &second, &json!(["carried", 1]));
    ana.stop();
    gone(&dan, &ana_id);
    cem.start();
    cem.reads(&second, "second");
    cem.reads(&first, "first");
    // Ben comes with the first, which Cem has: he gets the receipt at once and stops carrying it.
    ben.start();
    carries(&ben, 0);
    let texts = |node: &Node| -> Vec<Value> {
        let messages = node.list(&format!("/conversations/{ana_id}"));
        messages.iter().map(|one| one["body"].clone()).collect()
    };
    assert_eq!(texts(&cem), ["first", "second"]);
}

/// The numbers of keys for letters from one to the other: those that the sender has left, and those
/// that the receiver still holds. Both are stopped.
fn keys_left(from: &Node, to: &Node, from_id: &str, to_id: &str) -> [BTreeSet<u32>; 2] {
    let open = |node: &Node| Store::open(&node.data_dir().join("waymeet.redb")).unwrap();
    let device_of = |view: &store::Snapshot, id: &str| {
        let contact = view.contact(&id.parse().unwrap()).unwrap().unwrap();
        *contact.devices.keys().next().unwrap()
    };
    let (sender, receiver) = (open(from), open(to));
    let (there, here) = (sender.read().unwrap(), receiver.read().unwrap());
    let has = there.their_prekeys_of(device_of(&there, to_id)).unwrap();
    let holds = here.own_prekeys_for(device_of(&here, from_id)).unwrap();
    let left = [
        has.iter().map(|(id, _)| id.0).collect(),
        holds.iter().map(|(id, _)| id.0).collect(),
    ];
    sender.close();
    receiver.close();
    left
}

#[test]
fn power_cuts_lose_and_double_no_letter_and_use_no_key_twice() {
    let [mut ana, mut ben, mut cem] = all_know_each_other(["Ana", "Ben", "Cem"]);
    let (ana_id, ben_id, cem_id) = (ana.id(), ben.id(), cem.id());
    cem.stop();
    gone(&ana, &cem_id);
    let first = ana.send(&cem_id, "before the cut");
    is(&ana, &first, &json!(["carried", 1]));
    ana.kill();
    // Ben holds what Ana was told that he holds.
    ben.kill();
    ben.start();
    carries(&ben, 2);
    ana.start();
    connected(&ana, &ben);
    is(&ana, &first, &json!(["carried", 1]));
    let second = ana.send(&cem_id, "after the cut");
    is(&ana, &second, &json!(["carried", 1]));
    carries(&ben, 3);
    ana.kill();
    ben.kill();
    // Read, and the power goes, perhaps before Ben heard of it.
    cem.start();
    ben.start();
    cem.reads(&second, "after the cut");
    cem.kill();
    cem.start();
    cem.reads(&first, "before the cut");
    cem.reads(&second, "after the cut");
    carries(&ben, 0);
    cem.stop();
    gone(&ben, &cem_id);
    ben.kill();
    ben.start();
    ana.start();
    connected(&ana, &ben);
    for message in [&first, &second] {
        is(&ana, message, &json!(["delivered", null]));
    }
    // Each key that was used is gone at both, and no other.
    ana.stop();
    let [has, holds] = keys_left(&ana, &cem, &ana_id, &cem_id);
    assert_eq!(has, holds);
    assert!(!has.contains(&0) && has.len() == 30, "{has:?}");
    ana.start();
    cem.start();
    connected(&ana, &cem);
    let third = ana.send(&cem_id, "and by hand");
    cem.reads(&third, "and by hand");
    let messages = cem.list(&format!("/conversations/{ana_id}"));
    assert_eq!(messages.len(), 3, "{messages:?}");
    assert!(cem.list(&format!("/conversations/{ben_id}")).is_empty());
}

/// Six are there at once when Ana writes: four of them carry it, not all.
#[test]
fn a_letter_is_given_to_no_more_than_it_may_though_all_are_there_at_once() {
    let [ana, mut cem] = ["Ana", "Cem"].map(Node::named);
    befriend(&ana, &cem);
    let others: Vec<Node> = (0..6)
        .map(|n| Node::named(&format!("Friend {n}")))
        .collect();
    for other in &others {
        befriend(&ana, other);
    }
    have_keys(&[&ana], 7);
    let cem_id = cem.id();
    cem.stop();
    gone(&ana, &cem_id);
    for text in ["one", "two", "three"] {
        let message = ana.send(&cem_id, text);
        is(&ana, &message, &json!(["carried", 4]));
    }
    // Whoever isn't given one hears of the others' changes, so that nothing more is on its way.
    let answer = others[0].send(&ana.id(), "there are many of us");
    ana.reads(&answer, "there are many of us");
    let carried: u64 = others
        .iter()
        .map(|other| other.get("/letters")["carried"].as_u64().unwrap())
        .sum();
    // The first message is preceded by the entry that says whose it is.
    assert_eq!(carried, 4 * 4);
}
