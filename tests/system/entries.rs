//! Changing one's mind: edits, retracts, reactions.

use serde_json::{Value, json};

use crate::harness::{Node, hand_on, pair};

struct Shared {
    ana: Node,
    ben: Node,
    thread: String,
}

fn shared(body: &str) -> Shared {
    let (ana, ben) = pair("Ana", "Ben");
    let forum = ana.new_forum("Lake");
    hand_on(&ana, &ben, &forum);
    let thread = ana.new_thread(&forum, "Hello", body);
    ben.receives(&thread);
    Shared { ana, ben, thread }
}

#[test]
fn an_edit_shows_the_newest_and_keeps_the_history() {
    let Shared { ana, ben, thread } = shared("one");
    let at = format!("/entries/{thread}");
    assert_eq!(ana.list(&format!("{at}/history")).len(), 1);
    let edited = ana.patch(&at, &json!({ "body": "two" }));
    assert_eq!(
        (&edited["id"], &edited["body"], &edited["edited"]),
        (&json!(thread), &json!("two"), &json!(true))
    );
    ana.patch(&at, &json!({ "title": "Hello all", "body": "three" }));
    let seen = ben.reads(&thread, "three");
    assert_eq!(
        (&seen["title"], &seen["edited"]),
        (&json!("Hello all"), &json!(true))
    );
    for node in [&ana, &ben] {
        let history = node.list(&format!("{at}/history"));
        let bodies: Vec<_> = history
            .iter()
            .map(|version| version["body"].as_str().unwrap())
            .collect();
        assert_eq!(bodies, ["one", "two", "three"], "oldest first");
        assert_eq!(history[0]["title"], "Hello");
        assert_eq!(
            node.get(&format!("/threads/{thread}"))["title"],
            "Hello all"
        );
        assert_eq!(
            node.texts(&thread),
            ["three"],
            "an edit is no post of its own"
        );
    }
}

#[test]
fn an_edit_that_changes_nothing_sensible_is_refused() {
    let Shared { ana, ben, thread } = shared("one");
    let at = format!("/entries/{thread}");
    let reply = ana.reply(&thread, "reply");
    for (path, body, field) in [
        (at.clone(), json!({}), "body"),
        (at.clone(), json!({ "body": "" }), "body"),
        (
            at.clone(),
            json!({ "body": "x".repeat(64 * 1024 + 1) }),
            "body",
        ),
        (at.clone(), json!({ "title": "t".repeat(201) }), "title"),
        (at.clone(), json!({ "author": "Ben" }), "author"),
        (
            format!("/entries/{reply}"),
            json!({ "title": "a reply has none" }),
            "title",
        ),
        (at.clone(), json!({ "tags": ["a thread has none"] }), "tags"),
    ] {
        let answer = ana.call("PATCH", &path, Some(&body));
        assert_eq!(
            (answer.status, answer.fields()),
            (422, vec![field]),
            "{}",
            answer.body
        );
    }
    for (method, body) in [
        ("PATCH", Some(json!({ "body": "mine now" }))),
        ("DELETE", None),
    ] {
        let answer = ben.call(method, &at, body.as_ref());
        assert_eq!(
            (answer.status, answer.problem()),
            (403, "not-allowed"),
            "{method}"
        );
    }
    assert_eq!(ben.entry(&thread).unwrap()["body"], "one");
    let unknown = ana.call(
        "PATCH",
        &format!("/entries/{}", "a".repeat(52)),
        Some(&json!({ "body": "b" })),
    );
    assert_eq!(unknown.status, 404);
}

#[test]
fn a_retract_takes_the_text_from_every_page() {
    let word = "regrettable";
    let Shared { ana, ben, thread } = shared("fine");
    let reply = ana.reply(&thread, &format!("{word} first"));
    ana.patch(
        &format!("/entries/{reply}"),
        &json!({ "body": format!("{word} second") }),
    );
    ben.reads(&reply, &format!("{word} second"));
    let answer = ben.post(
        &format!("/threads/{thread}/replies"),
        &json!({ "body": "what?", "parent": reply }),
    );
    let answer = answer["id"].as_str().unwrap();
    ana.receives(answer);

    let retracted = ana.call("DELETE", &format!("/entries/{reply}"), None);
    assert!(matches!(retracted.status, 200 | 204), "{retracted:?}");
    ben.until("the retract", |ben| {
        (ben.call("GET", &format!("/entries/{reply}"), None).body["retracted"] == true)
            .then_some(())
    });
    for node in [&ana, &ben] {
        let post = node.get(&format!("/entries/{reply}"));
        assert_eq!(
            (&post["body"], &post["retracted"]),
            (&json!(""), &json!(true))
        );
        assert_eq!(
            node.texts(&thread),
            ["fine", "", "what?"],
            "its place stays, so that answers have a parent"
        );
        for path in [
            format!("/threads/{thread}"),
            format!("/entries/{reply}"),
            format!("/entries/{answer}"),
            "/news".to_owned(),
        ] {
            assert!(!node.get(&path).to_string().contains(word), "{path}");
        }
        let history = node.call("GET", &format!("/entries/{reply}/history"), None);
        assert!(!history.body.to_string().contains(word), "{history:?}");
        assert!(node.list(&format!("/search?q={word}")).is_empty());
    }
    let edit = ana.call(
        "PATCH",
        &format!("/entries/{reply}"),
        Some(&json!({ "body": "back?" })),
    );
    assert_eq!(
        (edit.status, edit.problem()),
        (409, "conflict"),
        "what is taken back stays so"
    );
    let again = ana.call("DELETE", &format!("/entries/{reply}"), None);
    assert!(matches!(again.status, 200 | 204 | 409), "{again:?}");
}

