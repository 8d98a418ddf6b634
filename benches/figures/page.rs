//! A page of a thread at a node that holds many entries, and how soon such a node starts.

use std::time::Duration;

use crate::{
    args::Args,
    filled::Filled,
    idle,
    kept::Kept,
    table::{Table, Times, count, ms},
};

const POSTS: usize = 100;
const TARGET: Duration = Duration::from_millis(10);

/// Pages of a node that holds so many entries.
pub(crate) fn run(args: &Args, entries: usize, table: &mut Table) {
    let mut filled = Filled::with(entries);
    let among = count(entries as u64);
    let what = |kind: &str| format!("{kind} of a thread's page, {POSTS} posts of {among}");
    let mut api = Kept::api(&filled.node);
    let first = paths(&filled, |id| format!("/api/v1/threads/{id}?limit={POSTS}"));
    show(table, &what("JSON"), &mut api, &first, args.requests);

    // The page that a reader comes to after nine others.
    let later: Vec<_> = filled
        .threads
        .iter()
        .map(|id| {
            let path = format!("/threads/{id}");
            let skipped = filled.node.get(&format!("{path}?limit=500"));
            match skipped["next"].as_str() {
                Some(cursor) => format!("/api/v1{path}?limit={POSTS}&cursor={cursor}"),
                None => format!("/api/v1{path}?limit={POSTS}"),
            }
        })
        .collect();
    show(
        table,
        &what("JSON, after 500 others,"),
        &mut api,
        &later,
        args.requests,
    );

    let mut browser = Kept::browser(&filled.node);
    let pages = paths(&filled, |id| format!("/threads/{id}"));
    show(table, &what("HTML"), &mut browser, &pages, args.requests);

    let mut show_one = |kind: &str, kept: &mut Kept, path: String| {
        let what = format!("{kind}, {among} entries held");
        show(table, &what, kept, &[path], args.requests);
    };
    let forum = &filled.forum;
    let threads = format!("/api/v1/forums/{forum}/threads");
    show_one("JSON of the forum's threads", &mut api, threads);
    show_one("JSON of the forums", &mut api, "/api/v1/forums".to_owned());
    show_one(
        "HTML of the forum",
        &mut browser,
        format!("/forums/{forum}"),
    );
    show_one("HTML of home", &mut browser, "/".to_owned());

    filled.node.stop();
    let clean = Times::of(
        (0..args.starts.min(5))
            .map(|_| idle::start(&filled.node, idle::Ending::Clean))
            .collect(),
    );
    let killed = Times::of(
        (0..args.starts.min(5))
            .map(|_| idle::start(&filled.node, idle::Ending::Killed))
            .collect(),
    );
    table.known(
        &format!("start to first page, {among} entries held"),
        format!(
            "median {} after a clean stop, {} after kill -9",
            ms(clean.median()),
            ms(killed.median())
        ),
    );
}

fn paths(filled: &Filled, path: impl Fn(&str) -> String) -> Vec<String> {
    filled.threads.iter().map(|id| path(id)).collect()
}

fn show(table: &mut Table, what: &str, kept: &mut Kept, paths: &[String], requests: usize) {
    let mut bytes = 0;
    let times = (0..requests).map(|number| {
        let page = kept.get(&paths[number % paths.len()]);
        assert_eq!(page.status, 200, "{}", page.text());
        bytes = page.body.len();
        page.took
    });
    let times = Times::of(times.collect());
    table.figure(
        what,
        format!("{times}; {bytes} bytes"),
        "< 10 ms",
        times.p99() < TARGET,
    );
}
