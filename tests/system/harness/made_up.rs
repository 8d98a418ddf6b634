//! What invented people write, encoded and signed as any node would.

use std::{
    fs,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use proto::{
    IdentityId, Millis, SpaceId,
    admission::{Certificate, Chain, Role},
    entry::{Head, is_checkpoint},
    keys::{DeviceKey, Domain, IdentityKey},
    run::{BodyPart, Item, Run},
};

/// Bytes of every encoded body.
pub(crate) const BODY_BYTES: usize = 300;

/// Bodies that continue a feed as a run that is signed at its checkpoints and its end.
pub(crate) fn encode_run(
    space: SpaceId,
    key: &DeviceKey,
    head: Head,
    bodies: &[(Millis, Vec<u8>)],
) -> Vec<u8> {
    let mut run = Run::new(head.next, head.top);
    run.items = bodies
        .iter()
        .map(|(created, body)| Item {
            created: *created,
            body: BodyPart::Present(body),
        })
        .collect();
    let mut head = head;
    let headers: Vec<_> = run.headers(space, key.id()).collect();
    for (at, (id, header)) in headers.iter().enumerate() {
        let since = head.since_checkpoint + u64::from(header.body_len);
        if at + 1 == bodies.len() || is_checkpoint(header.seq, since) {
            let signature = key.sign(Domain::Entry, &id.0);
            run.signatures.push((at as u32, signature));
        }
        head = head.after(*id, header.body_len);
    }
    run.encode()
}

/// The forum's creator, from the secret files of a node that doesn't run.
pub(crate) struct Creator {
    device: DeviceKey,
    certificate: Certificate,
}

impl Creator {
    pub(crate) fn read(data_dir: &Path) -> Self {
        let seed = |name: &str| -> [u8; 32] {
            let bytes = fs::read(data_dir.join(name)).unwrap();
            bytes.try_into().expect("a key of 32 bytes")
        };
        let identity = IdentityKey::from_seed(&seed("identity.key"));
        let device = DeviceKey::from_seed(&seed("device.key"));
        let certificate = Certificate::sign(&identity, &device, 1, Role::Main);
        Self {
            device,
            certificate,
        }
    }

    pub(crate) fn admit(&self, space: SpaceId, invitee: IdentityId) -> Chain {
        Chain::root()
            .admit(space, &self.certificate, &self.device, invitee)
            .unwrap()
    }
}

/// A body that is encoded in exactly [`BODY_BYTES`] bytes, by the length of its text.
pub(crate) fn padded(random: &mut Random, encode: impl Fn(&str) -> Vec<u8>) -> Vec<u8> {
    let text = words(random, BODY_BYTES);
    let mut len = text.len();
    for _ in 0..BODY_BYTES {
        let bytes = encode(&text[..len]);
        if bytes.len() == BODY_BYTES {
            return bytes;
        }
        len = len + BODY_BYTES - bytes.len();
    }
    unreachable!("some length fits")
}

/// Words of one to nine letters, `len` bytes in all.
pub(crate) fn words(random: &mut Random, len: usize) -> String {
    let mut text = String::new();
    while text.len() < len {
        if !text.is_empty() {
            text.push(' ');
        }
        for _ in 0..=random.below(9) {
            text.push(char::from(b'a' + random.below(26) as u8));
        }
    }
    text.truncate(len);
    if text.ends_with(' ') {
        text.pop();
        text.push('.');
    }
    text
}

pub(crate) fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Millis(since.as_millis() as u64)
}

/// Random choices that a seed repeats (SplitMix64, Steele and others 2014).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is above 0 and small.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}
