//! Blogs: articles, comments, tags, reblogs.

use serde_json::{Value, json};

use crate::harness::{Node, befriend, pair};

fn blog_of(node: &Node, author: &str) -> Option<Value> {
    node.list("/blogs")
        .into_iter()
        .find(|blog| blog["author"]["id"] == author)
}

#[test]
fn a_contacts_articles_come_by_themselves() {
    let (ana, ben) = pair("Ana", "Ben");
    let article =
        json!({ "title": "Along the river", "body": "It was *wet*.", "tags": ["cycling", "rain"] });
    let article = ana
        .call("POST", "/blog/articles", Some(&article))
        .expect(201);
    assert_eq!(article["tags"], json!(["cycling", "rain"]));
    let id = article["id"].as_str().unwrap();
    let seen = ben.receives(id);
    assert_eq!(
        (&seen["title"], &seen["body"]),
        (&json!("Along the river"), &json!("It was *wet*."))
    );
    assert_eq!(seen["tags"], json!(["cycling", "rain"]));
    assert!(
        ben.list("/offers").is_empty(),
        "a contact's blog stands never among offers"
    );

    let own = blog_of(&ana, &ana.id()).unwrap();
    assert_eq!((&own["own"], &own["articles"]), (&json!(true), &json!(1)));
    let theirs = blog_of(&ben, &ana.id()).unwrap();
    assert_eq!(
        (&theirs["own"], &theirs["id"], &theirs["unread"]),
        (&json!(false), &own["id"], &json!(1))
    );
    let articles = ben.list(&format!(
        "/blogs/{}/articles",
        theirs["id"].as_str().unwrap()
    ));
    assert_eq!(articles.len(), 1);
    assert_eq!(
        (&articles[0]["id"], &articles[0]["comments"]),
        (&json!(id), &json!(0))
    );
    ben.post(&format!("/articles/{id}/read"), &json!({}));
    assert_eq!(blog_of(&ben, &ana.id()).unwrap()["unread"], 0);
}

#[test]
fn articles_are_commented_both_ways() {
    let (ana, ben) = pair("Ana", "Ben");
    let article = ana.publish("River", "wet");
    ben.receives(&article);
    let at = format!("/articles/{article}/comments");
    let comment = ben
        .call("POST", &at, Some(&json!({ "body": "which one?" })))
        .expect(201);
    let comment = comment["id"].as_str().unwrap();
    ana.receives(comment);
    let answer = ana.post(&at, &json!({ "body": "the long one", "parent": comment }));
    let seen = ben.receives(answer["id"].as_str().unwrap());
    assert_eq!(
        (&seen["parent"], &seen["topic"]),
        (&json!(comment), &json!(article))
    );
    assert_eq!(ben.texts(&article), ["wet", "which one?", "the long one"]);
    let articles = ana.list(&format!(
        "/blogs/{}/articles",
        blog_of(&ana, &ana.id()).unwrap()["id"].as_str().unwrap()
    ));
    assert_eq!(articles[0]["comments"], 2);
}

#[test]
fn an_article_is_edited_and_its_tags_with_it() {
    let (ana, ben) = pair("Ana", "Ben");
    let article = ana.publish("Rivre", "wet");
    ben.receives(&article);
    let patch = json!({ "title": "River", "tags": ["water"] });
    let edited = ana.patch(&format!("/entries/{article}"), &patch);
    assert_eq!(
        (&edited["title"], &edited["body"], &edited["edited"]),
        (&json!("River"), &json!("wet"), &json!(true))
    );
    let seen = ben.until("the new title", |ben| {
        ben.entry(&article)
            .filter(|article| article["title"] == "River")
    });
    assert_eq!(
        (&seen["body"], &seen["tags"]),
        (&json!("wet"), &json!(["water"]))
    );
}

#[test]
fn articles_by_newest_activity_also_when_somebody_comments() {
    let (ana, ben) = pair("Ana", "Ben");
    let (first, second) = (ana.publish("First", "1"), ana.publish("Second", "2"));
    ben.receives(&second);
    let blog = ben.receives(&first)["space"].as_str().unwrap().to_owned();
    let order = |node: &Node| -> Vec<Value> {
        node.list(&format!("/blogs/{blog}/articles"))
            .iter()
            .map(|article| article["id"].clone())
            .collect()
    };
    assert_eq!(order(&ben), [second.as_str(), first.as_str()]);
    let comment = ben.post(
        &format!("/articles/{first}/comments"),
        &json!({ "body": "!" }),
    );
    ana.receives(comment["id"].as_str().unwrap());
    assert_eq!(order(&ana), [first.as_str(), second.as_str()]);
}

#[test]
fn a_reblog_carries_the_original_to_people_who_do_not_know_its_author() {
    let (ana, ben) = pair("Ana", "Ben");
    let cem = Node::named("Cem");
    befriend(&ben, &cem);
    let article = ana.publish("River", "the *original*");
    ben.receives(&article);
    let note = json!({ "note": "worth your time" });
    let reblog = ben
        .call("POST", &format!("/articles/{article}/reblog"), Some(&note))
        .expect(201);
    let seen = cem.receives(reblog["id"].as_str().unwrap());
    assert_eq!(
        (&seen["author"]["name"], &seen["body"]),
        (&json!("Ben"), &json!("worth your time"))
    );
    let original = &seen["reblog"];
    assert_eq!(
        (&original["author"]["name"], &original["author"]["id"]),
        (&json!("Ana"), &json!(ana.id()))
    );
    assert_eq!(
        (&original["title"], &original["body"]),
        (&json!("River"), &json!("the *original*"))
    );
    assert!(
        original["html"]
            .as_str()
            .unwrap()
            .contains("<em>original</em>"),
        "{original}"
    );
    assert!(
        cem.entry(&article).is_none(),
        "the blog itself stays with those who hold it"
    );
}

#[test]
fn nobody_writes_articles_in_anothers_blog() {
    let (ana, ben) = pair("Ana", "Ben");
    let article = ana.publish("River", "wet");
    let blog = ben.receives(&article)["space"].as_str().unwrap().to_owned();
    let thread = ben.call(
        "POST",
        &format!("/forums/{blog}/threads"),
        Some(&json!({ "title": "t", "body": "b" })),
    );
    assert!(matches!(thread.status, 403 | 404), "{thread:?}");
    let from_ben = ben.publish("Mine", "dry");
    assert_ne!(ana.receives(&from_ben)["space"], blog.as_str());
}

#[test]
fn an_articles_bounds_are_kept() {
    let ana = Node::named("Ana");
    for (body, field) in [
        (json!({ "title": "", "body": "b" }), "title"),
        (json!({ "title": "t", "body": "" }), "body"),
        (
            json!({ "title": "t", "body": "x".repeat(64 * 1024 + 1) }),
            "body",
        ),
        (
            json!({ "title": "t", "body": "b", "tags": vec!["t"; 17] }),
            "tags",
        ),
        (
            json!({ "title": "t", "body": "b", "tags": ["x".repeat(41)] }),
            "tags",
        ),
        (json!({ "title": "t", "body": "b", "tags": [""] }), "tags"),
    ] {
        let answer = ana.call("POST", "/blog/articles", Some(&body));
        assert_eq!(
            (answer.status, answer.fields()),
            (422, vec![field]),
            "{}",
            answer.body
        );
    }
}
