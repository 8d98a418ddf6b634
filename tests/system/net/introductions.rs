//! Ben carries an introduction between two networks; those whom he introduced find each other later.

use serde_json::json;

use super::{Net, hosts::is_at};
use crate::harness::{befriend, connected};

#[test]
fn who_was_introduced_on_two_networks_meets_when_they_are_on_one() {
    let Some(net) = Net::start(&[]) else { return };
    let (home, camp) = (net.switch(), net.switch());
    let ana_host = net.host(&home, &["10.1.0.1/24"]);
    let mut ben_host = net.host(&home, &["10.1.0.2/24"]);
    let mut cem_host = net.host(&camp, &["10.2.0.3/24"]);
    let (ana, ben, cem) = (
        ana_host.node("Ana"),
        ben_host.node("Ben"),
        cem_host.node("Cem"),
    );
    is_at(&ben, "10.1.0.2");
    befriend(&ben, &ana);
    ben_host.walk(&camp, &["10.2.0.2/24"]);
    is_at(&ben, "10.2.0.2");
    befriend(&ben, &cem);
    let made = json!({ "one": ana.id(), "other": cem.id() });
    let made = ben.post("/introductions", &made);
    let at = format!("/introductions/{}", made["id"].as_str().unwrap());
    let until = |node: &crate::harness::Node, state: &str| {
        node.until(state, |node| {
            let found = node.call("GET", &at, None);
            (found.status == 200 && found.body["state"] == state).then_some(())
        });
    };
    until(&cem, "asks");
    cem.post(&format!("{at}/accept"), &json!({}));
    ben.until("Cem's yes", |ben| {
        (ben.get(&at)["other_says"] == "yes").then_some(())
    });
    ben_host.walk(&home, &["10.1.0.2/24"]);
    until(&ana, "asks");
    ana.post(&format!("{at}/accept"), &json!({}));
    until(&ana, "meets");
    ben.until("Ana's yes", |ben| {
        (ben.get(&at)["one_says"] == "yes").then_some(())
    });
    ben_host.walk(&camp, &["10.2.0.2/24"]);
    until(&cem, "meets");
    // Only now the two are on one network, where neither knows the other's address.
    cem_host.walk(&home, &["10.1.0.77/24"]);
    connected(&ana, &cem);
    let contact = cem.contact(&ana.id()).unwrap();
    assert_eq!(contact["trust"], "introduced");
    assert_eq!(contact["introduced_by"]["name"], "Ben");
    assert_eq!(contact["link"], "lan");
}
