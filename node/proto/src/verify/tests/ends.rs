//! Forks and revocations: where a feed ends, and what of it is kept.

use super::{Feed, refusal, unknown};
use crate::{
    entry::Head,
    fork::{Branch, ForkProof},
    ids::EntryId,
    keys::Signature,
    run::BodyPart,
    verify::{
        Comparison, FeedFacts, ForkPoint, LastGood, Outcome, Overlap, Reject, verify_fork,
        verify_run,
    },
};

fn fork_at(feed: &Feed, seq: u64) -> ForkPoint {
    ForkPoint {
        seq,
        backlink: feed.head(seq).top,
    }
}

fn forked(feed: &Feed, held: u64, seq: u64) -> FeedFacts {
    FeedFacts {
        fork: Some(fork_at(feed, seq)),
        ..feed.facts(held)
    }
}

fn revoked(feed: &Feed, held: u64, seq: u64) -> FeedFacts {
    FeedFacts {
        revoked: Some(LastGood {
            seq,
            id: feed.entries[seq as usize].0,
        }),
        ..feed.facts(held)
    }
}

/// The chain from `seq` to the last entry, as a proof has it.
fn branch(feed: &Feed, seq: usize) -> Branch {
    let headers = feed.entries[seq..].iter().map(|(_, header, _)| header);
    Branch::new(headers, *feed.signatures.last().unwrap())
}

fn proof(one: &Feed, other: &Feed, seq: u64) -> ForkProof {
    let at = seq as usize;
    ForkProof::new(
        one.space.id,
        one.device.id(),
        seq,
        one.head(seq).top,
        branch(one, at),
        branch(other, at),
    )
}

fn continues(feed: &Feed, facts: &FeedFacts, bytes: Vec<u8>) -> Head {
    match verify_run(&feed.space, facts, bytes) {
        Ok(Outcome::Continues(run)) => run.head(),
        other => panic!("{other:?}"),
    }
}

fn overlap(feed: &Feed, facts: &FeedFacts, bytes: Vec<u8>) -> Overlap {
    match verify_run(&feed.space, facts, bytes) {
        Ok(Outcome::Overlaps(overlap)) => overlap,
        other => panic!("{other:?}"),
    }
}

fn compare(with: &Feed, overlap: &Overlap) -> Comparison {
    let ours = |seq: u64| Ok::<_, ()>(with.entries.get(usize::try_from(seq).unwrap()).map(|e| e.0));
    overlap.compare(ours).unwrap()
}

pub(super) fn cases(feed: &Feed) -> Vec<(&'static str, Reject)> {
    let other = feed.branch(3, 2, "other");
    let same = proof(feed, feed, 2).encode();
    let good = proof(feed, &other, 3).encode();
    let fork =
        |facts: &FeedFacts, bytes: &[u8]| verify_fork(&feed.space, facts, bytes).unwrap_err();
    vec![
        (
            "entries above a fork",
            refusal(feed, &forked(feed, 3, 3), feed.run(3, 5).encode()),
        ),
        (
            "entries above a revocation",
            refusal(feed, &revoked(feed, 3, 2), feed.run(3, 5).encode()),
        ),
        (
            "another branch than the revocation keeps",
            refusal(feed, &revoked(feed, 3, 4), other.run(3, 5).encode()),
        ),
        ("a proof of nothing", fork(&feed.facts(5), &same)),
        ("a fork of an unknown feed", fork(&unknown(feed), &good)),
    ]
}

#[test]
fn the_proof_is_the_same_from_both_sides_and_any_flipped_bit_breaks_it() {
    let one = Feed::new(6);
    let other = one.branch(3, 2, "other");
    let seen = |holder: &Feed, sent: &Feed| {
        let end = sent.entries.len() as u64;
        let facts = holder.facts(holder.entries.len() as u64);
        let overlap = overlap(holder, &facts, sent.run(1, end).encode());
        let Comparison::Fork {
            seq,
            backlink,
            theirs,
        } = compare(holder, &overlap)
        else {
            panic!("no fork");
        };
        assert_eq!((seq, backlink), (3, one.head(3).top));
        let (space, device) = (one.space.id, one.device.id());
        let own = branch(holder, 3);
        ForkProof::new(space, device, seq, backlink, own, theirs).encode()
    };
    let bytes = seen(&one, &other);
    assert_eq!(bytes, seen(&other, &one));
    let facts = one.facts(6);
    assert!(verify_fork(&one.space, &facts, &bytes).is_ok());
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(verify_fork(&one.space, &facts, &bad).is_err(), "bit {bit}");
    }
    for cut in 0..bytes.len() {
        assert!(ForkProof::decode(&bytes[..cut]).is_err());
    }
}

