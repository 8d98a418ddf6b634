//! A meeting with somebody who means ill: who knows the connection's keys and all that a contact
//! knows, mixes what an honest device says with forgeries, and answers when it suits them.
//!
//! An input is a story of what the hostile side sends, what changes here meanwhile, and when the
//! disk and the clock go on. Whatever happens, nothing about a space leaves that the other side may
//! not have or has not shown to know; no frame is too long; the session takes data again when the
//! disk is done, without the peer; no timeout falls due for ever; and of other people's feeds
//! nothing is held that they didn't write.

mod forge;
mod side;
mod world;

use std::collections::BTreeSet;

use proto::{
    Millis, SpaceId,
    frame::{Data, Hint, LinkClass, Whereabouts},
    limits::FRAME_BYTES_MAX,
    session::{Fetch, IMPORT_BYTES_MAX, Lane, SpaceStore},
    verify::Reject,
};

use self::{
    side::Side,
    world::{World, clearances, feeds_of},
};
use crate::script::Script;

const NOW: Millis = Millis(1_790_000_000_000);
/// Steps of a story at most.
const STEPS_MAX: usize = 200;
/// Bytes of memory that a session may take in a story: what waits for the disk with one frame more,
/// and sets over a few dozen feeds.
const SIZE_MAX: usize = IMPORT_BYTES_MAX + FRAME_BYTES_MAX + 1024 * 1024;
/// Frames that are remembered to be sent again.
const REPLAY_MAX: usize = 64;

/// The meeting as it goes.
struct Meeting {
    world: &'static World,
    victim: Side,
    /// An honest device of the hostile side's, of which it sends what it likes.
    puppet: Side,
    replay: Vec<(Lane, Vec<u8>)>,
    excluded: BTreeSet<SpaceId>,
    /// Marks that the hostile side has spoken of.
    named: BTreeSet<Vec<u8>>,
    rev: u64,
    now: Millis,
    room: bool,
}

/// Plays a story.
///
/// # Panics
/// Where something leaves, grows or stops that must not.
pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let mut meeting = Meeting::new(&mut script);
    for _ in 0..STEPS_MAX {
        if script.is_empty() || meeting.victim.ended {
            break;
        }
        meeting.step(&mut script);
        meeting.listen();
    }
    meeting.end();
}

