//! Adding a contact: making a link, using somebody's, and asking whether the right person came.

use std::sync::Arc;

use askama::Template;
use axum::{
    Router,
    response::Response,
    routing::{get, post},
};
use engine::view::{Invite, NewInvite, Relation, Trust};

use super::{
    Ctx, Layout, Nav, again, form::Form, html, misfit, parts::Who, qr, redirect, when::When,
};
use crate::{
    App,
    api::extract::{Name, Query},
    fault::{Fault, Outcome},
};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/contacts/add", get(add))
        .route("/contacts/join", post(join))
        .route("/invites", post(create))
        .route("/invites/{invite}", get(show))
        .route("/invites/{invite}/qr.svg", get(code))
        .route("/invites/{invite}/delete", post(delete))
}

#[derive(Template)]
#[template(path = "add_contact.html")]
struct AddPage {
    page: Layout,
    open: Vec<InviteView>,
    used: Vec<UsedInvite>,
    link: String,
    join_error: Option<String>,
    invite_error: Option<String>,
    note: String,
}

struct InviteView {
    id: String,
    link: String,
    note: String,
    expires: When,
    expired: bool,
    uses: u32,
    used: u32,
    used_by: Vec<Who>,
    local_only: bool,
    tried_again: bool,
}

impl InviteView {
    fn of(ctx: &Ctx, invite: &Invite) -> Self {
        Self {
            id: invite.id.clone(),
            link: invite.link.clone(),
            note: invite.note.clone(),
            expires: When::of(invite.expires_ms, ctx.now),
            expired: invite.expires_ms <= ctx.now,
            uses: invite.uses,
            used: invite.used,
            used_by: invite.used_by.iter().map(Who::from).collect(),
            local_only: invite.local_only,
            tried_again: invite.tried_again,
        }
    }
}

/// A link that somebody used: was it the right person?
pub(super) struct UsedInvite {
    pub(super) id: String,
    pub(super) note: String,
    pub(super) people: Vec<(String, Who)>,
    pub(super) tried_again: bool,
}

/// The used links about which the person wasn't asked yet.
pub(super) fn used_invites(ctx: &Ctx) -> Outcome<Vec<UsedInvite>> {
    let invites = ctx.node().invites()?;
    Ok(invites
        .iter()
        .map(|invite| UsedInvite {
            id: invite.id.clone(),
            note: invite.note.clone(),
            people: invite
                .used_by
                .iter()
                .filter(|person| person.relation == Relation::Contact(Trust::Unverified))
                .map(|person| (person.id.to_string(), Who::from(person)))
                .collect(),
            tried_again: invite.tried_again,
        })
        .filter(|used| !used.people.is_empty() || used.tried_again)
        .collect())
}

#[derive(Default)]
struct Typed {
    link: String,
    join_error: Option<String>,
    note: String,
    invite_error: Option<String>,
}

fn add_page(ctx: &Ctx, query: &Query, typed: Typed) -> Outcome<Response> {
    html(&AddPage {
        page: ctx
            .layout(Nav::Contacts, "Add a contact", query)?
            .about("contacts")
            .below("/contacts"),
        open: ctx
            .node()
            .invites()?
            .iter()
            .filter(|invite| invite.used < invite.uses)
            .map(|invite| InviteView::of(ctx, invite))
            .collect(),
        used: used_invites(ctx)?,
        link: typed.link,
        join_error: typed.join_error,
        invite_error: typed.invite_error,
        note: typed.note,
    })
}

async fn add(ctx: Ctx, query: Query) -> Outcome<Response> {
    add_page(&ctx, &query, Typed::default())
}

async fn join(ctx: Ctx, query: Query, Form(fields): Form) -> Outcome<Response> {
    let link = fields.get("link");
    match ctx.node().join(link.trim()).await {
        Ok(contact) => Ok(redirect(&format!("/contacts/{}?done=joined", contact.id))),
        Err(
            error @ (engine::Error::Invalid { .. }
            | engine::Error::Conflict { .. }
            | engine::Error::NotAllowed { .. }
            | engine::Error::Unreachable { .. }),
        ) => {
            let detail = match error {
                engine::Error::Invalid { detail, .. } => detail,
                error => error.to_string(),
            };
            let typed = Typed {
                link,
                join_error: Some(detail),
                ..Typed::default()
            };
            Ok(again(add_page(&ctx, &query, typed)?))
        }
        Err(error) => Err(error.into()),
    }
}

async fn create(ctx: Ctx, query: Query, Form(fields): Form) -> Outcome<Response> {
    let note = fields.get("note");
    let number = |name: &'static str| match fields.get(name).as_str() {
        "" => Ok(None),
        text => text
            .parse::<u32>()
            .map(Some)
            .map_err(|_| Fault::field(name, "expected a number")),
    };
    let new = NewInvite {
        uses: number("uses")?,
        expires_in_s: number("hours")?.map(|hours| u64::from(hours) * 3_600),
        note: Some(note.trim().to_owned()),
    };
    match ctx.node().create_invite(new).await {
        Ok(invite) => Ok(redirect(&format!("/invites/{}", invite.id))),
        Err(error) => {
            let typed = Typed {
                note,
                invite_error: Some(misfit(error)?),
                ..Typed::default()
            };
            Ok(again(add_page(&ctx, &query, typed)?))
        }
    }
}

#[derive(Template)]
#[template(path = "invite.html")]
struct InvitePage {
    page: Layout,
    invite: InviteView,
}

async fn show(ctx: Ctx, Name(id): Name, query: Query) -> Outcome<Response> {
    let invite = ctx.node().invite(&id)?;
    html(&InvitePage {
        page: ctx
            .layout(Nav::Contacts, "Your invite link", &query)?
            .about("contacts")
            .below("/contacts/add"),
        invite: InviteView::of(&ctx, &invite),
    })
}

async fn code(ctx: Ctx, Name(id): Name) -> Outcome<Response> {
    let invite = ctx.node().invite(&id)?;
    qr::image(&invite.link)
}

async fn delete(ctx: Ctx, Name(id): Name, Form(fields): Form) -> Outcome<Response> {
    ctx.node().delete_invite(&id).await?;
    let done = if fields.get("kept").is_empty() {
        "removed"
    } else {
        "kept"
    };
    Ok(redirect(&format!("/contacts/add?done={done}")))
}
