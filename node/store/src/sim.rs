//! A simulated disk: what a power cut leaves of it, calls that fail, no more room.
//!
//! A [`Disk`] is memory that behaves as a file below redb: it knows what was synced and every write
//! since, in order, and makes the images that a power cut may leave ([`Disk::cut`]). The model is
//! the one that file systems promise: a sync makes everything before it durable; of what came
//! after, any part may be there, in units of a sector. A sync that failed may have lost the writes
//! before it for good, even where the next one succeeds.
//!
//! It knows nothing of redb's pages or of rows. Images share their blocks, so one costs what
//! differs. Randomness comes from seeds: the same calls and seeds give the same bytes.

mod image;

use std::{
    collections::BTreeMap,
    io,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use redb::{BackendError, StorageBackend};

pub use image::Image;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;
/// The number of Linux and its like; there is no kind for it.
const EIO: i32 = 5;

/// What was done to a disk.
#[derive(Debug, Clone)]
pub enum Op {
    /// Bytes were written.
    Write {
        /// Where.
        at: u64,
        /// What.
        data: Arc<[u8]>,
    },
    /// It was made longer, with zeros, or shorter.
    SetLen(u64),
    /// Another file, synced before, took this one's name. Whole or not at all.
    Replace(Image),
    /// Everything before is durable.
    Sync,
}

impl Image {
    fn apply(&mut self, op: &Op) {
        match op {
            Op::Write { at, data } => self.write(*at, data),
            Op::SetLen(len) => self.set_len(*len),
            Op::Replace(image) => *self = image.clone(),
            Op::Sync => {}
        }
    }
}

/// What a power cut leaves of the writes since the last sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cut {
    /// None of them.
    Nothing,
    /// All of them.
    Everything,
    /// The first few.
    Prefix,
    /// Any of them, in any order.
    Subset,
    /// The first few, and of the next one some of its sectors.
    Torn,
}

impl Cut {
    /// All kinds.
    pub const ALL: [Self; 5] = [
        Self::Nothing,
        Self::Everything,
        Self::Prefix,
        Self::Subset,
        Self::Torn,
    ];
}

/// Why a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// EIO: the disk is failing. A write leaves its first half; a sync drops what it should keep.
    Failing,
    /// ENOSPC: no room. A write leaves its first half.
    Full,
}

impl Fault {
    fn error(self) -> io::Error {
        match self {
            Self::Failing => io::Error::from_raw_os_error(EIO),
            Self::Full => io::ErrorKind::StorageFull.into(),
        }
    }
}

/// How full a disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Room {
    /// There is room.
    #[default]
    Enough,
    /// What is allocated can be overwritten; nothing more can be allocated.
    NoBlocks,
    /// No write succeeds, as where a file system never overwrites.
    None,
}

/// A call that a disk may be told to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// A read.
    Read,
    /// A write.
    Write,
    /// A change of the length.
    SetLen,
    /// A sync.
    Sync,
}

/// A file: what a program sees, what a power cut leaves at least, and what lies between.
#[derive(Debug, Default)]
struct Bytes {
    now: Image,
    synced: Image,
    unsynced: Vec<Op>,
}

impl Bytes {
    fn of(image: Image) -> Self {
        Self {
            now: image.clone(),
            synced: image,
            unsynced: Vec::new(),
        }
    }

    fn act(&mut self, op: Op) {
        match op {
            Op::Sync => {
                for op in std::mem::take(&mut self.unsynced) {
                    self.synced.apply(&op);
                }
            }
            op => {
                self.now.apply(&op);
                self.unsynced.push(op);
            }
        }
    }
}

/// A file's number, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Inode(u64);

#[derive(Debug, Default)]
struct State {
    /// Files by number; the others have no name, or none any more.
    files: BTreeMap<Inode, Bytes>,
    /// The one that has the name.
    named: Inode,
    last: u64,
    trace: Option<Vec<Op>>,
    calls: u64,
    called: Vec<Call>,
    faults: BTreeMap<u64, Fault>,
    room: Room,
}

impl State {
    fn file(&mut self, inode: Inode) -> &mut Bytes {
        self.files.entry(inode).or_default()
    }

    fn named(&mut self) -> &mut Bytes {
        self.file(self.named)
    }

