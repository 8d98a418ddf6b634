//! The people and their spaces before they meet.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::OnceLock,
};

use proto::{
    DeviceId, EntryId, SpaceId,
    audience::{Clearance, ContactFacts, SpaceFacts, clear},
    body::Body,
    sim::{Memory, Person},
    space::{SpaceKind, conversation_id},
};

/// The secret of the two who meet.
const PAIR: [u8; 32] = [5; 32];

/// Bytes by which marks are found; none is shorter.
const MARK_START: usize = 8;

/// Ana, whom Ben means ill, and what each of them holds.
pub(super) struct World {
    pub(super) ana: Memory,
    pub(super) ben: Memory,
    /// A forum of many, which both hold.
    pub(super) forum: SpaceId,
    /// Their own conversation.
    pub(super) talk: SpaceId,
    /// What must never be seen outside of a space: ids, devices that write there only, texts.
    marks: BTreeMap<SpaceId, Vec<Vec<u8>>>,
    /// The same by their first bytes, because every frame is searched for them.
    by_start: HashMap<[u8; MARK_START], Vec<(SpaceId, Vec<u8>)>>,
    /// Devices to speak of, one of which nobody has.
    pub(super) devices: Vec<DeviceId>,
    /// Spaces that Ben holds, and so can show to know.
    pub(super) known_to_ben: BTreeSet<SpaceId>,
    /// What is written in each space.
    words: BTreeMap<SpaceId, &'static str>,
    /// All that was ever written, by the device that wrote it.
    pub(super) written: BTreeMap<(SpaceId, DeviceId), Vec<EntryId>>,
}

impl World {
    /// The one that all stories begin with: making it costs many signatures.
    pub(super) fn get() -> &'static Self {
        static WORLD: OnceLock<World> = OnceLock::new();
        WORLD.get_or_init(Self::new)
    }

    /// The text by which a space's entries are known.
    pub(super) fn words(&self, space: SpaceId) -> &'static str {
        self.words.get(&space).copied().unwrap_or("plain")
    }

    /// The spaces that there are.
    pub(super) fn spaces(&self) -> Vec<SpaceId> {
        self.marks.keys().copied().collect()
    }

    /// Marks that stand in these bytes, and of which space.
    pub(super) fn seen_in<'b>(
        &'b self,
        bytes: &'b [u8],
    ) -> impl Iterator<Item = (SpaceId, &'b [u8])> + 'b {
        let starts = bytes.windows(MARK_START).enumerate();
        starts.flat_map(move |(at, start)| {
            let start: &[u8; MARK_START] = start.try_into().unwrap();
            let marks = self.by_start.get(start).into_iter().flatten();
            marks
                .filter(move |(_, mark)| bytes[at..].starts_with(mark))
                .map(|(space, mark)| (*space, mark.as_slice()))
        })
    }

    /// Whether anything of a space may be told: the other side shows to know it, and isn't
    /// excluded from it. Nobody is excluded from their own conversation.
    pub(super) fn may_leave(&self, space: SpaceId, excluded: &BTreeSet<SpaceId>) -> bool {
        space == self.talk || space == self.forum && !excluded.contains(&space)
    }

    fn new() -> Self {
        let (mut ana, mut ben) = (Memory::new(Person::new(1)), Memory::new(Person::new(2)));
        let (me, contact, cem) = (ana.me.clone(), ben.me.clone(), Person::new(3));
        let forum = ana.create_forum(1);
        ben.join_forum(&ana, forum);
        ana.write_as(forum, 3, "plain");
        ben.write_as(forum, 3, "plain");
        let mut devices = vec![me.device.id(), contact.device.id()];
        let mut marks: BTreeMap<SpaceId, Vec<Vec<u8>>> = BTreeMap::new();
        for n in 0..24 {
            let mut writer = Memory::new(Person::from_bytes([n, 1, 1]));
            writer.join_forum(&ana, forum);
            // One of whom Ana lacks so much that the newest comes first over a slow link.
            let count = if n == 2 { 60 } else { n % 4 };
            writer.write_as(forum, u64::from(count), "plain");
            let device = writer.me.device.id();
            devices.push(device);
            marks.entry(forum).or_default().push(device.0.to_vec());
            if n % 3 < 2 {
                ana.copy_feed(&writer, forum, device);
            }
            if n % 3 > 0 {
                ben.copy_feed(&writer, forum, device);
            }
        }
        let talk = ana.create_conversation(PAIR, &contact);
        ben.create_conversation(PAIR, &me);
        let text = "our secret";
        ana.write_body(
            talk,
            &Body::Message {
                text,
                parent: None,
                salt: None,
            },
        );
        marks.entry(talk).or_default().push(text.into());
        // A forum that Ben doesn't know, and a conversation with somebody else.
        let hidden = ana.create_forum(7);
        ana.write_as(hidden, 2, "hidden words");
        let mut yan = Memory::new(Person::new(4));
        yan.join_forum(&ana, hidden);
        yan.write_as(hidden, 2, "hidden words");
        ana.copy_feed(&yan, hidden, yan.me.device.id());
        let other = ana.create_conversation([6; 32], &cem);
        let text = "their secret";
        ana.write_body(
            other,
            &Body::Message {
                text,
                parent: None,
                salt: None,
            },
        );
        let hidden_marks = [yan.me.device.id().0.to_vec(), b"hidden words".to_vec()];
        marks.entry(hidden).or_default().extend(hidden_marks);
        marks.entry(other).or_default().push(text.into());
        for (space, _) in ana.spaces() {
            marks.entry(space).or_default().push(space.0.to_vec());
        }
        devices.extend([yan.me.device.id(), DeviceId([9; 32])]);
        let words = [
            (forum, "plain"),
            (talk, "our secret"),
            (hidden, "hidden words"),
            (other, "their secret"),
        ];
        let known_to_ben = ben.spaces().map(|(space, _)| space).collect();
        let by_start = index(&marks);
        let written = [&ana, &ben].into_iter().flat_map(feeds_of).collect();
        Self {
            ana,
            ben,
            forum,
            talk,
            marks,
            by_start,
            devices,
            known_to_ben,
            words: words.into(),
            written,
        }
    }
}

