//! What a peer's entries have to pass: a run, a chunk of a tail, a fork's proof, a body for a hole.
//!
//! An input is a story: who writes what in which kind of space, where the feed forks or is revoked,
//! how much the receiver knows, what of it travels, and what a forger changes on the way. Whatever
//! the checks then let through must be vouched for by the author's signatures, and must not stand
//! behind the end of the feed. Where nobody forged anything it must be let through.

use proto::{
    EntryId, Millis,
    entry::{Header, is_checkpoint},
    fork::{Branch, ForkProof},
    keys::Signature,
    limits::CHECKPOINT_BYTES,
    run::{BodyPart, Item, Run},
    verify::{
        Comparison, FeedFacts, ForkPoint, LastGood, Outcome, Overlap, TailFacts, VerifiedRun,
        verify_body, verify_fork, verify_run, verify_tail_chunk,
    },
};

use crate::{
    script::Script,
    world::{BEGIN, Feed, World},
};

/// Entries of a story at most, but for the long one that reaches the second checkpoint.
const ENTRIES_MAX: usize = 24;
/// Entries of the long story: the checkpoint at 256 lies inside.
const LONG: usize = 262;

struct Story {
    world: World,
    main: Feed,
    branch: Feed,
    /// The lowest place where the branches differ.
    parts: usize,
    facts: FeedFacts,
    known: usize,
}

/// Plays a story.
///
/// # Panics
/// Where something is let through that nobody signed, or refused that is sound.
pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let mut story = Story::new(&mut script);
    match script.byte() % 8 {
        0 => story.tail(&mut script),
        1 => story.fork(&mut script),
        2 => story.hole(&mut script),
        _ => story.travels(&mut script),
    }
}

impl Story {
    fn new(script: &mut Script<'_>) -> Self {
        let mut world = World::new(script);
        let mut main = Feed::default();
        let count = match script.byte() {
            255 => LONG,
            count => 1 + usize::from(count) % ENTRIES_MAX,
        };
        let genesis = world.genesis();
        main.push(world.space.id, &world.key, Millis(BEGIN), genesis);
        let step = u64::from(script.byte());
        for seq in 1..count {
            let created = Millis(BEGIN.wrapping_add(seq as u64 * step));
            let body = world.body(script, created, "text");
            main.push(world.space.id, &world.key, created, body);
        }
        let parts = script.below(count + 1);
        let mut branch = Feed(main.0[..parts].to_vec());
        for _ in 0..script.byte() % 4 {
            let body = world.body(script, Millis(BEGIN), "other text");
            branch.push(world.space.id, &world.key, Millis(BEGIN), body);
        }
        // Entries that don't depend on the text may be the same on both.
        let mut pairs = main.0.iter().zip(&branch.0);
        let parts = pairs
            .position(|(one, other)| one.id != other.id)
            .unwrap_or(main.0.len().min(branch.0.len()));
        world.know(&main);
        world.know(&branch);
        let known = script.below(count + 1);
        let mut story = Self {
            facts: FeedFacts {
                head: main.head(known),
                ..FeedFacts::unknown(world.key.id())
            },
            world,
            main,
            branch,
            parts,
            known,
        };
        story.ends(script);
        story
    }

    /// A fork or a revocation that the receiver knows. What is at and above the end was dropped.
    fn ends(&mut self, script: &mut Script<'_>) {
        let end = script.byte();
        let feed = if end & 4 == 0 {
            &self.main
        } else {
            &self.branch
        };
        let at = script.below(feed.0.len().max(1));
        let before = at.checked_sub(1).and_then(|at| feed.0.get(at));
        if end & 1 == 1 {
            self.facts.fork = Some(ForkPoint {
                seq: at as u64,
                backlink: before.map_or(EntryId([0; 32]), |entry| entry.id),
            });
        }
        if end & 2 == 2
            && let Some(good) = feed.0.get(at)
        {
            self.facts.revoked = Some(LastGood {
                seq: at as u64,
                id: good.id,
            });
            // The identity vouches for it in the author's place.
            self.world.sign(good.id);
        } else if let (Some(fork), Some(before)) = (self.facts.fork, before)
            && fork.seq > 0
        {
            self.world.sign(before.id);
        }
        let limit = match (self.facts.revoked, self.facts.fork) {
            (Some(last), _) => last.seq + 1,
            (None, Some(fork)) => fork.seq,
            (None, None) => u64::MAX,
        };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        self.known = self.known.min(limit);
        self.facts.head = self.main.head(self.known);
    }

