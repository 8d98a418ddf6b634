//! Two people on one network add each other without a link.

use std::time::Duration;

use data_encoding::BASE32_NOPAD;
use serde_json::{Value, json};

use super::{Net, hosts::is_at};
use crate::harness::{Node, contains};

const MDNS: u16 = 5353;
/// How long a closed one is asked for an answer; an open one is there within a tenth of it.
const PATIENCE: Duration = Duration::from_secs(3);

fn open(node: &Node) {
    let state = node.post("/nearby", &json!({}));
    assert_eq!(
        (&state["open"], &state["has_network"]),
        (&json!(true), &json!(true))
    );
}

fn people(node: &Node) -> Vec<Value> {
    node.get("/nearby")["people"].as_array().unwrap().clone()
}

/// Somebody nearby who is still to be decided about.
#[track_caller]
fn person(node: &Node, what: &str, which: impl Fn(&Value) -> bool) -> Value {
    node.until(what, |node| {
        let mut people = people(node).into_iter();
        people.find(|person| person["state"] == "comparing" && which(person))
    })
}

fn accept(node: &Node, person: &Value) {
    let id = person["id"].as_str().unwrap();
    node.post(&format!("/nearby/{id}/accept"), &json!({}));
}

#[track_caller]
fn done(node: &Node, person: &Value) -> String {
    let person = node.until("a contact", |node| {
        let mut people = people(node).into_iter();
        people.find(|one| one["id"] == person["id"] && one["confirmed"] == true)
    });
    assert_eq!(person["state"], "done");
    person["contact"].as_str().unwrap().to_owned()
}

/// What a listener on the network could recognise a node by later.
fn lasting(node: &Node) -> Vec<Vec<u8>> {
    let raw = |text: &str| BASE32_NOPAD.decode(text.to_uppercase().as_bytes()).unwrap();
    let status = node.get("/status");
    let id = status["identity"]["id"].as_str().unwrap();
    let device = status["device"].as_str().unwrap();
    // An invite names the endpoint behind its version and flags.
    let invite = node.post("/invites", &json!({}));
    let link = invite["link"].as_str().unwrap();
    let endpoint = raw(link.trim_start_matches("waymeet:"))[2..34].to_vec();
    let texts = [id, device].map(|text| text.as_bytes().to_vec());
    let endpoint_text = BASE32_NOPAD.encode(&endpoint).to_lowercase().into_bytes();
    let invite = invite["id"].as_str().unwrap();
    node.call("DELETE", &format!("/invites/{invite}"), None);
    texts
        .into_iter()
        .chain([raw(id), raw(device), endpoint, endpoint_text])
        .collect()
}

#[test]
fn two_people_nearby_add_each_other_and_show_the_network_nothing_that_lasts() {
    let Some(net) = Net::start(&[]) else { return };
    let home = net.switch();
    let hosts = [
        net.host(&home, &["10.1.0.1/24", "fd01::1/64"]),
        net.host(&home, &["10.1.0.2/24", "fd01::2/64"]),
    ];
    let names = ["Annabel", "Benedikt"];
    let nodes = [hosts[0].node(names[0]), hosts[1].node(names[1])];
    let [ana, ben] = &nodes;
    is_at(ana, "10.1.0.1");
    is_at(ben, "10.1.0.2");
    let lasting: Vec<_> = nodes.iter().flat_map(lasting).collect();
    let capture = home.capture();
    open(ana);
    open(ben);
    let (at_ana, at_ben) = (
        person(ana, "Ben", |one| one["name"] == names[1]),
        person(ben, "Ana", |one| one["name"] == names[0]),
    );
    assert_eq!(at_ana["words"], at_ben["words"]);
    let page = ana.get("/contacts");
    assert_eq!(page["items"], json!([]), "nobody said yes");
    accept(ana, &at_ana);
    accept(ben, &at_ben);
    let (ben_id, ana_id) = (done(ana, &at_ana), done(ben, &at_ben));
    assert_eq!((&ben_id, &ana_id), (&ben.id(), &ana.id()));
    // All that was needed has passed: what the two say as contacts is another matter.
    let packets = capture.end();
    for node in &nodes {
        node.call("DELETE", "/nearby", None);
    }
    assert_eq!(ana.contact(&ben_id).unwrap()["trust"], "verified");
    ana.until("a meeting", |ana| ana.is_online(&ben_id).then_some(()));
    let announced = packets.iter().filter(|packet| {
        packet.ports().is_some_and(|(from, _)| from == MDNS)
            && contains(&packet.frame, b"_waymeet-near")
    });
    assert!(announced.count() > 0);
    for packet in &packets {
        for name in names {
            assert!(!contains(&packet.frame, name.as_bytes()));
        }
        for lasting in &lasting {
            assert!(!contains(&packet.frame, lasting), "{:?}", packet.ports());
        }
    }
}

