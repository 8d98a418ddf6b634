//! The settings file: strict, so that a slip of the pen is found at the start and not in use.
//!
//! Every problem of a file is reported at once, each with its line and with what to write.

use std::{
    fs::File,
    io::{self, Read as _},
    net::SocketAddr,
    ops::Range,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use engine::{Internet, view::LinkUse};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::address::{self, Listen};

/// Bytes of a settings file: far more than all keys with comments need.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// Bytes of certificates that vouch for relays: a hundred of them.
const CA_BYTES_MAX: u64 = 256 * 1024;
/// Relays of our own; a node talks to one or two of them.
const RELAYS_MAX: usize = 16;
/// Addresses to bind: one a network interface.
const BIND_MAX: usize = 16;
/// Further names under which a browser may ask for the dashboard.
const HOSTS_MAX: usize = 32;
/// Characters of a host name (RFC 1035 section 3.1).
const HOST_CHARS_MAX: usize = 253;
/// Characters of a relay's address.
const URL_CHARS_MAX: usize = 500;

const WHEN: &str = r#""always", "charging" or "by_hand""#;
const INTERNET: &str = r#""off", "direct" or "relay""#;

/// The keys that `[links]` may have.
const LINKS: &[&str] = &[
    "internet",
    "internet_when",
    "lan",
    "lan_when",
    "bluetooth",
    "bluetooth_when",
    "bluetooth_adapter",
    "relays",
    "relay_ca",
    "bind",
];
/// Characters of an adapter's name: the system's have four or five.
const ADAPTER_CHARS_MAX: usize = 32;
/// The keys that `[storage]` may have.
const STORAGE: &[&str] = &["free_min_mib"];
/// MiB that may have to stay free: a tebibyte.
const FREE_MIN_MIB_MAX: u64 = 1024 * 1024;

/// The keys that `[dashboard]` may have.
const DASHBOARD: &[&str] = &[
    "listen",
    "hosts",
    "password_file",
    "tls",
    "local_name",
    "lan_api",
];

/// What a settings file says; `None` where it is silent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) internet: Option<Internet>,
    pub(crate) internet_when: Option<LinkUse>,
    pub(crate) lan: Option<bool>,
    pub(crate) lan_when: Option<LinkUse>,
    pub(crate) bluetooth: Option<bool>,
    pub(crate) bluetooth_when: Option<LinkUse>,
    pub(crate) bluetooth_adapter: Option<String>,
    pub(crate) relays: Vec<String>,
    /// As written: relative to the settings file's folder.
    pub(crate) relay_ca: Option<PathBuf>,
    pub(crate) bind: Option<Vec<SocketAddr>>,
    pub(crate) free_min_bytes: Option<u64>,
    pub(crate) listen: Option<Listen>,
    pub(crate) hosts: Vec<String>,
    pub(crate) password_file: Option<PathBuf>,
    pub(crate) tls: Option<bool>,
    pub(crate) local_name: Option<bool>,
    pub(crate) lan_api: Option<bool>,
}

/// Reads the file that was asked for, or else the one in the folder, which may be missing.
pub(crate) fn load(asked: Option<&Path>, usual: &Path) -> anyhow::Result<Settings> {
    let path = asked.unwrap_or(usual);
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && asked.is_none() => {
            return Ok(Settings::default());
        }
        other => {
            other.with_context(|| format!("cannot open the settings file {}", path.display()))?
        }
    };
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read the settings file {}", path.display()))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        bail!(
            "{}: expected at most {FILE_BYTES_MAX} bytes of settings",
            path.display()
        );
    }
    let Ok(text) = String::from_utf8(bytes) else {
        bail!("{}: expected text in UTF-8", path.display());
    };
    parse(&text).map_err(|problems| {
        let lines: Vec<_> = problems
            .iter()
            .map(|problem| format!("{}:{}: {}", path.display(), problem.line, problem.text))
            .collect();
        anyhow::anyhow!("{}", lines.join("\n"))
    })
}

/// The certificates that a settings file names, if it does.
pub(crate) fn relay_ca(settings: &Settings, file: &Path) -> anyhow::Result<Vec<u8>> {
    let Some(named) = &settings.relay_ca else {
        return Ok(Vec::new());
    };
    let path = file.parent().unwrap_or(Path::new("")).join(named);
    let mut bytes = Vec::new();
    File::open(&path)
        .and_then(|file| file.take(CA_BYTES_MAX + 1).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read links.relay_ca, {}", path.display()))?;
    if bytes.len() as u64 > CA_BYTES_MAX {
        bail!(
            "{}: expected at most {CA_BYTES_MAX} bytes of certificates",
            path.display()
        );
    }
    Ok(bytes)
}

/// One thing that is wrong, and where.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// Reads the text of a settings file.
pub(crate) fn parse(text: &str) -> Result<Settings, Vec<Problem>> {
    let mut reader = Reader {
        text,
        problems: Vec::new(),
    };
    let mut settings = Settings::default();
    match DeTable::parse(text) {
        Ok(root) => reader.root(root.get_ref(), &mut settings),
        Err(error) => reader.problem(error.span().unwrap_or(0..0), error.message().to_owned()),
    }
    reader.problems.sort();
    if reader.problems.is_empty() {
        Ok(settings)
    } else {
        Err(reader.problems)
    }
}

struct Reader<'a> {
    text: &'a str,
    problems: Vec<Problem>,
}

