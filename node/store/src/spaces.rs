//! Spaces, the people in them, their names, and leaving a space for good.

use std::collections::BTreeMap;

use proto::{
    DeviceId, EntryId, IdentityId, Millis, SpaceId,
    admission::{Certificate, Chain},
    audience::SpaceFacts,
    body::Body,
    limits::SPACES_MAX,
    space::{Descriptor, SpaceKind},
};

use crate::{
    error::{Error, Result},
    keys::{Key, Place, Prefixed, id_at, number, number_at, u32_at},
    project::known_body,
    rows::{Counts, FeedRow, SpaceRow},
    serve::facts_of,
    tables::{Source, Table},
    txn::{Numbers, Txn},
    view::{View, decoded},
};

/// A space to be held from now on.
#[derive(Debug, Clone)]
pub struct SpaceRecord {
    /// Its id.
    pub id: SpaceId,
    /// Its kind.
    pub kind: SpaceKind,
    /// What it is; forums, blogs and circles have one.
    pub descriptor: Option<Descriptor>,
    /// The two people of a conversation; of an own space the owner twice.
    pub pair: Option<[IdentityId; 2]>,
    /// Who let us in; empty for our own spaces and for conversations.
    pub own_chain: Chain,
    /// When we joined or made it.
    pub joined: Millis,
}

/// A space as a page shows it.
#[derive(Debug, Clone)]
pub struct Space {
    /// Its id.
    pub id: SpaceId,
    /// Its kind.
    pub kind: SpaceKind,
    /// What it is; forums, blogs and circles have one.
    pub descriptor: Option<Descriptor>,
    /// The two people of a conversation; of an own space the owner twice.
    pub pair: Option<[IdentityId; 2]>,
    /// When we joined or made it.
    pub joined: Millis,
    /// How much it holds.
    pub counts: Counts,
    /// Entries that exist for sure and are missing below newer ones.
    pub missing_below: u64,
    /// Newest activity of its topics.
    pub last_activity: Option<Millis>,
}

impl Space {
    /// The other person of a conversation, the owner of an own space, else the creator.
    #[must_use]
    pub fn counterpart(&self, own: IdentityId) -> IdentityId {
        let creator = self.descriptor.as_ref().map(|known| known.creator);
        facts_of_space((self.id, self.kind), creator, self.pair, own).counterpart
    }
}

fn facts_of_space(
    (id, kind): (SpaceId, SpaceKind),
    creator: Option<IdentityId>,
    pair: Option<[IdentityId; 2]>,
    own: IdentityId,
) -> SpaceFacts {
    let counterpart = match (creator, pair) {
        (Some(creator), _) => creator,
        (None, Some([one, other])) if one == own => other,
        (None, Some([one, _])) => one,
        (None, None) => own,
    };
    SpaceFacts {
        id,
        kind,
        counterpart,
        member: false,
    }
}

fn descriptor_of(row: &SpaceRow) -> Result<Option<Descriptor>> {
    let corrupt = |_| Error::Corrupt {
        table: Table::Spaces.name(),
    };
    let bytes = row.descriptor.as_deref();
    bytes
        .map(|bytes| Descriptor::decode(bytes).map_err(corrupt))
        .transpose()
}

/// Somebody who may write in a space and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub identity: IdentityId,
    /// Who let them in; `None` for the creator and in conversations.
    pub inviter: Option<IdentityId>,
    /// Admissions from the creator.
    pub depth: u32,
    /// Entries of theirs that we hold.
    pub entries: u64,
    /// Their devices here.
    pub devices: Vec<MemberDevice>,
}

/// A device of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemberDevice {
    /// The device.
    pub device: DeviceId,
    /// Where its feed was cut by a fork.
    pub fork: Option<u64>,
    /// The last good entry of a revoked device.
    pub revoked: Option<u64>,
}

/// A feed whose author contradicted themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForkedFeed {
    /// The device.
    pub device: DeviceId,
    /// Whose it is; `None` where nothing of the feed is left.
    pub author: Option<IdentityId>,
    /// Entries before this one are kept.
    pub seq: u64,
}

/// The beginning of a device's feed: who its author is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beginning {
    /// The first entry.
    pub id: EntryId,
    /// The author's identity and device.
    pub certificate: Certificate,
    /// The author's name at that time.
    pub name: String,
    /// Who let the author in.
    pub chain: Chain,
}

