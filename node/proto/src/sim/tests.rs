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
fn a_post_reaches_all_over_four_hops() {
    let out = fan_out::<Model>(20, 1);
    assert!(
        out.half_us <= out.all_us && out.all_us < 1_000_000,
        "{out:?}"
    );
    assert!(out.bytes_a_node < 4_000, "{out:?}");
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
