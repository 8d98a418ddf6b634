//! Who is here and over what, and the history of meetings.

use serde_json::{Value, json};

use crate::harness::{Node, connected, hand_on, pair};

/// Without those that went on over another connection: where both call at once there are two.
fn meetings(node: &Node, with: Option<&str>) -> Vec<Value> {
    let mut all = match with {
        Some(id) => node.list(&format!("/contacts/{id}/meetings")),
        None => node.list("/meetings"),
    };
    all.retain(|met| met["end"] != "replaced");
    all
}

#[test]
fn both_sides_say_over_what_they_are_connected() {
    let (ana, ben) = pair("Ana", "Ben");
    let forum = ana.new_forum("Lake");
    hand_on(&ana, &ben, &forum);
    let thread = ana.new_thread(&forum, "Hello", "hello");
    ben.receives(&thread);
    let [at_ana, at_ben] = [(&ana, &ben), (&ben, &ana)].map(|(node, other)| {
        let contact = node.contact(&other.id()).unwrap();
        assert_eq!(contact["link"], "loopback");
        contact["connection"].clone()
    });
    for now in [&at_ana, &at_ben] {
        assert_eq!(now["link"], "loopback");
        assert!(now["rtt_us"].as_u64().unwrap() > 0, "{now}");
        let (link, whole) = (&now["link_since_ms"], &now["since_ms"]);
        assert!(link.as_u64() >= whole.as_u64(), "{now}");
    }
    assert_ne!(
        at_ana["dialed"], at_ben["dialed"],
        "one called, one answered"
    );
    assert!(at_ana["exchanged"]["entries_out"].as_u64().unwrap() >= 1);
    assert!(at_ben["exchanged"]["entries_in"].as_u64().unwrap() >= 1);

    let status = ana.get("/status");
    assert_eq!(status["online"][0]["id"], ben.id());
    assert_eq!(status["online"][0]["connection"]["link"], "loopback");
    assert_eq!(status["behind"]["want"], 0);
    let said = ana.cli(&["status"]);
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.contains("online: Ben"), "{said}");
    assert!(said.contains("over this machine since"), "{said}");
    assert!(said.contains("nothing to come"), "{said}");
    let watched = ana.cli(&["status", "--watch"]);
    assert!(watched.status.success(), "it ends where nothing is missing");
}

#[test]
fn meetings_are_written_down_and_stay_over_a_restart() {
    let (mut ana, mut ben) = pair("Ana", "Ben");
    let (ana_id, ben_id) = (ana.id(), ben.id());
    let forum = ana.new_forum("Lake");
    hand_on(&ana, &ben, &forum);
    let thread = ana.new_thread(&forum, "Hello", "hello");
    ben.receives(&thread);
    assert!(meetings(&ana, None).is_empty(), "none has ended");
    ben.stop();
    let met = ana.until("the meeting to be written down", |ana| {
        meetings(ana, None).pop()
    });
    assert_eq!(met["contact"]["id"], ben_id);
    assert_eq!(
        (&met["end"], &met["links"]),
        (&json!("theirs"), &json!(["loopback"]))
    );
    assert!(
        met["exchanged"]["entries_out"].as_u64().unwrap() >= 1,
        "{met}"
    );
    assert!(met["exchanged"]["bytes_in"].as_u64().unwrap() > 0, "{met}");
    let span = met["ended_ms"].as_u64().unwrap() - met["began_ms"].as_u64().unwrap();
    assert_eq!(span, met["lasted_ms"].as_u64().unwrap());
    assert_eq!(meetings(&ana, Some(&ben_id)), vec![met.clone()]);
    assert_eq!(ana.get("/status")["meetings"][0], met);

    ben.start();
    let at_ben = meetings(&ben, Some(&ana_id));
    assert_eq!(at_ben.len(), 1, "also the one who ended it has it");
    assert_eq!(at_ben[0]["end"], "ours");
    assert_ne!(at_ben[0]["dialed"], met["dialed"]);
    connected(&ana, &ben);
    // Without warning, and seen by who is left.
    ben.kill();
    ana.stop();
    ana.start();
    let list = meetings(&ana, None);
    assert_eq!(list.len(), 2, "{list:?}");
    assert_eq!(list[1], met, "the newest first");
    let whole = ana.list("/meetings");
    let page = ana.get("/meetings?limit=1");
    assert_eq!(page["items"], json!([whole[0]]));
    let cursor = page["next"].as_str().unwrap();
    let page = ana.get(&format!("/meetings?limit=500&cursor={cursor}"));
    assert_eq!(page["items"].as_array().unwrap(), &whole[1..]);
    assert_eq!(page["next"], Value::Null);
    assert_eq!(ana.call("GET", "/meetings?cursor=x", None).status, 422);

    let said = ana.cli(&["meetings", "--contact", "Ben"]);
    let said = String::from_utf8(said.stdout).unwrap();
    assert_eq!(said.lines().count(), whole.len(), "{said}");
    assert!(said.contains("ended by them"), "{said}");
}

#[test]
fn meetings_are_forgotten_with_the_contact_and_when_one_says_so() {
    let (ana, mut ben) = pair("Ana", "Ben");
    let ben_id = ben.id();
    ben.stop();
    let once = |node: &Node| meetings(node, None).pop();
    ana.until("the meeting", once);
    ana.cli_json(&["meetings", "--forget"]);
    assert!(meetings(&ana, None).is_empty());
    ben.start();
    connected(&ana, &ben);
    ben.stop();
    ana.until("the next meeting", once);
    assert_eq!(meetings(&ana, Some(&ben_id)).len(), 1);
    ana.call("DELETE", &format!("/contacts/{ben_id}"), None);
    assert!(meetings(&ana, None).is_empty());
    let gone = format!("/contacts/{ben_id}/meetings");
    assert_eq!(ana.call("GET", &gone, None).status, 404);
    assert_eq!(ana.call("DELETE", &gone, None).status, 404);
}

#[test]
fn a_contact_is_called_when_the_person_says_so() {
    let (ana, mut ben) = pair("Ana", "Ben");
    let (ben_id, meet) = (ben.id(), format!("/contacts/{}/meet", ben.id()));
    let there = ana.post(&meet, &json!({}));
    assert_eq!(
        (&there["id"], &there["online"]),
        (&json!(ben_id), &json!(true))
    );
    ben.stop();
    ana.until("Ben to go", |ana| (!ana.is_online(&ben_id)).then_some(()));
    let nobody = ana.call("POST", &meet, Some(&json!({})));
    assert_eq!(nobody.status, 503, "{:?}", nobody.body);
    assert!(nobody.body["detail"].as_str().unwrap().contains("Ben"));
    ben.start();
    let said = ana.cli(&["contacts", "meet", "Ben"]);
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(
        said.contains("connected with Ben, over this machine"),
        "{said}"
    );
}
