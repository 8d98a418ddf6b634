//! A meeting of two contacts' devices, as a machine without input or output.
//!
//! It refuses to know of sockets, disks and clocks: frames, finished imports, local changes and
//! the time come in through `handle_*`, everything to be done comes out of [`Session::poll`], and
//! entries to send out of [`Session::poll_data`], one frame whenever a stream has room. What is
//! held is read through [`SpaceStore`].
//!
//! The time that it is given measures waits only, so it should be one that doesn't jump, whatever
//! the wall clock does.
//!
//! What the peer makes us say is kept as sets of feeds and subtrees, and becomes frames only when
//! they can be sent: so a peer that asks and never reads costs a bounded amount of memory, and
//! nobody has to stop reading because nobody reads.
//!
//! The course: both say hello; if nothing changed since the last meeting that is all. Else they
//! find their common spaces by keyed hashes, compare a digest for each, walk down the trees that
//! differ, tell each other the frontiers there, and each asks for what it lacks. From then on
//! frontiers announce what is new. `docs/PROTOCOL.md` is the normative text.

mod channel;
mod claims;
mod ends;
pub(crate) mod key;
mod plan;
mod receive;
mod search;
mod serve;
mod stored;
mod tail;
mod tell;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use channel::Channel;
use key::SessionKey;
use stored::Pending;
use tail::Pace;

pub use self::{ends::EndProof, receive::run_bytes};
use crate::{
    audience::Clearance,
    body::rule::Removal,
    frame::{Hello, LinkClass, OfferFrame, VERSION, Whereabouts},
    frontier::Frontier,
    ids::{DeviceId, SpaceId},
    limits::{FEEDS_PER_SPACE_MAX, SPACES_MAX},
    merkle::{Hash, Node, Prefix},
    space::{SpaceContext, SpaceKind},
    time::Millis,
    verify::{FeedFacts, Overlap, Reject, VerifiedRun, VerifiedTail},
    wire::WireError,
};

/// Rejections after which a session is closed: bugs show up once, attacks again and again.
pub const STRIKES_MAX: u32 = 32;
/// Searches for common spaces in one session at most: each numbers its channels apart in 32 bits.
pub const GENERATIONS_MAX: u32 = u32::MAX / SPACES_MAX as u32 - 1;
/// Bytes of received runs that wait for the disk; a driver stops reading data above it.
pub const IMPORT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Frontiers of the peer that a session remembers, over all its spaces: one space of the largest
/// size. What is above that is looked at in the next meeting.
pub const THEIRS_MAX: usize = FEEDS_PER_SPACE_MAX;
/// Bodies that a peer may have asked for and not got yet, over all spaces of a session.
pub const BODY_QUEUE_MAX: usize = 4_096;
/// Feeds of a space that wait for gossip at once; further ones are asked for.
const GRACE_FEEDS_MAX: usize = 256;
/// Something asked for that made no progress for this long is asked for again, in milliseconds.
pub const STALL_MS: u64 = 15_000;
/// An announced entry is waited for this long before it is asked for, where gossip is bringing it,
/// in milliseconds. A wild guess above a LAN's round trip and a commit.
pub const GOSSIP_GRACE_MS: u64 = 60;
/// Gossip brings single entries; a feed further behind than this is asked for at once.
const GRACE_ENTRIES_MAX: u64 = 8;

/// What a session reads of the spaces. Reading is quick and consistent enough: a feed only grows,
/// or shrinks by what ends it, which the session hears of as a local change.
pub trait SpaceStore {
    /// Why reading failed: ours, not the peer's.
    type Error;

