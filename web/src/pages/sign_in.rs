//! Signing in by a single-use link or, from elsewhere than this machine, by the password; and out again.
//!
//! Looking at a link doesn't use it up: its page has a button that posts the secret. So previews
//! and prefetching browsers change nothing, and it works without JavaScript.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use askama::Template;
use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

use super::{form::Fields, header_text, html, redirect};
use crate::{
    App,
    api::extract::Query,
    assets::{self, AssetPaths},
    clock,
    fault::{Fault, FaultKind, Outcome},
    limits::SESSION_IDLE_MS_MAX,
    visit::{Place, Visit},
};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route("/sign-in", get(show).post(sign_in))
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    assets: AssetPaths,
    token: String,
}

#[derive(Template)]
#[template(path = "password.html")]
struct PasswordPage {
    assets: AssetPaths,
    error: Option<String>,
    encrypted: bool,
}

async fn show(State(app): State<Arc<App>>, visit: Visit, query: Query) -> Outcome<Response> {
    let token = query.get("token").unwrap_or_default();
    if app.sign_in().is_good(token, visit.place(), clock::now()) {
        return html(&SignInPage {
            assets: assets::paths(),
            token: token.to_owned(),
        });
    }
    Ok(used_up(visit, !token.is_empty()))
}

async fn sign_in(State(app): State<Arc<App>>, visit: Visit, request: Request) -> Outcome<Response> {
    let headers = request.headers().clone();
    let fields = Fields::read(request).await?;
    let password = fields.get("password");
    if !visit.is_here() && !password.is_empty() {
        // Counted as wrong before anybody looks at it.
        if let Err(wait) = app.attempts().begin(visit.from, now_steady()) {
            return Ok(slowed(visit, wait));
        }
        if !app.lan.is_password(password).await? {
            tracing::info!("somebody on the network typed a wrong password for the dashboard");
            return Ok(ask(visit, Some("That isn't the password.".to_owned())));
        }
        app.attempts().succeeded(visit.from);
    } else {
        let token = fields.get("token");
        if !app.sign_in().redeem(&token, visit.place(), clock::now()) {
            return Ok(used_up(visit, true));
        }
    }
    begin(&app, visit, &headers)
}

/// Signs the browser in.
fn begin(app: &Arc<App>, visit: Visit, headers: &HeaderMap) -> Outcome<Response> {
    let now = clock::now();
    let mut sessions = app.sessions();
    let old = cookie(headers, app.cookie(visit)).and_then(|old| sessions.find(old, visit, now));
    if let Some((old, _)) = old {
        sessions.end(old.name());
    }
    let secret = sessions
        .begin(header_text(headers, header::USER_AGENT), visit, now)
        .ok_or_else(Fault::internal)?;
    drop(sessions);
    drop(app.write_sessions());
    let seconds = SESSION_IDLE_MS_MAX / 1_000;
    let mut response = redirect("/");
    let name = app.cookie(visit);
    set_cookie(&mut response, name, secret.reveal(), seconds, visit);
    Ok(response)
}

/// A clock that nobody sets back.
fn now_steady() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn set_cookie(response: &mut Response, name: &str, value: &str, seconds: u64, visit: Visit) {
    let secure = match visit.place() {
        Place::LanTls => "; Secure",
        Place::Here | Place::Lan => "",
    };
    let cookie =
        format!("{name}={value}; HttpOnly; SameSite=Strict; Path=/; Max-Age={seconds}{secure}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
}

/// Makes a browser forget its cookie.
pub(super) fn forget_cookie(response: &mut Response, name: &str, visit: Visit) {
    set_cookie(response, name, "", 0, visit);
}

/// The value of our cookie.
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(candidate, _)| *candidate == name)
        .map(|(_, value)| value)
}

/// For a browser without a session.
pub(super) fn required(visit: Visit) -> Response {
    if !visit.is_here() {
        return ask(visit, None);
    }
    Fault::new(
        FaultKind::Unauthorized,
        "open the sign-in link that the node printed when it started, or get a fresh one with `waymeet open`",
    )
    .into_response()
}

fn used_up(visit: Visit, tried: bool) -> Response {
    if !visit.is_here() {
        let error = "This link was used already or is older than 10 minutes. Make a fresh one, or type the password.";
        return ask(visit, tried.then(|| error.to_owned()));
    }
    Fault::new(
        FaultKind::Unauthorized,
        "this sign-in link was used already or is older than 10 minutes; get a fresh one with `waymeet open`",
    )
    .into_response()
}

/// The page that asks for the password: all that somebody on the network sees who isn't signed in.
fn ask(visit: Visit, error: Option<String>) -> Response {
    let page = html(&PasswordPage {
        assets: assets::paths(),
        error,
        encrypted: visit.place() == Place::LanTls,
    });
    let mut response = page.unwrap_or_else(IntoResponse::into_response);
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    response
}

/// Too many wrong ones. Says the same whether this one was right.
fn slowed(visit: Visit, wait: Duration) -> Response {
    let seconds = wait.as_secs() + 1;
    let error = format!(
        "Too many wrong passwords. Try again in {seconds} second{}.",
        if seconds == 1 { "" } else { "s" }
    );
    let mut response = ask(visit, Some(error));
    *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    let value = HeaderValue::from(seconds);
    response.headers_mut().insert(header::RETRY_AFTER, value);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(
            header::COOKIE,
            HeaderValue::from_static("a=b; waymeet-7341=other; waymeet-7340=mine"),
        );
        headers.append(header::COOKIE, HeaderValue::from_static("waymeet-7340x=no"));
        assert_eq!(cookie(&headers, "waymeet-7340"), Some("mine"));
        assert_eq!(cookie(&headers, "waymeet"), None);
    }
}
