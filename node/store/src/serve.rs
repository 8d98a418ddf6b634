//! What a meeting reads: digests, frontiers, runs, proofs and bodies.

use std::ops::Bound;

use proto::{
    DeviceId, IdentityId, SpaceId,
    body::rule::Removal,
    frontier::{Frontier, Holes, Tail},
    merkle::{BUCKET_FEEDS_MAX, Hash, Node, Prefix},
    run::{BodyPart, Item, Run},
    session::{EndProof, ServedRun, ServedTail, SpaceStore},
    space::{Descriptor, Membership, SpaceContext, SpaceKind},
    verify::{FeedFacts, LastGood},
};

use crate::{
    error::{Error, Result},
    keys::{Key, Prefixed, number_at, u32_at},
    rows::{FeedRow, SpaceRow},
    segment::Segment,
    tables::{Source, Table},
    view::View,
};

pub(crate) fn context_of(row: &SpaceRow) -> Result<SpaceContext> {
    let corrupt = Error::Corrupt {
        table: Table::Spaces.name(),
    };
    let members = match (row.kind, &row.descriptor, row.pair) {
        (SpaceKind::Conversation, _, Some(pair)) => Membership::Pair(pair),
        (SpaceKind::Own, _, Some([owner, _])) => Membership::Own(owner),
        (kind, Some(descriptor), _) => Membership::Admitted {
            kind,
            creator: Descriptor::decode(descriptor).map_err(|_| corrupt)?.creator,
        },
        _ => return Err(corrupt),
    };
    Ok(SpaceContext {
        id: row.id,
        members,
    })
}

/// Whether something but a signature vouches for a feed's last entry.
pub(crate) fn vouched(row: &FeedRow) -> bool {
    match (row.revoked, row.fork) {
        (Some((_, last)), _) => last.seq.checked_add(1) == Some(row.head.next),
        (None, Some(fork)) => fork.seq == row.head.next,
        (None, None) => false,
    }
}

impl<S: Source> View<S> {
    /// The facts that validation needs of a feed.
    ///
    /// # Errors
    /// The database's.
    pub fn facts(&self, space: SpaceId, device: DeviceId) -> Result<FeedFacts> {
        let Some((_, row)) = self.find_feed(space, device)? else {
            return Ok(FeedFacts::unknown(device));
        };
        Ok(facts_of(&row))
    }

    /// What entries of a space are checked against; `None` where it isn't held.
    ///
    /// # Errors
    /// The database's.
    pub fn context(&self, space: SpaceId) -> Result<Option<SpaceContext>> {
        let Some(number) = self.space_number(space)? else {
            return Ok(None);
        };
        context_of(&self.space_row(number)?).map(Some)
    }

    /// The root of a space's tree of feeds; that of an empty tree where it isn't held.
    ///
    /// # Errors
    /// The database's.
    pub fn digest(&self, space: SpaceId) -> Result<Hash> {
        match self.space_number(space)? {
            Some(number) => self.root(number),
            None => Ok(proto::merkle::EMPTY),
        }
    }

    /// One feed's frontier; `None` where nothing is known of it. A feed that was dropped whole
    /// still has one, with its fork.
    ///
    /// # Errors
    /// The database's.
    pub fn frontier(&self, space: SpaceId, device: DeviceId) -> Result<Option<Frontier>> {
        self.find_feed(space, device)?
            .map(|(number, row)| self.frontier_of(number, &row))
            .transpose()
    }

    pub(crate) fn frontier_of(&self, feed: u32, row: &FeedRow) -> Result<Frontier> {
        let holes = if row.holes == 0 {
            Holes::default()
        } else {
            Holes::of(self.holes_of(feed, usize::MAX)?.into_iter())
        };
        let revoked = row.revoked.map(|(_, last)| last.seq);
        Ok(Frontier {
            device: row.device,
            base: row.head.next,
            top: row.head.top,
            tail: row.tail.map(|tail| Tail {
                start: tail.facts.start,
                end: tail.facts.next,
                top: tail.facts.top,
            }),
            fork: match revoked {
                None => row.fork.map(|fork| fork.seq),
                Some(_) => None,
            },
            revoked,
            holes,
        })
    }

    fn holes_of(&self, feed: u32, limit: usize) -> Result<Vec<u64>> {
        let range = Prefixed::new(Key::new().u32(feed));
        self.0
            .rows(Table::Holes, range.bounds())?
            .take(limit)
            .map(|row| Ok(number_at(row?.0.value(), 4, 8)))
            .collect()
    }

