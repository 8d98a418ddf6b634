//! People, contacts and invites.

use engine::view;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Behind, Connection, Exchanged, LinkKind};

/// How sure we are that a contact's key is theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Trust {
    /// Added by a link; nobody compared anything.
    Unverified,
    /// A mutual contact introduced us.
    Introduced,
    /// Words compared.
    Words,
    /// Met face to face.
    Verified,
}

impl From<view::Trust> for Trust {
    fn from(trust: view::Trust) -> Self {
        match trust {
            view::Trust::Unverified => Self::Unverified,
            view::Trust::Introduced => Self::Introduced,
            view::Trust::Words => Self::Words,
            view::Trust::Verified => Self::Verified,
        }
    }
}

impl From<Trust> for view::Trust {
    fn from(trust: Trust) -> Self {
        match trust {
            Trust::Unverified => Self::Unverified,
            Trust::Introduced => Self::Introduced,
            Trust::Words => Self::Words,
            Trust::Verified => Self::Verified,
        }
    }
}

/// What a person is to this node.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Relation {
    /// This node's own identity.
    Own,
    /// A contact.
    Contact,
    /// Somebody who was let in by others.
    Stranger,
}

/// A person.
#[derive(Serialize, ToSchema)]
pub(crate) struct Person {
    /// The identity key, the same on every node.
    pub(crate) id: String,
    /// Our nickname for them, else the name that they gave themselves.
    pub(crate) name: String,
    /// The name that they gave themselves, when a nickname hides it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) own_name: Option<String>,
    /// What they are to us.
    pub(crate) relation: Relation,
    /// How far we trust a contact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trust: Option<Trust>,
}

impl From<view::Person> for Person {
    fn from(person: view::Person) -> Self {
        let (relation, trust) = match person.relation {
            view::Relation::Own => (Relation::Own, None),
            view::Relation::Contact(trust) => (Relation::Contact, Some(trust.into())),
            view::Relation::Stranger => (Relation::Stranger, None),
        };
        Self {
            id: person.id.to_string(),
            name: person.name,
            own_name: person.own_name,
            relation,
            trust,
        }
    }
}

/// A link by which somebody becomes a contact.
#[derive(Serialize, ToSchema)]
pub(crate) struct Invite {
    /// Its local id.
    pub(crate) id: String,
    /// The link itself. Whoever has it can use it.
    pub(crate) link: String,
    /// When it ends.
    pub(crate) expires_ms: u64,
    /// When it was made.
    pub(crate) created_ms: u64,
    /// Uses allowed; with more than one, each person needs an accept.
    pub(crate) uses: u32,
    /// Uses so far.
    pub(crate) used: u32,
    /// A note to ourselves.
    pub(crate) note: String,
    /// Who used it.
    pub(crate) used_by: Vec<Person>,
    /// Somebody tried it again after its last use.
    pub(crate) tried_again: bool,
    /// It works on this network only, because the internet link is off.
    pub(crate) local_only: bool,
}

impl From<view::Invite> for Invite {
    fn from(invite: view::Invite) -> Self {
        Self {
            id: invite.id,
            link: invite.link,
            expires_ms: invite.expires_ms.0,
            created_ms: invite.created_ms.0,
            uses: invite.uses,
            used: invite.used,
            note: invite.note,
            used_by: invite.used_by.into_iter().map(Person::from).collect(),
            tried_again: invite.tried_again,
            local_only: invite.local_only,
        }
    }
}

/// How far a contact is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ContactState {
    /// We used their link and wait for their answer.
    Pending,
    /// They used our link and wait for our answer.
    Asks,
    /// A contact.
    Ready,
}

/// Bytes on the disk that came in through a contact's devices, whoever wrote them.
#[derive(Serialize, ToSchema)]
pub(crate) struct Quota {
    /// How many came in since they are counted, without spaces that were left.
    pub(crate) used_bytes: u64,
    /// How many may.
    pub(crate) limit_bytes: u64,
    /// Nothing more is taken from them but private messages.
    pub(crate) used_up: bool,
    /// What to do where it is used up.
    pub(crate) advice: Option<String>,
}

impl Quota {
    fn of(quota: view::Quota) -> Self {
        Self {
            used_bytes: quota.used_bytes,
            limit_bytes: quota.limit_bytes,
            used_up: quota.is_used_up(),
            advice: quota.is_used_up().then(|| QUOTA_ADVICE.to_owned()),
        }
    }
}

/// What to do where a contact's quota is used up.
pub(crate) const QUOTA_ADVICE: &str = "nothing more is taken from this contact but private messages: raise the limit, leave a space that came through them, or remove the contact";

/// A contact.
#[derive(Serialize, ToSchema)]
pub(crate) struct Contact {
    /// The identity key.
    pub(crate) id: String,
    /// The name that they gave themselves.
    pub(crate) name: String,
    /// Our private name for them.
    pub(crate) nickname: Option<String>,
    /// How sure we are.
    pub(crate) trust: Trust,
    /// Who introduced them, as long as nobody has compared anything since.
    pub(crate) introduced_by: Option<Person>,
    /// How far it is.
    pub(crate) state: ContactState,
    /// Connected now.
    pub(crate) online: bool,
    /// The link in use, or that of the last meeting.
    pub(crate) link: Option<LinkKind>,
    /// Round trip in microseconds, when online.
    pub(crate) rtt_us: Option<u64>,
    /// The connection, when online.
    pub(crate) connection: Option<Connection>,
    /// The last meeting.
    pub(crate) last_met_ms: Option<u64>,
    /// When they were added.
    pub(crate) added_ms: u64,
    /// How far behind them we are.
    pub(crate) behind: Behind,
    /// What went to and fro since the program began.
    pub(crate) exchanged: Exchanged,
    /// What came in through them, and how much may.
    pub(crate) quota: Quota,
    /// Another contact bears this name.
    pub(crate) same_name: bool,
    /// Why the last attempt to reach them failed.
    pub(crate) last_error: Option<String>,
}

impl From<view::Contact> for Contact {
    fn from(contact: view::Contact) -> Self {
        Self {
            id: contact.id.to_string(),
            name: contact.name,
            nickname: contact.nickname,
            trust: contact.trust.into(),
            introduced_by: contact.introduced_by.map(Person::from),
            state: match contact.state {
                view::ContactState::Pending => ContactState::Pending,
                view::ContactState::Asks => ContactState::Asks,
                view::ContactState::Ready => ContactState::Ready,
            },
            online: contact.online,
            link: contact.link.map(LinkKind::from),
            rtt_us: contact.rtt_us,
            connection: contact.connected.map(Connection::from),
            last_met_ms: contact.last_met_ms.map(|time| time.0),
            added_ms: contact.added_ms.0,
            behind: contact.behind.into(),
            exchanged: contact.exchanged.into(),
            quota: Quota::of(contact.quota),
            same_name: contact.same_name,
            last_error: contact.last_error,
        }
    }
}

/// Twelve words that both people see alike.
#[derive(Serialize, ToSchema)]
pub(crate) struct Words {
    /// In this order.
    pub(crate) words: Vec<&'static str>,
}
