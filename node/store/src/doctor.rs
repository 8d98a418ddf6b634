//! Verification of everything that is held: each feed's chain, signatures and bodies, what is
//! derived from them, and the records; in words, and with what to do.
//!
//! It reads one snapshot, changes nothing, and keeps no more in memory than a row for each feed of
//! one space. A row that can't be read is a finding and no error. Enter at [`View::check_up`].

mod feeds;
mod shown;

use std::{collections::BTreeMap, fmt};

use proto::{DeviceId, SpaceId, space::SpaceKind};

use crate::{
    error::{Error, Result},
    keys::{Indexed, Key, Prefixed, id_at, u32_at},
    rows::{FeedRow, Row as _, SpaceRow},
    tables::{Source, Table},
    view::View,
};

/// Findings that are described; further ones are only counted.
pub const FINDINGS_MAX: u64 = 1_000;

/// What a finding is about, and so what helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Entries: what people wrote.
    Entries,
    /// What is made from entries: threads, counts, the index, the digest tree.
    Derived,
    /// Contacts, invites, settings and the like.
    Records,
}

impl Part {
    /// What to do.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Entries => {
                "put a backup of the data folder in its place, or leave the space and join it again: contacts send its entries anew"
            }
            Self::Derived => {
                "the entries are there: leave the space and join it again to have this made anew from them"
            }
            Self::Records => "remove it and enter it again, or put a backup in its place",
        }
    }
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub part: Part,
    /// In which space.
    pub space: Option<SpaceId>,
    /// In whose feed.
    pub device: Option<DeviceId>,
    /// What was expected and what was found.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// How much was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CheckUp {
    /// Spaces.
    pub spaces: u64,
    /// Feeds.
    pub feeds: u64,
    /// Entries, each by its hash.
    pub entries: u64,
    /// Signatures checked, each of which vouches for the entries before it.
    pub signatures: u64,
    /// Bodies that are missing and asked for: no fault.
    pub holes: u64,
    /// Contacts and other records.
    pub records: u64,
    /// What is wrong.
    pub findings: u64,
}

impl<S: Source> View<S> {
    /// Checks everything and tells what is wrong, at most [`FINDINGS_MAX`] times; `go_on` is asked
    /// between feeds and ends it early.
    ///
    /// # Errors
    /// The database's, where it can't be read at all.
    pub fn check_up(
        &self,
        found: &mut dyn FnMut(Finding),
        go_on: &mut dyn FnMut(&CheckUp) -> bool,
    ) -> Result<CheckUp> {
        let mut doctor = Doctor {
            view: self,
            found,
            go_on,
            sums: CheckUp::default(),
            at: At::default(),
            heads: BTreeMap::new(),
            stopped: false,
        };
        doctor.spaces()?;
        if !doctor.stopped {
            doctor.strays()?;
            doctor.index()?;
            doctor.records()?;
        }
        Ok(doctor.sums)
    }
}

/// Where the doctor is.
#[derive(Debug, Clone, Copy, Default)]
struct At {
    space: Option<SpaceId>,
    device: Option<DeviceId>,
}

struct Doctor<'v, S> {
    view: &'v View<S>,
    found: &'v mut dyn FnMut(Finding),
    go_on: &'v mut dyn FnMut(&CheckUp) -> bool,
    sums: CheckUp,
    at: At,
    /// Feeds: how many entries are held from the first on, and between what places above a gap.
    heads: BTreeMap<u32, (u64, u64, u64)>,
    stopped: bool,
}

/// A space that is being looked at.
struct Ward {
    number: u32,
    row: SpaceRow,
    creator: Option<proto::IdentityId>,
    sums: Expected,
}

impl Ward {
    const fn kind(&self) -> SpaceKind {
        self.row.kind
    }
}

/// What a space's entries say that its derived rows must say too.
#[derive(Debug, Default)]
struct Expected {
    feeds: u64,
    entries: u64,
    items: u64,
    relations: u64,
    authors: u64,
    /// Counts by key of the edges and branches of the tree of admissions.
    edges: BTreeMap<Vec<u8>, u32>,
    branches: BTreeMap<Vec<u8>, u32>,
}

