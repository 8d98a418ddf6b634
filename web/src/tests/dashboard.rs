//! A person without JavaScript, from the first page on.

use super::Bench;

/// What stands between the first `begin` and the next `end`.
fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    let rest = text
        .split_once(begin)
        .unwrap_or_else(|| panic!("no {begin} in {text}"))
        .1;
    rest.split_once(end).unwrap().0
}

#[tokio::test]
async fn the_first_run_asks_for_a_name_and_then_opens_home() {
    let bench = Bench::fresh().await;
    let browser = bench.browser().await;
    for path in ["/", "/forums", "/settings", "/nowhere"] {
        let answer = browser.get(path).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("location")),
            (303, "/first-run"),
            "{path}"
        );
    }
    let page = browser.page("/first-run").await;
    assert!(page.contains("value=\"off\" checked") && page.contains("A relay is a server"));
    assert_eq!(
        browser.submit("/forums", &[("name", "x")]).await.status,
        409
    );
    let refused = browser
        .submit("/first-run", &[("name", " "), ("internet", "off")])
        .await;
    assert_eq!(refused.status, 422);
    assert!(refused.body.contains("role=\"alert\""));
    assert_eq!(
        browser
            .change("/first-run", &[("name", "Ana"), ("internet", "off")])
            .await,
        "/"
    );
    let home = browser.page("/").await;
    assert!(home.contains("Three ways to begin") && home.contains("/contacts/add"));
    assert_eq!(browser.get("/first-run").await.header("location"), "/");
}

#[tokio::test]
async fn a_forum_is_made_and_talked_in() {
    let bench = Bench::ana().await;
    let browser = bench.browser().await;
    let refused = browser
        .submit("/forums", &[("name", ""), ("description", "<b>kept</b>")])
        .await;
    assert_eq!(refused.status, 422);
    assert!(
        refused.body.contains("&#60;b&#62;kept&#60;/b&#62;"),
        "what was typed stays, escaped: {}",
        refused.body
    );
    let forum = browser
        .change(
            "/forums",
            &[("name", "Camp <i>"), ("description", "by the lake")],
        )
        .await;
    let page = browser.page(&forum).await;
    assert!(page.contains("Camp &#60;i&#62;") && page.contains("No threads yet"));
    assert!(browser.page("/forums").await.contains(&forum));

    let new = format!("{forum}/threads");
    assert_eq!(
        browser
            .submit(&new, &[("title", ""), ("body", "x")])
            .await
            .status,
        422
    );
    let thread = browser
        .change(&new, &[("title", "Pots"), ("body", "Who has\r\n*one*?")])
        .await;
    let page = browser.page(&thread).await;
    assert!(page.contains("<p>Who has\n<em>one</em>?</p>"), "{page}");

    let refused = browser
        .submit(&format!("{thread}/replies"), &[("body", " ")])
        .await;
    assert_eq!(refused.status, 422);
    let first = browser
        .change(&format!("{thread}/replies"), &[("body", "I have one")])
        .await;
    assert!(first.starts_with(&format!("{thread}#e-")), "{first}");
    let id = first.split_once("#e-").unwrap().1;
    let form = browser.page(&format!("{thread}?reply={id}&quote=1")).await;
    assert!(
        form.contains("Answer to <bdi>Ana</bdi>") && form.contains("&#62; I have one"),
        "{form}"
    );
    browser
        .change(
            &format!("{thread}/replies"),
            &[("body", "Bring it"), ("parent", id)],
        )
        .await;
    let page = browser.page(&thread).await;
    assert!(
        page.contains("depth-1") && page.contains("in reply to <bdi>Ana</bdi>"),
        "{page}"
    );

    assert!(
        browser
            .page(&format!("/entries/{id}/edit"))
            .await
            .contains("I have one")
    );
    browser
        .change(&format!("/entries/{id}/edit"), &[("body", "I have two")])
        .await;
    let history = browser.page(&format!("/entries/{id}/history")).await;
    assert!(
        history.contains("Version 2")
            && history.contains("I have one")
            && history.contains("I have two")
    );
    browser
        .change(&format!("/entries/{id}/reactions"), &[("give", "👍")])
        .await;
    assert!(
        browser
            .page(&thread)
            .await
            .contains("name=\"take\" value=\"👍\"")
    );
    browser
        .change(&format!("/entries/{id}/reactions"), &[("take", "👍")])
        .await;
    assert!(!browser.page(&thread).await.contains("name=\"take\""));
    assert!(
        browser
            .page("/search?q=two")
            .await
            .contains(&format!("/entries/{id}"))
    );
    assert!(
        browser
            .get(&format!("/entries/{id}"))
            .await
            .header("location")
            .starts_with(&thread)
    );
    assert!(
        browser
            .page(&format!("/entries/{id}?alone=1"))
            .await
            .contains("I have two")
    );
    let question = browser.page(&format!("/entries/{id}/retract")).await;
    assert!(question.contains("can't be undone") && question.contains("I have two"));
    browser.change(&format!("/entries/{id}/retract"), &[]).await;
    let page = browser.page(&thread).await;
    assert!(page.contains("took this back") && !page.contains("I have two"));

    let space = forum.strip_prefix("/forums/").unwrap();
    assert!(
        browser
            .page(&format!("/spaces/{space}/members"))
            .await
            .contains("Ana")
    );
    browser.change(&format!("/spaces/{space}/read"), &[]).await;
    browser.change(&format!("{thread}/read"), &[]).await;
    assert!(
        browser
            .page(&format!("/spaces/{space}/leave"))
            .await
            .contains("Leave <bdi>Camp")
    );
    browser.change(&format!("/spaces/{space}/leave"), &[]).await;
    assert_eq!(browser.get(&forum).await.status, 404);
}

