//! What several pages show: a person, a post, a draft.

use askama::{Template, filters::HtmlSafe};
use engine::{
    Millis,
    view::{Delivery, LinkKind, Person, Post, Relation, Trust},
};

use super::{
    keeping::{disappears, setting_words},
    when::When,
    words,
};
use crate::markdown::{Markup, Renderer, plain_text};

/// Reactions that are offered; others are shown where somebody gave them.
pub(crate) const REACTIONS: [&str; 6] = ["👍", "❤️", "😄", "😮", "😢", "🎉"];
/// Characters of the text that an answer refers to.
const PARENT_EXCERPT_CHARS: usize = 80;

/// A person's name, and what they are to us.
#[derive(Template, Clone)]
#[template(path = "part/who.html")]
pub(crate) struct Who {
    pub(crate) name: String,
    /// The page of a contact.
    pub(crate) href: Option<String>,
    own_name: Option<String>,
    own: bool,
    /// A sign and what it means.
    mark: Option<(&'static str, &'static str)>,
    /// Tells two strangers of one name apart.
    key: Option<String>,
}

impl HtmlSafe for Who {}

impl From<&Person> for Who {
    fn from(person: &Person) -> Self {
        let id = person.id.to_string();
        let stranger = person.relation == Relation::Stranger;
        Self {
            name: words::name(&person.name),
            href: matches!(person.relation, Relation::Contact(_))
                .then(|| format!("/contacts/{id}")),
            own_name: person.own_name.as_deref().map(words::name),
            own: person.relation == Relation::Own,
            mark: match person.relation {
                Relation::Contact(trust) => trust_mark(trust),
                Relation::Own | Relation::Stranger => None,
            },
            key: stranger.then(|| id.chars().take(6).collect()),
        }
    }
}

fn trust_mark(trust: Trust) -> Option<(&'static str, &'static str)> {
    match trust {
        Trust::Verified => Some(("✓", "verified face to face")),
        Trust::Words => Some(("✓", "words compared")),
        Trust::Introduced | Trust::Unverified => None,
    }
}

/// A trust mark in words.
pub(crate) const fn trust_words(trust: Trust) -> &'static str {
    match trust {
        Trust::Unverified => "Not verified: added by a link, nothing compared yet",
        Trust::Introduced => "Introduced by a contact you both have",
        Trust::Words => "Verified by comparing words",
        Trust::Verified => "Verified face to face",
    }
}

/// A link's kind in words.
pub(crate) const fn link_words(kind: LinkKind) -> &'static str {
    match kind {
        LinkKind::Loopback => "this machine",
        LinkKind::Lan => "the local network",
        LinkKind::Internet => "the internet",
        LinkKind::Relay => "a relay",
        LinkKind::Bluetooth => "Bluetooth",
    }
}

/// Where a message is, in words.
fn delivery_words(delivery: Delivery) -> String {
    match delivery {
        Delivery::Written => "written".to_owned(),
        Delivery::Waiting => "waiting for a meeting".to_owned(),
        Delivery::Carried(1) => "carried by one person".to_owned(),
        Delivery::Carried(people) => format!("carried by {people} people"),
        Delivery::Delivered => "delivered".to_owned(),
        Delivery::Read(_) => "read".to_owned(),
        Delivery::Expired => "expired: nobody carries it any more".to_owned(),
    }
}

/// One reaction below a post.
pub(crate) struct ReactionView {
    emoji: String,
    count: u64,
    own: bool,
    names: String,
}

/// What a post answers.
pub(crate) struct ParentView {
    id: String,
    who: Option<Who>,
    excerpt: String,
    /// On this page, so that a jump suffices.
    here: bool,
}

/// The original inside a reblog.
pub(crate) struct OriginalView {
    who: Who,
    title: String,
    html: Markup,
    when: When,
}