impl<S: Source> Doctor<'_, S> {
    fn tell(&mut self, part: Part, what: impl Into<String>) {
        self.sums.findings += 1;
        if self.sums.findings <= FINDINGS_MAX {
            let At { space, device } = self.at;
            (self.found)(Finding {
                part,
                space,
                device,
                what: what.into(),
            });
        }
    }

    /// A row that can't be read is a finding; `None` then.
    fn sound<T>(&mut self, part: Part, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error @ (Error::Corrupt { .. } | Error::UnknownSpace)) => {
                self.tell(part, error.to_string());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Another feed than the one that is looked at: what is wrong with it is told in its turn.
    fn other_feed(&self, feed: u32) -> Result<Option<FeedRow>> {
        readable(self.view.feed_row(feed))
    }

    fn spaces(&mut self) -> Result<()> {
        for (key, value) in self.view.collect(Table::SpaceNumbers, Key::new())? {
            let (id, number) = (SpaceId(id_at(&key, 0)), u32_at(&value, 0));
            self.at = At {
                space: Some(id),
                device: None,
            };
            self.sums.spaces += 1;
            let row = self.view.space_row(number);
            if let Some(row) = self.sound(Part::Entries, row)? {
                if row.id == id {
                    self.space(number, row)?;
                } else {
                    self.tell(Part::Entries, "the space's row is another space's");
                }
            }
            if self.stopped {
                return Ok(());
            }
        }
        self.at = At::default();
        Ok(())
    }

    fn space(&mut self, number: u32, row: SpaceRow) -> Result<()> {
        let context = crate::serve::context_of(&row);
        let Some(context) = self.sound(Part::Entries, context)? else {
            return Ok(());
        };
        let mut ward = Ward {
            number,
            creator: crate::work::creator_of(&context),
            row,
            sums: Expected::default(),
        };
        let mut leaves = Vec::new();
        let range = Prefixed::new(Key::new().u32(number));
        for entry in self.view.0.rows(Table::FeedNumbers, range.bounds())? {
            let (key, value) = entry?;
            let device = DeviceId(id_at(key.value(), 4));
            let feed = u32_at(value.value(), 0);
            let noted = value.value().get(4..).filter(|leaf| !leaf.is_empty());
            self.at.device = Some(device);
            let Some(row) = self.feed_row(feed, number, device)? else {
                continue;
            };
            self.feed(&mut ward, feed, &row)?;
            let frontier = self.view.frontier_of(feed, &row)?;
            let leaf = frontier.leaf();
            if noted != leaf.as_ref().map(<[u8; 32]>::as_slice) {
                self.tell(
                    Part::Derived,
                    "the feed's leaf in the digest tree isn't that of its frontier",
                );
            }
            leaves.extend(leaf.map(|leaf| (device, leaf)));
            if !(self.go_on)(&self.sums) {
                self.stopped = true;
                return Ok(());
            }
        }
        self.at.device = None;
        self.tree(number, &leaves)?;
        self.shown(&ward)
    }

    fn feed_row(&mut self, feed: u32, space: u32, device: DeviceId) -> Result<Option<FeedRow>> {
        let row = self.view.known_feed(feed);
        let Some(row) = self.sound(Part::Entries, row)? else {
            return Ok(None);
        };
        let above = row
            .tail
            .map_or((0, 0), |tail| (tail.facts.start, tail.facts.next));
        self.heads.insert(feed, (row.head.next, above.0, above.1));
        if row.space != space || row.device != device {
            self.tell(Part::Entries, "the feed's row is another feed's");
            return Ok(None);
        }
        let last = self.view.meta("last-feed")?;
        if feed > last {
            self.tell(
                Part::Derived,
                format!("the feed has number {feed}, but only {last} were given"),
            );
        }
        Ok(Some(row))
    }

    /// Every feed belongs to a space, unless that was left and is being deleted.
    fn strays(&mut self) -> Result<()> {
        let mut lost = 0_u64;
        let all = Prefixed::new(Key::new());
        for row in self.view.0.rows(Table::Feeds, all.bounds())? {
            let (key, value) = row?;
            let known = self.heads.contains_key(&u32_at(key.value(), 0));
            if !known && let Ok(row) = FeedRow::decode(value.value()) {
                lost += u64::from(!self.view.is_left(row.space)?);
            }
        }
        if lost > 0 {
            self.tell(
                Part::Derived,
                format!("{lost} feeds aren't found by their devices"),
            );
        }
        Ok(())
    }

    /// Every row of the index leads to an entry.
    fn index(&mut self) -> Result<()> {
        let mut lost = 0_u64;
        for row in self.view.0.id_rows()? {
            let place = Indexed::decode(row?.1.value()).place;
            let held = match self.heads.get(&place.feed) {
                Some((next, start, end)) => {
                    place.seq < *next || (*start..*end).contains(&place.seq)
                }
                // Of a space that was left, whose rows are still being deleted.
                None => self.other_feed(place.feed)?.is_some(),
            };
            lost += u64::from(!held);
        }
        if lost > 0 {
            self.tell(
                Part::Derived,
                format!("{lost} rows of the index lead to entries that aren't held"),
            );
        }
        Ok(())
    }

    fn records(&mut self) -> Result<()> {
        let (view, mut count) = (self.view, 0);
        macro_rules! all {
            ($($list:ident),*) => {$(
                let listed = view.$list();
                if let Some(listed) = self.sound(Part::Records, listed)? {
                    count += listed.len() as u64;
                }
            )*};
        }
        all!(
            invites,
            offers_in,
            offers_out,
            all_left,
            introductions,
            settings
        );
        let own = view.own_device();
        self.sound(Part::Records, own)?;
        let contacts = view.contacts();
        for (identity, contact) in self.sound(Part::Records, contacts)?.unwrap_or_default() {
            count += 1;
            for device in contact.devices.values() {
                if view.contact_at(device.endpoint)? != Some(identity) {
                    let name = &contact.name;
                    self.tell(
                        Part::Records,
                        format!("a device of the contact {name} isn't found by its endpoint"),
                    );
                }
            }
        }
        let meetings = view.checked_meetings();
        if let Some((meetings, lost)) = self.sound(Part::Records, meetings)? {
            count += meetings;
            if lost > 0 {
                self.tell(
                    Part::Records,
                    format!("{lost} meetings stand in one list and not in the other"),
                );
            }
        }
        self.sums.records = count;
        Ok(())
    }
}

/// What can't be read isn't there.
fn readable<T>(result: Result<Option<T>>) -> Result<Option<T>> {
    match result {
        Err(Error::Corrupt { .. } | Error::UnknownSpace) => Ok(None),
        other => other,
    }
}
