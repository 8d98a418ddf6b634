//! The dashboard: signing in, showing it on the local network, who is signed in.

use qrcode::{EcLevel, QrCode, render::unicode};
use serde_json::{Map, Value, json};

use super::{Context, path};
use crate::{
    args::{Dashboard, Sessions},
    browser,
    client::{is, items, str_of, u64_of},
    output::{self, Output, plain},
};

pub(super) fn open(cx: &Context<'_>) -> anyhow::Result<()> {
    let answer = cx.client.post("/sign-in-links", &json!({}))?;
    if cx.open_browser && !cx.output.is_json() && browser::wanted() {
        browser::open(str_of(&answer, "link"));
    }
    cx.done(&answer, |answer| {
        format!(
            "this link signs you in, once: {}",
            plain(str_of(answer, "link"))
        )
    })
}

/// A code for another device's camera.
pub(super) fn open_lan(cx: &Context<'_>, at: Option<&str>) -> anyhow::Result<()> {
    let mut wanted = json!({ "lan": true });
    if let (Some(at), Some(wanted)) = (at, wanted.as_object_mut()) {
        wanted.insert("at".to_owned(), json!(at));
    }
    let answer = cx.client.post("/sign-in-links", &wanted)?;
    cx.output.answer(&answer, |output, answer| {
        let link = str_of(answer, "link");
        output.line(picture(link))?;
        output.line(format_args!(
            "this signs one device in, once, within 10 minutes: {}",
            plain(link)
        ))?;
        match answer.get("fingerprint").and_then(Value::as_str) {
            Some(fingerprint) => output.line(format_args!(
                "the device warns about the certificate: go on only if its SHA-256 fingerprint is\n{}",
                plain(fingerprint)
            )),
            None => output.line(
                "this is plain HTTP: who is on the same network can read along, and take over what that \
                 device is signed in to; `waymeet dashboard --tls on` encrypts",
            ),
        }
    })
}

/// A QR code of characters: what is dark is left empty, as most terminals are dark.
fn picture(text: &str) -> String {
    let Ok(code) = QrCode::with_error_correction_level(text.as_bytes(), EcLevel::L) else {
        return String::new();
    };
    code.render::<unicode::Dense1x2>()
        .dark_color(unicode::Dense1x2::Light)
        .light_color(unicode::Dense1x2::Dark)
        .build()
}

pub(super) fn dashboard(cx: &Context<'_>, change: &Dashboard) -> anyhow::Result<()> {
    let mut patch = Map::new();
    for (name, value) in [
        ("lan", change.lan),
        ("tls", change.tls),
        ("local_name", change.local_name),
    ] {
        if let Some(on) = value {
            patch.insert(name.to_owned(), json!(on));
        }
    }
    let now = if patch.is_empty() {
        cx.client.get("/dashboard")?
    } else {
        cx.client.patch("/dashboard", &Value::Object(patch))?
    };
    cx.output.answer(&now, show)
}

fn show(output: Output, now: &Value) -> anyhow::Result<()> {
    let switch = |key: &str| {
        let switch = now.get(key).unwrap_or(&Value::Null);
        let on = if is(switch, "on") { "on" } else { "off" };
        if is(switch, "fixed_by_file") {
            format!("{on}, by the settings file")
        } else {
            on.to_owned()
        }
    };
    let password = match is(now.get("password").unwrap_or(&Value::Null), "on") {
        true => "set".to_owned(),
        false => "none; `waymeet password` sets it".to_owned(),
    };
    let mut rows = vec![
        ["on the local network".to_owned(), switch("lan")],
        ["encrypted".to_owned(), switch("tls")],
        ["answers to waymeet.local".to_owned(), switch("local_name")],
        ["password".to_owned(), password],
    ];
    for url in items(now, "urls") {
        let url = url.as_str().unwrap_or_default().to_owned();
        rows.push(["address".to_owned(), url]);
    }
    for (key, name) in [("fingerprint", "certificate"), ("trouble", "in the way")] {
        if let Some(text) = now.get(key).and_then(Value::as_str) {
            rows.push([name.to_owned(), text.to_owned()]);
        }
    }
    output.table(&rows)
}

pub(super) fn sessions(cx: &Context<'_>, action: Option<Sessions>) -> anyhow::Result<()> {
    if let Some(Sessions::End { id }) = action {
        cx.client.delete(&path("/sessions", &id, ""))?;
        return cx.gone("that browser is signed out");
    }
    let list = cx.client.get("/sessions")?;
    cx.list(&list, "no browser is signed in", |session| {
        [
            str_of(session, "id").to_owned(),
            session
                .get("from")
                .and_then(Value::as_str)
                .unwrap_or("this machine")
                .to_owned(),
            output::time(u64_of(session, "seen_ms")),
            str_of(session, "agent").to_owned(),
        ]
    })
}
