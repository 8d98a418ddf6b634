//! Forums, their threads, and offers.

use serde_json::{Map, Value, json};

use super::{Context, first_page, path, person, text, topic, unread};
use crate::{
    args::{Forums, Paging},
    client::{is, str_of, u64_of},
    output::plain,
};

pub(super) fn run(cx: &Context<'_>, action: Option<Forums>) -> anyhow::Result<()> {
    let action = action.unwrap_or_else(|| Forums::List { page: first_page() });
    match action {
        Forums::List { page } => list(cx, &page),
        Forums::New { name, description } => new(cx, &name, &description),
        Forums::Offer { forum, contact } => offer(cx, &forum, &contact),
        Forums::Offers => offers(cx),
        Forums::Accept { offer } => accept(cx, &offer),
        Forums::Decline { offer } => decline(cx, &offer),
        Forums::Leave { forum } => leave(cx, &forum),
        Forums::Members { forum } => members(cx, &forum),
        Forums::Threads { forum, page } => threads(cx, &forum, &page),
        Forums::Post { forum, title, body } => post(cx, &forum, &title, body.as_deref()),
        Forums::Read { thread, page } => read(cx, &thread, &page),
        Forums::Reply {
            thread,
            body,
            parent,
        } => reply(cx, &thread, body.as_deref(), parent),
    }
}

fn list(cx: &Context<'_>, page: &Paging) -> anyhow::Result<()> {
    let forums = cx.client.page("/forums", page)?;
    cx.list(
        &forums,
        "no forums: `waymeet forums new` makes one",
        |forum| {
            [
                str_of(forum, "id").to_owned(),
                str_of(forum, "name").to_owned(),
                unread(forum),
                str_of(forum, "description").replace('\n', " "),
            ]
        },
    )
}

fn new(cx: &Context<'_>, name: &str, description: &str) -> anyhow::Result<()> {
    let forum = json!({ "name": name, "description": description });
    let forum = cx.client.post("/forums", &forum)?;
    cx.done(&forum, |forum| {
        format!(
            "made {} [{}]; nobody sees it until you offer it",
            plain(str_of(forum, "name")),
            str_of(forum, "id")
        )
    })
}

fn offer(cx: &Context<'_>, space: &str, contact: &str) -> anyhow::Result<()> {
    let space = match cx.forum(space) {
        Ok(forum) => forum,
        Err(error) => cx.blog(space).map_err(|_| error)?,
    };
    let contact = json!({ "contact": cx.contact(contact)? });
    let offered = cx
        .client
        .post(&path("/spaces", &space, "/offers"), &contact)?;
    cx.done(&offered, |_| "offered; it is theirs to accept".to_owned())
}

fn offers(cx: &Context<'_>) -> anyhow::Result<()> {
    let offers = cx.client.get("/offers")?;
    cx.list(
        &offers,
        "nobody offers you anything that you haven't answered",
        |offer| {
            [
                str_of(offer, "id").to_owned(),
                str_of(offer, "kind").to_owned(),
                str_of(offer, "name").to_owned(),
                format!("from {}", person(offer, "from")),
            ]
        },
    )
}

fn accept(cx: &Context<'_>, offer: &str) -> anyhow::Result<()> {
    let accepted = cx
        .client
        .post(&path("/offers", offer, "/accept"), &json!({}))?;
    cx.done(&accepted, |_| {
        "accepted; its posts come with the next meetings".to_owned()
    })
}

fn decline(cx: &Context<'_>, offer: &str) -> anyhow::Result<()> {
    cx.client
        .post(&path("/offers", offer, "/decline"), &json!({}))?;
    cx.gone("declined")
}

fn leave(cx: &Context<'_>, forum: &str) -> anyhow::Result<()> {
    cx.client.delete(&path("/spaces", &cx.forum(forum)?, ""))?;
    cx.gone("left, and deleted here")
}

fn members(cx: &Context<'_>, forum: &str) -> anyhow::Result<()> {
    let members = cx
        .client
        .get(&path("/spaces", &cx.forum(forum)?, "/members"))?;
    cx.list(&members, "nobody", |member| {
        let depth = usize::try_from(u64_of(member, "depth")).unwrap_or_default();
        let indent = "  ".repeat(depth.min(engine::limits::ADMISSION_DEPTH_MAX));
        let admitted_by = match person(member, "admitted_by").as_str() {
            "" => "made it".to_owned(),
            name => format!("let in by {name}"),
        };
        let offered = if is(member, "offered") {
            "hasn't answered"
        } else {
            ""
        };
        [
            format!("{indent}{}", person(member, "person")),
            admitted_by,
            offered.to_owned(),
        ]
    })
}

fn threads(cx: &Context<'_>, forum: &str, page: &Paging) -> anyhow::Result<()> {
    let at = path("/forums", &cx.forum(forum)?, "/threads");
    let threads = cx.client.page(&at, page)?;
    topic::list(
        cx,
        &threads,
        "no threads yet: `waymeet forums post` begins one",
    )
}

fn post(cx: &Context<'_>, forum: &str, title: &str, body: Option<&str>) -> anyhow::Result<()> {
    let at = path("/forums", &cx.forum(forum)?, "/threads");
    let thread = json!({ "title": title, "body": text(body)? });
    let thread = cx.client.post(&at, &thread)?;
    cx.done(&thread, |thread| {
        format!("begun [{}]", str_of(thread, "id"))
    })
}

fn read(cx: &Context<'_>, thread: &str, page: &Paging) -> anyhow::Result<()> {
    let thread = cx.client.page(&path("/threads", thread, ""), page)?;
    cx.output.answer(&thread, topic::show)
}

fn reply(
    cx: &Context<'_>,
    thread: &str,
    body: Option<&str>,
    parent: Option<String>,
) -> anyhow::Result<()> {
    let mut reply = Map::new();
    reply.insert("body".to_owned(), text(body)?.into());
    if let Some(parent) = parent {
        reply.insert("parent".to_owned(), parent.into());
    }
    let at = path("/threads", thread, "/replies");
    let reply = cx.client.post(&at, &Value::Object(reply))?;
    cx.done(&reply, |reply| {
        format!("answered [{}]", str_of(reply, "id"))
    })
}
