//! LE L2CAP connection-oriented channels, as the kernel's sockets give them: one frame in, one frame
//! out, and a peer that doesn't take more makes the sender wait.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bluer::{
    AddressType,
    l2cap::{
        PSM_LE_DYN_START, Security, SecurityLevel, SeqPacket, SeqPacketListener, Socket, SocketAddr,
    },
};
use tokio::{
    io::ReadBuf,
    sync::{Notify, Semaphore, mpsc, watch},
    time::{Instant, sleep, timeout_at},
};

use super::super::radio::{Address, Channel, FRAME_BYTES_MAX, State};

/// The time for which somebody waits who connects, waiting for others' connecting included: an
/// adapter makes one connection after the other.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// Pause between two looks whether a connection is made: that takes some tenths of a second.
const CONNECTED_EVERY: Duration = Duration::from_millis(10);
/// A connection without a channel is ended after this: it costs its adapter a place, and there are few.
const PART_AFTER: Duration = Duration::from_secs(3);
/// Channels that the kernel keeps until they are taken.
const BACKLOG: u32 = 8;
/// Pause after the kernel gave no channel, such as for want of file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(500);
/// Errors of `socket` where the kernel has no Bluetooth or the sandbox no such sockets
/// (EAFNOSUPPORT, EPROTONOSUPPORT).
const NO_SOCKETS: [i32; 2] = [97, 93];

/// With whom there are channels, and who is being connected to.
#[derive(Debug, Default)]
pub(super) struct Contacts {
    open: Mutex<BTreeMap<Address, Use>>,
    connecting: watch::Sender<usize>,
    /// Somebody's last channel was closed.
    closing: Notify,
}

#[derive(Debug, Default)]
struct Use {
    channels: usize,
    /// When the last one was closed.
    since: Option<Instant>,
}

impl Contacts {
    fn open(&self) -> MutexGuard<'_, BTreeMap<Address, Use>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened(&self, with: Address) {
        let mut open = self.open();
        let of = open.entry(with).or_default();
        of.channels += 1;
        of.since = None;
    }

    fn closed(&self, with: Address) {
        let mut open = self.open();
        if let Some(of) = open.get_mut(&with) {
            of.channels = of.channels.saturating_sub(1);
            of.since = (of.channels == 0).then(Instant::now);
            self.closing.notify_one();
        }
    }

    /// Waits until [`Self::leave_at`] may have changed.
    pub(super) async fn closing(&self) {
        self.closing.notified().await;
    }

    /// When the connection is to be ended with whom there has been no channel for longest.
    pub(super) fn leave_at(&self) -> Option<Instant> {
        let since = self.open().values().filter_map(|of| of.since).min();
        since.map(|since| since + PART_AFTER)
    }

    /// Those with whom there has been no channel for a while; they are forgotten.
    pub(super) fn left(&self) -> Vec<Address> {
        let is_left = |of: &Use| of.since.is_some_and(|since| since.elapsed() >= PART_AFTER);
        self.open()
            .extract_if(.., |_, of| is_left(of))
            .map(|(with, _)| with)
            .collect()
    }

    /// How many connections are being made: the radio can't listen well meanwhile.
    pub(super) fn connecting(&self) -> watch::Receiver<usize> {
        self.connecting.subscribe()
    }
}

/// A channel with another device.
#[derive(Debug)]
struct L2cap {
    socket: SeqPacket,
    held: Held,
}

/// Somebody with whom there is a channel, or is to be one: the connection below it is left alone.
#[derive(Debug)]
struct Held {
    with: Address,
    contacts: Arc<Contacts>,
}

impl Held {
    fn new(with: Address, contacts: Arc<Contacts>) -> Self {
        contacts.opened(with);
        Self { with, contacts }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.contacts.closed(self.with);
    }
}

impl Channel for L2cap {
    fn remote(&self) -> Address {
        self.held.with
    }

    fn poll_send(&self, cx: &mut Context<'_>, frame: &[u8]) -> Poll<io::Result<()>> {
        let sent = ready!(self.socket.poll_send(cx, frame))?;
        Poll::Ready(if sent == frame.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        })
    }

    fn poll_recv(&self, cx: &mut Context<'_>, frame: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut frame = ReadBuf::new(frame);
        ready!(self.socket.poll_recv(cx, &mut frame))?;
        Poll::Ready(Ok(frame.filled().len()))
    }
}

/// A socket at one of our adapters. Without a key and without a pairing: the frames bring their own.
fn socket(at: Address, port: u16) -> io::Result<Socket<SeqPacket>> {
    let socket = Socket::<SeqPacket>::new_seq_packet()?;
    socket.set_security(Security {
        level: SecurityLevel::Low,
        key_size: 0,
    })?;
    socket.bind(kernels(at, port))?;
    let longest = u16::try_from(FRAME_BYTES_MAX).unwrap_or(u16::MAX);
    socket.set_recv_mtu(longest)?;
    Ok(socket)
}

fn kernels(address: Address, port: u16) -> SocketAddr {
    let kind = if address.random {
        AddressType::LeRandom
    } else {
        AddressType::LePublic
    };
    SocketAddr::new(bluer::Address(address.bytes), kind, port)
}

