//! The door for the fuzzers: what reads a stranger's bytes, callable by itself. No promise to
//! anybody else.

use axum::http::{HeaderMap, HeaderValue, Uri, header};

use crate::{api, hosts::Hosts, markdown, pages::form::Fields, visit::Visit};

/// A stranger's Markdown as HTML.
#[must_use]
pub fn render(text: &str) -> String {
    markdown::Renderer::default()
        .render(text)
        .as_str()
        .to_owned()
}

/// A stranger's Markdown as words.
#[must_use]
pub fn plain_text(text: &str) -> String {
    markdown::plain_text(text)
}

/// What the sanitiser leaves of HTML.
#[must_use]
pub fn clean(html: &str) -> String {
    markdown::clean(html)
}

/// Reads a JSON body as each request's type; how many take it.
#[must_use]
pub fn json(bytes: &[u8]) -> usize {
    api::taken_by(bytes)
}

/// Reads a form: the first value of a name and all its values, unless the form is refused.
#[must_use]
pub fn form(bytes: &[u8], name: &str) -> Option<(String, Vec<String>)> {
    let fields = Fields::parse(bytes).ok()?;
    let all = fields.all(name).map(str::to_owned).collect();
    Some((fields.get(name), all))
}

/// Reads the query of a path: the size of the page that it asks for.
#[must_use]
pub fn page(uri: &str) -> Option<usize> {
    let uri: Uri = uri.parse().ok()?;
    let page = api::extract::Query::of(&uri).page();
    page.ok().map(|page| page.limit)
}

/// Whether a request with this `Host` header and target is taken by a node that listens on the port.
#[must_use]
pub fn host(port: u16, extra: &[String], host: &[u8], uri: &str) -> Option<String> {
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_bytes(host).ok()?);
    Hosts::new(port, extra).check(&headers, &uri.parse().ok()?, Visit::here(), None)
}

/// Whether an `Origin` is the page that the host serves.
#[must_use]
pub fn is_same_origin(origin: &str, host: &str) -> bool {
    Visit::here().is_own_origin(origin, host)
}
