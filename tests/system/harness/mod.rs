//! Starts nodes, speaks to them, waits for what must come.

mod events;
#[allow(dead_code, reason = "the figures use less of it")]
pub(crate) mod guest;
#[allow(dead_code, unused_imports, reason = "the figures use more of it")]
pub(crate) mod hostile;
mod http;
#[allow(dead_code, reason = "the figures use more of it")]
pub(crate) mod made_up;
mod people;
mod place;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) use events::Events;
pub(crate) use http::{Raw, raw, raw_and_end};
pub(crate) use people::{befriend, connected, hand_on, offer, pair};
pub(crate) use place::Place;

/// Nothing in these tests takes a second on a free machine; a busy one gets this long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
/// Between two looks at something that must come.
const PAUSE: Duration = Duration::from_millis(10);

/// Links of a node that reaches nothing but this machine.
pub(crate) const LOOPBACK_LINKS: &str = "[links]\ninternet = \"off\"\nbind = [\"127.0.0.1:0\"]\n";

/// A node: its folder, and its process while it runs. Killed and removed when dropped.
pub(crate) struct Node {
    temp: TempDir,
    child: Option<Child>,
    http: http::Client,
    verbose: bool,
    place: Place,
}

/// Settings that leave this machine's own adapter alone, unless they speak of it: nothing of a test
/// is to be on the air.
fn without_radio(settings: &str) -> String {
    const OFF: &str = "[links]\nbluetooth = false\n";
    if settings.contains("bluetooth") {
        settings.to_owned()
    } else if settings.contains("[links]\n") {
        settings.replacen("[links]\n", OFF, 1)
    } else {
        format!("{settings}\n{OFF}")
    }
}

impl Node {
    /// A folder with a settings file and no process.
    pub(crate) fn prepared() -> Self {
        Self::prepared_at(Place::default(), LOOPBACK_LINKS)
    }

    /// The same in another network, with a settings file of one's own.
    pub(crate) fn prepared_at(place: Place, settings: &str) -> Self {
        let temp = tempfile::Builder::new()
            .prefix("waymeet-test-")
            .tempdir()
            .unwrap();
        let settings = without_radio(settings);
        fs::write(temp.path().join("settings.toml"), settings).unwrap();
        Self {
            temp,
            child: None,
            http: http::Client::default(),
            verbose: false,
            place,
        }
    }

    /// A node without an identity.
    pub(crate) fn fresh() -> Self {
        let mut node = Self::prepared();
        node.start();
        node
    }

    /// A node with an identity.
    pub(crate) fn named(name: &str) -> Self {
        let node = Self::fresh();
        node.post("/setup", &json!({ "name": name }));
        node
    }

    /// A node that logs all it can.
    pub(crate) fn verbose(name: &str) -> Self {
        let mut node = Self::prepared();
        node.verbose = true;
        node.start();
        node.post("/setup", &json!({ "name": name }));
        node
    }

