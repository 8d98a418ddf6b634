//! Schema 1: creates every table of an empty database, so that reading one that has no rows yet
//! is no special case.

use redb::{TableDefinition, WriteTransaction};

use crate::Error;

/// Tables whose keys and values are bytes of any length.
pub(crate) const TABLES: &[&str] = &[
    "meta-1",
    "spaces-1",
    "space-numbers-1",
    "space-counts-1",
    "leaving-1",
    "feeds-1",
    "feed-numbers-1",
    "sealed-1",
    "open-1",
    "holes-1",
    "forks-1",
    "revocations-1",
    "tree-1",
    "topics-1",
    "roots-1",
    "activity-1",
    "relations-1",
    "orphans-1",
    "waiting-1",
    "gone-1",
    "names-1",
    "authors-1",
    "edges-1",
    "branches-1",
    "acknowledged-1",
    "own-1",
    "settings-1",
    "counters-1",
    "contacts-1",
    "endpoints-1",
    "invites-1",
    "offers-in-1",
    "offers-out-1",
    "exclusions-1",
    "left-1",
];

/// The two tables with a row for each entry have a fixed width, which spares eight bytes a row.
const IDS: TableDefinition<&[u8; 16], &[u8; 15]> = TableDefinition::new("ids-1");
const ITEMS: TableDefinition<&[u8; 19], &[u8; 11]> = TableDefinition::new("items-1");

pub(crate) fn run(txn: &WriteTransaction) -> Result<(), Error> {
    for name in TABLES {
        let table: TableDefinition<&[u8], &[u8]> = TableDefinition::new(name);
        txn.open_table(table)?;
    }
    txn.open_table(IDS)?;
    txn.open_table(ITEMS)?;
    Ok(())
}
