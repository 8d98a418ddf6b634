//! Adding a contact: the invite in a link, the cards that two devices show each other, and the
//! secret that the pair keeps.
//!
//! The joiner dials the endpoint that the invite names, proves that it knows the invite's secret
//! and shows its card; the inviter answers with its own. Both sides bind what they show to the
//! connection's exporter, so nothing of it can be used on another connection. The pair's secret
//! comes from that exporter mixed with the invite's secret, never from the link alone.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{
    admission::{AdmissionError, Certificate},
    ids::{EndpointId, IdentityId, from_base32, to_base32},
    keys::{DeviceKey, Domain, Signature, verify},
    limits::{ADDRS_MAX, INVITE_LINK_CHARS_MAX, NAME_CHARS_MAX},
    text,
    time::Millis,
    wire::{Reader, WireError, put_prefixed, put_varint},
    words::WORDS,
};

/// What a link begins with.
pub const SCHEME: &str = "waymeet:";
/// Bytes of a card: certificate, name, twelve addresses and a relay take less than 1,000.
pub const CARD_BYTES_MAX: usize = 1_024;
/// Bytes of a relay's URL.
pub(crate) const RELAY_BYTES_MAX: usize = 200;
const VERSION: u8 = 1;
const MANY: u8 = 1;
const LOCAL: u8 = 2;

/// An invite's one-time secret.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct InviteSecret(pub [u8; 16]);

impl std::fmt::Debug for InviteSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InviteSecret(..)")
    }
}

impl InviteSecret {
    /// What names the invite to its issuer without showing the secret.
    #[must_use]
    pub fn tag(&self) -> [u8; 16] {
        let mut tag = [0; 16];
        blake3::Hasher::new_derive_key("waymeet 1 invite tag")
            .update(&self.0)
            .finalize_xof()
            .fill(&mut tag);
        tag
    }

    /// Proves knowledge of the secret on one connection, in one direction.
    #[must_use]
    pub fn proof(&self, exporter: &[u8; 32], by_joiner: bool) -> [u8; 32] {
        let key = blake3::derive_key("waymeet 1 invite proof", &self.0);
        *blake3::Hasher::new_keyed(&key)
            .update(exporter)
            .update(&[u8::from(by_joiner)])
            .finalize()
            .as_bytes()
    }
}

/// The secret of two contacts. Only they know it.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct PairSecret(pub [u8; 32]);

impl std::fmt::Debug for PairSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PairSecret(..)")
    }
}

impl PairSecret {
    /// Both sides of a connection that knew the invite's secret make the same.
    #[must_use]
    pub fn new(
        exporter: &[u8; 32],
        invite: &InviteSecret,
        one: IdentityId,
        other: IdentityId,
    ) -> Self {
        let (low, high) = if one < other {
            (one, other)
        } else {
            (other, one)
        };
        let mut hasher = blake3::Hasher::new_derive_key("waymeet 1 pair");
        hasher
            .update(exporter)
            .update(&invite.0)
            .update(&low.0)
            .update(&high.0);
        Self(*hasher.finalize().as_bytes())
    }

    /// Twelve words (96 bits) that both people see alike, and an impostor between them would not.
    #[must_use]
    pub fn words(&self, one: IdentityId, other: IdentityId) -> [&'static str; 12] {
        let (low, high) = if one < other {
            (one, other)
        } else {
            (other, one)
        };
        let key = blake3::derive_key("waymeet 1 words", &self.0);
        let hash = blake3::Hasher::new_keyed(&key)
            .update(&low.0)
            .update(&high.0)
            .finalize();
        let mut words = [""; 12];
        for (word, byte) in words.iter_mut().zip(hash.as_bytes()) {
            *word = WORDS.get(usize::from(*byte)).copied().unwrap_or_default();
        }
        words
    }

