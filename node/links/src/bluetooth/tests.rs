//! Endpoints and channels in a simulated room, with honest people and others.

use std::{future::poll_fn, sync::Arc, time::Duration};

use proto::{
    EndpointId,
    bluetooth::{ChannelKey, Port},
    card::PairSecret,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

use super::{
    hub::Received,
    radio::{Channel, Listening, Radio, State},
    sim::{Air, Room, address},
    *,
};
use crate::{
    Admission, Arrival, CloseReason, Config, Connection, EndpointSecret, Internet, Lane, Links,
    MeetingStreams, PathKind, Protocol, admission::Door,
};

const SOON: Duration = Duration::from_secs(10);

struct Node {
    number: u8,
    bluetooth: Bluetooth,
    links: Links,
    arrivals: mpsc::Receiver<Arrival>,
}

fn port() -> Port {
    Port::new(0x81).unwrap()
}

fn key() -> ChannelKey {
    ChannelKey::new(&PairSecret([9; 32]))
}

impl Node {
    async fn new(room: &Room, number: u8) -> Self {
        let (bluetooth, _) = Bluetooth::new();
        bluetooth.attach(room.radio(number));
        bluetooth.switch(true);
        let config = Config {
            secret: EndpointSecret::from_bytes([number; 32]),
            bind: vec!["127.0.0.1:0".parse().unwrap()],
            reach: Internet::Off.into(),
            relays: Vec::new(),
            relay_ca: Vec::new(),
            bluetooth: Some(bluetooth.clone()),
        };
        let (links, arrivals) = Links::bind(config, Admission::new()).await.unwrap();
        Self {
            number,
            bluetooth,
            links,
            arrivals,
        }
    }

    fn knows(&self, others: &[&Self]) {
        let contacts = others.iter().map(|other| (other.links.id(), key()));
        self.bluetooth
            .set_contacts(self.links.id(), contacts.collect());
        for other in others {
            self.links.admission().permit(other.links.id());
        }
    }

    async fn open(&self, to: &Self) -> Result<(), OpenError> {
        let at = address(to.number);
        self.bluetooth.open(to.links.id(), at, port()).await
    }

    async fn dial(&self, to: &Self) -> Connection {
        let dial = self.links.dial(to.links.id(), &[], None, Protocol::Sync);
        dial.await.unwrap()
    }

    async fn arrived(&mut self) -> Connection {
        match timeout(SOON, self.arrivals.recv()).await.unwrap().unwrap() {
            Arrival::Sync(conn) | Arrival::Meet(conn) => conn,
        }
    }
}

async fn two(air: Air) -> (Room, Node, Node) {
    let room = Room::new(air);
    let (ana, ben) = (Node::new(&room, 1).await, Node::new(&room, 2).await);
    ana.knows(&[&ben]);
    ben.knows(&[&ana]);
    (room, ana, ben)
}

/// Sends frames one way and counts what comes.
async fn carry(from: Connection, to: Connection, frames: usize, bytes: usize) {
    let (mut sender, _inn) = MeetingStreams::open(from).await.unwrap();
    let (_out, mut receiver) = MeetingStreams::open(to).await.unwrap();
    let sending = async {
        for _ in 0..frames {
            let frame = bytes::Bytes::from(vec![7; bytes]);
            while sender.try_send(Lane::Control, 0, frame.clone()).is_err() {
                sender.writable().await;
            }
        }
    };
    let receiving = async {
        for _ in 0..frames {
            let (_, frame) = receiver.recv().await.unwrap();
            assert_eq!(frame.len(), bytes);
        }
    };
    tokio::join!(sending, receiving);
}

#[tokio::test]
async fn two_endpoints_meet_over_a_channel_and_nothing_else() {
    let (_room, ana, mut ben) = two(Air::default()).await;
    let nowhere = ana.links.dial(ben.links.id(), &[], None, Protocol::Sync);
    assert!(nowhere.await.is_err(), "there is no channel yet");
    ana.open(&ben).await.unwrap();
    assert!(ana.bluetooth.has_channel(ben.links.id()));
    let conn = ana.dial(&ben).await;
    let theirs = ben.arrived().await;
    assert_eq!(conn.path().unwrap().kind, PathKind::Bluetooth);
    assert_eq!(theirs.path().unwrap().kind, PathKind::Bluetooth);
    assert_eq!(theirs.remote(), ana.links.id());
    assert!(ana.links.addrs().iter().all(|addr| addr.ip().is_loopback()));
    timeout(SOON, carry(conn, theirs, 50, 1_000)).await.unwrap();
}

/// Out of range the connection ends at once, instead of by its silence, and back in range the next
/// channel carries the next one.
#[tokio::test]
async fn a_connection_ends_with_its_channel_and_comes_back_with_the_next() {
    let (room, ana, mut ben) = two(Air::default()).await;
    for _ in 0..2 {
        ana.open(&ben).await.unwrap();
        let conn = ana.dial(&ben).await;
        let theirs = ben.arrived().await;
        room.part(1, 2, true);
        let ended = timeout(SOON, async { tokio::join!(conn.closed(), theirs.closed()) });
        let (here, _there) = ended.await.unwrap();
        assert!(matches!(here, CloseReason::Local), "{here:?}");
        let apart = ana.open(&ben).await;
        assert!(matches!(apart, Err(OpenError::Radio(_))), "{apart:?}");
        room.part(1, 2, false);
    }
}

/// Who is connected over IP already has the channel as another way only.
#[tokio::test]
async fn a_path_over_ip_goes_before_the_channel() {
    let (_room, ana, mut ben) = two(Air::default()).await;
    ana.open(&ben).await.unwrap();
    let addrs = ben.links.bound();
    let dial = ana.links.dial(ben.links.id(), &addrs, None, Protocol::Sync);
    let conn = dial.await.unwrap();
    let _theirs = ben.arrived().await;
    let mut changes = conn.path_changes();
    let settled = async {
        while conn
            .path()
            .is_none_or(|path| path.kind != PathKind::Loopback)
        {
            tokio::select! {
                () = changes.changed() => {}
                () = sleep(Duration::from_millis(50)) => {}
            }
        }
    };
    timeout(SOON, settled).await.unwrap();
    // The way back: where the channel goes, the connection stays.
    ana.bluetooth.close(ben.links.id());
    assert_eq!(conn.close_reason(), None);
}

/// Both tell their addresses over the channel, and go over to them by themselves.
#[tokio::test]
async fn a_connection_over_a_channel_finds_its_way_to_ip() {
    let (_room, ana, mut ben) = two(Air::default()).await;
    ana.open(&ben).await.unwrap();
    let conn = ana.dial(&ben).await;
    let _theirs = ben.arrived().await;
    let over_ip = async {
        while conn
            .path()
            .is_none_or(|path| path.kind != PathKind::Loopback)
        {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(SOON, over_ip).await.unwrap();
}

/// A hub without an endpoint, and a stranger in the room: on time that is not the wall's.
struct Alone {
    room: Room,
    bluetooth: Bluetooth,
    received: mpsc::Receiver<Received>,
    stranger: Arc<dyn Radio>,
}

const CEM: EndpointId = EndpointId([3; 32]);
const OWN: EndpointId = EndpointId([1; 32]);

fn alone() -> Alone {
    let room = Room::new(Air::default());
    let (bluetooth, _) = Bluetooth::new();
    bluetooth.attach(room.radio(1));
    bluetooth.switch(true);
    bluetooth.set_contacts(OWN, vec![(CEM, key())]);
    Alone {
        received: bluetooth.connect_door(Door::Main),
        stranger: room.radio(66),
        bluetooth,
        room,
    }
}

impl Alone {
    async fn connect(&self) -> Arc<dyn Channel> {
        self.stranger
            .connect(address(1), port().number())
            .await
            .unwrap()
    }

    async fn until(&self, counted: impl Fn(Counts) -> u64, expected: u64) {
        let counting = async {
            while counted(self.bluetooth.counts()) < expected {
                sleep(Duration::from_millis(10)).await;
            }
        };
        let in_time = timeout(Duration::from_secs(60), counting).await;
        assert!(in_time.is_ok(), "{:?}", self.bluetooth.counts());
    }

    /// A contact's hub in the same room, with a channel to this one.
    async fn contact(&self, number: u8) -> (Bluetooth, mpsc::Receiver<Received>) {
        let (bluetooth, _) = Bluetooth::new();
        bluetooth.attach(self.room.radio(number));
        bluetooth.switch(true);
        bluetooth.set_contacts(CEM, vec![(OWN, key())]);
        let received = bluetooth.connect_door(Door::Main);
        let opened = bluetooth.open(OWN, address(1), port()).await;
        opened.unwrap();
        (bluetooth, received)
    }
}

async fn recv(channel: &dyn Channel) -> Vec<u8> {
    let mut frame = vec![0; radio::FRAME_BYTES_MAX];
    let received = poll_fn(|cx| channel.poll_recv(cx, &mut frame)).await;
    frame.truncate(received.unwrap());
    frame
}

async fn send(channel: &dyn Channel, frame: &[u8]) {
    let _ = poll_fn(|cx| channel.poll_send(cx, frame)).await;
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_let_go() {
    let alone = alone();
    let channel = alone.connect().await;
    assert_eq!(recv(&*channel).await.len(), 17, "the challenge and no more");
    let began = Instant::now();
    assert_eq!(recv(&*channel).await.len(), 0, "closed");
    assert!(began.elapsed() <= GREETING_WAIT + Duration::from_secs(1));
    alone.until(|counts| counts.silent, 1).await;
    // Not heard again for a moment.
    let channel = alone.connect().await;
    assert_eq!(recv(&*channel).await.len(), 0);
    assert_eq!(alone.bluetooth.counts().busy, 1);
}

#[tokio::test(start_paused = true)]
async fn who_is_no_contact_or_speaks_nonsense_gets_nothing_but_the_challenge() {
    let alone = alone();
    let proof = [&[2][..], &[7; 32]].concat();
    let meets = [&[3][..], &[7; 48]].concat();
    let oversized = vec![2; radio::FRAME_BYTES_MAX];
    let frames = [proof, meets, vec![0], oversized, vec![1; 17]];
    for (at, frame) in frames.iter().enumerate() {
        let channel = alone.connect().await;
        assert_eq!(recv(&*channel).await.len(), 17);
        send(&*channel, frame).await;
        assert_eq!(recv(&*channel).await.len(), 0);
        let strangers = (at + 1).min(2) as u64;
        alone.until(|counts| counts.strangers, strangers).await;
        let garbled = at.saturating_sub(1) as u64;
        alone.until(|counts| counts.garbled, garbled).await;
        // Longer than the next time that this address isn't answered.
        sleep(Duration::from_secs(300)).await;
    }
    assert_eq!(*alone.bluetooth.connected().borrow(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_channels_is_turned_away_and_a_contact_gets_through() {
    let alone = alone();
    let strangers: Vec<_> = (100..140).map(|number| alone.room.radio(number)).collect();
    let mut held = Vec::new();
    for stranger in &strangers {
        held.extend(stranger.connect(address(1), port().number()).await);
    }
    assert!(
        alone.bluetooth.counts().busy > 20,
        "{:?}",
        alone.bluetooth.counts()
    );
    // Silent ones are let go; then there is room.
    alone.until(|counts| counts.silent, 3).await;
    let (contact, _) = alone.contact(7).await;
    assert!(contact.has_channel(OWN) && alone.bluetooth.has_channel(CEM));
}

#[tokio::test(start_paused = true)]
async fn a_contact_that_sends_another_frame_is_cut_and_counted() {
    let mut alone = alone();
    let (contact, _) = alone.contact(7).await;
    contact.send(1, [&b"datagram"[..]].into_iter());
    let received = alone.received.recv().await.unwrap();
    assert_eq!(&received.datagram[..], b"datagram");
    // One that has the key of the channel's beginning only: the frames' keys are in the hub.
    let channel = alone.connect().await;
    let challenge = recv(&*channel).await;
    let meant = proto::bluetooth::Meant::Contact {
        endpoint: OWN,
        key: key(),
    };
    let dialler = proto::bluetooth::Dialler::new(CEM, meant);
    let (answered, answer) = dialler.answer(&challenge, [5; 16]).unwrap();
    send(&*channel, &answer).await;
    answered.welcome(&recv(&*channel).await).unwrap();
    send(&*channel, &[0; 1_300]).await;
    alone.until(|counts| counts.garbled, 1).await;
    assert_eq!(recv(&*channel).await.len(), 0);
    assert!(alone.bluetooth.has_channel(CEM), "the honest one stays");
}

/// One that doesn't read holds up nobody: what is for it is lost, and it is let go.
#[tokio::test(start_paused = true)]
async fn a_channel_that_takes_nothing_is_closed_and_delays_no_other() {
    let mut alone = alone();
    let (contact, mut theirs) = alone.contact(7).await;
    let channel = alone.connect().await;
    let challenge = recv(&*channel).await;
    let meant = proto::bluetooth::Meant::Contact {
        endpoint: OWN,
        key: key(),
    };
    let dialler = proto::bluetooth::Dialler::new(CEM, meant);
    let (answered, answer) = dialler.answer(&challenge, [5; 16]).unwrap();
    send(&*channel, &answer).await;
    answered.welcome(&recv(&*channel).await).unwrap();
    // The stuck one is the second; the queue of each is its own.
    let datagram = [7_u8; 1_200];
    for _ in 0..5 {
        for _ in 0..100 {
            alone.bluetooth.send(2, [&datagram[..]].into_iter());
        }
        sleep(Duration::from_secs(1)).await;
    }
    assert!(alone.bluetooth.counts().dropped > 400);
    alone.bluetooth.send(1, [&b"ours"[..]].into_iter());
    let received = timeout(Duration::from_secs(2), theirs.recv()).await;
    assert_eq!(&received.unwrap().unwrap().datagram[..], b"ours");
    contact.send(1, [&b"theirs"[..]].into_iter());
    let received = timeout(Duration::from_secs(2), alone.received.recv()).await;
    assert_eq!(&received.unwrap().unwrap().datagram[..], b"theirs");
    alone.until(|counts| counts.stuck, 1).await;
}

#[tokio::test(start_paused = true)]
async fn who_is_removed_is_cut_and_not_let_in_again() {
    let alone = alone();
    let (contact, _) = alone.contact(7).await;
    alone.bluetooth.set_contacts(OWN, Vec::new());
    assert!(!alone.bluetooth.has_channel(CEM));
    let gone = async {
        while contact.has_channel(OWN) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, gone).await.unwrap();
    let again = contact.open(OWN, address(1), port()).await;
    assert!(again.is_err(), "{again:?}");
    alone.until(|counts| counts.strangers, 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_channel_over_which_nothing_passes_is_closed() {
    let alone = alone();
    let (_contact, _) = alone.contact(7).await;
    let mut connected = alone.bluetooth.connected();
    assert_eq!(*connected.borrow_and_update(), 1);
    let began = Instant::now();
    connected.changed().await.unwrap();
    assert_eq!(*connected.borrow_and_update(), 0);
    let took = began.elapsed();
    assert!(took > IDLE - SOON && took < IDLE * 2, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn off_nothing_is_opened_or_taken() {
    let alone = alone();
    let (contact, _) = alone.contact(7).await;
    alone.bluetooth.switch(false);
    assert_eq!(*alone.bluetooth.connected().borrow(), 0);
    sleep(Duration::from_secs(1)).await;
    assert!(contact.open(OWN, address(1), port()).await.is_err());
    let out = alone.bluetooth.open(CEM, address(7), port()).await;
    assert_eq!(out, Err(OpenError::Off));
}

/// An adapter that goes and comes back: its state is told, and what is announced stays.
#[tokio::test(start_paused = true)]
async fn an_adapter_that_goes_takes_its_channels_and_comes_back() {
    let alone = alone();
    let (_contact, _) = alone.contact(7).await;
    alone.bluetooth.announce(Some([1; 10]));
    alone.bluetooth.listen(Listening::Eager);
    let mut state = alone.bluetooth.state();
    alone.room.set_state(1, State::NoAdapter);
    let gone = state.wait_for(|state| *state == State::NoAdapter);
    timeout(SOON, gone).await.unwrap().unwrap();
    assert_eq!(alone.bluetooth.port(), None);
    alone.room.set_state(1, sim::ready(1));
    let back = state.wait_for(|state| matches!(state, State::Ready(_)));
    timeout(SOON, back).await.unwrap().unwrap();
    assert_eq!(alone.room.announced_by(1), Some([1; 10]));
    assert_eq!(alone.room.listening_of(1), Some(Listening::Eager));
    assert_eq!(alone.room.connected_by(1), 0);
    let (_again, _) = alone.contact(8).await;
}
