//! Forums, blogs and offers as wholes: making, offering, accepting, leaving, listing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use proto::{
    IdentityId, SpaceId,
    admission::Chain,
    limits::DESCRIPTION_CHARS_MAX,
    space::{Descriptor, SpaceKind as Kind},
    text,
};

use super::{Node, circles::not_allowed, page_of, start::checked_name};
use crate::{
    Error, Result, circles, clock,
    error::invalid,
    event::EventKind,
    events::About,
    files,
    inner::Inner,
    intake::entry_event,
    records::{self, ContactState, OfferState},
    spaces::{self, Written},
    view::{Blog, Fork, Forum, Member, Offer, Page, PageQuery, SpaceKind},
};

impl Inner {
    /// Tells pages, tools and meetings of an own entry.
    pub(crate) fn tell_written(self: &Arc<Self>, written: &Written) {
        let first = written.entries.first().map_or(0, |entry| entry.seq);
        self.tell_meetings(written.space, written.device, first, None);
        // It may be a message to somebody who is out of reach.
        self.tell_letters();
        let events = written.entries.iter();
        self.events
            .emit_all(events.filter_map(|entry| entry_event(written.space, entry)));
    }
}

impl Node {
    /// Forums by name.
    ///
    /// # Errors
    /// [`Error::NotSetUp`], [`Error::Invalid`] for a bad cursor.
    pub fn forums(&self, query: &PageQuery) -> Result<Page<Forum>> {
        self.0.ready()?;
        let snapshot = self.0.store.read()?;
        let mut forums = Vec::new();
        for space in snapshot
            .spaces()?
            .iter()
            .filter(|space| space.kind == Kind::Forum)
        {
            forums.push(self.shown_forum(&snapshot, space)?);
        }
        forums.sort_by_key(|forum| (forum.name.to_lowercase(), forum.id));
        page_of(forums, query)
    }

