//! Threads, articles, posts and messages.

use engine::view;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Person, SpaceKind};
use crate::markdown::Renderer;

/// What a topic is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TopicKind {
    /// A forum's thread.
    Thread,
    /// A blog's article with its comments.
    Article,
}

/// A thread or article in a list.
#[derive(Serialize, ToSchema)]
pub(crate) struct Topic {
    /// Its first entry.
    pub(crate) id: String,
    /// Its space.
    pub(crate) space: String,
    /// The space's name.
    pub(crate) space_name: String,
    /// The space's kind.
    pub(crate) space_kind: SpaceKind,
    /// Nothing can be written in it here: it is closed, or we were removed from its circle.
    pub(crate) closed: bool,
    /// Thread or article.
    pub(crate) kind: TopicKind,
    /// The newest title; empty when the first entry hasn't arrived.
    pub(crate) title: String,
    /// Who began it; null when the first entry hasn't arrived.
    pub(crate) author: Option<Person>,
    /// Tags of an article.
    pub(crate) tags: Vec<String>,
    /// The author's claim; null when the first entry hasn't arrived.
    pub(crate) created_ms: Option<u64>,
    /// Newest activity.
    pub(crate) last_activity_ms: u64,
    /// Replies or comments held.
    pub(crate) replies: u64,
    /// Unread entries, the first one included.
    pub(crate) unread: u64,
    /// The start of the first entry's text, as written.
    pub(crate) excerpt: String,
    /// The first entry was retracted.
    pub(crate) retracted: bool,
}

impl From<view::Topic> for Topic {
    fn from(topic: view::Topic) -> Self {
        Self {
            id: topic.id.to_string(),
            space: topic.space.to_string(),
            space_name: topic.space_name,
            space_kind: topic.space_kind.into(),
            closed: topic.closed,
            kind: match topic.kind {
                view::TopicKind::Thread => TopicKind::Thread,
                view::TopicKind::Article => TopicKind::Article,
            },
            title: topic.title,
            author: topic.author.map(Person::from),
            tags: topic.tags,
            created_ms: topic.created_ms.map(|time| time.0),
            last_activity_ms: topic.last_activity_ms.0,
            replies: topic.replies,
            unread: topic.unread,
            excerpt: topic.excerpt,
            retracted: topic.retracted,
        }
    }
}

/// Where a message of ours is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Delivery {
    /// On our disk.
    Written,
    /// Waits for a meeting.
    Waiting,
    /// Friends carry it, sealed.
    Carried,
    /// On one of the other person's devices.
    Delivered,
    /// The other person read it; told only while both want that.
    Read,
    /// Nobody carries it any more; a meeting still brings it.
    Expired,
}

impl From<view::Delivery> for Delivery {
    fn from(delivery: view::Delivery) -> Self {
        match delivery {
            view::Delivery::Written => Self::Written,
            view::Delivery::Waiting => Self::Waiting,
            view::Delivery::Carried(_) => Self::Carried,
            view::Delivery::Expired => Self::Expired,
            view::Delivery::Delivered => Self::Delivered,
            view::Delivery::Read(_) => Self::Read,
        }
    }
}

/// One reaction and who gave it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Reaction {
    /// The emoji.
    pub(crate) emoji: String,
    /// How many gave it.
    pub(crate) count: u64,
    /// We are among them.
    pub(crate) own: bool,
    /// Names of at most ten of them.
    pub(crate) names: Vec<String>,
}

/// The signed original inside a reblog, checked.
#[derive(Serialize, ToSchema)]
pub(crate) struct Reblogged {
    /// Who wrote it.
    pub(crate) author: Person,
    /// Its title.
    pub(crate) title: String,
    /// Its text as written.
    pub(crate) body: String,
    /// Its text as HTML that is safe to show.
    pub(crate) html: String,
    /// The author's claim.
    pub(crate) created_ms: u64,
}

