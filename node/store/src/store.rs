//! The store: one writer thread, group commit, snapshots.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use redb::{Database, ReadableDatabase, WriteTransaction, backends::InMemoryBackend};
use tokio::sync::{mpsc, oneshot};

use crate::{
    error::{Error, OpenError, Result},
    open,
    tables::{ReadTables, WriteTables},
    txn::Txn,
    view::View,
};

/// Jobs that wait for the writer; more wait at their callers. Supervisors and pages queue a few
/// each.
const QUEUE_JOBS: usize = 256;
/// Jobs in one transaction at most, so that the first one isn't kept waiting by the last.
const BATCH_JOBS: usize = 128;
/// Bytes of overwritten rows after which a transaction takes no more jobs: about a few megabytes
/// of new rows, some tens of milliseconds.
const BATCH_BYTES: usize = 1024 * 1024;
/// Rows of a left space that one transaction deletes between others' jobs: some milliseconds.
const SWEEP_ROWS: usize = 4_096;

/// A consistent view of everything, as of the newest commit when it was taken.
pub type Snapshot = View<ReadTables>;

/// Everything a node keeps on disk; clones share it.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    database: Arc<Database>,
    path: Option<PathBuf>,
    queue: Mutex<Option<mpsc::Sender<Job>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What the writer runs: the change, then, once its fate is known, the answer.
