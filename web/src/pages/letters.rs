//! Messages that friends carry, sealed: what is carried here, and for whom.

use std::sync::Arc;

use askama::Template;
use axum::{
    Router,
    response::Response,
    routing::{get, post},
};
use engine::{EntryId, view::WhoseLetters};

use super::{Ctx, Layout, Nav, form::Form, html, redirect, words};
use crate::{
    App,
    api::extract::{Id, Query},
    fault::{Fault, Outcome},
};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/letters", get(show).post(choose))
        .route("/letters/forget", post(forget))
        .route("/entries/{id}/send-again", post(send_again))
}

#[derive(Template)]
#[template(path = "letters.html")]
struct LettersPage {
    page: Layout,
    /// Which of the three is chosen.
    carry: &'static str,
    carried: u64,
    carried_bytes: String,
    carried_bytes_max: String,
    on_their_way: u64,
    keys_from: u64,
    copies: u64,
    days: u64,
}

async fn show(ctx: Ctx, query: Query) -> Outcome<Response> {
    let letters = ctx.node().letters()?;
    html(&LettersPage {
        page: ctx
            .layout(Nav::Messages, "Carried by friends", &query)?
            .about("letters")
            .below("/messages"),
        carry: match letters.carry {
            WhoseLetters::Nobody => "nobody",
            WhoseLetters::Verified => "verified",
            WhoseLetters::Contacts => "contacts",
        },
        carried: letters.carried,
        carried_bytes: words::binary_bytes(letters.carried_bytes),
        carried_bytes_max: words::binary_bytes(letters.carried_bytes_max),
        on_their_way: letters.on_their_way,
        keys_from: letters.keys_from,
        copies: letters.copies,
        days: letters.days,
    })
}

async fn choose(ctx: Ctx, Form(fields): Form) -> Outcome<Response> {
    let whose = match fields.get("carry").as_str() {
        "nobody" => WhoseLetters::Nobody,
        "verified" => WhoseLetters::Verified,
        "contacts" => WhoseLetters::Contacts,
        _ => {
            return Err(Fault::field(
                "carry",
                "expected nobody, verified or contacts",
            ));
        }
    };
    ctx.node().carry_letters(whose).await?;
    Ok(redirect("/letters"))
}

async fn forget(ctx: Ctx, Form(_): Form) -> Outcome<Response> {
    ctx.node().forget_used_keys().await?;
    Ok(redirect("/letters"))
}

async fn send_again(ctx: Ctx, Id(id): Id<EntryId>, Form(_): Form) -> Outcome<Response> {
    ctx.node().send_again(id).await?;
    Ok(redirect(&format!("/entries/{id}")))
}
