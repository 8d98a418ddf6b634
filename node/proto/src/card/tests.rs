use super::*;
use crate::{admission::Role, keys::IdentityKey};

fn invite() -> Invite {
    Invite {
        endpoint: EndpointId([1; 32]),
        secret: InviteSecret([2; 16]),
        expires: Millis(1_800_000_000_000),
        many: false,
        local_only: true,
        addrs: vec![
            "192.168.1.5:4000".parse().unwrap(),
            "[fe80::1]:4000".parse().unwrap(),
        ],
        relay: None,
    }
}

#[test]
fn a_link_survives_case_and_line_breaks_and_nothing_else() {
    let link = invite().link();
    assert_eq!(Invite::parse(&link), Ok(invite()));
    let (head, tail) = link.split_at(60);
    assert_eq!(
        Invite::parse(&format!(" {}\n {} ", head.to_uppercase(), tail)),
        Ok(invite())
    );
    assert_eq!(
        Invite::parse("https://example.org"),
        Err(InviteError::Scheme)
    );
    assert_eq!(Invite::parse(SCHEME), Err(InviteError::Damaged));
    assert_eq!(Invite::parse(&"x".repeat(5000)), Err(InviteError::TooLong));
    for at in SCHEME.len()..link.len() {
        let mut typed: Vec<u8> = link.bytes().collect();
        typed[at] = if typed[at] == b'a' { b'b' } else { b'a' };
        assert!(
            Invite::parse(std::str::from_utf8(&typed).unwrap()).is_err(),
            "{at}"
        );
        assert!(Invite::parse(&link[..at]).is_err(), "{at}");
    }
}

#[test]
fn a_link_of_a_newer_version_is_told_from_a_damaged_one() {
    for (at, value) in [(0, VERSION + 1), (1, 4), (1, 0x80)] {
        let link = invite().link();
        let mut bytes = from_base32(&link[SCHEME.len()..]).unwrap();
        bytes[at] = value;
        let content = bytes.len() - 4;
        let check = checksum(&bytes[..content]);
        bytes[content..].copy_from_slice(&check);
        let link = format!("{SCHEME}{}", to_base32(&bytes));
        assert_eq!(Invite::parse(&link), Err(InviteError::Newer));
    }
}

#[test]
fn a_card_holds_on_its_connection_only() {
    let identity = IdentityKey::from_seed(&[1; 32]);
    let device = DeviceKey::from_seed(&[2; 32]);
    let card = Card {
        certificate: Certificate::sign(&identity, &device, 1, Role::Main),
        name: "Ana".into(),
        endpoint: EndpointId([3; 32]),
        addrs: invite().addrs,
        relay: Some("https://relay.example".into()),
    };
    let bytes = card.encode(&device, &[7; 32]);
    assert_eq!(Card::decode(&bytes, &[7; 32]), Ok(card.clone()));
    assert_eq!(Card::decode(&bytes, &[8; 32]), Err(CardError::Signature));
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        assert!(Card::decode(&bad, &[7; 32]).is_err(), "{at}");
    }
    let other = DeviceKey::from_seed(&[9; 32]);
    assert_eq!(
        Card::decode(&card.encode(&other, &[7; 32]), &[7; 32]),
        Err(CardError::Signature)
    );
}

#[test]
fn both_sides_make_the_same_secret_words_and_topic() {
    let (ana, ben) = (IdentityId([1; 32]), IdentityId([2; 32]));
    let secret = InviteSecret([5; 16]);
    let one = PairSecret::new(&[6; 32], &secret, ana, ben);
    assert_eq!(one, PairSecret::new(&[6; 32], &secret, ben, ana));
    assert_ne!(one, PairSecret::new(&[7; 32], &secret, ben, ana));
    assert_ne!(
        one,
        PairSecret::new(&[6; 32], &InviteSecret([4; 16]), ben, ana)
    );
    assert_eq!(one.words(ana, ben), one.words(ben, ana));
    assert_eq!(
        one.topic(EndpointId([1; 32]), EndpointId([2; 32])),
        one.topic(EndpointId([2; 32]), EndpointId([1; 32]))
    );
    assert_ne!(secret.proof(&[6; 32], true), secret.proof(&[6; 32], false));
    assert!(!format!("{one:?} {secret:?}").contains('5'));
}

#[test]
fn messages_round_trip_and_cuts_are_refused() {
    let join = Join {
        tag: [1; 16],
        proof: [2; 32],
        card: vec![3; 40],
    };
    assert_eq!(Join::decode(&join.encode()), Ok(join.clone()));
    assert!(Join::decode(&join.encode()[..40]).is_err());
    let mut answers = vec![
        JoinAnswer::Welcome {
            proof: [1; 32],
            card: vec![2],
            kept: None,
        },
        JoinAnswer::Welcome {
            proof: [1; 32],
            card: vec![2],
            kept: Some(PairSecret([4; 32])),
        },
        JoinAnswer::Wait,
    ];
    answers.extend(Refusal::ALL.map(JoinAnswer::Refused));
    for answer in answers {
        assert_eq!(JoinAnswer::decode(&answer.encode()), Ok(answer));
    }
    for bad in [&[][..], &[1], &[2, 1], &[3, 0], &[4], &[4, 99], &[5], &[6]] {
        assert!(JoinAnswer::decode(bad).is_err(), "{bad:?}");
    }
}
