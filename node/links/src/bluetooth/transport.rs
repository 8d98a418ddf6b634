//! Channels as a transport of an iroh endpoint, beside its sockets. An address is the local handle of
//! one channel: it means nothing to anybody else, is used once, and is never told to a peer.

use std::{
    fmt, io,
    num::NonZeroUsize,
    sync::Arc,
    task::{Context, Poll},
};

use iroh::endpoint::transports::{
    CustomEndpoint, CustomSender, CustomTransport, RecvInfo, Transmit,
};
use iroh_base::CustomAddr;
use n0_watcher::Watchable;
use tokio::sync::mpsc;

use super::hub::{Bluetooth, Received};
use crate::admission::Door;

/// What marks our addresses among an endpoint's: nobody else's see them.
const TRANSPORT: u64 = 0x7761_796d;
/// Datagrams that wait for an endpoint over all channels; it takes them at once or is overloaded.
pub(super) const RECEIVED_MAX: usize = 256;
/// Datagrams in one call: what the sockets beside it take too, since the smallest number holds for
/// all of them.
const SEGMENTS_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);

pub(super) fn of(hub: Bluetooth, door: Door) -> Arc<dyn CustomTransport> {
    Arc::new(Transport { hub, door })
}

/// The address of a channel.
pub(super) fn address(handle: u64) -> CustomAddr {
    CustomAddr::from_parts(TRANSPORT, &handle.to_be_bytes())
}

fn handle(address: &CustomAddr) -> Option<u64> {
    let bytes = address.data().try_into().ok()?;
    is_ours(address).then_some(u64::from_be_bytes(bytes))
}

/// Whether an address is that of a channel.
pub(crate) fn is_ours(address: &CustomAddr) -> bool {
    address.id() == TRANSPORT
}

#[derive(Debug)]
struct Transport {
    hub: Bluetooth,
    door: Door,
}

impl CustomTransport for Transport {
    fn bind(&self) -> io::Result<Box<dyn CustomEndpoint>> {
        Ok(Box::new(Endpoint {
            hub: self.hub.clone(),
            received: self.hub.connect_door(self.door),
            // Peers would be told of what stands here.
            local: Watchable::new(Vec::new()),
        }))
    }
}

#[derive(Debug)]
struct Endpoint {
    hub: Bluetooth,
    received: mpsc::Receiver<Received>,
    local: Watchable<Vec<CustomAddr>>,
}

impl CustomEndpoint for Endpoint {
    fn watch_local_addrs(&self) -> n0_watcher::Direct<Vec<CustomAddr>> {
        self.local.watch()
    }

    fn create_sender(&self) -> Arc<dyn CustomSender> {
        Arc::new(Sender(self.hub.clone()))
    }

    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &mut [io::IoSliceMut<'_>],
        metas: &mut [noq_udp::RecvMeta],
        recv_infos: &mut [RecvInfo],
    ) -> Poll<io::Result<usize>> {
        let mut filled = 0;
        let mut slots = bufs.iter_mut().zip(metas).zip(recv_infos);
        let mut slot = slots.next();
        while let Some(((buf, meta), info)) = slot.take() {
            let Poll::Ready(Some(Received { from, datagram })) = self.received.poll_recv(cx) else {
                // None where another endpoint took its place: nothing comes here any more.
                break;
            };
            let length = datagram.len();
            let Some(into) = buf.get_mut(..length).filter(|into| !into.is_empty()) else {
                // Longer than QUIC takes.
                slot = Some(((buf, meta), info));
                continue;
            };
            into.copy_from_slice(&datagram);
            *meta = noq_udp::RecvMeta::default();
            (meta.len, meta.stride) = (length, length);
            *info = RecvInfo::new(address(from), None);
            filled += 1;
            slot = slots.next();
        }
        if filled == 0 {
            return Poll::Pending;
        }
        Poll::Ready(Ok(filled))
    }

    fn max_transmit_segments(&self) -> NonZeroUsize {
        SEGMENTS_MAX
    }
}

struct Sender(Bluetooth);

impl CustomSender for Sender {
    fn is_valid_send_addr(&self, addr: &CustomAddr) -> bool {
        handle(addr).is_some_and(|handle| self.0.is_open(handle))
    }

    fn poll_send(
        &self,
        _cx: &mut Context<'_>,
        dst: &CustomAddr,
        _src: Option<&CustomAddr>,
        transmit: &Transmit<'_>,
    ) -> Poll<io::Result<()>> {
        let whole = transmit.contents.len().max(1);
        let size = transmit.segment_size.unwrap_or(whole).max(1);
        if let Some(handle) = handle(dst) {
            self.0.send(handle, transmit.contents.chunks(size));
        }
        // What is lost on the way looks the same to QUIC.
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bluetooth::Sender")
    }
}
