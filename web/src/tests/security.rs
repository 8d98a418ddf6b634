//! Hosts, origins, sessions, headers, and what pages may contain.

use axum::{
    body::Body,
    http::{Method, Request, header},
};

use super::{Answer, Bench, HOST, TOKEN, form_body, form_request, page_routes, with_ids};

fn assert_headers(answer: &Answer, what: &str) {
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("x-frame-options", "DENY"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(answer.header(name), value, "{name} of {what}");
    }
    let policy = answer.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none';")
            && !policy.contains("unsafe")
            && !policy.contains('*'),
        "{what}"
    );
    assert!(
        answer.header("permissions-policy").contains("camera=()"),
        "{what}"
    );
    assert!(
        answer.header("access-control-allow-origin").is_empty(),
        "{what}"
    );
    let kept = what.contains("/static/waymeet.");
    assert_eq!(
        answer.header("cache-control") == "no-store",
        !kept,
        "{what}"
    );
}

#[tokio::test]
async fn every_answer_bears_the_headers() {
    let bench = Bench::ana().await;
    let browser = bench.browser().await;
    let style = crate::assets::paths().css;
    let mut paths: Vec<String> = page_routes()
        .iter()
        .map(|(path, _, _)| with_ids(path))
        .filter(|path| path != "/events")
        .collect();
    paths.extend([
        style,
        "/static/none.css".into(),
        "/nowhere".into(),
        "/healthz".into(),
        "/favicon.ico".into(),
        "/api/v1/status".into(),
        "/api/v1/x".into(),
        "/api/v1/openapi.json".into(),
        "/..%2f..%2fetc/passwd".into(),
    ]);
    for path in paths {
        for method in [
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::DELETE,
            Method::OPTIONS,
            Method::TRACE,
        ] {
            for (host, cookie) in [(HOST, true), (HOST, false), ("evil.example", true)] {
                let mut request = Request::builder()
                    .method(&method)
                    .uri(&path)
                    .header(header::HOST, host);
                if cookie {
                    request = request.header(header::COOKIE, &browser.cookie);
                }
                let answer = bench.send(request.body(Body::empty()).unwrap()).await;
                assert_ne!(
                    answer.status.as_u16() / 100,
                    5,
                    "{method} {path}: {}",
                    answer.body
                );
                let what = if host == HOST && (method == Method::GET || method == Method::HEAD) {
                    path.as_str()
                } else {
                    "a refusal"
                };
                assert_headers(&answer, what);
            }
        }
    }
}

#[tokio::test]
async fn another_name_is_refused_with_a_page_that_helps() {
    let bench = Bench::ana().await;
    let browser = bench.browser().await;
    for path in [
        "/",
        "/sign-in",
        "/healthz",
        "/nowhere",
        "/static/x",
        "/events",
    ] {
        let request = Request::builder()
            .uri(path)
            .header(header::HOST, "rebound.example:7340")
            .header(header::COOKIE, &browser.cookie)
            .body(Body::empty())
            .unwrap();
        let answer = bench.send(request).await;
        assert_eq!(answer.status, 403, "{path}");
        assert!(
            answer.body.contains("localhost:7340") && answer.body.contains("<h1>"),
            "{path}"
        );
    }
    let request = Request::builder()
        .uri("/api/v1/status")
        .header(header::HOST, "rebound.example:7340")
        .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"))
        .body(Body::empty())
        .unwrap();
    assert_eq!(bench.send(request).await.problem(), "foreign-host");
    let request = Request::builder()
        .uri("/healthz")
        .header(header::HOST, "localhost:7340");
    let answer = bench.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, "ok"));
}

#[tokio::test]
async fn by_a_name_from_the_settings_forms_bring_their_origin() {
    let bench = Bench::ana().await;
    let browser = bench.browser().await;
    let request = Request::builder()
        .uri("/")
        .header(header::HOST, "pi.lan:7340")
        .header(header::COOKIE, &browser.cookie)
        .body(Body::empty())
        .unwrap();
    let page = bench.send(request).await;
    assert_eq!(
        (page.status.as_u16(), page.header("referrer-policy")),
        (200, "same-origin")
    );
    for (origin, status) in [
        ("http://pi.lan:7340", 303),
        ("http://evil.example", 403),
        ("null", 403),
    ] {
        let fields = [("csrf", browser.csrf.as_str()), ("name", "Anna")];
        let request = form_request("/settings/name")
            .header(header::COOKIE, &browser.cookie)
            .header(header::ORIGIN, origin)
            .body(form_body(&fields));
        let mut request = request.unwrap();
        request
            .headers_mut()
            .insert(header::HOST, "pi.lan:7340".parse().unwrap());
        assert_eq!(bench.send(request).await.status, status, "{origin}");
    }
}

