//! Introducing two contacts to each other, and answering an introduction.

use serde_json::{Value, json};

use super::{Context, path, person};
use crate::{
    args::Introduce,
    client::{is, str_of},
    output::plain,
};

pub(super) fn run(cx: &Context<'_>, introduce: &Introduce) -> anyhow::Result<()> {
    let answered = |id: &str, what: &str| {
        let at = path("/introductions", id, &format!("/{what}"));
        let answered = cx.client.post(&at, &json!({}))?;
        cx.done(&answered, state)
    };
    match (&introduce.accept, &introduce.decline, &introduce.people[..]) {
        (Some(id), ..) => answered(id, "accept"),
        (None, Some(id), _) => answered(id, "decline"),
        (None, None, [one, other]) => {
            let body = json!({
                "one": cx.contact(one)?,
                "other": cx.contact(other)?,
                "message": introduce.message,
            });
            let made = cx.client.post("/introductions", &body)?;
            cx.done(&made, |made| {
                format!(
                    "both are asked: {} and {}",
                    person(made, "one"),
                    person(made, "other")
                )
            })
        }
        (None, None, _) => {
            let all = cx.client.get("/introductions")?;
            cx.list(
                &all,
                "no introductions: `waymeet introduce ONE OTHER` makes one",
                |one| {
                    let who = if is(one, "made") {
                        format!("{} and {}", person(one, "one"), person(one, "other"))
                    } else {
                        format!("{}, by {}", person(one, "other"), person(one, "by"))
                    };
                    [
                        str_of(one, "id").to_owned(),
                        who,
                        state(one),
                        plain(str_of(one, "message")),
                    ]
                },
            )
        }
    }
}

fn state(one: &Value) -> String {
    match str_of(one, "state") {
        "asks" => "asks: `waymeet introduce --accept ID`",
        "waits" => "waits for an answer",
        "meets" => "both said yes: their nodes have to meet",
        "done" if is(one, "made") => "both said yes",
        "done" => "you are contacts",
        "declined" => "not now",
        _ => "expired",
    }
    .to_owned()
}
