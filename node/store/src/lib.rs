//! Everything a node keeps on disk: entries, what is shown of them, contacts, settings; in one
//! redb file.
//!
//! It refuses to know of connections, of secrets in files, of the clock (times are arguments) and
//! of what a page looks like.
//!
//! - [`Store`]: [`Store::open`], [`Store::in_memory`], [`Store::read`] for a [`Snapshot`],
//!   [`Store::write`] for a job on the one writer thread, which answers once it is durable.
//! - [`View`] has every query; a [`Snapshot`] is one and a [`Txn`] derefs to one.
//! - [`Txn`] has every change: [`Txn::create_space`], [`Txn::leave_space`]; [`Txn::import`],
//!   [`Txn::append`], [`Txn::fill`], [`Txn::import_fork`], [`Txn::import_revocation`],
//!   [`Txn::compare`]; [`Txn::mark_read`] and its like; the records of contacts, invites, offers.
//! - A meeting reads a view through [`proto::session::SpaceStore`].
//!
//! `docs/ARCHITECTURE.md` says where the rows lie; the table of tables is [`Table`].
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

mod base;
mod circles;
mod covers;
mod doctor;
mod ends;
mod error;
mod feeds;
mod fill;
mod forget;
mod fresh;
#[doc(hidden)]
pub mod fuzz;
mod keys;
mod marks;
mod medium;
mod open;
mod project;
mod reading;
mod readset;
mod receipts;
mod records;
mod relations;
mod roles;
mod room;
mod rows;
mod search;
mod segment;
mod serve;
#[cfg(feature = "sim")]
pub mod sim;
mod spaces;
mod store;
mod tables;
mod tail;
mod timers;
mod topics;
mod tree;
mod txn;
mod undo;
mod usage;
mod view;
mod work;
mod writer;

pub use base::Condition;
pub use circles::Standing;
pub use covers::Agreement;
pub use doctor::{CheckUp, FINDINGS_MAX, Finding, Part};
pub use error::{Error, ImportError, OpenError, Result};
pub use feeds::{Appended, Imported};
pub use fill::Filled;
pub use forget::Deleted;
pub use project::{NewEntry, is_doubtful};
pub use proto::body::{InForce, Lifetime, Placed};
pub use reading::{Cursor, Entry, Item, Page, Reblogged, TopicNumber};
pub use receipts::ReadUpTo;
pub use records::{
    Beacons, Carried, Contact, ContactDevice, ContactState, Introduction, Invite, Left, Lines,
    Loose, MEETINGS_PER_CONTACT_MAX, Met, MetEnd, OfferIn, OfferOut, OfferState, Owed, OwnDevice,
    OwnLetter, OwnPrekey, Receipted, Said, Setting, TheirPrekey, Trust,
};
pub use relations::{Quote, Reaction, Version};
pub use room::{Free, free_bytes};
pub use rows::{Counts, TopicKind};
pub use search::Hit;
pub use spaces::{Beginning, ForkedFeed, Member, MemberDevice, Space, SpaceRecord};
pub use store::{Snapshot, Store};
#[doc(hidden)]
pub use tables::{
    Bounds, Bytes, ID_KEY, ID_VALUE, ITEM_KEY, ITEM_VALUE, IdRows, ItemBounds, ItemRows, Rows,
};
pub use tables::{Source, Table};
pub use timers::{Expiry, UNREAD_MS_MAX, Vanished};
pub use topics::Topic;
pub use txn::Txn;
pub use usage::{CONVERSATION_RESERVE_BYTES, QUOTA_BYTES_DEFAULT, Usage};
pub use view::View;
