//! Writing: threads, replies, articles, messages, edits, retracts, reactions, read marks.

use proto::{
    EntryId, IdentityId, Millis, SpaceId,
    body::{Answer, Body, Quotable, Reblog, Setting},
    keys::DeviceKey,
    limits::{REACTION_CHARS_MAX, TAG_CHARS_MAX, TAGS_MAX, TEXT_BYTES_MAX, TITLE_CHARS_MAX},
    space::SpaceKind,
    text,
};

use super::Node;
use crate::{
    Error, Result,
    circles::{self, Writes},
    clock,
    error::invalid,
    event::EventKind,
    events::About,
    files, letters,
    records::ContactState,
    spaces::{self, Written},
    vanish,
    view::{Edit, PageQuery, Post, TopicPage},
};

/// Entries that one call marks read.
const MARKS_MAX: usize = 1_000;

impl Node {
    /// Begins a thread.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Invalid`].
    pub async fn create_thread(
        &self,
        forum: SpaceId,
        title: &str,
        body: &str,
    ) -> Result<TopicPage> {
        self.0.ready()?;
        let (title, body) = (checked_title(title)?, checked_text(body)?);
        self.space_of_kind(forum, SpaceKind::Forum, "the forum")?;
        let written = self
            .write(forum, move |_| Ok(Owned::Thread { title, text: body }))
            .await?;
        self.topic(written.id, &PageQuery::default())
    }

    /// Begins a thread in a circle.
    ///
    /// # Errors
    /// As [`Self::create_thread`]; [`Error::Conflict`] where it is closed, or we were removed.
    pub async fn create_circle_thread(
        &self,
        circle: SpaceId,
        title: &str,
        body: &str,
    ) -> Result<TopicPage> {
        self.0.ready()?;
        let (title, body) = (checked_title(title)?, checked_text(body)?);
        self.space_of_kind(circle, SpaceKind::Circle, "the circle")?;
        let written = self
            .write(circle, move |_| Ok(Owned::Thread { title, text: body }))
            .await?;
        self.topic(written.id, &PageQuery::default())
    }

    /// Answers in a thread or comments on an article.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Invalid`].
    pub async fn reply(&self, topic: EntryId, body: &str, parent: Option<EntryId>) -> Result<Post> {
        self.0.ready()?;
        let body = checked_text(body)?;
        let (space, kind) = {
            let snapshot = self.0.store.read()?;
            let topic_row = snapshot.topic(topic)?.ok_or(Error::NotFound {
                what: "the thread or article",
            })?;
            if let Some(parent) = parent.filter(|parent| *parent != topic) {
                let item = snapshot.item(parent)?.filter(|item| item.topic == topic);
                item.ok_or_else(|| {
                    invalid("parent", "expected an entry of the same thread or article")
                })?;
            }
            (topic_row.space, topic_row.kind)
        };
        let parent = parent.filter(|parent| *parent != topic);
        let comment = kind == store::TopicKind::Article;
        let written = self
            .write(space, move |_| {
                Ok(Owned::Answer {
                    comment,
                    root: topic,
                    text: body,
                    parent,
                })
            })
            .await?;
        self.entry(written.id)
    }

