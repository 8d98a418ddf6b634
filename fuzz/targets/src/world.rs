//! Feeds whose every signature is made on demand, and the set of entries that signatures vouch for:
//! what the checks let through has to be in it.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
};

use proto::{
    EntryId, Millis, SpaceId,
    admission::Chain,
    body::{Answer, Body, Genesis, Quotable, Revocation},
    entry::{Head, Header},
    keys::{DeviceKey, Domain, Signature},
    space::{Membership, SpaceContext, SpaceKind},
};

use crate::{script::Script, seeds};

/// When the first entries are written.
pub(crate) const BEGIN: u64 = 1_790_000_000_000;

/// An entry as its author made it.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) id: EntryId,
    pub(crate) header: Header,
    pub(crate) body: Vec<u8>,
}

/// One device's entries.
#[derive(Debug, Clone, Default)]
pub(crate) struct Feed(pub(crate) Vec<Entry>);

impl Feed {
    /// The head behind the first `count` entries.
    pub(crate) fn head(&self, count: usize) -> Head {
        self.0.iter().take(count).fold(Head::EMPTY, |head, entry| {
            head.after(entry.id, entry.header.body_len)
        })
    }

    pub(crate) fn push(&mut self, space: SpaceId, key: &DeviceKey, created: Millis, body: Vec<u8>) {
        let last = self.0.last();
        let header = Header {
            space,
            device: key.id(),
            seq: self.0.len() as u64,
            backlink: last.map_or(Head::EMPTY.top, |last| last.id),
            created,
            body_len: body.len() as u32,
            body_hash: *blake3::hash(&body).as_bytes(),
        };
        let id = header.id();
        self.0.push(Entry { id, header, body });
    }
}

/// A space, an author, and everything that the author's device ever signed.
pub(crate) struct World {
    pub(crate) space: SpaceContext,
    pub(crate) author: u8,
    pub(crate) key: DeviceKey,
    /// Entries by id, of all branches.
    entries: BTreeMap<EntryId, Header>,
    /// What a signature vouches for: the signed entries and all before them.
    pub(crate) vouched: BTreeSet<EntryId>,
    /// Large bodies that the story may still have: they take time, and three pass two checkpoints.
    large: Cell<u8>,
}

impl World {
    /// A space of any kind; the author may be anybody.
    pub(crate) fn new(script: &mut Script<'_>) -> Self {
        let [ana, ben] = [1, 2].map(|seed| seeds::identity(seed).id());
        let members = match script.byte() % 4 {
            0 => Membership::Admitted {
                kind: SpaceKind::Forum,
                creator: ana,
            },
            1 => Membership::Pair([ana, ben]),
            2 => Membership::Own(ana),
            _ => Membership::Admitted {
                kind: SpaceKind::Blog,
                creator: ben,
            },
        };
        let author = 1 + script.byte() % 3;
        Self {
            space: SpaceContext {
                id: seeds::space(),
                members,
            },
            author,
            key: seeds::device(author),
            entries: BTreeMap::new(),
            vouched: BTreeSet::new(),
            large: Cell::new(6),
        }
    }

    /// Whether the space lets the author write with the chain that [`Self::genesis`] shows.
    pub(crate) fn is_member(&self) -> bool {
        match self.space.members {
            Membership::Admitted { creator, .. } => {
                creator == seeds::identity(1).id() || self.author == 2
            }
            Membership::Pair(_) => self.author != 3,
            Membership::Own(_) => self.author == 1,
        }
    }

    /// The first person lets the others in, where somebody has to.
    pub(crate) fn genesis(&self) -> Vec<u8> {
        let identity = seeds::identity(self.author).id();
        let admitted = matches!(self.space.members, Membership::Admitted { .. });
        let chain = if admitted && self.author > 1 && !self.is_creator() {
            let (inviter, key) = (seeds::certificate(1), seeds::device(1));
            let chain = Chain::root().admit(self.space.id, &inviter, &key, identity);
            chain.unwrap_or_default()
        } else {
            Chain::root()
        };
        Body::Genesis(Box::new(Genesis {
            certificate: seeds::certificate(self.author),
            name: "Ana",
            chain,
        }))
        .encode()
    }

    fn is_creator(&self) -> bool {
        matches!(self.space.members, Membership::Admitted { creator, .. } if creator == seeds::identity(self.author).id())
    }

    /// A body of decisions, good or not.
    pub(crate) fn body(&self, script: &mut Script<'_>, created: Millis, text: &str) -> Vec<u8> {
        let target = EntryId([4; 32]);
        let what = script.byte();
        let title = if what & 0x40 == 0 { "Title" } else { "Another" };
        let quotable = Quotable {
            title: "Title",
            text,
            tags: vec![],
            created,
        };
        let kind = match (what % 16, self.large.get()) {
            (14.., 0) => 0,
            (14.., left) => {
                self.large.set(left - 1);
                14
            }
            (kind, _) => kind,
        };
        match kind {
            0..=4 => Body::Message {
                text,
                parent: None,
                salt: None,
            },
            5 => Body::Thread { title, text },
            6 => Body::Reply(Answer {
                root: target,
                text,
                parent: None,
            }),
            7 => Body::Article {
                title,
                text,
                tags: vec![],
                quote: quotable.sign(&self.key),
            },
            8 => Body::Edit {
                target,
                title: None,
                text: Some(text),
                tags: None,
                quote: None,
                salt: None,
            },
            9 => Body::Retract { target },
            10 => {
                let identity = seeds::identity(1 + script.byte() % 3);
                let space = if what & 0x40 == 0 {
                    self.space.id
                } else {
                    SpaceId([8; 32])
                };
                let revocation = Revocation::sign(&identity, space, self.key.id(), 3, target);
                Body::Revocation(Box::new(revocation))
            }
            11 => Body::Unknown(script.long()),
            12 => return self.genesis(),
            13 => return script.blob().to_vec(),
            // Two of them pass a checkpoint's bytes.
            _ => {
                let text = "x".repeat(64 * 1024);
                let note = "y".repeat(64 * 1024);
                let original = Quotable {
                    title,
                    text: &text,
                    tags: vec![],
                    created,
                };
                let quote = original.sign(&self.key);
                return Body::Reblog(Box::new(proto::body::Reblog {
                    note: &note,
                    original,
                    quote,
                    certificate: seeds::certificate(self.author),
                    name: "Ana",
                }))
                .encode();
            }
        }
        .encode()
    }

    /// Knows the entries of a branch.
    pub(crate) fn know(&mut self, feed: &Feed) {
        self.entries
            .extend(feed.0.iter().map(|entry| (entry.id, entry.header)));
    }

    /// The author signs an entry of a known branch, and so all before it.
    pub(crate) fn sign(&mut self, id: EntryId) -> Signature {
        let mut at = Some(id);
        while let Some(id) = at {
            let Some(header) = self.entries.get(&id) else {
                break;
            };
            if !self.vouched.insert(id) {
                break;
            }
            at = (header.seq > 0).then_some(header.backlink);
        }
        self.key.sign(Domain::Entry, &id.0)
    }
}
