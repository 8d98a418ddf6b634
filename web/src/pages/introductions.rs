//! Introducing two contacts to each other, and answering an introduction.

use std::sync::Arc;

use axum::{Router, response::Response, routing::post};
use engine::{
    IdentityId,
    view::{ContactState, Introduction, IntroductionAnswer, IntroductionState, PageQuery},
};

use super::{Ctx, form::Form, parts::Who, redirect};
use crate::{
    App,
    api::extract::{Name, parse_field},
    fault::Outcome,
};

/// Contacts that are offered for an introduction: as many as a page of the list has at most.
const CHOICES_MAX: usize = 500;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/introductions", post(introduce))
        .route("/introductions/{introduction}/accept", post(accept))
        .route("/introductions/{introduction}/decline", post(decline))
}

/// An introduction on a page.
pub(super) struct IntroductionView {
    pub(super) id: String,
    pub(super) made: bool,
    pub(super) asks: bool,
    pub(super) by: Who,
    pub(super) one: Who,
    pub(super) other: Who,
    pub(super) message: String,
    pub(super) state: &'static str,
}

impl IntroductionView {
    fn of(introduction: &Introduction) -> Self {
        Self {
            id: introduction.id.clone(),
            made: introduction.made,
            asks: introduction.state == IntroductionState::Asks,
            by: Who::from(&introduction.by),
            one: Who::from(&introduction.one),
            other: Who::from(&introduction.other),
            message: introduction.message.clone(),
            state: state_words(introduction),
        }
    }
}

/// How far it is, in words.
fn state_words(introduction: &Introduction) -> &'static str {
    use IntroductionAnswer::{Waiting, Yes};
    match (introduction.state, introduction.made) {
        (IntroductionState::Asks, _) => {
            "If you both say yes, your nodes become contacts when they meet."
        }
        (IntroductionState::Waits, true) => {
            match (introduction.one_says, introduction.other_says) {
                (Yes, Waiting) => "The first said yes, the second hasn’t answered yet.",
                (Waiting, Yes) => "The second said yes, the first hasn’t answered yet.",
                _ => "Neither has answered yet.",
            }
        }
        (IntroductionState::Waits, false) => "You said yes. They haven’t answered yet.",
        (IntroductionState::Meets, _) => {
            "You both said yes. You become contacts as soon as your nodes meet."
        }
        (IntroductionState::Done, true) => "Both said yes.",
        (IntroductionState::Done, false) => "You are contacts.",
        (IntroductionState::Declined, _) => "Not now.",
        (IntroductionState::Expired, _) => "It was never completed and has expired.",
    }
}

/// Introductions that concern somebody, or that wait for something; those that came about aside.
pub(super) fn shown(ctx: &Ctx, about: Option<IdentityId>) -> Outcome<Vec<IntroductionView>> {
    let all = ctx.node().introductions()?;
    let shown = all.iter().filter(|one| match about {
        Some(id) => {
            [one.by.id, one.one.id, one.other.id].contains(&id)
                && one.state != IntroductionState::Expired
        }
        None => matches!(
            one.state,
            IntroductionState::Asks | IntroductionState::Meets
        ),
    });
    Ok(shown.map(IntroductionView::of).collect())
}

/// To whom somebody can be introduced: id and name of each other contact.
pub(super) fn choices(ctx: &Ctx, id: IdentityId) -> Outcome<Vec<(String, String)>> {
    let all = PageQuery {
        cursor: None,
        limit: CHOICES_MAX,
    };
    let contacts = ctx.node().contacts(&all)?.items;
    let others = contacts
        .iter()
        .filter(|contact| contact.id != id && contact.state == ContactState::Ready);
    Ok(others
        .map(|contact| (contact.id.to_string(), super::contacts::who(contact).name))
        .collect())
}

async fn introduce(ctx: Ctx, Form(fields): Form) -> Outcome<Response> {
    let one: IdentityId = parse_field("one", &fields.get("one"))?;
    let other = parse_field("other", &fields.get("other"))?;
    ctx.node()
        .introduce(one, other, &fields.get("message"))
        .await?;
    Ok(redirect(&format!("/contacts/{one}?done=introduced")))
}

async fn accept(ctx: Ctx, Name(id): Name, Form(_): Form) -> Outcome<Response> {
    let answered = ctx.node().accept_introduction(&id).await?;
    Ok(redirect(&format!("/messages/{}", answered.by.id)))
}

async fn decline(ctx: Ctx, Name(id): Name, Form(_): Form) -> Outcome<Response> {
    let answered = ctx.node().decline_introduction(&id).await?;
    Ok(redirect(&format!("/messages/{}", answered.by.id)))
}
