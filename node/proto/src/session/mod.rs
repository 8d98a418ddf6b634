//! A meeting of two contacts' devices, as a machine without input or output.
//!
//! It refuses to know of sockets, disks and clocks: frames, finished imports, local changes and
//! the time come in through `handle_*`, everything to be done comes out of [`Session::poll`], and
//! entries to send out of [`Session::poll_data`], one frame whenever a stream has room. What is
//! held is read through [`SpaceStore`].
//!
//! The course: both say hello; if nothing changed since the last meeting that is all. Else they
//! find their common spaces by keyed hashes, compare a digest for each, walk down the trees that
//! differ, tell each other the frontiers there, and each asks for what it lacks. From then on
//! frontiers announce what is new. `docs/PROTOCOL.md` is the normative text.

mod channel;
mod receive;
mod serve;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use channel::{Channel, priority};
pub use receive::run_bytes;

use crate::{
    audience::Clearance,
    frame::{Control, Hello, LinkClass, OfferFrame, TAG_LEN, VERSION},
    frontier::Frontier,
    ids::{DeviceId, SpaceId},
    limits::SPACES_MAX,
    merkle::{Hash, Node, Prefix},
    space::{SpaceContext, SpaceKind},
    time::Millis,
    verify::{FeedFacts, Overlap, Reject, VerifiedRun},
    wire::WireError,
};

/// Rejections after which a session is closed: bugs show up once, attacks again and again.
pub const STRIKES_MAX: u32 = 32;
/// Searches for common spaces in one session at most.
pub const GENERATIONS_MAX: u32 = 4_096;
/// Bytes of received runs that wait for the disk; a driver stops reading data above it.
pub const IMPORT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Something asked for that made no progress for this long is asked for again, in milliseconds.
pub const STALL_MS: u64 = 15_000;
/// An announced entry is waited for this long before it is asked for, where gossip is bringing it,
/// in milliseconds. A wild guess above a LAN's round trip and a commit.
pub const GOSSIP_GRACE_MS: u64 = 60;
/// Gossip brings single entries; a feed further behind than this is asked for at once.
const GRACE_ENTRIES_MAX: u64 = 8;

/// What a session reads of the spaces. Reading is quick and consistent enough: a feed only grows,
/// or shrinks by a fork or a revocation, which the session hears of as a local change.
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
    /// The proof of a known fork.
    fn fork_proof(&self, space: SpaceId, device: DeviceId) -> Result<Option<Vec<u8>>, Self::Error>;
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

