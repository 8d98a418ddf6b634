//! One thing to store each, and what became of it.

use std::collections::BTreeSet;

use proto::{
    DeviceId, SpaceId,
    frame::{OfferFrame, Whereabouts},
    session::{EndProof, Output},
    space::Descriptor,
    verify::{Comparison, Overlap, Reject, VerifiedRun, VerifiedTail, removal_of},
};

/// One thing to store.
pub(crate) enum Job {
    Import {
        space: SpaceId,
        run: VerifiedRun,
    },
    ImportTail {
        space: SpaceId,
        tail: VerifiedTail,
    },
    Compare {
        space: SpaceId,
        overlap: Overlap,
    },
    End {
        space: SpaceId,
        device: DeviceId,
        proof: EndProof,
    },
    Fill {
        space: SpaceId,
        device: DeviceId,
        seq: u64,
        body: Vec<u8>,
    },
    Common(BTreeSet<SpaceId>),
    Offers {
        rev: u64,
        offers: Vec<OfferFrame>,
        whereabouts: Whereabouts,
    },
    SeenBy {
        rev: u64,
    },
    PeerHolds {
        space: SpaceId,
        base: u64,
    },
}

impl Job {
    /// What a session wants stored; `None` where that is nothing.
    pub(crate) fn of(output: Output) -> Option<Self> {
        Some(match output {
            Output::Import { space, run } => Self::Import { space, run },
            Output::ImportTail { space, tail } => Self::ImportTail { space, tail },
            Output::Compare { space, overlap } => Self::Compare { space, overlap },
            Output::ImportEnd {
                space,
                device,
                proof,
            } => Self::End {
                space,
                device,
                proof,
            },
            Output::Fill {
                space,
                device,
                seq,
                body,
            } => Self::Fill {
                space,
                device,
                seq,
                body,
            },
            Output::Common(spaces) => Self::Common(spaces),
            Output::Offers {
                rev,
                offers,
                whereabouts,
            } => Self::Offers {
                rev,
                offers,
                whereabouts,
            },
            Output::SeenBy { rev } => Self::SeenBy { rev },
            Output::PeerHolds { space, base } => Self::PeerHolds { space, base },
            Output::Control(_) | Output::Equal(_) | Output::Rejected(_) => return None,
        })
    }

    /// Spaces that it may change.
    pub(super) fn spaces(&self) -> Vec<SpaceId> {
        match self {
            Self::Import { space, .. }
            | Self::ImportTail { space, .. }
            | Self::Compare { space, .. }
            | Self::End { space, .. }
            | Self::Fill { space, .. } => vec![*space],
            // A removal may be told beside the offers.
            Self::Offers { offers, .. } => {
                let removals = offers
                    .iter()
                    .filter(|offer| removal_of(&offer.chain).is_some());
                let told = removals.filter_map(|offer| Descriptor::decode(&offer.descriptor).ok());
                told.map(|descriptor| descriptor.id()).collect()
            }
            Self::Common(_) | Self::SeenBy { .. } | Self::PeerHolds { .. } => Vec::new(),
        }
    }

    pub(crate) fn entries(&self) -> usize {
        match self {
            Self::Import { run, .. } => run.items().len(),
            Self::ImportTail { tail, .. } => tail.items().len(),
            _ => 1,
        }
    }

    /// Bytes as the session counts them.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Import { run, .. } => proto::session::run_bytes(run),
            _ => 0,
        }
    }
}

/// What became of a job.
pub(crate) enum JobResult {
    /// Of an import, a fork proof or a body.
    Feed {
        space: SpaceId,
        device: DeviceId,
        bytes: usize,
        refused: Option<Reject>,
        /// First new entry and how many.
        new: Option<(u64, u64)>,
        /// Feeds that a revocation among them cut.
        ended: Vec<DeviceId>,
    },
    Compared {
        space: SpaceId,
        overlap: (DeviceId, u64),
        result: Comparison,
    },
    OffersKept {
        rev: u64,
    },
    Done,
}

impl JobResult {
    pub(super) const fn refused(
        space: SpaceId,
        device: DeviceId,
        bytes: usize,
        reject: Reject,
    ) -> Self {
        Self::Feed {
            space,
            device,
            bytes,
            refused: Some(reject),
            new: None,
            ended: Vec::new(),
        }
    }
}
