//! A whole run: faults rage while safety is checked, then they stop and all must become equal.

use super::{
    Figures, NodeStore, Setting,
    world::{HOUR, MINUTE, SECOND, World},
};

/// All must be equal so long after the faults at the latest, in microseconds.
const CONVERGED_MAX: u64 = 2 * HOUR;
/// How long is watched that nobody says anything more, in microseconds.
const SILENCE: u64 = 10 * MINUTE;
/// Frames of a pair of contacts in that time at most: a meeting that is begun anew says a few.
const SILENT_FRAMES_MAX: u64 = 16;

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Ran {
    /// What happened.
    pub figures: Figures,
    /// The hash of everything that happened.
    pub trace: [u8; 32],
}

/// Runs a world to its end.
///
/// # Panics
/// Where something doesn't hold; the message has the seed and the command that shows it again.
#[must_use]
pub fn run<S: NodeStore>(setting: Setting) -> Ran {
    let hours = setting.hours;
    let mut world = World::<S>::new(setting);
    for hour in 1..=hours {
        world.run_until(hour * HOUR);
        if hour % 6 == 0 {
            let n = world.rng.index(world.nodes.len());
            let node = &world.nodes[n];
            if node.up && !node.doomed && !node.full {
                world.check_acknowledged(n);
            }
        }
    }
    world.settle();
    Ran {
        trace: world.trace(),
        figures: world.figures,
    }
}

impl<S: NodeStore> World<S> {
    /// Ends the faults and waits until all is equal, then that all is silent.
    pub fn settle(&mut self) {
        self.calm();
        let began = self.now();
        let mut wait = 10 * SECOND;
        loop {
            let until = self.now() + wait;
            self.run_until(until);
            let Some(difference) = self.difference() else {
                break;
            };
            if self.now() - began > CONVERGED_MAX {
                self.fail(&format!("it never became equal: {difference}"));
            }
            wait += wait / 2;
        }
        self.figures.converged_us = self.now() - began;
        self.check_equal();
        self.quiet = true;
        let until = self.now() + MINUTE;
        self.run_until(until);
        let before = self.frames_honest;
        let until = self.now() + SILENCE;
        self.run_until(until);
        let said = self.frames_honest - before;
        if said > SILENT_FRAMES_MAX * self.pairs.len() as u64 {
            self.fail(&format!("{said} frames after all was equal"));
        }
        self.check_equal();
    }
}
