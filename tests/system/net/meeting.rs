//! People on one network.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use super::{Host, Line, Net, Packet, hosts::is_at};
use crate::harness::{Node, befriend, hand_on};

/// A cable is out this long: less than a connection waits.
const OUT: Duration = Duration::from_secs(1);
/// A node that wants out tries so at once.
const LOOKED_AT_FOR: Duration = Duration::from_secs(3);
/// After a change of address. Mostly less than a second, sometimes what a connection waits for a
/// sign of life and a new dial, and on a busy machine more.
const FOUND_WITHIN: Duration = Duration::from_secs(90);

fn forum(one: &Node, other: &Node) -> String {
    let forum = one.new_forum("Lake trip");
    hand_on(one, other, &forum);
    forum
}

/// One writes, the other reads, and both the other way round.
fn talk(one: &Node, other: &Node, forum: &str, title: &str) {
    let thread = one.new_thread(forum, title, "shall we?");
    other.reads(&thread, "shall we?");
    let answer = other.reply(&thread, "yes");
    one.reads(&answer, "yes");
}

#[test]
fn two_hosts_meet_and_no_packet_leaves_their_network() {
    let Some(net) = Net::start(&[]) else { return };
    let home = net.switch();
    let hosts = [
        net.host(&home, &["10.1.0.1/24", "fd01::1/64", "fe80::1/64"]),
        net.host(&home, &["10.1.0.2/24", "fd01::2/64", "fe80::2/64"]),
    ];
    // Who wants out finds a way, as far as the switch.
    let _gateway = net.host(&home, &["10.1.0.254/24", "fd01::fe/64"]);
    for host in &hosts {
        host.gateway("10.1.0.254");
        host.gateway("fd01::fe");
    }
    let capture = home.capture();
    let [mut ana, mut ben] = [hosts[0].node("Ana"), hosts[1].node("Ben")];
    is_at(&ana, "10.1.0.1");
    befriend(&ana, &ben);
    assert_eq!(ana.contact(&ben.id()).unwrap()["link"], "lan");
    talk(&ana, &ben, &forum(&ana, &ben), "Today");
    ana.stop();
    ben.stop();
    let packets = capture.end();
    assert!(packets.iter().any(Packet::is_udp));
    for packet in &packets {
        if let Some((_, to)) = packet.ends() {
            assert!(is_here(to), "{:?} {:?}", packet.ends(), packet.ports());
        }
    }
}

/// Nobody chose anything yet: not even those on the same network are told of it.
#[test]
fn before_it_is_set_up_a_node_says_nothing_to_anybody() {
    let Some(net) = Net::start(&[]) else { return };
    let home = net.switch();
    let host = net.host(&home, &["10.1.0.1/24", "203.0.113.7/24", "fd01::1/64"]);
    let _gateway = net.host(&home, &["10.1.0.254/24", "fd01::fe/64"]);
    host.gateway("10.1.0.254");
    host.gateway("fd01::fe");
    // What a new folder has: no settings at all.
    let mut ana = Node::prepared_at(host.place().clone(), "");
    let capture = home.capture();
    ana.start();
    assert!(ana.get("/status")["identity"].is_null());
    std::thread::sleep(LOOKED_AT_FOR);
    let packets = capture.end();
    let said: Vec<_> = packets
        .iter()
        .filter(|said| said.ports().is_some())
        .collect();
    let ends: Vec<_> = said
        .iter()
        .map(|said| (said.ends(), said.ports()))
        .collect();
    assert!(ends.is_empty(), "{ends:?}");
    // With a name it looks for contacts on the network, and there only.
    let capture = home.capture();
    ana.post("/setup", &serde_json::json!({ "name": "Ana" }));
    is_at(&ana, "10.1.0.1");
    std::thread::sleep(LOOKED_AT_FOR);
    let packets = capture.end();
    assert!(
        packets.iter().any(Packet::is_udp),
        "a look that sees nothing"
    );
    for packet in &packets {
        if let Some((_, to)) = packet.ends() {
            assert!(is_here(to), "{:?} {:?}", packet.ends(), packet.ports());
        }
    }
}

/// The two networks, and what no router passes on.
fn is_here(to: IpAddr) -> bool {
    match to {
        IpAddr::V4(to) => to.octets()[..3] == [10, 1, 0] || to.octets()[..3] == [224, 0, 0],
        IpAddr::V6(to) => {
            to.is_unicast_link_local()
                || to.segments()[..4] == [0xfd01, 0, 0, 0]
                || to.segments()[0] == 0xff02
        }
    }
}

