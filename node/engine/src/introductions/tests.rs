//! What an introducer, or somebody in their place, may not do.

use proto::{
    EndpointId,
    admission::{Certificate, Role},
    beacon::BeaconKey,
    card::PairSecret,
    keys::{DeviceKey, IdentityKey},
};
use store::{Store, sim::Disk};

use super::{
    heard::{Followed, answered, introduced},
    meeting::{among, is_prepared, secret_with, strangers},
    *,
};

/// Of everybody's beacons.
const KEY: BeaconKey = BeaconKey([7; 32]);
const NOW: Millis = Millis(1_790_000_000_000);

fn identity(seed: u8) -> IdentityKey {
    IdentityKey::from_seed(&[seed; 32])
}

fn who(seed: u8) -> IdentityId {
    identity(seed).id()
}

const ANA: u8 = 1;
const BEN: u8 = 2;
const CEM: u8 = 3;
const EVE: u8 = 4;

fn card(seed: u8) -> (Card, DeviceKey) {
    let device = DeviceKey::from_seed(&[seed + 100; 32]);
    let card = Card {
        certificate: Certificate::sign(&identity(seed), &device, 1, Role::Main),
        name: "Somebody".into(),
        endpoint: EndpointId([seed; 32]),
        addrs: Vec::new(),
        relay: None,
    };
    (card, device)
}

fn keys(seed: u8) -> Keys {
    Keys {
        identity: identity(seed),
        device: DeviceKey::from_seed(&[seed + 100; 32]),
    }
}

/// Ana's node, on which Ben and Eve are contacts.
fn ana() -> Store {
    let store = Store::on(&Disk::new()).unwrap();
    store
        .run(|txn| {
            for seed in [BEN, EVE] {
                let mut contact = records::new_contact("Somebody", NOW);
                contact.state = ContactState::Ready;
                contact.pair_secret = Some(PairSecret([seed; 32]));
                records::put_device(&mut contact, &card(seed).0);
                txn.put_contact(&who(seed), &contact)?;
            }
            Ok(())
        })
        .unwrap();
    store
}

fn row(by: u8, other: u8) -> Introduction {
    Introduction {
        number: None,
        by: who(by),
        one: who(ANA),
        other: who(other),
        other_name: "Cem".into(),
        message: String::new(),
        at: NOW,
        one_says: Said::Nothing,
        other_says: Said::Nothing,
        card: Vec::new(),
        beacon: None,
        done: false,
    }
}

fn takes(store: &Store, id: u8, row: &Introduction) -> bool {
    let id = IntroductionId([id; 16]);
    let taken = store.run(|txn| introduced(txn, id, row.clone(), &mut Followed::default()));
    taken.unwrap()
}

#[test]
fn a_lying_introducer_is_refused() {
    let store = ana();
    assert!(!takes(&store, 1, &row(BEN, ANA)), "ourselves");
    assert!(!takes(&store, 1, &row(BEN, BEN)), "themselves");
    assert!(
        !takes(&store, 1, &row(BEN, EVE)),
        "somebody who is a contact"
    );
    assert!(takes(&store, 1, &row(BEN, CEM)));
    assert!(!takes(&store, 1, &row(BEN, 9)), "the same number");
    assert!(!takes(&store, 2, &row(BEN, CEM)), "the same person");
    // Another contact may introduce the same person, too.
    assert!(takes(&store, 3, &row(EVE, CEM)));
    for number in 1..INTRODUCTIONS_PER_CONTACT_MAX {
        let id = 10 + u8::try_from(number).unwrap();
        assert!(takes(&store, id, &row(BEN, id)), "{number}");
    }
    assert!(!takes(&store, 200, &row(BEN, 200)), "too many");
    // What nobody answered makes room in the end.
    let mut later = row(BEN, 200);
    later.at = NOW.plus(INTRODUCTION_EXPIRY_MS + 1);
    assert!(takes(&store, 200, &later));
}

/// Ben passes an answer on to Ana, as if it were Cem's.
fn passes_on(store: &Store, from: u8, id: u8, card: Option<Vec<u8>>) -> bool {
    let id = IntroductionId([id; 16]);
    store
        .run(|txn| {
            let yes = card.as_ref().map(|card| Introduced { card, beacon: KEY });
            let mut followed = Followed::default();
            answered(txn, &keys(ANA), who(from), (id, yes), NOW, &mut followed)
        })
        .unwrap()
}

/// A card of somebody for an introduction by Ben to Ana.
fn shown(seed: u8, number: u8, other: u8) -> Vec<u8> {
    let (card, device) = card(seed);
    let id = IntroductionId([number; 16]);
    card.encode(&device, &id.binding(who(BEN), who(ANA), who(other), &KEY))
}