    /// The gossip topic of two endpoints of the pair.
    #[must_use]
    pub fn topic(&self, one: EndpointId, other: EndpointId) -> [u8; 32] {
        let (low, high) = if one < other {
            (one, other)
        } else {
            (other, one)
        };
        let key = blake3::derive_key("waymeet 1 topic", &self.0);
        *blake3::Hasher::new_keyed(&key)
            .update(&low.0)
            .update(&high.0)
            .finalize()
            .as_bytes()
    }
}

/// What a link says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    /// What to dial.
    pub endpoint: EndpointId,
    /// The secret.
    pub secret: InviteSecret,
    /// When it ends.
    pub expires: Millis,
    /// For many people, each of whom has to be accepted.
    pub many: bool,
    /// Its maker's internet link was off: it works on the same network only.
    pub local_only: bool,
    /// Where to dial.
    pub addrs: Vec<SocketAddr>,
    /// A relay that reaches the endpoint.
    pub relay: Option<String>,
}

/// A text that is no usable invite.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InviteError {
    /// Something else altogether.
    #[error("expected a link that begins with {SCHEME}")]
    Scheme,
    /// Cut or mistyped.
    #[error("the link is incomplete or mistyped: copy it whole")]
    Damaged,
    /// From a newer program.
    #[error("the link is from a newer version of this program: update this one")]
    Newer,
    /// Over its bound.
    #[error("the link is longer than {INVITE_LINK_CHARS_MAX} characters")]
    TooLong,
}

impl Invite {
    /// The link: base32 of version u8, flags u8, endpoint 32, secret 16, expiry u64, addresses,
    /// relay, and four bytes of a hash over all that, so that a mistyped link is told from a wrong one.
    #[must_use]
    pub fn link(&self) -> String {
        let mut out = vec![
            VERSION,
            if self.many { MANY } else { 0 } | if self.local_only { LOCAL } else { 0 },
        ];
        out.extend_from_slice(&self.endpoint.0);
        out.extend_from_slice(&self.secret.0);
        out.extend_from_slice(&self.expires.0.to_be_bytes());
        put_addrs(&mut out, &self.addrs);
        put_prefixed(
            &mut out,
            self.relay.as_deref().unwrap_or_default().as_bytes(),
        );
        let check = checksum(&out);
        out.extend_from_slice(&check);
        let link = format!("{SCHEME}{}", to_base32(&out));
        out.zeroize();
        link
    }

    /// Reads a link; case and white space don't matter.
    ///
    /// # Errors
    /// See [`InviteError`].
    pub fn parse(text: &str) -> Result<Self, InviteError> {
        if text.len() > INVITE_LINK_CHARS_MAX {
            return Err(InviteError::TooLong);
        }
        let text: String = text
            .chars()
            .filter(|c| !c.is_whitespace())
            .collect::<String>()
            .to_ascii_lowercase();
        let code = text.strip_prefix(SCHEME).ok_or(InviteError::Scheme)?;
        let bytes = from_base32(code).ok_or(InviteError::Damaged)?;
        let (content, check) = bytes.split_last_chunk::<4>().ok_or(InviteError::Damaged)?;
        if checksum(content) != *check {
            return Err(InviteError::Damaged);
        }
        if content.first() != Some(&VERSION) {
            return Err(InviteError::Newer);
        }
        Self::read(content).map_err(|error| match error {
            WireError::Value("flags") => InviteError::Newer,
            _ => InviteError::Damaged,
        })
    }

    fn read(content: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(content);
        reader.u8()?;
        let flags = reader.u8()?;
        if flags & !(MANY | LOCAL) != 0 {
            return Err(WireError::Value("flags"));
        }
        let invite = Self {
            endpoint: EndpointId(reader.id()?),
            secret: InviteSecret(reader.array()?),
            expires: Millis(reader.u64()?),
            many: flags & MANY != 0,
            local_only: flags & LOCAL != 0,
            addrs: read_addrs(&mut reader)?,
            relay: Some(reader.text("relay", RELAY_BYTES_MAX)?)
                .filter(|relay| !relay.is_empty())
                .map(str::to_owned),
        };
        reader.end()?;
        Ok(invite)
    }
}

