//! A line with a delay, losses and a rate, between a host and a switch.
//!
//! Two interfaces in a namespace of their own, and this process passes frames from one to the
//! other: not every kernel can do that by itself. What gets lost follows from a seed and a frame's
//! number. Enter at [`Running::start`].

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    Host, Namespace, Switch,
    capture::{Frames, buffer},
    packet::complete_checksum,
};

/// Frames on their way in one direction. More than a second of full frames at 100 Mbit/s.
const WAITING_MAX: usize = 10_000;
/// What comes while this much waits for its turn is dropped: the queue of a usual router.
const QUEUE: Duration = Duration::from_millis(400);

/// What a line does to frames, in each direction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line {
    /// One way.
    pub(crate) delay: Duration,
    /// Of a thousand frames, this many get lost.
    pub(crate) lost_per_mille: u64,
    /// Bytes a second, whole frames counted; nothing for as many as there are.
    pub(crate) rate: Option<u32>,
    pub(crate) seed: u64,
}

/// A line at work; ends when dropped.
pub(super) struct Running {
    end: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    _namespace: Namespace,
}

impl Running {
    pub(super) fn start(
        namespace: Namespace,
        line: Line,
        host: &mut Host,
        switch: &Switch,
        port: &str,
    ) -> Self {
        let name = host.next_interface(switch, port);
        for (here, there, other) in [
            ("near", name.as_str(), host.namespace()),
            ("far", port, switch.namespace()),
        ] {
            namespace.ip(&format!(
                "link add {here} type veth peer name {there} netns {}",
                other.pid()
            ));
            namespace.ip(&format!("link set dev {here} addrgenmode none up"));
            // One packet a frame: a large one would be lost, and counted as one.
            other.ip(&format!("link set dev {there} gso_max_segs 1"));
        }
        switch.attach(port);
        let frames = |name| Arc::new(Frames::of(&namespace, name));
        let (near, far) = (frames("near"), frames("far"));
        let end = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for (from, to, seed) in [
            (near.clone(), far.clone(), line.seed),
            (far, near, line.seed ^ u64::MAX),
        ] {
            let (sender, receiver) = sync_channel(WAITING_MAX);
            let end = end.clone();
            let way = Way {
                line,
                chance: Chance(seed),
                free: Instant::now(),
            };
            threads.push(thread::spawn(move || take(&from, way, &sender, &end)));
            threads.push(thread::spawn(move || give(&to, &receiver)));
        }
        Self {
            end,
            threads,
            _namespace: namespace,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

/// One direction.
struct Way {
    line: Line,
    chance: Chance,
    /// When the frames before have left.
    free: Instant,
}

impl Way {
    /// When a frame that came now arrives, unless it gets lost.
    fn arrival(&mut self, bytes: usize, now: Instant) -> Option<Instant> {
        if self.chance.next() % 1_000 < self.line.lost_per_mille {
            return None;
        }
        let begin = self.free.max(now);
        if begin - now > QUEUE {
            return None;
        }
        if let Some(rate) = self.line.rate {
            self.free = begin + Duration::from_secs(bytes as u64) / rate;
        } else {
            self.free = now;
        }
        Some(self.free + self.line.delay)
    }
}

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }
}

type Frame = (Instant, Vec<u8>);

fn take(from: &Frames, mut way: Way, to: &SyncSender<Frame>, end: &AtomicBool) {
    let mut buffer = buffer();
    while !end.load(Ordering::Relaxed) {
        if let Some((bytes, _)) = from.receive(&mut buffer).unwrap()
            && let Some(at) = way.arrival(bytes, Instant::now())
        {
            let mut frame = buffer[..bytes].to_vec();
            complete_checksum(&mut frame);
            // A full queue loses it.
            drop(to.try_send((at, frame)));
        }
    }
}

fn give(to: &Frames, from: &Receiver<Frame>) {
    // Frames arrive in the order in which they came, so the first is due first.
    for (at, frame) in from {
        thread::sleep(at.saturating_duration_since(Instant::now()));
        to.send(&frame);
    }
}
