use super::*;
use crate::{
    admission::{Certificate, Role},
    beacon::BeaconKey,
    keys::IdentityKey,
};

const EXPORTER: [u8; 32] = [0x41; 32];

struct Person {
    identity: IdentityKey,
    device: DeviceKey,
    endpoint: EndpointKey,
    name: &'static str,
}

fn person(seed: u8, name: &'static str) -> Person {
    Person {
        identity: IdentityKey::from_seed(&[seed; 32]),
        device: DeviceKey::from_seed(&[seed + 64; 32]),
        endpoint: EndpointKey::from_seed(&[seed + 128; 32]),
        name,
    }
}

impl Person {
    fn card(&self) -> Card {
        Card {
            certificate: Certificate::sign(&self.identity, &self.device, 1, Role::Main),
            name: self.name.into(),
            endpoint: self.endpoint.id(),
            addrs: vec!["192.168.1.5:4000".parse().unwrap()],
            relay: None,
        }
    }

    fn own(&self, line: &Line, random: u8) -> Own {
        let random = ([random; 32], [random + 1; 32]);
        Own::new(&self.card(), &self.device, &self.endpoint, line, random)
    }
}

fn ana() -> Person {
    person(1, "Ana")
}

fn ben() -> Person {
    person(2, "Ben")
}

fn line(exporter: u8) -> Line {
    Line {
        exporter: [exporter; 32],
        dialer: EndpointId([5; 32]),
        acceptor: EndpointId([6; 32]),
    }
}

/// One side and what came of it.
struct Side {
    session: Session,
    out: Vec<Vec<u8>>,
    compared: Option<Compared>,
    they_accept: bool,
    declined: bool,
    known: Option<PairSecret>,
    met: Option<Met>,
    they_kept: bool,
}

impl Side {
    fn new(session: Session, steps: Vec<Step>) -> Self {
        let mut side = Self {
            session,
            out: Vec::new(),
            compared: None,
            they_accept: false,
            declined: false,
            known: None,
            met: None,
            they_kept: false,
        };
        side.take(steps);
        side
    }

    fn take(&mut self, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Send(frame) => self.out.push(frame),
                Step::Compare(compared) => self.compared = Some(compared),
                Step::TheyAccept => self.they_accept = true,
                Step::Recall(_) => {
                    let more = self.session.recall(self.known.as_ref(), [0x77; 32]);
                    self.take(more);
                }
                Step::Met(met) => {
                    self.met = Some(*met);
                    let more = self.session.kept(BeaconKey([7; 32]));
                    self.take(more);
                }
                Step::TheyKept(beacon) => {
                    assert_eq!(beacon, BeaconKey([7; 32]));
                    self.they_kept = true;
                }
                Step::Declined => self.declined = true,
            }
        }
    }

    fn handle(&mut self, frame: &[u8]) -> Result<(), Reject> {
        let steps = self.session.handle(frame)?;
        self.take(steps);
        Ok(())
    }

    fn accept(&mut self) {
        let steps = self.session.accept();
        self.take(steps);
    }

    fn words(&self) -> [&'static str; 3] {
        self.compared.as_ref().unwrap().words
    }
}

/// Ana dials Ben.
fn sides(exporter: u8, random: u8) -> (Side, Side) {
    let line = line(exporter);
    let (dialer, steps) = Session::dial(line.clone(), ana().own(&line, random));
    let acceptor = Session::answer(line.clone(), ben().own(&line, random + 2));
    (Side::new(dialer, steps), Side::new(acceptor, Vec::new()))
}

/// Carries frames to and fro until nobody has any.
fn carry(one: &mut Side, other: &mut Side) -> Result<(), Reject> {
    while !(one.out.is_empty() && other.out.is_empty()) {
        for frame in std::mem::take(&mut one.out) {
            other.handle(&frame)?;
        }
        for frame in std::mem::take(&mut other.out) {
            one.handle(&frame)?;
        }
    }
    Ok(())
}

