//! The bytes of a simulated file, in blocks that images share.

use std::{fmt, sync::Arc};

/// What is allocated, shared and copied at once.
pub(super) const BLOCK: usize = 4_096;

type Block = Arc<[u8; BLOCK]>;

/// The bytes of a disk. Cloning shares them.
#[derive(Clone, Default)]
pub struct Image {
    pub(super) len: u64,
    /// `None` is a hole: zeros that take no room.
    blocks: Vec<Option<Block>>,
}

impl Image {
    /// Its length in bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that are really allocated.
    #[must_use]
    pub fn used(&self) -> u64 {
        (self.blocks.iter().flatten().count() * BLOCK) as u64
    }

    /// All its bytes, to look for something in them or to write them to a file.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = vec![0; usize::try_from(self.len).unwrap_or(usize::MAX)];
        self.read(0, &mut out);
        out
    }

    pub(super) fn read(&self, at: u64, out: &mut [u8]) {
        visit(at, out.len(), |number, inside, part| {
            let Some(to) = out.get_mut(part) else { return };
            let block = self.blocks.get(number).and_then(Option::as_ref);
            match block.and_then(|block| block.get(inside..inside + to.len())) {
                Some(from) => to.copy_from_slice(from),
                None => to.fill(0),
            }
        });
    }

    /// Writes what lies before the end; the rest would be out of reach.
    pub(super) fn write(&mut self, at: u64, data: &[u8]) {
        let room = usize::try_from(self.len.saturating_sub(at)).unwrap_or(usize::MAX);
        let data = data.get(..data.len().min(room)).unwrap_or_default();
        visit(at, data.len(), |number, inside, part| {
            let (Some(from), Some(slot)) = (data.get(part), self.blocks.get_mut(number)) else {
                return;
            };
            let block = slot.get_or_insert_with(|| Arc::new([0; BLOCK]));
            if let Some(to) = Arc::make_mut(block).get_mut(inside..inside + from.len()) {
                to.copy_from_slice(from);
            }
        });
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            // What is cut off is gone: growing again gives zeros.
            let inside = (len % BLOCK as u64) as usize;
            let last = usize::try_from(len / BLOCK as u64).unwrap_or(usize::MAX);
            if let Some(Some(block)) = self.blocks.get_mut(last)
                && let Some(rest) = Arc::make_mut(block).get_mut(inside..)
            {
                rest.fill(0);
            }
        }
        self.len = len;
        let blocks = usize::try_from(len.div_ceil(BLOCK as u64)).unwrap_or(usize::MAX);
        self.blocks.resize(blocks, None);
    }

    pub(super) fn has_hole(&self, at: u64, len: usize) -> bool {
        let mut hole = false;
        visit(at, len, |number, _, _| {
            hole |= self.blocks.get(number).is_none_or(Option::is_none);
        });
        hole
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Image({} bytes, {} used)", self.len, self.used())
    }
}

/// Visits the blocks that `at..at + len` covers: number, place inside, and the part of the bytes.
fn visit(at: u64, len: usize, mut each: impl FnMut(usize, usize, std::ops::Range<usize>)) {
    let mut done = 0;
    while done < len {
        let here = at + done as u64;
        let inside = (here % BLOCK as u64) as usize;
        let count = (len - done).min(BLOCK - inside);
        let number = usize::try_from(here / BLOCK as u64).unwrap_or(usize::MAX);
        each(number, inside, done..done + count);
        done += count;
    }
}
