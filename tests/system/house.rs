//! The walls of the house, read from what Cargo resolved, and whether the documents still say what
//! is there.
//!
//! What happens inside a crate (clocks, files, sockets, the environment) is clippy's to see: the
//! bans stand in `clippy.toml` and, stricter, in `node/proto/clippy.toml`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Every crate of ours, its folder, and those of ours that it may name.
const CRATES: &[(&str, &str, &[&str])] = &[
    ("waymeet", "", &["engine", "web"]),
    ("web", "web", &["engine"]),
    ("engine", "node/engine", &["links", "proto", "store"]),
    ("links", "node/links", &["proto"]),
    ("store", "node/store", &["migrations", "proto"]),
    ("proto", "node/proto", &[]),
    ("migrations", "migrations", &[]),
    (
        "fuzz-targets",
        "fuzz/targets",
        &["engine", "proto", "store", "web"],
    ),
];

/// And what its tests and benchmarks may name beyond: the figures fill a node's database without
/// the engine, and speak to it as hostile peers.
const ALSO_IN_TESTS: &[(&str, &[&str])] = &[("waymeet", &["links", "proto", "store"])];

/// All that the core stands on.
const UNDER_PROTO: &[&str] = &[
    "blake3",
    "chacha20poly1305",
    "data-encoding",
    "ed25519-dalek",
    "hpke",
    "minicbor",
    "thiserror",
    "zeroize",
];

/// Runtimes, sockets, clocks and sources of randomness: nowhere below the core.
const NOT_BELOW_PROTO: &[&str] = &[
    "async-std",
    "chrono",
    "futures-executor",
    "getrandom",
    "iroh",
    "mio",
    "quinn",
    "rand",
    "redb",
    "rustix",
    "smol",
    "socket2",
    "time",
    "tokio",
];

/// The one module that this text is in knows where the others are.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What `cargo tree` says of a crate: names, and whether each is one of ours.
fn tree(arguments: &[&str]) -> BTreeMap<String, bool> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--frozen", "--prefix", "none", "--format", "{p}"])
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {text}");
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| Some((line.split_once(' ')?.0.to_owned(), line.contains("(/"))))
        .collect()
}

/// What a crate needs directly. `edges` as `cargo tree` names them.
fn direct(name: &str, edges: &str) -> BTreeMap<String, bool> {
    let mut found = tree(&["--package", name, "--depth", "1", "--edges", edges]);
    found.remove(name);
    found
}

/// Everything that a crate is built from.
fn below(name: &str) -> BTreeSet<String> {
    let found = tree(&["--package", name, "--edges", "normal,build"]);
    assert!(found.contains_key(name), "{found:?}");
    found.into_keys().collect()
}

fn none_of(name: &str, unwanted: &[&str]) {
    let found = below(name);
    for unwanted in unwanted {
        assert!(
            !found.contains(*unwanted),
            "{name} is built from {unwanted}"
        );
    }
}

fn ours(name: &str, edges: &str) -> BTreeSet<String> {
    direct(name, edges)
        .into_iter()
        .filter_map(|(name, ours)| ours.then_some(name))
        .collect()
}

#[test]
fn each_crate_names_only_those_that_it_may() {
    for (name, _, allowed) in CRATES {
        let mut allowed: BTreeSet<_> = allowed.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(ours(name, "normal,build"), allowed, "{name}");
        for (_, more) in ALSO_IN_TESTS.iter().filter(|(of, _)| of == name) {
            allowed.extend(more.iter().map(|&name| name.to_owned()));
        }
        let in_tests = ours(name, "normal,build,dev");
        assert!(in_tests.is_subset(&allowed), "{name}: {in_tests:?}");
    }
}

#[test]
fn every_crate_has_its_row_and_the_common_lints() {
    let members = tree(&["--workspace", "--depth", "0"]);
    let listed: BTreeSet<_> = CRATES.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(members.into_keys().collect::<BTreeSet<_>>(), listed);
    for (name, folder, _) in CRATES {
        let manifest = read(&Path::new(folder).join("Cargo.toml").to_string_lossy());
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{name} goes without the workspace's lints"
        );
    }
    assert!(read("Cargo.toml").contains("unsafe_code = \"forbid\""));
}

