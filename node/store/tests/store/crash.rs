//! Power cuts at the calls of a real trace. `cargo run --release -p store --example crash` does
//! the same at every call of a long one.

use store::sim::Op;

use crate::trace::record;

const SEED: u64 = 0x5eed_0001;

#[test]
fn a_power_cut_leaves_the_last_state_or_the_next_one_whole() {
    let trace = record(SEED, 45);
    let images = trace.cut(SEED, 0, 37);
    assert!(images > 50, "{images} images of {} calls", trace.ops.len());
}

/// The check itself: a disk that says it synced and forgot a write is found out.
#[test]
fn a_disk_that_lies_is_found_out() {
    let mut trace = record(SEED, 12);
    let last = trace.ops.len() - 40;
    let forgotten = |op: &Op| matches!(op, Op::Write { data, .. } if data.len() >= 4_096);
    let at = last + trace.ops[last..].iter().position(forgotten).unwrap();
    trace.ops[at] = Op::SetLen(trace.len_at(at));
    let every = trace.ops.len() - at - 1;
    let caught = std::panic::catch_unwind(|| trace.cut(SEED, 0, every.max(1)));
    let whole = std::panic::catch_unwind(|| record(SEED, 12).cut(SEED, 0, every.max(1)));
    assert!(caught.is_err() && whole.is_ok());
}

#[test]
fn the_same_seed_makes_the_same_trace() {
    let (one, two) = (record(3, 20), record(3, 20));
    assert_eq!(one.ops.len(), two.ops.len());
    assert_eq!(one.steps, two.steps);
}
