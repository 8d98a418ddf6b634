//! Both ends and a carrier, on stores of their own.

mod vanishing;

use std::sync::{Arc, Mutex};

use proto::{
    EndpointId, IdentityId, Millis,
    admission::{Certificate, Role},
    body::Body,
    card::{Card, PairSecret},
    keys::{DeviceKey, IdentityKey},
    seal::{Envelope, Party, PrekeyId, PrekeySecret, Receipt},
    space::conversation_id,
};
use store::{ContactState, OwnDevice, Store, sim::Disk};

use super::{
    carrying::{self, Usage},
    epochs::Epochs,
    sealing::{self, Expected, Handing, Me},
    *,
};
use crate::{files::Keys, intake::From, records, spaces};

const NOW: Millis = Millis(1_790_000_000_000);
const PAIR: PairSecret = PairSecret([0x60; 32]);

struct Side {
    keys: Keys,
    store: Store,
    disk: Disk,
    folder: tempfile::TempDir,
    me: Me,
}

fn keys(seed: u8) -> Keys {
    Keys {
        identity: IdentityKey::from_seed(&[seed; 32]),
        device: DeviceKey::from_seed(&[seed + 100; 32]),
    }
}

fn card(seed: u8) -> Card {
    let keys = keys(seed);
    Card {
        certificate: Certificate::sign(&keys.identity, &keys.device, 1, Role::Main),
        name: "Somebody".into(),
        endpoint: EndpointId([seed; 32]),
        addrs: Vec::new(),
        relay: None,
    }
}

impl Side {
    /// A node whose contact is `other`.
    fn new(seed: u8, other: u8) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::new();
        let (own, store) = (keys(seed), Store::on(&disk).unwrap());
        let them = keys(other).identity.id();
        let pair = [own.identity.id(), them];
        store
            .run(|txn| {
                txn.put_own_device(&OwnDevice {
                    certificate: card(seed).certificate,
                    name: "Somebody".into(),
                    last_serial: 1,
                })?;
                let mut contact = records::new_contact("Somebody", NOW);
                contact.state = ContactState::Ready;
                contact.pair_secret = Some(PAIR);
                records::put_device(&mut contact, &card(other));
                txn.put_contact(&them, &contact)?;
                let space = conversation_id(&PAIR.0);
                txn.create_space(&spaces::conversation(space, pair, NOW))
            })
            .unwrap();
        let me = Me {
            party: Party {
                identity: own.identity.id(),
                device: own.device.id(),
            },
            key: own.device.clone(),
            epochs: Arc::new(Mutex::new(Epochs::open(folder.path()).unwrap())),
        };
        Self {
            keys: own,
            store,
            disk,
            folder,
            me,
        }
    }

    fn whom(&self) -> (IdentityId, proto::DeviceId) {
        (self.me.party.identity, self.me.party.device)
    }

    fn write(&self, text: &str) -> proto::EntryId {
        let body = Body::Message {
            text,
            parent: None,
            salt: None,
        };
        let space = conversation_id(&PAIR.0);
        let written = |txn: &mut Txn<'_>| spaces::append(txn, &self.keys, space, NOW, &body);
        self.store.run(written).unwrap().id
    }

    fn seal(&self, at: Millis) -> Vec<Handing> {
        let courier = IdentityId([9; 32]);
        let hand = |txn: &mut Txn<'_>| {
            sealing::hand_over(
                txn,
                &self.me,
                (courier, EndpointId([9; 32])),
                &std::collections::BTreeSet::new(),
                &mut UnderWay::default(),
                (u32::MAX, u64::MAX),
                at,
            )
        };
        self.store.run(hand).unwrap()
    }

    /// Gives the other side keys.
    fn give_keys(&self, to: &Self) {
        let batch = self
            .store
            .run(|txn| keys::prekeys_for(txn, &self.me, to.whom(), NOW))
            .unwrap();
        let kept = to
            .store
            .run(|txn| keys::keep_prekeys(txn, &to.me, self.whom(), &batch))
            .unwrap();
        let next = kept.unwrap();
        self.store
            .run(|txn| keys::prekeys_kept(txn, to.me.party.device, next))
            .unwrap();
        to.tell_line(self, NOW);
    }

    /// Tells the other side where our line to it stands, if it doesn't know.
    fn tell_line(&self, to: &Self, at: Millis) -> bool {
        let told = self
            .store
            .run(|txn| sealing::line_to_tell(txn, to.me.party.device, at))
            .unwrap();
        let Some(line) = told else {
            return false;
        };
        let high = to
            .store
            .run(|txn| sealing::their_line(txn, self.me.party.device, line))
            .unwrap();
        self.store
            .run(|txn| sealing::line_heard(txn, to.me.party.device, line.0, high))
            .unwrap();
        true
    }

    fn expects(&self, envelope: &Envelope) -> Option<Expected> {
        let all = sealing::expected(&self.store.read().unwrap(), &self.me).unwrap();
        let found = all
            .into_iter()
            .find(|(tag, _)| *tag == envelope.outside().tag);
        found.map(|(_, of)| of)
    }

    fn open_as(&self, of: Expected, envelope: &Envelope) -> Option<Receipt> {
        let from = From {
            contact: of.from.identity,
            endpoint: EndpointId([7; 32]),
            own: self.me.party.identity,
            device: self.me.party.device,
            now: NOW,
        };
        let opened = self
            .store
            .run(|txn| sealing::open(txn, &self.me, of, envelope, &from));
        opened.unwrap().map(|opened| opened.receipt)
    }

    fn open(&self, envelope: &Envelope) -> Option<Receipt> {
        self.open_as(self.expects(envelope)?, envelope)
    }

    fn texts(&self) -> Vec<String> {
        let snapshot = self.store.read().unwrap();
        let space = conversation_id(&PAIR.0);
        let topic = snapshot.conversation(space).unwrap();
        let held = topic.map_or_else(Vec::new, |topic| {
            snapshot.last_items(topic.number, 500).unwrap().items
        });
        let loose = loose_messages(&snapshot, space).unwrap();
        held.into_iter()
            .chain(loose)
            .map(|item| item.text)
            .collect()
    }
}

