//! What hostile contacts cost: others' time beside them, and the node's memory.
//!
//! The node is the real program. Contacts are made up in its database, and speak to it through
//! the real links and sessions, each in its own manner. A hostile contact would sit at another
//! machine, so its own work must not count and the node's work on it must: the node has one
//! processor to itself, where whatever it does for one contact lacks to another, and the contacts
//! share another processor, the hostile ones with what the honest ones leave. An honest catch-up
//! is timed alone, beside the hostile contact, beside it again, and alone again, so that the growth
//! of the forum cancels out.

use std::{
    io::{Read as _, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
    thread,
    time::Duration,
};

use tokio::{runtime::Runtime, sync::watch};

use crate::{
    args::Args,
    harness::hostile::{Manner, Peer, Person, Scene, from_words},
    process::{cpu, pid, rss, rss_peak},
    table::{Table, mb},
};

/// The word that begins the arguments of the process that acts for hostile contacts.
pub(crate) const HOSTILE: &str = "--hostile-inside";
/// What that process says when it could begin.
const READY: &[u8] = b"ready\n";
/// What a hostile contact has done before anybody is timed beside it, at first and later.
const WARM_UP: Duration = Duration::from_secs(5);
const WARM_UP_AGAIN: Duration = Duration::from_secs(1);
/// What followed a catch-up is over after this time.
const PAUSE: Duration = Duration::from_millis(500);
/// How much longer others may take.
const TARGET: f64 = 1.10;
/// Hostile connections, and resident bytes under them.
const CROWD: usize = 200;
const CROWD_MEMORY: u64 = 256_000_000;
/// How long the crowd has to fill what it can.
const CROWD_WAIT: Duration = Duration::from_secs(20);
/// What those of the crowd hold who don't flood with entries.
const FEW: usize = 10;
/// Processors of the node and of its contacts, where the machine has two.
const NODE_CORE: &str = "0";
const PEERS_CORE: &str = "1";

const MANNERS: [(Manner, &str); 7] = [
    (Manner::ReadsSlowly, "reads 1 kB/s"),
    (Manner::StopsReading, "stops reading"),
    (Manner::FloodsEntries, "floods with valid entries"),
    (
        Manner::FloodsGarbage,
        "floods with entries nobody asked for",
    ),
    (Manner::FloodsWants, "floods with wants"),
    (Manner::FloodsHints, "floods with hints"),
    (Manner::Lies, "claims endless feeds"),
];
/// The ways that take memory, for a crowd.
const GREEDY: [Manner; 8] = [
    Manner::StopsReading,
    Manner::StallsInFrames,
    Manner::Lies,
    Manner::FloodsHints,
    Manner::StallsInFrames,
    Manner::SaysNothing,
    Manner::FloodsGarbage,
    Manner::StopsReading,
];

pub(crate) fn run(args: &Args, table: &mut Table) {
    let cores = Cores::part();
    let runtime = Runtime::new().unwrap();
    let wanted = |what: &str| what.contains(&args.hostile);
    for (number, (_, what)) in MANNERS.into_iter().enumerate() {
        if wanted(what) {
            beside(&runtime, args, table, &cores, number);
        }
    }
    if wanted("crowd") {
        crowd(&runtime, args, table);
    }
}

/// Times catch-ups alone and beside a hostile contact.
fn beside(runtime: &Runtime, args: &Args, table: &mut Table, cores: &Cores, manner: usize) {
    let (entries, rounds) = (args.honest, args.runs * 2 - 1);
    let scene = Scene::new(rounds * 5 + 2, entries);
    let node = pid(&scene.node);
    cores.give(node, NODE_CORE, &[]);
    let (kind, what) = MANNERS[manner];
    let flood = if kind == Manner::FloodsEntries {
        args.flood
    } else {
        FEW
    };
    let mut quarters: [Vec<f64>; 4] = Default::default();
    let mut idle = Vec::new();
    for round in 0..rounds {
        let people: Vec<Person> = (1..=5)
            .map(|at| runtime.block_on(scene.forum.person(round * 5 + at, entries)))
            .collect();
        let time = |at: usize| {
            let took = runtime.block_on(Peer::catch_up(&scene.address(), &people[at]));
            thread::sleep(PAUSE);
            took.as_secs_f64()
        };
        let mut hostile = Hostile::start(&scene, &manner.to_string(), flood);
        cores.give(hostile.child.id(), PEERS_CORE, &["-i", "0"]);
        // What a node does when nothing happened for a while is over after the first.
        time(4);
        let mut took = vec![time(0)];
        hostile.act();
        thread::sleep(if round == 0 { WARM_UP } else { WARM_UP_AGAIN });
        let before = cpu(node);
        thread::sleep(WARM_UP_AGAIN);
        idle.push((cpu(node) - before).as_secs_f64() / WARM_UP_AGAIN.as_secs_f64());
        took.extend([time(1), time(2)]);
        hostile.stop();
        thread::sleep(PAUSE);
        took.push(time(3));
        for (all, took) in quarters.iter_mut().zip(took) {
            all.push(took);
        }
    }
    let [before, one, other, after] = &quarters;
    let ratios = (0..rounds).map(|at| (one[at] + other[at]) / (before[at] + after[at]));
    let [low, ratio, high] = quartiles(ratios.collect());
    let [_, alone, _] = quartiles([&before[..], &after[..]].concat());
    let [_, beside, _] = quartiles([&one[..], &other[..]].concat());
    let [_, idle, _] = quartiles(idle);
    table.figure(
        &format!("isolation: a catch-up of {entries} entries beside one who {what}"),
        format!(
            "{ratio:.3} times as long (median of {rounds}; quartiles {low:.3} and {high:.3}; \
             alone {:.0} ms, beside {:.0} ms; the hostile one without others {:.0} % of a core){}",
            alone * 1e3,
            beside * 1e3,
            idle * 1e2,
            cores.note(),
        ),
        "< 1.10",
        ratio < TARGET,
    );
}

fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    let last = values.len() - 1;
    [last / 4, last / 2, (last * 3).div_ceil(4)].map(|at| values[at])
}

