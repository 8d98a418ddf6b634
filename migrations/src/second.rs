//! Schema 2: how much came in through each contact, and how much may: what came before isn't known
//! any more, so every account begins empty. And which feeds have a gap below their newest entries:
//! none had one before.

use redb::{TableDefinition, WriteTransaction};

use crate::Error;

/// The new tables: bytes as keys and values.
pub(crate) const TABLES: &[&str] = &["usage-1", "quotas-1", "gaps-1"];

pub(crate) fn run(txn: &WriteTransaction) -> Result<(), Error> {
    for name in TABLES {
        let table: TableDefinition<&[u8], &[u8]> = TableDefinition::new(name);
        txn.open_table(table)?;
    }
    Ok(())
}
