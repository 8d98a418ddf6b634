//! One supervisor a contact: dials with backoff, holds one meeting a device, decides which of two
//! connections stays. A contact that is slow, silent or hostile has only its own supervisor to delay.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use links::{CloseCode, Connection, Links, Protocol};
use proto::{EndpointId, IdentityId};
use tokio::{
    sync::{Mutex, Notify},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    beacons,
    bluetooth::EAGER,
    choices::Caller,
    files,
    inner::Inner,
    meeting::{self, End, Ended, Meeting},
};

/// The first wait after a failed dial; it doubles up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_millis(250);
/// The longest wait between two dials of a contact that isn't there.
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// A meeting that lasted this long starts the backoff anew.
const STEADY: Duration = Duration::from_secs(10);
/// A dial goes on for at least this long, whatever news comes: a handshake on a local network ends long before, and who makes
/// news without end can't keep one from ending.
const UNDISTURBED: Duration = Duration::from_secs(1);
/// Two connections that are at most this far apart were dialled by both sides at once.
const CROSSING: Duration = Duration::from_secs(2);

/// How long a dial over IP goes on before a channel over Bluetooth is opened too.
const IP_FIRST: Duration = Duration::from_millis(1_500);
/// Between two looks at whether somebody has come into radio range.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What the node keeps of a contact's supervisor.
#[derive(Debug, Clone)]
pub(crate) struct Supervisor {
    wake: Arc<Notify>,
    stop: CancellationToken,
    /// Held by the one dial beside a meeting.
    redialling: Arc<Mutex<()>>,
}

impl Supervisor {
    /// Starts a supervisor; it ends with the node or with [`Self::stop`].
    pub(crate) fn start(inner: &Arc<Inner>, contact: IdentityId) -> Self {
        let supervisor = Self {
            wake: Arc::new(Notify::new()),
            stop: inner.stop.child_token(),
            redialling: Arc::default(),
        };
        let task = run(inner.clone(), contact, supervisor.clone());
        inner.tasks.spawn(task);
        supervisor
    }

    /// Dials again now.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Dials because the person wants it now, over every link that is on, after a dial that runs
    /// already.
    pub(crate) async fn call(&self, inner: &Arc<Inner>, contact: IdentityId) -> Result<(), String> {
        let called = async {
            let _turn = self.redialling.lock().await;
            match dial(inner, contact, Caller::Person).await {
                Err(no) if appears(inner, contact).await => {
                    let again = dial(inner, contact, Caller::Person).await;
                    again.map_err(|_| no)
                }
                called => called,
            }
        };
        let called = tokio::select! {
            () = self.stop.cancelled() => return Err("the node stops, or they were removed".to_owned()),
            called = called => called,
        };
        let conn = called.map_err(|no| match no {
            NoCall::ByHandOnly => "every link is switched off".to_owned(),
            NoCall::Failed(error) => error,
        })?;
        let (inner, stop) = (inner.clone(), self.stop.clone());
        inner.clone().tasks.spawn(async move {
            hold(inner, contact, conn, &stop).await;
        });
        Ok(())
    }

    /// Dials beside the meeting that stands, one dial at a time.
    pub(crate) fn redial(&self, inner: &Arc<Inner>, contact: IdentityId) {
        let (inner, stop) = (inner.clone(), self.stop.clone());
        let Ok(turn) = self.redialling.clone().try_lock_owned() else {
            return;
        };
        inner.clone().tasks.spawn(async move {
            let dialled = tokio::select! {
                () = stop.cancelled() => return,
                dialled = dial(&inner, contact, Caller::Node) => dialled,
            };
            drop(turn);
            match dialled {
                Ok(conn) => {
                    hold(inner, contact, conn, &stop).await;
                }
                // The old connection goes on, or ends by its silence.
                Err(no) => tracing::debug!(?contact, ?no, "a contact's new address didn't answer"),
            }
        });
    }

    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }
}

