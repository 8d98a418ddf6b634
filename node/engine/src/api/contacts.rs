//! Invites and contacts.

use std::{net::SocketAddr, time::Duration};

use links::{Internet, PathKind, address};
use proto::{
    IdentityId,
    limits::{ADDRS_MAX, NAME_CHARS_MAX},
    space::SpaceKind as Kind,
    text,
};

use super::{Node, page_of};
use crate::{
    Error, Result, adding, beacons,
    error::invalid,
    event::EventKind,
    files::Keys,
    inner::about_contact,
    invites, lan, own_feed,
    records::{self, ContactState as Row},
    view::{
        Contact, ContactPatch, ContactState, Invite, NewInvite, Page, PageQuery, Person, Quota,
        Relation, SpaceKind, SpaceUsage,
    },
};

/// How long an accept waits for somebody who holds the line.
const SETTLE_WAIT: Duration = Duration::from_secs(3);
/// Spaces that are told as what fills a contact's quota.
const USAGES_SHOWN_MAX: usize = 8;

impl Node {
    /// Makes an invite.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Conflict`] where too many are open.
    pub async fn create_invite(&self, new: NewInvite) -> Result<Invite> {
        let id = invites::create(&self.0, new).await?;
        self.invite(&id)
    }

    /// All invites, newest first.
    ///
    /// # Errors
    /// [`Error::NotSetUp`].
    pub fn invites(&self) -> Result<Vec<Invite>> {
        self.0.ready()?;
        let snapshot = self.0.store.read()?;
        let mut rows = snapshot.invites()?;
        rows.sort_by_key(|(_, row)| std::cmp::Reverse(row.created));
        rows.iter()
            .map(|(id, row)| self.shown_invite(&snapshot, id, row))
            .collect()
    }

