//! A virtual machine with Bluetooth and no network, and tests of what the program does there.
//!
//! Real: the kernel's Bluetooth, bluetoothd, the bus, the program. Emulated: the adapters and the air
//! between them, by BlueZ's `btvirt`. `tests/bluetooth/prepare` fetches all of that from Debian;
//! where that wasn't done, or QEMU is missing, the tests are skipped. What takes how long here says
//! nothing of a radio.

mod life;
mod meeting;
mod node;
mod radio;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use crate::harness::{
    Place,
    guest::{self, Files, Guest, OBEY, PATIENCE},
};

/// What the machine runs first. Only `lo` is up, and there is no other interface.
const INIT: &str = r#"#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /data /run/dbus /tmp /var/lib/bluetooth
/bin/busybox --install -s /bin
export PATH=/bin HOME=/ LD_LIBRARY_PATH=/lib/debian
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev 2>/dev/null
mount -t tmpfs none /data
chmod 1777 /data /tmp
ip link set lo up
for module in /module-*; do insmod $module; done
[ -e /dev/vhci ] || mknod /dev/vhci c 10 137
mkfifo /data/idle
sleep 100000 >/data/idle &
"#;

/// The bus as Debian's is: calls are allowed to whom a service's own policy allows them. One user may
/// not speak to bluetoothd.
const BUS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
  </policy>
  <includedir>/etc/dbus-1/system.d</includedir>
  <policy user="barred"><deny send_destination="org.bluez"/></policy>
</busconfig>
"#;

/// The people: two who may use Bluetooth without any right of their own, one who may not.
const USERS: &str = "root:x:0:0::/:/bin/sh\nmessagebus:x:100:100::/:/bin/sh\n\
    ana:x:1000:1000::/:/bin/sh\nben:x:1001:1001::/:/bin/sh\nbarred:x:1002:1002::/:/bin/sh\n";
const GROUPS: &str = "root:x:0:\nmessagebus:x:100:\nbluetooth:x:101:\n\
    ana:x:1000:\nben:x:1001:\nbarred:x:1002:\n";

/// The machine, with its services as they are started.
struct Air {
    guest: Guest,
    started: Instant,
    /// Each keeps a processor busy: not beside each other.
    _turn: File,
}

impl Air {
    /// Boots the machine with these programs of ours, and nothing else started; or nothing where that
    /// can't be done.
    fn boot(programs: &[(&str, &Path)]) -> Option<Self> {
        let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bluetooth");
        if !guest::is_possible(&fetched, "tests/bluetooth/prepare") {
            return None;
        }
        let turn = Path::new(env!("CARGO_TARGET_TMPDIR")).join("with-bluetooth");
        let turn = File::create(turn).unwrap();
        turn.lock().unwrap();
        let mut files = Files::default();
        files.folder(&fetched.join("guest"));
        files.add("init", INIT.to_owned() + OBEY);
        files.add("etc/dbus-1/system.conf", BUS);
        files.add("etc/passwd", USERS);
        files.add("etc/group", GROUPS);
        for (name, program) in programs {
            files.program(name, program);
        }
        let kernel = fetched.join("vmlinuz");
        let more = ["-m", "1024", "-smp", "1"];
        let guest = Guest::boot(&Place::default(), &kernel, &files, &more);
        Some(Self {
            guest,
            started: Instant::now(),
            _turn: turn,
        })
    }

    /// Says what was seen and when.
    fn say(&self, text: &str) {
        println!("[{:6.1} s] {text}", self.started.elapsed().as_secs_f64());
    }

    #[track_caller]
    fn run(&mut self, command: &str) -> String {
        self.guest.run(command)
    }

    /// Starts something by a name, for a user, writing to a file of that name.
    #[track_caller]
    fn start(&mut self, name: &str, user: &str, command: &str) {
        let inner = format!("echo $$ >/data/{name}.pid; exec {command} >>/data/{name}.log 2>&1");
        self.run(&format!("su {user} -c '{inner}' </dev/null &"));
        self.until_true(&format!("[ -s /data/{name}.pid ]"), name);
    }

