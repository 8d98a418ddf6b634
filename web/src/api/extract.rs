//! What a handler takes from a request, checked, with a problem document when it doesn't fit.

use std::{str::FromStr, sync::Arc};

use axum::{
    extract::{FromRequest, FromRequestParts, Path, RawPathParams, Request},
    http::{HeaderMap, Uri, header, request::Parts},
};
use engine::view::{Cursor, PageQuery};
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};

use crate::{
    App,
    fault::{Fault, FaultKind, Outcome},
    limits::{BODY_BYTES_MAX, PAGE_ITEMS, PAGE_ITEMS_MAX},
};

/// A JSON body. None at all counts as an empty object.
pub(crate) struct Body<T>(pub(crate) T);

/// The body of a call that needs none: nothing or an empty object.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Body<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, _: &Arc<App>) -> Outcome<Self> {
        let (parts, body) = request.into_parts();
        let bytes = read_body(&parts.headers, body).await?;
        if bytes.is_empty() {
            return parse_json(b"{}").map(Self);
        }
        require_type(&parts.headers, "application/json")?;
        parse_json(&bytes).map(Self)
    }
}

/// Reads a body up to the bound.
pub(crate) async fn read_body(
    headers: &HeaderMap,
    body: axum::body::Body,
) -> Outcome<axum::body::Bytes> {
    let too_large = || {
        Fault::new(
            FaultKind::TooLarge,
            format!("expected a body of at most {BODY_BYTES_MAX} bytes, found more"),
        )
    };
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok())
        .and_then(|length| length.parse::<u64>().ok());
    if announced.is_some_and(|length| length > BODY_BYTES_MAX as u64) {
        return Err(too_large());
    }
    axum::body::to_bytes(body, BODY_BYTES_MAX)
        .await
        .map_err(|error| {
            if is_length_limit(&error) {
                too_large()
            } else {
                Fault::new(FaultKind::Malformed, "the body broke off")
            }
        })
}

fn is_length_limit(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .any(|error| error.to_string() == "length limit exceeded")
}

/// Checks the content type, whatever its parameters.
pub(crate) fn require_type(headers: &HeaderMap, expected: &str) -> Outcome<()> {
    let found = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("none");
    let essence = found.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(expected) {
        return Ok(());
    }
    let found: String = found.chars().take(80).collect();
    Err(Fault::new(
        FaultKind::UnsupportedMediaType,
        format!("expected the content type {expected}, found {found:?}"),
    ))
}

pub(super) fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Outcome<T> {
    let begin = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if begin != Some(&b'{') {
        // Reading into a struct would take an array's items for its fields.
        serde_json::from_slice::<IgnoredAny>(bytes).map_err(|error| json_fault("", &error))?;
        return Err(Fault::field("body", "expected an object"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        json_fault(&path, error.inner())
    })?;
    deserializer.end().map_err(|error| json_fault("", &error))?;
    Ok(value)
}

fn json_fault(path: &str, error: &serde_json::Error) -> Fault {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    if !error.is_data() {
        return Fault::new(
            FaultKind::Malformed,
            format!(
                "expected JSON, found none at line {} column {}: {text}",
                error.line(),
                error.column()
            ),
        );
    }
    // An unknown and a missing field stand in the message, not in the path.
    let named = ["unknown field `", "missing field `", "duplicate field `"]
        .iter()
        .find_map(|begin| text.strip_prefix(begin)?.split('`').next());
    let field = match (named, path) {
        (Some(name), _) => name,
        (None, "." | "") => "body",
        (None, path) => path,
    };
    Fault::field(field.chars().take(80).collect::<String>(), text)
}

/// An id in the path. One that can't be an id is simply not found.
pub(crate) struct Id<T>(pub(crate) T);

impl<T: FromStr> FromRequestParts<Arc<App>> for Id<T> {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<App>) -> Outcome<Self> {
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| Fault::not_found("this"))?;
        let (name, text) = params
            .iter()
            .next()
            .ok_or_else(|| Fault::not_found("this"))?;
        let what = match name {
            "contact" => "this contact",
            "forum" => "this forum",
            "blog" => "this blog",
            "circle" => "this circle",
            "space" => "this forum, blog or circle",
            "thread" => "this thread",
            "article" => "this article",
            "entry" => "this entry",
            _ => "this",
        };
        text.parse().map(Self).map_err(|_| Fault::not_found(what))
    }
}

/// A local id in the path, or another text.
pub(crate) struct Name(pub(crate) String);

impl FromRequestParts<Arc<App>> for Name {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<App>) -> Outcome<Self> {
        Path::<String>::from_request_parts(parts, state)
            .await
            .map(|Path(name)| Self(name))
            .map_err(|_| Fault::not_found("this"))
    }
}

