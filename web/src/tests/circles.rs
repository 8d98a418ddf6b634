//! A circle of two people on their dashboards and over the API, from the invitation to the removal.

use engine::view::{CircleStanding, PageQuery};
use serde_json::json;

use super::{
    Bench,
    two::{is_ready, until},
};

async fn pair() -> (Bench, Bench) {
    let (ana, eva) = (Bench::ana().await, Bench::fresh().await);
    eva.node.set_up("Eva <b>").await.unwrap();
    let invite = ana.post("/invites", json!({})).await;
    eva.post("/contacts/join", json!({"link": invite["link"]}))
        .await;
    until(&eva.node, "Ana as a contact", || is_ready(&eva)).await;
    until(&ana.node, "Eva as a contact", || is_ready(&ana)).await;
    (ana, eva)
}

async fn only_contact(bench: &Bench) -> String {
    let contacts = bench.get("/contacts").await;
    contacts["items"][0]["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circle_is_made_shared_closed_handed_over_and_left() {
    let (ana, eva) = pair().await;
    let (at_ana, at_eva) = (ana.browser().await, eva.browser().await);
    let (eva_id, ana_id) = (only_contact(&ana).await, only_contact(&eva).await);
    let again = at_ana.submit("/circles", &[("name", "")]).await;
    assert_eq!(again.status, 422);
    let href = at_ana
        .change("/circles", &[("name", "Quiet <i>"), ("description", "us")])
        .await;
    let circle = href.strip_prefix("/circles/").unwrap().to_owned();
    let space: engine::SpaceId = circle.parse().unwrap();
    assert!(
        at_ana
            .page("/circles")
            .await
            .contains("Quiet &#60;i&#62;</a>")
    );
    // An invitation is taken back, and made again.
    at_ana
        .change(&format!("{href}/invitations"), &[("contact", &eva_id)])
        .await;
    let members = at_ana.page(&format!("{href}/members")).await;
    assert!(members.contains("invited, not answered yet"), "{members}");
    at_ana
        .change(&format!("{href}/withdraw"), &[("contact", &eva_id)])
        .await;
    let made = ana
        .post(
            &format!("/circles/{circle}/invitations"),
            json!({"contact": eva_id}),
        )
        .await;
    assert_eq!(made["state"], "waiting");
    until(&eva.node, "the invitation", || {
        !eva.node.offers().unwrap().is_empty()
    })
    .await;
    let page = at_eva.page("/circles").await;
    assert!(
        page.contains("invites you") && page.contains("Quiet &#60;i&#62;"),
        "{page}"
    );
    let offer = eva.get("/offers").await["items"][0].clone();
    assert_eq!(
        (&offer["kind"], &offer["space"]),
        (&json!("circle"), &json!(circle))
    );
    let accept = format!("/offers/{}/accept", offer["id"].as_str().unwrap());
    let place = at_eva.change(&accept, &[]).await;
    assert!(place.starts_with(&href), "{place}");
    until(&ana.node, "Eva as a member", || {
        ana.node.circle(space).unwrap().members == 2
    })
    .await;
    assert!(at_eva.page(&place).await.contains("owned by"));
    let refused = at_eva.submit(&format!("{href}/close"), &[]).await;
    assert_eq!(refused.status, 403);

    // A thread, which the owner closes and opens again.
    let thread = at_eva
        .change(
            &format!("{href}/threads"),
            &[("title", "Songs"), ("body", "Which?")],
        )
        .await;
    let topic: engine::EntryId = thread.strip_prefix("/threads/").unwrap().parse().unwrap();
    let shown = |bench: &Bench| bench.node.topic(topic, &PageQuery::default()).ok();
    until(&ana.node, "Eva's thread", || shown(&ana).is_some()).await;
    assert!(at_ana.page("/").await.contains(&href), "what is new");
    let found = ana.get("/search?q=Which").await;
    assert_eq!(found["items"][0]["kind"], "circle");
    let closing = [("thread", &*topic.to_string())];
    at_ana.change(&format!("{href}/close"), &closing).await;
    until(&eva.node, "the end of the thread", || {
        shown(&eva).is_some_and(|page| page.topic.closed)
    })
    .await;
    let page = at_eva.page(&thread).await;
    assert!(
        page.contains("Nothing can be answered here") && !page.contains("<textarea"),
        "{page}"
    );
    let late = at_eva
        .submit(&format!("{thread}/replies"), &[("body", "late")])
        .await;
    assert_eq!(late.status, 409);
    at_ana.change(&format!("{href}/reopen"), &closing).await;

    // Handed over, and back by the API.
    let refused = at_ana.submit(&format!("/spaces/{circle}/leave"), &[]).await;
    assert_eq!(refused.status, 403, "the owner stays");
    let ask = at_ana.page(&format!("{href}/hand-over")).await;
    assert!(ask.contains("Eva &#60;b&#62;"), "{ask}");
    at_ana
        .change(&format!("{href}/hand-over"), &[("person", &eva_id)])
        .await;
    until(&eva.node, "the hand-over", || {
        eva.node.circle(space).unwrap().standing == CircleStanding::Owner
    })
    .await;
    let back = eva
        .call(
            axum::http::Method::POST,
            &format!("/circles/{circle}/hand-over"),
            Some(json!({"to": ana_id})),
        )
        .await;
    assert_eq!(back.json()["owner"]["id"], json!(ana_id));
    until(&ana.node, "the circle back", || {
        ana.node.circle(space).unwrap().standing == CircleStanding::Owner
    })
    .await;

    // Eva is removed: she reads what she had.
    let ask = at_ana.page(&format!("{href}/remove?person={eva_id}")).await;
    assert!(ask.contains("Remove for good"), "{ask}");
    at_ana
        .change(&format!("{href}/remove"), &[("person", &eva_id)])
        .await;
    until(&eva.node, "the removal", || {
        eva.node.circle(space).unwrap().standing == CircleStanding::Removed
    })
    .await;
    assert!(at_eva.page(&href).await.contains("You were removed"));
    assert!(at_eva.page(&thread).await.contains("Which?"));
    assert_eq!(
        eva.get(&format!("/circles/{circle}")).await["standing"],
        "removed"
    );
    let members = ana.get(&format!("/circles/{circle}/members")).await;
    assert_eq!(
        (
            &members["items"][0]["standing"],
            &members["items"][1]["standing"]
        ),
        (&json!("owner"), &json!("removed"))
    );
    for (bench, browser) in [(&eva, &at_eva), (&ana, &at_ana)] {
        let left = browser
            .change(&format!("/spaces/{circle}/leave"), &[])
            .await;
        assert!(left.starts_with("/circles?"), "{left}");
        assert!(bench.node.circle(space).is_err());
    }
    ana.node.shutdown().await;
    eva.node.shutdown().await;
}
