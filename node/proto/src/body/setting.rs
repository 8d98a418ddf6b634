//! How the two people of a conversation keep it: for how long messages stay, and whether each tells
//! the other what was read.
//!
//! A setting stands in its author's own feed. One with a lifetime covers what follows it there, up
//! to the next with one; what is covered may lose its body, and whoever holds the feed can check why.
//! When something is over is each node's own to decide; nothing here knows a clock.

use crate::{cbor::MapWriter, ids::EntryId, limits::LIFETIME_S, time::Millis};

/// For how long a message stays after it was read, in seconds; 0 for as long as one likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Lifetime(u32);

impl Lifetime {
    /// Messages stay.
    pub const STAYS: Self = Self(0);

    /// A lifetime of so many seconds; `None` outside the bounds.
    #[must_use]
    pub fn new(seconds: u64) -> Option<Self> {
        let seconds = u32::try_from(seconds).ok()?;
        (seconds == 0 || LIFETIME_S.contains(&seconds)).then_some(Self(seconds))
    }

    /// Seconds; 0 for as long as one likes.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        self.0
    }

    /// Milliseconds; 0 for as long as one likes.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0 as u64 * 1_000
    }

    /// Whether what is written under it disappears.
    #[must_use]
    pub const fn ends(self) -> bool {
        self.0 > 0
    }
}

/// What a setting says; what it doesn't name stays as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Setting {
    /// How long the author's messages stay from here on.
    pub lifetime: Option<Lifetime>,
    /// Whether the author wants both to tell each other what was read.
    pub receipts: Option<bool>,
    /// The other person's newest setting with a lifetime that the author knew: it counts no more.
    pub over: Option<EntryId>,
}

impl Setting {
    pub(super) fn encode(&self, map: &mut MapWriter) {
        if let Some(lifetime) = self.lifetime {
            map.uint(1, u64::from(lifetime.0));
        }
        if let Some(receipts) = self.receipts {
            map.uint(2, u64::from(receipts));
        }
        if let Some(over) = self.over {
            map.bytes(3, &over.0);
        }
    }
}

/// The newest setting with a lifetime in somebody's feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// The entry.
    pub id: EntryId,
    /// The author's claim of the time.
    pub created: Millis,
    /// How long messages stay.
    pub lifetime: Lifetime,
    /// The setting that it knew of and replaced.
    pub over: Option<EntryId>,
}

/// Whose setting is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InForce {
    /// Nobody set anything.
    Nobody,
    /// Our own.
    Ours(Placed),
    /// The other person's.
    Theirs(Placed),
}

impl InForce {
    /// How long messages stay.
    #[must_use]
    pub const fn lifetime(&self) -> Lifetime {
        match self {
            Self::Nobody => Lifetime::STAYS,
            Self::Ours(placed) | Self::Theirs(placed) => placed.lifetime,
        }
    }
}

/// Which of both people's newest settings is in force: the one that knew of the other, whatever the
/// clocks said; where neither did, the one with the later time, then the one with the higher id. Both
/// people find the same once they hold the same.
#[must_use]
pub fn in_force(ours: Option<Placed>, theirs: Option<Placed>) -> InForce {
    match (ours, theirs) {
        (None, None) => InForce::Nobody,
        (Some(ours), None) => InForce::Ours(ours),
        (None, Some(theirs)) => InForce::Theirs(theirs),
        (Some(ours), Some(theirs)) => {
            let rank = |placed: &Placed| (placed.created, placed.id);
            let is_ours = if ours.over == Some(theirs.id) {
                true
            } else if theirs.over == Some(ours.id) {
                false
            } else {
                rank(&ours) > rank(&theirs)
            };
            if is_ours {
                InForce::Ours(ours)
            } else {
                InForce::Theirs(theirs)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(id: u8, created: u64, seconds: u64, over: Option<u8>) -> Placed {
        Placed {
            id: EntryId([id; 32]),
            created: Millis(created),
            lifetime: Lifetime::new(seconds).unwrap(),
            over: over.map(|over| EntryId([over; 32])),
        }
    }

    #[test]
    fn a_lifetime_is_nothing_or_between_a_minute_and_a_year() {
        for (seconds, fits) in [
            (0, true),
            (1, false),
            (59, false),
            (60, true),
            (31_536_000, true),
            (31_536_001, false),
            (u64::MAX, false),
            (1 << 32, false),
            ((1 << 32) + 60, false),
        ] {
            assert_eq!(Lifetime::new(seconds).is_some(), fits, "{seconds}");
        }
    }

    #[test]
    fn both_people_find_the_same_setting_in_force() {
        let settings = [
            None,
            Some(placed(1, 10, 60, None)),
            Some(placed(2, 10, 0, None)),
            Some(placed(3, 9, 120, Some(1))),
            Some(placed(4, u64::MAX, 180, Some(9))),
        ];
        for ana in settings {
            for ben in settings {
                let here = in_force(ana, ben).lifetime();
                let there = in_force(ben, ana).lifetime();
                if ana != ben {
                    assert_eq!(here, there, "{ana:?} {ben:?}");
                }
            }
        }
    }

    /// Somebody whose clock stands in a far year would have the last word for ever.
    #[test]
    fn who_knew_of_the_other_setting_counts_whatever_the_clocks_say() {
        let future = placed(1, u64::MAX, 60, None);
        let answer = placed(2, 5, 0, Some(1));
        assert_eq!(
            in_force(Some(answer), Some(future)),
            InForce::Ours(answer),
            "it knew"
        );
        assert_eq!(
            in_force(Some(future), Some(answer)),
            InForce::Theirs(answer)
        );
        let unaware = placed(3, 5, 0, None);
        assert_eq!(
            in_force(Some(unaware), Some(future)),
            InForce::Theirs(future)
        );
    }
}