#[test]
fn a_retract_of_the_first_post_leaves_the_thread() {
    let Shared { ana, ben, thread } = shared("regrettable");
    let reply = ben.reply(&thread, "mine stays");
    ana.receives(&reply);
    ana.delete(&format!("/entries/{thread}"));
    ben.until("the retract", |ben| {
        (ben.get(&format!("/threads/{thread}"))["retracted"] == true).then_some(())
    });
    let page = ben.get(&format!("/threads/{thread}"));
    assert!(!page.to_string().contains("regrettable"), "{page}");
    assert_eq!(ben.texts(&thread), ["", "mine stays"]);
}

#[test]
fn reactions_come_and_go() {
    let Shared { ana, ben, thread } = shared("one");
    let thumb = format!("/entries/{thread}/reactions/%F0%9F%91%8D");
    let reactions = |node: &Node| node.entry(&thread).unwrap()["reactions"].clone();
    let given = ben.call("PUT", &thumb, None).expect(200);
    assert_eq!(given["reactions"][0]["emoji"], "👍");
    assert_eq!(
        (
            &given["reactions"][0]["count"],
            &given["reactions"][0]["own"]
        ),
        (&json!(1), &json!(true))
    );
    ben.call("PUT", &thumb, None).expect(200);
    let seen = ana.until("the reaction", |ana| {
        Some(reactions(ana)).filter(|list| list[0]["count"] == 1)
    });
    assert_eq!(
        (&seen[0]["own"], &seen[0]["names"]),
        (&json!(false), &json!(["Ben"]))
    );

    ana.call("PUT", &thumb, None).expect(200);
    ben.until("both", |ben| {
        (reactions(ben)[0]["count"] == 2).then_some(())
    });
    ben.call("DELETE", &thumb, None).expect(200);
    ana.until("one less", |ana| {
        (reactions(ana)[0]["count"] == 1).then_some(())
    });
    ana.call("DELETE", &thumb, None).expect(200);
    ben.until("none", |ben| (reactions(ben) == json!([])).then_some(()));
    ben.call("PUT", &thumb, None).expect(200);
    ana.until("again", |ana| {
        (reactions(ana)[0]["count"] == 1).then_some(())
    });

    assert_eq!(ana.texts(&thread), ["one"], "reactions are no posts");
    for bad in ["%20", "hello%20you%20all%20out%20there", "%1B", "%0A"] {
        let answer = ben.call("PUT", &format!("/entries/{thread}/reactions/{bad}"), None);
        assert_eq!(answer.status, 422, "{bad}: {answer:?}");
    }
    let nothing: Value = ben
        .call(
            "PUT",
            &format!("/entries/{}/reactions/%F0%9F%91%8D", "a".repeat(52)),
            None,
        )
        .expect(404);
    assert_eq!(nothing["status"], 404);
}

#[test]
fn what_happened_offline_arrives_in_its_last_form() {
    let Shared {
        ana,
        mut ben,
        thread,
    } = shared("one");
    let (kept, gone) = (ana.reply(&thread, "a"), ana.reply(&thread, "regrettable"));
    ben.receives(&gone);
    ben.stop();
    ana.patch(&format!("/entries/{kept}"), &json!({ "body": "b" }));
    ana.patch(&format!("/entries/{kept}"), &json!({ "body": "c" }));
    ana.delete(&format!("/entries/{gone}"));
    let (late, never_seen) = (ana.reply(&thread, "late"), ana.reply(&thread, "never seen"));
    ana.delete(&format!("/entries/{never_seen}"));
    ben.start();
    ben.receives(&late);
    ben.reads(&kept, "c");
    ben.until("the retracts", |ben| {
        (ben.texts(&thread) == ["one", "c", "", "late"]).then_some(())
    });
}
