//! What goes wrong in a world, until it doesn't any more.

use super::{
    NodeStore,
    world::{DAY, Event, HOUR, MINUTE, SECOND, World},
};

impl<S: NodeStore> World<S> {
    pub(super) fn fault(&mut self) {
        if !self.raging {
            return;
        }
        let mean = 7 * DAY / (self.setting.faults * self.nodes.len() as u64);
        let wait = self.rng.around(mean.max(1));
        self.at(self.now + wait, Event::Fault);
        let n = self.rng.index(self.nodes.len());
        if !self.nodes[n].up || self.nodes[n].full {
            return;
        }
        match self.rng.below(16) {
            0..2 => self.crash(n),
            2..5 => {
                let seed = self.rng.next();
                self.nodes[n].doomed = true;
                self.nodes[n].store.cut_power_in_next_commit(seed);
            }
            5 => {
                self.figures.full += 1;
                self.nodes[n].full = true;
                self.nodes[n].store.set_full(true);
                let wait = self.rng.between(MINUTE, 6 * HOUR);
                self.at(self.now + wait, Event::DiskFree(n));
            }
            6..8 if self.setting.clocks => {
                self.figures.jumps += 1;
                self.jump(n);
            }
            8..14 => {
                if self.nodes[n].backup.is_some() && self.rng.chance(600) {
                    self.put_back(n);
                } else {
                    self.nodes[n].backup = Some(self.nodes[n].store.image());
                    self.at(self.now + HOUR, Event::ActOnce(n));
                }
            }
            _ => {
                let meetings = self.meetings_of(n);
                if let Some((meeting, _)) = self.rng.pick(&meetings).copied() {
                    self.cut(meeting);
                }
            }
        }
    }

    /// A commit found no room: all meetings end.
    pub(super) fn fail_disk(&mut self, n: usize) {
        if !std::mem::replace(&mut self.nodes[n].failing, true) {
            for (meeting, _) in self.meetings_of(n) {
                self.cut(meeting);
            }
        }
    }

    pub(super) fn free_disk(&mut self, n: usize) {
        self.nodes[n].store.set_full(false);
        self.nodes[n].full = false;
        self.nodes[n].failing = false;
    }

    /// The power fails.
    pub(super) fn crash(&mut self, n: usize) {
        self.figures.crashes += 1;
        self.nodes[n].up = false;
        self.nodes[n].doomed = false;
        self.forget_meetings(n);
        let seed = self.rng.next();
        // The call that was to fail at the cut may not have come yet: no more of the old disk.
        self.nodes[n].store.power_cut(seed);
        self.free_disk(n);
        // What was being changed may have been done.
        self.know_again(n);
        let wait = if self.raging {
            self.rng.between(SECOND, 3 * HOUR)
        } else {
            SECOND
        };
        self.at(self.now + wait, Event::Boot(n));
    }

    pub(super) fn boot(&mut self, n: usize) {
        self.nodes[n].up = true;
        // A clock without a battery.
        if self.setting.clocks && self.raging && self.rng.chance(300) {
            self.jump(n);
        }
        if !self.nodes[n].full {
            self.check_acknowledged(n);
        }
    }

    /// An older copy of the disk takes its place. The person either waits until what was written
    /// since is back, or writes on at once, which forks their feeds.
    fn put_back(&mut self, n: usize) {
        let Some(image) = self.nodes[n].backup.take() else {
            return;
        };
        self.figures.restored += 1;
        self.nodes[n].up = false;
        self.nodes[n].doomed = false;
        self.forget_meetings(n);
        self.free_disk(n);
        self.nodes[n].store.put_back(&image);
        if self.rng.chance(500) {
            self.nodes[n].silent = true;
        } else {
            let device = self.nodes[n].person.device.id();
            self.oracle.double.insert(device);
            self.at(self.now + 2 * MINUTE, Event::ActOnce(n));
        }
        self.know_again(n);
        self.forgo_acknowledged(n);
        self.at(self.now + MINUTE, Event::Boot(n));
    }

    /// The faults are over: disks have room, everybody is there and in reach, nobody writes.
    pub fn calm(&mut self) {
        self.raging = false;
        for n in 0..self.nodes.len() {
            self.free_disk(n);
            if self.nodes[n].doomed {
                self.crash(n);
            } else if !self.nodes[n].up {
                self.at(self.now + SECOND, Event::Boot(n));
            }
        }
        for pair in 0..self.pairs.len() {
            let wait = self.rng.below(MINUTE);
            if !self.pairs[pair].in_reach {
                self.at(self.now + wait, Event::Reach(pair));
            }
        }
    }
}