    /// One invite.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn invite(&self, id: &str) -> Result<Invite> {
        self.0.ready()?;
        let snapshot = self.0.store.read()?;
        let row = snapshot.invite(&id.to_owned())?;
        self.shown_invite(
            &snapshot,
            id,
            &row.ok_or(Error::NotFound { what: "the invite" })?,
        )
    }

    fn shown_invite(
        &self,
        snapshot: &store::Snapshot,
        id: &str,
        row: &records::Invite,
    ) -> Result<Invite> {
        let internet = self.0.in_use(snapshot)?.internet;
        Ok(Invite {
            id: id.to_owned(),
            link: invites::link(&self.0, id, row, internet),
            expires_ms: row.expires,
            created_ms: row.created,
            uses: row.uses,
            used: row.used,
            note: row.note.clone(),
            used_by: row
                .used_by
                .iter()
                .map(|id| self.person(snapshot, *id))
                .collect::<Result<_>>()?,
            tried_again: row.tried_again,
            local_only: internet == crate::Internet::Off,
        })
    }

    /// Deletes an invite; its link ends at once.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn delete_invite(&self, id: &str) -> Result<()> {
        invites::delete(&self.0, id).await
    }

    /// Uses somebody's link. Where the other side answers at once the contact is ready; else it is
    /// pending and tried until the link expires.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a link that can't be read, [`Error::Conflict`] for one that is refused.
    pub async fn join(&self, link: &str) -> Result<Contact> {
        let id = adding::join(&self.0, link).await?;
        self.contact(id)
    }

    /// All contacts by name, those who ask and pending ones first.
    ///
    /// # Errors
    /// [`Error::NotSetUp`], [`Error::Invalid`] for a bad cursor.
    pub fn contacts(&self, query: &PageQuery) -> Result<Page<Contact>> {
        self.0.ready()?;
        let snapshot = self.0.store.read()?;
        let rows = snapshot.contacts()?;
        let mut contacts = Vec::new();
        for (id, row) in &rows {
            contacts.push(self.shown_contact(&snapshot, *id, row, &rows)?);
        }
        contacts.sort_by_key(|contact| {
            let ready = contact.state == ContactState::Ready;
            (
                ready,
                contact
                    .nickname
                    .as_ref()
                    .unwrap_or(&contact.name)
                    .to_lowercase(),
                contact.id,
            )
        });
        page_of(contacts, query)
    }

    /// One contact.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn contact(&self, id: IdentityId) -> Result<Contact> {
        self.0.ready()?;
        let snapshot = self.0.store.read()?;
        let rows = snapshot.contacts()?;
        let row = rows
            .iter()
            .find(|(known, _)| *known == id)
            .ok_or(Error::NotFound {
                what: "the contact",
            })?;
        self.shown_contact(&snapshot, id, &row.1, &rows)
    }

    pub(crate) fn shown_contact(
        &self,
        snapshot: &store::Snapshot,
        id: IdentityId,
        row: &records::Contact,
        all: &[(IdentityId, records::Contact)],
    ) -> Result<Contact> {
        let meetings = self.0.online_meetings(id);
        let newest = meetings.iter().max_by_key(|meeting| meeting.since);
        let connected = newest.and_then(|meeting| meeting.connected(crate::clock::now()));
        let mut have = 0;
        for space in row
            .devices
            .values()
            .flat_map(|device| &device.agreed)
            .collect::<std::collections::BTreeSet<_>>()
        {
            have += snapshot
                .space(*space)?
                .map_or(0, |space| space.counts.entries);
        }
        let shown = |contact: &records::Contact| {
            contact
                .nickname
                .as_ref()
                .unwrap_or(&contact.name)
                .to_lowercase()
        };
        let name = snapshot.name(id)?.unwrap_or_else(|| row.name.clone());
        Ok(Contact {
            id,
            same_name: all
                .iter()
                .any(|(other, contact)| *other != id && shown(contact) == shown(row)),
            name,
            nickname: row.nickname.clone(),
            trust: records::shown_trust(row.trust),
            introduced_by: match row.trust {
                store::Trust::Introduced => self.introducer(snapshot, id)?,
                _ => None,
            },
            state: match row.state {
                Row::Pending => ContactState::Pending,
                Row::Asks => ContactState::Asks,
                Row::Ready => ContactState::Ready,
            },
            online: !meetings.is_empty(),
            link: connected
                .map_or_else(|| records::last_link(row), |connected| Some(connected.link)),
            rtt_us: connected.map(|connected| connected.rtt_us),
            connected,
            last_met_ms: if meetings.is_empty() {
                row.last_met
            } else {
                Some(crate::clock::now())
            },
            added_ms: row.added,
            behind: self.behind(id, have),
            exchanged: self.0.exchanged_with(id),
            quota: {
                let usage = snapshot.usage(id)?;
                Quota {
                    used_bytes: usage.bytes,
                    limit_bytes: usage.limit,
                }
            },
            last_error: self.0.last_error(id),
        })
    }

    /// The spaces of which most came in through a contact, largest first.
    ///
    /// # Errors
    /// [`Error::NotSetUp`].
    pub fn usage_of_contact(&self, id: IdentityId) -> Result<Vec<SpaceUsage>> {
        self.0.ready()?;
        let snapshot = self.0.store.read()?;
        let mut usage = Vec::new();
        for space in snapshot.spaces()? {
            let bytes = snapshot.usage_in(id, space.id)?;
            if bytes == 0 {
                continue;
            }
            let (kind, name) = match (space.kind, space.descriptor) {
                (Kind::Blog, Some(descriptor)) => (
                    SpaceKind::Blog,
                    self.person(&snapshot, descriptor.creator)?.name,
                ),
                (Kind::Circle, Some(descriptor)) => (SpaceKind::Circle, descriptor.name),
                (_, Some(descriptor)) => (SpaceKind::Forum, descriptor.name),
                (_, None) => (SpaceKind::Conversation, self.person(&snapshot, id)?.name),
            };
            usage.push(SpaceUsage {
                space: space.id,
                kind,
                name,
                bytes,
            });
        }
        usage.sort_by_key(|usage| std::cmp::Reverse(usage.bytes));
        usage.truncate(USAGES_SHOWN_MAX);
        Ok(usage)
    }

    /// Twelve words that both people see alike, and an impostor between them would not.
    ///
    /// # Errors
    /// [`Error::NotFound`] for nobody's or a pending contact's.
    pub fn contact_words(&self, id: IdentityId) -> Result<Vec<&'static str>> {
        let keys = self.0.ready()?;
        let row = self.0.store.read()?.contact(&id)?.ok_or(Error::NotFound {
            what: "the contact",
        })?;
        let secret = row.pair_secret.ok_or(Error::NotFound {
            what: "a shared secret with this contact",
        })?;
        Ok(secret.words(keys.identity.id(), id).to_vec())
    }

    /// Says yes to somebody who used a many-use link.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Conflict`] where there is nothing to accept.
    pub async fn accept_contact(&self, id: IdentityId) -> Result<Contact> {
        self.0.ready()?;
        let row = self.0.store.read()?.contact(&id)?.ok_or(Error::NotFound {
            what: "the contact",
        })?;
        match row.state {
            Row::Asks => {}
            Row::Ready => {
                return Err(Error::Conflict {
                    detail: format!("{} is a contact already", row.name),
                });
            }
            Row::Pending => {
                return Err(Error::Conflict {
                    detail: "it is the other side's turn".into(),
                });
            }
        }
        let mut events = self.0.events.subscribe(None);
        if adding::decide(&self.0, id, true).await? {
            // They hold the line: the answer is there in a moment.
            let settled = async {
                while self
                    .contact(id)
                    .is_ok_and(|contact| contact.state != ContactState::Ready)
                {
                    events.next().await?;
                }
                Some(())
            };
            let _ = tokio::time::timeout(SETTLE_WAIT, settled).await;
        }
        self.contact(id)
    }

    /// Changes nickname, trust mark and quota.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Invalid`].
    pub async fn update_contact(&self, id: IdentityId, patch: ContactPatch) -> Result<Contact> {
        self.0.ready()?;
        let nickname = patch.nickname.map(|nickname| nickname.trim().to_owned());
        if let Some(nickname) = nickname.as_ref().filter(|nickname| !nickname.is_empty())
            && !text::is_line(nickname, NAME_CHARS_MAX)
        {
            return Err(invalid(
                "nickname",
                &format!("expected at most {NAME_CHARS_MAX} characters without line breaks"),
            ));
        }
        if patch.quota_bytes > Some(Quota::LIMIT_BYTES_MAX) {
            return Err(invalid("quota_bytes", "expected at most a tebibyte"));
        }
        let found = self
            .0
            .store
            .write(move |txn| {
                if let Some(bytes) = patch.quota_bytes
                    && txn.contact(&id)?.is_some()
                {
                    txn.set_quota(id, Some(bytes))?;
                }
                records::change_contact(txn, id, |row| {
                    if let Some(nickname) = nickname {
                        row.nickname = Some(nickname).filter(|nickname| !nickname.is_empty());
                    }
                    row.trust = patch.trust.map_or(row.trust, records::kept_trust);
                })
            })
            .await?;
        if !found {
            return Err(Error::NotFound {
                what: "the contact",
            });
        }
        self.0.events.emit(EventKind::Contact, about_contact(id));
        if patch.quota_bytes.is_some() {
            for meeting in self.0.meetings_of(id) {
                meeting.notices.audience();
            }
        }
        self.contact(id)
    }

    /// Cuts and forgets a contact; also declines one who asks, and gives up a pending one.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn remove_contact(&self, id: IdentityId) -> Result<()> {
        let keys = self.0.ready()?;
        let row = self.0.store.read()?.contact(&id)?.ok_or(Error::NotFound {
            what: "the contact",
        })?;
        // Cut first, so that nothing arrives after it is forgotten.
        self.0.end_contact(id, &records::endpoints(&row));
        let key = beacons::fresh_key();
        self.0
            .store
            .write(move |txn| {
                forget(txn, &keys, id)?;
                // They would go on recognising this device by the key that they know.
                beacons::renew(txn, key)
            })
            .await?;
        if row.state == Row::Asks {
            adding::decide(&self.0, id, false).await?;
        }
        self.0.tell_audience();
        self.0.contacts_changed();
        self.0.events.emit(EventKind::Contact, about_contact(id));
        Ok(())
    }

    /// Says where a contact is on a local network or on this machine, where they aren't found by
    /// themselves: one or more addresses with ports, between spaces. They are dialled there for half
    /// an hour; where that leads to them it is remembered. Who else has the address sees that
    /// somebody tried.
    ///
    /// # Errors
    /// Not a contact yet; the link is switched off; an address of the internet, or none at all.
    pub async fn find_contact_at(&self, id: IdentityId, addresses: &str) -> Result<Contact> {
        self.0.ready()?;
        let addrs = lan_addrs(addresses)?;
        let snapshot = self.0.store.read()?;
        let row = snapshot.contact(&id)?.ok_or(Error::NotFound {
            what: "the contact",
        })?;
        if row.state != Row::Ready {
            return Err(Error::Conflict {
                detail: format!("{} is no contact yet: use their link", row.name),
            });
        }
        let is_lan = |addr: &SocketAddr| address::kind(addr.ip()) == PathKind::Lan;
        if addrs.iter().any(is_lan) && !self.0.in_use(&snapshot)?.lan {
            return Err(Error::Conflict {
                detail: "local networks aren't used now: see the page Links".into(),
            });
        }
        lan::told(&self.0, id, &records::endpoints(&row), &addrs);
        // Who types an address wants to meet, also where the node wouldn't call by itself.
        if let Some(supervisor) = self.0.supervisor(id) {
            let inner = self.0.clone();
            self.0.tasks.spawn(async move {
                if let Err(error) = supervisor.call(&inner, id).await {
                    inner.note_error(id, &error);
                }
            });
        }
        self.contact(id)
    }

    /// How a person is named, and what they are to us.
    pub(crate) fn person(&self, snapshot: &store::Snapshot, id: IdentityId) -> Result<Person> {
        let own = self.0.keys().is_some_and(|keys| keys.identity.id() == id);
        let contact = if own {
            None
        } else {
            snapshot
                .contact(&id)?
                .filter(|contact| contact.state == Row::Ready)
        };
        let mut own_name = snapshot.name(id)?;
        if own {
            own_name = records::own_name(snapshot)?.or(own_name);
        }
        let own_name = own_name
            .or_else(|| contact.as_ref().map(|contact| contact.name.clone()))
            .unwrap_or_else(|| "someone".into());
        let nickname = contact
            .as_ref()
            .and_then(|contact| contact.nickname.clone());
        let relation = match &contact {
            _ if own => Relation::Own,
            Some(contact) => Relation::Contact(records::shown_trust(contact.trust)),
            None => Relation::Stranger,
        };
        Ok(match nickname {
            Some(name) => Person {
                id,
                name,
                own_name: Some(own_name),
                relation,
            },
            None => Person {
                id,
                name: own_name,
                own_name: None,
                relation,
            },
        })
    }
}

