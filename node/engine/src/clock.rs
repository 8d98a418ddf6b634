//! The only place that reads a clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proto::Millis;

/// Now, as this machine's clock claims. A clock before 1970 counts as 1970.
#[expect(clippy::disallowed_methods, reason = "the one place")]
pub(crate) fn now() -> Millis {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// How long to sleep until `at`, at most `max`: the wall clock may jump.
pub(crate) fn until(at: Millis, max: Duration) -> Duration {
    Duration::from_millis(at.since(now())).min(max)
}
