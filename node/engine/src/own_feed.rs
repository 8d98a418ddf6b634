//! The own feed of a space that was left.
//!
//! Leaving deletes what a space holds, texts included. But a device that came back and began its
//! feed anew would sign other entries at the same places: it would have forked, and everybody
//! would drop it. So the headers of the own entries are kept, 44 bytes each, with their
//! signatures and the first entry whole, and so is what was decreed in a circle: who comes back
//! alone as its owner would else let those in whom they removed. On coming back they are the feed again, and the bodies
//! are holes that whoever has them fills. Where the feed has ended, by a fork or a revocation,
//! what ended it is kept too: only that vouches for what stands below the end.

use std::fmt::Display;

use proto::{
    DeviceId, Millis, SpaceId,
    body::Body,
    limits::{CHECKPOINT_BYTES, CHECKPOINT_ENTRIES},
    run::{BodyPart, Run},
    verify::{Outcome, verify_run},
};
use store::{Error, ImportError, Setting, Txn};

/// The key of one checkpoint's worth of headers; sorts by number.
fn key(space: SpaceId, number: usize) -> String {
    format!("own-feed/{space}/{number:08}")
}

/// The key of what ended the feed.
fn end_key(space: SpaceId, end: &str) -> String {
    format!("own-feed/{space}/{end}")
}

const FORK: &str = "fork";
const REVOCATION: &str = "revocation";

/// Keeps the headers of the own feed; to be called before the space is left.
pub(crate) fn keep(txn: &mut Txn<'_>, device: DeviceId, space: SpaceId) -> Result<(), Error> {
    forget(txn, space)?;
    if let Some(proof) = txn.fork_proof(space, device)? {
        txn.put_setting(&end_key(space, FORK), &Setting(proof))?;
    }
    if let Some(body) = txn.revocation(space, device)? {
        txn.put_setting(&end_key(space, REVOCATION), &Setting(body))?;
    }
    let mut from = 0;
    for number in 0.. {
        let (entries_max, bytes_max) = (CHECKPOINT_ENTRIES as usize, CHECKPOINT_BYTES as usize);
        let Some(served) = txn.run(space, device, from, entries_max, bytes_max)? else {
            return Ok(());
        };
        let Ok(mut run) = Run::decode(&served.bytes) else {
            return Err(Error::Refused("the own feed can't be read".to_owned()));
        };
        for (seq, item) in (run.start..).zip(&mut run.items) {
            if seq > 0 && !is_rule(&item.body) {
                let (len, hash) = (item.body.len(), item.body.hash());
                item.body = BodyPart::Absent { len, hash };
            }
        }
        txn.put_setting(&key(space, number), &Setting(run.encode()))?;
        from = served.end;
    }
    Ok(())
}

fn is_rule(body: &BodyPart<'_>) -> bool {
    matches!(body, BodyPart::Present(body) if matches!(Body::decode(body), Ok(Body::Rule(_))))
}

/// Makes the kept headers the own feed again; to be called when the space is held again.
pub(crate) fn restore(
    txn: &mut Txn<'_>,
    device: DeviceId,
    space: SpaceId,
    now: Millis,
) -> Result<(), Error> {
    for number in 0.. {
        let Some(Setting(bytes)) = txn.setting(&key(space, number))? else {
            break;
        };
        if number == 0 {
            // The beginning is signed by itself; what ended the feed is believed of a known one.
            let beginning = beginning(&bytes).ok_or_else(|| refused(&"no feed"))?;
            restore_run(txn, device, space, beginning, now)?;
            restore_end(txn, device, space)?;
        }
        restore_run(txn, device, space, bytes, now)?;
    }
    forget(txn, space)
}

fn refused(what: &dyn Display) -> Error {
    Error::Refused(format!("the own feed can't be restored: {what}"))
}

/// The first entry alone.
fn beginning(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut run = Run::decode(bytes).ok()?;
    run.items.truncate(1);
    run.signatures.retain(|(index, _)| *index == 0);
    Some(run.encode())
}

/// Takes back a run, as far as it brings something.
fn restore_run(
    txn: &mut Txn<'_>,
    device: DeviceId,
    space: SpaceId,
    bytes: Vec<u8>,
    now: Millis,
) -> Result<(), Error> {
    let context = txn.context(space)?.ok_or(Error::UnknownSpace)?;
    let facts = txn.facts(space, device)?;
    let outcome = verify_run(&context, &facts, bytes).map_err(|reject| refused(&reject))?;
    let Outcome::Continues(run) = outcome else {
        return Ok(());
    };
    kept(txn.import(space, run, now))
}

