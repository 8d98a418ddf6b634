//! A store in plain vectors, without any cleverness, that says what is right.

mod ends;
mod serve;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    admission::Chain,
    author,
    body::{Body, Genesis, kind},
    entry::{Head, Header},
    fork::{Branch, ForkProof},
    frontier::{Frontier, Holes, Tail},
    ids::{DeviceId, EntryId, IdentityId, SpaceId},
    keys::Signature,
    merkle::{self, Hash, Node, Prefix},
    run::{BodyPart, Item, Run},
    session::{ServedRun, ServedTail, SpaceStore},
    sim::Person,
    space::{Descriptor, Membership, SpaceContext, SpaceKind, conversation_id},
    time::Millis,
    verify::{
        Comparison, FeedFacts, ForkPoint, LastGood, Overlap, Reject, TailFacts, VerifiedRun,
        VerifiedTail, verify_body,
    },
};

type Entry = (EntryId, Header, Option<Vec<u8>>);

#[derive(Clone, Default)]
struct Feed {
    entries: Vec<Entry>,
    /// Entries above a gap, without one among them.
    tail: VecDeque<Entry>,
    signatures: BTreeMap<u64, Signature>,
    fork: Option<(ForkPoint, Vec<u8>)>,
    revoked: Option<(LastGood, Vec<u8>)>,
    author: Option<IdentityId>,
}

#[derive(Clone)]
struct Space {
    kind: SpaceKind,
    context: SpaceContext,
    chain: Chain,
    feeds: BTreeMap<DeviceId, Feed>,
    /// All that were written, by the device that each ends.
    revocations: BTreeSet<(DeviceId, Vec<u8>)>,
}

/// What a node holds: spaces and their feeds, nothing of contacts.
#[derive(Clone)]
pub struct Memory {
    /// Whose it is.
    pub me: Person,
    spaces: BTreeMap<SpaceId, Space>,
    /// Own feeds of spaces that were left.
    left: BTreeMap<SpaceId, Feed>,
}

impl Feed {
    fn head(&self) -> Head {
        self.entries
            .iter()
            .fold(Head::EMPTY, |head, (id, header, _)| {
                head.after(*id, header.body_len)
            })
    }

    fn frontier(&self, device: DeviceId) -> Frontier {
        let head = self.head();
        let holes = self.holes();
        let revoked = self.revoked.as_ref().map(|(last, _)| last.seq);
        let fork = self.fork.as_ref().map(|(fork, _)| fork.seq);
        Frontier {
            base: head.next,
            top: head.top,
            tail: self.tail_facts().map(|tail| Tail {
                start: tail.start,
                end: tail.next,
                top: tail.top,
            }),
            fork: fork.filter(|_| revoked.is_none()),
            revoked,
            holes: Holes::of(holes),
            ..Frontier::empty(device)
        }
    }

    /// Places of bodies that are absent without a setting below that lets them disappear.
    fn holes(&self) -> impl Iterator<Item = u64> {
        let mut covered = false;
        let entries = self.entries.iter().chain(&self.tail);
        entries.filter_map(move |(_, header, body)| {
            let Some(body) = body else {
                return (!covered).then_some(header.seq);
            };
            // Other kinds cost more to read.
            if body.get(1..3) == Some(&[0, kind::SETTING as u8])
                && let Ok(Body::Setting(setting)) = Body::decode(body)
                && let Some(lifetime) = setting.lifetime
            {
                covered = lifetime.ends();
            }
            None
        })
    }

    fn tail_facts(&self) -> Option<TailFacts> {
        let ((_, first, _), (top, last, _)) = self.tail.front().zip(self.tail.back())?;
        Some(TailFacts {
            start: first.seq,
            backlink: first.backlink,
            next: last.seq + 1,
            top: *top,
            since_checkpoint: None,
        })
    }

