use zeroize::Zeroizing;

use super::*;
use crate::{
    Millis,
    entry::Header,
    ids::EntryId,
    keys::{DeviceKey, Domain, IdentityKey, Signature},
    limits::BODY_BYTES_MAX,
    space::conversation_id,
};

/// Sealed and opened by `tests/vectors/letter.py`, which shares no code with this crate.
const ELSEWHERE: &str = include_str!("../../../../tests/vectors/letter.txt");

const PAIR: [u8; 32] = [0x60; 32];
const NUMBER: u64 = 5;
const DAY: u16 = 20_800;
const PREKEY: PrekeyId = PrekeyId(7);

struct Side {
    party: Party,
    key: DeviceKey,
}

fn side(seed: u8) -> Side {
    let key = DeviceKey::from_seed(&[seed + 1; 32]);
    let identity = IdentityKey::from_seed(&[seed; 32]).id();
    Side {
        party: Party {
            identity,
            device: key.id(),
        },
        key,
    }
}

fn ana() -> Side {
    side(0x61)
}

fn cem() -> Side {
    side(0x63)
}

fn line(from: &Side, to: &Side) -> Line {
    Line::new(
        &PairSecret(PAIR),
        from.party,
        to.party,
        conversation_id(&PAIR),
    )
}

fn letter(body: &[u8], author: &Side) -> Letter {
    let header = Header {
        space: conversation_id(&PAIR),
        device: author.party.device,
        seq: 3,
        backlink: EntryId([0x65; 32]),
        created: Millis(1_790_000_000_000),
        body_len: body.len() as u32,
        body_hash: *blake3::hash(body).as_bytes(),
    };
    Letter {
        receipt: Receipt([0x66; 32]),
        signature: author.key.sign(Domain::Entry, &header.id().0),
        header,
        body: body.to_vec(),
    }
}

fn secret() -> PrekeySecret {
    PrekeySecret([0x67; 32])
}

fn random() -> Zeroizing<[u8; SEAL_RANDOM_BYTES]> {
    Zeroizing::new([0x68; SEAL_RANDOM_BYTES])
}

fn sealed(body: &[u8]) -> Envelope {
    let (line, prekey) = (line(&ana(), &cem()), secret().public(PREKEY).unwrap());
    line.seal(&letter(body, &ana()), &prekey, NUMBER, DAY, random())
        .unwrap()
}

#[test]
fn a_letter_opens_at_its_receiver_with_what_was_sealed() {
    let line = line(&ana(), &cem());
    for len in [0, 1, 60, 107, 108, 109, 5_000, BODY_BYTES_MAX] {
        let body = vec![0x41; len];
        let envelope = Envelope::decode(sealed(&body).bytes()).unwrap();
        assert_eq!(envelope.outside().tag, line.tag(NUMBER));
        assert_eq!(line.prekey_of(envelope.outside(), NUMBER), PREKEY);
        let opened = line.open(&envelope, &secret(), NUMBER).unwrap();
        assert_eq!(opened, letter(&body, &ana()));
    }
    let too_long = letter(&vec![0; BODY_BYTES_MAX + 1], &ana());
    let prekey = secret().public(PREKEY).unwrap();
    assert_eq!(
        line.seal(&too_long, &prekey, NUMBER, DAY, random()),
        Err(SealError::TooLong)
    );
}

#[test]
fn a_short_message_gets_less_than_1500_bytes_longer() {
    for len in 0..=200 {
        let added = sealed(&vec![0x41; len]).bytes().len() - len;
        assert!(added < 1_500, "{len}: {added}");
    }
}

#[test]
fn it_opens_for_nobody_else_and_under_nothing_else() {
    let (ana, cem, ben) = (ana(), cem(), side(0x70));
    let envelope = sealed(b"hello");
    let refused = |line: &Line, secret: &PrekeySecret, number: u64| {
        assert_eq!(
            line.open(&envelope, secret, number),
            Err(OpenError::Sealed),
            "{line:?} {number}"
        );
    };
    // Another receiver, another sender, sender and receiver exchanged, another pair, another space.
    refused(&line(&ana, &ben), &secret(), NUMBER);
    refused(&line(&ben, &cem), &secret(), NUMBER);
    refused(&line(&cem, &ana), &secret(), NUMBER);
    let space = conversation_id(&PAIR);
    let other_pair = PairSecret([0x71; 32]);
    refused(
        &Line::new(&other_pair, ana.party, cem.party, space),
        &secret(),
        NUMBER,
    );
    let elsewhere = conversation_id(&[0x72; 32]);
    refused(
        &Line::new(&PairSecret(PAIR), ana.party, cem.party, elsewhere),
        &secret(),
        NUMBER,
    );
    // Another device of the same person, another person with the same device.
    let mut device = cem.party;
    device.device = ben.party.device;
    let mut person = cem.party;
    person.identity = ben.party.identity;
    for to in [device, person] {
        refused(
            &Line::new(&PairSecret(PAIR), ana.party, to, space),
            &secret(),
            NUMBER,
        );
    }
    refused(&line(&ana, &cem), &PrekeySecret([0x73; 32]), NUMBER);
    refused(&line(&ana, &cem), &secret(), NUMBER + 1);
}

