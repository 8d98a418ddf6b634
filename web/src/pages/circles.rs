//! Circles: the list, a circle's threads, its members and what its owner decides.

use std::sync::Arc;

use askama::Template;
use axum::{
    Router,
    response::Response,
    routing::{get, post},
};
use engine::{
    EntryId, IdentityId, SpaceId,
    view::{
        Circle, CircleMember, CircleStanding as Standing, ContactState, Fork, PageQuery, Relation,
    },
};

use super::{
    Ctx, Layout, Nav, again,
    form::Form,
    forums::TopicView,
    html,
    meetings::Progress,
    misfit, next_href, page_query,
    parts::{Draft, Who},
    redirect,
    spaces::OfferView,
    when::When,
    words,
};
use crate::{
    App,
    api::extract::{Id, Query, parse_field},
    fault::{Fault, Outcome},
    limits::PAGE_ITEMS_MAX,
};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/circles", get(list).post(create))
        .route("/circles/{circle}", get(show))
        .route("/circles/{circle}/threads", post(create_thread))
        .route("/circles/{circle}/new", get(new_thread))
        .route("/circles/{circle}/members", get(members))
        .route("/circles/{circle}/invitations", post(invite))
        .route("/circles/{circle}/withdraw", post(withdraw))
        .route("/circles/{circle}/remove", get(ask_remove).post(remove))
        .route(
            "/circles/{circle}/hand-over",
            get(ask_hand_over).post(hand_over),
        )
        .route("/circles/{circle}/close", post(close))
        .route("/circles/{circle}/reopen", post(reopen))
}

#[derive(Template)]
#[template(path = "circles.html")]
struct CirclesPage {
    page: Layout,
    circles: Vec<CircleView>,
    next: Option<String>,
    offers: Vec<OfferView>,
    draft: Draft,
}

/// A circle, in a list or above its threads.
struct CircleView {
    id: String,
    name: String,
    description: String,
    owner: Who,
    mine: bool,
    removed: bool,
    closed: bool,
    members: u64,
    unread: u64,
    threads: u64,
    when: Option<When>,
    forks: Vec<Who>,
}

impl CircleView {
    fn of(ctx: &Ctx, circle: &Circle) -> Self {
        let author = |fork: &Fork| Who::from(&fork.author);
        Self {
            id: circle.id.to_string(),
            name: words::name(&circle.name),
            description: circle.description.clone(),
            owner: Who::from(&circle.owner),
            mine: circle.standing == Standing::Owner,
            removed: circle.standing == Standing::Removed,
            closed: circle.closed,
            members: circle.members,
            unread: circle.unread,
            threads: circle.threads,
            when: circle.last_activity_ms.map(|time| When::of(time, ctx.now)),
            forks: circle.forks.iter().map(author).collect(),
        }
    }

    /// Whether something can be written in it here.
    fn is_open(&self) -> bool {
        !self.removed && !self.closed
    }
}

fn list_page(ctx: &Ctx, query: &Query, draft: Draft) -> Outcome<Response> {
    let circles = ctx.node().circles(&page_query(query))?;
    html(&CirclesPage {
        page: ctx
            .layout(Nav::Circles, "Circles", query)?
            .about("circles")
            .below("/"),
        next: next_href("/circles", circles.next.as_ref()),
        circles: circles
            .items
            .iter()
            .map(|circle| CircleView::of(ctx, circle))
            .collect(),
        offers: ctx
            .node()
            .offers()?
            .iter()
            .filter(|offer| offer.kind == engine::view::SpaceKind::Circle)
            .map(|offer| OfferView::of(offer, ctx.now))
            .collect(),
        draft,
    })
}

async fn list(ctx: Ctx, query: Query) -> Outcome<Response> {
    list_page(&ctx, &query, Draft::default())
}

async fn create(ctx: Ctx, query: Query, Form(fields): Form) -> Outcome<Response> {
    let (name, description) = (fields.get("name"), fields.get("description"));
    match ctx.node().create_circle(&name, &description).await {
        Ok(circle) => Ok(redirect(&format!("/circles/{}", circle.id))),
        Err(error) => {
            let draft = Draft {
                title: name,
                body: description,
                error: Some(misfit(error)?),
                ..Draft::default()
            };
            Ok(again(list_page(&ctx, &query, draft)?))
        }
    }
}

#[derive(Template)]
#[template(path = "circle.html")]
struct CirclePage {
    page: Layout,
    progress: Progress,
    circle: CircleView,
    arriving: u64,
    threads: Vec<TopicView>,
    next: Option<String>,
}

