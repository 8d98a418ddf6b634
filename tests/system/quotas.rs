//! What may come in through one contact, seen from outside.

use serde_json::{Value, json};

use crate::harness::{Node, befriend, connected, hand_on, pair};

fn quota(node: &Node, of: &Node) -> Value {
    node.contact(&of.id()).unwrap()["quota"].clone()
}

fn limit(node: &Node, of: &Node, bytes: u64) {
    let at = format!("/contacts/{}", of.id());
    let contact = node.patch(&at, &json!({ "quota_bytes": bytes }));
    assert_eq!(contact["quota"]["limit_bytes"], bytes);
}

/// Ben writes more than Ana takes from him: she stops there, both go on talking and she goes on
/// sending, and when she raises the limit the rest comes by itself.
#[test]
fn over_the_limit_only_messages_come_and_the_rest_once_it_is_raised() {
    let (ana, ben) = pair("Ana", "Ben");
    assert_eq!(quota(&ana, &ben)["limit_bytes"], 2_147_483_648_u64);
    let forum = ana.new_forum("Lake");
    let thread = ana.new_thread(&forum, "Hello", "hello");
    hand_on(&ana, &ben, &forum);
    ben.receives(&thread);
    let first = ben.reply(&thread, "first");
    ana.receives(&first);
    let used = quota(&ana, &ben)["used_bytes"].as_u64().unwrap();
    assert!(used > 0);
    assert_eq!(quota(&ben, &ana)["used_up"], false);

    limit(&ana, &ben, used + 10_000);
    let text = "all work and no play ".repeat(100);
    let replies: Vec<_> = (0..20).map(|_| ben.reply(&thread, &text)).collect();
    let full = ana.until("the limit to be reached", |node| {
        Some(quota(node, &ben)).filter(|quota| quota["used_up"] == true)
    });
    assert!(full["advice"].as_str().unwrap().contains("raise"), "{full}");
    let last = replies.last().unwrap();

    // He can still write to her, and she still sends what she has.
    let message = ben.send(&ana.id(), "why do you not answer?");
    ana.receives(&message);
    let answer = ana.reply(&thread, "my disk is small");
    ben.receives(&answer);
    assert!(ana.entry(last).is_none(), "it came all the same");
    let shown = ana.cli(&["contacts", "show", "Ben"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("nothing more is taken"), "{shown}");
    let listed = String::from_utf8(ana.cli(&["contacts"]).stdout).unwrap();
    assert!(listed.contains("limit reached"), "{listed}");

    let raised = ana.cli(&["contacts", "quota", "Ben", "1GiB"]);
    assert!(raised.status.success());
    ana.receives(last);
    let after = quota(&ana, &ben);
    assert_eq!(
        (&after["used_up"], &after["advice"]),
        (&json!(false), &Value::Null)
    );
    assert!(after["used_bytes"].as_u64().unwrap() > used + 40_000);
}

/// What comes through Cem counts for Cem, whoever wrote it; and at the start of a meeting the
/// limit holds as it does in the middle.
#[test]
fn it_counts_for_who_brings_it_also_after_a_restart() {
    let (mut ana, cem) = pair("Ana", "Cem");
    let ben = Node::named("Ben");
    befriend(&cem, &ben);
    let forum = cem.new_forum("Lake");
    let thread = cem.new_thread(&forum, "Hello", "hello");
    hand_on(&cem, &ana, &forum);
    hand_on(&cem, &ben, &forum);
    ben.receives(&thread);
    let text = ben.reply(&thread, &"a long letter ".repeat(200));
    ana.receives(&text);
    let used = quota(&ana, &cem)["used_bytes"].as_u64().unwrap();
    assert!(used > 2_800, "{used}");

    limit(&ana, &cem, 0);
    ana.stop();
    let late = ben.reply(&thread, "late");
    cem.receives(&late);
    ana.start();
    connected(&ana, &cem);
    let message = cem.send(&ana.id(), "are you there?");
    ana.receives(&message);
    assert!(ana.entry(&late).is_none());
    limit(&ana, &cem, 1_000_000);
    ana.receives(&late);
}

#[test]
fn a_limit_has_bounds() {
    let (ana, ben) = pair("Ana", "Ben");
    let at = format!("/contacts/{}", ben.id());
    let refused = ana.call("PATCH", &at, Some(&json!({ "quota_bytes": 1_u64 << 41 })));
    assert_eq!(
        (refused.status, refused.fields()),
        (422, vec!["quota_bytes"])
    );
    let absurd = ana.call("PATCH", &at, Some(&json!({ "quota_bytes": -1 })));
    assert!((400..500).contains(&absurd.status));
    limit(&ana, &ben, 0);
}