fn two() -> (Side, Side) {
    let (ana, cem) = (Side::new(1, 3), Side::new(3, 1));
    cem.give_keys(&ana);
    (ana, cem)
}

fn envelopes(handed: &[Handing]) -> Vec<Envelope> {
    let decode = |one: &Handing| Envelope::decode(&one.envelope).unwrap();
    handed.iter().map(decode).collect()
}

#[test]
fn letters_in_any_order_make_the_same_conversation() {
    let (ana, cem) = two();
    for text in ["one", "two", "three", "four"] {
        ana.write(text);
    }
    let letters = envelopes(&ana.seal(NOW));
    assert_eq!(letters.len(), 5, "the first entry too");
    for order in [[4, 1], [3, 0]] {
        for at in order {
            assert!(cem.open(&letters[at]).is_some());
            // A second time only the receipt is given again.
            let (before, again) = (state(&cem), cem.open(&letters[at]));
            assert!(again.is_some());
            assert_eq!(state(&cem), before);
        }
    }
    assert_eq!(cem.texts(), ["one", "three", "four"]);
    assert!(cem.store.read().unwrap().has_loose().unwrap());
    assert!(cem.open(&letters[2]).is_some());
    assert_eq!(cem.texts(), ["one", "two", "three", "four"]);
    assert!(!cem.store.read().unwrap().has_loose().unwrap());
}

/// What stands in the tables for letters, and how much is held.
fn state(side: &Side) -> String {
    let snapshot = side.store.read().unwrap();
    format!(
        "{:?} {:?} {:?} {:?} {:?}",
        snapshot.own_prekeys().unwrap(),
        snapshot.all_lines().unwrap(),
        snapshot.all_owed().unwrap(),
        snapshot.all_loose().unwrap(),
        side.texts(),
    )
}

