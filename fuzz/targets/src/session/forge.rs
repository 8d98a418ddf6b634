//! What the hostile side makes up: frames of decisions, about things that are there and that aren't.

use proto::{
    DeviceId, EntryId,
    beacon::BeaconKey,
    frame::{Control, OfferFrame, TailWant, Whereabouts},
    frontier::{Frontier, Holes, Tail},
    merkle::{FANOUT, Node, Prefix},
    session::SpaceStore,
};

use super::Meeting;
use crate::script::Script;

impl Meeting {
    pub(super) fn channel(script: &mut Script<'_>) -> u32 {
        match script.byte() {
            255 => script.long() as u32,
            what => u32::from(what >> 2 & 7) * 1024 + u32::from(what & 3),
        }
    }

    pub(super) fn device(&self, script: &mut Script<'_>) -> DeviceId {
        match script.byte() {
            255 => DeviceId([script.byte(); 32]),
            n => self.world.devices[usize::from(n) % self.world.devices.len()],
        }
    }

    /// A claim of what the hostile side holds.
    fn frontier(&self, script: &mut Script<'_>) -> Frontier {
        let device = self.device(script);
        let what = script.byte();
        let space = self.world.forum;
        let known = self.puppet.store.frontier(space, device).ok().flatten();
        let mut frontier = known.unwrap_or_else(|| Frontier::empty(device));
        if what & 1 == 1 {
            frontier.base = match script.byte() {
                255 => script.long(),
                base => u64::from(base),
            };
        }
        if what & 2 == 2 {
            frontier.top = EntryId([script.byte(); 32]);
        }
        if what & 4 == 4 {
            frontier.fork = Some(u64::from(script.byte()));
        }
        if what & 8 == 8 {
            frontier.revoked = Some(u64::from(script.byte()));
        }
        if what & 16 == 16 {
            frontier.holes = Holes::of(std::iter::once(u64::from(script.byte())));
        }
        if what & 32 == 32 {
            let gap = 1 + u64::from(script.byte());
            let start = frontier.base.saturating_add(gap);
            frontier.tail = Some(Tail {
                start,
                end: start.saturating_add(1 + u64::from(script.byte())),
                top: EntryId([script.byte(); 32]),
            });
        }
        frontier
    }

    fn frontiers(&self, script: &mut Script<'_>) -> Vec<Frontier> {
        (0..script.byte() % 24)
            .map(|_| self.frontier(script))
            .collect()
    }

    /// A control frame of decisions.
    pub(super) fn control(&self, script: &mut Script<'_>) -> Control {
        let what = script.byte();
        let channel = Self::channel(script);
        match what % 10 {
            0 => Control::Spaces {
                generation: u32::from(script.byte()),
                tags: (0..script.byte() % 20)
                    .map(|_| [script.byte(); 16])
                    .collect(),
            },
            1 => Control::Digests {
                generation: u32::from(script.byte() % 8),
                digests: (0..script.byte() % 5)
                    .map(|_| [script.byte(); 32])
                    .collect(),
            },
            2 => Control::Node {
                channel,
                prefix: self.prefix(script),
                node: Node::Bucket(self.frontiers(script).into_iter().take(16).collect()),
            },
            3 => Control::Node {
                channel,
                prefix: self.prefix(script),
                node: Node::Branch(Box::new([[script.byte(); 32]; FANOUT])),
            },
            4 => Control::Frontiers {
                channel,
                frontiers: self.frontiers(script),
            },
            5 => Control::Want {
                channel,
                feeds: (0..script.byte() % 30)
                    .map(|_| (self.device(script), u64::from(script.byte())))
                    .collect(),
            },
            6 => Control::WantBodies {
                channel,
                device: self.device(script),
                seqs: (0..script.byte())
                    .map(|_| u64::from(script.byte()))
                    .collect(),
            },
            7 => Control::Offers {
                rev: u64::from(script.byte()),
                offers: (0..script.byte() % 4)
                    .map(|_| OfferFrame {
                        descriptor: script.blob().to_vec(),
                        chain: script.blob().to_vec(),
                    })
                    .collect(),
                whereabouts: Whereabouts {
                    beacon: script.flag().then(|| BeaconKey([script.byte(); 32])),
                    relay: script
                        .flag()
                        .then(|| String::from_utf8_lossy(script.blob()).into_owned()),
                },
            },
            8 => Control::WantTails {
                channel,
                feeds: (0..script.byte() % 30)
                    .map(|_| TailWant {
                        device: self.device(script),
                        genesis: script.flag(),
                        from: u64::from(script.byte()),
                        end: script.flag().then(|| u64::from(script.byte())),
                    })
                    .collect(),
            },
            _ => Control::Seen {
                rev: u64::from(script.byte()),
            },
        }
    }

    fn prefix(&self, script: &mut Script<'_>) -> Prefix {
        let device = self.device(script);
        Prefix::of(&device, script.below(65))
    }
}
