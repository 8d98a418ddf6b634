//! What the engine shows to a dashboard, an API or a command: plain values, already decided.

use std::net::SocketAddr;

mod conversations;
mod links;

use proto::{DeviceId, EndpointId, EntryId, IdentityId, Millis, SpaceId};

pub use self::conversations::{ConversationSetting, Disappearing, Disappears, Keeping, Receipts};
pub use self::links::{
    AdapterState, Behind, Bluetooth, BluetoothRefused, Connected, Encounters, Exchanged, LinkKind,
    LinkStatus, LinkUse, Meeting, MeetingEnd, Pace,
};
pub use crate::config::Internet;

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items, in the list's own order.
    pub items: Vec<T>,
    /// Where the next page starts; `None` at the end.
    pub next: Option<Cursor>,
}

/// Which part of a list is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageQuery {
    /// Where to start; `None` is the beginning.
    pub cursor: Option<Cursor>,
    /// Items at most, 1 to 500.
    pub limit: usize,
}

impl Default for PageQuery {
    fn default() -> Self {
        Self {
            cursor: None,
            limit: 100,
        }
    }
}

/// An opaque, URL-safe place in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(pub String);

/// A person as a page names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The identity.
    pub id: IdentityId,
    /// Our nickname for them, else the name that they gave themselves.
    pub name: String,
    /// The name that they gave themselves, when a nickname hides it.
    pub own_name: Option<String>,
    /// What they are to us.
    pub relation: Relation,
}

/// What a person is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// This node's own identity.
    Own,
    /// A contact, and how far we trust that the key is theirs.
    Contact(Trust),
    /// Somebody who was let in by others.
    Stranger,
}

/// How sure we are that a contact's key is theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Added by a link; nobody compared anything.
    Unverified,
    /// A mutual contact introduced us.
    Introduced,
    /// Words compared.
    Words,
    /// Met face to face.
    Verified,
}

/// The node in one look.
#[derive(Debug, Clone)]
pub struct Status {
    /// The program's version.
    pub version: &'static str,
    /// `None` before set-up.
    pub identity: Option<Person>,
    /// This device; `None` before set-up.
    pub device: Option<DeviceId>,
    /// The links and their state.
    pub links: Vec<LinkStatus>,
    /// How much there is.
    pub counts: Counts,
    /// The disk below it.
    pub disk: Disk,
}

/// What the doctor saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckUp {
    /// Spaces looked at.
    pub spaces: u64,
    /// Feeds.
    pub feeds: u64,
    /// Entries, each by its hash.
    pub entries: u64,
    /// Signatures, each of which vouches for the entries before it.
    pub signatures: u64,
    /// Bodies that are missing and asked for: no fault.
    pub missing: u64,
    /// Contacts and other records.
    pub records: u64,
    /// What is wrong, as far as it is described.
    pub findings: Vec<Finding>,
    /// Findings in all.
    pub found: u64,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// In which space.
    pub space: Option<SpaceId>,
    /// In whose feed.
    pub device: Option<DeviceId>,
    /// What was expected and what was found.
    pub what: String,
    /// What to do.
    pub remedy: &'static str,
}

/// The disk below the data folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// How it is.
    pub state: DiskState,
    /// Bytes that are free; `None` where nobody can say.
    pub free_bytes: Option<u64>,
    /// With less, others' entries are not fetched.
    pub free_min_bytes: u64,
}

/// How a disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskState {
    /// All is well.
    Fine,
    /// Less is free than should be.
    Low,
    /// Nothing can be written.
    Full,
    /// Nothing can be read or written.
    Failing,
}

impl Disk {
    /// What is the matter and what to do, in a sentence or two; `None` where all is well.
    #[must_use]
    pub const fn advice(&self) -> Option<&'static str> {
        match self.state {
            DiskState::Fine => None,
            DiskState::Low => Some(
                "The disk is nearly full. What others write is fetched again once there is more room; what you write is kept and sent.",
            ),
            DiskState::Full => Some(
                "The disk is full. Nothing can be written until you free some space; then everything goes on by itself.",
            ),
            DiskState::Failing => Some(
                "The disk fails. Look whether it is still there and sound; everything goes on by itself once it works again.",
            ),
        }
    }
}

