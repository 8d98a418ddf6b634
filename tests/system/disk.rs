//! A disk that fills up under the real program, and the doctor.

use std::{fs, path::PathBuf, process::Command};

use redb::{Database, ReadableTable as _, TableDefinition};
use serde_json::json;

use crate::harness::Node;

/// A small file system in memory, mounted over a folder.
struct Small(PathBuf);

impl Small {
    /// `None` where this isn't permitted.
    fn mount(folder: PathBuf) -> Option<Self> {
        fs::create_dir_all(&folder).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=24m,mode=0700", "tmpfs"])
            .arg(&folder)
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then_some(Self(folder))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn a_full_disk_is_told_and_the_node_goes_on_when_there_is_room() {
    let mut node = Node::prepared();
    let Some(small) = Small::mount(node.data_dir()) else {
        println!("skipped: a file system can't be mounted here");
        return;
    };
    fs::write(node.settings_file(), "[storage]\nfree_min_mib = 1\n").unwrap();
    node.start();
    node.post("/setup", &json!({"name": "Ana"}));
    let forum = node.new_forum("Lake");
    let thread = node.new_thread(&forum, "Ice", "is it thick enough?");
    assert_eq!(node.get("/status")["disk"]["state"], "fine");

    // Something else takes the room.
    let ballast = small.0.join("ballast");
    let mut rest = 24 * 1024 * 1024;
    while rest > 1_024 {
        let bytes = fs::read(&ballast).unwrap_or_default().len();
        if fs::write(&ballast, vec![1; bytes + rest]).is_err() {
            // What could be written stays.
            rest /= 2;
        }
    }
    let text = "long ".repeat(10_000);
    let path = format!("/threads/{thread}/replies");
    let (mut kept, mut refused) = (0, None);
    while kept < 1_000 && refused.is_none() {
        let answer = node.call("POST", &path, Some(&json!({"body": text})));
        match answer.status {
            201 => kept += 1,
            _ => refused = Some(answer),
        }
    }
    let refused = refused.expect("the disk never got full");
    assert_eq!((refused.status, refused.problem()), (507, "disk"));
    let status = node.until("the state of the disk", |node| {
        let answer = node.call("GET", "/status", None);
        (answer.status == 200).then(|| answer.expect(200))
    });
    assert_eq!(status["disk"]["state"], "full", "{status}");
    let said = node.cli(&["status"]);
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.contains("The disk is full."), "{said}");

    fs::remove_file(&ballast).unwrap();
    // While the database is opened again, reading fails for a moment too.
    node.until("room", |node| {
        let status = node.call("GET", "/status", None);
        (status.status == 200 && status.body["disk"]["state"] == "fine").then_some(())
    });
    node.reply(&thread, "it is");
    node.kill();
    node.start();
    let items = node.get(&format!("/threads/{thread}"))["count"].clone();
    let found = node.texts(&thread).len();
    assert!(found >= kept + 2, "{found} of {} posts, {items}", kept + 2);
    node.stop();
}

#[test]
fn the_doctor_speaks_of_a_running_and_of_a_stopped_node() {
    let mut node = Node::named("Ana");
    let forum = node.new_forum("Lake");
    let thread = node.new_thread(&forum, "Ice", "is it thick enough?");
    for number in 0..20 {
        node.reply(&thread, &format!("answer {number}"));
    }
    let seen = node.cli_json(&["doctor"]);
    assert_eq!(seen["healthy"], true, "{seen}");
    assert!(seen["entries"].as_u64().unwrap() >= 22, "{seen}");
    node.stop();
    assert_eq!(node.cli_json(&["doctor"]), seen);

    // A letter changes under the node.
    let database = Database::open(node.data_dir().join("waymeet.redb")).unwrap();
    let txn = database.begin_write().unwrap();
    {
        let open: TableDefinition<&[u8], &[u8]> = TableDefinition::new("open-1");
        let mut open = txn.open_table(open).unwrap();
        let rows: Vec<_> = open
            .iter()
            .unwrap()
            .map(|row| row.map(|(key, value)| (key.value().to_vec(), value.value().to_vec())))
            .collect::<Result<_, _>>()
            .unwrap();
        let (key, mut value) = rows
            .into_iter()
            .find(|(_, value)| value.windows(9).any(|part| part == b"answer 12"))
            .unwrap();
        let at = value
            .windows(9)
            .position(|part| part == b"answer 12")
            .unwrap();
        value[at] = b'A';
        open.insert(key.as_slice(), value.as_slice()).unwrap();
    }
    txn.commit().unwrap();
    drop(database);
    for running in [false, true] {
        if running {
            node.start();
        }
        let output = node.cli(&["doctor"]);
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains("was altered") && said.contains("backup"),
            "{said}"
        );
    }
}
