//! Retracts and missing bodies: the text is really gone, and what is missing is asked for.

use std::path::Path;

use proto::{Millis, body::Body, space::SpaceKind, verify::Reject};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use store::{Filled, Store};

use crate::support::{
    Device, Place, T0, edit, healthy, post, pull, reply, runs, settle, take, thread, write,
};

fn has_text(path: &Path, text: &str) -> bool {
    let database = Database::open(path).unwrap();
    let read = database.begin_read().unwrap();
    store::Table::ALL.iter().any(|table| {
        let definition: TableDefinition<&[u8], &[u8]> = TableDefinition::new(table.name());
        let table = read.open_table(definition).unwrap();
        let mut rows = table.iter().unwrap();
        rows.any(|row| {
            let (key, value) = row.unwrap();
            let row = [key.value(), value.value()].concat();
            row.windows(text.len()).any(|part| part == text.as_bytes())
        })
    })
}

#[test]
fn a_retracted_text_is_in_no_table_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("waymeet.redb");
    let ana = Device::new(1, 0);
    let forum = Place::new(SpaceKind::Forum, "Camp", &[&ana]);
    let store = Store::open(&path).unwrap();
    forum.join(&store);
    let root = post(
        &store,
        &forum,
        &ana,
        T0,
        &thread("Private title", "private words"),
    )
    .id;
    let first = post(&store, &forum, &ana, T0 + 1, &edit(root, "private edit")).id;
    assert_eq!(
        store.read().unwrap().with_edits(root).unwrap(),
        [first, root]
    );
    // Enough behind it that it lies in a full segment.
    let filler = "y".repeat(3_000);
    for n in 0..12 {
        post(
            &store,
            &forum,
            &ana,
            T0 + 2 + n,
            &reply(root, &filler, None),
        );
    }
    for target in [first, root] {
        post(&store, &forum, &ana, T0 + 50, &Body::Retract { target });
    }
    let snapshot = store.read().unwrap();
    let topic = snapshot.topic(root).unwrap().unwrap();
    let shown = topic.first.unwrap();
    assert!(shown.retracted && !shown.unread && shown.text.is_empty());
    assert_eq!((shown.title, shown.kind), (None, proto::body::kind::THREAD));
    assert_eq!(topic.items, 13);
    assert!(snapshot.versions(root).unwrap().is_empty());
    assert!(snapshot.entry(root).unwrap().unwrap().body.is_none());
    assert!(snapshot.holes(forum.id(), ana.id(), 10).unwrap().is_empty());
    drop(snapshot);
    drop(store);
    assert!(!has_text(&path, "rivate"));
    assert!(has_text(&path, "yyy"));
}

#[test]
fn a_missing_body_is_listed_until_it_is_filled() {
    let ana = Device::new(1, 0);
    let forum = Place::new(SpaceKind::Forum, "Camp", &[&ana]);
    let (a, b) = (forum.node(), forum.node());
    let root = post(&a, &forum, &ana, T0, &thread("One", "x")).id;
    let answer = post(&a, &forum, &ana, T0 + 1, &reply(root, "words", None)).id;
    let space = forum.id();
    let words = a.read().unwrap().body(space, ana.id(), 2).unwrap().unwrap();
    let before = runs(&a, space, ana.id());
    post(&a, &forum, &ana, T0 + 2, &Body::Retract { target: answer });
    let after = runs(&a, space, ana.id());
    // The genesis, then a run in which the body is gone but its retract not yet there.
    let mut cut = proto::run::Run::decode(&after[1]).unwrap();
    cut.items.truncate(2);
    let signed = proto::run::Run::decode(&before[1]).unwrap();
    cut.signatures = signed.signatures;
    take(&b, space, ana.id(), &after[0], T0 + 9).unwrap();
    take(&b, space, ana.id(), &cut.encode(), T0 + 9).unwrap();
    let holes = |node: &Store| node.read().unwrap().holes(space, ana.id(), 10).unwrap();
    assert_eq!(holes(&b), [2]);
    healthy(&b);
    let frontier = b
        .read()
        .unwrap()
        .frontier(space, ana.id())
        .unwrap()
        .unwrap();
    assert_eq!(frontier.holes.count, 1);
    assert_eq!(b.read().unwrap().topic(root).unwrap().unwrap().items, 1);

    let (device, other) = (ana.id(), thread("x", "y").encode());
    let fill = |body: Vec<u8>| {
        write(&b, move |txn| {
            Ok(txn.fill(space, device, 2, &body, Millis(T0 + 10)))
        })
        .unwrap()
    };
    let refused = settle(fill(other)).unwrap_err();
    assert_eq!(refused, Reject::ForeignBody { seq: 2 });
    let Filled::Kept(new) = settle(fill(words.clone())).unwrap() else {
        panic!("not kept");
    };
    assert_eq!((new.id, new.topic), (answer, Some(root)));
    assert!(matches!(settle(fill(words)).unwrap(), Filled::NotMissing));
    assert!(holes(&b).is_empty());
    let shown = b.read().unwrap().item(answer).unwrap().unwrap();
    assert_eq!(shown.text, "words");

    // The retract comes: gone for good, and no hole.
    take(&b, space, ana.id(), &after[1], T0 + 11).unwrap();
    healthy(&b);
    assert!(holes(&b).is_empty());
    assert!(b.read().unwrap().item(answer).unwrap().unwrap().retracted);
    let digest = |node: &Store| node.read().unwrap().digest(space).unwrap();
    assert_eq!(digest(&a), digest(&b));
}

#[test]
fn only_the_same_person_retracts_and_some_things_stay() {
    let (ana, ana2, ben) = (Device::new(1, 0), Device::new(1, 1), Device::new(2, 0));
    let forum = Place::new(SpaceKind::Forum, "Camp", &[&ana, &ana2, &ben]);
    let node = forum.node();
    let first = post(&node, &forum, &ana, T0, &thread("One", "x"));
    let root = first.id;
    post(&node, &forum, &ben, T0, &Body::Retract { target: root });
    assert!(!node.read().unwrap().item(root).unwrap().unwrap().retracted);
    let genesis = first.entries[0].id;
    post(&node, &forum, &ana, T0, &Body::Retract { target: genesis });
    let space = forum.id();
    assert!(
        node.read()
            .unwrap()
            .body(space, ana.id(), 0)
            .unwrap()
            .is_some()
    );
    let retract = post(&node, &forum, &ana2, T0, &Body::Retract { target: root }).id;
    assert!(node.read().unwrap().item(root).unwrap().unwrap().retracted);
    post(&node, &forum, &ana2, T0, &Body::Retract { target: retract });
    assert!(node.read().unwrap().item(root).unwrap().unwrap().retracted);
    let other = forum.node();
    pull(&other, &node, space, T0);
    let digest = |node: &Store| node.read().unwrap().digest(space).unwrap();
    assert_eq!(digest(&node), digest(&other));
    healthy(&node);
    healthy(&other);
}
