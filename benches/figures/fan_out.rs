//! How a post spreads among many nodes of whom each knows only a few.
//!
//! The contacts make a tree whose root is four meetings away from the farthest, so nobody but the
//! root's contacts gets a post from its author. All nodes and their readers share this machine's
//! processors, so the time grows with their number where on machines of their own it would not.

use std::time::{Duration, Instant};

use engine::{EntryId, EventKind, Subscription};

use crate::{
    args::Args,
    crowd::{Crowd, until},
    process::loopback,
    table::{Table, Times, count, ms},
};

/// Nodes at each distance from the root for every 50 nodes in all.
const LEVELS: [usize; 5] = [1, 3, 8, 15, 23];
/// Between two posts, so that none is in another's way.
const PAUSE: Duration = Duration::from_millis(300);
/// A post that didn't arrive by then never does.
const WITHIN: Duration = Duration::from_secs(30);
const TARGET: Duration = Duration::from_secs(1);

pub(crate) fn run(args: &Args, table: &mut Table) {
    for nodes in [args.nodes.div_ceil(5), args.nodes] {
        spread(nodes, args.fan_posts, table);
    }
}

/// Who introduced each node, and how far it is from the root.
fn tree(nodes: usize) -> Vec<(usize, usize)> {
    let all: usize = LEVELS.iter().sum();
    let mut tree = vec![(0, 0)];
    let mut above = 0..1;
    for (level, of_all) in LEVELS.iter().enumerate().skip(1) {
        let first = tree.len();
        let wanted = (of_all * nodes).div_ceil(all).min(nodes - first);
        tree.extend((0..wanted).map(|at| (above.start + at % above.len(), level)));
        above = first..tree.len();
    }
    tree
}

fn spread(nodes: usize, posts: usize, table: &mut Table) {
    let tree = tree(nodes);
    let crowd = Crowd::new(tree.len());
    let members = &crowd.members;
    let (forum, topic) = crowd.runtime.block_on(async {
        let forum = members[0].node.create_forum("Crossroads", "").await;
        let forum = forum.unwrap().id;
        let thread = members[0].node.create_thread(forum, "News", "It begins.");
        (forum, thread.await.unwrap().topic.id)
    });
    for (at, (from, _)) in tree.iter().enumerate().skip(1) {
        crowd.befriend(*from, at);
        crowd.hand_on(*from, at, forum);
        crowd.runtime.block_on(until("the thread", async || {
            members[at].node.entry(topic).ok()
        }));
    }
    let before: Vec<u64> = members.iter().map(|member| member.traffic()).collect();
    let loopback_before = loopback();
    let mut by_level = vec![Vec::new(); LEVELS.len()];
    let mut whole = Vec::new();
    for number in 0..posts {
        let readers: Vec<_> = members.iter().map(|m| m.node.subscribe(None)).collect();
        let took = crowd.runtime.block_on(async {
            tokio::time::sleep(PAUSE).await;
            let text = format!("Post {number} of {posts}.");
            let written = members[0].node.reply(topic, &text, None).await.unwrap();
            let began = Instant::now();
            let arrivals: Vec<_> = readers
                .into_iter()
                .skip(1)
                .map(|reader| tokio::spawn(arrival(reader, written.id)))
                .collect();
            let mut took = Vec::new();
            for arrival in arrivals {
                took.push(arrival.await.unwrap().saturating_duration_since(began));
            }
            took
        });
        for (took, (_, level)) in took.iter().zip(&tree[1..]) {
            by_level[*level].push(*took);
        }
        whole.extend(took.into_iter().max());
    }
    let bytes: Vec<u64> = (members.iter().zip(before))
        .map(|(member, before)| (member.traffic() - before) / posts as u64)
        .collect();
    let shared = (loopback() - loopback_before) / (tree.len() * posts) as u64;
    let whole = Times::of(whole);
    let levels: Vec<_> = (by_level.into_iter().filter(|times| !times.is_empty()))
        .map(|times| ms(Times::of(times).median()))
        .collect();
    let hops = levels.len();
    table.figure(
        &format!(
            "a post reaches all of {} nodes over {hops} hops",
            tree.len()
        ),
        format!("{whole}; median by distance {}", levels.join(", ")),
        "median < 1 s",
        whole.median() < TARGET,
    );
    let mean = bytes.iter().sum::<u64>() / bytes.len() as u64;
    let most = bytes.iter().max().copied().unwrap_or_default();
    table.known(
        &format!("the same: bytes a node and post, {} nodes", tree.len()),
        format!(
            "sessions {} in the mean, {} at most, sent and received; over loopback {} with gossip, QUIC and keep-alives",
            count(mean),
            count(most),
            count(shared)
        ),
    );
    crowd.end();
}

/// When a reader was told of an entry.
async fn arrival(mut reader: Subscription, id: EntryId) -> Instant {
    let id = id.to_string();
    let told = async {
        loop {
            let event = reader.next().await.expect("the node runs");
            if event.kind == EventKind::Entry && event.subject.as_deref() == Some(&id) {
                return Instant::now();
            }
        }
    };
    let told = tokio::time::timeout(WITHIN, told).await;
    told.expect("the post arrives")
}
