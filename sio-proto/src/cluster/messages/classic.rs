//! The messages of the classic adapter (docs/protocol/cluster-redis.md §1), and of the emitter that
//! works with it (§5).

use alloc::vec::Vec;

use bytes::Bytes;
use bytestring::ByteString;

use super::opts::{self, Members};
use super::raw::{Document, Raw, Values};
use super::writer::{FEW_BYTES, Syntax, Writer, about, about_names, is_deep, members};
use super::{EMITTER, Malformed, MessageLimits};
use crate::cluster::order::{Emit, Flags, Recipients, RemoteSocket, Target};
use crate::cluster::seal::Sealing;
use crate::socket::Args;

/// A broadcast without acknowledgements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broadcast {
    /// The node that sends it, or `emitter`.
    pub uid: ByteString,
    /// Its namespace.
    pub namespace: ByteString,
    /// To which sockets.
    pub to: Target,
    /// How.
    pub flags: Flags,
    /// The event.
    pub emit: Emit,
}

impl Broadcast {
    /// The bytes of the message.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        self.encode_for(None)
    }

    pub(in crate::cluster) fn encode_for(&self, sealing: Option<Sealing<'_>>) -> Bytes {
        let to = Recipients::from(&self.to);
        encode_broadcast(&self.uid, &self.namespace, to, self.flags, &self.emit, sealing)
    }

    /// Reads a message. A message without a namespace is for `/`.
    ///
    /// # Errors
    ///
    /// [`Malformed`], also for messages that would end a genuine node.
    pub fn decode(bytes: &Bytes, limits: &MessageLimits) -> Result<Self, Malformed> {
        let document = Document::read(bytes, limits)?;
        let mut values = document.values();
        let [uid, packet, opts] = document.root().elements()?;
        let uid = values.id(uid.ok_or(Malformed::Missing("uid"))?)?;
        let (emit, namespace) = opts::read_packet(&values, packet)?;
        let namespace = match namespace {
            Some(namespace) => values.text(namespace)?,
            None => ByteString::from_static("/"),
        };
        let (to, flags) = opts::read(&mut values, opts)?;
        Ok(Self {
            uid,
            namespace,
            to,
            flags,
            emit,
        })
    }
}

/// The bytes of a [`Broadcast`] whose parts the caller keeps.
pub(in crate::cluster) fn encode_broadcast(
    uid: &ByteString,
    namespace: &ByteString,
    to: Recipients<'_>,
    flags: Flags,
    emit: &Emit,
    sealing: Option<Sealing<'_>>,
) -> Bytes {
    let names = to.rooms.iter().chain(to.except).map(|name| &**name).chain(to.sender);
    let bytes = about(emit)
        .saturating_add(namespace.len())
        .saturating_add(about_names(names));
    let mut out = Writer::new(Syntax::MessagePack, bytes);
    out.array(members(3, [sealing.is_some()]));
    out.text(uid);
    // The fixed parts of `opts::write_packet`: two short texts and their values at once.
    out.packed(b"\x83\xa4type\x02\xa4data");
    out.event(emit);
    out.packed(b"\xa3nsp");
    out.text(namespace);
    let with = match *uid == EMITTER {
        true => Members::Emitter,
        false => Members::WithFlags,
    };
    match flags == Flags::default() && with == Members::WithFlags {
        true => {
            out.packed(b"\x83\xa5rooms");
            out.names(to.rooms);
            out.packed(b"\xa6except");
            out.array(members(to.except.len(), [to.sender.is_some()]));
            to.except.iter().for_each(|room| out.text(room));
            to.sender.into_iter().for_each(|sender| out.text(sender));
            out.packed(b"\xa5flags\x80");
        }
        false => opts::write_value(&mut out, &to.to_target(), flags, with),
    }
    out.finish_array(sealing)
}

/// A message on the request channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicRequest {
    /// The node that sends it. Emitters and `socket.io-redis` 6 do not sign all requests.
    pub uid: Option<ByteString>,
    /// The name of the request, if an answer is wanted.
    pub request_id: Option<ByteString>,
    /// What is wanted.
    pub body: RequestBody,
}