    /// Places of a feed's missing bodies, ascending, at most `limit`.
    ///
    /// # Errors
    /// The database's.
    pub fn holes(&self, space: SpaceId, device: DeviceId, limit: usize) -> Result<Vec<u64>> {
        match self.find_feed(space, device)? {
            Some((number, _)) => self.holes_of(number, limit),
            None => Ok(Vec::new()),
        }
    }

    /// Frontiers of a subtree by device, after `after`, at most `limit`. Feeds of which nothing is
    /// held are left out, as in the tree.
    ///
    /// # Errors
    /// The database's.
    pub fn frontiers(
        &self,
        space: SpaceId,
        prefix: &Prefix,
        after: Option<DeviceId>,
        limit: usize,
    ) -> Result<Vec<Frontier>> {
        let Some(space) = self.space_number(space)? else {
            return Ok(Vec::new());
        };
        let (low, high) = prefix.bounds();
        let key = |device: &DeviceId| Key::new().u32(space).bytes(&device.0);
        let (low_key, high_key) = (key(&low), key(&high));
        let after_key = after.filter(|after| *after >= low).map(|after| key(&after));
        let start = after_key.as_ref().map_or_else(
            || Bound::Included(low_key.as_slice()),
            |after| Bound::Excluded(after.as_slice()),
        );
        if after.is_some_and(|after| after >= high) {
            return Ok(Vec::new());
        }
        let mut frontiers = Vec::new();
        let rows = self.0.rows(
            Table::FeedNumbers,
            (start, Bound::Included(high_key.as_slice())),
        )?;
        for row in rows {
            if frontiers.len() >= limit {
                break;
            }
            let feed = u32_at(row?.1.value(), 0);
            let row = self.known_feed(feed)?;
            if row.head.next > 0 {
                frontiers.push(self.frontier_of(feed, &row)?);
            }
        }
        Ok(frontiers)
    }

    /// A subtree of a space's tree.
    ///
    /// # Errors
    /// The database's.
    pub fn tree_node(&self, space: SpaceId, prefix: &Prefix) -> Result<Node> {
        if let Some(number) = self.space_number(space)?
            && let Some(branch) = self.branch(number, prefix)?
        {
            return Ok(Node::Branch(Box::new(branch.hashes)));
        }
        // Only a subtree at the bottom of the tree could have more feeds and no branch.
        self.frontiers(space, prefix, None, BUCKET_FEEDS_MAX)
            .map(Node::Bucket)
    }

