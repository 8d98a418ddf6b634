//! The node itself: status, set-up, links, what is new, search.

use std::sync::Arc;

use axum::{Json, extract::State};
use engine::{Internet, view::LinkKind};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    Created, dto,
    extract::{Body, Nothing, Query},
    routes::{Routes, doc},
};
use crate::{
    App,
    fault::{Fault, FaultKind, Outcome},
    limits::SEARCH_CHARS_MAX,
};

/// A name.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewName {
    /// How others shall see you: 1 to 64 characters.
    name: String,
}

/// A change of the links; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LinksPatch {
    /// The internet link.
    internet: Option<InternetMode>,
    /// When the internet link is used.
    internet_when: Option<dto::LinkUse>,
    /// Local networks.
    lan: Option<bool>,
    /// When local networks are used.
    lan_when: Option<dto::LinkUse>,
    /// Bluetooth.
    bluetooth: Option<bool>,
    /// When Bluetooth is used.
    bluetooth_when: Option<dto::LinkUse>,
    /// The system's name for the adapter to use; an empty one leaves it to the node.
    bluetooth_adapter: Option<String>,
}

/// Whether and how the internet is used.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum InternetMode {
    /// Not at all.
    Off,
    /// Direct connections only.
    Direct,
    /// Direct connections, and relays where these fail.
    Relay,
}

pub(super) fn routes(routes: Routes) -> Routes {
    use FaultKind::{AlreadySetUp, Conflict, Invalid};
    routes
        .get(
            "/status",
            status,
            doc("node", "The node in one look; works before set-up")
                .gives::<dto::Status>(200, "The node")
                .needs_no_set_up(),
        )
        .post(
            "/setup",
            set_up,
            doc("node", "Makes the identity of a fresh node")
                .takes::<NewName>()
                .gives::<dto::Status>(201, "The node, set up")
                .can_fail(&[AlreadySetUp])
                .needs_no_set_up(),
        )
        .patch(
            "/identity",
            rename,
            doc("node", "Changes the own name, in every space")
                .takes::<NewName>()
                .gives::<dto::Status>(200, "The node, renamed"),
        )
        .get(
            "/links",
            links,
            doc("node", "The ways to reach contacts").lists::<dto::Link>("Links"),
        )
        .patch(
            "/links",
            update_links,
            doc("node", "Switches links, and says when they are used")
                .takes::<LinksPatch>()
                .lists::<dto::Link>("Links, as they are now")
                .can_fail(&[Conflict]),
        )
        .get(
            "/news",
            news,
            doc("node", "What is new over all spaces, newest activity first")
                .paged()
                .lists::<dto::News>("News"),
        )
        .get(
            "/search",
            search,
            doc("node", "Finds entries over all spaces")
                .query("q", "What to look for, 1 to 200 characters.")
                .paged()
                .lists::<dto::Hit>("Hits")
                .can_fail(&[Invalid]),
        )
        .post(
            "/doctor",
            check_up,
            doc(
                "node",
                "Walks every feed and checks everything that is held; changes nothing. Takes some \
                 seconds for each million entries",
            )
            .gives::<dto::CheckUp>(200, "What is right and what is wrong")
            .can_fail(&[Conflict]),
        )
}

async fn status(State(app): State<Arc<App>>) -> Outcome<Json<dto::Status>> {
    let status = app.node.status()?;
    Ok(Json(dto::Status::of(status, app.node.encounters()?)))
}

async fn set_up(
    State(app): State<Arc<App>>,
    Body(new): Body<NewName>,
) -> Outcome<Created<dto::Status>> {
    let status = app.node.set_up(&new.name).await?;
    Ok(Created(dto::Status::of(status, app.node.encounters()?)))
}

async fn rename(
    State(app): State<Arc<App>>,
    Body(new): Body<NewName>,
) -> Outcome<Json<dto::Status>> {
    let status = app.node.rename(&new.name).await?;
    Ok(Json(dto::Status::of(status, app.node.encounters()?)))
}

async fn links(State(app): State<Arc<App>>) -> Outcome<Json<dto::List<dto::Link>>> {
    Ok(Json(dto::List::whole(app.node.links()?, dto::Link::from)))
}

async fn update_links(
    State(app): State<Arc<App>>,
    Body(patch): Body<LinksPatch>,
) -> Outcome<Json<dto::List<dto::Link>>> {
    if let Some(mode) = patch.internet {
        let internet = match mode {
            InternetMode::Off => Internet::Off,
            InternetMode::Direct => Internet::Direct,
            InternetMode::Relay => Internet::Relay,
        };
        app.node.set_internet(internet).await?;
    }
    if let Some(on) = patch.lan {
        app.node.set_lan(on).await?;
    }
    if let Some(on) = patch.bluetooth {
        app.node.set_bluetooth(on).await?;
    }
    if let Some(name) = patch.bluetooth_adapter {
        app.node.set_bluetooth_adapter(&name).await?;
    }
    for (kind, when) in [
        (LinkKind::Internet, patch.internet_when),
        (LinkKind::Lan, patch.lan_when),
        (LinkKind::Bluetooth, patch.bluetooth_when),
    ] {
        if let Some(when) = when {
            app.node.set_link_use(kind, when.into()).await?;
        }
    }
    links(State(app)).await
}

async fn news(State(app): State<Arc<App>>, query: Query) -> Outcome<Json<dto::List<dto::News>>> {
    let page = app.node.news(&query.page()?)?;
    Ok(Json(dto::List::of(page, |news| {
        dto::News::of(news, &app.renderer)
    })))
}

async fn search(State(app): State<Arc<App>>, query: Query) -> Outcome<Json<dto::List<dto::Hit>>> {
    let text = query.get("q").unwrap_or_default();
    check_search(text)?;
    let page = app.node.search(text, &query.page()?)?;
    Ok(Json(dto::List::of(page, |hit| {
        dto::Hit::of(hit, &app.renderer)
    })))
}

/// Refuses an empty and a long search.
pub(crate) fn check_search(text: &str) -> Outcome<()> {
    let chars = text.trim().chars().count();
    if (1..=SEARCH_CHARS_MAX).contains(&chars) {
        return Ok(());
    }
    Err(Fault::field(
        "q",
        format!("expected 1 to {SEARCH_CHARS_MAX} characters, found {chars}"),
    ))
}

async fn check_up(
    State(app): State<Arc<App>>,
    Body(Nothing {}): Body<Nothing>,
) -> Outcome<Json<dto::CheckUp>> {
    Ok(Json(app.node.check_up().await?.into()))
}
