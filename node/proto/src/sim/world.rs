//! The world: nodes, connections and what is to happen when, on one invented clock.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

use super::{
    Change, Changed, Figures, Graph, Link, NodeStore, Peer, Person, Rng, Setting, Timetable,
    check::Oracle, hostile::Hostile, side::Side, wire::Pipe,
};
use crate::{
    ids::{DeviceId, EndpointId, EntryId, IdentityId, SpaceId},
    session::Lane,
    space::SpaceKind,
    time::Millis,
};

pub(super) const SECOND: u64 = 1_000_000;
pub(super) const MINUTE: u64 = 60 * SECOND;
pub(super) const HOUR: u64 = 60 * MINUTE;
pub(super) const DAY: u64 = 24 * HOUR;
/// What the clocks show when a world begins, in milliseconds, if they are right.
const BEGINNING_MS: u64 = 1_790_000_000_000;
/// The last time that a clock may show: the end of 32 bits of seconds, in 2038.
const CLOCK_MS_MAX: u64 = (i32::MAX as u64) * 1000;

/// A simulated node.
pub(super) struct Node<S: NodeStore> {
    pub(super) person: Person,
    pub(super) endpoint: EndpointId,
    pub(super) store: S,
    /// How far its clock is off, in milliseconds.
    skew: i64,
    pub(super) up: bool,
    pub(super) full: bool,
    /// A commit found the disk full: nothing is read either until it has room.
    pub(super) failing: bool,
    /// The power fails at the next commit.
    pub(super) doomed: bool,
    /// Doesn't write: what it wrote last may be lost here, and come back from others.
    pub(super) silent: bool,
    /// Nodes that it regards as contacts.
    pub(super) contacts: BTreeSet<usize>,
    pub(super) backup: Option<S::Image>,
    /// Spaces that were offered to its person.
    pub(super) offered: BTreeSet<SpaceId>,
}

/// Two nodes whose people know each other.
pub(super) struct Pair {
    pub(super) ends: [usize; 2],
    pub(super) timetable: Timetable,
    pub(super) link: Link,
    pub(super) in_reach: bool,
    pub(super) meeting: Option<u32>,
    /// The next wait before dialling.
    pub(super) backoff: u64,
    pub(super) secret: [u8; 32],
}

/// A connection; the dialer is end 0.
pub(super) struct Meeting {
    pub(super) pair: usize,
    pub(super) ends: [usize; 2],
    pub(super) sides: [Option<Side>; 2],
    /// From each end.
    pub(super) pipes: [Pipe; 2],
    /// Something was lost at its cut.
    pub(super) cut: bool,
}

/// What happens.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    Reach(usize),
    Part(usize),
    Dial(usize),
    Frame {
        meeting: u32,
        to: usize,
        lane: Lane,
        bytes: Vec<u8>,
    },
    Hint {
        meeting: u32,
        to: usize,
        bytes: Vec<u8>,
    },
    HintsUp(u32),
    Wake {
        meeting: u32,
        side: usize,
    },
    Timer {
        meeting: u32,
        side: usize,
    },
    Batch {
        meeting: u32,
        side: usize,
    },
    Mischief {
        meeting: u32,
        side: usize,
    },
    /// The connection is gone at one end.
    Lost {
        meeting: u32,
        side: usize,
    },
    Act(usize),
    ActOnce(usize),
    Fault,
    Boot(usize),
    DiskFree(usize),
    Befriend(usize),
}

