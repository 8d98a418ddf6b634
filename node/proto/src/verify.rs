//! From received bytes to entries that may be stored: the only place that makes a [`VerifiedRun`].

use std::ops::Range;

use crate::{
    admission::AdmissionError,
    body::{Body, BodyError},
    entry::{Head, Header, NO_BACKLINK, is_checkpoint},
    fork::{Branch, ForkProof},
    ids::{DeviceId, EntryId, IdentityId},
    keys::{Domain, Signature, verify},
    limits::CHECKPOINT_ENTRIES,
    run::{BodyPart, Run},
    space::SpaceContext,
    time::Millis,
    wire::WireError,
};

/// Why a peer's entries, proofs or frames are dropped. Each way to break the protocol has its own
/// variant, which is counted; none of them is an error of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// The bytes are no run.
    #[error("not a run of entries: {0}")]
    Layout(#[from] WireError),
    /// The run begins behind what is known.
    #[error("a run begins at entry {found}, {expected} comes next")]
    Gap {
        /// The entry that comes next.
        expected: u64,
        /// Where the run begins.
        found: u64,
    },
    /// The last entry has no signature, and nothing else vouches for it.
    #[error("the last entry of a run is not signed")]
    Unsigned,
    /// A checkpoint without its signature.
    #[error("the checkpoint {seq} has no signature")]
    CheckpointUnsigned {
        /// Its place.
        seq: u64,
    },
    /// A signature where none belongs.
    #[error("the entry {seq} is neither the last nor a checkpoint, but signed")]
    StraySignature {
        /// Its place.
        seq: u64,
    },
    /// A signature that isn't the device's.
    #[error("the signature of entry {seq} does not hold")]
    BadSignature {
        /// Its place.
        seq: u64,
    },
    /// The first entry has a backlink.
    #[error("the first entry of a feed has a backlink")]
    BacklinkBeforeFirst,
    /// The first entry is no genesis, or has no body.
    #[error("the first entry of a feed is not a genesis")]
    NoGenesis,
    /// A genesis further up.
    #[error("entry {seq} is a second genesis")]
    SecondGenesis {
        /// Its place.
        seq: u64,
    },
    /// The genesis is another device's.
    #[error("the first entry certifies another device")]
    ForeignGenesis,
    /// The author wasn't let in.
    #[error("the author may not write here: {0}")]
    NotAdmitted(AdmissionError),
    /// A body that can't be.
    #[error("the body of entry {seq} is refused: {reason}")]
    Body {
        /// Its place.
        seq: u64,
        /// What is wrong with it.
        reason: BodyError,
    },
    /// An article's quotable content isn't signed by its author.
    #[error("the quotable content of entry {seq} is not signed by its author")]
    Quote {
        /// Its place.
        seq: u64,
    },
    /// A revocation that its identity didn't sign.
    #[error("the revocation in entry {seq} is not signed by its identity")]
    Revocation {
        /// Its place.
        seq: u64,
    },
    /// At or above a known fork.
    #[error("entries at and above {fork} are refused, because the author forked there")]
    BeyondFork {
        /// Where the author forked.
        fork: u64,
    },
    /// Above the last good entry of a revoked device.
    #[error("entries above {last} are refused, because the device was revoked")]
    BeyondRevocation {
        /// The last good entry.
        last: u64,
    },
    /// Not the branch that a revocation keeps.
    #[error("entry {seq} is not on the branch that the revocation keeps")]
    OtherBranch {
        /// Its place.
        seq: u64,
    },
    /// A fork proof that proves nothing.
    #[error("the fork proof proves nothing")]
    ForkProof,
    /// A fork proof for a feed of which nothing is known.
    #[error("the fork proof is about an unknown feed")]
    ForkOfUnknownFeed,
    /// A body that wasn't asked for or isn't the one in the header.
    #[error("the body does not belong to entry {seq}")]
    ForeignBody {
        /// Its place.
        seq: u64,
    },
    /// The space holds as many feeds as it may, or an inviter let in too many.
    #[error("the space is full, or its inviter let in too many")]
    TooManyFeeds,
    /// One identity with too many devices.
    #[error("an identity has more devices than it may have")]
    TooManyDevices,
    /// The space isn't held or isn't common with this contact.
    #[error("the space is not common")]
    NotCommon,
}

