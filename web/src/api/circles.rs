//! Circles: private groups, their members and what their owner decides.

use std::sync::Arc;

use axum::{Json, extract::State};
use engine::{EntryId, IdentityId, SpaceId};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    Created, Done, dto,
    extract::{Body, Id, Names, Query, parse_field},
    forums::{NewForum, NewOffer, NewThread},
    routes::{Routes, doc},
};
use crate::{
    App,
    fault::{Fault, FaultKind, Outcome},
};

/// What is closed or opened.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Closing {
    /// A thread of the circle; the whole circle when left out.
    #[serde(default)]
    thread: Option<String>,
}

/// Who is the owner next.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HandOver {
    /// The member's id.
    to: String,
}

pub(super) fn routes(routes: Routes) -> Routes {
    use FaultKind::{Conflict, NotAllowed};
    let routes = routes
        .get(
            "/circles",
            circles,
            doc(
                "circles",
                "The private groups that we are in or were removed from",
            )
            .paged()
            .lists::<dto::Circle>("Circles"),
        )
        .post(
            "/circles",
            create_circle,
            doc("circles", "Makes a circle; nobody else knows of it")
                .takes::<NewForum>()
                .gives::<dto::Circle>(201, "The circle")
                .can_fail(&[Conflict]),
        )
        .get(
            "/circles/{circle}",
            circle,
            doc("circles", "One circle").gives::<dto::Circle>(200, "The circle"),
        )
        .get(
            "/circles/{circle}/threads",
            threads,
            doc("circles", "A circle's threads, newest activity first")
                .paged()
                .lists::<dto::Topic>("Threads"),
        )
        .post(
            "/circles/{circle}/threads",
            create_thread,
            doc(
                "circles",
                "Begins a thread; answers go to `/threads/{thread}/replies`",
            )
            .takes::<NewThread>()
            .gives::<dto::TopicPage>(201, "The thread")
            .can_fail(&[Conflict]),
        );
    routes
        .get(
            "/circles/{circle}/members",
            members,
            doc(
                "circles",
                "Who is or was in a circle and who let them in; invitations are known to who made them",
            )
            .lists::<dto::CircleMember>("The owner, members, invited, those who left, those removed"),
        )
        .post(
            "/circles/{circle}/invitations",
            invite,
            doc("circles", "The owner invites a contact, who accepts or declines the offer")
                .takes::<NewOffer>()
                .gives::<dto::OfferMade>(201, "The invitation; it goes out at the next meeting")
                .can_fail(&[Conflict, NotAllowed]),
        )
        .delete(
            "/circles/{circle}/invitations/{contact}",
            withdraw,
            doc("circles", "The owner takes an invitation back")
                .empty("Taken back")
                .can_fail(&[Conflict, NotAllowed]),
        )
        .delete(
            "/circles/{circle}/members/{person}",
            remove,
            doc(
                "circles",
                "The owner removes a member, for good: nothing that is written from now on reaches them, and nothing more of theirs is taken",
            )
            .empty("Removed")
            .can_fail(&[Conflict, NotAllowed]),
        )
        .post(
            "/circles/{circle}/close",
            close,
            doc("circles", "The owner closes the circle or one of its threads to writing")
                .takes::<Closing>()
                .gives::<dto::Circle>(200, "The circle")
                .can_fail(&[Conflict, NotAllowed]),
        )
        .post(
            "/circles/{circle}/reopen",
            reopen,
            doc("circles", "The owner opens the circle or one of its threads again")
                .takes::<Closing>()
                .gives::<dto::Circle>(200, "The circle")
                .can_fail(&[Conflict, NotAllowed]),
        )
        .post(
            "/circles/{circle}/hand-over",
            hand_over,
            doc("circles", "The owner makes another member the owner")
                .takes::<HandOver>()
                .gives::<dto::Circle>(200, "The circle")
                .can_fail(&[Conflict, NotAllowed]),
        )
}

async fn circles(
    State(app): State<Arc<App>>,
    query: Query,
) -> Outcome<Json<dto::List<dto::Circle>>> {
    let page = app.node.circles(&query.page()?)?;
    Ok(Json(dto::List::of(page, dto::Circle::from)))
}

