//! A running node: joins the store, the links and the protocol, and offers the one public API
//! that dashboards, tools and commands use. Start at [`Node`].
#![warn(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

mod config;
mod error;
mod event;
pub mod files;
mod node;
pub mod view;

pub use config::{Config, Internet, LinkConfig};
pub use error::{Error, Result};
pub use event::{Event, EventId, EventKind};
pub use node::{Node, Subscription};
pub use proto::{DeviceId, EndpointId, EntryId, IdentityId, Millis, SpaceId, limits};