/// What a session starts with.
#[derive(Debug)]
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
    /// Compare with what is held, apply a fork, then call [`Session::handle_compared`].
    Compare {
        /// The space.
        space: SpaceId,
        /// The run.
        overlap: Overlap,
    },
    /// Check and store a fork proof, then call [`Session::handle_imported`].
    ImportFork {
        /// The space.
        space: SpaceId,
        /// The feed.
        device: DeviceId,
        /// The proof as encoded.
        proof: Vec<u8>,
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
    /// Keep these offers and the count, then call [`Session::handle_offers_kept`].
    Offers {
        /// The contact's count.
        rev: u64,
        /// The offers.
        offers: Vec<OfferFrame>,
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
/// Input: `handle_*`. Output: [`Self::poll`], [`Self::poll_data`], [`Self::next_timeout`].
#[derive(Debug)]
pub struct Session {
    dialer: bool,
    tag_key: [u8; 32],
    seed: [u8; 32],
    class: LinkClass,
    device: DeviceId,
    clearances: BTreeMap<SpaceId, (Clearance, SpaceKind)>,
    agreed: BTreeSet<SpaceId>,
    rev: u64,
    offers: Vec<OfferFrame>,
    theirs: Option<Hello>,
    own_hello: Option<Hello>,
    /// How long our own feeds were when the hello's digest was made.
    hello_bases: BTreeMap<SpaceId, u64>,
    /// The newest search that we took part in, and whether the peer answered it.
    generation: u32,
    complete: bool,
    compared: bool,
    channels: BTreeMap<u32, Channel>,
    by_space: BTreeMap<SpaceId, u32>,
    out: VecDeque<Output>,
    import_bytes: usize,
    strikes: u32,
    gossip_up: bool,
    stall_check: Option<Millis>,
    seen_rev: u64,
}

impl Session {
    /// Starts a session; the first output is our hello.
    ///
    /// # Errors
    /// The store's.
    pub fn new<S: SpaceStore>(start: Start, store: &S) -> Result<Self, S::Error> {
        let mut session = Self {
            dialer: start.dialer,
            tag_key: blake3::derive_key("waymeet 1 session", &start.exporter),
            seed: start.seed,
            class: start.class,
            device: start.device,
            clearances: start
                .clearances
                .into_iter()
                .map(|(c, kind)| (c.space(), (c, kind)))
                .collect(),
            agreed: start.agreed,
            rev: start.rev,
            offers: start.offers,
            theirs: None,
            own_hello: None,
            hello_bases: BTreeMap::new(),
            generation: 0,
            complete: false,
            compared: false,
            channels: BTreeMap::new(),
            by_space: BTreeMap::new(),
            out: VecDeque::new(),
            import_bytes: 0,
            strikes: 0,
            gossip_up: false,
            stall_check: None,
            seen_rev: start.seen_rev,
        };
        session
            .agreed
            .retain(|space| session.clearances.contains_key(space));
        for space in &session.agreed {
            let own = store.frontier(*space, session.device)?;
            session
                .hello_bases
                .insert(*space, own.map_or(0, |own| own.base));
        }
        let hello = session.hello(store, start.seen_rev)?;
        session.send(&Control::Hello(hello.clone()));
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

    /// Whether more entries may be read from the peer now.
    #[must_use]
    pub const fn accepts_data(&self) -> bool {
        self.import_bytes < IMPORT_BYTES_MAX
    }

    /// How far the meeting is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            want: self.channels.values().map(Channel::wanted_entries).sum(),
            compared: self.compared,
        }
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

    /// What is to be done next.
    ///
    /// # Errors
    /// The store's.
    pub fn poll<S: SpaceStore>(&mut self, store: &S) -> Result<Option<Output>, S::Error> {
        if self.out.is_empty() {
            self.announce(store)?;
            while self.out.is_empty() && self.list(store)? {}
        }
        Ok(self.out.pop_front())
    }

    /// What the contact may have has changed, or what we offer them. Spaces that are no longer
    /// allowed are cut off at once, before the peer is told.
    pub fn handle_audience(
        &mut self,
        clearances: Vec<(Clearance, SpaceKind)>,
        rev: u64,
        offers: Vec<OfferFrame>,
    ) {
        self.clearances = clearances
            .into_iter()
            .map(|(c, kind)| (c.space(), (c, kind)))
            .collect();
        self.channels
            .retain(|_, channel| self.clearances.contains_key(&channel.space()));
        self.by_space
            .retain(|space, _| self.clearances.contains_key(space));
        self.rev = rev;
        self.offers = offers;
        if self.theirs.is_some() && self.generation < GENERATIONS_MAX {
            self.search(self.generation + 1);
            self.send_offers();
        }
    }

    /// The contact's offers up to `rev` are kept.
    pub fn handle_offers_kept(&mut self, rev: u64) {
        self.seen_rev = rev;
        self.send(&Control::Seen { rev });
    }

    /// Whether gossip with this device works: then single new entries are waited for a moment.
    pub const fn handle_gossip_up(&mut self, up: bool) {
        self.gossip_up = up;
    }

    fn send(&mut self, frame: &Control) {
        self.out.push_back(Output::Control(frame.encode()));
    }

    fn reject<E>(&mut self, reject: Reject) -> Result<(), Fatal<E>> {
        self.out.push_back(Output::Rejected(reject));
        self.strikes += 1;
        if self.strikes >= STRIKES_MAX {
            Err(Fatal::Misbehaving)
        } else {
            Ok(())
        }
    }

    fn hello<S: SpaceStore>(&self, store: &S, seen_rev: u64) -> Result<Hello, S::Error> {
        let mut ids = blake3::Hasher::new_keyed(&self.tag_key);
        let mut digests = blake3::Hasher::new_keyed(&self.tag_key);
        for space in &self.agreed {
            ids.update(&space.0);
            digests.update(&space.0).update(&store.digest(*space)?);
        }
        let mut agreed = [0; 16];
        ids.finalize_xof().fill(&mut agreed);
        let digest = *digests.finalize().as_bytes();
        Ok(Hello {
            version: VERSION,
            features: 0,
            class: self.class,
            rev: self.rev,
            seen_rev,
            agreed,
            digest,
        })
    }

    fn handle_hello<S: SpaceStore>(
        &mut self,
        hello: Hello,
        store: &S,
    ) -> Result<(), Fatal<S::Error>> {
        if hello.version < VERSION {
            return Err(Fatal::Version(hello.version));
        }
        let Some(own) = self.own_hello.clone().filter(|_| self.theirs.is_none()) else {
            return Err(Fatal::Order("a second hello"));
        };
        if hello.class == LinkClass::Slow {
            self.class = LinkClass::Slow;
        }
        self.theirs = Some(hello.clone());
        let same_spaces =
            own.agreed == hello.agreed && own.rev == hello.seen_rev && own.seen_rev == hello.rev;
        if !same_spaces {
            self.search(1);
            if own.rev != hello.seen_rev {
                self.send_offers();
            }
            return Ok(());
        }
        self.open_channels(self.agreed.clone());
        self.complete = true;
        if own.digest == hello.digest {
            self.compared = true;
            for (space, base) in std::mem::take(&mut self.hello_bases) {
                self.equal(space, base);
            }
            return Ok(());
        }
        self.send_digests(store).map_err(Fatal::Store)
    }

    fn send_offers(&mut self) {
        let frame = Control::Offers {
            rev: self.rev,
            offers: self.offers.clone(),
        };
        self.send(&frame);
    }

    /// Begins a search for common spaces, or answers one.
    fn search(&mut self, generation: u32) {
        self.generation = generation;
        self.complete = false;
        let mut tags: Vec<_> = self
            .clearances
            .keys()
            .map(|space| self.tag(self.dialer, generation, *space))
            .collect();
        let class = [16, 64, 256, SPACES_MAX]
            .into_iter()
            .find(|class| *class >= tags.len())
            .unwrap_or(tags.len());
        let mut padding = blake3::Hasher::new_keyed(&self.seed)
            .update(&generation.to_be_bytes())
            .finalize_xof();
        while tags.len() < class {
            let mut tag = [0; TAG_LEN];
            padding.fill(&mut tag);
            tags.push(tag);
        }
        tags.sort_unstable();
        self.send(&Control::Spaces { generation, tags });
    }

    /// The keyed hash of a space's id as one side sends it. The role keeps an echo from proving anything.
    fn tag(&self, by_dialer: bool, generation: u32, space: SpaceId) -> [u8; TAG_LEN] {
        let mut tag = [0; TAG_LEN];
        blake3::Hasher::new_keyed(&self.tag_key)
            .update(&[u8::from(by_dialer)])
            .update(&generation.to_be_bytes())
            .update(&space.0)
            .finalize_xof()
            .fill(&mut tag);
        tag
    }

    fn handle_spaces<S: SpaceStore>(
        &mut self,
        generation: u32,
        tags: &[[u8; TAG_LEN]],
        store: &S,
    ) -> Result<(), Fatal<S::Error>> {
        if generation == 0 || generation > GENERATIONS_MAX {
            return Err(Fatal::Order("a search for spaces out of range"));
        }
        if generation < self.generation || (generation == self.generation && self.complete) {
            return Ok(());
        }
        if generation > self.generation {
            self.search(generation);
        }
        let tags: BTreeSet<_> = tags.iter().collect();
        let common: BTreeSet<SpaceId> = self
            .clearances
            .keys()
            .filter(|space| tags.contains(&self.tag(!self.dialer, generation, **space)))
            .copied()
            .collect();
        self.complete = true;
        self.open_channels(common.clone());
        self.out.push_back(Output::Common(common));
        self.send_digests(store).map_err(Fatal::Store)
    }

    /// Channels are numbered by the sorted ids of the common spaces, apart for each search.
    fn open_channels(&mut self, spaces: BTreeSet<SpaceId>) {
        let first = self.generation * SPACES_MAX as u32;
        self.channels.clear();
        self.by_space.clear();
        for (channel, space) in (first..).zip(spaces) {
            if let Some((clearance, kind)) = self.clearances.get(&space) {
                self.channels
                    .insert(channel, Channel::new(*clearance, *kind));
                self.by_space.insert(space, channel);
            }
        }
    }

    fn send_digests<S: SpaceStore>(&mut self, store: &S) -> Result<(), S::Error> {
        let digests = self
            .channels
            .values()
            .map(|channel| store.digest(channel.space()))
            .collect::<Result<_, _>>()?;
        self.send(&Control::Digests {
            generation: self.generation,
            digests,
        });
        Ok(())
    }

    fn handle_digests<S: SpaceStore>(
        &mut self,
        generation: u32,
        digests: &[Hash],
        store: &S,
    ) -> Result<(), Fatal<S::Error>> {
        if generation != self.generation || !self.complete {
            return Ok(());
        }
        if digests.len() != self.channels.len() {
            return Err(Fatal::Order("digests for other spaces than are common"));
        }
        let mut nodes = Vec::new();
        let mut equal = Vec::new();
        for ((channel, state), theirs) in self.channels.iter().zip(digests) {
            if store.digest(state.space()).map_err(Fatal::Store)? == *theirs {
                let own = store
                    .frontier(state.space(), self.device)
                    .map_err(Fatal::Store)?;
                equal.push((state.space(), own.map_or(0, |own| own.base)));
            } else {
                let node = store
                    .node(state.space(), &Prefix::root())
                    .map_err(Fatal::Store)?;
                nodes.push(Control::Node {
                    channel: *channel,
                    prefix: Prefix::root(),
                    node,
                });
            }
        }
        self.compared = true;
        for (space, base) in equal {
            self.equal(space, base);
        }
        for node in nodes {
            self.send(&node);
        }
        Ok(())
    }

    /// Both sides hold the same of a space; `base` is how long our own feed was when it was compared.
    fn equal(&mut self, space: SpaceId, base: u64) {
        self.out.push_back(Output::Equal(space));
        self.out.push_back(Output::PeerHolds { space, base });
    }

    /// The channel of a space for a gossip message: (tag of this meeting and search, channel).
    #[must_use]
    pub fn gossip_channel(&self, space: SpaceId) -> Option<([u8; 8], u32)> {
        let channel = *self.by_space.get(&space)?;
        Some((self.gossip_tag(), channel))
    }

    fn gossip_tag(&self) -> [u8; 8] {
        let mut tag = [0; 8];
        blake3::Hasher::new_keyed(&self.tag_key)
            .update(b"gossip")
            .update(&self.generation.to_be_bytes())
            .finalize_xof()
            .fill(&mut tag);
        tag
    }
}
