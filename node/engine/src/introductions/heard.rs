//! What comes in about introductions: entries, taken up in the transaction that imports them.

use std::sync::Arc;

use proto::{
    DeviceId, IdentityId, Millis, SpaceId,
    body::{Body, Introduced},
    card::Card,
    introduction::IntroductionId,
    limits::INTRODUCTIONS_PER_CONTACT_MAX,
};
use store::{Introduction, Said, Txn};

use super::{conversation_with, find, is_declined, is_over, prepare, tell};
use crate::{
    files::{self, Keys},
    inner::Inner,
    records::ContactState,
    spaces::{self, Written},
};

/// Entries behind an introduction among which an answer is looked for, a few microseconds each: so
/// much is rarely said between the two.
const ANSWERS_LOOKED_AT_MAX: usize = 2_048;

/// An entry about an introduction that was just imported.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heard {
    pub(crate) space: SpaceId,
    pub(crate) device: DeviceId,
    pub(crate) seq: u64,
    pub(crate) author: IdentityId,
}

/// What follows from entries that were heard, for after the commit.
#[derive(Default)]
pub(crate) struct Followed {
    written: Vec<Written>,
    people: Vec<IdentityId>,
    refused: u64,
}

/// Takes up entries in the transaction that imported them.
pub(crate) fn follow(
    txn: &mut Txn<'_>,
    keys: &Keys,
    heard: &[Heard],
    now: Millis,
) -> Result<Followed, store::Error> {
    let mut followed = Followed::default();
    for one in heard {
        let Some(bytes) = txn.body(one.space, one.device, one.seq)? else {
            continue;
        };
        let from_contact = conversation_with(txn, one.author)? == Some(one.space);
        let good = match Body::decode(&bytes) {
            _ if !from_contact => false,
            Ok(Body::Introduction {
                id,
                identity,
                name,
                message,
            }) => {
                let own = keys.identity.id();
                let row = Introduction {
                    number: None,
                    by: one.author,
                    one: own,
                    other: identity,
                    other_name: name.to_owned(),
                    message: message.unwrap_or_default().to_owned(),
                    at: now,
                    one_says: Said::Nothing,
                    other_says: Said::Nothing,
                    card: Vec::new(),
                    beacon: None,
                    done: false,
                };
                let taken = introduced(txn, id, row, &mut followed)?;
                if taken {
                    answered_before(txn, keys, *one, id, now, &mut followed)?;
                }
                taken
            }
            Ok(Body::Introduced { id, yes }) => {
                answered(txn, keys, one.author, (id, yes), now, &mut followed)?
            }
            _ => false,
        };
        followed.refused += u64::from(!good);
    }
    Ok(followed)
}

/// A contact introduces somebody to us. False where that is no good: ourselves or the introducer,
/// somebody who is a contact, the same once more, or too many.
pub(super) fn introduced(
    txn: &mut Txn<'_>,
    id: IntroductionId,
    mut row: Introduction,
    followed: &mut Followed,
) -> Result<bool, store::Error> {
    let is_ready = |contact: store::Contact| contact.state == ContactState::Ready;
    if row.other == row.one
        || row.other == row.by
        || find(txn, row.by, id)?.is_some()
        || txn.contact(&row.other)?.is_some_and(is_ready)
    {
        return Ok(false);
    }
    let mut waiting = 0;
    for (known, kept) in txn.introductions()? {
        if is_over(&kept, row.at) && !kept.done {
            txn.remove_introduction(&known)?;
        } else if kept.by == row.by && !kept.done {
            if kept.other == row.other && !is_declined(&kept) {
                return Ok(false);
            }
            waiting += 1;
        }
    }
    if waiting >= INTRODUCTIONS_PER_CONTACT_MAX {
        return Ok(false);
    }
    let mut key = id;
    while txn.introduction(&key)?.is_some() {
        // Somebody else's has this number. No key can be known before, so nobody takes it.
        files::fill_random(&mut key.0);
        row.number = Some(id);
    }
    txn.put_introduction(&key, &row)?;
    followed.people.push(row.by);
    Ok(true)
}

/// Where the newest came first, the introducer's word of the other's answer may have come before that
/// of the introduction.
fn answered_before(
    txn: &mut Txn<'_>,
    keys: &Keys,
    at: Heard,
    id: IntroductionId,
    now: Millis,
    followed: &mut Followed,
) -> Result<(), store::Error> {
    for seq in (at.seq + 1..).take(ANSWERS_LOOKED_AT_MAX) {
        let Some(bytes) = txn.body(at.space, at.device, seq)? else {
            continue;
        };
        if let Ok(Body::Introduced { id: about, yes }) = Body::decode(&bytes)
            && about == id
        {
            answered(txn, keys, at.author, (id, yes), now, followed)?;
            return Ok(());
        }
    }
    Ok(())
}

/// An answer: to us who introduced, from one of the two, or of the other, passed on to us.
pub(super) fn answered(
    txn: &mut Txn<'_>,
    keys: &Keys,
    from: IdentityId,
    (id, yes): (IntroductionId, Option<Introduced<'_>>),
    now: Millis,
    followed: &mut Followed,
) -> Result<bool, store::Error> {
    let own = keys.identity.id();
    let is_between = |row: &Introduction| [row.one, row.other].contains(&from);
    let made = find(txn, own, id)?.filter(|(_, row)| is_between(row));
    let found = match made {
        Some(made) => Some((from, made)),
        None => find(txn, from, id)?.map(|got| (got.1.other, got)),
    };
    let Some((whose, (key, mut row))) = found else {
        return Ok(false);
    };
    let said = if whose == row.one {
        &mut row.one_says
    } else {
        &mut row.other_says
    };
    if *said != Said::Nothing {
        return Ok(false);
    }
    *said = if yes.is_some() { Said::Yes } else { Said::No };
    if let Some(yes) = &yes {
        let binding = id.binding(row.by, row.one, row.other, &yes.beacon);
        let Ok(card) = Card::decode(yes.card, &binding) else {
            return Ok(false);
        };
        let theirs = txn.contact_at(card.endpoint)?;
        let is_taken = theirs.is_some_and(|contact| contact != whose);
        if card.certificate.identity != whose || row.by != own && is_taken {
            return Ok(false);
        }
    }
    if row.by == own {
        let to = if whose == row.one { row.other } else { row.one };
        if let Some(space) = conversation_with(txn, to)? {
            let body = Body::Introduced { id, yes };
            followed
                .written
                .push(spaces::append(txn, keys, space, now, &body)?);
        }
    } else if let Some(yes) = yes {
        row.card = yes.card.to_vec();
        row.beacon = Some(yes.beacon);
    }
    txn.put_introduction(&key, &row)?;
    if row.by != own {
        prepare(txn, key, &row, now)?;
    }
    followed.people.extend([row.one, row.other]);
    Ok(true)
}

/// After the commit.
pub(crate) fn followed(inner: &Arc<Inner>, followed: &Followed) {
    for written in &followed.written {
        inner.tell_written(written);
    }
    for person in &followed.people {
        tell(inner, *person);
    }
    if followed.refused > 0 {
        let refused = inner.introductions.refuse(followed.refused);
        tracing::info!(
            refused,
            "an entry about an introduction was no good and counts for nothing"
        );
    }
}
