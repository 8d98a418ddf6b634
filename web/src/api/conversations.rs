//! Private messages.

use std::sync::Arc;

use axum::{Json, extract::State};
use engine::IdentityId;

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