    /// An encoded run from `from` to a signed entry: the next one, and those after it that fit
    /// `entries_max` and `bytes_max` whole. The last run of a forked or revoked feed may end
    /// unsigned. `None` where nothing more can be served.
    ///
    /// # Errors
    /// The database's.
    pub fn run(
        &self,
        space: SpaceId,
        device: DeviceId,
        from: u64,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<Option<ServedRun>> {
        let Some((feed, row)) = self.find_feed(space, device)? else {
            return Ok(None);
        };
        let Some(limit) = row.end_above(from) else {
            return Ok(None);
        };
        let Some(first) = self.segment(feed, from)? else {
            return Ok(None);
        };
        let backlink = {
            let run = first.run()?;
            run.headers(space, device)
                .take_while(|(_, header)| header.seq < from)
                .last()
                .map_or(run.backlink, |(id, _)| id)
        };
        let mut segments = vec![first];
        let bounds = (entries_max, bytes_max);
        let cut = self.choose_end(feed, &row, (from, limit), &mut segments, bounds)?;
        let mut run = Run::new(from, backlink);
        for segment in &segments {
            let part = segment.run()?;
            copy_part(&mut run, &part, from, cut);
        }
        if run.items.is_empty() {
            return Ok(None);
        }
        Ok(Some(ServedRun {
            end: run.end(),
            bytes: run.encode(),
        }))
    }

    /// Finds where a run that starts at `from` ends, reading segments until it does.
    fn choose_end(
        &self,
        feed: u32,
        row: &FeedRow,
        (from, limit): (u64, u64),
        segments: &mut Vec<Segment>,
        (entries_max, bytes_max): (usize, usize),
    ) -> Result<u64> {
        let (mut end, mut entries, mut bytes) = (from, 0_usize, 0_usize);
        loop {
            let Some(segment) = segments.last() else {
                return Ok(end);
            };
            let part = segment.run()?;
            let mut signed = part.signatures.iter().peekable();
            for (seq, item) in (part.start..).zip(&part.items) {
                let is_signed = signed
                    .next_if(|(index, _)| part.start + u64::from(*index) == seq)
                    .is_some();
                if seq < from {
                    continue;
                }
                entries += 1;
                bytes += item.body.len() as usize + 16;
                if (entries > entries_max || bytes > bytes_max) && end > from {
                    return Ok(end);
                }
                if is_signed || (seq + 1 == row.head.next && vouched(row)) {
                    end = seq + 1;
                }
            }
            if part.end() >= limit {
                return Ok(end);
            }
            let next = part.end();
            segments.push(self.segment(feed, next)?.ok_or(Error::Corrupt {
                table: Table::Sealed.name(),
            })?);
        }
    }

    /// An encoded run of the entries just below `end`, or of the newest where that is `None`: none
    /// below `from`, no more than `bytes_max` bytes of bodies and one entry, and no more than one
    /// segment has. `None` where nothing of that is held, and for a feed that has ended.
    ///
    /// # Errors
    /// The database's.
    pub fn tail_run(
        &self,
        space: SpaceId,
        device: DeviceId,
        (from, end): (u64, Option<u64>),
        bytes_max: usize,
    ) -> Result<Option<ServedTail>> {
        let Some((feed, row)) = self.find_feed(space, device)? else {
            return Ok(None);
        };
        let newest = row.tail.map_or(row.head.next, |tail| tail.facts.next);
        let end = end.unwrap_or(newest);
        let Some(last) = end.checked_sub(1).filter(|last| row.holds(*last)) else {
            return Ok(None);
        };
        let ended = row.fork.is_some() || row.revoked.is_some();
        let Some(segment) = self.segment(feed, last)?.filter(|_| !ended) else {
            return Ok(None);
        };
        let part = segment.run()?;
        let lowest = from.max(part.start).max(1);
        let (mut start, mut bytes) = (end, 0_usize);
        while start > lowest {
            let at = usize::try_from(start - 1 - part.start).unwrap_or(usize::MAX);
            bytes += part
                .items
                .get(at)
                .map_or(0, |item| item.body.len() as usize);
            if bytes > bytes_max && start < end {
                break;
            }
            start -= 1;
        }
        let before = part
            .headers(space, device)
            .take_while(|(_, header)| header.seq < start)
            .last();
        let mut run = Run::new(start, before.map_or(part.backlink, |(id, _)| id));
        copy_part(&mut run, &part, start, end);
        if run.items.is_empty() {
            return Ok(None);
        }
        Ok(Some(ServedTail {
            start,
            entries: run.items.len() as u64,
            bytes: run.encode(),
        }))
    }

    /// The proof of a known fork.
    ///
    /// # Errors
    /// The database's.
    pub fn fork_proof(&self, space: SpaceId, device: DeviceId) -> Result<Option<Vec<u8>>> {
        match self.find_feed(space, device)? {
            Some((feed, _)) => self
                .0
                .with(Table::Forks, &feed.to_be_bytes(), |proof| proof.to_vec()),
            None => Ok(None),
        }
    }

    /// The body of the revocation, or of the removal from a circle, that is in force for a device: a
    /// statement that anybody can
    /// check without the entry that brought it.
    ///
    /// # Errors
    /// The database's.
    pub fn revocation(&self, space: SpaceId, device: DeviceId) -> Result<Option<Vec<u8>>> {
        let Some((_, row)) = self.find_feed(space, device)? else {
            return Ok(None);
        };
        let Some((identity, last)) = row.revoked else {
            return Ok(None);
        };
        if row.owner != Some(identity) {
            return self.removal_body(&row, identity, last);
        }
        let key = revocation_key(row.space, device, identity);
        self.0
            .with(Table::Revocations, key.as_slice(), |body| body.to_vec())
    }

    /// What ended a feed: the revocation that is in force, else the proof of a known fork.
    ///
    /// # Errors
    /// The database's.
    pub fn end_proof(&self, space: SpaceId, device: DeviceId) -> Result<Option<EndProof>> {
        if let Some(body) = self.revocation(space, device)? {
            return Ok(Some(EndProof::Revocation(body)));
        }
        Ok(self.fork_proof(space, device)?.map(EndProof::Fork))
    }

    /// A body that is held.
    ///
    /// # Errors
    /// The database's.
    pub fn body(&self, space: SpaceId, device: DeviceId, seq: u64) -> Result<Option<Vec<u8>>> {
        let Some((feed, row)) = self.find_feed(space, device)? else {
            return Ok(None);
        };
        if !row.holds(seq) {
            return Ok(None);
        }
        let Some(segment) = self.segment(feed, seq)? else {
            return Ok(None);
        };
        let run = segment.run()?;
        let item = seq
            .checked_sub(run.start)
            .and_then(|at| run.items.get(usize::try_from(at).ok()?));
        Ok(match item.map(|item| item.body) {
            Some(BodyPart::Present(bytes)) => Some(bytes.to_vec()),
            _ => None,
        })
    }
}

pub(crate) fn facts_of(row: &FeedRow) -> FeedFacts {
    let revoked: Option<LastGood> = row.revoked.map(|(_, last)| last);
    FeedFacts {
        device: row.device,
        author: row.owner,
        head: row.head,
        tail: row.tail.map(|tail| tail.facts),
        fork: match revoked {
            None => row.fork,
            Some(_) => None,
        },
        revoked,
    }
}

pub(crate) fn revocation_key(space: u32, device: DeviceId, identity: IdentityId) -> Key {
    Key::new().u32(space).bytes(&device.0).bytes(&identity.0)
}

/// Appends the entries of `part` in `from..end` to a run, with their signatures.
fn copy_part<'a>(run: &mut Run<'a>, part: &Run<'a>, from: u64, end: u64) {
    let mut signatures = part.signatures.iter().peekable();
    for (seq, item) in (part.start..).zip(&part.items) {
        let signature = signatures.next_if(|(index, _)| part.start + u64::from(*index) == seq);
        if seq < from || seq >= end {
            continue;
        }
        if let Some((_, signature)) = signature
            && let Ok(index) = u32::try_from(run.items.len())
        {
            run.signatures.push((index, *signature));
        }
        let Item { created, body } = *item;
        run.items.push(Item { created, body });
    }
}

