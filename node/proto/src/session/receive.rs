//! What comes from the peer: what it holds, what it asks for, and entries.

use super::{
    BODY_QUEUE_MAX, Fatal, GOSSIP_GRACE_MS, GRACE_ENTRIES_MAX, Lane, Output, STALL_MS, Session,
    SpaceStore, THEIRS_MAX,
    channel::{Channel, InFlight, RETRIES_MAX},
    ends::hears_of,
    plan::{Ask, Manner, ask},
    stored::Kind,
};
use crate::{
    courier,
    frame::{Control, Data, Hint, LinkClass, TailWant},
    frontier::Frontier,
    ids::DeviceId,
    time::Millis,
    verify::{FeedFacts, Outcome, Reject, VerifiedRun, verify_run},
};

/// Whether entries were asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Asked,
    Gossip,
}

impl Channel {
    /// Asks for a feed, unless that is under way, or gossip may bring it in a moment.
    fn ask_for(
        &mut self,
        device: DeviceId,
        ask: Option<Ask>,
        next: u64,
        patient: bool,
        now: Millis,
    ) {
        let fruitless = self.fruitless.get(&device);
        if fruitless.is_some_and(|n| *n >= RETRIES_MAX) && ask.is_some() {
            return;
        }
        let under_way = self.wants.contains(&device) || self.tails.contains(&device);
        match ask {
            None => self.unwant(&device),
            Some(_) if under_way => {}
            Some(Ask::Down { from, end, lack }) => {
                self.tails.want(device, (from, end, lack), next, now);
            }
            Some(Ask::Up { from, target }) => {
                let small = target.saturating_sub(from) <= GRACE_ENTRIES_MAX;
                let until = now.plus(GOSSIP_GRACE_MS);
                let waits = patient && small && next > 0;
                if !(waits && self.defer(device, until)) {
                    self.want(device, from, target, now);
                }
            }
        }
    }
}

impl Session {
    /// A frame came.
    ///
    /// # Errors
    /// Why the session has to end; see [`Fatal`].
    pub fn handle_frame<S: SpaceStore>(
        &mut self,
        lane: Lane,
        frame: &[u8],
        now: Millis,
        store: &S,
    ) -> Result<(), Fatal<S::Error>> {
        match lane {
            // About letters the session knows nothing: who drives it looks at them, or doesn't.
            Lane::Control if courier::is_courier(frame) && self.theirs.is_some() => Ok(()),
            Lane::Control => self.handle_control(Control::decode(frame)?, now, store),
            Lane::Space(channel) => self.handle_data(channel, frame, now, store),
        }
    }

    fn handle_control<S: SpaceStore>(
        &mut self,
        frame: Control,
        now: Millis,
        store: &S,
    ) -> Result<(), Fatal<S::Error>> {
        if self.theirs.is_none() && !matches!(frame, Control::Hello(_)) {
            return Err(Fatal::Order("something before the hello"));
        }
        match frame {
            Control::Hello(hello) => self.handle_hello(hello),
            Control::Spaces { generation, tags } => self.handle_spaces(generation, &tags),
            Control::Digests {
                generation,
                digests,
            } => self.handle_digests(generation, &digests, store),
            Control::Node {
                channel,
                prefix,
                node,
            } => self.handle_node(channel, &prefix, &node, now, store),
            Control::Frontiers { channel, frontiers } => {
                self.learn(channel, &frontiers, now, store)
            }
            Control::Want { channel, feeds } => self
                .handle_want(channel, feeds, store)
                .map_err(Fatal::Store),
            Control::WantBodies {
                channel,
                device,
                seqs,
            } => {
                self.handle_want_bodies(channel, device, seqs);
                Ok(())
            }
            Control::WantTails { channel, feeds } => self
                .handle_want_tails(channel, feeds, store)
                .map_err(Fatal::Store),
            Control::Offers {
                rev,
                offers,
                whereabouts,
            } => {
                if rev == self.seen_rev {
                    self.say.seen = true;
                } else if self.offers_storing {
                    self.offers_waiting = Some((rev, offers, whereabouts));
                } else {
                    self.offers_storing = true;
                    self.work.push_back(Output::Offers {
                        rev,
                        offers,
                        whereabouts,
                    });
                }
                Ok(())
            }
            Control::Seen { rev } => {
                let rev = rev.min(self.rev);
                if rev > self.acked_rev {
                    self.acked_rev = rev;
                    self.work.push_back(Output::SeenBy { rev });
                }
                Ok(())
            }
        }
    }

