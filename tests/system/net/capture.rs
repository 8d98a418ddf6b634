//! Reads frames from interfaces: what passes a switch, and one end of a line.
//!
//! Packet sockets (packet(7)) through nix's safe calls. A frame is what the kernel hands from one
//! interface to the other, so it may be one that a real card would cut into several, and its
//! checksum may not be there yet. Enter at [`Capture::start`].

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    ifaddrs::getifaddrs,
    sys::{
        socket::{
            AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recvfrom,
            send, setsockopt, socket,
            sockopt::{RcvBuf, RcvBufForce, ReceiveTimeout},
        },
        time::{TimeVal, TimeValLike as _},
    },
};

use super::{Namespace, Packet};

/// A frame that was put together for a card with offload, and its header.
const FRAME_BYTES_MAX: usize = 65_536 + 64;
/// So that a reader who doesn't get the processor for a moment loses nothing.
const BUFFER_BYTES: usize = 16 * 1024 * 1024;
/// How soon a reader sees that it should end.
const LOOK_MS: i64 = 20;
/// Where the wire never gets quiet a capture ends this much after it was told to.
const LEFTOVERS_WITHIN: Duration = Duration::from_millis(200);
/// `PACKET_OUTGOING`: what the machine itself sends by an interface.
const OUTGOING: u8 = 4;

/// A socket for whole frames.
pub(super) struct Frames {
    socket: OwnedFd,
}

impl Frames {
    /// All interfaces of a namespace.
    pub(super) fn of_all(namespace: &Namespace) -> Self {
        let (family, kind) = (AddressFamily::Packet, SockType::Raw);
        let (flags, protocol) = (SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll);
        let socket = namespace
            .place()
            .inside(|| socket(family, kind, flags, protocol))
            .unwrap();
        // Root of a user namespace only gets what the system lets everybody have.
        setsockopt(&socket, RcvBufForce, &BUFFER_BYTES)
            .or_else(|_| setsockopt(&socket, RcvBuf, &BUFFER_BYTES))
            .unwrap();
        setsockopt(&socket, ReceiveTimeout, &TimeVal::milliseconds(LOOK_MS)).unwrap();
        Self { socket }
    }

    /// One interface.
    pub(super) fn of(namespace: &Namespace, interface: &str) -> Self {
        let this = Self::of_all(namespace);
        bind(this.socket.as_raw_fd(), &address(namespace, interface)).unwrap();
        this
    }

    /// The next frame that came in by an interface, and that interface's number; nothing when
    /// none came for a moment.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<(usize, usize)>> {
        loop {
            match recvfrom::<LinkAddr>(self.socket.as_raw_fd(), buffer) {
                Ok((bytes, Some(from))) if from.pkttype() != OUTGOING => {
                    return Ok(Some((bytes, from.ifindex())));
                }
                Ok(_) | Err(Errno::EINTR) => {}
                // An interface that was down is no reason to end.
                Err(Errno::EAGAIN | Errno::ENETDOWN) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sends a frame by the interface. What isn't taken is lost, as on a wire.
    pub(super) fn send(&self, frame: &[u8]) {
        let _lost = send(self.socket.as_raw_fd(), frame, MsgFlags::empty());
    }
}

pub(super) fn buffer() -> Vec<u8> {
    vec![0; FRAME_BYTES_MAX]
}

fn address(namespace: &Namespace, interface: &str) -> LinkAddr {
    let all: Vec<_> = namespace
        .place()
        .inside(|| getifaddrs().map(Iterator::collect))
        .unwrap();
    all.into_iter()
        .filter(|one| one.interface_name == interface)
        .find_map(|one| one.address?.as_link_addr().copied())
        .unwrap_or_else(|| panic!("no interface {interface}"))
}

/// A running capture.
pub(crate) struct Capture {
    end: Arc<AtomicBool>,
    reader: JoinHandle<Vec<Packet>>,
}

impl Capture {
    /// Every frame that comes in at one of a switch's ports, once.
    pub(super) fn start(namespace: &Namespace, bridge: &str) -> Self {
        let frames = Frames::of_all(namespace);
        let bridge = address(namespace, bridge).ifindex();
        let end = Arc::new(AtomicBool::new(false));
        let ending = end.clone();
        let reader = thread::spawn(move || {
            let (mut buffer, mut packets, began) = (buffer(), Vec::new(), Instant::now());
            let mut leftovers_until = None;
            loop {
                let ends = ending.load(Ordering::Relaxed);
                let received = frames.receive(&mut buffer).unwrap();
                let at = began.elapsed();
                if let Some((bytes, interface)) = received
                    && interface != bridge
                {
                    let frame = buffer[..bytes].to_vec();
                    packets.push(Packet { at, frame });
                }
                if ends {
                    let until = *leftovers_until.get_or_insert(at + LEFTOVERS_WITHIN);
                    if received.is_none() || at > until {
                        return packets;
                    }
                }
            }
        });
        Self { end, reader }
    }

    /// What passed. What is on its way now belongs to it.
    pub(crate) fn end(self) -> Vec<Packet> {
        self.end.store(true, Ordering::Relaxed);
        self.reader.join().unwrap()
    }
}
