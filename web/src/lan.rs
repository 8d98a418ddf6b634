//! Whether the dashboard shows itself on the local network, with what, and where it does.
//!
//! Holds the person's choices and the password, and says what is wanted; who opens the listeners
//! says where they stand. Opens no socket itself.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, watch};

use crate::{
    fault::{Fault, FaultKind, Outcome},
    keep::{self, Keep, Shelf},
    password::PasswordHash,
    tls::Tls,
};

/// Which of the machine's own addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LanAt {
    /// Every address of a local network.
    All,
    /// The same, IPv4 only.
    AllV4,
    /// This one, as soon as the machine has it.
    One(IpAddr),
}

/// What the settings file says of the dashboard on the network; it wins over what is chosen.
#[derive(Clone, Default)]
pub struct LanConfig {
    /// Where to listen.
    pub at: Option<LanAt>,
    /// Whether to encrypt.
    pub tls: Option<bool>,
    /// Whether to answer to `waymeet.local`.
    pub local_name: Option<bool>,
    /// Whether the API answers there too.
    pub api: bool,
    /// The password.
    pub password: Option<PasswordHash>,
}

/// What shall be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LanWanted {
    /// Where to listen; `None` for nowhere.
    pub at: Option<LanAt>,
    /// Whether connections are encrypted. Listeners have to be opened anew when it changes.
    pub tls: bool,
    /// Whether to answer to `waymeet.local`.
    pub local_name: bool,
}

/// What is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LanStatus {
    /// Where it listens.
    pub addrs: Vec<SocketAddr>,
    /// The name that it answers to, such as `waymeet.local`.
    pub name: Option<String>,
    /// What is in the way.
    pub trouble: Option<String>,
}

/// The person's choices, as they are kept.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Choices {
    lan: bool,
    tls: bool,
    local_name: bool,
}

/// A change of these; what is left out stays.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Change {
    pub(crate) lan: Option<bool>,
    pub(crate) tls: Option<bool>,
    pub(crate) local_name: Option<bool>,
}

/// A switch: whether it's on, and whether the settings file decides it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Switch {
    pub(crate) on: bool,
    pub(crate) fixed: bool,
}

/// The whole in one look.
pub(crate) struct LanView {
    pub(crate) lan: Switch,
    pub(crate) tls: Switch,
    pub(crate) local_name: Switch,
    /// Whether there is a password, and whether the settings file names it.
    pub(crate) password: Switch,
    /// Whether the API answers there.
    pub(crate) api: bool,
    /// What to type at another device.
    pub(crate) urls: Vec<String>,
    pub(crate) fingerprint: Option<String>,
    pub(crate) trouble: Option<String>,
}

struct State {
    choices: Choices,
    password: Option<PasswordHash>,
    tls: Option<Tls>,
    tls_trouble: Option<String>,
    status: LanStatus,
}

/// All of it.
pub(crate) struct Lan {
    config: LanConfig,
    keep: Keep,
    port: u16,
    state: Mutex<State>,
    wanted: watch::Sender<LanWanted>,
    /// One password is hashed at a time: that takes memory, which strangers could multiply.
    hashing: Arc<Semaphore>,
}

