//! Invites: making, listing, withdrawing and using them.

use serde_json::{Map, Value, json};

use super::{Context, path, text};
use crate::{
    args::{Invite, InviteAction},
    client::{is, str_of, u64_of},
    output::{plain, time},
};

pub(super) fn run(cx: &Context<'_>, invite: Invite) -> anyhow::Result<()> {
    match invite.action {
        None => make(cx, &invite),
        Some(InviteAction::List) => {
            let invites = cx.client.get("/invites")?;
            cx.list(
                &invites,
                "no invites: `waymeet invite` makes one",
                |invite| {
                    [
                        str_of(invite, "id").to_owned(),
                        format!(
                            "used {} of {}",
                            u64_of(invite, "used"),
                            u64_of(invite, "uses")
                        ),
                        format!("until {}", time(u64_of(invite, "expires_ms"))),
                        if is(invite, "tried_again") {
                            "tried again after its last use!"
                        } else {
                            ""
                        }
                        .to_owned(),
                        str_of(invite, "note").to_owned(),
                    ]
                },
            )
        }
        Some(InviteAction::Delete { id }) => {
            cx.client.delete(&path("/invites", &id, ""))?;
            cx.gone("withdrawn: nobody can use its link any more")
        }
    }
}

fn make(cx: &Context<'_>, invite: &Invite) -> anyhow::Result<()> {
    let mut body = Map::new();
    if let Some(uses) = invite.uses {
        body.insert("uses".to_owned(), uses.into());
    }
    if let Some(seconds) = invite.expires_in {
        body.insert("expires_in_s".to_owned(), seconds.into());
    }
    if let Some(note) = &invite.note {
        body.insert("note".to_owned(), note.as_str().into());
    }
    let made = cx.client.post("/invites", &Value::Object(body))?;
    cx.output.answer(&made, |output, made| {
        output.line(plain(str_of(made, "link")))?;
        output.line(format_args!(
            "good until {}; give it to the person and to nobody else",
            time(u64_of(made, "expires_ms"))
        ))?;
        if is(made, "local_only") {
            output.line("the internet link is off: it works on this network only")?;
        }
        Ok(())
    })
}

pub(super) fn join(cx: &Context<'_>, link: &str) -> anyhow::Result<()> {
    let link = text(Some(link))?;
    let contact = cx
        .client
        .post("/contacts/join", &json!({ "link": link.trim() }))?;
    cx.done(&contact, |contact| match str_of(contact, "state") {
        "ready" => format!("{} is your contact now", plain(str_of(contact, "name"))),
        _ => "asked; `waymeet contacts` shows when they have answered".to_owned(),
    })
}
