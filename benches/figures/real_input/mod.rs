//! Real writing on three nodes, as new users would: crates' documents as articles of two blogs,
//! fortunes as threads by two people, read back elsewhere text by text; then answers, edits,
//! retractions, a node that was away and one that was killed.

mod sources;

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    args::Args,
    harness::{Node, befriend, hand_on, wait_for},
    kept::Kept,
    table::{Table, Times, count},
};
use sources::{Piece, Skipped};

/// For a node to have everything; hundreds of texts take a second.
const WITHIN: Duration = Duration::from_secs(120);
/// Articles that are published while another node is killed.
const DURING_KILL: usize = 20;

/// What a node shall show: ids with titles and texts as they were sent.
#[derive(Default)]
struct Expected(BTreeMap<String, (Option<String>, String)>);

/// How a part of the story went.
struct Story<'t> {
    table: &'t mut Table,
    differences: usize,
    /// Texts that were compared, over all nodes.
    compared: usize,
    refused: Vec<String>,
}

pub(crate) fn run(args: &Args, table: &mut Table) {
    let (pieces, skipped) = sources::documents(args);
    let fortunes = sources::fortunes(&args.fortunes);
    let mut story = Story {
        table,
        differences: 0,
        compared: 0,
        refused: Vec::new(),
    };
    story.say_sources(&pieces, &skipped, &fortunes);

    let (ana, ben, cem) = (Node::named("Ana"), Node::named("Ben"), Node::named("Cem"));
    befriend(&ana, &ben);
    befriend(&ben, &cem);
    befriend(&ana, &cem);
    let mut nodes = [ana, ben, cem];
    let mut expected = Expected::default();

    story.publish(&nodes, &pieces, &mut expected);
    let forum = story.post_fortunes(&nodes, &fortunes, &mut expected);
    story.compare("first reading", &nodes, &expected);
    story.open_pages(&nodes[2], &expected);
    let touched = story.answer_edit_retract(&nodes, &mut expected);
    story.compare("after answers, edits and retractions", &nodes, &expected);
    story.check_retracted(&nodes, &touched);
    story.one_away(&mut nodes, &forum, &pieces, &mut expected);
    story.compare("after one was away", &nodes, &expected);
    story.one_killed(&mut nodes, &pieces, &mut expected);
    story.compare("after kill -9 in the middle", &nodes, &expected);
    story.finish();
}

impl Expected {
    fn add(&mut self, post: &Value, title: Option<&str>, body: &str) -> String {
        let id = post["id"].as_str().unwrap().to_owned();
        // A node keeps one kind of line end, whatever a browser or an editor sends.
        let text = (title.map(str::to_owned), body.replace("\r\n", "\n"));
        self.0.insert(id.clone(), text);
        id
    }
}

