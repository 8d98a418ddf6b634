//! A node on the plain store: what is right, without a disk.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Audience, Change, Changed, Memory, NodeStore, Peer, Person, Rng, Stored, Taken, Words,
};
use crate::{
    admission::Chain,
    audience::{ContactFacts, SpaceFacts, clear},
    author,
    body::{Body, Genesis},
    entry::Head,
    frame::OfferFrame,
    ids::{EndpointId, EntryId, IdentityId, SpaceId},
    session::{Output, SpaceStore, run_bytes},
    space::{Descriptor, Membership, SpaceContext, SpaceKind, conversation_id},
    time::Millis,
    verify::Reject,
};

/// What a node keeps of a contact.
#[derive(Debug, Clone, Default)]
struct Row {
    rev: u64,
    seen_rev: u64,
    acked_rev: u64,
    agreed: BTreeMap<EndpointId, BTreeSet<SpaceId>>,
}

#[derive(Clone)]
struct State {
    memory: Memory,
    contacts: BTreeMap<IdentityId, Row>,
    descriptors: BTreeMap<SpaceId, Descriptor>,
    conversations: BTreeMap<SpaceId, IdentityId>,
    excluded: BTreeSet<(SpaceId, IdentityId)>,
    offers_out: BTreeMap<(IdentityId, SpaceId), (u64, OfferFrame)>,
    offers_in: BTreeMap<SpaceId, (Descriptor, Chain)>,
}

/// A node on a [`Memory`].
pub struct Model {
    name: String,
    state: State,
    full: bool,
    /// The next commit fails, and stands or not.
    doomed: Option<bool>,
}

impl Model {
    /// Runs one commit.
    fn commit<R>(&mut self, change: impl FnOnce(&mut State, &str) -> R) -> Result<R, ()> {
        if self.full {
            return Err(());
        }
        match self.doomed.take() {
            None => Ok(change(&mut self.state, &self.name)),
            Some(stands) => {
                if stands {
                    change(&mut self.state, &self.name);
                }
                Err(())
            }
        }
    }
}

impl NodeStore for Model {
    type Error = ();
    type View<'v> = &'v Memory;
    type Image = Backup;

    const HONOURS_ENDS: bool = false;

    fn new(me: &Person, name: &str, _now: Millis) -> Self {
        let mut state = State {
            memory: Memory::new(me.clone()),
            contacts: BTreeMap::new(),
            descriptors: BTreeMap::new(),
            conversations: BTreeMap::new(),
            excluded: BTreeSet::new(),
            offers_out: BTreeMap::new(),
            offers_in: BTreeMap::new(),
        };
        let salt = *blake3::hash(name.as_bytes()).as_bytes();
        state.found(SpaceKind::Blog, name, salt);
        Self {
            name: name.to_owned(),
            state,
            full: false,
            doomed: None,
        }
    }

    fn view(&self) -> Result<&Memory, ()> {
        Ok(&self.state.memory)
    }

    fn spaces(&self) -> Result<Vec<(SpaceId, SpaceKind)>, ()> {
        Ok(self.state.memory.spaces().collect())
    }

    fn audience(&self, peer: &Peer) -> Result<Option<Audience>, ()> {
        Ok(self.state.audience(peer))
    }

    fn take(&mut self, peer: &Peer, jobs: Vec<Output>, _now: Millis) -> Result<Taken, ()> {
        self.commit(|state, _| {
            let mut audience = false;
            let results = jobs.into_iter();
            let results = results
                .map(|job| state.take(peer, job, &mut audience))
                .collect();
            Taken { results, audience }
        })
    }

    fn change(&mut self, change: &Change, now: Millis) -> Result<Changed, ()> {
        self.commit(|state, name| state.change(change, name, now))
    }

    fn power_cut(&mut self, _seed: u64) {
        self.doomed = None;
    }

