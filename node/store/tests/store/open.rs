//! Opening: what is ours opens, also after a power cut; all else is refused and left as it was.

use std::{fs, path::Path};

use redb::{Database, ReadableDatabase, TableDefinition};
use store::{Error, OpenError, Setting, Store};

use crate::support::write;

fn filled(path: &Path) {
    let store = Store::open(path).unwrap();
    for n in 0..50_u8 {
        write(&store, move |txn| {
            txn.put_setting(&format!("setting {n}"), &Setting(vec![n; 3_000]))
        })
        .unwrap();
    }
}

/// Opening fails and changes neither a byte nor the folder.
fn refused(path: &Path) -> OpenError {
    let before = fs::read(path).unwrap();
    let names = |path: &Path| -> Vec<_> {
        let mut names: Vec<_> = fs::read_dir(path.parent().unwrap())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    let beside = names(path);
    let error = match Store::open(path) {
        Ok(_) => panic!("a bad file was opened"),
        Err(error) => error,
    };
    assert!(fs::read(path).unwrap() == before, "the file was changed");
    assert_eq!(names(path), beside);
    error
}

#[test]
fn a_new_file_is_private_and_opens_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("waymeet.redb");
    filled(&path);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let store = Store::open(&path).unwrap();
    let setting = store.read().unwrap().setting(&"setting 7".to_owned());
    assert_eq!(setting.unwrap().unwrap().0.len(), 3_000);
    assert_eq!(store.path(), Some(path.as_path()));
}

#[test]
fn every_table_of_the_store_is_in_the_schema() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("waymeet.redb");
    drop(Store::open(&path).unwrap());
    let database = Database::open(&path).unwrap();
    let read = database.begin_read().unwrap();
    for table in store::Table::ALL {
        let definition: TableDefinition<&[u8], &[u8]> = TableDefinition::new(table.name());
        assert!(read.open_table(definition).is_ok(), "{table:?}");
    }
    assert_eq!(
        read.list_tables().unwrap().count(),
        store::Table::ALL.len() + 2
    );
}

/// The file of a program before quotas: it is copied, gets its tables and keeps its rows.
#[test]
fn a_file_of_the_first_schema_is_copied_and_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("waymeet.redb");
    filled(&path);
    let database = Database::open(&path).unwrap();
    let txn = database.begin_write().unwrap();
    for name in ["usage-1", "quotas-1"] {
        let table: TableDefinition<&[u8], &[u8]> = TableDefinition::new(name);
        assert!(txn.delete_table(table).unwrap());
    }
    let meta: TableDefinition<&[u8], &[u8]> = TableDefinition::new("meta-1");
    txn.open_table(meta)
        .unwrap()
        .insert(b"schema_version".as_slice(), 1_u32.to_be_bytes().as_slice())
        .unwrap();
    txn.commit().unwrap();
    drop(database);
    let before = fs::read(&path).unwrap();

    let store = Store::open(&path).unwrap();
    let read = store.read().unwrap();
    let setting = read.setting(&"setting 7".to_owned()).unwrap();
    assert_eq!(setting.unwrap().0.len(), 3_000);
    let contact = proto::IdentityId([7; 32]);
    assert_eq!(read.usage(contact).unwrap().bytes, 0);
    write(&store, move |txn| txn.set_quota(contact, Some(5))).unwrap();
    assert_eq!(store.read().unwrap().usage(contact).unwrap().limit, 5);
    let copy = folder.path().join("waymeet.redb.before-2");
    assert!(fs::read(copy).unwrap() == before);
}

#[test]
fn a_second_open_says_that_the_file_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("waymeet.redb");
    let store = Store::open(&path).unwrap();
    assert!(matches!(Store::open(&path), Err(OpenError::InUse { .. })));
    drop(store);
    Store::open(&path).unwrap();
}

#[test]
fn foreign_files_are_refused_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("waymeet.redb");
    for content in [b"PNG".to_vec(), vec![0; 100_000], b"redx".repeat(5_000)] {
        fs::write(&path, content).unwrap();
        let error = refused(&path);
        assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
    }
    fs::remove_file(&path).unwrap();
    let other: TableDefinition<u64, &str> = TableDefinition::new("songs");
    let database = Database::create(&path).unwrap();
    let txn = database.begin_write().unwrap();
    txn.open_table(other).unwrap().insert(1, "one").unwrap();
    txn.commit().unwrap();
    drop(database);
    let error = refused(&path);
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
    assert!(error.to_string().contains("another program"), "{error}");
}

#[test]
fn a_newer_schema_is_refused_untouched_and_says_which() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("waymeet.redb");
    filled(&path);
    let meta: TableDefinition<&[u8], &[u8]> = TableDefinition::new("meta-1");
    let database = Database::open(&path).unwrap();
    let txn = database.begin_write().unwrap();
    txn.open_table(meta)
        .unwrap()
        .insert(
            b"schema_version".as_slice(),
            99_u32.to_be_bytes().as_slice(),
        )
        .unwrap();
    txn.commit().unwrap();
    drop(database);
    let error = refused(&path);
    assert!(
        matches!(error, OpenError::Newer { found: 99, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("99"));
}

#[test]
fn truncated_and_altered_files_are_refused_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("waymeet.redb");
    filled(&path);
    let whole = fs::read(&path).unwrap();
    for len in [
        1,
        8,
        9,
        100,
        4_095,
        4_096,
        5_000,
        whole.len() / 2,
        whole.len() - 4_096,
    ] {
        fs::write(&path, &whole[..len]).unwrap();
        let error = refused(&path);
        assert!(
            matches!(error, OpenError::Damaged { .. }),
            "{len} bytes: {error}"
        );
    }
    // The header's two commit slots gone.
    let mut altered = whole;
    altered[64..320].fill(0xa5);
    fs::write(&path, &altered).unwrap();
    let error = refused(&path);
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
}

#[test]
fn an_empty_file_becomes_a_database() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("waymeet.redb");
    fs::write(&path, b"").unwrap();
    write(&Store::open(&path).unwrap(), |txn| txn.raise("n", 1)).unwrap();
}

#[test]
fn a_folder_or_a_missing_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(
        Store::open(folder.path()),
        Err(OpenError::Foreign { .. })
    ));
    let missing = folder.path().join("none").join("waymeet.redb");
    assert!(matches!(Store::open(&missing), Err(OpenError::Io { .. })));
}

/// A copy of the file in use is what the end of the process leaves: it was never closed.
#[test]
fn a_file_that_was_never_closed_has_everything_that_was_answered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("waymeet.redb");
    let store = Store::open(&path).unwrap();
    for n in 0..20_u64 {
        write(&store, |txn| txn.raise("n", 1)).unwrap();
        let copy = folder.path().join(format!("copy-{n}"));
        fs::copy(&path, &copy).unwrap();
        let after = Store::open(&copy).unwrap();
        assert_eq!(after.read().unwrap().counter("n").unwrap(), n + 1);
        // And it can go on.
        let result: Result<u64, Error> = write(&after, |txn| txn.raise("n", 1));
        assert_eq!(result.unwrap(), n + 2);
    }
}