impl Story<'_> {
    fn say_sources(&mut self, pieces: &[Piece], skipped: &Skipped, fortunes: &[sources::Book]) {
        let bytes: usize = pieces.iter().map(|piece| piece.body.len()).sum();
        self.table.known(
            "real input: documents of crates",
            format!(
                "{} files, {} bytes; {} cut to 64 KiB, {} with CRLF, {} not UTF-8, {} empty",
                pieces.len(),
                count(bytes as u64),
                skipped.cut,
                pieces
                    .iter()
                    .filter(|piece| piece.body.contains("\r\n"))
                    .count(),
                skipped.not_utf8,
                skipped.empty
            ),
        );
        let texts: usize = fortunes.iter().map(|book| book.texts.len()).sum();
        self.table.known(
            "real input: fortunes",
            format!("{} threads, {texts} texts", fortunes.len()),
        );
    }

    /// Posts something; `None` where the node refuses it, which is noted.
    fn post(&mut self, node: &Node, path: &str, body: &Value, what: &str) -> Option<Value> {
        let answer = node.call("POST", path, Some(body));
        if answer.status == 201 {
            return Some(answer.body);
        }
        let why = format!("{what}: {} {}", answer.status, answer.body["detail"]);
        eprintln!("    refused: {why}");
        self.refused.push(why);
        None
    }

    fn article(&mut self, node: &Node, piece: &Piece, expected: &mut Expected) {
        let Piece { title, body, tag } = piece;
        let article = json!({ "title": title, "body": body, "tags": [tag] });
        if let Some(post) = self.post(node, "/blog/articles", &article, title) {
            expected.add(&post, Some(title), body);
        }
    }

    fn publish(&mut self, nodes: &[Node; 3], pieces: &[Piece], expected: &mut Expected) {
        for (at, piece) in pieces.iter().enumerate() {
            self.article(&nodes[at % 2], piece, expected);
        }
    }

    fn post_fortunes(
        &mut self,
        nodes: &[Node; 3],
        books: &[sources::Book],
        expected: &mut Expected,
    ) -> String {
        let [ana, ben, cem] = nodes;
        let forum = ana.new_forum("Fortunes");
        hand_on(ana, ben, &forum);
        hand_on(ben, cem, &forum);
        for book in books {
            let Some((first, rest)) = book.texts.split_first() else {
                continue;
            };
            let thread = json!({ "title": book.name, "body": first });
            let path = format!("/forums/{forum}/threads");
            let Some(thread) = self.post(ana, &path, &thread, &book.name) else {
                continue;
            };
            let id = expected.add(&thread, Some(&book.name), first);
            ben.receives(&id);
            let path = format!("/threads/{id}/replies");
            for (at, text) in rest.iter().enumerate() {
                let what = format!("{} {at}", book.name);
                let writer = if at % 2 == 0 { ben } else { ana };
                if let Some(post) = self.post(writer, &path, &json!({ "body": text }), &what) {
                    expected.add(&post, None, text);
                }
            }
        }
        forum
    }

    /// Waits until every node shows everything as it was sent, and counts what doesn't.
    fn compare(&mut self, when: &str, nodes: &[Node; 3], expected: &Expected) {
        let began = Instant::now();
        let mut different = 0;
        for node in nodes {
            for (id, (title, body)) in &expected.0 {
                let is_same = |post: &Value| {
                    post["retracted"] == false
                        && post["body"] == *body
                        && title.as_ref().is_none_or(|title| post["title"] == *title)
                };
                // All texts share the time; once it is over each is looked at a last time.
                let left = WITHIN.saturating_sub(began.elapsed());
                let same = wait_for("a text", left, || node.entry(id).filter(is_same));
                self.compared += 1;
                if same.is_err() {
                    different += 1;
                    eprintln!("    differs {when}: {id} {title:?}");
                }
            }
        }
        self.differences += different;
        self.table.figure(
            &format!("real input: {when}"),
            format!(
                "{} texts on {} nodes, {different} differ; {:.1} s",
                expected.0.len(),
                nodes.len(),
                began.elapsed().as_secs_f64()
            ),
            "all the same",
            different == 0,
        );
    }

    /// Opens the page of every article, of the first threads, and of the lists, as a browser does.
    fn open_pages(&mut self, node: &Node, expected: &Expected) {
        let mut browser = Kept::browser(node);
        let mut times = Vec::new();
        let mut broken = 0;
        let lists = [
            "/",
            "/forums",
            "/blogs",
            "/messages",
            "/contacts",
            "/links",
            "/settings",
        ];
        let first_of = expected
            .0
            .iter()
            .filter(|(_, (title, _))| title.is_some())
            .map(|(id, _)| format!("/entries/{id}"));
        for path in lists.iter().map(|path| (*path).to_owned()).chain(first_of) {
            let mut page = browser.get(&path);
            let mut took = page.took;
            if let Some(location) = page.header("location").map(str::to_owned) {
                page = browser.get(location.split('#').next().unwrap_or_default());
                took += page.took;
            }
            if page.status != 200 || !page.text().contains("</html>") {
                broken += 1;
                eprintln!("    page {path}: {}", page.status);
            }
            times.push(took);
        }
        let times = Times::of(times);
        self.table.figure(
            "real input: pages at a third node",
            format!("{broken} broken; {times}"),
            "none broken",
            broken == 0,
        );
    }

    /// People answer each other, correct and take back what they wrote; gives what was taken back.
    fn answer_edit_retract(&mut self, nodes: &[Node; 3], expected: &mut Expected) -> Vec<String> {
        const OF_EACH: usize = 10;
        let [ana, ben, cem] = nodes;
        let mut retracted = Vec::new();
        for author in [ana, ben] {
            let blogs = cem.list("/blogs");
            let blog = blogs
                .iter()
                .find(|blog| blog["author"]["id"] == author.id());
            let blog = blog.expect("a contact's blog comes by itself");
            let path = format!("/blogs/{}/articles", blog["id"].as_str().unwrap());
            for (at, article) in cem.list(&path).iter().take(3 * OF_EACH).enumerate() {
                let id = article["id"].as_str().unwrap();
                let text = format!("Read to the end on a third node, **{at}**.");
                let path = format!("/articles/{id}/comments");
                if let Some(post) = self.post(cem, &path, &json!({ "body": text }), "a comment") {
                    expected.add(&post, None, &text);
                }
                match at % 3 {
                    0 => {
                        let title = format!("Corrected: {at}");
                        let body = format!("{}\n\nA line more.", "Shortened.");
                        let edit = json!({ "title": title, "body": body });
                        author.patch(&format!("/entries/{id}"), &edit);
                        expected.0.insert(id.to_owned(), (Some(title), body));
                    }
                    1 => {
                        author.delete(&format!("/entries/{id}"));
                        expected.0.remove(id);
                        retracted.push(id.to_owned());
                    }
                    _ => {}
                }
            }
        }
        retracted
    }

    /// What was taken back must be gone everywhere.
    fn check_retracted(&mut self, nodes: &[Node; 3], retracted: &[String]) {
        let mut left = 0;
        for node in nodes {
            for id in retracted {
                let shown = node.within(WITHIN, "a retraction", |node| {
                    let answer = node.call("GET", &format!("/entries/{id}"), None);
                    (answer.body["retracted"] == true).then_some(answer.body)
                });
                left += usize::from(shown["body"] != "");
            }
        }
        self.differences += left;
        self.table.figure(
            "real input: retracted articles",
            format!(
                "{} on {} nodes, {left} still have a text",
                retracted.len(),
                nodes.len()
            ),
            "none has a text",
            left == 0,
        );
    }

    /// One is off while the others write, then comes back.
    fn one_away(
        &mut self,
        nodes: &mut [Node; 3],
        forum: &str,
        pieces: &[Piece],
        expected: &mut Expected,
    ) {
        nodes[1].stop();
        for (at, piece) in pieces.iter().take(30).enumerate() {
            let title = format!("Again: {}", piece.tag);
            let thread = json!({ "title": title, "body": piece.body });
            let path = format!("/forums/{forum}/threads");
            let writer = if at % 2 == 0 { &nodes[0] } else { &nodes[2] };
            if let Some(post) = self.post(writer, &path, &thread, &title) {
                expected.add(&post, Some(&title), &piece.body);
            }
        }
        nodes[1].start();
    }

    /// One is killed while another publishes and it receives.
    fn one_killed(&mut self, nodes: &mut [Node; 3], pieces: &[Piece], expected: &mut Expected) {
        for (at, piece) in pieces.iter().rev().take(DURING_KILL).enumerate() {
            let piece = Piece {
                title: format!("Once more: {}", piece.tag),
                ..piece.clone()
            };
            self.article(&nodes[0], &piece, expected);
            if at == DURING_KILL / 2 {
                nodes[2].signal(Signal::KILL);
                nodes[2].ended();
            }
        }
        thread::sleep(Duration::from_millis(100));
        nodes[2].start();
    }

    fn finish(self) {
        let Self {
            table,
            differences,
            compared,
            refused,
        } = self;
        for why in &refused {
            eprintln!("    refused: {why}");
        }
        table.figure(
            "real input: in all",
            format!(
                "{} texts compared, {differences} differences, {} refused",
                count(compared as u64),
                refused.len()
            ),
            "no difference, none refused",
            differences == 0 && refused.is_empty(),
        );
    }
}
