//! Leaving a space deletes everything of it and nothing else.

use std::path::Path;

use proto::{EntryId, Millis, space::SpaceKind};
use redb::{
    Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition, TableHandle,
};
use store::{Contact, ContactDevice, ContactState, Error, OfferOut, Store, Trust};

use crate::support::{
    Device, Place, T0, edit, healthy, long_feed, post, react, reply, revocation, runs, settle,
    take, take_all, thread, until, write,
};

/// Every row of every table, as bytes.
fn rows(path: &Path) -> Vec<(String, Vec<u8>)> {
    let database = Database::open(path).unwrap();
    let read = database.begin_read().unwrap();
    let mut rows = Vec::new();
    for handle in read.list_tables().unwrap() {
        let name = handle.name().to_owned();
        match name.as_str() {
            "ids-1" => {
                let table: TableDefinition<&[u8; 16], &[u8; 15]> = TableDefinition::new(&name);
                for row in read.open_table(table).unwrap().iter().unwrap() {
                    let (key, value) = row.unwrap();
                    rows.push((name.clone(), [&key.value()[..], value.value()].concat()));
                }
            }
            "items-1" => {
                let table: TableDefinition<&[u8; 19], &[u8; 11]> = TableDefinition::new(&name);
                for row in read.open_table(table).unwrap().iter().unwrap() {
                    let (key, value) = row.unwrap();
                    rows.push((name.clone(), [&key.value()[..], value.value()].concat()));
                }
            }
            _ => {
                let table: TableDefinition<&[u8], &[u8]> = TableDefinition::new(&name);
                let table = read.open_table(table).unwrap();
                let before = rows.len();
                for row in table.iter().unwrap() {
                    let (key, value) = row.unwrap();
                    rows.push((name.clone(), [key.value(), value.value()].concat()));
                }
                assert_eq!((rows.len() - before) as u64, table.len().unwrap());
            }
        }
    }
    rows
}

fn contains(row: &[u8], bytes: &[u8]) -> bool {
    row.windows(bytes.len()).any(|window| window == bytes)
}

/// Fills a forum with one of everything that leaves rows.
fn busy(store: &Store, forum: &Place, people: &[Device]) -> EntryId {
    let (ana, ben, cem) = (&people[0], &people[1], &people[2]);
    let space = forum.id();
    let root = post(
        store,
        forum,
        ana,
        T0,
        &thread("Secret title", "secret words"),
    )
    .id;
    let answer = post(
        store,
        forum,
        ana,
        T0 + 1,
        &reply(root, "secret answer", None),
    )
    .id;
    post(store, forum, ana, T0 + 2, &edit(answer, "secret edit"));
    post(store, forum, ana, T0 + 3, &react(answer, "secret", true));
    post(
        store,
        forum,
        ana,
        T0 + 4,
        &proto::body::Body::Retract { target: answer },
    );
    let unknown = EntryId([0xee; 32]);
    post(
        store,
        forum,
        ana,
        T0 + 5,
        &proto::body::Body::Retract { target: unknown },
    );
    post(
        store,
        forum,
        ana,
        T0 + 6,
        &reply(root, "secret child", Some(unknown)),
    );
    let name = proto::body::Body::Profile {
        name: "secret name",
    };
    post(store, forum, ana, T0 + 7, &name);
    // A fork, and the end of a device.
    let twins = [forum.node(), forum.node()];
    for (n, twin) in twins.iter().enumerate() {
        post(
            twin,
            forum,
            ben,
            T0,
            &reply(root, &format!("secret {n}"), None),
        );
        for run in runs(twin, space, ben.id()) {
            let _ = take(store, space, ben.id(), &run, T0 + 9);
        }
    }
    assert_eq!(store.read().unwrap().forks(space).unwrap().len(), 1);
    let away = forum.node();
    let one = post(&away, forum, cem, T0, &reply(root, "secret last", None));
    for run in runs(&away, space, cem.id()) {
        take(store, space, cem.id(), &run, T0 + 9).unwrap();
    }
    let end = revocation(cem, space, cem.id(), 0, one.entries[0].id).encode();
    let cem = cem.id();
    let ended = write(
        store,
        move |txn| Ok(txn.import_revocation(space, cem, &end)),
    )
    .unwrap();
    assert!(settle(ended).unwrap());
    root
}

