//! Circles: making, inviting, removing, closing, handing over, leaving, listing.

use std::{sync::Arc, time::Duration};

use proto::{
    DeviceId, EntryId, IdentityId, SpaceId,
    admission::Chain,
    circle::Government,
    limits::DESCRIPTION_CHARS_MAX,
    space::{Descriptor, SpaceKind as Kind},
    text,
};
use store::Standing;

use super::{Node, page_of, start::checked_name};
use crate::{
    Error, Result, circles, clock,
    error::invalid,
    event::EventKind,
    events::About,
    files,
    inner::Inner,
    records,
    spaces::{self, Written},
    view::{Circle, CircleMember, CircleStanding, Page, PageQuery},
};

/// Somebody who leaves waits so long for a member who is connected to hear it.
const GOODBYE_WAIT: Duration = Duration::from_secs(2);
/// Between two looks at whether they did; a few commits' time.
const GOODBYE_LOOK: Duration = Duration::from_millis(25);

const WHAT: &str = "the circle";

impl Inner {
    /// A rule was written: what contacts may have may have changed.
    fn tell_ruled(self: &Arc<Self>, written: &Written) {
        // Those who may not have it any more first.
        self.tell_audience();
        self.tell_written(written);
        self.tell_circle(written.space);
    }

    fn tell_circle(&self, space: SpaceId) {
        let about = About {
            space: Some(space),
            ..About::default()
        };
        self.events.emit(EventKind::Sync, about);
    }

    /// Waits a moment until a member who is connected has heard that we leave.
    async fn wait_for_goodbye(&self, id: SpaceId, device: DeviceId) -> Result<()> {
        let deadline = tokio::time::Instant::now() + GOODBYE_WAIT;
        while tokio::time::Instant::now() < deadline {
            {
                let snapshot = self.store.read()?;
                let own = snapshot
                    .frontier(id, device)?
                    .map_or(0, |frontier| frontier.base);
                let mut listening = false;
                for (contact, _) in snapshot.contacts()? {
                    if self.online_meetings(contact).is_empty()
                        || !snapshot.is_in_circle(id, contact)?
                    {
                        continue;
                    }
                    if snapshot.acknowledged(id, contact)? >= own {
                        return Ok(());
                    }
                    listening = true;
                }
                if !listening {
                    return Ok(());
                }
            }
            tokio::time::sleep(GOODBYE_LOOK).await;
        }
        Ok(())
    }
}

impl Node {
    /// Circles by name.
    ///
    /// # Errors
    /// [`Error::NotSetUp`], [`Error::Invalid`] for a bad cursor.
    pub fn circles(&self, query: &PageQuery) -> Result<Page<Circle>> {
        self.0.ready()?;
        let snapshot = self.0.store.read()?;
        let mut found = Vec::new();
        for space in snapshot.spaces()? {
            if space.kind == Kind::Circle {
                found.push(self.shown_circle(&snapshot, &space)?);
            }
        }
        found.sort_by_key(|circle| (circle.name.to_lowercase(), circle.id));
        page_of(found, query)
    }

