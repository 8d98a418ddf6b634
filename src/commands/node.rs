//! Set-up, and the search.

use serde_json::json;

use super::{Context, person};
use crate::{
    args::Paging,
    client::{escape, str_of},
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