    /// Joins what the gap no longer parts. A tail that doesn't fit is dropped: what is held from
    /// the first entry on counts.
    fn join(&mut self) {
        let head = self.head();
        let Some(tail) = self.tail_facts().filter(|tail| tail.start <= head.next) else {
            return;
        };
        if tail.start == head.next && tail.backlink == head.top {
            self.entries.extend(std::mem::take(&mut self.tail));
            self.prune();
            return;
        }
        self.drop_tail();
    }

    /// What came from below may have reached the tail, or passed into it.
    fn join_after_import(&mut self) {
        let Some(tail) = self.tail_facts() else {
            self.prune();
            return;
        };
        let last = self.entries.get(tail.next as usize - 1);
        if last.is_some_and(|(id, ..)| *id == tail.top) {
            self.tail.clear();
            self.prune();
            return;
        }
        let below = self.entries.get(tail.start as usize - 1);
        if below.is_some_and(|(id, ..)| *id == tail.backlink) {
            self.entries.truncate(tail.start as usize);
        }
        self.join();
    }

    fn drop_tail(&mut self) {
        self.tail.clear();
        let held = self.entries.len() as u64;
        self.signatures.retain(|seq, _| *seq < held);
    }

    fn range(&self, from: u64, end: u64) -> Vec<&Entry> {
        (from..end).filter_map(|seq| self.entry(seq)).collect()
    }

    fn entry(&self, seq: u64) -> Option<&Entry> {
        let above = self.tail.front().map(|(_, header, _)| header.seq);
        match above.and_then(|start| seq.checked_sub(start)) {
            Some(at) => self.tail.get(at as usize),
            None => self.entries.get(seq as usize),
        }
    }

    fn entry_mut(&mut self, seq: u64) -> Option<&mut Entry> {
        let above = self.tail.front().map(|(_, header, _)| header.seq);
        match above.and_then(|start| seq.checked_sub(start)) {
            Some(at) => self.tail.get_mut(at as usize),
            None => self.entries.get_mut(seq as usize),
        }
    }

    /// Forgets the signatures that a node doesn't keep: all but the checkpoints' and the last's.
    fn prune(&mut self) {
        if !self.tail.is_empty() {
            return;
        }
        let mut head = Head::EMPTY;
        let top = (self.entries.len() as u64).checked_sub(1);
        for (id, header, _) in &self.entries {
            if !head.checkpoint_next(header.body_len) && Some(header.seq) != top {
                self.signatures.remove(&header.seq);
            }
            head = head.after(*id, header.body_len);
        }
    }
}

fn item<'a>(header: &Header, body: Option<&'a [u8]>) -> Item<'a> {
    let absent = BodyPart::Absent {
        len: header.body_len,
        hash: header.body_hash,
    };
    Item {
        created: header.created,
        body: body.map_or(absent, BodyPart::Present),
    }
}

impl Memory {
    /// Holds nothing.
    #[must_use]
    pub fn new(me: Person) -> Self {
        Self {
            me,
            spaces: BTreeMap::new(),
            left: BTreeMap::new(),
        }
    }

    /// The spaces that are held.
    pub fn spaces(&self) -> impl Iterator<Item = (SpaceId, SpaceKind)> {
        self.spaces.iter().map(|(id, space)| (*id, space.kind))
    }

    /// Holds a space from now on, without writing in it.
    pub fn hold(&mut self, context: SpaceContext, kind: SpaceKind, chain: Chain) {
        let feeds = BTreeMap::new();
        let id = context.id;
        let space = Space {
            kind,
            context,
            chain,
            feeds,
            revocations: BTreeSet::new(),
        };
        self.spaces.entry(id).or_insert(space);
    }

    /// Holds a space no more; of the own feed the headers are kept for when it is held again.
    pub fn leave(&mut self, id: SpaceId) {
        let device = self.me.device.id();
        let own = self
            .spaces
            .remove(&id)
            .and_then(|mut space| space.feeds.remove(&device));
        if let Some(mut own) = own {
            for (_, _, body) in own.entries.iter_mut().skip(1) {
                *body = None;
            }
            self.left.insert(id, own);
        }
    }

