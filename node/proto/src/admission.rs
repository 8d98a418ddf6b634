//! Device certificates, and the tree of admissions that says who let whom into a space.

use crate::{
    ids::{DeviceId, IdentityId, SpaceId},
    keys::{DeviceKey, Domain, IdentityKey, Signature, verify},
    limits::ADMISSION_DEPTH_MAX,
    space::{Membership, SpaceContext},
    wire::{Reader, WireError},
};

/// What a device may do for its identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Holds the identity key too.
    Main,
    /// Writes and reads like the main device.
    Full,
}

/// An identity's word that a device is its own, and the device's that this is so: or an identity
/// could certify somebody else's device and pass for the author of what that one signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Whose device.
    pub identity: IdentityId,
    /// The device.
    pub device: DeviceId,
    /// Rises with every device that the identity certifies.
    pub serial: u32,
    /// What it may do.
    pub role: Role,
    signature: Signature,
    consent: Signature,
}

/// Why a certificate or a chain of admissions is no good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AdmissionError {
    /// The bytes don't have the fixed layout.
    #[error("not the fixed layout: {0}")]
    Layout(#[from] WireError),
    /// The identity didn't sign the certificate.
    #[error("the identity's signature of the device certificate does not hold")]
    Certificate,
    /// The device didn't sign its own certificate.
    #[error("the device's signature of its certificate does not hold")]
    Consent,
    /// The inviting device didn't sign the admission.
    #[error("the inviting device's signature of an admission does not hold")]
    Signature,
    /// The chain doesn't begin at the space's creator.
    #[error("the chain does not begin at the creator of the space")]
    Root,
    /// An inviter isn't the one who was admitted before.
    #[error("a link of the chain was not signed by the person admitted before it")]
    Link,
    /// The chain doesn't end at the author.
    #[error("the chain does not end at the author")]
    End,
    /// The chain is too long.
    #[error("the chain is longer than {ADMISSION_DEPTH_MAX} admissions")]
    Depth,
    /// The author is none of the people whose space it is.
    #[error("the author is not one of the people whose space this is")]
    Outsider,
}

impl Certificate {
    /// Bytes of the fixed layout.
    pub const LEN: usize = 32 + 32 + 4 + 1 + 64 + 64;

    /// The identity certifies a device, which agrees.
    #[must_use]
    pub fn sign(identity: &IdentityKey, device: &DeviceKey, serial: u32, role: Role) -> Self {
        let mut certificate = Self {
            identity: identity.id(),
            device: device.id(),
            serial,
            role,
            signature: Signature([0; 64]),
            consent: Signature([0; 64]),
        };
        let payload = certificate.payload();
        certificate.signature = identity.sign(Domain::Device, &payload);
        certificate.consent = device.sign(Domain::Consent, &payload);
        certificate
    }

    fn payload(&self) -> Vec<u8> {
        let role = match self.role {
            Role::Main => 0,
            Role::Full => 1,
        };
        [
            &self.identity.0[..],
            &self.device.0,
            &self.serial.to_be_bytes(),
            &[role],
        ]
        .concat()
    }

    /// The fixed layout: identity 32, device 32, serial u32, role u8, the identity's signature 64,
    /// the device's signature 64.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [&self.payload()[..], &self.signature.0, &self.consent.0].concat()
    }

    /// Reads and checks a certificate.
    ///
    /// # Errors
    /// A wrong layout, or a signature that doesn't hold.
    pub fn decode(bytes: &[u8]) -> Result<Self, AdmissionError> {
        let mut reader = Reader::new(bytes);
        let certificate = Self::read(&mut reader)?;
        reader.end()?;
        Ok(certificate)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, AdmissionError> {
        let certificate = Self {
            identity: IdentityId(reader.id()?),
            device: DeviceId(reader.id()?),
            serial: reader.u32()?,
            role: match reader.u8()? {
                0 => Role::Main,
                1 => Role::Full,
                _ => return Err(WireError::Value("role").into()),
            },
            signature: reader.signature()?,
            consent: reader.signature()?,
        };
        let payload = certificate.payload();
        let (identity, device) = (&certificate.identity.0, &certificate.device.0);
        if !verify(identity, Domain::Device, &payload, &certificate.signature) {
            return Err(AdmissionError::Certificate);
        }
        if !verify(device, Domain::Consent, &payload, &certificate.consent) {
            return Err(AdmissionError::Consent);
        }
        Ok(certificate)
    }
}

/// One member's word that a person may write in a space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// The inviting person's device.
    pub inviter: Certificate,
    /// Who is let in.
    pub invitee: IdentityId,
    /// Hash of the inviter's own admission; zeros for the creator.
    pub parent: [u8; 32],
    signature: Signature,
}

impl Admission {
    /// Bytes of the fixed layout.
    pub const LEN: usize = Certificate::LEN + 32 + 32 + 64;

    fn payload(
        space: SpaceId,
        inviter: IdentityId,
        invitee: IdentityId,
        parent: &[u8; 32],
    ) -> Vec<u8> {
        [&space.0[..], &inviter.0, &invitee.0, parent].concat()
    }

