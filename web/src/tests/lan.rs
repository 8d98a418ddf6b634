//! The dashboard as somebody on the local network sees it.

use std::{net::SocketAddr, time::Duration};

use axum::{
    body::Body,
    http::{Method, Request, header},
};
use serde_json::json;
use tower::ServiceExt as _;

use super::{Answer, Bench, TOKEN, form_body, page_routes, with_ids};
use crate::{
    LanAt, LanConfig, LanStatus, PasswordHash, Web, WebConfig, guard,
    visit::{Door, Visit},
};

const AT: &str = "10.1.0.1:7340";
const PASSWORD: &str = "correct horse";

fn at() -> SocketAddr {
    AT.parse().unwrap()
}

fn by(door: Door, from: &str) -> Visit {
    Visit {
        door,
        from: from.parse().unwrap(),
    }
}

fn plain() -> Visit {
    by(
        Door::Lan {
            at: at(),
            tls: false,
        },
        "10.1.0.9",
    )
}

fn encrypted() -> Visit {
    by(
        Door::Lan {
            at: at(),
            tls: true,
        },
        "10.1.0.9",
    )
}

fn request(method: Method, path: &str) -> axum::http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, AT)
}

impl Bench {
    /// Ana's node, with its dashboard on the network.
    async fn on_the_network() -> Self {
        let bench = Self::ana().await;
        let lan = &bench.web.app.lan;
        lan.set_password(PASSWORD.to_owned()).await.unwrap();
        let browser = bench.browser().await;
        browser.change("/settings/lan", &[("lan", "on")]).await;
        bench.web.lan_told(LanStatus {
            addrs: vec![at()],
            ..LanStatus::default()
        });
        bench
    }

    async fn visit(&self, visit: Visit, mut request: Request<Body>) -> Answer {
        request.extensions_mut().insert(visit);
        let router = guard::router(&self.web.app);
        let response = router.oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 64 * 1024 * 1024).await.unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    async fn sign_in(&self, visit: Visit, name: &str, value: &str) -> Answer {
        let request = request(Method::POST, "/sign-in")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form_body(&[(name, value)]));
        self.visit(visit, request.unwrap()).await
    }

    async fn with_cookie(&self, visit: Visit, path: &str, cookie: &str) -> Answer {
        let request = request(Method::GET, path).header(header::COOKIE, cookie);
        self.visit(visit, request.body(Body::empty()).unwrap())
            .await
    }
}

