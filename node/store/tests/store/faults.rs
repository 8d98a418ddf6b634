//! Calls to the disk that fail: nothing that was acknowledged is lost, the failure is told for
//! what it is, and the store goes on when the disk does, without being opened anew by hand.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use proto::space::SpaceKind;
use store::{
    Condition, Error, Setting, Store, Txn,
    sim::{Call, Cut, Disk, Fault, Room},
};

use crate::support::{Device, Place, T0, block_on, post, reply, thread, try_post, until};

/// Settings that grow, change and end, and a counter of those that were acknowledged.
const STEPS: u64 = 14;

fn step(store: &Store, n: u64) -> Result<(), Error> {
    store.run(|txn| {
        let big = vec![n as u8; (n as usize * 7_919) % 60_000];
        txn.put_setting(&format!("big {}", n % 5), &Setting(big))?;
        txn.put_setting(&"last".to_owned(), &Setting(n.to_be_bytes().to_vec()))
    })
}

fn last(store: &Store) -> u64 {
    let last = store.read().unwrap().setting(&"last".to_owned()).unwrap();
    last.map_or(0, |last| u64::from_be_bytes(last.0.try_into().unwrap()))
}

/// Runs the steps, each until it succeeds: what was acknowledged is never undone.
fn run_all(disk: &Disk, store: &Store, fault: Fault, call: u64) {
    let mut failed = 0;
    for n in 1..=STEPS {
        for attempt in 0.. {
            match step(store, n) {
                Ok(()) => break,
                Err(error) => {
                    failed += 1;
                    match fault {
                        Fault::Full => assert!(matches!(error, Error::Full), "{error}"),
                        Fault::Failing => {
                            assert!(matches!(error, Error::Failing { .. }), "{error}")
                        }
                    }
                    assert!(attempt < 2, "call {call} failed again and again: {error}");
                }
            }
        }
        if n == STEPS / 2 {
            // A power cut now: everything that was acknowledged is there.
            let image = disk.cut(Cut::Nothing, 0);
            let cut = Store::on(&Disk::from_image(image)).unwrap();
            assert!(last(&cut) >= n, "{} of {n}, call {call}", last(&cut));
        }
        if n % 5 == 0 {
            store.rest();
        }
    }
    assert!(failed <= 2, "{failed} failures from one call");
    // The call may come only now.
    let _ = store
        .read()
        .and_then(|view| view.setting(&"last".to_owned()));
    if step(store, STEPS).is_err() {
        step(store, STEPS).unwrap();
    }
    assert_eq!(store.condition(), Condition::Fine);
    assert_eq!(last(store), STEPS);
}

#[test]
fn any_call_to_the_disk_may_fail_once() {
    let disk = Disk::new();
    disk.record();
    let store = Store::on(&disk).unwrap();
    let before = disk.calls();
    run_all(&disk, &store, Fault::Full, 0);
    drop(store);
    let calls = disk.calls();
    for call in [Call::Read, Call::Write, Call::SetLen, Call::Sync] {
        assert!(disk.called().contains(&call), "{call:?} never happens");
    }
    let mut tried = 0;
    for fault in [Fault::Failing, Fault::Full] {
        for call in before..calls {
            let disk = Disk::new();
            let store = Store::on(&disk).unwrap();
            assert_eq!(disk.calls(), before);
            disk.fail(call, fault);
            run_all(&disk, &store, fault, call);
            drop(store);
            // A failed sync may have lost what lay before it; nothing of that was built on.
            disk.crash(Cut::Nothing, 0);
            assert_eq!(last(&Store::on(&disk).unwrap()), STEPS, "call {call}");
            tried += 1;
        }
    }
    assert!(tried > 400, "{tried} runs, each with one call that failed");
}

/// Also while a database is made: the file has its name when it is whole.
#[test]
fn any_call_may_fail_while_the_database_is_made() {
    let disk = Disk::new();
    drop(Store::on(&disk).unwrap());
    for call in 0..disk.calls() {
        for fault in [Fault::Failing, Fault::Full] {
            let disk = Disk::new();
            disk.fail(call, fault);
            let made = Store::on(&disk);
            if made.is_err() {
                drop(made);
                disk.crash(Cut::Subset, call);
            }
            // The call may come only now.
            let store = Store::on(&disk).or_else(|_| Store::on(&disk)).unwrap();
            step(&store, 1).or_else(|_| step(&store, 1)).unwrap();
            assert_eq!(last(&store), 1);
        }
    }
}

