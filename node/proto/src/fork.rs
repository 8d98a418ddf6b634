//! Forks: two different entries with one space, device and seq, and the proof that convinces everybody.

use crate::{
    entry::{Header, NO_BACKLINK},
    ids::{DeviceId, EntryId, SpaceId},
    keys::{Domain, Signature, verify},
    limits::{BATCH_ENTRIES_MAX, CHECKPOINT_ENTRIES},
    run::{BodyPart, Item, Linked, Run},
    time::Millis,
    wire::{Reader, WireError, put_varint},
};

/// Forks above this place are no forks: a feed that long can't be, and counting on can't overflow.
const FORK_SEQ_MAX: u64 = u64::MAX - 2 * CHECKPOINT_ENTRIES;

/// What a header says beyond its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Link {
    created: Millis,
    body_len: u32,
    body_hash: [u8; 32],
}

/// One of the two chains: from the fork to its next signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    links: Vec<Link>,
    signature: Signature,
}

impl Branch {
    /// Headers from the fork to the signed one.
    pub fn new<'h>(headers: impl Iterator<Item = &'h Header>, signature: Signature) -> Self {
        let links = headers
            .map(|header| Link {
                created: header.created,
                body_len: header.body_len,
                body_hash: header.body_hash,
            })
            .collect();
        Self { links, signature }
    }

    /// The same from what a run says.
    pub(crate) fn of<'l>(links: impl Iterator<Item = &'l Linked>, signature: Signature) -> Self {
        let links = links
            .map(|link| Link {
                created: link.created,
                body_len: link.body_len,
                body_hash: link.body_hash,
            })
            .collect();
        Self { links, signature }
    }

    /// Whether it can stand in a proof: at least one entry, and one checkpoint's worth at most.
    fn fits(&self) -> bool {
        (1..=CHECKPOINT_ENTRIES as usize).contains(&self.links.len())
    }

    /// Ids along the chain.
    fn ids(&self, space: SpaceId, device: DeviceId, seq: u64, backlink: EntryId) -> Vec<EntryId> {
        let mut backlink = backlink;
        (seq..)
            .zip(&self.links)
            .map(|(seq, link)| {
                let Link {
                    created,
                    body_len,
                    body_hash,
                } = *link;
                backlink = Header {
                    space,
                    device,
                    seq,
                    backlink,
                    created,
                    body_len,
                    body_hash,
                }
                .id();
                backlink
            })
            .collect()
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.links.len() as u64);
        for link in &self.links {
            out.extend_from_slice(&link.created.0.to_be_bytes());
            out.extend_from_slice(&link.body_len.to_be_bytes());
            out.extend_from_slice(&link.body_hash);
        }
        out.extend_from_slice(&self.signature.0);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let count = reader.length("branch", CHECKPOINT_ENTRIES as usize)?;
        let mut links = Vec::new();
        for _ in 0..count {
            links.push(Link {
                created: Millis(reader.u64()?),
                body_len: reader.u32()?,
                body_hash: reader.id()?,
            });
        }
        let signature = reader.signature()?;
        let branch = Self { links, signature };
        if branch.fits() {
            Ok(branch)
        } else {
            Err(WireError::Value("branch"))
        }
    }
}

/// Two signed chains that begin at the same backlink with different entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForkProof {
    /// The lowest place with two entries.
    pub seq: u64,
    /// Id of the entry before it; zeros at 0.
    pub backlink: EntryId,
    branches: [Branch; 2],
}

impl ForkProof {
    /// Puts two branches together, in the order of their first ids so that everybody's proof of the same pair is the same.
    #[must_use]
    pub fn new(
        space: SpaceId,
        device: DeviceId,
        seq: u64,
        backlink: EntryId,
        one: Branch,
        other: Branch,
    ) -> Self {
        let first = |branch: &Branch| branch.ids(space, device, seq, backlink).first().copied();
        let branches = if first(&one) <= first(&other) {
            [one, other]
        } else {
            [other, one]
        };
        Self {
            seq,
            backlink,
            branches,
        }
    }

    /// Seq varint, backlink 32, then twice: count varint, per entry time u64, body length u32 and
    /// body hash 32, signature 64.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, self.seq);
        out.extend_from_slice(&self.backlink.0);
        for branch in &self.branches {
            branch.put(&mut out);
        }
        out
    }

    /// Reads a proof; [`Self::holds`] checks it.
    ///
    /// # Errors
    /// A wrong layout or a branch that is empty or longer than a checkpoint's worth.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        let proof = Self {
            seq: reader.varint()?,
            backlink: EntryId(reader.id()?),
            branches: [Branch::read(&mut reader)?, Branch::read(&mut reader)?],
        };
        reader.end()?;
        Ok(proof)
    }

    /// Whether the device really signed two different entries at this place.
    #[must_use]
    pub fn holds(&self, space: SpaceId, device: DeviceId) -> bool {
        let first = self.seq == 0;
        if self.seq > FORK_SEQ_MAX
            || first != (self.backlink == NO_BACKLINK)
            || !self.branches.iter().all(Branch::fits)
        {
            return false;
        }
        let [one, other] = self
            .branches
            .each_ref()
            .map(|branch| branch.ids(space, device, self.seq, self.backlink));
        if one.first() >= other.first() {
            return false;
        }
        self.branches.iter().zip([one, other]).all(|(branch, ids)| {
            ids.last()
                .is_some_and(|id| verify(&device.0, Domain::Entry, &id.0, &branch.signature))
        })
    }

    /// Lengthens a run that ends just below this fork by one of the two branches, so that it ends
    /// signed: only with that can somebody who holds another branch prove where the two part. The
    /// branch's bodies are absent. False, and nothing is done, where the run doesn't lead here.
    #[must_use]
    pub fn lengthen(&self, run: &mut Run<'_>, top: EntryId) -> bool {
        let [branch, _] = &self.branches;
        if run.end() != self.seq
            || top != self.backlink
            || run.items.len() + branch.links.len() > BATCH_ENTRIES_MAX
        {
            return false;
        }
        run.items.extend(branch.links.iter().map(|link| Item {
            created: link.created,
            body: BodyPart::Absent {
                len: link.body_len,
                hash: link.body_hash,
            },
        }));
        let Some(last) = run
            .items
            .len()
            .checked_sub(1)
            .and_then(|at| u32::try_from(at).ok())
        else {
            return false;
        };
        run.signatures.push((last, branch.signature));
        true
    }
}