    /// The folder that the node keeps. The program makes it itself.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.temp.path().join("data")
    }

    pub(crate) fn settings_file(&self) -> PathBuf {
        self.temp.path().join("settings.toml")
    }

    /// What it wrote to standard output.
    pub(crate) fn stdout(&self) -> String {
        fs::read_to_string(self.temp.path().join("stdout")).unwrap_or_default()
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.temp.path().join("stderr")).unwrap_or_default()
    }

    /// The command that runs this node.
    pub(crate) fn command(&self) -> Command {
        let mut command = program();
        command
            .arg("--data-dir")
            .arg(self.data_dir())
            .arg("--config")
            .arg(self.settings_file())
            .args(["--listen", "127.0.0.1:0"]);
        if self.verbose {
            command.arg("-vvv");
        }
        command
    }

    /// Starts the process and waits until its dashboard answers.
    pub(crate) fn start(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let append = |name| {
            fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(self.temp.path().join(name))
                .unwrap()
        };
        let mut command = self.command();
        command.stdout(append("stdout")).stderr(append("stderr"));
        let mut child = self.place.inside(|| command.spawn()).unwrap();
        let url_file = self.data_dir().join("dashboard-url");
        // A file from before is removed by the program, but perhaps not yet.
        let pid = child.id();
        let deadline = Instant::now() + DEADLINE;
        let url = loop {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the node ended with {status}\n{}", self.log());
            }
            if lock_holder(&self.data_dir()) == Some(pid)
                && let Ok(url) = fs::read_to_string(&url_file)
                && lock_holder(&self.data_dir()) == Some(pid)
                && self.place.inside(|| answers(url.trim()))
            {
                break url.trim().to_owned();
            }
            assert!(
                Instant::now() < deadline,
                "the node doesn't start\n{}",
                self.log()
            );
            thread::sleep(PAUSE);
        };
        let token = fs::read_to_string(self.data_dir().join("api-token")).unwrap();
        self.http = http::Client::new(&url, token.trim());
        self.child = Some(child);
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(
            Pid::from_child(self.child.as_ref().expect("it runs")),
            signal,
        )
        .unwrap();
    }

    /// The process's number.
    pub(crate) fn process(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Waits for the process to end by itself.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        match wait_for("the process to end", DEADLINE, || child.try_wait().unwrap()) {
            Ok(status) => status,
            Err(text) => {
                self.child = Some(child);
                panic!("{text}\n{}", self.log());
            }
        }
    }

    /// Ends it in good order.
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::TERM);
        let status = self.ended();
        assert!(status.success(), "ended with {status}\n{}", self.log());
    }

    /// Runs a command against it.
    pub(crate) fn cli(&self, args: &[&str]) -> Output {
        self.cli_with_input(args, "")
    }

    /// Runs a command that reads standard input.
    pub(crate) fn cli_with_input(&self, args: &[&str], input: &str) -> Output {
        use std::io::Write as _;
        let mut command = program();
        command
            .arg("--data-dir")
            .arg(self.data_dir())
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = self.place.inside(|| command.spawn()).unwrap();
        // A command that doesn't read its input may be gone already.
        drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
        child.wait_with_output().unwrap()
    }

    /// The JSON that a command gives; it must succeed.
    pub(crate) fn cli_json(&self, args: &[&str]) -> Value {
        let output = self.cli(&[&["--json"], args].concat());
        assert!(
            output.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Waits until `look` finds something.
    #[track_caller]
    pub(crate) fn until<T>(&self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        match wait_for(what, DEADLINE, || look(self)) {
            Ok(found) => found,
            Err(text) => panic!("{text}\n{}", self.log()),
        }
    }

    /// Waits until `look` finds something, and no longer than `within`.
    #[track_caller]
    pub(crate) fn within<T>(
        &self,
        within: Duration,
        what: &str,
        mut look: impl FnMut(&Self) -> Option<T>,
    ) -> T {
        match wait_for(what, within, || look(self)) {
            Ok(found) => found,
            Err(text) => panic!("{text}\n{}", self.log()),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended; then there is nothing to do.
            drop(child.kill());
            drop(child.wait());
        }
        if thread::panicking() {
            eprintln!(
                "--- log of {}\n{}",
                self.data_dir().display(),
                tail(&self.log())
            );
        }
    }
}

/// The program under test, with an environment that names no folder of the person who runs this.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waymeet"));
    for name in [
        "WAYMEET_DATA_DIR",
        "WAYMEET_CONFIG",
        "WAYMEET_LOG",
        "XDG_DATA_HOME",
        "HOME",
    ] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// Looks until there is something.
pub(crate) fn wait_for<T>(
    what: &str,
    within: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> Result<T, String> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            return Err(format!("waited {within:?} for {what} in vain"));
        }
        thread::sleep(PAUSE);
    }
}

/// All bytes of all files below a folder, with their paths.
pub(crate) fn files_below(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push((path.clone(), fs::read(&path).unwrap()));
            }
        }
    }
    files
}

/// Whether `needle` stands somewhere in `hay`.
pub(crate) fn contains(hay: &[u8], needle: &[u8]) -> bool {
    assert!(!needle.is_empty());
    hay.windows(needle.len()).any(|window| window == needle)
}

fn lock_holder(folder: &Path) -> Option<u32> {
    fs::read_to_string(folder.join("lock"))
        .ok()?
        .trim()
        .parse()
        .ok()
}

fn answers(url: &str) -> bool {
    url.strip_prefix("http://")
        .and_then(|addr| addr.parse().ok())
        .is_some_and(|addr| std::net::TcpStream::connect_timeout(&addr, DEADLINE).is_ok())
}

fn tail(text: &str) -> String {
    const LINES: usize = 60;
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