    /// The peer asks for feeds. What isn't held isn't queued.
    fn handle_want<S: SpaceStore>(
        &mut self,
        channel: u32,
        feeds: Vec<(DeviceId, u64)>,
        store: &S,
    ) -> Result<(), S::Error> {
        let Some(state) = self.channels.get_mut(&channel) else {
            return Ok(());
        };
        for (device, from) in feeds {
            let own = store.frontier(state.space(), device)?;
            if own.is_some_and(|own| own.end_above(from) > from) {
                state.enqueue(device, from);
            }
        }
        Ok(())
    }

    /// The peer asks for the newest of feeds. What isn't held isn't queued.
    fn handle_want_tails<S: SpaceStore>(
        &mut self,
        channel: u32,
        feeds: Vec<TailWant>,
        store: &S,
    ) -> Result<(), S::Error> {
        let Some(state) = self.channels.get_mut(&channel) else {
            return Ok(());
        };
        for want in feeds {
            if store.frontier(state.space(), want.device)?.is_some() {
                state.enqueue_downwards(&want);
            }
        }
        Ok(())
    }

    fn handle_want_bodies(&mut self, channel: u32, device: DeviceId, seqs: Vec<u64>) {
        let queued: usize = self.channels.values().map(|state| state.bodies.len()).sum();
        let room = BODY_QUEUE_MAX.saturating_sub(queued);
        if let Some(state) = self.channels.get_mut(&channel) {
            state
                .bodies
                .extend(seqs.into_iter().take(room).map(|seq| (device, seq)));
        }
    }

    /// The peer told what it holds.
    pub(super) fn learn<S: SpaceStore>(
        &mut self,
        channel: u32,
        frontiers: &[Frontier],
        now: Millis,
        store: &S,
    ) -> Result<(), Fatal<S::Error>> {
        let known: usize = self
            .channels
            .values()
            .map(|state| state.theirs.count())
            .sum();
        let mut room = THEIRS_MAX.saturating_sub(known);
        let Some(state) = self.channels.get_mut(&channel) else {
            return Ok(());
        };
        let space = state.space();
        let mut devices = Vec::new();
        for frontier in frontiers {
            let device = frontier.device;
            let before = state.theirs.get(&device);
            let Some(less) = room.checked_sub(state.theirs.growth(frontier)) else {
                continue;
            };
            room = less;
            devices.push(device);
            if before == Some(*frontier) {
                continue;
            }
            state.theirs.insert(frontier);
            state.fruitless.remove(&device);
            let own = store.frontier(space, device).map_err(Fatal::Store)?;
            let own = own.unwrap_or_else(|| Frontier::empty(device));
            if frontier.holes.count == 0 && before.is_some_and(|before| before.holes.count > 0) {
                state.forget_asked(device);
            }
            if needs_our_frontier(&own, frontier) {
                state.announce.insert(device);
            }
            let base = frontier.base.min(own.base);
            if device == self.device && state.holds(base) {
                self.work.push_back(Output::PeerHolds { space, base });
            }
        }
        self.evaluate(channel, &devices, now, store, self.gossip_up)
            .map_err(Fatal::Store)
    }

