//! Whether a connection over IP is still alive, where the device is in radio range too.
//!
//! QUIC's own sign of life comes every five seconds, too rarely to tell a dead line soon. So a word
//! is sent that QUIC acknowledges; it sends it again itself where it got lost.

use std::{collections::BTreeMap, time::Duration};

use proto::EndpointId;
use tokio::time::Instant;

/// Where nothing came for so long, a word is sent.
const QUIET: Duration = Duration::from_millis(1_200);
/// A connection on which nothing comes for so long is dead.
pub(super) const SILENT: Duration = Duration::from_millis(3_500);
/// Who wasn't looked at for so long isn't watched any more.
const FORGOTTEN: Duration = Duration::from_secs(5);

/// What to do about a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Alive,
    /// Send a word that has to be acknowledged.
    Ask,
    /// Give it up.
    Dead,
}

/// How long nothing came from whom.
#[derive(Debug, Default)]
pub(super) struct Silences(BTreeMap<EndpointId, Silence>);

#[derive(Debug, Clone, Copy)]
struct Silence {
    /// Bytes of UDP that had come by then.
    received: u64,
    since: Instant,
    looked: Instant,
    asked: bool,
}

impl Silences {
    /// Looks at a connection on which `received` bytes have come so far.
    pub(super) fn look(&mut self, endpoint: EndpointId, received: u64, now: Instant) -> Verdict {
        self.0
            .retain(|_, silence| now.duration_since(silence.looked) < FORGOTTEN);
        let silence = self.0.entry(endpoint).or_insert(Silence {
            received,
            since: now,
            looked: now,
            asked: false,
        });
        silence.looked = now;
        if silence.received != received {
            (silence.received, silence.since, silence.asked) = (received, now, false);
        }
        let time = now.duration_since(silence.since);
        if time >= SILENT {
            self.0.remove(&endpoint);
            Verdict::Dead
        } else if time >= QUIET && !std::mem::replace(&mut silence.asked, true) {
            Verdict::Ask
        } else {
            Verdict::Alive
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_asked_once_and_given_up_only_where_nothing_comes() {
        let (mut silences, start) = (Silences::default(), Instant::now());
        let ben = EndpointId([2; 32]);
        let mut at = |ms, received| silences.look(ben, received, start + Duration::from_millis(ms));
        assert_eq!(at(0, 10), Verdict::Alive);
        assert_eq!(at(1_000, 10), Verdict::Alive);
        assert_eq!(at(1_300, 10), Verdict::Ask);
        assert_eq!(at(1_800, 10), Verdict::Alive);
        // The acknowledgement.
        assert_eq!(at(2_300, 60), Verdict::Alive);
        assert_eq!(at(3_600, 60), Verdict::Ask);
        assert_eq!(at(5_700, 60), Verdict::Alive);
        assert_eq!(at(5_800, 60), Verdict::Dead);
        // A new connection begins anew, and so does who was out of range for a while.
        assert_eq!(at(5_900, 60), Verdict::Alive);
        assert_eq!(at(60_000, 60), Verdict::Alive);
    }
}
