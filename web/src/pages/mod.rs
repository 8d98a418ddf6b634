//! The dashboard: pages for a person, one module a subject. Every page works without JavaScript.
//!
//! Takes the session's cookie and nothing else. A handler extracts, makes its engine call, fills a
//! struct and renders the template beside it. Faults become pages in [`enter`]. Changes come by
//! POST, each with the session's form token. Enter at [`router`].

mod blogs;
mod circles;
mod contacts;
mod entries;
mod first_run;
pub(crate) mod form;
mod forums;
mod home;
mod introductions;
mod invites;
mod keeping;
mod letters;
mod links;
mod live;
mod meetings;
mod messages;
mod nearby;
mod parts;
mod phone;
pub(crate) mod qr;
mod search;
mod settings;
mod sign_in;
mod spaces;
mod topic;
mod when;
mod words;

use std::sync::Arc;

use askama::Template;
use axum::{
    Router,
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use engine::{
    Millis, Node,
    view::{Cursor, PageQuery},
};
use tower_http::csrf::{CsrfLayer, ProtectionError};

use crate::{
    App,
    api::extract::Query,
    assets::{self, AssetPaths},
    clock,
    fault::{Fault, FaultKind, Outcome},
    limits::{NAV_CONVERSATIONS, PAGE_ITEMS},
    session::Session,
    visit::Visit,
};

/// A request of a signed-in browser.
#[derive(Clone)]
pub(crate) struct Ctx {
    app: Arc<App>,
    session: Session,
    visit: Visit,
    now: Millis,
}

impl FromRequestParts<Arc<App>> for Ctx {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Outcome<Self> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(Fault::internal)
    }
}

/// Where a page stands in the navigation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nav {
    Home,
    Forums,
    Circles,
    Blogs,
    Messages,
    Contacts,
    Links,
    Search,
    Settings,
    None,
}

impl Nav {
    const fn name(self) -> &'static str {
        match self {
            Self::Home => "home",
            Self::Forums => "forums",
            Self::Circles => "circles",
            Self::Blogs => "blogs",
            Self::Messages => "messages",
            Self::Contacts => "contacts",
            Self::Links => "links",
            Self::Search => "search",
            Self::Settings => "settings",
            Self::None => "",
        }
    }
}

/// What every page has around it.
#[derive(Clone)]
struct Layout {
    title: String,
    nav: Nav,
    me: String,
    csrf: String,
    unread: u64,
    messages: u64,
    offers: u64,
    assets: AssetPaths,
    notice: Option<&'static str>,
    /// What is the matter with the disk.
    warning: Option<&'static str>,
    /// What the page shows, so that its script knows which events matter: a topic, a space or a contact.
    subject: String,
    /// Where one comes from, for the key `u`.
    up: String,
}

impl Layout {
    /// Whether the page stands at this entry of the navigation.
    fn here(&self, name: &str) -> bool {
        self.nav.name() == name
    }

    /// Says what a page shows, for live updates.
    fn about(mut self, subject: impl ToString) -> Self {
        self.subject = subject.to_string();
        self
    }

    fn below(mut self, up: impl Into<String>) -> Self {
        self.up = up.into();
        self
    }
}

impl Ctx {
    fn node(&self) -> &Node {
        &self.app.node
    }

    fn layout(&self, nav: Nav, title: impl Into<String>, query: &Query) -> Outcome<Layout> {
        let status = self.node().status()?;
        let newest = PageQuery {
            cursor: None,
            limit: NAV_CONVERSATIONS,
        };
        let conversations = self.node().conversations(&newest)?.items;
        Ok(Layout {
            title: title.into(),
            nav,
            me: status
                .identity
                .map(|me| words::name(&me.name))
                .unwrap_or_default(),
            csrf: self.session.form_token.clone(),
            unread: status.counts.unread,
            messages: conversations
                .iter()
                .map(|conversation| conversation.unread)
                .sum(),
            offers: self.node().offers()?.len() as u64,
            assets: assets::paths(),
            warning: status.disk.advice(),
            notice: query.get("done").and_then(notice),
            subject: String::new(),
            up: String::new(),
        })
    }
}

/// What to say after a change; the redirect names it.
fn notice(name: &str) -> Option<&'static str> {
    Some(match name {
        "accepted" => "Accepted. What the others have comes with the next meeting.",
        "declined" => "Declined.",
        "offered" => "Offered. They see it at your next meeting and answer then.",
        "invited" => "Invited. They see it at your next meeting and answer then.",
        "withdrawn" => "Taken back. If they say yes now, it leads nowhere.",
        "handed-over" => "Handed over. The others see it at the next meetings.",
        "closed" => "Closed.",
        "reopened" => "Open again.",
        "left" => "You left. Its content is deleted here.",
        "read" => "Marked as read.",
        "saved" => "Saved.",
        "looking" => "They are being looked for there.",
        "introduced" => {
            "Both are asked at your next meetings with them. They become contacts if both say yes."
        }
        "removed" => "Removed.",
        "joined" => "The link is being used. The contact appears as soon as their node answers.",
        "retracted" => "Taken back.",
        "revoked" => "That browser is signed out.",
        "switched" => "Saved. It takes a second or two to take effect.",
        "password" => {
            "The password is set. Who was signed in over the network has to sign in again."
        }
        "met" => "Connected.",
        "not-met" => {
            "Nobody answered. The reason stands below; your node goes on trying where you let it."
        }
        "forgotten" => "Forgotten.",
        "kept" => "Good. The used link is forgotten.",
        _ => return None,
    })
}

