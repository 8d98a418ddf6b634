//! A contact introduces two of their contacts to each other.

use std::fs;

use proto::{EndpointId, card::Invite};
use serde_json::{Value, json};

use crate::harness::{LOOPBACK_LINKS, Node, befriend, connected};

struct Three {
    ana: Node,
    ben: Node,
    cem: Node,
}

/// Ana and Cem both know Ben, and nothing of each other.
fn three() -> Three {
    let [ana, ben, cem] = ["Ana", "Ben", "Cem"].map(Node::named);
    befriend(&ben, &ana);
    befriend(&ben, &cem);
    Three { ana, ben, cem }
}

fn introduce(by: &Node, one: &Node, other: &Node) -> String {
    let body = json!({ "one": one.id(), "other": other.id(), "message": "You both climb" });
    let made = by.call("POST", "/introductions", Some(&body)).expect(201);
    made["id"].as_str().unwrap().to_owned()
}

#[track_caller]
fn state(node: &Node, id: &str, wanted: &str) -> Value {
    node.until(&format!("an introduction to be {wanted}"), |node| {
        let found = node.call("GET", &format!("/introductions/{id}"), None);
        (found.status == 200 && found.body["state"] == wanted).then_some(found.body)
    })
}

fn answer(node: &Node, id: &str, what: &str) -> Value {
    node.post(&format!("/introductions/{id}/{what}"), &json!({}))
}

#[track_caller]
fn are_introduced(three: &Three) {
    let Three { ana, ben, cem } = three;
    connected(ana, cem);
    for (at, other) in [(ana, cem), (cem, ana)] {
        let contact = at.contact(&other.id()).unwrap();
        assert_eq!(contact["trust"], "introduced");
        assert_eq!(contact["introduced_by"]["id"], ben.id().as_str());
    }
    let words = |node: &Node, of: &Node| node.get(&format!("/contacts/{}/words", of.id()));
    assert_eq!(words(ana, cem), words(cem, ana));
    let message = ana.send(&cem.id(), "hello");
    cem.reads(&message, "hello");
}

#[test]
fn three_people_one_introduces_two() {
    let three = three();
    let Three { ana, ben, cem } = &three;
    let id = introduce(ben, ana, cem);
    let asked = state(ana, &id, "asks");
    assert_eq!(asked["other"]["name"], "Cem");
    assert_eq!(asked["by"]["name"], "Ben");
    assert_eq!(asked["message"], "You both climb");
    state(cem, &id, "asks");
    assert!(ana.contact(&cem.id()).is_none());
    answer(ana, &id, "accept");
    state(ana, &id, "waits");
    ben.until("Ana's answer", |ben| {
        let made = ben.get(&format!("/introductions/{id}"));
        (made["one_says"] == "yes" && made["state"] == "waits").then_some(())
    });
    // Twice is once.
    let twice = ana.call("POST", &format!("/introductions/{id}/accept"), None);
    assert_eq!(twice.status, 409);
    let again = json!({ "one": cem.id(), "other": ana.id() });
    assert_eq!(ben.call("POST", "/introductions", Some(&again)).status, 409);
    answer(cem, &id, "accept");
    are_introduced(&three);
    for node in [ana, ben, cem] {
        state(node, &id, "done");
    }
    // A conversation shows no entry of it as a message.
    let with_ben = ana.get(&format!("/conversations/{}", ben.id()));
    assert_eq!(
        with_ben["items"].as_array().map(Vec::len),
        Some(0),
        "{with_ben}"
    );
}

#[test]
fn a_no_is_heard_as_not_now_and_nobody_becomes_a_contact() {
    let Three { ana, ben, cem } = three();
    let id = introduce(&ben, &ana, &cem);
    state(&ana, &id, "asks");
    state(&cem, &id, "asks");
    answer(&ana, &id, "accept");
    let declined = cem.cli_json(&["introduce", "--decline", &id]);
    assert_eq!(declined["state"], "declined");
    let at_ana = state(&ana, &id, "declined");
    assert_eq!(at_ana["other_says"], "no");
    state(&ben, &id, "declined");
    assert!(ana.contact(&cem.id()).is_none() && cem.contact(&ana.id()).is_none());
    let wrong = json!({ "one": ana.id(), "other": ana.id() });
    assert_eq!(ben.call("POST", "/introductions", Some(&wrong)).status, 422);
    let stranger = json!({ "one": ben.id(), "other": cem.id() });
    assert_eq!(
        ana.call("POST", "/introductions", Some(&stranger)).status,
        409
    );
    let list = ben.cli(&["introduce"]);
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(
        list.contains("Ana and Cem") && list.contains("not now"),
        "{list}"
    );
    // Not now, that is: Ben may ask once more.
    let again = introduce(&ben, &ana, &cem);
    state(&ana, &again, "asks");
    state(&cem, &again, "asks");
}

