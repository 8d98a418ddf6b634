//! Radio range: announcements, the handshakes of two channels, and frames over one of them.

use super::Lines;
use crate::{
    beacon::{BeaconKey, MadeWith as _},
    bluetooth::{
        Acceptor, Announcement, ChannelKey, Dialler, Established, Guests, Meant, Port, Tagged,
    },
    card::PairSecret,
    ids::EndpointId,
};

const ANA: EndpointId = EndpointId([0x11; 32]);
const BEN: EndpointId = EndpointId([0x12; 32]);

/// Writes down a handshake; both sides of its channel.
fn shake(lines: &mut Lines, name: &str, meant: Meant) -> (Established, Established) {
    let key = ChannelKey::new(&PairSecret([0x61; 32]));
    let contacts = [(ANA, key)];
    let guests = Guests {
        own: BEN,
        contacts: &contacts,
        nearby: Some(BEN),
    };
    let (acceptor, challenge) = Acceptor::new([0x62; 16]);
    let dialler = Dialler::new(ANA, meant);
    let (answered, answer) = dialler.answer(&challenge, [0x63; 16]).expect("a challenge");
    let welcomed = acceptor.welcome(&answer, guests).expect("an answer");
    lines.made(&format!("bluetooth.{name}.challenge"), &challenge);
    lines.made(&format!("bluetooth.{name}.answer"), &answer);
    lines.made(&format!("bluetooth.{name}.welcome"), &welcomed.reply);
    let dialled = answered.welcome(&welcomed.reply).expect("a welcome");
    (dialled, welcomed.channel)
}

pub(super) fn add(lines: &mut Lines) {
    let port = Port::new(0x81).expect("a port");
    let key = BeaconKey([0x60; 32]);
    let reread = |bytes: &[u8]| {
        let bytes = bytes.try_into().expect("ten bytes");
        Announcement::decode(&bytes).encode().to_vec()
    };
    lines.remark("");
    lines.remark("Over Bluetooth: a device whose beacon key is 32 x 60 announces port 81 under the nonce 4 x 64,");
    lines.remark("and somebody who wants to meet the salt 9 x 65.");
    let tagged = Tagged::new(&key, port, [0x64; 4]);
    assert!(tagged.made_with(&key));
    let device = Announcement::Device(tagged).encode();
    lines.both("bluetooth.device", device, reread);
    let salt = [0x65; 9];
    let nearby = Announcement::Nearby { port, salt }.encode();
    lines.both("bluetooth.nearby", nearby, reread);
    lines.remark("The endpoint 32 x 11 dials 32 x 12: contacts with the secret 32 x 61, and strangers. The challenge is");
    lines.remark("16 x 62, the nonce 16 x 63. Then the first and the second frame each way, of the datagrams \"one\" and \"two\".");
    let key = ChannelKey::new(&PairSecret([0x61; 32]));
    let endpoint = BEN;
    let meant = [
        ("contact", Meant::Contact { endpoint, key }),
        ("anybody", Meant::Anybody),
    ];
    for (name, meant) in meant {
        let (mut dialled, mut accepted) = shake(lines, name, meant);
        for (number, datagram) in [(0, b"one"), (1, b"two")] {
            let out = dialled.sealer.seal(datagram).expect("a frame");
            let back = accepted.sealer.seal(datagram).expect("a frame");
            lines.made(&format!("bluetooth.{name}.out.{number}"), &out);
            lines.made(&format!("bluetooth.{name}.back.{number}"), &back);
        }
    }
}
