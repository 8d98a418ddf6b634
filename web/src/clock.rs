//! The one place in this crate that reads the clock.

use std::time::{SystemTime, UNIX_EPOCH};

use engine::Millis;

/// The time by this machine's clock; 0 when the clock stands before 1970.
#[expect(clippy::disallowed_methods, reason = "the one place")]
pub(crate) fn now() -> Millis {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
