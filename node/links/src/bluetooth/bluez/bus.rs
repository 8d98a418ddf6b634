//! The system bus, and what bluetoothd is asked to do over it (BlueZ's `org.bluez.Adapter`,
//! `.Device`, `.LEAdvertisement` and `.LEAdvertisingManager`, as its manual pages describe them).
//!
//! Signals are read as they come, so that a room full of foreign advertisers costs no call for each
//! of them. bluetoothd itself is never started from here.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use dbus::{
    Path,
    arg::{AppendAll, PropMap, ReadAll, RefArg, Variant, prop_cast},
    channel::{MatchingReceiver as _, Sender as _},
    message::MatchRule,
    nonblock::{Proxy, SyncConnection},
    strings::BusName,
};
use tokio::{sync::mpsc, task::JoinHandle};

use super::{
    super::radio::{ANNOUNCED_BYTES, Address, SERVICE, State},
    told::{
        self, ADAPTER, ANNOUNCEMENTS, BUS, DEVICE, Found, News, OBJECTS, Objects, PROPERTIES, Seen,
        is_from,
    },
};

const BLUEZ: &str = "org.bluez";
/// Where bluetoothd reads what is to be announced.
const ANNOUNCEMENT_AT: &str = "/waymeet/announcement";
/// A call to bluetoothd that takes longer than this is given up: it answers within milliseconds.
const CALL_TIME: Duration = Duration::from_secs(5);
/// News that wait. In a room with hundreds of advertisers some are lost; they advertise again.
const NEWS_MAX: usize = 256;
/// Pauses between two announcements on the air, ms. Somebody who listens for two seconds hears most
/// of those near by then, and the radio is on for some two milliseconds a second.
const ANNOUNCE_EVERY_MS: (u32, u32) = (400, 600);

/// Errors of bluetoothd where the pace of an announcement isn't to its liking.
const UNPACED: [&str; 2] = ["org.bluez.Error.Failed", "org.bluez.Error.InvalidArguments"];

/// A connection to the system bus.
pub(super) struct Bus {
    connection: Arc<SyncConnection>,
    task: JoinHandle<()>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// bluetoothd's name on the bus: nobody else is believed.
    owner: Mutex<Option<String>>,
    announced: Mutex<Option<Announcement>>,
}

/// What is announced.
struct Announcement {
    bytes: [u8; ANNOUNCED_BYTES],
    /// Whether at our own pace instead of the kernel's: older ones can't.
    is_paced: bool,
}

impl Drop for Bus {
    fn drop(&mut self) {
        // With the connection bluetoothd ends what it did for us.
        self.task.abort();
    }
}

impl Bus {
    /// Connects, and tells what happens from now on.
    pub(super) async fn connect() -> Result<(Self, mpsc::Receiver<News>), dbus::Error> {
        let opened = tokio::task::spawn_blocking(dbus_tokio::connection::new_system_sync).await;
        let (resource, connection) =
            opened.map_err(|error| dbus::Error::new_failed(&error.to_string()))??;
        let (news, received) = mpsc::channel(NEWS_MAX);
        let ended = news.clone();
        let task = tokio::spawn(async move {
            let error = resource.await;
            tracing::debug!(%error, "the system bus is gone");
            drop(ended.send(News::Over).await);
        });
        let bus = Self {
            connection,
            task,
            shared: Arc::default(),
        };
        bus.hear(&news).await?;
        bus.answer();
        Ok((bus, received))
    }

    async fn hear(&self, news: &mpsc::Sender<News>) -> Result<(), dbus::Error> {
        let (shared, to) = (self.shared.clone(), news.clone());
        let owners = MatchRule::new_signal(BUS, "NameOwnerChanged").with_sender(BUS);
        let owners = format!("{},arg0='{BLUEZ}'", owners.match_str());
        self.connection.add_match_no_cb(&owners).await?;
        let kinds = [
            (PROPERTIES, "PropertiesChanged"),
            (OBJECTS, "InterfacesAdded"),
            (OBJECTS, "InterfacesRemoved"),
        ];
        for (interface, member) in kinds {
            let rule = MatchRule::new_signal(interface, member).with_sender(BLUEZ);
            self.connection.add_match_no_cb(&rule.match_str()).await?;
        }
        let rule = MatchRule::new().with_type(dbus::MessageType::Signal);
        self.connection.start_receive(
            rule,
            Box::new(move |message, _| {
                if let Some(news) = told::read(&message, shared.owner().as_deref()) {
                    drop(to.try_send(news));
                }
                true
            }),
        );
        Ok(())
    }

