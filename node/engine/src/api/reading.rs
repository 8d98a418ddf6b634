//! Reading: topics, posts, conversations, what is new, search.

mod kept;

use std::collections::BTreeMap;

use data_encoding::BASE64URL_NOPAD;
use proto::{EntryId, IdentityId, SpaceId, space::SpaceKind as Kind};
use store::{Item, Snapshot};

use super::{Node, bad_cursor, limit, page_of};
use crate::{
    Error, Result,
    error::invalid,
    letters::{self, Sealed},
    records::ContactState,
    view::{
        Conversation, ConversationPage, Cursor, Delivery, Hit, News, Page, PageQuery, Person, Post,
        Reaction, Reblogged, Receipts, Relation, SpaceKind, Topic, TopicKind, TopicPage, Version,
    },
};

/// Characters of an excerpt of a text.
const EXCERPT_CHARS: usize = 300;
/// Characters of an excerpt of what an entry answers.
const PARENT_EXCERPT_CHARS: usize = 120;
/// Names under a reaction at most.
const REACTION_NAMES_MAX: usize = 10;
/// Characters around a search hit, on each side.
const HIT_CHARS: usize = 80;
/// Characters of what is searched for.
const SEARCH_CHARS_MAX: usize = 200;

/// Looks names and deliveries up once for a page.
struct Reader<'n> {
    node: &'n Node,
    snapshot: Snapshot,
    people: BTreeMap<IdentityId, Person>,
    /// From where on two people tell each other what was read, by conversation.
    agreed_since: BTreeMap<SpaceId, Option<u64>>,
    own: IdentityId,
}

