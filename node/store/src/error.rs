//! Why the store failed, apart from what a peer did wrong ([`proto::verify::Reject`]).

use std::{path::PathBuf, sync::Arc};

use proto::{body::BodyError, verify::Reject};

/// A failure of ours. Nothing of the job that met it is kept.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The database itself.
    #[error("the database failed: {0}")]
    Database(Arc<redb::Error>),
    /// No room. Nothing that was acknowledged is lost; the store goes on by itself once there is room.
    #[error("the disk is full: free some space and try again")]
    Full,
    /// Reading or writing failed. The store tries again by itself.
    #[error(
        "the disk failed ({detail}): look whether this was written before you try again, and whether the disk is sound"
    )]
    Failing {
        /// What the system said.
        detail: Arc<str>,
    },
    /// A row that this program can't read. Nothing is guessed from it.
    #[error("a row of the table {table} can't be read: the database is damaged")]
    Corrupt {
        /// The table.
        table: &'static str,
    },
    /// The space isn't held.
    #[error("this space isn't held here")]
    UnknownSpace,
    /// The space is held already.
    #[error("this space is held already")]
    SpaceExists,
    /// No more spaces.
    #[error("{found} spaces are held, at most {max} are allowed: leave one first")]
    TooManySpaces {
        /// Held now.
        found: usize,
        /// The bound.
        max: usize,
    },
    /// Our own entry would not be accepted by anybody.
    #[error("an entry of ours is refused: {0}")]
    OwnBody(#[from] BodyError),
    /// Our own entry breaks a rule of its feed.
    #[error("an entry of ours is refused: {0}")]
    OwnEntry(Reject),
    /// A job failed for a reason of its own.
    #[error("{0}")]
    Refused(String),
    /// A job panicked; what it did is undone.
    #[error("a change failed unexpectedly and was undone")]
    Panicked,
    /// The store is closed.
    #[error("the database is closed")]
    Closed,
}

/// Why an import kept nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ImportError {
    /// The peer's fault: drop it and count it. Nothing was changed.
    #[error(transparent)]
    Reject(#[from] Reject),
    /// Ours.
    #[error(transparent)]
    Store(#[from] Error),
}

/// Why a database is not opened. The file is left as it was found.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Written by a newer program.
    #[error(
        "{path} has schema {found}, this program knows up to {known}: use the newer program that wrote it"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The newest that this program knows.
        known: u32,
    },
    /// Not a database of this program.
    #[error("{path} is no Waymeet database ({found}): move it away, or choose another data folder")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        found: String,
    },
    /// Cut short or altered.
    #[error(
        "{path} is damaged ({found}): put a backup in its place, or move it away to start anew"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        found: String,
    },
    /// Open elsewhere.
    #[error("{path} is in use by another process: stop that one first")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file system.
    #[error("{path} can't be opened: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// The steps to the current schema.
    #[error("{path} could not be brought to the current schema: {source}")]
    Migration {
        /// The file.
        path: PathBuf,
        /// Why.
        source: migrations::Error,
    },
}

macro_rules! from_redb {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for Error {
            fn from(error: redb::$error) -> Self {
                Self::of(error.into())
            }
        }
    )*};
}

impl Error {
    pub(crate) fn of(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) if crate::medium::is_full(&error) => Self::Full,
            redb::Error::Io(error) => Self::failing(&error),
            redb::Error::PreviousIo | redb::Error::DatabaseClosed => {
                Self::failing(&"an earlier call failed")
            }
            error => Self::Database(Arc::new(error)),
        }
    }

    pub(crate) fn failing(detail: &dyn std::fmt::Display) -> Self {
        Self::Failing {
            detail: detail.to_string().into(),
        }
    }

    /// Whether the disk is to blame, and the database has to be opened again.
    pub(crate) const fn is_disk(&self) -> bool {
        matches!(self, Self::Full | Self::Failing { .. })
    }
}

from_redb!(StorageError, TableError, TransactionError, CommitError);

/// A result of the store.
pub type Result<T, E = Error> = std::result::Result<T, E>;
