//! Frames of a sync session. `docs/PROTOCOL.md` has their byte tables.
//!
//! A frame is a type byte and its fields. Control frames travel on the meeting's first stream,
//! [`Data`] frames on a stream for each space.

#[cfg(test)]
pub(crate) mod tests;

use crate::{
    beacon::BeaconKey,
    card::RELAY_BYTES_MAX,
    frontier::Frontier,
    ids::DeviceId,
    limits::{ADMISSION_DEPTH_MAX, BODY_BYTES_MAX, FRAME_BYTES_MAX, OFFERS_PER_CONTACT_MAX},
    merkle::{BUCKET_FEEDS_MAX, FANOUT, Hash, Node, Prefix},
    wire::{Reader, WireError, put_prefixed, put_varint},
};

/// The version of the session protocol.
pub const VERSION: u16 = 1;
/// Frontiers in one frame at most: about 90 bytes each.
pub const FRONTIERS_MAX: usize = 1_000;
/// Feeds asked for in one frame at most.
pub const WANTS_MAX: usize = 1_000;
/// Bodies asked for in one frame at most.
pub const BODIES_MAX: usize = 256;
/// Bytes of a keyed hash of a space's id.
pub const TAG_LEN: usize = 16;
/// Tags in one list at most, padding included.
pub const TAGS_MAX: usize = 2_048;
/// Bytes of an offer's descriptor.
const DESCRIPTOR_BYTES_MAX: usize = 4 * 1024;

/// A bit of [`Hello::features`]: the sender reads a relay beside the offers.
pub const FEATURE_RELAY: u32 = 1;

/// How a device is found, as far as it changes and the contact may not know it yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Whereabouts {
    /// What the device's beacons are recognised by.
    pub beacon: Option<BeaconKey>,
    /// The relay that leads to the device.
    pub relay: Option<String>,
}

const HAS_BEACON: u8 = 1;
const HAS_RELAY: u8 = 2;

impl Whereabouts {
    fn put(&self, out: &mut Vec<u8>) {
        let beacon = self.beacon.as_ref().map_or(0, |_| HAS_BEACON);
        let relay = self.relay.as_ref().map_or(0, |_| HAS_RELAY);
        out.push(beacon | relay);
        out.extend(self.beacon.iter().flat_map(|key| key.0));
        if let Some(relay) = &self.relay {
            put_prefixed(out, relay.as_bytes());
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let has = reader.u8()?;
        if has & !(HAS_BEACON | HAS_RELAY) != 0 {
            return Err(WireError::Value("whereabouts"));
        }
        let mut whereabouts = Self::default();
        if has & HAS_BEACON != 0 {
            whereabouts.beacon = Some(BeaconKey(reader.id()?));
        }
        if has & HAS_RELAY != 0 {
            whereabouts.relay = Some(reader.text("relay", RELAY_BYTES_MAX)?.to_owned());
        }
        Ok(whereabouts)
    }
}

/// How fast a link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkClass {
    /// Wi-Fi, Ethernet, the internet.
    Fast,
    /// Bluetooth and worse.
    Slow,
}

/// The first frame of each side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The highest version that the sender speaks.
    pub version: u16,
    /// Bits for optional parts: [`FEATURE_RELAY`] and [`crate::courier::FEATURE`].
    pub features: u32,
    /// The link.
    pub class: LinkClass,
    /// Counts changes to what the sender offers or allows this contact.
    pub rev: u64,
    /// The receiver's count that the sender knows.
    pub seen_rev: u64,
    /// Hash, keyed to this session, of the ids of the spaces agreed at the last meeting.
    pub agreed: [u8; 16],
    /// Hash, keyed to this session, of these ids with each space's digest.
    pub digest: Hash,
}

/// A space offered to a contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferFrame {
    /// The descriptor as encoded.
    pub descriptor: Vec<u8>,
    /// The admission chain that lets the contact write, as encoded.
    pub chain: Vec<u8>,
}