/// A post, an article, a comment or a message.
#[derive(Serialize, ToSchema)]
pub(crate) struct Post {
    /// The entry, the same on every node.
    pub(crate) id: String,
    /// Its space.
    pub(crate) space: String,
    /// The first entry of its thread or article; its own id for a message.
    pub(crate) topic: String,
    /// Who wrote it.
    pub(crate) author: Person,
    /// The newest text as written (Markdown); empty when retracted or missing.
    pub(crate) body: String,
    /// The newest text as HTML that is safe to show.
    pub(crate) html: String,
    /// The newest title, of a first entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) title: Option<String>,
    /// Tags of an article.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<String>,
    /// The entry that it answers.
    pub(crate) parent: Option<String>,
    /// The author's claim.
    pub(crate) created_ms: u64,
    /// The claim can't be right.
    pub(crate) doubtful_time: bool,
    /// When it came here.
    pub(crate) received_ms: u64,
    /// Whether it was edited.
    pub(crate) edited: bool,
    /// When it was last edited.
    pub(crate) edited_ms: Option<u64>,
    /// Its author took it back.
    pub(crate) retracted: bool,
    /// Its text hasn't arrived yet.
    pub(crate) missing: bool,
    /// Not read yet.
    pub(crate) unread: bool,
    /// Ours.
    pub(crate) own: bool,
    /// What people put under it.
    pub(crate) reactions: Vec<Reaction>,
    /// What a reblog embeds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reblog: Option<Reblogged>,
    /// Where a message of ours is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<Delivery>,
    /// When the other person read it, of a message in state `read`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) read_ms: Option<u64>,
    /// A message that disappears: so many seconds after it was read, an own one after it was delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lifetime_s: Option<u32>,
    /// When it disappears, once that has begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires_ms: Option<u64>,
    /// A line in a conversation that says how it is kept from there on; the text is empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) setting: Option<ConversationSetting>,
    /// How many people carry it, of a message in state `carried`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) carried_by: Option<u64>,
    /// A friend brought this message before what its author wrote earlier.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) ahead: bool,
    /// This message came in a letter under a key of last resort, which may have been used before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) weak_key: bool,
}

/// A change of how a conversation is kept.
#[derive(Serialize, ToSchema)]
pub(crate) struct ConversationSetting {
    /// Messages disappear so many seconds after they were read; 0 where they stay from now on; null where
    /// that wasn't changed.
    pub(crate) lifetime_s: Option<u32>,
    /// Its author only took over what the other person had set.
    pub(crate) taken_over: bool,
    /// Whether its author wants both to tell each other what was read; null where that wasn't changed.
    pub(crate) receipts: Option<bool>,
}

impl From<view::ConversationSetting> for ConversationSetting {
    fn from(setting: view::ConversationSetting) -> Self {
        Self {
            lifetime_s: setting.lifetime_s,
            taken_over: setting.taken_over,
            receipts: setting.receipts,
        }
    }
}

impl Post {
    pub(crate) fn of(post: view::Post, renderer: &Renderer) -> Self {
        let html = renderer.render(&post.body).as_str().to_owned();
        Self {
            id: post.id.to_string(),
            space: post.space.to_string(),
            topic: post.topic.to_string(),
            author: post.author.into(),
            html,
            body: post.body,
            title: post.title,
            tags: post.tags,
            parent: post.parent.map(|parent| parent.to_string()),
            created_ms: post.created_ms.0,
            doubtful_time: post.doubtful_time,
            received_ms: post.received_ms.0,
            edited: post.edited_ms.is_some(),
            edited_ms: post.edited_ms.map(|time| time.0),
            retracted: post.retracted,
            missing: post.missing,
            unread: post.unread,
            own: post.own,
            reactions: post
                .reactions
                .into_iter()
                .map(|reaction| Reaction {
                    emoji: reaction.emoji,
                    count: reaction.count,
                    own: reaction.own,
                    names: reaction.names,
                })
                .collect(),
            reblog: post.reblog.map(|original| Reblogged {
                html: renderer.render(&original.body).as_str().to_owned(),
                author: original.author.into(),
                title: original.title,
                body: original.body,
                created_ms: original.created_ms.0,
            }),
            read_ms: match post.delivery {
                Some(view::Delivery::Read(at)) => Some(at.0),
                _ => None,
            },
            lifetime_s: post.disappears.map(|disappears| disappears.lifetime_s),
            expires_ms: post
                .disappears
                .and_then(|disappears| disappears.at_ms)
                .map(|at| at.0),
            setting: post.setting.map(ConversationSetting::from),
            state: post.delivery.map(Delivery::from),
            carried_by: match post.delivery {
                Some(view::Delivery::Carried(people)) => Some(people),
                _ => None,
            },
            ahead: post.ahead,
            weak_key: post.weak_key,
        }
    }
}

