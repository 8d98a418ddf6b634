//! How meetings begin, go on and end in a world.

use std::fmt::Debug;

use super::{
    NodeStore, Stored, Taken,
    hostile::Hostile,
    side::{Out, Side},
    wire::{Pipe, Sent},
    world::{Event, Meeting, SECOND, World},
};
use crate::{
    audience::Clearance,
    frame::{LinkClass, Whereabouts},
    session::{Fatal, Lane, Session, Start},
    time::Millis,
    verify::Comparison,
};

/// The longest wait before dialling again, in microseconds.
const BACKOFF_MAX: u64 = 60 * SECOND;
/// After so long without a sign of the other side a connection is given up, in microseconds.
const IDLE: u64 = 30 * SECOND;
/// A driver looks at its timer at least this often, in milliseconds.
const TIMER_MS_MAX: u64 = 15_000;

/// A frame on its way.
struct Frame {
    lane: Lane,
    bytes: Vec<u8>,
    /// With which an honest session gave out entries.
    clearance: Option<Clearance>,
    fate: Sent,
}

impl<S: NodeStore> World<S> {
    pub(super) fn reach(&mut self, pair: usize) {
        self.pairs[pair].in_reach = true;
        self.pairs[pair].backoff = SECOND;
        if self.raging {
            let (_, length) = self.pairs[pair].timetable.next(&mut self.rng);
            self.at(self.now + length, Event::Part(pair));
        }
        self.at(self.now, Event::Dial(pair));
    }

    pub(super) fn part(&mut self, pair: usize) {
        // The faults have ended: everybody stays.
        if !self.raging {
            return;
        }
        self.pairs[pair].in_reach = false;
        if let Some(meeting) = self.pairs[pair].meeting {
            self.cut(meeting);
        }
        let (wait, _) = self.pairs[pair].timetable.next(&mut self.rng);
        self.at(self.now + wait, Event::Reach(pair));
    }

    pub(super) fn dial(&mut self, pair: usize) {
        let p = &self.pairs[pair];
        if !p.in_reach || p.meeting.is_some() {
            return;
        }
        if !self.begin(pair) {
            self.redial(pair);
        }
    }

    fn redial(&mut self, pair: usize) {
        let p = &mut self.pairs[pair];
        if !p.in_reach || p.meeting.is_some() {
            return;
        }
        let wait = p.backoff / 2 + self.rng.below(p.backoff / 2 + 1);
        p.backoff = (p.backoff * 2).min(BACKOFF_MAX);
        self.at(self.now + wait, Event::Dial(pair));
    }

    /// Begins a meeting; false where one of them isn't there or is no contact.
    fn begin(&mut self, pair: usize) -> bool {
        let mut ends = self.pairs[pair].ends;
        if self.rng.chance(500) {
            ends.reverse();
        }
        let known = |n: usize, m: usize| {
            let node = &self.nodes[n];
            node.up && !node.failing && node.contacts.contains(&m)
        };
        if !known(ends[0], ends[1]) || !known(ends[1], ends[0]) {
            return false;
        }
        let exporter = self.rng.seed();
        let mut sides = [None, None];
        for s in [0, 1] {
            match self.start(ends, s, exporter) {
                Some(side) => sides[s] = Some(side),
                None => return false,
            }
        }
        let link = self.pairs[pair].link;
        let id = self.next_meeting;
        self.next_meeting += 1;
        let mut pipes = [Pipe::default(), Pipe::default()];
        if self.raging && self.rng.chance(link.cuts) {
            let pipe = &mut pipes[self.rng.index(2)];
            // Short ones often: it's the beginning where much is decided.
            let max = 1 << self.rng.between(4, 20);
            pipe.cut_at = Some(self.rng.between(1, max));
        }
        let meeting = Meeting {
            pair,
            ends,
            sides,
            pipes,
            cut: false,
        };
        self.meetings.insert(id, meeting);
        self.pairs[pair].meeting = Some(id);
        self.figures.meetings += 1;
        self.at(
            self.now + 20 * link.latency_us + SECOND / 5,
            Event::HintsUp(id),
        );
        for s in [0, 1] {
            self.at(
                self.now + link.latency_us,
                Event::Timer {
                    meeting: id,
                    side: s,
                },
            );
            if !self.is_honest(ends[s]) {
                self.at(
                    self.now + SECOND,
                    Event::Mischief {
                        meeting: id,
                        side: s,
                    },
                );
            }
        }
        true
    }