    /// What entries of a space are checked against; `None` where it isn't held.
    fn context(&self, space: SpaceId) -> Result<Option<SpaceContext>, Self::Error>;
    /// The root of a space's tree of feeds.
    fn digest(&self, space: SpaceId) -> Result<Hash, Self::Error>;
    /// A subtree of it.
    fn node(&self, space: SpaceId, prefix: &Prefix) -> Result<Node, Self::Error>;
    /// One feed's frontier; `None` where nothing is held.
    fn frontier(&self, space: SpaceId, device: DeviceId) -> Result<Option<Frontier>, Self::Error>;
    /// Frontiers of a subtree by device, after `after`, at most `limit`.
    fn frontiers(
        &self,
        space: SpaceId,
        prefix: &Prefix,
        after: Option<DeviceId>,
        limit: usize,
    ) -> Result<Vec<Frontier>, Self::Error>;
    /// What is known of a feed, for checking what continues it.
    fn facts(&self, space: SpaceId, device: DeviceId) -> Result<FeedFacts, Self::Error>;
    /// An encoded run from `from` to the next signed entry; `None` where nothing is held from there on.
    fn run(
        &self,
        space: SpaceId,
        device: DeviceId,
        from: u64,
    ) -> Result<Option<ServedRun>, Self::Error>;
    /// An encoded run of the entries just below the range's end, or of the newest where that is
    /// `None`: none below its start, and no more than `bytes_max` bytes of bodies and one entry.
    /// `None` where nothing of that is held, and for a feed that has ended.
    fn tail(
        &self,
        space: SpaceId,
        device: DeviceId,
        range: (u64, Option<u64>),
        bytes_max: usize,
    ) -> Result<Option<ServedTail>, Self::Error>;
    /// What ended a feed: a revocation or a removal where one is in force, else the proof of a known fork.
    fn end_proof(&self, space: SpaceId, device: DeviceId) -> Result<Option<EndProof>, Self::Error>;
    /// Whether a removal that holds counts in a circle, as far as is known who owned it.
    fn counts(&self, space: SpaceId, removal: &Removal) -> Result<bool, Self::Error>;
    /// A body that is held.
    fn body(
        &self,
        space: SpaceId,
        device: DeviceId,
        seq: u64,
    ) -> Result<Option<Vec<u8>>, Self::Error>;
    /// Places of missing bodies, at most `limit`.
    fn holes(
        &self,
        space: SpaceId,
        device: DeviceId,
        limit: usize,
    ) -> Result<Vec<u64>, Self::Error>;
}

/// A run as the store hands it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedRun {
    /// As encoded.
    pub bytes: Vec<u8>,
    /// Place behind its last entry.
    pub end: u64,
}

/// Entries above a gap as the store hands them out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedTail {
    /// A run as encoded.
    pub bytes: Vec<u8>,
    /// Place of its first entry.
    pub start: u64,
    /// Entries in it.
    pub entries: u64,
}

/// What a session starts with.
pub struct Start {
    /// This side opened the connection.
    pub dialer: bool,
    /// 32 bytes from the connection's keying material exporter, the same on both sides.
    pub exporter: [u8; 32],
    /// 32 random bytes for padding.
    pub seed: [u8; 32],
    /// How fast the link is.
    pub class: LinkClass,
    /// This device.
    pub device: DeviceId,
    /// What the contact may have, by the audience rule.
    pub clearances: Vec<(Clearance, SpaceKind)>,
    /// Spaces found common at the last meeting with this device.
    pub agreed: BTreeSet<SpaceId>,
    /// Our count of changes to what we allow and offer this contact.
    pub rev: u64,
    /// The contact's count that we know.
    pub seen_rev: u64,
    /// Offers that wait for the contact.
    pub offers: Vec<OfferFrame>,
    /// How our device is found, where the contact doesn't know it yet.
    pub whereabouts: Whereabouts,
}

impl std::fmt::Debug for Start {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Start(..)")
    }
}