    /// After a space is held again: the own feed is what was kept of it.
    pub fn come_back(&mut self, id: SpaceId) {
        let device = self.me.device.id();
        if let (Some(own), Some(space)) = (self.left.remove(&id), self.spaces.get_mut(&id)) {
            space.feeds.insert(device, own);
        }
    }

    /// Who let us into a space.
    #[must_use]
    pub fn chain(&self, id: SpaceId) -> Option<&Chain> {
        self.spaces.get(&id).map(|space| &space.chain)
    }

    /// Makes a forum and begins the own feed in it.
    pub fn create_forum(&mut self, salt: u8) -> SpaceId {
        let descriptor = Descriptor {
            kind: SpaceKind::Forum,
            name: "Camp".into(),
            description: String::new(),
            creator: self.me.identity.id(),
            onward: true,
            salt: [salt; 32],
        };
        let context = SpaceContext::described(&descriptor);
        let id = context.id;
        self.spaces.insert(
            id,
            Space {
                kind: SpaceKind::Forum,
                context,
                chain: Chain::root(),
                feeds: BTreeMap::new(),
                revocations: BTreeSet::new(),
            },
        );
        self.begin(id);
        id
    }

    /// Comes to hold a forum by an admission of `inviter`, and begins the own feed in it.
    pub fn join_forum(&mut self, inviter: &Self, id: SpaceId) {
        let space = &inviter.spaces[&id];
        let chain = space
            .chain
            .admit(
                id,
                &inviter.me.certificate,
                &inviter.me.device,
                self.me.identity.id(),
            )
            .unwrap();
        let context = space.context.clone();
        self.spaces.insert(
            id,
            Space {
                kind: space.kind,
                context,
                chain,
                feeds: BTreeMap::new(),
                revocations: BTreeSet::new(),
            },
        );
        self.begin(id);
    }

    /// Holds the conversation of a pair's secret, and begins the own feed in it.
    pub fn create_conversation(&mut self, secret: [u8; 32], with: &Person) -> SpaceId {
        let id = conversation_id(&secret);
        let members = Membership::Pair([self.me.identity.id(), with.identity.id()]);
        let context = SpaceContext { id, members };
        self.spaces.insert(
            id,
            Space {
                kind: SpaceKind::Conversation,
                context,
                chain: Chain::root(),
                feeds: BTreeMap::new(),
                revocations: BTreeSet::new(),
            },
        );
        self.begin(id);
        id
    }

    fn begin(&mut self, id: SpaceId) {
        let genesis = Genesis {
            certificate: self.me.certificate.clone(),
            name: "Someone",
            chain: self.spaces[&id].chain.clone(),
        };
        self.write_body(id, &Body::Genesis(Box::new(genesis)));
    }

    /// Writes `count` short threads.
    pub fn write(&mut self, id: SpaceId, count: u64) {
        self.write_as(id, count, "entry");
    }

    /// Writes `count` short threads of a given text.
    pub fn write_as(&mut self, id: SpaceId, count: u64, text: &str) {
        for n in 0..count {
            self.write_body(
                id,
                &Body::Thread {
                    title: "Title",
                    text: &format!("{text} {n}"),
                },
            );
        }
    }

    /// Appends an own entry.
    pub fn write_body(&mut self, id: SpaceId, body: &Body<'_>) {
        let device = self.me.device.id();
        let head = self
            .spaces
            .get_mut(&id)
            .unwrap()
            .feeds
            .entry(device)
            .or_default()
            .head();
        let run = author::append(
            &self.me.device,
            id,
            &head,
            Millis(1_790_000_000_000 + head.next),
            body,
        );
        self.import(id, run).unwrap();
    }

