//! Meeting nearby over Bluetooth: nine random bytes are announced in place of the node's own
//! announcement, and a channel opened to whoever announces such. Over it both tell their temporary
//! endpoints, and what follows is as on a local network. Of two the one that announces the lower bytes
//! opens the channel; the other waits a little for it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use links::{Connection, PathKind, bluetooth::radio::Address};
use proto::{
    EndpointId, IdentityId,
    bluetooth::{Port, SALT_BYTES},
};
use tokio::{sync::mpsc, time::sleep};

use super::{Nearby, Opening, lock};
use crate::{files, inner::Inner};

/// Announcements that are answered in one opening; a flood of invented ones ends here.
const HEARD_MAX: usize = 64;
/// Channels that are tried with one of them: their radio may be busy with another.
const TRIES_MAX: usize = 4;
/// Between two of them.
const AGAIN: Duration = Duration::from_secs(3);
/// How long the one that announces the higher bytes leaves it to the other to open a channel.
const YIELD: Duration = Duration::from_secs(4);

type Salt = [u8; SALT_BYTES];
type Place = (Address, Port);

/// What an opening does over Bluetooth.
#[derive(Debug)]
pub(super) struct Air {
    salt: Salt,
    state: Mutex<Heard>,
}

#[derive(Debug, Default)]
struct Heard {
    /// Where they were heard last; who stands here is tried, or was.
    salts: BTreeMap<Salt, Place>,
    /// Where the temporary endpoints were that channels led to.
    places: BTreeMap<EndpointId, Place>,
}

impl Air {
    pub(super) fn new() -> Self {
        let mut salt = [0; SALT_BYTES];
        files::fill_random(&mut salt);
        Self {
            salt,
            state: Mutex::default(),
        }
    }
}

/// Takes channels for this opening. To whose endpoints they lead comes out of what is returned.
pub(super) fn open(inner: &Inner, opening: &Opening) -> mpsc::Receiver<EndpointId> {
    let found = inner.bluetooth.hub().open_nearby(opening.local);
    inner.bluetooth.changed();
    found
}

/// Ends that.
pub(super) fn close(inner: &Inner) {
    inner.bluetooth.hub().close_nearby();
    inner.bluetooth.changed();
}

fn current(nearby: &Nearby) -> Option<Arc<Opening>> {
    nearby.opening().filter(|opening| opening.air.is_some())
}

/// What is announced while somebody is to be met.
pub(crate) fn salt(inner: &Inner) -> Option<Salt> {
    let opening = current(&inner.nearby)?;
    opening.air.as_ref().map(|air| air.salt)
}

/// Somebody announces that they want to meet.
pub(crate) fn heard(inner: &Arc<Inner>, at: Address, port: Port, salt: Salt) {
    let Some(opening) = current(&inner.nearby) else {
        return;
    };
    let Some(air) = &opening.air else { return };
    if salt == air.salt {
        return;
    }
    {
        let mut heard = lock(&air.state);
        if let Some(place) = heard.salts.get_mut(&salt) {
            *place = (at, port);
            return;
        }
        if heard.salts.len() >= HEARD_MAX {
            return;
        }
        heard.salts.insert(salt, (at, port));
    }
    let (inner, opening) = (inner.clone(), opening.clone());
    inner
        .clone()
        .tasks
        .spawn(async move { approach(&inner, &opening, salt).await });
}

/// Opens a channel to somebody, or leaves it to them.
async fn approach(inner: &Arc<Inner>, opening: &Arc<Opening>, salt: Salt) {
    let Some(air) = &opening.air else { return };
    let hub = inner.bluetooth.hub();
    let waits = air.salt > salt;
    for again in 0..TRIES_MAX {
        let pause = match (waits, again) {
            (true, 0) => YIELD,
            (false, 0) => Duration::ZERO,
            _ => AGAIN,
        };
        tokio::select! {
            () = opening.stop.cancelled() => return,
            () = sleep(pause) => {}
        }
        if waits && hub.has_nearby() {
            // Most likely it is theirs.
            continue;
        }
        let place = lock(&air.state).salts.get(&salt).copied();
        let Some((at, port)) = place else { return };
        let met = tokio::select! {
            () = opening.stop.cancelled() => return,
            met = hub.meet(at, port) => met,
        };
        match met {
            Ok(endpoint) => {
                lock(&air.state).places.insert(endpoint, (at, port));
                return;
            }
            Err(error) => tracing::debug!(%error, "somebody nearby wasn't reached over bluetooth"),
        }
    }
}

/// Somebody met over a channel becomes a contact: they are dialled where they are.
pub(super) fn met(
    inner: &Inner,
    opening: &Opening,
    conn: &Connection,
    device: (IdentityId, EndpointId),
) {
    let over = conn.path().map(|path| path.kind);
    let (Some(air), Some(PathKind::Bluetooth)) = (&opening.air, over) else {
        return;
    };
    let place = lock(&air.state).places.get(&conn.remote()).copied();
    if let (Some((at, port)), Some(links)) = (place, inner.links()) {
        inner.bluetooth.met(links.id(), device, at, port);
    }
}
