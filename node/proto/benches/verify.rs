//! How fast runs are checked: `cargo bench -p proto --bench verify`.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_types,
    clippy::expect_used,
    reason = "a measurement on a terminal"
)]

use std::{hint::black_box, time::Instant};

use proto::{
    EntryId, Millis, SpaceId,
    admission::{Certificate, Chain, Role},
    author,
    body::{Answer, Body, Genesis},
    entry::Head,
    keys::{DeviceKey, IdentityKey},
    run::{BodyPart, Item, Run},
    space::{Membership, SpaceContext, SpaceKind},
    verify::{FeedFacts, Outcome, verify_run},
};

const RUNS: usize = 200;
const ENTRIES: u64 = 256;
const BODY_BYTES: usize = 300;

fn main() {
    let identity = IdentityKey::from_seed(&[1; 32]);
    let device = DeviceKey::from_seed(&[2; 32]);
    let space = SpaceContext {
        id: SpaceId([3; 32]),
        members: Membership::Admitted {
            kind: SpaceKind::Forum,
            creator: identity.id(),
        },
    };
    let genesis = Body::Genesis(Box::new(Genesis {
        certificate: Certificate::sign(&identity, &device, 1, Role::Main),
        name: "Ana",
        chain: Chain::root(),
    }));
    let text = "x".repeat(BODY_BYTES - 42);
    let reply = Body::Reply(Answer {
        root: EntryId([4; 32]),
        text: &text,
        parent: None,
    });
    println!("a body has {} bytes", reply.encode().len());
    let mut facts = FeedFacts::unknown(device.id());
    let first = author::append(&device, space.id, &Head::EMPTY, Millis(1), &genesis);
    facts.head = first.head();
    // The run ends at the checkpoint 256, so it needs one signature.
    let mut head = facts.head;
    let mut run = Run::new(head.next, head.top);
    let mut bodies = Vec::new();
    let mut signature = None;
    for _ in 0..ENTRIES {
        let entry = author::append(&device, space.id, &head, Millis(head.next), &reply);
        head = entry.head();
        signature = entry.signatures().first().map(|(_, signature)| *signature);
        bodies.extend(
            entry
                .items()
                .iter()
                .filter_map(|item| entry.body_bytes(item).map(<[u8]>::to_vec)),
        );
    }
    for (body, seq) in bodies.iter().zip(1..) {
        run.items.push(Item {
            created: Millis(seq),
            body: BodyPart::Present(body),
        });
    }
    run.signatures
        .push((ENTRIES as u32 - 1, signature.expect("at least one entry")));
    let bytes = run.encode();
    for _ in 0..3 {
        let copies: Vec<Vec<u8>> = (0..RUNS).map(|_| bytes.clone()).collect();
        let start = Instant::now();
        for copy in copies {
            match verify_run(&space, &facts, copy) {
                Ok(Outcome::Continues(run)) => {
                    black_box(run);
                }
                other => println!("not accepted: {other:?}"),
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        let rate = (RUNS as u64 * ENTRIES) as f64 / seconds;
        println!("{rate:.0} entries/s");
    }
}
