//! Packets: what Socket.IO says, whatever the wire it says it on (docs/protocol/socket-io.md §1).
//!
//! Binary events and acknowledgements are no kinds of their own: a packet is binary when its
//! [`Args`] have attachments.

use alloc::vec::Vec;

use bytes::Bytes;
use bytestring::ByteString;

use super::Exact;
use crate::json::{Elements, PlaceholderError, elements, named_attachments};
use crate::keep;

/// The arguments of an event or acknowledgement, as raw JSON.
///
/// Nothing is parsed until somebody asks for types; a clone shares the bytes, and without
/// attachments allocates nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args {
    /// Valid JSON values joined by commas, without brackets; empty for no arguments.
    pub json: ByteString,
    /// What the placeholders in [`json`](Self::json) stand for, by number.
    pub attachments: Vec<Bytes>,
    /// What MessagePack has said more exactly than JSON can, for clients of MessagePack; nothing
    /// for arguments of other origin.
    pub exact: Exact,
}

impl Args {
    /// The number of arguments. Counts them: linear in the length of the JSON.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are no arguments.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.json.is_empty()
    }

    /// Checks the placeholders of received arguments, whose attachments are all there, and lets go
    /// of attachments that none of them names: genuine receivers do so, and nobody could reach
    /// them. The numbers of the others stay what they are.
    ///
    /// Without attachments nothing is a placeholder, whatever it looks like
    /// (docs/protocol/socket-io.md §2.1).
    ///
    /// # Errors
    ///
    /// Those of [`named_attachments`].
    pub(crate) fn settle_attachments(&mut self) -> Result<(), PlaceholderError> {
        if self.attachments.is_empty() {
            return Ok(());
        }
        let named = named_attachments(&self.json, self.attachments.len())?;
        let last = (0..self.attachments.len()).rev().find(|number| named.contains(*number));
        self.attachments.truncate(last.map_or(0, |last| last + 1));
        for (number, attachment) in self.attachments.iter_mut().enumerate() {
            if !named.contains(number) {
                *attachment = Bytes::new();
            }
        }
        Ok(())
    }

    /// Bytes that they hold.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.json.len() + self.attachments.iter().map(Bytes::len).sum::<usize>() + self.exact.bytes()
    }

    /// The same in memory of its own, which keeps no buffer that they were read into.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self {
            json: ByteString::from(&*self.json),
            attachments: self
                .attachments
                .iter()
                .map(|bytes| Bytes::copy_from_slice(bytes))
                .collect(),
            exact: self.exact.detached(),
        }
    }

    /// Gives what is here memory of its own, if it is small.
    pub(crate) fn keep(&mut self) {
        keep::text(&mut self.json);
        self.attachments.iter_mut().for_each(keep::bytes);
        if !self.exact.is_empty() {
            self.exact = self.exact.detached();
        }
    }

    /// The raw JSON of each argument.
    pub fn iter(&self) -> Elements<'_> {
        elements(&self.json)
    }
}

impl<'a> IntoIterator for &'a Args {
    type Item = &'a str;
    type IntoIter = Elements<'a>;

    fn into_iter(self) -> Elements<'a> {
        self.iter()
    }
}

impl From<ByteString> for Args {
    /// Arguments without attachments.
    fn from(json: ByteString) -> Self {
        Self {
            json,
            attachments: Vec::new(),
            exact: Exact::default(),
        }
    }
}

/// One Socket.IO packet.
///
/// A namespace starts with `/` and holds no comma, which the text form could not carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// To a server: let me into the namespace. To a client: you are in.
    Connect {
        /// The namespace.
        namespace: ByteString,
        /// What follows the first `?` of the namespace, without the `?`. Revisions 3 and 4; later
        /// ones know no query and take all of it for the namespace.
        query: Option<ByteString>,
        /// A JSON object: the client's credentials or the server's answer. Genuine peers of
        /// revision 3 and 4 send none.
        payload: Option<ByteString>,
    },
    /// Either end leaves the namespace.
    Disconnect {
        /// The namespace.
        namespace: ByteString,
    },
    /// Something happened; with an id, an acknowledgement is wanted.
    Event {
        /// The namespace.
        namespace: ByteString,
        /// The name as text. A number, which is a legal name, stands here as it was written in
        /// JSON.
        name: ByteString,
        /// The sender's name for the acknowledgement it wants.
        id: Option<u64>,
        /// The arguments after the name.
        args: Args,
    },
    /// The answer to an event.
    Ack {
        /// The namespace.
        namespace: ByteString,
        /// The id of the event.
        id: u64,
        /// The answer's arguments.
        args: Args,
    },
    /// The server does not let the client into the namespace. ERROR in revisions 3 and 4.
    ConnectError {
        /// The namespace.
        namespace: ByteString,
        /// JSON: in revision 5 an object with `message` and perhaps `data`, before that anything.
        payload: ByteString,
    },
}

