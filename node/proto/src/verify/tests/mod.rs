//! What may be stored and what not: a case for each rejection, every flipped bit, and feeds that
//! arrive in pieces.

mod ends;
mod feed;
mod properties;
mod tail;

use std::collections::BTreeSet;

use feed::{Feed, forum_of, genesis_body, message, person};

use super::*;
use crate::{
    admission::{Certificate, Chain, Role},
    body::{Genesis, Revocation, Rule},
    fork::Branch,
    limits::BODY_BYTES_MAX,
    run::Item,
    space::Membership,
    time::Millis,
    wire::WireError,
};

fn refusal(feed: &Feed, facts: &FeedFacts, bytes: Vec<u8>) -> Reject {
    verify_run(&feed.space, facts, bytes).unwrap_err()
}

fn unknown(feed: &Feed) -> FeedFacts {
    FeedFacts::unknown(feed.device.id())
}

/// Every way in which this module refuses something, by what makes it.
fn cases() -> Vec<(&'static str, Reject)> {
    let feed = Feed::new(5);
    let mut cases = form_and_place(&feed);
    cases.extend(signatures(&feed));
    cases.extend(geneses(&feed));
    cases.extend(bodies(&feed));
    cases.extend(ends::cases(&feed));
    cases
}

fn form_and_place(feed: &Feed) -> Vec<(&'static str, Reject)> {
    let run = feed.run(0, 3).encode();
    let mut late = feed.run(0, 3);
    late.backlink = EntryId([1; 32]);
    vec![
        (
            "cut bytes",
            refusal(feed, &unknown(feed), run[..run.len() - 1].to_vec()),
        ),
        (
            "a run above what is known",
            refusal(feed, &unknown(feed), feed.run(1, 3).encode()),
        ),
        (
            "a first entry with a backlink",
            refusal(feed, &unknown(feed), late.encode()),
        ),
    ]
}

fn signatures(feed: &Feed) -> Vec<(&'static str, Reject)> {
    let mut unsigned = feed.run(1, 4);
    unsigned.signatures.clear();
    let mut checkpoint = feed.run(0, 3);
    checkpoint.signatures.remove(0);
    let mut stray = feed.run(1, 4);
    stray.signatures.insert(0, (1, feed.signatures[2]));
    let mut bad = feed.run(1, 4);
    bad.signatures[0].1 = feed.signatures[2];
    vec![
        (
            "an unsigned end",
            refusal(feed, &feed.facts(1), unsigned.encode()),
        ),
        (
            "an unsigned checkpoint",
            refusal(feed, &unknown(feed), checkpoint.encode()),
        ),
        (
            "a signature in the middle",
            refusal(feed, &feed.facts(1), stray.encode()),
        ),
        (
            "another entry's signature",
            refusal(feed, &feed.facts(1), bad.encode()),
        ),
    ]
}

fn geneses(feed: &Feed) -> Vec<(&'static str, Reject)> {
    let (_, device, certificate) = person(1);
    let (_, other, foreign) = person(2);
    let of = |body: Vec<u8>, device: &_| Feed::of(feed.space.clone(), device, vec![body]);
    let mut headless = feed.run(0, 2);
    headless.items[0].body = BodyPart::Absent {
        len: headless.items[0].body.len(),
        hash: headless.items[0].body.hash(),
    };
    let second = of(genesis_body(&certificate), &device).then(&genesis_body(&certificate));
    let lent = of(genesis_body(&foreign), &device);
    let outsider = of(genesis_body(&foreign), &other);
    let refused = |feed: &Feed, end| refusal(feed, &unknown(feed), feed.run(0, end).encode());
    vec![
        (
            "a feed that begins with a message",
            refused(&of(message("x"), &device), 1),
        ),
        (
            "a genesis without its body",
            refusal(feed, &unknown(feed), headless.encode()),
        ),
        ("a second genesis", refused(&second, 2)),
        ("somebody else's certificate", refused(&lent, 1)),
        ("nobody let the author in", refused(&outsider, 1)),
    ]
}

