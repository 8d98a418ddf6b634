//! What goes to standard error: warnings, and more where it is asked for.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Replaces the levels that `-v` chooses, in the form `engine=debug,links=trace`.
const VARIABLE: &str = "WAYMEET_LOG";

/// Starts logging. Everything that we write is ours; the libraries below stay a step quieter, and what
/// gossip warns of, a hint that found its connection gone, is what hints may do.
#[expect(
    clippy::disallowed_methods,
    reason = "the command reads the environment"
)]
pub(crate) fn start(verbose: u8) {
    let levels = match verbose {
        0 => "warn,iroh_gossip=error",
        1 => {
            "warn,iroh_gossip=error,waymeet=info,web=info,engine=info,links=info,store=info,proto=info"
        }
        2 => "info,waymeet=debug,web=debug,engine=debug,links=debug,store=debug,proto=debug",
        _ => "debug,waymeet=trace,web=trace,engine=trace,links=trace,store=trace,proto=trace",
    };
    let filter = std::env::var(VARIABLE)
        .ok()
        .and_then(|text| EnvFilter::try_new(text).ok())
        .unwrap_or_else(|| EnvFilter::new(levels));
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
    // Only a second call in one process can fail, and then logging is on already.
    drop(started);
}
