//! Whether the network under test is one: a test that passes because nothing arrives would be
//! worth nothing.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use super::{Host, Line, Net, packet::common};

/// A datagram between two namespaces takes microseconds; what didn't come by now won't.
const NOTHING_AFTER: Duration = Duration::from_millis(200);
/// And on a busy machine it comes by then.
const COMES_WITHIN: Duration = Duration::from_secs(10);

fn socket(host: &Host, addr: &str) -> UdpSocket {
    let socket = host.place().inside(|| UdpSocket::bind(addr)).unwrap();
    socket.set_read_timeout(Some(COMES_WITHIN)).unwrap();
    socket
}

/// Who sent the next datagram.
fn sender(socket: &UdpSocket) -> Option<SocketAddr> {
    socket.recv_from(&mut [0; 2_000]).ok().map(|(_, from)| from)
}

fn nothing_comes(socket: &UdpSocket) -> bool {
    socket.set_read_timeout(Some(NOTHING_AFTER)).unwrap();
    let nothing = sender(socket).is_none();
    socket.set_read_timeout(Some(COMES_WITHIN)).unwrap();
    nothing
}

#[test]
fn hosts_reach_each_other_by_every_kind_of_address() {
    let Some(net) = Net::start(&[]) else { return };
    let home = net.switch();
    let ana = net.host(&home, &["10.1.0.1/24", "fd01::1/64", "fe80::1/64"]);
    let _ben = net.host(&home, &["10.1.0.2/24", "fd01::2/64", "fe80::2/64"]);
    let ben = net.host(&home, &["10.1.0.3/24", "fd01::3/64", "fe80::3/64"]);
    let capture = home.capture();
    for (one, other) in [
        ("10.1.0.1", "10.1.0.3"),
        ("fd01::1", "fd01::3"),
        ("fe80::1", "fe80::3"),
    ] {
        let bind = |host: &Host, ip: &str| {
            let addr = host.addr(ip, 7);
            let socket = host.place().inside(|| UdpSocket::bind(addr)).unwrap();
            socket.set_read_timeout(Some(COMES_WITHIN)).unwrap();
            socket
        };
        let (at_ana, at_ben) = (bind(&ana, one), bind(&ben, other));
        at_ana.send_to(b"hello", ana.addr(other, 7)).unwrap();
        assert_eq!(sender(&at_ben), Some(ben.addr(one, 7)));
    }
    let packets = capture.end();
    assert!(packets.is_sorted_by_key(|packet| packet.at));
    let ends: Vec<(IpAddr, IpAddr)> = packets
        .iter()
        .filter(|packet| packet.ports() == Some((7, 7)) && packet.payload() == b"hello")
        .filter_map(super::Packet::ends)
        .collect();
    let pair = |one: &str, other: &str| (one.parse().unwrap(), other.parse().unwrap());
    assert_eq!(
        ends,
        [
            pair("10.1.0.1", "10.1.0.3"),
            pair("fd01::1", "fd01::3"),
            pair("fe80::1", "fe80::3"),
        ],
        "each once"
    );
}

#[test]
fn who_unplugs_or_walks_away_is_gone_and_comes_back() {
    let Some(net) = Net::start(&[]) else { return };
    let (home, cafe) = (net.switch(), net.switch());
    let ana = net.host(&home, &["10.1.0.1/24"]);
    let mut ben = net.host(&home, &["10.1.0.2/24"]);
    let cem = net.host(&cafe, &["10.1.0.3/24"]);
    let (at_ana, at_ben, at_cem) = (
        socket(&ana, "0.0.0.0:7"),
        socket(&ben, "0.0.0.0:7"),
        socket(&cem, "0.0.0.0:7"),
    );
    let hello = || at_ben.send_to(b"hello", "10.1.0.1:7");
    hello().unwrap();
    assert_eq!(sender(&at_ana), "10.1.0.2:7".parse().ok());
    ben.set_up(false);
    assert!(hello().is_err() && nothing_comes(&at_ana));
    ben.set_up(true);
    hello().unwrap();
    assert!(sender(&at_ana).is_some());
    ben.readdress(&["10.1.0.9/24"]);
    hello().unwrap();
    assert_eq!(sender(&at_ana), "10.1.0.9:7".parse().ok());
    ben.walk(&cafe, &["10.1.0.5/24"]);
    at_ben.send_to(b"hello", "10.1.0.3:7").unwrap();
    assert_eq!(sender(&at_cem), "10.1.0.5:7".parse().ok());
    hello().unwrap();
    assert!(nothing_comes(&at_ana));
    ben.walk(&home, &["10.1.0.2/24"]);
    hello().unwrap();
    assert_eq!(sender(&at_ana), "10.1.0.2:7".parse().ok());
}

#[test]
fn an_access_point_may_keep_multicast_to_itself() {
    let Some(net) = Net::start(&["nft"]) else {
        return;
    };
    let home = net.switch();
    let ana = net.host(&home, &["10.1.0.1/24"]);
    let ben = net.host(&home, &["10.1.0.2/24"]);
    let at_ana = socket(&ana, "0.0.0.0:5353");
    let at_ben = socket(&ben, "0.0.0.0:5353");
    at_ana
        .join_multicast_v4(
            &"224.0.0.251".parse().unwrap(),
            &"10.1.0.1".parse().unwrap(),
        )
        .unwrap();
    ben.namespace().ip("route add 224.0.0.0/4 dev eth0");
    let call = || at_ben.send_to(b"who is there", "224.0.0.251:5353").unwrap();
    call();
    assert!(sender(&at_ana).is_some());
    home.filter_multicast();
    call();
    assert!(nothing_comes(&at_ana));
    at_ben.send_to(b"are you there", "10.1.0.1:5353").unwrap();
    assert!(sender(&at_ana).is_some());
}