#[test]
fn a_fork_at_the_first_entry_is_a_fork() {
    let one = Feed::new(2);
    let other = one.branch(0, 1, "no genesis, and still signed");
    let bytes = proof(&one, &other, 0).encode();
    assert!(verify_fork(&one.space, &one.facts(2), &bytes).is_ok());
    let facts = forked(&one, 0, 0);
    assert_eq!(
        refusal(&one, &facts, one.run(0, 2).encode()),
        Reject::BeyondFork { fork: 0 }
    );
}

/// A proof counts places up from its own, which overflowed near the largest number.
#[test]
fn a_proof_near_the_largest_place_is_refused_without_overflow() {
    let one = Feed::new(6);
    let other = one.branch(3, 2, "other");
    for seq in [u64::MAX, u64::MAX - 1, u64::MAX - 256, u64::MAX - 512] {
        let mut bad = proof(&one, &other, 3);
        bad.seq = seq;
        assert!(!bad.holds(one.space.id, one.device.id()));
        assert!(verify_fork(&one.space, &one.facts(6), &bad.encode()).is_err());
    }
}

#[test]
fn the_prefix_of_a_forked_feed_needs_no_signature_of_its_own() {
    let feed = Feed::new(8);
    let facts = forked(&feed, 1, 5);
    let mut bare = feed.run(1, 5);
    bare.signatures.clear();
    assert_eq!(continues(&feed, &facts, bare.encode()), feed.head(5));
    // One entry short of the fork nothing vouches.
    let mut short = feed.run(1, 4);
    short.signatures.clear();
    assert_eq!(refusal(&feed, &facts, short.encode()), Reject::Unsigned);
    // Nor does the fork vouch for another branch.
    let other = feed.branch(3, 2, "other");
    assert_eq!(
        refusal(&feed, &facts, other.run(1, 5).encode()),
        Reject::OtherBranch { seq: 4 }
    );
}

/// A peer that hasn't heard of the fork sends a run across it; its prefix is as good as any.
#[test]
fn a_run_across_a_fork_or_a_revocation_is_kept_up_to_it() {
    let feed = Feed::new(8);
    let run = feed.run(1, 8).encode();
    let cut = continues(&feed, &forked(&feed, 1, 5), run.clone());
    assert_eq!(cut, feed.head(5));
    assert_eq!(
        continues(&feed, &revoked(&feed, 1, 5), run.clone()),
        feed.head(6)
    );
    // Where the prefix is held already, nothing is new.
    assert!(overlap(&feed, &forked(&feed, 5, 5), run.clone()).is_known());
    assert!(overlap(&feed, &revoked(&feed, 6, 5), run.clone()).is_known());
    let Ok(Outcome::Continues(verified)) = verify_run(&feed.space, &forked(&feed, 1, 5), run)
    else {
        panic!("not accepted");
    };
    assert_eq!(
        (verified.items().len(), verified.signatures().len()),
        (4, 0)
    );
}

#[test]
fn a_revocation_ends_a_feed_and_beats_a_fork() {
    let feed = Feed::new(8);
    let mut facts = revoked(&feed, 1, 5);
    let mut bare = feed.run(1, 6);
    bare.signatures.clear();
    assert_eq!(continues(&feed, &facts, bare.encode()), feed.head(6));
    facts.fork = Some(fork_at(&feed, 2));
    assert_eq!(continues(&feed, &facts, bare.encode()), feed.head(6));
    let other = feed.branch(3, 5, "other");
    assert_eq!(
        refusal(&feed, &facts, other.run(1, 8).encode()),
        Reject::OtherBranch { seq: 5 }
    );
    assert_eq!(
        refusal(&feed, &revoked(&feed, 6, 5), feed.run(6, 8).encode()),
        Reject::BeyondRevocation { last: 5 }
    );
    // The last place of all may be named, and nothing overflows.
    facts.revoked = Some(LastGood {
        seq: u64::MAX,
        id: EntryId([1; 32]),
    });
    assert_eq!(
        continues(&feed, &facts, feed.run(1, 8).encode()),
        feed.head(8)
    );
}