impl Node {
    fn reader(&self) -> Result<Reader<'_>> {
        let own = self.0.ready()?.identity.id();
        Ok(Reader {
            node: self,
            snapshot: self.0.store.read()?,
            people: BTreeMap::new(),
            agreed_since: BTreeMap::new(),
            own,
        })
    }

    /// A forum's threads, newest activity first.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Invalid`] for a bad cursor.
    pub fn threads(&self, forum: SpaceId, query: &PageQuery) -> Result<Page<Topic>> {
        self.reader()?
            .topics(forum, Kind::Forum, "the forum", query)
    }

    /// A circle's threads, newest activity first.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Invalid`] for a bad cursor.
    pub fn circle_threads(&self, circle: SpaceId, query: &PageQuery) -> Result<Page<Topic>> {
        self.reader()?
            .topics(circle, Kind::Circle, "the circle", query)
    }

    /// A blog's articles, newest activity first.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Invalid`] for a bad cursor.
    pub fn articles(&self, blog: SpaceId, query: &PageQuery) -> Result<Page<Topic>> {
        self.reader()?.topics(blog, Kind::Blog, "the blog", query)
    }

    /// A thread or an article with a page of its entries, oldest first.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Invalid`] for a bad cursor.
    pub fn topic(&self, id: EntryId, query: &PageQuery) -> Result<TopicPage> {
        let mut reader = self.reader()?;
        let row = reader.snapshot.topic(id)?.ok_or(Error::NotFound {
            what: "the thread or article",
        })?;
        let number = row.number;
        let arriving = reader.snapshot.missing_below(row.space)?;
        let topic = reader.topic(row)?;
        let page = reader
            .snapshot
            .items(number, read_cursor(query)?.as_ref(), limit(query)?)?;
        let first_unread = reader
            .snapshot
            .first_unread(number)?
            .map(|(id, cursor)| (id, shown_cursor(&cursor)));
        let next = page.next.as_ref().map(shown_cursor);
        let items = reader.posts(page.items)?;
        Ok(TopicPage {
            topic,
            posts: Page { items, next },
            first_unread,
            arriving,
        })
    }

    /// Conversations: those with unread messages or the newest ones first.
    ///
    /// # Errors
    /// [`Error::NotSetUp`], [`Error::Invalid`] for a bad cursor.
    pub fn conversations(&self, query: &PageQuery) -> Result<Page<Conversation>> {
        let mut reader = self.reader()?;
        let mut conversations = Vec::new();
        for (id, row) in reader.snapshot.contacts()? {
            if let Some(secret) = row.pair_secret.filter(|_| row.state == ContactState::Ready) {
                conversations
                    .push(reader.conversation(proto::space::conversation_id(&secret.0), id)?);
            }
        }
        conversations.sort_by_key(|conversation| {
            (
                std::cmp::Reverse(conversation.last_activity_ms),
                conversation.contact.name.to_lowercase(),
            )
        });
        page_of(conversations, query)
    }

    /// Messages with a contact, oldest first. Without a cursor the page is the newest one where
    /// `from_end` is set, else the oldest.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Conflict`] for one who isn't a contact yet, [`Error::Invalid`].
    pub fn conversation(
        &self,
        contact: IdentityId,
        query: &PageQuery,
        from_end: bool,
    ) -> Result<ConversationPage> {
        let mut reader = self.reader()?;
        let space = self.conversation_space(&reader.snapshot, contact)?;
        let conversation = reader.conversation(space, contact)?;
        let arriving = reader.snapshot.missing_below(space)?;
        let (cursor, limit) = (read_cursor(query)?, limit(query)?);
        let page = match reader.snapshot.conversation(space)? {
            None => {
                let items = reader.loose(space)?;
                return Ok(ConversationPage {
                    conversation,
                    posts: Page { items, next: None },
                    previous: None,
                    arriving,
                });
            }
            Some(topic) if cursor.is_none() && from_end => {
                reader.snapshot.last_items(topic.number, limit)?
            }
            Some(topic) => reader
                .snapshot
                .items(topic.number, cursor.as_ref(), limit)?,
        };
        let (next, previous) = (
            page.next.as_ref().map(shown_cursor),
            page.previous.as_ref().map(shown_cursor),
        );
        let mut items = reader.posts(page.items)?;
        if next.is_none() {
            items.extend(reader.loose(space)?);
        }
        Ok(ConversationPage {
            conversation,
            posts: Page { items, next },
            previous,
            arriving,
        })
    }

    /// One entry that a page shows.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn entry(&self, id: EntryId) -> Result<Post> {
        let mut reader = self.reader()?;
        if let Some(item) = reader.snapshot.item(id)? {
            return reader
                .posts(vec![item])?
                .pop()
                .ok_or(Error::NotFound { what: "the entry" });
        }
        let item = letters::loose_message(&reader.snapshot, id)?
            .ok_or(Error::NotFound { what: "the entry" })?;
        reader
            .ahead(vec![item])?
            .pop()
            .ok_or(Error::NotFound { what: "the entry" })
    }

    /// All versions of an entry, oldest first; none of a retracted one.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn history(&self, id: EntryId) -> Result<Vec<Version>> {
        self.entry(id)?;
        let versions = self.0.store.read()?.versions(id)?;
        let shown = |version: store::Version| Version {
            id: version.id,
            created_ms: version.created,
            title: version.title,
            body: version.text,
        };
        Ok(versions.into_iter().map(shown).collect())
    }

    /// What is new over all spaces, newest activity first.
    ///
    /// # Errors
    /// [`Error::NotSetUp`], [`Error::Invalid`] for a bad cursor.
    pub fn news(&self, query: &PageQuery) -> Result<Page<News>> {
        let mut reader = self.reader()?;
        let page = reader
            .snapshot
            .recent_topics(read_cursor(query)?.as_ref(), limit(query)?)?;
        let mut items = Vec::new();
        for row in page.items {
            if row.kind == store::TopicKind::Conversation {
                if let Some(contact) = reader.counterpart(row.space)? {
                    items.push(News::Conversation(Box::new(
                        reader.conversation(row.space, contact)?,
                    )));
                }
            } else {
                items.push(News::Topic(Box::new(reader.topic(row)?)));
            }
        }
        Ok(Page {
            items,
            next: page.next.as_ref().map(shown_cursor),
        })
    }

    /// Entries whose newest text or title contains `text`, whatever its case, newest topics first.
    /// Looks at a bounded number of entries, so a page may be short and still have a next one.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn search(&self, text: &str, query: &PageQuery) -> Result<Page<Hit>> {
        let mut reader = self.reader()?;
        let text = text.trim();
        if text.is_empty() || text.chars().count() > SEARCH_CHARS_MAX {
            return Err(invalid(
                "q",
                &format!("expected 1 to {SEARCH_CHARS_MAX} characters to search for"),
            ));
        }
        let page = reader
            .snapshot
            .search(text, read_cursor(query)?.as_ref(), limit(query)?)?;
        let mut items = Vec::new();
        for hit in page.items {
            let (kind, contact, space_name) = reader.place(hit.space)?;
            let excerpt = around(&hit.item.text, text);
            let Some(post) = reader.posts(vec![hit.item])?.pop() else {
                continue;
            };
            items.push(Hit {
                post,
                kind,
                space_name,
                title: hit.title,
                contact,
                excerpt,
            });
        }
        Ok(Page {
            items,
            next: page.next.as_ref().map(shown_cursor),
        })
    }
}

