//! The doctor: it finds nothing where nothing is wrong, and finds any row that was altered.

use std::{cell::Cell, collections::BTreeSet, path::Path};

use proto::{body::Body, space::SpaceKind};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use store::{Part, Store};

use crate::support::{
    Device, Place, T0, edit, findings, healthy, long_feed, post, react, reply, runs, take,
    take_all, thread,
};

/// A forum with a bit of everything, in a file.
fn busy(path: &Path) {
    let people: Vec<Device> = (1..=24).map(|seed| Device::new(seed, 0)).collect();
    let refs: Vec<&Device> = people.iter().collect();
    let forum = Place::new(SpaceKind::Forum, "Camp", &refs);
    let (ana, ben) = (&people[0], &people[1]);
    let store = Store::open(path).unwrap();
    forum.join(&store);
    let root = post(&store, &forum, ana, T0, &thread("Title", "words")).id;
    let answer = post(&store, &forum, ana, T0 + 1, &reply(root, "answer", None)).id;
    post(&store, &forum, ana, T0 + 2, &edit(answer, "better"));
    post(&store, &forum, ana, T0 + 3, &react(root, "+", true));
    let wrong = post(&store, &forum, ana, T0 + 4, &reply(root, "wrong", None)).id;
    post(
        &store,
        &forum,
        ana,
        T0 + 5,
        &Body::Retract { target: wrong },
    );
    post(&store, &forum, ana, T0 + 6, &Body::Profile { name: "Ana" });
    let long = long_feed(&forum, ben, root, 800);
    take_all(&store, forum.id(), ben.id(), long, T0 + 7);
    for person in &people[2..] {
        post(
            &store,
            &forum,
            person,
            T0 + 8,
            &reply(root, "hello", Some(answer)),
        );
    }
    // A fork.
    let forker = &people[5];
    let twin = forum.node();
    post(
        &twin,
        &forum,
        forker,
        T0,
        &reply(root, "another story", None),
    );
    for run in runs(&twin, forum.id(), forker.id()) {
        let _ = take(&store, forum.id(), forker.id(), &run, T0 + 9);
    }
    assert_eq!(store.read().unwrap().forks(forum.id()).unwrap().len(), 1);
    healthy(&store);
}

/// Alters one row of a table, to what `edit` says or `None` to remove it: whether it had a value.
fn alter(path: &Path, table: &str, pick: usize, edit: impl Fn(&[u8]) -> Option<Vec<u8>>) -> bool {
    let database = Database::open(path).unwrap();
    let (txn, had_value) = (database.begin_write().unwrap(), Cell::new(false));
    let definition: TableDefinition<&[u8], &[u8]> = TableDefinition::new(table);
    {
        let mut rows = txn.open_table(definition).unwrap();
        let (key, value) = {
            let mut all = rows.iter().unwrap();
            let (key, value) = all.nth(pick).unwrap().unwrap();
            (key.value().to_vec(), value.value().to_vec())
        };
        had_value.set(!value.is_empty());
        match edit(&value) {
            Some(value) => drop(rows.insert(key.as_slice(), value.as_slice()).unwrap()),
            None => drop(rows.remove(key.as_slice()).unwrap()),
        }
    }
    txn.commit().unwrap();
    had_value.get()
}

fn rows_of(path: &Path, table: &str) -> usize {
    let database = Database::open(path).unwrap();
    let read = database.begin_read().unwrap();
    let definition: TableDefinition<&[u8], &[u8]> = TableDefinition::new(table);
    read.open_table(definition).unwrap().iter().unwrap().count()
}

/// Tables that follow from entries, and at how many places of a row a change is known: in some,
/// times of arrival and read marks stand beside what follows, which nothing else knows.
const CHECKED: &[(&str, usize)] = &[
    ("space-counts-1", 3),
    ("feeds-1", 1),
    ("feed-numbers-1", 3),
    ("sealed-1", 3),
    ("open-1", 3),
    ("forks-1", 3),
    ("tree-1", 3),
    ("topics-1", 1),
    ("roots-1", 3),
    ("activity-1", 3),
    ("relations-1", 3),
    ("gone-1", 0),
    ("authors-1", 0),
    ("edges-1", 3),
    ("branches-1", 3),
];

/// Every such table, its first row and one in the middle: removed, and altered at its beginning
/// and, where that is known, further on.
#[test]
fn any_row_that_was_altered_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good.redb");
    busy(&good);
    let bad = folder.path().join("bad.redb");
    for (table, places) in CHECKED {
        let count = rows_of(&good, table);
        assert!(count > 0, "{table}");
        for pick in BTreeSet::from([0, count / 2]) {
            std::fs::copy(&good, &bad).unwrap();
            alter(&bad, table, pick, |_| None);
            let found = findings(&Store::open(&bad).unwrap());
            assert!(!found.is_empty(), "{table}: row {pick} was removed");
            for place in 0..*places {
                std::fs::copy(&good, &bad).unwrap();
                let had_value = alter(&bad, table, pick, |value| {
                    let mut value = value.to_vec();
                    let at = value.len() * place / 3;
                    if let Some(byte) = value.get_mut(at) {
                        *byte ^= 1;
                    }
                    Some(value)
                });
                let found = findings(&Store::open(&bad).unwrap());
                assert!(
                    !had_value || !found.is_empty(),
                    "{table}: row {pick} was altered at {place}/3"
                );
            }
        }
    }
}

#[test]
fn an_altered_text_is_named_by_its_feed_and_said_to_be_an_entry() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("waymeet.redb");
    busy(&path);
    alter(&path, "sealed-1", 1, |value| {
        let mut value = value.to_vec();
        let at = value.windows(9).position(|part| part == b"reply 700");
        if let Some(at) = at {
            value[at] = b'R';
        } else {
            let len = value.len();
            value[len / 2] ^= 1;
        }
        Some(value)
    });
    let store = Store::open(&path).unwrap();
    let (mut found, view) = (Vec::new(), store.read().unwrap());
    let sums = view
        .check_up(&mut |finding| found.push(finding), &mut |_| true)
        .unwrap();
    assert!(sums.feeds >= 24 && sums.entries > 100);
    let first = &found[0];
    assert_eq!(first.part, Part::Entries, "{first}");
    assert_eq!(first.device, Some(Device::new(2, 0).id()));
    // Ended early, it says how far it came.
    let sums = view
        .check_up(&mut |_| (), &mut |sums| sums.feeds < 3)
        .unwrap();
    assert_eq!(sums.feeds, 3);
}
