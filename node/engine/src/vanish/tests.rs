//! A running node and its clock.

use std::time::Duration;

use proto::{
    EndpointId, EntryId,
    admission::{Certificate, Role},
    body::Body,
    card::{Card, PairSecret},
    keys::{DeviceKey, IdentityKey},
    space::conversation_id,
};

use super::*;
use crate::{
    Config, Internet, LinkConfig, Node, Radios, StorageConfig,
    records::{self, ContactState},
    view::{Keeping, PageQuery},
};

const PAIR: PairSecret = PairSecret([0x61; 32]);

fn config(dir: &std::path::Path) -> Config {
    Config {
        data_dir: dir.join("data"),
        links: LinkConfig {
            internet: Internet::Off,
            internet_fixed: true,
            bind: vec!["127.0.0.1:0".parse().unwrap()],
            radios: Radios::none(),
            ..LinkConfig::default()
        },
        storage: StorageConfig::default(),
    }
}

fn ben() -> Keys {
    Keys {
        identity: IdentityKey::from_seed(&[2; 32]),
        device: DeviceKey::from_seed(&[102; 32]),
    }
}

/// A node that has Ben as a contact, whom it never meets.
async fn node(dir: &std::path::Path) -> Node {
    let node = Node::start(config(dir)).await.unwrap();
    node.set_up("Ana").await.unwrap();
    let own = node.0.keys().unwrap().identity.id();
    let ben = ben();
    let card = Card {
        certificate: Certificate::sign(&ben.identity, &ben.device, 1, Role::Main),
        name: "Ben".into(),
        endpoint: EndpointId([2; 32]),
        addrs: Vec::new(),
        relay: None,
    };
    node.0
        .store
        .write(move |txn| {
            let mut contact = records::new_contact("Ben", clock::now());
            contact.state = ContactState::Ready;
            contact.pair_secret = Some(PAIR);
            records::put_device(&mut contact, &card);
            let them = ben.identity.id();
            txn.put_contact(&them, &contact)?;
            let pair = [own, them];
            txn.create_space(&spaces::conversation(space(), pair, clock::now()))
        })
        .await
        .unwrap();
    node
}

fn space() -> SpaceId {
    conversation_id(&PAIR.0)
}

/// Ben writes something, as if a meeting had brought it.
async fn ben_writes(node: &Node, body: &Body<'_>) -> EntryId {
    let bytes = body.encode();
    let written = node.0.store.write(move |txn| {
        let keys = ben();
        let genesis = proto::body::Genesis {
            certificate: Certificate::sign(&keys.identity, &keys.device, 1, Role::Main),
            name: "Ben",
            chain: proto::admission::Chain::root(),
        };
        let genesis = Body::Genesis(Box::new(genesis)).encode();
        let body = Body::decode(&bytes)?;
        txn.append(space(), &keys.device, clock::now(), &body, |_| Ok(genesis))
    });
    written.await.unwrap().id
}

fn lifetime(seconds: u64) -> Keeping {
    Keeping {
        lifetime_s: Some(seconds),
        receipts: None,
    }
}

