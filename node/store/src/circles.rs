//! Circles: the rules that are held, who governs by them, who is a member, and what rules do to
//! feeds.
//!
//! Rules are rows by person, so that who owns a circle is found by looking at the owners' alone,
//! however many others there are. What follows from them is computed anew whenever one comes or
//! goes, so it is the same in whatever order they came. Enter at [`View::government`].

use proto::{
    DeviceId, EntryId, IdentityId, SpaceId,
    admission::Chain,
    body::{
        Body, Rule,
        rule::{Action, Remains, Removal},
    },
    circle::{First, Government, Held},
    limits::CHECKPOINT_ENTRIES,
    space::SpaceKind,
    verify::{LastGood, Reject, removal_of},
};

use crate::{
    ends::Doubt,
    error::{Error, ImportError, Result},
    keys::{Key, Place, Prefixed, id_at, number_at, u32_at},
    project::known_body,
    rows::{FeedRow, SpaceRow},
    serve::vouched,
    tables::{Source, Table},
    txn::Txn,
    view::View,
    work::{Work, creator_of},
};

/// A person's own word: that they leave, or are back.
const MEMBERS: u8 = 0;
/// What owners decide, and others who may have been.
const OWNERS: u8 = 1;
/// Cutting feeds may cut off rules, which may change what is cut: so often at most. An owner's rules
/// rest on those of the owners before, so more than a few rounds need as many forked owners.
const ROUNDS_MAX: usize = 8;
/// Version, whether the entry is held, id.
const HEAD: usize = 1 + 1 + 32;

/// What somebody is in a circle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Owns it.
    Owner,
    /// Is in it.
    Member,
    /// Left.
    Left,
    /// Was removed.
    Removed,
    /// Nothing of theirs is held.
    Unknown,
}

fn rule_key(space: u32, class: u8, author: IdentityId) -> Key {
    Key::new().u32(space).u8(class).bytes(&author.0)
}

const fn class_of(rule: &Rule) -> u8 {
    if rule.is_members() { MEMBERS } else { OWNERS }
}

fn row(is_held: bool, id: EntryId, body: &[u8]) -> Vec<u8> {
    let mut value = vec![1, u8::from(is_held)];
    value.extend_from_slice(&id.0);
    value.extend_from_slice(body);
    value
}

/// What a row says; `None` where it can't be read.
fn held_of(key: &[u8], value: &[u8]) -> Option<Held> {
    let is_held = value.get(1) == Some(&1);
    let Some(Body::Rule(rule)) = value.get(HEAD..).and_then(known_body) else {
        return None;
    };
    Some(Held {
        author: IdentityId(id_at(key, 5)),
        device: DeviceId(id_at(key, 37)),
        seq: number_at(key, 69, 8),
        id: is_held.then(|| EntryId(id_at(value, 2))),
        rule: *rule,
    })
}

impl<S: Source> View<S> {
    /// Who governs a circle and what was decided; `None` for other spaces.
    ///
    /// # Errors
    /// The database's.
    pub fn government(&self, space: SpaceId) -> Result<Option<Government>> {
        let Some(number) = self.space_number(space)? else {
            return Ok(None);
        };
        let row = self.space_row(number)?;
        self.government_in(number, &row)
    }

    pub(crate) fn government_in(&self, number: u32, row: &SpaceRow) -> Result<Option<Government>> {
        if row.kind != SpaceKind::Circle {
            return Ok(None);
        }
        let Some(creator) = creator_of(&crate::serve::context_of(row)?) else {
            return Ok(None);
        };
        let rules = |of| self.rules_by(number, of);
        Government::fold(row.id, creator, rules).map(Some)
    }

    fn rules_by(&self, space: u32, author: IdentityId) -> Result<Vec<Held>> {
        let range = Prefixed::new(rule_key(space, OWNERS, author));
        let mut rules: Vec<Held> = Vec::new();
        let mut first = First::default();
        for row in self.0.rows(Table::Rules, range.bounds())? {
            let (key, value) = row?;
            let held = held_of(key.value(), value.value()).ok_or(Error::Corrupt {
                table: Table::Rules.name(),
            })?;
            if rules.last().is_none_or(|last| last.device != held.device) {
                first = First::default();
            }
            if first.takes(&held.rule) {
                rules.push(held);
            }
        }
        Ok(rules)
    }

