//! How fast a meeting catches up, and how long that will take. Pure: the time is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// Between two samples: a batch takes some tens of milliseconds, and single ones say little.
const SAMPLE_EVERY: Duration = Duration::from_millis(500);
/// How long a sample is remembered: the rate follows a link that changes within some seconds, and
/// stays calm over a pause of a disk.
const SMOOTHED_OVER: Duration = Duration::from_secs(5);
/// A catch-up is worth telling of once it took this long.
const WORTH_TELLING: Duration = Duration::from_secs(1);
/// Beyond a day nobody knows.
const LEFT_S_MAX: f64 = 86_400.0;

/// What is known of a catch-up.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace {
    run: Option<Run>,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    began: Instant,
    /// Entries received by this meeting when it began.
    received_before: u64,
    /// What there was at the last sample: when, received in all, and still wanted.
    sampled: Instant,
    received: u64,
    want: u64,
    /// Entries a second; `None` before the first sample.
    per_s: Option<f64>,
}

/// A catch-up as it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) got: u64,
    pub(crate) per_s: u64,
    pub(crate) left_s: Option<u64>,
}

impl Pace {
    /// So many entries were received by this meeting so far, and so many are wanted.
    pub(crate) fn look(&mut self, received: u64, want: u64, now: Instant) {
        if want == 0 {
            self.run = None;
            return;
        }
        let run = self.run.get_or_insert(Run {
            began: now,
            received_before: received,
            sampled: now,
            received,
            want,
            per_s: None,
        });
        let since = now.saturating_duration_since(run.sampled);
        if since < SAMPLE_EVERY {
            return;
        }
        // What somebody else brought meanwhile isn't wanted any more either.
        let came = received.saturating_sub(run.received);
        let came = came.max(run.want.saturating_sub(want));
        let rate = came as f64 / since.as_secs_f64();
        run.per_s = Some(match run.per_s {
            None => rate,
            Some(before) => rate + (before - rate) * fading(since),
        });
        (run.sampled, run.received, run.want) = (now, received, want);
    }

    /// What to tell; nothing where there is none, or hardly any work.
    pub(crate) fn told(&self, received: u64, want: u64, now: Instant) -> Option<Told> {
        let run = self.run.filter(|_| want > 0)?;
        if now.saturating_duration_since(run.began) < WORTH_TELLING {
            return None;
        }
        // Where nothing has come for a while, that counts too.
        let silent = now.saturating_duration_since(run.sampled);
        let per_s = match run.per_s {
            Some(per_s) if silent > 2 * SAMPLE_EVERY => per_s * fading(silent),
            Some(per_s) => per_s,
            None => 0.0,
        };
        let left_s = want as f64 / per_s;
        if left_s < WORTH_TELLING.as_secs_f64() {
            return None;
        }
        Some(Told {
            got: received.saturating_sub(run.received_before),
            per_s: per_s.round() as u64,
            left_s: (left_s <= LEFT_S_MAX).then_some(left_s.ceil() as u64),
        })
    }
}

/// What is left of a sample's weight after a time.
fn fading(since: Duration) -> f64 {
    (-since.as_secs_f64() / SMOOTHED_OVER.as_secs_f64()).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries that come steadily, looked at ten times a second.
    fn steady(pace: &mut Pace, from: Instant, seconds: u64, per_s: u64, mut want: u64) -> u64 {
        let mut received = 0_u64;
        for tenth in 0..=seconds * 10 {
            pace.look(received, want, from + Duration::from_millis(tenth * 100));
            received += per_s / 10;
            want -= per_s / 10;
        }
        want
    }

    #[test]
    fn a_steady_stream_is_told_as_it_is() {
        let (began, mut pace) = (Instant::now(), Pace::default());
        let want = steady(&mut pace, began, 10, 1_000, 100_000);
        let told = pace.told(10_000, want, began + Duration::from_secs(10));
        let told = told.unwrap();
        assert_eq!(told.got, 10_000);
        assert!((990..=1_010).contains(&told.per_s), "{told:?}");
        assert!((88..=92).contains(&told.left_s.unwrap()), "{told:?}");
    }

    #[test]
    fn a_second_of_work_is_not_worth_a_word() {
        let (began, mut pace) = (Instant::now(), Pace::default());
        assert_eq!(pace.told(0, 0, began), None);
        pace.look(0, 500, began);
        let soon = began + Duration::from_millis(900);
        pace.look(400, 100, soon);
        assert_eq!(pace.told(400, 100, soon), None, "it has just begun");
        let later = began + Duration::from_secs(3);
        assert_eq!(pace.told(490, 10, soon + SAMPLE_EVERY), None, "nearly done");
        pace.look(500, 0, later);
        assert_eq!(pace.told(500, 0, later), None, "done");
    }

    /// A link that breaks off leaves no cheerful estimate behind.
    #[test]
    fn who_sends_nothing_any_more_has_no_end_in_sight() {
        let (began, mut pace) = (Instant::now(), Pace::default());
        let want = steady(&mut pace, began, 10, 1_000, 20_000);
        let left = |after: u64| {
            let now = began + Duration::from_secs(10 + after);
            pace.told(10_000, want, now).unwrap().left_s
        };
        assert!(left(1).unwrap() < 12);
        assert!(left(20).unwrap() > 300);
        assert_eq!(left(3_600), None);
    }

    #[test]
    fn what_another_contact_brings_counts_too() {
        let (began, mut pace) = (Instant::now(), Pace::default());
        pace.look(0, 10_000, began);
        let now = began + Duration::from_secs(2);
        pace.look(0, 8_000, now);
        let told = pace.told(0, 8_000, now).unwrap();
        assert_eq!((told.got, told.per_s, told.left_s), (0, 1_000, Some(8)));
    }
}
