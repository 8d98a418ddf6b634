//! The store's rows of contacts, invites, offers and settings, in the words of the engine.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use proto::{
    EndpointId, IdentityId, Millis, SpaceId,
    admission::Certificate,
    card::{Card, Invite as Link},
    frame::OfferFrame,
    limits::{DEVICES_PER_IDENTITY_MAX, OFFERS_PER_CONTACT_MAX},
    wire::Reader,
};
pub(crate) use store::{Contact, ContactState, Invite, OfferState};
use store::{
    ContactDevice, Error, Left, Met, MetEnd, OfferIn, OfferOut, OwnDevice, Setting, Source,
    Trust as TrustRow, Txn, View,
};

use crate::{
    config::Internet,
    files,
    meeting::Meeting,
    view::{LinkKind, LinkUse, Trust},
};

type Result<T, E = Error> = std::result::Result<T, E>;

/// Addresses remembered of a contact's device.
const ADDRS_KEPT: usize = proto::limits::ADDRS_MAX;
/// Invites are kept this long after they ended, so that the person sees what became of them, in milliseconds.
const ENDED_INVITES_KEPT_MS: u64 = 7 * 24 * 3_600_000;

const STARTS: &str = "starts";
const LAN: &str = "lan";
const BLUETOOTH: &str = "bluetooth";
const ADAPTER: &str = "bluetooth-adapter";
const INTERNET: &str = "internet";
const BOUND: &str = "bound";

/// A link that the person can switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Switch {
    Lan,
    Bluetooth,
    Internet,
}

impl Switch {
    fn when(self) -> String {
        match self {
            Self::Lan => "lan-when".to_owned(),
            Self::Bluetooth => "bluetooth-when".to_owned(),
            Self::Internet => "internet-when".to_owned(),
        }
    }
}

/// A short random id of local things, as text.
pub(crate) fn local_id() -> String {
    let mut bytes = [0; 10];
    files::fill_random(&mut bytes);
    data_encoding::BASE32_NOPAD
        .encode(&bytes)
        .to_ascii_lowercase()
}

// This device.

/// Counts this start of the program; event ids rise with it.
pub(crate) fn count_start(txn: &mut Txn<'_>) -> Result<u32> {
    let start = txn.raise(STARTS, 1)?;
    Ok(u32::try_from(start).unwrap_or(u32::MAX))
}

pub(crate) fn own_name(view: &View<impl Source>) -> Result<Option<String>> {
    Ok(view.own_person()?.map(|(_, name)| name))
}

pub(crate) fn set_own(
    txn: &mut Txn<'_>,
    certificate: proto::admission::Certificate,
    name: &str,
) -> Result<()> {
    let last_serial = certificate.serial;
    txn.put_own_device(&OwnDevice {
        certificate,
        name: name.to_owned(),
        last_serial,
    })
}

/// What the person chose for the internet link.
pub(crate) fn internet(view: &View<impl Source>) -> Result<Internet> {
    Ok(match view.setting(&INTERNET.to_owned())? {
        Some(Setting(value)) if value == b"direct" => Internet::Direct,
        Some(Setting(value)) if value == b"relay" => Internet::Relay,
        _ => Internet::Off,
    })
}

/// Whether the person uses local networks: so unless they switched that off.
pub(crate) fn lan(view: &View<impl Source>) -> Result<bool> {
    let chosen = view.setting(&LAN.to_owned())?;
    Ok(chosen.is_none_or(|Setting(value)| value != b"off"))
}

pub(crate) fn set_lan(txn: &mut Txn<'_>, on: bool) -> Result<()> {
    let value: &[u8] = if on { b"on" } else { b"off" };
    txn.put_setting(&LAN.to_owned(), &Setting(value.to_vec()))
}

/// Whether the person uses Bluetooth: so unless they switched that off.
pub(crate) fn bluetooth(view: &View<impl Source>) -> Result<bool> {
    let chosen = view.setting(&BLUETOOTH.to_owned())?;
    Ok(chosen.is_none_or(|Setting(value)| value != b"off"))
}

pub(crate) fn set_bluetooth(txn: &mut Txn<'_>, on: bool) -> Result<()> {
    let value: &[u8] = if on { b"on" } else { b"off" };
    txn.put_setting(&BLUETOOTH.to_owned(), &Setting(value.to_vec()))
}