#[test]
fn the_core_stands_on_arithmetic_alone() {
    let found: BTreeSet<_> = direct("proto", "normal,build").into_keys().collect();
    let known: BTreeSet<_> = UNDER_PROTO.iter().map(|&name| name.to_owned()).collect();
    assert_eq!(found, known);
    none_of("proto", NOT_BELOW_PROTO);
}

#[test]
fn the_store_has_no_network_and_the_links_have_no_database() {
    none_of("store", &["iroh", "iroh-gossip", "links", "mio", "socket2"]);
    none_of("links", &["redb", "store", "migrations"]);
    none_of("migrations", &["tokio", "getrandom"]);
}

#[test]
fn one_provider_of_cryptography() {
    let found = below("waymeet");
    assert!(found.contains("aws-lc-rs"));
    none_of("waymeet", &["ring", "openssl", "openssl-sys", "native-tls"]);
}

/// The lines of a document's code blocks.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    text.lines().filter(move |line| {
        let fence = line.starts_with("```");
        inside ^= fence;
        inside && !fence
    })
}

#[test]
fn the_checks_run_the_test_command_of_the_readme() {
    let readme = read("README.md");
    let tests: Vec<_> = code(&readme)
        .filter(|line| line.starts_with("cargo test") || line.starts_with("cargo nextest"))
        .collect();
    let [command] = tests[..] else {
        panic!("expected one test command alone on a line, found {tests:?}");
    };
    assert!(
        read(".ci/run").lines().any(|line| line == command),
        "{command}"
    );
}

/// Texts between backticks on one line, code blocks aside.
fn quoted(text: &str) -> Vec<&str> {
    let blocks: BTreeSet<_> = code(text).map(str::as_ptr).collect();
    text.lines()
        .filter(|line| !blocks.contains(&line.as_ptr()) && !line.starts_with("```"))
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .collect()
}

/// Targets of links, comments aside.
fn links(text: &str) -> Vec<&str> {
    text.lines()
        .filter(|line| !line.starts_with("<!--"))
        .flat_map(|line| line.split("](").skip(1))
        .filter_map(|rest| rest.split([')', '#']).next())
        .filter(|target| !target.is_empty() && !target.contains("://"))
        .collect()
}

const DOCUMENTS: &[&str] = &[
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "docs/ARCHITECTURE.md",
    "docs/BLUETOOTH.md",
    "docs/PERFORMANCE.md",
    "docs/PROTOCOL.md",
    "docs/ROADMAP.md",
    "docs/TESTING.md",
    "docs/THREATS.md",
    "docs/campsite.md",
];

#[test]
fn what_the_documents_point_at_is_there() {
    for document in DOCUMENTS {
        let text = read(document);
        let folder = root().join(document).parent().unwrap().to_owned();
        for target in links(&text) {
            assert!(folder.join(target).exists(), "{document} links to {target}");
        }
        let paths = text
            .split(|c: char| c.is_whitespace() || "`,;()".contains(c))
            .filter(|word| word.contains('/') && !word.starts_with("http"))
            .filter(|word| word.ends_with(".rs") || word.ends_with(".toml"));
        for path in paths {
            assert!(root().join(path).exists(), "{document} names {path}");
        }
    }
}

/// Every file of ours in Rust, put together.
fn sources() -> String {
    let mut folders: Vec<PathBuf> = ["src", "tests", "node", "web", "migrations", "fuzz/targets"]
        .iter()
        .map(|folder| root().join(folder))
        .collect();
    let mut text = String::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                text.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    text
}

#[test]
fn the_tests_that_the_threats_name_exist() {
    let text = read("docs/THREATS.md");
    let is_name = |word: &str| {
        word.matches('_').count() >= 2
            && word
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
    };
    let named: BTreeSet<_> = quoted(&text).into_iter().filter(|w| is_name(w)).collect();
    assert!(named.len() > 20, "the document lost its tests: {named:?}");
    let sources = sources();
    for name in named {
        let exists = sources.contains(&format!("fn {name}("));
        assert!(exists, "docs/THREATS.md names the test {name}");
    }
}
