//! Bluetooth: its adapter's state in words, and how the person switches and chooses it.

use links::bluetooth::{CHANNELS_MAX, radio::State};
use store::Snapshot;

use super::{Node, links::WAITS};
use crate::{
    Error, Result,
    event::EventKind,
    events::About,
    records::{self, Switch},
    view::{AdapterState, Bluetooth, BluetoothRefused, LinkKind, LinkStatus},
};

/// Characters of an adapter's name: the system's have four or five.
const ADAPTER_CHARS_MAX: usize = 32;

impl Node {
    pub(super) fn bluetooth_link(&self, snapshot: &Snapshot) -> Result<LinkStatus> {
        let inner = &self.0;
        let fixed = &inner.config.links;
        let waits = inner.waits(snapshot, Switch::Bluetooth)?;
        let on = inner.bluetooth_is_on(snapshot)? && fixed.radios.are_built();
        let used = on && !waits && inner.keys().is_some();
        let state = inner.bluetooth.hub().state().borrow().clone();
        let adapter = adapter_state(fixed.radios.are_built(), used, &state);
        let bluetooth = Bluetooth {
            adapter,
            chosen: inner.adapter(snapshot)?,
            chosen_by_file: fixed.bluetooth_adapter.is_some(),
            ..self.bluetooth_now(adapter, state.clone())
        };
        let words = match (&state, adapter) {
            _ if on && waits => WAITS.to_owned(),
            _ if on && !used => "used as soon as this node is set up".to_owned(),
            (State::Ready(_), AdapterState::Ready) => ready_words(&bluetooth),
            (State::Unusable(why), AdapterState::Unusable) => {
                format!("this adapter can't be used: {why}")
            }
            (_, AdapterState::NoAdapter) if bluetooth.chosen.is_some() => format!(
                "there is no adapter {}: plug it in, or choose another",
                bluetooth.chosen.as_deref().unwrap_or_default()
            ),
            _ => words(adapter).to_owned(),
        };
        Ok(LinkStatus {
            kind: LinkKind::Bluetooth,
            on,
            when: inner.link_use(snapshot, Switch::Bluetooth)?,
            waits: on && waits,
            state: words,
            addrs: Vec::new(),
            contacts: self.reached(LinkKind::Bluetooth),
            fixed_by_file: fixed.bluetooth.is_some(),
            when_fixed_by_file: fixed.bluetooth_when.is_some(),
            bluetooth: Some(bluetooth),
        })
    }

    fn bluetooth_now(&self, adapter: AdapterState, state: State) -> Bluetooth {
        let (bluetooth, hub) = (&self.0.bluetooth, self.0.bluetooth.hub());
        let counts = hub.counts();
        let ready = match state {
            State::Ready(ready) if adapter == AdapterState::Ready => Some(ready),
            _ => None,
        };
        Bluetooth {
            adapter,
            traceable: ready.as_ref().is_some_and(|ready| !ready.private),
            others: ready
                .iter()
                .flat_map(|ready| ready.others.clone())
                .collect(),
            name: ready.map(|ready| ready.name),
            chosen: None,
            chosen_by_file: false,
            connected: *hub.connected().borrow() as u64,
            connected_max: CHANNELS_MAX as u64,
            near: bluetooth.near() as u64,
            refused: BluetoothRefused {
                announcements: bluetooth.strangers(),
                busy: counts.busy,
                silent: counts.silent,
                strangers: counts.strangers,
                garbled: counts.garbled,
                stuck: counts.stuck,
            },
        }
    }

    /// Switches Bluetooth on or off.
    ///
    /// # Errors
    /// [`Error::Conflict`] where the settings file fixes it or this build has none.
    pub async fn set_bluetooth(&self, on: bool) -> Result<()> {
        let fixed = &self.0.config.links;
        if fixed.bluetooth.is_some() {
            return Err(Error::Conflict {
                detail: "the settings file sets [links] bluetooth, which wins: change it there"
                    .into(),
            });
        }
        if on && !fixed.radios.are_built() {
            return Err(Error::Conflict {
                detail: "this program was built without bluetooth".into(),
            });
        }
        self.0
            .store
            .write(move |txn| records::set_bluetooth(txn, on))
            .await?;
        self.bluetooth_changed();
        Ok(())
    }

    /// Chooses an adapter by the system's name for it; an empty one leaves the choice to the node.
    ///
    /// # Errors
    /// [`Error::Conflict`] where the settings file fixes it, [`Error::Invalid`].
    pub async fn set_bluetooth_adapter(&self, name: &str) -> Result<()> {
        if self.0.config.links.bluetooth_adapter.is_some() {
            return Err(Error::Conflict {
                detail:
                    "the settings file sets [links] bluetooth_adapter, which wins: change it there"
                        .into(),
            });
        }
        let name = name.trim().to_owned();
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.chars().count() > ADAPTER_CHARS_MAX || !name.chars().all(plain) {
            return Err(crate::error::invalid(
                "bluetooth_adapter",
                "expected the system's name for an adapter, such as hci0",
            ));
        }
        self.0
            .store
            .write(move |txn| records::set_adapter(txn, &name))
            .await?;
        self.bluetooth_changed();
        Ok(())
    }

    fn bluetooth_changed(&self) {
        self.0.bluetooth.changed();
        self.0.events.emit(EventKind::Presence, About::default());
    }
}

const fn adapter_state(built: bool, used: bool, state: &State) -> AdapterState {
    match state {
        _ if !built => AdapterState::NotBuilt,
        _ if !used => AdapterState::Off,
        State::Starting => AdapterState::Starting,
        State::Ready(_) => AdapterState::Ready,
        State::NoAdapter => AdapterState::NoAdapter,
        State::NoService => AdapterState::NoService,
        State::Refused => AdapterState::Refused,
        State::Blocked => AdapterState::Blocked,
        State::PoweredOff => AdapterState::PoweredOff,
        State::Unusable(_) => AdapterState::Unusable,
    }
}

fn ready_words(bluetooth: &Bluetooth) -> String {
    let near = match bluetooth.near {
        0 => "looking for contacts in radio range".to_owned(),
        1 => "one contact's device is in radio range".to_owned(),
        count => format!("{count} devices of contacts are in radio range"),
    };
    if bluetooth.connected >= bluetooth.connected_max {
        return format!(
            "{near}; {} are connected, which is the most: others wait for their turn",
            bluetooth.connected
        );
    }
    near
}

/// A state in words, with what to do.
const fn words(state: AdapterState) -> &'static str {
    match state {
        AdapterState::NotBuilt => "this program was built without bluetooth",
        AdapterState::Off => "off: nothing is announced, nobody is dialled or answered there",
        AdapterState::Starting => "looking at the adapter",
        AdapterState::Ready => "ready",
        AdapterState::NoAdapter => {
            "this machine has no bluetooth adapter: one that is plugged in is used at once"
        }
        AdapterState::NoService => {
            "no bluetooth service runs on this machine: install bluez and start bluetooth.service"
        }
        AdapterState::Refused => {
            "the system doesn't let this program use bluetooth: see docs/BLUETOOTH.md for the permission"
        }
        AdapterState::Blocked => {
            "bluetooth is blocked: switch it on at the machine, or with `rfkill unblock bluetooth`"
        }
        AdapterState::PoweredOff => {
            "the adapter is powered off: switch bluetooth on in the system's settings, or with `bluetoothctl power on`"
        }
        AdapterState::Unusable => "this adapter can't be used",
    }
}
