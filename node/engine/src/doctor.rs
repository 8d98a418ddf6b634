//! Verification of everything that is held, on a running node or a folder whose node is stopped.

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use store::{Snapshot, Store};

use crate::{
    Error, Node, Result,
    api::DATABASE,
    inner::Inner,
    view::{CheckUp, Finding},
};

impl Node {
    /// Walks every feed of every space and compares what follows from it; changes nothing and
    /// delays nobody. A large store takes some seconds for each million entries.
    ///
    /// # Errors
    /// [`Error::Conflict`] while another one runs, [`Error::Stopping`], [`Error::Disk`],
    /// [`Error::Storage`].
    pub async fn check_up(&self) -> Result<CheckUp> {
        let inner = self.0.clone();
        if inner.examining.swap(true, Ordering::AcqRel) {
            return Err(Error::Conflict {
                detail: "a check-up is running: wait until it is done".into(),
            });
        }
        let examined = tokio::task::spawn_blocking(move || {
            let examined = Self::examine_running(&inner);
            inner.examining.store(false, Ordering::Release);
            examined
        });
        examined.await.map_err(|_| Error::Stopping)?
    }

    fn examine_running(inner: &Arc<Inner>) -> Result<CheckUp> {
        let snapshot = inner.store.read()?;
        let checked = examine(&snapshot, || !inner.stop.is_cancelled())?;
        if inner.stop.is_cancelled() {
            return Err(Error::Stopping);
        }
        Ok(checked)
    }
}

/// The same for the folder of a node that doesn't run.
///
/// # Errors
/// [`Error::Folder`] where there is no database, [`Error::Database`] where it can't be opened.
pub fn check_up_folder(folder: &Path) -> Result<CheckUp> {
    let path = folder.join(DATABASE);
    if !path.is_file() {
        return Err(Error::Folder {
            detail: format!("{} isn't there: name another folder", path.display()),
        });
    }
    let store = Store::open(&path).map_err(|error| Error::Database {
        detail: error.to_string(),
    })?;
    examine(&store.read()?, || true)
}

fn examine(snapshot: &Snapshot, go_on: impl Fn() -> bool) -> Result<CheckUp> {
    let mut findings = Vec::new();
    let sums = snapshot.check_up(
        &mut |finding| {
            findings.push(Finding {
                space: finding.space,
                device: finding.device,
                what: finding.what,
                remedy: finding.part.remedy(),
            });
        },
        &mut |_| go_on(),
    )?;
    Ok(CheckUp {
        spaces: sums.spaces,
        feeds: sums.feeds,
        entries: sums.entries,
        signatures: sums.signatures,
        missing: sums.holes,
        records: sums.records,
        findings,
        found: sums.findings,
    })
}
