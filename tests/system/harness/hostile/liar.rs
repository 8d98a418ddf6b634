//! A contact that speaks of letters in a manner of its own: it says frames as the test wishes, and
//! hears what the node answers.

use std::{collections::BTreeSet, time::Duration};

use links::{
    CloseReason, Connection, Lane as Stream, Links, MeetingReceiver, MeetingSender, MeetingStreams,
    Protocol, SendError,
};
use proto::{
    courier::{Frame, TagHasher, is_courier},
    frame::{LinkClass, Whereabouts},
    session::{Lane, Output, Session, Start},
};
use store::{Snapshot, Store};

use super::{
    peer::endpoint,
    people::{Address, device, seed},
};
use crate::harness::{DEADLINE, made_up::now};

/// Before who wasn't let in tries again.
const AGAIN: Duration = Duration::from_millis(100);

/// A made-up contact in a meeting with a node.
pub(crate) struct Liar {
    /// Makes the hashes of this meeting.
    pub(crate) hasher: TagHasher,
    held: Snapshot,
    links: Links,
    conn: Connection,
    sender: MeetingSender,
    receiver: MeetingReceiver,
    session: Session,
}

impl Liar {
    /// Meets the node as its contact with this number, and comes as far as the hellos.
    pub(crate) async fn meet(to: &Address, number: usize) -> Self {
        let met = tokio::time::timeout(DEADLINE, async {
            loop {
                if let Some(liar) = Self::try_to_meet(to, number).await {
                    return liar;
                }
                tokio::time::sleep(AGAIN).await;
            }
        });
        met.await.expect("the node lets a contact in")
    }

    async fn try_to_meet(to: &Address, number: usize) -> Option<Self> {
        let links = endpoint(seed(number, 3), to).await;
        let dial = links.dial(to.id, &[to.at], None, Protocol::Sync).await;
        let conn = dial.ok()?;
        let exporter = conn.exporter(b"waymeet/sync/1", b"").ok()?;
        let (sender, receiver) = MeetingStreams::open(conn.clone()).await.ok()?;
        let start = Start {
            dialer: true,
            exporter,
            seed: [7; 32],
            class: LinkClass::Fast,
            device: device(number).id(),
            clearances: Vec::new(),
            agreed: BTreeSet::new(),
            rev: 1,
            seen_rev: 0,
            offers: Vec::new(),
            whereabouts: Whereabouts::default(),
        };
        let held = Store::in_memory().ok()?.read().ok()?;
        let session = Session::new(start, &held).ok()?;
        let mut liar = Self {
            hasher: TagHasher::new(&exporter, true),
            held,
            links,
            conn,
            sender,
            receiver,
            session,
        };
        while liar.session.peer_features() == 0 {
            liar.step().await?;
        }
        Some(liar)
    }

    /// Says a frame about letters; false where the node has ended the meeting.
    pub(crate) async fn say(&mut self, frame: &Frame) -> bool {
        self.say_bytes(frame.encode()).await
    }

    pub(crate) async fn say_bytes(&mut self, bytes: Vec<u8>) -> bool {
        loop {
            match self
                .sender
                .try_send(Stream::Control, 0, bytes.clone().into())
            {
                Ok(()) => return true,
                Err(SendError::Full) => self.sender.writable().await,
                Err(_) => return false,
            }
            if self.conn.close_reason().is_some() {
                return false;
            }
        }
    }

    /// One frame from the node: what is about letters is given back.
    async fn step(&mut self) -> Option<Option<Frame>> {
        self.answer().await?;
        let (lane, bytes) = self.receiver.recv().await.ok()?;
        if lane == Stream::Control && is_courier(&bytes) {
            return Some(Some(
                Frame::decode(&bytes).expect("the node says no nonsense"),
            ));
        }
        let lane = match lane {
            Stream::Control => Lane::Control,
            Stream::Space(channel) => Lane::Space(channel),
        };
        let session = &mut self.session;
        session.handle_frame(lane, &bytes, now(), &self.held).ok()?;
        self.answer().await?;
        Some(None)
    }

    async fn answer(&mut self) -> Option<()> {
        while let Some(output) = self.session.poll(&self.held).ok()? {
            if let Output::Control(bytes) = output
                && !self.say_bytes(bytes).await
            {
                return None;
            }
        }
        Some(())
    }

    /// Waits for a frame about letters that `wanted` makes something of; the others are passed over.
    pub(crate) async fn hears<T>(&mut self, wanted: impl Fn(Frame) -> Option<T>) -> T {
        let heard = tokio::time::timeout(DEADLINE, async {
            loop {
                match self.step().await {
                    Some(Some(frame)) => {
                        if let Some(found) = wanted(frame) {
                            return found;
                        }
                    }
                    Some(None) => {}
                    None => panic!("the meeting ended: {:?}", self.conn.close_reason()),
                }
            }
        });
        heard.await.expect("the node says it")
    }

    /// Waits until the node ends the meeting.
    pub(crate) async fn until_thrown_out(mut self) -> CloseReason {
        let ended = tokio::time::timeout(DEADLINE, async {
            while self.step().await.is_some() {}
            self.conn.closed().await
        });
        let how = ended.await.expect("the node ends it");
        self.links.shutdown().await;
        how
    }

    /// Goes as anybody does.
    pub(crate) async fn leave(self) {
        self.links.shutdown().await;
    }
}
