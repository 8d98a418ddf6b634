//! What an owner and the members of a circle write: invitations, removals, hand-overs, leaving.
//!
//! Who owns a circle is decided by `proto::circle` over the rules that are held; here is checked
//! what this node's person may do, and written what they do.

use std::collections::BTreeSet;

use proto::{
    EntryId, IdentityId, Millis, SpaceId,
    body::{
        Body, Rule,
        rule::{Action, HandOver, MemberTag, Removal},
    },
    circle::Government,
    limits::{MEMBERS_MAX, RULES_MAX, TERMS_MAX},
    space::SpaceKind,
};
use store::{Error, OfferOut, Source, Standing, Txn, View};

use crate::{
    files::Keys,
    records,
    spaces::{self, Written},
};

fn refused(why: &str) -> Error {
    Error::Refused(why.to_owned())
}

/// A circle's government.
pub(crate) fn governed(view: &View<impl Source>, id: SpaceId) -> Result<Government, Error> {
    view.government(id)?.ok_or(Error::UnknownSpace)
}

/// Which contacts may have which of these spaces, as far as those are circles.
pub(crate) fn cleared(
    view: &View<impl Source>,
    own: IdentityId,
    spaces: &BTreeSet<SpaceId>,
) -> Result<BTreeSet<(SpaceId, IdentityId)>, Error> {
    let mut cleared = BTreeSet::new();
    for space in spaces {
        let government = view.government(*space)?;
        let Some(government) = government.filter(|known| !known.is_removed(own)) else {
            continue;
        };
        for (contact, _) in view.contacts()? {
            if view.may_have_circle(*space, &government, contact)? {
                cleared.insert((*space, contact));
            }
        }
    }
    Ok(cleared)
}

/// The government, where this person is the owner.
fn owned(txn: &Txn<'_>, keys: &Keys, id: SpaceId) -> Result<Government, Error> {
    let government = governed(txn, id)?;
    if government.owner() == Some(keys.identity.id()) {
        Ok(government)
    } else {
        Err(refused("only the owner of a circle can do this"))
    }
}

/// Begins the own feed, so that the members see who came; whoever left before is back.
pub(crate) fn begin(
    txn: &mut Txn<'_>,
    keys: &Keys,
    id: SpaceId,
    now: Millis,
) -> Result<Written, Error> {
    let genesis = spaces::own_genesis(txn, id)?;
    let device = keys.device.id();
    let entries = txn.begin_feed(id, &keys.device, now, &genesis)?;
    if let Some(first) = entries.first() {
        return Ok(Written {
            space: id,
            device,
            id: first.id,
            entries,
        });
    }
    write(txn, keys, id, now, None, Action::Return)
}

fn write(
    txn: &mut Txn<'_>,
    keys: &Keys,
    id: SpaceId,
    now: Millis,
    under: Option<EntryId>,
    action: Action,
) -> Result<Written, Error> {
    let rule = Body::Rule(Box::new(Rule { under, action }));
    spaces::append(txn, keys, id, now, &rule)
}

/// Whether the owner can invite this person.
pub(crate) fn check_invitation(
    view: &View<impl Source>,
    keys: &Keys,
    id: SpaceId,
    to: IdentityId,
) -> Result<(), Error> {
    let government = governed(view, id)?;
    if government.owner() != Some(keys.identity.id()) {
        return Err(refused("only the owner of a circle can invite"));
    }
    if government.closed {
        return Err(refused("this circle is closed: open it again to invite"));
    }
    match view.standing(id, &government, to)? {
        Standing::Removed => Err(refused(
            "this person was removed, and can't come back into this circle",
        )),
        Standing::Owner => Err(refused("this person is in the circle already")),
        // They may have left while nobody was there to hear it; who didn't ignores the invitation.
        Standing::Member => Ok(()),
        Standing::Left | Standing::Unknown => {
            let people = view.members(id)?.len() + records::offered_to(view, id)?.len();
            if people >= MEMBERS_MAX {
                return Err(Error::Refused(format!(
                    "a circle has at most {MEMBERS_MAX} people, those invited included"
                )));
            }
            Ok(())
        }
    }
}

/// Takes an invitation back. True where there was one that wasn't accepted.
pub(crate) fn withdraw(txn: &mut Txn<'_>, id: SpaceId, from: IdentityId) -> Result<bool, Error> {
    let government = governed(txn, id)?;
    let here = txn.standing(id, &government, from)? == Standing::Member;
    if here || !txn.invited(id, from)? {
        return Ok(false);
    }
    txn.remove_offer_out(&(from, id))?;
    records::bump_revs(txn)?;
    Ok(true)
}

/// Removes a member: their feeds end with what is held of them, and they are told where they are a
/// contact.
pub(crate) fn remove(
    txn: &mut Txn<'_>,
    keys: &Keys,
    id: SpaceId,
    who: IdentityId,
    now: Millis,
) -> Result<Written, Error> {
    let government = owned(txn, keys, id)?;
    check_rules(&government)?;
    if who == keys.identity.id() {
        return Err(refused(
            "an owner can't remove themselves: hand the circle over or close it",
        ));
    }
    match txn.standing(id, &government, who)? {
        Standing::Removed => return Err(refused("this person was removed before")),
        Standing::Unknown => return Err(refused("this person isn't in the circle")),
        Standing::Owner | Standing::Member | Standing::Left => {}
    }
    let mut feeds = Vec::new();
    let members = txn.members(id)?;
    let member = members.into_iter().find(|member| member.identity == who);
    for device in member.into_iter().flat_map(|member| member.devices) {
        let signed = txn.last_signed(id, device.device)?;
        feeds.extend(signed.map(|remains| (device.device, remains)));
    }
    let own = txn.own_device()?.ok_or(Error::Closed)?;
    let place = txn.facts(id, keys.device.id())?.head.next;
    let by = (&own.certificate, place);
    let removal = Removal::sign(&keys.device, id, by, government.under(), who, feeds);
    let rule = Rule::removal(removal);
    let body = Body::Rule(Box::new(rule.clone())).encode();
    let written = write(txn, keys, id, now, rule.under, rule.action)?;
    if let (Some(contact), Some(space)) = (txn.contact(&who)?, txn.space(id)?) {
        let descriptor = space.descriptor.map(|known| known.encode());
        let offer = OfferOut {
            descriptor: descriptor.unwrap_or_default(),
            chain: body,
            rev: contact.my_rev + 1,
        };
        records::put_offer_out(txn, who, id, offer)?;
    }
    records::bump_revs(txn)?;
    Ok(written)
}

