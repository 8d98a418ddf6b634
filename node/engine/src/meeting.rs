//! One meeting: drives a [`Session`] between a connection, the store and the pair's gossip topic.
//!
//! Everything that the session wants stored goes to the writer in batches; while one is on its way
//! to the disk the session checks the next. Other meetings hear of what came
//! in through [`Notices`](state::Notices), which coalesce, so a slow peer costs a set of feed numbers and no queue.

mod pace;
mod state;

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use links::{
    CloseCode, CloseReason, DialHint, GOSSIP_PAYLOAD_BYTES_MAX, Lane as Stream, MeetingReceiver,
    MeetingSender, MeetingStreams, PairEvent, PairTopic, PathChanges, RecvError, SendError,
};
use proto::{
    DeviceId, IdentityId, SpaceId, courier,
    frame::{Hint, LinkClass},
    limits::BATCH_ENTRIES_MAX,
    session::{Fatal, Fetch, Lane, Output, Progress, Session, SpaceStore, Start},
};
use store::{MetEnd, Snapshot};
use tokio::time::Instant;

pub(crate) use self::state::Meeting;
use self::state::Pending;
use crate::{
    batches::Batches,
    choices::Caller,
    clock,
    event::EventKind,
    files,
    inner::{Inner, about_contact},
    intake::{Job, JobResult},
    letters::{Exchange, Word},
    turns::Way,
    view::LinkKind,
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

/// What a frame about letters counts for at least: it may lead to a look through the disk.
const LETTER_FRAME_BYTES_MIN: usize = 4 * 1024;

/// Between two words on how far a long catch-up is: often enough to see it move.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

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
    /// Nothing came any more, or the channel that it went over is gone.
    #[error("the connection was lost")]
    Lost,
    /// Another connection took its place.
    #[error("another connection took its place")]
    Replaced,
    /// The contact was removed, more was asked for than will be taken, or the node stops.
    #[error("ended here")]
    Cut,
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
    paths: PathChanges,
    /// The link that the pages were told of.
    link: Option<LinkKind>,
    /// When the pages were told last how far it is.
    told: Instant,
    exporter: [u8; 32],
    /// Letters, once the other side says that it knows of them.
    letters: Option<Exchange>,
}

/// How a meeting ended.
pub(crate) struct Ended {
    pub(crate) end: End,
    /// What the other side said when it closed the connection.
    pub(crate) said: Option<CloseCode>,
    /// For the history.
    pub(crate) met: MetEnd,
}

impl Ended {
    /// It was ended from here before it could end by itself.
    pub(crate) const fn cut() -> Self {
        Self {
            end: End::Cut,
            said: None,
            met: MetEnd::Ours,
        }
    }
}

