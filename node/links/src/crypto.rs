//! The key exchange: the hybrid is offered first, and what was negotiated is read back.
//!
//! X25519MLKEM768 is the hybrid of draft-ietf-tls-ecdhe-mlkem. Plain X25519 stays on offer
//! because iroh shares this provider with its TLS to relays, which may not know the hybrid; a
//! connection between endpoints that negotiated it is closed (see [`crate::gate`]).

use std::sync::Arc;

use noq_proto::crypto::rustls::HandshakeData;
use rustls::{
    NamedGroup,
    crypto::{
        CryptoProvider,
        aws_lc_rs::{self, kx_group},
    },
};

/// The only key exchange that a connection between endpoints may use.
pub(crate) const HYBRID: NamedGroup = NamedGroup::X25519MLKEM768;

pub(crate) fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![kx_group::X25519MLKEM768, kx_group::X25519];
    Arc::new(provider)
}

/// The negotiated group. `None` if it cannot be read, which callers treat as not the hybrid.
pub(crate) fn negotiated_group(conn: &iroh::endpoint::Connection) -> Option<NamedGroup> {
    conn.handshake_data()?
        .downcast::<HandshakeData>()
        .ok()?
        .negotiated_key_exchange_group
}

/// A group's name as IANA registers it.
pub(crate) fn group_name(group: Option<NamedGroup>) -> &'static str {
    match group {
        Some(NamedGroup::X25519MLKEM768) => "X25519MLKEM768",
        Some(NamedGroup::X25519) => "x25519",
        Some(NamedGroup::secp256r1) => "secp256r1",
        Some(NamedGroup::secp384r1) => "secp384r1",
        Some(_) => "another group",
        None => "unknown",
    }
}
