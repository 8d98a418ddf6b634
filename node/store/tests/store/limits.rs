//! Bounds: over one, a peer's entries are refused and nothing changes.

use proto::{
    EntryId, Millis,
    admission::Chain,
    body::{Body, BodyError},
    limits::{ADMISSIONS_PER_INVITER_MAX, DEVICES_PER_IDENTITY_MAX, SPACES_MAX, TEXT_BYTES_MAX},
    space::SpaceKind,
    verify::Reject,
};
use store::{Error, Store};

use crate::support::{
    Device, Place, T0, long_feed, post, reply, revocation, runs, take, thread, try_post, write,
};

/// The first run of a device: its genesis.
fn first_run(place: &Place, device: &Device) -> Vec<u8> {
    long_feed(place, device, EntryId([1; 32]), 1).remove(0)
}

#[test]
fn an_identity_has_so_many_devices() {
    let people: Vec<Device> = (0..=DEVICES_PER_IDENTITY_MAX as u8)
        .map(|n| Device::new(1, n))
        .collect();
    let forum = Place::new(SpaceKind::Forum, "Camp", &[&people[0]]);
    let node = forum.node();
    for (n, device) in people.iter().enumerate() {
        let taken = take(
            &node,
            forum.id(),
            device.id(),
            &first_run(&forum, device),
            T0,
        );
        if n < DEVICES_PER_IDENTITY_MAX {
            taken.unwrap();
        } else {
            assert_eq!(taken.unwrap_err(), Reject::TooManyDevices);
        }
    }
    let counts = node
        .read()
        .unwrap()
        .space(forum.id())
        .unwrap()
        .unwrap()
        .counts;
    assert_eq!(counts.feeds, DEVICES_PER_IDENTITY_MAX as u64);
}

#[test]
fn an_inviter_lets_in_so_many_and_others_still_come_in_elsewhere() {
    let creator = Device::new(1, 0);
    let forum = Place::new(SpaceKind::Forum, "Camp", &[&creator]);
    let node = forum.node();
    let ben = numbered(0);
    let to_ben = admit(&forum, &Chain::root(), &creator, &ben);
    // Everybody in one job: the node must not wait for a thousand commits.
    let mut invented: Vec<(Device, Chain)> = vec![(ben.clone(), to_ben.clone())];
    for n in 1..=ADMISSIONS_PER_INVITER_MAX as u32 + 1 {
        let person = numbered(n);
        let chain = admit(&forum, &to_ben, &ben, &person);
        invented.push((person, chain));
    }
    let cem = Device::new(3, 0);
    let to_cem = admit(&forum, &Chain::root(), &creator, &cem);
    invented.push((cem, to_cem));
    let space = forum.id();
    let mut place = forum.clone();
    let runs: Vec<_> = invented
        .iter()
        .map(|(device, chain)| {
            place.chains.insert(device.person(), chain.clone());
            (device.id(), first_run(&place, device))
        })
        .collect();
    let refused = write(&node, move |txn| {
        let context = txn.context(space)?.unwrap();
        let mut refused = Vec::new();
        for (n, (device, run)) in runs.into_iter().enumerate() {
            let facts = txn.facts(space, device)?;
            let outcome = proto::verify::verify_run(&context, &facts, run).unwrap();
            let proto::verify::Outcome::Continues(run) = outcome else {
                panic!("no continuation");
            };
            if txn.import(space, run, Millis(T0)).is_err() {
                refused.push(n);
            }
        }
        Ok(refused)
    })
    .unwrap();
    assert_eq!(refused, [ADMISSIONS_PER_INVITER_MAX + 1]);
    let members = node.read().unwrap().members(space).unwrap();
    assert_eq!(members.len(), ADMISSIONS_PER_INVITER_MAX + 2);
    let of_ben = members
        .iter()
        .filter(|member| member.inviter == Some(ben.person()));
    assert_eq!(of_ben.count(), ADMISSIONS_PER_INVITER_MAX);
}

fn numbered(n: u32) -> Device {
    let mut seed = [0xaa; 32];
    seed[..4].copy_from_slice(&n.to_be_bytes());
    let identity = proto::keys::IdentityKey::from_seed(&seed);
    seed[31] = 1;
    let key = proto::keys::DeviceKey::from_seed(&seed);
    let role = proto::admission::Role::Main;
    let certificate = proto::admission::Certificate::sign(&identity, &key, 1, role);
    Device {
        identity,
        key,
        certificate,
        name: format!("number {n}"),
    }
}

fn admit(place: &Place, chain: &Chain, inviter: &Device, invitee: &Device) -> Chain {
    chain
        .admit(
            place.id(),
            &inviter.certificate,
            &inviter.key,
            invitee.person(),
        )
        .unwrap()
}

#[test]
fn so_many_spaces_and_each_once() {
    let store = Store::in_memory().unwrap();
    let ana = Device::new(1, 0);
    let record = Place::new(SpaceKind::Forum, "Camp", &[&ana]).record();
    let again = record.clone();
    write(&store, move |txn| txn.create_space(&record)).unwrap();
    let twice = write(&store, move |txn| txn.create_space(&again));
    assert!(matches!(twice, Err(Error::SpaceExists)));
    let many = write(&store, move |txn| {
        for n in 1..=SPACES_MAX {
            let mut place = Place::new(SpaceKind::Forum, "Camp", &[&ana]);
            place.descriptor.salt[..8].copy_from_slice(&(n as u64).to_be_bytes());
            txn.create_space(&place.record())?;
        }
        Ok(())
    });
    assert!(matches!(
        many,
        Err(Error::TooManySpaces {
            found: SPACES_MAX,
            ..
        })
    ));
    assert_eq!(store.read().unwrap().spaces().unwrap().len(), 1);
}

