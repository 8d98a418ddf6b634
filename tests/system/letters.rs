//! Messages that friends carry: Ana and Cem are never up at the same time.

use serde_json::{Value, json};

use crate::harness::{Node, befriend, connected, contains, files_below};

const TEXT: &str = "meet me where the two paths cross, said the heron";

fn state(node: &Node, message: &str) -> Value {
    let entry = node.entry(message).unwrap();
    json!([entry["state"], entry["carried_by"]])
}

#[track_caller]
fn is(node: &Node, message: &str, wanted: &Value) {
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

fn carries(node: &Node, letters: u64) {
    node.until(&format!("{letters} letters to be carried"), |node| {
        (node.get("/letters")["carried"] == letters).then_some(())
    });
}

fn all_know_each_other<const N: usize>(names: [&str; N]) -> [Node; N] {
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

fn gone(node: &Node, who: &str) {
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
