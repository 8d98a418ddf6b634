//! What entries say, and the encodings under it: one meaning has one form.
//!
//! The first byte says what the rest is: bytes as they come, or decisions of which a good body is
//! made, signed with keys that are known here, so that what stands behind a signature is reached.

use minicbor::{Decoder, Encoder, data::Type};
use proto::{
    DeviceId, EntryId, IdentityId, Millis, SpaceId,
    admission::{Certificate, Chain},
    beacon::BeaconKey,
    body::{
        Answer, Body, BodyError, Genesis, Introduced, Lifetime, Quotable, Reblog, Revocation,
        Setting,
        rule::{Action, HandOver, MemberTag, Remains, Removal, Rule},
    },
    card::CARD_BYTES_MAX,
    cbor,
    entry::Header,
    fork::ForkProof,
    introduction::IntroductionId,
    keys::{Domain, Signature},
    limits::{BODY_DEPTH_MAX, TEXT_BYTES_MAX},
    space::{Descriptor, Membership, SpaceContext, SpaceKind},
    text,
    verify::LastGood,
};

use crate::{script::Script, seeds};

/// Reads the rest as what the first byte says.
///
/// # Panics
/// Where two ways of reading disagree.
pub fn run(input: &[u8]) {
    let Some((what, bytes)) = input.split_first() else {
        return;
    };
    match what % 8 {
        0 => raw_body(bytes),
        1 => {
            if let Ok(header) = Header::decode(bytes) {
                assert_eq!(header.encode()[..], *bytes);
            }
        }
        2 => {
            if let Ok(descriptor) = Descriptor::decode(bytes) {
                assert_eq!(descriptor.encode(), bytes);
            }
        }
        3 => {
            if let Ok(certificate) = Certificate::decode(bytes) {
                assert_eq!(certificate.encode(), bytes);
            }
        }
        4 => raw_chain(bytes),
        5 => texts(bytes),
        6 => {
            if let Ok(proof) = ForkProof::decode(bytes) {
                assert_eq!(proof.encode(), bytes);
                let _ = proof.holds(seeds::space(), seeds::device(1).id());
            }
        }
        _ => made(&mut Script::new(bytes)),
    }
}

fn raw_body(bytes: &[u8]) {
    let canonical = cbor::check(bytes).is_ok();
    assert_eq!(canonical, is_canonical(bytes), "two readers disagree");
    if let Ok(body) = Body::decode(bytes) {
        assert!(canonical);
        let again = body.encode();
        assert_eq!(Body::decode(&again).as_ref(), Ok(&body));
        let known_keys_only = !matches!(body, Body::Unknown(_)) && count(&again) == count(bytes);
        assert!(!known_keys_only || again == bytes, "{body:?}");
    }
}

/// Entries of the map at the start.
fn count(bytes: &[u8]) -> Option<u64> {
    Decoder::new(bytes).map().ok().flatten()
}

/// The same question by another library: reading item by item and writing again changes nothing,
/// and no map has its keys out of order.
fn is_canonical(bytes: &[u8]) -> bool {
    let mut decoder = Decoder::new(bytes);
    let mut encoder = Encoder::new(Vec::with_capacity(bytes.len()));
    copy(&mut decoder, &mut encoder, 0).is_some()
        && decoder.position() == bytes.len()
        && encoder.into_writer() == bytes
}

fn copy(from: &mut Decoder<'_>, to: &mut Encoder<Vec<u8>>, depth: usize) -> Option<()> {
    if depth > BODY_DEPTH_MAX {
        return None;
    }
    match from.datatype().ok()? {
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => {
            to.u64(from.u64().ok()?).ok()?;
        }
        Type::I8 | Type::I16 | Type::I32 | Type::I64 | Type::Int => {
            to.int(from.int().ok()?).ok()?;
        }
        Type::Bytes => {
            to.bytes(from.bytes().ok()?).ok()?;
        }
        Type::String => {
            to.str(from.str().ok()?).ok()?;
        }
        Type::Bool => {
            to.bool(from.bool().ok()?).ok()?;
        }
        Type::Null => {
            from.null().ok()?;
            to.null().ok()?;
        }
        Type::Array => {
            let count = from.array().ok()??;
            to.array(count).ok()?;
            for _ in 0..count {
                copy(from, to, depth + 1)?;
            }
        }
        Type::Map => {
            let count = from.map().ok()??;
            to.map(count).ok()?;
            let mut before: Option<Vec<u8>> = None;
            for _ in 0..count {
                let begin = to.writer().len();
                copy(from, to, depth + 1)?;
                let key = to.writer()[begin..].to_vec();
                if before.is_some_and(|before| before >= key) {
                    return None;
                }
                before = Some(key);
                copy(from, to, depth + 1)?;
            }
        }
        _ => return None,
    }
    Some(())
}