/// What a request wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestBody {
    /// Type 0: the ids of the sockets in these rooms; of all sockets if there is no room.
    Sockets(Vec<ByteString>),
    /// Type 1: all rooms.
    AllRooms,
    /// Type 2: put sockets into rooms.
    Join {
        /// The sockets.
        to: Target,
        /// The rooms.
        rooms: Vec<ByteString>,
    },
    /// Type 3: take sockets out of rooms.
    Leave {
        /// The sockets.
        to: Target,
        /// The rooms.
        rooms: Vec<ByteString>,
    },
    /// Type 4: end sockets.
    Disconnect {
        /// The sockets.
        to: Target,
        /// Whether their connections end, too.
        close: bool,
    },
    /// Types 2, 3 and 4 as `socket.io-redis` 6 writes them for one socket: its id, and the same
    /// with a target. The node that has the socket confirms it.
    Single(ByteString, SingleBody),
    /// Type 5: sockets with all that is known of them.
    Fetch(Target),
    /// Type 6: an event for the servers.
    ServerSideEmit(Emit),
    /// Type 7: a broadcast with acknowledgements.
    Broadcast {
        /// The namespace in its packet.
        namespace: ByteString,
        /// To which sockets.
        to: Target,
        /// How.
        flags: Flags,
        /// The event.
        emit: Emit,
    },
}

/// What becomes of the one socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SingleBody {
    /// It joins the room.
    Join(ByteString),
    /// It leaves the room.
    Leave(ByteString),
    /// It ends, with its connection if this is true.
    Disconnect(bool),
}

impl RequestBody {
    const fn number(&self) -> u64 {
        match self {
            Self::Sockets(_) => 0,
            Self::AllRooms => 1,
            Self::Join { .. } | Self::Single(_, SingleBody::Join(_)) => 2,
            Self::Leave { .. } | Self::Single(_, SingleBody::Leave(_)) => 3,
            Self::Disconnect { .. } | Self::Single(_, SingleBody::Disconnect(_)) => 4,
            Self::Fetch(_) => 5,
            Self::ServerSideEmit(_) => 6,
            Self::Broadcast { .. } => 7,
        }
    }

    /// Number of members beside `uid`, `requestId` and `type`.
    const fn members(&self) -> usize {
        match self {
            Self::AllRooms => 0,
            Self::Sockets(_) | Self::Fetch(_) | Self::ServerSideEmit(_) => 1,
            Self::Join { .. }
            | Self::Leave { .. }
            | Self::Disconnect { .. }
            | Self::Single(..)
            | Self::Broadcast { .. } => 2,
        }
    }
}

impl ClassicRequest {
    /// The bytes of the message.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        self.encode_for(None)
    }

    pub(in crate::cluster) fn encode_for(&self, sealing: Option<Sealing<'_>>) -> Bytes {
        let syntax = match &self.body {
            RequestBody::Broadcast { .. } => Syntax::MessagePack,
            RequestBody::ServerSideEmit(emit) if is_deep(&emit.args) => Syntax::MessagePack,
            _ => Syntax::Json,
        };
        let mut out = Writer::new(syntax, FEW_BYTES);
        let optional = [self.uid.is_some(), self.request_id.is_some(), sealing.is_some()];
        out.object(members(1, optional).saturating_add(self.body.members()));
        if let Some(uid) = &self.uid {
            out.key("uid").text(uid);
        }
        if let Some(request) = &self.request_id {
            out.key("requestId").text(request);
        }
        out.key("type").number(self.body.number());
        self.body.write(&mut out);
        out.finish_object(sealing)
    }

    /// Reads a message.
    ///
    /// # Errors
    ///
    /// [`Malformed`], also for messages that would end a genuine node.
    pub fn decode(bytes: &Bytes, limits: &MessageLimits) -> Result<Self, Malformed> {
        let document = Document::read(bytes, limits)?;
        let mut values = document.values();
        let [uid, request, old, kind] = document.root().members(["uid", "requestId", "requestid", "type"])?;
        if old.is_some() {
            return Err(Malformed::OldRequest);
        }
        let kind = kind.and_then(Raw::number).ok_or(Malformed::Missing("type"))?;
        let uid = uid.map(|uid| values.id(uid)).transpose()?;
        let request_id = request.map(|request| values.id(request)).transpose()?;
        let body = RequestBody::read(kind, document.root(), &mut values)?;
        let asks = matches!(
            body,
            RequestBody::Sockets(_)
                | RequestBody::AllRooms
                | RequestBody::Fetch(_)
                | RequestBody::Broadcast { .. }
                | RequestBody::Single(..)
        );
        if asks && request_id.is_none() {
            return Err(Malformed::Missing("requestId"));
        }
        Ok(Self { uid, request_id, body })
    }
}

