//! What is derived from entries: the index, topics and their items, relations, names, members.

use proto::{
    EntryId,
    body::{Body, Genesis, Rule, Setting},
    entry::Header,
    space::SpaceKind,
};

use super::{Doctor, Part, Ward, readable};
use crate::{
    covers::{cover_value, placed},
    error::Result,
    keys::{ItemKey, ItemValue, Key, Place, Prefixed, half, item_bounds, number_at, u32_at},
    project::{author_key, edge_key, name_key, place_key, relation_key, relation_value},
    roles::{CONVERSATION_ROOT, Role, role_in},
    rows::{FeedRow, TopicRow},
    tables::{Source, Table},
    work::root_key,
};

impl<S: Source> Doctor<'_, S> {
    /// One entry whose body is held: everything that it does can be found.
    pub(super) fn entry(
        &mut self,
        ward: &mut Ward,
        row: &FeedRow,
        place: Place,
        id: &EntryId,
        header: &Header,
        body: Option<&Body<'_>>,
    ) -> Result<()> {
        let order = self.order(place, id)?;
        let role = body.map_or(Role::None, |body| {
            role_in(ward.kind(), ward.creator, row.author, body)
        });
        match role {
            Role::First => self.item(ward, place, *id, order.map(|_| 0))?,
            Role::Item { root, .. } => self.item(ward, place, root, order)?,
            Role::Relation(relation) => {
                ward.sums.relations += 1;
                let key = relation_key(ward.number, &relation.target(), relation.code(), place);
                let value = relation_value(&relation, header.created);
                let same = self
                    .view
                    .0
                    .with(Table::Relations, key.as_slice(), |found| found == value)?;
                if same != Some(true) {
                    let seq = place.seq;
                    self.tell(
                        Part::Derived,
                        format!("entry {seq} edits, retracts or reacts, and isn't found at what it is about"),
                    );
                }
            }
            Role::Name(_) => self.name(row, place)?,
            Role::Genesis(genesis) => {
                self.name(row, place)?;
                self.member(ward, place, genesis)?;
            }
            Role::Setting(setting) => {
                self.item(ward, place, CONVERSATION_ROOT, order)?;
                self.setting(place, *id, header, setting)?;
            }
            Role::Rule(rule) => self.rule(ward, row, place, id, rule)?,
            Role::Receipt(..) | Role::Revocation | Role::None => {}
        }
        if ward.kind() == SpaceKind::Conversation && body.is_some_and(Body::has_own_time) {
            self.timer(ward, row, place)?;
        }
        Ok(())
    }

    /// A setting is found by its place.
    fn setting(
        &mut self,
        place: Place,
        id: EntryId,
        header: &Header,
        setting: &Setting,
    ) -> Result<()> {
        let key = place_key(place);
        let cover = placed(setting, id, header.created).map(|placed| cover_value(&placed));
        let wish = setting.receipts.map(|wish| vec![u8::from(wish)]);
        for (table, expected) in [(Table::Covers, cover), (Table::Wishes, wish)] {
            let found = self.view.0.with(table, key.as_slice(), <[u8]>::to_vec)?;
            if found != expected {
                let seq = place.seq;
                self.tell(
                    Part::Derived,
                    format!("entry {seq} is a setting, and isn't noted as it is"),
                );
            }
        }
        Ok(())
    }

    /// What disappears has a timer, and nothing else.
    fn timer(&mut self, ward: &Ward, row: &FeedRow, place: Place) -> Result<()> {
        let ends = self.view.lifetime_at(place)?.ends();
        if self.view.has_timer((ward.number, row.device, place.seq))? != ends {
            let seq = place.seq;
            let what = if ends {
                "disappears and has no"
            } else {
                "stays and has a"
            };
            self.tell(Part::Derived, format!("entry {seq} {what} timer"));
        }
        Ok(())
    }

    /// A rule of a circle is found where who governs it is looked up.
    fn rule(
        &mut self,
        ward: &Ward,
        row: &FeedRow,
        place: Place,
        id: &EntryId,
        rule: &Rule,
    ) -> Result<()> {
        let noted = self.view.noted_rule(ward.number, row, place.seq, rule)?;
        if noted != Some(*id) {
            self.tell(
                Part::Derived,
                format!("the rule in entry {} isn't noted", place.seq),
            );
        }
        Ok(())
    }

    /// The order that the index notes of an entry; `None` where another entry's id has the same
    /// half.
    fn order(&mut self, place: Place, id: &EntryId) -> Result<Option<u64>> {
        let indexed = self.view.indexed(id)?;
        if let Some(indexed) = indexed.filter(|indexed| indexed.place == place) {
            return Ok(Some(indexed.order));
        }
        let other = match indexed {
            Some(indexed) => self.has_half(indexed.place, id)?,
            None => false,
        };
        if !other {
            self.tell(
                Part::Derived,
                format!("entry {} isn't found by its id", place.seq),
            );
        }
        Ok(None)
    }

    /// Whether another entry, at this place, has an id with the same half.
    fn has_half(&self, place: Place, id: &EntryId) -> Result<bool> {
        let Some(row) = self.other_feed(place.feed)? else {
            return Ok(false);
        };
        let Some(space) = readable(self.view.space_row(row.space).map(Some))? else {
            return Ok(false);
        };
        let other = readable(self.view.id_of(space.id, place.feed, &row, place.seq))?;
        Ok(other.is_some_and(|other| half(&other) == half(id)))
    }

    /// An entry stands in its topic.
    fn item(
        &mut self,
        ward: &mut Ward,
        place: Place,
        root: EntryId,
        order: Option<u64>,
    ) -> Result<()> {
        ward.sums.items += 1;
        let Some(order) = order else {
            return Ok(());
        };
        let key = root_key(root, ward.number);
        let topic = self
            .view
            .0
            .with(Table::Roots, key.as_slice(), |value| u32_at(value, 0))?;
        let item = match topic {
            Some(topic) => self.view.0.item_row(
                &ItemKey {
                    topic,
                    order,
                    place,
                }
                .encode(),
            )?,
            None => None,
        };
        let seq = place.seq;
        match item.map(|item| ItemValue::decode(&item)) {
            None => self.tell(
                Part::Derived,
                format!("entry {seq} isn't shown in its thread"),
            ),
            Some(item) if item.retracted || item.missing => self.tell(
                Part::Derived,
                format!("entry {seq} is shown as retracted or missing, and its text is there"),
            ),
            Some(_) => {}
        }
        Ok(())
    }

    /// An entry whose body is absent still has its place in a topic, if it had one.
    pub(super) fn gone(&mut self, ward: &mut Ward, place: Place, id: &EntryId) -> Result<()> {
        let order = self.order(place, id)?;
        let Some((topic, _)) = self.view.gone(place)?.filter(|(topic, _)| *topic > 0) else {
            return Ok(());
        };
        ward.sums.items += 1;
        let Some(order) = order else {
            return Ok(());
        };
        let key = ItemKey {
            topic,
            order,
            place,
        };
        let item = self.view.0.item_row(&key.encode())?;
        let item = item.map(|item| ItemValue::decode(&item));
        if !item.is_some_and(|item| item.retracted || item.missing) {
            let seq = place.seq;
            self.tell(
                Part::Derived,
                format!("entry {seq} has no text any more, and its thread doesn't say so"),
            );
        }
        Ok(())
    }

    fn name(&mut self, row: &FeedRow, place: Place) -> Result<()> {
        let Some(author) = row.author else {
            return Ok(());
        };
        let key = name_key(author, place);
        if self
            .view
            .0
            .with(Table::Names, key.as_slice(), |_| ())?
            .is_none()
        {
            self.tell(
                Part::Derived,
                format!("the name that entry {} gives isn't known", place.seq),
            );
        }
        Ok(())
    }

    fn member(&mut self, ward: &mut Ward, place: Place, genesis: &Genesis<'_>) -> Result<()> {
        let author = genesis.certificate.identity;
        ward.sums.authors += 1;
        let key = author_key(ward.number, author, place.feed);
        if self
            .view
            .0
            .with(Table::Authors, key.as_slice(), |_| ())?
            .is_none()
        {
            self.tell(Part::Derived, "the feed's author isn't among the members");
        }
        for admission in genesis.chain.admissions() {
            let key = edge_key(ward.number, admission.inviter.identity, admission.invitee);
            *ward.sums.edges.entry(key.as_slice().to_vec()).or_default() += 1;
        }
        if let Some(first) = genesis.chain.admissions().first() {
            let key = Key::new().u32(ward.number).bytes(&first.invitee.0);
            *ward
                .sums
                .branches
                .entry(key.as_slice().to_vec())
                .or_default() += 1;
        }
        Ok(())
    }

    /// The space's derived rows as a whole.
    pub(super) fn shown(&mut self, ward: &Ward) -> Result<()> {
        let (topics, items, unread) = self.topics(ward)?;
        let lost = self.view.lost_timers(ward.number)?;
        if lost > 0 {
            self.tell(
                Part::Derived,
                format!("{lost} timers aren't found by their time"),
            );
        }
        let counts = self.view.counts_row(ward.number);
        let Some(counts) = self.sound(Part::Derived, counts)? else {
            return Ok(());
        };
        let sums = &ward.sums;
        for (name, counted, found) in [
            ("feeds", counts.feeds, sums.feeds),
            ("entries", counts.entries, sums.entries),
            ("threads", counts.topics, topics),
            ("posts", counts.items, sums.items),
            ("posts in threads", items, sums.items),
            ("unread posts", counts.unread, unread),
            (
                "edits, retracts and reactions",
                self.count(Table::Relations, ward.number)?,
                sums.relations,
            ),
            (
                "members' devices",
                self.count(Table::Authors, ward.number)?,
                sums.authors,
            ),
        ] {
            if counted != found {
                self.tell(
                    Part::Derived,
                    format!("{counted} {name} are noted, {found} are there"),
                );
            }
        }
        for (table, expected) in [
            (Table::Edges, &sums.edges),
            (Table::Branches, &sums.branches),
        ] {
            let rows = self.view.collect(table, Key::new().u32(ward.number))?;
            let noted = rows.iter().map(|(key, value)| (key, u32_at(value, 0)));
            if !noted.eq(expected.iter().map(|(key, count)| (key, *count))) {
                self.tell(Part::Derived, "the counts of who let whom in are wrong");
            }
        }
        Ok(())
    }

    fn count(&self, table: Table, space: u32) -> Result<u64> {
        let range = Prefixed::new(Key::new().u32(space));
        let mut count = 0;
        for row in self.view.0.rows(table, range.bounds())? {
            row?;
            count += 1;
        }
        Ok(count)
    }

    /// Checks every topic: how many there are, their items, the unread ones.
    fn topics(&mut self, ward: &Ward) -> Result<(u64, u64, u64)> {
        let (mut topics, mut items, mut unread) = (0, 0, 0);
        let range = Prefixed::new(Key::new().u32(ward.number));
        for row in self.view.0.rows(Table::Activity, range.bounds())? {
            let key = row?.0.value().to_vec();
            let (last, number) = (number_at(&key, 4, 6), u32_at(&key, 10));
            topics += 1;
            let topic = self.view.known_topic(number);
            let Some(topic) = self.sound(Part::Derived, topic)? else {
                continue;
            };
            items += self.topic(ward, number, last, &topic)?;
            unread += u64::from(topic.unread());
        }
        Ok((topics, items, unread))
    }

    fn topic(&mut self, ward: &Ward, number: u32, last: u64, topic: &TopicRow) -> Result<u64> {
        let (mut count, mut newest, mut indices) = (0_u32, topic.first_order, 0);
        let (low, high) = (ItemKey::lowest(number), ItemKey::highest(number));
        for row in self.view.0.item_rows(item_bounds(&low, &high))? {
            let (key, value) = row?;
            count += 1;
            newest = newest.max(ItemKey::decode(key.value()).order);
            let index = ItemValue::decode(value.value()).index;
            indices = indices.max(index.saturating_add(1));
        }
        let key = root_key(topic.root, ward.number);
        let found = self
            .view
            .0
            .with(Table::Roots, key.as_slice(), |value| u32_at(value, 0))?;
        if topic.space != ward.number || found != Some(number) {
            self.tell(Part::Derived, "a thread isn't found by its first post");
        }
        if let Some(first) = topic.first {
            let key = ItemKey {
                topic: number,
                order: 0,
                place: first,
            };
            let row = self.other_feed(first.feed)?;
            let id = match row {
                Some(row) => readable(self.view.id_of(ward.row.id, first.feed, &row, first.seq))?,
                None => None,
            };
            if id != Some(topic.root) || self.view.0.item_row(&key.encode())?.is_none() {
                self.tell(
                    Part::Derived,
                    "a thread's first post isn't the one that it names",
                );
            }
        }
        if topic.items != count || indices > topic.next_index {
            let items = topic.items;
            self.tell(
                Part::Derived,
                format!("a thread notes {items} posts and has {count}"),
            );
        }
        if topic.last != last || newest != last {
            self.tell(
                Part::Derived,
                "a thread doesn't stand where its newest post puts it",
            );
        }
        Ok(u64::from(count))
    }
}