/// The Bluetooth adapter that the person chose; any where they didn't.
pub(crate) fn adapter(view: &View<impl Source>) -> Result<Option<String>> {
    let chosen = view.setting(&ADAPTER.to_owned())?;
    let name = chosen.and_then(|Setting(bytes)| String::from_utf8(bytes).ok());
    Ok(name.filter(|name| !name.is_empty()))
}

pub(crate) fn set_adapter(txn: &mut Txn<'_>, name: &str) -> Result<()> {
    txn.put_setting(&ADAPTER.to_owned(), &Setting(name.as_bytes().to_vec()))
}

/// When the person wants a link to be used.
pub(crate) fn link_use(view: &View<impl Source>, link: Switch) -> Result<LinkUse> {
    Ok(match view.setting(&link.when())? {
        Some(Setting(value)) if value == b"charging" => LinkUse::Charging,
        Some(Setting(value)) if value == b"by hand" => LinkUse::ByHand,
        _ => LinkUse::Always,
    })
}

pub(crate) fn set_link_use(txn: &mut Txn<'_>, link: Switch, when: LinkUse) -> Result<()> {
    let value: &[u8] = match when {
        LinkUse::Always => b"always",
        LinkUse::Charging => b"charging",
        LinkUse::ByHand => b"by hand",
    };
    txn.put_setting(&link.when(), &Setting(value.to_vec()))
}

pub(crate) fn set_internet(txn: &mut Txn<'_>, internet: Internet) -> Result<()> {
    let value: &[u8] = match internet {
        Internet::Off => b"off",
        Internet::Direct => b"direct",
        Internet::Relay => b"relay",
    };
    txn.put_setting(&INTERNET.to_owned(), &Setting(value.to_vec()))
}

/// The addresses to bind: where the settings leave the port open, the one that was given last.
pub(crate) fn bind_addrs(view: &View<impl Source>, bind: &[SocketAddr]) -> Result<Vec<SocketAddr>> {
    let remembered = view.setting(&BOUND.to_owned())?;
    let remembered = remembered
        .and_then(|Setting(bytes)| proto::card::read_addrs(&mut Reader::new(&bytes)).ok())
        .unwrap_or_default();
    Ok(bind
        .iter()
        .map(|addr| {
            let port = remembered
                .iter()
                .find(|known| known.ip() == addr.ip())
                .map_or(0, SocketAddr::port);
            if addr.port() == 0 {
                SocketAddr::new(addr.ip(), port)
            } else {
                *addr
            }
        })
        .collect())
}

pub(crate) fn remember_bound(txn: &mut Txn<'_>, bound: &[SocketAddr]) -> Result<()> {
    let mut bytes = Vec::new();
    proto::card::put_addrs(&mut bytes, bound);
    txn.put_setting(&BOUND.to_owned(), &Setting(bytes))
}

// Contacts.

/// A contact of whom only the card is known.
pub(crate) fn new_contact(name: &str, now: Millis) -> Contact {
    Contact {
        name: name.to_owned(),
        nickname: None,
        trust: TrustRow::Unverified,
        state: ContactState::Pending,
        pair_secret: None,
        added: now,
        last_met: None,
        last_link: None,
        note: String::new(),
        link: None,
        my_rev: 0,
        seen_rev: 0,
        acked_rev: 0,
        devices: BTreeMap::new(),
    }
}

/// Notes a device of a contact from its card. Where there are as many as a person can have, it takes the
/// place of the one that was certified first, or has none if that is itself.
pub(crate) fn put_device(contact: &mut Contact, card: &Card) {
    let is_known = contact.devices.contains_key(&card.certificate.device);
    if !is_known && contact.devices.len() >= DEVICES_PER_IDENTITY_MAX {
        let serial = |device: &ContactDevice| {
            let certificate = Certificate::decode(&device.certificate);
            certificate.map_or(0, |certificate| certificate.serial)
        };
        let devices = contact.devices.iter();
        let first = devices.min_by_key(|(_, device)| serial(device));
        match first.map(|(id, device)| (*id, serial(device))) {
            Some((id, first)) if first <= card.certificate.serial => contact.devices.remove(&id),
            _ => return,
        };
    }
    let agreed = contact
        .devices
        .get(&card.certificate.device)
        .map(|device| device.agreed.clone())
        .unwrap_or_default();
    let device = ContactDevice {
        endpoint: card.endpoint,
        addrs: card.addrs.clone(),
        relay: card.relay.clone(),
        certificate: card.certificate.encode(),
        agreed,
    };
    contact.devices.insert(card.certificate.device, device);
}

