//! The Merkle tree over a space's feeds, kept in the transaction that changes a feed.
//!
//! Stored are the branches only: hashes and counts of 16 children. Leaves stand in the table of
//! feed numbers, so a bucket is hashed from a range of at most 16 rows. [`proto::merkle::hash_of`]
//! says what the hashes must be.

use proto::{
    DeviceId,
    merkle::{
        BUCKET_FEEDS_MAX, DEPTH_MAX, EMPTY, FANOUT, Hash, Prefix, branch_hash, bucket_hash, digit,
    },
    wire::{Reader, WireError},
};

use crate::{
    error::{Error, Result},
    keys::{Key, id_at},
    rows::{Row, load},
    tables::{Source, Table},
    txn::Txn,
    view::View,
};

/// A branch: its children's hashes and the feeds below each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Branch {
    pub(crate) hashes: [Hash; FANOUT],
    counts: [u32; FANOUT],
}

impl Branch {
    const EMPTY: Self = Self {
        hashes: [EMPTY; FANOUT],
        counts: [0; FANOUT],
    };

    fn total(&self) -> usize {
        self.counts.iter().map(|count| *count as usize).sum()
    }

    fn set(&mut self, child: u8, subtree: Subtree) {
        let child = usize::from(child);
        if let (Some(hash), Some(count)) = (self.hashes.get_mut(child), self.counts.get_mut(child))
        {
            *hash = subtree.hash;
            *count = u32::try_from(subtree.count).unwrap_or(u32::MAX);
        }
    }
}

impl Row for Branch {
    const TABLE: Table = Table::Tree;

    fn put(&self, out: &mut Vec<u8>) {
        for (hash, count) in self.hashes.iter().zip(&self.counts) {
            out.extend_from_slice(hash);
            out.extend_from_slice(&count.to_be_bytes());
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let mut branch = Self::EMPTY;
        for (hash, count) in branch.hashes.iter_mut().zip(&mut branch.counts) {
            *hash = reader.id()?;
            *count = reader.u32()?;
        }
        Ok(branch)
    }
}

#[derive(Debug, Clone, Copy)]
struct Subtree {
    hash: Hash,
    count: usize,
}

type Leaf = (DeviceId, Hash);

fn branch_key(space: u32, prefix: &Prefix) -> Key {
    Key::new().u32(space).bytes(prefix.digits())
}

/// Bytes of a row of feed numbers before the leaf.
const NUMBER_BYTES: usize = 4;

impl<S: Source> View<S> {
    pub(crate) fn branch(&self, space: u32, prefix: &Prefix) -> Result<Option<Branch>> {
        load(&self.0, branch_key(space, prefix).as_slice())
    }

    /// Leaves of a subtree by device.
    fn leaves(&self, space: u32, prefix: &Prefix) -> Result<Vec<Leaf>> {
        let (low, high) = prefix.bounds();
        let low = Key::new().u32(space).bytes(&low.0);
        let high = Key::new().u32(space).bytes(&high.0);
        let bounds = (
            std::ops::Bound::Included(low.as_slice()),
            std::ops::Bound::Included(high.as_slice()),
        );
        let mut leaves = Vec::new();
        for row in self.0.rows(Table::FeedNumbers, bounds)? {
            let (key, value) = row?;
            if value.value().len() > NUMBER_BYTES {
                let leaf = id_at(value.value(), NUMBER_BYTES);
                leaves.push((DeviceId(id_at(key.value(), 4)), leaf));
            }
        }
        Ok(leaves)
    }

    /// The root of a space's tree.
    pub(crate) fn root(&self, space: u32) -> Result<Hash> {
        let root = Prefix::root();
        Ok(match self.branch(space, &root)? {
            Some(branch) => branch_hash(&branch.hashes),
            None => bucket_hash(self.leaves(space, &root)?.iter().map(|(_, leaf)| leaf)),
        })
    }
}

impl Txn<'_> {
    /// Notes a feed's number and its leaf, `None` where nothing of it is held, and brings the tree
    /// in line.
    pub(crate) fn put_leaf(
        &mut self,
        space: u32,
        device: DeviceId,
        feed: u32,
        leaf: Option<Hash>,
    ) -> Result<()> {
        let key = Key::new().u32(space).bytes(&device.0);
        let mut value = feed.to_be_bytes().to_vec();
        value.extend_from_slice(leaf.as_ref().map_or(&[], |leaf| leaf.as_slice()));
        let known = self.0.with(Table::FeedNumbers, key.as_slice(), |known| {
            (known == value.as_slice(), known.len() > NUMBER_BYTES)
        })?;
        if known.is_some_and(|(same, _)| same) {
            return Ok(());
        }
        self.put(Table::FeedNumbers, key.as_slice(), &value)?;
        let was_leaf = known.is_some_and(|(_, leaf)| leaf);
        if was_leaf || leaf.is_some() {
            self.update_subtree(space, &Prefix::root(), &device)?;
        }
        Ok(())
    }