fn cookie_of(answer: &Answer) -> String {
    let cookie = answer.header("set-cookie");
    cookie.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn the_network_sees_nothing_but_the_page_that_asks_for_the_password() {
    let bench = Bench::on_the_network().await;
    bench.post("/forums", json!({"name": "Secret camp"})).await;
    let mut paths: Vec<String> = page_routes()
        .iter()
        .map(|(path, _, _)| with_ids(path))
        .filter(|path| !path.starts_with("/static"))
        .collect();
    paths.extend(["/nowhere".into(), "/sign-in?token=x".into()]);
    for path in paths {
        for method in [Method::GET, Method::POST] {
            if path.starts_with("/sign-in") && method == Method::POST {
                continue;
            }
            let request = request(method, &path)
                .header(header::COOKIE, "waymeet-7340=wrong")
                .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"))
                .body(Body::empty());
            let answer = bench.visit(plain(), request.unwrap()).await;
            assert_eq!(answer.status, 401, "{path}");
            assert!(answer.body.contains("type=\"password\""), "{path}");
            for told in ["Ana", "Secret", "pi.lan", "waymeet.local"] {
                assert!(!answer.body.contains(told), "{path} tells {told}");
            }
            assert_eq!(answer.header("referrer-policy"), "same-origin");
        }
    }
    for path in ["/api/v1/status", "/api/v1/openapi.json", "/api/v1/x"] {
        let request = request(Method::GET, path)
            .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"))
            .body(Body::empty());
        let answer = bench.visit(plain(), request.unwrap()).await;
        assert_eq!(answer.problem(), "not-allowed", "{path}");
    }
}

#[tokio::test]
async fn the_password_signs_in_by_the_way_that_it_came() {
    let bench = Bench::on_the_network().await;
    let wrong = bench.sign_in(plain(), "password", "correct horsf").await;
    assert_eq!(wrong.status, 401);
    assert!(wrong.header("set-cookie").is_empty());
    for (visit, secure) in [(plain(), false), (encrypted(), true)] {
        let answer = bench.sign_in(visit, "password", PASSWORD).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        let flags = answer.header("set-cookie");
        assert!(flags.contains("HttpOnly") && flags.contains("SameSite=Strict"));
        assert_eq!(flags.contains("; Secure"), secure, "{flags}");
        assert_eq!(flags.starts_with("__Host-waymeet-7340="), secure, "{flags}");
        assert!(flags.contains("; Path=/;") && !flags.contains("Domain"));
        let cookie = cookie_of(&answer);
        let page = bench.with_cookie(visit, "/settings", &cookie).await;
        assert_eq!(page.status, 200);
        assert!(page.body.contains("10.1.0.9"), "where it is used from");
        let other = if secure { plain() } else { encrypted() };
        for elsewhere in [other, Visit::here()] {
            let mut request = request(Method::GET, "/")
                .header(header::COOKIE, &cookie)
                .body(Body::empty())
                .unwrap();
            if elsewhere.is_here() {
                let host = "127.0.0.1:7340".parse().unwrap();
                request.headers_mut().insert(header::HOST, host);
            }
            let answer = bench.visit(elsewhere, request).await;
            assert_eq!(answer.status, 401, "{elsewhere:?}");
        }
    }
    let request = super::form_request("/sign-in")
        .body(form_body(&[("password", PASSWORD)]))
        .unwrap();
    let here = bench.send(request).await;
    assert_eq!(here.status, 401, "nobody needs it on the machine");
}

#[tokio::test]
async fn wrong_passwords_are_slowed_and_the_right_one_with_them() {
    let bench = Bench::on_the_network().await;
    for _ in 0..2 {
        let answer = bench.sign_in(plain(), "password", "wrong horse").await;
        assert_eq!(answer.status, 401);
    }
    for password in ["wrong horse", PASSWORD] {
        let answer = bench.sign_in(plain(), "password", password).await;
        assert_eq!(answer.status, 429);
        assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
        assert!(answer.header("set-cookie").is_empty());
    }
    let neighbour = by(
        Door::Lan {
            at: at(),
            tls: false,
        },
        "10.1.0.10",
    );
    let answer = bench.sign_in(neighbour, "password", PASSWORD).await;
    assert_eq!(answer.status, 303, "others aren't");
    // A code that the machine shows works all the same.
    let link = bench.web.app.remote_sign_in_link("http://10.1.0.1:7340");
    let link = link.unwrap().link;
    let token = link.split_once("token=").unwrap().1;
    assert_eq!(bench.sign_in(plain(), "token", token).await.status, 303);
}

#[tokio::test]
async fn a_code_signs_one_device_in_once() {
    let bench = Bench::on_the_network().await;
    let browser = bench.browser().await;
    let place = browser.change("/settings/phone", &[("at", "http://10.1.0.1:7340")]);
    let place = place.await;
    let page = browser.page(&place).await;
    assert!(page.contains("plain HTTP"));
    let picture = browser.get(&format!("{place}/qr.svg")).await;
    assert_eq!(picture.header("content-type"), "image/svg+xml");
    let link = {
        let links = bench.web.app.sign_in();
        let name = place.rsplit('/').next().unwrap();
        links.shown(name, crate::clock::now()).unwrap().0.to_owned()
    };
    assert!(!page.contains(&link), "the secret is in the picture only");
    let token = link.strip_prefix("http://10.1.0.1:7340/sign-in?token=");
    let token = token.unwrap();
    let request = super::form_request("/sign-in").body(form_body(&[("token", token)]));
    assert_eq!(bench.send(request.unwrap()).await.status, 401);
    assert_eq!(bench.sign_in(encrypted(), "token", token).await.status, 401);
    assert_eq!(bench.sign_in(plain(), "token", token).await.status, 303);
    let again = bench.sign_in(plain(), "token", token).await;
    assert_eq!(again.status, 401);
    assert!(again.body.contains("used already"));
    assert_eq!(browser.get(&place).await.status, 404);
    let elsewhere = browser.submit("/settings/phone", &[("at", "http://evil.example")]);
    assert_eq!(elsewhere.await.status, 422);
}

#[tokio::test]
async fn what_opens_the_door_wider_is_changed_on_the_machine_itself() {
    let bench = Bench::on_the_network().await;
    let cookie = cookie_of(&bench.sign_in(plain(), "password", PASSWORD).await);
    let page = bench.with_cookie(plain(), "/settings", &cookie).await.body;
    let csrf = page.split_once("name=\"csrf\" value=\"").unwrap().1;
    let csrf = csrf.split('"').next().unwrap();
    for (path, fields) in [
        ("/settings/lan", [("tls", "off"), ("x", "")]),
        (
            "/settings/password",
            [("password", "another horse"), ("again", "another horse")],
        ),
        (
            "/settings/phone",
            [("at", "http://10.1.0.1:7340"), ("x", "")],
        ),
    ] {
        assert!(!page.contains(&format!("action=\"{path}\"")));
        let mut fields = fields.to_vec();
        fields.push(("csrf", csrf));
        for (origin, status) in [
            ("http://10.1.0.1:7340", 403),
            ("https://10.1.0.1:7340", 403),
        ] {
            let request = request(Method::POST, path)
                .header(header::COOKIE, &cookie)
                .header(header::ORIGIN, origin)
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(form_body(&fields));
            let answer = bench.visit(plain(), request.unwrap()).await;
            assert_eq!(answer.status, status, "{path}");
        }
    }
    for (origin, status) in [
        ("http://10.1.0.1:7340", 303),
        ("https://10.1.0.1:7340", 403),
        ("null", 403),
    ] {
        let fields = [("csrf", csrf), ("name", "Anna")];
        let request = request(Method::POST, "/settings/name")
            .header(header::COOKIE, &cookie)
            .header(header::ORIGIN, origin)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form_body(&fields));
        let answer = bench.visit(plain(), request.unwrap()).await;
        assert_eq!(answer.status, status, "{origin}");
    }
}

