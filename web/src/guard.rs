//! What every request passes and what every answer bears, also the ones that fail.

use std::{any::Any, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    App, api, assets,
    fault::{Fault, FaultKind},
    hosts::Hosts,
    limits::{CHECK_UP_TIME_MAX, REQUEST_TIME_MAX},
    pages,
    visit::{Door, Visit},
};

/// Everything from here, nothing from elsewhere, nothing inline.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
/// Under `no-referrer` browsers send `Origin: null` with a form, and only on loopback and over TLS do
/// they add `Sec-Fetch-Site`. By another name the origin must come along, or no form would be accepted.
const REFERRER_POLICY_BY_NAME: &str = "same-origin";
/// Nothing that a page here needs.
const PERMISSIONS_POLICY: &str = "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), \
     magnetometer=(), microphone=(), midi=(), payment=(), usb=()";

/// The whole router.
pub(crate) fn router(app: &Arc<App>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok"))
        .nest(api::PREFIX, api::router(app))
        .route("/api/{*rest}", any(async || Fault::not_found("this path")))
        .merge(pages::router(app))
        .layer(CatchPanicLayer::custom(answer_panic))
        .layer(middleware::from_fn_with_state(app.clone(), guard))
        .with_state(app.clone())
}

async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let for_tool = is_for_tool(request.uri());
    let may_be_kept = request.uri().path().starts_with(assets::PREFIX);
    let within = if request.uri().path() == api::CHECK_UP {
        CHECK_UP_TIME_MAX
    } else {
        REQUEST_TIME_MAX
    };
    let visit = request.extensions().get::<Visit>().copied();
    let host = visit.and_then(|visit| {
        let (headers, uri) = (request.headers(), request.uri());
        app.hosts
            .check(headers, uri, visit, app.lan.name().as_deref())
    });
    let mut response = match (visit, &host) {
        (None, _) => Fault::internal().into_response(),
        (Some(visit), None) => foreign_host(&app, visit).into_response(),
        (Some(visit), Some(host)) => match from_the_network(&app, visit, host, &request) {
            Some(answer) => answer,
            None => tokio::time::timeout(within, next.run(request))
                .await
                .unwrap_or_else(|_| timeout().into_response()),
        },
    };
    if !for_tool && let Some(fault) = response.extensions_mut().remove::<Fault>() {
        response = pages::bare_error(&fault);
    }
    let may_be_kept = may_be_kept && !response.status().is_client_error();
    add_headers(response.headers_mut(), may_be_kept);
    if host.is_some_and(|host| !Hosts::is_loopback(&host)) {
        let policy = HeaderValue::from_static(REFERRER_POLICY_BY_NAME);
        response
            .headers_mut()
            .insert(header::REFERRER_POLICY, policy);
    }
    response
}

/// Tools get problem documents, people get pages.
fn is_for_tool(uri: &Uri) -> bool {
    uri.path().starts_with("/api/")
}

/// What is answered at once to a request from the network: where nothing else stands in the way, a page
/// of ours posts by the scheme by which it came, and the API is for this machine.
fn from_the_network(app: &App, visit: Visit, host: &str, request: &Request) -> Option<Response> {
    if let Door::Unencrypted { .. } = visit.door {
        // The name is ours, so this leads nowhere else.
        let location = HeaderValue::from_str(&format!("https://{host}/"));
        let location = location.unwrap_or(HeaderValue::from_static("/"));
        let moved = (StatusCode::SEE_OTHER, [(header::LOCATION, location)]);
        return Some(moved.into_response());
    }
    if visit.is_here() {
        return None;
    }
    if is_for_tool(request.uri()) && !app.lan.has_api() {
        let fault = Fault::new(
            FaultKind::NotAllowed,
            "the API answers on the machine itself only; `lan_api = true` in the [dashboard] section \
             of waymeet.toml opens it to the network",
        );
        return Some(fault.into_response());
    }
    let origin = request.headers().get(header::ORIGIN)?;
    let is_ours = origin
        .to_str()
        .is_ok_and(|origin| visit.is_own_origin(origin, host));
    (!is_ours).then(|| {
        Fault::new(
            FaultKind::ForeignOrigin,
            "expected a request from this node's own pages, found one from another site",
        )
        .into_response()
    })
}

fn foreign_host(app: &App, visit: Visit) -> Fault {
    let names = app.hosts.names(visit).join(", ");
    Fault::new(
        FaultKind::ForeignHost,
        format!(
            "expected one of these names in the address: {names}; \
             another can be allowed as `hosts` in the [dashboard] section of waymeet.toml"
        ),
    )
}

fn timeout() -> Fault {
    let seconds = REQUEST_TIME_MAX.as_secs();
    Fault::new(
        FaultKind::Timeout,
        format!("expected the whole request within {seconds} s"),
    )
}

fn answer_panic(panic: Box<dyn Any + Send>) -> Response {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    tracing::error!(panic = %text, "a request's handler panicked");
    Fault::internal().into_response()
}

fn add_headers(headers: &mut HeaderMap, may_be_kept: bool) {
    const ALWAYS: [(HeaderName, &str); 7] = [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("permissions-policy"),
            PERMISSIONS_POLICY,
        ),
    ];
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !may_be_kept {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}
