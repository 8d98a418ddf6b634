//! The one place that decides who may connect.
//!
//! Every connection, in either direction and on every ALPN, is asked about twice: when its
//! handshake ends (module `gate`), and again before it is handed on. Both times the answer
//! is [`Admission`]'s, by the remote's endpoint id alone, before any application byte.

use std::{
    collections::{HashSet, VecDeque},
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use proto::EndpointId;
use tokio::time::Instant;

use crate::{
    CloseCode, Protocol, Side,
    address::{self, PathKind},
};

/// Connections that people without a permit hold open at once to add a contact. A camp's board
/// with a printed invite is the busiest case thought of; each costs a handshake and a few KiB.
pub const MEETS_OPEN_MAX: usize = 16;
/// Attempts to add a contact that one endpoint may begin in [`MEET_WINDOW`]: enough for a person
/// who mistypes and retries.
pub const MEET_ATTEMPTS_PER_REMOTE: usize = 10;
/// Attempts of all endpoints together in [`MEET_WINDOW`], since a key costs nothing to make.
pub const MEET_ATTEMPTS: usize = 120;
/// The time over which attempts are counted.
pub const MEET_WINDOW: Duration = Duration::from_secs(60);

/// Why a connection was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// The remote is no contact's device.
    #[error("the endpoint is not permitted")]
    NotPermitted,
    /// No invite is open.
    #[error("no invite is open")]
    MeetClosed,
    /// Too many people are adding a contact at this moment.
    #[error("too many people are adding a contact at once, try again later")]
    MeetBusy,
    /// Too many attempts to add a contact in a minute.
    #[error("too many attempts to add a contact, try again in a minute")]
    MeetTooOften,
    /// The key exchange was not the post-quantum hybrid.
    #[error("the key exchange is not post-quantum")]
    NotHybrid,
    /// A protocol that this endpoint doesn't speak.
    #[error("unknown protocol")]
    UnknownProtocol,
    /// It came from the internet, whose link is off.
    #[error("the internet link is off")]
    Outside,
    /// It came from an address on the local network where no contact was met or recognised.
    #[error("nobody known is at this address of the local network")]
    Unrecognised,
    /// A dial that the node didn't ask for; gossip tries this for addresses it was told.
    #[error("nobody here asked for this connection")]
    Unasked,
}

impl Refusal {
    /// What the remote is told. It doesn't learn which rule refused it.
    #[must_use]
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::NotHybrid => CloseCode::NotHybrid,
            Self::MeetBusy | Self::MeetTooOften => CloseCode::Busy,
            Self::NotPermitted
            | Self::MeetClosed
            | Self::UnknownProtocol
            | Self::Outside
            | Self::Unrecognised
            | Self::Unasked => CloseCode::Refused,
        }
    }
}

/// The answer about one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may go on.
    Admit,
    /// It is closed.
    Refuse(Refusal),
}

/// How often each rule refused, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RefusalCounts {
    /// [`Refusal::NotPermitted`].
    pub not_permitted: u64,
    /// [`Refusal::MeetClosed`].
    pub meet_closed: u64,
    /// [`Refusal::MeetBusy`].
    pub meet_busy: u64,
    /// [`Refusal::MeetTooOften`].
    pub meet_too_often: u64,
    /// [`Refusal::NotHybrid`].
    pub not_hybrid: u64,
    /// [`Refusal::UnknownProtocol`].
    pub unknown_protocol: u64,
    /// [`Refusal::Outside`].
    pub outside: u64,
    /// [`Refusal::Unrecognised`].
    pub unrecognised: u64,
    /// [`Refusal::Unasked`].
    pub unasked: u64,
    /// Gossip events that named an endpoint other than the pair's peer, dropped.
    pub foreign_gossip: u64,
    /// Topics that were left because the peer flooded them or sent what only a larger topic has.
    pub abused_gossip: u64,
}

