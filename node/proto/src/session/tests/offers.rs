//! What is said beside spaces: offers, keys, the relay, signs of life, and what is no longer allowed.

use super::*;

/// Who doubts that the other is still there makes it acknowledge a word, and nothing follows.
#[test]
fn a_sign_of_life_is_one_frame_that_changes_nothing() {
    let (one, other, space) = pair((2, 2));
    let (mut one, mut other) = meet(one, other, &BTreeSet::new(), (1, 0));
    let before = (one.sent, other.sent, one.seen_by, other.seen_by);
    one.session.handle_probe();
    one.session.handle_probe();
    one.drive();
    assert_eq!(one.wire[&Lane::Control].len(), 1);
    talk(&mut one, &mut other, |_| 0);
    assert!(one.sent - before.0 < 16, "{}", one.sent - before.0);
    assert_eq!(
        (other.sent, one.seen_by, other.seen_by),
        (before.1, before.2, before.3)
    );
    assert_eq!(other.session.common(), BTreeSet::from([space]));
}

#[test]
fn offers_travel_until_they_are_seen_and_an_accepted_space_becomes_common() {
    let (one, other, space) = pair((2, 2));
    let (mut one, mut other) = meet(one, other, &BTreeSet::new(), (1, 0));
    let offered = one.store.create_forum(8);
    one.store.write(offered, 3);
    let clearances = |side: &Side, to: &Person| {
        start(&side.store, true, to, &BTreeSet::new(), (0, 0)).clearances
    };
    let (ana, ben) = (one.store.me.clone(), other.store.me.clone());
    let offer = OfferFrame {
        descriptor: vec![1, 2, 3],
        chain: vec![],
    };
    one.session.handle_audience(
        clearances(&one, &ben),
        2,
        vec![offer.clone()],
        Whereabouts::default(),
    );
    talk(&mut one, &mut other, |_| 0);
    assert_eq!((other.offers.clone(), one.seen_by), (vec![offer], 2));
    assert_eq!(other.session.common(), BTreeSet::from([space]));
    other.store.join_forum(&one.store, offered);
    other
        .session
        .handle_audience(clearances(&other, &ana), 2, vec![], Whereabouts::default());
    talk(&mut one, &mut other, |_| 0);
    assert_eq!(other.session.common(), BTreeSet::from([space, offered]));
    assert_eq!(one.store.contents(offered), other.store.contents(offered));
}

/// How our device is found is told like an offer: as long as the contact doesn't know it.
#[test]
fn the_key_of_beacons_and_the_relay_reach_the_contact_once() {
    let (one, other, _) = pair((2, 2));
    let (ana, ben) = (one.me.clone(), other.me.clone());
    let first = Whereabouts {
        beacon: Some(BeaconKey([9; 32])),
        relay: Some("https://one.example".into()),
    };
    let begin = Start {
        whereabouts: first.clone(),
        ..start(&one, true, &ben, &BTreeSet::new(), (1, 0))
    };
    let mut one = Side::new(one, true, &ben, &BTreeSet::new(), (1, 0));
    one.session = Session::new(begin, &one.store).unwrap();
    let mut other = Side::new(other, false, &ana, &BTreeSet::new(), (0, 0));
    talk(&mut one, &mut other, |_| 0);
    assert_eq!((&other.reached, one.seen_by), (&vec![first], 1));
    // Another relay, in the middle of a meeting.
    let newer = Whereabouts {
        beacon: None,
        relay: Some("https://two.example".into()),
    };
    let clearances = start(&one.store, true, &ben, &BTreeSet::new(), (0, 0)).clearances;
    one.session
        .handle_audience(clearances, 2, vec![], newer.clone());
    talk(&mut one, &mut other, |_| 0);
    assert_eq!(other.reached.last(), Some(&newer));
    assert_eq!((other.reached.len(), one.seen_by), (2, 2));
}

/// A search forgets what was asked for, so whoever made others search all the time would keep them
/// from ever getting anything.
#[test]
fn an_audience_that_is_what_it_was_begins_no_search() {
    let (one, other, _) = pair((2, 2));
    let (mut one, mut other) = meet(one, other, &BTreeSet::new(), (1, 0));
    let ben = other.store.me.clone();
    let clearances = || start(&one.store, true, &ben, &BTreeSet::new(), (0, 0)).clearances;
    let (before, again) = (one.session.generation, [clearances(), clearances()]);
    let rev = one.session.rev;
    for same in again {
        one.session
            .handle_audience(same, rev, Vec::new(), Whereabouts::default());
    }
    one.drive();
    assert!(one.wire.values().all(|lane| lane.is_empty()));
    assert_eq!(one.session.generation, before);
    // What is new is told as before.
    let cleared = start(&one.store, true, &ben, &BTreeSet::new(), (0, 0)).clearances;
    one.session
        .handle_audience(cleared, rev + 1, Vec::new(), Whereabouts::default());
    talk(&mut one, &mut other, |_| 0);
    assert_eq!(one.session.generation, before + 1);
    assert_eq!(other.session.generation, before + 1);
}

#[test]
fn a_space_that_is_no_longer_allowed_is_cut_off_at_once() {
    let (one, other, space) = pair((2, 2));
    let (mut one, mut other) = meet(one, other, &BTreeSet::new(), (1, 0));
    one.session
        .handle_audience(Vec::new(), 2, Vec::new(), Whereabouts::default());
    one.store.write(space, 1);
    one.session.handle_local(space, one.store.me.device.id());
    talk(&mut one, &mut other, |_| 0);
    assert!(one.session.common().is_empty() && other.session.common().is_empty());
    assert_eq!(
        other.store.contents(space).len() + 1,
        one.store.contents(space).len()
    );
}
