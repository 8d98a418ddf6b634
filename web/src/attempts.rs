//! How often somebody on the network may guess the password.
//!
//! Each address waits longer after each wrong one, and all of them together have so many tries.
//! Nobody is locked out for good; who sits at the machine needs no password. Pure: times are
//! arguments.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

/// Addresses that are remembered: more than a local network of the usual size has.
const SOURCES_MAX: usize = 256;
/// Tries that cost no waiting: a slip of the finger.
const FREE_TRIES: u32 = 2;
/// The wait after the first try beyond these; it doubles from then on.
const WAIT_MIN: Duration = Duration::from_secs(1);
/// The longest wait.
const WAIT_MAX: Duration = Duration::from_secs(300);
/// After so long without a try an address begins anew.
const FORGET_AFTER: Duration = Duration::from_secs(3_600);
/// Tries of all addresses together, at once.
const TOGETHER_MAX: u32 = 30;
/// And one more each time that this has passed: 14,400 a day.
const TOGETHER_EVERY: Duration = Duration::from_secs(6);

/// Who tries: an IPv4 address, or the network of an IPv6 one, since a machine has many of these.
pub(crate) fn source(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            [a, b, c, d, 0, 0, 0, 0].into()
        }
        ip => ip,
    }
}

struct Tries {
    count: u32,
    last: Instant,
    /// Not before this.
    next: Instant,
}

/// The tries of all who are not signed in.
#[derive(Default)]
pub(crate) struct Attempts {
    sources: BTreeMap<IpAddr, Tries>,
    /// Tries of all together that are used up, and since when.
    together: Option<(u32, Instant)>,
}

impl Attempts {
    /// Counts a try as a wrong one, or says how long to wait. Counted before the password is looked
    /// at, so that many at once don't slip through.
    pub(crate) fn begin(&mut self, from: IpAddr, now: Instant) -> Result<(), Duration> {
        let from = source(from);
        self.sources
            .retain(|_, tries| now.saturating_duration_since(tries.last) < FORGET_AFTER);
        if let Some(tries) = self.sources.get(&from)
            && tries.next > now
        {
            return Err(tries.next.saturating_duration_since(now));
        }
        self.take_of_all(now)?;
        if self.sources.len() >= SOURCES_MAX && !self.sources.contains_key(&from) {
            let first = self.sources.iter().min_by_key(|(_, tries)| tries.next);
            if let Some(first) = first.map(|(ip, _)| *ip) {
                self.sources.remove(&first);
            }
        }
        let tries = self.sources.entry(from).or_insert(Tries {
            count: 0,
            last: now,
            next: now,
        });
        tries.count = tries.count.saturating_add(1);
        tries.last = now;
        tries.next = now + wait_after(tries.count);
        Ok(())
    }

    /// The try was right.
    pub(crate) fn succeeded(&mut self, from: IpAddr) {
        self.sources.remove(&source(from));
        if let Some((used, _)) = &mut self.together {
            *used = used.saturating_sub(1);
        }
    }

    fn take_of_all(&mut self, now: Instant) -> Result<(), Duration> {
        let (mut used, mut since) = self.together.unwrap_or((0, now));
        let step = TOGETHER_EVERY.as_millis().max(1);
        let steps = now.saturating_duration_since(since).as_millis() / step;
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        used = used.saturating_sub(steps);
        since = if used == 0 {
            now
        } else {
            since + TOGETHER_EVERY.saturating_mul(steps)
        };
        if used >= TOGETHER_MAX {
            self.together = Some((used, since));
            return Err((since + TOGETHER_EVERY).saturating_duration_since(now));
        }
        self.together = Some((used + 1, since));
        Ok(())
    }
}

/// The wait behind so many tries.
fn wait_after(count: u32) -> Duration {
    let Some(beyond) = count.checked_sub(FREE_TRIES) else {
        return Duration::ZERO;
    };
    let factor = 2_u32.checked_pow(beyond).unwrap_or(u32::MAX);
    WAIT_MIN.saturating_mul(factor).min(WAIT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn who_guesses_wrong_waits_longer_each_time_and_others_do_not() {
        let mut attempts = Attempts::default();
        let mut now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..14 {
            // With time to spare, so that the bound of all doesn't come in between.
            while let Err(wait) = attempts.begin(ip("10.1.0.2"), now) {
                waits.push(wait.as_secs());
                now += wait;
            }
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        assert!(attempts.begin(ip("10.1.0.3"), now).is_ok());
        attempts.succeeded(ip("10.1.0.2"));
        assert!(
            attempts.begin(ip("10.1.0.2"), now).is_ok(),
            "a right one begins anew"
        );
    }

    #[test]
    fn all_together_have_so_many_tries() {
        let mut attempts = Attempts::default();
        let start = Instant::now();
        let mut taken = 0;
        for second in 0..600_u32 {
            let now = start + Duration::from_secs(second.into());
            for host in 0..100 {
                let from = std::net::Ipv4Addr::from(0x0a00_0000 + second * 256 + host);
                taken += u32::from(attempts.begin(from.into(), now).is_ok());
            }
        }
        assert_eq!(taken, TOGETHER_MAX + 599 / 6);
        assert!(attempts.sources.len() <= SOURCES_MAX);
    }

    #[test]
    fn a_machine_with_many_addresses_is_one() {
        let mut attempts = Attempts::default();
        let now = Instant::now();
        assert!(attempts.begin(ip("fd01::1"), now).is_ok());
        assert!(attempts.begin(ip("fd01::2"), now).is_ok());
        assert!(attempts.begin(ip("fd01::3"), now).is_err());
        assert!(attempts.begin(ip("fd02::1"), now).is_ok());
        assert!(attempts.begin(ip("::ffff:10.1.0.2"), now).is_ok());
        assert!(attempts.begin(ip("10.1.0.2"), now).is_ok());
        assert!(attempts.begin(ip("10.1.0.2"), now).is_err());
    }
}