/// A world of nodes on one kind of store.
pub struct World<S: NodeStore> {
    pub(super) setting: Setting,
    pub(super) now: u64,
    queue: BinaryHeap<Reverse<(u64, u64, Event)>>,
    numbered: u64,
    pub(super) nodes: Vec<Node<S>>,
    /// What drives those who lie.
    pub(super) hostiles: Vec<Option<Hostile>>,
    pub(super) pairs: Vec<Pair>,
    pub(super) meetings: BTreeMap<u32, Meeting>,
    pub(super) next_meeting: u32,
    pub(super) rng: Rng,
    pub(super) oracle: Oracle,
    pub(super) figures: Figures,
    /// Faults rage and people write.
    pub(super) raging: bool,
    /// Frames between honest nodes.
    pub(super) frames_honest: u64,
    /// Those who lie have a rest too.
    pub(super) quiet: bool,
    /// Entries that begin threads.
    pub(super) roots: BTreeMap<SpaceId, Vec<EntryId>>,
    trace: blake3::Hasher,
}

impl<S: NodeStore> World<S> {
    /// A world in which the contacts know each other and nobody has met yet.
    #[must_use]
    pub fn new(setting: Setting) -> Self {
        let mut rng = Rng::new(setting.seed);
        let mut world = Self {
            now: 0,
            queue: BinaryHeap::new(),
            numbered: 0,
            nodes: Vec::new(),
            hostiles: Vec::new(),
            pairs: Vec::new(),
            meetings: BTreeMap::new(),
            next_meeting: 0,
            oracle: Oracle::default(),
            figures: Figures::default(),
            raging: true,
            frames_honest: 0,
            quiet: false,
            roots: BTreeMap::new(),
            trace: blake3::Hasher::new(),
            rng: rng.split(),
            setting,
        };
        let graph = world.setting.graph.unwrap_or_else(|| {
            let all = Graph::ALL;
            all[rng.index(all.len())]
        });
        let pairs = graph.pairs(world.setting.nodes, &mut rng);
        let twins = twins(&world.setting, &pairs, &mut rng);
        for n in 0..world.setting.nodes {
            world.add_node(n, &twins, &mut rng);
        }
        for (one, other) in pairs {
            world.add_pair(one, other, &mut rng);
        }
        world.found_spaces();
        world.schedule_people();
        world
    }

    fn add_node(&mut self, n: usize, twins: &BTreeMap<usize, usize>, rng: &mut Rng) {
        let who = twins.get(&n).copied().unwrap_or(n);
        let person = Person::from_bytes([(who % 251) as u8, (who / 251) as u8, 91]);
        if who != n {
            self.oracle.double.insert(person.device.id());
        }
        let salt = (self.setting.seed, n as u64);
        let endpoint = blake3::hash(&[salt.0.to_be_bytes(), salt.1.to_be_bytes()].concat());
        let skew = if self.setting.clocks { skew(rng, 0) } else { 0 };
        let hostile = n > 0 && who == n && rng.chance(self.setting.hostile);
        let now = Millis(BEGINNING_MS.saturating_add_signed(skew));
        let name = format!("person {n}");
        let node = Node {
            store: S::new(&person, &name, now),
            endpoint: EndpointId(*endpoint.as_bytes()),
            person,
            skew,
            up: true,
            full: false,
            failing: false,
            doomed: false,
            silent: false,
            contacts: BTreeSet::new(),
            backup: None,
            offered: BTreeSet::new(),
        };
        self.nodes.push(node);
        self.hostiles
            .push(hostile.then(|| Hostile::new(rng.split())));
        let spaces = self.nodes[n].store.spaces().expect("a fresh store is well");
        for (space, _) in spaces {
            let id = self.nodes[n].person.identity.id();
            self.oracle.space(space);
            self.oracle.knows(space, id);
            self.oracle.blogs.entry(n).or_default().push(space);
        }
    }

    fn add_pair(&mut self, one: usize, other: usize, rng: &mut Rng) {
        let timetable = self
            .setting
            .timetable
            .unwrap_or_else(|| Timetable::any(rng));
        let link = self.setting.link.unwrap_or_else(|| Link::any(rng));
        let pair = self.pairs.len();
        self.pairs.push(Pair {
            ends: [one, other],
            timetable,
            link,
            in_reach: false,
            meeting: None,
            backoff: SECOND,
            secret: rng.seed(),
        });
        self.befriend(pair);
        let (wait, _) = timetable.next(rng);
        self.at(self.now + wait, Event::Reach(pair));
    }

