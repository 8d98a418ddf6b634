//! What holds whatever the pieces and their order.

use proptest::prelude::*;

use super::{Feed, message};
use crate::{
    entry::Head,
    ids::EntryId,
    verify::{Comparison, FeedFacts, Outcome, Reject, verify_fork, verify_run},
};

/// A receiver in plain vectors.
struct Receiver {
    facts: FeedFacts,
    ids: Vec<EntryId>,
    signed: Vec<u64>,
}

impl Receiver {
    fn new(feed: &Feed) -> Self {
        Self {
            facts: FeedFacts::unknown(feed.device.id()),
            ids: Vec::new(),
            signed: Vec::new(),
        }
    }

    fn take(&mut self, feed: &Feed, bytes: Vec<u8>) {
        match verify_run(&feed.space, &self.facts, bytes) {
            Ok(Outcome::Continues(run)) => {
                assert_eq!(run.start(), self.ids.len() as u64);
                self.ids.extend(run.items().iter().map(|item| item.id));
                self.signed
                    .extend(run.signatures().iter().map(|(seq, _)| *seq));
                self.facts.head = run.head();
            }
            Ok(Outcome::Overlaps(overlap)) => {
                let ours = |seq: u64| Ok::<_, ()>(self.ids.get(seq as usize).copied());
                assert_eq!(overlap.compare(ours), Ok(Comparison::Known));
            }
            Ok(Outcome::ContinuesTail(_)) => panic!("there is no gap"),
            Err(reject) => assert!(matches!(reject, Reject::Gap { .. }), "{reject:?}"),
        }
    }
}

fn long_feed() -> Feed {
    // Some bodies are long enough for checkpoints between those by count.
    let text = "x".repeat(30_000);
    (0..600).fold(Feed::new(1), |feed, n| {
        if n % 23 == 0 {
            feed.then(&message(&text))
        } else {
            feed.then(&message("short"))
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_feed_in_any_pieces_in_any_order_ends_the_same(pieces in proptest::collection::vec((0..600_u64, 1..300_u64), 0..30), steps in proptest::collection::vec(1..200_u64, 1..8)) {
        let feed = long_feed();
        let mut receiver = Receiver::new(&feed);
        let length = feed.entries.len() as u64;
        for (start, count) in pieces {
            let end = (start + count).min(length);
            if start < end {
                receiver.take(&feed, feed.run(start, end).encode());
            }
        }
        // Then everything from the first, in steps that overlap with what came before.
        let mut from = 0;
        for step in steps.into_iter().cycle() {
            let end = (from + step).min(length);
            receiver.take(&feed, feed.run(from.saturating_sub(step / 3), end).encode());
            from = end;
            if from == length {
                break;
            }
        }
        prop_assert_eq!(receiver.facts.head, feed.head(length));
        let expected: Vec<EntryId> = feed.entries.iter().map(|(id, ..)| *id).collect();
        prop_assert_eq!(receiver.ids, expected);
        prop_assert!(receiver.signed.contains(&256) && receiver.signed.contains(&512));
    }

    #[test]
    fn any_bytes_are_refused_or_known_without_a_panic(bytes: Vec<u8>, held in 0..4_u64) {
        let feed = Feed::new(4);
        let facts = if held == 0 { FeedFacts::unknown(feed.device.id()) } else { feed.facts(held) };
        prop_assert!(verify_run(&feed.space, &facts, bytes.clone()).is_err());
        prop_assert!(verify_fork(&feed.space, &facts, &bytes).is_err());
    }

    /// Bytes of a good run with some replaced: nothing but the good run itself is ever accepted.
    #[test]
    fn a_damaged_run_is_never_stored(damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), held in 1..4_u64) {
        let feed = Feed::new(6);
        let good = feed.run(held, 6).encode();
        let mut bytes = good.clone();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let damaged = bytes != good;
        if let Ok(Outcome::Continues(run)) = verify_run(&feed.space, &feed.facts(held), bytes) {
            prop_assert!(!damaged, "{:?}", run);
        }
    }

    #[test]
    fn the_head_behind_a_run_is_what_adding_its_entries_gives(count in 1..40_u64, from in 0..39_u64) {
        let feed = Feed::new(count);
        let from = from.min(count - 1);
        let facts = if from == 0 { FeedFacts::unknown(feed.device.id()) } else { feed.facts(from) };
        let Ok(Outcome::Continues(run)) = verify_run(&feed.space, &facts, feed.run(from, count).encode()) else {
            return Err(TestCaseError::fail("not accepted"));
        };
        let added = run.items().iter().fold(facts.head, |head: Head, item| head.after(item.id, item.body_len));
        prop_assert_eq!(run.head(), added);
    }
}
