//! Recovery with the streams adapter (docs/protocol/cluster-redis.md §4.3): what is kept of a
//! client that is away, and which entries of the stream it has missed.

use alloc::vec::Vec;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use bytestring::ByteString;

use super::raw::Document;
use super::writer::{FEW_BYTES, Syntax, Writer, members};
use super::{Body, Envelope, Malformed, MessageLimits};
use crate::broker::Entry;
use crate::cluster::order::{Emit, Target};
use crate::cluster::seal::Sealing;

/// What is kept of a client that is away. Everybody who can write to the broker can make such a
/// record, so it proves nothing: the client has to show its private id, which is the key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// The id of its socket.
    pub sid: ByteString,
    /// The private id.
    pub pid: ByteString,
    /// Its rooms.
    pub rooms: Vec<ByteString>,
    /// Behind which entry the socket is in each of its rooms, in their order; an empty text where
    /// this is not said. What was said to a room before is not for the socket. Empty if nothing is
    /// said of any room. Genuine nodes neither write it nor look at it.
    pub since: Vec<ByteString>,
    /// The application's data beside it, a JSON value. An empty text is written as `{}`.
    pub data: ByteString,
    /// The offset from which the client has to be sent what it has missed if it has seen no event
    /// yet; empty if there is none. Genuine nodes neither write it nor look at it.
    pub offset: ByteString,
    /// The server that has written the record ([`home`](crate::cluster::home)); empty for a genuine
    /// node.
    pub node: ByteString,
    /// The namespace of its socket; empty for a genuine node, which does not write it.
    pub namespace: ByteString,
    /// Until when it counts, in milliseconds since the beginning of 1970, if it is signed; 0 if
    /// this is not said. Genuine nodes neither write it nor look at it.
    pub until: u64,
}

impl Session {
    /// The value that the broker keeps.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        self.encode_for(None)
    }

    pub(in crate::cluster) fn encode_for(&self, sealing: Option<Sealing<'_>>) -> Bytes {
        let until = match self.until {
            0 => ByteString::new(),
            until => alloc::format!("{until}").into(),
        };
        let mut out = Writer::new(Syntax::MessagePack, FEW_BYTES);
        let extra = [
            ("offset", &self.offset),
            ("node", &self.node),
            ("nsp", &self.namespace),
            ("until", &until),
        ];
        let extra = extra.into_iter().filter(|(_, value)| !value.is_empty());
        let has_since = self.since.iter().any(|since| !since.is_empty());
        let texts = extra.clone().count();
        out.object(members(4, [has_since, sealing.is_some()]).saturating_add(texts));
        out.key("sid").text(&self.sid);
        out.key("pid").text(&self.pid);
        out.key("rooms").names(&self.rooms);
        out.key("data").json(&self.data);
        for (name, value) in extra {
            out.key(name).text(value);
        }
        if has_since {
            out.key("since").names(&self.since);
        }
        STANDARD.encode(out.finish_object(sealing)).into()
    }

    /// Reads a value that the broker has kept.
    ///
    /// # Errors
    ///
    /// [`Malformed`]. The client is then treated as a new one.
    pub fn decode(value: &Bytes, limits: &MessageLimits) -> Result<Self, Malformed> {
        Self::read(&Self::unwrap(value, limits)?, limits)
    }

    /// The bytes of a record that the broker has kept.
    pub(in crate::cluster) fn unwrap(value: &Bytes, limits: &MessageLimits) -> Result<Bytes, Malformed> {
        limits.check_length(value.len())?;
        Ok(STANDARD.decode(value).map_err(|_| Malformed::Base64)?.into())
    }

    pub(in crate::cluster) fn read(record: &Bytes, limits: &MessageLimits) -> Result<Self, Malformed> {
        let document = Document::read(record, limits)?;
        let mut values = document.values();
        let names = ["sid", "pid", "rooms", "data", "offset", "node", "nsp", "until", "since"];
        let [sid, pid, rooms, data, offset, node, namespace, until, since] = document.root().members(names)?;
        let values_of = |value| match value {
            Some(value) => values.text(value),
            None => Ok(ByteString::new()),
        };
        let (offset, node, namespace) = (values_of(offset)?, values_of(node)?, values_of(namespace)?);
        let until = values_of(until)?.parse().unwrap_or_default();
        Ok(Self {
            sid: values.text(sid.ok_or(Malformed::Missing("sid"))?)?,
            pid: values.text(pid.ok_or(Malformed::Missing("pid"))?)?,
            rooms: values.names(rooms)?,
            // The rooms are counted as they are in a record of a genuine node.
            since: document.values().names(since)?,
            data: values.json(data)?,
            offset,
            node,
            namespace,
            until,
        })
    }
}

