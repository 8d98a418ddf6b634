//! What to ask a peer for, of one feed: pure arithmetic over two frontiers.
//!
//! Who is far behind takes the newest entries first, over a slow link also the history downwards
//! from them. Over a fast link the history comes upwards: it is one sequential walk for both disks.

use crate::{
    frontier::{Frontier, Tail},
    verify::ask_below,
};

/// Entries that a feed has to be behind for its newest to be taken first, over a fast link: fewer
/// come within an instant in any order. A wild guess above a page and below a second of work.
const BEHIND_FAST: u64 = 512;
/// The same over a slow link.
const BEHIND_SLOW: u64 = 16;
/// Entries of each feed that are taken first: more than a page shows of anybody.
const NEWEST: u64 = 64;
/// A tail that is longer than this isn't fetched a second time from below, whatever the link.
const TAIL_KEPT: u64 = 1_024;

/// What to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// Entries upwards.
    Up {
        /// The first place.
        from: u64,
        /// Place behind the last that the peer holds and that may be taken.
        target: u64,
    },
    /// Entries downwards.
    Down {
        /// The lowest place.
        from: u64,
        /// Place behind the highest; `None` for the peer's newest.
        end: Option<u64>,
        /// How many entries are lacking below the end, those included that aren't asked for yet.
        lack: u64,
    },
}

/// How to go about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Manner {
    /// The link is slow.
    pub(super) slow: bool,
    /// Entries above a gap may be taken.
    pub(super) tails: bool,
}

/// What to ask for, where `own` is what is held and `next` the place up to which it will be held
/// without a gap once everything is stored that is on its way to the disk. `None` where the peer
/// has nothing for us.
pub(super) fn ask(own: &Frontier, next: u64, theirs: &Frontier, manner: Manner) -> Option<Ask> {
    let open = own.fork.or(own.revoked).is_none() && theirs.fork.or(theirs.revoked).is_none();
    if manner.tails && open && theirs.base > 0 {
        match own.tail.filter(|tail| tail.start > next) {
            Some(tail) => {
                if let Some(ask) = about_tail(&tail, next, theirs, manner.slow) {
                    return Some(ask);
                }
            }
            None => {
                if let Some(ask) = new_tail(next, theirs, manner.slow) {
                    return Some(ask);
                }
            }
        }
    }
    upwards(own, next, theirs)
}

/// Goes on with a tail that is held: first what is newer, then what fills the gap.
fn about_tail(tail: &Tail, next: u64, theirs: &Frontier, slow: bool) -> Option<Ask> {
    let newer = [Some(theirs.base), reach(theirs, tail.end)];
    let target = newer.into_iter().flatten().max().unwrap_or(0);
    if target > tail.end {
        let from = tail.end;
        return Some(Ask::Up { from, target });
    }
    let lowest = if theirs.base >= tail.start {
        next.max(1)
    } else {
        theirs
            .tail
            .filter(|theirs| theirs.start < tail.start && tail.start <= theirs.end)?
            .start
            .max(next.max(1))
    };
    let from_below = theirs.base > next;
    let long = tail.end - tail.start > TAIL_KEPT.min(tail.start - next);
    (slow || long || !from_below).then_some(Ask::Down {
        from: lowest,
        end: Some(tail.start),
        lack: tail.start - next,
    })
}

/// Place behind the last of the peer's entries that continue a place inside its tail.
fn reach(theirs: &Frontier, from: u64) -> Option<u64> {
    let tail = theirs.tail?;
    (tail.start <= from && from < tail.end).then_some(tail.end)
}

/// Begins a tail, where the feed is far behind or the peer itself has a gap.
fn new_tail(next: u64, theirs: &Frontier, slow: bool) -> Option<Ask> {
    let (lowest, top) = match theirs.tail {
        Some(tail) => (tail.start, tail.end),
        None => (1, theirs.base),
    };
    let lowest = lowest.max(next.max(1));
    let lack = top.checked_sub(lowest).filter(|lack| *lack > 0)?;
    let far = lack > if slow { BEHIND_SLOW } else { BEHIND_FAST };
    if !far && (theirs.tail.is_none() || theirs.base > next) {
        return None;
    }
    let from = if slow {
        lowest
    } else {
        lowest.max(top.saturating_sub(NEWEST))
    };
    Some(Ask::Down {
        from,
        end: None,
        lack: top.saturating_sub(next),
    })
}

