//! Being found in radio range, and who may talk before the first datagram: announcements of ten
//! bytes, and the handshake and the frames of a channel between two radios.
//!
//! An [`Announcement`] is the [`crate::beacon`]'s idea in ten bytes. A stranger can repeat one, and
//! what is on the air can be read by anybody; QUIC's first packets name the endpoint that is dialled
//! (RFC 9001 section 5.2, RFC 6066 section 3). So a channel begins with proofs under a key of the two
//! devices, and every datagram travels under another that comes of it ([`Sealer`], [`Opener`]). What
//! is *in* the datagrams is secured by QUIC, as on any link: these seals keep strangers from the
//! names, and no more hangs on them.
//!
//! This module sends nothing and waits for nothing: nonces are arguments. Enter at [`Dialler`] and
//! [`Acceptor`]. Keyed BLAKE3 is both the stream (its extended output) and the seal, first the one
//! and then the other over it.

#[cfg(test)]
mod tests;

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{
    beacon::{BeaconKey, MadeWith},
    card::PairSecret,
    ids::EndpointId,
};

/// Bytes of an announcement: what a legacy advertisement of 31 bytes has left beside its flags and a
/// service of 128 bits.
pub const ANNOUNCED_BYTES: usize = 10;
/// Bytes of an announcement's nonce.
pub const NONCE_BYTES: usize = 4;
/// Bytes of an announcement's tag: a stranger's is taken for a contact's once in 2^40 tries, and only
/// a channel comes of it, where the proof fails.
pub const TAG_BYTES: usize = 5;
/// Random bytes of somebody who wants to meet anybody.
pub const SALT_BYTES: usize = 9;
/// Bytes of a nonce in the handshake, each used once.
pub const CHALLENGE_BYTES: usize = 16;
/// Bytes of a proof, and of the seal behind a frame.
pub const PROOF_BYTES: usize = 16;
/// Bytes of the longest frame, seal included: what the channel carries both ways.
pub const FRAME_BYTES_MAX: usize = 2_048;
/// Bytes of the longest datagram: QUIC's of 1,200 and more fit.
pub const DATAGRAM_BYTES_MAX: usize = FRAME_BYTES_MAX - PROOF_BYTES;

/// Ports of LE channels that programs may take end in one of these (Bluetooth Core 5.4, volume 3
/// part A, 4.22: 0x80 to 0xFF), so that the highest bit is free.
const PORT_BIT: u8 = 0x80;

const CHALLENGE: u8 = 1;
const CONTACT: u8 = 2;
const NEARBY: u8 = 3;
const WELCOME_CONTACT: u8 = 4;
const WELCOME_NEARBY: u8 = 5;

/// The port at which a device takes channels, 0x80 to 0xFF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port(u8);

impl Port {
    /// A port that programs may take; nothing where it is none.
    #[must_use]
    pub const fn new(port: u8) -> Option<Self> {
        if port & PORT_BIT == 0 {
            None
        } else {
            Some(Self(port))
        }
    }

    /// As the system counts.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// What is on the air.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Announcement {
    /// A device, for its contacts.
    Device(Tagged),
    /// Somebody who wants to meet whoever is near: nothing of it lasts longer than the two minutes.
    Nearby {
        /// Where channels are taken.
        port: Port,
        /// Random: of two the lower one dials.
        salt: [u8; SALT_BYTES],
    },
}

/// A device's announcement: a fresh nonce and what only contacts can tell from noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tagged {
    /// Where channels are taken.
    pub port: Port,
    nonce: [u8; NONCE_BYTES],
    tag: [u8; TAG_BYTES],
}

impl Tagged {
    /// The announcement of a device with this key.
    #[must_use]
    pub fn new(key: &BeaconKey, port: Port, nonce: [u8; NONCE_BYTES]) -> Self {
        let tag = tag(key, port, &nonce);
        Self { port, nonce, tag }
    }
}

