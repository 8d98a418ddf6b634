//! Texts of people and figures of machines, made fit for a page.

/// A name of a person or a space, without what could hide, turn or stretch what stands around it.
pub(crate) fn name(text: &str) -> String {
    let visible: String = text.chars().filter(|&c| !is_invisible(c)).collect();
    let words: Vec<_> = visible.split_whitespace().collect();
    let name = words.join(" ");
    if has_ink(&name) {
        name
    } else {
        "(no name)".to_owned()
    }
}

/// The first `max` characters in one line.
pub(crate) fn excerpt(text: &str, max: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let short: String = line.chars().take(max).collect();
    if short.len() < line.len() {
        format!("{}…", short.trim_end())
    } else {
        short
    }
}

/// A text as a Markdown quotation with an empty line after it.
pub(crate) fn quotation(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(|line| format!("> {line}")).collect();
    format!("{}\n\n", lines.join("\n"))
}

/// A title, or what to say where there is none.
pub(crate) fn title(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() {
        return "(the beginning hasn't arrived yet)".to_owned();
    }
    let visible: String = text.chars().filter(|&c| !is_invisible(c)).collect();
    if has_ink(&visible) {
        visible
    } else {
        "(no title)".to_owned()
    }
}

/// Bytes in a unit that fits.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "kB", "MB", "GB", "TB"];
    let mut unit = 0;
    let mut tenths = count.saturating_mul(10);
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1_000;
        unit += 1;
    }
    let name = UNITS.get(unit).unwrap_or(&"");
    if unit == 0 || tenths >= 1_000 {
        format!("{} {name}", tenths / 10)
    } else {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    }
}

/// Bytes in a unit of 1,024s, in which limits are set.
pub(crate) fn binary_bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let (mut unit, mut tenths) = (0, count.saturating_mul(10));
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1_024;
        unit += 1;
    }
    let name = UNITS.get(unit).unwrap_or(&"");
    if unit == 0 || tenths >= 1_000 || tenths.is_multiple_of(10) {
        format!("{} {name}", tenths / 10)
    } else {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    }
}

/// A length of time, as exact as one cares to know.
pub(crate) fn span(ms: u64) -> String {
    const S: u64 = 1_000;
    const MIN: u64 = 60 * S;
    const H: u64 = 60 * MIN;
    const DAY: u64 = 24 * H;
    match ms {
        0..S => "less than a second".to_owned(),
        S..MIN => format!("{} s", ms / S),
        MIN..H => format!("{} min", ms / MIN),
        H..DAY if (ms % H) / MIN == 0 => format!("{} h", ms / H),
        H..DAY => format!("{} h {} min", ms / H, (ms % H) / MIN),
        _ if ms < 2 * DAY => "1 day".to_owned(),
        _ => format!("{} days", ms / DAY),
    }
}

/// How long something will take, which nobody knows exactly.
pub(crate) fn about(seconds: u64) -> String {
    match seconds {
        0..=5 => "a few seconds".to_owned(),
        6..=55 => format!("about {} seconds", seconds.next_multiple_of(5)),
        56..=90 => "about a minute".to_owned(),
        91..=3_300 => format!("about {} minutes", (seconds + 30) / 60),
        3_301..=5_400 => "about an hour".to_owned(),
        _ => format!("about {} hours", (seconds + 1_800) / 3_600),
    }
}

/// A round trip, which is microseconds on one machine and a second over a bad link.
pub(crate) fn round_trip(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..10_000 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        _ => format!("{} ms", us / 1_000),
    }
}

/// What a browser says it is, in two words where they are known.
pub(crate) fn browser(agent: &str) -> String {
    // Each pretends to be those after it.
    const BROWSERS: [(&str, &str); 6] = [
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrom", "Chrome"),
        ("Safari/", "Safari"),
        ("curl/", "curl"),
    ];
    const SYSTEMS: [(&str, &str); 6] = [
        ("Android", "Android"),
        ("iPhone", "an iPhone"),
        ("iPad", "an iPad"),
        ("Windows", "Windows"),
        ("Macintosh", "a Mac"),
        ("Linux", "Linux"),
    ];
    let known = |list: &[(&str, &'static str)]| {
        list.iter()
            .find(|(sign, _)| agent.contains(sign))
            .map(|(_, name)| *name)
    };
    match (known(&BROWSERS), known(&SYSTEMS)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(browser), None) => browser.to_owned(),
        _ if agent.trim().is_empty() => "A browser that doesn't say what it is".to_owned(),
        _ => name(agent),
    }
}

