//! The dashboard of a node as a phone on the same network sees it.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use data_encoding::BASE64;
use serde_json::{Value, json};

use super::{
    Host, Net,
    browser::{self, Browser},
    forged::{FLOOD_BYTES_MAX, LINES_MAX, flood, memory, warnings},
};
use crate::harness::{DEADLINE, Node};

const PASSWORD: &str = "correct horse battery";

/// Shows a node's dashboard at `ip`, and waits until it is there.
pub(super) fn show(node: &Node, ip: &str, more: Value) -> String {
    let mut change = json!({ "lan": true });
    if node.get("/dashboard")["password"]["on"] == false {
        change["password"] = json!(PASSWORD);
    }
    for (key, value) in more.as_object().unwrap() {
        change[key] = value.clone();
    }
    node.patch("/dashboard", &change);
    let tls = node.get("/dashboard")["tls"]["on"] == true;
    let scheme = if tls { "https" } else { "http" };
    let url = format!("{scheme}://{ip}:{}", node.port());
    node.until("the dashboard on the network", |node| {
        let urls = node.get("/dashboard")["urls"].clone();
        urls.as_array().unwrap().contains(&json!(url)).then_some(())
    });
    url
}

/// A browser without anything that shows a page.
struct Phone<'a> {
    host: &'a Host,
    at: SocketAddr,
    name: String,
    cookie: String,
}

struct Seen {
    status: u16,
    head: String,
    body: String,
}

impl<'a> Phone<'a> {
    fn new(host: &'a Host, url: &str) -> Self {
        let name = url.split_once("://").unwrap().1;
        Self {
            host,
            at: name.parse().unwrap(),
            name: name.to_owned(),
            cookie: String::new(),
        }
    }

    fn ask(&mut self, method: &str, path: &str, form: &str) -> Seen {
        let more = format!(
            "Cookie: {}\r\nContent-Type: application/x-www-form-urlencoded\r\n",
            self.cookie
        );
        self.send(method, path, &more, form)
    }

    /// A call of the API by somebody who has the token.
    fn call(&mut self, method: &str, path: &str, token: &str, body: &str) -> Seen {
        let more = format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\n");
        self.send(method, &format!("/api/v1{path}"), &more, body)
    }

    fn send(&mut self, method: &str, path: &str, more: &str, body: &str) -> Seen {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {name}\r\nOrigin: http://{name}\r\n{more}\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}",
            name = self.name,
            length = body.len(),
        );
        let at = self.at;
        let connect = || TcpStream::connect(at);
        let mut stream = self.host.place().inside(connect).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let head = head.to_ascii_lowercase();
        if let Some(set) = head.split("set-cookie: ").nth(1) {
            self.cookie = set.split(';').next().unwrap().to_owned();
        }
        Seen {
            status: head.split(' ').nth(1).unwrap_or("0").parse().unwrap(),
            body: body.to_owned(),
            head,
        }
    }

    fn get(&mut self, path: &str) -> Seen {
        self.ask("GET", path, "")
    }

    fn refuses_connections(&self) -> bool {
        let at = self.at;
        let connect = || TcpStream::connect_timeout(&at, DEADLINE);
        self.host.place().inside(connect).is_err()
    }
}

#[test]
fn a_phone_signs_in_by_a_code_once_or_by_the_password() {
    let Some(net) = Net::start(&[]) else { return };
    let home = net.switch();
    let host = net.host(&home, &["10.1.0.1/24"]);
    let phones = net.host(&home, &["10.1.0.2/24"]);
    let ana = host.node("Ana");
    ana.new_forum("Secret camp");
    let address = format!("http://10.1.0.1:{}", ana.port());
    let mut phone = Phone::new(&phones, &address);
    assert!(phone.refuses_connections(), "nobody switched it on");
    let url = show(&ana, "10.1.0.1", json!({}));
    assert_eq!(url, address);

    for path in ["/", "/forums", "/settings", "/api/v1/status", "/nowhere"] {
        let seen = phone.get(path);
        assert!(matches!(seen.status, 401 | 403), "{path}: {}", seen.status);
        assert!(!seen.body.contains("Secret") && !seen.body.contains("Ana"));
    }
    let mut foreign = Phone::new(&phones, &url);
    foreign.name = format!("rebound.example:{}", ana.port());
    assert_eq!(foreign.get("/").status, 403);
    foreign.name = format!("127.0.0.1:{}", ana.port());
    assert_eq!(foreign.get("/").status, 403);

    let code = ana.post("/sign-in-links", &json!({ "lan": true }))["link"].clone();
    let path = code.as_str().unwrap().strip_prefix(&url).unwrap();
    let token = path.split_once('?').unwrap().1;
    assert_eq!(phone.get(path).status, 200, "looking uses nothing up");
    assert_eq!(phone.ask("POST", "/sign-in", token).status, 303);
    assert!(phone.get("/forums").body.contains("Secret camp"));
    let mut second = Phone::new(&phones, &url);
    assert_eq!(second.ask("POST", "/sign-in", token).status, 401);
    assert_eq!(second.get("/forums").status, 401);

    let password = format!("password={}", PASSWORD.replace(' ', "+"));
    let mut slowed = false;
    for _ in 0..4 {
        let seen = second.ask("POST", "/sign-in", "password=wrong+horse");
        slowed |= seen.status == 429 && seen.head.contains("retry-after: ");
        assert!(matches!(seen.status, 401 | 429));
    }
    assert!(slowed);
    assert_eq!(second.ask("POST", "/sign-in", &password).status, 429);
    ana.until("the wait to be over", |_| {
        (second.ask("POST", "/sign-in", &password).status == 303).then_some(())
    });
    assert_eq!(second.get("/forums").status, 200);

    ana.patch("/dashboard", &json!({ "lan": false }));
    ana.until("the dashboard to leave the network", |_| {
        phone.refuses_connections().then_some(())
    });
}

