//! The node's state, the ways to reach contacts, and the meetings that there were.

use std::{thread, time::Duration};

use clap::ValueEnum;
use serde_json::{Map, Value, json};

use super::{Context, path as at, person};
use crate::{
    args::{Links, Paging, Switch},
    client::{is, items, str_of, u64_of},
    output::{Output, plain, time},
};

/// Between two lines of `status --watch`.
const WATCH_EVERY: Duration = Duration::from_secs(1);

pub(super) fn status(cx: &Context<'_>, watch: bool) -> anyhow::Result<()> {
    let status = cx.client.get("/status")?;
    cx.output.answer(&status, show_status)?;
    if !watch {
        return Ok(());
    }
    loop {
        thread::sleep(WATCH_EVERY);
        let status = cx.client.get("/status")?;
        let behind = part(&status, "behind");
        cx.output
            .answer(&status, |output, _| output.line(to_come(behind)))?;
        if u64_of(behind, "want") == 0 {
            return Ok(());
        }
    }
}

fn part<'v>(value: &'v Value, key: &str) -> &'v Value {
    value.get(key).unwrap_or(&Value::Null)
}

fn show_status(output: Output, status: &Value) -> anyhow::Result<()> {
    let who = match status.get("identity") {
        None | Some(Value::Null) => "not set up yet: `waymeet setup NAME`".to_owned(),
        Some(identity) => format!("{} ({})", str_of(identity, "name"), str_of(identity, "id")),
    };
    let counts = part(status, "counts");
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
        ["missing".to_owned(), to_come(part(status, "behind"))],
        [
            "on disk".to_owned(),
            format!("{} KiB", count("disk_bytes").div_ceil(1_024)),
        ],
    ];
    if let Some(advice) = status.pointer("/disk/advice").and_then(Value::as_str) {
        rows.push(["disk".to_owned(), advice.to_owned()]);
    }
    if let Some(charging) = status.get("charging").and_then(Value::as_bool) {
        let power = if charging { "charging" } else { "on battery" };
        rows.push(["power".to_owned(), power.to_owned()]);
    }
    rows.extend(items(status, "links").iter().map(link_row));
    for contact in items(status, "online") {
        let name = match str_of(contact, "nickname") {
            "" => str_of(contact, "name"),
            nickname => nickname,
        };
        rows.push([format!("online: {name}"), path(contact)]);
    }
    for meeting in items(status, "meetings") {
        let [when, who, over, exchanged, end] = meeting_row(meeting);
        rows.push([
            format!("met {when}"),
            format!("{who}, over {over}, {exchanged}, {end}"),
        ]);
    }
    output.table(&rows)
}

fn link_row(link: &Value) -> [String; 2] {
    let on = match (is(link, "on"), str_of(link, "when")) {
        (false, _) => "off",
        (true, _) if is(link, "waits") => "waits",
        (true, "by_hand") => "on, called by hand",
        (true, _) => "on",
    };
    [
        format!("link {}", str_of(link, "kind")),
        format!("{on}, {}{}", str_of(link, "state"), adapter_words(link)),
    ]
}

/// The Bluetooth adapter in use, and what there is to know of it.
fn adapter_words(link: &Value) -> String {
    let Some(bluetooth) = link.get("bluetooth").filter(|it| it.is_object()) else {
        return String::new();
    };
    let name = str_of(bluetooth, "name");
    if name.is_empty() {
        return String::new();
    }
    let traceable = if is(bluetooth, "traceable") {
        ", whose address never changes: who listens knows this machine again"
    } else {
        ""
    };
    plain(&format!(
        " ({name}, {} of {} connected{traceable})",
        u64_of(bluetooth, "connected"),
        u64_of(bluetooth, "connected_max"),
    ))
}

