//! Who is signed in to the dashboard, and the single-use links by which one signs in.
//!
//! Lives in memory only: a restart of the node signs everybody out. Knows neither HTTP nor the
//! clock; times are arguments.

use std::collections::VecDeque;

use engine::Millis;

use crate::{
    limits::{
        AGENT_CHARS_MAX, SESSION_IDLE_MS_MAX, SESSIONS_MAX, SIGN_IN_LINKS_MAX, SIGN_IN_MS_MAX,
    },
    secret::{Secret, SecretHash},
};

/// A signed-in browser.
#[derive(Clone)]
pub(crate) struct Session {
    id: SecretHash,
    /// Stands in every form of this session.
    pub(crate) form_token: String,
    /// When it began.
    pub(crate) since: Millis,
    /// Its last request.
    pub(crate) seen: Millis,
    /// What the browser says it is.
    pub(crate) agent: String,
}

impl Session {
    /// A name for it that opens nothing.
    pub(crate) fn name(&self) -> String {
        self.id.short()
    }

    /// Whether a form came from a page of this session.
    pub(crate) fn accepts_form(&self, token: &str) -> bool {
        SecretHash::of(&self.form_token).is(token)
    }
}

/// All sessions.
#[derive(Default)]
pub(crate) struct Sessions(Vec<Session>);

impl Sessions {
    /// Begins a session and gives the secret for its cookie.
    pub(crate) fn begin(&mut self, agent: &str, now: Millis) -> Option<Secret> {
        let (id, form_token) = (Secret::draw()?, Secret::draw()?);
        self.drop_idle(now);
        while self.0.len() >= SESSIONS_MAX {
            let oldest = self
                .0
                .iter()
                .enumerate()
                .min_by_key(|(_, session)| session.seen)
                .map(|(at, _)| at)?;
            self.0.swap_remove(oldest);
        }
        self.0.push(Session {
            id: id.hash(),
            form_token: form_token.reveal().to_owned(),
            since: now,
            seen: now,
            agent: agent.chars().take(AGENT_CHARS_MAX).collect(),
        });
        Some(id)
    }

    /// The session of a cookie.
    pub(crate) fn find(&mut self, cookie: &str, now: Millis) -> Option<Session> {
        self.drop_idle(now);
        let id = SecretHash::of(cookie);
        let session = self.0.iter_mut().find(|session| session.id == id)?;
        session.seen = now;
        Some(session.clone())
    }

    /// Ends one by its name; false when there is none.
    pub(crate) fn end(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|session| session.name() != name);
        self.0.len() < before
    }

    /// All, the latest used first.
    pub(crate) fn list(&self) -> Vec<Session> {
        let mut list = self.0.clone();
        list.sort_by_key(|session| std::cmp::Reverse(session.seen));
        list
    }

    fn drop_idle(&mut self, now: Millis) {
        self.0
            .retain(|session| now.since(session.seen) < SESSION_IDLE_MS_MAX);
    }
}

/// Sign-in links that nobody has used yet.
#[derive(Default)]
pub(crate) struct SignInLinks(VecDeque<(SecretHash, Millis)>);

impl SignInLinks {
    /// Makes the secret of a new link, and says when it ends.
    pub(crate) fn issue(&mut self, now: Millis) -> Option<(Secret, Millis)> {
        let secret = Secret::draw()?;
        let expires = now.plus(SIGN_IN_MS_MAX);
        while self.0.len() >= SIGN_IN_LINKS_MAX {
            self.0.pop_front();
        }
        self.0.push_back((secret.hash(), expires));
        Some((secret, expires))
    }

    /// Whether the link could be used now. Changes nothing, so that a preview doesn't use it up.
    pub(crate) fn is_good(&self, secret: &str, now: Millis) -> bool {
        self.position(secret, now).is_some()
    }

    /// Uses the link up. Of two who try, one gets true.
    pub(crate) fn redeem(&mut self, secret: &str, now: Millis) -> bool {
        match self.position(secret, now) {
            Some(at) => self.0.remove(at).is_some(),
            None => false,
        }
    }

    fn position(&self, secret: &str, now: Millis) -> Option<usize> {
        let hash = SecretHash::of(secret);
        // A clock that was set back must not make a link live longer than it may.
        let may_live = |expires: &Millis| *expires > now && expires.since(now) <= SIGN_IN_MS_MAX;
        self.0
            .iter()
            .position(|(candidate, expires)| *candidate == hash && may_live(expires))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_800_000_000_000);

    #[test]
    fn a_link_signs_in_once_and_only_in_time() {
        let mut links = SignInLinks::default();
        let (secret, expires) = links.issue(NOW).unwrap();
        assert_eq!(expires, NOW.plus(SIGN_IN_MS_MAX));
        assert!(links.is_good(secret.reveal(), NOW));
        assert!(
            links.is_good(secret.reveal(), NOW),
            "looking doesn't use it up"
        );
        assert!(!links.redeem("", NOW));
        assert!(links.redeem(secret.reveal(), NOW));
        assert!(!links.redeem(secret.reveal(), NOW));

        let (late, _) = links.issue(NOW).unwrap();
        assert!(!links.redeem(late.reveal(), NOW.plus(SIGN_IN_MS_MAX)));
        assert!(
            !links.redeem(late.reveal(), Millis(NOW.0 - 1)),
            "the clock was set back"
        );
    }

    #[test]
    fn links_are_bounded_and_the_oldest_goes() {
        let mut links = SignInLinks::default();
        let (first, _) = links.issue(NOW).unwrap();
        let rest: Vec<_> = (0..SIGN_IN_LINKS_MAX)
            .map(|_| links.issue(NOW).unwrap().0)
            .collect();
        assert!(!links.redeem(first.reveal(), NOW));
        assert!(rest.iter().all(|secret| links.redeem(secret.reveal(), NOW)));
    }

    #[test]
    fn a_session_ends_by_name_by_idleness_and_by_too_many_others() {
        let mut sessions = Sessions::default();
        let cookie = sessions.begin("browser", NOW).unwrap();
        let session = sessions.find(cookie.reveal(), NOW).unwrap();
        assert!(session.accepts_form(&session.form_token));
        assert!(!session.accepts_form(""));
        assert!(!session.accepts_form(cookie.reveal()));
        assert!(sessions.end(&session.name()));
        assert!(sessions.find(cookie.reveal(), NOW).is_none());
        assert!(!sessions.end(&session.name()));

        let idle = sessions.begin("browser", NOW).unwrap();
        assert!(
            sessions
                .find(idle.reveal(), NOW.plus(SESSION_IDLE_MS_MAX))
                .is_none()
        );

        let first = sessions.begin("browser", NOW).unwrap();
        for n in 1..=SESSIONS_MAX as u64 {
            sessions.begin(&"x".repeat(1_000), NOW.plus(n)).unwrap();
        }
        assert_eq!(sessions.list().len(), SESSIONS_MAX);
        assert!(sessions.find(first.reveal(), NOW).is_none());
        assert_eq!(sessions.list()[0].agent.len(), AGENT_CHARS_MAX);
    }
}