    /// Takes a feed over from another node without checking anything.
    pub fn copy_feed(&mut self, from: &Self, id: SpaceId, device: DeviceId) {
        let feed = from.spaces[&id].feeds[&device].clone();
        self.spaces.get_mut(&id).unwrap().feeds.insert(device, feed);
    }

    /// Forgets what stands from a place on, as a restored backup does.
    pub fn cut(&mut self, id: SpaceId, device: DeviceId, keep: u64) {
        let feeds = &mut self.spaces.get_mut(&id).unwrap().feeds;
        let feed = feeds.get_mut(&device).unwrap();
        feed.drop_tail();
        feed.entries.truncate(keep as usize);
        feed.signatures.retain(|seq, _| *seq < keep);
        feed.prune();
    }

    /// Loses a body.
    pub fn drop_body(&mut self, id: SpaceId, device: DeviceId, seq: usize) {
        self.spaces
            .get_mut(&id)
            .unwrap()
            .feeds
            .get_mut(&device)
            .unwrap()
            .entries[seq]
            .2 = None;
    }

    /// All entries with their bodies, which two nodes must hold alike.
    pub fn contents(&self, id: SpaceId) -> Vec<(DeviceId, EntryId, Option<Vec<u8>>)> {
        let feeds = self
            .spaces
            .get(&id)
            .map(|space| space.feeds.iter())
            .into_iter()
            .flatten();
        feeds
            .flat_map(|(device, feed)| {
                let entries = feed.entries.iter().chain(&feed.tail);
                entries.map(|(id, _, body)| (*device, *id, body.clone()))
            })
            .collect()
    }

    /// Keeps what is new of a run.
    ///
    /// # Errors
    /// Where the run no longer fits what is held.
    pub fn import(&mut self, id: SpaceId, run: VerifiedRun) -> Result<(), Reject> {
        let device = run.device();
        let feed = self
            .spaces
            .get_mut(&id)
            .unwrap()
            .feeds
            .entry(device)
            .or_default();
        let author = run.author();
        let Some(run) = run.after(&feed.head()) else {
            return Ok(());
        };
        feed.check_ends(&run)?;
        feed.author = author.or(feed.author);
        let mut backlink = run.backlink();
        for (seq, item) in (run.start()..).zip(run.items()) {
            let header = Header {
                space: id,
                device,
                seq,
                backlink,
                created: item.created,
                body_len: item.body_len,
                body_hash: item.body_hash,
            };
            assert_eq!(header.id(), item.id);
            backlink = item.id;
            feed.entries
                .push((item.id, header, run.body_bytes(item).map(<[u8]>::to_vec)));
        }
        feed.signatures.extend(run.signatures().iter().copied());
        feed.join_after_import();
        self.note_revocations(id, &run);
        Ok(())
    }

