//! What forums, circles and blogs share: offers, members, leaving, marking everything read.

use std::sync::Arc;

use askama::Template;
use axum::{
    Router,
    response::Response,
    routing::{get, post},
};
use engine::{
    IdentityId, Millis, SpaceId,
    view::{ContactState, Offer, PageQuery, SpaceKind},
};

use super::{Ctx, Layout, Nav, form::Form, html, parts::Who, redirect, when::When, words};
use crate::{
    App,
    api::extract::{Id, Name, Query, parse_field},
    fault::{Fault, Outcome},
    limits::PAGE_ITEMS_MAX,
};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/offers/{offer}/accept", post(accept))
        .route("/offers/{offer}/decline", post(decline))
        .route("/spaces/{space}/members", get(members))
        .route("/spaces/{space}/offers", post(offer))
        .route("/spaces/{space}/leave", get(ask_leave).post(leave))
        .route("/spaces/{space}/read", post(mark_read))
}

/// A forum, a circle or a blog.
struct Space {
    name: String,
    href: String,
    kind: &'static str,
    nav: Nav,
    own: bool,
}

impl Space {
    fn find(ctx: &Ctx, id: SpaceId) -> Outcome<Self> {
        match ctx.node().forum(id) {
            Ok(forum) => {
                return Ok(Self {
                    name: words::name(&forum.name),
                    href: format!("/forums/{id}"),
                    kind: "forum",
                    nav: Nav::Forums,
                    own: false,
                });
            }
            Err(engine::Error::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        match ctx.node().circle(id) {
            Ok(circle) => {
                return Ok(Self {
                    name: words::name(&circle.name),
                    href: format!("/circles/{id}"),
                    kind: "circle",
                    nav: Nav::Circles,
                    own: false,
                });
            }
            Err(engine::Error::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let blog = ctx.node().blog(id)?;
        Ok(Self {
            name: words::name(&blog.name),
            href: format!("/blogs/{id}"),
            kind: "blog",
            nav: Nav::Blogs,
            own: blog.own,
        })
    }
}

/// An offer that waits for our answer.
pub(super) struct OfferView {
    pub(super) id: String,
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) creator: Who,
    pub(super) from: Who,
    pub(super) when: When,
    pub(super) same: bool,
}

impl OfferView {
    pub(super) fn of(offer: &Offer, now: Millis) -> Self {
        Self {
            id: offer.id.clone(),
            kind: match offer.kind {
                SpaceKind::Forum => "forum",
                SpaceKind::Blog => "blog",
                SpaceKind::Conversation => "conversation",
                SpaceKind::Circle => "circle",
            },
            name: words::name(&offer.name),
            description: offer.description.clone(),
            creator: Who::from(&offer.creator),
            from: Who::from(&offer.from),
            when: When::of(offer.received_ms, now),
            same: offer.creator.id == offer.from.id,
        }
    }
}

async fn accept(ctx: Ctx, Name(id): Name, Form(_): Form) -> Outcome<Response> {
    let space = ctx.node().accept_offer(&id).await?;
    let href = Space::find(&ctx, space).map_or_else(|_| "/forums".to_owned(), |space| space.href);
    Ok(redirect(&format!("{href}?done=accepted")))
}

async fn decline(ctx: Ctx, Name(id): Name, Form(_): Form) -> Outcome<Response> {
    ctx.node().decline_offer(&id).await?;
    Ok(redirect("/forums?done=declined"))
}

#[derive(Template)]
#[template(path = "members.html")]
struct MembersPage {
    page: Layout,
    id: String,
    space: Space,
    members: Vec<MemberView>,
    invitable: Vec<(String, String)>,
}

struct MemberView {
    who: Who,
    admitted_by: Option<Who>,
    depth: usize,
    entries: u64,
    offered: bool,
}

async fn members(ctx: Ctx, Id(id): Id<SpaceId>, query: Query) -> Outcome<Response> {
    let space = Space::find(&ctx, id)?;
    if space.nav == Nav::Circles {
        return Ok(redirect(&format!("{}/members", space.href)));
    }
    let members = ctx.node().members(id)?;
    let contacts = PageQuery {
        cursor: None,
        limit: PAGE_ITEMS_MAX,
    };
    let invitable = ctx
        .node()
        .contacts(&contacts)?
        .items
        .into_iter()
        .filter(|contact| {
            contact.state == ContactState::Ready
                && members.iter().all(|member| member.person.id != contact.id)
        })
        .map(|contact| {
            let name = contact.nickname.as_ref().unwrap_or(&contact.name);
            (contact.id.to_string(), words::name(name))
        })
        .collect();
    html(&MembersPage {
        page: ctx
            .layout(space.nav, format!("Members of {}", space.name), &query)?
            .below(&*space.href),
        id: id.to_string(),
        members: members
            .iter()
            .map(|member| MemberView {
                who: Who::from(&member.person),
                admitted_by: member.admitted_by.as_ref().map(Who::from),
                depth: (member.depth as usize).min(crate::limits::INDENT_DEPTH_MAX),
                entries: member.entries,
                offered: member.offered,
            })
            .collect(),
        invitable,
        space,
    })
}

async fn offer(ctx: Ctx, Id(id): Id<SpaceId>, Form(fields): Form) -> Outcome<Response> {
    let contacts: Vec<IdentityId> = fields
        .all("contact")
        .map(|contact| parse_field("contact", contact))
        .collect::<Outcome<_>>()?;
    if contacts.is_empty() {
        return Err(Fault::field(
            "contact",
            "expected at least one contact, found none",
        ));
    }
    for contact in contacts {
        ctx.node().offer(id, contact).await?;
    }
    Ok(redirect(&format!("/spaces/{id}/members?done=offered")))
}

#[derive(Template)]
#[template(path = "leave.html")]
struct LeavePage {
    page: Layout,
    id: String,
    space: Space,
}

async fn ask_leave(ctx: Ctx, Id(id): Id<SpaceId>, query: Query) -> Outcome<Response> {
    let space = Space::find(&ctx, id)?;
    html(&LeavePage {
        page: ctx
            .layout(space.nav, format!("Leave {}", space.name), &query)?
            .below(&*space.href),
        id: id.to_string(),
        space,
    })
}

async fn leave(ctx: Ctx, Id(id): Id<SpaceId>, Form(_): Form) -> Outcome<Response> {
    let space = Space::find(&ctx, id)?;
    ctx.node().leave(id).await?;
    Ok(redirect(&format!("/{}s?done=left", space.kind)))
}

async fn mark_read(ctx: Ctx, Id(id): Id<SpaceId>, Form(_): Form) -> Outcome<Response> {
    ctx.node().mark_space_read(id).await?;
    let href = Space::find(&ctx, id).map_or_else(|_| "/".to_owned(), |space| space.href);
    Ok(redirect(&format!("{href}?done=read")))
}
