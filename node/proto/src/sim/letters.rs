//! What carrying letters is worth: people who meet for minutes write to each other, and those whom
//! they meet in between carry.
//!
//! It follows the rules of "Letters" and "Handing letters on" in `docs/PROTOCOL.md`, with the real
//! [`Window`] and the real length of an envelope, but seals nothing: a letter is a row of a table.
//! Everybody has one device, and meetings are long enough for all that is to be said. Enter at
//! [`Campsite::run`].

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

use super::{Graph, Rng, Timetable};
use crate::{
    entry::Header,
    ids::{DeviceId, EntryId, IdentityId, SpaceId},
    keys::Signature,
    limits::{
        CARRIED_BYTES_MAX, CARRIED_BYTES_PER_CONTACT_MAX, CARRIED_MAX, CARRIED_PER_CONTACT_MAX,
        LETTER_DAYS,
    },
    seal::{
        Letter as Sealed, Line as RealLine, Party, PrekeyId, PrekeySecret, Receipt,
        SEAL_RANDOM_BYTES, WINDOW, Window,
    },
    time::Millis,
};

const DAY: u64 = 24 * 3_600_000_000;
/// Keys that one has of each contact at first and after a meeting in which few were left.
const KEYS: u32 = 32;
/// Bytes of a key in a batch: its number and the key.
const KEY_BYTES: u64 = 4 + 1_216;
/// Bytes of a tag's hash, of a receipt and of what says that something is kept; a frame's head.
const HASH_BYTES: u64 = 8;
const RECEIPT_BYTES: u64 = 32;
const FRAME_BYTES: u64 = 4;
/// Bytes of a message's body: a sentence.
const BODY_BYTES: usize = 60;

/// To whom an author gives letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Among {
    /// To whichever contacts it meets first.
    Anybody,
    /// Only to those who are in a space with the receiver, as far as the author is in it too.
    SharingASpace,
    /// Only to contacts of the receiver, whom no author knows: the best that a choice could do.
    ContactsOfTheReceiver,
}

/// Who meets whom when, and how many copies are made.
#[derive(Debug, Clone, Copy)]
pub struct Campsite {
    /// Decides everything that isn't said here.
    pub seed: u64,
    /// How many.
    pub people: usize,
    /// For how long.
    pub days: u64,
    /// Who knows whom.
    pub graph: Graph,
    /// Of a thousand pairs of contacts, those who meet every few days; the others meet a few times a day.
    pub rare: u64,
    /// Messages that a person writes in a day, on average.
    pub messages: u64,
    /// Contacts who are given one letter, at most.
    pub copies: usize,
    /// To whom.
    pub among: Among,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Post {
    /// Messages that were written.
    pub written: u64,
    /// How long each took that arrived, in microseconds, the shortest first.
    pub delays_us: Vec<u64>,
    /// How many came by somebody who carried them.
    pub by_carriers: u64,
    /// Bytes that all sent for letters: tags, letters, receipts and keys.
    pub bytes: u64,
    /// The most bytes that each person carried for others at once.
    pub carried_bytes: Vec<u64>,
    /// Letters that weren't taken, for want of room.
    pub refused: u64,
}

impl Post {
    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.written += other.written;
        self.delays_us.extend(&other.delays_us);
        self.delays_us.sort_unstable();
        self.by_carriers += other.by_carriers;
        self.bytes += other.bytes;
        self.carried_bytes.extend(&other.carried_bytes);
        self.refused += other.refused;
    }

    /// Messages of a thousand that arrived within so many microseconds.
    #[must_use]
    pub fn within(&self, us: u64) -> u64 {
        let arrived = self.delays_us.partition_point(|delay| *delay <= us) as u64;
        arrived * 1_000 / self.written.max(1)
    }

    /// The time within which so many of a thousand of all messages arrived, in microseconds.
    #[must_use]
    pub fn delay(&self, per_mille: u64) -> Option<u64> {
        let at = (self.written * per_mille).div_ceil(1_000).max(1) - 1;
        self.delays_us.get(at as usize).copied()
    }
}

impl Campsite {
    /// Lets the days pass. In the last three nobody writes, so that what was written can arrive.
    #[must_use]
    pub fn run(&self) -> Post {
        World::new(*self).run()
    }
}

