//! Opening the file: what isn't ours, is newer or is damaged is refused before anything is written.
//!
//! The first look goes through [`Overlay`], which reads the file and keeps every write in memory.
//! So even a repair after a power cut can be tried without touching the file.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use redb::{
    BackendError, Builder, Database, DatabaseError, ReadableDatabase, StorageBackend, StorageError,
};

use crate::{
    base::Base,
    error::OpenError,
    medium::{self, Medium},
};

/// Memory for pages that were read or are to be written, in bytes. The pages of a busy node's hot
/// tables fit, and a node stays within its 30 MB.
pub(crate) const CACHE_BYTES: usize = 16 * 1024 * 1024;
/// What a redb file begins with.
const MAGIC: [u8; 9] = [b'r', b'e', b'd', b'b', 0x1a, 0x0a, 0xa9, 0x0d, 0x0a];
/// Bytes of redb's header page: a shorter file was cut.
const HEADER_PAGE: u64 = 4_096;

pub(crate) fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// Opens or creates the database at `path` and brings it to the current schema.
pub(crate) fn open(path: &Path) -> Result<Base, OpenError> {
    let medium = Medium::File(path.to_owned());
    if is_new(path)? {
        return create(medium);
    }
    let version = probe(path)?;
    let known = migrations::KNOWN;
    if version > known {
        return Err(OpenError::Newer {
            path: path.to_owned(),
            found: version,
            known,
        });
    }
    if version > 0 && version < known {
        copy_aside(path, version)?;
    }
    let (database, faults) = guarded(path, || medium.open())?;
    if version < known {
        migrate(&database, path, version)?;
    }
    medium.remove_beside().map_err(io_error(path))?;
    Ok(Base::new(medium, database, faults))
}

/// Makes a database with the current schema beside its place, and gives it its name: whenever the
/// power is cut, there is nothing under this name or a whole database.
fn create(medium: Medium) -> Result<Base, OpenError> {
    let made = guarded(medium.name(), || medium.make_beside())?;
    migrate(&made.database, medium.name(), 0)?;
    medium
        .rename(&made)
        .and_then(|()| medium.sync_name())
        .map_err(io_error(medium.name()))?;
    Ok(Base::new(medium, made.database, made.faults))
}

/// As [`open`] for what is no file: no look before it is opened.
pub(crate) fn settle(medium: Medium) -> Result<Base, OpenError> {
    let path = medium.name().to_owned();
    let damaged = |found: String| OpenError::Damaged {
        path: path.clone(),
        found,
    };
    if medium.is_empty() {
        return create(medium);
    }
    let (database, faults) = guarded(&path, || medium.open())?;
    let read = database
        .begin_read()
        .map_err(|error| damaged(error.to_string()))?;
    let version = migrations::version(&read).map_err(|error| damaged(error.to_string()))?;
    drop(read);
    if version != Some(migrations::KNOWN) {
        migrate(&database, &path, version.unwrap_or(0))?;
    }
    Ok(Base::new(medium, database, faults))
}

/// Copies the file beside itself before the migration from `version`. The copy gets its name when
/// it is whole: half of one would look like a backup.
fn copy_aside(path: &Path, version: u32) -> Result<PathBuf, OpenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".before-{}", version + 1));
    let copy = PathBuf::from(name);
    let part = medium::beside(path);
    let copied = fs::copy(path, &part)
        .and_then(|_| File::open(&part))
        .and_then(|file| file.sync_all())
        .and_then(|()| fs::rename(&part, &copy))
        .and_then(|()| medium::sync_folder(&copy));
    match copied {
        Ok(()) => Ok(copy),
        Err(source) => {
            let _ = fs::remove_file(&part);
            Err(OpenError::Io { path: copy, source })
        }
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io { path, source }
}