#[test]
fn an_introduction_s_answers_count_once_and_for_it_alone() {
    let store = ana();
    assert!(takes(&store, 1, &row(BEN, CEM)));
    let good = shown(CEM, 1, CEM);
    assert!(
        !passes_on(&store, BEN, 2, Some(good.clone())),
        "of no introduction"
    );
    assert!(
        !passes_on(&store, EVE, 1, Some(good.clone())),
        "from another"
    );
    assert!(
        !passes_on(&store, BEN, 1, Some(shown(EVE, 1, CEM))),
        "somebody else's"
    );
    assert!(
        !passes_on(&store, BEN, 1, Some(shown(CEM, 2, CEM))),
        "of another introduction"
    );
    let mut forged = good.clone();
    forged[210] ^= 1;
    assert!(!passes_on(&store, BEN, 1, Some(forged)), "a forged card");
    let (mut stolen, device) = card(CEM);
    stolen.endpoint = EndpointId([EVE; 32]);
    let binding = IntroductionId([1; 16]).binding(who(BEN), who(ANA), who(CEM), &KEY);
    let stolen = stolen.encode(&device, &binding);
    assert!(
        !passes_on(&store, BEN, 1, Some(stolen)),
        "a contact's endpoint"
    );
    let id = IntroductionId([1; 16]);
    let kept = store.read().unwrap().introduction(&id).unwrap().unwrap();
    assert_eq!(kept, row(BEN, CEM), "nothing of that left a trace");
    assert!(passes_on(&store, BEN, 1, Some(good.clone())));
    assert!(!passes_on(&store, BEN, 1, None), "twice");
    // Theirs alone makes nobody a contact: we haven't said yes.
    let read = store.read().unwrap();
    assert!(read.contact(&who(CEM)).unwrap().is_none());
    drop(read);
    store
        .run(|txn| {
            let mut row = txn.introduction(&id)?.unwrap();
            row.one_says = Said::Yes;
            txn.put_introduction(&id, &row)?;
            prepare(txn, id, &row, NOW)
        })
        .unwrap();
    let contact = store.read().unwrap().contact(&who(CEM)).unwrap().unwrap();
    assert_eq!(contact.state, ContactState::Pending);
    assert_eq!(contact.trust, records::kept_trust(Trust::Introduced));
    assert!(contact.pair_secret.is_none(), "that comes when they meet");
}

/// Both said yes; the other stands among the contacts until they met, or the time is over.
#[test]
fn who_was_only_introduced_goes_with_the_introduction() {
    let store = ana();
    let mut said_yes = row(BEN, CEM);
    said_yes.one_says = Said::Yes;
    assert!(takes(&store, 1, &said_yes));
    assert!(passes_on(&store, BEN, 1, Some(shown(CEM, 1, CEM))));
    let read = store.read().unwrap();
    let prepared = read.contact(&who(CEM)).unwrap().unwrap();
    assert!(is_prepared(&prepared));
    assert!(!records::is_accepted(&prepared), "a link still asks");
    assert!(strangers(&read, who(ANA), NOW).unwrap().is_empty());
    let later = NOW.plus(INTRODUCTION_EXPIRY_MS + 1);
    assert_eq!(strangers(&read, who(ANA), later).unwrap(), [who(CEM)]);
    drop(read);
    // The same where the introducer is removed.
    store.run(|txn| txn.remove_contact(&who(BEN))).unwrap();
    let read = store.read().unwrap();
    assert_eq!(strangers(&read, who(ANA), NOW).unwrap(), [who(CEM)]);
}

/// A card can name anybody's endpoint: it is theirs once they were met there.
#[test]
fn an_introduced_stranger_can_t_keep_somebody_s_endpoint() {
    let store = ana();
    let mut said_yes = row(BEN, CEM);
    said_yes.one_says = Said::Yes;
    assert!(takes(&store, 1, &said_yes));
    assert!(passes_on(&store, BEN, 1, Some(shown(CEM, 1, CEM))));
    let squatted = card(CEM).0;
    let owner = IdentityId([77; 32]);
    store
        .run(|txn| {
            assert_eq!(txn.contact_at(squatted.endpoint)?, Some(who(CEM)));
            let mut contact = records::new_contact("Vic", NOW);
            contact.state = ContactState::Ready;
            records::put_device(&mut contact, &squatted);
            txn.put_contact(&owner, &contact)?;
            let again = txn.contact(&who(CEM))?.unwrap();
            txn.put_contact(&who(CEM), &again)?;
            assert_eq!(txn.contact_at(squatted.endpoint)?, Some(owner));
            Ok(())
        })
        .unwrap();
}

