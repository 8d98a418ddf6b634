//! Disappearing messages: what goes, when, and that nobody misses it.

use proptest::prelude::*;
use proto::{
    Millis,
    body::{Body, Lifetime, Setting},
    run::{BodyPart, Run},
    verify::verify_tail_chunk,
};
use store::{Expiry, Store, UNREAD_MS_MAX, sim::Disk};

use crate::{
    support::{
        T0, edit, feed_of, healthy, pull, react, runs, settle, take, take_all, until, write,
    },
    talk::{DAY, MINUTE, SPACE, Side, holds, pair, pair_on, setting},
};

#[test]
fn a_message_goes_from_both_disks_after_it_was_read_and_nobody_misses_it() {
    let disks = [Disk::new(), Disk::new()];
    let [one, other] = [&disks[0], &disks[1]].map(|disk| Store::on(disk).unwrap());
    let (ana, ben) = pair_on(one, other);
    ana.say(T0, "words that stay");
    ana.set(T0 + 1, 60);
    let secret = ana.say(T0 + 2, "secret words");
    ben.meet(&ana, T0 + 10);
    ana.write(T0 + 11, &edit(secret, "secret edit"));
    ana.write(T0 + 12, &react(secret, "secret", true));
    ben.meet(&ana, T0 + 20);
    assert_eq!(ana.vanish(T0 + 10 + MINUTE - 1), []);
    assert_eq!(ben.vanish(T0 + 10 + MINUTE), [], "Ben hasn't read it");
    assert_eq!(ana.vanish(T0 + 10 + MINUTE), [secret]);
    assert_eq!(ana.texts(), ["words that stay"]);
    assert_eq!(ben.texts(), ["words that stay", "secret edit"]);
    assert_eq!(ana.digest(), ben.digest());
    ben.read(T0 + 2 * MINUTE);
    assert_eq!(ben.vanish(T0 + 3 * MINUTE), [secret]);
    assert_eq!(ana.digest(), ben.digest());
    assert_eq!(ben.texts(), ["words that stay"]);
    for (side, disk) in [(&ana, &disks[0]), (&ben, &disks[1])] {
        let view = side.store.read().unwrap();
        assert!(view.item(secret).unwrap().is_none());
        assert!(view.versions(secret).unwrap().is_empty());
        assert!(view.search("secret", None, 10).unwrap().items.is_empty());
        assert_eq!(view.next_due().unwrap(), None);
        assert!(side.holes(&ana.device).is_empty());
        drop(view);
        side.store.rest();
        assert!(!holds(disk, "secret") && holds(disk, "words that stay"));
    }
    // Somebody who comes later takes the feed without them and asks for nothing.
    let late = Side::new(&ben.device, &ana.device, Store::in_memory().unwrap());
    pull(&late.store, &ana.store, SPACE, T0 + 4 * MINUTE);
    assert_eq!(late.texts(), ["words that stay"]);
    assert!(late.holes(&ana.device).is_empty());
    healthy(&late.store);
}

#[test]
fn what_was_written_before_and_after_a_setting_stays() {
    let (ana, ben) = pair();
    ana.say(T0, "before");
    ana.set(T0 + 1, 60);
    let goes = ana.say(T0 + 2, "goes");
    ana.set(T0 + 3, 0);
    ana.say(T0 + 4, "after");
    ben.meet(&ana, T0 + 5);
    ben.read(T0 + 6);
    let gone = |side: &Side| side.vanish(T0 + UNREAD_MS_MAX * 2);
    assert_eq!((gone(&ana), gone(&ben)), (vec![goes], vec![goes]));
    assert_eq!((ana.texts(), ben.texts()), (ben.texts(), ana.texts()));
    assert_eq!(ana.texts(), ["before", "after"]);
    assert_eq!(ana.digest(), ben.digest());
}

