//! How long an entry takes from the answer at its author to the event at a reader.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    args::Args,
    harness::{Events, Node, befriend, hand_on, made_up::Random},
    table::{Table, Times},
};

/// Between two samples, and as much again at random, so that none is in another's way.
const PAUSE: Duration = Duration::from_millis(10);
/// A node that just met others is busy for a moment.
const SETTLE: Duration = Duration::from_secs(2);

pub(crate) fn run(args: &Args, table: &mut Table) {
    let (ana, ben, cem) = (Node::named("Ana"), Node::named("Ben"), Node::named("Cem"));
    befriend(&ana, &ben);
    befriend(&ben, &cem);
    let forum = ana.new_forum("Crossroads");
    let topic = ana.new_thread(&forum, "Live", "The first post.");
    hand_on(&ana, &ben, &forum);
    ben.receives(&topic);
    hand_on(&ben, &cem, &forum);
    cem.receives(&topic);

    let times = samples(&ana, &ben, &topic, args.samples);
    table.figure(
        "live: answer at A to event at B",
        times.to_string(),
        "median < 20 ms, 99th percentile < 100 ms",
        times.median() < Duration::from_millis(20) && times.p99() < Duration::from_millis(100),
    );
    let times = samples(&ana, &cem, &topic, args.samples);
    table.figure(
        "live: A over B to C, who are strangers",
        times.to_string(),
        "< 200 ms",
        times.p99() < Duration::from_millis(200),
    );
    let times = writes(&ana, &topic, args.samples);
    table.known("a reply's answer at its author", times.to_string());
}

fn samples(writer: &Node, reader: &Node, topic: &str, count: usize) -> Times {
    let events = reader.events(None);
    let mut random = Random::new(1);
    thread::sleep(SETTLE);
    let times = (0..count).map(|number| {
        let id = writer.reply(topic, &format!("Sample {number} of {count}."));
        let answered = Instant::now();
        arrived(&events, &id);
        let took = answered.elapsed();
        thread::sleep(PAUSE + PAUSE.mul_f64(random.below(100) as f64 / 100.0));
        took
    });
    Times::of(times.collect())
}

fn arrived(events: &Events, id: &str) {
    events.next("a live entry", |event| {
        event.kind == "entry" && event.data["id"] == id
    });
}

fn writes(writer: &Node, topic: &str, count: usize) -> Times {
    let times = (0..count).map(|number| {
        let began = Instant::now();
        writer.reply(topic, &format!("Write {number} of {count}."));
        began.elapsed()
    });
    Times::of(times.collect())
}
