//! A trace of a disk under a store that does everything, and what was acknowledged when: the
//! power is cut at any place of it, and what is left must be one of the states that were.

use std::collections::BTreeMap;

use proto::{
    Millis, SpaceId,
    body::Body,
    space::SpaceKind,
    verify::{Outcome, verify_run},
};
use store::{
    Counts, Error, Setting, Store, Txn,
    sim::{Cut, Disk, Image, Op},
};

use crate::support::{
    Device, Place, T0, edit, long_feed, post, react, reply, revocation, runs, thread,
};

/// A number from a seed (splitmix64).
fn dice(seed: &mut u64, below: u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *seed;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) % below
}

/// Everything that can be asked of a store, in short.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// The last step that is there.
    pub step: u64,
    spaces: BTreeMap<SpaceId, ([u8; 32], Counts)>,
    settings: u64,
    bytes: usize,
}

pub fn facts(store: &Store) -> Facts {
    let view = store.read().unwrap();
    let step = view.setting(&"step".to_owned()).unwrap();
    let settings = view.settings().unwrap();
    Facts {
        step: step.map_or(0, |step| u64::from_be_bytes(step.0.try_into().unwrap())),
        spaces: view
            .spaces()
            .unwrap()
            .into_iter()
            .map(|space| (space.id, (view.digest(space.id).unwrap(), space.counts)))
            .collect(),
        settings: settings.len() as u64,
        bytes: settings.iter().map(|(_, setting)| setting.0.len()).sum(),
    }
}

/// What was done to a disk, and what was true after each step.
pub struct Trace {
    pub ops: Vec<Op>,
    /// How much of the trace there was when a step was acknowledged, and the facts then.
    pub steps: Vec<(usize, Facts)>,
}

struct World {
    disk: Disk,
    store: Store,
    steps: Vec<(usize, Facts)>,
    forum: Place,
    other: Place,
    people: Vec<Device>,
    seed: u64,
    roots: Vec<proto::EntryId>,
    now: u64,
}

/// People whose feeds are imported; the first writes here.
const PEOPLE: u8 = 12;

