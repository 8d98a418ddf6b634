//! Runs that say something else than what is known, or nothing new: what finds a fork.

use super::Linked;
use crate::{
    fork::Branch,
    ids::{DeviceId, EntryId},
    keys::Signature,
};

/// A run that disagrees with what is known, or lies wholly inside it. Its signatures hold, and
/// nothing stands behind the last of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    pub(super) device: DeviceId,
    pub(super) start: u64,
    pub(super) backlink: EntryId,
    pub(super) items: Vec<Linked>,
    /// By index into `items`, ascending; empty where everything is known.
    pub(super) signatures: Vec<(u32, Signature)>,
}

/// What an [`Overlap`] turns out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparison {
    /// Everything in it is known.
    Known,
    /// It disagrees already at its first entry's backlink: ask from further down.
    Below,
    /// The author signed something else at this place.
    Fork {
        /// The lowest place where the two differ.
        seq: u64,
        /// What both have before it.
        backlink: EntryId,
        /// The other branch, to its next signature.
        theirs: Branch,
    },
}

impl Overlap {
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

    /// Place behind the last entry.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.start.saturating_add(self.items.len() as u64)
    }

    /// Whether it ends at what is known, so that comparing would find nothing.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.signatures.is_empty()
    }

    /// Bytes that it takes in memory, about.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        size_of::<Self>() + self.items.len() * size_of::<Linked>()
    }

    /// Compares with the own ids: `ours(seq)` is `None` above the own head.
    ///
    /// # Errors
    /// What `ours` fails with.
    pub fn compare<E>(
        &self,
        mut ours: impl FnMut(u64) -> Result<Option<EntryId>, E>,
    ) -> Result<Comparison, E> {
        if let Some(before) = self.start.checked_sub(1)
            && ours(before)? != Some(self.backlink)
        {
            return Ok(Comparison::Below);
        }
        let mut backlink = self.backlink;
        for (at, item) in self.items.iter().enumerate() {
            let seq = self.start.saturating_add(at as u64);
            match ours(seq)? {
                Some(own) if own == item.id => backlink = item.id,
                None => return Ok(Comparison::Known),
                Some(_) => {
                    let signed = self
                        .signatures
                        .iter()
                        .find(|(index, _)| *index as usize >= at);
                    let Some((index, signature)) = signed else {
                        return Ok(Comparison::Known);
                    };
                    let items = self.items.get(at..=*index as usize).unwrap_or_default();
                    let theirs = Branch::of(items.iter(), *signature);
                    return Ok(Comparison::Fork {
                        seq,
                        backlink,
                        theirs,
                    });
                }
            }
        }
        Ok(Comparison::Known)
    }
}