#[test]
fn two_who_accept_become_contacts_with_one_secret() {
    let (mut ana, mut ben) = sides(0x41, 10);
    carry(&mut ana, &mut ben).unwrap();
    assert_eq!(ana.compared.as_ref().unwrap().name, "Ben");
    assert_eq!(ben.compared.as_ref().unwrap().name, "Ana");
    assert_eq!(ana.words(), ben.words());
    ana.accept();
    carry(&mut ana, &mut ben).unwrap();
    assert!(ben.they_accept && !ana.they_accept && ana.met.is_none());
    assert!(!ana.session.is_ours_to_decide() && ben.session.is_ours_to_decide());
    ben.accept();
    carry(&mut ana, &mut ben).unwrap();
    let (at_ana, at_ben) = (ana.met.unwrap(), ben.met.unwrap());
    assert_eq!(at_ana.card, self::ben().card());
    assert_eq!(at_ben.card, self::ana().card());
    assert!(at_ana.secret == at_ben.secret && !at_ana.known && !at_ben.known);
    assert!(ana.they_kept && ben.they_kept);
}

/// Who has them as a contact already, and is known in turn, keeps the secret, and with it the
/// conversation. Where only one of the two remembers, both begin anew.
#[test]
fn a_secret_is_kept_only_where_both_have_it() {
    let old = PairSecret([9; 32]);
    for (at_ana, at_ben, kept) in [
        (Some(old.clone()), Some(old.clone()), true),
        (Some(old.clone()), None, false),
        (None, Some(old.clone()), false),
        (Some(old.clone()), Some(PairSecret([8; 32])), false),
    ] {
        let (mut ana, mut ben) = sides(0x41, 10);
        (ana.known, ben.known) = (at_ana, at_ben);
        carry(&mut ana, &mut ben).unwrap();
        ana.accept();
        ben.accept();
        carry(&mut ana, &mut ben).unwrap();
        let (at_ana, at_ben) = (ana.met.unwrap(), ben.met.unwrap());
        assert!(at_ana.secret == at_ben.secret);
        assert_eq!(at_ana.known, kept);
        assert_eq!(at_ben.known, kept);
        assert_eq!(at_ana.secret == old, kept);
    }
}

#[test]
fn no_card_is_opened_before_both_said_yes() {
    let (mut ana, mut ben) = sides(0x41, 10);
    let (ana_card, ben_card) = (
        self::ana().card().encode(&self::ana().device, &EXPORTER),
        self::ben().card().encode(&self::ben().device, &EXPORTER),
    );
    let mut seen = Vec::new();
    let hear = |seen: &mut Vec<u8>, side: &Side| {
        for frame in &side.out {
            seen.extend_from_slice(frame);
        }
    };
    hear(&mut seen, &ana);
    for frame in std::mem::take(&mut ana.out) {
        ben.handle(&frame).unwrap();
    }
    hear(&mut seen, &ben);
    for frame in std::mem::take(&mut ben.out) {
        ana.handle(&frame).unwrap();
    }
    hear(&mut seen, &ana);
    carry(&mut ana, &mut ben).unwrap();
    ana.accept();
    hear(&mut seen, &ana);
    let shows = |part: &[u8]| seen.windows(part.len()).any(|window| window == part);
    for lasting in [
        &ana_card[..32],
        &self::ana().identity.id().0,
        &self::ana().device.id().0,
        &self::ana().endpoint.id().0,
        &ben_card[..32],
        &self::ben().identity.id().0,
        &self::ben().device.id().0,
        &self::ben().endpoint.id().0,
    ] {
        assert!(!shows(lasting));
    }
    // And who opens theirs too early is refused, and gets nothing for it.
    let early = Frame::Card {
        blind: [13; 32],
        proof: Signature([0; 64]),
        card: ben_card,
    };
    assert_eq!(ana.handle(&early.encode()).unwrap_err(), Reject::Turn);
    assert!(ana.met.is_none());
    assert_eq!(ana.handle(&[19]).unwrap_err(), Reject::Turn, "it is over");
}

