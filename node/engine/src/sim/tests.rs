//! Worlds on the real store.

use proto::sim::{Setting, run};

use super::*;

#[test]
fn small_worlds_on_the_real_store_keep_what_they_promise() {
    for seed in 0..3 {
        let ran = run::<RealStore>(Setting::small(seed));
        assert!(ran.figures.compared_entries > 0);
    }
}

#[test]
fn the_same_seed_makes_the_same_run_on_the_real_store() {
    let one = run::<RealStore>(Setting::small(5));
    let other = run::<RealStore>(Setting::small(5));
    assert_eq!(one.trace, other.trace);
}
