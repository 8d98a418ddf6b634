//! The writer's thread: changes in groups, one commit each; deleting what was left; and what is
//! done when nothing waits.
//!
//! It is the only one that writes. Where the disk fails it, it answers everybody who waits, tries
//! the disk again with growing pauses, and goes on.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use redb::Database;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    base::{Base, begin},
    error::{Error, Result},
    fresh::Refreshing,
    room::Room,
    store::QUEUE_JOBS,
    tables::WriteTables,
    txn::Txn,
    view::View,
};

/// Jobs in one transaction at most, so that the first one isn't kept waiting by the last.
const BATCH_JOBS: usize = 128;
/// Bytes of overwritten rows after which a transaction takes no more jobs: about a few megabytes
/// of new rows, some tens of milliseconds.
const BATCH_BYTES: usize = 1024 * 1024;
/// Rows of a left space that one transaction deletes between others' jobs: some milliseconds.
const SWEEP_ROWS: usize = 4_096;
/// The first pause before the disk is tried again; it doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(250);
/// The longest: a person who made room shouldn't have to wait.
const RETRY_MAX: Duration = Duration::from_secs(8);

/// Bytes that must be free before a full disk is tried again, where the system says how many are:
/// a commit of a full batch takes some megabytes.
const FREE_TO_TRY: u64 = 4 * 1024 * 1024;

/// What the writer runs: the change, then, once its fate is known, the answer.
pub(crate) struct Job {
    pub(crate) change: Change,
    /// A place in the queue, given back when the job is taken out.
    pub(crate) place: OwnedSemaphorePermit,
}

