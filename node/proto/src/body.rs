//! What an entry says: a deterministic CBOR map with integer keys, key 0 the kind.
//!
//! Keys and kinds that this program doesn't know are kept and passed on; what it knows must fit
//! its bounds. `docs/PROTOCOL.md` has the table of kinds and keys.

use minicbor::{Decoder, decode::Error as DecodeError};

use crate::{
    admission::{AdmissionError, Certificate, Chain},
    cbor::{self, MapWriter, read_map},
    ids::{DeviceId, EntryId, IdentityId, SpaceId},
    keys::{DeviceKey, Domain, IdentityKey, Signature, verify},
    limits::{
        BODY_BYTES_MAX, NAME_CHARS_MAX, REACTION_CHARS_MAX, TAG_CHARS_MAX, TAGS_MAX,
        TEXT_BYTES_MAX, TITLE_CHARS_MAX,
    },
    text,
    time::Millis,
};

/// Why a body is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// More bytes than a body may have.
    #[error("a body has {0} bytes, at most {BODY_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// Not deterministic CBOR.
    #[error("a body is not deterministic CBOR: {0}")]
    Encoding(#[from] cbor::CborError),
    /// Not a map with integer keys and a kind.
    #[error("a body is not a map with integer keys that begins with its kind")]
    Shape,
    /// A field of a known kind is missing or of the wrong type.
    #[error("a body of kind {kind} lacks the field {key} or has it in a wrong form")]
    Field {
        /// The kind's number.
        kind: u64,
        /// The field's key.
        key: u64,
    },
    /// A text is empty, too long or has characters that don't belong there.
    #[error("the text in field {key} of a body of kind {kind} does not fit its bounds")]
    Text {
        /// The kind's number.
        kind: u64,
        /// The field's key.
        key: u64,
    },
    /// A genesis whose certificate or admissions don't hold.
    #[error("a first entry's certificate or admissions do not hold: {0}")]
    Admission(#[from] AdmissionError),
    /// The signature of quotable content doesn't hold.
    #[error("the signature of quoted content does not hold")]
    Quote,
}

/// What is signed of an article so that it can be reblogged without naming the space it stood in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quotable<'a> {
    /// The title.
    pub title: &'a str,
    /// The text as written.
    pub text: &'a str,
    /// The tags.
    pub tags: Vec<&'a str>,
    /// The author's claim of the time.
    pub created: Millis,
}

impl Quotable<'_> {
    fn payload(&self) -> [u8; 32] {
        let mut map = MapWriter::new();
        map.text(1, self.title).text(2, self.text);
        put_tags(&mut map, 3, &self.tags);
        map.uint(4, self.created.0);
        blake3::derive_key("waymeet 1 quote", &map.finish())
    }

    /// The author's device signs the content.
    #[must_use]
    pub fn sign(&self, key: &DeviceKey) -> Signature {
        key.sign(Domain::Quote, &self.payload())
    }

    /// Whether `signature` is `device`'s over this content.
    #[must_use]
    pub fn holds(&self, device: DeviceId, signature: &Signature) -> bool {
        verify(&device.0, Domain::Quote, &self.payload(), signature)
    }
}

/// The end of a device: its entries in this space are kept up to a last good one, all else is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Whose device.
    pub identity: IdentityId,
    /// Which device.
    pub device: DeviceId,
    /// Place of its last good entry in this space.
    pub seq: u64,
    /// Id of that entry.
    pub id: EntryId,
    signature: Signature,
}

impl Revocation {
    fn payload(&self, space: SpaceId) -> Vec<u8> {
        [
            &space.0[..],
            &self.identity.0,
            &self.device.0,
            &self.seq.to_be_bytes(),
            &self.id.0,
        ]
        .concat()
    }

    /// The identity ends a device in a space.
    #[must_use]
    pub fn sign(
        key: &IdentityKey,
        space: SpaceId,
        device: DeviceId,
        seq: u64,
        id: EntryId,
    ) -> Self {
        let mut revocation = Self {
            identity: key.id(),
            device,
            seq,
            id,
            signature: Signature([0; 64]),
        };
        revocation.signature = key.sign(Domain::Revocation, &revocation.payload(space));
        revocation
    }

    /// Whether the identity signed this for `space`. That the device is the identity's own is
    /// known from the device's first entry.
    #[must_use]
    pub fn holds(&self, space: SpaceId) -> bool {
        verify(
            &self.identity.0,
            Domain::Revocation,
            &self.payload(space),
            &self.signature,
        )
    }
}

