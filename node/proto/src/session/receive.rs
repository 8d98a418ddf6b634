//! What comes from the peer, from the disk and from the clock.

use super::{
    Channel, Fatal, GOSSIP_GRACE_MS, GRACE_ENTRIES_MAX, Lane, Output, STALL_MS, Session,
    SpaceStore,
    channel::{BODY_QUEUE_MAX, InFlight, Wanted},
};
use crate::{
    frame::{BODIES_MAX, Control, Data, WANTS_MAX},
    frontier::Frontier,
    ids::{DeviceId, SpaceId},
    limits::FEEDS_PER_SPACE_MAX,
    merkle::{FANOUT, Node, Prefix},
    time::Millis,
    verify::{Comparison, Outcome, Reject, ask_below, verify_run},
    wire::Reader,
};

/// Times that a feed is asked for again without progress before its frontier has to be told anew.
const RETRIES_MAX: u32 = 3;

/// Whether entries were asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Asked,
    Gossip,
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
            Control::Hello(hello) => self.handle_hello(hello, store),
            Control::Spaces { generation, tags } => self.handle_spaces(generation, &tags, store),
            Control::Digests {
                generation,
                digests,
            } => self.handle_digests(generation, &digests, store),
            Control::Node {
                channel,
                prefix,
                node,
            } => self.handle_node(channel, &prefix, node, now, store),
            Control::Frontiers { channel, frontiers } => {
                self.learn(channel, &frontiers, now, store)?;
                Ok(())
            }
            Control::Want { channel, feeds } => {
                if let Some(channel) = self.channels.get_mut(&channel) {
                    for (device, from) in feeds {
                        channel.enqueue(device, from);
                    }
                }
                Ok(())
            }
            Control::WantBodies {
                channel,
                device,
                seqs,
            } => {
                if let Some(channel) = self.channels.get_mut(&channel) {
                    let room = BODY_QUEUE_MAX.saturating_sub(channel.bodies.len());
                    channel
                        .bodies
                        .extend(seqs.into_iter().take(room).map(|seq| (device, seq)));
                }
                Ok(())
            }
            Control::Offers { rev, offers } => {
                self.out.push_back(Output::Offers { rev, offers });
                Ok(())
            }
            Control::Seen { rev } => {
                self.out.push_back(Output::SeenBy {
                    rev: rev.min(self.rev),
                });
                Ok(())
            }
        }
    }

    fn handle_node<S: SpaceStore>(
        &mut self,
        channel: u32,
        prefix: &Prefix,
        theirs: Node,
        now: Millis,
        store: &S,
    ) -> Result<(), Fatal<S::Error>> {
        let Some(state) = self.channels.get_mut(&channel) else {
            return Ok(());
        };
        let space = state.space();
        let own = store.node(space, prefix).map_err(Fatal::Store)?;
        match (own, theirs) {
            (Node::Branch(own), Node::Branch(theirs)) => {
                for digit in 0..FANOUT {
                    if own.get(digit) == theirs.get(digit) {
                        continue;
                    }
                    if let Some(prefix) = u8::try_from(digit)
                        .ok()
                        .and_then(|digit| prefix.child(digit))
                    {
                        let node = store.node(space, &prefix).map_err(Fatal::Store)?;
                        self.send(&Control::Node {
                            channel,
                            prefix,
                            node,
                        });
                    }
                }
                Ok(())
            }
            (Node::Branch(_), Node::Bucket(theirs)) => {
                let known = theirs
                    .iter()
                    .map(|frontier| (frontier.device, *frontier))
                    .collect();
                state.listings.push_back((prefix.clone(), None, known));
                self.learn(channel, &theirs, now, store)
            }
            (Node::Bucket(_), Node::Bucket(theirs)) => self.learn(channel, &theirs, now, store),
            // The peer sees from our bucket what to tell us.
            (Node::Bucket(_), Node::Branch(_)) => Ok(()),
        }
    }

    /// The peer told what it holds.
    fn learn<S: SpaceStore>(
        &mut self,
        channel: u32,
        frontiers: &[Frontier],
        now: Millis,
        store: &S,
    ) -> Result<(), Fatal<S::Error>> {
        let device = self.device;
        let Some(state) = self.channels.get_mut(&channel) else {
            return Ok(());
        };
        for frontier in frontiers {
            if state.theirs.len() >= FEEDS_PER_SPACE_MAX
                && !state.theirs.contains_key(&frontier.device)
            {
                continue;
            }
            state.theirs.insert(frontier.device, *frontier);
            if frontier.device == device {
                self.out.push_back(Output::PeerHolds {
                    space: state.space(),
                    base: frontier.base,
                });
            }
        }
        let devices: Vec<DeviceId> = frontiers.iter().map(|frontier| frontier.device).collect();
        self.evaluate(channel, &devices, now, store, self.gossip_up)
            .map_err(Fatal::Store)
    }

    /// Decides for each feed what to ask the peer for, given what it said to hold.
    fn evaluate<S: SpaceStore>(
        &mut self,
        channel: u32,
        devices: &[DeviceId],
        now: Millis,
        store: &S,
        patient: bool,
    ) -> Result<(), S::Error> {
        let own_device = self.device;
        let Some(state) = self.channels.get_mut(&channel) else {
            return Ok(());
        };
        let mut wants = Vec::new();
        let mut bodies = Vec::new();
        for device in devices {
            let Some(theirs) = state.theirs.get(device).copied() else {
                continue;
            };
            let own = store
                .frontier(state.space(), *device)?
                .unwrap_or_else(|| Frontier::empty(*device));
            if fork_to_tell(&own, &theirs) {
                state.enqueue_fork(*device);
            }
            if own.holes.count > 0 && own.holes != theirs.holes && theirs.base > 0 {
                let seqs = store.holes(state.space(), *device, BODIES_MAX)?;
                bodies.push(Control::WantBodies {
                    channel,
                    device: *device,
                    seqs,
                });
            }
            let own_next = state
                .in_flight
                .get(device)
                .map_or(own.base, |flight| flight.head.next);
            match ask_from(&own, own_next, &theirs) {
                // Our own feed never comes from elsewhere: what isn't on this disk was never written by this device.
                Some(_) if *device == own_device => {}
                Some(from) => {
                    let small = theirs.base.saturating_sub(own_next) <= GRACE_ENTRIES_MAX;
                    if patient && small && own_next > 0 && !state.wanted.contains_key(device) {
                        state
                            .deferred
                            .entry(*device)
                            .or_insert_with(|| now.plus(GOSSIP_GRACE_MS));
                    } else if want(state, *device, from, theirs.base, now) {
                        wants.push((*device, from));
                    }
                }
                None => {
                    state.wanted.remove(device);
                    state.deferred.remove(device);
                }
            }
        }
        for feeds in wants.chunks(WANTS_MAX) {
            self.send(&Control::Want {
                channel,
                feeds: feeds.to_vec(),
            });
        }
        for frame in bodies {
            self.send(&frame);
        }
        if !wants.is_empty() && self.stall_check.is_none() {
            self.stall_check = Some(now.plus(STALL_MS));
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
        let Some(state) = self.channels.get(&channel) else {
            return Ok(());
        };
        let space = state.space();
        match Data::decode(frame)? {
            Data::Run { device, run } => {
                self.handle_run(channel, device, run, Origin::Asked, now, store)
            }
            Data::Fork { device, proof } => {
                let proof = proof.to_vec();
                self.out.push_back(Output::ImportFork {
                    space,
                    device,
                    proof,
                });
                Ok(())
            }
            Data::Body { device, seq, body } => {
                let body = body.to_vec();
                self.out.push_back(Output::Fill {
                    space,
                    device,
                    seq,
                    body,
                });
                Ok(())
            }
        }
    }

    /// A gossip message of this meeting: tag 8, channel varint, device 32, run. Anything that
    /// doesn't fit is dropped: the session makes it whole.
    ///
    /// # Errors
    /// As [`Self::handle_frame`].
    pub fn handle_gossip<S: SpaceStore>(
        &mut self,
        message: &[u8],
        now: Millis,
        store: &S,
    ) -> Result<(), Fatal<S::Error>> {
        let mut reader = Reader::new(message);
        let Ok(tag) = reader.array::<8>() else {
            return Ok(());
        };
        let (Ok(channel), Ok(device)) = (reader.varint(), reader.id()) else {
            return Ok(());
        };
        let Ok(channel) = u32::try_from(channel) else {
            return Ok(());
        };
        if tag != self.gossip_tag() || !self.channels.contains_key(&channel) {
            return Ok(());
        }
        self.handle_run(
            channel,
            DeviceId(device),
            reader.rest(),
            Origin::Gossip,
            now,
            store,
        )
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
        let Some(state) = self.channels.get_mut(&channel) else {
            return Ok(());
        };
        if device == self.device || (origin == Origin::Asked && !state.wanted.contains_key(&device))
        {
            return Ok(());
        }
        let space = state.space();
        let Some(context) = store.context(space).map_err(Fatal::Store)? else {
            return Ok(());
        };
        let mut facts = store.facts(space, device).map_err(Fatal::Store)?;
        if let Some(flight) = state.in_flight.get(&device)
            && flight.head.next > facts.head.next
        {
            facts.head = flight.head;
        }
        match verify_run(&context, &facts, run.to_vec()) {
            Ok(Outcome::Continues(run)) => {
                let head = run.head();
                let flight = state
                    .in_flight
                    .entry(device)
                    .or_insert(InFlight { head, runs: 0 });
                *flight = InFlight {
                    head,
                    runs: flight.runs + 1,
                };
                if let Some(wanted) = state.wanted.get_mut(&device) {
                    (wanted.next, wanted.since, wanted.retries) = (head.next, now, 0);
                }
                self.import_bytes += run_bytes(&run);
                self.out.push_back(Output::Import { space, run });
                Ok(())
            }
            Ok(Outcome::Overlaps(overlap)) => {
                self.out.push_back(Output::Compare { space, overlap });
                Ok(())
            }
            // Gossip overtakes the session, and an import that failed leaves a gap: both are asked for.
            Err(Reject::Gap { .. }) => self
                .evaluate(channel, &[device], now, store, false)
                .map_err(Fatal::Store),
            Err(reject) => {
                state.wanted.remove(&device);
                self.reject(reject)
            }
        }
    }

    /// An import, a fork proof or a body was stored or refused. `bytes` is what [`Output::Import`]
    /// carried, 0 for the others.
    ///
    /// # Errors
    /// As [`Self::handle_frame`].
    pub fn handle_imported<S: SpaceStore>(
        &mut self,
        space: SpaceId,
        device: DeviceId,
        bytes: usize,
        refused: Option<Reject>,
        now: Millis,
        store: &S,
    ) -> Result<(), Fatal<S::Error>> {
        self.import_bytes = self.import_bytes.saturating_sub(bytes);
        if let Some(channel) = self.by_space.get(&space).copied()
            && let Some(state) = self.channels.get_mut(&channel)
        {
            if let Some(flight) = state.in_flight.get_mut(&device) {
                flight.runs = flight.runs.saturating_sub(u32::from(bytes > 0));
                if flight.runs == 0 || refused.is_some() {
                    state.in_flight.remove(&device);
                }
            }
            if refused.is_none() {
                state.announce.insert(device);
            }
            let behind = state
                .wanted
                .get(&device)
                .is_some_and(|wanted| wanted.next < wanted.target);
            if !behind || refused.is_some() {
                state.wanted.remove(&device);
                if refused.is_none() {
                    self.evaluate(channel, &[device], now, store, self.gossip_up)
                        .map_err(Fatal::Store)?;
                }
            }
        }
        refused.map_or(Ok(()), |reject| self.reject(reject))
    }

    /// An overlap was compared with what is held.
    ///
    /// # Errors
    /// As [`Self::handle_frame`].
    pub fn handle_compared<S: SpaceStore>(
        &mut self,
        space: SpaceId,
        overlap: (DeviceId, u64),
        result: &Comparison,
        now: Millis,
        store: &S,
    ) -> Result<(), Fatal<S::Error>> {
        let (device, start) = overlap;
        let Some(channel) = self.by_space.get(&space).copied() else {
            return Ok(());
        };
        let Some(state) = self.channels.get_mut(&channel) else {
            return Ok(());
        };
        state.in_flight.remove(&device);
        state.wanted.remove(&device);
        match result {
            Comparison::Known => self
                .evaluate(channel, &[device], now, store, false)
                .map_err(Fatal::Store),
            Comparison::Below => {
                let from = ask_below(start);
                let target = state
                    .theirs
                    .get(&device)
                    .map_or(start, |theirs| theirs.base);
                if start > 0 && want(state, device, from, target, now) {
                    self.send(&Control::Want {
                        channel,
                        feeds: vec![(device, from)],
                    });
                }
                Ok(())
            }
            Comparison::Fork { .. } => {
                state.announce.insert(device);
                self.evaluate(channel, &[device], now, store, false)
                    .map_err(Fatal::Store)
            }
        }
    }

    /// Something of a feed changed here: written, imported over another session, forked, filled.
    pub fn handle_local(&mut self, space: SpaceId, device: DeviceId) {
        if let Some(channel) = self.by_space.get(&space)
            && let Some(state) = self.channels.get_mut(channel)
        {
            state.announce.insert(device);
        }
    }

    /// Time passed.
    ///
    /// # Errors
    /// The store's.
    pub fn handle_timeout<S: SpaceStore>(
        &mut self,
        now: Millis,
        store: &S,
    ) -> Result<(), S::Error> {
        let due: Vec<(u32, Vec<DeviceId>)> = self
            .channels
            .iter_mut()
            .map(|(channel, state)| (*channel, take_due(state, now)))
            .collect();
        for (channel, devices) in due {
            self.evaluate(channel, &devices, now, store, false)?;
        }
        if self.stall_check.is_some_and(|at| at <= now) {
            self.stall_check = None;
            self.retry_stalled(now);
        }
        Ok(())
    }

    fn retry_stalled(&mut self, now: Millis) {
        let mut stalled = Vec::new();
        for (channel, state) in &mut self.channels {
            let mut devices = Vec::new();
            state.wanted.retain(|device, wanted| {
                if state.in_flight.contains_key(device) || now.since(wanted.since) < STALL_MS {
                    return true;
                }
                wanted.retries += 1;
                wanted.since = now;
                devices.push((*device, wanted.next));
                wanted.retries < RETRIES_MAX
            });
            stalled.push((*channel, devices));
        }
        for (channel, feeds) in stalled {
            for feeds in feeds.chunks(WANTS_MAX) {
                self.send(&Control::Want {
                    channel,
                    feeds: feeds.to_vec(),
                });
            }
        }
        if self.channels.values().any(|state| !state.wanted.is_empty()) {
            self.stall_check = Some(now.plus(STALL_MS));
        }
    }
}

