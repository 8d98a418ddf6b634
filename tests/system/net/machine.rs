//! A small computer of its own: a virtual machine with half a gibibyte of memory and a clock that stands
//! in 1970, plugged into the network under test.
//!
//! `tests/vm/prepare` fetches what it boots: Debian's kernel and busybox; the real program is its only
//! other.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::{Net, Switch, hosts::is_at};
use crate::harness::guest::{self, Files, Guest, OBEY, QEMU};

/// The interface at the switch.
const TAP: &str = "vm0";
const LOG: &str = "/data/log";

/// What the machine runs first. The disk's free space is that of /data.
const INIT: &str = r#"#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /data
/bin/busybox mount -t proc none /proc
/bin/busybox mount -t sysfs none /sys
/bin/busybox mount -t devtmpfs none /dev 2>/dev/null
/bin/busybox --install -s /bin
export PATH=/bin WAYMEET_DATA_DIR=/data/waymeet
mount -t tmpfs -o size=200m none /data
for module in /module-*; do insmod $module; done
ip link set lo up && ip address add ADDR dev eth0 && ip link set eth0 up
"#;

fn boot(fetched: &Path, switch: &Switch, addr: &str) -> Guest {
    let mut files = Files::default();
    files.add("init", INIT.replace("ADDR", addr) + OBEY);
    files.add("bin/busybox", fs::read(fetched.join("busybox")).unwrap());
    files.program("waymeet", Path::new(env!("CARGO_BIN_EXE_waymeet")));
    for entry in fs::read_dir(fetched).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.starts_with("module-") {
            files.add(&name, fs::read(fetched.join(&name)).unwrap());
        }
    }
    let namespace = switch.namespace();
    namespace.ip(&format!("tuntap add dev {TAP} mode tap"));
    switch.attach(TAP);
    let tap = format!("tap,id=net,ifname={TAP},script=no,downscript=no");
    let more = [
        ["-m", "512"],
        ["-smp", "1"],
        ["-rtc", "base=1970-01-02T00:00:00"],
        ["-netdev", &tap],
        ["-device", "virtio-net-pci,netdev=net,romfile="],
    ];
    let kernel = fetched.join("vmlinuz");
    Guest::boot(namespace.place(), &kernel, &files, more.as_flattened())
}

/// What the node's command gives, once it is what is waited for.
#[track_caller]
fn until(board: &mut Guest, command: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    board.until(&format!("waymeet --json {command}"), LOG, is_it)
}

#[test]
fn a_board_whose_clock_stands_in_1970_meets_a_node_whose_clock_is_right() {
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/vm");
    if !guest::is_possible(&fetched, "tests/vm/prepare") {
        return;
    }
    let Some(net) = Net::start(&[QEMU, "ldd"]) else {
        return;
    };
    let home = net.switch();
    let host = net.host(&home, &["10.1.0.1/24"]);
    let ben = host.node("Ben");
    is_at(&ben, "10.1.0.1");
    let mut board = boot(&fetched, &home, "10.1.0.9/24");
    assert_eq!(board.run("date +%Y").trim(), "1970");

    board.run("waymeet -v --no-open >/data/log 2>&1 &");
    board.run("while ! [ -f /data/waymeet/dashboard-url ]; do sleep 0.1; done");
    let board_id = until(&mut board, "setup Board", |_| true)["identity"]["id"].clone();
    until(&mut board, &format!("join '{}'", ben.invite()), |_| true);
    until(&mut board, "contacts", |list| {
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
    let offer = until(&mut board, "forums offers", |list| {
        list["items"][0]["id"].is_string()
    });
    let offer = offer["items"][0]["id"].as_str().unwrap().to_owned();
    until(&mut board, &format!("forums accept {offer}"), |_| true);
    let read = format!("forums read {thread}");
    let texts = |thread: &Value| -> Vec<String> {
        let items = thread["items"].as_array().unwrap().iter();
        items
            .map(|item| item["body"].as_str().unwrap().to_owned())
            .collect()
    };
    until(&mut board, &read, |thread| texts(thread) == ["who comes?"]);
    let reply = until(&mut board, &format!("forums reply {thread} 'I do'"), |_| {
        true
    });
    let seen = ben.reads(reply["id"].as_str().unwrap(), "I do");
    assert_eq!(seen["doubtful_time"], true, "{seen}");
    ben.reply(&thread, "see you there");
    let both = ["who comes?", "I do", "see you there"];
    let there = until(&mut board, &read, |thread| texts(thread) == both);
    assert_eq!(ben.texts(&thread), both);
    // To a clock in 1970 the others' posts come from the future.
    assert_eq!(there["items"][2]["doubtful_time"], true, "{there}");
}
