//! What one meeting wants stored, on its way to the writer.
//!
//! Jobs wait here until they make a batch, which is one job of the writer's. While one batch is
//! being committed the next stands in the writer's queue already, where it is a full one; so the
//! writer needn't wait for the meeting, and what comes alone doesn't wait for company. Results come
//! back in the order of the jobs.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use proto::{
    EndpointId, IdentityId,
    limits::{BATCH_BYTES_MAX, BATCH_ENTRIES_MAX},
};

use crate::{
    inner::Inner,
    intake::{Job, JobResult},
};

/// Batches on their way at once: one is being committed, one waits.
const BATCHES_MAX: usize = 2;

type Results = Result<Vec<JobResult>, store::Error>;
type Batch = Pin<Box<dyn Future<Output = Results> + Send>>;

#[derive(Default)]
pub(crate) struct Batches {
    jobs: VecDeque<Job>,
    /// Oldest first.
    taken: VecDeque<Batch>,
}

impl Batches {
    pub(crate) fn push(&mut self, job: Job) {
        self.jobs.push_back(job);
    }

    /// Hands on what waits, as far as the writer should have it now.
    pub(crate) fn start(&mut self, inner: &Arc<Inner>, contact: IdentityId, endpoint: EndpointId) {
        while self.taken.len() < BATCHES_MAX {
            let (count, full) = self.next_batch();
            if count == 0 || (!full && !self.taken.is_empty()) {
                return;
            }
            let jobs = self.jobs.drain(..count).collect();
            let taking = {
                let inner = Arc::clone(inner);
                async move { inner.take_in(contact, endpoint, jobs).await }
            };
            self.taken.push_back(begin(inner, taking));
        }
    }

    /// How many of the waiting jobs one commit should take, and whether it takes no more.
    fn next_batch(&self) -> (usize, bool) {
        let (mut entries, mut bytes) = (0, 0);
        for (job, count) in self.jobs.iter().zip(1..) {
            entries += job.entries();
            bytes += job.bytes();
            if entries >= BATCH_ENTRIES_MAX || bytes >= BATCH_BYTES_MAX {
                return (count, true);
            }
        }
        (self.jobs.len(), false)
    }

    /// What came of the oldest batch; waits for ever where there is none.
    pub(crate) async fn done(&mut self) -> Results {
        let Some(oldest) = self.taken.front_mut() else {
            return std::future::pending().await;
        };
        let results = oldest.await;
        self.taken.pop_front();
        results
    }
}

/// Puts a batch into the writer's queue, before it returns: the next one must not overtake it.
fn begin(inner: &Inner, taking: impl Future<Output = Results> + Send + 'static) -> Batch {
    let mut taking = Box::pin(tokio::task::unconstrained(taking));
    let begun = taking
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    if let Poll::Ready(results) = begun {
        return Box::pin(std::future::ready(results));
    }
    // A task of its own: what follows the commit happens also where the meeting is cut meanwhile.
    let task = inner.tasks.spawn(taking);
    Box::pin(async move { task.await.unwrap_or(Err(store::Error::Closed)) })
}