pub(crate) fn endpoints(contact: &Contact) -> Vec<EndpointId> {
    contact
        .devices
        .values()
        .map(|device| device.endpoint)
        .collect()
}

/// We said yes to somebody who asked, and they have to come again to hear it.
pub(crate) fn is_accepted(contact: &Contact) -> bool {
    contact.state == ContactState::Pending
        && contact.link.is_none()
        && contact.trust != TrustRow::Introduced
}

pub(crate) const fn shown_trust(trust: TrustRow) -> Trust {
    match trust {
        TrustRow::Unverified => Trust::Unverified,
        TrustRow::Introduced => Trust::Introduced,
        TrustRow::Words => Trust::Words,
        TrustRow::Verified => Trust::Verified,
    }
}

pub(crate) const fn kept_trust(trust: Trust) -> TrustRow {
    match trust {
        Trust::Unverified => TrustRow::Unverified,
        Trust::Introduced => TrustRow::Introduced,
        Trust::Words => TrustRow::Words,
        Trust::Verified => TrustRow::Verified,
    }
}

/// In the order of their numbers on disk.
const LINKS: [LinkKind; 5] = [
    LinkKind::Loopback,
    LinkKind::Lan,
    LinkKind::Internet,
    LinkKind::Relay,
    LinkKind::Bluetooth,
];

/// The link that a row names by its number.
pub(crate) fn link_at(number: u8) -> Option<LinkKind> {
    LINKS.get(usize::from(number)).copied()
}

fn link_number(link: LinkKind) -> Option<u8> {
    let number = LINKS.iter().position(|known| *known == link)?;
    u8::try_from(number).ok()
}

/// The link of the last meeting.
pub(crate) fn last_link(contact: &Contact) -> Option<LinkKind> {
    link_at(contact.last_link?)
}

/// Changes a contact that is there; false where it isn't.
pub(crate) fn change_contact(
    txn: &mut Txn<'_>,
    id: IdentityId,
    change: impl FnOnce(&mut Contact),
) -> Result<bool> {
    let Some(mut contact) = txn.contact(&id)? else {
        return Ok(false);
    };
    change(&mut contact);
    txn.put_contact(&id, &contact)?;
    Ok(true)
}

/// Remembers when, over what and where a contact's device was met; false where they are no contact.
pub(crate) fn note_meeting(
    txn: &mut Txn<'_>,
    id: IdentityId,
    endpoint: EndpointId,
    now: Millis,
    link: Option<LinkKind>,
    addr: Option<SocketAddr>,
) -> Result<bool> {
    change_contact(txn, id, |contact| {
        contact.last_met = Some(now);
        contact.last_link = link.and_then(link_number).or(contact.last_link);
        let device = contact
            .devices
            .values_mut()
            .find(|device| device.endpoint == endpoint);
        if let (Some(device), Some(addr)) = (device, addr) {
            device.addrs.retain(|known| *known != addr);
            device.addrs.insert(0, addr);
            device.addrs.truncate(ADDRS_KEPT);
        }
    })
}

/// A meeting that ended now, as it is kept.
pub(crate) fn met(meeting: &Meeting, now: Millis, end: MetEnd) -> Met {
    let exchanged = meeting.exchanged();
    let lasted = meeting.since.elapsed();
    Met {
        contact: meeting.contact,
        ended: now,
        lasted_ms: u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX),
        links: meeting
            .links_used()
            .into_iter()
            .filter_map(link_number)
            .collect(),
        dialed: meeting.conn.dialed(),
        entries_in: exchanged.entries_in,
        entries_out: exchanged.entries_out,
        bytes_in: exchanged.bytes_in,
        bytes_out: exchanged.bytes_out,
        end,
    }
}

/// The relay that leads to a contact's device from now on.
pub(crate) fn set_relay(
    txn: &mut Txn<'_>,
    id: IdentityId,
    endpoint: EndpointId,
    relay: String,
) -> Result<()> {
    change_contact(txn, id, |contact| {
        let mut devices = contact.devices.values_mut();
        if let Some(device) = devices.find(|device| device.endpoint == endpoint) {
            device.relay = Some(relay).filter(|relay| !relay.is_empty());
        }
    })
    .map(drop)
}

