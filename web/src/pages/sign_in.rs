//! Signing in by a single-use link, and out again.
//!
//! Looking at a link doesn't use it up: its page has a button that posts the secret. So previews
//! and prefetching browsers change nothing, and it works without JavaScript.

use std::sync::Arc;

use askama::Template;
use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, header},
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

async fn show(State(app): State<Arc<App>>, query: Query) -> Outcome<Response> {
    let token = query.get("token").unwrap_or_default();
    if !app.sign_in().is_good(token, clock::now()) {
        return Ok(used_up().into_response());
    }
    html(&SignInPage {
        assets: assets::paths(),
        token: token.to_owned(),
    })
}

async fn sign_in(State(app): State<Arc<App>>, request: Request) -> Outcome<Response> {
    let headers = request.headers().clone();
    let fields = Fields::read(request).await?;
    let now = clock::now();
    if !app.sign_in().redeem(&fields.get("token"), now) {
        return Ok(used_up().into_response());
    }
    let mut sessions = app.sessions();
    if let Some(old) = cookie(&headers, &app.cookie).and_then(|old| sessions.find(old, now)) {
        sessions.end(&old.name());
    }
    let secret = sessions
        .begin(header_text(&headers, header::USER_AGENT), now)
        .ok_or_else(Fault::internal)?;
    let seconds = SESSION_IDLE_MS_MAX / 1_000;
    let mut response = redirect("/");
    set_cookie(&mut response, &app.cookie, secret.reveal(), seconds);
    Ok(response)
}

fn set_cookie(response: &mut Response, name: &str, value: &str, seconds: u64) {
    let cookie = format!("{name}={value}; HttpOnly; SameSite=Strict; Path=/; Max-Age={seconds}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
}

/// Makes a browser forget its cookie.
pub(super) fn forget_cookie(response: &mut Response, name: &str) {
    set_cookie(response, name, "", 0);
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
pub(super) fn required() -> Response {
    Fault::new(
        FaultKind::Unauthorized,
        "open the sign-in link that the node printed when it started, or get a fresh one with `waymeet open`",
    )
    .into_response()
}

fn used_up() -> Fault {
    Fault::new(
        FaultKind::Unauthorized,
        "this sign-in link was used already or is older than 10 minutes; get a fresh one with `waymeet open`",
    )
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
