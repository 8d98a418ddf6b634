//! The keys that wrap prekeys' secrets, in one small file that is written over in place.
//!
//! There is one key, or two while secrets are wrapped anew. Where the file can't be read all prekeys are
//! lost, and no message with them: who wrote it still has it, and sends it in the next meeting.

use std::{
    io,
    path::{Path, PathBuf},
};

use proto::seal::EpochKey;
use zeroize::Zeroizing;

use crate::files;

const FILE: &str = "prekey-epoch.key";
/// Number u32, key 32, check 4.
const SLOT_BYTES: usize = 40;
const FILE_BYTES: usize = 2 * SLOT_BYTES;

/// The newest last.
pub(super) struct Epochs {
    path: PathBuf,
    keys: Vec<(u32, EpochKey)>,
}

impl Epochs {
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let path = dir.join(FILE);
        let known = files::read_private(&path, FILE_BYTES as u64)?;
        let keys = known.as_ref().map_or_else(Vec::new, |bytes| read(bytes));
        let mut epochs = Self { path, keys };
        if epochs.keys.is_empty() {
            // After a file that can't be read: its numbers must not come again.
            let mut first = [0; 4];
            files::fill_random(&mut first);
            let number = u32::from_be_bytes(first) >> 1;
            epochs.keys.push((number, EpochKey(*files::random_seed())));
            files::write_private(&epochs.path, &epochs.bytes())?;
        }
        Ok(epochs)
    }

    /// The key for what is wrapped now, and its number.
    pub(super) fn current(&self) -> Option<(u32, &EpochKey)> {
        self.keys.last().map(|(number, key)| (*number, key))
    }

    pub(super) fn get(&self, number: u32) -> Option<&EpochKey> {
        let known = self.keys.iter().find(|(known, _)| *known == number);
        known.map(|(_, key)| key)
    }

    /// A change began and didn't end.
    pub(super) const fn is_cut(&self) -> bool {
        self.keys.len() > 1
    }

    /// A new key; the one before stays until [`Self::finish`].
    pub(super) fn begin(&mut self) -> io::Result<()> {
        if self.keys.len() > 1 {
            // A change that was cut: it only has to be finished.
            return Ok(());
        }
        let number = self.current().map_or(0, |(number, _)| number);
        let next = (number.wrapping_add(1), EpochKey(*files::random_seed()));
        self.keys.push(next);
        let written = self.write();
        if written.is_err() {
            self.keys.pop();
        }
        written
    }

    /// Everything is wrapped by the newest key: the one before is erased.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        let last = self.keys.len().saturating_sub(1);
        self.keys.drain(..last);
        self.write()
    }

    fn write(&self) -> io::Result<()> {
        files::write_over(&self.path, &self.bytes())
    }

    fn bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(FILE_BYTES));
        for (number, key) in &self.keys {
            out.extend_from_slice(&number.to_be_bytes());
            out.extend_from_slice(&key.0);
            let start = out.len() - (SLOT_BYTES - 4);
            let check = check(out.get(start..).unwrap_or_default());
            out.extend_from_slice(&check);
        }
        out.resize(FILE_BYTES, 0);
        out
    }
}

fn check(slot: &[u8]) -> [u8; 4] {
    let mut out = [0; 4];
    blake3::Hasher::new_derive_key("waymeet 1 prekey epoch")
        .update(slot)
        .finalize_xof()
        .fill(&mut out);
    out
}

/// What a torn write left whole.
fn read(bytes: &[u8]) -> Vec<(u32, EpochKey)> {
    let slots = bytes.chunks_exact(SLOT_BYTES);
    slots
        .filter_map(|slot| {
            let (content, found) = slot.split_last_chunk::<4>()?;
            let (number, key) = content.split_first_chunk::<4>()?;
            let key = key.try_into().ok().filter(|_| check(content) == *found)?;
            Some((u32::from_be_bytes(*number), EpochKey(key)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finished_change_leaves_nothing_of_the_old_key() {
        let dir = tempfile::tempdir().unwrap();
        let mut epochs = Epochs::open(dir.path()).unwrap();
        let (first, old) = epochs.current().map(|(n, key)| (n, key.clone())).unwrap();
        epochs.begin().unwrap();
        let reopened = Epochs::open(dir.path()).unwrap();
        assert_eq!(reopened.get(first).unwrap().0, old.0);
        assert_ne!(reopened.current().unwrap().0, first);
        epochs.finish().unwrap();
        let bytes = std::fs::read(dir.path().join(FILE)).unwrap();
        assert!(
            !bytes
                .windows(8)
                .any(|part| old.0.windows(8).any(|w| w == part))
        );
        let reopened = Epochs::open(dir.path()).unwrap();
        assert!(reopened.get(first).is_none());
        assert_eq!(reopened.current().unwrap().0, epochs.current().unwrap().0);
    }

    #[test]
    fn a_cut_change_is_finished_and_a_damaged_file_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let mut epochs = Epochs::open(dir.path()).unwrap();
        epochs.begin().unwrap();
        let mut again = Epochs::open(dir.path()).unwrap();
        again.begin().unwrap();
        assert_eq!(again.keys.len(), 2);
        again.finish().unwrap();
        std::fs::write(dir.path().join(FILE), [7; FILE_BYTES]).unwrap();
        let fresh = Epochs::open(dir.path()).unwrap();
        assert_eq!(fresh.keys.len(), 1);
    }
}
