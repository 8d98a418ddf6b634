//! Writes each target's good examples into the folder that is named, where they aren't yet.
#![allow(
    clippy::disallowed_methods,
    reason = "an example takes its arguments itself"
)]

use std::{env, fs, io, path::Path};

use fuzz_targets::TARGETS;

fn main() -> io::Result<()> {
    let folder = env::args().nth(1);
    let folder = folder.ok_or_else(|| io::Error::other("expected a folder for the seeds"))?;
    for target in TARGETS {
        let folder = Path::new(&folder).join(target.name);
        fs::create_dir_all(&folder)?;
        for seed in (target.seeds)() {
            let name = blake3::hash(&seed).to_hex();
            fs::write(folder.join(&name[..16]), seed)?;
        }
    }
    Ok(())
}