#[test]
fn of_two_introducers_the_one_who_brought_them_together_is_named() {
    let three = three();
    let Three { ana, ben, cem } = &three;
    let dan = Node::named("Dan");
    befriend(&dan, ana);
    befriend(&dan, cem);
    let by_dan = introduce(&dan, ana, cem);
    let by_ben = introduce(ben, ana, cem);
    for node in [ana, cem] {
        state(node, &by_dan, "asks");
        state(node, &by_ben, "asks");
    }
    answer(cem, &by_dan, "accept");
    answer(cem, &by_ben, "accept");
    answer(ana, &by_ben, "accept");
    are_introduced(&three);
    // Nothing is left to say to the other.
    for node in [ana, cem] {
        let left = node.call("GET", &format!("/introductions/{by_dan}"), None);
        assert_eq!(left.status, 404, "{:?}", left.body);
    }
}

/// The device's endpoint, as a link names it.
fn endpoint(node: &Node) -> EndpointId {
    let invite = node.post("/invites", &json!({}));
    node.delete(&format!("/invites/{}", invite["id"].as_str().unwrap()));
    let link = Invite::parse(invite["link"].as_str().unwrap()).unwrap();
    link.endpoint
}

/// The one with the lower endpoint speaks first, but only the other knows a way.
#[test]
fn the_other_dials_where_the_first_knows_no_way() {
    let mut three = three();
    let id = introduce(&three.ben, &three.ana, &three.cem);
    let ana_is_low = endpoint(&three.ana) < endpoint(&three.cem);
    let Three { ana, ben, cem } = &mut three;
    let (low, high) = if ana_is_low { (ana, cem) } else { (cem, ana) };
    state(high, &id, "asks");
    answer(high, &id, "accept");
    let whose = if ana_is_low { "other_says" } else { "one_says" };
    ben.until("the answer", |ben| {
        (ben.get(&format!("/introductions/{id}"))[whose] == "yes").then_some(())
    });
    high.stop();
    // Somewhere else than its card says.
    let settings = LOOPBACK_LINKS.replace("127.0.0.1:0", "127.0.0.2:0");
    fs::write(high.settings_file(), settings).unwrap();
    state(low, &id, "asks");
    answer(low, &id, "accept");
    state(low, &id, "meets");
    high.start();
    are_introduced(&three);
}

/// Whoever's power is cut, right after each thing that was acknowledged, it goes on.
#[test]
fn an_introduction_survives_kills_at_every_step() {
    let mut three = three();
    let id = introduce(&three.ben, &three.ana, &three.cem);
    three.ben.kill();
    three.ben.start();
    state(&three.ana, &id, "asks");
    three.ana.kill();
    three.ana.start();
    state(&three.ana, &id, "asks");
    answer(&three.ana, &id, "accept");
    three.ana.kill();
    three.ben.kill();
    three.ana.start();
    three.ben.start();
    three.ben.until("Ana's answer", |ben| {
        (ben.get(&format!("/introductions/{id}"))["one_says"] == "yes").then_some(())
    });
    // Only Ben can bring it to Cem.
    state(&three.cem, &id, "asks");
    three.ben.kill();
    answer(&three.cem, &id, "accept");
    three.cem.kill();
    three.cem.start();
    three.ben.start();
    // Between the other's yes and the meeting, or after it.
    three.ana.until("Cem's answer", |ana| {
        let state = ana.get(&format!("/introductions/{id}"));
        (state["other_says"] == "yes").then_some(())
    });
    three.ana.kill();
    three.ana.start();
    are_introduced(&three);
}
