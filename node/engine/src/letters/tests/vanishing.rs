//! Disappearing messages that friends carry.

use proto::body::{Lifetime, Setting};

use super::*;

const MINUTE: u64 = 60_000;

fn space() -> SpaceId {
    conversation_id(&PAIR.0)
}

impl Side {
    fn write_body(&self, body: &Body<'_>) -> proto::EntryId {
        let written = |txn: &mut Txn<'_>| spaces::append(txn, &self.keys, space(), NOW, body);
        self.store.run(written).unwrap().id
    }

    fn set(&self, seconds: u64) {
        self.write_body(&Body::Setting(Setting {
            lifetime: Lifetime::new(seconds),
            ..Setting::default()
        }));
    }

    fn vanish(&self, now: Millis) -> usize {
        let vanished = self.store.run(|txn| txn.vanish(now, 100)).unwrap();
        vanished.entries.len()
    }

    fn healthy(&self) {
        let view = self.store.read().unwrap();
        let mut found = Vec::new();
        let sums = view.check_up(&mut |finding| found.push(finding.to_string()), &mut |_| {
            true
        });
        assert!(sums.is_ok() && found.is_empty(), "{found:?}");
    }
}

fn days(envelope: &Envelope) -> u16 {
    envelope.outside().expires_day - day(NOW).unwrap()
}

#[test]
fn a_letter_with_what_disappears_is_good_for_no_longer() {
    let (ana, _) = two();
    for seconds in [60, 86_400 * 7, 86_400 * 365, 0] {
        ana.set(seconds);
        ana.write("words");
    }
    let letters = envelopes(&ana.seal(NOW));
    let good: Vec<u16> = letters.iter().map(days).collect();
    // Settings are good for as long as anything else.
    assert_eq!(good, [31, 31, 2, 31, 8, 31, 31, 31, 31]);
}

/// What came in a letter above a gap disappears like anything else, and neither another letter nor the
/// meeting that closes the gap brings it back.
#[test]
fn a_letter_above_a_gap_disappears_for_good() {
    let (ana, cem) = two();
    ana.write("before");
    ana.set(60);
    ana.write("secret words");
    let letters = envelopes(&ana.seal(NOW));
    assert_eq!(letters.len(), 4);
    // The genesis and the first message are missing.
    assert!(cem.open(&letters[3]).is_some());
    assert!(cem.open(&letters[2]).is_some());
    assert_eq!(cem.texts(), ["", "secret words"]);
    assert_eq!(cem.vanish(NOW.plus(10 * MINUTE)), 0, "nobody read it");
    let ids = |side: &Side| -> Vec<proto::EntryId> {
        let snapshot = side.store.read().unwrap();
        let items = loose_messages(&snapshot, space()).unwrap();
        items.into_iter().map(|item| item.id).collect()
    };
    let read = ids(&cem);
    cem.store.run(|txn| mark_read(txn, &read, NOW)).unwrap();
    let expiry = |seq| {
        let view = cem.store.read().unwrap();
        view.expiry(space(), ana.me.party.device, seq).unwrap()
    };
    assert_eq!(expiry(3).unwrap().at, Some(NOW.plus(MINUTE)));
    assert_eq!(cem.vanish(NOW.plus(MINUTE)), 1);
    assert_eq!(cem.texts(), [""]);
    cem.healthy();

    // Letters that bring it again, as after "send again", are answered and not kept.
    let again = ana.store.run(|txn| {
        for (number, letter) in txn.own_letters_to(cem.me.party.device)? {
            forget(txn, cem.me.party.device, number, &letter)?;
        }
        Ok(())
    });
    again.unwrap();
    for letter in envelopes(&ana.seal(NOW)) {
        assert!(cem.open(&letter).is_some());
    }
    assert_eq!(cem.texts(), ["before", ""]);
    cem.healthy();
    let holes = |side: &Side| {
        let view = side.store.read().unwrap();
        let frontier = view.frontier(space(), ana.me.party.device).unwrap();
        frontier.map(|frontier| (frontier.base, frontier.holes.count))
    };
    assert_eq!(holes(&cem), Some((3, 0)), "up to what was forgotten");

    // The meeting brings it with its body; it stays gone.
    let run = ana
        .store
        .read()
        .unwrap()
        .run(space(), ana.me.party.device, 3, 1, 1);
    let run = run.unwrap().unwrap().bytes;
    let facts = cem
        .store
        .read()
        .unwrap()
        .facts(space(), ana.me.party.device);
    let context = cem.store.read().unwrap().context(space()).unwrap().unwrap();
    let outcome = proto::verify::verify_run(&context, &facts.unwrap(), run).unwrap();
    let proto::verify::Outcome::Continues(run) = outcome else {
        panic!("it continues the feed");
    };
    cem.store
        .run(|txn| Ok(txn.import(space(), run, NOW).unwrap()))
        .unwrap();
    assert_eq!(holes(&cem), Some((4, 0)));
    assert_eq!(cem.texts(), ["before", ""]);
    cem.healthy();
    cem.store.rest();
    assert!(!contains(&cem, "secret words"));
    assert!(contains(&cem, "before"));
}

