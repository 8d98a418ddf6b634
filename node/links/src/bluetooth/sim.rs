//! A room full of radios, for tests: they hear each other's announcements and open channels over
//! air that has a rate, a delay and frames that have to be sent again. Two of them can go out of each
//! other's range, and each can be switched off. Nothing here says anything about real radios.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    time::{Instant, interval, sleep, sleep_until},
};
use tokio_util::sync::{CancellationToken, DropGuard, PollSender};

use super::radio::{
    ANNOUNCED_BYTES, Adapter, Address, Channel, Connecting, FRAME_BYTES_MAX, Heard, Listening,
    Radio, State,
};

/// Between two rounds of announcements.
const ROUND: Duration = Duration::from_millis(500);
/// Rounds in which [`Listening::Spare`] listens, and after which that begins anew.
const SPARE_ROUNDS: (u64, u64) = (4, 40);
/// Frames that wait at each stage between two radios: a receiver's credits.
const CREDITS: usize = 8;
const HEARD_MAX: usize = 64;
const ARRIVALS_MAX: usize = 16;
const PORT: u8 = 0x81;

/// What the air is like. All radios share it.
#[derive(Debug, Clone, Copy)]
pub struct Air {
    /// Bytes a second, over all channels and both directions.
    pub bytes_per_s: u64,
    /// From the last bit sent to the frame received.
    pub delay: Duration,
    /// Of a thousand frames so many have to be sent again, which takes their time again: a channel
    /// loses nothing by itself.
    pub again_per_mille: u64,
}

impl Default for Air {
    /// A tolerable one: 100 kB/s.
    fn default() -> Self {
        Self {
            bytes_per_s: 100_000,
            delay: Duration::from_millis(15),
            again_per_mille: 20,
        }
    }
}

/// The room. Clones share it; what is on the air ends with the last.
#[derive(Clone)]
pub struct Room {
    world: Arc<Mutex<World>>,
    _stop: Arc<DropGuard>,
}

struct World {
    air: Air,
    /// When the air is free again.
    free: Instant,
    dice: u64,
    stations: BTreeMap<Address, Station>,
    apart: BTreeSet<(Address, Address)>,
    lines: Vec<((Address, Address), CancellationToken)>,
}

struct Station {
    state: watch::Sender<State>,
    announced: Option<[u8; ANNOUNCED_BYTES]>,
    listening: Listening,
    heard: mpsc::Sender<Heard>,
    arrivals: mpsc::Sender<Arc<dyn Channel>>,
    /// How often it connected.
    connected: u64,
}

