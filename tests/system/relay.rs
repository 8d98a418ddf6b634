//! Ana knows Ben, Ben knows Cem, and Ana and Cem never heard of each other's devices.

use data_encoding::BASE32_NOPAD;
use serde_json::json;

use crate::harness::{Node, befriend, contains, files_below, hand_on};

struct Row {
    ana: Node,
    ben: Node,
    cem: Node,
}

fn row() -> Row {
    let (ana, ben, cem) = (Node::named("Ana"), Node::named("Ben"), Node::named("Cem"));
    befriend(&ana, &ben);
    befriend(&ben, &cem);
    Row { ana, ben, cem }
}

#[test]
fn a_forum_reaches_people_who_do_not_know_each_other() {
    let Row { ana, ben, cem } = row();
    let forum = ana.new_forum("Lake trip");
    hand_on(&ana, &ben, &forum);
    let old = ana.new_thread(&forum, "Old", "from before Cem");
    ben.receives(&old);
    hand_on(&ben, &cem, &forum);
    let seen = cem.receives(&old);
    assert_eq!(seen["author"]["name"], "Ana");
    assert_eq!(seen["author"]["relation"], "stranger");

    let live = ana.new_thread(&forum, "Live", "while all are there");
    cem.receives(&live);
    let answer = cem.reply(&live, "I read you");
    let at_ana = ana.receives(&answer);
    assert_eq!(
        (&at_ana["author"]["name"], &at_ana["author"]["relation"]),
        (&json!("Cem"), &json!("stranger"))
    );
    let back = ana.reply(&live, "and I you");
    cem.receives(&back);
    for node in [&ana, &ben, &cem] {
        assert_eq!(
            node.texts(&live),
            ["while all are there", "I read you", "and I you"]
        );
    }

    let contacts = |node: &Node| node.list("/contacts").len();
    assert_eq!((contacts(&ana), contacts(&ben), contacts(&cem)), (1, 2, 1));
    let members = ana.get(&format!("/spaces/{forum}/members"));
    let members = members["items"].as_array().unwrap();
    let tree: Vec<_> = members
        .iter()
        .map(|member| {
            let by = member["admitted_by"]["name"].as_str().unwrap_or("nobody");
            (
                member["person"]["name"].as_str().unwrap(),
                by,
                member["depth"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        tree,
        [("Ana", "nobody", 0), ("Ben", "Ana", 1), ("Cem", "Ben", 2)]
    );
}

#[test]
fn edits_retracts_and_reactions_travel_the_whole_way() {
    let Row { ana, ben, cem } = row();
    let forum = ana.new_forum("Lake trip");
    hand_on(&ana, &ben, &forum);
    hand_on(&ben, &cem, &forum);
    let (kept, gone) = (
        ana.new_thread(&forum, "Kept", "frist"),
        ana.new_thread(&forum, "Gone", "oops"),
    );
    cem.receives(&kept);
    cem.receives(&gone);
    ana.patch(&format!("/entries/{kept}"), &json!({ "body": "first" }));
    cem.reads(&kept, "first");
    ana.delete(&format!("/entries/{gone}"));
    cem.until("the retract", |cem| {
        (cem.call("GET", &format!("/entries/{gone}"), None).body["retracted"] == true).then_some(())
    });
    cem.call(
        "PUT",
        &format!("/entries/{kept}/reactions/%F0%9F%91%8D"),
        None,
    )
    .expect(200);
    ana.until("the reaction", |ana| {
        (ana.entry(&kept)?["reactions"][0]["count"] == 1).then_some(())
    });
}

#[test]
fn the_one_in_the_middle_carries_it_when_the_ends_never_meet() {
    let Row {
        mut ana,
        ben,
        mut cem,
    } = row();
    let forum = ana.new_forum("Lake trip");
    hand_on(&ana, &ben, &forum);
    hand_on(&ben, &cem, &forum);
    let ben_id = ben.id();
    cem.stop();
    let thread = ana.new_thread(&forum, "While Cem is away", "hello Cem");
    ben.receives(&thread);
    ana.stop();
    cem.start();
    cem.receives(&thread);
    let answer = cem.reply(&thread, "hello Ana");
    ben.receives(&answer);
    cem.stop();
    ana.start();
    ana.until("Ben", |ana| ana.is_online(&ben_id).then_some(()));
    ana.receives(&answer);
}

#[test]
fn a_blog_is_offered_on_and_answered() {
    let Row { ana, ben, cem } = row();
    let article = ana.publish("River", "three days along it");
    let blog = ben.receives(&article)["space"].as_str().unwrap().to_owned();
    assert!(cem.entry(&article).is_none());
    hand_on(&ben, &cem, &blog);
    cem.receives(&article);
    let comment = cem.post(
        &format!("/articles/{article}/comments"),
        &json!({ "body": "which river?" }),
    );
    let comment = ana.receives(comment["id"].as_str().unwrap());
    assert_eq!(comment["author"]["name"], "Cem");
}

/// Nothing on Cem's disk, in no file and in no form, says that a space exists which he doesn't hold.
#[test]
fn a_space_that_somebody_does_not_hold_leaves_no_trace() {
    let Row { ana, ben, mut cem } = row();
    let shared = ana.new_forum("Lake trip");
    hand_on(&ana, &ben, &shared);
    hand_on(&ben, &cem, &shared);

    let name = "Surprise for Cem Quixotically";
    let text = "the cake is under the bench xylophonic";
    let secret = ana.new_forum(name);
    hand_on(&ana, &ben, &secret);
    let thread = ben.new_thread(&secret, "Cake zymurgical", text);
    ana.receives(&thread);
    let message = ana.send(&ben.id(), "he suspects nothing brobdingnagian");
    ben.receives(&message);
    let conversation = ben.entry(&message).unwrap()["space"]
        .as_str()
        .unwrap()
        .to_owned();

    // What is written last in the shared forum arrives after everything that could have leaked.
    cem.receives(&ben.new_thread(&shared, "Hello", "hello"));
    cem.receives(&ana.new_thread(&shared, "Hello", "hello"));
    let (mut ana, mut ben) = (ana, ben);
    let ben_id = ben.id();
    ben.stop();
    ben.start();
    cem.until("Ben again", |cem| cem.is_online(&ben_id).then_some(()));
    cem.receives(&ben.new_thread(&shared, "Back", "back"));
    for (kind, id) in [
        ("forums", &secret),
        ("threads", &thread),
        ("entries", &message),
    ] {
        let path = if kind == "forums" {
            format!("/forums/{id}/threads")
        } else {
            format!("/{kind}/{id}")
        };
        assert_eq!(cem.call("GET", &path, None).status, 404);
    }
    for node in [&mut ana, &mut ben, &mut cem] {
        node.stop();
    }

    let mut needles: Vec<(String, Vec<u8>)> =
        ["Quixotically", "xylophonic", "zymurgical", "brobdingnagian"]
            .iter()
            .map(|word| ((*word).to_owned(), word.as_bytes().to_vec()))
            .collect();
    for id in [&secret, &thread, &message, &conversation] {
        needles.push((format!("{id} as text"), id.as_bytes().to_vec()));
        let bytes = BASE32_NOPAD
            .decode(id.to_ascii_uppercase().as_bytes())
            .unwrap();
        // A table may keep a prefix of an id; these many bytes are nobody else's by chance.
        let bytes = bytes[..12].to_vec();
        needles.push((format!("{id} as bytes"), bytes));
    }
    let holders = files_below(&ben.data_dir());
    for (what, needle) in &needles {
        assert!(
            holders.iter().any(|(_, bytes)| contains(bytes, needle)) || what.ends_with("text"),
            "the search itself must be able to find {what}"
        );
        for (path, bytes) in files_below(&cem.data_dir()) {
            assert!(
                !contains(&bytes, needle),
                "{what} stands in {}",
                path.display()
            );
        }
    }
}
