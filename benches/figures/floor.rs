//! What the machine allows: the database alone, with the bytes of the entries and nothing else.

use std::time::Instant;

use proto::limits::BATCH_ENTRIES_MAX;
use redb::{Database, TableDefinition};

use crate::{
    args::Args,
    harness::made_up::BODY_BYTES,
    table::{Table, count},
};

const ENTRIES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("entries");
/// What an entry takes on a disk beside its body: a time, lengths.
const ENTRY_BYTES: usize = BODY_BYTES + 10;

pub(crate) fn run(args: &Args, table: &mut Table) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("floor.redb");
    let database = Database::create(&path).unwrap();
    let value = [b'x'; ENTRY_BYTES];
    let began = Instant::now();
    for first in (0..args.entries).step_by(BATCH_ENTRIES_MAX) {
        let mut txn = database.begin_write().unwrap();
        txn.set_two_phase_commit(true);
        txn.set_quick_repair(true);
        {
            let mut entries = txn.open_table(ENTRIES).unwrap();
            for number in first..args.entries.min(first + BATCH_ENTRIES_MAX) {
                let key = (number as u64).to_be_bytes();
                entries.insert(&key[..], &value[..]).unwrap();
            }
        }
        txn.commit().unwrap();
    }
    let took = began.elapsed();
    let bytes = std::fs::metadata(&path).unwrap().len();
    let rate = count((args.entries as f64 / took.as_secs_f64()) as u64);
    let each = bytes / args.entries as u64;
    table.known(
        &format!("floor: redb inserts of {ENTRY_BYTES} bytes in order, {BATCH_ENTRIES_MAX} a durable commit"),
        format!("{rate} entries/s, {each} bytes an entry"),
    );
}
