//! Entries above a gap: what may stand there, and what may fill it.

use super::*;

/// Who holds the first `base` entries and a tail.
fn with_tail(feed: &Feed, base: u64, start: u64, next: u64) -> FeedFacts {
    let id = |seq: u64| feed.entries[seq as usize].0;
    FeedFacts {
        tail: Some(TailFacts {
            start,
            backlink: id(start - 1),
            next,
            top: id(next - 1),
            since_checkpoint: None,
        }),
        ..feed.facts(base)
    }
}

/// Entries as a chunk carries them: only the signatures that a node keeps.
fn chunk(feed: &Feed, start: u64, end: u64) -> Vec<u8> {
    let mut run = feed.run(start, end);
    let newest = end == feed.entries.len() as u64;
    let checkpoint = |index: u32| (start + u64::from(index)).is_multiple_of(256);
    let last = (end - start - 1) as u32;
    run.signatures
        .retain(|(index, _)| checkpoint(*index) || (newest && *index == last));
    run.encode()
}

#[test]
fn a_tail_verifies_downwards_to_what_is_known() {
    let feed = Feed::new(40);
    let newest = verify_tail_chunk(&feed.space, &feed.facts(3), chunk(&feed, 30, 40)).unwrap();
    assert_eq!((newest.start(), newest.end()), (30, 40));
    assert!(newest.is_signed() && newest.top() == feed.entries[39].0);
    let mut end = 30;
    for start in [17, 16, 3] {
        let facts = with_tail(&feed, 3, end, 40);
        let below = verify_tail_chunk(&feed.space, &facts, chunk(&feed, start, end)).unwrap();
        assert_eq!(below.backlink(), feed.entries[start as usize - 1].0);
        assert_eq!(below.items().len() as u64, end - start);
        end = start;
    }
    let facts = with_tail(&feed, 3, 20, 40);
    let check = |bytes| verify_tail_chunk(&feed.space, &facts, bytes);
    let gap = Err(Reject::Gap {
        expected: 20,
        found: 19,
    });
    assert_eq!(check(chunk(&feed, 10, 19)), gap);
    let other = feed.branch(15, 25, "other");
    let refused = check(chunk(&other, 10, 20));
    assert_eq!(refused, Err(Reject::OtherBranch { seq: 19 }));
    let genesis = check(chunk(&feed, 0, 20));
    assert_eq!(genesis, Err(Reject::SecondGenesis { seq: 0 }));
    let mut wrong = feed.run(10, 20);
    wrong.signatures = vec![(1, feed.signatures[0])];
    let refused = check(wrong.encode());
    assert_eq!(refused, Err(Reject::BadSignature { seq: 11 }));
}

#[test]
fn a_tail_begins_signed_and_above_a_genesis_that_is_known() {
    let feed = Feed::new(40);
    let mut unsigned = feed.run(30, 40);
    unsigned.signatures.clear();
    let check = |facts: &FeedFacts, bytes| verify_tail_chunk(&feed.space, facts, bytes);
    let bytes = unsigned.encode();
    assert_eq!(check(&feed.facts(3), bytes), Err(Reject::Unsigned));
    let unknown = FeedFacts::unknown(feed.device.id());
    let refused = check(&unknown, chunk(&feed, 30, 40));
    assert!(matches!(refused, Err(Reject::Gap { .. })));
    let forked = FeedFacts {
        fork: Some(ForkPoint {
            seq: 2,
            backlink: feed.entries[1].0,
        }),
        ..feed.facts(2)
    };
    let refused = check(&forked, chunk(&feed, 30, 40));
    assert_eq!(refused, Err(Reject::BeyondFork { fork: 2 }));
}

#[test]
fn a_chunk_has_the_signature_of_every_checkpoint_by_count() {
    let feed = Feed::new(300);
    let facts = with_tail(&feed, 3, 290, 300);
    let mut run = feed.run(250, 290);
    run.signatures.clear();
    let refused = verify_tail_chunk(&feed.space, &facts, run.encode());
    assert_eq!(refused, Err(Reject::CheckpointUnsigned { seq: 256 }));
    run.signatures = vec![(6, feed.signatures[256])];
    assert!(verify_tail_chunk(&feed.space, &facts, run.encode()).is_ok());
}

#[test]
fn a_tail_is_continued_upwards_like_any_feed() {
    let feed = Feed::new(600);
    let facts = with_tail(&feed, 3, 300, 400);
    let check = |facts: &FeedFacts, run: &Run<'_>| verify_run(&feed.space, facts, run.encode());
    let Ok(Outcome::ContinuesTail(more)) = check(&facts, &feed.run(400, 513)) else {
        panic!("it continues the tail");
    };
    assert_eq!((more.start(), more.end()), (400, 513));
    // With what is known at its beginning.
    let Ok(Outcome::ContinuesTail(more)) = check(&facts, &feed.run(380, 420)) else {
        panic!("it continues the tail");
    };
    assert_eq!((more.start(), more.end()), (400, 420));
    assert_eq!(more.backlink(), feed.entries[399].0);
    let known = check(&facts, &feed.run(320, 400));
    assert!(matches!(known, Ok(Outcome::Overlaps(overlap)) if overlap.is_known()));
    let mut unsigned = feed.run(400, 520);
    unsigned.signatures.retain(|(index, _)| *index != 112);
    let refused = check(&facts, &unsigned);
    assert_eq!(refused, Err(Reject::CheckpointUnsigned { seq: 512 }));
    let other = feed.branch(390, 60, "other");
    let overlap = check(&facts, &other.run(390, 430));
    assert!(matches!(overlap, Ok(Outcome::Overlaps(_))));
    // From the beginning on nothing changes.
    let below = check(&facts, &feed.run(3, 257));
    assert!(matches!(below, Ok(Outcome::Continues(_))));
    let gap = check(&facts, &feed.run(257, 290));
    assert!(matches!(gap, Err(Reject::Gap { .. })));
}

#[test]
fn a_part_of_a_tail_keeps_its_place_in_the_chain() {
    let feed = Feed::new(40);
    let tail = verify_tail_chunk(&feed.space, &feed.facts(3), chunk(&feed, 20, 40)).unwrap();
    let part = tail.clone().between(25, 33).unwrap();
    assert_eq!((part.start(), part.end()), (25, 33));
    assert_eq!(part.backlink(), feed.entries[24].0);
    assert_eq!(part.top(), feed.entries[32].0);
    assert!(!part.is_signed());
    for (item, (id, _, body)) in part.items().iter().zip(&feed.entries[25..]) {
        assert_eq!(item.id, *id);
        assert_eq!(part.body_bytes(item), Some(body.as_slice()));
    }
    assert!(tail.clone().between(40, 50).is_none());
    assert_eq!(tail.clone().between(0, 90), Some(tail));
}

#[test]
fn unsigned_checkpoints_by_bytes_are_found_walking_upwards() {
    let big = 200 * 1024;
    let entries = |signed: bool| (257..262).map(move |seq| (seq, big, signed));
    assert_eq!(
        unsigned_checkpoint(0, entries(true)),
        (None, u64::from(big))
    );
    assert_eq!(
        unsigned_checkpoint(0, entries(false)),
        (Some(258), u64::from(big))
    );
    assert_eq!(unsigned_checkpoint(7, [(512, 9, false)]), (Some(512), 0));
}