    /// Ends it as a power cut would.
    #[track_caller]
    fn kill(&mut self, name: &str) {
        self.run(&format!(
            "kill -9 $(cat /data/{name}.pid); rm -f /data/{name}.pid"
        ));
    }

    fn log(&mut self, name: &str) -> String {
        self.run(&format!("tail -n 200 /data/{name}.log"))
    }

    /// Waits until a command succeeds.
    #[track_caller]
    fn until_true(&mut self, command: &str, log: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.guest.try_run(command).0 {
            assert!(
                Instant::now() < deadline,
                "waited for {command} in vain\n{}\n{}",
                self.log(log),
                self.guest.try_run("tail -n 30 /data/*.log").1
            );
            self.run("sleep 0.1");
        }
    }

    /// Waits until a program said something.
    #[track_caller]
    fn until_said(&mut self, name: &str, text: &str) -> String {
        let look = format!("grep -F '{text}' /data/{name}.log");
        self.until_true(&format!("{look} >/dev/null"), name);
        self.run(&look)
    }

    fn start_bus(&mut self) {
        self.run("rm -f /run/dbus/system_bus_socket");
        let config = "--config-file=/etc/dbus-1/system.conf --nofork --nopidfile";
        self.start("bus", "root", &format!("dbus-daemon {config}"));
        self.until_true("[ -S /run/dbus/system_bus_socket ]", "bus");
    }

    fn start_service(&mut self) {
        self.start("bluetoothd", "root", "bluetoothd -n");
    }

    /// Plugs two adapters in, `hci0` and `hci1`.
    fn start_adapters(&mut self) {
        self.start("btvirt", "root", "btvirt -l2");
        self.until_true("[ -d /sys/class/bluetooth/hci1 ]", "btvirt");
    }

    /// Everything that a computer with Bluetooth has, and both adapters switched on.
    fn start_all(&mut self) {
        self.start_bus();
        self.start_service();
        self.start_adapters();
        self.is_on("hci0");
        self.is_on("hci1");
    }

    /// Waits until bluetoothd has switched an adapter on, as it does with each that appears.
    #[track_caller]
    fn is_on(&mut self, adapter: &str) {
        let index = adapter.trim_start_matches("hci");
        // It wants an input that stays open and says nothing.
        let look = format!("timeout 5 btmgmt --index {index} info </data/idle");
        let is_on = "grep -q \"current settings: powered.* le \"";
        self.until_true(&format!("{look} | {is_on}"), "bluetoothd");
    }

    /// Switches an adapter on or off, as a person would.
    fn power(&mut self, adapter: &str, on: bool) {
        let index = adapter.trim_start_matches("hci");
        let on = if on { "on" } else { "off" };
        let command = format!("timeout 5 btmgmt --index {index} power {on} </data/idle");
        self.until_true(&format!("{command} | grep -q complete"), "bluetoothd");
    }

    /// Throws or resets the switch that takes an adapter off the air.
    fn block(&mut self, adapter: &str, blocked: bool) {
        let switch = format!("$(dirname $(grep -lx {adapter} /sys/class/rfkill/*/name))/soft");
        self.run(&format!("echo {} >{switch}", u8::from(blocked)));
    }
}

/// A program of the workspace that stands by itself, built as these tests were.
fn example(name: &str) -> PathBuf {
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["build", "--workspace", "--locked", "--offline", "--quiet"])
        .args(["--example", name])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    assert!(command.status().unwrap().success());
    let here = std::env::current_exe().unwrap();
    let profile = here.ancestors().nth(2).unwrap();
    let program = profile.join("examples").join(name);
    assert!(fs::exists(&program).unwrap(), "{}", program.display());
    program
}
