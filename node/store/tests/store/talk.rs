//! Two people in a conversation, each at an own node.

use proto::{
    EntryId, Millis, SpaceId,
    body::{Body, Lifetime, Setting},
    space::SpaceKind,
};
use store::{Appended, Expiry, OwnDevice, SpaceRecord, Store, sim::Disk};

use crate::support::{Device, T0, healthy, pull, write};

pub const MINUTE: u64 = 60_000;
pub const DAY: u64 = 24 * 3_600_000;
pub const SPACE: SpaceId = SpaceId([8; 32]);

/// A person at their node.
pub struct Side {
    pub device: Device,
    pub store: Store,
}

impl Side {
    pub fn new(device: &Device, other: &Device, store: Store) -> Self {
        let record = SpaceRecord {
            id: SPACE,
            kind: SpaceKind::Conversation,
            descriptor: None,
            pair: Some([device.person(), other.person()]),
            own_chain: proto::admission::Chain::root(),
            joined: Millis(T0),
        };
        let own = OwnDevice {
            certificate: device.certificate.clone(),
            name: device.name.clone(),
            last_serial: 1,
        };
        write(&store, move |txn| {
            txn.put_own_device(&own)?;
            txn.create_space(&record)
        })
        .unwrap();
        Self {
            device: device.clone(),
            store,
        }
    }

    pub fn write(&self, at: u64, body: &Body<'_>) -> Appended {
        let (device, body) = (self.device.clone(), body.encode());
        write(&self.store, move |txn| {
            let genesis = device.genesis(&proto::admission::Chain::root());
            let body = Body::decode(&body)?;
            txn.append(SPACE, &device.key, Millis(at), &body, |_| Ok(genesis))
        })
        .unwrap()
    }

    pub fn say(&self, at: u64, text: &str) -> EntryId {
        self.write(at, &message(text)).id
    }

    pub fn set(&self, at: u64, seconds: u64) -> EntryId {
        self.write(at, &setting(seconds)).id
    }

    /// Takes what the other has, and the other knows it.
    pub fn meet(&self, other: &Self, now: u64) {
        pull(&self.store, &other.store, SPACE, now);
        let held = {
            let view = self.store.read().unwrap();
            let held = view.frontier(SPACE, other.device.id()).unwrap();
            held.map_or(0, |held| held.base)
        };
        let who = self.device.person();
        write(&other.store, move |txn| {
            txn.acknowledge(SPACE, who, held, Millis(now))
        })
        .unwrap();
    }

    pub fn read(&self, now: u64) {
        write(&self.store, move |txn| {
            txn.mark_space_read(SPACE, Millis(now))
        })
        .unwrap();
    }

    pub fn vanish(&self, now: u64) -> Vec<EntryId> {
        let vanished = write(&self.store, move |txn| txn.vanish(Millis(now), 100)).unwrap();
        healthy(&self.store);
        assert!(!vanished.more);
        vanished.entries.into_iter().map(|(_, id, _)| id).collect()
    }

    pub fn texts(&self) -> Vec<String> {
        let view = self.store.read().unwrap();
        let Some(topic) = view.conversation(SPACE).unwrap() else {
            return Vec::new();
        };
        let page = view.last_items(topic.number, 100).unwrap();
        page.items
            .into_iter()
            .filter(|item| item.setting.is_none())
            .map(|item| item.text)
            .collect()
    }

    pub fn digest(&self) -> [u8; 32] {
        self.store.read().unwrap().digest(SPACE).unwrap()
    }

    pub fn holes(&self, of: &Device) -> Vec<u64> {
        self.store
            .read()
            .unwrap()
            .holes(SPACE, of.id(), 100)
            .unwrap()
    }

    pub fn expiry(&self, of: &Device, seq: u64) -> Option<Expiry> {
        self.store
            .read()
            .unwrap()
            .expiry(SPACE, of.id(), seq)
            .unwrap()
    }
}

pub fn message(text: &str) -> Body<'_> {
    Body::Message {
        text,
        parent: None,
        salt: Some([1; 8]),
    }
}

pub fn setting(seconds: u64) -> Body<'static> {
    Body::Setting(Setting {
        lifetime: Lifetime::new(seconds),
        ..Setting::default()
    })
}

pub fn pair() -> (Side, Side) {
    pair_on(Store::in_memory().unwrap(), Store::in_memory().unwrap())
}

pub fn pair_on(one: Store, other: Store) -> (Side, Side) {
    let (ana, ben) = (Device::new(1, 0), Device::new(2, 0));
    (Side::new(&ana, &ben, one), Side::new(&ben, &ana, other))
}

pub fn holds(disk: &Disk, text: &str) -> bool {
    let bytes = disk.image().to_vec();
    bytes
        .windows(text.len())
        .any(|part| part == text.as_bytes())
}
