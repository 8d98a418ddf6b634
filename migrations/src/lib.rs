//! The numbered steps that bring a database to the layout that this program reads.
//!
//! A step works on frozen table definitions of its own: raw bytes, names with their versions. It
//! never uses the store's types, which go on changing, so that a step means the same for ever.
//! This crate knows redb and nothing else; when to migrate, and the copy that is made before, are
//! the store's business. Enter at [`version`] and [`migrate`].
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

mod eighth;
mod fifth;
mod first;
mod fourth;
mod second;
mod seventh;
mod sixth;
mod third;

use redb::{ReadTransaction, TableDefinition, TableError, WriteTransaction};

/// The schema that this program reads and writes.
pub const KNOWN: u32 = 8;

/// Where the version stands: key `schema_version`, four bytes, big-endian. This table's name and
/// this row stay as they are in every version.
const META: TableDefinition<&[u8], &[u8]> = TableDefinition::new("meta-1");
const SCHEMA_VERSION: &[u8] = b"schema_version";

/// Why a database could not be migrated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// redb's own.
    #[error("the database failed: {0}")]
    Database(#[from] redb::Error),
    /// The version's row isn't four bytes.
    #[error("the schema version has {0} bytes instead of 4")]
    Version(usize),
    /// No step starts at this version.
    #[error("there is no migration from schema {0}")]
    NoStep(u32),
}

macro_rules! from_redb {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for Error {
            fn from(error: redb::$error) -> Self {
                Self::Database(error.into())
            }
        }
    )*};
}

from_redb!(StorageError, TableError);

/// The version of a database, `None` where it has none: it is empty or not one of ours.
///
/// # Errors
/// See [`Error`].
pub fn version(txn: &ReadTransaction) -> Result<Option<u32>, Error> {
    let meta = match txn.open_table(META) {
        Ok(meta) => meta,
        Err(
            TableError::TableDoesNotExist(_)
            | TableError::TableTypeMismatch { .. }
            | TableError::TableIsMultimap(_),
        ) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let Some(value) = meta.get(SCHEMA_VERSION)? else {
        return Ok(None);
    };
    let bytes = value.value();
    let found = bytes.try_into().map_err(|_| Error::Version(bytes.len()))?;
    Ok(Some(u32::from_be_bytes(found)))
}

/// Runs the steps from `from` (0 is an empty database) to [`KNOWN`] in the given transaction,
/// which the caller commits.
///
/// # Errors
/// See [`Error`]; the transaction must then be dropped.
pub fn migrate(txn: &WriteTransaction, from: u32) -> Result<(), Error> {
    for step in from..KNOWN {
        match step {
            0 => first::run(txn)?,
            1 => second::run(txn)?,
            2 => third::run(txn)?,
            3 => fourth::run(txn)?,
            4 => fifth::run(txn)?,
            5 => sixth::run(txn)?,
            6 => seventh::run(txn)?,
            7 => eighth::run(txn)?,
            other => return Err(Error::NoStep(other)),
        }
    }
    txn.open_table(META)?
        .insert(SCHEMA_VERSION, KNOWN.to_be_bytes().as_slice())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use redb::{Database, ReadableDatabase, backends::InMemoryBackend};

    fn empty() -> Database {
        Database::builder()
            .create_with_backend(InMemoryBackend::new())
            .unwrap()
    }

    #[test]
    fn an_empty_database_gets_every_table_and_the_known_version() {
        let db = empty();
        assert_eq!(version(&db.begin_read().unwrap()).unwrap(), None);
        let txn = db.begin_write().unwrap();
        migrate(&txn, 0).unwrap();
        txn.commit().unwrap();
        let read = db.begin_read().unwrap();
        assert_eq!(version(&read).unwrap(), Some(KNOWN));
        let tables = read.list_tables().unwrap().count();
        let steps = [
            second::TABLES,
            third::TABLES,
            fourth::TABLES,
            fifth::TABLES,
            sixth::TABLES,
            seventh::TABLES,
            eighth::TABLES,
        ];
        let later: usize = steps.iter().map(|step| step.len()).sum();
        assert_eq!(tables, first::TABLES.len() + 2 + later);
    }

    /// Each step alone makes of its schema the next, and leaves the rows that it doesn't name.
    #[test]
    fn a_database_of_schema_1_keeps_its_rows_and_gets_the_new_tables() {
        let db = empty();
        let settings: TableDefinition<&[u8], &[u8]> = TableDefinition::new("settings-1");
        let txn = db.begin_write().unwrap();
        first::run(&txn).unwrap();
        for (table, key, value) in [
            (META, SCHEMA_VERSION, 1_u32.to_be_bytes().as_slice()),
            (settings, b"a".as_slice(), b"b".as_slice()),
        ] {
            txn.open_table(table).unwrap().insert(key, value).unwrap();
        }
        txn.commit().unwrap();
        assert_eq!(version(&db.begin_read().unwrap()).unwrap(), Some(1));
        let txn = db.begin_write().unwrap();
        migrate(&txn, 1).unwrap();
        txn.commit().unwrap();
        let read = db.begin_read().unwrap();
        assert_eq!(version(&read).unwrap(), Some(KNOWN));
        let kept = read.open_table(settings).unwrap();
        assert_eq!(kept.get(b"a".as_slice()).unwrap().unwrap().value(), b"b");
        let later = second::TABLES.iter().chain(third::TABLES);
        let later = later.chain(fourth::TABLES).chain(fifth::TABLES);
        let later = later.chain(sixth::TABLES).chain(seventh::TABLES);
        for name in later.chain(eighth::TABLES) {
            let table: TableDefinition<&[u8], &[u8]> = TableDefinition::new(name);
            assert!(read.open_table(table).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_version_that_is_no_number_is_named() {
        let db = empty();
        let txn = db.begin_write().unwrap();
        txn.open_table(META)
            .unwrap()
            .insert(SCHEMA_VERSION, b"1".as_slice())
            .unwrap();
        txn.commit().unwrap();
        let read = db.begin_read().unwrap();
        assert!(matches!(version(&read), Err(Error::Version(1))));
    }

    #[test]
    fn a_table_of_another_type_is_no_version() {
        let db = empty();
        let txn = db.begin_write().unwrap();
        let other: TableDefinition<u64, u64> = TableDefinition::new("meta-1");
        txn.open_table(other).unwrap().insert(1, 1).unwrap();
        txn.commit().unwrap();
        assert_eq!(version(&db.begin_read().unwrap()).unwrap(), None);
    }

    #[test]
    fn a_step_that_does_not_exist_is_refused() {
        let db = empty();
        let txn = db.begin_write().unwrap();
        assert!(migrate(&txn, KNOWN).is_ok());
    }
}
