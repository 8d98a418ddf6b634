//! Being found by contacts on a local network or in radio range, and by nobody else.
//!
//! A device sends a [`Beacon`]: a fresh nonce and the beginning of its hash, keyed with the
//! device's [`BeaconKey`], which only its contacts hold. They try the keys that they hold; to
//! everybody else it is noise, and two beacons of one device have nothing in common. No clock is
//! involved, so that a node that believes it is 1970 is found too. Who replays a fresh beacon makes
//! contacts dial, which fails in the handshake, and lets them see whose endpoint was meant.
//!
//! This module sends nothing and waits for nothing: nonces and the time are arguments.

use std::collections::VecDeque;

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::time::Millis;

/// Bytes of a nonce: two of the same within the life of a device are out of the question.
pub const NONCE_BYTES: usize = 16;
/// Bytes of a tag: a stranger's beacon is taken for a contact's once in 2^64 tries, of which
/// [`Recogniser`] makes a few thousand a second at most, and only a dial comes of it.
pub const TAG_BYTES: usize = 8;
/// Characters of a beacon as a label of a DNS name (RFC 1035 section 2.3.4 allows 63).
pub const LABEL_CHARS: usize = ((NONCE_BYTES + TAG_BYTES) * 8).div_ceil(5);
/// How long a device keeps a nonce, in milliseconds: a quarter of an hour.
pub const PERIOD_MS: u64 = 15 * 60 * 1_000;

/// Beacons that are examined within a second at most. A camp's worth of other people's nodes
/// sends a few a second; who sends more has theirs examined later or not at all.
const EXAMINED_PER_SECOND_MAX: u32 = 64;
/// Beacons whose result is remembered, so that what is repeated costs nothing.
const REMEMBERED_MAX: usize = 1_024;

/// What a device's beacons are made with and recognised by. Contacts hold it; it changes when one
/// of them is removed.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct BeaconKey(pub [u8; 32]);

impl std::fmt::Debug for BeaconKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BeaconKey(..)")
    }
}

impl BeaconKey {
    /// The first bytes of the nonce's hash under a key derived for this use.
    fn tag(&self, nonce: &[u8; NONCE_BYTES]) -> [u8; TAG_BYTES] {
        let key = blake3::derive_key("waymeet 1 beacon", &self.0);
        let mut tag = [0; TAG_BYTES];
        let mut hasher = blake3::Hasher::new_keyed(&key);
        hasher.update(nonce).finalize_xof().fill(&mut tag);
        tag
    }

    /// The beacon of a fresh nonce.
    #[must_use]
    pub fn beacon(&self, nonce: [u8; NONCE_BYTES]) -> Beacon {
        let tag = self.tag(&nonce);
        Beacon { nonce, tag }
    }

    /// Whether a device with this key made a beacon.
    #[must_use]
    pub fn made(&self, beacon: &Beacon) -> bool {
        self.tag(&beacon.nonce) == beacon.tag
    }
}

/// What a device sends so that its contacts see that it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Beacon {
    nonce: [u8; NONCE_BYTES],
    tag: [u8; TAG_BYTES],
}

impl Beacon {
    /// Nonce, then tag, as [`LABEL_CHARS`] characters of base 32 (RFC 4648 section 6, lower case,
    /// without padding): DNS names are compared without regard to case.
    #[must_use]
    pub fn label(&self) -> String {
        let bytes = [&self.nonce[..], &self.tag].concat();
        data_encoding::BASE32_NOPAD
            .encode(&bytes)
            .to_ascii_lowercase()
    }

    /// Reads a label; `None` where it is none.
    #[must_use]
    pub fn from_label(label: &str) -> Option<Self> {
        if label.len() != LABEL_CHARS {
            return None;
        }
        let upper = label.to_ascii_uppercase();
        let bytes = data_encoding::BASE32_NOPAD.decode(upper.as_bytes()).ok()?;
        let (nonce, rest) = bytes.split_first_chunk()?;
        let tag = rest.try_into().ok()?;
        Some(Self { nonce: *nonce, tag })
    }
}

