//! A thread or an article: its entries, a page of 100 at a time, and answering them.

use std::{collections::BTreeMap, sync::Arc};

use askama::Template;
use axum::{
    Router,
    response::Response,
    routing::{get, post},
};
use engine::{
    EntryId,
    view::{CircleStanding, Cursor, PageQuery, Post, SpaceKind, Topic, TopicKind, TopicPage},
};

use super::{
    Ctx, Layout, Nav, again,
    form::Form,
    html, misfit, page_query,
    parts::{PostView, ReplyForm, Who},
    redirect, url_text,
    when::When,
    words,
};
use crate::{
    App,
    api::extract::{Id, Query, parse_field},
    fault::{Fault, Outcome},
    limits::{INDENT_DEPTH_MAX, LOCATE_PAGES_MAX, MARK_READ_MAX, PAGE_ITEMS},
};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/threads/{thread}", get(show))
        .route("/threads/{thread}/replies", post(reply))
        .route("/threads/{thread}/read", post(mark_read))
        .route("/articles/{article}", get(show))
        .route("/articles/{article}/comments", post(reply))
        .route("/articles/{article}/read", post(mark_read))
}

#[derive(Template)]
#[template(path = "topic.html")]
struct TopicHtml {
    page: Layout,
    id: String,
    href: String,
    article: bool,
    title: String,
    /// Nothing can be written in it.
    closed: bool,
    gate: Option<Gate>,
    /// What kind of place it stands in, and the list of those.
    places: &'static str,
    places_href: &'static str,
    place: String,
    place_href: String,
    who: Option<Who>,
    when: Option<When>,
    tags: Vec<String>,
    replies: u64,
    unread: u64,
    arriving: u64,
    own: bool,
    /// The first entry is on this page.
    first: Option<PostView>,
    /// It should be, but hasn't arrived.
    first_is_missing: bool,
    posts: Vec<PostView>,
    unread_here: Vec<String>,
    first_unread: Option<String>,
    next: Option<String>,
    later_page: bool,
    /// The form at the end, when no post has it.
    reply: Option<ReplyForm>,
}

/// The address of a topic by its kind.
pub(super) fn href(kind: TopicKind, id: EntryId) -> String {
    match kind {
        TopicKind::Thread => format!("/threads/{id}"),
        TopicKind::Article => format!("/articles/{id}"),
    }
}

/// The address of the space in which a topic stands.
pub(super) fn place_href(topic: &Topic) -> String {
    let path = match topic.space_kind {
        SpaceKind::Blog => "blogs",
        SpaceKind::Circle => "circles",
        SpaceKind::Forum | SpaceKind::Conversation => "forums",
    };
    format!("/{path}/{}", topic.space)
}

/// An owner closes a thread of a circle, or opens it again.
struct Gate {
    action: String,
    closed: bool,
}

/// What an owner can do with this thread; nothing as long as the whole circle is closed.
fn gate_of(ctx: &Ctx, topic: &Topic) -> Outcome<Option<Gate>> {
    if topic.space_kind != SpaceKind::Circle {
        return Ok(None);
    }
    let circle = ctx.node().circle(topic.space)?;
    let open = circle.standing == CircleStanding::Owner && !circle.closed;
    let action = if topic.closed { "reopen" } else { "close" };
    Ok(open.then(|| Gate {
        action: format!("/circles/{}/{action}", topic.space),
        closed: topic.closed,
    }))
}

/// What is being answered, and with which words so far.
#[derive(Default)]
struct Answer {
    parent: Option<EntryId>,
    quote: bool,
    body: Option<String>,
    error: Option<String>,
}

impl Answer {
    fn asked_by(query: &Query) -> Outcome<Self> {
        Ok(Self {
            parent: query
                .get("reply")
                .map(|parent| parse_field("reply", parent))
                .transpose()?,
            quote: query.get("quote").is_some(),
            ..Self::default()
        })
    }
}

async fn show(ctx: Ctx, Id(id): Id<EntryId>, query: Query) -> Outcome<Response> {
    let answer = Answer::asked_by(&query)?;
    let topic = ctx.node().topic(id, &page_query(&query))?;
    page(&ctx, &query, topic, answer)
}

