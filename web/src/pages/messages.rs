//! Private messages.

use std::sync::Arc;

use askama::Template;
use axum::{
    Router,
    response::Response,
    routing::{get, post},
};
use engine::{
    EntryId, IdentityId,
    view::{Cursor, PageQuery, Post},
};

use super::{
    Ctx, Layout, Nav, again,
    contacts::presence,
    form::Form,
    html,
    introductions::{self, IntroductionView},
    keeping::{KeepingView, setting_words},
    misfit, next_href, page_query,
    parts::{PostView, ReplyForm, Who},
    redirect, topic, url_text,
    when::When,
    words,
};
use crate::{
    App,
    api::extract::{Id, Query, parse_field},
    fault::Outcome,
    limits::MESSAGES_PER_PAGE,
    markdown::plain_text,
};

/// Characters of the newest message in the list.
const EXCERPT_CHARS: usize = 120;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/messages", get(list))
        .route("/messages/{contact}", get(show).post(send))
        .route("/messages/{contact}/read", post(mark_read))
}

#[derive(Template)]
#[template(path = "messages.html")]
struct MessagesPage {
    page: Layout,
    conversations: Vec<ConversationView>,
    next: Option<String>,
}

struct ConversationView {
    href: String,
    name: String,
    when: Option<When>,
    unread: u64,
    excerpt: String,
    by_us: bool,
}

async fn list(ctx: Ctx, query: Query) -> Outcome<Response> {
    let page = ctx.node().conversations(&page_query(&query))?;
    html(&MessagesPage {
        page: ctx
            .layout(Nav::Messages, "Messages", &query)?
            .about("messages")
            .below("/"),
        next: next_href("/messages", page.next.as_ref()),
        conversations: page
            .items
            .iter()
            .map(|conversation| {
                let last = conversation.last.as_ref();
                ConversationView {
                    href: format!("/messages/{}#reply", conversation.contact.id),
                    name: words::name(&conversation.contact.name),
                    when: conversation
                        .last_activity_ms
                        .map(|time| When::of(time, ctx.now)),
                    unread: conversation.unread,
                    excerpt: last.map(excerpt).unwrap_or_default(),
                    by_us: last.is_some_and(|post| post.own && post.setting.is_none()),
                }
            })
            .collect(),
    })
}

/// A line that only goes along with what the other person set says nothing new.
fn is_shown(post: &Post) -> bool {
    post.setting
        .is_none_or(|setting| !setting.taken_over || setting.receipts.is_some())
}

/// The newest message in a line.
fn excerpt(post: &Post) -> String {
    match &post.setting {
        Some(setting) => words::excerpt(&setting_words(setting, post.own), EXCERPT_CHARS),
        None => words::excerpt(&plain_text(&post.body), EXCERPT_CHARS),
    }
}

#[derive(Template)]
#[template(path = "conversation.html")]
struct ConversationHtml {
    page: Layout,
    href: String,
    who: Who,
    presence: String,
    keeping: KeepingView,
    introductions: Vec<IntroductionView>,
    posts: Vec<PostView>,
    unread: u64,
    arriving: u64,
    older: Option<String>,
    newer: Option<String>,
    reply: ReplyForm,
}

/// What is being written.
#[derive(Default)]
struct Message {
    parent: Option<EntryId>,
    quote: bool,
    body: Option<String>,
    error: Option<String>,
}

fn page(ctx: &Ctx, id: IdentityId, query: &Query, message: Message) -> Outcome<Response> {
    let cursor = query.get("cursor").map(|cursor| Cursor(cursor.to_owned()));
    let from_end = cursor.is_none();
    let asked = PageQuery {
        cursor,
        limit: MESSAGES_PER_PAGE,
    };
    let conversation = ctx.node().conversation(id, &asked, from_end)?;
    let contact = ctx.node().contact(id)?;
    let href = format!("/messages/{id}");
    let posts = conversation.posts.items;
    let answered = message
        .parent
        .and_then(|parent| posts.iter().find(|post| post.id == parent));
    let body = match (&message.body, answered) {
        (Some(body), _) => body.clone(),
        (None, Some(post)) if message.quote => words::quotation(&post.body),
        (None, _) => String::new(),
    };
    let token = &ctx.session.form_token;
    let answer_href = topic::answer_href(query.get("cursor"));
    let view = |post| {
        let mut view = PostView::of(post, &answer_href, token, &ctx.app.renderer, ctx.now);
        let parent_is_here = posts
            .iter()
            .any(|candidate| Some(candidate.id) == post.parent);
        if parent_is_here {
            view.parent_is_here();
        }
        view
    };
    let who = Who::from(&conversation.conversation.contact);
    html(&ConversationHtml {
        page: ctx
            .layout(Nav::Messages, who.name.clone(), query)?
            .about(id)
            .below("/messages"),
        presence: presence(&contact),
        keeping: KeepingView::of(&conversation.conversation),
        introductions: introductions::shown(ctx, Some(id))?,
        unread: conversation.conversation.unread,
        arriving: conversation.arriving,
        older: conversation
            .previous
            .map(|cursor| format!("{href}?cursor={}", url_text(&cursor.0))),
        newer: (!from_end).then(|| href.clone()),
        reply: ReplyForm {
            action: href.clone(),
            parent: message.parent.map(|parent| parent.to_string()),
            to: answered.map(|post| words::name(&post.author.name)),
            body,
            error: message.error,
            button: "Send",
            cancel: answered.is_some().then(|| href.clone()),
            form_token: token.clone(),
            focus: answered.is_some(),
        },
        posts: posts
            .iter()
            .filter(|post| is_shown(post))
            .map(view)
            .collect(),
        who,
        href,
    })
}

async fn show(ctx: Ctx, Id(id): Id<IdentityId>, query: Query) -> Outcome<Response> {
    let message = Message {
        parent: query
            .get("reply")
            .map(|parent| parse_field("reply", parent))
            .transpose()?,
        quote: query.get("quote").is_some(),
        ..Message::default()
    };
    page(&ctx, id, &query, message)
}

async fn send(
    ctx: Ctx,
    Id(id): Id<IdentityId>,
    query: Query,
    Form(fields): Form,
) -> Outcome<Response> {
    let body = fields.get("body");
    let parent = match fields.get("parent").as_str() {
        "" => None,
        parent => Some(parse_field("parent", parent)?),
    };
    match ctx.node().send_message(id, &body, parent).await {
        Ok(post) => Ok(redirect(&format!("/messages/{id}#e-{}", post.id))),
        Err(error) => {
            let message = Message {
                parent,
                quote: false,
                body: Some(body),
                error: Some(misfit(error)?),
            };
            Ok(again(page(&ctx, id, &query, message)?))
        }
    }
}

async fn mark_read(ctx: Ctx, Id(id): Id<IdentityId>, Form(_): Form) -> Outcome<Response> {
    let one = PageQuery {
        cursor: None,
        limit: 1,
    };
    let space = ctx.node().conversation(id, &one, true)?.conversation.space;
    ctx.node().mark_space_read(space).await?;
    Ok(redirect(&format!("/messages/{id}")))
}