    fn start(&mut self, ends: [usize; 2], s: usize, exporter: [u8; 32]) -> Option<Side> {
        let peer = self.peer(ends[1 - s]);
        let seed = self.rng.seed();
        // One side may know that the link is slow, or neither.
        let class = if self.rng.chance(250) {
            LinkClass::Slow
        } else {
            LinkClass::Fast
        };
        let node = &self.nodes[ends[s]];
        let audience = self.well(ends[s], node.store.audience(&peer))?;
        let start = Start {
            dialer: s == 0,
            exporter,
            seed,
            class,
            device: node.person.device.id(),
            clearances: audience.clearances,
            agreed: audience.agreed,
            rev: audience.rev,
            seen_rev: audience.seen_rev,
            offers: audience.offers,
            whereabouts: Whereabouts::default(),
        };
        let view = self.well(ends[s], node.store.view());
        let session = self.well(ends[s], Session::new(start, &*view));
        Some(Side::new(session, peer))
    }

    /// What was read: disks that fail on reading are not simulated here.
    pub(super) fn well<T, E: Debug>(&self, n: usize, result: Result<T, E>) -> T {
        match result {
            Ok(value) => value,
            Err(error) => self.fail(&format!("node {n} can't read its store: {error:?}")),
        }
    }

    // What comes.

    pub(super) fn arrive(&mut self, meeting: u32, to: usize, lane: Lane, bytes: Vec<u8>) {
        if let Some(side) = self.side(meeting, to) {
            side.arrived(lane, bytes);
            self.pump(meeting, to);
        }
    }

    pub(super) fn hinted(&mut self, meeting: u32, to: usize, bytes: &[u8]) {
        let Some((n, m)) = self.ends(meeting, to) else {
            return;
        };
        let now = self.steady();
        let view = self.nodes[n].store.view();
        let Some(Meeting { sides, .. }) = self.meetings.get_mut(&meeting) else {
            return;
        };
        let (Ok(view), Some(side)) = (view, &mut sides[to]) else {
            return;
        };
        let handled = side.session.handle_gossip(bytes, now, &*view);
        drop(view);
        if let Err(fatal) = handled {
            return self.ended_by(meeting, to, m, &fatal);
        }
        self.pump(meeting, to);
    }

    /// This end's node and the other's.
    pub(super) fn ends(&self, meeting: u32, side: usize) -> Option<(usize, usize)> {
        let ends = self.meetings.get(&meeting)?.ends;
        Some((ends[side], ends[1 - side]))
    }

    pub(super) fn hints_up(&mut self, meeting: u32) {
        for s in [0, 1] {
            if let Some(side) = self.side(meeting, s) {
                side.hints = true;
                side.session.handle_gossip_up(true);
            }
        }
    }

    pub(super) fn wake(&mut self, meeting: u32, s: usize) {
        let Some((n, _)) = self.ends(meeting, s) else {
            return;
        };
        let Some(side) = self.side(meeting, s) else {
            return;
        };
        side.waking = false;
        if std::mem::take(&mut side.audience) {
            let peer = side.peer;
            match self.well(n, self.nodes[n].store.audience(&peer)) {
                Some(audience) => {
                    if let Some(side) = self.side(meeting, s) {
                        let (rev, offers) = (audience.rev, audience.offers);
                        side.session.handle_audience(
                            audience.clearances,
                            rev,
                            offers,
                            Whereabouts::default(),
                        );
                    }
                }
                // They are no contact any more.
                None => return self.cut(meeting),
            }
        }
        let hints = {
            let view = self.nodes[n].store.view();
            let Some(Meeting { sides, .. }) = self.meetings.get_mut(&meeting) else {
                return;
            };
            let (Ok(view), Some(side)) = (view, &mut sides[s]) else {
                return;
            };
            side.take_up(&*view)
        };
        for hint in self.well(n, hints) {
            self.send_hint(meeting, s, hint);
        }
        self.pump(meeting, s);
    }

