//! Signing in another device: whether the dashboard is on the local network, its password, and the QR
//! code of a link that works there once.
//!
//! The switches, the password and the codes are for this machine only: what crosses the network in the
//! clear shall not be able to open the door wider.

use std::sync::Arc;

use askama::Template;
use axum::{
    Router,
    response::Response,
    routing::{get, post},
};

use super::{Ctx, Layout, Nav, again, form::Form, html, qr, redirect, settings, when::When};
use crate::{
    App,
    api::extract::{Name, Query},
    fault::{Fault, FaultKind, Outcome},
    lan::{Change, Switch},
    password::PASSWORD_CHARS_MIN,
};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/settings/lan", post(switch))
        .route("/settings/password", post(set_password))
        .route("/settings/phone", post(create))
        .route("/settings/phone/{link}", get(show))
        .route("/settings/phone/{link}/qr.svg", get(code))
}

/// A section of the settings.
pub(super) struct PhoneView {
    /// Whether the page is shown on this machine.
    pub(super) here: bool,
    pub(super) lan: Switch,
    pub(super) tls: Switch,
    pub(super) local_name: Switch,
    pub(super) password: Switch,
    pub(super) urls: Vec<String>,
    pub(super) fingerprint: Vec<String>,
    pub(super) trouble: Option<String>,
    pub(super) password_error: Option<String>,
    pub(super) password_chars_min: usize,
}

impl PhoneView {
    pub(super) fn of(ctx: &Ctx, password_error: Option<String>) -> Self {
        let view = ctx.app.lan.view();
        Self {
            here: ctx.visit.is_here(),
            lan: view.lan,
            tls: view.tls,
            local_name: view.local_name,
            password: view.password,
            urls: view.urls,
            fingerprint: lines(view.fingerprint),
            trouble: view.trouble,
            password_error,
            password_chars_min: PASSWORD_CHARS_MIN,
        }
    }
}

/// A fingerprint in lines of eight pairs, which also a phone shows whole.
fn lines(fingerprint: Option<String>) -> Vec<String> {
    const PAIRS: usize = 8;
    let pairs: Vec<&str> = fingerprint
        .iter()
        .flat_map(|text| text.split(':'))
        .collect();
    pairs.chunks(PAIRS).map(|line| line.join(":")).collect()
}

fn only_here(ctx: &Ctx) -> Outcome<()> {
    if ctx.visit.is_here() {
        return Ok(());
    }
    Err(Fault::new(
        FaultKind::NotAllowed,
        "this is done on the machine itself: `waymeet open`, or `waymeet dashboard` in a terminal there",
    ))
}

async fn switch(ctx: Ctx, Form(fields): Form) -> Outcome<Response> {
    only_here(&ctx)?;
    let choice = |name: &'static str| match fields.get(name).as_str() {
        "" => Ok(None),
        "on" => Ok(Some(true)),
        "off" => Ok(Some(false)),
        _ => Err(Fault::field(name, "expected on or off")),
    };
    ctx.app.lan.change(Change {
        lan: choice("lan")?,
        tls: choice("tls")?,
        local_name: choice("name")?,
    })?;
    Ok(redirect("/settings?done=switched#phone"))
}

async fn set_password(ctx: Ctx, query: Query, Form(fields): Form) -> Outcome<Response> {
    only_here(&ctx)?;
    let (password, once_more) = (fields.get("password"), fields.get("again"));
    let refused = if password == once_more {
        match ctx.app.lan.set_password(password).await {
            Ok(()) => None,
            Err(fault) if fault.kind == FaultKind::Invalid => {
                fault.fields.into_iter().next().map(|field| field.detail)
            }
            Err(fault) => return Err(fault),
        }
    } else {
        Some("expected the same password twice".to_owned())
    };
    if refused.is_some() {
        return Ok(again(settings::page(&ctx, &query, None, refused)?));
    }
    ctx.app.end_remote_sessions().await?;
    Ok(redirect("/settings?done=password#phone"))
}

async fn create(ctx: Ctx, Form(fields): Form) -> Outcome<Response> {
    only_here(&ctx)?;
    let at = fields.get("at");
    let url = ctx
        .app
        .remote_url(Some(at.as_str()).filter(|at| !at.is_empty()))?;
    let link = ctx.app.remote_sign_in_link(&url);
    let link = link.ok_or_else(Fault::internal)?;
    Ok(redirect(&format!("/settings/phone/{}", link.name)))
}

#[derive(Template)]
#[template(path = "phone.html")]
struct PhonePage {
    page: Layout,
    name: String,
    url: String,
    expires: When,
    fingerprint: Vec<String>,
}

async fn show(ctx: Ctx, Name(name): Name, query: Query) -> Outcome<Response> {
    only_here(&ctx)?;
    let (link, expires) = shown(&ctx, &name)?;
    // Without the secret: it is for the camera.
    let url = link.split("/sign-in").next().unwrap_or_default().to_owned();
    let tls = url.starts_with("https:");
    html(&PhonePage {
        page: ctx
            .layout(Nav::Settings, "Sign in another device", &query)?
            .below("/settings"),
        name,
        url,
        expires: When::of(expires, ctx.now),
        fingerprint: lines(ctx.app.lan.view().fingerprint.filter(|_| tls)),
    })
}

async fn code(ctx: Ctx, Name(name): Name) -> Outcome<Response> {
    only_here(&ctx)?;
    let (link, _) = shown(&ctx, &name)?;
    qr::image(&link)
}

fn shown(ctx: &Ctx, name: &str) -> Outcome<(String, engine::Millis)> {
    let links = ctx.app.sign_in();
    let (link, expires) = links.shown(name, ctx.now).ok_or_else(|| {
        Fault::new(
            FaultKind::NotFound,
            "this code was used already or is older than 10 minutes; make another on the page Settings",
        )
    })?;
    Ok((link.to_owned(), expires))
}
