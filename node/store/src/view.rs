//! Reading: everything that a page, a meeting or a job asks. The queries are spread over the
//! modules by subject; this one finds spaces and feeds.

use proto::{DeviceId, IdentityId, SpaceId};

use crate::{
    error::{Error, Result},
    keys::{Indexed, Key, Prefixed, half, u32_at},
    rows::{Counts, FeedRow, Row, SpaceRow, load},
    tables::{Bytes, Source, Table},
};

/// A view of the database: a snapshot ([`crate::Snapshot`]) or a running transaction
/// ([`crate::Txn`]).
pub struct View<S>(pub(crate) S);

impl<S: Source> View<S> {
    /// The local number of a space that is held.
    pub(crate) fn space_number(&self, space: SpaceId) -> Result<Option<u32>> {
        self.0
            .with(Table::SpaceNumbers, &space.0, |value| u32_at(value, 0))
    }

    /// The local number of a space that must be held.
    pub(crate) fn known_space(&self, space: SpaceId) -> Result<u32> {
        self.space_number(space)?.ok_or(Error::UnknownSpace)
    }

    pub(crate) fn space_row(&self, number: u32) -> Result<SpaceRow> {
        load(&self.0, &number.to_be_bytes())?.ok_or(Error::UnknownSpace)
    }

    pub(crate) fn counts_row(&self, number: u32) -> Result<Counts> {
        Ok(load(&self.0, &number.to_be_bytes())?.unwrap_or_default())
    }

    pub(crate) fn feed_number(&self, space: u32, device: DeviceId) -> Result<Option<u32>> {
        let key = Key::new().u32(space).bytes(&device.0);
        self.0
            .with(Table::FeedNumbers, key.as_slice(), |value| u32_at(value, 0))
    }

    pub(crate) fn feed_row(&self, feed: u32) -> Result<Option<FeedRow>> {
        load(&self.0, &feed.to_be_bytes())
    }

    /// A feed that a row refers to, so it must be there.
    pub(crate) fn known_feed(&self, feed: u32) -> Result<FeedRow> {
        self.feed_row(feed)?.ok_or(Error::Corrupt {
            table: Table::Feeds.name(),
        })
    }

    /// Whether a feed is held in a space that wasn't left.
    pub(crate) fn is_live(&self, feed: u32) -> Result<bool> {
        match self.feed_row(feed)? {
            Some(row) => Ok(!self.is_left(row.space)?),
            None => Ok(false),
        }
    }

    /// Whether a space was left and its rows are still being deleted.
    pub(crate) fn is_left(&self, space: u32) -> Result<bool> {
        let left = self
            .0
            .with(Table::Leaving, &space.to_be_bytes(), |_| ())?
            .is_some();
        Ok(left)
    }

    /// A device's feed in a space.
    pub(crate) fn find_feed(
        &self,
        space: SpaceId,
        device: DeviceId,
    ) -> Result<Option<(u32, FeedRow)>> {
        let Some(space) = self.space_number(space)? else {
            return Ok(None);
        };
        let Some(number) = self.feed_number(space, device)? else {
            return Ok(None);
        };
        Ok(Some((number, self.known_feed(number)?)))
    }

    /// What the index says of an id. Two ids may share the half that the index knows, so whoever
    /// needs certainty compares the id at the place.
    pub(crate) fn indexed(&self, id: &proto::EntryId) -> Result<Option<Indexed>> {
        let row = self.0.id_row(&half(id))?;
        Ok(row.map(|row| Indexed::decode(&row)))
    }

    /// Rows whose keys begin with a prefix, copied.
    pub(crate) fn collect(&self, table: Table, prefix: Key) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let range = Prefixed::new(prefix);
        let mut rows = Vec::new();
        for row in self.0.rows(table, range.bounds())? {
            let (key, value) = row?;
            rows.push((key.value().to_vec(), value.value().to_vec()));
        }
        Ok(rows)
    }

    /// Whether a table has a row that begins with a prefix.
    pub(crate) fn has_any(&self, table: Table, prefix: Key) -> Result<bool> {
        let range = Prefixed::new(prefix);
        Ok(self
            .0
            .rows(table, range.bounds())?
            .next()
            .transpose()?
            .is_some())
    }

    /// Whether rows of a left space still wait to be deleted.
    ///
    /// # Errors
    /// The database's.
    pub fn is_leaving(&self) -> Result<bool> {
        self.has_any(Table::Leaving, Key::new())
    }

    /// A counter among the facts about the database itself.
    pub(crate) fn meta(&self, name: &str) -> Result<u32> {
        Ok(self
            .0
            .with(Table::Meta, name.as_bytes(), |value| u32_at(value, 0))?
            .unwrap_or(0))
    }

    /// This node's identity, once it is set up.
    pub(crate) fn own_identity(&self) -> Result<Option<IdentityId>> {
        Ok(self.own_person()?.map(|(identity, _)| identity))
    }
}

/// Decodes a row that a range gave.
pub(crate) fn decoded<R: Row>(row: &redb::AccessGuard<'_, Bytes>) -> Result<R> {
    R::decode(row.value())
}
