//! The messages of all other adapters: one envelope with a type and data
//! (docs/protocol/cluster-redis.md §2 to §4).

use alloc::vec::Vec;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use bytestring::ByteString;

use super::classic::{LEFT_OUT, read_sockets, write_left_out, write_sockets};
use super::opts::{self, Members};
use super::raw::{Document, Raw, Values, short};
use super::writer::{FEW_BYTES, Syntax, Writer, about, about_names, is_deep, members};
use super::{Malformed, MessageLimits, NUMBER};
use crate::cluster::order::{Emit, Flags, RemoteSocket, Target};
use crate::cluster::seal::{self, Sealing};
use crate::socket::Args;

/// A message of the sharded adapter or the streams adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The node that sends it, or `emitter`.
    pub uid: ByteString,
    /// Its namespace.
    pub namespace: ByteString,
    /// What it says.
    pub body: Body,
}

/// What an envelope says. The numbers are those of its types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// 1: a node begins; everybody answers with 2.
    InitialHeartbeat,
    /// 2: a node is alive.
    Heartbeat {
        /// Whether the node also hears channels. Nodes of the streams adapter 0.2, the only genuine
        /// ones that send heartbeats, say nothing and hear none. Our nodes say it, so that others
        /// do not count them twice.
        subscribes: bool,
    },
    /// 3: send an event.
    Broadcast {
        /// To which sockets.
        to: Target,
        /// How.
        flags: Flags,
        /// The event.
        emit: Emit,
        /// The name of the request, if acknowledgements are wanted.
        request_id: Option<ByteString>,
    },
    /// 4: put sockets into rooms.
    Join {
        /// The sockets.
        to: Target,
        /// The rooms.
        rooms: Vec<ByteString>,
    },
    /// 5: take sockets out of rooms.
    Leave {
        /// The sockets.
        to: Target,
        /// The rooms.
        rooms: Vec<ByteString>,
    },
    /// 6: end sockets.
    Disconnect {
        /// The sockets.
        to: Target,
        /// Whether their connections end, too.
        close: bool,
    },
    /// 7: which sockets do you have?
    Fetch {
        /// Of these.
        to: Target,
        /// The name of the request.
        request_id: ByteString,
    },
    /// 8: the answer to 7.
    Sockets {
        /// The name of the request.
        request_id: ByteString,
        /// The sockets.
        sockets: Vec<RemoteSocket>,
        /// How many sockets were left out, because the answer would be too large. Genuine nodes
        /// leave out none, and do not look at the number.
        left_out: u64,
    },
    /// 9: an event for the servers.
    ServerSideEmit {
        /// The event.
        emit: Emit,
        /// The name of the request, if an answer is wanted.
        request_id: Option<ByteString>,
    },
    /// 10: the answer to 9.
    ServerSideAnswer {
        /// The name of the request.
        request_id: ByteString,
        /// One value.
        value: Args,
    },
    /// 11, once to 3: how many sockets were asked.
    ClientCount {
        /// The name of the request.
        request_id: ByteString,
        /// How many.
        count: u64,
    },
    /// 12, to 3: the first argument of an acknowledgement.
    Ack {
        /// The name of the request.
        request_id: ByteString,
        /// One value.
        value: Args,
    },
    /// 13: a node ends.
    Close,
}

impl Body {
    /// The number of the type.
    #[must_use]
    pub const fn number(&self) -> u64 {
        match self {
            Self::InitialHeartbeat => 1,
            Self::Heartbeat { .. } => 2,
            Self::Broadcast { .. } => 3,
            Self::Join { .. } => 4,
            Self::Leave { .. } => 5,
            Self::Disconnect { .. } => 6,
            Self::Fetch { .. } => 7,
            Self::Sockets { .. } => 8,
            Self::ServerSideEmit { .. } => 9,
            Self::ServerSideAnswer { .. } => 10,
            Self::ClientCount { .. } => 11,
            Self::Ack { .. } => 12,
            Self::Close => 13,
        }
    }

