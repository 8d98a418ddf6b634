//! A reader of the event stream (server-sent events).

use std::{
    io::{BufRead as _, BufReader, Read},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::Instant,
};

use serde_json::Value;

use super::DEADLINE;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) data: Value,
}

impl Event {
    pub(crate) fn number(&self) -> u64 {
        self.id.parse().expect("event ids are numbers that rise")
    }
}

/// Events as they come. The reading thread ends with the node.
pub(crate) struct Events {
    events: Receiver<Event>,
}

impl Events {
    pub(crate) fn read(stream: impl Read + Send + 'static) -> Self {
        const WAITING_MAX: usize = 10_000;
        let (sender, events) = sync_channel(WAITING_MAX);
        thread::spawn(move || {
            let mut event = Event {
                id: String::new(),
                kind: String::new(),
                data: Value::Null,
            };
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                match line.split_once(':') {
                    Some(("id", value)) => value.trim_start().clone_into(&mut event.id),
                    Some(("event", value)) => value.trim_start().clone_into(&mut event.kind),
                    Some(("data", value)) => {
                        event.data = serde_json::from_str(value.trim_start()).unwrap_or_default()
                    }
                    None if line.is_empty() && !event.kind.is_empty() => {
                        if sender.send(event.clone()).is_err() {
                            return;
                        }
                        event.kind.clear();
                        event.data = Value::Null;
                    }
                    // Comments keep the stream alive.
                    _ => {}
                }
            }
        });
        Self { events }
    }

    /// The next event that `wanted` takes; others are passed over.
    #[track_caller]
    pub(crate) fn next(&self, what: &str, wanted: impl Fn(&Event) -> bool) -> Event {
        let deadline = Instant::now() + DEADLINE;
        let mut seen = Vec::new();
        loop {
            match self
                .events
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(event) if wanted(&event) => return event,
                Ok(event) => seen.push(event.kind),
                Err(RecvTimeoutError::Timeout) => panic!("waited for {what} in vain, saw {seen:?}"),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("the stream ended before {what}, saw {seen:?}")
                }
            }
        }
    }

    /// Waits for the end of the stream.
    pub(crate) fn ended(&self) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self
                .events
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => panic!("the stream doesn't end"),
            }
        }
    }
}
