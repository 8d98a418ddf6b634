//! Two people's dashboards, over two nodes that meet on loopback.

use std::time::Duration;

use engine::{
    Node,
    view::{ContactState, PageQuery},
};
use serde_json::json;

use super::Bench;

/// Nothing here takes longer unless it hangs.
const DEADLINE: Duration = Duration::from_secs(30);

/// Waits for a condition, asked again at each event of a node.
pub(super) async fn until(node: &Node, what: &str, mut holds: impl FnMut() -> bool) {
    let mut events = node.subscribe(None);
    let wait = async {
        while !holds() {
            assert!(
                events.next().await.is_some(),
                "the node stopped before {what}"
            );
        }
    };
    tokio::time::timeout(DEADLINE, wait)
        .await
        .unwrap_or_else(|_| panic!("{what} in time"));
}

pub(super) fn is_ready(bench: &Bench) -> bool {
    let contacts = bench.node.contacts(&PageQuery::default());
    contacts
        .unwrap()
        .items
        .iter()
        .any(|contact| contact.state == ContactState::Ready && contact.online)
}

async fn eva() -> Bench {
    let bench = Bench::fresh().await;
    bench.node.set_up("Eva <b>").await.unwrap();
    bench
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_meet_write_share_and_part() {
    let (ana, eva) = (Bench::ana().await, eva().await);
    let (at_ana, at_eva) = (ana.browser().await, eva.browser().await);

    // An invite on one page, used on the other.
    let invite = ana
        .post("/invites", json!({"note": "Eva from the choir"}))
        .await;
    let link = invite["link"].as_str().unwrap();
    let joined = at_eva
        .change("/contacts/join", &[("link", &format!(" {link}\n"))])
        .await;
    assert!(joined.starts_with("/contacts/"), "{joined}");
    until(&eva.node, "Ana as a contact", || is_ready(&eva)).await;
    until(&ana.node, "Eva as a contact", || is_ready(&ana)).await;
    let eva_id = ana.get("/contacts").await["items"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let ana_id = eva.get("/contacts").await["items"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();

    // The question whether it is she, and the words to compare.
    let home = at_ana.page("/").await;
    assert!(
        home.contains("Is this really") && home.contains("Eva &#60;b&#62;"),
        "{home}"
    );
    let words = ana.get(&format!("/contacts/{eva_id}/words")).await;
    assert_eq!(words, eva.get(&format!("/contacts/{ana_id}/words")).await);
    assert_eq!(words["words"].as_array().unwrap().len(), 12);
    let page = at_ana.page(&format!("/contacts/{eva_id}")).await;
    assert!(
        page.contains(words["words"][0].as_str().unwrap())
            && page.contains("online over this machine")
    );
    at_ana
        .change(
            &format!("/contacts/{eva_id}/trust"),
            &[("trust", "verified")],
        )
        .await;
    at_ana
        .change(
            &format!("/contacts/{eva_id}/nickname"),
            &[("nickname", "Evchen")],
        )
        .await;
    at_ana
        .change(&format!("/contacts/{eva_id}/quota"), &[("quota", "3")])
        .await;
    let page = at_ana.page(&format!("/contacts/{eva_id}")).await;
    assert!(page.contains("of 3 MiB came in"), "{page}");
    for (bad, why) in [("much", "whole number"), ("9999999", "at most 1048576")] {
        let again = at_ana
            .submit(&format!("/contacts/{eva_id}/quota"), &[("quota", bad)])
            .await;
        assert!(again.status == 422 && again.body.contains(why) && again.body.contains(bad));
    }
    let contact = ana.get(&format!("/contacts/{eva_id}")).await;
    assert_eq!(contact["quota"]["limit_bytes"], 3 * 1024 * 1024);
    assert_eq!(
        (&contact["trust"], &contact["nickname"], &contact["state"]),
        (&json!("verified"), &json!("Evchen"), &json!("ready"))
    );
    assert_eq!(
        at_ana
            .submit(&format!("/contacts/{eva_id}/trust"), &[("trust", "blind")])
            .await
            .status,
        422
    );
    assert!(
        !at_ana.page("/").await.contains("Is this really"),
        "who is verified isn't asked about"
    );

    // A message and where it is.
    let place = at_ana
        .change(&format!("/messages/{eva_id}"), &[("body", "Hello *Eva*")])
        .await;
    let message = place.split_once("#e-").unwrap().1.to_owned();
    let state = || {
        let post = ana.node.entry(message.parse().unwrap()).unwrap();
        post.delivery == Some(engine::view::Delivery::Delivered)
    };
    until(&ana.node, "the message's delivery", state).await;
    assert!(
        at_ana
            .page(&format!("/messages/{eva_id}"))
            .await
            .contains(">delivered</span>")
    );
    let conversation = eva.get(&format!("/conversations/{ana_id}?from=end")).await;
    assert_eq!(
        (&conversation["items"][0]["html"], &conversation["unread"]),
        (&json!("<p>Hello <em>Eva</em></p>\n"), &json!(1))
    );
    let found = at_eva.get(&format!("/entries/{message}")).await;
    assert_eq!(
        found.header("location"),
        format!("/messages/{ana_id}#e-{message}")
    );
    assert!(at_eva.page("/messages").await.contains("1 new"));
    assert_eq!(
        at_eva
            .submit(&format!("/messages/{ana_id}"), &[("body", "")])
            .await
            .status,
        422
    );
    at_eva
        .change(
            &format!("/messages/{ana_id}"),
            &[("body", "Hello Ana"), ("parent", &message)],
        )
        .await;
    at_eva
        .change(&format!("/messages/{ana_id}/read"), &[])
        .await;
    assert_eq!(eva.get("/conversations").await["items"][0]["unread"], 0);

    // A forum, offered, accepted and talked in.
    let forum = at_ana
        .change("/forums", &[("name", "Choir"), ("description", "")])
        .await;
    let space = forum.strip_prefix("/forums/").unwrap().to_owned();
    at_ana
        .change(&format!("/spaces/{space}/offers"), &[("contact", &eva_id)])
        .await;
    until(&eva.node, "the offer", || {
        !eva.node.offers().unwrap().is_empty()
    })
    .await;
    let offer = eva.get("/offers").await["items"][0].clone();
    assert_eq!(
        (&offer["name"], &offer["kind"], &offer["space"]),
        (&json!("Choir"), &json!("forum"), &json!(space))
    );
    assert!(at_eva.page("/forums").await.contains("Offered to you"));
    at_eva
        .change(
            &format!("/offers/{}/accept", offer["id"].as_str().unwrap()),
            &[],
        )
        .await;
    let thread = at_eva
        .change(
            &format!("/forums/{space}/threads"),
            &[("title", "Songs"), ("body", "Which?")],
        )
        .await;
    let topic = thread.strip_prefix("/threads/").unwrap().to_owned();
    until(&ana.node, "Eva's thread", || {
        ana.node
            .topic(topic.parse().unwrap(), &PageQuery::default())
            .is_ok()
    })
    .await;
    let page = at_ana.page(&thread).await;
    assert!(
        page.contains("data-unread")
            && page.contains("I have read this page")
            && page.contains("First unread")
    );
    assert_eq!(
        at_ana.get(&format!("/entries/{topic}/edit")).await.status,
        403,
        "only the author edits"
    );
    let refused = ana
        .call(
            axum::http::Method::PATCH,
            &format!("/entries/{topic}"),
            Some(json!({"body": "x"})),
        )
        .await;
    assert_eq!(refused.problem(), "not-allowed");
    at_ana
        .change(&format!("{thread}/read"), &[("id", &topic)])
        .await;
    assert_eq!(ana.get(&format!("/threads/{topic}")).await["unread"], 0);
    assert!(
        at_ana
            .page(&format!("/spaces/{space}/members"))
            .await
            .contains("let in by")
    );

    // Parting.
    assert!(
        at_ana
            .page(&format!("/contacts/{eva_id}/remove"))
            .await
            .contains("Remove <bdi>Evchen")
    );
    at_ana
        .change(&format!("/contacts/{eva_id}/remove"), &[])
        .await;
    assert_eq!(at_ana.get(&format!("/contacts/{eva_id}")).await.status, 404);
    ana.node.shutdown().await;
    eva.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_is_accepted_and_reads_a_blog() {
    let (ana, eva) = (Bench::ana().await, eva().await);
    let (at_ana, at_eva) = (ana.browser().await, eva.browser().await);

    // An invite for several people: each waits for an answer.
    let place = at_ana
        .change(
            "/invites",
            &[("note", "board"), ("uses", "3"), ("hours", "2")],
        )
        .await;
    let invite = ana.get(&place).await;
    let link = invite["link"].as_str().unwrap();
    let joined = at_eva.change("/contacts/join", &[("link", link)]).await;
    assert!(joined.ends_with("?done=joined"), "{joined}");
    let asks = || {
        let contacts = ana.node.contacts(&PageQuery::default()).unwrap();
        let state = contacts.items.first().map(|contact| contact.state);
        state == Some(ContactState::Asks)
    };
    until(&ana.node, "Eva's question", asks).await;
    assert!(
        at_ana
            .page("/")
            .await
            .contains("asks to become your contact")
    );
    let eva_id = ana.get("/contacts").await["items"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        at_ana
            .page("/contacts")
            .await
            .contains("Asking to become your contact")
    );
    at_ana
        .change(&format!("/contacts/{eva_id}/accept"), &[])
        .await;
    until(&eva.node, "Ana as a contact", || is_ready(&eva)).await;
    until(&ana.node, "Eva as a contact", || is_ready(&ana)).await;

    // Ana's blog comes by itself, and can be published on.
    let article = at_ana
        .change(
            "/blog/new",
            &[("title", "Geese"), ("body", "Loud *birds*"), ("tags", "")],
        )
        .await;
    let id = article.strip_prefix("/articles/").unwrap().to_owned();
    let arrived = || {
        eva.node
            .entry(id.parse().unwrap())
            .is_ok_and(|post| !post.missing)
    };
    until(&eva.node, "Ana's article", arrived).await;
    assert!(at_eva.page("/blogs").await.contains("1 new"));
    assert!(
        at_eva
            .page(&article)
            .await
            .contains(&format!("{article}/reblog"))
    );
    assert!(
        at_eva
            .page(&format!("{article}/reblog"))
            .await
            .contains("Loud <em>birds</em>")
    );
    let long = "x".repeat(70_000);
    let refused = at_eva
        .submit(&format!("{article}/reblog"), &[("body", &long)])
        .await;
    assert_eq!(refused.status, 422);
    let reblog = at_eva
        .change(&format!("{article}/reblog"), &[("body", "So true")])
        .await;
    let page = at_eva.page(&reblog).await;
    assert!(
        page.contains("So true")
            && page.contains("the signed original")
            && page.contains("Loud <em>birds</em>")
    );
    at_eva.change(&format!("{article}/read"), &[]).await;
    let marked = at_eva
        .submit("/entries/read", &[("id", &id), ("id", &id)])
        .await;
    assert_eq!(marked.status, 204);
    assert_eq!(
        at_eva.submit("/entries/read", &[("id", "x")]).await.status,
        404
    );

    // An offer can be declined, and a used link be put away.
    let forum = ana.post("/forums", json!({"name": "Choir"})).await;
    let space = forum["id"].as_str().unwrap();
    let offers = format!("/spaces/{space}/offers");
    assert_eq!(at_ana.submit(&offers, &[]).await.status, 422);
    at_ana.change(&offers, &[("contact", &eva_id)]).await;
    until(&eva.node, "the offer", || {
        !eva.node.offers().unwrap().is_empty()
    })
    .await;
    let offer = eva.get("/offers").await["items"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    at_eva
        .change(&format!("/offers/{offer}/decline"), &[])
        .await;
    assert_eq!(eva.get("/offers").await["items"], json!([]));
    let gone = at_eva.submit(&format!("/offers/{offer}/accept"), &[]).await;
    assert_eq!(gone.status, 404);
    assert!(
        at_ana
            .page("/contacts/add")
            .await
            .contains("used 1 of 3 times")
    );
    at_ana
        .change(&format!("{place}/delete"), &[("kept", "1")])
        .await;
    ana.node.shutdown().await;
    eva.node.shutdown().await;
}

/// Without JavaScript: Ben's page offers to introduce, Ana's asks.
#[tokio::test(flavor = "multi_thread")]
async fn an_introduction_is_made_and_answered_by_plain_forms() {
    let (ana, ben, cem) = (Bench::ana().await, eva().await, Bench::fresh().await);
    cem.node.set_up("Cem").await.unwrap();
    for (other, count) in [(&ana, 1), (&cem, 2)] {
        let invite = ben.post("/invites", json!({})).await;
        let link = invite["link"].as_str().unwrap();
        other.node.join(link).await.unwrap();
        until(&ben.node, "a contact", || {
            let contacts = ben.node.contacts(&PageQuery::default()).unwrap();
            contacts.items.iter().filter(|one| one.online).count() == count
        })
        .await;
    }
    let id = |bench: &Bench| {
        bench
            .node
            .status()
            .unwrap()
            .identity
            .unwrap()
            .id
            .to_string()
    };
    let (ana_id, ben_id, cem_id) = (id(&ana), id(&ben), id(&cem));
    let (at_ana, at_ben) = (ana.browser().await, ben.browser().await);
    let page = at_ben.page(&format!("/contacts/{ana_id}")).await;
    assert!(page.contains("Introduce them to somebody") && page.contains(&cem_id));
    let fields = [
        ("one", ana_id.as_str()),
        ("other", &cem_id),
        ("message", "<b>climb</b>"),
    ];
    let made = at_ben.change("/introductions", &fields).await;
    assert!(made.contains("introduced"), "{made}");
    until(&ana.node, "an introduction", || {
        !ana.node.introductions().unwrap().is_empty()
    })
    .await;
    for path in ["/contacts".to_owned(), format!("/messages/{ben_id}")] {
        let page = at_ana.page(&path).await;
        assert!(page.contains("introduces you to") && page.contains("&#60;b&#62;climb"));
    }
    let introduction = ana.node.introductions().unwrap().remove(0).id;
    let answered = at_ana
        .change(&format!("/introductions/{introduction}/accept"), &[])
        .await;
    assert_eq!(answered, format!("/messages/{ben_id}"));
    let page = at_ana.page(&answered).await;
    assert!(page.contains("You said yes."), "{page}");
    until(&cem.node, "an introduction", || {
        !cem.node.introductions().unwrap().is_empty()
    })
    .await;
    let at_cem = cem.browser().await;
    let declined = at_cem
        .change(&format!("/introductions/{introduction}/decline"), &[])
        .await;
    assert_eq!(declined, format!("/messages/{ben_id}"));
    assert!(at_cem.page(&declined).await.contains("Not now."));
}
