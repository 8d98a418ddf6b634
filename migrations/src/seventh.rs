//! Schema 7: what disappears from conversations, and what was read there. There was none before.

use redb::{TableDefinition, WriteTransaction};

use crate::Error;

/// The new tables: bytes as keys and values.
pub(crate) const TABLES: &[&str] = &[
    "covers-1",
    "wishes-1",
    "reads-1",
    "timers-1",
    "due-1",
    "forgotten-1",
];

pub(crate) fn run(txn: &WriteTransaction) -> Result<(), Error> {
    for name in TABLES {
        let table: TableDefinition<&[u8], &[u8]> = TableDefinition::new(name);
        txn.open_table(table)?;
    }
    Ok(())
}
