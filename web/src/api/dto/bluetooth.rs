//! The Bluetooth adapter and what goes over it.

use engine::view;
use serde::Serialize;
use utoipa::ToSchema;

/// How a Bluetooth adapter is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AdapterState {
    /// This program was built without Bluetooth.
    NotBuilt,
    /// It isn't used: switched off, waiting for the charger, or the node isn't set up.
    Off,
    /// Nothing is known yet.
    Starting,
    /// In use.
    Ready,
    /// There is none, or not the one that was chosen.
    NoAdapter,
    /// The machine runs no Bluetooth service.
    NoService,
    /// The system doesn't let this program use it.
    Refused,
    /// Blocked by a switch or by `rfkill`.
    Blocked,
    /// Powered off.
    PoweredOff,
    /// Something that is needed doesn't work.
    Unusable,
}

/// The Bluetooth adapter and what goes over it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Bluetooth {
    /// How the adapter is.
    pub(crate) adapter: AdapterState,
    /// The system's name for the one in use; null where none is.
    pub(crate) name: Option<String>,
    /// The others that could be chosen.
    pub(crate) others: Vec<String>,
    /// The one that was chosen; null where the choice is the node's.
    pub(crate) chosen: Option<String>,
    /// The settings file chose it.
    pub(crate) chosen_by_file: bool,
    /// Its address on the air never changes, so that who listens knows this machine again.
    pub(crate) traceable: bool,
    /// Devices that are connected.
    pub(crate) connected: u64,
    /// The most that can be at once.
    pub(crate) connected_max: u64,
    /// Contacts' devices that were heard in the last minute or so.
    pub(crate) near: u64,
    /// What was refused since the start.
    pub(crate) refused: BluetoothRefused,
}

/// What was refused over Bluetooth since the start.
#[derive(Serialize, ToSchema)]
pub(crate) struct BluetoothRefused {
    /// Announcements that were no contact's: other people's nodes, mostly.
    pub(crate) announcements: u64,
    /// Channels that came too fast or too many.
    pub(crate) busy: u64,
    /// Channels on which nothing was said in time.
    pub(crate) silent: u64,
    /// Channels of people who are no contacts.
    pub(crate) strangers: u64,
    /// Channels with frames that don't belong there.
    pub(crate) garbled: u64,
    /// Channels whose other side took nothing any more.
    pub(crate) stuck: u64,
}

impl From<view::AdapterState> for AdapterState {
    fn from(state: view::AdapterState) -> Self {
        match state {
            view::AdapterState::NotBuilt => Self::NotBuilt,
            view::AdapterState::Off => Self::Off,
            view::AdapterState::Starting => Self::Starting,
            view::AdapterState::Ready => Self::Ready,
            view::AdapterState::NoAdapter => Self::NoAdapter,
            view::AdapterState::NoService => Self::NoService,
            view::AdapterState::Refused => Self::Refused,
            view::AdapterState::Blocked => Self::Blocked,
            view::AdapterState::PoweredOff => Self::PoweredOff,
            view::AdapterState::Unusable => Self::Unusable,
        }
    }
}

impl From<view::Bluetooth> for Bluetooth {
    fn from(bluetooth: view::Bluetooth) -> Self {
        let refused = bluetooth.refused;
        Self {
            adapter: bluetooth.adapter.into(),
            name: bluetooth.name,
            others: bluetooth.others,
            chosen: bluetooth.chosen,
            chosen_by_file: bluetooth.chosen_by_file,
            traceable: bluetooth.traceable,
            connected: bluetooth.connected,
            connected_max: bluetooth.connected_max,
            near: bluetooth.near,
            refused: BluetoothRefused {
                announcements: refused.announcements,
                busy: refused.busy,
                silent: refused.silent,
                strangers: refused.strangers,
                garbled: refused.garbled,
                stuck: refused.stuck,
            },
        }
    }
}
