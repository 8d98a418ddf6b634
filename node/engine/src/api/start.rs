//! Starting, stopping, setting up, and the node in one look.

use std::{sync::Arc, time::Duration};

use proto::{
    admission::{Certificate, Chain, Role},
    body::Body,
    limits::NAME_CHARS_MAX,
    space::{Descriptor, SpaceKind},
    text,
};
use store::Store;

use super::{DATABASE, Node};
use crate::{
    Config, Error, EventId, Result, Subscription, adding, clock,
    error::invalid,
    event::EventKind,
    events::{About, Events},
    files::{self, Keys},
    inner::Inner,
    invites,
    letters::Letters,
    records::{self, ContactState},
    spaces,
    view::{Counts, Status},
};

/// How long the tasks may take to end; none waits for anything but the disk.
const TASKS_WAIT: Duration = Duration::from_secs(2);

impl Node {
    /// Opens what is in the folder (which is made where it is missing), opens the endpoint and
    /// begins to look for contacts.
    ///
    /// # Errors
    /// [`Error::Folder`], [`Error::Database`], [`Error::Links`], [`Error::Storage`].
    pub async fn start(config: Config) -> Result<Self> {
        let folder = |error: std::io::Error| Error::Folder {
            detail: error.to_string(),
        };
        let dir = config.data_dir.clone();
        files::make_data_dir(&dir).map_err(folder)?;
        let path = dir.join(DATABASE);
        let opened = tokio::task::spawn_blocking(move || Store::open(&path)).await;
        let store = opened
            .map_err(|_| Error::Stopping)?
            .map_err(|error| Error::Database {
                detail: error.to_string(),
            })?;
        if let Some(free) = &config.storage.free {
            store.set_free(free.clone());
        }
        store.set_floor(config.storage.free_min_bytes);
        let keys = Keys::load(&dir).map_err(folder)?;
        let seed = files::endpoint_seed(&dir).map_err(folder)?;
        let start = store.write(records::count_start).await?;
        let keys = if store.read()?.own_device()?.is_some() {
            keys
        } else {
            None
        };
        let letters = Letters::open(&config.data_dir).map_err(|error| Error::Folder {
            detail: error.to_string(),
        })?;
        let inner = Arc::new(Inner::new(config, store, Events::new(start), keys, letters));
        inner.open_links(&seed).await?;
        inner.tasks.spawn(crate::disk::attend(inner.clone()));
        inner.tasks.spawn(crate::lan::attend(inner.clone()));
        inner.tasks.spawn(crate::bluetooth::attend(inner.clone()));
        inner
            .tasks
            .spawn(crate::introductions::attend(inner.clone()));
        inner.tasks.spawn(crate::choices::attend(inner.clone()));
        inner.tasks.spawn(crate::letters::attend(inner.clone()));
        inner.tasks.spawn(crate::vanish::attend(inner.clone()));
        inner.tasks.spawn(crate::receipts::attend(inner.clone()));
        let node = Self(inner);
        if node.is_set_up() {
            node.resume().await?;
        }
        Ok(node)
    }

    /// Starts what set-up or an earlier run left to do.
    async fn resume(&self) -> Result<()> {
        let contacts = self.0.store.read()?.contacts()?;
        for (id, contact) in contacts {
            match contact.state {
                ContactState::Ready => self.0.begin_contact(id, &records::endpoints(&contact)),
                ContactState::Pending if contact.link.is_some() => {
                    self.0.tasks.spawn(adding::retry(self.0.clone(), id));
                }
                ContactState::Pending | ContactState::Asks => {}
            }
        }
        invites::reopen(&self.0).await
    }

    /// Ends everything in order: tells contacts, waits for the disk. At most a few seconds.
    pub async fn shutdown(&self) {
        self.0.stop.cancel();
        self.0.events.close();
        self.0.tasks.close();
        let links = async {
            if let Some(links) = self.0.links() {
                links.shutdown().await;
            }
        };
        let tasks = tokio::time::timeout(TASKS_WAIT, self.0.tasks.wait());
        let _ = tokio::join!(invites::close_all(&self.0), links, tasks);
        // After the last packets went over them.
        self.0.bluetooth.hub().detach();
        let store = self.0.store.clone();
        let _ = tokio::task::spawn_blocking(move || store.close()).await;
    }

    /// Whether the node has an identity.
    #[must_use]
    pub fn is_set_up(&self) -> bool {
        self.0.keys().is_some()
    }

