//! Two people become contacts because a third, whom both know, introduced them.
//!
//! The introducer writes to each about the other (a body of kind 21), each answers (kind 22) with a
//! card that is signed for this introduction, and the introducer passes the answers on. Then the two
//! devices meet: a connection's keying material makes the pair's secret, so that the introducer, who
//! saw all the rest, doesn't have it. What the introducer can do is to introduce somebody who isn't
//! who the name says; the mark of such a contact names the introducer for that reason.

use data_encoding::BASE32_NOPAD;

use crate::{
    beacon::BeaconKey,
    card::PairSecret,
    ids::IdentityId,
    wire::{Reader, WireError},
};

/// Names an introduction of one introducer: 16 random bytes, the same for both who are introduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct IntroductionId(pub [u8; 16]);

impl std::fmt::Display for IntroductionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&BASE32_NOPAD.encode(&self.0).to_ascii_lowercase())
    }
}

impl std::str::FromStr for IntroductionId {
    type Err = WireError;

    fn from_str(text: &str) -> Result<Self, WireError> {
        BASE32_NOPAD
            .decode(text.to_ascii_uppercase().as_bytes())
            .ok()
            .and_then(|bytes| bytes.try_into().ok().map(Self))
            .ok_or(WireError::Value("introduction"))
    }
}

fn ordered(one: IdentityId, other: IdentityId) -> (IdentityId, IdentityId) {
    if one < other {
        (one, other)
    } else {
        (other, one)
    }
}

impl IntroductionId {
    /// What a card for this introduction is signed with in place of a connection's exporter: it is
    /// good for these three people and this time only, and so is the key of the beacons beside it.
    /// Whoever passes them on can put no other key there, which would lead to somebody else.
    #[must_use]
    pub fn binding(
        &self,
        by: IdentityId,
        one: IdentityId,
        other: IdentityId,
        beacon: &BeaconKey,
    ) -> [u8; 32] {
        let (low, high) = ordered(one, other);
        let mut hasher = blake3::Hasher::new_derive_key("waymeet 1 introduction");
        hasher
            .update(&self.0)
            .update(&by.0)
            .update(&low.0)
            .update(&high.0)
            .update(&beacon.0);
        *hasher.finalize().as_bytes()
    }

    /// What one side says of whom it means, on one connection: who introduced the two, who it is
    /// itself, and to whom it speaks. An introduction of the same number by somebody else, or to
    /// somebody else who has the same device, would make another.
    #[must_use]
    pub fn people(
        &self,
        exporter: &[u8; 32],
        by: IdentityId,
        speaker: IdentityId,
        listener: IdentityId,
    ) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("waymeet 1 introduced people");
        hasher
            .update(exporter)
            .update(&self.0)
            .update(&by.0)
            .update(&speaker.0)
            .update(&listener.0);
        *hasher.finalize().as_bytes()
    }

    /// The secret of the pair, from the connection on which they meet.
    #[must_use]
    pub fn pair_secret(
        &self,
        exporter: &[u8; 32],
        one: IdentityId,
        other: IdentityId,
    ) -> PairSecret {
        let (low, high) = ordered(one, other);
        let mut hasher = blake3::Hasher::new_derive_key("waymeet 1 introduced pair");
        hasher
            .update(exporter)
            .update(&self.0)
            .update(&low.0)
            .update(&high.0);
        PairSecret(*hasher.finalize().as_bytes())
    }
}

/// What two who were introduced say when they meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// 24, the one with the lower endpoint: because of this introduction, and who is meant
    /// ([`IntroductionId::people`]).
    Introduced(IntroductionId, [u8; 32]),
    /// 25, the one with the higher endpoint: this secret is on the disk. Who was a contact already keeps the one that
    /// they had, so that nothing which was written under it is lost.
    Welcome(PairSecret),
    /// 26, the one with the higher endpoint where it dialled: say it here, since you don't come.
    Asks(IntroductionId, [u8; 32]),
}

impl Frame {
    /// Whether a meet's first frame is one of these.
    #[must_use]
    pub fn begins(bytes: &[u8]) -> bool {
        matches!(bytes.first(), Some(24 | 26))
    }

    /// Type and fields.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Introduced(id, people) => [&[24], &id.0[..], people].concat(),
            Self::Welcome(secret) => [&[25], &secret.0[..]].concat(),
            Self::Asks(id, people) => [&[26], &id.0[..], people].concat(),
        }
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// Another type or a wrong layout.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        let frame = match reader.u8()? {
            24 => Self::Introduced(IntroductionId(reader.array()?), reader.array()?),
            25 => Self::Welcome(PairSecret(reader.array()?)),
            26 => Self::Asks(IntroductionId(reader.array()?), reader.array()?),
            _ => return Err(WireError::Value("message type")),
        };
        reader.end()?;
        Ok(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BY: IdentityId = IdentityId([1; 32]);
    const ONE: IdentityId = IdentityId([2; 32]);
    const OTHER: IdentityId = IdentityId([3; 32]);
    const KEY: BeaconKey = BeaconKey([6; 32]);

    #[test]
    fn what_an_introduction_binds_is_for_it_alone() {
        let id = IntroductionId([7; 16]);
        let (key, binding) = (BeaconKey([9; 32]), id.binding(BY, ONE, OTHER, &KEY));
        assert_eq!(
            binding,
            id.binding(BY, OTHER, ONE, &KEY),
            "the same to both"
        );
        for another in [
            IntroductionId([8; 16]).binding(BY, ONE, OTHER, &KEY),
            id.binding(ONE, BY, OTHER, &KEY),
            id.binding(BY, ONE, BY, &KEY),
            id.binding(BY, ONE, OTHER, &key),
        ] {
            assert_ne!(another, binding);
        }
        let people = id.people(&[4; 32], BY, ONE, OTHER);
        assert_ne!(people, id.people(&[4; 32], BY, OTHER, ONE));
        assert_ne!(people, id.people(&[4; 32], BY, ONE, BY));
        assert_ne!(people, id.people(&[4; 32], OTHER, ONE, OTHER));
        assert_ne!(people, id.people(&[5; 32], BY, ONE, OTHER));
        let secret = id.pair_secret(&[4; 32], ONE, OTHER);
        assert!(secret == id.pair_secret(&[4; 32], OTHER, ONE));
        assert!(secret != id.pair_secret(&[5; 32], ONE, OTHER));
        assert!(secret != IntroductionId([8; 16]).pair_secret(&[4; 32], ONE, OTHER));
    }

    #[test]
    fn ids_and_frames_have_one_form() {
        let id = IntroductionId([0xa7; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "a", "0123", &format!("{id}a")] {
            assert!(bad.parse::<IntroductionId>().is_err(), "{bad}");
        }
        let introduced = Frame::Introduced(id, [6; 32]);
        let asks = Frame::Asks(id, [6; 32]);
        assert!(Frame::begins(&asks.encode()));
        let welcome = Frame::Welcome(PairSecret([8; 32]));
        for frame in [introduced.clone(), welcome, asks] {
            let bytes = frame.encode();
            assert_eq!(Frame::decode(&bytes), Ok(frame));
            assert!(Frame::decode(&[&bytes[..], &[0]].concat()).is_err());
            assert!(Frame::decode(&bytes[..bytes.len() - 1]).is_err());
        }
        assert!(Frame::begins(&introduced.encode()) && !Frame::begins(&[1]));
    }
}
