//! What a node costs that does nothing, and how soon it is there.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    args::Args,
    crowd::Crowd,
    harness::{Node, connected, pair},
    process::{cpu, pid, rss},
    table::{Table, Times, mb},
};

const MEMORY_TARGET: u64 = 30_000_000;
/// Of one core.
const CPU_TARGET_PERCENT: f64 = 0.5;
const START_TARGET: Duration = Duration::from_millis(100);
/// A node that just met another is busy for a moment.
const SETTLE: Duration = Duration::from_secs(5);
/// Nothing here takes a second on a free machine.
const WITHIN: Duration = Duration::from_secs(30);
/// Between two looks at whether a node is there; a tenth of what matters.
const PAUSE: Duration = Duration::from_millis(1);

pub(crate) fn run(args: &Args, table: &mut Table) {
    for contacts in [0, args.contacts.div_ceil(5), args.contacts] {
        among_contacts(args, contacts, table);
    }
    let (ana, mut ben) = pair("Ana", "Ben");
    let forum = ana.new_forum("Crossroads");
    ana.new_thread(&forum, "Idle", "The only post.");
    connected(&ana, &ben);
    thread::sleep(SETTLE);
    let pids = [pid(&ana), pid(&ben)];
    let before = pids.map(cpu);
    let window = Duration::from_secs(args.idle_s);
    thread::sleep(window);
    connected(&ana, &ben);
    let percent = [0, 1].map(|at| {
        let busy = cpu(pids[at]) - before[at];
        100.0 * busy.as_secs_f64() / window.as_secs_f64()
    });
    let worst = percent[0].max(percent[1]);
    let memory = pids.map(rss);
    table.figure(
        &format!(
            "idle for {} s with a contact online: processor",
            args.idle_s
        ),
        format!("{:.2} % and {:.2} % of a core", percent[0], percent[1]),
        "< 0.5 %",
        worst < CPU_TARGET_PERCENT,
    );
    table.figure(
        "idle: resident memory",
        format!("{} and {}", mb(memory[0]), mb(memory[1])),
        "< 30 MB",
        memory[0].max(memory[1]) < MEMORY_TARGET,
    );

    ben.stop();
    for (what, ending) in [
        ("start to first page, after a clean stop", Ending::Clean),
        ("start to first page, after kill -9", Ending::Killed),
    ] {
        let times = (0..args.starts).map(|_| start(&ben, ending));
        let times = Times::of(times.collect());
        table.figure(
            what,
            times.to_string(),
            "< 100 ms",
            times.median() < START_TARGET,
        );
    }
}

/// A node that does nothing among so many contacts who are online and do nothing.
fn among_contacts(args: &Args, contacts: usize, table: &mut Table) {
    let hub = Node::named("Hub");
    let forum = hub.new_forum("Crossroads");
    hub.new_thread(&forum, "Idle", "The only post.");
    let crowd = Crowd::new(contacts);
    for member in &crowd.members {
        let invite = hub.invite();
        crowd.runtime.block_on(member.node.join(&invite)).unwrap();
        hub.until("a contact to be online", |hub| {
            hub.is_online(&member.id.to_string()).then_some(())
        });
    }
    thread::sleep(SETTLE);
    let hub_pid = pid(&hub);
    let before = cpu(hub_pid);
    let window = Duration::from_secs(args.idle_s);
    thread::sleep(window);
    let busy = cpu(hub_pid) - before;
    let percent = 100.0 * busy.as_secs_f64() / window.as_secs_f64();
    let figure = format!("{percent:.2} % of a core, {} resident", mb(rss(hub_pid)));
    let what = format!("idle for {} s with {contacts} contacts online", args.idle_s);
    table.known(&what, figure);
    crowd.end();
}

/// How the node before ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Clean,
    Killed,
}

/// Starts a node on a folder where none runs and ends it; from the start of its process until it
/// answers a request for its first page. The start that is measured follows an ending of the kind.
pub(crate) fn start(node: &Node, ending: Ending) -> Duration {
    let (mut running, _) = Started::new(node);
    running.end(ending);
    let (mut running, took) = Started::new(node);
    running.end(Ending::Clean);
    took
}

/// A node's process outside the harness, killed when dropped.
struct Started(Child);

impl Started {
    fn new(node: &Node) -> (Self, Duration) {
        let url_file = node.data_dir().join("dashboard-url");
        // A killed node leaves its address; the new one must not be taken for it.
        drop(fs::remove_file(&url_file));
        let mut command = node.command();
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let began = Instant::now();
        let mut running = Self(command.spawn().unwrap());
        loop {
            if let Ok(url) = fs::read_to_string(&url_file)
                && is_there(url.trim())
            {
                return (running, began.elapsed());
            }
            let ended = running.0.try_wait().unwrap();
            assert!(ended.is_none(), "the node ended with {ended:?}");
            assert!(began.elapsed() < WITHIN, "the node doesn't start");
            thread::sleep(PAUSE);
        }
    }

    fn end(&mut self, ending: Ending) {
        match ending {
            Ending::Clean => kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap(),
            Ending::Killed => self.0.kill().unwrap(),
        }
        self.0.wait().unwrap();
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // It may have ended; then there is nothing to do.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Whether the page that a browser without a session gets is answered.
fn is_there(url: &str) -> bool {
    let Some(addr) = url.strip_prefix("http://") else {
        return false;
    };
    let Ok(mut stream) = TcpStream::connect(addr) else {
        return false;
    };
    let request = format!("GET / HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    stream.set_read_timeout(Some(WITHIN)).is_ok()
        && stream.write_all(request.as_bytes()).is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.starts_with("HTTP/1.1 ")
        && answer.contains("</html>")
}