/// A thread or article with a page of its entries.
#[derive(Serialize, ToSchema)]
pub(crate) struct TopicPage {
    /// What it is.
    #[serde(flatten)]
    pub(crate) topic: Topic,
    /// The first entry (on the first page), then replies, oldest first.
    pub(crate) items: Vec<Post>,
    /// The cursor of the next page, null at the end.
    pub(crate) next: Option<String>,
    /// The first unread entry and the page that begins with it.
    pub(crate) first_unread: Option<FirstUnread>,
    /// Older entries of its space that are known to exist and still arrive, here or elsewhere.
    pub(crate) arriving: u64,
}

/// Where to read on.
#[derive(Serialize, ToSchema)]
pub(crate) struct FirstUnread {
    /// The entry.
    pub(crate) id: String,
    /// The cursor of the page that begins with it.
    pub(crate) cursor: String,
}

impl TopicPage {
    pub(crate) fn of(page: view::TopicPage, renderer: &Renderer) -> Self {
        Self {
            topic: page.topic.into(),
            next: page.posts.next.map(|cursor| cursor.0),
            items: page
                .posts
                .items
                .into_iter()
                .map(|post| Post::of(post, renderer))
                .collect(),
            arriving: page.arriving,
            first_unread: page.first_unread.map(|(id, cursor)| FirstUnread {
                id: id.to_string(),
                cursor: cursor.0,
            }),
        }
    }
}

/// An article in a blog's list.
#[derive(Serialize, ToSchema)]
pub(crate) struct Article {
    /// The article; its text is empty and `missing` is true when it hasn't arrived.
    #[serde(flatten)]
    pub(crate) post: Post,
    /// Comments held.
    pub(crate) comments: u64,
    /// Newest activity.
    pub(crate) last_activity_ms: u64,
}

/// A conversation in a list.
#[derive(Serialize, ToSchema)]
pub(crate) struct Conversation {
    /// Its space.
    pub(crate) space: String,
    /// With whom.
    pub(crate) contact: Person,
    /// Unread messages.
    pub(crate) unread: u64,
    /// The newest message.
    pub(crate) last: Option<Post>,
    /// Newest activity.
    pub(crate) last_activity_ms: Option<u64>,
    /// How long messages stay.
    pub(crate) disappearing: Disappearing,
    /// Whether the two tell each other when messages are read.
    pub(crate) receipts: Receipts,
}

/// How long messages of a conversation stay.
#[derive(Serialize, ToSchema)]
pub(crate) struct Disappearing {
    /// They disappear so many seconds after they were read; 0 where they stay.
    pub(crate) lifetime_s: u32,
    /// Who set that; null where nobody ever did.
    pub(crate) set_by: Option<Person>,
    /// When, by the author's claim.
    pub(crate) set_ms: Option<u64>,
}

/// Whether two people tell each other when messages are read: only while both want that.
#[derive(Serialize, ToSchema)]
pub(crate) struct Receipts {
    /// We want that.
    pub(crate) ours: bool,
    /// The other person wants that.
    pub(crate) theirs: bool,
}

impl From<view::Receipts> for Receipts {
    fn from(receipts: view::Receipts) -> Self {
        Self {
            ours: receipts.ours,
            theirs: receipts.theirs,
        }
    }
}

impl From<view::Disappearing> for Disappearing {
    fn from(disappearing: view::Disappearing) -> Self {
        Self {
            lifetime_s: disappearing.lifetime_s,
            set_by: disappearing.set_by.map(Person::from),
            set_ms: disappearing.set_ms.map(|time| time.0),
        }
    }
}

