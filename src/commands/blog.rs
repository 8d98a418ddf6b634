//! Blogs: the own one and others'.

use serde_json::{Map, Value, json};

use super::{Context, first_page, path, person, text, topic, unread};
use crate::{
    args::Blog,
    client::{is, str_of, u64_of},
};

pub(super) fn run(cx: &Context<'_>, action: Option<Blog>) -> anyhow::Result<()> {
    let action = action.unwrap_or_else(|| Blog::List { page: first_page() });
    match action {
        Blog::List { page } => {
            let blogs = cx.client.page("/blogs", &page)?;
            cx.list(&blogs, "no blogs", |blog| {
                [
                    str_of(blog, "id").to_owned(),
                    str_of(blog, "name").to_owned(),
                    if is(blog, "own") {
                        "yours".to_owned()
                    } else {
                        format!("by {}", person(blog, "author"))
                    },
                    format!("{} articles", u64_of(blog, "articles")),
                    unread(blog),
                ]
            })
        }
        Blog::Articles { blog, page } => {
            let articles = cx
                .client
                .page(&path("/blogs", &cx.blog(&blog)?, "/articles"), &page)?;
            topic::list(cx, &articles, "no articles yet")
        }
        Blog::Publish { title, body, tags } => {
            let body = text(body.as_deref())?;
            let article = json!({ "title": title, "body": body, "tags": tags });
            published(cx, &cx.client.post("/blog/articles", &article)?)
        }
        Blog::Read { article, page } => {
            let article = cx.client.page(&path("/articles", &article, ""), &page)?;
            cx.output.answer(&article, topic::show)
        }
        Blog::Comment {
            article,
            body,
            parent,
        } => {
            let mut comment = Map::new();
            comment.insert("body".to_owned(), text(body.as_deref())?.into());
            if let Some(parent) = parent {
                comment.insert("parent".to_owned(), parent.into());
            }
            let at = path("/articles", &article, "/comments");
            let comment = cx.client.post(&at, &Value::Object(comment))?;
            cx.done(&comment, |comment| {
                format!("answered [{}]", str_of(comment, "id"))
            })
        }
        Blog::Reblog { article, note } => {
            let at = path("/articles", &article, "/reblog");
            published(cx, &cx.client.post(&at, &json!({ "note": note }))?)
        }
    }
}

fn published(cx: &Context<'_>, article: &Value) -> anyhow::Result<()> {
    cx.done(article, |article| {
        format!("published [{}]", str_of(article, "id"))
    })
}