impl Lan {
    pub(crate) fn open(
        keep: Keep,
        kept: Option<PasswordHash>,
        config: LanConfig,
        port: u16,
    ) -> Self {
        let state = State {
            choices: keep.load_or(Shelf::Choices, || {
                tracing::warn!("what was chosen for the dashboard is lost: it is off the network, and encrypted there");
                Choices {
                    tls: true,
                    ..Choices::default()
                }
            }),
            password: config.password.clone().or(kept),
            tls: None,
            tls_trouble: None,
            status: LanStatus::default(),
        };
        let lan = Self {
            config,
            keep,
            port,
            state: Mutex::new(state),
            wanted: watch::Sender::default(),
            hashing: Arc::new(Semaphore::new(1)),
        };
        lan.follow();
        lan
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wanted(&self) -> watch::Receiver<LanWanted> {
        self.wanted.subscribe()
    }

    /// Says where it listens now.
    pub(crate) fn told(&self, status: LanStatus) {
        self.lock().status = status;
    }

    /// The name that is ours on the network.
    pub(crate) fn name(&self) -> Option<String> {
        self.lock().status.name.clone()
    }

    /// Whether the API answers on the network.
    pub(crate) const fn has_api(&self) -> bool {
        self.config.api
    }

    /// The certificate, where connections on the network are encrypted.
    pub(crate) fn tls(&self) -> Option<Tls> {
        let state = self.lock();
        self.tls_wanted(&state).then(|| state.tls.clone()).flatten()
    }

    fn tls_wanted(&self, state: &State) -> bool {
        self.config.tls.unwrap_or(state.choices.tls)
    }

    /// Makes known what is wanted, after something changed.
    fn follow(&self) {
        let mut state = self.lock();
        let at = self.config.at.or(state.choices.lan.then_some(LanAt::All));
        let tls = self.tls_wanted(&state);
        if at.is_some() && tls && state.tls.is_none() {
            match Tls::open(&self.keep) {
                Ok(opened) => (state.tls, state.tls_trouble) = (Some(opened), None),
                Err(error) => {
                    tracing::error!(%error, "the dashboard can't be encrypted");
                    state.tls_trouble = Some(error.to_string());
                }
            }
        }
        // Rather nowhere than without what protects it.
        let is_safe = state.password.is_some() && (!tls || state.tls.is_some());
        let wanted = LanWanted {
            at: at.filter(|_| is_safe),
            tls,
            local_name: self.config.local_name.unwrap_or(state.choices.local_name),
        };
        drop(state);
        self.wanted.send_if_modified(|current| {
            let differs = *current != wanted;
            *current = wanted;
            differs
        });
    }

    /// Changes what is chosen.
    pub(crate) fn change(&self, change: Change) -> Outcome<()> {
        {
            let mut state = self.lock();
            let mut choices = state.choices.clone();
            let fixed_by = |name: &str| {
                Fault::new(
                    FaultKind::Conflict,
                    format!(
                        "the settings file sets `{name}` in [dashboard], which wins: change it there"
                    ),
                )
            };
            if let Some(on) = change.lan {
                if self.config.at.is_some() {
                    return Err(fixed_by("listen"));
                }
                if on && state.password.is_none() {
                    return Err(no_password());
                }
                choices.lan = on;
            }
            if let Some(on) = change.tls {
                if self.config.tls.is_some() {
                    return Err(fixed_by("tls"));
                }
                choices.tls = on;
            }
            if let Some(on) = change.local_name {
                if self.config.local_name.is_some() {
                    return Err(fixed_by("local_name"));
                }
                choices.local_name = on;
            }
            self.keep.save(Shelf::Choices, &choices).map_err(not_kept)?;
            state.choices = choices;
        }
        self.follow();
        Ok(())
    }

    /// Takes a new password.
    pub(crate) async fn set_password(&self, password: String) -> Outcome<()> {
        if self.config.password.is_some() {
            return Err(Fault::new(
                FaultKind::Conflict,
                "the settings file sets `password_file` in [dashboard], which wins: change it there",
            ));
        }
        let hashed = self.hash(move || PasswordHash::of(&password)).await?;
        let hash = hashed.map_err(|error| Fault::field("password", error.to_string()))?;
        keep::keep_password(self.keep.dir(), &hash).map_err(not_kept)?;
        self.lock().password = Some(hash);
        self.follow();
        Ok(())
    }

    /// Whether this is the password.
    pub(crate) async fn is_password(&self, password: String) -> Outcome<bool> {
        let Some(hash) = self.lock().password.clone() else {
            return Ok(false);
        };
        let tried = hash.clone();
        let is = self.hash(move || tried.is(&password)).await?;
        // Meanwhile another may have been set.
        let now = self.lock().password.clone();
        Ok(is && now.is_some_and(|now| now.reveal() == hash.reveal()))
    }

    async fn hash<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Outcome<T> {
        let turn = self.hashing.clone().acquire_owned().await;
        let turn = turn.map_err(|_| Fault::internal())?;
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        done.await.map_err(|_| Fault::internal())
    }

    pub(crate) fn view(&self) -> LanView {
        let state = self.lock();
        let tls = self.tls_wanted(&state);
        let listens = !state.status.addrs.is_empty();
        let on = self.config.at.is_some() || state.choices.lan;
        let trouble = if !on {
            None
        } else if state.password.is_none() {
            Some("there is no password; set one with `waymeet password`".to_owned())
        } else {
            state
                .tls_trouble
                .clone()
                .filter(|_| tls)
                .or(state.status.trouble.clone())
        };
        let switch = |fixed: bool, on: bool| Switch { on, fixed };
        LanView {
            lan: switch(self.config.at.is_some(), on),
            tls: switch(self.config.tls.is_some(), tls),
            local_name: switch(
                self.config.local_name.is_some(),
                self.config.local_name.unwrap_or(state.choices.local_name),
            ),
            password: switch(self.config.password.is_some(), state.password.is_some()),
            api: self.config.api,
            urls: self.urls(&state, tls),
            fingerprint: state
                .tls
                .as_ref()
                .filter(|_| tls && listens)
                .map(|tls| tls.fingerprint.clone()),
            trouble,
        }
    }

    /// What to type, the addresses first.
    fn urls(&self, state: &State, tls: bool) -> Vec<String> {
        let scheme = if tls { "https" } else { "http" };
        let addrs = state.status.addrs.iter();
        let addrs = addrs.map(|addr| format!("{scheme}://{addr}"));
        let name = state.status.name.iter();
        addrs
            .chain(name.map(|name| format!("{scheme}://{name}:{}", self.port)))
            .collect()
    }
}

fn not_kept(error: io::Error) -> Fault {
    tracing::error!(%error, "a choice of the dashboard wasn't kept");
    Fault::new(
        FaultKind::Storage,
        "this can't be kept on the disk; the node's log says why",
    )
}

fn no_password() -> Fault {
    Fault::new(
        FaultKind::Conflict,
        "the dashboard is shown on the network only with a password: set one first, here or with `waymeet password`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &tempfile::TempDir, config: LanConfig) -> Lan {
        let kept = keep::kept_password(dir.path()).unwrap();
        Lan::open(Keep::new(dir.path()), kept, config, 7340)
    }

    fn on() -> Change {
        Change {
            lan: Some(true),
            ..Change::default()
        }
    }

    #[tokio::test]
    async fn nothing_listens_without_a_password_and_choices_stay() {
        let dir = tempfile::tempdir().unwrap();
        let lan = open(&dir, LanConfig::default());
        assert_eq!(lan.change(on()).unwrap_err().kind, FaultKind::Conflict);
        assert_eq!(*lan.wanted().borrow(), LanWanted::default());
        assert!(!lan.is_password(String::new()).await.unwrap());
        lan.set_password("correct horse".into()).await.unwrap();
        lan.change(on()).unwrap();
        assert_eq!(lan.wanted().borrow().at, Some(LanAt::All));

        let again = open(&dir, LanConfig::default());
        assert_eq!(again.wanted().borrow().at, Some(LanAt::All));
        assert!(again.is_password("correct horse".into()).await.unwrap());
        assert!(!again.is_password("wrong horse".into()).await.unwrap());
        std::fs::remove_file(dir.path().join("dashboard-password")).unwrap();
        let bare = open(&dir, LanConfig::default());
        assert_eq!(bare.wanted().borrow().at, None);
        assert!(bare.view().trouble.is_some());
    }

    #[tokio::test]
    async fn the_settings_file_wins_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let config = LanConfig {
            at: Some(LanAt::AllV4),
            tls: Some(false),
            local_name: Some(true),
            api: false,
            password: Some(PasswordHash::of("correct horse").unwrap()),
        };
        let lan = open(&dir, config);
        let wanted = lan.wanted().borrow().clone();
        assert_eq!((wanted.at, wanted.local_name), (Some(LanAt::AllV4), true));
        let none = Change::default();
        for change in [
            on(),
            Change {
                tls: Some(true),
                ..none
            },
            Change {
                local_name: Some(false),
                ..none
            },
        ] {
            assert_eq!(lan.change(change).unwrap_err().kind, FaultKind::Conflict);
        }
        let refused = lan.set_password("another horse".into()).await;
        assert_eq!(refused.unwrap_err().kind, FaultKind::Conflict);
    }

