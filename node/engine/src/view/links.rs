//! Links, the connections over them, and the meetings that there were.

use std::net::SocketAddr;

use proto::Millis;

use super::{Contact, Person};

/// One way to reach contacts.
#[derive(Debug, Clone)]
pub struct LinkStatus {
    /// Which link.
    pub kind: LinkKind,
    /// Whether it is switched on.
    pub on: bool,
    /// When it is used. Nodes on this machine always are.
    pub when: LinkUse,
    /// It is switched on and not used now, because the machine doesn't charge.
    pub waits: bool,
    /// Its state in words.
    pub state: String,
    /// Addresses that it listens on.
    pub addrs: Vec<SocketAddr>,
    /// Contacts reached over it now.
    pub contacts: u64,
    /// The setting is in the settings file, so the dashboard can't change it.
    pub fixed_by_file: bool,
    /// When it is used is in the settings file.
    pub when_fixed_by_file: bool,
    /// Of Bluetooth: the adapter and what goes over it.
    pub bluetooth: Option<Bluetooth>,
}

/// The Bluetooth adapter and what goes over it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bluetooth {
    /// How the adapter is.
    pub adapter: AdapterState,
    /// What the system calls the one in use, such as `hci0`.
    pub name: Option<String>,
    /// The others that could be chosen.
    pub others: Vec<String>,
    /// The one that was chosen, where one was.
    pub chosen: Option<String>,
    /// The settings file chose it.
    pub chosen_by_file: bool,
    /// Its address on the air never changes, so that who listens knows this machine again.
    pub traceable: bool,
    /// Devices that are connected, at most `connected_max`.
    pub connected: u64,
    /// The most that can be.
    pub connected_max: u64,
    /// Contacts' devices that were heard in the last minute or so.
    pub near: u64,
    /// What others sent that was refused, since the start.
    pub refused: BluetoothRefused,
}

/// How a Bluetooth adapter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdapterState {
    /// This build has no Bluetooth.
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

/// What was refused over Bluetooth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BluetoothRefused {
    /// Announcements that were no contact's: other people's nodes, mostly.
    pub announcements: u64,
    /// Channels that came too fast or too many.
    pub busy: u64,
    /// Channels on which nothing was said in time.
    pub silent: u64,
    /// Channels of people who are no contacts.
    pub strangers: u64,
    /// Channels with frames that don't belong there.
    pub garbled: u64,
    /// Channels whose other side took nothing any more.
    pub stuck: u64,
}

/// A kind of link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkKind {
    /// Nodes on the same machine.
    Loopback,
    /// The local network.
    Lan,
    /// Directly over the internet.
    Internet,
    /// Over a relay on the internet.
    Relay,
    /// Bluetooth, with no network between.
    Bluetooth,
}

/// When a link that is switched on is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LinkUse {
    /// Always.
    #[default]
    Always,
    /// While the machine charges, or where it has no battery.
    Charging,
    /// Nobody is called over it but by hand; contacts who call are answered.
    ByHand,
}

/// A connection with a contact as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connected {
    /// The link in use.
    pub link: LinkKind,
    /// Since when over this link.
    pub link_since_ms: Millis,
    /// Since when at all.
    pub since_ms: Millis,
    /// Round trip in microseconds, as last estimated.
    pub rtt_us: u64,
    /// Whether we called.
    pub dialed: bool,
    /// What went to and fro in this meeting.
    pub exchanged: Exchanged,
}

/// What went to and fro.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Exchanged {
    /// Entries received.
    pub entries_in: u64,
    /// Entries sent.
    pub entries_out: u64,
    /// Bytes of sync traffic received.
    pub bytes_in: u64,
    /// Bytes of sync traffic sent.
    pub bytes_out: u64,
}

/// How far behind a contact we are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Behind {
    /// Entries of the common spaces that we have.
    pub have: u64,
    /// Entries that they have and we lack.
    pub want: u64,
    /// How fast that goes; nothing where it is less than a second's work.
    pub pace: Option<Pace>,
}

/// How fast catching up goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Entries received since it began.
    pub got: u64,
    /// Entries a second, smoothed over some seconds.
    pub per_s: u64,
    /// Seconds that are left at this rate; `None` where nobody can say.
    pub left_s: Option<u64>,
}

/// Who is here, who was, and what is still to come.
#[derive(Debug, Clone)]
pub struct Encounters {
    /// Contacts that are connected, at most 100.
    pub online: Vec<Contact>,
    /// The last meetings, at most 5.
    pub meetings: Vec<Meeting>,
    /// How far catching up is: with the contact from whom it takes longest.
    pub behind: Behind,
    /// Whether the machine charges; `None` where it has no battery.
    pub charging: Option<bool>,
}

/// A meeting that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meeting {
    /// With whom.
    pub contact: Person,
    /// When it began, by this machine's clock at its end.
    pub began_ms: Millis,
    /// When it ended.
    pub ended_ms: Millis,
    /// How long it lasted.
    pub lasted_ms: u64,
    /// Over which links, in the order in which they came into use.
    pub links: Vec<LinkKind>,
    /// Whether we called.
    pub dialed: bool,
    /// What went to and fro.
    pub exchanged: Exchanged,
    /// How it ended.
    pub end: MeetingEnd,
}

/// How a meeting ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MeetingEnd {
    /// The connection broke off: out of range, asleep, or without power.
    Lost,
    /// The other side ended it in good order.
    Theirs,
    /// This side did.
    Ours,
    /// Another connection with the same device took its place.
    Replaced,
    /// The other side broke the protocol.
    Misbehaved,
    /// This node's disk failed or was full.
    Disk,
}
