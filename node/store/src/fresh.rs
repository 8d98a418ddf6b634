//! A fresh file in the old one's place: how bytes are given back.
//!
//! redb reuses a freed page some day, and until then what it held can be read in the file. So
//! where something was removed that should be gone, and where a file grew far beyond its content,
//! everything that is held is copied into a fresh file, which gets the old one's name. Nobody who
//! reads waits for it; whoever has something to write interrupts it. It happens at quiet moments,
//! the rarer the larger the file is, because it costs as many bytes as are held.

use std::time::{Duration, Instant};

use redb::{Database, ReadTransaction, ReadableTable, TableHandle};

use crate::{
    base::{Base, begin},
    error::Result,
    tables::{IDS, ITEMS, Table, definition},
    view::View,
};

/// So long no change came: people pause between posts, an import doesn't.
pub(crate) const IDLE: Duration = Duration::from_secs(2);
/// Files that grew below this aren't worth it.
const GROWN_BYTES_MIN: u64 = 8 * 1024 * 1024;
/// After a file was written anew it rests so long for each MiB that was written: a large one is
/// written at most every hour or so, whatever is retracted meanwhile.
const REST_PER_MIB: Duration = Duration::from_secs(8);
/// After so many interruptions changes wait for it, some seconds for a large file.
const INTERRUPTIONS_MAX: u32 = 8;
/// A file up to here is also written anew when the program ends; a larger one has to wait.
const AT_END_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Rows between two looks whether somebody waits.
const ROWS_AT_ONCE: usize = 1_024;
/// A fresh file is only begun where this many times its bytes are free.
const ROOM_FACTOR: u64 = 2;

/// The fact that something was removed whose bytes should be gone.
pub(crate) const REMOVED: &str = "removed";

/// When the file is written anew.
pub(crate) struct Refreshing {
    /// Bytes on disk when it was opened or written anew last.
    base: u64,
    /// Not before.
    rests_until: Option<Instant>,
    interruptions: u32,
}

impl Refreshing {
    pub(crate) fn new(base: &Base) -> Self {
        Self {
            base: base.medium().used(),
            rests_until: None,
            interruptions: 0,
        }
    }

    /// Whether something was removed, or the file grew by a quarter since it was written anew.
    fn is_wanted(&self, base: &Base) -> bool {
        let used = base.medium().used();
        let grown = used >= GROWN_BYTES_MIN && used / 5 > self.base / 4;
        let removed = || View(base.read()?).meta(REMOVED);
        used > 0 && (grown || removed().is_ok_and(|removed| removed > 0))
    }

    /// In what time it is due, counted from the last change; `None` where it isn't wanted.
    pub(crate) fn due(&self, base: &Base) -> Option<Duration> {
        let rest = self
            .rests_until
            .map(|until| until.saturating_duration_since(Instant::now()));
        self.is_wanted(base)
            .then(|| rest.unwrap_or_default().max(IDLE))
    }

    /// Writes the file anew where that is due; `busy` says that somebody waits.
    pub(crate) fn run(&mut self, base: &Base, free: Option<u64>, busy: &dyn Fn() -> bool) {
        let before = base.medium().used();
        if !self.is_wanted(base) {
            return;
        }
        if free.is_some_and(|free| free / ROOM_FACTOR < before) {
            tracing::debug!("there is no room to write the file anew");
            self.rest(before);
            return;
        }
        let patient = self.interruptions >= INTERRUPTIONS_MAX;
        match base.refresh(&|| !patient && busy()) {
            Ok(true) => {
                self.interruptions = 0;
                self.base = base.medium().used();
                self.rest(self.base);
                tracing::debug!(before, after = self.base, "wrote the file anew");
            }
            Ok(false) if patient => self.rest(before),
            Ok(false) => self.interruptions += 1,
            Err(error) => {
                tracing::warn!(%error, "the file was not written anew");
                self.rest(before);
            }
        }
    }

    /// The same when the program ends, where it doesn't take long.
    pub(crate) fn run_at_end(&mut self, base: &Base, free: Option<u64>) {
        if base.medium().used() <= AT_END_BYTES_MAX {
            self.run(base, free, &|| false);
        }
    }

    fn rest(&mut self, bytes: u64) {
        let mib = u32::try_from(bytes / (1024 * 1024)).unwrap_or(u32::MAX);
        let rest = IDLE.max(REST_PER_MIB.saturating_mul(mib));
        self.rests_until = Instant::now().checked_add(rest);
    }

    /// As if it had rested.
    #[cfg(feature = "sim")]
    pub(crate) fn wake(&mut self) {
        self.rests_until = None;
    }
}

/// Whether a database has exactly the tables that this program knows: it would lose others.
pub(crate) fn is_known(read: &ReadTransaction) -> Result<bool> {
    let mut known = 0;
    for table in read.list_tables()? {
        if !is_name(table.name()) {
            return Ok(false);
        }
        known += 1;
    }
    Ok(known > 0)
}

fn is_name(name: &str) -> bool {
    name == IDS.name() || name == ITEMS.name() || Table::ALL.iter().any(|t| t.name() == name)
}

/// Copies everything that is held in one commit; false where it stopped, with nothing copied.
pub(crate) fn copy(from: &ReadTransaction, to: &Database, stop: &dyn Fn() -> bool) -> Result<bool> {
    if !is_known(from)? {
        return Ok(false);
    }
    let transaction = begin(to)?;
    for table in Table::ALL {
        let (from, mut to) = (
            from.open_table(definition(*table))?,
            transaction.open_table(definition(*table))?,
        );
        for (count, row) in from.iter()?.enumerate() {
            if count % ROWS_AT_ONCE == 0 && stop() {
                return Ok(false);
            }
            let (key, value) = row?;
            if *table != Table::Meta || key.value() != REMOVED.as_bytes() {
                to.insert(key.value(), value.value())?;
            }
        }
    }
    {
        let (from, mut to) = (from.open_table(IDS)?, transaction.open_table(IDS)?);
        for (count, row) in from.iter()?.enumerate() {
            if count % ROWS_AT_ONCE == 0 && stop() {
                return Ok(false);
            }
            let (key, value) = row?;
            to.insert(key.value(), value.value())?;
        }
    }
    {
        let (from, mut to) = (from.open_table(ITEMS)?, transaction.open_table(ITEMS)?);
        for (count, row) in from.iter()?.enumerate() {
            if count % ROWS_AT_ONCE == 0 && stop() {
                return Ok(false);
            }
            let (key, value) = row?;
            to.insert(key.value(), value.value())?;
        }
    }
    transaction.commit()?;
    Ok(true)
}
