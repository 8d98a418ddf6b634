//! One meeting: drives a [`Session`] between a connection, the store and the pair's gossip topic.
//!
//! Everything that the session wants stored goes to the writer in batches; while one is on its way
//! to the disk the session checks the next. Other meetings hear of what came
//! in through [`Notices`], which coalesce, so a slow peer costs a set of feed numbers and no queue.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use links::{
    CloseCode, CloseReason, Connection, DialHint, GOSSIP_PAYLOAD_BYTES_MAX, Lane as Stream,
    MeetingReceiver, MeetingSender, MeetingStreams, PairEvent, PairTopic, Path, PathKind,
    RecvError, SendError,
};
use proto::{
    DeviceId, EndpointId, IdentityId, SpaceId,
    frame::{Hint, LinkClass},
    limits::BATCH_ENTRIES_MAX,
    session::{Fatal, Fetch, Lane, Output, Progress, Session, SpaceStore, Start},
};
use store::Snapshot;
use tokio::{sync::Notify, time::Instant};

use crate::{
    batches::Batches,
    clock,
    event::EventKind,
    files,
    inner::{Inner, about_contact},
    intake::{Job, JobResult},
    turns::Way,
    view::{Exchanged, LinkKind},
};

/// The label of the keying material that a sync session takes from its connection.
const EXPORTER_LABEL: &[u8] = b"waymeet/sync/1";
/// A peer that doesn't say hello, or compare what it holds, within this time is let go.
const COMPARE_WAIT: Duration = Duration::from_secs(60);
/// A timer is looked at again at least this often: after a sleep of the machine, for one.
const TIMER_WAIT_MAX: Duration = Duration::from_secs(15);

/// How many times their bytes frames count that bring no entries: control frames are short where a
/// peer is honest, and entries that another contact brought meanwhile are few.
const FRUITLESS_WEIGHT: usize = 16;
/// Between two looks at whether the disk caught up with all meetings; some commits' time.
const ROOM_WAIT: Duration = Duration::from_millis(20);
/// Entries that were asked for and won't be taken any more from which on a meeting begins anew: the
/// other side sends them otherwise, for there is no taking back. A round trip costs less.
const DROPPED_ENTRIES_MAX: u64 = 4 * BATCH_ENTRIES_MAX as u64;

/// Why a meeting ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    /// The connection ended.
    #[error("{0}")]
    Closed(String),
    /// The peer broke the protocol.
    #[error("{0}")]
    Misbehaved(String),
    /// Our own store failed.
    #[error("the store failed: {0}")]
    Store(#[from] store::Error),
    /// Another connection took its place, the contact was removed, or the node stops.
    #[error("ended here")]
    Cut,
}

/// What other parts of the node tell a meeting.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    state: Mutex<Pending>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Pending {
    /// Feeds that grew or changed, and the first new entry.
    feeds: BTreeMap<(SpaceId, DeviceId), u64>,
    audience: bool,
    end: Option<CloseCode>,
}

impl Notices {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn feed(&self, space: SpaceId, device: DeviceId, from: u64) {
        self.lock().feeds.entry((space, device)).or_insert(from);
        self.changed.notify_one();
    }

    pub(crate) fn audience(&self) {
        self.lock().audience = true;
        self.changed.notify_one();
    }

    /// Ends the meeting; false where that was told before.
    pub(crate) fn end(&self, code: CloseCode) -> bool {
        let first = self.lock().end.replace(code).is_none();
        self.changed.notify_one();
        first
    }

    fn take(&self) -> Pending {
        std::mem::take(&mut self.lock())
    }
}

/// What the rest of the node knows of a running meeting.
#[derive(Debug)]
pub(crate) struct Meeting {
    pub(crate) contact: IdentityId,
    pub(crate) endpoint: EndpointId,
    pub(crate) conn: Connection,
    pub(crate) since: Instant,
    pub(crate) notices: Notices,
    /// The other side answered: until then the contact doesn't count as online.
    confirmed: AtomicBool,
    pub(crate) want: AtomicU64,
    /// Bytes that wait for the disk, and frontiers that are remembered.
    waiting: AtomicUsize,
    claims: AtomicUsize,
    /// Where the path leads, as seen last.
    path: Mutex<Option<Path>>,
    entries_in: AtomicU64,
    entries_out: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

impl Meeting {
    pub(crate) fn new(contact: IdentityId, conn: Connection) -> Self {
        let path = Mutex::new(conn.path());
        Self {
            contact,
            endpoint: conn.remote(),
            conn,
            path,
            since: Instant::now(),
            notices: Notices::default(),
            confirmed: AtomicBool::new(false),
            want: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            claims: AtomicUsize::new(0),
            entries_in: AtomicU64::new(0),
            entries_out: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
        }
    }