#[tokio::test]
async fn an_article_is_published() {
    let bench = Bench::ana().await;
    let browser = bench.browser().await;
    assert_eq!(
        browser
            .submit("/blog/new", &[("title", "x"), ("body", "")])
            .await
            .status,
        422
    );
    let article = browser
        .change(
            "/blog/new",
            &[
                ("title", "Geese"),
                ("body", "# Loud"),
                ("tags", "travel, birds ,"),
            ],
        )
        .await;
    let page = browser.page(&article).await;
    assert!(page.contains("<h3>Loud</h3>") && page.contains("travel") && page.contains("birds"));
    let comments = format!("{article}/comments");
    browser.change(&comments, &[("body", "Indeed")]).await;
    assert!(browser.page(&article).await.contains("Indeed"));
    let list = browser.page("/blogs").await;
    let blog = format!("/blogs/{}", between(&list, "href=\"/blogs/", "\""));
    assert!(browser.page(&blog).await.contains("Geese"));
    let id = article.strip_prefix("/articles/").unwrap();
    assert!(
        browser
            .page(&format!("/entries/{id}/edit"))
            .await
            .contains("travel, birds")
    );
    let thread = browser.get(&format!("/threads/{id}")).await;
    assert_eq!(thread.status, 200);
}

#[tokio::test]
async fn an_invite_is_made_shown_and_taken_back() {
    let bench = Bench::ana().await;
    let browser = bench.browser().await;
    let invite = browser
        .change(
            "/invites",
            &[("note", "Ben"), ("uses", "1"), ("hours", "48")],
        )
        .await;
    let page = browser.page(&invite).await;
    assert!(page.contains("waymeet:") && page.contains(&format!("{invite}/qr.svg")));
    let code = browser.get(&format!("{invite}/qr.svg")).await;
    assert_eq!(
        (code.status.as_u16(), code.header("content-type")),
        (200, "image/svg+xml")
    );
    assert!(browser.page("/contacts/add").await.contains("Ben"));
    browser.change(&format!("{invite}/delete"), &[]).await;
    assert_eq!(browser.get(&invite).await.status, 404);
    let refused = browser
        .submit("/contacts/join", &[("link", "waymeet:nonsense")])
        .await;
    assert_eq!(refused.status, 422);
    assert!(refused.body.contains("waymeet:nonsense") && refused.body.contains("role=\"alert\""));
    assert_eq!(
        browser.submit("/invites", &[("uses", "many")]).await.status,
        422
    );
}

