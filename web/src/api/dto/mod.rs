//! The API's objects, as JSON and in its description. Names here are the wire's names: changing
//! one breaks somebody's tool.

mod bluetooth;
mod circles;
mod dashboard;
mod introductions;
mod letters;
mod meetings;
mod nearby;
mod node;
mod people;
mod posts;
mod spaces;

use engine::view;
use serde::Serialize;
use utoipa::ToSchema;

pub(crate) use self::{
    bluetooth::*, circles::*, dashboard::*, introductions::*, letters::*, meetings::*, nearby::*,
    node::*, people::*, posts::*, spaces::*,
};

/// A list, a page at a time.
#[derive(Serialize, ToSchema)]
pub(crate) struct List<T> {
    /// The items.
    pub(crate) items: Vec<T>,
    /// The cursor of the next page, null at the end.
    pub(crate) next: Option<String>,
}

impl<T> List<T> {
    pub(crate) fn of<V>(page: view::Page<V>, item: impl FnMut(V) -> T) -> Self {
        Self {
            items: page.items.into_iter().map(item).collect(),
            next: page.next.map(|cursor| cursor.0),
        }
    }

    pub(crate) fn whole<V>(items: Vec<V>, item: impl FnMut(V) -> T) -> Self {
        Self {
            items: items.into_iter().map(item).collect(),
            next: None,
        }
    }
}