impl MadeWith for Tagged {
    fn made_with(&self, key: &BeaconKey) -> bool {
        tag(key, self.port, &self.nonce) == self.tag
    }
}

fn tag(key: &BeaconKey, port: Port, nonce: &[u8; NONCE_BYTES]) -> [u8; TAG_BYTES] {
    let key = blake3::derive_key("waymeet 1 bluetooth announcement", &key.0);
    let mut tag = [0; TAG_BYTES];
    let mut hasher = blake3::Hasher::new_keyed(&key);
    hasher.update(&[port.0]).update(nonce);
    hasher.finalize_xof().fill(&mut tag);
    tag
}

impl Announcement {
    /// A device: port, nonce, tag. Somebody to meet: port less 0x80, salt.
    #[must_use]
    pub fn encode(&self) -> [u8; ANNOUNCED_BYTES] {
        let mut bytes = [0; ANNOUNCED_BYTES];
        let (first, rest) = bytes.split_at_mut(1);
        match self {
            Self::Device(Tagged { port, nonce, tag }) => {
                first.copy_from_slice(&[port.0]);
                let (into_nonce, into_tag) = rest.split_at_mut(NONCE_BYTES);
                into_nonce.copy_from_slice(nonce);
                into_tag.copy_from_slice(tag);
            }
            Self::Nearby { port, salt } => {
                first.copy_from_slice(&[port.0 & !PORT_BIT]);
                rest.copy_from_slice(salt);
            }
        }
        bytes
    }

    /// Reads one: any ten bytes are one, and mean nothing until somebody's key fits.
    #[must_use]
    pub fn decode(bytes: &[u8; ANNOUNCED_BYTES]) -> Self {
        let [first, n0, n1, n2, n3, t0, t1, t2, t3, t4] = *bytes;
        let port = Port(first | PORT_BIT);
        if first & PORT_BIT == 0 {
            let salt = [n0, n1, n2, n3, t0, t1, t2, t3, t4];
            Self::Nearby { port, salt }
        } else {
            Self::Device(Tagged {
                port,
                nonce: [n0, n1, n2, n3],
                tag: [t0, t1, t2, t3, t4],
            })
        }
    }
}

/// What two contacts' devices know each other by on a channel: from the pair's secret, which only
/// the two have, and which doesn't change when somebody else is removed.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct ChannelKey([u8; 32]);

impl std::fmt::Debug for ChannelKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChannelKey(..)")
    }
}

impl ChannelKey {
    /// The key of a pair.
    #[must_use]
    pub fn new(secret: &PairSecret) -> Self {
        Self(blake3::derive_key("waymeet 1 bluetooth channel", &secret.0))
    }

    /// The key of people who don't know each other: everybody has it, so that it hides nothing and
    /// proves nothing, and frames look alike.
    fn open() -> Self {
        Self(blake3::derive_key("waymeet 1 bluetooth nearby", b""))
    }
}

/// Which half of a handshake says it. The numbers are hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Role {
    Dialler = 1,
    Acceptor = 2,
}

/// Both nonces and both endpoints: what a proof is about.
#[derive(Debug, Clone, Copy)]
struct Line {
    challenge: [u8; CHALLENGE_BYTES],
    nonce: [u8; CHALLENGE_BYTES],
    dialler: EndpointId,
    acceptor: EndpointId,
}

