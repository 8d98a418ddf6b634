use proptest::prelude::*;

use super::*;
use crate::{
    Millis,
    beacon::{Recognised, Recogniser},
};

const ANA: EndpointId = EndpointId([1; 32]);
const BEN: EndpointId = EndpointId([2; 32]);
const CEM: EndpointId = EndpointId([3; 32]);

fn key(seed: u8) -> ChannelKey {
    ChannelKey::new(&PairSecret([seed; 32]))
}

fn port() -> Port {
    Port::new(0x81).unwrap()
}

fn contact(endpoint: EndpointId, seed: u8) -> Meant {
    let key = key(seed);
    Meant::Contact { endpoint, key }
}

/// Ana dials Ben, who knows these.
fn dial(
    meant: Meant,
    contacts: &[(EndpointId, ChannelKey)],
    nearby: Option<EndpointId>,
) -> Result<(Established, Welcomed), Reject> {
    let (acceptor, challenge) = Acceptor::new([7; 16]);
    let (answered, answer) = Dialler::new(ANA, meant).answer(&challenge, [8; 16])?;
    let own = BEN;
    let guests = Guests {
        own,
        contacts,
        nearby,
    };
    let welcomed = acceptor.welcome(&answer, guests)?;
    Ok((answered.welcome(&welcomed.reply)?, welcomed))
}

#[test]
fn two_contacts_come_together_and_their_frames_open() {
    let known = [(CEM, key(5)), (ANA, key(4))];
    let (mut ana, welcomed) = dial(contact(BEN, 4), &known, None).unwrap();
    let mut ben = welcomed.channel;
    assert_eq!((ana.endpoint, ben.endpoint), (BEN, ANA));
    assert!(!welcomed.nearby);
    for size in [1, 17, 1_200, DATAGRAM_BYTES_MAX] {
        let datagram: Vec<u8> = (0..size).map(|n| n as u8).collect();
        let mut there = ana.sealer.seal(&datagram).unwrap();
        assert!(there.len() <= FRAME_BYTES_MAX);
        assert!(
            size < 16
                || !there
                    .windows(16)
                    .any(|part| datagram.windows(16).any(|d| d == part))
        );
        assert_eq!(ben.opener.open(&mut there).unwrap(), datagram);
        let mut back = ben.sealer.seal(&datagram).unwrap();
        assert_eq!(ana.opener.open(&mut back).unwrap(), datagram);
    }
    assert_eq!(ana.sealer.seal(&[]), None);
    assert_eq!(ana.sealer.seal(&[0; DATAGRAM_BYTES_MAX + 1]), None);
}

#[test]
fn who_is_no_contact_gets_no_word_after_the_challenge() {
    let known = [(ANA, key(4)), (CEM, key(5))];
    // Of the pair of another contact, under another's endpoint, meant for another device.
    for meant in [contact(BEN, 5), contact(BEN, 9), contact(CEM, 4)] {
        assert_eq!(dial(meant, &known, None).unwrap_err(), Reject::Stranger);
    }
    assert_eq!(
        dial(contact(BEN, 4), &[], None).unwrap_err(),
        Reject::Stranger
    );
    assert_eq!(
        dial(Meant::Anybody, &known, None).unwrap_err(),
        Reject::Closed
    );
}

/// Who repeats an announcement is dialled, and has nothing to answer with: not the dialler's own
/// proof, and none of an earlier handshake.
#[test]
fn who_cannot_prove_who_they_are_gets_no_datagram() {
    let (_, challenge) = Acceptor::new([7; 16]);
    let begin = |nonce| Dialler::new(ANA, contact(BEN, 4)).answer(&challenge, nonce);
    let (answered, answer) = begin([8; 16]).unwrap();
    let mut echo = vec![WELCOME_CONTACT];
    echo.extend_from_slice(&answer[17..]);
    assert_eq!(answered.welcome(&echo).unwrap_err(), Reject::Stranger);

    let (_, earlier) = dial(contact(BEN, 4), &[(ANA, key(4))], None).unwrap();
    let (answered, _) = begin([9; 16]).unwrap();
    let replayed = answered.welcome(&earlier.reply);
    assert_eq!(replayed.unwrap_err(), Reject::Stranger);
}

