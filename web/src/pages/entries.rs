//! Single entries: their place, edit, history, retract, reactions, read markers.

use std::sync::Arc;

use askama::Template;
use axum::{
    Router,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use engine::{
    EntryId,
    view::{Edit, Post},
};

use super::{
    Ctx, Layout, Nav, again,
    form::Form,
    html, misfit,
    parts::{Draft, PostView, tags},
    redirect, topic,
    when::When,
    words,
};
use crate::{
    App,
    api::extract::{Id, Query},
    fault::{Fault, Outcome},
    limits::MARK_READ_MAX,
    markdown::{Markup, plain_text},
};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/entries/read", post(mark_read))
        .route("/entries/{entry}", get(show))
        .route("/entries/{entry}/edit", get(ask_edit).post(edit))
        .route("/entries/{entry}/history", get(history))
        .route("/entries/{entry}/retract", get(ask_retract).post(retract))
        .route("/entries/{entry}/reactions", post(react))
}

/// Where an entry is read: on its thread's page or in its conversation.
pub(super) fn place(ctx: &Ctx, post: &Post) -> Outcome<String> {
    // Only messages and first entries are their own topic; messages have no topic page.
    match topic::locate(ctx, post) {
        Err(fault) if fault.kind == crate::fault::FaultKind::NotFound => {
            Ok(conversation_of(ctx, post)?
                .unwrap_or_else(|| format!("/entries/{}?alone=1", post.id)))
        }
        other => other,
    }
}

fn conversation_of(ctx: &Ctx, post: &Post) -> Outcome<Option<String>> {
    let conversations = ctx.node().conversations(&engine::view::PageQuery {
        cursor: None,
        limit: crate::limits::PAGE_ITEMS_MAX,
    })?;
    Ok(conversations
        .items
        .into_iter()
        .find(|conversation| conversation.space == post.space)
        .map(|conversation| format!("/messages/{}#e-{}", conversation.contact.id, post.id)))
}

#[derive(Template)]
#[template(path = "entry.html")]
struct EntryPage {
    page: Layout,
    title: String,
    topic_href: String,
    post: PostView,
}

async fn show(ctx: Ctx, Id(id): Id<EntryId>, query: Query) -> Outcome<Response> {
    let post = ctx.node().entry(id)?;
    if query.get("alone").is_none() {
        return Ok(redirect(&place(&ctx, &post)?));
    }
    let topic_href = format!("/threads/{}", post.topic);
    let token = &ctx.session.form_token;
    html(&EntryPage {
        page: ctx
            .layout(Nav::None, "One entry", &query)?
            .below(&*topic_href),
        title: words::title(post.title.as_deref().unwrap_or("One entry")),
        post: PostView::of(
            &post,
            &format!("{topic_href}?"),
            token,
            &ctx.app.renderer,
            ctx.now,
        ),
        topic_href,
    })
}

#[derive(Template)]
#[template(path = "edit.html")]
struct EditPage {
    page: Layout,
    id: String,
    has_title: bool,
    has_tags: bool,
    draft: Draft,
    back: String,
}

fn edit_page(ctx: &Ctx, post: &Post, draft: Draft) -> Outcome<Response> {
    let query = Query::of(&axum::http::Uri::default());
    let back = format!("/entries/{}", post.id);
    html(&EditPage {
        page: ctx.layout(Nav::None, "Edit", &query)?.below(&*back),
        id: post.id.to_string(),
        has_title: post.title.is_some(),
        has_tags: is_article(ctx, post),
        draft,
        back,
    })
}

fn is_article(ctx: &Ctx, post: &Post) -> bool {
    post.title.is_some() && ctx.node().blog(post.space).is_ok()
}

fn own(ctx: &Ctx, id: EntryId) -> Outcome<Post> {
    let post = ctx.node().entry(id)?;
    if post.own {
        return Ok(post);
    }
    Err(Fault::new(
        crate::fault::FaultKind::NotAllowed,
        "only its author can change this",
    ))
}

