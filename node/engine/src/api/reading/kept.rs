//! What a page shows of how a conversation is kept: where our messages are, when messages go, who set that.

use std::collections::{BTreeMap, btree_map::Entry};

use proto::{IdentityId, SpaceId, body::Lifetime};
use store::Item;

use super::Reader;
use crate::{
    Result, clock,
    letters::{self, Sealed},
    vanish,
    view::{ConversationSetting, Delivery, Disappearing, Disappears},
};

impl Reader<'_> {
    pub(super) fn disappearing(
        &mut self,
        agreed: &store::Agreement,
        contact: IdentityId,
    ) -> Result<Disappearing> {
        let set = vanish::set_by(agreed, self.own, contact);
        Ok(Disappearing {
            lifetime_s: agreed.in_force.lifetime().seconds(),
            set_by: set.map(|(who, _)| self.person(who)).transpose()?,
            set_ms: set.map(|(_, at)| at),
        })
    }

    /// When a message disappears.
    pub(super) fn disappears(&self, item: &Item) -> Result<Option<Disappears>> {
        if item.topic.0 != [0; 32] {
            return Ok(None);
        }
        let expiry = self.snapshot.expiry(item.space, item.device, item.seq)?;
        Ok(expiry.map(|expiry| Disappears {
            lifetime_s: expiry.lifetime.seconds(),
            at_ms: expiry.at,
        }))
    }

    /// What a line of a conversation says.
    pub(super) fn setting(&self, item: &Item) -> Result<Option<ConversationSetting>> {
        let Some(setting) = item.setting else {
            return Ok(None);
        };
        let over = match setting.over {
            Some(over) => self.snapshot.item(over)?.and_then(|over| over.setting),
            None => None,
        };
        Ok(Some(ConversationSetting {
            lifetime_s: setting.lifetime.map(Lifetime::seconds),
            taken_over: over.is_some_and(|over| over.lifetime == setting.lifetime),
            receipts: setting.receipts,
        }))
    }

    pub(super) fn delivery(
        &mut self,
        item: &Item,
        acknowledged: &mut BTreeMap<SpaceId, u64>,
        sealed: &mut BTreeMap<SpaceId, BTreeMap<u64, Sealed>>,
    ) -> Result<Option<Delivery>> {
        if item.topic.0 != [0; 32] || item.author != self.own || item.setting.is_some() {
            return Ok(None);
        }
        let Some(contact) = self.counterpart(item.space)? else {
            return Ok(None);
        };
        let held = match acknowledged.get(&item.space) {
            Some(held) => *held,
            None => self.snapshot.acknowledged(item.space, contact)?,
        };
        acknowledged.insert(item.space, held);
        if item.seq < held {
            return self.delivered(item).map(Some);
        }
        let of_space = match sealed.entry(item.space) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(slot) => slot.insert(letters::sealed_to(
                &self.snapshot,
                item.space,
                contact,
                clock::now(),
            )?),
        };
        Ok(Some(match of_space.get(&item.seq) {
            Some(Sealed::Delivered) => Delivery::Delivered,
            _ if !self.node.0.online_meetings(contact).is_empty() => Delivery::Written,
            Some(Sealed::CarriedBy(people)) => Delivery::Carried(*people),
            Some(Sealed::Expired) => Delivery::Expired,
            None => Delivery::Waiting,
        }))
    }

    /// Delivered, or read by now, where both people tell each other.
    fn delivered(&mut self, item: &Item) -> Result<Delivery> {
        let since = match self.agreed_since.get(&item.space) {
            Some(since) => *since,
            None => self.snapshot.agreed_since(item.space, self.own)?,
        };
        self.agreed_since.insert(item.space, since);
        let read = match since {
            Some(since) => self
                .snapshot
                .read_at(item.space, self.own, since, &item.id)?,
            None => None,
        };
        Ok(read.map_or(Delivery::Delivered, Delivery::Read))
    }
}