impl Line {
    fn hasher(&self, key: &ChannelKey, what: u8) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new_keyed(&key.0);
        hasher
            .update(&[what])
            .update(&self.challenge)
            .update(&self.nonce)
            .update(&self.dialler.0)
            .update(&self.acceptor.0);
        hasher
    }

    fn proof(&self, key: &ChannelKey, by: Role) -> [u8; PROOF_BYTES] {
        let mut proof = [0; PROOF_BYTES];
        let hasher = self.hasher(key, by as u8);
        hasher.finalize_xof().fill(&mut proof);
        proof
    }

    /// Compared as hashes, so that how long it takes says nothing.
    fn is_proof(&self, key: &ChannelKey, by: Role, shown: &[u8; PROOF_BYTES]) -> bool {
        blake3::hash(&self.proof(key, by)) == blake3::hash(shown)
    }

    /// The keys of the two directions.
    fn established(&self, key: &ChannelKey, by: Role) -> (Sealer, Opener) {
        let mut keys = [0; 2 * 64];
        let hasher = self.hasher(key, 3);
        hasher.finalize_xof().fill(&mut keys);
        let mut halves = keys.chunks_exact(64).map(Stream::new);
        let outwards = halves.next().unwrap_or_default();
        let inwards = halves.next().unwrap_or_default();
        keys.zeroize();
        match by {
            Role::Dialler => (Sealer(outwards), Opener(inwards)),
            Role::Acceptor => (Sealer(inwards), Opener(outwards)),
        }
    }
}

/// What is wrong with what came over a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// Another frame than the one that is due.
    #[error("expected the next frame of a handshake, found another")]
    Malformed,
    /// It is no contact's device, or not the one that was meant.
    #[error("the other side is no contact's device")]
    Stranger,
    /// Nobody here wants to meet somebody new at this moment.
    #[error("nobody wants to meet somebody new here now")]
    Closed,
    /// A frame that wasn't sealed by the other side, or not in this place.
    #[error("expected a sealed frame, found another")]
    Garbled,
}

/// Who dials: knows whom it means, or means anybody.
#[derive(Debug, Clone)]
pub enum Meant {
    /// A contact's device.
    Contact {
        /// Whose.
        endpoint: EndpointId,
        /// The pair's key.
        key: ChannelKey,
    },
    /// Whoever wants to meet somebody new.
    Anybody,
}

/// The dialling side: waits for a challenge.
#[derive(Debug)]
pub struct Dialler {
    /// Our endpoint: a contact knows it already, and of somebody new it is a temporary one.
    own: EndpointId,
    meant: Meant,
}

/// The dialling side that answered, and waits for a welcome.
#[derive(Debug)]
pub struct Answered {
    line: Line,
    meant: Meant,
}

/// A channel on which datagrams may pass.
#[derive(Debug)]
pub struct Established {
    /// The other device's endpoint: a contact's, as it proved, or the temporary one that it names.
    pub endpoint: EndpointId,
    /// What goes out.
    pub sealer: Sealer,
    /// What comes in.
    pub opener: Opener,
}

impl Dialler {
    /// Begins a handshake; the other side speaks first.
    #[must_use]
    pub const fn new(own: EndpointId, meant: Meant) -> Self {
        Self { own, meant }
    }

    /// Answers the challenge, with a random nonce.
    ///
    /// # Errors
    /// It is none.
    pub fn answer(
        self,
        frame: &[u8],
        nonce: [u8; CHALLENGE_BYTES],
    ) -> Result<(Answered, Vec<u8>), Reject> {
        let Some((&CHALLENGE, challenge)) = frame.split_first() else {
            return Err(Reject::Malformed);
        };
        let challenge = challenge.try_into().map_err(|_| Reject::Malformed)?;
        let mut line = Line {
            challenge,
            nonce,
            dialler: self.own,
            acceptor: EndpointId([0; 32]),
        };
        let mut reply = Vec::with_capacity(1 + CHALLENGE_BYTES + 32);
        match &self.meant {
            Meant::Contact { endpoint, key } => {
                line.acceptor = *endpoint;
                reply.push(CONTACT);
                reply.extend_from_slice(&nonce);
                reply.extend_from_slice(&line.proof(key, Role::Dialler));
            }
            Meant::Anybody => {
                reply.push(NEARBY);
                reply.extend_from_slice(&nonce);
                reply.extend_from_slice(&self.own.0);
            }
        }
        let meant = self.meant;
        Ok((Answered { line, meant }, reply))
    }
}