/// A page of a list by its cursor.
fn page_query(query: &Query) -> PageQuery {
    PageQuery {
        cursor: query.get("cursor").map(|cursor| Cursor(cursor.to_owned())),
        limit: PAGE_ITEMS,
    }
}

/// The address of the next page of a list.
fn next_href(path: &str, next: Option<&Cursor>) -> Option<String> {
    next.map(|cursor| format!("{path}?cursor={}", url_text(&cursor.0)))
}

/// A text as a value in a URL.
fn url_text(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn html(page: &impl Template) -> Outcome<Response> {
    let text = page.render().map_err(|error| {
        tracing::error!(%error, "a page wasn't rendered");
        Fault::internal()
    })?;
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

/// The page again, with what was typed and what doesn't fit.
fn again(mut page: Response) -> Response {
    *page.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    page
}

/// What doesn't fit, for showing beside the form; other faults stay faults.
fn misfit(error: engine::Error) -> Outcome<String> {
    match error {
        engine::Error::Invalid { detail, .. } => Ok(detail),
        error => Err(error.into()),
    }
}

/// After a change: the page that shows it. `path` is our own, never a value of the request.
fn redirect(path: &str) -> Response {
    let location = HeaderValue::from_str(path).unwrap_or(HeaderValue::from_static("/"));
    (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response()
}

/// All pages.
pub(crate) fn router(app: &Arc<App>) -> Router<Arc<App>> {
    let signed_in = Router::new()
        .merge(first_run::routes())
        .merge(home::routes())
        .merge(forums::routes())
        .merge(spaces::routes())
        .merge(topic::routes())
        .merge(entries::routes())
        .merge(circles::routes())
        .merge(blogs::routes())
        .merge(messages::routes())
        .merge(keeping::routes())
        .merge(contacts::routes())
        .merge(invites::routes())
        .merge(nearby::routes())
        .merge(introductions::routes())
        .merge(letters::routes())
        .merge(links::routes())
        .merge(meetings::routes())
        .merge(search::routes())
        .merge(settings::routes())
        .merge(phone::routes())
        .merge(live::routes())
        .fallback(async || Fault::not_found("this page"))
        .method_not_allowed_fallback(async |method: Method| {
            Fault::new(
                FaultKind::MethodNotAllowed,
                format!("this address doesn't know the method {method}"),
            )
        })
        .layer(middleware::from_fn_with_state(app.clone(), enter));
    Router::new()
        .route("/static/{name}", get(assets::serve))
        .merge(sign_in::routes())
        .merge(signed_in)
        .layer(
            CsrfLayer::new().with_rejection_response(|_: ProtectionError| {
                Fault::new(
                    FaultKind::ForeignOrigin,
                    "expected a request from this node's own pages, found one from another site",
                )
                .into_response()
            }),
        )
}

/// Lets signed-in browsers in, and leads a fresh node to its first page.
async fn enter(
    State(app): State<Arc<App>>,
    visit: Visit,
    mut request: Request,
    next: Next,
) -> Response {
    let now = clock::now();
    let cookie = sign_in::cookie(request.headers(), app.cookie(visit));
    let found = cookie.and_then(|cookie| app.sessions().find(cookie, visit, now));
    let Some((session, write)) = found else {
        return sign_in::required(visit);
    };
    if write {
        drop(app.write_sessions());
    }
    let is_first_run = request.uri().path() == first_run::PATH;
    if !is_first_run && !app.node.is_set_up() {
        return if request.method() == Method::GET || request.method() == Method::HEAD {
            redirect(first_run::PATH)
        } else {
            Fault::from(engine::Error::NotSetUp).into_response()
        };
    }
    let ctx = Ctx {
        app,
        session,
        visit,
        now,
    };
    request.extensions_mut().insert(ctx.clone());
    let mut response = next.run(request).await;
    match response.extensions_mut().remove::<Fault>() {
        Some(fault) => whole_error(&ctx, &fault),
        None => response,
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    page: Layout,
    fault: Fault,
    status: u16,
}

#[derive(Template)]
#[template(path = "bare_error.html")]
struct BareErrorPage {
    assets: AssetPaths,
    fault: Fault,
    status: u16,
}

/// An error with the navigation around it, where that can be made.
fn whole_error(ctx: &Ctx, fault: &Fault) -> Response {
    let query = Query::of(&axum::http::Uri::default());
    let page = ctx
        .layout(Nav::None, fault.kind.title(), &query)
        .and_then(|page| {
            html(&ErrorPage {
                page,
                fault: fault.clone(),
                status: fault.kind.status().as_u16(),
            })
        });
    match page {
        Ok(mut page) => {
            *page.status_mut() = fault.kind.status();
            page
        }
        Err(_) => bare_error(fault),
    }
}

/// An error for somebody who isn't signed in.
pub(crate) fn bare_error(fault: &Fault) -> Response {
    let page = BareErrorPage {
        assets: assets::paths(),
        fault: fault.clone(),
        status: fault.kind.status().as_u16(),
    };
    let mut response =
        html(&page).unwrap_or_else(|_| fault.detail.clone().into_owned().into_response());
    *response.status_mut() = fault.kind.status();
    response
}

/// The first value of a header as text.
fn header_text(headers: &HeaderMap, name: header::HeaderName) -> &str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}
