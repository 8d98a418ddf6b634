//! From an empty folder to a node with a name.

use std::thread;

use serde_json::json;

use crate::harness::Node;

#[test]
fn a_node_is_set_up_by_the_api_alone() {
    let mut node = Node::fresh();
    let before = node.get("/status");
    assert!(before["identity"].is_null(), "{before}");
    assert!(before["device"].is_null(), "{before}");
    assert_eq!(before["version"], env!("CARGO_PKG_VERSION"));

    let answer = node.call("POST", "/setup", Some(&json!({ "name": "Ana" })));
    let made = answer.expect(201);
    assert_eq!(made["identity"]["name"], "Ana");

    let status = node.get("/status");
    assert_eq!(status["identity"], made["identity"]);
    assert!(
        status["links"].is_array() && status["counts"].is_object(),
        "{status}"
    );

    node.stop();
    node.start();
    let again = node.get("/status");
    assert_eq!(
        again["identity"], status["identity"],
        "it is the same person after a restart"
    );
    assert_eq!(again["device"], status["device"], "and the same device");
}

#[test]
fn before_set_up_everything_else_waits() {
    let node = Node::fresh();
    let id = "a".repeat(52);
    let waiting = [
        ("GET", "/contacts".to_owned()),
        ("GET", "/invites".to_owned()),
        ("POST", "/invites".to_owned()),
        ("POST", "/contacts/join".to_owned()),
        ("GET", "/forums".to_owned()),
        ("POST", "/forums".to_owned()),
        ("GET", format!("/forums/{id}/threads")),
        ("GET", format!("/threads/{id}")),
        ("GET", "/offers".to_owned()),
        ("GET", "/blogs".to_owned()),
        ("POST", "/blog/articles".to_owned()),
        ("GET", format!("/conversations/{id}")),
        ("PATCH", format!("/entries/{id}")),
        ("DELETE", format!("/entries/{id}")),
        ("GET", "/search?q=a".to_owned()),
        ("GET", "/events".to_owned()),
        ("DELETE", format!("/spaces/{id}")),
    ];
    for (method, path) in waiting {
        let body = matches!(method, "POST" | "PATCH").then(|| json!({}));
        let answer = node.call(method, &path, body.as_ref());
        assert_eq!(answer.status, 409, "{method} {path}: {answer:?}");
        assert_eq!(answer.problem(), "not-set-up", "{method} {path}");
    }
    node.get("/status");
    node.get("/openapi.json");
}

#[test]
fn setting_up_twice_changes_nothing() {
    let node = Node::named("Ana");
    let id = node.id();
    let answer = node.call("POST", "/setup", Some(&json!({ "name": "Eve" })));
    assert_eq!((answer.status, answer.problem()), (409, "already-set-up"));
    assert!(
        answer.body["detail"].as_str().unwrap().contains("Ana"),
        "{answer:?}"
    );
    assert_eq!(node.get("/status")["identity"]["name"], "Ana");
    assert_eq!(node.id(), id);
}

#[test]
fn of_many_set_ups_at_once_one_wins() {
    let node = Node::fresh();
    let statuses: Vec<_> = thread::scope(|scope| {
        let calls: Vec<_> = (0..8)
            .map(|number| {
                let node = &node;
                scope.spawn(move || {
                    let body = json!({ "name": format!("Ana {number}") });
                    node.call("POST", "/setup", Some(&body)).status
                })
            })
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert_eq!(
        statuses.iter().filter(|status| **status == 201).count(),
        1,
        "{statuses:?}"
    );
    assert!(
        statuses.iter().all(|status| matches!(status, 201 | 409)),
        "{statuses:?}"
    );
}

#[test]
fn a_name_that_does_not_fit_is_refused_with_its_field() {
    let node = Node::fresh();
    for name in ["", "   ", &"a".repeat(65), "a\nb", "a\u{202e}b", "\u{7}"] {
        let answer = node.call("POST", "/setup", Some(&json!({ "name": name })));
        assert_eq!(answer.status, 422, "{name:?}: {answer:?}");
        assert_eq!(answer.fields(), ["name"], "{name:?}");
    }
    assert!(node.get("/status")["identity"].is_null());
    node.post("/setup", &json!({ "name": "Zoë Müller-دانا 🚲" }));
}

#[test]
fn a_new_name_reaches_contacts() {
    let (ana, ben) = crate::harness::pair("Ana", "Ben");
    ana.patch("/identity", &json!({ "name": "Ana Maria" }));
    assert_eq!(ana.get("/status")["identity"]["name"], "Ana Maria");
    let id = ana.id();
    ben.until("the new name", |ben| {
        (ben.contact(&id)?["name"] == "Ana Maria").then_some(())
    });
}
