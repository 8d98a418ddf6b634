//! The history of meetings: newest first, bounded for each contact, forgotten with them.

use proto::{IdentityId, Millis};
use store::{MEETINGS_PER_CONTACT_MAX, Met, MetEnd, Setting, Store};

use crate::{records::contact, support::write};

const ANA: IdentityId = IdentityId([1; 32]);
const BEN: IdentityId = IdentityId([2; 32]);

fn met(contact: IdentityId, n: u64) -> Met {
    Met {
        contact,
        ended: Millis(n),
        lasted_ms: n / 2,
        links: vec![3, 1],
        dialed: n.is_multiple_of(2),
        entries_in: n,
        entries_out: 1,
        bytes_in: n * 1_000,
        bytes_out: 2,
        end: MetEnd::Theirs,
    }
}

fn note(store: &Store, contact: IdentityId, numbers: std::ops::Range<u64>) {
    write(store, move |txn| {
        numbers
            .clone()
            .try_for_each(|n| txn.note_met(&met(contact, n)))
    })
    .unwrap();
}

/// When the meetings that a page shows ended.
fn shown(store: &Store, of: Option<IdentityId>, before: u64, limit: usize) -> Vec<u64> {
    let page = store.read().unwrap().meetings(of, before, limit).unwrap();
    page.iter().map(|(_, met)| met.ended.0).collect()
}

fn findings(store: &Store) -> u64 {
    let view = store.read().unwrap();
    view.check_up(&mut |_| (), &mut |_| true).unwrap().findings
}

#[test]
fn meetings_are_listed_newest_first_and_page_by_page() {
    let store = Store::in_memory().unwrap();
    note(&store, ANA, 0..3);
    note(&store, BEN, 10..12);
    note(&store, ANA, 20..21);
    assert_eq!(shown(&store, None, u64::MAX, 4), [20, 11, 10, 2]);
    assert_eq!(shown(&store, Some(ANA), u64::MAX, 9), [20, 2, 1, 0]);
    let newest = store.read().unwrap().meetings(Some(ANA), u64::MAX, 2);
    let newest = newest.unwrap();
    assert_eq!(newest[0].1, met(ANA, 20), "as it was put");
    let before = newest[1].0;
    assert_eq!(shown(&store, Some(ANA), before, 9), [1, 0]);
    assert_eq!(shown(&store, None, 0, 9), [0; 0]);
    assert_eq!(findings(&store), 0);
}

#[test]
fn only_the_newest_of_each_contact_stay() {
    let store = Store::in_memory().unwrap();
    let most = MEETINGS_PER_CONTACT_MAX as u64;
    note(&store, BEN, 0..5);
    note(&store, ANA, 0..most + 7);
    let all = shown(&store, Some(ANA), u64::MAX, usize::MAX);
    assert_eq!((all.len() as u64, all.last()), (most, Some(&7)));
    assert_eq!(shown(&store, Some(BEN), u64::MAX, 9).len(), 5);
    assert_eq!(
        shown(&store, None, u64::MAX, usize::MAX).len() as u64,
        most + 5
    );
    assert_eq!(findings(&store), 0);
}

#[test]
fn they_go_with_the_contact_and_when_the_person_says_so() {
    let store = Store::in_memory().unwrap();
    write(&store, move |txn| {
        txn.put_contact(&ANA, &contact(1, "Ana", 1, None))?;
        txn.put_setting(&"kept".to_owned(), &Setting(vec![1]))
    })
    .unwrap();
    note(&store, ANA, 0..4);
    note(&store, BEN, 4..6);
    assert!(write(&store, |txn| txn.remove_contact(&ANA)).unwrap());
    assert_eq!(shown(&store, None, u64::MAX, 9), [5, 4]);
    assert_eq!(shown(&store, Some(ANA), u64::MAX, 9), [0; 0]);
    assert_eq!(write(&store, |txn| txn.forget_meetings(None)).unwrap(), 2);
    assert_eq!(shown(&store, None, u64::MAX, 9), [0; 0]);
    // A number isn't used again: a page that was asked for before shows nothing newer.
    note(&store, BEN, 7..8);
    assert_eq!(shown(&store, None, 7, 9), [0; 0]);
    assert_eq!(findings(&store), 0);
}
