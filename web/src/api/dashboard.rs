//! The dashboard itself: whether it is on the local network, its password, sign-in links, who is
//! signed in.

use std::sync::Arc;

use axum::{Json, extract::State, http::HeaderMap};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    Created, Done, dto,
    extract::{Body, Name},
    routes::{Routes, doc},
};
use crate::{
    App,
    fault::{Fault, FaultKind, Outcome},
    lan::Change,
    visit::Visit,
};

/// A change of the dashboard; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DashboardPatch {
    /// Whether it is on the local network. Needs a password.
    lan: Option<bool>,
    /// Whether it is encrypted there.
    tls: Option<bool>,
    /// Whether it answers to `waymeet.local` there.
    local_name: Option<bool>,
    /// A new password, 8 characters to 256 bytes. Signs everybody out who came over the network.
    password: Option<String>,
}

/// Which sign-in link.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewSignInLink {
    /// Whether it is for another device on the local network; else for this machine.
    #[serde(default)]
    lan: bool,
    /// By which of the dashboard's addresses there; else the first.
    at: Option<String>,
}

pub(super) fn routes(routes: Routes) -> Routes {
    use FaultKind::{Conflict, NotAllowed, Storage};
    routes
        .get(
            "/dashboard",
            show,
            doc("dashboard", "Whether and where the dashboard is on the local network")
                .gives::<dto::Dashboard>(200, "The dashboard"),
        )
        .patch(
            "/dashboard",
            update,
            doc(
                "dashboard",
                "Shows the dashboard on the local network or takes it off, sets its password; takes effect in a second or two",
            )
            .takes::<DashboardPatch>()
            .gives::<dto::Dashboard>(200, "The dashboard, as it is now")
            .can_fail(&[Conflict, NotAllowed, Storage]),
        )
        .post(
            "/sign-in-links",
            sign_in_link,
            doc(
                "dashboard",
                "Makes a link that signs a browser in to the dashboard, once",
            )
            .takes::<NewSignInLink>()
            .gives::<dto::SignInLink>(201, "The link")
            .can_fail(&[Conflict, NotAllowed]),
        )
        .get(
            "/sessions",
            sessions,
            doc("dashboard", "The browsers that are signed in, the latest used first")
                .lists::<dto::Session>("Sessions"),
        )
        .delete(
            "/sessions/{session}",
            end_session,
            doc("dashboard", "Signs a browser out")
                .empty("Gone")
                .can_fail(&[Storage]),
        )
}

/// What crosses a network opens no door wider.
fn only_here(visit: Visit) -> Outcome<()> {
    if visit.is_here() {
        return Ok(());
    }
    Err(Fault::new(
        FaultKind::NotAllowed,
        "this is done on the machine itself, not over the network",
    ))
}

async fn show(State(app): State<Arc<App>>) -> Json<dto::Dashboard> {
    Json(app.lan.view().into())
}

async fn update(
    State(app): State<Arc<App>>,
    visit: Visit,
    Body(patch): Body<DashboardPatch>,
) -> Outcome<Json<dto::Dashboard>> {
    only_here(visit)?;
    if let Some(password) = patch.password {
        app.lan.set_password(password).await?;
        app.end_remote_sessions().await?;
    }
    app.lan.change(Change {
        lan: patch.lan,
        tls: patch.tls,
        local_name: patch.local_name,
    })?;
    Ok(show(State(app)).await)
}

async fn sign_in_link(
    State(app): State<Arc<App>>,
    visit: Visit,
    headers: HeaderMap,
    Body(new): Body<NewSignInLink>,
) -> Outcome<Created<dto::SignInLink>> {
    only_here(visit)?;
    if new.lan {
        let url = app.remote_url(new.at.as_deref())?;
        let link = app.remote_sign_in_link(&url);
        let link = link.ok_or_else(Fault::internal)?;
        return Ok(Created(dto::SignInLink {
            link: link.link,
            expires_ms: link.expires.0,
            fingerprint: link.fingerprint,
        }));
    }
    if new.at.is_some() {
        return Err(Fault::field("at", "expected only together with lan"));
    }
    // The host check let this name pass.
    let host = headers
        .get(axum::http::header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let (link, expires) = app
        .sign_in_link(&format!("http://{host}"))
        .ok_or_else(Fault::internal)?;
    Ok(Created(dto::SignInLink {
        link,
        expires_ms: expires.0,
        fingerprint: None,
    }))
}

async fn sessions(State(app): State<Arc<App>>) -> Json<dto::List<dto::Session>> {
    let sessions = app.sessions().list();
    Json(dto::List::whole(sessions, dto::Session::from))
}

async fn end_session(State(app): State<Arc<App>>, Name(name): Name) -> Outcome<Done> {
    app.end_session(&name).await?;
    Ok(Done)
}
