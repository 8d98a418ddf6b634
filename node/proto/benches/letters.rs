//! What letters cost: `cargo bench -p proto --bench letters [-- ENVELOPES]`.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a measurement on a terminal"
)]

use std::{hint::black_box, time::Instant};

use proto::{
    DeviceId, EntryId, IdentityId, Millis, SpaceId,
    body::Body,
    card::PairSecret,
    courier::{Frame, TagHasher, meant},
    entry::Header,
    keys::{DeviceKey, Domain},
    limits::CARRIED_MAX,
    seal::{
        Envelope, LastResort, Letter, Line, Party, Prekey, PrekeyBatch, PrekeyId, PrekeySecret,
        Receipt, SEAL_RANDOM_BYTES, Tag, WINDOW,
    },
};
use zeroize::Zeroizing;

const TIMES: u64 = 2_000;
const ENVELOPES: u64 = 1_000_000;
const SPACE: SpaceId = SpaceId([3; 32]);
/// Keys that one leaves with a contact.
const KEYS: u32 = 32;
/// Contacts of a node that looks through what somebody carries.
const CONTACTS: u64 = 100;

struct Bench {
    device: DeviceKey,
    line: Line,
    key: Prekey,
    secret: PrekeySecret,
}

fn main() {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let count = words.iter().find_map(|word| word.parse().ok());
    let bench = Bench::new();
    bench.lengths();
    bench.times();
    bench.tags();
    bench.hostile(count.unwrap_or(ENVELOPES));
}

impl Bench {
    fn new() -> Self {
        let device = DeviceKey::from_seed(&[1; 32]);
        let party = |n: u8, device: DeviceId| Party {
            identity: IdentityId([n; 32]),
            device,
        };
        let secret = PrekeySecret([7; 32]);
        let to = party(2, DeviceKey::from_seed(&[2; 32]).id());
        Self {
            line: Line::new(&PairSecret([4; 32]), party(1, device.id()), to, SPACE),
            key: secret.public(PrekeyId(1)).expect("it is one"),
            device,
            secret,
        }
    }

    fn letter(&self, chars: usize) -> Letter {
        let text = "a".repeat(chars);
        let parent = None;
        let body = Body::Message {
            text: &text,
            parent,
            salt: Some([3; 8]),
        }
        .encode();
        let header = Header {
            space: SPACE,
            device: self.device.id(),
            seq: 1,
            backlink: EntryId([5; 32]),
            created: Millis(1),
            body_len: body.len() as u32,
            body_hash: *blake3::hash(&body).as_bytes(),
        };
        Letter {
            receipt: Receipt([6; 32]),
            signature: self.device.sign(Domain::Entry, &header.id().0),
            header,
            body,
        }
    }

    fn seal(&self, letter: &Letter, number: u64) -> Envelope {
        let mut random = Zeroizing::new([8; SEAL_RANDOM_BYTES]);
        random[..8].copy_from_slice(&number.to_be_bytes());
        let sealed = self.line.seal(letter, &self.key, number, 20_000, random);
        sealed.expect("it can be sealed")
    }

    fn lengths(&self) {
        for chars in [1, 60, 140, 500, 2_000] {
            let letter = self.letter(chars);
            let (sealed, body) = (self.seal(&letter, 0).bytes().len(), letter.body.len());
            println!(
                "a message of {chars} characters: {sealed} bytes sealed, {} more than its body",
                sealed - body
            );
        }
        let key = |n: u32| {
            let mut seed = [9; 32];
            seed[..4].copy_from_slice(&n.to_be_bytes());
            PrekeySecret(seed).public(PrekeyId(n)).expect("it is one")
        };
        let batch = PrekeyBatch {
            once: (0..KEYS).map(key).collect(),
            last_resort: Some(LastResort::sign(
                key(KEYS),
                20_000,
                &self.device,
                self.line.to(),
            )),
        };
        let began = Instant::now();
        let bytes = batch.encode();
        let read = PrekeyBatch::decode(&bytes).expect("it is one");
        println!(
            "a batch of {KEYS} keys and a last resort: {} bytes, read in {:.2} ms",
            bytes.len(),
            began.elapsed().as_secs_f64() * 1e3
        );
        black_box(read);
    }

    fn times(&self) {
        let letter = self.letter(140);
        let began = Instant::now();
        let sealed: Vec<_> = (0..TIMES).map(|n| self.seal(&letter, n)).collect();
        each("sealing", began, TIMES);
        let began = Instant::now();
        for (number, envelope) in sealed.iter().enumerate() {
            let opened = self.line.open(envelope, &self.secret, number as u64);
            black_box(opened.expect("it opens"));
        }
        each(
            "opening, with the key's half made from its seed",
            began,
            TIMES,
        );
        let began = Instant::now();
        for n in 0..TIMES {
            let mut seed = [1; 32];
            seed[..8].copy_from_slice(&n.to_be_bytes());
            black_box(PrekeySecret(seed).public(PrekeyId(1)));
        }
        each("making a key", began, TIMES);
    }

    /// What both do when one names all that it may carry and the other expects nothing of it.
    fn tags(&self) {
        let hasher = TagHasher::new(&[1; 32], true);
        let theirs = TagHasher::new(&[1; 32], false);
        let began = Instant::now();
        let hints: Vec<_> = (0..CARRIED_MAX as u128)
            .map(|n| hasher.hint(Tag(n.to_be_bytes())))
            .collect();
        let frame = Frame::Carried(hints).encode();
        let named = began.elapsed();
        let began = Instant::now();
        let expected = CONTACTS * 2 * WINDOW;
        let tags = (0..expected).map(|n| (self.line.tag(n), n));
        let known = theirs.theirs(tags);
        let Ok(Frame::Carried(hints)) = Frame::decode(&frame) else {
            return println!("the frame isn't read");
        };
        let found = hints.iter().flat_map(|hint| meant(&known, *hint));
        println!(
            "{CARRIED_MAX} carried letters are named in {} bytes and {:.1} ms; the other side, with {expected} tags of {CONTACTS} contacts, finds {} of its own in {:.1} ms",
            frame.len(),
            named.as_secs_f64() * 1e3,
            found.count(),
            began.elapsed().as_secs_f64() * 1e3
        );
    }

    /// Envelopes of every kind that isn't right: none opens, none panics.
    fn hostile(&self, count: u64) {
        let good = self.seal(&self.letter(140), 0);
        let (mut refused, mut unopened) = (0_u64, 0_u64);
        let mut state = 1_u64;
        let began = Instant::now();
        for n in 0..count {
            let mut bytes = good.bytes().to_vec();
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let at = (state >> 33) as usize % bytes.len();
            match n % 4 {
                0 => bytes[at] ^= 1 << (state >> 61),
                1 => bytes.truncate(at),
                2 => bytes.extend_from_slice(&good.bytes()[..=at]),
                _ => {
                    let bytes = &mut bytes[1..];
                    let mut hasher = blake3::Hasher::new();
                    hasher.update(&state.to_be_bytes());
                    hasher.finalize_xof().fill(bytes);
                }
            }
            match Envelope::decode(&bytes) {
                Err(_) => refused += 1,
                Ok(envelope) => {
                    let opened = self.line.open(&envelope, &self.secret, 0);
                    assert!(opened.is_err(), "letter {n} opens");
                    unopened += 1;
                }
            }
        }
        each("a hostile envelope", began, count);
        println!("of {count}, {refused} were none and {unopened} didn't open");
    }
}

fn each(what: &str, began: Instant, times: u64) {
    let each = began.elapsed().as_secs_f64() / times as f64;
    println!("{what}: {:.3} ms", each * 1e3);
}
