//! Meeting somebody nearby.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    Done, dto,
    extract::{Body, Name, Nothing},
    routes::{Routes, doc},
};
use crate::{
    App,
    fault::{FaultKind, Outcome},
};

/// How to open it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NearbyRequest {
    /// For how many seconds, 1 to 120; 120 by default.
    seconds: Option<u64>,
}

pub(super) fn routes(routes: Routes) -> Routes {
    use FaultKind::{Conflict, Unreachable};
    routes
        .post(
            "/nearby",
            open,
            doc(
                "contacts",
                "Shows this node to people nearby who do the same, for two minutes; where it is open already nothing changes",
            )
            .takes::<NearbyRequest>()
            .gives::<dto::Nearby>(200, "Who is there")
            .can_fail(&[Conflict, Unreachable]),
        )
        .get(
            "/nearby",
            nearby,
            doc(
                "contacts",
                "Who is nearby and what became of them; closed, of the last time. The event `nearby` tells of changes",
            )
            .gives::<dto::Nearby>(200, "Who is there"),
        )
        .delete(
            "/nearby",
            close,
            doc("contacts", "Ends it at once").empty("Closed, or it was closed"),
        )
        .post(
            "/nearby/{person}/accept",
            accept,
            doc(
                "contacts",
                "Says that somebody nearby shows the same three words; a contact once both said so",
            )
            .gives::<dto::NearbyPerson>(200, "The person")
            .can_fail(&[Conflict]),
        )
        .post(
            "/nearby/{person}/decline",
            decline,
            doc("contacts", "Says no to somebody nearby")
                .gives::<dto::NearbyPerson>(200, "The person")
                .can_fail(&[Conflict]),
        )
}

async fn open(
    State(app): State<Arc<App>>,
    Body(request): Body<NearbyRequest>,
) -> Outcome<Json<dto::Nearby>> {
    Ok(Json(app.node.open_nearby(request.seconds).await?.into()))
}

async fn nearby(State(app): State<Arc<App>>) -> Outcome<Json<dto::Nearby>> {
    Ok(Json(app.node.nearby()?.into()))
}

async fn close(State(app): State<Arc<App>>) -> Outcome<Done> {
    app.node.close_nearby()?;
    Ok(Done)
}

async fn accept(
    State(app): State<Arc<App>>,
    Name(id): Name,
    Body(Nothing {}): Body<Nothing>,
) -> Outcome<Json<dto::NearbyPerson>> {
    Ok(Json(app.node.accept_nearby(&id)?.into()))
}

async fn decline(
    State(app): State<Arc<App>>,
    Name(id): Name,
    Body(Nothing {}): Body<Nothing>,
) -> Outcome<Json<dto::NearbyPerson>> {
    Ok(Json(app.node.decline_nearby(&id)?.into()))
}
