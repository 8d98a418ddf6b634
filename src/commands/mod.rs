//! The commands that speak to a running node. Each is a call of its API and a few lines for a
//! person; with `--json` the API's answer goes through unchanged.

mod blog;
mod circles;
mod contacts;
mod dashboard;
mod doctor;
mod forums;
mod introductions;
mod invites;
mod letters;
mod links;
mod messages;
mod nearby;
mod node;
mod topic;

use std::io::{self, Read as _};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use crate::{
    args::{Command, Paging},
    client::{self, Client, escape, items, str_of},
    folder::Folder,
    output::{Output, plain},
    password,
};

/// Bytes of a text on standard input: over what the node takes, so that it says how much that is.
const INPUT_BYTES_MAX: u64 = 256 * 1024;

/// What every command needs.
struct Context<'a> {
    client: Client,
    output: &'a Output,
    open_browser: bool,
}

/// Runs a command against the node of a folder.
pub(crate) fn run(
    command: Command,
    folder: &Folder,
    open_browser: bool,
    output: &Output,
) -> anyhow::Result<()> {
    if matches!(command, Command::Doctor) {
        return doctor::run(folder, output);
    }
    if let Command::Password { stdin } = command {
        return password::set(folder, stdin, output);
    }
    let cx = Context {
        client: Client::connect(folder)?,
        output,
        open_browser,
    };
    match command {
        Command::Demo | Command::Doctor | Command::Password { .. } => {
            bail!("this needs no running node")
        }
        Command::Setup { name } => node::set_up(&cx, &name),
        Command::Open { lan: false, .. } => dashboard::open(&cx),
        Command::Open { lan: true, at } => dashboard::open_lan(&cx, at.as_deref()),
        Command::Dashboard(change) => dashboard::dashboard(&cx, &change),
        Command::Sessions { action } => dashboard::sessions(&cx, action),
        Command::Status { watch } => links::status(&cx, watch),
        Command::Links(change) => links::run(&cx, &change),
        Command::Meetings {
            contact,
            forget,
            page,
        } => links::meetings(&cx, contact.as_deref(), forget, &page),
        Command::Search { text, page } => node::search(&cx, &text, &page),
        Command::Invite(invite) => invites::run(&cx, invite),
        Command::Join { link } => invites::join(&cx, &link),
        Command::Introduce(introduce) => introductions::run(&cx, &introduce),
        Command::Nearby(nearby) => nearby::run(&cx, &nearby),
        Command::Contacts { action } => contacts::run(&cx, action),
        Command::Forums { action } => forums::run(&cx, action),
        Command::Circles { action } => circles::run(&cx, action),
        Command::Blog { action } => blog::run(&cx, action),
        Command::Letters(letters) => letters::run(&cx, &letters),
        Command::Messages { action } => messages::run(&cx, action),
    }
}

impl Context<'_> {
    fn contact(&self, wanted: &str) -> anyhow::Result<String> {
        self.client.find("/contacts", "contact", wanted)
    }

    fn forum(&self, wanted: &str) -> anyhow::Result<String> {
        self.client.find("/forums", "forum", wanted)
    }

    fn circle(&self, wanted: &str) -> anyhow::Result<String> {
        self.client.find("/circles", "circle", wanted)
    }

    fn blog(&self, wanted: &str) -> anyhow::Result<String> {
        self.client.find("/blogs", "blog", wanted)
    }

    /// A page of a list as rows, or as the API gave it.
    fn list<const N: usize>(
        &self,
        page: &Value,
        empty: &str,
        row: impl Fn(&Value) -> [String; N],
    ) -> anyhow::Result<()> {
        self.output.answer(page, |output, page| {
            let rows: Vec<_> = items(page, "items").iter().map(row).collect();
            if rows.is_empty() {
                return output.line(empty);
            }
            output.table(&rows)?;
            more(output, page)
        })
    }

    /// Says in one line that something is done.
    fn done(&self, value: &Value, line: impl FnOnce(&Value) -> String) -> anyhow::Result<()> {
        self.output
            .answer(value, |output, value| output.line(line(value)))
    }

    /// The same where the API answers with nothing.
    fn gone(&self, line: &str) -> anyhow::Result<()> {
        self.done(&json!({}), |_| line.to_owned())
    }
}

/// Says where a list goes on.
fn more(output: Output, page: &Value) -> anyhow::Result<()> {
    match page.get("next").and_then(Value::as_str) {
        Some(cursor) => output.line(format_args!("there is more: --cursor {}", plain(cursor))),
        None => Ok(()),
    }
}

/// A text from the command line, or from standard input where it is missing or `-`.
fn text(given: Option<&str>) -> anyhow::Result<String> {
    match given {
        Some(text) if text != "-" => Ok(text.to_owned()),
        _ => {
            let mut text = String::new();
            io::stdin()
                .take(INPUT_BYTES_MAX + 1)
                .read_to_string(&mut text)
                .context("expected text in UTF-8 on standard input")?;
            if text.len() as u64 > INPUT_BYTES_MAX {
                bail!("expected at most {INPUT_BYTES_MAX} bytes on standard input");
            }
            Ok(text.trim_end().to_owned())
        }
    }
}

/// A path of the API whose middle came from the command line.
fn path(before: &str, id: &str, after: &str) -> String {
    format!("{before}/{}{after}", escape(id))
}

/// The name of the person under `key`.
fn person(value: &Value, key: &str) -> String {
    value
        .get(key)
        .map_or_else(String::new, |person| plain(str_of(person, "name")))
}

/// `3 unread` where something is, else nothing.
fn unread(value: &Value) -> String {
    match client::u64_of(value, "unread") {
        0 => String::new(),
        count => format!("{count} unread"),
    }
}

/// The paging of a list that is asked for without an action.
fn first_page() -> Paging {
    Paging::default()
}
