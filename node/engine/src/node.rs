//! The public API of a node. Calls that change something return when the change is durable.
//! Reading calls are quick (they read what the page shows) and may be made from async code.
#![allow(clippy::unused_async, clippy::todo, unused_variables, missing_docs)]

use proto::{EntryId, IdentityId, SpaceId};

use crate::{
    Config, Event, EventId, Internet, Result,
    view::{
        Blog, Contact, ContactPatch, Conversation, ConversationPage, Edit, Forum, Hit, Invite, LinkStatus, Member, NewInvite, News, Offer, Page, PageQuery, Post,
        Status, Topic, TopicPage, Version,
    },
};

/// A running node; clones share it.
#[derive(Clone)]
pub struct Node {}

/// A stream of events.
pub struct Subscription {}

impl Subscription {
    /// The next event; `None` when the node stops. Cancel safe.
    pub async fn next(&mut self) -> Option<Event> {
        todo!()
    }
}

impl Node {
    pub async fn start(config: Config) -> Result<Self> {
        todo!()
    }
    /// Ends everything in order; at most a few seconds.
    pub async fn shutdown(&self) {
        todo!()
    }
    pub fn status(&self) -> Result<Status> {
        todo!()
    }
    pub fn is_set_up(&self) -> bool {
        todo!()
    }
    pub async fn set_up(&self, name: &str) -> Result<Status> {
        todo!()
    }
    /// Changes the own display name, in every space.
    pub async fn rename(&self, name: &str) -> Result<Status> {
        todo!()
    }
    /// All events after `after`, or those from now on. Begins with [`crate::EventKind::Reset`] when `after` is too old.
    pub fn subscribe(&self, after: Option<EventId>) -> Subscription {
        todo!()
    }

    pub async fn create_invite(&self, new: NewInvite) -> Result<Invite> {
        todo!()
    }
    pub fn invites(&self) -> Result<Vec<Invite>> {
        todo!()
    }
    pub fn invite(&self, id: &str) -> Result<Invite> {
        todo!()
    }
    pub async fn delete_invite(&self, id: &str) -> Result<()> {
        todo!()
    }
    /// Uses somebody's link. Returns at once; the contact may be pending.
    pub async fn join(&self, link: &str) -> Result<Contact> {
        todo!()
    }

