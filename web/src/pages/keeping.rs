//! How a conversation is kept: how long messages stay, whether reading is told, deleting here only.

use std::sync::Arc;

use askama::Template;
use axum::{Router, response::Response, routing::get};
use engine::{
    EntryId, IdentityId,
    view::{Conversation, ConversationSetting, Delivery, Disappears, Keeping, PageQuery, Post},
};

use super::{
    Ctx, Layout, Nav, again,
    entries::{EXCERPT_CHARS, place},
    form::Form,
    html, misfit,
    parts::Who,
    redirect, words,
};
use crate::{
    App,
    api::extract::{Id, Query},
    fault::Outcome,
    markdown::plain_text,
};

/// Lifetimes that are offered, in seconds.
const OFFERED: [u64; 7] = [0, 60, 3_600, 86_400, 604_800, 2_592_000, 31_536_000];

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/messages/{contact}/keep", get(show).post(keep))
        .route("/entries/{entry}/delete", get(ask_delete).post(delete))
}

/// A lifetime as people say it.
pub(crate) fn lifetime(seconds: u64) -> String {
    const UNITS: [(u64, &str); 6] = [
        (31_536_000, "year"),
        (2_592_000, "month"),
        (604_800, "week"),
        (86_400, "day"),
        (3_600, "hour"),
        (60, "minute"),
    ];
    let fits = |(unit, _): &&(u64, &str)| seconds >= *unit && seconds.is_multiple_of(*unit);
    match UNITS.iter().find(fits) {
        Some((unit, name)) if seconds == *unit => format!("1 {name}"),
        Some((unit, name)) => format!("{} {name}s", seconds / unit),
        None => words::span(seconds.saturating_mul(1_000)),
    }
}

/// What a line of a conversation says: after its author's name, or by itself where that is us.
pub(crate) fn setting_words(setting: &ConversationSetting, own: bool) -> String {
    let stay = setting.lifetime_s.map(|seconds| {
        let does = match (setting.taken_over, own) {
            (false, _) => "set",
            (true, true) => "went along",
            (true, false) => "goes along",
        };
        match seconds {
            0 => format!("{does} that messages stay from here on"),
            seconds => format!(
                "{does} that messages disappear {} after they were read",
                lifetime(seconds.into())
            ),
        }
    });
    let receipts = setting.receipts.map(|receipts| match (receipts, own) {
        (true, _) => "would like to tell each other when messages are read",
        (false, true) => "don’t want to tell each other when messages are read",
        (false, false) => "doesn’t want to tell each other when messages are read",
    });
    let parts = [stay, receipts.map(ToOwned::to_owned)];
    let said: Vec<_> = parts.into_iter().flatten().collect();
    let said = said.join(", and ");
    if own { format!("You {said}") } else { said }
}

/// When a message goes.
pub(crate) fn disappears(disappears: &Disappears, own: bool, now: engine::Millis) -> String {
    match disappears.at_ms {
        Some(at) => format!("disappears in {}", at_most(at.since(now))),
        None => {
            let after = if own { "delivery" } else { "it was read" };
            let lifetime = lifetime(disappears.lifetime_s.into());
            format!("disappears {lifetime} after {after}")
        }
    }
}

/// A time that is left, never less than it is.
fn at_most(ms: u64) -> String {
    const MINUTE: u64 = 60_000;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let unit = match ms {
        DAY.. => DAY,
        HOUR.. => HOUR,
        _ => MINUTE,
    };
    words::span(ms.max(1).div_ceil(unit) * unit)
}

/// What stands above the messages.
pub(crate) struct KeepingView {
    pub(crate) stay: String,
    /// The other person wants that both tell what was read, and we haven't said so.
    pub(crate) asked: bool,
    pub(crate) both_tell: bool,
}

impl KeepingView {
    pub(crate) fn of(conversation: &Conversation) -> Self {
        let kept = &conversation.disappearing;
        let by = kept.set_by.as_ref().map(|by| {
            if by.id == conversation.contact.id {
                words::name(&by.name)
            } else {
                "you".to_owned()
            }
        });
        let stay = match (kept.lifetime_s, by) {
            (0, _) => "Messages stay".to_owned(),
            (seconds, by) => format!(
                "Messages disappear {} after they were read, set by {}",
                lifetime(seconds.into()),
                by.as_deref().unwrap_or("nobody")
            ),
        };
        let receipts = conversation.receipts;
        Self {
            stay,
            asked: receipts.theirs && !receipts.ours,
            both_tell: receipts.theirs && receipts.ours,
        }
    }
}