/// Which stream a frame belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// The control stream.
    Control,
    /// A space's stream, by channel.
    Space(u32),
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send a frame on the control stream.
    Control(Vec<u8>),
    /// Store a run, then call [`Session::handle_imported`].
    Import {
        /// The space.
        space: SpaceId,
        /// The entries.
        run: VerifiedRun,
    },
    /// Store entries above a gap, then call [`Session::handle_imported`].
    ImportTail {
        /// The space.
        space: SpaceId,
        /// The entries.
        tail: VerifiedTail,
    },
    /// Compare with what is held, apply a fork, then call [`Session::handle_compared`].
    Compare {
        /// The space.
        space: SpaceId,
        /// The run.
        overlap: Overlap,
    },
    /// Check and store what ends a feed, then call [`Session::handle_imported`].
    ImportEnd {
        /// The space.
        space: SpaceId,
        /// The feed.
        device: DeviceId,
        /// What ends it.
        proof: EndProof,
    },
    /// Check and store a body, then call [`Session::handle_imported`].
    Fill {
        /// The space.
        space: SpaceId,
        /// The feed.
        device: DeviceId,
        /// Place in it.
        seq: u64,
        /// The body.
        body: Vec<u8>,
    },
    /// These spaces are common: remember them, with the contact's count once its offers are kept.
    Common(BTreeSet<SpaceId>),
    /// Keep these offers, how it is found and the count, then call [`Session::handle_offers_kept`].
    Offers {
        /// The contact's count.
        rev: u64,
        /// The offers.
        offers: Vec<OfferFrame>,
        /// How the contact's device is found from now on.
        whereabouts: Whereabouts,
    },
    /// The contact kept our offers up to this count.
    SeenBy {
        /// Our count.
        rev: u64,
    },
    /// Both sides hold the same of this space.
    Equal(SpaceId),
    /// The contact's device holds this much of our own feed in a space.
    PeerHolds {
        /// The space.
        space: SpaceId,
        /// Entries from the first.
        base: u64,
    },
    /// Something of the peer's was dropped.
    Rejected(Reject),
}

/// What a session asks the peer for. What this device wrote itself is asked for in any case: a
/// disk that lost it would contradict itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fetch {
    /// Everything that is lacking here.
    #[default]
    All,
    /// Private messages only.
    Conversations,
    /// Nothing.
    Nothing,
}

impl Fetch {
    const fn takes(self, kind: SpaceKind) -> bool {
        match self {
            Self::All => true,
            Self::Conversations => matches!(kind, SpaceKind::Conversation),
            Self::Nothing => false,
        }
    }
}

/// A frame with entries, to be sent on a space's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFrame {
    /// The permission to send it.
    pub clearance: Clearance,
    /// The stream.
    pub channel: u32,
    /// Higher goes first.
    pub priority: i32,
    /// The frame.
    pub bytes: Vec<u8>,
    /// Entries in it.
    pub entries: u64,
    /// Nothing follows on this stream for now.
    pub last: bool,
}

/// Why a session has to end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fatal<E> {
    /// The peer's control frame can't be read.
    #[error("a frame can't be read: {0}")]
    Frame(WireError),
    /// The peer's frame doesn't belong here.
    #[error("a frame came out of order: {0}")]
    Order(&'static str),
    /// The peer speaks another protocol.
    #[error(
        "the other side speaks version {0} of the sync protocol, this program {VERSION}: update the older one"
    )]
    Version(u16),
    /// Too many rejections.
    #[error("the other side sent {STRIKES_MAX} things that had to be refused")]
    Misbehaving,
    /// Our own store failed.
    #[error("the store failed")]
    Store(E),
}

impl<E> From<WireError> for Fatal<E> {
    fn from(error: WireError) -> Self {
        Self::Frame(error)
    }
}

/// How far a meeting is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Entries that the peer has and we lack, as far as known.
    pub want: u64,
    /// Both sides have compared everything.
    pub compared: bool,
}