    /// What somebody is in a circle, by what is held.
    ///
    /// # Errors
    /// [`Error::UnknownSpace`], the database's.
    pub fn standing(
        &self,
        space: SpaceId,
        government: &Government,
        identity: IdentityId,
    ) -> Result<Standing> {
        let number = self.known_space(space)?;
        if government.is_removed(identity) {
            return Ok(Standing::Removed);
        }
        if government.owner() == Some(identity) {
            return Ok(Standing::Owner);
        }
        let prefix = Key::new().u32(number).bytes(&identity.0);
        let feeds = self.collect(Table::Authors, prefix)?;
        for (key, _) in &feeds {
            let device = self.known_feed(u32_at(key, 36))?.device;
            if self.said_last(number, identity, device)? == Some(Action::Leave) {
                return Ok(Standing::Left);
            }
        }
        Ok(if feeds.is_empty() {
            Standing::Unknown
        } else {
            Standing::Member
        })
    }

    /// The last of a member's own words in a feed.
    fn said_last(
        &self,
        space: u32,
        identity: IdentityId,
        device: DeviceId,
    ) -> Result<Option<Action>> {
        let range = Prefixed::new(rule_key(space, MEMBERS, identity).bytes(&device.0));
        let last = self.0.rows(Table::Rules, range.bounds())?.next_back();
        let Some((key, value)) = last.transpose()? else {
            return Ok(None);
        };
        Ok(held_of(key.value(), value.value()).map(|held| held.rule.action))
    }

    /// Whether a person may have a circle: who is in it, whom we invited, and who let us in.
    ///
    /// # Errors
    /// The database's.
    pub fn is_in_circle(&self, space: SpaceId, identity: IdentityId) -> Result<bool> {
        match self.government(space)? {
            Some(government) => self.may_have_circle(space, &government, identity),
            None => Ok(false),
        }
    }

    /// The same, where it is known who governs.
    ///
    /// # Errors
    /// [`Error::UnknownSpace`], the database's.
    pub fn may_have_circle(
        &self,
        space: SpaceId,
        government: &Government,
        identity: IdentityId,
    ) -> Result<bool> {
        Ok(match self.standing(space, government, identity)? {
            Standing::Owner | Standing::Member => true,
            Standing::Removed => false,
            // One who left and is invited again is as good as one who never was here.
            Standing::Left => self.invited(space, identity)?,
            Standing::Unknown => {
                self.invited(space, identity)?
                    || self
                        .own_chain(space)?
                        .admissions()
                        .iter()
                        .any(|admission| admission.inviter.identity == identity)
            }
        })
    }

    /// Whether an invitation of ours stands.
    ///
    /// # Errors
    /// The database's.
    pub fn invited(&self, space: SpaceId, identity: IdentityId) -> Result<bool> {
        let offer = self.offer_out(&(identity, space))?;
        Ok(offer.is_some_and(|offer| removal_of(&offer.chain).is_none()))
    }

    /// The last entry of a feed that its device signed, above a gap too.
    ///
    /// # Errors
    /// The database's.
    pub fn last_signed(&self, space: SpaceId, device: DeviceId) -> Result<Option<Remains>> {
        let Some((feed, row)) = self.find_feed(space, device)? else {
            return Ok(None);
        };
        let (start, end) = row.tail.map_or((0, row.head.next), |tail| {
            (tail.facts.start, tail.facts.next)
        });
        // Between two checkpoints there are no more.
        let from = end.saturating_sub(CHECKPOINT_ENTRIES + 1).max(start);
        let mut last = None;
        self.visit_entries(feed, &row, space, from, |id, header, _, signature| {
            if let Some(signature) = signature {
                let seq = header.seq;
                last = Some(Remains {
                    last: LastGood { seq, id },
                    signature: *signature,
                });
            }
            Ok(true)
        })?;
        Ok(last)
    }

