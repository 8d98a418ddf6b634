//! How two devices reach each other: the endpoint, who may connect, live hints, byte streams.
//!
//! Enter at [`Links::bind`], which opens the endpoint and hands out every connection that was
//! admitted as an [`Arrival`]. [`Admission`] is the one place that decides who may connect. A
//! sync connection becomes frames through [`MeetingStreams`], a meet connection through
//! [`MeetStream`], and [`Links::pair_topic`] carries live hints between two devices.
//!
//! This crate moves bytes. It refuses to know what they mean: no entry, space, contact or
//! message of the sync protocol is known here, nothing is stored, and no wall clock is read
//! (timeouts use the runtime's monotonic one).
#![warn(missing_docs)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

pub mod address;
pub mod admission;
pub mod bluetooth;
pub mod config;
pub mod connection;
pub mod endpoint;
pub mod frame;
pub mod gossip;
pub mod knock;
pub mod lan;
pub mod name;
pub mod nearby;
pub mod protocol;
pub mod streams;

mod crypto;
mod gate;
mod live;
mod passage;
mod room;

pub use address::PathKind;
pub use admission::{Admission, Refusal, RefusalCounts, Verdict};
pub use bluetooth::Bluetooth;
pub use config::{Config, EndpointSecret, Internet, Reach};
pub use connection::{Connection, Path, PathChanges, UdpTraffic};
pub use endpoint::{
    AddrWatch, Arrival, DialError, Error, Links, RelayState, RelayWatch, TemporaryEndpoint,
};
pub use gossip::{
    DialHint, GOSSIP_PAYLOAD_BYTES_MAX, PairError, PairEvent, PairReceiver, PairSender, PairTopic,
};
pub use knock::Porch;
pub use lan::{Announcement, Family, Lan, LanError, Sighting};
pub use name::LocalName;
pub use nearby::{Nearby, Seen};
pub use protocol::{CloseCode, CloseReason, Protocol, Side};
pub use streams::{
    Lane, MeetError, MeetStream, MeetingReceiver, MeetingSender, MeetingStreams, Misbehaviour,
    OpenError, RecvError, SendError, Traffic,
};
