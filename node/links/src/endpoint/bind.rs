//! Opening an iroh endpoint with our choices: no lookup service, no port mapping, relays only if
//! asked for, and QUIC's windows bounded.

use std::{
    io::ErrorKind,
    net::{SocketAddr, UdpSocket},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use iroh::{
    Endpoint, NetReportConfig, RelayMode, RelayUrl,
    endpoint::{
        BindOpts, Builder, IdleTimeout, PortmapperConfig, QuicTransportConfig, VarInt,
        presets::Empty,
    },
    tls::CaTlsConfig,
};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use super::{Error, preference::Preference};
use crate::{
    Config, EndpointSecret, Internet, Protocol, admission::Door, crypto, gate::Gate,
    room::SEND_WINDOW_BYTES, streams,
};

/// Silence between keep-alives.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Silence after which a connection is given up: three keep-alives.
const IDLE_MS: u32 = 15_000;
/// Bytes that one stream's receiver buffers unread; the connection's window is below it.
const STREAM_WINDOW_BYTES: u32 = 512 * 1024;
/// Bytes that a connection's receiver buffers unread over all its streams: what a peer can make
/// QUIC hold. The longest frame of a meet fits. At a round trip of 2 ms this carries 40 MB/s; a
/// meeting that receives much gets [`crate::room::LARGE_WINDOW_BYTES`].
const CONNECTION_WINDOW_BYTES: u32 = 80 * 1024;
/// Bidirectional streams at once: the control stream of a meeting, or a meet's only stream.
const BIDI_STREAMS_MAX: u32 = 1;
/// The network part of a second address of one family, in bits: a guess that fits home networks,
/// and only decides from which socket a first packet leaves.
const PREFIX_BITS_V4: u8 = 24;
const PREFIX_BITS_V6: u8 = 64;

pub(super) async fn open(
    config: &Config,
    secret: &EndpointSecret,
    gate: Gate,
) -> Result<Endpoint, Error> {
    let addrs = usable(&config.bind)?;
    let (door, live) = (gate.door, gate.live.clone());
    let mut builder = Endpoint::builder(Empty)
        .secret_key(secret.key())
        .alpns(Protocol::ALL.iter().map(|p| p.alpn().to_vec()).collect())
        .crypto_provider(crypto::provider())
        .transport_config(transport())
        .relay_mode(relays(config)?)
        .ca_tls_config(authorities(&config.relay_ca)?)
        .net_report_config(net_report(config))
        .portmapper_config(PortmapperConfig::Disabled)
        .hooks(gate)
        .path_selector(Arc::new(Preference::new(config.reach)))
        .clear_ip_transports();
    // Also where there is no adapter yet. A many-use invite is dialled by addresses alone.
    if let Some(bluetooth) = config
        .bluetooth
        .as_ref()
        .filter(|_| door != Door::Temporary)
    {
        builder = builder.add_custom_transport(bluetooth.transport(door, &live));
    }
    let endpoint = with_addrs(builder, &addrs)?
        .bind()
        .await
        .map_err(|error| Error::Endpoint(format!("{error:#}")))?;
    Ok(endpoint)
}

fn transport() -> QuicTransportConfig {
    QuicTransportConfig::builder()
        .keep_alive_interval(KEEP_ALIVE)
        .default_path_keep_alive_interval(KEEP_ALIVE)
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_MS))))
        .default_path_max_idle_timeout(Duration::from_millis(u64::from(IDLE_MS)))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES as u64)
        .max_concurrent_bidi_streams(VarInt::from_u32(BIDI_STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(streams::QUIC_LANES_MAX))
        .datagram_receive_buffer_size(None)
        .build()
}