#[tokio::test]
async fn the_other_pages_show_themselves() {
    let bench = Bench::ana().await;
    let browser = bench.browser().await;
    for (path, text) in [
        ("/contacts", "Nobody yet"),
        ("/messages", "No conversations yet"),
        ("/links", "A relay is a server"),
        ("/search", "Words to look for"),
        ("/search?q=%3Cscript%3E", "&#60;script&#62;"),
        ("/settings", "Signed-in browsers"),
        ("/?done=read", "Marked as read"),
        ("/?done=%3Cscript%3E", "What is new"),
    ] {
        let page = browser.page(path).await;
        assert!(page.contains(text), "{path}: {page}");
        assert!(!page.contains("<script>"), "{path}");
        assert!(
            page.contains("lang=\"en\"") && page.contains("Skip to the content"),
            "{path}"
        );
    }
    let counts = browser.get("/counts").await.json();
    assert!(counts["unread"].is_u64() && counts["messages"].is_u64() && counts["offers"].is_u64());
    browser.change("/settings/name", &[("name", "Anna")]).await;
    assert!(browser.page("/settings").await.contains("value=\"Anna\""));
    assert_eq!(
        browser
            .submit("/settings/name", &[("name", "")])
            .await
            .status,
        422
    );
    assert_eq!(
        browser
            .submit("/links/internet", &[("internet", "warp")])
            .await
            .status,
        422
    );
    let half = browser.submit("/links/lan", &[("lan", "half")]).await;
    assert_eq!(half.status, 422);
    let checked = |on: &str| format!("name=\"lan\" value=\"{on}\" checked");
    assert!(browser.page("/links").await.contains(&checked("on")));
    let off = browser.change("/links/lan", &[("lan", "off")]).await;
    assert_eq!(off, "/links?done=saved");
    let page = browser.page("/links").await;
    assert!(page.contains(&checked("off")) && page.contains("nobody is dialled or answered there"));
    browser.change("/links/lan", &[("lan", "on")]).await;
    assert_eq!(browser.get("/nowhere").await.status, 404);
    assert!(
        browser
            .get("/nowhere")
            .await
            .body
            .contains("class=\"main-nav\"")
    );
    let other = bench.browser().await;
    let page = browser.page("/settings").await;
    let session = between(&page, "/settings/sessions/", "/end").to_owned();
    assert_eq!(
        browser
            .submit("/settings/sessions/none/end", &[])
            .await
            .status,
        404
    );
    browser
        .change(&format!("/settings/sessions/{session}/end"), &[])
        .await;
    assert_eq!(other.get("/").await.status, 401);
    browser.change("/sign-out", &[]).await;
    assert_eq!(browser.get("/").await.status, 401);
}

#[tokio::test]
async fn meeting_nearby_is_opened_and_closed_by_plain_forms() {
    let bench = Bench::ana().await;
    let browser = bench.browser().await;
    let page = browser.page("/contacts/add").await;
    assert!(page.contains("href=\"/nearby\""), "{page}");
    let page = browser.page("/nearby").await;
    // Bound to loopback there is nobody to see it.
    assert!(page.contains("Show me to people nearby") && page.contains("on a local network"));
    assert_eq!(browser.change("/nearby", &[]).await, "/nearby");
    let page = browser.page("/nearby").await;
    assert!(page.contains("You are visible to others nearby as <bdi>Ana</bdi>"));
    assert!(bench.get("/nearby").await["open"] == true);
    // Somebody who was gone when the answer came: the page says who is there now.
    for answer in ["accept", "decline"] {
        let path = format!("/nearby/nobody/{answer}");
        assert_eq!(browser.change(&path, &[]).await, "/nearby");
    }
    assert_eq!(browser.change("/nearby/close", &[]).await, "/nearby");
    assert!(bench.get("/nearby").await["open"] == false);
    // Without local networks it isn't opened, and the page says why.
    bench.node.set_lan(false).await.unwrap();
    let refused = browser.submit("/nearby", &[]).await;
    assert_eq!(refused.status, 422);
    assert!(
        refused.body.contains("switch one of them on"),
        "{}",
        refused.body
    );
}