impl World {
    /// One acknowledged change.
    fn step(&mut self, change: impl FnOnce(&mut Txn<'_>) -> Result<(), Error>) {
        let step = self.steps.len() as u64;
        let value = Setting(step.to_be_bytes().to_vec());
        self.store
            .run(|txn| {
                change(txn)?;
                txn.put_setting(&"step".to_owned(), &value)
            })
            .unwrap();
        self.steps.push((self.disk.recorded(), facts(&self.store)));
    }

    fn write(&mut self, body: &Body<'_>) -> proto::EntryId {
        self.now += 1;
        let (ana, forum, now) = (self.people[0].clone(), self.forum.clone(), self.now);
        let chain = forum.chains[&ana.person()].clone();
        let mut id = None;
        self.step(|txn| {
            let genesis = ana.genesis(&chain);
            let appended = txn.append(forum.id(), &ana.key, Millis(now), body, |_| Ok(genesis))?;
            id = Some(appended.id);
            Ok(())
        });
        id.unwrap()
    }

    fn take(&mut self, place: &Place, device: &Device, runs: Vec<Vec<u8>>) {
        let (space, device, now) = (place.id(), device.id(), Millis(self.now));
        self.step(|txn| {
            let Some(context) = txn.context(space)? else {
                return Ok(());
            };
            for run in runs {
                let facts = txn.facts(space, device)?;
                match verify_run(&context, &facts, run) {
                    Ok(Outcome::Continues(run)) => drop(txn.import(space, run, now)),
                    Ok(Outcome::Overlaps(overlap)) => drop(txn.compare(space, &overlap)),
                    Ok(Outcome::ContinuesTail(tail)) => drop(txn.import_tail(space, tail, now)),
                    // A feed that ended takes no more.
                    Err(_) => {}
                }
            }
            Ok(())
        });
    }

    /// A feed of another person, of some length, once or again.
    fn import(&mut self) {
        let person = 1 + dice(&mut self.seed, u64::from(PEOPLE) - 1) as usize;
        let (device, root) = (self.people[person].clone(), self.roots[0]);
        let long = [3, 10, 40, 300][dice(&mut self.seed, 4) as usize];
        let place = if dice(&mut self.seed, 3) == 0 {
            self.other.clone()
        } else {
            self.forum.clone()
        };
        let runs = long_feed(&place, &device, root, long);
        self.take(&place, &device, runs);
    }

    /// Two branches of one feed meet.
    fn fork(&mut self) {
        let person = 1 + dice(&mut self.seed, u64::from(PEOPLE) - 1) as usize;
        let (device, forum, root) = (
            self.people[person].clone(),
            self.forum.clone(),
            self.roots[0],
        );
        let twin = forum.node();
        let text = format!("branch {}", dice(&mut self.seed, 1_000));
        post(&twin, &forum, &device, T0, &reply(root, &text, None));
        let branch = runs(&twin, forum.id(), device.id());
        self.take(&forum, &device, branch);
    }

    fn revoke(&mut self) {
        let person = 1 + dice(&mut self.seed, u64::from(PEOPLE) - 1) as usize;
        let (device, space) = (self.people[person].clone(), self.forum.id());
        let last = {
            let view = self.store.read().unwrap();
            view.frontier(space, device.id()).unwrap()
        };
        let Some(last) = last.filter(|last| last.base > 0) else {
            return;
        };
        let end = revocation(&device, space, device.id(), last.base - 1, last.top).encode();
        self.step(|txn| {
            drop(txn.import_revocation(space, device.id(), &end));
            Ok(())
        });
    }

    fn act(&mut self) {
        let what = dice(&mut self.seed, 100);
        let pick = dice(&mut self.seed, self.roots.len() as u64) as usize;
        let root = self.roots[pick];
        match what {
            0..25 => {
                let text = "words ".repeat(1 + dice(&mut self.seed, 700) as usize);
                self.write(&reply(self.roots[0], &text, None));
            }
            25..33 => {
                let id = self.write(&thread("A thread", "with words"));
                self.roots.push(id);
            }
            33..40 => drop(self.write(&edit(root, "better words"))),
            40..45 => drop(self.write(&react(root, "+", true))),
            45..50 if pick > 0 => drop(self.write(&Body::Retract { target: root })),
            50..68 => self.import(),
            68..74 => self.fork(),
            74..77 => self.revoke(),
            77..80 => {
                let (space, record) = (self.other.id(), self.other.record());
                self.step(|txn| match txn.leave_space(space) {
                    Err(Error::UnknownSpace) => txn.create_space(&record),
                    left => left,
                });
            }
            80..92 => {
                let (n, size) = (dice(&mut self.seed, 9), dice(&mut self.seed, 60_000));
                let setting = Setting(vec![n as u8; size as usize]);
                self.step(|txn| txn.put_setting(&format!("setting {n}"), &setting));
            }
            92..96 => {
                let n = dice(&mut self.seed, 9);
                self.step(|txn| txn.remove_setting(&format!("setting {n}")).map(drop));
            }
            // Deleting what was left, and writing the file anew.
            _ => self.store.rest(),
        }
    }
}

/// Makes the trace of so many steps.
pub fn record(seed: u64, steps: usize) -> Trace {
    let people: Vec<Device> = (1..=PEOPLE).map(|seed| Device::new(seed, 0)).collect();
    let refs: Vec<&Device> = people.iter().collect();
    let disk = Disk::new();
    disk.record();
    let store = Store::on(&disk).unwrap();
    let mut world = World {
        forum: Place::new(SpaceKind::Forum, "Camp", &refs),
        other: Place::new(SpaceKind::Forum, "Other", &refs),
        steps: vec![(disk.recorded(), facts(&store))],
        disk,
        store,
        people,
        seed,
        roots: Vec::new(),
        now: T0 + 1_000,
    };
    for place in [world.forum.clone(), world.other.clone()] {
        world.step(|txn| txn.create_space(&place.record()));
    }
    let root = world.write(&thread("The first", "thread"));
    world.roots.push(root);
    while world.steps.len() < steps {
        world.act();
    }
    let ops = world.disk.trace();
    Trace {
        ops,
        steps: world.steps,
    }
}

impl Trace {
    /// The length of the file behind the first calls.
    pub fn len_at(&self, calls: usize) -> u64 {
        let replay = Disk::new();
        self.ops[..calls].iter().for_each(|op| replay.apply(op));
        replay.image().len()
    }

    /// Cuts the power behind every `every`th of the recorded calls, from `from` on, in all five
    /// ways: how many images were looked at. Whatever is wrong ends it with a panic that names
    /// the place.
    pub fn cut(&self, seed: u64, from: usize, every: usize) -> u64 {
        let replay = Disk::new();
        let (mut images, mut next) = (0, 0);
        for (at, op) in self.ops.iter().enumerate() {
            replay.apply(op);
            while self.steps.get(next).is_some_and(|(end, _)| *end <= at + 1) {
                next += 1;
            }
            if at % every != from {
                continue;
            }
            for cut in Cut::ALL {
                let seed = seed ^ (at as u64) << 3;
                let place = || format!("cut {cut:?} behind call {at} of seed {seed}");
                self.open(replay.cut(cut, seed), next, at, &place());
                images += 1;
            }
        }
        images
    }

    /// Opens an image and looks at all of it: it is the last state that was acknowledged, or the
    /// one that was being written, whole.
    fn open(&self, image: Image, acknowledged: usize, at: usize, place: &str) {
        let disk = Disk::from_image(image);
        let store = Store::on(&disk).unwrap_or_else(|error| panic!("{place}: {error}"));
        let found = facts(&store);
        let step = found.step as usize;
        let last = acknowledged.saturating_sub(1);
        assert!(
            step == last || step == last + 1,
            "{place}: step {step} is there, {last} were acknowledged"
        );
        if acknowledged > 0 {
            assert_eq!(found, self.steps[step].1, "{place}");
        }
        let mut findings = Vec::new();
        let view = store.read().unwrap();
        view.check_up(&mut |finding| findings.push(finding), &mut |_| true)
            .unwrap();
        drop(view);
        assert_eq!(findings, [], "{place}");
        if at.is_multiple_of(8) {
            let raised = store.run(|txn| txn.raise("opened", 1));
            assert!(raised.is_ok(), "{place}: {raised:?}");
        }
    }
}