#[test]
fn our_own_bodies_keep_their_bounds() {
    let ana = Device::new(1, 0);
    let forum = Place::new(SpaceKind::Forum, "Camp", &[&ana]);
    let node = forum.node();
    let long = "x".repeat(TEXT_BYTES_MAX + 1);
    let refused = try_post(&node, &forum, &ana, T0, &thread("Title", &long));
    assert!(matches!(
        refused,
        Err(Error::OwnBody(BodyError::Text { .. }))
    ));
    let long = "x".repeat(TEXT_BYTES_MAX);
    let root = post(&node, &forum, &ana, T0, &thread("Title", &long)).id;
    let shown = node.read().unwrap().item(root).unwrap().unwrap();
    assert_eq!(shown.text.len(), TEXT_BYTES_MAX);
    let nowhere = Place::new(SpaceKind::Forum, "Nowhere", &[&ana]);
    let refused = try_post(&node, &nowhere, &ana, T0, &thread("Title", "x"));
    assert!(matches!(refused, Err(Error::UnknownSpace)));
}

#[test]
fn a_device_whose_feed_ended_writes_no_more() {
    let ana = Device::new(1, 0);
    let forum = Place::new(SpaceKind::Forum, "Camp", &[&ana]);
    let (node, twin) = (forum.node(), forum.node());
    let first = post(&node, &forum, &ana, T0, &thread("One", "x"));
    post(&twin, &forum, &ana, T0, &thread("Two", "x"));
    let before = node.read().unwrap().digest(forum.id()).unwrap();
    for run in runs(&twin, forum.id(), ana.id()) {
        let _ = take(&node, forum.id(), ana.id(), &run, T0);
    }
    let snapshot = node.read().unwrap();
    assert_ne!(snapshot.digest(forum.id()).unwrap(), before);
    assert!(snapshot.topic(first.id).unwrap().is_none());
    assert_eq!(snapshot.forks(forum.id()).unwrap()[0].seq, 1);
    let refused = try_post(&node, &forum, &ana, T0, &thread("Three", "x"));
    assert!(matches!(
        refused,
        Err(Error::OwnEntry(Reject::BeyondFork { fork: 1 }))
    ));
    // The identity ends the device: what it names is kept.
    let end = revocation(&ana, forum.id(), ana.id(), 0, first.entries[0].id).encode();
    let (space, device) = (forum.id(), ana.id());
    write(&node, move |txn| {
        Ok(txn.import_revocation(space, device, &end).unwrap())
    })
    .unwrap();
    let refused = try_post(&node, &forum, &ana, T0, &thread("Four", "x"));
    assert!(matches!(
        refused,
        Err(Error::OwnEntry(Reject::BeyondRevocation { last: 0 }))
    ));
}

#[test]
fn refusals_change_nothing() {
    let (ana, ben) = (Device::new(1, 0), Device::new(2, 0));
    let forum = Place::new(SpaceKind::Forum, "Camp", &[&ana, &ben]);
    let (node, other) = (forum.node(), forum.node());
    let root = post(&node, &forum, &ana, T0, &thread("One", "x")).id;
    for n in 0..5 {
        post(&other, &forum, &ben, T0 + n, &reply(root, "words", None));
    }
    let all = runs(&other, forum.id(), ben.id());
    let space = forum.id();
    let digest = || node.read().unwrap().digest(space).unwrap();
    let before = digest();
    let gap = take(&node, space, ben.id(), &all[1], T0).unwrap_err();
    assert_eq!(
        gap,
        Reject::Gap {
            expected: 0,
            found: 1
        }
    );
    let mut bad = all[0].clone();
    let last = bad.len() - 1;
    bad[last] ^= 1;
    let unsigned = take(&node, space, ben.id(), &bad, T0).unwrap_err();
    assert_eq!(unsigned, Reject::BadSignature { seq: 0 });
    let junk = write(&node, move |txn| {
        let device = proto::DeviceId([9; 32]);
        assert!(txn.import_fork(space, device, &[1, 2, 3]).is_err());
        assert!(txn.import_revocation(space, device, &[1, 2, 3]).is_err());
        assert!(txn.fill(space, device, 0, &[1], Millis(T0)).is_err());
        let thread = Body::Thread {
            title: "x",
            text: "x",
        }
        .encode();
        assert!(txn.import_revocation(space, device, &thread).is_err());
        Ok(())
    });
    junk.unwrap();
    let known = ana.id();
    // Somebody else's word about her device, and hers about another, end nothing.
    let foreign = revocation(&ben, space, known, 0, root).encode();
    let other = revocation(&ana, space, ben.id(), 0, root).encode();
    write(&node, move |txn| {
        assert!(txn.import_fork(space, known, &[1, 2, 3]).is_err());
        for (body, reject) in [
            (foreign, Reject::EndOfUnknownFeed),
            (other, Reject::RevocationProof),
            (vec![1, 2, 3], Reject::RevocationProof),
        ] {
            let refused = txn.import_revocation(space, known, &body);
            assert!(matches!(refused, Err(store::ImportError::Reject(found)) if found == reject));
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(digest(), before);
}
