//! A computer of its own: a virtual machine that boots a kernel with an archive in memory as its only
//! disk, and does what the test types on its serial line.
//!
//! The machine is emulated, so no right is needed for it. What it boots was fetched by a script
//! beforehand; a test for which that wasn't done is left out.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use super::Place;

pub(crate) const QEMU: &str = "qemu-system-x86_64";
/// An emulated processor is some twenty times slower than the real one, and shares it with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// Said by the machine behind each command, with its result.
const END: &str = "=END=";
/// Where programs of this machine stand in the guest, with their own libraries and loader: those of
/// the guest may be older.
const HOST: &str = "host";

/// How the guest begins: whatever comes before, this is at the end of what it runs first.
pub(crate) const OBEY: &str = r#"
stty -echo -onlcr
echo "=END= $?"
while read -r line; do eval "$line"; echo "=END= $?"; done
poweroff -f
"#;

/// Whether a test with a guest can be done: QEMU is there and a script fetched what it boots.
pub(crate) fn is_possible(fetched: &Path, script: &str) -> bool {
    if Command::new(QEMU).arg("--version").output().is_err() {
        eprintln!("SKIPPED: a test with a virtual machine needs `{QEMU}`, which isn't installed");
        return false;
    }
    if !fetched.join("vmlinuz").exists() {
        eprintln!("SKIPPED: a test with a virtual machine needs a kernel: {script} fetches one");
        return false;
    }
    true
}

/// The guest's files.
#[derive(Default)]
pub(crate) struct Files(Vec<(String, Vec<u8>)>);

impl Files {
    pub(crate) fn add(&mut self, name: &str, content: impl Into<Vec<u8>>) {
        self.0.push((name.to_owned(), content.into()));
    }

    /// Everything below a folder, at the same places.
    pub(crate) fn folder(&mut self, folder: &Path) {
        for (path, content) in super::files_below(folder) {
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap();
            self.add(name, content);
        }
    }

    /// A program of this machine, without what only a debugger reads, and with its libraries.
    pub(crate) fn program(&mut self, name: &str, program: &Path) {
        let output = Command::new("ldd").arg(program).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        // `name => /path (0x…)`, or `/path (0x…)` for the loader.
        let words = text.split_ascii_whitespace();
        let libraries: BTreeSet<&str> = words.filter(|word| word.starts_with('/')).collect();
        let base = |path: &str| path.rsplit('/').next().unwrap().to_owned();
        let is_loader = |path: &&&str| base(path).starts_with("ld-");
        let loader = base(libraries.iter().find(is_loader).expect("a loader"));
        self.add(
            &format!("bin/{name}"),
            format!(
                "#!/bin/busybox sh\nexec /{HOST}/{loader} --library-path /{HOST} /{HOST}/{name} \"$@\"\n"
            ),
        );
        let small = tempfile::tempdir().unwrap();
        let stripped = small.path().join(name);
        let strip = Command::new("strip")
            .arg("-o")
            .args([&stripped, program])
            .status();
        let is_stripped = strip.is_ok_and(|status| status.success());
        let from = if is_stripped { &stripped } else { program };
        self.add(&format!("{HOST}/{name}"), fs::read(from).unwrap());
        for library in libraries {
            let place = format!("{HOST}/{}", base(library));
            if self.0.iter().all(|(name, _)| *name != place) {
                self.add(&place, fs::read(library).unwrap());
            }
        }
    }

