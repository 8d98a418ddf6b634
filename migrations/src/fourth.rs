//! Schema 4: which meetings there were. None was written down before.

use redb::{TableDefinition, WriteTransaction};

use crate::Error;

/// The new tables: bytes as keys and values.
pub(crate) const TABLES: &[&str] = &["meetings-1", "meetings-of-1"];

pub(crate) fn run(txn: &WriteTransaction) -> Result<(), Error> {
    for name in TABLES {
        let table: TableDefinition<&[u8], &[u8]> = TableDefinition::new(name);
        txn.open_table(table)?;
    }
    Ok(())
}
