//! Where the database lies: a file, memory, a simulated disk; and what its calls said.
//!
//! A file never lies half-made under its name: it is written beside itself, synced, and renamed.
//! This module knows no table.

use std::{
    fs::{self, File, OpenOptions},
    io,
    ops::Bound,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use redb::{BackendError, Database, DatabaseError, StorageBackend, backends::FileBackend};

use crate::open::builder;

/// Where a database lies.
#[derive(Debug)]
pub(crate) enum Medium {
    File(PathBuf),
    Memory,
    #[cfg(feature = "sim")]
    Disk(crate::sim::Disk),
}

/// A database that has no name yet, and what it lies on.
pub(crate) struct Unnamed {
    pub(crate) database: Database,
    pub(crate) faults: Arc<Faults>,
    #[cfg(feature = "sim")]
    inode: Option<crate::sim::Inode>,
}

impl Medium {
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Memory => None,
            #[cfg(feature = "sim")]
            Self::Disk(_) => None,
        }
    }

    /// What it is called in errors.
    pub(crate) fn name(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Memory => Path::new(":memory:"),
            #[cfg(feature = "sim")]
            Self::Disk(_) => Path::new(":disk:"),
        }
    }

    /// Whether there is nothing yet.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::File(path) => fs::metadata(path).is_ok_and(|found| found.len() == 0),
            Self::Memory => true,
            #[cfg(feature = "sim")]
            Self::Disk(disk) => disk.image().is_empty(),
        }
    }

    /// Opens what is there, which the caller knows to be a database.
    pub(crate) fn open(&self) -> Result<(Database, Arc<Faults>), DatabaseError> {
        let faults = Arc::new(Faults::default());
        let database = match self {
            Self::File(path) => {
                let file = OpenOptions::new()
                    .read(true)
                    .write(true)
                    .open(path)
                    .map_err(io_error)?;
                on(FileBackend::new(file)?, &faults)?
            }
            Self::Memory => on(redb::backends::InMemoryBackend::new(), &faults)?,
            #[cfg(feature = "sim")]
            Self::Disk(disk) => on(disk.open(), &faults)?,
        };
        Ok((database, faults))
    }

    /// Makes an empty database beside this one; readable by the owner alone.
    pub(crate) fn make_beside(&self) -> Result<Unnamed, DatabaseError> {
        let faults = Arc::new(Faults::default());
        #[cfg(feature = "sim")]
        let mut inode = None;
        let database = match self {
            Self::File(path) => {
                self.remove_beside().map_err(io_error)?;
                let mut options = OpenOptions::new();
                options.read(true).write(true).create_new(true);
                #[cfg(unix)]
                {
                    use std::os::unix::fs::OpenOptionsExt;
                    options.mode(0o600);
                }
                let file = options.open(beside(path)).map_err(io_error)?;
                on(FileBackend::new(file)?, &faults)?
            }
            Self::Memory => on(redb::backends::InMemoryBackend::new(), &faults)?,
            #[cfg(feature = "sim")]
            Self::Disk(disk) => {
                let file = disk.create();
                inode = Some(file.inode());
                on(file, &faults)?
            }
        };
        Ok(Unnamed {
            database,
            faults,
            #[cfg(feature = "sim")]
            inode,
        })
    }

    /// Gives a database that was made beside this one, and is durable, this one's name. Durable
    /// only after [`Self::sync_name`].
    #[cfg_attr(not(feature = "sim"), expect(unused_variables, reason = "see `inode`"))]
    pub(crate) fn rename(&self, made: &Unnamed) -> io::Result<()> {
        match self {
            Self::File(path) => fs::rename(beside(path), path),
            Self::Memory => Ok(()),
            #[cfg(feature = "sim")]
            Self::Disk(disk) => made.inode.map_or(Ok(()), |inode| disk.rename(inode)),
        }
    }

    /// Makes the name durable.
    pub(crate) fn sync_name(&self) -> io::Result<()> {
        match self {
            Self::File(path) => sync_folder(path),
            Self::Memory => Ok(()),
            #[cfg(feature = "sim")]
            Self::Disk(disk) => disk.sync_name(),
        }
    }

    /// Removes what was being made when the program ended.
    pub(crate) fn remove_beside(&self) -> io::Result<()> {
        let Self::File(path) = self else {
            return Ok(());
        };
        match fs::remove_file(beside(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Bytes that it takes on disk. A file's length may be twice that: the rest is a hole.
    pub(crate) fn used(&self) -> u64 {
        match self {
            Self::File(path) => used(path),
            Self::Memory => 0,
            #[cfg(feature = "sim")]
            Self::Disk(disk) => disk.image().used(),
        }
    }
}

fn used(path: &Path) -> u64 {
    let metadata = fs::metadata(path).ok();
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

/// The name under which a file is made before it gets its own.
pub(crate) fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

/// Makes what a folder says of a file durable, where the system can.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        Ok(())
    }
}

fn io_error(error: io::Error) -> DatabaseError {
    DatabaseError::Storage(redb::StorageError::Io(error))
}

fn on<B: StorageBackend>(backend: B, faults: &Arc<Faults>) -> Result<Database, DatabaseError> {
    builder().create_with_backend(Watched {
        backend,
        faults: Arc::clone(faults),
    })
}

/// What went wrong with a database's calls since it was opened. redb tells the first failure to
/// whoever met it, and everybody else only that there was one.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    full: AtomicBool,
    failing: AtomicBool,
    sync: AtomicBool,
}

impl Faults {
    fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result {
            let kind = if is_full(error) {
                &self.full
            } else {
                &self.failing
            };
            kind.store(true, Ordering::Release);
        }
        result
    }

    /// Whether a call failed.
    pub(crate) fn any(&self) -> bool {
        self.failing.load(Ordering::Acquire) || self.full.load(Ordering::Acquire)
    }

    /// Whether calls failed for want of room and for nothing else.
    pub(crate) fn only_full(&self) -> bool {
        !self.failing.load(Ordering::Acquire) && self.full.load(Ordering::Acquire)
    }

    /// Whether a sync failed: what was written before it can be read and may still never reach
    /// the disk, whatever later syncs say.
    pub(crate) fn sync_failed(&self) -> bool {
        self.sync.load(Ordering::Acquire)
    }

    /// A failure that redb itself could do without, such as a write ahead of time.
    pub(crate) fn forgive(&self) {
        self.failing.store(false, Ordering::Release);
        self.full.store(false, Ordering::Release);
    }
}

/// Whether there was no room: for this user, in this file, on this disk.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// A backend whose failures are noted.
#[derive(Debug)]
struct Watched<B> {
    backend: B,
    faults: Arc<Faults>,
}

impl<B: StorageBackend> StorageBackend for Watched<B> {
    fn len(&self) -> Result<u64, io::Error> {
        self.faults.note(self.backend.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.faults.note(self.backend.read(offset, out))
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.faults.note(self.backend.set_len(len))
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        let synced = self.faults.note(self.backend.sync_data());
        if synced.is_err() {
            self.faults.sync.store(true, Ordering::Release);
        }
        synced
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.faults.note(self.backend.write(offset, data))
    }

    fn close(&self) -> Result<(), io::Error> {
        self.backend.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.backend.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.backend.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.backend.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.backend.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.backend.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.backend.query_lock_range(start, end)
    }
}
