//! The links: their state, and how the person switches them.

use std::collections::BTreeSet;

use super::Node;
use crate::{
    Error, Internet, Result,
    event::EventKind,
    events::About,
    files, invites,
    lan::Search,
    nearby,
    records::{self, Switch},
    view::{LinkKind, LinkStatus, LinkUse},
};

/// What a link says that waits for the charger.
pub(super) const WAITS: &str = "waits until this machine charges";

impl Node {
    /// The links and their state.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn links(&self) -> Result<Vec<LinkStatus>> {
        let snapshot = self.0.store.read()?;
        let internet = self.0.internet(&snapshot)?;
        let waits = |link| self.0.waits(&snapshot, link);
        let (lan_waits, internet_waits) = (waits(Switch::Lan)?, waits(Switch::Internet)?);
        let addrs = self
            .0
            .links()
            .map(|links| links.addrs())
            .unwrap_or_default();
        let of_kind = |kind: links::PathKind| {
            addrs
                .iter()
                .filter(|addr| links::address::kind(addr.ip()) == kind)
                .copied()
                .collect::<Vec<_>>()
        };
        let lan_on = self.0.lan_is_on(&snapshot)?;
        let lan = of_kind(links::PathKind::Lan);
        let fixed = &self.0.config.links;
        let (direct, relayed) = match internet {
            Internet::Off => (
                "off: nothing outside the local network is asked or told anything".to_owned(),
                "off".to_owned(),
            ),
            _ if internet_waits => (WAITS.to_owned(), WAITS.to_owned()),
            Internet::Direct => ("direct connections".to_owned(), "off".to_owned()),
            Internet::Relay => ("direct connections".to_owned(), self.relay_words()),
        };
        let internet_row = |kind, on, state, addrs| {
            Ok::<_, Error>(LinkStatus {
                kind,
                on,
                when: self.0.link_use(&snapshot, Switch::Internet)?,
                waits: on && internet_waits,
                state,
                addrs,
                contacts: self.reached(kind),
                fixed_by_file: fixed.internet_fixed,
                when_fixed_by_file: fixed.internet_when.is_some(),
                bluetooth: None,
            })
        };
        Ok(vec![
            LinkStatus {
                kind: LinkKind::Loopback,
                on: true,
                when: LinkUse::Always,
                waits: false,
                state: "nodes on this machine".to_owned(),
                addrs: of_kind(links::PathKind::Loopback),
                contacts: self.reached(LinkKind::Loopback),
                fixed_by_file: true,
                when_fixed_by_file: true,
                bluetooth: None,
            },
            LinkStatus {
                kind: LinkKind::Lan,
                on: lan_on,
                when: self.0.link_use(&snapshot, Switch::Lan)?,
                waits: lan_on && lan_waits,
                state: self.lan_words(lan_on, lan_waits, lan.is_empty()),
                addrs: lan,
                contacts: self.reached(LinkKind::Lan),
                fixed_by_file: fixed.lan.is_some(),
                when_fixed_by_file: fixed.lan_when.is_some(),
                bluetooth: None,
            },
            self.bluetooth_link(&snapshot)?,
            internet_row(
                LinkKind::Internet,
                internet != Internet::Off,
                direct,
                of_kind(links::PathKind::Internet),
            )?,
            internet_row(
                LinkKind::Relay,
                internet == Internet::Relay,
                relayed,
                Vec::new(),
            )?,
        ])
    }

    /// Contacts that are reached over a link now.
    pub(super) fn reached(&self, kind: LinkKind) -> u64 {
        let meetings = self.0.meetings();
        let contacts: BTreeSet<_> = meetings
            .values()
            .filter(|meeting| meeting.is_online() && meeting.link_kind() == Some(kind))
            .map(|meeting| meeting.contact)
            .collect();
        contacts.len() as u64
    }

    fn lan_words(&self, on: bool, waits: bool, nowhere: bool) -> String {
        match self.0.lan.search() {
            _ if !on => "off: nothing is announced, nobody is dialled or answered there".to_owned(),
            _ if waits => WAITS.to_owned(),
            Search::Failing(error) => {
                format!("{error}; contacts are dialled where they were met last")
            }
            _ if nowhere => "no address on a local network".to_owned(),
            Search::Idle => "contacts are dialled where they were met last".to_owned(),
            Search::Running(0) => "looking for contacts on this network".to_owned(),
            Search::Running(1) => "one contact's device is on this network".to_owned(),
            Search::Running(count) => {
                format!("{count} devices of contacts are on this network")
            }
        }
    }

    /// Which relay others find this node at, and whether it answers.
    fn relay_words(&self) -> String {
        let relay = self.0.links().and_then(|links| links.relay_state());
        match relay {
            None => "no relay has answered yet; direct connections don't need one".to_owned(),
            Some(relay) if relay.connected => format!("reachable through {}", relay.url),
            Some(relay) => format!("{} doesn't answer now; it is tried again", relay.url),
        }
    }

    /// Whether this machine charges; `None` where it has no battery.
    #[must_use]
    pub fn charging(&self) -> Option<bool> {
        self.0.battery().map(|battery| battery.charging)
    }

    /// Switches the internet link and opens the endpoint anew.
    ///
    /// # Errors
    /// [`Error::Conflict`] where the settings file fixes it, [`Error::Links`].
    pub async fn set_internet(&self, internet: Internet) -> Result<()> {
        if self.0.config.links.internet_fixed {
            return Err(Error::Conflict {
                detail: "the settings file sets [links] internet, which wins: change it there"
                    .into(),
            });
        }
        let before = self.0.internet(&self.0.store.read()?)?;
        if before == internet {
            return Ok(());
        }
        self.0
            .store
            .write(move |txn| records::set_internet(txn, internet))
            .await?;
        self.reopen_links().await
    }

    /// Switches local networks on or off and opens the endpoint anew.
    ///
    /// # Errors
    /// [`Error::Conflict`] where the settings file fixes it, [`Error::Links`].
    pub async fn set_lan(&self, on: bool) -> Result<()> {
        if self.0.config.links.lan.is_some() {
            return Err(Error::Conflict {
                detail: "the settings file sets [links] lan, which wins: change it there".into(),
            });
        }
        if self.0.lan_is_on(&self.0.store.read()?)? == on {
            return Ok(());
        }
        self.0
            .store
            .write(move |txn| records::set_lan(txn, on))
            .await?;
        self.reopen_links().await
    }

    /// Says when a link is used: local networks, Bluetooth, or both that go over the internet.
    ///
    /// # Errors
    /// [`Error::Conflict`] where the settings file fixes it or there is nothing to choose,
    /// [`Error::Links`].
    pub async fn set_link_use(&self, kind: LinkKind, when: LinkUse) -> Result<()> {
        let fixed = &self.0.config.links;
        let (switch, fixed, key) = match kind {
            LinkKind::Loopback => {
                return Err(Error::Conflict {
                    detail: "nodes on this machine are always met".into(),
                });
            }
            LinkKind::Lan => (Switch::Lan, fixed.lan_when, "lan_when"),
            LinkKind::Bluetooth => (Switch::Bluetooth, fixed.bluetooth_when, "bluetooth_when"),
            LinkKind::Internet | LinkKind::Relay => {
                (Switch::Internet, fixed.internet_when, "internet_when")
            }
        };
        if fixed.is_some() {
            return Err(Error::Conflict {
                detail: format!(
                    "the settings file sets [links] {key}, which wins: change it there"
                ),
            });
        }
        if when == LinkUse::Charging && self.charging().is_none() {
            return Err(Error::Conflict {
                detail: "this machine has no battery that could charge".into(),
            });
        }
        self.0
            .store
            .write(move |txn| records::set_link_use(txn, switch, when))
            .await?;
        self.0.bluetooth.changed();
        if self.0.opened_for() == Some(self.0.in_use(&self.0.store.read()?)?) {
            // What may be called may have changed all the same.
            self.0.wake_all();
            self.0.events.emit(EventKind::Presence, About::default());
            return Ok(());
        }
        self.reopen_links().await
    }

    pub(crate) async fn reopen_links(&self) -> Result<()> {
        nearby::close(&self.0);
        let seed = files::endpoint_seed(self.0.data_dir()).map_err(|error| Error::Folder {
            detail: error.to_string(),
        })?;
        self.0.open_links(&seed).await?;
        invites::reopen(&self.0).await?;
        self.0.events.emit(EventKind::Sync, About::default());
        self.0.events.emit(EventKind::Presence, About::default());
        Ok(())
    }
}
