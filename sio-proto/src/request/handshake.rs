//! What is remembered of the request that opened a session.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::fmt;
use core::net::{IpAddr, SocketAddr};

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;

use super::Request;
use crate::Config;
use crate::detect::Transport;
use crate::{Time, http, json};

/// Who is at the other end of a link, as far as the caller knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// The remote address, where there is one.
    pub address: Option<SocketAddr>,
    /// Whether the link is encrypted.
    pub secure: bool,
}

impl Peer {
    /// Whether it is on the same machine: its address is one of loopback, which the operating
    /// system lets nobody else have. The link was then accepted on an address of loopback, too.
    /// False where the address is not known.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.address
            .is_some_and(|address| address.ip().to_canonical().is_loopback())
    }

    /// The network that one client is taken to come from: an address of version 4, or the first 64
    /// bits of one of version 6, of which a host has many and changes them.
    pub(crate) fn network(&self) -> Option<IpAddr> {
        Some(match self.address?.ip().to_canonical() {
            IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
            version_4 @ IpAddr::V4(_) => version_4,
        })
    }
}

/// A value of the caller's own that comes with a request, such as what the middleware of a web
/// framework has found out about it.
pub type Extension = Arc<dyn Any + Send + Sync>;

/// Which generation of the wire a session speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Generation {
    /// Plain messages, in whatever codec: Socket.IO 0.6 and before.
    Legacy06,
    /// The `/1/` wire of Socket.IO 0.7 to 0.9.
    Legacy09,
    /// Engine.IO 2 and 3: Socket.IO 1.x and 2.x.
    Engine3,
    /// Engine.IO 4: Socket.IO 3.x and 4.x.
    Engine4,
}

impl Generation {
    /// The releases that speak it, for people: `"0.6"`, `"1.x-2.x"`, `"4.x"`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Legacy06 => "0.6",
            Self::Legacy09 => "0.7-0.9",
            Self::Engine3 => "1.x-2.x",
            Self::Engine4 => "4.x",
        }
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a session's packets travel at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportKind {
    /// Long polling. Sessions of Engine.IO count here if they poll with JSONP, too: to them it is
    /// one transport.
    Polling,
    /// Polling by scripts, in the generations that give it a name of its own: 0.6 to 0.9.
    JsonpPolling,
    /// An endless page of scripts, 0.6 to 0.9.
    Htmlfile,
    /// An endless multipart answer, 0.6.
    XhrMultipart,
    /// A websocket, of RFC 6455 or older. Sessions of Engine.IO count here if Flash speaks it, too.
    WebSocket,
    /// A websocket spoken by Flash, 0.6 to 0.9.
    Flashsocket,
}

impl TransportKind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::Polling,
        Self::JsonpPolling,
        Self::Htmlfile,
        Self::XhrMultipart,
        Self::WebSocket,
        Self::Flashsocket,
    ];

    /// As operators name it: `"polling"`, `"jsonp-polling"`, `"htmlfile"`, `"xhr-multipart"`,
    /// `"websocket"`, `"flashsocket"`. Of sessions of Engine.IO it is `"polling"` or `"websocket"`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Polling => "polling",
            Self::JsonpPolling => "jsonp-polling",
            Self::Htmlfile => "htmlfile",
            Self::XhrMultipart => "xhr-multipart",
            Self::WebSocket => "websocket",
            Self::Flashsocket => "flashsocket",
        }
    }

    /// Whether each answer takes one request, so that between two of them there is no way to the
    /// client.
    pub(crate) const fn is_polling(self) -> bool {
        matches!(self, Self::Polling | Self::JsonpPolling)
    }
}

/// The other way round: of several that are one kind, that of the same name.
impl From<TransportKind> for Transport {
    fn from(kind: TransportKind) -> Self {
        match kind {
            TransportKind::Polling => Self::XhrPolling,
            TransportKind::JsonpPolling => Self::JsonpPolling,
            TransportKind::Htmlfile => Self::Htmlfile,
            TransportKind::XhrMultipart => Self::XhrMultipart,
            TransportKind::WebSocket => Self::Websocket,
            TransportKind::Flashsocket => Self::Flashsocket,
        }
    }
}

impl From<Transport> for TransportKind {
    fn from(transport: Transport) -> Self {
        match transport {
            Transport::XhrPolling => Self::Polling,
            Transport::JsonpPolling => Self::JsonpPolling,
            Transport::Htmlfile => Self::Htmlfile,
            Transport::XhrMultipart => Self::XhrMultipart,
            Transport::Websocket => Self::WebSocket,
            Transport::Flashsocket => Self::Flashsocket,
        }
    }
}

