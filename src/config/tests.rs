use super::*;

#[test]
fn silence_is_fine() {
    assert_eq!(parse(""), Ok(Settings::default()));
    assert_eq!(
        parse("# nothing\n[links]\n[dashboard]\n"),
        Ok(Settings::default())
    );
}

#[test]
fn every_key_is_read() {
    let text = r#"
[links]
internet = "relay"
internet_when = "charging"
lan = false
lan_when = "by_hand"
relays = ["https://relay.example.org", "https://[2001:db8::1]:8443/x"]
bind = ["127.0.0.1:0", "[::1]:7341"]

[dashboard]
listen = "127.0.0.1:0"
hosts = ["camp-pi.local", "Box:8443"]
password_file = "/etc/waymeet/password"
tls = true
local_name = false
lan_api = true
"#;
    let settings = parse(text).unwrap();
    assert_eq!(settings.internet, Some(Internet::Relay));
    assert_eq!(settings.lan, Some(false));
    assert_eq!(
        (settings.internet_when, settings.lan_when),
        (Some(LinkUse::Charging), Some(LinkUse::ByHand))
    );
    assert_eq!(settings.relays.len(), 2);
    assert_eq!(settings.bind.unwrap().len(), 2);
    assert_eq!(settings.listen.unwrap().loopback.port(), 0);
    assert_eq!(
        settings.password_file,
        Some(PathBuf::from("/etc/waymeet/password"))
    );
    assert_eq!(
        (settings.tls, settings.local_name, settings.lan_api),
        (Some(true), Some(false), Some(true))
    );
    assert_eq!(settings.hosts, ["camp-pi.local", "box:8443"]);
}

/// Each wrong file, the line that is wrong, and words that the message needs.
const WRONG: &[(&str, usize, &[&str])] = &[
    ("[links", 1, &[]),
    ("\n\nx = ", 3, &[]),
    ("link = 1", 1, &["\"link\"", "[links]"]),
    ("links = 1", 1, &["[links]", "the number 1"]),
    ("[[links]]\n", 1, &["[links]"]),
    (
        "[links]\nintrnet = \"off\"",
        2,
        &["\"intrnet\"", "internet"],
    ),
    (
        "[links]\ninternet = true",
        2,
        &["links.internet", "\"direct\"", "true"],
    ),
    ("[links]\ninternet = \"on\"", 2, &["\"off\"", "\"on\""]),
    ("[links]\ninternet = \"off\"\ninternet = \"off\"", 3, &[]),
    (
        "[links]\nrelays = \"https://a.org\"",
        2,
        &["relays", "list"],
    ),
    ("[links]\nrelays = [1]", 2, &["relays", "quotes"]),
    ("[links]\nrelays = [\n\"http://a.org\"]", 3, &["https://"]),
    ("[links]\nrelays = [\"https://\"]", 2, &["https://relay"]),
    (
        "[links]\nrelays = [\"https://me@a.org\"]",
        2,
        &["relay's address"],
    ),
    ("[links]\nrelay_ca = 1", 2, &["links.relay_ca", "quotes"]),
    ("[links]\nbind = []", 2, &["links.bind", "0.0.0.0:0"]),
    ("[links]\nbind = [\"127.0.0.1\"]", 2, &["bind", "port"]),
    ("[links]\nbind = [\"localhost:1\"]", 2, &["bind", "address"]),
    ("[links]\nbind = { a = 1 }", 2, &["bind", "a table"]),
    ("[links]\nlan = \"on\"", 2, &["links.lan", "true or false"]),
    (
        "[links]\nlan_when = \"never\"",
        2,
        &["links.lan_when", "\"charging\"", "\"never\""],
    ),
    (
        "[links]\ninternet_when = 1",
        2,
        &["links.internet_when", "\"by_hand\"", "the number 1"],
    ),
    (
        "[links]\nbluetooth = \"on\"",
        2,
        &["links.bluetooth", "true or false"],
    ),
    (
        "[links]\nbluetooth_when = 1",
        2,
        &["links.bluetooth_when", "by_hand"],
    ),
    (
        "[links]\nbluetooth_adapter = \"hci 0\"",
        2,
        &["links.bluetooth_adapter", "hci0"],
    ),
    ("dashboard = []", 1, &["[dashboard]"]),
    ("[dashboard]\nport = 1", 2, &["\"port\"", "listen"]),
    (
        "[dashboard]\nlisten = 7340",
        2,
        &["dashboard.listen", "quotes"],
    ),
    (
        "[dashboard]\nlisten = \"224.0.0.1:7340\"",
        2,
        &["0.0.0.0", "224.0.0.1"],
    ),
    ("[dashboard]\nlisten = \"7340\"", 2, &["127.0.0.1:7340"]),
    ("[dashboard]\nhosts = \"pi\"", 2, &["hosts", "list"]),
    (
        "[dashboard]\nhosts = [\"http://pi\"]",
        2,
        &["host name", "http://pi"],
    ),
    ("[dashboard]\nhosts = [\"pi:http\"]", 2, &["host name"]),
    ("[dashboard]\nhosts = [\"\"]", 2, &["host name"]),
    (
        "[dashboard]\npassword_file = \"secret\"",
        2,
        &["password_file", "whole path"],
    ),
    (
        "[dashboard]\ntls = \"yes\"",
        2,
        &["dashboard.tls", "true or false"],
    ),
    (
        "[dashboard]\nlocal_name = \"pi\"",
        2,
        &["dashboard.local_name", "true or false"],
    ),
    (
        "[dashboard]\nlan_api = 1",
        2,
        &["dashboard.lan_api", "true or false"],
    ),
];