impl Meeting {
    fn new(script: &mut Script<'_>) -> Self {
        let world = World::get();
        let mut agreed = [BTreeSet::new(), BTreeSet::new()];
        let bits = script.byte();
        for (at, agreed) in agreed.iter_mut().enumerate() {
            for (bit, space) in [world.forum, world.talk].into_iter().enumerate() {
                if bits >> (2 * at + bit) & 1 == 1 {
                    agreed.insert(space);
                }
            }
        }
        let [mine, theirs] = agreed;
        let dialer = bits & 0x10 != 0;
        let revs = (1 + u64::from(bits >> 5 & 1), 1 + u64::from(bits >> 6 & 1));
        let class = if bits & 0x80 == 0 {
            LinkClass::Fast
        } else {
            LinkClass::Slow
        };
        let (ana, ben) = (world.ana.me.clone(), world.ben.me.clone());
        Self {
            world,
            victim: Side::new(world.ana.clone(), dialer, &ben, mine, revs.0, class),
            puppet: Side::new(world.ben.clone(), !dialer, &ana, theirs, revs.1, class),
            replay: Vec::new(),
            excluded: BTreeSet::new(),
            named: BTreeSet::new(),
            rev: revs.0,
            now: NOW,
            room: true,
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.byte() % 19 {
            0..=3 => self.honest(script),
            4 => self.mutated(script),
            5 => self.replayed(script),
            6 => {
                let frame = self.control(script).encode();
                self.send(Lane::Control, &frame);
            }
            7 => self.data(script),
            8 => {
                let lane = self.lane(script);
                let frame = script.blob().to_vec();
                self.send(lane, &frame);
            }
            9 => self.gossip(script),
            10 | 11 => {
                let refuse = match script.byte() {
                    250 => Some(Reject::TooManyFeeds),
                    251 => Some(Reject::Unsigned),
                    _ => None,
                };
                self.victim.store_next(script.below(16), refuse);
            }
            12 => {
                let space = self.space(script);
                self.victim
                    .store
                    .write_as(space, 1, self.world.words(space));
                let device = self.victim.store.me.device.id();
                self.victim.session.handle_local(space, device);
            }
            13 => self.time(script),
            14 => self.audience(script),
            15 => self.victim.session.handle_gossip_up(script.flag()),
            16 => self.room = script.flag(),
            17 => self.fetch(script),
            _ => self.changed(script),
        }
    }

    fn send(&mut self, lane: Lane, frame: &[u8]) {
        // A driver leaves data on its stream while the disk is behind, and cuts long frames off.
        if frame.len() > FRAME_BYTES_MAX
            || matches!(lane, Lane::Space(_)) && !self.victim.session.accepts_data()
        {
            return;
        }
        self.name(frame);
        let victim = &mut self.victim;
        let result = victim
            .session
            .handle_frame(lane, frame, self.now, &victim.store);
        victim.ended |= result.is_err();
    }

    /// The honest device's next frame, of a stream that is picked.
    fn next(&mut self, script: &mut Script<'_>) -> Option<(Lane, Vec<u8>)> {
        let ready: Vec<Lane> = self
            .puppet
            .wire
            .iter()
            .filter(|(_, queue)| !queue.is_empty())
            .map(|(lane, _)| *lane)
            .collect();
        let lane = *ready.get(script.below(ready.len().max(1)))?;
        let frame = self.puppet.wire.get_mut(&lane)?.pop_front()?;
        if self.replay.len() < REPLAY_MAX {
            self.replay.push((lane, frame.clone()));
        }
        Some((lane, frame))
    }

    fn honest(&mut self, script: &mut Script<'_>) {
        if let Some((lane, frame)) = self.next(script) {
            self.send(lane, &frame);
        }
    }

    fn mutated(&mut self, script: &mut Script<'_>) {
        let Some((mut lane, mut frame)) = self.next(script) else {
            return;
        };
        for _ in 0..1 + script.byte() % 4 {
            let at = script.below(frame.len());
            match script.byte() % 4 {
                0 => frame[at] ^= 1 | script.byte(),
                1 => frame.truncate(at.max(1)),
                2 => frame.insert(at, script.byte()),
                _ => lane = self.lane(script),
            }
        }
        self.send(lane, &frame);
    }

    fn replayed(&mut self, script: &mut Script<'_>) {
        let at = script.below(self.replay.len().max(1));
        if let Some((lane, frame)) = self.replay.get(at).cloned() {
            self.send(lane, &frame);
        }
    }

    fn lane(&self, script: &mut Script<'_>) -> Lane {
        let common = self.victim.session.common().len() as u32;
        match script.byte() {
            0..=99 => Lane::Control,
            what if common > 0 && what < 240 => {
                let spaces = self.world.known_to_ben.iter().copied();
                let mut channels = spaces
                    .filter_map(|space| self.victim.session.gossip_channel(space))
                    .map(|(_, channel)| channel);
                Lane::Space(channels.nth(usize::from(what) % 2).unwrap_or(1024))
            }
            _ => Lane::Space(Self::channel(script)),
        }
    }

    fn space(&self, script: &mut Script<'_>) -> SpaceId {
        let spaces = self.world.spaces();
        spaces[script.below(spaces.len())]
    }

    /// A frame with entries, a proof or a body: of the honest device's, or forged.
    fn data(&mut self, script: &mut Script<'_>) {
        let lane = self.lane(script);
        let device = self.device(script);
        let from = u64::from(script.byte() % 8);
        let store = &self.puppet.store;
        let space = if script.flag() {
            self.world.talk
        } else {
            self.world.forum
        };
        let mut content = match script.byte() % 5 {
            0 | 1 => store
                .run(space, device, from)
                .ok()
                .flatten()
                .map(|run| run.bytes),
            2 => {
                let proof = store.end_proof(space, device).ok().flatten();
                proof.map(|proof| proof.bytes().to_vec())
            }
            3 => {
                let tail = store.tail(space, device, (from, None), 4_096);
                tail.ok().flatten().map(|tail| tail.bytes)
            }
            _ => store.body(space, device, from).ok().flatten(),
        }
        .unwrap_or_else(|| script.blob().to_vec());
        if script.byte() > 128 && !content.is_empty() {
            let at = script.below(content.len());
            content[at] ^= 1 | script.byte();
        }
        let frame = match script.byte() % 5 {
            0 => Data::Run {
                device,
                run: &content,
            },
            3 => Data::Tail {
                device,
                run: &content,
            },
            1 => Data::Fork {
                device,
                proof: &content,
            },
            4 => Data::Revocation {
                device,
                body: &content,
            },
            _ => Data::Body {
                device,
                seq: from,
                body: &content,
            },
        }
        .encode();
        self.send(lane, &frame);
    }

    fn gossip(&mut self, script: &mut Script<'_>) {
        let space = if script.flag() {
            self.world.talk
        } else {
            self.world.forum
        };
        let device = self.device(script);
        let from = u64::from(script.byte() % 8);
        let run = self.puppet.store.run(space, device, from).ok().flatten();
        let mut run = run.map_or_else(|| script.blob().to_vec(), |run| run.bytes);
        if script.flag() && !run.is_empty() {
            let at = script.below(run.len());
            run[at] ^= 1 | script.byte();
        }
        let (tag, channel) = self
            .victim
            .session
            .gossip_channel(space)
            .unwrap_or(([script.byte(); 8], Self::channel(script)));
        let hint = Hint {
            tag,
            channel,
            device,
            run: &run,
        };
        let message = hint.encode();
        self.name(&message);
        let victim = &mut self.victim;
        let result = victim
            .session
            .handle_gossip(&message, self.now, &victim.store);
        victim.ended |= result.is_err();
    }

    fn time(&mut self, script: &mut Script<'_>) {
        self.now = self.now.plus(u64::from(script.short()));
        if let Some(due) = self.victim.session.next_timeout()
            && due <= self.now
        {
            let victim = &mut self.victim;
            victim
                .session
                .handle_timeout(self.now, &victim.store)
                .unwrap();
            let next = victim.session.next_timeout();
            assert!(
                next.is_none_or(|next| next > self.now),
                "a timeout falls due for ever"
            );
        }
    }

    /// A quota is full, or no longer.
    fn fetch(&mut self, script: &mut Script<'_>) {
        let fetch = match script.byte() % 3 {
            0 => Fetch::All,
            1 => Fetch::Conversations,
            _ => Fetch::Nothing,
        };
        let victim = &mut self.victim;
        victim
            .session
            .handle_fetch(fetch, self.now, &victim.store)
            .unwrap();
    }

    /// The owner excludes the other side from a space, or takes that back.
    fn audience(&mut self, script: &mut Script<'_>) {
        let space = self.space(script);
        if script.flag() {
            self.excluded.insert(space);
        } else {
            self.excluded.remove(&space);
        }
        self.rev += 1;
        let cleared = clearances(&self.victim.store, &self.puppet.store.me, &self.excluded);
        self.victim
            .session
            .handle_audience(cleared, self.rev, Vec::new(), Whereabouts::default());
    }

    /// The hostile side's own device writes, loses what it wrote, or writes something else there.
    fn changed(&mut self, script: &mut Script<'_>) {
        let device = self.puppet.store.me.device.id();
        let space = if script.flag() {
            self.world.talk
        } else {
            self.world.forum
        };
        let store = &mut self.puppet.store;
        let frontier = store.frontier(space, device).ok().flatten();
        // Behind a fork that it knows of nobody writes on.
        let Some(own) = frontier.filter(|own| own.base > 0 && own.fork.is_none()) else {
            return;
        };
        match script.byte() % 4 {
            0 => store.write_as(space, u64::from(script.byte() % 8), "plain"),
            1 => {
                store.cut(space, device, 1 + u64::from(script.byte() % 4));
                store.write_as(space, u64::from(script.byte() % 4), "another");
            }
            2 => store.drop_body(space, device, 0),
            _ => store.drop_body(space, device, own.base as usize - 1),
        }
        self.puppet.session.handle_local(space, device);
    }

    /// What the victim says goes to the puppet, if nothing stands in it that may not leave.
    fn listen(&mut self) {
        let size = self.victim.session.size();
        assert!(size <= SIZE_MAX, "a session of {size} bytes");
        let room = self.room;
        let said = self.victim.poll(|_| room);
        for (lane, frame) in said {
            assert!(
                frame.len() <= FRAME_BYTES_MAX,
                "a frame of {} bytes",
                frame.len()
            );
            self.assert_allowed(&frame);
            if !self.puppet.ended {
                let puppet = &mut self.puppet;
                let heard = puppet
                    .session
                    .handle_frame(lane, &frame, self.now, &puppet.store);
                puppet.ended |= heard.is_err();
            }
        }
        let said = self.puppet.poll(|_| true);
        self.puppet.store_all();
        for (lane, frame) in said {
            self.puppet.wire.entry(lane).or_default().push_back(frame);
        }
    }

    /// Asking for what the other side named itself tells nothing.
    fn assert_allowed(&self, frame: &[u8]) {
        for (space, mark) in self.world.seen_in(frame) {
            let may = self.world.may_leave(space, &self.excluded) && *mark != space.0;
            assert!(may || self.named.contains(mark), "{space:?} in {frame:?}");
        }
    }

    fn name(&mut self, frame: &[u8]) {
        let marks = self.world.seen_in(frame);
        self.named.extend(marks.map(|(_, mark)| mark.to_vec()));
    }

    fn end(&mut self) {
        if !self.victim.ended {
            self.victim.poll(|_| true);
            self.victim.store_all();
            assert!(self.victim.ended || self.victim.session.accepts_data());
        }
        let own = self.victim.store.me.device.id();
        let hostile = self.puppet.store.me.device.id();
        for ((space, device), held) in feeds_of(&self.victim.store) {
            let theirs = self.world.written.get(&(space, device));
            let wrote = theirs.is_some_and(|theirs| held.iter().all(|id| theirs.contains(id)));
            assert!(
                wrote || device == own || device == hostile,
                "{device:?} never wrote that"
            );
        }
    }
}

/// Stories that reach each part: everything honest, and one of each other step in between.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let calm: Vec<u8> = std::iter::repeat_n([0, 0, 10, 0, 0], 24)
        .flatten()
        .collect();
    let mut seeds = Vec::new();
    for start in [0, 0x0f, 0x1f, 0x05, 0x60, 0x70, 0x2f, 0xf0] {
        seeds.push([&[start], &calm[..], &calm, &calm].concat());
    }
    // Excluded at each moment of a meeting that goes on.
    for rounds in 3..16 {
        for space in 0..4 {
            let excluded = [14, space, 1];
            let more = [12, space, 0, 0, 10, 0, 0];
            seeds.push([&[0x70], &calm[..5 * rounds], &excluded, &more, &calm].concat());
        }
    }
    for step in 4..19 {
        for more in 0..10 {
            let slow = 0x70 | (more & 1) << 7;
            let begin = [&[slow], &calm[..40]].concat();
            let odd = [step, more, 4, 2, 3, 0, 1, 200, 1, 1, 0, 7, 3, 2, 1, 0, 0, 0];
            seeds.push([&begin[..], &odd, &calm[..30]].concat());
        }
    }
    seeds
}