    /// One forum.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn forum(&self, id: SpaceId) -> Result<Forum> {
        self.0.ready()?;
        let snapshot = self.0.store.read()?;
        let space = snapshot
            .space(id)?
            .filter(|space| space.kind == Kind::Forum);
        self.shown_forum(
            &snapshot,
            &space.ok_or(Error::NotFound { what: "the forum" })?,
        )
    }

    fn shown_forum(&self, snapshot: &store::Snapshot, space: &store::Space) -> Result<Forum> {
        let descriptor = space
            .descriptor
            .as_ref()
            .ok_or(Error::NotFound { what: "the forum" })?;
        let forks = self.forks_of(snapshot, space.id)?;
        Ok(Forum {
            id: space.id,
            name: descriptor.name.clone(),
            description: descriptor.description.clone(),
            creator: self.person(snapshot, descriptor.creator)?,
            unread: space.counts.unread,
            threads: space.counts.topics,
            entries: space.counts.entries,
            arriving: space.missing_below,
            last_activity_ms: space.last_activity,
            forks,
        })
    }

    /// Feeds of a space whose authors contradicted themselves.
    pub(super) fn forks_of(&self, snapshot: &store::Snapshot, space: SpaceId) -> Result<Vec<Fork>> {
        let mut forks = Vec::new();
        for fork in snapshot.forks(space)? {
            if let Some(author) = fork.author {
                forks.push(Fork {
                    author: self.person(snapshot, author)?,
                    device: fork.device,
                    seq: fork.seq,
                });
            }
        }
        Ok(forks)
    }

    /// Makes a forum that nobody else knows of.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Conflict`] where there are too many spaces.
    pub async fn create_forum(&self, name: &str, description: &str) -> Result<Forum> {
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
            kind: Kind::Forum,
            name,
            description,
            creator: keys.identity.id(),
            onward: true,
            salt: *files::random_seed(),
        };
        let (id, now) = (descriptor.id(), clock::now());
        self.0
            .store
            .write(move |txn| {
                txn.create_space(&spaces::described(&descriptor, Chain::root(), now))?;
                records::bump_revs(txn)
            })
            .await?;
        self.0.tell_audience();
        self.0.events.emit(
            EventKind::Sync,
            About {
                space: Some(id),
                ..About::default()
            },
        );
        self.forum(id)
    }

    /// Who is in a forum or blog and who let them in, creator first, depth first; then contacts
    /// who were offered it and haven't answered.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn members(&self, id: SpaceId) -> Result<Vec<Member>> {
        let keys = self.0.ready()?;
        let snapshot = self.0.store.read()?;
        let space = snapshot
            .space(id)?
            .filter(|space| space.descriptor.is_some());
        let space = space.ok_or(Error::NotFound { what: "the space" })?;
        let creator = space
            .descriptor
            .as_ref()
            .map_or(keys.identity.id(), |descriptor| descriptor.creator);
        let rows = tree(&snapshot, id, creator)?;
        let mut members = Vec::new();
        let mut open = vec![creator];
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            if let Some(row) = rows.get(&id) {
                members.push(self.shown_member(&snapshot, row)?);
            }
            let invited = rows.values().filter(|row| row.inviter == Some(id));
            open.extend(invited.map(|row| row.identity));
        }
        let own = self.person(&snapshot, keys.identity.id())?;
        let depth = snapshot.own_chain(id)?.admissions().len();
        for contact in records::offered_to(&snapshot, id)? {
            if !rows.contains_key(&contact) {
                members.push(Member {
                    person: self.person(&snapshot, contact)?,
                    admitted_by: Some(own.clone()),
                    depth: u32::try_from(depth).unwrap_or(u32::MAX).saturating_add(1),
                    entries: 0,
                    offered: true,
                });
            }
        }
        Ok(members)
    }

    fn shown_member(&self, snapshot: &store::Snapshot, row: &store::Member) -> Result<Member> {
        Ok(Member {
            person: self.person(snapshot, row.identity)?,
            admitted_by: row
                .inviter
                .map(|inviter| self.person(snapshot, inviter))
                .transpose()?,
            depth: row.depth,
            entries: row.entries,
            offered: false,
        })
    }

    /// Offers a forum or a blog to a contact, or invites them into an own circle. Offering again does no
    /// harm.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotAllowed`] where its owner forbids it.
    pub async fn offer(&self, id: SpaceId, contact: IdentityId) -> Result<()> {
        let keys = self.0.ready()?;
        {
            let snapshot = self.0.store.read()?;
            let space = snapshot
                .space(id)?
                .ok_or(Error::NotFound { what: "the space" })?;
            let descriptor = space.descriptor.as_ref().ok_or_else(|| Error::NotAllowed {
                detail: "a conversation can't be offered".into(),
            })?;
            if descriptor.kind == Kind::Circle {
                circles::check_invitation(&snapshot, &keys, id, contact).map_err(not_allowed)?;
            } else if !descriptor.onward && descriptor.creator != keys.identity.id() {
                return Err(Error::NotAllowed {
                    detail: "its owner doesn't want it to be offered on".into(),
                });
            }
            let row = snapshot
                .contact(&contact)?
                .filter(|row| row.state == ContactState::Ready);
            row.ok_or(Error::NotFound {
                what: "the contact",
            })?;
        }
        self.0
            .store
            .write(move |txn| spaces::offer(txn, &keys, id, contact))
            .await?;
        self.0.tell_audience();
        self.0.events.emit(
            EventKind::Offer,
            About {
                space: Some(id),
                contact: Some(contact),
                ..About::default()
            },
        );
        Ok(())
    }

    /// Offers that wait for our answer, oldest first.
    ///
    /// # Errors
    /// [`Error::NotSetUp`].
    pub fn offers(&self) -> Result<Vec<Offer>> {
        self.0.ready()?;
        let snapshot = self.0.store.read()?;
        let mut offers = Vec::new();
        for (id, row) in snapshot
            .offers_in()?
            .into_iter()
            .filter(|(_, row)| row.state == OfferState::Waiting)
        {
            let Ok(descriptor) = Descriptor::decode(&row.descriptor) else {
                continue;
            };
            offers.push(Offer {
                id,
                space: descriptor.id(),
                kind: match descriptor.kind {
                    Kind::Blog => SpaceKind::Blog,
                    Kind::Circle => SpaceKind::Circle,
                    _ => SpaceKind::Forum,
                },
                name: descriptor.name,
                description: descriptor.description,
                creator: self.person(&snapshot, descriptor.creator)?,
                from: self.person(&snapshot, row.from)?,
                received_ms: row.received,
            });
        }
        offers.sort_by_key(|offer| (offer.received_ms, offer.id.clone()));
        Ok(offers)
    }

    /// Takes an offered space; its content follows when a contact who has it is met.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Conflict`] where there are too many spaces.
    pub async fn accept_offer(&self, id: &str) -> Result<SpaceId> {
        let keys = self.0.ready()?;
        let (id, now) = (id.to_owned(), clock::now());
        let accepted = self
            .0
            .store
            .write(move |txn| spaces::accept(txn, &keys, &id, now))
            .await?;
        let (space, from) = accepted.ok_or(Error::NotFound { what: "the offer" })?;
        self.0.tell_audience();
        self.0.events.emit(
            EventKind::Offer,
            About {
                space: Some(space),
                contact: Some(from),
                ..About::default()
            },
        );
        Ok(space)
    }

    /// Says no to an offer. The other side isn't told; it may offer again.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn decline_offer(&self, id: &str) -> Result<()> {
        self.0.ready()?;
        let row_id = id.to_owned();
        let declined = self
            .0
            .store
            .write(move |txn| {
                let Some(mut row) = txn
                    .offer_in(&row_id)?
                    .filter(|row| row.state == OfferState::Waiting)
                else {
                    return Ok(false);
                };
                row.state = OfferState::Declined;
                txn.put_offer_in(&row_id, &row)?;
                Ok(true)
            })
            .await?;
        if !declined {
            return Err(Error::NotFound { what: "the offer" });
        }
        self.0.events.emit(
            EventKind::Offer,
            About {
                subject: Some(id.to_owned()),
                ..About::default()
            },
        );
        Ok(())
    }

    /// Leaves a forum, a circle or somebody's blog: its content is deleted here. A circle's members
    /// are told, as far as one of them is connected.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotAllowed`] for the own blog and for conversations.
    pub async fn leave(&self, id: SpaceId) -> Result<()> {
        let keys = self.0.ready()?;
        let mut circle = false;
        {
            let snapshot = self.0.store.read()?;
            let space = snapshot
                .space(id)?
                .ok_or(Error::NotFound { what: "the space" })?;
            let own_blog =
                spaces::own_blog(&snapshot, keys.identity.id())?.is_some_and(|blog| blog.id == id);
            match space.kind {
                Kind::Circle => circle = true,
                Kind::Blog if own_blog => {
                    return Err(Error::NotAllowed {
                        detail: "your own blog can't be left".into(),
                    });
                }
                Kind::Conversation => {
                    return Err(Error::NotAllowed {
                        detail: "a conversation ends with its contact: remove the contact".into(),
                    });
                }
                _ => {}
            }
        }
        if circle {
            self.say_goodbye(id).await?;
        }
        let now = clock::now();
        self.0
            .store
            .write(move |txn| spaces::leave(txn, keys.device.id(), id, now))
            .await?;
        self.0.tell_audience();
        self.0.events.emit(
            EventKind::Sync,
            About {
                space: Some(id),
                ..About::default()
            },
        );
        Ok(())
    }

    /// Blogs: the own one first, then by name.
    ///
    /// # Errors
    /// [`Error::NotSetUp`], [`Error::Invalid`] for a bad cursor.
    pub fn blogs(&self, query: &PageQuery) -> Result<Page<Blog>> {
        self.0.ready()?;
        let snapshot = self.0.store.read()?;
        let mut blogs = Vec::new();
        for space in snapshot
            .spaces()?
            .iter()
            .filter(|space| space.kind == Kind::Blog)
        {
            blogs.push(self.shown_blog(&snapshot, space)?);
        }
        blogs.sort_by_key(|blog| (!blog.own, blog.name.to_lowercase(), blog.id));
        page_of(blogs, query)
    }

    /// One blog.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn blog(&self, id: SpaceId) -> Result<Blog> {
        self.0.ready()?;
        let snapshot = self.0.store.read()?;
        let space = snapshot.space(id)?.filter(|space| space.kind == Kind::Blog);
        self.shown_blog(
            &snapshot,
            &space.ok_or(Error::NotFound { what: "the blog" })?,
        )
    }

    fn shown_blog(&self, snapshot: &store::Snapshot, space: &store::Space) -> Result<Blog> {
        let descriptor = space
            .descriptor
            .as_ref()
            .ok_or(Error::NotFound { what: "the blog" })?;
        let author = self.person(snapshot, descriptor.creator)?;
        let own = self
            .0
            .keys()
            .is_some_and(|keys| keys.identity.id() == descriptor.creator);
        Ok(Blog {
            id: space.id,
            name: author.name.clone(),
            author,
            own,
            unread: space.counts.unread,
            articles: space.counts.topics,
            arriving: space.missing_below,
            last_activity_ms: space.last_activity,
        })
    }
}

