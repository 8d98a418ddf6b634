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
    let radio = room.clone();
    bench_with(number, name, Radios::of(move |_| radio.radio(number))).await
}

async fn bench_with(number: u8, name: &str, radios: Radios) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let bind = if number.is_multiple_of(2) {
        "127.0.0.1:0"
    } else {
        "[::1]:0"
    };
    let config = Config {
        data_dir: dir.path().join("data"),
        links: LinkConfig {
            internet: Internet::Off,
            internet_fixed: true,
            lan: Some(false),
            bind: vec![bind.parse().unwrap()],
            radios,
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
    befriend(&ana, &ben).await;
    (ana, ben)
}

async fn befriend(ana: &Node, ben: &Node) {
    ana.open_nearby(None).await.unwrap();
    ben.open_nearby(None).await.unwrap();
    tokio::join!(accept(ana), accept(ben));
    tokio::join!(online(ana), online(ben));
    ana.close_nearby().unwrap();
    ben.close_nearby().unwrap();
}

/// Whoever is there, of whom there must never be two.
fn the_only_one(node: &Node) -> Option<crate::view::NearbyPerson> {
    let mut people = node.nearby().unwrap().people;
    assert!(people.len() <= 1, "{people:?}");
    people.pop()
}

async fn offline(node: &Node) {
    until(node, "nobody to be connected", |node| {
        node.online().unwrap().is_empty().then_some(())
    })
    .await;
}

/// Waits until a contact is met over a link, and says how long that took.
async fn over(node: &Node, link: LinkKind) -> Duration {
    let began = Instant::now();
    until(node, &format!("a meeting over {link:?}"), |node| {
        let online = node.online().unwrap();
        let mut links = online.iter().filter_map(|contact| contact.connected);
        links.any(|now| now.link == link).then_some(())
    })
    .await;
    began.elapsed()
}

/// Carries datagrams between the two kinds of loopback until it is dropped: the one network that the
/// nodes have in common, which can be cut.
struct Cable {
    addr: std::net::SocketAddr,
    _carrying: tokio::task::JoinSet<()>,
}

impl Cable {
    /// To a node that is bound to IPv4's loopback, for one that is bound to IPv6's.
    async fn new(to: std::net::SocketAddr) -> Self {
        let six = Arc::new(tokio::net::UdpSocket::bind("[::1]:0").await.unwrap());
        let four = Arc::new(tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap());
        four.connect(to).await.unwrap();
        let addr = six.local_addr().unwrap();
        let caller = Arc::new(Mutex::new(None));
        let mut carrying = tokio::task::JoinSet::new();
        let (into, out, known) = (six.clone(), four.clone(), caller.clone());
        carrying.spawn(async move {
            let mut bytes = [0; 2_048];
            while let Ok((read, from)) = into.recv_from(&mut bytes).await {
                *known.lock().unwrap() = Some(from);
                let _ = out.send(&bytes[..read]).await;
            }
        });
        carrying.spawn(async move {
            let mut bytes = [0; 2_048];
            while let Ok(read) = four.recv(&mut bytes).await {
                let to = *caller.lock().unwrap();
                if let Some(to) = to {
                    let _ = six.send_to(&bytes[..read], to).await;
                }
            }
        });
        Self {
            addr,
            _carrying: carrying,
        }
    }
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

#[tokio::test]
async fn who_goes_out_of_range_is_met_again_when_they_come_back() {
    let room = Room::new(Air::default());
    let (ana, ben) = befriended(&room).await;
    room.part(1, 2, true);
    tokio::join!(offline(&ana), offline(&ben));
    let last = until(&ana, "the meeting to be noted", |ana| {
        let met = ana.meetings(None, &PageQuery::default()).unwrap();
        met.items.into_iter().next()
    })
    .await;
    assert_eq!(last.links, [LinkKind::Bluetooth]);
    assert_eq!(last.end, crate::view::MeetingEnd::Lost);
    ben.send_message(contact_of(&ben), "Are you still there?", None)
        .await
        .unwrap();
    room.part(1, 2, false);
    over(&ana, LinkKind::Bluetooth).await;
    until(&ana, "the message", |ana| {
        let page = PageQuery::default();
        let messages = ana.conversation(contact_of(ana), &page, false).ok()?;
        (!messages.posts.items.is_empty()).then_some(())
    })
    .await;
}

fn contact_of(node: &Node) -> IdentityId {
    let contacts = node.contacts(&PageQuery::default()).unwrap();
    contacts.items.first().unwrap().id
}

#[tokio::test]
async fn who_is_removed_is_cut_and_refused_from_then_on() {
    let room = Room::new(Air::default());
    let (ana, ben) = befriended(&room).await;
    until(&ben, "Ana to be in range", |ben| {
        (ben.0.bluetooth.near() == 1).then_some(())
    })
    .await;
    ana.remove_contact(contact_of(&ana)).await.unwrap();
    let cut = Instant::now();
    offline(&ben).await;
    assert!(
        cut.elapsed() < Duration::from_secs(3),
        "{:?}",
        cut.elapsed()
    );
    assert_eq!(ana.0.bluetooth.hub().connected().borrow().to_owned(), 0);
    // Ben knows where Ana was a moment ago, and is no contact there.
    until(&ana, "a refusal", |ana| {
        (ana.0.bluetooth.hub().counts().strangers > 0).then_some(())
    })
    .await;
    assert!(ana.online().unwrap().is_empty());
}

/// IP goes first, also where the other one is in radio range; when it dies the radio takes over.
#[tokio::test]
async fn bluetooth_is_used_where_ip_ends_and_only_there() {
    let room = Room::new(Air::default());
    let (ana, ben) = befriended(&room).await;
    room.part(1, 2, true);
    tokio::join!(offline(&ana), offline(&ben));
    let bound = ben.0.links().unwrap().bound();
    let cable = Cable::new(bound[0]).await;
    let there = format!("{}", cable.addr);
    ana.find_contact_at(contact_of(&ana), &there).await.unwrap();
    over(&ana, LinkKind::Loopback).await;
    let opened = room.connected_by(1) + room.connected_by(2);
    room.part(1, 2, false);
    until(&ana, "Ben to be in range", |ana| {
        (ana.0.bluetooth.near() == 1).then_some(())
    })
    .await;
    until(&ben, "Ana to be in range", |ben| {
        (ben.0.bluetooth.near() == 1).then_some(())
    })
    .await;
    // Longer than either side would wait to open a channel.
    tokio::time::sleep(YIELD + Duration::from_secs(1)).await;
    assert_eq!(room.connected_by(1) + room.connected_by(2), opened);
    over(&ben, LinkKind::Loopback).await;

    drop(cable);
    let took = over(&ana, LinkKind::Bluetooth).await;
    assert!(took < silence::SILENT + Duration::from_secs(5), "{took:?}");
    until(&ana, "the meeting to be noted", |ana| {
        let met = ana.meetings(None, &PageQuery::default()).unwrap();
        let last = met.items.into_iter().next()?;
        (last.links == [LinkKind::Loopback]).then_some(())
    })
    .await;
}

/// Another adapter is chosen while the node runs: the old one falls silent, and who is there is met
/// over the new one.
#[tokio::test]
async fn another_adapter_takes_over_while_the_node_runs() {
    let room = Room::new(Air::default());
    let radio = room.clone();
    let radios = Radios::of(move |chosen| radio.radio(if chosen.is_some() { 3 } else { 1 }));
    let ana = bench_with(1, "Ana", radios).await;
    let ben = bench(&room, 2, "Ben").await;
    befriend(&ana, &ben).await;
    // The first doesn't reach him any more, the second does.
    room.part(1, 2, true);
    tokio::join!(offline(&ana), offline(&ben));
    ana.set_bluetooth_adapter("hci1").await.unwrap();
    let before = room.connected_by(1);
    tokio::join!(online(&ana), online(&ben));
    assert_eq!(
        link(&ana).bluetooth.unwrap().chosen.as_deref(),
        Some("hci1")
    );
    assert_eq!(room.connected_by(1), before);
    // And back, as the node chooses.
    room.part(2, 3, true);
    room.part(1, 2, false);
    tokio::join!(offline(&ana), offline(&ben));
    ana.set_bluetooth_adapter("").await.unwrap();
    tokio::join!(online(&ana), online(&ben));
    assert_eq!(link(&ana).bluetooth.unwrap().chosen, None);
}

#[tokio::test]
async fn strange_announcements_and_forged_tags_cost_little_and_lead_nowhere() {
    let room = Room::new(Air::default());
    let (ana, ben) = befriended(&room).await;
    until(&ana, "Ben to be in range", |ana| {
        (ana.0.bluetooth.near() == 1).then_some(())
    })
    .await;
    let before = room.connected_by(1);
    let mut watch = Watch::new(ana.0.clone());
    let port = Port::new(0x81).unwrap();
    for n in 0..1_000_u32 {
        let key = BeaconKey([7; 32]);
        let tagged = Tagged::new(&key, port, n.to_be_bytes());
        let from = links::bluetooth::sim::address(99);
        let bytes = Announcement::Device(tagged).encode();
        watch.consider(Heard { from, bytes });
        // Bytes that nobody made.
        let [a, b, c, d] = n.to_be_bytes();
        let bytes = [0x80 | d, a, b, c, d, d, c, b, a, 9];
        watch.consider(Heard { from, bytes });
        // Somebody who wants to meet, while nobody here does.
        let bytes = [d & 0x7f, a, b, c, d, d, c, b, a, 9];
        watch.consider(Heard { from, bytes });
    }
    let seen = ana.0.bluetooth.lock().seen.len();
    assert_eq!(seen, 1, "Ben, and nobody else");
    let strangers = ana.0.bluetooth.strangers();
    assert!((1..=200).contains(&strangers), "{strangers} were examined");
    assert_eq!(room.connected_by(1), before);
    // The meeting didn't notice.
    assert_eq!(
        online(&ben).await.connected.unwrap().link,
        LinkKind::Bluetooth
    );
}

/// A replayed announcement leads to somebody who can't prove who they are: they learn nothing, and
/// are called with growing pauses.
#[tokio::test]
async fn a_replayed_announcement_leads_to_a_channel_and_no_further() {
    let room = Room::new(Air::default());
    let (ana, ben) = befriended(&room).await;
    let replayed = until(&ben, "an announcement", |_| {
        let bytes = room.announced_by(2)?;
        matches!(Announcement::decode(&bytes), Announcement::Device(_)).then_some(bytes)
    })
    .await;
    ben.shutdown().await;
    offline(&ana).await;
    let mallory = room.radio(66);
    let mut arrivals = mallory.arrivals().unwrap();
    mallory.announce(Some(replayed));
    let channel = timeout(DEADLINE, arrivals.recv()).await.unwrap().unwrap();
    let (_, challenge) = proto::bluetooth::Acceptor::new([1; 16]);
    let sent = std::future::poll_fn(|cx| channel.poll_send(cx, &challenge));
    sent.await.unwrap();
    let mut frame = vec![0; 2_048];
    let read = std::future::poll_fn(|cx| channel.poll_recv(cx, &mut frame));
    assert_eq!(read.await.unwrap(), 33, "a proof that only Ben could read");
    let sent = std::future::poll_fn(|cx| channel.poll_send(cx, &[4; 17]));
    sent.await.unwrap();
    let read = std::future::poll_fn(|cx| channel.poll_recv(cx, &mut frame));
    assert_eq!(read.await.unwrap(), 0, "closed, and nothing of QUIC");
    until(&ana, "it to be counted", |ana| {
        (ana.0.bluetooth.hub().counts().strangers > 0).then_some(())
    })
    .await;
}

/// Somebody who is in range and never answers, or is called by hand only, costs less and less.
#[tokio::test(start_paused = true)]
async fn who_is_in_range_and_does_not_answer_is_called_with_growing_pauses() {
    let bluetooth = Bluetooth::default();
    let (own, endpoint) = (EndpointId([1; 32]), EndpointId([2; 32]));
    let device = (IdentityId([9; 32]), endpoint);
    let at = links::bluetooth::sim::address(2);
    let mut called = Vec::new();
    for second in 0..600 {
        bluetooth.note(own, device, at, Port::new(0x81).unwrap());
        if !bluetooth.due(|_| false).is_empty() {
            called.push(second);
        }
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert_eq!(called, [0, 3, 7, 15, 31, 63, 127, 247, 367, 487]);
    // Met meanwhile: it begins anew.
    assert!(bluetooth.due(|_| true).is_empty());
    assert_eq!(bluetooth.due(|_| false), [device]);
    // The one with the higher endpoint leaves it to the other for a while.
    let bluetooth = Bluetooth::default();
    bluetooth.note(EndpointId([3; 32]), device, at, Port::new(0x81).unwrap());
    assert!(!bluetooth.may_dial(endpoint) && bluetooth.due(|_| false).is_empty());
    tokio::time::advance(YIELD).await;
    assert!(bluetooth.may_dial(endpoint));
}

/// Somebody who is seen on the local network and heard over Bluetooth is one person, whichever came
/// first, with one set of words, and becomes one contact.
#[tokio::test]
async fn a_person_who_is_there_over_both_links_stands_once() {
    for lan_first in [false, true] {
        let room = Room::new(Air::default());
        // Both on IPv4's loopback: here IP leads to the other too.
        let (ana, ben) = (bench(&room, 2, "Ana").await, bench(&room, 4, "Ben").await);
        room.part(2, 4, lan_first);
        ana.open_nearby(None).await.unwrap();
        ben.open_nearby(None).await.unwrap();
        if lan_first {
            nearby::tests::see(&ana, &ben);
        }
        let words = |node: &Node| the_only_one(node).map(|person| (person.id, person.words));
        let first = until(&ana, "Ben", |ana| {
            words(ana).filter(|_| words(&ben).is_some())
        })
        .await;
        assert_eq!(first.1, words(&ben).unwrap().1);
        // The other link shows up too.
        let before = room.connected_by(2) + room.connected_by(4);
        if lan_first {
            room.part(2, 4, false);
            until(&ana, "a channel", |_| {
                (room.connected_by(2) + room.connected_by(4) > before).then_some(())
            })
            .await;
        } else {
            nearby::tests::see(&ana, &ben);
        }
        assert_eq!(words(&ana), Some(first.clone()));
        for node in [&ana, &ben] {
            node.accept_nearby(&the_only_one(node).unwrap().id).unwrap();
        }
        for node in [&ana, &ben] {
            until(node, "a contact", |node| {
                assert_eq!(words(node).map(|known| known.1), Some(first.1));
                matches!(the_only_one(node)?.stage, NearbyStage::Done { .. }).then_some(())
            })
            .await;
            assert_eq!(node.contacts(&PageQuery::default()).unwrap().items.len(), 1);
        }
    }
}