fn index(
    marks: &BTreeMap<SpaceId, Vec<Vec<u8>>>,
) -> HashMap<[u8; MARK_START], Vec<(SpaceId, Vec<u8>)>> {
    let mut by_start: HashMap<_, Vec<_>> = HashMap::new();
    for (space, marks) in marks {
        for mark in marks {
            let start = *mark.first_chunk().unwrap();
            by_start
                .entry(start)
                .or_default()
                .push((*space, mark.clone()));
        }
    }
    by_start
}

/// The entries that a store holds, by feed.
pub(super) fn feeds_of(store: &Memory) -> BTreeMap<(SpaceId, DeviceId), Vec<EntryId>> {
    let mut feeds: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (space, _) in store.spaces() {
        for (device, id, _) in store.contents(space) {
            feeds.entry((space, device)).or_default().push(id);
        }
    }
    feeds
}

/// What a store's owner lets another have, without the spaces that they are excluded from.
pub(super) fn clearances(
    store: &Memory,
    to: &Person,
    excluded: &BTreeSet<SpaceId>,
) -> Vec<(Clearance, SpaceKind)> {
    let with = |id: SpaceId, kind| {
        let facts = SpaceFacts {
            id,
            kind,
            counterpart: match kind {
                SpaceKind::Conversation if id != conversation_id(&PAIR) => {
                    Person::new(3).identity.id()
                }
                _ => to.identity.id(),
            },
            member: false,
        };
        let contact = ContactFacts {
            identity: to.identity.id(),
            ready: true,
            excluded: excluded.contains(&id),
            member: false,
        };
        clear(&facts, &contact).map(|clearance| (clearance, kind))
    };
    let spaces = store.spaces();
    spaces.filter_map(|(id, kind)| with(id, kind)).collect()
}
