//! What a node is started with. Reading files, arguments and the environment is the command's work.

use std::{net::SocketAddr, path::PathBuf};

/// Whether and how the internet is used to reach contacts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Internet {
    /// Not at all: nothing outside the local network is asked or told anything.
    #[default]
    Off,
    /// Direct connections only.
    Direct,
    /// Direct connections, and relays where these fail.
    Relay,
}

/// The links of a node.
#[derive(Debug, Clone)]
pub struct LinkConfig {
    /// The internet link.
    pub internet: Internet,
    /// The settings file names the internet link: it wins over what was chosen in the dashboard, which can't change it.
    pub internet_fixed: bool,
    /// URLs of relays to use instead of the public ones.
    pub relays: Vec<String>,
    /// Addresses to bind; port 0 keeps the port that was given last time, where it is free.
    pub bind: Vec<SocketAddr>,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            internet: Internet::Off,
            internet_fixed: false,
            relays: Vec::new(),
            bind: vec![
                SocketAddr::from(([0, 0, 0, 0], 0)),
                SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 0)),
            ],
        }
    }
}

/// How to start a node.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder that holds everything; made with mode 0700 where it is missing.
    pub data_dir: PathBuf,
    /// The links.
    pub links: LinkConfig,
}
