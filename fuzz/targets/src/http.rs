//! Requests to a running node, as a browser, a tool or a stranger sends them.
//!
//! An input is a few requests to pages and calls, with ids that there are and others, texts and
//! cursors of any kind. No request may panic or fail for the node's own reasons, every answer bears
//! the headers that keep a page from doing harm, and what people write never stands in a page as
//! markup. The node lives on a temporary folder and meets nobody: what would dial or listen
//! elsewhere isn't asked for.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Mutex, PoisonError},
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode, Uri, header, request::Builder},
};
use data_encoding::BASE64URL_NOPAD;
use engine::{Config, LinkConfig, Node};
use tokio::runtime::Runtime;
use tower::ServiceExt as _;
use web::{LanConfig, Web, WebConfig};

use crate::script::Script;

const HOST: &str = "127.0.0.1:7340";
const TOKEN: &str = "the-token-of-the-fuzzer";
/// Requests of one input.
const REQUESTS_MAX: usize = 6;
/// Ids that are remembered to be asked for.
const IDS_MAX: usize = 48;
/// Inputs before the node is thrown away, so that its folder stays small.
const INPUTS_MAX: u32 = 4_000;
/// What stands in texts and must never come out as it is.
const EVIL: &str = "<x-evil>\"'&";

/// Calls of the API; `@` stands for an id or another text.
const CALLS: [&str; 37] = [
    "/status",
    "/setup",
    "/identity",
    "/links",
    "/news",
    "/search",
    "/invites",
    "/invites/@",
    "/contacts",
    "/contacts/@",
    "/contacts/@/words",
    "/contacts/@/accept",
    "/conversations",
    "/conversations/@",
    "/conversations/@/read",
    "/forums",
    "/forums/@",
    "/forums/@/threads",
    "/threads/@",
    "/threads/@/replies",
    "/threads/@/read",
    "/spaces/@/members",
    "/spaces/@/offers",
    "/spaces/@/read",
    "/offers",
    "/offers/@/accept",
    "/blogs",
    "/blogs/@",
    "/blogs/@/articles",
    "/blog/articles",
    "/articles/@",
    "/articles/@/comments",
    "/articles/@/reblog",
    "/entries/@",
    "/entries/@/history",
    "/entries/read",
    "/entries/@/reactions/@",
];

/// Pages and forms of the dashboard.
const PAGES: [&str; 32] = [
    "/",
    "/forums",
    "/forums/@",
    "/forums/@/new",
    "/forums/@/threads",
    "/threads/@",
    "/threads/@/replies",
    "/articles/@",
    "/articles/@/comments",
    "/articles/@/reblog",
    "/blogs",
    "/blogs/@",
    "/blog/new",
    "/messages",
    "/messages/@",
    "/contacts",
    "/contacts/@",
    "/contacts/@/nickname",
    "/contacts/add",
    "/invites",
    "/invites/@",
    "/invites/@/qr.svg",
    "/entries/@",
    "/entries/@/edit",
    "/entries/@/history",
    "/entries/@/retract",
    "/entries/@/reactions",
    "/spaces/@/members",
    "/spaces/@/offers",
    "/search",
    "/settings",
    "/settings/name",
];

/// A node with a forum and a blog, and a browser that is signed in.
struct Bench {
    runtime: Runtime,
    node: Node,
    router: Router,
    cookie: String,
    csrf: String,
    ids: Vec<String>,
    inputs: u32,
    _folder: tempfile::TempDir,
}

static BENCH: Mutex<Option<Bench>> = Mutex::new(None);

/// Sends requests.
///
/// # Panics
/// Where an answer isn't one that a request may get.
pub fn run(input: &[u8]) {
    let mut slot = BENCH.lock().unwrap_or_else(PoisonError::into_inner);
    if slot
        .as_ref()
        .is_some_and(|bench| bench.inputs >= INPUTS_MAX)
        && let Some(old) = slot.take()
    {
        old.runtime.block_on(old.node.shutdown());
    }
    let bench = slot.get_or_insert_with(Bench::new);
    bench.inputs += 1;
    let mut script = Script::new(input);
    for _ in 0..REQUESTS_MAX {
        if script.is_empty() {
            break;
        }
        bench.request(&mut script);
    }
}

