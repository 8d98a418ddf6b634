//! The public API of a node, by subject. Calls that change something return when the change is
//! durable. Reading calls are quick (they read what the page shows) and may be made from async code.

mod bluetooth;
mod circles;
pub(crate) mod contacts;
mod introductions;
mod keeping;
mod letters;
mod links;
mod meetings;
mod nearby;
mod reading;
mod spaces;
mod start;
mod writing;

use std::sync::Arc;

use crate::{
    Result,
    error::invalid,
    inner::Inner,
    view::{Cursor, Page, PageQuery},
};

/// Items of a page at most.
const PAGE_MAX: usize = 500;

/// The database in the data folder.
pub(crate) const DATABASE: &str = "waymeet.redb";

/// A running node; clones share it.
#[derive(Clone)]
pub struct Node(pub(crate) Arc<Inner>);

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Node(..)")
    }
}

/// A page of a list that is short enough to be made whole: its cursor is a position.
fn page_of<T>(items: Vec<T>, query: &PageQuery) -> Result<Page<T>> {
    let (start, limit) = (position(query)?, limit(query)?);
    let more = items.len() > start.saturating_add(limit);
    let items = items.into_iter().skip(start).take(limit).collect();
    Ok(Page {
        items,
        next: more.then(|| Cursor((start + limit).to_string())),
    })
}

fn position(query: &PageQuery) -> Result<usize> {
    let Some(Cursor(text)) = &query.cursor else {
        return Ok(0);
    };
    text.parse().map_err(|_| bad_cursor())
}

fn bad_cursor() -> crate::Error {
    invalid("cursor", "expected a cursor that this list gave")
}

fn limit(query: &PageQuery) -> Result<usize> {
    if (1..=PAGE_MAX).contains(&query.limit) {
        return Ok(query.limit);
    }
    Err(invalid(
        "limit",
        &format!("expected 1 to {PAGE_MAX}, found {}", query.limit),
    ))
}