impl Answered {
    /// Takes the welcome.
    ///
    /// # Errors
    /// It is none, or not from the device that was meant.
    pub fn welcome(mut self, frame: &[u8]) -> Result<Established, Reject> {
        let (kind, rest) = frame.split_first().ok_or(Reject::Malformed)?;
        let (endpoint, key) = match (kind, self.meant) {
            (&WELCOME_CONTACT, Meant::Contact { endpoint, key }) => {
                let proof = rest.try_into().map_err(|_| Reject::Malformed)?;
                if !self.line.is_proof(&key, Role::Acceptor, proof) {
                    return Err(Reject::Stranger);
                }
                (endpoint, key)
            }
            (&WELCOME_NEARBY, Meant::Anybody) => {
                let endpoint = EndpointId::from_slice(rest).ok_or(Reject::Malformed)?;
                self.line.acceptor = endpoint;
                (endpoint, ChannelKey::open())
            }
            _ => return Err(Reject::Malformed),
        };
        let (sealer, opener) = self.line.established(&key, Role::Dialler);
        Ok(Established {
            endpoint,
            sealer,
            opener,
        })
    }
}

/// Who is let in by the accepting side.
#[derive(Debug, Clone, Copy)]
pub struct Guests<'a> {
    /// Our endpoint.
    pub own: EndpointId,
    /// The contacts' devices.
    pub contacts: &'a [(EndpointId, ChannelKey)],
    /// Our temporary endpoint, while we want to meet somebody new.
    pub nearby: Option<EndpointId>,
}

/// The accepting side: sent a challenge, and waits for the answer.
#[derive(Debug)]
pub struct Acceptor {
    challenge: [u8; CHALLENGE_BYTES],
}

/// Somebody who was let in.
#[derive(Debug)]
pub struct Welcomed {
    /// The channel.
    pub channel: Established,
    /// They came to meet somebody new.
    pub nearby: bool,
    /// To be sent first.
    pub reply: Vec<u8>,
}

impl Acceptor {
    /// Begins a handshake with a random challenge, to be sent.
    #[must_use]
    pub fn new(challenge: [u8; CHALLENGE_BYTES]) -> (Self, Vec<u8>) {
        let mut frame = vec![CHALLENGE];
        frame.extend_from_slice(&challenge);
        (Self { challenge }, frame)
    }

    /// Takes the answer. Costs a hash for each device of a contact.
    ///
    /// # Errors
    /// It is none, or nobody who is let in. They get no reply.
    pub fn welcome(self, frame: &[u8], guests: Guests<'_>) -> Result<Welcomed, Reject> {
        let (kind, rest) = frame.split_first().ok_or(Reject::Malformed)?;
        let (nonce, rest) = rest
            .split_first_chunk::<CHALLENGE_BYTES>()
            .ok_or(Reject::Malformed)?;
        let line = |dialler, acceptor| Line {
            challenge: self.challenge,
            nonce: *nonce,
            dialler,
            acceptor,
        };
        let (endpoint, line, key, nearby) = match *kind {
            CONTACT => {
                let proof = rest.try_into().map_err(|_| Reject::Malformed)?;
                let fits = |(endpoint, key): &&(EndpointId, ChannelKey)| {
                    line(*endpoint, guests.own).is_proof(key, Role::Dialler, proof)
                };
                let found = guests.contacts.iter().find(fits);
                let (endpoint, key) = found.ok_or(Reject::Stranger)?;
                (*endpoint, line(*endpoint, guests.own), key.clone(), false)
            }
            NEARBY => {
                let endpoint = EndpointId::from_slice(rest).ok_or(Reject::Malformed)?;
                let own = guests.nearby.ok_or(Reject::Closed)?;
                (endpoint, line(endpoint, own), ChannelKey::open(), true)
            }
            _ => return Err(Reject::Malformed),
        };
        let mut reply = Vec::with_capacity(1 + 32);
        if nearby {
            reply.push(WELCOME_NEARBY);
            reply.extend_from_slice(&line.acceptor.0);
        } else {
            reply.push(WELCOME_CONTACT);
            reply.extend_from_slice(&line.proof(&key, Role::Acceptor));
        }
        let (sealer, opener) = line.established(&key, Role::Acceptor);
        Ok(Welcomed {
            channel: Established {
                endpoint,
                sealer,
                opener,
            },
            nearby,
            reply,
        })
    }
}

