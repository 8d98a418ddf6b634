//! Two people who are near each other become contacts by comparing three words.
//!
//! Both devices show a temporary endpoint and no more. Over a connection of these two each binds
//! itself to a random nonce and to its card before it sees the other's nonce: the dialer sends a
//! commitment, the acceptor its nonce, the dialer opens. The words come from both nonces, both
//! sealed cards, the names and the connection's keying material, so somebody in between who has a
//! connection with each of the two shows them different words, up to chance (24 bits a try; see
//! ZRTP, RFC 6189 section 4.4.1.1, for the same idea). Cards are opened when both people have said
//! yes, and not before: until then a stranger learns the name that the person chose and nothing that lasts.
//!
//! A [`Session`] is one connection's worth: what a person said in one is never carried into another.
//! It knows no clock, no transport and no contacts; how long a person may think, how many sessions
//! there are, and how the two heard of each other, is the caller's.

mod frame;
#[cfg(test)]
mod tests;

pub use self::frame::Frame;
use crate::{
    beacon::BeaconKey,
    card::{Card, CardError, PairSecret},
    ids::{EndpointId, IdentityId, from_base32, to_base32},
    keys::{DeviceKey, Domain, EndpointKey, Signature, verify},
    limits::NAME_CHARS_MAX,
    text,
    wire::{WireError, put_prefixed},
    words::WORDS,
};

/// Random bytes before the endpoint in an announcement, so that each address family has a name.
pub const SALT_BYTES: usize = 4;

/// What a device says on a local network while its person wants to meet somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announced {
    /// Random.
    pub salt: [u8; SALT_BYTES],
    /// Made for this opening, and used for nothing else.
    pub endpoint: EndpointId,
}

impl Announced {
    /// Base32 of salt and endpoint, 58 characters in lower case: one label of a DNS name.
    #[must_use]
    pub fn label(&self) -> String {
        to_base32(&[&self.salt[..], &self.endpoint.0].concat())
    }

    /// Reads a label, in either case; nothing where it is none.
    #[must_use]
    pub fn from_label(label: &str) -> Option<Self> {
        let bytes = from_base32(label)?;
        let (salt, endpoint) = bytes.split_first_chunk()?;
        Some(Self {
            salt: *salt,
            endpoint: EndpointId::from_slice(endpoint)?,
        })
    }
}

/// The connection that a session runs on.
#[derive(Clone)]
pub struct Line {
    /// Keying material of the connection.
    pub exporter: [u8; 32],
    /// The temporary endpoint that dialled.
    pub dialer: EndpointId,
    /// The one that was dialled.
    pub acceptor: EndpointId,
}

/// What this device brings: its name, and its card under a seal. The random bytes are for one session.
pub struct Own {
    identity: IdentityId,
    name: String,
    card: Vec<u8>,
    proof: Signature,
    nonce: [u8; 32],
    blind: [u8; 32],
}

impl Own {
    /// Makes it for one connection, with random bytes that are used nowhere else.
    #[must_use]
    pub fn new(
        card: &Card,
        device: &DeviceKey,
        endpoint: &EndpointKey,
        line: &Line,
        (nonce, blind): ([u8; 32], [u8; 32]),
    ) -> Self {
        Self {
            identity: card.certificate.identity,
            name: card.name.clone(),
            card: card.encode(device, &line.exporter),
            proof: endpoint.sign(Domain::Endpoint, &endpoint_payload(line, card)),
            nonce,
            blind,
        }
    }

    fn sealed(&self) -> [u8; 32] {
        seal(&self.blind, &self.card)
    }
}

/// The durable endpoint says that it belongs to the card's device, on this connection.
fn endpoint_payload(line: &Line, card: &Card) -> Vec<u8> {
    [line.exporter, card.certificate.device.0].concat()
}

fn seal(blind: &[u8; 32], card: &[u8]) -> [u8; 32] {
    let key = blake3::derive_key("waymeet 1 nearby card", blind);
    *blake3::keyed_hash(&key, card).as_bytes()
}

fn commitment(line: &Line, nonce: &[u8; 32], sealed: &[u8; 32]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("waymeet 1 nearby hello");
    hasher.update(&line.exporter).update(nonce).update(sealed);
    *hasher.finalize().as_bytes()
}

fn known_tag(secret: &PairSecret, line: &Line, by_dialer: bool) -> [u8; 32] {
    let key = blake3::derive_key("waymeet 1 nearby known", &secret.0);
    let mut hasher = blake3::Hasher::new_keyed(&key);
    hasher.update(&line.exporter).update(&[u8::from(by_dialer)]);
    *hasher.finalize().as_bytes()
}