/// A frame of the control stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// Opens the session.
    Hello(Hello),
    /// Keyed hashes of the spaces that the sender allows the receiver, padded.
    Spaces {
        /// Rises by one for every new search for common spaces.
        generation: u32,
        /// The hashes, sorted.
        tags: Vec<[u8; TAG_LEN]>,
    },
    /// The digest of each common space, in the order of channels.
    Digests {
        /// Of which search.
        generation: u32,
        /// The digests.
        digests: Vec<Hash>,
    },
    /// A subtree of a space's tree of feeds.
    Node {
        /// Which space.
        channel: u32,
        /// Which subtree.
        prefix: Prefix,
        /// What it is at the sender.
        node: Node,
    },
    /// What the sender holds of some feeds.
    Frontiers {
        /// Which space.
        channel: u32,
        /// The feeds.
        frontiers: Vec<Frontier>,
    },
    /// Asks for feeds from a place on.
    Want {
        /// Which space.
        channel: u32,
        /// Device and first place wanted.
        feeds: Vec<(DeviceId, u64)>,
    },
    /// Asks for bodies.
    WantBodies {
        /// Which space.
        channel: u32,
        /// Which feed.
        device: DeviceId,
        /// Places in it.
        seqs: Vec<u64>,
    },
    /// Asks for the newest entries of feeds, downwards.
    WantTails {
        /// Which space.
        channel: u32,
        /// Which feeds.
        feeds: Vec<TailWant>,
    },
    /// Spaces offered to the receiver, all that are unanswered, and how the sending device is found.
    Offers {
        /// The sender's count.
        rev: u64,
        /// The offers.
        offers: Vec<OfferFrame>,
        /// What the receiver doesn't know yet of that.
        whereabouts: Whereabouts,
    },
    /// The receiver's offers up to this count are kept.
    Seen {
        /// The count.
        rev: u64,
    },
}

/// Which entries of a feed to send from above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TailWant {
    /// The feed.
    pub device: DeviceId,
    /// The feed's first entry is wanted too, before all others.
    pub genesis: bool,
    /// The lowest place wanted, above 0.
    pub from: u64,
    /// Place behind the highest wanted; `None` for the newest that there is.
    pub end: Option<u64>,
}

/// A frame of a space's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data<'a> {
    /// Entries of a feed.
    Run {
        /// Which feed.
        device: DeviceId,
        /// A run as encoded.
        run: &'a [u8],
    },
    /// A fork proof.
    Fork {
        /// Which feed.
        device: DeviceId,
        /// The proof as encoded.
        proof: &'a [u8],
    },
    /// A body that was missing.
    Body {
        /// Which feed.
        device: DeviceId,
        /// Place in it.
        seq: u64,
        /// The body.
        body: &'a [u8],
    },
    /// Entries of a feed just below those that were sent before it, or its newest.
    Tail {
        /// Which feed.
        device: DeviceId,
        /// A run as encoded.
        run: &'a [u8],
    },
    /// The revocation of a device, beside the entry that carries it.
    Revocation {
        /// Which feed it ends.
        device: DeviceId,
        /// The body as encoded.
        body: &'a [u8],
    },
}

