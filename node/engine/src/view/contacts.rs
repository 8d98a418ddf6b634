//! People: invites, contacts, introductions, who is near, and what a contact may bring.

use proto::{IdentityId, Millis, SpaceId};

use super::{Behind, Connected, Exchanged, LinkKind, Person, SpaceKind, Trust};

/// What a new invite should be.
#[derive(Debug, Clone, Default)]
pub struct NewInvite {
    /// How many people may use it: 1 by default; more need an accept each.
    pub uses: Option<u32>,
    /// Seconds until it expires: 48 hours by default.
    pub expires_in_s: Option<u64>,
    /// A note to ourselves.
    pub note: Option<String>,
}

/// An invite that we made.
#[derive(Debug, Clone)]
pub struct Invite {
    /// Local id.
    pub id: String,
    /// The link, `waymeet:…`.
    pub link: String,
    /// When it ends.
    pub expires_ms: Millis,
    /// When it was made.
    pub created_ms: Millis,
    /// Uses allowed.
    pub uses: u32,
    /// Uses so far.
    pub used: u32,
    /// The note.
    pub note: String,
    /// Who used it.
    pub used_by: Vec<Person>,
    /// Somebody else tried the link after its last use.
    pub tried_again: bool,
    /// The link works on this network only, because the internet link is off.
    pub local_only: bool,
}

/// How far a contact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContactState {
    /// We used their link and wait for their answer.
    Pending,
    /// They used our link and wait for our answer.
    Asks,
    /// A contact.
    Ready,
}

/// A contact.
#[derive(Debug, Clone)]
pub struct Contact {
    /// The identity. For a pending contact whose identity isn't known yet it is derived from the invite.
    pub id: IdentityId,
    /// The name that they gave themselves.
    pub name: String,
    /// Our private name for them.
    pub nickname: Option<String>,
    /// How sure we are.
    pub trust: Trust,
    /// Who introduced them, as long as nobody has compared anything since.
    pub introduced_by: Option<Person>,
    /// How far it is.
    pub state: ContactState,
    /// Connected now.
    pub online: bool,
    /// Over which link, when online; else over which the last meeting was.
    pub link: Option<LinkKind>,
    /// Round trip of the connection in microseconds, when online.
    pub rtt_us: Option<u64>,
    /// The connection, when online.
    pub connected: Option<Connected>,
    /// When we met last.
    pub last_met_ms: Option<Millis>,
    /// When they were added.
    pub added_ms: Millis,
    /// Entries of our common spaces: held by us, and held in all by us or them.
    pub behind: Behind,
    /// Entries received from and sent to them since the start of the program.
    pub exchanged: Exchanged,
    /// What came in through them and how much may.
    pub quota: Quota,
    /// Another contact bears this name.
    pub same_name: bool,
    /// Why the last attempt to reach them failed, in words.
    pub last_error: Option<String>,
}

/// What somebody said to an introduction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntroductionAnswer {
    /// Nothing yet.
    Waiting,
    /// Yes.
    Yes,
    /// Not now.
    No,
}

/// How far an introduction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntroductionState {
    /// It waits for our answer.
    Asks,
    /// It waits for others' answers.
    Waits,
    /// Both said yes: their devices have to meet once.
    Meets,
    /// They are contacts; of one that we made, both said yes.
    Done,
    /// Somebody said no.
    Declined,
    /// It is too old.
    Expired,
}

/// An introduction that we made between two contacts, or that a contact made for us.
#[derive(Debug, Clone)]
pub struct Introduction {
    /// The same on all three nodes.
    pub id: String,
    /// We made it.
    pub made: bool,
    /// Who introduces.
    pub by: Person,
    /// Who is introduced; we, where we didn't make it.
    pub one: Person,
    /// To whom.
    pub other: Person,
    /// What the introducer says about it; may be empty.
    pub message: String,
    /// When it was made, or came.
    pub at_ms: Millis,
    /// Until when it can be answered and carried out.
    pub expires_ms: Millis,
    /// What the one said.
    pub one_says: IntroductionAnswer,
    /// What the other said.
    pub other_says: IntroductionAnswer,
    /// How far it is.
    pub state: IntroductionState,
}

/// Meeting somebody nearby.
#[derive(Debug, Clone)]
pub struct Nearby {
    /// Until when this node is visible to others nearby; `None` where it isn't.
    pub until_ms: Option<Millis>,
    /// This node has an address on a local network.
    pub has_network: bool,
    /// This node has a Bluetooth adapter that is in use.
    pub has_radio: bool,
    /// More tried to connect than there is room for, and were left out.
    pub crowded: bool,
    /// Devices whose words aren't there yet.
    pub connecting: u64,
    /// Who is there, in the order in which they came; after it was closed, who was.
    pub people: Vec<NearbyPerson>,
}

/// Somebody nearby.
#[derive(Debug, Clone)]
pub struct NearbyPerson {
    /// Local id, of this try: the same person who comes again has another.
    pub id: String,
    /// The name that they chose. Anybody can choose it.
    pub name: String,
    /// What both see alike, if nobody sits in between.
    pub words: [&'static str; 3],
    /// How far it is.
    pub stage: NearbyStage,
}

/// How far it is with somebody nearby.
#[derive(Debug, Clone)]
pub enum NearbyStage {
    /// The people compare their words.
    Comparing {
        /// We said that they are the same.
        we_accept: bool,
        /// They did.
        they_accept: bool,
    },
    /// They are a contact.
    Done {
        /// Who.
        contact: IdentityId,
        /// They were one before.
        known: bool,
        /// Their node said that it has us.
        confirmed: bool,
    },
    /// It came to nothing, in words.
    Ended(String),
}

/// Bytes on the disk that came in through a contact's devices, whoever wrote them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// How many came in.
    pub used_bytes: u64,
    /// How many may. Beyond it only private messages are taken, within a small reserve.
    pub limit_bytes: u64,
}

impl Quota {
    /// The most that can be set: a terabyte disk's worth.
    pub const LIMIT_BYTES_MAX: u64 = 1 << 40;

    /// Whether nothing more is taken but private messages.
    #[must_use]
    pub const fn is_used_up(&self) -> bool {
        self.used_bytes >= self.limit_bytes
    }
}

/// How much of one space came in through a contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpaceUsage {
    /// The space.
    pub space: SpaceId,
    /// Its kind.
    pub kind: SpaceKind,
    /// Its name: a blog's is its author's, a conversation's the counterpart's.
    pub name: String,
    /// Bytes.
    pub bytes: u64,
}

/// A change of a contact; `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct ContactPatch {
    /// Our private name; an empty one removes it.
    pub nickname: Option<String>,
    /// The trust mark.
    pub trust: Option<Trust>,
    /// Bytes that may come in through them, at most [`Quota::LIMIT_BYTES_MAX`].
    pub quota_bytes: Option<u64>,
}