    /// Publishes in the own blog.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub async fn publish(&self, title: &str, body: &str, tags: &[String]) -> Result<Post> {
        let (title, body, tags) = (
            checked_title(title)?,
            checked_text(body)?,
            checked_tags(tags)?,
        );
        let blog = self.own_blog()?;
        let written = self
            .write(blog, move |_| {
                Ok(Owned::Article {
                    title,
                    text: body,
                    tags,
                })
            })
            .await?;
        self.entry(written.id)
    }

    /// Publishes somebody's article in the own blog, the signed original inside, with an own note.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Invalid`], [`Error::Conflict`] where it was retracted or is missing.
    pub async fn reblog(&self, article: EntryId, note: &str) -> Result<Post> {
        let note = note.trim().replace("\r\n", "\n");
        if note.len() > TEXT_BYTES_MAX || note.contains('\0') {
            return Err(invalid(
                "note",
                &format!("expected at most {TEXT_BYTES_MAX} bytes"),
            ));
        }
        let blog = self.own_blog()?;
        let written = self
            .write(blog, move |txn| {
                let original = txn.quote(article)?;
                let original = original.ok_or_else(|| store::Error::Refused("this can't be reblogged: it is no article, or it was retracted or hasn't arrived".into()))?;
                Ok(Owned::Reblog { note, original: Box::new(original) })
            })
            .await?;
        self.entry(written.id)
    }

    /// Writes to a contact.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Invalid`], [`Error::Conflict`] for one who isn't a contact yet.
    pub async fn send_message(
        &self,
        contact: IdentityId,
        body: &str,
        parent: Option<EntryId>,
    ) -> Result<Post> {
        self.0.ready()?;
        let body = checked_text(body)?;
        let space = {
            let snapshot = self.0.store.read()?;
            let space = self.conversation_space(&snapshot, contact)?;
            if let Some(parent) = parent {
                let item = snapshot.item(parent)?.filter(|item| item.space == space);
                item.ok_or_else(|| {
                    invalid("parent", "expected a message of the same conversation")
                })?;
            }
            space
        };
        let written = self
            .write(space, move |_| Ok(Owned::Message { text: body, parent }))
            .await?;
        self.entry(written.id)
    }

    /// Writes a new version of an own entry; the earlier ones stay readable.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotAllowed`] for others' entries, [`Error::Invalid`],
    /// [`Error::Conflict`] for a retracted one.
    pub async fn edit(&self, id: EntryId, edit: Edit) -> Result<Post> {
        let before = self.own_entry(id)?;
        if before.retracted {
            return Err(Error::Conflict {
                detail: "it was retracted: there is nothing left to edit".into(),
            });
        }
        let article = before.title.is_some() && self.is_blog(before.space)?;
        let title = edit.title.as_deref().map(checked_title).transpose()?;
        let body = edit.body.as_deref().map(checked_text).transpose()?;
        let tags = edit.tags.as_deref().map(checked_tags).transpose()?;
        if title.is_some() && before.title.is_none() {
            return Err(invalid(
                "title",
                "only the first post of a thread and an article have a title",
            ));
        }
        if before.reblog.is_some() && (title.is_some() || tags.is_some()) {
            return Err(invalid(
                "title",
                "of a reblog only the own note can be edited",
            ));
        }
        if tags.is_some() && !article {
            return Err(invalid("tags", "only an article has tags"));
        }
        if title.is_none() && body.is_none() && tags.is_none() {
            return Err(invalid("body", "expected something to change"));
        }
        if before.disappears.is_some() && !self.agreement(before.space)?.in_force.lifetime().ends()
        {
            return Err(Error::Conflict {
                detail:
                    "it was written to disappear, and messages stay now: an edit would outlive it"
                        .into(),
            });
        }
        let created = before.created_ms;
        let whole = article && before.reblog.is_none();
        let (old_title, old_body, old_tags) =
            (before.title.unwrap_or_default(), before.body, before.tags);
        self.write(before.space, move |_| {
            Ok(if whole {
                // The whole article is signed anew, so that its newest version can be reblogged.
                let (title, text) = (title.unwrap_or(old_title), body.unwrap_or(old_body));
                Owned::ArticleEdit {
                    target: id,
                    title,
                    text,
                    tags: tags.unwrap_or(old_tags),
                    created,
                }
            } else {
                Owned::Edit {
                    target: id,
                    title,
                    text: body,
                }
            })
        })
        .await?;
        self.entry(id)
    }

    /// Takes an own entry back: its text is dropped here and wherever the retract arrives.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotAllowed`] for others' entries.
    pub async fn retract(&self, id: EntryId) -> Result<Post> {
        let before = self.own_entry(id)?;
        if !before.retracted {
            self.write(before.space, move |_| Ok(Owned::Retract { target: id }))
                .await?;
        }
        self.entry(id)
    }

    /// Gives or takes back a reaction.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Invalid`].
    pub async fn react(&self, id: EntryId, emoji: &str, on: bool) -> Result<Post> {
        let emoji = emoji.trim().to_owned();
        if !text::is_line(&emoji, REACTION_CHARS_MAX) {
            return Err(invalid(
                "emoji",
                &format!("expected 1 to {REACTION_CHARS_MAX} characters"),
            ));
        }
        let before = self.entry(id)?;
        check_words(&before)?;
        let given = before
            .reactions
            .iter()
            .any(|reaction| reaction.own && reaction.emoji == emoji);
        if given != on {
            if before.retracted {
                return Err(Error::Conflict {
                    detail: "it was retracted".into(),
                });
            }
            let salt = salt();
            self.write(before.space, move |_| {
                Ok(Owned::Reaction {
                    target: id,
                    emoji,
                    on,
                    salt,
                })
            })
            .await?;
        }
        self.entry(id)
    }

    /// Marks an entry read.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn mark_read(&self, id: EntryId) -> Result<()> {
        self.entry(id)?;
        self.mark_many_read(&[id]).await
    }

    /// Marks several entries read in one go; unknown ones are passed over.
    ///
    /// # Errors
    /// [`Error::Invalid`] for too many.
    pub async fn mark_many_read(&self, ids: &[EntryId]) -> Result<()> {
        self.0.ready()?;
        if ids.len() > MARKS_MAX {
            return Err(invalid("ids", &format!("expected at most {MARKS_MAX}")));
        }
        let (ids, now) = (ids.to_vec(), clock::now());
        let spaces = self
            .0
            .store
            .write(move |txn| {
                let mut spaces = txn.mark_read(&ids, now)?;
                spaces.extend(letters::mark_read(txn, &ids, now)?);
                Ok(spaces)
            })
            .await?;
        self.tell_marked(spaces);
        Ok(())
    }

    /// Marks everything in a thread or article read.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn mark_topic_read(&self, topic: EntryId) -> Result<()> {
        self.0.ready()?;
        let row = self.0.store.read()?.topic(topic)?.ok_or(Error::NotFound {
            what: "the thread or article",
        })?;
        let marked = self
            .0
            .store
            .write(move |txn| txn.mark_topic_read(row.number, clock::now()))
            .await?;
        self.tell_marked(marked);
        Ok(())
    }

    /// Marks everything in a space read.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn mark_space_read(&self, space: SpaceId) -> Result<()> {
        self.0.ready()?;
        self.0
            .store
            .read()?
            .space(space)?
            .ok_or(Error::NotFound { what: "the space" })?;
        let changed = self
            .0
            .store
            .write(move |txn| {
                let now = clock::now();
                let loose = letters::mark_space_read(txn, space, now)?;
                Ok(txn.mark_space_read(space, now)? || loose)
            })
            .await?;
        self.tell_marked(changed.then_some(space));
        Ok(())
    }

    fn tell_marked(&self, spaces: impl IntoIterator<Item = SpaceId>) {
        let about = |space| {
            (
                EventKind::Sync,
                About {
                    space: Some(space),
                    ..About::default()
                },
            )
        };
        self.0.events.emit_all(spaces.into_iter().map(about));
        self.0.was_read.notify_one();
    }

    /// Appends an own entry and tells everybody. Durable when it returns.
    pub(super) async fn write<F>(&self, space: SpaceId, body: F) -> Result<Written>
    where
        F: FnOnce(&store::Txn<'_>) -> Result<Owned, store::Error> + Send + 'static,
    {
        let keys = self.0.ready()?;
        let now = clock::now();
        let written = self
            .0
            .store
            .write(move |txn| {
                let owned = body(txn)?;
                circles::check_open(txn, &keys, space, owned.writes())?;
                let before = if owned.can_vanish() {
                    vanish::take_over_setting(txn, &keys, space, now)?
                } else {
                    None
                };
                let mut written = owned.with(&keys.device, now, |body| {
                    spaces::append(txn, &keys, space, now, body)
                })?;
                if let Some(before) = before {
                    written.entries.splice(..0, before.entries);
                }
                Ok(written)
            })
            .await?;
        self.0.tell_written(&written);
        Ok(written)
    }

    fn own_blog(&self) -> Result<SpaceId> {
        let keys = self.0.ready()?;
        let blog = spaces::own_blog(&self.0.store.read()?, keys.identity.id())?;
        blog.map(|blog| blog.id).ok_or(Error::NotFound {
            what: "the own blog",
        })
    }

    fn is_blog(&self, space: SpaceId) -> Result<bool> {
        Ok(self
            .0
            .store
            .read()?
            .space(space)?
            .is_some_and(|space| space.kind == SpaceKind::Blog))
    }

    fn space_of_kind(&self, id: SpaceId, kind: SpaceKind, what: &'static str) -> Result<()> {
        let space = self.0.store.read()?.space(id)?;
        space
            .filter(|space| space.kind == kind)
            .map(|_| ())
            .ok_or(Error::NotFound { what })
    }

    fn own_entry(&self, id: EntryId) -> Result<Post> {
        let post = self.entry(id)?;
        check_words(&post)?;
        if post.own {
            Ok(post)
        } else {
            Err(Error::NotAllowed {
                detail: "it is somebody else's".into(),
            })
        }
    }

    /// The space of the conversation with a contact.
    pub(crate) fn conversation_space(
        &self,
        snapshot: &store::Snapshot,
        contact: IdentityId,
    ) -> Result<SpaceId> {
        let row = snapshot.contact(&contact)?.ok_or(Error::NotFound {
            what: "the contact",
        })?;
        match row.pair_secret {
            Some(secret) if row.state == ContactState::Ready => {
                Ok(proto::space::conversation_id(&secret.0))
            }
            _ => Err(Error::Conflict {
                detail: "this contact hasn't been accepted by both sides yet".into(),
            }),
        }
    }
}