impl RequestBody {
    fn write(&self, out: &mut Writer) {
        let bare = |out: &mut Writer, to| opts::write(out, to, Flags::default(), Members::Bare);
        match self {
            Self::Sockets(rooms) => out.key("rooms").names(rooms),
            Self::AllRooms => {}
            Self::Join { to, rooms } | Self::Leave { to, rooms } => {
                bare(out, to);
                out.key("rooms").names(rooms);
            }
            Self::Disconnect { to, close } => {
                bare(out, to);
                out.key("close").boolean(*close);
            }
            Self::Single(sid, body) => {
                out.key("sid").text(sid);
                match body {
                    SingleBody::Join(room) | SingleBody::Leave(room) => out.key("room").text(room),
                    SingleBody::Disconnect(close) => out.key("close").boolean(*close),
                }
            }
            Self::Fetch(to) => bare(out, to),
            Self::ServerSideEmit(emit) => out.key("data").event(emit),
            Self::Broadcast {
                namespace,
                to,
                flags,
                emit,
            } => {
                out.key("packet");
                opts::write_packet(out, emit, Some(namespace));
                opts::write(out, to, *flags, Members::WithFlags);
            }
        }
    }

    fn read<'a>(kind: u64, root: Raw<'a>, values: &mut Values<'a>) -> Result<Self, Malformed> {
        let [opts, rooms, close, data, packet, sid, room] =
            root.members(["opts", "rooms", "close", "data", "packet", "sid", "room"])?;
        if let (2..=4, None, Some(sid)) = (kind, opts, sid) {
            let room = |values: &Values<'_>| values.text(room.ok_or(Malformed::Missing("room"))?);
            let body = match kind {
                2 => SingleBody::Join(room(values)?),
                3 => SingleBody::Leave(room(values)?),
                _ => SingleBody::Disconnect(close.and_then(Raw::boolean).unwrap_or(false)),
            };
            return Ok(Self::Single(values.text(sid)?, body));
        }
        Ok(match kind {
            0 => Self::Sockets(values.names(rooms)?),
            1 => Self::AllRooms,
            2 | 3 => {
                let (to, _) = opts::read(values, opts)?;
                let rooms = values.names(Some(rooms.ok_or(Malformed::Missing("rooms"))?))?;
                match kind {
                    2 => Self::Join { to, rooms },
                    _ => Self::Leave { to, rooms },
                }
            }
            4 => {
                let (to, _) = opts::read(values, opts)?;
                let close = close.and_then(Raw::boolean).unwrap_or(false);
                Self::Disconnect { to, close }
            }
            5 => Self::Fetch(opts::read(values, opts)?.0),
            6 => {
                let (name, args) = values.event(data.ok_or(Malformed::Missing("data"))?)?;
                Self::ServerSideEmit(Emit { name, args })
            }
            7 => {
                let (emit, namespace) = opts::read_packet(values, packet)?;
                let (to, flags) = opts::read(values, opts)?;
                let namespace = match namespace {
                    Some(namespace) => values.text(namespace)?,
                    None => ByteString::from_static("/"),
                };
                Self::Broadcast {
                    namespace,
                    to,
                    flags,
                    emit,
                }
            }
            other => return Err(Malformed::UnknownType(other)),
        })
    }
}

/// A message on a response channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicResponse {
    /// The node that answers. Genuine nodes do not sign their answers and do not look at the name;
    /// our nodes sign, so that no node is counted twice and the silent ones can be named.
    pub uid: Option<ByteString>,
    /// The request.
    pub request_id: ByteString,
    /// The answer.
    pub body: ResponseBody,
}

/// What a response says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResponseBody {
    /// To type 0: ids of sockets.
    Ids(Vec<ByteString>),
    /// To type 1: rooms.
    Rooms(Vec<ByteString>),
    /// To type 5: sockets.
    Sockets {
        /// The sockets.
        sockets: Vec<RemoteSocket>,
        /// How many sockets were left out, because the answer would be too large. Genuine nodes
        /// leave out none, and do not look at the number.
        left_out: u64,
    },
    /// To type 6: one value.
    ServerSideEmit(Args),
    /// Type 8, once to type 7: how many sockets were asked.
    ClientCount(u64),
    /// Type 9, to type 7: the first argument of an acknowledgement.
    Ack(Args),
    /// To types 2, 3 and 4 for one socket: it is done.
    Done,
}