    /// Decides for each feed what to ask the peer for, given what it said to hold.
    pub(super) fn evaluate<S: SpaceStore>(
        &mut self,
        channel: u32,
        devices: &[DeviceId],
        now: Millis,
        store: &S,
        patient: bool,
    ) -> Result<(), S::Error> {
        let Some(state) = self.channels.get_mut(&channel) else {
            return Ok(());
        };
        let takes = self.fetch.takes(state.kind);
        for device in devices {
            let Some(theirs) = state.theirs.get(device) else {
                continue;
            };
            let own = store
                .frontier(state.space(), *device)?
                .unwrap_or_else(|| Frontier::empty(*device));
            state.tell_end(&own, &theirs, store)?;
            if !takes && *device != self.device {
                state.ask_bodies.remove(device);
                state.unwant(device);
                continue;
            }
            if own.holes.count > 0 && own.holes != theirs.holes && theirs.base > 0 {
                state.ask_bodies.insert(*device);
            }
            let mut next = state
                .in_flight
                .get(device)
                .map_or(own.base, |flight| flight.head.next);
            let own = state.with_flight(own);
            if let Some(tail) = own.tail.filter(|tail| next >= tail.start) {
                // What is on its way closes the gap.
                next = next.max(tail.end);
            }
            let manner = Manner {
                slow: self.class == LinkClass::Slow,
                tails: *device != self.device && state.tails.allows(device),
            };
            let ask = ask(&own, next, &theirs, manner);
            state.ask_for(*device, ask, next, patient, now);
        }
        let expects = state.expects();
        if expects && self.stall_check.is_none() {
            self.stall_check = Some(now.plus(STALL_MS));
        }
        if expects {
            self.pace.begin(now);
        } else if !self.channels.values().any(Channel::expects) {
            self.pace.end();
        }
        Ok(())
    }

    fn handle_data<S: SpaceStore>(
        &mut self,
        channel: u32,
        frame: &[u8],
        now: Millis,
        store: &S,
    ) -> Result<(), Fatal<S::Error>> {
        let Some(state) = self.channels.get_mut(&channel) else {
            return Ok(());
        };
        let space = state.space();
        self.pace.count(frame.len(), now);
        if self.pace.is_slow(now) {
            self.class = LinkClass::Slow;
        }
        match Data::decode(frame)? {
            Data::Tail { device, run } => self.handle_tail(channel, device, run, now, store),
            Data::Run { device, run } => {
                self.handle_run(channel, device, run, Origin::Asked, now, store)
            }
            Data::Fork { device, proof } => self.handle_fork(channel, device, proof, store),
            Data::Revocation { device, body } => {
                self.handle_revocation(channel, device, body, store)
            }
            Data::Body { device, seq, body } => {
                if state.takes_body(device, seq)
                    && self.pending.begin((space, device), Kind::Fill, body.len())
                {
                    let body = body.to_vec();
                    self.work.push_back(Output::Fill {
                        space,
                        device,
                        seq,
                        body,
                    });
                }
                Ok(())
            }
        }
    }

    /// What is known of a feed, with what is on its way to the disk; `None` without a channel.
    pub(super) fn facts<S: SpaceStore>(
        &self,
        channel: u32,
        device: DeviceId,
        store: &S,
    ) -> Result<Option<FeedFacts>, S::Error> {
        let Some(state) = self.channels.get(&channel) else {
            return Ok(None);
        };
        let mut facts = store.facts(state.space(), device)?;
        if let Some(flight) = state.in_flight.get(&device)
            && flight.head.next > facts.head.next
        {
            facts.head = flight.head;
            facts.author = facts.author.or(flight.author);
        }
        if let Some(flight) = state.tails.flight(&device) {
            facts.tail = Some(flight.tail);
        }
        // What is on its way to the disk closes the gap.
        facts.tail = facts.tail.filter(|tail| tail.start > facts.head.next);
        Ok(Some(state.with_end(facts)))
    }

    /// A gossip message of this meeting, see [`Hint`]. Anything that doesn't fit, or for which there
    /// is no room, is dropped: the session makes it whole.
    ///
    /// # Errors
    /// As [`Self::handle_frame`].
    pub fn handle_gossip<S: SpaceStore>(
        &mut self,
        message: &[u8],
        now: Millis,
        store: &S,
    ) -> Result<(), Fatal<S::Error>> {
        let Ok(hint) = Hint::decode(message) else {
            return Ok(());
        };
        if hint.tag != self.key.gossip(self.generation) || !self.accepts_data() {
            return Ok(());
        }
        let (channel, device, run) = (hint.channel, hint.device, hint.run);
        self.handle_run(channel, device, run, Origin::Gossip, now, store)
    }

