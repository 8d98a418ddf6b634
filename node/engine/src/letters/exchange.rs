//! Letters between this node and one contact's device, as long as a meeting lasts.
//!
//! A task of its own, so that the meeting goes on whatever this waits for. What the other side may send at
//! once is bounded by what it was asked for and given room for; more ends the meeting.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use proto::{
    DeviceId, EndpointId, IdentityId,
    courier::{Frame, LIST_MAX, TagHash, TagHasher, TagHint, meant},
    limits::CARRIED_MAX,
    seal::{Envelope, Party, Receipt, Tag},
};
use tokio::sync::{Notify, mpsc};

use super::{
    carrying, keys, lock,
    sealing::{self, Expected, Me},
};
use crate::{
    clock,
    event::EventKind,
    inner::{Inner, about_contact},
    intake::From,
    introductions,
};

/// Letters that are asked for at once.
const WANTED_AT_ONCE: usize = 4;
/// Room that is given at first, and filled up as letters are kept: letters and bytes, at least two of the
/// greatest length.
const ROOM: (u32, u64) = (8, 512 * 1024);
/// Frames that wait for this task: what was asked for, what there is room for, and one of each other kind.
const FRAMES_IN_MAX: usize = WANTED_AT_ONCE + ROOM.0 as usize + 100;
/// Times that one side says in a session where its line stands: after each message that arrived, at most.
const LINES_MAX: u32 = 256;
/// Frames that wait for the meeting's stream.
const FRAMES_OUT_MAX: usize = 4;
/// Tags that one side names in a session: the whole of what may be carried, twice.
const NAMED_MAX: usize = 2 * CARRIED_MAX;
/// Letters of one session that can't be opened, after which no more are asked for.
const BAD_MAX: usize = 32;
/// Letters of others that one side asks for in a session: with 64,000 expected tags three by chance where
/// as many are named as may be.
const MISTAKEN_MAX: usize = 64;

/// What the task has for the meeting.
pub(crate) enum Word {
    /// A frame for the control stream.
    Frame(Vec<u8>),
    /// The other side broke the protocol.
    Misbehaved(&'static str),
    /// The store failed.
    Store(store::Error),
}

#[derive(Debug, Default)]
struct Shared {
    compared: AtomicBool,
    changed: Notify,
}

/// The meeting's side of the task, which ends when this is dropped.
pub(crate) struct Exchange {
    frames: mpsc::Sender<Vec<u8>>,
    words: mpsc::Receiver<Word>,
    shared: Arc<Shared>,
}

impl Exchange {
    /// Begins with a contact's device that speaks of letters.
    pub(crate) fn begin(
        inner: &Arc<Inner>,
        contact: IdentityId,
        endpoint: EndpointId,
        (exporter, dialer): (&[u8; 32], bool),
    ) -> Option<Self> {
        let keys = inner.keys()?;
        let (frames, frames_in) = mpsc::channel(FRAMES_IN_MAX);
        let (words_out, words) = mpsc::channel(FRAMES_OUT_MAX);
        let shared = Arc::<Shared>::default();
        let me = Me {
            party: Party {
                identity: keys.identity.id(),
                device: keys.device.id(),
            },
            key: keys.device,
            epochs: inner.letters.epochs.clone(),
        };
        let desk = Desk {
            inner: inner.clone(),
            me,
            contact,
            endpoint,
            hasher: TagHasher::new(exporter, dialer),
            words: words_out,
            shared: shared.clone(),
            named: Vec::new(),
            named_from: 0,
            heard: 0,
            expected: BTreeMap::new(),
            expected_of: None,
            wanted: VecDeque::new(),
            asked: BTreeMap::new(),
            bad: 0,
            mistaken: 0,
            room_given: (0, 0),
            room: (0, 0),
            handed: BTreeSet::new(),
            telling: BTreeSet::new(),
            settled: false,
            line_said: None,
            lines_heard: 0,
            keys_out: false,
        };
        inner.tasks.spawn(desk.run(frames_in));
        Some(Self {
            frames,
            words,
            shared,
        })
    }

