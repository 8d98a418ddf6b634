//! Nodes in the machine with Bluetooth: each at an adapter of its own, and with nothing else to meet by.

use std::{path::Path, time::Instant};

use serde_json::Value;

use super::{Air, example};

/// A node in the machine.
pub(super) struct Node {
    /// Its user, too.
    pub(super) name: &'static str,
    adapter: &'static str,
    /// One listens on IPv4 only and one on IPv6 only, so that not even `lo` leads from one to the other.
    bind: &'static str,
    dashboard: u16,
}

pub(super) const ANA: Node = Node {
    name: "ana",
    adapter: "hci0",
    bind: "127.0.0.1:0",
    dashboard: 7341,
};
pub(super) const BEN: Node = Node {
    name: "ben",
    adapter: "hci1",
    bind: "[::1]:0",
    dashboard: 7342,
};

/// The machine with the real program, and with adapters to be driven by hand.
pub(super) fn boot() -> Option<Air> {
    let program = Path::new(env!("CARGO_BIN_EXE_waymeet"));
    let mut air = Air::boot(&[("waymeet", program), ("radio", &example("radio"))])?;
    air.say("booted");
    for node in [&ANA, &BEN] {
        let Node { name, .. } = node;
        let settings = format!(
            "[links]\\ninternet = \"off\"\\nlan = false\\nbind = [\"{}\"]\\nbluetooth_adapter = \"{}\"\\n",
            node.bind, node.adapter
        );
        air.run(&format!(
            "mkdir /data/{name} && printf '{settings}' >/data/{name}/settings.toml && chown -R {name} /data/{name}"
        ));
    }
    let interfaces = air.run("ls /sys/class/net");
    assert_eq!(interfaces.trim(), "lo", "there is no network");
    Some(air)
}

impl Node {
    fn program(&self) -> String {
        format!("waymeet --data-dir /data/{0}/node", self.name)
    }

    /// Starts it and waits for its dashboard.
    #[track_caller]
    pub(super) fn start(&self, air: &mut Air) {
        let Self { name, .. } = self;
        air.run(&format!("rm -f /data/{name}/node/dashboard-url"));
        let command = format!(
            "{} --config /data/{name}/settings.toml --listen 127.0.0.1:{} --no-open -v",
            self.program(),
            self.dashboard
        );
        air.start(name, name, &command);
        air.until_true(&format!("[ -s /data/{name}/node/dashboard-url ]"), name);
    }

    /// Ends it as a power cut would.
    pub(super) fn kill(&self, air: &mut Air) {
        air.kill(self.name);
    }

    /// A command of it in the shell of the machine; `arguments` in double quotes where they need any.
    pub(super) fn command(&self, arguments: &str) -> String {
        let program = self.program();
        format!("su {} -c '{program} --json {arguments}'", self.name)
    }

    /// What a command says; it must succeed.
    #[track_caller]
    pub(super) fn ask(&self, air: &mut Air, arguments: &str) -> Value {
        self.until(air, arguments, |_| true)
    }

    /// What a command says, once it succeeds and is what is waited for.
    #[track_caller]
    pub(super) fn until(
        &self,
        air: &mut Air,
        arguments: &str,
        is_it: impl Fn(&Value) -> bool,
    ) -> Value {
        let log = format!("/data/{}.log", self.name);
        air.guest.until(&self.command(arguments), &log, is_it)
    }

    /// Waits until its adapter is in a state.
    #[track_caller]
    pub(super) fn until_adapter(&self, air: &mut Air, state: &str) {
        let began = Instant::now();
        self.until(air, "status", |status| adapter(status)["adapter"] == state);
        let after = began.elapsed().as_secs_f64();
        air.say(&format!("{}: {state} after {after:.1} s", self.name));
    }

    /// Waits until it is connected with its only contact, and over Bluetooth.
    #[track_caller]
    pub(super) fn until_met(&self, air: &mut Air) {
        let met = self.until(air, "contacts", |list| {
            list["items"][0]["online"] == true && list["items"][0]["state"] == "ready"
        });
        let connection = &met["items"][0]["connection"];
        assert_eq!(connection["link"], "bluetooth", "{connection}");
    }
}

/// What a node's status says of Bluetooth.
pub(super) fn adapter(status: &Value) -> Value {
    let links = status["links"].as_array().unwrap();
    let link = links.iter().find(|link| link["kind"] == "bluetooth");
    link.expect("the link is listed")["bluetooth"].clone()
}

/// Two people who are set up and became contacts over the air.
#[track_caller]
pub(super) fn meet_nearby(air: &mut Air) {
    for (node, name) in [(&ANA, "Ana"), (&BEN, "Ben")] {
        node.start(air);
        node.ask(air, &format!("setup {name}"));
        node.until_adapter(air, "ready");
    }
    let began = Instant::now();
    for node in [&ANA, &BEN] {
        let command = node.command("nearby --seconds 120");
        air.run(&format!(
            "{command} </dev/null >/data/{}-near.log 2>&1 &",
            node.name
        ));
    }
    let people = [&ANA, &BEN].map(|node| {
        let look = format!("tail -n 1 /data/{}-near.log", node.name);
        let log = format!("/data/{}.log", node.name);
        let seen = air.guest.until(&look, &log, |nearby| {
            nearby["people"][0]["state"] == "comparing"
        });
        seen["people"][0].clone()
    });
    let after = began.elapsed().as_secs_f64();
    air.say(&format!("found each other nearby after {after:.1} s"));
    let [ben, ana] = &people;
    assert_eq!((&ana["name"], &ben["name"]), (&"Ana".into(), &"Ben".into()));
    assert_eq!(ana["words"], ben["words"], "both see the same words");
    air.say(&format!("both read {}", ana["words"]));
    for (node, other) in [(&ANA, ben), (&BEN, ana)] {
        let id = other["id"].as_str().unwrap();
        node.ask(air, &format!("nearby --accept {id}"));
    }
    for node in [&ANA, &BEN] {
        node.until_met(air);
    }
    let after = began.elapsed().as_secs_f64();
    air.say(&format!(
        "contacts, and connected over Bluetooth, after {after:.1} s"
    ));
    for node in [&ANA, &BEN] {
        node.ask(air, "nearby --close");
    }
}
