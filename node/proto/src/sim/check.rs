//! What must hold, and what is known from outside of the nodes to say so.

use std::collections::{BTreeMap, BTreeSet};

use super::{NodeStore, world::World};
use crate::{
    audience::Clearance,
    frame::{Control, Data, Hint},
    ids::{DeviceId, EntryId, IdentityId, SpaceId},
    merkle::Prefix,
    run::{BodyPart, Run},
    session::{Lane, SpaceStore},
    verify::Reject,
};

/// Bytes that a meeting with an honest contact holds at one side at most: what may wait for the
/// disk, what may wait for being sent, and room for frontiers.
const SIZE_MAX: usize = 16 * 1024 * 1024;
/// And with a hostile one: it may tell as many frontiers as the largest space has.
const SIZE_HOSTILE_MAX: usize = 64 * 1024 * 1024;

/// Where the bit of an id's first two bytes stands.
fn start_bit(start: &[u8; 8]) -> (usize, u64) {
    let number = u16::from_be_bytes([start[0], start[1]]);
    (usize::from(number >> 6), 1 << (number & 63))
}

/// What is true, whatever nodes believe.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    /// Who was ever let know of a space.
    knows: BTreeSet<(SpaceId, IdentityId)>,
    /// Whom a node excluded.
    pub(super) excluded: BTreeSet<(usize, SpaceId, IdentityId)>,
    /// Starts of the spaces' ids, which never travel.
    ids: BTreeSet<[u8; 8]>,
    /// Which first two bytes they have, a bit each: most of what travels is passed over by it.
    id_starts: Vec<u64>,
    /// Own blogs.
    pub(super) blogs: BTreeMap<usize, Vec<SpaceId>>,
    /// Entries that a node acknowledged to its person, and that must never be lost.
    pub(super) acked: BTreeMap<(usize, SpaceId), Vec<(u64, EntryId)>>,
    /// Devices whose keys were used twice: these may have forked.
    pub(super) double: BTreeSet<DeviceId>,
    /// Devices that their people revoked.
    pub(super) revoked: BTreeSet<DeviceId>,
    /// Keyed hashes of spaces that were sent, which must never be the same twice.
    tags: BTreeSet<[u8; 16]>,
}

impl Oracle {
    pub(super) fn space(&mut self, space: SpaceId) {
        self.id_starts.resize(1 << (16 - 6), 0);
        if let Some(start) = space.0.first_chunk::<8>() {
            let (word, bit) = start_bit(start);
            self.id_starts[word] |= bit;
            self.ids.insert(*start);
        }
    }

    fn is_id(&self, start: &[u8; 8]) -> bool {
        let (word, bit) = start_bit(start);
        let begun = self.id_starts.get(word).is_some_and(|bits| bits & bit != 0);
        begun && self.ids.contains(start)
    }

    pub(super) fn knows(&mut self, space: SpaceId, person: IdentityId) {
        self.knows.insert((space, person));
    }

    pub(super) fn acknowledged(&mut self, n: usize, space: SpaceId, entries: &[(u64, EntryId)]) {
        self.acked.entry((n, space)).or_default().extend(entries);
    }
}

/// A feed by value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct FeedContents {
    pub(super) entries: Vec<(EntryId, Option<Vec<u8>>)>,
    /// Entries above a gap: from where to where.
    pub(super) tail: Option<(u64, u64)>,
    pub(super) fork: Option<u64>,
    pub(super) revoked: Option<u64>,
}

/// A space by value.
pub(super) type Contents = BTreeMap<DeviceId, FeedContents>;