    /// A frame came. False where more came than was asked for.
    pub(crate) fn handle(&self, frame: &[u8]) -> bool {
        !matches!(
            self.frames.try_send(frame.to_vec()),
            Err(mpsc::error::TrySendError::Full(_))
        )
    }

    /// Both sides have compared what they hold: there is time for keys.
    pub(crate) fn compared(&self) {
        self.shared.compared.store(true, Ordering::Relaxed);
        self.shared.changed.notify_one();
    }

    /// Something changed: there may be more to carry.
    pub(crate) fn changed(&self) {
        self.shared.changed.notify_one();
    }

    /// What is to be done next.
    pub(crate) async fn next(&mut self) -> Option<Word> {
        self.words.recv().await
    }
}

/// Why the task ends.
enum Stop {
    Gone,
    Misbehaved(&'static str),
    Store(store::Error),
}

impl std::convert::From<store::Error> for Stop {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

struct Desk {
    inner: Arc<Inner>,
    me: Me,
    contact: IdentityId,
    endpoint: EndpointId,
    hasher: TagHasher,
    words: mpsc::Sender<Word>,
    shared: Arc<Shared>,
    /// What we named, by place: numbers of what we carry, and tags; nothing once it was brought.
    named: Vec<Option<(u64, Tag)>>,
    /// Everything carried below this number was named, or is theirs.
    named_from: u64,
    /// How many the other side named.
    heard: usize,
    /// What we would recognise of them, by hash, and which count of changes it is of.
    expected: BTreeMap<TagHash, (Tag, Expected)>,
    expected_of: Option<u64>,
    /// Places that we want and haven't asked for yet, and those that we have.
    wanted: VecDeque<(u32, TagHash, Expected)>,
    asked: BTreeMap<u32, Expected>,
    bad: usize,
    /// How often they asked for a letter of somebody else's.
    mistaken: usize,
    /// What they may still leave here.
    room_given: (u32, u64),
    /// What we may still leave there.
    room: (u32, u64),
    /// Receipts' hashes of what we left there, until they are kept.
    handed: BTreeSet<[u8; 32]>,
    /// Hashes of receipts that were told.
    telling: BTreeSet<[u8; 32]>,
    /// There is time for lines and keys.
    settled: bool,
    /// Where our line stands, as it was said last.
    line_said: Option<u64>,
    /// How often the other side said it.
    lines_heard: u32,
    /// Keys are on their way.
    keys_out: bool,
}

impl Drop for Desk {
    fn drop(&mut self) {
        // What wasn't kept by now may be given to somebody else.
        self.not_under_way(|_| true);
    }
}

impl Desk {
    async fn run(mut self, mut frames: mpsc::Receiver<Vec<u8>>) {
        let word = match self.serve(&mut frames).await {
            Ok(()) | Err(Stop::Gone) => return,
            Err(Stop::Misbehaved(how)) => Word::Misbehaved(how),
            Err(Stop::Store(error)) => Word::Store(error),
        };
        let _ = self.words.send(word).await;
    }

    async fn serve(&mut self, frames: &mut mpsc::Receiver<Vec<u8>>) -> Result<(), Stop> {
        let shared = self.shared.clone();
        self.name().await?;
        self.give_room().await?;
        self.tell_receipts().await?;
        loop {
            tokio::select! {
                frame = frames.recv() => match frame {
                    Some(frame) => self.handle(&frame).await?,
                    None => return Ok(()),
                },
                () = shared.changed.notified() => {
                    self.name().await?;
                    self.hand_over().await?;
                    self.tell_receipts().await?;
                    if shared.compared.load(Ordering::Relaxed) {
                        self.tell_line().await?;
                        if !std::mem::replace(&mut self.settled, true) {
                            self.send_keys().await?;
                        }
                    }
                }
            }
        }
    }

