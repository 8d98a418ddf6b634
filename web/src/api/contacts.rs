//! Invites and contacts.

use std::sync::Arc;

use axum::{Json, extract::State};
use engine::{
    IdentityId,
    view::{ContactPatch, NewInvite},
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    Created, Done, dto,
    extract::{Body, Id, Name, Nothing, Query},
    routes::{Routes, doc},
};
use crate::{
    App,
    fault::{FaultKind, Outcome},
};

/// What a new invite should be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct InviteRequest {
    /// How many people may use it, 1 by default; more need an accept each.
    uses: Option<u32>,
    /// Seconds until it expires, 48 hours by default.
    expires_in_s: Option<u64>,
    /// A note to ourselves.
    note: Option<String>,
}

/// Somebody's link.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct JoinRequest {
    /// `waymeet:…`
    link: String,
}

/// A change of a contact; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ContactRequest {
    /// Our private name for them; an empty one removes it.
    nickname: Option<String>,
    /// How sure we are that the key is theirs.
    trust: Option<dto::Trust>,
    /// Bytes that may come in through them, at most 1,099,511,627,776; at first 2,147,483,648.
    quota_bytes: Option<u64>,
}

/// Where a contact is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AddressRequest {
    /// IP addresses with UDP ports on a local network, as their page Links shows them, between
    /// spaces: `192.168.1.5:41234 [fd00::5]:41234`.
    address: String,
}

pub(super) fn routes(routes: Routes) -> Routes {
    contact_routes(invite_routes(routes))
}

fn invite_routes(routes: Routes) -> Routes {
    use FaultKind::{Conflict, Unreachable};
    routes
        .post(
            "/invites",
            create_invite,
            doc(
                "contacts",
                "Makes a link by which somebody becomes a contact",
            )
            .takes::<InviteRequest>()
            .gives::<dto::Invite>(201, "The invite")
            .can_fail(&[Conflict]),
        )
        .get(
            "/invites",
            invites,
            doc("contacts", "The invites that we made").lists::<dto::Invite>("Invites"),
        )
        .get(
            "/invites/{invite}",
            invite,
            doc("contacts", "One invite").gives::<dto::Invite>(200, "The invite"),
        )
        .delete(
            "/invites/{invite}",
            delete_invite,
            doc("contacts", "Takes an invite back: its link stops working").empty("Gone"),
        )
        .post(
            "/contacts/join",
            join,
            doc(
                "contacts",
                "Uses somebody's link; the contact may be pending at first",
            )
            .takes::<JoinRequest>()
            .gives::<dto::Contact>(201, "The contact")
            .can_fail(&[Conflict, Unreachable]),
        )
}

fn contact_routes(routes: Routes) -> Routes {
    use FaultKind::{Conflict, NotAllowed};
    routes
        .get(
            "/contacts",
            contacts,
            doc("contacts", "The contacts")
                .paged()
                .lists::<dto::Contact>("Contacts"),
        )
        .get(
            "/contacts/{contact}",
            contact,
            doc("contacts", "One contact").gives::<dto::Contact>(200, "The contact"),
        )
        .get(
            "/contacts/{contact}/words",
            words,
            doc(
                "contacts",
                "Twelve words that both people see alike, to compare",
            )
            .gives::<dto::Words>(200, "The words")
            .can_fail(&[Conflict]),
        )
        .post(
            "/contacts/{contact}/accept",
            accept,
            doc("contacts", "Accepts somebody who used a many-use invite")
                .gives::<dto::Contact>(200, "The contact")
                .can_fail(&[Conflict]),
        )
        .post(
            "/contacts/{contact}/addresses",
            find_at,
            doc(
                "contacts",
                "Says where a contact is, where they aren't found by themselves; they are dialled there for half an hour",
            )
            .takes::<AddressRequest>()
            .gives::<dto::Contact>(200, "The contact")
            .can_fail(&[Conflict]),
        )
        .patch(
            "/contacts/{contact}",
            update,
            doc(
                "contacts",
                "Changes the nickname, the trust mark or the quota",
            )
            .takes::<ContactRequest>()
            .gives::<dto::Contact>(200, "The contact")
            .can_fail(&[NotAllowed]),
        )
        .delete(
            "/contacts/{contact}",
            remove,
            doc(
                "contacts",
                "Cuts and forgets a contact, or declines one who asks",
            )
            .empty("Gone"),
        )
}

async fn create_invite(
    State(app): State<Arc<App>>,
    Body(new): Body<InviteRequest>,
) -> Outcome<Created<dto::Invite>> {
    let new = NewInvite {
        uses: new.uses,
        expires_in_s: new.expires_in_s,
        note: new.note,
    };
    Ok(Created(app.node.create_invite(new).await?.into()))
}

async fn invites(State(app): State<Arc<App>>) -> Outcome<Json<dto::List<dto::Invite>>> {
    Ok(Json(dto::List::whole(
        app.node.invites()?,
        dto::Invite::from,
    )))
}

async fn invite(State(app): State<Arc<App>>, Name(id): Name) -> Outcome<Json<dto::Invite>> {
    Ok(Json(app.node.invite(&id)?.into()))
}

async fn delete_invite(State(app): State<Arc<App>>, Name(id): Name) -> Outcome<Done> {
    app.node.delete_invite(&id).await?;
    Ok(Done)
}

async fn join(
    State(app): State<Arc<App>>,
    Body(request): Body<JoinRequest>,
) -> Outcome<Created<dto::Contact>> {
    Ok(Created(app.node.join(request.link.trim()).await?.into()))
}

async fn contacts(
    State(app): State<Arc<App>>,
    query: Query,
) -> Outcome<Json<dto::List<dto::Contact>>> {
    let page = app.node.contacts(&query.page()?)?;
    Ok(Json(dto::List::of(page, dto::Contact::from)))
}

async fn contact(
    State(app): State<Arc<App>>,
    Id(id): Id<IdentityId>,
) -> Outcome<Json<dto::Contact>> {
    Ok(Json(app.node.contact(id)?.into()))
}

async fn words(State(app): State<Arc<App>>, Id(id): Id<IdentityId>) -> Outcome<Json<dto::Words>> {
    let words = app.node.contact_words(id)?;
    Ok(Json(dto::Words { words }))
}

async fn accept(
    State(app): State<Arc<App>>,
    Id(id): Id<IdentityId>,
    Body(Nothing {}): Body<Nothing>,
) -> Outcome<Json<dto::Contact>> {
    Ok(Json(app.node.accept_contact(id).await?.into()))
}

async fn find_at(
    State(app): State<Arc<App>>,
    Id(id): Id<IdentityId>,
    Body(request): Body<AddressRequest>,
) -> Outcome<Json<dto::Contact>> {
    let contact = app.node.find_contact_at(id, &request.address).await?;
    Ok(Json(contact.into()))
}

async fn update(
    State(app): State<Arc<App>>,
    Id(id): Id<IdentityId>,
    Body(request): Body<ContactRequest>,
) -> Outcome<Json<dto::Contact>> {
    let patch = ContactPatch {
        nickname: request.nickname,
        trust: request.trust.map(Into::into),
        quota_bytes: request.quota_bytes,
    };
    Ok(Json(app.node.update_contact(id, patch).await?.into()))
}

async fn remove(State(app): State<Arc<App>>, Id(id): Id<IdentityId>) -> Outcome<Done> {
    app.node.remove_contact(id).await?;
    Ok(Done)
}