#[test]
fn whatever_is_wrong_is_named_with_its_line() {
    for (text, line, words) in WRONG {
        let problems = parse(text).expect_err(text);
        let first = problems.first().unwrap();
        assert_eq!(first.line, *line, "{text:?}: {problems:?}");
        assert!(
            !first.text.is_empty() && !first.text.contains('\n'),
            "{problems:?}"
        );
        for word in *words {
            assert!(
                first.text.contains(word),
                "{text:?}: {problems:?} lacks {word:?}"
            );
        }
    }
}

#[test]
fn all_problems_come_at_once_in_order() {
    let problems =
        parse("[dashboard]\nlisten = 1\n[links]\ninternet = 2\nbind = [3, \"4\"]").unwrap_err();
    let lines: Vec<_> = problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [2, 4, 5, 5]);
}

#[test]
fn lists_have_an_end() {
    let many = vec!["\"a\""; HOSTS_MAX + 1].join(",");
    let problems = parse(&format!("[dashboard]\nhosts = [{many}]")).unwrap_err();
    assert!(problems[0].text.contains("at most 32"), "{problems:?}");
}

#[test]
fn files_are_missed_only_when_asked_for() {
    let temp = tempfile::tempdir().unwrap();
    let none = temp.path().join("none.toml");
    assert_eq!(load(None, &none).unwrap(), Settings::default());
    let error = load(Some(&none), &none).unwrap_err();
    assert!(format!("{error:#}").contains("none.toml"), "{error:#}");

    let file = temp.path().join("waymeet.toml");
    std::fs::write(&file, "[links]\n\ninternet = 1\n").unwrap();
    let text = format!("{:#}", load(None, &file).unwrap_err());
    assert!(text.contains("waymeet.toml:3: links.internet"), "{text}");

    std::fs::write(&file, [0xff, 0xfe]).unwrap();
    assert!(format!("{:#}", load(None, &file).unwrap_err()).contains("UTF-8"));
    std::fs::write(&file, vec![b'#'; FILE_BYTES_MAX as usize + 1]).unwrap();
    assert!(format!("{:#}", load(None, &file).unwrap_err()).contains("at most"));
}

#[test]
fn no_key_lacks_a_case() {
    for (table, keys) in [("links", LINKS), ("dashboard", DASHBOARD)] {
        for key in keys {
            let begin = format!("[{table}]\n{key} = ");
            assert!(
                WRONG.iter().any(|(text, ..)| text.starts_with(&begin)),
                "{key}"
            );
            let text = format!("{begin}0");
            let first = &parse(&text).unwrap_err()[0].text;
            assert!(!first.contains("unknown key"), "{first}");
        }
    }
}