/// The owner is told before their rules cease to count.
fn check_rules(government: &Government) -> Result<(), Error> {
    if government.rules >= RULES_MAX / 2 {
        return Err(Error::Refused(format!(
            "this circle has had {} decisions of its owners, and can't have more: begin a new one",
            government.rules
        )));
    }
    Ok(())
}

/// Closes or opens a circle or one of its threads.
pub(crate) fn close(
    txn: &mut Txn<'_>,
    keys: &Keys,
    id: SpaceId,
    (thread, closed): (Option<EntryId>, bool),
    now: Millis,
) -> Result<Option<Written>, Error> {
    let government = owned(txn, keys, id)?;
    let before = match thread {
        None => government.closed,
        Some(thread) => government.closed_threads.contains(&thread),
    };
    if before == closed {
        return Ok(None);
    }
    check_rules(&government)?;
    let action = if closed {
        Action::Close(thread)
    } else {
        Action::Reopen(thread)
    };
    write(txn, keys, id, now, government.under(), action).map(Some)
}

/// Makes a member the owner.
pub(crate) fn hand_over(
    txn: &mut Txn<'_>,
    keys: &Keys,
    id: SpaceId,
    to: IdentityId,
    now: Millis,
) -> Result<Written, Error> {
    let government = owned(txn, keys, id)?;
    if government.terms().len() >= TERMS_MAX {
        return Err(Error::Refused(format!(
            "a circle has at most {TERMS_MAX} owners one after the other"
        )));
    }
    if txn.standing(id, &government, to)? != Standing::Member {
        return Err(refused("a circle can be handed over to a member only"));
    }
    let own = keys.identity.id();
    let members = txn.members(id)?;
    let mut others = Vec::new();
    let mut named = Vec::new();
    for member in &members {
        if government.is_removed(member.identity) {
            continue;
        }
        named.push(MemberTag::of(id, member.identity));
        let devices = member.devices.iter().filter(|_| member.identity == own);
        for device in devices.filter(|device| device.device != keys.device.id()) {
            let next = txn.facts(id, device.device)?.head.next;
            others.extend(next.checked_sub(1).map(|last| (device.device, last)));
        }
    }
    for invited in records::offered_to(txn, id)? {
        if txn.invited(id, invited)? {
            named.push(MemberTag::of(id, invited));
        }
    }
    named.sort_unstable();
    named.dedup();
    others.sort_unstable();
    let hand_over = HandOver { to, named, others };
    let action = Action::HandOver(Box::new(hand_over));
    let written = write(txn, keys, id, now, government.under(), action)?;
    records::bump_revs(txn)?;
    if governed(txn, id)?.owner() == Some(to) {
        Ok(written)
    } else {
        Err(refused("this circle can't be handed over to this person"))
    }
}

/// What a member who leaves writes; nothing where nobody would miss them.
pub(crate) fn say_goodbye(
    txn: &mut Txn<'_>,
    keys: &Keys,
    id: SpaceId,
    now: Millis,
) -> Result<Option<Written>, Error> {
    let government = governed(txn, id)?;
    let own = keys.identity.id();
    match txn.standing(id, &government, own)? {
        Standing::Owner => {
            for member in txn.members(id)? {
                let other = txn.standing(id, &government, member.identity)?;
                if other == Standing::Member && !government.closed {
                    return Err(refused(
                        "the owner can't leave a circle: hand it over to a member, or close it first",
                    ));
                }
            }
            Ok(None)
        }
        Standing::Member => write(txn, keys, id, now, None, Action::Leave).map(Some),
        Standing::Left | Standing::Removed | Standing::Unknown => Ok(None),
    }
}

/// What is to be written, as far as a circle's rules look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writes {
    /// A thread, an edit, a reaction.
    Any,
    /// In this thread.
    In(EntryId),
    /// Takes something back: that is always possible.
    Retract,
}

/// Whether something can be written in a space now; other spaces than circles have no such rules.
pub(crate) fn check_open(
    txn: &Txn<'_>,
    keys: &Keys,
    id: SpaceId,
    writes: Writes,
) -> Result<(), Error> {
    let circle = txn
        .space(id)?
        .is_some_and(|space| space.kind == SpaceKind::Circle);
    if !circle {
        return Ok(());
    }
    let government = governed(txn, id)?;
    if government.is_removed(keys.identity.id()) {
        return Err(refused(
            "you were removed from this circle: you can read what you have, and write nothing more",
        ));
    }
    match writes {
        Writes::Retract => Ok(()),
        _ if government.closed => Err(refused("this circle is closed")),
        Writes::In(thread) if government.closed_threads.contains(&thread) => {
            Err(refused("this thread is closed"))
        }
        Writes::Any | Writes::In(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
