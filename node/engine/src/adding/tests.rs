//! Both sides of a pair end with one secret, however often and by whichever link they come.

use std::collections::BTreeMap;

use proto::{
    EndpointId, Millis,
    admission::{Certificate, Role},
    card::InviteSecret,
    keys::{DeviceKey, IdentityKey},
};
use store::{Store, sim::Disk};
use tokio::sync::oneshot;

use super::{
    welcoming::{Use, hang_up, kept_or, use_invite},
    *,
};
use crate::records::Invite as Row;

const NOW: Millis = Millis(1_790_000_000_000);
const LINK: &str = "link";

fn keys(seed: u8) -> Keys {
    Keys {
        identity: IdentityKey::from_seed(&[seed; 32]),
        device: DeviceKey::from_seed(&[seed + 100; 32]),
    }
}

fn who(seed: u8) -> IdentityId {
    keys(seed).identity.id()
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

const ANA: u8 = 1;
const BEN: u8 = 2;
const EVE: u8 = 3;

/// Ana's node, with a link that works once.
fn ana() -> Store {
    let store = Store::on(&Disk::new()).unwrap();
    let link = Row {
        secret: InviteSecret([6; 16]),
        endpoint_secret: None,
        link: String::new(),
        uses: 1,
        used: 0,
        created: NOW,
        expires: NOW.plus(1_000),
        note: String::new(),
        used_by: Vec::new(),
        tried_again: false,
        local_only: false,
    };
    store
        .run(|txn| txn.put_invite(&LINK.to_owned(), &link))
        .unwrap();
    store
}

/// Somebody uses Ana's link on a connection that would make this secret.
fn comes(store: &Store, who_comes: u8, made: u8) -> Option<PairSecret> {
    let made = PairSecret([made; 32]);
    store
        .run(|txn| {
            let used = use_invite(txn, LINK, who(who_comes), "Somebody", NOW)?;
            if used != Use::Welcome {
                return Ok(None);
            }
            let choose = |known: Option<&Contact>| kept_or(known, made);
            befriend_under(txn, &keys(ANA), &card(who_comes), choose, NOW)
        })
        .unwrap()
}

fn secret_of(store: &Store, contact: u8) -> Option<PairSecret> {
    let row = store.read().unwrap().contact(&who(contact)).unwrap();
    row.and_then(|row| row.pair_secret)
}

/// Ben's node had Ana's answer and Ana's didn't know; when it came again, she made another secret
/// and he kept the first where her second answer was lost: nothing that either wrote arrived.
#[test]
fn a_link_used_again_keeps_the_secret_that_is_in_use() {
    let (store, first) = (ana(), PairSecret([11; 32]));
    assert_eq!(comes(&store, BEN, 11), Some(first.clone()));
    assert_eq!(comes(&store, BEN, 12), Some(first.clone()), "not met yet");
    let met = |contact: &mut Contact| contact.last_met = Some(NOW);
    store
        .run(|txn| records::change_contact(txn, who(BEN), met))
        .unwrap();
    // Two who are contacts find each other at once, and the answer may be lost all the same.
    assert_eq!(comes(&store, BEN, 13), Some(first.clone()), "met already");
    assert_eq!(secret_of(&store, BEN), Some(first.clone()));
    let space = conversation_id(&first.0);
    assert!(store.read().unwrap().space(space).unwrap().is_some());
    // It is still a link for one.
    assert_eq!(comes(&store, EVE, 14), None);
    let link = store.read().unwrap().invite(&LINK.to_owned()).unwrap();
    let link = link.unwrap();
    assert_eq!((link.used, link.tried_again), (1, true));
    // Nor does it bring back who was removed.
    store
        .run(|txn| crate::api::contacts::forget(txn, &keys(ANA), who(BEN)))
        .unwrap();
    assert_eq!(comes(&store, BEN, 15), None);
}

#[test]
fn a_joiner_takes_the_secret_that_is_said_and_no_other_conversations() {
    let store = ana();
    comes(&store, BEN, 11);
    let hears = |secret: u8, crosses: bool| {
        let said = Said {
            secret: PairSecret([secret; 32]),
            crosses,
        };
        let take = |txn: &mut Txn<'_>| {
            let choose = |known: Option<&Contact>| said.choose(known);
            befriend_under(txn, &keys(ANA), &card(BEN), choose, NOW)
        };
        store.run(take).unwrap()
    };
    assert_eq!(hears(21, false), Some(PairSecret([21; 32])));
    assert_eq!(secret_of(&store, BEN), Some(PairSecret([21; 32])));
    let eves = Said {
        secret: PairSecret([21; 32]),
        crosses: false,
    };
    let taken = store
        .run(|txn| befriend_under(txn, &keys(ANA), &card(EVE), |known| eves.choose(known), NOW))
        .unwrap();
    assert_eq!(taken, None, "the secret of Ana and Ben");
    assert_eq!(secret_of(&store, EVE), None);
}

/// Each uses the other's link, and each answers before it hears: both take what the lower one's dial
/// made.
#[test]
fn two_links_that_cross_end_in_one_secret() {
    let (low, high) = (who(ANA).min(who(BEN)), who(ANA).max(who(BEN)));
    let (low_dials, high_dials) = (PairSecret([1; 32]), PairSecret([2; 32]));
    let ready = |secret: &PairSecret| {
        let mut contact = records::new_contact("Somebody", NOW);
        contact.state = ContactState::Ready;
        contact.pair_secret = Some(secret.clone());
        contact
    };
    for (own, other, hears, made_meanwhile) in [
        (low, high, &low_dials, &high_dials),
        (high, low, &high_dials, &low_dials),
    ] {
        let said = Said::new(own, other, hears.clone(), false);
        let chosen = said.choose(Some(&ready(made_meanwhile)));
        assert_eq!(chosen, low_dials);
    }
    // Who was a contact before the dial hears a word that is newer.
    let said = Said::new(high, low, high_dials.clone(), true);
    assert_eq!(said.choose(Some(&ready(&low_dials))), high_dials);
}

/// The joiner hung up at the first answer and came again; the end of the first line took the second one
/// with it, and what the person decided was heard ten minutes later.
#[test]
fn the_end_of_one_line_leaves_the_next() {
    let (mut waiting, id) = (BTreeMap::new(), who(BEN));
    let (decide, first) = oneshot::channel();
    waiting.insert(id, Waiting { decide });
    let (decide, mut second) = oneshot::channel();
    waiting.insert(id, Waiting { decide });
    drop(first);
    hang_up(&mut waiting, id);
    let decided = waiting.contains_key(&id);
    assert!(decided && second.try_recv() == Err(oneshot::error::TryRecvError::Empty));
    drop(second);
    hang_up(&mut waiting, id);
    assert!(waiting.is_empty());
}
