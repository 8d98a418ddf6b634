//! The stream of events, for tools and (by its own route) for the pages.

use std::{convert::Infallible, sync::Arc};

use axum::{
    extract::State,
    http::HeaderMap,
    response::{
        IntoResponse, Response,
        sse::{self, KeepAlive, Sse},
    },
};
use engine::EventId;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{
    dto,
    extract::Query,
    routes::{Routes, doc},
};
use crate::{
    App,
    fault::{Fault, FaultKind, Outcome},
    limits::{STREAM_KEEP_ALIVE, STREAM_QUEUE_MAX},
};

const LAST_EVENT_ID: &str = "last-event-id";

pub(super) fn routes(routes: Routes) -> Routes {
    routes.get(
        "/events",
        events,
        doc("events", "What happens, as server-sent events")
            .query("after", "The id of the last event seen, for tools that can't send `Last-Event-ID`.")
            .streams::<dto::EventData>(
                "Events named `entry`, `contact`, `offer`, `delivery`, `presence`, `sync`, `nearby`, `disk`, or `reset` when the id is too old; \
                 `data` is an EventData; ids rise and survive restarts",
            )
            .can_fail(&[FaultKind::Invalid, FaultKind::Busy, FaultKind::Stopping]),
    )
}

async fn events(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    query: Query,
) -> Outcome<Response> {
    let after = match headers.get(LAST_EVENT_ID) {
        Some(value) => Some(value.to_str().unwrap_or("?")),
        None => query.get("after"),
    };
    let after = after
        .map(|text| {
            text.parse()
                .map(EventId)
                .map_err(|_| Fault::field("Last-Event-ID", "expected the id of an event, a number"))
        })
        .transpose()?;
    subscribe(&app, after, std::future::pending())
}

/// Streams everything after `after` until the reader or the node goes, or `over` is done.
pub(crate) fn subscribe(
    app: &Arc<App>,
    after: Option<EventId>,
    over: impl Future<Output = ()> + Send + 'static,
) -> Outcome<Response> {
    let permit = app.streams.clone().try_acquire_owned().map_err(|_| {
        Fault::new(
            FaultKind::Busy,
            "too many streams are open; close one and try again",
        )
    })?;
    let mut stopped = app.stopped.subscribe();
    if *stopped.borrow() {
        return Err(engine::Error::Stopping.into());
    }
    let mut events = app.node.subscribe(after);
    let (sender, receiver) = mpsc::channel::<Result<sse::Event, Infallible>>(STREAM_QUEUE_MAX);
    tokio::spawn(async move {
        let _permit = permit;
        let forward = async {
            // So that the reader sees at once that the stream stands.
            let hello = sse::Event::default().comment("waymeet");
            if sender.send(Ok(hello)).await.is_err() {
                return;
            }
            loop {
                let event = tokio::select! {
                    event = events.next() => event,
                    () = sender.closed() => None,
                };
                let Some(event) = event else { return };
                if sender.send(Ok(to_sse(&event))).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = forward => {}
            () = over => {}
            _ = stopped.wait_for(|stopped| *stopped) => {}
        }
    });
    let stream = Sse::new(ReceiverStream::new(receiver))
        .keep_alive(KeepAlive::new().interval(STREAM_KEEP_ALIVE));
    Ok(stream.into_response())
}

fn to_sse(event: &engine::Event) -> sse::Event {
    let data = serde_json::to_string(&dto::EventData::from(event)).unwrap_or_default();
    sse::Event::default()
        .id(event.id.0.to_string())
        .event(event.kind.name())
        .data(data)
}
