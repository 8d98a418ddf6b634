//! The gate that every connection passes: iroh's hooks, asking [`Admission`].
//!
//! iroh runs the hooks before it returns a connection to anybody, ours and gossip's alike. They
//! are synchronous in effect (they await nothing): a hook that awaits leaves the stranger's
//! connection open meanwhile.

use std::sync::{Arc, Mutex, PoisonError};

use iroh::{
    EndpointAddr,
    endpoint::{
        AfterHandshakeOutcome, BeforeConnectOutcome, Connection, EndpointHooks, Side as QuicSide,
    },
};
use proto::EndpointId;
use tokio::time::Instant;

use crate::{
    Admission, CloseCode, Protocol, Refusal, Side, Verdict, admission::Door, crypto, live::Live,
};

tokio::task_local! {
    /// Set around a dial that the node asked for, and takes the reason if the gate refuses it.
    /// Without it a dial is gossip's own idea, to an endpoint and address that a peer named.
    static ASKED: Asked;
}

#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Option<Refusal>>>);

/// Runs a dial that the node asked for. The second value is the gate's reason if it refused.
pub(crate) async fn asked<T>(dial: impl Future<Output = T>) -> (T, Option<Refusal>) {
    let asked = Asked::default();
    let result = ASKED.scope(asked.clone(), dial).await;
    let refusal = asked
        .0
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    (result, refusal)
}

fn note(refusal: Refusal) {
    // Incoming connections have nobody to tell; the count is theirs.
    let _ = ASKED.try_with(|asked| {
        *asked.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
    });
}

/// One endpoint's gate.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) admission: Admission,
    pub(crate) live: Live,
    pub(crate) door: Door,
}

impl Gate {
    fn before_dial(&self, remote: EndpointId, alpn: &[u8]) -> Verdict {
        let Some(protocol) = Protocol::from_alpn(alpn) else {
            self.admission.count(Refusal::UnknownProtocol);
            return Verdict::Refuse(Refusal::UnknownProtocol);
        };
        if ASKED.try_with(|_| ()).is_err() {
            self.admission.count(Refusal::Unasked);
            return Verdict::Refuse(Refusal::Unasked);
        }
        self.admission
            .still(remote, protocol, Side::Dialer, self.door)
    }

    fn after(&self, conn: &Connection) -> Verdict {
        let Some(protocol) = Protocol::from_alpn(conn.alpn()) else {
            self.admission.count(Refusal::UnknownProtocol);
            return Verdict::Refuse(Refusal::UnknownProtocol);
        };
        let remote = EndpointId(*conn.remote_id().as_bytes());
        let side = match conn.side() {
            QuicSide::Client => Side::Dialer,
            QuicSide::Server => Side::Acceptor,
        };
        let superseded = {
            let mut live = self.live.lock();
            let meets_open = live.meets_open();
            let verdict = self.admission.admit(
                remote,
                protocol,
                side,
                self.door,
                meets_open,
                Instant::now(),
            );
            if verdict != Verdict::Admit {
                return verdict;
            }
            // After the permit, so that a stranger learns nothing from the difference.
            if crypto::negotiated_group(conn) != Some(crypto::HYBRID) {
                self.admission.count(Refusal::NotHybrid);
                return Verdict::Refuse(Refusal::NotHybrid);
            }
            live.enter(remote, protocol, side, conn)
        };
        if let Some(old) = superseded {
            old.close(CloseCode::Superseded.varint(), b"");
        }
        Verdict::Admit
    }
}

impl EndpointHooks for Gate {
    async fn before_connect<'a>(
        &'a self,
        remote_addr: &'a EndpointAddr,
        alpn: &'a [u8],
    ) -> BeforeConnectOutcome {
        match self.before_dial(EndpointId(*remote_addr.id.as_bytes()), alpn) {
            Verdict::Admit => BeforeConnectOutcome::Accept,
            Verdict::Refuse(refusal) => {
                note(refusal);
                BeforeConnectOutcome::Reject
            }
        }
    }

    async fn after_handshake<'a>(&'a self, conn: &'a Connection) -> AfterHandshakeOutcome {
        match self.after(conn) {
            Verdict::Admit => AfterHandshakeOutcome::Accept,
            Verdict::Refuse(refusal) => {
                note(refusal);
                AfterHandshakeOutcome::Reject {
                    error_code: refusal.close_code().varint(),
                    reason: Vec::new(),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use iroh::EndpointAddr;

    use super::*;
    use crate::{Config, EndpointSecret, Internet, Links};

    #[tokio::test]
    async fn a_dial_that_nobody_asked_for_is_refused_even_to_a_contact() {
        let admission = Admission::new();
        let config = |seed| Config {
            secret: EndpointSecret::from_bytes([seed; 32]),
            bind: vec!["127.0.0.1:0".parse().unwrap()],
            reach: Internet::Off.into(),
            relays: Vec::new(),
            relay_ca: Vec::new(),
            bluetooth: None,
        };
        let (a, _) = Links::bind(config(1), admission.clone()).await.unwrap();
        let (b, _) = Links::bind(config(2), Admission::new()).await.unwrap();
        admission.permit(b.id());
        let target = EndpointAddr::new(b.endpoint().id()).with_ip_addr(b.bound()[0]);
        for protocol in Protocol::ALL {
            let dial = a.endpoint().connect(target.clone(), protocol.alpn());
            assert!(dial.await.is_err(), "{protocol:?}");
        }
        assert_eq!(admission.refused().unasked, 3);
        let (result, refusal) = asked(a.endpoint().connect(target, b"another/1")).await;
        assert!(result.is_err());
        assert_eq!(refusal, Some(Refusal::UnknownProtocol));
    }
}