    const fn has_data(&self) -> bool {
        !matches!(
            self,
            Self::InitialHeartbeat | Self::Heartbeat { subscribes: false } | Self::Close
        )
    }

    /// Whether the body has bytes, which JSON cannot carry, or is nested as deep as readers of JSON
    /// may refuse. Genuine nodes read both forms of each message.
    fn needs_message_pack(&self) -> bool {
        let needs = |args: &Args| !args.attachments.is_empty() || is_deep(args);
        match self {
            Self::Broadcast { emit, .. } | Self::ServerSideEmit { emit, .. } => needs(&emit.args),
            Self::ServerSideAnswer { value, .. } | Self::Ack { value, .. } => needs(value),
            _ => false,
        }
    }

    /// About how many bytes the message has.
    fn about(&self) -> usize {
        match self {
            Self::Broadcast { to, emit, .. } => {
                let names = to.rooms.iter().chain(&to.except).map(|name| &**name);
                about(emit).saturating_add(about_names(names))
            }
            Self::ServerSideEmit { emit, .. } => about(emit),
            _ => FEW_BYTES,
        }
    }

    fn write_data(&self, out: &mut Writer) {
        let write_opts = |out: &mut Writer, to, flags| opts::write(out, to, flags, Members::WithFlags);
        match self {
            Self::InitialHeartbeat | Self::Close => {}
            Self::Heartbeat { subscribes } => {
                out.object(1);
                out.key("subscribes").boolean(*subscribes);
            }
            Self::Broadcast {
                to,
                flags,
                emit,
                request_id,
            } => {
                out.object(members(2, [request_id.is_some()]));
                out.key("packet");
                opts::write_packet(out, emit, None);
                if let Some(request) = request_id {
                    out.key("requestId").text(request);
                }
                write_opts(out, to, *flags);
            }
            Self::Join { to, rooms } | Self::Leave { to, rooms } => {
                out.object(2);
                write_opts(out, to, Flags::default());
                out.key("rooms").names(rooms);
            }
            Self::Disconnect { to, close } => {
                out.object(2);
                write_opts(out, to, Flags::default());
                out.key("close").boolean(*close);
            }
            Self::Fetch { to, request_id } => {
                out.object(2);
                write_opts(out, to, Flags::default());
                out.key("requestId").text(request_id);
            }
            Self::ServerSideEmit { emit, request_id } => {
                out.object(members(1, [request_id.is_some()]));
                if let Some(request) = request_id {
                    out.key("requestId").text(request);
                }
                out.key("packet").event(emit);
            }
            Self::Sockets {
                request_id,
                sockets,
                left_out,
            } => {
                out.object(members(2, [*left_out > 0]));
                out.key("requestId").text(request_id);
                out.key("sockets");
                write_sockets(out, sockets);
                write_left_out(out, *left_out);
            }
            Self::ServerSideAnswer { request_id, value } | Self::Ack { request_id, value } => {
                out.object(2);
                out.key("requestId").text(request_id);
                out.key("packet").argument(value);
            }
            Self::ClientCount { request_id, count } => {
                out.object(2);
                out.key("requestId").text(request_id);
                out.key("clientCount").number(*count);
            }
        }
        out.end_object();
    }