    /// Whether the other side answered.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.confirmed.load(Ordering::Relaxed)
    }

    /// Bytes that wait for the disk, and frontiers of the peer that are remembered.
    pub(crate) fn share(&self) -> (usize, usize) {
        let [waiting, claims] = [&self.waiting, &self.claims];
        (
            waiting.load(Ordering::Relaxed),
            claims.load(Ordering::Relaxed),
        )
    }

    /// The link in use, or the one used last.
    pub(crate) fn link_kind(&self) -> Option<LinkKind> {
        self.path_seen().map(|path| match path.kind {
            PathKind::Loopback => LinkKind::Loopback,
            PathKind::Lan => LinkKind::Lan,
            PathKind::Internet => LinkKind::Internet,
            PathKind::Relay => LinkKind::Relay,
        })
    }

    /// The address where the device was seen last.
    pub(crate) fn addr(&self) -> Option<SocketAddr> {
        self.path_seen().and_then(|path| path.remote)
    }

    fn path_seen(&self) -> Option<Path> {
        let mut seen = self.path.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = self.conn.path() {
            *seen = Some(path);
        }
        *seen
    }

    pub(crate) fn exchanged(&self) -> Exchanged {
        Exchanged {
            entries_in: self.entries_in.load(Ordering::Relaxed),
            entries_out: self.entries_out.load(Ordering::Relaxed),
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
        }
    }
}

struct Driver {
    inner: Arc<Inner>,
    meeting: Arc<Meeting>,
    session: Session,
    sender: MeetingSender,
    receiver: MeetingReceiver,
    gossip: Option<PairTopic>,
    /// Control frames that wait for room; the session isn't asked for more meanwhile.
    outbox: VecDeque<Bytes>,
    batches: Batches,
    fetch: Fetch,
    /// How long others go first before more is sent.
    paused_out: Option<Duration>,
    compared: bool,
}

/// Runs a meeting until it ends; with what the other side said when it closed the connection.
pub(crate) async fn run(inner: Arc<Inner>, meeting: Arc<Meeting>) -> (End, Option<CloseCode>) {
    let conn = meeting.conn.clone();
    let end = match Driver::start(inner, meeting).await {
        Ok(mut driver) => driver.run().await,
        Err(end) => end,
    };
    let said = match conn.close_reason() {
        Some(CloseReason::Remote(code)) => Some(code),
        _ => None,
    };
    let code = match &end {
        End::Misbehaved(_) => CloseCode::Misbehaved,
        End::Store(_) => CloseCode::Busy,
        End::Closed(_) | End::Cut => CloseCode::Done,
    };
    conn.close(code, "");
    (end, said)
}

impl Driver {
    async fn start(inner: Arc<Inner>, meeting: Arc<Meeting>) -> Result<Self, End> {
        let conn = meeting.conn.clone();
        let exporter = conn
            .exporter(EXPORTER_LABEL, b"")
            .map_err(|error| End::Closed(error.to_string()))?;
        let (sender, receiver) = MeetingStreams::open(conn.clone())
            .await
            .map_err(|error| End::Closed(error.to_string()))?;
        let keys = inner.keys().ok_or(End::Cut)?;
        let (session, fetch, topic, addrs) = {
            let snapshot = inner.store.read()?;
            let facts = inner
                .audience_of(&snapshot, meeting.contact)?
                .ok_or(End::Cut)?;
            let topic = facts.secret.topic(conn.local(), conn.remote());
            let addrs = facts.addrs_of(meeting.endpoint);
            let start = Start {
                dialer: conn.dialed(),
                exporter,
                seed: *files::random_seed(),
                class: LinkClass::Fast,
                device: keys.device.id(),
                agreed: facts.agreed_with(meeting.endpoint),
                clearances: facts.clearances,
                rev: facts.rev,
                seen_rev: facts.seen_rev,
                offers: facts.offers,
                beacon: facts.beacon,
            };
            let mut session = Session::new(start, &snapshot)?;
            let fetch = inner.fetch_from(&snapshot, meeting.contact)?;
            session.handle_fetch(fetch, clock::steady(), &snapshot)?;
            (session, fetch, topic, addrs)
        };
        let dial = conn.dialed().then_some(DialHint { addrs, relay: None });
        let gossip = match inner.links() {
            Some(links) => links.pair_topic(topic, meeting.endpoint, dial).await.ok(),
            None => None,
        };
        let (outbox, batches) = (VecDeque::new(), Batches::default());
        Ok(Self {
            inner,
            meeting,
            session,
            sender,
            receiver,
            gossip,
            outbox,
            batches,
            fetch,
            paused_out: None,
            compared: false,
        })
    }