/// Who reads along without TLS has the token, too, where the API is on the network.
#[test]
fn what_opens_a_door_wider_is_refused_over_the_network() {
    let Some(net) = Net::start(&[]) else { return };
    let home = net.switch();
    let host = net.host(&home, &["10.1.0.1/24"]);
    let phones = net.host(&home, &["10.1.0.2/24"]);
    for api in [false, true] {
        let settings = format!("[links]\ninternet = \"off\"\n[dashboard]\nlan_api = {api}\n");
        let ana = host.node_with("Ana", &settings);
        let url = show(&ana, "10.1.0.1", json!({}));
        let mut phone = Phone::new(&phones, &url);
        let token = ana.token().to_owned();
        let mut call =
            |method: &str, path: &str, body: &str| phone.call(method, path, &token, body).status;
        assert_eq!(call("GET", "/status", ""), if api { 200 } else { 403 });
        let before = ana.get("/dashboard");
        for change in [
            json!({ "lan": false }),
            json!({ "tls": true }),
            json!({ "local_name": true }),
            json!({ "password": "wrong horse battery" }),
        ] {
            let body = change.to_string();
            assert_eq!(call("PATCH", "/dashboard", &body), 403, "{change}");
        }
        for link in ["{}", r#"{"lan":true}"#] {
            assert_eq!(call("POST", "/sign-in-links", link), 403, "{link}");
        }
        assert_eq!(ana.get("/dashboard"), before);
        let password = format!("password={}", PASSWORD.replace(' ', "+"));
        assert_eq!(phone.ask("POST", "/sign-in", &password).status, 303);
    }
}

#[test]
fn the_dashboard_follows_the_addresses_and_is_nowhere_else() {
    let Some(net) = Net::start(&[]) else { return };
    let home = net.switch();
    let host = net.host(&home, &["10.1.0.1/24", "203.0.113.7/24"]);
    let phones = net.host(&home, &["10.1.0.2/24", "203.0.113.8/24"]);
    let ana = host.node("Ana");
    let url = show(&ana, "10.1.0.1", json!({}));
    assert_eq!(Phone::new(&phones, &url).get("/").status, 401);
    let public = format!("http://203.0.113.7:{}", ana.port());
    assert!(Phone::new(&phones, &public).refuses_connections());
    host.readdress(&["10.1.0.5/24"]);
    let moved = show(&ana, "10.1.0.5", json!({}));
    assert_eq!(Phone::new(&phones, &moved).get("/").status, 401);
}

#[test]
fn the_name_is_answered_only_where_it_is_wanted_and_the_second_gets_another() {
    let Some(net) = Net::start(&[]) else { return };
    let home = net.switch();
    let (host, other) = (
        net.host(&home, &["10.1.0.1/24"]),
        net.host(&home, &["10.1.0.2/24"]),
    );
    let (ana, ben) = (host.node("Ana"), other.node("Ben"));
    let capture = home.capture();
    show(&ana, "10.1.0.1", json!({}));
    let named = |node: &Node| {
        node.until("a name", |node| {
            let urls = node.get("/dashboard")["urls"].clone();
            let urls = urls.as_array().unwrap().iter();
            let mut names = urls.filter_map(|url| url.as_str()?.split(':').nth(1));
            names
                .find(|name| name.ends_with(".local"))
                .map(|name| name.trim_start_matches('/').to_owned())
        })
    };
    let tells = |packets: &[super::Packet]| {
        // What follows may stand elsewhere in the packet, and be pointed at.
        let name = b"\x07waymeet";
        let payloads = packets.iter().map(super::Packet::payload);
        payloads
            .filter(|payload| payload.windows(name.len()).any(|window| window == name))
            .count()
    };
    assert_eq!(tells(&capture.end()), 0, "nobody asked for it yet");
    let capture = home.capture();
    ana.patch("/dashboard", &json!({ "local_name": true }));
    assert_eq!(named(&ana), "waymeet.local");
    assert!(tells(&capture.end()) > 0);
    show(&ben, "10.1.0.2", json!({ "local_name": true }));
    assert_eq!(named(&ben), "waymeet-2.local");
}

