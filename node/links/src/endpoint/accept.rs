//! The accept loop: handshakes, bounded, then to whom each connection belongs.

use std::{sync::Arc, time::Duration};

use iroh::{
    Endpoint,
    endpoint::{Incoming, IncomingAddr},
};
use proto::EndpointId;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{Arrival, SHUTDOWN_WAIT};
use crate::{
    Admission, CloseCode, Connection, Protocol, Reach, Refusal, Side, Verdict, address,
    admission::Door, gossip::Pairs, passage::Passages, room::Room,
};

/// Handshakes at once. One costs about a millisecond of a core and some KiB.
const HANDSHAKES_MAX: usize = 64;
/// Handshakes at once above which a remote must first prove its address, at the cost of a round
/// trip, so that forged addresses can't fill the rest.
const HANDSHAKES_UNPROVEN_MAX: usize = 16;
/// How long a handshake may take; as long as a dial.
const HANDSHAKE_WAIT: Duration = super::DIAL_WAIT;
/// How long an admitted connection waits to be taken before it is closed as busy.
pub(super) const HAND_OVER_WAIT: Duration = Duration::from_secs(5);

/// Accepts for one endpoint.
#[derive(Clone)]
pub(super) struct Acceptor {
    pub(super) endpoint: Endpoint,
    pub(super) id: EndpointId,
    pub(super) admission: Admission,
    pub(super) door: Door,
    pub(super) reach: Reach,
    /// Where gossip connections go; a temporary endpoint has none.
    pub(super) pairs: Option<Pairs>,
    pub(super) room: Room,
    pub(super) passages: Passages,
    pub(super) arrivals: mpsc::Sender<Arrival>,
}

impl Acceptor {
    /// Runs until `stop`, then closes the endpoint.
    pub(super) async fn run(self, stop: CancellationToken) {
        let room = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        loop {
            let incoming = tokio::select! {
                () = stop.cancelled() => break,
                incoming = self.endpoint.accept() => incoming,
            };
            let Some(incoming) = incoming else { break };
            let direct = match incoming.remote_addr() {
                IncomingAddr::Ip(addr) => Some(addr),
                _ => None,
            };
            if direct.is_some_and(|addr| !address::may_answer(addr, self.reach)) {
                // No answer at all: the internet must not even see that somebody is here.
                self.admission.count(Refusal::Outside);
                incoming.ignore();
                continue;
            }
            if direct.is_some_and(|addr| !self.admission.answers(addr.ip(), self.door)) {
                self.admission.count(Refusal::Unrecognised);
                incoming.ignore();
                continue;
            }
            let Ok(permit) = room.clone().try_acquire_owned() else {
                incoming.refuse();
                continue;
            };
            let busy = HANDSHAKES_MAX - room.available_permits() > HANDSHAKES_UNPROVEN_MAX;
            if busy && direct.is_some() && !incoming.remote_addr_validated() {
                // Fails only for an address that is proven already.
                let _ = incoming.retry();
                continue;
            }
            tokio::spawn(self.clone().greet(incoming, permit));
        }
        let _ = timeout(SHUTDOWN_WAIT, self.endpoint.close()).await;
    }

    async fn greet(self, incoming: Incoming, permit: OwnedSemaphorePermit) {
        let conn = match timeout(HANDSHAKE_WAIT, incoming).await {
            Ok(Ok(conn)) => conn,
            Ok(Err(error)) => {
                tracing::debug!(%error, "incoming connection ended in its handshake");
                return;
            }
            Err(_elapsed) => return,
        };
        drop(permit);
        let Some(protocol) = Protocol::from_alpn(conn.alpn()) else {
            conn.close(CloseCode::Refused.varint(), b"");
            return;
        };
        let remote = EndpointId(*conn.remote_id().as_bytes());
        let verdict = self
            .admission
            .still(remote, protocol, Side::Acceptor, self.door);
        if let Verdict::Refuse(refusal) = verdict {
            conn.close(refusal.close_code().varint(), b"");
            return;
        }
        match (protocol, &self.pairs) {
            (Protocol::Gossip, Some(pairs)) => pairs.arrived(remote, conn),
            (Protocol::Gossip, None) => conn.close(CloseCode::Refused.varint(), b""),
            (Protocol::Sync, _) => {
                self.hand_over(Arrival::Sync(self.admitted(conn, protocol)))
                    .await;
            }
            (Protocol::Meet, _) => {
                self.hand_over(Arrival::Meet(self.admitted(conn, protocol)))
                    .await;
            }
        }
    }

    fn admitted(&self, conn: iroh::endpoint::Connection, protocol: Protocol) -> Connection {
        let (room, passages) = (self.room.clone(), self.passages.clone());
        Connection::new(conn, protocol, self.id, room, passages)
    }

    async fn hand_over(&self, arrival: Arrival) {
        let (Arrival::Meet(conn) | Arrival::Sync(conn)) = &arrival;
        let conn = conn.clone();
        tokio::select! {
            _ = conn.closed() => {}
            sent = timeout(HAND_OVER_WAIT, self.arrivals.send(arrival)) => {
                if !matches!(sent, Ok(Ok(()))) {
                    conn.close(CloseCode::Busy, "");
                }
            }
        }
    }
}
