//! What a browser's form sends, taken only with the token of the session's own pages.

use std::sync::Arc;

use axum::extract::{FromRequest, Request};

use super::Ctx;
use crate::{
    App,
    api::extract::{read_body, require_type},
    fault::{Fault, FaultKind, Outcome},
};

/// The name of the hidden field with the session's token.
const TOKEN_FIELD: &str = "csrf";
/// Fields of a form; the largest has one for each post of a page.
const FIELDS_MAX: usize = 600;

/// A form of the signed-in browser.
pub(crate) struct Form(pub(crate) Fields);

/// Names and values. One that isn't there is empty.
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    pub(crate) async fn read(request: Request) -> Outcome<Self> {
        let (parts, body) = request.into_parts();
        require_type(&parts.headers, "application/x-www-form-urlencoded")?;
        let bytes = read_body(&parts.headers, body).await?;
        Self::parse(&bytes)
    }

    pub(crate) fn parse(bytes: &[u8]) -> Outcome<Self> {
        if std::str::from_utf8(bytes).is_err() {
            return Err(Fault::new(FaultKind::Malformed, "expected a form in UTF-8"));
        }
        let fields: Vec<_> = form_urlencoded::parse(bytes)
            .into_owned()
            .take(FIELDS_MAX + 1)
            .collect();
        if fields.len() > FIELDS_MAX {
            return Err(Fault::new(
                FaultKind::Malformed,
                format!("expected at most {FIELDS_MAX} fields, found more"),
            ));
        }
        Ok(Self(fields))
    }

    /// The first value of a name. Browsers send line ends as CR LF; texts are kept with LF.
    pub(crate) fn get(&self, name: &str) -> String {
        self.0
            .iter()
            .find(|(candidate, _)| candidate == name)
            .map(|(_, value)| value.replace("\r\n", "\n"))
            .unwrap_or_default()
    }

    /// All values of a name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(candidate, _)| candidate == name)
            .map(|(_, value)| value.as_str())
    }
}

impl FromRequest<Arc<App>> for Form {
    type Rejection = Fault;

    async fn from_request(request: Request, _: &Arc<App>) -> Outcome<Self> {
        let session = request
            .extensions()
            .get::<Ctx>()
            .map(|ctx| ctx.session.clone())
            .ok_or_else(Fault::internal)?;
        let fields = Fields::read(request).await?;
        if session.accepts_form(&fields.get(TOKEN_FIELD)) {
            Ok(Self(fields))
        } else {
            Err(Fault::new(
                FaultKind::ForeignOrigin,
                "expected a form of this session's own pages; go back, load the page again and retry",
            ))
        }
    }
}