#[test]
fn a_third_is_listed_apart_and_of_two_with_one_name_the_words_tell() {
    let Some(net) = Net::start(&[]) else { return };
    let home = net.switch();
    // As hosts mostly are: each family announces for itself, and by one of them no connection comes.
    let hosts = [1, 2, 3].map(|n| {
        let addrs = [format!("10.1.0.{n}/24"), format!("fe80::{n}/64")];
        net.host(&home, &addrs.each_ref().map(String::as_str))
    });
    let ana = hosts[0].node("Ana");
    let (ben, other) = (hosts[1].node("Ben"), hosts[2].node("Ben"));
    for (n, node) in [&ana, &ben, &other].into_iter().enumerate() {
        is_at(node, &format!("10.1.0.{}", n + 1));
        open(node);
    }
    let at_ben = person(&ben, "Ana", |one| one["name"] == "Ana");
    let at_other = person(&other, "Ana", |one| one["name"] == "Ana");
    let right = person(&ana, "Ben", |one| one["words"] == at_ben["words"]);
    let wrong = person(&ana, "the other", |one| one["words"] == at_other["words"]);
    assert_ne!(right["id"], wrong["id"]);
    accept(&ana, &right);
    accept(&ben, &at_ben);
    accept(&other, &at_other);
    assert_eq!(done(&ana, &right), ben.id());
    assert!(ana.contact(&other.id()).is_none());
    assert_eq!(other.get("/contacts")["items"], json!([]));
}

/// Who isn't in that mode is seen by nobody, and who left it can't be reached where it was.
#[test]
fn closed_nothing_answers_and_nobody_is_listed() {
    let Some(net) = Net::start(&[]) else { return };
    let home = net.switch();
    let hosts = [1, 2].map(|n| net.host(&home, &[&format!("10.1.0.{n}/24")]));
    let [ana, ben] = [hosts[0].node("Ana"), hosts[1].node("Ben")];
    is_at(&ana, "10.1.0.1");
    is_at(&ben, "10.1.0.2");
    open(&ana);
    person_comes(&ben, &ana);
    // Ana closes it. Ben, who still has it open, sees her go and nobody come.
    ana.call("DELETE", "/nearby", None);
    ben.until("Ana to be gone", |ben| {
        let gone = people(ben).iter().all(|one| one["state"] == "ended");
        gone.then_some(())
    });
    let capture = home.capture();
    ben.call("DELETE", "/nearby", None);
    open(&ben);
    std::thread::sleep(PATIENCE);
    assert_eq!(people(&ben), Vec::<Value>::new());
    let from_ana = capture.end();
    let from_ana = from_ana.iter().filter(|packet| {
        let ends = packet.ends();
        // Its system says that the port is closed (ICMP), as it does of any other.
        packet.is_udp() && ends.is_some_and(|(from, _)| from.to_string() == "10.1.0.1")
    });
    for packet in from_ana {
        assert!(!contains(&packet.frame, b"_waymeet-near"));
        // Beacons go on; nothing is sent to Ben.
        assert_eq!(packet.ports().map(|(from, _)| from), Some(MDNS));
    }
    // The time that was asked for ends it without anybody's doing.
    ben.call("DELETE", "/nearby", None);
    ben.post("/nearby", &json!({ "seconds": 1 }));
    ben.until("the end", |ben| {
        (ben.get("/nearby")["open"] == false).then_some(())
    });
}

#[track_caller]
fn person_comes(node: &Node, other: &Node) {
    open(node);
    person(node, "the other", |_| true);
    person(other, "the one", |_| true);
}

#[test]
fn the_command_shows_who_is_there_and_takes_the_answer() {
    let Some(net) = Net::start(&[]) else { return };
    let home = net.switch();
    let hosts = [1, 2].map(|n| net.host(&home, &[&format!("10.1.0.{n}/24")]));
    let [ana, ben] = [hosts[0].node("Ana"), hosts[1].node("Ben")];
    is_at(&ana, "10.1.0.1");
    is_at(&ben, "10.1.0.2");
    open(&ana);
    let at_ana = std::thread::scope(|scope| {
        // It tells each change in a line, until the time is up.
        let told = scope.spawn(|| ben.cli(&["--json", "nearby", "--seconds", "20"]));
        let at_ana = person(&ana, "Ben", |one| one["name"] == "Ben");
        let at_ben = person(&ben, "Ana", |one| one["name"] == "Ana");
        accept(&ana, &at_ana);
        let id = at_ben["id"].as_str().unwrap();
        let accepted = ben.cli_json(&["nearby", "--accept", id]);
        assert_eq!(accepted["we_accept"], true);
        done(&ana, &at_ana);
        done(&ben, &at_ben);
        ben.cli_json(&["nearby", "--close"]);
        let told = told.join().unwrap();
        assert!(told.status.success());
        let lines = String::from_utf8(told.stdout).unwrap();
        let states: Vec<Value> = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(states.first().unwrap()["open"], true);
        let last = states.last().unwrap();
        assert_eq!(
            (&last["open"], &last["people"][0]["state"]),
            (&json!(false), &json!("done"))
        );
        at_ana
    });
    assert_eq!(at_ana["name"], "Ben");
    let gone = ben.cli(&["nearby", "--accept", "nobody"]);
    assert!(!gone.status.success());
}