    fn cut_power_in_next_commit(&mut self, seed: u64) {
        self.doomed = Some(Rng::new(seed).chance(500));
    }

    fn set_full(&mut self, full: bool) {
        self.full = full;
    }

    fn image(&self) -> Backup {
        Backup(self.state.clone())
    }

    fn put_back(&mut self, image: &Backup) {
        self.state = image.0.clone();
        self.doomed = None;
    }
}

/// A copy of everything that a [`Model`] holds.
#[derive(Clone)]
pub struct Backup(State);

impl State {
    fn own(&self) -> IdentityId {
        self.memory.me.identity.id()
    }

    fn found(&mut self, kind: SpaceKind, name: &str, salt: [u8; 32]) -> SpaceId {
        let descriptor = Descriptor {
            kind,
            name: name.to_owned(),
            description: String::new(),
            creator: self.own(),
            onward: true,
            salt,
        };
        self.take_space(descriptor, Chain::root())
    }

    fn take_space(&mut self, descriptor: Descriptor, chain: Chain) -> SpaceId {
        let context = SpaceContext::described(&descriptor);
        let id = context.id;
        self.memory.hold(context, descriptor.kind, chain);
        self.memory.come_back(id);
        self.descriptors.insert(id, descriptor);
        self.bump();
        id
    }

    /// What contacts may have has changed.
    fn bump(&mut self) {
        for row in self.contacts.values_mut() {
            row.rev += 1;
        }
    }

    fn audience(&self, peer: &Peer) -> Option<Audience> {
        let row = self.contacts.get(&peer.contact)?;
        let mut clearances = Vec::new();
        for (id, kind) in self.memory.spaces() {
            let creator = self.descriptors.get(&id).map(|known| known.creator);
            let counterpart = creator.or_else(|| self.conversations.get(&id).copied());
            let facts = SpaceFacts {
                id,
                kind,
                counterpart: counterpart.unwrap_or_else(|| self.own()),
                member: false,
            };
            let contact = ContactFacts {
                identity: peer.contact,
                ready: true,
                excluded: self.excluded.contains(&(id, peer.contact)),
                member: false,
            };
            clearances.extend(clear(&facts, &contact).map(|clearance| (clearance, kind)));
        }
        let offers = self.offers_out.iter();
        let offers = offers
            .filter(|((to, _), (rev, _))| *to == peer.contact && *rev > row.acked_rev)
            .map(|(_, (_, offer))| offer.clone());
        Some(Audience {
            clearances,
            agreed: row.agreed.get(&peer.endpoint).cloned().unwrap_or_default(),
            rev: row.rev,
            seen_rev: row.seen_rev,
            offers: offers.collect(),
        })
    }

