//! Rules that hold for every call: who may speak, how lists are paged, what a refusal looks like.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{Node, Raw, pair, raw};

/// A raw request with these headers; `Host` and `Connection` are added where missing.
fn request(node: &Node, line: &str, headers: &[(&str, &str)], body: &str) -> Raw {
    let mut text = format!("{line} HTTP/1.1\r\nConnection: close\r\n");
    if !headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("host"))
    {
        text.push_str(&format!("Host: 127.0.0.1:{}\r\n", node.port()));
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    raw(node, format!("{text}\r\n{body}").as_bytes())
}

fn problem(raw: &Raw) -> String {
    assert!(
        raw.head
            .to_ascii_lowercase()
            .contains("content-type: application/problem+json"),
        "{raw:?}"
    );
    let body: Value = serde_json::from_str(&raw.body).unwrap_or_else(|_| panic!("{raw:?}"));
    assert_eq!(body["status"], raw.status);
    assert!(!body["detail"].as_str().unwrap().is_empty(), "{body}");
    body["type"]
        .as_str()
        .unwrap()
        .rsplit([':', '/'])
        .next()
        .unwrap()
        .to_owned()
}

#[test]
fn only_the_token_opens_the_api() {
    let ana = Node::named("Ana");
    let token = ana.token().to_owned();
    let other = format!("{}x", &token[..token.len() - 1]);
    for header in [
        None,
        Some("Bearer".to_owned()),
        Some("Bearer ".to_owned()),
        Some(format!("Bearer {other}")),
        Some(format!("Bearer {token}{token}")),
        Some(format!("Basic {token}")),
        Some(token.clone()),
    ] {
        let headers: Vec<_> = header
            .iter()
            .map(|value| ("Authorization", value.as_str()))
            .collect();
        let answer = request(&ana, "GET /api/v1/status", &headers, "");
        assert_eq!(
            (answer.status, problem(&answer).as_str()),
            (401, "unauthorized"),
            "{header:?}"
        );
        assert!(!answer.body.contains("Ana"), "{answer:?}");
        assert!(
            answer
                .head
                .to_ascii_lowercase()
                .contains("www-authenticate: bearer"),
            "{answer:?}"
        );
    }
    for path in ["/api/v1/status?token=", "/api/v1/status?access_token="] {
        let answer = request(&ana, &format!("GET {path}{token}"), &[], "");
        assert_eq!(
            answer.status, 401,
            "a token in an address would end in logs"
        );
    }
    let cookie = format!("waymeet-{}={token}", ana.port());
    assert_eq!(
        request(&ana, "GET /api/v1/status", &[("Cookie", &cookie)], "").status,
        401
    );
    let good = format!("Bearer {token}");
    assert_eq!(
        request(&ana, "GET /api/v1/status", &[("Authorization", &good)], "").status,
        200
    );
    assert_eq!(
        request(&ana, "GET /api/v1/openapi.json", &[], "").status,
        200
    );
    let health = request(&ana, "GET /healthz", &[], "");
    assert_eq!((health.status, health.body.trim()), (200, "ok"));
}

#[test]
fn foreign_names_and_foreign_pages_get_nothing() {
    let ana = Node::named("Ana");
    let bearer = format!("Bearer {}", ana.token());
    let port = ana.port();
    for host in [
        "evil.example".to_owned(),
        format!("evil.example:{port}"),
        format!("localhost.evil.example:{port}"),
        format!("127.0.0.1.nip.io:{port}"),
        "127.0.0.1:1".to_owned(),
        String::new(),
    ] {
        for path in ["/api/v1/status", "/api/v1/openapi.json", "/healthz", "/"] {
            let answer = request(
                &ana,
                &format!("GET {path}"),
                &[("Host", &host), ("Authorization", &bearer)],
                "",
            );
            assert!(
                matches!(answer.status, 400 | 403 | 421),
                "{host:?} {path}: {answer:?}"
            );
            assert!(!answer.body.contains(&ana.id()), "{answer:?}");
        }
    }
    for host in [
        format!("127.0.0.1:{port}"),
        format!("localhost:{port}"),
        format!("[::1]:{port}"),
        format!("LOCALHOST:{port}"),
    ] {
        let answer = request(
            &ana,
            "GET /api/v1/status",
            &[("Host", &host), ("Authorization", &bearer)],
            "",
        );
        assert_eq!(answer.status, 200, "{host}: {answer:?}");
    }
    for origin in [
        "http://evil.example",
        "null",
        "http://127.0.0.1:1",
        "file://",
    ] {
        let answer = request(
            &ana,
            "GET /api/v1/status",
            &[("Origin", origin), ("Authorization", &bearer)],
            "",
        );
        assert_eq!(
            (answer.status, problem(&answer).as_str()),
            (403, "foreign-origin"),
            "{origin}"
        );
        assert!(
            !answer.head.to_ascii_lowercase().contains("access-control"),
            "{answer:?}"
        );
    }
}