/// Forgets a contact: the row, the conversation, and their blog. What they wrote in common spaces stays.
pub(crate) fn forget(
    txn: &mut store::Txn<'_>,
    keys: &Keys,
    id: IdentityId,
) -> Result<(), store::Error> {
    let own = keys.identity.id();
    let spaces = txn
        .spaces()?
        .into_iter()
        .filter(|space| match &space.descriptor {
            Some(descriptor) => space.kind == Kind::Blog && descriptor.creator == id,
            None => space.counterpart(own) == id,
        });
    for space in spaces.map(|space| space.id).collect::<Vec<_>>() {
        if txn
            .space(space)?
            .is_some_and(|space| space.descriptor.is_some())
        {
            own_feed::keep(txn, keys.device.id(), space)?;
        }
        txn.leave_space(space)?;
    }
    // A used link doesn't bring them back. One for many knows whom it let ask, and refuses who isn't
    // a contact any more.
    for (key, mut invite) in txn.invites()? {
        if invite.uses == 1 && invite.used_by.contains(&id) {
            invite.used_by.retain(|by| *by != id);
            txn.put_invite(&key, &invite)?;
        }
    }
    txn.remove_contact(&id)?;
    records::bump_revs(txn)
}

/// Addresses as a person types them.
fn lan_addrs(text: &str) -> Result<Vec<SocketAddr>> {
    const EXPECTED: &str = "expected addresses of a local network with their ports, such as \
        192.168.1.5:41234 or [fd00::5]:41234: their page Links shows them";
    let addrs: Result<Vec<SocketAddr>> = text
        .split_whitespace()
        .take(ADDRS_MAX)
        .map(|word| {
            let addr = word.parse().ok();
            addr.filter(|addr| address::may_dial(*addr, Internet::Off))
                .ok_or_else(|| invalid("address", EXPECTED))
        })
        .collect();
    match addrs {
        Ok(addrs) if addrs.is_empty() => Err(invalid("address", EXPECTED)),
        addrs => addrs,
    }
}
