//! Contacts: who they are, how sure we are, how and when we met.

use std::sync::Arc;

use askama::Template;
use axum::{
    Router,
    response::Response,
    routing::{get, post},
};
use engine::{
    IdentityId, Millis,
    view::{
        Connected, Contact, ContactPatch, ContactState, Person, Quota, Relation, SpaceKind,
        SpaceUsage, Trust,
    },
};

use super::{
    Ctx, Layout, Nav, again,
    form::Form,
    html,
    introductions::{self, IntroductionView},
    meetings::{self, MeetingView, Progress},
    misfit, next_href, page_query,
    parts::{Who, link_words, trust_words},
    redirect,
    when::When,
    words,
};
use crate::{
    App,
    api::extract::{Id, Query},
    fault::{Fault, Outcome},
};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/contacts", get(list))
        .route("/contacts/{contact}", get(show))
        .route("/contacts/{contact}/accept", post(accept))
        .route("/contacts/{contact}/nickname", post(set_nickname))
        .route("/contacts/{contact}/trust", post(set_trust))
        .route("/contacts/{contact}/quota", post(set_quota))
        .route("/contacts/{contact}/addresses", post(find_at))
        .route("/contacts/{contact}/remove", get(ask_remove).post(remove))
}

/// Meetings on a contact's page; the rest has a page of its own.
const MEETINGS_SHOWN: usize = 10;

/// A contact as a person on a page.
pub(super) fn who(contact: &Contact) -> Who {
    let name = contact.nickname.as_ref().unwrap_or(&contact.name);
    Who::from(&Person {
        id: contact.id,
        name: name.clone(),
        own_name: contact.nickname.is_some().then(|| contact.name.clone()),
        relation: Relation::Contact(contact.trust),
    })
}

/// Whether a contact is here, in words.
pub(super) fn presence(contact: &Contact) -> String {
    match (contact.state, contact.online, contact.link) {
        (ContactState::Pending, _, _) => "waiting for their node to answer".to_owned(),
        (ContactState::Asks, _, _) => "asks to become a contact".to_owned(),
        (ContactState::Ready, true, Some(link)) => format!("online over {}", link_words(link)),
        (ContactState::Ready, true, None) => "online".to_owned(),
        (ContactState::Ready, false, _) => "not reachable now".to_owned(),
    }
}

#[derive(Template)]
#[template(path = "contacts.html")]
struct ContactsPage {
    page: Layout,
    asks: Vec<ContactView>,
    introductions: Vec<IntroductionView>,
    contacts: Vec<ContactView>,
    next: Option<String>,
}

struct ContactView {
    id: String,
    who: Who,
    online: bool,
    presence: String,
    met: Option<When>,
    want: u64,
    /// How long that takes.
    left: Option<String>,
    used_up: bool,
    same_name: bool,
}

impl ContactView {
    fn of(ctx: &Ctx, contact: &Contact) -> Self {
        Self {
            id: contact.id.to_string(),
            who: who(contact),
            online: contact.online,
            presence: presence(contact),
            met: contact.last_met_ms.map(|time| When::of(time, ctx.now)),
            want: contact.behind.want,
            left: contact
                .behind
                .pace
                .and_then(|pace| pace.left_s)
                .map(words::about),
            used_up: contact.quota.is_used_up(),
            same_name: contact.same_name,
        }
    }
}

async fn list(ctx: Ctx, query: Query) -> Outcome<Response> {
    let page = ctx.node().contacts(&page_query(&query))?;
    let (asks, contacts): (Vec<_>, Vec<_>) = page
        .items
        .iter()
        .partition(|contact| contact.state == ContactState::Asks);
    let views = |contacts: Vec<&Contact>| {
        contacts
            .into_iter()
            .map(|contact| ContactView::of(&ctx, contact))
            .collect()
    };
    html(&ContactsPage {
        page: ctx
            .layout(Nav::Contacts, "Contacts", &query)?
            .about("contacts")
            .below("/"),
        asks: views(asks),
        introductions: introductions::shown(&ctx, None)?,
        contacts: views(contacts),
        next: next_href("/contacts", page.next.as_ref()),
    })
}

#[derive(Template)]
#[template(path = "contact.html")]
struct ContactPage {
    page: Layout,
    id: String,
    name: String,
    own_name: String,
    nickname: String,
    error: Option<String>,
    /// Where they were said to be, and what is wrong with that.
    address: String,
    address_error: Option<String>,
    quota: QuotaView,
    state: &'static str,
    online: bool,
    presence: String,
    trust: &'static str,
    introduced_by: Option<Who>,
    introductions: Vec<IntroductionView>,
    /// To whom they can be introduced.
    choices: Vec<(String, String)>,
    is_sure: bool,
    words: Vec<&'static str>,
    same_name: bool,
    met: Option<When>,
    met_over: Option<&'static str>,
    added: When,
    connection: Option<ConnectionView>,
    progress: Progress,
    meetings: Vec<MeetingView>,
    have: u64,
    want: u64,
    exchanged: String,
    last_error: Option<String>,
}

