//! Who governs a circle: a fold over the rules that are held, the same wherever the same are held.
//!
//! The creator owns a circle until the first hand-over that counts, then whoever that names, and
//! so on: each time is a *term*. A rule counts where its author is the owner of the term that it
//! names and it stands before the hand-over that ended the term, in the feed that carries it. So
//! nobody can take anything back that an owner did, but by the fork or the revocation of an owner's
//! own device. This module refuses to know how rules are kept; enter at [`Government::fold`].

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    admission::Chain,
    body::rule::{Action, HandOver, MemberTag, Remains, Removal, Rule},
    ids::{DeviceId, EntryId, IdentityId, SpaceId},
    limits::{HAND_OVERS_MAX, RULES_MAX, TERMS_MAX},
    verify::LastGood,
};

/// A rule that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Whose feed it stands in.
    pub author: IdentityId,
    /// Which feed.
    pub device: DeviceId,
    /// Its place there.
    pub seq: u64,
    /// The entry; none of a removal that came alone.
    pub id: Option<EntryId>,
    /// What it says.
    pub rule: Rule,
}

/// How long somebody owns a circle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// The owner.
    pub owner: IdentityId,
    /// The hand-over that began it; none for the creator's first.
    pub under: Option<EntryId>,
    /// The hand-over that ended it.
    pub ended: Option<Ended>,
}

/// The hand-over that ended a term.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The feed that carries it.
    pub device: DeviceId,
    /// Its place.
    pub seq: u64,
    /// What it says.
    pub hand_over: HandOver,
}

/// What remains of a removed person's feed, and which removal says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cut {
    /// Place of the last good entry.
    pub seq: u64,
    /// Its id.
    pub id: EntryId,
    /// The feed of the removal, and the place there.
    pub by: (DeviceId, u64),
    /// Who owned the circle then.
    pub owner: IdentityId,
}

impl Cut {
    /// As validation needs it.
    #[must_use]
    pub const fn last_good(&self) -> LastGood {
        LastGood {
            seq: self.seq,
            id: self.id,
        }
    }
}

/// Who owns a circle and what the owners decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Government {
    space: SpaceId,
    /// One after the other; never empty.
    terms: Vec<Term>,
    /// Nobody writes any more.
    pub closed: bool,
    /// Nor in these threads.
    pub closed_threads: BTreeSet<EntryId>,
    /// Who was removed, and what remains of their feeds: nothing of those that aren't here.
    removed: BTreeMap<IdentityId, BTreeMap<DeviceId, Cut>>,
    /// Rules that count.
    pub rules: usize,
}

impl Government {
    /// Folds the rules of a circle. `rules_of` gives those of a person, members' words or not, in
    /// any order; it is asked for the owners only.
    ///
    /// # Errors
    /// Those of `rules_of`.
    pub fn fold<E>(
        space: SpaceId,
        creator: IdentityId,
        mut rules_of: impl FnMut(IdentityId) -> Result<Vec<Held>, E>,
    ) -> Result<Self, E> {
        let mut government = Self {
            space,
            terms: Vec::new(),
            closed: false,
            closed_threads: BTreeSet::new(),
            removed: BTreeMap::new(),
            rules: 0,
        };
        let mut next = Some((creator, None));
        while let Some((owner, under)) = next.take() {
            let mut rules = rules_of(owner)?;
            rules.retain(|held| held.author == owner && !held.rule.is_members());
            rules.sort_unstable_by_key(|held| (held.device, held.seq));
            keep_first(&mut rules);
            rules.retain(|held| held.rule.under == under);
            let last = government.terms.len() + 1 >= TERMS_MAX;
            let hand_over = government
                .hand_over(owner, &rules)
                .filter(|_| !last)
                .map(|(id, ended)| (id, ended.clone()));
            next = hand_over
                .as_ref()
                .map(|(id, ended)| (ended.hand_over.to, Some(*id)));
            government.terms.push(Term {
                owner,
                under,
                ended: hand_over.map(|(_, ended)| ended),
            });
            for held in &rules {
                government.apply(held);
            }
        }
        Ok(government)
    }

    /// The hand-over that ends the owner's term: the first of a feed that counts, of several feeds'
    /// the one with the lowest id.
    fn hand_over(&self, owner: IdentityId, rules: &[Held]) -> Option<(EntryId, Ended)> {
        let mut first: BTreeMap<DeviceId, (EntryId, Ended)> = BTreeMap::new();
        let mut gone: BTreeSet<(DeviceId, IdentityId)> = BTreeSet::new();
        for held in rules {
            match (&held.rule.action, held.id) {
                (Action::Remove(removal), _) => {
                    gone.insert((held.device, removal.identity));
                }
                (Action::HandOver(hand_over), Some(id)) => {
                    let to = hand_over.to;
                    let counts = to != owner
                        && hand_over.named.contains(&MemberTag::of(self.space, to))
                        && !self.is_removed(to)
                        && !gone.contains(&(held.device, to));
                    if counts && !first.contains_key(&held.device) {
                        let ended = Ended {
                            device: held.device,
                            seq: held.seq,
                            hand_over: (**hand_over).clone(),
                        };
                        first.insert(held.device, (id, ended));
                    }
                }
                _ => {}
            }
        }
        first.into_values().min_by_key(|(id, _)| *id)
    }

