//! Hosts, the switches that they are plugged into, and the router between two networks.
//!
//! The kernel gives no address by itself and doesn't look for doubles, so addresses are there at
//! once and the same each time. Enter at [`Host`].

use std::{
    net::{IpAddr, SocketAddr, SocketAddrV6},
    rc::Rc,
};

use nix::net::if_::if_nametoindex;

use super::{Capture, Namespace};
use crate::harness::{Node, Place};

/// The bridge in a switch's namespace.
const BRIDGE: &str = "br0";
/// Links of a node as it comes, without the internet.
const LINKS: &str = "[links]\ninternet = \"off\"\n";

/// What connects hosts: everything that comes in at one port goes out where it belongs. It stays as
/// long as something is plugged in.
#[derive(Clone)]
pub(crate) struct Switch {
    namespace: Rc<Namespace>,
}

impl Switch {
    pub(super) fn new(namespace: Namespace) -> Self {
        namespace.ip(&format!(
            "link add {BRIDGE} type bridge forward_delay 0 mcast_snooping 0"
        ));
        namespace.ip(&format!("link set dev {BRIDGE} addrgenmode none up"));
        Self {
            namespace: Rc::new(namespace),
        }
    }

    pub(super) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    pub(super) fn attach(&self, port: &str) {
        self.namespace.ip(&format!(
            "link set dev {port} addrgenmode none master {BRIDGE} up"
        ));
    }

    /// Waits until a port passes frames on, which needs its other end to be up.
    pub(super) fn wait_for(&self, port: &str) {
        self.namespace.wait_for_link(port, "state forwarding");
    }

    /// Drops what is sent to all, as some access points do, but for what finds out who has an
    /// address (ARP, neighbour discovery). Needs `nft`.
    pub(crate) fn filter_multicast(&self) {
        self.namespace.nft(
            "table bridge filter {
                chain between {
                    type filter hook forward priority 0; policy accept;
                    ether type arp accept
                    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
                    ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00 drop
                }
            }",
        );
    }

    /// Writes down everything that comes in at a port from now on.
    pub(crate) fn capture(&self) -> Capture {
        Capture::start(&self.namespace, BRIDGE)
    }
}

/// A cable: the host's interface at one end, a switch's port at the other.
struct Interface {
    name: String,
    port: String,
    switch: Switch,
}

/// A computer of its own, as far as its network goes.
pub(crate) struct Host {
    namespace: Namespace,
    interfaces: Vec<Interface>,
}

impl Host {
    pub(super) fn new(namespace: Namespace) -> Self {
        Self {
            namespace,
            interfaces: Vec::new(),
        }
    }

    pub(super) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    pub(crate) fn place(&self) -> &Place {
        self.namespace.place()
    }

    /// Names the next interface. The other end of its cable will be the switch's `port`.
    pub(super) fn next_interface(&mut self, switch: &Switch, port: &str) -> String {
        let name = format!("eth{}", self.interfaces.len());
        self.interfaces.push(Interface {
            name: name.clone(),
            port: port.to_owned(),
            switch: switch.clone(),
        });
        name
    }

    pub(super) fn plug(&mut self, switch: &Switch, port: &str, addrs: &[&str]) {
        let name = self.next_interface(switch, port);
        switch.namespace.ip(&format!(
            "link add {port} type veth peer name {name} netns {}",
            self.namespace.pid()
        ));
        switch.attach(port);
        self.configure(addrs);
        switch.wait_for(port);
    }

    /// Sets up the last interface.
    pub(super) fn configure(&self, addrs: &[&str]) {
        let Interface { name, .. } = self.interfaces.last().unwrap();
        self.namespace
            .ip(&format!("link set dev {name} addrgenmode none up"));
        self.namespace.wait_for_link(name, "state UP");
        self.add(name, addrs);
    }

    fn add(&self, name: &str, addrs: &[&str]) {
        for addr in addrs {
            // Not waiting for somebody who has it already takes a second off each test.
            let nodad = if addr.contains(':') { " nodad" } else { "" };
            self.namespace
                .ip(&format!("address add {addr} dev {name}{nodad}"));
        }
    }