/// How much there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Contacts.
    pub contacts: u64,
    /// Contacts that are connected now.
    pub online: u64,
    /// Spaces held.
    pub spaces: u64,
    /// Entries held.
    pub entries: u64,
    /// Unread entries.
    pub unread: u64,
    /// Bytes of the database on disk.
    pub disk_bytes: u64,
}

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

/// What a space is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpaceKind {
    /// Threads by all members.
    Forum,
    /// Articles by one person, comments by readers.
    Blog,
    /// Private messages of two people.
    Conversation,
    /// Threads by those whom its owner let in.
    Circle,
}

/// What somebody is in a circle, in the order in which people are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CircleStanding {
    /// Owns it: invites, removes, closes.
    Owner,
    /// Is in it.
    Member,
    /// Was invited by us and hasn't answered.
    Invited,
    /// Left.
    Left,
    /// Was removed.
    Removed,
}

/// A circle.
#[derive(Debug, Clone)]
pub struct Circle {
    /// The space.
    pub id: SpaceId,
    /// Its name.
    pub name: String,
    /// What it is about.
    pub description: String,
    /// Who made it.
    pub creator: Person,
    /// Who owns it now.
    pub owner: Person,
    /// What we are in it: owner, member, or removed.
    pub standing: CircleStanding,
    /// Nobody writes in it any more.
    pub closed: bool,
    /// People in it, the owner and us included, as far as we know.
    pub members: u64,
    /// Unread entries.
    pub unread: u64,
    /// Threads.
    pub threads: u64,
    /// Entries held.
    pub entries: u64,
    /// Older entries that are known to exist and still arrive: newer ones came first.
    pub arriving: u64,
    /// Newest activity.
    pub last_activity_ms: Option<Millis>,
    /// Feeds whose author contradicted themselves.
    pub forks: Vec<Fork>,
}

/// Somebody who is or was in a circle, or is invited.
#[derive(Debug, Clone)]
pub struct CircleMember {
    /// Who. A stranger reaches us only through members who are our contacts.
    pub person: Person,
    /// Who let them in; `None` for the creator, and where nothing of theirs is held.
    pub let_in_by: Option<Person>,
    /// What they are in it.
    pub standing: CircleStanding,
    /// Entries of theirs that we hold.
    pub entries: u64,
}

/// A forum.
#[derive(Debug, Clone)]
pub struct Forum {
    /// The space.
    pub id: SpaceId,
    /// Its name.
    pub name: String,
    /// What it is about.
    pub description: String,
    /// Who made it.
    pub creator: Person,
    /// Unread entries.
    pub unread: u64,
    /// Threads.
    pub threads: u64,
    /// Entries held.
    pub entries: u64,
    /// Older entries that are known to exist and still arrive: newer ones came first.
    pub arriving: u64,
    /// Newest activity.
    pub last_activity_ms: Option<Millis>,
    /// Feeds whose author contradicted themselves.
    pub forks: Vec<Fork>,
}

/// A feed whose author signed two different entries at one place.
#[derive(Debug, Clone)]
pub struct Fork {
    /// Whose feed.
    pub author: Person,
    /// The device.
    pub device: DeviceId,
    /// Entries before this one are kept.
    pub seq: u64,
}

/// Somebody in a space, and who let them in.
#[derive(Debug, Clone)]
pub struct Member {
    /// Who.
    pub person: Person,
    /// Who admitted them; `None` for the creator.
    pub admitted_by: Option<Person>,
    /// Steps from the creator.
    pub depth: u32,
    /// Entries of theirs that we hold.
    pub entries: u64,
    /// A contact to whom we offered the space and who hasn't answered.
    pub offered: bool,
}

/// An offer that waits for our answer.
#[derive(Debug, Clone)]
pub struct Offer {
    /// Local id.
    pub id: String,
    /// The space.
    pub space: SpaceId,
    /// Its kind.
    pub kind: SpaceKind,
    /// Its name.
    pub name: String,
    /// What it is about.
    pub description: String,
    /// Who made it.
    pub creator: Person,
    /// Who offers it.
    pub from: Person,
    /// When it came.
    pub received_ms: Millis,
}

