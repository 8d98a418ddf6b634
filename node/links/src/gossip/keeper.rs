//! The task behind a pair's topic: hands gossip its connections and sorts its events.

use std::{sync::Arc, time::Duration};

use iroh::endpoint::Connection;
use iroh_gossip::{
    Gossip,
    api::{Event, GossipReceiver, GossipSender},
    proto::DeliveryScope,
};
use n0_future::StreamExt;
use proto::EndpointId;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::{DialHint, Inbox, RECEIVED_PER_S_MAX, pairs::Registration, rate::Rate};
use crate::{Admission, CloseCode, DialError, endpoint::WeakDialer};

/// The wait before the second dial; it doubles up to [`BACKOFF_MAX`] and starts anew once the
/// peer is up.
const BACKOFF_MIN: Duration = Duration::from_millis(250);
/// The longest wait between two dials.
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// How long a connection that we dialled may stay without the peer coming up on the topic; then
/// it is dialled again. The peer joins when its side of the meeting has begun.
const UP_WAIT: Duration = Duration::from_secs(10);
/// How long leaving the topic may take.
const LEAVE_WAIT: Duration = Duration::from_millis(500);

/// Gossip's own messages that a peer may send for each connection. Joining and leaving takes
/// about four; every one can make gossip remember endpoints, addresses or message ids that the
/// peer invented.
const CONTROL_PER_CONNECTION: u64 = 64;
/// How often that is checked. A flood is stopped after this time.
const CONTROL_CHECK: Duration = Duration::from_millis(500);

pub(super) struct Keeper {
    pub(super) gossip: Gossip,
    pub(super) topic: GossipSender,
    pub(super) peer: EndpointId,
    pub(super) peer_key: iroh::EndpointId,
    pub(super) dial: Option<DialHint>,
    pub(super) dialer: WeakDialer,
    pub(super) inbox: Arc<Inbox>,
    pub(super) admission: Admission,
}

/// What the keeper does on the dialling side; the other side is always `Idle` or `Joined`.
enum Step {
    /// Waits for the peer's connection.
    Idle,
    /// Dials at this time.
    DialAt(Instant),
    /// Has a connection; dials again if the peer is not up by this time.
    Joining {
        conn: Connection,
        until: Option<Instant>,
    },
    /// The peer is up over this connection.
    Joined(Connection),
}

impl Keeper {
    pub(super) async fn run(
        self,
        mut events: GossipReceiver,
        mut registration: Registration,
        stop: CancellationToken,
    ) {
        let mut backoff = BACKOFF_MIN;
        let mut step = self.first();
        let mut connections = 0;
        let mut check = interval(CONTROL_CHECK);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut code = CloseCode::Done;
        let (mut rate, mut counted) = (Rate::new(RECEIVED_PER_S_MAX), 0);
        loop {
            step = tokio::select! {
                () = stop.cancelled() => break,
                _ = check.tick() => {
                    if self.gossip.metrics().msgs_ctrl_recv.get()
                        > connections * CONTROL_PER_CONNECTION
                        || self.has_flooded(&mut rate, &mut counted)
                    {
                        code = CloseCode::Misbehaved;
                        break;
                    }
                    step
                }
                event = events.next() => {
                    let Some(Ok(event)) = event else { break };
                    if is_for_many(&event) || self.has_flooded(&mut rate, &mut counted) {
                        code = CloseCode::Misbehaved;
                        break;
                    }
                    self.handle_event(event, step, &mut backoff)
                }
                conn = registration.incoming.recv() => match conn {
                    Some(conn) => {
                        connections += 1;
                        self.adopt(conn, step, None).await
                    }
                    // Another keeper took the peer over.
                    None => break,
                },
                next = self.advance(&step) => match next {
                    Next::Dialled(conn) => {
                        connections += 1;
                        self.adopt(conn, step, Some(Instant::now() + UP_WAIT)).await
                    }
                    Next::Again => {
                        drop_conn(step, CloseCode::Done);
                        self.again(&mut backoff)
                    }
                    Next::Stop => break,
                },
            };
        }
        self.inbox.close();
        if code == CloseCode::Misbehaved {
            tracing::debug!(peer = ?self.peer, "gossip ended: the peer abused it");
            self.admission.count_abused_gossip();
            drop_conn(step, code);
            return;
        }
        let _ = timeout(LEAVE_WAIT, self.gossip.shutdown()).await;
        drop_conn(step, code);
    }

