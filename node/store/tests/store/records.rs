//! The plain records: each comes back as it was put.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proto::{
    DeviceId, EndpointId, IdentityId, Millis, SpaceId,
    card::{InviteSecret, PairSecret},
};
use store::{
    Contact, ContactDevice, ContactState, Invite, Left, OfferIn, OfferOut, OfferState, OwnDevice,
    Setting, Store, Trust,
};

use crate::support::{Device, write};

pub fn contact(n: u64, text: &str, devices: u8, secret: Option<[u8; 32]>) -> Contact {
    let device = |id: u8| ContactDevice {
        endpoint: EndpointId([id; 32]),
        addrs: vec![
            "127.0.0.1:7".parse().unwrap(),
            "[fe80::1]:9".parse().unwrap(),
        ],
        relay: id.is_multiple_of(2).then(|| text.to_owned()),
        certificate: vec![id; 133],
        agreed: BTreeSet::from([SpaceId([id; 32])]),
    };
    Contact {
        name: text.to_owned(),
        nickname: n.is_multiple_of(2).then(|| text.to_owned()),
        trust: [
            Trust::Unverified,
            Trust::Introduced,
            Trust::Words,
            Trust::Verified,
        ][n as usize % 4],
        state: [
            ContactState::Pending,
            ContactState::Asks,
            ContactState::Ready,
        ][n as usize % 3],
        pair_secret: secret.map(PairSecret),
        added: Millis(n),
        last_met: n.is_multiple_of(3).then_some(Millis(n)),
        last_link: n.is_multiple_of(5).then_some(3),
        note: text.to_owned(),
        link: n.is_multiple_of(7).then(|| text.to_owned()),
        my_rev: n,
        seen_rev: n / 2,
        acked_rev: n / 3,
        devices: (0..devices)
            .map(|id| (DeviceId([id; 32]), device(id)))
            .collect(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn records_come_back_as_they_were_put(n: u64, text in "\\PC{0,20}", devices in 0..5_u8, secret: Option<[u8; 32]>, bytes: Vec<u8>) {
        let store = Store::in_memory().unwrap();
        let who = IdentityId([1; 32]);
        let person = contact(n, &text, devices, secret);
        let invite = Invite {
            secret: InviteSecret([7; 16]),
            endpoint_secret: secret.map(Into::into),
            link: text.clone(),
            uses: 3,
            used: 2,
            expires: Millis(n),
            created: Millis(n / 2),
            note: text.clone(),
            used_by: vec![who],
            tried_again: n % 2 == 0,
            local_only: n % 3 == 0,
        };
        let offer_in = OfferIn {
            descriptor: bytes.clone(),
            chain: bytes.clone(),
            from: who,
            received: Millis(n),
            state: if n % 2 == 0 { OfferState::Waiting } else { OfferState::Declined },
        };
        let offer_out = OfferOut { descriptor: bytes.clone(), chain: vec![], rev: n };
        let own = OwnDevice { certificate: Device::new(1, 0).certificate, name: text, last_serial: 4 };
        let (name, space) = ("one".to_owned(), SpaceId([2; 32]));
        let left = Left { at: Millis(n) };
        let put = (person.clone(), invite.clone(), offer_in.clone(), offer_out.clone(), own.clone(), Setting(bytes.clone()));
        let key = name.clone();
        write(&store, move |txn| {
            txn.put_contact(&who, &put.0)?;
            txn.put_invite(&key, &put.1)?;
            txn.put_offer_in(&key, &put.2)?;
            txn.put_offer_out(&(who, space), &put.3)?;
            txn.put_own_device(&put.4)?;
            txn.put_setting(&key, &put.5)?;
            txn.put_left(&space, &left)
        })
        .unwrap();
        let read = store.read().unwrap();
        prop_assert_eq!(read.contact(&who).unwrap(), Some(person));
        prop_assert_eq!(read.invite(&name).unwrap(), Some(invite));
        prop_assert_eq!(read.offer_in(&name).unwrap(), Some(offer_in));
        prop_assert_eq!(read.offers_out().unwrap(), vec![((who, space), offer_out)]);
        let person = (own.certificate.identity, own.name.clone());
        prop_assert_eq!(read.own_person().unwrap(), Some(person));
        prop_assert_eq!(read.own_device().unwrap(), Some(own));
        prop_assert_eq!(read.setting(&name).unwrap(), Some(Setting(bytes)));
        prop_assert_eq!(read.all_left().unwrap(), vec![(space, left)]);
    }
}

#[test]
fn a_contact_is_found_by_its_endpoints_and_forgotten_whole() {
    let store = Store::in_memory().unwrap();
    let (ben, space) = (IdentityId([1; 32]), SpaceId([2; 32]));
    let offer = |from| OfferIn {
        descriptor: vec![1],
        chain: vec![],
        from,
        received: Millis(1),
        state: OfferState::Waiting,
    };
    write(&store, move |txn| {
        txn.put_contact(&ben, &contact(1, "Ben", 3, None))?;
        txn.set_name(ben, "Ben", Millis(5))?;
        txn.exclude(space, ben, true)?;
        txn.put_offer_in(&"a".to_owned(), &offer(ben))?;
        txn.put_offer_in(&"b".to_owned(), &offer(IdentityId([3; 32])))?;
        let out = OfferOut {
            descriptor: vec![],
            chain: vec![],
            rev: 1,
        };
        txn.put_offer_out(&(ben, space), &out)
    })
    .unwrap();
    let at = |n: u8| {
        store
            .read()
            .unwrap()
            .contact_at(EndpointId([n; 32]))
            .unwrap()
    };
    assert_eq!((at(0), at(2), at(3)), (Some(ben), Some(ben), None));
    assert_eq!(
        store.read().unwrap().name(ben).unwrap().as_deref(),
        Some("Ben")
    );
    assert_eq!(store.read().unwrap().excluded(space).unwrap(), [ben]);
    let exclusions = store.read().unwrap().exclusions().unwrap();
    assert_eq!(exclusions, [(space, ben)].into());
    // Fewer devices: the others' endpoints are found no more.
    write(&store, move |txn| {
        txn.put_contact(&ben, &contact(1, "Ben", 1, None))
    })
    .unwrap();
    assert_eq!((at(0), at(2)), (Some(ben), None));
    assert!(write(&store, move |txn| txn.remove_contact(&ben)).unwrap());
    let read = store.read().unwrap();
    assert_eq!(at(0), None);
    assert!(read.contacts().unwrap().is_empty() && read.offers_out().unwrap().is_empty());
    assert_eq!(read.offers_in().unwrap().len(), 1);
    assert!(read.exclusions().unwrap().is_empty());
    assert_eq!(read.name(ben).unwrap(), None);
}

#[test]
fn no_debug_output_has_a_secret() {
    let person = contact(1, "Ben", 0, Some([0x41; 32]));
    let shown = format!("{person:?}");
    assert!(!shown.contains("65, 65"), "{shown}");
    let _: BTreeMap<DeviceId, ContactDevice> = person.devices;
}
