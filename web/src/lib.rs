//! Everything that faces HTTP: the dashboard for people and the JSON API for tools.
//!
//! Sees only the engine's public API. Knows nothing of entries' bytes, of links' sockets or of
//! the disk; reads no arguments, no environment and no files. Start at [`Web`].
//!
//! A request passes, in this order: the host check and the headers of every answer (`guard`),
//! then either the API's token (`api`) or the dashboard's session (`pages`), then one handler.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

mod api;
mod assets;
mod attempts;
mod clock;
mod fault;
#[doc(hidden)]
pub mod fuzz;
mod guard;
mod hosts;
mod keep;
mod lan;
mod limits;
mod markdown;
mod pages;
mod password;
mod secret;
mod server;
mod session;
#[cfg(test)]
mod tests;
mod tls;
mod visit;

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{Extension, Router};
use engine::{Millis, Node};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinHandle,
};

use self::{
    attempts::Attempts,
    fault::{Fault, FaultKind, Outcome},
    hosts::Hosts,
    keep::{Keep, Shelf},
    lan::Lan,
    markdown::Renderer,
    secret::{Secret, SecretHash},
    server::{Listener, Places},
    session::{Sessions, SignInLinks},
    visit::{Place, Visit},
};
pub use self::{
    keep::{end_kept_sign_ins, keep_password, kept_password},
    lan::{LanAt, LanConfig, LanStatus, LanWanted},
    password::{PASSWORD_BYTES_MAX, PASSWORD_CHARS_MIN, PasswordError, PasswordHash},
};

/// What the HTTP side is started with.
#[derive(Clone)]
pub struct WebConfig {
    /// The bearer token of the API; only its hash is kept.
    pub api_token: String,
    /// Further names under which the node may be called, with or without a port.
    pub hosts: Vec<String>,
    /// The port that it listens on.
    pub port: u16,
    /// What is fixed of the dashboard on the local network.
    pub lan: LanConfig,
}

/// The dashboard and the API of one node. Clones share everything.
#[derive(Clone)]
pub struct Web {
    app: Arc<App>,
}

/// What all handlers share.
pub(crate) struct App {
    node: Node,
    hosts: Hosts,
    api_token: SecretHash,
    cookie: String,
    cookie_tls: String,
    renderer: Renderer,
    sessions: Mutex<Sessions>,
    sign_in: Mutex<SignInLinks>,
    attempts: Mutex<Attempts>,
    keep: Keep,
    /// Whoever writes the sessions down, so that the latest comes last.
    writing: Mutex<()>,
    sessions_changed: watch::Sender<()>,
    lan: Lan,
    lan_places: Places,
    streams: Arc<Semaphore>,
    stopped: watch::Sender<bool>,
}

