//! The JSON API: its contract, its faults, its description.

use std::collections::BTreeSet;

use axum::{
    body::Body,
    http::{Method, Request, header},
    response::IntoResponse,
};
use engine::Error;
use serde_json::{Value, json};

use super::{Answer, Bench, HOST, TOKEN, with_ids};
use crate::fault::{Fault, FaultKind};

/// The documented calls.
async fn documented(bench: &Bench) -> Vec<(Method, String)> {
    let document = bench.get("/openapi.json").await;
    let mut calls = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let path = path.strip_prefix("/api/v1").unwrap();
        for method in item.as_object().unwrap().keys() {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            calls.push((method, path.to_owned()));
        }
    }
    assert!(calls.len() > 45, "{calls:?}");
    calls
}

#[tokio::test]
async fn before_set_up_only_three_calls_answer() {
    let bench = Bench::fresh().await;
    for (method, path) in documented(&bench).await {
        let answer = bench.call(method.clone(), &with_ids(&path), None).await;
        match (method.as_str(), path.as_str()) {
            ("GET", "/status") => {
                assert_eq!(answer.status, 200);
                let status = answer.json();
                assert!(status["identity"].is_null() && status["device"].is_null());
                assert!(status["version"].is_string() && status["links"].is_array());
            }
            ("GET", "/openapi.json") => assert_eq!(answer.status, 200),
            ("POST", "/setup") => assert_eq!(answer.problem(), "invalid"),
            _ => assert_eq!(
                (answer.status.as_u16(), answer.problem().as_str()),
                (409, "not-set-up"),
                "{method} {path}"
            ),
        }
    }
    let status = bench.post("/setup", json!({"name": "Ana"})).await;
    assert_eq!(status["identity"]["name"], "Ana");
    let again = bench
        .call(Method::POST, "/setup", Some(json!({"name": "Eva"})))
        .await;
    assert_eq!(
        (again.status.as_u16(), again.problem().as_str()),
        (409, "already-set-up")
    );
}

#[tokio::test]
async fn every_call_wants_the_token_and_no_cookie() {
    let bench = Bench::ana().await;
    let browser = bench.browser().await;
    for (method, path) in documented(&bench).await {
        for authorization in ["", "Bearer", "Bearer ", "Bearer wrong", "Basic dGhl", TOKEN] {
            let mut request = Request::builder()
                .method(&method)
                .uri(format!("/api/v1{}", with_ids(&path)))
                .header(header::HOST, HOST)
                .header(header::COOKIE, &browser.cookie);
            if !authorization.is_empty() {
                request = request.header(header::AUTHORIZATION, authorization);
            }
            let answer = bench.send(request.body(Body::empty()).unwrap()).await;
            if path == "/openapi.json" {
                assert_eq!(answer.status, 200);
            } else {
                assert_eq!(
                    answer.problem(),
                    "unauthorized",
                    "{method} {path} {authorization}"
                );
                assert!(answer.header("www-authenticate").starts_with("Bearer"));
            }
        }
    }
}

#[tokio::test]
async fn the_description_is_whole() {
    let bench = Bench::ana().await;
    // Each described call is routed: what isn't there is the thing, not the path.
    for (method, path) in documented(&bench).await {
        if path == "/events" {
            continue;
        }
        let answer = bench.call(method.clone(), &with_ids(&path), None).await;
        assert_ne!(answer.status, 405, "{method} {path}");
        assert!(
            !answer.body.contains("this path was not found"),
            "{method} {path}"
        );
        assert!(
            answer.status.as_u16() < 500,
            "{method} {path}: {}",
            answer.body
        );
    }
    // Each reference leads somewhere, and each kind of problem is named.
    let document = bench.get("/openapi.json").await;
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let text = document.to_string();
    for part in text.split("\"#/components/schemas/").skip(1) {
        let name = part.split('"').next().unwrap();
        assert!(schemas.contains_key(name), "{name}");
    }
    for kind in FaultKind::ALL {
        let everywhere = [
            FaultKind::MethodNotAllowed,
            FaultKind::Timeout,
            FaultKind::Storage,
            FaultKind::Disk,
        ];
        let name = format!("urn:waymeet:problem:{}", kind.name());
        assert!(everywhere.contains(&kind) || text.contains(&name), "{name}");
    }
    let ids: Vec<_> = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|item| item.as_object().unwrap().values())
        .map(|operation| operation["operationId"].as_str().unwrap())
        .collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    assert_eq!(document["openapi"], "3.1.0");
}