    /// Gives a fresh node its identity.
    ///
    /// # Errors
    /// [`Error::AlreadySetUp`], [`Error::Invalid`].
    pub async fn set_up(&self, name: &str) -> Result<Status> {
        let name = checked_name(name)?;
        if let Some(name) = records::own_name(&self.0.store.read()?)? {
            return Err(Error::AlreadySetUp { name });
        }
        let keys = Keys::create(self.0.data_dir()).map_err(|error| Error::Folder {
            detail: error.to_string(),
        })?;
        let certificate = Certificate::sign(&keys.identity, &keys.device, 1, Role::Main);
        let blog = Descriptor {
            kind: SpaceKind::Blog,
            name: name.clone(),
            description: String::new(),
            creator: keys.identity.id(),
            onward: true,
            salt: *files::random_seed(),
        };
        let (now, row_name) = (clock::now(), name.clone());
        self.0
            .store
            .write(move |txn| {
                if let Some(name) = records::own_name(txn)? {
                    return Ok(Some(name));
                }
                txn.create_space(&spaces::described(&blog, Chain::root(), now))?;
                records::set_own(txn, certificate, &row_name)?;
                Ok(None)
            })
            .await?
            .map_or(Ok(()), |name| Err(Error::AlreadySetUp { name }))?;
        self.0.set_keys(keys);
        self.0.events.emit(EventKind::Contact, About::default());
        self.status()
    }

    /// Changes the own display name, in every space.
    ///
    /// # Errors
    /// [`Error::NotSetUp`], [`Error::Invalid`].
    pub async fn rename(&self, name: &str) -> Result<Status> {
        let keys = self.0.ready()?;
        let name = checked_name(name)?;
        let now = clock::now();
        let written = self
            .0
            .store
            .write(move |txn| {
                let mut own = txn.own_device()?.ok_or(store::Error::Closed)?;
                own.name.clone_from(&name);
                txn.put_own_device(&own)?;
                let mut written = Vec::new();
                for space in txn.spaces()? {
                    // The own blog tells every contact, also those with nothing else in common.
                    let own_blog = space.kind == SpaceKind::Blog
                        && space.counterpart(own.certificate.identity) == own.certificate.identity;
                    let feed = txn.frontier(space.id, keys.device.id())?;
                    let ended = txn.facts(space.id, keys.device.id())?.end().is_some();
                    if own_blog || (!ended && feed.is_some_and(|feed| feed.base > 0)) {
                        written.push(spaces::append(
                            txn,
                            &keys,
                            space.id,
                            now,
                            &Body::Profile { name: &name },
                        )?);
                    }
                }
                txn.set_name(keys.identity.id(), &name, now)?;
                Ok(written)
            })
            .await?;
        for appended in &written {
            self.0.tell_written(appended);
        }
        self.0.events.emit(EventKind::Contact, About::default());
        self.status()
    }

    /// The node in one look.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn status(&self) -> Result<Status> {
        let snapshot = self.0.store.read()?;
        let keys = self.0.keys();
        let identity = keys
            .as_ref()
            .map(|keys| self.person(&snapshot, keys.identity.id()))
            .transpose()?;
        let online: std::collections::BTreeSet<_> = self
            .0
            .meetings()
            .values()
            .filter(|meeting| meeting.is_online())
            .map(|meeting| meeting.contact)
            .collect();
        let mut counts = Counts {
            online: online.len() as u64,
            disk_bytes: self.disk_bytes(),
            ..Counts::default()
        };
        counts.contacts = snapshot
            .contacts()?
            .iter()
            .filter(|(_, contact)| contact.state == ContactState::Ready)
            .count() as u64;
        for space in snapshot.spaces()? {
            counts.spaces += 1;
            counts.entries += space.counts.entries;
            counts.unread += space.counts.unread;
        }
        Ok(Status {
            version: env!("CARGO_PKG_VERSION"),
            identity,
            device: keys.map(|keys| keys.device.id()),
            links: self.links()?,
            counts,
            disk: self.0.disk(),
        })
    }

    fn disk_bytes(&self) -> u64 {
        self.0
            .store
            .path()
            .and_then(|path| std::fs::metadata(path).ok())
            .map_or(0, |file| file.len())
    }

    /// Events after `after`, or those from now on. Begins with [`EventKind::Reset`] when `after` is too old.
    #[must_use]
    pub fn subscribe(&self, after: Option<EventId>) -> Subscription {
        self.0.events.subscribe(after)
    }

    /// The folder that holds everything of this node.
    #[must_use]
    pub fn data_dir(&self) -> &std::path::Path {
        self.0.data_dir()
    }
}

/// A person's or a space's name as it may be.
pub(crate) fn checked_name(name: &str) -> Result<String> {
    let name = name.trim();
    if text::is_line(name, NAME_CHARS_MAX) {
        return Ok(name.to_owned());
    }
    Err(invalid(
        "name",
        &format!(
            "expected 1 to {NAME_CHARS_MAX} characters without line breaks, found {}",
            name.chars().count()
        ),
    ))
}