fn bodies(feed: &Feed) -> Vec<(&'static str, Reject)> {
    let (identity, device, _) = person(1);
    let quote = Quotable {
        title: "T",
        text: "x",
        tags: vec![],
        created: Millis(1),
    };
    let article = Body::Article {
        title: "T",
        text: "y",
        tags: vec![],
        quote: quote.sign(&device),
    };
    let elsewhere = Revocation::sign(
        &identity,
        SpaceId([77; 32]),
        device.id(),
        1,
        EntryId([1; 32]),
    );
    let revocation = Body::Revocation(Box::new(elsewhere));
    // The feed's entries end at the place before the one that it is signed for.
    let place = (&person(1).2, feed.entries.len() as u64 + 1);
    let removal = Removal::sign(
        &device,
        feed.space.id,
        place,
        None,
        IdentityId([9; 32]),
        vec![],
    );
    let removal = Body::Rule(Box::new(Rule::removal(removal)));
    let refused = |body: &[u8]| {
        let feed = feed.clone().then(body);
        let last = feed.entries.len() as u64;
        refusal(
            &feed,
            &feed.facts(last - 1),
            feed.run(last - 1, last).encode(),
        )
    };
    let (_, header, body) = &feed.entries[2];
    let filled = verify_body(&feed.space, header, b"something else");
    let here = Revocation::sign(&identity, feed.space.id, device.id(), 1, EntryId([1; 32]));
    let here = Body::Revocation(Box::new(here)).encode();
    let end_refused = |body: &[u8]| {
        let facts = FeedFacts {
            author: Some(person(7).0.id()),
            ..feed.facts(2)
        };
        verify_revocation(feed.space.id, &facts, body).unwrap_err()
    };
    let known = FeedFacts {
        author: Some(identity.id()),
        ..feed.facts(2)
    };
    assert!(verify_revocation(feed.space.id, &known, &here).is_ok());
    assert_eq!(verify_body(&feed.space, header, body), Ok(()));
    vec![
        ("bytes that are no body", refused(b"\xff")),
        ("an article signed otherwise", refused(&article.encode())),
        ("another space's revocation", refused(&revocation.encode())),
        (
            "a removal signed for another place",
            refused(&removal.encode()),
        ),
        (
            "another space's revocation beside its feed",
            end_refused(&revocation.encode()),
        ),
        ("what is no revocation", end_refused(body)),
        ("a revocation by another identity", end_refused(&here)),
        ("another body in a hole", filled.unwrap_err()),
    ]
}

/// What these cases have to bring up; `None` for what only a store or a session refuses.
fn made_here(reject: &Reject) -> Option<&'static str> {
    match reject {
        Reject::TooManyFeeds
        | Reject::TooManyDevices
        | Reject::OverQuota
        | Reject::NoMember
        | Reject::NotCommon => None,
        Reject::Layout(_)
        | Reject::Gap { .. }
        | Reject::Unsigned
        | Reject::CheckpointUnsigned { .. }
        | Reject::StraySignature { .. }
        | Reject::BadSignature { .. }
        | Reject::BacklinkBeforeFirst
        | Reject::NoGenesis
        | Reject::SecondGenesis { .. }
        | Reject::ForeignGenesis
        | Reject::NotAdmitted(_)
        | Reject::Body { .. }
        | Reject::Quote { .. }
        | Reject::Revocation { .. }
        | Reject::Removal { .. }
        | Reject::BeyondFork { .. }
        | Reject::BeyondRevocation { .. }
        | Reject::OtherBranch { .. }
        | Reject::ForkProof
        | Reject::RevocationProof
        | Reject::EndOfUnknownFeed
        | Reject::ForeignBody { .. } => Some(reject.name()),
    }
}

/// Names of all that [`made_here`] names: one that is added there is added here, and needs a case.
const NAMES: [&str; 22] = [
    "layout",
    "gap",
    "unsigned",
    "checkpoint-unsigned",
    "stray-signature",
    "bad-signature",
    "backlink-before-first",
    "no-genesis",
    "second-genesis",
    "foreign-genesis",
    "not-admitted",
    "body",
    "quote",
    "revocation",
    "removal",
    "beyond-fork",
    "beyond-revocation",
    "other-branch",
    "fork-proof",
    "revocation-proof",
    "end-of-unknown-feed",
    "foreign-body",
];

#[test]
fn every_rejection_has_a_case() {
    let mut seen = BTreeSet::new();
    for (what, reject) in cases() {
        let name = made_here(&reject).unwrap_or_else(|| panic!("{what}: {reject:?}"));
        seen.insert(name);
        assert!(!reject.to_string().is_empty());
    }
    assert_eq!(seen, BTreeSet::from(NAMES));
}

#[test]
fn each_case_is_refused_for_its_own_reason() {
    let expected = [
        ("cut bytes", "layout"),
        ("a run above what is known", "gap"),
        ("an unsigned end", "unsigned"),
        ("an unsigned checkpoint", "checkpoint-unsigned"),
        ("a signature in the middle", "stray-signature"),
        ("another entry's signature", "bad-signature"),
        ("a genesis without its body", "no-genesis"),
        ("a second genesis", "second-genesis"),
        ("somebody else's certificate", "foreign-genesis"),
        ("nobody let the author in", "not-admitted"),
        ("an article signed otherwise", "quote"),
        ("another space's revocation", "revocation"),
        ("a removal signed for another place", "removal"),
    ];
    let cases = cases();
    for (what, name) in expected {
        let (_, reject) = cases.iter().find(|(case, _)| *case == what).unwrap();
        assert_eq!(reject.name(), name, "{what}");
    }
}

