//! The stream of events.

use serde_json::json;

use crate::harness::{Node, befriend, connected, hand_on, offer, pair};

#[test]
fn what_is_written_here_and_there_is_told_at_once() {
    let (ana, ben) = pair("Ana", "Ben");
    let forum = ana.new_forum("Lake");
    hand_on(&ana, &ben, &forum);
    let (at_ana, at_ben) = (ana.events(None), ben.events(None));
    let thread = ana.new_thread(&forum, "Hello", "hello");
    for events in [&at_ana, &at_ben] {
        let event = events.next("the thread", |event| {
            event.kind == "entry" && event.data["id"] == thread.as_str()
        });
        assert_eq!(
            (&event.data["kind"], &event.data["space"]),
            (&json!("entry"), &json!(forum))
        );
        assert_eq!(event.data["topic"], thread.as_str());
    }
    let reply = ben.reply(&thread, "hi");
    let event = at_ana.next("the reply", |event| event.data["id"] == reply.as_str());
    assert_eq!(event.data["topic"], thread.as_str());
    // Told means durable and readable.
    assert_eq!(ana.entry(&reply).unwrap()["body"], "hi");
}

#[test]
fn contacts_offers_presence_and_deliveries_are_told() {
    let (ana, mut ben) = (Node::named("Ana"), Node::named("Ben"));
    let (at_ana, at_ben) = (ana.events(None), ben.events(None));
    befriend(&ana, &ben);
    let ben_id = ben.id();
    at_ana.next("the contact", |event| {
        event.kind == "contact" && event.data["contact"] == ben_id.as_str()
    });
    at_ana.next("the presence", |event| {
        event.kind == "presence" && event.data["contact"] == ben_id.as_str()
    });
    let forum = ana.new_forum("Lake");
    let offer = offer(&ana, &ben, &forum);
    at_ben.next("the offer", |event| {
        event.kind == "offer" && event.data["id"] == offer["id"]
    });
    let message = ana.send(&ben_id, "psst");
    at_ana.next("the delivery", |event| event.kind == "delivery");
    assert_eq!(ana.entry(&message).unwrap()["state"], "delivered");
    ben.stop();
    at_ana.next("the departure", |event| event.kind == "presence");
    at_ben.ended();
}

#[test]
fn a_stream_goes_on_after_the_last_id_without_gap_or_double() {
    let ana = Node::named("Ana");
    let forum = ana.new_forum("Lake");
    let thread = ana.new_thread(&forum, "Hello", "hello");
    let events = ana.events(None);
    let seen = ana.reply(&thread, "seen");
    let last = events.next("the first reply", |event| event.data["id"] == seen.as_str());
    drop(events);
    let missed: Vec<_> = (0..5)
        .map(|number| ana.reply(&thread, &format!("missed {number}")))
        .collect();
    let events = ana.events(Some(&last.id));
    let mut before = last.number();
    for id in &missed {
        let event = events.next("a missed reply", |event| {
            assert_ne!(event.kind, "reset");
            event.kind == "entry"
        });
        assert_eq!(event.data["id"], id.as_str(), "in order, none twice");
        assert!(event.number() > before, "ids rise");
        before = event.number();
    }
    let live = ana.reply(&thread, "live");
    events.next("what comes after", |event| {
        event.data["id"] == live.as_str()
    });

    let again = ana.events(Some(&format!("{before}")));
    let event = again.next("the live one alone", |event| event.kind == "entry");
    assert_eq!(event.data["id"], live.as_str());
}

#[test]
fn ids_rise_over_a_restart_and_a_stream_can_go_on() {
    let mut ana = Node::named("Ana");
    let forum = ana.new_forum("Lake");
    let events = ana.events(None);
    let first = ana.new_thread(&forum, "Before", "before");
    let last = events.next("the thread", |event| event.data["id"] == first.as_str());
    ana.kill();
    ana.start();
    let events = ana.events(Some(&last.id));
    let second = ana.new_thread(&forum, "After", "after");
    // Either the stream goes on, or it says that the reader has to read everything anew.
    let event = events.next("the second thread or a reset", |event| {
        event.kind == "reset" || event.data["id"] == second.as_str()
    });
    assert!(
        event.number() > last.number() || event.kind == "reset",
        "{event:?} after {last:?}"
    );
    let event = if event.kind == "reset" {
        events.next("the second thread", |event| {
            event.data["id"] == second.as_str()
        })
    } else {
        event
    };
    assert!(event.number() > last.number(), "{event:?} after {last:?}");
}

#[test]
fn an_id_that_is_too_old_or_from_the_future_gets_a_reset() {
    let mut ana = Node::named("Ana");
    let forum = ana.new_forum("Lake");
    ana.new_thread(&forum, "Hello", "hello");
    ana.stop();
    ana.start();
    for id in ["0", "18446744073709551615"] {
        let events = ana.events(Some(id));
        let first = events.next("anything", |_| true);
        assert_eq!(first.kind, "reset", "after {id}: {first:?}");
        let thread = ana.new_thread(&forum, "Then", "then");
        events.next("what comes after", |event| {
            event.data["id"] == thread.as_str()
        });
    }
}

#[test]
fn many_readers_see_the_same() {
    let ana = Node::named("Ana");
    let forum = ana.new_forum("Lake");
    let readers: Vec<_> = (0..8).map(|_| ana.events(None)).collect();
    let ids: Vec<_> = (0..20)
        .map(|number| ana.new_thread(&forum, &format!("{number}"), "x"))
        .collect();
    for reader in &readers {
        for id in &ids {
            let event = reader.next("a thread", |event| event.kind == "entry");
            assert_eq!(event.data["id"], id.as_str());
        }
    }
}

#[test]
fn contacts_that_come_back_are_told() {
    let (ana, mut ben) = pair("Ana", "Ben");
    let events = ana.events(None);
    ben.kill();
    let ben_id = {
        events.next("the departure", |event| event.kind == "presence");
        ben.start();
        ben.id()
    };
    events.next("the return", |event| event.kind == "presence");
    connected(&ana, &ben);
    assert!(ana.is_online(&ben_id));
}
