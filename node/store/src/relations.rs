//! Edits and reactions: which of several by one identity counts.
//!
//! Within a feed the later entry counts, whatever its clock said. Between an identity's devices
//! the claimed times decide, each device's never running backwards; then the device's id. So
//! everybody who holds the same entries shows the same.

use std::collections::BTreeMap;

use proto::{
    DeviceId, EntryId, IdentityId, Millis,
    admission::Certificate,
    body::{Body, Quotable},
    keys::Signature,
};

use crate::{
    error::Result,
    keys::{Key, Place, Prefixed, number},
    project::{is_about, known_body, relation_place},
    reading::{Item, Row, Shared},
    roles::Relation,
    tables::{Source, Table},
    view::View,
};

/// Relations of one entry that a page looks at: more than a thousand people's reactions. Edits
/// come first.
const RELATIONS_MAX: usize = 4_096;
/// Edits of one entry that are read to find its newest title, text and tags.
const EDITS_READ_MAX: usize = 64;

/// An emoji under an entry and who gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reaction {
    /// The emoji.
    pub emoji: String,
    /// Who, by identity.
    pub by: Vec<IdentityId>,
}

/// One version of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The entry that holds it.
    pub id: EntryId,
    /// The author's claim of the time.
    pub created: Millis,
    /// Its title.
    pub title: Option<String>,
    /// Its text as written.
    pub text: String,
    /// Its tags.
    pub tags: Vec<String>,
}

/// What it takes to embed an article elsewhere: its signed content and who signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// The title.
    pub title: String,
    /// The text as written.
    pub text: String,
    /// The tags.
    pub tags: Vec<String>,
    /// The time that was signed.
    pub created: Millis,
    /// The device's signature of the content.
    pub signature: Signature,
    /// Whose device.
    pub certificate: Certificate,
    /// The author's name.
    pub name: String,
}

/// Where a relation stands among those of one identity: later ones count.
type Rank = (u64, DeviceId, u64);

#[derive(Default)]
struct Related {
    /// In order, the newest last.
    edits: Vec<(Rank, Place, Millis)>,
    reactions: Vec<Reaction>,
}

impl<S: Source> View<S> {
    /// Edits by the author and everybody's reactions.
    fn related(
        &self,
        shared: &mut Shared<'_, S>,
        space: u32,
        id: &EntryId,
        author: IdentityId,
    ) -> Result<Related> {
        let range = Prefixed::new(Key::new().u32(space).half(id));
        let mut related = Related::default();
        // Per emoji and identity the one that counts, and whether it gives or takes back.
        let mut reactions: BTreeMap<(String, IdentityId), (Rank, bool)> = BTreeMap::new();
        let mut feed = (0, 0, 0);
        for row in self
            .0
            .rows(Table::Relations, range.bounds())?
            .take(RELATIONS_MAX)
        {
            let (key, value) = row?;
            let (key, value) = (key.value(), value.value());
            let kind = key.get(20).copied().unwrap_or(0);
            let place = relation_place(key);
            if !is_about(value, id) {
                continue;
            }
            let row = shared.feed(place.feed)?;
            let (device, Some(by)) = (row.device, row.author) else {
                continue;
            };
            let created = number(value.get(17..25).unwrap_or_default());
            // A feed's claims never run backwards.
            let before = if (feed.0, feed.1) == (kind, place.feed) {
                feed.2
            } else {
                0
            };
            let time = created.max(before);
            feed = (kind, place.feed, time);
            let rank = (time, device, place.seq);
            match kind {
                Relation::EDIT if by == author => {
                    related.edits.push((rank, place, Millis(created)));
                }
                Relation::REACTION => {
                    let on = value.get(25) == Some(&1);
                    let emoji = value.get(26..).unwrap_or_default();
                    let emoji = String::from_utf8_lossy(emoji).into_owned();
                    let known = reactions.entry((emoji, by)).or_insert((rank, on));
                    if known.0 < rank {
                        *known = (rank, on);
                    }
                }
                _ => {}
            }
        }
        related.edits.sort_unstable_by_key(|(rank, _, _)| *rank);
        for ((emoji, by), (_, on)) in reactions {
            if !on {
                continue;
            }
            match related.reactions.last_mut() {
                Some(known) if known.emoji == emoji => known.by.push(by),
                _ => related.reactions.push(Reaction {
                    emoji,
                    by: vec![by],
                }),
            }
        }
        Ok(related)
    }

