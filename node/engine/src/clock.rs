//! The only place that reads a clock.

use std::{
    sync::OnceLock,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use proto::Millis;

/// Now, as this machine's clock claims. A clock before 1970 counts as 1970.
#[expect(clippy::disallowed_methods, reason = "the one place")]
pub(crate) fn now() -> Millis {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Time since this was first asked for: for waits, since it never jumps as [`now`] may.
pub(crate) fn steady() -> Millis {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    let since = BEGAN.get_or_init(Instant::now).elapsed();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// How long to sleep until `at` of [`steady`], at most `max`.
pub(crate) fn until(at: Millis, max: Duration) -> Duration {
    Duration::from_millis(at.since(steady())).min(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock that is set back, as by a network's time after a start in 2038, must not make a
    /// meeting wait for years until it asks again for what got lost.
    #[test]
    fn waits_are_measured_from_the_start_and_not_by_the_wall() {
        let began = steady();
        assert!(began < Millis(86_400_000), "{began:?}");
        assert!(until(began.plus(1_000), Duration::MAX) <= Duration::from_secs(1));
        assert!(steady() >= began);
    }
}
