//! How a conversation is kept: two people's dashboards.

use engine::view::Delivery;
use serde_json::json;

use super::{
    Bench,
    two::{is_ready, until},
};

#[tokio::test(flavor = "multi_thread")]
async fn two_people_let_messages_disappear_tell_reading_and_delete() {
    let (ana, eva) = (Bench::ana().await, Bench::fresh().await);
    eva.node.set_up("Eva <b>").await.unwrap();
    let invite = ana.post("/invites", json!({})).await;
    let link = invite["link"].as_str().unwrap();
    let (at_ana, at_eva) = (ana.browser().await, eva.browser().await);
    at_eva.change("/contacts/join", &[("link", link)]).await;
    until(&eva.node, "Ana as a contact", || is_ready(&eva)).await;
    until(&ana.node, "Eva as a contact", || is_ready(&ana)).await;
    let id = |list: serde_json::Value| list["items"][0]["id"].as_str().unwrap().to_owned();
    let eva_id = id(ana.get("/contacts").await);
    let ana_id = id(eva.get("/contacts").await);
    let (to_eva, to_ana) = (format!("/messages/{eva_id}"), format!("/messages/{ana_id}"));

    // Ana lets messages disappear, and would like to tell what is read.
    assert!(at_ana.page(&to_eva).await.contains("Messages stay."));
    let keep = format!("{to_eva}/keep");
    let again = at_ana.submit(&keep, &[("lifetime", "59")]).await;
    assert!(again.status == 422 && again.body.contains("expected 0"));
    assert_eq!(at_ana.submit(&keep, &[("lifetime", "x")]).await.status, 422);
    let place = at_ana
        .change(
            &keep,
            &[
                ("lifetime", "604800"),
                ("asked", "yes"),
                ("receipts", "yes"),
            ],
        )
        .await;
    assert_eq!(place, to_eva);
    let page = at_ana.page(&to_eva).await;
    assert!(page.contains("disappear 1 week after they were read, set by you"));
    assert!(
        at_ana
            .page("/messages")
            .await
            .contains("You set that messages disappear 1 week")
    );
    let asks = || {
        let ana = ana_id.parse().unwrap();
        let page = eva
            .node
            .conversation(ana, &engine::view::PageQuery::default(), true);
        page.unwrap().conversation.receipts.theirs
    };
    until(&eva.node, "Ana's setting", asks).await;
    let page = at_eva.page(&to_ana).await;
    assert!(page.contains("would like to tell each other when messages are read.</span>"));
    assert!(page.contains("set by Ana"), "{page}");
    at_eva
        .change(
            &format!("{to_ana}/keep"),
            &[("asked", "yes"), ("receipts", "yes")],
        )
        .await;
    let page = at_eva.page(&to_ana).await;
    assert!(page.contains("; you tell each other when they are read."));
    assert!(
        page.contains("1 week after they were read"),
        "a wish alone changes no time"
    );
    let kept = || {
        let eva = eva_id.parse().unwrap();
        let page = ana
            .node
            .conversation(eva, &engine::view::PageQuery::default(), true);
        page.unwrap().conversation.receipts.theirs
    };
    until(&ana.node, "Eva's wish", kept).await;

    // A message, read, and told so.
    let place = at_ana.change(&to_eva, &[("body", "secret words")]).await;
    let message = place.split_once("#e-").unwrap().1.to_owned();
    assert!(
        at_ana
            .page(&to_eva)
            .await
            .contains("disappears 1 week after delivery")
    );
    until(&eva.node, "the message", || {
        eva.node.entry(message.parse().unwrap()).is_ok()
    })
    .await;
    assert!(
        at_eva
            .page(&to_ana)
            .await
            .contains("disappears 1 week after it was read")
    );
    let seen = eva.get(&format!("/entries/{message}")).await;
    assert_eq!(
        (&seen["lifetime_s"], &seen["expires_ms"]),
        (&json!(604_800), &json!(null))
    );
    at_eva.change(&format!("{to_ana}/read"), &[]).await;
    assert!(at_eva.page(&to_ana).await.contains("disappears in 7 days"));
    let told = || {
        let post = ana.node.entry(message.parse().unwrap()).unwrap();
        matches!(post.delivery, Some(Delivery::Read(_)))
    };
    until(&ana.node, "that it was read", told).await;
    assert!(at_ana.page(&to_eva).await.contains(">read</span>"));
    let sent = ana.get(&format!("/entries/{message}")).await;
    assert!(sent["state"] == "read" && sent["read_ms"].as_u64().unwrap() > 0);
    assert!(sent["expires_ms"].as_u64().is_some());

    // Eva deletes it for herself; Ana keeps it.
    let ask = at_eva.page(&format!("/entries/{message}/delete")).await;
    assert!(ask.contains("secret words") && ask.contains("on this node only"));
    let place = at_eva
        .change(&format!("/entries/{message}/delete"), &[])
        .await;
    assert_eq!(place, to_ana);
    assert!(!at_eva.page(&to_ana).await.contains("secret words"));
    assert_eq!(at_eva.get(&format!("/entries/{message}")).await.status, 404);
    assert!(at_ana.page(&to_eva).await.contains("secret words"));
}
