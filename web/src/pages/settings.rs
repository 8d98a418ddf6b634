//! The own name, storage, other devices, signed-in browsers and the API's token.

use std::sync::Arc;

use askama::Template;
use axum::{
    Router,
    response::Response,
    routing::{get, post},
};
use engine::Millis;

use super::{
    Ctx, Layout, Nav, again, form::Form, html, misfit, phone::PhoneView, redirect,
    sign_in::forget_cookie, when::When, words,
};
use crate::{
    App,
    api::extract::{Name, Query},
    fault::Outcome,
};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/settings", get(show))
        .route("/settings/name", post(rename))
        .route("/settings/sessions/{session}/end", post(end_session))
        .route("/sign-out", post(sign_out))
}

#[derive(Template)]
#[template(path = "settings.html")]
struct SettingsPage {
    page: Layout,
    name: String,
    error: Option<String>,
    identity: String,
    device: String,
    version: &'static str,
    entries: u64,
    spaces: u64,
    contacts: u64,
    disk: String,
    data_dir: String,
    phone: PhoneView,
    sessions: Vec<SessionView>,
}

struct SessionView {
    name: String,
    agent: String,
    /// From where.
    place: String,
    since: When,
    seen: When,
    current: bool,
}

/// The page, with what was typed into a form that didn't fit and why.
pub(super) fn page(
    ctx: &Ctx,
    query: &Query,
    typed: Option<(String, String)>,
    password_error: Option<String>,
) -> Outcome<Response> {
    let status = ctx.node().status()?;
    let me = status.identity;
    let (name, error) = match typed {
        Some((name, error)) => (name, Some(error)),
        None => (
            me.as_ref().map(|me| me.name.clone()).unwrap_or_default(),
            None,
        ),
    };
    let current = ctx.session.name();
    html(&SettingsPage {
        page: ctx.layout(Nav::Settings, "Settings", query)?.below("/"),
        name,
        error,
        identity: me.map(|me| me.id.to_string()).unwrap_or_default(),
        device: status
            .device
            .map(|device| device.to_string())
            .unwrap_or_default(),
        version: status.version,
        entries: status.counts.entries,
        spaces: status.counts.spaces,
        contacts: status.counts.contacts,
        disk: words::bytes(status.counts.disk_bytes),
        data_dir: ctx.node().data_dir().display().to_string(),
        phone: PhoneView::of(ctx, password_error),
        sessions: ctx
            .app
            .sessions()
            .list()
            .into_iter()
            .map(|session| SessionView {
                current: session.name() == current,
                name: session.name(),
                since: When::of(Millis(session.since_ms), ctx.now),
                seen: When::of(Millis(session.seen_ms), ctx.now),
                place: session
                    .from
                    .map_or_else(|| "this machine".to_owned(), |ip| ip.to_string()),
                agent: words::browser(&session.agent),
            })
            .collect(),
    })
}

async fn show(ctx: Ctx, query: Query) -> Outcome<Response> {
    page(&ctx, &query, None, None)
}

async fn rename(ctx: Ctx, query: Query, Form(fields): Form) -> Outcome<Response> {
    let name = fields.get("name");
    match ctx.node().rename(&name).await {
        Ok(_) => Ok(redirect("/settings?done=saved")),
        Err(error) => {
            let typed = (name, misfit(error)?);
            Ok(again(page(&ctx, &query, Some(typed), None)?))
        }
    }
}

async fn end_session(ctx: Ctx, Name(name): Name, Form(_): Form) -> Outcome<Response> {
    ctx.app.end_session(&name).await?;
    if name == ctx.session.name() {
        return Ok(signed_out(&ctx));
    }
    Ok(redirect("/settings?done=revoked"))
}

async fn sign_out(ctx: Ctx, Form(_): Form) -> Outcome<Response> {
    ctx.app.sessions().end(ctx.session.name());
    ctx.app.wrote_sign_out().await?;
    Ok(signed_out(&ctx))
}

fn signed_out(ctx: &Ctx) -> Response {
    let mut response = redirect("/");
    forget_cookie(&mut response, ctx.app.cookie(ctx.visit), ctx.visit);
    response
}
