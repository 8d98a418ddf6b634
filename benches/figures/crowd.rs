//! Many nodes in this process: real engines with real connections over loopback, without
//! dashboards.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use engine::{
    Config, IdentityId, LinkConfig, Node, Radios, SpaceId, StorageConfig, view::NewInvite,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// For a step that takes milliseconds on a free machine.
const WITHIN: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(5);

pub(crate) struct Member {
    pub(crate) node: Node,
    pub(crate) id: IdentityId,
    _folder: TempDir,
}

pub(crate) struct Crowd {
    pub(crate) members: Vec<Member>,
    pub(crate) runtime: Runtime,
}

impl Crowd {
    pub(crate) fn new(count: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        let members = (0..count)
            .map(|number| runtime.block_on(Member::new(&format!("Member {number}"))))
            .collect();
        Self { members, runtime }
    }

    /// Makes two of them contacts, and waits until they are connected.
    pub(crate) fn befriend(&self, one: usize, other: usize) {
        let (one, other) = (&self.members[one], &self.members[other]);
        self.runtime.block_on(async {
            let invite = one.node.create_invite(NewInvite::default()).await.unwrap();
            other.node.join(&invite.link).await.unwrap();
            one.connected(other.id).await;
            other.connected(one.id).await;
        });
    }

    /// One offers a space, the other accepts it.
    pub(crate) fn hand_on(&self, from: usize, to: usize, space: SpaceId) {
        let (from, to) = (&self.members[from], &self.members[to]);
        self.runtime.block_on(async {
            from.node.offer(space, to.id).await.unwrap();
            let id = until("an offer", async || {
                let offers = to.node.offers().unwrap();
                let found = offers.into_iter().find(|offer| offer.space == space);
                found.map(|offer| offer.id)
            })
            .await;
            to.node.accept_offer(&id).await.unwrap();
        });
    }

    /// Ends all in order.
    pub(crate) fn end(self) {
        self.runtime.block_on(async {
            for member in &self.members {
                member.node.shutdown().await;
            }
        });
    }
}

impl Member {
    async fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let links = LinkConfig {
            bind: vec!["127.0.0.1:0".parse().unwrap()],
            radios: Radios::none(),
            ..LinkConfig::default()
        };
        let data_dir = folder.path().join("data");
        let node = Node::start(Config {
            data_dir,
            links,
            storage: StorageConfig::default(),
        })
        .await
        .unwrap();
        let status = node.set_up(name).await.unwrap();
        let id = status.identity.unwrap().id;
        Self {
            node,
            id,
            _folder: folder,
        }
    }

    pub(crate) async fn connected(&self, contact: IdentityId) {
        until("a contact to be online", async || {
            let contact = self.node.contact(contact);
            contact.ok().filter(|contact| contact.online)
        })
        .await;
    }

    /// Bytes of all meetings so far, in both directions.
    pub(crate) fn traffic(&self) -> u64 {
        let contacts = self.node.contacts(&Default::default()).unwrap().items;
        let both = contacts.iter().map(|contact| contact.exchanged);
        both.map(|exchanged| exchanged.bytes_in + exchanged.bytes_out)
            .sum()
    }
}

/// Looks until there is something.
pub(crate) async fn until<T, F>(what: &str, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < WITHIN, "waited for {what} in vain");
        tokio::time::sleep(PAUSE).await;
    }
}
