//! Telling what was read: only while both people want it, and only of what came since.

use proto::{
    EntryId, Millis,
    body::{Body, Setting},
};
use store::ReadUpTo;

use crate::{
    support::{T0, healthy, write},
    talk::{SPACE, Side, pair},
};

fn wish(side: &Side, at: u64, receipts: bool) {
    let setting = Setting {
        receipts: Some(receipts),
        ..Setting::default()
    };
    side.write(at, &Body::Setting(setting));
}

/// Both agree, and each has heard of it.
fn agree(ana: &Side, ben: &Side, at: u64) {
    wish(ana, at, true);
    wish(ben, at, true);
    ana.meet(ben, at + 1);
    ben.meet(ana, at + 1);
}

fn due(side: &Side) -> Vec<u64> {
    let view = side.store.read().unwrap();
    let (own, device) = (side.device.person(), side.device.id());
    let due = view.receipts_due(SPACE, own, device).unwrap();
    due.into_iter().map(|ReadUpTo { seq, .. }| seq).collect()
}

fn tell(side: &Side, of: &Side, seq: u64, at: u64) {
    let device = of.device.id();
    side.write(at, &Body::Receipt { device, seq });
}

fn read_at(side: &Side, id: EntryId) -> Option<u64> {
    let view = side.store.read().unwrap();
    let own = side.device.person();
    let since = view.agreed_since(SPACE, own).unwrap()?;
    let read = view.read_at(SPACE, own, since, &id).unwrap();
    read.map(|at| at.0)
}

fn read(side: &Side, id: EntryId) {
    write(&side.store, move |txn| txn.mark_read(&[id], Millis(T0))).unwrap();
}

#[test]
fn reading_is_told_once_both_agreed_and_of_nothing_before() {
    let (ana, ben) = pair();
    let before = ana.say(T0, "before");
    ben.meet(&ana, T0 + 1);
    ben.read(T0 + 2);
    assert!(due(&ben).is_empty(), "nobody wants it");
    wish(&ana, T0 + 3, true);
    ben.meet(&ana, T0 + 4);
    let between = ana.say(T0 + 5, "only Ana wants it");
    ben.meet(&ana, T0 + 6);
    ben.read(T0 + 7);
    assert!(due(&ben).is_empty());
    wish(&ben, T0 + 8, true);
    ana.meet(&ben, T0 + 9);
    assert!(due(&ben).is_empty(), "all that was read came before");
    let after = ana.say(T0 + 10, "after");
    ben.meet(&ana, T0 + 11);
    assert!(due(&ben).is_empty(), "it isn't read");
    ben.read(T0 + 12);
    assert_eq!(due(&ben), [4]);
    tell(&ben, &ana, 4, T0 + 13);
    assert!(due(&ben).is_empty(), "it was told");
    ana.meet(&ben, T0 + 20);
    assert_eq!(read_at(&ana, after), Some(T0 + 13));
    assert_eq!(
        (read_at(&ana, before), read_at(&ana, between)),
        (None, None)
    );
    // A receipt is no message: not shown, not to be read.
    assert_eq!(ana.texts().len(), 3);
    assert_eq!(ana.store.read().unwrap().unread().unwrap(), 0);
    healthy(&ana.store);
    healthy(&ben.store);
    assert_eq!(ana.digest(), ben.digest());
}

#[test]
fn withdrawing_stops_at_once() {
    let (ana, ben) = pair();
    agree(&ana, &ben, T0);
    let first = ana.say(T0 + 10, "first");
    ben.meet(&ana, T0 + 11);
    ben.read(T0 + 12);
    tell(&ben, &ana, due(&ben)[0], T0 + 13);
    let second = ana.say(T0 + 14, "second");
    ben.meet(&ana, T0 + 15);
    ben.read(T0 + 16);
    assert_eq!(due(&ben).len(), 1);
    wish(&ben, T0 + 17, false);
    assert!(due(&ben).is_empty());
    ana.meet(&ben, T0 + 18);
    assert_eq!((read_at(&ana, first), read_at(&ana, second)), (None, None));
    // Agreed anew: what was read meanwhile stays untold.
    wish(&ben, T0 + 19, true);
    ana.meet(&ben, T0 + 20);
    assert!(due(&ben).is_empty());
    assert_eq!((read_at(&ana, first), read_at(&ana, second)), (None, None));
}

#[test]
fn a_receipt_reaches_only_what_was_read_with_all_before_it() {
    let (ana, ben) = pair();
    agree(&ana, &ben, T0);
    let ids: Vec<_> = (0..4)
        .map(|n| ana.say(T0 + 10 + n, &format!("message {n}")))
        .collect();
    ben.meet(&ana, T0 + 20);
    read(&ben, ids[0]);
    read(&ben, ids[2]);
    assert_eq!(due(&ben), [2], "the second isn't read");
    read(&ben, ids[3]);
    assert_eq!(due(&ben), [2]);
    read(&ben, ids[1]);
    assert_eq!(due(&ben), [5]);
}

/// Somebody says to have read what doesn't exist, or their own words, or less than before.
#[test]
fn a_receipt_beyond_what_exists_says_nothing() {
    let (ana, ben) = pair();
    agree(&ana, &ben, T0);
    let first = ana.say(T0 + 10, "first");
    ben.meet(&ana, T0 + 11);
    for seq in [3, 100, u64::MAX] {
        tell(&ben, &ana, seq, T0 + 12);
    }
    tell(&ben, &ben, 1, T0 + 13);
    ana.meet(&ben, T0 + 14);
    assert_eq!(read_at(&ana, first), None);
    tell(&ben, &ana, 2, T0 + 15);
    tell(&ben, &ana, 0, T0 + 16);
    tell(&ben, &ana, 2, T0 + 17);
    ana.meet(&ben, T0 + 18);
    assert_eq!(read_at(&ana, first), Some(T0 + 15), "the first time counts");
    let second = ana.say(T0 + 19, "written after it was claimed to be read");
    assert_eq!(read_at(&ana, second), None, "and never delivered");
    healthy(&ana.store);
}