    fn act(&mut self, inode: Inode, op: Op) {
        if inode == self.named
            && let Some(trace) = &mut self.trace
        {
            trace.push(op.clone());
        }
        self.file(inode).act(op);
    }

    /// Counts a call: the fault that it meets.
    fn call(&mut self, call: Call) -> Option<Fault> {
        let number = self.calls;
        self.calls += 1;
        if self.trace.is_some() {
            self.called.push(call);
        }
        self.faults.remove(&number)
    }

    fn write(&mut self, inode: Inode, at: u64, data: &[u8]) -> io::Result<()> {
        let hole = self.file(inode).now.has_hole(at, data.len());
        let fault = self.call(Call::Write).or(match self.room {
            Room::Enough => None,
            Room::NoBlocks => hole.then_some(Fault::Full),
            Room::None => Some(Fault::Full),
        });
        let written = match fault {
            None => data,
            Some(_) => data.get(..data.len() / 2).unwrap_or_default(),
        };
        if !written.is_empty() {
            let data = written.into();
            self.act(inode, Op::Write { at, data });
        }
        fault.map_or(Ok(()), |fault| Err(fault.error()))
    }

    fn sync(&mut self, inode: Inode) -> io::Result<()> {
        let Some(fault) = self.call(Call::Sync) else {
            self.act(inode, Op::Sync);
            return Ok(());
        };
        // The bytes can still be read until a power cut; no later sync writes them.
        let unsynced = &mut self.file(inode).unsynced;
        unsynced.retain(|op| matches!(op, Op::Replace(_)));
        Err(fault.error())
    }
}

/// A simulated disk with one named file on it. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct Disk(Arc<Mutex<State>>);

