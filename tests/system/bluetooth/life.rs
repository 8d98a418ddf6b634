//! What becomes of a node's Bluetooth while the rest of the machine comes and goes.

use super::{
    Air,
    meeting::{reads, share},
    node::{ANA, BEN, adapter, boot, meet_nearby},
};

/// What one writes reaches the other, so that they are connected whatever their pages say.
struct Thread {
    id: String,
    texts: Vec<String>,
}

impl Thread {
    #[track_caller]
    fn goes_on(&mut self, air: &mut Air, after: &str) {
        ANA.ask(air, &format!("forums reply {} \"after {after}\"", self.id));
        self.texts.push(format!("after {after}"));
        let texts: Vec<&str> = self.texts.iter().map(String::as_str).collect();
        reads(air, &BEN, &self.id, &texts);
        ANA.until_met(air);
    }
}

#[test]
fn whatever_is_missing_is_said_and_the_contacts_meet_again() {
    let Some(mut air) = boot() else { return };
    let air = &mut air;
    ANA.start(air);
    ANA.ask(air, "setup Ana");
    ANA.until_adapter(air, "no_service");
    air.start_bus();
    air.start_service();
    ANA.until_adapter(air, "no_adapter");
    ANA.kill(air);
    air.run("rm -r /data/ana/node");
    air.start_adapters();
    air.is_on("hci0");
    air.is_on("hci1");
    meet_nearby(air);
    let (_, id) = share(air);
    let texts = ["who comes?", "I do"].map(str::to_owned).to_vec();
    let mut thread = Thread { id, texts };

    air.power("hci0", false);
    ANA.until_adapter(air, "powered_off");
    air.power("hci0", true);
    ANA.until_adapter(air, "ready");
    thread.goes_on(air, "power");

    air.block("hci0", true);
    ANA.until_adapter(air, "blocked");
    air.block("hci0", false);
    ANA.until_adapter(air, "ready");
    thread.goes_on(air, "a block");

    air.kill("bluetoothd");
    ANA.until_adapter(air, "no_service");
    air.start_service();
    ANA.until_adapter(air, "ready");
    thread.goes_on(air, "bluetoothd");

    air.kill("btvirt");
    ANA.until_adapter(air, "no_adapter");
    air.start_adapters();
    ANA.until_adapter(air, "ready");
    BEN.until_adapter(air, "ready");
    thread.goes_on(air, "its adapter");

    let choose = ANA.command("links --bluetooth-adapter hci1");
    let (chosen, said) = air.guest.try_run(&choose);
    assert!(!chosen, "{said}");
    let status = ANA.ask(air, "status");
    let bluetooth = adapter(&status);
    assert_eq!(bluetooth["chosen_by_file"], true, "{bluetooth}");
    assert_eq!(bluetooth["name"], "hci0", "the settings file wins");
    assert_eq!(bluetooth["others"], serde_json::json!(["hci1"]));
}
