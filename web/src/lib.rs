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
mod clock;
mod fault;
#[doc(hidden)]
pub mod fuzz;
mod guard;
mod hosts;
mod limits;
mod markdown;
mod pages;
mod secret;
mod server;
mod session;
#[cfg(test)]
mod tests;

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::Router;
use engine::{Millis, Node};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};

use self::{
    hosts::Hosts,
    markdown::Renderer,
    secret::SecretHash,
    session::{Sessions, SignInLinks},
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
    /// The cookie's name; browsers don't keep cookies of different ports apart.
    cookie: String,
    renderer: Renderer,
    sessions: Mutex<Sessions>,
    sign_in: Mutex<SignInLinks>,
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

    /// A fresh link and when it ends; `None` when the system has no randomness to give.
    fn sign_in_link(&self, base_url: &str) -> Option<(String, Millis)> {
        let (secret, expires) = self.sign_in().issue(clock::now())?;
        let base_url = base_url.trim_end_matches('/');
        let link = format!("{base_url}/sign-in?token={}", secret.reveal());
        Some((link, expires))
    }
}

/// What the doctor saw, as the API gives it; `None` where it can't be written down.
#[must_use]
pub fn check_up_document(seen: engine::view::CheckUp) -> Option<serde_json::Value> {
    serde_json::to_value(api::dto::CheckUp::from(seen)).ok()
}

impl Web {
    /// Prepares everything; nothing listens yet.
    #[must_use]
    pub fn new(node: Node, config: WebConfig) -> Self {
        let app = App {
            node,
            hosts: Hosts::new(config.port, &config.hosts),
            api_token: SecretHash::of(&config.api_token),
            cookie: format!("waymeet-{}", config.port),
            renderer: Renderer::default(),
            sessions: Mutex::default(),
            sign_in: Mutex::default(),
            streams: Arc::new(Semaphore::new(limits::STREAMS_MAX)),
            stopped: watch::Sender::new(false),
        };
        Self { app: Arc::new(app) }
    }

    /// All routes, behind the host check.
    pub fn router(&self) -> Router {
        guard::router(&self.app)
    }

    /// Serves until `shutdown` is done, then ends streams at once and gives open requests 3 seconds.
    ///
    /// # Errors
    ///
    /// The listener's address can't be read.
    pub async fn serve(
        &self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        server::serve(&self.app, self.router(), listener, shutdown).await
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
