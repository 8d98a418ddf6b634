//! The node, its links and its events.

use engine::{Event, view};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Behind, Bluetooth, Contact, LinkUse, Meeting, Person};

/// A kind of link.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LinkKind {
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

impl From<view::LinkKind> for LinkKind {
    fn from(kind: view::LinkKind) -> Self {
        match kind {
            view::LinkKind::Loopback => Self::Loopback,
            view::LinkKind::Lan => Self::Lan,
            view::LinkKind::Internet => Self::Internet,
            view::LinkKind::Relay => Self::Relay,
            view::LinkKind::Bluetooth => Self::Bluetooth,
        }
    }
}

/// A way to reach contacts, and its state.
#[derive(Serialize, ToSchema)]
pub(crate) struct Link {
    /// Which.
    pub(crate) kind: LinkKind,
    /// Whether it is switched on.
    pub(crate) on: bool,
    /// When it is used.
    pub(crate) when: LinkUse,
    /// It is on and not used now, because the machine doesn't charge.
    pub(crate) waits: bool,
    /// Its state in words.
    pub(crate) state: String,
    /// Addresses that it listens on.
    pub(crate) addrs: Vec<String>,
    /// Contacts reached over it now.
    pub(crate) contacts: u64,
    /// The settings file fixes it, so it can't be changed here.
    pub(crate) fixed_by_file: bool,
    /// The settings file fixes when it is used.
    pub(crate) when_fixed_by_file: bool,
    /// The adapter and what goes over it; null but for Bluetooth.
    pub(crate) bluetooth: Option<Bluetooth>,
}

impl From<view::LinkStatus> for Link {
    fn from(link: view::LinkStatus) -> Self {
        Self {
            kind: link.kind.into(),
            on: link.on,
            when: link.when.into(),
            waits: link.waits,
            state: link.state,
            addrs: link.addrs.iter().map(ToString::to_string).collect(),
            contacts: link.contacts,
            fixed_by_file: link.fixed_by_file,
            when_fixed_by_file: link.when_fixed_by_file,
            bluetooth: link.bluetooth.map(Bluetooth::from),
        }
    }
}

/// How much there is.
#[derive(Serialize, ToSchema)]
pub(crate) struct Counts {
    /// Contacts.
    pub(crate) contacts: u64,
    /// Contacts that are connected now.
    pub(crate) online: u64,
    /// Spaces held.
    pub(crate) spaces: u64,
    /// Entries held.
    pub(crate) entries: u64,
    /// Unread entries.
    pub(crate) unread: u64,
    /// Bytes of the database on disk.
    pub(crate) disk_bytes: u64,
}

/// How a disk is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DiskState {
    /// All is well.
    Fine,
    /// Less is free than should be: others' entries are not fetched.
    Low,
    /// Nothing can be written.
    Full,
    /// Nothing can be read or written.
    Failing,
}

/// The disk below the data folder.
#[derive(Serialize, ToSchema)]
pub(crate) struct Disk {
    /// How it is.
    pub(crate) state: DiskState,
    /// Bytes that are free; null where nobody can say.
    pub(crate) free_bytes: Option<u64>,
    /// With less, others' entries are not fetched.
    pub(crate) free_min_bytes: u64,
    /// What is the matter and what to do; null where all is well.
    pub(crate) advice: Option<&'static str>,
}

impl From<view::Disk> for Disk {
    fn from(disk: view::Disk) -> Self {
        Self {
            state: match disk.state {
                view::DiskState::Fine => DiskState::Fine,
                view::DiskState::Low => DiskState::Low,
                view::DiskState::Full => DiskState::Full,
                view::DiskState::Failing => DiskState::Failing,
            },
            free_bytes: disk.free_bytes,
            free_min_bytes: disk.free_min_bytes,
            advice: disk.advice(),
        }
    }
}

