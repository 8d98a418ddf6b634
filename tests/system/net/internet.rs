//! The internet link: two homes behind routers that translate addresses, and a relay between them,
//! which is iroh's own server.

use std::{
    fs,
    net::{IpAddr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Host, Net, Packet, Router, Switch, hosts::Ports};
use crate::harness::{DEADLINE, Node, befriend, connected, hand_on, wait_for};

const RELAY: &str = "203.0.113.9";
/// A connection that hears nothing is given up after 15 s, and then both sides try again.
const FOUND_WITHIN: Duration = Duration::from_secs(90);

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/relay")
        .join(name)
}

/// iroh's relay server on a host of its own.
struct Relay {
    host: Host,
    folder: TempDir,
    child: Option<Child>,
}

impl Relay {
    fn start(net: &Net, internet: &Switch) -> Self {
        let mut relay = Self {
            host: net.host(internet, &[&format!("{RELAY}/24")]),
            folder: tempfile::tempdir().unwrap(),
            child: None,
        };
        relay.run();
        relay
    }

    fn run(&mut self) {
        let config = self.folder.path().join("relay.toml");
        let text = format!(
            "http_bind_addr = \"{RELAY}:80\"\nenable_quic_addr_discovery = true\n\
             enable_metrics = false\n[tls]\nhttps_bind_addr = \"{RELAY}:443\"\n\
             cert_mode = \"Manual\"\nmanual_cert_path = {:?}\nmanual_key_path = {:?}\n",
            fixture("certificate.pem"),
            fixture("key.pem"),
        );
        fs::write(&config, text).unwrap();
        let log = fs::File::create(self.folder.path().join("log")).unwrap();
        let mut command = Command::new("iroh-relay");
        command
            .arg("--config-path")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let child = self.host.place().inside(|| command.spawn()).unwrap();
        self.child = Some(child);
        let addr: SocketAddr = format!("{RELAY}:443").parse().unwrap();
        let answers = || {
            let asked = self
                .host
                .place()
                .inside(|| TcpStream::connect_timeout(&addr, DEADLINE));
            asked.is_ok().then_some(())
        };
        wait_for("the relay", DEADLINE, answers).unwrap_or_else(|error| {
            let log = fs::read_to_string(self.folder.path().join("log"));
            panic!("{error}: {}", log.unwrap_or_default())
        });
    }

    fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
    }
}

fn settings(internet: &str) -> String {
    format!(
        "[links]\ninternet = \"{internet}\"\nrelays = [\"https://{RELAY}\"]\nrelay_ca = {:?}\n",
        fixture("authority.pem")
    )
}

/// Ana and Ben at home, each behind a router with the internet beyond.
struct Homes {
    hosts: [Host; 2],
    switches: [Switch; 2],
    _routers: [Router; 2],
}

impl Homes {
    fn new(net: &Net, internet: &Switch, ports: Ports) -> Self {
        let home = |number: u8| {
            let home = net.switch();
            let router = net.router_with(
                ports,
                (&home, &format!("192.168.{number}.254/24")),
                (internet, &format!("203.0.113.{number}/24")),
            );
            let host = net.host(&home, &[&format!("192.168.{number}.1/24")]);
            host.gateway(&format!("192.168.{number}.254"));
            (host, home, router)
        };
        let [(ana, at_anas, router_of_ana), (ben, at_bens, router_of_ben)] = [home(1), home(2)];
        Self {
            hosts: [ana, ben],
            switches: [at_anas, at_bens],
            _routers: [router_of_ana, router_of_ben],
        }
    }

    fn nodes(&self, internet: &str) -> [Node; 2] {
        let names = ["Ana", "Ben"].into_iter();
        let nodes: Vec<_> = names
            .zip(&self.hosts)
            .map(|(name, host)| host.node_with(name, &settings(internet)))
            .collect();
        nodes.try_into().unwrap_or_else(|_| unreachable!())
    }
}

fn link(node: &Node, kind: &str) -> Value {
    let links = node.list("/links");
    links.into_iter().find(|link| link["kind"] == kind).unwrap()
}

/// Waits until others can find a node through the relay.
#[track_caller]
fn is_registered(node: &Node) {
    node.until("the relay to answer", |node| {
        let state = link(node, "relay")["state"].clone();
        state
            .as_str()
            .unwrap()
            .contains(&format!("reachable through https://{RELAY}"))
            .then_some(())
    });
}

/// Waits until both are connected over a link, and both say so.
#[track_caller]
fn both_over(nodes: [&Node; 2], kind: &str) {
    let ids = nodes.map(Node::id);
    for (node, other) in [(nodes[0], &ids[1]), (nodes[1], &ids[0])] {
        node.within(FOUND_WITHIN, kind, |node| {
            let contact = node.contact(other)?;
            (contact["connection"]["link"] == kind).then_some(())
        });
        assert_eq!(link(node, kind)["contacts"], 1);
    }
}

#[track_caller]
fn talk(one: &Node, other: &Node, forum: &str, title: &str) {
    let thread = one.new_thread(forum, title, "shall we?");
    other.within(FOUND_WITHIN, "the post", |other| other.entry(&thread));
    let answer = other.reply(&thread, "yes");
    one.within(FOUND_WITHIN, "the answer", |one| one.entry(&answer));
}

