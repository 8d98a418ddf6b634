//! Messages that friends carry.

use serde_json::json;

use super::{Context, contacts::size, path};
use crate::{
    args::Letters,
    client::{str_of, u64_of},
    output::plain,
};

pub(super) fn run(cx: &Context<'_>, letters: &Letters) -> anyhow::Result<()> {
    if letters.forget_keys {
        let done = cx.client.post("/letters/forget", &json!({}))?;
        return cx.done(&done, |_| {
            "the keys of opened messages are forgotten".to_owned()
        });
    }
    if let Some(id) = &letters.again {
        let at = path("/entries", id, "/send-again");
        let message = cx.client.post(&at, &json!({}))?;
        return cx.done(&message, |message| plain(str_of(message, "state")));
    }
    let answer = match letters.carry {
        Some(whose) => cx
            .client
            .patch("/letters", &json!({ "carry": whose.name() }))?,
        None => cx.client.get("/letters")?,
    };
    cx.output.answer(&answer, |output, answer| {
        let count = |key| u64_of(answer, key);
        output.table(&[
            ["carries for".to_owned(), plain(str_of(answer, "carry"))],
            [
                "carries".to_owned(),
                format!(
                    "{} messages, {} of {}",
                    count("carried"),
                    size(count("carried_bytes")),
                    size(count("carried_bytes_max"))
                ),
            ],
            [
                "on their way".to_owned(),
                format!("{} own messages", count("on_their_way")),
            ],
            [
                "keys".to_owned(),
                format!("of {} contacts", count("keys_from")),
            ],
        ])
    })
}
