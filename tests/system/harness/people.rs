//! What people do with their nodes, in one line each.

use serde_json::{Value, json};

use super::Node;

impl Node {
    /// The own identity's id.
    pub(crate) fn id(&self) -> String {
        text(&self.get("/status")["identity"]["id"])
    }

    /// A new invite's link.
    pub(crate) fn invite(&self) -> String {
        text(&self.post("/invites", &json!({}))["link"])
    }

    /// The contact of that identity, if there is one.
    pub(crate) fn contact(&self, id: &str) -> Option<Value> {
        self.list("/contacts")
            .into_iter()
            .find(|contact| contact["id"] == id)
    }

    pub(crate) fn is_online(&self, id: &str) -> bool {
        self.contact(id)
            .is_some_and(|contact| contact["state"] == "ready" && contact["online"] == true)
    }

    /// A new forum's id.
    pub(crate) fn new_forum(&self, name: &str) -> String {
        text(&self.post("/forums", &json!({ "name": name, "description": "" }))["id"])
    }

    /// A new thread's id.
    pub(crate) fn new_thread(&self, forum: &str, title: &str, body: &str) -> String {
        let thread = json!({ "title": title, "body": body });
        text(&self.post(&format!("/forums/{forum}/threads"), &thread)["id"])
    }

    /// A new reply's id.
    pub(crate) fn reply(&self, thread: &str, body: &str) -> String {
        text(
            &self.post(
                &format!("/threads/{thread}/replies"),
                &json!({ "body": body }),
            )["id"],
        )
    }

    /// A new article's id.
    pub(crate) fn publish(&self, title: &str, body: &str) -> String {
        text(&self.post("/blog/articles", &json!({ "title": title, "body": body }))["id"])
    }

    /// A new message's id.
    pub(crate) fn send(&self, contact: &str, body: &str) -> String {
        text(
            &self.post(
                &format!("/conversations/{contact}"),
                &json!({ "body": body }),
            )["id"],
        )
    }

    /// The entry, once it and its text are here.
    pub(crate) fn entry(&self, id: &str) -> Option<Value> {
        let answer = self.call("GET", &format!("/entries/{id}"), None);
        (answer.status == 200 && answer.body["missing"] != true).then_some(answer.body)
    }

    /// Waits until an entry and its text are here.
    #[track_caller]
    pub(crate) fn receives(&self, id: &str) -> Value {
        self.until("an entry to arrive", |node| node.entry(id))
    }

    /// Waits until an entry reads so.
    #[track_caller]
    pub(crate) fn reads(&self, id: &str, body: &str) -> Value {
        self.until("an entry's text", |node| {
            node.entry(id).filter(|entry| entry["body"] == body)
        })
    }

    /// The texts of a thread or article, the first post first.
    pub(crate) fn texts(&self, topic: &str) -> Vec<String> {
        self.list(&format!("/threads/{topic}"))
            .iter()
            .map(|post| text(&post["body"]))
            .collect()
    }
}

/// Two nodes that are contacts of each other.
pub(crate) fn pair(one: &str, other: &str) -> (Node, Node) {
    let (one, other) = (Node::named(one), Node::named(other));
    befriend(&one, &other);
    (one, other)
}

/// Makes two nodes contacts by an invite of the first, and waits until they meet.
#[track_caller]
pub(crate) fn befriend(one: &Node, other: &Node) {
    other.post("/contacts/join", &json!({ "link": one.invite() }));
    connected(one, other);
}

/// Waits until two contacts are connected.
#[track_caller]
pub(crate) fn connected(one: &Node, other: &Node) {
    let (one_id, other_id) = (one.id(), other.id());
    one.until("the other to be online", |node| {
        node.is_online(&other_id).then_some(())
    });
    other.until("the other to be online", |node| {
        node.is_online(&one_id).then_some(())
    });
}

/// Offers a space and gives the other side's offer.
#[track_caller]
pub(crate) fn offer(from: &Node, to: &Node, space: &str) -> Value {
    from.post(
        &format!("/spaces/{space}/offers"),
        &json!({ "contact": to.id() }),
    );
    to.until("an offer", |node| {
        node.list("/offers")
            .into_iter()
            .find(|offer| offer["space"] == space)
    })
}

/// One offers a space, the other accepts it.
#[track_caller]
pub(crate) fn hand_on(from: &Node, to: &Node, space: &str) {
    let offer = offer(from, to, space);
    to.post(
        &format!("/offers/{}/accept", offer["id"].as_str().unwrap()),
        &json!({}),
    );
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("expected a text, found {value}"))
        .to_owned()
}
