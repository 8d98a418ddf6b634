//! Private messages.

use serde_json::{Value, json};

use super::{Context, first_page, path, person, text, topic, unread};
use crate::{
    args::{Messages, Paging},
    client::{str_of, u64_of},
    output::{plain, time},
};

pub(super) fn run(cx: &Context<'_>, action: Option<Messages>) -> anyhow::Result<()> {
    let action = action.unwrap_or_else(|| Messages::List { page: first_page() });
    match action {
        Messages::List { page } => {
            let conversations = cx.client.page("/conversations", &page)?;
            cx.list(
                &conversations,
                "no conversations: `waymeet messages send` begins one",
                |conversation| {
                    let last = match u64_of(conversation, "last_activity_ms") {
                        0 => String::new(),
                        ms => time(ms),
                    };
                    [person(conversation, "contact"), last, unread(conversation)]
                },
            )
        }
        Messages::Read { contact, page } => read(cx, &contact, &page),
        Messages::Send { contact, body } => {
            let at = path("/conversations", &cx.contact(&contact)?, "");
            let body = text(body.as_deref())?;
            let message = cx.client.post(&at, &json!({ "body": body }))?;
            cx.done(&message, |message| {
                format!(
                    "{} [{}]",
                    plain(str_of(message, "state")),
                    str_of(message, "id")
                )
            })
        }
    }
}

/// The newest page; a cursor leads to older ones.
fn read(cx: &Context<'_>, contact: &str, page: &Paging) -> anyhow::Result<()> {
    let end = if page.cursor.is_none() {
        "?from=end"
    } else {
        ""
    };
    let at = path("/conversations", &cx.contact(contact)?, end);
    let messages = cx.client.page(&at, page)?;
    cx.output.answer(&messages, |output, messages| {
        if let Some(cursor) = messages.get("previous").and_then(Value::as_str) {
            output.line(format_args!("there is older: --cursor {}", plain(cursor)))?;
        }
        topic::posts(output, messages)
    })
}
