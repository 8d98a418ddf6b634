//! What bluetoothd tells over the bus (BlueZ's `org.bluez.Adapter`, `.Device` and
//! `.LEAdvertisingManager`, as its manual pages describe them), taken apart with care: a value of
//! another type than expected is as good as absent, and nobody else is believed.

use std::collections::{BTreeSet, HashMap};

use dbus::{
    Message, Path,
    arg::{PropMap, RefArg, prop_cast},
};

use super::super::radio::{ANNOUNCED_BYTES, Address, SERVICE};

pub(super) const ADAPTER: &str = "org.bluez.Adapter1";
pub(super) const DEVICE: &str = "org.bluez.Device1";
pub(super) const ANNOUNCEMENTS: &str = "org.bluez.LEAdvertisingManager1";
pub(super) const OBJECTS: &str = "org.freedesktop.DBus.ObjectManager";
pub(super) const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
pub(super) const BUS: &str = "org.freedesktop.DBus";
/// What of an adapter is looked at again as soon as it changes.
const LOOK_AFTER: [&str; 4] = ["Powered", "PowerState", "Address", "AddressType"];

/// All that bluetoothd has: paths, their interfaces, those's properties.
pub(super) type Objects = HashMap<Path<'static>, HashMap<String, PropMap>>;

/// What the bus tells without being asked.
#[derive(Debug)]
pub(super) enum News {
    /// bluetoothd came or went, or something of an adapter changed: look again.
    Look,
    /// Something of a device changed, or it is new.
    Device(Seen),
    /// A device's record is gone.
    Forgotten(String),
    /// The connection to the bus is over.
    Over,
}

/// What one message says of a device.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// The record's path: it stands for the device in later messages, which say only what changed.
    pub(super) path: String,
    /// Its address, where this message says both parts of it.
    pub(super) address: Option<Address>,
    /// What it announces under our service, where this message says so.
    pub(super) bytes: Option<[u8; ANNOUNCED_BYTES]>,
    /// Whether it was on the air just now.
    pub(super) now: bool,
    /// Whether it just connected, to whatever purpose.
    pub(super) connected: bool,
}

impl Seen {
    /// Whether it is a device of this adapter.
    pub(super) fn is_at(&self, adapter: &str) -> bool {
        self.path
            .strip_prefix("/org/bluez/")
            .and_then(|rest| rest.strip_prefix(adapter))
            .is_some_and(|rest| rest.starts_with('/'))
    }
}

/// An adapter as bluetoothd describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) address: Option<Address>,
    pub(super) powered: bool,
    pub(super) blocked: bool,
    /// Whether LE announcements can be made with it.
    pub(super) announces: bool,
    pub(super) scanning: bool,
    /// How many announcements are made with it, by all programs.
    pub(super) announcements: u8,
}

pub(super) fn is_from(message: &Message, owner: Option<&str>) -> bool {
    owner.is_some() && message.sender().as_deref() == owner
}

