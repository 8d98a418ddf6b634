//! What pages show.

use proto::{
    EntryId, Millis, SpaceId,
    admission::Chain,
    body::{Answer, Body, Quotable, Reblog},
    space::SpaceKind,
};
use store::{OwnDevice, SpaceRecord, Store, TopicKind};

use crate::support::{
    Device, Place, T0, article, block_on, edit, post, pull, react, reply, thread, write,
};

fn own(store: &Store, device: &Device) {
    let own = OwnDevice {
        certificate: device.certificate.clone(),
        name: device.name.clone(),
        last_serial: 1,
    };
    write(store, move |txn| txn.put_own_device(&own)).unwrap();
}

fn texts(store: &Store, root: EntryId) -> Vec<String> {
    let snapshot = store.read().unwrap();
    let topic = snapshot.topic(root).unwrap().unwrap();
    let page = snapshot.items(topic.number, None, 500).unwrap();
    page.items.into_iter().map(|item| item.text).collect()
}

#[test]
fn topics_come_newest_first_over_one_space_and_over_all() {
    let ana = Device::new(1, 0);
    let one = Place::new(SpaceKind::Forum, "One", &[&ana]);
    let two = Place::new(SpaceKind::Forum, "Two", &[&ana]);
    let node = one.node();
    two.join(&node);
    let mut roots = Vec::new();
    for n in 0..12_u64 {
        let place = if n % 2 == 0 { &one } else { &two };
        let title = format!("t{n}");
        roots.push(post(&node, place, &ana, T0 + n, &thread(&title, "x")).id);
    }
    // The oldest becomes the newest.
    post(&node, &one, &ana, T0 + 50, &reply(roots[0], "y", None));
    let snapshot = node.read().unwrap();
    let list = |limit: usize, space: Option<SpaceId>| {
        let (mut cursor, mut all) = (None, Vec::new());
        loop {
            let page = match space {
                Some(space) => snapshot.topics(space, cursor.as_ref(), limit).unwrap(),
                None => snapshot.recent_topics(cursor.as_ref(), limit).unwrap(),
            };
            assert!(page.items.len() <= limit);
            all.extend(page.items.into_iter().map(|topic| topic.root));
            cursor = page.next;
            if cursor.is_none() {
                return all;
            }
        }
    };
    let mut expected: Vec<EntryId> = roots.iter().rev().copied().collect();
    expected.rotate_right(1);
    for limit in [1, 2, 5, 12, 100] {
        assert_eq!(list(limit, None), expected, "{limit}");
        let of_one: Vec<_> = expected
            .iter()
            .filter(|root| roots.iter().position(|r| r == *root).unwrap() % 2 == 0)
            .copied()
            .collect();
        assert_eq!(list(limit, Some(one.id())), of_one, "{limit}");
    }
}

