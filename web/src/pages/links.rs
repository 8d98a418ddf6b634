//! The ways to reach contacts, and their switches.

use std::sync::Arc;

use askama::Template;
use axum::{
    Router,
    response::Response,
    routing::{get, post},
};
use engine::{
    Internet,
    view::{LinkKind, LinkStatus},
};

use super::{Ctx, Layout, Nav, form::Form, html, qr, redirect};
use crate::{
    App,
    api::extract::Query,
    fault::{Fault, Outcome},
};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/links", get(show))
        .route("/links/internet", post(set_internet))
        .route("/links/lan", post(set_lan))
        .route("/links/addresses.svg", get(addresses))
}

/// A choice of the form.
pub(super) fn internet_choice(text: &str) -> Option<Internet> {
    match text {
        "off" => Some(Internet::Off),
        "direct" => Some(Internet::Direct),
        "relay" => Some(Internet::Relay),
        _ => None,
    }
}

#[derive(Template)]
#[template(path = "links.html")]
struct LinksPage {
    page: Layout,
    links: Vec<LinkView>,
    /// Which of the three is chosen.
    internet: &'static str,
    fixed: bool,
    lan: bool,
    lan_fixed: bool,
    /// Our addresses on local networks, as a contact types them.
    addresses: String,
}

struct LinkView {
    name: &'static str,
    on: bool,
    state: String,
    addrs: Vec<String>,
    contacts: u64,
}

impl From<&LinkStatus> for LinkView {
    fn from(link: &LinkStatus) -> Self {
        Self {
            name: match link.kind {
                LinkKind::Loopback => "This machine",
                LinkKind::Lan => "Local network",
                LinkKind::Internet => "Internet, directly",
                LinkKind::Relay => "Internet, over a relay",
            },
            on: link.on,
            state: link.state.clone(),
            addrs: link.addrs.iter().map(ToString::to_string).collect(),
            contacts: link.contacts,
        }
    }
}

async fn show(ctx: Ctx, query: Query) -> Outcome<Response> {
    let links = ctx.node().links()?;
    let is_on = |kind| links.iter().any(|link| link.kind == kind && link.on);
    html(&LinksPage {
        page: ctx
            .layout(Nav::Links, "Links", &query)?
            .about("links")
            .below("/"),
        internet: if is_on(LinkKind::Relay) {
            "relay"
        } else if is_on(LinkKind::Internet) {
            "direct"
        } else {
            "off"
        },
        fixed: links.iter().any(|link| {
            link.fixed_by_file && matches!(link.kind, LinkKind::Internet | LinkKind::Relay)
        }),
        lan: is_on(LinkKind::Lan),
        lan_fixed: links
            .iter()
            .any(|link| link.fixed_by_file && link.kind == LinkKind::Lan),
        addresses: lan_addresses(&links),
        links: links.iter().map(LinkView::from).collect(),
    })
}

fn lan_addresses(links: &[LinkStatus]) -> String {
    let lan = links.iter().filter(|link| link.kind == LinkKind::Lan);
    let addrs = lan.flat_map(|link| &link.addrs).map(ToString::to_string);
    addrs.collect::<Vec<_>>().join(" ")
}

async fn addresses(ctx: Ctx) -> Outcome<Response> {
    qr::image(&lan_addresses(&ctx.node().links()?))
}

async fn set_lan(ctx: Ctx, Form(fields): Form) -> Outcome<Response> {
    let on = match fields.get("lan").as_str() {
        "on" => true,
        "off" => false,
        _ => return Err(Fault::field("lan", "expected on or off")),
    };
    ctx.node().set_lan(on).await?;
    Ok(redirect("/links?done=saved"))
}

async fn set_internet(ctx: Ctx, Form(fields): Form) -> Outcome<Response> {
    let internet = internet_choice(&fields.get("internet"))
        .ok_or_else(|| Fault::field("internet", "expected off, direct or relay"))?;
    ctx.node().set_internet(internet).await?;
    Ok(redirect("/links?done=saved"))
}
