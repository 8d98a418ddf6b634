//! The whole system, from outside: the real program, its API, its files and its signals.
//!
//! Every test runs nodes of its own on temporary folders, over loopback only. Enter at
//! [`harness::Node`].
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr
)]

mod harness;

mod api_rules;
mod blogs;
mod bluetooth;
mod catch_up;
mod circles;
mod command;
mod config_file;
mod contacts;
mod conversations;
mod crowd;
mod demo;
mod disk;
mod entries;
mod events;
mod forums;
mod house;
mod introductions;
mod invites;
mod keeping;
mod letters;
mod liars;
mod malformed;
mod meetings;
mod net;
mod process;
mod quotas;
mod relay;
mod secrets;
mod setup;
mod store_file;