    /// Whether a removal that holds counts, as far as is known who owned the circle, and nothing
    /// else is held in its place.
    pub(crate) fn removal_counts(&self, space: SpaceId, removal: &Removal) -> Result<bool> {
        let Some(government) = self.government(space)? else {
            return Ok(false);
        };
        let place = (removal.by.device, removal.place);
        if let Some((feed, row)) = self.find_feed(space, place.0)?
            && let Some(entry) = self.entry_at(space, feed, &row, place.1)?
        {
            let rule = Body::Rule(Box::new(Rule::removal(removal.clone())));
            if entry.body.as_deref() != Some(&rule.encode()) {
                return Ok(false);
            }
        }
        Ok(government.counts(&Held {
            author: removal.by.identity,
            device: place.0,
            seq: place.1,
            id: None,
            rule: Rule::removal(removal.clone()),
        }))
    }

    /// The entry of which a rule is noted.
    pub(crate) fn noted_rule(
        &self,
        space: u32,
        row: &FeedRow,
        seq: u64,
        rule: &Rule,
    ) -> Result<Option<EntryId>> {
        let Some(author) = row.owner else {
            return Ok(None);
        };
        let key = rule_key(space, class_of(rule), author)
            .bytes(&row.device.0)
            .u64(seq);
        let noted = self.0.with(Table::Rules, key.as_slice(), |value| {
            held_of(key.as_slice(), value)
        })?;
        Ok(noted.flatten().and_then(|held| held.id))
    }

    /// The body of the removal by `owner` that left this of a person's feed.
    pub(crate) fn removal_body(
        &self,
        row: &FeedRow,
        owner: IdentityId,
        last: LastGood,
    ) -> Result<Option<Vec<u8>>> {
        for held in self.rules_by(row.space, owner)? {
            if let Action::Remove(removal) = &held.rule.action
                && Some(removal.identity) == row.owner
                && removal.last_good(row.device) == Some(last)
            {
                return Ok(Some(Body::Rule(Box::new(held.rule)).encode()));
            }
        }
        Ok(None)
    }
}

impl Work {
    /// The circle's government, as of the last change of its rules.
    fn government(&mut self, txn: &Txn<'_>) -> Result<Option<&Government>> {
        if self.kind == SpaceKind::Circle && self.government.is_none() {
            let row = txn.space_row(self.space)?;
            self.government = txn.government_in(self.space, &row)?;
        }
        Ok(self.government.as_ref())
    }

    /// Rules are about to change: who governs by those before has to be known first.
    fn rules_change(&mut self, txn: &Txn<'_>) -> Result<()> {
        if !self.rules_changed {
            self.government(txn)?;
            self.rules_changed = true;
        }
        Ok(())
    }

    /// A rule came.
    pub(crate) fn enter_rule(
        &mut self,
        txn: &mut Txn<'_>,
        place: Place,
        id: EntryId,
        rule: &Rule,
        body: &[u8],
    ) -> Result<()> {
        let row_of = self.feed(txn, place.feed)?;
        let (author, device) = (row_of.author, row_of.device);
        let Some(author) = author else {
            return Ok(());
        };
        let class = class_of(rule);
        if class == OWNERS {
            self.rules_change(txn)?;
        }
        let key = rule_key(self.space, class, author)
            .bytes(&device.0)
            .u64(place.seq);
        txn.put(Table::Rules, key.as_slice(), &row(true, id, body))?;
        if rule.action == Action::Leave {
            txn.remove_offer_out(&(author, self.id))?;
        }
        Ok(())
    }

