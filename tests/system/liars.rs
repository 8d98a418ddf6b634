//! Five people, two who carry letters, and one of those who lies, drops, replays and floods.

use std::fs;

use links::{CloseCode, CloseReason};
use proto::{
    courier::{Frame, LIST_MAX},
    keys::DeviceKey,
    limits::{CARRIED_MAX, CARRIED_PER_CONTACT_MAX},
    seal::{Envelope, LastResort, Party, PrekeyBatch, PrekeyId, PrekeySecret, Receipt},
};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::{
    harness::{
        Node, connected,
        hostile::{Address, Liar, enlist},
    },
    letters::{all_know_each_other, carries, gone, is},
};

/// The liar's devices, each a contact: who was thrown out isn't let in again soon.
const LIARS: usize = 16;
/// Letters of one meeting that can't be opened, after which no more are asked for, and those that
/// were asked for meanwhile.
const BAD_MAX: usize = 32 + 3;
/// What flooding makes a node hold: the links' buffers of so many connections, and no more.
const MEMORY_BYTES: u64 = 64 << 20;
/// Where the receipt's hash stands in an envelope.
const RECEIPT_AT: usize = 1 + 16 + 2;

fn memory(node: &Node, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", node.process())).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1_024
}

/// Says frames until the node has had enough.
async fn is_refused(to: &Address, number: usize, frames: impl Iterator<Item = Vec<u8>>) {
    let mut liar = Liar::meet(to, number).await;
    for frame in frames {
        if !liar.say_bytes(frame).await {
            break;
        }
    }
    let how = liar.until_thrown_out().await;
    assert_eq!(how, CloseReason::Remote(CloseCode::Misbehaved), "{number}");
}

/// Takes letters to carry, says that it carries them, and doesn't.
async fn take_letters(to: &Address, number: usize, count: usize) -> Vec<Envelope> {
    let mut liar = Liar::meet(to, number).await;
    let room = Frame::Room {
        count: u32::MAX,
        bytes: u64::MAX,
    };
    liar.say(&room).await;
    let mut taken = Vec::new();
    while taken.len() < count {
        let envelope = liar
            .hears(|frame| match frame {
                Frame::Carry(envelope) => Some(envelope),
                _ => None,
            })
            .await;
        taken.push(Envelope::decode(&envelope).unwrap());
    }
    let hashes = taken.iter().map(|one| one.outside().receipt).collect();
    // And others', which nobody gave to it.
    for kept in [vec![[7; 32]; LIST_MAX], hashes] {
        liar.say(&Frame::Kept(kept)).await;
    }
    // Receipts of nothing change nothing.
    hear_out(&mut liar).await;
    liar.leave().await;
    taken
}

/// Gives receipts of nothing, and waits for the answer: by then all that was said before is done.
async fn hear_out(liar: &mut Liar) {
    let receipts: Vec<_> = (0..LIST_MAX as u64)
        .map(|n| {
            let mut bytes = [3; 32];
            bytes[..8].copy_from_slice(&n.to_be_bytes());
            Receipt(bytes)
        })
        .collect();
    let last = receipts.last().unwrap().hash();
    liar.say(&Frame::Receipts(receipts)).await;
    liar.hears(|frame| match frame {
        Frame::Kept(hashes) => hashes.contains(&last).then_some(()),
        _ => None,
    })
    .await;
}

/// Names a letter so many times, and brings what `bring` says whenever it is asked for one; gives how
/// often it was.
async fn offer(liar: &mut Liar, envelope: &Envelope, times: usize, bring: &[u8]) -> usize {
    let hint = liar.hasher.hint(envelope.outside().tag);
    liar.say(&Frame::Carried(vec![hint; times])).await;
    let mut asked = 0;
    while asked < times.min(BAD_MAX - 3) {
        let places = liar
            .hears(|frame| match frame {
                Frame::Want(places) => Some(places),
                _ => None,
            })
            .await;
        asked += places.len();
        for (place, _) in places {
            let envelope = bring.to_vec();
            liar.say(&Frame::Letter { place, envelope }).await;
        }
    }
    hear_out(liar).await;
    asked
}

fn floods(envelope: &Envelope) -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let letter = |place| {
        let envelope = envelope.bytes().to_vec();
        Frame::Letter { place, envelope }.encode()
    };
    let other = |n: u64| {
        let mut bytes = envelope.bytes().to_vec();
        bytes[RECEIPT_AT..RECEIPT_AT + 8].copy_from_slice(&n.to_be_bytes());
        Frame::Carry(bytes).encode()
    };
    let stranger = DeviceKey::from_seed(&[9; 32]);
    let party = Party {
        identity: proto::IdentityId([1; 32]),
        device: stranger.id(),
    };
    let key = PrekeySecret([5; 32]).public(PrekeyId(1)).unwrap();
    let keys = PrekeyBatch {
        once: Vec::new(),
        last_resort: Some(LastResort::sign(key, u16::MAX, &stranger, party)),
    };
    let names = Frame::Carried(vec![[4; 4]; CARRIED_MAX]).encode();
    let many = 3 * CARRIED_PER_CONTACT_MAX as u64;
    vec![
        ("an unasked letter", vec![letter(0)]),
        (
            "a place not named",
            vec![Frame::Want(vec![(0, [0; 8])]).encode()],
        ),
        (
            "too many at once",
            vec![Frame::Want(vec![(0, [0; 8]); 5]).encode()],
        ),
        (
            "no letter to carry",
            vec![Frame::Carry(vec![1; 1_500]).encode()],
        ),
        ("an empty list", vec![vec![32, 0]]),
        ("no frame", vec![vec![47, 1, 2, 3]]),
        ("another's keys", vec![Frame::Prekeys(keys.into()).encode()]),
        ("endless names", vec![names; 3]),
        (
            "more than there is room for",
            (0..many).map(other).collect(),
        ),
    ]
}

