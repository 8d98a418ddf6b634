//! The command line.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use crate::address::{self, Listen};

/// Forums, blogs and private messages among contacts, kept on each person's own node.
///
/// Without a command it runs the node. The commands speak to the node that runs on the same folder.
#[derive(Debug, Parser)]
#[command(version, about, long_about, subcommand_help_heading = "Commands")]
pub(crate) struct Args {
    /// Folder that holds everything [default: $XDG_DATA_HOME/waymeet, else ~/.local/share/waymeet]
    #[arg(long, global = true, value_name = "DIR", env = "WAYMEET_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// Settings file [default: waymeet.toml in the data folder]
    #[arg(long, value_name = "FILE", env = "WAYMEET_CONFIG")]
    pub(crate) config: Option<PathBuf>,

    /// Address of the dashboard; it wins over the settings file. One that isn't loopback needs a
    /// password [default: 127.0.0.1:7340]
    #[arg(long, value_name = "ADDR:PORT", value_parser = address::parse)]
    pub(crate) listen: Option<Listen>,

    /// Don't open the browser
    #[arg(long, global = true)]
    pub(crate) no_open: bool,

    /// Answer in JSON, for scripts
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Log more to standard error; twice and three times for still more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

impl Args {
    /// What is wrong with arguments that are fine one by one.
    pub(crate) fn misplaced(&self) -> Option<&'static str> {
        match self.command {
            Some(_) if self.listen.is_some() => {
                Some("--listen belongs to the node: use it without a command")
            }
            _ => None,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run three nodes on temporary folders, with people, posts and messages to look at
    Demo,
    /// Give the running node its identity
    Setup {
        /// The name that your contacts see
        name: String,
    },
    /// Open the dashboard: makes a link that signs in once
    Open {
        /// For a phone or another computer on the network: prints a QR code
        #[arg(long)]
        lan: bool,
        /// By which of the dashboard's addresses there, as `waymeet dashboard` lists them
        #[arg(long, value_name = "URL", requires = "lan")]
        at: Option<String>,
    },
    /// Set the password that the dashboard asks for on the network
    Password {
        /// Read it from standard input instead of asking for it twice
        #[arg(long)]
        stdin: bool,
    },
    /// Show the dashboard on the local network, or take it off
    Dashboard(Dashboard),
    /// The browsers that are signed in to the dashboard
    Sessions {
        #[command(subcommand)]
        action: Option<Sessions>,
    },
    /// Say who this node is, how it is reached, who is here, and how much it holds and lacks
    Status {
        /// Go on until nothing is missing, a line a second
        #[arg(long)]
        watch: bool,
    },
    /// Show the ways to reach contacts, or switch them
    Links(Links),
    /// List the meetings that ended, newest first
    Meetings {
        /// With this contact only
        #[arg(long)]
        contact: Option<String>,
        /// Forget them
        #[arg(long, conflicts_with_all = ["limit", "cursor"])]
        forget: bool,
        #[command(flatten)]
        page: Paging,
    },
    /// Check everything that is held, on a running node or a stopped one's folder
    Doctor,
    /// Make an invite for somebody, list them or withdraw one
    #[command(args_conflicts_with_subcommands = true)]
    Invite(Invite),
    /// Become somebody's contact by their invite's link
    Join {
        /// The link, `waymeet:…`; - reads it from standard input
        link: String,
    },
    /// Add somebody who is with you: both run this, compare three words and say yes
    Nearby(Nearby),
    /// Introduce two of your contacts to each other, list introductions or answer one
    Introduce(Introduce),
    /// Your contacts
    Contacts {
        #[command(subcommand)]
        action: Option<Contacts>,
    },
    /// Forums, their threads, and what others offer you
    Forums {
        #[command(subcommand)]
        action: Option<Forums>,
    },
    /// Circles: private groups by invitation
    Circles {
        #[command(subcommand)]
        action: Option<Circles>,
    },
    /// Your blog and those of your contacts
    Blog {
        #[command(subcommand)]
        action: Option<Blog>,
    },
    /// Private messages
    Messages {
        #[command(subcommand)]
        action: Option<Messages>,
    },
    /// Messages that friends carry, sealed: what is carried, and for whom
    Letters(Letters),
    /// Search everything that this node holds
    Search {
        /// What to look for
        text: String,
        #[command(flatten)]
        page: Paging,
    },
}

/// Without a switch it only says how things are.
#[derive(Debug, ClapArgs)]
pub(crate) struct Dashboard {
    /// Whether it is on the local network
    #[arg(long, value_name = "on|off", value_parser = on_or_off)]
    pub(crate) lan: Option<bool>,
    /// Whether it is encrypted there
    #[arg(long, value_name = "on|off", value_parser = on_or_off)]
    pub(crate) tls: Option<bool>,
    /// Whether it answers to `waymeet.local` there
    #[arg(long, value_name = "on|off", value_parser = on_or_off)]
    pub(crate) local_name: Option<bool>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Sessions {
    /// List them (what happens without an action)
    List,
    /// Sign one out
    End {
        /// Its id, as `waymeet sessions` shows it
        id: String,
    },
}

fn on_or_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("expected on or off".to_owned()),
    }
}

/// Which part of a list.
#[derive(Debug, Clone, Default, ClapArgs)]
pub(crate) struct Paging {
    /// Items at most, 1 to 500
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=500))]
    pub(crate) limit: Option<u16>,
    /// Where to go on, as the page before said
    #[arg(long)]
    pub(crate) cursor: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Invite {
    #[command(subcommand)]
    pub(crate) action: Option<InviteAction>,
    /// How many people may use it; with more than one you accept each of them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) uses: Option<u32>,
    /// When it ends, such as 30m, 48h or 7d [default: 48h]
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    pub(crate) expires_in: Option<u64>,
    /// A note to yourself
    #[arg(long)]
    pub(crate) note: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum InviteAction {
    /// List the invites that you made
    List,
    /// Withdraw one
    Delete {
        /// Its id, as `waymeet invite list` shows it
        id: String,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Introduce {
    /// Two contacts; without them introductions are listed
    #[arg(num_args = 2, value_name = "CONTACT")]
    pub(crate) people: Vec<String>,
    /// A few words to both
    #[arg(long, default_value = "")]
    pub(crate) message: String,
    /// Say yes to an introduction that you got
    #[arg(long, value_name = "ID", conflicts_with = "people")]
    pub(crate) accept: Option<String>,
    /// Say no to one
    #[arg(long, value_name = "ID", conflicts_with_all = ["people", "accept"])]
    pub(crate) decline: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Nearby {
    /// For how long you are visible to others nearby [default: 120]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=120))]
    pub(crate) seconds: Option<u64>,
    /// Say that somebody shows the same words; their id is in the list
    #[arg(long, value_name = "ID", conflicts_with = "seconds")]
    pub(crate) accept: Option<String>,
    /// Say no to somebody
    #[arg(long, value_name = "ID", conflicts_with_all = ["seconds", "accept"])]
    pub(crate) decline: Option<String>,
    /// End it now
    #[arg(long, conflicts_with_all = ["seconds", "accept", "decline"])]
    pub(crate) close: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Contacts {
    /// List them (what happens without an action)
    List {
        #[command(flatten)]
        page: Paging,
    },
    /// Show one
    Show { contact: String },
    /// Call one now, over every link that is on
    Meet { contact: String },
    /// Accept somebody who used a many-use invite
    Accept { contact: String },
    /// Cut and forget one; also declines somebody who asks
    Remove { contact: String },
    /// Give one a private name that only you see; an empty one removes it
    Nickname { contact: String, name: String },
    /// Say how sure you are that it is really them
    Trust { contact: String, mark: Trust },
    /// Show the twelve words that both of you see alike
    Words { contact: String },
    /// Say where one is, as `192.168.1.5:41234`, where they aren't found by themselves
    At { contact: String, address: String },
    /// Set how much may come in through one, as `500MiB` or `4GiB`
    Quota {
        contact: String,
        #[arg(value_parser = size)]
        limit: u64,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Links {
    /// Whether the internet is used, and with relays
    #[arg(long)]
    pub(crate) internet: Option<Internet>,
    /// When it is used
    #[arg(long, value_name = "WHEN")]
    pub(crate) internet_when: Option<When>,
    /// Whether local networks are used
    #[arg(long)]
    pub(crate) lan: Option<Switch>,
    /// When they are used
    #[arg(long, value_name = "WHEN")]
    pub(crate) lan_when: Option<When>,
    /// Whether Bluetooth is used
    #[arg(long)]
    pub(crate) bluetooth: Option<Switch>,
    /// When it is used
    #[arg(long, value_name = "WHEN")]
    pub(crate) bluetooth_when: Option<When>,
    /// Which adapter, such as hci0; an empty name leaves it to the node
    #[arg(long, value_name = "NAME")]
    pub(crate) bluetooth_adapter: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Internet {
    /// Not at all
    Off,
    /// Direct connections
    Direct,
    /// Direct connections, and relays where these fail
    Relay,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum When {
    /// Always
    Always,
    /// While this machine charges
    Charging,
    /// Nobody is called but by `waymeet contacts meet`; who calls is answered
    ByHand,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Trust {
    /// Nothing was compared
    Unverified,
    /// You compared the twelve words
    Words,
    /// You met face to face
    Verified,
}

impl Trust {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Unverified => "unverified",
            Self::Words => "words",
            Self::Verified => "verified",
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Circles {
    /// List them (what happens without an action)
    List {
        #[command(flatten)]
        page: Paging,
    },
    /// Make a circle, which you own
    New {
        name: String,
        /// What it is for
        #[arg(long, default_value = "")]
        description: String,
    },
    /// Show who is or was in a circle and who let them in
    Members { circle: String },
    /// Invite a contact; they accept with `waymeet forums accept`
    Invite { circle: String, contact: String },
    /// Take an invitation back
    Withdraw { circle: String, contact: String },
    /// Remove a member, for good
    Remove {
        circle: String,
        /// Name or id
        member: String,
    },
    /// Close a circle, or one of its threads
    Close {
        circle: String,
        #[arg(long)]
        thread: Option<String>,
    },
    /// Open a circle, or one of its threads, again
    Reopen {
        circle: String,
        #[arg(long)]
        thread: Option<String>,
    },
    /// Make another member the owner
    HandOver {
        circle: String,
        /// Name or id
        member: String,
    },
    /// Leave a circle: what it held is deleted here
    Leave { circle: String },
    /// List a circle's threads; read and answer them with `waymeet forums`
    Threads {
        circle: String,
        #[command(flatten)]
        page: Paging,
    },
    /// Begin a thread
    Post {
        circle: String,
        title: String,
        /// Markdown; without it or with - it is read from standard input
        body: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Forums {
    /// List them (what happens without an action)
    List {
        #[command(flatten)]
        page: Paging,
    },
    /// Make a forum
    New {
        name: String,
        /// What it is about
        #[arg(long, default_value = "")]
        description: String,
    },
    /// Offer a forum or blog to a contact
    Offer { forum: String, contact: String },
    /// List what others offer you
    Offers,
    /// Accept an offer
    Accept {
        /// Its id, as `waymeet forums offers` shows it
        offer: String,
    },
    /// Decline an offer
    Decline {
        /// Its id, as `waymeet forums offers` shows it
        offer: String,
    },
    /// Leave a forum: what it held is deleted here
    Leave { forum: String },
    /// Show who is in a forum and who let them in
    Members { forum: String },
    /// List a forum's threads
    Threads {
        forum: String,
        #[command(flatten)]
        page: Paging,
    },
    /// Begin a thread
    Post {
        forum: String,
        title: String,
        /// Markdown; without it or with - it is read from standard input
        body: Option<String>,
    },
    /// Read a thread
    Read {
        thread: String,
        #[command(flatten)]
        page: Paging,
    },
    /// Answer in a thread
    Reply {
        thread: String,
        /// Markdown; without it or with - it is read from standard input
        body: Option<String>,
        /// The post that it answers
        #[arg(long, value_name = "POST")]
        parent: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Blog {
    /// List the blogs (what happens without an action)
    List {
        #[command(flatten)]
        page: Paging,
    },
    /// List a blog's articles
    Articles {
        blog: String,
        #[command(flatten)]
        page: Paging,
    },
    /// Publish an article in your blog
    Publish {
        title: String,
        /// Markdown; without it or with - it is read from standard input
        body: Option<String>,
        /// A tag; may be given several times
        #[arg(long = "tag", value_name = "TAG")]
        tags: Vec<String>,
    },
    /// Read an article and its comments
    Read {
        article: String,
        #[command(flatten)]
        page: Paging,
    },
    /// Comment on an article
    Comment {
        article: String,
        /// Markdown; without it or with - it is read from standard input
        body: Option<String>,
        /// The comment that it answers
        #[arg(long, value_name = "COMMENT")]
        parent: Option<String>,
    },
    /// Publish somebody's article in your blog
    Reblog {
        article: String,
        /// Your own words above it
        #[arg(default_value = "")]
        note: String,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Letters {
    /// Choose whose messages this node carries
    #[arg(long, value_enum)]
    pub(crate) carry: Option<Whose>,
    /// Let an expired message be carried again, by its id
    #[arg(long, conflicts_with = "carry")]
    pub(crate) again: Option<String>,
    /// Make the keys of opened messages unrecoverable now, and not in a moment
    #[arg(long, conflicts_with_all = ["carry", "again"])]
    pub(crate) forget_keys: bool,
}

/// Whose messages a node carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Whose {
    /// All contacts'
    Contacts,
    /// Those of contacts verified face to face
    Verified,
    /// Nobody's
    Nobody,
}

impl Whose {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Contacts => "contacts",
            Self::Verified => "verified",
            Self::Nobody => "nobody",
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Messages {
    /// List the conversations (what happens without an action)
    List {
        #[command(flatten)]
        page: Paging,
    },
    /// Read the conversation with a contact
    Read {
        contact: String,
        #[command(flatten)]
        page: Paging,
    },
    /// Write to a contact
    Send {
        contact: String,
        /// Without it or with - it is read from standard input
        body: Option<String>,
    },
    /// Show or change how messages with a contact are kept, for both people
    Keep {
        contact: String,
        /// Messages disappear so long after they were read, from a minute to a year such as 1h, 7d or 365d; off: they stay
        #[arg(long, value_name = "TIME", value_parser = parse_lifetime)]
        disappear: Option<u64>,
        /// Tell each other when messages are read; it happens only while both want that
        #[arg(long)]
        receipts: Option<Switch>,
    },
    /// Delete a message on this node only; the other person keeps it
    Delete { message: String },
}

/// Seconds of a lifetime, 0 for `off`.
fn parse_lifetime(text: &str) -> Result<u64, String> {
    match text {
        "off" => Ok(0),
        text => parse_span(text).map_err(|wrong| format!("{wrong}, or off")),
    }
}

/// Seconds from a span such as `30m`, `48h` or `7d`.
fn parse_span(text: &str) -> Result<u64, String> {
    let wrong = || format!("expected a time such as 30m, 48h or 7d, found {text:?}");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number = text.strip_suffix(unit).unwrap_or_default();
    number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(seconds))
        .filter(|n| *n > 0)
        .ok_or_else(wrong)
}

/// Bytes of a size: a whole number with B, KiB, MiB, GiB or TiB.
fn size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u32); 5] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40), ("B", 0)];
    let text = text.trim();
    UNITS
        .iter()
        .find_map(|(unit, shift)| {
            let number: u64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
            number.checked_mul(1 << shift)
        })
        .ok_or_else(|| "expected a size such as 500MiB or 4GiB".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn spans() {
        assert_eq!(parse_span("90s"), Ok(90));
        assert_eq!(parse_span("30m"), Ok(1_800));
        assert_eq!(parse_span("48h"), Ok(172_800));
        assert_eq!(parse_span("7d"), Ok(604_800));
        for bad in [
            "",
            "h",
            "0h",
            "-1h",
            "5",
            "5w",
            "1.5h",
            "99999999999999999999d",
            "6é",
        ] {
            assert!(parse_span(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_bear_their_unit() {
        assert_eq!(size("0B"), Ok(0));
        assert_eq!(size("500MiB"), Ok(500 << 20));
        assert_eq!(size("4 GiB"), Ok(4 << 30));
        for bad in ["", "4", "GiB", "4GB", "-1GiB", "1.5GiB", "99999999999TiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn listen_belongs_to_the_node() {
        let node = Args::parse_from(["waymeet", "--listen", "127.0.0.1:0"]);
        assert_eq!(node.misplaced(), None);
        let other = Args::parse_from(["waymeet", "--listen", "127.0.0.1:0", "status"]);
        assert!(other.misplaced().is_some());
    }
}
