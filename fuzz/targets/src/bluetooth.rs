//! Radio range: an announcement, both sides of a channel's handshake, and its frames.
//!
//! The first byte says what the others are, the second how long the first of two frames is.

use proto::{
    EndpointId,
    bluetooth::{
        Acceptor, Announcement, ChannelKey, DATAGRAM_BYTES_MAX, Dialler, FRAME_BYTES_MAX, Guests,
        Meant,
    },
    card::PairSecret,
};

use crate::seeds;

const ANA: EndpointId = EndpointId([0x11; 32]);
const BEN: EndpointId = EndpointId([0x12; 32]);

fn key() -> ChannelKey {
    ChannelKey::new(&PairSecret([0x61; 32]))
}

fn meant() -> Meant {
    let (endpoint, key) = (BEN, key());
    Meant::Contact { endpoint, key }
}

/// Takes what a radio heard or a channel brought.
///
/// # Panics
/// Where bytes without the pair's secret get through as a contact's.
pub fn run(input: &[u8]) {
    let Some((what, bytes)) = input.split_first() else {
        return;
    };
    match what % 4 {
        0 => {
            if let Ok(bytes) = bytes.try_into() {
                assert_eq!(Announcement::decode(bytes).encode(), *bytes);
            }
        }
        1 => accept(bytes),
        2 => dial(bytes),
        _ => carry(bytes),
    }
}

/// As the accepting side. The answer of the vectors is a contact's; no other is.
fn accept(bytes: &[u8]) {
    let contacts = [(ANA, key())];
    let guests = Guests {
        own: BEN,
        contacts: &contacts,
        nearby: Some(BEN),
    };
    let (acceptor, challenge) = Acceptor::new([0x62; 16]);
    let (_, answer) = Dialler::new(ANA, meant())
        .answer(&challenge, [0x63; 16])
        .unwrap();
    if let Ok(welcomed) = acceptor.welcome(bytes, guests) {
        assert!(welcomed.nearby || bytes == answer, "a stranger got in");
    }
}

/// As the dialling side: a challenge, then a welcome.
fn dial(bytes: &[u8]) {
    let (length, bytes) = bytes.split_first().unwrap_or((&0, &[]));
    let (challenge, welcome) = bytes
        .split_at_checked(usize::from(*length))
        .unwrap_or((bytes, &[]));
    for meant in [meant(), Meant::Anybody] {
        let known = matches!(meant, Meant::Contact { .. });
        let Ok((answered, _)) = Dialler::new(ANA, meant).answer(challenge, [0x63; 16]) else {
            assert!(challenge.len() != 17 || challenge[0] != 1);
            return;
        };
        if let Ok(channel) = answered.welcome(welcome) {
            assert!(!known || (channel.endpoint == BEN && welcome.len() == 17));
        }
    }
}

/// Over a channel: what we seal opens at the other side, and nothing else does.
fn carry(bytes: &[u8]) {
    let contacts = [(ANA, key())];
    let guests = Guests {
        own: BEN,
        contacts: &contacts,
        nearby: None,
    };
    let (acceptor, challenge) = Acceptor::new([0x62; 16]);
    let dialler = Dialler::new(ANA, meant());
    let (answered, answer) = dialler.answer(&challenge, [0x63; 16]).unwrap();
    let mut theirs = acceptor.welcome(&answer, guests).unwrap();
    let mut ours = answered.welcome(&theirs.reply).unwrap();
    let mut forged = bytes.to_vec();
    if let Ok(datagram) = theirs.channel.opener.open(&mut forged) {
        assert_eq!(ours.sealer.seal(datagram).as_deref(), Some(bytes));
        return;
    }
    match ours.sealer.seal(bytes) {
        Some(mut frame) => {
            assert!(frame.len() <= FRAME_BYTES_MAX);
            assert_eq!(theirs.channel.opener.open(&mut frame).unwrap(), bytes);
        }
        None => assert!(bytes.is_empty() || bytes.len() > DATAGRAM_BYTES_MAX),
    }
}

/// The protocol's vectors.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    all.extend(seeds::vectors("bluetooth.device", 0));
    all.extend(seeds::vectors("bluetooth.nearby", 0));
    for name in ["contact", "anybody"] {
        let one = |what: &str| seeds::vectors(&format!("bluetooth.{name}.{what}"), 1).next();
        all.extend(one("answer"));
        if let (Some(challenge), Some(welcome)) = (one("challenge"), one("welcome")) {
            let length = (challenge.len() - 1) as u8;
            all.push([&[2, length], &challenge[1..], &welcome[1..]].concat());
        }
        all.extend(seeds::vectors(&format!("bluetooth.{name}.out"), 3));
    }
    all
}