#[test]
fn a_topic_is_read_forwards_and_backwards() {
    let ana = Device::new(1, 0);
    let forum = Place::new(SpaceKind::Forum, "One", &[&ana]);
    let node = forum.node();
    let root = post(&node, &forum, &ana, T0, &thread("t", "0")).id;
    for n in 1..25_u64 {
        post(
            &node,
            &forum,
            &ana,
            T0 + n,
            &reply(root, &n.to_string(), None),
        );
    }
    let snapshot = node.read().unwrap();
    let number = snapshot.topic(root).unwrap().unwrap().number;
    let page = snapshot.last_items(number, 10).unwrap();
    let shown: Vec<_> = page.items.iter().map(|item| item.text.as_str()).collect();
    assert_eq!(shown, (15..25).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(page.next.is_none());
    let before = snapshot.items(number, page.previous.as_ref(), 10).unwrap();
    assert_eq!(before.items[0].text, "5");
    let first = snapshot
        .items(number, before.previous.as_ref(), 10)
        .unwrap();
    assert_eq!(first.items[0].text, "0");
    assert!(first.previous.is_none());
    let next = snapshot.items(number, before.next.as_ref(), 10).unwrap();
    assert_eq!(next.items, page.items);
}

#[test]
fn unread_is_what_others_wrote_until_it_is_marked() {
    let (ana, ben) = (Device::new(1, 0), Device::new(2, 0));
    let forum = Place::new(SpaceKind::Forum, "One", &[&ana, &ben]);
    let (a, b) = (forum.node(), forum.node());
    own(&a, &ana);
    own(&b, &ben);
    let root = post(&a, &forum, &ana, T0, &thread("t", "0")).id;
    let mut ids = Vec::new();
    for n in 1..6_u64 {
        let place = if n % 2 == 0 { (&a, &ana) } else { (&b, &ben) };
        let body = reply(root, "x", None);
        ids.push(post(place.0, &forum, place.1, T0 + n, &body).id);
    }
    pull(&b, &a, forum.id(), T0 + 10);
    let space = forum.id();
    let unread = || {
        let snapshot = b.read().unwrap();
        let topic = snapshot.topic(root).unwrap().unwrap();
        let counts = snapshot.space(space).unwrap().unwrap().counts;
        assert_eq!(counts.unread, topic.unread);
        assert_eq!(snapshot.unread().unwrap(), topic.unread);
        topic.unread
    };
    assert_eq!(unread(), 3);
    let snapshot = b.read().unwrap();
    let topic = snapshot.topic(root).unwrap().unwrap();
    let (first, cursor) = snapshot.first_unread(topic.number).unwrap().unwrap();
    assert_eq!(first, root);
    let page = snapshot.items(topic.number, Some(&cursor), 2).unwrap();
    assert_eq!(page.items[0].id, root);
    let changed = write(&b, move |txn| {
        txn.mark_read(&[root, EntryId([9; 32])], Millis(T0))
    })
    .unwrap();
    assert_eq!(changed.into_iter().collect::<Vec<_>>(), [space]);
    assert!(
        write(&b, move |txn| txn.mark_read(&[root], Millis(T0)))
            .unwrap()
            .is_empty()
    );
    assert_eq!(unread(), 2);
    let (first, _) = b
        .read()
        .unwrap()
        .first_unread(topic.number)
        .unwrap()
        .unwrap();
    assert_eq!(first, ids[1]);
    // What is retracted counts as read.
    post(&a, &forum, &ana, T0 + 20, &Body::Retract { target: ids[1] });
    pull(&b, &a, forum.id(), T0 + 21);
    assert_eq!(unread(), 1);
    assert!(write(&b, move |txn| txn.mark_space_read(space, Millis(T0))).unwrap());
    assert!(!write(&b, move |txn| txn.mark_space_read(space, Millis(T0))).unwrap());
    assert_eq!(unread(), 0);
    let snapshot = b.read().unwrap();
    assert_eq!(snapshot.first_unread(topic.number).unwrap(), None);
}

#[test]
fn an_answer_that_comes_before_its_parent_moves_behind_it() {
    let (ana, ben) = (Device::new(1, 0), Device::new(2, 0));
    let forum = Place::new(SpaceKind::Forum, "One", &[&ana, &ben]);
    let (a, b, c) = (forum.node(), forum.node(), forum.node());
    let root = post(&a, &forum, &ana, T0, &thread("t", "root")).id;
    // The parent's clock runs ahead of the child's.
    let parent = post(&a, &forum, &ana, T0 + 5_000, &reply(root, "parent", None)).id;
    post(
        &b,
        &forum,
        &ben,
        T0 + 1_000,
        &reply(root, "child", Some(parent)),
    );
    pull(&c, &b, forum.id(), T0 + 9_000);
    let early = c.read().unwrap().topic(root).unwrap().unwrap();
    assert_eq!((early.items, early.first), (1, None));
    pull(&c, &a, forum.id(), T0 + 9_000);
    assert_eq!(texts(&c, root), ["root", "parent", "child"]);
    let snapshot = c.read().unwrap();
    let topic = snapshot.topic(root).unwrap().unwrap();
    for item in snapshot.items(topic.number, None, 9).unwrap().items {
        assert_eq!(snapshot.item(item.id).unwrap(), Some(item));
    }
}

#[test]
fn clocks_that_cannot_be_right_are_doubtful_and_pin_nothing() {
    let (ana, ben) = (Device::new(1, 0), Device::new(2, 0));
    let forum = Place::new(SpaceKind::Forum, "One", &[&ana, &ben]);
    let (a, b) = (forum.node(), forum.node());
    let root = post(&a, &forum, &ana, T0, &thread("t", "root")).id;
    post(&a, &forum, &ana, 5, &reply(root, "from 1970", None));
    post(
        &a,
        &forum,
        &ana,
        T0 * 2,
        &reply(root, "from the future", None),
    );
    let second = post(&a, &forum, &ana, T0 + 1, &thread("u", "other")).id;
    pull(&b, &a, forum.id(), T0 + 100);
    let late = post(&b, &forum, &ben, T0 + 200, &reply(second, "late", None));
    pull(&b, &a, forum.id(), T0 + 200);
    let snapshot = b.read().unwrap();
    let topics = snapshot.topics(forum.id(), None, 10).unwrap().items;
    assert_eq!(topics[0].root, second);
    assert!(
        topics
            .iter()
            .all(|topic| topic.last_activity <= Millis(T0 + 200))
    );
    let topic = snapshot.topic(root).unwrap().unwrap();
    let items = snapshot.items(topic.number, None, 10).unwrap().items;
    let doubts: Vec<_> = items.iter().map(|item| item.doubtful).collect();
    assert_eq!(doubts, [false, true, true]);
    assert!(!snapshot.item(late.id).unwrap().unwrap().doubtful);
}

#[test]
fn edits_and_reactions_count_in_their_order() {
    let (ana, ana2, ben) = (Device::new(1, 0), Device::new(1, 1), Device::new(2, 0));
    let forum = Place::new(SpaceKind::Forum, "One", &[&ana, &ana2, &ben]);
    let node = forum.node();
    let root = post(&node, &forum, &ana, T0, &thread("old title", "old")).id;
    let retitle = Body::Edit {
        target: root,
        title: Some("new title"),
        text: None,
        tags: None,
        quote: None,
        salt: None,
    };
    post(&node, &forum, &ana, T0 + 10, &edit(root, "second"));
    let third = post(&node, &forum, &ana2, T0 + 20, &edit(root, "third")).id;
    post(&node, &forum, &ana, T0 + 15, &retitle);
    post(
        &node,
        &forum,
        &ben,
        T0 + 30,
        &edit(root, "not ben's to edit"),
    );
    for (device, emoji, on) in [
        (&ana, "+1", true),
        (&ben, "+1", true),
        (&ben, "-1", true),
        (&ben, "-1", false),
        (&ana2, "+1", true),
    ] {
        post(&node, &forum, device, T0 + 40, &react(root, emoji, on));
    }
    let item = node.read().unwrap().item(root).unwrap().unwrap();
    assert_eq!(item.text, "third");
    assert_eq!(item.title.as_deref(), Some("new title"));
    assert_eq!(item.edited, Some(Millis(T0 + 20)));
    assert_eq!(item.reactions.len(), 1);
    assert_eq!(item.reactions[0].by.len(), 2);
    let versions = node.read().unwrap().versions(root).unwrap();
    let shown: Vec<_> = versions
        .iter()
        .map(|v| (v.title.as_deref().unwrap(), v.text.as_str()))
        .collect();
    assert_eq!(
        shown,
        [
            ("old title", "old"),
            ("old title", "second"),
            ("new title", "second"),
            ("new title", "third")
        ]
    );
    // Taken back, the version before it shows again.
    post(
        &node,
        &forum,
        &ana,
        T0 + 50,
        &Body::Retract { target: third },
    );
    let item = node.read().unwrap().item(root).unwrap().unwrap();
    assert_eq!(item.text, "second");
}

#[test]
fn a_blog_has_its_owners_articles_and_readers_comments() {
    let (ana, ben) = (Device::new(1, 0), Device::new(2, 0));
    let blog = Place::new(SpaceKind::Blog, "Ana's", &[&ana, &ben]);
    let own_blog = Place::new(SpaceKind::Blog, "Ben's", &[&ben]);
    let node = blog.node();
    own_blog.join(&node);
    let first = post(
        &node,
        &blog,
        &ana,
        T0,
        &article(&ana, "On tents", "They leak.", T0),
    );
    let comment = Body::Comment(Answer {
        root: first.id,
        text: "true",
        parent: None,
    });
    post(&node, &blog, &ben, T0 + 1, &comment);
    // A reader's article, a thread and a reply have no place in this blog.
    for (n, body) in [
        article(&ben, "Mine", "x", T0 + 2),
        thread("t", "x"),
        reply(first.id, "x", None),
        Body::Message {
            text: "x",
            parent: None,
            salt: None,
        },
    ]
    .iter()
    .enumerate()
    {
        post(&node, &blog, &ben, T0 + 2 + n as u64, body);
    }
    let snapshot = node.read().unwrap();
    let topics = snapshot.topics(blog.id(), None, 10).unwrap().items;
    assert_eq!(topics.len(), 1);
    assert_eq!((topics[0].kind, topics[0].items), (TopicKind::Article, 2));
    let shown = topics[0].first.as_ref().unwrap();
    assert_eq!(shown.tags, ["tag"]);

    let quote = snapshot.quote(first.id).unwrap().unwrap();
    assert_eq!(quote.certificate.identity, ana.person());
    let reblog = Body::Reblog(Box::new(Reblog {
        note: "so true",
        original: Quotable {
            title: &quote.title,
            text: &quote.text,
            tags: quote.tags.iter().map(String::as_str).collect(),
            created: quote.created,
        },
        quote: quote.signature,
        certificate: quote.certificate.clone(),
        name: &quote.name,
    }));
    let again = post(&node, &own_blog, &ben, T0 + 9, &reblog).id;
    let snapshot = node.read().unwrap();
    let shown = snapshot.topic(again).unwrap().unwrap().first.unwrap();
    assert_eq!(
        (shown.title.as_deref(), shown.text.as_str()),
        (Some("On tents"), "so true")
    );
    let embedded = shown.reblog.unwrap();
    assert_eq!(
        (embedded.author, embedded.text.as_str()),
        (ana.person(), "They leak.")
    );
    assert!(snapshot.quote(again).unwrap().is_none());
}

#[test]
fn a_conversation_is_one_topic() {
    let (ana, ben) = (Device::new(1, 0), Device::new(2, 0));
    let id = SpaceId([8; 32]);
    let record = SpaceRecord {
        id,
        kind: SpaceKind::Conversation,
        descriptor: None,
        pair: Some([ana.person(), ben.person()]),
        own_chain: Chain::root(),
        joined: Millis(T0),
    };
    let node = Store::in_memory().unwrap();
    write(&node, move |txn| txn.create_space(&record)).unwrap();
    assert!(node.read().unwrap().conversation(id).unwrap().is_none());
    let say = |device: &Device, at: u64, text: &'static str, parent: Option<EntryId>| {
        let device = device.clone();
        write(&node, move |txn| {
            let genesis = device.genesis(&Chain::root());
            let body = Body::Message {
                text,
                parent,
                salt: None,
            };
            txn.append(id, &device.key, Millis(at), &body, |_| Ok(genesis))
        })
        .unwrap()
    };
    let first = say(&ana, T0, "hello", None);
    assert_eq!(first.entries.len(), 2);
    assert_eq!(first.entries[1].topic, Some(EntryId([0; 32])));
    let second = say(&ben, T0 + 1, "hi", Some(first.id)).id;
    let snapshot = node.read().unwrap();
    let topic = snapshot.conversation(id).unwrap().unwrap();
    assert_eq!((topic.kind, topic.items), (TopicKind::Conversation, 2));
    let page = snapshot.last_items(topic.number, 10).unwrap();
    assert_eq!(page.items[1].id, second);
    assert_eq!(page.items[1].parent, Some(first.id));
    let space = snapshot.space(id).unwrap().unwrap();
    assert_eq!(space.counterpart(ana.person()), ben.person());
    let (seq, contact) = (first.seq, ben.person());
    let rose =
        move |to: u64| move |txn: &mut store::Txn<'_>| txn.acknowledge(id, contact, to, Millis(T0));
    assert!(write(&node, rose(seq + 1)).unwrap());
    assert!(!write(&node, rose(seq)).unwrap());
    assert_eq!(
        node.read().unwrap().acknowledged(id, contact).unwrap(),
        seq + 1
    );
}

