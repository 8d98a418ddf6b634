//! The store through its public surface, on real redb.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    unreachable_pub
)]

mod circles;
mod crash;
mod deleted;
mod doctor;
mod faults;
mod feeds;
mod leave;
mod limits;
mod meetings;
mod open;
mod order;
mod pages;
mod receipts;
mod reclaim;
mod records;
mod retracts;
mod support;
mod tail;
mod talk;
mod trace;
mod usage;
mod vanish;
mod writer;