    pub(super) fn timer(&mut self, meeting: u32, s: usize) {
        let Some((n, _)) = self.ends(meeting, s) else {
            return;
        };
        let now = self.steady();
        let at = self.now;
        let handled = {
            let view = self.nodes[n].store.view();
            let Some(Meeting { sides, .. }) = self.meetings.get_mut(&meeting) else {
                return;
            };
            let (Ok(view), Some(side)) = (view, &mut sides[s]) else {
                return;
            };
            if side.timer.is_some_and(|timer| timer <= at) {
                side.timer = None;
            }
            side.session.handle_timeout(now, &*view)
        };
        self.well(n, handled);
        self.pump(meeting, s);
    }

    pub(super) fn batch(&mut self, meeting: u32, s: usize) {
        let Some((n, m)) = self.ends(meeting, s) else {
            return;
        };
        let Some(side) = self.side(meeting, s) else {
            return;
        };
        let (Some(batch), peer) = (side.batches.pop_front(), side.peer) else {
            return;
        };
        let (wall, now) = (self.wall(n), self.steady());
        self.figures.commits += 1;
        let taken = match self.nodes[n].store.take(&peer, batch, wall) {
            Ok(taken) => taken,
            Err(_) if self.nodes[n].doomed => return self.crash(n),
            Err(_) if self.nodes[n].full => return self.fail_disk(n),
            Err(error) => self.fail(&format!("node {n} could not store: {error:?}")),
        };
        self.pass_on(n, meeting, &taken);
        let view = self.nodes[n].store.view();
        let Some(Meeting { sides, .. }) = self.meetings.get_mut(&meeting) else {
            return;
        };
        let (Ok(view), Some(side)) = (view, &mut sides[s]) else {
            return;
        };
        let results = taken.results.into_iter();
        let fatal = results
            .map(|result| side.stored(result, now, &*view))
            .find_map(Result::err);
        drop(view);
        if let Some(fatal) = fatal {
            return self.ended_by(meeting, s, m, &fatal);
        }
        self.pump(meeting, s);
    }

    /// Tells the node's other meetings what a batch changed.
    fn pass_on(&mut self, n: usize, from: u32, taken: &Taken) {
        if taken.audience {
            // A blog that is taken again is told to whom it wasn't before.
            self.know_again(n);
            self.tell_audience(n);
        }
        for result in &taken.results {
            match result {
                Stored::Feed {
                    space,
                    device,
                    bytes,
                    refused,
                    new,
                    ended,
                } => {
                    for device in ended {
                        self.tell(n, *space, *device, 0, None);
                    }
                    if let Some((first, count)) = new {
                        self.figures.imported += count;
                        self.tell(n, *space, *device, *first, Some(from));
                    } else if *bytes == 0 && refused.is_none() {
                        self.tell(n, *space, *device, 0, Some(from));
                    }
                }
                Stored::Compared {
                    space,
                    overlap,
                    result: Comparison::Fork { .. },
                } => self.tell(n, *space, overlap.0, 0, Some(from)),
                Stored::Compared { .. } | Stored::OffersKept { .. } | Stored::Done => {}
            }
        }
    }

