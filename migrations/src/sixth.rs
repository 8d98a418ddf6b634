//! Schema 6: letters and the keys for them. There were none before.

use redb::{TableDefinition, WriteTransaction};

use crate::Error;

/// The new tables: bytes as keys and values.
pub(crate) const TABLES: &[&str] = &[
    "own-prekeys-1",
    "their-prekeys-1",
    "lines-1",
    "own-letters-1",
    "carried-1",
    "receipted-1",
    "owed-1",
    "loose-1",
];

pub(crate) fn run(txn: &WriteTransaction) -> Result<(), Error> {
    for name in TABLES {
        let table: TableDefinition<&[u8], &[u8]> = TableDefinition::new(name);
        txn.open_table(table)?;
    }
    Ok(())
}
