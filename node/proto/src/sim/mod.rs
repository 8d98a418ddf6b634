//! The simulator: many nodes on one thread and one invented clock.
//!
//! It refuses to know of threads, of time that passes by itself, and of randomness that doesn't
//! come from a seed. It is built for tests only (feature `sim`).
//!
//! [`run()`] makes a [`World`] from a [`Setting`] and lets it go on: people write, join and leave,
//! nodes meet over bad links with the real [`crate::session::Session`], faults rage, hostile
//! contacts lie. While they do, it is checked that nobody is told of what isn't theirs and that
//! nothing acknowledged is lost; then faults stop, and all who should hold the same must come to
//! hold the same, by value. It is generic over [`NodeStore`]: [`Model`], which says what is right,
//! and the real store in the engine.
//!
//! What goes wrong in here is a bug that was found, so it may panic, which nothing else may.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a simulation that goes wrong has found a bug and says so"
)]

mod check;
mod fanout;
mod faults;
mod graph;
mod hostile;
mod letters;
mod meeting;
mod memory;
mod model;
mod node;
mod people;
mod person;
mod rng;
mod run;
mod setting;
mod side;
#[cfg(test)]
mod tests;
mod wire;
mod world;

pub use fanout::{FanOut, fan_out};
pub use graph::{Graph, Timetable};
pub use letters::{Among, Campsite, Post};
pub use memory::Memory;
pub use model::Model;
pub use node::{Audience, Change, Changed, NodeStore, Peer, Stored, Taken, Words};
pub use person::Person;
pub use rng::Rng;
pub use run::{Ran, run};
pub use setting::{Figures, Setting};
pub use wire::Link;
pub use world::World;
