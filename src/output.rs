//! What people and scripts read: lines, tables and JSON on standard output, errors on the other.
//!
//! Names and texts come from other people, so nothing of theirs reaches a terminal as a command.

use std::{
    fmt,
    io::{self, Write as _},
};

use serde_json::{Value, json};

use crate::client::Refused;

/// The reader of our output went away.
#[derive(Debug)]
struct ReaderGone;

impl fmt::Display for ReaderGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody reads the output")
    }
}

impl std::error::Error for ReaderGone {}

/// Whether an error only says that nobody reads on.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.is::<ReaderGone>()
}

/// Where answers go, and in which form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether a script reads.
    pub(crate) const fn is_json(self) -> bool {
        self.json
    }

    /// The API's answer for a script, or `human` for a person.
    pub(crate) fn answer(
        self,
        value: &Value,
        human: impl FnOnce(Self, &Value) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if self.json {
            self.write(&format!("{value}\n"))
        } else {
            human(self, value)
        }
    }

    /// One line. Texts in it that others wrote go through [`plain`] first.
    pub(crate) fn line(self, text: impl fmt::Display) -> anyhow::Result<()> {
        self.write(&format!("{text}\n"))
    }

    /// Several lines that somebody wrote.
    pub(crate) fn text(self, text: &str) -> anyhow::Result<()> {
        let mut clean = String::with_capacity(text.len() + 1);
        for line in text.lines() {
            clean.push_str(&plain(line));
            clean.push('\n');
        }
        self.write(&clean)
    }

    /// Rows whose columns stand below each other; cells are made plain here.
    pub(crate) fn table<const N: usize>(self, rows: &[[String; N]]) -> anyhow::Result<()> {
        let rows: Vec<[String; N]> = rows
            .iter()
            .map(|row| row.each_ref().map(|cell| plain(cell)))
            .collect();
        let mut widths = [0; N];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        let mut text = String::new();
        for row in &rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(widths) {
                line.push_str(&format!("{cell:<width$}  "));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        self.write(&text)
    }

    fn write(self, text: &str) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(ReaderGone.into()),
            other => Ok(other?),
        }
    }

    /// Says why it failed: for a script as the problem document, for a person as its text.
    pub(crate) fn error(self, error: &anyhow::Error) {
        if !self.json {
            return error_line(&format!("{error:#}"));
        }
        let document = error.downcast_ref::<Refused>().map_or_else(
            || json!({ "type": "about:blank", "title": "failed", "detail": format!("{error:#}") }),
            |refused| refused.document().clone(),
        );
        to_stderr(&document.to_string());
    }
}

/// One error on standard error, with the program's name.
pub(crate) fn error_line(text: &str) {
    for line in text.lines() {
        to_stderr(&format!("waymeet: {}", plain(line)));
    }
}

fn to_stderr(line: &str) {
    // Nobody is left to be told when even this fails.
    drop(writeln!(io::stderr().lock(), "{line}"));
}

/// A text for one line of a terminal: control characters, line ends and the characters that turn
/// the direction of writing become a visible mark.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' => ' ',
            c if c.is_control() || is_invisible(c) => char::REPLACEMENT_CHARACTER,
            c => c,
        })
        .collect()
}

/// Characters that change what other characters look like or that can't be seen, apart from the
/// joiners that emoji and some scripts need.
const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{061c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    )
}

/// A time in the form `2026-08-14 09:30 UTC`.
pub(crate) fn time(ms: u64) -> String {
    const DAY_S: u64 = 86_400;
    let seconds = ms / 1_000;
    let (year, month, day) = civil(seconds / DAY_S);
    let minute = seconds % DAY_S / 60;
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02} UTC",
        minute / 60,
        minute % 60
    )
}

/// A length of time as the command line takes it, such as 90m or 7d.
pub(crate) fn length(seconds: u64) -> String {
    const UNITS: [(u64, char); 3] = [(86_400, 'd'), (3_600, 'h'), (60, 'm')];
    let unit = UNITS.iter().find(|(unit, _)| seconds.is_multiple_of(*unit));
    match unit {
        Some((unit, name)) => format!("{}{name}", seconds / unit),
        None => format!("{seconds}s"),
    }
}

/// Year, month and day of a day counted from 1970-01-01. A year is taken to begin in March, so
/// that the leap day is its last; 400 years have 146,097 days.
const fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let january_or_february = if month <= 2 { 1 } else { 0 };
    (year + era * 400 + january_or_february, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_name_commands_a_terminal() {
        assert_eq!(plain("Ana"), "Ana");
        assert_eq!(
            plain("a\x1b[31mb\u{9b}c\r\nd\te\u{202e}f"),
            "a\u{fffd}[31mb\u{fffd}c\u{fffd}\u{fffd}d e\u{fffd}f"
        );
        assert_eq!(plain("👩\u{200d}🚀 שלום"), "👩\u{200d}🚀 שלום");
    }

    #[test]
    fn times() {
        assert_eq!(time(0), "1970-01-01 00:00 UTC");
        assert_eq!(time(951_782_400_000), "2000-02-29 00:00 UTC");
        assert_eq!(time(1_786_699_859_999), "2026-08-14 09:30 UTC");
        assert_eq!(time(4_107_542_399_000), "2100-02-28 23:59 UTC");
        assert_eq!(time(4_107_542_400_000), "2100-03-01 00:00 UTC");
        // A claim from the end of time is printed, not fatal.
        assert!(time(u64::MAX).ends_with("UTC"));
    }
}
