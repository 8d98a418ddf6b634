//! What a pair's holder has not taken yet: the peer's presence, and a bounded queue of hints.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::{sync::Notify, time::Instant};

use super::{PAIR_HINTS_BYTES_MAX, PAIR_HINTS_MAX, PairEvent, SENT_PER_S_MAX, rate::Rate};

/// Presence is kept as a state, not as queued events, so that it is never lost: a peer that went
/// and came back while nobody looked has not changed.
#[derive(Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    ready: Notify,
}

struct State {
    sent: Rate,
    up: bool,
    told_up: bool,
    lagged: bool,
    hints: VecDeque<Bytes>,
    /// Bytes of these.
    waiting: usize,
    closed: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            sent: Rate::new(SENT_PER_S_MAX),
            up: false,
            told_up: false,
            lagged: false,
            hints: VecDeque::new(),
            waiting: 0,
            closed: false,
        }
    }
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_up(&self, up: bool) {
        self.lock().up = up;
        self.ready.notify_one();
    }

    pub(super) fn is_up(&self) -> bool {
        self.lock().up
    }

    /// Whether another hint may be sent now.
    pub(super) fn may_send(&self, now: Instant) -> bool {
        self.lock().sent.take(1, now)
    }

    pub(super) fn push(&self, hint: Bytes) {
        let mut state = self.lock();
        if state.hints.len() < PAIR_HINTS_MAX && state.waiting < PAIR_HINTS_BYTES_MAX {
            state.waiting += hint.len();
            state.hints.push_back(hint);
        } else {
            state.lagged = true;
        }
        drop(state);
        self.ready.notify_one();
    }

    pub(super) fn lagged(&self) {
        self.lock().lagged = true;
        self.ready.notify_one();
    }

    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.up = false;
        state.closed = true;
        drop(state);
        self.ready.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    pub(super) async fn recv(&self) -> Option<PairEvent> {
        loop {
            if let Some(next) = self.lock().next() {
                return next;
            }
            self.ready.notified().await;
        }
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Inbox({} hints)", self.lock().hints.len())
    }
}

impl State {
    /// The next event, `Some(None)` at the end. Up comes before the hints that followed it, Down
    /// after those that it ended; Lagged after the hints that came before the loss.
    fn next(&mut self) -> Option<Option<PairEvent>> {
        if self.up && !self.told_up {
            self.told_up = true;
            return Some(Some(PairEvent::Up));
        }
        if let Some(hint) = self.hints.pop_front() {
            self.waiting -= hint.len();
            return Some(Some(PairEvent::Message(hint)));
        }
        if std::mem::take(&mut self.lagged) {
            return Some(Some(PairEvent::Lagged));
        }
        if !self.up && self.told_up {
            self.told_up = false;
            return Some(Some(PairEvent::Down));
        }
        self.closed.then_some(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(n: usize) -> Bytes {
        Bytes::from(n.to_string())
    }

    #[test]
    fn presence_survives_any_number_of_hints() {
        let inbox = Inbox::default();
        inbox.set_up(true);
        for n in 0..PAIR_HINTS_MAX + 5 {
            inbox.push(hint(n));
        }
        inbox.set_up(false);
        inbox.close();
        let mut events = Vec::new();
        while let Some(Some(event)) = inbox.lock().next() {
            events.push(event);
        }
        // It was down again before anybody looked, so it never was up.
        assert_eq!(events.len(), PAIR_HINTS_MAX + 1);
        assert_eq!(events[0], PairEvent::Message(hint(0)));
        assert_eq!(events.last(), Some(&PairEvent::Lagged));
        assert_eq!(inbox.lock().next(), Some(None));
    }

    #[test]
    fn long_hints_are_bounded_by_their_bytes() {
        let inbox = Inbox::default();
        for _ in 0..PAIR_HINTS_MAX {
            inbox.push(Bytes::from(vec![7; 4_000]));
        }
        let taken = std::iter::from_fn(|| inbox.lock().next().flatten());
        let taken: Vec<_> = taken.collect();
        assert_eq!(taken.len(), PAIR_HINTS_BYTES_MAX.div_ceil(4_000) + 1);
        assert_eq!(taken.last(), Some(&PairEvent::Lagged));
        assert_eq!(inbox.lock().waiting, 0);
        inbox.push(hint(1));
        assert_eq!(inbox.lock().hints.len(), 1);
    }

    #[test]
    fn up_is_told_before_and_down_after_the_hints() {
        let inbox = Inbox::default();
        inbox.set_up(true);
        assert_eq!(inbox.lock().next(), Some(Some(PairEvent::Up)));
        inbox.push(hint(1));
        inbox.set_up(false);
        inbox.lagged();
        let events: Vec<_> = std::iter::from_fn(|| inbox.lock().next().flatten()).collect();
        assert_eq!(
            events,
            [
                PairEvent::Message(hint(1)),
                PairEvent::Lagged,
                PairEvent::Down
            ]
        );
    }
}
