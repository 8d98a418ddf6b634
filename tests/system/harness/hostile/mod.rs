//! Contacts of a node who exist only in its database, and speak to it through the real links and
//! sessions from elsewhere: honestly, or each in a hostile manner.

mod liar;
mod peer;
mod people;

pub(crate) use liar::Liar;
pub(crate) use peer::{Manner, Peer};
pub(crate) use people::{Address, Forum, Person, Scene, enlist, from_words};
