//! What texts may contain. Words are people's own: only what breaks display or storage is refused.

/// One line, not empty, at most `chars_max` characters, no control or bidi-override characters,
/// no surrounding white space.
#[must_use]
pub fn is_line(text: &str, chars_max: usize) -> bool {
    !text.is_empty()
        && text.trim() == text
        && text.chars().count() <= chars_max
        && !text.chars().any(is_unfit)
}

/// Any text of at most `chars_max` characters (also none), line breaks and tabs included.
#[must_use]
pub fn is_text(text: &str, chars_max: usize) -> bool {
    text.chars().count() <= chars_max
        && !text
            .chars()
            .any(|c| is_unfit(c) && !matches!(c, '\n' | '\t'))
}

/// A text body of 1 to `bytes_max` bytes that isn't only white space.
#[must_use]
pub fn is_body(text: &str, bytes_max: usize) -> bool {
    text.len() <= bytes_max && !text.trim().is_empty() && !text.contains('\0')
}

/// Control characters, and those that reorder or hide what stands around them in a single line.
fn is_unfit(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_refuse_what_breaks_a_page() {
        for good in [
            "Ana",
            "Łukasz Ж",
            "家",
            "a\u{200d}b",
            "x".repeat(64).as_str(),
        ] {
            assert!(is_line(good, 64), "{good:?}");
        }
        for bad in [
            "",
            " Ana",
            "Ana ",
            "a\nb",
            "a\u{202e}b",
            "a\0",
            "x".repeat(65).as_str(),
        ] {
            assert!(!is_line(bad, 64), "{bad:?}");
        }
        assert!(is_text("", 10) && is_text("a\n\tb", 10) && !is_text("a\rb", 10));
        assert!(is_body("x", 1) && !is_body("xx", 1) && !is_body(" \n", 9) && !is_body("", 9));
    }
}
