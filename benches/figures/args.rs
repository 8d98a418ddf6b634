//! Which parts run, and how large.

use std::path::PathBuf;

pub(crate) const HELP: &str = "\
cargo bench --bench figures -- [PART]... [--NAME VALUE]...

Parts (all when none is named):
  floor       the database alone: inserting the bytes of the entries
  catch-up    a full node fills an empty one, beside the bare floor
  catch-up-many  the same with many more entries
  writing     own posts, alone and from many writers at once
  live        from the answer at one node to the event at another, and over a third
  meeting     bytes of a meeting with nothing new
  reconcile   a meeting with little new among very many entries and many spaces
  feeds       the same in forums of few and of many feeds
  fan-out     a post among many nodes in one process
  page        pages of a node that holds many entries, and its start
  page-many   the same with very many entries
  idle        memory and processor time among contacts, and the start of a node
  slow        today's posts of a month behind over a link of 100 kB/s
  far         a catch-up over round trips of 50, 100 and 200 ms
  bluetooth   posts over a simulated radio of 100 kB/s, beside a raw transfer
  isolation   what hostile contacts cost others in time, and a node in memory
  lan         how soon contacts meet on a local network, and what being found costs (needs root)
  letters     a meeting with all that may be carried for others, over 100 kB/s
  kill        kill -9 at random moments while both sides write
  real-input  crates' documents as articles, fortunes as threads, on three nodes

Sizes:
  --entries N    entries held where many are held (100000)
  --many N       entries where very many are held (1000000)
  --runs N       catch-ups, each into a new node; the median is shown (3)
  --many-runs N  the same with very many entries (1)
  --posts N      posts from many writers (20000)
  --behind N     entries of a month (10000)
  --far N        entries over long distances (30000)
  --samples N    live entries, one after the other (300)
  --spaces N     spaces where many are held (1000)
  --feeds N      feeds of the largest forum (10000)
  --nodes N      nodes among which a post spreads, and a fifth of them (50)
  --fan-posts N  posts that spread, one after the other (20)
  --contacts N   contacts of an idle node, a fifth of them, and none (50)
  --honest N     entries of each catch-up that is timed beside a hostile contact (100000)
  --hostile TEXT  only hostile contacts in whose row of the table this stands (all)
  --flood N      entries that a contact floods with (1000000)
  --requests N   requests of a page (200)
  --idle-s N     seconds of idleness (30)
  --starts N     starts of a node (21)
  --meetings N   meetings on a local network, each after both were apart (12)
  --rounds N     kills (200)
  --seed N       of the random choices; printed (1)
  --files N      files that become articles (300)
  --crates PATH  folder with a folder for each crate (below CARGO_HOME)
  --fortunes PATH  folder with texts separated by lines of % (/usr/share/games/fortunes)";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Floor,
    CatchUp,
    CatchUpMany,
    Writing,
    Live,
    Meeting,
    Reconcile,
    Feeds,
    FanOut,
    Slow,
    Far,
    Bluetooth,
    Page,
    PageMany,
    Idle,
    Isolation,
    Lan,
    Letters,
    Kill,
    RealInput,
}

