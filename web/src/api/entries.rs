//! Single entries: edit, retract, history, reactions, read markers.

use std::sync::Arc;

use axum::{Json, extract::State};
use engine::{EntryId, view::Edit};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    Done, dto,
    extract::{Body, Id, Names, Nothing, parse_field},
    routes::{Routes, doc},
};
use crate::{
    App,
    fault::{Fault, FaultKind, Outcome},
    limits::MARK_READ_MAX,
};

/// A new text for an own entry; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EntryPatch {
    /// New title, of a first entry.
    title: Option<String>,
    /// New text (Markdown).
    body: Option<String>,
    /// New tags, of an article.
    tags: Option<Vec<String>>,
}

/// Entries to mark as read.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EntryIds {
    /// Their ids, at most 500.
    ids: Vec<String>,
}

pub(super) fn routes(routes: Routes) -> Routes {
    use FaultKind::{Conflict, NotAllowed};
    routes
        .get(
            "/entries/{entry}",
            entry,
            doc("entries", "One entry").gives::<dto::Post>(200, "The entry"),
        )
        .patch(
            "/entries/{entry}",
            edit,
            doc("entries", "Edits an own entry; the history stays readable")
                .takes::<EntryPatch>()
                .gives::<dto::Post>(200, "The entry")
                .can_fail(&[Conflict, NotAllowed]),
        )
        .delete(
            "/entries/{entry}",
            retract,
            doc(
                "entries",
                "Takes an own entry back: nodes that hear of it drop its text",
            )
            .gives::<dto::Post>(200, "The entry, retracted")
            .can_fail(&[Conflict, NotAllowed]),
        )
        .delete(
            "/entries/{entry}/here",
            delete_here,
            doc(
                "entries",
                "Deletes a message of a conversation on this node only; the other person keeps theirs",
            )
            .empty("Deleted")
            .can_fail(&[Conflict]),
        )
        .get(
            "/entries/{entry}/history",
            history,
            doc("entries", "All versions of an entry, oldest first")
                .lists::<dto::Version>("Versions"),
        )
        .post(
            "/entries/{entry}/read",
            mark_read,
            doc("entries", "Marks an entry read").empty("Read"),
        )
        .post(
            "/entries/read",
            mark_many_read,
            doc("entries", "Marks several entries read")
                .takes::<EntryIds>()
                .empty("Read"),
        )
        .put(
            "/entries/{entry}/reactions/{emoji}",
            react,
            doc("entries", "Puts a reaction under an entry")
                .gives::<dto::Post>(200, "The entry")
                .can_fail(&[FaultKind::Invalid, Conflict]),
        )
        .delete(
            "/entries/{entry}/reactions/{emoji}",
            unreact,
            doc("entries", "Takes a reaction back").gives::<dto::Post>(200, "The entry"),
        )
}

async fn entry(State(app): State<Arc<App>>, Id(id): Id<EntryId>) -> Outcome<Json<dto::Post>> {
    Ok(Json(dto::Post::of(app.node.entry(id)?, &app.renderer)))
}

async fn edit(
    State(app): State<Arc<App>>,
    Id(id): Id<EntryId>,
    Body(patch): Body<EntryPatch>,
) -> Outcome<Json<dto::Post>> {
    if patch.title.is_none() && patch.body.is_none() && patch.tags.is_none() {
        return Err(Fault::field(
            "body",
            "expected a title, a body or tags, found none of them",
        ));
    }
    let edit = Edit {
        title: patch.title,
        body: patch.body,
        tags: patch.tags,
    };
    let post = app.node.edit(id, edit).await?;
    Ok(Json(dto::Post::of(post, &app.renderer)))
}

async fn retract(State(app): State<Arc<App>>, Id(id): Id<EntryId>) -> Outcome<Json<dto::Post>> {
    let post = app.node.retract(id).await?;
    Ok(Json(dto::Post::of(post, &app.renderer)))
}

async fn delete_here(State(app): State<Arc<App>>, Id(id): Id<EntryId>) -> Outcome<Done> {
    app.node.delete_for_me(id).await?;
    Ok(Done)
}

async fn history(
    State(app): State<Arc<App>>,
    Id(id): Id<EntryId>,
) -> Outcome<Json<dto::List<dto::Version>>> {
    let versions = app.node.history(id)?;
    Ok(Json(dto::List::whole(versions, |version| {
        dto::Version::of(version, &app.renderer)
    })))
}

async fn mark_read(
    State(app): State<Arc<App>>,
    Id(id): Id<EntryId>,
    Body(Nothing {}): Body<Nothing>,
) -> Outcome<Done> {
    app.node.mark_read(id).await?;
    Ok(Done)
}

async fn mark_many_read(
    State(app): State<Arc<App>>,
    Body(request): Body<EntryIds>,
) -> Outcome<Done> {
    if request.ids.len() > MARK_READ_MAX {
        let detail = format!(
            "expected at most {MARK_READ_MAX}, found {}",
            request.ids.len()
        );
        return Err(Fault::field("ids", detail));
    }
    let ids: Vec<EntryId> = request
        .ids
        .iter()
        .map(|id| parse_field("ids", id))
        .collect::<Outcome<_>>()?;
    app.node.mark_many_read(&ids).await?;
    Ok(Done)
}

async fn react(State(app): State<Arc<App>>, names: Names) -> Outcome<Json<dto::Post>> {
    set_reaction(&app, names, true).await
}

async fn unreact(State(app): State<Arc<App>>, names: Names) -> Outcome<Json<dto::Post>> {
    set_reaction(&app, names, false).await
}

async fn set_reaction(app: &App, names: Names, on: bool) -> Outcome<Json<dto::Post>> {
    let Names(entry, emoji) = names;
    let id: EntryId = entry.parse().map_err(|_| Fault::not_found("this entry"))?;
    let post = app.node.react(id, &emoji, on).await?;
    Ok(Json(dto::Post::of(post, &app.renderer)))
}
