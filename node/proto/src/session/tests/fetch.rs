//! A side that asks for less than it lacks: for want of room, or because of who the peer is.

use super::*;

fn start_held_back(fetch: Fetch) -> (Side, Side, SpaceId) {
    let (one, other, space) = pair((700, 40));
    let (a, b) = (one.me.clone(), other.me.clone());
    let mut one = Side::new(one, true, &b, &BTreeSet::new(), (1, 0));
    let mut other = Side::new(other, false, &a, &BTreeSet::new(), (1, 0));
    other
        .session
        .handle_fetch(fetch, NOW, &other.store)
        .unwrap();
    talk(&mut one, &mut other, |_| 0);
    (one, other, space)
}

#[test]
fn who_fetches_nothing_still_serves_and_catches_up_later() {
    for fetch in [Fetch::Nothing, Fetch::Conversations] {
        let (mut one, mut other, space) = start_held_back(fetch);
        let ben = other.store.me.device.id();
        let ana = one.store.me.device.id();
        let base = |side: &Side, device| side.store.frontier(space, device).unwrap().unwrap().base;
        assert_eq!(base(&one, ben), 41, "what it wrote is taken from it");
        assert_eq!(other.session.progress().want, 0);
        // What is new meanwhile, also by gossip, changes nothing.
        one.store.write(space, 3);
        one.session.handle_local(space, ana);
        talk(&mut one, &mut other, |_| 0);
        assert!(other.store.frontier(space, ana).unwrap().is_none());
        assert!(one.rejected.is_empty() && other.rejected.is_empty());

        other
            .session
            .handle_fetch(Fetch::All, NOW, &other.store)
            .unwrap();
        talk(&mut one, &mut other, |_| 0);
        assert_eq!(one.store.contents(space), other.store.contents(space));
    }
}

/// What was asked for comes on; it isn't taken, and it is no offence.
#[test]
fn what_comes_after_a_change_of_mind_is_dropped() {
    let (one, other, space) = pair((700, 3));
    let (a, b) = (one.me.clone(), other.me.clone());
    let ana = a.device.id();
    let mut one = Side::new(one, true, &b, &BTreeSet::new(), (1, 0));
    let mut other = Side::new(other, false, &a, &BTreeSet::new(), (1, 0));
    while !other_wants(&other.session) {
        one.drive();
        other.drive();
        hear_control(&mut one, &mut other);
        hear_control(&mut other, &mut one);
    }
    other
        .session
        .handle_fetch(Fetch::Nothing, NOW, &other.store)
        .unwrap();
    talk(&mut one, &mut other, |_| 0);
    let held = other.store.frontier(space, ana).unwrap();
    assert_eq!(held.map_or(0, |held| held.base), 0);
    assert!(other.rejected.is_empty());
}

fn other_wants(session: &Session) -> bool {
    session.progress().want > 0
}

fn hear_control(from: &mut Side, to: &mut Side) {
    for frame in std::mem::take(from.wire.entry(Lane::Control).or_default()) {
        to.session
            .handle_frame(Lane::Control, &frame, NOW, &to.store)
            .unwrap();
    }
}
