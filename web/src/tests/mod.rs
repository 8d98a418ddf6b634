//! The whole HTTP side over a real node on a temporary folder.

mod api;
mod circles;
mod dashboard;
mod disk;
mod keeping;
mod lan;
mod links;
mod security;
mod served;
mod two;

use std::net::{Ipv4Addr, SocketAddr};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use engine::{Config, LinkConfig, Node, Radios, StorageConfig};
use serde_json::Value;
use tower::ServiceExt;

use crate::{LanConfig, Web, WebConfig};

const HOST: &str = "127.0.0.1:7340";
const TOKEN: &str = "the-token-of-this-test";

/// A node that nobody else sees, and its HTTP side.
struct Bench {
    web: Web,
    node: Node,
    router: Router,
    _folder: tempfile::TempDir,
}

/// An answer, read whole.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }

    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The problem's kind, without the prefix.
    fn problem(&self) -> String {
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{}",
            self.body
        );
        let json = self.json();
        assert_eq!(json["status"], self.status.as_u16());
        assert!(!json["title"].as_str().unwrap().is_empty());
        assert!(!json["detail"].as_str().unwrap().is_empty());
        let kind = json["type"].as_str().unwrap();
        kind.strip_prefix("urn:waymeet:problem:")
            .unwrap()
            .to_owned()
    }
}

impl Bench {
    /// Before set-up.
    async fn fresh() -> Self {
        Self::on(StorageConfig::default()).await
    }

    /// Before set-up, on a disk that the test describes.
    async fn on(storage: StorageConfig) -> Self {
        let links = LinkConfig {
            bind: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
            radios: Radios::none(),
            ..LinkConfig::default()
        };
        Self::with(links, storage).await
    }

    /// The same with links that the test describes.
    async fn with(links: LinkConfig, storage: StorageConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            data_dir: folder.path().join("node"),
            links,
            storage,
        };
        let node = Node::start(config).await.unwrap();
        let config = WebConfig {
            api_token: TOKEN.to_owned(),
            hosts: vec!["pi.lan".to_owned()],
            port: 7340,
            lan: LanConfig::default(),
        };
        let web = Web::new(node.clone(), config).unwrap();
        let router = web.router();
        Self {
            web,
            node,
            router,
            _folder: folder,
        }
    }

    /// Ana's node.
    async fn ana() -> Self {
        let bench = Self::fresh().await;
        bench.node.set_up("Ana").await.unwrap();
        bench
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 64 * 1024 * 1024).await.unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    /// A call of the API with the token.
    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header(header::HOST, HOST)
            .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"));
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        self.send(request.body(body).unwrap()).await
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.call(Method::GET, path, None).await;
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.body);
        answer.json()
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let answer = self.call(Method::POST, path, Some(body)).await;
        assert_eq!(answer.status, 201, "POST {path}: {}", answer.body);
        answer.json()
    }

    /// Signs a browser in.
    async fn browser(&self) -> Browser<'_> {
        let link = self.web.sign_in_link("http://127.0.0.1:7340");
        let token = link.split_once("token=").unwrap().1.to_owned();
        let request = form_request("/sign-in")
            .body(form_body(&[("token", &token)]))
            .unwrap();
        let answer = self.send(request).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        let cookie = answer
            .header("set-cookie")
            .split(';')
            .next()
            .unwrap()
            .to_owned();
        let mut browser = Browser {
            bench: self,
            cookie,
            csrf: String::new(),
        };
        let page = browser.get("/settings").await;
        let page = if page.status == 303 {
            browser.get(page.header("location")).await
        } else {
            page
        };
        browser.csrf = page
            .body
            .split_once("name=\"csrf\" value=\"")
            .unwrap()
            .1
            .split('"')
            .next()
            .unwrap()
            .to_owned();
        browser
    }
}

fn form_body(fields: &[(&str, &str)]) -> Body {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(fields);
    Body::from(form.finish())
}

fn form_request(path: &str) -> axum::http::request::Builder {
    Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(header::HOST, HOST)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
}

/// A signed-in browser without JavaScript.
struct Browser<'a> {
    bench: &'a Bench,
    cookie: String,
    csrf: String,
}

impl Browser<'_> {
    fn request(&self, path: &str) -> axum::http::request::Builder {
        Request::builder()
            .uri(path)
            .header(header::HOST, HOST)
            .header(header::COOKIE, &self.cookie)
    }

    async fn get(&self, path: &str) -> Answer {
        let path = path.split('#').next().unwrap();
        let request = self.request(path).body(Body::empty()).unwrap();
        self.bench.send(request).await
    }

    /// A page that must be there.
    async fn page(&self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.body);
        assert_eq!(
            answer.header("content-type"),
            "text/html; charset=utf-8",
            "{path}"
        );
        answer.body
    }

    async fn submit(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut fields = fields.to_vec();
        fields.push(("csrf", &self.csrf));
        let request = self
            .request(path)
            .method(Method::POST)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ORIGIN, format!("http://{HOST}"))
            .header("sec-fetch-site", "same-origin")
            .body(form_body(&fields))
            .unwrap();
        self.bench.send(request).await
    }

    /// A form that must be accepted; gives where it leads.
    async fn change(&self, path: &str, fields: &[(&str, &str)]) -> String {
        let answer = self.submit(path, fields).await;
        assert_eq!(answer.status, 303, "POST {path}: {}", answer.body);
        let location = answer.header("location").to_owned();
        assert!(
            location.starts_with('/') && !location.starts_with("//"),
            "{location}"
        );
        location
    }
}

/// The routes of the dashboard as its sources name them: path, and whether it can be posted to.
fn page_routes() -> Vec<(String, bool, bool)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/pages");
    let mut routes = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let source = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for part in source.split(".route(").skip(1) {
            let call: String = part.split(";").next().unwrap().to_owned();
            let (path, methods) = call.split_once(',').unwrap();
            let methods = methods.split(".route(").next().unwrap();
            let path = match path.trim().trim_matches('"') {
                "PATH" => "/first-run",
                path => path,
            };
            let is = |method: &str| methods.contains(&format!("{method}("));
            routes.push((path.to_owned(), is("get"), is("post")));
        }
    }
    assert!(routes.len() > 40, "{routes:?}");
    routes
}

/// A path with some id in each place.
fn with_ids(path: &str) -> String {
    let id = "a".repeat(51) + "q";
    path.split('/')
        .map(|part| {
            if part.starts_with('{') {
                id.as_str()
            } else {
                part
            }
        })
        .collect::<Vec<_>>()
        .join("/")
}
