//! What strangers and former contacts on the same network send, and how little comes of it.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use data_encoding::BASE32_NOPAD;

use links::{Admission, Config, EndpointSecret, Internet, Links, Protocol};
use proto::EndpointId;

use super::{Host, Net, Packet, hosts::is_at};
use crate::harness::{Node, befriend, hand_on, made_up::Random};

const MDNS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(224, 0, 0, 251)), 5353);
const TTL_S: u32 = 4_500;
/// Beacons of nobody.
const FLOOD: u64 = 10_000;
/// What a flood may add to a node's memory, however long it lasts: the search begins anew.
pub(super) const FLOOD_BYTES_MAX: u64 = 16 << 20;
/// Lines about it in the log.
pub(super) const LINES_MAX: usize = 4;
/// How long a stranger waits for a sign of life.
const KNOCKED: Duration = Duration::from_secs(3);

/// Two contacts, and somebody who isn't one.
struct Scene {
    nodes: [Node; 2],
    hosts: [Host; 2],
    eve: Host,
    forum: String,
}

fn scene(net: &Net) -> Scene {
    let home = net.switch();
    let hosts = [
        net.host(&home, &["10.1.0.1/24"]),
        net.host(&home, &["10.1.0.2/24"]),
    ];
    let eve = net.host(&home, &["10.1.0.66/24"]);
    // Multicast needs a way.
    eve.gateway("10.1.0.1");
    let nodes = [hosts[0].node("Ana"), hosts[1].node("Ben")];
    is_at(&nodes[0], "10.1.0.1");
    befriend(&nodes[0], &nodes[1]);
    let forum = nodes[0].new_forum("Lake trip");
    hand_on(&nodes[0], &nodes[1], &forum);
    Scene {
        nodes,
        hosts,
        eve,
        forum,
    }
}

impl Scene {
    /// The two still find each other, at new addresses, and nobody else is there.
    fn is_well(&mut self) {
        let Self {
            nodes: [ana, ben],
            hosts,
            forum,
            ..
        } = self;
        for (node, host, ip) in [
            (&mut *ana, &hosts[0], "10.1.0.81"),
            (ben, &hosts[1], "10.1.0.82"),
        ] {
            assert_eq!(node.list("/contacts").len(), 1);
            node.stop();
            host.readdress(&[&format!("{ip}/24")]);
            node.start();
        }
        let thread = self.nodes[0].new_thread(forum, "Still here", "and well");
        self.nodes[1].reads(&thread, "and well");
    }
}

fn name(out: &mut Vec<u8>, labels: &[&str]) {
    for label in labels {
        out.push(u8::try_from(label.len()).unwrap());
        out.extend(label.as_bytes());
    }
    out.push(0);
}

fn record(out: &mut Vec<u8>, labels: &[&str], kind: u16, data: &[u8]) {
    name(out, labels);
    out.extend(kind.to_be_bytes());
    out.extend(1u16.to_be_bytes());
    out.extend(TTL_S.to_be_bytes());
    out.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    out.extend(data);
}

/// An announcement as a node makes it (RFC 6762 section 8.3), of any label, for any address.
fn announcement(label: &str, at: (Ipv4Addr, u16)) -> Vec<u8> {
    told(label, at, true)
}

/// The same, or without the record that says which service it is.
fn told(label: &str, at: (Ipv4Addr, u16), service_too: bool) -> Vec<u8> {
    let host = &label[..label.len().min(20)];
    let (service, instance) = (
        ["_waymeet", "_udp", "local"],
        [label, "_waymeet", "_udp", "local"],
    );
    let records = 3 + u8::from(service_too);
    let mut out = [0, 0, 0x84, 0, 0, 0, 0, records, 0, 0, 0, 0].to_vec();
    let mut target = Vec::new();
    name(&mut target, &instance);
    if service_too {
        record(&mut out, &service, 12, &target);
    }
    let mut place = [0; 4].to_vec();
    place.extend(at.1.to_be_bytes());
    name(&mut place, &[host, "local"]);
    record(&mut out, &instance, 33, &place);
    record(&mut out, &instance, 16, &[0]);
    record(&mut out, &[host, "local"], 1, &at.0.octets());
    out
}

fn label(random: &mut Random) -> String {
    const BASE32: &[u8] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut label: String = (0..38)
        .map(|_| char::from(BASE32[random.below(32)]))
        .collect();
    // The last character has two bits only.
    label.push(char::from(BASE32[random.below(4) * 8]));
    label
}

pub(super) fn memory(node: &Node) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", node.process())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
    kilobytes.parse::<u64>().unwrap() * 1_024
}

pub(super) fn warnings(node: &Node) -> usize {
    let log = node.log();
    log.lines().filter(|line| line.contains("WARN")).count()
}