impl Reject {
    /// A short name for counters and logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Layout(_) => "layout",
            Self::Gap { .. } => "gap",
            Self::Unsigned => "unsigned",
            Self::CheckpointUnsigned { .. } => "checkpoint-unsigned",
            Self::StraySignature { .. } => "stray-signature",
            Self::BadSignature { .. } => "bad-signature",
            Self::BacklinkBeforeFirst => "backlink-before-first",
            Self::NoGenesis => "no-genesis",
            Self::SecondGenesis { .. } => "second-genesis",
            Self::ForeignGenesis => "foreign-genesis",
            Self::NotAdmitted(_) => "not-admitted",
            Self::Body { .. } => "body",
            Self::Quote { .. } => "quote",
            Self::Revocation { .. } => "revocation",
            Self::BeyondFork { .. } => "beyond-fork",
            Self::BeyondRevocation { .. } => "beyond-revocation",
            Self::OtherBranch { .. } => "other-branch",
            Self::ForkProof => "fork-proof",
            Self::ForkOfUnknownFeed => "fork-of-unknown-feed",
            Self::ForeignBody { .. } => "foreign-body",
            Self::TooManyFeeds => "too-many-feeds",
            Self::TooManyDevices => "too-many-devices",
            Self::NotCommon => "not-common",
        }
    }
}

/// The end of a device as validation needs it: the last good entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastGood {
    /// Its place.
    pub seq: u64,
    /// Its id.
    pub id: EntryId,
}

/// A known fork as validation needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForkPoint {
    /// The lowest place with two entries.
    pub seq: u64,
    /// Id of the entry before it, which both branches share.
    pub backlink: EntryId,
}

/// What is known of a feed before a run is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedFacts {
    /// The device.
    pub device: DeviceId,
    /// How far the feed is known.
    pub head: Head,
    /// A known fork; none where a revocation overrules it.
    pub fork: Option<ForkPoint>,
    /// A revocation.
    pub revoked: Option<LastGood>,
}

impl FeedFacts {
    /// A feed of which nothing is known.
    #[must_use]
    pub const fn unknown(device: DeviceId) -> Self {
        Self {
            device,
            head: Head::EMPTY,
            fork: None,
            revoked: None,
        }
    }
}

/// An entry that passed every check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedItem {
    /// Its id.
    pub id: EntryId,
    /// The author's claim of the time.
    pub created: Millis,
    /// Length of the body.
    pub body_len: u32,
    /// Hash of the body.
    pub body_hash: [u8; 32],
    body: Option<Range<usize>>,
}

/// Entries that continue a feed and passed every check. Only [`verify_run`] and an author make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedRun {
    bytes: Vec<u8>,
    device: DeviceId,
    start: u64,
    backlink: EntryId,
    items: Vec<VerifiedItem>,
    signatures: Vec<(u64, Signature)>,
    head: Head,
    author: Option<IdentityId>,
}

impl VerifiedRun {
    /// The feed's device.
    #[must_use]
    pub const fn device(&self) -> DeviceId {
        self.device
    }

    /// Place of the first entry.
    #[must_use]
    pub const fn start(&self) -> u64 {
        self.start
    }

    /// Id of the entry before the first.
    #[must_use]
    pub const fn backlink(&self) -> EntryId {
        self.backlink
    }

    /// The entries.
    #[must_use]
    pub fn items(&self) -> &[VerifiedItem] {
        &self.items
    }

    /// Signatures by seq, ascending: the checkpoints' and the last entry's.
    #[must_use]
    pub fn signatures(&self) -> &[(u64, Signature)] {
        &self.signatures
    }

    /// The head behind the last entry.
    #[must_use]
    pub const fn head(&self) -> Head {
        self.head
    }

    /// The author, where this run begins with the genesis.
    #[must_use]
    pub const fn author(&self) -> Option<IdentityId> {
        self.author
    }

    /// The bytes of a body, `None` where it is absent.
    #[must_use]
    pub fn body_bytes(&self, item: &VerifiedItem) -> Option<&[u8]> {
        self.bytes.get(item.body.clone()?)
    }

    /// A body, `None` where it is absent. Costs the decoding.
    #[must_use]
    pub fn body(&self, item: &VerifiedItem) -> Option<Body<'_>> {
        Body::decode(self.body_bytes(item)?).ok()
    }

    /// The same run without its first entries, which are known already. `None` where `head` isn't
    /// on this chain or nothing would be left.
    #[must_use]
    pub fn after(mut self, head: &Head) -> Option<Self> {
        let skip = usize::try_from(head.next.checked_sub(self.start)?).ok()?;
        if skip > 0 {
            if self.items.get(skip - 1)?.id != head.top {
                return None;
            }
            self.items.drain(..skip);
            self.signatures.retain(|(seq, _)| *seq >= head.next);
            self.author = None;
        } else if self.backlink != head.top {
            return None;
        }
        self.start = head.next;
        self.backlink = head.top;
        (!self.items.is_empty()).then_some(self)
    }
}

