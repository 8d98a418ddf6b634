//! The dashboard's address, as people write it.

use std::net::SocketAddr;

/// Where the dashboard listens when nobody says otherwise.
pub(crate) const DEFAULT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7340);

/// Reads an address of this machine's loopback interface.
pub(crate) fn parse(text: &str) -> Result<SocketAddr, String> {
    let addr: SocketAddr = text.parse().map_err(|_| {
        format!("expected an address with a port such as {DEFAULT}, found {text:?}")
    })?;
    if addr.ip().is_loopback() {
        Ok(addr)
    } else {
        Err(format!(
            "expected a loopback address such as {DEFAULT}, found {addr}: \
             this version shows its dashboard to this machine only"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_addresses_with_a_port_are_taken() {
        for good in [
            "127.0.0.1:7340",
            "127.0.0.1:0",
            "127.9.9.9:80",
            "[::1]:7340",
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "7340",
            "127.0.0.1",
            "localhost:7340",
            "0.0.0.0:7340",
            "[::]:0",
            "192.168.1.4:80",
            "127.0.0.1:99999",
        ] {
            let error = parse(bad).unwrap_err();
            assert!(error.contains("127.0.0.1:7340"), "{bad}: {error}");
        }
    }
}
