//! Where a feed ends for everybody: at a fork of its author, or at the revocation of its device.

use super::{FeedFacts, ForkPoint, LastGood, Reject};
use crate::ids::EntryId;

/// What ends a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its author forked.
    Fork(ForkPoint),
    /// Its device was revoked.
    Revoked(LastGood),
}

impl End {
    /// The first place that is refused.
    #[must_use]
    pub const fn limit(&self) -> u64 {
        match self {
            Self::Fork(fork) => fork.seq,
            Self::Revoked(last) => last.seq.saturating_add(1),
        }
    }

    /// Id of the entry before that place, by which the branch is known that is kept.
    #[must_use]
    pub const fn last(&self) -> EntryId {
        match self {
            Self::Fork(fork) => fork.backlink,
            Self::Revoked(last) => last.id,
        }
    }

    /// Whether this counts where `known` is known: a revocation before a fork, of two of a kind
    /// the lower place, then the lower id.
    #[must_use]
    pub fn beats(&self, known: &Self) -> bool {
        let lower = (self.limit(), self.last()) < (known.limit(), known.last());
        match (self, known) {
            (Self::Revoked(_), Self::Fork(_)) => true,
            (Self::Fork(_), Self::Revoked(_)) => false,
            (Self::Fork(_), Self::Fork(_)) | (Self::Revoked(_), Self::Revoked(_)) => lower,
        }
    }

    /// What is above it is refused by this.
    pub(crate) const fn beyond(&self) -> Reject {
        match self {
            Self::Fork(fork) => Reject::BeyondFork { fork: fork.seq },
            Self::Revoked(last) => Reject::BeyondRevocation { last: last.seq },
        }
    }
}

/// The end of a feed, or none, as a run is checked against it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends(Option<End>);

impl Ends {
    pub(super) fn of(facts: &FeedFacts) -> Self {
        Self(facts.end())
    }

    /// Whether the feed is known up to its end, so that nothing can continue it.
    pub(super) fn is_reached(&self, next: u64) -> bool {
        self.0.is_some_and(|end| next == end.limit())
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
        let Some(end) = self.0 else {
            return Ok(items.len());
        };
        let limit = end.limit();
        if next >= limit {
            return Err(end.beyond());
        }
        // Above what is known, so also above the run's first entry: at least one is kept.
        let kept = usize::try_from(limit.saturating_sub(start)).unwrap_or(usize::MAX);
        let reached = kept.checked_sub(1).and_then(|at| items.get(at));
        if reached.is_some_and(|item| id(item) != end.last()) {
            return Err(Reject::OtherBranch { seq: limit - 1 });
        }
        Ok(kept.min(items.len()))
    }

    /// Whether this vouches for an entry in place of a signature.
    pub(super) fn vouch(&self, seq: u64, id: EntryId) -> bool {
        self.0
            .is_some_and(|end| end.limit().checked_sub(1) == Some(seq) && end.last() == id)
    }
}