/// A run that disagrees with what is known, or lies wholly inside it. Its last signature holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    device: DeviceId,
    start: u64,
    backlink: EntryId,
    headers: Vec<(EntryId, Header)>,
    signatures: Vec<(u32, Signature)>,
}

/// What an [`Overlap`] turns out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparison {
    /// Everything in it is known.
    Known,
    /// It disagrees already at its first entry's backlink: ask from further down.
    Below,
    /// The author signed something else at this place.
    Fork {
        /// The lowest place where the two differ.
        seq: u64,
        /// What both have before it.
        backlink: EntryId,
        /// The other branch, to its next signature.
        theirs: Branch,
    },
}

impl Overlap {
    /// The feed's device.
    #[must_use]
    pub const fn device(&self) -> DeviceId {
        self.device
    }

    /// Place of the first entry.
    #[must_use]
    pub const fn start(&self) -> u64 {
        self.start
    }

    /// Compares with the own ids: `ours(seq)` is `None` above the own head.
    pub fn compare<E>(
        &self,
        mut ours: impl FnMut(u64) -> Result<Option<EntryId>, E>,
    ) -> Result<Comparison, E> {
        if let Some(before) = self.start.checked_sub(1)
            && ours(before)? != Some(self.backlink)
        {
            return Ok(Comparison::Below);
        }
        let mut backlink = self.backlink;
        for (at, (id, header)) in self.headers.iter().enumerate() {
            match ours(header.seq)? {
                Some(own) if own == *id => backlink = *id,
                None => return Ok(Comparison::Known),
                Some(_) => {
                    let signed = self
                        .signatures
                        .iter()
                        .find(|(index, _)| *index as usize >= at);
                    let Some((index, signature)) = signed else {
                        return Ok(Comparison::Known);
                    };
                    let headers = self.headers.get(at..=*index as usize).unwrap_or_default();
                    let theirs = Branch::new(headers.iter().map(|(_, header)| header), *signature);
                    return Ok(Comparison::Fork {
                        seq: header.seq,
                        backlink,
                        theirs,
                    });
                }
            }
        }
        Ok(Comparison::Known)
    }
}

/// What a run turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It continues the feed.
    Continues(VerifiedRun),
    /// It overlaps what is known and has to be compared with it.
    Overlaps(Overlap),
}

/// Checks a run of a feed against what is known of it.
///
/// # Errors
/// The way in which the peer broke the protocol.
pub fn verify_run(
    space: &SpaceContext,
    facts: &FeedFacts,
    bytes: Vec<u8>,
) -> Result<Outcome, Reject> {
    let run = Run::decode(&bytes)?;
    let head = &facts.head;
    if run.start > head.next {
        return Err(Reject::Gap {
            expected: head.next,
            found: run.start,
        });
    }
    if run.start == 0 && run.backlink != NO_BACKLINK {
        return Err(Reject::BacklinkBeforeFirst);
    }
    let headers: Vec<(EntryId, Header)> = run.headers(space.id, facts.device).collect();
    let agrees = match usize::try_from(head.next - run.start) {
        Ok(0) => run.backlink == head.top,
        Ok(known) => headers
            .get(known - 1)
            .is_some_and(|(id, _)| *id == head.top),
        Err(_) => false,
    };
    if !agrees || run.end() <= head.next {
        check_signature(
            facts.device,
            &run,
            &headers,
            run.signatures.last().ok_or(Reject::Unsigned)?,
        )?;
        let Run {
            start,
            backlink,
            signatures,
            ..
        } = run;
        return Ok(Outcome::Overlaps(Overlap {
            device: facts.device,
            start,
            backlink,
            headers,
            signatures,
        }));
    }
    check_ends(facts, &run, &headers)?;
    let (after, signatures) = check_signatures(facts, &run, &headers)?;
    let author = check_bodies(space, facts.device, &run, &headers, head.next)?;
    let items = items(&bytes, &run, &headers);
    let (device, start, backlink) = (facts.device, run.start, run.backlink);
    let verified = VerifiedRun {
        bytes,
        device,
        start,
        backlink,
        items,
        signatures,
        head: after,
        author,
    };
    verified
        .after(head)
        .map(Outcome::Continues)
        .ok_or(Reject::Unsigned)
}