/// A blog.
#[derive(Debug, Clone)]
pub struct Blog {
    /// The space.
    pub id: SpaceId,
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub author: Person,
    /// Ours.
    pub own: bool,
    /// Unread entries.
    pub unread: u64,
    /// Articles.
    pub articles: u64,
    /// Older entries that are known to exist and still arrive: newer ones came first.
    pub arriving: u64,
    /// Newest activity.
    pub last_activity_ms: Option<Millis>,
}

/// What a topic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicKind {
    /// A forum's thread.
    Thread,
    /// A blog's article with its comments.
    Article,
}

/// A thread or an article in a list.
#[derive(Debug, Clone)]
pub struct Topic {
    /// The first entry.
    pub id: EntryId,
    /// Its space.
    pub space: SpaceId,
    /// The space's name.
    pub space_name: String,
    /// The space's kind.
    pub space_kind: SpaceKind,
    /// Nothing can be written in it here: its circle's owner closed it, or we were removed.
    pub closed: bool,
    /// Thread or article.
    pub kind: TopicKind,
    /// The newest title; empty when the first entry hasn't arrived.
    pub title: String,
    /// Who began it; `None` when the first entry hasn't arrived.
    pub author: Option<Person>,
    /// Tags of an article.
    pub tags: Vec<String>,
    /// The author's claim, `None` when the first entry hasn't arrived.
    pub created_ms: Option<Millis>,
    /// Newest activity.
    pub last_activity_ms: Millis,
    /// Replies or comments held.
    pub replies: u64,
    /// Unread entries, the first one included.
    pub unread: u64,
    /// The start of the first entry's text, as written; at most 300 characters.
    pub excerpt: String,
    /// The first entry was retracted.
    pub retracted: bool,
}

/// A topic with one page of its entries, oldest first; the first page begins with the first entry.
#[derive(Debug, Clone)]
pub struct TopicPage {
    /// The topic.
    pub topic: Topic,
    /// Its entries.
    pub posts: Page<Post>,
    /// The first unread entry of the whole topic and the cursor of the page (of the asked size) that begins with it.
    pub first_unread: Option<(EntryId, Cursor)>,
    /// Older entries of its space that are known to exist and still arrive, here or in other topics.
    pub arriving: u64,
}

/// An entry that is read: a post, an article, a comment or a message.
#[derive(Debug, Clone)]
pub struct Post {
    /// The entry.
    pub id: EntryId,
    /// Its space.
    pub space: SpaceId,
    /// The first entry of its topic; for a message its own id.
    pub topic: EntryId,
    /// Who wrote it.
    pub author: Person,
    /// The newest text as written (Markdown); empty when retracted or missing.
    pub body: String,
    /// The newest title, of a first entry.
    pub title: Option<String>,
    /// Tags of an article.
    pub tags: Vec<String>,
    /// The entry that it answers.
    pub parent: Option<EntryId>,
    /// Author and the start of the text of the entry that it answers, where we hold it.
    pub parent_excerpt: Option<(Person, String)>,
    /// The author's claim.
    pub created_ms: Millis,
    /// The claim can't be right: 1970, or far in the future.
    pub doubtful_time: bool,
    /// When we received it.
    pub received_ms: Millis,
    /// When it was last edited.
    pub edited_ms: Option<Millis>,
    /// Its author took it back.
    pub retracted: bool,
    /// Its text hasn't arrived yet.
    pub missing: bool,
    /// Not read yet.
    pub unread: bool,
    /// Ours.
    pub own: bool,
    /// A friend brought it before what its author wrote earlier, which is still missing.
    pub ahead: bool,
    /// It came in a letter under a key of last resort, which may have been used before.
    pub weak_key: bool,
    /// What people put under it.
    pub reactions: Vec<Reaction>,
    /// What it embeds, of a reblog.
    pub reblog: Option<Reblogged>,
    /// Where a message of ours is; `None` for anything else.
    pub delivery: Option<Delivery>,
    /// It stands in a conversation.
    pub private: bool,
    /// When a message disappears; `None` for what stays.
    pub disappears: Option<Disappears>,
    /// What it says of how the conversation is kept, in place of a text.
    pub setting: Option<ConversationSetting>,
}

