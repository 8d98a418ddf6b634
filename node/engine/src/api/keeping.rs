//! How a conversation is kept: for how long messages stay.

use proto::{
    EntryId, IdentityId, SpaceId,
    body::{Lifetime, Setting},
    limits::LIFETIME_S,
};

use super::{Node, writing::Owned};
use crate::{
    Result,
    error::invalid,
    view::{Conversation, PageQuery},
};

impl Node {
    /// Says how long messages of a conversation stay after they were read, for both people and for what
    /// is written from now on. Changes nothing where that is so already.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Invalid`], [`Error::Conflict`] for one who isn't a contact yet.
    pub async fn set_disappearing(
        &self,
        contact: IdentityId,
        lifetime_s: u64,
    ) -> Result<Conversation> {
        let lifetime = Lifetime::new(lifetime_s).ok_or_else(|| {
            let (low, high) = (LIFETIME_S.start(), LIFETIME_S.end());
            invalid(
                "lifetime_s",
                &format!("expected 0 for messages that stay, or {low} to {high} seconds"),
            )
        })?;
        let space = self.conversation_space(&self.0.store.read()?, contact)?;
        let agreed = self.agreement(space)?;
        if agreed.in_force.lifetime() != lifetime {
            self.write(space, move |txn| {
                Ok(Owned::Setting(Setting {
                    lifetime: Some(lifetime),
                    receipts: None,
                    over: newest_of_theirs(txn, space)?,
                }))
            })
            .await?;
        }
        Ok(self
            .conversation(contact, &PageQuery::default(), true)?
            .conversation)
    }

    pub(super) fn agreement(&self, space: SpaceId) -> Result<store::Agreement> {
        let own = self.0.ready()?.identity.id();
        Ok(self.0.store.read()?.agreement(space, own)?)
    }
}

/// The other person's newest setting with a lifetime.
fn newest_of_theirs(txn: &store::Txn<'_>, space: SpaceId) -> Result<Option<EntryId>, store::Error> {
    let own = txn.own_person()?.map(|(own, _)| own);
    let theirs = own.map(|own| txn.agreement(space, own)).transpose()?;
    Ok(theirs
        .and_then(|agreed| agreed.theirs)
        .map(|theirs| theirs.id))
}
