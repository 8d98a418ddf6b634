//! A contact that speaks to the node through the real links and session, in a manner of its own.

use std::{
    collections::{BTreeSet, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use links::{
    Admission, Config, EndpointSecret, Internet, Lane as Stream, Links, MeetingReceiver,
    MeetingSender, MeetingStreams, Protocol, SendError,
};
use proto::{
    DeviceId, EntryId,
    audience::{ContactFacts, SpaceFacts, clear},
    frame::{Control, LinkClass},
    frontier::Frontier,
    limits::FRAME_BYTES_MAX,
    session::{Lane, Output, Session, Start},
};

use store::Snapshot;
use tokio::sync::watch;

use super::people::{Address, Person};
use crate::harness::made_up::now;

/// Nothing honest takes a minute on a free machine.
const DEADLINE: Duration = Duration::from_secs(120);
/// Before who was thrown out comes back.
const AGAIN: Duration = Duration::from_millis(100);
/// Bytes of one frame of garbage.
const GARBAGE: usize = 64 * 1024;
/// Frontiers and wants of one frame.
const CLAIMS: usize = 1_000;
/// Bytes a second of who reads slowly.
const SLOW: u64 = 1_000;

/// How a contact behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Honest,
    ReadsSlowly,
    StopsReading,
    FloodsEntries,
    FloodsGarbage,
    FloodsWants,
    FloodsHints,
    Lies,
    StallsInFrames,
    SaysNothing,
}

pub(crate) struct Peer {
    person: Person,
    held: Snapshot,
    links: Links,
    conn: links::Connection,
    sender: MeetingSender,
    receiver: MeetingReceiver,
    session: Session,
    outbox: VecDeque<Bytes>,
    /// How much of our feed the node said to hold.
    taken: u64,
}

pub(super) async fn endpoint(secret: [u8; 32], to: &Address) -> Links {
    let config = Config {
        secret: EndpointSecret::from_bytes(secret),
        bind: vec!["127.0.0.1:0".parse().unwrap()],
        reach: Internet::Off.into(),
        relays: Vec::new(),
        relay_ca: Vec::new(),
        bluetooth: None,
    };
    let admission = Admission::new();
    admission.permit(to.id);
    Links::bind(config, admission).await.unwrap().0
}

impl Peer {
    /// From dialling until the node holds all that the person wrote.
    /// From dialling until the node holds all that the person wrote; dials again where the
    /// connection ends before.
    pub(crate) async fn catch_up(to: &Address, person: &Person) -> Duration {
        let began = Instant::now();
        let done = tokio::time::timeout(DEADLINE, async {
            loop {
                let Some(mut peer) = Self::meet(to, person).await else {
                    tokio::time::sleep(AGAIN).await;
                    continue;
                };
                while peer.taken < person.entries && peer.step(Manner::Honest).await.is_some() {}
                if peer.taken >= person.entries {
                    return peer;
                }
                peer.links.shutdown().await;
            }
        });
        let peer = done.await.expect("an honest catch-up ends");
        let took = began.elapsed();
        peer.links.shutdown().await;
        took
    }

    /// Behaves so until `stop` changes; comes back whenever it is thrown out.
    pub(crate) async fn misbehave(
        to: Address,
        person: Person,
        manner: Manner,
        mut stop: watch::Receiver<bool>,
    ) {
        while !*stop.borrow() {
            if let Some(mut peer) = Self::meet(&to, &person).await {
                tokio::select! {
                    () = peer.go_wrong(manner) => {}
                    _ = stop.changed() => {}
                }
                peer.links.shutdown().await;
            }
            let _ = tokio::time::timeout(AGAIN, stop.changed()).await;
        }
    }

    /// Strangers whose handshakes are never finished, or refused at their end.
    pub(crate) async fn knock(to: Address, stop: watch::Receiver<bool>) {
        for number in 0_u64.. {
            if *stop.borrow() {
                return;
            }
            let mut secret = [9; 32];
            secret[..8].copy_from_slice(&number.to_be_bytes());
            let links = endpoint(secret, &to).await;
            let at = [to.at];
            let dial = links.dial(to.id, &at, None, Protocol::Sync);
            let patience = Duration::from_millis(number % 4);
            drop(tokio::time::timeout(patience, dial).await);
            tokio::spawn(async move { links.shutdown().await });
        }
    }

    async fn meet(to: &Address, person: &Person) -> Option<Self> {
        let links = endpoint(person.endpoint, to).await;
        let conn = links
            .dial(to.id, &[to.at], None, Protocol::Sync)
            .await
            .ok()?;
        let exporter = conn.exporter(b"waymeet/sync/1", b"").ok()?;
        let (sender, receiver) = MeetingStreams::open(conn.clone()).await.ok()?;
        let space = SpaceFacts {
            id: person.space,
            kind: person.kind,
            counterpart: person.creator,
            member: false,
        };
        let node = ContactFacts {
            identity: to.identity,
            ready: true,
            excluded: false,
            member: false,
        };
        let start = Start {
            dialer: true,
            exporter,
            seed: [7; 32],
            class: LinkClass::Fast,
            device: person.device,
            clearances: clear(&space, &node)
                .map(|clearance| (clearance, person.kind))
                .into_iter()
                .collect(),
            agreed: BTreeSet::new(),
            rev: 1,
            seen_rev: 0,
            offers: Vec::new(),
            whereabouts: proto::frame::Whereabouts::default(),
        };
        let held = person.held.read().ok()?;
        let session = Session::new(start, &held).ok()?;
        Some(Self {
            person: person.clone(),
            held,
            links,
            conn,
            sender,
            receiver,
            session,
            outbox: VecDeque::new(),
            taken: 0,
        })
    }

    /// Says what there is to say, serves what is asked for, and takes one frame; `None` at the end.
    async fn step(&mut self, manner: Manner) -> Option<()> {
        let serves = manner != Manner::StopsReading && manner != Manner::ReadsSlowly;
        self.speak(serves)?;
        tokio::select! {
            frame = self.receiver.recv() => {
                let (lane, frame) = frame.ok()?;
                let lane = match lane {
                    Stream::Control => Lane::Control,
                    Stream::Space(channel) => Lane::Space(channel),
                };
                self.session.handle_frame(lane, &frame, now(), &self.held).ok()?;
                if manner == Manner::ReadsSlowly {
                    let wait = Duration::from_millis(frame.len() as u64 * 1_000 / SLOW);
                    tokio::time::sleep(wait).await;
                }
            }
            () = self.sender.writable() => {}
        }
        // What the frame led to, before the caller looks at it.
        self.speak(serves)
    }

    fn speak(&mut self, serves: bool) -> Option<()> {
        loop {
            while let Some(frame) = self.outbox.front() {
                match self.sender.try_send(Stream::Control, 0, frame.clone()) {
                    Ok(()) => drop(self.outbox.pop_front()),
                    Err(SendError::Full) => return Some(()),
                    Err(_) => return None,
                }
            }
            match self.session.poll(&self.held).ok()? {
                Some(Output::Control(bytes)) => self.outbox.push_back(bytes.into()),
                Some(Output::PeerHolds { base, .. }) => self.taken = base,
                // What the node sends isn't kept.
                Some(_) => {}
                None => break,
            }
        }
        if !serves {
            return Some(());
        }
        loop {
            let sender = &self.sender;
            let room = |channel| sender.capacity(Stream::Space(channel));
            let Some(frame) = self.session.poll_data(&self.held, room).ok()? else {
                break;
            };
            let lane = Stream::Space(frame.channel);
            self.sender
                .try_send(lane, frame.priority, frame.bytes.into())
                .ok()?;
            if frame.last {
                self.sender.finish(lane);
            }
        }
        Some(())
    }

    /// Until the node ends it.
    async fn go_wrong(&mut self, manner: Manner) {
        if manner == Manner::SaysNothing {
            self.conn.closed().await;
            return;
        }
        if manner == Manner::StallsInFrames {
            return self.stall().await;
        }
        // First as anybody, until both know what is common.
        let started = Instant::now();
        while self.session.gossip_channel(self.person.space).is_none() {
            if self.step(manner).await.is_none() || started.elapsed() > DEADLINE {
                return;
            }
        }
        match manner {
            Manner::FloodsGarbage | Manner::FloodsWants | Manner::Lies => self.flood(manner).await,
            Manner::FloodsHints => self.hint().await,
            Manner::StopsReading => {
                // Long enough to have asked for everything.
                for _ in 0..20 {
                    let step = tokio::time::timeout(Duration::from_millis(100), self.step(manner));
                    if matches!(step.await, Ok(None)) {
                        return;
                    }
                }
                self.conn.closed().await;
            }
            _ => while self.step(manner).await.is_some() {},
        }
    }

    /// Announces the longest frames on all streams and sends as much of each as it may.
    async fn stall(&mut self) {
        let mut first = vec![0_u8; FRAME_BYTES_MAX];
        first[0] = 1;
        for channel in 0..64 {
            for _ in 0..2 {
                let frame = Bytes::from(vec![7; FRAME_BYTES_MAX]);
                let _ = self.sender.try_send(Stream::Space(channel), 0, frame);
            }
        }
        self.conn.closed().await;
    }

    async fn flood(&mut self, manner: Manner) {
        let mut number = 0_u64;
        let garbage = Bytes::from(vec![0x20; GARBAGE]);
        loop {
            let Some((_, channel)) = self.session.gossip_channel(self.person.space) else {
                return;
            };
            let sent = match manner {
                Manner::FloodsGarbage => {
                    let mut frame = garbage.to_vec();
                    frame[1..33].copy_from_slice(&[number as u8; 32]);
                    self.sender
                        .try_send(Stream::Space(channel), 0, frame.into())
                }
                Manner::FloodsWants => {
                    let feeds = (0..CLAIMS).map(|at| (invented(at as u64), 0)).collect();
                    let frame = Control::Want { channel, feeds }.encode();
                    self.sender.try_send(Stream::Control, 0, frame.into())
                }
                _ => {
                    let claims = (0..CLAIMS as u64).map(|at| Frontier {
                        base: 1 << 40,
                        top: EntryId([5; 32]),
                        ..Frontier::empty(invented(number * CLAIMS as u64 + at))
                    });
                    let frontiers = claims.collect();
                    let frame = Control::Frontiers { channel, frontiers }.encode();
                    self.sender.try_send(Stream::Control, 0, frame.into())
                }
            };
            match sent {
                Ok(()) => number += 1,
                Err(SendError::Full) => self.sender.writable().await,
                Err(_) => return,
            }
            // What the node says is read, so that it has no reason to wait.
            while let Ok(frame) = tokio::time::timeout(Duration::ZERO, self.receiver.recv()).await {
                if frame.is_err() {
                    return;
                }
            }
        }
    }

    /// Hints faster than our side of the links would send them: gossip's own messages, made by hand.
    async fn hint(&mut self) {
        let topic = self
            .person
            .secret
            .topic(self.conn.local(), self.conn.remote());
        let (tag, channel) = self.session.gossip_channel(self.person.space).unwrap();
        let mut hint = tag.to_vec();
        proto::wire::put_varint(&mut hint, u64::from(channel));
        hint.resize(3_000, 7);
        // A message for the direct neighbour, with the hash of its content as its id.
        let mut message = vec![1, 0];
        message.extend_from_slice(blake3::hash(&hint).as_bytes());
        proto::wire::put_varint(&mut message, hint.len() as u64);
        message.extend_from_slice(&hint);
        message.push(1);
        let Some(endpoint) = stranger(self.person.endpoint).await else {
            return;
        };
        let at = self.conn.path().and_then(|path| path.remote).unwrap();
        let node = iroh::EndpointAddr::from_parts(
            iroh::EndpointId::from_bytes(self.conn.remote().as_bytes()).unwrap(),
            [iroh::TransportAddr::Ip(at)],
        );
        while self.conn.close_reason().is_none() {
            let _ = flood_gossip(&endpoint, &node, topic, &message).await;
            tokio::time::sleep(AGAIN).await;
        }
        endpoint.close().await;
    }
}

/// Sends a message on a topic without end.
async fn flood_gossip(
    endpoint: &iroh::Endpoint,
    node: &iroh::EndpointAddr,
    topic: [u8; 32],
    message: &[u8],
) -> Option<()> {
    let gossip = Protocol::Gossip.alpn();
    let conn = endpoint.connect(node.clone(), gossip).await.ok()?;
    let mut stream = conn.open_uni().await.ok()?;
    // The topic, and a join without addresses.
    for frame in [&topic[..], &[0, 0, 0]] {
        stream.write_all(&framed(frame)).await.ok()?;
    }
    let message = framed(message);
    loop {
        stream.write_all(&message).await.ok()?;
    }
}

/// An endpoint that follows none of our rules.
async fn stranger(secret: [u8; 32]) -> Option<iroh::Endpoint> {
    let provider = rustls::crypto::CryptoProvider {
        kx_groups: vec![rustls::crypto::aws_lc_rs::kx_group::X25519MLKEM768],
        ..rustls::crypto::aws_lc_rs::default_provider()
    };
    iroh::Endpoint::builder(iroh::endpoint::presets::Empty)
        .secret_key(iroh::SecretKey::from_bytes(&secret))
        .crypto_provider(Arc::new(provider))
        .clear_ip_transports()
        .bind_addr(SocketAddr::from(([127, 0, 0, 1], 0)))
        .ok()?
        .bind()
        .await
        .ok()
}

fn framed(bytes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(bytes.len()).unwrap();
    [&len.to_be_bytes()[..], bytes].concat()
}

fn invented(number: u64) -> DeviceId {
    let mut id = [0xee; 32];
    id[..8].copy_from_slice(&number.to_le_bytes());
    DeviceId(id)
}
