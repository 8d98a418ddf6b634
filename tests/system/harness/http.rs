//! The API as a tool uses it, and raw bytes for what no tool would send.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
};

use serde_json::Value;
use ureq::{Agent, http};

use super::{DEADLINE, Events, Node};

/// An answer of the API.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) body: Value,
}

impl Answer {
    /// The last part of a problem document's type.
    pub(crate) fn problem(&self) -> &str {
        assert_eq!(self.content_type, "application/problem+json", "{self:?}");
        assert_eq!(self.body["status"], self.status, "{self:?}");
        assert!(!self.body["title"].as_str().unwrap().is_empty(), "{self:?}");
        let kind = self.body["type"].as_str().unwrap();
        kind.rsplit([':', '/']).next().unwrap()
    }

    /// The fields that a 422 complains about.
    pub(crate) fn fields(&self) -> Vec<&str> {
        self.body["errors"]
            .as_array()
            .map(|errors| {
                errors
                    .iter()
                    .map(|error| error["field"].as_str().unwrap())
                    .collect()
            })
            .unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        self.body
    }
}

pub(crate) struct Client {
    agent: Agent,
    url: String,
    token: String,
}

impl Default for Client {
    fn default() -> Self {
        Self::new("http://127.0.0.1:1", "none")
    }
}

impl Client {
    pub(crate) fn new(url: &str, token: &str) -> Self {
        let agent = Agent::new_with_config(
            Agent::config_builder()
                // A node may close a connection after an answer that left the request unread.
                .max_idle_connections(0)
                .http_status_as_error(false)
                .max_redirects(0)
                .proxy(None)
                .timeout_connect(Some(DEADLINE))
                .timeout_recv_response(Some(DEADLINE))
                .build(),
        );
        Self {
            agent,
            url: url.to_owned(),
            token: token.to_owned(),
        }
    }
}

impl Node {
    /// `http://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> &str {
        &self.http.url
    }

    pub(crate) fn port(&self) -> u16 {
        self.url().rsplit(':').next().unwrap().parse().unwrap()
    }

    pub(crate) fn token(&self) -> &str {
        &self.http.token
    }

    /// Any call; the answer whatever its status. A path outside the API begins with `//`.
    #[track_caller]
    pub(crate) fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        self.try_call(method, path, body).unwrap_or_else(|error| {
            panic!("{method} {path}: {error}");
        })
    }

    /// The same where the node may be dying.
    pub(crate) fn try_call(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, ureq::Error> {
        let url = match path.strip_prefix("//") {
            Some(rest) => format!("{}/{rest}", self.http.url),
            None => format!("{}/api/v1{path}", self.http.url),
        };
        let request = http::Request::builder()
            .method(method)
            .uri(url)
            .header("authorization", format!("Bearer {}", self.http.token));
        let mut response = match body {
            Some(body) => {
                let request = request
                    .header("content-type", "application/json")
                    .body(body.to_string())?;
                self.place.inside(|| self.http.agent.run(request))?
            }
            None => {
                let request = request.body(())?;
                self.place.inside(|| self.http.agent.run(request))?
            }
        };
        let content_type = response
            .headers()
            .get("content-type")
            .map(|value| value.to_str().unwrap().to_owned())
            .unwrap_or_default();
        let text = response
            .body_mut()
            .with_config()
            .limit(64 * 1024 * 1024)
            .read_to_string()?;
        Ok(Answer {
            status: response.status().as_u16(),
            body: serde_json::from_str(&text).unwrap_or(if text.is_empty() {
                Value::Null
            } else {
                Value::String(text)
            }),
            content_type,
        })
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Value {
        self.call("GET", path, None).expect(200)
    }

    /// Creates something, or changes something by POST.
    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: &Value) -> Value {
        let answer = self.call("POST", path, Some(body));
        assert!(
            (200..300).contains(&answer.status),
            "POST {path} {body}: {answer:?}"
        );
        answer.body
    }

    #[track_caller]
    pub(crate) fn patch(&self, path: &str, body: &Value) -> Value {
        self.call("PATCH", path, Some(body)).expect(200)
    }

    #[track_caller]
    pub(crate) fn delete(&self, path: &str) {
        let answer = self.call("DELETE", path, None);
        assert!(
            matches!(answer.status, 200 | 204),
            "DELETE {path}: {answer:?}"
        );
    }

    /// All items of a list, over all its pages.
    #[track_caller]
    pub(crate) fn list(&self, path: &str) -> Vec<Value> {
        const PAGES_MAX: usize = 1_000;
        let mark = if path.contains('?') { '&' } else { '?' };
        let mut items = Vec::new();
        let mut next = String::new();
        for _ in 0..PAGES_MAX {
            let page = self.get(&format!("{path}{mark}limit=500{next}"));
            items.extend(page["items"].as_array().unwrap().iter().cloned());
            match page["next"].as_str() {
                Some(cursor) => next = format!("&cursor={cursor}"),
                None => return items,
            }
        }
        panic!("{path} has no end");
    }

    /// The event stream, from now on or after an id.
    pub(crate) fn events(&self, after: Option<&str>) -> Events {
        let mut request = self
            .http
            .agent
            .get(format!("{}/api/v1/events", self.http.url))
            .header("authorization", format!("Bearer {}", self.http.token));
        if let Some(id) = after {
            request = request.header("last-event-id", id);
        }
        let response = self.place.inside(|| request.call()).unwrap();
        assert_eq!(response.status().as_u16(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Events::read(response.into_body().into_reader())
    }
}

/// What came back for raw bytes.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Sends bytes to a node's dashboard as they are and reads until it closes.
pub(crate) fn raw(node: &Node, bytes: &[u8]) -> Raw {
    exchange(node, bytes, false)
}

/// The same for bytes that may leave the other side waiting for more: says that no more come.
pub(crate) fn raw_and_end(node: &Node, bytes: &[u8]) -> Raw {
    exchange(node, bytes, true)
}

fn exchange(node: &Node, bytes: &[u8], end: bool) -> Raw {
    let connect = || TcpStream::connect(("127.0.0.1", node.port()));
    let mut stream = node.place.inside(connect).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    // A refusal may come, and the stream end, before all is written.
    drop(stream.write_all(bytes));
    if end {
        drop(stream.shutdown(Shutdown::Write));
    }
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    Raw {
        status: head
            .split_ascii_whitespace()
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or_default(),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}
