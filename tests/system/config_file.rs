//! The settings file and the command line, as a person meets them.

use std::{fs, process::Output};

use serde_json::json;

use crate::harness::{LOOPBACK_LINKS, Node, program};

/// What a start with this settings file says; it must fail by itself.
fn refused(settings: &str) -> String {
    let node = Node::prepared();
    fs::write(node.settings_file(), settings).unwrap();
    let output = node.command().output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(1),
        "{settings:?}: {}",
        text(&output)
    );
    assert!(
        !node.data_dir().exists(),
        "nothing is made before the settings are read"
    );
    text(&output)
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn each_key_that_is_wrong_is_named_with_file_line_and_remedy() {
    for (settings, line, words) in [
        ("[links", 1, &[][..]),
        ("[link]\n", 1, &["\"link\"", "[links]"]),
        (
            "[links]\ninternet = \"on\"\n",
            2,
            &["links.internet", "\"direct\"", "\"on\""],
        ),
        (
            "[links]\n\ninternet = false\n",
            3,
            &["links.internet", "\"off\""],
        ),
        (
            "[links]\nrelays = [\"relay.example.org\"]\n",
            2,
            &["relays", "https://"],
        ),
        ("[links]\nbind = [\"127.0.0.1\"]\n", 2, &["bind", "port"]),
        ("[links]\nbind = []\n", 2, &["bind", "at least one"]),
        ("[links]\nlan = \"on\"\n", 2, &["lan", "true or false"]),
        (
            "[links]\nbluetooth = 1\n",
            2,
            &["bluetooth", "true or false"],
        ),
        (
            "[links]\nspeed = 9\n",
            2,
            &[
                "\"speed\"",
                "internet, internet_when, lan, lan_when, bluetooth, bluetooth_when, bluetooth_adapter, relays, relay_ca, bind",
            ],
        ),
        (
            "[dashboard]\nlisten = \"[fe80::1]:7340\"\n",
            2,
            &["listen", "link-local"],
        ),
        ("[dashboard]\nlisten = 7340\n", 2, &["listen", "quotes"]),
        (
            "[dashboard]\nhosts = [\"http://pi\"]\n",
            2,
            &["hosts", "host name"],
        ),
        (
            "[dashboard]\npassword_file = \"p\"\n",
            2,
            &["password_file", "whole path"],
        ),
        (
            "[dashboard]\ncolour = \"red\"\n",
            2,
            &["\"colour\"", "listen, hosts"],
        ),
    ] {
        let said = refused(settings);
        assert!(
            said.contains(&format!("settings.toml:{line}: ")),
            "{settings:?}: {said}"
        );
        for word in words {
            assert!(said.contains(word), "{settings:?}: {said} lacks {word:?}");
        }
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[test]
fn a_settings_file_that_is_asked_for_must_be_there() {
    let node = Node::prepared();
    fs::remove_file(node.settings_file()).unwrap();
    let output = node.command().output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("settings.toml"), "{}", text(&output));
}

#[test]
fn without_asking_the_file_in_the_folder_is_read() {
    let mut node = Node::prepared();
    fs::create_dir(node.data_dir()).unwrap();
    let usual = node.data_dir().join("waymeet.toml");
    fs::write(&usual, "[links]\ninternet = \"maybe\"\n").unwrap();
    let mut command = program();
    command
        .arg("--data-dir")
        .arg(node.data_dir())
        .args(["--listen", "127.0.0.1:0"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output).contains("waymeet.toml:2: links.internet"),
        "{}",
        text(&output)
    );
    fs::remove_file(&usual).unwrap();
    node.start();
}

#[test]
fn settings_that_fit_are_taken() {
    let mut node = Node::prepared();
    let settings = format!(
        "{LOOPBACK_LINKS}\n[dashboard]\nlisten = \"127.0.0.1:1\"\nhosts = [\"camp-pi.local\"]\n"
    );
    fs::write(node.settings_file(), settings).unwrap();
    // The command line's address wins over the file's.
    node.start();
    let request = "GET /healthz HTTP/1.1\r\nHost: camp-pi.local\r\nConnection: close\r\n\r\n";
    assert_eq!(crate::harness::raw(&node, request.as_bytes()).status, 200);
    let links = node.get("/status")["links"].clone();
    let internet = links
        .as_array()
        .unwrap()
        .iter()
        .find(|link| link["kind"] == "internet")
        .unwrap();
    assert_eq!(
        (&internet["on"], &internet["fixed_by_file"]),
        (&json!(false), &json!(true))
    );
    node.post("/setup", &json!({ "name": "Ana" }));
    let switch = node.call("PATCH", "/links", Some(&json!({ "internet": "direct" })));
    assert_eq!(
        (switch.status, switch.problem()),
        (409, "conflict"),
        "a key in the file wins"
    );
}

#[test]
fn what_the_command_line_gets_wrong_is_usage() {
    for args in [
        &["--listen", "[fe80::1]:7340"][..],
        &["--listen", "7340"],
        &["--listen", "example.org:80"],
        &["--listen", "127.0.0.1:0", "status"],
        &["--frobnicate"],
        &["frobnicate"],
        &["setup"],
        &["invite", "--uses", "0"],
        &["invite", "--expires-in", "soon"],
        &["contacts", "trust", "Ben", "blindly"],
        &["forums", "list", "--limit", "501"],
    ] {
        let output = program()
            .arg("--data-dir")
            .arg("/nonexistent/waymeet")
            .args(args)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", text(&output));
        assert!(
            output.stdout.is_empty() && !output.stderr.is_empty(),
            "{args:?}"
        );
    }
}

#[test]
fn on_the_network_only_with_a_password() {
    let node = Node::prepared();
    let refused = |extra: &str| {
        let settings = format!("{LOOPBACK_LINKS}{extra}");
        fs::write(node.settings_file(), settings).unwrap();
        let output = program()
            .arg("--data-dir")
            .arg(node.data_dir())
            .arg("--config")
            .arg(node.settings_file())
            .args(["--listen", "0.0.0.0:0"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{extra}");
        text(&output)
    };
    let said = refused("");
    assert!(said.contains("waymeet password"), "{said}");
    let said = refused("[dashboard]\npassword_file = \"/nonexistent/password\"\n");
    assert!(said.contains("/nonexistent/password"), "{said}");
    let file = node.settings_file().with_file_name("password");
    fs::write(&file, "short\n").unwrap();
    let setting = format!("[dashboard]\npassword_file = {file:?}\n");
    let said = refused(&setting);
    assert!(said.contains("at least 8"), "{said}");
    assert!(!said.contains("short"), "{said}");
}

#[test]
fn a_password_is_set_for_the_next_start_and_for_a_running_node() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut node = Node::prepared();
    let file = node.data_dir().join("dashboard-password");
    let set = |node: &Node, password: &str| {
        let output = node.cli_with_input(&["password", "--stdin"], password);
        assert!(output.stdout.is_empty() != output.status.success());
        (output.status.success(), text(&output))
    };
    let (taken, said) = set(&node, "seven77\n");
    assert!(!taken && said.contains("at least 8"), "{said}");
    assert!(!file.exists());
    assert!(set(&node, "correct horse\n").0);
    let first = fs::read_to_string(&file).unwrap();
    assert!(first.starts_with("$argon2id$"), "{first}");
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    // Who came over the network is signed out, who sits at the machine isn't.
    let sessions = node.data_dir().join("dashboard-sessions");
    let session = |id: &str, place: &str| json!({ "id": id, "place": place, "from": null, "since_ms": 1, "seen_ms": 1, "agent": "x" });
    let kept = json!([session("aa", "lan"), session("bb", "here")]);
    fs::write(&sessions, kept.to_string()).unwrap();
    assert!(set(&node, "correct horse\n").0);
    let kept = fs::read_to_string(&sessions).unwrap();
    assert!(!kept.contains("aa") && kept.contains("bb"), "{kept}");
    fs::remove_file(&sessions).unwrap();
    node.start();
    node.post("/setup", &json!({ "name": "Ana" }));
    assert!(set(&node, "another horse").0);
    assert_ne!(fs::read_to_string(&file).unwrap(), first);
    let (taken, said) = set(&node, "");
    assert!(!taken && said.contains("at least 8"), "{said}");
    assert!(!node.log().contains("horse"));
    let shown = node.cli_json(&["dashboard", "--lan", "on"]);
    assert_eq!(shown["lan"]["on"], true);
    assert_eq!(shown["password"]["on"], true);
    let sessions = node.cli_json(&["sessions"]);
    assert_eq!(sessions["items"], json!([]));
    let unsure = node.cli(&["dashboard", "--lan", "perhaps"]);
    assert_eq!(unsure.status.code(), Some(2));
}

#[test]
fn help_and_version_need_nothing() {
    let help = program().arg("--help").output().unwrap();
    assert!(help.status.success());
    for word in [
        "demo",
        "setup",
        "open",
        "password",
        "dashboard",
        "sessions",
        "invite",
        "join",
        "contacts",
        "forums",
        "blog",
        "messages",
        "status",
        "search",
    ] {
        assert!(text(&help).contains(word), "{word}");
    }
    let version = program().arg("--version").output().unwrap();
    assert_eq!(
        text(&version).trim(),
        format!("waymeet {}", env!("CARGO_PKG_VERSION"))
    );
}
