//! Writing: a device appends its own entry to its own feed.

use crate::{
    body::Body,
    entry::{Head, Header},
    ids::{IdentityId, SpaceId},
    keys::{DeviceKey, Domain},
    time::Millis,
    verify::{VerifiedRun, own_entry},
};

/// Makes and signs the next entry of the own feed. The head must be the durable one: a device
/// that signs two entries at one place has forked.
#[must_use]
pub fn append(
    key: &DeviceKey,
    space: SpaceId,
    head: &Head,
    now: Millis,
    body: &Body<'_>,
) -> VerifiedRun {
    let bytes = body.encode();
    let header = Header {
        space,
        device: key.id(),
        seq: head.next,
        backlink: head.top,
        created: now,
        body_len: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
        body_hash: *blake3::hash(&bytes).as_bytes(),
    };
    let signature = key.sign(Domain::Entry, &header.id().0);
    own_entry(&header, bytes, signature, head, author_of(body))
}

fn author_of(body: &Body<'_>) -> Option<IdentityId> {
    match body {
        Body::Genesis(genesis) => Some(genesis.certificate.identity),
        _ => None,
    }
}
