//! How much room is left on the disk, and how much should be.
//!
//! Others' entries can wait, and their node keeps them; one's own can't. So below a floor only
//! one's own are taken. This module measures; who stops fetching is the engine's to decide.

use std::{
    fmt, io,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::base::Base;

/// The file system is asked at most so often while changes come, and again after so long where
/// there was too little.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Says how many bytes are free for this user.
pub type Free = Arc<dyn Fn() -> io::Result<u64> + Send + Sync>;

/// Asks the file system on which a path lies.
///
/// # Errors
/// The file system's; [`io::ErrorKind::Unsupported`] where it can't be asked.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    #[cfg(unix)]
    {
        let found = rustix::fs::statvfs(path)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// What is free and what should be.
pub(crate) struct Room {
    free: Mutex<Option<Free>>,
    floor: AtomicU64,
    looked: Mutex<Looked>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Looked {
    at: Option<Instant>,
    low: bool,
}

impl Room {
    pub(crate) fn new(path: Option<&Path>) -> Self {
        let free = path.map(|path| {
            let path = path.to_owned();
            Arc::new(move || free_bytes(&path)) as Free
        });
        Self {
            free: Mutex::new(free),
            floor: AtomicU64::new(0),
            looked: Mutex::default(),
        }
    }

    pub(crate) fn set_free(&self, free: Free) {
        *self.free.lock().unwrap_or_else(PoisonError::into_inner) = Some(free);
        self.looked().at = None;
    }

    pub(crate) fn set_floor(&self, floor: u64) {
        self.floor.store(floor, Ordering::Release);
        self.looked().at = None;
    }

    fn looked(&self) -> std::sync::MutexGuard<'_, Looked> {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that are free; `None` where nobody can say.
    pub(crate) fn free(&self) -> Option<u64> {
        let free = self
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()?;
        free().ok()
    }

    pub(crate) fn floor(&self) -> u64 {
        self.floor.load(Ordering::Acquire)
    }

    /// Measures where that is due and tells whether there is too little.
    pub(crate) fn look(&self, base: &Base) {
        let floor = self.floor();
        let due = self.looked().at.is_none_or(|at| at.elapsed() >= LOOK_EVERY);
        if floor == 0 || !due {
            return;
        }
        let low = self.free().is_some_and(|free| free < floor);
        *self.looked() = Looked {
            at: Some(Instant::now()),
            low,
        };
        base.set_low(low);
    }

    /// When it has to be measured again though nothing changes here.
    pub(crate) fn next_look(&self) -> Option<Duration> {
        self.looked().low.then_some(LOOK_EVERY)
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Room(floor {})", self.floor())
    }
}