#[test]
fn two_who_want_to_meet_tell_their_temporary_endpoints() {
    let (mut ana, welcomed) = dial(Meant::Anybody, &[], Some(CEM)).unwrap();
    assert!(welcomed.nearby);
    assert_eq!((ana.endpoint, welcomed.channel.endpoint), (CEM, ANA));
    let mut frame = ana.sealer.seal(b"hello").unwrap();
    let mut ben = welcomed.channel;
    assert_eq!(ben.opener.open(&mut frame).unwrap(), b"hello");
}

#[test]
fn a_frame_opens_once_in_its_place_and_unchanged() {
    let (mut ana, welcomed) = dial(contact(BEN, 4), &[(ANA, key(4))], None).unwrap();
    let mut ben = welcomed.channel;
    let first = ana.sealer.seal(b"one").unwrap();
    let second = ana.sealer.seal(b"two").unwrap();
    assert_eq!(ben.opener.open(&mut second.clone()), Err(Reject::Garbled));
    assert_eq!(ben.opener.open(&mut first.clone()).unwrap(), b"one");
    assert_eq!(ben.opener.open(&mut first.clone()), Err(Reject::Garbled));
    // Reflected.
    assert_eq!(ana.opener.open(&mut second.clone()), Err(Reject::Garbled));
    for at in 0..second.len() {
        let mut bent = second.clone();
        bent[at] ^= 1;
        assert_eq!(ben.opener.open(&mut bent), Err(Reject::Garbled), "{at}");
    }
    for length in 0..second.len() {
        let mut cut = second[..length].to_vec();
        assert_eq!(ben.opener.open(&mut cut), Err(Reject::Garbled), "{length}");
    }
    assert_eq!(ben.opener.open(&mut second.clone()).unwrap(), b"two");
}

#[test]
fn contacts_recognise_an_announcement_and_nobody_else_does() {
    let ours = BeaconKey([1; 32]);
    let tagged = Tagged::new(&ours, port(), [9; 4]);
    assert!(tagged.made_with(&ours) && !tagged.made_with(&BeaconKey([2; 32])));
    // The port belongs to it: who repeats it leads nobody to another one.
    let other = Tagged {
        port: Port::new(0x82).unwrap(),
        ..tagged
    };
    assert!(!other.made_with(&ours));
    assert_ne!(tagged, Tagged::new(&ours, port(), [8; 4]));
    let mut recogniser = Recogniser::default();
    recogniser.set_keys(vec![(1, BeaconKey([5; 32])), (2, ours)]);
    let found = recogniser.recognise(&tagged, Millis(1));
    assert_eq!(found, Recognised::Contact(2));
}

#[test]
fn ports_below_the_dynamic_ones_are_none() {
    assert!((0..0x80).all(|port| Port::new(port).is_none()));
    assert!((0x80..=0xff).all(|port| Port::new(port).unwrap().number() == port));
}

proptest! {
    #[test]
    fn any_ten_bytes_are_an_announcement(bytes: [u8; ANNOUNCED_BYTES]) {
        prop_assert_eq!(Announcement::decode(&bytes).encode(), bytes);
    }

    #[test]
    fn no_bytes_get_through_a_handshake(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let known = [(ANA, key(4))];
        let guests = Guests { own: BEN, contacts: &known, nearby: None };
        prop_assert!(Acceptor::new([7; 16]).0.welcome(&bytes, guests).is_err());
        let _ = Dialler::new(ANA, contact(BEN, 4)).answer(&bytes, [8; 16]);
        let (_, challenge) = Acceptor::new([7; 16]);
        let (answered, _) = Dialler::new(ANA, contact(BEN, 4)).answer(&challenge, [8; 16]).unwrap();
        prop_assert!(answered.welcome(&bytes).is_err());
    }
}
