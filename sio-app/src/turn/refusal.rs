//! What a middleware says when it does not let a socket in.

use serde::Serialize;

/// Why a socket may not join a namespace: what the client gets as `connect_error`
/// (docs/protocol/socket-io.md §3.1).
///
/// ```
/// use sio_app::Refusal;
/// let refusal = Refusal::new("not authorized").with_data(&[401]);
/// let short: Refusal = "not authorized".into();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    message: String,
    data: Option<String>,
}

impl Refusal {
    /// A refusal with this message.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            data: None,
        }
    }

    /// Adds details for the client: anything that can be written as JSON. What cannot is left out.
    #[must_use]
    pub fn with_data<T: Serialize + ?Sized>(mut self, data: &T) -> Self {
        self.data = serde_json::to_string(data).ok();
        self
    }

    /// What a client is told when the application itself failed.
    pub(crate) fn internal() -> Self {
        Self::new("Internal server error")
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The details, as JSON.
    #[must_use]
    pub fn data(&self) -> Option<&str> {
        self.data.as_deref()
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
