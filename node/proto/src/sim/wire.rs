//! A connection of two simulated devices: streams that keep their order until the connection is
//! cut, at any byte, and hints that get lost, doubled and late.
//!
//! A receiver hands on whole frames, so of a frame that the cut goes through nothing arrives. How
//! QUIC makes such streams of datagrams is not simulated.

use std::collections::BTreeMap;

use super::Rng;
use crate::session::Lane;

/// Bytes that a space's stream holds between the two sessions before it is full, as on real links.
const LANE_BYTES: usize = 512 * 1024;
/// Bytes that all of them hold together.
const LANES_BYTES: usize = 4 * 1024 * 1024;
/// Bytes that the control stream holds.
const CONTROL_BYTES: usize = 1024 * 1024;
/// Bytes of a frame's length before it.
const PREFIX: usize = 4;

/// How a link carries.
#[derive(Debug, Clone, Copy)]
pub struct Link {
    /// One way, in microseconds.
    pub latency_us: u64,
    /// Added to it at random, in microseconds.
    pub jitter_us: u64,
    /// Bytes a second.
    pub bandwidth: u64,
    /// Hints lost of a thousand.
    pub hint_loss: u64,
    /// Hints that arrive twice, of a thousand.
    pub hint_double: u64,
    /// Meetings of a thousand that are cut at some byte.
    pub cuts: u64,
}

impl Link {
    /// A good link without faults: a LAN.
    pub const LAN: Self = Self {
        latency_us: 1_000,
        jitter_us: 200,
        bandwidth: 12_500_000,
        hint_loss: 0,
        hint_double: 0,
        cuts: 0,
    };

    /// Some link between a good one and Bluetooth at the edge of its reach.
    #[must_use]
    pub fn any(rng: &mut Rng) -> Self {
        let (latency_us, bandwidth) = match rng.below(4) {
            0 => (500, 50_000_000),
            1 => (3_000, 5_000_000),
            2 => (60_000, 1_000_000),
            _ => (150_000, 60_000),
        };
        Self {
            latency_us,
            jitter_us: latency_us / 2,
            bandwidth,
            hint_loss: rng.below(400),
            hint_double: rng.below(100),
            cuts: rng.below(300),
        }
    }

    /// When a hint arrives, none to two times.
    pub(super) fn hint(&self, now: u64, rng: &mut Rng) -> Vec<u64> {
        let mut times = Vec::new();
        if rng.chance(self.hint_loss) {
            return times;
        }
        // Gossip goes its own way, and sometimes a long one.
        let late = if rng.chance(50) { 2_000_000 } else { 1 };
        times.push(now + self.latency_us + rng.below(self.jitter_us * 3 + late));
        if rng.chance(self.hint_double) {
            times.push(now + self.latency_us * 2 + rng.below(5_000_000));
        }
        times
    }
}

/// What became of a frame.
pub(super) enum Sent {
    /// It arrives at this time.
    Arrives(u64),
    /// The connection is cut at this time, before its last byte.
    Cut(u64),
}

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    /// Until then the link carries what was sent before.
    busy: u64,
    /// Bytes sent and not read yet, and when the last frame arrives.
    lanes: BTreeMap<Lane, (usize, u64)>,
    held: usize,
    /// Bytes sent in all.
    pub(super) sent: u64,
    /// The connection is cut before this byte.
    pub(super) cut_at: Option<u64>,
}

impl Pipe {
    pub(super) fn has_room(&self, lane: Lane) -> bool {
        let held = self.lanes.get(&lane).map_or(0, |(bytes, _)| *bytes);
        match lane {
            Lane::Control => held < CONTROL_BYTES,
            Lane::Space(_) => held < LANE_BYTES && self.held < LANES_BYTES,
        }
    }

    pub(super) fn send(
        &mut self,
        lane: Lane,
        len: usize,
        now: u64,
        link: &Link,
        rng: &mut Rng,
    ) -> Sent {
        let bytes = (len + PREFIX) as u64;
        self.sent += bytes;
        let time = |bytes: u64| bytes.saturating_mul(1_000_000) / link.bandwidth.max(1);
        let start = self.busy.max(now);
        self.busy = start + time(bytes);
        if let Some(cut) = self.cut_at.filter(|cut| self.sent >= *cut) {
            let inside = bytes.saturating_sub(self.sent - cut);
            return Sent::Cut(start + time(inside) + link.latency_us);
        }
        let arrives = self.busy + link.latency_us + rng.below(link.jitter_us + 1);
        let (held, last) = self.lanes.entry(lane).or_default();
        *held += len;
        *last = arrives.max(*last);
        if lane != Lane::Control {
            self.held += len;
        }
        Sent::Arrives(*last)
    }

    /// The other side read a frame.
    pub(super) fn read(&mut self, lane: Lane, len: usize) {
        if let Some((held, _)) = self.lanes.get_mut(&lane) {
            *held = held.saturating_sub(len);
        }
        if lane != Lane::Control {
            self.held = self.held.saturating_sub(len);
        }
    }
}
