//! From received bytes to entries that may be stored: the only place that makes a [`VerifiedRun`].
//!
//! The order of the checks is cheap before costly: form, place, chain, ends, signatures, bodies.
//! Nothing is allocated ahead of the bytes that are there, and nothing of a refused run is kept.
//! `docs/PROTOCOL.md` has the rules in words.

mod ends;
mod overlap;
mod reject;
mod tail;
#[cfg(test)]
mod tests;
mod verified;

pub use ends::End;
use ends::Ends;
pub(crate) use verified::own_entry;

pub use self::{
    overlap::{Comparison, Overlap},
    reject::Reject,
    tail::{TailFacts, VerifiedTail, unsigned_checkpoint, verify_tail_chunk},
    verified::{VerifiedItem, VerifiedRun},
};
use crate::{
    body::{
        Body, Quotable,
        rule::{Action, Removal},
    },
    entry::{Head, Header, NO_BACKLINK, is_checkpoint},
    fork::ForkProof,
    ids::{DeviceId, EntryId, IdentityId, SpaceId},
    keys::{Domain, Signature, verify},
    limits::CHECKPOINT_ENTRIES,
    run::{BodyPart, Linked, Run},
    space::SpaceContext,
    time::Millis,
};

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
    /// Whose it is, by its genesis, also where no entry of it is left.
    pub author: Option<IdentityId>,
    /// How far the feed is known.
    pub head: Head,
    /// What is known of it above a gap.
    pub tail: Option<TailFacts>,
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
            author: None,
            head: Head::EMPTY,
            tail: None,
            fork: None,
            revoked: None,
        }
    }

    /// Where the feed ends: a revocation beats a fork.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        let revoked = self.revoked.map(End::Revoked);
        revoked.or(self.fork.map(End::Fork))
    }
}

/// What a run turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It continues the feed.
    Continues(VerifiedRun),
    /// It continues what is known above a gap.
    ContinuesTail(VerifiedTail),
    /// It overlaps what is known and has to be compared with it.
    Overlaps(Overlap),
}

