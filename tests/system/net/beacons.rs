//! What is announced on a local network, who understands it and who doesn't.

use std::{collections::BTreeSet, thread, time::Duration};

use data_encoding::BASE32_NOPAD;

use super::{Net, Packet, hosts::is_at};
use crate::harness::{befriend, contains, hand_on};

const MDNS: u16 = 5353;
/// How long is listened: an announcement is repeated after a second (RFC 6762 section 8.3).
const LISTENED: Duration = Duration::from_secs(3);
/// Characters of a beacon's name.
const LABEL_CHARS: usize = 39;

#[test]
fn contacts_find_each_other_where_neither_knows_an_address() {
    let Some(net) = Net::start(&[]) else { return };
    let home = net.switch();
    let hosts = [
        net.host(&home, &["10.1.0.1/24"]),
        net.host(&home, &["10.1.0.2/24"]),
    ];
    let [mut ana, mut ben] = [hosts[0].node("Ana"), hosts[1].node("Ben")];
    is_at(&ana, "10.1.0.1");
    befriend(&ana, &ben);
    let forum = ana.new_forum("Camp");
    hand_on(&ana, &ben, &forum);
    ana.stop();
    ben.stop();
    hosts[0].readdress(&["10.9.0.1/24"]);
    hosts[1].readdress(&["10.9.0.2/24"]);
    ana.start();
    ben.start();
    let thread = ana.new_thread(&forum, "At the lake", "found you");
    ben.reads(&thread, "found you");
    assert_eq!(ben.contact(&ana.id()).unwrap()["link"], "lan");
}

#[test]
fn what_is_announced_says_nobody_s_name_and_is_another_at_every_start() {
    let Some(net) = Net::start(&[]) else { return };
    let home = net.switch();
    let host = net.host(&home, &["10.1.0.1/24", "fd01::1/64"]);
    let _listener = net.host(&home, &["10.1.0.2/24"]);
    let mut ana = host.prepared();
    let hear = |ana: &mut crate::harness::Node, first: bool| {
        let capture = home.capture();
        ana.start();
        if first {
            ana.post("/setup", &serde_json::json!({ "name": "Annabel" }));
        }
        thread::sleep(LISTENED);
        ana.stop();
        capture.end()
    };
    let heard = [hear(&mut ana, true), hear(&mut ana, false)];
    ana.start();
    let id = ana.id();
    let raw = BASE32_NOPAD.decode(id.to_uppercase().as_bytes()).unwrap();
    // An invite names the endpoint behind its version and flags.
    let invite = ana.post("/invites", &serde_json::json!({}));
    let link = invite["link"].as_str().unwrap();
    let link = link.trim_start_matches("waymeet:").to_uppercase();
    let endpoint = &BASE32_NOPAD.decode(link.as_bytes()).unwrap()[2..34];
    for packet in heard.iter().flatten() {
        assert!(!contains(&packet.frame, b"Annabel"));
        assert!(!contains(&packet.frame, id.as_bytes()) && !contains(&packet.frame, &raw));
        assert!(!contains(&packet.frame, endpoint));
    }
    let words = heard.map(|packets| words(&packets));
    for words in &words {
        assert!(
            words.iter().any(|word| word.len() == LABEL_CHARS),
            "{words:?}"
        );
    }
    let lasting: BTreeSet<_> = words[0].intersection(&words[1]).collect();
    assert_eq!(lasting, BTreeSet::from([&"waymeet".to_owned()]));
}

/// Letters and digits, seven and more of them in a row, in what was announced or asked.
fn words(packets: &[Packet]) -> BTreeSet<String> {
    let announced = packets
        .iter()
        .filter(|packet| packet.ports().is_some_and(|(from, _)| from == MDNS));
    announced
        .flat_map(|packet| {
            packet
                .payload()
                .split(|byte| !byte.is_ascii_alphanumeric())
                .filter(|word| word.len() >= 7)
                .map(|word| String::from_utf8_lossy(word).into_owned())
                .collect::<Vec<_>>()
        })
        .collect()
}