async fn run(inner: Arc<Inner>, contact: IdentityId, supervisor: Supervisor) {
    let mut backoff = BACKOFF_MIN;
    loop {
        if let Some(barred) = inner.turns.barred(contact, Instant::now()) {
            tokio::select! {
                () = supervisor.stop.cancelled() => return,
                () = tokio::time::sleep(barred) => {}
            }
        }
        if inner.meetings_of(contact).is_empty() {
            let dialled = tokio::select! {
                dialled = dial(&inner, contact, Caller::Node) => dialled,
                // There is news, such as a beacon: nobody waits until the old addresses are given up.
                () = news(&supervisor) => {
                    backoff = BACKOFF_MIN;
                    continue;
                }
                () = supervisor.stop.cancelled() => return,
            };
            match dialled {
                Ok(conn) => {
                    let began = Instant::now();
                    let held = hold(inner.clone(), contact, conn, &supervisor.stop).await;
                    if began.elapsed() > STEADY && held {
                        backoff = BACKOFF_MIN;
                    }
                }
                Err(NoCall::Failed(error)) => inner.note_error(contact, &error),
                // That is no trouble: it is what the person chose.
                Err(NoCall::ByHandOnly) => inner.forget_error(contact),
            }
        }
        if supervisor.stop.is_cancelled() {
            return;
        }
        let wait = jittered(backoff);
        backoff = (backoff * 2).min(BACKOFF_MAX);
        tokio::select! {
            () = supervisor.stop.cancelled() => return,
            () = supervisor.wake.notified() => backoff = BACKOFF_MIN,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn news(supervisor: &Supervisor) {
    tokio::time::sleep(UNDISTURBED).await;
    supervisor.wake.notified().await;
}

/// Between half and the whole of a wait, so that two nodes don't dial in step.
fn jittered(wait: Duration) -> Duration {
    let mut byte = [0];
    files::fill_random(&mut byte);
    wait / 2 + wait / 2 * u32::from(byte[0]) / 255
}

/// Why nobody answered.
#[derive(Debug)]
enum NoCall {
    /// The links where the contact could be are called by hand only.
    ByHandOnly,
    /// In words.
    Failed(String),
}

impl<E: std::fmt::Display> From<E> for NoCall {
    fn from(error: E) -> Self {
        Self::Failed(error.to_string())
    }
}

async fn dial(
    inner: &Arc<Inner>,
    contact: IdentityId,
    caller: Caller,
) -> Result<Connection, NoCall> {
    if let Some(hindrance) = inner.hindrance() {
        return Err(hindrance.into());
    }
    let links = inner.links().ok_or("the links are off")?;
    let read = || -> crate::Result<_> {
        let snapshot = inner.store.read()?;
        Ok((
            inner.devices_of(&snapshot, contact)?,
            inner.may_call(&snapshot, caller)?,
            beacons::own(&snapshot)?,
        ))
    };
    let (devices, may, key) = read()?;
    let mut last = NoCall::from("no address of this contact is known");
    for device in devices {
        // Where it was heard first: it may have moved since it was met.
        let mut all = inner.lan.addrs_of(device.endpoint);
        all.extend(device.addrs);
        let relay = device.relay.filter(|_| may.internet);
        let before = all.len();
        all.retain(|addr| may.at(addr));
        let near = may.bluetooth && inner.bluetooth.may_dial(device.endpoint);
        if all.is_empty() && relay.is_none() && !near && before > 0 {
            last = NoCall::ByHandOnly;
            continue;
        }
        // Where ours wasn't heard, nobody would answer.
        inner.lan.knock(&all, key.clone());
        let addrs = inner.lan.ways(&all);
        let reached = if near {
            reach_near(inner, &links, device.endpoint, addrs, relay).await
        } else {
            let dial = links.dial(device.endpoint, &addrs, relay, Protocol::Sync);
            dial.await.map_err(NoCall::from)
        };
        match reached {
            Ok(conn) => return Ok(conn),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Dials a device that is in radio range: over IP, and where that doesn't answer soon over a channel.
async fn reach_near(
    inner: &Arc<Inner>,
    links: &Links,
    device: EndpointId,
    addrs: Vec<SocketAddr>,
    relay: Option<String>,
) -> Result<Connection, NoCall> {
    let elsewhere = !addrs.is_empty() || relay.is_some();
    let far = async {
        if !elsewhere {
            return Err(NoCall::from("no address of this contact is known"));
        }
        let dial = links.dial(device, &addrs, relay, Protocol::Sync).await;
        dial.map_err(NoCall::from)
    };
    let near = async {
        if elsewhere && !inner.bluetooth.is_silent_over_ip(device) {
            tokio::time::sleep(IP_FIRST).await;
        }
        inner.bluetooth.open(device).await?;
        let dial = links.dial(device, &[], None, Protocol::Sync).await;
        dial.map_err(NoCall::from)
    };
    tokio::pin!(far, near);
    tokio::select! {
        reached = &mut near => match reached {
            Ok(conn) => Ok(conn),
            Err(_) if elsewhere => far.await,
            Err(no) => Err(no),
        },
        reached = &mut far, if elsewhere => match reached {
            Ok(conn) => Ok(conn),
            Err(_) => near.await,
        },
    }
}

/// Looks for a contact over Bluetooth because the person wants to meet them now; whether they are there.
async fn appears(inner: &Arc<Inner>, contact: IdentityId) -> bool {
    let used = || {
        let snapshot = inner.store.read()?;
        let devices = inner.devices_of(&snapshot, contact)?;
        let used = inner.bluetooth_in_use(&snapshot)? && inner.bluetooth.is_ready();
        Ok::<_, crate::Error>((used, devices))
    };
    let Ok((true, devices)) = used() else {
        return false;
    };
    let near = || {
        let mut devices = devices.iter();
        devices.any(|device| inner.bluetooth.may_dial(device.endpoint))
    };
    inner.bluetooth.expect(EAGER);
    let until = Instant::now() + EAGER;
    while !near() {
        if Instant::now() >= until {
            return false;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    true
}

/// Runs a meeting over a connection, unless another connection with the device is to stay. False
/// where it was turned away.
pub(crate) async fn hold(
    inner: Arc<Inner>,
    contact: IdentityId,
    conn: Connection,
    stop: &CancellationToken,
) -> bool {
    let barred = |now| inner.turns.barred(contact, now);
    if barred(Instant::now()).is_some() || inner.hindrance().is_some() {
        conn.close(CloseCode::Busy, "");
        return false;
    }
    let meeting = Arc::new(Meeting::new(contact, conn.clone()));
    if !take_place(&inner, &meeting) {
        conn.close(CloseCode::Superseded, "");
        return false;
    }
    let Ended { end, said, met } = tokio::select! {
        ended = meeting::run(inner.clone(), meeting.clone()) => ended,
        () = stop.cancelled() => {
            conn.close(CloseCode::Shutdown, "");
            Ended::cut()
        }
    };
    if matches!(end, End::Misbehaved(_)) {
        inner.turns.bar(contact, Instant::now());
    }
    match &end {
        End::Misbehaved(_) | End::Store(_) => {
            tracing::warn!(contact = ?contact, %end, "a meeting ended");
            inner.note_error(contact, &end.to_string());
        }
        // It never began: the person should see why, for example that they were removed.
        End::Closed(reason) if !meeting.is_confirmed() => inner.note_error(contact, reason),
        End::Closed(_) | End::Lost | End::Replaced | End::Cut => {
            tracing::debug!(contact = ?contact, %end, "a meeting ended");
        }
    }
    // Who shuts down dials when it is back.
    let redial = said != Some(CloseCode::Shutdown);
    inner.meeting_ended(&meeting, met, redial).await;
    true
}

/// Puts a meeting in its device's place. Of two connections that crossed each other the one
/// dialled by the lower endpoint id stays, on both sides; else the newer one stays, because a
/// device dials only when it holds none.
fn take_place(inner: &Inner, meeting: &Arc<Meeting>) -> bool {
    let mut meetings = inner.meetings();
    if let Some(existing) = meetings.get(&meeting.endpoint) {
        let crossed =
            existing.conn.dialed() != meeting.conn.dialed() && existing.since.elapsed() < CROSSING;
        if crossed && dialer(&existing.conn) < dialer(&meeting.conn) {
            return false;
        }
        meeting.follows(existing);
        existing.notices.end(CloseCode::Superseded);
    }
    meetings.insert(meeting.endpoint, meeting.clone());
    true
}

fn dialer(conn: &Connection) -> EndpointId {
    if conn.dialed() {
        conn.local()
    } else {
        conn.remote()
    }
}