    /// Keeps entries above a gap.
    ///
    /// # Errors
    /// Where they no longer fit what is held.
    pub fn import_tail(&mut self, id: SpaceId, tail: VerifiedTail) -> Result<(), Reject> {
        let device = tail.device();
        let feeds = &mut self.spaces.get_mut(&id).unwrap().feeds;
        let feed = feeds.entry(device).or_default();
        let (head, held) = (feed.head(), feed.tail_facts());
        let gap = Reject::Gap {
            expected: head.next,
            found: tail.start(),
        };
        if head.next == 0 || feed.end().is_some() {
            return Err(gap);
        }
        let (from, end) = match held {
            _ if tail.end() <= head.next => return Ok(()),
            Some(held) if tail.start() >= held.next || tail.end() > held.next => {
                if tail.id(held.next - 1) != Some(held.top) {
                    return Err(gap);
                }
                (held.next, tail.end())
            }
            Some(held) if tail.start() >= held.start => return Ok(()),
            Some(held) => {
                if tail.id(held.start - 1) != Some(held.backlink) {
                    return Err(gap);
                }
                (tail.start(), held.start)
            }
            None if !tail.is_signed() => return Err(gap),
            None => (tail.start(), tail.end()),
        };
        if from <= head.next && tail.id(head.next - 1).is_some_and(|id| id != head.top) {
            return Err(Reject::OtherBranch { seq: head.next - 1 });
        }
        let Some(tail) = tail.between(from.max(head.next), end) else {
            return Ok(());
        };
        let mut backlink = tail.backlink();
        let mut new = VecDeque::new();
        for (seq, item) in (tail.start()..).zip(tail.items()) {
            let header = Header {
                space: id,
                device,
                seq,
                backlink,
                created: item.created,
                body_len: item.body_len,
                body_hash: item.body_hash,
            };
            assert_eq!(header.id(), item.id);
            backlink = item.id;
            let body = tail.body_bytes(item).map(<[u8]>::to_vec);
            new.push_back((item.id, header, body));
        }
        feed.signatures.extend(tail.signatures().iter().copied());
        if held.is_some_and(|held| tail.start() >= held.next) {
            feed.tail.extend(new);
        } else {
            new.extend(std::mem::take(&mut feed.tail));
            feed.tail = new;
        }
        feed.join();
        Ok(())
    }

    /// Compares a run with what is held, and keeps the fork that it shows.
    pub fn compare(&mut self, id: SpaceId, overlap: &Overlap) -> Comparison {
        let feed = self
            .spaces
            .get_mut(&id)
            .unwrap()
            .feeds
            .entry(overlap.device())
            .or_default();
        let tail = feed.tail_facts();
        let ours = |seq: u64| {
            let below = tail.filter(|tail| seq + 1 == tail.start);
            let held = feed.entry(seq).map(|(id, ..)| *id);
            Ok::<_, ()>(held.or(below.map(|tail| tail.backlink)))
        };
        let result = overlap.compare(ours).unwrap();
        if let Comparison::Fork {
            seq,
            backlink,
            theirs,
        } = &result
        {
            let Some((signed, signature)) = feed.signatures.range(seq..).next() else {
                return Comparison::Known;
            };
            let held = (*seq..=*signed).map(|seq| feed.entry(seq));
            let Some(held) = held.collect::<Option<Vec<_>>>() else {
                return Comparison::Known;
            };
            let headers = held.into_iter().map(|(_, header, _)| header);
            let own = Branch::new(headers, *signature);
            let proof = ForkProof::new(id, overlap.device(), *seq, *backlink, own, theirs.clone());
            assert!(proof.holds(id, overlap.device()));
            feed.keep_fork(
                ForkPoint {
                    seq: *seq,
                    backlink: *backlink,
                },
                proof.encode(),
            );
        }
        result
    }

    /// Checks and keeps a body that was missing.
    ///
    /// # Errors
    /// Where it isn't the entry's body.
    pub fn fill(
        &mut self,
        id: SpaceId,
        device: DeviceId,
        seq: u64,
        body: &[u8],
    ) -> Result<(), Reject> {
        let space = self.spaces.get_mut(&id).unwrap();
        let entry = space
            .feeds
            .get_mut(&device)
            .and_then(|feed| feed.entry_mut(seq))
            .ok_or(Reject::ForeignBody { seq })?;
        verify_body(&space.context, &entry.1, body)?;
        entry.2 = Some(body.to_vec());
        Ok(())
    }

    fn feeds(&self, id: SpaceId) -> impl Iterator<Item = (DeviceId, Frontier)> {
        let feeds = self
            .spaces
            .get(&id)
            .map(|space| space.feeds.iter())
            .into_iter()
            .flatten();
        feeds.map(|(device, feed)| (*device, feed.frontier(*device)))
    }

    fn feed(&self, id: SpaceId, device: DeviceId) -> Option<&Feed> {
        self.spaces.get(&id)?.feeds.get(&device)
    }
}