impl Reader<'_> {
    fn person(&mut self, id: IdentityId) -> Result<Person> {
        if let Some(known) = self.people.get(&id) {
            return Ok(known.clone());
        }
        let person = self.node.person(&self.snapshot, id)?;
        self.people.insert(id, person.clone());
        Ok(person)
    }

    fn topics(
        &mut self,
        space: SpaceId,
        kind: Kind,
        what: &'static str,
        query: &PageQuery,
    ) -> Result<Page<Topic>> {
        self.snapshot
            .space(space)?
            .filter(|space| space.kind == kind)
            .ok_or(Error::NotFound { what })?;
        let page = self
            .snapshot
            .topics(space, read_cursor(query)?.as_ref(), limit(query)?)?;
        let items = page
            .items
            .into_iter()
            .map(|row| self.topic(row))
            .collect::<Result<_>>()?;
        Ok(Page {
            items,
            next: page.next.as_ref().map(shown_cursor),
        })
    }

    fn topic(&mut self, row: store::Topic) -> Result<Topic> {
        let (space_kind, _, space_name) = self.place(row.space)?;
        let government = match space_kind {
            SpaceKind::Circle => self.snapshot.government(row.space)?,
            _ => None,
        };
        let closed = government.is_some_and(|government| {
            government.closed
                || government.closed_threads.contains(&row.root)
                || government.is_removed(self.own)
        });
        let kind = if row.kind == store::TopicKind::Article {
            TopicKind::Article
        } else {
            TopicKind::Thread
        };
        let replies = row.items.saturating_sub(u64::from(row.first.is_some()));
        let first = row.first;
        Ok(Topic {
            id: row.root,
            space: row.space,
            space_name,
            space_kind,
            closed,
            kind,
            title: first
                .as_ref()
                .and_then(|first| first.title.clone())
                .unwrap_or_default(),
            author: first
                .as_ref()
                .map(|first| self.person(first.author))
                .transpose()?,
            tags: first
                .as_ref()
                .map(|first| first.tags.clone())
                .unwrap_or_default(),
            created_ms: first.as_ref().map(|first| first.created),
            last_activity_ms: row.last_activity,
            replies,
            unread: row.unread,
            excerpt: first
                .as_ref()
                .map(|first| start_of(text_of(first), EXCERPT_CHARS))
                .unwrap_or_default(),
            retracted: first.is_some_and(|first| first.retracted),
        })
    }

    fn conversation(&mut self, space: SpaceId, contact: IdentityId) -> Result<Conversation> {
        let topic = self.snapshot.conversation(space)?;
        let last = match &topic {
            Some(topic) => self.snapshot.last_items(topic.number, 1)?.items,
            None => Vec::new(),
        };
        let last = self.posts(last)?.pop();
        let loose = self.loose(space)?;
        let unread = loose.iter().filter(|post| post.unread).count() as u64;
        let came = loose.iter().map(|post| post.received_ms).max();
        let agreed = self.snapshot.agreement(space, self.own)?;
        Ok(Conversation {
            space,
            contact: self.person(contact)?,
            unread: topic.as_ref().map_or(0, |topic| topic.unread) + unread,
            last: loose.into_iter().next_back().or(last),
            last_activity_ms: topic.map(|topic| topic.last_activity).max(came),
            disappearing: self.disappearing(&agreed, contact)?,
            receipts: Receipts {
                ours: agreed.our_receipts,
                theirs: agreed.their_receipts,
            },
        })
    }

    /// Messages that came in letters and don't join what is held yet.
    fn loose(&mut self, space: SpaceId) -> Result<Vec<Post>> {
        let items = letters::loose_messages(&self.snapshot, space)?;
        self.ahead(items)
    }

    fn ahead(&mut self, items: Vec<Item>) -> Result<Vec<Post>> {
        let mut posts = self.posts(items)?;
        for post in &mut posts {
            post.ahead = true;
        }
        Ok(posts)
    }

    /// The other person of a conversation.
    fn counterpart(&self, space: SpaceId) -> Result<Option<IdentityId>> {
        let space = self
            .snapshot
            .space(space)?
            .filter(|space| space.kind == Kind::Conversation);
        Ok(space.map(|space| space.counterpart(self.own)))
    }

    /// What a space is, with whom where it is a conversation, and how it is called.
    fn place(&mut self, id: SpaceId) -> Result<(SpaceKind, Option<IdentityId>, String)> {
        let space = self
            .snapshot
            .space(id)?
            .ok_or(Error::NotFound { what: "the space" })?;
        Ok(match &space.descriptor {
            Some(descriptor) if space.kind == Kind::Blog => {
                (SpaceKind::Blog, None, self.person(descriptor.creator)?.name)
            }
            Some(descriptor) if space.kind == Kind::Circle => {
                (SpaceKind::Circle, None, descriptor.name.clone())
            }
            Some(descriptor) => (SpaceKind::Forum, None, descriptor.name.clone()),
            None => {
                let contact = space.counterpart(self.own);
                (
                    SpaceKind::Conversation,
                    Some(contact),
                    self.person(contact)?.name,
                )
            }
        })
    }

    fn posts(&mut self, items: Vec<Item>) -> Result<Vec<Post>> {
        let mut excerpts: BTreeMap<EntryId, Option<(Person, String)>> = BTreeMap::new();
        for item in &items {
            let excerpt = start_of(text_of(item), PARENT_EXCERPT_CHARS);
            excerpts.insert(item.id, Some((self.person(item.author)?, excerpt)));
        }
        let mut acknowledged: BTreeMap<SpaceId, u64> = BTreeMap::new();
        let mut sealed: BTreeMap<SpaceId, BTreeMap<u64, Sealed>> = BTreeMap::new();
        let mut posts = Vec::with_capacity(items.len());
        for item in items {
            let parent_excerpt = match item.parent {
                Some(parent) if !excerpts.contains_key(&parent) => {
                    let found = self.snapshot.item(parent)?;
                    let excerpt = match found {
                        Some(found) => Some((
                            self.person(found.author)?,
                            start_of(text_of(&found), PARENT_EXCERPT_CHARS),
                        )),
                        None => None,
                    };
                    excerpts.insert(parent, excerpt.clone());
                    excerpt
                }
                Some(parent) => excerpts.get(&parent).cloned().flatten(),
                None => None,
            };
            let delivery = self.delivery(&item, &mut acknowledged, &mut sealed)?;
            posts.push(self.post(item, parent_excerpt, delivery)?);
        }
        Ok(posts)
    }

    fn post(
        &mut self,
        item: Item,
        parent_excerpt: Option<(Person, String)>,
        delivery: Option<Delivery>,
    ) -> Result<Post> {
        let (disappears, setting) = (self.disappears(&item)?, self.setting(&item)?);
        let mut reactions = Vec::new();
        for reaction in &item.reactions {
            let mut names = Vec::new();
            for id in reaction.by.iter().take(REACTION_NAMES_MAX) {
                names.push(self.person(*id)?.name);
            }
            let own = reaction.by.contains(&self.own);
            reactions.push(Reaction {
                emoji: reaction.emoji.clone(),
                count: reaction.by.len() as u64,
                own,
                names,
            });
        }
        let reblog = match item.reblog {
            Some(original) => {
                let mut author = self.person(original.author)?;
                if author.relation == Relation::Stranger {
                    author.name.clone_from(&original.name);
                }
                Some(Reblogged {
                    author,
                    title: original.title,
                    body: original.text,
                    created_ms: original.created,
                })
            }
            None => None,
        };
        let private = item.topic.0 == [0; 32];
        let weak_key =
            private && item.author != self.own && self.snapshot.is_weak(item.space, item.id)?;
        Ok(Post {
            id: item.id,
            space: item.space,
            topic: if item.topic.0 == [0; 32] {
                item.id
            } else {
                item.topic
            },
            author: self.person(item.author)?,
            body: item.text,
            title: item.title,
            tags: item.tags,
            parent: item.parent,
            parent_excerpt,
            created_ms: item.created,
            doubtful_time: item.doubtful,
            received_ms: item.received,
            edited_ms: item.edited,
            retracted: item.retracted,
            missing: item.missing,
            unread: item.unread,
            own: item.author == self.own,
            ahead: false,
            weak_key,
            reactions,
            reblog,
            delivery,
            private,
            disappears,
            setting,
        })
    }
}

