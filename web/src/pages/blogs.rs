//! Blogs and their articles.

use std::sync::Arc;

use askama::Template;
use axum::{Router, response::Response, routing::get};
use engine::{EntryId, SpaceId, view::Blog};

use super::{
    Ctx, Layout, Nav, again,
    form::Form,
    forums::TopicView,
    html, misfit, next_href, page_query,
    parts::{Draft, Who, tags},
    redirect,
    when::When,
    words,
};
use crate::{
    App,
    api::extract::{Id, Query},
    fault::Outcome,
    markdown::Markup,
};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/blogs", get(list))
        .route("/blogs/{blog}", get(show))
        .route("/blog/new", get(ask_publish).post(publish))
        .route("/articles/{article}/reblog", get(ask_reblog).post(reblog))
}

#[derive(Template)]
#[template(path = "blogs.html")]
struct BlogsPage {
    page: Layout,
    own: Option<BlogView>,
    blogs: Vec<BlogView>,
    next: Option<String>,
}

/// A blog, in a list or above its articles.
struct BlogView {
    id: String,
    name: String,
    author: Who,
    own: bool,
    unread: u64,
    articles: u64,
    when: Option<When>,
}

impl BlogView {
    fn of(ctx: &Ctx, blog: &Blog) -> Self {
        Self {
            id: blog.id.to_string(),
            name: words::name(&blog.name),
            author: Who::from(&blog.author),
            own: blog.own,
            unread: blog.unread,
            articles: blog.articles,
            when: blog.last_activity_ms.map(|time| When::of(time, ctx.now)),
        }
    }
}

async fn list(ctx: Ctx, query: Query) -> Outcome<Response> {
    let page = ctx.node().blogs(&page_query(&query))?;
    let (own, others): (Vec<_>, Vec<_>) = page.items.iter().partition(|blog| blog.own);
    html(&BlogsPage {
        page: ctx
            .layout(Nav::Blogs, "Blogs", &query)?
            .about("blogs")
            .below("/"),
        own: own.first().map(|blog| BlogView::of(&ctx, blog)),
        blogs: others
            .into_iter()
            .map(|blog| BlogView::of(&ctx, blog))
            .collect(),
        next: next_href("/blogs", page.next.as_ref()),
    })
}

#[derive(Template)]
#[template(path = "blog.html")]
struct BlogPage {
    page: Layout,
    blog: BlogView,
    arriving: u64,
    articles: Vec<TopicView>,
    next: Option<String>,
}

async fn show(ctx: Ctx, Id(id): Id<SpaceId>, query: Query) -> Outcome<Response> {
    let blog = ctx.node().blog(id)?;
    let articles = ctx.node().articles(id, &page_query(&query))?;
    html(&BlogPage {
        page: ctx
            .layout(Nav::Blogs, words::name(&blog.name), &query)?
            .about(id)
            .below("/blogs"),
        next: next_href(&format!("/blogs/{id}"), articles.next.as_ref()),
        articles: articles
            .items
            .iter()
            .map(|topic| TopicView::of(&ctx, "articles", topic))
            .collect(),
        arriving: blog.arriving,
        blog: BlogView::of(&ctx, &blog),
    })
}

#[derive(Template)]
#[template(path = "new_article.html")]
struct NewArticlePage {
    page: Layout,
    draft: Draft,
}

fn publish_page(ctx: &Ctx, query: &Query, draft: Draft) -> Outcome<Response> {
    html(&NewArticlePage {
        page: ctx
            .layout(Nav::Blogs, "New article", query)?
            .below("/blogs"),
        draft,
    })
}

async fn ask_publish(ctx: Ctx, query: Query) -> Outcome<Response> {
    publish_page(&ctx, &query, Draft::default())
}

async fn publish(ctx: Ctx, query: Query, Form(fields): Form) -> Outcome<Response> {
    let draft = Draft {
        title: fields.get("title"),
        body: fields.get("body"),
        tags: fields.get("tags"),
        error: None,
    };
    match ctx
        .node()
        .publish(&draft.title, &draft.body, &tags(&draft.tags))
        .await
    {
        Ok(post) => Ok(redirect(&format!("/articles/{}", post.id))),
        Err(error) => {
            let error = Some(misfit(error)?);
            Ok(again(publish_page(&ctx, &query, Draft { error, ..draft })?))
        }
    }
}

#[derive(Template)]
#[template(path = "reblog.html")]
struct ReblogPage {
    page: Layout,
    id: String,
    title: String,
    who: Who,
    html: Markup,
    draft: Draft,
    back: String,
}

fn reblog_page(ctx: &Ctx, id: EntryId, query: &Query, draft: Draft) -> Outcome<Response> {
    let article = ctx.node().entry(id)?;
    let back = format!("/articles/{id}");
    html(&ReblogPage {
        page: ctx.layout(Nav::Blogs, "Reblog", query)?.below(&*back),
        id: id.to_string(),
        title: words::title(article.title.as_deref().unwrap_or_default()),
        who: Who::from(&article.author),
        html: ctx.app.renderer.render(&article.body),
        draft,
        back,
    })
}

async fn ask_reblog(ctx: Ctx, Id(id): Id<EntryId>, query: Query) -> Outcome<Response> {
    reblog_page(&ctx, id, &query, Draft::default())
}

async fn reblog(
    ctx: Ctx,
    Id(id): Id<EntryId>,
    query: Query,
    Form(fields): Form,
) -> Outcome<Response> {
    let note = fields.get("body");
    match ctx.node().reblog(id, &note).await {
        Ok(post) => Ok(redirect(&format!("/articles/{}", post.id))),
        Err(error) => {
            let draft = Draft {
                body: note,
                error: Some(misfit(error)?),
                ..Draft::default()
            };
            Ok(again(reblog_page(&ctx, id, &query, draft)?))
        }
    }
}
