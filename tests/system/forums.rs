//! Forums of two people: offers, threads, replies, reading.

use serde_json::{Value, json};

use crate::harness::{Node, befriend, hand_on, offer, pair};

#[test]
fn an_offered_forum_is_accepted_and_both_write() {
    let (ana, ben) = pair("Ana", "Ben");
    let forum = ana.call(
        "POST",
        "/forums",
        Some(&json!({ "name": "Lake trip", "description": "by bike" })),
    );
    let forum = forum.expect(201);
    let id = forum["id"].as_str().unwrap();
    assert_eq!(
        (&forum["name"], &forum["description"]),
        (&json!("Lake trip"), &json!("by bike"))
    );
    assert_eq!(forum["creator"]["relation"], "own");
    let first = ana.new_thread(id, "Who brings what?", "I bring **the tent**.");

    let offer = offer(&ana, &ben, id);
    assert_eq!(
        (&offer["kind"], &offer["name"]),
        (&json!("forum"), &json!("Lake trip"))
    );
    assert_eq!(
        (&offer["from"]["id"], &offer["creator"]["id"]),
        (&json!(ana.id()), &json!(ana.id()))
    );
    assert!(
        ben.list("/forums").is_empty(),
        "an offer alone holds nothing"
    );
    assert!(ben.entry(&first).is_none());

    ben.post(
        &format!("/offers/{}/accept", offer["id"].as_str().unwrap()),
        &json!({}),
    );
    assert!(ben.list("/offers").is_empty());
    let post = ben.receives(&first);
    assert_eq!(post["body"], "I bring **the tent**.");
    assert_eq!(
        post["html"].as_str().unwrap().trim(),
        "<p>I bring <strong>the tent</strong>.</p>"
    );
    assert_eq!(post["author"]["name"], "Ana");
    assert_eq!(post["space"], id);

    let reply = ben.reply(&first, "and I the stove");
    assert_eq!(ana.receives(&reply)["author"]["name"], "Ben");
    let back = ana.reply(&first, "good");
    ben.receives(&back);
    let expected = ["I bring **the tent**.", "and I the stove", "good"];
    assert_eq!(ana.texts(&first), expected);
    assert_eq!(ben.texts(&first), expected);

    let from_ben = ben.new_thread(id, "Route", "along the canal");
    ana.receives(&from_ben);
    let titles: Vec<_> = ana
        .list(&format!("/forums/{id}/threads"))
        .iter()
        .map(|topic| topic["title"].clone())
        .collect();
    assert_eq!(
        titles,
        ["Route", "Who brings what?"],
        "newest activity first"
    );
    ana.receives(&ben.reply(&first, "one more thing"));
    let titles: Vec<_> = ana
        .list(&format!("/forums/{id}/threads"))
        .iter()
        .map(|topic| topic["title"].clone())
        .collect();
    assert_eq!(titles, ["Who brings what?", "Route"]);
}

#[test]
fn a_thread_is_one_object_with_its_posts() {
    let ana = Node::named("Ana");
    let forum = ana.new_forum("Lake");
    let thread = json!({ "title": "Route", "body": "along the canal" });
    let made = ana
        .call("POST", &format!("/forums/{forum}/threads"), Some(&thread))
        .expect(201);
    assert_eq!(
        (&made["title"], &made["space"]),
        (&json!("Route"), &json!(forum))
    );
    assert_eq!(
        made["items"][0]["id"], made["id"],
        "the first post is the thread"
    );
    let id = made["id"].as_str().unwrap();
    let reply = ana.post(
        &format!("/threads/{id}/replies"),
        &json!({ "body": "or over the hill" }),
    );
    assert_eq!(reply["topic"], id);
    let nested = json!({ "body": "with luggage?", "parent": reply["id"] });
    let nested = ana.post(&format!("/threads/{id}/replies"), &nested);
    assert_eq!(nested["parent"], reply["id"]);
    let read = ana.get(&format!("/threads/{id}"));
    assert_eq!(
        (&read["author"]["name"], &read["replies"]),
        (&json!("Ana"), &json!(2))
    );
    for post in read["items"].as_array().unwrap() {
        for key in [
            "id",
            "body",
            "html",
            "created_ms",
            "edited",
            "retracted",
            "unread",
        ] {
            assert!(!post[key].is_null(), "{key} of {post}");
        }
        assert_eq!(post["edited"], false);
    }
}

#[test]
fn a_parent_from_elsewhere_is_refused() {
    let ana = Node::named("Ana");
    let forum = ana.new_forum("Lake");
    let (one, other) = (
        ana.new_thread(&forum, "One", "1"),
        ana.new_thread(&forum, "Two", "2"),
    );
    for parent in [other.as_str(), &"a".repeat(52), "x", ""] {
        let body = json!({ "body": "hm", "parent": parent });
        let answer = ana.call("POST", &format!("/threads/{one}/replies"), Some(&body));
        assert_eq!(
            (answer.status, answer.fields()),
            (422, vec!["parent"]),
            "{parent:?}: {answer:?}"
        );
    }
    assert_eq!(ana.texts(&one), ["1"]);
}

