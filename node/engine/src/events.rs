//! The stream of events: a ring in memory, with ids that rise over restarts.
//!
//! An id is the number of the program's start in the upper 32 bits and a count in the lower. Who
//! asks for what came after an id that the ring no longer has is told to read everything anew.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use proto::{IdentityId, SpaceId};
use tokio::sync::Notify;

use crate::{
    clock,
    event::{Event, EventId, EventKind},
};

/// Events kept for those who come back: some minutes of a busy catch-up, about 2 MB.
const EVENTS_MAX: usize = 8_192;

/// What an event is about.
#[derive(Debug, Clone, Default)]
pub(crate) struct About {
    pub(crate) subject: Option<String>,
    pub(crate) space: Option<SpaceId>,
    pub(crate) topic: Option<String>,
    pub(crate) contact: Option<IdentityId>,
}

#[derive(Debug)]
struct Ring {
    events: VecDeque<Event>,
    next: u64,
    closed: bool,
}

/// Clones share the ring.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    ring: Arc<Mutex<Ring>>,
    changed: Arc<Notify>,
}

impl Events {
    /// `start` is the number of this start of the program.
    pub(crate) fn new(start: u32) -> Self {
        let ring = Ring {
            events: VecDeque::new(),
            next: (u64::from(start) << 32) + 1,
            closed: false,
        };
        Self {
            ring: Arc::new(Mutex::new(ring)),
            changed: Arc::new(Notify::new()),
        }
    }

    pub(crate) fn emit(&self, kind: EventKind, about: About) {
        self.emit_all(std::iter::once((kind, about)));
    }

    pub(crate) fn emit_all(&self, events: impl IntoIterator<Item = (EventKind, About)>) {
        let at_ms = clock::now();
        let mut ring = self.lock();
        for (kind, about) in events {
            let id = EventId(ring.next);
            ring.next += 1;
            if ring.events.len() >= EVENTS_MAX {
                ring.events.pop_front();
            }
            let About {
                subject,
                space,
                topic,
                contact,
            } = about;
            ring.events.push_back(Event {
                id,
                kind,
                subject,
                space,
                topic,
                contact,
                at_ms,
            });
        }
        drop(ring);
        self.changed.notify_waiters();
    }

    /// Woken by each event that comes.
    pub(crate) fn changed(&self) -> Arc<Notify> {
        self.changed.clone()
    }

    /// Ends every subscription.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_waiters();
    }

    pub(crate) fn subscribe(&self, after: Option<EventId>) -> Subscription {
        let ring = self.lock();
        let newest = EventId(ring.next - 1);
        let oldest = ring.events.front().map_or(ring.next, |event| event.id.0);
        let known = after.is_none_or(|after| after <= newest && after.0 + 1 >= oldest);
        Subscription {
            events: self.clone(),
            last: if known {
                after.unwrap_or(newest)
            } else {
                newest
            },
            reset: !known,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream of events from a place on.
#[derive(Debug)]
pub struct Subscription {
    events: Events,
    last: EventId,
    reset: bool,
}

impl Subscription {
    /// The next event; `None` when the node stops. Cancel safe. Who is too slow is told to read anew.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            let changed = self.events.changed.clone();
            let notified = changed.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if let Some(event) = self.take() {
                return Some(event);
            }
            if self.events.lock().closed {
                return None;
            }
            notified.await;
        }
    }

    fn take(&mut self) -> Option<Event> {
        let ring = self.events.lock();
        let oldest = ring.events.front().map_or(ring.next, |event| event.id.0);
        if self.last.0 + 1 < oldest {
            self.reset = true;
            self.last = EventId(ring.next - 1);
        }
        if std::mem::take(&mut self.reset) {
            let (id, at_ms) = (self.last, clock::now());
            return Some(Event {
                id,
                kind: EventKind::Reset,
                subject: None,
                space: None,
                topic: None,
                contact: None,
                at_ms,
            });
        }
        let at = usize::try_from((self.last.0 + 1).checked_sub(oldest)?).ok()?;
        let event = ring.events.get(at)?.clone();
        self.last = event.id;
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn kinds(subscription: &mut Subscription, count: usize) -> Vec<EventKind> {
        let mut kinds = Vec::new();
        for _ in 0..count {
            kinds.push(subscription.next().await.unwrap().kind);
        }
        kinds
    }

    #[tokio::test]
    async fn a_stream_resumes_where_it_was_and_says_when_it_cannot() {
        let events = Events::new(3);
        let mut live = events.subscribe(None);
        events.emit(EventKind::Entry, About::default());
        events.emit(EventKind::Contact, About::default());
        let first = live.next().await.unwrap();
        assert_eq!((first.kind, first.id.0 >> 32), (EventKind::Entry, 3));
        assert_eq!(kinds(&mut live, 1).await, [EventKind::Contact]);
        assert_eq!(
            kinds(&mut events.subscribe(Some(first.id)), 1).await,
            [EventKind::Contact]
        );
        let mut before_restart = events.subscribe(Some(EventId(2 << 32)));
        events.emit(EventKind::Offer, About::default());
        assert_eq!(
            kinds(&mut before_restart, 2).await,
            [EventKind::Reset, EventKind::Offer]
        );
        for _ in 0..=EVENTS_MAX {
            events.emit(EventKind::Sync, About::default());
        }
        assert_eq!(kinds(&mut live, 1).await, [EventKind::Reset], "too slow");
        events.close();
        assert!(live.next().await.is_none());
    }
}