/// An edit that comes when its message is gone would stay readable; so would one that comes first.
#[test]
fn an_edit_does_not_outlive_its_message() {
    let (ana, ben) = pair();
    ana.set(T0, 60);
    let goes = ana.say(T0 + 1, "goes");
    ben.meet(&ana, T0 + 2);
    ben.read(T0 + 3);
    ana.write(T0 + 4, &edit(goes, "late words"));
    // Of another reach: it stays in the feed that a setting no longer covers.
    ana.set(T0 + 5, 0);
    let uncovered = ana.write(T0 + 6, &edit(goes, "later words")).seq;
    assert_eq!(ben.vanish(T0 + 3 + MINUTE), [goes]);
    ben.meet(&ana, T0 + 4 + MINUTE);
    healthy(&ben.store);
    let body = |side: &Side, seq| {
        let view = side.store.read().unwrap();
        view.body(SPACE, ana.device.id(), seq).unwrap()
    };
    assert_eq!((body(&ben, 3), body(&ben, uncovered)), (None, None));
    assert!(ben.holes(&ana.device).is_empty());
    assert_eq!(ana.vanish(T0 + 10 * MINUTE), [goes]);
    assert_eq!((body(&ana, 3), body(&ana, uncovered)), (None, None));
    assert_eq!(ana.digest(), ben.digest());
}

#[test]
fn what_is_never_read_or_delivered_goes_after_a_year_and_a_day() {
    let (ana, ben) = pair();
    ana.set(T0, 60);
    let first = ana.say(T0, "read by nobody");
    ben.meet(&ana, T0 + DAY);
    let second = ana.say(T0 + 2 * DAY, "never delivered");
    assert_eq!(ben.vanish(T0 + DAY + UNREAD_MS_MAX), []);
    assert_eq!(ben.vanish(T0 + DAY + UNREAD_MS_MAX + DAY), [first]);
    assert_eq!(ana.vanish(T0 + 2 * DAY), [first]);
    let due = T0 + 2 * DAY + UNREAD_MS_MAX;
    assert_eq!(ana.vanish(due - 1), []);
    assert_eq!(ana.vanish(due), []);
    assert_eq!(ana.vanish(due + DAY - 1), []);
    assert_eq!(ana.vanish(due + DAY), [second]);
    assert_eq!(ana.expiry(&ana.device, 2), None);
}

/// A clock that stood in 2038 for a moment took what wasn't delivered, or kept what was read until 2038.
#[test]
fn a_clock_that_was_wrong_neither_takes_what_waits_nor_keeps_what_was_read() {
    let (ana, ben) = pair();
    ana.set(T0, 60);
    let waits = ana.say(T0, "waits");
    let ahead = T0 + 12 * UNREAD_MS_MAX;
    assert_eq!(ana.vanish(ahead), [], "it only begins to be late");
    let correct = |side: &Side, now: u64| {
        write(&side.store, move |txn| txn.correct_timers(Millis(now))).unwrap();
        healthy(&side.store);
    };
    correct(&ana, T0 + MINUTE);
    assert_eq!(ana.vanish(T0 + 2 * DAY), [], "it waits as before");
    assert!(ana.texts() == ["waits"]);

    ben.meet(&ana, T0 + 2 * DAY);
    ben.read(ahead);
    assert_eq!(ben.vanish(T0 + 3 * DAY), []);
    correct(&ben, T0 + 3 * DAY);
    let at = T0 + 3 * DAY + MINUTE;
    let expiry = ben.expiry(&ana.device, 2).unwrap();
    assert_eq!(expiry.at, Some(Millis(at)));
    assert_eq!(ben.vanish(at), [waits]);

    // One that began in 1970 begins when the date is known.
    let (ana, ben) = pair();
    ana.set(T0, 3_600);
    let read = ana.say(T0, "read in 1970");
    ben.meet(&ana, 5_000);
    ben.read(6_000);
    assert_eq!(ben.vanish(T0), []);
    assert_eq!(ben.vanish(T0 + 59 * MINUTE), []);
    assert_eq!(ben.vanish(T0 + 60 * MINUTE), [read]);
}

