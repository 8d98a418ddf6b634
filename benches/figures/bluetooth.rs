//! Over a simulated radio of 100 kB/s: a thousand posts, beside a raw transfer of the same bytes over
//! the same air, and one post while both are there. What a real radio carries isn't measured here.
//!
//! Two engines in this process; one is bound to IPv4's loopback and the other to IPv6's, so that
//! nothing but the radio leads from one to the other.

use std::{
    future::poll_fn,
    time::{Duration, Instant},
};

use engine::{
    Config, EntryId, IdentityId, LinkConfig, Node, Radios, SpaceId, StorageConfig,
    view::{LinkKind, NearbyStage, PageQuery},
};
use links::bluetooth::sim::{Air, Room, address};
use tempfile::TempDir;

use crate::{crowd::until, table::Table};

/// Posts of the catch-up, and the bytes of each.
const POSTS: usize = 1_000;
const POST_BYTES: usize = 300;
/// Posts while both are there.
const LIVE: usize = 20;
/// One of them arrives within this.
const LIVE_TARGET: Duration = Duration::from_secs(1);
/// A frame of the raw transfer: about what QUIC sends.
const RAW_FRAME: usize = 1_400;

struct Member {
    node: Node,
    _folder: TempDir,
}

async fn member(room: &Room, number: u8, bind: &str) -> Member {
    let folder = tempfile::tempdir().unwrap();
    let room = room.clone();
    let links = LinkConfig {
        lan: Some(false),
        bind: vec![bind.parse().unwrap()],
        radios: Radios::of(move |_| room.radio(number)),
        ..LinkConfig::default()
    };
    let node = Node::start(Config {
        data_dir: folder.path().join("data"),
        links,
        storage: StorageConfig::default(),
    })
    .await
    .unwrap();
    node.set_up(&format!("Member {number}")).await.unwrap();
    Member {
        node,
        _folder: folder,
    }
}

impl Member {
    async fn says_yes(&self) {
        let id = until("somebody nearby", async || {
            let people = self.node.nearby().unwrap().people;
            let mut comparing = people
                .into_iter()
                .filter(|person| matches!(person.stage, NearbyStage::Comparing { .. }));
            comparing.next().map(|person| person.id)
        })
        .await;
        self.node.accept_nearby(&id).unwrap();
    }

    async fn online(&self) -> IdentityId {
        until("a contact over Bluetooth", async || {
            let online = self.node.online().unwrap().into_iter();
            let mut over = online.filter(|contact| {
                let now = contact.connected.as_ref();
                now.is_some_and(|now| now.link == LinkKind::Bluetooth)
            });
            over.next().map(|contact| contact.id)
        })
        .await
    }

    async fn offline(&self) {
        until("nobody to be there", async || {
            self.node.online().unwrap().is_empty().then_some(())
        })
        .await;
    }

    fn held(&self, space: SpaceId) -> u64 {
        let forums = self.node.forums(&PageQuery::default()).unwrap();
        let forum = forums.items.into_iter().find(|forum| forum.id == space);
        forum.map_or(0, |forum| forum.entries)
    }
}

/// So many bytes over one channel of the same air.
async fn raw(room: &Room, bytes: usize) -> Duration {
    let (from, to) = (room.radio(101), room.radio(102));
    let mut arrivals = to.arrivals().unwrap();
    let out = from.connect(address(102), 0x81).await.unwrap();
    let inn = arrivals.recv().await.unwrap();
    let frame = [7; RAW_FRAME];
    let began = Instant::now();
    let sending = async {
        for _ in 0..bytes.div_ceil(RAW_FRAME) {
            poll_fn(|cx| out.poll_send(cx, &frame)).await.unwrap();
        }
    };
    let receiving = async {
        let (mut came, mut frame) = (0, [0; 2_048]);
        while came < bytes {
            came += poll_fn(|cx| inn.poll_recv(cx, &mut frame)).await.unwrap();
        }
    };
    tokio::join!(sending, receiving);
    began.elapsed()
}

fn text(number: usize) -> String {
    let mut text = format!("Post {number}. ");
    let words = "The stove is lit. It rained at noon. ".chars().cycle();
    text.extend(words.take(POST_BYTES - text.len()));
    text
}

async fn measure(table: &mut Table) {
    let room = Room::new(Air::default());
    let ana = member(&room, 1, "[::1]:0").await;
    let ben = member(&room, 2, "127.0.0.1:0").await;
    ana.node.open_nearby(None).await.unwrap();
    ben.node.open_nearby(None).await.unwrap();
    tokio::join!(ana.says_yes(), ben.says_yes());
    let (at_ana, _) = tokio::join!(ana.online(), ben.online());
    ana.node.close_nearby().unwrap();
    ben.node.close_nearby().unwrap();
    let forum = ana.node.create_forum("Camp", "").await.unwrap();
    let thread = ana.node.create_thread(forum.id, "Log", "It begins.");
    let topic: EntryId = thread.await.unwrap().topic.id;
    ana.node.offer(forum.id, at_ana).await.unwrap();
    let offer = until("an offer", async || {
        let mut offers = ben.node.offers().unwrap().into_iter();
        offers.next().map(|offer| offer.id)
    })
    .await;
    ben.node.accept_offer(&offer).await.unwrap();
    until("the thread", async || {
        ben.node.topic(topic, &PageQuery::default()).ok()
    })
    .await;

    let mut took = Vec::new();
    for number in 0..LIVE {
        let before = ben.held(forum.id);
        let began = Instant::now();
        ana.node.reply(topic, &text(number), None).await.unwrap();
        until("a post", async || {
            (ben.held(forum.id) > before).then_some(())
        })
        .await;
        took.push(began.elapsed());
    }
    took.sort();
    let (median, worst) = (took[LIVE / 2], took[LIVE - 1]);
    table.figure(
        "over a simulated radio of 100 kB/s: a post while both are there",
        format!("median {median:.0?}, at most {worst:.0?} of {LIVE}"),
        "< 1 s",
        worst < LIVE_TARGET,
    );

    room.part(1, 2, true);
    tokio::join!(ana.offline(), ben.offline());
    for number in 0..POSTS {
        ana.node.reply(topic, &text(number), None).await.unwrap();
    }
    let wanted = ana.held(forum.id);
    let floor = raw(&room, POSTS * POST_BYTES).await;
    room.part(1, 2, false);
    ben.online().await;
    let began = Instant::now();
    until("all posts", async || {
        (ben.held(forum.id) >= wanted).then_some(())
    })
    .await;
    let took = began.elapsed();
    table.known(
        &format!("the same: {POSTS} posts of {POST_BYTES} bytes, from the first word on"),
        format!(
            "{:.2} s; the bytes alone take {:.2} s, a ratio of {:.2}",
            took.as_secs_f64(),
            floor.as_secs_f64(),
            took.as_secs_f64() / floor.as_secs_f64()
        ),
    );
    ana.node.shutdown().await;
    ben.node.shutdown().await;
}

pub(crate) fn run(table: &mut Table) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(measure(table));
}
