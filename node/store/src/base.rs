//! The open database under the readers and the writer.
//!
//! redb refuses everything after a call to the disk failed, until it is opened again. So the
//! database can be taken away ([`Base::fail`]), opened again ([`Base::recover`]) and replaced by a
//! fresh file ([`Base::refresh`]) while the store stands. What failed is told to everybody until
//! then. A snapshot keeps the database that it reads from, also a replaced one; one that failed is
//! closed under it, and its reads say so.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use redb::{Database, ReadableDatabase, WriteTransaction};
use tokio::sync::watch;

use crate::{
    error::{Error, Result},
    fresh,
    medium::{Faults, Medium, Unnamed},
    tables::{ReadTables, Table, WriteTables},
    txn::Txn,
};

/// How the disk below the store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Condition {
    /// All is well.
    #[default]
    Fine,
    /// Less room is left than should be: own entries are still written, others' should wait.
    Low,
    /// Nothing can be written for want of room.
    Full,
    /// Reading or writing fails.
    Failing,
}

/// A database while it is open. Taken out where it failed, also under those who read from it.
pub(crate) struct Opened {
    database: RwLock<Option<Database>>,
    faults: Arc<Faults>,
}

impl Opened {
    fn database(&self) -> RwLockReadGuard<'_, Option<Database>> {
        self.database.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        let database = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // Closing after a failure writes nothing; it must not end the writer in any case.
        let closed = catch_unwind(AssertUnwindSafe(|| drop(database)));
        if closed.is_err() {
            tracing::error!("closing the failed database panicked");
        }
    }
}

/// The database, in whatever state it is.
pub(crate) struct Base {
    medium: Medium,
    current: RwLock<Arc<Opened>>,
    /// Why nothing can be done, until it is opened again.
    broken: RwLock<Option<Error>>,
    /// What must be written anew before anything is built on it: see [`Faults::sync_failed`].
    doubted: AtomicBool,
    low: AtomicBool,
    condition: watch::Sender<Condition>,
}

impl Base {
    pub(crate) fn new(medium: Medium, database: Database, faults: Arc<Faults>) -> Self {
        Self {
            medium,
            current: RwLock::new(opened(database, faults)),
            broken: RwLock::new(None),
            doubted: AtomicBool::new(false),
            low: AtomicBool::new(false),
            condition: watch::Sender::new(Condition::Fine),
        }
    }