#[test]
fn every_answer_bears_the_safety_headers() {
    let ana = Node::named("Ana");
    for path in [
        "/",
        "/sign-in",
        "/nowhere",
        "/healthz",
        "/api/v1/status",
        "/api/v1/nowhere",
        "/api/v1/openapi.json",
    ] {
        let head = request(&ana, &format!("GET {path}"), &[], "")
            .head
            .to_ascii_lowercase();
        for header in [
            "content-security-policy: default-src 'none'",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cross-origin-opener-policy: same-origin",
            "cross-origin-resource-policy: same-origin",
        ] {
            assert!(head.contains(header), "{path} lacks {header}: {head}");
        }
        assert!(!head.contains("unsafe"), "{path}: {head}");
    }
}

#[test]
fn each_refusal_is_a_problem_document_of_its_kind() {
    let (ana, ben) = pair("Ana", "Ben");
    let bearer = format!("Bearer {}", ana.token());
    let forum = ana.new_forum("Lake");
    let article = ana.publish("River", "wet");
    ben.receives(&article);
    let json_type = ("Content-Type", "application/json");
    let auth = ("Authorization", bearer.as_str());
    let too_large = format!("{{\"name\":\"{}\"}}", "x".repeat(600 * 1024));
    let cases = [
        (
            400,
            "malformed",
            request(
                &ana,
                "POST /api/v1/forums",
                &[auth, json_type],
                "{\"name\":",
            ),
        ),
        (
            401,
            "unauthorized",
            request(&ana, "GET /api/v1/forums", &[], ""),
        ),
        (
            403,
            "foreign-host",
            request(
                &ana,
                "GET /api/v1/forums",
                &[auth, ("Host", "evil.example")],
                "",
            ),
        ),
        (
            403,
            "foreign-origin",
            request(&ana, "GET /api/v1/forums", &[auth, ("Origin", "null")], ""),
        ),
        (
            404,
            "not-found",
            request(&ana, "GET /api/v1/nowhere", &[auth], ""),
        ),
        (
            405,
            "method-not-allowed",
            request(&ana, "PUT /api/v1/forums", &[auth], ""),
        ),
        (
            409,
            "already-set-up",
            request(
                &ana,
                "POST /api/v1/setup",
                &[auth, json_type],
                "{\"name\":\"Eve\"}",
            ),
        ),
        (
            413,
            "too-large",
            request(&ana, "POST /api/v1/forums", &[auth, json_type], &too_large),
        ),
        (
            415,
            "unsupported-media-type",
            request(
                &ana,
                "POST /api/v1/forums",
                &[auth, ("Content-Type", "text/plain")],
                "{}",
            ),
        ),
        (
            422,
            "invalid",
            request(
                &ana,
                "POST /api/v1/forums",
                &[auth, json_type],
                "{\"name\":\"\"}",
            ),
        ),
        (409, "not-set-up", {
            let fresh = Node::fresh();
            let bearer = format!("Bearer {}", fresh.token());
            request(
                &fresh,
                "GET /api/v1/forums",
                &[("Authorization", &bearer)],
                "",
            )
        }),
    ];
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for (status, kind, answer) in &cases {
        assert_eq!((answer.status, problem(answer).as_str()), (*status, *kind));
        seen.insert((*kind).to_owned());
    }
    let foreign = ben.call(
        "PATCH",
        &format!("/entries/{article}"),
        Some(&json!({ "body": "mine" })),
    );
    assert_eq!((foreign.status, foreign.problem()), (403, "not-allowed"));
    seen.insert(foreign.problem().to_owned());
    ana.delete(&format!("/entries/{article}"));
    let taken_back = ana.call(
        "PATCH",
        &format!("/entries/{article}"),
        Some(&json!({ "body": "again" })),
    );
    assert_eq!((taken_back.status, taken_back.problem()), (409, "conflict"));
    seen.insert(taken_back.problem().to_owned());
    assert!(ana.list(&format!("/forums/{forum}/threads")).is_empty());

    // What can't be brought about from outside: slowness, overload, the disk, a stop under way, an
    // unreachable person, our own fault. Whatever else the description names has its case above.
    let from_inside = [
        "timeout",
        "busy",
        "storage",
        "stopping",
        "unreachable",
        "internal",
    ];
    let described = ana.get("/openapi.json").to_string();
    let mut missing = BTreeSet::new();
    for part in described.split("urn:waymeet:problem:").skip(1) {
        let kind: String = part
            .chars()
            .take_while(|c| c.is_ascii_lowercase() || *c == '-')
            .collect();
        if !kind.is_empty() && !seen.contains(&kind) && !from_inside.contains(&kind.as_str()) {
            missing.insert(kind);
        }
    }
    assert!(missing.is_empty(), "no case for {missing:?}");
}