impl Conversation {
    pub(crate) fn of(conversation: view::Conversation, renderer: &Renderer) -> Self {
        Self {
            space: conversation.space.to_string(),
            contact: conversation.contact.into(),
            unread: conversation.unread,
            last: conversation.last.map(|post| Post::of(post, renderer)),
            last_activity_ms: conversation.last_activity_ms.map(|time| time.0),
            disappearing: conversation.disappearing.into(),
            receipts: conversation.receipts.into(),
        }
    }
}

/// A conversation with a page of its messages.
#[derive(Serialize, ToSchema)]
pub(crate) struct ConversationPage {
    /// Its space.
    pub(crate) space: String,
    /// With whom.
    pub(crate) contact: Person,
    /// Unread messages.
    pub(crate) unread: u64,
    /// How long messages stay.
    pub(crate) disappearing: Disappearing,
    /// Whether the two tell each other when messages are read.
    pub(crate) receipts: Receipts,
    /// Messages, oldest first.
    pub(crate) items: Vec<Post>,
    /// The cursor of the next page, null at the end.
    pub(crate) next: Option<String>,
    /// The cursor of the page before, null at the beginning.
    pub(crate) previous: Option<String>,
    /// Older entries that are known to exist and still arrive: newer ones came first.
    pub(crate) arriving: u64,
}

impl ConversationPage {
    pub(crate) fn of(page: view::ConversationPage, renderer: &Renderer) -> Self {
        Self {
            space: page.conversation.space.to_string(),
            contact: page.conversation.contact.into(),
            unread: page.conversation.unread,
            disappearing: page.conversation.disappearing.into(),
            receipts: page.conversation.receipts.into(),
            next: page.posts.next.map(|cursor| cursor.0),
            previous: page.previous.map(|cursor| cursor.0),
            arriving: page.arriving,
            items: page
                .posts
                .items
                .into_iter()
                .map(|post| Post::of(post, renderer))
                .collect(),
        }
    }
}

/// An earlier or the present version of an entry.
#[derive(Serialize, ToSchema)]
pub(crate) struct Version {
    /// The entry that holds it.
    pub(crate) id: String,
    /// The author's claim.
    pub(crate) created_ms: u64,
    /// Its title.
    pub(crate) title: Option<String>,
    /// Its text as written.
    pub(crate) body: String,
    /// Its text as HTML that is safe to show.
    pub(crate) html: String,
}

impl Version {
    pub(crate) fn of(version: view::Version, renderer: &Renderer) -> Self {
        Self {
            id: version.id.to_string(),
            created_ms: version.created_ms.0,
            html: renderer.render(&version.body).as_str().to_owned(),
            title: version.title,
            body: version.body,
        }
    }
}

/// Something new: exactly one of the two.
#[derive(Serialize, ToSchema)]
pub(crate) struct News {
    /// A thread or article with something new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) topic: Option<Topic>,
    /// A conversation with something new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) conversation: Option<Conversation>,
}

impl News {
    pub(crate) fn of(news: view::News, renderer: &Renderer) -> Self {
        match news {
            view::News::Topic(topic) => Self {
                topic: Some((*topic).into()),
                conversation: None,
            },
            view::News::Conversation(conversation) => Self {
                topic: None,
                conversation: Some(Conversation::of(*conversation, renderer)),
            },
        }
    }
}

/// A search hit.
#[derive(Serialize, ToSchema)]
pub(crate) struct Hit {
    /// The entry.
    #[serde(flatten)]
    pub(crate) post: Post,
    /// Its space's kind.
    pub(crate) kind: SpaceKind,
    /// Its space's name.
    pub(crate) space_name: String,
    /// The title of its thread or article, empty for a message.
    pub(crate) topic_title: String,
    /// With whom, when it is a message.
    pub(crate) contact: Option<String>,
    /// The text around the match.
    pub(crate) excerpt: String,
}

impl Hit {
    pub(crate) fn of(hit: view::Hit, renderer: &Renderer) -> Self {
        Self {
            post: Post::of(hit.post, renderer),
            kind: hit.kind.into(),
            space_name: hit.space_name,
            topic_title: hit.title,
            contact: hit.contact.map(|contact| contact.to_string()),
            excerpt: hit.excerpt,
        }
    }
}
