//! Meetings: those that there were, and meeting now.

use std::sync::Arc;

use axum::{Json, extract::State};
use engine::IdentityId;

use super::{
    Done, dto,
    extract::{Body, Id, Nothing, Query},
    routes::{Routes, doc},
};
use crate::{
    App,
    fault::{FaultKind, Outcome},
};

pub(super) fn routes(routes: Routes) -> Routes {
    use FaultKind::{Conflict, Unreachable};
    routes
        .get(
            "/meetings",
            all,
            doc("meetings", "The meetings that ended, newest first")
                .paged()
                .lists::<dto::Meeting>("Meetings, at most 200 a contact"),
        )
        .delete(
            "/meetings",
            forget_all,
            doc("meetings", "Forgets all meetings that ended").empty("Forgotten"),
        )
        .get(
            "/contacts/{contact}/meetings",
            of_contact,
            doc("meetings", "The meetings with a contact, newest first")
                .paged()
                .lists::<dto::Meeting>("Meetings, at most 200"),
        )
        .delete(
            "/contacts/{contact}/meetings",
            forget_of_contact,
            doc("meetings", "Forgets the meetings with a contact").empty("Forgotten"),
        )
        .post(
            "/contacts/{contact}/meet",
            meet,
            doc(
                "meetings",
                "Calls a contact now, over every link that is on, and waits until they answer",
            )
            .gives::<dto::Contact>(200, "The contact, connected")
            .can_fail(&[Conflict, Unreachable]),
        )
}

async fn all(State(app): State<Arc<App>>, query: Query) -> Outcome<Json<dto::List<dto::Meeting>>> {
    let page = app.node.meetings(None, &query.page()?)?;
    Ok(Json(dto::List::of(page, dto::Meeting::from)))
}

async fn of_contact(
    State(app): State<Arc<App>>,
    Id(id): Id<IdentityId>,
    query: Query,
) -> Outcome<Json<dto::List<dto::Meeting>>> {
    let page = app.node.meetings(Some(id), &query.page()?)?;
    Ok(Json(dto::List::of(page, dto::Meeting::from)))
}

async fn forget_all(State(app): State<Arc<App>>) -> Outcome<Done> {
    app.node.forget_meetings(None).await?;
    Ok(Done)
}

async fn forget_of_contact(State(app): State<Arc<App>>, Id(id): Id<IdentityId>) -> Outcome<Done> {
    app.node.forget_meetings(Some(id)).await?;
    Ok(Done)
}

async fn meet(
    State(app): State<Arc<App>>,
    Id(id): Id<IdentityId>,
    Body(Nothing {}): Body<Nothing>,
) -> Outcome<Json<dto::Contact>> {
    Ok(Json(app.node.meet(id).await?.into()))
}
