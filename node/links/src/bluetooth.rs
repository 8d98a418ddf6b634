//! Bluetooth: nodes in radio range with no network between them.
//!
//! QUIC's datagrams travel over LE L2CAP connection-oriented channels (Bluetooth Core 5.4, volume 3
//! part A, section 10), one a frame, as a transport of the same endpoint: admission, sync and gossip
//! don't know of it. What the hardware has to do stands behind [`radio::Radio`].

#[cfg(all(feature = "bluetooth", target_os = "linux"))]
pub mod bluez;
pub mod radio;
