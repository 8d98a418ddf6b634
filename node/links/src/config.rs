//! What the endpoint is opened with.

use std::{fmt, net::SocketAddr};

use zeroize::Zeroizing;

use crate::Bluetooth;

/// The secret half of an endpoint's key. Erased on drop; it has no readable Debug.
#[derive(Clone)]
pub struct EndpointSecret(Zeroizing<[u8; 32]>);

impl EndpointSecret {
    /// Takes the 32 bytes of an Ed25519 secret key.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The public half: what others dial.
    #[must_use]
    pub fn id(&self) -> proto::EndpointId {
        proto::EndpointId(*self.key().public().as_bytes())
    }

    pub(crate) fn key(&self) -> iroh_base::SecretKey {
        iroh_base::SecretKey::from_bytes(&self.0)
    }
}

impl fmt::Debug for EndpointSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EndpointSecret(..)")
    }
}

/// Whether and how the internet is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Internet {
    /// Not at all: only loopback, private and link-local addresses are dialled.
    #[default]
    Off,
    /// Direct connections to any unicast address.
    Direct,
    /// Direct connections, and relays where these fail.
    Relay,
}

/// Which addresses are in reach. Those of the same machine always are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// Whether and how the internet is used.
    pub internet: Internet,
    /// Whether local networks are used.
    pub lan: bool,
}

impl From<Internet> for Reach {
    fn from(internet: Internet) -> Self {
        Self {
            internet,
            lan: true,
        }
    }
}

/// How to open the endpoint.
#[derive(Debug, Clone)]
pub struct Config {
    /// The endpoint's key.
    pub secret: EndpointSecret,
    /// Addresses to bind, each on its own. A port that is busy is replaced by one that the
    /// system chooses; an address that this machine lacks is left out if another works.
    pub bind: Vec<SocketAddr>,
    /// Which addresses are dialled and answered.
    pub reach: Reach,
    /// Relay URLs to use instead of the public ones, with [`Internet::Relay`].
    pub relays: Vec<String>,
    /// Certificates (PEM) that vouch for a relay besides the well-known authorities; empty for none.
    pub relay_ca: Vec<u8>,
    /// Channels over Bluetooth, used as another way beside the addresses.
    pub bluetooth: Option<Bluetooth>,
}
