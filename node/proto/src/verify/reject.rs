//! Each way in which a peer's entries, proofs or frames can't be used.

use crate::{admission::AdmissionError, body::BodyError, wire::WireError};

/// Why a peer's entries, proofs or frames are dropped. Each way to break the protocol has its own
/// variant, which is counted; none of them is an error of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// The bytes are no run.
    #[error("not a run of entries: {0}")]
    Layout(#[from] WireError),
    /// The run begins behind what is known.
    #[error("a run begins at entry {found}, {expected} comes next")]
    Gap {
        /// The entry that comes next.
        expected: u64,
        /// Where the run begins.
        found: u64,
    },
    /// The last entry has no signature, and nothing else vouches for it.
    #[error("the last entry of a run is not signed")]
    Unsigned,
    /// A checkpoint without its signature.
    #[error("the checkpoint {seq} has no signature")]
    CheckpointUnsigned {
        /// Its place.
        seq: u64,
    },
    /// A signature where none belongs.
    #[error("the entry {seq} is neither the last nor a checkpoint, but signed")]
    StraySignature {
        /// Its place.
        seq: u64,
    },
    /// A signature that isn't the device's.
    #[error("the signature of entry {seq} does not hold")]
    BadSignature {
        /// Its place.
        seq: u64,
    },
    /// The first entry has a backlink.
    #[error("the first entry of a feed has a backlink")]
    BacklinkBeforeFirst,
    /// The first entry is no genesis, or has no body.
    #[error("the first entry of a feed is not a genesis")]
    NoGenesis,
    /// A genesis further up.
    #[error("entry {seq} is a second genesis")]
    SecondGenesis {
        /// Its place.
        seq: u64,
    },
    /// The genesis is another device's.
    #[error("the first entry certifies another device")]
    ForeignGenesis,
    /// The author wasn't let in.
    #[error("the author may not write here: {0}")]
    NotAdmitted(AdmissionError),
    /// A body that can't be.
    #[error("the body of entry {seq} is refused: {reason}")]
    Body {
        /// Its place.
        seq: u64,
        /// What is wrong with it.
        reason: BodyError,
    },
    /// An article's quotable content isn't signed by its author.
    #[error("the quotable content of entry {seq} is not signed by its author")]
    Quote {
        /// Its place.
        seq: u64,
    },
    /// A revocation that its identity didn't sign.
    #[error("the revocation in entry {seq} is not signed by its identity")]
    Revocation {
        /// Its place.
        seq: u64,
    },
    /// A removal that this feed's device didn't sign for this place.
    #[error("the removal in entry {seq} is not signed by its device for this place")]
    Removal {
        /// Its place.
        seq: u64,
    },
    /// Who let the author into the circle isn't known to have been its owner then, or the author
    /// was removed.
    #[error("the author is not known to be a member of the circle")]
    NoMember,
    /// At or above a known fork.
    #[error("entries at and above {fork} are refused, because the author forked there")]
    BeyondFork {
        /// Where the author forked.
        fork: u64,
    },
    /// Above the last good entry of a revoked device.
    #[error("entries above {last} are refused, because the device was revoked")]
    BeyondRevocation {
        /// The last good entry.
        last: u64,
    },
    /// Not the branch that a revocation keeps.
    #[error("entry {seq} is not on the branch that the revocation keeps")]
    OtherBranch {
        /// Its place.
        seq: u64,
    },
    /// A fork proof that proves nothing.
    #[error("the fork proof proves nothing")]
    ForkProof,
    /// A revocation or a removal beside its feed that isn't one, is of another device, or isn't signed by the
    /// identity that it names.
    #[error("the revocation is not signed by its identity, or is another device's")]
    RevocationProof,
    /// A fork proof or a revocation for a feed of which nothing is known.
    #[error("the fork proof or the revocation is about an unknown feed")]
    EndOfUnknownFeed,
    /// A body that wasn't asked for or isn't the one in the header.
    #[error("the body does not belong to entry {seq}")]
    ForeignBody {
        /// Its place.
        seq: u64,
    },
    /// The space holds as many feeds as it may, or an inviter let in too many.
    #[error("the space is full, or its inviter let in too many")]
    TooManyFeeds,
    /// One identity with too many devices.
    #[error("an identity has more devices than it may have")]
    TooManyDevices,
    /// As much came in through this contact as may.
    #[error("this contact's quota on the disk is used up")]
    OverQuota,
    /// The space isn't held or isn't common with this contact.
    #[error("the space is not common")]
    NotCommon,
}

impl Reject {
    /// A short name for counters and logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Layout(_) => "layout",
            Self::Gap { .. } => "gap",
            Self::Unsigned => "unsigned",
            Self::CheckpointUnsigned { .. } => "checkpoint-unsigned",
            Self::StraySignature { .. } => "stray-signature",
            Self::BadSignature { .. } => "bad-signature",
            Self::BacklinkBeforeFirst => "backlink-before-first",
            Self::NoGenesis => "no-genesis",
            Self::SecondGenesis { .. } => "second-genesis",
            Self::ForeignGenesis => "foreign-genesis",
            Self::NotAdmitted(_) => "not-admitted",
            Self::Body { .. } => "body",
            Self::Quote { .. } => "quote",
            Self::Revocation { .. } => "revocation",
            Self::Removal { .. } => "removal",
            Self::NoMember => "no-member",
            Self::BeyondFork { .. } => "beyond-fork",
            Self::BeyondRevocation { .. } => "beyond-revocation",
            Self::OtherBranch { .. } => "other-branch",
            Self::ForkProof => "fork-proof",
            Self::RevocationProof => "revocation-proof",
            Self::EndOfUnknownFeed => "end-of-unknown-feed",
            Self::ForeignBody { .. } => "foreign-body",
            Self::TooManyFeeds => "too-many-feeds",
            Self::TooManyDevices => "too-many-devices",
            Self::OverQuota => "over-quota",
            Self::NotCommon => "not-common",
        }
    }

    /// Whether only a peer that breaks the protocol causes this. The others also happen between
    /// honest nodes that know different things: of a fork, of a revocation, of who was let in.
    #[must_use]
    pub const fn is_fault(&self) -> bool {
        match self {
            Self::Layout(_)
            | Self::Unsigned
            | Self::CheckpointUnsigned { .. }
            | Self::StraySignature { .. }
            | Self::BadSignature { .. }
            | Self::BacklinkBeforeFirst
            | Self::NoGenesis
            | Self::SecondGenesis { .. }
            | Self::ForeignGenesis
            | Self::NotAdmitted(_)
            | Self::Body { .. }
            | Self::Quote { .. }
            | Self::Revocation { .. }
            | Self::Removal { .. }
            | Self::ForkProof
            | Self::RevocationProof => true,
            Self::Gap { .. }
            | Self::NoMember
            | Self::BeyondFork { .. }
            | Self::BeyondRevocation { .. }
            | Self::OtherBranch { .. }
            | Self::EndOfUnknownFeed
            | Self::ForeignBody { .. }
            | Self::TooManyFeeds
            | Self::TooManyDevices
            | Self::OverQuota
            | Self::NotCommon => false,
        }
    }
}