/// A connection as it is now.
pub(super) struct ConnectionView {
    pub(super) link: &'static str,
    pub(super) link_since: When,
    pub(super) since: When,
    pub(super) rtt: String,
    pub(super) dialed: bool,
    pub(super) exchanged: String,
}

impl ConnectionView {
    pub(super) fn of(connected: &Connected, now: Millis) -> Self {
        Self {
            link: link_words(connected.link),
            link_since: When::of(connected.link_since_ms, now),
            since: When::of(connected.since_ms, now),
            rtt: words::round_trip(connected.rtt_us),
            dialed: connected.dialed,
            exchanged: meetings::exchanged(&connected.exchanged),
        }
    }
}

/// What came in through a contact, beside what may.
struct QuotaView {
    used: String,
    limit: String,
    used_up: bool,
    /// How full it is, from 0 to 100; 1 as soon as there is anything.
    percent: u128,
    /// What stands in the field, in MiB, and what is wrong with it.
    typed: String,
    error: Option<String>,
    spaces: Vec<UsageView>,
}

struct UsageView {
    href: String,
    name: String,
    kind: &'static str,
    bytes: String,
}

impl QuotaView {
    fn of(ctx: &Ctx, contact: &Contact, typed: Option<(String, String)>) -> Outcome<Self> {
        let quota = contact.quota;
        let (typed, error) = match typed {
            Some((typed, error)) => (typed, Some(error)),
            None => (quota.limit_bytes.div_ceil(MIB).to_string(), None),
        };
        let spaces = ctx.node().usage_of_contact(contact.id)?;
        Ok(Self {
            used: words::binary_bytes(quota.used_bytes),
            limit: words::binary_bytes(quota.limit_bytes),
            used_up: quota.is_used_up(),
            percent: match u128::from(quota.limit_bytes) {
                0 => 100,
                limit => (u128::from(quota.used_bytes) * 100)
                    .div_ceil(limit)
                    .min(100),
            },
            typed,
            error,
            spaces: spaces.iter().map(UsageView::from).collect(),
        })
    }
}

impl From<&SpaceUsage> for UsageView {
    fn from(usage: &SpaceUsage) -> Self {
        let id = usage.space;
        let (href, kind) = match usage.kind {
            SpaceKind::Forum => (format!("/forums/{id}"), "forum"),
            SpaceKind::Circle => (format!("/circles/{id}"), "circle"),
            SpaceKind::Blog => (format!("/blogs/{id}"), "blog"),
            SpaceKind::Conversation => (String::new(), "private messages"),
        };
        Self {
            href,
            name: words::name(&usage.name),
            kind,
            bytes: words::binary_bytes(usage.bytes),
        }
    }
}

/// The unit in which a quota is typed.
const MIB: u64 = 1024 * 1024;

/// What was typed into a form of the page and doesn't fit, with the reason.
enum Misfit {
    Address(String, String),
    Nickname(String, String),
    Quota(String, String),
}

