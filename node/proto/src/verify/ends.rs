//! Where a feed ends for everybody: at a fork of its author, or at the revocation of its device.

use super::{FeedFacts, Reject};
use crate::ids::EntryId;

/// The first place that is refused, and the id that the entry before it must have.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ends {
    /// The feed may grow.
    Open,
    /// At a fork: `seq` and above is refused.
    Fork { seq: u64, backlink: EntryId },
    /// At a revocation: `seq` is the last good entry.
    Revoked { seq: u64, id: EntryId },
}

impl Ends {
    /// A revocation beats a fork.
    pub(super) fn of(facts: &FeedFacts) -> Self {
        match (facts.revoked, facts.fork) {
            (Some(last), _) => Self::Revoked {
                seq: last.seq,
                id: last.id,
            },
            (None, Some(fork)) => Self::Fork {
                seq: fork.seq,
                backlink: fork.backlink,
            },
            (None, None) => Self::Open,
        }
    }

    /// Whether the feed is known up to its end, so that nothing can continue it.
    pub(super) fn is_reached(&self, next: u64) -> bool {
        match *self {
            Self::Open => false,
            Self::Fork { seq, .. } => next == seq,
            Self::Revoked { seq, .. } => next.checked_sub(1) == Some(seq),
        }
    }

    /// How many entries of a run that begins at `start` may be kept, where all below `next` are
    /// known. What reaches the end must be on the branch that is kept.
    pub(super) fn keep<T>(
        &self,
        next: u64,
        start: u64,
        items: &[T],
        id: impl Fn(&T) -> EntryId,
    ) -> Result<usize, Reject> {
        let (limit, last) = match *self {
            Self::Open => return Ok(items.len()),
            Self::Fork { seq, backlink } if next < seq => (seq, backlink),
            Self::Revoked { seq, id } if next <= seq => (seq.saturating_add(1), id),
            Self::Fork { seq, .. } => return Err(Reject::BeyondFork { fork: seq }),
            Self::Revoked { seq, .. } => return Err(Reject::BeyondRevocation { last: seq }),
        };
        // Above what is known, so also above the run's first entry: at least one is kept.
        let kept = usize::try_from(limit.saturating_sub(start)).unwrap_or(usize::MAX);
        let reached = kept.checked_sub(1).and_then(|at| items.get(at));
        if reached.is_some_and(|item| id(item) != last) {
            return Err(Reject::OtherBranch { seq: limit - 1 });
        }
        Ok(kept.min(items.len()))
    }

    /// Whether this vouches for an entry in place of a signature.
    pub(super) fn vouch(&self, seq: u64, id: EntryId) -> bool {
        match *self {
            Self::Open => false,
            Self::Fork {
                seq: fork,
                backlink,
            } => fork.checked_sub(1) == Some(seq) && backlink == id,
            Self::Revoked {
                seq: last,
                id: good,
            } => last == seq && good == id,
        }
    }
}