    /// Recomputes the way from a changed leaf up to `prefix`.
    fn update_subtree(
        &mut self,
        space: u32,
        prefix: &Prefix,
        device: &DeviceId,
    ) -> Result<Subtree> {
        let Some(mut branch) = self.branch(space, prefix)? else {
            let leaves = self.leaves(space, prefix)?;
            return self.build(space, prefix, &leaves);
        };
        let at = digit(device, prefix.depth());
        let child = prefix.child(at).ok_or(Error::Corrupt {
            table: Table::Tree.name(),
        })?;
        let below = self.update_subtree(space, &child, device)?;
        branch.set(at, below);
        let count = branch.total();
        if count > BUCKET_FEEDS_MAX {
            self.put_row(branch_key(space, prefix).as_slice(), &branch)?;
            let hash = branch_hash(&branch.hashes);
            return Ok(Subtree { hash, count });
        }
        // Few enough to be one bucket again. None of the children is a branch then.
        self.remove(Table::Tree, branch_key(space, prefix).as_slice())?;
        let leaves = self.leaves(space, prefix)?;
        self.build(space, prefix, &leaves)
    }

    /// Makes a subtree from its leaves.
    fn build(&mut self, space: u32, prefix: &Prefix, leaves: &[Leaf]) -> Result<Subtree> {
        let count = leaves.len();
        let depth = prefix.depth();
        if count <= BUCKET_FEEDS_MAX || depth >= DEPTH_MAX {
            let hash = bucket_hash(leaves.iter().map(|(_, leaf)| leaf));
            return Ok(Subtree { hash, count });
        }
        let mut branch = Branch::EMPTY;
        for value in 0..FANOUT as u8 {
            let Some(child) = prefix.child(value) else {
                continue;
            };
            let start = leaves.partition_point(|(device, _)| digit(device, depth) < value);
            let end = leaves.partition_point(|(device, _)| digit(device, depth) <= value);
            let below = leaves.get(start..end).unwrap_or_default();
            let subtree = self.build(space, &child, below)?;
            branch.set(value, subtree);
        }
        self.put_row(branch_key(space, prefix).as_slice(), &branch)?;
        let hash = branch_hash(&branch.hashes);
        Ok(Subtree { hash, count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::WriteTables;
    use proptest::prelude::*;
    use redb::{Database, backends::InMemoryBackend};
    use std::collections::BTreeMap;

    fn with_txn<R>(test: impl FnOnce(&mut Txn<'_>) -> R) -> R {
        let database = Database::builder()
            .create_with_backend(InMemoryBackend::new())
            .unwrap();
        let transaction = database.begin_write().unwrap();
        migrations::migrate(&transaction, 0).unwrap();
        let mut txn = Txn::new(WriteTables::new(&transaction));
        test(&mut txn)
    }

    fn root_of(leaves: &BTreeMap<DeviceId, Hash>) -> Hash {
        let leaves: Vec<_> = leaves.iter().map(|(d, l)| (*d, *l)).collect();
        proto::merkle::hash_of(&leaves, 0)
    }

    fn device(n: u32) -> DeviceId {
        DeviceId(*blake3::hash(&n.to_be_bytes()).as_bytes())
    }

    #[test]
    fn ten_thousand_feeds_agree_with_the_plain_hash() {
        with_txn(|txn| {
            let mut plain = BTreeMap::new();
            let mut set = |txn: &mut Txn<'_>, n: u32, leaf: Option<u8>| {
                let leaf = leaf.map(|leaf| [leaf; 32]);
                txn.put_leaf(1, device(n), n, leaf).unwrap();
                match leaf {
                    Some(leaf) => plain.insert(device(n), leaf),
                    None => plain.remove(&device(n)),
                };
                root_of(&plain)
            };
            let mut root = EMPTY;
            for n in 0..10_000 {
                txn.put_leaf(2, device(n), n, Some([9; 32])).unwrap();
                if n % 500 == 0 {
                    root = set(txn, n, Some(1));
                }
            }
            assert_eq!(txn.root(1).unwrap(), root);
            let all: BTreeMap<_, _> = (0..10_000).map(|n| (device(n), [9; 32])).collect();
            assert_eq!(txn.root(2).unwrap(), root_of(&all));
            for n in 0..10_000 {
                txn.put_leaf(2, device(n), n, None).unwrap();
            }
            assert_eq!(txn.root(2).unwrap(), EMPTY);
            assert!(!txn.has_any(Table::Tree, Key::new().u32(2)).unwrap());
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// Devices share long prefixes, so that the tree grows deep and shrinks again.
        #[test]
        fn any_changes_agree_with_the_plain_hash(changes in proptest::collection::vec((0..60_u8, 0..3_u8, proptest::option::of(any::<u8>())), 1..250)) {
            with_txn(|txn| {
                let mut plain = BTreeMap::new();
                for (low, high, leaf) in changes {
                    let mut bytes = [0; 32];
                    bytes[0] = high;
                    bytes[20] = low;
                    let device = DeviceId(bytes);
                    let leaf = leaf.map(|leaf| [leaf; 32]);
                    txn.put_leaf(1, device, u32::from(low), leaf).unwrap();
                    match leaf {
                        Some(leaf) => plain.insert(device, leaf),
                        None => plain.remove(&device),
                    };
                    prop_assert_eq!(txn.root(1).unwrap(), root_of(&plain));
                }
                Ok(())
            })?;
        }
    }
}
