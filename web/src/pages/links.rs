//! The ways to reach contacts, and their switches.

use std::sync::Arc;

use askama::{Template, filters::HtmlSafe};
use axum::{
    Router,
    response::Response,
    routing::{get, post},
};
use engine::{
    Internet,
    view::{AdapterState, Bluetooth, LinkKind, LinkStatus, LinkUse},
};

use super::{
    Ctx, Layout, Nav,
    contacts::{ConnectionView, who},
    form::Form,
    html,
    meetings::{self, MeetingView},
    parts::Who,
    qr, redirect,
};
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
        .route("/links/bluetooth", post(set_bluetooth))
        .route("/links/addresses.svg", get(addresses))
}

/// Meetings on the page; the rest has a page of its own.
const MEETINGS_SHOWN: usize = 20;

/// A choice of the form.
pub(super) fn internet_choice(text: &str) -> Option<Internet> {
    match text {
        "off" => Some(Internet::Off),
        "direct" => Some(Internet::Direct),
        "relay" => Some(Internet::Relay),
        _ => None,
    }
}

/// A choice of the form: when a link that is on is used.
fn use_choice(text: &str) -> Option<LinkUse> {
    match text {
        "always" => Some(LinkUse::Always),
        "charging" => Some(LinkUse::Charging),
        "by_hand" => Some(LinkUse::ByHand),
        _ => None,
    }
}

#[derive(Template)]
#[template(path = "links.html")]
struct LinksPage {
    page: Layout,
    links: Vec<LinkView>,
    online: Vec<OnlineView>,
    meetings: Vec<MeetingView>,
    /// Which of the three is chosen.
    internet: &'static str,
    fixed: bool,
    internet_when: WhenView,
    lan: bool,
    lan_fixed: bool,
    lan_when: WhenView,
    bluetooth: BluetoothView,
    /// Our addresses on local networks, as a contact types them.
    addresses: String,
}

struct LinkView {
    name: &'static str,
    on: bool,
    word: &'static str,
    state: String,
    addrs: Vec<String>,
    contacts: u64,
    adapter: Option<AdapterView>,
}