/// Sends from an interface of a host's, a thousand a second at most, so that the kernel's own
/// queues don't drop what should arrive.
fn send(host: &Host, to: SocketAddr, datagrams: impl Iterator<Item = Vec<u8>> + Send) {
    host.place().inside(|| {
        let socket = UdpSocket::bind("10.1.0.66:0").unwrap();
        for (n, datagram) in datagrams.enumerate() {
            socket.send_to(&datagram, to).unwrap();
            if n % 20 == 0 {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    });
}

/// As many announcements as a flood has, from [`send`]'s address.
pub(super) fn flood(host: &Host, seed: u64, service_too: bool) {
    let mut random = Random::new(seed);
    let at = (Ipv4Addr::new(10, 1, 0, 66), 4_000);
    let flood = (0..FLOOD).map(move |_| told(&label(&mut random), at, service_too));
    send(host, MDNS, flood);
}

#[test]
fn a_flood_of_forged_beacons_adds_nobody_and_bounded_memory() {
    let Some(net) = Net::start(&[]) else { return };
    let mut scene = scene(&net);
    let before = scene.nodes.each_ref().map(memory);
    flood(&scene.eve, 7, true);
    for (node, before) in scene.nodes.iter().zip(before) {
        let grown = memory(node).saturating_sub(before);
        eprintln!("a flood of {FLOOD} names added {} kB", grown >> 10);
        assert!(grown <= FLOOD_BYTES_MAX, "{grown}");
        assert!(warnings(node) <= LINES_MAX, "{}", node.log());
    }
    scene.is_well();
}

/// Bytes that are no message, messages that are cut anywhere, and very long ones; and the same at
/// the port where contacts knock.
#[test]
fn malformed_announcements_and_knocks_change_nothing() {
    let Some(net) = Net::start(&[]) else { return };
    let mut scene = scene(&net);
    let mut random = Random::new(11);
    let whole = announcement(&label(&mut random), (Ipv4Addr::new(10, 1, 0, 66), 4_000));
    let mut datagrams: Vec<Vec<u8>> = (0..whole.len()).map(|end| whole[..end].to_vec()).collect();
    for _ in 0..300 {
        let mut damaged = whole.clone();
        let place = random.below(damaged.len());
        damaged[place] = random.below(256).try_into().unwrap();
        datagrams.push(damaged);
        let len = random.below(1_400);
        datagrams.push(
            (0..len)
                .map(|_| random.below(256).try_into().unwrap())
                .collect(),
        );
    }
    let mut long = whole.clone();
    long.resize(8_900, 0);
    datagrams.push(long);
    // An address of the internet, of everybody and of nobody, and the searcher's own.
    for ip in [
        [8, 8, 8, 8],
        [255, 255, 255, 255],
        [0, 0, 0, 0],
        [10, 1, 0, 1],
        [224, 0, 0, 1],
    ] {
        datagrams.push(announcement(&label(&mut random), (ip.into(), 1)));
    }
    let port = lan_port(&scene.nodes[0]);
    send(&scene.eve, MDNS, datagrams.clone().into_iter());
    send(
        &scene.eve,
        ([10, 1, 0, 1], port + 1).into(),
        datagrams.into_iter(),
    );
    for node in &scene.nodes {
        assert!(warnings(node) <= LINES_MAX, "{}", node.log());
    }
    scene.is_well();
}

fn lan_port(node: &Node) -> u16 {
    let links = node.get("/status")["links"].clone();
    let mut addrs = links
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|link| link["addrs"].as_array().unwrap().clone());
    let addr = addrs.find_map(|addr| {
        let addr: SocketAddr = addr.as_str()?.parse().ok()?;
        addr.is_ipv4().then_some(addr)
    });
    addr.unwrap().port()
}

/// Somebody says to be Ana: the same name, another address. Ben dials it in vain and goes on with
/// the real one.
#[test]
fn a_beacon_that_is_announced_twice_leads_to_its_owner() {
    let Some(net) = Net::start(&[]) else { return };
    let home = net.switch();
    let hosts = [
        net.host(&home, &["10.1.0.1/24"]),
        net.host(&home, &["10.1.0.2/24"]),
    ];
    let eve = net.host(&home, &["10.1.0.66/24"]);
    eve.gateway("10.1.0.1");
    let [mut ana, mut ben] = [hosts[0].node("Ana"), hosts[1].node("Ben")];
    is_at(&ana, "10.1.0.1");
    befriend(&ana, &ben);
    let forum = ana.new_forum("Lake trip");
    hand_on(&ana, &ben, &forum);
    ben.stop();
    ana.stop();
    hosts[0].readdress(&["10.1.0.7/24"]);
    let capture = home.capture();
    ana.start();
    is_at(&ana, "10.1.0.7");
    std::thread::sleep(KNOCKED);
    let packets = capture.end();
    let label = packets.iter().rev().find_map(announced).expect("a beacon");
    ben.start();
    let again = announcement(&label, (Ipv4Addr::new(10, 1, 0, 66), 4_000));
    send(&eve, MDNS, std::iter::repeat_n(again, 200));
    let thread = ana.new_thread(&forum, "It is me", "who else?");
    ben.reads(&thread, "who else?");
    assert_eq!(ben.list("/contacts").len(), 1);
}

/// The label that a packet announces.
fn announced(packet: &Packet) -> Option<String> {
    let payload = packet.payload();
    let mut words = payload.split(|byte| !byte.is_ascii_alphanumeric());
    let label = words.find(|word| word.len() == 39)?;
    Some(String::from_utf8_lossy(label).into_owned())
}

/// Dials like a node that knows the endpoint's key and the address, but is no contact.
fn dials(host: &Host, to: EndpointId, at: SocketAddr, protocol: Protocol) -> bool {
    host.place().inside(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let config = Config {
                secret: EndpointSecret::from_bytes([9; 32]),
                bind: vec!["10.1.0.66:0".parse().unwrap()],
                reach: Internet::Off.into(),
                relays: Vec::new(),
                relay_ca: Vec::new(),
                bluetooth: None,
            };
            let admission = Admission::new();
            admission.permit(to);
            let (links, _arrivals) = Links::bind(config, admission).await.unwrap();
            let addrs = [at];
            let dial = links.dial(to, &addrs, None, protocol);
            let dialled = tokio::time::timeout(KNOCKED, dial).await;
            matches!(dialled, Ok(Ok(_)))
        })
    })
}