/// Ana and Ben at one switch, contacts of each other, each with a host that has one address.
fn at_home(net: &Net, addrs: [&str; 2]) -> ([Host; 2], [Node; 2]) {
    let home = net.switch();
    let hosts = addrs.map(|addr| net.host(&home, &[addr]));
    let [ana, ben] = [hosts[0].node("Ana"), hosts[1].node("Ben")];
    is_at(&ana, addrs[0].split('/').next().unwrap());
    befriend(&ana, &ben);
    (hosts, [ana, ben])
}

fn meet_by(addrs: [&str; 2]) {
    let Some(net) = Net::start(&[]) else { return };
    let (_hosts, [ana, ben]) = at_home(&net, addrs);
    talk(&ana, &ben, &forum(&ana, &ben), "Today");
}

#[test]
fn they_meet_where_there_is_only_ipv6() {
    meet_by(["fd01::1/64", "fd01::2/64"]);
}

#[test]
fn they_meet_where_nobody_gives_addresses() {
    meet_by(["169.254.7.1/16", "169.254.7.2/16"]);
}

/// Two laptops and a cable: nothing gives them addresses but the interfaces themselves.
#[test]
fn they_meet_where_there_are_only_link_local_addresses_of_ipv6() {
    let Some(net) = Net::start(&[]) else { return };
    let (hosts, [mut ana, mut ben]) = at_home(&net, ["10.1.0.1/24", "10.1.0.2/24"]);
    let forum = forum(&ana, &ben);
    for (node, host, addr) in [
        (&mut ana, &hosts[0], "fe80::1/64"),
        (&mut ben, &hosts[1], "fe80::2/64"),
    ] {
        node.stop();
        host.readdress(&[addr]);
        node.start();
    }
    talk(&ana, &ben, &forum, "By cable");
    for (one, other) in [(&ana, &ben), (&ben, &ana)] {
        assert_eq!(one.contact(&other.id()).unwrap()["link"], "lan");
    }
}

/// Ben gets another address, and both go on.
fn address_changes(gateway: Option<&str>) {
    let Some(net) = Net::start(&[]) else { return };
    let (hosts, [ana, ben]) = at_home(&net, ["10.1.0.1/24", "10.1.0.2/24"]);
    let forum = forum(&ana, &ben);
    talk(&ana, &ben, &forum, "Before");
    hosts[1].readdress(&["10.1.0.77/24"]);
    if let Some(gateway) = gateway {
        hosts[1].gateway(gateway);
    }
    let thread = ana.new_thread(&forum, "After", "shall we?");
    ben.within(FOUND_WITHIN, "the post", |ben| ben.entry(&thread));
    talk(&ana, &ben, &forum, "Long after");
}

#[test]
fn a_changed_address_is_found_by_the_other_side() {
    address_changes(Some("10.1.0.254"));
}

/// iroh waits for a default route first, for five seconds.
#[test]
fn a_changed_address_is_found_where_no_way_leads_out() {
    address_changes(None);
}

#[test]
fn a_cable_that_was_out_for_a_moment_is_not_missed() {
    let Some(net) = Net::start(&[]) else { return };
    let (hosts, [ana, ben]) = at_home(&net, ["10.1.0.1/24", "10.1.0.2/24"]);
    let forum = forum(&ana, &ben);
    talk(&ana, &ben, &forum, "Before");
    hosts[1].set_up(false);
    let thread = ana.new_thread(&forum, "Meanwhile", "shall we?");
    let began = Instant::now();
    while began.elapsed() < OUT {
        assert!(ben.entry(&thread).is_none());
    }
    hosts[1].set_up(true);
    ben.reads(&thread, "shall we?");
}

#[test]
fn they_meet_over_a_slow_line_that_loses_packets() {
    let Some(net) = Net::start(&[]) else { return };
    let home = net.switch();
    let ana_host = net.host(&home, &["10.1.0.1/24"]);
    let mut ben_host = net.bare_host();
    let line = Line {
        delay: Duration::from_millis(75),
        lost_per_mille: 30,
        rate: Some(100_000),
        seed: 1,
    };
    net.plug_by_line(&mut ben_host, line, &home, &["10.1.0.2/24"]);
    let (ana, ben) = (ana_host.node("Ana"), ben_host.node("Ben"));
    is_at(&ana, "10.1.0.1");
    befriend(&ana, &ben);
    talk(&ana, &ben, &forum(&ana, &ben), "Slowly");
    let round_trip = ana.contact(&ben.id()).unwrap()["rtt_us"].as_u64().unwrap();
    assert!(round_trip >= 150_000, "{round_trip}");
}