#[derive(Template)]
#[template(path = "keeping.html")]
struct KeepingPage {
    page: Layout,
    who: Who,
    href: String,
    choices: Vec<Choice>,
    ours: bool,
    theirs: bool,
    error: Option<String>,
}

struct Choice {
    seconds: u64,
    words: String,
    chosen: bool,
}

fn page(ctx: &Ctx, id: IdentityId, query: &Query, error: Option<String>) -> Outcome<Response> {
    let one = PageQuery {
        cursor: None,
        limit: 1,
    };
    let conversation = ctx.node().conversation(id, &one, true)?.conversation;
    let now = u64::from(conversation.disappearing.lifetime_s);
    let mut offered = OFFERED.to_vec();
    if !offered.contains(&now) {
        offered.push(now);
        offered.sort_unstable();
    }
    let href = format!("/messages/{id}");
    html(&KeepingPage {
        page: ctx
            .layout(Nav::Messages, "How messages are kept", query)?
            .below(&*href),
        who: Who::from(&conversation.contact),
        choices: offered
            .into_iter()
            .map(|seconds| Choice {
                seconds,
                words: match seconds {
                    0 => "Never".to_owned(),
                    seconds => format!("{} after they were read", lifetime(seconds)),
                },
                chosen: seconds == now,
            })
            .collect(),
        ours: conversation.receipts.ours,
        theirs: conversation.receipts.theirs,
        error,
        href,
    })
}

async fn show(ctx: Ctx, Id(id): Id<IdentityId>, query: Query) -> Outcome<Response> {
    page(&ctx, id, &query, None)
}

async fn keep(
    ctx: Ctx,
    Id(id): Id<IdentityId>,
    query: Query,
    Form(fields): Form,
) -> Outcome<Response> {
    let lifetime = fields.get("lifetime");
    let keeping = Keeping {
        lifetime_s: match lifetime.as_str() {
            "" => None,
            // What is no number is no lifetime either.
            text => Some(text.parse().unwrap_or(u64::MAX)),
        },
        // A box that isn't ticked sends nothing, so the form says that it has one.
        receipts: (!fields.get("asked").is_empty()).then(|| fields.get("receipts") == "yes"),
    };
    match ctx.node().keep_conversation(id, keeping).await {
        Ok(_) => Ok(redirect(&format!("/messages/{id}"))),
        Err(error) => Ok(again(page(&ctx, id, &query, Some(misfit(error)?))?)),
    }
}

#[derive(Template)]
#[template(path = "delete_here.html")]
struct DeletePage {
    page: Layout,
    id: String,
    excerpt: String,
    /// An own one that the other person doesn't have yet.
    on_its_way: bool,
    back: String,
}

/// Whether the other person's device is known to have one of our messages.
const fn is_there(post: &Post) -> bool {
    matches!(
        post.delivery,
        Some(Delivery::Delivered | Delivery::Read(_)) | None
    )
}

async fn ask_delete(ctx: Ctx, Id(id): Id<EntryId>, query: Query) -> Outcome<Response> {
    let post = ctx.node().entry(id)?;
    let back = format!("/entries/{id}");
    html(&DeletePage {
        page: ctx
            .layout(Nav::Messages, "Delete for me", &query)?
            .below(&*back),
        id: id.to_string(),
        excerpt: words::excerpt(&plain_text(&post.body), EXCERPT_CHARS),
        on_its_way: !is_there(&post),
        back,
    })
}

async fn delete(ctx: Ctx, Id(id): Id<EntryId>, Form(_): Form) -> Outcome<Response> {
    let post = ctx.node().entry(id)?;
    let place = place(&ctx, &post)?;
    ctx.node().delete_for_me(id).await?;
    let conversation = place.split('#').next().unwrap_or_default();
    Ok(redirect(conversation))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_never_said_to_be_less() {
        for (ms, said) in [
            (0, "1 min"),
            (60_001, "2 min"),
            (3_599_000, "1 h"),
            (86_399_000, "1 day"),
            (604_790_000, "7 days"),
        ] {
            assert_eq!(at_most(ms), said);
        }
    }

    #[test]
    fn lifetimes_are_said_in_the_unit_that_fits() {
        for (seconds, said) in [
            (60, "1 minute"),
            (90, "1 min"),
            (120, "2 minutes"),
            (3_600, "1 hour"),
            (86_400, "1 day"),
            (604_800, "1 week"),
            (1_209_600, "2 weeks"),
            (2_592_000, "1 month"),
            (31_536_000, "1 year"),
        ] {
            assert_eq!(lifetime(seconds), said);
        }
    }
}