    /// An archive that the kernel unpacks, in the "newc" format of cpio: a head of hexadecimal digits, the
    /// name and the content, each filled up to four bytes
    /// (Documentation/driver-api/early-userspace/buffer-format.rst).
    fn archive(&self) -> Vec<u8> {
        const FOLDER: u32 = 0o040_755;
        const FILE: u32 = 0o100_755;
        let mut archive = Vec::new();
        let mut number = 0;
        let mut add = |name: &str, mode: u32, content: &[u8]| {
            number += 1;
            let fields = [number, mode, 0, 0, 1, 0, content.len() as u32, 0, 0, 0, 0];
            archive.extend(b"070701");
            for field in fields.into_iter().chain([name.len() as u32 + 1, 0]) {
                archive.extend(format!("{field:08x}").bytes());
            }
            archive.extend(name.bytes());
            archive.push(0);
            archive.resize(archive.len().next_multiple_of(4), 0);
            archive.extend(content);
            archive.resize(archive.len().next_multiple_of(4), 0);
        };
        let mut folders = BTreeSet::new();
        for (name, _) in &self.0 {
            folders.extend(Path::new(name).ancestors().skip(1));
        }
        for folder in folders {
            if folder != Path::new("") {
                add(folder.to_str().unwrap(), FOLDER, &[]);
            }
        }
        for (name, content) in &self.0 {
            add(name, FILE, content);
        }
        add("TRAILER!!!", 0, &[]);
        archive
    }
}

/// A running machine; switched off when dropped.
pub(crate) struct Guest {
    qemu: Child,
    input: ChildStdin,
    said: mpsc::Receiver<String>,
    _disk: TempDir,
}

impl Guest {
    /// Starts it somewhere and waits until it obeys. `more` goes to QEMU.
    pub(crate) fn boot(place: &Place, kernel: &Path, files: &Files, more: &[&str]) -> Self {
        let disk = tempfile::tempdir().unwrap();
        let archive = disk.path().join("disk");
        fs::write(&archive, files.archive()).unwrap();
        let mut command = Command::new(QEMU);
        command
            .args(["-accel", "tcg", "-cpu", "max", "-nodefaults", "-no-reboot"])
            .args(["-display", "none", "-serial", "stdio"])
            .args(["-append", "console=ttyS0 quiet panic=-1"])
            .arg("-kernel")
            .arg(kernel)
            .arg("-initrd")
            .arg(&archive)
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        let mut qemu = place.inside(|| command.spawn()).unwrap();
        let input = qemu.stdin.take().unwrap();
        let output = BufReader::new(qemu.stdout.take().unwrap());
        let (sender, said) = mpsc::channel();
        thread::spawn(move || {
            for line in output.split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut guest = Self {
            qemu,
            input,
            said,
            _disk: disk,
        };
        let (up, text) = guest.answer("to boot");
        assert!(up, "{text}");
        guest
    }

    /// What the machine says up to the end of a command, and whether that succeeded.
    fn answer(&mut self, what: &str) -> (bool, String) {
        let mut text = String::new();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.said.recv_timeout(left).unwrap_or_else(|error| {
                panic!("waited for the machine {what}: {error}\n{text}");
            });
            if let Some((before, result)) = line.split_once(END) {
                text.push_str(before);
                return (result.trim() == "0", text);
            }
            text.push_str(&line);
            text.push('\n');
        }
    }

    /// Runs a command; whether it succeeded, and what it said.
    pub(crate) fn try_run(&mut self, command: &str) -> (bool, String) {
        writeln!(self.input, "{command}").unwrap();
        self.answer(command)
    }

    /// Runs a command that must succeed.
    #[track_caller]
    pub(crate) fn run(&mut self, command: &str) -> String {
        let (done, text) = self.try_run(command);
        assert!(done, "{command}: {text}");
        text
    }

    /// What a command gives as JSON, once it succeeds and is what is waited for. If it never does, the
    /// end of `log` is shown.
    #[track_caller]
    pub(crate) fn until(
        &mut self,
        command: &str,
        log: &str,
        is_it: impl Fn(&Value) -> bool,
    ) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (done, text) = self.try_run(&format!("{command} 2>&1"));
            let value = text
                .lines()
                .find_map(|line| serde_json::from_str(line).ok());
            if let Some(value) = value.filter(|value| done && is_it(value)) {
                return value;
            }
            if Instant::now() > deadline {
                let log = self.try_run(&format!("tail -n 60 {log}")).1;
                panic!("{command} gives {text}\n{log}");
            }
            self.run("sleep 0.2");
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        drop(self.qemu.kill());
        drop(self.qemu.wait());
    }
}
