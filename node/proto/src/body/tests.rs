use super::*;
use crate::{
    admission::Role,
    limits::{TAGS_MAX, TEXT_BYTES_MAX, TITLE_CHARS_MAX},
};

fn signer() -> (IdentityKey, DeviceKey, Certificate) {
    let identity = IdentityKey::from_seed(&[1; 32]);
    let device = DeviceKey::from_seed(&[2; 32]);
    let certificate = Certificate::sign(&identity, &device, 1, Role::Main);
    (identity, device, certificate)
}

fn every_kind() -> Vec<Vec<u8>> {
    let (identity, device, certificate) = signer();
    let original = Quotable {
        title: "On tents",
        text: "They leak.",
        tags: vec!["camp", "rain"],
        created: Millis(7),
    };
    let quote = original.sign(&device);
    let id = EntryId([3; 32]);
    [
        Body::Genesis(Box::new(Genesis {
            certificate: certificate.clone(),
            name: "Ana",
            chain: Chain::root(),
        })),
        Body::Profile { name: "Ana B." },
        Body::Thread {
            title: "Hello",
            text: "**World**",
        },
        Body::Reply(Answer {
            root: id,
            text: "Hi",
            parent: None,
        }),
        Body::Reply(Answer {
            root: id,
            text: "Hi",
            parent: Some(id),
        }),
        Body::Article {
            title: "On tents",
            text: "They leak.",
            tags: vec!["camp", "rain"],
            quote,
        },
        Body::Comment(Answer {
            root: id,
            text: "So true",
            parent: None,
        }),
        Body::Reblog(Box::new(Reblog {
            note: "",
            original,
            quote,
            certificate,
            name: "Ana",
        })),
        Body::Edit {
            target: id,
            title: None,
            text: Some("They don't."),
            tags: None,
            quote: None,
            salt: Some([8; 8]),
        },
        Body::Edit {
            target: id,
            title: Some("T"),
            text: None,
            tags: Some(vec![]),
            quote: Some(quote),
            salt: None,
        },
        Body::Retract { target: id },
        Body::Reaction {
            target: id,
            emoji: "👍",
            on: true,
            salt: [9; 8],
        },
        Body::Message {
            text: "psst",
            parent: None,
            salt: None,
        },
        Body::Message {
            text: "psst",
            parent: Some(id),
            salt: Some([8; 8]),
        },
        Body::Receipt {
            device: device.id(),
            seq: 300,
        },
        Body::Setting(Setting {
            lifetime: Lifetime::new(604_800),
            receipts: Some(true),
            over: Some(id),
        }),
        Body::Setting(Setting {
            receipts: Some(false),
            ..Setting::default()
        }),
        Body::Revocation(Box::new(Revocation::sign(
            &identity,
            SpaceId([5; 32]),
            device.id(),
            4,
            id,
        ))),
        Body::Unknown(200),
    ]
    .iter()
    .map(Body::encode)
    .collect()
}

#[test]
fn every_kind_round_trips() {
    for bytes in every_kind() {
        let body = Body::decode(&bytes).unwrap();
        assert_eq!(body.encode(), bytes, "{body:?}");
    }
}

#[test]
fn what_decodes_after_a_flipped_bit_is_a_different_body_in_its_only_encoding() {
    for bytes in every_kind() {
        let kind = Body::decode(&bytes).unwrap().kind();
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            if let Ok(body) = Body::decode(&bad)
                && body.kind() == kind
                && !matches!(body, Body::Unknown(_))
            {
                let again = body.encode();
                // A key that became unknown is kept in the bytes but not in the value.
                assert!(again == bad || again.len() < bad.len(), "{body:?}");
                assert_ne!(again, bytes);
            }
        }
    }
}

#[test]
fn unknown_keys_are_kept_and_unknown_kinds_accepted() {
    let mut map = MapWriter::new();
    map.uint(0, kind::MESSAGE).text(1, "x").uint(23, 5);
    assert_eq!(
        Body::decode(&map.finish()),
        Ok(Body::Message {
            text: "x",
            parent: None,
            salt: None
        })
    );
    let mut map = MapWriter::new();
    map.uint(0, 99).text(1, "from the future");
    assert_eq!(Body::decode(&map.finish()), Ok(Body::Unknown(99)));
}

