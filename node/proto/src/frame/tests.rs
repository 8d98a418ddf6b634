use super::*;
use crate::ids::EntryId;
use proptest::prelude::*;

pub(crate) fn every_control_frame() -> Vec<Control> {
    let frontier = Frontier {
        base: 3,
        top: EntryId([4; 32]),
        ..Frontier::empty(DeviceId([1; 32]))
    };
    let prefix = Prefix::of(&DeviceId([0xab; 32]), 3);
    vec![
        Control::Hello(Hello {
            version: 1,
            features: 0,
            class: LinkClass::Fast,
            rev: 3,
            seen_rev: 900,
            agreed: [1; 16],
            digest: [2; 32],
        }),
        Control::Spaces {
            generation: 1,
            tags: vec![[1; TAG_LEN]; 16],
        },
        Control::Digests {
            generation: 1,
            digests: vec![[1; 32]; 3],
        },
        Control::Node {
            channel: 2048,
            prefix: Prefix::root(),
            node: Node::Bucket(vec![frontier]),
        },
        Control::Node {
            channel: 2048,
            prefix,
            node: Node::Branch(Box::new([[7; 32]; FANOUT])),
        },
        Control::Frontiers {
            channel: 1,
            frontiers: vec![frontier, frontier],
        },
        Control::Want {
            channel: 1,
            feeds: vec![(DeviceId([1; 32]), 5)],
        },
        Control::WantBodies {
            channel: 1,
            device: DeviceId([1; 32]),
            seqs: vec![1, 2, 300],
        },
        Control::Offers {
            rev: 4,
            offers: vec![OfferFrame {
                descriptor: vec![1],
                chain: vec![],
            }],
            whereabouts: Whereabouts {
                beacon: Some(BeaconKey([7; 32])),
                relay: None,
            },
        },
        Control::Offers {
            rev: 5,
            offers: Vec::new(),
            whereabouts: Whereabouts::default(),
        },
        Control::Offers {
            rev: 6,
            offers: Vec::new(),
            whereabouts: Whereabouts {
                beacon: Some(BeaconKey([7; 32])),
                relay: Some("https://relay.example".into()),
            },
        },
        Control::Seen { rev: 4 },
        Control::WantTails {
            channel: 1,
            feeds: vec![
                TailWant {
                    device: DeviceId([1; 32]),
                    genesis: true,
                    from: 1,
                    end: None,
                },
                TailWant {
                    device: DeviceId([2; 32]),
                    genesis: false,
                    from: 300,
                    end: Some(301),
                },
            ],
        },
    ]
}

#[test]
fn every_frame_round_trips_and_no_cut_of_it_decodes() {
    for frame in every_control_frame() {
        let bytes = frame.encode();
        assert_eq!(Control::decode(&bytes), Ok(frame));
        for cut in 0..bytes.len() {
            assert!(Control::decode(&bytes[..cut]).is_err());
        }
    }
    for data in [
        Data::Run {
            device: DeviceId([1; 32]),
            run: b"r",
        },
        Data::Fork {
            device: DeviceId([1; 32]),
            proof: b"p",
        },
        Data::Body {
            device: DeviceId([1; 32]),
            seq: 300,
            body: b"b",
        },
        Data::Tail {
            device: DeviceId([1; 32]),
            run: b"r",
        },
        Data::Revocation {
            device: DeviceId([1; 32]),
            body: b"r",
        },
    ] {
        assert_eq!(Data::decode(&data.encode()), Ok(data));
    }
    assert!(Data::decode(&[0x25; 40]).is_err());
}

proptest! {
    #[test]
    fn any_bytes_decode_to_a_frame_with_these_bytes_or_are_refused(bytes: Vec<u8>) {
        if let Ok(frame) = Control::decode(&bytes) {
            prop_assert_eq!(frame.encode(), bytes.clone());
        }
        if let Ok(frame) = Data::decode(&bytes) {
            prop_assert_eq!(frame.encode(), bytes);
        }
    }
}