impl App {
    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sign_in(&self) -> MutexGuard<'_, SignInLinks> {
        self.sign_in.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attempts(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down who is signed in. Not waiting for it, as after a sign-in, loses that sign-in where
    /// the node is killed meanwhile.
    fn write_sessions(self: &Arc<Self>) -> JoinHandle<io::Result<()>> {
        // Streams look whether their session is still there.
        self.sessions_changed.send_replace(());
        let app = self.clone();
        tokio::task::spawn_blocking(move || {
            let _writing = app.writing.lock().unwrap_or_else(PoisonError::into_inner);
            let sessions = app.sessions().clone();
            let written = app.keep.save(Shelf::Sessions, &sessions);
            if let Err(error) = &written {
                tracing::warn!(%error, "cannot write down who is signed in");
            }
            written
        })
    }

    /// The same where somebody was signed out: who is told so shall not find them back after a restart.
    async fn wrote_sign_out(self: &Arc<Self>) -> Outcome<()> {
        match self.write_sessions().await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Fault::new(
                FaultKind::Storage,
                "signed out until the node restarts: this can't be written to the disk now; its log says why",
            )),
        }
    }

    /// Waits until a session has ended.
    async fn session_ended(self: Arc<Self>, name: String) {
        let mut changed = self.sessions_changed.subscribe();
        while self.sessions().has(&name) {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// A fresh link for this machine and when it ends; `None` when the system has no randomness to
    /// give.
    fn sign_in_link(&self, base_url: &str) -> Option<(String, Millis)> {
        let (secret, expires) = self.sign_in().issue(Place::Here, clock::now())?;
        Some((link(base_url, &secret), expires))
    }

    /// Signs everybody out who came over the network.
    async fn end_remote_sessions(self: &Arc<Self>) -> Outcome<()> {
        self.sign_in().drop_remote();
        self.sessions().end_remote();
        self.wrote_sign_out().await
    }

    /// Signs one browser out, where there is one of this name. What it could have seen of links for
    /// other devices opens nothing any more.
    async fn end_session(self: &Arc<Self>, name: &str) -> Outcome<()> {
        if !self.sessions().end(name) {
            return Err(Fault::not_found("this session"));
        }
        self.sign_in().drop_remote();
        self.wrote_sign_out().await
    }

    /// The cookie's name. Browsers don't keep cookies of different ports or schemes apart, and one that
    /// came encrypted keeps another of its name from being set in the clear.
    fn cookie(&self, visit: Visit) -> &str {
        match visit.place() {
            Place::LanTls => &self.cookie_tls,
            Place::Here | Place::Lan => &self.cookie,
        }
    }

    /// The address for another device that was asked for, or else the first.
    fn remote_url(&self, asked: Option<&str>) -> Outcome<String> {
        let urls = self.lan.view().urls;
        let Some(first) = urls.first() else {
            return Err(Fault::new(
                FaultKind::Conflict,
                "the dashboard isn't on a network now: switch it on with `waymeet dashboard --lan on`, or connect to one",
            ));
        };
        match asked {
            None => Ok(first.clone()),
            Some(asked) if urls.iter().any(|url| url == asked) => Ok(asked.to_owned()),
            Some(_) => Err(Fault::field(
                "at",
                format!("expected one of {}", urls.join(", ")),
            )),
        }
    }

    /// A fresh link for another device, which opens `url`.
    fn remote_sign_in_link(&self, url: &str) -> Option<RemoteLink> {
        let tls = url.starts_with("https:");
        let place = if tls { Place::LanTls } else { Place::Lan };
        let fingerprint = self.lan.view().fingerprint.filter(|_| tls);
        let mut links = self.sign_in();
        let (secret, expires) = links.issue(place, clock::now())?;
        let mut link = link(url, &secret);
        if let Some(fingerprint) = &fingerprint {
            // Behind the mark it isn't sent to anybody: it stands in the address for comparing.
            link.push_str("#sha256-");
            link.push_str(&fingerprint.replace(':', ""));
        }
        let name = links.show(&secret, link.clone());
        Some(RemoteLink {
            name,
            link,
            expires,
            fingerprint,
        })
    }
}

/// A link that signs another device in.
struct RemoteLink {
    /// By which a page finds it again.
    name: String,
    link: String,
    expires: Millis,
    fingerprint: Option<String>,
}

fn link(base_url: &str, secret: &Secret) -> String {
    let base_url = base_url.trim_end_matches('/');
    format!("{base_url}/sign-in?token={}", secret.reveal())
}

/// What the doctor saw, as the API gives it; `None` where it can't be written down.
#[must_use]
pub fn check_up_document(seen: engine::view::CheckUp) -> Option<serde_json::Value> {
    serde_json::to_value(api::dto::CheckUp::from(seen)).ok()
}

impl Web {
    /// Prepares everything; nothing listens yet.
    ///
    /// # Errors
    ///
    /// The kept password can't be read.
    pub fn new(node: Node, config: WebConfig) -> io::Result<Self> {
        let keep = Keep::new(node.data_dir());
        let password = kept_password(node.data_dir())?;
        let sessions: Sessions = keep.load(Shelf::Sessions);
        let app = App {
            hosts: Hosts::new(config.port, &config.hosts),
            api_token: SecretHash::of(&config.api_token),
            cookie: format!("waymeet-{}", config.port),
            cookie_tls: format!("__Host-waymeet-{}", config.port),
            renderer: Renderer::default(),
            sessions: Mutex::new(sessions.revived(clock::now())),
            sign_in: Mutex::default(),
            attempts: Mutex::default(),
            lan: Lan::open(keep.clone(), password, config.lan, config.port),
            lan_places: Places::new(),
            keep,
            writing: Mutex::default(),
            sessions_changed: watch::Sender::default(),
            streams: Arc::new(Semaphore::new(limits::STREAMS_MAX)),
            stopped: watch::Sender::new(false),
            node,
        };
        Ok(Self { app: Arc::new(app) })
    }

    /// All routes, behind the host check, for requests that come from this machine.
    pub fn router(&self) -> Router {
        guard::router(&self.app).layer(Extension(Visit::here()))
    }

    /// Serves this machine until `shutdown` is done, then ends streams at once and gives open
    /// requests 3 seconds.
    ///
    /// # Errors
    ///
    /// The listener's address can't be read.
    pub async fn serve(
        &self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        server::serve(&self.app, Listener::Loopback(listener), shutdown).await
    }

    /// What is wanted of the local network, now and whenever it changes.
    #[must_use]
    pub fn lan_wanted(&self) -> watch::Receiver<LanWanted> {
        self.app.lan.wanted()
    }

    /// Says where the dashboard stands on the local network.
    pub fn lan_told(&self, status: LanStatus) {
        self.app.lan.told(status);
    }

    /// Serves the local network at one address until `shutdown` is done, then cuts what is open.
    /// Encrypts where that is wanted at the beginning.
    ///
    /// # Errors
    ///
    /// The listener's address can't be read, or there is no certificate where one is wanted.
    pub async fn serve_lan(
        &self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let at = listener.local_addr()?;
        let tls = self.app.lan.tls();
        if tls.is_none() && self.app.lan.wanted().borrow().tls {
            return Err(io::Error::other("there is no certificate"));
        }
        let listener = Listener::Lan { listener, at, tls };
        server::serve(&self.app, listener, shutdown).await
    }

    /// A fresh link that signs one browser in, once, within 10 minutes. `base_url` is like
    /// `http://127.0.0.1:7340`. Don't log it.
    #[must_use]
    pub fn sign_in_link(&self, base_url: &str) -> String {
        self.app
            .sign_in_link(base_url)
            .map_or_else(|| base_url.to_owned(), |(link, _)| link)
    }
}
