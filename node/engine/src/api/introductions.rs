//! Introductions of contacts to each other.

use proto::{IdentityId, introduction::IntroductionId, limits::INTRODUCTION_EXPIRY_MS};
use store::{Said, Snapshot};

use super::Node;
use crate::{
    Error, Result, clock, introductions,
    view::{Introduction, IntroductionAnswer, IntroductionState, Person, Relation},
};

const MISSING: Error = Error::NotFound {
    what: "the introduction",
};

impl Node {
    /// Introduces two contacts to each other: both are asked, and become contacts if both say yes.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Conflict`] where one of them is no contact, or they are
    /// introduced already.
    pub async fn introduce(
        &self,
        one: IdentityId,
        other: IdentityId,
        message: &str,
    ) -> Result<Introduction> {
        let id = introductions::make(&self.0, one, other, message).await?;
        self.introduction(&id.to_string())
    }

    /// Introductions that we made or got, the newest first.
    ///
    /// # Errors
    /// [`Error::NotSetUp`].
    pub fn introductions(&self) -> Result<Vec<Introduction>> {
        let own = self.0.ready()?.identity.id();
        let snapshot = self.0.store.read()?;
        let mut rows = snapshot.introductions()?;
        rows.sort_by_key(|(id, row)| (std::cmp::Reverse(row.at), *id));
        rows.iter()
            .map(|(id, row)| self.shown_introduction(&snapshot, own, *id, row))
            .collect()
    }

    /// One introduction.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn introduction(&self, id: &str) -> Result<Introduction> {
        let own = self.0.ready()?.identity.id();
        let id: IntroductionId = id.parse().map_err(|_| MISSING)?;
        let snapshot = self.0.store.read()?;
        let row = snapshot.introduction(&id)?.ok_or(MISSING)?;
        self.shown_introduction(&snapshot, own, id, &row)
    }

    /// Says yes to an introduction that we got. Durable, and on its way, when it returns.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Conflict`] where there is nothing to answer.
    pub async fn accept_introduction(&self, id: &str) -> Result<Introduction> {
        self.answer_introduction(id, true).await
    }

    /// Says no to an introduction that we got. The other hears "not now".
    ///
    /// # Errors
    /// As [`Self::accept_introduction`].
    pub async fn decline_introduction(&self, id: &str) -> Result<Introduction> {
        self.answer_introduction(id, false).await
    }

    async fn answer_introduction(&self, id: &str, yes: bool) -> Result<Introduction> {
        if self.introduction(id)?.made {
            return Err(Error::Conflict {
                detail: "you made this introduction: the two of them answer it".into(),
            });
        }
        let parsed = id.parse().map_err(|_| MISSING)?;
        introductions::answer(&self.0, parsed, yes).await?;
        self.introduction(id)
    }

    /// Who introduced a contact.
    pub(crate) fn introducer(
        &self,
        snapshot: &Snapshot,
        contact: IdentityId,
    ) -> Result<Option<Person>> {
        let rows = snapshot.introductions()?;
        let row = rows
            .iter()
            .find(|(_, row)| row.done && row.other == contact);
        row.map(|(_, row)| self.person(snapshot, row.by))
            .transpose()
    }

    fn shown_introduction(
        &self,
        snapshot: &Snapshot,
        own: IdentityId,
        id: IntroductionId,
        row: &store::Introduction,
    ) -> Result<Introduction> {
        let made = row.by == own;
        let mut other = self.person(snapshot, row.other)?;
        if other.relation == Relation::Stranger {
            let known = snapshot.name(row.other)?;
            // What the introducer says doesn't hide whom we have seen already.
            other.name = match known.filter(|known| *known != row.other_name) {
                Some(known) => format!("{} (whom you know as {known})", row.other_name),
                None => row.other_name.clone(),
            };
        }
        let says = [row.one_says, row.other_says];
        let expires_ms = row.at.plus(INTRODUCTION_EXPIRY_MS);
        let state = match says {
            _ if row.done => IntroductionState::Done,
            [Said::Yes, Said::Yes] if made => IntroductionState::Done,
            [Said::No, _] | [_, Said::No] => IntroductionState::Declined,
            _ if expires_ms < clock::now() => IntroductionState::Expired,
            [Said::Nothing, _] if !made => IntroductionState::Asks,
            [Said::Yes, Said::Yes] => IntroductionState::Meets,
            _ => IntroductionState::Waits,
        };
        let answer = |said| match said {
            Said::Nothing => IntroductionAnswer::Waiting,
            Said::Yes => IntroductionAnswer::Yes,
            Said::No => IntroductionAnswer::No,
        };
        Ok(Introduction {
            id: id.to_string(),
            made,
            by: self.person(snapshot, row.by)?,
            one: self.person(snapshot, row.one)?,
            other,
            message: row.message.clone(),
            at_ms: row.at,
            expires_ms,
            one_says: answer(row.one_says),
            other_says: answer(row.other_says),
            state,
        })
    }
}
