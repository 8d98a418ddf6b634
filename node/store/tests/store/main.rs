//! The store through its public surface, on real redb.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    unreachable_pub
)]

mod feeds;
mod open;
mod order;
mod support;
mod writer;
