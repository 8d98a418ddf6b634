//! Who else on the local network wants to meet somebody new: services of multicast DNS beside the
//! beacons, announced only while a person asks for it.
//!
//! A service instance is named by a salt and a temporary endpoint's id; with it go a host name of the
//! same kind, the port and the private or link-local addresses. No name, and nothing of the device
//! that lasts. What is heard comes out as [`Seen`]. This module knows nothing of what the two do then.

use std::net::SocketAddr;

use mdns_sd::{IfKind, ResolvedService, ServiceDaemon, ServiceEvent, ServiceInfo};
use proto::{EndpointId, nearby::Announced};
use tokio::sync::mpsc;

use crate::lan::{self, Family, LanError};

/// The service's type.
pub const SERVICE: &str = "_waymeet-near._udp.local.";
/// Characters of a host name: the beginning of the instance's.
const HOST_CHARS: usize = 20;
/// Sightings that wait to be taken; more people than that aren't told apart by three words anyway.
const SEEN_MAX: usize = 64;

/// Somebody who wants to meet, and where they say to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Their temporary endpoint.
    pub endpoint: EndpointId,
    /// Private, link-local and loopback addresses, at most [`proto::limits::ADDRS_MAX`].
    pub addrs: Vec<SocketAddr>,
}

/// Announces and listens, as long as it lives.
pub struct Nearby {
    daemon: ServiceDaemon,
    announced: Vec<String>,
}

impl Nearby {
    /// Announces a temporary endpoint under a name for each family at its port, and begins to
    /// listen. Where no interface takes part nothing is sent, which is no error: one may come.
    ///
    /// # Errors
    /// The library's thread can't be started.
    pub fn open(
        endpoint: EndpointId,
        names: &[(Announced, Family, u16)],
    ) -> Result<(Self, mpsc::Receiver<Seen>), LanError> {
        let daemon = ServiceDaemon::new()?;
        let mut this = Self {
            daemon,
            announced: Vec::new(),
        };
        this.daemon.disable_interface(IfKind::All)?;
        this.daemon.enable_interface(lan::local(None))?;
        this.daemon.set_ip_check_interval(lan::INTERFACES_EVERY_S)?;
        let heard = this.daemon.browse(SERVICE)?;
        let (sender, seen) = mpsc::channel(SEEN_MAX);
        let daemon = this.daemon.clone();
        tokio::spawn(async move {
            let mut look = tokio::time::interval(lan::LOOK_EVERY);
            let mut events = 0;
            loop {
                let event = tokio::select! {
                    _ = look.tick() => None,
                    event = heard.recv_async() => match event {
                        Ok(event) => Some(event),
                        Err(_) => return,
                    },
                };
                events += 1;
                if (event.is_none() || events % lan::LOOK_AFTER == 0)
                    && lan::is_overfull(&daemon).await
                {
                    // Who is listed stays so; nobody else is found in this opening.
                    tracing::warn!("somebody nearby announces more than can be held");
                    let _ = daemon.shutdown();
                    return;
                }
                let Some(event) = event else { continue };
                let ServiceEvent::ServiceResolved(service) = event else {
                    continue;
                };
                let Some(one) = read(&service).filter(|one| one.endpoint != endpoint) else {
                    continue;
                };
                match sender.try_send(one) {
                    Ok(()) => {}
                    Err(mpsc::error::TrySendError::Full(_)) => {
                        tracing::debug!("somebody nearby was left out: too many wait");
                    }
                    Err(mpsc::error::TrySendError::Closed(_)) => return,
                }
            }
        });
        for (announced, family, port) in names {
            let label = announced.label();
            let host: String = label.chars().take(HOST_CHARS).collect();
            let host = format!("{host}.local.");
            let mut service =
                ServiceInfo::new(SERVICE, &label, &host, (), *port, None)?.enable_addr_auto();
            // Nobody else has this name, so it needn't be asked for.
            service.set_requires_probe(false);
            service.set_interfaces(vec![lan::local(Some(*family))]);
            this.announced.push(service.get_fullname().to_owned());
            this.daemon.register(service)?;
        }
        Ok((this, seen))
    }
}

impl Drop for Nearby {
    fn drop(&mut self) {
        for name in std::mem::take(&mut self.announced) {
            // Its answer, that the goodbye was sent, isn't waited for.
            let _ = self.daemon.unregister(&name);
        }
        let _ = self.daemon.shutdown();
    }
}

impl std::fmt::Debug for Nearby {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Nearby({} announced)", self.announced.len())
    }
}

fn read(service: &ResolvedService) -> Option<Seen> {
    let Announced { endpoint, .. } = Announced::from_label(service.fullname.split('.').next()?)?;
    let addrs = lan::addrs_of(service);
    (!addrs.is_empty()).then_some(Seen { endpoint, addrs })
}
