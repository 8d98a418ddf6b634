//! Keys by hand, big-endian, so that rows lie in the order in which they are read.

use std::ops::Bound;

use proto::EntryId;

use crate::tables::{Bounds, ID_KEY, ID_VALUE, ITEM_KEY, ITEM_VALUE, ItemBounds};

/// Times and orders take six bytes: enough for ten thousand years of milliseconds.
pub(crate) const ORDER_MAX: u64 = (1 << 48) - 1;
/// Places in a feed take five bytes in the big tables.
pub(crate) const SEQ_MAX: u64 = (1 << 40) - 1;

/// A key put together from fields.
#[derive(Debug, Clone, Default)]
pub(crate) struct Key(Vec<u8>);

impl Key {
    pub(crate) fn new() -> Self {
        Self(Vec::with_capacity(72))
    }

    pub(crate) fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    pub(crate) fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn u40(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&be::<5>(value.min(SEQ_MAX)));
        self
    }

    pub(crate) fn u48(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&be::<6>(value.min(ORDER_MAX)));
        self
    }

    pub(crate) fn u64(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn bytes(mut self, value: &[u8]) -> Self {
        self.0.extend_from_slice(value);
        self
    }

    pub(crate) fn half(self, id: &EntryId) -> Self {
        self.bytes(&half(id))
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// The smallest key above all that begin with this one; `None` where there is none.
    pub(crate) fn after(&self) -> Option<Vec<u8>> {
        let mut key = self.0.clone();
        while let Some(last) = key.pop() {
            if let Some(next) = last.checked_add(1) {
                key.push(next);
                return Some(key);
            }
        }
        None
    }
}

/// Both ends of the rows whose keys begin with a prefix.
pub(crate) struct Prefixed {
    low: Vec<u8>,
    high: Option<Vec<u8>>,
}

impl Prefixed {
    pub(crate) fn new(key: Key) -> Self {
        let high = key.after();
        Self { low: key.0, high }
    }

    pub(crate) fn bounds(&self) -> Bounds<'_> {
        let high = self
            .high
            .as_deref()
            .map_or(Bound::Unbounded, Bound::Excluded);
        (Bound::Included(&self.low), high)
    }

    /// Only rows at and below `key`.
    pub(crate) fn up_to<'k>(&'k self, key: &'k [u8]) -> Bounds<'k> {
        (Bound::Included(&self.low), Bound::Included(key))
    }
}

/// The first half of an id: what the index and relations know an entry by.
pub(crate) fn half(id: &EntryId) -> [u8; ID_KEY] {
    id.0.first_chunk().copied().unwrap_or_default()
}

/// The last `N` bytes of a number.
fn be<const N: usize>(value: u64) -> [u8; N] {
    value.to_be_bytes().last_chunk().copied().unwrap_or([0; N])
}

/// A number from big-endian bytes.
pub(crate) fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |value, byte| (value << 8) | u64::from(*byte))
}

/// A u32 at a place of a key; 0 where the key is shorter.
pub(crate) fn u32_at(key: &[u8], at: usize) -> u32 {
    key.get(at..at + 4)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u32::from_be_bytes)
}

/// 32 bytes at a place of a key; zeros where the key is shorter.
pub(crate) fn id_at(key: &[u8], at: usize) -> [u8; 32] {
    key.get(at..at + 32)
        .and_then(|bytes| bytes.try_into().ok())
        .unwrap_or([0; 32])
}

/// A number of `len` bytes at a place of a key; 0 where the key is shorter.
pub(crate) fn number_at(key: &[u8], at: usize, len: usize) -> u64 {
    key.get(at..at + len).map_or(0, number)
}

/// Where an entry lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) feed: u32,
    pub(crate) seq: u64,
}

/// What the index says of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Indexed {
    pub(crate) place: Place,
    pub(crate) order: u64,
}

impl Indexed {
    pub(crate) fn encode(&self) -> [u8; ID_VALUE] {
        let mut out = [0; ID_VALUE];
        fill(
            &mut out,
            &[
                &self.place.feed.to_be_bytes(),
                &be::<5>(self.place.seq),
                &be::<6>(self.order),
            ],
        );
        out
    }

    pub(crate) fn decode(bytes: &[u8; ID_VALUE]) -> Self {
        Self {
            place: Place {
                feed: u32_at(bytes, 0),
                seq: number_at(bytes, 4, 5),
            },
            order: number_at(bytes, 9, 6),
        }
    }
}

/// The key of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ItemKey {
    pub(crate) topic: u32,
    pub(crate) order: u64,
    pub(crate) place: Place,
}