#[test]
fn any_changed_byte_is_refused_or_changes_the_words() {
    // The frames of an undisturbed try, by sender.
    let (mut ana, mut ben) = sides(0x41, 10);
    let hello = ana.out.remove(0);
    ben.handle(&hello).unwrap();
    let answer = ben.out.remove(0);
    ana.handle(&answer).unwrap();
    let opening = ana.out.remove(0);
    for (which, frame) in [&hello, &answer, &opening].into_iter().enumerate() {
        for at in 0..frame.len() {
            let mut bad = frame.clone();
            bad[at] ^= 1;
            let (mut ana, mut ben) = sides(0x41, 10);
            let swap =
                |number: usize, frame: Vec<u8>| if number == which { bad.clone() } else { frame };
            let tried = (|| -> Result<(), Reject> {
                ben.handle(&swap(0, ana.out.remove(0)))?;
                ana.handle(&swap(1, ben.out.remove(0)))?;
                ben.handle(&swap(2, ana.out.remove(0)))
            })();
            if tried.is_ok() {
                assert_ne!(ana.words(), ben.words(), "{which} {at}");
            }
        }
    }
    // And of the card.
    let opened = || {
        let (mut ana, mut ben) = sides(0x41, 10);
        carry(&mut ana, &mut ben).unwrap();
        ana.accept();
        carry(&mut ana, &mut ben).unwrap();
        ben.accept();
        for frame in std::mem::take(&mut ben.out) {
            if frame[0] == 19 {
                ana.handle(&frame).unwrap();
            }
        }
        (ana.out.remove(0), ben)
    };
    let (card, _) = opened();
    assert_eq!(card[0], 20);
    for at in 0..card.len() {
        let (_, mut ben) = opened();
        let mut bad = card.clone();
        bad[at] ^= 1;
        assert!(ben.handle(&bad).is_err() && ben.met.is_none(), "{at}");
    }
}

/// Somebody in between has a connection with each, so other keying material, whatever they pass on.
#[test]
fn somebody_in_between_shows_different_words() {
    let (mut ana, mut to_ben) = sides(0x41, 10);
    let (mut to_ana, mut ben) = sides(0x42, 10);
    // In between the same names, nonces and cards are shown that the two would show each other.
    carry(&mut ana, &mut to_ben).unwrap();
    carry(&mut to_ana, &mut ben).unwrap();
    assert_ne!(ana.words(), ben.words());
    // And a nonce can't be chosen after the other's is known: the hello binds it.
    let (_, mut victim) = sides(0x41, 10);
    let line = line(0x41);
    let mallory = person(3, "Ana");
    let (mut session, steps) = Session::dial(line.clone(), mallory.own(&line, 20));
    let Some(Step::Send(hello)) = steps.into_iter().next() else {
        panic!("a hello")
    };
    victim.handle(&hello).unwrap();
    session.handle(&victim.out.remove(0)).ok().unwrap();
    let other = mallory.own(&line, 21);
    let chosen = Frame::Opening {
        nonce: other.nonce,
        sealed: other.sealed(),
    };
    assert_eq!(
        victim.handle(&chosen.encode()).unwrap_err(),
        Reject::Commitment
    );
    assert!(victim.compared.is_none());
}

#[test]
fn an_acceptance_is_not_carried_into_another_session() {
    let (mut ana, mut ben) = sides(0x41, 10);
    carry(&mut ana, &mut ben).unwrap();
    ana.accept();
    ben.accept();
    let yes = ben.out.clone();
    // The same two again, over another connection: what was said doesn't count there.
    let (mut again, mut with) = sides(0x42, 30);
    carry(&mut again, &mut with).unwrap();
    assert_ne!(ana.words(), again.words());
    assert!(again.session.is_ours_to_decide() && !again.they_accept);
    for frame in &yes {
        again.handle(frame).unwrap();
    }
    // Ben's yes is heard, ours is still to be given, and nothing was opened.
    assert!(again.session.is_ours_to_decide() && again.out.is_empty());
    // A card of the first session doesn't hold in the second.
    carry(&mut ana, &mut ben).unwrap();
    let (mut third, mut with) = sides(0x43, 40);
    carry(&mut third, &mut with).unwrap();
    third.accept();
    with.accept();
    let line = line(0x41);
    let old = self::ben().own(&line, 12);
    let replayed = Frame::Card {
        blind: old.blind,
        proof: old.proof,
        card: old.card,
    };
    third.handle(&[19]).unwrap();
    assert_eq!(third.handle(&replayed.encode()).unwrap_err(), Reject::Seal);
}

#[test]
fn what_we_said_ourselves_is_refused_when_it_comes_back() {
    let (mut ana, _) = sides(0x41, 10);
    let hello = ana.out.remove(0);
    assert_eq!(ana.handle(&hello).unwrap_err(), Reject::Turn);
    // Who dials us and shows our own sealed card knows it only from another session.
    let line = line(0x41);
    let ourselves = || self::ana().own(&line, 50);
    let (dialer, steps) = Session::dial(line.clone(), ourselves());
    let mut dialer = Side::new(dialer, steps);
    let mut own = Side::new(Session::answer(line.clone(), ourselves()), Vec::new());
    carry(&mut dialer, &mut own).unwrap();
    dialer.accept();
    own.accept();
    assert_eq!(carry(&mut dialer, &mut own).unwrap_err(), Reject::Oneself);
}

