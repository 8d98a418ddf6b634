//! What an entry says: a deterministic CBOR map with integer keys, key 0 the kind.
//!
//! Keys and kinds that this program doesn't know are kept and passed on; what it knows must fit
//! its bounds. `docs/PROTOCOL.md` has the table of kinds and keys.

mod fields;
pub mod rule;
mod setting;
#[cfg(test)]
mod tests;

use fields::Fields;
pub use rule::Rule;
pub use setting::{InForce, Lifetime, Placed, Setting, in_force};

use crate::{
    admission::{AdmissionError, Certificate, Chain},
    beacon::BeaconKey,
    cbor::{self, MapWriter},
    ids::{DeviceId, EntryId, IdentityId, SpaceId},
    introduction::IntroductionId,
    keys::{DeviceKey, Domain, IdentityKey, Signature, verify},
    limits::BODY_BYTES_MAX,
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
        /// So that an edit whose body is gone can't be guessed from its hash.
        salt: Option<[u8; 8]>,
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
        /// So that a message whose body is gone can't be guessed from its hash.
        salt: Option<[u8; 8]>,
    },
    /// The end of a device.
    Revocation(Box<Revocation>),
    /// A mutual contact introduces somebody.
    Introduction {
        /// Names the introduction, the same to both.
        id: IntroductionId,
        /// Who is introduced.
        identity: IdentityId,
        /// Their name.
        name: &'a str,
        /// What the introducer says about it.
        message: Option<&'a str>,
    },
    /// The answer of somebody who was introduced, or that answer as the introducer passes it on.
    Introduced {
        /// Which introduction.
        id: IntroductionId,
        /// Who they are and where they are met, of a yes; `None` of a no.
        yes: Option<Introduced<'a>>,
    },
    /// The author has read a device's feed of this conversation up to an entry.
    Receipt {
        /// Whose entries.
        device: DeviceId,
        /// The last one that was read.
        seq: u64,
    },
    /// How a conversation is kept from here on.
    Setting(Setting),
    /// A rule of a circle.
    Rule(Box<Rule>),
    /// A kind that this program doesn't know; kept and passed on.
    Unknown(u64),
}

/// What a yes to an introduction carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introduced<'a> {
    /// The card, for this introduction; see [`IntroductionId::binding`].
    pub card: &'a [u8],
    /// The key of the device's beacons.
    pub beacon: BeaconKey,
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
    /// Read so far.
    pub const RECEIPT: u64 = 20;
    /// Somebody is introduced.
    pub const INTRODUCTION: u64 = 21;
    /// An answer to that.
    pub const INTRODUCED: u64 = 22;
    /// How a conversation is kept.
    pub const SETTING: u64 = 23;
    /// A rule of a circle.
    pub const RULE: u64 = 24;
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

    /// Whether a retract can drop this body. What a feed's validity rests on stays, and what says
    /// why other bodies are absent.
    #[must_use]
    pub const fn is_retractable(&self) -> bool {
        !matches!(
            self,
            Self::Genesis(_)
                | Self::Revocation(_)
                | Self::Retract { .. }
                | Self::Receipt { .. }
                | Self::Setting(_)
                | Self::Rule(_)
        )
    }

    /// Whether this body goes when the time of a disappearing message is over.
    #[must_use]
    pub const fn can_vanish(&self) -> bool {
        matches!(
            self,
            Self::Message { .. } | Self::Edit { .. } | Self::Reaction { .. }
        )
    }

    /// Whether it disappears by a time of its own. Edits and reactions go with what they are about.
    #[must_use]
    pub const fn has_own_time(&self) -> bool {
        matches!(self, Self::Message { .. })
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
                salt,
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
                if let Some(salt) = salt {
                    map.bytes(6, salt);
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
            Self::Message { text, parent, salt } => {
                map.text(1, text);
                put_id(&mut map, 2, *parent);
                if let Some(salt) = salt {
                    map.bytes(3, salt);
                }
            }
            Self::Revocation(revocation) => {
                map.bytes(1, &revocation.identity.0)
                    .bytes(2, &revocation.device.0)
                    .uint(3, revocation.seq)
                    .bytes(4, &revocation.id.0)
                    .bytes(5, &revocation.signature.0);
            }
            Self::Introduction {
                id,
                identity,
                name,
                message,
            } => {
                map.bytes(1, &id.0).bytes(2, &identity.0).text(3, name);
                if let Some(message) = message {
                    map.text(4, message);
                }
            }
            Self::Introduced { id, yes } => {
                map.bytes(1, &id.0).uint(2, u64::from(yes.is_some()));
                if let Some(Introduced { card, beacon }) = yes {
                    map.bytes(3, card).bytes(4, &beacon.0);
                }
            }
            Self::Receipt { device, seq } => {
                map.bytes(1, &device.0).uint(2, *seq);
            }
            Self::Setting(setting) => setting.encode(&mut map),
            Self::Rule(rule) => rule.encode(&mut map),
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
            Self::Introduction { .. } => kind::INTRODUCTION,
            Self::Introduced { .. } => kind::INTRODUCED,
            Self::Receipt { .. } => kind::RECEIPT,
            Self::Setting(_) => kind::SETTING,
            Self::Rule(_) => kind::RULE,
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