    /// One circle.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn circle(&self, id: SpaceId) -> Result<Circle> {
        self.0.ready()?;
        let snapshot = self.0.store.read()?;
        let (space, _) = found(&snapshot, id)?;
        self.shown_circle(&snapshot, &space)
    }

    fn shown_circle(&self, snapshot: &store::Snapshot, space: &store::Space) -> Result<Circle> {
        let own = self.0.ready()?.identity.id();
        let government = circles::governed(snapshot, space.id)?;
        let descriptor = space.descriptor.as_ref();
        let descriptor = descriptor.ok_or(Error::NotFound { what: WHAT })?;
        let owner = government.owner().unwrap_or(descriptor.creator);
        let mut members = 0;
        for member in snapshot.members(space.id)? {
            let standing = snapshot.standing(space.id, &government, member.identity)?;
            members += u64::from(matches!(standing, Standing::Owner | Standing::Member));
        }
        let standing = match snapshot.standing(space.id, &government, own)? {
            Standing::Owner => CircleStanding::Owner,
            Standing::Removed => CircleStanding::Removed,
            Standing::Member | Standing::Left | Standing::Unknown => CircleStanding::Member,
        };
        Ok(Circle {
            id: space.id,
            name: descriptor.name.clone(),
            description: descriptor.description.clone(),
            creator: self.person(snapshot, descriptor.creator)?,
            owner: self.person(snapshot, owner)?,
            standing,
            closed: government.closed,
            members,
            unread: space.counts.unread,
            threads: space.counts.topics,
            entries: space.counts.entries,
            arriving: space.missing_below,
            last_activity_ms: space.last_activity,
            forks: self.forks_of(snapshot, space.id)?,
        })
    }

    /// Makes a circle of which nobody else knows.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Conflict`] where there are too many spaces.
    pub async fn create_circle(&self, name: &str, description: &str) -> Result<Circle> {
        let keys = self.0.ready()?;
        let name = checked_name(name)?;
        let description = description.trim().replace("\r\n", "\n");
        if !text::is_text(&description, DESCRIPTION_CHARS_MAX) {
            return Err(invalid(
                "description",
                &format!("expected at most {DESCRIPTION_CHARS_MAX} characters"),
            ));
        }
        let descriptor = Descriptor {
            kind: Kind::Circle,
            name,
            description,
            creator: keys.identity.id(),
            onward: false,
            salt: *files::random_seed(),
        };
        let (id, now) = (descriptor.id(), clock::now());
        let written = self
            .0
            .store
            .write(move |txn| {
                txn.create_space(&spaces::described(&descriptor, Chain::root(), now))?;
                records::bump_revs(txn)?;
                circles::begin(txn, &keys, id, now)
            })
            .await?;
        self.0.tell_ruled(&written);
        self.circle(id)
    }

    /// Everybody who is or was in a circle: the owner, then members by name, those who are invited,
    /// those who left and those who were removed. Invitations are known to who made them only.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn circle_members(&self, id: SpaceId) -> Result<Vec<CircleMember>> {
        self.0.ready()?;
        let snapshot = self.0.store.read()?;
        let (_, government) = found(&snapshot, id)?;
        let mut members = Vec::new();
        let mut known = std::collections::BTreeSet::new();
        for row in snapshot.members(id)? {
            known.insert(row.identity);
            members.push(CircleMember {
                person: self.person(&snapshot, row.identity)?,
                let_in_by: row
                    .inviter
                    .map(|inviter| self.person(&snapshot, inviter))
                    .transpose()?,
                standing: match snapshot.standing(id, &government, row.identity)? {
                    Standing::Owner => CircleStanding::Owner,
                    Standing::Left => CircleStanding::Left,
                    Standing::Removed => CircleStanding::Removed,
                    Standing::Member | Standing::Unknown => CircleStanding::Member,
                },
                entries: row.entries,
            });
        }
        let invited = records::offered_to(&snapshot, id)?.into_iter();
        let removed = government.removed();
        let others = invited
            .map(|who| (who, CircleStanding::Invited))
            .chain(removed.map(|who| (who, CircleStanding::Removed)));
        for (who, standing) in others {
            let stands = standing == CircleStanding::Removed || snapshot.invited(id, who)?;
            if stands && known.insert(who) {
                members.push(CircleMember {
                    person: self.person(&snapshot, who)?,
                    let_in_by: None,
                    standing,
                    entries: 0,
                });
            }
        }
        members.sort_by_key(|member| {
            let person = &member.person;
            (member.standing, person.name.to_lowercase(), person.id)
        });
        Ok(members)
    }

    /// Takes back an invitation into a circle that wasn't answered.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn withdraw_invitation(&self, id: SpaceId, from: IdentityId) -> Result<()> {
        self.owned_circle(id)?;
        let withdrawn = self
            .0
            .store
            .write(move |txn| circles::withdraw(txn, id, from))
            .await?;
        if !withdrawn {
            return Err(Error::NotFound {
                what: "the invitation",
            });
        }
        self.0.tell_audience();
        self.0.tell_circle(id);
        Ok(())
    }

    /// Removes somebody from a circle, for good: nothing that is written from now on reaches them,
    /// and nothing of theirs that isn't held here is taken.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotAllowed`] for who isn't the owner, [`Error::Conflict`].
    pub async fn remove_member(&self, id: SpaceId, who: IdentityId) -> Result<()> {
        let keys = self.owned_circle(id)?;
        let now = clock::now();
        let written = self
            .0
            .store
            .write(move |txn| circles::remove(txn, &keys, id, who, now))
            .await?;
        self.0.tell_ruled(&written);
        self.tell_all_feeds(id, who)
    }

    /// Feeds that a rule of ours cut: their frontiers are others now.
    fn tell_all_feeds(&self, id: SpaceId, who: IdentityId) -> Result<()> {
        let snapshot = self.0.store.read()?;
        let members = snapshot.members(id)?.into_iter();
        let member = members.filter(|member| member.identity == who);
        for device in member.flat_map(|member| member.devices) {
            self.0.tell_meetings(id, device.device, 0, None);
        }
        Ok(())
    }

    /// Closes a circle, or one of its threads, to writing, or opens it again.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotAllowed`] for who isn't the owner.
    pub async fn close_circle(
        &self,
        id: SpaceId,
        thread: Option<EntryId>,
        closed: bool,
    ) -> Result<()> {
        let keys = self.owned_circle(id)?;
        if let Some(thread) = thread {
            let row = self.0.store.read()?.topic(thread)?;
            row.filter(|row| row.space == id)
                .ok_or(Error::NotFound { what: "the thread" })?;
        }
        let now = clock::now();
        let written = self
            .0
            .store
            .write(move |txn| circles::close(txn, &keys, id, (thread, closed), now))
            .await?;
        if let Some(written) = written {
            self.0.tell_ruled(&written);
        }
        Ok(())
    }

    /// Makes another member the owner.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotAllowed`] for who isn't the owner, [`Error::Conflict`].
    pub async fn hand_over_circle(&self, id: SpaceId, to: IdentityId) -> Result<Circle> {
        let keys = self.owned_circle(id)?;
        let now = clock::now();
        let written = self
            .0
            .store
            .write(move |txn| circles::hand_over(txn, &keys, id, to, now))
            .await?;
        self.0.tell_ruled(&written);
        self.circle(id)
    }

    /// Says goodbye, as far as somebody listens, before a circle is left.
    pub(super) async fn say_goodbye(&self, id: SpaceId) -> Result<()> {
        let keys = self.0.ready()?;
        let (now, device) = (clock::now(), keys.device.id());
        let written = self
            .0
            .store
            .write(move |txn| circles::say_goodbye(txn, &keys, id, now))
            .await
            .map_err(not_allowed)?;
        if let Some(written) = written {
            self.0.tell_written(&written);
            self.0.wait_for_goodbye(id, device).await?;
        }
        Ok(())
    }

    /// The keys, where this person owns the circle.
    fn owned_circle(&self, id: SpaceId) -> Result<files::Keys> {
        let keys = self.0.ready()?;
        let snapshot = self.0.store.read()?;
        let (_, government) = found(&snapshot, id)?;
        if government.owner() == Some(keys.identity.id()) {
            Ok(keys)
        } else {
            Err(Error::NotAllowed {
                detail: "only the owner of a circle can do this".into(),
            })
        }
    }
}

/// What a rule forbids isn't the caller's to do.
pub(super) fn not_allowed(error: store::Error) -> Error {
    match error {
        store::Error::Refused(detail) => Error::NotAllowed { detail },
        other => other.into(),
    }
}

fn found(snapshot: &store::Snapshot, id: SpaceId) -> Result<(store::Space, Government)> {
    let space = snapshot
        .space(id)?
        .filter(|space| space.kind == Kind::Circle)
        .ok_or(Error::NotFound { what: WHAT })?;
    let government = circles::governed(snapshot, id)?;
    Ok((space, government))
}
