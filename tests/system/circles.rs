//! Circles of real nodes: two members who don't know each other, one who is removed, and a fourth
//! who comes later. On loopback.

use serde_json::json;

use crate::harness::{Node, befriend, pair};

fn invite(owner: &Node, to: &Node, circle: &str) -> String {
    let made = owner.post(
        &format!("/circles/{circle}/invitations"),
        &json!({ "contact": to.id() }),
    );
    assert_eq!(made["state"], "waiting");
    let offer = to.until("an invitation", |_| {
        let offers = to.list("/offers");
        offers.into_iter().find(|offer| offer["space"] == circle)
    });
    assert_eq!(offer["kind"], "circle");
    offer["id"].as_str().unwrap().to_owned()
}

fn let_in(owner: &Node, to: &Node, circle: &str) {
    let offer = invite(owner, to, circle);
    to.post(&format!("/offers/{offer}/accept"), &json!({}));
    stands(owner, circle, &to.id(), "member");
}

/// Waits until a node says of somebody what they are.
fn stands(node: &Node, circle: &str, who: &str, standing: &str) {
    node.until(standing, |_| {
        let members = node.list(&format!("/circles/{circle}/members"));
        let mut members = members.into_iter();
        members.find(|member| member["person"]["id"] == who && member["standing"] == standing)
    });
}

fn thread(node: &Node, circle: &str, title: &str) -> String {
    let thread = node.post(
        &format!("/circles/{circle}/threads"),
        &json!({ "title": title, "body": "Words" }),
    );
    thread["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_circle_of_four_goes_through_its_owner_and_loses_one() {
    let (ana, ben) = pair("Ana", "Ben");
    let (mut cem, dora) = (Node::named("Cem"), Node::named("Dora"));
    befriend(&ana, &cem);
    befriend(&ben, &dora);
    let circle = ana.post("/circles", &json!({ "name": "Quiet", "description": "us" }));
    let circle = circle["id"].as_str().unwrap();
    let_in(&ana, &ben, circle);
    let_in(&ana, &cem, circle);

    // Ben and Cem are no contacts, and read each other through Ana.
    let by_ben = thread(&ben, circle, "From Ben");
    cem.receives(&by_ben);
    let answer = cem.reply(&by_ben, "From Cem");
    ben.receives(&answer);
    let members = ben.list(&format!("/circles/{circle}/members"));
    let seen = members
        .iter()
        .find(|member| member["person"]["id"] == cem.id().as_str());
    let seen = seen.unwrap();
    assert_eq!(
        (&seen["person"]["relation"], &seen["let_in_by"]["name"]),
        (&json!("stranger"), &json!("Ana"))
    );
    assert_eq!(
        ben.call(
            "POST",
            &format!("/circles/{circle}/invitations"),
            Some(&json!({ "contact": dora.id() })),
        )
        .status,
        403,
        "only the owner invites"
    );

    // Cem is removed while his node is away.
    let cem_id = cem.id();
    cem.stop();
    let removed = ana.call(
        "DELETE",
        &format!("/circles/{circle}/members/{cem_id}"),
        None,
    );
    removed.expect(204);
    let without = thread(&ana, circle, "Without Cem");
    ben.receives(&without);
    stands(&ben, circle, &cem_id, "removed");
    cem.start();
    cem.until("the removal", |_| {
        let shown = cem
            .call("GET", &format!("/circles/{circle}"), None)
            .expect(200);
        (shown["standing"] == "removed").then_some(())
    });
    assert!(cem.entry(&without).is_none());
    assert!(cem.entry(&by_ben).is_some(), "what was there stays");
    let refused = cem.call(
        "POST",
        &format!("/circles/{circle}/threads"),
        Some(&json!({ "title": "After", "body": "Words" })),
    );
    refused.expect(409);

    // Ana hands it over; Ben lets Dora in, who gets what was written before.
    ana.call(
        "POST",
        &format!("/circles/{circle}/hand-over"),
        Some(&json!({ "to": ben.id() })),
    )
    .expect(200);
    stands(&ben, circle, &ben.id(), "owner");
    let_in(&ben, &dora, circle);
    dora.receives(&without);
    dora.receives(&by_ben);
    let by_dora = thread(&dora, circle, "From Dora");
    ana.receives(&by_dora);
    stands(&ana, circle, &dora.id(), "member");
    assert!(cem.entry(&by_dora).is_none());
    let late = ana.call(
        "DELETE",
        &format!("/circles/{circle}/members/{}", dora.id()),
        None,
    );
    late.expect(403);
    ana.call("DELETE", &format!("/spaces/{circle}"), None)
        .expect(204);
    stands(&ben, circle, &ana.id(), "left");
    assert!(ana.list("/circles").is_empty());
}

#[test]
fn the_command_covers_circles() {
    let (ana, ben) = pair("Ana", "Ben");
    let circle = ana.cli_json(&["circles", "new", "Quiet", "--description", "us"]);
    let id = circle["id"].as_str().unwrap();
    ana.cli_json(&["circles", "invite", "Quiet", "Ben"]);
    ana.cli_json(&["circles", "withdraw", "Quiet", "Ben"]);
    ana.cli_json(&["circles", "invite", "Quiet", "Ben"]);
    let offer = ben.until("an invitation", |_| {
        let offers = ben.list("/offers");
        offers.into_iter().find(|offer| offer["space"] == id)
    });
    ben.cli_json(&["forums", "accept", offer["id"].as_str().unwrap()]);
    stands(&ana, id, &ben.id(), "member");
    let thread = ben.cli_json(&["circles", "post", "Quiet", "Hello", "words"]);
    let thread = thread["id"].as_str().unwrap();
    ana.receives(thread);
    let threads = ana.cli_json(&["circles", "threads", "Quiet"]);
    assert_eq!(threads["items"][0]["space_kind"], "circle");
    ana.cli_json(&["circles", "close", "Quiet", "--thread", thread]);
    let threads = ana.cli_json(&["circles", "threads", "Quiet"]);
    assert_eq!(threads["items"][0]["closed"], true);
    assert_eq!(ana.cli_json(&["circles", "close", "Quiet"])["closed"], true);
    assert_eq!(
        ana.cli_json(&["circles", "reopen", "Quiet"])["closed"],
        false
    );
    let over = ana.cli_json(&["circles", "hand-over", "Quiet", "Ben"]);
    assert_eq!(over["owner"]["name"], "Ben");
    stands(&ben, id, &ben.id(), "owner");
    ben.cli_json(&["circles", "remove", "Quiet", "Ana"]);
    stands(&ana, id, &ana.id(), "removed");
    let members = ana.cli_json(&["circles", "members", "Quiet"]);
    assert_eq!(members["items"][0]["standing"], "owner");
    ana.cli_json(&["circles", "leave", "Quiet"]);
    let list = ana.cli_json(&["circles"]);
    assert_eq!(list["items"], json!([]));
}