pub(super) fn run(cx: &Context<'_>, change: &Links) -> anyhow::Result<()> {
    let name = |value: Option<clap::builder::PossibleValue>| {
        // The API's words have underscores where a command line has hyphens.
        value.map(|value| json!(value.get_name().replace('-', "_")))
    };
    let mut patch = Map::new();
    for (key, value) in [
        (
            "internet",
            name(change.internet.and_then(|it| it.to_possible_value())),
        ),
        (
            "internet_when",
            name(change.internet_when.and_then(|it| it.to_possible_value())),
        ),
        ("lan", change.lan.map(|it| json!(it == Switch::On))),
        (
            "lan_when",
            name(change.lan_when.and_then(|it| it.to_possible_value())),
        ),
        (
            "bluetooth",
            change.bluetooth.map(|it| json!(it == Switch::On)),
        ),
        (
            "bluetooth_when",
            name(change.bluetooth_when.and_then(|it| it.to_possible_value())),
        ),
        (
            "bluetooth_adapter",
            change.bluetooth_adapter.as_ref().map(|it| json!(it)),
        ),
    ] {
        if let Some(value) = value {
            patch.insert(key.to_owned(), value);
        }
    }
    let links = match patch.is_empty() {
        true => cx.client.get("/links")?,
        false => cx.client.patch("/links", &Value::Object(patch))?,
    };
    cx.list(&links, "no links", link_row)
}

pub(super) fn meetings(
    cx: &Context<'_>,
    contact: Option<&str>,
    forget: bool,
    page: &Paging,
) -> anyhow::Result<()> {
    let list = match contact {
        Some(contact) => at("/contacts", &cx.contact(contact)?, "/meetings"),
        None => "/meetings".to_owned(),
    };
    if forget {
        cx.client.delete(&list)?;
        return cx.gone("forgotten");
    }
    let meetings = cx.client.page(&list, page)?;
    cx.list(&meetings, "no meeting has ended yet", meeting_row)
}

fn meeting_row(meeting: &Value) -> [String; 5] {
    let links: Vec<_> = items(meeting, "links")
        .iter()
        .filter_map(Value::as_str)
        .map(link)
        .collect();
    let exchanged = part(meeting, "exchanged");
    let end = match str_of(meeting, "end") {
        "lost" => "broke off",
        "theirs" => "ended by them",
        "ours" => "ended here",
        "replaced" => "went on over another connection",
        "misbehaved" => "ended here: they broke the protocol",
        "disk" => "ended here: the disk",
        other => other,
    };
    [
        format!(
            "{} for {}",
            time(u64_of(meeting, "began_ms")),
            span(u64_of(meeting, "lasted_ms") / 1_000)
        ),
        person(meeting, "contact"),
        links.join(", then "),
        format!(
            "{} entries in, {} out",
            u64_of(exchanged, "entries_in"),
            u64_of(exchanged, "entries_out")
        ),
        end.to_owned(),
    ]
}

/// A link's name as a person says it.
pub(super) fn link(kind: &str) -> &str {
    match kind {
        "loopback" => "this machine",
        "lan" => "the local network",
        "internet" => "the internet",
        "relay" => "a relay",
        "bluetooth" => "Bluetooth",
        other => other,
    }
}

/// The path to a contact, since when, and what went to and fro.
pub(super) fn path(contact: &Value) -> String {
    let Some(now) = contact.get("connection").filter(|now| now.is_object()) else {
        return "not connected".to_owned();
    };
    let exchanged = part(now, "exchanged");
    let rtt = u64_of(now, "rtt_us");
    plain(&format!(
        "over {} since {}, round trip {}.{:03} ms, {} entries in, {} out",
        link(str_of(now, "link")),
        time(u64_of(now, "link_since_ms")),
        rtt / 1_000,
        rtt % 1_000,
        u64_of(exchanged, "entries_in"),
        u64_of(exchanged, "entries_out"),
    ))
}

/// What is missing, and how long it takes.
pub(super) fn to_come(behind: &Value) -> String {
    let want = u64_of(behind, "want");
    match (want, behind.get("left_s").and_then(Value::as_u64)) {
        (0, _) => "nothing to come".to_owned(),
        (_, Some(left)) => format!(
            "{want} entries to come at {} a second, about {} left",
            u64_of(behind, "per_s"),
            span(left)
        ),
        (_, None) => format!("{want} entries to come"),
    }
}

/// Seconds as people say them.
fn span(seconds: u64) -> String {
    match seconds {
        0..=90 => format!("{seconds} s"),
        91..=5_400 => format!("{} min", seconds.div_ceil(60)),
        5_401..=172_800 => format!("{} h", seconds.div_ceil(3_600)),
        _ => format!("{} days", seconds / 86_400),
    }
}