/// What an excerpt is made of: the note or the text of what a reblog embeds.
fn text_of(item: &Item) -> &str {
    match &item.reblog {
        Some(original) if item.text.is_empty() => &original.text,
        _ => &item.text,
    }
}

fn start_of(text: &str, chars: usize) -> String {
    let mut start: String = text.chars().take(chars).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    start
}

/// The text around the first match; the start of the text where the match is elsewhere.
fn around(text: &str, wanted: &str) -> String {
    let folded: Vec<char> = text.chars().collect();
    let wanted: Vec<String> = wanted.chars().map(|c| c.to_lowercase().collect()).collect();
    let matches = |at: usize| {
        wanted.iter().enumerate().all(|(offset, c)| {
            folded
                .get(at + offset)
                .is_some_and(|own| own.to_lowercase().collect::<String>() == *c)
        })
    };
    let at = (0..folded.len()).find(|at| matches(*at)).unwrap_or(0);
    let (from, to) = (
        at.saturating_sub(HIT_CHARS),
        (at + wanted.len() + HIT_CHARS).min(folded.len()),
    );
    let mut excerpt = String::new();
    if from > 0 {
        excerpt.push('…');
    }
    excerpt.extend(folded.get(from..to).unwrap_or_default());
    if to < folded.len() {
        excerpt.push('…');
    }
    excerpt
}

fn read_cursor(query: &PageQuery) -> Result<Option<store::Cursor>> {
    let Some(Cursor(text)) = &query.cursor else {
        return Ok(None);
    };
    let bytes = BASE64URL_NOPAD
        .decode(text.as_bytes())
        .map_err(|_| bad_cursor())?;
    match bytes.split_last_chunk() {
        Some((place, check)) if cursor_check(place) == *check => {
            Ok(Some(store::Cursor(place.to_vec())))
        }
        _ => Err(bad_cursor()),
    }
}

fn shown_cursor(cursor: &store::Cursor) -> Cursor {
    let check = cursor_check(&cursor.0);
    Cursor(BASE64URL_NOPAD.encode(&[&cursor.0[..], &check].concat()))
}

/// So that a mistyped cursor is told from one of ours. It protects nothing.
fn cursor_check(place: &[u8]) -> [u8; 4] {
    let mut check = [0; 4];
    blake3::Hasher::new_derive_key("waymeet 1 cursor")
        .update(place)
        .finalize_xof()
        .fill(&mut check);
    check
}