#[test]
fn what_is_refused_changes_nothing() {
    let (ana, cem) = two();
    ana.write("hello");
    let letters = envelopes(&ana.seal(NOW));
    let before = state(&cem);
    let of = cem.expects(&letters[1]).unwrap();
    for at in (0..letters[1].bytes().len()).step_by(37) {
        let mut bytes = letters[1].bytes().to_vec();
        bytes[at] ^= 1;
        if let Ok(envelope) = Envelope::decode(&bytes) {
            assert!(cem.open_as(of, &envelope).is_none(), "{at}");
        }
    }
    // Another letter's number, and one that was never given.
    assert!(cem.open_as(of, &letters[0]).is_none());
    let beyond = Expected {
        number: of.number + 1_000,
        ..of
    };
    assert!(cem.open_as(beyond, &letters[1]).is_none());
    // Back to its author.
    assert!(ana.expects(&letters[1]).is_none());
    assert_eq!(state(&cem), before);
    assert!(cem.open(&letters[1]).is_some());
}

fn secret_of(known: &[(PrekeyId, PrekeySecret)], id: PrekeyId) -> PrekeySecret {
    let found = known.iter().find(|(known, _)| *known == id);
    found.unwrap().1.clone()
}

/// The bytes of the database as they stand.
fn database(disk: &Disk) -> Vec<u8> {
    disk.image().to_vec()
}

#[test]
fn a_used_key_is_in_no_file_any_more() {
    let (ana, cem) = two();
    for text in ["one", "two", "three"] {
        ana.write(text);
    }
    let (number, old) = {
        let epochs = lock(&cem.me.epochs);
        epochs.current().map(|(n, key)| (n, key.clone())).unwrap()
    };
    let sender = ana.me.party.device;
    let secrets_of = |side: &Side| -> Vec<(PrekeyId, PrekeySecret)> {
        let rows = side.store.read().unwrap().own_prekeys().unwrap();
        let epochs = lock(&side.me.epochs);
        rows.into_iter()
            .map(|((sender, id), row)| {
                let key = epochs.get(row.epoch).unwrap();
                (id, key.unwrap(sender, id, &row.wrapped).unwrap())
            })
            .collect()
    };
    let before = secrets_of(&cem);
    for letter in envelopes(&ana.seal(NOW)) {
        assert!(cem.open(&letter).is_some());
    }
    lock(&cem.me.epochs).begin().unwrap();
    cem.store
        .run(|txn| keys::wrap_anew(txn, &lock(&cem.me.epochs)))
        .unwrap();
    lock(&cem.me.epochs).finish().unwrap();
    let after = secrets_of(&cem);
    let used: Vec<_> = before
        .iter()
        .filter(|(id, _)| !after.iter().any(|(other, _)| other == id))
        .collect();
    assert_eq!((used.len(), after.len()), (4, before.len() - 4));
    // The others still open letters.
    ana.write("four");
    cem.open(&envelopes(&ana.seal(NOW)).pop().unwrap()).unwrap();
    let key_file = cem.folder.path().join("prekey-epoch.key");
    let files = [database(&cem.disk), std::fs::read(key_file).unwrap()];
    let epochs = lock(&cem.me.epochs);
    assert!(epochs.get(number).is_none());
    for bytes in files {
        let holds = |secret: &[u8; 32]| bytes.windows(32).any(|window| window == secret);
        assert!(!holds(&old.0), "the epoch's key that is over");
        for (id, secret) in &before {
            assert!(!holds(&secret.0), "{id:?}");
        }
        // Old pages may hold what the old key wrapped; no key that is left opens that.
        let (_, key) = epochs.current().unwrap();
        for (id, _) in &used {
            let stale = old.wrap(sender, *id, &secret_of(&before, *id)).unwrap();
            assert!(key.unwrap(sender, *id, &stale).is_none());
            let live = key.wrap(sender, *id, &secret_of(&before, *id)).unwrap();
            assert!(!bytes.windows(48).any(|window| window == live.0));
        }
    }
}

