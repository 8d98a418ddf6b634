//! Long runs of the simulator, with a table of what happened.
//!
//! ```text
//! cargo run --release -p engine --example sim -- [--store redb|model] [--nodes N] [--days N]
//!     [--seed N | --seeds N | --minutes N] [--jobs N] [--fan-out]
//! ```
//!
//! Without a size the worlds are small ones with everything in them. A seed that fails is printed
//! with the command that shows it again; the rest goes on.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a tool for those who work on the program"
)]

use std::{
    panic::catch_unwind,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use engine::sim::RealStore;
use proto::sim::{Figures, Model, Ran, Setting, fan_out, run};

/// What was asked for.
#[derive(Debug, Clone)]
struct Wishes {
    store: String,
    nodes: Option<usize>,
    days: u64,
    first: u64,
    seeds: u64,
    end: Option<Instant>,
    jobs: u64,
    fan_out: bool,
}

fn wishes() -> Result<Wishes, String> {
    let mut wishes = Wishes {
        store: "redb".into(),
        nodes: None,
        days: 30,
        first: 0,
        seeds: 1,
        end: None,
        jobs: 1,
        fan_out: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        if name == "--fan-out" {
            wishes.fan_out = true;
            continue;
        }
        let value = arguments.next().ok_or(format!("{name} needs a value"))?;
        let number = || {
            value
                .parse::<u64>()
                .map_err(|_| format!("{name}: {value} is no number"))
        };
        match name.as_str() {
            "--store" => wishes.store = value,
            "--nodes" => wishes.nodes = Some(number()? as usize),
            "--days" => wishes.days = number()?,
            "--seed" => wishes.first = number()?,
            "--seeds" => wishes.seeds = number()?,
            "--jobs" => wishes.jobs = number()?.max(1),
            "--minutes" => {
                wishes.end = Some(Instant::now() + Duration::from_secs(60 * number()?));
                wishes.seeds = u64::MAX;
                // Other worlds each time; a failing one is printed.
                let now = std::time::SystemTime::UNIX_EPOCH
                    .elapsed()
                    .unwrap_or_default();
                wishes.first = u64::from(now.subsec_nanos()) << 20;
            }
            _ => return Err(format!("{name} isn't known")),
        }
    }
    Ok(wishes)
}

fn one(wishes: &Wishes, seed: u64) -> Ran {
    let setting = match wishes.nodes {
        None => Setting::small(seed),
        Some(nodes) => Setting::large(seed, nodes, wishes.days),
    };
    if wishes.store == "model" {
        run::<Model>(Setting {
            store: "model",
            ..setting
        })
    } else {
        run::<RealStore>(setting)
    }
}

fn main() -> ExitCode {
    let wishes = match wishes() {
        Ok(wishes) => wishes,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    if wishes.fan_out {
        fan_outs(&wishes);
        return ExitCode::SUCCESS;
    }
    let (next, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    let total = Mutex::new((0_u64, Figures::default(), Duration::ZERO));
    println!("{HEAD}");
    std::thread::scope(|scope| {
        for _ in 0..wishes.jobs {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let late = wishes.end.is_some_and(|end| Instant::now() >= end);
                    if number >= wishes.seeds || late {
                        return;
                    }
                    let seed = wishes.first.wrapping_add(number);
                    let began = Instant::now();
                    match catch_unwind(|| one(&wishes, seed)) {
                        Ok(ran) => {
                            println!("{}", row(&seed.to_string(), &ran.figures, began.elapsed()));
                            let mut total = total.lock().unwrap();
                            total.0 += 1;
                            total.1.add(&ran.figures);
                            total.2 += began.elapsed();
                        }
                        Err(_) => {
                            failed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    let (runs, figures, time) = total.into_inner().unwrap();
    println!("{}", row(&format!("{runs} runs"), &figures, time));
    let failed = failed.into_inner();
    println!("failed: {failed}");
    if failed > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// What a post costs among more and more nodes, on LANs that are always there.
fn fan_outs(wishes: &Wishes) {
    println!("nodes pairs half-ms all-ms bytes/node frames/node");
    for nodes in [10, 50, 200] {
        let out = if wishes.store == "model" {
            fan_out::<Model>(nodes, wishes.first)
        } else {
            fan_out::<RealStore>(nodes, wishes.first)
        };
        println!(
            "{:>5} {:>5} {:>7.1} {:>6.1} {:>10} {:>11.2}",
            out.nodes,
            out.pairs,
            out.half_us as f64 / 1000.0,
            out.all_us as f64 / 1000.0,
            out.bytes_a_node,
            out.frames_a_node_x100 as f64 / 100.0,
        );
    }
}

const HEAD: &str = "          seed meetings written imported    frames     MB crashes full restored forks revoked  cuts jumps refused held-kB hostile-kB equal-s compared time-s";

fn row(name: &str, f: &Figures, time: Duration) -> String {
    format!(
        "{name:>14} {:>8} {:>7} {:>8} {:>9} {:>6} {:>7} {:>4} {:>8} {:>5} {:>7} {:>5} {:>5} {:>7} {:>7} {:>10} {:>7} {:>8} {:>6.1}",
        f.meetings,
        f.written,
        f.imported,
        f.frames,
        f.bytes / 1_000_000,
        f.crashes,
        f.full,
        f.restored,
        f.forks,
        f.revocations,
        f.cuts,
        f.jumps,
        f.refused,
        f.size_max / 1000,
        f.size_hostile_max / 1000,
        f.converged_us / 1_000_000,
        f.compared_entries,
        time.as_secs_f64(),
    )
}
