//! What a socket is called: by everybody, and by its own client.

use std::fmt;
use std::ops::Deref;

use serde::{Serialize, Serializer};
use sio_proto::Sid;

/// The id of a socket, as text of 20 characters. Cheap to clone.
///
/// It may be told to anybody: no request is let in by it, and nothing of the session's secret can
/// be made of it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId([u8; Sid::BASE64_LEN]);

impl SocketId {
    pub(crate) fn new(sid: Sid) -> Self {
        Self(sid.base64())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Deref for SocketId {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for SocketId {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq<str> for SocketId {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl Serialize for SocketId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SocketId({self})")
    }
}

/// The id by which a client knows itself. **For clients from before Socket.IO 3 it is a secret**,
/// as a password is: whoever is told it can read what they are sent and speak in their name.
///
/// It is good for one thing: an answer to the client itself. So it can be neither printed nor
/// serialized by accident: there is no `Display` and no `Serialize`, and `Debug` says nothing.
#[derive(Clone)]
pub struct WireId(Box<str>);

impl WireId {
    pub(crate) fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The secret.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for WireId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WireId(…)")
    }
}