#[tokio::test]
async fn a_sign_in_link_works_once_and_looking_does_not_use_it() {
    let bench = Bench::ana().await;
    let link = bench.web.sign_in_link("http://127.0.0.1:7340/");
    let path = link.strip_prefix("http://127.0.0.1:7340").unwrap();
    let token = path.strip_prefix("/sign-in?token=").unwrap();
    for _ in 0..2 {
        let request = Request::builder().uri(path).header(header::HOST, HOST);
        let page = bench.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(page.status, 200);
        assert!(page.header("set-cookie").is_empty());
        assert!(page.body.contains("method=\"post\"") && page.body.contains(token));
    }
    let attempt = |token: &str| {
        let fields = [("token", token)];
        bench.send(form_request("/sign-in").body(form_body(&fields)).unwrap())
    };
    let (one, other) = tokio::join!(attempt(token), attempt(token));
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [303, 401], "of two who race, one wins");
    let winner = if one.status == 303 { one } else { other };
    let cookie = winner.header("set-cookie");
    assert!(cookie.starts_with("waymeet-7340="));
    for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age="] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert_eq!(winner.header("location"), "/");
    let request = Request::builder().uri(path).header(header::HOST, HOST);
    assert_eq!(
        bench
            .send(request.body(Body::empty()).unwrap())
            .await
            .status,
        401
    );
    for bad in ["", "x", &"a".repeat(100_000)] {
        let answer = attempt(bad).await;
        assert_eq!(answer.status, 401);
        assert!(answer.header("set-cookie").is_empty());
    }
}