/// Control characters, and those by which one text can turn or hide another (Unicode's bidirectional
/// controls and zero-width characters). The joiner stays: families of emoji need it.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}' | '\u{200c}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// Whether anything is to be seen: what joins or varies other characters shows nothing by itself.
/// A link without words couldn't be followed.
fn has_ink(text: &str) -> bool {
    !text.chars().all(|c| {
        c.is_whitespace()
            || is_invisible(c)
            || matches!(c,
                '\u{034f}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200d}' | '\u{2800}'
                | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A title of characters that show nothing made a thread that nobody could open from the list.
    #[test]
    fn what_shows_nothing_gets_words() {
        for blank in [
            "\u{200b}",
            "\u{200d}\u{fe0f}",
            "\u{2800}\u{2800}",
            "\u{e0100}",
        ] {
            assert_eq!(name(blank), "(no name)", "{blank:?}");
            assert_eq!(title(blank), "(no title)", "{blank:?}");
        }
        assert_eq!(title("a\u{200b}b"), "ab");
        assert_eq!(
            title("\u{1f468}\u{200d}\u{1f467}"),
            "\u{1f468}\u{200d}\u{1f467}"
        );
    }

    #[test]
    fn a_name_can_hide_and_turn_nothing() {
        assert_eq!(name("  Ana \t\n Berg "), "Ana Berg");
        assert_eq!(name("A\u{202e}na\u{200b}\u{0}"), "Ana");
        assert_eq!(name("\u{200b}\u{2066}"), "(no name)");
        assert_eq!(name("أمل 👩‍👧"), "أمل 👩‍👧");
    }

    #[test]
    fn texts_are_shortened_and_quoted() {
        assert_eq!(excerpt("a\nb  c", 10), "a b c");
        assert_eq!(excerpt("héllo wörld", 6), "héllo…");
        assert_eq!(quotation("a\n\nb"), "> a\n> \n> b\n\n");
        assert_eq!(title("  "), "(the beginning hasn't arrived yet)");
    }

    #[test]
    fn times_are_told_as_people_tell_them() {
        for (ms, text) in [
            (999, "less than a second"),
            (1_000, "1 s"),
            (59_999, "59 s"),
            (3_599_999, "59 min"),
            (3_600_000, "1 h"),
            (7_860_000, "2 h 11 min"),
            (86_400_000, "1 day"),
            (u64::MAX, "213503982334 days"),
        ] {
            assert_eq!(span(ms), text);
        }
        for (seconds, text) in [
            (0, "a few seconds"),
            (6, "about 10 seconds"),
            (55, "about 55 seconds"),
            (56, "about a minute"),
            (91, "about 2 minutes"),
            (3_300, "about 55 minutes"),
            (3_301, "about an hour"),
            (86_400, "about 24 hours"),
        ] {
            assert_eq!(about(seconds), text);
        }
        assert_eq!(
            [999, 1_250, 75_000].map(round_trip),
            ["999 µs", "1.2 ms", "75 ms"]
        );
    }

    #[test]
    fn browsers_are_told_by_name() {
        assert_eq!(
            browser("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
            "Firefox on Linux"
        );
        assert_eq!(
            browser(
                "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Mobile Safari/537.36"
            ),
            "Chrome on Android"
        );
        assert_eq!(browser("thing/1\u{202e}"), "thing/1");
        assert_eq!(browser(""), "A browser that doesn't say what it is");
    }

    #[test]
    fn bytes_are_rounded() {
        for (count, text) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1_000, "1.0 kB"),
            (12_345, "12.3 kB"),
            (123_456, "123 kB"),
            (5_000_000_000, "5.0 GB"),
            (u64::MAX, "1844674 TB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }
}