    pub fn contacts(&self, query: &PageQuery) -> Result<Page<Contact>> {
        todo!()
    }
    pub fn contact(&self, id: IdentityId) -> Result<Contact> {
        todo!()
    }
    /// Twelve words that both people see alike.
    pub fn contact_words(&self, id: IdentityId) -> Result<Vec<&'static str>> {
        todo!()
    }
    pub async fn accept_contact(&self, id: IdentityId) -> Result<Contact> {
        todo!()
    }
    pub async fn update_contact(&self, id: IdentityId, patch: ContactPatch) -> Result<Contact> {
        todo!()
    }
    /// Cuts and forgets; also declines one who asks.
    pub async fn remove_contact(&self, id: IdentityId) -> Result<()> {
        todo!()
    }

    pub fn forums(&self, query: &PageQuery) -> Result<Page<Forum>> {
        todo!()
    }
    pub fn forum(&self, id: SpaceId) -> Result<Forum> {
        todo!()
    }
    pub async fn create_forum(&self, name: &str, description: &str) -> Result<Forum> {
        todo!()
    }
    /// Who is in a forum or blog and who let them in, creator first, depth first.
    pub fn members(&self, space: SpaceId) -> Result<Vec<Member>> {
        todo!()
    }
    pub async fn offer(&self, space: SpaceId, contact: IdentityId) -> Result<()> {
        todo!()
    }
    pub fn offers(&self) -> Result<Vec<Offer>> {
        todo!()
    }
    pub async fn accept_offer(&self, id: &str) -> Result<SpaceId> {
        todo!()
    }
    pub async fn decline_offer(&self, id: &str) -> Result<()> {
        todo!()
    }
    /// Leaves a forum or somebody's blog: its content is deleted here.
    pub async fn leave(&self, space: SpaceId) -> Result<()> {
        todo!()
    }

    pub fn threads(&self, forum: SpaceId, query: &PageQuery) -> Result<Page<Topic>> {
        todo!()
    }
    pub async fn create_thread(&self, forum: SpaceId, title: &str, body: &str) -> Result<TopicPage> {
        todo!()
    }
    /// A thread or an article.
    pub fn topic(&self, id: EntryId, query: &PageQuery) -> Result<TopicPage> {
        todo!()
    }
    /// A reply in a thread, or a comment on an article.
    pub async fn reply(&self, topic: EntryId, body: &str, parent: Option<EntryId>) -> Result<Post> {
        todo!()
    }

    pub fn blogs(&self, query: &PageQuery) -> Result<Page<Blog>> {
        todo!()
    }
    pub fn blog(&self, id: SpaceId) -> Result<Blog> {
        todo!()
    }
    pub fn articles(&self, blog: SpaceId, query: &PageQuery) -> Result<Page<Topic>> {
        todo!()
    }
    /// Publishes in the own blog.
    pub async fn publish(&self, title: &str, body: &str, tags: &[String]) -> Result<Post> {
        todo!()
    }
    /// Publishes somebody's article in the own blog, signed original inside, with an own note.
    pub async fn reblog(&self, article: EntryId, note: &str) -> Result<Post> {
        todo!()
    }

    pub fn conversations(&self, query: &PageQuery) -> Result<Page<Conversation>> {
        todo!()
    }
    /// Messages with a contact, oldest first. Without a cursor the page is the newest one when `from_end`.
    pub fn conversation(&self, contact: IdentityId, query: &PageQuery, from_end: bool) -> Result<ConversationPage> {
        todo!()
    }
    pub async fn send_message(&self, contact: IdentityId, body: &str, parent: Option<EntryId>) -> Result<Post> {
        todo!()
    }

    pub fn entry(&self, id: EntryId) -> Result<Post> {
        todo!()
    }
    /// All versions of an entry, oldest first.
    pub fn history(&self, id: EntryId) -> Result<Vec<Version>> {
        todo!()
    }
    pub async fn edit(&self, id: EntryId, edit: Edit) -> Result<Post> {
        todo!()
    }
    pub async fn retract(&self, id: EntryId) -> Result<Post> {
        todo!()
    }
    /// Gives or takes back a reaction.
    pub async fn react(&self, id: EntryId, emoji: &str, on: bool) -> Result<Post> {
        todo!()
    }
    pub async fn mark_read(&self, id: EntryId) -> Result<()> {
        todo!()
    }
    /// Marks several entries read in one go.
    pub async fn mark_many_read(&self, ids: &[EntryId]) -> Result<()> {
        todo!()
    }
    /// Marks everything in a topic read.
    pub async fn mark_topic_read(&self, topic: EntryId) -> Result<()> {
        todo!()
    }
    /// Marks everything in a space read.
    pub async fn mark_space_read(&self, space: SpaceId) -> Result<()> {
        todo!()
    }

    /// What is new over all spaces, newest activity first.
    pub fn news(&self, query: &PageQuery) -> Result<Page<News>> {
        todo!()
    }
    pub fn search(&self, text: &str, query: &PageQuery) -> Result<Page<Hit>> {
        todo!()
    }
    pub fn links(&self) -> Result<Vec<LinkStatus>> {
        todo!()
    }
    /// Switches the internet link; refused when the settings file fixes it.
    pub async fn set_internet(&self, internet: Internet) -> Result<()> {
        todo!()
    }
    /// The secret from which the dashboard's sessions may be derived is not the engine's business; this is the node's folder.
    pub fn data_dir(&self) -> &std::path::Path {
        todo!()
    }
}
