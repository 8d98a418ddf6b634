//! What the fuzzers call: one function for each kind of bytes that come from outside.
//!
//! A target takes any bytes and panics only where it found a bug. The fuzzers (`fuzz/fuzz_targets`)
//! call one for as long as somebody waits; the tests run every file of the corpora through the same
//! function. `docs/TESTING.md` says how. It knows the crates' public faces and their doors for
//! fuzzers, nothing behind them. Enter at [`TARGETS`].
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a target tells of a bug by a panic"
)]

#[path = "../../../src/address.rs"]
#[allow(dead_code, reason = "the command needs more of it")]
mod address;
pub mod api;
pub mod bluetooth;
pub mod body;
#[path = "../../../src/config.rs"]
#[allow(dead_code, reason = "the command needs more of it")]
mod config;
pub mod frame;
mod harmless;
pub mod http;
pub mod import;
pub mod invite;
pub mod markdown;
mod script;
mod seeds;
pub mod session;
pub mod settings;
pub mod store;
mod world;

/// A kind of bytes from outside.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, also of its corpus' folder.
    pub name: &'static str,
    /// Takes any bytes; panics where it found a bug.
    pub run: fn(&[u8]),
    /// Good examples.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    target("api", api::run, api::seeds),
    target("bluetooth", bluetooth::run, bluetooth::seeds),
    target("body", body::run, body::seeds),
    target("frame", frame::run, frame::seeds),
    target("http", http::run, http::seeds),
    target("import", import::run, import::seeds),
    target("invite", invite::run, invite::seeds),
    target("markdown", markdown::run, markdown::seeds),
    target("session", session::run, session::seeds),
    target("settings", settings::run, settings::seeds),
    target("store", store::run, store::seeds),
];

const fn target(name: &'static str, run: fn(&[u8]), seeds: fn() -> Vec<Vec<u8>>) -> Target {
    Target { name, run, seeds }
}
