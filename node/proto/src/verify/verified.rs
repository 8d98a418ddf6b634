//! Entries that passed every check.

use std::ops::Range;

use crate::{
    body::{Body, rule::is_rule},
    entry::{Head, Header},
    ids::{DeviceId, EntryId, IdentityId},
    keys::Signature,
    time::Millis,
};

/// An entry that passed every check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedItem {
    /// Its id.
    pub id: EntryId,
    /// The author's claim of the time.
    pub created: Millis,
    /// Length of the body.
    pub body_len: u32,
    /// Hash of the body.
    pub body_hash: [u8; 32],
    pub(super) body: Option<Range<usize>>,
}

/// Entries that continue a feed and passed every check. Only [`super::verify_run`] and an author make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedRun {
    pub(super) bytes: Vec<u8>,
    pub(super) device: DeviceId,
    pub(super) start: u64,
    pub(super) backlink: EntryId,
    pub(super) items: Vec<VerifiedItem>,
    pub(super) signatures: Vec<(u64, Signature)>,
    pub(super) head: Head,
    pub(super) author: Option<IdentityId>,
}

impl VerifiedRun {
    /// The feed's device.
    #[must_use]
    pub const fn device(&self) -> DeviceId {
        self.device
    }

    /// Place of the first entry.
    #[must_use]
    pub const fn start(&self) -> u64 {
        self.start
    }

    /// Id of the entry before the first.
    #[must_use]
    pub const fn backlink(&self) -> EntryId {
        self.backlink
    }

    /// The entries.
    #[must_use]
    pub fn items(&self) -> &[VerifiedItem] {
        &self.items
    }

    /// Signatures by seq, ascending: the checkpoints' and the last entry's. The last is missing
    /// where a fork or a revocation vouches for it.
    #[must_use]
    pub fn signatures(&self) -> &[(u64, Signature)] {
        &self.signatures
    }

    /// The head behind the last entry.
    #[must_use]
    pub const fn head(&self) -> Head {
        self.head
    }

    /// The author, where this run begins with the genesis.
    #[must_use]
    pub const fn author(&self) -> Option<IdentityId> {
        self.author
    }

    /// The bytes of a body, `None` where it is absent.
    #[must_use]
    pub fn body_bytes(&self, item: &VerifiedItem) -> Option<&[u8]> {
        self.bytes.get(item.body.clone()?)
    }

    /// A body, `None` where it is absent. Costs the decoding.
    #[must_use]
    pub fn body(&self, item: &VerifiedItem) -> Option<Body<'_>> {
        Body::decode(self.body_bytes(item)?).ok()
    }

    /// Whether it has rules of a circle in it.
    #[must_use]
    pub(crate) fn has_rules(&self) -> bool {
        let mut bodies = self.items.iter().filter_map(|item| self.body_bytes(item));
        bodies.any(is_rule)
    }

    /// The same run without its entries from `end` on, where `head` is what is known before it. Its
    /// last entry may then be unsigned: who keeps it must know from elsewhere that it holds. `None`
    /// where nothing would be left.
    #[must_use]
    pub fn until(mut self, head: &Head, end: u64) -> Option<Self> {
        let keep = usize::try_from(end.checked_sub(self.start)?).ok()?;
        self.items.truncate(keep);
        self.signatures.retain(|(seq, _)| *seq < end);
        let before = (self.start == head.next && self.backlink == head.top).then_some(*head)?;
        self.head = self
            .items
            .iter()
            .fold(before, |head, item| head.after(item.id, item.body_len));
        (!self.items.is_empty()).then_some(self)
    }

    /// Id of the entry at a place inside it or just below it.
    #[must_use]
    pub fn id(&self, seq: u64) -> Option<EntryId> {
        if seq.checked_add(1) == Some(self.start) {
            return Some(self.backlink);
        }
        let at = usize::try_from(seq.checked_sub(self.start)?).ok()?;
        self.items.get(at).map(|item| item.id)
    }

    /// The same run without its first entries, which are known already. `None` where `head` isn't
    /// on this chain or nothing would be left.
    #[must_use]
    pub fn after(mut self, head: &Head) -> Option<Self> {
        let skip = usize::try_from(head.next.checked_sub(self.start)?).ok()?;
        if skip > 0 {
            if self.items.get(skip - 1)?.id != head.top {
                return None;
            }
            self.items.drain(..skip);
            self.signatures.retain(|(seq, _)| *seq >= head.next);
            self.author = None;
        } else if self.backlink != head.top {
            return None;
        }
        self.start = head.next;
        self.backlink = head.top;
        (!self.items.is_empty()).then_some(self)
    }
}

/// Makes an author's own entry into a run of one, which needs no checking.
pub(crate) fn own_entry(
    header: &Header,
    body: Vec<u8>,
    signature: Signature,
    head: &Head,
    author: Option<IdentityId>,
) -> VerifiedRun {
    let id = header.id();
    let item = VerifiedItem {
        id,
        created: header.created,
        body_len: header.body_len,
        body_hash: header.body_hash,
        body: Some(0..body.len()),
    };
    VerifiedRun {
        bytes: body,
        device: header.device,
        start: header.seq,
        backlink: header.backlink,
        items: vec![item],
        signatures: vec![(header.seq, signature)],
        head: head.after(id, header.body_len),
        author,
    }
}