    /// The first interface loses its signal, or gets it back.
    pub(crate) fn set_up(&self, up: bool) {
        let Interface { name, .. } = &self.interfaces[0];
        let state = if up { "up" } else { "down" };
        self.namespace.ip(&format!("link set dev {name} {state}"));
        if up {
            self.namespace.wait_for_link(name, "state UP");
        }
    }

    /// The first interface gets other addresses.
    pub(crate) fn readdress(&self, addrs: &[&str]) {
        let Interface { name, .. } = &self.interfaces[0];
        self.namespace.ip(&format!("address flush dev {name}"));
        self.add(name, addrs);
    }

    /// The first interface leaves its switch for another, where it gets other addresses.
    pub(crate) fn walk(&mut self, to: &Switch, addrs: &[&str]) {
        let Interface { name, port, switch } = &mut self.interfaces[0];
        switch
            .namespace
            .ip(&format!("link set dev {port} netns {}", to.namespace.pid()));
        *switch = to.clone();
        to.attach(port);
        self.namespace.wait_for_link(name, "state UP");
        to.wait_for(port);
        self.readdress(addrs);
    }

    /// An address as this host has to write it: a link-local one with the number of its first
    /// interface.
    pub(crate) fn addr(&self, ip: &str, port: u16) -> SocketAddr {
        match ip.parse().unwrap() {
            IpAddr::V6(ip) if ip.is_unicast_link_local() => {
                let Interface { name, .. } = &self.interfaces[0];
                let number = self.place().inside(|| if_nametoindex(name.as_str()));
                SocketAddrV6::new(ip, port, 0, number.unwrap()).into()
            }
            ip => (ip, port).into(),
        }
    }

    /// Sends what belongs to no network of its own to a gateway.
    pub(crate) fn gateway(&self, addr: &str) {
        self.namespace.ip(&format!("route add default via {addr}"));
    }

    /// A node without an identity, with the settings that everybody begins with, not yet started.
    pub(crate) fn prepared(&self) -> Node {
        Node::prepared_at(self.place().clone(), LINKS)
    }

    /// A node with an identity and settings of its own.
    pub(crate) fn node_with(&self, name: &str, settings: &str) -> Node {
        let mut node = Node::prepared_at(self.place().clone(), settings);
        node.start();
        node.post("/setup", &serde_json::json!({ "name": name }));
        node
    }

    /// A node with an identity.
    pub(crate) fn node(&self, name: &str) -> Node {
        let mut node = self.prepared();
        node.start();
        node.post("/setup", &serde_json::json!({ "name": name }));
        node
    }
}

/// Waits until a node knows that it can be reached at an address: an invite or an announcement from
/// before would name others.
#[track_caller]
pub(crate) fn is_at(node: &Node, ip: &str) {
    node.until("the node to notice its address", |node| {
        let status = node.get("/status");
        let links = status["links"].as_array().unwrap();
        let mut addrs = links
            .iter()
            .flat_map(|link| link["addrs"].as_array().unwrap());
        addrs
            .any(|addr| addr.as_str().is_some_and(|addr| addr.contains(ip)))
            .then_some(())
    });
}

/// What a router does to the ports of those behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ports {
    /// It keeps them, to whomever they send: as most boxes at home.
    Kept,
    /// Each destination sees another one, so nobody can tell another where to knock.
    Random,
}

/// A host that passes on between its first and its second interface, and gives what leaves by the
/// second its own address.
pub(crate) struct Router {
    _host: Host,
}

impl Router {
    pub(super) fn new(host: Host, ports: Ports) -> Self {
        let masquerade = match ports {
            Ports::Kept => "masquerade",
            Ports::Random => "masquerade fully-random",
        };
        host.namespace.nft(&format!(
            "table ip nat {{
                chain out {{
                    type nat hook postrouting priority 100; policy accept;
                    oifname \"eth1\" {masquerade}
                }}
            }}
            table ip wall {{
                chain inside {{
                    type filter hook input priority 0; policy accept;
                    iifname \"eth1\" ct state new drop
                }}
                chain through {{
                    type filter hook forward priority 0; policy drop;
                    iifname \"eth0\" accept
                    ct state established,related accept
                }}
            }}"
        ));
        host.namespace.set("ipv4/ip_forward", "1");
        Self { _host: host }
    }
}
