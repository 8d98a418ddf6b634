//! Adding a contact: links, cards, messages and what a pair derives.

use super::{Lines, person};
use crate::{
    card::{Card, Invite, InviteSecret, Join, JoinAnswer, PairSecret, Refusal},
    ids::EndpointId,
    time::Millis,
};

const EXPORTER: [u8; 32] = [0x41; 32];

fn reread_link(bytes: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(bytes).expect("text");
    Invite::parse(text).expect("a link").link().into_bytes()
}

fn reread_answer(bytes: &[u8]) -> Vec<u8> {
    JoinAnswer::decode(bytes).expect("an answer").encode()
}

/// The name of a refusal's vector; the compiler asks for one when a refusal is added.
const fn name_of(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Unknown => "unknown",
        Refusal::Used => "used",
        Refusal::Expired => "expired",
        Refusal::Declined => "declined",
        Refusal::Malformed => "malformed",
        Refusal::Full => "full",
    }
}

pub(super) fn add(lines: &mut Lines) {
    let (ana, ben) = (person(1), person(3));
    let (here, there) = (EndpointId([0x11; 32]), EndpointId([0x12; 32]));
    let secret = InviteSecret([0x42; 16]);
    let invite = Invite {
        endpoint: here,
        secret: secret.clone(),
        expires: Millis(1_790_000_000_000),
        many: false,
        local_only: true,
        addrs: vec![
            "192.168.1.5:4000".parse().expect("an address"),
            "[fe80::1]:4001".parse().expect("an address"),
        ],
        relay: None,
    };
    let many = Invite {
        many: true,
        local_only: false,
        addrs: Vec::new(),
        relay: Some("https://relay.example".into()),
        ..invite.clone()
    };
    lines.remark("");
    lines.remark("Invites of Ana's endpoint: secret 16 x 42, until 1790000000000. One is for one use on this network at");
    lines.remark("192.168.1.5:4000 and [fe80::1]:4001, one for many uses over https://relay.example. As text:");
    for (name, invite) in [("one", &invite), ("many", &many)] {
        lines.remark(&invite.link());
        lines.both(&format!("invite.{name}"), invite.link(), reread_link);
    }
    lines.remark("A meet connection whose exporter is 32 x 41.");
    lines.made("invite.tag", secret.tag());
    lines.made("invite.proof.joiner", secret.proof(&EXPORTER, true));
    lines.made("invite.proof.inviter", secret.proof(&EXPORTER, false));
    let card = Card {
        certificate: ben.certificate.clone(),
        name: "Ben".into(),
        endpoint: there,
        addrs: vec!["192.168.1.6:5000".parse().expect("an address")],
        relay: None,
    };
    let shown = card.encode(&ben.device, &EXPORTER);
    lines.remark("Ben's card: his endpoint at 192.168.1.6:5000, no relay.");
    lines.both("card", &shown, |bytes| {
        let card = Card::decode(bytes, &EXPORTER).expect("a card");
        card.encode(&person(3).device, &EXPORTER)
    });
    let join = Join {
        tag: secret.tag(),
        proof: secret.proof(&EXPORTER, true),
        card: shown.clone(),
    };
    lines.both("meet.join", join.encode(), |bytes| {
        Join::decode(bytes).expect("a join").encode()
    });
    let welcome = JoinAnswer::Welcome {
        proof: secret.proof(&EXPORTER, false),
        card: shown.clone(),
        kept: None,
    };
    lines.both("meet.welcome", welcome.encode(), reread_answer);
    lines.remark("The inviter has Ben among the contacts, with the secret 32 x 42.");
    let known = JoinAnswer::Welcome {
        proof: secret.proof(&EXPORTER, false),
        card: shown,
        kept: Some(PairSecret([0x42; 32])),
    };
    lines.both("meet.welcome.known", known.encode(), reread_answer);
    lines.both("meet.wait", JoinAnswer::Wait.encode(), reread_answer);
    for refusal in Refusal::ALL {
        let name = format!("meet.refused.{}", name_of(refusal));
        lines.both(&name, JoinAnswer::Refused(refusal).encode(), reread_answer);
    }
    let (one, other) = (ana.identity.id(), ben.identity.id());
    let pair = PairSecret::new(&EXPORTER, &secret, one, other);
    lines.remark("What Ana and Ben derive from that connection.");
    lines.made("pair.secret", pair.0);
    let words = pair.words(one, other).join(" ");
    lines.remark(&words);
    lines.made("pair.words", &words);
    lines.made("pair.topic", pair.topic(here, there));
}
