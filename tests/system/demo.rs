//! `waymeet demo`: three people in a minute, and nothing left afterwards.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::harness::program;

/// A newcomer sees it work in a minute; a busy machine is given that whole minute.
const READY_WITHIN: Duration = Duration::from_secs(60);

#[test]
fn the_demo_shows_three_people_and_cleans_up() {
    let temp = tempfile::tempdir().unwrap();
    let begin = Instant::now();
    let mut child = program()
        .args(["--json", "demo"])
        .env("TMPDIR", temp.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(begin.elapsed() < READY_WITHIN, "{:?}", begin.elapsed());
    let Ok(told) = serde_json::from_str::<Value>(&line) else {
        drop(child.kill());
        panic!("{line:?} {:?}", child.wait_with_output());
    };
    let nodes = told["nodes"].as_array().unwrap();
    let names: Vec<_> = nodes
        .iter()
        .map(|node| node["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["Ana", "Ben", "Cem"]);
    for node in nodes {
        let url = node["dashboard_url"].as_str().unwrap();
        assert!(
            node["sign_in_link"]
                .as_str()
                .unwrap()
                .starts_with(&format!("{url}/sign-in?token=")),
            "{node}"
        );
    }
    let folders: Vec<_> = fs::read_dir(temp.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(folders.len(), 3);

    let cem = folders
        .iter()
        .find_map(|folder| fs::read_to_string(folder.join("cem/api-token")).ok())
        .unwrap();
    let texts = all_texts(nodes[2]["dashboard_url"].as_str().unwrap(), cem.trim());
    for part in [
        "Who brings what?",
        "along the canal or over the hill",
        "Bread in a pot",
    ] {
        assert!(texts.contains(part), "Cem lacks {part:?}: {texts}");
    }

    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(
        fs::read_dir(temp.path()).unwrap().count(),
        0,
        "the folders are gone"
    );
}

fn all_texts(url: &str, token: &str) -> String {
    let agent = ureq::Agent::new_with_config(ureq::Agent::config_builder().proxy(None).build());
    ["/forums", "/blogs", "/news", "/conversations"]
        .iter()
        .map(|path| {
            let request = agent
                .get(format!("{url}/api/v1{path}"))
                .header("authorization", format!("Bearer {token}"));
            request.call().unwrap().body_mut().read_to_string().unwrap()
        })
        .collect()
}