/// A small computer without a battery begins in 1970 each time.
#[test]
fn a_clock_that_is_not_set_yet_begins_nothing_anew() {
    let (ana, ben) = pair();
    ana.set(T0, 3_600);
    let read = ana.say(T0, "read before");
    ben.meet(&ana, T0 + 1);
    ben.read(T0 + 2);
    for start in 1..4 {
        for now in [5_000, T0 + start * MINUTE] {
            write(&ben.store, move |txn| txn.correct_timers(Millis(now))).unwrap();
            assert_eq!(ben.vanish(now), []);
        }
    }
    assert_eq!(ben.vanish(T0 + 2 + 60 * MINUTE), [read]);
}

/// An edit that went by itself left the words behind that it had replaced.
#[test]
fn an_edit_stays_as_long_as_what_it_is_of() {
    let (ana, ben) = pair();
    let stays = ana.say(T0, "at five");
    ana.set(T0 + 1, 60);
    ana.write(T0 + 2, &edit(stays, "at six"));
    ana.write(T0 + 3, &react(stays, "good", true));
    ben.meet(&ana, T0 + 4);
    ben.read(T0 + 5);
    for side in [&ana, &ben] {
        assert_eq!(side.vanish(T0 + 3 * UNREAD_MS_MAX), []);
        assert_eq!(side.texts(), ["at six"]);
        healthy(&side.store);
    }
}

/// The setting that keeps it is in the gap, and the one below the gap isn't its own.
#[test]
fn what_lies_above_a_gap_waits_for_what_stands_in_it() {
    let (ana, ben) = pair();
    ana.set(T0, 60);
    ben.meet(&ana, T0 + 1);
    ana.set(T0 + 2, 0);
    ana.say(T0 + 3, "keep this");
    ana.set(T0 + 4, 60);
    let goes = ana.say(T0 + 5, "goes");
    assert_eq!(chunk(&ana, &ben, (3, None), 100_000, T0 + 6), Some(3));
    healthy(&ben.store);
    ben.read(T0 + 7);
    // What is covered above the gap goes in its time.
    assert_eq!(ben.vanish(T0 + 7 + MINUTE), [goes]);
    assert_eq!(ben.texts(), ["keep this"]);
    pull(&ben.store, &ana.store, SPACE, T0 + 8 + MINUTE);
    assert_eq!(ben.vanish(T0 + 3 * UNREAD_MS_MAX), []);
    assert_eq!(ben.texts(), ["keep this"]);
    assert_eq!(ben.digest(), ana.digest());
    assert!(ben.holes(&ana.device).is_empty());
    healthy(&ben.store);
}

/// Read above the gap, and covered from below it: its time begins when the gap closes.
#[test]
fn what_was_read_above_a_gap_goes_once_the_gap_is_closed() {
    let (ana, ben) = pair();
    ana.set(T0, 60);
    ben.meet(&ana, T0 + 1);
    let first = ana.say(T0 + 2, "in the gap");
    let second = ana.say(T0 + 3, "above it");
    assert_eq!(chunk(&ana, &ben, (3, None), 100_000, T0 + 4), Some(3));
    ben.read(T0 + 5);
    assert_eq!(ben.vanish(T0 + 5 + MINUTE), []);
    pull(&ben.store, &ana.store, SPACE, T0 + 2 * MINUTE);
    healthy(&ben.store);
    assert_eq!(ben.vanish(T0 + 3 * MINUTE), [second]);
    ben.read(T0 + 4 * MINUTE);
    assert_eq!(ben.vanish(T0 + 5 * MINUTE), [first]);
}

#[test]
fn the_page_is_told_when() {
    let (ana, ben) = pair();
    ana.say(T0, "stays");
    ana.set(T0, 3_600);
    ana.say(T0, "goes");
    ben.meet(&ana, T0 + 1);
    let lifetime = Lifetime::new(3_600).unwrap();
    assert_eq!(ben.expiry(&ana.device, 1), None);
    assert_eq!(
        ben.expiry(&ana.device, 3),
        Some(Expiry { lifetime, at: None })
    );
    ben.read(T0 + 7);
    let at = Some(Millis(T0 + 7 + 3_600_000));
    assert_eq!(ben.expiry(&ana.device, 3), Some(Expiry { lifetime, at }));
    assert_eq!(ben.store.read().unwrap().next_due().unwrap(), at);
    let own = Some(Millis(T0 + 1 + 3_600_000));
    assert_eq!(
        ana.expiry(&ana.device, 3),
        Some(Expiry { lifetime, at: own })
    );
}

