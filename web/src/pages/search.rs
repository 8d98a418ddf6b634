//! Finding entries over all spaces.

use std::sync::Arc;

use askama::Template;
use axum::{Router, response::Response, routing::get};
use engine::view::{Hit, SpaceKind};

use super::{Ctx, Layout, Nav, html, page_query, parts::Who, url_text, when::When, words};
use crate::{
    App,
    api::{check_search, extract::Query},
    fault::Outcome,
    markdown::plain_text,
};

/// Characters of a hit's text.
const EXCERPT_CHARS: usize = 240;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route("/search", get(show))
}

#[derive(Template)]
#[template(path = "search.html")]
struct SearchPage {
    page: Layout,
    q: String,
    error: Option<String>,
    hits: Option<Vec<HitView>>,
    next: Option<String>,
}

struct HitView {
    href: String,
    title: String,
    place: String,
    who: Who,
    when: When,
    excerpt: String,
}

async fn show(ctx: Ctx, query: Query) -> Outcome<Response> {
    let q = query.get("q").unwrap_or_default().to_owned();
    let mut search = SearchPage {
        page: ctx.layout(Nav::Search, "Search", &query)?.below("/"),
        error: None,
        hits: None,
        next: None,
        q,
    };
    if search.q.is_empty() {
        return html(&search);
    }
    if let Err(fault) = check_search(&search.q) {
        search.error = fault.fields.into_iter().next().map(|field| field.detail);
        return html(&search).map(super::again);
    }
    let found = ctx.node().search(&search.q, &page_query(&query))?;
    search.next = found.next.as_ref().map(|cursor| {
        format!(
            "/search?q={}&cursor={}",
            url_text(&search.q),
            url_text(&cursor.0)
        )
    });
    search.hits = Some(found.items.iter().map(|hit| hit_view(&ctx, hit)).collect());
    html(&search)
}

fn hit_view(ctx: &Ctx, hit: &Hit) -> HitView {
    let title = match hit.kind {
        SpaceKind::Conversation => format!("Message with {}", words::name(&hit.space_name)),
        SpaceKind::Forum | SpaceKind::Blog | SpaceKind::Circle => words::title(&hit.title),
    };
    HitView {
        href: format!("/entries/{}", hit.post.id),
        title,
        place: words::name(&hit.space_name),
        who: Who::from(&hit.post.author),
        when: When::of(hit.post.created_ms, ctx.now),
        excerpt: words::excerpt(&plain_text(&hit.excerpt), EXCERPT_CHARS),
    }
}
