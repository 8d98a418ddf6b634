//! The node, its links and its events.

use engine::{Event, view};
use serde::Serialize;
use utoipa::ToSchema;

use super::Person;

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
}

impl From<view::LinkKind> for LinkKind {
    fn from(kind: view::LinkKind) -> Self {
        match kind {
            view::LinkKind::Loopback => Self::Loopback,
            view::LinkKind::Lan => Self::Lan,
            view::LinkKind::Internet => Self::Internet,
            view::LinkKind::Relay => Self::Relay,
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
    /// Its state in words.
    pub(crate) state: String,
    /// Addresses that it listens on.
    pub(crate) addrs: Vec<String>,
    /// Contacts reached over it now.
    pub(crate) contacts: u64,
    /// The settings file fixes it, so it can't be changed here.
    pub(crate) fixed_by_file: bool,
}

impl From<view::LinkStatus> for Link {
    fn from(link: view::LinkStatus) -> Self {
        Self {
            kind: link.kind.into(),
            on: link.on,
            state: link.state,
            addrs: link.addrs.iter().map(ToString::to_string).collect(),
            contacts: link.contacts,
            fixed_by_file: link.fixed_by_file,
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
}

impl From<view::Status> for Status {
    fn from(status: view::Status) -> Self {
        let counts = status.counts;
        Self {
            version: status.version,
            identity: status.identity.map(Person::from),
            device: status.device.map(|device| device.to_string()),
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

/// A link that signs a browser in to the dashboard, once.
#[derive(Serialize, ToSchema)]
pub(crate) struct SignInLink {
    /// The link. Whoever opens it first is signed in.
    pub(crate) link: String,
    /// When it ends.
    pub(crate) expires_ms: u64,
}

/// The data of an event on the stream.
#[derive(Serialize, ToSchema)]
pub(crate) struct EventData {
    /// The entry, contact or offer that it is about.
    pub(crate) id: Option<String>,
    /// The space that it is about.
    pub(crate) space: Option<String>,
    /// The event's name again: `entry`, `contact`, `offer`, `delivery`, `presence`, `sync` or `reset`.
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
