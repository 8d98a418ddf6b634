//! Contacts that lie: what they make of an honest session's frames, and what they send besides.

use super::{
    NodeStore, Rng,
    world::{Event, HOUR, MINUTE, SECOND, World},
};
use crate::{
    frame::{Control, Data, WANTS_MAX},
    frontier::{Frontier, Holes, Tail},
    ids::{DeviceId, EntryId},
    merkle::{FANOUT, Node, Prefix},
    session::Lane,
};

/// Frames kept to be sent again later, in other meetings too.
const KEPT_MAX: usize = 64;
/// Frames at one go.
const FLOOD: u64 = 12;

/// How somebody breaks the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Sends bytes that mean nothing.
    Garbage,
    /// Changes bits of true frames.
    Damage,
    /// Sends frames again, of this meeting and of others.
    Replay,
    /// Claims to hold what isn't there: long feeds, forks, holes, tails.
    Lies,
    /// Asks for everything, again and again.
    Greed,
    /// Reads little.
    Slow,
    /// Reads nothing.
    Deaf,
}

/// A node's bad side.
#[derive(Debug)]
pub(super) struct Hostile {
    manner: Manner,
    rng: Rng,
    kept: Vec<(Lane, Vec<u8>)>,
    /// Frames that it may still read.
    credit: u64,
}

impl Hostile {
    pub(super) fn new(mut rng: Rng) -> Self {
        let manner = match rng.below(7) {
            0 => Manner::Garbage,
            1 => Manner::Damage,
            2 => Manner::Replay,
            3 => Manner::Lies,
            4 => Manner::Greed,
            5 => Manner::Slow,
            _ => Manner::Deaf,
        };
        Self {
            manner,
            rng,
            kept: Vec::new(),
            credit: 8,
        }
    }

    /// Whether it reads a frame that is there.
    pub(super) fn reads(&mut self) -> bool {
        match self.manner {
            Manner::Slow => {
                let may = self.credit > 0;
                self.credit = self.credit.saturating_sub(1);
                may
            }
            Manner::Deaf => false,
            _ => true,
        }
    }