#[test]
fn without_keys_the_last_resort_serves_and_without_that_nothing_is_sealed() {
    let (ana, cem) = two();
    let nobody = Side::new(5, 6);
    nobody.write("to somebody who left no keys");
    assert!(nobody.seal(NOW).is_empty());
    for number in 0..40 {
        ana.write(&number.to_string());
    }
    let letters = envelopes(&ana.seal(NOW));
    assert_eq!(letters.len(), 41);
    for letter in &letters {
        assert!(cem.open(letter).is_some());
    }
    assert_eq!(cem.texts().len(), 40);
    let weak = |letter: &Envelope| {
        let snapshot = cem.store.read().unwrap();
        let space = conversation_id(&PAIR.0);
        let number = letters.iter().position(|one| one == letter).unwrap();
        let feed = ana.store.read().unwrap();
        let run = feed.run(space, ana.me.party.device, number as u64, 1, 1 << 20);
        let bytes = run.unwrap().unwrap().bytes;
        let run = proto::run::Run::decode(&bytes).unwrap();
        let (id, _) = run.headers(space, ana.me.party.device).next().unwrap();
        snapshot.is_weak(space, id).unwrap()
    };
    assert!(!weak(&letters[31]) && weak(&letters[32]) && weak(&letters[40]));
    // Nobody may be more than a window ahead of what is known to have arrived.
    for number in 0..40 {
        ana.write(&number.to_string());
    }
    // The first ones are still handed out, since nobody is known to carry them.
    assert_eq!(ana.seal(NOW).len(), 64);
}

#[test]
fn a_letter_that_nobody_brought_expires_and_can_be_sent_again() {
    let (ana, _) = two();
    ana.write("hello");
    let space = conversation_id(&PAIR.0);
    let cem = keys(3).identity.id();
    let handed = ana.seal(NOW);
    let hashes: Vec<_> = handed.iter().map(|one| one.receipt).collect();
    let state = |at: Millis| {
        let snapshot = ana.store.read().unwrap();
        let states = sealed_to(&snapshot, space, cem, at).unwrap();
        states.get(&1).copied()
    };
    assert_eq!(state(NOW), None);
    let ben = IdentityId([9; 32]);
    ana.store
        .run(|txn| carrying::carried_by(txn, ben, &hashes))
        .unwrap();
    assert_eq!(state(NOW), Some(Sealed::CarriedBy(1)));
    let later = NOW.plus(40 * DAY_MS);
    assert_eq!(state(later), Some(Sealed::Expired));
    assert!(ana.seal(later).is_empty(), "not by itself");
    ana.store.run(|txn| carrying::sweep(txn, later)).unwrap();
    assert_eq!(state(later), Some(Sealed::Expired));
    for seq in [0, 1] {
        let again = ana.store.run(|txn| send_again(txn, cem, seq, later));
        assert!(again.unwrap());
    }
    assert_eq!(state(later), None);
    assert_eq!(ana.seal(later).len(), 2);
}

