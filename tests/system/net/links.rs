//! Links by hand, and how long a slow line takes.

use std::time::Duration;

use serde_json::json;

use super::{Line, Net, Packet, hosts::is_at};
use crate::harness::{Node, befriend, connected, hand_on};

const BY_HAND: &str = "[links]\ninternet = \"off\"\nlan_when = \"by_hand\"\n";

/// Neither calls by itself, also when both are there; each answers who does.
#[test]
fn who_calls_by_hand_only_calls_nobody_else() {
    let Some(net) = Net::start(&[]) else { return };
    let home = net.switch();
    let hosts = [
        net.host(&home, &["10.1.0.1/24"]),
        net.host(&home, &["10.1.0.2/24"]),
    ];
    let ana = hosts[0].node_with("Ana", BY_HAND);
    let mut ben = hosts[1].node_with("Ben", BY_HAND);
    is_at(&ana, "10.1.0.1");
    // Using a link is calling by hand.
    ben.post("/contacts/join", &json!({ "link": ana.invite() }));
    let (ana_id, ben_id) = (ana.id(), ben.id());
    ana.until("Ben as a contact", |ana| ana.contact(&ben_id));
    ben.until("Ana as a contact", |ben| ben.contact(&ana_id));
    ana.post(&format!("/contacts/{ben_id}/meet"), &json!({}));
    connected(&ana, &ben);
    let forum = ana.new_forum("Lake trip");
    hand_on(&ana, &ben, &forum);
    ben.stop();
    ana.until("Ben to go", |ana| (!ana.is_online(&ben_id)).then_some(()));
    let thread = ana.new_thread(&forum, "Tonight", "shall we?");
    ben.start();
    is_at(&ben, "10.1.0.2");
    let capture = home.capture();
    // Both see each other's beacon, which would make others call at once.
    ana.until("Ben's beacon", |ana| {
        let links = ana.list("/links");
        let lan = links.iter().find(|link| link["kind"] == "lan").unwrap();
        let state = lan["state"].as_str().unwrap();
        state.contains("one contact's device").then_some(())
    });
    assert!(!ana.is_online(&ben_id) && ben.entry(&thread).is_none());
    let packets = capture.end();
    let hosts = ["10.1.0.1", "10.1.0.2"].map(|ip| ip.parse().unwrap());
    let between = |packet: &&Packet| {
        let ends = packet.ends();
        packet.is_udp()
            && ends.is_some_and(|(from, to)| hosts.contains(&from) && hosts.contains(&to))
    };
    assert_eq!(packets.iter().filter(between).count(), 0);
    assert!(ana.contact(&ben_id).unwrap()["last_error"].is_null());
    let said = ben.cli(&["contacts", "meet", "Ana"]);
    assert!(said.status.success());
    ben.reads(&thread, "shall we?");
    let seen: Vec<_> = [(&ana, &ben_id), (&ben, &ana_id)]
        .map(|(node, other)| node.contact(other).unwrap()["connection"]["dialed"].clone())
        .into();
    assert_eq!(seen, [json!(false), json!(true)]);
}

/// The system tells of a new address a moment late; whoever gets the link meanwhile must not be sent
/// to the old one only.
#[test]
fn an_invite_right_after_a_change_names_the_new_address() {
    let Some(net) = Net::start(&[]) else { return };
    let home = net.switch();
    let host = net.host(&home, &["10.1.0.1/24"]);
    let ana = host.node("Ana");
    is_at(&ana, "10.1.0.1");
    host.readdress(&["10.1.0.77/24"]);
    let link = proto::card::Invite::parse(&ana.invite()).unwrap();
    let first = link.addrs.first().unwrap().ip();
    assert_eq!(first.to_string(), "10.1.0.77", "{:?}", link.addrs);
}

/// A catch-up of some seconds says how much is left and for how long, and then that it is done.
#[test]
fn a_long_catch_up_says_how_long_it_takes() {
    const POSTS: usize = 60;
    const BYTES: usize = 20_000;
    let Some(net) = Net::start(&[]) else { return };
    let home = net.switch();
    let ana_host = net.host(&home, &["10.1.0.1/24"]);
    let mut ben_host = net.bare_host();
    let line = Line {
        delay: Duration::from_millis(5),
        lost_per_mille: 0,
        rate: Some(200_000),
        seed: 1,
    };
    net.plug_by_line(&mut ben_host, line, &home, &["10.1.0.2/24"]);
    let ana = ana_host.node("Ana");
    let mut ben = ben_host.node("Ben");
    is_at(&ana, "10.1.0.1");
    befriend(&ana, &ben);
    let forum = ana.new_forum("Lake trip");
    hand_on(&ana, &ben, &forum);
    let thread = ana.new_thread(&forum, "Before", "hello");
    ben.receives(&thread);
    ben.stop();
    let mut last = thread.clone();
    for number in 0..POSTS {
        last = ana.reply(&thread, &words(number, BYTES));
    }
    let ana_id = ana.id();
    ben.start();
    let mut lefts = Vec::new();
    ben.until("the last post", |ben: &Node| {
        let behind = ben.contact(&ana_id)?["behind"].clone();
        if let Some(left_s) = behind["left_s"].as_u64() {
            let status = ben.get("/status")["behind"].clone();
            lefts.push((left_s, behind["want"].as_u64(), behind["got"].as_u64()));
            assert!(
                status["want"].as_u64() <= behind["want"].as_u64(),
                "{status}"
            );
        }
        (ben.entry(&last).is_some() && behind["want"] == 0).then_some(())
    });
    assert!(!lefts.is_empty(), "some seconds are worth a word");
    // 1.2 MB at 200 kB/s.
    assert!(lefts.iter().all(|(left_s, ..)| *left_s <= 60), "{lefts:?}");
    let done = ben.contact(&ana_id).unwrap()["behind"].clone();
    assert_eq!((&done["want"], &done["left_s"]), (&json!(0), &json!(null)));
}

/// A text that doesn't shrink.
fn words(number: usize, bytes: usize) -> String {
    let hash = blake3::hash(number.to_string().as_bytes()).to_hex();
    let parts = (0..).map(|part| blake3::hash(format!("{hash}{part}").as_bytes()).to_hex());
    let mut text = String::with_capacity(bytes + 65);
    for part in parts {
        text.push_str(&part);
        text.push(' ');
        if text.len() >= bytes {
            break;
        }
    }
    text
}
