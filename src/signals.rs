//! The signals that end a node: the first asks, a second Ctrl-C insists.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a shell reports for a process that Ctrl-C ended.
const ENDED_BY_INTERRUPT: i32 = 130;

/// Waits for the signals that mean "end".
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    /// Takes the signals over; until then they end the process at once.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Returns at the first signal; gives its name.
    pub(crate) async fn end(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.hangup.recv() => "SIGHUP",
        }
    }

    /// Ends the process at the next Ctrl-C, while it is still ending by itself.
    pub(crate) fn insist(mut self) {
        tokio::spawn(async move {
            if self.interrupt.recv().await.is_some() {
                std::process::exit(ENDED_BY_INTERRUPT);
            }
        });
    }
}
