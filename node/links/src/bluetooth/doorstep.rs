//! Whose handshakes begin: so many at once, so many a second, and for a while none of an address
//! whose last one came to nothing. Pure: the time is an argument.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::radio::Address;

/// Handshakes of others at once: few, because each holds a connection of the radio.
const GREETINGS_MAX: usize = 3;
/// Handshakes of others that begin in a second: each costs a hash for each contact's device.
const GREETINGS_PER_SECOND_MAX: u32 = 8;
/// How long an address isn't answered whose handshake failed; it doubles with each failure.
const SHUNNED_MIN: Duration = Duration::from_secs(2);
const SHUNNED_MAX: Duration = Duration::from_secs(5 * 60);
/// Addresses of this kind that are remembered; the one that is over first gives way.
const SHUNNED_ADDRESSES_MAX: usize = 64;

/// Who stands before the door.
#[derive(Debug, Default)]
pub(super) struct Doorstep {
    now: usize,
    second: Option<Instant>,
    begun: u32,
    shunned: BTreeMap<Address, Shunned>,
}

#[derive(Debug)]
struct Shunned {
    until: Instant,
    wait: Duration,
}

impl Doorstep {
    /// Whether one more may begin now; [`Self::end`] has to follow.
    pub(super) fn begin(&mut self, from: Address, now: Instant) -> bool {
        let this_second = self
            .second
            .is_some_and(|began| now.duration_since(began) < Duration::from_secs(1));
        if !this_second {
            (self.second, self.begun) = (Some(now), 0);
        }
        let shunned = self.shunned.get(&from);
        let may = shunned.is_none_or(|shunned| shunned.until <= now)
            && self.now < GREETINGS_MAX
            && self.begun < GREETINGS_PER_SECOND_MAX;
        if may {
            self.now += 1;
            self.begun += 1;
        }
        may
    }

    /// One ended, well or not.
    pub(super) fn end(&mut self, from: Address, well: bool, now: Instant) {
        self.now = self.now.saturating_sub(1);
        if well {
            self.shunned.remove(&from);
        } else {
            self.shun(from, now);
        }
    }

    fn shun(&mut self, address: Address, now: Instant) {
        let before = self.shunned.get(&address).map(|shunned| shunned.wait * 2);
        let wait = before.unwrap_or(SHUNNED_MIN).min(SHUNNED_MAX);
        if self.shunned.len() >= SHUNNED_ADDRESSES_MAX && !self.shunned.contains_key(&address) {
            let over_first = self.shunned.iter().min_by_key(|(_, shunned)| shunned.until);
            if let Some(address) = over_first.map(|(address, _)| *address) {
                self.shunned.remove(&address);
            }
        }
        let until = now + wait;
        self.shunned.insert(address, Shunned { until, wait });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bluetooth::sim::address;

    #[test]
    fn who_fails_waits_longer_each_time_and_nobody_else_does() {
        let (mut doorstep, began) = (Doorstep::default(), Instant::now());
        let mut now = began;
        let mut waited = Vec::new();
        for _ in 0..9 {
            assert!(doorstep.begin(address(1), now));
            doorstep.end(address(1), false, now);
            assert!(!doorstep.begin(address(1), now));
            assert!(doorstep.begin(address(2), now));
            doorstep.end(address(2), true, now);
            let wait = doorstep.shunned[&address(1)].wait;
            waited.push(wait.as_secs());
            now += wait;
        }
        assert_eq!(waited, [2, 4, 8, 16, 32, 64, 128, 256, 300]);
        assert!(doorstep.begin(address(1), now));
        doorstep.end(address(1), true, now);
        assert!(doorstep.shunned.is_empty());
    }

    #[test]
    fn a_crowd_begins_so_many_a_second_and_leaves_a_bounded_memory() {
        let (mut doorstep, now) = (Doorstep::default(), Instant::now());
        for number in 0..=255 {
            if doorstep.begin(address(number), now) {
                doorstep.end(address(number), false, now);
            }
        }
        assert_eq!(doorstep.shunned.len(), GREETINGS_PER_SECOND_MAX as usize);
        for second in 1..60 {
            let now = now + Duration::from_secs(second);
            for number in 0..=255 {
                if doorstep.begin(address(number), now) {
                    doorstep.end(address(number), false, now);
                }
            }
        }
        assert!(doorstep.shunned.len() <= SHUNNED_ADDRESSES_MAX);
        let later = now + Duration::from_secs(3_600);
        let begun = (0..=255).filter(|number| doorstep.begin(address(*number), later));
        assert_eq!(begun.count(), GREETINGS_MAX, "the others would be at once");
    }
}