impl fmt::Display for TransportKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a session keeps of the request that opened it: the target, and of the header fields those
/// that fit into [`Config::max_handshake_bytes`](crate::Config::max_handshake_bytes). They are
/// copied out of the receive buffer into one allocation, so that an idle session does not keep the
/// buffer alive.
///
/// Header fields beyond the limit are left out whole, never cut ([`Handshake::left_out`]). The
/// fields of [`Config::handshake_headers`](crate::Config::handshake_headers) come first, so they
/// are the last to be left out. The hook that decides about a request sees all of them.
pub struct Handshake {
    text: Box<str>,
    /// Ends of the target, then of each header's name and value, as offsets into `text`.
    ends: Box<[u32]>,
    /// The pairs of the query as a JSON object, for clients that have nothing else to say for
    /// themselves.
    query_object: Option<ByteString>,
    /// The keys of the query that are the protocol's own; none where the query is no [`Auth`].
    parameters: &'static [&'static str],
    left_out: u32,
    names_page: bool,
    /// Who sent it.
    pub peer: Peer,
    /// When it came.
    pub issued: Time,
    /// The seconds since the beginning of the year 1970 when it came, leap seconds not counted, as
    /// far as the caller has said so ([`Request::unix_time`]): JavaScript's `handshake.time`.
    pub unix_time: Option<u64>,
    /// What the caller had to say of it beside the request.
    pub extension: Option<Extension>,
}

impl Handshake {
    /// Copies what is kept of `request`. `parameters` are the keys of the query that are the
    /// protocol's own: the others become the [object](Self::query_object), unless there are no such
    /// keys.
    ///
    /// What it costs grows with the length of the head, which [`http::Limits`] bound, so it is for
    /// where no lock is held.
    pub(crate) fn new(config: &Config, request: &Request, issued: Time, parameters: &'static [&'static str]) -> Self {
        let Request {
            http, peer, extension, ..
        } = request;
        let kept = kept_fields(config, &http.headers);
        let mut text = String::with_capacity(http.target.len() + kept.bytes);
        let mut ends = Vec::with_capacity(1 + 2 * kept.fields);
        text.push_str(&http.target);
        ends.push(text.len() as u32);
        for ((name, value), _) in text_fields(&http.headers).zip(&kept.is_kept).filter(|(_, kept)| **kept) {
            text.push_str(name);
            ends.push(text.len() as u32);
            text.push_str(value);
            ends.push(text.len() as u32);
        }
        let mut handshake = Self {
            text: text.into_boxed_str(),
            ends: ends.into_boxed_slice(),
            query_object: None,
            parameters,
            left_out: kept.left_out,
            names_page: http.headers.get("origin").is_some(),
            peer: *peer,
            issued,
            unix_time: request.unix_time,
            extension: extension.clone(),
        };
        if !parameters.is_empty() {
            handshake.query_object = query_object(&[handshake.query()], parameters);
        }
        handshake
    }

    /// What it takes in memory, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let object = self.query_object.as_ref().map_or(0, |object| object.len());
        size_of::<Self>() + self.text.len() + size_of_val(&*self.ends) + object
    }

    /// How many header fields are not kept because they did not fit.
    #[must_use]
    pub const fn left_out(&self) -> usize {
        self.left_out as usize
    }

    /// The pairs of the query as one JSON object, of equal keys the last, without those that are
    /// the protocol's own. `None` if there are none, and for clients that say who they are with a
    /// CONNECT: those of 3.0 and later, and of 0.6.
    #[must_use]
    pub const fn query_object(&self) -> Option<&ByteString> {
        self.query_object.as_ref()
    }

    /// The request target as it came: path and query.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.text[..self.ends[0] as usize]
    }

    /// The raw query, without the `?`; empty if there is none.
    #[must_use]
    pub fn query(&self) -> &str {
        self.target().split_once('?').map_or("", |(_, query)| query)
    }

    /// The pairs of the query in their order, decoded: JavaScript's `handshake.query`, with the
    /// parameters that are the protocol's own among them. Of equal keys JavaScript has the last.
    /// Pairs beyond [`http::Query::MAX_PAIRS`] are left out.
    pub fn query_pairs(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        http::Query::pairs(self.query())
    }

    /// Whether the request named a page that it was for, by `Origin`: JavaScript's
    /// `handshake.xdomain`. Browsers name the page in requests to another origin and in websockets;
    /// programs that are no browsers rarely do.
    #[must_use]
    pub const fn xdomain(&self) -> bool {
        self.names_page
    }

    /// The decoded value of the query's last pair with this key.
    #[must_use]
    pub fn query_value(&self, key: &str) -> Option<String> {
        http::Query::new(self.query()).get(key).map(Cow::into_owned)
    }

    /// The value of the first header with this name, whatever its case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// All headers that are kept, in the order in which they came. Only those are whose values are
    /// UTF-8.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.ends.windows(3).step_by(2).map(|w| {
            let [start, middle, end] = [w[0] as usize, w[1] as usize, w[2] as usize];
            (&self.text[start..middle], &self.text[middle..end])
        })
    }
}