impl Control {
    /// Type byte and fields.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Hello(hello) => hello.put(&mut out),
            Self::Spaces { generation, tags } => {
                out.push(2);
                put_varint(&mut out, u64::from(*generation));
                put_varint(&mut out, tags.len() as u64);
                out.extend(tags.iter().flatten());
            }
            Self::Digests {
                generation,
                digests,
            } => {
                out.push(3);
                put_varint(&mut out, u64::from(*generation));
                put_varint(&mut out, digests.len() as u64);
                out.extend(digests.iter().flatten());
            }
            Self::Node {
                channel,
                prefix,
                node,
            } => {
                out.push(4);
                put_varint(&mut out, u64::from(*channel));
                prefix.put(&mut out);
                match node {
                    Node::Branch(children) => {
                        out.push(1);
                        out.extend(children.iter().flatten());
                    }
                    Node::Bucket(frontiers) => {
                        out.push(0);
                        put_frontiers(&mut out, frontiers);
                    }
                }
            }
            Self::Frontiers { channel, frontiers } => {
                out.push(5);
                put_varint(&mut out, u64::from(*channel));
                put_frontiers(&mut out, frontiers);
            }
            Self::Want { channel, feeds } => {
                out.push(6);
                put_varint(&mut out, u64::from(*channel));
                put_varint(&mut out, feeds.len() as u64);
                for (device, from) in feeds {
                    out.extend_from_slice(&device.0);
                    put_varint(&mut out, *from);
                }
            }
            Self::WantBodies {
                channel,
                device,
                seqs,
            } => {
                out.push(7);
                put_varint(&mut out, u64::from(*channel));
                out.extend_from_slice(&device.0);
                put_varint(&mut out, seqs.len() as u64);
                for seq in seqs {
                    put_varint(&mut out, *seq);
                }
            }
            Self::Offers {
                rev,
                offers,
                whereabouts,
            } => {
                out.push(8);
                put_varint(&mut out, *rev);
                put_varint(&mut out, offers.len() as u64);
                for offer in offers {
                    put_prefixed(&mut out, &offer.descriptor);
                    put_prefixed(&mut out, &offer.chain);
                }
                whereabouts.put(&mut out);
            }
            Self::Seen { rev } => {
                out.push(9);
                put_varint(&mut out, *rev);
            }
            Self::WantTails { channel, feeds } => {
                out.push(10);
                put_varint(&mut out, u64::from(*channel));
                put_varint(&mut out, feeds.len() as u64);
                for want in feeds {
                    want.put(&mut out);
                }
            }
        }
        out
    }

    /// Reads a control frame.
    ///
    /// # Errors
    /// An unknown type, a wrong layout, a list over its bound.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        let frame = match reader.u8()? {
            1 => Self::Hello(Hello::read(&mut reader)?),
            2 => {
                let generation = read_u32(&mut reader, "generation")?;
                Self::Spaces {
                    generation,
                    tags: list(&mut reader, "tags", TAGS_MAX, Reader::array)?,
                }
            }
            3 => {
                let generation = read_u32(&mut reader, "generation")?;
                Self::Digests {
                    generation,
                    digests: list(&mut reader, "digests", TAGS_MAX, Reader::id)?,
                }
            }
            4 => Self::Node {
                channel: read_u32(&mut reader, "channel")?,
                prefix: Prefix::read(&mut reader)?,
                node: read_node(&mut reader)?,
            },
            5 => Self::Frontiers {
                channel: read_u32(&mut reader, "channel")?,
                frontiers: read_frontiers(&mut reader)?,
            },
            6 => {
                let channel = read_u32(&mut reader, "channel")?;
                let feeds = list(&mut reader, "wants", WANTS_MAX, |r| {
                    Ok((DeviceId(r.id()?), r.varint()?))
                })?;
                Self::Want { channel, feeds }
            }
            7 => Self::WantBodies {
                channel: read_u32(&mut reader, "channel")?,
                device: DeviceId(reader.id()?),
                seqs: list(&mut reader, "bodies", BODIES_MAX, Reader::varint)?,
            },
            8 => {
                let rev = reader.varint()?;
                Self::Offers {
                    rev,
                    offers: list(&mut reader, "offers", OFFERS_PER_CONTACT_MAX, read_offer)?,
                    whereabouts: Whereabouts::read(&mut reader)?,
                }
            }
            9 => Self::Seen {
                rev: reader.varint()?,
            },
            10 => Self::WantTails {
                channel: read_u32(&mut reader, "channel")?,
                feeds: list(&mut reader, "wants", WANTS_MAX, TailWant::read)?,
            },
            _ => return Err(WireError::Value("frame type")),
        };
        reader.end()?;
        Ok(frame)
    }
}

impl TailWant {
    /// Device 32, genesis u8, from varint, end varint (0 for the newest).
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.device.0);
        out.push(u8::from(self.genesis));
        put_varint(out, self.from);
        put_varint(out, self.end.unwrap_or(0));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let want = Self {
            device: DeviceId(reader.id()?),
            genesis: reader.flag("genesis")?,
            from: reader.varint()?,
            end: Some(reader.varint()?).filter(|end| *end > 0),
        };
        if want.from == 0 || want.end.is_some_and(|end| end <= want.from) {
            return Err(WireError::Value("tail"));
        }
        Ok(want)
    }
}

impl Hello {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(1);
        out.extend_from_slice(&self.version.to_be_bytes());
        out.extend_from_slice(&self.features.to_be_bytes());
        out.push(match self.class {
            LinkClass::Fast => 0,
            LinkClass::Slow => 1,
        });
        put_varint(out, self.rev);
        put_varint(out, self.seen_rev);
        out.extend_from_slice(&self.agreed);
        out.extend_from_slice(&self.digest);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            version: u16::from_be_bytes(reader.array()?),
            features: reader.u32()?,
            class: if reader.flag("link class")? {
                LinkClass::Slow
            } else {
                LinkClass::Fast
            },
            rev: reader.varint()?,
            seen_rev: reader.varint()?,
            agreed: reader.array()?,
            digest: reader.id()?,
        })
    }
}