async fn show(ctx: Ctx, Id(id): Id<SpaceId>, query: Query) -> Outcome<Response> {
    let circle = ctx.node().circle(id)?;
    let threads = ctx.node().circle_threads(id, &page_query(&query))?;
    html(&CirclePage {
        page: ctx
            .layout(Nav::Circles, words::name(&circle.name), &query)?
            .about(id)
            .below("/circles"),
        next: next_href(&format!("/circles/{id}"), threads.next.as_ref()),
        threads: threads
            .items
            .iter()
            .map(|topic| TopicView::of(&ctx, "threads", topic))
            .collect(),
        arriving: circle.arriving,
        progress: Progress::of_all(&ctx)?,
        circle: CircleView::of(&ctx, &circle),
    })
}

#[derive(Template)]
#[template(path = "new_circle_thread.html")]
struct NewThreadPage {
    page: Layout,
    circle: CircleView,
    draft: Draft,
}

fn new_thread_page(ctx: &Ctx, id: SpaceId, query: &Query, draft: Draft) -> Outcome<Response> {
    let circle = ctx.node().circle(id)?;
    html(&NewThreadPage {
        page: ctx
            .layout(Nav::Circles, "New thread", query)?
            .below(format!("/circles/{id}")),
        circle: CircleView::of(ctx, &circle),
        draft,
    })
}

async fn new_thread(ctx: Ctx, Id(id): Id<SpaceId>, query: Query) -> Outcome<Response> {
    new_thread_page(&ctx, id, &query, Draft::default())
}

async fn create_thread(
    ctx: Ctx,
    Id(id): Id<SpaceId>,
    query: Query,
    Form(fields): Form,
) -> Outcome<Response> {
    let (title, body) = (fields.get("title"), fields.get("body"));
    match ctx.node().create_circle_thread(id, &title, &body).await {
        Ok(page) => Ok(redirect(&format!("/threads/{}", page.topic.id))),
        Err(error) => {
            let draft = Draft {
                title,
                body,
                error: Some(misfit(error)?),
                ..Draft::default()
            };
            Ok(again(new_thread_page(&ctx, id, &query, draft)?))
        }
    }
}

#[derive(Template)]
#[template(path = "circle_members.html")]
struct MembersPage {
    page: Layout,
    circle: CircleView,
    members: Vec<MemberView>,
    invitable: Vec<(String, String)>,
    /// Somebody could be the owner next.
    has_heirs: bool,
}

struct MemberView {
    id: String,
    who: Who,
    let_in_by: Option<Who>,
    standing: &'static str,
    /// No contact of ours: reaches us through members who are.
    indirect: bool,
    removable: bool,
    invited: bool,
    entries: u64,
}

impl MemberView {
    fn of(member: &CircleMember, mine: bool) -> Self {
        let standing = member.standing;
        let here = matches!(standing, Standing::Owner | Standing::Member);
        Self {
            id: member.person.id.to_string(),
            who: Who::from(&member.person),
            let_in_by: member.let_in_by.as_ref().map(Who::from),
            standing: match standing {
                Standing::Owner => "owner",
                Standing::Member => "",
                Standing::Invited => "invited, not answered yet",
                Standing::Left => "left",
                Standing::Removed => "removed",
            },
            indirect: here && member.person.relation == Relation::Stranger,
            removable: mine && matches!(standing, Standing::Member | Standing::Left),
            invited: mine && standing == Standing::Invited,
            entries: member.entries,
        }
    }
}

async fn members(ctx: Ctx, Id(id): Id<SpaceId>, query: Query) -> Outcome<Response> {
    let circle = ctx.node().circle(id)?;
    let members = ctx.node().circle_members(id)?;
    let mine = circle.standing == Standing::Owner;
    let contacts = PageQuery {
        cursor: None,
        limit: PAGE_ITEMS_MAX,
    };
    let contacts = ctx.node().contacts(&contacts)?.items.into_iter();
    let invitable = contacts
        .filter(|contact| {
            let here = members
                .iter()
                .any(|member| member.person.id == contact.id && member.standing != Standing::Left);
            mine && !circle.closed && contact.state == ContactState::Ready && !here
        })
        .map(|contact| {
            let name = contact.nickname.as_ref().unwrap_or(&contact.name);
            (contact.id.to_string(), words::name(name))
        })
        .collect();
    html(&MembersPage {
        page: ctx
            .layout(
                Nav::Circles,
                format!("Members of {}", words::name(&circle.name)),
                &query,
            )?
            .about(id)
            .below(format!("/circles/{id}")),
        circle: CircleView::of(&ctx, &circle),
        has_heirs: members.iter().any(is_heir),
        members: members
            .iter()
            .map(|member| MemberView::of(member, mine))
            .collect(),
        invitable,
    })
}

