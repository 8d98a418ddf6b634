//! The list of forums, and a forum's threads.

use std::sync::Arc;

use askama::Template;
use axum::{
    Router,
    response::Response,
    routing::{get, post},
};
use engine::{
    SpaceId,
    view::{Fork, Forum, Topic},
};

use super::{
    Ctx, Layout, Nav, again,
    form::Form,
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
    api::extract::{Id, Query},
    fault::Outcome,
    markdown::plain_text,
};

/// Characters of a first post in the list of threads.
const EXCERPT_CHARS: usize = 140;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/forums", get(list).post(create))
        .route("/forums/{forum}", get(show))
        .route("/forums/{forum}/threads", post(create_thread))
        .route("/forums/{forum}/new", get(new_thread))
}

#[derive(Template)]
#[template(path = "forums.html")]
struct ForumsPage {
    page: Layout,
    forums: Vec<ForumView>,
    next: Option<String>,
    offers: Vec<OfferView>,
    draft: Draft,
}

/// A forum, in a list or above its threads.
struct ForumView {
    id: String,
    name: String,
    description: String,
    creator: Who,
    unread: u64,
    threads: u64,
    when: Option<When>,
    forks: Vec<Who>,
}

impl ForumView {
    fn of(ctx: &Ctx, forum: &Forum) -> Self {
        let author = |fork: &Fork| Who::from(&fork.author);
        Self {
            id: forum.id.to_string(),
            name: words::name(&forum.name),
            description: forum.description.clone(),
            creator: Who::from(&forum.creator),
            unread: forum.unread,
            threads: forum.threads,
            when: forum.last_activity_ms.map(|time| When::of(time, ctx.now)),
            forks: forum.forks.iter().map(author).collect(),
        }
    }
}

fn list_page(ctx: &Ctx, query: &Query, draft: Draft) -> Outcome<Response> {
    let forums = ctx.node().forums(&page_query(query))?;
    html(&ForumsPage {
        page: ctx
            .layout(Nav::Forums, "Forums", query)?
            .about("forums")
            .below("/"),
        next: next_href("/forums", forums.next.as_ref()),
        forums: forums
            .items
            .iter()
            .map(|forum| ForumView::of(ctx, forum))
            .collect(),
        offers: ctx
            .node()
            .offers()?
            .iter()
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
    match ctx.node().create_forum(&name, &description).await {
        Ok(forum) => Ok(redirect(&format!("/forums/{}", forum.id))),
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
#[template(path = "forum.html")]
struct ForumPage {
    page: Layout,
    progress: Progress,
    forum: ForumView,
    arriving: u64,
    threads: Vec<TopicView>,
    next: Option<String>,
}

/// A thread or article in a list.
pub(super) struct TopicView {
    pub(super) href: String,
    pub(super) title: String,
    pub(super) who: Option<Who>,
    pub(super) when: When,
    pub(super) replies: u64,
    pub(super) unread: u64,
    pub(super) excerpt: String,
    pub(super) retracted: bool,
    pub(super) closed: bool,
    pub(super) tags: Vec<String>,
}

impl TopicView {
    pub(super) fn of(ctx: &Ctx, path: &str, topic: &Topic) -> Self {
        Self {
            href: format!("/{path}/{}", topic.id),
            title: words::title(&topic.title),
            who: topic.author.as_ref().map(Who::from),
            when: When::of(topic.last_activity_ms, ctx.now),
            replies: topic.replies,
            unread: topic.unread,
            excerpt: words::excerpt(&plain_text(&topic.excerpt), EXCERPT_CHARS),
            retracted: topic.retracted,
            closed: topic.closed,
            tags: topic.tags.clone(),
        }
    }
}

async fn show(ctx: Ctx, Id(id): Id<SpaceId>, query: Query) -> Outcome<Response> {
    let forum = ctx.node().forum(id)?;
    let threads = ctx.node().threads(id, &page_query(&query))?;
    html(&ForumPage {
        page: ctx
            .layout(Nav::Forums, words::name(&forum.name), &query)?
            .about(id)
            .below("/forums"),
        next: next_href(&format!("/forums/{id}"), threads.next.as_ref()),
        threads: threads
            .items
            .iter()
            .map(|topic| TopicView::of(&ctx, "threads", topic))
            .collect(),
        arriving: forum.arriving,
        progress: Progress::of_all(&ctx)?,
        forum: ForumView::of(&ctx, &forum),
    })
}

#[derive(Template)]
#[template(path = "new_thread.html")]
struct NewThreadPage {
    page: Layout,
    id: String,
    forum: String,
    draft: Draft,
}

fn new_thread_page(ctx: &Ctx, id: SpaceId, query: &Query, draft: Draft) -> Outcome<Response> {
    let forum = ctx.node().forum(id)?;
    html(&NewThreadPage {
        page: ctx
            .layout(Nav::Forums, "New thread", query)?
            .below(format!("/forums/{id}")),
        id: id.to_string(),
        forum: words::name(&forum.name),
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
    match ctx.node().create_thread(id, &title, &body).await {
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
