//! Whose meeting goes on when all want to: what each contact cost lately decides.
//!
//! A meeting is charged for the bytes that it takes and sends and for the time that its driver
//! works on them. Who has cost little is *light* and goes on at once. Who is over the allowance is
//! *heavy*: a long catch-up, or a flood, which nobody can tell apart. The heavy pause while the
//! light are at work, and a little longer, in proportion to what the light cost; so one who sends
//! a trickle holds nobody up. Among the heavy nobody comes first, and when only they are there
//! they go at full speed. Also kept here: for how long who broke the protocol isn't let in again.
//! Times are arguments. What is sent, and why, isn't known here.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use proto::IdentityId;
use tokio::time::Instant;

/// Bytes that a contact may cost before it counts as heavy: some 300,000 posts and the work on
/// them, so that a first meeting with a friend's forums is over before.
const ALLOWANCE_BYTES: u64 = 256 * 1024 * 1024;
/// How fast the allowance comes back: whole after nine minutes, faster than people write.
const REFILL_BYTES_PER_S: u64 = 512 * 1024;
/// What must have come back until a contact counts as light again: a quarter of a minute.
const LIGHT_AGAIN_BYTES: u64 = 8 * 1024 * 1024;
/// What a second of a driver's work counts for: about what it checks and hands on in that time.
const WORK_BYTES_PER_S: u64 = 256 * 1024 * 1024;
/// The pause that light bytes give the heavy. A catch-up brings three to ten times as many a second
/// on a small machine, so the pauses join; and with the refill it bounds what one light contact can
/// cost the heavy in the long run: a tenth of the time.
const PAUSE_BYTES_PER_S: u64 = 5 * 1024 * 1024;
/// The longest pause after the last light work: what a meeting takes in before it waits for the disk
/// ([`proto::session::IMPORT_BYTES_MAX`]) is stored by then. With less the heavy go on between two
/// bursts of a catch-up, and on the processor that the disk's writer needs.
const PAUSE_MAX: Duration = Duration::from_millis(250);
/// A heavy meeting goes on at least this often, so that it ends some day whoever else is there.
const TRICKLE: Duration = Duration::from_secs(1);
/// How long a meeting isn't let in after its peer broke the protocol; doubles each time up to
/// [`BARRED_MAX`]. Honest peers of another version come back, too.
const BARRED_MIN: Duration = Duration::from_secs(1);
/// The longest, and also after how long without another offence it begins anew.
const BARRED_MAX: Duration = Duration::from_secs(600);
/// What is known of contacts that were removed is forgotten when there are more accounts.
const ACCOUNTS_MAX: usize = proto::limits::CONTACTS_MAX;

/// Which of a contact's two accounts is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// What comes from them.
    In,
    /// What they have from us.
    Out,
}

#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    accounts: BTreeMap<IdentityId, Account>,
    /// Until when the heavy pause, and for whom of the light.
    busy: Option<(Instant, IdentityId)>,
}

#[derive(Debug)]
struct Account {
    ways: [Allowance; 2],
    barred: Option<Barred>,
}

#[derive(Debug, Clone, Copy)]
struct Allowance {
    left: u64,
    /// It was used up, and not enough came back since.
    heavy: bool,
    at: Instant,
    /// When it last went on.
    went: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Barred {
    since: Instant,
    lasts: Duration,
}

impl Account {
    fn new(now: Instant) -> Self {
        let allowance = Allowance {
            left: ALLOWANCE_BYTES,
            heavy: false,
            at: now,
            went: now,
        };
        Self {
            ways: [allowance; 2],
            barred: None,
        }
    }

    fn way(&mut self, way: Way) -> &mut Allowance {
        let [coming, going] = &mut self.ways;
        match way {
            Way::In => coming,
            Way::Out => going,
        }
    }
}

impl Allowance {
    fn refill(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.at);
        let back = bytes_in(since, REFILL_BYTES_PER_S);
        if back > 0 {
            self.left = self.left.saturating_add(back).min(ALLOWANCE_BYTES);
            self.at = now;
        }
        self.heavy &= self.left < LIGHT_AGAIN_BYTES;
    }