#[test]
fn nothing_of_a_left_space_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("waymeet.redb");
    let people: Vec<Device> = (1..=4).map(|seed| Device::new(seed, 0)).collect();
    let refs: Vec<&Device> = people.iter().collect();
    let left = Place::new(SpaceKind::Forum, "Left", &refs);
    let kept = Place::new(SpaceKind::Forum, "Kept", &refs[..1]);
    let store = Store::open(&path).unwrap();
    left.join(&store);
    kept.join(&store);
    let root = busy(&store, &left, &people);
    let other = post(&store, &kept, &people[0], T0, &thread("Stays", "words")).id;
    // Enough rows that deleting takes several transactions.
    let dee = &people[3];
    let long = long_feed(&left, dee, root, 6_000);
    take_all(&store, left.id(), dee.id(), long, T0 + 10);
    let (contact, space) = (people[1].person(), left.id());
    write(&store, move |txn| {
        txn.exclude(space, contact, true)?;
        txn.acknowledge(space, contact, 3, Millis(T0))?;
        let offer = OfferOut {
            descriptor: vec![1],
            chain: vec![],
            rev: 1,
        };
        txn.put_offer_out(&(contact, space), &offer)?;
        txn.put_contact(&contact, &met(space))
    })
    .unwrap();

    healthy(&store);
    write(&store, move |txn| txn.leave_space(space)).unwrap();
    let gone = store.read().unwrap();
    assert!(gone.space(space).unwrap().is_none());
    assert!(gone.topic(root).unwrap().is_none());
    assert!(gone.item(root).unwrap().is_none() && gone.entry(root).unwrap().is_none());
    assert!(gone.context(space).unwrap().is_none());
    assert_eq!(gone.spaces().unwrap().len(), 1);
    assert_eq!(gone.search("secret", None, 10).unwrap().items.len(), 0);
    assert!(matches!(
        write(&store, move |txn| txn.leave_space(space)),
        Err(Error::UnknownSpace)
    ));
    drop(gone);
    until("everything is deleted", || {
        !store.read().unwrap().is_leaving().unwrap()
    });
    assert_eq!(
        store.read().unwrap().topic(other).unwrap().unwrap().items,
        1
    );
    healthy(&store);
    drop(store);

    let rows = rows(&path);
    for (table, row) in &rows {
        assert!(!contains(row, b"secret"), "{table}");
        assert!(!contains(row, &space.0), "{table}");
        assert!(!contains(row, &root.0[..16]), "{table}");
        for device in &people[1..] {
            assert!(!contains(row, &device.id().0), "{table}");
        }
    }
    // What the kept space and the records need, and no more.
    let of = |name: &str| rows.iter().filter(|(table, _)| table == name).count();
    assert_eq!(of("ids-1"), 2);
    assert_eq!(of("items-1"), 1);
    for one in [
        "feeds-1",
        "feed-numbers-1",
        "topics-1",
        "roots-1",
        "activity-1",
        "spaces-1",
        "space-counts-1",
        "authors-1",
        "names-1",
        "open-1",
    ] {
        assert_eq!(of(one), 1, "{one}");
    }
    for none in [
        "sealed-1",
        "relations-1",
        "orphans-1",
        "waiting-1",
        "gone-1",
        "holes-1",
        "forks-1",
        "revocations-1",
        "tree-1",
        "edges-1",
        "branches-1",
        "acknowledged-1",
        "leaving-1",
        "offers-out-1",
        "exclusions-1",
    ] {
        assert_eq!(of(none), 0, "{none}");
    }
}

fn met(space: proto::SpaceId) -> Contact {
    let device = ContactDevice {
        endpoint: proto::EndpointId([5; 32]),
        addrs: Vec::new(),
        relay: None,
        certificate: Vec::new(),
        agreed: [space].into(),
    };
    Contact {
        name: "Ben".to_owned(),
        nickname: None,
        trust: Trust::Unverified,
        state: ContactState::Ready,
        pair_secret: None,
        added: Millis(T0),
        last_met: None,
        last_link: None,
        note: String::new(),
        link: None,
        my_rev: 0,
        seen_rev: 0,
        acked_rev: 0,
        devices: [(proto::DeviceId([6; 32]), device)].into(),
    }
}

#[test]
fn deleting_goes_on_after_a_restart_and_joining_again_starts_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("waymeet.redb");
    let (ana, ben) = (Device::new(1, 0), Device::new(2, 0));
    let forum = Place::new(SpaceKind::Forum, "Camp", &[&ana, &ben]);
    let store = Store::open(&path).unwrap();
    forum.join(&store);
    let root = post(&store, &forum, &ana, T0, &thread("Camp", "words")).id;
    let long = long_feed(&forum, &ben, root, 12_000);
    take_all(&store, forum.id(), ben.id(), long.clone(), T0);
    let (space, record) = (forum.id(), forum.record());
    // Left and joined again before the first rows are gone.
    write(&store, move |txn| {
        txn.leave_space(space)?;
        txn.create_space(&record)
    })
    .unwrap();
    drop(store);
    let store = Store::open(&path).unwrap();
    assert_eq!(
        store
            .read()
            .unwrap()
            .space(space)
            .unwrap()
            .unwrap()
            .counts
            .entries,
        0
    );
    take_all(&store, space, ben.id(), long, T0);
    healthy(&store);
    until("everything is deleted", || {
        !store.read().unwrap().is_leaving().unwrap()
    });
    let snapshot = store.read().unwrap();
    let topic = snapshot.topic(root).unwrap().unwrap();
    assert_eq!((topic.items, topic.first), (11_999, None));
    let page = snapshot.items(topic.number, None, 500).unwrap();
    for item in page.items {
        assert_eq!(snapshot.item(item.id).unwrap(), Some(item));
    }
}
