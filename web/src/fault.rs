//! What can go wrong with a request, one kind each, shown as a problem document (RFC 9457) to a
//! tool and as a page to a person.

use std::borrow::Cow;

use axum::http::StatusCode;
use engine::Error;

/// Kinds of faults. Each has one status and one stable name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// The body isn't JSON, or isn't a form.
    Malformed,
    /// No token, or a wrong one; no session.
    Unauthorized,
    /// A name that isn't ours was called.
    ForeignHost,
    /// The request came from a page of another site, or of another session.
    ForeignOrigin,
    /// It belongs to somebody else.
    NotAllowed,
    /// There is no such thing.
    NotFound,
    /// There is such a thing, but not for this method.
    MethodNotAllowed,
    /// The request took too long to arrive.
    Timeout,
    /// The node has no identity yet.
    NotSetUp,
    /// The node has one already.
    AlreadySetUp,
    /// Not in this state.
    Conflict,
    /// The body is too large.
    TooLarge,
    /// The body is of another type.
    UnsupportedMediaType,
    /// A value doesn't fit.
    Invalid,
    /// The other side can't be reached now.
    Unreachable,
    /// Too many streams.
    Busy,
    /// The node is stopping.
    Stopping,
    /// Our storage failed.
    Storage,
    /// The disk is full or fails.
    Disk,
    /// Our own fault.
    Internal,
}

impl FaultKind {
    /// All of them, for the API's description and its tests.
    pub(crate) const ALL: [Self; 20] = [
        Self::Malformed,
        Self::Unauthorized,
        Self::ForeignHost,
        Self::ForeignOrigin,
        Self::NotAllowed,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Timeout,
        Self::NotSetUp,
        Self::AlreadySetUp,
        Self::Conflict,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::Invalid,
        Self::Unreachable,
        Self::Busy,
        Self::Stopping,
        Self::Storage,
        Self::Disk,
        Self::Internal,
    ];

    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::ForeignHost | Self::ForeignOrigin | Self::NotAllowed => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::NotSetUp | Self::AlreadySetUp | Self::Conflict => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Unreachable | Self::Busy | Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            Self::Disk => StatusCode::INSUFFICIENT_STORAGE,
            Self::Storage | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The last part of its `type`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unauthorized => "unauthorized",
            Self::ForeignHost => "foreign-host",
            Self::ForeignOrigin => "foreign-origin",
            Self::NotAllowed => "not-allowed",
            Self::NotFound => "not-found",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::Timeout => "timeout",
            Self::NotSetUp => "not-set-up",
            Self::AlreadySetUp => "already-set-up",
            Self::Conflict => "conflict",
            Self::TooLarge => "too-large",
            Self::UnsupportedMediaType => "unsupported-media-type",
            Self::Invalid => "invalid",
            Self::Unreachable => "unreachable",
            Self::Busy => "busy",
            Self::Stopping => "stopping",
            Self::Storage => "storage",
            Self::Disk => "disk",
            Self::Internal => "internal",
        }
    }

    /// What it is, for a heading.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Malformed => "The request can't be read",
            Self::Unauthorized => "Not signed in",
            Self::ForeignHost => "This name isn't allowed",
            Self::ForeignOrigin => "The request came from somewhere else",
            Self::NotAllowed => "That isn't allowed",
            Self::NotFound => "Not found",
            Self::MethodNotAllowed => "That can't be done here",
            Self::Timeout => "The request took too long",
            Self::NotSetUp => "Not set up yet",
            Self::AlreadySetUp => "Set up already",
            Self::Conflict => "That can't be done now",
            Self::TooLarge => "Too large",
            Self::UnsupportedMediaType => "A type that isn't understood",
            Self::Invalid => "A value doesn't fit",
            Self::Unreachable => "Can't be reached now",
            Self::Busy => "Too much at once",
            Self::Stopping => "The node is stopping",
            Self::Storage => "The store failed",
            Self::Disk => "The disk can't be used now",
            Self::Internal => "Something went wrong in the node",
        }
    }
}

