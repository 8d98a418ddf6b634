//! Which spaces both sides hold, and where they differ: hello, search, digests, trees.

use std::collections::BTreeSet;

use super::{Channel, Fatal, GENERATIONS_MAX, Output, Session, SpaceStore, by_space};
use crate::{
    audience::Clearance,
    courier,
    frame::{Control, FEATURE_RELAY, Hello, LinkClass, OfferFrame, TAG_LEN, VERSION, Whereabouts},
    ids::SpaceId,
    limits::SPACES_MAX,
    merkle::{FANOUT, Hash, Node, Prefix},
    space::SpaceKind,
    time::Millis,
};

/// Sizes to which a list of tags is padded, so that it doesn't tell how many spaces there are.
const CLASSES: [usize; 4] = [16, 64, 256, SPACES_MAX];

impl Session {
    /// What the contact may have has changed, what we offer them, or how we are found. Spaces that are no longer
    /// allowed are cut off at once, before the peer is told: nothing about them leaves any more.
    /// Where nothing has changed, nothing begins anew: a search forgets what was asked for.
    pub fn handle_audience(
        &mut self,
        clearances: Vec<(Clearance, SpaceKind)>,
        rev: u64,
        offers: Vec<OfferFrame>,
        whereabouts: Whereabouts,
    ) {
        let clearances = by_space(clearances);
        let told = offers.iter().all(|offer| self.offers.contains(offer))
            && (whereabouts == self.whereabouts || whereabouts == Whereabouts::default());
        let same = told && rev == self.rev && clearances == self.clearances;
        if same {
            return;
        }
        self.clearances = clearances;
        self.channels
            .retain(|_, channel| self.clearances.contains_key(&channel.space()));
        self.by_space
            .retain(|space, _| self.clearances.contains_key(space));
        self.rev = rev;
        self.offers = offers;
        self.whereabouts = whereabouts;
        if self.theirs.is_none() {
            self.hello_stale = true;
        } else if self.generation < GENERATIONS_MAX {
            self.search(self.generation + 1);
            self.say.offers = true;
        }
    }

    pub(super) fn hello<S: SpaceStore>(&self, store: &S) -> Result<Hello, S::Error> {
        let mut digests = Vec::with_capacity(self.agreed.len());
        for space in &self.agreed {
            digests.push((space, store.digest(*space)?));
        }
        Ok(Hello {
            version: VERSION,
            features: FEATURE_RELAY | courier::FEATURE,
            class: self.class,
            rev: self.rev,
            seen_rev: self.seen_rev,
            agreed: self.key.agreed(self.agreed.iter()),
            digest: self.key.digest(digests.into_iter()),
        })
    }

    pub(super) fn handle_hello<E>(&mut self, hello: Hello) -> Result<(), Fatal<E>> {
        if hello.version < VERSION {
            return Err(Fatal::Version(hello.version));
        }
        let Some(own) = self.own_hello.clone().filter(|_| self.theirs.is_none()) else {
            return Err(Fatal::Order("a second hello"));
        };
        if hello.class == LinkClass::Slow {
            self.class = LinkClass::Slow;
        }
        let same_spaces = own.agreed == hello.agreed
            && own.rev == hello.seen_rev
            && own.seen_rev == hello.rev
            && !self.hello_stale;
        let (equal, unseen) = (own.digest == hello.digest, self.rev != hello.seen_rev);
        self.theirs = Some(hello);
        if !same_spaces {
            self.search(1);
            self.say.offers = unseen;
            return Ok(());
        }
        self.open_channels(&self.agreed.clone());
        self.complete = true;
        if !equal {
            self.say.digests = true;
            return Ok(());
        }
        self.compared = true;
        for (space, base) in std::mem::take(&mut self.hello_bases) {
            self.equal(space, base);
        }
        Ok(())
    }

    /// Begins a search for common spaces, or answers one.
    fn search(&mut self, generation: u32) {
        self.generation = generation;
        self.complete = false;
        self.say.digests = false;
        self.say.spaces = true;
    }

    /// The keyed hashes of the spaces that this contact may have, padded and sorted.
    pub(super) fn spaces(&self) -> Control {
        let generation = self.generation;
        let mut tags: Vec<_> = self
            .clearances
            .keys()
            .map(|space| self.key.tag(self.dialer, generation, *space))
            .collect();
        let class = CLASSES.into_iter().find(|class| *class >= tags.len());
        let mut padding = blake3::Hasher::new_keyed(&self.seed)
            .update(&generation.to_be_bytes())
            .finalize_xof();
        while tags.len() < class.unwrap_or(0) {
            let mut tag = [0; TAG_LEN];
            padding.fill(&mut tag);
            tags.push(tag);
        }
        tags.sort_unstable();
        Control::Spaces { generation, tags }
    }

