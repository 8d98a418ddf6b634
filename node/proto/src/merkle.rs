//! The tree over the feeds of a space, by which two nodes find what differs at a cost that follows
//! the difference.
//!
//! Feeds are sorted by device id, read as hexadecimal digits. A subtree of at most
//! [`BUCKET_FEEDS_MAX`] feeds is a bucket: the hash over its leaves in order. A larger one is a
//! branch: the hash over its 16 children. The shape depends on the set of feeds alone, so equal
//! sets give equal roots in whatever order they grew. Hashes are BLAKE3 at full length: sums or
//! XORs of leaves could be collided by an author who may choose entries.

use crate::{
    frontier::Frontier,
    ids::DeviceId,
    wire::{Reader, WireError},
};

/// Feeds in a bucket at most. A bucket's frontiers fit a QUIC datagram or two.
pub const BUCKET_FEEDS_MAX: usize = 16;
/// Children of a branch.
pub const FANOUT: usize = 16;
/// Digits of a device id.
pub const DEPTH_MAX: usize = 64;
/// The hash of a subtree without feeds.
pub const EMPTY: Hash = [0; 32];

/// A node's hash.
pub type Hash = [u8; 32];

/// A subtree: the feeds whose device id begins with these digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Prefix(Vec<u8>);

impl Prefix {
    /// The whole tree.
    #[must_use]
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// The first `depth` digits of a device id.
    #[must_use]
    pub fn of(device: &DeviceId, depth: usize) -> Self {
        Self(
            (0..depth.min(DEPTH_MAX))
                .map(|at| digit(device, at))
                .collect(),
        )
    }

    /// The digits, 0 to 15 each.
    #[must_use]
    pub fn digits(&self) -> &[u8] {
        &self.0
    }

    /// Digits in it.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.0.len()
    }

    /// The subtree one digit further down; `None` at the bottom.
    #[must_use]
    pub fn child(&self, digit: u8) -> Option<Self> {
        if self.0.len() >= DEPTH_MAX || digit >= FANOUT as u8 {
            return None;
        }
        let mut digits = self.0.clone();
        digits.push(digit);
        Some(Self(digits))
    }

    /// Whether a device belongs to this subtree.
    #[must_use]
    pub fn contains(&self, device: &DeviceId) -> bool {
        self.0
            .iter()
            .enumerate()
            .all(|(at, own)| digit(device, at) == *own)
    }

    /// The lowest and the highest device id of this subtree, both included.
    #[must_use]
    pub fn bounds(&self) -> (DeviceId, DeviceId) {
        let (mut low, mut high) = ([0; 32], [0xff; 32]);
        for (at, digit) in self.0.iter().enumerate() {
            let shift = if at % 2 == 0 { 4 } else { 0 };
            for id in [&mut low, &mut high] {
                if let Some(byte) = id.get_mut(at / 2) {
                    *byte = (*byte & !(0x0f << shift)) | (digit << shift);
                }
            }
        }
        (DeviceId(low), DeviceId(high))
    }

    /// Appends the count of digits and the digits, a byte each.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.push(self.0.len() as u8);
        out.extend_from_slice(&self.0);
    }

    /// Reads a prefix.
    ///
    /// # Errors
    /// Too many digits, or one above 15.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let len = usize::from(reader.u8()?);
        let digits = reader.bytes(len)?;
        if len > DEPTH_MAX || digits.iter().any(|digit| *digit >= FANOUT as u8) {
            return Err(WireError::Value("prefix"));
        }
        Ok(Self(digits.to_vec()))
    }
}

/// A subtree as it is told to the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// At most [`BUCKET_FEEDS_MAX`] feeds, sorted by device; none of an empty subtree.
    Bucket(Vec<Frontier>),
    /// The hashes of the 16 children.
    Branch(Box<[Hash; FANOUT]>),
}

/// The digit of a device id at a depth.
#[must_use]
pub fn digit(device: &DeviceId, at: usize) -> u8 {
    let byte = device.0.get(at / 2).copied().unwrap_or(0);
    if at.is_multiple_of(2) {
        byte >> 4
    } else {
        byte & 0x0f
    }
}

/// The hash of a bucket: over its leaves, sorted by device.
pub fn bucket_hash<'l>(leaves: impl IntoIterator<Item = &'l Hash>) -> Hash {
    let mut hasher = blake3::Hasher::new_derive_key("waymeet 1 bucket");
    let mut any = false;
    for leaf in leaves {
        hasher.update(leaf);
        any = true;
    }
    if any {
        *hasher.finalize().as_bytes()
    } else {
        EMPTY
    }
}

/// The hash of a branch: over its 16 children.
#[must_use]
pub fn branch_hash(children: &[Hash; FANOUT]) -> Hash {
    let mut hasher = blake3::Hasher::new_derive_key("waymeet 1 branch");
    for child in children {
        hasher.update(child);
    }
    *hasher.finalize().as_bytes()
}

/// The hash of a subtree, computed from all its leaves sorted by device: what an incremental tree
/// must agree with.
#[must_use]
pub fn hash_of(leaves: &[(DeviceId, Hash)], depth: usize) -> Hash {
    if leaves.len() <= BUCKET_FEEDS_MAX || depth >= DEPTH_MAX {
        return bucket_hash(leaves.iter().map(|(_, leaf)| leaf));
    }
    let mut children = [EMPTY; FANOUT];
    for (value, child) in children.iter_mut().enumerate() {
        let start = leaves.partition_point(|(device, _)| usize::from(digit(device, depth)) < value);
        let end = leaves.partition_point(|(device, _)| usize::from(digit(device, depth)) <= value);
        *child = hash_of(leaves.get(start..end).unwrap_or_default(), depth + 1);
    }
    branch_hash(&children)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_enclose_exactly_the_subtree() {
        let device = DeviceId([0xa7; 32]);
        for depth in [0, 1, 2, 3, 63, 64] {
            let prefix = Prefix::of(&device, depth);
            let (low, high) = prefix.bounds();
            assert!(
                prefix.contains(&low) && prefix.contains(&high) && low <= device && device <= high
            );
            let next = |id: DeviceId, up: bool| {
                let mut bytes = id.0;
                for byte in bytes.iter_mut().rev() {
                    *byte = if up {
                        byte.wrapping_add(1)
                    } else {
                        byte.wrapping_sub(1)
                    };
                    if *byte != if up { 0 } else { 0xff } {
                        break;
                    }
                }
                DeviceId(bytes)
            };
            if depth > 0 {
                assert!(!prefix.contains(&next(low, false)) && !prefix.contains(&next(high, true)));
            }
        }
    }

    #[test]
    fn a_tree_depends_on_the_set_and_on_each_leaf() {
        let leaves = |n: u8| -> Vec<(DeviceId, Hash)> {
            (0..n)
                .map(|i| (DeviceId(*blake3::hash(&[i]).as_bytes()), [i; 32]))
                .collect::<std::collections::BTreeMap<_, _>>()
                .into_iter()
                .collect()
        };
        let roots: std::collections::BTreeSet<_> =
            (0..200).map(|n| hash_of(&leaves(n), 0)).collect();
        assert_eq!(roots.len(), 200);
        assert_eq!(hash_of(&[], 0), EMPTY);
    }

    #[test]
    fn ground_keys_make_a_deep_tree_and_no_loop() {
        let leaves: Vec<_> = (0..40_u8)
            .map(|i| {
                let mut id = [0; 32];
                id[31] = i;
                (DeviceId(id), [i; 32])
            })
            .collect();
        assert_ne!(hash_of(&leaves, 0), EMPTY);
    }
}