/// A letter's worth of noise.
fn noise(number: u64) -> Envelope {
    let mut bytes = vec![0; 55 + 1_120 + 256 + 16];
    blake3::Hasher::new()
        .update(&number.to_be_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes[0] = 1;
    bytes[17..19].copy_from_slice(&u16::MAX.to_be_bytes());
    Envelope::decode(&bytes).unwrap()
}

#[test]
fn a_flood_of_letters_is_bounded_and_takes_nobody_elses_place() {
    let disk = Disk::new();
    let store = Store::on(&disk).unwrap();
    let people: Vec<_> = (0..12_u8).map(|n| IdentityId([n; 32])).collect();
    store
        .run(|txn| {
            for person in &people {
                let mut contact = records::new_contact("Somebody", NOW);
                contact.state = ContactState::Ready;
                txn.put_contact(person, &contact)?;
            }
            Ok(())
        })
        .unwrap();
    let mut usage = None;
    let mut number = 0;
    let mut leave = |person: &IdentityId, letters: usize| -> usize {
        store
            .run(|txn| {
                let mut kept = 0;
                for _ in 0..letters {
                    number += 1;
                    let letter = noise(number);
                    kept += usize::from(carrying::keep(txn, &mut usage, *person, &letter, NOW)?);
                }
                Ok(kept)
            })
            .unwrap()
    };
    // Ten fill all of it, each to its own bound, and get no further with a million letters.
    for person in &people[..10] {
        assert_eq!(leave(person, 100_000), 1_000);
    }
    let written = disk.image().len();
    assert!(
        written < 64 << 20,
        "{written} bytes for 10,000 letters of 1.4 kB"
    );
    // Who has less here still finds room: the oldest of who has most go.
    assert_eq!(leave(&people[10], 300), 300);
    let snapshot = store.read().unwrap();
    let counted = Usage::count(&snapshot).unwrap();
    assert_eq!(counted.all.count, 10_000);
    assert_eq!(load(&snapshot).unwrap(), counted.all);
    drop(snapshot);
    // Nobody's letters are carried for nobody.
    store
        .run(|txn| set_whose(txn, WhoseLetters::Nobody))
        .unwrap();
    assert_eq!(leave(&people[11], 1), 0);
    store
        .run(|txn| carrying::sweep(txn, NOW.plus(61 * DAY_MS)))
        .unwrap();
    assert_eq!(load(&store.read().unwrap()).unwrap().count, 0);
    assert!(store.read().unwrap().all_receipted().unwrap().is_empty());
}

#[test]
fn only_the_receipt_ends_the_carrying() {
    let (ana, cem) = two();
    ana.write("hello");
    let letter = envelopes(&ana.seal(NOW)).pop().unwrap();
    let ben = Side::new(2, 1);
    let giver = ana.me.party.identity;
    let mut usage = None;
    let kept = ben
        .store
        .run(|txn| carrying::keep(txn, &mut usage, giver, &letter, NOW));
    assert!(kept.unwrap());
    let mut told = |receipt: Receipt| {
        ben.store
            .run(|txn| carrying::receipts(txn, &mut usage, &[receipt], NOW))
            .unwrap();
        let snapshot = ben.store.read().unwrap();
        let owed = carrying::owed_to(&snapshot, giver, 10).unwrap();
        (load(&snapshot).unwrap().count, owed)
    };
    for forged in [letter.outside().receipt, [0; 32]] {
        assert_eq!(told(Receipt(forged)), (1, Vec::new()));
    }
    let receipt = cem.open(&letter).unwrap();
    let (carried, owed) = told(receipt);
    assert_eq!((carried, owed.as_slice()), (0, [receipt].as_slice()));
    // Back at its author it says that the message was delivered.
    let mut none = None;
    ana.store
        .run(|txn| carrying::receipts(txn, &mut none, &owed, NOW))
        .unwrap();
    let space = conversation_id(&PAIR.0);
    let cem = keys(3).identity.id();
    let states = sealed_to(&ana.store.read().unwrap(), space, cem, NOW).unwrap();
    assert_eq!(states.get(&1), Some(&Sealed::Delivered));
}

fn give_keys_and_lose_the_answer(from: &Side, to: &Side) {
    let batch = from
        .store
        .run(|txn| keys::prekeys_for(txn, &from.me, to.whom(), NOW))
        .unwrap();
    to.store
        .run(|txn| keys::keep_prekeys(txn, &to.me, from.whom(), &batch))
        .unwrap();
}

#[test]
fn keys_that_are_told_again_are_not_used_again() {
    let (ana, cem) = (Side::new(1, 3), Side::new(3, 1));
    give_keys_and_lose_the_answer(&cem, &ana);
    ana.tell_line(&cem, NOW);
    for text in ["one", "two"] {
        ana.write(text);
    }
    let first = ana.seal(NOW);
    assert_eq!(first.len(), 3);
    cem.give_keys(&ana);
    ana.write("three");
    let letters = envelopes(&ana.seal(NOW));
    assert_eq!(letters.len(), 4);
    for letter in &letters {
        assert!(cem.open(letter).is_some());
    }
    assert_eq!(cem.texts(), ["one", "two", "three"]);
}

#[test]
fn a_line_whose_answer_was_lost_goes_on() {
    let (ana, cem) = two();
    for round in 0..4 {
        for number in 0..30 {
            ana.write(&format!("{round} {number}"));
        }
        assert!(!ana.seal(NOW).is_empty());
        // The two meet, and part before the answer.
        let held = ana.store.read().unwrap();
        let space = conversation_id(&PAIR.0);
        let feed = held.frontier(space, ana.me.party.device).unwrap();
        let base = feed.unwrap().base;
        let cem_is = cem.me.party.identity;
        ana.store
            .run(|txn| {
                txn.acknowledge(space, cem_is, base, NOW)?;
                arrived(txn, space, cem_is, base)
            })
            .unwrap();
        let told = ana
            .store
            .run(|txn| sealing::line_to_tell(txn, cem.me.party.device, NOW))
            .unwrap();
        let high = |line| {
            cem.store
                .run(|txn| sealing::their_line(txn, ana.me.party.device, line))
                .unwrap()
        };
        // Nothing is on its way, so every key that was used ends, and others take their place.
        high(told.unwrap());
        assert!(ana.tell_line(&cem, NOW), "it is told again");
        cem.give_keys(&ana);
        let keys = cem.store.read().unwrap().own_prekeys().unwrap();
        let once = keys.iter().filter(|(_, row)| row.until_day.is_none());
        assert!((16..=64).contains(&once.count()));
    }
    ana.write("at last");
    let letters = envelopes(&ana.seal(NOW));
    assert!(cem.open(letters.last().unwrap()).is_some());
    assert!(cem.texts().contains(&"at last".to_owned()));
}

#[test]
fn who_is_added_anew_begins_with_other_numbers_and_keys() {
    let (ana, cem) = two();
    ana.write("before");
    let old = envelopes(&ana.seal(NOW));
    let numbers = |side: &Side, of: &Side| {
        let lines = side.store.read().unwrap().lines(&of.me.party.device);
        let lines = lines.unwrap().unwrap();
        (lines.next, lines.prekey)
    };
    let before = (numbers(&ana, &cem), numbers(&cem, &ana));
    for (side, other) in [(&ana, &cem), (&cem, &ana)] {
        let (who, device) = other.whom();
        side.store
            .run(|txn| txn.forget_letters(who, &[device]))
            .unwrap();
    }
    cem.give_keys(&ana);
    ana.give_keys(&cem);
    let after = (numbers(&ana, &cem), numbers(&cem, &ana));
    assert_ne!(before.0.0, after.0.0);
    assert_ne!(before.1.1, after.1.1);
    for letter in &old {
        assert!(cem.expects(letter).is_none() || cem.open(letter).is_none());
    }
    for letter in envelopes(&ana.seal(NOW)) {
        assert!(cem.open(&letter).is_some());
    }
    assert_eq!(cem.texts(), ["before"]);
}

#[test]
fn whoever_carries_what_arrived_another_way_is_told() {
    let (ana, cem) = two();
    ana.write("hello");
    let handed = ana.seal(NOW);
    let ben = IdentityId([9; 32]);
    let hashes: Vec<_> = handed.iter().map(|one| one.receipt).collect();
    ana.store
        .run(|txn| carrying::carried_by(txn, ben, &hashes))
        .unwrap();
    let space = conversation_id(&PAIR.0);
    let to = cem.me.party.identity;
    assert!(ana.store.run(|txn| arrived(txn, space, to, 2)).unwrap());
    let owed = carrying::owed_to(&ana.store.read().unwrap(), ben, 10).unwrap();
    let told: Vec<_> = owed.iter().map(Receipt::hash).collect();
    assert_eq!(told, hashes);
    ana.store
        .run(|txn| carrying::told(txn, ben, &told))
        .unwrap();
    assert!(
        carrying::owed_to(&ana.store.read().unwrap(), ben, 10)
            .unwrap()
            .is_empty()
    );
    assert!(!ana.store.run(|txn| arrived(txn, space, to, 2)).unwrap());
    assert!(ana.store.read().unwrap().own_letters().unwrap().is_empty());
}

#[test]
fn junk_with_a_letters_receipt_takes_nobodys_place() {
    let (ana, _) = two();
    ana.write("hello");
    let letter = envelopes(&ana.seal(NOW)).pop().unwrap();
    let ben = Side::new(2, 1);
    let giver = ana.me.party.identity;
    let mut usage = None;
    let mut junk = letter.bytes().to_vec();
    *junk.last_mut().unwrap() ^= 1;
    let junk = Envelope::decode(&junk).unwrap();
    let mut keep = |letter: &Envelope| {
        ben.store
            .run(|txn| carrying::keep(txn, &mut usage, giver, letter, NOW))
            .unwrap()
    };
    assert!(keep(&junk) && keep(&junk));
    // What isn't carried isn't said to be.
    assert!(!keep(&letter));
}