/// One reaction and who gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reaction {
    /// The emoji.
    pub emoji: String,
    /// How many gave it.
    pub count: u64,
    /// We are among them.
    pub own: bool,
    /// Names of at most ten of them.
    pub names: Vec<String>,
}

/// The signed original inside a reblog, checked.
#[derive(Debug, Clone)]
pub struct Reblogged {
    /// Who wrote it.
    pub author: Person,
    /// Its title.
    pub title: String,
    /// Its text as written.
    pub body: String,
    /// The author's claim.
    pub created_ms: Millis,
}

/// Where a message of ours is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// On our disk.
    Written,
    /// Waits for a meeting.
    Waiting,
    /// So many friends carry it, sealed.
    Carried(u64),
    /// On one of the other person's devices.
    Delivered,
    /// The other person read it, then; told only where both agreed to that.
    Read(Millis),
    /// Nobody carries it any more, and it didn't arrive; a meeting still brings it.
    Expired,
}

/// What this node carries for others, and others for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LettersStatus {
    /// Whose letters this node carries.
    pub carry: WhoseLetters,
    /// Letters that it carries now.
    pub carried: u64,
    /// Their bytes.
    pub carried_bytes: u64,
    /// Letters that it carries at most.
    pub carried_max: u64,
    /// Their bytes at most.
    pub carried_bytes_max: u64,
    /// Messages of ours that somebody carries.
    pub on_their_way: u64,
    /// Contacts to whom letters can be sealed: they have left keys here.
    pub keys_from: u64,
    /// Contacts who are given one letter at most.
    pub copies: u64,
    /// Days for which a letter is good.
    pub days: u64,
}

/// Whose letters this node carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhoseLetters {
    /// Nobody's.
    Nobody,
    /// Those of contacts whom the person has verified face to face.
    Verified,
    /// All contacts'.
    #[default]
    Contacts,
}

/// An earlier version of an edited entry.
#[derive(Debug, Clone)]
pub struct Version {
    /// The entry that holds it.
    pub id: EntryId,
    /// The author's claim.
    pub created_ms: Millis,
    /// Title of that version.
    pub title: Option<String>,
    /// Text of that version, as written.
    pub body: String,
}

/// A new text for an own entry; `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct Edit {
    /// New title, of a first entry.
    pub title: Option<String>,
    /// New text.
    pub body: Option<String>,
    /// New tags, of an article.
    pub tags: Option<Vec<String>>,
}

/// A conversation in a list.
#[derive(Debug, Clone)]
pub struct Conversation {
    /// Its space.
    pub space: SpaceId,
    /// With whom.
    pub contact: Person,
    /// Unread messages.
    pub unread: u64,
    /// The newest message.
    pub last: Option<Post>,
    /// Newest activity.
    pub last_activity_ms: Option<Millis>,
    /// How long messages stay.
    pub disappearing: Disappearing,
    /// Whether the two tell each other what was read.
    pub receipts: Receipts,
}

/// Something new for the Home page.
#[derive(Debug, Clone)]
pub enum News {
    /// A thread or article with something unread, or newly active.
    Topic(Box<Topic>),
    /// A conversation with unread messages.
    Conversation(Box<Conversation>),
}

/// A search hit.
#[derive(Debug, Clone)]
pub struct Hit {
    /// The entry.
    pub post: Post,
    /// Its space's kind.
    pub kind: SpaceKind,
    /// Its space's name (for a conversation the contact's).
    pub space_name: String,
    /// The title of its topic, where it has one.
    pub title: String,
    /// With whom, when the entry is a message.
    pub contact: Option<IdentityId>,
    /// The text around the match.
    pub excerpt: String,
}

/// An address of this node, for the Links page and for cards.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// What is dialled.
    pub id: EndpointId,
    /// Where.
    pub addrs: Vec<SocketAddr>,
}

/// A conversation with one page of its messages, oldest first.
#[derive(Debug, Clone)]
pub struct ConversationPage {
    /// The conversation.
    pub conversation: Conversation,
    /// Its messages.
    pub posts: Page<Post>,
    /// Where the page before this one starts; `None` at the beginning.
    pub previous: Option<Cursor>,
    /// Older entries that are known to exist and still arrive: newer ones came first.
    pub arriving: u64,
}