impl Session {
    /// The entries of [`Session::since`] as numbers. What is none says nothing.
    #[must_use]
    pub fn places(&self) -> Vec<Option<(u64, u64)>> {
        self.since.iter().map(|since| entry_id(since)).collect()
    }
}

/// Which messages of a stream a client has missed.
#[derive(Clone, Copy, Debug)]
pub struct MissedFilter<'a> {
    /// The namespace of its socket.
    pub namespace: &'a str,
    /// The rooms of its socket, including its id.
    pub rooms: &'a [ByteString],
    /// The numbers of the entries behind which it is in each of them ([`Session::places`]).
    pub since: &'a [Option<(u64, u64)>],
    /// The numbers of the last entries before it has left them, where it has.
    pub left: &'a [Option<(u64, u64)>],
}

impl MissedFilter<'_> {
    /// The event of an entry, and whom it was for, if the client has missed it. It was not missed
    /// if it is no broadcast, is for others, or was volatile. The caller appends the entry's id to
    /// the arguments.
    ///
    /// # Errors
    ///
    /// [`Malformed`]. Such an entry is skipped: nobody could have received it.
    pub fn missed(&self, entry: &Entry, limits: &MessageLimits) -> Result<Option<(Target, Emit)>, Malformed> {
        if !self.is_event_here(entry) {
            return Ok(None);
        }
        let envelope = Envelope::decode_entry(&entry.fields, limits)?;
        match envelope.body {
            Body::Broadcast {
                to,
                flags,
                emit,
                request_id: None,
            } if !flags.volatile && self.concerns(&to, &entry.id) => Ok(Some((to, emit))),
            _ => Ok(None),
        }
    }

    /// Whether an entry is an event in the namespace.
    pub(in crate::cluster) fn is_event_here(&self, entry: &Entry) -> bool {
        let field = |wanted: &str| {
            let mut found = entry.fields.iter().rev().filter(|(name, _)| name == wanted.as_bytes());
            found.next().map(|(_, value)| value)
        };
        field("nsp").is_some_and(|namespace| namespace == self.namespace.as_bytes())
            && field("type").is_some_and(|kind| kind == &b"3"[..])
    }

    fn concerns(&self, to: &Target, entry: &[u8]) -> bool {
        let at = core::str::from_utf8(entry).ok().and_then(entry_id);
        let place = |places: &[Option<(u64, u64)>], number: usize| places.get(number).copied().flatten();
        let was_in = |number: usize| {
            place(self.since, number).is_none_or(|since| at > Some(since))
                && place(self.left, number).is_none_or(|left| at <= Some(left))
        };
        let mine = |room: &ByteString| {
            let mut known = self.rooms.iter().enumerate();
            known.any(|(number, known)| known == room && was_in(number))
        };
        (to.rooms.is_empty() || to.rooms.iter().any(mine)) && !to.except.iter().any(mine)
    }
}

/// Whether a client's offset can be the id of an entry: digits, `-`, digits.
#[must_use]
pub fn is_entry_id(offset: &str) -> bool {
    entry_id(offset).is_some()
}

/// The two numbers of an entry's id.
pub(in crate::cluster) fn entry_id(id: &str) -> Option<(u64, u64)> {
    let (milliseconds, sequence) = id.split_once('-')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    match digits(milliseconds) && digits(sequence) {
        true => Some((milliseconds.parse().ok()?, sequence.parse().ok()?)),
        false => None,
    }
}