#[test]
fn a_whole_feed_is_accepted_with_its_author() {
    let feed = Feed::new(5);
    let Ok(Outcome::Continues(run)) =
        verify_run(&feed.space, &unknown(&feed), feed.run(0, 5).encode())
    else {
        panic!("not accepted");
    };
    assert_eq!(run.head(), feed.head(5));
    assert_eq!(run.author(), Some(person(1).0.id()));
    assert_eq!((run.start(), run.backlink()), (0, NO_BACKLINK));
    let bodies: Vec<_> = run
        .items()
        .iter()
        .map(|item| run.body_bytes(item))
        .collect();
    let expected: Vec<_> = feed
        .entries
        .iter()
        .map(|(_, _, body)| Some(&body[..]))
        .collect();
    assert_eq!(bodies, expected);
    assert_eq!(
        run.signatures()
            .iter()
            .map(|(seq, _)| *seq)
            .collect::<Vec<_>>(),
        [0, 4]
    );
}

#[test]
fn any_flipped_bit_of_a_run_is_refused() {
    let feed = Feed::new(4);
    let bytes = feed.run(0, 4).encode();
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let verdict = verify_run(&feed.space, &unknown(&feed), bad);
        assert!(verdict.is_err(), "bit {bit}: {verdict:?}");
    }
    let bytes = feed.run(2, 4).encode();
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let verdict = verify_run(&feed.space, &feed.facts(2), bad);
        assert!(verdict.is_err(), "bit {bit}: {verdict:?}");
    }
}

#[test]
fn a_signature_counts_in_its_space_and_for_its_device_only() {
    let feed = Feed::new(3);
    let run = feed.run(1, 3).encode();
    let elsewhere = SpaceContext {
        id: SpaceId([9; 32]),
        ..feed.space.clone()
    };
    assert!(verify_run(&elsewhere, &feed.facts(1), run.clone()).is_err());
    let mut facts = feed.facts(1);
    facts.device = person(2).1.id();
    assert!(verify_run(&feed.space, &facts, run).is_err());
}

/// The places of a run are added up, and the iterator over them looks one further: a start near the
/// largest number overflowed it.
#[test]
fn places_near_the_largest_number_are_refused_without_overflow() {
    let feed = Feed::new(2);
    for start in [u64::MAX, u64::MAX - 1, u64::MAX - 2, u64::MAX - 3] {
        let mut run = feed.run(1, 2);
        run.start = start;
        let bytes = run.encode();
        let decoded = Run::decode(&bytes);
        if let Ok(run) = &decoded {
            assert_eq!(run.links(feed.space.id, feed.device.id()).count(), 1);
            assert!(run.end() < u64::MAX);
        } else {
            assert_eq!(decoded, Err(WireError::Value("count")));
        }
        assert!(verify_tail_chunk(&feed.space, &feed.facts(1), bytes.clone()).is_err());
        assert!(verify_run(&feed.space, &feed.facts(1), bytes).is_err());
    }
}

#[test]
fn claimed_counts_and_lengths_allocate_nothing() {
    let mut bytes = vec![0];
    bytes.extend_from_slice(&[0; 32]);
    for count in [4_096_u64, 4_097, u64::MAX] {
        let mut bad = bytes.clone();
        crate::wire::put_varint(&mut bad, count);
        assert!(Run::decode(&bad).is_err());
        bad.push(0);
        crate::wire::put_varint(&mut bad, (BODY_BYTES_MAX as u64 + 1) << 1);
        assert!(Run::decode(&bad).is_err());
    }
}

/// A body of more bytes than one may have can't travel, so an entry that claims them can't either.
#[test]
fn an_absent_body_is_bounded_too() {
    let feed = Feed::new(2);
    let mut run = feed.run(1, 2);
    run.items[0].body = BodyPart::Absent {
        len: BODY_BYTES_MAX as u32 + 1,
        hash: [0; 32],
    };
    assert!(Run::decode(&run.encode()).is_err());
}

#[test]
fn a_body_may_be_absent_and_is_filled_later() {
    let feed = Feed::new(3);
    let mut run = feed.run(1, 3);
    run.items[0].body = BodyPart::Absent {
        len: run.items[0].body.len(),
        hash: run.items[0].body.hash(),
    };
    let Ok(Outcome::Continues(run)) = verify_run(&feed.space, &feed.facts(1), run.encode()) else {
        panic!("not accepted");
    };
    assert_eq!(run.head(), feed.head(3));
    assert_eq!(run.body_bytes(&run.items()[0]), None);
    assert!(run.body(&run.items()[1]).is_some());
}