/// What continues the feed from below. Where both hold the same number of entries and not the
/// same, the author forked: then the last of them again, to find where.
fn upwards(own: &Frontier, next: u64, theirs: &Frontier) -> Option<Ask> {
    // A revocation comes first: it says which branch to take. It is told to who holds something of
    // the feed, and sent behind the genesis to who asks from the beginning.
    if let Some(revoked) = theirs.revoked
        && own.revoked.is_none_or(|own| own > revoked)
    {
        let target = theirs.base;
        return (next == 0 && target > 0).then_some(Ask::Up { from: 0, target });
    }
    let ceiling = match (own.revoked, own.fork) {
        (Some(last), _) => last.saturating_add(1),
        (None, Some(fork)) => fork,
        (None, None) => u64::MAX,
    };
    let target = theirs.base.min(ceiling);
    if target > next {
        return Some(Ask::Up { from: next, target });
    }
    let diverged =
        theirs.base == own.base && own.base == next && theirs.base > 0 && theirs.top != own.top;
    // Two proofs at one place are told to each other, and one of them gives way.
    let settled = own.fork.is_some() && own.fork == theirs.fork;
    (diverged && !settled).then(|| Ask::Up {
        from: ask_below(own.base),
        target,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{DeviceId, EntryId};

    fn held(base: u64, tail: Option<(u64, u64)>) -> Frontier {
        let top = EntryId([1; 32]);
        Frontier {
            base,
            top,
            tail: tail.map(|(start, end)| Tail { start, end, top }),
            ..Frontier::empty(DeviceId([1; 32]))
        }
    }

    fn asked(own: &Frontier, theirs: &Frontier, slow: bool) -> Option<Ask> {
        let tails = true;
        ask(own, own.base, theirs, Manner { slow, tails })
    }

    #[test]
    fn the_newest_come_first_where_much_is_lacking() {
        let (fast, slow) = (false, true);
        let down = |from, end, lack| Some(Ask::Down { from, end, lack });
        let up = |from, target| Some(Ask::Up { from, target });
        let (none, some, all) = (held(0, None), held(300, None), held(5_000, None));
        assert_eq!(asked(&none, &all, fast), down(4_936, None, 5_000));
        assert_eq!(asked(&none, &all, slow), down(1, None, 5_000));
        assert_eq!(asked(&some, &all, slow), down(300, None, 4_700));
        assert_eq!(asked(&some, &held(310, None), slow), up(300, 310));
        assert_eq!(asked(&some, &held(700, None), fast), up(300, 700));
        assert_eq!(asked(&all, &some, slow), None);
    }

    #[test]
    fn a_tail_is_first_raised_then_filled() {
        let (fast, slow) = (false, true);
        let tail = held(300, Some((4_900, 5_000)));
        let all = held(5_000, None);
        let up = |from, target| Some(Ask::Up { from, target });
        assert_eq!(asked(&tail, &held(5_001, None), slow), up(5_000, 5_001));
        assert_eq!(asked(&tail, &all, fast), up(300, 5_000));
        let fill = Some(Ask::Down {
            from: 300,
            end: Some(4_900),
            lack: 4_600,
        });
        assert_eq!(asked(&tail, &all, slow), fill);
        // Much of it is there already.
        let long = held(300, Some((2_000, 5_000)));
        assert!(matches!(asked(&long, &all, fast), Some(Ask::Down { .. })));
        // Who has only the middle helps from below.
        assert_eq!(asked(&tail, &held(900, None), slow), up(300, 900));
    }

    #[test]
    fn a_tail_is_taken_from_who_has_a_gap_too() {
        let theirs = held(20, Some((4_000, 5_000)));
        let down = |from, end, lack| Some(Ask::Down { from, end, lack });
        let nothing = held(0, None);
        assert_eq!(asked(&nothing, &theirs, true), down(4_000, None, 5_000));
        let same = held(20, None);
        assert_eq!(asked(&same, &theirs, false), down(4_936, None, 4_980));
        let part = held(20, Some((4_936, 5_000)));
        assert_eq!(
            asked(&part, &theirs, false),
            down(4_000, Some(4_936), 4_916)
        );
        assert_eq!(asked(&theirs, &theirs, true), None);
        let more = held(20, Some((4_990, 5_010)));
        assert_eq!(
            asked(&theirs, &more, true),
            Some(Ask::Up {
                from: 5_000,
                target: 5_010
            })
        );
    }

    #[test]
    fn what_has_ended_is_fetched_from_below() {
        let own = held(10, None);
        let forked = Frontier {
            fork: Some(4_000),
            ..held(4_000, None)
        };
        let up = Some(Ask::Up {
            from: 10,
            target: 4_000,
        });
        assert_eq!(asked(&own, &forked, true), up);
        let none = Manner {
            slow: true,
            tails: false,
        };
        assert_eq!(ask(&own, 10, &held(4_000, None), none), up);
    }

    #[test]
    fn an_unknown_revocation_comes_first() {
        let revoked = |base, revoked| Frontier {
            revoked,
            ..held(base, None)
        };
        let theirs = revoked(20, Some(19));
        let up = |from, target| Some(Ask::Up { from, target });
        assert_eq!(asked(&revoked(10, None), &theirs, false), None);
        assert_eq!(asked(&revoked(10, Some(30)), &theirs, false), None);
        assert_eq!(asked(&revoked(10, Some(19)), &theirs, false), up(10, 20));
        // Who holds nothing gets it with the feed, also where a fork at its beginning left nothing.
        let nothing = Frontier::empty(theirs.device);
        assert_eq!(asked(&nothing, &theirs, false), up(0, 20));
        let forked = Frontier {
            fork: Some(0),
            ..nothing
        };
        assert_eq!(asked(&forked, &theirs, false), up(0, 20));
    }
}