impl Station {
    fn is_ready(&self) -> bool {
        matches!(*self.state.borrow(), State::Ready(_))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pair(one: Address, other: Address) -> (Address, Address) {
    (one.min(other), one.max(other))
}

/// The address of the radio with this number.
#[must_use]
pub const fn address(number: u8) -> Address {
    Address {
        bytes: [0xc0, 0, 0, 0, 0, number],
        random: true,
    }
}

/// What a radio with this number says of itself while it works.
#[must_use]
pub fn ready(number: u8) -> State {
    State::Ready(Adapter {
        name: format!("sim{number}"),
        address: Some(address(number)),
        private: true,
        others: Vec::new(),
    })
}

impl Room {
    /// An empty room. Needs a runtime.
    #[must_use]
    pub fn new(air: Air) -> Self {
        let world = Arc::new(Mutex::new(World {
            air,
            free: Instant::now(),
            dice: 0x9e37_79b9_7f4a_7c15,
            stations: BTreeMap::new(),
            apart: BTreeSet::new(),
            lines: Vec::new(),
        }));
        let stop = CancellationToken::new();
        tokio::spawn(rounds(Arc::downgrade(&world), stop.clone()));
        let _stop = Arc::new(stop.drop_guard());
        Self { world, _stop }
    }

    /// Another radio in the room, in everybody's range. A number is used once; one that comes again
    /// takes the other's place.
    #[must_use]
    pub fn radio(&self, number: u8) -> Arc<dyn Radio> {
        let (heard, heard_by_us) = mpsc::channel(HEARD_MAX);
        let (arrivals, arrived) = mpsc::channel(ARRIVALS_MAX);
        let station = Station {
            state: watch::Sender::new(ready(number)),
            announced: None,
            listening: Listening::Off,
            heard,
            arrivals,
            connected: 0,
        };
        let state = station.state.subscribe();
        lock(&self.world).stations.insert(address(number), station);
        Arc::new(SimRadio {
            room: self.clone(),
            address: address(number),
            state,
            heard: Mutex::new(Some(heard_by_us)),
            arrivals: Mutex::new(Some(arrived)),
        })
    }

    /// Takes two radios out of each other's range, or back into it.
    pub fn part(&self, one: u8, other: u8, apart: bool) {
        let pair = pair(address(one), address(other));
        let mut world = lock(&self.world);
        if apart {
            world.apart.insert(pair);
            world.end(|line| line == pair);
        } else {
            world.apart.remove(&pair);
        }
    }

    /// Changes what is to be said of a radio; unless that is [`State::Ready`] it does nothing more.
    pub fn set_state(&self, number: u8, state: State) {
        let mut world = lock(&self.world);
        let Some(station) = world.stations.get_mut(&address(number)) else {
            return;
        };
        station.state.send_replace(state);
        if !station.is_ready() {
            world.end(|line| line.0 == address(number) || line.1 == address(number));
        }
    }

    /// What a radio announces now.
    #[must_use]
    pub fn announced_by(&self, number: u8) -> Option<[u8; ANNOUNCED_BYTES]> {
        let world = lock(&self.world);
        world.stations.get(&address(number))?.announced
    }

    /// How much a radio listens now.
    #[must_use]
    pub fn listening_of(&self, number: u8) -> Option<Listening> {
        let world = lock(&self.world);
        Some(world.stations.get(&address(number))?.listening)
    }

    /// How often a radio opened a channel.
    #[must_use]
    pub fn connected_by(&self, number: u8) -> u64 {
        let world = lock(&self.world);
        let station = world.stations.get(&address(number));
        station.map_or(0, |station| station.connected)
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Room({} radios)", lock(&self.world).stations.len())
    }
}

impl World {
    fn end(&mut self, which: impl Fn((Address, Address)) -> bool) {
        self.lines.retain(|(line, stop)| {
            let ends = which(*line);
            if ends {
                stop.cancel();
            }
            !ends && !stop.is_cancelled()
        });
    }

    /// When a frame of this length has been sent.
    fn sent_at(&mut self, bytes: usize) -> Instant {
        // xorshift64 (Marsaglia 2003): the same dice in each run.
        for shift in [(13, true), (7, false), (17, true)] {
            let (by, left) = shift;
            self.dice ^= if left {
                self.dice << by
            } else {
                self.dice >> by
            };
        }
        let again = u64::from(self.dice % 1_000 < self.air.again_per_mille);
        let nanoseconds = bytes as u64 * 1_000_000_000 * (1 + again) / self.air.bytes_per_s.max(1);
        self.free = self.free.max(Instant::now()) + Duration::from_nanos(nanoseconds);
        self.free
    }

    fn announce(&self, round: u64) {
        for (to, listener) in &self.stations {
            let listens = match listener.listening {
                Listening::Off => false,
                Listening::Spare => round % SPARE_ROUNDS.1 < SPARE_ROUNDS.0,
                Listening::Eager => true,
            };
            if !listens || !listener.is_ready() {
                continue;
            }
            for (from, speaker) in &self.stations {
                let in_range = from != to && !self.apart.contains(&pair(*from, *to));
                if let Some(bytes) = speaker.announced.filter(|_| in_range && speaker.is_ready()) {
                    let heard = Heard { from: *from, bytes };
                    let _ = listener.heard.try_send(heard);
                }
            }
        }
    }
}

async fn rounds(world: Weak<Mutex<World>>, stop: CancellationToken) {
    let mut rounds = interval(ROUND);
    for round in 0.. {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = rounds.tick() => {}
        }
        let Some(world) = world.upgrade() else { return };
        lock(&world).announce(round);
    }
}

struct SimRadio {
    room: Room,
    address: Address,
    state: watch::Receiver<State>,
    heard: Mutex<Option<mpsc::Receiver<Heard>>>,
    arrivals: Mutex<Option<mpsc::Receiver<Arc<dyn Channel>>>>,
}

impl fmt::Debug for SimRadio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimRadio({:?})", self.address)
    }
}

impl SimRadio {
    fn change(&self, change: impl FnOnce(&mut Station)) {
        if let Some(station) = lock(&self.room.world).stations.get_mut(&self.address) {
            change(station);
        }
    }
}

impl Drop for SimRadio {
    fn drop(&mut self) {
        let mut world = lock(&self.room.world);
        if let Some(station) = world.stations.get_mut(&self.address) {
            (station.announced, station.listening) = (None, Listening::Off);
        }
    }
}

impl Radio for SimRadio {
    fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    fn port(&self) -> Option<u8> {
        matches!(*self.state.borrow(), State::Ready(_)).then_some(PORT)
    }

