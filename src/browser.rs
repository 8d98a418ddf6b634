//! Opening the person's browser.

use std::{
    io::{self, IsTerminal as _},
    process::{Command, Stdio},
};

#[cfg(target_os = "macos")]
const OPENER: &str = "open";
#[cfg(not(target_os = "macos"))]
const OPENER: &str = "xdg-open";

/// Whether somebody sits in front of us who would see a browser window.
pub(crate) fn wanted() -> bool {
    io::stdout().is_terminal()
}

/// Opens a link that may contain a sign-in token: it works once, so whoever reads it later in the
/// process list finds it used. A machine without an opener is no error, the link is printed anyway.
pub(crate) fn open(link: &str) {
    let child = Command::new(OPENER)
        .arg(link)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    match child {
        // Waited for elsewhere, so that no dead child stays behind in a process that runs on.
        Ok(mut child) => drop(std::thread::spawn(move || child.wait())),
        Err(error) => tracing::info!("cannot start {OPENER}: {error}"),
    }
}