type Value<'a> = Spanned<DeValue<'a>>;

impl Reader<'_> {
    fn root(&mut self, root: &DeTable<'_>, settings: &mut Settings) {
        for (key, value) in root {
            match key.get_ref().as_ref() {
                "links" => self.table("links", value, |reader, key, value| {
                    reader.links(key, value, settings);
                }),
                "dashboard" => self.table("dashboard", value, |reader, key, value| {
                    reader.dashboard(key, value, settings);
                }),
                "storage" => self.table("storage", value, |reader, key, value| {
                    reader.storage(key, value, settings);
                }),
                other => self.problem(
                    key.span(),
                    format!("unknown key {other:?}: expected [links], [storage] or [dashboard]"),
                ),
            }
        }
    }

    fn links(
        &mut self,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Value<'_>,
        to: &mut Settings,
    ) {
        match key.get_ref().as_ref() {
            "internet" => to.internet = self.internet(value),
            "relays" => to.relays = self.list("relays", value, RELAYS_MAX, relay),
            "relay_ca" => {
                to.relay_ca = self.string("links.relay_ca", value).map(PathBuf::from);
            }
            "bind" => to.bind = self.bind(value),
            "lan" => to.lan = self.switch("links.lan", value),
            "internet_when" => to.internet_when = self.when("links.internet_when", value),
            "lan_when" => to.lan_when = self.when("links.lan_when", value),
            "bluetooth" => to.bluetooth = self.switch("links.bluetooth", value),
            "bluetooth_when" => to.bluetooth_when = self.when("links.bluetooth_when", value),
            "bluetooth_adapter" => {
                to.bluetooth_adapter = self
                    .string("links.bluetooth_adapter", value)
                    .and_then(|text| self.checked("links.bluetooth_adapter", value, adapter(text)));
            }
            other => self.problem(key.span(), unknown(other, "links", LINKS)),
        }
    }

    fn storage(
        &mut self,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Value<'_>,
        to: &mut Settings,
    ) {
        match key.get_ref().as_ref() {
            "free_min_mib" => {
                let mib = match value.get_ref() {
                    DeValue::Integer(number) => number.to_string().parse::<u64>().ok(),
                    _ => None,
                };
                match mib.filter(|mib| *mib <= FREE_MIN_MIB_MAX) {
                    Some(mib) => to.free_min_bytes = Some(mib * 1024 * 1024),
                    None => self.problem(
                        value.span(),
                        format!(
                            "storage.free_min_mib: expected a number of MiB up to {FREE_MIN_MIB_MAX}, found {}",
                            found(value.get_ref())
                        ),
                    ),
                }
            }
            other => self.problem(key.span(), unknown(other, "storage", STORAGE)),
        }
    }

    fn dashboard(
        &mut self,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Value<'_>,
        to: &mut Settings,
    ) {
        match key.get_ref().as_ref() {
            "listen" => {
                to.listen = self
                    .string("dashboard.listen", value)
                    .and_then(|text| self.checked("dashboard.listen", value, address::parse(text)));
            }
            "hosts" => to.hosts = self.list("hosts", value, HOSTS_MAX, host),
            "password_file" => {
                to.password_file = self
                    .string("dashboard.password_file", value)
                    .and_then(|text| self.checked("dashboard.password_file", value, path(text)));
            }
            "tls" => to.tls = self.switch("dashboard.tls", value),
            "local_name" => to.local_name = self.switch("dashboard.local_name", value),
            "lan_api" => to.lan_api = self.switch("dashboard.lan_api", value),
            other => self.problem(key.span(), unknown(other, "dashboard", DASHBOARD)),
        }
    }

    fn internet(&mut self, value: &Value<'_>) -> Option<Internet> {
        let choice = match value.get_ref().as_str() {
            Some("off") => Internet::Off,
            Some("direct") => Internet::Direct,
            Some("relay") => Internet::Relay,
            _ => {
                let found = found(value.get_ref());
                self.problem(
                    value.span(),
                    format!("links.internet: expected {INTERNET}, found {found}"),
                );
                return None;
            }
        };
        Some(choice)
    }

    fn when(&mut self, name: &str, value: &Value<'_>) -> Option<LinkUse> {
        let choice = match value.get_ref().as_str() {
            Some("always") => LinkUse::Always,
            Some("charging") => LinkUse::Charging,
            Some("by_hand") => LinkUse::ByHand,
            _ => {
                let found = found(value.get_ref());
                self.problem(
                    value.span(),
                    format!("{name}: expected {WHEN}, found {found}"),
                );
                return None;
            }
        };
        Some(choice)
    }

    fn switch(&mut self, name: &str, value: &Value<'_>) -> Option<bool> {
        if let DeValue::Boolean(on) = value.get_ref() {
            return Some(*on);
        }
        let found = found(value.get_ref());
        self.problem(
            value.span(),
            format!("{name}: expected true or false, found {found}"),
        );
        None
    }

    fn bind(&mut self, value: &Value<'_>) -> Option<Vec<SocketAddr>> {
        let before = self.problems.len();
        let addrs = self.list("bind", value, BIND_MAX, |text| {
            text.parse::<SocketAddr>().map_err(|_| {
                format!("expected an address with a port such as \"0.0.0.0:0\", found {text:?}")
            })
        });
        if addrs.is_empty() && self.problems.len() == before {
            self.problem(
                value.span(),
                "links.bind: expected at least one address such as \"0.0.0.0:0\", found none"
                    .to_owned(),
            );
        }
        Some(addrs)
    }

    fn table(
        &mut self,
        name: &str,
        value: &Value<'_>,
        mut each: impl FnMut(&mut Self, &Spanned<std::borrow::Cow<'_, str>>, &Value<'_>),
    ) {
        match value.get_ref().as_table() {
            Some(table) => {
                for (key, value) in table {
                    each(self, key, value);
                }
            }
            None => self.problem(
                value.span(),
                format!(
                    "{name}: expected a table, written as [{name}], found {}",
                    found(value.get_ref())
                ),
            ),
        }
    }

    fn string<'v>(&mut self, name: &str, value: &'v Value<'_>) -> Option<&'v str> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            let found = found(value.get_ref());
            self.problem(
                value.span(),
                format!("{name}: expected a text in quotes, found {found}"),
            );
        }
        text
    }

    fn list<T>(
        &mut self,
        name: &str,
        value: &Value<'_>,
        most: usize,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let Some(array) = value.get_ref().as_array() else {
            let found = found(value.get_ref());
            self.problem(
                value.span(),
                format!("{name}: expected a list such as [\"…\", \"…\"], found {found}"),
            );
            return Vec::new();
        };
        if array.len() > most {
            self.problem(
                value.span(),
                format!(
                    "{name}: expected at most {most} items, found {}",
                    array.len()
                ),
            );
            return Vec::new();
        }
        array
            .iter()
            .filter_map(|item| {
                let text = self.string(name, item)?;
                self.checked(name, item, read(text))
            })
            .collect()
    }

    fn checked<T>(&mut self, name: &str, value: &Value<'_>, read: Result<T, String>) -> Option<T> {
        read.map_err(|text| self.problem(value.span(), format!("{name}: {text}")))
            .ok()
    }

    fn problem(&mut self, span: Range<usize>, text: String) {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        // The parser's own texts may span lines; ours don't.
        let text = text.lines().collect::<Vec<_>>().join(", ");
        self.problems.push(Problem { line, text });
    }
}

