//! Whether this machine charges: the one module that looks at its batteries.
//!
//! Linux lists them below `/sys/class/power_supply`, each a folder with files of one line
//! (Documentation/ABI/testing/sysfs-class-power in the kernel's source). Whatever can't be read
//! counts as not there, and a machine without a battery is never kept from anything.

use std::{fs, io::Read as _, path::Path};

/// Power supplies that are looked at; a laptop with a dock has six.
const SUPPLIES_MAX: usize = 64;
/// Bytes of a file that are read: the longest word is `Not charging`.
const FILE_BYTES_MAX: u64 = 64;

/// A machine with a battery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Battery {
    /// It doesn't live on the battery now.
    pub(crate) charging: bool,
}

/// The machine's battery; `None` where it has none.
pub(crate) fn battery(folder: &Path) -> Option<Battery> {
    let (mut batteries, mut discharging, mut plugged) = (0_usize, false, None);
    for supply in fs::read_dir(folder).ok()?.take(SUPPLIES_MAX).flatten() {
        let line = |name| line(&supply.path().join(name)).unwrap_or_default();
        match line("type").as_str() {
            // A mouse's battery says nothing about the machine, and an empty bay has none.
            "Battery" if line("scope") != "Device" && line("present") != "0" => {
                batteries += 1;
                discharging |= line("status") == "Discharging";
            }
            "Mains" | "USB" => {
                plugged = Some(plugged.unwrap_or(false) || line("online") == "1");
            }
            _ => {}
        }
    }
    (batteries > 0).then(|| Battery {
        charging: plugged.unwrap_or(!discharging),
    })
}

fn line(path: &Path) -> Option<String> {
    let mut text = String::new();
    let file = fs::File::open(path).ok()?;
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn supplies(these: &[&[(&str, &str)]]) -> Option<bool> {
        let folder = tempfile::tempdir().unwrap();
        for (number, files) in these.iter().enumerate() {
            let supply = folder.path().join(number.to_string());
            fs::create_dir(&supply).unwrap();
            for (name, text) in *files {
                fs::write(supply.join(name), format!("{text}\n")).unwrap();
            }
        }
        battery(folder.path()).map(|battery| battery.charging)
    }

    #[test]
    fn a_machine_without_a_battery_has_none() {
        assert_eq!(battery(Path::new("/nowhere/at/all")), None);
        assert_eq!(supplies(&[]), None);
        assert_eq!(supplies(&[&[("type", "Mains"), ("online", "0")]]), None);
        let mouse = [
            ("type", "Battery"),
            ("scope", "Device"),
            ("status", "Discharging"),
        ];
        let empty_bay = [("type", "Battery"), ("present", "0")];
        assert_eq!(supplies(&[&mouse, &empty_bay]), None);
        assert_eq!(supplies(&[&[("type", "Battery\u{0}\u{1}")]]), None);
    }

    #[test]
    fn a_cable_counts_and_without_one_what_the_battery_says() {
        let full = [("type", "Battery"), ("status", "Full")];
        let draining = [("type", "Battery"), ("status", "Discharging")];
        let unplugged = [("type", "Mains"), ("online", "0")];
        let plugged = [("type", "USB"), ("online", "1")];
        assert_eq!(supplies(&[&full, &unplugged]), Some(false));
        assert_eq!(supplies(&[&draining, &unplugged, &plugged]), Some(true));
        assert_eq!(supplies(&[&draining]), Some(false));
        assert_eq!(supplies(&[&full]), Some(true));
    }
}