/// A setting of a conversation stands as it is.
fn check_words(post: &Post) -> Result<()> {
    if post.setting.is_some() {
        return Err(Error::Conflict {
            detail: "this says how messages are kept: it stays, and another one can be chosen"
                .into(),
        });
    }
    Ok(())
}

/// A body to be written, with its texts.
pub(super) enum Owned {
    Thread {
        title: String,
        text: String,
    },
    Answer {
        comment: bool,
        root: EntryId,
        text: String,
        parent: Option<EntryId>,
    },
    Article {
        title: String,
        text: String,
        tags: Vec<String>,
    },
    ArticleEdit {
        target: EntryId,
        title: String,
        text: String,
        tags: Vec<String>,
        created: Millis,
    },
    Reblog {
        note: String,
        original: Box<store::Quote>,
    },
    Edit {
        target: EntryId,
        title: Option<String>,
        text: Option<String>,
    },
    Retract {
        target: EntryId,
    },
    Setting(Setting),
    Reaction {
        target: EntryId,
        emoji: String,
        on: bool,
        salt: [u8; 8],
    },
    Message {
        text: String,
        parent: Option<EntryId>,
    },
}

impl Owned {
    const fn writes(&self) -> Writes {
        match self {
            Self::Answer { root, .. } => Writes::In(*root),
            Self::Retract { .. } => Writes::Retract,
            _ => Writes::Any,
        }
    }