#[test]
fn a_stranger_who_dials_gets_no_answer_by_any_protocol() {
    let Some(net) = Net::start(&[]) else { return };
    let home = net.switch();
    let host = net.host(&home, &["10.1.0.1/24"]);
    let eve = net.host(&home, &["10.1.0.66/24"]);
    let ana = host.node("Ana");
    is_at(&ana, "10.1.0.1");
    let invite = ana.post("/invites", &serde_json::json!({}));
    let link = invite["link"].as_str().unwrap();
    let link = link.trim_start_matches("waymeet:").to_uppercase();
    let raw = BASE32_NOPAD.decode(link.as_bytes()).unwrap();
    let endpoint = EndpointId(raw[2..34].try_into().unwrap());
    let at = ([10, 1, 0, 1], lan_port(&ana)).into();
    ana.delete(&format!("/invites/{}", invite["id"].as_str().unwrap()));
    let capture = home.capture();
    for protocol in Protocol::ALL {
        assert!(!dials(&eve, endpoint, at, protocol), "{protocol:?}");
    }
    let packets = capture.end();
    let between = |from: [u8; 4], to: [u8; 4]| {
        let ends = Some((IpAddr::from(from), IpAddr::from(to)));
        let udp = packets.iter().filter(|packet| packet.is_udp());
        udp.filter(|packet| packet.ends() == ends).count()
    };
    assert!(between([10, 1, 0, 66], [10, 1, 0, 1]) > 0);
    assert_eq!(between([10, 1, 0, 1], [10, 1, 0, 66]), 0);

    // As long as an invite is open the door is, too.
    ana.post("/invites", &serde_json::json!({}));
    assert!(dials(&eve, endpoint, at, Protocol::Meet));
}

/// Cem was a contact: at a new address he isn't heard, and doesn't recognise Ana. Ben does.
#[test]
fn a_removed_contact_recognises_nobody_and_gets_no_answer() {
    let Some(net) = Net::start(&[]) else { return };
    let home = net.switch();
    let addrs = ["10.1.0.1/24", "10.1.0.2/24", "10.1.0.3/24"];
    let hosts = addrs.map(|addr| net.host(&home, &[addr]));
    let mut ana = hosts[0].node("Ana");
    let (mut ben, mut cem) = (hosts[1].node("Ben"), hosts[2].node("Cem"));
    is_at(&ana, "10.1.0.1");
    befriend(&ana, &ben);
    befriend(&ana, &cem);
    let forum = ana.new_forum("Lake trip");
    hand_on(&ana, &ben, &forum);
    ana.delete(&format!("/contacts/{}", cem.id()));
    // The new key is told to those who stay, in this meeting.
    let thread = ana.new_thread(&forum, "Without Cem", "only us");
    ben.reads(&thread, "only us");

    for node in [&mut ana, &mut ben, &mut cem] {
        node.stop();
    }
    for (host, addr) in hosts
        .iter()
        .zip(["10.1.0.91/24", "10.1.0.92/24", "10.1.0.93/24"])
    {
        host.readdress(&[addr]);
    }
    let capture = home.capture();
    cem.start();
    ana.start();
    ben.start();
    let thread = ana.new_thread(&forum, "Elsewhere", "found you");
    ben.reads(&thread, "found you");
    std::thread::sleep(KNOCKED);
    assert!(!cem.is_online(&ana.id()));
    let packets = capture.end();
    let ends = packets.iter().filter_map(Packet::ends);
    let (to, from) = ([10, 1, 0, 91].into(), [10, 1, 0, 93].into());
    let said = ends.filter(|ends: &(IpAddr, IpAddr)| *ends == (to, from));
    assert_eq!(said.count(), 0);
}
