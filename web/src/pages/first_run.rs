//! The first page of a fresh node: a name, and whether the internet may be used.

use std::sync::Arc;

use askama::Template;
use axum::{Router, response::Response, routing::get};

use super::{Ctx, again, form::Form, html, links::internet_choice, misfit, redirect};
use crate::{
    App,
    assets::{self, AssetPaths},
    fault::Outcome,
};

pub(super) const PATH: &str = "/first-run";

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route(PATH, get(show).post(set_up))
}

#[derive(Template)]
#[template(path = "first_run.html")]
pub(super) struct FirstRunPage {
    pub(super) assets: AssetPaths,
    pub(super) csrf: String,
    pub(super) name: String,
    pub(super) error: Option<String>,
}

fn page(ctx: &Ctx, name: String, error: Option<String>) -> Outcome<Response> {
    html(&FirstRunPage {
        assets: assets::paths(),
        csrf: ctx.session.form_token.clone(),
        name,
        error,
    })
}

async fn show(ctx: Ctx) -> Outcome<Response> {
    if ctx.node().is_set_up() {
        return Ok(redirect("/"));
    }
    page(&ctx, String::new(), None)
}

async fn set_up(ctx: Ctx, Form(fields): Form) -> Outcome<Response> {
    let name = fields.get("name");
    if let Err(error) = ctx.node().set_up(&name).await {
        return Ok(again(page(&ctx, name, Some(misfit(error)?))?));
    }
    // The choice can't be made here when the settings file makes it; the Links page says so.
    if let Some(internet) = internet_choice(&fields.get("internet"))
        && let Err(error) = ctx.node().set_internet(internet).await
    {
        tracing::info!(%error, "the internet link stays as it is");
    }
    Ok(redirect("/"))
}
