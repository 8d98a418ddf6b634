//! Jobs on the writer's thread: durable when answered, undone alone, never lost.

use std::sync::mpsc;

use proto::{Millis, SpaceId};
use store::{Error, Left, Setting, Store};

use crate::support::{block_on, write};

fn put(
    name: &str,
    value: u8,
) -> impl FnOnce(&mut store::Txn<'_>) -> Result<u8, Error> + Send + 'static {
    let name = name.to_owned();
    move |txn| {
        txn.put_setting(&name, &Setting(vec![value]))?;
        Ok(value)
    }
}

fn value(store: &Store, name: &str) -> Option<u8> {
    let setting = store.read().unwrap().setting(&name.to_owned()).unwrap();
    setting.map(|setting| setting.0[0])
}

#[test]
fn an_answer_means_that_the_change_is_durable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("waymeet.redb");
    let store = Store::open(&path).unwrap();
    assert_eq!(write(&store, put("a", 1)).unwrap(), 1);
    // A copy of the file as a power cut would leave it.
    let copy = folder.path().join("copy.redb");
    std::fs::copy(&path, &copy).unwrap();
    let after = Store::open(&copy).unwrap();
    assert_eq!(value(&after, "a"), Some(1));
    assert_eq!(value(&store, "a"), Some(1));
}

/// Holds the writer while jobs queue up behind it, so that they share a transaction.
fn together(store: &Store, jobs: Vec<(&str, Job)>) -> Vec<(String, Result<u8, Error>)> {
    let (hold, held) = mpsc::channel::<()>();
    let (entered, entering) = mpsc::channel();
    let blocker = {
        let store = store.clone();
        std::thread::spawn(move || {
            write(&store, move |_| {
                entered.send(()).unwrap();
                held.recv().unwrap();
                Ok(0)
            })
        })
    };
    entering.recv().unwrap();
    let answers = block_on(async {
        let mut waiting = Vec::new();
        for (name, job) in jobs {
            waiting.push((name.to_owned(), Box::pin(store.write(job))));
        }
        // Each future queues its job when it is first polled.
        for (_, future) in &mut waiting {
            let polled = std::future::poll_fn(|cx| {
                std::task::Poll::Ready(std::future::Future::poll(future.as_mut(), cx))
            })
            .await;
            assert!(polled.is_pending());
        }
        hold.send(()).unwrap();
        let mut answers = Vec::new();
        for (name, future) in waiting {
            answers.push((name, future.await));
        }
        answers
    });
    blocker.join().unwrap().unwrap();
    answers
}

type Job = Box<dyn FnOnce(&mut store::Txn<'_>) -> Result<u8, Error> + Send>;

#[test]
fn a_job_that_fails_or_panics_is_undone_alone() {
    let store = Store::in_memory().unwrap();
    write(&store, put("kept", 9)).unwrap();
    let left = SpaceId([4; 32]);
    let jobs: Vec<(&str, Job)> = vec![
        ("good", Box::new(put("first", 1))),
        (
            "failing",
            Box::new(move |txn| {
                txn.put_setting(&"kept".to_owned(), &Setting(vec![1]))?;
                txn.put_setting(&"lost".to_owned(), &Setting(vec![1]))?;
                txn.remove_setting(&"first".to_owned())?;
                txn.put_left(&left, &Left { at: Millis(1) })?;
                txn.raise("events", 5)?;
                Err(Error::Refused("no".to_owned()))
            }),
        ),
        ("good", Box::new(put("second", 2))),
        (
            "panicking",
            Box::new(|txn| {
                txn.put_setting(&"lost".to_owned(), &Setting(vec![1]))?;
                panic!("on purpose");
            }),
        ),
        ("good", Box::new(put("third", 3))),
    ];
    for (name, answer) in together(&store, jobs) {
        match name.as_str() {
            "good" => drop(answer.unwrap()),
            "failing" => assert!(matches!(answer, Err(Error::Refused(_)))),
            _ => assert!(matches!(answer, Err(Error::Panicked))),
        }
    }
    assert_eq!(value(&store, "kept"), Some(9));
    assert_eq!(value(&store, "first"), Some(1));
    assert_eq!(value(&store, "second"), Some(2));
    assert_eq!(value(&store, "third"), Some(3));
    assert_eq!(value(&store, "lost"), None);
    let snapshot = store.read().unwrap();
    assert_eq!(snapshot.left(&left).unwrap(), None);
    assert_eq!(snapshot.counter("events").unwrap(), 0);
}

#[test]
fn closing_finishes_what_waits_and_refuses_what_comes_later() {
    let store = Store::in_memory().unwrap();
    let other = store.clone();
    write(&store, put("a", 1)).unwrap();
    store.close();
    assert!(matches!(write(&other, put("b", 1)), Err(Error::Closed)));
    assert_eq!(value(&other, "a"), Some(1));
}

#[test]
fn a_store_dropped_by_its_own_job_does_not_wait_for_itself() {
    let store = Store::in_memory().unwrap();
    let (done, finished) = mpsc::channel();
    let inner = store.clone();
    let job = store.write(move |_| {
        drop(inner);
        done.send(()).unwrap();
        Ok(())
    });
    block_on(job).unwrap();
    finished.recv().unwrap();
}

#[test]
fn a_snapshot_stays_as_it_was() {
    let store = Store::in_memory().unwrap();
    write(&store, put("a", 1)).unwrap();
    let before = store.read().unwrap();
    write(&store, put("a", 2)).unwrap();
    let name = "a".to_owned();
    assert_eq!(before.setting(&name).unwrap(), Some(Setting(vec![1])));
    assert_eq!(value(&store, "a"), Some(2));
}

#[test]
fn counters_rise_and_survive() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("waymeet.redb");
    let store = Store::open(&path).unwrap();
    assert_eq!(write(&store, |txn| txn.raise("boots", 1)).unwrap(), 1);
    drop(store);
    let store = Store::open(&path).unwrap();
    assert_eq!(write(&store, |txn| txn.raise("boots", 1)).unwrap(), 2);
}