    /// A rule is cut off. A removal stays: it counts by itself.
    pub(crate) fn leave_rule(
        &mut self,
        txn: &mut Txn<'_>,
        place: Place,
        rule: &Rule,
    ) -> Result<()> {
        let row_of = self.feed(txn, place.feed)?;
        let (author, device) = (row_of.owner, row_of.device);
        let Some(author) = author else {
            return Ok(());
        };
        let class = class_of(rule);
        if class == OWNERS {
            self.rules_change(txn)?;
        }
        let key = rule_key(self.space, class, author)
            .bytes(&device.0)
            .u64(place.seq);
        if matches!(rule.action, Action::Remove(_)) {
            let body = Body::Rule(Box::new(rule.clone())).encode();
            let alone = row(false, EntryId([0; 32]), &body);
            txn.put(Table::Rules, key.as_slice(), &alone)?;
        } else {
            txn.remove(Table::Rules, key.as_slice())?;
        }
        Ok(())
    }
}

impl Txn<'_> {
    /// Whether somebody may begin a feed here. What we write ourselves stays until we were removed.
    pub(crate) fn check_member(
        &self,
        work: &mut Work,
        chain: &Chain,
        (author, device): (IdentityId, DeviceId),
    ) -> Result<(), ImportError> {
        let own = work.is_own(Some(author));
        let Some(government) = work.government(self)? else {
            return Ok(());
        };
        let removed = government.is_removed(author) && government.cut(author, device).is_none();
        if removed || !(own || government.admits(chain, author)) {
            return Err(Reject::NoMember.into());
        }
        Ok(())
    }

    /// What remains of a removed person's feed, and who removed them.
    pub(crate) fn removal_of_feed(
        &self,
        work: &mut Work,
        author: IdentityId,
        device: DeviceId,
    ) -> Result<Option<(IdentityId, LastGood)>> {
        let government = work.government(self)?;
        let cut = government.and_then(|government| government.cut(author, device));
        Ok(cut.map(|cut| (cut.owner, cut.last_good())))
    }

    /// Keeps a removal that came without the entry that carries it. True where that is news.
    ///
    /// # Errors
    /// [`ImportError::Reject`] where it doesn't hold, or isn't known to be an owner's.
    pub fn import_removal(&mut self, space: SpaceId, body: &[u8]) -> Result<bool, ImportError> {
        let removal = removal_of(body).ok_or(Reject::RevocationProof)?;
        let mut work = Work::begin(self, space, 0)?;
        if work.kind != SpaceKind::Circle || !removal.holds(space) {
            return Err(Reject::RevocationProof.into());
        }
        if !self.removal_counts(space, &removal)? {
            return Err(Reject::EndOfUnknownFeed.into());
        }
        let key = rule_key(work.space, OWNERS, removal.by.identity)
            .bytes(&removal.by.device.0)
            .u64(removal.place);
        if self.0.with(Table::Rules, key.as_slice(), |_| ())?.is_some() {
            return Ok(false);
        }
        work.rules_change(self)?;
        let alone = row(false, EntryId([0; 32]), body);
        self.put(Table::Rules, key.as_slice(), &alone)?;
        self.govern(&mut work)?;
        work.finish(self)?;
        Ok(true)
    }

    /// Removals that came alone, and in whose places something else stands, were never written.
    pub(crate) fn drop_contradicted(
        &mut self,
        work: &mut Work,
        feed: u32,
        (start, end): (u64, u64),
    ) -> Result<()> {
        if work.kind != SpaceKind::Circle {
            return Ok(());
        }
        let row = work.feed(self, feed)?;
        let (owner, device) = (row.owner, row.device);
        let Some(author) = owner else {
            return Ok(());
        };
        let prefix = rule_key(work.space, OWNERS, author).bytes(&device.0);
        let mut never = Vec::new();
        let range = Prefixed::new(prefix);
        for row in self.0.rows(Table::Rules, range.bounds())? {
            let (key, value) = row?;
            let seq = number_at(key.value(), 69, 8);
            if value.value().get(1) == Some(&0) && (start..end).contains(&seq) {
                never.push(key.value().to_vec());
            }
        }
        for key in never {
            work.rules_change(self)?;
            self.remove(Table::Rules, &key)?;
        }
        Ok(())
    }

    /// Puts in force what changed rules say: feeds of people who were removed end, those of people
    /// who weren't let in by an owner go, and invitations of both. The devices whose feeds changed.
    pub(crate) fn govern(&mut self, work: &mut Work) -> Result<Vec<DeviceId>> {
        let mut changed = Vec::new();
        for _ in 0..ROUNDS_MAX {
            if work.kind != SpaceKind::Circle || !std::mem::take(&mut work.rules_changed) {
                break;
            }
            work.flush(self)?;
            let before = work.government.take();
            let same = match (work.government(self)?, &before) {
                (Some(now), Some(before)) => now.has_the_people_of(before),
                _ => false,
            };
            if same {
                // Most rules close something, or are nobody's to make.
                break;
            }
            let feeds = self.collect(Table::FeedNumbers, Key::new().u32(work.space))?;
            for (_, value) in feeds {
                let feed = u32_at(&value, 0);
                changed.extend(self.govern_feed(work, feed)?);
            }
            let removed: Vec<IdentityId> = match work.government(self)? {
                Some(government) => government.removed().collect(),
                None => Vec::new(),
            };
            for identity in removed {
                if self.invited(work.id, identity)? {
                    self.remove_offer_out(&(identity, work.id))?;
                }
            }
        }
        Ok(changed)
    }

    fn govern_feed(&mut self, work: &mut Work, feed: u32) -> Result<Option<DeviceId>> {
        let before = work.feed(self, feed)?.clone();
        let Some(author) = before.owner else {
            return Ok(None);
        };
        if work.is_own(Some(author)) {
            // What a person wrote stays with them. It goes to nobody any more.
            return Ok(None);
        }
        if before.head.next > 0 && !self.is_admitted(work, feed, author)? {
            return self.drop_feed(work, feed).map(Some);
        }
        self.find_revocation(work, feed)?;
        let row = work.feed(self, feed)?.clone();
        if row.revoked == before.revoked {
            return Ok(None);
        }
        work.feed_mut(self, feed)?;
        self.apply_ends(work, feed, Doubt::Cut)?;
        self.keep_signed(work, feed)?;
        Ok(Some(row.device))
    }

    /// Whether who wrote a feed was let in by an owner and not removed with all of this feed.
    fn is_admitted(&self, work: &mut Work, feed: u32, author: IdentityId) -> Result<bool> {
        let own = work.is_own(Some(author));
        let row = work.feed(self, feed)?.clone();
        let id = work.id;
        let Some(government) = work.government(self)? else {
            return Ok(true);
        };
        if government.is_removed(author) {
            return Ok(government.cut(author, row.device).is_some());
        }
        if own {
            return Ok(true);
        }
        let entry = self.entry_at(id, feed, &row, 0)?;
        let body = entry.as_ref().and_then(|entry| entry.body.as_deref());
        Ok(match body.and_then(known_body) {
            Some(Body::Genesis(genesis)) => government.admits(&genesis.chain, author),
            _ => true,
        })
    }

    /// Nothing of a feed remains.
    fn drop_feed(&mut self, work: &mut Work, feed: u32) -> Result<DeviceId> {
        self.drop_tail(work, feed)?;
        work.flush(self)?;
        self.truncate(work, feed, 0)?;
        Ok(work.feed(self, feed)?.device)
    }

    /// What ended a feed vouched for its last entry, and counts no more: only what is signed stays,
    /// the rest is fetched again.
    fn keep_signed(&mut self, work: &mut Work, feed: u32) -> Result<()> {
        let row = work.feed(self, feed)?.clone();
        if row.head.next == 0 || vouched(&row) {
            return Ok(());
        }
        let mut signed = 0;
        work.flush(self)?;
        let base = FeedRow { tail: None, ..row };
        self.visit_entries(feed, &base, work.id, 0, |_, header, _, signature| {
            if signature.is_some() {
                signed = header.seq + 1;
            }
            Ok(true)
        })?;
        if signed < base.head.next {
            self.drop_tail(work, feed)?;
            self.truncate(work, feed, signed)?;
        }
        Ok(())
    }
}
