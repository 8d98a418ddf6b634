//! The door for the fuzzers: what is read from the disk, callable by itself. No promise to anybody
//! else.

use crate::{
    records::{self, Contact, Invite, Left, OfferIn, OfferOut, OwnDevice, Setting},
    rows::{Counts, FeedRow, Row, SpaceRow, TopicRow},
    tree::Branch,
};

/// Kinds of rows that [`row`] knows.
pub const ROWS: u8 = 22;

/// Reads a row of some kind and writes it again; `None` where it is refused.
#[must_use]
pub fn row(kind: u8, bytes: &[u8]) -> Option<Vec<u8>> {
    match kind {
        0 => again::<SpaceRow>(bytes),
        1 => again::<Counts>(bytes),
        2 => again::<FeedRow>(bytes),
        3 => again::<TopicRow>(bytes),
        4 => again::<Branch>(bytes),
        5 => records::again::<Contact>(bytes),
        6 => records::again::<Invite>(bytes),
        7 => records::again::<OfferIn>(bytes),
        8 => records::again::<OfferOut>(bytes),
        9 => records::again::<Left>(bytes),
        10 => records::again::<OwnDevice>(bytes),
        11 => records::again::<records::Beacons>(bytes),
        12 => records::again::<records::Met>(bytes),
        13 => records::again::<records::OwnPrekey>(bytes),
        14 => records::again::<records::TheirPrekey>(bytes),
        15 => records::again::<records::Lines>(bytes),
        16 => records::again::<records::OwnLetter>(bytes),
        17 => records::again::<records::Carried>(bytes),
        18 => records::again::<records::Receipted>(bytes),
        19 => records::again::<records::Owed>(bytes),
        20 => records::again::<records::Loose>(bytes),
        _ => records::again::<Setting>(bytes),
    }
}

fn again<R: Row>(bytes: &[u8]) -> Option<Vec<u8>> {
    R::decode(bytes).ok().map(|row| row.encode())
}
