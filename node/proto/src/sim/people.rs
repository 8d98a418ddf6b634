//! What the people of a world do.

use super::{
    Change, Changed, NodeStore, Words,
    world::{DAY, Event, HOUR, World},
};
use crate::{
    body::{Body, Revocation},
    ids::{EntryId, SpaceId},
    space::SpaceKind,
};

/// Threads that somebody may answer to.
const ROOTS_MAX: usize = 64;

impl<S: NodeStore> World<S> {
    /// The forums of the beginning: each is offered along contacts, and taken by most.
    pub(super) fn found_spaces(&mut self) {
        for forum in 0..self.setting.forums {
            let n = self.rng.index(self.nodes.len());
            let salt = self.rng.seed();
            let name = format!("forum {forum}");
            let Some(Changed::Holds(space)) = self.change(n, &Change::Found { name, salt }) else {
                continue;
            };
            self.oracle.space(space);
            let id = self.identity(n);
            self.oracle.knows(space, id);
            let contacts: Vec<usize> = self.nodes[n].contacts.iter().copied().collect();
            for m in contacts {
                self.offer(n, space, m);
            }
        }
    }

    pub(super) fn schedule_people(&mut self) {
        if self.setting.acts == 0 {
            return;
        }
        for n in 0..self.nodes.len() {
            let wait = self.rng.below(DAY / self.setting.acts);
            self.at(wait, Event::Act(n));
        }
        if self.setting.faults > 0 {
            self.at(HOUR, Event::Fault);
        }
    }

    pub(super) fn act(&mut self, n: usize) {
        if !self.raging {
            return;
        }
        let wait = self.rng.around(DAY / self.setting.acts);
        self.at(self.now + wait, Event::Act(n));
        self.act_once(n);
    }

    pub(super) fn act_once(&mut self, n: usize) {
        if !self.raging || !self.nodes[n].up || self.nodes[n].failing {
            return;
        }
        self.accept(n);
        if !self.nodes[n].up || self.nodes[n].failing {
            return;
        }
        let held = self.well(n, self.nodes[n].store.spaces());
        let space = self.rng.pick(&held).copied();
        match self.rng.below(100) {
            0..8 => self.offer_on(n, &held),
            8..10 => {
                if let Some((space, SpaceKind::Forum)) = space {
                    self.leave(n, space);
                }
            }
            10..13 => {
                if let Some((space, SpaceKind::Forum | SpaceKind::Blog)) = space {
                    self.exclude(n, space);
                }
            }
            13 => self.forget(n),
            14..20 => {
                if let Some((space, _)) = space {
                    self.retract(n, space);
                }
            }
            20..21 => {
                if let Some((space, _)) = space {
                    self.revoke(n, space);
                }
            }
            _ => {
                if let Some((space, kind)) = space {
                    self.post(n, space, kind);
                }
            }
        }
    }

    fn accept(&mut self, n: usize) {
        for space in std::mem::take(&mut self.nodes[n].offered) {
            if self.rng.chance(850) {
                self.change(n, &Change::Accept(space));
            }
        }
        self.know_again(n);
    }

    fn offer_on(&mut self, n: usize, held: &[(SpaceId, SpaceKind)]) {
        let forums = held.iter().filter(|(_, kind)| *kind == SpaceKind::Forum);
        let forums: Vec<_> = forums.collect();
        let contacts: Vec<usize> = self.nodes[n].contacts.iter().copied().collect();
        if let (Some((space, _)), Some(m)) = (
            self.rng.pick(&forums).copied(),
            self.rng.pick(&contacts).copied(),
        ) {
            self.offer(n, *space, m);
        }
    }

    fn offer(&mut self, n: usize, space: SpaceId, m: usize) {
        let to = self.identity(m);
        // The offer itself lets them know.
        self.oracle.knows(space, to);
        if self.change(n, &Change::Offer { space, to }) == Some(Changed::Done) {
            self.nodes[m].offered.insert(space);
        }
    }

    fn leave(&mut self, n: usize, space: SpaceId) {
        if self.change(n, &Change::Leave(space)) == Some(Changed::Done) {
            // Somebody may want them back.
            self.nodes[n].offered.insert(space);
        }
    }

    fn exclude(&mut self, n: usize, space: SpaceId) {
        let contacts: Vec<usize> = self.nodes[n].contacts.iter().copied().collect();
        let Some(m) = self.rng.pick(&contacts).copied() else {
            return;
        };
        let contact = self.identity(m);
        let key = (n, space, contact);
        let excluded = !self.oracle.excluded.contains(&key);
        let change = Change::Exclude {
            space,
            contact,
            excluded,
        };
        if self.change(n, &change) == Some(Changed::Done) {
            if excluded {
                self.oracle.excluded.insert(key);
            } else {
                self.oracle.excluded.remove(&key);
            }
        }
    }