impl<'a> Data<'a> {
    /// Type byte, device, then run or proof; or place and body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (kind, device, rest) = match self {
            Self::Run { device, run } => (0x20, device, *run),
            Self::Fork { device, proof } => (0x21, device, *proof),
            Self::Body { device, body, .. } => (0x22, device, *body),
            Self::Tail { device, run } => (0x23, device, *run),
            Self::Revocation { device, body } => (0x24, device, *body),
        };
        let mut out = Vec::with_capacity(48 + rest.len());
        out.push(kind);
        out.extend_from_slice(&device.0);
        if let Self::Body { seq, .. } = self {
            put_varint(&mut out, *seq);
        }
        out.extend_from_slice(rest);
        out
    }

    /// Reads a data frame; what is inside is checked by [`crate::verify`].
    ///
    /// # Errors
    /// An unknown type or a wrong layout.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        if bytes.len() > FRAME_BYTES_MAX {
            return Err(WireError::Value("frame"));
        }
        let mut reader = Reader::new(bytes);
        let kind = reader.u8()?;
        let device = DeviceId(reader.id()?);
        Ok(match kind {
            0x20 => Self::Run {
                device,
                run: reader.rest(),
            },
            0x21 => Self::Fork {
                device,
                proof: reader.rest(),
            },
            0x22 => {
                let seq = reader.varint()?;
                let body = reader.rest();
                if body.len() > BODY_BYTES_MAX {
                    return Err(WireError::Value("body"));
                }
                Self::Body { device, seq, body }
            }
            0x23 => Self::Tail {
                device,
                run: reader.rest(),
            },
            0x24 => Self::Revocation {
                device,
                body: reader.rest(),
            },
            _ => return Err(WireError::Value("frame type")),
        })
    }
}

/// A new entry on the pair's gossip topic. It is a hint: lost ones are asked for in the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint<'a> {
    /// Of this meeting and search, so that no other takes it.
    pub tag: [u8; 8],
    /// Which space.
    pub channel: u32,
    /// Which feed.
    pub device: DeviceId,
    /// A run as encoded.
    pub run: &'a [u8],
}

impl<'a> Hint<'a> {
    /// Tag 8, channel varint, device 32, run.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(48 + self.run.len());
        out.extend_from_slice(&self.tag);
        put_varint(&mut out, u64::from(self.channel));
        out.extend_from_slice(&self.device.0);
        out.extend_from_slice(self.run);
        out
    }

    /// Reads what [`Self::encode`] wrote; the run is checked by [`crate::verify`].
    ///
    /// # Errors
    /// A wrong layout.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        Ok(Self {
            tag: reader.array()?,
            channel: read_u32(&mut reader, "channel")?,
            device: DeviceId(reader.id()?),
            run: reader.rest(),
        })
    }
}

fn read_u32(reader: &mut Reader<'_>, field: &'static str) -> Result<u32, WireError> {
    u32::try_from(reader.varint()?).map_err(|_| WireError::Value(field))
}

/// A list behind its count; grows with what is there, not with what is claimed.
fn list<'a, T>(
    reader: &mut Reader<'a>,
    field: &'static str,
    max: usize,
    read: impl Fn(&mut Reader<'a>) -> Result<T, WireError>,
) -> Result<Vec<T>, WireError> {
    let count = reader.length(field, max)?;
    (0..count).map(|_| read(reader)).collect()
}

fn put_frontiers(out: &mut Vec<u8>, frontiers: &[Frontier]) {
    put_varint(out, frontiers.len() as u64);
    for frontier in frontiers {
        frontier.put(out);
    }
}

fn read_frontiers(reader: &mut Reader<'_>) -> Result<Vec<Frontier>, WireError> {
    list(reader, "frontiers", FRONTIERS_MAX, Frontier::read)
}

fn read_node(reader: &mut Reader<'_>) -> Result<Node, WireError> {
    if reader.flag("node")? {
        let mut children = Box::new([[0; 32]; FANOUT]);
        for child in children.iter_mut() {
            *child = reader.id()?;
        }
        Ok(Node::Branch(children))
    } else {
        let frontiers = list(reader, "bucket", BUCKET_FEEDS_MAX, Frontier::read)?;
        Ok(Node::Bucket(frontiers))
    }
}

fn read_offer(reader: &mut Reader<'_>) -> Result<OfferFrame, WireError> {
    Ok(OfferFrame {
        descriptor: reader
            .prefixed("descriptor", DESCRIPTOR_BYTES_MAX)?
            .to_vec(),
        chain: reader
            .prefixed(
                "chain",
                crate::admission::Admission::LEN * ADMISSION_DEPTH_MAX,
            )?
            .to_vec(),
    })
}
