//! Cuts the power at every call to the disk of a long trace, in five ways each, and looks at
//! everything that is left.
//!
//! `cargo run --release -p store --example crash -- --steps 700 --seeds 2 --jobs 2`; with
//! `--seed N` one trace. It ends with a panic that names the call, or with a count.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    dead_code,
    unreachable_pub
)]

#[path = "../tests/store/support.rs"]
mod support;
#[path = "../tests/store/trace.rs"]
mod trace;

use std::time::Instant;

use store::sim::{Cut, Op};

fn argument(name: &str) -> Option<u64> {
    let mut arguments = std::env::args();
    arguments.find(|argument| argument == name)?;
    arguments.next()?.parse().ok()
}

fn main() {
    let steps = argument("--steps").unwrap_or(500) as usize;
    let jobs = argument("--jobs").unwrap_or(2) as usize;
    let seeds: Vec<u64> = match argument("--seed") {
        Some(seed) => vec![seed],
        None => (1..=argument("--seeds").unwrap_or(2)).collect(),
    };
    let mut total = 0;
    for seed in seeds {
        let began = Instant::now();
        let trace = trace::record(seed, steps);
        let count = |what: fn(&Op) -> bool| trace.ops.iter().filter(|op| what(op)).count();
        println!(
            "seed {seed}: {} steps, {} writes, {} changes of length, {} fresh files, {} syncs",
            trace.steps.len(),
            count(|op| matches!(op, Op::Write { .. })),
            count(|op| matches!(op, Op::SetLen(_))),
            count(|op| matches!(op, Op::Replace(_))),
            count(|op| matches!(op, Op::Sync)),
        );
        let images: u64 = std::thread::scope(|scope| {
            let cuts: Vec<_> = (0..jobs)
                .map(|job| {
                    scope.spawn({
                        let trace = &trace;
                        move || trace.cut(seed, job, jobs)
                    })
                })
                .collect();
            cuts.into_iter().map(|cut| cut.join().unwrap()).sum()
        });
        total += images;
        println!(
            "seed {seed}: {images} images in {} kinds opened and verified, {:.0?}",
            Cut::ALL.len(),
            began.elapsed()
        );
    }
    println!("{total} images opened and verified");
}
