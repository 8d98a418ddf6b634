//! Messages that disappear, that are read, and that one person deletes: the real program, from its API
//! and its command to the bytes on the disk.

use serde_json::{Value, json};
use store::Store;

use crate::{
    harness::{Node, befriend, connected, contains, files_below, pair},
    letters::{all_know_each_other, carries, gone, is},
};

const TEXT: &str = "under the third stone behind the mill, said the otter";

fn conversation(with: &Node) -> String {
    format!("/conversations/{}", with.id())
}

fn keep(node: &Node, with: &Node, change: &Value) -> Value {
    node.patch(&conversation(with), change)
}

/// Waits until the other person's setting has come.
fn hears(node: &Node, with: &Node, lifetime_s: u64) {
    node.until("the setting", |node| {
        let kept = node.get(&conversation(with));
        (kept["disappearing"]["lifetime_s"] == lifetime_s).then_some(())
    });
}

fn holds(node: &Node, text: &str) -> bool {
    let files = files_below(&node.data_dir());
    files
        .iter()
        .any(|(_, bytes)| contains(bytes, text.as_bytes()))
}

/// While a node stands still, so much time passes for what disappears.
fn age(node: &Node, seconds: u64) {
    let store = Store::open(&node.data_dir().join("waymeet.redb")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime
        .unwrap()
        .block_on(store.write(move |txn| txn.age_timers(seconds * 1_000)))
        .unwrap();
}

#[test]
fn a_message_disappears_from_both_disks() {
    let (mut ana, mut ben) = pair("Ana", "Ben");
    ana.send(&ben.id(), "words that stay");
    let kept = keep(&ana, &ben, &json!({ "lifetime_s": 60 }));
    assert_eq!(kept["disappearing"]["lifetime_s"], 60);
    assert_eq!(kept["disappearing"]["set_by"]["id"], ana.id());
    let message = ana.send(&ben.id(), TEXT);
    let seen = ben.receives(&message);
    assert_eq!(seen["lifetime_s"], 60);
    assert!(seen["expires_ms"].is_null(), "it isn't read");
    ana.until("the delivery", |ana| {
        (ana.entry(&message)?["expires_ms"].is_u64()).then_some(())
    });
    // Ben's answer disappears too, because Ana set that.
    hears(&ben, &ana, 60);
    let answer = ben.send(&ana.id(), "fetched it, it was under the fourth");
    assert_eq!(ben.entry(&answer).unwrap()["lifetime_s"], 60);
    ana.receives(&answer);
    for node in [&ana, &ben] {
        let other = if node.id() == ana.id() { &ben } else { &ana };
        node.post(&format!("{}/read", conversation(other)), &json!({}));
        assert!(holds(node, TEXT));
    }
    ben.until("the delivery", |ben| {
        (ben.entry(&answer)?["expires_ms"].is_u64()).then_some(())
    });
    ana.stop();
    ben.stop();
    for node in [&mut ana, &mut ben] {
        age(node, 60);
        node.start();
        for gone in [&message, &answer] {
            node.until("the message to be gone", |node| {
                node.entry(gone).is_none().then_some(())
            });
        }
        node.until("its bytes to be gone", |node| {
            let left = holds(node, TEXT) || holds(node, "under the fourth");
            (!left).then_some(())
        });
        assert!(holds(node, "words that stay"));
    }
    // The two meet again: nothing comes back, and nothing is missed.
    connected(&ana, &ben);
    let last = ana.send(&ben.id(), "what was it again?");
    ben.receives(&last);
    for node in [&ana, &ben] {
        assert!(!holds(node, TEXT));
        assert!(node.list("/search?q=otter").is_empty());
    }
    for node in [&mut ana, &mut ben] {
        node.stop();
        let doctor = node.cli(&["doctor"]);
        assert!(doctor.status.success(), "{doctor:?}");
    }
}

/// What a friend carries is on their disk only sealed, and goes when it was delivered.
#[test]
fn a_message_that_a_friend_carries_disappears_everywhere() {
    let [mut ana, ben, mut cem] = all_know_each_other(["Ana", "Ben", "Cem"]);
    let (ana_id, cem_id) = (ana.id(), cem.id());
    keep(&ana, &cem, &json!({ "lifetime_s": 3_600 }));
    hears(&cem, &ana, 3_600);
    cem.stop();
    gone(&ana, &cem_id);
    let message = ana.send(&cem_id, TEXT);
    is(&ana, &message, &json!(["carried", 1]));
    ana.stop();
    gone(&ben, &ana_id);
    assert!(!holds(&ben, TEXT));
    cem.start();
    cem.reads(&message, TEXT);
    carries(&ben, 0);
    cem.post(&format!("/entries/{message}/read"), &json!({}));
    cem.stop();
    gone(&ben, &cem_id);
    age(&cem, 3_600);
    cem.start();
    cem.until("the message to be gone", |cem| {
        cem.entry(&message).is_none().then_some(())
    });
    ana.start();
    is(&ana, &message, &json!(["delivered", null]));
    connected(&ana, &cem);
    ana.stop();
    age(&ana, 3_600);
    ana.start();
    ana.until("the message to be gone", |ana| {
        ana.entry(&message).is_none().then_some(())
    });
    for node in [&ana, &ben, &cem] {
        node.until("its bytes to be gone", |node| {
            (!holds(node, TEXT)).then_some(())
        });
    }
}

#[test]
fn reading_is_told_only_while_both_want_it() {
    let (ana, ben) = pair("Ana", "Ben");
    let state = |message: &str| ana.entry(message).unwrap()["state"].clone();
    let read = |message: &str| {
        ben.receives(message);
        ben.post(&format!("/entries/{message}/read"), &json!({}));
    };
    let before = ana.send(&ben.id(), "before");
    read(&before);
    keep(&ana, &ben, &json!({ "receipts": true }));
    ben.until("Ana's wish", |ben| {
        let kept = ben.get(&conversation(&ana));
        (kept["receipts"] == json!({ "ours": false, "theirs": true })).then_some(())
    });
    let said = ben.cli(&["messages", "keep", "Ana", "--receipts", "on"]);
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(
        said.contains("you tell each other when they are read"),
        "{said}"
    );
    ana.until("Ben's wish", |ana| {
        (ana.get(&conversation(&ben))["receipts"]["theirs"] == true).then_some(())
    });
    let after = ana.send(&ben.id(), "after");
    read(&after);
    let told = ana.until("that it was read", |ana| {
        let entry = ana.entry(&after)?;
        (entry["state"] == "read").then_some(entry)
    });
    assert!(told["read_ms"].as_u64().unwrap() > 0);
    assert_eq!(state(&before), "delivered");
    keep(&ben, &ana, &json!({ "receipts": false }));
    ana.until("the end of it", |ana| {
        (ana.entry(&after)?["state"] == "delivered").then_some(())
    });
    assert_eq!(
        ana.list(&conversation(&ben)).len(),
        5,
        "two messages, three lines"
    );
}

#[test]
fn a_message_is_deleted_on_one_node_only() {
    let (mut ana, mut ben) = pair("Ana", "Ben");
    let message = ana.send(&ben.id(), TEXT);
    ben.receives(&message);
    let said = ben.cli(&["messages", "delete", &message]);
    assert!(said.status.success(), "{said:?}");
    assert!(ben.entry(&message).is_none());
    ben.until("its bytes to be gone", |ben| {
        (!holds(ben, TEXT)).then_some(())
    });
    ben.stop();
    ben.start();
    connected(&ana, &ben);
    let last = ana.send(&ben.id(), "still there?");
    ben.receives(&last);
    assert!(ben.entry(&message).is_none() && !holds(&ben, TEXT));
    assert_eq!(ana.entry(&message).unwrap()["body"], TEXT);
    // What isn't there yet can't be deleted for one's own eyes only.
    let ben_id = ben.id();
    ben.stop();
    gone(&ana, &ben_id);
    let waits = ana.send(&ben_id, "later");
    let refused = ana.call("DELETE", &format!("/entries/{waits}/here"), None);
    assert_eq!((refused.status, refused.problem()), (409, "conflict"));
    ana.stop();
}

#[test]
fn a_change_that_makes_no_sense_is_refused() {
    let (ana, ben) = (Node::named("Ana"), Node::named("Ben"));
    befriend(&ana, &ben);
    for wrong in [
        json!({}),
        json!({ "lifetime_s": 59 }),
        json!({ "lifetime_s": 31_536_001 }),
        json!({ "lifetime_s": -1 }),
        json!({ "lifetime_s": 60, "more": 1 }),
    ] {
        let answer = ana.call("PATCH", &conversation(&ben), Some(&wrong));
        assert!((400..500).contains(&answer.status), "{wrong}: {answer:?}");
    }
    assert_eq!(
        ana.get(&conversation(&ben))["disappearing"]["lifetime_s"],
        0
    );
    assert!(ana.list(&conversation(&ben)).is_empty());
}
