//! What a browser would see in a text that claims to be harmless: read here once more, by rules of
//! its own, stricter than a browser's.

/// What a text may consist of, and which of it has no end.
const TAGS: [(&str, bool); 23] = [
    ("a", false),
    ("blockquote", false),
    ("br", true),
    ("code", false),
    ("del", false),
    ("em", false),
    ("h3", false),
    ("h4", false),
    ("h5", false),
    ("h6", false),
    ("hr", true),
    ("li", false),
    ("ol", false),
    ("p", false),
    ("pre", false),
    ("strong", false),
    ("table", false),
    ("tbody", false),
    ("td", false),
    ("th", false),
    ("thead", false),
    ("tr", false),
    ("ul", false),
];

/// Reads a fragment of HTML: every tag known and closed, every attribute known, every address of
/// another place, nothing that needs a forgiving reader.
///
/// # Panics
/// Where anything else is found.
pub(crate) fn assert_harmless(html: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = html;
    while let Some((text, after)) = rest.split_once('<') {
        assert_text(text);
        let (tag, after) = after
            .split_once('>')
            .unwrap_or_else(|| panic!("a tag without an end: {after:?}"));
        if let Some(name) = tag.strip_prefix('/') {
            let last = open.pop();
            assert_eq!(last, Some(name), "an end that nothing began");
        } else {
            let name = tag.split(' ').next().unwrap_or_default();
            let known = TAGS.iter().find(|(known, _)| *known == name);
            let Some((_, empty)) = known else {
                panic!("the tag {tag:?}");
            };
            // The sanitiser's parser closes what a browser would: links don't stand in links.
            assert!(name != "a" || !open.contains(&"a"), "a link in a link");
            assert_attributes(name, &tag[name.len()..]);
            if !empty {
                open.push(name);
            }
        }
        rest = after;
    }
    assert_text(rest);
    assert!(open.is_empty(), "never closed: {open:?}");
}

/// No character that begins markup, and every reference a plain one.
fn assert_text(text: &str) {
    assert!(!text.contains(['>', '\0']), "{text:?}");
    decode(text);
}

fn assert_attributes(tag: &str, attributes: &str) {
    let mut rest = attributes;
    while !rest.is_empty() {
        let pair = rest
            .strip_prefix(' ')
            .and_then(|rest| rest.split_once("=\""))
            .unwrap_or_else(|| panic!("{rest:?}"));
        let (value, after) = pair.1.split_once('"').unwrap_or_else(|| panic!("{rest:?}"));
        let value = decode(value);
        match (tag, pair.0) {
            ("a", "href") => assert_address(&value),
            ("a", "title") => {}
            ("a", "rel") => assert_eq!(value, "noopener noreferrer nofollow"),
            ("ol", "start") => assert!(value.bytes().all(|byte| byte.is_ascii_digit())),
            ("td" | "th", "align") => assert!(["left", "center", "right"].contains(&&*value)),
            other => panic!("{other:?}"),
        }
        rest = after;
    }
    assert!(tag != "a" || !attributes.contains("href") || attributes.contains(" rel="));
}

/// An address that leads elsewhere and runs nothing. A browser drops tabs, line ends and white
/// space around an address before it looks for the scheme.
fn assert_address(address: &str) {
    let seen: String = address
        .trim_matches(|c: char| c <= ' ')
        .chars()
        .filter(|c| !matches!(c, '\t' | '\n' | '\r'))
        .collect();
    let scheme = seen.split(':').next().unwrap_or_default();
    let scheme = scheme.to_ascii_lowercase();
    assert!(
        ["http", "https", "mailto"].contains(&&*scheme) && seen.len() > scheme.len(),
        "the address {address:?}"
    );
}

/// The text behind character references; only those are known that a serialiser writes.
fn decode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let (name, after) = after
            .split_once(';')
            .unwrap_or_else(|| panic!("a reference without an end: {after:?}"));
        out.push(match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "nbsp" => '\u{a0}',
            other => panic!("the reference {other:?}"),
        });
        rest = after;
    }
    out.push_str(rest);
    out
}
