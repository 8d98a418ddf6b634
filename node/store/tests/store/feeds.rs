//! Imports, own entries, serving.

use proto::{Millis, space::SpaceKind};

use crate::support::{Device, Place, T0, Took, post, pull, reply, runs, take, thread};

#[test]
fn what_one_node_writes_another_shows() {
    let (ana, ben) = (Device::new(1, 0), Device::new(2, 0));
    let forum = Place::new(SpaceKind::Forum, "Camp", &[&ana, &ben]);
    let (a, b) = (forum.node(), forum.node());
    let root = post(&a, &forum, &ana, T0, &thread("Tents", "Which?")).id;
    for n in 0..700_u64 {
        let text = format!("answer {n} {}", "x".repeat(250));
        post(&a, &forum, &ana, T0 + n, &reply(root, &text, None));
    }
    pull(&b, &a, forum.id(), T0 + 10_000);
    let (from, to) = (a.read().unwrap(), b.read().unwrap());
    assert_eq!(
        from.digest(forum.id()).unwrap(),
        to.digest(forum.id()).unwrap()
    );
    let topic = to.topic(root).unwrap().unwrap();
    assert_eq!(topic.items, 701);
    let first = topic.first.as_ref().unwrap();
    assert_eq!(first.title.as_deref(), Some("Tents"));
    let mut cursor = None;
    let mut texts = Vec::new();
    loop {
        let page = to.items(topic.number, cursor.as_ref(), 100).unwrap();
        texts.extend(page.items.into_iter().map(|item| item.text));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(texts.len(), 701);
    assert_eq!(texts[0], "Which?");
    assert!(texts[700].starts_with("answer 699 "));
    assert_eq!(to.space(forum.id()).unwrap().unwrap().counts.entries, 702);
    assert_eq!(to.name(ana.person()).unwrap().as_deref(), Some("person 1"));
}

#[test]
fn a_run_that_is_known_brings_nothing_new() {
    let ana = Device::new(1, 0);
    let forum = Place::new(SpaceKind::Forum, "Camp", &[&ana]);
    let (a, b) = (forum.node(), forum.node());
    let root = post(&a, &forum, &ana, T0, &thread("One", "Two")).id;
    let all = runs(&a, forum.id(), ana.id());
    assert_eq!(all.len(), 2);
    for _ in 0..2 {
        for run in &all {
            let _ = take(&b, forum.id(), ana.id(), run, T0).unwrap();
        }
    }
    post(&a, &forum, &ana, T0, &reply(root, "x", None));
    let snapshot = a.read().unwrap();
    let long = snapshot
        .run(forum.id(), ana.id(), 0, 100, 10_000)
        .unwrap()
        .unwrap();
    assert_eq!(long.end, 3);
    match take(&b, forum.id(), ana.id(), &long.bytes, T0).unwrap() {
        Took::Imported(imported) => assert_eq!(imported.entries.len(), 1),
        Took::Compared => panic!("not a continuation"),
    }
    let doubtful = b.read().unwrap().topic(root).unwrap().unwrap();
    assert_eq!(doubtful.last_activity, Millis(T0));
}
