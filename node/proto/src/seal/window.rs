//! Which numbers of letters a device expects on a line.

/// Letters on their way at once: a sender numbers at most so many above the highest that it knows to
/// have arrived, and a receiver looks for so many on either side of the highest that came.
pub const WINDOW: u64 = 64;

/// What arrived on a line. Two numbers, whatever the number of letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Window {
    /// One more than the highest number that arrived.
    pub high: u64,
    /// Bit `i` is the number `high - 1 - i`.
    pub seen: u64,
}

impl Window {
    /// Whether a letter with this number is still expected.
    #[must_use]
    pub const fn expects(&self, number: u64) -> bool {
        if number >= self.high {
            return number - self.high < WINDOW;
        }
        let back = self.high - 1 - number;
        back < WINDOW && self.seen >> back & 1 == 0
    }

    /// Numbers that are looked for, in order.
    pub fn expected(&self) -> impl Iterator<Item = u64> + use<> {
        let window = *self;
        let from = self.high.saturating_sub(WINDOW);
        (from..self.high.saturating_add(WINDOW)).filter(move |number| window.expects(*number))
    }

    /// Numbers that arrived lately, in order: of these a receipt may still be wanted.
    pub fn arrived(&self) -> impl Iterator<Item = u64> + use<> {
        let window = *self;
        let from = self.high.saturating_sub(WINDOW);
        (from..self.high).filter(move |number| !window.expects(*number))
    }

    /// The window once this number has arrived too.
    #[must_use]
    pub const fn after(&self, number: u64) -> Self {
        if number < self.high {
            let back = self.high - 1 - number;
            let bit = if back < WINDOW { 1 << back } else { 0 };
            return Self {
                high: self.high,
                seen: self.seen | bit,
            };
        }
        let by = number - self.high + 1;
        let seen = if by < WINDOW { self.seen << by } else { 0 };
        Self {
            high: number + 1,
            seen: seen | 1,
        }
    }

    /// The window where the sender says that it gives no number below `high` any more: after a meeting
    /// everything before has arrived another way.
    #[must_use]
    pub const fn skipped_to(&self, high: u64) -> Self {
        if high <= self.high {
            return *self;
        }
        let mut after = self.after(high - 1);
        after.seen = u64::MAX;
        after
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_number_is_expected_until_it_came_or_is_long_past(numbers in proptest::collection::vec(0_u64..300, 0..200)) {
            let (mut window, mut came) = (Window::default(), BTreeSet::new());
            for number in numbers {
                let high: u64 = came.last().map_or(0, |last: &u64| last + 1);
                let near = number < high + WINDOW && number + WINDOW >= high;
                prop_assert_eq!(window.expects(number), near && !came.contains(&number));
                prop_assert_eq!(window.expected().collect::<Vec<_>>(),
                    (0..500).filter(|n| window.expects(*n)).collect::<Vec<_>>());
                if window.expects(number) {
                    window = window.after(number);
                    came.insert(number);
                }
                prop_assert!(!window.expects(number));
                prop_assert_eq!(window.high, came.last().map_or(0, |last| last + 1));
            }
        }
    }

    #[test]
    fn a_meeting_makes_everything_before_it_unexpected() {
        let window = Window::default().after(3).skipped_to(100);
        assert_eq!(window.high, 100);
        assert!(!window.expects(99) && !window.expects(4) && window.expects(100));
        assert!(window.expects(163) && !window.expects(164));
        assert_eq!(window.skipped_to(50), window);
    }
}
