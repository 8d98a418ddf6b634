//! The process: its folder, its lock, its port, its signals, its end.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::json;

use crate::harness::{Node, pair, program};

/// What a service manager is promised.
const ENDS_WITHIN: Duration = Duration::from_secs(5);

#[test]
fn a_second_process_on_one_folder_is_refused() {
    let ana = Node::named("Ana");
    let output = ana.command().output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains(&ana.data_dir().display().to_string()),
        "{said}"
    );
    assert_eq!(
        ana.get("/status")["identity"]["name"],
        "Ana",
        "the first one goes on"
    );
    let url = fs::read_to_string(ana.data_dir().join("dashboard-url")).unwrap();
    assert_eq!(url.trim(), ana.url(), "and keeps its address");
}

#[test]
fn every_signal_to_end_is_obeyed_in_time_and_in_order() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let (ana, mut ben) = pair("Ana", "Ben");
        // Somebody who reads on and on doesn't hold it up.
        let events = ben.events(None);
        let ben_id = ben.id();
        let begin = Instant::now();
        ben.signal(signal);
        let status = ben.ended();
        assert!(
            begin.elapsed() < ENDS_WITHIN,
            "{signal:?}: {:?}",
            begin.elapsed()
        );
        assert!(status.success(), "{signal:?}: {status}\n{}", ben.log());
        assert!(!ben.data_dir().join("dashboard-url").exists());
        events.ended();
        ana.until("him to be gone", |ana| {
            (!ana.is_online(&ben_id)).then_some(())
        });
        ben.start();
        assert_eq!(ben.id(), ben_id);
    }
}

#[test]
fn a_kill_leaves_an_address_that_misleads_nobody() {
    let mut ana = Node::named("Ana");
    ana.kill();
    assert!(ana.data_dir().join("dashboard-url").exists());
    let output = ana.cli(&["status"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("no node runs"),
        "{output:?}"
    );
    ana.start();
    assert_eq!(ana.get("/status")["identity"]["name"], "Ana");
}

#[test]
fn a_port_that_is_taken_is_named_with_the_way_out() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let node = Node::prepared();
    let output = program()
        .arg("--data-dir")
        .arg(node.data_dir())
        .arg("--config")
        .arg(node.settings_file())
        .args(["--listen", &addr])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains(&taken.local_addr().unwrap().port().to_string()),
        "{said}"
    );
    assert!(said.contains("--listen"), "{said}");
    if Path::new("/proc/net/tcp").exists() {
        assert!(
            said.contains(&std::process::id().to_string()),
            "it is ours: {said}"
        );
    }
    assert!(!node.data_dir().join("dashboard-url").exists());
}

#[test]
fn folder_and_files_are_the_owners_alone() {
    let (ana, ben) = pair("Ana", "Ben");
    ben.receives(&ana.send(&ben.id(), "psst"));
    assert_eq!(mode(&ana.data_dir()), 0o700);
    let mut seen = Vec::new();
    for entry in fs::read_dir(ana.data_dir()).unwrap() {
        let path = entry.unwrap().path();
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&path), expected, "{}", path.display());
        seen.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    for name in ["api-token", "dashboard-url", "lock", "waymeet.redb"] {
        assert!(
            seen.iter().any(|file| file == name),
            "{name} is missing in {seen:?}"
        );
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_token_is_long_and_stays() {
    let mut ana = Node::named("Ana");
    let token = ana.token().to_owned();
    assert!(
        token.len() >= 43,
        "256 bits need 43 letters of base64: {}",
        token.len()
    );
    assert!(
        token
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    );
    ana.stop();
    ana.start();
    assert_eq!(ana.token(), token);
    assert_ne!(Node::fresh().token(), token);
    let url = fs::read_to_string(ana.data_dir().join("dashboard-url")).unwrap();
    assert!(
        !url.contains(&token) && url.starts_with("http://127.0.0.1:"),
        "{url}"
    );
}

#[test]
fn the_start_prints_where_to_go_and_opens_nothing() {
    let mut node = Node::prepared();
    let tools = tempfile::tempdir().unwrap();
    let trace = tools.path().join("opened");
    for name in ["xdg-open", "open", "sensible-browser"] {
        let tool = tools.path().join(name);
        fs::write(
            &tool,
            format!("#!/bin/sh\necho \"$@\" >> {}\n", trace.display()),
        )
        .unwrap();
        fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = node.command();
    command
        .env("PATH", tools.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let mut said = String::new();
    while !said.contains("sign-in") {
        said.push_str(&lines.next().expect("more lines").unwrap());
        said.push('\n');
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(said.contains("http://127.0.0.1:"), "{said}");
    assert!(
        !trace.exists(),
        "no terminal, no browser: {:?}",
        fs::read_to_string(&trace)
    );
    node.start();
}

#[test]
fn a_sign_in_link_works_once() {
    let node = Node::named("Ana");
    let link = node.post("/sign-in-links", &json!({}));
    assert!(link["expires_ms"].is_u64(), "{link}");
    let path = link["link"]
        .as_str()
        .unwrap()
        .strip_prefix(node.url())
        .unwrap()
        .to_owned();
    let token = path.split('=').next_back().unwrap();
    assert!(token.len() >= 22, "at least 128 bits");
    let printed = node.stdout();
    assert!(
        printed.contains("/sign-in?token=") && !printed.contains(token),
        "each link is its own"
    );
    let wrong = crate::harness::raw(
        &node,
        format!(
            "GET /sign-in?token=wrong HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\r\n",
            node.port()
        )
        .as_bytes(),
    );
    assert!(
        !wrong
            .head
            .to_ascii_lowercase()
            .contains("set-cookie: waymeet"),
        "{wrong:?}"
    );
}

#[test]
fn the_usual_folder_follows_the_desktops_rules() {
    let temp = tempfile::tempdir().unwrap();
    let said = |set: &dyn Fn(&mut std::process::Command)| {
        let mut command = program();
        set(&mut command);
        let output = command.arg("status").output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let at = |path: &str| temp.path().join(path).display().to_string();
    let by_data_home = said(&|command| {
        command
            .env("XDG_DATA_HOME", temp.path().join("data"))
            .env("HOME", temp.path());
    });
    assert!(by_data_home.contains(&at("data/waymeet")), "{by_data_home}");
    let by_home = said(&|command| {
        command.env("HOME", temp.path());
    });
    assert!(by_home.contains(&at(".local/share/waymeet")), "{by_home}");
    let relative = said(&|command| {
        command
            .env("XDG_DATA_HOME", "data")
            .env("HOME", temp.path());
    });
    assert!(relative.contains(&at(".local/share/waymeet")), "{relative}");
    assert!(said(&|_| {}).contains("--data-dir"));
    assert_eq!(
        fs::read_dir(temp.path()).unwrap().count(),
        0,
        "asking makes nothing"
    );
}