fn contains(side: &Side, text: &str) -> bool {
    let bytes = database(&side.disk);
    bytes
        .windows(text.len())
        .any(|part| part == text.as_bytes())
}

/// The author's copy goes one lifetime after the receipt came, and the courier never could read it.
#[test]
fn a_receipt_begins_the_authors_time() {
    let (ana, cem) = two();
    ana.set(60);
    ana.write("secret words");
    let handed = ana.seal(NOW);
    let letters = envelopes(&handed);
    let receipts: Vec<_> = letters.iter().filter_map(|one| cem.open(one)).collect();
    assert_eq!(receipts.len(), 3);
    assert_eq!(
        ana.vanish(NOW.plus(2 * MINUTE)),
        0,
        "it isn't known to be there"
    );
    let later = NOW.plus(3 * MINUTE);
    ana.store
        .run(|txn| carrying::receipts(txn, &mut None, &receipts, later))
        .unwrap();
    assert_eq!(ana.vanish(later.plus(MINUTE - 1)), 0);
    assert_eq!(ana.vanish(later.plus(MINUTE)), 1);
    ana.store.rest();
    assert!(!contains(&ana, "secret words"));
    ana.healthy();
}

/// Nobody carries that something was read. What is written after it comes all the same, before it.
#[test]
fn a_receipt_of_reading_between_two_messages_holds_nothing_up() {
    let (ana, cem) = two();
    ana.write("one");
    ana.write_body(&Body::Receipt {
        device: cem.me.party.device,
        seq: 0,
    });
    ana.write("two");
    let letters = envelopes(&ana.seal(NOW));
    assert_eq!(letters.len(), 3, "the first entry and the messages");
    for letter in &letters {
        assert!(cem.open(letter).is_some());
    }
    assert_eq!(cem.texts(), ["one", "two"]);
    assert!(cem.store.read().unwrap().has_loose().unwrap());
    cem.healthy();
}

impl Side {
    fn from(&self, author: &Self) -> From {
        From {
            contact: author.me.party.identity,
            endpoint: EndpointId([7; 32]),
            own: self.me.party.identity,
            device: self.me.party.device,
            now: NOW,
        }
    }

    /// What a meeting does after it brought entries.
    fn settle(&self, author: &Self) {
        let from = self.from(author);
        let device = author.me.party.device;
        self.store
            .run(|txn| settle(txn, space(), device, &from, &mut Default::default()))
            .unwrap();
        self.healthy();
    }

