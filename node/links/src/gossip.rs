//! Live hints between two devices, over iroh-gossip: one topic with exactly two members.
//!
//! Each pair has a gossip instance of its own. iroh-gossip's actor waits when one connection's
//! queue is full, so a shared instance would let one silent contact stop the hints of all; a
//! peer can also make its instance remember endpoints that it invents, and here that ends with
//! the pair. The instance never dials by itself: the gate refuses what nobody asked for, and the
//! addresses that peers name are thrown away. Instead a *keeper* hands it connections: those
//! that the peer dialled, and on the side that has a [`DialHint`] those that it dials, again and
//! again with backoff as long as the topic is held.
//!
//! Messages go to the direct neighbour only (scope `Neighbors`), so nothing is passed on. They
//! are hints: they can be lost, and the holder is told that with [`PairEvent::Lagged`] where
//! that is known.

mod inbox;
mod keeper;
mod pairs;
mod rate;

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use iroh_gossip::{Gossip, TopicId, api::GossipSender, proto::HyparviewConfig};
use proto::EndpointId;
use tokio::time::{Instant, timeout};
use tokio_util::sync::DropGuard;

use self::inbox::Inbox;
pub(crate) use self::pairs::Pairs;
use crate::Links;

/// Bytes of one gossip message on the wire, iroh-gossip's default. Every message is read whole
/// into memory before anything is known of it.
const MESSAGE_BYTES_MAX: usize = 4096;
/// Bytes of a hint. The rest of gossip's 4,096 is its own: message id, scope, tags.
pub const GOSSIP_PAYLOAD_BYTES_MAX: usize = 4000;
/// Hints that wait to be taken. Beyond it they are dropped, and the holder is told.
pub const PAIR_HINTS_MAX: usize = 256;
/// Bytes of hints that wait to be taken, and one hint more: some hundred posts.
const PAIR_HINTS_BYTES_MAX: usize = 64 * 1024;
/// Hints that this side sends a second, and at once after a quiet second. What is above is dropped:
/// where so much is written the session tells of many entries together.
const SENT_PER_S_MAX: u32 = 200;
/// Hints that a peer may send a second, with those that it may send at once: several times what an
/// honest one does. Gossip has no brake, so above it the pair's gossip ends; the session goes on.
const RECEIVED_PER_S_MAX: u32 = 4 * SENT_PER_S_MAX;
/// How long a hint waits for room on the way out before it is given up: the session carries what
/// it told of.
const SEND_WAIT: Duration = Duration::from_millis(250);
/// A pair's view holds its peer, and one place that keeps a stranger in the topic from evicting it.
const VIEW_MAX: usize = 2;
/// Shuffling looks for other members, of whom there are none; a day is as good as never.
const SHUFFLE_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// What happened on a pair's topic.
#[derive(Clone, PartialEq, Eq)]
pub enum PairEvent {
    /// The peer is there: hints arrive from now on.
    Up,
    /// The peer is gone.
    Down,
    /// A hint from the peer.
    Message(Bytes),
    /// Hints were lost, because they came faster than they were taken.
    Lagged,
}

impl fmt::Debug for PairEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up => f.write_str("Up"),
            Self::Down => f.write_str("Down"),
            Self::Message(hint) => write!(f, "Message({} bytes)", hint.len()),
            Self::Lagged => f.write_str("Lagged"),
        }
    }
}

/// A hint was not sent, or the topic not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// Empty, or above [`GOSSIP_PAYLOAD_BYTES_MAX`].
    #[error("expected a hint of 1 to {GOSSIP_PAYLOAD_BYTES_MAX} bytes, found {found}")]
    Length {
        /// The hint's bytes.
        found: usize,
    },
    /// The peer is not there.
    #[error("the peer is not reachable by gossip now")]
    Down,
    /// Too many were sent just now.
    #[error("more than {SENT_PER_S_MAX} hints were sent within a second")]
    TooMany,
    /// The peer takes nothing, so the hint was given up.
    #[error("the peer takes no hints at the moment")]
    Stalled,
    /// The id is no public key.
    #[error("expected the public key of an endpoint, found 32 bytes that are none")]
    NotAnId,
    /// The endpoint is closed.
    #[error("the endpoint is closed")]
    Closed,
}

/// Where the peer can be dialled.
#[derive(Debug, Clone, Default)]
pub struct DialHint {
    /// Its addresses.
    pub addrs: Vec<SocketAddr>,
    /// Its relay.
    pub relay: Option<String>,
}

/// A pair's topic. Dropping both halves leaves it and closes its connection.
#[derive(Debug)]
pub struct PairTopic {
    sender: PairSender,
    receiver: PairReceiver,
}

