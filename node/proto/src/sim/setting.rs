//! What a world is like, and what came of it.

use super::{Graph, Link, Rng, Timetable};

/// What a world is made of. The same setting gives the same run.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Decides everything that isn't said here.
    pub seed: u64,
    /// How many.
    pub nodes: usize,
    /// For so many hours people write and faults rage.
    pub hours: u64,
    /// Forums at the beginning.
    pub forums: usize,
    /// What a person writes or does in a day, on average.
    pub acts: u64,
    /// Faults of one node in a week, on average.
    pub faults: u64,
    /// Hostile nodes of a thousand.
    pub hostile: u64,
    /// Nodes of a thousand that use another's keys.
    pub twins: u64,
    /// Clocks are wrong and jump.
    pub clocks: bool,
    /// Who knows whom; any where it isn't said.
    pub graph: Option<Graph>,
    /// When they meet; for each pair any where it isn't said.
    pub timetable: Option<Timetable>,
    /// How their links carry; for each pair any where it isn't said.
    pub link: Option<Link>,
    /// How long a commit takes, in microseconds.
    pub commit_us: u64,
    /// On which store, for the command that runs it again.
    pub store: &'static str,
}

impl Setting {
    /// A small world with everything in it.
    #[must_use]
    pub fn small(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x5eed);
        Self {
            seed,
            nodes: 3 + rng.index(6),
            hours: 24 * rng.between(2, 6),
            forums: 2,
            acts: 8,
            faults: 6,
            hostile: 120,
            twins: 150,
            clocks: true,
            graph: None,
            timetable: None,
            link: None,
            commit_us: 4_000,
            store: "redb",
        }
    }

    /// A world of a given size and time.
    #[must_use]
    pub fn large(seed: u64, nodes: usize, days: u64) -> Self {
        Self {
            nodes,
            hours: 24 * days,
            forums: 2 + nodes / 8,
            acts: 4,
            faults: 2,
            hostile: 40,
            twins: 40,
            ..Self::small(seed)
        }
    }

    /// The command that runs it again.
    #[must_use]
    pub fn command(&self) -> String {
        let Self {
            seed, nodes, store, ..
        } = self;
        let mut size = String::new();
        if self.nodes != Self::small(self.seed).nodes || self.acts == 4 {
            size = format!(" --nodes {nodes} --days {}", self.hours / 24);
        }
        format!(
            "cargo run --release -p engine --example sim -- --store {store}{size} --seed {seed}"
        )
    }
}

/// What happened in a world.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Things that happened.
    pub events: u64,
    /// Meetings that began.
    pub meetings: u64,
    /// Frames that were sent.
    pub frames: u64,
    /// Bytes that were sent.
    pub bytes: u64,
    /// Hints that were sent.
    pub hints: u64,
    /// Batches and own changes that were committed.
    pub commits: u64,
    /// Entries that people wrote.
    pub written: u64,
    /// Entries that came in from others, all nodes together.
    pub imported: u64,
    /// Power cuts.
    pub crashes: u64,
    /// Times that a disk was full.
    pub full: u64,
    /// Older copies that were put back.
    pub restored: u64,
    /// Feeds that forked, as known at the end.
    pub forks: u64,
    /// Feeds that were revoked.
    pub revocations: u64,
    /// Connections that were cut at some byte.
    pub cuts: u64,
    /// Clocks that jumped.
    pub jumps: u64,
    /// Meetings that a node ended because its contact misbehaved.
    pub refused: u64,
    /// Things of contacts that were dropped.
    pub rejected: u64,
    /// The most bytes that one meeting held at one side, against honest contacts.
    pub size_max: usize,
    /// And against hostile ones.
    pub size_hostile_max: usize,
    /// Time until all was equal after the faults ended, in microseconds.
    pub converged_us: u64,
    /// Spaces and entries that were compared by value at the end, over all nodes.
    pub compared_spaces: u64,
    /// Entries among them.
    pub compared_entries: u64,
}

impl Figures {
    /// Adds another run's: sums, and of what was the most the more.
    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.meetings += other.meetings;
        self.frames += other.frames;
        self.bytes += other.bytes;
        self.hints += other.hints;
        self.commits += other.commits;
        self.written += other.written;
        self.imported += other.imported;
        self.crashes += other.crashes;
        self.full += other.full;
        self.restored += other.restored;
        self.forks += other.forks;
        self.revocations += other.revocations;
        self.cuts += other.cuts;
        self.jumps += other.jumps;
        self.refused += other.refused;
        self.rejected += other.rejected;
        self.size_max = self.size_max.max(other.size_max);
        self.size_hostile_max = self.size_hostile_max.max(other.size_hostile_max);
        self.converged_us = self.converged_us.max(other.converged_us);
        self.compared_spaces += other.compared_spaces;
        self.compared_entries += other.compared_entries;
    }
}