/// The Bluetooth adapter in use.
struct AdapterView {
    name: String,
    traceable: bool,
    connected: u64,
    connected_max: u64,
    refused: Vec<(u64, &'static str)>,
}

impl AdapterView {
    fn of(now: &Bluetooth) -> Option<Self> {
        let refused = now.refused;
        let refused = [
            (refused.strangers, "of people who aren’t your contacts"),
            (refused.silent, "on which nothing was said"),
            (refused.garbled, "that spoke nonsense"),
            (refused.busy, "that came too fast, or were too many"),
            (refused.stuck, "that stopped listening"),
        ];
        Some(Self {
            name: now.name.clone()?,
            traceable: now.traceable,
            connected: now.connected,
            connected_max: now.connected_max,
            refused: refused
                .into_iter()
                .filter(|(count, _)| *count > 0)
                .collect(),
        })
    }
}

impl From<&LinkStatus> for LinkView {
    fn from(link: &LinkStatus) -> Self {
        Self {
            name: match link.kind {
                LinkKind::Loopback => "This machine",
                LinkKind::Lan => "Local network",
                LinkKind::Internet => "Internet, directly",
                LinkKind::Relay => "Internet, over a relay",
                LinkKind::Bluetooth => "Bluetooth",
            },
            on: link.on && !link.waits,
            word: match (link.on, link.waits, link.when) {
                (false, ..) => "off",
                (true, true, _) => "waits",
                (true, false, LinkUse::ByHand) => "on, you call by hand",
                (true, false, _) => "on",
            },
            state: link.state.clone(),
            addrs: link.addrs.iter().map(ToString::to_string).collect(),
            contacts: link.contacts,
            adapter: link.bluetooth.as_ref().and_then(AdapterView::of),
        }
    }
}

/// The form of Bluetooth.
struct BluetoothView {
    on: bool,
    fixed: bool,
    built: bool,
    when: WhenView,
    /// Adapters to choose from, where there is more than one or one was chosen.
    adapters: Vec<String>,
    chosen: String,
    chosen_by_file: bool,
    /// What the file decides, in words.
    by_file: Option<&'static str>,
}

impl BluetoothView {
    fn of(ctx: &Ctx, link: Option<&LinkStatus>) -> Self {
        let now = link.and_then(|link| link.bluetooth.as_ref());
        let when = WhenView::of(ctx, link);
        let fixed = link.is_some_and(|link| link.fixed_by_file);
        let chosen_by_file = now.is_some_and(|now| now.chosen_by_file);
        let chosen = now.and_then(|now| now.chosen.clone()).unwrap_or_default();
        let mut adapters: Vec<String> = now
            .map(|now| now.name.iter().chain(&now.others).cloned().collect())
            .unwrap_or_default();
        if !chosen.is_empty() && !adapters.contains(&chosen) {
            adapters.push(chosen.clone());
        }
        adapters.sort();
        if adapters.len() < 2 && chosen.is_empty() {
            adapters.clear();
        }
        Self {
            on: link.is_some_and(|link| link.on),
            fixed,
            built: now.is_some_and(|now| now.adapter != AdapterState::NotBuilt),
            by_file: match (fixed, when.fixed, chosen_by_file) {
                (false, false, false) => None,
                (true, true, _) => Some("this"),
                (true, false, _) => Some("whether it is used"),
                (false, true, _) => Some("when it is used"),
                (false, false, true) => Some("which adapter is used"),
            },
            when,
            adapters,
            chosen,
            chosen_by_file,
        }
    }
}

/// A contact who is connected, and over what.
struct OnlineView {
    who: Who,
    now: ConnectionView,
}

/// When a link is used, as a choice.
#[derive(Template)]
#[template(path = "part/when.html")]
struct WhenView {
    chosen: &'static str,
    /// The machine has a battery, or it was chosen while it had one.
    battery: bool,
    fixed: bool,
}

impl HtmlSafe for WhenView {}

impl WhenView {
    fn of(ctx: &Ctx, link: Option<&LinkStatus>) -> Self {
        let when = link.map(|link| link.when).unwrap_or_default();
        Self {
            chosen: match when {
                LinkUse::Always => "always",
                LinkUse::Charging => "charging",
                LinkUse::ByHand => "by_hand",
            },
            battery: ctx.node().charging().is_some() || when == LinkUse::Charging,
            fixed: link.is_some_and(|link| link.when_fixed_by_file),
        }
    }
}

async fn show(ctx: Ctx, query: Query) -> Outcome<Response> {
    let links = ctx.node().links()?;
    let of_kind = |kind| links.iter().find(|link| link.kind == kind);
    let is_on = |kind| of_kind(kind).is_some_and(|link| link.on);
    let is_fixed = |kind| of_kind(kind).is_some_and(|link| link.fixed_by_file);
    let online = ctx.node().online()?;
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
        fixed: is_fixed(LinkKind::Internet),
        internet_when: WhenView::of(&ctx, of_kind(LinkKind::Internet)),
        lan: is_on(LinkKind::Lan),
        lan_fixed: is_fixed(LinkKind::Lan),
        lan_when: WhenView::of(&ctx, of_kind(LinkKind::Lan)),
        bluetooth: BluetoothView::of(&ctx, of_kind(LinkKind::Bluetooth)),
        online: online
            .iter()
            .filter_map(|contact| {
                Some(OnlineView {
                    who: who(contact),
                    now: ConnectionView::of(&contact.connected?, ctx.now),
                })
            })
            .collect(),
        meetings: meetings::newest(&ctx, None, MEETINGS_SHOWN)?,
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
    match fields.get("lan").as_str() {
        "on" => ctx.node().set_lan(true).await?,
        "off" => ctx.node().set_lan(false).await?,
        // Without it only the time is changed.
        "" => {}
        _ => return Err(Fault::field("lan", "expected on or off")),
    }
    set_when(&ctx, LinkKind::Lan, &fields.get("when")).await
}

async fn set_bluetooth(ctx: Ctx, Form(fields): Form) -> Outcome<Response> {
    match fields.get("bluetooth").as_str() {
        "on" => ctx.node().set_bluetooth(true).await?,
        "off" => ctx.node().set_bluetooth(false).await?,
        "" => {}
        _ => return Err(Fault::field("bluetooth", "expected on or off")),
    }
    if let Some(name) = fields.all("adapter").next() {
        ctx.node().set_bluetooth_adapter(name).await?;
    }
    set_when(&ctx, LinkKind::Bluetooth, &fields.get("when")).await
}

async fn set_internet(ctx: Ctx, Form(fields): Form) -> Outcome<Response> {
    let chosen = fields.get("internet");
    if !chosen.is_empty() {
        let internet = internet_choice(&chosen)
            .ok_or_else(|| Fault::field("internet", "expected off, direct or relay"))?;
        ctx.node().set_internet(internet).await?;
    }
    set_when(&ctx, LinkKind::Internet, &fields.get("when")).await
}

async fn set_when(ctx: &Ctx, link: LinkKind, when: &str) -> Outcome<Response> {
    if !when.is_empty() {
        let when = use_choice(when)
            .ok_or_else(|| Fault::field("when", "expected always, charging or by_hand"))?;
        ctx.node().set_link_use(link, when).await?;
    }
    Ok(redirect("/links?done=saved"))
}
