//! Who knows whom, and when they meet.

use std::collections::BTreeSet;

use super::Rng;

const MINUTE: u64 = 60_000_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// The shape of a graph of contacts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Graph {
    /// Each knows the next.
    Line,
    /// All know the first.
    Star,
    /// Groups in which all know each other, joined by one person.
    Cliques,
    /// Any pairs, connected.
    Random,
    /// A few know many (Barabási and Albert 1999: who is known becomes better known).
    ScaleFree,
    /// Four hops from the first to the last: each knows one or two of the level before.
    Levels,
    /// As scale-free, of people who come to know their contacts' contacts (Holme and Kim 2002).
    Friends,
}

impl Graph {
    /// All shapes.
    pub const ALL: [Self; 5] = [
        Self::Line,
        Self::Star,
        Self::Cliques,
        Self::Random,
        Self::ScaleFree,
    ];

    /// Pairs of nodes, the lower first.
    #[must_use]
    pub fn pairs(self, nodes: usize, rng: &mut Rng) -> Vec<(usize, usize)> {
        let mut pairs = BTreeSet::new();
        let mut join = |one: usize, other: usize| {
            if one != other {
                pairs.insert((one.min(other), one.max(other)));
            }
        };
        match self {
            Self::Line => (1..nodes).for_each(|n| join(n - 1, n)),
            Self::Star => (1..nodes).for_each(|n| join(0, n)),
            Self::Cliques => {
                let size = 4.max(nodes / 8).min(6);
                for n in 1..nodes {
                    let first = (n - 1) / size * size + 1;
                    (first..n).for_each(|m| join(m, n));
                    if n == first {
                        join(0, n);
                    }
                }
            }
            Self::Random => {
                for n in 1..nodes {
                    join(rng.index(n), n);
                }
                for _ in 0..nodes {
                    join(rng.index(nodes), rng.index(nodes));
                }
            }
            Self::Levels => {
                // Ends of the levels, one to four parts of what follows the first node.
                let ends = [1, 3, 6, 10].map(|parts| 1 + ((nodes - 1) * parts).div_ceil(10));
                let mut level = 0..1;
                for end in ends {
                    let next = level.end..end.min(nodes);
                    for n in next.clone() {
                        for _ in 0..2 {
                            join(level.start + rng.index(level.len()), n);
                        }
                    }
                    level = next;
                }
            }
            Self::ScaleFree => {
                let mut ends = vec![0];
                for n in 1..nodes {
                    for _ in 0..2 {
                        let known = ends[rng.index(ends.len())];
                        join(known, n);
                        ends.push(known);
                    }
                    ends.push(n);
                }
            }
            Self::Friends => {
                let (mut ends, mut known) = (vec![0], vec![Vec::new(); nodes]);
                for n in 1..nodes {
                    let mut last: Option<usize> = None;
                    for _ in 0..4 {
                        let near = last.filter(|_| rng.chance(700));
                        let near = near.and_then(|last| rng.pick(&known[last]).copied());
                        let other = near.unwrap_or_else(|| ends[rng.index(ends.len())]);
                        if other == n || known[n].contains(&other) {
                            continue;
                        }
                        join(other, n);
                        known[n].push(other);
                        known[other].push(n);
                        ends.extend([n, other]);
                        last = Some(other);
                    }
                }
            }
        }
        pairs.into_iter().collect()
    }
}

/// When a pair is in reach of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timetable {
    /// All the time, but for cuts.
    Always,
    /// A few minutes, a few times a day.
    Campsite,
    /// Every few days for a quarter of an hour.
    Rare,
}

impl Timetable {
    /// Some timetable.
    pub fn any(rng: &mut Rng) -> Self {
        match rng.below(10) {
            0..2 => Self::Always,
            2..8 => Self::Campsite,
            _ => Self::Rare,
        }
    }

    /// How long until they are in reach next, and for how long, in microseconds.
    pub(super) fn next(self, rng: &mut Rng) -> (u64, u64) {
        match self {
            Self::Always => (MINUTE, DAY),
            Self::Campsite => (rng.around(8 * HOUR), rng.between(MINUTE, 6 * MINUTE)),
            Self::Rare => (rng.around(4 * DAY), rng.between(5 * MINUTE, 15 * MINUTE)),
        }
    }
}