    /// What it sends instead of a true frame.
    pub(super) fn mangle(&mut self, lane: Lane, mut bytes: Vec<u8>) -> Vec<(Lane, Vec<u8>)> {
        if self.kept.len() < KEPT_MAX {
            self.kept.push((lane, bytes.clone()));
        } else {
            let at = self.rng.index(KEPT_MAX);
            self.kept[at] = (lane, bytes.clone());
        }
        if self.manner == Manner::Damage && self.rng.chance(200) {
            let at = self.rng.index(bytes.len());
            match self.rng.below(3) {
                0 => bytes[at] ^= 1 << self.rng.below(8),
                1 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, self.rng.next() as u8),
            }
        }
        vec![(lane, bytes)]
    }

    /// What it sends of its own accord, given a channel that may be open and devices that may
    /// have feeds there.
    fn forge(&mut self, channel: u32, devices: &[DeviceId]) -> Vec<(Lane, Vec<u8>)> {
        self.credit = 4;
        let count = 1 + self.rng.below(FLOOD);
        let mut frames = Vec::new();
        for _ in 0..count {
            let lane = if self.rng.chance(500) {
                Lane::Control
            } else {
                Lane::Space(channel)
            };
            let forged = match self.manner {
                Manner::Garbage => {
                    let len = 1 + self.rng.index(300);
                    let mut bytes = self.rng.bytes(len);
                    // Some with a true beginning.
                    if self.rng.chance(500) {
                        bytes[0] = [1, 2, 3, 4, 5, 6, 7, 0x20, 0x21, 0x22][self.rng.index(10)];
                    }
                    Some((lane, bytes))
                }
                Manner::Replay => self.rng.clone().pick(&self.kept).cloned(),
                Manner::Lies => Some(self.lie(channel, devices)),
                Manner::Greed => Some((Lane::Control, self.greed(channel, devices))),
                Manner::Damage | Manner::Slow | Manner::Deaf => None,
            };
            self.rng.next();
            frames.extend(forged);
        }
        frames
    }

    fn device(&mut self, devices: &[DeviceId]) -> DeviceId {
        let known = self.rng.clone().pick(devices).copied();
        match known {
            Some(device) if self.rng.chance(700) => device,
            _ => DeviceId(self.rng.seed()),
        }
    }

    fn lie(&mut self, channel: u32, devices: &[DeviceId]) -> (Lane, Vec<u8>) {
        let device = self.device(devices);
        if self.rng.chance(200) {
            let proof = self.rng.bytes(200);
            let end = if self.rng.chance(500) {
                let proof = &proof;
                Data::Fork { device, proof }
            } else {
                let body = &proof;
                Data::Revocation { device, body }
            };
            return (Lane::Space(channel), end.encode());
        }
        let frontiers = (0..1 + self.rng.below(20)).map(|_| self.frontier(devices));
        let frontiers: Vec<Frontier> = frontiers.collect();
        let frame = if self.rng.chance(300) {
            let node = if self.rng.chance(500) {
                Node::Bucket(frontiers)
            } else {
                let mut children = Box::new([[0; 32]; FANOUT]);
                children.fill_with(|| self.rng.seed());
                Node::Branch(children)
            };
            Control::Node {
                channel,
                prefix: Prefix::root(),
                node,
            }
        } else {
            Control::Frontiers { channel, frontiers }
        };
        (Lane::Control, frame.encode())
    }

    fn frontier(&mut self, devices: &[DeviceId]) -> Frontier {
        let base = match self.rng.below(4) {
            0 => self.rng.below(10),
            1 => self.rng.below(1 << 20),
            2 => u64::MAX - self.rng.below(3),
            _ => 0,
        };
        let some = |rng: &mut Rng, n: u64| rng.chance(300).then(|| rng.below(n));
        let tail = (base < 1 << 40 && self.rng.chance(300)).then(|| Tail {
            start: base + 1 + self.rng.below(1000),
            end: base + 1001 + self.rng.below(1 << 30),
            top: EntryId(self.rng.seed()),
        });
        Frontier {
            device: self.device(devices),
            base,
            top: EntryId(self.rng.seed()),
            tail,
            fork: some(&mut self.rng, 12),
            revoked: some(&mut self.rng, 12),
            holes: match some(&mut self.rng, 100) {
                Some(count) if count > 0 => Holes {
                    count: count as u32,
                    hash: [7; 16],
                },
                _ => Holes::default(),
            },
        }
    }

    fn greed(&mut self, channel: u32, devices: &[DeviceId]) -> Vec<u8> {
        let device = self.device(devices);
        match self.rng.below(3) {
            0 => {
                let many = devices.iter().map(|device| (*device, 0));
                let many: Vec<_> = many.chain([(device, 0)]).take(WANTS_MAX).collect();
                Control::Want {
                    channel,
                    feeds: many,
                }
            }
            1 => Control::WantBodies {
                channel,
                device,
                seqs: (0..200).collect(),
            },
            _ => Control::Node {
                channel,
                prefix: Prefix::root(),
                node: Node::Bucket(Vec::new()),
            },
        }
        .encode()
    }
}

impl<S: NodeStore> World<S> {
    pub(super) fn mischief(&mut self, meeting: u32, s: usize) {
        let Some((n, m)) = self.ends(meeting, s) else {
            return;
        };
        if self.quiet {
            return;
        }
        let Some(side) = self.side(meeting, s) else {
            return;
        };
        let common: Vec<_> = side.session.common().into_iter().collect();
        let space = self.rng.pick(&common).copied();
        let channel = space.and_then(|space| {
            let side = self.side(meeting, s)?;
            Some(side.session.gossip_channel(space)?.1)
        });
        let devices: Vec<DeviceId> = [n, m, 0].map(|n| self.nodes[n].person.device.id()).into();
        let channel = channel.unwrap_or_else(|| self.rng.below(4096) as u32);
        let forged = self.hostiles[n]
            .as_mut()
            .map(|hostile| hostile.forge(channel, &devices));
        for (lane, bytes) in forged.unwrap_or_default() {
            self.send_forged(meeting, s, lane, bytes);
        }
        self.pump(meeting, s);
        // Often in bursts; a world of days has other things to show too.
        let wait = if self.rng.chance(700) {
            self.rng.between(SECOND / 10, 10 * SECOND)
        } else {
            self.rng.between(MINUTE, 2 * HOUR)
        };
        self.at(self.now + wait, Event::Mischief { meeting, side: s });
    }
}