impl Part {
    const ALL: [Self; 20] = [
        Self::Floor,
        Self::CatchUp,
        Self::CatchUpMany,
        Self::Writing,
        Self::Live,
        Self::Meeting,
        Self::Reconcile,
        Self::Feeds,
        Self::FanOut,
        Self::Slow,
        Self::Far,
        Self::Bluetooth,
        Self::Page,
        Self::PageMany,
        Self::Idle,
        Self::Isolation,
        Self::Lan,
        Self::Letters,
        Self::Kill,
        Self::RealInput,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::CatchUp => "catch-up",
            Self::CatchUpMany => "catch-up-many",
            Self::Writing => "writing",
            Self::Live => "live",
            Self::Meeting => "meeting",
            Self::Reconcile => "reconcile",
            Self::Feeds => "feeds",
            Self::FanOut => "fan-out",
            Self::Slow => "slow",
            Self::Far => "far",
            Self::Bluetooth => "bluetooth",
            Self::Page => "page",
            Self::PageMany => "page-many",
            Self::Idle => "idle",
            Self::Isolation => "isolation",
            Self::Lan => "lan",
            Self::Letters => "letters",
            Self::Kill => "kill",
            Self::RealInput => "real-input",
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Args {
    pub(crate) parts: Vec<Part>,
    pub(crate) entries: usize,
    pub(crate) many: usize,
    pub(crate) many_runs: usize,
    pub(crate) runs: usize,
    pub(crate) posts: usize,
    pub(crate) behind: usize,
    pub(crate) far: usize,
    pub(crate) samples: usize,
    pub(crate) spaces: usize,
    pub(crate) feeds: usize,
    pub(crate) nodes: usize,
    pub(crate) fan_posts: usize,
    pub(crate) contacts: usize,
    pub(crate) honest: usize,
    pub(crate) flood: usize,
    pub(crate) hostile: String,
    pub(crate) requests: usize,
    pub(crate) idle_s: u64,
    pub(crate) starts: usize,
    pub(crate) meetings: usize,
    pub(crate) rounds: usize,
    pub(crate) seed: u64,
    pub(crate) files: usize,
    pub(crate) crates: Option<PathBuf>,
    pub(crate) fortunes: PathBuf,
}

impl Args {
    /// `None` when help is asked for.
    pub(crate) fn parse(words: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut args = Self {
            parts: Vec::new(),
            entries: 100_000,
            many: 1_000_000,
            many_runs: 1,
            runs: 3,
            posts: 20_000,
            behind: 10_000,
            far: 30_000,
            samples: 300,
            spaces: 1_000,
            feeds: 10_000,
            nodes: 50,
            fan_posts: 20,
            contacts: 50,
            honest: 100_000,
            flood: 1_000_000,
            hostile: String::new(),
            requests: 200,
            idle_s: 30,
            starts: 21,
            meetings: 12,
            rounds: 200,
            seed: 1,
            files: 300,
            crates: None,
            fortunes: PathBuf::from("/usr/share/games/fortunes"),
        };
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            if word == "--help" || word == "-h" {
                return Ok(None);
            }
            // Cargo adds this one.
            if word == "--bench" {
                continue;
            }
            if let Some(name) = word.strip_prefix("--") {
                let value = words
                    .next()
                    .ok_or_else(|| format!("expected a value after --{name}"))?;
                args.set(name, &value)?;
                continue;
            }
            let part = Part::ALL.into_iter().find(|part| part.name() == word);
            args.parts
                .push(part.ok_or_else(|| format!("expected a part, found {word:?}"))?);
        }
        if args.parts.is_empty() {
            args.parts = Part::ALL.to_vec();
        }
        Ok(Some(args))
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let number = || {
            value
                .replace(['_', ','], "")
                .parse::<usize>()
                .ok()
                .filter(|number| *number > 0)
                .ok_or_else(|| format!("expected a number above 0 for --{name}, found {value:?}"))
        };
        match name {
            "entries" => self.entries = number()?,
            "many" => self.many = number()?,
            "many-runs" => self.many_runs = number()?,
            "runs" => self.runs = number()?,
            "posts" => self.posts = number()?,
            "behind" => self.behind = number()?,
            "far" => self.far = number()?,
            "samples" => self.samples = number()?,
            "spaces" => self.spaces = number()?,
            "feeds" => self.feeds = number()?,
            "nodes" => self.nodes = number()?,
            "fan-posts" => self.fan_posts = number()?,
            "contacts" => self.contacts = number()?,
            "honest" => self.honest = number()?,
            "hostile" => self.hostile = value.to_owned(),
            "flood" => self.flood = number()?,
            "requests" => self.requests = number()?,
            "idle-s" => self.idle_s = number()? as u64,
            "starts" => self.starts = number()?,
            "meetings" => self.meetings = number()?,
            "rounds" => self.rounds = number()?,
            "seed" => self.seed = number()? as u64,
            "files" => self.files = number()?,
            "crates" => self.crates = Some(PathBuf::from(value)),
            "fortunes" => self.fortunes = PathBuf::from(value),
            _ => return Err(format!("expected one of the options below, found --{name}")),
        }
        Ok(())
    }
}
