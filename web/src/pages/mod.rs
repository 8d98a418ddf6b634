//! The dashboard.

use axum::response::{IntoResponse, Response};

use crate::fault::Fault;

pub(crate) fn bare_error(fault: &Fault) -> Response {
    (fault.kind.status(), fault.detail.to_string()).into_response()
}
