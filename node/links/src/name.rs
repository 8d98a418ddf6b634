//! A name to type instead of an address: `waymeet.local`, by multicast DNS (RFC 6762).
//!
//! It is the same every day and everybody may ask for it, so it is announced only where the person
//! wants that. The library asks first whether the name is free (section 8.1), and takes the next one,
//! `waymeet-2.local`, where another machine has it. It announces services, so this is one: a web page. It also keeps what
//! strangers say; above a bound the name is given up, and all that goes.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mdns_sd::{DaemonEvent, IfKind, IfPredicate, Receiver, ServiceDaemon, ServiceInfo};
use tokio::time::MissedTickBehavior;

use crate::lan::{self, LanError};

/// What is wanted.
const HOST: &str = "waymeet.local.";
/// Web pages (RFC 6763).
const SERVICE: &str = "_http._tcp.local.";
/// How the page is called in a list of such pages.
const INSTANCE: &str = "Waymeet";
/// Seconds between two looks at the interfaces.
const INTERFACES_EVERY_S: u32 = 1;

#[derive(Debug, Default)]
struct State {
    /// The name, once it is announced.
    announced: bool,
    /// What it became where ours was taken.
    other: Option<String>,
    /// Strangers said more than can be held: nothing is answered any more.
    flooded: bool,
}

type Shared = Arc<Mutex<State>>;

/// The name is answered to as long as this lives.
pub struct LocalName {
    daemon: ServiceDaemon,
    addrs: BTreeSet<IpAddr>,
    fullname: String,
    state: Shared,
}

impl LocalName {
    /// Begins to answer with these addresses of this machine, each on its own network.
    ///
    /// # Errors
    /// The library's thread can't be started.
    pub fn announce(addrs: BTreeSet<IpAddr>, port: u16) -> Result<Self, LanError> {
        let daemon = ServiceDaemon::new()?;
        daemon.disable_interface(IfKind::All)?;
        daemon.enable_interface(at(addrs.clone()))?;
        daemon.set_ip_check_interval(INTERFACES_EVERY_S)?;
        let ips: Vec<IpAddr> = addrs.iter().copied().collect();
        let mut service = ServiceInfo::new(SERVICE, INSTANCE, HOST, ips.as_slice(), port, None)?;
        service.set_interfaces(vec![at(addrs.clone())]);
        let fullname = service.get_fullname().to_owned();
        let events = daemon.monitor()?;
        daemon.register(service)?;
        let state = Shared::default();
        tokio::spawn(watch(daemon.clone(), events, state.clone()));
        Ok(Self {
            daemon,
            addrs,
            fullname,
            state,
        })
    }

    /// The name that is answered to; `None` until the others had time to object.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        let state = lock(&self.state);
        let name = state.other.as_deref();
        let name = name.unwrap_or(HOST.trim_end_matches('.'));
        (state.announced && !state.flooded).then(|| name.to_owned())
    }

    /// Whether it was given up because strangers say more than can be held.
    #[must_use]
    pub fn is_flooded(&self) -> bool {
        lock(&self.state).flooded
    }

    /// The addresses that it stands for.
    #[must_use]
    pub const fn addrs(&self) -> &BTreeSet<IpAddr> {
        &self.addrs
    }
}

/// Follows what becomes of the name until the library ends, and ends it where it holds too much.
async fn watch(daemon: ServiceDaemon, events: Receiver<DaemonEvent>, state: Shared) {
    let mut look = tokio::time::interval(lan::LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = events.recv_async() => {
                let Ok(event) = event else { return };
                note(&event, &state);
            }
            _ = look.tick() => {
                if lan::is_overfull(&daemon).await {
                    lock(&state).flooded = true;
                    let _ = daemon.shutdown();
                    return;
                }
            }
        }
    }
}

fn note(event: &DaemonEvent, state: &Shared) {
    match event {
        DaemonEvent::Announce(..) => lock(state).announced = true,
        DaemonEvent::NameChange(change) if change.original == HOST => {
            let name = change.new_name.trim_end_matches('.').to_owned();
            tracing::info!(%name, "another machine answers to waymeet.local");
            lock(state).other = Some(name);
        }
        _ => {}
    }
}

fn lock(state: &Shared) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for LocalName {
    fn drop(&mut self) {
        // Its answer, that the goodbye was sent, isn't waited for.
        let _ = self.daemon.unregister(&self.fullname);
        let _ = self.daemon.shutdown();
    }
}

impl std::fmt::Debug for LocalName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LocalName({} addresses)", self.addrs.len())
    }
}

/// Interfaces with one of these addresses.
fn at(addrs: BTreeSet<IpAddr>) -> IfKind {
    IfKind::Predicate(IfPredicate::new(move |interface| {
        addrs.contains(&interface.ip())
    }))
}
