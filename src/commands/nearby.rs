//! Meeting somebody nearby, at a terminal or by a script.

use std::{
    collections::BTreeSet,
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    thread,
    time::Duration,
};

use serde_json::{Map, Value, json};

use super::{Context, path};
use crate::{
    args::Nearby,
    client::{Refused, is, items, str_of},
    output::plain,
};

/// Between two looks at who is there. It is open for two minutes at most.
const LOOK_EVERY: Duration = Duration::from_millis(500);

pub(super) fn run(cx: &Context<'_>, nearby: &Nearby) -> anyhow::Result<()> {
    let decided = |id: &str, what: &str| {
        let person = cx
            .client
            .post(&path("/nearby", id, &format!("/{what}")), &json!({}))?;
        cx.done(&person, |person| match str_of(person, "state") {
            "comparing" => format!("you said yes; now {} has to", name(person)),
            _ => outcome(person),
        })
    };
    if nearby.close {
        cx.client.delete("/nearby")?;
        return cx.gone("closed: nobody nearby sees this node any more");
    }
    match (&nearby.accept, &nearby.decline) {
        (Some(id), _) => decided(id, "accept"),
        (None, Some(id)) => decided(id, "decline"),
        (None, None) => watch(cx, nearby.seconds),
    }
}

/// Opens it and tells what happens until it closes, or somebody became a contact and nobody else is
/// there.
fn watch(cx: &Context<'_>, seconds: Option<u64>) -> anyhow::Result<()> {
    let mut body = Map::new();
    if let Some(seconds) = seconds {
        body.insert("seconds".to_owned(), seconds.into());
    }
    let mut state = cx.client.post("/nearby", &Value::Object(body))?;
    let asks = io::stdin().is_terminal() && !cx.output.is_json();
    let mut told = Told::default();
    if !cx.output.is_json() {
        cx.output.line(
            "visible to others nearby who run `waymeet nearby` or have that page open, for two minutes at most",
        )?;
        if !is(&state, "has_network") && !is(&state, "has_radio") {
            cx.output.line(
                "this node isn't on a local network now and has no bluetooth in use: connect it to a Wi-Fi or a cable, or see `waymeet links`",
            )?;
        }
    }
    loop {
        if told.last.as_ref() != Some(&state) {
            if cx.output.is_json() {
                cx.output.answer(&state, |_, _| Ok(()))?;
            } else {
                told.tell(cx, &state, asks)?;
            }
            told.last = Some(state.clone());
        }
        if !is(&state, "open") {
            return if cx.output.is_json() {
                Ok(())
            } else {
                cx.output.line("closed")
            };
        }
        let in_state = |wanted: &str| {
            let mut people = items(&state, "people").iter();
            people.any(|person| str_of(person, "state") == wanted)
        };
        if asks && in_state("done") && !in_state("comparing") {
            cx.client.delete("/nearby")?;
        } else {
            thread::sleep(LOOK_EVERY);
        }
        state = cx.client.get("/nearby")?;
    }
}

/// What a person at the terminal knows.
#[derive(Default)]
struct Told {
    last: Option<Value>,
    listed: BTreeSet<String>,
    ended: BTreeSet<String>,
}

impl Told {
    fn tell(&mut self, cx: &Context<'_>, state: &Value, asks: bool) -> anyhow::Result<()> {
        for person in items(state, "people") {
            let id = str_of(person, "id").to_owned();
            match str_of(person, "state") {
                "comparing" if self.listed.insert(id.clone()) => {
                    cx.output
                        .line(format_args!("{}: {}", name(person), words(person)))?;
                    if asks {
                        ask(cx, &id, person)?;
                    } else {
                        cx.output.line(format_args!(
                            "  the same three words there? waymeet nearby --accept {id}"
                        ))?;
                    }
                }
                "comparing" => {}
                _ if self.ended.insert(id) => cx.output.line(outcome(person))?,
                _ => {}
            }
        }
        Ok(())
    }
}

fn ask(cx: &Context<'_>, id: &str, person: &Value) -> anyhow::Result<()> {
    let question = format!(
        "  does {} see the same three words? [y]es, [n]o, Enter to leave it: ",
        name(person)
    );
    // A prompt ends without a line's end.
    let mut out = io::stdout().lock();
    out.write_all(question.as_bytes())?;
    out.flush()?;
    drop(out);
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    let what = match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => "accept",
        "n" | "no" => "decline",
        _ => return Ok(()),
    };
    match cx
        .client
        .post(&path("/nearby", id, &format!("/{what}")), &json!({}))
    {
        Ok(_) => Ok(()),
        // They went meanwhile: the list says why.
        Err(error) if error.is::<Refused>() => cx.output.line(format_args!("  {error:#}")),
        Err(error) => Err(error),
    }
}

fn name(person: &Value) -> String {
    plain(str_of(person, "name"))
}

fn words(person: &Value) -> String {
    let words: Vec<_> = items(person, "words")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    plain(&words.join(" "))
}

fn outcome(person: &Value) -> String {
    match str_of(person, "state") {
        "done" if is(person, "known") => {
            format!("{} was your contact already, verified now", name(person))
        }
        "done" => format!("{} is your contact now", name(person)),
        _ => format!("{}: {}", name(person), plain(str_of(person, "reason"))),
    }
}
