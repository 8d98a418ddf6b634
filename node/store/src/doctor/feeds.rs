//! One feed: its chain from the first entry to the head, the signatures that vouch for it, the
//! reasons of absent bodies, what ended it; and the digest tree over all.

use proto::{
    DeviceId, EntryId, IdentityId,
    body::Body,
    entry::{Head, Header},
    keys::{Domain, Signature, verify},
    merkle::{BUCKET_FEEDS_MAX, DEPTH_MAX, FANOUT, Hash, Prefix, digit, hash_of},
    run::{BodyPart, Run},
    space::SpaceKind,
    verify::verify_fork,
};

use super::{Doctor, Part, Ward, readable};
use crate::{
    error::Result,
    keys::{Key, Place, Prefixed, number},
    project::{is_about, known_body, place_key, relation_place},
    roles::Relation,
    rows::FeedRow,
    serve::{facts_of, vouched},
    tables::{Source, Table},
};

/// A walk over what is held of a feed without a gap.
struct Walk {
    head: Head,
    /// Where it ends: place and id.
    end: u64,
    top: EntryId,
    /// It is what is held above a gap: how far its first checkpoint is isn't known.
    above: bool,
    holes: u32,
    /// Settings with a lifetime.
    covers: u32,
}

impl<S: Source> Doctor<'_, S> {
    pub(super) fn feed(&mut self, ward: &mut Ward, feed: u32, row: &FeedRow) -> Result<()> {
        self.sums.feeds += 1;
        ward.sums.feeds += u64::from(row.head.next > 0);
        ward.sums.entries += row.entries();
        let mut walk = Walk {
            head: Head::EMPTY,
            end: row.head.next,
            top: row.head.top,
            above: false,
            holes: 0,
            covers: 0,
        };
        if !self.walk(ward, feed, row, &mut walk)? {
            return Ok(());
        }
        if walk.head != row.head {
            self.tell(
                Part::Entries,
                format!(
                    "the feed's entries end at {}, its row says {}",
                    walk.head.next, row.head.next
                ),
            );
        }
        if let Some(tail) = row.tail.map(|tail| tail.facts) {
            let mut above = Walk {
                head: Head {
                    next: tail.start,
                    top: tail.backlink,
                    since_checkpoint: 0,
                },
                end: tail.next,
                top: tail.top,
                above: true,
                holes: walk.holes,
                covers: walk.covers,
            };
            if !self.walk(ward, feed, row, &mut above)? {
                return Ok(());
            }
            walk.holes = above.holes;
            walk.covers = above.covers;
        }
        self.gap(ward, feed, row)?;
        self.holes(feed, row, &walk)?;
        self.ends(ward, feed, row)
    }

    /// Walks to the end; false where the feed can't be followed.
    fn walk(&mut self, ward: &mut Ward, feed: u32, row: &FeedRow, walk: &mut Walk) -> Result<bool> {
        while walk.head.next < walk.end {
            if !self.segment(ward, feed, row, walk)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What is missing below newer entries is noted.
    fn gap(&mut self, ward: &Ward, feed: u32, row: &FeedRow) -> Result<()> {
        let key = Key::new().u32(ward.number).u32(feed);
        let noted = self.view.0.with(Table::Gaps, key.as_slice(), number)?;
        let missing = row
            .tail
            .map(|tail| tail.facts.start.saturating_sub(row.head.next));
        if noted != missing {
            self.tell(
                Part::Derived,
                format!(
                    "{} entries are noted as missing below newer ones, {} are",
                    noted.unwrap_or(0),
                    missing.unwrap_or(0)
                ),
            );
        }
        Ok(())
    }

    /// Checks the segment that begins at the walk's place; false where the feed can't be followed.
    fn segment(
        &mut self,
        ward: &mut Ward,
        feed: u32,
        row: &FeedRow,
        walk: &mut Walk,
    ) -> Result<bool> {
        let next = walk.head.next;
        let segment = self.view.segment(feed, next);
        let Some(segment) = self.sound(Part::Entries, segment)? else {
            return Ok(false);
        };
        let Some(segment) = segment else {
            self.tell(Part::Entries, format!("entries from {next} on are missing"));
            return Ok(false);
        };
        let Some(run) = self.sound(Part::Entries, segment.run())? else {
            return Ok(false);
        };
        if run.start != next || run.items.is_empty() || run.end() > walk.end {
            let (start, end) = (run.start, run.end());
            let to = walk.end;
            self.tell(
                Part::Entries,
                format!("a segment has entries {start} to {end} where {next} to at most {to} are expected"),
            );
            return Ok(false);
        }
        self.run(ward, feed, row, walk, &run)
    }

    fn run(
        &mut self,
        ward: &mut Ward,
        feed: u32,
        row: &FeedRow,
        walk: &mut Walk,
        run: &Run<'_>,
    ) -> Result<bool> {
        let links: Vec<(EntryId, Header)> = run.headers(ward.row.id, row.device).collect();
        if !self.chain(feed, row, walk, run, &links)? {
            return Ok(false);
        }
        for ((id, header), item) in links.iter().zip(&run.items) {
            self.sums.entries += 1;
            let place = Place {
                feed,
                seq: header.seq,
            };
            match item.body {
                BodyPart::Present(bytes) => {
                    let body = known_body(bytes);
                    if header.seq == 0 {
                        self.genesis(row, body.as_ref());
                    }
                    if let Some(Body::Setting(setting)) = &body
                        && ward.kind() == SpaceKind::Conversation
                    {
                        walk.covers += u32::from(setting.lifetime.is_some());
                    }
                    self.entry(ward, row, place, id, header, body.as_ref())?;
                }
                BodyPart::Absent { .. } => self.absent(ward, row, walk, place, id)?,
            }
        }
        Ok(true)
    }

    /// Checks a segment's signatures, and that what follows continues it.
    fn chain(
        &mut self,
        feed: u32,
        row: &FeedRow,
        walk: &mut Walk,
        run: &Run<'_>,
        links: &[(EntryId, Header)],
    ) -> Result<bool> {
        let mut signatures = run.signatures.iter().peekable();
        for (at, (id, header)) in links.iter().enumerate() {
            let signature = signatures
                .next_if(|(index, _)| *index as usize == at)
                .map(|(_, signature)| signature);
            let last = header.seq + 1 == walk.end;
            let checkpoint = !walk.above && walk.head.checkpoint_next(header.body_len);
            let needed = checkpoint || (last && !vouched(row));
            if !self.signature(row.device, id, header, signature, needed) {
                return Ok(false);
            }
            walk.head = walk.head.after(*id, header.body_len);
        }
        let next = walk.head.next;
        let expected = if next == walk.end {
            Some(walk.top)
        } else {
            let segment = readable(self.view.segment(feed, next))?;
            segment.and_then(|segment| Some(segment.run().ok()?.backlink))
        };
        if expected.is_some_and(|expected| expected != walk.head.top) {
            let start = run.start;
            self.tell(
                Part::Entries,
                format!("one of the entries {start} to {} was altered: the next one doesn't continue them", next - 1),
            );
            return Ok(false);
        }
        Ok(true)
    }

    fn signature(
        &mut self,
        device: DeviceId,
        id: &EntryId,
        header: &Header,
        signature: Option<&Signature>,
        needed: bool,
    ) -> bool {
        let seq = header.seq;
        match signature {
            Some(signature) if !verify(&device.0, Domain::Entry, &id.0, signature) => {
                self.tell(
                    Part::Entries,
                    format!("the signature at entry {seq} doesn't hold: it or an entry before it was altered"),
                );
                false
            }
            Some(_) => {
                self.sums.signatures += 1;
                true
            }
            None if needed => {
                self.tell(
                    Part::Entries,
                    format!("entry {seq} should have a signature and has none"),
                );
                true
            }
            None => true,
        }
    }

    fn genesis(&mut self, row: &FeedRow, body: Option<&Body<'_>>) {
        let author = match body {
            Some(Body::Genesis(genesis)) => Some(genesis.certificate.identity),
            _ => None,
        };
        if author.is_none() || author != row.author || author != row.owner {
            self.tell(
                Part::Entries,
                "the feed's first entry doesn't name the author that its row names",
            );
        }
    }

    /// An absent body is listed as missing, or was retracted.
    fn absent(
        &mut self,
        ward: &mut Ward,
        row: &FeedRow,
        walk: &mut Walk,
        place: Place,
        id: &EntryId,
    ) -> Result<()> {
        let hole = self
            .view
            .0
            .with(Table::Holes, place_key(place).as_slice(), |_| ())?;
        if hole.is_some() {
            walk.holes += 1;
            self.sums.holes += 1;
        } else if !self.is_retracted(ward.number, id, row.author)?
            && !self.is_excused(ward, row, place, id)?
        {
            self.tell(
                Part::Entries,
                format!(
                    "the body of entry {} is absent, neither retracted nor disappeared nor listed as missing",
                    place.seq
                ),
            );
        }
        self.gone(ward, place, id)
    }

    /// A setting covers it, or it was forgotten here.
    fn is_excused(&self, ward: &Ward, row: &FeedRow, place: Place, id: &EntryId) -> Result<bool> {
        Ok(self.view.lifetime_at(place)?.ends()
            || self
                .view
                .is_forgotten((ward.number, row.device, place.seq), id)?)
    }

    fn is_retracted(
        &self,
        space: u32,
        target: &EntryId,
        author: Option<IdentityId>,
    ) -> Result<bool> {
        let prefix = Key::new().u32(space).half(target).u8(Relation::RETRACT);
        for (key, value) in self.view.collect(Table::Relations, prefix)? {
            let by = self.other_feed(relation_place(&key).feed)?;
            let by = by.and_then(|row| row.author);
            if by.is_some() && by == author && is_about(&value, target) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn holes(&mut self, feed: u32, row: &FeedRow, walk: &Walk) -> Result<()> {
        let range = Prefixed::new(Key::new().u32(feed));
        let mut listed = 0_u32;
        for hole in self.view.0.rows(Table::Holes, range.bounds())? {
            hole?;
            listed += 1;
        }
        let covers = self.view.covers_in(feed)?;
        if covers != walk.covers {
            self.tell(
                Part::Derived,
                format!("{covers} settings are noted, {} are there", walk.covers),
            );
        }
        if listed != walk.holes || row.holes != walk.holes {
            let found = walk.holes;
            self.tell(
                Part::Derived,
                format!(
                    "{found} bodies are missing, but {listed} are listed and {} counted",
                    row.holes
                ),
            );
        }
        Ok(())
    }

    /// A known fork has a proof that holds, and nothing at or above it is held unless a
    /// revocation says that this branch is the good one.
    fn ends(&mut self, ward: &Ward, feed: u32, row: &FeedRow) -> Result<()> {
        let Some(fork) = row.fork else {
            return Ok(());
        };
        let proof = self
            .view
            .0
            .with(Table::Forks, &feed.to_be_bytes(), <[u8]>::to_vec)?;
        let context = crate::serve::context_of(&ward.row)?;
        let mut facts = facts_of(row);
        // A feed that was dropped whole is known all the same.
        facts.head.next = facts.head.next.max(1);
        let holds = proof.is_some_and(|proof| verify_fork(&context, &facts, &proof).is_ok());
        if !holds {
            self.tell(
                Part::Entries,
                format!("the fork at entry {} has no proof that holds", fork.seq),
            );
        }
        if row.revoked.is_none() && row.head.next > fork.seq {
            self.tell(
                Part::Entries,
                format!("entries above the fork at entry {} are held", fork.seq),
            );
        }
        Ok(())
    }

    /// The digest tree is what the leaves say.
    pub(super) fn tree(&mut self, space: u32, leaves: &[(DeviceId, Hash)]) -> Result<()> {
        let root = self.view.root(space);
        if let Some(root) = self.sound(Part::Derived, root)?
            && root != hash_of(leaves, 0)
        {
            self.tell(Part::Derived, "the space's digest isn't that of its feeds");
        }
        self.branch(space, &Prefix::root(), leaves)
    }

    fn branch(&mut self, space: u32, prefix: &Prefix, leaves: &[(DeviceId, Hash)]) -> Result<()> {
        let depth = prefix.depth();
        let branch = self.view.branch(space, prefix);
        let Some(branch) = self.sound(Part::Derived, branch)? else {
            return Ok(());
        };
        let is_bucket = leaves.len() <= BUCKET_FEEDS_MAX || depth >= DEPTH_MAX;
        let Some(branch) = branch.filter(|_| !is_bucket) else {
            if !is_bucket {
                self.tell(Part::Derived, "a branch of the digest tree is missing");
            }
            return Ok(());
        };
        for value in 0..FANOUT as u8 {
            let start = leaves.partition_point(|(device, _)| digit(device, depth) < value);
            let end = leaves.partition_point(|(device, _)| digit(device, depth) <= value);
            let below = leaves.get(start..end).unwrap_or_default();
            if branch.hashes.get(usize::from(value)) != Some(&hash_of(below, depth + 1)) {
                self.tell(
                    Part::Derived,
                    "a branch of the digest tree isn't that of its feeds",
                );
            }
            if let Some(child) = prefix.child(value) {
                self.branch(space, &child, below)?;
            }
        }
        Ok(())
    }
}
