//! Two people in radio range, with no network at all.

use std::time::Instant;

use serde_json::Value;

use super::{
    Air,
    node::{ANA, BEN, Node, adapter, boot, meet_nearby},
};

/// Threads that are written while one is away, each of nearly the longest text.
const THREADS: usize = 12;
const TEXT_BYTES: usize = 45_000;

fn items(list: &Value) -> &Vec<Value> {
    list["items"].as_array().unwrap()
}

fn texts(thread: &Value) -> Vec<&str> {
    let items = items(thread).iter();
    items.filter_map(|item| item["body"].as_str()).collect()
}

fn id(value: &Value) -> String {
    value["id"].as_str().unwrap().to_owned()
}

/// Waits until somebody reads these texts in a thread, and says after what time.
#[track_caller]
pub(super) fn reads(air: &mut Air, node: &Node, thread: &str, expected: &[&str]) {
    let began = Instant::now();
    node.until(air, &format!("forums read {thread}"), |thread| {
        texts(thread) == expected
    });
    let (name, after) = (node.name, began.elapsed().as_secs_f64());
    air.say(&format!(
        "{name} reads {:?} after {after:.1} s",
        expected.last()
    ));
}

/// A forum of Ana's that Ben has, too, with a thread and his answer.
pub(super) fn share(air: &mut Air) -> (String, String) {
    let forum = id(&ANA.ask(air, "forums new Lake"));
    let thread = ANA.ask(air, &format!("forums post {forum} Saturday \"who comes?\""));
    let thread = id(&thread);
    ANA.ask(air, &format!("forums offer {forum} Ben"));
    let offers = BEN.until(air, "forums offers", |list| !items(list).is_empty());
    BEN.ask(air, &format!("forums accept {}", id(&offers["items"][0])));
    reads(air, &BEN, &thread, &["who comes?"]);
    BEN.ask(air, &format!("forums reply {thread} \"I do\""));
    reads(air, &ANA, &thread, &["who comes?", "I do"]);
    (forum, thread)
}

fn held(air: &mut Air, node: &Node, forum: &str) -> usize {
    items(&node.ask(air, &format!("forums threads {forum}"))).len()
}

#[test]
fn two_people_in_radio_range_do_all_that_they_do_elsewhere() {
    let Some(mut air) = boot() else { return };
    let air = &mut air;
    air.start_all();
    meet_nearby(air);
    let (forum, thread) = share(air);

    let message = ANA.ask(air, "messages send Ben \"just between us\"");
    assert!(message["id"].is_string(), "{message}");
    let began = Instant::now();
    BEN.until(air, "messages read Ana", |read| {
        items(read)
            .iter()
            .any(|one| one["body"] == "just between us")
    });
    air.say(&format!(
        "ben reads the message after {:.1} s",
        began.elapsed().as_secs_f64()
    ));

    BEN.kill(air);
    let text =
        format!("head -c {TEXT_BYTES} /dev/urandom | base64 >/data/text; chmod 644 /data/text");
    for number in 0..THREADS {
        air.run(&text);
        let post = ANA.command(&format!("forums post {forum} {number} - </data/text"));
        air.run(&post);
    }
    air.say(&format!("ben was cut off, ana wrote {THREADS} long texts"));
    BEN.start(air);
    let began = Instant::now();
    let some = BEN.until(air, &format!("forums threads {forum}"), |list| {
        items(list).len() > 2
    });
    let some = items(&some).len();
    BEN.kill(air);
    let after = began.elapsed().as_secs_f64();
    air.say(&format!(
        "ben was cut off again with {some} of them, after {after:.1} s"
    ));
    BEN.start(air);
    let kept = held(air, &BEN, &forum);
    assert!(kept >= some, "what was shown is kept: {kept} of {some}");
    let began = Instant::now();
    BEN.until(air, &format!("forums threads {forum}"), |list| {
        items(list).len() == 1 + THREADS
    });
    air.say(&format!(
        "ben has all, after {:.1} s",
        began.elapsed().as_secs_f64()
    ));
    for node in [&ANA, &BEN] {
        let status = node.until(air, "status", |status| status["behind"]["want"] == 0);
        let bluetooth = adapter(&status);
        assert_eq!(bluetooth["connected"], 1, "{bluetooth}");
        assert_eq!(
            bluetooth["traceable"], true,
            "btvirt's address never changes"
        );
    }

    ANA.ask(air, "contacts remove Ben");
    BEN.until(air, "contacts", |list| list["items"][0]["online"] == false);
    ANA.until(air, "status", |status| adapter(status)["connected"] == 0);
    ANA.ask(air, &format!("forums reply {thread} \"without him\""));
    let (met, said) = air.guest.try_run(&BEN.command("contacts meet Ana"));
    assert!(
        !met && said.contains("urn:waymeet:problem:unreachable"),
        "{said}"
    );
    let read = BEN.ask(air, &format!("forums read {thread}"));
    assert_eq!(texts(&read), ["who comes?", "I do"]);
    air.say("ben was removed and learns nothing more");
}

#[test]
fn two_adapters_whose_addresses_change_meet_too() {
    let Some(mut air) = boot() else { return };
    let air = &mut air;
    air.run("mkdir -p /etc/bluetooth && printf '[General]\\nPrivacy = device\\n' >/etc/bluetooth/main.conf");
    air.start_all();
    meet_nearby(air);
    share(air);
    for node in [&ANA, &BEN] {
        let bluetooth = adapter(&node.ask(air, "status"));
        assert_eq!(bluetooth["traceable"], false, "{bluetooth}");
    }
}

#[test]
fn strangers_in_radio_range_delay_nobody() {
    let Some(mut air) = boot() else { return };
    let air = &mut air;
    air.start_all();
    meet_nearby(air);
    let (_, thread) = share(air);
    let mut expected = vec!["who comes?".to_owned(), "I do".to_owned()];
    for how in ["silent", "garbage", "unread", "flood"] {
        let name = format!("stranger-{how}");
        air.start(&name, "ben", &format!("radio hci1 stranger {how}"));
        let connected = air.until_said(&name, "channels");
        air.say(connected.trim());
        let text = format!("while {how}");
        BEN.ask(air, &format!("forums reply {thread} \"{text}\""));
        expected.push(text);
        let all: Vec<&str> = expected.iter().map(String::as_str).collect();
        reads(air, &ANA, &thread, &all);
    }
    let status = ANA.until(air, "status", |status| {
        let refused = &adapter(status)["refused"];
        let is = |what: &str| refused[what].as_u64().unwrap() > 0;
        is("silent") && is("garbled")
    });
    air.say(&format!("ana refused {}", adapter(&status)["refused"]));
    assert_eq!(adapter(&status)["connected"], 1);
}
