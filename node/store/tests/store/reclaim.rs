//! What was retracted, left or removed is gone from the file's bytes after a quiet moment, and
//! its room is given back.

use proto::{body::Body, space::SpaceKind};
use store::{Store, sim::Disk};

use crate::{
    records::contact,
    support::{Device, Place, T0, edit, long_feed, post, reply, take_all, thread, until},
};

fn holds(disk: &Disk, text: &str) -> bool {
    let bytes = disk.image().to_vec();
    bytes
        .windows(text.len())
        .any(|part| part == text.as_bytes())
}

/// Both in a small file and in one of some megabytes, where the text lies in a full segment.
#[test]
fn a_retracted_text_is_nowhere_in_the_file() {
    for entries in [3, 6_000] {
        let (ana, ben) = (Device::new(1, 0), Device::new(2, 0));
        let forum = Place::new(SpaceKind::Forum, "Camp", &[&ana, &ben]);
        let disk = Disk::new();
        let store = Store::on(&disk).unwrap();
        forum.join(&store);
        let root = post(&store, &forum, &ana, T0, &thread("A title", "secret words")).id;
        let answer = post(
            &store,
            &forum,
            &ana,
            T0 + 1,
            &reply(root, "secret answer", None),
        )
        .id;
        let change = post(&store, &forum, &ana, T0 + 2, &edit(answer, "secret edit")).id;
        let feed = long_feed(&forum, &ben, root, entries);
        take_all(&store, forum.id(), ben.id(), feed, T0 + 3);
        for n in 0..8 {
            let filler = "y".repeat(3_000);
            post(
                &store,
                &forum,
                &ana,
                T0 + 4 + n,
                &reply(root, &filler, None),
            );
        }
        for target in [change, answer, root] {
            post(&store, &forum, &ana, T0 + 50, &Body::Retract { target });
        }
        let before = disk.image().used();
        store.rest();
        assert!(!holds(&disk, "secret"), "{entries} entries");
        assert!(holds(&disk, "yyyyyy"));
        assert!(disk.image().used() < before);
        let calls = disk.calls();
        store.rest();
        assert!(disk.calls() - calls < 64, "nothing is left to do");
    }
}

#[test]
fn a_left_space_gives_its_bytes_back() {
    let (ana, ben) = (Device::new(1, 0), Device::new(2, 0));
    let kept = Place::new(SpaceKind::Forum, "Kept", &[&ana]);
    let left = Place::new(SpaceKind::Forum, "Left", &[&ana, &ben]);
    let disk = Disk::new();
    let store = Store::on(&disk).unwrap();
    kept.join(&store);
    post(&store, &kept, &ana, T0, &thread("Stays", "kept words"));
    store.rest();
    let small = disk.image().used();
    left.join(&store);
    let root = post(&store, &left, &ana, T0, &thread("Goes", "secret words")).id;
    let feed = long_feed(&left, &ben, root, 20_000);
    take_all(&store, left.id(), ben.id(), feed, T0 + 3);
    assert!(disk.image().used() > small + 1024 * 1024);
    let space = left.id();
    store.run(|txn| txn.leave_space(space)).unwrap();
    store.rest();
    assert!(!holds(&disk, "secret") && !holds(&disk, "reply 19999"));
    assert!(holds(&disk, "kept words"));
    assert!(disk.image().used() <= small + 64 * 1024, "{small}");
}

#[test]
fn a_removed_contact_is_nowhere_in_the_file() {
    let disk = Disk::new();
    let store = Store::on(&disk).unwrap();
    let ana = Device::new(1, 0).person();
    let contact = contact(0, "Secret nickname", 1, None);
    store.run(|txn| txn.put_contact(&ana, &contact)).unwrap();
    assert!(holds(&disk, "Secret nickname"));
    store.run(|txn| txn.remove_contact(&ana)).unwrap();
    store.rest();
    assert!(!holds(&disk, "Secret nickname"));
}

/// The writer does it by itself in a file, and whoever reads goes on meanwhile.
#[test]
fn a_quiet_moment_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("waymeet.redb");
    let ana = Device::new(1, 0);
    let forum = Place::new(SpaceKind::Forum, "Camp", &[&ana]);
    let store = Store::open(&path).unwrap();
    forum.join(&store);
    let root = post(&store, &forum, &ana, T0, &thread("A title", "secret words")).id;
    let reading = store.read().unwrap();
    post(
        &store,
        &forum,
        &ana,
        T0 + 1,
        &Body::Retract { target: root },
    );
    let text = || {
        let bytes = std::fs::read(&path).unwrap();
        bytes.windows(12).any(|part| part == b"secret words")
    };
    assert!(text());
    until("the words are gone from the file", || !text());
    assert_eq!(reading.item(root).unwrap().unwrap().text, "secret words");
    drop(reading);
    post(&store, &forum, &ana, T0 + 2, &reply(root, "later", None));
    drop(store);
    let store = Store::open(&path).unwrap();
    assert_eq!(store.read().unwrap().topic(root).unwrap().unwrap().items, 2);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
