//! Markdown of strangers: what comes out is harmless, of a bounded size, and ready in bounded time.
//!
//! An input is the text itself, or behind a first byte 0xff (which no text has) a size and pieces
//! with how often each is repeated, so that short inputs become long texts.

use proto::limits::TEXT_BYTES_MAX;
use rustix::time::{ClockId, clock_gettime};

use crate::{harmless::assert_harmless, script::Script};

/// Bytes of HTML for one text at most: a megabyte of the parser's, of which the sanitiser writes
/// none longer than twelve times.
const HTML_BYTES_MAX: usize = 12 * 1024 * 1024;
/// Seconds of this thread's own time that the longest text may take in a build without optimisation.
/// What a clock on the wall says depends on who else is at work.
const SECONDS_MAX: f64 = 5.0;

/// Renders a text.
///
/// # Panics
/// Where the HTML could do harm, or took too long.
pub fn run(input: &[u8]) {
    let text = text(input);
    let begin = seconds();
    let html = web::fuzz::render(&text);
    let words = web::fuzz::plain_text(&text);
    let took = seconds() - begin;
    assert!(took < SECONDS_MAX, "{took} s for {} bytes", text.len());
    assert!(html.len() <= HTML_BYTES_MAX, "{} bytes", html.len());
    assert!(words.len() <= 4 * text.len() + 4 * 600);
    assert_harmless(&html);
    let begin: String = text.chars().take(200).collect();
    assert!(
        web::fuzz::clean(&html) == html,
        "cleaning twice changes {begin:?}"
    );
}

fn seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn text(input: &[u8]) -> String {
    let Some((0xff, pieces)) = input.split_first() else {
        return String::from_utf8_lossy(input).into_owned();
    };
    let mut script = Script::new(pieces);
    let mut text = String::new();
    let size = TEXT_BYTES_MAX >> (script.byte() % 8);
    while !script.is_empty() && text.len() < size {
        let count = 1 + usize::from(script.short());
        let piece = String::from_utf8_lossy(script.blob()).into_owned();
        let room = size - text.len();
        text.push_str(&piece.repeat(count.min(room.checked_div(piece.len()).unwrap_or(0))));
    }
    text
}

/// Pieces repeated as often as fits: 2 KiB in most, since a fuzzer wants many.
fn repeated(at: usize, pieces: &[&str]) -> Vec<u8> {
    let mut seed = vec![0xff, if at.is_multiple_of(8) { 0 } else { 5 }];
    for piece in pieces {
        let count = TEXT_BYTES_MAX / pieces.len() / piece.len();
        seed.extend_from_slice(&(count.saturating_sub(1) as u16).to_be_bytes());
        seed.push(piece.len() as u8);
        seed.extend_from_slice(piece.as_bytes());
    }
    seed
}

/// Ordinary, hostile and heavy texts.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        "a *b* **c** ~~d~~ `e`\n\n# One\n\n> quoted\n\n3. three\n4. four\n\n- [x] done\n- [ ] open",
        "<https://a.example/?x=1&y> www.a.example a@a.example ![a](https://b.example/c.png \"t\")",
        "| a | b |\n|:--|--:|\n| 1 | *2* |\n\n```rust\nlet a = 1 < 2;\n```\n\n    code\n\n---\n",
        "[x](javascript:alert(1)) [y](//evil.example) [z](&#106;avascript:alert(1)) [![b](c)](https://d.example)",
        "<script>alert(1)</script><svg/onload=alert(1)>&lt;img src=x onerror=alert(1)&gt;",
        "[x](ftp://a.example) <ftp://b.example> [y](file:///c) <xmpp:d@e.example> [z](tel:1)",
        "- [ ] \n-\n- [x]\n  > a\n1. [ ]\n\n   b\n",
        "[a]: https://a.example 'title'\n[a] [b][a] [^1]\n\n[^1]: note\n",
        "[x](https://a.example '\"><b onclick=alert(1)>') \\<p\\> &nbsp;&amp;&quot;\u{202e}\u{200b}\0",
    ];
    let heavy: [&[&str]; 16] = [
        &["> "],
        &["- ", "a"],
        &["[", "](a)"],
        &["![", "](a)"],
        &["*a **b ", "* **"],
        &["[a](", ")"],
        &["|a", "\n", "|-", "\n|"],
        &["`", "a``"],
        &["<a ", "<!--"],
        &["[a]: b\n", "[a] "],
        &["http://a.b/(", "www."],
        &["\u{202e}a\u{200b}", "\u{fe0f}"],
        &["- a\n  ", "1. b\n"],
        &["~~a", "~~ ~"],
        &["&#x", "&amp"],
        &["a@b.", "mailto:"],
    ];
    let texts = texts.iter().map(|text| text.as_bytes().to_vec());
    texts
        .chain(
            heavy
                .into_iter()
                .enumerate()
                .map(|(at, pieces)| repeated(at, pieces)),
        )
        .collect()
}