impl Packet {
    /// The namespace the packet is about.
    #[must_use]
    pub fn namespace(&self) -> &ByteString {
        match self {
            Self::Connect { namespace, .. }
            | Self::Disconnect { namespace }
            | Self::Event { namespace, .. }
            | Self::Ack { namespace, .. }
            | Self::ConnectError { namespace, .. } => namespace,
        }
    }

    /// Gives what is here memory of its own, if it is small.
    pub(crate) fn keep(&mut self) {
        match self {
            Self::Connect {
                namespace,
                query,
                payload,
            } => {
                keep::text(namespace);
                query.iter_mut().chain(payload).for_each(keep::text);
            }
            Self::Disconnect { namespace } => keep::text(namespace),
            Self::Event {
                namespace, name, args, ..
            } => {
                [namespace, name].into_iter().for_each(keep::text);
                args.keep();
            }
            Self::Ack { namespace, args, .. } => {
                keep::text(namespace);
                args.keep();
            }
            Self::ConnectError { namespace, payload } => [namespace, payload].into_iter().for_each(keep::text),
        }
    }

    /// What its parts take in memory, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let text = |text: &Option<ByteString>| text.as_ref().map_or(0, |text| text.len());
        self.namespace().len()
            + match self {
                Self::Connect { query, payload, .. } => text(query) + text(payload),
                Self::Disconnect { .. } => 0,
                Self::Event { name, args, .. } => name.len() + args.bytes(),
                Self::Ack { args, .. } => args.bytes(),
                Self::ConnectError { payload, .. } => payload.len(),
            }
    }

    /// The arguments of an event or an acknowledgement.
    pub(crate) const fn args(&self) -> Option<&Args> {
        match self {
            Self::Event { args, .. } | Self::Ack { args, .. } => Some(args),
            Self::Connect { .. } | Self::Disconnect { .. } | Self::ConnectError { .. } => None,
        }
    }

    pub(crate) fn args_mut(&mut self) -> Option<&mut Args> {
        match self {
            Self::Event { args, .. } | Self::Ack { args, .. } => Some(args),
            Self::Connect { .. } | Self::Disconnect { .. } | Self::ConnectError { .. } => None,
        }
    }
}

/// Event names with a meaning of their own on one end or the other; no packet may carry them.
///
/// `error` and `connection` are not among them (docs/protocol/socket-io.md §4).
pub const RESERVED_EVENTS: [&str; 6] = [
    "connect",
    "connect_error",
    "disconnect",
    "disconnecting",
    "newListener",
    "removeListener",
];

/// Whether `name` is one of the [`RESERVED_EVENTS`].
#[must_use]
pub fn is_reserved_event(name: &str) -> bool {
    RESERVED_EVENTS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_counted_and_listed() {
        assert_eq!(Args::default().len(), 0);
        assert!(Args::default().is_empty());
        let args = Args::from(ByteString::from_static(r#"1,{"a":[2,3]},"x,y""#));
        assert_eq!(args.len(), 3);
        assert!(args.iter().eq(["1", r#"{"a":[2,3]}"#, r#""x,y""#]));
    }

    /// Hardening A3.
    #[test]
    fn attachments_that_are_not_named_are_let_go() {
        let one = |number| alloc::format!("{{\"_placeholder\":true,\"num\":{number}}}");
        for (numbers, left) in [
            (&[0, 1, 2][..], &["a", "b", "c"][..]),
            (&[1], &["", "b"]),
            (&[2, 0], &["a", "", "c"]),
            (&[], &[]),
        ] {
            let json: Vec<_> = numbers.iter().map(one).collect();
            let mut args = Args {
                json: json.join(",").into(),
                attachments: ["a", "b", "c"].map(|text| Bytes::from_static(text.as_bytes())).into(),
                exact: Exact::default(),
            };
            assert_eq!(args.settle_attachments(), Ok(()));
            assert_eq!(args.attachments, left, "{numbers:?}");
        }
    }

    #[test]
    fn reserved_names() {
        for name in ["error", "connection", "", "__proto__", "Connect", "hasOwnProperty"] {
            assert!(!is_reserved_event(name), "{name}");
        }
        for name in RESERVED_EVENTS {
            assert!(is_reserved_event(name), "{name}");
        }
    }
}