    fn announce(&self, bytes: Option<[u8; ANNOUNCED_BYTES]>) {
        self.change(|station| station.announced = bytes);
    }

    fn listen(&self, how: Listening) {
        self.change(|station| station.listening = how);
    }

    fn heard(&self) -> Option<mpsc::Receiver<Heard>> {
        lock(&self.heard).take()
    }

    fn arrivals(&self) -> Option<mpsc::Receiver<Arc<dyn Channel>>> {
        lock(&self.arrivals).take()
    }

    fn connect(&self, to: Address, port: u8) -> Connecting {
        let (room, own) = (self.room.clone(), self.address);
        Box::pin(async move {
            let delay = lock(&room.world).air.delay;
            sleep(delay * 4).await;
            connect(&room, own, to, port)
        })
    }
}

fn connect(room: &Room, from: Address, to: Address, port: u8) -> io::Result<Arc<dyn Channel>> {
    let mut world = lock(&room.world);
    let (line, delay) = (pair(from, to), world.air.delay);
    let apart = world.apart.contains(&line);
    let is_ready =
        |world: &World, one: &Address| world.stations.get(one).is_some_and(Station::is_ready);
    if apart || port != PORT || !is_ready(&world, &from) || !is_ready(&world, &to) {
        return Err(io::ErrorKind::HostUnreachable.into());
    }
    let over = CancellationToken::new();
    let (there, theirs) = one_way(room, delay, &over);
    let (back, ours) = one_way(room, delay, &over);
    let channel = |remote, out, inn| -> Arc<dyn Channel> {
        Arc::new(SimChannel {
            remote,
            out: Mutex::new(out),
            inn: Mutex::new(inn),
        })
    };
    let theirs = channel(from, back, theirs);
    if let Some(station) = world.stations.get_mut(&from) {
        station.connected += 1;
    }
    let station = world.stations.get(&to);
    let accepted = station.map(|station| station.arrivals.try_send(theirs));
    if !matches!(accepted, Some(Ok(()))) {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    world.end(|_| false);
    world.lines.push((line, over));
    drop(world);
    Ok(channel(to, there, ours))
}

/// One direction: first the time on the air, then the delay; each stage holds a few frames, so that
/// who doesn't read stops who sends.
fn one_way(
    room: &Room,
    delay: Duration,
    over: &CancellationToken,
) -> (PollSender<Vec<u8>>, mpsc::Receiver<Vec<u8>>) {
    let (out, mut waiting) = mpsc::channel::<Vec<u8>>(CREDITS);
    let (on_air, mut flying) = mpsc::channel::<(Instant, Vec<u8>)>(CREDITS);
    let (landed, inn) = mpsc::channel(CREDITS);
    let (world, ended) = (Arc::downgrade(&room.world), over.clone());
    tokio::spawn(async move {
        let sending = async {
            while let Some(frame) = waiting.recv().await {
                let Some(world) = world.upgrade() else { return };
                let at = lock(&world).sent_at(frame.len());
                drop(world);
                sleep_until(at).await;
                if on_air.send((at + delay, frame)).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = sending => {}
            () = ended.cancelled() => {}
        }
    });
    let ended = over.clone();
    tokio::spawn(async move {
        let landing = async {
            while let Some((at, frame)) = flying.recv().await {
                sleep_until(at).await;
                if landed.send(frame).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = landing => {}
            () = ended.cancelled() => {}
        }
    });
    (PollSender::new(out), inn)
}

struct SimChannel {
    remote: Address,
    out: Mutex<PollSender<Vec<u8>>>,
    inn: Mutex<mpsc::Receiver<Vec<u8>>>,
}

impl fmt::Debug for SimChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimChannel({:?})", self.remote)
    }
}

impl Channel for SimChannel {
    fn remote(&self) -> Address {
        self.remote
    }

    fn poll_send(&self, cx: &mut Context<'_>, frame: &[u8]) -> Poll<io::Result<()>> {
        let mut out = lock(&self.out);
        let sent = ready!(out.poll_reserve(cx)).and_then(|()| out.send_item(frame.to_vec()));
        Poll::Ready(sent.map_err(|_| io::ErrorKind::ConnectionReset.into()))
    }

    fn poll_recv(&self, cx: &mut Context<'_>, frame: &mut [u8]) -> Poll<io::Result<usize>> {
        let received = ready!(lock(&self.inn).poll_recv(cx)).unwrap_or_default();
        // What is longer than fits is cut, as the system does.
        let length = received.len().min(frame.len()).min(FRAME_BYTES_MAX);
        for (into, byte) in frame.iter_mut().zip(received) {
            *into = byte;
        }
        Poll::Ready(Ok(length))
    }
}