type Job = Box<dyn FnOnce(&mut Txn<'_>) -> Done + Send>;
type Answer = Box<dyn FnOnce(Result<()>) + Send>;

struct Done {
    succeeded: bool,
    answer: Answer,
}

impl Store {
    /// Opens the database, creating it (mode 0600) where it is missing, and brings an older one
    /// to the current schema after copying it beside itself.
    ///
    /// # Errors
    /// See [`OpenError`]. A file that is refused is left as it was.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let database = open::open(path)?;
        Self::start(database, Some(path.to_owned())).map_err(|source| OpenError::Io {
            path: path.to_owned(),
            source,
        })
    }

    /// An empty store that lives in memory, for tests.
    ///
    /// # Errors
    /// As [`Self::open`], which can't happen short of memory.
    pub fn in_memory() -> Result<Self, OpenError> {
        let path = Path::new(":memory:");
        let failed = |found: String| OpenError::Damaged {
            path: path.to_owned(),
            found,
        };
        let database = open::builder()
            .create_with_backend(InMemoryBackend::new())
            .map_err(|error| failed(error.to_string()))?;
        let txn = database
            .begin_write()
            .map_err(|error| failed(error.to_string()))?;
        migrations::migrate(&txn, 0).map_err(|error| failed(error.to_string()))?;
        txn.commit().map_err(|error| failed(error.to_string()))?;
        Self::start(database, None).map_err(|source| OpenError::Io {
            path: path.to_owned(),
            source,
        })
    }

    fn start(database: Database, path: Option<PathBuf>) -> Result<Self, std::io::Error> {
        let database = Arc::new(database);
        let (queue, jobs) = mpsc::channel(QUEUE_JOBS);
        let shared = Arc::clone(&database);
        let writer = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || run(&shared, jobs))?;
        Ok(Self(Arc::new(Inner {
            database,
            path,
            queue: Mutex::new(Some(queue)),
            writer: Mutex::new(Some(writer)),
        })))
    }

    /// A snapshot to read from. Cheap; pages that it refers to stay on disk as long as it lives.
    ///
    /// # Errors
    /// The database's.
    pub fn read(&self) -> Result<Snapshot> {
        Ok(View(ReadTables::new(self.0.database.begin_read()?)))
    }

    /// Runs a change on the writer's thread, and answers when it is durable. A change that fails
    /// or panics is undone, alone; those that shared its transaction stand.
    ///
    /// # Errors
    /// The change's own, [`Error::Database`] when the commit failed (then nothing of it is kept),
    /// [`Error::Panicked`], [`Error::Closed`].
    pub async fn write<R, F>(&self, change: F) -> Result<R>
    where
        R: Send + 'static,
        F: FnOnce(&mut Txn<'_>) -> Result<R> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move |txn| {
            let result = change(txn);
            Done {
                succeeded: result.is_ok(),
                answer: Box::new(move |fate| {
                    // Nobody waits any more: the change stands all the same.
                    let _ = sender.send(result.and_then(|value| fate.map(|()| value)));
                }),
            }
        });
        let queue = self.queue().ok_or(Error::Closed)?;
        queue.send(job).await.map_err(|_| Error::Closed)?;
        drop(queue);
        receiver.await.unwrap_or(Err(Error::Panicked))
    }

    /// The file; `None` in memory.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// Takes no more changes, finishes those that wait, and ends the writer. Snapshots stay
    /// readable until the last clone is dropped, which closes the file.
    pub fn close(&self) {
        self.0.close();
    }

    fn queue(&self) -> Option<mpsc::Sender<Job>> {
        self.0
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Inner {
    fn close(&self) {
        drop(
            self.queue
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        let writer = self
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // The last clone may have been dropped by a job: a thread can't wait for itself.
        if let Some(writer) = writer
            && writer.thread().id() != thread::current().id()
            && writer.join().is_err()
        {
            tracing::error!("the store's writer ended by a panic");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

/// The writer's thread.
fn run(database: &Database, mut jobs: mpsc::Receiver<Job>) {
    let mut sweeping = true;
    loop {
        let first = if sweeping {
            match jobs.try_recv() {
                Ok(job) => Some(job),
                Err(mpsc::error::TryRecvError::Empty) => None,
                Err(mpsc::error::TryRecvError::Disconnected) => return,
            }
        } else {
            match jobs.blocking_recv() {
                Some(job) => Some(job),
                None => return,
            }
        };
        match first {
            Some(first) => {
                run_batch(database, first, &mut jobs);
                sweeping = true;
            }
            None => sweeping = sweep(database),
        }
    }
}

/// Deletes some rows of spaces that were left; false when there is nothing left to delete.
fn sweep(database: &Database) -> bool {
    let step = || -> Result<bool> {
        let leaving = View(ReadTables::new(database.begin_read()?)).is_leaving()?;
        if !leaving {
            return Ok(false);
        }
        let transaction = begin(database)?;
        let mut txn = Txn::new(WriteTables::new(&transaction));
        txn.sweep(SWEEP_ROWS)?;
        let more = txn.is_leaving()?;
        drop(txn);
        transaction.commit()?;
        Ok(more)
    };
    step().unwrap_or_else(|error| {
        tracing::error!(%error, "deleting a space that was left");
        false
    })
}

fn begin(database: &Database) -> Result<WriteTransaction> {
    let mut transaction = database.begin_write()?;
    transaction.set_two_phase_commit(true);
    transaction.set_quick_repair(true);
    Ok(transaction)
}

/// Runs the jobs that wait in one transaction, commits, and answers them.
fn run_batch(database: &Database, first: Job, jobs: &mut mpsc::Receiver<Job>) {
    let transaction = match begin(database) {
        Ok(transaction) => transaction,
        Err(error) => {
            tracing::error!(%error, "beginning a transaction");
            return;
        }
    };
    let mut txn = Txn::new(WriteTables::new(&transaction));
    let mut answers = Vec::new();
    let mut changed = 0;
    let mut next = Some(first);
    let mut broken = None;
    while let Some(job) = next.take() {
        match run_job(&mut txn, job) {
            Ok((bytes, answer)) => {
                changed += bytes;
                answers.extend(answer);
            }
            Err(error) => {
                broken = Some(error);
                break;
            }
        }
        if answers.len() < BATCH_JOBS && changed < BATCH_BYTES {
            next = jobs.try_recv().ok();
        }
    }
    drop(txn);
    let fate = match broken {
        Some(error) => Err(error),
        None if changed == 0 => transaction.abort().map_err(Error::from),
        None => transaction.commit().map_err(Error::from),
    };
    if let Err(error) = &fate {
        tracing::error!(%error, "committing changes");
    }
    for answer in answers {
        answer(fate.clone());
    }
}

/// Runs one job and undoes it where it failed: the bytes that it changed, and its answer, which a
/// panic took along. An error means that the whole transaction is lost.
fn run_job(txn: &mut Txn<'_>, job: Job) -> Result<(usize, Option<Answer>)> {
    let done = catch_unwind(AssertUnwindSafe(|| job(txn)));
    let answer = match done {
        Ok(done) if done.succeeded => {
            let bytes = txn.finish_job();
            return Ok((bytes, Some(done.answer)));
        }
        Ok(done) => Some(done.answer),
        Err(_) => None,
    };
    txn.undo_job()?;
    Ok((0, answer))
}