/// Everything that a store holds of a space, as it would hand it out.
pub(super) fn contents<S: SpaceStore>(store: &S, space: SpaceId) -> Result<Contents, S::Error> {
    let mut contents = Contents::new();
    let mut after = None;
    loop {
        let frontiers = store.frontiers(space, &Prefix::root(), after, 256)?;
        let Some(last) = frontiers.last() else {
            return Ok(contents);
        };
        after = Some(last.device);
        for frontier in frontiers {
            let mut feed = FeedContents {
                entries: Vec::new(),
                tail: frontier.tail.map(|tail| (tail.start, tail.end)),
                fork: frontier.fork,
                revoked: frontier.revoked,
            };
            while (feed.entries.len() as u64) < frontier.base {
                let from = feed.entries.len() as u64;
                let Some(served) = store.run(space, frontier.device, from)? else {
                    break;
                };
                let run = Run::decode(&served.bytes).expect("a store hands out runs");
                for ((id, _), item) in run.headers(space, frontier.device).zip(&run.items) {
                    let body = match item.body {
                        BodyPart::Present(body) => Some(body.to_vec()),
                        BodyPart::Absent { .. } => None,
                    };
                    feed.entries.push((id, body));
                }
            }
            contents.insert(frontier.device, feed);
        }
    }
}

impl<S: NodeStore> World<S> {
    /// Whether a node may tell a person anything of a space.
    fn may_tell(&self, n: usize, space: SpaceId, to: IdentityId) -> bool {
        self.oracle.knows.contains(&(space, to)) && !self.oracle.excluded.contains(&(n, space, to))
    }

    fn check_told(&self, n: usize, m: usize, space: SpaceId, what: &str) {
        if !self.may_tell(n, space, self.identity(m)) {
            let excluded = &self.oracle.excluded;
            let why = if excluded.contains(&(n, space, self.identity(m))) {
                "whom it excluded"
            } else {
                "who didn't know"
            };
            self.fail(&format!(
                "node {n} told node {m}, {why}, of {space:?}: {what}"
            ));
        }
    }

    pub(super) fn check_clearance(&self, n: usize, m: usize, clearance: &Clearance) {
        if clearance.contact() != self.identity(m) {
            self.fail(&format!(
                "node {n} sent node {m} what was cleared for others"
            ));
        }
        self.check_told(n, m, clearance.space(), "entries");
    }

    /// A frame of an honest node leaves it.
    pub(super) fn check_frame(&mut self, meeting: u32, s: usize, lane: Lane, bytes: &[u8]) {
        let Some((n, m)) = self.ends(meeting, s) else {
            return;
        };
        self.check_ids(n, bytes);
        let channel = match lane {
            Lane::Space(channel) => {
                if Data::decode(bytes).is_err() {
                    self.fail(&format!("node {n} sent a frame that can't be read"));
                }
                Some(channel)
            }
            Lane::Control => match Control::decode(bytes) {
                Ok(Control::Spaces { tags, .. }) => {
                    let repeated = tags.iter().find(|tag| !self.oracle.tags.insert(**tag));
                    if repeated.is_some() {
                        self.fail("a keyed hash of a space was sent twice");
                    }
                    None
                }
                Ok(
                    Control::Node { channel, .. }
                    | Control::Frontiers { channel, .. }
                    | Control::Want { channel, .. }
                    | Control::WantTails { channel, .. }
                    | Control::WantBodies { channel, .. },
                ) => Some(channel),
                Ok(
                    Control::Hello(_)
                    | Control::Digests { .. }
                    | Control::Offers { .. }
                    | Control::Seen { .. },
                ) => None,
                Err(error) => self.fail(&format!(
                    "node {n} sent a frame that can't be read: {error}"
                )),
            },
        };
        if let Some(channel) = channel
            && let Some(space) = self
                .side(meeting, s)
                .and_then(|side| side.session.space_of(channel))
        {
            self.check_told(n, m, space, "a frame");
        }
    }

    pub(super) fn check_hint(&mut self, meeting: u32, s: usize, bytes: &[u8]) {
        let Some((n, m)) = self.ends(meeting, s) else {
            return;
        };
        self.check_ids(n, bytes);
        let Ok(hint) = Hint::decode(bytes) else {
            self.fail(&format!("node {n} sent a hint that can't be read"));
        };
        let space = self
            .side(meeting, s)
            .and_then(|side| side.session.space_of(hint.channel));
        match space {
            Some(space) => self.check_told(n, m, space, "a hint"),
            None => self.fail(&format!("node {n} sent a hint of no space")),
        }
    }