#[test]
fn a_run_that_says_something_else_is_compared_and_never_stored() {
    let one = Feed::new(6);
    let other = one.branch(3, 4, "other");
    // The end is above what is known; the middle differs.
    let found = overlap(&one, &one.facts(6), other.run(2, 7).encode());
    assert!(matches!(
        compare(&one, &found),
        Comparison::Fork { seq: 3, .. }
    ));
    // It begins on the other branch already.
    let found = overlap(&one, &one.facts(6), other.run(4, 7).encode());
    assert_eq!(compare(&one, &found), Comparison::Below);
    // It lies inside what is known.
    let found = overlap(&one, &one.facts(6), one.run(1, 4).encode());
    assert_eq!(compare(&one, &found), Comparison::Known);
    // It ends exactly at what is known, where the chain itself vouches.
    let mut bare = one.run(1, 6);
    bare.signatures.clear();
    let found = overlap(&one, &one.facts(6), bare.encode());
    assert!(found.is_known());
    assert_eq!(compare(&one, &found), Comparison::Known);
}

/// Only the last signature of an overlapping run was checked, but a proof took over an earlier one.
#[test]
fn every_signature_of_an_overlapping_run_has_to_hold() {
    let one = Feed::new(6);
    let other = one.branch(3, 4, "other");
    let mut run = other.run(1, 7);
    run.signatures.insert(0, (2, Signature([7; 64])));
    let facts = one.facts(6);
    let refused = refusal(&one, &facts, run.encode());
    assert_eq!(refused, Reject::BadSignature { seq: 3 });
    // What stands behind the last signature proves nothing.
    let mut run = other.run(1, 5);
    let (_, _, body) = &other.entries[5];
    let mut extra = other.run(5, 6);
    extra.items[0].body = BodyPart::Present(&body[..3]);
    run.items.append(&mut extra.items);
    let found = overlap(&one, &facts, run.encode());
    assert!(matches!(compare(&one, &found), Comparison::Fork { .. }));
    run.signatures.clear();
    assert_eq!(refusal(&one, &facts, run.encode()), Reject::Unsigned);
}

/// With the checkpoints' signatures left out, a branch grew longer than a proof may be.
#[test]
fn an_overlapping_run_carries_the_signatures_of_its_checkpoints() {
    let one = Feed::new(260);
    let other = one.branch(3, 300, "other");
    let mut run = other.run(1, 303);
    run.signatures.remove(0);
    assert_eq!(
        refusal(&one, &one.facts(260), run.encode()),
        Reject::CheckpointUnsigned { seq: 256 }
    );
    let found = overlap(&one, &one.facts(260), other.run(1, 303).encode());
    let Comparison::Fork { theirs, .. } = compare(&one, &found) else {
        panic!("no fork");
    };
    let own = Branch::new(
        one.entries[3..=256].iter().map(|(_, header, _)| header),
        one.signatures[256],
    );
    let (space, device) = (one.space.id, one.device.id());
    let proof = ForkProof::new(space, device, 3, one.head(3).top, own, theirs);
    assert!(verify_fork(&one.space, &one.facts(260), &proof.encode()).is_ok());
}

/// The author forked at 3, and one of the branches again at 6. Its holder has dropped what stood
/// above 6, with the signatures, and lends the proof's: only so can somebody who holds the other
/// branch prove the lower fork.
#[test]
fn a_prefix_that_ends_unsigned_is_lengthened_by_the_proof() {
    let one = Feed::new(6);
    let other = one.branch(3, 6, "other");
    let again = other.branch(6, 2, "again");
    let higher = proof(&other, &again, 6);
    let mut run = other.run(1, 6);
    run.signatures.clear();
    let bare = run.encode();
    assert_eq!(refusal(&one, &one.facts(6), bare), Reject::Unsigned);
    assert!(!higher.lengthen(&mut one.run(1, 6), one.head(6).top));
    assert!(higher.lengthen(&mut run, other.head(6).top));
    let found = overlap(&one, &one.facts(6), run.encode());
    let Comparison::Fork {
        seq,
        backlink,
        theirs,
    } = compare(&one, &found)
    else {
        panic!("no fork");
    };
    let (space, device) = (one.space.id, one.device.id());
    let lower = ForkProof::new(space, device, seq, backlink, branch(&one, 3), theirs);
    assert_eq!((lower.seq, lower.holds(space, device)), (3, true));
    // Somebody who knows the fork keeps the prefix of such a run.
    let facts = forked(&other, 1, 6);
    assert_eq!(continues(&other, &facts, run.encode()), other.head(6));
}
