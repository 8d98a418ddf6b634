//! Forums, their threads, and what forums and blogs share: members, offers, leaving.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use engine::{EntryId, IdentityId, SpaceId};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    Created, Done, dto,
    extract::{Body, Id, Name, Nothing, Query, parse_field},
    routes::{Routes, doc},
};
use crate::{
    App,
    fault::{FaultKind, Outcome},
};

/// A new forum or circle.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewForum {
    /// Its name, 1 to 64 characters.
    pub(super) name: String,
    /// What it is about, up to 500 characters.
    #[serde(default)]
    pub(super) description: String,
}

/// To whom a space is offered.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewOffer {
    /// The contact's id.
    pub(super) contact: String,
}

/// A new thread.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewThread {
    /// Its title, 1 to 200 characters.
    pub(super) title: String,
    /// Its text (Markdown), up to 64 KiB.
    pub(super) body: String,
}

/// An answer: a reply or a comment.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewReply {
    /// Its text (Markdown), up to 64 KiB.
    pub(super) body: String,
    /// The entry that it answers; the first one when left out.
    pub(super) parent: Option<String>,
}

pub(super) fn routes(routes: Routes) -> Routes {
    let routes = space_routes(routes);
    routes
        .get(
            "/forums",
            forums,
            doc("forums", "The forums that we are in")
                .paged()
                .lists::<dto::Forum>("Forums"),
        )
        .post(
            "/forums",
            create_forum,
            doc("forums", "Makes a forum; nobody else is in it yet")
                .takes::<NewForum>()
                .gives::<dto::Forum>(201, "The forum"),
        )
        .get(
            "/forums/{forum}",
            forum,
            doc("forums", "One forum").gives::<dto::Forum>(200, "The forum"),
        )
        .get(
            "/forums/{forum}/threads",
            threads,
            doc("forums", "A forum's threads, newest activity first")
                .paged()
                .lists::<dto::Topic>("Threads"),
        )
        .post(
            "/forums/{forum}/threads",
            create_thread,
            doc("forums", "Begins a thread")
                .takes::<NewThread>()
                .gives::<dto::TopicPage>(201, "The thread"),
        )
        .get(
            "/threads/{thread}",
            thread,
            doc(
                "forums",
                "A thread with its first post and replies, oldest first",
            )
            .paged()
            .gives::<dto::TopicPage>(200, "The thread"),
        )
        .post(
            "/threads/{thread}/replies",
            reply,
            doc("forums", "Answers in a thread")
                .takes::<NewReply>()
                .gives::<dto::Post>(201, "The reply"),
        )
        .post(
            "/threads/{thread}/read",
            mark_topic_read,
            doc("forums", "Marks everything in a thread read").empty("Read"),
        )
}

fn space_routes(routes: Routes) -> Routes {
    use FaultKind::{Conflict, NotAllowed};
    routes
        .get(
            "/spaces/{space}/members",
            members,
            doc("spaces", "Who is in a forum or blog and who let them in")
                .lists::<dto::Member>("Members, creator first"),
        )
        .post(
            "/spaces/{space}/offers",
            offer,
            doc(
                "spaces",
                "Offers a forum or blog to a contact, who accepts or declines",
            )
            .takes::<NewOffer>()
            .gives::<dto::OfferMade>(201, "The offer; it goes out at the next meeting")
            .can_fail(&[Conflict, NotAllowed]),
        )
        .post(
            "/spaces/{space}/read",
            mark_space_read,
            doc("spaces", "Marks everything in a space read").empty("Read"),
        )
        .delete(
            "/spaces/{space}",
            leave,
            doc(
                "spaces",
                "Leaves a forum, a circle or somebody's blog; its content is deleted here",
            )
            .empty("Left")
            .can_fail(&[Conflict, NotAllowed]),
        )
        .get(
            "/offers",
            offers,
            doc("spaces", "Offers that wait for our answer").lists::<dto::Offer>("Offers"),
        )
        .post(
            "/offers/{offer}/accept",
            accept_offer,
            doc("spaces", "Accepts an offer").gives::<dto::Accepted>(200, "The space"),
        )
        .post(
            "/offers/{offer}/decline",
            decline_offer,
            doc("spaces", "Declines an offer").empty("Declined"),
        )
}

async fn forums(State(app): State<Arc<App>>, query: Query) -> Outcome<Json<dto::List<dto::Forum>>> {
    let page = app.node.forums(&query.page()?)?;
    Ok(Json(dto::List::of(page, dto::Forum::from)))
}

