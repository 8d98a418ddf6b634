//! People who are never on the same network, and somebody who goes from one to the other.

use super::{Net, hosts::is_at};
use crate::harness::{befriend, hand_on};

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
