//! Blogs, articles and comments.

use std::sync::Arc;

use axum::{Json, extract::State};
use engine::{EntryId, SpaceId, view};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    Created, dto,
    extract::{Body, Id, Query},
    forums::{self, NewReply},
    routes::{Routes, doc},
};
use crate::{
    App,
    fault::{FaultKind, Outcome},
};

/// A new article in the own blog.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewArticle {
    /// Its title, 1 to 200 characters.
    title: String,
    /// Its text (Markdown), up to 64 KiB.
    body: String,
    /// Tags, at most 16 of 40 characters each.
    #[serde(default)]
    tags: Vec<String>,
}

/// A reblog in the own blog.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewReblog {
    /// What we say to it (Markdown).
    #[serde(default)]
    note: String,
}

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get(
            "/blogs",
            blogs,
            doc("blogs", "The own blog and those of others")
                .paged()
                .lists::<dto::Blog>("Blogs"),
        )
        .get(
            "/blogs/{blog}",
            blog,
            doc("blogs", "One blog").gives::<dto::Blog>(200, "The blog"),
        )
        .get(
            "/blogs/{blog}/articles",
            articles,
            doc("blogs", "A blog's articles, newest activity first")
                .paged()
                .lists::<dto::Article>("Articles"),
        )
        .post(
            "/blog/articles",
            publish,
            doc(
                "blogs",
                "Publishes an article in the own blog, for all contacts",
            )
            .takes::<NewArticle>()
            .gives::<dto::Post>(201, "The article"),
        )
        .get(
            "/articles/{article}",
            forums::thread,
            doc("blogs", "An article with its comments, oldest first")
                .paged()
                .gives::<dto::TopicPage>(200, "The article"),
        )
        .post(
            "/articles/{article}/comments",
            forums::reply,
            doc("blogs", "Comments on an article")
                .takes::<NewReply>()
                .gives::<dto::Post>(201, "The comment"),
        )
        .post(
            "/articles/{article}/reblog",
            reblog,
            doc(
                "blogs",
                "Publishes somebody's article in the own blog, with the signed original inside",
            )
            .takes::<NewReblog>()
            .gives::<dto::Post>(201, "The reblog")
            .can_fail(&[FaultKind::Conflict, FaultKind::NotAllowed]),
        )
        .post(
            "/articles/{article}/read",
            forums::mark_topic_read,
            doc("blogs", "Marks an article and its comments read").empty("Read"),
        )
}

async fn blogs(State(app): State<Arc<App>>, query: Query) -> Outcome<Json<dto::List<dto::Blog>>> {
    let page = app.node.blogs(&query.page()?)?;
    Ok(Json(dto::List::of(page, dto::Blog::from)))
}

async fn blog(State(app): State<Arc<App>>, Id(id): Id<SpaceId>) -> Outcome<Json<dto::Blog>> {
    Ok(Json(app.node.blog(id)?.into()))
}

async fn articles(
    State(app): State<Arc<App>>,
    Id(id): Id<SpaceId>,
    query: Query,
) -> Outcome<Json<dto::List<dto::Article>>> {
    let blog = app.node.blog(id)?;
    let page = app.node.articles(id, &query.page()?)?;
    let article = |topic: view::Topic| {
        let (comments, last_activity_ms) = (topic.replies, topic.last_activity_ms.0);
        let post = match app.node.entry(topic.id) {
            Ok(post) => post,
            Err(engine::Error::NotFound { .. }) => not_arrived(&blog, topic),
            Err(error) => return Err(error),
        };
        Ok(dto::Article {
            post: dto::Post::of(post, &app.renderer),
            comments,
            last_activity_ms,
        })
    };
    let items: Result<Vec<_>, _> = page.items.into_iter().map(article).collect();
    Ok(Json(dto::List {
        items: items?,
        next: page.next.map(|cursor| cursor.0),
    }))
}

/// An article of which only comments came so far.
fn not_arrived(blog: &view::Blog, topic: view::Topic) -> view::Post {
    view::Post {
        id: topic.id,
        space: topic.space,
        topic: topic.id,
        author: topic.author.unwrap_or_else(|| blog.author.clone()),
        body: String::new(),
        title: Some(topic.title),
        tags: topic.tags,
        parent: None,
        parent_excerpt: None,
        created_ms: topic.created_ms.unwrap_or(topic.last_activity_ms),
        doubtful_time: false,
        received_ms: topic.last_activity_ms,
        edited_ms: None,
        retracted: topic.retracted,
        missing: true,
        unread: topic.unread > 0,
        own: blog.own,
        ahead: false,
        weak_key: false,
        reactions: Vec::new(),
        reblog: None,
        delivery: None,
        private: false,
        disappears: None,
        setting: None,
    }
}

async fn publish(
    State(app): State<Arc<App>>,
    Body(new): Body<NewArticle>,
) -> Outcome<Created<dto::Post>> {
    let post = app.node.publish(&new.title, &new.body, &new.tags).await?;
    Ok(Created(dto::Post::of(post, &app.renderer)))
}

async fn reblog(
    State(app): State<Arc<App>>,
    Id(id): Id<EntryId>,
    Body(new): Body<NewReblog>,
) -> Outcome<Created<dto::Post>> {
    let post = app.node.reblog(id, &new.note).await?;
    Ok(Created(dto::Post::of(post, &app.renderer)))
}
