//! Private messages.

use serde_json::{Value, json};

use super::{Context, first_page, path, person, text, topic, unread};
use crate::{
    args::{Messages, Paging, Switch},
    client::{str_of, u64_of},
    output::{length, plain, time},
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
        Messages::Keep {
            contact,
            disappear,
            receipts,
        } => keep(cx, &contact, disappear, receipts),
        Messages::Delete { message } => {
            let deleted = cx.client.delete(&path("/entries", &message, "/here"))?;
            cx.done(&deleted, |_| "deleted on this node".to_owned())
        }
    }
}

/// How a conversation is kept, after a change if there is one.
fn keep(
    cx: &Context<'_>,
    contact: &str,
    lifetime_s: Option<u64>,
    receipts: Option<Switch>,
) -> anyhow::Result<()> {
    let at = path("/conversations", &cx.contact(contact)?, "");
    let mut change = serde_json::Map::new();
    if let Some(lifetime_s) = lifetime_s {
        change.insert("lifetime_s".to_owned(), json!(lifetime_s));
    }
    if let Some(receipts) = receipts {
        change.insert("receipts".to_owned(), json!(receipts == Switch::On));
    }
    let kept = if change.is_empty() {
        cx.client.get(&format!("{at}?limit=1"))?
    } else {
        cx.client.patch(&at, &Value::Object(change))?
    };
    cx.done(&kept, |kept| {
        let stay = match kept
            .pointer("/disappearing/lifetime_s")
            .and_then(Value::as_u64)
        {
            None | Some(0) => "messages stay".to_owned(),
            Some(seconds) => format!(
                "messages disappear {} after they were read",
                length(seconds)
            ),
        };
        let wants = |who: &str| {
            let wish = kept.pointer(&format!("/receipts/{who}"));
            wish.and_then(Value::as_bool).unwrap_or_default()
        };
        let told = match (wants("ours"), wants("theirs")) {
            (true, true) => "you tell each other when they are read",
            (true, false) => {
                "you would tell each other when they are read, if the other wanted it too"
            }
            (false, true) => "the other person would like to tell each other when they are read",
            (false, false) => "nobody tells when they are read",
        };
        format!("{stay}; {told}")
    })
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