/// Checks a run of a feed against what is known of it. Entries above a known fork or revocation
/// are left out, where the branch below it is the one that is kept.
///
/// # Errors
/// The way in which the peer broke the protocol, or what keeps the run from being used.
pub fn verify_run(
    space: &SpaceContext,
    facts: &FeedFacts,
    bytes: Vec<u8>,
) -> Result<Outcome, Reject> {
    let run = Run::decode(&bytes)?;
    if let Some(tail) = facts.tail.filter(|tail| run.start >= tail.start) {
        return tail::continue_tail(space, facts, &tail, bytes);
    }
    let head = &facts.head;
    let known = head.next.checked_sub(run.start).ok_or(Reject::Gap {
        expected: head.next,
        found: run.start,
    })?;
    if run.start == 0 && run.backlink != NO_BACKLINK {
        return Err(Reject::BacklinkBeforeFirst);
    }
    let mut links: Vec<Linked> = Vec::with_capacity(run.items.len());
    links.extend(run.links(space.id, facts.device));
    let agrees = match usize::try_from(known) {
        Ok(0) => run.backlink == head.top,
        Ok(known) => links.get(known - 1).is_some_and(|link| link.id == head.top),
        Err(_) => false,
    };
    let ends = Ends::of(facts);
    let nothing_new = run.end() <= head.next || (known > 0 && ends.is_reached(head.next));
    if !agrees || nothing_new {
        return overlap(facts, &run, links, agrees).map(Outcome::Overlaps);
    }
    let kept = ends.keep(head.next, run.start, &links, |link| link.id)?;
    let (after, signatures) = check_signatures(facts, &ends, &run, &links, kept)?;
    let author = check_bodies(space, facts.device, &run, &links, head.next, kept)?;
    let items = items(&bytes, &run, &links, kept);
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

/// A run that brings nothing new, or another branch. All its signatures have to hold, because a
/// fork's proof takes them over; what stands behind the last of them proves nothing.
fn overlap(
    facts: &FeedFacts,
    run: &Run<'_>,
    mut links: Vec<Linked>,
    agrees: bool,
) -> Result<Overlap, Reject> {
    let (device, start, backlink) = (facts.device, run.start, run.backlink);
    let mut signatures = Vec::new();
    // What ends at the known top needs no signature: the chain leads to an id that is known.
    if !agrees {
        let (last, _) = run.signatures.last().ok_or(Reject::Unsigned)?;
        links.truncate(*last as usize + 1);
        let mut signed = run.signatures.iter().peekable();
        for (at, (seq, link)) in (start..).zip(&links).enumerate() {
            match signed.next_if(|(index, _)| *index as usize == at) {
                Some((_, signature)) => check_signature(device, seq, link.id, signature)?,
                // Else a branch could be longer than a proof may be.
                None if is_checkpoint(seq, 0) => return Err(Reject::CheckpointUnsigned { seq }),
                None => {}
            }
        }
        signatures.clone_from(&run.signatures);
    }
    Ok(Overlap {
        device,
        start,
        backlink,
        items: links,
        signatures,
    })
}

type Signed = (Head, Vec<(u64, Signature)>);

/// Checks the signatures of what is new among the first `kept` entries of a run.
fn check_signatures(
    facts: &FeedFacts,
    ends: &Ends,
    run: &Run<'_>,
    links: &[Linked],
    kept: usize,
) -> Result<Signed, Reject> {
    let mut head = facts.head;
    let mut held = Vec::with_capacity(run.signatures.len());
    let known = usize::try_from(facts.head.next - run.start).unwrap_or(usize::MAX);
    let first = run
        .signatures
        .partition_point(|(index, _)| (*index as usize) < known);
    let mut signatures = run.signatures.iter().skip(first).peekable();
    for (at, link) in links.iter().enumerate().take(kept).skip(known) {
        let seq = head.next;
        let checkpoint = head.checkpoint_next(link.body_len);
        match signatures.next_if(|(index, _)| *index as usize == at) {
            Some(_) if !checkpoint && at + 1 != links.len() => {
                return Err(Reject::StraySignature { seq });
            }
            Some((_, signature)) => {
                check_signature(facts.device, seq, link.id, signature)?;
                held.push((seq, *signature));
            }
            None if checkpoint => return Err(Reject::CheckpointUnsigned { seq }),
            None if at + 1 == kept && !ends.vouch(seq, link.id) => return Err(Reject::Unsigned),
            None => {}
        }
        head = head.after(link.id, link.body_len);
    }
    Ok((head, held))
}

fn check_signature(
    device: DeviceId,
    seq: u64,
    id: EntryId,
    signature: &Signature,
) -> Result<(), Reject> {
    if verify(&device.0, Domain::Entry, &id.0, signature) {
        Ok(())
    } else {
        Err(Reject::BadSignature { seq })
    }
}

/// Checks the bodies from the place `from` on among the first `kept` entries of a run.
fn check_bodies(
    space: &SpaceContext,
    device: DeviceId,
    run: &Run<'_>,
    links: &[Linked],
    from: u64,
    kept: usize,
) -> Result<Option<IdentityId>, Reject> {
    let mut author = None;
    let skip = usize::try_from(from - run.start).unwrap_or(usize::MAX);
    let entries = run.items.iter().zip(links).take(kept);
    for (seq, (item, link)) in (run.start..).zip(entries).skip(skip) {
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
        check_body(space.id, device, seq, link.created, &body)?;
    }
    Ok(author)
}

/// What can only be checked with the header beside the body.
fn check_body(
    space: SpaceId,
    device: DeviceId,
    seq: u64,
    created: Millis,
    body: &Body<'_>,
) -> Result<(), Reject> {
    match body {
        Body::Genesis(_) if seq > 0 => Err(Reject::SecondGenesis { seq }),
        Body::Article {
            title,
            text,
            tags,
            quote,
        } => {
            let quotable = Quotable {
                title,
                text,
                tags: tags.clone(),
                created,
            };
            if quotable.holds(device, quote) {
                Ok(())
            } else {
                Err(Reject::Quote { seq })
            }
        }
        Body::Revocation(revocation) if !revocation.holds(space) => Err(Reject::Revocation { seq }),
        Body::Rule(rule) => match &rule.action {
            Action::Remove(removal)
                if removal.by.device != device || removal.place != seq || !removal.holds(space) =>
            {
                Err(Reject::Removal { seq })
            }
            _ => Ok(()),
        },
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

fn items(bytes: &[u8], run: &Run<'_>, links: &[Linked], kept: usize) -> Vec<VerifiedItem> {
    let base = bytes.as_ptr() as usize;
    let entries = run.items.iter().zip(links).take(kept);
    entries
        .map(|(item, link)| VerifiedItem {
            id: link.id,
            created: link.created,
            body_len: link.body_len,
            body_hash: link.body_hash,
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
    check_body(space.id, header.device, seq, header.created, &decoded)
}

/// Checks a fork proof for a feed. Of several that hold, the one with the lowest place wins, then
/// the one with the lowest backlink. Where the entry before the fork isn't the one that the proof
/// names, another branch is held: it is dropped, and the one that the proof leads to fetched anew.
///
/// # Errors
/// [`Reject::ForkProof`], [`Reject::EndOfUnknownFeed`].
pub fn verify_fork(
    space: &SpaceContext,
    facts: &FeedFacts,
    bytes: &[u8],
) -> Result<ForkProof, Reject> {
    let proof = ForkProof::decode(bytes).map_err(|_| Reject::ForkProof)?;
    if facts.head.next == 0 {
        return Err(Reject::EndOfUnknownFeed);
    }
    if proof.holds(space.id, facts.device) {
        Ok(proof)
    } else {
        Err(Reject::ForkProof)
    }
}

/// Checks a revocation that came without the entry that carries it, for the feed of the device
/// that it names. Of several that hold, the one with the lowest place wins, then the one with the
/// lowest id.
///
/// # Errors
/// [`Reject::RevocationProof`], [`Reject::EndOfUnknownFeed`] also where another identity signed it
/// than the feed begins with: a device may have begun it twice.
pub fn verify_revocation(
    space: SpaceId,
    facts: &FeedFacts,
    body: &[u8],
) -> Result<LastGood, Reject> {
    let Ok(Body::Revocation(revocation)) = Body::decode(body) else {
        return Err(Reject::RevocationProof);
    };
    if revocation.device != facts.device || !revocation.holds(space) {
        return Err(Reject::RevocationProof);
    }
    if facts.author != Some(revocation.identity) {
        return Err(Reject::EndOfUnknownFeed);
    }
    Ok(LastGood {
        seq: revocation.seq,
        id: revocation.id,
    })
}

/// Checks a removal that came without the entry that carries it, for a feed of the person whom it
/// names. Whether its author owns the circle is for [`crate::circle`] to say.
///
/// # Errors
/// [`Reject::RevocationProof`], [`Reject::EndOfUnknownFeed`] for a feed that it doesn't name too.
pub fn verify_removal(
    space: SpaceId,
    facts: &FeedFacts,
    removal: &Removal,
) -> Result<LastGood, Reject> {
    if !removal.holds(space) {
        return Err(Reject::RevocationProof);
    }
    removal
        .last_good(facts.device)
        .filter(|_| facts.author == Some(removal.identity))
        .ok_or(Reject::EndOfUnknownFeed)
}

/// The removal that an encoded body is.
#[must_use]
pub fn removal_of(body: &[u8]) -> Option<Removal> {
    match Body::decode(body) {
        Ok(Body::Rule(rule)) => match rule.action {
            Action::Remove(removal) => Some(*removal),
            _ => None,
        },
        _ => None,
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
