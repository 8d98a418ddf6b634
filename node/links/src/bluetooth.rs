//! Bluetooth: nodes in radio range with no network between them.
//!
//! QUIC's datagrams travel over LE L2CAP connection-oriented channels (Bluetooth Core 5.4, volume 3
//! part A, section 10), one a frame, as a transport of the same endpoint: admission, sync and gossip
//! don't know of it. Enter at [`Bluetooth`], which keeps the channels; the handshake before the first
//! datagram and the frames are [`proto::bluetooth`]'s, and what the hardware has to do stands behind
//! [`radio::Radio`]. Whose announcement was heard, and who is dialled, is the caller's business.

#[cfg(all(feature = "bluetooth", target_os = "linux"))]
pub mod bluez;
mod channel;
mod doorstep;
mod greeting;
mod hub;
pub mod radio;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
#[cfg(test)]
mod tests;
mod transport;

pub use self::{
    channel::{IDLE, QUEUE_FRAMES_MAX, STUCK},
    greeting::GREETING_WAIT,
    hub::{Bluetooth, CHANNELS_MAX, Counts, OpenError},
};
pub(crate) use transport::is_ours;

/// Opens an adapter by the system's name for it, or the one that is there.
pub type OpenRadio = fn(Option<String>) -> std::sync::Arc<dyn radio::Radio>;

/// Where this system's adapters come from; nothing where this build has no Bluetooth.
#[must_use]
pub const fn system() -> Option<OpenRadio> {
    #[cfg(all(feature = "bluetooth", target_os = "linux"))]
    let open: Option<OpenRadio> = Some(bluez::open);
    #[cfg(not(all(feature = "bluetooth", target_os = "linux")))]
    let open: Option<OpenRadio> = None;
    open
}