/// What is agreed with a contact's device.
pub(crate) fn set_agreed(
    txn: &mut Txn<'_>,
    id: IdentityId,
    endpoint: EndpointId,
    spaces: BTreeSet<SpaceId>,
) -> Result<()> {
    change_contact(txn, id, |contact| {
        if let Some(device) = contact
            .devices
            .values_mut()
            .find(|device| device.endpoint == endpoint)
        {
            device.agreed = spaces;
        }
    })
    .map(drop)
}

/// What contacts may have has changed: every contact hears it at the next meeting.
pub(crate) fn bump_revs(txn: &mut Txn<'_>) -> Result<()> {
    for (id, mut contact) in txn.contacts()? {
        contact.my_rev += 1;
        txn.put_contact(&id, &contact)?;
    }
    Ok(())
}

/// The same, of these contacts alone.
pub(crate) fn bump_revs_of(txn: &mut Txn<'_>, contacts: &BTreeSet<IdentityId>) -> Result<()> {
    for id in contacts {
        change_contact(txn, *id, |contact| contact.my_rev += 1)?;
    }
    Ok(())
}

/// The contact under which a link that we used waits for its answer: derived from the link, since
/// who answers isn't known yet.
pub(crate) fn pending_id(link: &Link) -> IdentityId {
    IdentityId(blake3::derive_key(
        "waymeet 1 pending contact",
        &link.secret.tag(),
    ))
}

// Invites.

pub(crate) fn invite_by_tag(
    view: &View<impl Source>,
    tag: &[u8; 16],
) -> Result<Option<(String, Invite)>> {
    Ok(view
        .invites()?
        .into_iter()
        .find(|(_, invite)| invite.secret.tag() == *tag))
}

/// Forgets invites that ended a week ago.
pub(crate) fn remove_stale_invites(txn: &mut Txn<'_>, now: Millis) -> Result<()> {
    for (id, invite) in txn.invites()? {
        if now.since(invite.expires) > ENDED_INVITES_KEPT_MS {
            txn.remove_invite(&id)?;
        }
    }
    Ok(())
}

// Offers.

/// Offers to a contact that they haven't kept yet, by their count.
pub(crate) fn unseen_offers_to(
    view: &View<impl Source>,
    id: IdentityId,
    acked_rev: u64,
) -> Result<Vec<OfferFrame>> {
    let offers = view
        .offers_out()?
        .into_iter()
        .filter(|((to, _), offer)| *to == id && offer.rev > acked_rev);
    let frames = offers.map(|(_, offer)| OfferFrame {
        descriptor: offer.descriptor,
        chain: offer.chain,
    });
    Ok(frames.take(OFFERS_PER_CONTACT_MAX).collect())
}

pub(crate) fn put_offer_out(
    txn: &mut Txn<'_>,
    to: IdentityId,
    space: SpaceId,
    offer: OfferOut,
) -> Result<()> {
    txn.put_offer_out(&(to, space), &offer)
}

/// Contacts to whom a space was offered.
pub(crate) fn offered_to(view: &View<impl Source>, space: SpaceId) -> Result<Vec<IdentityId>> {
    Ok(view
        .offers_out()?
        .into_iter()
        .filter(|((_, offered), _)| *offered == space)
        .map(|((to, _), _)| to)
        .collect())
}

pub(crate) fn withdraw_offers(txn: &mut Txn<'_>, space: SpaceId) -> Result<()> {
    for (key, _) in txn.offers_out()? {
        if key.1 == space {
            txn.remove_offer_out(&key)?;
        }
    }
    Ok(())
}

/// Keeps an offer of a contact; returns its local id.
pub(crate) fn put_offer_in(
    txn: &mut Txn<'_>,
    from: IdentityId,
    offer: &OfferFrame,
    now: Millis,
) -> Result<String> {
    let id = local_id();
    let row = OfferIn {
        descriptor: offer.descriptor.clone(),
        chain: offer.chain.clone(),
        from,
        received: now,
        state: OfferState::Waiting,
    };
    txn.put_offer_in(&id, &row)?;
    Ok(id)
}

/// Notes that a space was left, or is taken again.
pub(crate) fn set_left(txn: &mut Txn<'_>, space: SpaceId, at: Option<Millis>) -> Result<()> {
    match at {
        Some(at) => txn.put_left(&space, &Left { at }),
        None => txn.remove_left(&space).map(drop),
    }
}