impl<S: Source> View<S> {
    /// Every space, in no particular order.
    ///
    /// # Errors
    /// The database's.
    pub fn spaces(&self) -> Result<Vec<Space>> {
        let held = self.held_spaces()?.into_iter();
        held.map(|(number, row)| self.show_space(number, row))
            .collect()
    }

    /// All spaces that are held, as far as the audience rule needs them: what only pages show isn't
    /// read.
    ///
    /// # Errors
    /// The database's.
    pub fn space_facts(&self, own: IdentityId) -> Result<Vec<SpaceFacts>> {
        let held = self.held_spaces()?.into_iter();
        held.map(|(number, row)| {
            let creator = descriptor_of(&row)?.map(|known| known.creator);
            let space = (row.id, row.kind);
            let government = self.government_in(number, &row)?;
            Ok(SpaceFacts {
                member: government.is_some_and(|government| !government.is_removed(own)),
                ..facts_of_space(space, creator, row.pair, own)
            })
        })
        .collect()
    }

    fn held_spaces(&self) -> Result<Vec<(u32, SpaceRow)>> {
        let range = Prefixed::new(Key::new());
        let mut held = Vec::new();
        for row in self.0.rows(Table::Spaces, range.bounds())? {
            let (key, value) = row?;
            let number = u32_at(key.value(), 0);
            // One that is being left has lost its number.
            let row: SpaceRow = decoded(&value)?;
            if self.space_number(row.id)? == Some(number) {
                held.push((number, row));
            }
        }
        Ok(held)
    }

    /// One space; `None` where it isn't held.
    ///
    /// # Errors
    /// The database's.
    pub fn space(&self, id: SpaceId) -> Result<Option<Space>> {
        let Some(number) = self.space_number(id)? else {
            return Ok(None);
        };
        let row = self.space_row(number)?;
        self.show_space(number, row).map(Some)
    }

    fn show_space(&self, number: u32, row: SpaceRow) -> Result<Space> {
        let activity = Prefixed::new(Key::new().u32(number));
        let newest = self
            .0
            .rows(Table::Activity, activity.bounds())?
            .next_back()
            .transpose()?;
        Ok(Space {
            id: row.id,
            kind: row.kind,
            descriptor: descriptor_of(&row)?,
            pair: row.pair,
            joined: row.joined,
            counts: self.counts_row(number)?,
            missing_below: self.missing_in(number)?,
            last_activity: newest.map(|(key, _)| Millis(number_at(key.value(), 4, 6))),
        })
    }

    /// Our own chain of admissions in a space. Costs a check of a signature for each admission.
    ///
    /// # Errors
    /// [`Error::UnknownSpace`], the database's.
    pub fn own_chain(&self, space: SpaceId) -> Result<Chain> {
        let row = self.space_row(self.known_space(space)?)?;
        Chain::decode(&row.chain).map_err(|_| Error::Corrupt {
            table: Table::Spaces.name(),
        })
    }

    /// Everybody who wrote in a space, by identity.
    ///
    /// # Errors
    /// The database's.
    pub fn members(&self, space: SpaceId) -> Result<Vec<Member>> {
        let Some(space) = self.space_number(space)? else {
            return Ok(Vec::new());
        };
        let range = Prefixed::new(Key::new().u32(space));
        let mut members: BTreeMap<IdentityId, Member> = BTreeMap::new();
        for row in self.0.rows(Table::Authors, range.bounds())? {
            let (key, value) = row?;
            let identity = IdentityId(id_at(key.value(), 4));
            let feed = self.known_feed(u32_at(key.value(), 36))?;
            let depth = u32::from(value.value().get(1).copied().unwrap_or(0));
            let inviter = (depth > 0).then(|| IdentityId(id_at(value.value(), 2)));
            let member = members.entry(identity).or_insert_with(|| Member {
                identity,
                inviter,
                depth,
                entries: 0,
                devices: Vec::new(),
            });
            // Devices may show different chains: the shortest counts, for everybody the same.
            if (depth, inviter) < (member.depth, member.inviter) {
                (member.depth, member.inviter) = (depth, inviter);
            }
            member.entries += feed.entries();
            let facts = facts_of(&feed);
            member.devices.push(MemberDevice {
                device: feed.device,
                fork: facts.fork.map(|fork| fork.seq),
                revoked: facts.revoked.map(|last| last.seq),
            });
        }
        for member in members.values_mut() {
            member.devices.sort_unstable();
        }
        Ok(members.into_values().collect())
    }

