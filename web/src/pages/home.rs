//! What is new over all spaces, and what waits for an answer.

use std::sync::Arc;

use askama::Template;
use axum::{Router, response::Response, routing::get};
use engine::view::{ContactState, News, PageQuery, TopicKind};

use super::{
    Ctx, Layout, Nav, html,
    invites::{UsedInvite, used_invites},
    meetings::Progress,
    next_href, page_query,
    parts::Who,
    spaces::OfferView,
    when::When,
    words,
};
use crate::{App, api::extract::Query, fault::Outcome, markdown::plain_text};

/// Characters of a text in the list.
const EXCERPT_CHARS: usize = 160;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route("/", get(show))
}

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage {
    page: Layout,
    progress: Progress,
    news: Vec<NewsView>,
    next: Option<String>,
    offers: Vec<OfferView>,
    asks: Vec<Who>,
    used: Vec<UsedInvite>,
    has_contacts: bool,
}

/// A line of the list.
pub(super) struct NewsView {
    kind: &'static str,
    href: String,
    title: String,
    place: String,
    place_href: String,
    who: Option<Who>,
    when: Option<When>,
    unread: u64,
    excerpt: String,
}

async fn show(ctx: Ctx, query: Query) -> Outcome<Response> {
    let page = ctx.layout(Nav::Home, "Home", &query)?.about("home");
    let news = ctx.node().news(&page_query(&query))?;
    let contacts = ctx.node().contacts(&PageQuery::default())?.items;
    html(&HomePage {
        next: next_href("/", news.next.as_ref()),
        news: news.items.iter().map(|news| line(&ctx, news)).collect(),
        offers: ctx
            .node()
            .offers()?
            .iter()
            .map(|offer| OfferView::of(offer, ctx.now))
            .collect(),
        asks: contacts
            .iter()
            .filter(|contact| contact.state == ContactState::Asks)
            .map(super::contacts::who)
            .collect(),
        used: used_invites(&ctx)?,
        has_contacts: !contacts.is_empty(),
        progress: Progress::of_all(&ctx)?,
        page,
    })
}

fn line(ctx: &Ctx, news: &News) -> NewsView {
    match news {
        News::Topic(topic) => {
            let (kind, path) = match topic.kind {
                TopicKind::Thread => ("Thread", "threads"),
                TopicKind::Article => ("Article", "articles"),
            };
            NewsView {
                kind,
                href: format!("/{path}/{}", topic.id),
                title: words::title(&topic.title),
                place: words::name(&topic.space_name),
                place_href: super::topic::place_href(topic),
                who: topic.author.as_ref().map(Who::from),
                when: Some(When::of(topic.last_activity_ms, ctx.now)),
                unread: topic.unread,
                excerpt: words::excerpt(&plain_text(&topic.excerpt), EXCERPT_CHARS),
            }
        }
        News::Conversation(conversation) => {
            let who = Who::from(&conversation.contact);
            NewsView {
                kind: "Messages with",
                href: format!("/messages/{}#reply", conversation.contact.id),
                title: who.name.clone(),
                place: String::new(),
                place_href: String::new(),
                who: None,
                when: conversation
                    .last_activity_ms
                    .map(|time| When::of(time, ctx.now)),
                unread: conversation.unread,
                excerpt: conversation
                    .last
                    .as_ref()
                    .map(|post| words::excerpt(&plain_text(&post.body), EXCERPT_CHARS))
                    .unwrap_or_default(),
            }
        }
    }
}
