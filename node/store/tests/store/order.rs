//! Whatever order entries, forks, revocations, retracts and edits come in, nodes end equal, and
//! what was cut off leaves no trace.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proto::{
    DeviceId, EntryId, Millis, SpaceId,
    body::Body,
    merkle::Prefix,
    space::SpaceKind,
    verify::{Comparison, Outcome, Reject, verify_run},
};
use store::{ImportError, Store, Txn};

use crate::support::{
    Device, Place, T0, edit, findings, post, react, reply, revocation, runs, thread, write,
};

/// What some node has to say at some time.
#[derive(Debug, Clone)]
enum Message {
    Run(DeviceId, Vec<u8>),
    Revocation(DeviceId, Vec<u8>),
}

/// Everything that people wrote, and their own nodes.
struct History {
    forum: Place,
    /// The twin of the last one has the same key and went its own way.
    writers: Vec<(Device, Store)>,
    singles: Vec<Message>,
    /// Runs that end, signed, at a last good entry of a feed that also forked.
    to_last_good: Vec<Message>,
    bodies: BTreeSet<(DeviceId, u64, Vec<u8>)>,
}

#[derive(Debug, Clone)]
struct Op {
    writer: usize,
    what: u8,
    pick: usize,
    other: usize,
}

fn op() -> impl Strategy<Value = Op> {
    (0..5_usize, 0..20_u8, any::<usize>(), any::<usize>()).prop_map(
        |(writer, what, pick, other)| Op {
            writer,
            what,
            pick,
            other,
        },
    )
}

/// Writers: two devices of one person, two more people, and a twin of the last one's device.
const BEN: usize = 3;
const TWIN: usize = 4;

struct Pen {
    history: History,
    at: u64,
    posts: Vec<EntryId>,
    roots: Vec<EntryId>,
    own: BTreeMap<u8, Vec<EntryId>>,
    /// Until then the twin writes what the original does.
    forked: bool,
}

const PERSON: [u8; 5] = [1, 1, 2, 3, 3];

impl Pen {
    fn new() -> Self {
        let devices = [
            Device::new(1, 0),
            Device::new(1, 1),
            Device::new(2, 0),
            Device::new(3, 0),
            Device::new(3, 0),
        ];
        let people: Vec<&Device> = devices.iter().collect();
        let forum = Place::new(SpaceKind::Forum, "Camp", &people);
        let writers = devices
            .into_iter()
            .map(|device| (device, forum.node()))
            .collect();
        let history = History {
            forum,
            writers,
            singles: Vec::new(),
            to_last_good: Vec::new(),
            bodies: BTreeSet::new(),
        };
        Self {
            history,
            at: T0,
            posts: Vec::new(),
            roots: Vec::new(),
            own: BTreeMap::new(),
            forked: false,
        }
    }

    fn write(&mut self, writer: usize, body: &Body<'_>) -> EntryId {
        self.at += 1_000;
        let twins: &[usize] = match writer {
            BEN | TWIN if !self.forked => &[BEN, TWIN],
            _ => &[writer],
        };
        let mut id = None;
        for (n, writer) in twins.iter().enumerate() {
            let (device, store) = &self.history.writers[*writer];
            let appended = post(store, &self.history.forum, device, self.at, body);
            id = Some(appended.id);
            if n > 0 {
                continue;
            }
            let snapshot = store.read().unwrap();
            let space = self.history.forum.id();
            for entry in &appended.entries {
                let run = snapshot.run(space, device.id(), entry.seq, 1, 1).unwrap();
                let run = run.unwrap().bytes;
                self.history.singles.push(Message::Run(device.id(), run));
                if let Some(body) = snapshot.body(space, device.id(), entry.seq).unwrap() {
                    let row = (device.id(), entry.seq, body);
                    self.history.bodies.insert(row);
                }
            }
        }
        id.unwrap()
    }