/// Takes back what ended the feed.
fn restore_end(txn: &mut Txn<'_>, device: DeviceId, space: SpaceId) -> Result<(), Error> {
    if let Some(Setting(body)) = txn.setting(&end_key(space, REVOCATION))? {
        kept(txn.import_revocation(space, device, &body))?;
    }
    if let Some(Setting(proof)) = txn.setting(&end_key(space, FORK))? {
        kept(txn.import_fork(space, device, &proof))?;
    }
    Ok(())
}

fn kept<T>(result: Result<T, ImportError>) -> Result<(), Error> {
    match result {
        Ok(_) => Ok(()),
        Err(ImportError::Store(error)) => Err(error),
        Err(ImportError::Reject(reject)) => Err(refused(&reject)),
    }
}

fn forget(txn: &mut Txn<'_>, space: SpaceId) -> Result<(), Error> {
    for end in [FORK, REVOCATION] {
        txn.remove_setting(&end_key(space, end))?;
    }
    for number in 0.. {
        if !txn.remove_setting(&key(space, number))? {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proto::{
        admission::{Certificate, Chain, Role},
        author,
        keys::{DeviceKey, IdentityKey},
        run::Item,
        space::{Descriptor, SpaceKind},
    };
    use store::{Store, sim::Disk};

    use super::*;
    use crate::{files::Keys, records, spaces};

    const NOW: Millis = Millis(1_790_000_000_000);

    fn post(text: &str) -> Body<'_> {
        let title = "Title";
        Body::Thread { title, text }
    }

    /// What a fork cuts off took the last signature along, so the kept headers couldn't be
    /// checked, and a space that was left could never be held again: an offer of it ended every
    /// meeting. Found by the simulator.
    #[test]
    fn a_feed_that_forked_comes_back_as_it_ended() {
        let keys = Keys {
            identity: IdentityKey::from_seed(&[1; 32]),
            device: DeviceKey::from_seed(&[2; 32]),
        };
        let device = keys.device.id();
        let forum = Descriptor {
            kind: SpaceKind::Forum,
            name: "Camp".into(),
            description: String::new(),
            creator: keys.identity.id(),
            onward: true,
            salt: [3; 32],
        };
        let (space, record) = (forum.id(), spaces::described(&forum, Chain::root(), NOW));
        let certificate = Certificate::sign(&keys.identity, &keys.device, 1, Role::Main);
        let store = Store::on(&Disk::new()).unwrap();
        let write = |text: &str| {
            store.run(|txn| spaces::append(txn, &keys, space, NOW, &post(text)).map(drop))
        };
        store
            .run(|txn| {
                records::set_own(txn, certificate, "Ana")?;
                txn.create_space(&record)
            })
            .unwrap();
        write("one").unwrap();
        write("two").unwrap();
        let head = store.read().unwrap().facts(space, device).unwrap().head;
        write("three").unwrap();
        // The key is used a second time.
        let other = author::append(&keys.device, space, &head, NOW, &post("another three"));
        let item = other.items().first().unwrap();
        let mut run = Run::new(head.next, head.top);
        run.items.push(Item {
            created: NOW,
            body: BodyPart::Present(other.body_bytes(item).unwrap()),
        });
        run.signatures
            .push((0, other.signatures().first().unwrap().1));
        store
            .run(|txn| {
                let context = txn.context(space)?.unwrap();
                let facts = txn.facts(space, device)?;
                let Ok(Outcome::Overlaps(overlap)) = verify_run(&context, &facts, run.encode())
                else {
                    panic!("another branch overlaps");
                };
                txn.compare(space, &overlap).unwrap();
                Ok(())
            })
            .unwrap();
        let ended = store.read().unwrap().frontier(space, device).unwrap();
        assert_eq!(ended.map(|own| (own.base, own.fork)), Some((3, Some(3))));
        store
            .run(|txn| spaces::leave(txn, device, space, NOW))
            .unwrap();
        store
            .run(|txn| {
                txn.create_space(&record)?;
                restore(txn, device, space, NOW)
            })
            .unwrap();
        let back = store.read().unwrap().frontier(space, device).unwrap();
        let place = |own: proto::frontier::Frontier| (own.base, own.top, own.fork);
        assert_eq!(back.map(place), ended.map(place));
        assert!(write("four").is_err(), "what ended stays ended");
    }
}