    async fn say(&self, frame: Frame) -> Result<(), Stop> {
        let word = Word::Frame(frame.encode());
        self.words.send(word).await.map_err(|_| Stop::Gone)
    }

    /// The device that we speak with, by its endpoint.
    fn device(&self) -> Result<Option<DeviceId>, Stop> {
        let snapshot = self.inner.store.read()?;
        let devices = snapshot.contact(&self.contact)?.map(|known| known.devices);
        let mut devices = devices.unwrap_or_default().into_iter();
        let found = devices.find(|(_, device)| device.endpoint == self.endpoint);
        Ok(found.map(|(id, _)| id))
    }

    async fn handle(&mut self, frame: &[u8]) -> Result<(), Stop> {
        let frame = Frame::decode(frame).map_err(|_| Stop::Misbehaved("a frame about letters"))?;
        match frame {
            Frame::Carried(hints) => self.look_through(&hints).await,
            Frame::Want(places) => self.bring(&places).await,
            Frame::Letter { place, envelope } => self.open(place, &envelope).await,
            Frame::Receipts(receipts) => self.take_receipts(receipts).await,
            Frame::Room { count: 0, .. } => Err(Stop::Misbehaved("room for nothing")),
            Frame::Room { count, bytes } => {
                self.room.0 = self.room.0.saturating_add(count).min(ROOM.0);
                self.room.1 = self.room.1.saturating_add(bytes).min(ROOM.1);
                self.hand_over().await
            }
            Frame::Carry(envelope) => self.keep(&envelope).await,
            Frame::Kept(hashes) => self.kept(hashes).await,
            Frame::Prekeys(batch) => self.keep_keys(batch).await,
            Frame::PrekeysKept(next) => {
                self.keys_out = false;
                if let Some(device) = self.device()? {
                    let store = &self.inner.store;
                    store
                        .write(move |txn| keys::prekeys_kept(txn, device, next))
                        .await?;
                }
                Ok(())
            }
            Frame::Line { next, key } => self.hear_line(next, key).await,
            Frame::LineHeard(high) => {
                let Some((device, next)) = self.device()?.zip(self.line_said.take()) else {
                    return Ok(());
                };
                let store = &self.inner.store;
                store
                    .write(move |txn| sealing::line_heard(txn, device, next, high))
                    .await?;
                Ok(())
            }
        }
    }

    async fn hear_line(&mut self, next: u64, key: u32) -> Result<(), Stop> {
        self.lines_heard += 1;
        if self.lines_heard > LINES_MAX {
            return Err(Stop::Misbehaved("a line that never rests"));
        }
        let Some(device) = self.device()? else {
            return Ok(());
        };
        let store = &self.inner.store;
        let high = store
            .write(move |txn| sealing::their_line(txn, device, (next, key)))
            .await?;
        self.inner.letters.note_expected();
        self.say(Frame::LineHeard(high)).await?;
        if self.settled && !self.keys_out {
            self.send_keys().await?;
        }
        Ok(())
    }

    // What we carry for them, or for whom they know.

    /// Names what we carry and haven't named.
    async fn name(&mut self) -> Result<(), Stop> {
        let fresh = {
            let snapshot = self.inner.store.read()?;
            carrying::carried_from(&snapshot, self.named_from, self.contact, clock::now())?
        };
        let room = NAMED_MAX.saturating_sub(self.named.len());
        let fresh: Vec<_> = fresh.into_iter().take(room).collect();
        let Some((last, _)) = fresh.last() else {
            return Ok(());
        };
        self.named_from = last + 1;
        let hints = fresh
            .iter()
            .map(|(_, tag)| self.hasher.hint(*tag))
            .collect();
        self.named.extend(fresh.into_iter().map(Some));
        self.say(Frame::Carried(hints)).await
    }