/// The first entry of a feed: it explains its author without a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Genesis<'a> {
    /// The author's identity and device.
    pub certificate: Certificate,
    /// The author's name at that time.
    pub name: &'a str,
    /// Who let the author in.
    pub chain: Chain,
}

/// A body whose form was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body<'a> {
    /// The first entry of a feed.
    Genesis(Box<Genesis<'a>>),
    /// A new display name.
    Profile {
        /// The name.
        name: &'a str,
    },
    /// Begins a thread.
    Thread {
        /// The title.
        title: &'a str,
        /// The text, Markdown.
        text: &'a str,
    },
    /// Answers in a thread.
    Reply(Answer<'a>),
    /// An article of a blog.
    Article {
        /// What it says.
        title: &'a str,
        /// The text, Markdown.
        text: &'a str,
        /// The tags.
        tags: Vec<&'a str>,
        /// Makes it quotable: over the content and the header's time.
        quote: Signature,
    },
    /// Answers in a blog.
    Comment(Answer<'a>),
    /// Somebody's article with a note.
    Reblog(Box<Reblog<'a>>),
    /// A new version of an entry of the same identity.
    Edit {
        /// Which entry.
        target: EntryId,
        /// The new title.
        title: Option<&'a str>,
        /// The new text.
        text: Option<&'a str>,
        /// The new tags.
        tags: Option<Vec<&'a str>>,
        /// Makes an edited article quotable.
        quote: Option<Signature>,
    },
    /// Takes back an entry of the same identity.
    Retract {
        /// Which entry.
        target: EntryId,
    },
    /// An emoji under an entry.
    Reaction {
        /// Which entry.
        target: EntryId,
        /// The emoji.
        emoji: &'a str,
        /// Given, or taken back.
        on: bool,
        /// So that a retracted reaction can't be guessed from its hash.
        salt: [u8; 8],
    },
    /// A private message.
    Message {
        /// The text, Markdown.
        text: &'a str,
        /// The message that it answers.
        parent: Option<EntryId>,
    },
    /// The end of a device.
    Revocation(Box<Revocation>),
    /// A kind that this program doesn't know; kept and passed on.
    Unknown(u64),
}

/// A reply or a comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<'a> {
    /// The first entry of the thread or article.
    pub root: EntryId,
    /// The text, Markdown.
    pub text: &'a str,
    /// The entry that it answers, where that isn't the first.
    pub parent: Option<EntryId>,
}

/// Somebody's article, signed by its author, with a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reblog<'a> {
    /// The note; may be empty.
    pub note: &'a str,
    /// The original content.
    pub original: Quotable<'a>,
    /// The author's signature of it.
    pub quote: Signature,
    /// The author.
    pub certificate: Certificate,
    /// The author's name.
    pub name: &'a str,
}

/// Numbers of the kinds.
pub mod kind {
    /// First entry of a feed.
    pub const GENESIS: u64 = 1;
    /// Display name.
    pub const PROFILE: u64 = 2;
    /// Thread.
    pub const THREAD: u64 = 3;
    /// Reply.
    pub const REPLY: u64 = 4;
    /// Article.
    pub const ARTICLE: u64 = 5;
    /// Comment.
    pub const COMMENT: u64 = 6;
    /// Reblog.
    pub const REBLOG: u64 = 7;
    /// Edit.
    pub const EDIT: u64 = 8;
    /// Retract.
    pub const RETRACT: u64 = 9;
    /// Reaction.
    pub const REACTION: u64 = 10;
    /// Reserved: poll.
    pub const POLL: u64 = 11;
    /// Reserved: vote.
    pub const VOTE: u64 = 12;
    /// Private message.
    pub const MESSAGE: u64 = 13;
    /// Reserved: attachment reference.
    pub const ATTACHMENT: u64 = 14;
    /// Reserved: moderation action.
    pub const MODERATION: u64 = 15;
    /// Revocation of a device.
    pub const REVOCATION: u64 = 16;
    /// Reserved: succession of an identity.
    pub const SUCCESSION: u64 = 17;
    /// Reserved: read marker.
    pub const READ_MARKER: u64 = 18;
    /// Reserved: draft.
    pub const DRAFT: u64 = 19;
    /// Reserved: receipt.
    pub const RECEIPT: u64 = 20;
}

impl<'a> Body<'a> {
    /// Reads a body and checks everything that can be checked without knowing its feed.
    ///
    /// # Errors
    /// See [`BodyError`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, BodyError> {
        if bytes.len() > BODY_BYTES_MAX {
            return Err(BodyError::TooLong(bytes.len()));
        }
        cbor::check(bytes)?;
        let fields = Fields::read(bytes)?;
        fields.body()
    }

    /// Whether a retract can drop this body. What a feed's validity rests on stays.
    #[must_use]
    pub const fn is_retractable(&self) -> bool {
        !matches!(
            self,
            Self::Genesis(_) | Self::Revocation(_) | Self::Retract { .. }
        )
    }

    /// The deterministic encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut map = MapWriter::new();
        map.uint(0, self.kind());
        match self {
            Self::Genesis(genesis) => {
                map.bytes(1, &genesis.certificate.encode())
                    .text(2, genesis.name)
                    .bytes(3, &genesis.chain.encode());
            }
            Self::Profile { name } => {
                map.text(1, name);
            }
            Self::Thread { title, text } => {
                map.text(1, title).text(2, text);
            }
            Self::Reply(answer) | Self::Comment(answer) => {
                map.bytes(1, &answer.root.0).text(2, answer.text);
                put_id(&mut map, 3, answer.parent);
            }
            Self::Article {
                title,
                text,
                tags,
                quote,
            } => {
                map.text(1, title).text(2, text);
                put_tags(&mut map, 3, tags);
                map.bytes(4, &quote.0);
            }
            Self::Reblog(reblog) => reblog.encode(&mut map),
            Self::Edit {
                target,
                title,
                text,
                tags,
                quote,
            } => {
                map.bytes(1, &target.0);
                if let Some(title) = title {
                    map.text(2, title);
                }
                if let Some(text) = text {
                    map.text(3, text);
                }
                if let Some(tags) = tags {
                    put_tags(&mut map, 4, tags);
                }
                if let Some(quote) = quote {
                    map.bytes(5, &quote.0);
                }
            }
            Self::Retract { target } => {
                map.bytes(1, &target.0);
            }
            Self::Reaction {
                target,
                emoji,
                on,
                salt,
            } => {
                map.bytes(1, &target.0)
                    .text(2, emoji)
                    .uint(3, u64::from(*on))
                    .bytes(4, salt);
            }
            Self::Message { text, parent } => {
                map.text(1, text);
                put_id(&mut map, 2, *parent);
            }
            Self::Revocation(revocation) => {
                map.bytes(1, &revocation.identity.0)
                    .bytes(2, &revocation.device.0)
                    .uint(3, revocation.seq)
                    .bytes(4, &revocation.id.0)
                    .bytes(5, &revocation.signature.0);
            }
            Self::Unknown(_) => {}
        }
        map.finish()
    }

    /// The kind's number.
    #[must_use]
    pub const fn kind(&self) -> u64 {
        match self {
            Self::Genesis(_) => kind::GENESIS,
            Self::Profile { .. } => kind::PROFILE,
            Self::Thread { .. } => kind::THREAD,
            Self::Reply(_) => kind::REPLY,
            Self::Article { .. } => kind::ARTICLE,
            Self::Comment(_) => kind::COMMENT,
            Self::Reblog(_) => kind::REBLOG,
            Self::Edit { .. } => kind::EDIT,
            Self::Retract { .. } => kind::RETRACT,
            Self::Reaction { .. } => kind::REACTION,
            Self::Message { .. } => kind::MESSAGE,
            Self::Revocation(_) => kind::REVOCATION,
            Self::Unknown(kind) => *kind,
        }
    }
}

