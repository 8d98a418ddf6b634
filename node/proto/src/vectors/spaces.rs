//! Keys, spaces, entries, runs, forks, frontiers and trees.

use super::{Lines, Person, person};
use crate::{
    admission::{Certificate, Chain},
    beacon::BeaconKey,
    body::{
        Answer, Body, Genesis, Introduced, Lifetime, Quotable, Reblog, Revocation, Setting, kind,
        rule::{Action, HandOver, MemberTag, Remains, Removal, Rule},
    },
    cbor::MapWriter,
    entry::{Head, Header, NO_BACKLINK},
    fork::{Branch, ForkProof},
    frontier::{Frontier, Holes, Tail},
    ids::{DeviceId, EntryId, SpaceId},
    introduction::IntroductionId,
    keys::{Domain, Signature},
    merkle::{self, Prefix},
    run::{BodyPart, Item, Run},
    space::{Descriptor, Membership, SpaceContext, SpaceKind, conversation_id},
    time::Millis,
    verify::{FeedFacts, LastGood, Outcome, verify_fork, verify_run},
    wire::Reader,
};

/// The time of the first entry; the next ones follow a second apart.
const TIME: u64 = 1_790_000_000_000;

pub(super) fn descriptor() -> Descriptor {
    Descriptor {
        kind: SpaceKind::Forum,
        name: "Camp".into(),
        description: "Bikes and tents".into(),
        creator: person(1).identity.id(),
        onward: true,
        salt: [0x0a; 32],
    }
}

fn quotable(created: Millis) -> Quotable<'static> {
    Quotable {
        title: "On tents",
        text: "They *leak*.",
        tags: vec!["camp", "rain"],
        created,
    }
}

/// A feed in the forum: headers, bodies and every signature.
struct Feed {
    space: SpaceId,
    entries: Vec<(Header, Vec<u8>, Signature)>,
}

impl Feed {
    fn push(&mut self, author: &Person, body: &Body<'_>) {
        let body = body.encode();
        let seq = self.entries.len() as u64;
        let header = Header {
            space: self.space,
            device: author.device.id(),
            seq,
            backlink: self.entries.last().map_or(NO_BACKLINK, |(h, ..)| h.id()),
            created: Millis(TIME + seq * 1_000),
            body_len: body.len() as u32,
            body_hash: *blake3::hash(&body).as_bytes(),
        };
        let signature = author.device.sign(Domain::Entry, &header.id().0);
        self.entries.push((header, body, signature));
    }

    fn run(&self) -> Run<'_> {
        let mut run = Run::new(0, NO_BACKLINK);
        for (header, body, _) in &self.entries {
            run.items.push(Item {
                created: header.created,
                body: BodyPart::Present(body),
            });
        }
        let last = self.entries.len() - 1;
        run.signatures.push((0, self.entries[0].2));
        run.signatures.push((last as u32, self.entries[last].2));
        run
    }
}

fn reread_body(bytes: &[u8]) -> Vec<u8> {
    Body::decode(bytes).expect("a body").encode()
}

pub(super) fn reread_run(bytes: &[u8]) -> Vec<u8> {
    Run::decode(bytes).expect("a run").encode()
}

fn reread_frontier(bytes: &[u8]) -> Vec<u8> {
    let mut reader = Reader::new(bytes);
    let frontier = Frontier::read(&mut reader).expect("a frontier");
    reader.end().expect("no more");
    let mut out = Vec::new();
    frontier.put(&mut out);
    out
}

pub(super) fn add(lines: &mut Lines) {
    let (ana, ben) = (person(1), person(3));
    lines.remark("");
    lines.remark("Keys. Ana's identity grows from 32 x 01, her device's key from 32 x 02; Ben's from 03 and 04.");
    lines.remark("Endpoints are 32 x 11 (Ana) and 32 x 12 (Ben).");
    for (name, person) in [("ana", &ana), ("ben", &ben)] {
        lines.made(&format!("{name}.identity"), person.identity.id().0);
        lines.made(&format!("{name}.device"), person.device.id().0);
        lines.both(
            &format!("{name}.certificate"),
            person.certificate.encode(),
            |bytes| Certificate::decode(bytes).expect("a certificate").encode(),
        );
    }
    add_space(lines, &ana, &ben);
    let bodies = add_bodies(lines, &ana);
    add_entries(lines, &ana, &bodies);
    add_frontiers(lines);
}

