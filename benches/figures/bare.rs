//! The bare floor of a catch-up: what the machine allows when only the bytes have to move.
//!
//! A sender that holds encoded runs in memory and a receiver, two processes over QUIC on loopback
//! with the node's own windows. The receiver checks the hash chain and one signature a run, and
//! keeps the entries packed in segments with one index row of 40 bytes each: no bodies parsed, no
//! threads, no unread marks, no digests, no second reader. One commit for as many bytes as a
//! meeting's batch has.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use iroh::{
    Endpoint, EndpointAddr, EndpointId, RelayMode, TransportAddr,
    endpoint::{Connection, QuicTransportConfig, RecvStream, VarInt, presets::Minimal},
};
use proto::{
    DeviceId, EntryId, Millis, SpaceId,
    entry::NO_BACKLINK,
    keys::{DeviceKey, Domain, verify},
    limits::{BATCH_BYTES_MAX, BATCH_ENTRIES_MAX, CHECKPOINT_ENTRIES},
    run::{BodyPart, Item, Run},
};
use redb::{Database, TableDefinition};

use crate::{
    filled::AUTHORS,
    harness::made_up::{BODY_BYTES, Random, words},
};

/// The first word of the arguments that make this program the sender.
pub(crate) const SENDER: &str = "bare-sender";
const ALPN: &[u8] = b"waymeet/bare/1";
const SPACE: SpaceId = SpaceId([7; 32]);
/// As the node's: bytes of a stream, and of a connection, that are buffered unread.
const STREAM_WINDOW: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
const SEND_WINDOW: u64 = 8 * 1024 * 1024;
/// As the node's, for pages of the database.
const CACHE_BYTES: usize = 16 * 1024 * 1024;
/// As the node's: a value that just fits a page.
const SEGMENT_BYTES: usize = 16 * 1024 - 24;
/// Batches that wait for the disk.
const BATCHES_WAITING: usize = 2;

const SEGMENTS: TableDefinition<'_, &[u8; 12], &[u8]> = TableDefinition::new("segments");
/// Half an id, and where the entry stands: 40 bytes.
const INDEX: TableDefinition<'_, &[u8; 16], &[u8; 24]> = TableDefinition::new("index");

/// What came of one feed, as it was checked.
struct Checked {
    feed: u32,
    start: u64,
    ids: Vec<EntryId>,
    bytes: Vec<u8>,
}

/// From the first packet to the last commit, and the file's length.
pub(crate) fn once(entries: usize) -> (Duration, u64) {
    let sender = Sender::spawn(entries);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bare.redb");
    let mut builder = redb::Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    let database = builder.create(&path).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let (batches, waiting) = mpsc::sync_channel(BATCHES_WAITING);
    let endpoint = runtime.block_on(bind());
    let began = Instant::now();
    let writer = thread::spawn(move || store(&database, &waiting));
    let received = runtime.block_on(async {
        let conn = endpoint.connect(sender.addr.clone(), ALPN).await.unwrap();
        let (mut ask, mut answer) = conn.open_bi().await.unwrap();
        ask.write_all(b"?").await.unwrap();
        let received = receive(&mut answer, &batches).await;
        conn.close(VarInt::from_u32(0), b"");
        received
    });
    drop(batches);
    let stored = writer.join().unwrap();
    let took = began.elapsed();
    runtime.block_on(endpoint.close());
    assert_eq!((received, stored), (entries, entries));
    (took, std::fs::metadata(&path).unwrap().len())
}

async fn bind() -> Endpoint {
    let transport = QuicTransportConfig::builder()
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(SEND_WINDOW)
        .build();
    Endpoint::builder(Minimal)
        .alpns(vec![ALPN.to_vec()])
        .transport_config(transport)
        .relay_mode(RelayMode::Disabled)
        .clear_ip_transports()
        .bind_addr("127.0.0.1:0")
        .unwrap()
        .bind()
        .await
        .unwrap()
}

/// Reads frames until the end, checks each, and hands on what one commit should take.
async fn receive(answer: &mut RecvStream, batches: &mpsc::SyncSender<Vec<Checked>>) -> usize {
    let keys: Vec<DeviceId> = (0..AUTHORS).map(|feed| key(feed).id()).collect();
    let mut tops = [NO_BACKLINK; AUTHORS];
    let (mut batch, mut entries, mut bytes, mut received) = (Vec::new(), 0, 0, 0);
    let mut head = [0; 8];
    while answer.read_exact(&mut head).await.is_ok() {
        let (feed, len) = head.split_at(4);
        let feed = u32::from_be_bytes(feed.try_into().unwrap());
        let len = u32::from_be_bytes(len.try_into().unwrap());
        let mut frame = vec![0; len as usize];
        answer.read_exact(&mut frame).await.unwrap();
        let at = feed as usize;
        let checked = check(feed, keys[at], tops[at], frame);
        tops[at] = *checked.ids.last().unwrap();
        received += checked.ids.len();
        entries += checked.ids.len();
        bytes += checked.bytes.len();
        batch.push(checked);
        if entries >= BATCH_ENTRIES_MAX || bytes >= BATCH_BYTES_MAX {
            batches.send(std::mem::take(&mut batch)).unwrap();
            (entries, bytes) = (0, 0);
        }
    }
    batches.send(batch).unwrap();
    received
}