fn is_heir(member: &CircleMember) -> bool {
    member.standing == Standing::Member
}

async fn invite(ctx: Ctx, Id(id): Id<SpaceId>, Form(fields): Form) -> Outcome<Response> {
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
    ctx.node().circle(id)?;
    for contact in contacts {
        ctx.node().offer(id, contact).await?;
    }
    Ok(redirect(&format!("/circles/{id}/members?done=invited")))
}

async fn withdraw(ctx: Ctx, Id(id): Id<SpaceId>, Form(fields): Form) -> Outcome<Response> {
    let contact = parse_field("contact", &fields.get("contact"))?;
    ctx.node().withdraw_invitation(id, contact).await?;
    Ok(redirect(&format!("/circles/{id}/members?done=withdrawn")))
}

#[derive(Template)]
#[template(path = "remove_member.html")]
struct RemovePage {
    page: Layout,
    circle: CircleView,
    member: MemberView,
}

async fn ask_remove(ctx: Ctx, Id(id): Id<SpaceId>, query: Query) -> Outcome<Response> {
    let circle = ctx.node().circle(id)?;
    let who: IdentityId = parse_field("person", query.get("person").unwrap_or_default())?;
    let members = ctx.node().circle_members(id)?;
    let member = members.iter().find(|member| member.person.id == who);
    let member = member.ok_or_else(|| Fault::not_found("this person"))?;
    let name = words::name(&member.person.name);
    html(&RemovePage {
        page: ctx
            .layout(Nav::Circles, format!("Remove {name}"), &query)?
            .below(format!("/circles/{id}/members")),
        circle: CircleView::of(&ctx, &circle),
        member: MemberView::of(member, true),
    })
}

async fn remove(ctx: Ctx, Id(id): Id<SpaceId>, Form(fields): Form) -> Outcome<Response> {
    let who = parse_field("person", &fields.get("person"))?;
    ctx.node().remove_member(id, who).await?;
    Ok(redirect(&format!("/circles/{id}/members?done=removed")))
}

#[derive(Template)]
#[template(path = "hand_over.html")]
struct HandOverPage {
    page: Layout,
    circle: CircleView,
    heirs: Vec<MemberView>,
}

async fn ask_hand_over(ctx: Ctx, Id(id): Id<SpaceId>, query: Query) -> Outcome<Response> {
    let circle = ctx.node().circle(id)?;
    let members = ctx.node().circle_members(id)?;
    let heirs = members.iter().filter(|member| is_heir(member));
    html(&HandOverPage {
        page: ctx
            .layout(Nav::Circles, "Hand over", &query)?
            .below(format!("/circles/{id}/members")),
        circle: CircleView::of(&ctx, &circle),
        heirs: heirs.map(|member| MemberView::of(member, true)).collect(),
    })
}

async fn hand_over(ctx: Ctx, Id(id): Id<SpaceId>, Form(fields): Form) -> Outcome<Response> {
    let to = parse_field("person", &fields.get("person"))?;
    ctx.node().hand_over_circle(id, to).await?;
    Ok(redirect(&format!("/circles/{id}/members?done=handed-over")))
}

/// Closes or opens the circle, or the thread that the form names.
async fn set_closed(ctx: &Ctx, id: SpaceId, thread: &str, closed: bool) -> Outcome<Response> {
    let thread: Option<EntryId> = match thread {
        "" => None,
        thread => Some(parse_field("thread", thread)?),
    };
    ctx.node().close_circle(id, thread, closed).await?;
    let href = thread.map_or_else(
        || format!("/circles/{id}"),
        |thread| format!("/threads/{thread}"),
    );
    let done = if closed { "closed" } else { "reopened" };
    Ok(redirect(&format!("{href}?done={done}")))
}

async fn close(ctx: Ctx, Id(id): Id<SpaceId>, Form(fields): Form) -> Outcome<Response> {
    set_closed(&ctx, id, &fields.get("thread"), true).await
}

async fn reopen(ctx: Ctx, Id(id): Id<SpaceId>, Form(fields): Form) -> Outcome<Response> {
    set_closed(&ctx, id, &fields.get("thread"), false).await
}
