//! What the engine shows to a dashboard, an API or a command: plain values, already decided.

use std::net::SocketAddr;

mod circles;
mod contacts;
mod conversations;
mod links;

use proto::{DeviceId, EndpointId, EntryId, IdentityId, Millis, SpaceId};

pub use self::circles::{Circle, CircleMember, CircleStanding};
pub use self::contacts::{
    Contact, ContactPatch, ContactState, Introduction, IntroductionAnswer, IntroductionState,
    Invite, Nearby, NearbyPerson, NearbyStage, NewInvite, Quota, SpaceUsage,
};
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
