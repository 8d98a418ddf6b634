//! How many hints a second: a bucket that is full at first and fills up within a second.

use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct Rate {
    per_s_max: u32,
    left: f64,
    at: Option<Instant>,
}

impl Rate {
    pub(super) fn new(per_s_max: u32) -> Self {
        Self {
            per_s_max,
            left: f64::from(per_s_max),
            at: None,
        }
    }

    /// Takes so many; false where that is more than there are.
    pub(super) fn take(&mut self, count: u64, now: Instant) -> bool {
        let full = f64::from(self.per_s_max);
        if let Some(at) = self.at {
            let since = now.saturating_duration_since(at).as_secs_f64();
            self.left = (self.left + since * full).min(full);
        }
        self.at = Some(now);
        let count = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        if count > self.left {
            return false;
        }
        self.left -= count;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_second_brings_back_what_a_second_may_have() {
        let (mut rate, mut now) = (Rate::new(10), Instant::now());
        assert!((0..10).all(|_| rate.take(1, now)));
        assert!(!rate.take(1, now));
        now += Duration::from_millis(500);
        assert!(rate.take(5, now));
        assert!(!rate.take(1, now));
        now += Duration::from_secs(3_600);
        assert!(!rate.take(11, now), "no more than a second's come together");
        assert!(rate.take(10, now));
    }
}