    /// Answers bluetoothd's question for what is to be announced.
    fn answer(&self) {
        let shared = self.shared.clone();
        self.connection.start_receive(
            MatchRule::new_method_call(),
            Box::new(move |message, connection| {
                let asked = message.interface().as_deref() == Some(PROPERTIES)
                    && message.member().as_deref() == Some("GetAll")
                    && message
                        .path()
                        .is_some_and(|path| path.starts_with(ANNOUNCEMENT_AT))
                    && is_from(&message, shared.owner().as_deref());
                let reply = match &*lock(&shared.announced) {
                    Some(announcement) if asked => {
                        Some(message.method_return().append1(announcement.properties()))
                    }
                    _ => dbus::channel::default_reply(&message),
                };
                // What can't be sent goes with the connection, and that is noticed elsewhere.
                if let Some(reply) = reply {
                    connection.send(reply).ok();
                }
                true
            }),
        );
    }

    /// Calls bluetoothd by its present name: the well-known one would start it.
    async fn call<R: ReadAll + 'static>(
        &self,
        path: &str,
        (interface, method): (&str, &str),
        arguments: impl AppendAll,
    ) -> Result<R, dbus::Error> {
        let path = Path::new(path).map_err(|_| dbus::Error::new_failed("no path of the bus"))?;
        let owner = self
            .shared
            .owner()
            .and_then(|owner| BusName::new(owner).ok());
        let owner = owner.ok_or_else(|| dbus::Error::new_failed("no Bluetooth service"))?;
        let proxy = Proxy::new(owner, path, CALL_TIME, &*self.connection);
        proxy.method_call(interface, method, arguments).await
    }

    /// The adapters that there are, or `None` where bluetoothd doesn't run.
    pub(super) async fn look(&self) -> Result<Option<Vec<Found>>, dbus::Error> {
        let bus = Proxy::new(BUS, "/org/freedesktop/DBus", CALL_TIME, &*self.connection);
        let owner: Result<(String,), _> = bus.method_call(BUS, "GetNameOwner", (BLUEZ,)).await;
        let owner = match owner {
            Ok((owner,)) => Some(owner),
            Err(error) if error.name() == Some("org.freedesktop.DBus.Error.NameHasNoOwner") => None,
            Err(error) => return Err(error),
        };
        lock(&self.shared.owner).clone_from(&owner);
        if owner.is_none() {
            return Ok(None);
        }
        Ok(Some(told::adapters(&self.objects().await?)))
    }

    async fn objects(&self) -> Result<Objects, dbus::Error> {
        let (objects,) = self.call("/", (OBJECTS, "GetManagedObjects"), ()).await?;
        Ok(objects)
    }

    /// The devices that an adapter knows and that announced our service at some time.
    pub(super) async fn known(&self, adapter: &str) -> Result<Vec<Seen>, dbus::Error> {
        let below = format!("/org/bluez/{adapter}/");
        let objects = self.objects().await?;
        let devices = objects
            .iter()
            .filter(|(path, _)| path.starts_with(&below))
            .filter_map(|(path, interfaces)| told::seen(path, interfaces.get(DEVICE)?));
        Ok(devices.filter(|seen| seen.bytes.is_some()).collect())
    }

    /// Starts to listen for LE advertisements, of devices that aren't "discoverable" too.
    pub(super) async fn scan(&self, adapter: &str) -> Result<(), dbus::Error> {
        let path = format!("/org/bluez/{adapter}");
        let filter: HashMap<&str, Variant<&str>> = HashMap::from([("Transport", Variant("le"))]);
        let set: Result<(), _> = self
            .call(&path, (ADAPTER, "SetDiscoveryFilter"), (filter,))
            .await;
        set?;
        match self.call(&path, (ADAPTER, "StartDiscovery"), ()).await {
            Err(error) if error.name() == Some("org.bluez.Error.InProgress") => Ok(()),
            result => result,
        }
    }

    pub(super) async fn stop_scan(&self, adapter: &str) -> Result<(), dbus::Error> {
        let path = format!("/org/bluez/{adapter}");
        self.call(&path, (ADAPTER, "StopDiscovery"), ()).await
    }

    /// Puts an announcement on the air. `turn` differs each time, or bluetoothd may take it for the one
    /// before.
    pub(super) async fn announce(
        &self,
        adapter: &str,
        bytes: [u8; ANNOUNCED_BYTES],
        turn: u64,
    ) -> Result<(), dbus::Error> {
        let path = format!("/org/bluez/{adapter}");
        let method = (ANNOUNCEMENTS, "RegisterAdvertisement");
        let mut is_paced = true;
        loop {
            *lock(&self.shared.announced) = Some(Announcement { bytes, is_paced });
            let arguments = (announcement_path(turn)?, PropMap::new());
            match self.call(&path, method, arguments).await {
                Err(error) if is_paced && UNPACED.iter().any(|name| error.name() == Some(name)) => {
                    is_paced = false;
                }
                result => return result,
            }
        }
    }

    pub(super) async fn unannounce(&self, adapter: &str, turn: u64) -> Result<(), dbus::Error> {
        let path = format!("/org/bluez/{adapter}");
        let method = (ANNOUNCEMENTS, "UnregisterAdvertisement");
        self.call(&path, method, (announcement_path(turn)?,)).await
    }

    /// Ends the connection with a device that is only there because of us, and its record, which
    /// bluetoothd would keep for ever: unless somebody paired with it or trusts it.
    pub(super) async fn part(
        &self,
        adapter: &str,
        from: Address,
        connected_too: bool,
    ) -> Result<(), dbus::Error> {
        let [a, b, c, d, e, f] = from.bytes;
        let adapter = format!("/org/bluez/{adapter}");
        let path = format!("{adapter}/dev_{a:02X}_{b:02X}_{c:02X}_{d:02X}_{e:02X}_{f:02X}");
        let (device,): (PropMap,) = self.call(&path, (PROPERTIES, "GetAll"), (DEVICE,)).await?;
        let is = |name| prop_cast::<bool>(&device, name).is_some_and(|is| *is);
        let is_busy = is("Connected") && !connected_too;
        if is_busy || is("Paired") || is("Bonded") || is("Trusted") {
            return Ok(());
        }
        let path = Path::new(path).map_err(|_| dbus::Error::new_failed("no path of the bus"))?;
        self.call(&adapter, (ADAPTER, "RemoveDevice"), (path,))
            .await
    }
}