#[test]
fn a_remembered_address_is_enough_where_nobody_may_call_all() {
    let Some(net) = Net::start(&["nft"]) else {
        return;
    };
    let home = net.switch();
    home.filter_multicast();
    let hosts = [
        net.host(&home, &["10.1.0.1/24", "fd01::1/64"]),
        net.host(&home, &["10.1.0.2/24", "fd01::2/64"]),
    ];
    let [mut ana, mut ben] = [hosts[0].node("Ana"), hosts[1].node("Ben")];
    is_at(&ana, "10.1.0.1");
    befriend(&ana, &ben);
    let forum = forum(&ana, &ben);
    ana.kill();
    ben.stop();
    ben.start();
    ana.start();
    talk(&ana, &ben, &forum, "Again");
}

/// Ana and Ben at an access point that passes on nothing that is sent to all.
fn behind_a_filter(net: &Net) -> ([Host; 2], [Node; 2], String) {
    let home = net.switch();
    home.filter_multicast();
    let hosts = [
        net.host(&home, &["10.1.0.1/24"]),
        net.host(&home, &["10.1.0.2/24"]),
    ];
    let [ana, ben] = [hosts[0].node("Ana"), hosts[1].node("Ben")];
    is_at(&ana, "10.1.0.1");
    befriend(&ana, &ben);
    let forum = forum(&ana, &ben);
    talk(&ana, &ben, &forum, "Before");
    (hosts, [ana, ben], forum)
}

/// Ben answers nobody whom he doesn't know to be there: Ana's knock tells him.
#[test]
fn who_comes_from_a_new_address_knocks_where_nobody_may_call_all() {
    let Some(net) = Net::start(&["nft"]) else {
        return;
    };
    let (hosts, [mut ana, ben], forum) = behind_a_filter(&net);
    ana.stop();
    hosts[0].readdress(&["10.1.0.77/24"]);
    ana.start();
    talk(&ana, &ben, &forum, "From elsewhere");
}

#[test]
fn a_typed_address_is_enough_where_nobody_may_call_all() {
    let Some(net) = Net::start(&["nft"]) else {
        return;
    };
    let (hosts, [mut ana, mut ben], forum) = behind_a_filter(&net);
    ana.stop();
    ben.stop();
    hosts[0].readdress(&["10.1.0.77/24"]);
    hosts[1].readdress(&["10.1.0.78/24"]);
    ana.start();
    ben.start();
    is_at(&ben, "10.1.0.78");
    let links = ben.get("/status")["links"].clone();
    let mut addrs = links
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|link| link["addrs"].as_array().unwrap().clone());
    let addr = addrs.find(|addr| addr.as_str().unwrap().starts_with("10.1.0.78"));
    let at = format!("/contacts/{}/addresses", ben.id());
    for wrong in ["", "here", "8.8.8.8:4000", "10.1.0.78", "224.0.0.1:4000"] {
        let body = serde_json::json!({ "address": wrong });
        let problem = ana.call("POST", &at, Some(&body)).expect(422);
        assert_eq!(problem["errors"][0]["field"], "address", "{wrong}");
    }
    ana.post(&at, &serde_json::json!({ "address": addr }));
    talk(&ana, &ben, &forum, "Found");
}

#[test]
fn who_is_behind_a_router_reaches_who_is_not() {
    let Some(net) = Net::start(&["nft"]) else {
        return;
    };
    let (home, campus) = (net.switch(), net.switch());
    let _router = net.router((&home, "10.1.0.254/24"), (&campus, "10.9.0.1/16"));
    let ana_host = net.host(&home, &["10.1.0.1/24"]);
    ana_host.gateway("10.1.0.254");
    let ben_host = net.host(&campus, &["10.9.0.2/16"]);
    let (ana, ben) = (ana_host.node("Ana"), ben_host.node("Ben"));
    is_at(&ben, "10.9.0.2");
    befriend(&ben, &ana);
    talk(&ben, &ana, &forum(&ben, &ana), "From outside");
}

/// Each side moves, and moves again; the posts arrive all the same.
#[test]
fn addresses_that_change_in_turn_are_found() {
    let Some(net) = Net::start(&[]) else { return };
    let (hosts, [ana, ben]) = at_home(&net, ["10.1.0.1/24", "10.1.0.2/24"]);
    let forum = forum(&ana, &ben);
    talk(&ana, &ben, &forum, "Before");
    for (host, node, ip) in [
        (&hosts[1], &ben, "10.1.0.77"),
        (&hosts[0], &ana, "10.1.0.78"),
        (&hosts[1], &ben, "10.1.0.79"),
    ] {
        host.readdress(&[&format!("{ip}/24")]);
        is_at(node, ip);
        let thread = ana.new_thread(&forum, ip, "shall we?");
        ben.within(FOUND_WITHIN, "the post", |ben| ben.entry(&thread));
    }
}