    /// Ana's message is here by a letter, above a gap and unread, and Ana's own copy is gone.
    fn has_what_its_author_dropped(&self, ana: &Self) -> Vec<Envelope> {
        ana.write("before");
        ana.set(60);
        ana.write("secret words");
        let letters = envelopes(&ana.seal(NOW));
        let receipts: Vec<_> = [3, 2]
            .into_iter()
            .filter_map(|at| self.open(&letters[at]))
            .collect();
        ana.store
            .run(|txn| carrying::receipts(txn, &mut None, &receipts, NOW))
            .unwrap();
        assert_eq!(ana.vanish(NOW.plus(MINUTE)), 1);
        assert_eq!(self.texts(), ["", "secret words"]);
        letters
    }

    /// Unread until now; then it is read, and goes.
    fn reads_and_drops_it(&self) {
        let snapshot = self.store.read().unwrap();
        let topic = snapshot.conversation(space()).unwrap().unwrap();
        let items = snapshot.last_items(topic.number, 10).unwrap().items;
        let item = items.iter().find(|item| item.text == "secret words");
        assert!(item.unwrap().unread);
        drop(snapshot);
        self.store
            .run(|txn| txn.mark_space_read(space(), NOW))
            .unwrap();
        assert_eq!(self.vanish(NOW.plus(MINUTE)), 1);
        self.healthy();
        self.store.rest();
        assert!(!contains(self, "secret words"));
    }
}

/// The author's copy was gone one minute after the receipt; the meeting that closed the gap then took the
/// message from its receiver, who hadn't read it yet.
#[test]
fn what_came_in_a_letter_outlives_its_authors_copy_until_it_is_read() {
    let (ana, cem) = two();
    cem.has_what_its_author_dropped(&ana);
    let device = ana.me.party.device;
    let mut next = 0;
    loop {
        let run = ana.store.read().unwrap().run(space(), device, next, 1, 1);
        let Some(run) = run.unwrap() else {
            break;
        };
        next = run.end;
        let view = cem.store.read().unwrap();
        let facts = view.facts(space(), device).unwrap();
        let context = view.context(space()).unwrap().unwrap();
        drop(view);
        let outcome = proto::verify::verify_run(&context, &facts, run.bytes).unwrap();
        let proto::verify::Outcome::Continues(run) = outcome else {
            panic!("it continues the feed");
        };
        cem.store
            .run(|txn| Ok(txn.import(space(), run, NOW).unwrap()))
            .unwrap();
        cem.settle(&ana);
    }
    assert_eq!(cem.texts(), ["before", "", "secret words"]);
    assert!(!cem.store.read().unwrap().has_loose().unwrap());
    cem.reads_and_drops_it();
    assert_eq!(cem.texts(), ["before", ""]);
    let digest = |side: &Side| side.store.read().unwrap().digest(space()).unwrap();
    assert_eq!(digest(&ana), digest(&cem));
}

/// A meeting that brought the newest entries first showed what had come in a letter twice, or without its
/// text, until the gap below was closed.
#[test]
fn what_came_in_a_letter_joins_newer_entries_above_a_gap() {
    let (ana, cem) = two();
    let letters = cem.has_what_its_author_dropped(&ana);
    assert!(cem.open(&letters[0]).is_some());
    let device = ana.me.party.device;
    let chunk = ana
        .store
        .read()
        .unwrap()
        .tail_run(space(), device, (2, None), 10_000);
    let chunk = chunk.unwrap().unwrap();
    assert_eq!(chunk.start, 2);
    let view = cem.store.read().unwrap();
    let facts = view.facts(space(), device).unwrap();
    let context = view.context(space()).unwrap().unwrap();
    drop(view);
    let tail = proto::verify::verify_tail_chunk(&context, &facts, chunk.bytes).unwrap();
    cem.store
        .run(|txn| Ok(txn.import_tail(space(), tail, NOW).unwrap()))
        .unwrap();
    cem.settle(&ana);
    assert_eq!(cem.texts(), ["", "secret words"]);
    assert!(!cem.store.read().unwrap().has_loose().unwrap());
    cem.reads_and_drops_it();
}