fn unknown(key: &str, table: &str, keys: &[&str]) -> String {
    format!(
        "unknown key {key:?} in [{table}]: expected one of {}",
        keys.join(", ")
    )
}

fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => format!("the number {number}"),
        DeValue::Float(number) => format!("the number {number}"),
        DeValue::Boolean(truth) => truth.to_string(),
        other => format!("a {}", other.type_str()),
    }
}

/// A relay's address. The links check it once more when they use it.
fn relay(text: &str) -> Result<String, String> {
    let wrong = || {
        format!("expected a relay's address such as \"https://relay.example.org\", found {text:?}")
    };
    let rest = text.strip_prefix("https://").ok_or_else(wrong)?;
    let name = rest.split(['/', ':']).next().unwrap_or_default();
    let usable = text.len() <= URL_CHARS_MAX
        && !name.is_empty()
        && text.chars().all(|c| {
            c.is_ascii_graphic() && !matches!(c, '@' | '?' | '#' | '\\' | '"' | '<' | '>')
        });
    if usable {
        Ok(text.to_owned())
    } else {
        Err(wrong())
    }
}

/// The path of a file. Where the program is started from says nothing about where the file lies.
fn path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(format!(
            "expected a whole path such as \"/etc/waymeet/password\", found {text:?}"
        ))
    }
}

/// The system's name for a Bluetooth adapter.
fn adapter(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if (1..=ADAPTER_CHARS_MAX).contains(&text.len()) && text.chars().all(plain) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "expected the system's name for an adapter such as \"hci0\", found {text:?}"
        ))
    }
}

/// A name under which a browser asks, with the port where that isn't ours: behind a proxy.
fn host(text: &str) -> Result<String, String> {
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    };
    let usable = name.len() <= HOST_CHARS_MAX
        && name.split('.').all(is_label)
        && port.is_none_or(|port| port.parse::<u16>().is_ok());
    if usable {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(format!(
            "expected a host name such as \"camp-pi.local\" or \"forum.example.org:8443\", found {text:?}"
        ))
    }
}

/// One part of a host name (RFC 1035 section 2.3.1), and the underscore that some networks use.
fn is_label(label: &str) -> bool {
    !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

#[cfg(test)]
#[path = "config/tests.rs"]
mod tests;
