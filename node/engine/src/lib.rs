//! A running node: joins the store, the links and the protocol, and offers the one public API
//! that dashboards, tools and commands use. Start at [`Node`].
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

mod adding;
mod api;
mod batches;
mod beacons;
mod bluetooth;
mod choices;
mod circles;
mod clock;
mod config;
mod disk;
mod doctor;
mod error;
mod event;
mod events;
pub mod files;
mod inner;
mod intake;
mod introductions;
mod invites;
mod lan;
mod letters;
mod meeting;
mod nearby;
mod own_feed;
mod power;
mod receipts;
mod records;
#[cfg(feature = "sim")]
pub mod sim;
mod spaces;
mod supervisor;
mod turns;
mod vanish;
pub mod view;

pub use api::Node;
pub use config::{Config, FREE_MIN_BYTES, Internet, LinkConfig, Radios, StorageConfig};
pub use doctor::check_up_folder;
pub use error::{Error, Result};
pub use event::{Event, EventId, EventKind};
pub use events::Subscription;
pub use links::LocalName;
#[cfg(feature = "sim")]
pub use links::bluetooth::sim as room;
pub use proto::{DeviceId, EndpointId, EntryId, IdentityId, Millis, SpaceId, limits};
