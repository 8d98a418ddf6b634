//! What a Bluetooth adapter does for us, and nothing of what it is used for.
//!
//! BlueZ is behind it in the program and a simulated room full of radios in the tests. A radio never
//! fails to start: what is wrong with it is a [`State`], and it recovers by itself.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::{mpsc, watch};

/// The service under which nodes announce themselves, of 128 bits.
pub const SERVICE: &str = "6ce750e1-403c-4ee1-a162-2e6f49404318";
/// Bytes that an announcement carries: what a legacy advertisement of 31 bytes has left beside its
/// flags and a service of 128 bits (Bluetooth Core Supplement, part A, 1.11).
pub const ANNOUNCED_BYTES: usize = 10;
/// Bytes of the longest frame, both ways: QUIC's datagrams of 1,200 bytes and more fit with ours.
pub const FRAME_BYTES_MAX: usize = 2_048;

/// Where a device was heard or connects from. Many adapters change it every quarter of an hour.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The most significant byte first, as people write it.
    pub bytes: [u8; 6],
    /// Whether it is a random one, private or static, instead of the one that the maker gave.
    pub random: bool,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.bytes;
        let kind = if self.random { "random" } else { "public" };
        write!(
            f,
            "{a:02X}:{b:02X}:{c:02X}:{d:02X}:{e:02X}:{g:02X} ({kind})"
        )
    }
}

/// An announcement that was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// Who sent it, as far as the air tells.
    pub from: Address,
    /// What it carries: anybody can send anything.
    pub bytes: [u8; ANNOUNCED_BYTES],
}

/// How much the radio listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Listening {
    /// Not at all.
    #[default]
    Off,
    /// For a short while now and then: what a battery bears all day.
    Spare,
    /// All the time, for the seconds in which somebody is expected.
    Eager,
}

/// What can be said of the adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nothing is known yet.
    Starting,
    /// Ready for use.
    Ready(Adapter),
    /// The machine has no adapter, or not the one that was asked for.
    NoAdapter,
    /// The machine runs no Bluetooth service (bluetoothd), or no system bus.
    NoService,
    /// The system doesn't let this program use Bluetooth.
    Refused,
    /// Switched off by a switch or by `rfkill`.
    Blocked,
    /// There, but powered off.
    PoweredOff,
    /// There, but what is needed doesn't work: said in a few words.
    Unusable(String),
}

/// An adapter in use.
#[derive(Clone, PartialEq, Eq)]
pub struct Adapter {
    /// The system's name for it, such as `hci0`.
    pub name: String,
    /// Its own address, where it can be told.
    pub address: Option<Address>,
    /// Whether its address on the air changes (LE privacy), so that nobody can follow it.
    pub private: bool,
    /// The other adapters that could be chosen.
    pub others: Vec<String>,
}

impl fmt::Debug for Adapter {
    /// Without the address, by which the machine would be known again: this goes to logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adapter")
            .field("name", &self.name)
            .field("private", &self.private)
            .field("others", &self.others)
            .finish_non_exhaustive()
    }
}

/// A connection to another radio that keeps the boundaries of frames and their order.
pub trait Channel: fmt::Debug + Send + Sync + 'static {
    /// Who is at the other end.
    fn remote(&self) -> Address;
    /// Sends one frame of at most [`FRAME_BYTES_MAX`] bytes, or waits: the other side gives credits.
    ///
    /// # Errors
    /// What the system says; the channel is over then.
    fn poll_send(&self, cx: &mut Context<'_>, frame: &[u8]) -> Poll<io::Result<()>>;
    /// Receives one frame and says how long it is; 0 means that the other side closed.
    ///
    /// # Errors
    /// What the system says; the channel is over then.
    fn poll_recv(&self, cx: &mut Context<'_>, frame: &mut [u8]) -> Poll<io::Result<usize>>;
}

/// A connecting channel.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<Arc<dyn Channel>>> + Send>>;

/// An adapter. Dropping it ends what it does on the air.
pub trait Radio: fmt::Debug + Send + Sync + 'static {
    /// How it is doing, now and from now on.
    fn state(&self) -> watch::Receiver<State>;
    /// The port (LE PSM, 0x80 to 0xFF) at which others connect, once it listens: it is announced.
    fn port(&self) -> Option<u8>;
    /// What is on the air from now on, also after the adapter went and came back; nothing at all
    /// where there is none. Each change takes a new random address where the adapter can.
    fn announce(&self, bytes: Option<[u8; ANNOUNCED_BYTES]>);
    /// How much it listens from now on.
    fn listen(&self, how: Listening);
    /// Announcements as they are heard, each at most once a second and bounded in number: the oldest
    /// are dropped. Taken once.
    fn heard(&self) -> Option<mpsc::Receiver<Heard>>;
    /// Channels that others opened, bounded in number. Taken once.
    fn arrivals(&self) -> Option<mpsc::Receiver<Arc<dyn Channel>>>;
    /// Connects to the port of a device that was heard; gives up by itself within ten seconds.
    fn connect(&self, to: Address, port: u8) -> Connecting;
}
