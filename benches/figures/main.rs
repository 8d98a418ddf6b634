//! The figures: what the real program costs, measured from outside.
//!
//! Every part starts nodes of its own as separate processes on temporary folders, over loopback
//! only, drives them through the JSON API and ends them again. `cargo bench --bench figures` runs
//! all parts and prints one table; `-- --help` lists the parts and their sizes. What the figures
//! mean, and what was found, stands in `docs/PERFORMANCE.md`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr
)]

mod args;
mod bare;
mod bluetooth;
mod catch_up;
mod crowd;
mod fan_out;
mod far;
mod filled;
mod floor;
mod grown;
mod idle;
mod isolation;
mod kept;
mod kill;
mod lan;
mod letters;
mod live;
mod machine;
mod meeting;
mod page;
mod process;
mod real_input;
mod reconcile;
mod slow;
mod table;
mod writing;

/// The nodes and the API as the whole-system tests use them.
#[allow(dead_code, unused_imports)]
#[path = "../../tests/system/harness/mod.rs"]
mod harness;

/// Hosts of their own for them.
#[allow(dead_code, unused_imports)]
#[path = "../../tests/system/net/mod.rs"]
mod net;

use std::panic::{AssertUnwindSafe, catch_unwind};

use args::{Args, Part};
use table::Table;

fn main() {
    let words: Vec<_> = std::env::args().skip(1).collect();
    if let [role, entries] = &words[..]
        && role == bare::SENDER
    {
        return bare::send(entries.parse().unwrap());
    }
    if let [role, entries] = &words[..]
        && role == slow::INSIDE
    {
        return slow::inside(entries.parse().unwrap());
    }
    if let [role, _] = &words[..]
        && role == letters::INSIDE
    {
        return letters::inside();
    }
    if let [role, entries] = &words[..]
        && role == far::INSIDE
    {
        return far::inside(entries.parse().unwrap());
    }
    if let [role, words @ ..] = &words[..]
        && role == isolation::HOSTILE
    {
        return isolation::hostile(words);
    }
    let args = match Args::parse(words.into_iter()) {
        Ok(Some(args)) => args,
        Ok(None) => return println!("{}", args::HELP),
        Err(error) => {
            eprintln!("{error}\n\n{}", args::HELP);
            std::process::exit(2);
        }
    };
    let mut table = Table::default();
    for part in &args.parts {
        eprintln!("--- {}", part.name());
        let mut figures = Table::default();
        let done = catch_unwind(AssertUnwindSafe(|| run(*part, &args, &mut figures)));
        table.append(figures);
        if done.is_err() {
            table.failed(part.name());
        }
    }
    println!("\n{}\n{table}", machine::describe());
    if table.has_failed() {
        std::process::exit(1);
    }
}

fn run(part: Part, args: &Args, table: &mut Table) {
    match part {
        Part::Floor => floor::run(args, table),
        Part::CatchUp => catch_up::run(args.entries, args.runs, table),
        Part::CatchUpMany => catch_up::run(args.many, args.many_runs, table),
        Part::Writing => writing::run(args, table),
        Part::Live => live::run(args, table),
        Part::Meeting => meeting::run(args, table),
        Part::Reconcile => reconcile::run(args, table),
        Part::Feeds => reconcile::feeds(args, table),
        Part::FanOut => fan_out::run(args, table),
        Part::Page => page::run(args, args.entries, table),
        Part::PageMany => page::run(args, args.many, table),
        Part::Slow => slow::run(args.behind, table),
        Part::Far => far::run(args.far, table),
        Part::Bluetooth => bluetooth::run(table),
        Part::Idle => idle::run(args, table),
        Part::Isolation => isolation::run(args, table),
        Part::Lan => lan::run(args, table),
        Part::Letters => letters::run(table),
        Part::Kill => kill::run(args, table),
        Part::RealInput => real_input::run(args, table),
    }
}
