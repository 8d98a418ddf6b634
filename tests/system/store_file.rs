//! A database that isn't ours, isn't whole or isn't for this version: refused, and left as it is.

use std::{
    fs,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::harness::{Node, hand_on, pair};

/// A start on this database must fail, say so, and change nothing.
fn is_refused(node: &Node, bytes: &[u8], words: &[&str]) {
    fs::create_dir_all(node.data_dir()).unwrap();
    let file = node.data_dir().join("waymeet.redb");
    fs::write(&file, bytes).unwrap();
    let output = ended(node.command());
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("waymeet.redb"), "{said}");
    for word in words {
        assert!(said.contains(word), "{said} lacks {word:?}");
    }
    assert!(!said.contains("panicked"), "{said}");
    assert!(fs::read(&file).unwrap() == bytes, "the file was touched");
    assert!(!node.data_dir().join("dashboard-url").exists());
}

/// What a command said that has to end by itself; killed after a while, so that a node that starts
/// after all fails the test instead of holding it up.
fn ended(mut command: Command) -> Output {
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while child.try_wait().unwrap().is_none() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
    let _ = child.kill();
    child.wait_with_output().unwrap()
}

#[test]
fn a_foreign_file_is_refused() {
    for bytes in [
        b"hello, I am a text".to_vec(),
        b"SQLite format 3\0".repeat(1_000),
        vec![0; 100_000],
    ] {
        is_refused(&Node::prepared(), &bytes, &[]);
    }
}

#[test]
fn a_truncated_database_is_refused() {
    let mut node = Node::named("Ana");
    let forum = node.new_forum("Lake");
    for number in 0..20 {
        node.new_thread(&forum, &format!("{number}"), &"x".repeat(5_000));
    }
    node.stop();
    let whole = fs::read(node.data_dir().join("waymeet.redb")).unwrap();
    for length in [whole.len() / 2, whole.len() - 4_096, 5_000, 100] {
        is_refused(&node, &whole[..length], &[]);
    }
    fs::write(node.data_dir().join("waymeet.redb"), &whole).unwrap();
    node.start();
    assert_eq!(node.list(&format!("/forums/{forum}/threads")).len(), 20);
}

#[test]
fn a_redb_of_another_program_is_refused() {
    let node = Node::prepared();
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("other.redb");
    let table: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("recipes");
    let other = redb::Database::create(&path).unwrap();
    let write = other.begin_write().unwrap();
    write
        .open_table(table)
        .unwrap()
        .insert("bread", 40)
        .unwrap();
    write.commit().unwrap();
    drop(other);
    is_refused(&node, &fs::read(&path).unwrap(), &[]);
}

/// A version that nobody has written yet stands in for the program of a year from now.
#[test]
fn a_database_of_a_newer_version_is_refused() {
    const META: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new("meta-1");
    let mut node = Node::named("Ana");
    node.stop();
    let file = node.data_dir().join("waymeet.redb");
    let ours = fs::read(&file).unwrap();
    let database = redb::Database::open(&file).unwrap();
    let write = database.begin_write().unwrap();
    let before = write
        .open_table(META)
        .unwrap()
        .insert(
            b"schema_version".as_slice(),
            1_000_u32.to_be_bytes().as_slice(),
        )
        .unwrap()
        .map(|value| value.value().len());
    assert_eq!(
        before,
        Some(4),
        "the version stands where this test expects it"
    );
    write.commit().unwrap();
    drop(database);
    let newer = fs::read(&file).unwrap();
    is_refused(&node, &newer, &["newer", "1000"]);
    fs::write(&file, ours).unwrap();
    node.start();
    assert_eq!(node.get("/status")["identity"]["name"], "Ana");
}

/// A device that wrote on from an older copy of its folder would sign other entries at places that
/// others hold: a fork, and everybody would drop what follows.
#[test]
fn a_folder_put_back_from_an_older_copy_gets_back_what_it_lost() {
    let (mut ana, ben) = pair("Ana", "Ben");
    let forum = ana.new_forum("Lake");
    hand_on(&ana, &ben, &forum);
    let thread = ana.new_thread(&forum, "Hello", "hello");
    ben.receives(&thread);
    ana.stop();
    let file = ana.data_dir().join("waymeet.redb");
    let older = fs::read(&file).unwrap();
    ana.start();
    let lost = ana.reply(&thread, "lost");
    ben.receives(&lost);
    ana.stop();
    fs::write(&file, older).unwrap();
    ana.start();
    ana.receives(&lost);
    ben.receives(&ana.reply(&thread, "and found"));
    for node in [&ana, &ben] {
        assert_eq!(node.texts(&thread), ["hello", "lost", "and found"]);
        assert_eq!(
            node.get(&format!("/forums/{forum}"))["forks"],
            serde_json::json!([])
        );
    }
}
