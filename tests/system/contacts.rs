//! Becoming, being and ceasing to be contacts.

use std::time::Duration;

use serde_json::json;

use crate::harness::{Node, befriend, connected, hand_on, pair};

/// A removed contact is cut within this.
const CUT_WITHIN: Duration = Duration::from_secs(1);

#[test]
fn two_people_become_contacts_by_one_link() {
    let (ana, ben) = (Node::named("Ana"), Node::named("Ben"));
    let link = ana.invite();
    assert!(link.starts_with("waymeet:"), "{link}");
    let joined = ben
        .call("POST", "/contacts/join", Some(&json!({ "link": link })))
        .expect(201);
    assert!(
        matches!(joined["state"].as_str(), Some("pending" | "ready")),
        "{joined}"
    );
    connected(&ana, &ben);

    let seen_by_ana = ana.contact(&ben.id()).unwrap();
    assert_eq!(seen_by_ana["name"], "Ben");
    assert_eq!(seen_by_ana["trust"], "unverified");
    assert_eq!(seen_by_ana["link"], "loopback");
    assert!(seen_by_ana["last_met_ms"].is_u64(), "{seen_by_ana}");
    assert_eq!(ben.contact(&ana.id()).unwrap()["name"], "Ana");
    assert_eq!(ana.list("/contacts").len(), 1);
    assert_eq!(
        ben.list("/contacts").len(),
        1,
        "the pending one became the real one"
    );
    assert_eq!(ana.get("/status")["counts"]["online"], 1);
}

#[test]
fn both_see_the_same_twelve_words_and_mark_their_trust() {
    let (ana, ben) = pair("Ana", "Ben");
    let words = |node: &Node, other: &Node| {
        node.get(&format!("/contacts/{}/words", other.id()))["words"].clone()
    };
    let at_ana = words(&ana, &ben);
    assert_eq!(at_ana, words(&ben, &ana));
    assert_eq!(at_ana.as_array().unwrap().len(), 12);

    let cem = Node::named("Cem");
    befriend(&ana, &cem);
    assert_ne!(at_ana, words(&ana, &cem), "each pair has words of its own");

    let at = format!("/contacts/{}", ben.id());
    for trust in ["words", "verified", "unverified"] {
        assert_eq!(ana.patch(&at, &json!({ "trust": trust }))["trust"], trust);
    }
    assert_eq!(
        ana.call("PATCH", &at, Some(&json!({ "trust": "blind" })))
            .fields(),
        ["trust"]
    );
}

#[test]
fn a_nickname_is_ours_alone() {
    let (ana, ben) = pair("Ana", "Ben");
    let at = format!("/contacts/{}", ben.id());
    let contact = ana.patch(&at, &json!({ "nickname": "Benno" }));
    assert_eq!(
        (contact["name"].as_str(), contact["nickname"].as_str()),
        (Some("Ben"), Some("Benno"))
    );
    let forum = ana.new_forum("Lake");
    hand_on(&ana, &ben, &forum);
    let thread = ben.new_thread(&forum, "Hello", "hello");
    let post = ana.receives(&thread);
    assert_eq!(post["author"]["name"], "Benno");
    assert_eq!(post["author"]["own_name"], "Ben");
    assert_eq!(ben.get("/status")["identity"]["name"], "Ben");
    let cleared = ana.patch(&at, &json!({ "nickname": "" }));
    assert!(cleared["nickname"].is_null(), "{cleared}");
    let long = ana.call("PATCH", &at, Some(&json!({ "nickname": "a".repeat(65) })));
    assert_eq!((long.status, long.fields()), (422, vec!["nickname"]));
}

#[test]
fn a_second_person_of_a_known_name_is_pointed_out() {
    let (ana, ben) = pair("Ana", "Ben");
    assert_eq!(ana.contact(&ben.id()).unwrap()["same_name"], false);
    let other = Node::named("Ben");
    befriend(&ana, &other);
    assert_eq!(ana.contact(&other.id()).unwrap()["same_name"], true);
}