/// Two texts in the path.
pub(crate) struct Names(pub(crate) String, pub(crate) String);

impl FromRequestParts<Arc<App>> for Names {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<App>) -> Outcome<Self> {
        Path::<(String, String)>::from_request_parts(parts, state)
            .await
            .map(|Path((first, second))| Self(first, second))
            .map_err(|_| Fault::not_found("this"))
    }
}

/// The query of a request, as names and values. Names that nobody asks for are ignored.
pub(crate) struct Query(Vec<(String, String)>);

impl FromRequestParts<Arc<App>> for Query {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Outcome<Self> {
        Ok(Self::of(&parts.uri))
    }
}

impl Query {
    pub(crate) fn of(uri: &Uri) -> Self {
        let query = uri.query().unwrap_or_default();
        Self(
            form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    /// The first value of a name; an empty one counts as none.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(candidate, _)| candidate == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// Which page of a list is asked for.
    pub(crate) fn page(&self) -> Outcome<PageQuery> {
        let limit = match self.get("limit") {
            None => PAGE_ITEMS,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=PAGE_ITEMS_MAX).contains(limit))
                .ok_or_else(|| {
                    Fault::field(
                        "limit",
                        format!("expected a number from 1 to {PAGE_ITEMS_MAX}"),
                    )
                })?,
        };
        Ok(PageQuery {
            cursor: self.get("cursor").map(|cursor| Cursor(cursor.to_owned())),
            limit,
        })
    }
}

/// An id in a body.
pub(crate) fn parse_field<T>(field: &'static str, text: &str) -> Outcome<T>
where
    T: FromStr,
    T::Err: ToString,
{
    text.parse()
        .map_err(|error: T::Err| Fault::field(field, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        name: String,
        #[serde(default)]
        tags: Vec<String>,
    }

    fn fault(json: &str) -> Fault {
        parse_json::<Sample>(json.as_bytes()).unwrap_err()
    }

    #[test]
    fn a_body_that_fits_is_read() {
        let sample: Sample = parse_json(br#" {"name": "a", "tags": ["b"]} "#).unwrap();
        assert_eq!((sample.name.as_str(), sample.tags.len()), ("a", 1));
    }

    #[test]
    fn what_is_not_json_is_malformed() {
        for bad in [
            "",
            "{",
            "{]",
            "nul",
            "{\"name\": \"a\"} x",
            "{\"name\": \"a\"}{}",
            "\u{feff}{}",
            "{\"name\": \"\u{1}\"}",
            "{\"name\": \"\\ud800\"}",
        ] {
            assert_eq!(fault(bad).kind, FaultKind::Malformed, "{bad}");
        }
        let deep = format!("{{\"name\": {}", "[".repeat(100_000));
        assert!(matches!(
            fault(&deep).kind,
            FaultKind::Malformed | FaultKind::Invalid
        ));
        assert_eq!(
            parse_json::<Sample>(b"\xff\xfe").unwrap_err().kind,
            FaultKind::Malformed
        );
    }

    #[test]
    fn what_does_not_fit_names_the_field() {
        for (json, field) in [
            ("{}", "name"),
            (r#"{"name": "a", "colour": 1}"#, "colour"),
            (r#"{"name": "a", "name": "b"}"#, "name"),
            (r#"{"name": 1}"#, "name"),
            (r#"{"name": null}"#, "name"),
            (r#"{"name": "a", "tags": ["b", 2]}"#, "tags[1]"),
            ("[]", "body"),
            (r#"["a"]"#, "body"),
            ("1", "body"),
            ("\"a\"", "body"),
        ] {
            let fault = fault(json);
            assert_eq!(fault.kind, FaultKind::Invalid, "{json}");
            assert_eq!(fault.fields[0].field, field, "{json}: {fault:?}");
        }
    }

    #[test]
    fn a_page_is_asked_for_in_bounds() {
        let page = |query: &str| Query::of(&format!("/x?{query}").parse().unwrap()).page();
        assert_eq!(page("").unwrap(), PageQuery::default());
        assert_eq!(
            page("limit=500&cursor=a%20b").unwrap(),
            PageQuery {
                cursor: Some(Cursor("a b".into())),
                limit: 500
            }
        );
        assert_eq!(page("cursor=").unwrap().cursor, None);
        for bad in ["0", "501", "-1", "x", "1.5", "99999999999999999999"] {
            assert_eq!(
                page(&format!("limit={bad}")).unwrap_err().fields[0].field,
                "limit"
            );
        }
    }
}