/// Whether there is nothing yet: no file, or one that was made and never written.
fn is_new(path: &Path) -> Result<bool, OpenError> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => Ok(found.len() == 0),
        Ok(_) => Err(OpenError::Foreign {
            path: path.to_owned(),
            found: "it is not a file".to_owned(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(io_error(path)(error)),
    }
}

fn migrate(database: &Database, path: &Path, from: u32) -> Result<(), OpenError> {
    let failed = |source: redb::Error| OpenError::Migration {
        path: path.to_owned(),
        source: migrations::Error::Database(source),
    };
    let mut txn = database.begin_write().map_err(|e| failed(e.into()))?;
    txn.set_two_phase_commit(true);
    txn.set_quick_repair(true);
    migrations::migrate(&txn, from).map_err(|source| OpenError::Migration {
        path: path.to_owned(),
        source,
    })?;
    txn.commit().map_err(|e| failed(e.into()))
}

/// Finds the file's schema without changing the file. 0 is a database that was created and
/// never got its schema.
fn probe(path: &Path) -> Result<u32, OpenError> {
    let mut file = File::open(path).map_err(io_error(path))?;
    let mut magic = [0; MAGIC.len()];
    let read = file.read(&mut magic).map_err(io_error(path))?;
    if !MAGIC.starts_with(magic.get(..read).unwrap_or_default()) {
        return Err(OpenError::Foreign {
            path: path.to_owned(),
            found: "it does not begin like a redb file".to_owned(),
        });
    }
    let len = file.metadata().map_err(io_error(path))?.len();
    if len < HEADER_PAGE {
        return Err(OpenError::Damaged {
            path: path.to_owned(),
            found: format!("it has {len} bytes, not even a header of {HEADER_PAGE}"),
        });
    }
    if let Err(fs::TryLockError::WouldBlock) = file.try_lock() {
        return Err(OpenError::InUse {
            path: path.to_owned(),
        });
    }
    let overlay = Overlay::new(file).map_err(io_error(path))?;
    let version = guarded(path, || {
        let database = builder().create_with_backend(overlay)?;
        let read = database.begin_read().map_err(|e| match e {
            redb::TransactionError::Storage(e) => DatabaseError::Storage(e),
            other => DatabaseError::Storage(StorageError::Corrupted(other.to_string())),
        })?;
        let tables = read.list_tables().map_err(DatabaseError::Storage)?.count();
        Ok((migrations::version(&read), tables))
    })?;
    match version {
        (Ok(Some(version)), _) => Ok(version),
        (Ok(None), 0) => Ok(0),
        (Ok(None), tables) => Err(OpenError::Foreign {
            path: path.to_owned(),
            found: format!("a redb file with {tables} tables of another program"),
        }),
        (Err(error), _) => Err(OpenError::Damaged {
            path: path.to_owned(),
            found: error.to_string(),
        }),
    }
}

/// redb checks what it reads, but may panic over a file that something else altered. What the
/// disk holds must not end the process.
fn guarded<T>(
    path: &Path,
    open: impl FnOnce() -> Result<T, DatabaseError>,
) -> Result<T, OpenError> {
    let path = path.to_owned();
    match catch_unwind(AssertUnwindSafe(open)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(DatabaseError::DatabaseAlreadyOpen)) => Err(OpenError::InUse { path }),
        Ok(Err(DatabaseError::Storage(StorageError::Io(source)))) => {
            Err(OpenError::Io { path, source })
        }
        Ok(Err(DatabaseError::UpgradeRequired(found))) => Err(OpenError::Foreign {
            path,
            found: format!("a redb file of format {found}"),
        }),
        Ok(Err(error)) => Err(OpenError::Damaged {
            path,
            found: error.to_string(),
        }),
        Err(_) => Err(OpenError::Damaged {
            path,
            found: "its pages contradict each other".to_owned(),
        }),
    }
}

/// A file that is only read, with every write kept in memory.
struct Overlay(Mutex<OverlayState>);

struct OverlayState {
    file: File,
    file_len: u64,
    len: u64,
    blocks: BTreeMap<u64, Vec<u8>>,
}

const BLOCK: u64 = 4_096;

impl Overlay {
    fn new(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self(Mutex::new(OverlayState {
            file,
            file_len: len,
            len,
            blocks: BTreeMap::new(),
        })))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, OverlayState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OverlayState {
    /// A whole block as it is now; zeros behind the file's end.
    fn block(&mut self, number: u64) -> io::Result<Vec<u8>> {
        if let Some(block) = self.blocks.get(&number) {
            return Ok(block.clone());
        }
        let mut block = vec![0; BLOCK as usize];
        let start = number.saturating_mul(BLOCK);
        let there = self.file_len.saturating_sub(start).min(BLOCK) as usize;
        if let Some(part) = block.get_mut(..there) {
            self.file.seek(SeekFrom::Start(start))?;
            self.file.read_exact(part)?;
        }
        Ok(block)
    }

    /// Visits the parts of blocks that `offset..offset + len` covers.
    fn visit(
        &mut self,
        offset: u64,
        len: usize,
        write: bool,
        mut each: impl FnMut(&mut [u8], std::ops::Range<usize>),
    ) -> io::Result<()> {
        let end = offset
            .checked_add(len as u64)
            .filter(|end| *end <= self.len)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut at = offset;
        while at < end {
            let number = at / BLOCK;
            let inside = (at % BLOCK) as usize;
            let count = (end - at).min(BLOCK - at % BLOCK) as usize;
            let done = (at - offset) as usize;
            let mut block = self.block(number)?;
            if let Some(part) = block.get_mut(inside..inside + count) {
                each(part, done..done + count);
            }
            if write {
                self.blocks.insert(number, block);
            }
            at += count as u64;
        }
        Ok(())
    }
}

impl fmt::Debug for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Overlay")
    }
}

impl StorageBackend for Overlay {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.state().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.state().visit(offset, out.len(), false, |part, range| {
            if let Some(slot) = out.get_mut(range) {
                slot.copy_from_slice(part);
            }
        })
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        let mut state = self.state();
        state.len = len;
        state.file_len = state.file_len.min(len);
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.state().visit(offset, data.len(), true, |part, range| {
            if let Some(from) = data.get(range) {
                part.copy_from_slice(from);
            }
        })
    }

    fn try_lock_range(
        &self,
        _start: std::ops::Bound<u64>,
        _end: std::ops::Bound<u64>,
    ) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn unlock_range(
        &self,
        _start: std::ops::Bound<u64>,
        _end: std::ops::Bound<u64>,
    ) -> Result<(), BackendError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_before_a_migration_is_named_after_it_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("waymeet.redb");
        drop(open(&path).unwrap());
        let copy = copy_aside(&path, 1).unwrap();
        assert_eq!(copy, folder.path().join("waymeet.redb.before-2"));
        assert_eq!(fs::read(&copy).unwrap(), fs::read(&path).unwrap());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(&copy).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let missing = folder.path().join("none");
        assert!(copy_aside(&missing, 1).is_err());
        assert!(!folder.path().join("none.before-2").exists());
    }
}
