//! Connections, how far they are, and the meetings that there were.

use engine::view;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{LinkKind, Person};

/// When a link that is switched on is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LinkUse {
    /// Always.
    Always,
    /// While the machine charges, or where it has no battery.
    Charging,
    /// Nobody is called over it but by hand; contacts who call are answered.
    ByHand,
}

impl From<view::LinkUse> for LinkUse {
    fn from(when: view::LinkUse) -> Self {
        match when {
            view::LinkUse::Always => Self::Always,
            view::LinkUse::Charging => Self::Charging,
            view::LinkUse::ByHand => Self::ByHand,
        }
    }
}

impl From<LinkUse> for view::LinkUse {
    fn from(when: LinkUse) -> Self {
        match when {
            LinkUse::Always => Self::Always,
            LinkUse::Charging => Self::Charging,
            LinkUse::ByHand => Self::ByHand,
        }
    }
}

/// What went to and fro.
#[derive(Serialize, ToSchema)]
pub(crate) struct Exchanged {
    /// Entries received.
    pub(crate) entries_in: u64,
    /// Entries sent.
    pub(crate) entries_out: u64,
    /// Bytes received.
    pub(crate) bytes_in: u64,
    /// Bytes sent.
    pub(crate) bytes_out: u64,
}

impl From<view::Exchanged> for Exchanged {
    fn from(exchanged: view::Exchanged) -> Self {
        Self {
            entries_in: exchanged.entries_in,
            entries_out: exchanged.entries_out,
            bytes_in: exchanged.bytes_in,
            bytes_out: exchanged.bytes_out,
        }
    }
}

/// A connection as it is now.
#[derive(Serialize, ToSchema)]
pub(crate) struct Connection {
    /// The link in use.
    pub(crate) link: LinkKind,
    /// Since when over this link.
    pub(crate) link_since_ms: u64,
    /// Since when at all.
    pub(crate) since_ms: u64,
    /// Round trip in microseconds.
    pub(crate) rtt_us: u64,
    /// Whether this node called.
    pub(crate) dialed: bool,
    /// What went to and fro in this meeting.
    pub(crate) exchanged: Exchanged,
}

impl From<view::Connected> for Connection {
    fn from(connected: view::Connected) -> Self {
        Self {
            link: connected.link.into(),
            link_since_ms: connected.link_since_ms.0,
            since_ms: connected.since_ms.0,
            rtt_us: connected.rtt_us,
            dialed: connected.dialed,
            exchanged: connected.exchanged.into(),
        }
    }
}

/// Entries of the common spaces, and how fast what is missing comes.
#[derive(Serialize, ToSchema)]
pub(crate) struct Behind {
    /// Those that we have.
    pub(crate) have: u64,
    /// Those that they have and we lack.
    pub(crate) want: u64,
    /// Those that came since this catch-up began; 0 where there is none or it takes less than a second.
    pub(crate) got: u64,
    /// Entries a second, smoothed; 0 where nothing comes.
    pub(crate) per_s: u64,
    /// Seconds that are left at this rate; null where there is nothing to say or nobody knows.
    pub(crate) left_s: Option<u64>,
}

impl From<view::Behind> for Behind {
    fn from(behind: view::Behind) -> Self {
        Self {
            have: behind.have,
            want: behind.want,
            got: behind.pace.map_or(0, |pace| pace.got),
            per_s: behind.pace.map_or(0, |pace| pace.per_s),
            left_s: behind.pace.and_then(|pace| pace.left_s),
        }
    }
}

/// How a meeting ended.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MeetingEnd {
    /// The connection broke off.
    Lost,
    /// The other side ended it in good order.
    Theirs,
    /// This side did.
    Ours,
    /// Another connection with the same device took its place.
    Replaced,
    /// The other side broke the protocol.
    Misbehaved,
    /// This node's disk failed or was full.
    Disk,
}

/// A meeting that ended. Only this machine knows of it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Meeting {
    /// With whom.
    pub(crate) contact: Person,
    /// When it began.
    pub(crate) began_ms: u64,
    /// When it ended.
    pub(crate) ended_ms: u64,
    /// How long it lasted.
    pub(crate) lasted_ms: u64,
    /// Over which links, in the order in which they came into use.
    pub(crate) links: Vec<LinkKind>,
    /// Whether this node called.
    pub(crate) dialed: bool,
    /// What went to and fro.
    pub(crate) exchanged: Exchanged,
    /// How it ended.
    pub(crate) end: MeetingEnd,
}

impl From<view::Meeting> for Meeting {
    fn from(meeting: view::Meeting) -> Self {
        Self {
            contact: meeting.contact.into(),
            began_ms: meeting.began_ms.0,
            ended_ms: meeting.ended_ms.0,
            lasted_ms: meeting.lasted_ms,
            links: meeting.links.into_iter().map(LinkKind::from).collect(),
            dialed: meeting.dialed,
            exchanged: meeting.exchanged.into(),
            end: match meeting.end {
                view::MeetingEnd::Lost => MeetingEnd::Lost,
                view::MeetingEnd::Theirs => MeetingEnd::Theirs,
                view::MeetingEnd::Ours => MeetingEnd::Ours,
                view::MeetingEnd::Replaced => MeetingEnd::Replaced,
                view::MeetingEnd::Misbehaved => MeetingEnd::Misbehaved,
                view::MeetingEnd::Disk => MeetingEnd::Disk,
            },
        }
    }
}