/// The sending half; clones share it.
#[derive(Debug, Clone)]
pub struct PairSender {
    topic: GossipSender,
    inbox: Arc<Inbox>,
    _keeper: Arc<DropGuard>,
}

/// The receiving half.
#[derive(Debug)]
pub struct PairReceiver {
    inbox: Arc<Inbox>,
    _keeper: Arc<DropGuard>,
}

impl Links {
    /// Joins the topic that this device shares with `peer`. Give `dial` on exactly one side, the
    /// one that dialled the sync connection; the other waits for it. A second topic with the
    /// same peer takes the first one's connections over.
    ///
    /// # Errors
    /// `peer` is no key, or the endpoint is closed.
    pub async fn pair_topic(
        &self,
        topic: [u8; 32],
        peer: EndpointId,
        dial: Option<DialHint>,
    ) -> Result<PairTopic, PairError> {
        let peer_key =
            iroh::EndpointId::from_bytes(peer.as_bytes()).map_err(|_| PairError::NotAnId)?;
        let stop = self.stop_token().child_token();
        let gossip = Gossip::builder()
            .max_message_size(MESSAGE_BYTES_MAX)
            .membership_config(membership())
            .spawn(self.endpoint().clone());
        // Gossip registers a lookup that would dial the addresses that peers name.
        if let Ok(lookup) = self.endpoint().address_lookup() {
            lookup.clear();
        }
        let (topic, events) = gossip
            .subscribe(TopicId::from_bytes(topic), Vec::new())
            .await
            .map_err(|_| PairError::Closed)?
            .split();
        let inbox = Arc::new(Inbox::default());
        let keeper = keeper::Keeper {
            gossip,
            topic: topic.clone(),
            peer,
            peer_key,
            dial,
            dialer: self.dialer(),
            inbox: inbox.clone(),
            admission: self.admission().clone(),
        };
        let registration = self.pairs().register(peer);
        tokio::spawn(keeper.run(events, registration, stop.clone()));
        let guard = Arc::new(stop.drop_guard());
        Ok(PairTopic {
            sender: PairSender {
                topic,
                inbox: inbox.clone(),
                _keeper: guard.clone(),
            },
            receiver: PairReceiver {
                inbox,
                _keeper: guard,
            },
        })
    }
}

fn membership() -> HyparviewConfig {
    HyparviewConfig {
        active_view_capacity: VIEW_MAX,
        passive_view_capacity: VIEW_MAX,
        shuffle_active_view_count: 0,
        shuffle_passive_view_count: 0,
        shuffle_interval: SHUFFLE_INTERVAL,
        ..HyparviewConfig::default()
    }
}

impl PairTopic {
    /// Splits into halves that can live in different tasks.
    #[must_use]
    pub fn split(self) -> (PairSender, PairReceiver) {
        (self.sender, self.receiver)
    }

    /// See [`PairSender::send`].
    ///
    /// # Errors
    /// See [`PairError`].
    pub async fn send(&self, hint: Bytes) -> Result<(), PairError> {
        self.sender.send(hint).await
    }

    /// See [`PairReceiver::recv`].
    pub async fn recv(&mut self) -> Option<PairEvent> {
        self.receiver.recv().await
    }

    /// Whether the peer is there.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.sender.is_up()
    }
}

impl PairSender {
    /// Sends a hint to the peer. Success means that it left for the network, not that it came.
    /// Waits at most a quarter of a second.
    ///
    /// # Errors
    /// See [`PairError`].
    pub async fn send(&self, hint: Bytes) -> Result<(), PairError> {
        if hint.is_empty() || hint.len() > GOSSIP_PAYLOAD_BYTES_MAX {
            return Err(PairError::Length { found: hint.len() });
        }
        if self.inbox.is_closed() {
            return Err(PairError::Closed);
        }
        if !self.is_up() {
            return Err(PairError::Down);
        }
        if !self.inbox.may_send(Instant::now()) {
            return Err(PairError::TooMany);
        }
        match timeout(SEND_WAIT, self.topic.broadcast_neighbors(hint)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(PairError::Closed),
            Err(_elapsed) => Err(PairError::Stalled),
        }
    }

    /// Whether the peer is there.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.inbox.is_up()
    }
}

impl PairReceiver {
    /// What happened next. `None` at the end: the endpoint has closed, another topic with the
    /// peer took over, or the peer abused this one; join no new one before the next meeting.
    /// Cancel safe.
    pub async fn recv(&mut self) -> Option<PairEvent> {
        self.inbox.recv().await
    }
}
