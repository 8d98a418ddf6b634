//! What a Waymeet node knows and decides, without doing any of it.
//!
//! This crate has no socket, no file, no clock, no randomness of the operating system and no
//! async runtime: time and randomness are arguments, bytes come in and go out, and the same
//! input gives the same output. Start at [`entry`] for what is replicated, at [`audience`] for
//! who may have it and at [`session`] for how two devices exchange it.
#![warn(missing_docs)]

pub mod ids;
pub mod limits;
pub mod time;

pub use ids::{DeviceId, EndpointId, EntryId, IdentityId, SpaceId};
pub use time::Millis;