/// Bytes of a run as counted against [`super::IMPORT_BYTES_MAX`].
#[must_use]
pub fn run_bytes(run: &crate::verify::VerifiedRun) -> usize {
    run.items()
        .iter()
        .map(|item| item.body_len as usize + 64)
        .sum()
}

fn take_due(state: &mut Channel, now: Millis) -> Vec<DeviceId> {
    let due: Vec<DeviceId> = state
        .deferred
        .iter()
        .filter(|(_, at)| **at <= now)
        .map(|(device, _)| *device)
        .collect();
    for device in &due {
        state.deferred.remove(device);
    }
    due
}

/// We know of a fork lower than any that the peer knows, and the peer holds something of the feed.
fn fork_to_tell(own: &Frontier, theirs: &Frontier) -> bool {
    own.revoked.is_none()
        && theirs.base > 0
        && own
            .fork
            .is_some_and(|own| theirs.fork.is_none_or(|theirs| own < theirs))
}

/// From where to ask for a feed; `None` where the peer has nothing for us.
fn ask_from(own: &Frontier, own_next: u64, theirs: &Frontier) -> Option<u64> {
    // The revocation comes first: it says which branch to take.
    if theirs.revoked.is_some()
        && theirs.revoked != own.revoked
        && own.revoked.is_none_or(|own| Some(own) > theirs.revoked)
    {
        return None;
    }
    let ceiling = match (own.revoked, own.fork) {
        (Some(last), _) => last.saturating_add(1),
        (None, Some(fork)) => fork,
        (None, None) => u64::MAX,
    };
    if theirs.base.min(ceiling) > own_next {
        return Some(own_next);
    }
    let diverged =
        theirs.base == own.base && own.base == own_next && theirs.base > 0 && theirs.top != own.top;
    (diverged && own.fork.is_none() && theirs.fork.is_none()).then(|| ask_below(own.base))
}

/// Notes that a feed is asked for; false where that is under way already. What the peer writes
/// meanwhile is asked for when this is done.
fn want(state: &mut Channel, device: DeviceId, from: u64, target: u64, now: Millis) -> bool {
    let fresh = !state.wanted.contains_key(&device);
    if fresh {
        state.wanted.insert(
            device,
            Wanted {
                next: from,
                target,
                since: now,
                retries: 0,
            },
        );
    }
    fresh
}
