//! The API of the running node, as the commands use it.

use std::{fmt, io, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use serde_json::Value;
use ureq::{Agent, http};

use crate::{args::Paging, folder::Folder};

/// A node answers from its disk; longer than this means that it hangs.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Bytes of one answer: 500 posts of 64 KiB, as text and as HTML, with room.
const ANSWER_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// Pages that are read to find something by its name.
const PAGES_MAX: usize = 100;
/// Characters of an id's start that may stand for the whole.
const PREFIX_CHARS_MIN: usize = 6;

/// The running node of a folder.
pub(crate) struct Client {
    agent: Agent,
    base: String,
    bearer: String,
}

/// The node answered with a problem document (RFC 9457).
#[derive(Debug)]
pub(crate) struct Refused {
    document: Value,
}

impl Refused {
    /// The document as it came.
    pub(crate) const fn document(&self) -> &Value {
        &self.document
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |key| self.document.get(key).and_then(Value::as_str);
        let detail = text("detail")
            .or_else(|| text("title"))
            .unwrap_or("the node refused without a reason");
        f.write_str(detail)?;
        for error in items(&self.document, "errors") {
            let line = format!("{}: {}", str_of(error, "field"), str_of(error, "detail"));
            // The only wrong field is the detail already.
            if line != detail {
                write!(f, "\n  {line}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Refused {}

impl Client {
    /// Finds the node that runs on a folder.
    ///
    /// # Errors
    ///
    /// When none runs there, or its token can't be read.
    pub(crate) fn connect(folder: &Folder) -> anyhow::Result<Self> {
        Self::patient(folder, ANSWER_WITHIN)
    }

    /// The same for something that may take longer.
    pub(crate) fn patient(folder: &Folder, within: Duration) -> anyhow::Result<Self> {
        // The token goes to nobody but a node that holds the folder now.
        if !folder.is_running() {
            bail!(
                "no node runs on {}: start it with `waymeet`, or name its folder with --data-dir",
                folder.path().display()
            );
        }
        let base = folder.url().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                anyhow!(
                    "the node on {} is just starting or ending: try again",
                    folder.path().display()
                )
            }
            _ => anyhow!(
                "cannot read dashboard-url in {}: {error}",
                folder.path().display()
            ),
        })?;
        let token = folder.token().with_context(|| {
            format!("cannot read the API's token in {}", folder.path().display())
        })?;
        let agent = Agent::new_with_config(
            Agent::config_builder()
                .http_status_as_error(false)
                .max_redirects(0)
                .proxy(None)
                .timeout_global(Some(within))
                .build(),
        );
        Ok(Self {
            agent,
            base: format!("{base}/api/v1"),
            bearer: format!("Bearer {token}"),
        })
    }

    pub(crate) fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.call("GET", path, None)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.call("POST", path, Some(body))
    }

    pub(crate) fn patch(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.call("PATCH", path, Some(body))
    }

    pub(crate) fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.call("DELETE", path, None)
    }

    /// One page of a list.
    pub(crate) fn page(&self, path: &str, page: &Paging) -> anyhow::Result<Value> {
        let mut query = Vec::new();
        if let Some(limit) = page.limit {
            query.push(format!("limit={limit}"));
        }
        if let Some(cursor) = &page.cursor {
            query.push(format!("cursor={}", escape(cursor)));
        }
        let mark = if path.contains('?') { '&' } else { '?' };
        match query.is_empty() {
            true => self.get(path),
            false => self.get(&format!("{path}{mark}{}", query.join("&"))),
        }
    }

    /// The id of the one thing in the list at `path` that `wanted` names: by its id, the start of
    /// its id, or its name.
    pub(crate) fn find(&self, path: &str, what: &str, wanted: &str) -> anyhow::Result<String> {
        let mut named = Vec::new();
        let mut begun = Vec::new();
        let mut cursor = None;
        for _ in 0..PAGES_MAX {
            let page = self.page(
                path,
                &Paging {
                    limit: Some(500),
                    cursor,
                },
            )?;
            for item in items(&page, "items") {
                let id = str_of(item, "id");
                if id == wanted {
                    return Ok(wanted.to_owned());
                }
                if ["name", "nickname", "title"]
                    .iter()
                    .any(|key| str_of(item, key) == wanted)
                {
                    named.push(id.to_owned());
                } else if wanted.len() >= PREFIX_CHARS_MIN && id.starts_with(wanted) {
                    begun.push(id.to_owned());
                }
            }
            cursor = page.get("next").and_then(Value::as_str).map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        let found = if named.is_empty() { begun } else { named };
        match found.as_slice() {
            [one] => Ok(one.clone()),
            [] => bail!(
                "no {what} here is called {wanted:?}: give its name, its id, or the id's first {PREFIX_CHARS_MIN} characters or more"
            ),
            many => bail!(
                "{wanted:?} means several: give the id of one, {}",
                many.join(" or ")
            ),
        }
    }

    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let request = http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("authorization", &self.bearer)
            .header("accept", "application/json");
        let response = match body {
            Some(body) => self.agent.run(
                request
                    .header("content-type", "application/json")
                    .body(body.to_string())?,
            ),
            None => self.agent.run(request.body(())?),
        };
        let mut response = response
            .map_err(|error| anyhow!("the node at {} doesn't answer: {error}", self.base))?;
        let status = response.status();
        let text = response
            .body_mut()
            .with_config()
            .limit(ANSWER_BYTES_MAX)
            .read_to_string()
            .context("the node's answer broke off")?;
        let value = if text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text).map_err(|_| {
                anyhow!(
                    "expected JSON from {}, found something else: is it a Waymeet node?",
                    self.base
                )
            })?
        };
        if status.is_success() {
            Ok(value)
        } else if value.is_object() {
            Err(Refused { document: value }.into())
        } else {
            bail!("the node answered {status} without saying why")
        }
    }
}

/// A text as one segment of a path or one value of a query.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~') {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// The elements of a list inside an object; none where there is no list.
pub(crate) fn items<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// A text inside an object; empty where there is none.
pub(crate) fn str_of<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A number inside an object; 0 where there is none.
pub(crate) fn u64_of(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or_default()
}

/// Whether a flag inside an object is set.
pub(crate) fn is(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_bool).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_segment_stays_one_segment() {
        assert_eq!(escape("abc-_~9"), "abc-_~9");
        assert_eq!(
            escape("../a?b#c d/ü."),
            "%2E%2E%2Fa%3Fb%23c%20d%2F%C3%BC%2E"
        );
    }

    #[test]
    fn a_refusal_says_what_the_node_said() {
        let document = json!({
            "type": "urn:x", "title": "Invalid", "detail": "the name doesn't fit",
            "errors": [{"field": "name", "detail": "expected 1 to 64 characters, found 0"}],
        });
        let text = Refused { document }.to_string();
        let once = json!({"detail": "name: too long", "errors": [{"field": "name", "detail": "too long"}]});
        assert_eq!(Refused { document: once }.to_string(), "name: too long");
        assert_eq!(
            text,
            "the name doesn't fit\n  name: expected 1 to 64 characters, found 0"
        );
        assert_eq!(
            Refused {
                document: json!({"title": "Not found"})
            }
            .to_string(),
            "Not found"
        );
        assert!(
            !Refused {
                document: json!({})
            }
            .to_string()
            .is_empty()
        );
    }
}