    pub(crate) const fn medium(&self) -> &Medium {
        &self.medium
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Condition> {
        self.condition.subscribe()
    }

    fn current(&self) -> Arc<Opened> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current)
    }

    /// Why nothing can be done now.
    pub(crate) fn broken(&self) -> Option<Error> {
        let broken = self.broken.read().unwrap_or_else(PoisonError::into_inner);
        broken.clone()
    }

    fn set_broken(&self, error: Option<Error>) {
        *self.broken.write().unwrap_or_else(PoisonError::into_inner) = error;
        self.publish();
    }

    /// Notes whether less room is left than should be.
    pub(crate) fn set_low(&self, low: bool) {
        self.low.store(low, Ordering::Release);
        self.publish();
    }

    fn publish(&self) {
        let now = match self.broken() {
            Some(Error::Full) => Condition::Full,
            Some(_) => Condition::Failing,
            None if self.low.load(Ordering::Acquire) => Condition::Low,
            None => Condition::Fine,
        };
        self.condition.send_if_modified(|condition| {
            let changed = *condition != now;
            *condition = now;
            changed
        });
    }

    pub(crate) fn read(&self) -> Result<ReadTables> {
        let current = self.current();
        let read = match current.database().as_ref() {
            Some(database) => database.begin_read(),
            None => return Err(self.broken().unwrap_or(Error::Closed)),
        };
        Ok(ReadTables::new(read?, Arc::clone(&current)))
    }

    /// Whether a call to the disk failed for a database that is still in use.
    pub(crate) fn is_suspect(&self) -> bool {
        self.current().faults.any() && self.broken().is_none()
    }

    /// Runs something that writes. Where the disk fails it, or it panics, the database is taken
    /// away. Only the writer's thread may.
    pub(crate) fn write<R>(&self, work: impl FnOnce(&Database) -> Result<R>) -> Result<R> {
        if let Some(error) = self.broken() {
            return Err(error);
        }
        let current = self.current();
        let result = {
            let guard = current.database();
            let Some(database) = guard.as_ref() else {
                return Err(self.broken().unwrap_or(Error::Closed));
            };
            catch_unwind(AssertUnwindSafe(|| work(database))).unwrap_or(Err(Error::Panicked))
        };
        let Err(error) = result else {
            return result;
        };
        if error.is_disk() || (current.faults.any() && matches!(error, Error::Panicked)) {
            return Err(self.fail(&current, error));
        }
        Err(error)
    }

    fn fail(&self, current: &Opened, error: Error) -> Error {
        let error = if current.faults.only_full() {
            Error::Full
        } else {
            error
        };
        tracing::error!(%error, "the store stops until the disk works again");
        if current.faults.sync_failed() {
            self.doubted.store(true, Ordering::Release);
        }
        current.close();
        self.set_broken(Some(error.clone()));
        error
    }

    /// Finds out whether a call that failed for somebody who reads left the database unusable.
    pub(crate) fn probe(&self) {
        let probed = self.write(|database| Ok(begin(database)?.abort()?));
        if probed.is_ok() {
            self.current().faults.forgive();
        }
    }

    /// Opens the database again after a failure and tries whether it can be written. What a failed
    /// sync may have lost behind redb's back is written anew before anything is built on it.
    pub(crate) fn recover(&self) -> bool {
        if self.broken().is_none() {
            return true;
        }
        match self.reopen() {
            Ok(current) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = current;
            }
            Err(error) => {
                tracing::debug!(%error, "the disk does not work yet");
                if matches!(error, Error::Full) {
                    self.open_to_read();
                }
                self.set_broken(Some(error));
                return false;
            }
        }
        if self.doubted.load(Ordering::Acquire) {
            if let Err(error) = self.refresh(&|| false) {
                self.current().close();
                self.set_broken(Some(error));
                return false;
            }
            self.doubted.store(false, Ordering::Release);
        }
        self.set_broken(None);
        tracing::info!("the disk works again");
        true
    }

    /// On a full disk everything that is there can still be read.
    pub(crate) fn open_to_read(&self) {
        if self.read().is_ok() {
            return;
        }
        if let Ok(Ok((database, faults))) = catch_unwind(AssertUnwindSafe(|| self.medium.open())) {
            *self.current.write().unwrap_or_else(PoisonError::into_inner) =
                opened(database, faults);
        }
    }

    fn reopen(&self) -> Result<Arc<Opened>> {
        self.current().close();
        self.medium.sync_name().map_err(|error| of_io(&error))?;
        let reopened = catch_unwind(AssertUnwindSafe(|| self.medium.open()));
        let (database, faults) = reopened
            .map_err(|_| Error::Panicked)?
            .map_err(|error| Error::of(error.into()))?;
        let current = opened(database, faults);
        let tried = match current.database().as_ref() {
            Some(database) => {
                catch_unwind(AssertUnwindSafe(|| try_out(database))).unwrap_or(Err(Error::Panicked))
            }
            None => Err(Error::Closed),
        };
        match tried {
            Ok(()) => Ok(current),
            Err(error) => {
                let full = current.faults.only_full();
                if current.faults.sync_failed() {
                    self.doubted.store(true, Ordering::Release);
                }
                current.close();
                Err(if full { Error::Full } else { error })
            }
        }
    }

    /// Writes everything that is held into a fresh file and puts it in this one's place, unless
    /// `stop` says that something else has to be done first: whether it was. What reads from the
    /// old file goes on.
    ///
    /// # Errors
    /// The disk's: then the old file stands, unless it is the one that failed.
    pub(crate) fn refresh(&self, stop: &dyn Fn() -> bool) -> Result<bool> {
        let current = self.current();
        let made = catch_unwind(AssertUnwindSafe(|| self.make_fresh(&current, stop)))
            .unwrap_or(Err(Error::Panicked));
        let made = match made {
            Ok(Some(made)) => made,
            Ok(None) => return Ok(false),
            Err(error) => {
                if let Err(error) = self.medium.remove_beside() {
                    tracing::warn!(%error, "a file that was not finished stays");
                }
                return Err(if current.faults.any() {
                    self.fail(&current, error)
                } else {
                    error
                });
            }
        };
        self.medium.rename(&made).map_err(|error| of_io(&error))?;
        let fresh = opened(made.database, made.faults);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&fresh);
        if let Err(error) = self.medium.sync_name() {
            // Which of the two a power cut would leave isn't known.
            return Err(self.fail(&fresh, of_io(&error)));
        }
        Ok(true)
    }

    fn make_fresh(&self, current: &Opened, stop: &dyn Fn() -> bool) -> Result<Option<Unnamed>> {
        let guard = current.database();
        let Some(database) = guard.as_ref() else {
            return Err(self.broken().unwrap_or(Error::Closed));
        };
        let made = self
            .medium
            .make_beside()
            .map_err(|error| Error::of(error.into()))?;
        let copied = fresh::copy(&database.begin_read()?, &made.database, stop)?;
        drop(guard);
        Ok(copied.then_some(made))
    }
}

fn opened(database: Database, faults: Arc<Faults>) -> Arc<Opened> {
    Arc::new(Opened {
        database: RwLock::new(Some(database)),
        faults,
    })
}

fn of_io(error: &io::Error) -> Error {
    if crate::medium::is_full(error) {
        Error::Full
    } else {
        Error::failing(error)
    }
}

/// Writes and commits something that doesn't matter.
fn try_out(database: &Database) -> Result<()> {
    if !fresh::is_known(&database.begin_read()?)? {
        return Err(Error::failing(&"another file lies in the database's place"));
    }
    let transaction = begin(database)?;
    let mut txn = Txn::new(WriteTables::new(&transaction));
    let times = txn.meta(RECOVERED)?.wrapping_add(1);
    txn.put(Table::Meta, RECOVERED.as_bytes(), &times.to_be_bytes())?;
    drop(txn);
    Ok(transaction.commit()?)
}

/// How often the store was opened again after a failure of the disk.
const RECOVERED: &str = "recovered";

/// A transaction whose commit is durable in two steps and leaves a record of what is free.
pub(crate) fn begin(database: &Database) -> Result<WriteTransaction> {
    let mut transaction = database.begin_write()?;
    transaction.set_two_phase_commit(true);
    transaction.set_quick_repair(true);
    Ok(transaction)
}