fn contact_page(
    ctx: &Ctx,
    id: IdentityId,
    query: &Query,
    misfit: Option<Misfit>,
) -> Outcome<Response> {
    let contact = ctx.node().contact(id)?;
    let name = words::name(contact.nickname.as_ref().unwrap_or(&contact.name));
    // Words exist once both sides are contacts.
    let twelve = match ctx.node().contact_words(id) {
        Ok(words) => words,
        Err(engine::Error::Conflict { .. } | engine::Error::NotFound { .. }) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let own = contact.nickname.clone().unwrap_or_default();
    let (mut nickname, mut error, mut typed_quota, mut typed_address) = (own, None, None, None);
    match misfit {
        Some(Misfit::Address(typed, why)) => typed_address = Some((typed, why)),
        Some(Misfit::Nickname(typed, why)) => (nickname, error) = (typed, Some(why)),
        Some(Misfit::Quota(typed, why)) => typed_quota = Some((typed, why)),
        None => {}
    }
    let (address, address_error) = typed_address.unzip();
    html(&ContactPage {
        page: ctx
            .layout(Nav::Contacts, name.clone(), query)?
            .about(id)
            .below("/contacts"),
        id: id.to_string(),
        name,
        own_name: words::name(&contact.name),
        nickname,
        error,
        address: address.unwrap_or_default(),
        address_error,
        quota: QuotaView::of(ctx, &contact, typed_quota)?,
        state: match contact.state {
            ContactState::Pending => "pending",
            ContactState::Asks => "asks",
            ContactState::Ready => "ready",
        },
        online: contact.online,
        presence: presence(&contact),
        trust: trust_words(contact.trust),
        introduced_by: contact.introduced_by.as_ref().map(Who::from),
        introductions: introductions::shown(ctx, Some(id))?,
        choices: introductions::choices(ctx, id)?,
        is_sure: matches!(contact.trust, Trust::Words | Trust::Verified),
        words: twelve,
        same_name: contact.same_name,
        met: contact.last_met_ms.map(|time| When::of(time, ctx.now)),
        met_over: contact.link.map(link_words),
        added: When::of(contact.added_ms, ctx.now),
        connection: contact
            .connected
            .map(|connected| ConnectionView::of(&connected, ctx.now)),
        progress: Progress::of(std::slice::from_ref(&contact)),
        meetings: meetings::newest(ctx, Some(id), MEETINGS_SHOWN)?,
        have: contact.behind.have,
        want: contact.behind.want,
        exchanged: meetings::exchanged(&contact.exchanged),
        last_error: contact.last_error,
    })
}

async fn show(ctx: Ctx, Id(id): Id<IdentityId>, query: Query) -> Outcome<Response> {
    contact_page(&ctx, id, &query, None)
}

async fn accept(ctx: Ctx, Id(id): Id<IdentityId>, Form(_): Form) -> Outcome<Response> {
    ctx.node().accept_contact(id).await?;
    Ok(redirect(&format!("/contacts/{id}")))
}

async fn set_nickname(
    ctx: Ctx,
    Id(id): Id<IdentityId>,
    query: Query,
    Form(fields): Form,
) -> Outcome<Response> {
    let nickname = fields.get("nickname");
    let patch = ContactPatch {
        nickname: Some(nickname.trim().to_owned()),
        ..ContactPatch::default()
    };
    match ctx.node().update_contact(id, patch).await {
        Ok(_) => Ok(redirect(&format!("/contacts/{id}?done=saved"))),
        Err(error) => {
            let typed = Misfit::Nickname(nickname, misfit(error)?);
            Ok(again(contact_page(&ctx, id, &query, Some(typed))?))
        }
    }
}

async fn set_trust(ctx: Ctx, Id(id): Id<IdentityId>, Form(fields): Form) -> Outcome<Response> {
    let trust = match fields.get("trust").as_str() {
        "unverified" => Trust::Unverified,
        "words" => Trust::Words,
        "verified" => Trust::Verified,
        _ => {
            return Err(Fault::field(
                "trust",
                "expected unverified, words or verified",
            ));
        }
    };
    let patch = ContactPatch {
        trust: Some(trust),
        ..ContactPatch::default()
    };
    ctx.node().update_contact(id, patch).await?;
    Ok(redirect(&format!("/contacts/{id}?done=saved")))
}

async fn find_at(
    ctx: Ctx,
    Id(id): Id<IdentityId>,
    query: Query,
    Form(fields): Form,
) -> Outcome<Response> {
    let typed = fields.get("address");
    match ctx.node().find_contact_at(id, &typed).await {
        Ok(_) => Ok(redirect(&format!("/contacts/{id}?done=looking"))),
        Err(error) => {
            let typed = Misfit::Address(typed, misfit(error)?);
            Ok(again(contact_page(&ctx, id, &query, Some(typed))?))
        }
    }
}

async fn set_quota(
    ctx: Ctx,
    Id(id): Id<IdentityId>,
    query: Query,
    Form(fields): Form,
) -> Outcome<Response> {
    let typed = fields.get("quota");
    let most = Quota::LIMIT_BYTES_MAX / MIB;
    let mib = typed.trim().parse::<u64>().ok().filter(|mib| *mib <= most);
    let Some(mib) = mib else {
        let error = format!("Expected a whole number of MiB, at most {most}.");
        let typed = Misfit::Quota(typed, error);
        return Ok(again(contact_page(&ctx, id, &query, Some(typed))?));
    };
    let patch = ContactPatch {
        quota_bytes: Some(mib * MIB),
        ..ContactPatch::default()
    };
    ctx.node().update_contact(id, patch).await?;
    Ok(redirect(&format!("/contacts/{id}?done=saved")))
}

#[derive(Template)]
#[template(path = "remove_contact.html")]
struct RemovePage {
    page: Layout,
    id: String,
    name: String,
}

async fn ask_remove(ctx: Ctx, Id(id): Id<IdentityId>, query: Query) -> Outcome<Response> {
    let name = who(&ctx.node().contact(id)?).name;
    html(&RemovePage {
        page: ctx
            .layout(Nav::Contacts, format!("Remove {name}"), &query)?
            .below(format!("/contacts/{id}")),
        id: id.to_string(),
        name,
    })
}

async fn remove(ctx: Ctx, Id(id): Id<IdentityId>, Form(_): Form) -> Outcome<Response> {
    ctx.node().remove_contact(id).await?;
    Ok(redirect("/contacts?done=removed"))
}