    /// Whether a rule counts: by the term that it names, and its place in it.
    #[must_use]
    pub fn counts(&self, held: &Held) -> bool {
        let under = held.rule.under;
        let mut terms = self.terms.iter();
        let term = terms.find(|term| term.owner == held.author && term.under == under);
        let Some(term) = term else {
            return false;
        };
        let in_time = term.ended.as_ref().is_none_or(|ended| {
            let others = &ended.hand_over.others;
            if held.device == ended.device {
                held.seq <= ended.seq
            } else {
                let mut others = others.iter();
                others.any(|(device, last)| *device == held.device && held.seq <= *last)
            }
        });
        in_time
            && match &held.rule.action {
                Action::Remove(removal) => self.may_remove(removal, held),
                Action::Close(_) | Action::Reopen(_) => true,
                Action::HandOver(_) => {
                    let ended = term.ended.as_ref();
                    ended.is_some_and(|end| (end.device, end.seq) == (held.device, held.seq))
                }
                Action::Leave | Action::Return => false,
            }
    }

    /// An owner can remove anybody but themselves. What made somebody the owner stays, or a removal
    /// could undo what it rests on.
    fn may_remove(&self, removal: &Removal, held: &Held) -> bool {
        let own = removal.by.identity == held.author && removal.by.device == held.device;
        let keeps = self.terms.iter().all(|term| match &term.ended {
            Some(ended) if term.owner == removal.identity => removal
                .last_good(ended.device)
                .is_some_and(|last| last.seq >= ended.seq),
            _ => true,
        });
        own && removal.place == held.seq && removal.identity != held.author && keeps
    }

    fn apply(&mut self, held: &Held) {
        if !self.counts(held) {
            return;
        }
        self.rules += 1;
        match &held.rule.action {
            Action::Remove(removal) => {
                let cuts = self.removed.entry(removal.identity).or_default();
                for (device, Remains { last, .. }) in &removal.feeds {
                    let cut = Cut {
                        seq: last.seq,
                        id: last.id,
                        by: (held.device, held.seq),
                        owner: held.author,
                    };
                    let known = cuts.entry(*device).or_insert(cut);
                    *known = cut.min(*known);
                }
            }
            Action::Close(None) => self.closed = true,
            Action::Reopen(None) => self.closed = false,
            Action::Close(Some(thread)) => {
                self.closed_threads.insert(*thread);
            }
            Action::Reopen(Some(thread)) => {
                self.closed_threads.remove(thread);
            }
            Action::HandOver(_) | Action::Leave | Action::Return => {}
        }
    }

    /// Whether both let the same people in and have removed the same, with as much of theirs.
    #[must_use]
    pub fn has_the_people_of(&self, other: &Self) -> bool {
        self.terms == other.terms && self.removed == other.removed
    }

    /// The owner now.
    #[must_use]
    pub fn owner(&self) -> Option<IdentityId> {
        self.terms.last().map(|term| term.owner)
    }

    /// The hand-over by which the owner is it.
    #[must_use]
    pub fn under(&self) -> Option<EntryId> {
        self.terms.last().and_then(|term| term.under)
    }

    /// One owner after the other.
    #[must_use]
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// Whether somebody was removed.
    #[must_use]
    pub fn is_removed(&self, identity: IdentityId) -> bool {
        self.removed.contains_key(&identity)
    }

    /// Who was removed.
    pub fn removed(&self) -> impl Iterator<Item = IdentityId> {
        self.removed.keys().copied()
    }

    /// What remains of a removed person's feed; none where nothing does.
    #[must_use]
    pub fn cut(&self, identity: IdentityId, device: DeviceId) -> Option<Cut> {
        self.removed.get(&identity)?.get(&device).copied()
    }

    /// Whether a chain of admissions lets somebody in: each inviter was the owner, one after the
    /// other, and the last one still is, or a hand-over names who was let in.
    #[must_use]
    pub fn admits(&self, chain: &Chain, identity: IdentityId) -> bool {
        let mut at = 0;
        for admission in chain.admissions() {
            let rest = self.terms.get(at..).unwrap_or_default();
            let inviter = admission.inviter.identity;
            let Some(found) = rest.iter().position(|term| term.owner == inviter) else {
                return false;
            };
            at += found;
        }
        let Some(last) = chain.inviter() else {
            return true;
        };
        let tag = MemberTag::of(self.space, identity);
        let rest = self.terms.get(at..).unwrap_or_default();
        rest.iter().any(|term| match &term.ended {
            None => term.owner == last,
            Some(ended) => ended.hand_over.named.binary_search(&tag).is_ok(),
        })
    }
}

/// Of each feed as many as count.
fn keep_first(rules: &mut Vec<Held>) {
    let mut feed = None;
    let mut first = First::default();
    rules.retain(|held| {
        if feed != Some(held.device) {
            feed = Some(held.device);
            first = First::default();
        }
        first.takes(&held.rule)
    });
}

/// Which rules of a feed are looked at, told in their order: whoever keeps them needs no others.
#[derive(Debug, Default)]
pub struct First {
    rules: usize,
    hand_overs: usize,
}

impl First {
    /// Whether the next one is.
    pub const fn takes(&mut self, rule: &Rule) -> bool {
        self.rules += 1;
        if matches!(rule.action, Action::HandOver(_)) {
            self.hand_overs += 1;
            if self.hand_overs > HAND_OVERS_MAX {
                // It takes no other's place.
                self.rules -= 1;
                return false;
            }
        }
        self.rules <= RULES_MAX
    }
}

#[cfg(test)]
mod tests;