#[tokio::test]
async fn a_session_is_fresh_at_each_sign_in_and_ends_on_the_server() {
    let bench = Bench::ana().await;
    let first = bench.browser().await;
    // The same browser signs in again, bringing its old cookie and one that somebody planted.
    let link = bench.web.sign_in_link("");
    let token = link.split_once("token=").unwrap().1;
    let fields = [("token", token)];
    let request = form_request("/sign-in")
        .header(
            header::COOKIE,
            format!("waymeet-7340=planted; {}", first.cookie),
        )
        .body(form_body(&fields))
        .unwrap();
    let answer = bench.send(request).await;
    let cookie = answer.header("set-cookie").split(';').next().unwrap();
    assert!(!cookie.contains("planted") && cookie != first.cookie);

    let second = bench.browser().await;
    let left = second.submit("/sign-out", &[]).await;
    assert!(left.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(second.get("/").await.status, 401);
    assert_eq!(first.get("/nowhere").await.status, 404, "the others stay");
}

#[tokio::test]
async fn a_stranger_sees_no_page() {
    let bench = Bench::ana().await;
    for (path, get, post) in page_routes() {
        if path == "/sign-in" || path.starts_with("/static") {
            continue;
        }
        for method in [Method::GET, Method::POST] {
            if (method == Method::GET && !get) || (method == Method::POST && !post) {
                continue;
            }
            let request = Request::builder()
                .method(&method)
                .uri(with_ids(&path))
                .header(header::HOST, HOST)
                .header(header::COOKIE, "waymeet-7340=; waymeet-7340=wrong")
                .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"))
                .body(Body::empty())
                .unwrap();
            let answer = bench.send(request).await;
            assert_eq!(answer.status, 401, "{method} {path}");
            assert!(
                answer.body.contains("waymeet open") && !answer.body.contains("Ana"),
                "{path}"
            );
        }
    }
}

/// What it is, further headers, and the form's token.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);

#[tokio::test]
async fn a_form_counts_only_from_our_own_pages() {
    let bench = Bench::ana().await;
    let (browser, other) = (bench.browser().await, bench.browser().await);
    let origin = format!("http://{HOST}");
    for (path, _, post) in page_routes() {
        if !post || path == "/sign-in" {
            continue;
        }
        let path = with_ids(&path);
        let cases: [Case<'_>; 8] = [
            ("no token", &[], ""),
            ("another session's token", &[], &other.csrf),
            ("the cookie as token", &[], &browser.cookie),
            (
                "a foreign origin",
                &[("origin", "http://evil.example")],
                &browser.csrf,
            ),
            ("a null origin", &[("origin", "null")], &browser.csrf),
            (
                "another port",
                &[("origin", "http://127.0.0.1:7341")],
                &browser.csrf,
            ),
            (
                "another site",
                &[("origin", &origin), ("sec-fetch-site", "cross-site")],
                &browser.csrf,
            ),
            (
                "a sibling site",
                &[("sec-fetch-site", "same-site")],
                &browser.csrf,
            ),
        ];
        for (case, headers, csrf) in cases {
            let fields = [
                ("csrf", csrf),
                ("name", "Eve"),
                ("body", "x"),
                ("title", "x"),
                ("link", "x"),
            ];
            let mut request = form_request(&path).header(header::COOKIE, &browser.cookie);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let answer = bench.send(request.body(form_body(&fields)).unwrap()).await;
            assert_eq!(answer.status, 403, "{case}: {path}: {}", answer.body);
        }
        let request = form_request(&path)
            .header(header::COOKIE, &browser.cookie)
            .body(Body::from(vec![b'x'; 600 * 1024]))
            .unwrap();
        assert_eq!(bench.send(request).await.status, 413, "{path}");
        let request = Request::builder()
            .method(Method::POST)
            .uri(&path)
            .header(header::HOST, HOST)
            .header(header::COOKIE, &browser.cookie)
            .header(header::CONTENT_TYPE, "text/plain")
            .body(Body::from(format!("csrf={}", browser.csrf)))
            .unwrap();
        assert_eq!(bench.send(request).await.status, 415, "{path}");
    }
    assert_eq!(bench.node.status().unwrap().identity.unwrap().name, "Ana");
    assert!(bench.node.invites().unwrap().is_empty());
}

#[test]
fn templates_hold_nothing_inline_and_nothing_from_elsewhere() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../templates");
    let mut folders = vec![std::path::PathBuf::from(folder)];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            files += 1;
            let text = std::fs::read_to_string(&path).unwrap();
            let name = path.display();
            for bad in [
                "style=",
                "<style",
                "javascript:",
                "http://",
                "https://",
                "src=\"//",
                "|safe",
                "| safe",
                "escape(",
                "<iframe",
                "target=",
            ] {
                assert!(!text.contains(bad), "{name} contains {bad}");
            }
            for tag in text.split("<script").skip(1) {
                assert!(
                    tag.starts_with(" src=\"{{") && tag.contains("></script>"),
                    "{name}"
                );
            }
            for tag in text.split('<').skip(1) {
                let tag = tag.split('>').next().unwrap();
                assert!(
                    !tag.split_whitespace()
                        .skip(1)
                        .any(|attribute| attribute.starts_with("on") && attribute.contains('=')),
                    "{name}: {tag}"
                );
            }
            let forms = text.matches("method=\"post\"").count();
            let tokens = text.matches("name=\"csrf\"").count();
            assert!(
                forms == tokens
                    || path.ends_with("sign_in.html")
                    || path.ends_with("password.html"),
                "{name}: {forms} forms, {tokens} tokens"
            );
        }
    }
    assert!(files > 30);
}

/// A route for a form that no test submits fails here.
#[test]
fn every_form_has_a_case() {
    let cases = concat!(
        include_str!("dashboard.rs"),
        include_str!("keeping.rs"),
        include_str!("links.rs"),
        include_str!("two.rs"),
        include_str!("circles.rs"),
        include_str!("lan.rs"),
        include_str!("security.rs")
    );
    for (path, _, post) in page_routes() {
        let end = path.rsplit('}').next().unwrap();
        // A path that ends with an id is told by what stands before the id.
        let sign = if end.is_empty() {
            path.split('{').next().unwrap()
        } else {
            end
        };
        let submitted = cases.split(';').any(|statement| {
            (statement.contains(".submit(")
                || statement.contains(".change(")
                || statement.contains("form_request("))
                && statement.contains(sign)
        });
        // Some tests name the path first.
        let named =
            cases.contains(&format!("{sign}\");")) || cases.contains(&format!("{sign}\"), &["));
        assert!(!post || submitted || named, "{path} has no case");
    }
}