async fn ask_edit(ctx: Ctx, Id(id): Id<EntryId>) -> Outcome<Response> {
    let post = own(&ctx, id)?;
    let draft = Draft {
        title: post.title.clone().unwrap_or_default(),
        body: post.body.clone(),
        tags: post.tags.join(", "),
        error: None,
    };
    edit_page(&ctx, &post, draft)
}

async fn edit(ctx: Ctx, Id(id): Id<EntryId>, Form(fields): Form) -> Outcome<Response> {
    let post = own(&ctx, id)?;
    let draft = Draft {
        title: fields.get("title"),
        body: fields.get("body"),
        tags: fields.get("tags"),
        error: None,
    };
    let edit = Edit {
        title: post.title.is_some().then(|| draft.title.clone()),
        body: Some(draft.body.clone()),
        tags: is_article(&ctx, &post).then(|| tags(&draft.tags)),
    };
    match ctx.node().edit(id, edit).await {
        Ok(post) => Ok(redirect(&place(&ctx, &post)?)),
        Err(error) => {
            let error = Some(misfit(error)?);
            Ok(again(edit_page(&ctx, &post, Draft { error, ..draft })?))
        }
    }
}

#[derive(Template)]
#[template(path = "history.html")]
struct HistoryPage {
    page: Layout,
    versions: Vec<VersionView>,
    back: String,
}

struct VersionView {
    number: usize,
    when: When,
    title: Option<String>,
    html: Markup,
}

async fn history(ctx: Ctx, Id(id): Id<EntryId>, query: Query) -> Outcome<Response> {
    let versions = ctx.node().history(id)?;
    let back = format!("/entries/{id}");
    html(&HistoryPage {
        page: ctx.layout(Nav::None, "History", &query)?.below(&*back),
        versions: versions
            .iter()
            .enumerate()
            .map(|(at, version)| VersionView {
                number: at + 1,
                when: When::of(version.created_ms, ctx.now),
                title: version.title.as_deref().map(words::title),
                html: ctx.app.renderer.render(&version.body),
            })
            .rev()
            .collect(),
        back,
    })
}

#[derive(Template)]
#[template(path = "retract.html")]
struct RetractPage {
    page: Layout,
    id: String,
    excerpt: String,
    back: String,
}

/// Characters of what is about to be taken back.
pub(super) const EXCERPT_CHARS: usize = 200;

async fn ask_retract(ctx: Ctx, Id(id): Id<EntryId>, query: Query) -> Outcome<Response> {
    let post = own(&ctx, id)?;
    let back = format!("/entries/{id}");
    html(&RetractPage {
        page: ctx.layout(Nav::None, "Take back", &query)?.below(&*back),
        id: id.to_string(),
        excerpt: words::excerpt(
            post.title.as_deref().unwrap_or(&plain_text(&post.body)),
            EXCERPT_CHARS,
        ),
        back,
    })
}

async fn retract(ctx: Ctx, Id(id): Id<EntryId>, Form(_): Form) -> Outcome<Response> {
    let post = ctx.node().retract(id).await?;
    Ok(redirect(&place(&ctx, &post)?))
}

async fn react(ctx: Ctx, Id(id): Id<EntryId>, Form(fields): Form) -> Outcome<Response> {
    let (give, take) = (fields.get("give"), fields.get("take"));
    let post = if take.is_empty() {
        ctx.node().react(id, &give, true).await?
    } else {
        ctx.node().react(id, &take, false).await?
    };
    Ok(redirect(&place(&ctx, &post)?))
}

/// What the pages' script reports as seen.
async fn mark_read(ctx: Ctx, Form(fields): Form) -> Outcome<Response> {
    let ids: Vec<EntryId> = fields
        .all("id")
        .take(MARK_READ_MAX)
        .map(|id| id.parse().map_err(|_| Fault::not_found("this entry")))
        .collect::<Outcome<_>>()?;
    ctx.node().mark_many_read(&ids).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