    fn encode(&self) -> Vec<u8> {
        [
            &self.inviter.encode()[..],
            &self.invitee.0,
            &self.parent,
            &self.signature.0,
        ]
        .concat()
    }

    fn hash(&self) -> [u8; 32] {
        blake3::derive_key("waymeet 1 admission", &self.encode())
    }
}

/// Admissions from the creator's first to a member's own; empty for the creator.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chain(Vec<Admission>);

impl Chain {
    /// The creator's own chain.
    #[must_use]
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// Admissions in it, the creator's first.
    #[must_use]
    pub fn admissions(&self) -> &[Admission] {
        &self.0
    }

    /// Who let the member in; `None` for the creator.
    #[must_use]
    pub fn inviter(&self) -> Option<IdentityId> {
        self.0.last().map(|admission| admission.inviter.identity)
    }

    /// The member whose chain this is lets somebody in.
    ///
    /// # Errors
    /// [`AdmissionError::Depth`] where the chain is as long as it may be.
    pub fn admit(
        &self,
        space: SpaceId,
        certificate: &Certificate,
        key: &DeviceKey,
        invitee: IdentityId,
    ) -> Result<Self, AdmissionError> {
        if self.0.len() >= ADMISSION_DEPTH_MAX {
            return Err(AdmissionError::Depth);
        }
        let parent = self.0.last().map_or([0; 32], Admission::hash);
        let payload = Admission::payload(space, certificate.identity, invitee, &parent);
        let signature = key.sign(Domain::Admission, &payload);
        let mut chain = self.clone();
        chain.0.push(Admission {
            inviter: certificate.clone(),
            invitee,
            parent,
            signature,
        });
        Ok(chain)
    }