/// Bytes of a [`Knock`].
pub const KNOCK_BYTES: usize = NONCE_BYTES + TAG_BYTES + 2;

/// A beacon for one address, where what is sent to all doesn't arrive: with it goes the port at
/// which its sender takes connections. Who changes the port on the way makes contacts dial in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Knock {
    /// Whose it is.
    pub beacon: Beacon,
    /// The sender's port.
    pub port: u16,
}

impl Knock {
    /// Nonce, tag, port (big-endian).
    #[must_use]
    pub fn encode(&self) -> [u8; KNOCK_BYTES] {
        let mut bytes = [0; KNOCK_BYTES];
        let (nonce, rest) = bytes.split_at_mut(NONCE_BYTES);
        let (tag, port) = rest.split_at_mut(TAG_BYTES);
        nonce.copy_from_slice(&self.beacon.nonce);
        tag.copy_from_slice(&self.beacon.tag);
        port.copy_from_slice(&self.port.to_be_bytes());
        bytes
    }

    /// Reads a datagram; `None` where it is none.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (nonce, rest) = bytes.split_first_chunk()?;
        let (tag, port) = rest.split_first_chunk()?;
        let port = u16::from_be_bytes(port.try_into().ok()?);
        let beacon = Beacon {
            nonce: *nonce,
            tag: *tag,
        };
        (port != 0).then_some(Self { beacon, port })
    }
}

/// What a device sends so that those who hold its key recognise it.
pub trait MadeWith: Copy + PartialEq {
    /// Whether a device with this key made it.
    fn made_with(&self, key: &BeaconKey) -> bool;
}

impl MadeWith for Beacon {
    fn made_with(&self, key: &BeaconKey) -> bool {
        key.made(self)
    }
}

/// Whose beacons are recognised, `K` naming a contact's device and `B` the kind of beacon. The work
/// is bounded by the second, whoever sends how many.
#[derive(Debug)]
pub struct Recogniser<K, B = Beacon> {
    keys: Vec<(K, BeaconKey)>,
    /// The newest last.
    remembered: VecDeque<(B, Option<K>)>,
    /// The second that is counted for, and what was examined in it.
    second: u64,
    examined: u32,
}

impl<K, B> Default for Recogniser<K, B> {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            remembered: VecDeque::new(),
            second: 0,
            examined: 0,
        }
    }
}

/// What came of a beacon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recognised<K> {
    /// It is this device's.
    Contact(K),
    /// It is no contact's.
    Stranger,
    /// It wasn't examined: too many came within this second.
    Busy,
}

impl<K: Copy, B: MadeWith> Recogniser<K, B> {
    /// From now on these devices are recognised. What was remembered is forgotten.
    pub fn set_keys(&mut self, keys: Vec<(K, BeaconKey)>) {
        self.keys = keys;
        self.remembered.clear();
    }