    /// Forgets a contact for some time.
    fn forget(&mut self, n: usize) {
        let contacts: Vec<usize> = self.nodes[n].contacts.iter().copied().collect();
        let Some(m) = self.rng.pick(&contacts).copied() else {
            return;
        };
        let contact = self.identity(m);
        if self.change(n, &Change::Forget(contact)) == Some(Changed::Done) {
            self.nodes[n].contacts.remove(&m);
            let ends = [n.min(m), n.max(m)];
            if let Some(pair) = self.pairs.iter().position(|pair| pair.ends == ends) {
                let wait = self.rng.between(HOUR, 2 * DAY);
                self.at(self.now + wait, Event::Befriend(pair));
            }
        }
    }

    fn retract(&mut self, n: usize, space: SpaceId) {
        let acked = self.oracle.acked.get(&(n, space));
        let entry = acked.and_then(|acked| self.rng.clone().pick(acked).copied());
        self.rng.next();
        if let Some((seq, id)) = entry
            && S::HONOURS_ENDS
            && seq > 0
        {
            self.write(n, space, Words::Retract(id));
        }
    }

    /// A person ends a device whose key was used twice, most often before that shows.
    fn revoke(&mut self, n: usize, space: SpaceId) {
        if self.is_double(n) || !self.is_honest(n) {
            return;
        }
        let doubles: Vec<usize> = (0..self.nodes.len())
            .filter(|m| {
                let device = self.nodes[*m].person.device.id();
                self.oracle.double.contains(&device)
            })
            .collect();
        let Some(m) = self.rng.pick(&doubles).copied().filter(|_| S::HONOURS_ENDS) else {
            return;
        };
        let Some(last) = self.oracle.acked.get(&(m, space)) else {
            return;
        };
        let Some((seq, id)) = self.rng.clone().pick(last).copied() else {
            return;
        };
        let person = &self.nodes[m].person;
        let device = person.device.id();
        let revocation = Revocation::sign(&person.identity, space, device, seq, id);
        self.oracle.revoked.insert(device);
        let body = Body::Revocation(Box::new(revocation)).encode();
        self.write(n, space, Words::Revocation(body));
    }

    fn post(&mut self, n: usize, space: SpaceId, kind: SpaceKind) {
        // An endless feed, now and then, of those who mean ill.
        let count = if !self.is_honest(n) && self.rng.chance(100) {
            300
        } else {
            1
        };
        for _ in 0..count {
            let text = self.text();
            let own = self.oracle.blogs.get(&n);
            let own = own.is_some_and(|own| own.contains(&space));
            let roots = self.roots.get(&space).cloned().unwrap_or_default();
            let root = self.rng.pick(&roots).copied();
            let words = match (kind, root) {
                (SpaceKind::Blog, None) if !own => return,
                (SpaceKind::Blog, Some(root)) if !own => Words::Reply(root, text),
                (SpaceKind::Forum | SpaceKind::Blog, Some(root)) if self.rng.chance(700) => {
                    Words::Reply(root, text)
                }
                _ => Words::Post(text),
            };
            self.write(n, space, words);
        }
    }

    fn text(&mut self) -> String {
        let len = match self.rng.below(100) {
            0 => self.rng.between(10_000, 60_000),
            1..10 => self.rng.between(400, 4_000),
            _ => self.rng.between(5, 400),
        };
        let word = format!("{:x} ", self.rng.next());
        let mut text = word.repeat(len as usize / word.len() + 1);
        text.truncate(len as usize);
        text.trim().to_owned()
    }

    fn write(&mut self, n: usize, space: SpaceId, words: Words) {
        if self.nodes[n].silent {
            return;
        }
        let opens = matches!(words, Words::Post(_));
        let changed = self.change(n, &Change::Write { space, words });
        if let Some(Changed::Written { entries, .. }) = changed {
            self.figures.written += entries.len() as u64;
            self.figures.commits += 1;
            if opens && let Some((_, id)) = entries.last() {
                self.open_thread(space, *id);
            }
        }
    }

    fn open_thread(&mut self, space: SpaceId, id: EntryId) {
        let roots = self.roots.entry(space).or_default();
        if roots.len() < ROOTS_MAX {
            roots.push(id);
        } else {
            let at = self.rng.index(ROOTS_MAX);
            roots[at] = id;
        }
    }
}