fn raw_chain(bytes: &[u8]) {
    if let Ok(chain) = Chain::decode(bytes) {
        assert_eq!(chain.encode(), bytes);
        let forum = SpaceContext {
            id: seeds::space(),
            members: Membership::Admitted {
                kind: SpaceKind::Forum,
                creator: seeds::identity(1).id(),
            },
        };
        let _ = chain.check(&forum, seeds::identity(2).id());
    }
}

/// What a line promises to whoever prints it.
fn texts(bytes: &[u8]) {
    let Ok(line) = std::str::from_utf8(bytes) else {
        return;
    };
    if text::is_line(line, 200) {
        assert!(!line.is_empty() && line.len() <= 800 && !line.contains(['\n', '\r', '\0']));
        assert!(line.lines().count() == 1 && line.trim() == line);
        assert!(text::is_text(line, 200) && text::is_body(line, 800));
    }
    if text::is_text(line, 100) {
        assert!(line.chars().count() <= 100 && !line.contains(['\r', '\0', '\u{1b}']));
    }
    if text::is_body(line, TEXT_BYTES_MAX) {
        assert!(line.len() <= TEXT_BYTES_MAX && !line.contains('\0'));
    }
}

/// A body of decisions: read back it says the same, or a text doesn't fit.
fn made(script: &mut Script<'_>) {
    let kind = script.byte();
    let author = script.byte() % 4;
    let created = Millis(script.long());
    let words: Vec<String> = (0..4)
        .map(|_| String::from_utf8_lossy(script.blob()).repeat(1 + usize::from(script.byte() % 3)))
        .collect();
    let tags: Vec<&str> = (0..script.below(20)).map(|_| words[3].as_str()).collect();
    let quotable = Quotable {
        title: &words[0],
        text: &words[1],
        tags: tags.clone(),
        created,
    };
    let device = seeds::device(author);
    let target = EntryId([script.byte(); 32]);
    let parent = script.flag().then_some(EntryId([9; 32]));
    let answer = Answer {
        root: target,
        text: &words[1],
        parent,
    };
    let quote = if script.flag() {
        quotable.sign(&device)
    } else {
        Signature([7; 64])
    };
    let body = match if matches!(kind, 51 | 64) {
        kind
    } else {
        kind % 13
    } {
        0 => genesis(script, author, &words[0]),
        1 => Body::Profile { name: &words[0] },
        2 => Body::Thread {
            title: &words[0],
            text: &words[1],
        },
        3 => Body::Reply(answer),
        4 => Body::Article {
            title: &words[0],
            text: &words[1],
            tags,
            quote,
        },
        5 => Body::Comment(answer),
        6 => Body::Reblog(Box::new(Reblog {
            note: &words[2],
            original: quotable,
            quote,
            certificate: seeds::certificate(author),
            name: &words[3],
        })),
        7 => Body::Edit {
            target,
            title: script.flag().then_some(words[0].as_str()),
            text: script.flag().then_some(words[1].as_str()),
            tags: script.flag().then_some(tags),
            quote: script.flag().then_some(quote),
            salt: script.flag().then_some([7; 8]),
        },
        8 => Body::Retract { target },
        9 => Body::Reaction {
            target,
            emoji: &words[0],
            on: script.flag(),
            salt: [script.byte(); 8],
        },
        10 => Body::Message {
            text: &words[1],
            parent,
            salt: script.flag().then_some([7; 8]),
        },
        11 => Body::Revocation(Box::new(Revocation::sign(
            &seeds::identity(author),
            SpaceId([script.byte(); 32]),
            DeviceId([script.byte(); 32]),
            script.long(),
            target,
        ))),
        // Later kinds stand behind a number that the kept examples have rarely.
        51 => Body::Receipt {
            device: DeviceId([script.byte(); 32]),
            seq: script.long(),
        },
        64 => Body::Setting(setting(script, target)),
        _ if kind / 13 == 9 => Body::Rule(Box::new(rule(script, author, target))),
        _ if kind / 13 % 3 == 1 => Body::Introduction {
            id: IntroductionId([script.byte(); 16]),
            identity: IdentityId([script.byte(); 32]),
            name: &words[0],
            message: script.flag().then_some(words[1].as_str()),
        },
        _ if kind / 13 % 3 == 2 => Body::Introduced {
            id: IntroductionId([script.byte(); 16]),
            yes: script.flag().then_some(Introduced {
                card: words[2].as_bytes(),
                beacon: BeaconKey([script.byte(); 32]),
            }),
        },
        _ => Body::Unknown(script.long()),
    };
    reads_back(&body, quote != Signature([7; 64]));
}

fn setting(script: &mut Script<'_>, over: EntryId) -> Setting {
    let lifetime = Lifetime::new(script.long() % 40_000_000);
    let receipts = script.flag();
    Setting {
        lifetime,
        receipts: (lifetime.is_none() || script.flag()).then_some(receipts),
        over: lifetime.and(script.flag().then_some(over)),
    }
}