    /// Who wrote a device's feed and how they came in; `None` where nothing of it is held.
    ///
    /// # Errors
    /// The database's.
    pub fn beginning(&self, space: SpaceId, device: DeviceId) -> Result<Option<Beginning>> {
        let Some((feed, row)) = self.find_feed(space, device)? else {
            return Ok(None);
        };
        let Some(entry) = self.entry_at(space, feed, &row, 0)? else {
            return Ok(None);
        };
        let Some(Body::Genesis(genesis)) = entry.body.as_deref().and_then(known_body) else {
            return Ok(None);
        };
        Ok(Some(Beginning {
            id: entry.id,
            certificate: genesis.certificate,
            name: genesis.name.to_owned(),
            chain: genesis.chain,
        }))
    }

    /// Feeds of a space that forked and were not revoked.
    ///
    /// # Errors
    /// The database's.
    pub fn forks(&self, space: SpaceId) -> Result<Vec<ForkedFeed>> {
        let Some(space) = self.space_number(space)? else {
            return Ok(Vec::new());
        };
        let all = Prefixed::new(Key::new());
        let mut forks = Vec::new();
        for row in self.0.rows(Table::Forks, all.bounds())? {
            let Some(feed) = self.feed_row(u32_at(row?.0.value(), 0))? else {
                continue;
            };
            if let Some(fork) = facts_of(&feed).fork.filter(|_| feed.space == space) {
                forks.push(ForkedFeed {
                    device: feed.device,
                    author: feed.author,
                    seq: fork.seq,
                });
            }
        }
        Ok(forks)
    }

    /// The name that a person gave themselves, by the newest word of theirs that we hold.
    ///
    /// # Errors
    /// The database's.
    pub fn name(&self, identity: IdentityId) -> Result<Option<String>> {
        let range = Prefixed::new(Key::new().bytes(&identity.0));
        // In one feed the later entry counts; between feeds the claimed times do.
        let mut newest: Option<(u32, u64, String)> = None;
        let mut best: Option<(u64, String)> = None;
        let mut take = |candidate: Option<(u32, u64, String)>| {
            if let Some((_, created, name)) = candidate
                && best
                    .as_ref()
                    .is_none_or(|(known, known_name)| (*known, known_name) < (created, &name))
            {
                best = Some((created, name));
            }
        };
        for row in self.0.rows(Table::Names, range.bounds())? {
            let (key, value) = row?;
            let feed = u32_at(key.value(), 32);
            let name = value.value().get(9..).unwrap_or_default();
            let row = (
                feed,
                number(value.value().get(1..9).unwrap_or_default()),
                String::from_utf8_lossy(name).into_owned(),
            );
            if newest.as_ref().is_some_and(|(known, _, _)| *known != feed) {
                take(newest.take());
            }
            newest = Some(row);
        }
        take(newest);
        Ok(best.map(|(_, name)| name))
    }

    /// Entries of a feed of ours that a person was seen to hold, from the first.
    ///
    /// # Errors
    /// The database's.
    pub fn acknowledged(&self, space: SpaceId, contact: IdentityId) -> Result<u64> {
        let Some(space) = self.space_number(space)? else {
            return Ok(0);
        };
        let key = Key::new().u32(space).bytes(&contact.0);
        Ok(self
            .0
            .with(Table::Acknowledged, key.as_slice(), number)?
            .unwrap_or(0))
    }
}

