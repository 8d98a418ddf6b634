//! The simulator: many nodes on one thread and one invented clock.
//!
//! It refuses to know of threads, of time that passes by itself, and of randomness that doesn't
//! come from a seed. It is built for tests only (feature `sim`). [`Memory`] is a store that says
//! what is right.
//!
//! What goes wrong in here is a bug that was found, so it may panic, which nothing else may.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a simulation that goes wrong has found a bug and says so"
)]

mod memory;
mod person;

pub use memory::Memory;
pub use person::Person;