    fn with<R>(&self, key: &DeviceKey, now: Millis, write: impl FnOnce(&Body<'_>) -> R) -> R {
        match self {
            Self::Thread { title, text } => write(&Body::Thread { title, text }),
            Self::Answer {
                comment,
                root,
                text,
                parent,
            } => {
                let answer = Answer {
                    root: *root,
                    text,
                    parent: *parent,
                };
                write(&if *comment {
                    Body::Comment(answer)
                } else {
                    Body::Reply(answer)
                })
            }
            Self::Article { title, text, tags } => {
                let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
                let quote = Quotable {
                    title,
                    text,
                    tags: tags.clone(),
                    created: now,
                }
                .sign(key);
                write(&Body::Article {
                    title,
                    text,
                    tags,
                    quote,
                })
            }
            Self::ArticleEdit {
                target,
                title,
                text,
                tags,
                created,
            } => {
                let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
                let quote = Quotable {
                    title,
                    text,
                    tags: tags.clone(),
                    created: *created,
                }
                .sign(key);
                write(&Body::Edit {
                    target: *target,
                    title: Some(title),
                    text: Some(text),
                    tags: Some(tags),
                    quote: Some(quote),
                    salt: Some(salt()),
                })
            }
            Self::Reblog { note, original } => {
                let tags = original.tags.iter().map(String::as_str).collect();
                let quotable = Quotable {
                    title: &original.title,
                    text: &original.text,
                    tags,
                    created: original.created,
                };
                write(&Body::Reblog(Box::new(Reblog {
                    note,
                    original: quotable,
                    quote: original.signature,
                    certificate: original.certificate.clone(),
                    name: &original.name,
                })))
            }
            Self::Edit {
                target,
                title,
                text,
            } => write(&Body::Edit {
                target: *target,
                title: title.as_deref(),
                text: text.as_deref(),
                tags: None,
                quote: None,
                salt: Some(salt()),
            }),
            Self::Retract { target } => write(&Body::Retract { target: *target }),
            Self::Reaction {
                target,
                emoji,
                on,
                salt,
            } => write(&Body::Reaction {
                target: *target,
                emoji,
                on: *on,
                salt: *salt,
            }),
            Self::Setting(setting) => write(&Body::Setting(*setting)),
            Self::Message { text, parent } => write(&Body::Message {
                text,
                parent: *parent,
                salt: Some(salt()),
            }),
        }
    }
}

impl Owned {
    /// Whether it goes when the time of a disappearing message is over.
    const fn can_vanish(&self) -> bool {
        matches!(
            self,
            Self::Message { .. } | Self::Edit { .. } | Self::Reaction { .. }
        )
    }
}

/// What keeps a text that is gone from being guessed from its hash.
fn salt() -> [u8; 8] {
    let mut salt = [0; 8];
    files::fill_random(&mut salt);
    salt
}

fn checked_title(title: &str) -> Result<String> {
    let title = title.trim();
    if text::is_line(title, TITLE_CHARS_MAX) {
        return Ok(title.to_owned());
    }
    let found = title.chars().count();
    Err(invalid(
        "title",
        &format!("expected 1 to {TITLE_CHARS_MAX} characters without line breaks, found {found}"),
    ))
}

/// Browsers send line ends as CR LF; texts keep LF.
fn checked_text(body: &str) -> Result<String> {
    let body = body.replace("\r\n", "\n");
    if text::is_body(&body, TEXT_BYTES_MAX) {
        return Ok(body);
    }
    Err(invalid(
        "body",
        &format!(
            "expected a text of at most {TEXT_BYTES_MAX} bytes that isn't empty, found {} bytes",
            body.len()
        ),
    ))
}

fn checked_tags(tags: &[String]) -> Result<Vec<String>> {
    if tags.len() > TAGS_MAX {
        let found = tags.len();
        return Err(invalid(
            "tags",
            &format!("expected at most {TAGS_MAX} tags, found {found}"),
        ));
    }
    let mut checked: Vec<String> = Vec::new();
    for tag in tags
        .iter()
        .map(|tag| tag.trim().trim_start_matches('#').to_lowercase())
    {
        if !text::is_line(&tag, TAG_CHARS_MAX) {
            return Err(invalid(
                "tags",
                &format!("expected tags of at most {TAG_CHARS_MAX} characters without line breaks"),
            ));
        }
        if !checked.contains(&tag) {
            checked.push(tag);
        }
    }
    Ok(checked)
}