/// A change, or what it is answered where it can't be tried.
pub(crate) type Change = Box<dyn FnOnce(Result<&mut Txn<'_>>) -> Done + Send>;
type Answer = Box<dyn FnOnce(Result<()>) + Send>;

pub(crate) struct Done {
    pub(crate) succeeded: bool,
    pub(crate) answer: Answer,
}

/// What the writer is sent.
pub(crate) enum Message {
    Job(Job),
    /// Somebody who reads met a failure, or what should be free changed.
    Look,
}

/// The writer.
pub(crate) struct Writer {
    base: Arc<Base>,
    messages: mpsc::Receiver<Message>,
    /// Full while nobody waits.
    places: Arc<Semaphore>,
    refreshing: Refreshing,
    room: Arc<Room>,
    retry: Duration,
    retry_at: Option<Instant>,
}

/// What the writer does next.
enum Next {
    Message(Message),
    /// Nothing came for as long as it wanted to wait.
    Idle,
    Closed,
}

impl Writer {
    pub(crate) fn new(
        base: Arc<Base>,
        messages: mpsc::Receiver<Message>,
        places: Arc<Semaphore>,
        room: Arc<Room>,
    ) -> Self {
        Self {
            refreshing: Refreshing::new(&base),
            base,
            messages,
            places,
            room,
            retry: RETRY_MIN,
            retry_at: None,
        }
    }

    pub(crate) fn run(mut self) {
        let mut sweeping = true;
        loop {
            let next = if sweeping {
                match self.messages.try_recv() {
                    Ok(message) => Next::Message(message),
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
                Next::Message(Message::Job(job)) => {
                    self.run_batch(job);
                    sweeping = true;
                }
                Next::Message(Message::Look) => self.look(),
                Next::Idle => sweeping = self.idle(),
                Next::Closed => {
                    let free = self.room.free();
                    self.refreshing.run_at_end(&self.base, free);
                    return;
                }
            }
        }
    }

    /// Waits for a message; not for ever while there is something else to do.
    fn wait(&self) -> Next {
        let waits = [
            self.retry_at
                .map(|at| at.saturating_duration_since(Instant::now())),
            self.room.next_look(),
            self.refreshing.due(&self.base),
        ];
        let Some(wait) = waits.into_iter().flatten().min() else {
            return self.messages.recv().map_or(Next::Closed, Next::Message);
        };
        match self.messages.recv_timeout(wait) {
            Ok(message) => Next::Message(message),
            Err(RecvTimeoutError::Timeout) => Next::Idle,
            Err(RecvTimeoutError::Disconnected) => Next::Closed,
        }
    }

    /// Does what is due when nothing came; true where there may be something to delete.
    fn idle(&mut self) -> bool {
        if self.base.broken().is_some() {
            return self.recover();
        }
        self.room.look(&self.base);
        let due = self.refreshing.due(&self.base);
        // The wait before this call may have been for something else, and shorter.
        if due.is_some_and(|due| due <= crate::fresh::IDLE) {
            let (places, free) = (Arc::clone(&self.places), self.room.free());
            self.refreshing
                .run(&self.base, free, &|| is_waited_for(&places));
        }
        false
    }

    fn look(&mut self) {
        self.room.look(&self.base);
        if self.base.broken().is_none() && self.base.is_suspect() {
            self.base.probe();
        }
        self.note_failure();
    }

    /// After something that may have failed: when the disk is tried again.
    fn note_failure(&mut self) {
        if self.base.broken().is_some() && self.retry_at.is_none() {
            self.retry = RETRY_MIN;
            self.retry_at = Instant::now().checked_add(self.retry);
        }
    }

    /// Tries the disk again where that is due: whether it works.
    fn recover(&mut self) -> bool {
        if self.base.is_suspect() {
            self.base.probe();
        }
        if self.base.broken().is_none() {
            return true;
        }
        if self.retry_at.is_some_and(|at| at > Instant::now()) {
            return false;
        }
        self.room.look(&self.base);
        if self.is_still_full() {
            // Trying would close what is being read, and succeed with what is small.
            self.base.open_to_read();
            self.retry_at = Instant::now().checked_add(self.retry);
            return false;
        }
        if self.base.recover() {
            self.retry_at = None;
            self.refreshing = Refreshing::new(&self.base);
            return true;
        }
        self.retry = (self.retry * 2).min(RETRY_MAX);
        self.retry_at = Instant::now().checked_add(self.retry);
        false
    }

    /// Whether the disk was full and is known to have no more room than then.
    fn is_still_full(&self) -> bool {
        matches!(self.base.broken(), Some(Error::Full))
            && self.room.free().is_some_and(|free| free < FREE_TO_TRY)
    }

    /// Deletes some rows of spaces that were left; false when there is nothing left to delete.
    pub(crate) fn sweep(&mut self) -> bool {
        let leaving = self.base.read().and_then(|read| View(read).is_leaving());
        if !matches!(leaving, Ok(true)) {
            return false;
        }
        let swept = self.base.write(|database| {
            let transaction = begin(database)?;
            let mut txn = Txn::new(WriteTables::new(&transaction));
            txn.sweep(SWEEP_ROWS)?;
            let more = txn.is_leaving()?;
            drop(txn);
            transaction.commit()?;
            Ok(more)
        });
        self.note_failure();
        swept.unwrap_or_else(|error| {
            tracing::error!(%error, "deleting a space that was left");
            false
        })
    }

    /// Runs the jobs that wait in one transaction, commits, and answers them.
    fn run_batch(&mut self, first: Job) {
        if !self.recover() {
            let error = self.base.broken().unwrap_or(Error::Closed);
            return self.refuse(first, &error);
        }
        let mut answers = Vec::new();
        let base = Arc::clone(&self.base);
        let fate = base.write(|database| self.run_jobs(database, first, &mut answers));
        if let Err(error) = &fate {
            tracing::error!(%error, "committing changes");
        }
        self.note_failure();
        for answer in answers {
            answer(fate.clone());
        }
        self.room.look(&self.base);
    }

    /// Answers everybody who waits that nothing can be done.
    fn refuse(&self, first: Job, error: &Error) {
        let mut next = Some(first);
        while let Some(Job { change, place }) = next.take() {
            drop(place);
            (change(Err(error.clone())).answer)(Err(error.clone()));
            next = self.next_job();
        }
    }

    fn next_job(&self) -> Option<Job> {
        loop {
            match self.messages.try_recv().ok()? {
                Message::Job(job) => return Some(job),
                // A look comes after every batch.
                Message::Look => {}
            }
        }
    }

    fn run_jobs(&self, database: &Database, first: Job, answers: &mut Vec<Answer>) -> Result<()> {
        let transaction = begin(database);
        let transaction = match transaction {
            Ok(transaction) => transaction,
            Err(error) => {
                drop(first.place);
                answers.push((first.change)(Err(error.clone())).answer);
                return Err(error);
            }
        };
        let mut txn = Txn::new(WriteTables::new(&transaction));
        let mut changed = 0;
        let mut next = Some(first);
        while let Some(job) = next.take() {
            changed += run_job(&mut txn, job, answers)?;
            if answers.len() < BATCH_JOBS && changed < BATCH_BYTES {
                next = self.next_job();
            }
        }
        drop(txn);
        if changed == 0 {
            return Ok(transaction.abort()?);
        }
        Ok(transaction.commit()?)
    }

    /// Runs one change in a transaction of its own, on the caller's thread.
    #[cfg(feature = "sim")]
    pub(crate) fn run_one<R>(
        &mut self,
        change: impl FnOnce(&mut Txn<'_>) -> Result<R>,
    ) -> Result<R> {
        self.retry_at = None;
        if !self.recover() {
            return Err(self.base.broken().unwrap_or(Error::Closed));
        }
        let result = self.base.write(|database| {
            let transaction = begin(database)?;
            let mut txn = Txn::new(WriteTables::new(&transaction));
            let result = catch_unwind(AssertUnwindSafe(|| txn.settled(change)));
            let result = result.unwrap_or(Err(Error::Panicked));
            let changed = result.is_ok() && txn.finish_job() > 0;
            drop(txn);
            if changed {
                transaction.commit()?;
            } else {
                transaction.abort()?;
            }
            result
        });
        self.room.look(&self.base);
        result
    }

    /// Does everything that is done when nothing waits, to the end.
    #[cfg(feature = "sim")]
    pub(crate) fn rest(&mut self) {
        self.retry_at = None;
        if !self.recover() {
            return;
        }
        while self.sweep() {}
        self.room.look(&self.base);
        self.refreshing.wake();
        self.refreshing.run(&self.base, self.room.free(), &|| false);
    }
}

/// Whether somebody waits for the writer.
fn is_waited_for(places: &Semaphore) -> bool {
    places.is_closed() || places.available_permits() < QUEUE_JOBS
}

/// Runs one job and undoes it where it failed: the bytes that it changed. An error means that the
/// whole transaction is lost.
fn run_job(txn: &mut Txn<'_>, job: Job, answers: &mut Vec<Answer>) -> Result<usize> {
    let Job { change, place } = job;
    drop(place);
    // A panic takes the answer along, and who waits is told by that.
    if let Ok(done) = catch_unwind(AssertUnwindSafe(|| change(Ok(&mut *txn)))) {
        answers.push(done.answer);
        if done.succeeded {
            return Ok(txn.finish_job());
        }
    }
    txn.undo_job()?;
    Ok(0)
}
