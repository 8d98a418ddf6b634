//! The store: one writer thread, group commit, snapshots.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
};

use redb::{Database, ReadableDatabase, WriteTransaction, backends::InMemoryBackend};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::{
    compaction::{IDLE, Size},
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
    /// Locked for writing only while the file is compacted.
    database: Arc<RwLock<Database>>,
    path: Option<PathBuf>,
    room: Arc<Semaphore>,
    queue: Mutex<Option<mpsc::Sender<Job>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// The writer where it works on its callers' threads.
    #[cfg(feature = "sim")]
    by_hand: Option<Mutex<Writer>>,
}

/// What the writer runs: the change, then, once its fate is known, the answer.
struct Job {
    change: Box<dyn FnOnce(&mut Txn<'_>) -> Done + Send>,
    /// A place in the queue, given back when the job is taken out.
    place: OwnedSemaphorePermit,
}

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

    /// A store on a simulated disk, brought to the current schema, that has no thread of its own:
    /// [`Self::write`] and [`Self::run`] change it on the caller's thread, one commit each, and
    /// [`Self::rest`] does what the writer does when nothing waits. So the same calls make the
    /// same bytes.
    ///
    /// # Errors
    /// See [`OpenError`].
    #[cfg(feature = "sim")]
    pub fn on(disk: &crate::sim::Disk) -> Result<Self, OpenError> {
        let database = open::open_on(disk)?;
        let database = Arc::new(RwLock::new(database));
        let (_, jobs) = mpsc::channel();
        let writer = Writer {
            database: Arc::clone(&database),
            size: Size::new(None),
            jobs,
        };
        Ok(Self(Arc::new(Inner {
            database,
            path: None,
            room: Arc::new(Semaphore::new(QUEUE_JOBS)),
            queue: Mutex::new(None),
            writer: Mutex::new(None),
            by_hand: Some(Mutex::new(writer)),
        })))
    }

    /// As [`Self::on`], with the writer's thread.
    ///
    /// # Errors
    /// See [`OpenError`].
    #[cfg(feature = "sim")]
    pub fn threaded_on(disk: &crate::sim::Disk) -> Result<Self, OpenError> {
        Self::start(open::open_on(disk)?, None).map_err(|source| OpenError::Io {
            path: PathBuf::from(open::DISK),
            source,
        })
    }

    /// Runs a change on this thread, in a commit of its own, and answers when it is durable. Only
    /// for a store made by [`Self::on`].
    ///
    /// # Errors
    /// As [`Self::write`]; [`Error::Closed`] for a store with a thread.
    #[cfg(feature = "sim")]
    pub fn run<R>(&self, change: impl FnOnce(&mut Txn<'_>) -> Result<R>) -> Result<R> {
        let writer = self.0.by_hand.as_ref().ok_or(Error::Closed)?;
        let writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.run_one(change)
    }

    /// Does everything that the writer does when nothing waits, to the end.
    #[cfg(feature = "sim")]
    pub fn rest(&self) {
        if let Some(writer) = &self.0.by_hand {
            let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
            while writer.sweep() {}
            let Writer { database, size, .. } = &mut *writer;
            size.compact(database);
        }
    }

    pub(crate) fn start(database: Database, path: Option<PathBuf>) -> Result<Self, std::io::Error> {
        let database = Arc::new(RwLock::new(database));
        let (queue, jobs) = mpsc::channel();
        let writer = Writer {
            database: Arc::clone(&database),
            size: Size::new(path.clone()),
            jobs,
        };
        let writer = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run())?;
        Ok(Self(Arc::new(Inner {
            database,
            path,
            room: Arc::new(Semaphore::new(QUEUE_JOBS)),
            queue: Mutex::new(Some(queue)),
            writer: Mutex::new(Some(writer)),
            #[cfg(feature = "sim")]
            by_hand: None,
        })))
    }