    fn take(&mut self, peer: &Peer, job: Output, audience: &mut bool) -> Stored {
        match job {
            Output::Import { space, run } => {
                let (device, bytes) = (run.device(), run_bytes(&run));
                let before = self.base(space, device);
                let refused = match self.memory.chain(space) {
                    Some(_) => self.memory.import(space, run).err(),
                    None => Some(Reject::NotCommon),
                };
                let count = self.base(space, device).saturating_sub(before);
                Stored::Feed {
                    space,
                    device,
                    bytes,
                    refused,
                    new: (count > 0).then_some((before, count)),
                    ended: Vec::new(),
                }
            }
            Output::ImportTail { space, tail } => {
                let (device, start) = (tail.device(), tail.start());
                let count = tail.items().len() as u64;
                let refused = match self.memory.chain(space) {
                    Some(_) => self.memory.import_tail(space, tail).err(),
                    None => Some(Reject::NotCommon),
                };
                let new = refused.is_none().then_some((start, count));
                Stored::Feed {
                    space,
                    device,
                    bytes: 0,
                    refused,
                    new,
                    ended: Vec::new(),
                }
            }
            Output::Compare { space, overlap } => {
                if self.memory.chain(space).is_none() {
                    return refused(space, overlap.device(), Some(Reject::NotCommon));
                }
                let result = self.memory.compare(space, &overlap);
                Stored::Compared {
                    space,
                    overlap: (overlap.device(), overlap.start()),
                    result,
                }
            }
            Output::ImportEnd {
                space,
                device,
                proof,
            } => {
                let result = match self.memory.chain(space) {
                    Some(_) => self.memory.import_end(space, device, &proof).err(),
                    None => Some(Reject::NotCommon),
                };
                refused(space, device, result)
            }
            Output::Fill {
                space,
                device,
                seq,
                body,
            } => {
                let result = match self.memory.chain(space) {
                    Some(_) => self.memory.fill(space, device, seq, &body).err(),
                    None => Some(Reject::NotCommon),
                };
                refused(space, device, result)
            }
            Output::Common(spaces) => {
                if let Some(row) = self.contacts.get_mut(&peer.contact) {
                    row.agreed.insert(peer.endpoint, spaces);
                }
                Stored::Done
            }
            Output::Offers { rev, offers, .. } => {
                for offer in &offers {
                    *audience |= self.offered(peer, offer);
                }
                if let Some(row) = self.contacts.get_mut(&peer.contact) {
                    row.seen_rev = rev;
                }
                Stored::OffersKept { rev }
            }
            Output::SeenBy { rev } => {
                if let Some(row) = self.contacts.get_mut(&peer.contact) {
                    row.acked_rev = row.acked_rev.max(rev);
                }
                Stored::Done
            }
            Output::Control(_)
            | Output::Equal(_)
            | Output::PeerHolds { .. }
            | Output::Rejected(_) => Stored::Done,
        }
    }

    fn base(&self, space: SpaceId, device: crate::ids::DeviceId) -> u64 {
        let frontier = self.memory.frontier(space, device);
        frontier.ok().flatten().map_or(0, |frontier| frontier.base)
    }

    /// Keeps an offer; their own blog is taken at once.
    fn offered(&mut self, peer: &Peer, offer: &OfferFrame) -> bool {
        let (Ok(descriptor), Ok(chain)) = (
            Descriptor::decode(&offer.descriptor),
            Chain::decode(&offer.chain),
        ) else {
            return false;
        };
        let context = SpaceContext::described(&descriptor);
        let sound = chain.check(&context, self.own()).is_ok()
            && chain.inviter() == Some(peer.contact)
            && self.memory.chain(context.id).is_none();
        if sound && descriptor.kind == SpaceKind::Blog && descriptor.creator == peer.contact {
            self.take_space(descriptor, chain);
            return true;
        }
        if sound {
            self.offers_in.insert(context.id, (descriptor, chain));
        }
        false
    }

    fn change(&mut self, change: &Change, name: &str, now: Millis) -> Changed {
        let own = self.own();
        match change {
            Change::Befriend { person, secret, .. } => {
                let id = person.identity.id();
                let row = self.contacts.entry(id).or_default();
                (row.acked_rev, row.seen_rev) = (0, 0);
                row.rev += 1;
                let conversation = conversation_id(secret);
                let members = Membership::Pair([own, id]);
                let context = SpaceContext {
                    id: conversation,
                    members,
                };
                self.memory
                    .hold(context, SpaceKind::Conversation, Chain::root());
                self.conversations.insert(conversation, id);
                let mine = self.descriptors.iter().find(|(_, descriptor)| {
                    descriptor.kind == SpaceKind::Blog && descriptor.creator == own
                });
                if let Some(blog) = mine.map(|(id, _)| *id) {
                    self.offer(blog, id);
                }
                Changed::Done
            }
            Change::Forget(contact) => {
                let theirs = self.memory.spaces().filter(|(id, kind)| {
                    let creator = self.descriptors.get(id).map(|known| known.creator);
                    self.conversations.get(id) == Some(contact)
                        || (*kind == SpaceKind::Blog && creator == Some(*contact))
                });
                for (id, _) in theirs.collect::<Vec<_>>() {
                    self.memory.leave(id);
                }
                self.contacts.remove(contact);
                self.bump();
                Changed::Done
            }
            Change::Found { name, salt } => {
                Changed::Holds(self.found(SpaceKind::Forum, name, *salt))
            }
            Change::Offer { space, to } => self.offer(*space, *to),
            Change::Accept(space) => match self.offers_in.remove(space) {
                Some((descriptor, chain)) if self.memory.chain(*space).is_none() => {
                    Changed::Holds(self.take_space(descriptor, chain))
                }
                _ => Changed::Refused("no such offer".into()),
            },
            Change::Leave(space) => {
                self.memory.leave(*space);
                self.offers_out.retain(|(_, offered), _| offered != space);
                self.bump();
                Changed::Done
            }
            Change::Exclude {
                space,
                contact,
                excluded,
            } => {
                if *excluded {
                    self.excluded.insert((*space, *contact));
                } else {
                    self.excluded.remove(&(*space, *contact));
                }
                self.bump();
                Changed::Done
            }
            Change::Write { space, words } => self.write(*space, words, name, now),
        }
    }

