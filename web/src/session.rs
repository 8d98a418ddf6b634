//! Who is signed in to the dashboard, and the single-use links by which one signs in.
//!
//! Sessions are written down by whoever holds them, so that a restart signs nobody out: of a
//! session's secret only its hash is there, and the token of its forms follows from the secret. Links
//! live in memory. Knows neither HTTP nor the clock nor files; times are arguments.

use std::{collections::VecDeque, net::IpAddr};

use engine::Millis;
use serde::{Deserialize, Serialize};

use crate::{
    limits::{
        AGENT_CHARS_MAX, CLOCK_EARLIEST_MS, SESSION_IDLE_MS_MAX, SESSION_WRITE_EVERY_MS,
        SESSIONS_MAX, SIGN_IN_LINKS_MAX, SIGN_IN_MS_MAX,
    },
    secret::{Secret, SecretHash},
    visit::{Place, Visit},
};

/// A signed-in browser, as its requests see it.
#[derive(Clone)]
pub(crate) struct Session {
    name: String,
    /// Stands in every form of this session.
    pub(crate) form_token: String,
}

impl Session {
    /// A name for it that opens nothing.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether a form came from a page of this session.
    pub(crate) fn accepts_form(&self, token: &str) -> bool {
        SecretHash::of(&self.form_token).is(token)
    }
}

/// A signed-in browser, as it is listed and written down.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Listed {
    /// The hash of the cookie's secret.
    id: String,
    /// What it is bound to.
    pub(crate) place: Place,
    /// From where it was last used; `None` for this machine.
    pub(crate) from: Option<IpAddr>,
    /// When it began.
    pub(crate) since_ms: u64,
    /// Its last request.
    pub(crate) seen_ms: u64,
    /// When it was last written down.
    #[serde(skip)]
    written_ms: u64,
    /// What the browser says it is.
    pub(crate) agent: String,
}

impl Listed {
    /// A name for it that opens nothing.
    pub(crate) fn name(&self) -> String {
        self.id.chars().take(8).collect()
    }

    fn saw(&mut self, visit: Visit, now: Millis) {
        // A small computer begins its day in 1970 until somebody tells it the time.
        self.seen_ms = self.seen_ms.max(now.0);
        self.from = (!visit.is_here()).then_some(visit.from);
    }
}

/// All sessions.
#[derive(Default, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Sessions(Vec<Listed>);

impl Sessions {
    /// Begins a session and gives the secret for its cookie.
    pub(crate) fn begin(&mut self, agent: &str, visit: Visit, now: Millis) -> Option<Secret> {
        let id = Secret::draw()?;
        self.drop_idle(now);
        while self.0.len() >= SESSIONS_MAX {
            let oldest = self
                .0
                .iter()
                .enumerate()
                .min_by_key(|(_, session)| session.seen_ms)
                .map(|(at, _)| at)?;
            self.0.swap_remove(oldest);
        }
        let mut session = Listed {
            id: id.hash().text(),
            place: visit.place(),
            from: None,
            since_ms: now.0,
            seen_ms: now.0,
            written_ms: now.0,
            agent: agent.chars().take(AGENT_CHARS_MAX).collect(),
        };
        session.saw(visit, now);
        self.0.push(session);
        Some(id)
    }

    /// The session of a cookie that came by this way, and whether it is time to write all down.
    pub(crate) fn find(
        &mut self,
        cookie: &str,
        visit: Visit,
        now: Millis,
    ) -> Option<(Session, bool)> {
        self.drop_idle(now);
        let id = SecretHash::of(cookie);
        let mut all = self.0.iter_mut();
        let session = all.find(|session| id.is_text(&session.id))?;
        if session.place != visit.place() {
            return None;
        }
        session.saw(visit, now);
        let due = now.since(Millis(session.written_ms)) >= SESSION_WRITE_EVERY_MS;
        if due {
            session.written_ms = now.0;
        }
        let found = Session {
            name: session.name(),
            form_token: Secret::derived(cookie, "waymeet dashboard form token"),
        };
        Some((found, due))
    }

    /// Whether there is one of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|session| session.name() == name)
    }

    /// Ends one by its name; false when there is none.
    pub(crate) fn end(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|session| session.name() != name);
        self.0.len() < before
    }

    /// Ends all that came over the network.
    pub(crate) fn end_remote(&mut self) {
        self.0.retain(|session| session.place == Place::Here);
    }

    /// All, the latest used first.
    pub(crate) fn list(&self) -> Vec<Listed> {
        let mut list = self.0.clone();
        list.sort_by_key(|session| std::cmp::Reverse(session.seen_ms));
        list
    }

    /// What was written down, within the bounds of today.
    pub(crate) fn revived(mut self, now: Millis) -> Self {
        self.drop_idle(now);
        self.0.truncate(SESSIONS_MAX);
        self
    }

    fn drop_idle(&mut self, now: Millis) {
        for session in &mut self.0 {
            // Seen by a clock that nobody had set: how long ago isn't known, so it counts from now.
            if session.seen_ms < CLOCK_EARLIEST_MS {
                session.seen_ms = session.seen_ms.max(now.0);
            }
        }
        self.0
            .retain(|session| now.since(Millis(session.seen_ms)) < SESSION_IDLE_MS_MAX);
    }
}

