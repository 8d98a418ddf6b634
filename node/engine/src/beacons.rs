//! Keys of beacons: our own, who knows it, and our contacts'.
//!
//! Our key is told in meetings like an offer: under a count of changes, until the contact has
//! acknowledged that. It changes when a contact is removed. Who missed the change doesn't recognise
//! us until the next meeting; we go on recognising them.

use proto::{EndpointId, IdentityId, beacon::BeaconKey};
use store::{ContactState, Setting, Source, Txn, View};

use crate::files;

type Result<T> = std::result::Result<T, store::Error>;

/// Under which our own key is kept.
const OWN: &str = "beacon-key";

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

/// A contact is to hear our key under this count.
pub(crate) fn owe(txn: &mut Txn<'_>, contact: IdentityId, told: u64) -> Result<()> {
    let mut row = txn.beacons(&contact)?.unwrap_or_default();
    row.told = told;
    txn.put_beacons(&contact, &row)
}

/// Our key, where a contact that acknowledged our changes up to `acked` doesn't know it.
pub(crate) fn owed(
    view: &View<impl Source>,
    contact: IdentityId,
    acked: u64,
) -> Result<Option<BeaconKey>> {
    let row = view.beacons(&contact)?.unwrap_or_default();
    if row.told > acked {
        own(view)
    } else {
        Ok(None)
    }
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