/// A field that doesn't fit, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldFault {
    pub(crate) field: String,
    pub(crate) detail: String,
}

/// A fault with its particulars. The detail is meant for whoever made the request.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    pub(crate) detail: Cow<'static, str>,
    pub(crate) fields: Vec<FieldFault>,
}

impl Fault {
    pub(crate) fn new(kind: FaultKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            fields: Vec::new(),
        }
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(FaultKind::NotFound, format!("{what} was not found here"))
    }

    pub(crate) fn internal() -> Self {
        Self::new(
            FaultKind::Internal,
            "the node couldn't do this; its log says why",
        )
    }

    /// The detail in pieces; those between backticks, which are typed or sent as they stand, are marked.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = (bool, &str)> {
        let pieces = self.detail.split('`').enumerate();
        pieces.map(|(at, piece)| (at % 2 == 1, piece))
    }

    /// A field of the request doesn't fit.
    pub(crate) fn field(field: impl Into<String>, detail: impl Into<String>) -> Self {
        let (field, detail) = (field.into(), detail.into());
        Self {
            kind: FaultKind::Invalid,
            detail: format!("{field}: {detail}").into(),
            fields: vec![FieldFault { field, detail }],
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        let kind = match error {
            Error::NotSetUp => FaultKind::NotSetUp,
            Error::AlreadySetUp { .. } => FaultKind::AlreadySetUp,
            Error::NotFound { .. } => FaultKind::NotFound,
            Error::Invalid { field, detail } => return Self::field(field, detail),
            Error::Conflict { .. } => FaultKind::Conflict,
            Error::NotAllowed { .. } => FaultKind::NotAllowed,
            Error::Unreachable { .. } => FaultKind::Unreachable,
            Error::Stopping => FaultKind::Stopping,
            Error::Disk { .. } => FaultKind::Disk,
            Error::Storage { .. } => {
                tracing::error!(error = %text, "a request failed");
                return Self::new(
                    FaultKind::Storage,
                    "the store failed; the node's log says why",
                );
            }
            _ => {
                tracing::error!(error = %text, "a request failed");
                return Self::internal();
            }
        };
        Self::new(kind, text)
    }
}

/// What a handler gives.
pub(crate) type Outcome<T> = Result<T, Fault>;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        let names: BTreeSet<_> = FaultKind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), FaultKind::ALL.len());
        let titles: BTreeSet<_> = FaultKind::ALL.iter().map(|kind| kind.title()).collect();
        assert_eq!(titles.len(), FaultKind::ALL.len());
        assert!(
            FaultKind::ALL
                .iter()
                .all(|kind| kind.status().as_u16() >= 400)
        );
    }

    #[test]
    fn the_engines_errors_keep_their_words_but_not_the_disks() {
        let fault = Fault::from(Error::Invalid {
            field: "name",
            detail: "expected 1 to 64 characters".into(),
        });
        assert_eq!(fault.kind, FaultKind::Invalid);
        assert_eq!(fault.fields[0].field, "name");
        let fault = Fault::from(Error::Storage {
            detail: "/home/ana/secret".into(),
        });
        assert_eq!(fault.kind, FaultKind::Storage);
        assert!(!fault.detail.contains("/home"));
        for (error, kind) in [
            (Error::NotSetUp, FaultKind::NotSetUp),
            (
                Error::AlreadySetUp { name: "Ana".into() },
                FaultKind::AlreadySetUp,
            ),
            (Error::NotFound { what: "this forum" }, FaultKind::NotFound),
            (Error::Conflict { detail: "x".into() }, FaultKind::Conflict),
            (
                Error::NotAllowed { detail: "x".into() },
                FaultKind::NotAllowed,
            ),
            (
                Error::Unreachable { detail: "x".into() },
                FaultKind::Unreachable,
            ),
            (Error::Stopping, FaultKind::Stopping),
        ] {
            let text = error.to_string();
            let fault = Fault::from(error);
            assert_eq!((fault.kind, fault.detail.as_ref()), (kind, text.as_str()));
        }
    }
}