impl ItemKey {
    pub(crate) fn encode(&self) -> [u8; ITEM_KEY] {
        let mut out = [0; ITEM_KEY];
        fill(
            &mut out,
            &[
                &self.topic.to_be_bytes(),
                &be::<6>(self.order),
                &self.place.feed.to_be_bytes(),
                &be::<5>(self.place.seq),
            ],
        );
        out
    }

    pub(crate) fn decode(bytes: &[u8; ITEM_KEY]) -> Self {
        Self {
            topic: u32_at(bytes, 0),
            order: number_at(bytes, 4, 6),
            place: Place {
                feed: u32_at(bytes, 10),
                seq: number_at(bytes, 14, 5),
            },
        }
    }

    pub(crate) fn lowest(topic: u32) -> [u8; ITEM_KEY] {
        let mut out = [0; ITEM_KEY];
        fill(&mut out, &[&topic.to_be_bytes()]);
        out
    }

    pub(crate) fn highest(topic: u32) -> [u8; ITEM_KEY] {
        let mut out = [0xff; ITEM_KEY];
        fill(&mut out, &[&topic.to_be_bytes()]);
        out
    }
}

/// All items of a topic.
pub(crate) fn item_bounds<'k>(low: &'k [u8; ITEM_KEY], high: &'k [u8; ITEM_KEY]) -> ItemBounds<'k> {
    (Bound::Included(low), Bound::Included(high))
}

/// What a topic notes of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ItemValue {
    /// Its author took it back.
    pub(crate) retracted: bool,
    /// Its body is missing.
    pub(crate) missing: bool,
    /// Its number in the topic, in order of arrival.
    pub(crate) index: u32,
    /// When it came.
    pub(crate) received: u64,
}

const RETRACTED: u8 = 1;
const MISSING: u8 = 2;

impl ItemValue {
    pub(crate) fn encode(&self) -> [u8; ITEM_VALUE] {
        let flags = u8::from(self.retracted) * RETRACTED + u8::from(self.missing) * MISSING;
        let mut out = [0; ITEM_VALUE];
        fill(
            &mut out,
            &[
                &[flags],
                &self.index.to_be_bytes(),
                &be::<6>(self.received.min(ORDER_MAX)),
            ],
        );
        out
    }

    pub(crate) fn decode(bytes: &[u8; ITEM_VALUE]) -> Self {
        let flags = bytes.first().copied().unwrap_or(0);
        Self {
            retracted: flags & RETRACTED != 0,
            missing: flags & MISSING != 0,
            index: u32_at(bytes, 1),
            received: number_at(bytes, 5, 6),
        }
    }
}

fn fill(out: &mut [u8], parts: &[&[u8]]) {
    let mut at = 0;
    for part in parts {
        if let Some(slot) = out.get_mut(at..at + part.len()) {
            slot.copy_from_slice(part);
        }
        at += part.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn fixed_rows_decode_to_what_was_encoded(topic: u32, feed: u32, seq in 0..=SEQ_MAX, order in 0..=ORDER_MAX, retracted: bool, missing: bool, index: u32) {
            let place = Place { feed, seq };
            let indexed = Indexed { place, order };
            prop_assert_eq!(Indexed::decode(&indexed.encode()), indexed);
            let key = ItemKey { topic, order, place };
            prop_assert_eq!(ItemKey::decode(&key.encode()), key);
            prop_assert!(key.encode() >= ItemKey::lowest(topic) && key.encode() <= ItemKey::highest(topic));
            let value = ItemValue { retracted, missing, index, received: order };
            prop_assert_eq!(ItemValue::decode(&value.encode()), value);
        }

        #[test]
        fn items_sort_by_order_then_place(a in (0..9_u64, 0..9_u32, 0..9_u64), b in (0..9_u64, 0..9_u32, 0..9_u64)) {
            let key = |(order, feed, seq)| ItemKey { topic: 1, order, place: Place { feed, seq } };
            prop_assert_eq!(key(a).cmp(&key(b)), key(a).encode().cmp(&key(b).encode()));
        }

        #[test]
        fn a_prefix_bounds_exactly_its_keys(prefix in proptest::collection::vec(250_u8.., 0..3), other in proptest::collection::vec(250_u8.., 0..5)) {
            use std::ops::RangeBounds;
            let range = Prefixed::new(Key::new().bytes(&prefix));
            let inside = RangeBounds::<&[u8]>::contains(&range.bounds(), &other.as_slice());
            prop_assert_eq!(inside, other.starts_with(&prefix));
        }
    }
}