/// A rule of a circle, of decisions.
fn rule(script: &mut Script<'_>, author: u8, target: EntryId) -> Rule {
    let under = script.flag().then_some(target);
    let thread = script.flag().then_some(target);
    let identity = IdentityId([script.byte(); 32]);
    let device = DeviceId([script.byte(); 32]);
    let place = script.long();
    let action = match script.below(6) {
        0 => {
            let (seq, id) = (script.long(), target);
            let other = seeds::device(author.wrapping_add(1));
            let by = (&seeds::certificate(author), place);
            let last = LastGood { seq, id };
            let signature = other.sign(Domain::Entry, &id.0);
            let feeds = vec![(other.id(), Remains { last, signature })];
            let key = seeds::device(author);
            let removal = Removal::sign(&key, seeds::space(), by, under, identity, feeds);
            assert!(removal.holds(seeds::space()) && !removal.holds(SpaceId([0xee; 32])));
            return Rule::removal(removal);
        }
        1 => Action::Close(thread),
        2 => Action::Reopen(thread),
        3 => Action::HandOver(Box::new(HandOver {
            to: identity,
            named: (0..script.below(4))
                .map(|n| MemberTag([n as u8; 16]))
                .collect(),
            others: vec![(device, place)],
        })),
        4 => Action::Leave,
        _ => Action::Return,
    };
    Rule { under, action }
}

fn genesis<'a>(script: &mut Script<'_>, author: u8, name: &'a str) -> Body<'a> {
    let mut chain = Chain::root();
    for seed in 0..script.byte() % 4 {
        let invitee = seeds::identity(seed + 1).id();
        let (inviter, key) = (seeds::certificate(seed), seeds::device(seed));
        chain = chain
            .admit(seeds::space(), &inviter, &key, invitee)
            .unwrap_or_default();
    }
    Body::Genesis(Box::new(Genesis {
        certificate: seeds::certificate(author),
        name,
        chain,
    }))
}

fn reads_back(body: &Body<'_>, signed: bool) {
    let bytes = body.encode();
    assert_eq!(cbor::check(&bytes), Ok(()));
    match Body::decode(&bytes) {
        Ok(read) => assert_eq!(read, *body),
        // A known kind's number without its fields.
        Err(BodyError::Field { .. }) => {
            let tags = match body {
                Body::Article { tags, .. } => Some(tags),
                Body::Edit { tags, .. } => tags.as_ref(),
                Body::Reblog(reblog) => Some(&reblog.original.tags),
                Body::Introduced { yes, .. } => {
                    let card = yes.as_ref().map(|yes| yes.card.len());
                    assert!(card.is_some_and(|bytes| bytes > CARD_BYTES_MAX));
                    return;
                }
                Body::Unknown(kind) => {
                    assert!(*kind <= 23);
                    return;
                }
                _ => None,
            };
            assert!(tags.is_some_and(|tags| tags.len() > 16), "{body:?}");
        }
        Err(BodyError::Text { .. } | BodyError::TooLong(_)) => {}
        Err(BodyError::Quote) => assert!(!signed && matches!(body, Body::Reblog(_))),
        Err(error) => panic!("{body:?}: {error}"),
    }
    let author = IdentityId([0; 32]);
    if let Body::Genesis(genesis) = body {
        assert_ne!(genesis.certificate.identity, author);
        assert!(!body.is_retractable());
    }
}

/// One of each.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let named = [
        ("body.", 0),
        ("header.", 1),
        ("space.descriptor", 2),
        ("ana.certificate", 3),
        ("admission.", 4),
        ("fork-proof", 6),
    ];
    let vectors = named
        .into_iter()
        .flat_map(|(name, what)| seeds::vectors(name, what));
    // A key twice, keys out of order, a length that could be shorter, nesting.
    let other_forms: [&[u8]; 5] = [
        b"\xa2\x00\x01\x00\x02",
        b"\xa2\x01\x01\x00\x02",
        b"\xa1\x18\x00\x01",
        b"\xa2\x00\x0d\x01\x78\x01x",
        b"\xa1\x00\x81\x81\x81\x81\x81\x81\x81\x80",
    ];
    let other_forms = other_forms.map(|bytes| [&[0], bytes].concat());
    let lines = ["Ana", " Ana", "a\u{202e}b", "a\u{200d}b", "a\n\tb"]
        .map(|line| [&[5], line.as_bytes()].concat());
    let made = (0..13_u8).chain([25, 38, 51, 64]).map(|kind| {
        let mut seed = vec![7, kind, 1];
        seed.extend_from_slice(&1_790_000_000_000_u64.to_be_bytes());
        for words in ["Title", "Text *a*", "Note", "tag"] {
            seed.push(words.len() as u8);
            seed.extend_from_slice(words.as_bytes());
            seed.push(0);
        }
        seed.extend_from_slice(&[2, 5, 1, 1, 1, 1, 1, 1]);
        seed
    });
    vectors
        .chain(other_forms)
        .chain(lines)
        .chain(made)
        .collect()
}