    /// Does what a session says until it waits for something.
    pub(super) fn pump(&mut self, meeting: u32, s: usize) {
        let Some((n, m)) = self.ends(meeting, s) else {
            return;
        };
        let (frames, read, fatal) = self.converse(meeting, s, n);
        let mut reported = Vec::new();
        for frame in frames {
            if self.is_honest(n) {
                if let Some(clearance) = &frame.clearance {
                    self.check_clearance(n, m, clearance);
                }
                self.check_frame(meeting, s, frame.lane, &frame.bytes);
                self.frames_honest += u64::from(self.is_honest(m));
            }
            self.deliver(meeting, s, frame);
        }
        if let Some(fatal) = fatal {
            return self.ended_by(meeting, s, m, &fatal);
        }
        if read > 4_096 {
            // The other side may have room to send again.
            let link = self
                .meetings
                .get(&meeting)
                .map(|found| self.pairs[found.pair].link);
            let at = self.now + link.map_or(0, |link| link.latency_us);
            let side = 1 - s;
            self.at(at, Event::Timer { meeting, side });
        }
        let (now, steady, commit) = (self.now, self.steady(), self.setting.commit_us);
        let Some(side) = self.side(meeting, s) else {
            return;
        };
        let started = std::iter::from_fn(|| side.start_batch().then_some(())).count();
        let timer = side.session.next_timeout().map(|due| {
            let wait = due.since(steady).clamp(1, TIMER_MS_MAX);
            now + wait * 1000
        });
        let timer = timer.filter(|at| side.timer.is_none_or(|set| *at < set));
        side.timer = timer.or(side.timer);
        let size = side.size();
        reported.append(&mut side.rejected);
        self.check_size(n, m, size);
        self.check_rejected(n, m, &reported);
        for _ in 0..started {
            let late = self.rng.below(commit + 1);
            self.at(now + commit + late, Event::Batch { meeting, side: s });
        }
        if let Some(at) = timer {
            self.at(at, Event::Timer { meeting, side: s });
        }
    }

    /// Reads and answers as much as there is room for: the frames, the bytes that were read, and
    /// why the meeting has to end.
    fn converse(
        &mut self,
        meeting: u32,
        s: usize,
        n: usize,
    ) -> (Vec<Frame>, usize, Option<Fatal<S::Error>>) {
        let steady = Millis(self.now / 1000);
        let mut read = 0;
        let mut frames = Vec::new();
        let Self {
            nodes,
            hostiles,
            meetings,
            pairs,
            rng,
            now,
            ..
        } = self;
        let hostile = &mut hostiles[n];
        let (Ok(view), Some(found)) = (nodes[n].store.view(), meetings.get_mut(&meeting)) else {
            return (frames, read, None);
        };
        let link = &pairs[found.pair].link;
        let Some(side) = &mut found.sides[s] else {
            return (frames, read, None);
        };
        loop {
            let may_read = hostile.as_mut().is_none_or(Hostile::reads);
            let came = if may_read { side.read() } else { None };
            if let Some((lane, frame)) = came {
                found.pipes[1 - s].read(lane, frame.len());
                read += frame.len();
                if let Err(fatal) = side.session.handle_frame(lane, &frame, steady, &*view) {
                    return (frames, read, Some(fatal));
                }
                continue;
            }
            let (lane, clearance, bytes) = match side.next_out(&*view, &found.pipes[s]) {
                Ok(None) => return (frames, read, None),
                Ok(Some(Out::Control(bytes))) => (Lane::Control, None, bytes),
                Ok(Some(Out::Data(frame))) => {
                    let lane = Lane::Space(frame.channel);
                    (lane, Some(frame.clearance), frame.bytes)
                }
                Err(error) => return (frames, read, Some(Fatal::Store(error))),
            };
            let sent = match hostile {
                Some(hostile) => hostile.mangle(lane, bytes),
                None => vec![(lane, bytes)],
            };
            for (lane, bytes) in sent {
                let fate = found.pipes[s].send(lane, bytes.len(), *now, link, rng);
                frames.push(Frame {
                    lane,
                    bytes,
                    clearance,
                    fate,
                });
            }
        }
    }

    fn deliver(&mut self, meeting: u32, s: usize, frame: Frame) {
        let Frame {
            lane, bytes, fate, ..
        } = frame;
        self.figures.frames += 1;
        self.figures.bytes += bytes.len() as u64 + 4;
        let to = 1 - s;
        match fate {
            Sent::Arrives(at) => self.at(
                at,
                Event::Frame {
                    meeting,
                    to,
                    lane,
                    bytes,
                },
            ),
            Sent::Cut(at) => {
                if let Some(found) = self.meetings.get_mut(&meeting) {
                    self.figures.cuts += u64::from(!std::mem::replace(&mut found.cut, true));
                }
                self.at(at, Event::Lost { meeting, side: to });
                let late = self.rng.below(IDLE);
                self.at(at + late, Event::Lost { meeting, side: s });
            }
        }
    }

