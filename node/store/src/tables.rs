//! The tables, and reading and writing raw rows in a transaction.
//!
//! Writing keeps the rows that it overwrites, so that one job of a shared transaction can be
//! undone without the others. This module knows no row's meaning.

use std::{cell::OnceCell, ops::Bound, sync::Arc};

use redb::{
    Range, ReadOnlyTable, ReadTransaction, ReadableTable, Table as RedbTable, TableDefinition,
    WriteTransaction,
};

use crate::{
    base::Opened,
    error::{Error, Result},
};

macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A table whose keys and values are bytes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Table {
            $($(#[$doc])* $name,)*
        }

        impl Table {
            /// Every table.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its name on disk.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

tables! {
    /// Name of a counter or fact -> its value.
    Meta = "meta-1",
    /// Space number u32 -> what a space is.
    Spaces = "spaces-1",
    /// Space id 32 -> number u32.
    SpaceNumbers = "space-numbers-1",
    /// Space number u32 -> how much it holds.
    SpaceCounts = "space-counts-1",
    /// Number u32 of a space that was left and is being deleted.
    Leaving = "leaving-1",
    /// Feed number u32 -> a feed's head and author.
    Feeds = "feeds-1",
    /// Space u32, device 32 -> feed number u32, leaf 32 where it is in the tree.
    FeedNumbers = "feed-numbers-1",
    /// Feed u32, first seq u64 -> a full segment.
    Sealed = "sealed-1",
    /// Feed u32 -> the segment that still grows.
    Open = "open-1",
    /// Feed u32, seq u64 of a body that is missing without a retract.
    Holes = "holes-1",
    /// Space u32, feed u32 -> how many entries are missing below its newest.
    Gaps = "gaps-1",
    /// Feed u32 -> the proof of its fork.
    Forks = "forks-1",
    /// Space u32, device 32, identity 32 -> the lowest revocation's body.
    Revocations = "revocations-1",
    /// Space u32, class u8, identity 32, device 32, seq u64 -> a rule of a circle.
    Rules = "rules-1",
    /// Space u32, digits -> children's hashes and counts of a branch.
    Tree = "tree-1",
    /// Topic number u32 -> a topic.
    Topics = "topics-1",
    /// First 16 bytes of the root's id, space u32 -> topic number u32.
    Roots = "roots-1",
    /// Space u32, last activity u48, topic u32.
    Activity = "activity-1",
    /// Space u32, target 16, kind u8, feed u32, seq u40 -> an edit, a retract or a reaction.
    Relations = "relations-1",
    /// Space u32, target 16, feed u32, seq u40 of a retract whose target isn't held.
    Orphans = "orphans-1",
    /// Space u32, parent 16, feed u32, seq u40 of an answer whose parent isn't held.
    Waiting = "waiting-1",
    /// Feed u32, seq u64 -> kind and topic of an entry whose body was dropped.
    Gone = "gone-1",
    /// Feed u32, seq u64 -> a conversation's setting with a lifetime.
    Covers = "covers-1",
    /// Feed u32, seq u64 -> whether its author wants both to tell what was read.
    Wishes = "wishes-1",
    /// Feed u32, device 32 that was read, up to u64 -> a receipt: its seq, time and arrival.
    Reads = "reads-1",
    /// Space u32, device 32, seq u64 -> when a disappearing entry's time began.
    Timers = "timers-1",
    /// Time u64, space u32, device 32, seq u64 of an entry that disappears then.
    Due = "due-1",
    /// Space u32, device 32, seq u64 -> why its body isn't taken again, and its id.
    Forgotten = "forgotten-1",
    /// Identity 32, feed u32, seq u40 -> a name.
    Names = "names-1",
    /// Space u32, identity 32, feed u32 -> who let the author in.
    Authors = "authors-1",
    /// Space u32, inviter 32, invitee 32 -> feeds that rest on this admission.
    Edges = "edges-1",
    /// Space u32, the creator's invitee 32 -> feeds below.
    Branches = "branches-1",
    /// Space u32, identity 32 -> how much of our feed that person holds.
    Acknowledged = "acknowledged-1",
    /// The own device's state.
    Own = "own-1",
    /// Name -> a setting.
    Settings = "settings-1",
    /// Name -> a counter.
    Counters = "counters-1",
    /// Identity 32 -> a contact.
    Contacts = "contacts-1",
    /// Endpoint 32 -> the contact's identity.
    Endpoints = "endpoints-1",
    /// Local id -> an invite that we made.
    Invites = "invites-1",
    /// Local id -> an offer that we got.
    OffersIn = "offers-in-1",
    /// Contact 32, space 32 -> an offer that we made.
    OffersOut = "offers-out-1",
    /// Space 32, contact 32.
    Exclusions = "exclusions-1",
    /// Space 32 that was left.
    Left = "left-1",
    /// Space u32 (0: all spaces), contact 32 -> bytes that came in through the contact.
    Usage = "usage-1",
    /// Contact 32 -> bytes that may come in through the contact, where it isn't the default.
    Quotas = "quotas-1",
    /// Contact 32 -> keys of beacons between this device and theirs.
    Beacons = "beacons-1",
    /// Introduction 16 -> an introduction that we made or got.
    Introductions = "introductions-1",
    /// Sending device 32, key u32 -> a key that we made for letters from it.
    OwnPrekeys = "own-prekeys-1",
    /// Receiving device 32, key u32 -> its key for letters from us.
    TheirPrekeys = "their-prekeys-1",
    /// Device 32 -> where the lines between it and this one stand.
    Lines = "lines-1",
    /// Receiving device 32, number u64 -> a letter that we sealed.
    OwnLetters = "own-letters-1",
    /// Number u64 -> a letter that we carry.
    Carried = "carried-1",
    /// Hash of a receipt 32 -> the letter.
    Receipted = "receipted-1",
    /// Tag 16 -> a receipt that somebody waits for.
    Owed = "owed-1",
    /// Space 32, device 32, seq u64 -> an entry that came in a letter.
    Loose = "loose-1",
    /// Number u64 -> a meeting that ended.
    Meetings = "meetings-1",
    /// Contact 32, number u64 of a meeting with them.
    MeetingsOf = "meetings-of-1",
}

/// Rows of [`Table`].
pub type Bytes = &'static [u8];
/// Bytes of a key of the entries' index: the first half of an id.
pub const ID_KEY: usize = 16;
/// Bytes of its value: feed u32, seq u40, order u48.
pub const ID_VALUE: usize = 15;
/// Bytes of an item's key: topic u32, order u48, feed u32, seq u40.
pub const ITEM_KEY: usize = 19;
/// Bytes of its value: flags u8, index u32, received u48.
pub const ITEM_VALUE: usize = 11;

type IdTable = TableDefinition<'static, &'static [u8; ID_KEY], &'static [u8; ID_VALUE]>;
type ItemTable = TableDefinition<'static, &'static [u8; ITEM_KEY], &'static [u8; ITEM_VALUE]>;

/// First half of an entry's id -> where the entry is.
pub(crate) const IDS: IdTable = TableDefinition::new("ids-1");
/// What a topic shows, in order.
pub(crate) const ITEMS: ItemTable = TableDefinition::new("items-1");

pub(crate) const fn definition(table: Table) -> TableDefinition<'static, Bytes, Bytes> {
    TableDefinition::new(table.name())
}

/// A range of rows.
pub type Rows<'a> = Range<'a, Bytes, Bytes>;
/// Rows of the entries' index.
pub type IdRows<'a> = Range<'a, &'static [u8; ID_KEY], &'static [u8; ID_VALUE]>;
/// A range of items.
pub type ItemRows<'a> = Range<'a, &'static [u8; ITEM_KEY], &'static [u8; ITEM_VALUE]>;
/// Both ends of a range of rows.
pub type Bounds<'k> = (Bound<&'k [u8]>, Bound<&'k [u8]>);
/// Both ends of a range of items.
pub type ItemBounds<'k> = (Bound<&'k [u8; ITEM_KEY]>, Bound<&'k [u8; ITEM_KEY]>);

/// Where rows are read from: a snapshot or a transaction that writes.
pub trait Source {
    /// The value of a row, read in place.
    fn with<R>(&self, table: Table, key: &[u8], read: impl FnOnce(&[u8]) -> R)
    -> Result<Option<R>>;
    /// Rows in order of their keys.
    fn rows(&self, table: Table, bounds: Bounds<'_>) -> Result<Rows<'_>>;
    /// A row of the entries' index.
    fn id_row(&self, key: &[u8; ID_KEY]) -> Result<Option<[u8; ID_VALUE]>>;
    /// The whole index.
    fn id_rows(&self) -> Result<IdRows<'_>>;
    /// One item.
    fn item_row(&self, key: &[u8; ITEM_KEY]) -> Result<Option<[u8; ITEM_VALUE]>>;
    /// Items in order.
    fn item_rows(&self, bounds: ItemBounds<'_>) -> Result<ItemRows<'_>>;
}

/// A consistent snapshot.
pub struct ReadTables {
    txn: ReadTransaction,
    tables: Vec<OnceCell<ReadOnlyTable<Bytes, Bytes>>>,
    ids: OnceCell<ReadOnlyTable<&'static [u8; ID_KEY], &'static [u8; ID_VALUE]>>,
    items: OnceCell<ReadOnlyTable<&'static [u8; ITEM_KEY], &'static [u8; ITEM_VALUE]>>,
    /// A file that was replaced stays open as long as somebody reads from it.
    _opened: Arc<Opened>,
}

/// What [`OnceCell`] lacks as long as its fallible form is unstable.
fn opened<T>(cell: &OnceCell<T>, open: impl FnOnce() -> Result<T>) -> Result<&T> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let value = open()?;
    Ok(cell.get_or_init(|| value))
}

impl ReadTables {
    pub(crate) fn new(txn: ReadTransaction, opened: Arc<Opened>) -> Self {
        Self {
            _opened: opened,
            txn,
            tables: Table::ALL.iter().map(|_| OnceCell::new()).collect(),
            ids: OnceCell::new(),
            items: OnceCell::new(),
        }
    }

    fn table(&self, table: Table) -> Result<&ReadOnlyTable<Bytes, Bytes>> {
        let cell = self.tables.get(table as usize).ok_or(Error::Closed)?;
        opened(cell, || Ok(self.txn.open_table(definition(table))?))
    }
}

impl Source for ReadTables {
    fn with<R>(
        &self,
        table: Table,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>> {
        Ok(self.table(table)?.get(key)?.map(|row| read(row.value())))
    }

    fn rows(&self, table: Table, bounds: Bounds<'_>) -> Result<Rows<'_>> {
        Ok(self.table(table)?.range::<&[u8]>(bounds)?)
    }

    fn id_row(&self, key: &[u8; ID_KEY]) -> Result<Option<[u8; ID_VALUE]>> {
        let ids = opened(&self.ids, || Ok(self.txn.open_table(IDS)?))?;
        Ok(ids.get(key)?.map(|row| *row.value()))
    }

    fn id_rows(&self) -> Result<IdRows<'_>> {
        let ids = opened(&self.ids, || Ok(self.txn.open_table(IDS)?))?;
        Ok(ids.iter()?)
    }

    fn item_row(&self, key: &[u8; ITEM_KEY]) -> Result<Option<[u8; ITEM_VALUE]>> {
        let items = opened(&self.items, || Ok(self.txn.open_table(ITEMS)?))?;
        Ok(items.get(key)?.map(|row| *row.value()))
    }

    fn item_rows(&self, bounds: ItemBounds<'_>) -> Result<ItemRows<'_>> {
        let items = opened(&self.items, || Ok(self.txn.open_table(ITEMS)?))?;
        Ok(items.range::<&[u8; ITEM_KEY]>(bounds)?)
    }
}

/// The tables of a transaction that writes.
pub struct WriteTables<'t> {
    txn: &'t WriteTransaction,
    tables: Vec<OnceCell<RedbTable<'t, Bytes, Bytes>>>,
    ids: OnceCell<RedbTable<'t, &'static [u8; ID_KEY], &'static [u8; ID_VALUE]>>,
    items: OnceCell<RedbTable<'t, &'static [u8; ITEM_KEY], &'static [u8; ITEM_VALUE]>>,
    undo: UndoLog,
}

const UNDO_IDS: u8 = 254;
const UNDO_ITEMS: u8 = 255;

/// Rows as they were before the current job, oldest first, in one buffer: table u8, key length
/// u16, key, then 0, or 1 and the value up to the record's end.
#[derive(Default)]
struct UndoLog {
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

impl UndoLog {
    fn push(&mut self, table: u8, key: &[u8], old: Option<&[u8]>) {
        self.starts.push(self.bytes.len());
        self.bytes.push(table);
        self.bytes
            .extend_from_slice(&(key.len() as u16).to_be_bytes());
        self.bytes.extend_from_slice(key);
        self.bytes.push(u8::from(old.is_some()));
        self.bytes.extend_from_slice(old.unwrap_or_default());
    }

    /// Takes the newest record off: table, key, value.
    fn pop(&mut self) -> Option<(u8, Vec<u8>, Option<Vec<u8>>)> {
        let start = self.starts.pop()?;
        let record = self.bytes.split_off(start);
        let (table, rest) = record.split_first()?;
        let (len, rest) = rest.split_at_checked(2)?;
        let len = u16::from_be_bytes(len.try_into().ok()?);
        let (key, rest) = rest.split_at_checked(usize::from(len))?;
        let (had, value) = rest.split_first()?;
        Some((*table, key.to_vec(), (*had == 1).then(|| value.to_vec())))
    }
}

/// What the undo log has of a row of fixed width.
fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| Error::Panicked)
}

impl<'t> WriteTables<'t> {
    pub(crate) fn new(txn: &'t WriteTransaction) -> Self {
        Self {
            txn,
            tables: Table::ALL.iter().map(|_| OnceCell::new()).collect(),
            ids: OnceCell::new(),
            items: OnceCell::new(),
            undo: UndoLog::default(),
        }
    }

    fn table(&self, table: Table) -> Result<&RedbTable<'t, Bytes, Bytes>> {
        let cell = self.tables.get(table as usize).ok_or(Error::Closed)?;
        opened(cell, || Ok(self.txn.open_table(definition(table))?))
    }

    fn table_mut(&mut self, table: Table) -> Result<&mut RedbTable<'t, Bytes, Bytes>> {
        self.table(table)?;
        self.tables
            .get_mut(table as usize)
            .and_then(OnceCell::get_mut)
            .ok_or(Error::Closed)
    }

    /// Bytes that the current job's undoing takes: a measure of what it changed.
    pub(crate) fn job_bytes(&self) -> usize {
        self.undo.bytes.len()
    }

    /// The current job stands.
    pub(crate) fn keep(&mut self) {
        self.undo.bytes.clear();
        self.undo.starts.clear();
    }

    /// Undoes the current job.
    pub(crate) fn roll_back(&mut self) -> Result<()> {
        while let Some((table, key, value)) = self.undo.pop() {
            match table {
                UNDO_IDS => {
                    let key = fixed::<ID_KEY>(&key)?;
                    match value {
                        Some(value) => {
                            drop(self.ids_mut()?.insert(&key, &fixed::<ID_VALUE>(&value)?)?);
                        }
                        None => drop(self.ids_mut()?.remove(&key)?),
                    }
                }
                UNDO_ITEMS => {
                    let key = fixed::<ITEM_KEY>(&key)?;
                    match value {
                        Some(value) => {
                            let value = fixed::<ITEM_VALUE>(&value)?;
                            drop(self.items_mut()?.insert(&key, &value)?);
                        }
                        None => drop(self.items_mut()?.remove(&key)?),
                    }
                }
                table => {
                    let table = Table::ALL.get(usize::from(table)).ok_or(Error::Panicked)?;
                    let table = self.table_mut(*table)?;
                    match value {
                        Some(value) => drop(table.insert(key.as_slice(), value.as_slice())?),
                        None => drop(table.remove(key.as_slice())?),
                    }
                }
            }
        }
        self.keep();
        Ok(())
    }

    pub(crate) fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<()> {
        let mut undo = std::mem::take(&mut self.undo);
        let result = self.table_mut(table).and_then(|rows| {
            let old = rows.insert(key, value)?;
            undo.push(table as u8, key, old.as_ref().map(redb::AccessGuard::value));
            Ok(())
        });
        self.undo = undo;
        result
    }

    pub(crate) fn remove(&mut self, table: Table, key: &[u8]) -> Result<bool> {
        let mut undo = std::mem::take(&mut self.undo);
        let result = self.table_mut(table).and_then(|rows| {
            let old = rows.remove(key)?;
            if let Some(old) = &old {
                undo.push(table as u8, key, Some(old.value()));
            }
            Ok(old.is_some())
        });
        self.undo = undo;
        result
    }

    fn ids_mut(
        &mut self,
    ) -> Result<&mut RedbTable<'t, &'static [u8; ID_KEY], &'static [u8; ID_VALUE]>> {
        opened(&self.ids, || Ok(self.txn.open_table(IDS)?))?;
        self.ids.get_mut().ok_or(Error::Closed)
    }

    pub(crate) fn put_id(
        &mut self,
        key: &[u8; ID_KEY],
        value: &[u8; ID_VALUE],
    ) -> Result<Option<[u8; ID_VALUE]>> {
        let old = self.ids_mut()?.insert(key, value)?.map(|row| *row.value());
        self.undo
            .push(UNDO_IDS, key, old.as_ref().map(<[u8; ID_VALUE]>::as_slice));
        Ok(old)
    }

    pub(crate) fn remove_id(&mut self, key: &[u8; ID_KEY]) -> Result<()> {
        let old = self.ids_mut()?.remove(key)?.map(|row| *row.value());
        if let Some(old) = old {
            self.undo.push(UNDO_IDS, key, Some(&old));
        }
        Ok(())
    }

    fn items_mut(
        &mut self,
    ) -> Result<&mut RedbTable<'t, &'static [u8; ITEM_KEY], &'static [u8; ITEM_VALUE]>> {
        opened(&self.items, || Ok(self.txn.open_table(ITEMS)?))?;
        self.items.get_mut().ok_or(Error::Closed)
    }

    pub(crate) fn put_item(
        &mut self,
        key: &[u8; ITEM_KEY],
        value: &[u8; ITEM_VALUE],
    ) -> Result<()> {
        let old = self
            .items_mut()?
            .insert(key, value)?
            .map(|row| *row.value());
        let old = old.as_ref().map(<[u8; ITEM_VALUE]>::as_slice);
        self.undo.push(UNDO_ITEMS, key, old);
        Ok(())
    }

    pub(crate) fn remove_item(&mut self, key: &[u8; ITEM_KEY]) -> Result<Option<[u8; ITEM_VALUE]>> {
        let old = self.items_mut()?.remove(key)?.map(|row| *row.value());
        if let Some(old) = old {
            self.undo.push(UNDO_ITEMS, key, Some(&old));
        }
        Ok(old)
    }
}

