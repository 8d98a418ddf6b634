//! `waymeet demo`: three people on one machine who know each other in a row, Ana and Ben, Ben and
//! Cem, so that a newcomer sees in a minute how posts travel. All on loopback, in temporary
//! folders that go when it ends.

mod story;
mod wait;

use anyhow::Context as _;
use engine::{
    Internet, LinkConfig, Node, StorageConfig,
    view::{Contact, ContactState, NewInvite, PageQuery},
};
use serde_json::json;
use tempfile::TempDir;
use tokio::try_join;
use web::LanConfig;

use crate::{
    folder::Folder,
    output::Output,
    run::with_runtime,
    running::{Running, Start},
    signals::Signals,
};

/// Runs the demo until a signal ends it.
pub(crate) fn run(output: &Output) -> anyhow::Result<()> {
    with_runtime(async {
        let mut signals = Signals::new().context("cannot take over the signals")?;
        let people = tokio::select! {
            people = People::start() => people?,
            _ = signals.end() => return Ok(()),
        };
        let ended = tokio::select! {
            told = tell(&people, output) => told,
            _ = signals.end() => return stopped(people, signals, Ok(())).await,
        };
        if ended.is_ok() {
            signals.end().await;
        }
        stopped(people, signals, ended).await
    })
}

/// Ends everything, with what the demo ended with.
async fn stopped(
    people: People,
    signals: Signals,
    ended: anyhow::Result<()>,
) -> anyhow::Result<()> {
    signals.insist();
    people.stop().await;
    ended
}

/// The three, each with a node of their own.
struct People {
    ana: Person,
    ben: Person,
    cem: Person,
}

struct Person {
    name: &'static str,
    running: Running,
    // Removed when dropped, so it comes after what uses it.
    _temp: TempDir,
}

impl Person {
    async fn start(name: &'static str) -> anyhow::Result<Self> {
        let temp = tempfile::Builder::new()
            .prefix("waymeet-demo-")
            .tempdir()
            .context("cannot make a temporary folder")?;
        let folder = Folder::at(&temp.path().join(name.to_lowercase()))?;
        let loopback = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let running = Running::start(
            &folder,
            Start {
                links: LinkConfig {
                    internet: Internet::Off,
                    internet_fixed: true,
                    lan: Some(false),
                    bind: vec![loopback],
                    // Three nodes can't share an adapter, and need none.
                    bluetooth: Some(false),
                    ..LinkConfig::default()
                },
                storage: StorageConfig::default(),
                listen: loopback,
                hosts: Vec::new(),
                lan: LanConfig::default(),
            },
        )
        .await?;
        running.node().set_up(name).await?;
        Ok(Self {
            name,
            running,
            _temp: temp,
        })
    }

    const fn node(&self) -> &Node {
        self.running.node()
    }

    async fn stop(self) {
        self.running.stop().await;
    }
}

impl People {
    async fn start() -> anyhow::Result<Self> {
        let (ana, ben, cem) = try_join!(
            Person::start("Ana"),
            Person::start("Ben"),
            Person::start("Cem")
        )?;
        Ok(Self { ana, ben, cem })
    }

    async fn stop(self) {
        tokio::join!(self.ana.stop(), self.ben.stop(), self.cem.stop());
    }

    const fn all(&self) -> [&Person; 3] {
        [&self.ana, &self.ben, &self.cem]
    }
}

/// Makes the people meet and write, then says where to look.
async fn tell(people: &People, output: &Output) -> anyhow::Result<()> {
    if !output.is_json() {
        output.line("Ana, Ben and Cem meet and write to each other …")?;
    }
    befriend(people.ana.node(), people.ben.node()).await?;
    befriend(people.ben.node(), people.cem.node()).await?;
    story::play(people.ana.node(), people.ben.node(), people.cem.node()).await?;
    announce(people, output)
}

/// Makes two people contacts by an invite of the first.
async fn befriend(one: &Node, other: &Node) -> anyhow::Result<()> {
    let invite = one.create_invite(NewInvite::default()).await?;
    other.join(&invite.link).await?;
    for node in [one, other] {
        wait::until(node, "two people to become contacts", || {
            let contacts = node.contacts(&PageQuery::default())?.items;
            Ok(contacts
                .iter()
                .all(is_here)
                .then_some(())
                .filter(|()| !contacts.is_empty()))
        })
        .await?;
    }
    Ok(())
}

fn is_here(contact: &Contact) -> bool {
    contact.state == ContactState::Ready && contact.online
}

fn announce(people: &People, output: &Output) -> anyhow::Result<()> {
    if output.is_json() {
        let nodes: Vec<_> = people
            .all()
            .iter()
            .map(|person| {
                json!({
                    "name": person.name,
                    "dashboard_url": person.running.url(),
                    "sign_in_link": person.running.sign_in_link(),
                })
            })
            .collect();
        return output.line(json!({ "nodes": nodes }));
    }
    output.line("")?;
    output.line("Each link signs you in once, as that person. Open them side by side:")?;
    for person in people.all() {
        output.line(format_args!(
            "  {}  {}",
            person.name,
            person.running.sign_in_link()
        ))?;
    }
    output.line("")?;
    output.line(
        "Ana and Cem don't know each other: what they read of one another came by way of Ben.",
    )?;
    output.line("Ctrl-C ends it and removes everything.")
}