    fn take(&mut self, cost: u64) {
        self.left = self.left.saturating_sub(cost);
        self.heavy |= self.left == 0;
    }
}

impl Turns {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a contact's meeting has to pause before it goes on; `None` to go on at once.
    pub(crate) fn pause(&self, contact: IdentityId, way: Way, now: Instant) -> Option<Duration> {
        let mut state = self.lock();
        let (until, by) = state.busy.filter(|(until, _)| *until > now)?;
        if by == contact {
            return None;
        }
        let allowance = state.account(contact, now).way(way);
        allowance.refill(now);
        if !allowance.heavy {
            return None;
        }
        let trickle = allowance.went + TRICKLE;
        if trickle <= now {
            return None;
        }
        Some(until.min(trickle).saturating_duration_since(now))
    }

    /// A contact's meeting went on: it took or sent bytes, and its driver worked for a while.
    pub(crate) fn charge(
        &self,
        contact: IdentityId,
        way: Way,
        bytes: usize,
        worked: Duration,
        now: Instant,
    ) {
        let cost = (bytes as u64).saturating_add(bytes_in(worked, WORK_BYTES_PER_S));
        let mut state = self.lock();
        let allowance = state.account(contact, now).way(way);
        allowance.refill(now);
        let light = !allowance.heavy;
        allowance.take(cost);
        allowance.went = now;
        if light {
            let before = state.busy.map_or(now, |(until, _)| until.max(now));
            let pause = Duration::from_micros(cost.saturating_mul(1_000_000) / PAUSE_BYTES_PER_S);
            let until = (before + pause.min(PAUSE_MAX)).min(now + PAUSE_MAX);
            state.busy = Some((until, contact));
        }
    }

    /// A contact's device broke the protocol.
    pub(crate) fn bar(&self, contact: IdentityId, now: Instant) {
        let mut state = self.lock();
        let barred = &mut state.account(contact, now).barred;
        let again = barred
            .filter(|barred| now.saturating_duration_since(barred.since) < BARRED_MAX)
            .map_or(BARRED_MIN, |barred| (barred.lasts * 2).min(BARRED_MAX));
        *barred = Some(Barred {
            since: now,
            lasts: again,
        });
    }

    /// How long a contact isn't let in any more; `None` where it may come.
    pub(crate) fn barred(&self, contact: IdentityId, now: Instant) -> Option<Duration> {
        let state = self.lock();
        let barred = state.accounts.get(&contact)?.barred?;
        let rest = (barred.since + barred.lasts).saturating_duration_since(now);
        (!rest.is_zero()).then_some(rest)
    }
}

impl State {
    fn account(&mut self, contact: IdentityId, now: Instant) -> &mut Account {
        if self.accounts.len() >= ACCOUNTS_MAX && !self.accounts.contains_key(&contact) {
            self.accounts.pop_first();
        }
        self.accounts
            .entry(contact)
            .or_insert_with(|| Account::new(now))
    }
}

