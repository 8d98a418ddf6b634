//! What carried letters are worth at a campsite, as a table: by who knows whom, when they meet, to
//! whom an author gives letters, and how many copies.
//!
//! ```text
//! cargo run -p proto --features sim --example letters -- [SEEDS] [DAYS] [PEOPLE]
//! ```
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a tool for those who work on the program"
)]

use proto::sim::{Among, Campsite, Graph, Post};

const HOUR_US: u64 = 3_600_000_000;
/// Messages that a person writes in a day.
const MESSAGES: u64 = 4;

fn main() {
    let numbers = std::env::args().skip(1).map(|word| word.parse().unwrap());
    let mut numbers: Vec<u64> = numbers.collect();
    numbers.extend([10, 14, 50].iter().skip(numbers.len()));
    let [seeds, days, people] = numbers[..] else {
        return println!("expected three numbers at most: seeds, days, people");
    };
    println!(
        "| contacts | meet | given to | copies | within 6 h | within a day | at all | by carriers | half after | 9 of 10 after | kB sent a person and day | kB carried at most: mean, worst |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    for graph in [Graph::Friends, Graph::Cliques, Graph::ScaleFree] {
        for (rare, meet) in [(0, "daily"), (500, "half of them rarely")] {
            for among in [
                Among::Anybody,
                Among::SharingASpace,
                Among::ContactsOfTheReceiver,
            ] {
                for copies in [0, 1, 2, 4, 8] {
                    if copies == 0 && among != Among::Anybody {
                        continue;
                    }
                    let mut post = Post::default();
                    for seed in 0..seeds {
                        let camp = Campsite {
                            seed,
                            people: people as usize,
                            days,
                            graph,
                            rare,
                            messages: MESSAGES,
                            copies,
                            among,
                        };
                        post.add(&camp.run());
                    }
                    let cells = row(&post, seeds * days * people);
                    println!("| {graph:?} | {meet} | {among:?} | {copies} | {cells}");
                }
            }
        }
    }
}

fn row(post: &Post, days: u64) -> String {
    let percent = |per_mille: u64| format!("{:.1} %", per_mille as f64 / 10.0);
    let hours = |per_mille| {
        post.delay(per_mille).map_or("never".to_owned(), |us| {
            format!("{:.1} h", us as f64 / HOUR_US as f64)
        })
    };
    let carried = &post.carried_bytes;
    let mean = carried.iter().sum::<u64>() / carried.len().max(1) as u64;
    format!(
        "{} | {} | {} | {} | {} | {} | {:.1} | {:.0}, {:.0} |",
        percent(post.within(6 * HOUR_US)),
        percent(post.within(24 * HOUR_US)),
        percent(post.within(u64::MAX)),
        percent(post.by_carriers * 1_000 / post.written.max(1)),
        hours(500),
        hours(900),
        post.bytes as f64 / days as f64 / 1_000.0,
        mean as f64 / 1_000.0,
        carried.iter().max().copied().unwrap_or_default() as f64 / 1_000.0,
    )
}
