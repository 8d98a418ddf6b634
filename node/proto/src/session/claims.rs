//! What the peer said to hold of a space's feeds, in little memory: a peer can claim very many.
//!
//! Most feeds have neither a gap nor a fork, a revocation or missing bodies. Those that have are
//! kept with them, and count twice against what is remembered of a peer.

use std::collections::BTreeMap;

use super::channel::MAP_NODE;
use crate::{
    frontier::{Frontier, Holes, Tail},
    ids::{DeviceId, EntryId},
};

#[derive(Debug, Default)]
pub(super) struct Claims {
    feeds: BTreeMap<DeviceId, Claim>,
    unusual: usize,
}

#[derive(Debug)]
struct Claim {
    base: u64,
    top: EntryId,
    unusual: Option<Box<Unusual>>,
}

#[derive(Debug)]
struct Unusual {
    tail: Option<Tail>,
    fork: Option<u64>,
    revoked: Option<u64>,
    holes: Holes,
}

impl Claims {
    pub(super) fn get(&self, device: &DeviceId) -> Option<Frontier> {
        let Claim { base, top, unusual } = self.feeds.get(device)?;
        let usual = Frontier {
            base: *base,
            top: *top,
            ..Frontier::empty(*device)
        };
        Some(match unusual {
            None => usual,
            Some(unusual) => Frontier {
                tail: unusual.tail,
                fork: unusual.fork,
                revoked: unusual.revoked,
                holes: unusual.holes,
                ..usual
            },
        })
    }

    pub(super) fn insert(&mut self, frontier: &Frontier) {
        let Frontier {
            device,
            base,
            top,
            tail,
            fork,
            revoked,
            holes,
        } = *frontier;
        let unusual = is_unusual(frontier).then(|| {
            Box::new(Unusual {
                tail,
                fork,
                revoked,
                holes,
            })
        });
        self.unusual += usize::from(unusual.is_some());
        let claim = Claim { base, top, unusual };
        if let Some(before) = self.feeds.insert(device, claim) {
            self.unusual -= usize::from(before.unusual.is_some());
        }
    }

    pub(super) fn devices(&self) -> impl Iterator<Item = &DeviceId> {
        self.feeds.keys()
    }

    /// By how much a frontier would raise [`Self::count`].
    pub(super) fn growth(&self, frontier: &Frontier) -> usize {
        let after = 1 + usize::from(is_unusual(frontier));
        let before = self.feeds.get(&frontier.device);
        after.saturating_sub(before.map_or(0, |claim| 1 + usize::from(claim.unusual.is_some())))
    }

    /// How many, for the bound of a session and of all of them.
    pub(super) fn count(&self) -> usize {
        self.feeds.len() + self.unusual
    }

    /// Bytes of memory, near enough.
    pub(super) fn size(&self) -> usize {
        self.feeds.len() * (MAP_NODE + size_of::<(DeviceId, Claim)>())
            + self.unusual * (MAP_NODE + size_of::<Unusual>())
    }
}

fn is_unusual(frontier: &Frontier) -> bool {
    frontier.tail.is_some()
        || frontier.fork.is_some()
        || frontier.revoked.is_some()
        || frontier.holes != Holes::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_claimed_comes_back_and_the_unusual_counts_twice() {
        let (usual, other) = (DeviceId([1; 32]), DeviceId([2; 32]));
        let mut claims = Claims::default();
        let plain = Frontier {
            base: 7,
            top: EntryId([3; 32]),
            ..Frontier::empty(usual)
        };
        let full = Frontier {
            base: 9,
            tail: Some(Tail {
                start: 20,
                end: 30,
                top: EntryId([4; 32]),
            }),
            fork: Some(9),
            revoked: Some(8),
            holes: Holes::of([1, 5].into_iter()),
            ..Frontier::empty(other)
        };
        assert_eq!((claims.growth(&plain), claims.growth(&full)), (1, 2));
        claims.insert(&plain);
        claims.insert(&full);
        assert_eq!(claims.get(&usual), Some(plain));
        assert_eq!(claims.get(&other), Some(full));
        assert_eq!(claims.get(&DeviceId([3; 32])), None);
        assert_eq!(claims.count(), 3);
        assert_eq!((claims.growth(&plain), claims.growth(&full)), (0, 0));
        let unusual = Frontier {
            device: usual,
            ..full
        };
        assert_eq!(claims.growth(&unusual), 1);
        claims.insert(&full);
        assert_eq!(claims.count(), 3);
        claims.insert(&Frontier::empty(other));
        assert_eq!(claims.count(), 2);
        assert!(claims.devices().eq([&usual, &other]));
    }
}
