//! The command, as a person and as a script use it.

use std::process::Output;

use serde_json::{Value, json};

use crate::harness::{Node, connected, pair};

fn stdout(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn two_people_use_nothing_but_the_command() {
    let (ana, ben) = (Node::fresh(), Node::fresh());
    assert!(stdout(&ana.cli(&["status"])).contains("not set up"));
    assert_eq!(ana.cli_json(&["setup", "Ana"])["identity"]["name"], "Ana");
    assert!(stdout(&ben.cli(&["setup", "Ben"])).contains("Ben"));
    assert!(stdout(&ana.cli(&["status"])).contains("Ana"));

    let invite = ana.cli_json(&["invite", "--note", "for Ben", "--expires-in", "1h"]);
    let joined = ben.cli_with_input(&["--json", "join", "-"], invite["link"].as_str().unwrap());
    let joined: Value = serde_json::from_str(&stdout(&joined)).unwrap();
    assert!(joined["state"].is_string(), "{joined}");
    connected(&ana, &ben);
    assert!(stdout(&ana.cli(&["invite", "list"])).contains("used 1 of 1"));
    let contacts = stdout(&ana.cli(&["contacts"]));
    assert!(
        contacts.contains("Ben") && contacts.contains("online over this machine"),
        "{contacts}"
    );
    assert!(stdout(&ana.cli(&["contacts", "nickname", "Ben", "Benno"])).contains("Benno (Ben)"));
    assert!(stdout(&ana.cli(&["contacts", "trust", "Benno", "verified"])).contains("verified"));
    assert_eq!(
        ana.cli_json(&["contacts", "words", "Benno"]),
        ben.cli_json(&["contacts", "words", "Ana"])
    );

    let forum = ana.cli_json(&["forums", "new", "Lake trip", "--description", "by bike"]);
    assert_eq!(forum["description"], "by bike");
    stdout(&ana.cli(&["forums", "offer", "Lake trip", "Benno"]));
    let offer = ben.until("the offer", |ben| {
        ben.cli_json(&["forums", "offers"])["items"]
            .as_array()?
            .first()
            .cloned()
    });
    assert!(stdout(&ben.cli(&["forums", "offers"])).contains("from Ana"));
    stdout(&ben.cli(&["forums", "accept", offer["id"].as_str().unwrap()]));

    let thread = ana.cli_with_input(
        &["--json", "forums", "post", "Lake trip", "Packing"],
        "the *tent*\nand more\n",
    );
    let thread: Value = serde_json::from_str(&stdout(&thread)).unwrap();
    let id = thread["id"].as_str().unwrap();
    assert_eq!(thread["items"][0]["body"], "the *tent*\nand more");
    ben.receives(id);
    assert!(stdout(&ben.cli(&["forums", "threads", "Lake trip"])).contains("Packing"));
    let reply = ben.cli_json(&["forums", "reply", id, "the stove"]);
    ana.receives(reply["id"].as_str().unwrap());
    let read = stdout(&ana.cli(&["forums", "read", id]));
    for part in ["Packing", "the *tent*\nand more", "Benno", "the stove"] {
        assert!(read.contains(part), "{read} lacks {part}");
    }
    let members = stdout(&ana.cli(&["forums", "members", "Lake trip"]));
    assert!(
        members.contains("made it") && members.contains("let in by Ana"),
        "{members}"
    );
    assert!(stdout(&ben.cli(&["forums", "leave", "Lake trip"])).contains("left"));
    assert!(stdout(&ben.cli(&["forums"])).contains("no forums"));
    assert!(stdout(&ana.cli(&["contacts", "remove", "Benno"])).contains("forgotten"));
    assert!(stdout(&ana.cli(&["contacts"])).contains("no contacts"));
}

#[test]
fn blogs_and_messages_by_the_command() {
    let (ana, ben) = pair("Ana", "Ben");
    let article = ana.cli_json(&[
        "blog", "publish", "River", "wet", "--tag", "rain", "--tag", "bike",
    ]);
    assert_eq!(article["tags"], json!(["rain", "bike"]));
    let id = article["id"].as_str().unwrap();
    ben.receives(id);
    let blogs = stdout(&ben.cli(&["blog"]));
    assert!(
        blogs.contains("by Ana") && blogs.contains("1 unread"),
        "{blogs}"
    );
    let blog = article["space"].as_str().unwrap();
    assert!(stdout(&ben.cli(&["blog", "articles", blog])).contains("River"));
    let comment = ben.cli_json(&["blog", "comment", id, "which one?"]);
    ana.receives(comment["id"].as_str().unwrap());
    assert!(stdout(&ana.cli(&["blog", "read", id])).contains("which one?"));
    let reblog = ben.cli_json(&["blog", "reblog", id, "read this"]);
    assert_eq!(reblog["reblog"]["title"], "River");

    let message = ana.cli_json(&["messages", "send", "Ben", "psst"]);
    ben.receives(message["id"].as_str().unwrap());
    assert!(stdout(&ben.cli(&["messages"])).contains("1 unread"));
    assert!(stdout(&ben.cli(&["messages", "read", "Ana"])).contains("psst"));
    ana.until("the delivery", |ana| {
        stdout(&ana.cli(&["messages", "read", "Ben"]))
            .contains("delivered")
            .then_some(())
    });
    assert!(stdout(&ben.cli(&["search", "psst"])).contains("psst"));
    assert!(stdout(&ben.cli(&["search", "zeppelin"])).contains("nothing found"));
}

#[test]
fn open_gives_a_fresh_sign_in_link() {
    let node = Node::named("Ana");
    let one = node.cli_json(&["open"]);
    let other = stdout(&node.cli(&["open"]));
    let link = one["link"].as_str().unwrap();
    assert!(
        link.starts_with(&format!("{}/sign-in?token=", node.url())),
        "{link}"
    );
    assert!(
        other.contains("/sign-in?token=") && !other.contains(link),
        "{other}"
    );
}

#[test]
fn a_refusal_is_told_in_the_nodes_words() {
    let node = Node::fresh();
    let early = node.cli(&["forums"]);
    assert_eq!(early.status.code(), Some(1));
    let document = node.call("GET", "/forums", None).body;
    assert!(
        stderr(&early).contains(document["detail"].as_str().unwrap()),
        "{early:?}"
    );
    let early = node.cli(&["--json", "forums"]);
    assert_eq!((early.status.code(), early.stdout.len()), (Some(1), 0));
    assert_eq!(
        serde_json::from_str::<Value>(&stderr(&early)).unwrap(),
        document
    );

    node.cli_json(&["setup", "Ana"]);
    let again = node.cli(&["setup", "Ana"]);
    assert!(stderr(&again).contains("Ana"), "{again:?}");
    let empty = node.cli(&["forums", "new", ""]);
    assert_eq!(empty.status.code(), Some(1));
    assert!(stderr(&empty).contains("name"), "{empty:?}");
    let nobody = node.cli(&["messages", "send", "Nobody", "hi"]);
    assert!(stderr(&nobody).contains("Nobody"), "{nobody:?}");
    let wrong = node.cli(&["join", "https://example.org"]);
    assert!(stderr(&wrong).contains("link"), "{wrong:?}");
    let odd = node.cli(&["invite", "delete", "../contacts"]);
    assert_eq!(odd.status.code(), Some(1));
}

#[test]
fn a_name_that_means_several_is_not_guessed() {
    let ana = Node::named("Ana");
    let (one, other) = (ana.new_forum("Lake"), ana.new_forum("Lake"));
    let output = ana.cli(&["forums", "threads", "Lake"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains(&one) && stderr(&output).contains(&other),
        "{output:?}"
    );
    stdout(&ana.cli(&["forums", "post", &one, "Hello", "by its id"]));
    stdout(&ana.cli(&[
        "forums",
        "post",
        &other[..12],
        "Hello",
        "by the start of its id",
    ]));
    assert_eq!(ana.list(&format!("/forums/{other}/threads")).len(), 1);
}

#[test]
fn long_lists_say_how_to_go_on() {
    let ana = Node::named("Ana");
    for number in 0..3 {
        ana.new_forum(&format!("Forum {number}"));
    }
    let first = stdout(&ana.cli(&["forums", "list", "--limit", "2"]));
    let cursor = first
        .lines()
        .last()
        .unwrap()
        .split("--cursor ")
        .nth(1)
        .expect("a cursor")
        .to_owned();
    let second = stdout(&ana.cli(&["forums", "list", "--limit", "2", "--cursor", &cursor]));
    assert!(!second.contains("--cursor"), "{second}");
    for number in 0..3 {
        let name = format!("Forum {number}");
        assert_eq!(
            first.matches(&name).count() + second.matches(&name).count(),
            1,
            "{name}"
        );
    }
}

#[test]
fn what_others_write_commands_no_terminal() {
    let (ana, ben) = pair("Ana", "Ben");
    let bad = "a\u{1b}]0;owned\u{7}b\u{9b}31mc\u{202e}d";
    let answer = ana.call(
        "POST",
        &format!("/conversations/{}", ben.id()),
        Some(&json!({ "body": bad })),
    );
    if answer.status == 201 {
        ben.receives(answer.body["id"].as_str().unwrap());
    }
    ben.receives(&ana.publish("fine", "l1\r\x1b[2Jl2\nl3"));
    let article = ben
        .list("/blogs")
        .iter()
        .find(|blog| blog["own"] == false)
        .unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let id = ben.list(&format!("/blogs/{article}/articles"))[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    for args in [
        &["messages", "read", "Ana"][..],
        &["messages"],
        &["blog", "read", &id],
        &["search", "l2"],
    ] {
        let text = stdout(&ben.cli(args));
        for c in text.chars().filter(|c| *c != '\n') {
            assert!(
                !c.is_control() && c != '\u{202e}',
                "{args:?} prints {c:?}: {text:?}"
            );
        }
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let ana = Node::named("Ana");
    for number in 0..3 {
        ana.new_forum(&format!("Forum {number}"));
    }
    let mut child = crate::harness::program()
        .arg("--data-dir")
        .arg(ana.data_dir())
        .arg("forums")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
}
