//! Letters that friends carry: what this node carries, and for whom.

use proto::{
    EntryId,
    limits::{CARRIED_BYTES_MAX, CARRIED_MAX, LETTER_DAYS},
};

use super::Node;
use crate::{
    Error, Result, clock,
    event::EventKind,
    events::About,
    letters,
    records::ContactState,
    view::{Delivery, LettersStatus, Post, WhoseLetters},
};

impl Node {
    /// What this node carries for others, and what others carry for it.
    ///
    /// # Errors
    /// [`Error::NotSetUp`].
    pub fn letters(&self) -> Result<LettersStatus> {
        self.0.ready()?;
        let snapshot = self.0.store.read()?;
        let carried = letters::load(&snapshot)?;
        let now = clock::now();
        let (mut on_their_way, mut keys_from) = (0, 0);
        for (id, contact) in snapshot.contacts()? {
            if contact.state != ContactState::Ready {
                continue;
            }
            let space = self.conversation_space(&snapshot, id)?;
            let sealed = letters::sealed_to(&snapshot, space, id, now)?;
            on_their_way += sealed
                .iter()
                // A feed's first entry goes along, and is no message.
                .filter(|(seq, state)| **seq > 0 && matches!(state, letters::Sealed::CarriedBy(_)))
                .count() as u64;
            for device in contact.devices.keys() {
                if !snapshot.their_prekeys_of(*device)?.is_empty() {
                    keys_from += 1;
                    break;
                }
            }
        }
        Ok(LettersStatus {
            carry: letters::whose(&snapshot)?,
            carried: carried.count as u64,
            carried_bytes: carried.bytes,
            carried_max: CARRIED_MAX as u64,
            carried_bytes_max: CARRIED_BYTES_MAX,
            on_their_way,
            keys_from,
            copies: letters::COPIES as u64,
            days: u64::from(LETTER_DAYS),
        })
    }

    /// Chooses whose letters this node carries. What it has already is still handed over.
    ///
    /// # Errors
    /// [`Error::NotSetUp`].
    pub async fn carry_letters(&self, whose: WhoseLetters) -> Result<LettersStatus> {
        self.0.ready()?;
        self.0
            .store
            .write(move |txn| letters::set_whose(txn, whose))
            .await?;
        self.0.events.emit(EventKind::Sync, About::default());
        self.letters()
    }

    /// Ends the epoch of the keys for letters at once: the keys of letters that were opened can't be had
    /// from this disk any more. It happens by itself soon after a letter was opened, and daily.
    ///
    /// # Errors
    /// [`Error::NotSetUp`], [`Error::Folder`].
    pub async fn forget_used_keys(&self) -> Result<()> {
        self.0.ready()?;
        self.0.forget_used_keys().await
    }

    /// Lets a message be carried again whose letters expired. A meeting brings it in any case.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Conflict`] where it hasn't expired.
    pub async fn send_again(&self, id: EntryId) -> Result<Post> {
        let post = self.entry(id)?;
        let item = self
            .0
            .store
            .read()?
            .item(id)?
            .ok_or(Error::NotFound { what: "the entry" })?;
        let contact = self.contact_of(item.space)?;
        let (seq, now) = (item.seq, clock::now());
        let again = match (post.delivery, contact) {
            (Some(Delivery::Expired), Some(contact)) => {
                self.0
                    .store
                    .write(move |txn| letters::send_again(txn, contact, seq, now))
                    .await?
            }
            _ => false,
        };
        if !again {
            return Err(Error::Conflict {
                detail: "only a message that expired can be sent again".into(),
            });
        }
        self.0.tell_letters();
        self.entry(id)
    }

    fn contact_of(&self, space: proto::SpaceId) -> Result<Option<proto::IdentityId>> {
        let snapshot = self.0.store.read()?;
        for (id, contact) in snapshot.contacts()? {
            let secret = contact.pair_secret.as_ref();
            if secret.is_some_and(|secret| proto::space::conversation_id(&secret.0) == space) {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }
}
