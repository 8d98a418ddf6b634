//! The protocols that a connection can speak, and why one ends.

use std::fmt;

use iroh::endpoint::{ConnectionError, VarInt};

/// What a connection is for. Each has its own ALPN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Adding a contact: the only one that a stranger can use, through an open invite.
    Meet,
    /// A meeting of two contacts' devices.
    Sync,
    /// Live hints between two contacts' devices.
    Gossip,
}

impl Protocol {
    /// Every protocol, in the order in which the endpoint offers them.
    pub const ALL: [Self; 3] = [Self::Sync, Self::Gossip, Self::Meet];

    /// The protocol's name in the TLS handshake.
    #[must_use]
    pub const fn alpn(self) -> &'static [u8] {
        match self {
            Self::Meet => b"waymeet/meet/1",
            Self::Sync => b"waymeet/sync/1",
            Self::Gossip => iroh_gossip::ALPN,
        }
    }

    /// The protocol that a handshake agreed on.
    #[must_use]
    pub fn from_alpn(alpn: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.alpn() == alpn)
    }
}

/// Who began a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// We dialled.
    Dialer,
    /// They dialled.
    Acceptor,
}

/// Why an application closed a connection; the numbers are part of the wire protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseCode {
    /// Nobody held the connection any longer.
    Dropped,
    /// Both had what they came for.
    Done,
    /// The remote may not connect. A removed contact and a stranger get the same answer.
    Refused,
    /// Too many connections, or nobody had time.
    Busy,
    /// The key exchange was not the post-quantum hybrid.
    NotHybrid,
    /// The remote broke the protocol.
    Misbehaved,
    /// A newer connection for the same purpose took this one's place.
    Superseded,
    /// The node stops.
    Shutdown,
    /// A code that this version doesn't know.
    Other(u32),
}

impl CloseCode {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u32 {
        match self {
            Self::Dropped => 0,
            Self::Done => 1,
            Self::Refused => 2,
            Self::Busy => 3,
            Self::NotHybrid => 4,
            Self::Misbehaved => 5,
            Self::Superseded => 6,
            Self::Shutdown => 7,
            Self::Other(code) => code,
        }
    }

    /// The meaning of a number from the wire; larger than 32 bits counts as the largest.
    #[must_use]
    pub fn from_code(code: u64) -> Self {
        match code {
            0 => Self::Dropped,
            1 => Self::Done,
            2 => Self::Refused,
            3 => Self::Busy,
            4 => Self::NotHybrid,
            5 => Self::Misbehaved,
            6 => Self::Superseded,
            7 => Self::Shutdown,
            other => Self::Other(u32::try_from(other).unwrap_or(u32::MAX)),
        }
    }

    pub(crate) fn varint(self) -> VarInt {
        VarInt::from_u32(self.code())
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dropped => "no longer needed",
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Busy => "busy",
            Self::NotHybrid => "key exchange is not post-quantum",
            Self::Misbehaved => "protocol violation",
            Self::Superseded => "replaced by a newer connection",
            Self::Shutdown => "shutting down",
            Self::Other(code) => return write!(f, "code {code}"),
        })
    }
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// We closed it.
    #[error("closed here")]
    Local,
    /// The remote application closed it.
    #[error("closed by the other side: {0}")]
    Remote(CloseCode),
    /// Nothing was heard for the idle timeout.
    #[error("connection timed out")]
    TimedOut,
    /// The remote lost its state, usually because it started anew.
    #[error("the other side forgot the connection")]
    Reset,
    /// The transport gave up.
    #[error("transport failed: {0}")]
    Transport(String),
}

impl From<ConnectionError> for CloseReason {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::LocallyClosed => Self::Local,
            ConnectionError::ApplicationClosed(close) => {
                Self::Remote(CloseCode::from_code(close.error_code.into_inner()))
            }
            ConnectionError::TimedOut => Self::TimedOut,
            ConnectionError::Reset => Self::Reset,
            other => Self::Transport(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_codes_and_alpns_round_trip() {
        for number in 0..10 {
            assert_eq!(u64::from(CloseCode::from_code(number).code()), number);
        }
        assert_eq!(CloseCode::from_code(u64::MAX), CloseCode::Other(u32::MAX));
        for protocol in Protocol::ALL {
            assert_eq!(Protocol::from_alpn(protocol.alpn()), Some(protocol));
        }
        assert_eq!(Protocol::from_alpn(b"waymeet/sync/2"), None);
    }
}