fn add_space(lines: &mut Lines, ana: &Person, ben: &Person) {
    lines.remark("");
    lines.remark("Spaces. The forum's salt is 32 x 0a; the conversation's pair secret is 32 x 0b.");
    lines.both("space.descriptor", descriptor().encode(), |bytes| {
        Descriptor::decode(bytes).expect("a descriptor").encode()
    });
    lines.made("space.id", descriptor().id().0);
    lines.made("conversation.id", conversation_id(&[0x0b; 32]).0);
    lines.remark("Ana lets Ben in, and Ben lets 32 x 0c in.");
    let space = descriptor().id();
    let to_ben = Chain::root()
        .admit(space, &ana.certificate, &ana.device, ben.identity.id())
        .expect("not too deep");
    let onward = to_ben
        .admit(
            space,
            &ben.certificate,
            &ben.device,
            crate::IdentityId([0x0c; 32]),
        )
        .expect("not too deep");
    for (name, chain) in [("admission.one", to_ben), ("admission.two", onward)] {
        lines.both(name, chain.encode(), |bytes| {
            Chain::decode(bytes).expect("a chain").encode()
        });
    }
}

/// The name of a body's vectors; the compiler asks for one when a kind is added.
const fn name_of(body: &Body<'_>) -> &'static str {
    match body {
        Body::Genesis(_) => "genesis",
        Body::Profile { .. } => "profile",
        Body::Thread { .. } => "thread",
        Body::Reply(Answer { parent: None, .. }) => "reply",
        Body::Reply(_) => "reply.parent",
        Body::Article { .. } => "article",
        Body::Comment(_) => "comment",
        Body::Reblog(_) => "reblog",
        Body::Edit { salt: Some(_), .. } => "edit.salt",
        Body::Edit { quote: None, .. } => "edit",
        Body::Edit { .. } => "edit.article",
        Body::Retract { .. } => "retract",
        Body::Reaction { .. } => "reaction",
        Body::Message { salt: None, .. } => "message",
        Body::Message { .. } => "message.salt",
        Body::Revocation(_) => "revocation",
        Body::Introduction { .. } => "introduction",
        Body::Introduced { yes: None, .. } => "introduced.no",
        Body::Introduced { .. } => "introduced.yes",
        Body::Receipt { .. } => "receipt",
        Body::Setting(Setting { over: None, .. }) => "setting",
        Body::Setting(_) => "setting.over",
        Body::Rule(rule) => match rule.action {
            Action::Remove(_) => "rule.remove",
            Action::Close(None) => "rule.close",
            Action::Close(Some(_)) => "rule.close.thread",
            Action::Reopen(_) => "rule.reopen",
            Action::HandOver(_) => "rule.hand-over",
            Action::Leave => "rule.leave",
            Action::Return => "rule.return",
        },
        Body::Unknown(_) => "unknown-kind",
    }
}

/// The entry that others point at.
const TARGET: EntryId = EntryId([0x0d; 32]);

fn writings(ana: &Person) -> Vec<Vec<u8>> {
    let quote = quotable(Millis(TIME + 2_000));
    let answer = |parent| Answer {
        root: TARGET,
        text: "Mine does **not**.",
        parent,
    };
    let genesis = Genesis {
        certificate: ana.certificate.clone(),
        name: "Ana",
        chain: Chain::root(),
    };
    let thread = Body::Thread {
        title: "Hello",
        text: "First post",
    };
    let article = Body::Article {
        title: quote.title,
        text: quote.text,
        tags: quote.tags.clone(),
        quote: quote.sign(&ana.device),
    };
    let reblog = Reblog {
        note: "Read this",
        quote: quote.sign(&ana.device),
        original: quote,
        certificate: ana.certificate.clone(),
        name: "Ana",
    };
    let message = Body::Message {
        text: "psst",
        parent: None,
        salt: None,
    };
    let salted = Body::Message {
        text: "psst",
        parent: Some(EntryId([0x0e; 32])),
        salt: Some([0x0f; 8]),
    };
    let id = IntroductionId([0x37; 16]);
    let introduction = Body::Introduction {
        id,
        identity: person(3).identity.id(),
        name: "Ben",
        message: Some("You both climb"),
    };
    let yes = Introduced {
        card: b"card",
        beacon: BeaconKey([0x36; 32]),
    };
    let bodies = [
        Body::Genesis(Box::new(genesis)),
        Body::Profile { name: "Ana B." },
        thread,
        Body::Reply(answer(None)),
        Body::Reply(answer(Some(EntryId([0x0e; 32])))),
        article,
        Body::Comment(answer(None)),
        Body::Reblog(Box::new(reblog)),
        message,
        salted,
        introduction,
        Body::Introduced { id, yes: None },
        Body::Introduced { id, yes: Some(yes) },
    ];
    bodies.iter().map(Body::encode).collect()
}

fn changes(ana: &Person) -> Vec<Vec<u8>> {
    let edited = Quotable {
        text: "They don't.",
        tags: vec!["camp"],
        ..quotable(Millis(TIME + 2_000))
    };
    let edit = |title, tags, quote, salt| Body::Edit {
        target: TARGET,
        title,
        text: Some(edited.text),
        tags,
        quote,
        salt,
    };
    let reaction = Body::Reaction {
        target: TARGET,
        emoji: "👍",
        on: true,
        salt: [0x0f; 8],
    };
    let (space, device) = (descriptor().id(), ana.device.id());
    let revocation = Revocation::sign(&ana.identity, space, device, 4, EntryId([0x0e; 32]));
    let quote = edited.sign(&ana.device);
    let bodies = [
        edit(None, None, None, None),
        edit(None, None, None, Some([0x0f; 8])),
        edit(
            Some(edited.title),
            Some(edited.tags.clone()),
            Some(quote),
            None,
        ),
        Body::Retract { target: TARGET },
        reaction,
        Body::Revocation(Box::new(revocation)),
        Body::Receipt { device, seq: 300 },
        Body::Setting(Setting {
            lifetime: Lifetime::new(604_800),
            ..Setting::default()
        }),
        Body::Setting(Setting {
            lifetime: Some(Lifetime::STAYS),
            receipts: Some(true),
            over: Some(TARGET),
        }),
    ];
    bodies.iter().map(Body::encode).collect()
}

/// Ana's rules and a member's, as if the forum were a circle.
fn rules(ana: &Person) -> Vec<Vec<u8>> {
    let space = descriptor().id();
    let (other, ben) = (person(3).device, person(3).identity.id());
    let device = other.id();
    let (seq, id) = (4, EntryId([0x0e; 32]));
    let by = (&ana.certificate, 5);
    let last = LastGood { seq, id };
    let signature = other.sign(Domain::Entry, &id.0);
    let feeds = vec![(device, Remains { last, signature })];
    let removal = Removal::sign(&ana.device, space, by, Some(TARGET), ben, feeds);
    assert!(removal.holds(space));
    let hand_over = HandOver {
        to: ben,
        named: vec![MemberTag::of(space, ben)],
        others: vec![(device, 6)],
    };
    let rule = |action| Rule {
        under: None,
        action,
    };
    let rules = [
        Rule::removal(removal),
        rule(Action::Close(None)),
        rule(Action::Close(Some(TARGET))),
        rule(Action::Reopen(None)),
        rule(Action::HandOver(Box::new(hand_over))),
        rule(Action::Leave),
        rule(Action::Return),
    ];
    rules
        .map(|rule| Body::Rule(Box::new(rule)).encode())
        .to_vec()
}

/// The bodies of Ana's feed: genesis, thread and article.
fn add_bodies(lines: &mut Lines, ana: &Person) -> [Vec<u8>; 3] {
    lines.remark("");
    lines.remark("Bodies. Entries that are pointed at have the id 32 x 0d, a parent 32 x 0e. The article's time is");
    lines.remark("1790000002000; its edit is signed for the same time. An introduction is 16 x 37, of Ben; a yes to it has \"card\" and 32 x 36.");
    lines.remark("Salts are 8 x 0f. The receipt is for Ana's device and entry 300; the settings say a week, and that messages stay and receipts are wanted.");
    let writings = writings(ana);
    for bytes in writings.iter().chain(&changes(ana)) {
        let body = Body::decode(bytes).expect("a body");
        lines.both(&format!("body.{}", name_of(&body)), bytes, reread_body);
    }
    lines.remark("Rules in the forum, as if it were a circle: Ana removes Ben, of whose device 32 x 38 the entry 4 with the id 32 x 0e is the");
    lines.remark("last good one, at the place 5 of her feed, under the hand-over 32 x 0d; and hands over to Ben, her device 32 x 38 having spoken up to 6.");
    for bytes in &rules(ana) {
        let body = Body::decode(bytes).expect("a body");
        lines.both(&format!("body.{}", name_of(&body)), bytes, reread_body);
    }
    lines.remark("A kind and a key that version 1 doesn't know are kept as they are.");
    let unknown = MapWriter::new().uint(0, 99).text(1, "later").finish();
    assert_eq!(Body::decode(&unknown), Ok(Body::Unknown(99)));
    lines.made("body.unknown-kind", &unknown);
    let more = MapWriter::new()
        .uint(0, kind::MESSAGE)
        .text(1, "psst")
        .uint(40, 1)
        .finish();
    assert!(matches!(Body::decode(&more), Ok(Body::Message { .. })));
    lines.made("body.unknown-key", &more);
    [0, 2, 5].map(|at| writings[at].clone())
}

fn add_entries(lines: &mut Lines, ana: &Person, bodies: &[Vec<u8>]) {
    let context = SpaceContext::described(&descriptor());
    assert_eq!(
        context.members,
        Membership::Admitted {
            kind: SpaceKind::Forum,
            creator: ana.identity.id()
        }
    );
    let mut feed = Feed {
        space: context.id,
        entries: Vec::new(),
    };
    for body in bodies {
        feed.push(ana, &Body::decode(body).expect("a body"));
    }
    lines.remark("");
    lines.remark("Ana's feed in the forum: body.genesis, body.thread and body.article at 1790000000000 and a");
    lines.remark("second apart each.");
    for (n, (header, _, signature)) in feed.entries.iter().enumerate() {
        lines.both(&format!("header.{n}"), header.encode(), |bytes| {
            Header::decode(bytes).expect("a header").encode().to_vec()
        });
        lines.made(&format!("entry.{n}.id"), header.id().0);
        lines.made(&format!("entry.{n}.signature"), signature.0);
    }
    let run = feed.run().encode();
    let facts = FeedFacts::unknown(ana.device.id());
    let verdict = verify_run(&context, &facts, run.clone());
    let Ok(Outcome::Continues(known)) = verdict else {
        panic!("{verdict:?}");
    };
    lines.both("run", run, reread_run);
    let mut absent = feed.run();
    absent.items[1].body = BodyPart::Absent {
        len: absent.items[1].body.len(),
        hash: absent.items[1].body.hash(),
    };
    lines.both("run.body-absent", absent.encode(), reread_run);
    add_fork(lines, ana, &feed, known.head());
}

/// A second branch of the feed, of which all is known up to `head`.
fn add_fork(lines: &mut Lines, ana: &Person, feed: &Feed, head: Head) {
    lines.remark(
        "The second entry once more, as a thread \"Hello\" with the text \"Second thoughts\".",
    );
    let mut other = Feed {
        space: feed.space,
        entries: feed.entries[..1].to_vec(),
    };
    other.push(
        ana,
        &Body::Thread {
            title: "Hello",
            text: "Second thoughts",
        },
    );
    let branch = |feed: &Feed, last: usize| {
        let headers = feed.entries[1..=last].iter().map(|(header, ..)| header);
        Branch::new(headers, feed.entries[last].2)
    };
    let (space, device) = (feed.space, ana.device.id());
    let backlink = feed.entries[0].0.id();
    let (one, two) = (branch(feed, 2), branch(&other, 1));
    let proof = ForkProof::new(space, device, 1, backlink, one, two).encode();
    let facts = FeedFacts {
        head,
        ..FeedFacts::unknown(device)
    };
    let context = SpaceContext::described(&descriptor());
    assert!(verify_fork(&context, &facts, &proof).is_ok());
    lines.both("fork-proof", proof, |bytes| {
        ForkProof::decode(bytes).expect("a proof").encode()
    });
}

pub(super) fn frontiers() -> [Frontier; 2] {
    let device = DeviceId([0x21; 32]);
    let plain = Frontier {
        base: 300,
        top: EntryId([0x22; 32]),
        ..Frontier::empty(device)
    };
    let full = Frontier {
        tail: Some(Tail {
            start: 400,
            end: 500,
            top: EntryId([0x23; 32]),
        }),
        fork: Some(600),
        revoked: Some(700),
        holes: Holes::of([7, 256].into_iter()),
        ..plain
    };
    [plain, full]
}

fn add_frontiers(lines: &mut Lines) {
    lines.remark("");
    lines.remark("Frontiers of the device 32 x 21: 300 entries up to 32 x 22; the full one has a tail from 400 to");
    lines.remark("500 up to 32 x 23, a fork at 600, a revocation at 700, and holes at 7 and 256.");
    for (name, frontier) in ["plain", "full"].into_iter().zip(frontiers()) {
        let mut bytes = Vec::new();
        frontier.put(&mut bytes);
        lines.both(&format!("frontier.{name}"), bytes, reread_frontier);
        let leaf = frontier.leaf().expect("something is held");
        lines.made(&format!("frontier.{name}.leaf"), leaf);
    }
    lines.remark(
        "Trees: the feed n has the device id BLAKE3(n), n as one byte, and the leaf 32 x n.",
    );
    for count in [0_u8, 3, 40] {
        let mut leaves: Vec<_> = (0..count)
            .map(|n| (DeviceId(*blake3::hash(&[n]).as_bytes()), [n; 32]))
            .collect();
        leaves.sort_unstable();
        lines.made(&format!("tree.{count}.root"), merkle::hash_of(&leaves, 0));
    }
    let mut prefix = Vec::new();
    Prefix::of(&DeviceId([0xab; 32]), 3).put(&mut prefix);
    lines.remark("The subtree of the first three digits of 32 x ab.");
    lines.both("tree.prefix", prefix, |bytes| {
        let mut out = Vec::new();
        let prefix = Prefix::read(&mut Reader::new(bytes)).expect("a prefix");
        prefix.put(&mut out);
        out
    });
}