/// What a signal says, if it is one for us.
pub(super) fn read(message: &Message, owner: Option<&str>) -> Option<News> {
    if message.member().as_deref() == Some("NameOwnerChanged") {
        return (message.sender().as_deref() == Some(BUS)).then_some(News::Look);
    }
    if !is_from(message, owner) {
        return None;
    }
    match message.member()?.as_ref() {
        "PropertiesChanged" => {
            let (interface, changed): (String, PropMap) = message.read2().ok()?;
            match interface.as_str() {
                ADAPTER => LOOK_AFTER
                    .iter()
                    .any(|name| changed.contains_key(*name))
                    .then_some(News::Look),
                DEVICE => Some(News::Device(seen(&message.path()?, &changed)?)),
                _ => None,
            }
        }
        "InterfacesAdded" => {
            let (path, interfaces): (Path<'static>, HashMap<String, PropMap>) =
                message.read2().ok()?;
            if interfaces.contains_key(ADAPTER) || interfaces.contains_key(ANNOUNCEMENTS) {
                return Some(News::Look);
            }
            Some(News::Device(seen(&path, interfaces.get(DEVICE)?)?))
        }
        "InterfacesRemoved" => {
            let (path, interfaces): (Path<'static>, Vec<String>) = message.read2().ok()?;
            let gone = |interface| interfaces.iter().any(|gone| gone == interface);
            if gone(ADAPTER) {
                return Some(News::Look);
            }
            gone(DEVICE).then(|| News::Forgotten(path.to_string()))
        }
        _ => None,
    }
}

/// What a device's properties say, if they say anything that matters here.
pub(super) fn seen(path: &str, properties: &PropMap) -> Option<Seen> {
    let data = properties.get("ServiceData");
    let seen = Seen {
        path: path.to_owned(),
        address: address(properties),
        bytes: data.and_then(|data| announced(&data.0)),
        now: data.is_some() || properties.contains_key("RSSI"),
        connected: prop_cast::<bool>(properties, "Connected").is_some_and(|is| *is),
    };
    (seen.now || seen.bytes.is_some() || seen.connected).then_some(seen)
}

/// The bytes under our service: `a{sv}`, each value an `ay`.
fn announced(data: &dyn RefArg) -> Option<[u8; ANNOUNCED_BYTES]> {
    let mut parts = data.as_iter()?;
    while let (Some(service), Some(value)) = (parts.next(), parts.next()) {
        if !service.as_str()?.eq_ignore_ascii_case(SERVICE) {
            continue;
        }
        let bytes = value.as_iter()?.next()?;
        let bytes: Option<Vec<u8>> = bytes
            .as_iter()?
            .take(ANNOUNCED_BYTES + 1)
            .map(|byte| u8::try_from(byte.as_u64()?).ok())
            .collect();
        return bytes?.try_into().ok();
    }
    None
}

fn address(properties: &PropMap) -> Option<Address> {
    let random = match prop_cast::<String>(properties, "AddressType")?.as_str() {
        "random" => true,
        "public" => false,
        _ => return None,
    };
    let mut bytes = [0; 6];
    let mut parts = prop_cast::<String>(properties, "Address")?.split(':');
    for byte in &mut bytes {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(Address { bytes, random })
}

/// The adapters among all objects, by name.
pub(super) fn adapters(objects: &Objects) -> Vec<Found> {
    let mut names = BTreeSet::new();
    let mut found = Vec::new();
    for (path, interfaces) in objects {
        let Some(name) = path.strip_prefix("/org/bluez/") else {
            continue;
        };
        let Some(adapter) = interfaces.get(ADAPTER) else {
            continue;
        };
        if !names.insert(name.to_owned()) {
            continue;
        }
        let is = |name| prop_cast::<bool>(adapter, name).is_some_and(|is| *is);
        let announcements = interfaces.get(ANNOUNCEMENTS);
        found.push(Found {
            name: name.to_owned(),
            address: address(adapter),
            powered: is("Powered"),
            blocked: prop_cast::<String>(adapter, "PowerState")
                .is_some_and(|state| state == "off-blocked"),
            announces: announcements.is_some(),
            scanning: is("Discovering"),
            announcements: announcements
                .and_then(|manager| prop_cast::<u8>(manager, "ActiveInstances").copied())
                .unwrap_or(0),
        });
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

#[cfg(test)]
mod tests {
    use dbus::arg::Variant;

    use super::*;

    fn value(value: impl RefArg + 'static) -> Variant<Box<dyn RefArg>> {
        Variant(Box::new(value))
    }

    const OWNER: &str = ":1.7";

    fn device(bytes: &[u8]) -> PropMap {
        let data: PropMap = HashMap::from([(SERVICE.to_uppercase(), value(bytes.to_vec()))]);
        HashMap::from([
            ("Address".to_owned(), value("0A:1B:2C:3D:4E:5F".to_owned())),
            ("AddressType".to_owned(), value("random".to_owned())),
            ("ServiceData".to_owned(), value(data)),
            ("RSSI".to_owned(), value(-40_i16)),
        ])
    }

    fn signal(interface: &str, member: &str) -> Message {
        let path = Path::new("/org/bluez/hci0/dev_0A").unwrap();
        let interface = dbus::strings::Interface::new(interface).unwrap();
        let mut signal = Message::signal(&path, &interface, &member.to_owned().into());
        signal.set_sender(Some(OWNER.into()));
        signal
    }

    fn changed(interface: &str, properties: PropMap) -> Message {
        signal(PROPERTIES, "PropertiesChanged").append3(interface, properties, Vec::<String>::new())
    }

    fn device_of(news: Option<News>) -> Option<Seen> {
        match news {
            Some(News::Device(seen)) => Some(seen),
            _ => None,
        }
    }

    #[test]
    fn a_device_that_announces_our_service_is_understood() {
        let message = changed(DEVICE, device(b"ten bytes."));
        let seen = device_of(read(&message, Some(OWNER))).unwrap();
        let expected = Seen {
            path: "/org/bluez/hci0/dev_0A".to_owned(),
            address: Some(Address {
                bytes: [0x0A, 0x1B, 0x2C, 0x3D, 0x4E, 0x5F],
                random: true,
            }),
            bytes: Some(*b"ten bytes."),
            now: true,
            connected: false,
        };
        assert_eq!(seen, expected);
        let added = signal(OBJECTS, "InterfacesAdded").append2(
            Path::new("/org/bluez/hci0/dev_0A").unwrap(),
            HashMap::from([(DEVICE.to_owned(), device(b"ten bytes."))]),
        );
        assert_eq!(device_of(read(&added, Some(OWNER))), Some(expected));
    }

    #[test]
    fn a_device_that_connects_is_noticed_whatever_it_is() {
        let connected = |is: bool| HashMap::from([("Connected".to_owned(), value(is))]);
        let seen = device_of(read(&changed(DEVICE, connected(true)), Some(OWNER))).unwrap();
        assert!(seen.connected && !seen.now && seen.bytes.is_none());
        assert!(read(&changed(DEVICE, connected(false)), Some(OWNER)).is_none());
    }

    #[test]
    fn what_is_not_ten_bytes_or_not_of_the_service_is_nothing() {
        for bytes in [&b""[..], b"nine byte", b"eleven byte", &[0; 200]] {
            let seen = device_of(read(&changed(DEVICE, device(bytes)), Some(OWNER))).unwrap();
            assert_eq!(seen.bytes, None, "{bytes:?}");
        }
        let mut strange = device(b"ten bytes.");
        strange.insert("ServiceData".to_owned(), value(7_u32));
        strange.insert("Address".to_owned(), value("0A:1B".to_owned()));
        let seen = device_of(read(&changed(DEVICE, strange), Some(OWNER))).unwrap();
        assert_eq!((seen.bytes, seen.address), (None, None));
    }

    #[test]
    fn somebody_else_on_the_bus_is_not_believed() {
        let message = changed(DEVICE, device(b"ten bytes."));
        assert!(read(&message, Some(":1.8")).is_none());
        assert!(read(&message, None).is_none());
        let garbled = signal(PROPERTIES, "PropertiesChanged").append1(5_u8);
        assert!(read(&garbled, Some(OWNER)).is_none());
    }

    #[test]
    fn adapters_are_read_and_looked_at_again_when_their_power_changes() {
        let adapter: PropMap = HashMap::from([
            ("Address".to_owned(), value("0A:1B:2C:3D:4E:5F".to_owned())),
            ("AddressType".to_owned(), value("public".to_owned())),
            ("Powered".to_owned(), value(false)),
            ("PowerState".to_owned(), value("off-blocked".to_owned())),
        ]);
        let path = Path::new("/org/bluez/hci1").unwrap();
        let objects = HashMap::from([(path, HashMap::from([(ADAPTER.to_owned(), adapter)]))]);
        let [found] = &adapters(&objects)[..] else {
            panic!("one adapter")
        };
        assert_eq!((found.name.as_str(), found.blocked), ("hci1", true));
        assert!(!found.powered && !found.announces);
        let power = HashMap::from([("Powered".to_owned(), value(true))]);
        let news = read(&changed(ADAPTER, power), Some(OWNER));
        assert!(matches!(news, Some(News::Look)));
        let name = HashMap::from([("Alias".to_owned(), value("me".to_owned()))]);
        assert!(read(&changed(ADAPTER, name), Some(OWNER)).is_none());
    }
}