fn bytes_in(time: Duration, per_second: u64) -> u64 {
    let bytes = time.as_micros().saturating_mul(u128::from(per_second)) / 1_000_000;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANA: IdentityId = IdentityId([1; 32]);
    const BEN: IdentityId = IdentityId([2; 32]);
    const FRAME: usize = 128 * 1024;
    /// What a frame takes where nobody else is at work.
    const STEP: Duration = Duration::from_millis(2);

    fn exhausted(turns: &Turns, contact: IdentityId, now: Instant) {
        turns.charge(contact, Way::In, ALLOWANCE_BYTES as usize, STEP, now);
    }

    /// Runs meetings that always have more for a while: how many frames each got through.
    fn race(turns: &Turns, contacts: &[IdentityId], from: Instant, lasts: Duration) -> Vec<u64> {
        let mut frames = vec![0; contacts.len()];
        let mut now = from;
        while now < from + lasts {
            let mut went = false;
            for (contact, frames) in contacts.iter().zip(&mut frames) {
                if turns.pause(*contact, Way::In, now).is_none() {
                    now += STEP;
                    turns.charge(*contact, Way::In, FRAME, STEP, now);
                    *frames += 1;
                    went = true;
                }
            }
            if !went {
                now += Duration::from_millis(1);
            }
        }
        frames
    }

    #[test]
    fn a_flood_hardly_delays_who_cost_little() {
        let (turns, now) = (Turns::default(), Instant::now());
        let lasts = Duration::from_millis(600);
        let alone = race(&turns, &[ANA], now, lasts);
        let (turns, now) = (Turns::default(), Instant::now());
        exhausted(&turns, BEN, now);
        let beside = race(&turns, &[ANA, BEN], now, lasts);
        assert!(beside[0] * 100 > alone[0] * 98, "{beside:?} {alone:?}");
    }

    #[test]
    fn the_heavy_go_at_full_speed_among_themselves() {
        let (turns, now) = (Turns::default(), Instant::now());
        exhausted(&turns, ANA, now);
        exhausted(&turns, BEN, now);
        let frames = race(&turns, &[ANA, BEN], now + PAUSE_MAX, Duration::from_secs(2));
        assert!(frames[0].abs_diff(frames[1]) <= 1, "{frames:?}");
        assert!(frames[0] > 490);
    }

    /// A catch-up comes in bursts: what waits for the disk makes room, then more is read at once.
    /// Between them the writer needs the processor that a flood would take.
    #[test]
    fn the_heavy_pause_between_two_bursts_of_a_catch_up() {
        let (turns, mut now) = (Turns::default(), Instant::now());
        exhausted(&turns, BEN, now);
        for _ in 0..5 {
            for _ in 0..10 {
                now += Duration::from_micros(100);
                turns.charge(ANA, Way::In, FRAME, Duration::from_micros(100), now);
            }
            for _ in 0..150 {
                now += Duration::from_millis(1);
                assert!(turns.pause(BEN, Way::In, now).is_some());
            }
        }
    }

    /// A light contact who sends a little all the time can't hold a long catch-up up.
    #[test]
    fn a_trickle_holds_nobody_up() {
        let (turns, mut now) = (Turns::default(), Instant::now());
        exhausted(&turns, BEN, now);
        let (mut paused, mut total) = (0, 0);
        for _ in 0..20_000 {
            now += Duration::from_millis(1);
            if total % 40 == 0 {
                turns.charge(ANA, Way::In, 100, Duration::from_micros(20), now);
            }
            total += 1;
            paused += i32::from(turns.pause(BEN, Way::In, now).is_some());
        }
        assert!(paused * 20 < total, "{paused} of {total} ms");
    }

    #[test]
    fn the_heavy_go_on_once_a_second_whatever_happens_and_become_light_again() {
        let (turns, mut now) = (Turns::default(), Instant::now());
        exhausted(&turns, BEN, now);
        turns.charge(ANA, Way::In, FRAME, STEP, now);
        assert!(turns.pause(BEN, Way::In, now).is_some());
        assert!(turns.pause(BEN, Way::Out, now).is_none(), "another account");
        now += TRICKLE;
        turns.charge(ANA, Way::In, FRAME, STEP, now);
        assert!(turns.pause(BEN, Way::In, now).is_none());
        turns.charge(BEN, Way::In, FRAME, STEP, now);
        assert!(turns.pause(BEN, Way::In, now).is_some());
        now += Duration::from_secs(20);
        turns.charge(ANA, Way::In, FRAME, STEP, now);
        assert!(turns.pause(BEN, Way::In, now).is_none());
    }

    #[test]
    fn who_breaks_the_protocol_waits_longer_each_time() {
        let (turns, mut now) = (Turns::default(), Instant::now());
        assert_eq!(turns.barred(BEN, now), None);
        let mut lasts = BARRED_MIN;
        for _ in 0..12 {
            turns.bar(BEN, now);
            assert_eq!(turns.barred(BEN, now), Some(lasts));
            assert_eq!(turns.barred(ANA, now), None);
            now += lasts.min(BARRED_MAX / 2);
            lasts = (lasts * 2).min(BARRED_MAX);
        }
        now += BARRED_MAX * 2;
        assert_eq!(turns.barred(BEN, now), None);
        turns.bar(BEN, now);
        assert_eq!(turns.barred(BEN, now), Some(BARRED_MIN));
    }
}