    fn step(&mut self, op: &Op) {
        let person = PERSON[op.writer];
        let own = self.own.get(&person).cloned().unwrap_or_default();
        let pick = |from: &[EntryId], at: usize| (!from.is_empty()).then(|| from[at % from.len()]);
        let text = format!("words {}", self.at);
        match op.what {
            0..=1 => {
                let id = self.write(op.writer, &thread(&format!("title {}", self.at), &text));
                self.roots.push(id);
                self.posts.push(id);
                self.own.entry(person).or_default().push(id);
            }
            2..=8 => {
                let Some(root) = pick(&self.roots, op.pick) else {
                    return;
                };
                let parent = pick(&self.posts, op.other).filter(|_| op.what > 4);
                let id = self.write(op.writer, &reply(root, &text, parent));
                self.posts.push(id);
                self.own.entry(person).or_default().push(id);
            }
            9..=11 => {
                // Sometimes somebody else's entry, which must have no effect.
                let from = if op.what == 11 { &self.posts } else { &own };
                let Some(target) = pick(from, op.pick) else {
                    return;
                };
                let id = self.write(op.writer, &edit(target, &format!("edited {}", self.at)));
                self.own.entry(person).or_default().push(id);
            }
            12..=14 => {
                let from = if op.what == 14 { &self.posts } else { &own };
                let Some(target) = pick(from, op.pick) else {
                    return;
                };
                self.write(op.writer, &Body::Retract { target });
            }
            15..=16 => {
                let Some(target) = pick(&self.posts, op.pick) else {
                    return;
                };
                let emoji = ["+1", "-1"][op.other % 2];
                let id = self.write(
                    op.writer,
                    &react(target, emoji, !op.other.is_multiple_of(3)),
                );
                self.own.entry(person).or_default().push(id);
            }
            17 => {
                let name = format!("name {}", self.at);
                self.write(op.writer, &Body::Profile { name: &name });
            }
            18 => self.forked = true,
            _ => self.revoke(op),
        }
    }

    fn revoke(&mut self, op: &Op) {
        let (owner, store) = &self.history.writers[op.other % 5];
        let device = owner.id();
        let space = self.history.forum.id();
        let held = store.read().unwrap().frontier(space, device).unwrap();
        let Some(base) = held.map(|held| held.base).filter(|base| *base > 0) else {
            return;
        };
        // Which branch a revocation keeps is seen from an entry that is signed: of a feed that
        // forked, the last good one is the newest of its branch.
        let forked = self.forked && device == self.history.writers[BEN].0.id();
        let seq = if forked {
            base - 1
        } else {
            op.pick as u64 % base
        };
        let id = id_at(store, space, device, seq);
        let body = revocation(owner, space, device, seq, id);
        if forked {
            let signed = runs(store, space, device).into_iter();
            let signed = signed.map(|run| Message::Run(device, run));
            self.history.to_last_good.extend(signed);
        }
        self.history
            .singles
            .push(Message::Revocation(device, body.encode()));
        // A device's own feed can't carry its own end: there it is a statement without an entry.
        if self.history.writers[op.writer].0.id() != device {
            self.write(op.writer, &body);
        }
    }
}

fn id_at(store: &Store, space: SpaceId, device: DeviceId, seq: u64) -> EntryId {
    let snapshot = store.read().unwrap();
    let mut from = 0;
    while let Some(served) = snapshot.run(space, device, from, 1, 1).unwrap() {
        let run = proto::run::Run::decode(&served.bytes).unwrap();
        for (id, header) in run.headers(space, device) {
            if header.seq == seq {
                return id;
            }
        }
        from = served.end;
    }
    panic!("entry {seq} isn't held");
}

fn history(ops: &[Op]) -> History {
    let mut pen = Pen::new();
    pen.write(0, &thread("first", "words"));
    pen.roots.push(pen_root(&pen));
    for op in ops {
        pen.step(op);
    }
    // In the end the writers' own nodes know of revocations too, and serve what these leave.
    let space = pen.history.forum.id();
    for (_, store) in &pen.history.writers {
        let singles = pen.history.singles.clone();
        write(store, move |txn| {
            for message in &singles {
                if let Message::Revocation(..) = message {
                    deliver(txn, space, message, T0, Import::EachAlone);
                }
            }
            Ok(())
        })
        .unwrap();
    }
    pen.history
}

