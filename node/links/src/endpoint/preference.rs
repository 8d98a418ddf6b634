//! Which of a connection's paths carries its data: IP where there is any, a relay next, Bluetooth
//! where there is nothing else. An address that is out of reach is never chosen.

use std::time::Duration;

use iroh::endpoint::transports::{
    FourTuple, PathSelection, PathSelectionContext, PathSelectionData, PathSelector,
};

use crate::{Reach, address};

/// A path of the same kind is left for another only if that is faster by this much, so that two
/// that are alike don't take turns.
const BETTER_BY: Duration = Duration::from_millis(5);
/// What IPv6 may take longer: nothing translates its addresses on the way.
const IPV6_BONUS: Duration = Duration::from_millis(3);

/// Kinds of paths, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Direct,
    Relayed,
    Bluetooth,
}

/// What a path is worth; less is better. The time is the round trip in nanoseconds, less a bonus.
type Worth = (Kind, i128);

/// The choice of one endpoint.
#[derive(Debug)]
pub(super) struct Preference {
    reach: Reach,
}

impl Preference {
    pub(super) const fn new(reach: Reach) -> Self {
        Self { reach }
    }

    fn worth(&self, path: &FourTuple, rtt: Duration) -> Option<Worth> {
        let (kind, bonus) = match path {
            FourTuple::Ip { remote, .. } if !address::may_answer(*remote, self.reach) => {
                return None;
            }
            FourTuple::Ip { remote, .. } if remote.is_ipv6() => (Kind::Direct, IPV6_BONUS),
            FourTuple::Ip { .. } => (Kind::Direct, Duration::ZERO),
            FourTuple::Relay { .. } => (Kind::Relayed, Duration::ZERO),
            FourTuple::Custom { .. } => (Kind::Bluetooth, Duration::ZERO),
        };
        let nanoseconds = |time: Duration| i128::try_from(time.as_nanos()).unwrap_or(i128::MAX);
        Some((kind, nanoseconds(rtt) - nanoseconds(bonus)))
    }
}

impl PathSelector for Preference {
    fn select(&self, ctx: &PathSelectionContext<'_>) -> PathSelection {
        let mut best: Option<(PathSelectionData<'_>, Worth)> = None;
        let mut current: Option<Worth> = None;
        for path in ctx.paths() {
            // It may have closed meanwhile.
            let Some(stats) = path.stats() else { continue };
            let Some(worth) = self.worth(path.network_path(), stats.rtt) else {
                continue;
            };
            if Some(path.network_path()) == ctx.current() {
                current = Some(current.map_or(worth, |known| known.min(worth)));
            }
            if best.as_ref().is_none_or(|(_, known)| worth < *known) {
                best = Some((path, worth));
            }
        }
        let mut selection = PathSelection::none();
        if let Some((path, worth)) = best
            && current.is_none_or(|current| is_worth_a_change(current, worth))
        {
            selection.set(&path);
        }
        selection
    }
}

fn is_worth_a_change(current: Worth, other: Worth) -> bool {
    let margin = i128::try_from(BETTER_BY.as_nanos()).unwrap_or(i128::MAX);
    other.0 < current.0 || (other.0 == current.0 && other.1 + margin <= current.1)
}

#[cfg(test)]
mod tests {
    use iroh::endpoint::transports::Addr;
    use iroh_base::CustomAddr;

    use super::*;
    use crate::Internet;

    fn ip(text: &str) -> FourTuple {
        FourTuple::from_remote(Addr::Ip(text.parse().unwrap()))
    }

    fn bluetooth() -> FourTuple {
        FourTuple::from_remote(Addr::Custom(CustomAddr::from_parts(1, b"handle")))
    }

    #[test]
    fn ip_before_bluetooth_however_slow_and_only_in_reach() {
        let off = Preference::new(Reach {
            internet: Internet::Off,
            lan: false,
        });
        let lan = Preference::new(Internet::Off.into());
        let (slow, fast) = (Duration::from_secs(3), Duration::from_millis(1));
        let near = bluetooth();
        let near = lan.worth(&near, fast).unwrap();
        let far = lan.worth(&ip("192.168.1.2:9"), slow).unwrap();
        assert!(is_worth_a_change(near, far) && !is_worth_a_change(far, near));
        assert_eq!(off.worth(&ip("192.168.1.2:9"), fast), None);
        assert_eq!(lan.worth(&ip("8.8.8.8:9"), fast), None);
        assert!(off.worth(&ip("127.0.0.1:9"), fast).is_some());
    }

    #[test]
    fn two_paths_that_are_alike_do_not_take_turns() {
        let lan = Preference::new(Internet::Off.into());
        let worth = |text, ms| lan.worth(&ip(text), Duration::from_millis(ms)).unwrap();
        let current = worth("10.0.0.1:9", 20);
        assert!(!is_worth_a_change(current, worth("10.0.0.2:9", 16)));
        assert!(is_worth_a_change(current, worth("10.0.0.2:9", 15)));
        assert!(is_worth_a_change(current, worth("[fd00::2]:9", 18)));
    }
}