/// The fields whose values are text.
fn text_fields(headers: &http::Headers) -> impl Iterator<Item = (&str, &str)> {
    headers
        .iter()
        .filter_map(|(name, value)| Some((name, core::str::from_utf8(value).ok()?)))
}

/// Which fields a session keeps.
struct Kept {
    is_kept: Vec<bool>,
    fields: usize,
    bytes: usize,
    left_out: u32,
}

/// Chooses the fields that fit: first those that the config names, in its order, then the others in
/// theirs.
fn kept_fields(config: &Config, headers: &http::Headers) -> Kept {
    let fields: Vec<_> = text_fields(headers).collect();
    let cost = |(name, value): (&str, &str)| name.len() + value.len() + 2 * size_of::<u32>();
    let mut kept = Kept {
        is_kept: alloc::vec![false; fields.len()],
        fields: 0,
        bytes: 0,
        left_out: 0,
    };
    let all: usize = fields.iter().copied().map(cost).sum();
    let wanted = config.handshake_headers.iter().map(|name| Some(&**name));
    // The usual case: everything fits, and the order says nothing.
    let first = usize::from(all <= config.max_handshake_bytes) * config.handshake_headers.len();
    for name in wanted.chain([None]).skip(first) {
        for (at, field) in fields.iter().enumerate() {
            let is_meant = name.is_none_or(|name| field.0.eq_ignore_ascii_case(name));
            if !is_meant || kept.is_kept[at] || kept.bytes + cost(*field) > config.max_handshake_bytes {
                continue;
            }
            kept.is_kept[at] = true;
            kept.fields += 1;
            kept.bytes += cost(*field);
        }
    }
    kept.left_out = (fields.len() - kept.fields) as u32;
    kept
}

/// What a client says for itself when it asks for a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// Nothing.
    #[default]
    None,
    /// A JSON object, as the CONNECT of a client of 3.0 or later carried it.
    Payload(ByteString),
    /// Queries: that of the handshake, and this one of the CONNECT, raw and perhaps empty; of
    /// clients before 3.0. As an object they are [made](Auth::to_json) when somebody asks, because
    /// a client may send as many CONNECTs as it likes.
    Query(ByteString),
}

impl Auth {
    /// One JSON object, if anything was said. `handshake` is that of the session. Cheap unless the
    /// CONNECT had a query of its own: then the cost grows with the length of both queries, so ask
    /// where no lock is held.
    #[must_use]
    pub fn to_json(&self, handshake: &Handshake) -> Option<ByteString> {
        match self {
            Self::None => None,
            Self::Payload(payload) => Some(payload.clone()),
            Self::Query(own) if own.is_empty() => handshake.query_object.clone(),
            Self::Query(own) => query_object(&[handshake.query(), own], handshake.parameters),
        }
    }

    /// What is kept of it for the socket, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Payload(text) | Self::Query(text) => text.len(),
        }
    }
}

/// The pairs of raw queries as one JSON object, without the keys that are the protocol's own;
/// `None` if nothing is left. Of equal keys the last one counts.
pub(crate) fn query_object(queries: &[&str], without: &[&str]) -> Option<ByteString> {
    let queries: Vec<_> = queries.iter().map(|query| http::Query::new(*query)).collect();
    let pairs = queries.iter().flat_map(http::Query::iter);
    let mut pairs: Vec<_> = pairs.filter(|(key, _)| !without.contains(&&**key)).collect();
    if pairs.is_empty() {
        return None;
    }
    // Stable: equal keys stay in their order.
    pairs.sort_by(|(key, _), (other, _)| key.cmp(other));
    let mut object = BytesMut::with_capacity(2 * queries.iter().map(|query| query.raw().len()).sum::<usize>());
    let mut pairs = pairs.iter().peekable();
    while let Some((key, value)) = pairs.next() {
        if pairs.peek().is_some_and(|(next, _)| next == key) {
            continue;
        }
        object.put_u8(if object.is_empty() { b'{' } else { b',' });
        json::write_string(&mut object, key);
        object.put_u8(b':');
        json::write_string(&mut object, value);
    }
    object.put_u8(b'}');
    // In memory of its own, just as large as needed.
    ByteString::try_from(Bytes::copy_from_slice(&object)).ok()
}

impl fmt::Debug for Handshake {
    /// The path and the peer; headers and query may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.target().split('?').next().unwrap_or_default();
        f.debug_struct("Handshake")
            .field("path", &http::Shown(path))
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}
