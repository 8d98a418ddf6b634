//! The table of figures beside their targets.

use std::{fmt, time::Duration};

/// How a figure stands to its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Met,
    Missed,
    /// There is no target: a floor, or something to know.
    Known,
    /// The part ended before its figures.
    Failed,
}

#[derive(Debug)]
struct Row {
    what: String,
    figure: String,
    target: String,
    verdict: Verdict,
}

#[derive(Debug, Default)]
pub(crate) struct Table(Vec<Row>);

impl Table {
    /// A figure with a target.
    pub(crate) fn figure(&mut self, what: &str, figure: String, target: &str, met: bool) {
        let verdict = if met { Verdict::Met } else { Verdict::Missed };
        self.push(what, figure, target, verdict);
    }

    /// A figure without one.
    pub(crate) fn known(&mut self, what: &str, figure: String) {
        self.push(what, figure, "", Verdict::Known);
    }

    pub(crate) fn failed(&mut self, part: &str) {
        let figure = "ended early, see above".to_owned();
        self.push(part, figure, "", Verdict::Failed);
    }

    fn push(&mut self, what: &str, figure: String, target: &str, verdict: Verdict) {
        eprintln!("    {what}: {figure}");
        self.0.push(Row {
            what: what.to_owned(),
            figure,
            target: target.to_owned(),
            verdict,
        });
    }

    pub(crate) fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Whether a part ended early. A missed target is a figure, not a failure.
    pub(crate) fn has_failed(&self) -> bool {
        self.0.iter().any(|row| row.verdict == Verdict::Failed)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| what | found | target | |\n|---|---|---|---|")?;
        for row in &self.0 {
            let verdict = match row.verdict {
                Verdict::Met => "met",
                Verdict::Missed => "**missed**",
                Verdict::Known => "",
                Verdict::Failed => "**failed**",
            };
            let Row {
                what,
                figure,
                target,
                ..
            } = row;
            writeln!(f, "| {what} | {figure} | {target} | {verdict} |")?;
        }
        Ok(())
    }
}

/// Times in order, for what lies in the middle and at the end.
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn of(mut times: Vec<Duration>) -> Self {
        assert!(!times.is_empty(), "nothing was measured");
        times.sort_unstable();
        Self(times)
    }

    /// The time that `percent` of all times don't pass.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let at = (self.0.len() * percent).div_ceil(100).max(1) - 1;
        self.0[at]
    }

    pub(crate) fn median(&self) -> Duration {
        self.percentile(50)
    }

    pub(crate) fn p99(&self) -> Duration {
        self.percentile(99)
    }

    pub(crate) fn max(&self) -> Duration {
        self.percentile(100)
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (median, p99, max) = (ms(self.median()), ms(self.p99()), ms(self.max()));
        let count = self.0.len();
        write!(
            f,
            "median {median}, 99th percentile {p99}, longest {max} ({count} times)"
        )
    }
}

/// Milliseconds in words.
pub(crate) fn ms(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    match ms {
        ..10.0 => format!("{ms:.2} ms"),
        ..100.0 => format!("{ms:.1} ms"),
        _ => format!("{ms:.0} ms"),
    }
}

/// Megabytes (1,000,000 bytes) in words.
pub(crate) fn mb(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// A number with commas.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