fn relays(config: &Config) -> Result<RelayMode, Error> {
    if config.reach.internet != Internet::Relay {
        return Ok(RelayMode::Disabled);
    }
    if config.relays.is_empty() {
        return Ok(RelayMode::Default);
    }
    let urls = config
        .relays
        .iter()
        .map(|url| {
            RelayUrl::from_str(url).map_err(|_| Error::RelayUrl {
                found: url.chars().take(200).collect(),
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(RelayMode::custom(urls))
}

/// Where a network lets no UDP out, only HTTPS finds a relay, and that is where one is needed most.
/// Without relays nothing is asked.
fn net_report(config: &Config) -> NetReportConfig {
    let mut report = NetReportConfig::minimal();
    report.https_probes = config.reach.internet == Internet::Relay;
    report
}

/// Who vouches for relays: the well-known authorities, and those that the person named.
fn authorities(pem: &[u8]) -> Result<CaTlsConfig, Error> {
    if pem.is_empty() {
        return Ok(CaTlsConfig::embedded());
    }
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Error::RelayCa(error.to_string()))?;
    if found.is_empty() {
        return Err(Error::RelayCa("found none".to_owned()));
    }
    let mut known = RootCertStore::empty();
    for certificate in &found {
        known
            .add(certificate.clone())
            .map_err(|error| Error::RelayCa(error.to_string()))?;
    }
    Ok(CaTlsConfig::embedded().with_extra_roots(found))
}

fn with_addrs(mut builder: Builder, addrs: &[SocketAddr]) -> Result<Builder, Error> {
    let (mut v4, mut v6) = (0, 0);
    for addr in addrs {
        let (count, bits) = match addr {
            SocketAddr::V4(_) => (&mut v4, PREFIX_BITS_V4),
            SocketAddr::V6(_) => (&mut v6, PREFIX_BITS_V6),
        };
        let opts = if *count == 0 {
            BindOpts::default()
        } else {
            BindOpts::default()
                .set_prefix_len(bits)
                .set_is_default_route(false)
        };
        *count += 1;
        builder = builder
            .bind_addr_with_opts(*addr, opts)
            .map_err(|error| Error::Endpoint(format!("{error:#}")))?;
    }
    Ok(builder)
}

/// The addresses that can be bound now, each tried on its own: a busy port becomes 0, an address
/// that this machine lacks is left out.
fn usable(addrs: &[SocketAddr]) -> Result<Vec<SocketAddr>, Error> {
    let mut usable = Vec::new();
    let mut last = None;
    for addr in addrs {
        match try_bind(*addr) {
            Ok(addr) => usable.push(addr),
            Err(error) => {
                tracing::debug!(ip = %addr.ip(), %error, "address left out");
                last = Some(error);
            }
        }
    }
    match (usable.is_empty(), last) {
        (false, _) => Ok(usable),
        (true, None) => Err(Error::NoBindAddress),
        (true, Some(source)) => Err(Error::Bind {
            addrs: addrs.to_vec(),
            source,
        }),
    }
}

fn try_bind(mut addr: SocketAddr) -> std::io::Result<SocketAddr> {
    match UdpSocket::bind(addr) {
        Ok(_) => Ok(addr),
        Err(error) if error.kind() == ErrorKind::AddrInUse && addr.port() != 0 => {
            addr.set_port(0);
            UdpSocket::bind(addr).map(|_| addr)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_vouches_for_relays_is_certificates() {
        assert!(authorities(b"").is_ok());
        let pem = include_bytes!("../../../../tests/fixtures/relay/authority.pem");
        assert!(authorities(pem).is_ok());
        for bad in [
            &b"no certificate"[..],
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            &pem[..pem.len() / 2],
        ] {
            assert!(matches!(authorities(bad), Err(Error::RelayCa(_))));
        }
    }

    #[test]
    fn a_busy_port_is_replaced_and_a_foreign_address_left_out() {
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let busy = taken.local_addr().unwrap();
        // 192.0.2.0/24 is for documentation (RFC 5737): no machine has it.
        let foreign = addr("192.0.2.1:0");
        assert_eq!(
            usable(&[foreign, busy]).unwrap(),
            [addr("127.0.0.1:0")],
            "the port gives way, the address stays"
        );
        drop(taken);
        assert_eq!(usable(&[busy]).unwrap(), [busy]);
        assert!(matches!(usable(&[foreign]), Err(Error::Bind { .. })));
        assert!(matches!(usable(&[]), Err(Error::NoBindAddress)));
    }
}