    fn holds(&self, id: EntryId) -> bool {
        self.world.vouched.contains(&id)
    }

    /// Part of a branch as an honest sender makes it, with the signatures that belong there.
    fn cut<'f>(world: &mut World, feed: &'f Feed, start: usize, end: usize) -> Run<'f> {
        let mut head = feed.head(start);
        let mut run = Run::new(start as u64, head.top);
        for entry in feed.0.iter().take(end).skip(start) {
            if head.checkpoint_next(entry.header.body_len) || entry.header.seq + 1 == end as u64 {
                let index = run.items.len() as u32;
                run.signatures.push((index, world.sign(entry.id)));
            }
            run.items.push(Item {
                created: entry.header.created,
                body: BodyPart::Present(&entry.body),
            });
            head = head.after(entry.id, entry.header.body_len);
        }
        run
    }

    /// Where a run begins and ends.
    fn range(script: &mut Script<'_>, feed: &Feed) -> (usize, usize) {
        let start = script.below(feed.0.len().max(1));
        let end = start + 1 + script.below(feed.0.len().saturating_sub(start).max(1));
        (start, end.min(feed.0.len()))
    }

    fn travels(&mut self, script: &mut Script<'_>) {
        let from_branch = script.flag();
        let feed = if from_branch {
            self.branch.clone()
        } else {
            self.main.clone()
        };
        let (mut start, end) = Self::range(script, &feed);
        if script.flag() {
            start = start.min(self.known);
        }
        if start >= end {
            return;
        }
        let mut run = Self::cut(&mut self.world, &feed, start, end);
        let forged = forge_run(script, &mut run);
        let mut bytes = run.encode();
        let forged = forge_bytes(script, &mut bytes) || forged;
        // The receiver trusts what it holds.
        if let Some(top) = self.known.checked_sub(1) {
            let id = self.main.0[top].id;
            self.world.sign(id);
        }
        match verify_run(&self.world.space, &self.facts, bytes) {
            Ok(Outcome::Continues(run)) => self.continues(&run),
            Ok(Outcome::Overlaps(overlap)) => self.overlaps(&overlap),
            Ok(Outcome::ContinuesTail(_)) => panic!("there is no tail"),
            Err(reject) => {
                let _ = (reject.name(), reject.to_string());
                let ends = self.facts.fork.is_some() || self.facts.revoked.is_some();
                let sound = !forged && !from_branch && !ends && start <= self.known;
                assert!(
                    !sound || !reject.is_fault() || !self.is_plain(start.max(self.known), end),
                    "{reject:?}"
                );
            }
        }
    }

    /// Whether all bodies between are good, so that nothing may be refused.
    fn is_plain(&self, start: usize, end: usize) -> bool {
        self.world.is_member()
            && self.main.0[start.min(end)..end].iter().all(|entry| {
                entry.header.seq == 0
                    || verify_body(&self.world.space, &entry.header, &entry.body).is_ok()
            })
    }

    fn continues(&self, run: &VerifiedRun) {
        let facts = &self.facts;
        let mut head = facts.head;
        assert_eq!((run.start(), run.backlink()), (head.next, head.top));
        assert!(!run.items().is_empty() && run.device() == facts.device);
        let mut signatures = run.signatures().iter().peekable();
        for item in run.items() {
            assert!(self.holds(item.id), "an entry that nobody signed");
            let header = Header {
                space: self.world.space.id,
                device: facts.device,
                seq: head.next,
                backlink: head.top,
                created: item.created,
                body_len: item.body_len,
                body_hash: item.body_hash,
            };
            assert_eq!(header.id(), item.id);
            if let Some(bytes) = run.body_bytes(item) {
                assert_eq!(*blake3::hash(bytes).as_bytes(), item.body_hash);
                assert!(run.body(item).is_some() && bytes.len() == item.body_len as usize);
            }
            let signed = signatures.next_if(|(seq, _)| *seq == head.next).is_some();
            assert!(signed || !head.checkpoint_next(item.body_len));
            head = head.after(item.id, item.body_len);
        }
        assert!(signatures.next().is_none());
        assert_eq!(run.head(), head);
        assert_eq!(run.author().is_some(), run.start() == 0);
        assert!(run.start() > 0 || self.world.is_member());
        let signed = run
            .signatures()
            .last()
            .is_some_and(|(seq, _)| seq + 1 == head.next);
        let by_end = match (facts.revoked, facts.fork) {
            (Some(last), _) => last.id == head.top,
            (None, Some(fork)) => fork.backlink == head.top,
            (None, None) => false,
        };
        assert!(signed || by_end, "nobody vouches for the last entry");
        if let Some(last) = facts.revoked {
            assert!(head.next <= last.seq + 1);
            assert!(head.next <= last.seq || head.top == last.id);
        } else if let Some(fork) = facts.fork {
            assert!(head.next <= fork.seq);
            assert!(head.next < fork.seq || head.top == fork.backlink);
        }
        let again = run.clone().after(&facts.head);
        assert_eq!(again.as_ref(), Some(run));
        assert_eq!(run.clone().after(&head), None);
    }

    /// A fork that is found is one: the proof made of it holds.
    fn overlaps(&mut self, overlap: &Overlap) {
        let ours = |seq: u64| {
            let held = usize::try_from(seq).ok().filter(|seq| *seq < self.known);
            Ok::<_, ()>(held.map(|seq| self.main.0[seq].id))
        };
        let Ok(Comparison::Fork {
            seq,
            backlink,
            theirs,
        }) = overlap.compare(ours)
        else {
            return;
        };
        let at = seq as usize;
        assert!(!overlap.is_known() && at < self.known);
        let end = (at..self.known)
            .find(|at| is_signed(&self.main, *at, self.known))
            .map_or(self.known, |at| at + 1);
        let own = Self::cut(&mut self.world, &self.main, at, end);
        let signature = own.signatures.last().map(|(_, signature)| *signature);
        let own = Branch::new(
            self.main.0[at..end].iter().map(|entry| &entry.header),
            signature.unwrap_or(Signature([0; 64])),
        );
        let (space, device) = (self.world.space.id, self.facts.device);
        let proof = ForkProof::new(space, device, seq, backlink, own, theirs);
        assert!(proof.holds(space, device), "no proof of the fork at {seq}");
        let bytes = proof.encode();
        assert_eq!(
            verify_fork(&self.world.space, &self.facts, &bytes),
            Ok(proof)
        );
    }

    fn tail(&mut self, script: &mut Script<'_>) {
        let feed = if script.flag() {
            self.branch.clone()
        } else {
            self.main.clone()
        };
        let (start, end) = Self::range(script, &feed);
        if start >= end {
            return;
        }
        let above = match script.byte() {
            0..=239 => feed.0.get(end.wrapping_sub(1)),
            _ => self.main.0.last(),
        };
        let Some(above) = above.map(|entry| entry.id) else {
            return;
        };
        self.world.sign(above);
        let mut run = Self::cut(&mut self.world, &feed, start, end);
        let forged = forge_run(script, &mut run);
        let mut bytes = run.encode();
        let forged = forge_bytes(script, &mut bytes) || forged;
        // Either the newest entries, which have to be signed, or what lies below a tail.
        let newest = script.byte() < 64;
        let facts = FeedFacts {
            head: self.main.head(self.known.max(1)),
            tail: (!newest).then_some(TailFacts {
                start: end as u64,
                backlink: above,
                next: end as u64 + 1,
                top: above,
                since_checkpoint: None,
            }),
            fork: None,
            revoked: None,
            ..self.facts
        };
        match verify_tail_chunk(&self.world.space, &facts, bytes.clone()) {
            Ok(tail) => {
                let run = Run::decode(&bytes).unwrap_or_else(|error| panic!("{error}"));
                assert!(tail.start() > 0 && (tail.start(), tail.end()) == (run.start, run.end()));
                assert!(tail.backlink() == run.backlink && (!newest || tail.is_signed()));
                for (link, item) in run
                    .links(self.world.space.id, facts.device)
                    .zip(tail.items())
                {
                    assert!(self.holds(link.id), "an entry that nobody signed");
                    assert_eq!(link.id, item.id);
                }
            }
            Err(reject) => {
                let honest = !forged
                    && start > 0
                    && (newest || feed.0.get(end - 1).is_some_and(|e| e.id == above));
                let good = feed.0[start..end].iter().all(|entry| {
                    verify_body(&self.world.space, &entry.header, &entry.body).is_ok()
                });
                assert!(!honest || !good, "{reject:?}");
            }
        }
    }

    fn fork(&mut self, script: &mut Script<'_>) {
        let at = script.below(self.parts + 2);
        let mut side = |feed: &Feed, world: &mut World| {
            let end = (at + 1 + script.below(3)).min(feed.0.len());
            let last = feed.0.get(end.wrapping_sub(1)).map(|entry| entry.id);
            let mut signature = world.sign(last.unwrap_or(EntryId([0; 32])));
            if script.byte() == 1 {
                signature.0[usize::from(script.byte() % 64)] ^= 1;
            }
            let headers = feed.0.iter().take(end).skip(at).map(|entry| &entry.header);
            Branch::new(headers, signature)
        };
        let one = side(&self.main, &mut self.world);
        let other = side(&self.branch, &mut self.world);
        let before = at.checked_sub(1).and_then(|at| self.main.0.get(at));
        let backlink = before.map_or(EntryId([0; 32]), |entry| entry.id);
        let (space, device) = (self.world.space.id, self.facts.device);
        let proof = ForkProof::new(space, device, at as u64, backlink, one, other);
        let mut bytes = proof.encode();
        let forged = forge_bytes(script, &mut bytes);
        if let Ok(proof) = verify_fork(&self.world.space, &self.facts, &bytes) {
            assert!(self.known > 0);
            let seq = proof.seq as usize;
            assert_eq!(
                seq, self.parts,
                "a fork where nobody forked (forged: {forged})"
            );
            assert!(seq < self.main.0.len() && seq < self.branch.0.len());
            self.lengthened(&proof, seq);
        }
    }

    /// What lies below a fork without a signature of its own is vouched for by one of the branches.
    fn lengthened(&mut self, proof: &ForkProof, seq: usize) {
        let Some(last) = seq.checked_sub(1) else {
            return;
        };
        let mut run = Self::cut(&mut self.world, &self.main, 0, seq);
        let body_len = self.main.0[last].header.body_len;
        if self.main.head(last).checkpoint_next(body_len) {
            return;
        }
        run.signatures.pop();
        if proof.lengthen(&mut run, self.main.head(seq).top) {
            assert!(run.items.len() > seq);
            let facts = FeedFacts::unknown(self.facts.device);
            let result = verify_run(&self.world.space, &facts, run.encode());
            assert!(result.is_ok() || !self.is_plain(0, seq), "{result:?}");
        }
    }

    fn hole(&self, script: &mut Script<'_>) {
        let entry = &self.main.0[script.below(self.main.0.len())];
        let mut body = entry.body.clone();
        while !script.is_empty() && !body.is_empty() {
            let at = script.below(body.len());
            body[at] ^= script.byte();
        }
        if verify_body(&self.world.space, &entry.header, &body).is_ok() {
            assert_eq!(body, entry.body);
        }
    }
}

