//! Runs files through a target and tells how long each took.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "an example takes its arguments itself and prints"
)]

use std::{env, fs, io, time::Instant};

use fuzz_targets::TARGETS;

fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let target = TARGETS.iter().find(|target| target.name == name);
    let target = target.ok_or_else(|| io::Error::other("expected a target and files"))?;
    for file in arguments {
        let bytes = fs::read(&file)?;
        let begin = Instant::now();
        (target.run)(&bytes);
        println!("{:>8.1?} {file}", begin.elapsed());
    }
    Ok(())
}