    /// Whether more hints came, those that gossip dropped included, than a peer may send.
    fn has_flooded(&self, rate: &mut Rate, counted: &mut u64) -> bool {
        let came = self.gossip.metrics().msgs_data_recv.get();
        let new = came.saturating_sub(*counted);
        *counted = came;
        !rate.take(new, Instant::now())
    }

    fn first(&self) -> Step {
        match self.dial {
            Some(_) => Step::DialAt(Instant::now()),
            None => Step::Idle,
        }
    }

    fn again(&self, backoff: &mut Duration) -> Step {
        self.inbox.set_up(false);
        if self.dial.is_none() {
            return Step::Idle;
        }
        let at = Instant::now() + *backoff;
        *backoff = (*backoff * 2).min(BACKOFF_MAX);
        Step::DialAt(at)
    }

    /// Waits for what the step waits for. Dropped and called again at every other event: a dial
    /// that is dropped is begun anew, since only its own peer's connection interrupts it.
    async fn advance(&self, step: &Step) -> Next {
        match step {
            Step::Idle => std::future::pending().await,
            Step::DialAt(at) => {
                sleep_until(*at).await;
                let Some(hint) = &self.dial else {
                    return Next::Again;
                };
                let dialled = self
                    .dialer
                    .gossip(self.peer, &hint.addrs, hint.relay.clone())
                    .await;
                match dialled {
                    Ok(conn) => Next::Dialled(conn),
                    Err(DialError::Closed) => Next::Stop,
                    Err(error) => {
                        tracing::debug!(peer = ?self.peer, %error, "gossip dial failed");
                        Next::Again
                    }
                }
            }
            Step::Joining { conn, until } => {
                let late = async {
                    match until {
                        Some(until) => sleep_until(*until).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    _ = conn.closed() => {}
                    () = late => {}
                }
                Next::Again
            }
            Step::Joined(conn) => {
                conn.closed().await;
                Next::Again
            }
        }
    }

    /// Gives gossip a connection and greets the peer on the topic. Gossip takes connections
    /// before commands, so the greeting never makes it dial.
    async fn adopt(&self, conn: Connection, step: Step, until: Option<Instant>) -> Step {
        let handed = self.gossip.handle_connection(conn.clone()).await.is_ok();
        let _ = handed && self.topic.join_peers(vec![self.peer_key]).await.is_ok();
        drop_conn(step, CloseCode::Superseded);
        if self.inbox.is_up() {
            return Step::Joined(conn);
        }
        Step::Joining { conn, until }
    }

    fn handle_event(&self, event: Event, step: Step, backoff: &mut Duration) -> Step {
        let from = match &event {
            Event::NeighborUp(id) | Event::NeighborDown(id) => Some(*id),
            Event::Received(message) => Some(message.delivered_from),
            Event::Lagged => None,
        };
        if from.is_some_and(|id| id != self.peer_key) {
            self.admission.count_foreign_gossip();
            return step;
        }
        match event {
            Event::NeighborUp(_) => {
                self.inbox.set_up(true);
                *backoff = BACKOFF_MIN;
                match step {
                    Step::Joining { conn, .. } => Step::Joined(conn),
                    other => other,
                }
            }
            Event::NeighborDown(_) => {
                self.inbox.set_up(false);
                match step {
                    // The peer left, or gossip dropped the connection: what it has in hand is
                    // of no more use to it.
                    Step::Joined(conn) | Step::Joining { conn, .. } => {
                        conn.close(CloseCode::Done.varint(), b"");
                        self.again(backoff)
                    }
                    other => other,
                }
            }
            Event::Received(message) => {
                self.inbox.push(message.content);
                step
            }
            Event::Lagged => {
                self.inbox.lagged();
                step
            }
        }
    }
}

/// Whether a hint came for passing on, which our side never sends and gossip keeps for a while.
fn is_for_many(event: &Event) -> bool {
    matches!(event, Event::Received(message) if message.scope != DeliveryScope::Neighbors)
}

enum Next {
    Dialled(Connection),
    Again,
    Stop,
}

fn drop_conn(step: Step, code: CloseCode) {
    if let Step::Joining { conn, .. } | Step::Joined(conn) = step {
        conn.close(code.varint(), b"");
    }
}
