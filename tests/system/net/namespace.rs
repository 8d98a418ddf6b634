//! A network namespace without a name, and the right to make one.
//!
//! A shell in it waits for its standard input to end. So when the test ends, however it does, the
//! shell kills what still runs there and goes, and with its last process the kernel takes the
//! namespace and every interface in it. Enter at [`Namespace::new`].

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, ChildStdin, Command, Stdio},
    thread,
};

use crate::harness::{DEADLINE, Place, wait_for};

/// Kills by namespace and not by name: nothing outside can be hit.
const HOLD: &str = r#"
ip link set dev lo up && echo ready || exit 1
while read -r line; do :; done
for dir in /proc/[0-9]*; do
    pid=${dir#/proc/}
    if [ "$pid" != $$ ] && [ "$dir/ns/net" -ef /proc/self/ns/net ]; then kill -9 "$pid"; fi
done 2>/dev/null
"#;

/// Tells a test that it runs in a user namespace that it made for itself.
const INSIDE: &str = "WAYMEET_TEST_IN_USER_NAMESPACE";

/// A namespace; gone when dropped.
pub(super) struct Namespace {
    holder: Child,
    /// Taken to let the holder go.
    held: Option<ChildStdin>,
    place: Place,
}

impl Namespace {
    /// A namespace with nothing but `lo`. The error says what is lacking.
    pub(super) fn new() -> Result<Self, String> {
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", HOLD])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot run unshare: {error}"))?;
        let held = holder.stdin.take();
        let mut said = String::new();
        BufReader::new(holder.stdout.take().unwrap())
            .read_line(&mut said)
            .unwrap();
        if said != "ready\n" {
            drop(held);
            let mut why = String::new();
            drop(holder.stderr.take().unwrap().read_to_string(&mut why));
            holder.wait().unwrap();
            return Err(format!("cannot make a network namespace: {}", why.trim()));
        }
        let handle = File::open(format!("/proc/{}/ns/net", holder.id())).unwrap();
        Ok(Self {
            place: Place::namespace(handle.into()),
            holder,
            held,
        })
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// The process that stands for it where a command wants one.
    pub(super) fn pid(&self) -> u32 {
        self.holder.id()
    }

    /// Runs `ip` with these words there.
    #[track_caller]
    pub(super) fn ip(&self, words: &str) {
        self.run(Command::new("ip").args(words.split_ascii_whitespace()));
    }

    /// Waits until `ip` says this of an interface: the kernel does the last of its work on one that
    /// came up by and by, and loses what is sent before.
    #[track_caller]
    pub(super) fn wait_for_link(&self, name: &str, state: &str) {
        let words = ["-details", "link", "show", "dev", name];
        let found = wait_for(state, DEADLINE, || {
            let output = self
                .place
                .inside(|| Command::new("ip").args(words).output());
            let text = String::from_utf8(output.unwrap().stdout).unwrap();
            text.contains(state).then_some(())
        });
        found.unwrap_or_else(|text| panic!("{name}: {text}"));
    }

    /// Runs `nft` with these rules there.
    #[track_caller]
    pub(super) fn nft(&self, rules: &str) {
        self.run(Command::new("nft").arg(rules));
    }

    /// Sets a kernel setting below `/proc/sys/net` there.
    pub(super) fn set(&self, name: &str, value: &str) {
        let path = format!("/proc/sys/net/{name}");
        self.place
            .inside(|| fs::write(&path, value))
            .unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    #[track_caller]
    fn run(&self, command: &mut Command) {
        let output = self.place.inside(|| command.output()).unwrap();
        assert!(
            output.status.success(),
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.held.take());
        drop(self.holder.wait());
    }
}

/// Whether this process may make namespaces, and if not, what to do about it.
pub(super) enum Right {
    Here,
    /// In a user namespace, where an own process is root.
    ByUserNamespace,
    No(String),
}

pub(super) fn right() -> Right {
    let why = match Namespace::new() {
        Ok(_) => return Right::Here,
        Err(why) => why,
    };
    let inside = std::env::var_os(INSIDE).is_some();
    if !inside
        && user_namespace()
            .arg("true")
            .output()
            .is_ok_and(|output| output.status.success())
    {
        return Right::ByUserNamespace;
    }
    Right::No(why)
}

fn user_namespace() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--net", "--mount"]);
    command
}

/// Runs the current test once more, as root of a user namespace. Panics where that run fails.
pub(super) fn again_in_a_user_namespace() {
    let test = thread::current().name().unwrap().to_owned();
    let mut again = user_namespace()
        .arg(std::env::current_exe().unwrap())
        .args([&test, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let held = again.stdin.take();
    let status = again.wait().unwrap();
    drop(held);
    assert!(status.success(), "{test} failed in its user namespace");
}

/// In such a run: ends with the process that started it, even where that was killed.
pub(super) fn end_with_the_outer_run() {
    if std::env::var_os(INSIDE).is_some() {
        thread::spawn(|| {
            drop(std::io::stdin().read_to_end(&mut Vec::new()));
            std::process::exit(1);
        });
    }
}