/// Runs a meeting until it ends.
pub(crate) async fn run(inner: Arc<Inner>, meeting: Arc<Meeting>) -> Ended {
    let (conn, route) = (meeting.conn.clone(), meeting.clone());
    let end = match Driver::start(inner, meeting).await {
        Ok(mut driver) => driver.run().await,
        Err(end) => end,
    };
    let lost_link = route.link_kind();
    let reason = conn.close_reason();
    // Closed here because its channel was gone: see `links::Bluetooth`.
    let over_bluetooth = lost_link == Some(LinkKind::Bluetooth);
    let end = match (end, &reason) {
        (End::Closed(_), Some(CloseReason::Local)) if over_bluetooth => End::Lost,
        (end, _) => end,
    };
    let met = state::how(&end, reason.as_ref());
    let said = match reason {
        Some(CloseReason::Remote(code)) => Some(code),
        _ => None,
    };
    let code = match &end {
        End::Misbehaved(_) => CloseCode::Misbehaved,
        End::Store(_) => CloseCode::Busy,
        End::Closed(_) | End::Lost | End::Replaced | End::Cut => CloseCode::Done,
    };
    conn.close(code, "");
    Ended { end, said, met }
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
        let link = meeting.link_kind();
        let (session, fetch, topic, hint) = {
            let snapshot = inner.store.read()?;
            let facts = inner
                .audience_of(&snapshot, meeting.contact)?
                .ok_or(End::Cut)?;
            let topic = facts.secret.topic(conn.local(), conn.remote());
            // Where the meeting is, and where the node would call by itself.
            let may = inner
                .may_call(&snapshot, Caller::Node)
                .map_err(|_| End::Cut)?;
            let known = facts.device_at(meeting.endpoint);
            let known_addrs = known.into_iter().flat_map(|device| &device.addrs).copied();
            let hint = DialHint {
                addrs: meeting
                    .addr()
                    .into_iter()
                    .chain(known_addrs.filter(|addr| may.at(addr)))
                    .collect(),
                relay: known
                    .filter(|_| may.internet)
                    .and_then(|device| device.relay.clone()),
            };
            let start = Start {
                dialer: conn.dialed(),
                exporter,
                seed: *files::random_seed(),
                class: match link {
                    Some(LinkKind::Bluetooth) => LinkClass::Slow,
                    _ => LinkClass::Fast,
                },
                device: keys.device.id(),
                agreed: facts.agreed_with(meeting.endpoint),
                clearances: facts.clearances,
                rev: facts.rev,
                seen_rev: facts.seen_rev,
                offers: facts.offers,
                whereabouts: facts.whereabouts,
            };
            let mut session = Session::new(start, &snapshot)?;
            let fetch = inner.fetch_from(&snapshot, meeting.contact)?;
            session.handle_fetch(fetch, clock::steady(), &snapshot)?;
            (session, fetch, topic, hint)
        };
        let dial = conn.dialed().then_some(hint);
        let gossip = match inner.links() {
            Some(links) => links.pair_topic(topic, meeting.endpoint, dial).await.ok(),
            None => None,
        };
        let (outbox, batches) = (VecDeque::new(), Batches::default());
        let paths = conn.path_changes();
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
            paths,
            link,
            told: Instant::now(),
            exporter,
            letters: None,
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
                word = next_word(&mut self.letters), if self.outbox.is_empty() => self.handle_word(word),
                // Ready for ever once the connection has ended, which only `recv` tells: while that
                // isn't asked, this would keep the thread from whoever could change it.
                () = self.sender.writable(), if !self.sender.is_closed() => Ok(()),
                () = self.paths.changed() => {
                    self.tell_path();
                    Ok(())
                }
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
        if lane == Lane::Control && courier::is_courier(frame) {
            return self.handle_letters(frame);
        }
        let (began, before) = (Instant::now(), self.session.waiting_bytes());
        let snapshot = self.inner.store.read()?;
        self.session
            .handle_frame(lane, frame, clock::steady(), &snapshot)
            .map_err(end_of)?;
        self.charge_for(frame.len(), before, began);
        if !self.meeting.confirmed.swap(true, Ordering::Relaxed) {
            self.inner.meeting_began(&self.meeting);
        }
        if self.letters.is_none() && self.session.peer_features() & courier::FEATURE != 0 {
            let meeting = &self.meeting;
            let (contact, endpoint) = (meeting.contact, meeting.endpoint);
            let connection = (&self.exporter, meeting.conn.dialed());
            self.letters = Exchange::begin(&self.inner, contact, endpoint, connection);
        }
        Ok(())
    }

    fn handle_letters(&mut self, frame: &[u8]) -> Result<(), End> {
        let Some(letters) = &self.letters else {
            return Err(End::Misbehaved("a letter before the hello".to_owned()));
        };
        let began = Instant::now();
        if !letters.handle(frame) {
            let how = "more about letters than was asked for";
            return Err(End::Misbehaved(how.to_owned()));
        }
        // What a short frame leads to is done elsewhere, and may be much.
        let bytes = frame.len().max(LETTER_FRAME_BYTES_MIN);
        self.charge(Way::In, bytes, began);
        Ok(())
    }

    fn handle_word(&mut self, word: Option<Word>) -> Result<(), End> {
        match word {
            Some(Word::Frame(frame)) => {
                self.outbox.push_back(frame.into());
                self.send_control().map(drop)
            }
            Some(Word::Misbehaved(how)) => Err(End::Misbehaved(how.to_owned())),
            Some(Word::Store(error)) => Err(End::Store(error)),
            // The node stops.
            None => Err(End::Cut),
        }
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
            return Err(match code {
                CloseCode::Superseded => End::Replaced,
                CloseCode::Dropped => End::Lost,
                _ => End::Cut,
            });
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
        if let Some(letters) = self.letters.as_ref().filter(|_| pending.letters) {
            letters.changed();
        }
        if pending.probe {
            self.session.handle_probe();
        }
        if pending.audience {
            let facts = self
                .inner
                .audience_of(&snapshot, self.meeting.contact)?
                .ok_or(End::Cut)?;
            self.session.handle_audience(
                facts.clearances,
                facts.rev,
                facts.offers,
                facts.whereabouts,
            );
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
        self.meeting.note_pace(want);
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
            // The letters wait for this, so as not to keep posts from a slow link.
            if let Some(letters) = self.letters.as_ref().filter(|_| want == 0) {
                letters.compared();
            }
        } else if want == 0 {
            self.told = Instant::now();
        } else if self.told.elapsed() >= PROGRESS_EVERY {
            self.told = Instant::now();
            self.inner.tell_sync(self.meeting.contact);
        }
    }

    /// Tells the pages where the meeting goes over another link now.
    fn tell_path(&mut self) {
        let link = self.meeting.link_kind();
        if link != self.link && self.meeting.is_confirmed() {
            self.link = link;
            let about = about_contact(self.meeting.contact);
            self.inner.events.emit(EventKind::Presence, about);
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

async fn next_word(letters: &mut Option<Exchange>) -> Option<Word> {
    match letters {
        Some(letters) => letters.next().await,
        None => std::future::pending().await,
    }
}

/// Spaces as a set, for what is agreed with a device.
pub(crate) type Agreed = BTreeSet<SpaceId>;
