//! Meeting somebody nearby.

use engine::view;
use serde::Serialize;
use utoipa::ToSchema;

/// Who is nearby.
#[derive(Serialize, ToSchema)]
pub(crate) struct Nearby {
    /// This node is visible to others who do the same.
    pub(crate) open: bool,
    /// Until when, while it is.
    pub(crate) until_ms: Option<u64>,
    /// This node has an address on a local network.
    pub(crate) has_network: bool,
    /// This node has a Bluetooth adapter in use. Without either nobody can see it.
    pub(crate) has_radio: bool,
    /// More tried to connect than there is room for: close it and open it again.
    pub(crate) crowded: bool,
    /// Devices whose words aren't there yet.
    pub(crate) connecting: u64,
    /// The people, in the order in which they came.
    pub(crate) people: Vec<NearbyPerson>,
}

impl From<view::Nearby> for Nearby {
    fn from(nearby: view::Nearby) -> Self {
        Self {
            open: nearby.until_ms.is_some(),
            until_ms: nearby.until_ms.map(|time| time.0),
            has_network: nearby.has_network,
            has_radio: nearby.has_radio,
            crowded: nearby.crowded,
            connecting: nearby.connecting,
            people: nearby.people.into_iter().map(Into::into).collect(),
        }
    }
}

/// How far it is with somebody nearby.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NearbyState {
    /// Both people look whether their words are the same.
    Comparing,
    /// They are a contact.
    Done,
    /// It came to nothing.
    Ended,
}

/// Somebody nearby.
#[derive(Serialize, ToSchema)]
pub(crate) struct NearbyPerson {
    /// Local id of this try.
    pub(crate) id: String,
    /// The name that they chose. Anybody can choose it: the words tell.
    pub(crate) name: String,
    /// Three words that both people see alike, if nobody sits in between.
    pub(crate) words: [&'static str; 3],
    /// How far it is.
    pub(crate) state: NearbyState,
    /// We said that the words are the same.
    pub(crate) we_accept: bool,
    /// They did.
    pub(crate) they_accept: bool,
    /// The contact, once it is done.
    pub(crate) contact: Option<String>,
    /// They were a contact before.
    pub(crate) known: bool,
    /// Their node said that it has us as a contact, too.
    pub(crate) confirmed: bool,
    /// Why it came to nothing.
    pub(crate) reason: Option<String>,
}

impl From<view::NearbyPerson> for NearbyPerson {
    fn from(person: view::NearbyPerson) -> Self {
        let mut this = Self {
            id: person.id,
            name: person.name,
            words: person.words,
            state: NearbyState::Comparing,
            we_accept: false,
            they_accept: false,
            contact: None,
            known: false,
            confirmed: false,
            reason: None,
        };
        match person.stage {
            view::NearbyStage::Comparing {
                we_accept,
                they_accept,
            } => (this.we_accept, this.they_accept) = (we_accept, they_accept),
            view::NearbyStage::Done {
                contact,
                known,
                confirmed,
            } => {
                this.state = NearbyState::Done;
                (this.we_accept, this.they_accept) = (true, true);
                this.contact = Some(contact.to_string());
                (this.known, this.confirmed) = (known, confirmed);
            }
            view::NearbyStage::Ended(reason) => {
                this.state = NearbyState::Ended;
                this.reason = Some(reason);
            }
        }
        this
    }
}