    pub(super) fn handle_spaces<E>(
        &mut self,
        generation: u32,
        tags: &[[u8; TAG_LEN]],
    ) -> Result<(), Fatal<E>> {
        if generation == 0 || generation > GENERATIONS_MAX {
            return Err(Fatal::Order("a search for spaces out of range"));
        }
        if generation < self.generation || (generation == self.generation && self.complete) {
            return Ok(());
        }
        if generation > self.generation {
            self.search(generation);
        }
        let tags: BTreeSet<_> = tags.iter().collect();
        let common: BTreeSet<SpaceId> = self
            .clearances
            .keys()
            .filter(|space| tags.contains(&self.key.tag(!self.dialer, generation, **space)))
            .copied()
            .collect();
        self.complete = true;
        self.open_channels(&common);
        self.say.digests = true;
        if self.stored_common.as_ref() != Some(&common) {
            self.stored_common = Some(common.clone());
            self.work.push_back(Output::Common(common));
        }
        Ok(())
    }

    /// Channels are numbered by the sorted ids of the common spaces, apart for each search.
    fn open_channels(&mut self, spaces: &BTreeSet<SpaceId>) {
        let first = self.generation * SPACES_MAX as u32;
        self.channels.clear();
        self.by_space.clear();
        for (channel, space) in (first..).zip(spaces).take(SPACES_MAX) {
            if let Some((clearance, kind)) = self.clearances.get(space) {
                self.channels
                    .insert(channel, Channel::new(*clearance, *kind));
                self.by_space.insert(*space, channel);
            }
        }
    }

    /// The digest of each common space, as it is now.
    pub(super) fn digests<S: SpaceStore>(&self, store: &S) -> Result<Control, S::Error> {
        let digests = self
            .channels
            .values()
            .map(|channel| store.digest(channel.space()))
            .collect::<Result<_, _>>()?;
        Ok(Control::Digests {
            generation: self.generation,
            digests,
        })
    }

    pub(super) fn handle_digests<S: SpaceStore>(
        &mut self,
        generation: u32,
        digests: &[Hash],
        store: &S,
    ) -> Result<(), Fatal<S::Error>> {
        if generation != self.generation || !self.complete || self.digested == Some(generation) {
            return Ok(());
        }
        if digests.len() != self.channels.len() {
            return Err(Fatal::Order("digests for other spaces than are common"));
        }
        let mut equal = Vec::new();
        for (state, theirs) in self.channels.values_mut().zip(digests) {
            let space = state.space();
            if store.digest(space).map_err(Fatal::Store)? == *theirs {
                let own = store.frontier(space, self.device).map_err(Fatal::Store)?;
                equal.push((space, own.map_or(0, |own| own.base)));
            } else {
                state.walk(Prefix::root());
            }
        }
        self.digested = Some(generation);
        self.compared = true;
        for (space, base) in equal {
            self.equal(space, base);
        }
        Ok(())
    }

    /// Both sides hold the same of a space; `base` is how long our own feed was when it was compared.
    fn equal(&mut self, space: SpaceId, base: u64) {
        self.work.push_back(Output::Equal(space));
        let channel = self.by_space.get(&space).copied();
        let state = channel.and_then(|channel| self.channels.get_mut(&channel));
        if state.is_some_and(|state| state.holds(base)) {
            self.work.push_back(Output::PeerHolds { space, base });
        }
    }

    pub(super) fn handle_node<S: SpaceStore>(
        &mut self,
        channel: u32,
        prefix: &Prefix,
        theirs: &Node,
        now: Millis,
        store: &S,
    ) -> Result<(), Fatal<S::Error>> {
        let Some(state) = self.channels.get_mut(&channel) else {
            return Ok(());
        };
        let own = store.node(state.space(), prefix).map_err(Fatal::Store)?;
        match (own, theirs) {
            (Node::Branch(own), Node::Branch(theirs)) => {
                let digits = (0..FANOUT as u8).zip(own.iter().zip(theirs.iter()));
                for (digit, _) in digits.filter(|(_, (own, theirs))| own != theirs) {
                    if let Some(child) = prefix.child(digit) {
                        state.walk(child);
                    }
                }
                Ok(())
            }
            (Node::Branch(_), Node::Bucket(theirs)) => {
                state.list(prefix);
                self.learn(channel, theirs, now, store)
            }
            (Node::Bucket(_), Node::Bucket(theirs)) => self.learn(channel, theirs, now, store),
            // The peer sees from our bucket what to tell us.
            (Node::Bucket(_), Node::Branch(_)) => Ok(()),
        }
    }
}