    fn handle_run<S: SpaceStore>(
        &mut self,
        channel: u32,
        device: DeviceId,
        run: &[u8],
        origin: Origin,
        now: Millis,
        store: &S,
    ) -> Result<(), Fatal<S::Error>> {
        let Some(state) = self.channels.get(&channel) else {
            return Ok(());
        };
        // Own entries come back only where they were asked for: to a disk that lost them.
        let unasked = match origin {
            Origin::Asked => !(state.wants.contains(&device) || state.tails.contains(&device)),
            Origin::Gossip => device == self.device || !self.fetch.takes(state.kind),
        };
        if unasked {
            return Ok(());
        }
        let space = state.space();
        let Some(context) = store.context(space).map_err(Fatal::Store)? else {
            return Ok(());
        };
        let Some(facts) = self.facts(channel, device, store).map_err(Fatal::Store)? else {
            return Ok(());
        };
        let outcome = verify_run(&context, &facts, run.to_vec());
        let Some(state) = self.channels.get_mut(&channel) else {
            return Ok(());
        };
        match outcome {
            Ok(Outcome::Continues(run)) => {
                let head = run.head();
                let flight = state.in_flight.get(&device);
                let runs = flight.map_or(1, |flight| flight.runs.saturating_add(1));
                let author = run.author().or(flight.and_then(|flight| flight.author));
                let flight = InFlight { head, author, runs };
                state.in_flight.insert(device, flight);
                state.wants.advance(device, head.next, now);
                state.fruitless.remove(&device);
                if run.has_rules() {
                    state.ruling.insert(device);
                }
                self.pending.import(run_bytes(&run));
                self.work.push_back(Output::Import { space, run });
                Ok(())
            }
            Ok(Outcome::ContinuesTail(tail)) => {
                state.wants.advance(device, tail.end(), now);
                state.fruitless.remove(&device);
                self.take_tail(channel, &facts, tail, now);
                Ok(())
            }
            Ok(Outcome::Overlaps(overlap)) if overlap.is_known() => self
                .known(channel, device, overlap.end(), now, store)
                .map_err(Fatal::Store),
            Ok(Outcome::Overlaps(overlap)) => {
                let kind = Kind::Compare { end: overlap.end() };
                let bytes = overlap.bytes();
                if self.pending.begin((space, device), kind, bytes) {
                    self.work.push_back(Output::Compare { space, overlap });
                }
                Ok(())
            }
            // Gossip overtakes the session, and an import that failed leaves a gap: both are asked for.
            Err(Reject::Gap { .. }) => self
                .evaluate(channel, &[device], now, store, false)
                .map_err(Fatal::Store),
            Err(reject) => {
                state.unwant(&device);
                // What ended it was told, and isn't known to count so far.
                let reject = match reject {
                    Reject::Unsigned if state.unknown.contains(&device) => Reject::EndOfUnknownFeed,
                    reject => reject,
                };
                self.reject(reject)
            }
        }
    }

    /// What came of a feed up to `end` is known already: another meeting brought it, or it leads
    /// up to where two branches part. A feed that brings nothing else isn't asked for for ever.
    pub(super) fn known<S: SpaceStore>(
        &mut self,
        channel: u32,
        device: DeviceId,
        end: u64,
        now: Millis,
        store: &S,
    ) -> Result<(), S::Error> {
        if let Some(state) = self.channels.get_mut(&channel)
            && let Some(next) = state.wants.next(&device)
        {
            if end > next {
                state.wants.advance(device, end, now);
                if state.wants.behind(&device) {
                    return Ok(());
                }
            }
            state.unwant(&device);
            *state.fruitless.entry(device).or_default() += 1;
        }
        self.evaluate(channel, &[device], now, store, false)
    }
}

/// Bytes of a run as counted against the bound of what waits for the disk.
#[must_use]
pub fn run_bytes(run: &VerifiedRun) -> usize {
    run.items()
        .iter()
        .map(|item| item.body_len as usize + 64)
        .sum()
}

/// The peer knows of an end that we don't, or lacks bodies: it tells the end, and asks for the
/// bodies, only once it knows what we hold.
fn needs_our_frontier(own: &Frontier, theirs: &Frontier) -> bool {
    let holes = theirs.holes.count > 0 && theirs.holes != own.holes;
    own.base > 0 && (hears_of(own, theirs) || holes)
}
