//! What travels on a meeting's streams: a frame that is read is written back with the same bytes.
//!
//! The first byte says what the rest is.

use proto::{
    card::{Join, JoinAnswer},
    frame::{Control, Data, Hint},
    frontier::Frontier,
    merkle::Prefix,
    nearby,
    run::Run,
    wire::Reader,
};

use crate::seeds;

/// Reads the rest as what the first byte says.
///
/// # Panics
/// Where reading and writing disagree.
pub fn run(input: &[u8]) {
    let Some((what, bytes)) = input.split_first() else {
        return;
    };
    match what % 8 {
        0 => {
            if let Ok(frame) = Control::decode(bytes) {
                assert_eq!(frame.encode(), bytes, "{frame:?}");
            }
        }
        1 => {
            if let Ok(frame) = Data::decode(bytes) {
                assert_eq!(frame.encode(), bytes, "{frame:?}");
            }
        }
        2 => {
            if let Ok(hint) = Hint::decode(bytes) {
                assert_eq!(hint.encode(), bytes, "{hint:?}");
            }
        }
        3 => frontier(bytes),
        4 => prefix(bytes),
        5 => {
            if let Ok(join) = Join::decode(bytes) {
                assert_eq!(join.encode(), bytes);
            }
            if let Ok(frame) = nearby::Frame::decode(bytes) {
                assert_eq!(frame.encode(), bytes, "{frame:?}");
            }
        }
        6 => {
            if let Ok(answer) = JoinAnswer::decode(bytes) {
                assert_eq!(answer.encode(), bytes);
            }
        }
        _ => {
            if let Ok(run) = Run::decode(bytes) {
                assert_eq!(run.encode(), bytes, "{run:?}");
                let ids = run.links(seeds::space(), seeds::device(1).id()).count();
                assert_eq!(ids as u64, run.end() - run.start);
            }
        }
    }
}

fn frontier(bytes: &[u8]) {
    let mut reader = Reader::new(bytes);
    if let Ok(frontier) = Frontier::read(&mut reader) {
        let mut out = Vec::new();
        frontier.put(&mut out);
        assert_eq!(out, bytes[..reader.position()], "{frontier:?}");
        assert_eq!(
            frontier.leaf().is_some(),
            frontier.base > 0 || frontier.tail.is_some()
        );
    }
}

fn prefix(bytes: &[u8]) {
    let mut reader = Reader::new(bytes);
    if let Ok(prefix) = Prefix::read(&mut reader) {
        let mut out = Vec::new();
        prefix.put(&mut out);
        assert_eq!(out, bytes[..reader.position()]);
        let (low, high) = prefix.bounds();
        assert!(low <= high && prefix.contains(&low) && prefix.contains(&high));
        for digit in 0..=16 {
            if let Some(child) = prefix.child(digit) {
                let (from, to) = child.bounds();
                assert!(low <= from && to <= high && child.contains(&from));
            }
        }
    }
}

/// One of each.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let named = [
        ("control.", 0),
        ("data.", 1),
        ("gossip", 2),
        ("frontier.plain", 3),
        ("frontier.full", 3),
        ("tree.prefix", 4),
        ("meet.join", 5),
        ("nearby.frame", 5),
        ("nearby.decline", 5),
        ("meet.welcome", 6),
        ("meet.wait", 6),
        ("meet.refused", 6),
        ("run", 7),
    ];
    named
        .into_iter()
        .flat_map(|(name, what)| seeds::vectors(name, what))
        .collect()
}