/// The length of a short message's envelope.
fn envelope_bytes() -> u64 {
    let party = |n: u8| Party {
        identity: IdentityId([n; 32]),
        device: DeviceId([n; 32]),
    };
    let space = SpaceId([3; 32]);
    let line = RealLine::new(&crate::card::PairSecret([4; 32]), party(1), party(2), space);
    let letter = Sealed {
        receipt: Receipt([5; 32]),
        header: Header {
            space,
            device: DeviceId([1; 32]),
            seq: 0,
            backlink: EntryId([0; 32]),
            created: Millis(0),
            body_len: BODY_BYTES as u32,
            body_hash: *blake3::hash(&[b'a'; BODY_BYTES]).as_bytes(),
        },
        signature: Signature([6; 64]),
        body: vec![b'a'; BODY_BYTES],
    };
    let key = PrekeySecret([7; 32]).public(PrekeyId(0)).unwrap();
    let random = zeroize::Zeroizing::new([8; SEAL_RANDOM_BYTES]);
    let sealed = line.seal(&letter, &key, 0, 0, random).unwrap();
    sealed.bytes().len() as u64
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Meet(usize),
    Part(usize),
    Write(usize),
}

/// From one person to another.
#[derive(Debug, Default)]
struct Line {
    /// When each entry was written; the first says whose they are and isn't counted.
    entries: Vec<u64>,
    /// Which the receiver has, and those that the author knows it to have.
    has: BTreeSet<usize>,
    known: usize,
    /// Letters by number, of which some may be forgotten.
    letters: BTreeMap<u64, Letter>,
    next: u64,
    told: u64,
    arrived: u64,
    keys: u32,
    /// The receiver's side.
    window: Window,
    opened: BTreeSet<u64>,
}

#[derive(Debug)]
struct Letter {
    seq: usize,
    expires: u64,
    carriers: BTreeSet<usize>,
    delivered: bool,
}

/// A letter: author, receiver, number.
type Id = (usize, usize, u64);

struct World {
    camp: Campsite,
    rng: Rng,
    now: u64,
    pairs: Vec<(usize, usize, Timetable)>,
    contacts: Vec<Vec<usize>>,
    spaces: Vec<BTreeSet<usize>>,
    lines: BTreeMap<(usize, usize), Line>,
    events: BinaryHeap<Reverse<(u64, Event)>>,
    /// Pairs that are together, and what was named since.
    together: BTreeMap<usize, BTreeSet<(usize, Id)>>,
    carried: Vec<BTreeMap<Id, u64>>,
    /// Receipts that each keeps for authors.
    owed: Vec<BTreeSet<Id>>,
    envelope: u64,
    post: Post,
}

impl World {
    fn new(camp: Campsite) -> Self {
        let mut rng = Rng::new(camp.seed);
        let pairs = camp.graph.pairs(camp.people, &mut rng);
        let mut contacts = vec![Vec::new(); camp.people];
        let mut lines = BTreeMap::new();
        let line = || Line {
            keys: KEYS,
            ..Line::default()
        };
        for (one, other) in &pairs {
            contacts[*one].push(*other);
            contacts[*other].push(*one);
            lines.insert((*one, *other), line());
            lines.insert((*other, *one), line());
        }
        let mut spaces = Vec::new();
        for _ in 0..camp.people / 8 {
            // A founder, most of its contacts and some of theirs.
            let founder = rng.index(camp.people);
            let mut members = BTreeSet::from([founder]);
            for near in &contacts[founder] {
                if rng.chance(700) {
                    members.insert(*near);
                    let far = contacts[*near].iter().filter(|_| rng.chance(200));
                    members.extend(far);
                }
            }
            spaces.push(members);
        }
        let pairs = pairs.into_iter().map(|(one, other)| {
            let rare = rng.chance(camp.rare);
            let timetable = if rare {
                Timetable::Rare
            } else {
                Timetable::Campsite
            };
            (one, other, timetable)
        });
        Self {
            camp,
            now: 0,
            pairs: pairs.collect(),
            spaces,
            lines,
            events: BinaryHeap::new(),
            together: BTreeMap::new(),
            carried: vec![BTreeMap::new(); camp.people],
            owed: vec![BTreeSet::new(); camp.people],
            envelope: envelope_bytes(),
            post: Post {
                carried_bytes: vec![0; camp.people],
                ..Post::default()
            },
            contacts,
            rng,
        }
    }

    fn run(mut self) -> Post {
        // A stream of its own for each, so that the same happens whatever is carried.
        for pair in 0..self.pairs.len() {
            let (mut rng, timetable) = (self.rng.split(), self.pairs[pair].2);
            // Somewhere in the middle of a wait.
            let (wait, _) = timetable.next(&mut rng);
            let mut at = rng.below(wait);
            while at < self.camp.days * DAY {
                let (wait, lasts) = timetable.next(&mut rng);
                self.events.push(Reverse((at, Event::Meet(pair))));
                self.events.push(Reverse((at + lasts, Event::Part(pair))));
                at += lasts + wait;
            }
        }
        let writing = self.camp.days.saturating_sub(3) * DAY;
        for person in 0..self.camp.people {
            let mut rng = self.rng.split();
            let mean = DAY / self.camp.messages.max(1);
            let mut at = rng.below(mean);
            while at < writing {
                self.events.push(Reverse((at, Event::Write(person))));
                at += rng.around(mean);
            }
        }
        while let Some(Reverse((at, event))) = self.events.pop() {
            self.now = at;
            match event {
                Event::Meet(pair) => {
                    self.together.insert(pair, BTreeSet::new());
                    let (one, other, _) = self.pairs[pair];
                    self.compare(one, other);
                    self.compare(other, one);
                }
                Event::Part(pair) => drop(self.together.remove(&pair)),
                Event::Write(person) => self.write(person),
            }
            while self.exchange() {}
        }
        self.post.delays_us.sort_unstable();
        self.post
    }

