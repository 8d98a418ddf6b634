//! How this device is found, and who knows it: the key of its beacons and its relay. And our
//! contacts' keys.
//!
//! Both are told in meetings like an offer: under a count of changes, until the contact has
//! acknowledged that. The key changes when a contact is removed. Who missed the change doesn't
//! recognise us until the next meeting; we go on recognising them.

use proto::{EndpointId, IdentityId, beacon::BeaconKey, frame::Whereabouts};
use store::{ContactState, Setting, Source, Txn, View};

use crate::{files, inner::Inner};

type Result<T> = std::result::Result<T, store::Error>;

/// Under which our own key is kept.
const OWN: &str = "beacon-key";

/// Under which the relay is kept that contacts are told.
const RELAY: &str = "relay-told";

pub(crate) fn fresh_key() -> BeaconKey {
    BeaconKey(*files::random_seed())
}

/// Our key; `None` before the first [`renew`].
pub(crate) fn own(view: &View<impl Source>) -> Result<Option<BeaconKey>> {
    let kept = view.setting(&OWN.to_owned())?;
    Ok(kept.and_then(|Setting(bytes)| bytes.try_into().ok().map(BeaconKey)))
}

/// Our key is another from now on, and every contact is to hear it.
pub(crate) fn renew(txn: &mut Txn<'_>, key: BeaconKey) -> Result<()> {
    txn.put_setting(&OWN.to_owned(), &Setting(key.0.to_vec()))?;
    owe_all(txn)
}

/// The relay that contacts are told; `None` where there never was one.
pub(crate) fn relay(view: &View<impl Source>) -> Result<Option<String>> {
    let kept = view.setting(&RELAY.to_owned())?;
    Ok(kept.and_then(|Setting(bytes)| String::from_utf8(bytes).ok()))
}

/// This relay leads to us from now on, and every contact is to hear it.
pub(crate) fn use_relay(txn: &mut Txn<'_>, relay: &str) -> Result<()> {
    txn.put_setting(&RELAY.to_owned(), &Setting(relay.as_bytes().to_vec()))?;
    owe_all(txn)
}

fn owe_all(txn: &mut Txn<'_>) -> Result<()> {
    for (id, mut contact) in txn.contacts()? {
        if contact.state == ContactState::Ready {
            contact.my_rev += 1;
            txn.put_contact(&id, &contact)?;
            owe(txn, id, contact.my_rev)?;
        }
    }
    Ok(())
}

/// Makes a key where there is none: a node of an earlier version had none.
pub(crate) fn ensure(txn: &mut Txn<'_>, key: BeaconKey) -> Result<()> {
    match own(txn)? {
        Some(_) => Ok(()),
        None => renew(txn, key),
    }
}

/// Our key; made now where there is none yet.
pub(crate) async fn own_or_made(inner: &Inner) -> Result<BeaconKey> {
    if let Some(key) = own(&inner.store.read()?)? {
        return Ok(key);
    }
    let key = fresh_key();
    let made = key.clone();
    inner.store.write(move |txn| ensure(txn, made)).await?;
    inner.tell_audience();
    Ok(key)
}

/// A contact is to hear it under this count.
pub(crate) fn owe(txn: &mut Txn<'_>, contact: IdentityId, told: u64) -> Result<()> {
    let mut row = txn.beacons(&contact)?.unwrap_or_default();
    row.told = told;
    txn.put_beacons(&contact, &row)
}

/// What a contact that acknowledged our changes up to `acked` doesn't know of it.
pub(crate) fn owed(
    view: &View<impl Source>,
    contact: IdentityId,
    acked: u64,
) -> Result<Whereabouts> {
    let row = view.beacons(&contact)?.unwrap_or_default();
    if row.told <= acked {
        return Ok(Whereabouts::default());
    }
    Ok(Whereabouts {
        beacon: own(view)?,
        relay: relay(view)?,
    })
}

/// Keeps the key of a contact's device.
pub(crate) fn keep(
    txn: &mut Txn<'_>,
    contact: IdentityId,
    endpoint: EndpointId,
    key: BeaconKey,
) -> Result<()> {
    let mut row = txn.beacons(&contact)?.unwrap_or_default();
    // Of devices that they no longer have nothing is kept.
    let known = txn.contact(&contact)?.map(|contact| contact.devices);
    let is_theirs = |endpoint: &EndpointId| {
        let mut devices = known.iter().flat_map(|devices| devices.values());
        devices.any(|device| device.endpoint == *endpoint)
    };
    row.keys.insert(endpoint, key);
    row.keys.retain(|endpoint, _| is_theirs(endpoint));
    txn.put_beacons(&contact, &row)
}