struct Link {
    hash: SecretHash,
    expires: Millis,
    place: Place,
    /// The whole link, where a page shows it as a picture.
    shown: Option<String>,
}

impl Link {
    // A clock that was set back must not make a link live longer than it may.
    fn lives(&self, now: Millis) -> bool {
        self.expires > now && self.expires.since(now) <= SIGN_IN_MS_MAX
    }
}

/// Sign-in links that nobody has used yet.
#[derive(Default)]
pub(crate) struct SignInLinks(VecDeque<Link>);

impl SignInLinks {
    /// Drops all that are for the network.
    pub(crate) fn drop_remote(&mut self) {
        self.0.retain(|link| link.place == Place::Here);
    }

    /// Makes the secret of a new link that is good for those who come this way, and says when it ends.
    pub(crate) fn issue(&mut self, place: Place, now: Millis) -> Option<(Secret, Millis)> {
        let secret = Secret::draw()?;
        let expires = now.plus(SIGN_IN_MS_MAX);
        while self.0.len() >= SIGN_IN_LINKS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Link {
            hash: secret.hash(),
            expires,
            place,
            shown: None,
        });
        Some((secret, expires))
    }

    /// Keeps the whole link until it is used, so that a page can show it. Gives the link's name.
    pub(crate) fn show(&mut self, secret: &Secret, whole: String) -> String {
        let hash = secret.hash();
        if let Some(link) = self.0.iter_mut().find(|link| link.hash == hash) {
            link.shown = Some(whole);
        }
        hash.short()
    }

    /// A link that is shown and that nobody has used yet, and when it ends.
    pub(crate) fn shown(&self, name: &str, now: Millis) -> Option<(&str, Millis)> {
        let link = self.0.iter().find(|link| link.hash.short() == name)?;
        let whole = link.shown.as_deref()?;
        link.lives(now).then_some((whole, link.expires))
    }

    /// Whether the link could be used now. Changes nothing, so that a preview doesn't use it up.
    pub(crate) fn is_good(&self, secret: &str, place: Place, now: Millis) -> bool {
        self.position(secret, place, now).is_some()
    }

    /// Uses the link up. Of two who try, one gets true.
    pub(crate) fn redeem(&mut self, secret: &str, place: Place, now: Millis) -> bool {
        match self.position(secret, place, now) {
            Some(at) => self.0.remove(at).is_some(),
            None => false,
        }
    }

    fn position(&self, secret: &str, place: Place, now: Millis) -> Option<usize> {
        let hash = SecretHash::of(secret);
        self.0
            .iter()
            .position(|link| link.hash == hash && link.place == place && link.lives(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_800_000_000_000);

    #[test]
    fn a_link_signs_in_once_and_only_in_time() {
        let mut links = SignInLinks::default();
        let (secret, expires) = links.issue(Place::Here, NOW).unwrap();
        assert_eq!(expires, NOW.plus(SIGN_IN_MS_MAX));
        assert!(links.is_good(secret.reveal(), Place::Here, NOW));
        assert!(
            links.is_good(secret.reveal(), Place::Here, NOW),
            "looking doesn't use it up"
        );
        assert!(!links.redeem("", Place::Here, NOW));
        assert!(links.redeem(secret.reveal(), Place::Here, NOW));
        assert!(!links.redeem(secret.reveal(), Place::Here, NOW));

        let (late, _) = links.issue(Place::Here, NOW).unwrap();
        assert!(!links.redeem(late.reveal(), Place::Here, NOW.plus(SIGN_IN_MS_MAX)));
        assert!(
            !links.redeem(late.reveal(), Place::Here, Millis(NOW.0 - 1)),
            "the clock was set back"
        );
    }

    #[test]
    fn links_are_bounded_and_the_oldest_goes() {
        let mut links = SignInLinks::default();
        let (first, _) = links.issue(Place::Here, NOW).unwrap();
        let rest: Vec<_> = (0..SIGN_IN_LINKS_MAX)
            .map(|_| links.issue(Place::Here, NOW).unwrap().0)
            .collect();
        assert!(!links.redeem(first.reveal(), Place::Here, NOW));
        assert!(
            rest.iter()
                .all(|secret| links.redeem(secret.reveal(), Place::Here, NOW))
        );
    }

    #[test]
    fn a_link_for_the_network_opens_nothing_here_and_is_shown_until_it_is_used() {
        let mut links = SignInLinks::default();
        let (secret, _) = links.issue(Place::Lan, NOW).unwrap();
        let name = links.show(&secret, "http://10.1.0.1/".into());
        assert_eq!(links.shown(&name, NOW).unwrap().0, "http://10.1.0.1/");
        assert!(links.shown("", NOW).is_none());
        assert!(links.shown(&name, NOW.plus(SIGN_IN_MS_MAX)).is_none());
        for other in [Place::Here, Place::LanTls] {
            assert!(!links.redeem(secret.reveal(), other, NOW));
        }
        assert!(links.redeem(secret.reveal(), Place::Lan, NOW));
        assert!(links.shown(&name, NOW).is_none());

        let mut issue = |place| links.issue(place, NOW).unwrap().0;
        let (here, plain, tls) = (issue(Place::Here), issue(Place::Lan), issue(Place::LanTls));
        links.drop_remote();
        assert!(!links.redeem(plain.reveal(), Place::Lan, NOW));
        assert!(!links.redeem(tls.reveal(), Place::LanTls, NOW));
        assert!(links.redeem(here.reveal(), Place::Here, NOW));
    }

    fn visit(tls: bool) -> Visit {
        Visit {
            door: crate::visit::Door::Lan {
                at: "10.1.0.1:7340".parse().unwrap(),
                tls,
            },
            from: "10.1.0.9".parse().unwrap(),
        }
    }

    #[test]
    fn a_session_ends_by_name_by_idleness_and_by_too_many_others() {
        let here = Visit::here();
        let mut sessions = Sessions::default();
        let cookie = sessions.begin("browser", here, NOW).unwrap();
        let (session, _) = sessions.find(cookie.reveal(), here, NOW).unwrap();
        assert!(session.accepts_form(&session.form_token));
        assert!(!session.accepts_form(""));
        assert!(!session.accepts_form(cookie.reveal()));
        assert!(sessions.end(session.name()));
        assert!(sessions.find(cookie.reveal(), here, NOW).is_none());
        assert!(!sessions.end(session.name()));

        let idle = sessions.begin("browser", here, NOW).unwrap();
        assert!(
            sessions
                .find(idle.reveal(), here, NOW.plus(SESSION_IDLE_MS_MAX))
                .is_none()
        );

        let first = sessions.begin("browser", here, NOW).unwrap();
        for n in 1..=SESSIONS_MAX as u64 {
            sessions
                .begin(&"x".repeat(1_000), here, NOW.plus(n))
                .unwrap();
        }
        assert_eq!(sessions.list().len(), SESSIONS_MAX);
        assert!(sessions.find(first.reveal(), here, NOW).is_none());
        assert_eq!(sessions.list()[0].agent.len(), AGENT_CHARS_MAX);
    }

    #[test]
    fn a_clock_that_is_set_signs_nobody_out() {
        let here = Visit::here();
        let mut sessions = Sessions::default();
        let cookie = sessions.begin("browser", here, Millis(5_000)).unwrap();
        assert!(sessions.find(cookie.reveal(), here, NOW).is_some());
        let idle = NOW.plus(SESSION_IDLE_MS_MAX);
        assert!(sessions.find(cookie.reveal(), here, idle).is_none());
    }

    #[test]
    fn a_session_counts_only_by_the_way_it_began_and_what_is_written_opens_nothing() {
        let mut sessions = Sessions::default();
        let plain = sessions.begin("phone", visit(false), NOW).unwrap();
        let here = sessions.begin("desk", Visit::here(), NOW).unwrap();
        assert!(sessions.find(plain.reveal(), Visit::here(), NOW).is_none());
        assert!(sessions.find(plain.reveal(), visit(true), NOW).is_none());
        let (found, due) = sessions.find(plain.reveal(), visit(false), NOW).unwrap();
        assert!(!due);

        let written = serde_json::to_string(&sessions).unwrap();
        for secret in [plain.reveal(), here.reveal(), &found.form_token] {
            assert!(!written.contains(secret));
        }
        let read: Sessions = serde_json::from_str(&written).unwrap();
        let mut revived = read.revived(NOW.plus(1));
        let (again, _) = revived.find(plain.reveal(), visit(false), NOW).unwrap();
        assert!(again.accepts_form(&found.form_token));
        let listed = &revived.list()[0];
        assert_eq!(listed.from, Some("10.1.0.9".parse().unwrap()));
        revived.end_remote();
        assert!(revived.find(plain.reveal(), visit(false), NOW).is_none());
        assert!(revived.find(here.reveal(), Visit::here(), NOW).is_some());
    }
}