    async fn run(&mut self) -> End {
        let deadline = tokio::time::sleep(COMPARE_WAIT);
        tokio::pin!(deadline);
        loop {
            let pause = self.pause(Way::In);
            if let Err(end) = self.pump(pause.is_none()) {
                return end;
            }
            self.publish();
            let timer = self
                .session
                .next_timeout()
                .map_or(TIMER_WAIT_MAX, |at| clock::until(at, TIMER_WAIT_MAX));
            let timer = [pause, self.paused_out]
                .into_iter()
                .flatten()
                .fold(timer, Duration::min);
            let room = self.inner.has_waiting_room();
            let timer = if room { timer } else { timer.min(ROOM_WAIT) };
            let goes = pause.is_none();
            let step = tokio::select! {
                biased;
                results = self.batches.done() => self.handle_batch(results),
                () = self.meeting.notices.changed.notified() => self.handle_notices().await,
                frame = self.receiver.recv(), if goes && room && self.session.accepts_data() => match frame {
                    Ok((stream, frame)) => self.handle_frame(stream, &frame),
                    Err(RecvError::Misbehaved(how)) => Err(End::Misbehaved(how.to_string())),
                    Err(error) => Err(End::Closed(error.to_string())),
                },
                event = next_gossip(&mut self.gossip), if goes => self.handle_gossip(event),
                // Ready for ever once the connection has ended, which only `recv` tells: while that
                // isn't asked, this would keep the thread from whoever could change it.
                () = self.sender.writable(), if !self.sender.is_closed() => Ok(()),
                () = tokio::time::sleep(timer) => self.handle_timeout(),
                () = &mut deadline, if !self.compared => Err(End::Misbehaved("the other side never said what it holds".into())),
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    /// How long this contact's meetings have to let others go first.
    fn pause(&self, way: Way) -> Option<Duration> {
        let now = Instant::now();
        self.inner.turns.pause(self.meeting.contact, way, now)
    }

    /// This meeting went on since `began`.
    fn charge(&self, way: Way, bytes: usize, began: Instant) {
        let now = Instant::now();
        let worked = now.saturating_duration_since(began);
        let contact = self.meeting.contact;
        self.inner.turns.charge(contact, way, bytes, worked, now);
    }

    /// Something came: what brought nothing to store counts for more.
    fn charge_for(&self, bytes: usize, waiting_before: usize, began: Instant) {
        let fruitless = self.session.waiting_bytes() == waiting_before;
        let weight = if fruitless { FRUITLESS_WEIGHT } else { 1 };
        self.charge(Way::In, bytes.saturating_mul(weight), began);
    }

    /// Does what the session says until it waits for something. Nothing more is handed to the
    /// writer while others go first.
    fn pump(&mut self, goes: bool) -> Result<(), End> {
        let snapshot = self.inner.store.read()?;
        loop {
            // What came in is stored also while the other side doesn't read: else two nodes that
            // both have much to say would wait for each other.
            let output = if self.send_control()? {
                self.session.poll(&snapshot)?
            } else {
                self.session.poll_work()
            };
            let Some(output) = output else {
                break;
            };
            match output {
                Output::Control(bytes) => self.outbox.push_back(bytes.into()),
                Output::Rejected(reject) => {
                    self.inner.count_rejected(&reject);
                    tracing::debug!(contact = ?self.meeting.contact, %reject, "dropped something of a contact's");
                }
                job => {
                    if let Some(job) = Job::of(job) {
                        self.batches.push(job);
                    }
                }
            }
        }
        self.serve(&snapshot)?;
        if goes {
            let (contact, endpoint) = (self.meeting.contact, self.meeting.endpoint);
            self.batches.start(&self.inner, contact, endpoint);
        }
        Ok(())
    }

    /// Sends what the other side asked for, as far as there is room.
    fn serve(&mut self, snapshot: &Snapshot) -> Result<(), End> {
        self.paused_out = self.pause(Way::Out);
        if self.paused_out.is_some() {
            return Ok(());
        }
        let (began, mut sent) = (Instant::now(), 0);
        while let Some(frame) = self.session.poll_data(snapshot, |channel| {
            self.sender.capacity(Stream::Space(channel))
        })? {
            break_if_not_cleared(&frame.clearance, self.meeting.contact)?;
            let stream = Stream::Space(frame.channel);
            sent += frame.bytes.len();
            self.meeting
                .entries_out
                .fetch_add(frame.entries, Ordering::Relaxed);
            self.sender
                .try_send(stream, frame.priority, frame.bytes.into())
                .map_err(|error| End::Closed(error.to_string()))?;
            if frame.last {
                self.sender.finish(stream);
            }
        }
        if sent > 0 {
            self.charge(Way::Out, sent, began);
        }
        Ok(())
    }

    /// Sends what waits for the control stream; false where it has no room for all of it.
    fn send_control(&mut self) -> Result<bool, End> {
        while let Some(frame) = self.outbox.front() {
            match self
                .sender
                .try_send(Stream::Control, i32::MAX, frame.clone())
            {
                Ok(()) => self.outbox.pop_front(),
                Err(SendError::Full) => return Ok(false),
                Err(error) => return Err(End::Closed(error.to_string())),
            };
        }
        Ok(true)
    }

    fn handle_batch(&mut self, results: Result<Vec<JobResult>, store::Error>) -> Result<(), End> {
        let snapshot = self.inner.store.read()?;
        let now = clock::steady();
        for result in results? {
            let handled = match result {
                JobResult::Feed {
                    space,
                    device,
                    bytes,
                    refused,
                    new,
                    ..
                } => {
                    if let Some((_, count)) = new {
                        self.meeting.entries_in.fetch_add(count, Ordering::Relaxed);
                    }
                    self.session
                        .handle_imported(space, device, bytes, refused, now, &snapshot)
                }
                JobResult::Compared {
                    space,
                    overlap,
                    result,
                } => self
                    .session
                    .handle_compared(space, overlap, &result, now, &snapshot),
                JobResult::OffersKept { rev } => {
                    self.session.handle_offers_kept(rev);
                    Ok(())
                }
                JobResult::Done => Ok(()),
            };
            handled.map_err(end_of)?;
        }
        self.choose_fetch(&snapshot)
    }

    /// Asks for more or for less, after something came in or the person changed what may.
    fn choose_fetch(&mut self, snapshot: &Snapshot) -> Result<(), End> {
        let fetch = self.inner.fetch_from(snapshot, self.meeting.contact)?;
        if fetch == self.fetch {
            return Ok(());
        }
        self.fetch = fetch;
        let before = self.session.progress().want;
        self.session
            .handle_fetch(fetch, clock::steady(), snapshot)?;
        self.inner
            .events
            .emit(EventKind::Contact, about_contact(self.meeting.contact));
        let dropped = before.saturating_sub(self.session.progress().want);
        if dropped > DROPPED_ENTRIES_MAX {
            return Err(End::Cut);
        }
        Ok(())
    }

    fn handle_frame(&mut self, stream: Stream, frame: &[u8]) -> Result<(), End> {
        let lane = match stream {
            Stream::Control => Lane::Control,
            Stream::Space(channel) => Lane::Space(channel),
        };
        let (began, before) = (Instant::now(), self.session.waiting_bytes());
        let snapshot = self.inner.store.read()?;
        self.session
            .handle_frame(lane, frame, clock::steady(), &snapshot)
            .map_err(end_of)?;
        self.charge_for(frame.len(), before, began);
        if !self.meeting.confirmed.swap(true, Ordering::Relaxed) {
            self.inner.meeting_began(&self.meeting);
        }
        Ok(())
    }

    fn handle_gossip(&mut self, event: Option<PairEvent>) -> Result<(), End> {
        match event {
            Some(PairEvent::Up) => self.session.handle_gossip_up(true),
            Some(PairEvent::Down) => self.session.handle_gossip_up(false),
            // What was lost is announced on the session's own stream.
            Some(PairEvent::Lagged) => {}
            Some(PairEvent::Message(message)) => {
                let (began, before) = (Instant::now(), self.session.waiting_bytes());
                let snapshot = self.inner.store.read()?;
                self.session
                    .handle_gossip(&message, clock::steady(), &snapshot)
                    .map_err(end_of)?;
                self.charge_for(message.len(), before, began);
            }
            None => {
                self.gossip = None;
                self.session.handle_gossip_up(false);
            }
        }
        Ok(())
    }

    async fn handle_notices(&mut self) -> Result<(), End> {
        let pending = self.meeting.notices.take();
        if let Some(code) = pending.end {
            self.meeting.conn.close(code, "");
            return Err(End::Cut);
        }
        for hint in self.take_up(pending)? {
            if let Some(gossip) = &self.gossip {
                // A hint may be lost; the session's announcement follows.
                let _ = gossip.send(hint).await;
            }
        }
        Ok(())
    }

    /// Tells the session what changed; returns the gossip messages for it.
    fn take_up(&mut self, pending: Pending) -> Result<Vec<Bytes>, End> {
        let snapshot = self.inner.store.read()?;
        if pending.audience {
            let facts = self
                .inner
                .audience_of(&snapshot, self.meeting.contact)?
                .ok_or(End::Cut)?;
            self.session
                .handle_audience(facts.clearances, facts.rev, facts.offers, facts.beacon);
            self.choose_fetch(&snapshot)?;
        }
        let mut hints = Vec::new();
        for ((space, device), from) in pending.feeds {
            hints.extend(self.hint(&snapshot, space, device, from)?);
            self.session.handle_local(space, device);
        }
        Ok(hints)
    }

    /// A new entry as a gossip message, where it fits one. The session announces it anyway.
    fn hint(
        &self,
        snapshot: &Snapshot,
        space: SpaceId,
        device: DeviceId,
        from: u64,
    ) -> Result<Option<Bytes>, End> {
        let Some((tag, channel)) = self
            .session
            .gossip_channel(space)
            .filter(|_| self.gossip.as_ref().is_some_and(PairTopic::is_up))
        else {
            return Ok(None);
        };
        if self.session.peer_base(space, device) > from {
            return Ok(None);
        }
        let Some(run) = SpaceStore::run(snapshot, space, device, from)? else {
            return Ok(None);
        };
        let message = Hint {
            tag,
            channel,
            device,
            run: &run.bytes,
        }
        .encode();
        if message.len() > GOSSIP_PAYLOAD_BYTES_MAX {
            return Ok(None);
        }
        self.meeting
            .entries_out
            .fetch_add(run.end.saturating_sub(from), Ordering::Relaxed);
        Ok(Some(message.into()))
    }

    fn handle_timeout(&mut self) -> Result<(), End> {
        let snapshot = self.inner.store.read()?;
        Ok(self.session.handle_timeout(clock::steady(), &snapshot)?)
    }

    /// Shows how far the meeting is to the rest of the node.
    fn publish(&mut self) {
        let waiting = self.session.waiting_bytes();
        self.meeting.waiting.store(waiting, Ordering::Relaxed);
        let claims = self.session.claims();
        if self.meeting.claims.swap(claims, Ordering::Relaxed) < claims {
            self.inner.shed_claims();
        }
        let Progress { want, compared } = self.session.progress();
        let before = self.meeting.want.swap(want, Ordering::Relaxed);
        let traffic = self.sender.traffic();
        self.meeting
            .bytes_in
            .store(traffic.received, Ordering::Relaxed);
        self.meeting
            .bytes_out
            .store(traffic.sent, Ordering::Relaxed);
        if (compared && !self.compared) || (before > 0 && want == 0) {
            self.compared |= compared;
            self.inner.tell_sync(self.meeting.contact);
        }
    }
}

/// The exit: what a meeting sends was cleared for exactly this contact.
fn break_if_not_cleared(
    clearance: &proto::audience::Clearance,
    contact: IdentityId,
) -> Result<(), End> {
    if clearance.contact() == contact {
        Ok(())
    } else {
        Err(End::Cut)
    }
}

fn end_of(fatal: Fatal<store::Error>) -> End {
    match fatal {
        Fatal::Store(error) => End::Store(error),
        other => End::Misbehaved(other.to_string()),
    }
}

async fn next_gossip(gossip: &mut Option<PairTopic>) -> Option<PairEvent> {
    match gossip {
        Some(gossip) => gossip.recv().await,
        None => std::future::pending().await,
    }
}

/// Spaces as a set, for what is agreed with a device.
pub(crate) type Agreed = BTreeSet<SpaceId>;
