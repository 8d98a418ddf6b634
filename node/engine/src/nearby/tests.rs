//! Nodes on loopback, where nobody is announced: who is seen is told by hand.

use tempfile::TempDir;
use tokio::time::timeout;

use super::*;
use crate::{
    Config, Internet, LinkConfig, Node, Radios, StorageConfig,
    view::{ContactState as State, NearbyPerson, NearbyStage, NewInvite, PageQuery, Trust},
};

/// Nothing here takes longer unless it hangs.
const DEADLINE: Duration = Duration::from_secs(30);

struct Bench {
    _dir: TempDir,
    node: Node,
}

async fn bench(name: &str) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        data_dir: dir.path().join("data"),
        links: LinkConfig {
            internet: Internet::Off,
            internet_fixed: true,
            bind: vec!["127.0.0.1:0".parse().unwrap()],
            radios: Radios::none(),
            ..LinkConfig::default()
        },
        storage: StorageConfig::default(),
    };
    let node = Node::start(config).await.unwrap();
    node.set_up(name).await.unwrap();
    Bench { _dir: dir, node }
}

impl std::ops::Deref for Bench {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

fn seen(node: &Node) -> Seen {
    let opening = node.0.nearby.opening().unwrap();
    let endpoint = lock(&opening.endpoint);
    let endpoint = endpoint.as_ref().unwrap();
    Seen {
        endpoint: endpoint.id(),
        addrs: endpoint.bound(),
    }
}

/// Each sees the other, as by an announcement.
pub(crate) fn see(one: &Node, other: &Node) {
    for (from, to) in [(one, other), (other, one)] {
        let seen = seen(to);
        saw(&from.0, &from.0.nearby.opening().unwrap(), seen);
    }
}

/// Waits for something, asked again at each event.
async fn until<T>(node: &Node, what: &str, mut look: impl FnMut(&Node) -> Option<T>) -> T {
    let mut events = node.subscribe(None);
    let wait = async {
        loop {
            if let Some(found) = look(node) {
                return found;
            }
            events.next().await.expect("the node runs");
        }
    };
    let waited = timeout(DEADLINE, wait).await;
    waited.unwrap_or_else(|_| panic!("waited for {what}: {:?}", node.nearby().unwrap()))
}

async fn person(node: &Node, which: impl Fn(&NearbyPerson) -> bool) -> NearbyPerson {
    until(node, "somebody nearby", |node| {
        let people = node.nearby().unwrap().people;
        people.into_iter().find(|person| which(person))
    })
    .await
}

async fn named(node: &Node, name: &str) -> NearbyPerson {
    person(node, |person| person.name == name).await
}

fn stage(node: &Node, id: &str) -> NearbyStage {
    let people = node.nearby().unwrap().people;
    let person = people.into_iter().find(|person| person.id == id);
    person.unwrap().stage
}

async fn done(node: &Node, id: &str) -> (IdentityId, bool) {
    until(node, "a contact", |node| match stage(node, id) {
        NearbyStage::Done {
            contact,
            known,
            confirmed: true,
        } => Some((contact, known)),
        NearbyStage::Done { .. } | NearbyStage::Comparing { .. } => None,
        NearbyStage::Ended(why) => panic!("{why}"),
    })
    .await
}

async fn ended(node: &Node, id: &str) -> String {
    until(node, "an end", |node| match stage(node, id) {
        NearbyStage::Ended(why) => Some(why),
        _ => None,
    })
    .await
}

fn contacts(node: &Node) -> Vec<crate::view::Contact> {
    node.contacts(&PageQuery::default()).unwrap().items
}

async fn open_both(one: &Node, other: &Node) {
    one.open_nearby(None).await.unwrap();
    other.open_nearby(None).await.unwrap();
    see(one, other);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_see_the_same_words_become_verified_contacts() {
    let (ana, ben) = (bench("Ana").await, bench("Ben").await);
    open_both(&ana, &ben).await;
    let (at_ana, at_ben) = (named(&ana, "Ben").await, named(&ben, "Ana").await);
    assert_eq!(at_ana.words, at_ben.words);
    assert!(contacts(&ana).is_empty() && contacts(&ben).is_empty());
    ana.accept_nearby(&at_ana.id).unwrap();
    person(&ben, |ana| {
        matches!(
            ana.stage,
            NearbyStage::Comparing {
                they_accept: true,
                we_accept: false
            }
        )
    })
    .await;
    assert!(contacts(&ana).is_empty(), "both have to say yes");
    ben.accept_nearby(&at_ben.id).unwrap();
    let (ben_id, known) = done(&ana, &at_ana.id).await;
    done(&ben, &at_ben.id).await;
    assert!(!known);
    for node in [&ana, &ben] {
        let [contact] = &contacts(node)[..] else {
            panic!("one contact")
        };
        assert_eq!(
            (contact.trust, contact.state),
            (Trust::Verified, State::Ready)
        );
    }
    let own = ana.status().unwrap().identity.unwrap().id;
    assert_eq!(
        ana.contact_words(ben_id).unwrap(),
        ben.contact_words(own).unwrap()
    );
    // And their devices meet by themselves.
    until(&ana, "a meeting", |ana| {
        contacts(ana)[0].online.then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_are_listed_apart_also_under_one_name() {
    let (ana, ben, other) = (bench("Ana").await, bench("Ben").await, bench("Ben").await);
    open_both(&ana, &ben).await;
    other.open_nearby(None).await.unwrap();
    see(&ana, &other);
    see(&ben, &other);
    let at_ben = named(&ben, "Ana").await;
    let at_other = named(&other, "Ana").await;
    assert_ne!(at_ben.words, at_other.words);
    let right = person(&ana, |person| person.words == at_ben.words).await;
    let wrong = person(&ana, |person| person.words == at_other.words).await;
    assert_eq!((right.name.as_str(), wrong.name.as_str()), ("Ben", "Ben"));
    // A yes to the one is none to the other.
    ana.accept_nearby(&right.id).unwrap();
    other.accept_nearby(&at_other.id).unwrap();
    ben.accept_nearby(&at_ben.id).unwrap();
    done(&ana, &right.id).await;
    person(&ana, |person| {
        person.id == wrong.id
            && matches!(
                person.stage,
                NearbyStage::Comparing {
                    we_accept: false,
                    they_accept: true
                }
            )
    })
    .await;
    assert_eq!(contacts(&ana).len(), 1);
    assert!(contacts(&other).is_empty());
    ana.decline_nearby(&wrong.id).unwrap();
    assert_eq!(ended(&other, &at_other.id).await, "they said no");
    assert!(ana.accept_nearby(&wrong.id).is_err(), "it is over");
    assert!(contacts(&other).is_empty() && contacts(&ana).len() == 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_a_contact_already_keeps_the_conversation_and_gets_the_mark() {
    let (ana, ben) = (bench("Ana").await, bench("Ben").await);
    let invite = ana.create_invite(NewInvite::default()).await.unwrap();
    let contact = ben.join(&invite.link).await.unwrap();
    let words = ben.contact_words(contact.id).unwrap();
    ben.send_message(contact.id, "hello", None).await.unwrap();
    open_both(&ana, &ben).await;
    let (at_ana, at_ben) = (named(&ana, "Ben").await, named(&ben, "Ana").await);
    ana.accept_nearby(&at_ana.id).unwrap();
    ben.accept_nearby(&at_ben.id).unwrap();
    let (_, known) = done(&ana, &at_ana.id).await;
    let (ana_id, also) = done(&ben, &at_ben.id).await;
    assert!(known && also && ana_id == contact.id);
    assert_eq!(ben.contact_words(contact.id).unwrap(), words);
    assert_eq!(contacts(&ben)[0].trust, Trust::Verified);
    let conversation = ben.conversation(contact.id, &PageQuery::default(), false);
    assert_eq!(conversation.unwrap().posts.items.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn time_ends_it_and_closed_it_answers_nobody() {
    let (ana, ben) = (bench("Ana").await, bench("Ben").await);
    ben.open_nearby(None).await.unwrap();
    ana.open_nearby(Some(1)).await.unwrap();
    let where_ana_was = seen(&ana);
    until(&ana, "the end", |ana| {
        ana.nearby().unwrap().until_ms.is_none().then_some(())
    })
    .await;
    // Who knows where it was gets nothing there.
    let opening = ben.0.nearby.opening().unwrap();
    let dial = lock(&opening.endpoint)
        .as_ref()
        .unwrap()
        .dial(where_ana_was.endpoint, where_ana_was.addrs.clone());
    assert!(dial.await.is_err());
    // Opened again it is somebody else.
    ana.open_nearby(None).await.unwrap();
    assert_ne!(seen(&ana).endpoint, where_ana_was.endpoint);
    see(&ana, &ben);
    let (at_ana, at_ben) = (named(&ana, "Ben").await, named(&ben, "Ana").await);
    ana.accept_nearby(&at_ana.id).unwrap();
    ana.close_nearby().unwrap();
    assert_eq!(ended(&ana, &at_ana.id).await, "you closed it");
    assert_eq!(ended(&ben, &at_ben.id).await, "the connection was lost");
    assert!(ana.accept_nearby(&at_ana.id).is_err());
    ana.close_nearby().unwrap();
    // What was said then counts for nothing now.
    ana.open_nearby(None).await.unwrap();
    assert!(ana.nearby().unwrap().people.is_empty());
    see(&ana, &ben);
    let again = named(&ana, "Ben").await;
    assert!(matches!(
        again.stage,
        NearbyStage::Comparing {
            we_accept: false,
            ..
        }
    ));
    assert_ne!(again.words, at_ana.words);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_gets_few_tries_and_all_together_get_so_many() {
    let ana = bench("Ana").await;
    ana.open_nearby(None).await.unwrap();
    let opening = ana.0.nearby.opening().unwrap();
    let remote = EndpointId([1; 32]);
    assert!(opening.begin(remote));
    assert!(!opening.begin(remote), "one at a time");
    for _ in 1..SESSIONS_PER_REMOTE_MAX {
        opening.ended(remote);
        assert!(opening.begin(remote));
    }
    opening.ended(remote);
    assert!(!opening.begin(remote), "and so often");
    let others = (2..u8::MAX).map(|n| EndpointId([n; 32]));
    let mut begun = others.clone().filter(|other| opening.begin(*other));
    assert_eq!(
        begun.by_ref().count(),
        UNOPENED_MAX - SESSIONS_PER_REMOTE_MAX
    );
    // Who came to words makes room, as long as there is any in the list.
    let mut people = 0;
    for other in others.skip(UNOPENED_MAX) {
        people += usize::from(opening.compare());
        opening.begin(other);
    }
    assert_eq!(people, PEOPLE_MAX);
    assert_eq!(lock(&opening.tally).begun, UNOPENED_MAX + PEOPLE_MAX - 1);
    assert!(!opening.begin(EndpointId([0; 32])));
}

/// A device that was first seen at a link-local address was dialled there and nowhere else.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_seen_at_a_second_address_is_dialled_there() {
    let (ana, ben) = (bench("Ana").await, bench("Ben").await);
    ana.open_nearby(None).await.unwrap();
    ben.open_nearby(None).await.unwrap();
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for (from, to) in [(&ana, &ben), (&ben, &ana)] {
        let opening = from.0.nearby.opening().unwrap();
        let nowhere = Seen {
            endpoint: seen(to).endpoint,
            addrs: vec![silent.local_addr().unwrap()],
        };
        saw(&from.0, &opening, nowhere);
    }
    // The first dial is out.
    let mut first = [0; 1];
    silent.peek(&mut first).unwrap();
    see(&ana, &ben);
    let (at_ana, at_ben) = (named(&ana, "Ben").await, named(&ben, "Ana").await);
    assert_eq!(at_ana.words, at_ben.words);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_needs_local_networks_and_a_fitting_time() {
    let ana = bench("Ana").await;
    for seconds in [0, OPEN_S + 1] {
        let refused = ana.open_nearby(Some(seconds)).await.unwrap_err();
        assert!(matches!(
            refused,
            Error::Invalid {
                field: "seconds",
                ..
            }
        ));
    }
    ana.open_nearby(None).await.unwrap();
    ana.set_lan(false).await.unwrap();
    assert!(
        ana.nearby().unwrap().until_ms.is_none(),
        "it ends with them"
    );
    let refused = ana.open_nearby(None).await.unwrap_err();
    assert!(matches!(refused, Error::Conflict { .. }), "{refused}");
}