async fn create_circle(
    State(app): State<Arc<App>>,
    Body(new): Body<NewForum>,
) -> Outcome<Created<dto::Circle>> {
    let circle = app.node.create_circle(&new.name, &new.description).await?;
    Ok(Created(circle.into()))
}

async fn circle(State(app): State<Arc<App>>, Id(id): Id<SpaceId>) -> Outcome<Json<dto::Circle>> {
    Ok(Json(app.node.circle(id)?.into()))
}

async fn threads(
    State(app): State<Arc<App>>,
    Id(id): Id<SpaceId>,
    query: Query,
) -> Outcome<Json<dto::List<dto::Topic>>> {
    let page = app.node.circle_threads(id, &query.page()?)?;
    Ok(Json(dto::List::of(page, dto::Topic::from)))
}

async fn create_thread(
    State(app): State<Arc<App>>,
    Id(id): Id<SpaceId>,
    Body(new): Body<NewThread>,
) -> Outcome<Created<dto::TopicPage>> {
    let page = app
        .node
        .create_circle_thread(id, &new.title, &new.body)
        .await?;
    Ok(Created(dto::TopicPage::of(page, &app.renderer)))
}

async fn members(
    State(app): State<Arc<App>>,
    Id(id): Id<SpaceId>,
) -> Outcome<Json<dto::List<dto::CircleMember>>> {
    let members = app.node.circle_members(id)?;
    Ok(Json(dto::List::whole(members, dto::CircleMember::from)))
}

async fn invite(
    State(app): State<Arc<App>>,
    Id(id): Id<SpaceId>,
    Body(new): Body<NewOffer>,
) -> Outcome<Created<dto::OfferMade>> {
    let contact: IdentityId = parse_field("contact", &new.contact)?;
    app.node.circle(id)?;
    app.node.offer(id, contact).await?;
    Ok(Created(dto::OfferMade {
        space: id.to_string(),
        contact: contact.to_string(),
        state: "waiting",
    }))
}

/// A circle and a person of its path.
fn both(circle: &str, person: &str) -> Outcome<(SpaceId, IdentityId)> {
    let circle = circle.parse();
    let circle = circle.map_err(|_| Fault::not_found("this circle"))?;
    let person = person.parse();
    let person = person.map_err(|_| Fault::not_found("this person"))?;
    Ok((circle, person))
}

async fn withdraw(State(app): State<Arc<App>>, Names(circle, contact): Names) -> Outcome<Done> {
    let (circle, contact) = both(&circle, &contact)?;
    app.node.withdraw_invitation(circle, contact).await?;
    Ok(Done)
}

async fn remove(State(app): State<Arc<App>>, Names(circle, person): Names) -> Outcome<Done> {
    let (circle, person) = both(&circle, &person)?;
    app.node.remove_member(circle, person).await?;
    Ok(Done)
}

async fn set_closed(
    app: &App,
    id: SpaceId,
    closing: Closing,
    closed: bool,
) -> Outcome<Json<dto::Circle>> {
    let thread: Option<EntryId> = closing
        .thread
        .map(|thread| parse_field("thread", &thread))
        .transpose()?;
    app.node.close_circle(id, thread, closed).await?;
    Ok(Json(app.node.circle(id)?.into()))
}

async fn close(
    State(app): State<Arc<App>>,
    Id(id): Id<SpaceId>,
    Body(closing): Body<Closing>,
) -> Outcome<Json<dto::Circle>> {
    set_closed(&app, id, closing, true).await
}

async fn reopen(
    State(app): State<Arc<App>>,
    Id(id): Id<SpaceId>,
    Body(closing): Body<Closing>,
) -> Outcome<Json<dto::Circle>> {
    set_closed(&app, id, closing, false).await
}

async fn hand_over(
    State(app): State<Arc<App>>,
    Id(id): Id<SpaceId>,
    Body(HandOver { to }): Body<HandOver>,
) -> Outcome<Json<dto::Circle>> {
    let to: IdentityId = parse_field("to", &to)?;
    Ok(Json(app.node.hand_over_circle(id, to).await?.into()))
}
