//! How a conversation is kept: for how long messages stay, whether reading is told, and what is deleted
//! on this node only.

use proto::{
    EntryId, IdentityId, SpaceId,
    body::{Lifetime, Setting},
    limits::LIFETIME_S,
};

use store::Deleted;

use super::{Node, writing::Owned};
use crate::{
    Error, Result, clock,
    error::invalid,
    event::EventKind,
    events::About,
    view::{Conversation, Keeping, PageQuery},
};

impl Node {
    /// Changes how a conversation is kept: for both people, and for what is written from now on. Changes
    /// nothing where it is so already.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Invalid`], [`Error::Conflict`] for one who isn't a contact yet.
    pub async fn keep_conversation(
        &self,
        contact: IdentityId,
        keeping: Keeping,
    ) -> Result<Conversation> {
        let lifetime = keeping.lifetime_s.map(checked_lifetime).transpose()?;
        let space = self.conversation_space(&self.0.store.read()?, contact)?;
        let agreed = self.agreement(space)?;
        let lifetime = lifetime.filter(|wanted| agreed.in_force.lifetime() != *wanted);
        let receipts = keeping
            .receipts
            .filter(|wanted| agreed.our_receipts != *wanted);
        if lifetime.is_some() || receipts.is_some() {
            self.write(space, move |txn| {
                Ok(Owned::Setting(Setting {
                    lifetime,
                    receipts,
                    over: match lifetime {
                        Some(_) => newest_of_theirs(txn, space)?,
                        None => None,
                    },
                }))
            })
            .await?;
        }
        Ok(self
            .conversation(contact, &PageQuery::default(), true)?
            .conversation)
    }

    /// Deletes a message of a conversation on this node only; the other person keeps theirs.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Conflict`] for an own message that isn't delivered: it would never be.
    pub async fn delete_for_me(&self, id: EntryId) -> Result<()> {
        self.0.ready()?;
        let before = self.entry(id)?;
        let deleted = self
            .0
            .store
            .write(move |txn| txn.delete_for_me(id, clock::now()))
            .await?;
        match deleted {
            Deleted::Gone(space) => {
                let about = About {
                    subject: Some(id.to_string()),
                    space: Some(space),
                    topic: None,
                    contact: Some(before.author.id),
                };
                self.0.events.emit(EventKind::Entry, about);
                Ok(())
            }
            Deleted::NotHeld => Err(Error::Conflict {
                detail: "only messages of a conversation can be deleted on one node".into(),
            }),
            Deleted::NotDelivered => Err(Error::Conflict {
                detail: "the other person's device isn't known to have it yet, and would never get it: take it back instead".into(),
            }),
        }
    }

    pub(super) fn agreement(&self, space: SpaceId) -> Result<store::Agreement> {
        let own = self.0.ready()?.identity.id();
        Ok(self.0.store.read()?.agreement(space, own)?)
    }
}

fn checked_lifetime(seconds: u64) -> Result<Lifetime> {
    Lifetime::new(seconds).ok_or_else(|| {
        let (low, high) = (LIFETIME_S.start(), LIFETIME_S.end());
        invalid(
            "lifetime_s",
            &format!("expected 0 for messages that stay, or {low} to {high} seconds"),
        )
    })
}

/// The other person's newest setting with a lifetime.
fn newest_of_theirs(txn: &store::Txn<'_>, space: SpaceId) -> Result<Option<EntryId>, store::Error> {
    let own = txn.own_person()?.map(|(own, _)| own);
    let theirs = own.map(|own| txn.agreement(space, own)).transpose()?;
    Ok(theirs
        .and_then(|agreed| agreed.theirs)
        .map(|theirs| theirs.id))
}