fn bodies(node: &Node) -> Vec<(String, Option<u32>)> {
    let who = ben().identity.id();
    let page = node.conversation(who, &PageQuery::default(), true).unwrap();
    let items = page.posts.items.into_iter();
    items
        .map(|post| {
            (
                post.body,
                post.setting.and_then(|setting| setting.lifetime_s),
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_goes_when_its_time_is_over_and_is_told_as_changed() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path()).await;
    let who = ben().identity.id();
    let kept = node.keep_conversation(who, lifetime(60)).await.unwrap();
    assert_eq!(kept.disappearing.lifetime_s, 60);
    let post = node.send_message(who, "goes", None).await.unwrap();
    assert_eq!(post.disappears.unwrap().lifetime_s, 60);
    assert_eq!(post.disappears.unwrap().at_ms, None);
    let mut events = node.subscribe(None);
    // It was delivered nearly a minute ago, and nobody has looked since.
    node.0
        .store
        .write(move |txn| {
            let at = Millis(clock::now().0 - 59_000);
            txn.acknowledge(space(), who, 3, at)
        })
        .await
        .unwrap();
    node.0.events.emit(EventKind::Delivery, About::default());
    let gone = async {
        while let Some(event) = events.next().await {
            if event.kind == EventKind::Entry && event.subject == Some(post.id.to_string()) {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone)
        .await
        .unwrap();
    assert!(node.entry(post.id).is_err());
    assert_eq!(bodies(&node), [(String::new(), Some(60))]);

    // What comes due while nothing runs goes at the start.
    let post = node.send_message(who, "goes too", None).await.unwrap();
    node.0
        .store
        .write(move |txn| txn.acknowledge(space(), who, 4, Millis(clock::now().0 - 600_000)))
        .await
        .unwrap();
    node.shutdown().await;
    drop(node);
    let node = Node::start(config(dir.path())).await.unwrap();
    let mut events = node.subscribe(None);
    let gone = async {
        while node.entry(post.id).is_ok() {
            if events.next().await.is_none() {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone)
        .await
        .unwrap();
    assert!(node.entry(post.id).is_err());
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_other_person_set_covers_our_next_message() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path()).await;
    let who = ben().identity.id();
    let set = |seconds: u64| {
        Body::Setting(Setting {
            lifetime: store::Lifetime::new(seconds),
            ..Setting::default()
        })
    };
    node.send_message(who, "stays", None).await.unwrap();
    ben_writes(&node, &set(3_600)).await;
    let shown = |node: &Node| {
        let page = node.conversation(who, &PageQuery::default(), true).unwrap();
        let kept = page.conversation.disappearing;
        (kept.lifetime_s, kept.set_by.map(|by| by.id))
    };
    assert_eq!(shown(&node), (3_600, Some(who)));
    let post = node.send_message(who, "goes", None).await.unwrap();
    assert_eq!(post.disappears.unwrap().lifetime_s, 3_600);
    assert_eq!(shown(&node), (3_600, Some(who)), "it was only taken over");
    let lines: Vec<_> = bodies(&node);
    assert_eq!(
        lines
            .iter()
            .map(|(text, set)| (text.as_str(), *set))
            .collect::<Vec<_>>(),
        [
            ("stays", None),
            ("", Some(3_600)),
            ("", Some(3_600)),
            ("goes", None)
        ]
    );
    let page = node.conversation(who, &PageQuery::default(), true).unwrap();
    assert!(page.posts.items[2].setting.unwrap().taken_over);
    assert!(!page.posts.items[1].setting.unwrap().taken_over);
    assert_eq!(page.conversation.unread, 0, "a line is no message");
    // Once more nothing is written.
    node.send_message(who, "goes too", None).await.unwrap();
    assert_eq!(bodies(&node).len(), 5);
    // Off again: what was written to disappear still does, and can't be made to stay by an edit.
    node.keep_conversation(who, lifetime(0)).await.unwrap();
    node.keep_conversation(who, lifetime(0)).await.unwrap();
    assert_eq!(bodies(&node).len(), 6);
    let edit = crate::view::Edit {
        title: None,
        body: Some("stays".into()),
        tags: None,
    };
    let refused = node.edit(post.id, edit).await.unwrap_err();
    assert!(matches!(refused, crate::Error::Conflict { .. }));
    for wrong in [1, 59, 31_536_001, u64::MAX] {
        let refused = node
            .keep_conversation(who, lifetime(wrong))
            .await
            .unwrap_err();
        assert!(matches!(refused, crate::Error::Invalid { .. }), "{wrong}");
    }
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_words_have_different_hashes() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path()).await;
    let who = ben().identity.id();
    let first = node.send_message(who, "yes", None).await.unwrap().id;
    let second = node.send_message(who, "yes", None).await.unwrap().id;
    for _ in 0..2 {
        let edit = crate::view::Edit {
            title: None,
            body: Some("no".into()),
            tags: None,
        };
        node.edit(first, edit).await.unwrap();
    }
    let device = node.0.keys().unwrap().device.id();
    let snapshot = node.0.store.read().unwrap();
    let bodies: Vec<_> = (1..=4)
        .map(|seq| snapshot.body(space(), device, seq).unwrap().unwrap())
        .collect();
    assert_ne!(first, second);
    assert_ne!(bodies[0], bodies[1]);
    assert_ne!(bodies[2], bodies[3]);
    assert_eq!(bodies[0].len(), bodies[1].len());
    drop(snapshot);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_is_changed_by_another_one_only() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path()).await;
    let who = ben().identity.id();
    node.keep_conversation(who, lifetime(60)).await.unwrap();
    let page = node.conversation(who, &PageQuery::default(), true).unwrap();
    let [setting] = &page.posts.items[..] else {
        panic!("one setting")
    };
    let held = node.0.store.read().unwrap().digest(space()).unwrap();
    assert!(matches!(
        node.retract(setting.id).await,
        Err(crate::Error::Conflict { .. })
    ));
    assert!(matches!(
        node.react(setting.id, "!", true).await,
        Err(crate::Error::Conflict { .. })
    ));
    assert_eq!(
        node.0.store.read().unwrap().digest(space()).unwrap(),
        held,
        "nothing was written"
    );
    node.shutdown().await;
}
