//! Frontiers: for each feed of a space, what is held. Two nodes with equal frontiers hold the same.

use crate::{
    ids::{DeviceId, EntryId},
    wire::{Reader, WireError, put_varint},
};

/// Entries held above a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    /// Place of the first.
    pub start: u64,
    /// Place behind the last.
    pub end: u64,
    /// Id of the last.
    pub top: EntryId,
}

/// Bodies that are missing without a retract or an expiry that would explain it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Holes {
    /// How many.
    pub count: u32,
    /// Start of the BLAKE3 hash of their places, ascending, big-endian.
    pub hash: [u8; 16],
}

impl Holes {
    /// Sums up places in ascending order.
    pub fn of(places: impl Iterator<Item = u64>) -> Self {
        let mut hasher = blake3::Hasher::new();
        let mut count = 0;
        for seq in places {
            hasher.update(&seq.to_be_bytes());
            count += 1;
        }
        if count == 0 {
            return Self::default();
        }
        let mut hash = [0; 16];
        hasher.finalize_xof().fill(&mut hash);
        Self { count, hash }
    }
}

/// What is held of one feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frontier {
    /// The feed's device.
    pub device: DeviceId,
    /// Entries held from the first without a gap.
    pub base: u64,
    /// Id of the last of these; zeros where there is none.
    pub top: EntryId,
    /// Entries above a gap.
    pub tail: Option<Tail>,
    /// The lowest known place where the author forked.
    pub fork: Option<u64>,
    /// The last good entry of a revoked device.
    pub revoked: Option<u64>,
    /// Missing bodies.
    pub holes: Holes,
}

const TAIL: u8 = 1;
const FORK: u8 = 2;
const REVOKED: u8 = 4;
const HOLES: u8 = 8;

impl Frontier {
    /// A feed of which nothing is held.
    #[must_use]
    pub fn empty(device: DeviceId) -> Self {
        Self {
            device,
            base: 0,
            top: EntryId([0; 32]),
            tail: None,
            fork: None,
            revoked: None,
            holes: Holes::default(),
        }
    }

    /// Place behind the last entry that is held without a gap from `from` on; `from` itself, or
    /// less, where that isn't held.
    #[must_use]
    pub fn end_above(&self, from: u64) -> u64 {
        match self.tail {
            Some(tail) if from >= tail.start => tail.end,
            _ => self.base,
        }
    }

    /// Appends device 32, flags u8, base varint, top 32, then what the flags name: tail (start
    /// varint, end varint, top 32), fork varint, revoked varint, holes (count varint, hash 16).
    pub fn put(&self, out: &mut Vec<u8>) {
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        out.extend_from_slice(&self.device.0);
        out.push(
            flag(self.tail.is_some(), TAIL)
                | flag(self.fork.is_some(), FORK)
                | flag(self.revoked.is_some(), REVOKED)
                | flag(self.holes.count > 0, HOLES),
        );
        put_varint(out, self.base);
        out.extend_from_slice(&self.top.0);
        if let Some(tail) = self.tail {
            put_varint(out, tail.start);
            put_varint(out, tail.end);
            out.extend_from_slice(&tail.top.0);
        }
        if let Some(fork) = self.fork {
            put_varint(out, fork);
        }
        if let Some(revoked) = self.revoked {
            put_varint(out, revoked);
        }
        if self.holes.count > 0 {
            put_varint(out, u64::from(self.holes.count));
            out.extend_from_slice(&self.holes.hash);
        }
    }

    /// Reads one frontier.
    ///
    /// # Errors
    /// A wrong layout.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let device = DeviceId(reader.id()?);
        let flags = reader.u8()?;
        if flags > 15 {
            return Err(WireError::Value("frontier flags"));
        }
        let base = reader.varint()?;
        let top = EntryId(reader.id()?);
        let tail = if flags & TAIL == 0 {
            None
        } else {
            let tail = Tail {
                start: reader.varint()?,
                end: reader.varint()?,
                top: EntryId(reader.id()?),
            };
            if tail.start <= base || tail.end <= tail.start {
                return Err(WireError::Value("tail"));
            }
            Some(tail)
        };
        let fork = if flags & FORK == 0 {
            None
        } else {
            Some(reader.varint()?)
        };
        let revoked = if flags & REVOKED == 0 {
            None
        } else {
            Some(reader.varint()?)
        };
        let holes = if flags & HOLES == 0 {
            Holes::default()
        } else {
            let count = u32::try_from(reader.varint()?).map_err(|_| WireError::Value("holes"))?;
            if count == 0 {
                return Err(WireError::Value("holes"));
            }
            Holes {
                count,
                hash: reader.array()?,
            }
        };
        Ok(Self {
            device,
            base,
            top,
            tail,
            fork,
            revoked,
            holes,
        })
    }

    /// The feed's leaf in the space's tree; `None` where nothing of it is held, so that a feed
    /// that was dropped whole counts like one never seen.
    #[must_use]
    pub fn leaf(&self) -> Option<[u8; 32]> {
        if self.base == 0 && self.tail.is_none() {
            return None;
        }
        let mut bytes = Vec::with_capacity(96);
        self.put(&mut bytes);
        Some(blake3::derive_key("waymeet 1 frontier", &bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn decoding_is_the_inverse(base in 0..1_000_000_u64, gap in proptest::option::of(1..100_u64), fork: Option<u64>, revoked: Option<u64>, places in proptest::collection::vec(any::<u64>(), 0..4)) {
            let tail = gap.map(|gap| Tail { start: base + gap, end: base + gap * 2, top: EntryId([9; 32]) });
            let frontier = Frontier { device: DeviceId([1; 32]), base, top: EntryId([2; 32]), tail, fork, revoked, holes: Holes::of(places.into_iter()) };
            let mut out = Vec::new();
            frontier.put(&mut out);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(Frontier::read(&mut reader), Ok(frontier));
            prop_assert!(reader.end().is_ok());
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let _ = Frontier::read(&mut Reader::new(&bytes));
        }
    }

    #[test]
    fn the_leaf_differs_with_everything_held() {
        let base = Frontier {
            base: 3,
            ..Frontier::empty(DeviceId([1; 32]))
        };
        let leaves: std::collections::BTreeSet<_> = [
            base,
            Frontier { base: 4, ..base },
            Frontier {
                top: EntryId([1; 32]),
                ..base
            },
            Frontier {
                fork: Some(3),
                ..base
            },
            Frontier {
                revoked: Some(3),
                ..base
            },
            Frontier {
                holes: Holes::of([1].into_iter()),
                ..base
            },
            Frontier {
                holes: Holes::of([2].into_iter()),
                ..base
            },
            Frontier {
                device: DeviceId([2; 32]),
                ..base
            },
        ]
        .iter()
        .filter_map(Frontier::leaf)
        .collect();
        assert_eq!(leaves.len(), 8);
        assert_eq!(
            Frontier {
                fork: Some(0),
                ..Frontier::empty(DeviceId([1; 32]))
            }
            .leaf(),
            None
        );
    }
}