/// A meeting. See the module's text for its use.
///
/// Getters: [`Self::progress`], [`Self::accepts_data`], [`Self::common`], [`Self::gossip_channel`].
/// Input: `handle_*`. Output: [`Self::poll`], [`Self::poll_work`], [`Self::poll_data`],
/// [`Self::next_timeout`].
pub struct Session {
    dialer: bool,
    key: SessionKey,
    seed: [u8; 32],
    class: LinkClass,
    device: DeviceId,
    clearances: BTreeMap<SpaceId, (Clearance, SpaceKind)>,
    agreed: BTreeSet<SpaceId>,
    rev: u64,
    seen_rev: u64,
    offers: Vec<OfferFrame>,
    whereabouts: Whereabouts,
    theirs: Option<Hello>,
    own_hello: Option<Hello>,
    /// How long our own feeds were when the hello's digest was made.
    hello_bases: BTreeMap<SpaceId, u64>,
    /// What our hello said is no longer true, so the spaces have to be searched for.
    hello_stale: bool,
    /// The newest search that we took part in, and whether the peer answered it.
    generation: u32,
    complete: bool,
    /// The search whose digests the peer told.
    digested: Option<u32>,
    compared: bool,
    channels: BTreeMap<u32, Channel>,
    by_space: BTreeMap<SpaceId, u32>,
    /// What is to be told of the whole meeting.
    say: Say,
    /// What is to be done here.
    work: VecDeque<Output>,
    pending: Pending,
    /// The common spaces that were told last, so that they aren't stored again.
    stored_common: Option<BTreeSet<SpaceId>>,
    /// Offers that came while earlier ones are being stored.
    offers_waiting: Option<(u64, Vec<OfferFrame>, Whereabouts)>,
    offers_storing: bool,
    /// The highest of our counts that the peer said to have kept.
    acked_rev: u64,
    strikes: u32,
    fetch: Fetch,
    gossip_up: bool,
    stall_check: Option<Millis>,
    pace: Pace,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("generation", &self.generation)
            .field("compared", &self.compared)
            .finish_non_exhaustive()
    }
}

/// Control frames that aren't about one space, said once however often they fall due.
#[derive(Debug, Default)]
struct Say {
    hello: Option<Hello>,
    spaces: bool,
    digests: bool,
    offers: bool,
    seen: bool,
}

impl Session {
    /// Starts a session; the first output is our hello.
    ///
    /// # Errors
    /// The store's.
    pub fn new<S: SpaceStore>(start: Start, store: &S) -> Result<Self, S::Error> {
        let clearances = by_space(start.clearances);
        let mut agreed = start.agreed;
        agreed.retain(|space| clearances.contains_key(space));
        let mut hello_bases = BTreeMap::new();
        for space in &agreed {
            let own = store.frontier(*space, start.device)?;
            hello_bases.insert(*space, own.map_or(0, |own| own.base));
        }
        let mut session = Self {
            dialer: start.dialer,
            key: SessionKey::new(&start.exporter),
            seed: start.seed,
            class: start.class,
            device: start.device,
            clearances,
            agreed,
            rev: start.rev,
            seen_rev: start.seen_rev,
            offers: start.offers,
            whereabouts: start.whereabouts,
            theirs: None,
            own_hello: None,
            hello_bases,
            hello_stale: false,
            generation: 0,
            complete: false,
            digested: None,
            compared: false,
            channels: BTreeMap::new(),
            by_space: BTreeMap::new(),
            say: Say::default(),
            work: VecDeque::new(),
            pending: Pending::default(),
            stored_common: None,
            offers_waiting: None,
            offers_storing: false,
            acked_rev: 0,
            strikes: 0,
            fetch: Fetch::All,
            gossip_up: false,
            stall_check: None,
            pace: Pace::default(),
        };
        let hello = session.hello(store)?;
        session.say.hello = Some(hello.clone());
        session.own_hello = Some(hello);
        Ok(session)
    }

    /// Spaces that both sides hold, as far as found.
    #[must_use]
    pub fn common(&self) -> BTreeSet<SpaceId> {
        self.by_space.keys().copied().collect()
    }

    /// Entries of a feed that the peer said to hold; 0 where it didn't say.
    #[must_use]
    pub fn peer_base(&self, space: SpaceId, device: DeviceId) -> u64 {
        let channel = self
            .by_space
            .get(&space)
            .and_then(|channel| self.channels.get(channel));
        channel
            .and_then(|state| state.theirs.get(&device))
            .map_or(0, |frontier| frontier.base)
    }

    /// Whether more may be read from the peer now. False only while things wait for the disk, so
    /// it becomes true again without the peer's doing.
    #[must_use]
    pub const fn accepts_data(&self) -> bool {
        self.pending.bytes() < IMPORT_BYTES_MAX
    }