#[test]
fn one_who_lies_drops_replays_and_floods_stops_no_letter() {
    let [mut ana, mut ben, mut cem] = all_know_each_other(["Ana", "Ben", "Cem"]);
    let (ana_id, ben_id, cem_id) = (ana.id(), ben.id(), cem.id());
    let runtime = Runtime::new().unwrap();
    for node in [&mut ana, &mut cem] {
        node.stop();
        enlist(node, LIARS);
    }
    ana.start();
    connected(&ana, &ben);
    let message = ana.send(&cem_id, "the honest way");
    is(&ana, &message, &json!(["carried", 1]));
    carries(&ben, 2);
    let to = Address::of(&ana);
    let taken = runtime.block_on(take_letters(&to, 0, 2));
    is(&ana, &message, &json!(["carried", 2]));

    let before = memory(&ana, "VmRSS");
    for (number, (what, frames)) in floods(&taken[1]).into_iter().enumerate() {
        eprintln!("{what}");
        runtime.block_on(is_refused(&to, number + 1, frames.into_iter()));
    }
    // Who asks for letters of others gets nothing, and not for ever.
    runtime.block_on(async {
        let mut liar = Liar::meet(&to, LIARS - 1).await;
        let named = |frame| matches!(frame, Frame::Carried(_)).then_some(());
        liar.hears(named).await;
        let want = Frame::Want(vec![(0, [0; 8])]);
        for _ in 0..64 {
            liar.say(&want).await;
            let brought = liar.hears(|frame| match frame {
                Frame::Letter { place, envelope } => Some((place, envelope)),
                _ => None,
            });
            assert_eq!(brought.await, (0, Vec::new()));
        }
        liar.say(&want).await;
        let how = liar.until_thrown_out().await;
        assert_eq!(how, CloseReason::Remote(CloseCode::Misbehaved));
    });
    let more = memory(&ana, "VmHWM").saturating_sub(before);
    eprintln!("{more} bytes above {before}");
    assert!(more < MEMORY_BYTES, "{more}");
    let carried = ana.get("/letters")["carried"].as_u64().unwrap();
    assert!(carried <= CARRIED_PER_CONTACT_MAX as u64, "{carried}");
    is(&ana, &message, &json!(["carried", 2]));
    ana.stop();
    gone(&ben, &ana_id);
    ben.stop();

    // Cem hears of the letter first from the one who has changed it.
    cem.start();
    let to = Address::of(&cem);
    runtime.block_on(async {
        let mut changed = taken[1].bytes().to_vec();
        *changed.last_mut().unwrap() ^= 1;
        let mut liar = Liar::meet(&to, 1).await;
        let asked = offer(&mut liar, &taken[1], 100, &changed).await;
        assert!(asked <= BAD_MAX, "{asked}");
        liar.leave().await;
        // The other letter in its place, the beginning of it, and nothing.
        let other = taken[0].bytes();
        for (number, bring) in [(2, other), (3, &other[..100]), (4, &[])] {
            let mut liar = Liar::meet(&to, number).await;
            assert_eq!(offer(&mut liar, &taken[1], 1, bring).await, 1);
            liar.leave().await;
        }
    });
    assert!(cem.entry(&message).is_none());

    ben.start();
    cem.reads(&message, "the honest way");
    carries(&ben, 0);
    // What came is asked for no more; who carried it is told so.
    runtime.block_on(async {
        let mut liar = Liar::meet(&to, 5).await;
        let hint = liar.hasher.hint(taken[1].outside().tag);
        liar.say(&Frame::Carried(vec![hint])).await;
        let receipts = liar
            .hears(|frame| match frame {
                Frame::Receipts(receipts) => Some(receipts),
                Frame::Want(places) => panic!("{places:?} is asked for again"),
                _ => None,
            })
            .await;
        assert_eq!(receipts[0].hash(), taken[1].outside().receipt);
        let place = 0;
        let envelope = taken[1].bytes().to_vec();
        liar.say(&Frame::Letter { place, envelope }).await;
        let how = liar.until_thrown_out().await;
        assert_eq!(how, CloseReason::Remote(CloseCode::Misbehaved));
    });
    assert_eq!(cem.list(&format!("/conversations/{ana_id}")).len(), 1);
    assert!(cem.list(&format!("/conversations/{ben_id}")).is_empty());
    cem.stop();
    gone(&ben, &cem_id);
    ana.start();
    is(&ana, &message, &json!(["delivered", null]));
}