#[test]
fn a_router_hides_what_is_behind_it() {
    let Some(net) = Net::start(&["nft"]) else {
        return;
    };
    let (home, world) = (net.switch(), net.switch());
    let _router = net.router((&home, "10.1.0.254/24"), (&world, "203.0.113.1/24"));
    let ana = net.host(&home, &["10.1.0.1/24"]);
    ana.gateway("10.1.0.254");
    let server = net.host(&world, &["203.0.113.9/24"]);
    server
        .namespace()
        .ip("route add 10.1.0.0/24 via 203.0.113.1");
    let at_ana = socket(&ana, "0.0.0.0:7");
    let at_server = socket(&server, "0.0.0.0:7");
    at_server.send_to(b"anybody there?", "10.1.0.1:7").unwrap();
    assert!(nothing_comes(&at_ana));
    at_ana.send_to(b"hello", "203.0.113.9:7").unwrap();
    let from = sender(&at_server).unwrap();
    assert_eq!(from.ip().to_string(), "203.0.113.1");
    at_server.send_to(b"hello yourself", from).unwrap();
    assert_eq!(sender(&at_ana), "203.0.113.9:7".parse().ok());
}

/// How long a datagram to `at_here` and its answer take. Tries until both arrive, since they may get
/// lost, as may what finds the neighbour's address before.
fn round_trip(here: &UdpSocket, there: &UdpSocket, at_here: &str, within: Duration) -> Duration {
    const TRIES_MAX: u8 = 50;
    here.set_read_timeout(Some(within)).unwrap();
    there.set_read_timeout(Some(within)).unwrap();
    for number in 0..TRIES_MAX {
        let this = |socket: &UdpSocket| {
            let mut text = [0];
            std::iter::from_fn(|| {
                socket
                    .recv_from(&mut text)
                    .ok()
                    .map(|(_, from)| (text[0], from))
            })
            .find_map(|(text, from)| (text == number).then_some(from))
        };
        let began = Instant::now();
        there.send_to(&[number], at_here).unwrap();
        let Some(from) = this(here) else { continue };
        here.send_to(&[number], from).unwrap();
        if this(there).is_some() {
            return began.elapsed();
        }
    }
    panic!("nothing comes through the line");
}

#[test]
fn a_line_delays_loses_and_paces() {
    const DELAY: Duration = Duration::from_millis(40);
    const DATAGRAMS: u32 = 200;
    const BYTES: usize = 1_000;
    let Some(net) = Net::start(&[]) else { return };
    let home = net.switch();
    let ana = net.host(&home, &["10.1.0.1/24", "fd01::1/64"]);
    let mut ben = net.bare_host();
    let line = Line {
        delay: DELAY,
        lost_per_mille: 100,
        rate: Some(1_000_000),
        seed: 4,
    };
    net.plug_by_line(&mut ben, line, &home, &["10.1.0.2/24", "fd01::2/64"]);
    for (bind, at_ana) in [("0.0.0.0:7", "10.1.0.1:7"), ("[::]:7", "[fd01::1]:7")] {
        let here = socket(&ana, bind);
        let there = socket(&ben, bind);
        let quick = round_trip(&here, &there, at_ana, DELAY * 8);
        assert!(quick >= DELAY * 2, "{quick:?}");
        let began = Instant::now();
        for _ in 0..DATAGRAMS {
            there.send_to(&[7; BYTES], at_ana).unwrap();
        }
        here.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let mut last = began;
        let arrived = std::iter::from_fn(|| sender(&here))
            .inspect(|_| last = Instant::now())
            .count();
        let (took, share) = (last - began, arrived as f64 / f64::from(DATAGRAMS));
        // 200 kB, less what is lost, at 1 MB/s; a busy machine makes it slower and never faster.
        assert!(took >= Duration::from_millis(180), "{took:?}");
        assert!((0.80..0.97).contains(&share), "{share}");
    }
}

#[test]
fn what_two_captures_have_in_common_is_found() {
    let Some(net) = Net::start(&[]) else { return };
    let home = net.switch();
    let ana = net.host(&home, &["10.1.0.1/24"]);
    let ben = net.host(&home, &["10.1.0.2/24"]);
    let at_ana = socket(&ana, "0.0.0.0:7");
    let at_ben = socket(&ben, "0.0.0.0:7");
    let say = |text: &[u8]| {
        let capture = home.capture();
        at_ben.send_to(text, "10.1.0.1:7").unwrap();
        assert!(sender(&at_ana).is_some());
        let mut packets = capture.end();
        packets.retain(super::Packet::is_udp);
        packets
    };
    let one = say(b"nonce 1234, name of the device: rosebud");
    let other = say(b"nonce 9876, still the device: rosebud");
    let same = say(b"ABCDEFGHIJKLMNOP");
    assert!(common(&one, &other, 8).contains(&b" rosebud"[..]));
    assert!(common(&one, &same, 8).is_empty());
}
