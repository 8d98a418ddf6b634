//! Deleting for me: gone from this node only, for good, and missed by nobody.

use proto::{Millis, body::Body};
use store::{Deleted, Store, sim::Disk};

use crate::{
    support::{T0, edit, healthy, pull, react, runs, take, write},
    talk::{SPACE, Side, holds, pair, pair_on},
};

fn delete(side: &Side, id: proto::EntryId) -> Deleted {
    let deleted = write(&side.store, move |txn| {
        txn.delete_for_me(id, Millis(T0 + 100))
    });
    healthy(&side.store);
    deleted.unwrap()
}

#[test]
fn a_deleted_message_is_gone_here_and_stays_with_the_other_person() {
    let disks = [Disk::new(), Disk::new()];
    let [one, other] = [&disks[0], &disks[1]].map(|disk| Store::on(disk).unwrap());
    let (ana, ben) = pair_on(one, other);
    let target = ana.say(T0, "secret words");
    ana.write(T0 + 1, &edit(target, "secret edit"));
    ana.say(T0 + 2, "words that stay");
    ben.meet(&ana, T0 + 3);
    ben.write(T0 + 4, &react(target, "👍", true));
    ana.meet(&ben, T0 + 5);
    let digest = ana.digest();
    assert_eq!(delete(&ben, target), Deleted::Gone(SPACE));
    assert_eq!(ben.texts(), ["words that stay"]);
    assert_eq!(ana.texts(), ["secret edit", "words that stay"]);
    assert_eq!((ana.digest(), ben.digest()), (digest, digest));
    let view = ben.store.read().unwrap();
    assert!(view.item(target).unwrap().is_none() && view.versions(target).unwrap().is_empty());
    assert!(view.search("secret", None, 10).unwrap().items.is_empty());
    assert_eq!(view.unread().unwrap(), 1, "what is gone isn't to be read");
    drop(view);
    ben.store.rest();
    assert!(!holds(&disks[1], "secret") && holds(&disks[1], "words that stay"));
    assert!(holds(&disks[0], "secret"));
    // Own ones too, once they are there.
    assert_eq!(delete(&ana, target), Deleted::Gone(SPACE));
    ana.store.rest();
    assert!(!holds(&disks[0], "secret"));
    assert_eq!((ana.digest(), ben.digest()), (digest, digest));
    assert_eq!(delete(&ana, target), Deleted::NotHeld, "once is enough");
}

/// A run that is sent again, a body that is offered, a feed that is taken anew: the text stays gone.
#[test]
fn a_deleted_message_never_comes_again() {
    let (ana, ben) = pair();
    ana.say(T0, "first");
    let target = ana.say(T0 + 1, "secret words");
    ana.say(T0 + 2, "last");
    ben.meet(&ana, T0 + 3);
    delete(&ben, target);
    let device = ana.device.id();
    for run in runs(&ana.store, SPACE, device) {
        let _ = take(&ben.store, SPACE, device, &run, T0 + 4);
    }
    let body = ana.store.read().unwrap().body(SPACE, device, 2).unwrap();
    let body = body.unwrap();
    let filled = write(&ben.store, move |txn| {
        let one = txn.fill(SPACE, device, 2, &body, Millis(T0 + 5));
        let other = txn.fill_from_letter(SPACE, device, 2, &body, Millis(T0 + 5));
        Ok((one.is_ok(), other.is_ok()))
    });
    assert_eq!(
        filled.unwrap(),
        (true, true),
        "no fault of whoever sends it"
    );
    assert_eq!(ben.texts(), ["first", "last"]);
    ana.write(T0 + 6, &edit(target, "secret edit"));
    ben.meet(&ana, T0 + 7);
    assert_eq!(ben.texts(), ["first", "last"]);
    let edited = ben.store.read().unwrap().body(SPACE, device, 4).unwrap();
    assert_eq!(edited, None, "an edit of it isn't kept either");
    ana.write(T0 + 8, &Body::Retract { target });
    ben.meet(&ana, T0 + 9);
    assert_eq!(ben.texts(), ["first", "last"]);
    assert!(ben.holes(&ana.device).is_empty());
    healthy(&ben.store);
    assert_eq!(ana.digest(), ben.digest());
}

#[test]
fn what_is_not_delivered_yet_has_to_be_taken_back() {
    let (ana, ben) = pair();
    let target = ana.say(T0, "on its way");
    assert_eq!(delete(&ana, target), Deleted::NotDelivered);
    assert_eq!(ana.texts(), ["on its way"]);
    pull(&ben.store, &ana.store, SPACE, T0 + 1);
    assert_eq!(ben.texts(), ["on its way"]);
    let setting = ana.set(T0 + 2, 60);
    assert_eq!(delete(&ana, setting), Deleted::NotHeld, "a setting stays");
    let genesis = proto::EntryId([9; 32]);
    assert_eq!(delete(&ana, genesis), Deleted::NotHeld);
}

/// What stands in place of a retracted message goes too.
#[test]
fn a_retracted_message_can_be_deleted() {
    let (ana, ben) = pair();
    let target = ana.say(T0, "words");
    ben.meet(&ana, T0 + 1);
    ana.write(T0 + 2, &Body::Retract { target });
    ben.meet(&ana, T0 + 3);
    assert_eq!(ben.texts(), [""]);
    assert_eq!(delete(&ben, target), Deleted::Gone(SPACE));
    assert!(ben.texts().is_empty());
    assert_eq!(ana.digest(), ben.digest());
}