#[test]
fn what_is_declined_is_gone_and_may_be_offered_again() {
    let (ana, ben) = pair("Ana", "Ben");
    let forum = ana.new_forum("Lake");
    let first = offer(&ana, &ben, &forum);
    let at = format!("/offers/{}", first["id"].as_str().unwrap());
    assert!(matches!(
        ben.call("POST", &format!("{at}/decline"), None).status,
        200 | 204
    ));
    assert!(ben.list("/offers").is_empty() && ben.list("/forums").is_empty());
    let late = ben.call("POST", &format!("{at}/accept"), None);
    assert_eq!(late.status, 404, "{late:?}");
    hand_on(&ana, &ben, &forum);
    ben.receives(&ana.new_thread(&forum, "Hello", "hello"));
}

#[test]
fn leaving_deletes_here_and_only_here() {
    let (ana, ben) = pair("Ana", "Ben");
    let forum = ana.new_forum("Lake");
    hand_on(&ana, &ben, &forum);
    let thread = ana.new_thread(&forum, "Hello", "hello");
    ben.receives(&thread);
    ana.receives(&ben.reply(&thread, "bye"));

    ben.delete(&format!("/spaces/{forum}"));
    assert!(ben.list("/forums").is_empty());
    for path in [
        format!("/threads/{thread}"),
        format!("/entries/{thread}"),
        format!("/forums/{forum}/threads"),
    ] {
        assert_eq!(ben.call("GET", &path, None).status, 404, "{path}");
    }
    assert_eq!(
        ana.texts(&thread),
        ["hello", "bye"],
        "what he wrote stays with others"
    );

    let missed = ana.reply(&thread, "are you there?");
    hand_on(&ana, &ben, &forum);
    ben.receives(&missed);
    ben.until("all of it, the own words too", |ben| {
        (ben.texts(&thread) == ["hello", "bye", "are you there?"]).then_some(())
    });
    // Whoever begins a feed twice has forked, and everybody drops it.
    ana.receives(&ben.reply(&thread, "again"));
    for node in [&ana, &ben] {
        assert_eq!(node.get(&format!("/forums/{forum}"))["forks"], json!([]));
        assert_eq!(
            node.texts(&thread),
            ["hello", "bye", "are you there?", "again"]
        );
    }
}

#[test]
fn unread_counts_follow_what_is_read() {
    let (ana, ben) = pair("Ana", "Ben");
    let forum = ana.new_forum("Lake");
    hand_on(&ana, &ben, &forum);
    let thread = ana.new_thread(&forum, "Hello", "hello");
    let replies: Vec<_> = (0..3)
        .map(|number| ana.reply(&thread, &format!("{number}")))
        .collect();
    ben.receives(&replies[2]);
    let unread = |node: &Node| node.list("/forums")[0]["unread"].as_u64().unwrap();
    assert_eq!(unread(&ana), 0, "what one wrote oneself is read");
    assert_eq!(unread(&ben), 4);
    assert_eq!(ben.get("/status")["counts"]["unread"], 4);
    assert_eq!(
        ben.get(&format!("/threads/{thread}"))["first_unread"]["id"],
        thread.as_str()
    );

    assert!(matches!(
        ben.call("POST", &format!("/entries/{thread}/read"), None)
            .status,
        200 | 204
    ));
    assert_eq!(unread(&ben), 3);
    assert_eq!(ben.entry(&thread).unwrap()["unread"], false);
    assert_eq!(
        ben.get(&format!("/threads/{thread}"))["first_unread"]["id"],
        replies[0].as_str()
    );
    ben.post("/entries/read", &json!({ "ids": [replies[0], replies[2]] }));
    assert_eq!(unread(&ben), 1);
    ben.post(&format!("/threads/{thread}/read"), &json!({}));
    assert_eq!(unread(&ben), 0);
    assert!(ben.get(&format!("/threads/{thread}"))["first_unread"].is_null());

    ben.receives(&ana.reply(&thread, "new"));
    assert_eq!(unread(&ben), 1);
    ben.post(&format!("/spaces/{forum}/read"), &json!({}));
    assert_eq!(unread(&ben), 0);
}

#[test]
fn read_marks_survive_a_restart() {
    let (ana, mut ben) = pair("Ana", "Ben");
    let forum = ana.new_forum("Lake");
    hand_on(&ana, &ben, &forum);
    let thread = ana.new_thread(&forum, "Hello", "hello");
    let reply = ana.reply(&thread, "more");
    ben.receives(&reply);
    ben.post(&format!("/entries/{thread}/read"), &json!({}));
    ben.kill();
    ben.start();
    assert_eq!(ben.entry(&thread).unwrap()["unread"], false);
    assert_eq!(ben.entry(&reply).unwrap()["unread"], true);
    assert_eq!(ben.list("/forums")[0]["unread"], 1);
}

