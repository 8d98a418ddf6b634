//! Which entries of a topic were read: intervals over their numbers in the topic.

use proto::wire::{Reader, WireError, put_varint};

/// Intervals in one set at most: 4,096 of them take about 16 KiB. Beyond, the smallest gaps count
/// as read, because a lost unread mark harms less than an unbounded row.
pub(crate) const INTERVALS_MAX: usize = 4_096;

/// A set of numbers as sorted, disjoint, half-open intervals that don't touch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ReadSet(Vec<(u32, u32)>);

impl ReadSet {
    pub(crate) fn contains(&self, number: u32) -> bool {
        let after = self.0.partition_point(|(start, _)| *start <= number);
        after
            .checked_sub(1)
            .and_then(|at| self.0.get(at))
            .is_some_and(|(_, end)| number < *end)
    }

    /// Numbers in the set.
    pub(crate) fn count(&self) -> u32 {
        self.0.iter().map(|(start, end)| end - start).sum()
    }

    pub(crate) fn insert(&mut self, number: u32) {
        self.insert_range(number, number.saturating_add(1));
    }

    pub(crate) fn insert_range(&mut self, start: u32, end: u32) {
        if start >= end {
            return;
        }
        let from = self.0.partition_point(|(_, known)| *known < start);
        let to = self.0.partition_point(|(known, _)| *known <= end);
        let merged = self
            .0
            .get(from..to)
            .unwrap_or_default()
            .iter()
            .fold((start, end), |(low, high), (start, end)| {
                (low.min(*start), high.max(*end))
            });
        self.0.splice(from..to, [merged]);
        while self.0.len() > INTERVALS_MAX {
            self.close_smallest_gap();
        }
    }

    fn close_smallest_gap(&mut self) {
        let gap = self
            .0
            .windows(2)
            .enumerate()
            .filter_map(|(at, pair)| match pair {
                [(_, end), (start, _)] => Some((start - end, at, *end, *start)),
                _ => None,
            })
            .min();
        match gap {
            Some((_, _, end, start)) => self.insert_range(end, start),
            None => self.0.clear(),
        }
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.0.len() as u64);
        let mut before = 0;
        for (start, end) in &self.0 {
            put_varint(out, u64::from(start - before));
            put_varint(out, u64::from(end - start));
            before = *end;
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let count = reader.length("intervals", INTERVALS_MAX)?;
        let mut intervals = Vec::new();
        let mut before = 0_u32;
        let step = |before: u32, by: u64| {
            u32::try_from(by)
                .ok()
                .and_then(|by| before.checked_add(by))
                .ok_or(WireError::Value("interval"))
        };
        for _ in 0..count {
            let start = step(before, reader.varint()?)?;
            let end = step(start, reader.varint()?)?;
            intervals.push((start, end));
            before = end;
        }
        Ok(Self(intervals))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_agrees_with_a_plain_set(ranges in proptest::collection::vec((0..200_u32, 0..20_u32), 0..60)) {
            let mut set = ReadSet::default();
            let mut plain = BTreeSet::new();
            for (start, len) in ranges {
                set.insert_range(start, start + len);
                plain.extend(start..start + len);
                prop_assert_eq!(set.count() as usize, plain.len());
            }
            for number in 0..230 {
                prop_assert_eq!(set.contains(number), plain.contains(&number));
            }
            prop_assert!(set.0.windows(2).all(|pair| pair[0].1 < pair[1].0));
            let mut out = Vec::new();
            set.put(&mut out);
            prop_assert_eq!(ReadSet::read(&mut Reader::new(&out)), Ok(set));
        }
    }

    #[test]
    fn beyond_the_bound_the_smallest_gap_counts_as_read() {
        let mut set = ReadSet::default();
        for number in 0..INTERVALS_MAX as u32 {
            set.insert(number * 10);
        }
        set.insert(5 + 10 * 7);
        assert_eq!(set.0.len(), INTERVALS_MAX);
        assert!(set.contains(71) && !set.contains(61));
    }
}