impl Txn<'_> {
    /// Begins to hold a space.
    ///
    /// # Errors
    /// [`Error::SpaceExists`], [`Error::TooManySpaces`], the database's.
    pub fn create_space(&mut self, space: &SpaceRecord) -> Result<()> {
        if self.space_number(space.id)?.is_some() {
            return Err(Error::SpaceExists);
        }
        let found = self.collect(Table::SpaceNumbers, Key::new())?.len();
        if found >= SPACES_MAX {
            return Err(Error::TooManySpaces {
                found,
                max: SPACES_MAX,
            });
        }
        let number = self.next_number(Numbers::Space)?;
        let row = SpaceRow {
            id: space.id,
            kind: space.kind,
            descriptor: space.descriptor.as_ref().map(Descriptor::encode),
            pair: space.pair,
            chain: space.own_chain.encode(),
            joined: space.joined,
        };
        crate::serve::context_of(&row)?;
        self.put_row(&number.to_be_bytes(), &row)?;
        self.put(Table::SpaceNumbers, &space.id.0, &number.to_be_bytes())
    }

    /// Stops holding a space: at once nothing of it is found any more, and its rows are deleted,
    /// a large space's in later transactions between other changes (also after a restart).
    ///
    /// # Errors
    /// [`Error::UnknownSpace`], the database's.
    pub fn leave_space(&mut self, space: SpaceId) -> Result<()> {
        let number = self.known_space(space)?;
        self.note_removed()?;
        self.remove(Table::SpaceNumbers, &space.0)?;
        self.give_back(number)?;
        self.put(Table::Leaving, &number.to_be_bytes(), &[])?;
        self.sweep(LEAVE_ROWS_AT_ONCE)
    }

    /// Sets a person's name as their contact card gives it.
    ///
    /// # Errors
    /// The database's.
    pub fn set_name(&mut self, identity: IdentityId, name: &str, at: Millis) -> Result<()> {
        let place = Place { feed: 0, seq: 0 };
        let mut value = vec![1];
        value.extend_from_slice(&at.0.to_be_bytes());
        value.extend_from_slice(name.as_bytes());
        let key = crate::project::name_key(identity, place);
        self.put(Table::Names, key.as_slice(), &value)
    }

    /// Forgets the name of a contact card; names from entries stay.
    ///
    /// # Errors
    /// The database's.
    pub fn forget_name(&mut self, identity: IdentityId) -> Result<()> {
        let key = crate::project::name_key(identity, Place { feed: 0, seq: 0 });
        self.remove(Table::Names, key.as_slice()).map(drop)
    }

    /// Notes how many entries of our feed a person holds: those are delivered now. It only rises: true
    /// where it rose.
    ///
    /// # Errors
    /// [`Error::UnknownSpace`], the database's.
    pub fn acknowledge(
        &mut self,
        space: SpaceId,
        contact: IdentityId,
        entries: u64,
        now: Millis,
    ) -> Result<bool> {
        let known = self.acknowledged(space, contact)?;
        if entries <= known {
            return Ok(false);
        }
        let number = self.known_space(space)?;
        let key = Key::new().u32(number).bytes(&contact.0);
        self.put(Table::Acknowledged, key.as_slice(), &entries.to_be_bytes())?;
        self.start_delivered_between(number, (known, entries), now)?;
        Ok(true)
    }

    /// Deletes up to about `rows` rows of spaces that were left.
    pub(crate) fn sweep(&mut self, mut rows: usize) -> Result<()> {
        for (key, _) in self.collect(Table::Leaving, Key::new())? {
            let space = u32_at(&key, 0);
            rows = rows.saturating_sub(self.sweep_space(space, rows)?);
            if rows == 0 {
                return Ok(());
            }
        }
        Ok(())
    }

    fn sweep_space(&mut self, space: u32, rows: usize) -> Result<usize> {
        let mut done = self.sweep_feeds(space, rows)?;
        if done < rows {
            done += self.sweep_topics(space, rows - done)?;
        }
        if done < rows {
            done += self.forget_timers(space, rows - done)?;
        }
        for table in BY_SPACE {
            if done < rows {
                done += self.remove_all(*table, Key::new().u32(space), rows - done)?;
            }
        }
        if done < rows {
            if let Ok(row) = self.space_row(space) {
                self.forget_space_records(row.id)?;
            }
            self.remove(Table::Spaces, &space.to_be_bytes())?;
            self.remove(Table::SpaceCounts, &space.to_be_bytes())?;
            self.remove(Table::Leaving, &space.to_be_bytes())?;
        }
        Ok(done)
    }

    /// Deletes feeds with their entries, index rows and names, newest entries first.
    fn sweep_feeds(&mut self, space: u32, rows: usize) -> Result<usize> {
        let mut done = 0;
        let range = Prefixed::new(Key::new().u32(space));
        while done < rows {
            let first = self
                .0
                .rows(Table::FeedNumbers, range.bounds())?
                .next()
                .transpose()?
                .map(|(key, value)| (key.value().to_vec(), u32_at(value.value(), 0)));
            let Some((key, feed)) = first else {
                break;
            };
            let Some(row) = self.feed_row(feed)? else {
                self.remove(Table::FeedNumbers, &key)?;
                continue;
            };
            done += self.sweep_feed(feed, row, rows - done)?;
            if self.feed_row(feed)?.is_none() {
                self.remove(Table::FeedNumbers, &key)?;
            }
        }
        Ok(done)
    }

    fn sweep_feed(&mut self, feed: u32, mut row: FeedRow, rows: usize) -> Result<usize> {
        let id = self.space_row(row.space)?.id;
        let mut done = 0;
        while row.entries() > 0 && done < rows {
            let end = row.tail.map_or(row.head.next, |tail| tail.facts.next);
            let Some(segment) = self.segment(feed, end.saturating_sub(1))? else {
                break;
            };
            let entries: Vec<(u64, EntryId)> = segment
                .run()?
                .headers(id, row.device)
                .map(|(id, header)| (header.seq, id))
                .collect();
            for (seq, id) in &entries {
                let place = Place { feed, seq: *seq };
                if self.indexed(id)?.is_some_and(|known| known.place == place) {
                    self.remove_indexed(id)?;
                }
                if let Some(author) = row.author {
                    let key = crate::project::name_key(author, place);
                    self.remove(Table::Names, key.as_slice())?;
                }
            }
            self.cut_segment(feed, &segment, segment.first)?;
            done += entries.len();
            match &mut row.tail {
                Some(tail) if segment.first > tail.facts.start => tail.facts.next = segment.first,
                Some(_) => row.tail = None,
                None => row.head.next = segment.first,
            }
        }
        for table in [
            Table::Holes,
            Table::Gone,
            Table::Covers,
            Table::Wishes,
            Table::Reads,
        ] {
            done += self.remove_all(table, Key::new().u32(feed), rows.saturating_sub(done))?;
        }
        if row.entries() == 0 && done < rows {
            self.remove(Table::Forks, &feed.to_be_bytes())?;
            self.remove(Table::Feeds, &feed.to_be_bytes())?;
            return Ok(done + 1);
        }
        self.put_row(&feed.to_be_bytes(), &row)?;
        Ok(done.max(1))
    }

    fn sweep_topics(&mut self, space: u32, rows: usize) -> Result<usize> {
        let mut done = 0;
        while done < rows {
            let range = Prefixed::new(Key::new().u32(space));
            let first = self
                .0
                .rows(Table::Activity, range.bounds())?
                .next()
                .transpose()?
                .map(|(key, _)| key.value().to_vec());
            let Some(activity) = first else {
                break;
            };
            let topic = u32_at(&activity, 10);
            let row = self.known_topic(topic)?;
            let items = self.some_items(topic, rows - done)?;
            done += items.len() + 1;
            for key in &items {
                self.remove_item(key)?;
            }
            if done < rows || items.is_empty() {
                self.remove(Table::Activity, &activity)?;
                self.remove(Table::Topics, &topic.to_be_bytes())?;
                let key = crate::work::root_key(row.root, space);
                self.remove(Table::Roots, key.as_slice())?;
            }
        }
        Ok(done)
    }

    fn some_items(&self, topic: u32, limit: usize) -> Result<Vec<[u8; crate::tables::ITEM_KEY]>> {
        let low = crate::keys::ItemKey::lowest(topic);
        let high = crate::keys::ItemKey::highest(topic);
        self.0
            .item_rows(crate::keys::item_bounds(&low, &high))?
            .take(limit)
            .map(|row| Ok(*row?.0.value()))
            .collect()
    }

    /// Forgets what is noted of a space under its id.
    fn forget_space_records(&mut self, space: SpaceId) -> Result<()> {
        if self.space_number(space)?.is_some() {
            // Joined again meanwhile.
            return Ok(());
        }
        self.remove_all(Table::Exclusions, Key::new().bytes(&space.0), usize::MAX)?;
        for (key, _) in self.collect(Table::OffersOut, Key::new())? {
            if key.get(32..) == Some(space.0.as_slice()) {
                self.remove(Table::OffersOut, &key)?;
            }
        }
        for (identity, mut contact) in self.contacts()? {
            if contact
                .devices
                .values()
                .any(|device| device.agreed.contains(&space))
            {
                for device in contact.devices.values_mut() {
                    device.agreed.remove(&space);
                }
                self.put_kept(&identity, &contact)?;
            }
        }
        Ok(())
    }
}

/// Rows of a left space that are deleted in the transaction that leaves it.
const LEAVE_ROWS_AT_ONCE: usize = 10_000;

/// Tables whose keys begin with the space's number, beside those of feeds and topics.
const BY_SPACE: &[Table] = &[
    Table::Revocations,
    Table::Rules,
    Table::Tree,
    Table::Relations,
    Table::Orphans,
    Table::Waiting,
    Table::Authors,
    Table::Edges,
    Table::Branches,
    Table::Acknowledged,
    Table::Gaps,
    Table::Forgotten,
];
