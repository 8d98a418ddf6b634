//! What a node is started with. Reading files, arguments and the environment is the command's work.

use std::{fmt, net::SocketAddr, path::PathBuf, sync::Arc};

use links::bluetooth::radio::Radio;

use crate::view::LinkUse;

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
    /// Local networks are used, where the settings file says so or not; else as the person chose.
    pub lan: Option<bool>,
    /// When local networks are used, where the settings file says so; else as the person chose.
    pub lan_when: Option<LinkUse>,
    /// When the internet link is used, where the settings file says so; else as the person chose.
    pub internet_when: Option<LinkUse>,
    /// Bluetooth is used, where the settings file says so or not; else as the person chose.
    pub bluetooth: Option<bool>,
    /// When Bluetooth is used, where the settings file says so; else as the person chose.
    pub bluetooth_when: Option<LinkUse>,
    /// The adapter to use, where the settings file names one; else as the person chose.
    pub bluetooth_adapter: Option<String>,
    /// Where adapters come from.
    pub radios: Radios,
    /// URLs of relays to use instead of the public ones.
    pub relays: Vec<String>,
    /// Certificates (PEM) that vouch for these besides the well-known authorities.
    pub relay_ca: Vec<u8>,
    /// Addresses to bind; port 0 keeps the port that was given last time, where it is free.
    pub bind: Vec<SocketAddr>,
    /// The folder where the system lists batteries and chargers.
    pub power_supply: PathBuf,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            internet: Internet::Off,
            internet_fixed: false,
            lan: None,
            lan_when: None,
            internet_when: None,
            bluetooth: None,
            bluetooth_when: None,
            bluetooth_adapter: None,
            radios: Radios::default(),
            relays: Vec::new(),
            relay_ca: Vec::new(),
            power_supply: PathBuf::from("/sys/class/power_supply"),
            bind: vec![
                SocketAddr::from(([0, 0, 0, 0], 0)),
                SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 0)),
            ],
        }
    }
}

type OpenRadio = dyn Fn(Option<String>) -> Arc<dyn Radio> + Send + Sync;

/// Where Bluetooth adapters come from: the system, unless a test says otherwise.
#[derive(Clone)]
pub struct Radios(Option<Arc<OpenRadio>>);

impl Radios {
    /// From this function, which gets the name of the adapter that was chosen.
    pub fn of(open: impl Fn(Option<String>) -> Arc<dyn Radio> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(open)))
    }

    /// There are none.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// Whether there is anything to open.
    pub(crate) const fn are_built(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn open(&self, adapter: Option<String>) -> Option<Arc<dyn Radio>> {
        self.0.as_ref().map(|open| open(adapter))
    }
}

impl Default for Radios {
    fn default() -> Self {
        match links::bluetooth::system() {
            Some(open) => Self::of(open),
            None => Self::none(),
        }
    }
}

impl fmt::Debug for Radios {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Radios({})", self.are_built())
    }
}

/// Room that is kept free where the data folder lies, unless it is set otherwise: own posts for
/// years, and enough for the rest of a small computer to go on.
pub const FREE_MIN_BYTES: u64 = 64 * 1024 * 1024;

/// The disk below the data folder.
#[derive(Clone)]
pub struct StorageConfig {
    /// With less free, others' entries are left where they are until there is more again. 0 for
    /// no such bound.
    pub free_min_bytes: u64,
    /// Asked for the free bytes instead of the file system: for tests.
    pub free: Option<store::Free>,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            free_min_bytes: FREE_MIN_BYTES,
            free: None,
        }
    }
}

impl fmt::Debug for StorageConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StorageConfig({} bytes free)", self.free_min_bytes)
    }
}

/// How to start a node.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder that holds everything; made with mode 0700 where it is missing.
    pub data_dir: PathBuf,
    /// The links.
    pub links: LinkConfig,
    /// The disk.
    pub storage: StorageConfig,
}