/// They meet through the relay, and the routers let them find a direct way, which stays when the
/// relay dies.
#[test]
fn two_homes_meet_through_a_relay_and_go_on_without_it() {
    let Some(net) = Net::start(&["nft", "iroh-relay"]) else {
        return;
    };
    let internet = net.switch();
    let mut relay = Relay::start(&net, &internet);
    let homes = Homes::new(&net, &internet, Ports::Kept);
    let [ana, ben] = homes.nodes("relay");
    is_registered(&ana);
    is_registered(&ben);
    befriend(&ana, &ben);
    both_over([&ana, &ben], "internet");
    let forum = ana.new_forum("Lake trip");
    hand_on(&ana, &ben, &forum);
    talk(&ana, &ben, &forum, "Directly");
    relay.kill();
    talk(&ben, &ana, &forum, "Without a relay");
    both_over([&ana, &ben], "internet");
    ana.within(FOUND_WITHIN, "the relay to be missed", |ana| {
        let state = link(ana, "relay")["state"].clone();
        state
            .as_str()
            .unwrap()
            .contains("doesn't answer")
            .then_some(())
    });
    relay.run();
    is_registered(&ana);
    let ben_id = ben.id();
    drop(ben);
    let met = ana.within(FOUND_WITHIN, "the meeting's end", |ana| {
        ana.list(&format!("/contacts/{ben_id}/meetings")).pop()
    });
    assert_eq!(
        met["links"].as_array().unwrap().last(),
        Some(&json!("internet")),
        "{met}"
    );
}

/// Behind routers that let nobody in, the relay passes everything on; without it they are apart, and
/// they meet again when it is back.
#[test]
fn where_no_direct_way_leads_the_relay_passes_everything_on() {
    let Some(net) = Net::start(&["nft", "iroh-relay"]) else {
        return;
    };
    let internet = net.switch();
    let mut relay = Relay::start(&net, &internet);
    let homes = Homes::new(&net, &internet, Ports::Random);
    let [ana, ben] = homes.nodes("relay");
    is_registered(&ana);
    is_registered(&ben);
    befriend(&ana, &ben);
    both_over([&ana, &ben], "relay");
    let forum = ana.new_forum("Lake trip");
    hand_on(&ana, &ben, &forum);
    talk(&ana, &ben, &forum, "Relayed");
    relay.kill();
    let (ana_id, ben_id) = (ana.id(), ben.id());
    ana.within(FOUND_WITHIN, "Ben to be gone", |ana| {
        (!ana.is_online(&ben_id)).then_some(())
    });
    ben.within(FOUND_WITHIN, "Ana to be gone", |ben| {
        (!ben.is_online(&ana_id)).then_some(())
    });
    relay.run();
    both_over([&ana, &ben], "relay");
    talk(&ben, &ana, &forum, "Again");
    let met = ana.list("/meetings");
    assert!(
        met.iter()
            .any(|met| met["links"] == json!(["relay"]) && met["end"] == "lost"),
        "{met:?}"
    );
}

/// They became contacts where nobody used the internet; later Ana uses a relay that Ben's node has
/// no other way to know of.
#[test]
fn contacts_hear_of_a_relay_when_they_meet() {
    let Some(net) = Net::start(&["nft", "iroh-relay"]) else {
        return;
    };
    let internet = net.switch();
    let _relay = Relay::start(&net, &internet);
    let mut homes = Homes::new(&net, &internet, Ports::Random);
    let at_anas = homes.switches[0].clone();
    homes.hosts[1].walk(&at_anas, &["192.168.1.2/24"]);
    let [mut ana, mut ben] = homes.nodes("off");
    befriend(&ana, &ben);
    // Ben's own relay isn't there.
    let of_ben = settings("relay").replace(RELAY, "203.0.113.77");
    for (node, settings) in [(&mut ana, settings("relay")), (&mut ben, of_ben)] {
        node.stop();
        fs::write(node.settings_file(), settings).unwrap();
        node.start();
    }
    is_registered(&ana);
    connected(&ana, &ben);
    let before = ana.send(&ben.id(), "see you there");
    ben.reads(&before, "see you there");
    let answer = ben.send(&ana.id(), "yes");
    ana.reads(&answer, "yes");
    let at_bens = homes.switches[1].clone();
    homes.hosts[1].walk(&at_bens, &["192.168.2.1/24"]);
    homes.hosts[1].gateway("192.168.2.254");
    both_over([&ana, &ben], "relay");
}

fn to(packets: &[Packet], ip: &str) -> usize {
    let ip: IpAddr = ip.parse().unwrap();
    let ends = packets.iter().filter_map(Packet::ends);
    ends.filter(|(_, to)| *to == ip).count()
}

/// Without relays none is asked anything, and without the internet nobody is.
#[test]
fn who_wants_no_relay_asks_none_and_who_wants_no_internet_asks_nobody() {
    let Some(net) = Net::start(&["nft"]) else {
        return;
    };
    let internet = net.switch();
    let homes = Homes::new(&net, &internet, Ports::Kept);
    // Stands where the relay would be.
    let _nobody = net.host(&internet, &[&format!("{RELAY}/24")]);
    let cem_host = net.host(&internet, &["203.0.113.20/24"]);
    let capture = internet.capture();
    let cem = cem_host.node_with("Cem", &settings("direct"));
    let [ana_host, ben_host] = &homes.hosts;
    let ana = ana_host.node_with("Ana", &settings("direct"));
    befriend(&cem, &ana);
    both_over([&cem, &ana], "internet");
    let mut off = ben_host.node_with("Ben", &settings("off"));
    let invite = cem.invite();
    let joined = off.post("/contacts/join", &json!({ "link": invite }));
    assert_eq!(joined["state"], "pending", "{joined}");
    off.stop();
    let packets = capture.end();
    assert!(to(&packets, "203.0.113.20") > 0);
    assert_eq!(to(&packets, RELAY), 0);
    let from_ben: IpAddr = "203.0.113.2".parse().unwrap();
    let sent = packets.iter().filter_map(Packet::ends);
    assert_eq!(sent.filter(|(from, _)| *from == from_ben).count(), 0);
}