fn page(ctx: &Ctx, query: &Query, topic_page: TopicPage, answer: Answer) -> Outcome<Response> {
    let TopicPage {
        topic,
        posts,
        first_unread,
        arriving,
    } = topic_page;
    let href = href(topic.kind, topic.id);
    let article = topic.kind == TopicKind::Article;
    let (nav, places) = match topic.space_kind {
        SpaceKind::Blog => (Nav::Blogs, "Blogs"),
        SpaceKind::Circle => (Nav::Circles, "Circles"),
        SpaceKind::Forum | SpaceKind::Conversation => (Nav::Forums, "Forums"),
    };
    let gate = gate_of(ctx, &topic)?;
    let cursor = query.get("cursor");
    let answer_href = answer_href(cursor);
    let view = |post: &Post| {
        let token = &ctx.session.form_token;
        let mut view = PostView::of(post, &answer_href, token, &ctx.app.renderer, ctx.now);
        view.closed = topic.closed;
        view
    };
    let own = posts
        .items
        .first()
        .is_some_and(|post| post.id == topic.id && post.own);
    let mut views = nest(&posts.items, topic.id, view);
    let reply = if topic.closed {
        None
    } else {
        let posts = &posts.items;
        place_reply_form(ctx, &href, article, posts, &mut views, cursor, answer)
    };
    let first_is_here = views
        .first()
        .is_some_and(|post| post.id == topic.id.to_string());
    let mut first = first_is_here.then(|| views.remove(0));
    if let Some(first) = &mut first {
        first.headless = true;
    }
    let place_href = place_href(&topic);
    html(&TopicHtml {
        page: ctx
            .layout(nav, words::title(&topic.title), query)?
            .about(topic.id)
            .below(&*place_href),
        id: topic.id.to_string(),
        article,
        title: words::title(&topic.title),
        closed: topic.closed,
        gate,
        places,
        places_href: nav.name(),
        place: words::name(&topic.space_name),
        place_href,
        who: topic.author.as_ref().map(Who::from),
        when: topic.created_ms.map(|time| When::of(time, ctx.now)),
        tags: topic.tags,
        replies: topic.replies,
        unread: topic.unread,
        arriving,
        own,
        first_is_missing: first.is_none() && cursor.is_none(),
        unread_here: posts
            .items
            .iter()
            .filter(|post| post.unread)
            .map(|post| post.id.to_string())
            .collect(),
        first_unread: first_unread.map(|(entry, cursor)| at(&href, Some(&cursor), entry)),
        next: posts
            .next
            .as_ref()
            .map(|next| format!("{href}?cursor={}", url_text(&next.0))),
        later_page: cursor.is_some(),
        first,
        posts: views,
        reply,
        href,
    })
}

/// Where an entry of the present page is answered: on the same page.
pub(super) fn answer_href(cursor: Option<&str>) -> String {
    match cursor {
        Some(cursor) => format!("?cursor={}&", url_text(cursor)),
        None => "?".to_owned(),
    }
}

/// The address of an entry on a page of its topic.
fn at(href: &str, cursor: Option<&Cursor>, entry: EntryId) -> String {
    match cursor {
        Some(cursor) => format!("{href}?cursor={}#e-{entry}", url_text(&cursor.0)),
        None => format!("{href}#e-{entry}"),
    }
}

/// Puts answers below what they answer, where both are on this page; else they keep their order.
fn nest(posts: &[Post], topic: EntryId, view: impl Fn(&Post) -> PostView) -> Vec<PostView> {
    let here: BTreeMap<EntryId, usize> = posts
        .iter()
        .enumerate()
        .map(|(at, post)| (post.id, at))
        .collect();
    let mut children: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut roots = Vec::new();
    for (at, post) in posts.iter().enumerate() {
        let parent = post
            .parent
            .filter(|parent| *parent != topic)
            .and_then(|parent| here.get(&parent).copied())
            // A parent is older; anything else would be a circle.
            .filter(|parent| *parent < at);
        match parent {
            Some(parent) => children.entry(parent).or_default().push(at),
            None => roots.push(at),
        }
    }
    let mut views = Vec::with_capacity(posts.len());
    let mut stack: Vec<(usize, usize)> = roots.into_iter().rev().map(|at| (at, 0)).collect();
    while let Some((at, depth)) = stack.pop() {
        let Some(post) = posts.get(at) else { continue };
        let mut shown = view(post);
        shown.depth = depth.min(INDENT_DEPTH_MAX);
        if post.parent == Some(topic) {
            shown.parent = None;
        } else if post.parent.is_some_and(|parent| here.contains_key(&parent)) {
            shown.parent_is_here();
        }
        views.push(shown);
        let below = children.remove(&at).unwrap_or_default();
        stack.extend(below.into_iter().rev().map(|child| (child, depth + 1)));
    }
    views
}