#[test]
fn each_bound_has_its_refusal() {
    let long_title = "x".repeat(TITLE_CHARS_MAX + 1);
    let long_text = "x".repeat(TEXT_BYTES_MAX + 1);
    let id = EntryId([3; 32]);
    let (_, device, certificate) = signer();
    let refusals = [
        (
            Body::Thread {
                title: &long_title,
                text: "x",
            }
            .encode(),
            BodyError::Text { kind: 3, key: 1 },
        ),
        (
            Body::Thread {
                title: "x\ny",
                text: "x",
            }
            .encode(),
            BodyError::Text { kind: 3, key: 1 },
        ),
        (
            Body::Thread {
                title: "x",
                text: &long_text,
            }
            .encode(),
            BodyError::Text { kind: 3, key: 2 },
        ),
        (
            Body::Message {
                text: " ",
                parent: None,
                salt: None,
            }
            .encode(),
            BodyError::Text { kind: 13, key: 1 },
        ),
        (
            Body::Reaction {
                target: id,
                emoji: "",
                on: true,
                salt: [0; 8],
            }
            .encode(),
            BodyError::Text { kind: 10, key: 2 },
        ),
        (
            MapWriter::new().uint(0, kind::RETRACT).finish(),
            BodyError::Field { kind: 9, key: 1 },
        ),
        (
            MapWriter::new()
                .uint(0, kind::RETRACT)
                .bytes(1, &[0; 31])
                .finish(),
            BodyError::Field { kind: 9, key: 1 },
        ),
        (
            MapWriter::new().uint(0, kind::SETTING).uint(1, 59).finish(),
            BodyError::Field { kind: 23, key: 1 },
        ),
        (
            Body::Setting(Setting::default()).encode(),
            BodyError::Field { kind: 23, key: 1 },
        ),
        (
            Body::Setting(Setting {
                lifetime: None,
                receipts: Some(true),
                over: Some(id),
            })
            .encode(),
            BodyError::Field { kind: 23, key: 3 },
        ),
        (MapWriter::new().uint(1, 1).finish(), BodyError::Shape),
        (vec![0x80], BodyError::Shape),
        (
            vec![0xa1, 0x00, 0x18, 0x01],
            BodyError::Encoding(cbor::CborError::NotShortest),
        ),
        (
            vec![0; BODY_BYTES_MAX + 1],
            BodyError::TooLong(BODY_BYTES_MAX + 1),
        ),
        (
            Body::Article {
                title: "x",
                text: "x",
                tags: vec!["t"; TAGS_MAX + 1],
                quote: Signature([0; 64]),
            }
            .encode(),
            BodyError::Field { kind: 5, key: 3 },
        ),
        (
            Body::Reblog(Box::new(Reblog {
                note: "",
                original: Quotable {
                    title: "x",
                    text: "y",
                    tags: vec![],
                    created: Millis(1),
                },
                quote: Quotable {
                    title: "x",
                    text: "z",
                    tags: vec![],
                    created: Millis(1),
                }
                .sign(&device),
                certificate,
                name: "Ana",
            }))
            .encode(),
            BodyError::Quote,
        ),
    ];
    let mut seen = std::collections::BTreeSet::new();
    for (bytes, refusal) in refusals {
        seen.insert(name_of(&refusal));
        assert_eq!(Body::decode(&bytes), Err(refusal));
    }
    let genesis = MapWriter::new()
        .uint(0, kind::GENESIS)
        .bytes(1, b"")
        .finish();
    seen.insert(name_of(&Body::decode(&genesis).unwrap_err()));
    let names = [
        "admission",
        "encoding",
        "field",
        "quote",
        "shape",
        "text",
        "too long",
    ];
    assert!(seen.iter().eq(names.iter()), "{seen:?}");
}

#[test]
fn a_revocation_holds_in_its_space_only() {
    let (identity, device, _) = signer();
    let revocation = Revocation::sign(
        &identity,
        SpaceId([5; 32]),
        device.id(),
        4,
        EntryId([3; 32]),
    );
    assert!(revocation.holds(SpaceId([5; 32])));
    assert!(!revocation.holds(SpaceId([6; 32])));
    assert!(
        !Revocation {
            seq: 5,
            ..revocation
        }
        .holds(SpaceId([5; 32]))
    );
}

/// An identity certified somebody else's device, and so passed for the author of what that one had
/// signed: a certificate needs the device's signature too.
#[test]
fn nobody_passes_for_the_author_of_somebody_elses_article() {
    let (_, device, certificate) = signer();
    let mallory = IdentityKey::from_seed(&[66; 32]);
    let own = DeviceKey::from_seed(&[67; 32]);
    let stolen = {
        let forged = Certificate::sign(&mallory, &own, 1, Role::Main).encode();
        let mut bytes = forged;
        bytes[32..64].copy_from_slice(&device.id().0);
        let signature = mallory.sign(Domain::Device, &bytes[..69]);
        bytes[69..133].copy_from_slice(&signature.0);
        bytes
    };
    assert_eq!(
        Certificate::decode(&stolen),
        Err(AdmissionError::Consent),
        "the identity's signature holds, the device's doesn't"
    );
    let original = Quotable {
        title: "On tents",
        text: "They leak.",
        tags: vec![],
        created: Millis(7),
    };
    let reblog = Body::Reblog(Box::new(Reblog {
        note: "",
        quote: original.sign(&device),
        original,
        certificate,
        name: "Mallory",
    }));
    let mut bytes = reblog.encode();
    let at = bytes.len() - 1 - "Mallory".len() - 1 - Certificate::LEN;
    bytes[at..at + Certificate::LEN].copy_from_slice(&stolen);
    assert_eq!(
        Body::decode(&bytes),
        Err(BodyError::Admission(AdmissionError::Consent))
    );
}

/// The compiler asks for a name when a reason is added, and the test for a case.
const fn name_of(error: &BodyError) -> &'static str {
    match error {
        BodyError::TooLong(_) => "too long",
        BodyError::Encoding(_) => "encoding",
        BodyError::Shape => "shape",
        BodyError::Field { .. } => "field",
        BodyError::Text { .. } => "text",
        BodyError::Admission(_) => "admission",
        BodyError::Quote => "quote",
    }
}