    /// Brings letters that they recognised, each once, to who shows to know their tags.
    async fn bring(&mut self, places: &[(u32, TagHash)]) -> Result<(), Stop> {
        if places.len() > WANTED_AT_ONCE {
            return Err(Stop::Misbehaved("too many letters asked for at once"));
        }
        for (place, hash) in places {
            let at = usize::try_from(*place).unwrap_or(usize::MAX);
            let place = *place;
            let Some(Some((number, tag))) = self.named.get(at).copied() else {
                return Err(Stop::Misbehaved("a letter that wasn't named"));
            };
            let mut envelope = Vec::new();
            if self.hasher.of_theirs(tag) == *hash {
                if let Some(named) = self.named.get_mut(at) {
                    *named = None;
                }
                // What was dropped meanwhile is brought as nothing.
                let carried = self.inner.store.read()?.carried(&number)?;
                envelope = carried.map(|carried| carried.envelope).unwrap_or_default();
            } else {
                // They expect another, whose hint is the same.
                self.mistaken += 1;
                if self.mistaken > MISTAKEN_MAX {
                    return Err(Stop::Misbehaved("letters of others asked for"));
                }
            }
            self.say(Frame::Letter { place, envelope }).await?;
        }
        Ok(())
    }

    // What they carry for us.

    async fn look_through(&mut self, hints: &[TagHint]) -> Result<(), Stop> {
        let first = self.heard;
        self.heard += hints.len();
        if self.heard > NAMED_MAX {
            return Err(Stop::Misbehaved("too many letters named"));
        }
        let mut receipts = Vec::new();
        {
            let now = self.inner.letters.expected.load(Ordering::Relaxed);
            let snapshot = self.inner.store.read()?;
            if self.expected_of != Some(now) {
                let expected = sealing::expected(&snapshot, &self.me)?;
                let tags = expected.into_iter().map(|(tag, of)| (tag, (tag, of)));
                self.expected = self.hasher.theirs(tags);
                self.expected_of = Some(now);
            }
            for (place, hint) in (first..).zip(hints) {
                for (tag, of) in meant(&self.expected, *hint) {
                    if of.arrived {
                        receipts.extend(snapshot.owed(tag)?.map(|owed| owed.receipt));
                    } else {
                        let place = u32::try_from(place).unwrap_or(u32::MAX);
                        let hash = self.hasher.ours(*tag);
                        self.wanted.push_back((place, hash, *of));
                        // A place is asked for once; next time hints are others.
                        break;
                    }
                }
            }
        }
        for some in receipts.chunks(LIST_MAX) {
            self.say(Frame::Receipts(some.to_vec())).await?;
        }
        self.ask().await
    }

    /// Asks for the next letters.
    async fn ask(&mut self) -> Result<(), Stop> {
        if !self.asked.is_empty() || self.bad >= BAD_MAX {
            return Ok(());
        }
        let next: Vec<_> = self
            .wanted
            .drain(..self.wanted.len().min(WANTED_AT_ONCE))
            .collect();
        if next.is_empty() {
            return Ok(());
        }
        let places = next.iter().map(|(place, hash, _)| (*place, *hash));
        let places = places.collect();
        self.asked
            .extend(next.into_iter().map(|(place, _, of)| (place, of)));
        self.say(Frame::Want(places)).await
    }

    async fn open(&mut self, place: u32, envelope: &[u8]) -> Result<(), Stop> {
        let Some(of) = self.asked.remove(&place) else {
            return Err(Stop::Misbehaved("a letter that wasn't asked for"));
        };
        if let Ok(envelope) = Envelope::decode(envelope)
            && let Some(receipt) = self.open_now(of, envelope).await?
        {
            self.say(Frame::Receipts(vec![receipt])).await?;
        } else if !envelope.is_empty() {
            self.bad += 1;
        }
        self.ask().await
    }