#[test]
fn a_hole_takes_no_second_genesis_and_no_foreign_article() {
    let (_, _, certificate) = person(1);
    let article = Body::Article {
        title: "T",
        text: "y",
        tags: vec![],
        quote: Signature([0; 64]),
    }
    .encode();
    let genesis = genesis_body(&certificate);
    let feed = Feed::new(1).then(&genesis).then(&article);
    let filled = |at: usize, body: &[u8]| verify_body(&feed.space, &feed.entries[at].1, body);
    assert_eq!(filled(1, &genesis), Err(Reject::SecondGenesis { seq: 1 }));
    assert_eq!(filled(2, &article), Err(Reject::Quote { seq: 2 }));
}

#[test]
fn long_bodies_bring_a_checkpoint_forward() {
    let text = "x".repeat(60_000);
    let mut feed = Feed::new(1);
    for _ in 0..9 {
        feed = feed.then(&message(&text));
    }
    let signed: Vec<_> = feed
        .run(1, 10)
        .signatures
        .iter()
        .map(|(at, _)| *at)
        .collect();
    assert_eq!(
        signed,
        [4, 8],
        "the fifth passes 256 KiB, the tenth is the last"
    );
    let run = feed.run(1, 10).encode();
    let Ok(Outcome::Continues(verified)) = verify_run(&feed.space, &feed.facts(1), run) else {
        panic!("not accepted");
    };
    assert_eq!(verified.head(), feed.head(10));
    let mut bare = feed.run(1, 10);
    bare.signatures.remove(0);
    assert_eq!(
        refusal(&feed, &feed.facts(1), bare.encode()),
        Reject::CheckpointUnsigned { seq: 5 }
    );
    let mut stray = feed.run(1, 10);
    stray.signatures.insert(1, (5, feed.signatures[6]));
    assert_eq!(
        refusal(&feed, &feed.facts(1), stray.encode()),
        Reject::StraySignature { seq: 6 }
    );
}

#[test]
fn a_member_of_a_pair_needs_no_chain_and_others_have_no_place() {
    let (ana, device, certificate) = person(1);
    let (ben, ..) = person(2);
    let context = |members| SpaceContext {
        id: SpaceId([3; 32]),
        members,
    };
    let body = genesis_body(&certificate);
    let feed = Feed::of(
        context(Membership::Pair([ana.id(), ben.id()])),
        &device,
        vec![body.clone()],
    );
    assert!(verify_run(&feed.space, &unknown(&feed), feed.run(0, 1).encode()).is_ok());
    let others = context(Membership::Pair([ben.id(), ben.id()]));
    let feed = Feed::of(others, &device, vec![body]);
    assert_eq!(
        refusal(&feed, &unknown(&feed), feed.run(0, 1).encode()).name(),
        "not-admitted"
    );
}

#[test]
fn an_own_entry_is_one_that_others_accept() {
    let (identity, device, _) = person(1);
    let space = forum_of(&identity);
    let genesis = Body::Genesis(Box::new(Genesis {
        certificate: Certificate::sign(&identity, &device, 7, Role::Full),
        name: "Ana",
        chain: Chain::root(),
    }));
    let own = crate::author::append(&device, space.id, &Head::EMPTY, Millis(5), &genesis);
    assert_eq!(own.author(), Some(identity.id()));
    let next = crate::author::append(
        &device,
        space.id,
        &own.head(),
        Millis(6),
        &Body::Message {
            text: "x",
            parent: None,
            salt: None,
        },
    );
    assert_eq!((next.start(), next.backlink()), (1, own.head().top));
    let mut run = Run::new(0, NO_BACKLINK);
    for (at, entry) in [&own, &next].into_iter().enumerate() {
        let item = &entry.items()[0];
        run.items.push(Item {
            created: item.created,
            body: BodyPart::Present(entry.body_bytes(item).unwrap()),
        });
        run.signatures.push((at as u32, entry.signatures()[0].1));
    }
    let facts = FeedFacts::unknown(device.id());
    let Ok(Outcome::Continues(verified)) = verify_run(&space, &facts, run.encode()) else {
        panic!("not accepted");
    };
    assert_eq!(verified.head(), next.head());
}

/// A branch with a checkpoint inside would make a proof that nobody can read.
#[test]
fn a_branch_in_a_proof_is_bounded() {
    let feed = Feed::new(3);
    let headers = std::iter::repeat_n(&feed.entries[1].1, 257);
    let long = Branch::new(headers, feed.signatures[1]);
    let short = Branch::new([&feed.entries[1].1].into_iter(), feed.signatures[1]);
    let proof = ForkProof::new(
        feed.space.id,
        feed.device.id(),
        1,
        feed.entries[0].0,
        long,
        short,
    );
    assert!(!proof.holds(feed.space.id, feed.device.id()));
    assert!(ForkProof::decode(&proof.encode()).is_err());
}