impl Shared {
    fn owner(&self) -> Option<String> {
        lock(&self.owner).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn announcement_path(turn: u64) -> Result<Path<'static>, dbus::Error> {
    Path::new(format!("{ANNOUNCEMENT_AT}{turn}"))
        .map_err(|_| dbus::Error::new_failed("no path of the bus"))
}

impl Announcement {
    /// As bluetoothd reads it: connectable, found by whoever looks for our service and not
    /// "discoverable", without a name.
    fn properties(&self) -> PropMap {
        let data: PropMap = HashMap::from([(SERVICE.to_owned(), value(self.bytes.to_vec()))]);
        let mut properties = HashMap::from([
            ("Type".to_owned(), value("peripheral".to_owned())),
            ("ServiceData".to_owned(), value(data)),
            ("Discoverable".to_owned(), value(false)),
        ]);
        if self.is_paced {
            properties.insert("MinInterval".to_owned(), value(ANNOUNCE_EVERY_MS.0));
            properties.insert("MaxInterval".to_owned(), value(ANNOUNCE_EVERY_MS.1));
        }
        properties
    }
}

fn value(value: impl RefArg + 'static) -> Variant<Box<dyn RefArg>> {
    Variant(Box::new(value))
}

/// Whether bluetoothd is there and says no.
pub(super) fn is_refusal(error: &dbus::Error) -> bool {
    let name = error.name().unwrap_or_default();
    name.starts_with("org.bluez.") && name != "org.bluez.Error.NotReady"
}

/// What an error of the bus says about the whole.
pub(super) fn state_after(error: &dbus::Error) -> State {
    match error.name().unwrap_or_default() {
        "org.freedesktop.DBus.Error.AccessDenied" | "org.freedesktop.DBus.Error.AuthFailed" => {
            State::Refused
        }
        "org.freedesktop.DBus.Error.Timeout" | "org.freedesktop.DBus.Error.NoReply" => {
            State::Unusable("the Bluetooth service doesn't answer".to_owned())
        }
        "org.bluez.Error.NotReady" => State::PoweredOff,
        name if name.starts_with("org.bluez.") => {
            State::Unusable(error.message().unwrap_or(name).to_owned())
        }
        _ => State::NoService,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_announced_fits_an_advertisement_and_names_nobody() {
        let announcement = Announcement {
            bytes: *b"ten bytes.",
            is_paced: true,
        };
        let properties = announcement.properties();
        let seen = told::seen("/org/bluez/hci0/dev_0A", &properties).unwrap();
        assert_eq!(seen.bytes, Some(*b"ten bytes."));
        assert!(!properties.contains_key("LocalName"));
        assert!(!properties.contains_key("Includes"));
        // Flags (3 bytes), then length, kind and the service before its data.
        const { assert!(3 + 2 + 16 + ANNOUNCED_BYTES <= 31) };
    }
}
