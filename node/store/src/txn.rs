//! A transaction that writes, as a job of [`crate::Store::write`] gets it.

use std::ops::Deref;

use crate::{
    error::{Error, Result},
    keys::Key,
    rows::Row,
    tables::{ITEM_KEY, ITEM_VALUE, Table, WriteTables},
    view::View,
    work::HeldTopics,
};

/// A running transaction: everything that [`View`] reads, as changed so far, and the changes.
pub struct Txn<'t> {
    view: View<WriteTables<'t>>,
    held: Option<HeldTopics>,
}

impl<'t> Deref for Txn<'t> {
    type Target = View<WriteTables<'t>>;

    fn deref(&self) -> &Self::Target {
        &self.view
    }
}

/// Counters of local numbers. A number is never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Numbers {
    Space,
    Feed,
    Topic,
}

impl Numbers {
    const fn name(self) -> &'static str {
        match self {
            Self::Space => "last-space",
            Self::Feed => "last-feed",
            Self::Topic => "last-topic",
        }
    }
}

impl<'t> Txn<'t> {
    pub(crate) const fn new(tables: WriteTables<'t>) -> Self {
        Self {
            view: View(tables),
            held: None,
        }
    }

    fn tables(&mut self) -> &mut WriteTables<'t> {
        &mut self.view.0
    }

    /// The current job stands; how many bytes its undoing would have taken.
    pub(crate) fn finish_job(&mut self) -> usize {
        let bytes = self.tables().job_bytes();
        self.tables().keep();
        bytes
    }

    /// From now on the topics that imports change are written once for all of them, by
    /// [`Self::settle`], before anything else reads them. The end of the job does it too.
    pub fn hold_topics(&mut self) {
        self.held.get_or_insert_default();
    }

    /// Writes the topics that were held back.
    ///
    /// # Errors
    /// The database's.
    pub fn settle(&mut self) -> Result<()> {
        self.held.take().map_or(Ok(()), |held| held.write(self))
    }

    /// Runs a change and writes what it held back.
    pub(crate) fn settled<R>(&mut self, change: impl FnOnce(&mut Self) -> Result<R>) -> Result<R> {
        let value = change(self)?;
        self.settle()?;
        Ok(value)
    }

    pub(crate) const fn held(&self) -> Option<&HeldTopics> {
        self.held.as_ref()
    }

    pub(crate) const fn held_mut(&mut self) -> Option<&mut HeldTopics> {
        self.held.as_mut()
    }

    pub(crate) fn undo_job(&mut self) -> Result<()> {
        self.held = None;
        self.tables().roll_back()
    }

    pub(crate) fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<()> {
        self.tables().put(table, key, value)
    }

    pub(crate) fn put_row<R: Row>(&mut self, key: &[u8], row: &R) -> Result<()> {
        self.put(R::TABLE, key, &row.encode())
    }

    pub(crate) fn remove(&mut self, table: Table, key: &[u8]) -> Result<bool> {
        self.tables().remove(table, key)
    }

    /// Removes up to `limit` rows whose keys begin with a prefix: how many.
    pub(crate) fn remove_all(&mut self, table: Table, prefix: Key, limit: usize) -> Result<usize> {
        let range = crate::keys::Prefixed::new(prefix);
        let mut keys = Vec::new();
        for row in crate::tables::Source::rows(&self.view.0, table, range.bounds())?.take(limit) {
            keys.push(row?.0.value().to_vec());
        }
        for key in &keys {
            self.remove(table, key)?;
        }
        Ok(keys.len())
    }

    /// Notes where an entry is: what was noted before.
    pub(crate) fn put_indexed(
        &mut self,
        id: &proto::EntryId,
        indexed: &crate::keys::Indexed,
    ) -> Result<Option<crate::keys::Indexed>> {
        let old = self
            .tables()
            .put_id(&crate::keys::half(id), &indexed.encode())?;
        Ok(old.map(|old| crate::keys::Indexed::decode(&old)))
    }

    pub(crate) fn remove_indexed(&mut self, id: &proto::EntryId) -> Result<()> {
        self.tables().remove_id(&crate::keys::half(id))
    }

    pub(crate) fn put_item(
        &mut self,
        key: &[u8; ITEM_KEY],
        value: &[u8; ITEM_VALUE],
    ) -> Result<()> {
        self.tables().put_item(key, value)
    }

    pub(crate) fn remove_item(&mut self, key: &[u8; ITEM_KEY]) -> Result<Option<[u8; ITEM_VALUE]>> {
        self.tables().remove_item(key)
    }

    /// Notes that something was removed whose bytes should be gone from the file soon.
    pub(crate) fn note_removed(&mut self) -> Result<()> {
        if self.meta(crate::fresh::REMOVED)? > 0 {
            return Ok(());
        }
        let name = crate::fresh::REMOVED.as_bytes();
        self.put(Table::Meta, name, &1_u32.to_be_bytes())
    }

    /// The next local number, from 1.
    pub(crate) fn next_number(&mut self, numbers: Numbers) -> Result<u32> {
        let number = self
            .meta(numbers.name())?
            .checked_add(1)
            .ok_or_else(|| Error::Refused("the database has no more local numbers".to_owned()))?;
        self.put(
            Table::Meta,
            numbers.name().as_bytes(),
            &number.to_be_bytes(),
        )?;
        Ok(number)
    }
}