impl RefusalCounts {
    /// All of them together.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.not_permitted
            + self.meet_closed
            + self.meet_busy
            + self.meet_too_often
            + self.not_hybrid
            + self.unknown_protocol
            + self.outside
            + self.unrecognised
            + self.unasked
            + self.foreign_gossip
            + self.abused_gossip
    }

    const fn add(&mut self, refusal: Refusal) {
        let count = match refusal {
            Refusal::NotPermitted => &mut self.not_permitted,
            Refusal::MeetClosed => &mut self.meet_closed,
            Refusal::MeetBusy => &mut self.meet_busy,
            Refusal::MeetTooOften => &mut self.meet_too_often,
            Refusal::NotHybrid => &mut self.not_hybrid,
            Refusal::UnknownProtocol => &mut self.unknown_protocol,
            Refusal::Outside => &mut self.outside,
            Refusal::Unrecognised => &mut self.unrecognised,
            Refusal::Unasked => &mut self.unasked,
        };
        *count += 1;
    }
}

/// Which of the node's endpoints a connection came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// The device's own endpoint.
    Main,
    /// A many-use invite's endpoint, open for meets as long as it lives.
    Temporary,
    /// The endpoint of a person who meets others nearby: it is dialled and dials, for meets only.
    Nearby,
}

/// A handle on the decision; clones share it.
#[derive(Clone, Default)]
pub struct Admission {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    permitted: HashSet<EndpointId>,
    meet_open: bool,
    /// Who may come for a meet although the door is closed: somebody introduced them.
    introduced: HashSet<EndpointId>,
    /// Addresses on local networks from which packets are answered.
    neighbours: HashSet<IpAddr>,
    /// Accepted meet attempts within [`MEET_WINDOW`], oldest first, at most [`MEET_ATTEMPTS`].
    attempts: VecDeque<(Instant, EndpointId)>,
    refused: RefusalCounts,
}

impl Admission {
    /// Admits nobody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets an endpoint connect, and be dialled, for sync and gossip.
    pub fn permit(&self, remote: EndpointId) {
        self.lock().permitted.insert(remote);
    }

    /// Takes that back. Connections that exist end only with [`crate::Links::cut`].
    pub fn revoke(&self, remote: EndpointId) {
        self.lock().permitted.remove(&remote);
    }

    /// Permits exactly these endpoints.
    pub fn replace(&self, remotes: impl IntoIterator<Item = EndpointId>) {
        let permitted = remotes.into_iter().collect();
        self.lock().permitted = permitted;
    }

    /// Whether an endpoint is permitted.
    #[must_use]
    pub fn is_permitted(&self, remote: EndpointId) -> bool {
        self.lock().permitted.contains(&remote)
    }

    /// Opens or closes the door for people who come to add a contact.
    pub fn set_meet_open(&self, open: bool) {
        self.lock().meet_open = open;
    }

    /// Lets these come to add a contact, whether or not the door is open: somebody introduced them.
    pub fn set_introduced(&self, introduced: HashSet<EndpointId>) {
        self.lock().introduced = introduced;
    }

    /// From which addresses of local networks packets are answered. Others get no sign that a node
    /// is there: the handshake would show the endpoint's key to anybody. An open door for people who
    /// come to add a contact answers everybody.
    pub fn set_neighbours(&self, neighbours: HashSet<IpAddr>) {
        let canonical = neighbours.into_iter().map(|ip| ip.to_canonical());
        self.lock().neighbours = canonical.collect();
    }

    /// Whether a packet from an address is answered, as far as local networks go.
    pub(crate) fn answers(&self, ip: IpAddr, door: Door) -> bool {
        let state = self.lock();
        let open = state.meet_open || door != Door::Main;
        open || address::kind(ip) != PathKind::Lan || state.neighbours.contains(&ip.to_canonical())
    }

    /// What the rules say about a connection, without the bounds on meets and counting nothing.
    #[must_use]
    pub fn verdict(&self, remote: EndpointId, protocol: Protocol, side: Side) -> Verdict {
        self.verdict_at(remote, protocol, side, Door::Main)
    }

    pub(crate) fn verdict_at(
        &self,
        remote: EndpointId,
        protocol: Protocol,
        side: Side,
        door: Door,
    ) -> Verdict {
        self.lock().verdict(remote, protocol, side, door)
    }

    /// How often each rule refused.
    #[must_use]
    pub fn refused(&self) -> RefusalCounts {
        self.lock().refused
    }

