//! Beacons on the local network, as services of multicast DNS (RFC 6762, RFC 6763).
//!
//! A [`Beacon`] is the name of a service instance; with it go a host name of the same kind, the port
//! and the private or link-local addresses, and nothing else. Whoever hears it learns that somebody
//! here runs this program. What is heard comes out as [`Sighting`]s: this module knows no key and
//! recognises nobody. The library's thread follows interfaces and addresses as they come and go.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr, SocketAddrV6},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mdns_sd::{
    IfKind, IfPredicate, Receiver, ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent,
    ServiceInfo,
};
use proto::{beacon::Beacon, limits};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, MissedTickBehavior, sleep_until},
};

use crate::{
    Internet,
    address::{self, PathKind},
};

/// The service's type: all that is said in clear.
pub const SERVICE: &str = "_waymeet._udp.local.";
/// Seconds between two looks at the interfaces; the system's news of them may be missed.
pub(crate) const INTERFACES_EVERY_S: u32 = 1;
/// Sightings that wait to be taken. A camp's nodes that all begin at once fit; what is above that
/// is heard again when it is announced again.
const SIGHTINGS_MAX: usize = 256;
/// Records and timers that the library holds at most, a few megabytes. Each device costs it some
/// twenty; what is above comes from somebody who wants to fill our memory.
const HELD_MAX: i64 = 16_384;
/// After so many events it is looked whether that is reached, and each second in any case.
pub(crate) const LOOK_AFTER: u32 = 256;
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long is asked who is there, with the library's growing pauses, after something was announced.
const ASK_FOR: Duration = Duration::from_secs(10);
/// What is announced sooner than this after a search began doesn't begin another.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// What was heard is forgotten after this at most. The library would ask for an address again after
/// four fifths of the two minutes for which it holds (RFC 6762 section 10).
const FORGET_AFTER: Duration = Duration::from_secs(80);
/// What counts of the library's own count.
const HELD: [&str; 7] = [
    "cached-ptr",
    "cached-srv",
    "cached-addr",
    "cached-txt",
    "cached-nsec",
    "cached-subtype",
    "timer",
];

/// Characters of a host name: the beginning of the beacon, which is fresh too.
const HOST_CHARS: usize = 20;

/// A beacon that was heard, and where its sender says to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The beacon.
    pub beacon: Beacon,
    /// Private, link-local and loopback addresses, at most [`limits::ADDRS_MAX`].
    pub addrs: Vec<SocketAddr>,
}

/// Addresses of one family, by which a beacon is announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Of an address.
    #[must_use]
    pub const fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// What is announced at once: a beacon, the addresses' family, the port.
pub type Announcement = (Beacon, Family, u16);

/// Why there are no beacons.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the local network can't be searched: {0}")]
pub struct LanError(String);

impl From<mdns_sd::Error> for LanError {
    fn from(error: mdns_sd::Error) -> Self {
        Self(error.to_string())
    }
}

/// Announces and listens, as long as it lives.
pub struct Lan {
    daemon: ServiceDaemon,
    announced: Vec<String>,
    flooded: Arc<AtomicBool>,
    search: Arc<Notify>,
}

/// Takes what the library hears.
///
/// A search that goes on asks for everything again before it would be forgotten, each node for each
/// other. So it is asked only for a moment whenever we announce something; after that what others
/// announce, or answer to newcomers, is heard, and forgotten before the library would ask again.
struct Listener {
    daemon: ServiceDaemon,
    sender: mpsc::Sender<Sighting>,
    /// We announce something.
    search: Arc<Notify>,
}

impl Listener {
    /// Until nobody listens any more; true where more came than can be held.
    async fn run(&self, heard: Receiver<ServiceEvent>) -> bool {
        let mut heard = heard;
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut events = 0;
        let mut asked = Instant::now();
        let mut next = asked + ASK_FOR;
        loop {
            tokio::select! {
                () = self.search.notified(), if asked.elapsed() >= ASK_AGAIN => {
                    if let Some(anew) = self.anew(true) {
                        heard = anew;
                        asked = Instant::now();
                        next = asked + ASK_FOR;
                    }
                }
                () = sleep_until(next) => {
                    if let Some(anew) = self.anew(false) {
                        heard = anew;
                    }
                    next = Instant::now() + FORGET_AFTER;
                }
                _ = look.tick() => {
                    if is_overfull(&self.daemon).await {
                        return true;
                    }
                }
                event = heard.recv_async() => {
                    let Ok(event) = event else { return false };
                    if let ServiceEvent::ServiceResolved(service) = event
                        && !self.pass_on(&service)
                    {
                        return false;
                    }
                    events += 1;
                    if events >= LOOK_AFTER {
                        events = 0;
                        if is_overfull(&self.daemon).await {
                            return true;
                        }
                    }
                }
            }
        }
    }

    /// Forgets everything and listens again, asking or not. Nothing where the library is busy: it is
    /// tried again the next time.
    fn anew(&self, ask: bool) -> Option<Receiver<ServiceEvent>> {
        let begin = || {
            self.daemon.stop_browse(SERVICE)?;
            if ask {
                self.daemon.browse(SERVICE)
            } else {
                self.daemon.browse_cache(SERVICE)
            }
        };
        begin()
            .inspect_err(|error| tracing::debug!(%error, "the search goes on as it is"))
            .ok()
    }

