//! Set-up, the dashboard's link, the node's state, and the search.

use serde_json::{Value, json};

use super::{Context, person};
use crate::{
    args::Paging,
    browser,
    client::{escape, is, items, str_of, u64_of},
    output::{Output, plain},
};

pub(super) fn set_up(cx: &Context<'_>, name: &str) -> anyhow::Result<()> {
    let status = cx.client.post("/setup", &json!({ "name": name }))?;
    cx.done(&status, |status| {
        format!(
            "this node is {} now; `waymeet invite` makes a link for your first contact",
            person(status, "identity")
        )
    })
}

pub(super) fn open(cx: &Context<'_>) -> anyhow::Result<()> {
    let answer = cx.client.post("/sign-in-links", &json!({}))?;
    if cx.open_browser && !cx.output.is_json() && browser::wanted() {
        browser::open(str_of(&answer, "link"));
    }
    cx.done(&answer, |answer| {
        format!(
            "this link signs you in, once: {}",
            plain(str_of(answer, "link"))
        )
    })
}

pub(super) fn status(cx: &Context<'_>) -> anyhow::Result<()> {
    let status = cx.client.get("/status")?;
    cx.output.answer(&status, show_status)
}

fn show_status(output: Output, status: &Value) -> anyhow::Result<()> {
    let who = match status.get("identity") {
        None | Some(Value::Null) => "not set up yet: `waymeet setup NAME`".to_owned(),
        Some(identity) => format!("{} ({})", str_of(identity, "name"), str_of(identity, "id")),
    };
    let counts = status.get("counts").unwrap_or(&Value::Null);
    let count = |key| u64_of(counts, key);
    let mut rows = vec![
        ["version".to_owned(), str_of(status, "version").to_owned()],
        ["identity".to_owned(), who],
        [
            "contacts".to_owned(),
            format!("{}, {} online", count("contacts"), count("online")),
        ],
        [
            "held".to_owned(),
            format!(
                "{} entries in {} spaces, {} unread",
                count("entries"),
                count("spaces"),
                count("unread")
            ),
        ],
        [
            "on disk".to_owned(),
            format!("{} KiB", count("disk_bytes").div_ceil(1_024)),
        ],
    ];
    if let Some(advice) = status.pointer("/disk/advice").and_then(Value::as_str) {
        rows.push(["disk".to_owned(), advice.to_owned()]);
    }
    for link in items(status, "links") {
        let on = if is(link, "on") { "on" } else { "off" };
        rows.push([
            format!("link {}", str_of(link, "kind")),
            format!("{on}, {}", str_of(link, "state")),
        ]);
    }
    output.table(&rows)
}

pub(super) fn search(cx: &Context<'_>, text: &str, page: &Paging) -> anyhow::Result<()> {
    let found = cx
        .client
        .page(&format!("/search?q={}", escape(text)), page)?;
    cx.list(&found, "nothing found", |hit| {
        [
            str_of(hit, "id").to_owned(),
            person(hit, "author"),
            str_of(hit, "space_name").to_owned(),
            str_of(hit, "topic_title").to_owned(),
            str_of(hit, "excerpt").replace('\n', " "),
        ]
    })
}
