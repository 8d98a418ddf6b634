//! How fast iroh-docs fills an empty node: the measure beside Waymeet's catch-up.
//!
//! A full node and an empty one, two processes over loopback, relay and address lookup off, both
//! documents in a file. Ten authors wrote entries of 300 bytes into one document. Once the text
//! stands in the entry's key, so that only the sets are reconciled; once as a blob of its own,
//! which is the usual way and has to be downloaded too. Measured from joining the document until
//! the last entry (and the last blob) is there. `cargo run --release -- [ENTRIES] [RUNS]`.

#![allow(
    clippy::disallowed_methods,
    reason = "a program of its own, which reads its arguments"
)]

use std::{
    collections::BTreeSet,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use futures_lite::StreamExt as _;
use iroh::{Endpoint, RelayMode, endpoint::presets, protocol::Router};
use iroh_blobs::{BlobsProtocol, store::fs::FsStore};
use iroh_docs::{
    DocTicket,
    api::protocol::{AddrInfoOptions, ShareMode},
    engine::LiveEvent,
    protocol::Docs,
};
use iroh_gossip::net::Gossip;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::Command,
};

/// People who write.
const AUTHORS: usize = 10;
/// Bytes of every entry's text.
const TEXT_BYTES: usize = 300;
/// Entries of one run, unless another number is given.
const ENTRIES: usize = 10_000;
/// Runs of each kind; the median is shown.
const RUNS: usize = 3;
/// A run takes some seconds; one that takes longer hangs.
const WITHIN: Duration = Duration::from_secs(300);

/// Where an entry's text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    Key,
    Blob,
}

impl Text {
    const fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Blob => "blob",
        }
    }
}

struct Node {
    docs: Docs,
    blobs: FsStore,
    router: Router,
}

impl Node {
    async fn start(folder: &Path) -> Result<Self> {
        let endpoint = Endpoint::builder(presets::Minimal)
            .relay_mode(RelayMode::Disabled)
            .clear_ip_transports()
            .bind_addr("127.0.0.1:0")?
            .bind()
            .await?;
        let blobs = FsStore::load(folder.join("blobs")).await?;
        let gossip = Gossip::builder().spawn(endpoint.clone());
        let docs = Docs::persistent(folder.to_owned())
            .spawn(endpoint.clone(), (*blobs).clone(), gossip.clone())
            .await?;
        let router = Router::builder(endpoint)
            .accept(iroh_blobs::ALPN, BlobsProtocol::new(&blobs, None))
            .accept(iroh_gossip::ALPN, gossip)
            .accept(iroh_docs::ALPN, docs.clone())
            .spawn();
        Ok(Self {
            docs,
            blobs,
            router,
        })
    }

    async fn stop(self) -> Result<()> {
        self.router.shutdown().await?;
        // The router may have closed it already.
        drop(self.blobs.shutdown().await);
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [role, text, entries] = words.as_slice()
        && role == "serve"
    {
        let text = if text == "key" { Text::Key } else { Text::Blob };
        return serve(text, entries.parse()?).await;
    }
    let number = |at: usize, usual: usize| {
        words
            .get(at)
            .map_or(Ok(usual), |word| word.parse())
            .context("expected a number of entries and a number of runs")
    };
    let (entries, runs) = (number(0, ENTRIES)?, number(1, RUNS)?);
    for text in [Text::Key, Text::Blob] {
        let mut rates = Vec::new();
        for _ in 0..runs {
            let took = tokio::time::timeout(WITHIN, catch_up(text, entries)).await??;
            rates.push(entries as f64 / took.as_secs_f64());
        }
        rates.sort_by(f64::total_cmp);
        println!(
            "iroh-docs, {entries} entries of {TEXT_BYTES} bytes by {AUTHORS} authors, text in the {}: {:.0} entries/s (median of {runs}; slowest {:.0})",
            text.name(),
            rates[rates.len() / 2],
            rates[0],
        );
    }
    Ok(())
}

/// The full node: writes the entries, prints its ticket, and stays until its input ends.
async fn serve(text: Text, entries: usize) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let node = Node::start(folder.path()).await?;
    let doc = node.docs.create().await?;
    let mut authors = Vec::new();
    for _ in 0..AUTHORS {
        authors.push(node.docs.author_create().await?);
    }
    for number in 0..entries {
        let mut written = format!("entry {number} ");
        written.extend("waymeet ".chars().cycle().take(TEXT_BYTES - written.len()));
        let (key, value) = match text {
            Text::Key => (written, "x".to_owned()),
            Text::Blob => (format!("{number:08}"), written),
        };
        doc.set_bytes(authors[number % AUTHORS], key, value).await?;
    }
    let ticket = doc
        .share(ShareMode::Write, AddrInfoOptions::Addresses)
        .await?;
    println!("{ticket}");
    let mut rest = Vec::new();
    tokio::io::stdin().read_to_end(&mut rest).await?;
    node.stop().await
}

/// From joining to the last entry.
async fn catch_up(text: Text, entries: usize) -> Result<Duration> {
    let mut server = Command::new(std::env::current_exe()?)
        .args(["serve", text.name(), &entries.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(server.stdout.take().context("no output")?).lines();
    let ticket = lines.next_line().await?.context("the full node ended")?;
    let ticket: DocTicket = ticket.parse()?;
    let folder = tempfile::tempdir()?;
    let node = Node::start(folder.path()).await?;
    let began = Instant::now();
    let (_doc, events) = node.docs.import_and_subscribe(ticket).await?;
    let took = arrived(events, text, entries, began).await?;
    node.stop().await?;
    drop(server.stdin.take());
    server.wait().await?;
    Ok(took)
}

async fn arrived(
    mut events: impl futures_lite::Stream<Item = Result<LiveEvent>> + Unpin,
    text: Text,
    entries: usize,
    began: Instant,
) -> Result<Duration> {
    let (mut inserted, mut blobs) = (0, BTreeSet::new());
    while let Some(event) = events.next().await {
        match event? {
            LiveEvent::InsertRemote { .. } => inserted += 1,
            LiveEvent::ContentReady { hash } => drop(blobs.insert(hash)),
            _ => {}
        }
        let complete = text == Text::Key || blobs.len() == entries;
        if inserted == entries && complete {
            return Ok(began.elapsed());
        }
    }
    bail!(
        "the events ended after {inserted} entries and {} blobs",
        blobs.len()
    )
}
