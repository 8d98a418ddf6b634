//! Times as people read them. Pure: the present is an argument.
//!
//! Dates by H. Hinnant's days-to-civil algorithm ("chrono-Compatible Low-Level Date Algorithms").

use askama::Template;
use askama::filters::HtmlSafe;
use engine::Millis;

const MINUTE_MS: u64 = 60 * 1_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;
/// Older than this, a date says more than a number of days.
const DAYS_MAX: u64 = 7;
/// The last day of the year 9999, beyond which HTML's `datetime` has no form.
const LAST_MS: u64 = 253_402_300_799_999;

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// A point in time on a page.
#[derive(Template, Clone)]
#[template(
    source = r#"<time datetime="{{ iso }}" title="{{ whole }}">{{ text }}</time>"#,
    ext = "html"
)]
pub(crate) struct When {
    iso: String,
    whole: String,
    text: String,
}

impl HtmlSafe for When {}

impl When {
    /// `time` as seen at `now`.
    pub(crate) fn of(time: Millis, now: Millis) -> Self {
        let civil = Civil::of(time);
        Self {
            iso: civil.iso(),
            whole: civil.whole(),
            text: relative(time, now, &civil),
        }
    }

    /// A claim of somebody's clock that can't be right.
    pub(crate) fn doubtful(time: Millis) -> Self {
        let civil = Civil::of(time);
        Self {
            iso: civil.iso(),
            whole: format!("their clock said {}", civil.whole()),
            text: "at an unclear time".to_owned(),
        }
    }
}

fn relative(time: Millis, now: Millis, civil: &Civil) -> String {
    let (past, future) = (now.since(time), time.since(now));
    if past.max(future) < MINUTE_MS {
        return "just now".to_owned();
    }
    if past.max(future) >= DAYS_MAX * DAY_MS {
        return civil.date();
    }
    let (distance, format): (u64, fn(String) -> String) = if future > 0 {
        (future, |text| format!("in {text}"))
    } else {
        (past, |text| format!("{text} ago"))
    };
    let text = match distance {
        0..HOUR_MS => format!("{} min", distance / MINUTE_MS),
        HOUR_MS..DAY_MS => format!("{} h", distance / HOUR_MS),
        _ if distance < 2 * DAY_MS => "1 day".to_owned(),
        _ => format!("{} days", distance / DAY_MS),
    };
    format(text)
}

struct Civil {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
}

impl Civil {
    fn of(time: Millis) -> Self {
        let ms = time.0.min(LAST_MS);
        let days = ms / DAY_MS + 719_468;
        let era = days / 146_097;
        let day_of_era = days % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let month = if shifted_month < 10 {
            shifted_month + 3
        } else {
            shifted_month - 9
        };
        Self {
            year: year_of_era + era * 400 + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * shifted_month + 2) / 5 + 1,
            hour: ms % DAY_MS / HOUR_MS,
            minute: ms % HOUR_MS / MINUTE_MS,
            second: ms % MINUTE_MS / 1_000,
        }
    }

    fn iso(&self) -> String {
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
            self.year, self.month, self.day, self.hour, self.minute, self.second
        )
    }

    fn date(&self) -> String {
        let month = usize::try_from(self.month - 1)
            .ok()
            .and_then(|at| MONTHS.get(at))
            .unwrap_or(&"");
        format!("{} {month} {}", self.day, self.year)
    }

    fn whole(&self) -> String {
        format!("{}, {:02}:{:02} UTC", self.date(), self.hour, self.minute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right_at_the_edges() {
        for (ms, iso) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (951_868_799_999, "2000-02-29T23:59:59Z"),
            (1_709_164_800_000, "2024-02-29T00:00:00Z"),
            (4_107_542_399_000, "2100-02-28T23:59:59Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
            (1_795_421_108_000, "2026-11-23T08:05:08Z"),
            (LAST_MS, "9999-12-31T23:59:59Z"),
            (u64::MAX, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(Civil::of(Millis(ms)).iso(), iso);
        }
    }

    #[test]
    fn near_times_are_told_by_their_distance() {
        let now = Millis(1_795_421_108_000);
        let text = |time: u64| When::of(Millis(time), now).text;
        for (ago, expected) in [
            (0, "just now"),
            (59_999, "just now"),
            (MINUTE_MS, "1 min ago"),
            (HOUR_MS - 1, "59 min ago"),
            (HOUR_MS, "1 h ago"),
            (DAY_MS, "1 day ago"),
            (2 * DAY_MS, "2 days ago"),
            (7 * DAY_MS, "16 Nov 2026"),
        ] {
            assert_eq!(text(now.0 - ago), expected);
        }
        assert_eq!(text(now.0 + 2 * HOUR_MS), "in 2 h");
        assert_eq!(text(now.0 + 30 * DAY_MS), "23 Dec 2026");
        assert_eq!(text(u64::MAX), "31 Dec 9999");
        assert_eq!(text(0), "1 Jan 1970");
    }

    #[test]
    fn a_time_is_machine_readable() {
        let when = When::of(Millis(0), Millis(0)).to_string();
        assert_eq!(
            when,
            r#"<time datetime="1970-01-01T00:00:00Z" title="1 Jan 1970, 00:00 UTC">just now</time>"#
        );
        assert!(When::doubtful(Millis(0)).to_string().contains("unclear"));
    }
}