    fn offer(&mut self, space: SpaceId, to: IdentityId) -> Changed {
        let refused = |what: &str| Changed::Refused(what.to_owned());
        let (Some(chain), Some(descriptor)) =
            (self.memory.chain(space), self.descriptors.get(&space))
        else {
            return refused("this space isn't held");
        };
        let Some(row) = self.contacts.get_mut(&to) else {
            return refused("no contact");
        };
        let me = &self.memory.me;
        let Ok(chain) = chain.admit(space, &me.certificate, &me.device, to) else {
            return refused("too deep");
        };
        row.rev += 1;
        let offer = OfferFrame {
            descriptor: descriptor.encode(),
            chain: chain.encode(),
        };
        self.offers_out.insert((to, space), (row.rev, offer));
        Changed::Done
    }

    fn write(&mut self, space: SpaceId, words: &Words, name: &str, now: Millis) -> Changed {
        let Some(chain) = self.memory.chain(space).cloned() else {
            return Changed::Refused("this space isn't held".into());
        };
        let me = self.memory.me.clone();
        let facts = self.memory.facts(space, me.device.id());
        let facts = facts.expect("plain memory is well");
        if facts.end().is_some() {
            return Changed::Refused("this feed has ended".into());
        }
        let mut entries = Vec::new();
        let mut head = facts.head;
        if head.next == 0 {
            let genesis = Genesis {
                certificate: me.certificate.clone(),
                name,
                chain,
            };
            let genesis = Body::Genesis(Box::new(genesis));
            entries.extend(self.append(space, &head, now, &genesis));
            let facts = self.memory.facts(space, me.device.id());
            head = facts.expect("plain memory is well").head;
        }
        let kind = self.memory.spaces().find(|(id, _)| *id == space);
        let kind = kind.map_or(SpaceKind::Forum, |(_, kind)| kind);
        let Some(body) = words.body(kind, now, &me.device) else {
            return Changed::Refused("this can't be said".into());
        };
        entries.extend(self.append(space, &head, now, &body));
        Changed::Written {
            entries,
            ended: Vec::new(),
        }
    }

    fn append(
        &mut self,
        space: SpaceId,
        head: &Head,
        now: Millis,
        body: &Body<'_>,
    ) -> Option<(u64, EntryId)> {
        let run = author::append(&self.memory.me.device, space, head, now, body);
        let id = run.items().first()?.id;
        self.memory.import(space, run).ok()?;
        Some((head.next, id))
    }
}

fn refused(space: SpaceId, device: crate::ids::DeviceId, refused: Option<Reject>) -> Stored {
    Stored::Feed {
        space,
        device,
        bytes: 0,
        refused,
        new: None,
        ended: Vec::new(),
    }
}
