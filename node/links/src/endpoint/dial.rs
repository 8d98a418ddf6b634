//! Dialling from one of the node's endpoints.

use std::{collections::BTreeSet, net::SocketAddr, str::FromStr, sync::Arc, time::Duration};

use iroh::{Endpoint, EndpointAddr, RelayUrl, TransportAddr};
use proto::{EndpointId, limits};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{DIAL_WAIT, DialError};
use crate::{
    Admission, Bluetooth, Internet, Protocol, Reach, Side, Verdict, address, admission::Door, gate,
    live::Live,
};

/// How long a dial goes unanswered before older connections with the same remote that heard
/// nothing meanwhile count as dead. iroh sends a handshake only to the address that such a
/// connection uses, so a remote that died and came back at another port could not be reached
/// until they time out. By then two or three first packets were sent.
const SILENCE_WAIT: Duration = Duration::from_millis(2_500);

/// What a dial goes out from. It keeps an endpoint open that isn't told to stop.
#[derive(Clone)]
pub(super) struct Origin {
    pub(super) endpoint: Endpoint,
    pub(super) admission: Admission,
    pub(super) live: Live,
    pub(super) reach: Reach,
    /// Relays of the person's own choice.
    pub(super) relays: Arc<[String]>,
    /// Channels that may lead there.
    pub(super) bluetooth: Option<Bluetooth>,
    pub(super) door: Door,
    pub(super) stop: CancellationToken,
}

impl Origin {
    /// A relay that a contact named, where it may be asked: it must not lead into the local network,
    /// unless it is one of ours.
    fn relay(&self, url: &str) -> Option<RelayUrl> {
        let url = RelayUrl::from_str(url).ok()?;
        let ours = self
            .relays
            .iter()
            .filter_map(|own| RelayUrl::from_str(own).ok());
        let known = ours.into_iter().any(|own| own == url);
        (known || address::may_ask(url.scheme(), url.host_str()?)).then_some(url)
    }

    pub(super) async fn dial(
        &self,
        to: EndpointId,
        addrs: &[SocketAddr],
        relay: Option<String>,
        protocol: Protocol,
    ) -> Result<iroh::endpoint::Connection, DialError> {
        let verdict = self
            .admission
            .verdict_at(to, protocol, Side::Dialer, self.door);
        if let Verdict::Refuse(refusal) = verdict {
            return Err(DialError::NotAllowed(refusal));
        }
        if self.stop.is_cancelled() {
            return Err(DialError::Closed);
        }
        let id = iroh::EndpointId::from_bytes(to.as_bytes()).map_err(|_| DialError::NotAnId)?;
        let mut targets: BTreeSet<_> = addrs
            .iter()
            .filter(|addr| address::may_dial(**addr, self.reach))
            .take(limits::ADDRS_MAX)
            .map(|addr| TransportAddr::Ip(*addr))
            .collect();
        if self.reach.internet == Internet::Relay {
            let theirs = relay.as_deref().and_then(|url| self.relay(url));
            // They may have come to ours, or use the same ones, without having told us.
            let ours = self.endpoint.addr().relay_urls().next().cloned();
            let relays = theirs.into_iter().chain(ours);
            targets.extend(relays.map(TransportAddr::Relay));
        }
        let bluetooth = self.bluetooth.as_ref();
        let channel = bluetooth.and_then(|bluetooth| bluetooth.way(to, self.door));
        targets.extend(channel.map(TransportAddr::Custom));
        if targets.is_empty() {
            return Err(DialError::NoAddress {
                given: addrs.len() + usize::from(relay.is_some()),
            });
        }
        let target = EndpointAddr::from_parts(id, targets);
        let connect = self.endpoint.connect(target, protocol.alpn());
        let heard = self.live.heard(to);
        let dial = gate::asked(timeout(DIAL_WAIT, connect));
        tokio::pin!(dial);
        let answer = tokio::select! {
            answer = &mut dial => answer,
            () = sleep(SILENCE_WAIT) => {
                self.live.cut_silent(to, &heard);
                dial.await
            }
        };
        let (result, refusal) = answer;
        match (result, refusal) {
            (_, Some(refusal)) => Err(DialError::NotAllowed(refusal)),
            (Err(_elapsed), None) => Err(DialError::TimedOut),
            (Ok(Err(error)), None) => Err(error.into()),
            (Ok(Ok(conn)), None) => Ok(conn),
        }
    }
}
