//! Contacts.

use serde_json::{Value, json};

use super::{Context, first_page, links, path};
use crate::{
    args::{Contacts, Paging},
    client::{is, str_of, u64_of},
    output::{Output, plain, time},
};

pub(super) fn run(cx: &Context<'_>, action: Option<Contacts>) -> anyhow::Result<()> {
    let action = action.unwrap_or_else(|| Contacts::List { page: first_page() });
    match action {
        Contacts::List { page } => list(cx, &page),
        Contacts::Show { contact } => {
            let contact = cx
                .client
                .get(&path("/contacts", &cx.contact(&contact)?, ""))?;
            cx.output.answer(&contact, show)
        }
        Contacts::Meet { contact } => {
            let at = path("/contacts", &cx.contact(&contact)?, "/meet");
            let contact = cx.client.post(&at, &json!({}))?;
            cx.done(&contact, |contact| {
                format!("connected with {}, {}", name(contact), links::path(contact))
            })
        }
        Contacts::Accept { contact } => {
            let at = path("/contacts", &cx.contact(&contact)?, "/accept");
            let contact = cx.client.post(&at, &json!({}))?;
            cx.done(&contact, |contact| {
                format!("{} is your contact now", name(contact))
            })
        }
        Contacts::Remove { contact } => {
            cx.client
                .delete(&path("/contacts", &cx.contact(&contact)?, ""))?;
            cx.gone("cut and forgotten")
        }
        Contacts::Nickname { contact, name } => change(cx, &contact, &json!({ "nickname": name })),
        Contacts::Trust { contact, mark } => change(cx, &contact, &json!({ "trust": mark.name() })),
        Contacts::Quota { contact, limit } => {
            change(cx, &contact, &json!({ "quota_bytes": limit }))
        }
        Contacts::At { contact, address } => {
            let at = path("/contacts", &cx.contact(&contact)?, "/addresses");
            let contact = cx.client.post(&at, &json!({ "address": address }))?;
            cx.done(&contact, |contact| {
                format!("{} is looked for at {address}", name(contact))
            })
        }
        Contacts::Words { contact } => {
            let words = cx
                .client
                .get(&path("/contacts", &cx.contact(&contact)?, "/words"))?;
            cx.done(&words, |words| {
                let words: Vec<_> = crate::client::items(words, "words")
                    .iter()
                    .filter_map(Value::as_str)
                    .collect();
                format!(
                    "{}\nthe other person's node shows the same words",
                    plain(&words.join(" "))
                )
            })
        }
    }
}

fn list(cx: &Context<'_>, page: &Paging) -> anyhow::Result<()> {
    let contacts = cx.client.page("/contacts", page)?;
    cx.list(
        &contacts,
        "no contacts: `waymeet invite` makes a link for one",
        |contact| {
            [
                str_of(contact, "id").to_owned(),
                name(contact),
                if is(quota(contact), "used_up") {
                    format!(
                        "{}, limit reached: `waymeet contacts show`",
                        presence(contact)
                    )
                } else {
                    presence(contact)
                },
                str_of(contact, "trust").to_owned(),
            ]
        },
    )
}

fn change(cx: &Context<'_>, contact: &str, patch: &Value) -> anyhow::Result<()> {
    let at = path("/contacts", &cx.contact(contact)?, "");
    let contact = cx.client.patch(&at, patch)?;
    cx.output.answer(&contact, show)
}

fn name(contact: &Value) -> String {
    let name = str_of(contact, "name");
    plain(&match str_of(contact, "nickname") {
        "" => name.to_owned(),
        nickname => format!("{nickname} ({name})"),
    })
}

fn presence(contact: &Value) -> String {
    match str_of(contact, "state") {
        "pending" => "waits for their answer".to_owned(),
        "asks" => "asks: `waymeet contacts accept`".to_owned(),
        _ if is(contact, "online") => {
            let behind = contact.get("behind").unwrap_or(&Value::Null);
            match u64_of(behind, "want") {
                0 => format!("online over {}", links::link(str_of(contact, "link"))),
                _ => format!(
                    "online over {}, {}",
                    links::link(str_of(contact, "link")),
                    links::to_come(behind)
                ),
            }
        }
        _ => match u64_of(contact, "last_met_ms") {
            0 => "not met yet".to_owned(),
            ms => format!("last met {}", time(ms)),
        },
    }
}

fn quota(contact: &Value) -> &Value {
    contact.get("quota").unwrap_or(&Value::Null)
}

/// Used and limit, and what to do where the one has reached the other.
fn room(quota: &Value) -> String {
    let mut text = format!(
        "{} of {} came in through them",
        size(u64_of(quota, "used_bytes")),
        size(u64_of(quota, "limit_bytes"))
    );
    if is(quota, "used_up") {
        text.push_str(": ");
        text.push_str(str_of(quota, "advice"));
        text.push_str(" (`waymeet contacts quota`)");
    }
    text
}

/// Bytes in the unit in which a limit is set.
pub(super) fn size(bytes: u64) -> String {
    let whole = bytes / (1 << 20);
    match bytes {
        0..0x10_0000 => format!("{} KiB", bytes.div_ceil(1 << 10)),
        _ if whole >= 10 * 1024 || whole.is_multiple_of(1024) => format!("{} GiB", whole / 1024),
        _ => format!("{whole} MiB"),
    }
}

fn show(output: Output, contact: &Value) -> anyhow::Result<()> {
    let behind = contact.get("behind").unwrap_or(&Value::Null);
    output.table(&[
        ["id".to_owned(), str_of(contact, "id").to_owned()],
        ["name".to_owned(), name(contact)],
        ["trust".to_owned(), str_of(contact, "trust").to_owned()],
        ["state".to_owned(), presence(contact)],
        ["path".to_owned(), links::path(contact)],
        [
            "common".to_owned(),
            format!(
                "{} entries held, {}",
                u64_of(behind, "have"),
                links::to_come(behind)
            ),
        ],
        ["disk".to_owned(), room(quota(contact))],
    ])
}