    #[test]
    fn lost_choices_dont_switch_encryption_off() {
        let dir = tempfile::tempdir().unwrap();
        let choices = dir.path().join("dashboard-choices");
        assert!(!open(&dir, LanConfig::default()).view().tls.on);
        for damaged in ["", "{\"tls\":", "[]x"] {
            std::fs::write(&choices, damaged).unwrap();
            let view = open(&dir, LanConfig::default()).view();
            assert!(view.tls.on && !view.lan.on, "{damaged}");
        }
        std::fs::remove_file(&choices).unwrap();
        std::fs::create_dir(&choices).unwrap();
        assert!(open(&dir, LanConfig::default()).view().tls.on, "unreadable");
    }

    #[tokio::test]
    async fn what_cant_be_encrypted_is_not_shown_in_the_clear() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("dashboard-tls-key"), "no key").unwrap();
        std::fs::write(dir.path().join("dashboard-tls-certificate"), "none").unwrap();
        let lan = open(&dir, LanConfig::default());
        lan.set_password("correct horse".into()).await.unwrap();
        lan.change(Change {
            tls: Some(true),
            ..on()
        })
        .unwrap();
        assert_eq!(lan.wanted().borrow().at, None);
        assert!(lan.view().trouble.unwrap().contains("certificate"));
    }
}