#[tokio::test]
async fn a_new_password_signs_the_network_out_and_not_the_machine() {
    let bench = Bench::on_the_network().await;
    let browser = bench.browser().await;
    let cookie = cookie_of(&bench.sign_in(plain(), "password", PASSWORD).await);
    for (password, again) in [("short", "short"), ("another horse", "another hors")] {
        let fields = [("password", password), ("again", again)];
        let answer = browser.submit("/settings/password", &fields).await;
        assert_eq!(answer.status, 422);
        assert!(!answer.body.contains(&format!("value=\"{password}\"")));
    }
    let fields = [("password", "another horse"), ("again", "another horse")];
    let link = bench.web.app.remote_sign_in_link("http://10.1.0.1:7340");
    let link = link.unwrap().link;
    let token = link.split_once("token=").unwrap().1;
    browser.change("/settings/password", &fields).await;
    assert_eq!(bench.sign_in(plain(), "token", token).await.status, 401);
    let gone = bench.with_cookie(plain(), "/", &cookie).await;
    assert_eq!(gone.status, 401);
    assert_eq!(browser.get("/settings").await.status, 200);
    let old = bench.sign_in(plain(), "password", PASSWORD).await;
    assert_eq!(old.status, 401);
    let new = bench.sign_in(plain(), "password", "another horse").await;
    assert_eq!(new.status, 303);
}

#[tokio::test]
async fn who_types_the_address_without_its_scheme_is_led_to_the_encrypted_one() {
    let bench = Bench::on_the_network().await;
    let visit = by(Door::Unencrypted { at: at() }, "10.1.0.9");
    for method in [Method::GET, Method::POST] {
        let answer = bench
            .visit(
                visit,
                request(method, "/forums").body(Body::empty()).unwrap(),
            )
            .await;
        assert_eq!(answer.status, 303);
        assert_eq!(answer.header("location"), "https://10.1.0.1:7340/");
    }
    let foreign = Request::builder()
        .uri("/")
        .header(header::HOST, "evil.example")
        .body(Body::empty());
    let answer = bench.visit(visit, foreign.unwrap()).await;
    assert_eq!(answer.status, 403);
}