impl Bench {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            data_dir: folder.path().join("node"),
            links: LinkConfig {
                bind: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
                radios: engine::Radios::none(),
                ..LinkConfig::default()
            },
            storage: engine::StorageConfig::default(),
        };
        let node = runtime.block_on(async {
            let node = Node::start(config).await.unwrap();
            node.set_up("Ana").await.unwrap();
            node
        });
        let config = WebConfig {
            api_token: TOKEN.to_owned(),
            hosts: vec![],
            port: 7340,
            lan: LanConfig::default(),
        };
        let web = Web::new(node.clone(), config).unwrap();
        let link = web.sign_in_link(&format!("http://{HOST}"));
        let mut bench = Self {
            router: web.router(),
            runtime,
            node,
            cookie: String::new(),
            csrf: String::new(),
            ids: Vec::new(),
            inputs: 0,
            _folder: folder,
        };
        bench.sign_in(&link);
        bench.furnish();
        bench
    }

    fn sign_in(&mut self, link: &str) {
        let (_, token) = link.split_once("token=").unwrap();
        let form = form_to("/sign-in").body(Body::from(format!("token={token}")));
        let (_, headers, _) = self.send(form.unwrap());
        let cookie = headers[header::SET_COOKIE].to_str().unwrap();
        self.cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        let request = get("/settings").header(header::COOKIE, &self.cookie);
        let (_, _, page) = self.send(request.body(Body::empty()).unwrap());
        let (_, rest) = page.split_once("name=\"csrf\" value=\"").unwrap();
        self.csrf = rest.split('"').next().unwrap_or_default().to_owned();
    }

    fn furnish(&mut self) {
        let forum = self.make("/forums", r#"{"name": "Camp", "description": "Tents"}"#);
        let thread = format!("/forums/{forum}/threads");
        let thread = self.make(&thread, r#"{"title": "Rain", "body": "It *rains*."}"#);
        self.make(
            &format!("/threads/{thread}/replies"),
            r#"{"body": "> so it does"}"#,
        );
        self.make(
            "/blog/articles",
            r#"{"title": "Tents", "body": "They leak.", "tags": ["rain"]}"#,
        );
        self.make("/invites", "{}");
    }

    fn make(&mut self, path: &str, json: &str) -> String {
        let request = get(&format!("/api/v1{path}"))
            .method(Method::POST)
            .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(json.to_owned()));
        let (status, _, body) = self.send(request.unwrap());
        assert_eq!(status, StatusCode::CREATED, "{path}: {body}");
        self.remember(&body);
        id_in(&body).unwrap_or_default()
    }

    fn remember(&mut self, body: &str) {
        if let Some(id) = id_in(body)
            && self.ids.len() < IDS_MAX
        {
            self.ids.push(id);
        }
    }

    fn send(&self, request: Request<Body>) -> (StatusCode, HeaderMap, String) {
        self.runtime.block_on(async {
            let response = self.router.clone().oneshot(request).await.unwrap();
            let (parts, body) = response.into_parts();
            let bytes = axum::body::to_bytes(body, 64 << 20).await.unwrap();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            (parts.status, parts.headers, text)
        })
    }

    fn request(&mut self, script: &mut Script<'_>) {
        let what = script.byte();
        let for_tool = what & 1 == 0;
        let path = if for_tool {
            format!("/api/v1{}", CALLS[script.below(CALLS.len())])
        } else {
            PAGES[script.below(PAGES.len())].to_owned()
        };
        let path = self.fill_in(script, &path);
        let query = self.query(script);
        let Ok(uri) = format!("{path}{query}").parse::<Uri>() else {
            return;
        };
        let method = match (for_tool, script.byte() % 8) {
            (true, 0..=2) | (false, 3..) => Method::POST,
            (true, 3) => Method::PATCH,
            (true, 4) => Method::DELETE,
            (true, 5) => Method::PUT,
            _ => Method::GET,
        };
        // Which links there are decides whether anything leaves this machine.
        if method != Method::GET && uri.path().ends_with("/links") {
            return;
        }
        let mut request = Request::builder()
            .method(method.clone())
            .uri(uri)
            .header(header::HOST, HOST);
        let body = if method == Method::GET {
            Vec::new()
        } else if for_tool {
            request = request.header(header::CONTENT_TYPE, "application/json");
            self.json(script)
        } else {
            request = request
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .header(header::ORIGIN, format!("http://{HOST}"));
            self.form(script)
        };
        request = match (for_tool, what >> 1 & 15) {
            (_, 15) => request,
            (true, _) => request.header(header::AUTHORIZATION, format!("Bearer {TOKEN}")),
            (false, _) => request.header(header::COOKIE, &self.cookie),
        };
        if let Ok(request) = request.body(Body::from(body)) {
            let (status, headers, body) = self.send(request);
            check(&format!("{method} {path}{query}"), status, &headers, &body);
            if status == StatusCode::CREATED {
                self.remember(&body);
            }
        }
    }

    /// An id that there is, one that there isn't, or any text as a part of a path.
    fn word(&self, script: &mut Script<'_>) -> String {
        match script.byte() {
            255 => escaped(script.blob()),
            254 => "a".repeat(52),
            n => self
                .ids
                .get(usize::from(n) % self.ids.len().max(1))
                .cloned()
                .unwrap_or_default(),
        }
    }

    fn fill_in(&self, script: &mut Script<'_>, path: &str) -> String {
        let mut filled = String::new();
        for (at, part) in path.split('@').enumerate() {
            if at > 0 {
                filled.push_str(&self.word(script));
            }
            filled.push_str(part);
        }
        filled
    }

    fn query(&self, script: &mut Script<'_>) -> String {
        match script.byte() {
            0..=127 => String::new(),
            128..=159 => format!("?limit={}", script.short()),
            160..=199 => {
                // A cursor as the node makes them, to a place of the script's choice.
                let place = script.blob();
                let mut check = [0; 4];
                let mut hasher = blake3::Hasher::new_derive_key("waymeet 1 cursor");
                hasher.update(place).finalize_xof().fill(&mut check);
                let cursor = BASE64URL_NOPAD.encode(&[place, &check].concat());
                format!(
                    "?cursor={cursor}&limit={}&q=rain",
                    1 + u16::from(script.byte())
                )
            }
            200..=229 => format!("?q={}&limit=5", escaped(script.blob())),
            230..=239 => format!("?at={}&parent={}", self.word(script), self.word(script)),
            _ => format!("?{}", escaped(script.blob())),
        }
    }

    /// A text of the script's, which often tries to be markup.
    fn text(script: &mut Script<'_>) -> String {
        let what = script.byte();
        let text = String::from_utf8_lossy(script.blob()).into_owned();
        match what % 4 {
            0 => format!("{EVIL} {text}"),
            1 => text.repeat(1 + usize::from(what) * 4),
            _ => text,
        }
    }

    fn json(&self, script: &mut Script<'_>) -> Vec<u8> {
        let names = [
            "title",
            "body",
            "name",
            "description",
            "parent",
            "nickname",
            "note",
            "trust",
            "uses",
            "expires_in_s",
            "contact",
            "article",
            "quota_bytes",
        ];
        match script.byte() {
            0..=15 => return script.blob().to_vec(),
            16..=31 => return Vec::new(),
            _ => {}
        }
        let mut fields = Vec::new();
        let chosen = script.short();
        for (bit, name) in names.iter().enumerate() {
            if chosen >> bit & 1 == 1 {
                let value = match (*name, script.byte()) {
                    ("uses" | "expires_in_s" | "quota_bytes", n) => {
                        format!("{}", u32::from(n) * 40)
                    }
                    ("parent" | "contact" | "article", 0..=250) => quoted(&self.word(script)),
                    (_, 255) => "null".to_owned(),
                    _ => quoted(&Self::text(script)),
                };
                fields.push(format!("{}: {value}", quoted(name)));
            }
        }
        if chosen >> 13 & 1 == 1 {
            let tags: Vec<String> = (0..script.byte() % 20)
                .map(|_| quoted(&Self::text(script)))
                .collect();
            fields.push(format!("\"tags\": [{}]", tags.join(", ")));
        }
        if chosen >> 14 & 1 == 1 {
            let ids: Vec<String> = (0..script.byte())
                .map(|_| quoted(&self.word(script)))
                .collect();
            fields.push(format!("\"ids\": [{}]", ids.join(", ")));
        }
        format!("{{{}}}", fields.join(", ")).into_bytes()
    }

    fn form(&self, script: &mut Script<'_>) -> Vec<u8> {
        let names = [
            "title",
            "body",
            "name",
            "description",
            "parent",
            "nickname",
            "note",
            "tags",
            "emoji",
            "contact",
            "id",
            "give",
            "take",
            "quota",
            "trust",
            "kept",
        ];
        let mut form = if script.byte() == 255 {
            "csrf=x".to_owned()
        } else {
            format!("csrf={}", self.csrf)
        };
        let chosen = script.short();
        for (bit, name) in names.iter().enumerate() {
            if chosen >> bit & 1 == 1 {
                let value = match *name {
                    "parent" | "contact" | "id" => self.word(script),
                    _ => escaped(Self::text(script).as_bytes()),
                };
                form.push_str(&format!("&{name}={value}"));
            }
        }
        form.into_bytes()
    }
}

