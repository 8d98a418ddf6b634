//! The JSON API: what tools and the command speak. Takes the bearer token and nothing else; knows
//! neither cookies nor sessions. Enter at [`router`]; the wire's objects are in [`dto`].

mod blogs;
mod circles;
mod contacts;
mod conversations;
mod dashboard;
pub(crate) mod dto;
mod entries;
pub(crate) mod extract;
mod forums;
mod introductions;
mod letters;
mod meetings;
mod nearby;
mod node;
pub(crate) mod problem;
mod routes;
pub(crate) mod stream;

use std::sync::{Arc, LazyLock};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};

pub(crate) use self::node::check_search;
pub(crate) use self::routes::{CHECK_UP, PREFIX};
use self::routes::{Routes, doc};
use crate::{
    App,
    fault::{Fault, FaultKind, Outcome},
    visit::Visit,
};

/// The path of the API's description, which needs no token.
const OPENAPI: &str = "/openapi.json";

/// Answers 201 with the created object.
pub(crate) struct Created<T>(pub(crate) T);

impl<T: serde::Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, Json(self.0)).into_response()
    }
}

/// Answers 204.
pub(crate) struct Done;

impl IntoResponse for Done {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}

/// How many of the requests' types take this body: for [`crate::fuzz`].
pub(crate) fn taken_by(bytes: &[u8]) -> usize {
    use extract::{Nothing, parse_json};
    [
        parse_json::<blogs::NewArticle>(bytes).is_ok(),
        parse_json::<blogs::NewReblog>(bytes).is_ok(),
        parse_json::<contacts::ContactRequest>(bytes).is_ok(),
        parse_json::<contacts::InviteRequest>(bytes).is_ok(),
        parse_json::<contacts::JoinRequest>(bytes).is_ok(),
        parse_json::<dashboard::DashboardPatch>(bytes).is_ok(),
        parse_json::<dashboard::NewSignInLink>(bytes).is_ok(),
        parse_json::<entries::EntryIds>(bytes).is_ok(),
        parse_json::<entries::EntryPatch>(bytes).is_ok(),
        parse_json::<forums::NewForum>(bytes).is_ok(),
        parse_json::<forums::NewOffer>(bytes).is_ok(),
        parse_json::<forums::NewReply>(bytes).is_ok(),
        parse_json::<forums::NewThread>(bytes).is_ok(),
        parse_json::<introductions::IntroductionRequest>(bytes).is_ok(),
        parse_json::<letters::LettersPatch>(bytes).is_ok(),
        parse_json::<nearby::NearbyRequest>(bytes).is_ok(),
        parse_json::<node::LinksPatch>(bytes).is_ok(),
        parse_json::<node::NewName>(bytes).is_ok(),
        parse_json::<Nothing>(bytes).is_ok(),
    ]
    .into_iter()
    .filter(|taken| *taken)
    .count()
}

/// All routes under [`PREFIX`], behind the token.
pub(crate) fn router(app: &Arc<App>) -> Router<Arc<App>> {
    routes(Routes::new())
        .router()
        .fallback(async || Fault::not_found("this path"))
        .method_not_allowed_fallback(async |method: Method| {
            Fault::new(
                FaultKind::MethodNotAllowed,
                format!("expected another method than {method}; openapi.json lists them"),
            )
        })
        .layer(middleware::from_fn_with_state(app.clone(), admit))
}

/// The API's description, made when somebody first asks for it.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    let document = routes(Routes::described()).document();
    document.to_json().unwrap_or_default()
});

async fn openapi() -> impl IntoResponse {
    let kind = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, kind)], DOCUMENT.as_str())
}

fn routes(routes: Routes) -> Routes {
    let routes = routes.get(
        OPENAPI,
        openapi,
        doc(
            "node",
            "This document; needs no token and works before set-up",
        )
        .document("The description of the API (OpenAPI 3.1)")
        .needs_no_token(),
    );
    let routes = node::routes(routes);
    let routes = dashboard::routes(routes);
    let routes = contacts::routes(routes);
    let routes = meetings::routes(routes);
    let routes = nearby::routes(routes);
    let routes = introductions::routes(routes);
    let routes = letters::routes(routes);
    let routes = forums::routes(routes);
    let routes = circles::routes(routes);
    let routes = blogs::routes(routes);
    let routes = conversations::routes(routes);
    let routes = entries::routes(routes);
    stream::routes(routes)
}

/// Token first, then set-up: who may not speak learns nothing about the node.
async fn admit(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match check(&app, &request) {
        Ok(()) => next.run(request).await,
        Err(fault) => fault.into_response(),
    }
}

fn check(app: &App, request: &Request) -> Outcome<()> {
    let headers = request.headers();
    let text = |name| {
        headers
            .get(name)
            .map(|value: &HeaderValue| value.to_str().unwrap_or("?"))
    };
    let host = text(header::HOST).unwrap_or_default();
    let visit = request.extensions().get::<Visit>();
    let visit = visit.copied().ok_or_else(Fault::internal)?;
    if text(header::ORIGIN).is_some_and(|origin| !visit.is_own_origin(origin, host)) {
        return Err(Fault::new(
            FaultKind::ForeignOrigin,
            "expected no Origin, or this node's own; pages of other sites can't use this API",
        ));
    }
    let (method, path) = (request.method(), request.uri().path());
    if path == OPENAPI && (method == Method::GET || method == Method::HEAD) {
        return Ok(());
    }
    let token = text(header::AUTHORIZATION)
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    match token {
        None => Err(Fault::new(
            FaultKind::Unauthorized,
            "expected the header `Authorization: Bearer TOKEN`, with the text of the file api-token in the node's folder",
        )),
        Some(token) if !app.api_token.is(token) => Err(Fault::new(
            FaultKind::Unauthorized,
            "expected the token of the file api-token in the node's folder, found another",
        )),
        Some(_) => {
            let before_set_up = (method == Method::GET && path == "/status")
                || (method == Method::POST && path == "/setup");
            if before_set_up || app.node.is_set_up() {
                Ok(())
            } else {
                Err(engine::Error::NotSetUp.into())
            }
        }
    }
}