#[tokio::test]
async fn sign_ins_survive_a_restart() {
    let bench = Bench::on_the_network().await;
    let cookie = cookie_of(&bench.sign_in(plain(), "password", PASSWORD).await);
    let file = bench.node.data_dir().join("dashboard-sessions");
    let listed = bench.get("/sessions").await["items"].clone();
    let phone = listed.as_array().unwrap().iter();
    let phone = phone.clone().find(|one| one["place"] == "lan").unwrap();
    assert_eq!(phone["from"], "10.1.0.9");
    let id = phone["id"].as_str().unwrap();
    let written = async {
        while !std::fs::read_to_string(&file).is_ok_and(|text| text.contains(id)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), written)
        .await
        .expect("the file in time");
    let secret = cookie.split_once('=').unwrap().1;
    assert!(!std::fs::read_to_string(&file).unwrap().contains(secret));

    let config = WebConfig {
        api_token: TOKEN.to_owned(),
        hosts: vec![],
        port: 7340,
        lan: LanConfig::default(),
    };
    let web = Web::new(bench.node.clone(), config).unwrap();
    let router = web.router();
    let again = Bench {
        web,
        router,
        node: bench.node.clone(),
        _folder: tempfile::tempdir().unwrap(),
    };
    assert_eq!(
        again
            .with_cookie(plain(), "/settings", &cookie)
            .await
            .status,
        200
    );
    let end = format!("/sessions/{id}");
    let ended = again.call(Method::DELETE, &end, None).await;
    assert_eq!(ended.status, 204);
    assert_eq!(again.with_cookie(plain(), "/", &cookie).await.status, 401);
    let unknown = again.call(Method::DELETE, &end, None).await;
    assert_eq!(unknown.problem(), "not-found");
}

#[tokio::test]
async fn tools_switch_it_and_are_told_what_is_in_the_way() {
    let bench = Bench::ana().await;
    let patch = |body| bench.call(Method::PATCH, "/dashboard", Some(body));
    assert_eq!(patch(json!({"lan": true})).await.problem(), "conflict");
    let short = patch(json!({"password": "short"})).await;
    assert_eq!(short.json()["errors"][0]["field"], "password");
    let on = patch(json!({"password": PASSWORD, "lan": true})).await;
    assert_eq!(on.status, 200, "{}", on.body);
    assert_eq!(
        on.json()["lan"],
        json!({"on": true, "fixed_by_file": false})
    );
    assert!(!on.body.contains("argon2"));
    let link = bench.call(Method::POST, "/sign-in-links", Some(json!({"lan": true})));
    assert_eq!(link.await.problem(), "conflict", "there is no address yet");
    bench.web.lan_told(LanStatus {
        addrs: vec![at()],
        name: Some("waymeet.local".into()),
        trouble: None,
    });
    let urls = json!([format!("http://{AT}"), "http://waymeet.local:7340"]);
    assert_eq!(bench.get("/dashboard").await["urls"], urls);
    let named = json!({"lan": true, "at": "http://waymeet.local:7340"});
    let link = bench.post("/sign-in-links", named).await;
    let text = link["link"].as_str().unwrap();
    assert!(text.starts_with("http://waymeet.local:7340/sign-in?token="));
    for bad in [
        json!({"at": "http://waymeet.local:7340"}),
        json!({"lan": true, "at": "http://evil.example"}),
    ] {
        let refused = bench.call(Method::POST, "/sign-in-links", Some(bad)).await;
        assert_eq!(refused.json()["errors"][0]["field"], "at");
    }
    let tls = patch(json!({"tls": true})).await.json();
    let fingerprint = tls["fingerprint"].as_str().unwrap();
    let link = bench.post("/sign-in-links", json!({"lan": true})).await;
    assert_eq!(link["fingerprint"], fingerprint);
    let text = link["link"].as_str().unwrap();
    assert!(text.starts_with(&format!("https://{AT}/sign-in?token=")));
    assert!(text.ends_with(&fingerprint.replace(':', "")));
}

#[tokio::test]
async fn the_api_answers_the_network_only_where_the_file_says_so() {
    let bench = Bench::ana().await;
    let config = WebConfig {
        api_token: TOKEN.to_owned(),
        hosts: vec![],
        port: 7340,
        lan: LanConfig {
            at: Some(LanAt::All),
            api: true,
            password: Some(PasswordHash::of(PASSWORD).unwrap()),
            ..LanConfig::default()
        },
    };
    let web = Web::new(bench.node.clone(), config).unwrap();
    let bench = Bench { web, ..bench };
    for (token, status) in [(TOKEN, 200), ("wrong", 401)] {
        let request = request(Method::GET, "/api/v1/status")
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .body(Body::empty());
        let answer = bench.visit(plain(), request.unwrap()).await;
        assert_eq!(answer.status, status);
    }
}