/// Computes the chain and checks that the last entry is signed.
fn check(feed: u32, device: DeviceId, top: EntryId, bytes: Vec<u8>) -> Checked {
    let run = Run::decode(&bytes).unwrap();
    assert_eq!(run.backlink, top);
    let ids: Vec<_> = run.links(SPACE, device).map(|link| link.id).collect();
    let (signed, signature) = run.signatures.last().unwrap();
    assert_eq!(*signed as usize + 1, ids.len());
    let last = ids.last().unwrap();
    assert!(verify(&device.0, Domain::Entry, &last.0, signature));
    let start = run.start;
    Checked {
        feed,
        start,
        ids,
        bytes,
    }
}

/// Stores batches, each in a durable commit, until there are no more.
fn store(database: &Database, batches: &mpsc::Receiver<Vec<Checked>>) -> usize {
    let mut stored = 0;
    for batch in batches {
        let txn = database.begin_write().unwrap();
        {
            let mut segments = txn.open_table(SEGMENTS).unwrap();
            let mut index = txn.open_table(INDEX).unwrap();
            for run in &batch {
                let mut key = [0; 12];
                key[..4].copy_from_slice(&run.feed.to_be_bytes());
                // Pages' worth of the bytes as they came: the cheapest packing there is.
                for (at, segment) in run.bytes.chunks(SEGMENT_BYTES).enumerate() {
                    key[4..].copy_from_slice(&((run.start << 8) + at as u64).to_be_bytes());
                    segments.insert(&key, segment).unwrap();
                }
                for (seq, id) in (run.start..).zip(&run.ids) {
                    let (half, rest) = id.0.split_at(16);
                    let mut place = [0; 24];
                    place[..12].copy_from_slice(&rest[..12]);
                    place[12..16].copy_from_slice(&run.feed.to_be_bytes());
                    place[16..].copy_from_slice(&seq.to_be_bytes());
                    let half: &[u8; 16] = half.try_into().unwrap();
                    index.insert(half, &place).unwrap();
                }
                stored += run.ids.len();
            }
        }
        txn.commit().unwrap();
    }
    stored
}

/// The sender's process, which ends with this.
struct Sender {
    child: Child,
    addr: EndpointAddr,
}

impl Sender {
    fn spawn(entries: usize) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([SENDER, &entries.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let (id, addr) = line.trim().split_once(' ').unwrap();
        let id: EndpointId = id.parse().unwrap();
        let addr = EndpointAddr::new(id).with_ip_addr(addr.parse().unwrap());
        Self { child, addr }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        // It ends by itself when its one connection ends, unless this is torn down early.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Makes the entries, prints where they are, and sends them to the first who asks.
pub(crate) fn send(entries: usize) {
    let frames = frames(entries);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let endpoint = bind().await;
        let addr = endpoint.addr();
        let ip = addr.addrs.iter().find_map(|addr| match addr {
            TransportAddr::Ip(ip) => Some(*ip),
            _ => None,
        });
        println!("{} {}", endpoint.id(), ip.unwrap());
        let conn: Connection = endpoint.accept().await.unwrap().await.unwrap();
        let (mut answer, mut ask) = conn.accept_bi().await.unwrap();
        ask.read_exact(&mut [0; 1]).await.unwrap();
        for frame in frames {
            answer.write_all(&frame).await.unwrap();
        }
        answer.finish().unwrap();
        conn.closed().await;
    });
}

fn key(feed: usize) -> DeviceKey {
    DeviceKey::from_seed(&[feed as u8 + 1; 32])
}

/// One frame a run, feed by feed: feed u32, length u32, run.
fn frames(entries: usize) -> Vec<Vec<u8>> {
    let mut random = Random::new(1);
    let text = words(&mut random, 64 * 1024);
    let mut frames = Vec::new();
    for feed in 0..AUTHORS {
        let key = key(feed);
        let count = entries / AUTHORS + usize::from(feed < entries % AUTHORS);
        let (mut next, mut top) = (0, NO_BACKLINK);
        while next < count {
            let end = count.min(next + CHECKPOINT_ENTRIES as usize);
            let mut run = Run::new(next as u64, top);
            run.items = (next..end)
                .map(|seq| Item {
                    created: Millis(1_790_000_000_000 + seq as u64 * 60_000),
                    body: BodyPart::Present({
                        let at = random.below(text.len() - BODY_BYTES);
                        &text.as_bytes()[at..at + BODY_BYTES]
                    }),
                })
                .collect();
            top = run.links(SPACE, key.id()).last().unwrap().id;
            let signature = key.sign(Domain::Entry, &top.0);
            run.signatures.push(((end - next) as u32 - 1, signature));
            let bytes = run.encode();
            let mut frame = (feed as u32).to_be_bytes().to_vec();
            frame.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
            frame.extend_from_slice(&bytes);
            frames.push(frame);
            next = end;
        }
    }
    frames
}