    /// Sends a frame that no session made.
    pub(super) fn send_forged(&mut self, meeting: u32, s: usize, lane: Lane, bytes: Vec<u8>) {
        let Some(found) = self.meetings.get_mut(&meeting) else {
            return;
        };
        let link = &self.pairs[found.pair].link;
        if !found.pipes[s].has_room(lane) {
            return;
        }
        let fate = found.pipes[s].send(lane, bytes.len(), self.now, link, &mut self.rng);
        let frame = Frame {
            lane,
            bytes,
            clearance: None,
            fate,
        };
        self.deliver(meeting, s, frame);
    }

    fn send_hint(&mut self, meeting: u32, s: usize, bytes: Vec<u8>) {
        let Some(found) = self.meetings.get(&meeting) else {
            return;
        };
        let (link, to) = (self.pairs[found.pair].link, 1 - s);
        self.check_hint(meeting, s, &bytes);
        self.figures.hints += 1;
        self.figures.bytes += bytes.len() as u64;
        for at in link.hint(self.now, &mut self.rng) {
            let bytes = bytes.clone();
            self.at(at, Event::Hint { meeting, to, bytes });
        }
    }

    // The end.

    /// A session ended its meeting.
    pub(super) fn ended_by<E: Debug>(
        &mut self,
        meeting: u32,
        s: usize,
        with: usize,
        fatal: &Fatal<E>,
    ) {
        let n = self.ends(meeting, s).map_or(0, |(n, _)| n);
        if matches!(fatal, Fatal::Store(_)) || (self.is_honest(with) && self.is_honest(n)) {
            self.fail(&format!(
                "node {n} ended a meeting with node {with}: {fatal:?}"
            ));
        }
        self.figures.refused += 1;
        self.cut(meeting);
    }

    /// A connection ends at both ends at once.
    pub(super) fn cut(&mut self, meeting: u32) {
        for side in [0, 1] {
            self.lost(meeting, side);
        }
    }

    /// A connection is gone at one end. What was on its way to the disk gets there.
    pub(super) fn lost(&mut self, meeting: u32, s: usize) {
        let Some((n, _)) = self.ends(meeting, s) else {
            return;
        };
        let Some(found) = self.meetings.get_mut(&meeting) else {
            return;
        };
        let (pair, side) = (found.pair, found.sides[s].take());
        let gone = found.sides.iter().all(Option::is_none);
        if gone {
            self.meetings.remove(&meeting);
            if self.pairs[pair].meeting == Some(meeting) {
                self.pairs[pair].meeting = None;
            }
            self.redial(pair);
        } else {
            let at = self.now + IDLE;
            self.at(
                at,
                Event::Lost {
                    meeting,
                    side: 1 - s,
                },
            );
        }
        let Some(mut side) = side else {
            return;
        };
        for batch in std::mem::take(&mut side.batches) {
            if !self.nodes[n].up || self.nodes[n].failing {
                return;
            }
            let wall = self.wall(n);
            match self.nodes[n].store.take(&side.peer, batch, wall) {
                Ok(taken) => self.pass_on(n, meeting, &taken),
                Err(_) if self.nodes[n].doomed => self.crash(n),
                Err(_) if self.nodes[n].full => self.fail_disk(n),
                Err(error) => self.fail(&format!("node {n} could not store: {error:?}")),
            }
        }
    }

    /// What a node was doing is gone with its power.
    pub(super) fn forget_meetings(&mut self, n: usize) {
        for (id, s) in self.meetings_of(n) {
            if let Some(side) = self.side(id, s) {
                side.batches.clear();
            }
            self.lost(id, s);
        }
    }
}
