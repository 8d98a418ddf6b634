//! Introductions of contacts to each other.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    Created, dto,
    extract::{Body, Name, Nothing, parse_field},
    routes::{Routes, doc},
};
use crate::{
    App,
    fault::{FaultKind, Outcome},
};

/// Who is introduced to whom.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct IntroductionRequest {
    /// A contact.
    one: String,
    /// Another contact.
    other: String,
    /// A few words to both, at most 500 characters.
    message: Option<String>,
}

pub(super) fn routes(routes: Routes) -> Routes {
    use FaultKind::Conflict;
    routes
        .post(
            "/introductions",
            introduce,
            doc(
                "contacts",
                "Introduces two contacts to each other; they become contacts if both say yes",
            )
            .takes::<IntroductionRequest>()
            .gives::<dto::Introduction>(201, "The introduction")
            .can_fail(&[Conflict]),
        )
        .get(
            "/introductions",
            introductions,
            doc("contacts", "The introductions that we made or got")
                .lists::<dto::Introduction>("Introductions"),
        )
        .get(
            "/introductions/{introduction}",
            introduction,
            doc("contacts", "One introduction").gives::<dto::Introduction>(200, "The introduction"),
        )
        .post(
            "/introductions/{introduction}/accept",
            accept,
            doc("contacts", "Says yes to an introduction that we got")
                .gives::<dto::Introduction>(200, "The introduction")
                .can_fail(&[Conflict]),
        )
        .post(
            "/introductions/{introduction}/decline",
            decline,
            doc("contacts", "Says no to an introduction that we got")
                .gives::<dto::Introduction>(200, "The introduction")
                .can_fail(&[Conflict]),
        )
}

async fn introduce(
    State(app): State<Arc<App>>,
    Body(request): Body<IntroductionRequest>,
) -> Outcome<Created<dto::Introduction>> {
    let one = parse_field("one", &request.one)?;
    let other = parse_field("other", &request.other)?;
    let message = request.message.unwrap_or_default();
    let made = app.node.introduce(one, other, &message).await?;
    Ok(Created(made.into()))
}

async fn introductions(State(app): State<Arc<App>>) -> Outcome<Json<dto::List<dto::Introduction>>> {
    Ok(Json(dto::List::whole(
        app.node.introductions()?,
        dto::Introduction::from,
    )))
}

async fn introduction(
    State(app): State<Arc<App>>,
    Name(id): Name,
) -> Outcome<Json<dto::Introduction>> {
    Ok(Json(app.node.introduction(&id)?.into()))
}

async fn accept(
    State(app): State<Arc<App>>,
    Name(id): Name,
    Body(Nothing {}): Body<Nothing>,
) -> Outcome<Json<dto::Introduction>> {
    Ok(Json(app.node.accept_introduction(&id).await?.into()))
}

async fn decline(
    State(app): State<Arc<App>>,
    Name(id): Name,
    Body(Nothing {}): Body<Nothing>,
) -> Outcome<Json<dto::Introduction>> {
    Ok(Json(app.node.decline_introduction(&id).await?.into()))
}
