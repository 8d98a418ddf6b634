//! What ends feeds, in plain vectors: forks and revocations, those too that came before their feed.

use super::{Feed, Memory};
use crate::{
    body::Body,
    ids::{DeviceId, SpaceId},
    session::{EndProof, SpaceStore},
    verify::{End, ForkPoint, LastGood, Reject, VerifiedRun, verify_fork, verify_revocation},
};

impl Feed {
    pub(super) fn end(&self) -> Option<End> {
        let revoked = self.revoked.as_ref().map(|(last, _)| End::Revoked(*last));
        revoked.or(self.fork.as_ref().map(|(fork, _)| End::Fork(*fork)))
    }

    pub(super) fn end_proof(&self) -> Option<EndProof> {
        let revocation = self
            .revoked
            .as_ref()
            .map(|(_, body)| EndProof::Revocation(body.clone()));
        revocation.or(self
            .fork
            .as_ref()
            .map(|(_, proof)| EndProof::Fork(proof.clone())))
    }

    /// Keeps a fork that counts before the one that is known, and drops what it ends.
    pub(super) fn keep_fork(&mut self, fork: ForkPoint, proof: Vec<u8>) {
        let known = self.fork.as_ref().map(|(known, _)| End::Fork(*known));
        if known.is_none_or(|known| End::Fork(fork).beats(&known)) {
            self.fork = Some((fork, proof));
        }
        self.cut();
    }

    fn keep_revocation(&mut self, last: LastGood, body: Vec<u8>) {
        let known = self.revoked.as_ref().map(|(known, _)| End::Revoked(*known));
        if known.is_none_or(|known| End::Revoked(last).beats(&known)) {
            self.revoked = Some((last, body));
            self.cut();
        }
    }

    /// Drops what the feed's ends leave out, and everything where another branch is held than they keep.
    fn cut(&mut self) {
        if self.end().is_none() {
            return;
        }
        let base = self.entries.len() as u64;
        let holds = |end: &End| match end.limit().checked_sub(1) {
            Some(seq) => self
                .entries
                .get(seq as usize)
                .is_some_and(|(id, ..)| *id == end.last()),
            None => true,
        };
        let fork = self.fork.as_ref().map(|(fork, _)| End::Fork(*fork));
        let revoked = self.revoked.as_ref().map(|(last, _)| End::Revoked(*last));
        let below = |end: End| match base.cmp(&end.limit()) {
            std::cmp::Ordering::Less => base,
            _ if holds(&end) => end.limit(),
            _ => 0,
        };
        let kept = match revoked {
            None => fork.map_or(base, below),
            Some(revoked) if base >= revoked.limit() && holds(&revoked) => revoked.limit(),
            Some(revoked) => match fork.filter(|fork| fork.limit() < revoked.limit()) {
                Some(fork) => below(fork),
                None => below(revoked),
            },
        };
        self.drop_tail();
        self.entries.truncate(kept as usize);
        self.signatures.retain(|seq, _| *seq < kept);
    }

    /// What an end learnt since a run was checked refuses of it.
    pub(super) fn check_ends(&self, run: &VerifiedRun) -> Result<(), Reject> {
        let Some(end) = self.end() else {
            return Ok(());
        };
        let next = run.head().next;
        if next > end.limit() {
            return Err(end.beyond());
        }
        if next == end.limit() && run.head().top != end.last() {
            return Err(Reject::OtherBranch { seq: next - 1 });
        }
        Ok(())
    }
}

impl Memory {
    /// Checks and keeps what ends a feed.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn import_end(
        &mut self,
        id: SpaceId,
        device: DeviceId,
        proof: &EndProof,
    ) -> Result<(), Reject> {
        let facts = self.facts(id, device).unwrap();
        let space = self.spaces.get_mut(&id).unwrap();
        let feed = space.feeds.entry(device).or_default();
        match proof {
            EndProof::Fork(proof) => {
                let parsed = verify_fork(&space.context, &facts, proof)?;
                let fork = ForkPoint {
                    seq: parsed.seq,
                    backlink: parsed.backlink,
                };
                feed.keep_fork(fork, proof.clone());
            }
            EndProof::Revocation(body) => {
                let last = verify_revocation(id, &facts, body)?;
                feed.keep_revocation(last, body.clone());
            }
        }
        Ok(())
    }

    /// Notes the revocations among a run's entries, and puts those in force that are known of the
    /// run's own feed and of theirs.
    pub(super) fn note_revocations(&mut self, id: SpaceId, run: &VerifiedRun) {
        let bodies = run.items().iter().filter_map(|item| run.body_bytes(item));
        let space = self.spaces.get_mut(&id).unwrap();
        for body in bodies {
            if let Ok(Body::Revocation(revocation)) = Body::decode(body) {
                space.revocations.insert((revocation.device, body.to_vec()));
            }
        }
        let known: Vec<(DeviceId, Vec<u8>)> = space.revocations.iter().cloned().collect();
        for (device, body) in known {
            // Of an unknown feed, or of another identity: it may count later.
            let _ = self.import_end(id, device, &EndProof::Revocation(body));
        }
    }
}
