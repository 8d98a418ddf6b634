//! `waymeet` without a command: the node, until a signal ends it.

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use engine::{FREE_MIN_BYTES, LinkConfig, StorageConfig};
use serde_json::json;
use tokio::runtime::Runtime;
use web::LanConfig;

use crate::{
    address::{self, Listen},
    browser,
    config::{self, Settings},
    folder::Folder,
    output::Output,
    password,
    running::{Running, Start},
    signals::Signals,
};

/// Threads that still work when everything has ended get this long.
const LEFTOVERS_WITHIN: Duration = Duration::from_millis(200);

/// What the command line says about the node.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) config: Option<PathBuf>,
    pub(crate) listen: Option<Listen>,
    pub(crate) open_browser: bool,
}

/// Runs the node of a folder until it is told to end.
pub(crate) fn run(folder: &Folder, options: &Options, output: &Output) -> anyhow::Result<()> {
    let usual = folder.settings_file();
    let settings = config::load(options.config.as_deref(), &usual)?;
    let file = options.config.as_deref().unwrap_or(&usual);
    let relay_ca = config::relay_ca(&settings, file)?;
    let start = start(settings, relay_ca, options.listen)?;
    with_runtime(async {
        let mut signals = Signals::new().context("cannot take over the signals")?;
        let mut running = tokio::select! {
            running = Running::start(folder, start) => running?,
            // Nothing is written yet that a next start would miss.
            _ = signals.end() => return Ok(()),
        };
        // An output that nobody reads doesn't end a node.
        if let Err(error) = announce(&running, options, output) {
            tracing::info!("cannot print the dashboard's address: {error:#}");
        }
        let ended = tokio::select! {
            name = signals.end() => {
                tracing::info!("{name}: ending");
                Ok(())
            }
            error = running.failed() => Err(error),
        };
        signals.insist();
        running.stop().await;
        ended
    })
}

/// Runs something on a runtime and leaves nothing of it behind.
pub(crate) fn with_runtime<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = Runtime::new().context("cannot start the threads of the node")?;
    let result = runtime.block_on(work);
    runtime.shutdown_timeout(LEFTOVERS_WITHIN);
    result
}

fn start(settings: Settings, relay_ca: Vec<u8>, listen: Option<Listen>) -> anyhow::Result<Start> {
    let usual = LinkConfig::default();
    let listen = listen.or(settings.listen).unwrap_or(address::DEFAULT);
    let password = settings.password_file.as_deref().map(password::from_file);
    Ok(Start {
        links: LinkConfig {
            internet: settings.internet.unwrap_or(usual.internet),
            internet_fixed: settings.internet.is_some(),
            internet_when: settings.internet_when,
            lan: settings.lan,
            lan_when: settings.lan_when,
            bluetooth: settings.bluetooth,
            bluetooth_when: settings.bluetooth_when,
            bluetooth_adapter: settings.bluetooth_adapter,
            radios: usual.radios,
            relays: settings.relays,
            relay_ca,
            bind: settings.bind.unwrap_or(usual.bind),
            power_supply: usual.power_supply,
        },
        storage: StorageConfig {
            free_min_bytes: settings.free_min_bytes.unwrap_or(FREE_MIN_BYTES),
            free: None,
        },
        listen: listen.loopback,
        hosts: settings.hosts,
        lan: LanConfig {
            at: listen.lan,
            tls: settings.tls,
            local_name: settings.local_name,
            api: settings.lan_api.unwrap_or(false),
            password: password.transpose()?,
        },
    })
}

fn announce(running: &Running, options: &Options, output: &Output) -> anyhow::Result<()> {
    let link = running.sign_in_link();
    let url = running.url();
    if output.is_json() {
        output.line(json!({ "dashboard_url": url, "sign_in_link": link }))?;
    } else {
        output.line(format_args!("Your dashboard is at {url}"))?;
        output.line(format_args!("This link signs you in, once: {link}"))?;
        output.line("`waymeet open` makes another. Ctrl-C ends the node.")?;
    }
    if options.open_browser && !output.is_json() && browser::wanted() {
        browser::open(&link);
    }
    Ok(())
}
