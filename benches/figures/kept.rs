//! One kept connection to a dashboard, as a browser has it, timed from the request's first byte to
//! the answer's last.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::harness::Node;

/// A node answers from its disk; longer than this means that it hangs.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

pub(crate) struct Kept {
    stream: BufReader<TcpStream>,
    host: String,
    /// Sent with every request: the token, or the session's cookie.
    credential: String,
}

pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) took: Duration,
}

impl Page {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(found, _)| found == name)?;
        Some(value)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Kept {
    fn open(node: &Node, credential: String) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", node.port())).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(ANSWER_WITHIN)).unwrap();
        Self {
            stream: BufReader::new(stream),
            host: format!("127.0.0.1:{}", node.port()),
            credential,
        }
    }

    /// A tool's connection.
    pub(crate) fn api(node: &Node) -> Self {
        Self::open(node, format!("Authorization: Bearer {}\r\n", node.token()))
    }

    /// A browser's connection, signed in by a link as a person would be.
    pub(crate) fn browser(node: &Node) -> Self {
        let link = node.post("/sign-in-links", &serde_json::json!({}));
        let link = link["link"].as_str().unwrap();
        let (_, token) = link.split_once("token=").unwrap();
        let mut kept = Self::open(node, String::new());
        let form = format!("token={token}");
        let head = format!(
            "Origin: http://{}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
            kept.host,
            form.len()
        );
        let page = kept.exchange("POST", "/sign-in", &head, &form);
        let cookie = page
            .header("set-cookie")
            .and_then(|cookie| cookie.split(';').next())
            .unwrap_or_else(|| panic!("no session: {} {}", page.status, page.text()));
        kept.credential = format!("Cookie: {cookie}\r\n");
        kept
    }

    pub(crate) fn get(&mut self, path: &str) -> Page {
        self.exchange("GET", path, "", "")
    }

    pub(crate) fn post(&mut self, path: &str, body: &serde_json::Value) -> Page {
        let body = body.to_string();
        let head = format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        );
        self.exchange("POST", path, &head, &body)
    }

    fn exchange(&mut self, method: &str, path: &str, head: &str, body: &str) -> Page {
        let (host, credential) = (&self.host, &self.credential);
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{credential}{head}\r\n{body}");
        let began = Instant::now();
        self.stream.get_mut().write_all(request.as_bytes()).unwrap();
        let status_line = self.line();
        let status = status_line.split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line();
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut page = Page {
            status,
            headers,
            body: Vec::new(),
            took: Duration::ZERO,
        };
        page.body = match page.header("content-length") {
            Some(len) => self.bytes(len.parse().unwrap()),
            None => self.chunks(),
        };
        page.took = began.elapsed();
        page
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        assert!(line.ends_with('\n'), "the answer broke off: {line:?}");
        line.trim_end().to_owned()
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let len = usize::from_str_radix(&self.line(), 16).unwrap();
            body.extend(self.bytes(len));
            assert!(self.line().is_empty(), "a chunk ends with its line");
            if len == 0 {
                return body;
            }
        }
    }
}