#[test]
fn a_full_disk_is_told_and_left_behind_without_a_restart() {
    for room in [Room::NoBlocks, Room::None] {
        let (ana, disk) = (Device::new(1, 0), Disk::new());
        let forum = Place::new(SpaceKind::Forum, "Camp", &[&ana]);
        let store = Store::threaded_on(&disk).unwrap();
        forum.join(&store);
        let root = post(&store, &forum, &ana, T0, &thread("One", "x")).id;
        let mut watch = store.watch();
        disk.set_room(room);
        let text = "z".repeat(30_000);
        let mut written = 0;
        let error = loop {
            match try_post(&store, &forum, &ana, T0 + 1, &reply(root, &text, None)) {
                Ok(_) => written += 1,
                Err(error) => break error,
            }
            assert!(written < 10_000);
        };
        assert!(matches!(error, Error::Full), "{error}");
        block_on(watch.wait_for(|now| *now == Condition::Full)).unwrap();
        // It stays refused, at once and without a panic.
        assert!(try_post(&store, &forum, &ana, T0 + 1, &reply(root, &text, None)).is_err());
        if room == Room::NoBlocks {
            until("everything can be read", || {
                let read = store.read().and_then(|view| view.topic(root));
                read.is_ok_and(|topic| topic.is_some_and(|topic| topic.items == 1 + written))
            });
        }
        disk.set_room(Room::Enough);
        block_on(watch.wait_for(|now| *now == Condition::Fine)).unwrap();
        let snapshot = store.read().unwrap();
        assert_eq!(snapshot.topic(root).unwrap().unwrap().items, 1 + written);
        drop(snapshot);
        post(&store, &forum, &ana, T0 + 2, &reply(root, &text, None));
    }
}

#[test]
fn a_failure_that_only_a_reader_meets_is_left_behind_too() {
    let disk = Disk::new();
    let store = Store::on(&disk).unwrap();
    step(&store, 1).unwrap();
    // More than what is kept in memory: tests' builds look at every page when a file is opened.
    let put = |txn: &mut Txn<'_>| {
        (0..400).try_for_each(|n| txn.put_setting(&format!("more {n}"), &Setting(vec![9; 60_000])))
    };
    store.run(put).unwrap();
    drop(store);
    let store = Store::on(&disk).unwrap();
    disk.fail(disk.calls(), Fault::Failing);
    let read = || store.read()?.settings().map(|all| all.len());
    let error = read().expect_err("every page was known");
    assert!(matches!(error, Error::Failing { .. }), "{error}");
    assert!(read().is_err(), "redb reads nothing more");
    // The first change finds it out, opens the database again, and is done.
    step(&store, 1).unwrap();
    assert_eq!(read().unwrap(), 402);
    assert_eq!(store.condition(), Condition::Fine);
}

/// The same with the writer's thread, which is told by whoever reads.
#[test]
fn whoever_reads_makes_the_writer_look() {
    let disk = Disk::new();
    let store = Store::threaded_on(&disk).unwrap();
    let put = |n: u64| {
        let value = Setting(n.to_be_bytes().to_vec());
        block_on(store.write(move |txn| txn.put_setting(&"last".to_owned(), &value)))
    };
    put(7).unwrap();
    for ahead in 0..4 {
        disk.fail(disk.calls() + ahead, Fault::Failing);
    }
    until("the disk works again", || {
        let read = store
            .read()
            .and_then(|view| view.setting(&"last".to_owned()));
        let _ = put(7);
        disk.calls() > 100 && read.is_ok() && put(7).is_ok()
    });
    assert_eq!(last(&store), 7);
}

#[test]
fn little_room_is_told_while_own_changes_go_on() {
    let store = Store::in_memory().unwrap();
    let free = Arc::new(AtomicU64::new(1_000));
    let mut watch = store.watch();
    let says = Arc::clone(&free);
    store.set_free(Arc::new(move || Ok(says.load(Ordering::SeqCst))));
    store.set_floor(2_000);
    block_on(watch.wait_for(|now| *now == Condition::Low)).unwrap();
    let raised = block_on(store.write(|txn| txn.raise("n", 1))).unwrap();
    assert_eq!(raised, 1);
    assert_eq!(store.room(), (Some(1_000), 2_000));
    free.store(3_000, Ordering::SeqCst);
    block_on(watch.wait_for(|now| *now == Condition::Fine)).unwrap();
}