/// Whatever is repeated, and by whomever two are introduced, what they wrote stays theirs.
#[test]
fn a_secret_that_is_in_use_stays() {
    let (id, row) = (IntroductionId([1; 16]), row(BEN, CEM));
    let (first, second) = ([1; 32], [2; 32]);
    let fresh = secret_with(id, &first, &row, None);
    assert!(fresh == id.pair_secret(&first, who(ANA), who(CEM)));
    let mut contact = records::new_contact("Cem", NOW);
    contact.pair_secret = Some(PairSecret([9; 32]));
    let pending = secret_with(id, &first, &row, Some(&contact));
    assert!(pending == fresh, "no contact yet");
    contact.state = ContactState::Ready;
    contact.pair_secret = Some(fresh.clone());
    assert!(secret_with(id, &second, &row, Some(&contact)) == fresh);
}

/// Who has the same number and device, but means others or another's introduction, isn't answered.
#[test]
fn an_introduction_is_found_by_number_people_and_introducer() {
    let (id, exporter) = (IntroductionId([1; 16]), [1; 32]);
    let (bens, eves) = (IntroductionId([1; 16]), IntroductionId([2; 16]));
    let mut by_eve = row(EVE, CEM);
    by_eve.number = Some(id);
    let rows = [(bens, row(BEN, CEM)), (eves, by_eve)];
    let asked = |by, speaker, listener| {
        let people = id.people(&exporter, who(by), who(speaker), who(listener));
        among(&rows, who(ANA), id, &exporter, &people)
    };
    assert_eq!(asked(BEN, CEM, ANA), Some(bens));
    assert_eq!(asked(EVE, CEM, ANA), Some(eves));
    assert_eq!(asked(CEM, CEM, ANA), None);
    assert_eq!(asked(BEN, EVE, ANA), None);
    assert_eq!(asked(BEN, ANA, CEM), None);
    let people = id.people(&[2; 32], who(BEN), who(CEM), who(ANA));
    assert_eq!(among(&rows, who(ANA), id, &exporter, &people), None);
}

/// Eve heard of the number of Ben's introduction and uses it first: his came to nothing.
#[test]
fn introducers_with_one_number_don_t_touch_each_others() {
    let store = ana();
    let id = IntroductionId([1; 16]);
    assert!(takes(&store, 1, &row(EVE, 9)));
    assert!(takes(&store, 1, &row(BEN, CEM)));
    assert!(!takes(&store, 1, &row(BEN, CEM)), "his own twice");
    assert!(!takes(&store, 1, &row(EVE, 10)), "hers twice");
    assert!(passes_on(&store, BEN, 1, Some(shown(CEM, 1, CEM))));
    let read = store.read().unwrap();
    let (key, kept) = find(&read, who(BEN), id).unwrap().unwrap();
    assert_eq!((kept.other, kept.other_says), (who(CEM), Said::Yes));
    assert!(key != id && number(key, &kept) == id);
    assert!(card_of(key, &kept).is_some());
    let (_, eves) = find(&read, who(EVE), id).unwrap().unwrap();
    assert_eq!((eves.other, eves.other_says), (who(9), Said::Nothing));
}

/// Ben puts the key of his own beacons beside Cem's card, and would be called in Cem's place.
#[test]
fn an_introducer_can_t_put_another_beacon_beside_a_card() {
    let store = ana();
    assert!(takes(&store, 1, &row(BEN, CEM)));
    let (card, device) = card(CEM);
    let id = IntroductionId([1; 16]);
    let of_another = id.binding(who(BEN), who(ANA), who(CEM), &BeaconKey([8; 32]));
    let signed_for_another = card.encode(&device, &of_another);
    assert!(!passes_on(&store, BEN, 1, Some(signed_for_another)));
    assert!(passes_on(&store, BEN, 1, Some(shown(CEM, 1, CEM))));
}

fn said(store: &Store, by: u8, one: Said, other: Said) {
    store
        .run(|txn| {
            let (key, mut row) = find(txn, who(by), IntroductionId([1; 16]))?.unwrap();
            (row.one_says, row.other_says) = (one, other);
            txn.put_introduction(&key, &row)
        })
        .unwrap();
}

#[test]
fn whoever_said_not_now_can_be_asked_again() {
    for (one, other) in [(Said::No, Said::Nothing), (Said::Yes, Said::No)] {
        let store = ana();
        assert!(takes(&store, 1, &row(BEN, CEM)));
        assert!(!takes(&store, 2, &row(BEN, CEM)), "it waits");
        said(&store, BEN, one, other);
        assert!(takes(&store, 2, &row(BEN, CEM)));
        // So often in two weeks and no more.
        let count = u8::try_from(INTRODUCTIONS_PER_CONTACT_MAX).unwrap();
        for id in 3..=count {
            store
                .run(|txn| {
                    let key = IntroductionId([id - 1; 16]);
                    let mut row = txn.introduction(&key)?.unwrap();
                    row.one_says = Said::No;
                    txn.put_introduction(&key, &row)
                })
                .unwrap();
            assert!(takes(&store, id, &row(BEN, CEM)), "{id}");
        }
        assert!(!takes(&store, 100, &row(BEN, 100)));
    }
}

