//! Which links are used, and when: what the settings file says, else what the person chose, and
//! whether the machine charges.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use links::{PathKind, address};
use store::Snapshot;

use crate::{
    Result,
    api::Node,
    config::Internet,
    inner::Inner,
    power::{self, Battery},
    records::{self, Switch},
    view::LinkUse,
};

/// Between two looks at whether the machine charges: nobody waits for it.
const POWER_EVERY: Duration = Duration::from_secs(30);

/// Who wants to call a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The node by itself.
    Node,
    /// The person, now.
    Person,
}

/// The links as they are used now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InUse {
    pub(crate) internet: Internet,
    pub(crate) lan: bool,
}

/// Over which links somebody may be called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MayCall {
    lan: bool,
    pub(crate) bluetooth: bool,
    pub(crate) internet: bool,
}

impl MayCall {
    pub(crate) fn at(self, addr: &SocketAddr) -> bool {
        match address::kind(addr.ip()) {
            PathKind::Loopback => true,
            PathKind::Lan => self.lan,
            PathKind::Internet | PathKind::Relay => self.internet,
            PathKind::Bluetooth => self.bluetooth,
        }
    }
}

impl Inner {
    /// What the internet link is set to.
    pub(crate) fn internet(&self, snapshot: &Snapshot) -> Result<Internet> {
        if self.config.links.internet_fixed {
            return Ok(self.config.links.internet);
        }
        Ok(records::internet(snapshot)?)
    }

    /// Whether local networks are switched on.
    pub(crate) fn lan_is_on(&self, snapshot: &Snapshot) -> Result<bool> {
        Ok(match self.config.links.lan {
            Some(fixed) => fixed,
            None => records::lan(snapshot)?,
        })
    }

    /// When a link is used.
    pub(crate) fn link_use(&self, snapshot: &Snapshot, link: Switch) -> Result<LinkUse> {
        let fixed = match link {
            Switch::Lan => self.config.links.lan_when,
            Switch::Bluetooth => self.config.links.bluetooth_when,
            Switch::Internet => self.config.links.internet_when,
        };
        Ok(match fixed {
            Some(fixed) => fixed,
            None => records::link_use(snapshot, link)?,
        })
    }

    /// This machine's battery, if it has one.
    pub(crate) fn battery(&self) -> Option<Battery> {
        power::battery(&self.config.links.power_supply)
    }

    /// Whether a link has to wait until the machine charges.
    pub(crate) fn waits(&self, snapshot: &Snapshot, link: Switch) -> Result<bool> {
        Ok(self.link_use(snapshot, link)? == LinkUse::Charging
            && self.battery().is_some_and(|battery| !battery.charging))
    }

    /// The links that are switched on and don't wait.
    pub(crate) fn in_use(&self, snapshot: &Snapshot) -> Result<InUse> {
        Ok(InUse {
            internet: match self.waits(snapshot, Switch::Internet)? {
                true => Internet::Off,
                false => self.internet(snapshot)?,
            },
            lan: self.lan_is_on(snapshot)? && !self.waits(snapshot, Switch::Lan)?,
        })
    }

    /// Whether Bluetooth is switched on.
    pub(crate) fn bluetooth_is_on(&self, snapshot: &Snapshot) -> Result<bool> {
        Ok(match self.config.links.bluetooth {
            Some(fixed) => fixed,
            None => records::bluetooth(snapshot)?,
        })
    }

    /// Whether Bluetooth is there, switched on and doesn't wait. It is looked at every second and
    /// needs no endpoint opened anew.
    pub(crate) fn bluetooth_in_use(&self, snapshot: &Snapshot) -> Result<bool> {
        Ok(self.config.links.radios.are_built()
            && self.bluetooth_is_on(snapshot)?
            && !self.waits(snapshot, Switch::Bluetooth)?)
    }

    /// The Bluetooth adapter to use; any where none was chosen.
    pub(crate) fn adapter(&self, snapshot: &Snapshot) -> Result<Option<String>> {
        Ok(match &self.config.links.bluetooth_adapter {
            Some(fixed) => Some(fixed.clone()),
            None => records::adapter(snapshot)?,
        })
    }

    /// Over which links `caller` may call. What isn't in use is out of reach anyway.
    pub(crate) fn may_call(&self, snapshot: &Snapshot, caller: Caller) -> Result<MayCall> {
        let may = |link| {
            let when = self.link_use(snapshot, link)?;
            Ok::<_, crate::Error>(caller == Caller::Person || when != LinkUse::ByHand)
        };
        Ok(MayCall {
            lan: may(Switch::Lan)?,
            bluetooth: may(Switch::Bluetooth)? && self.bluetooth_in_use(snapshot)?,
            internet: may(Switch::Internet)?,
        })
    }
}

/// Opens the endpoint anew where a link has to wait from now on, or no longer.
pub(crate) async fn attend(inner: Arc<Inner>) {
    loop {
        tokio::select! {
            () = inner.stop.cancelled() => return,
            () = tokio::time::sleep(POWER_EVERY) => {}
        }
        let wanted = inner
            .store
            .read()
            .map_err(crate::Error::from)
            .and_then(|snapshot| inner.in_use(&snapshot));
        let Ok(wanted) = wanted else { continue };
        if inner.opened_for() == Some(wanted) {
            continue;
        }
        tracing::info!("the links are used differently now");
        if let Err(error) = Node(inner.clone()).reopen_links().await {
            tracing::warn!(%error, "could not open the links anew");
        }
    }
}