/// Everybody who wrote, and those between them and the creator who let others in without writing.
fn tree(
    snapshot: &store::Snapshot,
    space: SpaceId,
    creator: IdentityId,
) -> Result<BTreeMap<IdentityId, store::Member>> {
    let silent = |identity, inviter, depth| store::Member {
        identity,
        inviter,
        depth,
        entries: 0,
        devices: Vec::new(),
    };
    let written = snapshot.members(space)?;
    let mut rows: BTreeMap<_, _> = written.into_iter().map(|row| (row.identity, row)).collect();
    rows.entry(creator)
        .or_insert_with(|| silent(creator, None, 0));
    let missing: Vec<store::Member> = rows
        .values()
        .filter(|row| row.inviter.is_some_and(|by| !rows.contains_key(&by)))
        .cloned()
        .collect();
    for row in missing {
        let Some(store::MemberDevice { device, .. }) = row.devices.first() else {
            continue;
        };
        let beginning = snapshot.beginning(space, *device)?;
        let chain = beginning
            .map(|beginning| beginning.chain)
            .unwrap_or_default();
        for (depth, admission) in (1..).zip(chain.admissions()) {
            rows.entry(admission.invitee).or_insert_with(|| {
                silent(admission.invitee, Some(admission.inviter.identity), depth)
            });
        }
    }
    Ok(rows)
}
