//! One side of a simulated meeting: around the real [`Session`] what a node's driver does with it.

use std::collections::{BTreeMap, VecDeque};

use super::{Peer, Stored, wire::Pipe};
use crate::{
    frame::Hint,
    ids::{DeviceId, SpaceId},
    limits::{BATCH_BYTES_MAX, BATCH_ENTRIES_MAX},
    session::{DataFrame, Fatal, Lane, Output, Session, SpaceStore, run_bytes},
    time::Millis,
    verify::Reject,
};

/// Batches on their way at once; the second only where it is a full one.
const BATCHES_MAX: usize = 2;
/// Bytes of the largest hint.
const HINT_BYTES_MAX: usize = 3_900;

pub(super) struct Side {
    pub(super) session: Session,
    pub(super) peer: Peer,
    /// Control frames that wait for room.
    outbox: VecDeque<Vec<u8>>,
    jobs: VecDeque<Output>,
    /// On their way to the disk, oldest first.
    pub(super) batches: VecDeque<Vec<Output>>,
    inbox: BTreeMap<Lane, VecDeque<Vec<u8>>>,
    notices: BTreeMap<(SpaceId, DeviceId), u64>,
    pub(super) audience: bool,
    /// A wake-up is on its way.
    pub(super) waking: bool,
    pub(super) hints: bool,
    /// When the timer goes off next, in microseconds.
    pub(super) timer: Option<u64>,
    pub(super) rejected: Vec<Reject>,
}

/// What a side wants sent.
pub(super) enum Out {
    Control(Vec<u8>),
    Data(DataFrame),
}

impl Side {
    pub(super) fn new(session: Session, peer: Peer) -> Self {
        Self {
            session,
            peer,
            outbox: VecDeque::new(),
            jobs: VecDeque::new(),
            batches: VecDeque::new(),
            inbox: BTreeMap::new(),
            notices: BTreeMap::new(),
            audience: false,
            waking: false,
            hints: false,
            timer: None,
            rejected: Vec::new(),
        }
    }

    pub(super) fn arrived(&mut self, lane: Lane, frame: Vec<u8>) {
        self.inbox.entry(lane).or_default().push_back(frame);
    }

    /// The next frame that is read: control before the spaces.
    pub(super) fn read(&mut self) -> Option<(Lane, Vec<u8>)> {
        if !self.session.accepts_data() {
            return None;
        }
        let (lane, queue) = self.inbox.iter_mut().find(|(_, queue)| !queue.is_empty())?;
        Some((*lane, queue.pop_front()?))
    }

    pub(super) fn notice(&mut self, space: SpaceId, device: DeviceId, from: u64) {
        self.notices.entry((space, device)).or_insert(from);
    }

    /// Tells the session what changed here; hints for it.
    pub(super) fn take_up<S: SpaceStore>(&mut self, store: &S) -> Result<Vec<Vec<u8>>, S::Error> {
        let mut hints = Vec::new();
        for ((space, device), from) in std::mem::take(&mut self.notices) {
            hints.extend(self.hint(store, space, device, from)?);
            self.session.handle_local(space, device);
        }
        Ok(hints)
    }

    fn hint<S: SpaceStore>(
        &self,
        store: &S,
        space: SpaceId,
        device: DeviceId,
        from: u64,
    ) -> Result<Option<Vec<u8>>, S::Error> {
        let channel = self.session.gossip_channel(space).filter(|_| self.hints);
        let Some((tag, channel)) = channel else {
            return Ok(None);
        };
        if self.session.peer_base(space, device) > from {
            return Ok(None);
        }
        let run = store.run(space, device, from)?;
        let hint = run.map(|run| {
            let run = &run.bytes;
            let hint = Hint {
                tag,
                channel,
                device,
                run,
            };
            hint.encode()
        });
        Ok(hint.filter(|hint| hint.len() <= HINT_BYTES_MAX))
    }

    /// What is to be sent next, as far as the streams have room; what is to be stored is put by.
    pub(super) fn next_out<S: SpaceStore>(
        &mut self,
        store: &S,
        pipe: &Pipe,
    ) -> Result<Option<Out>, S::Error> {
        loop {
            if let Some(frame) = self.outbox.pop_front() {
                if pipe.has_room(Lane::Control) {
                    return Ok(Some(Out::Control(frame)));
                }
                self.outbox.push_front(frame);
            }
            let output = if self.outbox.is_empty() {
                self.session.poll(store)?
            } else {
                self.session.poll_work()
            };
            match output {
                None => break,
                Some(Output::Control(frame)) => self.outbox.push_back(frame),
                Some(Output::Rejected(reject)) => self.rejected.push(reject),
                Some(Output::Equal(_)) => {}
                Some(job) => self.jobs.push_back(job),
            }
        }
        let has_room = |channel| pipe.has_room(Lane::Space(channel));
        Ok(self.session.poll_data(store, has_room)?.map(Out::Data))
    }

    /// The next batch begins its way to the disk; false where none does.
    pub(super) fn start_batch(&mut self) -> bool {
        let (mut entries, mut bytes, mut count) = (0, 0, 0);
        let full = self.jobs.iter().any(|job| {
            count += 1;
            if let Output::Import { run, .. } = job {
                entries += run.items().len();
                bytes += run_bytes(run);
            } else {
                entries += 1;
            }
            entries >= BATCH_ENTRIES_MAX || bytes >= BATCH_BYTES_MAX
        });
        let waits = !full && !self.batches.is_empty();
        if count == 0 || waits || self.batches.len() >= BATCHES_MAX {
            return false;
        }
        self.batches.push_back(self.jobs.drain(..count).collect());
        true
    }

    /// Tells the session what became of a job.
    pub(super) fn stored<S: SpaceStore>(
        &mut self,
        result: Stored,
        now: Millis,
        store: &S,
    ) -> Result<(), Fatal<S::Error>> {
        let session = &mut self.session;
        match result {
            Stored::Feed {
                space,
                device,
                bytes,
                refused,
                ..
            } => session.handle_imported(space, device, bytes, refused, now, store),
            Stored::Compared {
                space,
                overlap,
                result,
            } => session.handle_compared(space, overlap, &result, now, store),
            Stored::OffersKept { rev } => {
                session.handle_offers_kept(rev);
                Ok(())
            }
            Stored::Done => Ok(()),
        }
    }

    /// Bytes that this side holds for its contact.
    pub(super) fn size(&self) -> usize {
        let frames = |queue: &VecDeque<Vec<u8>>| queue.iter().map(|f| f.len() + 24).sum::<usize>();
        self.session.size()
            + frames(&self.outbox)
            + self.inbox.values().map(frames).sum::<usize>()
            + self.notices.len() * 72
            + self.jobs.iter().map(job_bytes).sum::<usize>()
            + self.batches.iter().flatten().map(job_bytes).sum::<usize>()
    }
}

fn job_bytes(job: &Output) -> usize {
    let held = match job {
        Output::Import { run, .. } => run_bytes(run),
        Output::Compare { overlap, .. } => overlap.bytes(),
        Output::ImportEnd { proof, .. } => proof.bytes().len(),
        Output::Fill { body, .. } => body.len(),
        Output::Offers { offers, .. } => offers
            .iter()
            .map(|offer| offer.descriptor.len() + offer.chain.len())
            .sum(),
        _ => 0,
    };
    held + size_of::<Output>()
}
