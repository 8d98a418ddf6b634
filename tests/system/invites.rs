//! Invites that work, and all the ways in which they must not.

use std::{
    thread,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

use crate::harness::{Node, befriend, connected};

/// Uses a link that must not work, and waits until the joiner knows.
fn is_refused(joiner: &Node, link: &str) {
    let answer = joiner.call("POST", "/contacts/join", Some(&json!({ "link": link })));
    if answer.status >= 400 {
        answer.problem();
        return;
    }
    let id = answer.body["id"].clone();
    joiner.until("the refusal", |joiner| {
        match joiner
            .list("/contacts")
            .into_iter()
            .find(|contact| contact["id"] == id)
        {
            None => Some(()),
            Some(contact) => {
                assert_ne!(contact["state"], "ready", "{contact}");
                contact["last_error"].is_string().then_some(())
            }
        }
    });
}

fn the_invite(node: &Node, id: &Value) -> Value {
    node.get(&format!("/invites/{}", id.as_str().unwrap()))
}

#[test]
fn an_invite_says_what_it_is() {
    let ana = Node::named("Ana");
    let before = now_ms();
    let answer = ana.call("POST", "/invites", Some(&json!({ "note": "for Ben" })));
    let invite = answer.expect(201);
    assert_eq!((&invite["uses"], &invite["used"]), (&json!(1), &json!(0)));
    assert_eq!(invite["note"], "for Ben");
    assert_eq!(invite["local_only"], true, "the internet link is off");
    let two_days = 48 * 3_600 * 1_000;
    let expires = invite["expires_ms"].as_u64().unwrap();
    assert!(
        (before + two_days - 60_000..now_ms() + two_days + 60_000).contains(&expires),
        "{invite}"
    );

    // POST bodies may be empty.
    let second = ana.call("POST", "/invites", None).expect(201);
    assert_ne!(second["link"], invite["link"]);
    assert_eq!(ana.list("/invites").len(), 2);

    ana.delete(&format!("/invites/{}", invite["id"].as_str().unwrap()));
    assert_eq!(ana.list("/invites").len(), 1);
}

#[test]
fn a_used_invite_is_refused_and_warns() {
    let (ana, ben, eve) = (Node::named("Ana"), Node::named("Ben"), Node::named("Eve"));
    let invite = ana.post("/invites", &json!({}));
    let link = invite["link"].as_str().unwrap();
    ben.post("/contacts/join", &json!({ "link": link }));
    connected(&ana, &ben);
    let used = the_invite(&ana, &invite["id"]);
    assert_eq!(
        (&used["used"], &used["tried_again"]),
        (&json!(1), &json!(false))
    );
    assert_eq!(used["used_by"][0]["id"], ben.id());

    is_refused(&eve, link);
    ana.until("the warning", |ana| {
        (the_invite(ana, &invite["id"])["tried_again"] == true).then_some(())
    });
    assert_eq!(ana.list("/contacts").len(), 1, "nobody but Ben came in");
    assert!(ana.is_online(&ben.id()), "and Ben goes on");
}

/// Whoever of the two forgot, or whichever answer got lost: what they wrote stays where both see it.
#[test]
fn contacts_who_use_another_link_keep_their_conversation() {
    let (ana, ben) = (Node::named("Ana"), Node::named("Ben"));
    let first = ana.invite();
    ben.post("/contacts/join", &json!({ "link": first }));
    connected(&ana, &ben);
    let before = ana.send(&ben.id(), "before");
    ben.reads(&before, "before");
    // The same link again, another one of hers, and one of his.
    ben.post("/contacts/join", &json!({ "link": first }));
    ben.post("/contacts/join", &json!({ "link": ana.invite() }));
    ana.post("/contacts/join", &json!({ "link": ben.invite() }));
    let words = |node: &Node, of: &Node| node.get(&format!("/contacts/{}/words", of.id()));
    assert_eq!(words(&ana, &ben), words(&ben, &ana));
    connected(&ana, &ben);
    let after = ben.send(&ana.id(), "after");
    ana.reads(&after, "after");
    for (node, other) in [(&ana, &ben), (&ben, &ana)] {
        let messages = node.list(&format!("/conversations/{}", other.id()));
        let texts: Vec<_> = messages.iter().map(|message| &message["body"]).collect();
        assert_eq!(texts, ["before", "after"]);
    }
}

#[test]
fn a_deleted_invite_is_refused() {
    let (ana, eve) = (Node::named("Ana"), Node::named("Eve"));
    let invite = ana.post("/invites", &json!({}));
    ana.delete(&format!("/invites/{}", invite["id"].as_str().unwrap()));
    is_refused(&eve, invite["link"].as_str().unwrap());
    assert!(ana.list("/contacts").is_empty());
}

#[test]
fn an_expired_invite_is_refused() {
    let (ana, eve) = (Node::named("Ana"), Node::named("Eve"));
    let invite = ana.post("/invites", &json!({ "expires_in_s": 1 }));
    let expires = invite["expires_ms"].as_u64().unwrap();
    ana.until("the invite to expire", |_| {
        (now_ms() > expires).then_some(())
    });
    is_refused(&eve, invite["link"].as_str().unwrap());
    assert!(ana.list("/contacts").is_empty());
}

#[test]
fn a_many_use_invite_needs_an_accept_for_each() {
    let (ana, ben, cem) = (Node::named("Ana"), Node::named("Ben"), Node::named("Cem"));
    let invite = ana.post("/invites", &json!({ "uses": 2 }));
    for node in [&ben, &cem] {
        node.post("/contacts/join", &json!({ "link": invite["link"] }));
    }
    for node in [&ben, &cem] {
        let id = node.id();
        let asks = ana.until("somebody to ask", |ana| ana.contact(&id));
        assert_eq!(
            (&asks["state"], &asks["online"]),
            (&json!("asks"), &json!(false)),
            "{asks}"
        );
    }
    assert!(
        ben.list("/contacts")
            .iter()
            .all(|contact| contact["state"] == "pending")
    );

    let accepted = ana
        .call("POST", &format!("/contacts/{}/accept", ben.id()), None)
        .expect(200);
    assert_eq!(accepted["state"], "ready");
    connected(&ana, &ben);

    ana.delete(&format!("/contacts/{}", cem.id()));
    cem.until("to be declined", |cem| {
        cem.list("/contacts")
            .iter()
            .all(|contact| contact["state"] != "ready" && contact["last_error"].is_string())
            .then_some(())
    });
    assert_eq!(ana.list("/contacts").len(), 1);

    let eve = Node::named("Eve");
    is_refused(&eve, invite["link"].as_str().unwrap());
}

#[test]
fn of_many_who_use_a_link_at_once_one_comes_in() {
    let ana = Node::named("Ana");
    let link = ana.invite();
    let others: Vec<_> = (0..4)
        .map(|number| Node::named(&format!("Ben {number}")))
        .collect();
    thread::scope(|scope| {
        for other in &others {
            let link = &link;
            scope.spawn(move || {
                other.call("POST", "/contacts/join", Some(&json!({ "link": link })))
            });
        }
    });
    let came = ana.until("one to come in", |ana| {
        let contacts = ana.list("/contacts");
        (contacts.len() == 1 && contacts[0]["online"] == true).then_some(contacts)
    });
    for other in others.iter().filter(|other| other.id() != came[0]["id"]) {
        other.until("to be refused", |other| {
            other
                .list("/contacts")
                .iter()
                .all(|contact| contact["state"] != "ready" && contact["last_error"].is_string())
                .then_some(())
        });
    }
    assert_eq!(ana.list("/contacts").len(), 1);
}

#[test]
fn a_link_is_used_while_its_maker_is_away_and_counts_when_they_meet() {
    let (mut ana, ben) = (Node::named("Ana"), Node::named("Ben"));
    let link = ana.invite();
    ana.stop();
    let pending = ben.post("/contacts/join", &json!({ "link": link }));
    assert_eq!(pending["state"], "pending", "{pending}");
    ben.until("a word on why", |ben| {
        ben.list("/contacts")[0]["last_error"]
            .is_string()
            .then_some(())
    });
    ana.start();
    connected(&ana, &ben);
    assert_eq!(ben.list("/contacts").len(), 1);
}

#[test]
fn an_invite_survives_a_restart_of_its_maker() {
    let (mut ana, ben) = (Node::named("Ana"), Node::named("Ben"));
    let link = ana.invite();
    ana.kill();
    ana.start();
    ben.post("/contacts/join", &json!({ "link": link }));
    connected(&ana, &ben);
}

#[test]
fn a_link_to_oneself_or_to_a_contact_changes_nothing() {
    let (ana, ben) = (Node::named("Ana"), Node::named("Ben"));
    let own = ana.call(
        "POST",
        "/contacts/join",
        Some(&json!({ "link": ana.invite() })),
    );
    assert!(matches!(own.status, 409 | 422), "{own:?}");
    assert!(ana.list("/contacts").is_empty());
    befriend(&ana, &ben);
    let again = ben.call(
        "POST",
        "/contacts/join",
        Some(&json!({ "link": ana.invite() })),
    );
    assert!(again.status < 500, "{again:?}");
    connected(&ana, &ben);
    assert_eq!(
        (ana.list("/contacts").len(), ben.list("/contacts").len()),
        (1, 1)
    );
}

#[test]
fn what_is_no_link_is_refused() {
    let ana = Node::named("Ana");
    let good = Node::named("Ben").invite();
    let mut bad = vec![
        String::new(),
        "waymeet:".to_owned(),
        "https://example.org".to_owned(),
        "waymeet:!!!!".to_owned(),
        "waymeet:aaaaaaaaaaaaaaaa".to_owned(),
        format!("waymeet:{}", "a".repeat(2_000)),
        good[..good.len() - 1].to_owned(),
        good[..good.len() / 2].to_owned(),
        format!("{good}{good}"),
        good.replacen("waymeet:", "waymeet;", 1),
    ];
    // A letter read wrongly, at some places over the whole link.
    let body = good.strip_prefix("waymeet:").unwrap();
    for at in (0..body.len()).step_by(7) {
        let mut letters: Vec<char> = body.chars().collect();
        letters[at] = if letters[at] == 'a' { 'b' } else { 'a' };
        bad.push(format!(
            "waymeet:{}",
            letters.into_iter().collect::<String>()
        ));
    }
    for link in &bad {
        let answer = ana.call("POST", "/contacts/join", Some(&json!({ "link": link })));
        assert_eq!(answer.status, 422, "{link}: {answer:?}");
        assert_eq!(answer.fields(), ["link"], "{link}");
    }
    assert!(ana.list("/contacts").is_empty());
}

#[test]
fn an_invites_bounds_are_kept() {
    let ana = Node::named("Ana");
    for (body, field) in [
        (json!({ "uses": 0 }), "uses"),
        (json!({ "uses": 201 }), "uses"),
        (json!({ "uses": -1 }), "uses"),
        (json!({ "uses": "two" }), "uses"),
        (json!({ "expires_in_s": 0 }), "expires_in_s"),
        (json!({ "expires_in_s": 31 * 86_400 }), "expires_in_s"),
        (json!({ "expires_in_s": u64::MAX }), "expires_in_s"),
        (json!({ "note": "a".repeat(1_000) }), "note"),
        (json!({ "secret": "mine" }), "secret"),
    ] {
        let answer = ana.call("POST", "/invites", Some(&body));
        assert_eq!(
            (answer.status, answer.fields()),
            (422, vec![field]),
            "{body}: {answer:?}"
        );
    }
    assert!(ana.list("/invites").is_empty());
    for number in 0..64 {
        let answer = ana.call("POST", "/invites", None);
        assert_eq!(answer.status, 201, "{number}: {answer:?}");
    }
    let over = ana.call("POST", "/invites", None);
    assert_eq!((over.status, over.problem()), (409, "conflict"));
}

fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap()
}
