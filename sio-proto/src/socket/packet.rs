//! Packets of Socket.IO, independent of their wire (docs/protocol/socket-io.md §1).
//!
//! Binary events and binary acknowledgements are not separate kinds: a packet is binary if its
//! [`Args`] have attachments.

use alloc::vec::Vec;

use bytes::Bytes;
use bytestring::ByteString;

use super::Exact;
#[cfg(feature = "steps")]
use crate::holding::Holding;
use crate::json::{Elements, PlaceholderError, elements, named_attachments};
use crate::keep::Source;

/// The arguments of an event or acknowledgement, as raw JSON.
///
/// Nothing is parsed until a caller asks for types. A clone shares the bytes; without attachments
/// it allocates nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args {
    /// Valid JSON values joined by commas, without brackets; empty for no arguments.
    pub json: ByteString,
    /// The bytes that the placeholders in [`json`](Self::json) stand for, by number.
    pub attachments: Vec<Bytes>,
    /// The arguments that MessagePack expresses more exactly than JSON, for clients of MessagePack.
    /// Empty for arguments that came on another wire.
    pub exact: Exact,
}

impl Args {
    /// The number of arguments. It counts them, in time linear in the length of the JSON.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are no arguments.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.json.is_empty()
    }

    /// Checks the placeholders of received arguments, after all attachments have arrived.
    /// Attachments that no placeholder names are dropped: genuine receivers drop them too, and
    /// nobody could reach them. The numbers of the other attachments do not change.
    ///
    /// Without attachments nothing is a placeholder, even if it looks like one
    /// (docs/protocol/socket-io.md §2.1).
    ///
    /// # Errors
    ///
    /// The errors of [`named_attachments`].
    pub(crate) fn settle_attachments(&mut self) -> Result<(), PlaceholderError> {
        if self.attachments.is_empty() {
            return Ok(());
        }
        let named = named_attachments(&self.json, self.attachments.len())?;
        let last = (0..self.attachments.len()).rev().find(|number| named.contains(*number));
        self.attachments.truncate(last.map_or(0, |last| last.saturating_add(1)));
        for (number, attachment) in self.attachments.iter_mut().enumerate() {
            step!();
            if !named.contains(number) {
                *attachment = Bytes::new();
            }
        }
        Ok(())
    }

    /// Number of bytes that the arguments hold.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let attachments = self.attachments.iter().map(Bytes::len);
        let around = self.json.len().saturating_add(self.exact.bytes());
        attachments.fold(around, usize::saturating_add)
    }

    /// One thing, with these arguments and so many bytes beside them. The lengths are added up
    /// here, because [`Args::bytes`] is what the limits ask.
    #[cfg(feature = "steps")]
    pub(crate) fn holding(&self, more: usize) -> Holding {
        let attachments = &self.attachments;
        let attached = attachments.iter().map(Bytes::len).sum::<usize>();
        let bytes = attached
            .saturating_add(self.json.len())
            .saturating_add(self.exact.bytes());
        Holding::list::<Bytes>(attachments.capacity())
            .and(Holding::heads(attachments.len()))
            .with([bytes.saturating_add(more)])
    }

    /// A copy in its own memory, which does not keep the read buffers alive.
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

    /// Gives the parts their own memory, as far as they are copied.
    pub(crate) fn keep(&mut self, from: Source) {
        from.keep_text(&mut self.json);
        self.attachments.iter_mut().for_each(|bytes| from.keep_bytes(bytes));
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
/// A namespace starts with `/` and has no comma, because the text form could not carry a comma.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// To a server: the client asks to enter the namespace. To a client: the server has let it in.
    Connect {
        /// The namespace.
        namespace: ByteString,
        /// The text behind the first `?` of the namespace, without the `?`. Only revisions 3 and 4
        /// have it. Later revisions know no query, and the whole text is the namespace.
        query: Option<ByteString>,
        /// A JSON object: the client's credentials, or the server's answer. Genuine peers of
        /// revisions 3 and 4 send none.
        payload: Option<ByteString>,
    },
    /// One end leaves the namespace.
    Disconnect {
        /// The namespace.
        namespace: ByteString,
    },
    /// An event. If it has an id, the sender wants an acknowledgement.
    Event {
        /// The namespace.
        namespace: ByteString,
        /// The name as text. A number is also a legal name; it stands here as it was written in
        /// JSON.
        name: ByteString,
        /// The number that the sender chose for the acknowledgement it wants.
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
    /// The server does not let the client into the namespace. Its name in revisions 3 and 4 is
    /// ERROR.
    ConnectError {
        /// The namespace.
        namespace: ByteString,
        /// JSON. In revision 5 it is an object with `message` and perhaps `data`; in earlier
        /// revisions it is any value.
        payload: ByteString,
    },
}

impl Packet {
    /// Takes the packet out of its place.
    pub(crate) const fn take(&mut self) -> Self {
        let namespace = ByteString::new();
        core::mem::replace(self, Self::Disconnect { namespace })
    }

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

    /// Gives the parts their own memory, as far as they are copied.
    pub(crate) fn keep(&mut self, from: Source) {
        let text = |text: &mut ByteString| from.keep_text(text);
        match self {
            Self::Connect {
                namespace,
                query,
                payload,
            } => {
                text(namespace);
                query.iter_mut().chain(payload).for_each(text);
            }
            Self::Disconnect { namespace } => text(namespace),
            Self::Event {
                namespace, name, args, ..
            } => {
                [namespace, name].into_iter().for_each(text);
                args.keep(from);
            }
            Self::Ack { namespace, args, .. } => {
                text(namespace);
                args.keep(from);
            }
            Self::ConnectError { namespace, payload } => [namespace, payload].into_iter().for_each(text),
        }
    }

    /// Memory that the parts take, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let text = |text: &Option<ByteString>| text.as_ref().map_or(0, |text| text.len());
        let content = match self {
            Self::Connect { query, payload, .. } => text(query).saturating_add(text(payload)),
            Self::Disconnect { .. } => 0,
            Self::Event { name, args, .. } => name.len().saturating_add(args.bytes()),
            Self::Ack { args, .. } => args.bytes(),
            Self::ConnectError { payload, .. } => payload.len(),
        };
        self.namespace().len().saturating_add(content)
    }

    #[cfg(feature = "steps")]
    pub(crate) fn holding(&self) -> Holding {
        let args = self.args();
        let around = self.bytes().saturating_sub(args.map_or(0, Args::bytes));
        args.map_or_else(|| Holding::thing(around), |args| args.holding(around))
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

/// Event names that have a special meaning on the server or on the client. No packet may carry
/// them.
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
    // Most names are shorter than the shortest reserved one.
    name.len() >= "connect".len() && RESERVED_EVENTS.contains(&name)
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