    fn read<'a>(kind: u64, data: Option<Raw<'a>>, values: &mut Values<'a>) -> Result<Self, Malformed> {
        match kind {
            1 => return Ok(Self::InitialHeartbeat),
            2 => {
                let [subscribes] = data.map_or(Ok([None]), |data| data.members(["subscribes"]))?;
                let subscribes = subscribes.and_then(Raw::boolean).unwrap_or(false);
                return Ok(Self::Heartbeat { subscribes });
            }
            13 => return Ok(Self::Close),
            3..=12 => {}
            other => return Err(Malformed::UnknownType(other)),
        }
        let data = data.ok_or(Malformed::Missing("data"))?;
        let [packet, opts, request, rooms, close, sockets, count, left_out] = data.members([
            "packet",
            "opts",
            "requestId",
            "rooms",
            "close",
            "sockets",
            "clientCount",
            LEFT_OUT,
        ])?;
        let request = request.map(|request| values.id(request)).transpose()?;
        let named = |request: Option<ByteString>| request.ok_or(Malformed::Missing("requestId"));
        Ok(match kind {
            3 => {
                let (emit, _) = opts::read_packet(values, packet)?;
                let (to, flags) = opts::read(values, opts)?;
                let request_id = request;
                Self::Broadcast {
                    to,
                    flags,
                    emit,
                    request_id,
                }
            }
            4 | 5 => {
                let (to, _) = opts::read(values, opts)?;
                let rooms = values.names(Some(rooms.ok_or(Malformed::Missing("rooms"))?))?;
                match kind {
                    4 => Self::Join { to, rooms },
                    _ => Self::Leave { to, rooms },
                }
            }
            6 => Self::Disconnect {
                to: opts::read(values, opts)?.0,
                close: close.and_then(Raw::boolean).unwrap_or(false),
            },
            7 => Self::Fetch {
                to: opts::read(values, opts)?.0,
                request_id: named(request)?,
            },
            8 => Self::Sockets {
                request_id: named(request)?,
                sockets: read_sockets(values, sockets)?,
                left_out: left_out.and_then(Raw::number).unwrap_or(0),
            },
            9 => {
                let (name, args) = values.event(packet.ok_or(Malformed::Missing("packet"))?)?;
                let emit = Emit { name, args };
                let request_id = request;
                Self::ServerSideEmit { emit, request_id }
            }
            10 => Self::ServerSideAnswer {
                request_id: named(request)?,
                value: values.argument(packet)?,
            },
            11 => Self::ClientCount {
                request_id: named(request)?,
                count: count.and_then(Raw::number).ok_or(Malformed::Missing("clientCount"))?,
            },
            _ => Self::Ack {
                request_id: named(request)?,
                value: values.argument(packet)?,
            },
        })
    }
}

impl Envelope {
    /// The bytes for a channel of the sharded adapter: JSON, or MessagePack if there are bytes or
    /// the arguments are nested very deep.
    #[must_use]
    pub fn encode_sharded(&self) -> Bytes {
        self.encode_sharded_for(None)
    }

    pub(in crate::cluster) fn encode_sharded_for(&self, sealing: Option<Sealing<'_>>) -> Bytes {
        let syntax = match self.body.needs_message_pack() {
            true => Syntax::MessagePack,
            false => Syntax::Json,
        };
        self.encode(syntax, sealing)
    }

    /// The bytes for a channel of the streams adapter: MessagePack.
    #[must_use]
    pub fn encode_message_pack(&self) -> Bytes {
        self.encode_message_pack_for(None)
    }

    pub(in crate::cluster) fn encode_message_pack_for(&self, sealing: Option<Sealing<'_>>) -> Bytes {
        self.encode(Syntax::MessagePack, sealing)
    }

    fn encode(&self, syntax: Syntax, sealing: Option<Sealing<'_>>) -> Bytes {
        let mut out = Writer::new(syntax, self.namespace.len().saturating_add(self.body.about()));
        out.object(members(3, [self.body.has_data(), sealing.is_some()]));
        out.key("type").number(self.body.number());
        if self.body.has_data() {
            out.key("data");
            self.body.write_data(&mut out);
        }
        out.key("uid").text(&self.uid);
        out.key("nsp").text(&self.namespace);
        out.finish_object(sealing)
    }

    /// Reads a message from a channel.
    ///
    /// # Errors
    ///
    /// [`Malformed`].
    pub fn decode(bytes: &Bytes, limits: &MessageLimits) -> Result<Self, Malformed> {
        let document = Document::read(bytes, limits)?;
        let mut values = document.values();
        let [kind, data, uid, namespace] = document.root().members(["type", "data", "uid", "nsp"])?;
        let kind = kind.and_then(Raw::number).ok_or(Malformed::Missing("type"))?;
        Ok(Self {
            uid: values.id(uid.ok_or(Malformed::Missing("uid"))?)?,
            namespace: values.text(namespace.ok_or(Malformed::Missing("nsp"))?)?,
            body: Body::read(kind, data, &mut values)?,
        })
    }