    /// The decision at the end of a handshake: the rules, then the bounds on meets, counted.
    /// `meets_open` is the number of incoming meets that are open now.
    pub(crate) fn admit(
        &self,
        remote: EndpointId,
        protocol: Protocol,
        side: Side,
        door: Door,
        meets_open: usize,
        now: Instant,
    ) -> Verdict {
        let mut state = self.lock();
        let mut verdict = state.verdict(remote, protocol, side, door);
        if verdict == Verdict::Admit && protocol == Protocol::Meet && side == Side::Acceptor {
            verdict = state.meet_bounds(remote, meets_open, now);
        }
        if let Verdict::Refuse(refusal) = verdict {
            state.refused.add(refusal);
        }
        verdict
    }

    /// The rules again, for a connection that passed [`Self::admit`], just before it is handed on.
    pub(crate) fn still(
        &self,
        remote: EndpointId,
        protocol: Protocol,
        side: Side,
        door: Door,
    ) -> Verdict {
        let mut state = self.lock();
        let verdict = state.verdict(remote, protocol, side, door);
        if let Verdict::Refuse(refusal) = verdict {
            state.refused.add(refusal);
        }
        verdict
    }

    pub(crate) fn count(&self, refusal: Refusal) {
        self.lock().refused.add(refusal);
    }

    pub(crate) fn count_foreign_gossip(&self) {
        self.lock().refused.foreign_gossip += 1;
    }