    /// The two people of a pair become contacts, again perhaps.
    pub(super) fn befriend(&mut self, pair: usize) {
        let Pair { ends, secret, .. } = self.pairs[pair];
        if !ends.iter().all(|n| self.nodes[*n].up) {
            return self.at(self.now + HOUR, Event::Befriend(pair));
        }
        // Added anew, they have a new secret.
        let secret = *blake3::hash(&[&secret[..], &self.now.to_be_bytes()].concat()).as_bytes();
        self.pairs[pair].secret = secret;
        let conversation = crate::space::conversation_id(&secret);
        self.oracle.space(conversation);
        for (me, peer) in [(0, 1), (1, 0)] {
            let (n, m) = (ends[me], ends[peer]);
            let change = Change::Befriend {
                person: Box::new(self.nodes[m].person.clone()),
                endpoint: self.nodes[m].endpoint,
                secret,
            };
            let id = self.nodes[n].person.identity.id();
            let friend = self.nodes[m].person.identity.id();
            // It may be done also where the power fails before that is said.
            self.oracle.knows(conversation, id);
            for blog in self.blogs_of(n) {
                self.oracle.knows(blog, friend);
            }
            if self.change(n, &change) != Some(Changed::Done) {
                continue;
            }
            self.nodes[n].contacts.insert(m);
            self.know_again(n);
        }
    }

    fn blogs_of(&self, n: usize) -> Vec<SpaceId> {
        let own = self.oracle.blogs.get(&n);
        own.into_iter().flatten().copied().collect()
    }

    // Time.

    pub(super) fn at(&mut self, time: u64, event: Event) {
        self.numbered += 1;
        self.queue
            .push(Reverse((time.max(self.now), self.numbered, event)));
    }

    /// Lets the world go on until a time, in microseconds since its beginning.
    pub fn run_until(&mut self, until: u64) {
        while let Some(Reverse((time, ..))) = self.queue.peek()
            && *time <= until
        {
            let Some(Reverse((time, _, event))) = self.queue.pop() else {
                break;
            };
            self.now = time;
            self.figures.events += 1;
            self.note(&event);
            self.handle(event);
        }
        self.now = self.now.max(until);
    }

    /// What happens goes into the trace, so that two runs can be compared.
    fn note(&mut self, event: &Event) {
        let kind = match event {
            Event::Reach(_) => 0,
            Event::Part(_) => 1,
            Event::Dial(_) => 2,
            Event::Frame { bytes, .. } => {
                self.trace.update(bytes);
                3
            }
            Event::Hint { bytes, .. } => {
                self.trace.update(bytes);
                4
            }
            Event::HintsUp(_) => 5,
            Event::Wake { .. } => 6,
            Event::Timer { .. } => 7,
            Event::Batch { .. } => 8,
            Event::Mischief { .. } => 9,
            Event::Lost { .. } => 10,
            Event::Act(_) => 11,
            Event::Fault => 12,
            Event::Boot(_) => 13,
            Event::DiskFree(_) => 14,
            Event::Befriend(_) => 15,
            Event::ActOnce(_) => 16,
        };
        self.trace.update(&[kind]).update(&self.now.to_be_bytes());
    }

    /// The hash of everything that happened.
    #[must_use]
    pub fn trace(&self) -> [u8; 32] {
        *self.trace.finalize().as_bytes()
    }

