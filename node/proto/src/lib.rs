//! What a Waymeet node knows and decides, without doing any of it.
//!
//! This crate has no socket, no file, no clock, no randomness of the operating system and no
//! async runtime: time and randomness are arguments, bytes come in and go out, and the same
//! input gives the same output. Start at [`entry`] for what is replicated, at [`audience`] for
//! who may have it and at [`session`] for how two devices exchange it.
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

pub mod admission;
pub mod audience;
pub mod author;
pub mod beacon;
pub mod bluetooth;
pub mod body;
pub mod card;
pub mod cbor;
pub mod circle;
pub mod courier;
pub mod entry;
pub mod fork;
pub mod frame;
pub mod frontier;
pub mod ids;
pub mod introduction;
pub mod keys;
pub mod limits;
pub mod merkle;
pub mod nearby;
pub mod run;
pub mod seal;
pub mod session;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
pub mod space;
pub mod text;
pub mod time;
#[cfg(test)]
mod vectors;
pub mod verify;
pub mod wire;
pub mod words;

pub use ids::{DeviceId, EndpointId, EntryId, IdentityId, SpaceId};
pub use time::Millis;
