//! Letters that friends carry.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    Done, dto,
    extract::{Body, Id, Nothing},
    routes::{Routes, doc},
};
use crate::{
    App,
    fault::{FaultKind, Outcome},
};

/// A change of what is carried.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LettersPatch {
    /// Whose letters this node carries.
    carry: dto::WhoseLetters,
}

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get(
            "/letters",
            letters,
            doc(
                "conversations",
                "Private messages that friends carry, sealed: what this node carries, and for whom",
            )
            .gives::<dto::Letters>(200, "What is carried"),
        )
        .patch(
            "/letters",
            patch,
            doc("conversations", "Chooses whose letters this node carries")
                .takes::<LettersPatch>()
                .gives::<dto::Letters>(200, "What is carried"),
        )
        .post(
            "/letters/forget",
            forget,
            doc(
                "conversations",
                "Makes the keys of opened letters unrecoverable now; it happens by itself soon after",
            )
            .empty("Forgotten"),
        )
        .post(
            "/entries/{id}/send-again",
            send_again,
            doc(
                "conversations",
                "Lets an expired message be carried again; a meeting brings it in any case",
            )
            .gives::<dto::Post>(200, "The message")
            .can_fail(&[FaultKind::Conflict]),
        )
}

async fn letters(State(app): State<Arc<App>>) -> Outcome<Json<dto::Letters>> {
    Ok(Json(app.node.letters()?.into()))
}

async fn patch(
    State(app): State<Arc<App>>,
    Body(patch): Body<LettersPatch>,
) -> Outcome<Json<dto::Letters>> {
    let letters = app.node.carry_letters(patch.carry.into()).await?;
    Ok(Json(letters.into()))
}

async fn forget(State(app): State<Arc<App>>, Body(Nothing {}): Body<Nothing>) -> Outcome<Done> {
    app.node.forget_used_keys().await?;
    Ok(Done)
}

async fn send_again(
    State(app): State<Arc<App>>,
    Id(id): Id<engine::EntryId>,
    Body(Nothing {}): Body<Nothing>,
) -> Outcome<Json<dto::Post>> {
    let post = app.node.send_again(id).await?;
    Ok(Json(dto::Post::of(post, &app.renderer)))
}
