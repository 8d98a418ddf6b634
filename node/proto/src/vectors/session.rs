//! Frames and keyed hashes of a sync session.

use super::{
    Lines, person,
    spaces::{descriptor, frontiers},
};
use crate::{
    admission::Chain,
    beacon::{Beacon, BeaconKey},
    frame::{Control, Data, Hello, Hint, LinkClass, OfferFrame, TailWant, Whereabouts},
    ids::DeviceId,
    merkle::{FANOUT, Node, Prefix},
    session::key::SessionKey,
};

fn reread_control(bytes: &[u8]) -> Vec<u8> {
    Control::decode(bytes).expect("a control frame").encode()
}

fn reread_data(bytes: &[u8]) -> Vec<u8> {
    Data::decode(bytes).expect("a data frame").encode()
}

/// The name of a frame's vectors; the compiler asks for one when a frame is added.
const fn name_of(frame: &Control) -> &'static str {
    match frame {
        Control::Hello(_) => "hello",
        Control::Spaces { .. } => "spaces",
        Control::Digests { .. } => "digests",
        Control::Node {
            node: Node::Bucket(_),
            ..
        } => "node.bucket",
        Control::Node {
            node: Node::Branch(_),
            ..
        } => "node.branch",
        Control::Frontiers { .. } => "frontiers",
        Control::Want { .. } => "want",
        Control::WantTails { .. } => "want-tails",
        Control::WantBodies { .. } => "want-bodies",
        Control::Offers { whereabouts, .. } if whereabouts.relay.is_some() => "offers.relay",
        Control::Offers { whereabouts, .. } if whereabouts.beacon.is_some() => "offers.beacon",
        Control::Offers { .. } => "offers",
        Control::Seen { .. } => "seen",
    }
}

pub(super) fn add(lines: &mut Lines) {
    let beacon = BeaconKey([0x36; 32]).beacon([0x37; 16]).label();
    lines.remark("The beacon of the key 32 x 36 with the nonce 16 x 37, as text.");
    lines.both("beacon", beacon.into_bytes(), |bytes| {
        let label = str::from_utf8(bytes).expect("text");
        let beacon = Beacon::from_label(label).expect("a beacon");
        beacon.label().into_bytes()
    });
    let key = SessionKey::new(&[0x31; 32]);
    let space = descriptor().id();
    let agreed = key.agreed([space].iter());
    let digest = key.digest([(&space, [0x32; 32])].into_iter());
    lines.remark("");
    lines.remark(
        "A session whose exporter is 32 x 31. The forum is the only space, its digest 32 x 32.",
    );
    lines.made("session.agreed", agreed);
    lines.made("session.digest", digest);
    lines.made("session.tag.dialer.1", key.tag(true, 1, space));
    lines.made("session.tag.acceptor.1", key.tag(false, 1, space));
    lines.made("session.tag.dialer.2", key.tag(true, 2, space));
    lines.made("session.gossip.1", key.gossip(1));

    let (ana, ben) = (person(1), person(3));
    let chain = Chain::root()
        .admit(space, &ana.certificate, &ana.device, ben.identity.id())
        .expect("not too deep");
    let [plain, full] = frontiers();
    let device = DeviceId([0x21; 32]);
    let mut tags = vec![[0x33; 16]; 15];
    tags.push(key.tag(true, 1, space));
    tags.sort_unstable();
    lines.remark("Control frames: generation 1, channel 1024, counts 3 and 900. Fifteen tags are padding, 16 x 33;");
    lines.remark("the branch's hashes are 32 x 34.");
    let frames = [
        Control::Hello(Hello {
            version: 1,
            features: 0,
            class: LinkClass::Fast,
            rev: 3,
            seen_rev: 900,
            agreed,
            digest,
        }),
        Control::Spaces {
            generation: 1,
            tags,
        },
        Control::Digests {
            generation: 1,
            digests: vec![[0x32; 32]],
        },
        Control::Node {
            channel: 1024,
            prefix: Prefix::root(),
            node: Node::Bucket(vec![plain]),
        },
        Control::Node {
            channel: 1024,
            prefix: Prefix::of(&DeviceId([0xab; 32]), 3),
            node: Node::Branch(Box::new([[0x34; 32]; FANOUT])),
        },
        Control::Frontiers {
            channel: 1024,
            frontiers: vec![plain, full],
        },
        Control::Want {
            channel: 1024,
            feeds: vec![(device, 300)],
        },
        Control::WantBodies {
            channel: 1024,
            device,
            seqs: vec![7, 256],
        },
        Control::Offers {
            whereabouts: Whereabouts::default(),
            rev: 3,
            offers: vec![OfferFrame {
                descriptor: descriptor().encode(),
                chain: chain.encode(),
            }],
        },
        Control::Offers {
            whereabouts: Whereabouts {
                beacon: Some(BeaconKey([0x36; 32])),
                relay: None,
            },
            rev: 4,
            offers: Vec::new(),
        },
        Control::Offers {
            whereabouts: Whereabouts {
                beacon: None,
                relay: Some("https://relay.example".into()),
            },
            rev: 5,
            offers: Vec::new(),
        },
        Control::Seen { rev: 900 },
        Control::WantTails {
            channel: 1024,
            feeds: vec![
                TailWant {
                    device,
                    genesis: true,
                    from: 1,
                    end: None,
                },
                TailWant {
                    device,
                    genesis: false,
                    from: 300,
                    end: Some(400),
                },
            ],
        },
    ];
    for frame in &frames {
        let name = format!("control.{}", name_of(frame));
        lines.both(&name, frame.encode(), reread_control);
    }
    lines.remark("Data frames of the device 32 x 21; run, proof and body stand for \"run\", \"proof\" and \"body\".");
    let data = [
        (
            "run",
            Data::Run {
                device,
                run: b"run",
            },
        ),
        (
            "fork",
            Data::Fork {
                device,
                proof: b"proof",
            },
        ),
        (
            "body",
            Data::Body {
                device,
                seq: 256,
                body: b"body",
            },
        ),
        (
            "revocation",
            Data::Revocation {
                device,
                body: b"body",
            },
        ),
        (
            "tail",
            Data::Tail {
                device,
                run: b"run",
            },
        ),
    ];
    for (name, frame) in data {
        lines.both(&format!("data.{name}"), frame.encode(), reread_data);
    }
    let hint = Hint {
        tag: key.gossip(1),
        channel: 1024,
        device,
        run: b"run",
    };
    lines.both("gossip", hint.encode(), |bytes| {
        Hint::decode(bytes).expect("a hint").encode()
    });
}