#[test]
fn an_entry_of_another_space_changes_nothing_here() {
    let ana = Device::new(1, 0);
    let one = Place::new(SpaceKind::Forum, "One", &[&ana]);
    let two = Place::new(SpaceKind::Forum, "Two", &[&ana]);
    let node = one.node();
    two.join(&node);
    let root = post(&node, &one, &ana, T0, &thread("t", "text")).id;
    post(&node, &two, &ana, T0 + 1, &edit(root, "changed"));
    post(&node, &two, &ana, T0 + 2, &react(root, "+1", true));
    post(&node, &two, &ana, T0 + 3, &Body::Retract { target: root });
    post(&node, &two, &ana, T0 + 4, &reply(root, "stray", None));
    let snapshot = node.read().unwrap();
    let topic = snapshot.topic(root).unwrap().unwrap();
    assert_eq!((topic.space, topic.items), (one.id(), 1));
    let item = topic.first.unwrap();
    assert_eq!(item.text, "text");
    assert!(item.reactions.is_empty() && !item.retracted);
}

#[test]
fn searching_finds_newest_versions_over_pages() {
    let ana = Device::new(1, 0);
    let forum = Place::new(SpaceKind::Forum, "One", &[&ana]);
    let node = forum.node();
    let mut wanted = Vec::new();
    for n in 0..6_u64 {
        let title = format!("Title {n}");
        let root = post(
            &node,
            &forum,
            &ana,
            T0 + n * 100,
            &thread(&title, "nothing"),
        )
        .id;
        for m in 0..5_u64 {
            let text = format!("The KETTLE of {n} {m}");
            let id = post(
                &node,
                &forum,
                &ana,
                T0 + n * 100 + m,
                &reply(root, &text, None),
            )
            .id;
            if (n, m) == (2, 2) {
                post(&node, &forum, &ana, T0 + 900, &edit(id, "replaced"));
            } else {
                wanted.push(id);
            }
        }
    }
    let snapshot = node.read().unwrap();
    for limit in [1, 4, 100] {
        let (mut cursor, mut found) = (None, Vec::new());
        loop {
            let page = snapshot.search(" kettle ", cursor.as_ref(), limit).unwrap();
            assert!(page.items.len() <= limit);
            found.extend(page.items.into_iter().map(|hit| (hit.item.id, hit.title)));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(found.len(), wanted.len(), "{limit}");
        assert_eq!(found[0].1, "Title 5");
        assert_eq!(found[0].0, *wanted.last().unwrap());
    }
    assert_eq!(snapshot.search("title 3", None, 9).unwrap().items.len(), 1);
    assert!(snapshot.search("  ", None, 9).unwrap().items.is_empty());
}

#[test]
fn names_follow_the_newest_word() {
    let ana = Device::new(1, 0);
    let forum = Place::new(SpaceKind::Forum, "One", &[&ana]);
    let node = forum.node();
    let who = ana.person();
    let name = || node.read().unwrap().name(who).unwrap().unwrap();
    block_on(node.write(move |txn| txn.set_name(who, "card", Millis(T0 - 10)))).unwrap();
    assert_eq!(name(), "card");
    post(&node, &forum, &ana, T0, &thread("t", "x"));
    assert_eq!(name(), "person 1");
    let renamed = post(&node, &forum, &ana, T0 + 1, &Body::Profile { name: "Ana" }).id;
    assert_eq!(name(), "Ana");
    post(
        &node,
        &forum,
        &ana,
        T0 + 2,
        &Body::Retract { target: renamed },
    );
    assert_eq!(name(), "person 1");
}
