//! Adding a contact: links as people paste them, and the cards that devices show each other.

use std::net::{IpAddr, SocketAddr};

use proto::{
    EndpointId, Millis,
    card::{Card, CardError, Invite, InviteSecret, SCHEME},
    limits::{INVITE_LINK_CHARS_MAX, NAME_CHARS_MAX},
    text,
};

use crate::{script::Script, seeds};

/// Reads the rest as what the first byte says.
///
/// # Panics
/// Where a link or a card isn't read as it was made.
pub fn run(input: &[u8]) {
    let Some((what, bytes)) = input.split_first() else {
        return;
    };
    match what % 4 {
        0 => link(&String::from_utf8_lossy(bytes)),
        1 => raw_card(bytes),
        2 => made_link(&mut Script::new(bytes)),
        _ => made_card(&mut Script::new(bytes)),
    }
}

/// A text that may be a link: what is understood is said again in one form.
fn link(text: &str) {
    let Ok(invite) = Invite::parse(text) else {
        return;
    };
    assert!(text.len() <= INVITE_LINK_CHARS_MAX);
    let again = invite.link();
    let typed: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    assert_eq!(typed.to_ascii_lowercase(), again);
    assert_eq!(Invite::parse(&again), Ok(invite));
}

fn addrs(script: &mut Script<'_>) -> Vec<SocketAddr> {
    (0..script.byte() % 13)
        .map(|_| {
            let ip = if script.flag() {
                IpAddr::from([script.byte(), 0, 0, script.byte()])
            } else {
                IpAddr::from([script.short(), 0, 0, 0, 0, 0, 0, script.short()])
            };
            SocketAddr::new(ip, script.short())
        })
        .collect()
}

fn relay(script: &mut Script<'_>) -> Option<String> {
    Some(String::from_utf8_lossy(script.blob()).into_owned()).filter(|relay| !relay.is_empty())
}

/// A link of decisions is read as it was made; a mistyped one is never taken for another.
fn made_link(script: &mut Script<'_>) {
    let invite = Invite {
        endpoint: EndpointId([script.byte(); 32]),
        secret: InviteSecret([script.byte(); 16]),
        expires: Millis(script.long()),
        many: script.flag(),
        local_only: script.flag(),
        addrs: addrs(script),
        relay: relay(script),
    };
    let made = invite.link();
    let relay_fits = invite.relay.as_ref().is_none_or(|relay| relay.len() <= 200);
    if relay_fits && made.len() <= INVITE_LINK_CHARS_MAX {
        assert_eq!(Invite::parse(&made), Ok(invite.clone()));
    } else {
        assert!(Invite::parse(&made).is_err());
    }
    let mut typed = made.into_bytes();
    while !script.is_empty() {
        let at = script.below(typed.len());
        typed[at] = script.byte();
    }
    if let Ok(typed) = String::from_utf8(typed) {
        link(&typed);
        if typed.starts_with(SCHEME)
            && let Ok(other) = Invite::parse(&typed)
        {
            assert_eq!(other, invite, "a typing slip makes another invite");
        }
    }
}

fn raw_card(bytes: &[u8]) {
    if let Ok(card) = Card::decode(bytes, &seeds::EXPORTER) {
        assert!(text::is_line(&card.name, NAME_CHARS_MAX));
        assert_eq!(Card::decode(bytes, &[0; 32]), Err(CardError::Signature));
    }
}

/// A card of decisions is read as it was made, on its connection only.
fn made_card(script: &mut Script<'_>) {
    let seed = script.byte() % 4;
    let card = Card {
        certificate: seeds::certificate(seed),
        name: String::from_utf8_lossy(script.blob()).into_owned(),
        endpoint: EndpointId([script.byte(); 32]),
        addrs: addrs(script),
        relay: relay(script),
    };
    let mut bytes = card.encode(&seeds::device(seed), &seeds::EXPORTER);
    let fits = text::is_line(&card.name, NAME_CHARS_MAX)
        && card.relay.as_ref().is_none_or(|relay| relay.len() <= 200);
    let read = Card::decode(&bytes, &seeds::EXPORTER);
    assert_eq!(read.ok(), fits.then_some(card));
    let good = bytes.clone();
    while !script.is_empty() {
        let at = script.below(bytes.len());
        bytes[at] ^= script.byte();
    }
    assert!(bytes == good || Card::decode(&bytes, &seeds::EXPORTER).is_err());
    assert!(Card::decode(&good, &[0; 32]).is_err());
}

/// One of each.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let vectors = seeds::vectors("invite.one", 0)
        .chain(seeds::vectors("invite.many", 0))
        .chain(seeds::vectors("card", 1));
    let many = [
        &[2, 1, 2][..],
        &1_800_000_000_000_u64.to_be_bytes(),
        &[1, 1, 2, 1, 10, 1, 0x1c, 0, 0, 0xfe, 0x80, 0, 1, 0x1c, 0],
        &[17],
        b"https://a.example",
        &[0, 9, b'x'],
    ];
    let card = [&[3, 1, 3][..], b"Ana", &[5, 1, 1, 10, 1, 0x1c, 0, 0, 40, 1]];
    vectors.chain([many.concat(), card.concat()]).collect()
}
