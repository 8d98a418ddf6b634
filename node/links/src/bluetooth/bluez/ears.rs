//! What was heard of devices that announce our service, put together from bluetoothd's messages, which
//! say what changed. Bounded: anybody can announce anything, from any number of addresses.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    super::radio::{ANNOUNCED_BYTES, Address, Heard},
    told::Seen,
};

/// An announcement is passed on so often at most, and a different one of the same device at once.
const HEARD_EVERY: Duration = Duration::from_secs(1);
/// Announcements that wait to be taken; the oldest go.
const HEARD_MAX: usize = 64;
/// Devices with our service that are remembered: more than a room holds.
const DEVICES_MAX: usize = 256;

/// What was heard, by the records of bluetoothd.
#[derive(Default)]
pub(super) struct Ears {
    devices: BTreeMap<String, Device>,
    waiting: VecDeque<Heard>,
    /// Whether a device was heard whose address wasn't said.
    pub(super) is_puzzled: bool,
}

struct Device {
    address: Option<Address>,
    bytes: Option<[u8; ANNOUNCED_BYTES]>,
    passed_on: Option<(Heard, Instant)>,
}

impl Ears {
    /// Takes note of a device that announces our service. A message that only says what changed is
    /// understood with what the ones before it said.
    fn learn(&mut self, seen: &Seen) -> Option<&mut Device> {
        if !self.devices.contains_key(&seen.path) {
            seen.bytes?;
            if self.devices.len() >= DEVICES_MAX {
                self.devices.pop_first();
            }
        }
        let device = self.devices.entry(seen.path.clone()).or_insert(Device {
            address: None,
            bytes: None,
            passed_on: None,
        });
        device.address = seen.address.or(device.address);
        device.bytes = seen.bytes.or(device.bytes);
        Some(device)
    }

    /// Takes note of a device that was heard some time ago.
    pub(super) fn recall(&mut self, seen: &Seen) {
        self.learn(seen);
    }

    pub(super) fn hear(&mut self, seen: &Seen) {
        let Some(device) = self.learn(seen) else {
            return;
        };
        let Some(from) = device.address else {
            self.is_puzzled = true;
            return;
        };
        let (Some(bytes), true) = (device.bytes, seen.now) else {
            return;
        };
        let (heard, now) = (Heard { from, bytes }, Instant::now());
        let is_old = |(before, at): &(Heard, Instant)| {
            *before == heard && now.duration_since(*at) < HEARD_EVERY
        };
        if device.passed_on.as_ref().is_some_and(is_old) {
            return;
        }
        device.passed_on = Some((heard, now));
        if self.waiting.len() >= HEARD_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(heard);
    }

    pub(super) fn forget(&mut self, path: &str) {
        self.devices.remove(path);
    }

    pub(super) fn has_news(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn next(&mut self) -> Option<Heard> {
        self.waiting.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(number: u16, bytes: Option<u8>) -> Seen {
        let [high, low] = number.to_be_bytes();
        Seen {
            path: format!("/org/bluez/hci0/dev_{number}"),
            address: Some(Address {
                bytes: [0, 0, 0, 0, high, low],
                random: true,
            }),
            bytes: bytes.map(|byte| [byte; ANNOUNCED_BYTES]),
            now: true,
            connected: false,
        }
    }

    fn all(ears: &mut Ears) -> Vec<u8> {
        std::iter::from_fn(|| ears.next())
            .map(|heard| heard.bytes[0])
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_is_passed_on_once_a_second_and_another_at_once() {
        let mut ears = Ears::default();
        ears.hear(&seen(1, Some(7)));
        ears.hear(&seen(1, Some(7)));
        ears.hear(&seen(1, Some(8)));
        assert_eq!(all(&mut ears), [7, 8]);
        tokio::time::advance(HEARD_EVERY).await;
        // Only its strength changed: it is still there, with what it said before.
        let changed = Seen {
            address: None,
            bytes: None,
            ..seen(1, None)
        };
        ears.hear(&changed);
        assert_eq!(all(&mut ears), [8]);
        ears.forget(&changed.path);
        ears.hear(&changed);
        assert!(!ears.has_news());
    }

    #[tokio::test(start_paused = true)]
    async fn other_adapters_and_other_services_are_not_ours() {
        let mut ears = Ears::default();
        assert!(seen(1, Some(7)).is_at("hci0"));
        assert!(!seen(1, Some(7)).is_at("hci") && !seen(1, Some(7)).is_at("hci1"));
        ears.hear(&seen(1, None));
        assert!(!ears.has_news());
        let nameless = Seen {
            address: None,
            ..seen(1, Some(7))
        };
        ears.hear(&nameless);
        assert!(!ears.has_news() && ears.is_puzzled);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_devices_is_bounded_and_the_latest_are_heard() {
        let mut ears = Ears::default();
        for number in 0..10_000_u16 {
            ears.hear(&seen(number, Some(number.to_be_bytes()[1])));
        }
        assert_eq!(ears.devices.len(), DEVICES_MAX);
        let heard = all(&mut ears);
        assert_eq!(heard.len(), HEARD_MAX);
        assert_eq!(heard.last(), Some(&9_999_u16.to_be_bytes()[1]));
    }
}
