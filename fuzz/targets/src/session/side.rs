//! One side of the meeting, with what it has to store.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proto::{
    DeviceId, SpaceId,
    frame::{LinkClass, Whereabouts},
    session::{Lane, Output, Session, Start, run_bytes},
    sim::{Memory, Person},
    verify::Reject,
};

use super::{NOW, world::clearances};

/// Things that one step can make a session do or say: it has a few dozen feeds.
const OUTPUTS_MAX: usize = 10_000;

/// One side of the meeting, with what it has to store.
pub(super) struct Side {
    pub(super) store: Memory,
    pub(super) session: Session,
    pub(super) jobs: VecDeque<Output>,
    /// Frames for the other side, by stream.
    pub(super) wire: BTreeMap<Lane, VecDeque<Vec<u8>>>,
    pub(super) ended: bool,
}

impl Side {
    pub(super) fn new(
        store: Memory,
        dialer: bool,
        to: &Person,
        agreed: BTreeSet<SpaceId>,
        rev: u64,
        class: LinkClass,
    ) -> Self {
        let start = Start {
            dialer,
            exporter: [9; 32],
            seed: [u8::from(dialer); 32],
            class,
            device: store.me.device.id(),
            clearances: clearances(&store, to, &BTreeSet::new()),
            agreed,
            rev,
            seen_rev: 1,
            offers: Vec::new(),
            whereabouts: Whereabouts::default(),
        };
        let session = Session::new(start, &store).unwrap();
        Self {
            store,
            session,
            jobs: VecDeque::new(),
            wire: BTreeMap::new(),
            ended: false,
        }
    }

    /// Takes what the session wants done and said.
    pub(super) fn poll(&mut self, room: impl Fn(u32) -> bool) -> Vec<(Lane, Vec<u8>)> {
        let mut said = Vec::new();
        for _ in 0..OUTPUTS_MAX {
            match self.session.poll(&self.store).unwrap() {
                Some(Output::Control(frame)) => said.push((Lane::Control, frame)),
                Some(work) => self.jobs.push_back(work),
                None => match self.session.poll_data(&self.store, &room).unwrap() {
                    Some(frame) => said.push((Lane::Space(frame.channel), frame.bytes)),
                    None => return said,
                },
            }
        }
        panic!("a session that never falls silent");
    }

    /// The disk has done one thing; what is about one feed is done in order.
    pub(super) fn store_next(&mut self, pick: usize, refuse: Option<Reject>) {
        let Some(picked) = self
            .jobs
            .get(pick.checked_rem(self.jobs.len()).unwrap_or(0))
        else {
            return;
        };
        let feed = feed_of(picked);
        let first = self.jobs.iter().position(|job| feed_of(job) == feed);
        let Some(job) = first.and_then(|at| self.jobs.remove(at)) else {
            return;
        };
        self.store_job(job, refuse);
    }

    fn store_job(&mut self, job: Output, refuse: Option<Reject>) {
        let (store, session) = (&mut self.store, &mut self.session);
        let (space, device, bytes, refused) = match job {
            Output::Import { space, run } => {
                let (device, bytes) = (run.device(), run_bytes(&run));
                let refused = refuse.or_else(|| store.import(space, run).err());
                (space, device, bytes, refused)
            }
            Output::ImportTail { space, tail } => {
                let device = tail.device();
                let refused = refuse.or_else(|| store.import_tail(space, tail).err());
                (space, device, 0, refused)
            }
            Output::ImportEnd {
                space,
                device,
                proof,
            } => {
                let refused = refuse.or_else(|| store.import_end(space, device, &proof).err());
                (space, device, 0, refused)
            }
            Output::Fill {
                space,
                device,
                seq,
                body,
            } => {
                let refused = refuse.or_else(|| store.fill(space, device, seq, &body).err());
                (space, device, 0, refused)
            }
            Output::Compare { space, overlap } => {
                let result = store.compare(space, &overlap);
                let place = (overlap.device(), overlap.start());
                let done = session.handle_compared(space, place, &result, NOW, store);
                self.ended |= done.is_err();
                return;
            }
            Output::Offers { rev, .. } => {
                session.handle_offers_kept(rev);
                return;
            }
            _ => return,
        };
        let done = session.handle_imported(space, device, bytes, refused, NOW, store);
        self.ended |= done.is_err();
    }

    pub(super) fn store_all(&mut self) {
        while !self.jobs.is_empty() && !self.ended {
            self.store_next(0, None);
        }
    }
}

fn feed_of(job: &Output) -> Option<(SpaceId, DeviceId)> {
    Some(match job {
        Output::Import { space, run } => (*space, run.device()),
        Output::ImportTail { space, tail } => (*space, tail.device()),
        Output::Compare { space, overlap } => (*space, overlap.device()),
        Output::ImportEnd { space, device, .. } | Output::Fill { space, device, .. } => {
            (*space, *device)
        }
        _ => return None,
    })
}