/// What the doctor saw.
#[derive(Serialize, ToSchema)]
pub(crate) struct CheckUp {
    /// Whether nothing is wrong.
    pub(crate) healthy: bool,
    /// Spaces looked at.
    pub(crate) spaces: u64,
    /// Feeds.
    pub(crate) feeds: u64,
    /// Entries, each by its hash.
    pub(crate) entries: u64,
    /// Signatures, each of which vouches for the entries before it.
    pub(crate) signatures: u64,
    /// Texts that are missing and asked for: no fault.
    pub(crate) missing: u64,
    /// Contacts and other records.
    pub(crate) records: u64,
    /// Findings in all; the first thousand are described.
    pub(crate) found: u64,
    /// What is wrong.
    pub(crate) findings: Vec<Finding>,
}

/// Something that is wrong.
#[derive(Serialize, ToSchema)]
pub(crate) struct Finding {
    /// In which space.
    pub(crate) space: Option<String>,
    /// In whose feed.
    pub(crate) device: Option<String>,
    /// What was expected and what was found.
    pub(crate) what: String,
    /// What to do.
    pub(crate) remedy: &'static str,
}

impl From<view::CheckUp> for CheckUp {
    fn from(seen: view::CheckUp) -> Self {
        let findings = seen.findings.into_iter().map(|finding| Finding {
            space: finding.space.map(|space| space.to_string()),
            device: finding.device.map(|device| device.to_string()),
            what: finding.what,
            remedy: finding.remedy,
        });
        Self {
            healthy: seen.found == 0,
            spaces: seen.spaces,
            feeds: seen.feeds,
            entries: seen.entries,
            signatures: seen.signatures,
            missing: seen.missing,
            records: seen.records,
            found: seen.found,
            findings: findings.collect(),
        }
    }
}

/// The node in one look.
#[derive(Serialize, ToSchema)]
pub(crate) struct Status {
    /// The program's version.
    pub(crate) version: &'static str,
    /// Whose node it is; null before set-up.
    pub(crate) identity: Option<Person>,
    /// This device's key; null before set-up.
    pub(crate) device: Option<String>,
    /// The links.
    pub(crate) links: Vec<Link>,
    /// How much there is.
    pub(crate) counts: Counts,
    /// The disk.
    pub(crate) disk: Disk,
    /// Contacts that are connected, at most 100.
    pub(crate) online: Vec<Contact>,
    /// The last five meetings that ended.
    pub(crate) meetings: Vec<Meeting>,
    /// How far catching up is: with the contact from whom it takes longest.
    pub(crate) behind: Behind,
    /// Whether the machine charges; null where it has no battery.
    pub(crate) charging: Option<bool>,
}

impl Status {
    pub(crate) fn of(status: view::Status, encounters: view::Encounters) -> Self {
        let counts = status.counts;
        Self {
            version: status.version,
            identity: status.identity.map(Person::from),
            device: status.device.map(|device| device.to_string()),
            disk: status.disk.into(),
            online: encounters.online.into_iter().map(Contact::from).collect(),
            meetings: encounters.meetings.into_iter().map(Meeting::from).collect(),
            behind: encounters.behind.into(),
            charging: encounters.charging,
            links: status.links.into_iter().map(Link::from).collect(),
            counts: Counts {
                contacts: counts.contacts,
                online: counts.online,
                spaces: counts.spaces,
                entries: counts.entries,
                unread: counts.unread,
                disk_bytes: counts.disk_bytes,
            },
        }
    }
}

/// The data of an event on the stream.
#[derive(Serialize, ToSchema)]
pub(crate) struct EventData {
    /// The entry, contact or offer that it is about.
    pub(crate) id: Option<String>,
    /// The space that it is about.
    pub(crate) space: Option<String>,
    /// The event's name again: `entry`, `contact`, `offer`, `delivery`, `presence`, `sync`, `disk` or `reset`.
    pub(crate) kind: &'static str,
    /// The thread or article of the entry.
    pub(crate) topic: Option<String>,
    /// The contact that it concerns.
    pub(crate) contact: Option<String>,
    /// When.
    pub(crate) at_ms: u64,
}

impl From<&Event> for EventData {
    fn from(event: &Event) -> Self {
        Self {
            id: event.subject.clone(),
            space: event.space.map(|space| space.to_string()),
            kind: event.kind.name(),
            topic: event.topic.clone(),
            contact: event.contact.map(|contact| contact.to_string()),
            at_ms: event.at_ms.0,
        }
    }
}