    /// A snapshot to read from. Cheap; pages that it refers to stay on disk as long as it lives.
    ///
    /// # Errors
    /// The database's.
    pub fn read(&self) -> Result<Snapshot> {
        let database = self.0.database.read().map_err(|_| Error::Closed)?;
        Ok(View(ReadTables::new(database.begin_read()?)))
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
        #[cfg(feature = "sim")]
        if self.0.by_hand.is_some() {
            return self.run(change);
        }
        let (sender, receiver) = oneshot::channel();
        let change = Box::new(move |txn: &mut Txn<'_>| {
            let result = change(txn);
            Done {
                succeeded: result.is_ok(),
                answer: Box::new(move |fate: Result<()>| {
                    // Nobody waits any more: the change stands all the same.
                    let _ = sender.send(result.and_then(|value| fate.map(|()| value)));
                }),
            }
        });
        let room = Arc::clone(&self.0.room);
        let place = room.acquire_owned().await.map_err(|_| Error::Closed)?;
        self.0.send(Job { change, place })?;
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
}

impl Inner {
    fn send(&self, job: Job) -> Result<()> {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queue.as_ref().ok_or(Error::Closed)?;
        queue.send(job).map_err(|_| Error::Closed)
    }

    fn close(&self) {
        self.room.close();
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
struct Writer {
    database: Arc<RwLock<Database>>,
    size: Size,
    jobs: mpsc::Receiver<Job>,
}

/// What the writer does next.
enum Next {
    Job(Job),
    /// No job came for a while.
    Idle,
    Closed,
}

impl Writer {
    fn run(mut self) {
        let mut sweeping = true;
        loop {
            let next = if sweeping {
                match self.jobs.try_recv() {
                    Ok(job) => Next::Job(job),
                    Err(mpsc::TryRecvError::Empty) => {
                        sweeping = self.sweep();
                        continue;
                    }
                    Err(mpsc::TryRecvError::Disconnected) => Next::Closed,
                }
            } else {
                self.wait()
            };
            match next {
                Next::Job(job) => {
                    self.run_batch(job);
                    sweeping = true;
                }
                Next::Idle => self.size.compact(&self.database),
                Next::Closed => {
                    self.size.compact(&self.database);
                    return;
                }
            }
        }
    }

    /// Waits for a job; not for ever while the file has grown and could be made smaller.
    fn wait(&self) -> Next {
        if !self.size.has_grown() {
            return self.jobs.recv().map_or(Next::Closed, Next::Job);
        }
        match self.jobs.recv_timeout(IDLE) {
            Ok(job) => Next::Job(job),
            Err(RecvTimeoutError::Timeout) => Next::Idle,
            Err(RecvTimeoutError::Disconnected) => Next::Closed,
        }
    }

    /// Deletes some rows of spaces that were left; false when there is nothing left to delete.
    fn sweep(&self) -> bool {
        let step = || -> Result<bool> {
            let database = self.database.read().map_err(|_| Error::Closed)?;
            let leaving = View(ReadTables::new(database.begin_read()?)).is_leaving()?;
            if !leaving {
                return Ok(false);
            }
            let transaction = begin(&database)?;
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

    /// Runs the jobs that wait in one transaction, commits, and answers them.
    fn run_batch(&self, first: Job) {
        let mut answers = Vec::new();
        let fate = self.run_jobs(first, &mut answers);
        if let Err(error) = &fate {
            tracing::error!(%error, "committing changes");
        }
        for answer in answers {
            answer(fate.clone());
        }
    }

    /// Runs one change in a transaction of its own.
    #[cfg(feature = "sim")]
    fn run_one<R>(&self, change: impl FnOnce(&mut Txn<'_>) -> Result<R>) -> Result<R> {
        let database = self.database.read().map_err(|_| Error::Closed)?;
        let transaction = begin(&database)?;
        let mut txn = Txn::new(WriteTables::new(&transaction));
        let result = catch_unwind(AssertUnwindSafe(|| change(&mut txn)));
        let result = result.unwrap_or(Err(Error::Panicked));
        let changed = result.is_ok() && txn.finish_job() > 0;
        drop(txn);
        if changed {
            transaction.commit()?;
        } else {
            transaction.abort()?;
        }
        result
    }

    fn run_jobs(&self, first: Job, answers: &mut Vec<Answer>) -> Result<()> {
        let database = self.database.read().map_err(|_| Error::Closed)?;
        let transaction = begin(&database)?;
        let mut txn = Txn::new(WriteTables::new(&transaction));
        let mut changed = 0;
        let mut next = Some(first);
        while let Some(job) = next.take() {
            let (bytes, answer) = run_job(&mut txn, job)?;
            changed += bytes;
            answers.extend(answer);
            if answers.len() < BATCH_JOBS && changed < BATCH_BYTES {
                next = self.jobs.try_recv().ok();
            }
        }
        drop(txn);
        if changed == 0 {
            return Ok(transaction.abort()?);
        }
        Ok(transaction.commit()?)
    }
}

pub(crate) fn begin(database: &Database) -> Result<WriteTransaction> {
    let mut transaction = database.begin_write()?;
    transaction.set_two_phase_commit(true);
    transaction.set_quick_repair(true);
    Ok(transaction)
}

/// Runs one job and undoes it where it failed: the bytes that it changed, and its answer, which a
/// panic took along. An error means that the whole transaction is lost.
fn run_job(txn: &mut Txn<'_>, job: Job) -> Result<(usize, Option<Answer>)> {
    let Job { change, place } = job;
    drop(place);
    let answer = match catch_unwind(AssertUnwindSafe(|| change(txn))) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::{Cut, Disk};
    use crate::{records::Setting, txn::Txn};

    fn run<R: Send + 'static>(
        store: &Store,
        change: impl FnOnce(&mut Txn<'_>) -> Result<R> + Send + 'static,
    ) -> R {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(store.write(change)).unwrap()
    }

    /// The power is cut while the writer works: what was answered before is there, and nothing of
    /// a change without the rest of it.
    #[test]
    fn a_power_cut_at_any_moment_loses_nothing_that_was_answered() {
        let disk = Disk::default();
        let store = Store::threaded_on(&disk).unwrap();
        let answered = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let writing = {
            let (store, answered) = (store.clone(), Arc::clone(&answered));
            thread::spawn(move || {
                for n in 1..=300_u64 {
                    let count = run(&store, move |txn| {
                        let big = vec![n as u8; (n as usize * 977) % 30_000];
                        txn.put_setting(&format!("big {}", n % 17), &Setting(big))?;
                        txn.put_setting(&"last".to_owned(), &Setting(n.to_be_bytes().to_vec()))?;
                        txn.raise("n", 1)
                    });
                    answered.store(count, std::sync::atomic::Ordering::SeqCst);
                }
            })
        };
        let mut seed = 1;
        while !writing.is_finished() {
            seed += 1;
            let before = answered.load(std::sync::atomic::Ordering::SeqCst);
            let cut = Cut::ALL[seed as usize % Cut::ALL.len()];
            let after = Store::on(&Disk::from_image(disk.cut(cut, seed))).unwrap();
            let read = after.read().unwrap();
            let count = read.counter("n").unwrap();
            assert!(count >= before, "{count} of {before} answered changes");
            let last = read.setting(&"last".to_owned()).unwrap();
            let last = last.map_or(0, |last| crate::keys::number(&last.0));
            assert_eq!(last, count);
            drop(read);
            assert_eq!(after.run(|txn| txn.raise("n", 1)).unwrap(), count + 1);
        }
        writing.join().unwrap();
        assert!(seed > 10);
    }

    #[test]
    fn snapshots_may_be_sent_to_other_threads() {
        fn sent<T: Send>() {}
        sent::<Snapshot>();
    }
}