#[test]
fn what_is_new_stands_on_one_page() {
    let (ana, ben) = pair("Ana", "Ben");
    let forum = ana.new_forum("Lake");
    hand_on(&ana, &ben, &forum);
    let thread = ana.new_thread(&forum, "Hello", "hello");
    let article = ana.publish("River", "wet");
    let message = ana.send(&ben.id(), "psst");
    for id in [&thread, &article, &message] {
        ben.receives(id);
    }
    let news = ben.list("/news");
    let has = |wanted: &dyn Fn(&Value) -> bool| news.iter().any(wanted);
    assert!(
        has(&|new| new["topic"]["id"] == thread.as_str()),
        "{news:?}"
    );
    assert!(
        has(&|new| new["topic"]["id"] == article.as_str()),
        "{news:?}"
    );
    assert!(
        has(&|new| new["conversation"]["contact"]["id"] == ana.id()),
        "{news:?}"
    );
}

#[test]
fn words_are_found_over_all_spaces() {
    let (ana, ben) = pair("Ana", "Ben");
    let forum = ana.new_forum("Lake");
    hand_on(&ana, &ben, &forum);
    let thread = ana.new_thread(&forum, "Stoves", "the petrol stove is loud");
    let article = ana.publish("River", "no stove, just apples");
    let message = ana.send(&ben.id(), "bring the STOVE");
    for id in [&thread, &article, &message] {
        ben.receives(id);
    }
    let mut found: Vec<_> = ben
        .list("/search?q=stove")
        .iter()
        .map(|hit| hit["id"].as_str().unwrap().to_owned())
        .collect();
    found.sort();
    let mut expected = [thread, article, message];
    expected.sort();
    assert_eq!(found, expected);
    assert!(ben.list("/search?q=zeppelin").is_empty());
    let empty = ben.call("GET", "/search?q=", None);
    assert_eq!((empty.status, empty.fields()), (422, vec!["q"]));
}

#[test]
fn the_texts_bounds_are_kept() {
    let ana = Node::named("Ana");
    let forum = ana.new_forum("Lake");
    let threads = format!("/forums/{forum}/threads");
    let most = "x".repeat(64 * 1024);
    let thread = ana.new_thread(&forum, &"t".repeat(200), &most);
    assert_eq!(ana.entry(&thread).unwrap()["body"], most.as_str());
    for (path, body, field) in [
        (
            threads.as_str(),
            json!({ "title": "", "body": "b" }),
            "title",
        ),
        (
            &threads,
            json!({ "title": "t".repeat(201), "body": "b" }),
            "title",
        ),
        (&threads, json!({ "title": "a\nb", "body": "b" }), "title"),
        (&threads, json!({ "title": "t", "body": "" }), "body"),
        (
            &threads,
            json!({ "title": "t", "body": format!("{most}x") }),
            "body",
        ),
        (&threads, json!({ "title": "t" }), "body"),
        (&threads, json!({ "body": "b" }), "title"),
        (&threads, json!({ "title": "t", "body": 7 }), "body"),
        (
            &threads,
            json!({ "title": "t", "body": "b", "pinned": true }),
            "pinned",
        ),
        ("/forums", json!({ "name": "", "description": "" }), "name"),
        (
            "/forums",
            json!({ "name": "n".repeat(65), "description": "" }),
            "name",
        ),
        (
            "/forums",
            json!({ "name": "n", "description": "d".repeat(501) }),
            "description",
        ),
    ] {
        let answer = ana.call("POST", path, Some(&body));
        assert_eq!(
            (answer.status, answer.fields()),
            (422, vec![field]),
            "{path}: {}",
            answer.body
        );
    }
    assert_eq!(ana.list(&threads).len(), 1);
    assert_eq!(ana.list("/forums").len(), 1);
}

#[test]
fn an_offer_is_made_once_and_only_by_members() {
    let (ana, ben) = pair("Ana", "Ben");
    let cem = Node::named("Cem");
    befriend(&ben, &cem);
    let forum = ana.new_forum("Lake");
    let made = ana.call(
        "POST",
        &format!("/spaces/{forum}/offers"),
        Some(&json!({ "contact": ben.id() })),
    );
    assert_eq!(made.expect(201)["state"], "waiting");
    let again = ana.call(
        "POST",
        &format!("/spaces/{forum}/offers"),
        Some(&json!({ "contact": ben.id() })),
    );
    assert!(matches!(again.status, 200 | 201 | 409), "{again:?}");
    ben.until("the offer", |ben| {
        (!ben.list("/offers").is_empty()).then_some(())
    });
    assert_eq!(ben.list("/offers").len(), 1);
    let early = ben.call(
        "POST",
        &format!("/spaces/{forum}/offers"),
        Some(&json!({ "contact": cem.id() })),
    );
    assert_eq!(
        early.status, 404,
        "who hasn't accepted can't pass it on: {early:?}"
    );
}