/// A post, an article, a comment or a message.
#[derive(Template)]
#[template(path = "part/post.html")]
pub(crate) struct PostView {
    pub(crate) id: String,
    /// Where it is answered, up to the name of the answered entry.
    answer_href: String,
    who: Who,
    when: When,
    edited: Option<When>,
    html: Markup,
    tags: Vec<String>,
    retracted: bool,
    missing: bool,
    pub(crate) unread: bool,
    own: bool,
    /// Steps from the margin.
    pub(crate) depth: usize,
    pub(crate) parent: Option<ParentView>,
    reactions: Vec<ReactionView>,
    /// Those of [`REACTIONS`] that nobody gave yet.
    offered: Vec<&'static str>,
    original: Option<OriginalView>,
    delivery: Option<String>,
    /// It can be sent again.
    expired: bool,
    /// Brought before what its author wrote earlier.
    ahead: bool,
    /// Sealed under a key of last resort.
    weak_key: bool,
    form_token: String,
    /// When it goes, of a message that disappears.
    disappears: Option<String>,
    /// It stands in a conversation.
    message: bool,
    /// What it says of how the conversation is kept, in place of a text.
    line: Option<String>,
    /// It stands where nothing can be answered.
    pub(crate) closed: bool,
    /// The form that answers this post.
    pub(crate) reply: Option<ReplyForm>,
    /// The first entry of an article, whose head shows author and time.
    pub(crate) headless: bool,
}

impl HtmlSafe for PostView {}

impl PostView {
    pub(crate) fn of(
        post: &Post,
        answer_href: &str,
        form_token: &str,
        renderer: &Renderer,
        now: Millis,
    ) -> Self {
        let offered = REACTIONS
            .into_iter()
            .filter(|emoji| post.reactions.iter().all(|given| given.emoji != *emoji))
            .collect();
        Self {
            id: post.id.to_string(),
            answer_href: answer_href.to_owned(),
            who: Who::from(&post.author),
            when: if post.doubtful_time {
                When::doubtful(post.created_ms)
            } else {
                When::of(post.created_ms, now)
            },
            edited: post.edited_ms.map(|time| When::of(time, now)),
            html: renderer.render(&post.body),
            tags: post.tags.clone(),
            retracted: post.retracted,
            missing: post.missing,
            unread: post.unread,
            own: post.own,
            depth: 0,
            closed: false,
            parent: post.parent.map(|parent| ParentView {
                id: parent.to_string(),
                who: post.parent_excerpt.as_ref().map(|(who, _)| Who::from(who)),
                excerpt: post
                    .parent_excerpt
                    .as_ref()
                    .map(|(_, text)| words::excerpt(&plain_text(text), PARENT_EXCERPT_CHARS))
                    .unwrap_or_default(),
                here: false,
            }),
            reactions: post
                .reactions
                .iter()
                .map(|reaction| ReactionView {
                    emoji: reaction.emoji.clone(),
                    count: reaction.count,
                    own: reaction.own,
                    names: reaction
                        .names
                        .iter()
                        .map(|name| words::name(name))
                        .collect::<Vec<_>>()
                        .join(", "),
                })
                .collect(),
            offered,
            original: post.reblog.as_ref().map(|original| OriginalView {
                who: Who::from(&original.author),
                title: words::title(&original.title),
                html: renderer.render(&original.body),
                when: When::of(original.created_ms, now),
            }),
            expired: post.delivery == Some(Delivery::Expired),
            ahead: post.ahead,
            weak_key: post.weak_key,
            delivery: post.delivery.map(delivery_words),
            disappears: post.disappears.map(|when| disappears(&when, post.own, now)),
            message: post.private,
            line: post
                .setting
                .as_ref()
                .map(|setting| setting_words(setting, post.own)),
            form_token: form_token.to_owned(),
            reply: None,
            headless: false,
        }
    }

    /// The parent stands on the same page.
    pub(crate) fn parent_is_here(&mut self) {
        if let Some(parent) = &mut self.parent {
            parent.here = true;
        }
    }
}

/// A form that answers something, below what it answers.
#[derive(Template)]
#[template(path = "part/reply.html")]
pub(crate) struct ReplyForm {
    pub(crate) action: String,
    pub(crate) parent: Option<String>,
    /// To whom, where it isn't the topic as a whole.
    pub(crate) to: Option<String>,
    pub(crate) body: String,
    pub(crate) error: Option<String>,
    pub(crate) button: &'static str,
    pub(crate) cancel: Option<String>,
    pub(crate) form_token: String,
    pub(crate) focus: bool,
}

impl HtmlSafe for ReplyForm {}

/// What somebody typed, kept when it didn't fit.
#[derive(Default)]
pub(crate) struct Draft {
    pub(crate) title: String,
    pub(crate) body: String,
    pub(crate) tags: String,
    pub(crate) error: Option<String>,
}

/// Words separated by commas, as tags.
pub(crate) fn tags(text: &str) -> Vec<String> {
    text.split(',')
        .map(str::trim)
        .filter(|tag| !tag.is_empty())
        .map(ToOwned::to_owned)
        .collect()
}
