//! Two people nearby: the frames of one try, the words, and what the pair derives.

use std::collections::VecDeque;

use super::{Lines, person};
use crate::{
    beacon::BeaconKey,
    card::{Card, PairSecret},
    ids::EndpointId,
    keys::EndpointKey,
    nearby::{Announced, Frame, Line, Own, Session, Step},
    words::WORDS,
};

const EXPORTER: [u8; 32] = [0x51; 32];
/// What a stranger says in place of what only a contact knows.
const FILLER: [u8; 32] = [0x5a; 32];

/// Carries steps to and fro, and writes down what is sent and what comes of it.
struct Try {
    dialer: Session,
    acceptor: Session,
    sent: Vec<Vec<u8>>,
    words: Vec<[&'static str; 3]>,
    secrets: Vec<PairSecret>,
}

impl Try {
    fn run(&mut self, steps: Vec<Step>) {
        let mut queue: VecDeque<_> = steps.into_iter().map(|step| (true, step)).collect();
        while let Some((by_dialer, step)) = queue.pop_front() {
            let (own, other) = if by_dialer {
                (&mut self.dialer, &mut self.acceptor)
            } else {
                (&mut self.acceptor, &mut self.dialer)
            };
            let (from, more) = match step {
                Step::Send(frame) => {
                    let steps = other.handle(&frame).expect("an honest frame");
                    self.sent.push(frame);
                    (!by_dialer, steps)
                }
                Step::Compare(compared) => {
                    self.words.push(compared.words);
                    (by_dialer, own.accept())
                }
                Step::Recall(_) => (by_dialer, own.recall(None, FILLER)),
                Step::Met(met) => {
                    self.secrets.push(met.secret.clone());
                    (by_dialer, own.kept(BeaconKey([0x5b; 32])))
                }
                Step::TheyAccept | Step::TheyKept(_) => continue,
                Step::Declined => panic!("nobody declines"),
            };
            queue.extend(more.into_iter().map(|step| (from, step)));
        }
    }
}

fn card(seed: u8, name: &str) -> (Card, EndpointKey) {
    let endpoint = EndpointKey::from_seed(&[seed + 0x20; 32]);
    let card = Card {
        certificate: person(seed).certificate,
        name: name.into(),
        endpoint: endpoint.id(),
        addrs: vec!["192.168.1.6:5000".parse().expect("an address")],
        relay: None,
    };
    (card, endpoint)
}

fn reread(bytes: &[u8]) -> Vec<u8> {
    Frame::decode(bytes).expect("a frame").encode()
}

pub(super) fn add(lines: &mut Lines) {
    let line = Line {
        exporter: EXPORTER,
        dialer: EndpointId([0x52; 32]),
        acceptor: EndpointId([0x53; 32]),
    };
    lines.remark("");
    lines.remark("Ana dials Ben nearby: exporter 32 x 51, temporary endpoints 32 x 52 and 32 x 53, nonces 32 x 54 and 32 x 56,");
    lines.remark("blinds 32 x 55 and 32 x 57, their own endpoints' seeds 32 x 21 and 32 x 23, at 192.168.1.6:5000, no relay. Both");
    lines.remark("say yes at once, neither knows the other, both fill with 32 x 5a. The frames in the order in which they are sent.");
    let own = |seed, name, random: u8| {
        let (card, endpoint) = card(seed, name);
        let random = ([random; 32], [random + 1; 32]);
        Own::new(&card, &person(seed).device, &endpoint, &line, random)
    };
    let (dialer, steps) = Session::dial(line.clone(), own(1, "Ana", 0x54));
    let mut run = Try {
        dialer,
        acceptor: Session::answer(line.clone(), own(3, "Ben", 0x56)),
        sent: Vec::new(),
        words: Vec::new(),
        secrets: Vec::new(),
    };
    run.run(steps);
    for (at, frame) in run.sent.iter().enumerate() {
        lines.both(&format!("nearby.frame.{at}"), frame, reread);
    }
    lines.both("nearby.decline", Frame::Decline.encode(), reread);
    let [words, same] = run.words[..] else {
        panic!("both compare");
    };
    assert_eq!(words, same);
    lines.remark(&format!("Both see {}.", words.join(" ")));
    let place = |word| WORDS.binary_search(&word).expect("a word") as u8;
    lines.made("nearby.words", words.map(place));
    let [secret, other] = &run.secrets[..] else {
        panic!("both have it");
    };
    assert!(secret == other);
    lines.made("nearby.pair.secret", secret.0);
    let announced = Announced {
        salt: [0x58; 4],
        endpoint: line.dialer,
    };
    lines.remark("An announcement of the first temporary endpoint, salt 4 x 58, as text:");
    lines.remark(&announced.label());
    lines.both("nearby.announced", announced.label(), |bytes| {
        let text = std::str::from_utf8(bytes).expect("text");
        let announced = Announced::from_label(text).expect("a label");
        announced.label().into_bytes()
    });
}