/// What the other side showed before anybody said yes.
struct Shown {
    name: String,
    nonce: [u8; 32],
    sealed: [u8; 32],
}

/// Somebody to compare words with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// The name that they chose.
    pub name: String,
    /// What both see alike.
    pub words: [&'static str; 3],
}

/// Both said yes, and the cards hold.
pub struct Met {
    /// Theirs.
    pub card: Card,
    /// The pair's secret from now on.
    pub secret: PairSecret,
    /// Both had it before: they are contacts already.
    pub known: bool,
}

/// What a session wants done, in this order.
pub enum Step {
    /// Send this frame.
    Send(Vec<u8>),
    /// Show this to the person, and ask.
    Compare(Compared),
    /// The other person said yes.
    TheyAccept,
    /// This is who they are: say what is known of them with [`Session::recall`].
    Recall(IdentityId),
    /// Keep them, then call [`Session::kept`].
    Met(Box<Met>),
    /// They have us on their disk, and are recognised by this from now on.
    TheyKept(BeaconKey),
    /// The other person said no. The session is over.
    Declined,
}

/// How the other side broke the protocol. The session is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// Not a frame.
    #[error("the message can't be read: {0}")]
    Layout(#[from] WireError),
    /// A frame out of turn; above all a card before both said yes.
    #[error("a message came out of turn")]
    Turn,
    /// A name that isn't one.
    #[error("the name does not fit")]
    Name,
    /// The opening isn't what the hello was bound to.
    #[error("the opening does not fit what was announced")]
    Commitment,
    /// The card isn't the one that was sealed.
    #[error("the card is not the one that was announced")]
    Seal,
    /// The card doesn't hold.
    #[error(transparent)]
    Card(#[from] CardError),
    /// The card's endpoint didn't say that it belongs to it.
    #[error("the card names an endpoint that is not its own")]
    Endpoint,
    /// The card bears another name than the words were compared under.
    #[error("the card bears another name")]
    OtherName,
    /// Our own card came back.
    #[error("this is ourselves")]
    Oneself,
}

enum Stage {
    /// The dialer's hello is out.
    Asked,
    /// The acceptor waits for the hello.
    Listening,
    /// The acceptor's answer is out.
    Answered { name: String, commitment: [u8; 32] },
    /// The people compare.
    Comparing {
        them: Shown,
        we_accept: bool,
        they_accept: bool,
    },
    /// Both said yes; our card is out.
    Opened { them: Shown },
    /// Their card holds. Either side says whether it knows the other.
    Recalling {
        them: Shown,
        card: Box<Card>,
        ours: Option<Recalled>,
        theirs: Option<[u8; 32]>,
    },
    /// The secret stands.
    Met,
    /// Nothing comes any more.
    Over,
}

/// What we know of them.
enum Recalled {
    Contact(PairSecret),
    Stranger,
}

/// One try of two devices. `handle` takes what came, the other methods what the person and the node
/// decided; all give [`Step`]s.
pub struct Session {
    line: Line,
    own: Own,
    dialer: bool,
    stage: Stage,
}

impl Session {
    /// Begins as the one who dialled.
    #[must_use]
    pub fn dial(line: Line, own: Own) -> (Self, Vec<Step>) {
        let hello = Frame::Hello {
            name: own.name.clone(),
            commitment: commitment(&line, &own.nonce, &own.sealed()),
        };
        let session = Self {
            line,
            own,
            dialer: true,
            stage: Stage::Asked,
        };
        (session, vec![send(&hello)])
    }

    /// Begins as the one who was dialled.
    #[must_use]
    pub const fn answer(line: Line, own: Own) -> Self {
        Self {
            line,
            own,
            dialer: false,
            stage: Stage::Listening,
        }
    }

    /// Whether the people are to decide, and ours hasn't.
    #[must_use]
    pub const fn is_ours_to_decide(&self) -> bool {
        matches!(
            self.stage,
            Stage::Comparing {
                we_accept: false,
                ..
            }
        )
    }

    /// Takes a frame.
    ///
    /// # Errors
    /// See [`Reject`]; the session is over then.
    pub fn handle(&mut self, bytes: &[u8]) -> Result<Vec<Step>, Reject> {
        // What isn't put back below ends the session.
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        match (stage, Frame::decode(bytes)?) {
            (Stage::Listening, Frame::Hello { name, commitment }) => {
                check_name(&name)?;
                self.stage = Stage::Answered { name, commitment };
                Ok(vec![send(&Frame::Answer {
                    name: self.own.name.clone(),
                    nonce: self.own.nonce,
                    sealed: self.own.sealed(),
                })])
            }
            (
                Stage::Asked,
                Frame::Answer {
                    name,
                    nonce,
                    sealed,
                },
            ) => {
                check_name(&name)?;
                let opening = Frame::Opening {
                    nonce: self.own.nonce,
                    sealed: self.own.sealed(),
                };
                let compare = self.compare(Shown {
                    name,
                    nonce,
                    sealed,
                });
                Ok(vec![send(&opening), compare])
            }
            (Stage::Answered { name, commitment }, Frame::Opening { nonce, sealed }) => {
                if self::commitment(&self.line, &nonce, &sealed) != commitment {
                    return Err(Reject::Commitment);
                }
                Ok(vec![self.compare(Shown {
                    name,
                    nonce,
                    sealed,
                })])
            }
            (
                Stage::Comparing {
                    them,
                    we_accept,
                    they_accept: false,
                },
                Frame::Accept,
            ) => {
                let mut steps = vec![Step::TheyAccept];
                if we_accept {
                    steps.push(self.open(them));
                } else {
                    self.stage = Stage::Comparing {
                        them,
                        we_accept,
                        they_accept: true,
                    };
                }
                Ok(steps)
            }
            (Stage::Comparing { .. } | Stage::Opened { .. }, Frame::Decline) => {
                Ok(vec![Step::Declined])
            }
            (Stage::Opened { them }, Frame::Card { blind, proof, card }) => {
                let card = self.check_card(&them, &blind, &proof, &card)?;
                let identity = card.certificate.identity;
                self.stage = Stage::Recalling {
                    them,
                    card: Box::new(card),
                    ours: None,
                    theirs: None,
                };
                Ok(vec![Step::Recall(identity)])
            }
            (
                Stage::Recalling {
                    them,
                    card,
                    ours,
                    theirs: None,
                },
                Frame::Known(tag),
            ) => Ok(self.recalled(them, card, ours, Some(tag))),
            (Stage::Met, Frame::Kept(beacon)) => Ok(vec![Step::TheyKept(beacon)]),
            _ => Err(Reject::Turn),
        }
    }

    /// The person saw the same words and says yes. Nothing happens where there is nothing to decide.
    pub fn accept(&mut self) -> Vec<Step> {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Comparing {
                them,
                we_accept: false,
                they_accept,
            } => {
                let mut steps = vec![send(&Frame::Accept)];
                if they_accept {
                    steps.push(self.open(them));
                } else {
                    self.stage = Stage::Comparing {
                        them,
                        we_accept: true,
                        they_accept,
                    };
                }
                steps
            }
            other => {
                self.stage = other;
                Vec::new()
            }
        }
    }

    /// The person says no, also after a yes that wasn't answered. The session is over.
    pub fn decline(&mut self) -> Vec<Step> {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Comparing { .. } => vec![send(&Frame::Decline)],
            _ => Vec::new(),
        }
    }

    /// Says what [`Step::Recall`] asked: the secret of the pair, where they are a contact. `filler`
    /// is random and stands in its place where they aren't.
    pub fn recall(&mut self, secret: Option<&PairSecret>, filler: [u8; 32]) -> Vec<Step> {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Recalling {
                them,
                card,
                ours: None,
                theirs,
            } => {
                let (ours, tag) = match secret {
                    Some(secret) => (
                        Recalled::Contact(secret.clone()),
                        known_tag(secret, &self.line, self.dialer),
                    ),
                    None => (Recalled::Stranger, filler),
                };
                let mut steps = vec![send(&Frame::Known(tag))];
                steps.extend(self.recalled(them, card, Some(ours), theirs));
                steps
            }
            other => {
                self.stage = other;
                Vec::new()
            }
        }
    }

    /// They are on our disk: they may recognise us by our key, so that they find us also where no
    /// address leads.
    #[must_use]
    pub fn kept(&self, beacon: BeaconKey) -> Vec<Step> {
        match self.stage {
            Stage::Met => vec![send(&Frame::Kept(beacon))],
            _ => Vec::new(),
        }
    }

    fn compare(&mut self, them: Shown) -> Step {
        let compared = Compared {
            name: them.name.clone(),
            words: self.words(&them),
        };
        self.stage = Stage::Comparing {
            them,
            we_accept: false,
            they_accept: false,
        };
        Step::Compare(compared)
    }

    /// The dialer's value and the acceptor's, given ours and theirs.
    const fn ordered<'a, T: ?Sized>(&self, ours: &'a T, theirs: &'a T) -> (&'a T, &'a T) {
        if self.dialer {
            (ours, theirs)
        } else {
            (theirs, ours)
        }
    }

    fn words(&self, them: &Shown) -> [&'static str; 3] {
        let (nonce, other_nonce) = self.ordered(&self.own.nonce, &them.nonce);
        let own_sealed = self.own.sealed();
        let (sealed, other_sealed) = self.ordered(&own_sealed, &them.sealed);
        let (name, other_name) = self.ordered(self.own.name.as_str(), them.name.as_str());
        let mut names = Vec::new();
        put_prefixed(&mut names, name.as_bytes());
        put_prefixed(&mut names, other_name.as_bytes());
        let mut hasher = blake3::Hasher::new_derive_key("waymeet 1 nearby words");
        hasher
            .update(&self.line.exporter)
            .update(&self.line.dialer.0)
            .update(&self.line.acceptor.0)
            .update(nonce)
            .update(sealed)
            .update(other_nonce)
            .update(other_sealed)
            .update(&names);
        let hash = hasher.finalize();
        let mut words = [""; 3];
        for (word, byte) in words.iter_mut().zip(hash.as_bytes()) {
            *word = WORDS.get(usize::from(*byte)).copied().unwrap_or_default();
        }
        words
    }

    fn open(&mut self, them: Shown) -> Step {
        self.stage = Stage::Opened { them };
        send(&Frame::Card {
            blind: self.own.blind,
            proof: self.own.proof,
            card: self.own.card.clone(),
        })
    }

    fn check_card(
        &self,
        them: &Shown,
        blind: &[u8; 32],
        proof: &Signature,
        bytes: &[u8],
    ) -> Result<Card, Reject> {
        if seal(blind, bytes) != them.sealed {
            return Err(Reject::Seal);
        }
        let card = Card::decode(bytes, &self.line.exporter)?;
        if card.certificate.identity == self.own.identity {
            return Err(Reject::Oneself);
        }
        if card.name != them.name {
            return Err(Reject::OtherName);
        }
        let payload = endpoint_payload(&self.line, &card);
        if !verify(&card.endpoint.0, Domain::Endpoint, &payload, proof) {
            return Err(Reject::Endpoint);
        }
        Ok(card)
    }

    /// Both have said what they know, or one still has to.
    fn recalled(
        &mut self,
        them: Shown,
        card: Box<Card>,
        ours: Option<Recalled>,
        theirs: Option<[u8; 32]>,
    ) -> Vec<Step> {
        let (Some(recalled), Some(tag)) = (&ours, theirs) else {
            self.stage = Stage::Recalling {
                them,
                card,
                ours,
                theirs,
            };
            return Vec::new();
        };
        let common = match recalled {
            Recalled::Contact(secret) => {
                let expected = known_tag(secret, &self.line, !self.dialer);
                // The same time wherever they differ.
                (blake3::Hash::from(expected) == blake3::Hash::from(tag)).then(|| secret.clone())
            }
            Recalled::Stranger => None,
        };
        let known = common.is_some();
        let secret = common.unwrap_or_else(|| self.pair_secret(&them, card.certificate.identity));
        self.stage = Stage::Met;
        vec![Step::Met(Box::new(Met {
            card: *card,
            secret,
            known,
        }))]
    }

    fn pair_secret(&self, them: &Shown, identity: IdentityId) -> PairSecret {
        let (nonce, other_nonce) = self.ordered(&self.own.nonce, &them.nonce);
        let (low, high) = if self.own.identity < identity {
            (self.own.identity, identity)
        } else {
            (identity, self.own.identity)
        };
        let mut hasher = blake3::Hasher::new_derive_key("waymeet 1 nearby pair");
        hasher
            .update(&self.line.exporter)
            .update(nonce)
            .update(other_nonce)
            .update(&low.0)
            .update(&high.0);
        PairSecret(*hasher.finalize().as_bytes())
    }
}

fn send(frame: &Frame) -> Step {
    Step::Send(frame.encode())
}

fn check_name(name: &str) -> Result<(), Reject> {
    if text::is_line(name, NAME_CHARS_MAX) {
        Ok(())
    } else {
        Err(Reject::Name)
    }
}