/// All keys of contacts' devices, by whom they name.
pub(crate) fn theirs(
    view: &View<impl Source>,
) -> Result<Vec<((IdentityId, EndpointId), BeaconKey)>> {
    let mut keys = Vec::new();
    for (contact, row) in view.all_beacons()? {
        let of_contact = row.keys.into_iter();
        keys.extend(of_contact.map(|(endpoint, key)| ((contact, endpoint), key)));
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use proto::Millis;
    use store::{Store, sim::Disk};

    use super::*;
    use crate::records;

    const BEN: IdentityId = IdentityId([2; 32]);
    const CEM: IdentityId = IdentityId([3; 32]);

    fn befriended(contacts: &[IdentityId]) -> Store {
        let store = Store::on(&Disk::new()).unwrap();
        store
            .run(|txn| {
                ensure(txn, BeaconKey([1; 32]))?;
                for id in contacts {
                    let mut contact = records::new_contact("Somebody", Millis(0));
                    contact.state = ContactState::Ready;
                    contact.my_rev = 1;
                    txn.put_contact(id, &contact)?;
                    owe(txn, *id, 1)?;
                }
                Ok(())
            })
            .unwrap();
        store
    }

    #[test]
    fn a_key_is_owed_until_it_is_acknowledged() {
        let store = befriended(&[BEN]);
        let read = store.read().unwrap();
        let key = own(&read).unwrap();
        assert_eq!(key, Some(BeaconKey([1; 32])));
        assert_eq!(owed(&read, BEN, 0).unwrap().beacon, key);
        assert_eq!(owed(&read, BEN, 1).unwrap(), Whereabouts::default());
        // A second start makes no other.
        store.run(|txn| ensure(txn, BeaconKey([9; 32]))).unwrap();
        assert_eq!(own(&store.read().unwrap()).unwrap(), key);
    }

    #[test]
    fn another_relay_is_owed_to_everybody() {
        let store = befriended(&[BEN, CEM]);
        store
            .run(|txn| use_relay(txn, "https://relay.example"))
            .unwrap();
        let read = store.read().unwrap();
        for id in [BEN, CEM] {
            let owed = owed(&read, id, 1).unwrap();
            assert_eq!(owed.relay.as_deref(), Some("https://relay.example"));
            assert_eq!(read.contact(&id).unwrap().unwrap().my_rev, 2);
        }
    }

    #[test]
    fn a_removed_contact_recognises_this_device_no_more() {
        let store = befriended(&[BEN, CEM]);
        let before = own(&store.read().unwrap()).unwrap().unwrap();
        store
            .run(|txn| {
                txn.remove_contact(&CEM)?;
                renew(txn, BeaconKey([7; 32]))
            })
            .unwrap();
        let read = store.read().unwrap();
        let after = own(&read).unwrap().unwrap();
        assert!(!before.made(&after.beacon([5; 16])));
        // Who acknowledged the one before hears the new one, and of the removed nothing is left.
        assert_eq!(owed(&read, BEN, 1).unwrap().beacon, Some(after));
        assert_eq!(read.contact(&BEN).unwrap().unwrap().my_rev, 2);
        assert_eq!(read.beacons(&CEM).unwrap(), None);
    }

    #[test]
    fn keys_of_devices_that_a_contact_has_are_kept() {
        let store = befriended(&[BEN]);
        let (endpoint, gone) = (EndpointId([4; 32]), EndpointId([5; 32]));
        store
            .run(|txn| {
                let mut contact = txn.contact(&BEN)?.unwrap();
                let device = store::ContactDevice {
                    endpoint,
                    addrs: Vec::new(),
                    relay: None,
                    certificate: Vec::new(),
                    agreed: std::collections::BTreeSet::new(),
                };
                contact.devices.insert(proto::DeviceId([4; 32]), device);
                txn.put_contact(&BEN, &contact)?;
                keep(txn, BEN, gone, BeaconKey([8; 32]))?;
                keep(txn, BEN, endpoint, BeaconKey([9; 32]))
            })
            .unwrap();
        let known = theirs(&store.read().unwrap()).unwrap();
        assert_eq!(known, [((BEN, endpoint), BeaconKey([9; 32]))]);
    }
}
