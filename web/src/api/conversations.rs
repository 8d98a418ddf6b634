//! Private messages.

use std::sync::Arc;

use axum::{Json, extract::State};
use engine::{IdentityId, view};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    Created, Done, dto,
    extract::{Body, Id, Nothing, Query, parse_field},
    forums::NewReply,
    routes::{Routes, doc},
};
use crate::{
    App,
    fault::{Fault, FaultKind, Outcome},
};

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get(
            "/conversations",
            conversations,
            doc("conversations", "All conversations, newest activity first")
                .paged()
                .lists::<dto::Conversation>("Conversations"),
        )
        .get(
            "/conversations/{contact}",
            conversation,
            doc("conversations", "Messages with a contact, oldest first")
                .paged()
                .query(
                    "from",
                    "`end` for the newest page; then go back with `previous`.",
                )
                .gives::<dto::ConversationPage>(200, "The messages"),
        )
        .post(
            "/conversations/{contact}",
            send,
            doc(
                "conversations",
                "Writes a message; `state` says where it is",
            )
            .takes::<NewReply>()
            .gives::<dto::Post>(201, "The message")
            .can_fail(&[FaultKind::Conflict]),
        )
        .patch(
            "/conversations/{contact}",
            keep,
            doc(
                "conversations",
                "Changes how a conversation is kept, for both people and for what is written from now on",
            )
            .takes::<Keeping>()
            .gives::<dto::Conversation>(200, "The conversation")
            .can_fail(&[FaultKind::Conflict]),
        )
        .post(
            "/conversations/{contact}/read",
            mark_read,
            doc("conversations", "Marks all messages of a contact read").empty("Read"),
        )
}

async fn conversations(
    State(app): State<Arc<App>>,
    query: Query,
) -> Outcome<Json<dto::List<dto::Conversation>>> {
    let page = app.node.conversations(&query.page()?)?;
    Ok(Json(dto::List::of(page, |conversation| {
        dto::Conversation::of(conversation, &app.renderer)
    })))
}

async fn conversation(
    State(app): State<Arc<App>>,
    Id(id): Id<IdentityId>,
    query: Query,
) -> Outcome<Json<dto::ConversationPage>> {
    let from_end = match query.get("from") {
        None | Some("start") => false,
        Some("end") => true,
        Some(_) => return Err(Fault::field("from", "expected `start` or `end`")),
    };
    let page = app.node.conversation(id, &query.page()?, from_end)?;
    Ok(Json(dto::ConversationPage::of(page, &app.renderer)))
}

async fn send(
    State(app): State<Arc<App>>,
    Id(id): Id<IdentityId>,
    Body(new): Body<NewReply>,
) -> Outcome<Created<dto::Post>> {
    let parent = new
        .parent
        .map(|parent| parse_field("parent", &parent))
        .transpose()?;
    let post = app.node.send_message(id, &new.body, parent).await?;
    Ok(Created(dto::Post::of(post, &app.renderer)))
}

/// How a conversation is kept; what is left out stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Keeping {
    /// Messages disappear so many seconds after they were read: 60 to 31,536,000, or 0 where they stay.
    lifetime_s: Option<u64>,
    /// Whether you want both to tell each other when messages are read; it happens only while both do.
    receipts: Option<bool>,
}

async fn keep(
    State(app): State<Arc<App>>,
    Id(id): Id<IdentityId>,
    Body(keeping): Body<Keeping>,
) -> Outcome<Json<dto::Conversation>> {
    if keeping.lifetime_s.is_none() && keeping.receipts.is_none() {
        return Err(Fault::field(
            "lifetime_s",
            "expected a lifetime or a wish about receipts, found neither",
        ));
    }
    let keeping = view::Keeping {
        lifetime_s: keeping.lifetime_s,
        receipts: keeping.receipts,
    };
    let conversation = app.node.keep_conversation(id, keeping).await?;
    Ok(Json(dto::Conversation::of(conversation, &app.renderer)))
}

async fn mark_read(
    State(app): State<Arc<App>>,
    Id(id): Id<IdentityId>,
    Body(Nothing {}): Body<Nothing>,
) -> Outcome<Done> {
    let one = engine::view::PageQuery {
        cursor: None,
        limit: 1,
    };
    let page = app.node.conversation(id, &one, true)?;
    app.node.mark_space_read(page.conversation.space).await?;
    Ok(Done)
}