impl Source for WriteTables<'_> {
    fn with<R>(
        &self,
        table: Table,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>> {
        Ok(self.table(table)?.get(key)?.map(|row| read(row.value())))
    }

    fn rows(&self, table: Table, bounds: Bounds<'_>) -> Result<Rows<'_>> {
        Ok(self.table(table)?.range::<&[u8]>(bounds)?)
    }

    fn id_row(&self, key: &[u8; ID_KEY]) -> Result<Option<[u8; ID_VALUE]>> {
        let ids = opened(&self.ids, || Ok(self.txn.open_table(IDS)?))?;
        Ok(ids.get(key)?.map(|row| *row.value()))
    }

    fn id_rows(&self) -> Result<IdRows<'_>> {
        let ids = opened(&self.ids, || Ok(self.txn.open_table(IDS)?))?;
        Ok(ids.iter()?)
    }

    fn item_row(&self, key: &[u8; ITEM_KEY]) -> Result<Option<[u8; ITEM_VALUE]>> {
        let items = opened(&self.items, || Ok(self.txn.open_table(ITEMS)?))?;
        Ok(items.get(key)?.map(|row| *row.value()))
    }

    fn item_rows(&self, bounds: ItemBounds<'_>) -> Result<ItemRows<'_>> {
        let items = opened(&self.items, || Ok(self.txn.open_table(ITEMS)?))?;
        Ok(items.range::<&[u8; ITEM_KEY]>(bounds)?)
    }
}