#[test]
fn a_letter_with_any_byte_changed_or_missing_is_refused() {
    let line = line(&ana(), &cem());
    let bytes = sealed(b"hello").bytes().to_vec();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        if let Ok(envelope) = Envelope::decode(&changed) {
            let opened = line.open(&envelope, &secret(), NUMBER);
            assert_eq!(opened, Err(OpenError::Sealed), "byte {at}");
        }
        let cut = Envelope::decode(&bytes[..at]);
        assert!(cut.is_err(), "{at} bytes");
    }
    let mut longer = bytes;
    longer.resize(longer.len() + 128, 0);
    let envelope = Envelope::decode(&longer).unwrap();
    assert_eq!(
        line.open(&envelope, &secret(), NUMBER),
        Err(OpenError::Sealed)
    );
}

#[test]
fn a_point_of_low_order_in_what_is_encapsulated_is_refused() {
    let line = line(&ana(), &cem());
    let mut bytes = sealed(b"hello").bytes().to_vec();
    let end = 55 + ENCAPSULATED_BYTES;
    bytes[end - 32..end].fill(0);
    let envelope = Envelope::decode(&bytes).unwrap();
    assert_eq!(
        line.open(&envelope, &secret(), NUMBER),
        Err(OpenError::Sealed)
    );
}

#[test]
fn one_letter_for_two_receivers_opens_for_one() {
    let (ana, cem, ben) = (ana(), cem(), side(0x70));
    let prekey = secret().public(PREKEY).unwrap();
    let letter = letter(b"hello", &ana);
    let to_cem = line(&ana, &cem).seal(&letter, &prekey, NUMBER, DAY, random());
    // Even if both had made the same key with the same number.
    let opened = line(&ana, &ben).open(&to_cem.unwrap(), &secret(), NUMBER);
    assert_eq!(opened, Err(OpenError::Sealed));
}

/// Who knows the pair's secret and the key can seal, but not sign.
#[test]
fn a_letter_whose_entry_the_sender_did_not_sign_is_refused() {
    let line = line(&ana(), &cem());
    let prekey = secret().public(PREKEY).unwrap();
    let mut forged = letter(b"hello", &ana());
    forged.signature = Signature([0; 64]);
    let envelope = line.seal(&forged, &prekey, NUMBER, DAY, random()).unwrap();
    assert_eq!(
        line.open(&envelope, &secret(), NUMBER),
        Err(OpenError::Content)
    );
    let others = letter(b"hello", &cem());
    assert_eq!(
        line.seal(&others, &prekey, NUMBER, DAY, random()),
        Err(SealError::NotOurs)
    );
}

#[test]
fn tags_and_masks_of_numbers_have_nothing_in_common() {
    let line = line(&ana(), &cem());
    let mut tags: Vec<_> = (0..1_000).map(|number| line.tag(number)).collect();
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 1_000);
    let reverse = super::Line::new(
        &PairSecret(PAIR),
        cem().party,
        ana().party,
        conversation_id(&PAIR),
    );
    assert_ne!(reverse.tag(NUMBER), line.tag(NUMBER));
}

/// What another implementation sealed opens here. `tests/vectors/letter.py` opens ours.
#[test]
fn a_letter_sealed_by_another_implementation_opens() {
    let bytes = data_encoding::HEXLOWER
        .decode(ELSEWHERE.trim().as_bytes())
        .unwrap();
    let envelope = Envelope::decode(&bytes).unwrap();
    let opened = line(&ana(), &cem())
        .open(&envelope, &secret(), NUMBER)
        .unwrap();
    assert_eq!(opened, letter(b"from elsewhere", &ana()));
}

#[test]
fn hostile_bytes_are_refused_without_a_panic() {
    let line = line(&ana(), &cem());
    let good = sealed(b"hello").bytes().to_vec();
    let mut noise = blake3::Hasher::new().finalize_xof();
    for _ in 0..200 {
        let mut bytes = good.clone();
        noise.fill(&mut bytes[55..]);
        let envelope = Envelope::decode(&bytes).unwrap();
        assert!(line.open(&envelope, &secret(), NUMBER).is_err());
        let mut short = vec![0; 40];
        noise.fill(&mut short);
        assert!(Envelope::decode(&short).is_err());
        assert!(PrekeyBatch::decode(&short).is_err());
    }
}