/// Whether a store that holds so much of a feed holds a signature of this entry.
fn is_signed(feed: &Feed, at: usize, known: usize) -> bool {
    let entry = &feed.0[at];
    at + 1 == known
        || is_checkpoint(entry.header.seq, 0)
        || feed.head(at).since_checkpoint + u64::from(entry.header.body_len) > CHECKPOINT_BYTES
}

/// Changes what a run says, as one can who has no key. True where anything changed.
fn forge_run(script: &mut Script<'_>, run: &mut Run<'_>) -> bool {
    let mut forged = false;
    for _ in 0..script.byte() % 6 {
        forged = true;
        let item = script.below(run.items.len());
        let signature = script.below(run.signatures.len());
        match script.byte() % 12 {
            0 => run.start = script.long(),
            1 => run.start = run.start.wrapping_add(u64::from(script.byte())) & 0xffff,
            2 => run.backlink = EntryId([script.byte(); 32]),
            3 => run.items[item].created = Millis(script.long()),
            4 => {
                let body = run.items[item].body;
                run.items[item].body = BodyPart::Absent {
                    len: body.len(),
                    hash: body.hash(),
                };
            }
            5 => {
                run.items[item].body = BodyPart::Absent {
                    len: u32::from(script.short()),
                    hash: [script.byte(); 32],
                }
            }
            6 => run.items[item].body = BodyPart::Present(b"\xa2\x00\x0d\x01\x61x"),
            7 if run.items.len() > 1 => {
                run.items.remove(item);
            }
            8 => {
                let copy = run.items[item];
                run.items.insert(item, copy);
            }
            9 if !run.signatures.is_empty() => {
                run.signatures.remove(signature);
            }
            10 => {
                let copy = run
                    .signatures
                    .get(signature)
                    .map(|(_, signature)| *signature);
                let at = script.below(run.items.len()) as u32;
                let place = run.signatures.partition_point(|(index, _)| *index < at);
                run.signatures
                    .insert(place, (at, copy.unwrap_or(Signature([1; 64]))));
                run.signatures.dedup_by_key(|(index, _)| *index);
            }
            _ if !run.signatures.is_empty() => {
                run.signatures[signature].1.0[usize::from(script.byte() % 64)] ^= 1 | script.byte();
            }
            _ => {}
        }
    }
    forged
}