/// Strangers announce ever more, and the library keeps what it hears: the name is given up above a
/// bound, and comes back.
#[test]
fn a_flood_costs_the_name_bounded_memory() {
    let Some(net) = Net::start(&[]) else { return };
    let home = net.switch();
    let host = net.host(&home, &["10.1.0.1/24"]);
    let eve = net.host(&home, &["10.1.0.66/24"]);
    eve.gateway("10.1.0.1");
    // Nothing else listens to multicast.
    let ana = host.node_with("Ana", "[links]\ninternet = \"off\"\nlan = false\n");
    let url = show(&ana, "10.1.0.1", json!({ "local_name": true }));
    let named = |node: &Node| {
        let urls = node.get("/dashboard")["urls"].to_string();
        urls.contains("//waymeet.local").then_some(())
    };
    ana.until("the name", named);
    let before = memory(&ana);
    // What names a service is kept by who looks for that, all else by everybody.
    flood(&eve, 7, false);
    let grown = memory(&ana).saturating_sub(before);
    eprintln!("a flood added {} kB", grown >> 10);
    assert!(grown <= FLOOD_BYTES_MAX, "{grown}");
    assert!(warnings(&ana) <= LINES_MAX, "{}", ana.log());
    ana.until("the name to rest", |ana| {
        let dashboard = ana.get("/dashboard");
        let trouble = dashboard["trouble"].as_str()?;
        trouble.contains("announces more").then_some(())
    });
    assert_eq!(
        Phone::new(&eve, &url).get("/").status,
        401,
        "the page stays"
    );
    ana.until("the name again", named);
    flood(&eve, 8, false);
    let grown = memory(&ana).saturating_sub(before);
    eprintln!("and a second one {} kB", grown >> 10);
    assert!(grown <= FLOOD_BYTES_MAX, "{grown}");
}

/// The hash of a certificate's key by which a browser can be told to trust it: its subject's public
/// key is the seventh part of what is signed (RFC 5280 section 4.1).
fn key_hash(certificate: &[u8]) -> String {
    /// The content of the first DER value, and where that value ends.
    fn value(der: &[u8]) -> (&[u8], usize) {
        let (length, head) = match der[1] {
            short @ ..=0x7f => (usize::from(short), 2),
            0x81 => (usize::from(der[2]), 3),
            0x82 => (usize::from(u16::from_be_bytes([der[2], der[3]])), 4),
            other => panic!("a length of {other:#x}"),
        };
        (&der[head..head + length], head + length)
    }
    let mut rest = value(value(certificate).0).0;
    for _ in 0..6 {
        rest = &rest[value(rest).1..];
    }
    let key = &rest[..value(rest).1];
    let provider = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let suite = provider.tls13().unwrap();
    BASE64.encode(suite.common.hash_provider.hash(key).as_ref())
}

/// A phone's browser reads a forum and answers in it; without encryption, then with it.
#[test]
fn a_browser_reads_and_posts_with_and_without_tls() {
    let Some(net) = Net::start(&[browser::PROGRAM]) else {
        return;
    };
    let home = net.switch();
    let host = net.host(&home, &["10.1.0.1/24"]);
    let phones = net.host(&home, &["10.1.0.2/24"]);
    let ana = host.node("Ana");
    let forum = ana.new_forum("Lake trip");
    let thread = ana.new_thread(&forum, "Saturday", "who comes?");
    for (tls, words) in [(false, "from a phone"), (true, "and under cover")] {
        let url = show(&ana, "10.1.0.1", json!({ "tls": tls }));
        let certificate = fs::read(ana.data_dir().join("dashboard-tls-certificate"));
        let key = tls.then(|| key_hash(&certificate.unwrap()));
        let mut browser = Browser::start(&phones, key.as_deref());
        browser.open(&format!("{url}/forums"));
        assert!(browser.text().contains("Password"));
        assert_eq!(browser.text().contains("isn't encrypted"), !tls);
        let code = ana.post("/sign-in-links", &json!({ "lan": true }));
        browser.open(code["link"].as_str().unwrap());
        // The page's script presses the button.
        browser.until("location.pathname === '/'");
        browser.settled();
        browser.open(&format!("{url}/forums"));
        browser.press(&format!("main a[href='/forums/{forum}']"));
        assert!(browser.text().contains("Saturday"));
        browser.press("main a.title");
        assert!(browser.text().contains("who comes?"));
        browser.fill("#reply-body", words);
        browser.press("#reply button");
        browser.until(&format!(
            "document.body.innerText.includes({})",
            json!(words)
        ));
        assert!(ana.texts(&thread).contains(&words.to_owned()));
        assert_eq!(
            browser.value("document.cookie"),
            "",
            "no script sees the cookie"
        );
    }
    let sessions = ana.list("/sessions");
    let places: Vec<&Value> = sessions.iter().map(|session| &session["place"]).collect();
    assert_eq!(places, ["lan_tls", "lan"]);
}
