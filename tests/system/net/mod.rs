//! Nodes on hosts of their own: network namespaces with switches, routers and lines between them,
//! on one machine, and tests of what the program does there.
//!
//! Nothing here leaves the machine or touches its own network: an interface is made inside the
//! namespaces and its other end lies in another one of them. Who may not make namespaces, or lacks
//! `unshare` or `ip`, has these tests skipped, and told so. Enter at [`Net::start`]; the first
//! lines of a test are
//!
//! ```text
//! let Some(net) = Net::start(&[]) else { return };
//! let home = net.switch();
//! let host = net.host(&home, &["10.1.0.1/24"]);
//! let ana = host.node("Ana");
//! ```

mod browser;
mod capture;
pub(crate) mod hosts;
mod line;
mod namespace;
mod packet;

mod beacons;
mod crowd;
mod forged;
mod interfaces;
mod internet;
mod introductions;
mod itself;
mod links;
mod machine;
mod meeting;
mod nearby;
mod phone;
mod walking;

use std::{
    cell::{Cell, RefCell},
    fs::File,
    path::Path,
    process::Command,
};

use capture::Capture;
pub(crate) use hosts::{Host, Ports, Router, Switch};
use line::{Line, Running};
use namespace::{Namespace, Right};
use packet::Packet;

/// Interface names are at most 15 bytes long.
fn port(number: u32) -> String {
    format!("port{number}")
}

/// A network under test. Declared first in a test, so that it goes last.
pub(crate) struct Net {
    ports: Cell<u32>,
    lines: RefCell<Vec<Running>>,
    /// These tests wait for packets, timers and two nodes at once: not beside each other.
    _turn: File,
}

impl Net {
    /// A network, or nothing where the test has to be left out or was done by another process.
    /// `tools` are what it needs beside `unshare` and `ip`.
    pub(crate) fn start(tools: &[&str]) -> Option<Self> {
        namespace::end_with_the_outer_run();
        for tool in ["unshare", "ip"].iter().chain(tools) {
            if Command::new(tool).arg("--help").output().is_err() {
                eprintln!("SKIPPED: a test between hosts needs `{tool}`, which isn't installed");
                return None;
            }
        }
        match namespace::right() {
            Right::Here => Some(Self {
                ports: Cell::new(0),
                lines: RefCell::default(),
                _turn: turn(),
            }),
            Right::ByUserNamespace => {
                namespace::again_in_a_user_namespace();
                None
            }
            Right::No(why) => {
                eprintln!("SKIPPED: a test between hosts isn't permitted here: {why}");
                None
            }
        }
    }

    /// A switch, or an access point without the radio.
    pub(crate) fn switch(&self) -> Switch {
        Switch::new(self.namespace())
    }

    /// A host without an interface.
    pub(crate) fn bare_host(&self) -> Host {
        Host::new(self.namespace())
    }

    /// A host at a switch, with these addresses (each with its prefix length).
    pub(crate) fn host(&self, switch: &Switch, addrs: &[&str]) -> Host {
        let mut host = self.bare_host();
        self.plug(&mut host, switch, addrs);
        host
    }

    /// Gives a host one more interface, at a switch.
    pub(crate) fn plug(&self, host: &mut Host, switch: &Switch, addrs: &[&str]) {
        host.plug(switch, &self.port(), addrs);
    }

    /// The same with a slow or lossy line in between.
    pub(crate) fn plug_by_line(
        &self,
        host: &mut Host,
        line: Line,
        switch: &Switch,
        addrs: &[&str],
    ) {
        let port = self.port();
        let running = Running::start(self.namespace(), line, host, switch, &port);
        host.configure(addrs);
        switch.wait_for(&port);
        self.lines.borrow_mut().push(running);
    }

    /// A router that hides what is behind `inner` from `outer`, as the box at home does. Needs
    /// `nft`.
    pub(crate) fn router(&self, inner: (&Switch, &str), outer: (&Switch, &str)) -> Router {
        self.router_with(Ports::Kept, inner, outer)
    }

    /// The same, saying what it does to ports.
    pub(crate) fn router_with(
        &self,
        ports: Ports,
        inner: (&Switch, &str),
        outer: (&Switch, &str),
    ) -> Router {
        let mut host = self.bare_host();
        self.plug(&mut host, inner.0, &[inner.1]);
        self.plug(&mut host, outer.0, &[outer.1]);
        Router::new(host, ports)
    }

    fn namespace(&self) -> Namespace {
        Namespace::new().unwrap_or_else(|error| panic!("{error}"))
    }

    fn port(&self) -> String {
        self.ports.set(self.ports.get() + 1);
        port(self.ports.get())
    }
}

/// Waits until no other test of these runs, in this process or another.
fn turn() -> File {
    let file = File::create(Path::new(env!("CARGO_TARGET_TMPDIR")).join("between-hosts")).unwrap();
    file.lock().unwrap();
    file
}