fn pen_root(pen: &Pen) -> EntryId {
    let (device, store) = &pen.history.writers[0];
    id_at(store, pen.history.forum.id(), device.id(), 1)
}

/// How runs that come one after the other are imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Import {
    EachAlone,
    /// As a meeting's batch is: the topics that they change are written once.
    Together,
}

fn deliver(txn: &mut Txn<'_>, space: SpaceId, message: &Message, now: u64, how: Import) {
    match message {
        Message::Revocation(device, body) => {
            txn.settle().unwrap();
            match txn.import_revocation(space, *device, body) {
                // Without the entry that carries it, it is believed of a known feed only.
                Ok(_) | Err(ImportError::Reject(Reject::EndOfUnknownFeed)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        Message::Run(device, run) => {
            // After a fork a meeting asks again from where the feed was cut.
            if take(txn, space, *device, run, now, how) {
                take(txn, space, *device, run, now, how);
            }
        }
    }
}

/// True where the run showed a fork.
fn take(
    txn: &mut Txn<'_>,
    space: SpaceId,
    device: DeviceId,
    run: &[u8],
    now: u64,
    how: Import,
) -> bool {
    let context = txn.context(space).unwrap().unwrap();
    let facts = txn.facts(space, device).unwrap();
    match verify_run(&context, &facts, run.to_vec()) {
        Ok(Outcome::Continues(run)) => {
            if how == Import::Together {
                txn.hold_topics();
            }
            txn.import(space, run, Millis(now)).unwrap();
            false
        }
        Ok(Outcome::Overlaps(overlap)) => {
            txn.settle().unwrap();
            let comparison = txn.compare(space, &overlap).unwrap();
            let Comparison::Fork { seq, .. } = comparison else {
                return false;
            };
            let held = txn.frontier(space, device).unwrap().unwrap();
            assert!(held.revoked.is_some() || held.base <= seq);
            true
        }
        Ok(Outcome::ContinuesTail(_)) | Err(_) => false,
    }
}

/// Tells a node everything, singles in the given order first.
fn learn(history: &History, seed: u64, how: Import) -> Store {
    let node = history.forum.node();
    let space = history.forum.id();
    let mut messages = history.singles.clone();
    // Seed 0 keeps the order in which they were written.
    messages.sort_by_cached_key(|message| match message {
        _ if seed == 0 => [0; 32],
        Message::Run(_, bytes) | Message::Revocation(_, bytes) => {
            let mut hasher = blake3::Hasher::new();
            hasher.update(&seed.to_be_bytes()).update(bytes);
            *hasher.finalize().as_bytes()
        }
    });
    let archive: Vec<Message> = history
        .writers
        .iter()
        .flat_map(|(device, store)| {
            runs(store, space, device.id())
                .into_iter()
                .map(|run| Message::Run(device.id(), run))
        })
        .collect();
    let archive: Vec<Message> = archive
        .into_iter()
        .chain(history.to_last_good.iter().cloned())
        .collect();
    let bodies = history.bodies.clone();
    write(&node, move |txn| {
        let mut now = T0 + 1_000_000;
        for message in &messages {
            now += 1;
            deliver(txn, space, message, now, how);
        }
        loop {
            let before = txn.digest(space)?;
            for message in archive.iter().chain(&messages) {
                deliver(txn, space, message, now, how);
            }
            txn.settle()?;
            for (device, seq, body) in &bodies {
                let _ = txn.fill(space, *device, *seq, body, Millis(now));
            }
            if txn.digest(space)? == before {
                return Ok(());
            }
        }
    })
    .unwrap();
    node
}

#[derive(Debug, PartialEq, Eq)]
struct Shown {
    text: String,
    title: Option<String>,
    topic: EntryId,
    parent: Option<EntryId>,
    edited: Option<Millis>,
    reactions: Vec<store::Reaction>,
    versions: usize,
}

/// What a node shows, without what depends on how it came: order, marks, and what is left of
/// retracted entries whose text it may never have had.
fn shown(node: &Store, space: SpaceId) -> BTreeMap<EntryId, Shown> {
    let snapshot = node.read().unwrap();
    let mut all = BTreeMap::new();
    let (mut items, mut unread) = (0, 0);
    let topics = snapshot.topics(space, None, 1_000).unwrap().items;
    for topic in &topics {
        let page = snapshot.items(topic.number, None, 1_000).unwrap();
        assert_eq!(page.items.len() as u64, topic.items);
        let of_topic = page.items.iter().filter(|item| item.unread).count() as u64;
        assert_eq!(topic.unread, of_topic);
        items += topic.items;
        unread += topic.unread;
        let newest = page.items.iter().map(|item| item.received).max();
        assert!(newest.is_none_or(|newest| topic.last_activity <= newest));
        for item in page.items {
            assert_eq!(snapshot.item(item.id).unwrap().as_ref(), Some(&item));
            assert!(!item.missing, "{item:?}");
            if item.retracted {
                assert!(item.text.is_empty() && item.title.is_none());
                continue;
            }
            let row = Shown {
                text: item.text,
                title: item.title,
                topic: item.topic,
                parent: item.parent,
                edited: item.edited,
                reactions: item.reactions,
                versions: snapshot.versions(item.id).unwrap().len(),
            };
            assert!(all.insert(item.id, row).is_none());
        }
    }
    let counts = snapshot.space(space).unwrap().unwrap().counts;
    assert_eq!(
        (counts.topics, counts.items, counts.unread),
        (topics.len() as u64, items, unread)
    );
    let frontiers = snapshot
        .frontiers(space, &Prefix::root(), None, 1_000)
        .unwrap();
    assert_eq!(counts.feeds, frontiers.len() as u64);
    let entries: u64 = frontiers.iter().map(|frontier| frontier.base).sum();
    assert_eq!(counts.entries, entries);
    all
}

fn people(node: &Store, space: SpaceId) -> impl PartialEq + std::fmt::Debug {
    let snapshot = node.read().unwrap();
    let members = snapshot.members(space).unwrap();
    let names: Vec<_> = members
        .iter()
        .map(|member| snapshot.name(member.identity).unwrap())
        .collect();
    (members, names)
}

fn frontiers(node: &Store, space: SpaceId) -> Vec<proto::frontier::Frontier> {
    let snapshot = node.read().unwrap();
    snapshot
        .frontiers(space, &Prefix::root(), None, 1_000)
        .unwrap()
}

/// A node that takes over what another has come to hold, and nothing that was cut off.
fn heir(history: &History, node: &Store) -> Store {
    let space = history.forum.id();
    let heir = history.forum.node();
    for _ in 0..3 {
        crate::support::pull(&heir, node, space, T0 + 2_000_000);
    }
    heir
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 400, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn any_order_ends_equal(ops in proptest::collection::vec(op(), 1..45), one: u64, other in 0..3_u64) {
        let history = history(&ops);
        let space = history.forum.id();
        let (a, b) = (
            learn(&history, one, Import::Together),
            learn(&history, other, Import::EachAlone),
        );
        prop_assert_eq!(frontiers(&a, space), frontiers(&b, space));
        let shown_a = shown(&a, space);
        prop_assert_eq!(&shown_a, &shown(&b, space));
        prop_assert_eq!(people(&a, space), people(&b, space));
        let digest = a.read().unwrap().digest(space).unwrap();
        prop_assert_eq!(digest, b.read().unwrap().digest(space).unwrap());

        let heir = heir(&history, &a);
        prop_assert_eq!(frontiers(&a, space), frontiers(&heir, space));
        prop_assert_eq!(&shown_a, &shown(&heir, space));
        prop_assert_eq!(people(&a, space), people(&heir, space));
        for node in [&a, &b, &heir] {
            prop_assert_eq!(findings(node), [""; 0]);
        }
    }
}
