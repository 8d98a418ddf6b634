//! The radio by itself: two adapters hear each other, connect and exchange frames, and whatever is
//! missing is said and recovered from.

use super::{Air, example};

/// The program to drive an adapter by hand.
fn boot() -> Option<Air> {
    let air = Air::boot(&[("radio", &example("radio"))])?;
    air.say("booted");
    Some(air)
}

/// Lets `hci1` look for the one that serves at `hci0`, and checks what comes back.
fn meet(air: &mut Air) {
    let said = air.run("su ben -c 'radio hci1 meet 200 1400' </dev/null 2>&1");
    assert!(said.contains("met: 200 frames"), "{said}");
    for line in said.lines().filter(|line| !line.contains("state")) {
        air.say(line);
    }
}

/// Waits until the one that serves says this state, and no other after it.
#[track_caller]
fn then(air: &mut Air, state: &str) {
    let look = "sed -n \"s/.*state \\([A-Z][A-Za-z]*\\).*/\\1/p\" /data/served.log";
    air.until_true(
        &format!("[ \"$({look} | tail -n 1)\" = {state} ]"),
        "served",
    );
    air.say(state);
}

#[test]
fn two_adapters_exchange_frames_whatever_happened_before() {
    let Some(mut air) = boot() else { return };
    air.start("served", "ana", "radio hci0 serve");
    then(&mut air, "NoService");
    air.start_bus();
    then(&mut air, "NoService");
    air.start_service();
    then(&mut air, "NoAdapter");
    air.start_adapters();
    then(&mut air, "Ready");
    air.is_on("hci1");
    air.start("barred", "barred", "radio - watch");
    air.until_said("barred", "Refused");
    meet(&mut air);

    air.power("hci0", false);
    then(&mut air, "PoweredOff");
    air.power("hci0", true);
    then(&mut air, "Ready");
    air.block("hci0", true);
    then(&mut air, "Blocked");
    air.block("hci0", false);
    then(&mut air, "Ready");
    meet(&mut air);

    air.kill("bluetoothd");
    then(&mut air, "NoService");
    air.start_service();
    then(&mut air, "Ready");
    air.is_on("hci1");
    meet(&mut air);

    air.kill("btvirt");
    then(&mut air, "NoAdapter");
    air.start_adapters();
    then(&mut air, "Ready");
    air.is_on("hci1");
    meet(&mut air);

    // The bus too, with all that hangs on it.
    air.kill("bluetoothd");
    air.kill("bus");
    then(&mut air, "NoService");
    air.start_bus();
    air.start_service();
    then(&mut air, "Ready");
    air.is_on("hci1");
    meet(&mut air);

    // Neither who was met nor who was heard stays in bluetoothd's books at the side that still runs.
    let gone = "! ls /var/lib/bluetooth/00:AA:01:00:00:00 | grep -q ^00:AA";
    air.until_true(gone, "bluetoothd");
}

#[test]
fn strangers_on_the_channel_cost_nobody_else_anything() {
    let Some(mut air) = boot() else { return };
    air.start_all();
    air.start("served", "ana", "radio hci0 serve");
    air.until_said("served", "Ready");
    for how in ["silent", "garbage", "unread", "flood"] {
        let name = format!("stranger-{how}");
        air.start(&name, "ben", &format!("radio hci1 stranger {how}"));
        let connected = air.until_said(&name, "channels");
        air.say(connected.trim());
    }
    meet(&mut air);
    // More than a channel's longest frame can't be sent at all.
    air.start("oversized", "ben", "radio hci1 stranger oversized");
    let refused = air.until_said("oversized", "cut off after 0 frames");
    air.say(refused.trim());
    meet(&mut air);
    air.run("kill -0 $(cat /data/served.pid)");
}