    /// No space's id travels.
    fn check_ids(&self, n: usize, bytes: &[u8]) {
        for window in bytes.windows(8) {
            if window
                .first_chunk()
                .is_some_and(|start| self.oracle.is_id(start))
            {
                self.fail(&format!("node {n} sent a space's id"));
            }
        }
    }

    pub(super) fn check_size(&mut self, n: usize, m: usize, size: usize) {
        if !self.is_honest(n) {
            return;
        }
        let (most, bound) = if self.is_honest(m) {
            (&mut self.figures.size_max, SIZE_MAX)
        } else {
            (&mut self.figures.size_hostile_max, SIZE_HOSTILE_MAX)
        };
        *most = size.max(*most);
        if size > bound {
            self.fail(&format!("node {n} holds {size} bytes for node {m}"));
        }
    }

    /// Honest contacts give no offence.
    pub(super) fn check_rejected(&mut self, n: usize, m: usize, rejected: &[Reject]) {
        self.figures.rejected += rejected.len() as u64;
        if !self.is_honest(n) || !self.is_honest(m) {
            return;
        }
        if let Some(reject) = rejected.iter().find(|reject| reject.is_fault()) {
            self.fail(&format!("node {n} refused what node {m} sent: {reject}"));
        }
    }

    /// What a node acknowledged is there; after a power cut, and at the end.
    pub(super) fn check_acknowledged(&self, n: usize) {
        let view = self.well(n, self.nodes[n].store.view());
        let device = self.nodes[n].person.device.id();
        let held = self.well(n, self.nodes[n].store.spaces());
        for (space, _) in held {
            let Some(acked) = self.oracle.acked.get(&(n, space)) else {
                continue;
            };
            let all = self.well(n, contents(&*view, space));
            let feed = all.get(&device).cloned().unwrap_or_default();
            let ended =
                self.oracle.double.contains(&device) || self.oracle.revoked.contains(&device);
            for (seq, id) in acked {
                let there = feed.entries.get(*seq as usize);
                let lost = there.is_none_or(|(held, _)| held != id);
                if lost && !ended {
                    self.fail(&format!(
                        "node {n} lost its entry {seq} of {} in {space:?}, it holds {}",
                        acked.len(),
                        feed.entries.len(),
                    ));
                }
            }
        }
    }

    /// An older copy was put back: what was written since may be lost.
    pub(super) fn forgo_acknowledged(&mut self, n: usize) {
        let view = self.well(n, self.nodes[n].store.view());
        let device = self.nodes[n].person.device.id();
        let mut held = BTreeMap::new();
        for (space, _) in self.well(n, self.nodes[n].store.spaces()) {
            let all = self.well(n, contents(&*view, space));
            let entries = all.get(&device).map_or(0, |feed| feed.entries.len() as u64);
            held.insert(space, entries);
        }
        drop(view);
        for ((m, space), acked) in &mut self.oracle.acked {
            if *m == n {
                let kept = held.get(space).copied().unwrap_or(0);
                acked.retain(|(seq, _)| *seq < kept);
            }
        }
    }

    /// The groups of honest nodes that hold a space and are joined by contacts who tell each
    /// other of it.
    fn groups(&self, space: SpaceId, holders: &BTreeSet<usize>) -> Vec<Vec<usize>> {
        let mut left = holders.clone();
        let mut groups = Vec::new();
        while let Some(first) = left.pop_first() {
            let mut group = vec![first];
            let mut next = 0;
            while let Some(n) = group.get(next).copied() {
                next += 1;
                for m in self.nodes[n].contacts.clone() {
                    let mutual = self.nodes[m].contacts.contains(&n);
                    let told = self.may_tell(n, space, self.identity(m))
                        && self.may_tell(m, space, self.identity(n));
                    if mutual && told && left.remove(&m) {
                        group.push(m);
                    }
                }
            }
            groups.push(group);
        }
        groups
    }

