//! What the system says of a node's process and its database.

use std::{fs, os::unix::fs::MetadataExt as _, path::PathBuf, time::Duration};

use crate::harness::Node;

/// Clock ticks a second in `/proc/PID/stat`; Linux shows 100 to programs on every machine that
/// this runs on.
const TICKS_PER_SECOND: u64 = 100;
/// Bytes of a block in `stat`, by POSIX.
const STAT_BLOCK: u64 = 512;

/// The process of a running node, which it writes into its lock file.
pub(crate) fn pid(node: &Node) -> u32 {
    let text = fs::read_to_string(node.data_dir().join("lock")).unwrap();
    text.trim().parse().unwrap()
}

fn status_bytes(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let kib: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap();
    kib * 1_024
}

/// Resident memory now.
pub(crate) fn rss(pid: u32) -> u64 {
    status_bytes(pid, "VmRSS")
}

/// The most resident memory so far.
pub(crate) fn rss_peak(pid: u32) -> u64 {
    status_bytes(pid, "VmHWM")
}

/// Processor time so far, of all threads, in steps of 10 ms.
pub(crate) fn cpu(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name in parentheses may contain anything; the fields behind it are numbered from 3.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let fields: Vec<_> = fields.split_whitespace().collect();
    let ticks = |number: usize| fields[number - 3].parse::<u64>().unwrap();
    Duration::from_millis((ticks(14) + ticks(15)) * 1_000 / TICKS_PER_SECOND)
}

pub(crate) fn database(node: &Node) -> PathBuf {
    node.data_dir().join("waymeet.redb")
}

/// The database's length and the bytes of its blocks on disk.
pub(crate) fn disk(node: &Node) -> (u64, u64) {
    let found = fs::metadata(database(node)).unwrap();
    (found.len(), found.blocks() * STAT_BLOCK)
}

/// Bytes that went over loopback so far, with all their headers, of every process on the machine.
pub(crate) fn loopback() -> u64 {
    let devices = fs::read_to_string("/proc/net/dev").unwrap();
    devices
        .lines()
        .find_map(|line| line.trim().strip_prefix("lo:"))
        .and_then(|fields| fields.split_whitespace().next()?.parse().ok())
        .unwrap()
}
