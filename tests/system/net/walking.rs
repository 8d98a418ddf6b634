//! People who are never on the same network, and somebody who goes from one to the other.

use std::time::{Duration, Instant};

use super::{
    Net,
    hosts::{Host, Switch, is_at},
};
use crate::harness::{Node, befriend, connected, hand_on};

/// Within this a message goes over two meetings and its receipt back, on a busy machine.
const SECONDS: Duration = Duration::from_secs(10);

#[test]
fn ben_walks_and_carries_a_forum_between_two_who_never_meet() {
    let Some(net) = Net::start(&[]) else { return };
    let (home, cafe) = (net.switch(), net.switch());
    let (ana_host, cem_host) = (
        net.host(&home, &["10.1.0.1/24"]),
        net.host(&cafe, &["10.2.0.1/24"]),
    );
    let mut ben_host = net.host(&home, &["10.1.0.2/24"]);
    let (ana, ben, cem) = (
        ana_host.node("Ana"),
        ben_host.node("Ben"),
        cem_host.node("Cem"),
    );
    is_at(&ana, "10.1.0.1");
    befriend(&ana, &ben);
    let forum = ana.new_forum("Lake trip");
    hand_on(&ana, &ben, &forum);
    ben_host.walk(&cafe, &["10.2.0.2/24"]);
    is_at(&ben, "10.2.0.2");
    befriend(&ben, &cem);
    hand_on(&ben, &cem, &forum);

    ben_host.walk(&home, &["10.1.0.2/24"]);
    let thread = ana.new_thread(&forum, "Saturday", "who comes?");
    ben.reads(&thread, "who comes?");
    assert!(cem.entry(&thread).is_none());

    ben_host.walk(&cafe, &["10.2.0.2/24"]);
    cem.reads(&thread, "who comes?");
    let answer = cem.reply(&thread, "I do");
    ben.reads(&answer, "I do");
    assert!(ana.entry(&answer).is_none());

    ben_host.walk(&home, &["10.1.0.2/24"]);
    ana.reads(&answer, "I do");
    assert_eq!(ana.texts(&thread), cem.texts(&thread));
}

/// Keys for letters are there from everybody known.
fn has_keys(node: &Node, of: u64) {
    node.until("keys for letters", |node| {
        (node.get("/letters")["keys_from"] == of).then_some(())
    });
}

fn is_delivered(node: &Node, message: &str) {
    node.until("a message to be delivered", |node| {
        (node.entry(message)?["state"] == "delivered").then_some(())
    });
}

struct Three {
    ana: Node,
    ben: Node,
    cem: Node,
    /// Ana's and Cem's.
    hosts: [Host; 2],
}

/// Three who know each other at home, one of whom has just gone to the café.
fn cem_leaves(net: &Net, ben_host: &Host, home: &Switch, cafe: &Switch) -> Three {
    let ana_host = net.host(home, &["10.1.0.1/24"]);
    let mut cem_host = net.host(home, &["10.1.0.3/24"]);
    let (ana, ben, cem) = (
        ana_host.node("Ana"),
        ben_host.node("Ben"),
        cem_host.node("Cem"),
    );
    is_at(&ana, "10.1.0.1");
    for (one, other) in [(&ana, &ben), (&ana, &cem), (&ben, &cem)] {
        befriend(one, other);
    }
    for node in [&ana, &ben, &cem] {
        has_keys(node, 2);
    }
    cem_host.walk(cafe, &["10.2.0.3/24"]);
    let cem_id = cem.id();
    ana.until("Cem to be gone", |ana| {
        (!ana.is_online(&cem_id)).then_some(())
    });
    Three {
        ana,
        ben,
        cem,
        hosts: [ana_host, cem_host],
    }
}

#[test]
fn ben_walks_and_carries_a_message_between_two_who_met_once() {
    let Some(net) = Net::start(&[]) else { return };
    let (home, cafe) = (net.switch(), net.switch());
    let mut ben_host = net.host(&home, &["10.1.0.2/24"]);
    let Three {
        ana,
        ben,
        cem,
        hosts: _hosts,
    } = cem_leaves(&net, &ben_host, &home, &cafe);
    let (ana_id, cem_id) = (ana.id(), cem.id());
    let message = ana.send(&cem_id, "the key is under the stone");
    ana.until("Ben to carry it", |ana| {
        (ana.entry(&message)?["state"] == "carried").then_some(())
    });
    ben_host.walk(&cafe, &["10.2.0.2/24"]);
    cem.reads(&message, "the key is under the stone");
    let answer = cem.send(&ana_id, "found it");
    cem.until("Ben to carry the answer", |cem| {
        (cem.entry(&answer)?["state"] == "carried").then_some(())
    });
    assert!(ana.entry(&answer).is_none() && ben.entry(&answer).is_none());
    ben_host.walk(&home, &["10.1.0.2/24"]);
    ana.reads(&answer, "found it");
    is_delivered(&ana, &message);
    ben_host.walk(&cafe, &["10.2.0.2/24"]);
    is_delivered(&cem, &answer);
    assert_eq!(ana.list(&format!("/conversations/{cem_id}")).len(), 2);
    assert_eq!(cem.list(&format!("/conversations/{ana_id}")).len(), 2);
}

/// Ben is in both networks at once, and what he is given goes on the moment that he has it.
#[test]
fn a_message_goes_through_ben_at_once_where_two_have_no_way_to_each_other() {
    let Some(net) = Net::start(&[]) else { return };
    let (home, cafe) = (net.switch(), net.switch());
    let mut ben_host = net.host(&home, &["10.1.0.2/24"]);
    net.plug(&mut ben_host, &cafe, &["10.2.0.2/24"]);
    let Three {
        ana,
        ben,
        cem,
        hosts: _hosts,
    } = cem_leaves(&net, &ben_host, &home, &cafe);
    let (ana_id, cem_id) = (ana.id(), cem.id());
    connected(&ben, &cem);
    connected(&ana, &ben);
    for round in 0..3 {
        let sent = Instant::now();
        let message = ana.send(&cem_id, &format!("question {round}"));
        cem.reads(&message, &format!("question {round}"));
        let there = sent.elapsed();
        is_delivered(&ana, &message);
        let told = sent.elapsed();
        eprintln!("there after {there:?}, its author was told after {told:?}");
        assert!(told < SECONDS, "{told:?}");
        let answer = cem.send(&ana_id, &format!("answer {round}"));
        ana.reads(&answer, &format!("answer {round}"));
        assert!(ben.entry(&message).is_none() && ben.entry(&answer).is_none());
    }
    assert!(!ana.is_online(&cem_id));
}