impl ClassicResponse {
    /// The bytes of the message.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        self.encode_for(None)
    }

    pub(in crate::cluster) fn encode_for(&self, sealing: Option<Sealing<'_>>) -> Bytes {
        let syntax = match &self.body {
            ResponseBody::Ack(_) => Syntax::MessagePack,
            ResponseBody::ServerSideEmit(value) if is_deep(value) => Syntax::MessagePack,
            _ => Syntax::Json,
        };
        let mut out = Writer::new(syntax, FEW_BYTES);
        let (kind, of_body) = match &self.body {
            ResponseBody::Done => (None, 0),
            ResponseBody::Ids(_) | ResponseBody::Rooms(_) | ResponseBody::Sockets { left_out: 0, .. } => (None, 1),
            ResponseBody::Sockets { .. } => (None, 2),
            ResponseBody::ServerSideEmit(_) => (Some(6), 1),
            ResponseBody::ClientCount(_) => (Some(8), 1),
            ResponseBody::Ack(_) => (Some(9), 1),
        };
        let optional = [kind.is_some(), self.uid.is_some(), sealing.is_some()];
        out.object(members(1, optional).saturating_add(of_body));
        if let Some(kind) = kind {
            out.key("type").number(kind);
        }
        out.key("requestId").text(&self.request_id);
        match &self.body {
            ResponseBody::Ids(ids) => out.key("sockets").names(ids),
            ResponseBody::Rooms(rooms) => out.key("rooms").names(rooms),
            ResponseBody::Sockets { sockets, left_out } => {
                out.key("sockets");
                write_sockets(&mut out, sockets);
                write_left_out(&mut out, *left_out);
            }
            ResponseBody::ServerSideEmit(value) => out.key("data").argument(value),
            ResponseBody::ClientCount(count) => out.key("clientCount").number(*count),
            ResponseBody::Ack(value) => out.key("packet").argument(value),
            ResponseBody::Done => {}
        }
        if let Some(uid) = &self.uid {
            out.key("uid").text(uid);
        }
        out.finish_object(sealing)
    }

    /// Reads a message.
    ///
    /// # Errors
    ///
    /// [`Malformed`].
    pub fn decode(bytes: &Bytes, limits: &MessageLimits) -> Result<Self, Malformed> {
        let document = Document::read(bytes, limits)?;
        let mut values = document.values();
        let [uid, request, kind, rooms, data, count, packet, sockets, left_out] = document.root().members([
            "uid",
            "requestId",
            "type",
            "rooms",
            "data",
            "clientCount",
            "packet",
            "sockets",
            LEFT_OUT,
        ])?;
        let request = request.ok_or(Malformed::Missing("requestId"))?;
        let body = match kind.and_then(Raw::number) {
            Some(6) => ResponseBody::ServerSideEmit(values.argument(data)?),
            Some(8) => {
                let count = count.and_then(Raw::number);
                ResponseBody::ClientCount(count.ok_or(Malformed::Missing("clientCount"))?)
            }
            Some(9) => ResponseBody::Ack(values.argument(packet)?),
            _ => match (sockets, rooms) {
                (Some(sockets), _) => read_ids_or_sockets(&mut values, sockets, left_out)?,
                (None, Some(rooms)) => ResponseBody::Rooms(values.names(Some(rooms))?),
                (None, None) => ResponseBody::Done,
            },
        };
        Ok(Self {
            uid: uid.map(|uid| values.id(uid)).transpose()?,
            request_id: values.id(request)?,
            body,
        })
    }
}

fn read_ids_or_sockets<'a>(
    values: &mut Values<'a>,
    sockets: Raw<'a>,
    left_out: Option<Raw<'a>>,
) -> Result<ResponseBody, Malformed> {
    let [first] = sockets.elements()?;
    match first.map(|first: Raw<'_>| first.members(["id"])) {
        Some(Err(_)) => Ok(ResponseBody::Ids(values.names(Some(sockets))?)),
        Some(Ok(_)) | None => Ok(ResponseBody::Sockets {
            sockets: read_sockets(values, Some(sockets))?,
            left_out: left_out.and_then(Raw::number).unwrap_or(0),
        }),
    }
}

pub(super) fn write_sockets(out: &mut Writer, sockets: &[RemoteSocket]) {
    out.array(sockets.len());
    for socket in sockets {
        out.object(4);
        out.key("id").text(&socket.id);
        out.key("handshake").json(&socket.handshake);
        out.key("rooms").names(&socket.rooms);
        out.key("data").json(&socket.data);
        out.end_object();
    }
    out.end_array();
}

/// The member that says how many sockets an answer leaves out.
pub(super) const LEFT_OUT: &str = "leftOut";

/// Says how many sockets were left out, if there are any.
pub(super) fn write_left_out(out: &mut Writer, left_out: u64) {
    if left_out > 0 {
        out.key(LEFT_OUT).number(left_out);
    }
}

/// Reads sockets. No list is an empty list.
pub(super) fn read_sockets<'a>(
    values: &mut Values<'a>,
    sockets: Option<Raw<'a>>,
) -> Result<Vec<RemoteSocket>, Malformed> {
    let mut found = Vec::new();
    values.list(sockets, |values, socket| {
        let [id, handshake, rooms, data] = socket.members(["id", "handshake", "rooms", "data"])?;
        found.push(RemoteSocket {
            id: values.text(id.ok_or(Malformed::Missing("id"))?)?,
            handshake: values.json(handshake)?,
            rooms: values.names(rooms)?,
            data: values.json(data)?,
        });
        Ok(())
    })?;
    Ok(found)
}
