//! The dashboard on the local network: a listener at each of this machine's addresses there, as they
//! come and go, and the name `waymeet.local`.
//!
//! What is wanted and what requests may do is the web crate's. A listener for each address, and not
//! one for all: so the machine listens where people are near, and not wherever it gets an address.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use engine::LocalName;
use tokio::{
    net::TcpListener,
    sync::oneshot,
    task::JoinSet,
    time::{Instant, timeout},
};
use web::{LanAt, LanStatus, LanWanted, Web};

/// Between two looks at the machine's addresses.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Addresses that are listened on: a few interfaces with a few each.
const ADDRS_MAX: usize = 16;
const FLOODED: &str = "somebody on the local network announces more than can be held: \
                       waymeet.local rests for ten seconds";
/// How long the name rests after a flood.
const NAME_RESTS: Duration = Duration::from_secs(10);

/// Follows what is wanted until it is dropped.
pub(crate) async fn attend(web: Web, port: u16) {
    let mut wanted = web.lan_wanted();
    let mut network = Network {
        web,
        port,
        current: LanWanted::default(),
        listeners: BTreeMap::new(),
        tasks: JoinSet::new(),
        name: None,
        name_from: Instant::now(),
    };
    loop {
        let now = wanted.borrow_and_update().clone();
        network.follow(now).await;
        while network.tasks.try_join_next().is_some() {}
        if let Ok(Err(_)) = timeout(LOOK_EVERY, wanted.changed()).await {
            return;
        }
    }
}

struct Network {
    web: Web,
    port: u16,
    current: LanWanted,
    /// Dropped, a listener ends and what is open there with it.
    listeners: BTreeMap<IpAddr, oneshot::Sender<()>>,
    tasks: JoinSet<()>,
    name: Option<LocalName>,
    /// Not announced before this.
    name_from: Instant,
}

impl Network {
    async fn follow(&mut self, wanted: LanWanted) {
        if wanted.tls != self.current.tls {
            self.listeners.clear();
            while self.tasks.join_next().await.is_some() {}
        }
        self.current = wanted;
        let (addrs, mut trouble) = match self.current.at.map(own_addrs) {
            None => (BTreeSet::new(), None),
            Some(Ok(addrs)) => (addrs, None),
            Some(Err(error)) => (BTreeSet::new(), Some(error.to_string())),
        };
        self.listeners
            .retain(|ip, ended| addrs.contains(ip) && !ended.is_closed());
        for ip in addrs {
            if !self.listeners.contains_key(&ip)
                && let Err(error) = self.listen(ip).await
            {
                trouble = Some(error);
            }
        }
        let addrs: Vec<SocketAddr> = self
            .listeners
            .keys()
            .map(|ip| SocketAddr::new(*ip, self.port))
            .collect();
        let name = match self.announce() {
            Ok(name) => name,
            Err(error) => {
                trouble.get_or_insert(error);
                None
            }
        };
        self.web.lan_told(LanStatus {
            addrs,
            name,
            trouble,
        });
    }

    async fn listen(&mut self, ip: IpAddr) -> Result<(), String> {
        let addr = SocketAddr::new(ip, self.port);
        let listener = TcpListener::bind(addr)
            .await
            .map_err(|error| format!("cannot listen on {addr}: {error}"))?;
        tracing::info!(port = self.port, "the dashboard is on the network");
        let (end, ended) = oneshot::channel();
        self.listeners.insert(ip, end);
        let web = self.web.clone();
        self.tasks.spawn(async move {
            let ended = async { drop(ended.await) };
            if let Err(error) = web.serve_lan(listener, ended).await {
                tracing::warn!(%error, "the dashboard on the network ended");
            }
        });
        Ok(())
    }

    /// Answers to the name at the addresses that are listened on, or no longer.
    fn announce(&mut self) -> Result<Option<String>, String> {
        let addrs: BTreeSet<IpAddr> = self.listeners.keys().copied().collect();
        if !self.current.local_name || addrs.is_empty() {
            self.name = None;
            return Ok(None);
        }
        if self.name.as_ref().is_some_and(LocalName::is_flooded) {
            self.name = None;
            self.name_from = Instant::now() + NAME_RESTS;
        }
        if Instant::now() < self.name_from {
            return Err(FLOODED.to_owned());
        }
        if self.name.as_ref().is_none_or(|name| *name.addrs() != addrs) {
            self.name = None;
            let name = LocalName::announce(addrs, self.port);
            self.name = Some(name.map_err(|error| error.to_string())?);
        }
        Ok(self.name.as_ref().and_then(LocalName::name))
    }
}

/// The machine's own addresses that fit.
fn own_addrs(at: LanAt) -> std::io::Result<BTreeSet<IpAddr>> {
    let interfaces = if_addrs::get_if_addrs()?;
    // A tunnel isn't a local network, whatever its address; who wants it names it.
    let near = |one: &&if_addrs::Interface| !one.is_p2p() || matches!(at, LanAt::One(_));
    let ips = interfaces.iter().filter(near).map(if_addrs::Interface::ip);
    Ok(ips.filter(|ip| fits(at, *ip)).take(ADDRS_MAX).collect())
}

/// Whether an address of this machine is one to listen on. Link-local IPv6 ones can't be typed into a
/// browser.
fn fits(at: LanAt, ip: IpAddr) -> bool {
    let is_local = match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local(),
    };
    match at {
        LanAt::All => is_local,
        LanAt::AllV4 => is_local && ip.is_ipv4(),
        LanAt::One(one) => ip == one,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_means_the_local_networks() {
        let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
        for local in ["10.1.0.1", "192.168.4.1", "172.16.0.9", "169.254.7.7"] {
            assert!(fits(LanAt::All, ip(local)) && fits(LanAt::AllV4, ip(local)));
        }
        assert!(fits(LanAt::All, ip("fd01::1")) && !fits(LanAt::AllV4, ip("fd01::1")));
        for other in ["127.0.0.1", "::1", "8.8.8.8", "2001:db8::1", "fe80::1"] {
            assert!(!fits(LanAt::All, ip(other)), "{other}");
        }
        assert!(fits(LanAt::One(ip("8.8.8.8")), ip("8.8.8.8")));
        assert!(!fits(LanAt::One(ip("8.8.8.8")), ip("10.1.0.1")));
    }
}
