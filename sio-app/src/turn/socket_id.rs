//! The names of a socket: its public id, and the id that only its own client may know.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use sio_proto::Sid;

/// The public id of a socket. It is cheap to clone.
///
/// An id that the server has drawn is a text of 20 characters. An application can make the ids of
/// its sockets itself ([`Io::generate_id`](crate::Io::generate_id)).
///
/// You may tell it to anybody: no request is let in by this id, and the session's secret cannot be
/// computed from it.
#[derive(Clone)]
pub struct SocketId(Text);

#[derive(Clone)]
enum Text {
    Drawn([u8; Sid::BASE64_LEN]),
    Made(Arc<str>),
}

impl SocketId {
    pub(crate) fn new(sid: Sid) -> Self {
        Self(Text::Drawn(sid.base64()))
    }

    /// Returns the id with this text, drawn or made.
    pub(crate) fn named(id: &str) -> Self {
        Sid::parse(id).map_or_else(|| Self(Text::Made(id.into())), Self::new)
    }

    /// Returns the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Text::Drawn(text) => std::str::from_utf8(text).unwrap_or_default(),
            Text::Made(text) => text,
        }
    }
}

impl PartialEq for SocketId {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for SocketId {}

impl PartialOrd for SocketId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SocketId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for SocketId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
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
/// like a password: anybody who knows it can read what the client is sent, and can send as this
/// client.
///
/// It has one use: an answer to the client itself. So it cannot be printed or serialized by
/// accident: there is no `Display` and no `Serialize`, and `Debug` does not show it.
#[derive(Clone)]
pub struct WireId(Box<str>);

impl WireId {
    pub(crate) fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// Returns the secret.
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
