//! The command `waymeet`: runs a node, or speaks to the one that runs.
//!
//! Thin on purpose. It alone reads arguments, the environment and the settings file; what a node
//! does is the engine's business, what a browser sees is the web crate's. Enter at [`run`] for the
//! node, at [`commands`] for everything that talks to a running one, at [`demo`] for three at once.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

mod address;
mod args;
mod browser;
mod client;
mod commands;
mod config;
mod demo;
mod folder;
mod lan;
mod listen;
mod logging;
mod output;
mod password;
mod run;
mod running;
mod signals;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;

use args::{Args, Command};
use folder::Folder;
use output::Output;

/// The call was understood and failed.
const FAILED: u8 = 1;
/// The call itself is wrong; clap ends with the same number.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(text) = args.misplaced() {
        output::error_line(text);
        return ExitCode::from(USAGE);
    }
    logging::start(args.verbose);
    let output = Output::new(args.json);
    match dispatch(args, &output) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has seen enough, as `head` does.
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            ExitCode::from(FAILED)
        }
    }
}

fn dispatch(args: Args, output: &Output) -> anyhow::Result<()> {
    let Args {
        data_dir,
        config,
        listen,
        no_open,
        command,
        ..
    } = args;
    if matches!(command, Some(Command::Demo)) {
        return demo::run(output);
    }
    let folder = Folder::choose(data_dir).context("no folder for the node's data")?;
    match command {
        None => run::run(
            &folder,
            &run::Options {
                config,
                listen,
                open_browser: !no_open,
            },
            output,
        ),
        Some(command) => commands::run(command, &folder, !no_open, output),
    }
}
