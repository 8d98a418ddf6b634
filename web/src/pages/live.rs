//! What the pages' script listens to.

use std::sync::Arc;

use axum::{Json, Router, http::HeaderMap, response::Response, routing::get};
use engine::{EventId, view::PageQuery};
use serde::Serialize;

use super::Ctx;
use crate::{App, api::stream, fault::Outcome, limits::NAV_CONVERSATIONS};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/events", get(events))
        .route("/counts", get(counts))
}

async fn events(ctx: Ctx, headers: HeaderMap) -> Outcome<Response> {
    // A browser sends the last id that it saw when it comes back.
    let after = headers
        .get("last-event-id")
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse().ok())
        .map(EventId);
    let over = ctx.app.clone().session_ended(ctx.session.name().to_owned());
    stream::subscribe(&ctx.app, after, over)
}

/// The figures in the navigation.
#[derive(Serialize)]
struct Counts {
    unread: u64,
    messages: u64,
    offers: u64,
}

async fn counts(ctx: Ctx) -> Outcome<Json<Counts>> {
    let newest = PageQuery {
        cursor: None,
        limit: NAV_CONVERSATIONS,
    };
    let conversations = ctx.node().conversations(&newest)?.items;
    Ok(Json(Counts {
        unread: ctx.node().status()?.counts.unread,
        messages: conversations
            .iter()
            .map(|conversation| conversation.unread)
            .sum(),
        offers: ctx.node().offers()?.len() as u64,
    }))
}