#[tokio::test]
async fn forums_threads_replies_and_their_entries() {
    let bench = Bench::ana().await;
    let forum = bench
        .post(
            "/forums",
            json!({"name": "Camp", "description": "by the lake"}),
        )
        .await;
    let id = forum["id"].as_str().unwrap();
    assert_eq!(
        (&forum["name"], &forum["description"], &forum["unread"]),
        (&json!("Camp"), &json!("by the lake"), &json!(0))
    );
    assert_eq!(bench.get("/forums").await["items"][0]["id"], id);
    assert_eq!(
        bench.get(&format!("/forums/{id}")).await["creator"]["name"],
        "Ana"
    );

    let thread = bench
        .post(
            &format!("/forums/{id}/threads"),
            json!({"title": "Pots", "body": "Who has *one*?"}),
        )
        .await;
    let topic = thread["id"].as_str().unwrap();
    assert_eq!(
        (
            &thread["title"],
            &thread["space"],
            &thread["author"]["name"]
        ),
        (&json!("Pots"), &json!(id), &json!("Ana"))
    );
    let first = &thread["items"][0];
    assert_eq!(first["id"], topic);
    assert_eq!(first["body"], "Who has *one*?");
    assert_eq!(first["html"], "<p>Who has <em>one</em>?</p>\n");
    assert_eq!(
        (
            &first["parent"],
            &first["edited"],
            &first["retracted"],
            &first["unread"]
        ),
        (&Value::Null, &json!(false), &json!(false), &json!(false))
    );
    assert!(first["created_ms"].as_u64().unwrap() > 1_700_000_000_000);

    let reply = bench
        .post(
            &format!("/threads/{topic}/replies"),
            json!({"body": "I do"}),
        )
        .await;
    let entry = reply["id"].as_str().unwrap();
    let answer = bench
        .post(
            &format!("/threads/{topic}/replies"),
            json!({"body": "Good", "parent": entry}),
        )
        .await;
    assert_eq!(answer["parent"], entry);
    let page = bench.get(&format!("/threads/{topic}?limit=2")).await;
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
    let next = page["next"].as_str().unwrap();
    let rest = bench
        .get(&format!("/threads/{topic}?limit=2&cursor={next}"))
        .await;
    assert_eq!(
        (&rest["items"][0]["body"], &rest["next"]),
        (&json!("Good"), &Value::Null)
    );

    let edited = bench
        .call(
            Method::PATCH,
            &format!("/entries/{entry}"),
            Some(json!({"body": "I do, a big one"})),
        )
        .await;
    assert_eq!(edited.status, 200);
    assert_eq!(
        (&edited.json()["body"], &edited.json()["edited"]),
        (&json!("I do, a big one"), &json!(true))
    );
    let history = bench.get(&format!("/entries/{entry}/history")).await;
    let bodies: Vec<_> = history["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|version| version["body"].as_str().unwrap())
        .collect();
    assert_eq!(bodies, ["I do", "I do, a big one"]);

    let path = format!("/entries/{entry}/reactions/%F0%9F%91%8D");
    let given = bench.call(Method::PUT, &path, None).await.json();
    assert_eq!(
        (
            &given["reactions"][0]["emoji"],
            &given["reactions"][0]["own"]
        ),
        (&json!("👍"), &json!(true))
    );
    let taken = bench.call(Method::DELETE, &path, None).await.json();
    assert_eq!(taken["reactions"], json!([]));

    assert_eq!(bench.get("/search?q=big").await["items"][0]["id"], entry);
    let retracted = bench
        .call(Method::DELETE, &format!("/entries/{entry}"), None)
        .await;
    assert_eq!(
        (retracted.status.as_u16(), &retracted.json()["retracted"]),
        (200, &json!(true))
    );
    assert_eq!(bench.get(&format!("/entries/{entry}")).await["body"], "");
    assert_eq!(bench.get("/search?q=big").await["items"], json!([]));

    for path in [
        format!("/entries/{entry}/read"),
        format!("/threads/{topic}/read"),
        format!("/spaces/{id}/read"),
    ] {
        assert_eq!(
            bench.call(Method::POST, &path, None).await.status,
            204,
            "{path}"
        );
    }
    assert_eq!(
        bench
            .call(Method::POST, "/entries/read", Some(json!({"ids": [topic]})))
            .await
            .status,
        204
    );
    let members = bench.get(&format!("/spaces/{id}/members")).await;
    assert_eq!(
        (
            &members["items"][0]["person"]["name"],
            &members["items"][0]["admitted_by"]
        ),
        (&json!("Ana"), &Value::Null)
    );
    assert_eq!(
        bench
            .call(Method::DELETE, &format!("/spaces/{id}"), None)
            .await
            .status,
        204
    );
    assert_eq!(bench.get("/forums").await["items"], json!([]));
    assert_eq!(
        bench
            .call(Method::GET, &format!("/threads/{topic}"), None)
            .await
            .problem(),
        "not-found"
    );
}

#[tokio::test]
async fn the_own_blog() {
    let bench = Bench::ana().await;
    let article = bench
        .post(
            "/blog/articles",
            json!({"title": "Geese", "body": "Loud.", "tags": ["travel"]}),
        )
        .await;
    assert_eq!(
        (&article["title"], &article["tags"], &article["body"]),
        (&json!("Geese"), &json!(["travel"]), &json!("Loud."))
    );
    let id = article["id"].as_str().unwrap();
    let comment = bench
        .post(
            &format!("/articles/{id}/comments"),
            json!({"body": "Indeed"}),
        )
        .await;
    assert_eq!(comment["topic"], id);
    let blogs = bench.get("/blogs").await;
    let blog = &blogs["items"][0];
    assert_eq!(
        (&blog["own"], &blog["author"]["name"]),
        (&json!(true), &json!("Ana"))
    );
    let list = bench
        .get(&format!("/blogs/{}/articles", blog["id"].as_str().unwrap()))
        .await;
    let item = &list["items"][0];
    assert_eq!(
        (&item["id"], &item["body"], &item["html"], &item["comments"]),
        (
            &json!(id),
            &json!("Loud."),
            &json!("<p>Loud.</p>\n"),
            &json!(1)
        )
    );
    let page = bench.get(&format!("/articles/{id}")).await;
    assert_eq!(page["items"][1]["body"], "Indeed");
    let reblog = bench
        .call(Method::POST, &format!("/articles/{id}/reblog"), None)
        .await;
    assert!(
        [201, 403, 409, 422].contains(&reblog.status.as_u16()),
        "{}",
        reblog.body
    );
}

#[tokio::test]
async fn invites_contacts_links_and_the_rest() {
    let bench = Bench::ana().await;
    let invite = bench.post("/invites", json!({})).await;
    let id = invite["id"].as_str().unwrap();
    assert!(invite["link"].as_str().unwrap().starts_with("waymeet:"));
    assert!(invite["expires_ms"].is_u64());
    let empty = bench.call(Method::POST, "/invites", None).await;
    assert_eq!(empty.status, 201, "an empty body asks for the defaults");
    assert_eq!(bench.get(&format!("/invites/{id}")).await["id"], id);
    assert_eq!(
        bench.get("/invites").await["items"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        bench
            .call(Method::DELETE, &format!("/invites/{id}"), None)
            .await
            .status,
        204
    );
    assert_eq!(
        bench
            .call(Method::DELETE, &format!("/invites/{id}"), None)
            .await
            .problem(),
        "not-found"
    );
    for (path, empty) in [
        ("/contacts", true),
        ("/offers", true),
        ("/conversations", true),
        ("/news", false),
        ("/links", false),
    ] {
        let list = bench.get(path).await;
        assert!(
            list["items"].is_array() && list["next"].is_null(),
            "{path}: {list}"
        );
        assert!(
            list["items"].as_array().unwrap().is_empty() || !empty,
            "{path}"
        );
    }
    let renamed = bench
        .call(Method::PATCH, "/identity", Some(json!({"name": "Anna"})))
        .await;
    assert_eq!(renamed.json()["identity"]["name"], "Anna");
    let direct = bench.call(Method::PATCH, "/links", Some(json!({}))).await;
    assert_eq!(direct.status, 200);
    let link = bench.post("/sign-in-links", json!({})).await;
    assert!(
        link["link"]
            .as_str()
            .unwrap()
            .starts_with("http://127.0.0.1:7340/sign-in?token=")
    );
    assert!(link["expires_ms"].is_u64());
}

#[tokio::test]
async fn what_does_not_fit_is_told_apart() {
    let bench = Bench::ana().await;
    let send = async |path: &str, kind: Option<&str>, body: &str| -> Answer {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("/api/v1{path}"))
            .header(header::HOST, HOST)
            .header(header::AUTHORIZATION, format!("bearer {TOKEN}"));
        if let Some(kind) = kind {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        bench
            .send(request.body(Body::from(body.to_owned())).unwrap())
            .await
    };
    let json = Some("application/json; charset=utf-8");
    for (kind, body, problem) in [
        (json, "{", "malformed"),
        (json, "{\"name\": \"a\"} b", "malformed"),
        (json, "[]", "invalid"),
        (json, "{}", "invalid"),
        (json, "{\"name\": 1}", "invalid"),
        (json, "{\"name\": \"\"}", "invalid"),
        (json, "{\"name\": \"a\", \"colour\": 1}", "invalid"),
        (None, "{}", "unsupported-media-type"),
        (Some("text/plain"), "{}", "unsupported-media-type"),
        (
            Some("application/x-www-form-urlencoded"),
            "name=a",
            "unsupported-media-type",
        ),
    ] {
        let answer = send("/forums", kind, body).await;
        assert_eq!(answer.problem(), problem, "{body}");
        if problem == "invalid" {
            let errors = answer.json()["errors"].clone();
            assert!(
                errors[0]["field"].is_string() && errors[0]["detail"].is_string(),
                "{errors}"
            );
        }
    }
    let long = format!(
        "{{\"name\": \"a\", \"description\": \"{}\"}}",
        "x".repeat(600 * 1024)
    );
    assert_eq!(send("/forums", json, &long).await.problem(), "too-large");
    assert_eq!(
        send(
            "/forums",
            json,
            &format!("{{\"name\": \"{}\"}}", "x".repeat(65))
        )
        .await
        .problem(),
        "invalid"
    );
    assert_eq!(
        send("/invites", json, "{\"uses\": 0}").await.problem(),
        "invalid"
    );
    assert_eq!(
        send("/invites", json, "{\"uses\": -1}").await.problem(),
        "invalid"
    );
    assert_eq!(
        send("/contacts/join", json, "{\"link\": \"waymeet:nonsense\"}")
            .await
            .problem(),
        "invalid"
    );
    assert_eq!(
        send("/offers/none/accept", json, "{\"x\": 1}")
            .await
            .problem(),
        "invalid"
    );
    for path in [
        "/forums?limit=0",
        "/forums?limit=501",
        "/forums?limit=x",
        "/forums?cursor=nonsense",
        "/search",
        "/search?q=%20",
        "/conversations/x?from=y",
    ] {
        let answer = bench.call(Method::GET, path, None).await;
        let expected = if path.contains("/x") {
            "not-found"
        } else {
            "invalid"
        };
        assert_eq!(answer.problem(), expected, "{path}");
    }
    for path in [
        "/nowhere",
        "/",
        "",
        "/forums/",
        "/forums/x",
        "/forums/%FF",
        "/threads/..%2f..",
        "/contacts/%00",
        "/invites/none",
    ] {
        assert_eq!(
            bench.call(Method::GET, path, None).await.problem(),
            "not-found",
            "{path}"
        );
    }
    for (method, path) in [
        (Method::PUT, "/forums"),
        (Method::DELETE, "/status"),
        (Method::OPTIONS, "/forums"),
        (Method::POST, "/openapi.json"),
    ] {
        let answer = bench.call(method, path, None).await;
        assert_eq!(answer.problem(), "method-not-allowed", "{path}");
        assert!(answer.header("access-control-allow-origin").is_empty());
        assert!(!answer.header("allow").is_empty());
    }
}

/// One way to provoke each kind; the match makes a new kind name its own.
#[tokio::test]
async fn every_kind_of_problem_has_a_case() {
    let bench = Bench::ana().await;
    let raw = |host: &'static str, origin: Option<&'static str>| {
        let mut request = Request::builder()
            .uri("/api/v1/status")
            .header(header::HOST, host)
            .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"));
        if let Some(origin) = origin {
            request = request.header(header::ORIGIN, origin);
        }
        request.body(Body::empty()).unwrap()
    };
    let made = async |fault: Fault| -> Answer {
        let response = fault.into_response();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 1024 * 1024).await.unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    };
    let detail = || "x".to_owned();
    for kind in FaultKind::ALL {
        let answer = match kind {
            FaultKind::ForeignHost => bench.send(raw("evil.example", None)).await,
            FaultKind::ForeignOrigin => bench.send(raw(HOST, Some("http://evil.example"))).await,
            FaultKind::NotFound => bench.call(Method::GET, "/nowhere", None).await,
            FaultKind::MethodNotAllowed => bench.call(Method::PUT, "/status", None).await,
            FaultKind::AlreadySetUp => {
                bench
                    .call(Method::POST, "/setup", Some(json!({"name": "Eva"})))
                    .await
            }
            FaultKind::Invalid => bench.call(Method::POST, "/forums", None).await,
            FaultKind::TooLarge => {
                bench
                    .call(
                        Method::POST,
                        "/forums",
                        Some(json!({"name": "x".repeat(600 * 1024)})),
                    )
                    .await
            }
            FaultKind::Busy => {
                let all = u32::try_from(crate::limits::STREAMS_MAX).unwrap();
                let _taken = bench.web.app.streams.acquire_many(all).await.unwrap();
                bench.call(Method::GET, "/events", None).await
            }
            // Those below need a second node, a broken disk or a clock; or have their own test above.
            FaultKind::Malformed
            | FaultKind::Unauthorized
            | FaultKind::UnsupportedMediaType
            | FaultKind::Timeout => made(Fault::new(kind, "x")).await,
            FaultKind::NotSetUp => made(Error::NotSetUp.into()).await,
            FaultKind::NotAllowed => made(Error::NotAllowed { detail: detail() }.into()).await,
            FaultKind::Conflict => made(Error::Conflict { detail: detail() }.into()).await,
            FaultKind::Unreachable => made(Error::Unreachable { detail: detail() }.into()).await,
            FaultKind::Stopping => made(Error::Stopping.into()).await,
            FaultKind::Storage => made(Error::Storage { detail: detail() }.into()).await,
            FaultKind::Disk => made(Error::Disk { detail: detail() }.into()).await,
            FaultKind::Internal => made(Fault::internal()).await,
        };
        assert_eq!(
            (answer.problem().as_str(), answer.status),
            (kind.name(), kind.status())
        );
    }
}