    /// Puts newest versions and reactions on the items of a page.
    pub(crate) fn dress(
        &self,
        shared: &mut Shared<'_, S>,
        rows: &[Row<'_>],
        items: &mut [Item],
    ) -> Result<()> {
        let mut edited = Vec::new();
        for (at, (row, item)) in rows.iter().zip(items.iter_mut()).enumerate() {
            if item.retracted || item.missing {
                continue;
            }
            let related = self.related(shared, row.topic.space, &item.id, item.author)?;
            item.reactions = related.reactions;
            item.edited = related.edits.last().map(|(_, _, created)| *created);
            let newest: Vec<Place> = related
                .edits
                .iter()
                .rev()
                .take(EDITS_READ_MAX)
                .map(|(_, place, _)| *place)
                .collect();
            if !newest.is_empty() {
                edited.push((at, newest));
            }
        }
        if edited.is_empty() {
            return Ok(());
        }
        let places = edited.iter().flat_map(|(_, places)| places.iter().copied());
        let loaded = self.entries_at(places)?;
        for (at, places) in edited {
            let Some(item) = items.get_mut(at) else {
                continue;
            };
            // Oldest first, so that the newest of each field is the one that stays.
            for place in places.iter().rev() {
                let body = loaded.get(place).and_then(|entry| entry.body.as_deref());
                if let Some(body) = body.and_then(known_body) {
                    apply_edit(item, &body);
                }
            }
        }
        Ok(())
    }

    /// All versions of an entry that stands in a topic, oldest first. Empty where it isn't held,
    /// or is retracted.
    ///
    /// # Errors
    /// The database's.
    pub fn versions(&self, id: EntryId) -> Result<Vec<Version>> {
        let mut shared = Shared::new(self);
        let Some((place, loaded)) = self.find_entry(&mut shared, &id)? else {
            return Ok(Vec::new());
        };
        let feed = shared.feed(place.feed)?.clone();
        let (Some(author), Some(body)) = (feed.author, loaded.body.as_deref()) else {
            return Ok(Vec::new());
        };
        let Some(mut version) = known_body(body).and_then(|body| original(&loaded.id, &body))
        else {
            return Ok(Vec::new());
        };
        version.created = loaded.header.created;
        let mut versions = vec![version.clone()];
        let edits = self.related(&mut shared, feed.space, &id, author)?.edits;
        let entries = self.entries_at(edits.iter().map(|(_, place, _)| *place))?;
        for (_, place, created) in edits {
            let Some(entry) = entries.get(&place) else {
                continue;
            };
            let Some(Body::Edit {
                title, text, tags, ..
            }) = entry.body.as_deref().and_then(known_body)
            else {
                continue;
            };
            version.id = entry.id;
            version.created = created;
            if let (Some(title), true) = (title, version.title.is_some()) {
                version.title = Some(title.to_owned());
            }
            if let Some(text) = text {
                text.clone_into(&mut version.text);
            }
            if let Some(tags) = tags {
                version.tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
            }
            versions.push(version.clone());
        }
        Ok(versions)
    }

    /// The entry itself and its edits: what has to be retracted for all its text to go. Newest
    /// first, the entry last.
    ///
    /// # Errors
    /// The database's.
    pub fn with_edits(&self, id: EntryId) -> Result<Vec<EntryId>> {
        Ok(self
            .versions(id)?
            .into_iter()
            .rev()
            .map(|version| version.id)
            .collect())
    }

    /// What it takes to reblog an article: its newest version that its author signed for that.
    /// `None` where it isn't held, no article, or retracted.
    ///
    /// # Errors
    /// The database's.
    pub fn quote(&self, id: EntryId) -> Result<Option<Quote>> {
        let mut shared = Shared::new(self);
        let Some((place, loaded)) = self.find_entry(&mut shared, &id)? else {
            return Ok(None);
        };
        let feed = shared.feed(place.feed)?.clone();
        let Some(author) = feed.author else {
            return Ok(None);
        };
        let mut edits = self.related(&mut shared, feed.space, &id, author)?.edits;
        edits.reverse();
        edits.truncate(EDITS_READ_MAX);
        let entries = self.entries_at(edits.iter().map(|(_, place, _)| *place))?;
        for (_, at, _) in edits {
            let Some(entry) = entries.get(&at) else {
                continue;
            };
            if let Some(Body::Edit {
                title: Some(title),
                text: Some(text),
                tags: Some(tags),
                quote: Some(signature),
                ..
            }) = entry.body.as_deref().and_then(known_body)
            {
                let quotable = Quotable {
                    title,
                    text,
                    tags,
                    created: entry.header.created,
                };
                let device = entry.header.device;
                if quotable.holds(device, &signature) {
                    return self.quoted(&entry.header, &quotable, signature);
                }
            }
        }
        let Some(Body::Article {
            title,
            text,
            tags,
            quote,
        }) = loaded.body.as_deref().and_then(known_body)
        else {
            return Ok(None);
        };
        let quotable = Quotable {
            title,
            text,
            tags,
            created: loaded.header.created,
        };
        self.quoted(&loaded.header, &quotable, quote)
    }

    fn quoted(
        &self,
        header: &proto::entry::Header,
        quotable: &Quotable<'_>,
        signature: Signature,
    ) -> Result<Option<Quote>> {
        let Some(beginning) = self.beginning(header.space, header.device)? else {
            return Ok(None);
        };
        let identity = beginning.certificate.identity;
        Ok(Some(Quote {
            title: quotable.title.to_owned(),
            text: quotable.text.to_owned(),
            tags: quotable.tags.iter().map(|tag| (*tag).to_owned()).collect(),
            created: quotable.created,
            signature,
            certificate: beginning.certificate,
            name: self.name(identity)?.unwrap_or(beginning.name),
        }))
    }
}

fn apply_edit(item: &mut Item, body: &Body<'_>) {
    let Body::Edit {
        title, text, tags, ..
    } = body
    else {
        return;
    };
    // Only what has a title gets one, and what a reblog embeds is somebody else's.
    if let Some(title) = title
        && item.title.is_some()
        && item.reblog.is_none()
    {
        item.title = Some((*title).to_owned());
    }
    if let Some(text) = text {
        (*text).clone_into(&mut item.text);
    }
    if let Some(tags) = tags
        && item.reblog.is_none()
    {
        item.tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    }
}

fn original(id: &EntryId, body: &Body<'_>) -> Option<Version> {
    let (title, text, tags): (Option<&str>, &str, &[&str]) = match body {
        Body::Thread { title, text } => (Some(title), text, &[]),
        Body::Article {
            title, text, tags, ..
        } => (Some(title), text, tags),
        Body::Reply(answer) | Body::Comment(answer) => (None, answer.text, &[]),
        Body::Message { text, .. } => (None, text, &[]),
        Body::Reblog(reblog) => (None, reblog.note, &[]),
        _ => return None,
    };
    Some(Version {
        id: *id,
        created: Millis::ZERO,
        title: title.map(str::to_owned),
        text: text.to_owned(),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
    })
}
