//! What a browser or a tool sends: JSON bodies, forms, queries, and the headers that say whom they
//! think they are talking to.
//!
//! The first byte says what the rest is.

use engine::{EntryId, SpaceId};

use crate::script::Script;

const PORT: u16 = 7340;

/// Reads the rest as what the first byte says.
///
/// # Panics
/// Where something is understood that shouldn't be.
pub fn run(input: &[u8]) {
    let Some((what, bytes)) = input.split_first() else {
        return;
    };
    match what % 6 {
        0 => json(bytes),
        1 => form(bytes),
        2 => page(&String::from_utf8_lossy(bytes)),
        3 => host(&mut Script::new(bytes)),
        4 => origin(&String::from_utf8_lossy(bytes)),
        _ => ids(&String::from_utf8_lossy(bytes)),
    }
}

/// Only an object is taken, and only a whole one.
fn json(bytes: &[u8]) {
    let taken = web::fuzz::json(bytes);
    if taken > 0 {
        let text = std::str::from_utf8(bytes).map(str::trim_ascii);
        let text = text.unwrap_or_else(|error| panic!("{error}"));
        assert!(text.starts_with('{') && text.ends_with('}'), "{text:?}");
        let cut = text.trim_end_matches('}');
        assert_eq!(web::fuzz::json(cut.as_bytes()), 0, "half of {text:?}");
        assert_eq!(web::fuzz::json(format!("[{text}]").as_bytes()), 0);
        assert_eq!(web::fuzz::json(format!("{text}{text}").as_bytes()), 0);
    }
}

fn form(bytes: &[u8]) {
    let Some((first, all)) = web::fuzz::form(bytes, "a") else {
        return;
    };
    let pairs = bytes.split(|byte| *byte == b'&').count();
    assert!(all.len() <= pairs.min(600));
    let expected = all.first().map(|value| value.replace("\r\n", "\n"));
    assert_eq!(first, expected.unwrap_or_default());
    let size: usize = all.iter().map(String::len).sum();
    assert!(
        size <= 3 * bytes.len(),
        "a form grew from {} to {size}",
        bytes.len()
    );
}

fn page(uri: &str) {
    if let Some(limit) = web::fuzz::page(uri) {
        assert!((1..=500).contains(&limit), "{uri}");
    }
}

/// A name is taken only if it is one of ours, with a port that is ours or stands in the settings.
fn host(script: &mut Script<'_>) {
    let extra: Vec<String> = match script.byte() % 4 {
        0 => vec![],
        1 => vec!["pi.lan".into()],
        2 => vec!["Box:8080".into(), "pi.lan".into()],
        _ => vec![String::from_utf8_lossy(script.blob()).into_owned()],
    };
    let uri = match script.byte() % 3 {
        0 => "/".to_owned(),
        1 => "http://localhost:7340/x".to_owned(),
        _ => String::from_utf8_lossy(script.blob()).into_owned(),
    };
    let name = script.rest();
    let Some(host) = web::fuzz::host(PORT, &extra, name, &uri) else {
        return;
    };
    let ours = ["localhost:7340", "127.0.0.1:7340", "[::1]:7340"];
    let listed = extra.iter().map(|name| name.trim().to_ascii_lowercase());
    let allowed = listed
        .filter(|name| !name.is_empty())
        .any(|name| host == name || host == format!("{name}:{PORT}"));
    assert!(ours.contains(&&*host) || allowed, "{host:?} with {extra:?}");
    assert!(
        name.eq_ignore_ascii_case(host.as_bytes()),
        "{name:?} became {host:?}"
    );
}

/// An origin is ours only as `http://` or `https://` and the whole host.
fn origin(text: &str) {
    let (origin, host) = text.split_once('\n').unwrap_or((text, "localhost:7340"));
    if web::fuzz::is_same_origin(origin, host) {
        assert_eq!(origin.split_once("://").map(|(_, rest)| rest), Some(host));
    }
}

/// An id is understood in one form only, but for case.
fn ids(text: &str) {
    if let Ok(id) = text.parse::<EntryId>() {
        assert_eq!(id.to_string(), text.to_ascii_lowercase());
        assert_eq!(text.parse(), Ok(SpaceId(id.0)));
    }
}

/// Requests of each kind.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let bodies = [
        "",
        "{}",
        r#"{"title": "On tents", "body": "They *leak*.", "tags": ["camp", "rain"]}"#,
        r#"{"article": "aaaa", "note": "Read this"}"#,
        r#"{"nickname": "Ben", "trust": "verified"}"#,
        r#"{"uses": 1, "expires_in_s": 3600, "note": "for Ben"}"#,
        r#"{"link": "waymeet:aaaa"}"#,
        r#"{"ids": ["aaaa", "bbbb"]}"#,
        r#"{"name": "Camp", "description": "Bikes and tents"}"#,
        r#"{"contact": "aaaa"}"#,
        r#"{"body": "Mine \u00e9\ud83d\ude00 does", "parent": null}"#,
        r#"{"internet": "relay"}"#,
        r#"{"name": "a", "name": "b"}"#,
        r#"{"name": {"a": [[[[1e400]]]]}}"#,
        r#" ["a"] "#,
    ];
    let forms = ["a=b&a=c%0d%0a&csrf=x", "a=%ff", "a", "&&a=+%2B", "a=%c3%a9"];
    let pages = [
        "/x?limit=500&cursor=a%20b",
        "/?limit=0",
        "?q=%00",
        "/x?limit=1&limit=2",
    ];
    let hosts: [&[u8]; 6] = [
        b"\0\0localhost:7340",
        b"\x01\0pi.lan",
        b"\x02\0box:8080",
        b"\0\x01LOCALHOST:7340",
        b"\x03\x03[a]\0[a]:7340",
        b"\0\x02\x01/[::1]:7340",
    ];
    let origins = ["http://localhost:7340", "null", "https://a\na", "http://\n"];
    let ids = ["a".repeat(52), EntryId([0xa7; 32]).to_string()];
    let texts = |what: u8, texts: &[&str]| -> Vec<Vec<u8>> {
        let texts = texts.iter();
        texts
            .map(|text| [&[what], text.as_bytes()].concat())
            .collect()
    };
    [
        texts(0, &bodies),
        texts(1, &forms),
        texts(2, &pages),
        hosts.map(|host| [&[3], host].concat()).to_vec(),
        texts(4, &origins),
        texts(5, &[&ids[0], &ids[1]]),
    ]
    .concat()
}
