//! Schema 8: the rules of circles. There were none before.

use redb::{TableDefinition, WriteTransaction};

use crate::Error;

/// The new table: bytes as keys and values.
pub(crate) const TABLES: &[&str] = &["rules-1"];

pub(crate) fn run(txn: &WriteTransaction) -> Result<(), Error> {
    for name in TABLES {
        let table: TableDefinition<&[u8], &[u8]> = TableDefinition::new(name);
        txn.open_table(table)?;
    }
    Ok(())
}
