//! Two or more endpoints on 127.0.0.1, in one process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr
)]

mod admission;
mod crowd;
mod gossip;
mod hostile;
mod lifecycle;
mod meetings;
mod support;