/// A retract takes the body before its time; nothing is left to be taken then.
#[test]
fn a_retracted_message_is_only_retracted() {
    let (ana, ben) = pair();
    ana.set(T0, 60);
    let target = ana.say(T0, "goes");
    ben.meet(&ana, T0 + 1);
    ana.write(T0 + 2, &Body::Retract { target });
    ben.meet(&ana, T0 + 3);
    ben.read(T0 + 4);
    assert_eq!(
        (ana.vanish(T0 + DAY), ben.vanish(T0 + DAY)),
        (vec![], vec![])
    );
    assert!(
        ben.store
            .read()
            .unwrap()
            .item(target)
            .unwrap()
            .unwrap()
            .retracted
    );
    assert_eq!(ana.digest(), ben.digest());
}

/// Bodies are taken out of runs as somebody would who wants to hide something: what a setting covers
/// is excused, and only that.
#[test]
fn a_contact_hides_only_what_its_own_setting_covers() {
    let (ana, ben) = pair();
    ana.say(T0, "before");
    ana.set(T0 + 1, 60);
    ana.say(T0 + 2, "hidden");
    ana.set(T0 + 3, 0);
    ana.say(T0 + 4, "after");
    for run in runs(&ana.store, SPACE, ana.device.id()) {
        let mut run = Run::decode(&run).unwrap();
        let start = run.start;
        for (seq, item) in (start..).zip(&mut run.items) {
            if [1, 3, 5].contains(&seq) {
                item.body = BodyPart::Absent {
                    len: item.body.len(),
                    hash: item.body.hash(),
                };
            }
        }
        take(&ben.store, SPACE, ana.device.id(), &run.encode(), T0 + 5).unwrap();
    }
    assert_eq!(ben.holes(&ana.device), [1, 5]);
    assert_ne!(ana.digest(), ben.digest());
    healthy(&ben.store);
}

/// What is noted by time named the devices of a conversation that was left, for up to a year.
#[test]
fn a_left_conversation_leaves_no_timer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("waymeet.redb");
    let (ana, ben) = pair_on(Store::in_memory().unwrap(), Store::open(&path).unwrap());
    ana.set(T0, 3_600);
    ana.say(T0, "words");
    ben.meet(&ana, T0 + 1);
    assert!(ben.store.read().unwrap().next_due().unwrap().is_some());
    write(&ben.store, |txn| txn.leave_space(SPACE)).unwrap();
    until("the rest to be swept", || {
        !ben.store.read().unwrap().is_leaving().unwrap()
    });
    drop(ben);
    let database = redb::Database::open(&path).unwrap();
    let read = redb::ReadableDatabase::begin_read(&database).unwrap();
    for name in [
        "covers-1",
        "wishes-1",
        "reads-1",
        "timers-1",
        "due-1",
        "forgotten-1",
    ] {
        let definition: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new(name);
        let table = read.open_table(definition).unwrap();
        assert_eq!(
            redb::ReadableTableMetadata::len(&table).unwrap(),
            0,
            "{name}"
        );
    }
}

#[test]
fn ten_thousand_settings_cost_what_other_entries_cost() {
    let (ana, ben) = pair();
    let mut bodies = vec![ana.device.genesis(&proto::admission::Chain::root())];
    bodies.extend((0..10_000).map(|n| setting(60 + n % 1_000).encode()));
    let runs = feed_of(SPACE, &ana.device, &bodies);
    let began = std::time::Instant::now();
    take_all(&ben.store, SPACE, ana.device.id(), runs, T0 + 20_000);
    let view = ben.store.read().unwrap();
    let agreed = view.agreement(SPACE, ben.device.person()).unwrap();
    assert_eq!(agreed.in_force.lifetime().seconds(), 60 + 9_999 % 1_000);
    assert!(began.elapsed().as_secs() < 60);
    healthy(&ben.store);
}