impl Reblog<'_> {
    fn encode(&self, map: &mut MapWriter) {
        map.text(1, self.note)
            .text(2, self.original.title)
            .text(3, self.original.text);
        put_tags(map, 4, &self.original.tags);
        map.bytes(5, &self.quote.0)
            .uint(6, self.original.created.0)
            .bytes(7, &self.certificate.encode())
            .text(8, self.name);
    }
}

fn put_id(map: &mut MapWriter, key: u8, id: Option<EntryId>) {
    if let Some(id) = id {
        map.bytes(key, &id.0);
    }
}

fn put_tags(map: &mut MapWriter, key: u8, tags: &[&str]) {
    map.field(key, |e| {
        let _ = e.array(tags.len() as u64);
        for tag in tags {
            let _ = e.str(tag);
        }
    });
}

/// Highest key that any known kind has.
const KEYS: usize = 9;

/// Where each known field starts.
struct Fields<'a> {
    kind: u64,
    at: [Option<Decoder<'a>>; KEYS],
}

impl<'a> Fields<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, BodyError> {
        let mut at: [Option<Decoder<'a>>; KEYS] = Default::default();
        read_map(bytes, |key, d| {
            if let Some(slot) = usize::try_from(key).ok().and_then(|key| at.get_mut(key)) {
                *slot = Some(d.clone());
            }
            Ok(false)
        })
        .map_err(|_| BodyError::Shape)?;
        let kind = at
            .first_mut()
            .and_then(Option::as_mut)
            .and_then(|d| d.u64().ok())
            .ok_or(BodyError::Shape)?;
        Ok(Self { kind, at })
    }

    fn has(&self, key: usize) -> bool {
        self.at.get(key).is_some_and(Option::is_some)
    }

    fn get<T>(
        &self,
        key: usize,
        read: impl FnOnce(&mut Decoder<'a>) -> Result<T, DecodeError>,
    ) -> Result<T, BodyError> {
        let field = BodyError::Field {
            kind: self.kind,
            key: key as u64,
        };
        let mut decoder = self
            .at
            .get(key)
            .and_then(Clone::clone)
            .ok_or_else(|| field.clone())?;
        read(&mut decoder).map_err(|_| field)
    }

    fn maybe<T>(
        &self,
        key: usize,
        read: impl FnOnce(&Self) -> Result<T, BodyError>,
    ) -> Result<Option<T>, BodyError> {
        if self.has(key) {
            read(self).map(Some)
        } else {
            Ok(None)
        }
    }

    fn str(&self, key: usize, fits: impl FnOnce(&str) -> bool) -> Result<&'a str, BodyError> {
        let value = self.get(key, |d| d.str())?;
        if fits(value) {
            Ok(value)
        } else {
            Err(BodyError::Text {
                kind: self.kind,
                key: key as u64,
            })
        }
    }

    fn title(&self, key: usize) -> Result<&'a str, BodyError> {
        self.str(key, |title| text::is_line(title, TITLE_CHARS_MAX))
    }

    fn name(&self, key: usize) -> Result<&'a str, BodyError> {
        self.str(key, |name| text::is_line(name, NAME_CHARS_MAX))
    }

    fn text(&self, key: usize) -> Result<&'a str, BodyError> {
        self.str(key, |body| text::is_body(body, TEXT_BYTES_MAX))
    }

    fn id(&self, key: usize) -> Result<EntryId, BodyError> {
        self.get(key, cbor::id).map(EntryId)
    }

    fn signature(&self, key: usize) -> Result<Signature, BodyError> {
        self.get(key, cbor::array).map(Signature)
    }

    fn tags(&self, key: usize) -> Result<Vec<&'a str>, BodyError> {
        let tags = self.get(key, |d| {
            let count = d.array()?.unwrap_or(u64::MAX);
            if count > TAGS_MAX as u64 {
                return Err(DecodeError::message("too many tags"));
            }
            (0..count).map(|_| d.str()).collect::<Result<Vec<_>, _>>()
        })?;
        if tags.iter().all(|tag| text::is_line(tag, TAG_CHARS_MAX)) {
            Ok(tags)
        } else {
            Err(BodyError::Text {
                kind: self.kind,
                key: key as u64,
            })
        }
    }

    fn answer(&self) -> Result<Answer<'a>, BodyError> {
        Ok(Answer {
            root: self.id(1)?,
            text: self.text(2)?,
            parent: self.maybe(3, |f| f.id(3))?,
        })
    }

    fn body(&self) -> Result<Body<'a>, BodyError> {
        Ok(match self.kind {
            kind::GENESIS => Body::Genesis(Box::new(Genesis {
                certificate: Certificate::decode(self.get(1, |d| d.bytes())?)?,
                name: self.name(2)?,
                chain: Chain::decode(self.get(3, |d| d.bytes())?)?,
            })),
            kind::PROFILE => Body::Profile {
                name: self.name(1)?,
            },
            kind::THREAD => Body::Thread {
                title: self.title(1)?,
                text: self.text(2)?,
            },
            kind::REPLY => Body::Reply(self.answer()?),
            kind::ARTICLE => Body::Article {
                title: self.title(1)?,
                text: self.text(2)?,
                tags: self.tags(3)?,
                quote: self.signature(4)?,
            },
            kind::COMMENT => Body::Comment(self.answer()?),
            kind::REBLOG => self.reblog()?,
            kind::EDIT => Body::Edit {
                target: self.id(1)?,
                title: self.maybe(2, |f| f.title(2))?,
                text: self.maybe(3, |f| f.text(3))?,
                tags: self.maybe(4, |f| f.tags(4))?,
                quote: self.maybe(5, |f| f.signature(5))?,
            },
            kind::RETRACT => Body::Retract {
                target: self.id(1)?,
            },
            kind::REACTION => Body::Reaction {
                target: self.id(1)?,
                emoji: self.str(2, |emoji| text::is_line(emoji, REACTION_CHARS_MAX))?,
                on: match self.get(3, |d| d.u64())? {
                    0 => false,
                    1 => true,
                    _ => {
                        return Err(BodyError::Field {
                            kind: self.kind,
                            key: 3,
                        });
                    }
                },
                salt: self.get(4, cbor::array)?,
            },
            kind::MESSAGE => Body::Message {
                text: self.text(1)?,
                parent: self.maybe(2, |f| f.id(2))?,
            },
            kind::REVOCATION => Body::Revocation(Box::new(Revocation {
                identity: IdentityId(self.get(1, cbor::id)?),
                device: DeviceId(self.get(2, cbor::id)?),
                seq: self.get(3, |d| d.u64())?,
                id: self.id(4)?,
                signature: self.signature(5)?,
            })),
            other => Body::Unknown(other),
        })
    }

    fn reblog(&self) -> Result<Body<'a>, BodyError> {
        let reblog = Reblog {
            note: self.str(1, |note| {
                note.len() <= TEXT_BYTES_MAX && !note.contains('\0')
            })?,
            original: Quotable {
                title: self.title(2)?,
                text: self.text(3)?,
                tags: self.tags(4)?,
                created: Millis(self.get(6, |d| d.u64())?),
            },
            quote: self.signature(5)?,
            certificate: Certificate::decode(self.get(7, |d| d.bytes())?)?,
            name: self.name(8)?,
        };
        if reblog
            .original
            .holds(reblog.certificate.device, &reblog.quote)
        {
            Ok(Body::Reblog(Box::new(reblog)))
        } else {
            Err(BodyError::Quote)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Role;

    fn signer() -> (IdentityKey, DeviceKey, Certificate) {
        let identity = IdentityKey::from_seed(&[1; 32]);
        let device = DeviceKey::from_seed(&[2; 32]);
        let certificate = Certificate::sign(&identity, device.id(), 1, Role::Main);
        (identity, device, certificate)
    }

    fn every_kind() -> Vec<Vec<u8>> {
        let (identity, device, certificate) = signer();
        let original = Quotable {
            title: "On tents",
            text: "They leak.",
            tags: vec!["camp", "rain"],
            created: Millis(7),
        };
        let quote = original.sign(&device);
        let id = EntryId([3; 32]);
        [
            Body::Genesis(Box::new(Genesis {
                certificate: certificate.clone(),
                name: "Ana",
                chain: Chain::root(),
            })),
            Body::Profile { name: "Ana B." },
            Body::Thread {
                title: "Hello",
                text: "**World**",
            },
            Body::Reply(Answer {
                root: id,
                text: "Hi",
                parent: None,
            }),
            Body::Reply(Answer {
                root: id,
                text: "Hi",
                parent: Some(id),
            }),
            Body::Article {
                title: "On tents",
                text: "They leak.",
                tags: vec!["camp", "rain"],
                quote,
            },
            Body::Comment(Answer {
                root: id,
                text: "So true",
                parent: None,
            }),
            Body::Reblog(Box::new(Reblog {
                note: "",
                original,
                quote,
                certificate,
                name: "Ana",
            })),
            Body::Edit {
                target: id,
                title: None,
                text: Some("They don't."),
                tags: None,
                quote: None,
            },
            Body::Edit {
                target: id,
                title: Some("T"),
                text: None,
                tags: Some(vec![]),
                quote: Some(quote),
            },
            Body::Retract { target: id },
            Body::Reaction {
                target: id,
                emoji: "👍",
                on: true,
                salt: [9; 8],
            },
            Body::Message {
                text: "psst",
                parent: None,
            },
            Body::Revocation(Box::new(Revocation::sign(
                &identity,
                SpaceId([5; 32]),
                device.id(),
                4,
                id,
            ))),
            Body::Unknown(200),
        ]
        .iter()
        .map(Body::encode)
        .collect()
    }

    #[test]
    fn every_kind_round_trips() {
        for bytes in every_kind() {
            let body = Body::decode(&bytes).unwrap();
            assert_eq!(body.encode(), bytes, "{body:?}");
        }
    }

    #[test]
    fn what_decodes_after_a_flipped_bit_is_a_different_body_in_its_only_encoding() {
        for bytes in every_kind() {
            let kind = Body::decode(&bytes).unwrap().kind();
            for bit in 0..bytes.len() * 8 {
                let mut bad = bytes.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                if let Ok(body) = Body::decode(&bad)
                    && body.kind() == kind
                    && !matches!(body, Body::Unknown(_))
                {
                    let again = body.encode();
                    // A key that became unknown is kept in the bytes but not in the value.
                    assert!(again == bad || again.len() < bad.len(), "{body:?}");
                    assert_ne!(again, bytes);
                }
            }
        }
    }

    #[test]
    fn unknown_keys_are_kept_and_unknown_kinds_accepted() {
        let mut map = MapWriter::new();
        map.uint(0, kind::MESSAGE).text(1, "x").uint(23, 5);
        assert_eq!(
            Body::decode(&map.finish()),
            Ok(Body::Message {
                text: "x",
                parent: None
            })
        );
        let mut map = MapWriter::new();
        map.uint(0, 99).text(1, "from the future");
        assert_eq!(Body::decode(&map.finish()), Ok(Body::Unknown(99)));
    }

    #[test]
    fn each_bound_has_its_refusal() {
        let long_title = "x".repeat(TITLE_CHARS_MAX + 1);
        let long_text = "x".repeat(TEXT_BYTES_MAX + 1);
        let id = EntryId([3; 32]);
        let (_, device, certificate) = signer();
        let refusals = [
            (
                Body::Thread {
                    title: &long_title,
                    text: "x",
                }
                .encode(),
                BodyError::Text { kind: 3, key: 1 },
            ),
            (
                Body::Thread {
                    title: "x\ny",
                    text: "x",
                }
                .encode(),
                BodyError::Text { kind: 3, key: 1 },
            ),
            (
                Body::Thread {
                    title: "x",
                    text: &long_text,
                }
                .encode(),
                BodyError::Text { kind: 3, key: 2 },
            ),
            (
                Body::Message {
                    text: " ",
                    parent: None,
                }
                .encode(),
                BodyError::Text { kind: 13, key: 1 },
            ),
            (
                Body::Reaction {
                    target: id,
                    emoji: "",
                    on: true,
                    salt: [0; 8],
                }
                .encode(),
                BodyError::Text { kind: 10, key: 2 },
            ),
            (
                MapWriter::new().uint(0, kind::RETRACT).finish(),
                BodyError::Field { kind: 9, key: 1 },
            ),
            (
                MapWriter::new()
                    .uint(0, kind::RETRACT)
                    .bytes(1, &[0; 31])
                    .finish(),
                BodyError::Field { kind: 9, key: 1 },
            ),
            (MapWriter::new().uint(1, 1).finish(), BodyError::Shape),
            (vec![0x80], BodyError::Shape),
            (
                vec![0xa1, 0x00, 0x18, 0x01],
                BodyError::Encoding(cbor::CborError::NotShortest),
            ),
            (
                vec![0; BODY_BYTES_MAX + 1],
                BodyError::TooLong(BODY_BYTES_MAX + 1),
            ),
            (
                Body::Article {
                    title: "x",
                    text: "x",
                    tags: vec!["t"; TAGS_MAX + 1],
                    quote: Signature([0; 64]),
                }
                .encode(),
                BodyError::Field { kind: 5, key: 3 },
            ),
            (
                Body::Reblog(Box::new(Reblog {
                    note: "",
                    original: Quotable {
                        title: "x",
                        text: "y",
                        tags: vec![],
                        created: Millis(1),
                    },
                    quote: Quotable {
                        title: "x",
                        text: "z",
                        tags: vec![],
                        created: Millis(1),
                    }
                    .sign(&device),
                    certificate,
                    name: "Ana",
                }))
                .encode(),
                BodyError::Quote,
            ),
        ];
        for (bytes, refusal) in refusals {
            assert_eq!(Body::decode(&bytes), Err(refusal));
        }
    }

    #[test]
    fn a_revocation_holds_in_its_space_only() {
        let (identity, device, _) = signer();
        let revocation = Revocation::sign(
            &identity,
            SpaceId([5; 32]),
            device.id(),
            4,
            EntryId([3; 32]),
        );
        assert!(revocation.holds(SpaceId([5; 32])));
        assert!(!revocation.holds(SpaceId([6; 32])));
        assert!(
            !Revocation {
                seq: 5,
                ..revocation
            }
            .holds(SpaceId([5; 32]))
        );
    }
}