/// Many connections, each hostile in one of the ways that take memory.
fn crowd(runtime: &Runtime, args: &Args, table: &mut Table) {
    let scene = Scene::new(CROWD + 2, args.entries);
    let before = rss(pid(&scene.node));
    let mut hostile = Hostile::start(&scene, "crowd", FEW);
    hostile.act();
    thread::sleep(CROWD_WAIT);
    let within = rss(pid(&scene.node));
    let honest = runtime.block_on(scene.forum.person(CROWD, args.honest));
    let took = runtime.block_on(Peer::catch_up(&scene.address(), &honest));
    let peak = rss_peak(pid(&scene.node));
    let contacts = scene.node.list("/contacts");
    let open = contacts.iter().filter(|one| one["online"] == true).count();
    hostile.stop();
    table.figure(
        &format!("isolation: resident memory under {CROWD} hostile connections and strangers"),
        format!(
            "{} at the most, {} after {} s, {} before; {open} in meetings",
            mb(peak),
            mb(within),
            CROWD_WAIT.as_secs(),
            mb(before)
        ),
        "< 256 MB",
        peak < CROWD_MEMORY,
    );
    table.known(
        "isolation: an honest catch-up beside them, all on the same processors",
        format!("{:.0} ms", took.as_secs_f64() * 1e3),
    );
}

/// Who has which processor.
struct Cores {
    all: String,
    parted: bool,
}

impl Cores {
    /// Leaves one processor to the node, where the machine has two and the tools are there.
    fn part() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let mut cores = Self {
            all: format!("0-{}", cores - 1),
            parted: cores > 1,
        };
        cores.parted = cores.give(std::process::id(), PEERS_CORE, &[]);
        cores
    }

    /// Puts a process with all its threads on a processor, and perhaps into a scheduling class.
    fn give(&self, pid: u32, core: &str, class: &[&str]) -> bool {
        let tool = |name: &str, words: &[&str]| {
            let mut command = Command::new(name);
            command.args(words).arg(pid.to_string());
            let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
            quiet.status().is_ok_and(|status| status.success())
        };
        let classed = || class.is_empty() || tool("chrt", &[class, &["-a", "-p"]].concat());
        self.parted && tool("taskset", &["-a", "-c", "-p", core]) && classed()
    }

    fn note(&self) -> &'static str {
        if self.parted {
            ""
        } else {
            "; all on the same processors, the hostile one's own work included"
        }
    }
}

impl Drop for Cores {
    /// What runs after this part has all processors again.
    fn drop(&mut self) {
        self.give(std::process::id(), &self.all, &[]);
    }
}

/// A process that acts for hostile contacts from a first line of its standard input to its end.
struct Hostile {
    child: Child,
    input: ChildStdin,
}

impl Hostile {
    fn start(scene: &Scene, manner: &str, entries: usize) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([HOSTILE, manner, &entries.to_string()]);
        command.args(scene.words()).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take().unwrap();
        // What they are going to say is made.
        let mut ready = [0; READY.len()];
        let mut output = child.stdout.take().unwrap();
        output.read_exact(&mut ready).unwrap();
        Self { child, input }
    }

    fn act(&mut self) {
        self.input.write_all(b"\n").unwrap();
    }

    fn stop(self) {
        let Self { mut child, input } = self;
        drop(input);
        assert!(child.wait().unwrap().success(), "the hostile ones failed");
    }
}

/// Inside the process: the manner's number or "crowd", entries, and the scene.
pub(crate) fn hostile(words: &[String]) {
    let (manner, entries) = (&words[0], words[1].parse().unwrap());
    let (forum, address) = from_words(&words[2..]);
    let runtime = Runtime::new().unwrap();
    let (stop, stopped) = watch::channel(false);
    let manners = match manner.parse::<usize>() {
        Ok(manner) => vec![MANNERS[manner].0],
        Err(_) => GREEDY.into_iter().cycle().take(CROWD).collect(),
    };
    let people: Vec<_> = (0..manners.len())
        .map(|number| runtime.block_on(forum.person(number, entries)))
        .collect();
    std::io::stdout().write_all(READY).unwrap();
    std::io::stdout().flush().unwrap();
    std::io::stdin().read_exact(&mut [0]).unwrap();
    let mut tasks = Vec::new();
    if manners.len() == CROWD {
        tasks.push(runtime.spawn(Peer::knock(address.clone(), stopped.clone())));
    }
    for (person, manner) in people.into_iter().zip(manners) {
        let acting = Peer::misbehave(address.clone(), person, manner, stopped.clone());
        tasks.push(runtime.spawn(acting));
    }
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    stop.send_replace(true);
    for task in tasks {
        runtime.block_on(task).unwrap();
    }
}
