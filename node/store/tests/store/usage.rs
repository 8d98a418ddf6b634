//! What came in through each contact is counted once, to who brought it, and bounded.

use proto::{
    DeviceId, IdentityId, Millis, SpaceId,
    space::SpaceKind,
    verify::{Outcome, Reject, verify_run},
};
use store::{QUOTA_BYTES_DEFAULT, Store, Usage};

use crate::support::{Device, Place, T0, long_feed, post, runs, settle, thread, write};

/// Takes runs of a feed as brought by a contact: how many entries were new.
fn bring(
    store: &Store,
    by: IdentityId,
    space: SpaceId,
    device: DeviceId,
    runs: &[Vec<u8>],
) -> Result<usize, Reject> {
    let mut new = 0;
    for run in runs {
        let snapshot = store.read().unwrap();
        let context = snapshot.context(space).unwrap().unwrap();
        let facts = snapshot.facts(space, device).unwrap();
        drop(snapshot);
        let Outcome::Continues(run) = verify_run(&context, &facts, run.clone())? else {
            continue;
        };
        let taken = write(store, move |txn| {
            Ok(txn.import_from(by, space, run, Millis(T0 + 9_000)))
        });
        new += settle(taken.unwrap())?.entries.len();
    }
    Ok(new)
}

fn usage(store: &Store, contact: IdentityId) -> u64 {
    store.read().unwrap().usage(contact).unwrap().bytes
}

struct Scene {
    forum: Place,
    ana: Device,
    ben: Device,
    store: Store,
    /// Ana's feed, as runs.
    feed: Vec<Vec<u8>>,
}

fn scene() -> Scene {
    let (ana, ben) = (Device::new(1, 0), Device::new(2, 0));
    let forum = Place::new(SpaceKind::Forum, "forum", &[&ana, &ben]);
    let node = forum.node();
    let root = post(&node, &forum, &ana, T0, &thread("title", "words")).id;
    let feed = long_feed(&forum, &ana, root, 1_000);
    let store = forum.node();
    Scene {
        forum,
        ana,
        ben,
        store,
        feed,
    }
}

/// Ana wrote all of it, Ben brings the first half: half is charged to each of the two who brought
/// it, and nothing to who brings it again.
#[test]
fn who_brings_it_first_is_charged_whoever_wrote_it() {
    let Scene {
        forum,
        ana,
        ben,
        store,
        feed,
    } = scene();
    let (space, device) = (forum.id(), ana.id());
    let (early, late) = feed.split_at(2);
    let brought = bring(&store, ben.person(), space, device, early).unwrap();
    let bens = usage(&store, ben.person());
    assert!(
        bens > brought as u64 * 128,
        "{bens} bytes for {brought} entries"
    );
    assert_eq!(usage(&store, ana.person()), 0);
    bring(&store, ana.person(), space, device, early).unwrap();
    assert_eq!(usage(&store, ana.person()), 0);

    let rest = bring(&store, ana.person(), space, device, late).unwrap();
    assert_eq!(brought + rest, 1_000);
    let anas = usage(&store, ana.person());
    bring(&store, ben.person(), space, device, &feed).unwrap();
    assert_eq!(usage(&store, ben.person()), bens);
    assert_eq!(usage(&store, ana.person()), anas);
    let whole = forum.node();
    bring(&whole, ben.person(), space, device, &feed).unwrap();
    assert_eq!(usage(&whole, ben.person()), bens + anas);
}

/// A run of which the beginning came through somebody else meanwhile, and our own entries.
#[test]
fn only_what_is_new_is_charged() {
    let Scene {
        forum,
        ana,
        ben,
        store,
        feed,
    } = scene();
    let (space, device) = (forum.id(), ana.id());
    let context = store.read().unwrap().context(space).unwrap().unwrap();
    let facts = store.read().unwrap().facts(space, device).unwrap();
    let Ok(Outcome::Continues(run)) = verify_run(&context, &facts, feed[0].clone()) else {
        panic!("the first run begins the feed");
    };
    bring(&store, ben.person(), space, device, &feed[..1]).unwrap();
    let late = ana.person();
    let imported = write(&store, move |txn| {
        Ok(txn.import_from(late, space, run, Millis(T0)))
    });
    assert!(settle(imported.unwrap()).unwrap().entries.is_empty());
    assert_eq!(usage(&store, ana.person()), 0);

    let before = usage(&store, ben.person());
    post(&store, &forum, &ben, T0, &thread("own", "words"));
    assert_eq!(usage(&store, ben.person()), before);
}

