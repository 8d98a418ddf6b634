//! Reading a body: where its fields start, and what each kind needs of them.

use minicbor::{Decoder, decode::Error as DecodeError};

use super::{
    Answer, Body, BodyError, Genesis, Introduced, Lifetime, Quotable, Reblog, Revocation, Setting,
    kind,
    rule::{Action, RemovalParts, Rule, read_hand_over},
};
use crate::{
    admission::{Certificate, Chain},
    beacon::BeaconKey,
    card::CARD_BYTES_MAX,
    cbor::{self, read_map},
    ids::{DeviceId, EntryId, IdentityId},
    introduction::IntroductionId,
    keys::Signature,
    limits::{
        DESCRIPTION_CHARS_MAX, NAME_CHARS_MAX, REACTION_CHARS_MAX, TAG_CHARS_MAX, TAGS_MAX,
        TEXT_BYTES_MAX, TITLE_CHARS_MAX,
    },
    text,
    time::Millis,
};

/// Highest key that any known kind has.
const KEYS: usize = 9;

/// Where each known field starts.
pub(super) struct Fields<'a> {
    kind: u64,
    at: [Option<Decoder<'a>>; KEYS],
}

impl<'a> Fields<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, BodyError> {
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

    fn wrong(&self, key: u64) -> BodyError {
        BodyError::Field {
            kind: self.kind,
            key,
        }
    }

    fn flag(&self, key: usize) -> Result<bool, BodyError> {
        match self.get(key, |d| d.u64())? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.wrong(key as u64)),
        }
    }

    fn setting(&self) -> Result<Setting, BodyError> {
        let lifetime = self.maybe(1, |f| {
            Lifetime::new(f.get(1, |d| d.u64())?).ok_or_else(|| f.wrong(1))
        })?;
        let receipts = self.maybe(2, |f| f.flag(2))?;
        let over = self.maybe(3, |f| f.id(3))?;
        match (lifetime, receipts, over) {
            (None, None, _) => Err(self.wrong(1)),
            (None, _, Some(_)) => Err(self.wrong(3)),
            _ => Ok(Setting {
                lifetime,
                receipts,
                over,
            }),
        }
    }

    fn card(&self, key: usize) -> Result<&'a [u8], BodyError> {
        let card = self.get(key, |d| d.bytes())?;
        if card.len() <= CARD_BYTES_MAX {
            return Ok(card);
        }
        Err(BodyError::Field {
            kind: self.kind,
            key: key as u64,
        })
    }

    fn answer(&self) -> Result<Answer<'a>, BodyError> {
        Ok(Answer {
            root: self.id(1)?,
            text: self.text(2)?,
            parent: self.maybe(3, |f| f.id(3))?,
        })
    }

    pub(super) fn body(&self) -> Result<Body<'a>, BodyError> {
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
                salt: self.maybe(6, |f| f.get(6, cbor::array))?,
            },
            kind::RETRACT => Body::Retract {
                target: self.id(1)?,
            },
            kind::REACTION => Body::Reaction {
                target: self.id(1)?,
                emoji: self.str(2, |emoji| text::is_line(emoji, REACTION_CHARS_MAX))?,
                on: self.flag(3)?,
                salt: self.get(4, cbor::array)?,
            },
            kind::MESSAGE => Body::Message {
                text: self.text(1)?,
                parent: self.maybe(2, |f| f.id(2))?,
                salt: self.maybe(3, |f| f.get(3, cbor::array))?,
            },
            kind::REVOCATION => Body::Revocation(Box::new(Revocation {
                identity: IdentityId(self.get(1, cbor::id)?),
                device: DeviceId(self.get(2, cbor::id)?),
                seq: self.get(3, |d| d.u64())?,
                id: self.id(4)?,
                signature: self.signature(5)?,
            })),
            kind::INTRODUCTION => Body::Introduction {
                id: IntroductionId(self.get(1, cbor::array)?),
                identity: IdentityId(self.get(2, cbor::id)?),
                name: self.name(3)?,
                message: self.maybe(4, |f| {
                    f.str(4, |text| {
                        !text.is_empty() && text::is_text(text, DESCRIPTION_CHARS_MAX)
                    })
                })?,
            },
            kind::INTRODUCED => Body::Introduced {
                id: IntroductionId(self.get(1, cbor::array)?),
                yes: if self.flag(2)? {
                    Some(Introduced {
                        card: self.card(3)?,
                        beacon: BeaconKey(self.get(4, cbor::array)?),
                    })
                } else {
                    None
                },
            },
            kind::RECEIPT => Body::Receipt {
                device: DeviceId(self.get(1, cbor::id)?),
                seq: self.get(2, |d| d.u64())?,
            },
            kind::SETTING => Body::Setting(self.setting()?),
            kind::RULE => Body::Rule(Box::new(self.rule()?)),
            other => Body::Unknown(other),
        })
    }

    fn rule(&self) -> Result<Rule, BodyError> {
        let wrong = |key| BodyError::Field {
            kind: self.kind,
            key,
        };
        let under = self.maybe(1, |f| f.id(1))?;
        let thread = || self.maybe(3, |f| f.id(3));
        let action = match self.get(2, |d| d.u64())? {
            1 => {
                let parts = RemovalParts {
                    identity: IdentityId(self.get(3, cbor::id)?),
                    feeds: self.get(4, |d| d.bytes())?,
                    by: Certificate::decode(self.get(5, |d| d.bytes())?)?,
                    place: self.get(6, |d| d.u64())?,
                    signature: self.signature(7)?,
                };
                Action::Remove(Box::new(parts.read(under).map_err(|_| wrong(4))?))
            }
            2 => Action::Close(thread()?),
            3 => Action::Reopen(thread()?),
            4 => {
                let to = IdentityId(self.get(3, cbor::id)?);
                let (named, others) = (self.get(4, |d| d.bytes())?, self.get(5, |d| d.bytes())?);
                let hand_over = read_hand_over(to, named, others).map_err(|_| wrong(4))?;
                Action::HandOver(Box::new(hand_over))
            }
            5 => Action::Leave,
            6 => Action::Return,
            _ => return Err(wrong(2)),
        };
        Ok(Rule { under, action })
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