/// Entries in one run as a meeting serves it: one checkpoint's worth.
const SERVED_ENTRIES_MAX: usize = 1;
/// With the bound above, each run ends at the first signed entry.
const SERVED_BYTES_MAX: usize = 1;

impl<S: Source> SpaceStore for View<S> {
    type Error = Error;

    fn context(&self, space: SpaceId) -> Result<Option<SpaceContext>> {
        Self::context(self, space)
    }

    fn digest(&self, space: SpaceId) -> Result<Hash> {
        Self::digest(self, space)
    }

    fn node(&self, space: SpaceId, prefix: &Prefix) -> Result<Node> {
        self.tree_node(space, prefix)
    }

    fn frontier(&self, space: SpaceId, device: DeviceId) -> Result<Option<Frontier>> {
        Self::frontier(self, space, device)
    }

    fn frontiers(
        &self,
        space: SpaceId,
        prefix: &Prefix,
        after: Option<DeviceId>,
        limit: usize,
    ) -> Result<Vec<Frontier>> {
        Self::frontiers(self, space, prefix, after, limit)
    }

    fn facts(&self, space: SpaceId, device: DeviceId) -> Result<FeedFacts> {
        Self::facts(self, space, device)
    }

    fn run(&self, space: SpaceId, device: DeviceId, from: u64) -> Result<Option<ServedRun>> {
        Self::run(
            self,
            space,
            device,
            from,
            SERVED_ENTRIES_MAX,
            SERVED_BYTES_MAX,
        )
    }

    fn tail(
        &self,
        space: SpaceId,
        device: DeviceId,
        range: (u64, Option<u64>),
        bytes_max: usize,
    ) -> Result<Option<ServedTail>> {
        self.tail_run(space, device, range, bytes_max)
    }

    fn end_proof(&self, space: SpaceId, device: DeviceId) -> Result<Option<EndProof>> {
        Self::end_proof(self, space, device)
    }

    fn counts(&self, space: SpaceId, removal: &Removal) -> Result<bool> {
        self.removal_counts(space, removal)
    }

    fn body(&self, space: SpaceId, device: DeviceId, seq: u64) -> Result<Option<Vec<u8>>> {
        Self::body(self, space, device, seq)
    }

    fn holes(&self, space: SpaceId, device: DeviceId, limit: usize) -> Result<Vec<u64>> {
        Self::holes(self, space, device, limit)
    }
}
