//! The dashboard's password: where it comes from, and that there is one where it's needed.

use std::{
    fs::File,
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use anyhow::{Context as _, bail};
use rustix::termios::{self, LocalModes, OptionalActions, Termios};
use serde_json::json;
use web::{LanConfig, PASSWORD_BYTES_MAX, PasswordHash};

use crate::{client::Client, folder::Folder, output::Output};

/// Bytes of a password with its line end, and one more to notice that there are more.
const INPUT_BYTES_MAX: u64 = PASSWORD_BYTES_MAX as u64 + 3;

/// `waymeet password`: for the node that runs on the folder, or for its next start.
pub(crate) fn set(folder: &Folder, from_stdin: bool, output: &Output) -> anyhow::Result<()> {
    let password = if from_stdin {
        first_line(io::stdin().lock())?
    } else {
        ask_twice()?
    };
    // A file that root writes beside a running service would not be the service's to read.
    if folder.is_running() {
        let client = Client::connect(folder)?;
        client.patch("/dashboard", &json!({ "password": password }))?;
    } else {
        folder.make()?;
        let _lock = folder.lock()?;
        let hash = PasswordHash::of(&password)?;
        web::keep_password(folder.path(), &hash)
            .with_context(|| format!("cannot keep the password in {}", folder.path().display()))?;
        web::end_kept_sign_ins(folder.path()).with_context(|| {
            format!(
                "the password is set, but who was signed in over the network still is: cannot write {}",
                folder.path().join("dashboard-sessions").display()
            )
        })?;
    }
    output.answer(&json!({}), |output, _| {
        output.line(
            "the password is set; `waymeet dashboard --lan on` shows the dashboard on the local network",
        )
    })
}

/// The password that the settings file points at.
pub(crate) fn from_file(path: &Path) -> anyhow::Result<PasswordHash> {
    let context = || format!("cannot use the password in {}", path.display());
    let file = File::open(path).with_context(context)?;
    let mode = file.metadata().with_context(context)?.permissions().mode();
    if mode & 0o004 != 0 {
        tracing::warn!(
            "everybody on this machine may read the password in {}",
            path.display()
        );
    }
    let password = first_line(io::BufReader::new(file)).with_context(context)?;
    PasswordHash::of(&password).with_context(context)
}

/// Refuses a dashboard on the network without a password.
pub(crate) fn required(folder: &Folder, lan: &LanConfig) -> anyhow::Result<()> {
    if lan.at.is_none() || lan.password.is_some() {
        return Ok(());
    }
    let kept = web::kept_password(folder.path()).with_context(|| {
        format!(
            "cannot read the password kept in {}",
            folder.path().display()
        )
    })?;
    if kept.is_none() {
        bail!(
            "the dashboard may listen on an address that isn't loopback only with a password: \
             set one with `waymeet password`, or name a file as `password_file` in [dashboard]"
        );
    }
    Ok(())
}

fn first_line(from: impl io::BufRead) -> anyhow::Result<String> {
    let mut line = String::new();
    from.take(INPUT_BYTES_MAX)
        .read_line(&mut line)
        .context("expected a password in UTF-8")?;
    let line = line.strip_suffix('\n').unwrap_or(&line);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

fn ask_twice() -> anyhow::Result<String> {
    if !io::stdin().is_terminal() {
        bail!("nobody is there to type: use --stdin to give the password by a pipe");
    }
    let password = ask("Password for the dashboard: ")?;
    if ask("Once more: ")? != password {
        bail!("the two differ: nothing was changed");
    }
    Ok(password)
}

fn ask(prompt: &str) -> anyhow::Result<String> {
    let mut terminal = io::stderr().lock();
    let _silent = Silent::new()?;
    write!(terminal, "{prompt}")?;
    terminal.flush()?;
    let line = first_line(io::stdin().lock());
    writeln!(terminal)?;
    line
}

/// While it lives, the terminal doesn't show what is typed.
struct Silent(Termios);

impl Silent {
    fn new() -> anyhow::Result<Self> {
        let before = termios::tcgetattr(io::stdin()).context("cannot ask the terminal")?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        termios::tcsetattr(io::stdin(), OptionalActions::Flush, &silent)
            .context("cannot keep the terminal from showing what is typed")?;
        Ok(Self(before))
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that went away.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}
