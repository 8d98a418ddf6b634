//! Nodes in a simulated room, with no address by which they could reach each other: one is bound to
//! IPv4's loopback and the other to IPv6's.

use links::bluetooth::sim::{Air, Room};
use tempfile::TempDir;
use tokio::time::timeout;

use super::*;
use crate::{
    Config, Internet, LinkConfig, Node, Radios, StorageConfig,
    view::{AdapterState, Contact, LinkStatus, NearbyStage, PageQuery},
};

/// Nothing here takes longer unless it hangs.
const DEADLINE: Duration = Duration::from_secs(45);

struct Bench {
    _dir: TempDir,
    node: Node,
}

impl std::ops::Deref for Bench {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

/// The node with the radio of this number; odd ones and even ones don't reach each other by IP.
async fn bench(room: &Room, number: u8, name: &str) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let bind = if number.is_multiple_of(2) {
        "127.0.0.1:0"
    } else {
        "[::1]:0"
    };
    let room = room.clone();
    let config = Config {
        data_dir: dir.path().join("data"),
        links: LinkConfig {
            internet: Internet::Off,
            internet_fixed: true,
            lan: Some(false),
            bind: vec![bind.parse().unwrap()],
            radios: Radios::of(move |_| room.radio(number)),
            ..LinkConfig::default()
        },
        storage: StorageConfig::default(),
    };
    let node = Node::start(config).await.unwrap();
    node.set_up(name).await.unwrap();
    Bench { _dir: dir, node }
}

/// Waits for something, asked again at each event and now and then.
async fn until<T>(node: &Node, what: &str, mut look: impl FnMut(&Node) -> Option<T>) -> T {
    let mut events = node.subscribe(None);
    let wait = async {
        loop {
            if let Some(found) = look(node) {
                return found;
            }
            let _ = timeout(Duration::from_millis(100), events.next()).await;
        }
    };
    let waited = timeout(DEADLINE, wait).await;
    waited.unwrap_or_else(|_| {
        panic!(
            "waited for {what}: {:?} {:?}",
            node.links().unwrap(),
            node.nearby().unwrap()
        )
    })
}

async fn accept(node: &Node) {
    let id = until(node, "somebody nearby", |node| {
        let people = node.nearby().unwrap().people;
        let mut comparing = people
            .into_iter()
            .filter(|person| matches!(person.stage, NearbyStage::Comparing { .. }));
        comparing.next().map(|person| person.id)
    })
    .await;
    node.accept_nearby(&id).unwrap();
}

async fn online(node: &Node) -> Contact {
    until(node, "a contact who is connected", |node| {
        let mut online = node.online().unwrap().into_iter();
        online.find(|contact| contact.connected.is_some())
    })
    .await
}

/// Two nodes that became contacts over Bluetooth.
async fn befriended(room: &Room) -> (Bench, Bench) {
    let ana = bench(room, 1, "Ana").await;
    let ben = bench(room, 2, "Ben").await;
    ana.open_nearby(None).await.unwrap();
    ben.open_nearby(None).await.unwrap();
    tokio::join!(accept(&ana), accept(&ben));
    (ana, ben)
}

fn link(node: &Node) -> LinkStatus {
    let mut links = node.links().unwrap().into_iter();
    links.find(|link| link.kind == LinkKind::Bluetooth).unwrap()
}

#[tokio::test]
async fn two_who_meet_over_bluetooth_become_contacts_and_share_a_forum() {
    let room = Room::new(Air::default());
    let (ana, ben) = befriended(&room).await;
    let (at_ana, at_ben) = tokio::join!(online(&ana), online(&ben));
    for contact in [&at_ana, &at_ben] {
        assert_eq!(contact.connected.unwrap().link, LinkKind::Bluetooth);
    }
    let forum = ana.create_forum("Camp", "").await.unwrap();
    ana.offer(forum.id, at_ana.id).await.unwrap();
    let offer = until(&ben, "an offer", |ben| {
        let offers = ben.offers().unwrap();
        offers.into_iter().next()
    })
    .await;
    ben.accept_offer(&offer.id).await.unwrap();
    let thread = ana.create_thread(forum.id, "Water", "At the well.");
    thread.await.unwrap();
    until(&ben, "a thread", |ben| {
        let threads = ben.threads(forum.id, &PageQuery::default()).ok()?;
        (!threads.items.is_empty()).then_some(())
    })
    .await;
    assert_eq!(link(&ben).contacts, 1);
    assert_eq!(link(&ben).bluetooth.unwrap().adapter, AdapterState::Ready);
    ana.shutdown().await;
    ben.shutdown().await;
}
