//! Giving space back to the file system.
//!
//! redb doubles a file that is full, and each commit of a large import leaves pages that only
//! later ones reuse. When nothing was to be done for a while after the file had grown, and at the
//! end, its pages are moved together and the rest is cut off.

use std::{path::PathBuf, sync::RwLock, time::Duration};

use redb::Database;

use crate::store::begin;

/// So long no change came: people pause between posts, an import doesn't.
pub(crate) const IDLE: Duration = Duration::from_secs(2);
/// Files below aren't worth it.
const BYTES_MIN: u64 = 8 * 1024 * 1024;
/// Moving the pages of a larger file together would keep readers waiting for seconds.
const BYTES_MAX: u64 = 256 * 1024 * 1024;

/// What is known of the file's size.
pub(crate) struct Size {
    path: Option<PathBuf>,
    /// Bytes on disk when it was opened or compacted last.
    base: u64,
}

impl Size {
    pub(crate) fn new(path: Option<PathBuf>) -> Self {
        let mut size = Self { path, base: 0 };
        size.base = size.used();
        size
    }

    /// Bytes that the file takes on disk. Its length may be twice that: the rest is a hole.
    fn used(&self) -> u64 {
        let metadata = self
            .path
            .as_ref()
            .and_then(|path| std::fs::metadata(path).ok());
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            metadata.map_or(0, |metadata| metadata.blocks() * 512)
        }
        #[cfg(not(unix))]
        {
            metadata.map_or(0, |metadata| metadata.len() / 2)
        }
    }

    /// Whether the file grew by a quarter since it was opened or compacted.
    pub(crate) fn has_grown(&self) -> bool {
        let used = self.used();
        (BYTES_MIN..=BYTES_MAX).contains(&used) && used / 5 > self.base / 4
    }

    /// Makes a file that has grown as small as its content. Readers and changes wait meanwhile,
    /// some hundred milliseconds at most. Gives up where somebody is reading; tries again later.
    pub(crate) fn compact(&mut self, database: &RwLock<Database>) {
        if !self.has_grown() {
            return;
        }
        let before = self.used();
        let Ok(mut database) = database.write() else {
            return;
        };
        if let Err(error) = database.compact() {
            tracing::debug!(%error, "the file is not compacted now");
            return;
        }
        // A compaction leaves no record of what is free, which a start after a crash would miss.
        let recorded = begin(&database).and_then(|txn| Ok(txn.commit()?));
        if let Err(error) = recorded {
            tracing::error!(%error, "recording the compacted file's state");
        }
        drop(database);
        self.base = self.used();
        tracing::debug!(before, after = self.base, "compacted the file");
    }
}