fn get(path: &str) -> Builder {
    Request::builder().uri(path).header(header::HOST, HOST)
}

fn form_to(path: &str) -> Builder {
    get(path)
        .method(Method::POST)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
}

/// The first id in an answer.
fn id_in(body: &str) -> Option<String> {
    let (_, rest) = body.split_once("\"id\":\"")?;
    rest.split('"').next().map(str::to_owned)
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Percent-encoded, but for letters and digits.
fn escaped(bytes: &[u8]) -> String {
    let mut out = String::new();
    for byte in bytes {
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(*byte));
        } else {
            out.push_str(&format!("%{byte:02x}"));
        }
    }
    out
}

fn check(what: &str, status: StatusCode, headers: &HeaderMap, body: &str) {
    assert!(!status.is_server_error(), "{what}: {status} {body}");
    let header = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    assert!(
        header("content-security-policy").starts_with("default-src 'none'"),
        "{what}"
    );
    assert_eq!(header("x-content-type-options"), "nosniff", "{what}");
    let kind = header("content-type");
    if kind.starts_with("text/html") {
        assert!(
            body.ends_with("</html>") || body.trim_end().ends_with("</html>"),
            "{what}"
        );
        assert!(
            !body.contains("<x-evil"),
            "{what}: somebody's text is markup"
        );
    } else if !body.is_empty() && kind.contains("json") {
        assert!(
            body.starts_with('{') && body.ends_with('}'),
            "{what}: {body}"
        );
    }
    if status == StatusCode::SEE_OTHER {
        let to = header("location");
        assert!(
            to.starts_with('/') && !to.starts_with("//"),
            "{what} leads to {to}"
        );
    }
}

/// A request to each call and each page.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for call in 0..CALLS.len() as u8 {
        for id in 0..3 {
            // Read it, write to it with every text, change it.
            seeds.push(
                [
                    &[0, call, id, 0, 7][..],
                    &[
                        0, call, id, 0, 0, 99, 0x20, 0x03, 1, 0, 3, b'a', b'*', b'b', 1, 0, 2,
                        b'h', b'i', 1, 1, 1, b't',
                    ],
                    &[
                        0, call, id, 0, 3, 99, 0, 3, 1, 0, 2, b'h', b'i', 1, 2, 1, b'x',
                    ],
                ]
                .concat(),
            );
        }
    }
    for page in 0..PAGES.len() as u8 {
        for id in 0..3 {
            seeds.push(
                [
                    &[1, page, id, 0, 0][..],
                    &[
                        1, page, id, 0, 5, 1, 0, 0x83, 0, 3, b'a', b'*', b'b', 0, 2, b'h', b'i', 2,
                        1, b't',
                    ],
                    &[1, page, id, 205, 3, b'r', b'a', b'i', 0],
                ]
                .concat(),
            );
        }
    }
    seeds
}
