//! What can go wrong when an endpoint opens or dials.

use std::net::SocketAddr;

use iroh::endpoint::{ConnectError, ConnectWithOptsError, ConnectingError};

use crate::{CloseCode, CloseReason, Refusal};

/// The endpoint could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing to bind was given.
    #[error("expected at least one address to bind, found none")]
    NoBindAddress,
    /// None of the addresses could be bound.
    #[error("expected to bind one of {addrs:?}, the last one failed: {source}")]
    Bind {
        /// The addresses that were tried.
        addrs: Vec<SocketAddr>,
        /// Why the last one failed.
        source: std::io::Error,
    },
    /// A relay URL is none.
    #[error("expected a relay URL such as https://relay.example.org, found {found:?}")]
    RelayUrl {
        /// What was given.
        found: String,
    },
    /// What should vouch for relays is no certificate.
    #[error("expected certificates in PEM form that vouch for relays: {0}")]
    RelayCa(String),
    /// The endpoint was shut down.
    #[error("the endpoint is closed")]
    Closed,
    /// iroh failed to start.
    #[error("the endpoint could not start: {0}")]
    Endpoint(String),
}

/// A dial failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// Our own rules forbid it, before or after the handshake.
    #[error("not dialled: {0}")]
    NotAllowed(Refusal),
    /// The id is no public key.
    #[error("expected the public key of an endpoint, found 32 bytes that are none")]
    NotAnId,
    /// The id is our own.
    #[error("expected another endpoint, found our own")]
    Oneself,
    /// No address can be dialled with the internet link as it is.
    #[error("expected an address that may be dialled, found none among {given}")]
    NoAddress {
        /// How many addresses and relays were given.
        given: usize,
    },
    /// Nobody answered in time.
    #[error("no answer within {} s", super::DIAL_WAIT.as_secs())]
    TimedOut,
    /// The other side closed the connection.
    #[error("the other side answered: {0}")]
    Refused(CloseCode),
    /// Our endpoint is closed.
    #[error("the endpoint is closed")]
    Closed,
    /// The handshake or the transport failed.
    #[error("the connection failed: {0}")]
    Failed(String),
}

impl From<ConnectError> for DialError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Connect { source, .. } => source.into(),
            ConnectError::Connecting {
                source: ConnectingError::ConnectionError { source, .. },
                ..
            }
            | ConnectError::Connection { source, .. } => CloseReason::from(source).into(),
            ConnectError::Connecting { source, .. } => Self::Failed(source.to_string()),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<ConnectWithOptsError> for DialError {
    fn from(error: ConnectWithOptsError) -> Self {
        match error {
            ConnectWithOptsError::SelfConnect { .. } => Self::Oneself,
            ConnectWithOptsError::NoAddress { .. } => Self::NoAddress { given: 0 },
            ConnectWithOptsError::EndpointClosed { .. } => Self::Closed,
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<CloseReason> for DialError {
    fn from(reason: CloseReason) -> Self {
        match reason {
            CloseReason::Remote(code) => Self::Refused(code),
            CloseReason::TimedOut => Self::TimedOut,
            CloseReason::Local => Self::Closed,
            other => Self::Failed(other.to_string()),
        }
    }
}