    /// Whose a beacon is. `now` measures the budget only, so it may be any clock that runs.
    pub fn recognise(&mut self, beacon: &B, now: Millis) -> Recognised<K> {
        let known = self.remembered.iter().rev();
        if let Some((_, found)) = known.into_iter().find(|(known, _)| known == beacon) {
            return found.map_or(Recognised::Stranger, Recognised::Contact);
        }
        let second = now.0 / 1_000;
        if self.second != second {
            (self.second, self.examined) = (second, 0);
        }
        if self.examined >= EXAMINED_PER_SECOND_MAX {
            return Recognised::Busy;
        }
        self.examined += 1;
        let found = self.keys.iter().find(|(_, key)| beacon.made_with(key));
        let found = found.map(|(device, _)| *device);
        if self.remembered.len() >= REMEMBERED_MAX {
            self.remembered.pop_front();
        }
        self.remembered.push_back((*beacon, found));
        found.map_or(Recognised::Stranger, Recognised::Contact)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(seed: u8) -> BeaconKey {
        BeaconKey([seed; 32])
    }

    fn nonce(seed: u64) -> [u8; NONCE_BYTES] {
        let mut nonce = [0; NONCE_BYTES];
        nonce[..8].copy_from_slice(&seed.to_be_bytes());
        nonce
    }

    #[test]
    fn contacts_recognise_a_beacon_and_nobody_else_does() {
        let mut recogniser = Recogniser::default();
        let keys = (1..=50).map(|seed| (seed, key(seed))).collect();
        recogniser.set_keys(keys);
        let now = Millis(5_000);
        let found = recogniser.recognise(&key(7).beacon(nonce(1)), now);
        assert_eq!(found, Recognised::Contact(7));
        let stranger = key(51).beacon(nonce(1));
        assert_eq!(recogniser.recognise(&stranger, now), Recognised::Stranger);
        // Removed: nothing is left of what was recognised.
        recogniser.set_keys(vec![(8, key(8))]);
        let found = recogniser.recognise(&key(7).beacon(nonce(1)), now);
        assert_eq!(found, Recognised::Stranger);
    }

    #[test]
    fn two_beacons_of_a_device_have_nothing_in_common() {
        let (one, other) = (key(1).beacon(nonce(1)), key(1).beacon(nonce(2)));
        assert_ne!(one.tag, other.tag);
        assert_ne!(one.label(), other.label());
        assert!(!key(2).made(&one) && key(1).made(&one));
    }

    #[test]
    fn a_flood_costs_so_much_a_second_and_no_more() {
        let mut recogniser = Recogniser::default();
        recogniser.set_keys(vec![(1, key(1))]);
        let now = Millis(9_000);
        let known = key(1).beacon(nonce(u64::MAX));
        assert_eq!(recogniser.recognise(&known, now), Recognised::Contact(1));
        let busy = (0..10_000)
            .filter(|n| {
                let beacon = key(2).beacon(nonce(*n));
                recogniser.recognise(&beacon, now) == Recognised::Busy
            })
            .count();
        assert_eq!(busy, 10_000 - (EXAMINED_PER_SECOND_MAX as usize - 1));
        // What is known already is answered in any case, and the next second begins anew.
        assert_eq!(recogniser.recognise(&known, now), Recognised::Contact(1));
        let later = recogniser.recognise(&key(1).beacon(nonce(3)), Millis(10_000));
        assert_eq!(later, Recognised::Contact(1));
        for second in 11..200 {
            for n in 0..100 {
                let beacon = key(3).beacon(nonce(second * 1_000 + n));
                recogniser.recognise(&beacon, Millis(second * 1_000));
            }
        }
        assert_eq!(recogniser.remembered.len(), REMEMBERED_MAX);
    }

    #[test]
    fn a_label_is_a_dns_label() {
        let label = key(1).beacon(nonce(1)).label();
        assert_eq!(label.len(), LABEL_CHARS);
        assert!(label.len() <= 63);
        assert!(
            label
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        );
    }

    proptest! {
        #[test]
        fn reading_a_label_is_the_inverse_of_writing_it(seed: [u8; 32], nonce: [u8; NONCE_BYTES]) {
            let beacon = BeaconKey(seed).beacon(nonce);
            prop_assert_eq!(Beacon::from_label(&beacon.label()), Some(beacon));
            prop_assert_eq!(Beacon::from_label(&beacon.label().to_uppercase()), Some(beacon));
        }

        #[test]
        fn any_datagram_is_a_knock_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            match Knock::decode(&bytes) {
                Some(knock) => prop_assert_eq!(&knock.encode()[..], &bytes[..]),
                None => prop_assert!(bytes.len() != KNOCK_BYTES || bytes.ends_with(&[0, 0])),
            }
        }

        #[test]
        fn any_text_is_a_label_or_refused(text in ".{0,80}") {
            if let Some(beacon) = Beacon::from_label(&text) {
                prop_assert_eq!(beacon.label(), text.to_ascii_lowercase());
            }
        }
    }
}
