//! The store: what callers hold of it. Snapshots to read from, jobs for the writer.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle},
};

use tokio::sync::{Semaphore, oneshot, watch};

use crate::{
    base::{Base, Condition},
    error::{Error, OpenError, Result},
    medium::Medium,
    open,
    room::{Free, Room},
    tables::ReadTables,
    txn::Txn,
    view::View,
    writer::{Done, Job, Message, Writer},
};

/// Jobs that wait for the writer; more wait at their callers. Supervisors and pages queue a few
/// each.
pub(crate) const QUEUE_JOBS: usize = 256;

/// A consistent view of everything, as of the newest commit when it was taken.
pub type Snapshot = View<ReadTables>;

/// Everything a node keeps on disk; clones share it.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    base: Arc<Base>,
    room: Arc<Room>,
    places: Arc<Semaphore>,
    queue: Mutex<Option<mpsc::Sender<Message>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// The writer where it works on its callers' threads.
    #[cfg(feature = "sim")]
    by_hand: Option<Mutex<Writer>>,
}

impl Store {
    /// Opens the database, creating it (mode 0600) where it is missing, and brings an older one
    /// to the current schema after copying it beside itself.
    ///
    /// # Errors
    /// See [`OpenError`]. A file that is refused is left as it was.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::start(open::open(path)?)
    }

    /// An empty store that lives in memory, for tests.
    ///
    /// # Errors
    /// As [`Self::open`], which can't happen short of memory.
    pub fn in_memory() -> Result<Self, OpenError> {
        Self::start(open::settle(Medium::Memory)?)
    }

    /// A store on a simulated disk, brought to the current schema, that has no thread of its own:
    /// [`Self::write`] and [`Self::run`] change it on the caller's thread, one commit each, and
    /// [`Self::rest`] does what the writer does when nothing waits. So the same calls make the
    /// same bytes. After a failure of the disk every change tries it again.
    ///
    /// # Errors
    /// See [`OpenError`].
    #[cfg(feature = "sim")]
    pub fn on(disk: &crate::sim::Disk) -> Result<Self, OpenError> {
        let base = Arc::new(open::settle(Medium::Disk(disk.clone()))?);
        let (places, room) = (
            Arc::new(Semaphore::new(QUEUE_JOBS)),
            Arc::new(Room::new(None)),
        );
        let (_, messages) = mpsc::channel();
        let writer = Writer::new(
            Arc::clone(&base),
            messages,
            Arc::clone(&places),
            Arc::clone(&room),
        );
        Ok(Self(Arc::new(Inner {
            base,
            room,
            places,
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
        Self::start(open::settle(Medium::Disk(disk.clone()))?)
    }

    fn start(base: Base) -> Result<Self, OpenError> {
        let base = Arc::new(base);
        let path = base.medium().path();
        let room = Arc::new(Room::new(path.map(|path| path.parent().unwrap_or(path))));
        let places = Arc::new(Semaphore::new(QUEUE_JOBS));
        let (queue, messages) = mpsc::channel();
        let writer = Writer::new(
            Arc::clone(&base),
            messages,
            Arc::clone(&places),
            Arc::clone(&room),
        );
        let writer = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|source| OpenError::Io {
                path: base.medium().name().to_owned(),
                source,
            })?;
        Ok(Self(Arc::new(Inner {
            base,
            room,
            places,
            queue: Mutex::new(Some(queue)),
            writer: Mutex::new(Some(writer)),
            #[cfg(feature = "sim")]
            by_hand: None,
        })))
    }

    /// A snapshot to read from. Cheap; pages that it refers to stay on disk as long as it lives.
    ///
    /// # Errors
    /// The database's; [`Error::Full`] and [`Error::Failing`] until the disk works again.
    pub fn read(&self) -> Result<Snapshot> {
        let read = self.0.base.read();
        if self.0.base.is_suspect() {
            // The writer finds out whether it can go on.
            self.0.look();
        }
        Ok(View(read?))
    }

    /// Runs a change on the writer's thread, and answers when it is durable. A change that fails
    /// or panics is undone, alone; those that shared its transaction stand.
    ///
    /// # Errors
    /// The change's own; [`Error::Full`], [`Error::Failing`] when the disk failed (then nothing of
    /// it is kept, unless the very last step of the commit failed), [`Error::Panicked`],
    /// [`Error::Closed`].
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
        let change = Box::new(move |txn: Result<&mut Txn<'_>>| {
            let result = txn.and_then(|txn| txn.settled(change));
            Done {
                succeeded: result.is_ok(),
                answer: Box::new(move |fate: Result<()>| {
                    // Nobody waits any more: the change stands all the same.
                    let _ = sender.send(result.and_then(|value| fate.map(|()| value)));
                }),
            }
        });
        let places = Arc::clone(&self.0.places);
        let place = places.acquire_owned().await.map_err(|_| Error::Closed)?;
        self.0.send(Message::Job(Job { change, place }))?;
        receiver.await.unwrap_or(Err(Error::Panicked))
    }

    /// Runs a change on this thread, in a commit of its own, and answers when it is durable. Only
    /// for a store made by [`Self::on`].
    ///
    /// # Errors
    /// As [`Self::write`]; [`Error::Closed`] for a store with a thread.
    #[cfg(feature = "sim")]
    pub fn run<R>(&self, change: impl FnOnce(&mut Txn<'_>) -> Result<R>) -> Result<R> {
        let writer = self.0.by_hand.as_ref().ok_or(Error::Closed)?;
        let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.run_one(change)
    }

    /// Does everything that the writer does when nothing waits, to the end. Only for a store made
    /// by [`Self::on`].
    #[cfg(feature = "sim")]
    pub fn rest(&self) {
        if let Some(writer) = &self.0.by_hand {
            let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
            writer.rest();
        }
    }

    /// How the disk is.
    #[must_use]
    pub fn condition(&self) -> Condition {
        *self.0.base.watch().borrow()
    }

    /// Tells when [`Self::condition`] changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Condition> {
        self.0.base.watch()
    }

    /// From now on [`Condition::Low`] holds while less than `floor` bytes are free; 0 is never.
    pub fn set_floor(&self, floor: u64) {
        self.0.room.set_floor(floor);
        self.0.look();
    }

    /// Asks `free` instead of the file system: for tests.
    pub fn set_free(&self, free: Free) {
        self.0.room.set_free(free);
        self.0.look();
    }

    /// Bytes that are free where the database lies, and the floor; `None` where nobody can say.
    #[must_use]
    pub fn room(&self) -> (Option<u64>, u64) {
        (self.0.room.free(), self.0.room.floor())
    }

    /// Bytes that the file takes on disk.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.0.base.medium().used()
    }

    /// The file; `None` in memory.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.0.base.medium().path()
    }

    /// Takes no more changes, finishes those that wait, and ends the writer. Snapshots stay
    /// readable until the last clone is dropped, which closes the file.
    pub fn close(&self) {
        self.0.close();
    }
}

impl Inner {
    fn send(&self, message: Message) -> Result<()> {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queue.as_ref().ok_or(Error::Closed)?;
        queue.send(message).map_err(|_| Error::Closed)
    }

    fn look(&self) {
        // Without a writer there is nothing to find out.
        let _ = self.send(Message::Look);
    }

    fn close(&self) {
        self.places.close();
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