    /// The fields of a stream's entry.
    #[must_use]
    pub fn encode_entry(&self) -> Vec<(Bytes, Bytes)> {
        self.encode_entry_for(None, None)
    }

    /// `order` is the number by which the sender of an order knows it when it reads it. Nobody else
    /// looks at it.
    pub(in crate::cluster) fn encode_entry_for(
        &self,
        order: Option<u64>,
        sealing: Option<Sealing<'_>>,
    ) -> Vec<(Bytes, Bytes)> {
        let number = alloc::format!("{}", self.body.number());
        let mut fields = alloc::vec![
            (Bytes::from_static(b"uid"), self.uid.as_bytes().clone()),
            (Bytes::from_static(b"nsp"), self.namespace.as_bytes().clone()),
            (Bytes::from_static(b"type"), Bytes::from(number)),
        ];
        if self.body.has_data() {
            let data = match self.body.needs_message_pack() {
                false => self.body.data(Syntax::Json),
                true => STANDARD.encode(self.body.data(Syntax::MessagePack)).into(),
            };
            fields.push((Bytes::from_static(b"data"), data));
        }
        if let Some(order) = order {
            fields.push((
                Bytes::from_static(NUMBER.as_bytes()),
                Bytes::from(alloc::format!("{order}")),
            ));
        }
        if let Some(sealing) = sealing {
            let token = sealing.entry_token(&fields);
            fields.push((Bytes::from_static(seal::MEMBER.as_bytes()), token.into()));
        }
        fields
    }

    /// Reads a stream's entry. The order of its fields does not matter.
    ///
    /// # Errors
    ///
    /// [`Malformed`]. [`Malformed::Missing`] for an entry without namespace, which genuine nodes
    /// ignore, too.
    pub fn decode_entry(fields: &[(Bytes, Bytes)], limits: &MessageLimits) -> Result<Self, Malformed> {
        let bytes = fields.iter().fold(0usize, |bytes, (name, value)| {
            bytes.saturating_add(name.len()).saturating_add(value.len())
        });
        limits.check_length(bytes)?;
        let field = |wanted: &str| {
            let mut found = fields.iter().rev().filter(|(name, _)| name == wanted.as_bytes());
            found.next().map(|(_, value)| value)
        };
        let text = |bytes: &Bytes| ByteString::try_from(bytes.clone()).map_err(|_| Malformed::Utf8);
        let kind = text(field("type").ok_or(Malformed::Missing("type"))?)?;
        let kind = kind.parse().map_err(|_| Malformed::Missing("type"))?;
        let document = field("data").map(|data| document(data, limits)).transpose()?;
        let body = match &document {
            None => Body::read(kind, None, &mut Document::empty(limits).values())?,
            Some(document) => Body::read(kind, Some(document.root()), &mut document.values())?,
        };
        Ok(Self {
            uid: short(text(field("uid").ok_or(Malformed::Missing("uid"))?)?)?,
            namespace: text(field("nsp").ok_or(Malformed::Missing("nsp"))?)?,
            body,
        })
    }
}

impl Body {
    fn data(&self, syntax: Syntax) -> Bytes {
        let mut out = Writer::new(syntax, self.about());
        self.write_data(&mut out);
        out.finish()
    }
}

/// The data of an entry: JSON, or MessagePack in base64.
fn document(data: &Bytes, limits: &MessageLimits) -> Result<Document, Malformed> {
    if data.first() == Some(&b'{') {
        return Document::json(data, limits);
    }
    let bytes = STANDARD.decode(data).map_err(|_| Malformed::Base64)?;
    Document::read(&bytes.into(), limits)
}
