//! Disappearing messages: bodies that a setting lets go are missed by nobody.

use super::*;
use crate::body::{Lifetime, Setting};

fn setting(seconds: u64) -> Body<'static> {
    Body::Setting(Setting {
        lifetime: Lifetime::new(seconds),
        ..Setting::default()
    })
}

fn message(text: &str) -> Body<'_> {
    Body::Message {
        text,
        parent: None,
        salt: Some([1; 8]),
    }
}

/// Two conversations that hold the same: genesis, a message, a setting, two messages, a setting that
/// ends it, a message.
fn talk() -> (Memory, Memory, SpaceId) {
    let (ana, ben) = (Person::new(1), Person::new(2));
    let (mut one, mut other) = (Memory::new(ana.clone()), Memory::new(ben.clone()));
    let space = one.create_conversation([5; 32], &ben);
    other.create_conversation([5; 32], &ana);
    for body in [
        message("stays"),
        setting(60),
        message("goes"),
        message("goes too"),
        setting(0),
        message("stays again"),
    ] {
        one.write_body(space, &body);
    }
    (one, other, space)
}

#[test]
fn bodies_that_a_setting_lets_go_are_not_asked_for() {
    let (one, other, space) = talk();
    let (one, other) = meet(one, other, &BTreeSet::new(), (1, 0));
    let (mut one, mut other) = (one.store, other.store);
    let ana = one.me.device.id();
    let before = one.digest(space).unwrap();
    one.drop_body(space, ana, 3);
    other.drop_body(space, ana, 4);
    assert_eq!(one.digest(space).unwrap(), before);
    assert_eq!(other.digest(space).unwrap(), before);
    let (one, other) = meet(one, other, &BTreeSet::from([space]), (1, 1));
    assert_eq!((one.bodies_sent, other.bodies_sent), (0, 0));
    let absent = |store: &Memory| -> Vec<usize> {
        let contents = store.contents(space);
        let of_ana = contents.iter().filter(|(device, ..)| *device == ana);
        let bodies = of_ana.map(|(_, _, body)| body.is_none());
        bodies
            .enumerate()
            .filter(|(_, none)| *none)
            .map(|(at, _)| at)
            .collect()
    };
    assert_eq!(
        (absent(&one.store), absent(&other.store)),
        (vec![3], vec![4])
    );
}

#[test]
fn what_stands_outside_of_a_settings_reach_is_missed() {
    for seq in [1, 2, 6] {
        let (one, other, space) = talk();
        let (one, other) = meet(one, other, &BTreeSet::new(), (1, 0));
        let mut other = other.store;
        let ana = one.store.me.device.id();
        other.drop_body(space, ana, seq);
        assert_eq!(other.frontier(space, ana).unwrap().unwrap().holes.count, 1);
        let (one, other) = meet(one.store, other, &BTreeSet::from([space]), (1, 1));
        assert_eq!(one.bodies_sent, 1);
        assert_eq!(one.store.contents(space), other.store.contents(space));
    }
}

/// Somebody may hide own words behind an own setting, from whoever didn't get them; it is no fault,
/// and nothing is asked for.
#[test]
fn somebody_who_never_had_the_bodies_takes_the_feed_without_them() {
    let (mut one, other, space) = talk();
    let ana = one.me.device.id();
    one.drop_body(space, ana, 3);
    one.drop_body(space, ana, 4);
    let (one, other) = meet(one, other, &BTreeSet::new(), (1, 0));
    assert_eq!(one.store.contents(space), other.store.contents(space));
    let digest = |store: &Memory| store.digest(space).unwrap();
    assert_eq!(digest(&one.store), digest(&other.store));
    assert_eq!(one.bodies_sent, 0);
}