#[test]
fn a_card_with_somebody_else_s_endpoint_or_another_name_is_refused() {
    let line = line(0x41);
    let mut thief = person(3, "Cem");
    for case in 0..2 {
        let mut own = thief.own(&line, 60);
        if case == 0 {
            // The card names Ben's endpoint; the proof is by the thief's own.
            let mut card = thief.card();
            card.endpoint = ben().endpoint.id();
            own.card = card.encode(&thief.device, &line.exporter);
        } else {
            thief.name = "Ben";
            own.card = thief.card().encode(&thief.device, &line.exporter);
        }
        let (dialer, steps) = Session::dial(line.clone(), own);
        let mut dialer = Side::new(dialer, steps);
        let (_, mut victim) = sides(0x41, 10);
        carry(&mut dialer, &mut victim).unwrap();
        dialer.accept();
        victim.accept();
        let refused = carry(&mut dialer, &mut victim).unwrap_err();
        let expected = [Reject::Endpoint, Reject::OtherName];
        assert_eq!(refused, expected[case]);
        assert!(victim.met.is_none());
    }
}

#[test]
fn a_no_ends_it_for_both() {
    let (mut ana, mut ben) = sides(0x41, 10);
    carry(&mut ana, &mut ben).unwrap();
    ana.accept();
    let steps = ben.session.decline();
    ben.take(steps);
    for frame in std::mem::take(&mut ben.out) {
        ana.handle(&frame).unwrap();
    }
    assert!(ana.declined && ana.met.is_none());
    assert!(ben.session.accept().is_empty(), "it is over");
}

#[test]
fn names_that_are_none_are_refused() {
    for name in ["", " Ana", "a\u{202e}b", &"x".repeat(65)] {
        let (_, mut ben) = sides(0x41, 10);
        let hello = Frame::Hello {
            name: name.to_owned(),
            commitment: [1; 32],
        };
        assert!(ben.handle(&hello.encode()).is_err(), "{name:?}");
        assert!(ben.out.is_empty());
    }
}

#[test]
fn frames_have_one_form() {
    let frames = [
        Frame::Hello {
            name: "Ana".into(),
            commitment: [1; 32],
        },
        Frame::Answer {
            name: "Ben".into(),
            nonce: [2; 32],
            sealed: [3; 32],
        },
        Frame::Opening {
            nonce: [4; 32],
            sealed: [5; 32],
        },
        Frame::Accept,
        Frame::Card {
            blind: [6; 32],
            proof: Signature([7; 64]),
            card: vec![8; 9],
        },
        Frame::Known([9; 32]),
        Frame::Kept(BeaconKey([9; 32])),
        Frame::Decline,
    ];
    for (at, frame) in frames.into_iter().enumerate() {
        let bytes = frame.encode();
        assert_eq!(bytes[0], 16 + at as u8);
        assert_eq!(Frame::decode(&bytes), Ok(frame.clone()));
        let longer = [&bytes[..], &[0]].concat();
        if !matches!(frame, Frame::Card { .. }) {
            assert!(Frame::decode(&longer).is_err());
            assert!(Frame::decode(&bytes[..bytes.len() - 1]).is_err());
        }
    }
    for bad in [&[][..], &[15], &[24], &[1]] {
        assert!(Frame::decode(bad).is_err());
    }
}

#[test]
fn an_announcement_is_one_label_and_names_a_host_of_its_own() {
    let announced = |salt| Announced {
        salt: [salt; SALT_BYTES],
        endpoint: EndpointId([7; 32]),
    };
    let (one, other) = (announced(1).label(), announced(2).label());
    assert_eq!(one.len(), 58);
    assert_ne!(one[..20], other[..20]);
    assert_eq!(Announced::from_label(&one), Some(announced(1)));
    assert_eq!(
        Announced::from_label(&one.to_uppercase()),
        Some(announced(1))
    );
    for bad in ["", "a", &one[2..], &format!("{one}aa"), "no base32!"] {
        assert_eq!(Announced::from_label(bad), None, "{bad}");
    }
}
