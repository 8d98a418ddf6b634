//! Why a call failed, in words that say what to do.

/// A failed call of the engine. The text is meant for the person.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The node has no identity yet.
    #[error(
        "this node isn't set up yet: choose a name on its first page, with `waymeet setup` or with POST /api/v1/setup"
    )]
    NotSetUp,
    /// The node has an identity already.
    #[error("this node is set up already, as {name}")]
    AlreadySetUp {
        /// The name that it has.
        name: String,
    },
    /// There is no such thing here.
    #[error("{what} was not found here")]
    NotFound {
        /// What was looked for.
        what: &'static str,
    },
    /// A value doesn't fit.
    #[error("{field}: {detail}")]
    Invalid {
        /// The field, as the API names it.
        field: &'static str,
        /// What was expected, what was found, what to do.
        detail: String,
    },
    /// It can't be done in the state that things are in.
    #[error("{detail}")]
    Conflict {
        /// Why, and what to do.
        detail: String,
    },
    /// Somebody else's thing.
    #[error("{detail}")]
    NotAllowed {
        /// Why.
        detail: String,
    },
    /// The other side can't be reached now.
    #[error("{detail}")]
    Unreachable {
        /// Why, and what to do.
        detail: String,
    },
    /// Our own storage failed.
    #[error("the store failed: {detail}")]
    Storage {
        /// What it said.
        detail: String,
    },
    /// The disk is full or fails. The node goes on by itself when it works again.
    #[error("{detail}")]
    Disk {
        /// What is the matter, and what to do.
        detail: String,
    },
    /// The data folder can't be used.
    #[error("the data folder can't be used: {detail}")]
    Folder {
        /// What it said.
        detail: String,
    },
    /// The database is not opened; it was left as it was.
    #[error("{detail}")]
    Database {
        /// What was found, and what to do.
        detail: String,
    },
    /// The endpoint could not be opened.
    #[error("the links could not be opened: {detail}")]
    Links {
        /// What it said.
        detail: String,
    },
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
}

/// A result of the engine.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Closed => Self::Stopping,
            store::Error::UnknownSpace => Self::NotFound { what: "the space" },
            store::Error::Refused(detail) => Self::Conflict { detail },
            error @ store::Error::TooManySpaces { .. } => Self::Conflict {
                detail: error.to_string(),
            },
            error @ (store::Error::Full | store::Error::Failing { .. }) => Self::Disk {
                detail: error.to_string(),
            },
            other => Self::Storage {
                detail: other.to_string(),
            },
        }
    }
}

pub(crate) fn invalid(field: &'static str, detail: &str) -> Error {
    Error::Invalid {
        field,
        detail: detail.to_owned(),
    }
}
