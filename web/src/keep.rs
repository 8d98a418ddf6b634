//! What the dashboard keeps between starts, each thing in a file of its own in the node's folder,
//! for its owner alone. Touches no file itself: the engine's one module for secret files does.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

use crate::{password::PasswordHash, session::Sessions};

/// Bytes of one such file: the list of sessions is the longest, some 300 bytes each.
const BYTES_MAX: u64 = 64 * 1024;

const PASSWORD: &str = "dashboard-password";

/// Files that hold something.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shelf {
    /// What was switched on.
    Choices,
    /// Who is signed in.
    Sessions,
    /// The key of the certificate.
    TlsKey,
    /// The certificate.
    TlsCertificate,
}

impl Shelf {
    const fn name(self) -> &'static str {
        match self {
            Self::Choices => "dashboard-choices",
            Self::Sessions => "dashboard-sessions",
            Self::TlsKey => "dashboard-tls-key",
            Self::TlsCertificate => "dashboard-tls-certificate",
        }
    }
}

/// The files of one node.
#[derive(Debug, Clone)]
pub(crate) struct Keep {
    dir: PathBuf,
}

impl Keep {
    pub(crate) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn read(&self, shelf: Shelf) -> io::Result<Option<Vec<u8>>> {
        let read = engine::files::read_private(&self.dir.join(shelf.name()), BYTES_MAX)?;
        Ok(read.map(|bytes| bytes.to_vec()))
    }

    pub(crate) fn write(&self, shelf: Shelf, bytes: &[u8]) -> io::Result<()> {
        engine::files::write_private(&self.dir.join(shelf.name()), bytes)
    }

    /// What was written as JSON. A file that can't be read as such counts as none, and is said: what
    /// stands in these is a convenience, and no reason to refuse a start.
    pub(crate) fn load<T: DeserializeOwned + Default>(&self, shelf: Shelf) -> T {
        self.load_or(shelf, T::default)
    }

    /// The same, with what counts in place of a file that can't be read.
    pub(crate) fn load_or<T: DeserializeOwned + Default>(
        &self,
        shelf: Shelf,
        damaged: impl FnOnce() -> T,
    ) -> T {
        let text = match self.read(shelf) {
            Ok(None) => return T::default(),
            Ok(Some(text)) => text,
            Err(error) => {
                tracing::warn!(%error, "cannot read {}", shelf.name());
                return damaged();
            }
        };
        serde_json::from_slice(&text).unwrap_or_else(|error| {
            tracing::warn!(%error, "{} holds something else: beginning anew", shelf.name());
            damaged()
        })
    }

    pub(crate) fn save<T: Serialize>(&self, shelf: Shelf, value: &T) -> io::Result<()> {
        self.write(shelf, &serde_json::to_vec(value)?)
    }
}

/// The password that a folder keeps.
///
/// # Errors
/// The file can't be read, or holds no hash.
pub fn kept_password(data_dir: &Path) -> io::Result<Option<PasswordHash>> {
    let Some(text) = engine::files::read_private(&data_dir.join(PASSWORD), BYTES_MAX)? else {
        return Ok(None);
    };
    PasswordHash::parse(&String::from_utf8_lossy(&text))
        .map(Some)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Signs everybody out who came over the network, in the folder of a node that doesn't run.
///
/// # Errors
/// The file can't be read or written.
pub fn end_kept_sign_ins(data_dir: &Path) -> io::Result<()> {
    let keep = Keep::new(data_dir);
    if keep.read(Shelf::Sessions)?.is_none() {
        return Ok(());
    }
    let mut sessions: Sessions = keep.load(Shelf::Sessions);
    sessions.end_remote();
    keep.save(Shelf::Sessions, &sessions)
}

/// Keeps a password in a folder, in place of another.
///
/// # Errors
/// The file can't be written.
pub fn keep_password(data_dir: &Path, password: &PasswordHash) -> io::Result<()> {
    let text = format!("{}\n", password.reveal());
    engine::files::write_private(&data_dir.join(PASSWORD), text.as_bytes())
}
