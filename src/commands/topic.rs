//! Lists of threads and articles, and one of them with its posts.

use serde_json::Value;

use super::{Context, more, person, unread};
use crate::{
    client::{is, items, str_of, u64_of},
    output::{Output, length, plain, time},
};

/// A page of threads or articles.
pub(super) fn list(cx: &Context<'_>, page: &Value, empty: &str) -> anyhow::Result<()> {
    cx.list(page, empty, |topic| {
        [
            str_of(topic, "id").to_owned(),
            title(topic),
            person(topic, "author"),
            format!(
                "{} answers",
                u64_of(topic, "replies") + u64_of(topic, "comments")
            ),
            unread(topic),
        ]
    })
}

/// A thread or an article with one page of its posts.
pub(super) fn show(output: Output, topic: &Value) -> anyhow::Result<()> {
    output.line(plain(&title(topic)))?;
    posts(output, topic)
}

/// A page of posts or messages.
pub(super) fn posts(output: Output, page: &Value) -> anyhow::Result<()> {
    for post in items(page, "items") {
        output.line("")?;
        post_head(output, post)?;
        let body = match () {
            () if is(post, "retracted") => "(taken back by its author)",
            () if is(post, "missing") => "(its text hasn't arrived yet)",
            () => str_of(post, "body"),
        };
        match post.get("setting") {
            Some(setting) => output.line(setting_line(setting))?,
            None => output.text(body)?,
        }
    }
    more(output, page)
}

fn post_head(output: Output, post: &Value) -> anyhow::Result<()> {
    let mut head = format!(
        "{}, {}",
        person(post, "author"),
        time(u64_of(post, "created_ms"))
    );
    if is(post, "edited") {
        head.push_str(", edited");
    }
    if is(post, "unread") {
        head.push_str(", unread");
    }
    match str_of(post, "state") {
        "" => {}
        state => head.push_str(&format!(", {}", plain(state))),
    }
    match (u64_of(post, "expires_ms"), u64_of(post, "lifetime_s")) {
        (0, 0) => {}
        (0, seconds) => head.push_str(&format!(
            ", disappears {} after it was read",
            length(seconds)
        )),
        (at, _) => head.push_str(&format!(", disappears {}", time(at))),
    }
    head.push_str(&format!("  [{}]", plain(str_of(post, "id"))));
    output.line(head)
}

/// What a line of a conversation says of how it is kept.
fn setting_line(setting: &Value) -> String {
    let mut said = Vec::new();
    match setting.get("lifetime_s").and_then(Value::as_u64) {
        None => {}
        Some(0) => said.push("messages stay from here on".to_owned()),
        Some(seconds) => said.push(format!(
            "messages disappear {} after they were read",
            length(seconds)
        )),
    }
    match setting.get("receipts").and_then(Value::as_bool) {
        None => {}
        Some(true) => said.push("would tell when messages are read".to_owned()),
        Some(false) => said.push("doesn't tell when messages are read".to_owned()),
    }
    format!("({})", said.join("; "))
}

fn title(topic: &Value) -> String {
    match str_of(topic, "title") {
        "" if is(topic, "retracted") => "(taken back)".to_owned(),
        "" => "(its beginning hasn't arrived yet)".to_owned(),
        title => title.to_owned(),
    }
}