/// Gives the form to the post that is answered, or back, for the end of the page.
fn place_reply_form(
    ctx: &Ctx,
    href: &str,
    article: bool,
    posts: &[Post],
    views: &mut [PostView],
    cursor: Option<&str>,
    answer: Answer,
) -> Option<ReplyForm> {
    let query = cursor
        .map(|cursor| format!("?cursor={}", url_text(cursor)))
        .unwrap_or_default();
    let (path, button) = if article {
        ("comments", "Comment")
    } else {
        ("replies", "Reply")
    };
    let mut form = ReplyForm {
        action: format!("{href}/{path}{query}"),
        parent: None,
        to: None,
        body: answer.body.unwrap_or_default(),
        error: answer.error,
        button,
        cancel: None,
        form_token: ctx.session.form_token.clone(),
        focus: false,
    };
    let Some(parent) = answer
        .parent
        .and_then(|parent| posts.iter().find(|post| post.id == parent))
    else {
        form.parent = answer.parent.map(|parent| parent.to_string());
        return Some(form);
    };
    if answer.quote && form.body.is_empty() {
        form.body = words::quotation(&parent.body);
    }
    form.parent = Some(parent.id.to_string());
    form.to = Some(words::name(&parent.author.name));
    form.cancel = Some(format!("{href}{query}#e-{}", parent.id));
    form.focus = true;
    let id = parent.id.to_string();
    match views.iter_mut().find(|view| view.id == id) {
        Some(view) => {
            view.reply = Some(form);
            None
        }
        None => Some(form),
    }
}

async fn reply(
    ctx: Ctx,
    Id(id): Id<EntryId>,
    query: Query,
    Form(fields): Form,
) -> Outcome<Response> {
    let body = fields.get("body");
    let parent = match fields.get("parent").as_str() {
        "" => None,
        parent => Some(parse_field("parent", parent)?),
    };
    match ctx.node().reply(id, &body, parent).await {
        Ok(post) => Ok(redirect(&locate(&ctx, &post)?)),
        Err(error) => {
            let answer = Answer {
                parent,
                body: Some(body),
                error: Some(misfit(error)?),
                quote: false,
            };
            let topic = ctx.node().topic(id, &page_query(&query))?;
            Ok(again(page(&ctx, &query, topic, answer)?))
        }
    }
}

/// The address of the page on which an entry stands. In a very long topic, that of the entry alone.
pub(super) fn locate(ctx: &Ctx, post: &Post) -> Outcome<String> {
    let mut query = PageQuery {
        cursor: None,
        limit: PAGE_ITEMS,
    };
    for _ in 0..LOCATE_PAGES_MAX {
        let page = ctx.node().topic(post.topic, &query)?;
        if page
            .posts
            .items
            .iter()
            .any(|candidate| candidate.id == post.id)
        {
            let href = href(page.topic.kind, page.topic.id);
            return Ok(at(&href, query.cursor.as_ref(), post.id));
        }
        match page.posts.next {
            Some(next) => query.cursor = Some(next),
            None => break,
        }
    }
    Ok(format!("/entries/{}?alone=1", post.id))
}

/// Marks the given entries, or everything, and goes on to what is unread next.
async fn mark_read(ctx: Ctx, Id(id): Id<EntryId>, Form(fields): Form) -> Outcome<Response> {
    let ids: Vec<EntryId> = fields
        .all("id")
        .take(MARK_READ_MAX)
        .map(|id| id.parse().map_err(|_| Fault::not_found("this entry")))
        .collect::<Outcome<_>>()?;
    if ids.is_empty() {
        ctx.node().mark_topic_read(id).await?;
    } else {
        ctx.node().mark_many_read(&ids).await?;
    }
    let one = PageQuery {
        cursor: None,
        limit: 1,
    };
    let topic = ctx.node().topic(id, &one)?.topic;
    let href = href(topic.kind, topic.id);
    if topic.unread > 0 && !ids.is_empty() {
        let page = PageQuery {
            cursor: None,
            limit: PAGE_ITEMS,
        };
        if let Some((entry, cursor)) = ctx.node().topic(id, &page)?.first_unread {
            return Ok(redirect(&at(&href, Some(&cursor), entry)));
        }
    }
    Ok(redirect(&format!("{href}?done=read")))
}