#[test]
fn a_removed_contact_is_cut_within_a_second_and_gets_nothing_more() {
    let (ana, ben) = pair("Ana", "Ben");
    let cem = Node::named("Cem");
    befriend(&ana, &cem);
    let forum = ana.new_forum("Lake");
    hand_on(&ana, &ben, &forum);
    hand_on(&ana, &cem, &forum);
    ben.receives(&ana.new_thread(&forum, "Before", "before"));

    let (ana_id, ben_id) = (ana.id(), ben.id());
    ana.delete(&format!("/contacts/{ben_id}"));
    ben.within(CUT_WITHIN, "the cut", |ben| {
        (!ben.is_online(&ana_id)).then_some(())
    });
    assert!(ana.contact(&ben_id).is_none());

    let after = ana.new_thread(&forum, "After", "after");
    let from_ben = ben.new_thread(&forum, "Me too", "me too");
    let message = ben.send(&ana_id, "do you read me?");
    cem.receives(&after);
    // Ben has had as much time as Cem, and knocks while he waits for an answer that doesn't come.
    ben.until("a refusal", |ben| {
        ben.contact(&ana_id)?["last_error"]
            .is_string()
            .then_some(())
    });
    assert!(ben.entry(&after).is_none());
    assert!(ana.entry(&from_ben).is_none());
    assert_eq!(ben.entry(&message).unwrap()["state"], "waiting");
    assert_eq!(
        ana.call("GET", &format!("/conversations/{ben_id}"), None)
            .status,
        404
    );
}

#[test]
fn people_who_parted_can_meet_again_by_a_new_invite() {
    let (ana, ben) = pair("Ana", "Ben");
    ana.delete(&format!("/contacts/{}", ben.id()));
    ben.delete(&format!("/contacts/{}", ana.id()));
    assert!(ana.list("/contacts").is_empty() && ben.list("/contacts").is_empty());
    befriend(&ben, &ana);
    let hello = ana.send(&ben.id(), "here we are again");
    ben.reads(&hello, "here we are again");
}

#[test]
fn contacts_find_each_other_again_after_both_restarted() {
    let (mut ana, mut ben) = pair("Ana", "Ben");
    let (ana_id, ben_id) = (ana.id(), ben.id());
    ana.stop();
    ben.until("the other to go", |ben| {
        (!ben.is_online(&ana_id)).then_some(())
    });
    ben.stop();
    ana.start();
    ben.start();
    ana.until("the other to be back", |ana| {
        ana.is_online(&ben_id).then_some(())
    });
    ben.until("the other to be back", |ben| {
        ben.is_online(&ana_id).then_some(())
    });
}

#[test]
fn a_stranger_is_no_contact() {
    let ana = Node::named("Ana");
    let stranger = Node::named("Stranger").id();
    for (method, path) in [
        ("GET", format!("/contacts/{stranger}")),
        ("PATCH", format!("/contacts/{stranger}")),
        ("DELETE", format!("/contacts/{stranger}")),
        ("POST", format!("/contacts/{stranger}/accept")),
        ("GET", format!("/contacts/{stranger}/words")),
        ("GET", format!("/conversations/{stranger}")),
    ] {
        let body = matches!(method, "POST" | "PATCH").then(|| json!({}));
        let answer = ana.call(method, &path, body.as_ref());
        assert_eq!(
            (answer.status, answer.problem()),
            (404, "not-found"),
            "{method} {path}"
        );
    }
    let answer = ana.call(
        "POST",
        &format!("/conversations/{stranger}"),
        Some(&json!({ "body": "hi" })),
    );
    assert_eq!(answer.status, 404);
    let forum = ana.new_forum("Lake");
    let answer = ana.call(
        "POST",
        &format!("/spaces/{forum}/offers"),
        Some(&json!({ "contact": stranger })),
    );
    assert_eq!(answer.status, 404, "{answer:?}");
}
