//! The refusal that a middleware returns when it does not let a socket in.

use serde::Serialize;

use crate::error::EmitError;

/// Why a socket may not join a namespace. The client gets it as `connect_error`
/// (docs/protocol/socket-io.md §3.1).
///
/// ```
/// use sio_app::Refusal;
/// let refusal = Refusal::new("not authorized").with_data(&[401]);
/// let short: Refusal = "not authorized".into();
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    message: String,
    data: Option<String>,
}

impl Refusal {
    /// Makes a refusal with this message.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            data: None,
        }
    }

    /// Adds details for the client: any value that can be written as JSON. A value that cannot be
    /// written is left out.
    #[must_use]
    pub fn with_data<T: Serialize + ?Sized>(mut self, data: &T) -> Self {
        self.data = serde_json::to_string(data).ok();
        self
    }

    /// The text for a client when the application itself has failed. It says nothing of the cause.
    pub(crate) const INTERNAL: &'static str = "Internal server error";

    /// Makes the refusal for a failure of the application itself.
    pub(crate) fn internal() -> Self {
        Self::new(Self::INTERNAL)
    }

    /// Makes the refusal of an event that no handler handles.
    pub(crate) fn unknown_event() -> Self {
        Self::new("unknown event")
    }

    /// Returns the message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the details as JSON.
    #[must_use]
    pub fn data(&self) -> Option<&str> {
        self.data.as_deref()
    }
}

/// The client must not see this error, so it gets the refusal of an internal error.
impl From<EmitError> for Refusal {
    fn from(_: EmitError) -> Self {
        Self::internal()
    }
}

impl From<&str> for Refusal {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

impl From<String> for Refusal {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}
