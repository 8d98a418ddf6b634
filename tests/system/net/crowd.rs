//! A camp: many people who come and go between a few places, and never meet all at once.

use std::time::{Duration, Instant};

use super::{Host, Net, Switch, hosts::is_at};
use crate::harness::{Node, befriend, hand_on, made_up::Random};

const PEOPLE: usize = 20;
const PLACES: usize = 3;
/// How long people walk and write, in seconds; a longer walk is for a quiet machine.
const WALK: &str = "WAYMEET_WALK_S";
const WALK_S: u64 = 12;
/// Between two rounds of the walk.
const STAY: Duration = Duration::from_secs(2);
/// When nobody writes any more, walking goes on until everybody has everything.
const CONVERGED_WITHIN: Duration = Duration::from_secs(240);

struct Camp {
    places: Vec<Switch>,
    hosts: Vec<Host>,
    nodes: Vec<Node>,
    random: Random,
    /// Addresses given so far: nobody comes back to an old one.
    given: usize,
}

impl Camp {
    /// Everybody is at the first place. Each knows the next, and some know somebody further on.
    fn new(net: &Net, seed: u64) -> Self {
        let places: Vec<_> = (0..PLACES).map(|_| net.switch()).collect();
        let hosts: Vec<_> = (0..PEOPLE)
            .map(|n| net.host(&places[0], &[&format!("10.0.0.{}/16", n + 1)]))
            .collect();
        let nodes: Vec<_> = hosts
            .iter()
            .enumerate()
            .map(|(n, host)| host.node(&format!("Person {n}")))
            .collect();
        for (n, node) in nodes.iter().enumerate() {
            is_at(node, &format!("10.0.0.{}", n + 1));
        }
        for n in 0..PEOPLE {
            befriend(&nodes[n], &nodes[(n + 1) % PEOPLE]);
            if n % 3 == 0 {
                befriend(&nodes[n], &nodes[(n + 7) % PEOPLE]);
            }
        }
        Self {
            places,
            hosts,
            nodes,
            random: Random::new(seed),
            given: 0,
        }
    }

    /// Everybody goes somewhere, most of them to another network than before.
    fn walk(&mut self) {
        for host in &mut self.hosts {
            let place = self.random.below(PLACES);
            self.given += 1;
            let (high, low) = (self.given / 250 + 1, self.given % 250 + 1);
            host.walk(
                &self.places[place],
                &[&format!("10.{place}.{high}.{low}/16")],
            );
        }
    }

    fn write(&mut self, forum: &str, threads: &mut Vec<String>, round: usize) {
        for _ in 0..3 {
            let author = self.random.below(PEOPLE);
            let node = &self.nodes[author];
            let known: Vec<_> = threads
                .iter()
                .filter(|id| node.entry(id).is_some())
                .collect();
            if known.is_empty() || self.random.below(3) == 0 {
                let id = node.new_thread(forum, &format!("Round {round}"), "who is there?");
                threads.push(id);
            } else {
                let thread = known[self.random.below(known.len())];
                node.reply(thread, &format!("{author} was there"));
            }
        }
    }

    /// How many lack something of what anybody has.
    fn behind(&self, threads: &[String]) -> usize {
        let texts = |node: &Node| -> Vec<Vec<String>> {
            threads
                .iter()
                .map(|thread| {
                    let here = node.entry(thread).is_some();
                    let mut texts = if here { node.texts(thread) } else { Vec::new() };
                    texts.sort();
                    texts
                })
                .collect()
        };
        let held: Vec<_> = self.nodes.iter().map(texts).collect();
        let most = |thread: usize| held.iter().map(|node| node[thread].len()).max();
        let full: Vec<_> = (0..threads.len()).map(most).collect();
        let lacks = |node: &&Vec<Vec<String>>| {
            let here = node.iter().map(Vec::len);
            here.zip(&full).any(|(here, full)| Some(here) != *full)
        };
        let behind = held.iter().filter(lacks).count();
        assert!(behind > 0 || held.iter().all(|node| *node == held[0]));
        behind
    }
}

#[test]
fn twenty_people_who_walk_between_three_places_all_end_with_everything() {
    let Some(net) = Net::start(&[]) else { return };
    let seconds = std::env::var(WALK).ok().map(|text| text.parse().unwrap());
    let walk = Duration::from_secs(seconds.unwrap_or(WALK_S));
    let mut camp = Camp::new(&net, 20);
    let forum = camp.nodes[0].new_forum("Camp");
    for n in 0..PEOPLE - 1 {
        hand_on(&camp.nodes[n], &camp.nodes[n + 1], &forum);
    }
    let began = Instant::now();
    let (mut threads, mut round) = (Vec::new(), 0);
    while began.elapsed() < walk {
        camp.walk();
        camp.write(&forum, &mut threads, round);
        round += 1;
        std::thread::sleep(STAY);
    }
    let ended = Instant::now();
    let mut behind = camp.behind(&threads);
    while behind > 0 {
        assert!(
            ended.elapsed() < CONVERGED_WITHIN,
            "{behind} lack something"
        );
        camp.walk();
        round += 1;
        std::thread::sleep(STAY);
        behind = camp.behind(&threads);
    }
    eprintln!(
        "{} threads, {round} rounds; the last of {PEOPLE} had everything {} s after the last word",
        threads.len(),
        ended.elapsed().as_secs()
    );
    for node in &camp.nodes {
        assert!(!node.log().contains("panicked"), "{}", node.log());
    }
}