/// Makes an author's own entry into a run of one, which needs no checking.
#[must_use]
pub fn own_entry(
    header: &Header,
    body: Vec<u8>,
    signature: Signature,
    head: &Head,
    author: Option<IdentityId>,
) -> VerifiedRun {
    let id = header.id();
    let item = VerifiedItem {
        id,
        created: header.created,
        body_len: header.body_len,
        body_hash: header.body_hash,
        body: Some(0..body.len()),
    };
    VerifiedRun {
        bytes: body,
        device: header.device,
        start: header.seq,
        backlink: header.backlink,
        items: vec![item],
        signatures: vec![(header.seq, signature)],
        head: head.after(id, header.body_len),
        author,
    }
}

/// Forks and revocations: what is above them is refused.
fn check_ends(
    facts: &FeedFacts,
    run: &Run<'_>,
    headers: &[(EntryId, Header)],
) -> Result<(), Reject> {
    if let Some(last) = facts.revoked {
        if run.end() > last.seq.saturating_add(1) {
            return Err(Reject::BeyondRevocation { last: last.seq });
        }
        if let Some((id, header)) = headers.last()
            && header.seq == last.seq
            && *id != last.id
        {
            return Err(Reject::OtherBranch { seq: last.seq });
        }
    } else if let Some(fork) = facts.fork
        && run.end() > fork.seq
    {
        return Err(Reject::BeyondFork { fork: fork.seq });
    }
    Ok(())
}

/// Who vouches for the last entry: its signature, else a fork's shared backlink or a revocation.
fn vouched(facts: &FeedFacts, last: &(EntryId, Header)) -> bool {
    let by_fork = facts
        .fork
        .is_some_and(|fork| fork.seq == last.1.seq + 1 && fork.backlink == last.0);
    let by_revocation = facts
        .revoked
        .is_some_and(|good| good.seq == last.1.seq && good.id == last.0);
    by_fork || by_revocation
}

type Signed = (Head, Vec<(u64, Signature)>);

fn check_signatures(
    facts: &FeedFacts,
    run: &Run<'_>,
    headers: &[(EntryId, Header)],
) -> Result<Signed, Reject> {
    let mut head = facts.head;
    let mut kept = Vec::with_capacity(run.signatures.len());
    let mut signatures = run.signatures.iter().peekable();
    let known = facts.head.next - run.start;
    while signatures
        .next_if(|(index, _)| u64::from(*index) < known)
        .is_some()
    {}
    for (at, entry) in headers.iter().enumerate() {
        let (id, header) = entry;
        if header.seq < facts.head.next {
            continue;
        }
        let checkpoint = is_checkpoint(
            header.seq,
            head.since_checkpoint + u64::from(header.body_len),
        );
        let last = at + 1 == headers.len();
        match signatures.next_if(|(index, _)| *index as usize == at) {
            Some(_) if !checkpoint && !last => {
                return Err(Reject::StraySignature { seq: header.seq });
            }
            Some(signed) => {
                check_signature(facts.device, run, headers, signed)?;
                kept.push((header.seq, signed.1));
            }
            None if checkpoint => return Err(Reject::CheckpointUnsigned { seq: header.seq }),
            None if last && !vouched(facts, entry) => return Err(Reject::Unsigned),
            None => {}
        }
        head = head.after(*id, header.body_len);
    }
    Ok((head, kept))
}

fn check_signature(
    device: DeviceId,
    run: &Run<'_>,
    headers: &[(EntryId, Header)],
    (index, signature): &(u32, Signature),
) -> Result<(), Reject> {
    let seq = run.start + u64::from(*index);
    let holds = headers
        .get(*index as usize)
        .is_some_and(|(id, _)| verify(&device.0, Domain::Entry, &id.0, signature));
    if holds {
        Ok(())
    } else {
        Err(Reject::BadSignature { seq })
    }
}

fn check_bodies(
    space: &SpaceContext,
    device: DeviceId,
    run: &Run<'_>,
    headers: &[(EntryId, Header)],
    from: u64,
) -> Result<Option<IdentityId>, Reject> {
    let mut author = None;
    for (item, (_, header)) in run.items.iter().zip(headers) {
        let seq = header.seq;
        if seq < from {
            continue;
        }
        let BodyPart::Present(bytes) = item.body else {
            if seq == 0 {
                return Err(Reject::NoGenesis);
            }
            continue;
        };
        let body = Body::decode(bytes).map_err(|reason| Reject::Body { seq, reason })?;
        if seq == 0 {
            author = Some(check_genesis(space, device, &body)?);
        }
        check_body(space, header, &body)?;
    }
    Ok(author)
}

