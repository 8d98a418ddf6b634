//! The dashboard on the local network, and who is signed in to it.

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    lan::{self, LanView},
    session::Listed,
    visit::Place,
};

/// A switch.
#[derive(Serialize, ToSchema)]
pub(crate) struct Switch {
    /// Whether it is on.
    pub(crate) on: bool,
    /// The settings file fixes it, so it can't be changed here.
    pub(crate) fixed_by_file: bool,
}

impl From<lan::Switch> for Switch {
    fn from(switch: lan::Switch) -> Self {
        Self {
            on: switch.on,
            fixed_by_file: switch.fixed,
        }
    }
}

/// The dashboard, as other devices see it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Dashboard {
    /// Whether it is on the local network.
    pub(crate) lan: Switch,
    /// Whether it is encrypted there.
    pub(crate) tls: Switch,
    /// Whether it answers to `waymeet.local` there.
    pub(crate) local_name: Switch,
    /// Whether there is a password.
    pub(crate) password: Switch,
    /// Whether this API answers there too.
    pub(crate) lan_api: bool,
    /// What to type at another device, now.
    pub(crate) urls: Vec<String>,
    /// The SHA-256 fingerprint of its certificate, where it is encrypted.
    pub(crate) fingerprint: Option<String>,
    /// What is in the way.
    pub(crate) trouble: Option<String>,
}

impl From<LanView> for Dashboard {
    fn from(view: LanView) -> Self {
        Self {
            lan: view.lan.into(),
            tls: view.tls.into(),
            local_name: view.local_name.into(),
            password: view.password.into(),
            lan_api: view.api,
            urls: view.urls,
            fingerprint: view.fingerprint,
            trouble: view.trouble,
        }
    }
}

/// A link that signs a browser in to the dashboard, once.
#[derive(Serialize, ToSchema)]
pub(crate) struct SignInLink {
    /// The link. Whoever opens it first is signed in.
    pub(crate) link: String,
    /// When it ends.
    pub(crate) expires_ms: u64,
    /// For another device, where the dashboard is encrypted: the SHA-256 fingerprint that its
    /// certificate has to show there.
    pub(crate) fingerprint: Option<String>,
}

/// How a browser reaches the dashboard.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SessionPlace {
    /// On this machine.
    Here,
    /// Over the local network, in the clear.
    Lan,
    /// Over the local network, encrypted.
    LanTls,
}

/// A signed-in browser.
#[derive(Serialize, ToSchema)]
pub(crate) struct Session {
    /// A name for it that opens nothing.
    pub(crate) id: String,
    /// How it reaches the dashboard.
    pub(crate) place: SessionPlace,
    /// The address that it was last used from; null for this machine.
    pub(crate) from: Option<String>,
    /// What it says it is.
    pub(crate) agent: String,
    /// When it began.
    pub(crate) since_ms: u64,
    /// Its last request.
    pub(crate) seen_ms: u64,
}

impl From<Listed> for Session {
    fn from(session: Listed) -> Self {
        Self {
            id: session.name(),
            place: match session.place {
                Place::Here => SessionPlace::Here,
                Place::Lan => SessionPlace::Lan,
                Place::LanTls => SessionPlace::LanTls,
            },
            from: session.from.map(|ip| ip.to_string()),
            since_ms: session.since_ms,
            seen_ms: session.seen_ms,
            agent: session.agent,
        }
    }
}