fn checksum(content: &[u8]) -> [u8; 4] {
    let mut check = [0; 4];
    blake3::Hasher::new_derive_key("waymeet 1 link")
        .update(content)
        .finalize_xof()
        .fill(&mut check);
    check
}

/// Appends a count and each address: 4 or 6, the address's bytes, port u16.
pub fn put_addrs(out: &mut Vec<u8>, addrs: &[SocketAddr]) {
    put_varint(out, addrs.len().min(ADDRS_MAX) as u64);
    for addr in addrs.iter().take(ADDRS_MAX) {
        match addr.ip() {
            IpAddr::V4(ip) => {
                out.push(4);
                out.extend_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                out.push(6);
                out.extend_from_slice(&ip.octets());
            }
        }
        out.extend_from_slice(&addr.port().to_be_bytes());
    }
}

/// Reads what [`put_addrs`] wrote.
///
/// # Errors
/// Too many, or an unknown family.
pub fn read_addrs(reader: &mut Reader<'_>) -> Result<Vec<SocketAddr>, WireError> {
    let count = reader.length("addresses", ADDRS_MAX)?;
    (0..count)
        .map(|_| {
            let ip = match reader.u8()? {
                4 => IpAddr::V4(Ipv4Addr::from(reader.array::<4>()?)),
                6 => IpAddr::V6(Ipv6Addr::from(reader.array::<16>()?)),
                _ => return Err(WireError::Value("address family")),
            };
            Ok(SocketAddr::new(ip, u16::from_be_bytes(reader.array()?)))
        })
        .collect()
}

/// A device's card: who it is, and where it is dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// Identity and device.
    pub certificate: Certificate,
    /// The person's name.
    pub name: String,
    /// What to dial.
    pub endpoint: EndpointId,
    /// Where.
    pub addrs: Vec<SocketAddr>,
    /// A relay that reaches the endpoint.
    pub relay: Option<String>,
}

/// Why a card is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CardError {
    /// Not the layout.
    #[error("the card can't be read: {0}")]
    Layout(#[from] WireError),
    /// The certificate doesn't hold.
    #[error("the card's certificate does not hold: {0}")]
    Certificate(#[from] AdmissionError),
    /// The device didn't sign it for this connection.
    #[error("the card is not signed by its device for this connection")]
    Signature,
    /// A name that doesn't fit.
    #[error("the card's name does not fit")]
    Name,
}

impl Card {
    fn content(&self) -> Vec<u8> {
        let mut out = self.certificate.encode();
        put_prefixed(&mut out, self.name.as_bytes());
        out.extend_from_slice(&self.endpoint.0);
        put_addrs(&mut out, &self.addrs);
        put_prefixed(
            &mut out,
            self.relay.as_deref().unwrap_or_default().as_bytes(),
        );
        out
    }

    /// Certificate, name, endpoint, addresses, relay and the device's signature over these and the
    /// connection's exporter.
    #[must_use]
    pub fn encode(&self, key: &DeviceKey, exporter: &[u8; 32]) -> Vec<u8> {
        let mut out = self.content();
        let signature = key.sign(Domain::Card, &[&out[..], exporter].concat());
        out.extend_from_slice(&signature.0);
        out
    }

    /// Reads and checks a card that was shown on the connection with this exporter.
    ///
    /// # Errors
    /// See [`CardError`].
    pub fn decode(bytes: &[u8], exporter: &[u8; 32]) -> Result<Self, CardError> {
        let (content, signature) = bytes.split_last_chunk::<64>().ok_or(WireError::Truncated)?;
        let mut reader = Reader::new(content);
        let card = Self {
            certificate: Certificate::decode(reader.bytes(Certificate::LEN)?)?,
            name: reader.text("name", NAME_CHARS_MAX * 4)?.to_owned(),
            endpoint: EndpointId(reader.id()?),
            addrs: read_addrs(&mut reader)?,
            relay: Some(reader.text("relay", RELAY_BYTES_MAX)?)
                .filter(|relay| !relay.is_empty())
                .map(str::to_owned),
        };
        reader.end()?;
        if !text::is_line(&card.name, NAME_CHARS_MAX) {
            return Err(CardError::Name);
        }
        let payload = [content, exporter].concat();
        if verify(
            &card.certificate.device.0,
            Domain::Card,
            &payload,
            &Signature(*signature),
        ) {
            Ok(card)
        } else {
            Err(CardError::Signature)
        }
    }
}

/// What the joiner says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// [`InviteSecret::tag`].
    pub tag: [u8; 16],
    /// [`InviteSecret::proof`] of the joiner.
    pub proof: [u8; 32],
    /// The joiner's card as encoded.
    pub card: Vec<u8>,
}

