//! A feed in plain vectors, with every entry's signature.

use crate::{
    admission::{Certificate, Chain, Role},
    body::{Body, Genesis},
    entry::{Head, Header, is_checkpoint},
    ids::{EntryId, SpaceId},
    keys::{DeviceKey, Domain, IdentityKey, Signature},
    run::{BodyPart, Item, Run},
    space::{Membership, SpaceContext, SpaceKind},
    time::Millis,
    verify::FeedFacts,
};

pub(super) fn person(seed: u8) -> (IdentityKey, DeviceKey, Certificate) {
    let identity = IdentityKey::from_seed(&[seed; 32]);
    let device = DeviceKey::from_seed(&[seed + 100; 32]);
    let certificate = Certificate::sign(&identity, &device, 1, Role::Main);
    (identity, device, certificate)
}

/// A forum that this person made.
pub(super) fn forum_of(creator: &IdentityKey) -> SpaceContext {
    SpaceContext {
        id: SpaceId([3; 32]),
        members: Membership::Admitted {
            kind: SpaceKind::Forum,
            creator: creator.id(),
        },
    }
}

pub(super) fn genesis_body(certificate: &Certificate) -> Vec<u8> {
    Body::Genesis(Box::new(Genesis {
        certificate: certificate.clone(),
        name: "Ana",
        chain: Chain::root(),
    }))
    .encode()
}

pub(super) fn message(text: &str) -> Vec<u8> {
    Body::Message {
        text,
        parent: None,
        salt: None,
    }
    .encode()
}

#[derive(Clone)]
pub(super) struct Feed {
    pub(super) space: SpaceContext,
    pub(super) device: DeviceKey,
    pub(super) entries: Vec<(EntryId, Header, Vec<u8>)>,
    pub(super) signatures: Vec<Signature>,
}

impl Feed {
    /// The first person's feed: a genesis and messages, `count` entries in all.
    pub(super) fn new(count: u64) -> Self {
        let (identity, device, certificate) = person(1);
        let mut bodies = vec![genesis_body(&certificate)];
        bodies.extend((1..count).map(|n| message(&format!("message {n}"))));
        Self::of(forum_of(&identity), &device, bodies)
    }

    pub(super) fn of(space: SpaceContext, device: &DeviceKey, bodies: Vec<Vec<u8>>) -> Self {
        let feed = Self {
            space,
            device: device.clone(),
            entries: Vec::new(),
            signatures: Vec::new(),
        };
        bodies.iter().fold(feed, |feed, body| feed.then(body))
    }

    /// The feed with one entry more.
    pub(super) fn then(mut self, body: &[u8]) -> Self {
        let seq = self.entries.len() as u64;
        let header = Header {
            space: self.space.id,
            device: self.device.id(),
            seq,
            backlink: self.head(seq).top,
            created: Millis(1_790_000_000_000 + seq),
            body_len: body.len() as u32,
            body_hash: *blake3::hash(body).as_bytes(),
        };
        let id = header.id();
        self.signatures.push(self.device.sign(Domain::Entry, &id.0));
        self.entries.push((id, header, body.to_vec()));
        self
    }

    /// The feed's first `kept` entries, then `count` others.
    pub(super) fn branch(&self, kept: u64, count: u64, text: &str) -> Self {
        let mut feed = self.clone();
        feed.entries.truncate(kept as usize);
        feed.signatures.truncate(kept as usize);
        (0..count).fold(feed, |feed, n| feed.then(&message(&format!("{text} {n}"))))
    }

    /// The head behind the first `count` entries.
    pub(super) fn head(&self, count: u64) -> Head {
        self.entries[..count as usize]
            .iter()
            .fold(Head::EMPTY, |head, (id, header, _)| {
                head.after(*id, header.body_len)
            })
    }

    /// What somebody knows who holds the first `count` entries.
    pub(super) fn facts(&self, count: u64) -> FeedFacts {
        FeedFacts {
            head: self.head(count),
            ..FeedFacts::unknown(self.device.id())
        }
    }

    /// Entries as they travel, with the signatures of the checkpoints and of the last.
    pub(super) fn run(&self, start: u64, end: u64) -> Run<'_> {
        let mut run = Run::new(start, self.head(start).top);
        let mut head = self.head(start);
        for seq in start..end {
            let (id, header, body) = &self.entries[seq as usize];
            run.items.push(Item {
                created: header.created,
                body: BodyPart::Present(body),
            });
            let since = head.since_checkpoint + u64::from(header.body_len);
            if seq + 1 == end || is_checkpoint(seq, since) {
                let signature = self.signatures[seq as usize];
                run.signatures.push(((seq - start) as u32, signature));
            }
            head = head.after(*id, header.body_len);
        }
        run
    }
}
