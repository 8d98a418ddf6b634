//! Meeting somebody nearby.

use super::Node;
use crate::{Result, nearby, view};

impl Node {
    /// Makes this node visible to others nearby who do the same, for so many seconds (two minutes,
    /// which is the most, unless less is asked for). Where it is so already nothing changes.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`], [`crate::Error::Conflict`] where local networks are switched off,
    /// [`crate::Error::Links`], [`crate::Error::Unreachable`].
    pub async fn open_nearby(&self, seconds: Option<u64>) -> Result<view::Nearby> {
        nearby::open(&self.0, seconds).await?;
        self.nearby()
    }

    /// Who is nearby, and what became of them; after it was closed, of the last time.
    ///
    /// # Errors
    /// [`crate::Error::NotSetUp`].
    pub fn nearby(&self) -> Result<view::Nearby> {
        self.0.ready()?;
        Ok(nearby::shown(&self.0))
    }

    /// Ends it at once.
    ///
    /// # Errors
    /// [`crate::Error::NotSetUp`].
    pub fn close_nearby(&self) -> Result<()> {
        self.0.ready()?;
        nearby::close(&self.0);
        Ok(())
    }

    /// Says that somebody shows the same words, and is to be a contact. They become one when both
    /// people said so.
    ///
    /// # Errors
    /// [`crate::Error::NotFound`], [`crate::Error::Conflict`] where there is nothing to decide.
    pub fn accept_nearby(&self, id: &str) -> Result<view::NearbyPerson> {
        nearby::decide(&self.0, id, true)?;
        self.person_nearby(id)
    }

    /// Says no to somebody.
    ///
    /// # Errors
    /// As [`Self::accept_nearby`].
    pub fn decline_nearby(&self, id: &str) -> Result<view::NearbyPerson> {
        nearby::decide(&self.0, id, false)?;
        self.person_nearby(id)
    }

    fn person_nearby(&self, id: &str) -> Result<view::NearbyPerson> {
        let mut people = self.nearby()?.people.into_iter();
        people
            .find(|person| person.id == id)
            .ok_or(crate::Error::NotFound {
                what: "somebody nearby with this id",
            })
    }
}
