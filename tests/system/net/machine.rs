//! A small computer of its own: a virtual machine with half a gibibyte of memory and a clock that stands
//! in 1970, plugged into the network under test.
//!
//! It boots Debian's kernel and, as its only disk, an archive in memory with busybox and the real
//! program, and does what the test types on its serial line. `tests/vm/prepare` fetches the kernel;
//! where that wasn't done, or QEMU is missing, the test is skipped.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Net, Switch, hosts::is_at};

const QEMU: &str = "qemu-system-x86_64";
/// An emulated processor is some twenty times slower than the real one, and shares it with other tests.
const PATIENCE: Duration = Duration::from_secs(120);
/// The interface at the switch.
const TAP: &str = "vm0";
/// Said by the machine behind each command, with its result.
const END: &str = "=END=";

/// What the machine runs first, and only. The disk's free space is that of /data.
const INIT: &str = r#"#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /data
/bin/busybox mount -t proc none /proc
/bin/busybox mount -t sysfs none /sys
/bin/busybox mount -t devtmpfs none /dev 2>/dev/null
/bin/busybox --install -s /bin
export PATH=/bin WAYMEET_DATA_DIR=/data/waymeet
mount -t tmpfs -o size=200m none /data
for module in /module-*; do insmod $module; done
stty -echo -onlcr
ip link set lo up && ip address add ADDR dev eth0 && ip link set eth0 up
echo "=END= $?"
while read -r line; do eval "$line"; echo "=END= $?"; done
poweroff -f
"#;

/// What `tests/vm/prepare` fetched.
fn fetched() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/vm");
    if folder.join("vmlinuz").exists() {
        return Some(folder);
    }
    eprintln!(
        "SKIPPED: a test with a virtual machine needs a kernel: tests/vm/prepare fetches one"
    );
    None
}

/// A running machine; switched off when dropped.
struct Machine {
    qemu: Child,
    input: ChildStdin,
    said: mpsc::Receiver<String>,
    _disk: TempDir,
}

impl Machine {
    fn boot(fetched: &Path, switch: &Switch, addr: &str) -> Self {
        let disk = tempfile::tempdir().unwrap();
        let archive = disk.path().join("disk");
        fs::write(&archive, root(fetched, addr)).unwrap();
        let namespace = switch.namespace();
        namespace.ip(&format!("tuntap add dev {TAP} mode tap"));
        switch.attach(TAP);
        let mut command = Command::new(QEMU);
        command
            .args(["-accel", "tcg", "-cpu", "max", "-m", "512", "-smp", "1"])
            .args([
                "-rtc",
                "base=1970-01-02T00:00:00",
                "-nodefaults",
                "-no-reboot",
            ])
            .args(["-display", "none", "-serial", "stdio"])
            .args(["-append", "console=ttyS0 quiet panic=-1"])
            .arg("-kernel")
            .arg(fetched.join("vmlinuz"))
            .arg("-initrd")
            .arg(&archive)
            .arg("-netdev")
            .arg(format!("tap,id=net,ifname={TAP},script=no,downscript=no"))
            .args(["-device", "virtio-net-pci,netdev=net,romfile="])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        let mut qemu = namespace.place().inside(|| command.spawn()).unwrap();
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
        let mut machine = Self {
            qemu,
            input,
            said,
            _disk: disk,
        };
        let (up, text) = machine.answer("to boot");
        assert!(up, "{text}");
        machine
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

    fn try_run(&mut self, command: &str) -> (bool, String) {
        writeln!(self.input, "{command}").unwrap();
        self.answer(command)
    }

    #[track_caller]
    fn run(&mut self, command: &str) -> String {
        let (done, text) = self.try_run(command);
        assert!(done, "{command}: {text}");
        text
    }

    /// What the node's command gives as JSON, once it succeeds and is what is waited for.
    #[track_caller]
    fn until(&mut self, command: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (done, text) = self.try_run(&format!("waymeet --json {command} 2>&1"));
            let value = text
                .lines()
                .find_map(|line| serde_json::from_str(line).ok());
            if let Some(value) = value.filter(|value| done && is_it(value)) {
                return value;
            }
            if Instant::now() > deadline {
                let log = self.try_run("tail -n 40 /data/log").1;
                panic!("{command} gives {text}\n{log}");
            }
            self.run("sleep 0.2");
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.qemu.kill());
        drop(self.qemu.wait());
    }
}