fn ours(address: SocketAddr) -> Address {
    Address {
        bytes: address.addr.0,
        random: address.addr_type == AddressType::LeRandom,
    }
}

/// Listens at an adapter, at a port that is free: the one before, if it can be had.
pub(super) fn listen(at: Address, before: Option<u8>) -> io::Result<(SeqPacketListener, u8)> {
    let bound = match before {
        Some(port) => socket(at, u16::from(port)).or_else(|_| socket(at, 0)),
        None => socket(at, 0),
    };
    let listener = bound?.listen(BACKLOG)?;
    let port = listener.as_ref().local_addr()?.psm;
    match u8::try_from(port) {
        Ok(byte) if port >= PSM_LE_DYN_START => Ok((listener, byte)),
        _ => Err(io::ErrorKind::AddrNotAvailable.into()),
    }
}

/// What an error of [`listen`] says about the adapter.
pub(super) fn state_after(error: &io::Error) -> State {
    match error.raw_os_error() {
        _ if error.kind() == io::ErrorKind::PermissionDenied => State::Refused,
        Some(number) if NO_SOCKETS.contains(&number) => State::Unusable(
            "no Bluetooth sockets can be opened here: a sandbox, a container, or a kernel without them"
                .to_owned(),
        ),
        _ => State::Unusable(format!("can't listen for connections: {error}")),
    }
}

/// Takes channels until it is dropped. With a full queue a channel is closed again: its other side
/// may try later.
pub(super) async fn accept(
    listener: SeqPacketListener,
    arrivals: mpsc::Sender<Arc<dyn Channel>>,
    contacts: Arc<Contacts>,
) {
    loop {
        match listener.accept().await {
            Ok((socket, from)) => {
                let held = Held::new(ours(from), contacts.clone());
                if arrivals.try_send(Arc::new(L2cap { socket, held })).is_err() {
                    tracing::debug!("a Bluetooth channel was closed: too many wait");
                }
            }
            Err(error) => {
                tracing::debug!(%error, "a Bluetooth channel wasn't taken");
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// Connects from an adapter to a port of another device.
pub(super) async fn connect(
    from: Address,
    to: Address,
    port: u8,
    one_by_one: Arc<Semaphore>,
    contacts: Arc<Contacts>,
) -> io::Result<Arc<dyn Channel>> {
    let until = Instant::now() + CONNECT_TIME;
    let _busy = Busy::new(contacts.clone());
    let held = Held::new(to, contacts);
    let connected = timeout_at(until, async {
        let _turn = one_by_one.acquire().await;
        let connecting = socket(from, 0)?.connect(kernels(to, u16::from(port)));
        really(connecting.await?).await
    });
    let socket = connected.await.map_err(|_| io::ErrorKind::TimedOut)??;
    Ok(Arc::new(L2cap { socket, held }))
}

/// Waits until a socket is connected. A socket counts as writable before it connects, so that the wait
/// for it may end too soon.
async fn really(socket: SeqPacket) -> io::Result<SeqPacket> {
    while socket.as_ref().conn_info().is_err() {
        // Neither connected nor on the way: the error is the next call's to tell.
        if socket.peer_addr().is_err() {
            socket.recv(&mut [0]).await?;
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        sleep(CONNECTED_EVERY).await;
    }
    Ok(socket)
}

/// Somebody who connects.
struct Busy(Arc<Contacts>);

impl Busy {
    fn new(contacts: Arc<Contacts>) -> Self {
        contacts.connecting.send_modify(|count| *count += 1);
        Self(contacts)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let less = |count: &mut usize| *count = count.saturating_sub(1);
        self.0.connecting.send_modify(less);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(number: u8) -> Address {
        Address {
            bytes: [number; 6],
            random: false,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_left_a_while_after_its_last_channel_closed() {
        let contacts = Contacts::default();
        contacts.opened(device(1));
        contacts.opened(device(1));
        contacts.opened(device(2));
        contacts.closed(device(1));
        assert_eq!(contacts.leave_at(), None);
        contacts.closed(device(1));
        contacts.closing().await;
        assert_eq!(contacts.leave_at(), Some(Instant::now() + PART_AFTER));
        assert_eq!(contacts.left(), []);
        tokio::time::advance(PART_AFTER).await;
        assert_eq!(contacts.left(), [device(1)]);
        assert_eq!((contacts.left(), contacts.leave_at()), (vec![], None));

        // Whoever comes back in time stays.
        contacts.closed(device(2));
        contacts.opened(device(2));
        tokio::time::advance(PART_AFTER).await;
        assert_eq!(contacts.left(), []);
    }

    #[test]
    fn connecting_is_counted_until_it_ends_in_whatever_way() {
        let contacts = Arc::new(Contacts::default());
        let count = contacts.connecting();
        let (one, other) = (Busy::new(contacts.clone()), Busy::new(contacts));
        assert_eq!(*count.borrow(), 2);
        drop(one);
        drop(other);
        assert_eq!(*count.borrow(), 0);
    }
}
