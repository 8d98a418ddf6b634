//! The doctor: on a running node over its API, else on the folder itself.

use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use crate::{
    client::{Client, items, str_of, u64_of},
    folder::Folder,
    output::{Output, plain},
};

/// A node checks some hundred thousand entries a second: this is for a hundred million.
const WITHIN: Duration = Duration::from_secs(1_200);

pub(super) fn run(folder: &Folder, output: &Output) -> anyhow::Result<()> {
    let seen = if folder.is_running() {
        Client::patient(folder, WITHIN)?.post("/doctor", &json!({}))?
    } else {
        let _lock = folder.lock()?;
        let seen = engine::check_up_folder(folder.path())?;
        web::check_up_document(seen).context("cannot write down what was found")?
    };
    output.answer(&seen, show)?;
    match u64_of(&seen, "found") {
        0 => Ok(()),
        1 => bail!("one thing is wrong"),
        found => bail!("{found} things are wrong"),
    }
}

fn show(output: Output, seen: &Value) -> anyhow::Result<()> {
    let count = |key| u64_of(seen, key);
    output.line(format_args!(
        "looked at {} entries and {} signatures in {} feeds of {} spaces, and at {} records",
        count("entries"),
        count("signatures"),
        count("feeds"),
        count("spaces"),
        count("records"),
    ))?;
    if count("missing") > 0 {
        output.line(format_args!(
            "{} texts are missing and asked for from contacts",
            count("missing")
        ))?;
    }
    let findings = items(seen, "findings");
    for finding in findings {
        output.line(plain(str_of(finding, "what")))?;
        for key in ["space", "device"] {
            let id = str_of(finding, key);
            if !id.is_empty() {
                output.line(format_args!("  {key} {}", plain(id)))?;
            }
        }
        output.line(format_args!("  {}", str_of(finding, "remedy")))?;
    }
    if findings.is_empty() {
        output.line("nothing is wrong")?;
    }
    Ok(())
}