    async fn open_now(&self, of: Expected, envelope: Envelope) -> Result<Option<Receipt>, Stop> {
        let (me, now) = (self.me.clone(), clock::now());
        let keys = self.inner.keys().ok_or(Stop::Gone)?;
        let from = From {
            // It counts for the author, not for whom it was carried by.
            contact: of.from.identity,
            endpoint: self.endpoint,
            own: me.party.identity,
            device: me.party.device,
            now,
        };
        let opened = self
            .inner
            .store
            .write(move |txn| {
                let Some(opened) = sealing::open(txn, &me, of, &envelope, &from)? else {
                    return Ok(None);
                };
                let heard = &opened.aftermath.introductions;
                let followed = introductions::follow(txn, &keys, heard, now)?;
                Ok(Some((opened, followed)))
            })
            .await?;
        let Some((opened, followed)) = opened else {
            return Ok(None);
        };
        self.inner.letters.note_used();
        self.inner.letters.note_expected();
        self.inner
            .tell_aftermath(self.endpoint, opened.aftermath, &opened.results);
        introductions::followed(&self.inner, &followed);
        self.inner.tell_letters();
        Ok(Some(opened.receipt))
    }

    // Receipts.

    /// Tells the contact which of its letters were opened.
    async fn tell_receipts(&mut self) -> Result<(), Stop> {
        let owed = carrying::owed_to(&self.inner.store.read()?, self.contact, LIST_MAX)?;
        let fresh: Vec<_> = owed
            .into_iter()
            .filter(|receipt| self.telling.insert(receipt.hash()))
            .collect();
        if fresh.is_empty() {
            return Ok(());
        }
        self.say(Frame::Receipts(fresh)).await
    }

    async fn take_receipts(&mut self, receipts: Vec<Receipt>) -> Result<(), Stop> {
        let hashes = receipts.iter().map(Receipt::hash).collect();
        let (usage, now) = (self.inner.letters.usage.clone(), clock::now());
        let (events, any) = self
            .inner
            .store
            .write(move |txn| carrying::receipts(txn, &mut lock(&usage), &receipts, now))
            .await?;
        // Whoever gave us what was opened, or carries it too, may be there.
        if any || !events.is_empty() {
            self.inner.tell_letters();
        }
        self.inner.events.emit_all(events);
        self.say(Frame::Kept(hashes)).await
    }

    // What we carry for them.

    async fn give_room(&mut self) -> Result<(), Stop> {
        let room = {
            let snapshot = self.inner.store.read()?;
            let usage = &mut lock(&self.inner.letters.usage);
            carrying::has_room(&snapshot, usage, self.contact, ROOM.1)?
        };
        if !room {
            return Ok(());
        }
        self.room_given = ROOM;
        let (count, bytes) = ROOM;
        self.say(Frame::Room { count, bytes }).await
    }

    async fn keep(&mut self, envelope: &[u8]) -> Result<(), Stop> {
        let bytes = envelope.len() as u64;
        if self.room_given.0 == 0 || self.room_given.1 < bytes {
            return Err(Stop::Misbehaved("more to carry than there is room for"));
        }
        self.room_given.0 -= 1;
        self.room_given.1 -= bytes;
        let envelope = Envelope::decode(envelope)
            .map_err(|_| Stop::Misbehaved("what it gave to carry is no letter"))?;
        let receipt = envelope.outside().receipt;
        let (usage, contact, now) = (self.inner.letters.usage.clone(), self.contact, clock::now());
        let kept = self
            .inner
            .store
            .write(move |txn| {
                let usage = &mut lock(&usage);
                carrying::keep(txn, usage, contact, &envelope, now)
            })
            .await?;
        if !kept {
            return Ok(());
        }
        self.say(Frame::Kept(vec![receipt])).await?;
        self.room_given.0 += 1;
        self.room_given.1 += bytes;
        self.say(Frame::Room { count: 1, bytes }).await?;
        self.inner.tell_letters();
        Ok(())
    }

    // What they carry for us.