#[test]
fn beyond_the_quota_nothing_comes_in_until_it_is_raised() {
    let Scene {
        forum,
        ana,
        ben,
        store,
        feed,
    } = scene();
    let (space, device, contact) = (forum.id(), ana.id(), ben.person());
    assert_eq!(
        store.read().unwrap().usage(contact).unwrap(),
        Usage {
            bytes: 0,
            limit: QUOTA_BYTES_DEFAULT
        }
    );
    write(&store, move |txn| txn.set_quota(contact, Some(10_000))).unwrap();
    let refused = bring(&store, contact, space, device, &feed).unwrap_err();
    assert_eq!(refused, Reject::OverQuota);
    let used = usage(&store, contact);
    // The one that crosses it is whole.
    assert!((10_000..100_000).contains(&used), "{used}");
    let held = |store: &Store| runs(store, space, device).len();
    let before = held(&store);
    assert_eq!(
        bring(&store, contact, space, device, &feed[before..]).unwrap_err(),
        Reject::OverQuota
    );
    assert_eq!(held(&store), before);
    // Another contact's account is another.
    bring(&store, ana.person(), space, device, &feed[before..=before]).unwrap();
    write(&store, move |txn| txn.set_quota(contact, None)).unwrap();
    bring(&store, contact, space, device, &feed).unwrap();
    assert_eq!(held(&store), feed.len());
}

/// Private messages still come within the reserve: people can write what is wrong.
#[test]
fn messages_have_a_reserve_and_no_more() {
    let used = |bytes| Usage {
        bytes,
        limit: 1_000,
    };
    let reserve = store::CONVERSATION_RESERVE_BYTES;
    assert!(used(999).has_room(SpaceKind::Forum));
    assert!(!used(1_000).has_room(SpaceKind::Forum));
    assert!(!used(1_000).has_room(SpaceKind::Blog));
    assert!(used(1_000).has_room(SpaceKind::Conversation));
    assert!(used(999 + reserve).has_room(SpaceKind::Conversation));
    assert!(!used(1_000 + reserve).has_room(SpaceKind::Conversation));
}

#[test]
fn leaving_a_space_gives_its_part_back_and_no_other() {
    let Scene {
        forum,
        ana,
        ben,
        store,
        feed,
    } = scene();
    let other = Place::new(SpaceKind::Forum, "other", &[&ana, &ben]);
    other.join(&store);
    let node = other.node();
    post(&node, &other, &ana, T0, &thread("title", "words"));
    let (space, device, contact) = (forum.id(), ana.id(), ben.person());
    bring(&store, contact, space, device, &feed).unwrap();
    let part = usage(&store, contact);
    let others = runs(&node, other.id(), device);
    bring(&store, contact, other.id(), device, &others).unwrap();
    bring(&store, ana.person(), other.id(), device, &others).unwrap();
    let read = store.read().unwrap();
    assert_eq!(read.usage_in(contact, space).unwrap(), part);
    let rest = read.usage_in(contact, other.id()).unwrap();
    assert_eq!(read.usage(contact).unwrap().bytes, part + rest);
    drop(read);

    write(&store, move |txn| txn.leave_space(space)).unwrap();
    assert_eq!(usage(&store, contact), rest);
    assert_eq!(
        store.read().unwrap().usage_in(contact, space).unwrap(),
        0,
        "it isn't held"
    );
    // Held again it is charged again.
    forum.join(&store);
    bring(&store, contact, space, device, &feed[..1]).unwrap();
    assert!(usage(&store, contact) > rest);

    write(&store, move |txn| txn.remove_contact(&contact)).unwrap();
    let read = store.read().unwrap();
    assert_eq!(read.usage(contact).unwrap().bytes, 0);
    assert_eq!(read.usage_in(contact, space).unwrap(), 0);
}
