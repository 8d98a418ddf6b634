//! The meetings that there were, how long catching up takes, and meeting now.

use std::sync::Arc;

use askama::{Template, filters::HtmlSafe};
use axum::{
    Router,
    response::Response,
    routing::{get, post},
};
use engine::{
    IdentityId, Millis,
    view::{Contact, Exchanged, LinkKind, Meeting, MeetingEnd, PageQuery},
};

use super::{
    Ctx, Layout, Nav, contacts,
    form::Form,
    html, next_href, page_query,
    parts::{Who, link_words},
    redirect,
    when::When,
    words,
};
use crate::{
    App,
    api::extract::{Id, Query},
    fault::Outcome,
};

/// Contacts whose catching up is shown at once; more would only push the page down.
const PROGRESS_SHOWN: usize = 3;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/meetings", get(all))
        .route("/meetings/forget", post(forget_all))
        .route("/contacts/{contact}/meetings", get(of_contact))
        .route(
            "/contacts/{contact}/meetings/forget",
            post(forget_of_contact),
        )
        .route("/contacts/{contact}/meet", post(meet))
}

/// A meeting in a list.
#[derive(Template)]
#[template(path = "part/meeting.html")]
pub(super) struct MeetingView {
    /// With whom, where the list has several people's.
    who: Option<Who>,
    began: When,
    lasted: String,
    over: String,
    exchanged: String,
    end: &'static str,
}

impl HtmlSafe for MeetingView {}

impl MeetingView {
    pub(super) fn of(meeting: &Meeting, now: Millis, with_name: bool) -> Self {
        Self {
            who: with_name.then(|| Who::from(&meeting.contact)),
            began: When::of(meeting.began_ms, now),
            lasted: words::span(meeting.lasted_ms),
            over: over(&meeting.links),
            exchanged: exchanged(&meeting.exchanged),
            end: match meeting.end {
                MeetingEnd::Lost => "broke off",
                MeetingEnd::Theirs => "ended by them",
                MeetingEnd::Ours => "ended here",
                MeetingEnd::Replaced => "went on over another connection",
                MeetingEnd::Misbehaved => "ended here: they broke the protocol",
                MeetingEnd::Disk => "ended here: the disk",
            },
        }
    }
}

/// The links of a meeting in words.
fn over(links: &[LinkKind]) -> String {
    let links: Vec<_> = links.iter().map(|link| link_words(*link)).collect();
    if links.is_empty() {
        "an unknown link".to_owned()
    } else {
        links.join(", then ")
    }
}

/// What went to and fro in words.
pub(super) fn exchanged(exchanged: &Exchanged) -> String {
    let Exchanged {
        entries_in,
        entries_out,
        bytes_in,
        bytes_out,
    } = *exchanged;
    let y = if entries_in == 1 { "y" } else { "ies" };
    format!(
        "received {entries_in} entr{y} ({}), sent {entries_out} ({})",
        words::bytes(bytes_in),
        words::bytes(bytes_out)
    )
}

/// The newest meetings, with one contact or with all.
pub(super) fn newest(ctx: &Ctx, of: Option<IdentityId>, limit: usize) -> Outcome<Vec<MeetingView>> {
    let query = PageQuery {
        cursor: None,
        limit,
    };
    let meetings = ctx.node().meetings(of, &query)?.items;
    Ok(meetings
        .iter()
        .map(|meeting| MeetingView::of(meeting, ctx.now, of.is_none()))
        .collect())
}

#[derive(Template)]
#[template(path = "meetings.html")]
struct MeetingsPage {
    page: Layout,
    /// Whose, with the way back; all where it is nobody's.
    of: Option<Who>,
    /// Where they are forgotten.
    path: String,
    meetings: Vec<MeetingView>,
    next: Option<String>,
}

fn list(ctx: &Ctx, of: Option<&Contact>, query: &Query) -> Outcome<Response> {
    let id = of.map(|contact| contact.id);
    let page = ctx.node().meetings(id, &page_query(query))?;
    let (nav, path, up) = match id {
        Some(id) => {
            let up = format!("/contacts/{id}");
            (Nav::Contacts, format!("{up}/meetings"), up)
        }
        None => (Nav::Links, "/meetings".to_owned(), "/links".to_owned()),
    };
    html(&MeetingsPage {
        page: ctx.layout(nav, "Meetings", query)?.below(up),
        of: of.map(contacts::who),
        meetings: page
            .items
            .iter()
            .map(|meeting| MeetingView::of(meeting, ctx.now, of.is_none()))
            .collect(),
        next: next_href(&path, page.next.as_ref()),
        path,
    })
}

async fn all(ctx: Ctx, query: Query) -> Outcome<Response> {
    list(&ctx, None, &query)
}

async fn of_contact(ctx: Ctx, Id(id): Id<IdentityId>, query: Query) -> Outcome<Response> {
    let contact = ctx.node().contact(id)?;
    list(&ctx, Some(&contact), &query)
}

async fn forget_all(ctx: Ctx, Form(_): Form) -> Outcome<Response> {
    ctx.node().forget_meetings(None).await?;
    Ok(redirect("/meetings?done=forgotten"))
}

async fn forget_of_contact(ctx: Ctx, Id(id): Id<IdentityId>, Form(_): Form) -> Outcome<Response> {
    ctx.node().forget_meetings(Some(id)).await?;
    Ok(redirect(&format!("/contacts/{id}/meetings?done=forgotten")))
}

async fn meet(ctx: Ctx, Id(id): Id<IdentityId>, Form(_): Form) -> Outcome<Response> {
    let done = match ctx.node().meet(id).await {
        Ok(_) => "met",
        Err(engine::Error::Unreachable { .. }) => "not-met",
        Err(error) => return Err(error.into()),
    };
    Ok(redirect(&format!("/contacts/{id}?done={done}")))
}

/// How far catching up with one contact is.
pub(crate) struct ProgressLine {
    who: Who,
    want: u64,
    percent: u64,
    left: Option<String>,
}

/// How far catching up is, where it takes long enough to be worth a bar.
#[derive(Template)]
#[template(path = "part/progress.html")]
pub(crate) struct Progress {
    lines: Vec<ProgressLine>,
    /// Further contacts that bring something.
    more: usize,
}

impl HtmlSafe for Progress {}

impl Progress {
    /// With everybody, what takes longest first.
    pub(super) fn of_all(ctx: &Ctx) -> Outcome<Self> {
        Ok(Self::of(&ctx.node().online()?))
    }

    /// With these.
    pub(super) fn of(contacts: &[Contact]) -> Self {
        let mut behind: Vec<_> = contacts
            .iter()
            .filter(|contact| contact.behind.pace.is_some())
            .collect();
        behind.sort_by_key(|contact| {
            let left_s = contact.behind.pace.and_then(|pace| pace.left_s);
            std::cmp::Reverse((left_s.unwrap_or(u64::MAX), contact.behind.want))
        });
        let lines = behind.iter().take(PROGRESS_SHOWN).filter_map(|contact| {
            let (want, pace) = (contact.behind.want, contact.behind.pace?);
            Some(ProgressLine {
                who: contacts::who(contact),
                want,
                percent: pace.got.saturating_mul(100) / pace.got.saturating_add(want).max(1),
                left: pace.left_s.map(words::about),
            })
        });
        Self {
            lines: lines.collect(),
            more: behind.len().saturating_sub(PROGRESS_SHOWN),
        }
    }
}