    fn line(&mut self, from: usize, to: usize) -> &mut Line {
        self.lines.get_mut(&(from, to)).unwrap()
    }

    fn is_together(&self, one: usize, other: usize) -> bool {
        self.together.keys().any(|pair| {
            let (a, b, _) = self.pairs[*pair];
            (a, b) == (one, other) || (b, a) == (one, other)
        })
    }

    fn write(&mut self, from: usize) {
        let mut rng = self.rng.split();
        let Some(to) = rng.pick(&self.contacts[from]).copied() else {
            return;
        };
        self.post.written += 1;
        let now = self.now;
        let line = self.line(from, to);
        if line.entries.is_empty() {
            line.entries.push(now);
        }
        line.entries.push(now);
        if self.is_together(from, to) {
            self.compare(from, to);
        }
    }

    fn receive(&mut self, from: usize, to: usize, seq: usize) -> bool {
        let now = self.now;
        let line = self.line(from, to);
        let fresh = line.has.insert(seq) && seq > 0;
        if fresh {
            let delay = now - line.entries[seq];
            self.post.delays_us.push(delay);
        }
        fresh
    }

    /// Two meet: everything comes directly, and the line goes on from where it is.
    fn compare(&mut self, from: usize, to: usize) {
        for seq in self.line(from, to).known..self.line(from, to).entries.len() {
            self.receive(from, to, seq);
        }
        let line = self.line(from, to);
        line.known = line.entries.len();
        line.letters.clear();
        if line.told == line.next {
            return;
        }
        line.told = line.next;
        line.arrived = line.arrived.max(line.next);
        line.window = line.window.skipped_to(line.next);
        let mut bytes = FRAME_BYTES + 6;
        if line.keys * 2 <= KEYS {
            bytes += FRAME_BYTES + u64::from(KEYS - line.keys) * KEY_BYTES;
            line.keys = KEYS;
        }
        self.post.bytes += bytes;
    }

    /// Lets all who are together say what is new; false where nothing is.
    fn exchange(&mut self) -> bool {
        let together: Vec<_> = self.together.keys().copied().collect();
        let mut went_on = false;
        for pair in together {
            let (one, other, _) = self.pairs[pair];
            for (from, to) in [(one, other), (other, one)] {
                went_on |= self.bring(pair, from, to);
                went_on |= self.tell(from, to);
                went_on |= self.hand_over(from, to);
            }
        }
        went_on
    }

    /// A carrier names what it carries, and brings what is recognised.
    fn bring(&mut self, pair: usize, carrier: usize, to: usize) -> bool {
        let now = self.now;
        // Both look hourly for what is past; here it isn't waited for.
        self.carried[carrier].retain(|_, expires| *expires > now);
        let named = self.together.get_mut(&pair).unwrap();
        let fresh: Vec<Id> = self.carried[carrier]
            .keys()
            .filter(|id| id.0 != to && named.insert((carrier, **id)))
            .copied()
            .collect();
        if fresh.is_empty() {
            return false;
        }
        self.post.bytes += FRAME_BYTES + HASH_BYTES * fresh.len() as u64;
        for id in fresh.into_iter().filter(|id| id.1 == to) {
            let (from, to, number) = id;
            let envelope = self.envelope;
            let line = self.line(from, to);
            if line.window.expects(number) {
                line.window = line.window.after(number);
                line.opened.insert(number);
                // The author forgets what was delivered directly, and so isn't asked.
                let seq = line.letters.get(&number).map(|letter| letter.seq);
                self.post.bytes += 2 * FRAME_BYTES + 2 + envelope;
                self.owed[to].insert(id);
                if seq.is_some_and(|seq| self.receive(from, to, seq)) {
                    self.post.by_carriers += 1;
                }
            } else if number + WINDOW < line.window.high || !line.opened.contains(&number) {
                // Too long ago, or it came directly: there is no receipt to give.
                continue;
            }
            self.post.bytes += 2 * (FRAME_BYTES + RECEIPT_BYTES);
            self.carried[carrier].remove(&id);
            self.owed[carrier].insert(id);
        }
        true
    }