/// One direction: frames are numbered from 0, and each is used once, because a channel keeps their order.
#[derive(Clone, Default, Zeroize, ZeroizeOnDrop)]
struct Stream {
    cipher: [u8; 32],
    seal: [u8; 32],
    next: u64,
}

impl Stream {
    fn new(keys: &[u8]) -> Self {
        let mut stream = Self::default();
        for (into, from) in stream.cipher.iter_mut().zip(keys) {
            *into = *from;
        }
        for (into, from) in stream.seal.iter_mut().zip(keys.iter().skip(32)) {
            *into = *from;
        }
        stream
    }

    /// Turns a datagram into its cipher, and back.
    fn apply(&self, bytes: &mut [u8]) {
        let mut mask = [0; FRAME_BYTES_MAX];
        let mut hasher = blake3::Hasher::new_keyed(&self.cipher);
        hasher.update(&self.next.to_be_bytes());
        let length = bytes.len().min(FRAME_BYTES_MAX);
        if let Some(mask) = mask.get_mut(..length) {
            hasher.finalize_xof().fill(mask);
        }
        for (byte, mask) in bytes.iter_mut().zip(mask) {
            *byte ^= mask;
        }
    }

    fn tag(&self, cipher: &[u8]) -> [u8; PROOF_BYTES] {
        let mut tag = [0; PROOF_BYTES];
        let mut hasher = blake3::Hasher::new_keyed(&self.seal);
        hasher.update(&self.next.to_be_bytes()).update(cipher);
        hasher.finalize_xof().fill(&mut tag);
        tag
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stream(frame {})", self.next)
    }
}

/// Seals what goes out.
#[derive(Debug)]
pub struct Sealer(Stream);

impl Sealer {
    /// The next frame: the datagram under the stream, then the seal. Nothing where it is empty or
    /// too long for a frame.
    pub fn seal(&mut self, datagram: &[u8]) -> Option<Vec<u8>> {
        if datagram.is_empty() || datagram.len() > DATAGRAM_BYTES_MAX {
            return None;
        }
        let mut frame = Vec::with_capacity(datagram.len() + PROOF_BYTES);
        frame.extend_from_slice(datagram);
        self.0.apply(&mut frame);
        let tag = self.0.tag(&frame);
        frame.extend_from_slice(&tag);
        self.0.next = self.0.next.checked_add(1)?;
        Some(frame)
    }
}

/// Opens what comes in.
#[derive(Debug)]
pub struct Opener(Stream);

impl Opener {
    /// The datagram of the next frame, which lies in its own place.
    ///
    /// # Errors
    /// It isn't the next one of the other side: the channel is over.
    pub fn open<'a>(&mut self, frame: &'a mut [u8]) -> Result<&'a [u8], Reject> {
        let (datagram, tag) = frame
            .split_last_chunk_mut::<PROOF_BYTES>()
            .ok_or(Reject::Garbled)?;
        let fits = blake3::hash(&self.0.tag(datagram)) == blake3::hash(tag);
        if datagram.is_empty() || datagram.len() > DATAGRAM_BYTES_MAX || !fits {
            return Err(Reject::Garbled);
        }
        self.0.apply(datagram);
        self.0.next = self.0.next.checked_add(1).ok_or(Reject::Garbled)?;
        Ok(datagram)
    }
}
