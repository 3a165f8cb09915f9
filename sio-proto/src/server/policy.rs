//! What becomes of a message for a client that does not take it at once.
//!
//! A policy has no wire form: clients get ordinary events, and only fewer of them.

use alloc::sync::Arc;
use core::fmt::Write as _;

use super::SendError;
use crate::SocketKey;
use crate::socket::Args;

/// What becomes of a message for a client that does not take it at once. Packets of the protocol
/// and acknowledgements have none: they are never left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Nothing is left out. If the queue is full, a message to one socket is refused
    /// ([`SendError::Full`]), and a broadcast ends the session, because a gap in
    /// an ordered stream cannot be repaired. This is the default.
    #[default]
    Ordered,
    /// If the queue is full, the message is refused. A broadcast leaves the client out, and its
    /// session stays.
    Refuse,
    /// If the queue is full, the message is dropped ([`SendError::Dropped`]).
    Drop,
    /// If the queue is full, the oldest waiting messages with this policy are dropped, until there
    /// is room. If that makes no room, the message itself is dropped.
    DropOldest,
    /// A waiting message with this key is dropped, whether the queue is full or not. The new
    /// message goes to the end of the queue, so a client never gets a message before an earlier
    /// one. If there is no room then, the new message is refused, and the waiting one stays.
    Newest(Key),
    /// As [`Policy::Newest`], for a message that has the content of the waiting message in it. The
    /// queue keeps its arguments, so that they can be read
    /// ([`Shard::waiting`](super::Shard::waiting)) and put together with those of the next message.
    /// A broadcast does not replace a waiting message: it leaves the client out, and reports the
    /// [`Collision`].
    Merge(Key),
    /// As [`Policy::Merge`], but a waiting message with this key stays as it is, and has no key any
    /// more.
    Behind(Key),
}

impl Policy {
    /// The key, if it has one.
    #[must_use]
    pub const fn key(&self) -> Option<&Key> {
        match self {
            Self::Newest(key) | Self::Merge(key) | Self::Behind(key) => Some(key),
            Self::Ordered | Self::Refuse | Self::Drop | Self::DropOldest => None,
        }
    }

    /// The error for the sender: a message that may be dropped is dropped if there is no room.
    pub(crate) const fn verdict(&self, error: SendError) -> SendError {
        match (self, error) {
            (Self::Drop | Self::DropOldest, SendError::Full) => SendError::Dropped,
            (_, error) => error,
        }
    }
}

/// Names the messages of which one may take the place of another: a namespace, an event, and a text
/// of the application. A clone shares the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(Arc<str>);

impl Key {
    /// The most bytes of the application's text. A text of a client should be checked before it
    /// becomes a key.
    pub const MAX_BYTES: usize = 256;

    /// The key of this event, with this text. `None` if the text is longer than
    /// [`Key::MAX_BYTES`].
    #[must_use]
    pub fn new(namespace: &str, event: &str, text: &str) -> Option<Self> {
        if text.len() > Self::MAX_BYTES {
            return None;
        }
        let mut key = alloc::string::String::with_capacity(namespace.len() + event.len() + text.len() + 8);
        // No namespace has a comma, and the length says where the event ends.
        let _ = write!(key, "{namespace},{},{event}{text}", event.len());
        Some(Self(key.into()))
    }

    /// The key as one text: what [`Key::from_text`] takes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key with this text, which comes from [`Key::as_str`].
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        Self(text.into())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// What has become of a broadcast, by the number of recipients. Add the values of several shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// How many get the message, or a message that has its content.
    pub reached: usize,
    /// How many do not get it, because it was volatile or its policy lets it be dropped.
    pub dropped: usize,
    /// How many do not get it, because their queue is full, or because their generation cannot
    /// carry it. With [`Policy::Ordered`] those with a full queue are disconnected.
    pub refused: usize,
}

impl Sent {
    /// How many recipients there were.
    #[must_use]
    pub const fn recipients(self) -> usize {
        self.reached + self.dropped + self.refused
    }
}

impl core::ops::AddAssign for Sent {
    fn add_assign(&mut self, other: Self) {
        self.reached += other.reached;
        self.dropped += other.dropped;
        self.refused += other.refused;
    }
}

/// A recipient of a broadcast with [`Policy::Merge`], for which a message with the same key waits.
/// It has not got the broadcast: the caller puts both together and sends the result.
#[derive(Clone, Debug)]
pub struct Collision {
    /// The recipient.
    pub socket: SocketKey,
    /// The arguments of the waiting message.
    pub waiting: Args,
}

/// How much waits for a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queued {
    /// Bytes that the operating system has not taken, in the queue of the session and on its link.
    pub bytes: usize,
    /// Packets in the queue of the session. A message is one packet, and one more for each
    /// attachment.
    pub packets: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_if_any_part_differs() {
        let key = |namespace, event, text| Key::new(namespace, event, text).unwrap();
        assert_eq!(key("/", "a", "b"), key("/", "a", "b"));
        assert_ne!(key("/", "a", "b"), key("/x", "a", "b"));
        assert_ne!(key("/", "a", "1b"), key("/", "a1", "b"));
        assert_ne!(key("/", "", "ab"), key("/", "ab", ""));
        let long = "x".repeat(Key::MAX_BYTES);
        assert!(Key::new("/", "a", &long).is_some());
        assert_eq!(Key::new("/", "a", &alloc::format!("{long}x")), None);
        let one = key("/", "a", "b");
        assert_eq!(Key::from_text(one.as_str()), one);
    }
}
