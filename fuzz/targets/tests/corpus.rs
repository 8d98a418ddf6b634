//! Every example that the fuzzers keep, through the function that they call.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test tells of a bug by a panic"
)]

use std::{
    collections::BTreeSet,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
};

use fuzz_targets::{TARGETS, Target};

/// Bytes of all corpora: they are part of every clone.
const CORPORA_BYTES_MAX: usize = 2 * 1024 * 1024;

fn corpora() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../corpus")
}

/// The corpus of a target, by the files' names.
fn corpus(target: &Target) -> Vec<(String, Vec<u8>)> {
    let folder = corpora().join(target.name);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.display().to_string(), fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

fn run(target: &Target, examples: impl IntoIterator<Item = (String, Vec<u8>)>) -> usize {
    let mut count = 0;
    for (name, bytes) in examples {
        let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(&bytes)));
        assert!(outcome.is_ok(), "{}: {name}", target.name);
        count += 1;
    }
    count
}

fn check(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let seeds = (target.seeds)().into_iter().enumerate();
    let seeds = seeds.map(|(at, seed)| (format!("seed {at}"), seed));
    assert!(run(target, seeds) > 0, "no seeds");
    assert!(run(target, [("nothing".to_owned(), Vec::new())]) > 0);
    assert!(run(target, corpus(target)) > 0, "no corpus");
}

macro_rules! corpora {
    ($($name:ident),*) => {
        $(
            #[test]
            fn $name() {
                check(stringify!($name));
            }
        )*

        #[test]
        fn every_target_is_tested() {
            let tested = BTreeSet::from([$(stringify!($name)),*]);
            let targets = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(tested, targets);
            let folders = fs::read_dir(corpora()).unwrap();
            let folders: BTreeSet<_> = folders
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            assert_eq!(folders, targets.iter().map(|name| (*name).to_owned()).collect());
        }
    };
}

corpora!(
    api, bluetooth, body, frame, http, import, invite, markdown, session, settings, store
);

#[test]
fn the_corpora_stay_small() {
    let bytes: usize = TARGETS
        .iter()
        .flat_map(corpus)
        .map(|(_, bytes)| bytes.len())
        .sum();
    assert!(bytes <= CORPORA_BYTES_MAX, "{bytes} bytes");
}

#[test]
fn every_target_has_a_fuzzer() {
    let folder = corpora().join("../fuzz_targets");
    for target in TARGETS {
        let file = folder.join(target.name).with_extension("rs");
        let text = fs::read_to_string(&file).unwrap();
        assert!(
            text.contains(&format!("{}::run", target.name)),
            "{}",
            file.display()
        );
    }
}