    /// Which honest nodes hold each space.
    fn holders(&self) -> BTreeMap<SpaceId, BTreeSet<usize>> {
        let mut holders: BTreeMap<SpaceId, BTreeSet<usize>> = BTreeMap::new();
        for n in (0..self.nodes.len()).filter(|n| self.is_honest(*n)) {
            for (space, _) in self.well(n, self.nodes[n].store.spaces()) {
                holders.entry(space).or_default().insert(n);
            }
        }
        holders
    }

    /// Whether all who should hold the same hold the same, as far as digests tell: what differs.
    pub(super) fn difference(&self) -> Option<String> {
        for (space, holders) in self.holders() {
            for group in self.groups(space, &holders) {
                let digest = |n: usize| {
                    let view = self.well(n, self.nodes[n].store.view());
                    self.well(n, view.digest(space))
                };
                let first = digest(group[0]);
                if let Some(other) = group.iter().find(|n| digest(**n) != first) {
                    let detail = self.detail(space, group[0], *other);
                    return Some(format!(
                        "nodes {} and {other} of {group:?} differ in {space:?}: {detail}",
                        group[0]
                    ));
                }
            }
        }
        None
    }

    /// In which feeds two nodes differ.
    fn detail(&self, space: SpaceId, one: usize, other: usize) -> String {
        let frontiers = |n: usize| {
            let view = self.well(n, self.nodes[n].store.view());
            self.well(n, view.frontiers(space, &Prefix::root(), None, 1_000))
        };
        let (ours, theirs) = (frontiers(one), frontiers(other));
        let more = theirs
            .iter()
            .filter(|their| ours.iter().all(|own| own.device != their.device));
        let ours = ours.iter().filter(|frontier| !theirs.contains(frontier));
        let meeting = self
            .meetings
            .values()
            .find(|meeting| meeting.ends.contains(&one) && meeting.ends.contains(&other));
        let said: Vec<_> = meeting
            .iter()
            .flat_map(|meeting| meeting.sides.iter().flatten())
            .map(|side| {
                let common = side.session.common();
                (
                    common.contains(&space),
                    side.session.progress(),
                    &side.session,
                )
            })
            .collect();
        let mut text = format!("meeting {said:?}");
        for their in more {
            text.push_str(&format!("\n only the other: {their:?}"));
        }
        for own in ours {
            let their = theirs.iter().find(|their| their.device == own.device);
            text.push_str(&format!("\n {own:?}\n {their:?}"));
        }
        text
    }

    /// All who should hold the same hold the same, by value.
    pub(super) fn check_equal(&mut self) {
        let mut forked = BTreeSet::new();
        let mut revoked = BTreeSet::new();
        for (space, holders) in self.holders() {
            for group in self.groups(space, &holders) {
                let of = |n: usize| {
                    let view = self.well(n, self.nodes[n].store.view());
                    self.well(n, contents(&*view, space))
                };
                let first = of(group[0]);
                for (device, feed) in &first {
                    if feed.fork.is_some() {
                        forked.insert((space, *device));
                        if !self.oracle.double.contains(device) {
                            self.fail(&format!("an honest device's feed forked: {device:?}"));
                        }
                    }
                    revoked.extend(feed.revoked.map(|_| (space, *device)));
                }
                for n in &group[1..] {
                    let other = of(*n);
                    if other != first {
                        let differs = first
                            .iter()
                            .find(|(device, feed)| other.get(device) != Some(*feed));
                        self.fail(&format!(
                            "nodes {} and {n} hold different things in {space:?}: {:?}",
                            group[0],
                            differs.map(|(device, feed)| (device, feed.entries.len(), feed.fork)),
                        ));
                    }
                }
                self.figures.compared_spaces += group.len() as u64;
                let entries: usize = first.values().map(|feed| feed.entries.len()).sum();
                self.figures.compared_entries += (entries * group.len()) as u64;
            }
        }
        self.figures.forks = forked.len() as u64;
        self.figures.revocations = revoked.len() as u64;
        for n in 0..self.nodes.len() {
            self.check_acknowledged(n);
        }
    }
}