#[test]
fn lists_come_in_pages_that_join_without_gap_or_double() {
    let (ana, ben) = pair("Ana", "Ben");
    let forum = ana.new_forum("Lake");
    let threads: Vec<_> = (0..7)
        .map(|number| ana.new_thread(&forum, &format!("{number}"), "x"))
        .collect();
    for number in 0..6 {
        ana.reply(&threads[0], &format!("{number}"));
        ana.send(&ben.id(), &format!("{number}"));
        ana.publish(&format!("{number}"), "needle");
        ana.new_forum(&format!("Forum {number}"));
    }
    let blog = ana
        .list("/blogs")
        .iter()
        .find(|blog| blog["own"] == true)
        .unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    for (path, count) in [
        (format!("/forums/{forum}/threads"), 7),
        (format!("/threads/{}", threads[0]), 7),
        (format!("/conversations/{}", ben.id()), 6),
        (format!("/blogs/{blog}/articles"), 6),
        ("/forums".to_owned(), 7),
        ("/search?q=needle".to_owned(), 6),
        ("/contacts".to_owned(), 1),
    ] {
        let mark = if path.contains('?') { '&' } else { '?' };
        let all: Vec<_> = ana
            .list(&path)
            .iter()
            .map(|item| item["id"].clone())
            .collect();
        assert_eq!(all.len(), count, "{path}");
        let mut paged = Vec::new();
        let mut next = String::new();
        loop {
            let page = ana.get(&format!("{path}{mark}limit=2{next}"));
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= 2, "{path}");
            paged.extend(items.iter().map(|item| item["id"].clone()));
            match page["next"].as_str() {
                Some(cursor) => next = format!("&cursor={cursor}"),
                None => break,
            }
            assert!(paged.len() <= count, "{path} has no end");
        }
        assert_eq!(paged, all, "{path}");
        for bad in ["limit=0", "limit=501", "limit=-1", "limit=many"] {
            let answer = ana.call("GET", &format!("{path}{mark}{bad}"), None);
            assert_eq!(
                (answer.status, answer.fields()),
                (422, vec!["limit"]),
                "{path} {bad}"
            );
        }
        for bad in [
            "cursor=!",
            "cursor=a",
            "cursor=..%2F..",
            &format!("cursor={}", "a".repeat(4_000)),
        ] {
            let answer = ana.call("GET", &format!("{path}{mark}{bad}"), None);
            assert_eq!(
                (answer.status, answer.fields()),
                (422, vec!["cursor"]),
                "{path} {bad}: {answer:?}"
            );
        }
    }
}

#[test]
fn the_description_names_the_calls_that_tools_rely_on() {
    let node = Node::fresh();
    let document = node.get("/openapi.json");
    assert!(
        document["openapi"].as_str().unwrap().starts_with("3."),
        "{}",
        document["openapi"]
    );
    let described: BTreeSet<String> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            let path = plain_path(path);
            methods
                .as_object()
                .unwrap()
                .keys()
                .map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect();
    for call in [
        "GET /status",
        "POST /setup",
        "POST /invites",
        "GET /invites",
        "DELETE /invites/{}",
        "POST /contacts/join",
        "GET /contacts",
        "GET /contacts/{}",
        "POST /contacts/{}/accept",
        "PATCH /contacts/{}",
        "DELETE /contacts/{}",
        "GET /forums",
        "POST /forums",
        "POST /spaces/{}/offers",
        "GET /offers",
        "POST /offers/{}/accept",
        "POST /offers/{}/decline",
        "DELETE /spaces/{}",
        "GET /forums/{}/threads",
        "POST /forums/{}/threads",
        "GET /threads/{}",
        "POST /threads/{}/replies",
        "GET /blogs",
        "GET /blogs/{}/articles",
        "POST /blog/articles",
        "POST /articles/{}/comments",
        "GET /conversations/{}",
        "POST /conversations/{}",
        "PATCH /entries/{}",
        "DELETE /entries/{}",
        "POST /entries/{}/read",
        "GET /search",
        "GET /events",
    ] {
        assert!(
            described.contains(call),
            "{call} is missing in {described:?}"
        );
    }
}

/// A path without its prefix and without the names of its parts.
fn plain_path(path: &str) -> String {
    let path = path.strip_prefix("/api/v1").unwrap_or(path);
    path.split('/')
        .map(|part| if part.starts_with('{') { "{}" } else { part })
        .collect::<Vec<_>>()
        .join("/")
}
