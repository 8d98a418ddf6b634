//! The simulator on the plain store.

use super::*;

/// A few worlds; more of them run on the real store.
#[test]
fn small_worlds_keep_what_they_promise() {
    for seed in 0..4 {
        let ran = run::<Model>(Setting {
            store: "model",
            ..Setting::small(seed)
        });
        assert!(ran.figures.compared_entries > 0);
    }
}

#[test]
fn the_same_seed_makes_the_same_run() {
    let setting = || Setting {
        store: "model",
        ..Setting::small(7)
    };
    let (one, other) = (run::<Model>(setting()), run::<Model>(setting()));
    assert_eq!(one.trace, other.trace);
    let another = run::<Model>(Setting {
        seed: 8,
        ..setting()
    });
    assert_ne!(one.trace, another.trace);
}