/// Two introduce the same two; one of them brings them together, and is the one who is named.
#[test]
fn who_became_a_contact_is_asked_about_no_more() {
    let store = ana();
    store
        .run(|txn| txn.put_own_device(&own_device(ANA)))
        .unwrap();
    assert!(takes(&store, 1, &row(BEN, CEM)));
    assert!(takes(&store, 2, &row(EVE, CEM)));
    assert!(takes(&store, 3, &row(EVE, 9)));
    let link = |seed| {
        let befriended = |txn: &mut Txn<'_>| {
            let (card, secret) = (card(seed).0, PairSecret([seed; 32]));
            adding::befriend_under(txn, &keys(ANA), &card, |_| secret, NOW)
        };
        store.run(befriended).unwrap()
    };
    assert!(link(CEM).is_some());
    let waiting = || -> Vec<IdentityId> {
        let rows = store.read().unwrap().introductions().unwrap();
        rows.into_iter().map(|(_, row)| row.other).collect()
    };
    assert_eq!(waiting(), [who(9)]);
    let contact = store.read().unwrap().contact(&who(CEM)).unwrap().unwrap();
    assert_eq!(contact.trust, records::kept_trust(Trust::Unverified));
}

fn own_device(seed: u8) -> store::OwnDevice {
    store::OwnDevice {
        certificate: card(seed).0.certificate,
        name: "Somebody".into(),
        last_serial: 1,
    }
}

/// The newest comes first over a slow link: then the other's yes is there before what it answers.
#[test]
fn an_answer_that_arrives_before_its_introduction_counts() {
    let store = ana();
    let space = conversation_id(&PairSecret([BEN; 32]).0);
    let id = IntroductionId([1; 16]);
    let heard = |seq| Heard {
        space,
        device: keys(BEN).device.id(),
        seq,
        author: who(BEN),
    };
    let said = [
        Body::Introduction {
            id,
            identity: who(CEM),
            name: "Cem",
            message: None,
        },
        Body::Message {
            text: "Cem is the one with the boat",
            parent: None,
            salt: None,
        },
        Body::Introduced {
            id,
            yes: Some(Introduced {
                card: &shown(CEM, 1, CEM),
                beacon: KEY,
            }),
        },
    ];
    // Ben's feed, written as by his own device.
    store
        .run(|txn| {
            let between = spaces::conversation(space, [who(ANA), who(BEN)], NOW);
            txn.create_space(&between)?;
            txn.put_own_device(&own_device(BEN))?;
            for body in &said {
                spaces::append(txn, &keys(BEN), space, NOW, body)?;
            }
            txn.put_own_device(&own_device(ANA))
        })
        .unwrap();
    let hears = |seq| {
        let taken = store.run(|txn| follow(txn, &keys(ANA), &[heard(seq)], NOW));
        taken.unwrap();
        find(&store.read().unwrap(), who(BEN), id).unwrap()
    };
    assert_eq!(hears(3), None, "an answer to nothing");
    let (_, kept) = hears(1).unwrap();
    assert_eq!((kept.other, kept.other_says), (who(CEM), Said::Yes));
    assert_eq!(kept.beacon, Some(KEY));
}

/// One who is introduced again and again, each time with another device.
#[test]
fn a_contact_has_so_many_devices_and_the_latest() {
    let mut contact = records::new_contact("Cem", NOW);
    let device = |serial: u32| {
        let device = DeviceKey::from_seed(&[u8::try_from(serial).unwrap(); 32]);
        let mut card = card(CEM).0;
        card.certificate = Certificate::sign(&identity(CEM), &device, serial, Role::Main);
        card.endpoint = EndpointId(device.id().0);
        card
    };
    for serial in 2..50 {
        records::put_device(&mut contact, &device(serial));
    }
    assert_eq!(contact.devices.len(), 16);
    for serial in 34..50 {
        let latest = device(serial).certificate.device;
        assert!(contact.devices.contains_key(&latest), "{serial}");
    }
    let before = contact.devices.clone();
    records::put_device(&mut contact, &device(1));
    assert_eq!(contact.devices, before, "an older one");
    records::put_device(&mut contact, &device(40));
    assert_eq!(contact.devices, before, "one of them again");
}
