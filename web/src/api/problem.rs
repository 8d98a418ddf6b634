//! Faults as problem documents (RFC 9457).

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::fault::{Fault, FaultKind};

/// What every `type` begins with; the name of the kind follows.
const TYPE_PREFIX: &str = "urn:waymeet:problem:";

/// Why a request failed (RFC 9457), sent as `application/problem+json`.
#[derive(Serialize, ToSchema)]
pub(crate) struct Problem {
    /// A stable name of the kind of problem.
    #[serde(rename = "type")]
    #[schema(example = "urn:waymeet:problem:not-found")]
    kind: String,
    /// The kind in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What was expected, what was found, what to do.
    detail: String,
    /// The fields that don't fit, with status 422.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldProblem>,
}

/// A field that doesn't fit.
#[derive(Serialize, ToSchema)]
pub(crate) struct FieldProblem {
    /// The field, as the request names it.
    field: String,
    /// What was expected of it and what was found.
    detail: String,
}

/// The `type` of a kind.
pub(crate) fn type_uri(kind: FaultKind) -> String {
    format!("{TYPE_PREFIX}{}", kind.name())
}

impl IntoResponse for Fault {
    /// A problem document. The fault itself goes along, so that the dashboard can show it as a page.
    fn into_response(self) -> Response {
        let fault = self.clone();
        let kind = self.kind;
        let problem = Problem {
            kind: type_uri(self.kind),
            title: self.kind.title(),
            status: self.kind.status().as_u16(),
            detail: self.detail.into_owned(),
            errors: self
                .fields
                .into_iter()
                .map(|fault| FieldProblem {
                    field: fault.field,
                    detail: fault.detail,
                })
                .collect(),
        };
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = (self.kind.status(), body).into_response();
        response.extensions_mut().insert(fault);
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if kind == FaultKind::Unauthorized {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"waymeet\""),
            );
        }
        response
    }
}
