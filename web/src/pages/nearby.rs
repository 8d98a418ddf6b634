//! Meeting somebody nearby: who is there, their words, yes or no.

use std::sync::Arc;

use askama::Template;
use axum::{
    Router,
    response::Response,
    routing::{get, post},
};
use engine::view::{NearbyPerson, NearbyStage};

use super::{Ctx, Layout, Nav, again, form::Form, html, parts::Who, redirect, words};
use crate::{
    App,
    api::extract::{Name, Query},
    fault::Outcome,
};

const PATH: &str = "/nearby";

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/nearby", get(show).post(open))
        .route("/nearby/close", post(close))
        .route("/nearby/{person}/accept", post(accept))
        .route("/nearby/{person}/decline", post(decline))
}

#[derive(Template)]
#[template(path = "nearby.html")]
struct NearbyPage {
    page: Layout,
    error: Option<String>,
    open: bool,
    seconds: u64,
    reachable: bool,
    crowded: bool,
    connecting: u64,
    people: Vec<PersonView>,
}

struct PersonView {
    id: String,
    name: String,
    words: [&'static str; 3],
    /// Somebody else in the list chose the same name.
    same_name: bool,
    stage: StageView,
}

enum StageView {
    Comparing {
        we_accept: bool,
        they_accept: bool,
    },
    Done {
        who: Who,
        known: bool,
        confirmed: bool,
    },
    Ended(String),
}

impl PersonView {
    fn of(ctx: &Ctx, person: &NearbyPerson, all: &[NearbyPerson]) -> Outcome<Self> {
        let stage = match &person.stage {
            NearbyStage::Comparing {
                we_accept,
                they_accept,
            } => StageView::Comparing {
                we_accept: *we_accept,
                they_accept: *they_accept,
            },
            NearbyStage::Done {
                contact,
                known,
                confirmed,
            } => match ctx.node().contact(*contact) {
                Ok(contact) => StageView::Done {
                    who: super::contacts::who(&contact),
                    known: *known,
                    confirmed: *confirmed,
                },
                Err(engine::Error::NotFound { .. }) => {
                    StageView::Ended("you removed this contact since".to_owned())
                }
                Err(error) => return Err(error.into()),
            },
            NearbyStage::Ended(why) => StageView::Ended(why.clone()),
        };
        let name = words::name(&person.name);
        let is_same = |other: &&NearbyPerson| {
            other.id != person.id && words::name(&other.name).to_lowercase() == name.to_lowercase()
        };
        Ok(Self {
            id: person.id.clone(),
            same_name: all.iter().any(|other| is_same(&other)),
            name,
            words: person.words,
            stage,
        })
    }
}

fn page(ctx: &Ctx, query: &Query, error: Option<String>) -> Outcome<Response> {
    let nearby = ctx.node().nearby()?;
    let people = nearby
        .people
        .iter()
        .map(|person| PersonView::of(ctx, person, &nearby.people))
        .collect::<Outcome<_>>()?;
    html(&NearbyPage {
        page: ctx
            .layout(Nav::Contacts, "Meet nearby", query)?
            .about("contacts")
            .below("/contacts/add"),
        error,
        open: nearby.until_ms.is_some(),
        seconds: nearby
            .until_ms
            .map_or(0, |until| until.since(ctx.now).div_ceil(1_000)),
        reachable: nearby.has_network || nearby.has_radio,
        crowded: nearby.crowded,
        connecting: nearby.connecting,
        people,
    })
}

async fn show(ctx: Ctx, query: Query) -> Outcome<Response> {
    page(&ctx, &query, None)
}

async fn open(ctx: Ctx, query: Query, Form(_): Form) -> Outcome<Response> {
    match ctx.node().open_nearby(None).await {
        Ok(_) => Ok(redirect(PATH)),
        Err(error @ (engine::Error::Conflict { .. } | engine::Error::Unreachable { .. })) => {
            Ok(again(page(&ctx, &query, Some(error.to_string()))?))
        }
        Err(error) => Err(error.into()),
    }
}

async fn close(ctx: Ctx, Form(_): Form) -> Outcome<Response> {
    ctx.node().close_nearby()?;
    Ok(redirect(PATH))
}

async fn accept(ctx: Ctx, Name(id): Name, Form(_): Form) -> Outcome<Response> {
    decided(ctx.node().accept_nearby(&id))
}

async fn decline(ctx: Ctx, Name(id): Name, Form(_): Form) -> Outcome<Response> {
    decided(ctx.node().decline_nearby(&id))
}

/// The page says what became of them, also where they were gone by then.
fn decided(result: engine::Result<NearbyPerson>) -> Outcome<Response> {
    match result {
        Ok(_) | Err(engine::Error::Conflict { .. } | engine::Error::NotFound { .. }) => {
            Ok(redirect(PATH))
        }
        Err(error) => Err(error.into()),
    }
}