/// What can only be checked with the header beside the body.
fn check_body(space: &SpaceContext, header: &Header, body: &Body<'_>) -> Result<(), Reject> {
    let seq = header.seq;
    match body {
        Body::Genesis(_) if seq > 0 => Err(Reject::SecondGenesis { seq }),
        Body::Article {
            title,
            text,
            tags,
            quote,
        } => {
            let quotable = crate::body::Quotable {
                title,
                text,
                tags: tags.clone(),
                created: header.created,
            };
            if quotable.holds(header.device, quote) {
                Ok(())
            } else {
                Err(Reject::Quote { seq })
            }
        }
        Body::Revocation(revocation) if !revocation.holds(space.id) => {
            Err(Reject::Revocation { seq })
        }
        _ => Ok(()),
    }
}

fn check_genesis(
    space: &SpaceContext,
    device: DeviceId,
    body: &Body<'_>,
) -> Result<IdentityId, Reject> {
    let Body::Genesis(genesis) = body else {
        return Err(Reject::NoGenesis);
    };
    if genesis.certificate.device != device {
        return Err(Reject::ForeignGenesis);
    }
    let author = genesis.certificate.identity;
    genesis
        .chain
        .check(space, author)
        .map_err(Reject::NotAdmitted)?;
    Ok(author)
}

fn items(bytes: &[u8], run: &Run<'_>, headers: &[(EntryId, Header)]) -> Vec<VerifiedItem> {
    let base = bytes.as_ptr() as usize;
    run.items
        .iter()
        .zip(headers)
        .map(|(item, (id, header))| VerifiedItem {
            id: *id,
            created: header.created,
            body_len: header.body_len,
            body_hash: header.body_hash,
            body: match item.body {
                BodyPart::Present(body) => {
                    let at = body.as_ptr() as usize - base;
                    Some(at..at + body.len())
                }
                BodyPart::Absent { .. } => None,
            },
        })
        .collect()
}

/// Checks a body that fills a hole: it must be the one that the header names, and well formed.
///
/// # Errors
/// See [`Reject`].
pub fn verify_body(space: &SpaceContext, header: &Header, body: &[u8]) -> Result<(), Reject> {
    let seq = header.seq;
    if body.len() != header.body_len as usize || *blake3::hash(body).as_bytes() != header.body_hash
    {
        return Err(Reject::ForeignBody { seq });
    }
    let decoded = Body::decode(body).map_err(|reason| Reject::Body { seq, reason })?;
    check_body(space, header, &decoded)
}

/// Checks one chunk of a tail: entries above a gap, authenticated from above by an id that is
/// known already. Returns the backlink of its first entry, which authenticates the next chunk down.
///
/// # Errors
/// See [`Reject`].
pub fn verify_tail_chunk(
    space: &SpaceContext,
    device: DeviceId,
    above: EntryId,
    bytes: &[u8],
) -> Result<EntryId, Reject> {
    let run = Run::decode(bytes)?;
    let headers: Vec<(EntryId, Header)> = run.headers(space.id, device).collect();
    let top = headers.last().map(|(id, _)| *id);
    if top != Some(above) || run.start == 0 {
        return Err(Reject::OtherBranch {
            seq: run.end().saturating_sub(1),
        });
    }
    check_bodies(space, device, &run, &headers, run.start)?;
    Ok(run.backlink)
}

/// Checks a fork proof for a feed.
///
/// # Errors
/// [`Reject::ForkProof`], [`Reject::ForkOfUnknownFeed`].
pub fn verify_fork(
    space: &SpaceContext,
    facts: &FeedFacts,
    bytes: &[u8],
) -> Result<ForkProof, Reject> {
    let proof = ForkProof::decode(bytes).map_err(|_| Reject::ForkProof)?;
    if facts.head.next == 0 {
        return Err(Reject::ForkOfUnknownFeed);
    }
    if proof.holds(space.id, facts.device) {
        Ok(proof)
    } else {
        Err(Reject::ForkProof)
    }
}

/// Where to begin asking again when two chains differ below `start`: just behind the checkpoint before it.
#[must_use]
pub const fn ask_below(start: u64) -> u64 {
    let Some(before) = start.checked_sub(2) else {
        return 0;
    };
    let checkpoint = before / CHECKPOINT_ENTRIES * CHECKPOINT_ENTRIES;
    if checkpoint == 0 { 0 } else { checkpoint + 1 }
}
