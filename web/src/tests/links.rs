//! The page Links, a contact's meetings, and when links are used.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use axum::http::Method;
use engine::{
    LinkConfig, Radios, StorageConfig,
    room::{Air, Room},
};
use serde_json::{Value, json};

use super::{
    Bench,
    two::{is_ready, until},
};

/// A battery, and what it does.
fn battery(folder: &Path, status: &str) {
    let supply = folder.join("BAT0");
    fs::create_dir_all(&supply).unwrap();
    fs::write(supply.join("type"), "Battery\n").unwrap();
    fs::write(supply.join("status"), format!("{status}\n")).unwrap();
}

async fn bench(power: &Path) -> Bench {
    let links = LinkConfig {
        bind: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
        power_supply: power.to_owned(),
        radios: Radios::none(),
        ..LinkConfig::default()
    };
    let bench = Bench::with(links, StorageConfig::default()).await;
    bench.node.set_up("Ana").await.unwrap();
    bench
}

async fn link(bench: &Bench, kind: &str) -> Value {
    let links = bench.get("/links").await;
    let items = links["items"].as_array().unwrap();
    items
        .iter()
        .find(|link| link["kind"] == kind)
        .unwrap()
        .clone()
}

const CHARGING: &str = "Only while this machine charges";

#[tokio::test]
async fn a_link_may_wait_for_the_charger() {
    let folder = tempfile::tempdir().unwrap();
    battery(folder.path(), "Charging");
    let bench = bench(folder.path()).await;
    assert_eq!(bench.get("/status").await["charging"], true);
    let browser = bench.browser().await;
    assert!(browser.page("/links").await.contains(CHARGING));
    browser
        .change("/links/lan", &[("lan", "on"), ("when", "charging")])
        .await;
    let lan = link(&bench, "lan").await;
    assert_eq!(
        (&lan["when"], &lan["waits"]),
        (&json!("charging"), &json!(false))
    );
    battery(folder.path(), "Discharging");
    assert_eq!(bench.get("/status").await["charging"], false);
    let patch = json!({ "internet": "direct", "internet_when": "charging" });
    let answer = bench.call(Method::PATCH, "/links", Some(patch)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    for kind in ["lan", "internet"] {
        let link = link(&bench, kind).await;
        assert_eq!((&link["on"], &link["waits"]), (&json!(true), &json!(true)));
        assert_eq!(link["state"], "waits until this machine charges");
    }
    let page = browser.page("/links").await;
    assert!(
        page.contains("<span class=\"quiet\">waits</span>"),
        "{page}"
    );
    let invite = bench.post("/invites", json!({})).await;
    assert_eq!(
        invite["local_only"], true,
        "nobody can come over the internet now"
    );
}

#[tokio::test]
async fn where_there_is_no_battery_nothing_waits_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let bench = bench(folder.path()).await;
    assert!(bench.get("/status").await["charging"].is_null());
    let browser = bench.browser().await;
    assert!(!browser.page("/links").await.contains(CHARGING));
    let patch = json!({ "lan_when": "charging" });
    let answer = bench.call(Method::PATCH, "/links", Some(patch)).await;
    assert_eq!(
        (answer.status.as_u16(), answer.problem().as_str()),
        (409, "conflict")
    );
    let form = [("when", "never")];
    assert_eq!(browser.submit("/links/lan", &form).await.status, 422);
    browser.change("/links/lan", &[("when", "by_hand")]).await;
    let lan = link(&bench, "lan").await;
    assert_eq!(
        (&lan["on"], &lan["when"]),
        (&json!(true), &json!("by_hand"))
    );
    assert_eq!(link(&bench, "internet").await["when"], "always");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contacts_page_tells_of_this_meeting_and_those_before() {
    let (ana, eva) = (Bench::ana().await, Bench::ana().await);
    let invite = ana.post("/invites", json!({})).await;
    let body = json!({ "link": invite["link"] });
    eva.post("/contacts/join", body).await;
    until(&eva.node, "Ana as a contact", || is_ready(&eva)).await;
    until(&ana.node, "Eva as a contact", || is_ready(&ana)).await;
    let id = ana.get("/contacts").await["items"][0]["id"].clone();
    let id = id.as_str().unwrap();
    let browser = ana.browser().await;
    let at = format!("/contacts/{id}");
    let page = browser.page(&at).await;
    assert!(
        page.contains("<dt>Path</dt><dd>this machine, taken"),
        "{page}"
    );
    assert!(!page.contains("Meet now") && !page.contains("The last meetings"));
    let page = browser.page("/links").await;
    assert!(page.contains("over this machine, taken"), "{page}");
    assert!(
        browser
            .page("/meetings")
            .await
            .contains("No meeting has ended yet")
    );

    eva.node.shutdown().await;
    let meetings = || ana.node.meetings(None, &Default::default()).unwrap().items;
    until(&ana.node, "the meeting's end", || !meetings().is_empty()).await;
    let page = browser.page(&at).await;
    assert!(page.contains("Meet now") && page.contains("The last meetings"));
    assert!(page.contains("over this machine · received"), "{page}");
    let location = browser.change(&format!("{at}/meet"), &[]).await;
    assert_eq!(location, format!("{at}?done=not-met"));
    let page = browser.page(&location).await;
    assert!(
        page.contains("Nobody answered") && page.contains("Last attempt:"),
        "{page}"
    );
    let nowhere = [("address", "the kitchen")];
    let answer = browser.submit(&format!("{at}/addresses"), &nowhere).await;
    assert_eq!(answer.status, 422);
    assert!(answer.body.contains("the kitchen"), "{}", answer.body);
    for path in ["/links", "/meetings", &format!("{at}/meetings")] {
        assert!(browser.page(path).await.contains("ended by them"), "{path}");
    }
    let location = browser.change(&format!("{at}/meetings/forget"), &[]).await;
    let page = browser.page(&location).await;
    assert!(page.contains("Forgotten.") && page.contains("No meeting has ended yet"));
    assert!(meetings().is_empty());
    browser.change("/meetings/forget", &[]).await;
}

/// A node with an adapter in a simulated room.
async fn with_radio(room: &Room) -> Bench {
    let room = room.clone();
    let links = LinkConfig {
        bind: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
        radios: Radios::of(move |_| room.radio(1)),
        ..LinkConfig::default()
    };
    let bench = Bench::with(links, StorageConfig::default()).await;
    bench.node.set_up("Ana").await.unwrap();
    bench
}

#[tokio::test]
async fn bluetooth_is_switched_and_says_how_its_adapter_is() {
    let room = Room::new(Air::default());
    let bench = with_radio(&room).await;
    let browser = bench.browser().await;
    let ready = || {
        bench.node.links().unwrap().iter().any(|link| {
            let adapter = link.bluetooth.as_ref().map(|now| now.adapter);
            adapter == Some(engine::view::AdapterState::Ready)
        })
    };
    until(&bench.node, "the adapter", ready).await;
    let page = browser.page("/links").await;
    assert!(
        page.contains("Adapter <code>sim1</code> · 0 of 7 connections"),
        "{page}"
    );
    assert!(!page.contains("never changes"));
    let now = link(&bench, "bluetooth").await;
    assert_eq!(
        (&now["on"], &now["bluetooth"]["adapter"]),
        (&json!(true), &json!("ready"))
    );
    assert_eq!(now["bluetooth"]["connected_max"], 7);

    let form = [("bluetooth", "off"), ("when", "by_hand")];
    browser.change("/links/bluetooth", &form).await;
    let now = link(&bench, "bluetooth").await;
    assert_eq!(
        (&now["on"], &now["when"]),
        (&json!(false), &json!("by_hand"))
    );
    assert_eq!(now["bluetooth"]["adapter"], "off");
    let form = [("bluetooth", "on"), ("adapter", "sim1")];
    browser.change("/links/bluetooth", &form).await;
    let now = link(&bench, "bluetooth").await;
    assert_eq!(
        (&now["on"], &now["bluetooth"]["chosen"]),
        (&json!(true), &json!("sim1"))
    );
    for form in [
        ("bluetooth", "maybe"),
        ("adapter", "hci 0"),
        ("when", "never"),
    ] {
        let answer = browser.submit("/links/bluetooth", &[form]).await;
        assert_eq!(answer.status, 422, "{form:?}");
    }
    let patch = json!({ "bluetooth": true, "bluetooth_when": "always", "bluetooth_adapter": "" });
    let answer = bench.call(Method::PATCH, "/links", Some(patch)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let now = link(&bench, "bluetooth").await;
    assert_eq!(
        (&now["when"], &now["bluetooth"]["chosen"]),
        (&json!("always"), &Value::Null)
    );
}

#[tokio::test]
async fn a_program_built_without_bluetooth_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let bench = bench(folder.path()).await;
    let now = link(&bench, "bluetooth").await;
    assert_eq!(now["bluetooth"]["adapter"], "not_built");
    assert_eq!(now["on"], false);
    let page = bench.browser().await.page("/links").await;
    assert!(page.contains("built without Bluetooth"), "{page}");
    let patch = json!({ "bluetooth": true });
    let answer = bench.call(Method::PATCH, "/links", Some(patch)).await;
    assert_eq!(answer.problem(), "conflict");
}

#[tokio::test]
async fn whose_letters_are_carried_is_a_choice() {
    let bench = Bench::ana().await;
    let letters = bench.get("/letters").await;
    assert_eq!(
        (&letters["carry"], &letters["carried"], &letters["copies"]),
        (&json!("contacts"), &json!(0), &json!(4))
    );
    let browser = bench.browser().await;
    let page = browser.page("/letters").await;
    assert!(page.contains("You carry nothing now"), "{page}");
    browser.change("/letters", &[("carry", "verified")]).await;
    assert_eq!(bench.get("/letters").await["carry"], "verified");
    let wrong = browser.submit("/letters", &[("carry", "everybody")]).await;
    assert_eq!(wrong.status, 422);
    let patch = json!({ "carry": "nobody" });
    let answer = bench.call(Method::PATCH, "/letters", Some(patch)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(bench.get("/letters").await["carry"], "nobody");
    browser.change("/letters/forget", &[]).await;
    let forget = bench.call(Method::POST, "/letters/forget", None).await;
    assert_eq!(forget.status, 204);
    // Nothing else than an expired message can be sent again.
    let blog = bench
        .post(
            "/blog/articles",
            json!({ "title": "On tents", "body": "x" }),
        )
        .await;
    let id = blog["id"].as_str().unwrap();
    let again = browser
        .submit(&format!("/entries/{id}/send-again"), &[])
        .await;
    assert_eq!(again.status, 409);
}