    /// Bytes that wait for the disk, at most [`IMPORT_BYTES_MAX`] and one frame.
    #[must_use]
    pub const fn waiting_bytes(&self) -> usize {
        self.pending.bytes()
    }

    /// Frontiers of the peer that are remembered, unusual ones twice: at most [`THEIRS_MAX`].
    /// Each takes some 250 bytes with what it leads to.
    #[must_use]
    pub fn claims(&self) -> usize {
        self.channels
            .values()
            .map(|state| state.theirs.count())
            .sum()
    }

    /// How far the meeting is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            want: self.channels.values().map(Channel::lack).sum(),
            compared: self.compared,
        }
    }

    /// Bytes of memory that the session takes for its contact, near enough: its sets, and what
    /// waits for the disk and isn't handed out yet.
    #[must_use]
    pub fn size(&self) -> usize {
        let work = self.work.iter().map(|output| match output {
            Output::Import { run, .. } => run_bytes(run),
            Output::ImportTail { tail, .. } => tail.size(),
            Output::Compare { overlap, .. } => overlap.bytes(),
            Output::ImportEnd { proof, .. } => proof.bytes().len(),
            Output::Fill { body, .. } => body.len(),
            _ => 0,
        });
        size_of::<Self>()
            + self.channels.values().map(Channel::size).sum::<usize>()
            + self.clearances.len() * 128
            + self.offers.len() * 256
            + self.work.len() * size_of::<Output>()
            + work.sum::<usize>()
            + self.pending.size()
    }

    /// What the peer's hello says that it can, beyond this version; nothing before it came.
    #[must_use]
    pub fn peer_features(&self) -> u32 {
        self.theirs.as_ref().map_or(0, |hello| hello.features)
    }

    /// The space of a channel; `None` where the channel isn't open.
    #[must_use]
    pub fn space_of(&self, channel: u32) -> Option<SpaceId> {
        self.channels.get(&channel).map(Channel::space)
    }

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Millis> {
        let deferred = self
            .channels
            .values()
            .filter_map(Channel::next_deferred)
            .min();
        [deferred, self.stall_check].into_iter().flatten().min()
    }

    /// What is to be done next: first what is to be stored, then what is to be said.
    ///
    /// # Errors
    /// The store's.
    pub fn poll<S: SpaceStore>(&mut self, store: &S) -> Result<Option<Output>, S::Error> {
        if let Some(work) = self.poll_work() {
            return Ok(Some(work));
        }
        Ok(self.next_control(store)?.map(Output::Control))
    }

    /// What is to be done next here, without anything to send: for while the control stream is
    /// full. If what came in were not stored until the peer reads, two nodes could wait for each other.
    #[must_use]
    pub fn poll_work(&mut self) -> Option<Output> {
        self.work.pop_front()
    }

    /// Whether gossip with this device works: then single new entries are waited for a moment.
    pub const fn handle_gossip_up(&mut self, up: bool) {
        self.gossip_up = up;
    }

    /// The channel of a space for a gossip message: (tag of this meeting and search, channel).
    #[must_use]
    pub fn gossip_channel(&self, space: SpaceId) -> Option<([u8; 8], u32)> {
        let channel = *self.by_space.get(&space)?;
        Some((self.key.gossip(self.generation), channel))
    }

    /// Counts what was dropped. What honest nodes cause too is no offence.
    fn reject<E>(&mut self, reject: Reject) -> Result<(), Fatal<E>> {
        self.strikes += u32::from(reject.is_fault());
        self.work.push_back(Output::Rejected(reject));
        if self.strikes >= STRIKES_MAX {
            Err(Fatal::Misbehaving)
        } else {
            Ok(())
        }
    }
}

fn by_space(clearances: Vec<(Clearance, SpaceKind)>) -> BTreeMap<SpaceId, (Clearance, SpaceKind)> {
    let cleared = clearances.into_iter();
    cleared
        .map(|(clearance, kind)| (clearance.space(), (clearance, kind)))
        .collect()
}