/// The machine's files, as an archive that the kernel unpacks.
fn root(fetched: &Path, addr: &str) -> Vec<u8> {
    let program = Path::new(env!("CARGO_BIN_EXE_waymeet"));
    let mut files = vec![
        ("init".to_owned(), INIT.replace("ADDR", addr).into_bytes()),
        (
            "bin/busybox".to_owned(),
            fs::read(fetched.join("busybox")).unwrap(),
        ),
        ("bin/waymeet".to_owned(), fs::read(program).unwrap()),
    ];
    let output = Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    // `name => /path (0x…)`, or `/path (0x…)` for the loader.
    let words = text.split_ascii_whitespace();
    let libraries: BTreeSet<&str> = words.filter(|word| word.starts_with('/')).collect();
    for library in libraries {
        files.push((
            library.trim_start_matches('/').to_owned(),
            fs::read(library).unwrap(),
        ));
    }
    for entry in fs::read_dir(fetched).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.starts_with("module-") {
            let bytes = fs::read(fetched.join(&name)).unwrap();
            files.push((name, bytes));
        }
    }
    archive(&files)
}

/// Files and their folders in the "newc" format of cpio: a head of hexadecimal digits, the name and the
/// content, each filled up to four bytes (Documentation/driver-api/early-userspace/buffer-format.rst).
fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
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
    for (name, _) in files {
        folders.extend(Path::new(name).ancestors().skip(1));
    }
    for folder in folders {
        if folder != Path::new("") {
            add(folder.to_str().unwrap(), FOLDER, &[]);
        }
    }
    for (name, content) in files {
        add(name, FILE, content);
    }
    add("TRAILER!!!", 0, &[]);
    archive
}

#[test]
fn a_board_whose_clock_stands_in_1970_meets_a_node_whose_clock_is_right() {
    let Some(fetched) = fetched() else { return };
    let Some(net) = Net::start(&[QEMU, "ldd"]) else {
        return;
    };
    let home = net.switch();
    let host = net.host(&home, &["10.1.0.1/24"]);
    let ben = host.node("Ben");
    is_at(&ben, "10.1.0.1");
    let mut board = Machine::boot(&fetched, &home, "10.1.0.9/24");
    assert_eq!(board.run("date +%Y").trim(), "1970");

    board.run("waymeet -v --no-open >/data/log 2>&1 &");
    board.run("while ! [ -f /data/waymeet/dashboard-url ]; do sleep 0.1; done");
    let board_id = board.until("setup Board", |_| true)["identity"]["id"].clone();
    board.until(&format!("join '{}'", ben.invite()), |_| true);
    board.until("contacts", |list| {
        list["items"][0]["online"] == true && list["items"][0]["state"] == "ready"
    });

    let forum = ben.new_forum("Lake trip");
    let thread = ben.new_thread(&forum, "Saturday", "who comes?");
    let id = board_id.as_str().unwrap();
    ben.until("the board to be a contact", |ben| ben.contact(id));
    ben.post(
        &format!("/spaces/{forum}/offers"),
        &json!({ "contact": id }),
    );
    let offer = board.until("forums offers", |list| list["items"][0]["id"].is_string());
    let offer = offer["items"][0]["id"].as_str().unwrap().to_owned();
    board.until(&format!("forums accept {offer}"), |_| true);
    let read = format!("forums read {thread}");
    let texts = |thread: &Value| -> Vec<String> {
        let items = thread["items"].as_array().unwrap().iter();
        items
            .map(|item| item["body"].as_str().unwrap().to_owned())
            .collect()
    };
    board.until(&read, |thread| texts(thread) == ["who comes?"]);
    let reply = board.until(&format!("forums reply {thread} 'I do'"), |_| true);
    let seen = ben.reads(reply["id"].as_str().unwrap(), "I do");
    assert_eq!(seen["doubtful_time"], true, "{seen}");
    ben.reply(&thread, "see you there");
    let both = ["who comes?", "I do", "see you there"];
    let there = board.until(&read, |thread| texts(thread) == both);
    assert_eq!(ben.texts(&thread), both);
    // To a clock in 1970 the others' posts come from the future.
    assert_eq!(there["items"][2]["doubtful_time"], true, "{there}");
}