/// Changes bytes on the way. True where anything changed.
fn forge_bytes(script: &mut Script<'_>, bytes: &mut Vec<u8>) -> bool {
    let count = script.byte() % 4;
    for _ in 0..count {
        let at = script.below(bytes.len());
        match script.byte() % 3 {
            0 => bytes[at] ^= script.byte(),
            1 => bytes.truncate(at.max(1)),
            _ => bytes.insert(at, script.byte()),
        }
    }
    count > 0
}

/// Stories that reach each part.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for space in 0..4 {
        for author in 0..3 {
            // Five messages, all known but two, the rest travels.
            seeds.push(vec![
                space, author, 4, 60, 0, 0, 0, 0, 5, 0, 3, 0, 0, 3, 0, 3, 1, 1, 0, 0,
            ]);
        }
    }
    for mode in 0..8 {
        for end in 0..8 {
            seeds.push(vec![
                0, 0, 5, 60, 0, 5, 7, 9, 0, 3, 2, 0, 0, 4, end, 4, mode, 1, 2, 2, 0, 0, 0,
            ]);
        }
    }
    for kind in 0..16 {
        seeds.push(vec![
            0, 0, 3, 60, kind, 0, 0, 4, 0, 1, 0, 0, 3, 0, 0, 3, 1, 0, 0,
        ]);
    }
    // Bytes pass a checkpoint; the long one passes 256 entries.
    seeds.push(vec![
        0, 0, 5, 60, 14, 14, 14, 14, 14, 6, 0, 0, 0, 0, 3, 0, 0, 5, 0, 0,
    ]);
    let mut long = vec![0, 0, 255, 1];
    long.extend_from_slice(&[0; LONG - 1]);
    long.extend_from_slice(&[1, 4, 2, 0, 0, 0, 200, 0, 0, 3, 0, 0, 200, 0, 61, 0, 0, 0]);
    seeds.push(long);
    // Each forgery by itself.
    for forgery in 0..12 {
        seeds.push(vec![
            0, 0, 5, 60, 0, 0, 0, 0, 0, 6, 0, 2, 0, 0, 3, 0, 2, 3, 1, 1, 1, 0, forgery, 1, 1, 0,
        ]);
    }
    seeds
}
