//! No secret reaches a log, at any level of talkativeness, nor standard output after the start.

use std::fs;

use data_encoding::{BASE32_NOPAD, BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use serde_json::json;

use crate::harness::{Node, befriend, connected, contains, files_below, hand_on};

/// Letters of an encoded key: 16 bytes in base64 are 22.
const LETTERS_MIN: usize = 22;
/// Bytes of a secret that count as giving it away.
const BYTES_MIN: usize = 16;
/// A file of keys is small; the database is looked at for other things.
const KEY_FILE_BYTES_MAX: usize = 4_096;

#[test]
fn a_talkative_log_tells_no_secret() {
    let (mut ana, mut ben) = (Node::verbose("Ana"), Node::verbose("Ben"));
    let link = ana.invite();
    ben.post("/contacts/join", &json!({ "link": link }));
    connected(&ana, &ben);
    let many = ana.post("/invites", &json!({ "uses": 2 }));
    let cem = Node::named("Cem");
    cem.post("/contacts/join", &json!({ "link": many["link"] }));
    let cem_id = cem.id();
    ana.until("Cem to ask", |ana| ana.contact(&cem_id));
    ana.post(&format!("/contacts/{cem_id}/accept"), &json!({}));
    connected(&ana, &cem);

    let forum = ana.new_forum("Xylophone circle");
    hand_on(&ana, &ben, &forum);
    ben.receives(&ana.new_thread(&forum, "Zymurgical title", "brobdingnagian body"));
    ben.receives(&ana.send(&ben.id(), "quixotically private"));
    let sign_in = ana.post("/sign-in-links", &json!({}))["link"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = sign_in.strip_prefix(ana.url()).unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\r\n",
        ana.port()
    );
    crate::harness::raw(&ana, request.as_bytes());
    ana.call("GET", "/search?q=quixotically", None);
    ana.cli_with_input(&["password", "--stdin"], "gargantuan secret\n");
    // A wrong token and a broken body are somebody's near miss, and no less secret.
    let near_miss = format!("{}Q", &ana.token()[..ana.token().len() - 1]);
    let request = format!(
        "GET /api/v1/status HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nAuthorization: Bearer {near_miss}\r\nConnection: close\r\n\r\n",
        ana.port()
    );
    crate::harness::raw(&ana, request.as_bytes());
    ana.call(
        "POST",
        "/contacts/join",
        Some(&json!({ "link": format!("{link}x") })),
    );
    ana.stop();
    ben.stop();

    let mut words = vec![near_miss, path.split('=').next_back().unwrap().to_owned()];
    for text in [
        "Xylophone",
        "Zymurgical",
        "brobdingnagian",
        "quixotically",
        "gargantuan",
        "argon2id",
    ] {
        words.push(text.to_owned());
    }
    for link in [link.as_str(), many["link"].as_str().unwrap()] {
        let body = link
            .strip_prefix("waymeet:")
            .unwrap()
            .trim_start_matches('/');
        // Wherever in the link the secret stands, some of these pieces lie within it.
        words.extend(
            body.as_bytes()
                .chunks(24)
                .filter(|piece| piece.len() == 24)
                .map(|piece| String::from_utf8(piece.to_vec()).unwrap()),
        );
    }
    for node in [&ana, &ben] {
        let log = node.log();
        assert!(
            log.len() > 500,
            "the log must be talkative for this test to mean something"
        );
        for word in &words {
            assert!(!log.contains(word.as_str()), "{word:?} stands in the log");
        }
        for (path, secret) in key_files(node) {
            for found in byte_strings(&log) {
                assert!(
                    !shares_bytes(&secret, &found),
                    "bytes of {} stand in the log",
                    path.display()
                );
            }
            let text = String::from_utf8_lossy(&secret);
            let text = text.trim();
            assert!(
                text.len() < LETTERS_MIN || !log.contains(text),
                "{} stands in the log",
                path.display()
            );
        }
    }
}

#[test]
fn the_disk_keeps_no_token_but_in_its_own_file() {
    let (mut ana, ben) = (Node::named("Ana"), Node::named("Ben"));
    befriend(&ana, &ben);
    let token = ana.token().to_owned();
    ana.stop();
    for (path, bytes) in files_below(&ana.data_dir()) {
        let own = path.file_name().is_some_and(|name| name == "api-token");
        assert_eq!(
            contains(&bytes, token.as_bytes()),
            own,
            "{}",
            path.display()
        );
    }
    let stdout = fs::read_to_string(ana.data_dir().join("dashboard-url")).unwrap_or_default()
        + &ana.stdout();
    assert!(!stdout.contains(&token));
}

/// Small files that hold keys: all but those that are meant to be read.
fn key_files(node: &Node) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let files: Vec<_> = files_below(&node.data_dir())
        .into_iter()
        .filter(|(path, bytes)| {
            let name = path.file_name().unwrap().to_str().unwrap();
            bytes.len() <= KEY_FILE_BYTES_MAX
                && !matches!(name, "dashboard-url" | "lock" | "waymeet.toml")
        })
        .collect();
    assert!(!files.is_empty());
    files
}

/// Whether both have a run of bytes in common that is long enough to be a secret.
fn shares_bytes(secret: &[u8], found: &[u8]) -> bool {
    found.windows(BYTES_MIN).any(|window| {
        secret
            .windows(BYTES_MIN)
            .any(|of_secret| of_secret == window)
    })
}

/// Everything in a text that could be bytes: hex, base32, base64 and printed lists of numbers.
fn byte_strings(log: &str) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '_' | '-');
    for token in log
        .split(|c| !is_letter(c))
        .filter(|token| token.len() >= LETTERS_MIN)
    {
        found.extend(HEXLOWER_PERMISSIVE.decode(token.as_bytes()).ok());
        found.extend(
            BASE32_NOPAD
                .decode(token.to_ascii_uppercase().as_bytes())
                .ok(),
        );
        found.extend(BASE64_NOPAD.decode(token.as_bytes()).ok());
        found.extend(BASE64URL_NOPAD.decode(token.as_bytes()).ok());
    }
    for list in log.split(|c: char| !(c.is_ascii_digit() || c == ',' || c == ' ')) {
        let bytes: Vec<u8> = list
            .split(',')
            .filter_map(|number| number.trim().parse().ok())
            .collect();
        if bytes.len() >= BYTES_MIN {
            found.push(bytes);
        }
    }
    found
}

#[test]
fn the_search_for_secrets_finds_them() {
    let secret: Vec<u8> = (100..132).collect();
    for text in [
        format!("key={}", HEXLOWER_PERMISSIVE.encode(&secret)),
        format!("key {}", BASE32_NOPAD.encode(&secret).to_lowercase()),
        format!("\"{}\"", BASE64URL_NOPAD.encode(&secret)),
        format!("SecretKey({secret:?})"),
    ] {
        assert!(
            byte_strings(&text)
                .iter()
                .any(|found| shares_bytes(&secret, found)),
            "{text}"
        );
    }
    assert!(
        byte_strings("nothing here, 1, 2, 3")
            .iter()
            .all(|found| !shares_bytes(&secret, found))
    );
}