impl Join {
    /// Type u8 1, tag 16, proof 32, card.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [&[1], &self.tag[..], &self.proof, &self.card].concat()
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// A wrong layout.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != 1 {
            return Err(WireError::Value("message type"));
        }
        Ok(Self {
            tag: reader.array()?,
            proof: reader.array()?,
            card: reader.rest().to_vec(),
        })
    }
}

/// What the inviter answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinAnswer {
    /// Here is my card: we are contacts.
    Welcome {
        /// [`InviteSecret::proof`] of the inviter.
        proof: [u8; 32],
        /// The inviter's card as encoded.
        card: Vec<u8>,
        /// The pair's secret, where the two are contacts for the inviter already: it stays in use.
        /// Otherwise it is the one that the connection makes.
        kept: Option<PairSecret>,
    },
    /// The person has to decide first; keep the connection or come again.
    Wait,
    /// No.
    Refused(Refusal),
}

/// Why a join is refused. The text is shown to the person who joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such invite, or a wrong proof.
    #[error("the other side doesn't know this link: ask for a new one")]
    Unknown,
    /// Used up.
    #[error("this link was used already: ask for a new one")]
    Used,
    /// Too old.
    #[error("this link has expired: ask for a new one")]
    Expired,
    /// The person said no.
    #[error("the other side declined")]
    Declined,
    /// Something in the message doesn't fit.
    #[error("the other side could not read what this program sent: update the older of the two")]
    Malformed,
    /// No room.
    #[error("the other side has as many contacts as it can have")]
    Full,
}

impl Refusal {
    pub(crate) const ALL: [Self; 6] = [
        Self::Unknown,
        Self::Used,
        Self::Expired,
        Self::Declined,
        Self::Malformed,
        Self::Full,
    ];
}

impl JoinAnswer {
    /// Type u8, then proof 32, the kept secret if there is one, and card, or a reason u8.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Welcome {
                proof,
                card,
                kept: None,
            } => [&[2], &proof[..], card].concat(),
            Self::Welcome {
                proof,
                card,
                kept: Some(secret),
            } => [&[5], &proof[..], &secret.0, card].concat(),
            Self::Wait => vec![3],
            Self::Refused(reason) => {
                let code = Refusal::ALL
                    .iter()
                    .position(|known| known == reason)
                    .unwrap_or(0);
                vec![4, code as u8]
            }
        }
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// A wrong layout.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        match reader.u8()? {
            2 => Ok(Self::Welcome {
                proof: reader.array()?,
                kept: None,
                card: reader.rest().to_vec(),
            }),
            5 => Ok(Self::Welcome {
                proof: reader.array()?,
                kept: Some(PairSecret(reader.array()?)),
                card: reader.rest().to_vec(),
            }),
            3 => reader.end().map(|()| Self::Wait),
            4 => {
                let code = usize::from(reader.u8()?);
                reader.end()?;
                Refusal::ALL
                    .get(code)
                    .copied()
                    .map(Self::Refused)
                    .ok_or(WireError::Value("refusal"))
            }
            _ => Err(WireError::Value("message type")),
        }
    }
}