#[test]
fn both_find_the_same_setting_in_force() {
    let (ana, ben) = pair();
    let agreed = |side: &Side| {
        let view = side.store.read().unwrap();
        view.agreement(SPACE, side.device.person()).unwrap()
    };
    assert_eq!(agreed(&ana).in_force.lifetime(), Lifetime::STAYS);
    let first = ana.set(T0 + 3 * DAY, 600);
    ben.meet(&ana, T0);
    let answer = Setting {
        lifetime: Lifetime::new(0),
        receipts: Some(true),
        over: Some(first),
    };
    ben.write(T0, &Body::Setting(answer));
    ana.meet(&ben, T0 + 1);
    for side in [&ana, &ben] {
        assert_eq!(agreed(side).in_force.lifetime(), Lifetime::STAYS);
    }
    assert_eq!(agreed(&ana).our_lifetime().seconds(), 600);
    assert!(agreed(&ana).their_receipts && !agreed(&ana).our_receipts);
    assert!(agreed(&ben).our_receipts && !agreed(&ben).receipts());
    healthy(&ana.store);
}

fn chunk(from: &Side, to: &Side, range: (u64, Option<u64>), bytes: usize, now: u64) -> Option<u64> {
    let device = from.device.id();
    let served = {
        let view = from.store.read().unwrap();
        view.tail_run(SPACE, device, range, bytes).unwrap()?
    };
    let (context, facts) = {
        let view = to.store.read().unwrap();
        (
            view.context(SPACE).unwrap().unwrap(),
            view.facts(SPACE, device).unwrap(),
        )
    };
    let tail = verify_tail_chunk(&context, &facts, served.bytes).ok()?;
    let took = write(&to.store, move |txn| {
        Ok(txn.import_tail(SPACE, tail, Millis(now)))
    });
    settle(took.unwrap()).unwrap();
    Some(served.start)
}

/// What a feed has: a setting with a lifetime or none, a message, or one whose body has gone.
#[derive(Debug, Clone, Copy)]
enum Step {
    Set(u64),
    Say,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        1 => Just(Step::Set(0)),
        1 => Just(Step::Set(60)),
        1 => Just(Step::Set(3_600)),
        5 => Just(Step::Say),
    ];
    proptest::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whoever takes a feed from above, with a gap that closes from either side, ends with the same
    /// missing bodies, timers and digest as who takes it from the first entry on.
    #[test]
    fn settings_that_come_into_a_gap_count_as_if_they_had_come_first(steps in steps(), gone in 0..3_u64, small in 1..400_usize) {
        let (ana, ben) = pair();
        for (n, step) in (0..).zip(&steps) {
            match step {
                Step::Set(seconds) => drop(ana.set(T0 + n, *seconds)),
                Step::Say => drop(ana.say(T0 + n, "words")),
            }
        }
        let who = ben.device.person();
        let some = steps.len() as u64 / 3 * gone;
        write(&ana.store, move |txn| txn.acknowledge(SPACE, who, some, Millis(T0 + 100))).unwrap();
        ana.vanish(T0 + 100 + MINUTE);
        let late = Side::new(&ben.device, &ana.device, Store::in_memory().unwrap());
        let first = runs(&ana.store, SPACE, ana.device.id()).remove(0);
        take(&late.store, SPACE, ana.device.id(), &first, T0 + 100).unwrap();
        let mut end = None;
        while let Some(start) = chunk(&ana, &late, (1, end), small, T0 + 100) {
            healthy(&late.store);
            if start <= 1 {
                break;
            }
            end = Some(start);
        }
        pull(&late.store, &ana.store, SPACE, T0 + 100);
        pull(&ben.store, &ana.store, SPACE, T0 + 100);
        prop_assert_eq!(late.digest(), ana.digest());
        prop_assert_eq!(ben.digest(), ana.digest());
        for side in [&late, &ben] {
            healthy(&side.store);
            prop_assert_eq!(side.holes(&ana.device), Vec::<u64>::new());
        }
        for seq in 0..=steps.len() as u64 {
            let (one, other) = (late.expiry(&ana.device, seq), ben.expiry(&ana.device, seq));
            prop_assert_eq!(one, other);
        }
    }
}
