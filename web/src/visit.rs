//! How a request came in: by which of our listeners, and from which address.
//!
//! The server knows and says so; a header can't. What depends on it: which names are ours, whether a
//! password is asked for, whether the API answers, and which sessions count.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use axum::{extract::FromRequestParts, http::request::Parts};
use serde::{Deserialize, Serialize};

use crate::App;

/// One of our listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// On the loopback interface: somebody on this machine, or a tunnel or proxy that ends here.
    Loopback,
    /// At an address of this machine on a network.
    Lan {
        /// The address that was called.
        at: SocketAddr,
        /// Whether the connection is encrypted.
        tls: bool,
    },
    /// At such an address, without encryption where encryption is expected.
    Unencrypted {
        /// The address that was called.
        at: SocketAddr,
    },
}

/// What sessions and links are bound to, so that a secret which crossed a network in the clear opens
/// nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Place {
    /// This machine.
    Here,
    /// The network, in the clear.
    Lan,
    /// The network, encrypted.
    LanTls,
}

/// How a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Visit {
    /// By which listener.
    pub(crate) door: Door,
    /// From where.
    pub(crate) from: IpAddr,
}

impl Visit {
    /// From this machine.
    pub(crate) const fn here() -> Self {
        Self {
            door: Door::Loopback,
            from: IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }

    /// Whether it came from this machine.
    pub(crate) fn is_here(&self) -> bool {
        self.door == Door::Loopback
    }

    /// What a session that begins with this request is bound to.
    pub(crate) const fn place(&self) -> Place {
        match self.door {
            Door::Loopback => Place::Here,
            Door::Lan { tls: true, .. } => Place::LanTls,
            Door::Lan { tls: false, .. } | Door::Unencrypted { .. } => Place::Lan,
        }
    }

    /// Whether `origin` is the page that `host` served by this door. On loopback a proxy may stand
    /// before us, so there either scheme counts.
    pub(crate) fn is_own_origin(&self, origin: &str, host: &str) -> bool {
        let is = |scheme: &str| origin.strip_prefix(scheme) == Some(host);
        match self.place() {
            Place::Here => is("http://") || is("https://"),
            Place::Lan => is("http://"),
            Place::LanTls => is("https://"),
        }
    }
}

impl FromRequestParts<Arc<App>> for Visit {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Infallible> {
        // The guard lets no request pass that has none.
        Ok(parts.extensions.get().copied().unwrap_or(Self::here()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_ours_only_as_a_whole_and_by_its_scheme() {
        let at = "10.1.0.1:7340".parse().unwrap();
        let by = |door| Visit {
            door,
            from: Ipv4Addr::LOCALHOST.into(),
        };
        let (here, plain, tls) = (
            Visit::here(),
            by(Door::Lan { at, tls: false }),
            by(Door::Lan { at, tls: true }),
        );
        let host = "10.1.0.1:7340";
        assert!(here.is_own_origin("http://10.1.0.1:7340", host));
        assert!(here.is_own_origin("https://10.1.0.1:7340", host));
        assert!(plain.is_own_origin("http://10.1.0.1:7340", host));
        assert!(!plain.is_own_origin("https://10.1.0.1:7340", host));
        assert!(tls.is_own_origin("https://10.1.0.1:7340", host));
        assert!(!tls.is_own_origin("http://10.1.0.1:7340", host));
        for bad in [
            "null",
            "",
            "http://10.1.0.1:7341",
            "http://10.1.0.1:7340.evil.com",
            "10.1.0.1:7340",
            "http://",
        ] {
            for visit in [here, plain, tls] {
                assert!(!visit.is_own_origin(bad, host), "{bad}");
            }
        }
    }
}
