//! Interfaces that come, go and are more than one.

use super::{Host, Net, Switch, hosts::is_at};
use crate::harness::{Node, befriend, hand_on};
use rustix::process::Signal;

/// How often a signal comes and goes before somebody looks.
const FLAPS: usize = 6;

fn forum(one: &Node, other: &Node) -> String {
    let forum = one.new_forum("Lake trip");
    hand_on(one, other, &forum);
    forum
}

fn passes(from: &Node, to: &Node, forum: &str, title: &str) {
    let thread = from.new_thread(forum, title, "shall we?");
    to.reads(&thread, "shall we?");
}

fn pair_at(net: &Net, switch: &Switch) -> ([Host; 2], [Node; 2]) {
    let hosts = [
        net.host(switch, &["10.1.0.1/24"]),
        net.host(switch, &["10.1.0.2/24"]),
    ];
    let nodes = [hosts[0].node("Ana"), hosts[1].node("Ben")];
    is_at(&nodes[0], "10.1.0.1");
    befriend(&nodes[0], &nodes[1]);
    (hosts, nodes)
}

/// Two start in the woods, without any network; then somebody switches on a hotspot.
#[test]
fn a_hotspot_that_appears_later_is_found() {
    let Some(net) = Net::start(&[]) else { return };
    let home = net.switch();
    let (hosts, [mut ana, mut ben]) = pair_at(&net, &home);
    let forum = forum(&ana, &ben);
    ana.stop();
    ben.stop();
    for host in &hosts {
        host.readdress(&[]);
        host.set_up(false);
    }
    ana.start();
    ben.start();
    let thread = ana.new_thread(&forum, "In the woods", "a fire!");
    for (host, addr) in hosts.iter().zip(["10.42.0.1/24", "10.42.0.2/24"]) {
        host.set_up(true);
        host.readdress(&[addr]);
    }
    ben.reads(&thread, "a fire!");
}

#[test]
fn a_signal_that_comes_and_goes_is_survived() {
    let Some(net) = Net::start(&[]) else { return };
    let home = net.switch();
    let (hosts, [ana, ben]) = pair_at(&net, &home);
    let forum = forum(&ana, &ben);
    for n in 0..FLAPS {
        hosts[1].set_up(false);
        ana.new_thread(&forum, &format!("Signal {n}"), "is it back?");
        hosts[1].set_up(true);
    }
    passes(&ana, &ben, &forum, "Then");
    passes(&ben, &ana, &forum, "And back");
}

/// Ben's laptop is closed at home, beyond what any connection waits, and opened where Cem is.
#[test]
fn who_slept_and_wakes_up_elsewhere_meets_whoever_is_there() {
    let Some(net) = Net::start(&[]) else { return };
    let (home, cafe) = (net.switch(), net.switch());
    let ana_host = net.host(&home, &["10.1.0.1/24"]);
    let cem_host = net.host(&cafe, &["10.2.0.1/24"]);
    let mut ben_host = net.host(&cafe, &["10.2.0.2/24"]);
    let (ana, ben, cem) = (
        ana_host.node("Ana"),
        ben_host.node("Ben"),
        cem_host.node("Cem"),
    );
    is_at(&cem, "10.2.0.1");
    befriend(&cem, &ben);
    let forum = forum(&cem, &ben);
    ben_host.walk(&home, &["10.1.0.2/24"]);
    is_at(&ben, "10.1.0.2");
    befriend(&ben, &ana);

    ben.signal(Signal::STOP);
    let id = ana.get("/contacts")["items"][0]["id"].clone();
    ana.until("Ben to be seen as gone", |ana| {
        (!ana.is_online(id.as_str().unwrap())).then_some(())
    });
    let thread = cem.new_thread(&forum, "While you slept", "good morning");
    ben_host.walk(&cafe, &["10.2.0.77/24"]);
    ben.signal(Signal::CONT);
    ben.reads(&thread, "good morning");

    // And home again: the connection with Ana is made anew.
    ben_host.walk(&home, &["10.1.0.2/24"]);
    ana.until("Ben to be back", |ana| {
        ana.is_online(id.as_str().unwrap()).then_some(())
    });
}

/// A cable to Ana, Wi-Fi to Cem: what one writes is there at the other's at once.
#[test]
fn who_is_on_two_networks_passes_on_between_them() {
    let Some(net) = Net::start(&[]) else { return };
    let (cable, wifi) = (net.switch(), net.switch());
    let ana_host = net.host(&cable, &["10.1.0.1/24"]);
    let cem_host = net.host(&wifi, &["10.2.0.1/24"]);
    let mut ben_host = net.host(&cable, &["10.1.0.2/24"]);
    net.plug(&mut ben_host, &wifi, &["10.2.0.2/24"]);
    let (ana, ben, cem) = (
        ana_host.node("Ana"),
        ben_host.node("Ben"),
        cem_host.node("Cem"),
    );
    for ip in ["10.1.0.2", "10.2.0.2"] {
        is_at(&ben, ip);
    }
    befriend(&ben, &ana);
    befriend(&ben, &cem);
    let forum = forum(&ana, &ben);
    hand_on(&ben, &cem, &forum);
    passes(&ana, &cem, &forum, "By cable");
    passes(&cem, &ana, &forum, "By radio");
}

/// The same two people by cable and by radio; somebody pulls the cable.
#[test]
fn of_two_ways_to_a_contact_one_is_enough() {
    let Some(net) = Net::start(&[]) else { return };
    let (cable, wifi) = (net.switch(), net.switch());
    let mut hosts = [
        net.host(&cable, &["10.1.0.1/24"]),
        net.host(&cable, &["10.1.0.2/24"]),
    ];
    net.plug(&mut hosts[0], &wifi, &["10.2.0.1/24"]);
    net.plug(&mut hosts[1], &wifi, &["10.2.0.2/24"]);
    let [ana, ben] = [hosts[0].node("Ana"), hosts[1].node("Ben")];
    for ip in ["10.1.0.1", "10.2.0.1"] {
        is_at(&ana, ip);
    }
    befriend(&ana, &ben);
    let forum = forum(&ana, &ben);
    passes(&ana, &ben, &forum, "Both ways");
    hosts[1].set_up(false);
    passes(&ana, &ben, &forum, "Without the cable");
    hosts[1].set_up(true);
    passes(&ben, &ana, &forum, "With it again");
}