    /// False where nobody takes it any more.
    fn pass_on(&self, service: &ResolvedService) -> bool {
        let Some(sighting) = sighting(service) else {
            return true;
        };
        match self.sender.try_send(sighting) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                tracing::debug!("a beacon was dropped: too many wait");
                true
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }
}

impl Lan {
    /// Begins to listen. Where no interface takes part nothing is heard, which is no error: one may
    /// come later.
    ///
    /// # Errors
    /// The library's thread can't be started.
    pub fn open() -> Result<(Self, mpsc::Receiver<Sighting>), LanError> {
        let daemon = ServiceDaemon::new()?;
        daemon.disable_interface(IfKind::All)?;
        daemon.enable_interface(local(None))?;
        daemon.set_ip_check_interval(INTERFACES_EVERY_S)?;
        let heard = daemon.browse(SERVICE)?;
        let (sender, sightings) = mpsc::channel(SIGHTINGS_MAX);
        let flooded = Arc::new(AtomicBool::new(false));
        let search = Arc::new(Notify::new());
        let listener = Listener {
            daemon: daemon.clone(),
            sender,
            search: search.clone(),
        };
        let told = flooded.clone();
        tokio::spawn(async move {
            // The channel ends with the listener, so it is said before.
            told.store(listener.run(heard).await, Ordering::Release);
            drop(listener);
        });
        let lan = Self {
            daemon,
            announced: Vec::new(),
            flooded,
            search,
        };
        Ok((lan, sightings))
    }

    /// Whether the sightings ended because more was announced than can be held. All that was held
    /// goes when this is dropped.
    #[must_use]
    pub fn is_flooded(&self) -> bool {
        self.flooded.load(Ordering::Acquire)
    }

    /// Announces these in place of what was announced before, which is taken back.
    ///
    /// # Errors
    /// The library's thread has ended.
    pub fn announce(&mut self, announcements: &[Announcement]) -> Result<(), LanError> {
        self.withdraw()?;
        self.search.notify_one();
        for (beacon, family, port) in announcements {
            let label = beacon.label();
            let host: String = label.chars().take(HOST_CHARS).collect();
            let host = format!("{host}.local.");
            let mut service =
                ServiceInfo::new(SERVICE, &label, &host, (), *port, None)?.enable_addr_auto();
            // Nobody else has this name, so it needn't be asked for.
            service.set_requires_probe(false);
            service.set_interfaces(vec![local(Some(*family))]);
            self.announced.push(service.get_fullname().to_owned());
            self.daemon.register(service)?;
        }
        Ok(())
    }

    /// Takes back what is announced.
    ///
    /// # Errors
    /// The library's thread has ended.
    pub fn withdraw(&mut self) -> Result<(), LanError> {
        for name in std::mem::take(&mut self.announced) {
            // Its answer, that the goodbye was sent, isn't waited for.
            self.daemon.unregister(&name)?;
        }
        Ok(())
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        let _ = self.withdraw();
        let _ = self.daemon.shutdown();
    }
}

impl std::fmt::Debug for Lan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lan({} announced)", self.announced.len())
    }
}

/// Whether the library holds more than is good, by its own count. It keeps what anybody says, asked for
/// or not.
pub(crate) async fn is_overfull(daemon: &ServiceDaemon) -> bool {
    let Ok(counts) = daemon.get_metrics() else {
        return false;
    };
    let Ok(counts) = counts.recv_async().await else {
        return false;
    };
    let held: i64 = HELD.iter().filter_map(|name| counts.get(*name)).sum();
    held > HELD_MAX
}

/// Interfaces with a private or link-local address; of one family, where that is given.
pub(crate) fn local(family: Option<Family>) -> IfKind {
    IfKind::Predicate(IfPredicate::new(move |interface| {
        let ip = interface.ip();
        address::kind(ip) == PathKind::Lan && family.is_none_or(|family| family == Family::of(ip))
    }))
}

fn sighting(service: &ResolvedService) -> Option<Sighting> {
    let label = service.fullname.split('.').next()?;
    let beacon = Beacon::from_label(label)?;
    let addrs = addrs_of(service);
    (!addrs.is_empty()).then_some(Sighting { beacon, addrs })
}

/// Where a service says to be, as far as that is on this network.
pub(crate) fn addrs_of(service: &ResolvedService) -> Vec<SocketAddr> {
    let addrs: BTreeSet<SocketAddr> = service
        .addresses
        .iter()
        .map(|ip| socket_addr(ip, service.port))
        // Whoever answers on this network says where to send packets: never out of it.
        .filter(|addr| address::may_dial(*addr, Internet::Off))
        .take(limits::ADDRS_MAX)
        .collect();
    addrs.into_iter().collect()
}

fn socket_addr(ip: &ScopedIp, port: u16) -> SocketAddr {
    match ip {
        ScopedIp::V6(ip) if ip.addr().is_unicast_link_local() => {
            let scope = ip.scope_id().index;
            SocketAddr::V6(SocketAddrV6::new(*ip.addr(), port, 0, scope))
        }
        ip => SocketAddr::new(ip.to_ip_addr(), port),
    }
}
