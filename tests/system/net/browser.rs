//! Chromium on a host of the network, driven by its DevTools protocol: what a person at a phone does.
//!
//! The protocol is JSON over a WebSocket (RFC 6455); the little that is needed of that is here. The
//! browser listens on loopback of its own host only. Enter at [`Browser::start`].

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::Host;
use crate::harness::{DEADLINE, wait_for};

/// Where distributions put it.
pub(super) const PROGRAM: &str = "chromium";
/// Bytes of one message; a page's text is far shorter.
const MESSAGE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// One page of a browser with a profile of its own; gone when dropped.
pub(super) struct Browser {
    child: Child,
    socket: BufReader<TcpStream>,
    calls: u64,
    _profile: TempDir,
}

impl Browser {
    /// Starts a browser on a host. It takes certificates whose key has this hash (SHA-256, base64).
    pub(super) fn start(host: &Host, trusted_key: Option<&str>) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new(PROGRAM);
        command
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--no-proxy-server",
                "--window-size=390,844",
                "--remote-debugging-port=0",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .env("HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        if let Some(key) = trusted_key {
            command.arg(format!("--ignore-certificate-errors-spki-list={key}"));
        }
        let mut child = host.place().inside(|| command.spawn()).unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        let port: u16 = said
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                let rest = line.split_once("ws://127.0.0.1:")?.1;
                rest.split('/').next()?.parse().ok()
            })
            .expect("the browser says where it listens");
        // It goes on talking; a full pipe would stop it.
        std::thread::spawn(move || said.for_each(drop));
        let page = new_page(host, port);
        let mut browser = Self {
            child,
            socket: open_socket(host, port, &page),
            calls: 0,
            _profile: profile,
        };
        browser.call("Page.enable", json!({}));
        browser
    }

    /// Goes to an address and waits until the page is there.
    #[track_caller]
    pub(super) fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({ "url": url }));
        self.settled();
    }

    /// Waits until a page is there as a whole.
    #[track_caller]
    pub(super) fn settled(&mut self) {
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'");
    }

    /// The value of an expression in the page.
    #[track_caller]
    pub(super) fn value(&mut self, expression: &str) -> Value {
        let answer = self.call(
            "Runtime.evaluate",
            json!({ "expression": expression, "returnByValue": true }),
        );
        answer["result"]["value"].clone()
    }

    /// Everything that can be read on the page.
    #[track_caller]
    pub(super) fn text(&mut self) -> String {
        let text = self.value("document.body.innerText");
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub(super) fn until(&mut self, expression: &str) {
        let seen = wait_for(expression, DEADLINE, || {
            (self.value(expression) == true).then_some(())
        });
        if let Err(text) = seen {
            let page = self.text();
            panic!("{text}; the page says:\n{page}");
        }
    }

    /// Types into a field.
    #[track_caller]
    pub(super) fn fill(&mut self, field: &str, text: &str) {
        let script = format!(
            "(() => {{ const f = document.querySelector({}); f.value = {}; return true }})()",
            json!(field),
            json!(text)
        );
        assert_eq!(self.value(&script), true, "{field}");
    }

    /// Presses a button or follows a link, and waits for the page behind it.
    #[track_caller]
    pub(super) fn press(&mut self, button: &str) {
        // What is pressed goes with its page.
        let script = format!(
            "(() => {{ document.documentElement.dataset.old = '1'; \
             document.querySelector({}).click(); return true }})()",
            json!(button)
        );
        assert_eq!(self.value(&script), true, "{button}");
        self.until("document.documentElement.dataset.old === undefined");
        self.settled();
    }

    /// One call of the protocol; while a page gives way to the next there may be no answer of use.
    #[track_caller]
    fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let call = json!({ "id": self.calls, "method": method, "params": params });
        write_message(self.socket.get_mut(), &call.to_string());
        loop {
            let message: Value = serde_json::from_str(&read_message(&mut self.socket)).unwrap();
            if message["id"] == self.calls {
                return message["result"].clone();
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn connect(host: &Host, port: u16) -> TcpStream {
    let connect = || TcpStream::connect(("127.0.0.1", port));
    let stream = host.place().inside(connect).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// The path of a new page's socket.
fn new_page(host: &Host, port: u16) -> String {
    let mut stream = connect(host, port);
    let request = format!(
        "PUT /json/new?about:blank HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    // The browser keeps the connection open whatever it is told.
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line == "\r\n" {
            break;
        }
        let line = line.to_ascii_lowercase();
        if let Some(text) = line.strip_prefix("content-length:") {
            length = text.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let page: Value = serde_json::from_slice(&body).unwrap();
    let url = page["webSocketDebuggerUrl"].as_str().unwrap();
    let rest = url.strip_prefix("ws://").unwrap();
    rest[rest.find('/').unwrap()..].to_owned()
}

fn open_socket(host: &Host, port: u16, path: &str) -> BufReader<TcpStream> {
    let mut stream = connect(host, port);
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.contains("101"), "{line}");
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).unwrap();
    }
    reader
}

/// A text in one frame, under a mask of zeros: a client has to mask.
fn write_message(stream: &mut TcpStream, text: &str) {
    let mut frame = vec![0x81];
    match text.len() {
        short @ 0..126 => frame.push(0x80 | short as u8),
        long @ 126..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend((long as u16).to_be_bytes());
        }
        longer => {
            frame.push(0x80 | 127);
            frame.extend((longer as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    stream.write_all(&frame).unwrap();
}

fn read_message(stream: &mut BufReader<TcpStream>) -> String {
    let mut message = Vec::new();
    loop {
        let mut head = [0; 2];
        stream.read_exact(&mut head).unwrap();
        let length = match head[1] & 0x7f {
            126 => {
                let mut bytes = [0; 2];
                stream.read_exact(&mut bytes).unwrap();
                u16::from_be_bytes(bytes).into()
            }
            127 => {
                let mut bytes = [0; 8];
                stream.read_exact(&mut bytes).unwrap();
                u64::from_be_bytes(bytes)
            }
            short => short.into(),
        };
        assert!(length <= MESSAGE_BYTES_MAX);
        let mut part = vec![0; length as usize];
        stream.read_exact(&mut part).unwrap();
        message.extend(part);
        if head[0] & 0x80 != 0 {
            return String::from_utf8(message).unwrap();
        }
    }
}