    /// The admissions one after the other.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.0.iter().flat_map(Admission::encode).collect()
    }

    /// Reads a chain. Certificates are checked here, the rest by [`Self::check`].
    ///
    /// # Errors
    /// A wrong layout, too many admissions, or a certificate that doesn't hold.
    pub fn decode(bytes: &[u8]) -> Result<Self, AdmissionError> {
        if bytes.len() > Admission::LEN * ADMISSION_DEPTH_MAX {
            return Err(AdmissionError::Depth);
        }
        let mut reader = Reader::new(bytes);
        let mut chain = Vec::new();
        while reader.remaining() > 0 {
            chain.push(Admission {
                inviter: Certificate::read(&mut reader)?,
                invitee: IdentityId(reader.id()?),
                parent: reader.id()?,
                signature: reader.signature()?,
            });
        }
        Ok(Self(chain))
    }

    /// Checks that this chain lets `member` write in `space`.
    ///
    /// # Errors
    /// Which link doesn't hold; see [`AdmissionError`].
    pub fn check(&self, space: &SpaceContext, member: IdentityId) -> Result<(), AdmissionError> {
        let creator = match &space.members {
            Membership::Admitted { creator, .. } => *creator,
            Membership::Pair(pair) if self.0.is_empty() && pair.contains(&member) => return Ok(()),
            Membership::Own(owner) if self.0.is_empty() && *owner == member => return Ok(()),
            Membership::Pair(_) | Membership::Own(_) => return Err(AdmissionError::Outsider),
        };
        let mut admitted = creator;
        let mut parent = [0; 32];
        for (at, admission) in self.0.iter().enumerate() {
            if admission.inviter.identity != admitted {
                return Err(if at == 0 {
                    AdmissionError::Root
                } else {
                    AdmissionError::Link
                });
            }
            if admission.parent != parent {
                return Err(AdmissionError::Link);
            }
            let payload = Admission::payload(space.id, admitted, admission.invitee, &parent);
            if !verify(
                &admission.inviter.device.0,
                Domain::Admission,
                &payload,
                &admission.signature,
            ) {
                return Err(AdmissionError::Signature);
            }
            admitted = admission.invitee;
            parent = admission.hash();
        }
        if admitted == member {
            Ok(())
        } else {
            Err(AdmissionError::End)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::SpaceKind;

    struct Person(IdentityKey, DeviceKey, Certificate);

    fn person(seed: u8) -> Person {
        let identity = IdentityKey::from_seed(&[seed; 32]);
        let device = DeviceKey::from_seed(&[seed + 100; 32]);
        let certificate = Certificate::sign(&identity, &device, 1, Role::Main);
        Person(identity, device, certificate)
    }

    fn forum(creator: &Person) -> SpaceContext {
        SpaceContext {
            id: SpaceId([9; 32]),
            members: Membership::Admitted {
                kind: SpaceKind::Forum,
                creator: creator.0.id(),
            },
        }
    }

    #[test]
    fn a_chain_leads_from_the_creator_to_the_member() {
        let (ana, ben, cem) = (person(1), person(2), person(3));
        let space = forum(&ana);
        let to_ben = Chain::root()
            .admit(space.id, &ana.2, &ana.1, ben.0.id())
            .unwrap();
        let to_cem = to_ben.admit(space.id, &ben.2, &ben.1, cem.0.id()).unwrap();
        assert_eq!(Chain::root().check(&space, ana.0.id()), Ok(()));
        assert_eq!(to_ben.check(&space, ben.0.id()), Ok(()));
        assert_eq!(to_cem.check(&space, cem.0.id()), Ok(()));
        assert_eq!(to_cem.check(&space, ben.0.id()), Err(AdmissionError::End));
        assert_eq!(
            to_cem.check(&forum(&ben), cem.0.id()),
            Err(AdmissionError::Root)
        );
        let elsewhere = SpaceContext {
            id: SpaceId([8; 32]),
            ..space.clone()
        };
        assert_eq!(
            to_cem.check(&elsewhere, cem.0.id()),
            Err(AdmissionError::Signature)
        );
        let stolen = Chain(vec![to_cem.0[1].clone()]);
        assert_eq!(stolen.check(&space, cem.0.id()), Err(AdmissionError::Root));
        assert_eq!(Chain::decode(&to_cem.encode()), Ok(to_cem));
    }

    #[test]
    fn any_flipped_bit_is_refused() {
        let (ana, ben) = (person(1), person(2));
        let space = forum(&ana);
        let bytes = Chain::root()
            .admit(space.id, &ana.2, &ana.1, ben.0.id())
            .unwrap()
            .encode();
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1 << (at % 8);
            let verdict = Chain::decode(&bad).and_then(|chain| chain.check(&space, ben.0.id()));
            assert!(verdict.is_err(), "byte {at}");
        }
    }

    /// Each reason has a case; a reason that is added needs one too.
    #[test]
    fn every_reason_has_a_case() {
        const fn name_of(error: &AdmissionError) -> &'static str {
            match error {
                AdmissionError::Layout(_) => "layout",
                AdmissionError::Certificate => "certificate",
                AdmissionError::Consent => "consent",
                AdmissionError::Signature => "signature",
                AdmissionError::Root => "root",
                AdmissionError::Link => "link",
                AdmissionError::End => "end",
                AdmissionError::Depth => "depth",
                AdmissionError::Outsider => "outsider",
            }
        }
        let (ana, ben, cem) = (person(1), person(2), person(3));
        let space = forum(&ana);
        let admit = |chain: &Chain, by: &Person, whom: &Person| {
            chain.admit(space.id, &by.2, &by.1, whom.0.id()).unwrap()
        };
        let to_ben = admit(&Chain::root(), &ana, &ben);
        let to_cem = admit(&to_ben, &ben, &cem);
        let with = |at: usize, bytes: &[u8]| {
            let mut changed = to_cem.encode();
            changed[at] ^= 1;
            changed.extend_from_slice(bytes);
            Chain::decode(&changed).and_then(|chain| chain.check(&space, cem.0.id()))
        };
        let signatures = Certificate::LEN - 128;
        let own = SpaceContext {
            id: space.id,
            members: Membership::Own(ana.0.id()),
        };
        let skipped = Chain(vec![
            to_ben.0[0].clone(),
            admit(&Chain::root(), &cem, &ben).0[0].clone(),
        ]);
        let verdicts = [
            with(0, b"more"),
            with(signatures, b""),
            with(signatures + 64, b""),
            with(Admission::LEN - 1, b""),
            Chain(vec![to_cem.0[1].clone()]).check(&space, cem.0.id()),
            skipped.check(&space, ben.0.id()),
            to_cem.check(&space, ben.0.id()),
            Chain::decode(&to_cem.encode().repeat(17)).map(|_| ()),
            to_ben.check(&own, ben.0.id()),
        ];
        let names = verdicts.map(|verdict| name_of(&verdict.unwrap_err()));
        assert_eq!(
            names,
            [
                "certificate",
                "certificate",
                "consent",
                "signature",
                "root",
                "link",
                "end",
                "depth",
                "outsider"
            ]
        );
        assert_eq!(
            Chain::decode(&[1]).map(|_| ()).map_err(|e| name_of(&e)),
            Err("layout")
        );
    }

    #[test]
    fn chains_are_bounded() {
        let ana = person(1);
        let space = forum(&ana);
        let mut chain = Chain::root();
        for _ in 0..ADMISSION_DEPTH_MAX {
            chain = chain.admit(space.id, &ana.2, &ana.1, ana.0.id()).unwrap();
        }
        assert_eq!(chain.check(&space, ana.0.id()), Ok(()));
        assert_eq!(
            chain.admit(space.id, &ana.2, &ana.1, ana.0.id()),
            Err(AdmissionError::Depth)
        );
        let long = [chain.encode(), chain.encode()].concat();
        assert_eq!(Chain::decode(&long), Err(AdmissionError::Depth));
    }

    #[test]
    fn a_pair_and_own_devices_need_no_chain() {
        let (ana, ben, cem) = (person(1), person(2), person(3));
        let pair = SpaceContext {
            id: SpaceId([9; 32]),
            members: Membership::Pair([ana.0.id(), ben.0.id()]),
        };
        assert_eq!(Chain::root().check(&pair, ben.0.id()), Ok(()));
        assert_eq!(
            Chain::root().check(&pair, cem.0.id()),
            Err(AdmissionError::Outsider)
        );
    }
}