    pub(crate) fn count_abused_gossip(&self) {
        self.lock().refused.abused_gossip += 1;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No method panics while it holds the lock, so a poisoned state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn verdict(&self, remote: EndpointId, protocol: Protocol, side: Side, door: Door) -> Verdict {
        match (protocol, side, door) {
            (Protocol::Meet, Side::Dialer, Door::Main)
            | (Protocol::Meet, Side::Acceptor, Door::Temporary)
            | (Protocol::Meet, Side::Dialer | Side::Acceptor, Door::Nearby) => Verdict::Admit,
            (Protocol::Meet, Side::Acceptor, Door::Main)
                if self.meet_open || self.introduced.contains(&remote) =>
            {
                Verdict::Admit
            }
            (Protocol::Meet, Side::Acceptor, Door::Main) => Verdict::Refuse(Refusal::MeetClosed),
            (Protocol::Sync | Protocol::Gossip, _, Door::Main)
                if self.permitted.contains(&remote) =>
            {
                Verdict::Admit
            }
            (Protocol::Sync | Protocol::Gossip, _, _)
            | (Protocol::Meet, Side::Dialer, Door::Temporary) => {
                Verdict::Refuse(Refusal::NotPermitted)
            }
        }
    }

    fn meet_bounds(&mut self, remote: EndpointId, meets_open: usize, now: Instant) -> Verdict {
        while let Some((at, _)) = self.attempts.front()
            && now.duration_since(*at) >= MEET_WINDOW
        {
            self.attempts.pop_front();
        }
        let of_remote = self.attempts.iter().filter(|(_, id)| *id == remote).count();
        if of_remote >= MEET_ATTEMPTS_PER_REMOTE || self.attempts.len() >= MEET_ATTEMPTS {
            return Verdict::Refuse(Refusal::MeetTooOften);
        }
        self.attempts.push_back((now, remote));
        if meets_open >= MEETS_OPEN_MAX {
            return Verdict::Refuse(Refusal::MeetBusy);
        }
        Verdict::Admit
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Admission")
            .field("permitted", &state.permitted.len())
            .field("meet_open", &state.meet_open)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANA: EndpointId = EndpointId([1; 32]);
    const BEN: EndpointId = EndpointId([2; 32]);

    #[test]
    fn on_a_local_network_only_known_addresses_are_answered() {
        let admission = Admission::new();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let known = ["192.168.1.5", "fe80::1"].map(ip);
        admission.set_neighbours(known.into());
        for text in [
            "192.168.1.5",
            "::ffff:192.168.1.5",
            "fe80::1",
            "127.0.0.1",
            "::1",
        ] {
            assert!(admission.answers(ip(text), Door::Main), "{text}");
        }
        // Whether the internet is answered is the internet link's matter.
        assert!(admission.answers(ip("8.8.8.8"), Door::Main));
        for text in ["192.168.1.6", "10.0.0.1", "fe80::2", "169.254.0.1"] {
            assert!(!admission.answers(ip(text), Door::Main), "{text}");
            assert!(admission.answers(ip(text), Door::Temporary), "{text}");
        }
        admission.set_meet_open(true);
        assert!(admission.answers(ip("192.168.1.6"), Door::Main));
    }

    fn meet(admission: &Admission, remote: EndpointId, open: usize, now: Instant) -> Verdict {
        admission.admit(
            remote,
            Protocol::Meet,
            Side::Acceptor,
            Door::Main,
            open,
            now,
        )
    }

    #[test]
    fn sync_and_gossip_need_a_permit_in_both_directions() {
        let admission = Admission::new();
        admission.permit(ANA);
        admission.set_meet_open(true);
        for protocol in [Protocol::Sync, Protocol::Gossip] {
            for side in [Side::Dialer, Side::Acceptor] {
                assert_eq!(admission.verdict(ANA, protocol, side), Verdict::Admit);
                assert_eq!(
                    admission.verdict(BEN, protocol, side),
                    Verdict::Refuse(Refusal::NotPermitted)
                );
            }
        }
        admission.revoke(ANA);
        assert!(!admission.is_permitted(ANA));
        admission.replace([BEN]);
        assert_eq!(
            admission.verdict(BEN, Protocol::Sync, Side::Acceptor),
            Verdict::Admit
        );
        assert_eq!(admission.refused().total(), 0, "asking counts nothing");
    }

    #[test]
    fn meet_follows_the_open_invites() {
        let admission = Admission::new();
        admission.permit(ANA);
        for remote in [ANA, BEN] {
            assert_eq!(
                admission.verdict(remote, Protocol::Meet, Side::Acceptor),
                Verdict::Refuse(Refusal::MeetClosed)
            );
            assert_eq!(
                admission.verdict(remote, Protocol::Meet, Side::Dialer),
                Verdict::Admit
            );
        }
        admission.set_meet_open(true);
        assert_eq!(
            admission.verdict(BEN, Protocol::Meet, Side::Acceptor),
            Verdict::Admit
        );
    }

    #[test]
    fn a_temporary_endpoint_takes_meets_and_nothing_else() {
        let admission = Admission::new();
        admission.permit(ANA);
        let ask = |protocol, side| admission.still(ANA, protocol, side, Door::Temporary);
        assert_eq!(ask(Protocol::Meet, Side::Acceptor), Verdict::Admit);
        for (protocol, side) in [
            (Protocol::Meet, Side::Dialer),
            (Protocol::Sync, Side::Acceptor),
            (Protocol::Sync, Side::Dialer),
            (Protocol::Gossip, Side::Acceptor),
            (Protocol::Gossip, Side::Dialer),
        ] {
            assert_eq!(
                ask(protocol, side),
                Verdict::Refuse(Refusal::NotPermitted),
                "{protocol:?} {side:?}"
            );
        }
        assert_eq!(admission.refused().not_permitted, 5);
    }

    #[tokio::test]
    async fn meets_are_bounded_at_once_and_over_a_minute() {
        let admission = Admission::new();
        admission.set_meet_open(true);
        let start = Instant::now();
        assert_eq!(
            meet(&admission, ANA, MEETS_OPEN_MAX, start),
            Verdict::Refuse(Refusal::MeetBusy)
        );
        for _ in 1..MEET_ATTEMPTS_PER_REMOTE {
            assert_eq!(meet(&admission, ANA, 0, start), Verdict::Admit);
        }
        assert_eq!(
            meet(&admission, ANA, 0, start),
            Verdict::Refuse(Refusal::MeetTooOften)
        );
        assert_eq!(meet(&admission, BEN, 0, start), Verdict::Admit);
        assert_eq!(
            meet(&admission, ANA, 0, start + MEET_WINDOW),
            Verdict::Admit
        );

        let later = start + MEET_WINDOW * 3;
        for n in 0..MEET_ATTEMPTS {
            let mut id = [9; 32];
            id[0] = u8::try_from(n).unwrap();
            assert_eq!(meet(&admission, EndpointId(id), 0, later), Verdict::Admit);
        }
        assert_eq!(
            meet(&admission, BEN, 0, later),
            Verdict::Refuse(Refusal::MeetTooOften)
        );
        let counts = admission.refused();
        assert_eq!((counts.meet_busy, counts.meet_too_often), (1, 2));
    }
}