    /// Hands letters over, as far as there is room.
    async fn hand_over(&mut self) -> Result<(), Stop> {
        if self.room.0 == 0 {
            return Ok(());
        }
        let online: BTreeSet<_> = {
            let meetings = self.inner.meetings();
            let confirmed = meetings.values().filter(|meeting| meeting.is_confirmed());
            confirmed.map(|meeting| meeting.contact).collect()
        };
        let (me, room, now) = (self.me.clone(), self.room, clock::now());
        let (courier, under_way) = (
            (self.contact, self.endpoint),
            self.inner.letters.under_way.clone(),
        );
        let letters = self
            .inner
            .store
            .write(move |txn| {
                let under_way = &mut lock(&under_way);
                sealing::hand_over(txn, &me, courier, &online, under_way, room, now)
            })
            .await?;
        for letter in letters {
            let bytes = letter.envelope.len() as u64;
            if !self.handed.insert(letter.receipt) || self.room.0 == 0 || self.room.1 < bytes {
                continue;
            }
            self.room.0 -= 1;
            self.room.1 -= bytes;
            self.say(Frame::Carry(letter.envelope)).await?;
        }
        Ok(())
    }

    async fn kept(&mut self, hashes: Vec<[u8; 32]>) -> Result<(), Stop> {
        let told: Vec<_> = hashes
            .iter()
            .filter(|hash| self.telling.contains(*hash))
            .copied()
            .collect();
        let ours: Vec<_> = hashes
            .into_iter()
            .filter(|hash| self.handed.contains(hash))
            .collect();
        let (contact, kept) = (self.contact, ours.clone());
        let events = self
            .inner
            .store
            .write(move |txn| {
                carrying::told(txn, contact, &told)?;
                carrying::carried_by(txn, contact, &ours)
            })
            .await?;
        // They count as carriers now.
        self.not_under_way(|receipt| kept.contains(receipt));
        self.inner.events.emit_all(events);
        Ok(())
    }

    /// What was given here isn't on its way any more.
    fn not_under_way(&self, which: impl Fn(&[u8; 32]) -> bool) {
        lock(&self.inner.letters.under_way).retain(|receipt, given| {
            if which(receipt) {
                given.remove(&self.endpoint);
            }
            !given.is_empty()
        });
    }

    // Keys.

    /// Tells where our line stands, where that isn't known there.
    async fn tell_line(&mut self) -> Result<(), Stop> {
        let Some(device) = self.device()?.filter(|_| self.line_said.is_none()) else {
            return Ok(());
        };
        let now = clock::now();
        let told = self
            .inner
            .store
            .write(move |txn| sealing::line_to_tell(txn, device, now))
            .await?;
        let Some((next, key)) = told else {
            return Ok(());
        };
        self.line_said = Some(next);
        self.say(Frame::Line { next, key }).await
    }

    /// Sends keys, where the other side lacks some.
    async fn send_keys(&mut self) -> Result<(), Stop> {
        let Some(device) = self.device()? else {
            return Ok(());
        };
        let (me, whom, now) = (self.me.clone(), (self.contact, device), clock::now());
        let batch = self
            .inner
            .store
            .write(move |txn| keys::prekeys_for(txn, &me, whom, now))
            .await?;
        if batch.once.is_empty() && batch.last_resort.is_none() {
            return Ok(());
        }
        self.keys_out = true;
        self.inner.letters.note_expected();
        self.say(Frame::Prekeys(batch.into())).await
    }

    async fn keep_keys(&mut self, batch: Box<proto::seal::PrekeyBatch>) -> Result<(), Stop> {
        let Some(device) = self.device()? else {
            return Ok(());
        };
        let (me, whom) = (self.me.clone(), (self.contact, device));
        let kept = self
            .inner
            .store
            .write(move |txn| keys::keep_prekeys(txn, &me, whom, &batch))
            .await?;
        let Some(next) = kept else {
            return Err(Stop::Misbehaved("a key that its device didn't sign"));
        };
        self.inner
            .events
            .emit(EventKind::Sync, about_contact(self.contact));
        self.say(Frame::PrekeysKept(next)).await
    }
}
