//! People on one network.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use super::{Net, Packet};
use crate::harness::{Node, befriend, hand_on};

/// A cable is out this long: less than a connection waits.
const OUT: Duration = Duration::from_secs(1);

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

/// Two people whose only addresses are these.
fn meet_by(one: &str, other: &str) {
    let Some(net) = Net::start(&[]) else { return };
    let home = net.switch();
    let hosts = (net.host(&home, &[one]), net.host(&home, &[other]));
    let (ana, ben) = (hosts.0.node("Ana"), hosts.1.node("Ben"));
    befriend(&ana, &ben);
    talk(&ana, &ben, &forum(&ana, &ben), "Today");
}

#[test]
fn they_meet_where_there_is_only_ipv6() {
    meet_by("fd01::1/64", "fd01::2/64");
}

#[test]
fn they_meet_where_nobody_gives_addresses() {
    meet_by("169.254.7.1/16", "169.254.7.2/16");
}

#[test]
fn a_changed_address_is_found_by_the_other_side() {
    let Some(net) = Net::start(&[]) else { return };
    let home = net.switch();
    let hosts = [
        net.host(&home, &["10.1.0.1/24"]),
        net.host(&home, &["10.1.0.2/24"]),
    ];
    let [ana, ben] = [hosts[0].node("Ana"), hosts[1].node("Ben")];
    befriend(&ana, &ben);
    let forum = forum(&ana, &ben);
    talk(&ana, &ben, &forum, "Before");
    hosts[1].readdress(&["10.1.0.77/24"]);
    talk(&ana, &ben, &forum, "After");
}

#[test]
fn a_cable_that_was_out_for_a_moment_is_not_missed() {
    let Some(net) = Net::start(&[]) else { return };
    let home = net.switch();
    let hosts = [
        net.host(&home, &["10.1.0.1/24"]),
        net.host(&home, &["10.1.0.2/24"]),
    ];
    let [ana, ben] = [hosts[0].node("Ana"), hosts[1].node("Ben")];
    befriend(&ana, &ben);
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
