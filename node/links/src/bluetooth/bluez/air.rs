//! What we do on the air with an adapter that works: announce, and listen by turns.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    super::radio::{ANNOUNCED_BYTES, Listening},
    LOOK_EVERY,
    bus::{self, Bus},
    told::Found,
};

/// How long one round of listening takes when somebody is expected. Adapters tell of each device
/// once a round.
const EAGER_ROUND: Duration = Duration::from_secs(5);
/// How long is listened, and how long not, all day long: a tenth of the time.
const SPARE_ROUND: Duration = Duration::from_secs(2);
const SPARE_PAUSE: Duration = Duration::from_secs(18);
/// After somebody connected the announcement is renewed, once what belongs to connecting is done, and
/// not more often than this however often somebody connects.
const RENEW_AFTER: Duration = Duration::from_millis(300);
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// Pause after an announcement was refused that had been possible before.
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(10);
/// Pause after listening couldn't be started.
const SCAN_AGAIN: Duration = Duration::from_secs(2);

/// What we do on the air with an adapter.
pub(super) struct Air<'a> {
    pub(super) bus: &'a Bus,
    adapter: &'a str,
    /// Counts announcements.
    pub(super) turn: u64,
    announced: Option<[u8; ANNOUNCED_BYTES]>,
    announced_at: Option<Instant>,
    /// When it has to be announced again.
    renew_at: Option<Instant>,
    /// It was refused: not before this again.
    refused_until: Option<Instant>,
    scan: Scan,
}

#[derive(Clone, Copy)]
enum Scan {
    On { until: Instant },
    Off { until: Instant },
}

impl<'a> Air<'a> {
    pub(super) fn new(bus: &'a Bus, adapter: &'a str, turn: u64) -> Self {
        Self {
            bus,
            adapter,
            turn,
            announced: None,
            announced_at: None,
            renew_at: None,
            refused_until: None,
            scan: Scan::Off {
                until: Instant::now(),
            },
        }
    }

    pub(super) async fn announce(
        &mut self,
        wanted: Option<[u8; ANNOUNCED_BYTES]>,
    ) -> Result<(), dbus::Error> {
        let now = Instant::now();
        let is_due = self.renew_at.is_some_and(|at| now >= at);
        self.refused_until = self.refused_until.filter(|until| now < *until);
        if is_due {
            self.renew_at = None;
        }
        if self.refused_until.is_some() || (wanted == self.announced && !is_due) {
            return Ok(());
        }
        self.renew_at = None;
        if self.announced.take().is_some() {
            // What went with the adapter can't be taken back.
            self.bus.unannounce(self.adapter, self.turn).await.ok();
        }
        if let Some(bytes) = wanted {
            self.turn += 1;
            match self.bus.announce(self.adapter, bytes, self.turn).await {
                Ok(()) => {}
                // Some adapters can't announce while they are connected. What goes over the
                // connection is worth more.
                Err(error) if self.announced_at.is_some() && bus::is_refusal(&error) => {
                    tracing::debug!(%error, "Bluetooth doesn't announce for now");
                    self.refused_until = Some(Instant::now() + ANNOUNCE_AGAIN);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
            self.announced = wanted;
            self.announced_at = Some(Instant::now());
        }
        Ok(())
    }

    /// Announces again soon. The kernel takes an announcement off the air for as long as a connection
    /// lasts that was made by it, so that whoever connected would hide us from everybody else.
    pub(super) fn renew(&mut self) {
        if let (Some(_), Some(last)) = (self.announced, self.announced_at) {
            let at = (Instant::now() + RENEW_AFTER).max(last + RENEW_EVERY);
            self.renew_at.get_or_insert(at);
        }
    }

    /// Ends what was begun, as far as it is still there.
    pub(super) async fn end(&mut self) {
        if let Scan::On { .. } = self.scan {
            self.bus.stop_scan(self.adapter).await.ok();
        }
        if self.announced.take().is_some() {
            self.bus.unannounce(self.adapter, self.turn).await.ok();
        }
    }

    /// Listens or pauses, as it is wanted and time.
    pub(super) async fn listen(&mut self, how: Listening, is_busy: bool) {
        let now = Instant::now();
        let (round, pause) = match how {
            Listening::Off => (Duration::ZERO, Duration::ZERO),
            Listening::Spare => (SPARE_ROUND, SPARE_PAUSE),
            Listening::Eager => (EAGER_ROUND, Duration::ZERO),
        };
        if let Scan::On { until } = self.scan
            && (now >= until || how == Listening::Off || is_busy)
        {
            self.bus.stop_scan(self.adapter).await.ok();
            self.scan = Scan::Off { until: now + pause };
        }
        if let Scan::Off { until } = self.scan
            && (now >= until || how == Listening::Eager)
            && how != Listening::Off
            && !is_busy
        {
            self.scan = match self.bus.scan(self.adapter).await {
                Ok(()) => Scan::On { until: now + round },
                Err(error) => {
                    tracing::debug!(%error, "Bluetooth doesn't listen");
                    Scan::Off {
                        until: now + SCAN_AGAIN,
                    }
                }
            };
        }
    }

    /// When [`Self::announce`] or [`Self::listen`] has something to do.
    pub(super) fn wake_at(&self, how: Listening) -> Instant {
        let listen_at = match self.scan {
            Scan::On { until } => until,
            Scan::Off { until } if how != Listening::Off => {
                until.max(Instant::now() + Duration::from_millis(200))
            }
            Scan::Off { .. } => Instant::now() + LOOK_EVERY,
        };
        let announce_at = self.renew_at.into_iter().chain(self.refused_until);
        announce_at.fold(listen_at, Instant::min)
    }

    /// What bluetoothd no longer does, such as after the machine slept, is begun anew.
    pub(super) fn compare(&mut self, now: &Found) {
        if let Scan::On { .. } = self.scan
            && !now.scanning
        {
            self.scan = Scan::Off {
                until: Instant::now(),
            };
        }
        if self.announced.is_some() && now.announcements == 0 {
            self.announced = None;
        }
    }
}