async fn create_forum(
    State(app): State<Arc<App>>,
    Body(new): Body<NewForum>,
) -> Outcome<Created<dto::Forum>> {
    let forum = app.node.create_forum(&new.name, &new.description).await?;
    Ok(Created(forum.into()))
}

async fn forum(State(app): State<Arc<App>>, Id(id): Id<SpaceId>) -> Outcome<Json<dto::Forum>> {
    Ok(Json(app.node.forum(id)?.into()))
}

async fn threads(
    State(app): State<Arc<App>>,
    Id(id): Id<SpaceId>,
    query: Query,
) -> Outcome<Json<dto::List<dto::Topic>>> {
    let page = app.node.threads(id, &query.page()?)?;
    Ok(Json(dto::List::of(page, dto::Topic::from)))
}

async fn create_thread(
    State(app): State<Arc<App>>,
    Id(id): Id<SpaceId>,
    Body(new): Body<NewThread>,
) -> Outcome<Created<dto::TopicPage>> {
    let page = app.node.create_thread(id, &new.title, &new.body).await?;
    Ok(Created(dto::TopicPage::of(page, &app.renderer)))
}

pub(super) async fn thread(
    State(app): State<Arc<App>>,
    Id(id): Id<EntryId>,
    query: Query,
) -> Outcome<Json<dto::TopicPage>> {
    let page = app.node.topic(id, &query.page()?)?;
    Ok(Json(dto::TopicPage::of(page, &app.renderer)))
}

pub(super) async fn reply(
    State(app): State<Arc<App>>,
    Id(id): Id<EntryId>,
    Body(new): Body<NewReply>,
) -> Outcome<Created<dto::Post>> {
    let parent = new
        .parent
        .map(|parent| parse_field("parent", &parent))
        .transpose()?;
    let post = app.node.reply(id, &new.body, parent).await?;
    Ok(Created(dto::Post::of(post, &app.renderer)))
}

pub(super) async fn mark_topic_read(
    State(app): State<Arc<App>>,
    Id(id): Id<EntryId>,
    Body(Nothing {}): Body<Nothing>,
) -> Outcome<Done> {
    app.node.mark_topic_read(id).await?;
    Ok(Done)
}

async fn members(
    State(app): State<Arc<App>>,
    Id(id): Id<SpaceId>,
) -> Outcome<Json<dto::List<dto::Member>>> {
    let members = app.node.members(id)?;
    Ok(Json(dto::List::whole(members, dto::Member::from)))
}

async fn offer(
    State(app): State<Arc<App>>,
    Id(id): Id<SpaceId>,
    Body(new): Body<NewOffer>,
) -> Outcome<Created<dto::OfferMade>> {
    let contact: IdentityId = parse_field("contact", &new.contact)?;
    app.node.offer(id, contact).await?;
    Ok(Created(dto::OfferMade {
        space: id.to_string(),
        contact: contact.to_string(),
        state: "waiting",
    }))
}

async fn mark_space_read(
    State(app): State<Arc<App>>,
    Id(id): Id<SpaceId>,
    Body(Nothing {}): Body<Nothing>,
) -> Outcome<Done> {
    app.node.mark_space_read(id).await?;
    Ok(Done)
}

async fn leave(State(app): State<Arc<App>>, Id(id): Id<SpaceId>) -> Outcome<Done> {
    app.node.leave(id).await?;
    Ok(Done)
}

async fn offers(State(app): State<Arc<App>>) -> Outcome<Json<dto::List<dto::Offer>>> {
    Ok(Json(dto::List::whole(app.node.offers()?, dto::Offer::from)))
}

/// The forum or blog where it stands already, else its id: the content comes with the next meeting.
async fn accept_offer(
    State(app): State<Arc<App>>,
    Name(id): Name,
    Body(Nothing {}): Body<Nothing>,
) -> Outcome<Response> {
    let space = app.node.accept_offer(&id).await?;
    if let Ok(forum) = app.node.forum(space) {
        return Ok(Json(dto::Forum::from(forum)).into_response());
    }
    if let Ok(circle) = app.node.circle(space) {
        return Ok(Json(dto::Circle::from(circle)).into_response());
    }
    if let Ok(blog) = app.node.blog(space) {
        return Ok(Json(dto::Blog::from(blog)).into_response());
    }
    let id = space.to_string();
    Ok(Json(dto::Accepted { id }).into_response())
}

async fn decline_offer(
    State(app): State<Arc<App>>,
    Name(id): Name,
    Body(Nothing {}): Body<Nothing>,
) -> Outcome<Done> {
    app.node.decline_offer(&id).await?;
    Ok(Done)
}
