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
    meeting::{is_prepared, secret_with, strangers},
    *,
};

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
    let taken = store.run(|txn| introduced(txn, id, row, &mut Followed::default()));
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
            let yes = card.as_ref().map(|card| Introduced {
                card,
                beacon: BeaconKey([7; 32]),
            });
            let mut followed = Followed::default();
            answered(txn, &keys(ANA), who(from), (id, yes), NOW, &mut followed)
        })
        .unwrap()
}

/// A card of somebody for an introduction by Ben to Ana.
fn shown(seed: u8, number: u8, other: u8) -> Vec<u8> {
    let (card, device) = card(seed);
    let id = IntroductionId([number; 16]);
    card.encode(&device, &id.binding(who(BEN), who(ANA), who(other)))
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
    let binding = IntroductionId([1; 16]).binding(who(BEN), who(ANA), who(CEM));
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
    let people = |exporter| id.people(exporter, who(CEM), who(ANA));
    let fresh = secret_with(id, &first, &people(&first), &row, None).unwrap();
    assert!(fresh == id.pair_secret(&first, who(ANA), who(CEM)));
    let mut contact = records::new_contact("Cem", NOW);
    contact.pair_secret = Some(PairSecret([9; 32]));
    let pending = secret_with(id, &first, &people(&first), &row, Some(&contact)).unwrap();
    assert!(pending == fresh, "no contact yet");
    contact.state = ContactState::Ready;
    contact.pair_secret = Some(fresh.clone());
    let again = secret_with(id, &second, &people(&second), &row, Some(&contact));
    assert!(again == Some(fresh));
    // Who has the same number and device, but means others, isn't answered.
    let others = id.people(&first, who(EVE), who(ANA));
    assert!(secret_with(id, &first, &others, &row, None).is_none());
}