    /// The time since the beginning, in microseconds.
    #[must_use]
    pub const fn now(&self) -> u64 {
        self.now
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Reach(pair) => self.reach(pair),
            Event::Part(pair) => self.part(pair),
            Event::Dial(pair) => self.dial(pair),
            Event::Frame {
                meeting,
                to,
                lane,
                bytes,
            } => self.arrive(meeting, to, lane, bytes),
            Event::Hint { meeting, to, bytes } => self.hinted(meeting, to, &bytes),
            Event::HintsUp(meeting) => self.hints_up(meeting),
            Event::Wake { meeting, side } => self.wake(meeting, side),
            Event::Timer { meeting, side } => self.timer(meeting, side),
            Event::Batch { meeting, side } => self.batch(meeting, side),
            Event::Mischief { meeting, side } => self.mischief(meeting, side),
            Event::Lost { meeting, side } => self.lost(meeting, side),
            Event::Act(n) => self.act(n),
            Event::ActOnce(n) => self.act_once(n),
            Event::Fault => self.fault(),
            Event::Boot(n) => self.boot(n),
            Event::DiskFree(n) => self.free_disk(n),
            Event::Befriend(pair) => self.befriend(pair),
        }
    }

    // Clocks.

    /// What a node's clock shows.
    pub(super) fn wall(&self, n: usize) -> Millis {
        let right = BEGINNING_MS + self.now / 1000;
        let shown = right.saturating_add_signed(self.nodes[n].skew);
        Millis(shown.min(CLOCK_MS_MAX))
    }

    /// Time since it began, as a node's sessions count it.
    pub(super) const fn steady(&self) -> Millis {
        Millis(self.now / 1000)
    }

    /// A node's clock jumps anywhere between 1970 and 2038.
    pub(super) fn jump(&mut self, n: usize) {
        let passed = self.now / 1000;
        self.nodes[n].skew = skew(&mut self.rng, passed);
    }

    // Changes of people.

    /// Does a change at a node and tells its meetings; `None` where its disk failed.
    pub(super) fn change(&mut self, n: usize, change: &Change) -> Option<Changed> {
        let now = self.wall(n);
        let node = &mut self.nodes[n];
        if node.failing {
            return None;
        }
        match node.store.change(change, now) {
            Ok(changed) => {
                let space = match change {
                    Change::Write { space, .. } => Some(*space),
                    _ => None,
                };
                if let (Changed::Written { entries, ended }, Some(space)) = (&changed, space) {
                    let device = node.person.device.id();
                    let first = entries.first().map_or(0, |(seq, _)| *seq);
                    self.tell(n, space, device, first, None);
                    for device in ended {
                        self.tell(n, space, *device, 0, None);
                    }
                    self.oracle.acknowledged(n, space, entries);
                } else if space.is_none() {
                    self.tell_audience(n);
                }
                Some(changed)
            }
            Err(_) if node.doomed => {
                self.crash(n);
                None
            }
            Err(_) if node.full => {
                self.fail_disk(n);
                None
            }
            Err(error) => self.fail(&format!("node {n}: {change:?} failed: {error:?}")),
        }
    }

    /// Looks up at a node whom it regards as a contact and what it tells them: after an older copy
    /// was put back, or a space is held again, that may be something else than before.
    pub(super) fn know_again(&mut self, n: usize) {
        if self.nodes[n].failing {
            return;
        }
        let ends = self.pairs.iter().map(|pair| pair.ends);
        let near = ends.filter_map(|ends| {
            let at = ends.iter().position(|end| *end == n)?;
            Some(ends[1 - at])
        });
        let held = self.well(n, self.nodes[n].store.spaces());
        for m in near.collect::<Vec<_>>() {
            let peer = self.peer(m);
            let Some(audience) = self.well(n, self.nodes[n].store.audience(&peer)) else {
                self.nodes[n].contacts.remove(&m);
                continue;
            };
            self.nodes[n].contacts.insert(m);
            let told: BTreeSet<SpaceId> =
                audience.clearances.iter().map(|(c, _)| c.space()).collect();
            for (space, kind) in &held {
                if !matches!(kind, SpaceKind::Forum | SpaceKind::Blog) {
                    continue;
                }
                let key = (n, *space, peer.contact);
                if told.contains(space) {
                    self.oracle.excluded.remove(&key);
                } else {
                    self.oracle.excluded.insert(key);
                }
            }
        }
    }

    // Meetings of a node.

    pub(super) fn meetings_of(&self, n: usize) -> Vec<(u32, usize)> {
        let all = self.meetings.iter();
        all.filter_map(|(id, meeting)| {
            let side = meeting.ends.iter().position(|end| *end == n)?;
            meeting.sides[side].is_some().then_some((*id, side))
        })
        .collect()
    }

    /// Tells a node's other meetings that a feed has changed.
    pub(super) fn tell(
        &mut self,
        n: usize,
        space: SpaceId,
        device: DeviceId,
        from: u64,
        except: Option<u32>,
    ) {
        for (id, s) in self.meetings_of(n) {
            if Some(id) != except {
                if let Some(side) = self.side(id, s) {
                    side.notice(space, device, from);
                }
                self.rouse(id, s);
            }
        }
    }

    pub(super) fn tell_audience(&mut self, n: usize) {
        for (id, s) in self.meetings_of(n) {
            if let Some(side) = self.side(id, s) {
                side.audience = true;
            }
            self.rouse(id, s);
        }
    }

    fn rouse(&mut self, meeting: u32, s: usize) {
        if let Some(side) = self.side(meeting, s)
            && !std::mem::replace(&mut side.waking, true)
        {
            self.at(self.now, Event::Wake { meeting, side: s });
        }
    }

    pub(super) fn side(&mut self, meeting: u32, side: usize) -> Option<&mut Side> {
        self.meetings.get_mut(&meeting)?.sides[side].as_mut()
    }

    pub(super) fn peer(&self, n: usize) -> Peer {
        Peer {
            contact: self.identity(n),
            endpoint: self.nodes[n].endpoint,
        }
    }

    pub(super) fn identity(&self, n: usize) -> IdentityId {
        self.nodes[n].person.identity.id()
    }

    /// Its key is used twice.
    pub(super) fn is_double(&self, n: usize) -> bool {
        let device = self.nodes[n].person.device.id();
        self.oracle.double.contains(&device)
    }

    /// Nothing is expected of it: it lies.
    pub(super) fn is_honest(&self, n: usize) -> bool {
        self.hostiles[n].is_none()
    }

    /// Something that must not be.
    pub(super) fn fail(&self, what: &str) -> ! {
        panic!(
            "seed {}: after {} s: {what}\nto see it again: {}",
            self.setting.seed,
            self.now / SECOND,
            self.setting.command()
        )
    }
}

/// How far a clock is off that shows any time between 1970 and 2038, most often nearly the right one.
fn skew(rng: &mut Rng, passed_ms: u64) -> i64 {
    let right = (BEGINNING_MS + passed_ms).cast_signed();
    match rng.below(4) {
        0 => rng.below(CLOCK_MS_MAX).cast_signed() - right,
        1 => rng.below(86_400_000).cast_signed() - right,
        _ => rng.below(240_000).cast_signed() - 120_000,
    }
}

/// Nodes that use another node's keys, by node: strangers to all whom the other knows.
fn twins(setting: &Setting, pairs: &[(usize, usize)], rng: &mut Rng) -> BTreeMap<usize, usize> {
    let mut twins = BTreeMap::new();
    let near = |n: usize| -> BTreeSet<usize> {
        let ends = pairs.iter().filter(|(a, b)| *a == n || *b == n);
        ends.flat_map(|(a, b)| [*a, *b]).chain([n]).collect()
    };
    for n in 1..setting.nodes {
        let other = rng.index(n);
        let taken = twins.contains_key(&other) || twins.values().any(|known| *known == other);
        if rng.chance(setting.twins) && !taken && near(n).is_disjoint(&near(other)) {
            twins.insert(n, other);
        }
    }
    twins
}
