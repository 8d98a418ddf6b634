//! Circles: private groups, their members and what their owner decides.

use serde_json::{Value, json};

use super::{Context, first_page, path, person, text, topic, unread};
use crate::{
    args::{Circles, Paging},
    client::{is, items, str_of},
    output::plain,
};

pub(super) fn run(cx: &Context<'_>, action: Option<Circles>) -> anyhow::Result<()> {
    let action = action.unwrap_or_else(|| Circles::List { page: first_page() });
    match action {
        Circles::List { page } => list(cx, &page),
        Circles::New { name, description } => new(cx, &name, &description),
        Circles::Members { circle } => members(cx, &circle),
        Circles::Invite { circle, contact } => invite(cx, &circle, &contact),
        Circles::Withdraw { circle, contact } => withdraw(cx, &circle, &contact),
        Circles::Remove { circle, member } => remove(cx, &circle, &member),
        Circles::Close { circle, thread } => close(cx, &circle, thread, "/close"),
        Circles::Reopen { circle, thread } => close(cx, &circle, thread, "/reopen"),
        Circles::HandOver { circle, member } => hand_over(cx, &circle, &member),
        Circles::Leave { circle } => leave(cx, &circle),
        Circles::Threads { circle, page } => threads(cx, &circle, &page),
        Circles::Post {
            circle,
            title,
            body,
        } => post(cx, &circle, &title, body.as_deref()),
    }
}

fn list(cx: &Context<'_>, page: &Paging) -> anyhow::Result<()> {
    let circles = cx.client.page("/circles", page)?;
    cx.list(
        &circles,
        "no circles: `waymeet circles new` makes one",
        |circle| {
            let state = match str_of(circle, "standing") {
                "removed" => "you were removed",
                _ if is(circle, "closed") => "closed",
                "owner" => "yours",
                _ => "",
            };
            [
                str_of(circle, "id").to_owned(),
                str_of(circle, "name").to_owned(),
                unread(circle),
                state.to_owned(),
                str_of(circle, "description").replace('\n', " "),
            ]
        },
    )
}

fn new(cx: &Context<'_>, name: &str, description: &str) -> anyhow::Result<()> {
    let circle = json!({ "name": name, "description": description });
    let circle = cx.client.post("/circles", &circle)?;
    cx.done(&circle, |circle| {
        format!(
            "made {} [{}]; nobody knows of it until you invite them",
            plain(str_of(circle, "name")),
            str_of(circle, "id")
        )
    })
}

fn members(cx: &Context<'_>, circle: &str) -> anyhow::Result<()> {
    let members = cx
        .client
        .get(&path("/circles", &cx.circle(circle)?, "/members"))?;
    cx.list(&members, "nobody", |member| {
        let let_in_by = match person(member, "let_in_by").as_str() {
            "" => String::new(),
            name => format!("let in by {name}"),
        };
        [
            person(member, "person"),
            str_of(member, "standing").to_owned(),
            let_in_by,
        ]
    })
}

/// The id of somebody in a circle, by their name or the beginning of their id.
fn member(cx: &Context<'_>, circle: &str, wanted: &str) -> anyhow::Result<String> {
    let members = cx.client.get(&path("/circles", circle, "/members"))?;
    let people = items(&members, "items").iter();
    let people = people.filter_map(|member| member.get("person"));
    let found: Vec<&Value> = people
        .filter(|person| {
            str_of(person, "name") == wanted
                || (wanted.len() >= 8 && str_of(person, "id").starts_with(wanted))
        })
        .collect();
    match found.as_slice() {
        [one] => Ok(str_of(one, "id").to_owned()),
        [] => anyhow::bail!("nobody in this circle is called {}", plain(wanted)),
        _ => anyhow::bail!(
            "several people in this circle are called {}: give the id",
            plain(wanted)
        ),
    }
}

fn invite(cx: &Context<'_>, circle: &str, contact: &str) -> anyhow::Result<()> {
    let contact = json!({ "contact": cx.contact(contact)? });
    let at = path("/circles", &cx.circle(circle)?, "/invitations");
    let invited = cx.client.post(&at, &contact)?;
    cx.done(&invited, |_| "invited; it is theirs to accept".to_owned())
}

fn withdraw(cx: &Context<'_>, circle: &str, contact: &str) -> anyhow::Result<()> {
    let rest = format!("/invitations/{}", cx.contact(contact)?);
    cx.client
        .delete(&path("/circles", &cx.circle(circle)?, &rest))?;
    cx.gone("taken back")
}

fn remove(cx: &Context<'_>, circle: &str, wanted: &str) -> anyhow::Result<()> {
    let circle = cx.circle(circle)?;
    let rest = format!("/members/{}", member(cx, &circle, wanted)?);
    cx.client.delete(&path("/circles", &circle, &rest))?;
    cx.gone("removed, for good")
}

fn close(
    cx: &Context<'_>,
    circle: &str,
    thread: Option<String>,
    action: &str,
) -> anyhow::Result<()> {
    let body = thread.map_or_else(|| json!({}), |thread| json!({ "thread": thread }));
    let at = path("/circles", &cx.circle(circle)?, action);
    let circle = cx.client.post(&at, &body)?;
    let line = if action == "/close" {
        "closed"
    } else {
        "open again"
    };
    cx.done(&circle, |_| line.to_owned())
}

fn hand_over(cx: &Context<'_>, circle: &str, wanted: &str) -> anyhow::Result<()> {
    let circle = cx.circle(circle)?;
    let to = json!({ "to": member(cx, &circle, wanted)? });
    let circle = cx
        .client
        .post(&path("/circles", &circle, "/hand-over"), &to)?;
    cx.done(&circle, |circle| {
        format!("{} owns it now", plain(&person(circle, "owner")))
    })
}

fn leave(cx: &Context<'_>, circle: &str) -> anyhow::Result<()> {
    cx.client
        .delete(&path("/spaces", &cx.circle(circle)?, ""))?;
    cx.gone("left, and deleted here")
}

fn threads(cx: &Context<'_>, circle: &str, page: &Paging) -> anyhow::Result<()> {
    let at = path("/circles", &cx.circle(circle)?, "/threads");
    let threads = cx.client.page(&at, page)?;
    topic::list(
        cx,
        &threads,
        "no threads yet: `waymeet circles post` begins one",
    )
}

fn post(cx: &Context<'_>, circle: &str, title: &str, body: Option<&str>) -> anyhow::Result<()> {
    let at = path("/circles", &cx.circle(circle)?, "/threads");
    let thread = json!({ "title": title, "body": text(body)? });
    let thread = cx.client.post(&at, &thread)?;
    cx.done(&thread, |thread| {
        format!("begun [{}]", str_of(thread, "id"))
    })
}
