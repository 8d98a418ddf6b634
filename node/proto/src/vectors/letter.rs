//! A sealed letter, and what belongs to it.

use zeroize::Zeroizing;

use super::{Lines, person};
use crate::{
    Millis,
    card::PairSecret,
    entry::Header,
    ids::EntryId,
    keys::Domain,
    seal::{
        Envelope, LastResort, Letter, Line, Party, PrekeyBatch, PrekeyId, PrekeySecret, Receipt,
        SEAL_RANDOM_BYTES,
    },
    space::conversation_id,
};

const PAIR: [u8; 32] = [0x60; 32];
const BODY: &[u8] = b"hello";
const NUMBER: u64 = 5;
const DAY: u16 = 20_800;

pub(super) fn add(lines: &mut Lines) {
    let (ana, cem) = (person(0x61), person(0x63));
    let party = |person: &super::Person| Party {
        identity: person.identity.id(),
        device: person.device.id(),
    };
    let (from, to) = (party(&ana), party(&cem));
    let space = conversation_id(&PAIR);
    let line = Line::new(&PairSecret(PAIR), from, to, space);
    let header = Header {
        space,
        device: from.device,
        seq: 3,
        backlink: EntryId([0x65; 32]),
        created: Millis(1_790_000_000_000),
        body_len: BODY.len() as u32,
        body_hash: *blake3::hash(BODY).as_bytes(),
    };
    let letter = Letter {
        receipt: Receipt([0x66; 32]),
        signature: ana.device.sign(Domain::Entry, &header.id().0),
        header,
        body: BODY.to_vec(),
    };
    let secret = PrekeySecret([0x67; 32]);
    let prekey = secret.public(PrekeyId(7)).expect("32 bytes");
    let random = Zeroizing::new([0x68; SEAL_RANDOM_BYTES]);
    let envelope = line
        .seal(&letter, &prekey, NUMBER, DAY, random)
        .expect("a good key");
    let last = LastResort::sign(prekey.clone(), DAY, &cem.device, from);
    let batch = PrekeyBatch {
        once: vec![prekey],
        last_resort: Some(last),
    };

    lines.remark("");
    lines.remark(
        "A letter: the pair's secret 32 x 60; the sender's seeds 32 x 61 (identity) and 32 x 62 (device), the",
    );
    lines.remark(
        "receiver's 32 x 63 and 32 x 64; number 5, key 7 of secret 32 x 67, day 20800, receipt 32 x 66; entry 3 of",
    );
    lines.remark("its feed, backlink 32 x 65, created 1790000000000; encapsulated with 64 x 68.");
    lines.made("letter.body", BODY);
    lines.made("letter.tag", line.tag(NUMBER).0);
    lines.both("letter.envelope", envelope.bytes(), move |bytes| {
        let envelope = Envelope::decode(bytes).expect("an envelope");
        let opened = line.open(&envelope, &secret, NUMBER);
        assert!(opened.is_ok(), "{opened:?}");
        envelope.bytes().to_vec()
    });
    lines.remark("Keys for letters: that key, and the same as last resort until day 20800.");
    lines.both("letter.prekeys", batch.encode(), |bytes| {
        PrekeyBatch::decode(bytes).expect("prekeys").encode()
    });
}