    /// Receipts for the one who wrote the letters.
    fn tell(&mut self, from: usize, to: usize) -> bool {
        let receipts: Vec<Id> = self.owed[from]
            .iter()
            .filter(|id| id.0 == to)
            .copied()
            .collect();
        for id in &receipts {
            self.owed[from].remove(id);
            self.post.bytes += 2 * RECEIPT_BYTES;
            let line = self.line(id.0, id.1);
            if let Some(letter) = line.letters.get_mut(&id.2) {
                letter.delivered = true;
                line.arrived = line.arrived.max(id.2 + 1);
            }
        }
        !receipts.is_empty()
    }

    /// An author gives letters for those who aren't there.
    fn hand_over(&mut self, author: usize, courier: usize) -> bool {
        if self.camp.copies == 0 {
            return false;
        }
        let mut went_on = false;
        for to in self.contacts[author].clone() {
            if to == courier || self.is_together(author, to) || !self.may_carry(author, courier, to)
            {
                continue;
            }
            let (now, copies) = (self.now, self.camp.copies);
            let line = self.line(author, to);
            let done: BTreeSet<usize> = line.letters.values().map(|letter| letter.seq).collect();
            for seq in (line.known..line.entries.len()).filter(|seq| !done.contains(seq)) {
                if line.next >= line.arrived + WINDOW {
                    break;
                }
                // Without a key there is the one of last resort.
                line.keys = line.keys.saturating_sub(1);
                let letter = Letter {
                    seq,
                    expires: now + u64::from(LETTER_DAYS) * DAY,
                    carriers: BTreeSet::new(),
                    delivered: false,
                };
                line.letters.insert(line.next, letter);
                line.next += 1;
            }
            let wanted: Vec<_> = line
                .letters
                .iter()
                .filter(|(_, letter)| {
                    let full = letter.carriers.len() >= copies;
                    !letter.delivered && letter.expires > now && !full
                })
                .filter(|(_, letter)| !letter.carriers.contains(&courier))
                .map(|(number, letter)| (*number, letter.expires))
                .collect();
            for (number, expires) in wanted {
                if self.keep((author, to, number), courier, expires) {
                    let line = self.line(author, to);
                    let letter = line.letters.get_mut(&number).unwrap();
                    went_on |= letter.carriers.insert(courier);
                }
            }
        }
        went_on
    }

    fn keep(&mut self, id: Id, courier: usize, expires: u64) -> bool {
        let carried = &self.carried[courier];
        let of = carried.keys().filter(|other| other.0 == id.0).count();
        let (all_bytes, own_bytes) = (
            (carried.len() as u64 + 1) * self.envelope,
            (of as u64 + 1) * self.envelope,
        );
        let full = carried.len() >= CARRIED_MAX || all_bytes > CARRIED_BYTES_MAX;
        if full || of >= CARRIED_PER_CONTACT_MAX || own_bytes > CARRIED_BYTES_PER_CONTACT_MAX {
            self.post.refused += 1;
            return false;
        }
        self.post.bytes += self.envelope + 3 * FRAME_BYTES + RECEIPT_BYTES + 3;
        self.carried[courier].insert(id, expires);
        let most = &mut self.post.carried_bytes[courier];
        *most = all_bytes.max(*most);
        true
    }

    fn may_carry(&self, author: usize, courier: usize, to: usize) -> bool {
        match self.camp.among {
            Among::Anybody => true,
            Among::SharingASpace => self.spaces.iter().any(|members| {
                [author, courier, to]
                    .iter()
                    .all(|person| members.contains(person))
            }),
            Among::ContactsOfTheReceiver => self.contacts[courier].contains(&to),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAMP: Campsite = Campsite {
        seed: 1,
        people: 20,
        days: 6,
        graph: Graph::Friends,
        rare: 500,
        messages: 4,
        copies: 4,
        among: Among::Anybody,
    };

    #[test]
    fn who_carries_makes_letters_arrive_sooner() {
        let alone = Campsite { copies: 0, ..CAMP }.run();
        let carried = CAMP.run();
        assert_eq!(alone.written, carried.written);
        assert!(alone.by_carriers == 0 && alone.bytes == 0, "{alone:?}");
        assert!(carried.by_carriers > 0 && carried.refused == 0);
        assert!(carried.delays_us.len() >= alone.delays_us.len());
        assert!(carried.delays_us.len() as u64 <= carried.written);
        assert!(carried.within(DAY) > alone.within(DAY));
        assert_eq!(carried.delays_us, CAMP.run().delays_us);
    }

    #[test]
    fn more_copies_never_take_longer_and_cost_more() {
        let run = |copies| Campsite { copies, ..CAMP }.run();
        let (one, four) = (run(1), run(4));
        assert!(four.within(DAY) >= one.within(DAY) && four.bytes > one.bytes);
        let best = Campsite {
            among: Among::ContactsOfTheReceiver,
            ..CAMP
        };
        assert!(best.run().within(DAY) >= four.within(DAY));
    }
}
