//! Private messages and where they are.

use serde_json::{Value, json};

use crate::harness::{Node, befriend, connected, pair};

fn state(node: &Node, message: &str) -> Value {
    node.entry(message).unwrap()["state"].clone()
}

#[test]
fn two_people_write_to_each_other() {
    let (ana, ben) = pair("Ana", "Ben");
    let at = format!("/conversations/{}", ben.id());
    let sent = ana
        .call(
            "POST",
            &at,
            Some(&json!({ "body": "a lift on **Friday**?" })),
        )
        .expect(201);
    assert!(
        matches!(
            sent["state"].as_str(),
            Some("written" | "waiting" | "delivered")
        ),
        "{sent}"
    );
    let id = sent["id"].as_str().unwrap();
    let seen = ben.receives(id);
    assert_eq!(
        (&seen["author"]["name"], &seen["unread"]),
        (&json!("Ana"), &json!(true))
    );
    assert!(seen["state"].is_null(), "only the writer asks where it is");
    ana.until("the delivery", |ana| {
        (state(ana, id) == "delivered").then_some(())
    });

    let answer = json!({ "body": "sure", "parent": id });
    let answer = ben.post(&format!("/conversations/{}", ana.id()), &answer);
    assert_eq!(answer["parent"], id);
    ana.receives(answer["id"].as_str().unwrap());
    let bodies = |node: &Node, other: &Node| -> Vec<Value> {
        node.list(&format!("/conversations/{}", other.id()))
            .iter()
            .map(|message| message["body"].clone())
            .collect()
    };
    assert_eq!(bodies(&ana, &ben), ["a lift on **Friday**?", "sure"]);
    assert_eq!(bodies(&ben, &ana), bodies(&ana, &ben));
    assert_eq!(
        ana.get(&at)["space"],
        ben.get(&format!("/conversations/{}", ana.id()))["space"],
        "both have the same space without asking"
    );
}

#[test]
fn a_message_waits_for_a_meeting_and_says_so() {
    let (mut ana, mut ben) = pair("Ana", "Ben");
    let (ana_id, ben_id) = (ana.id(), ben.id());
    ben.stop();
    ana.until("Ben to be gone", |ana| {
        (!ana.is_online(&ben_id)).then_some(())
    });
    let message = ana.send(&ben_id, "when you are back");
    assert_eq!(state(&ana, &message), "waiting");
    ana.kill();
    ana.start();
    assert_eq!(state(&ana, &message), "waiting", "also after a power cut");
    let events = ana.events(None);
    ben.start();
    connected(&ana, &ben);
    ben.reads(&message, "when you are back");
    let delivery = events.next("the delivery", |event| event.kind == "delivery");
    assert_eq!(delivery.data["kind"], "delivery");
    ana.until("the delivery", |ana| {
        (state(ana, &message) == "delivered").then_some(())
    });
    assert_eq!(ben.get(&format!("/conversations/{ana_id}"))["unread"], 1);
}

#[test]
fn a_conversation_is_between_two() {
    let (ana, ben) = pair("Ana", "Ben");
    let cem = Node::named("Cem");
    befriend(&ben, &cem);
    befriend(&ana, &cem);
    let message = ana.send(&ben.id(), "for you alone");
    ben.receives(&message);
    cem.receives(&ana.send(&cem.id(), "and this for you"));
    assert!(cem.entry(&message).is_none());
    assert_eq!(cem.list(&format!("/conversations/{}", ana.id())).len(), 1);
    let space = ben.entry(&message).unwrap()["space"]
        .as_str()
        .unwrap()
        .to_owned();
    let offer = ben.call(
        "POST",
        &format!("/spaces/{space}/offers"),
        Some(&json!({ "contact": cem.id() })),
    );
    assert!(
        matches!(offer.status, 403 | 404 | 409),
        "a conversation can't be offered: {offer:?}"
    );
}

#[test]
fn messages_are_edited_taken_back_and_read() {
    let (ana, ben) = pair("Ana", "Ben");
    let (kept, gone) = (ana.send(&ben.id(), "fryday"), ana.send(&ben.id(), "oops"));
    ben.receives(&gone);
    ana.patch(&format!("/entries/{kept}"), &json!({ "body": "Friday" }));
    ana.delete(&format!("/entries/{gone}"));
    ben.reads(&kept, "Friday");
    let empty = ben.until("the retract", |ben| {
        ben.entry(&gone)
            .filter(|message| message["retracted"] == true)
    });
    assert_eq!(empty["body"], "");

    let at = format!("/conversations/{}", ana.id());
    ben.post(&format!("{at}/read"), &json!({}));
    assert_eq!(ben.get(&at)["unread"], 0);
    let conversations = ben.list("/conversations");
    assert_eq!(conversations.len(), 1);
    assert_eq!(
        (
            &conversations[0]["contact"]["name"],
            &conversations[0]["unread"]
        ),
        (&json!("Ana"), &json!(0))
    );
}

#[test]
fn the_newest_page_comes_from_the_end() {
    let (ana, ben) = pair("Ana", "Ben");
    let ids: Vec<_> = (0..7)
        .map(|number| ana.send(&ben.id(), &format!("{number}")))
        .collect();
    ben.receives(&ids[6]);
    let at = format!("/conversations/{}?limit=3", ana.id());
    let bodies = |page: &Value| -> Vec<String> {
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|message| message["body"].as_str().unwrap().to_owned())
            .collect()
    };
    let newest = ben.get(&format!("{at}&from=end"));
    assert_eq!(bodies(&newest), ["4", "5", "6"]);
    let before = ben.get(&format!(
        "{at}&cursor={}",
        newest["previous"].as_str().unwrap()
    ));
    assert_eq!(bodies(&before), ["1", "2", "3"]);
    let first = ben.get(&format!(
        "{at}&cursor={}",
        before["previous"].as_str().unwrap()
    ));
    assert_eq!(bodies(&first)[0], "0");
    assert!(first["previous"].is_null(), "{first}");
    assert_eq!(
        bodies(&ben.get(&at)),
        ["0", "1", "2"],
        "without more words from the beginning"
    );
}

#[test]
fn a_messages_bounds_are_kept() {
    let (ana, ben) = pair("Ana", "Ben");
    let at = format!("/conversations/{}", ben.id());
    for (body, field) in [
        (json!({ "body": "" }), "body"),
        (json!({}), "body"),
        (json!({ "body": "x".repeat(64 * 1024 + 1) }), "body"),
        (json!({ "body": "b", "parent": "a".repeat(52) }), "parent"),
        (json!({ "body": "b", "to": "everybody" }), "to"),
    ] {
        let answer = ana.call("POST", &at, Some(&body));
        assert_eq!(
            (answer.status, answer.fields()),
            (422, vec![field]),
            "{}",
            answer.body
        );
    }
    assert!(ana.list(&at).is_empty());
}