impl Disk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A disk as an image shows it, all of it synced.
    #[must_use]
    pub fn from_image(image: Image) -> Self {
        Self(Arc::new(Mutex::new(State {
            files: BTreeMap::from([(Inode::default(), Bytes::of(image))]),
            ..State::default()
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on every change is recorded, see [`Self::trace`]. Costs the memory of the trace.
    pub fn record(&self) {
        self.state().trace = Some(Vec::new());
    }

    /// How many changes and syncs were recorded.
    #[must_use]
    pub fn recorded(&self) -> usize {
        self.state().trace.as_ref().map_or(0, Vec::len)
    }

    /// What was recorded, in order.
    #[must_use]
    pub fn trace(&self) -> Vec<Op> {
        self.state().trace.clone().unwrap_or_default()
    }

    /// Does what was recorded elsewhere.
    pub fn apply(&self, op: &Op) {
        let mut state = self.state();
        let named = state.named;
        state.act(named, op.clone());
    }

    /// The bytes as a running program sees them.
    #[must_use]
    pub fn image(&self) -> Image {
        self.state().named().now.clone()
    }

    /// What a power cut leaves at this moment. The disk itself goes on.
    #[must_use]
    pub fn cut(&self, cut: Cut, seed: u64) -> Image {
        let mut state = self.state();
        let Bytes {
            synced, unsynced, ..
        } = state.named();
        let mut dice = Dice(seed);
        let mut image = synced.clone();
        let whole = match cut {
            Cut::Nothing => 0,
            Cut::Everything => unsynced.len(),
            Cut::Prefix | Cut::Torn => dice.below(unsynced.len() + 1),
            Cut::Subset => {
                for op in unsynced.iter() {
                    if dice.below(2) == 0 {
                        image.apply(op);
                    }
                }
                0
            }
        };
        for op in unsynced.iter().take(whole) {
            image.apply(op);
        }
        if cut == Cut::Torn
            && let Some(Op::Write { at, data }) = unsynced.get(whole)
        {
            for (number, sector) in data.chunks(SECTOR).enumerate() {
                if dice.below(2) == 0 {
                    image.write(at + (number * SECTOR) as u64, sector);
                }
            }
        }
        image
    }

    /// Cuts the power: the disk is from now on what is left. Whatever had it open must be dropped.
    pub fn crash(&self, cut: Cut, seed: u64) {
        let image = self.cut(cut, seed);
        let mut state = self.state();
        let named = state.named;
        state.files = BTreeMap::from([(named, Bytes::of(image))]);
    }

    /// Calls so far: reads, writes, changes of the length, syncs.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// The kinds of the calls since [`Self::record`].
    #[must_use]
    pub fn called(&self) -> Vec<Call> {
        self.state().called.clone()
    }

    /// Makes the call with this number, counted from the disk's beginning, fail once.
    pub fn fail(&self, call: u64, fault: Fault) {
        self.state().faults.insert(call, fault);
    }

    /// Fills the disk, or frees it.
    pub fn set_room(&self, room: Room) {
        self.state().room = room;
    }

    /// Opens the file that has the name.
    #[must_use]
    pub fn open(&self) -> DiskFile {
        let inode = self.state().named;
        DiskFile {
            disk: self.clone(),
            inode,
        }
    }

    /// Makes a file without a name.
    #[must_use]
    pub fn create(&self) -> DiskFile {
        let mut state = self.state();
        state.last += 1;
        let inode = Inode(state.last);
        drop(state);
        DiskFile {
            disk: self.clone(),
            inode,
        }
    }

    /// Gives a file the name; whoever has the other one open goes on with that. Durable after
    /// [`Self::sync_name`], until when a power cut leaves one or the other.
    ///
    /// # Errors
    /// As it was told to fail.
    pub fn rename(&self, inode: Inode) -> io::Result<()> {
        let mut state = self.state();
        if let Some(fault) = state.call(Call::SetLen) {
            return Err(fault.error());
        }
        let image = state.file(inode).synced.clone();
        let named = state.named;
        let bytes = state.file(named);
        let old = Bytes::of(bytes.now.clone());
        let mut bytes = std::mem::replace(bytes, old);
        bytes.unsynced.push(Op::Replace(image.clone()));
        bytes.now = state.file(inode).now.clone();
        state.files.insert(inode, bytes);
        state.named = inode;
        if let Some(trace) = &mut state.trace {
            trace.push(Op::Replace(image));
        }
        Ok(())
    }

    /// Makes the name durable.
    ///
    /// # Errors
    /// As it was told to fail.
    pub fn sync_name(&self) -> io::Result<()> {
        let mut state = self.state();
        let named = state.named;
        state.sync(named)
    }
}

/// An open file of a [`Disk`].
#[derive(Debug)]
pub struct DiskFile {
    disk: Disk,
    inode: Inode,
}

impl DiskFile {
    /// Its number.
    #[must_use]
    pub const fn inode(&self) -> Inode {
        self.inode
    }
}

impl StorageBackend for DiskFile {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.disk.state().file(self.inode).now.len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let mut state = self.disk.state();
        if let Some(fault) = state.call(Call::Read) {
            return Err(fault.error());
        }
        let now = &state.file(self.inode).now;
        let end = offset.checked_add(out.len() as u64);
        if end.is_none_or(|end| end > now.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        now.read(offset, out);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        let mut state = self.disk.state();
        if let Some(fault) = state.call(Call::SetLen) {
            return Err(fault.error());
        }
        state.act(self.inode, Op::SetLen(len));
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.disk.state().sync(self.inode)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.disk.state().write(self.inode, offset, data)
    }

    fn close(&self) -> Result<(), io::Error> {
        let mut state = self.disk.state();
        if state.named != self.inode {
            state.files.remove(&self.inode);
        }
        Ok(())
    }

    fn try_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn unlock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }
}

/// Numbers from a seed (splitmix64, Steele, Lea and Flood 2014).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 where that is 0.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % (end.max(1) as u64)) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::{image::BLOCK, *};

    fn bytes(image: &Image, at: u64, len: usize) -> Vec<u8> {
        let mut out = vec![9; len];
        image.read(at, &mut out);
        out
    }

    #[test]
    fn images_keep_what_was_written_and_share_the_rest() {
        let mut image = Image::default();
        image.set_len(20_000);
        image.write(4_000, &[7; 200]);
        let before = image.clone();
        image.write(4_090, &[8; 10]);
        assert_eq!(bytes(&before, 4_090, 10), [7; 10]);
        assert_eq!(bytes(&image, 4_088, 4), [7, 7, 8, 8]);
        assert_eq!(bytes(&image, 10_000, 3), [0; 3]);
        assert_eq!(image.used(), 2 * BLOCK as u64);
        image.set_len(4_095);
        image.set_len(20_000);
        assert_eq!(bytes(&image, 4_094, 3), [8, 0, 0]);
        image.write(19_999, &[1, 2]);
        assert_eq!(image.to_vec().len(), 20_000);
    }

    #[test]
    fn a_cut_leaves_what_was_synced_and_parts_of_the_rest() {
        let disk = Disk::new();
        let file = disk.open();
        file.set_len(8_192).unwrap();
        file.write(0, &[1; 2_048]).unwrap();
        file.sync_data().unwrap();
        file.write(0, &[2; 2_048]).unwrap();
        file.write(4_096, &[3; 512]).unwrap();
        assert_eq!(bytes(&disk.cut(Cut::Nothing, 0), 0, 2), [1, 1]);
        let all = disk.cut(Cut::Everything, 0);
        assert_eq!(
            (bytes(&all, 0, 1), bytes(&all, 4_096, 1)),
            (vec![2], vec![3])
        );
        let (mut torn, mut second_only) = (false, false);
        for seed in 0..64 {
            let image = disk.cut(Cut::Torn, seed);
            let sectors: Vec<u8> = (0..4).map(|n| bytes(&image, n * 512, 1)[0]).collect();
            torn |= sectors.contains(&1) && sectors.contains(&2);
            let image = disk.cut(Cut::Subset, seed);
            second_only |= bytes(&image, 0, 1) == [1] && bytes(&image, 4_096, 1) == [3];
            let image = disk.cut(Cut::Prefix, seed);
            assert!(bytes(&image, 4_096, 1) == [0] || bytes(&image, 0, 1) == [2]);
            let again = disk.cut(Cut::Torn, seed);
            assert_eq!(again.to_vec(), disk.cut(Cut::Torn, seed).to_vec());
        }
        assert!(torn && second_only);
    }

    #[test]
    fn calls_fail_when_they_are_told_to() {
        let disk = Disk::new();
        let file = disk.open();
        file.set_len(8_192).unwrap();
        disk.fail(1, Fault::Full);
        disk.fail(3, Fault::Failing);
        let full = file.write(0, &[1; 8]).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        assert_eq!(bytes(&disk.image(), 0, 8), [1, 1, 1, 1, 0, 0, 0, 0]);
        file.write(0, &[2; 8]).unwrap();
        file.sync_data().unwrap_err();
        file.sync_data().unwrap();
        disk.set_room(Room::NoBlocks);
        file.write(0, &[3; 8]).unwrap();
        file.write(4_096, &[3; 8]).unwrap_err();
        disk.set_room(Room::None);
        file.write(0, &[3; 8]).unwrap_err();
        disk.set_room(Room::Enough);
        file.write(4_096, &[3; 8]).unwrap();
        assert_eq!(disk.calls(), 9);
    }

    #[test]
    fn what_a_failed_sync_lost_does_not_come_back() {
        let disk = Disk::new();
        let file = disk.open();
        file.set_len(4_096).unwrap();
        file.sync_data().unwrap();
        file.write(0, &[1; 8]).unwrap();
        disk.fail(disk.calls(), Fault::Failing);
        file.sync_data().unwrap_err();
        assert_eq!(bytes(&disk.image(), 0, 1), [1]);
        disk.crash(Cut::Everything, 0);
        assert_eq!(bytes(&disk.image(), 0, 1), [0]);
    }

    #[test]
    fn a_renamed_file_is_there_whole_or_not_yet() {
        let disk = Disk::new();
        let old = disk.open();
        old.set_len(512).unwrap();
        old.write(0, &[1; 512]).unwrap();
        old.sync_data().unwrap();
        let new = disk.create();
        new.set_len(1_024).unwrap();
        new.write(0, &[2; 1_024]).unwrap();
        new.sync_data().unwrap();
        disk.rename(new.inode()).unwrap();
        old.write(0, &[3; 512]).unwrap();
        assert_eq!(bytes(&disk.cut(Cut::Nothing, 0), 0, 1), [1]);
        assert_eq!(bytes(&disk.cut(Cut::Everything, 0), 600, 1), [2]);
        assert_eq!(bytes(&disk.image(), 0, 1), [2]);
        let mut read = [0];
        old.read(0, &mut read).unwrap();
        assert_eq!(read, [3]);
        disk.sync_name().unwrap();
        assert_eq!(disk.cut(Cut::Nothing, 0).len(), 1_024);
    }
}
