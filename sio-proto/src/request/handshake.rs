//! The part of a request that is kept with the session that the request opened.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::AtomicU32;

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;
use once_cell::race::OnceBox;

use super::Request;
use super::companion::Companion;
use super::packed::{NAMES, NOTHING, Packer, TARGETS, Unpacker, VALUES};
use crate::Config;
use crate::detect::Transport;
use crate::{Time, http, json};

/// The peer of a link, as far as the caller knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// The remote address, if there is one.
    pub address: Option<SocketAddr>,
    /// Whether the link is encrypted.
    pub secure: bool,
}

impl Peer {
    /// Whether the peer is on the same machine: its address is a loopback address, which the
    /// operating system gives to nobody else. The link was then accepted on a loopback address,
    /// too. False if the address is not known.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.address
            .is_some_and(|address| address.ip().to_canonical().is_loopback())
    }

    /// The network of the peer, which stands for one client: an IPv4 address, or the first 64 bits
    /// of an IPv6 address. A host has many IPv6 addresses and changes them.
    pub(crate) fn network(&self) -> Option<IpAddr> {
        Some(match self.address?.ip().to_canonical() {
            IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
            version_4 @ IpAddr::V4(_) => version_4,
        })
    }
}

/// A value of the caller that comes with a request, such as the result of a web framework's
/// middleware.
pub type Extension = Arc<dyn Any + Send + Sync>;

/// The generation of the wire that a session speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Generation {
    /// Plain messages, in any codec: Socket.IO 0.6 and before.
    Legacy06,
    /// The `/1/` wire of Socket.IO 0.7 to 0.9.
    Legacy09,
    /// Engine.IO 2 and 3: Socket.IO 1.x and 2.x.
    Engine3,
    /// Engine.IO 4: Socket.IO 3.x and 4.x.
    Engine4,
}

impl Generation {
    /// All generations, in the order of their releases.
    pub const ALL: [Self; 4] = [Self::Legacy06, Self::Legacy09, Self::Engine3, Self::Engine4];

    /// The releases of this generation, for people: `"0.6"`, `"1.x-2.x"`, `"4.x"`.
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

/// The transport of a session at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportKind {
    /// Long polling. Sessions of Engine.IO that poll with JSONP count here too, because Engine.IO
    /// treats both as one transport.
    Polling,
    /// Polling by scripts, in the generations where it is a separate transport: 0.6 to 0.9.
    JsonpPolling,
    /// An endless page of scripts, 0.6 to 0.9.
    Htmlfile,
    /// An endless multipart answer, 0.6.
    XhrMultipart,
    /// A websocket, of RFC 6455 or older. Sessions of Engine.IO on flashsocket count here too.
    WebSocket,
    /// A websocket that Flash opened, 0.6 to 0.9.
    Flashsocket,
}

impl TransportKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::Polling,
        Self::JsonpPolling,
        Self::Htmlfile,
        Self::XhrMultipart,
        Self::WebSocket,
        Self::Flashsocket,
    ];

    /// The name for operators: `"polling"`, `"jsonp-polling"`, `"htmlfile"`, `"xhr-multipart"`,
    /// `"websocket"`, `"flashsocket"`. For sessions of Engine.IO it is `"polling"` or
    /// `"websocket"`.
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

    /// Whether each answer needs a request. Between two requests the server then has no way to
    /// reach the client.
    pub(crate) const fn is_polling(self) -> bool {
        matches!(self, Self::Polling | Self::JsonpPolling)
    }
}

/// The reverse conversion. If several transports have one kind, the result is the transport of the
/// same name.
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

/// The part of a query that belongs to the protocol and not to the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parameters {
    /// All of it: the query is no credentials.
    All,
    /// The parameters of Engine.IO 3.
    Engine3,
    /// The parameters of a handshake of 0.7 to 0.9.
    Legacy09,
}

impl Parameters {
    /// The keys that belong to the protocol. Empty if no key is the application's.
    const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::All => &[],
            Self::Engine3 => &["EIO", "transport", "sid", "t", "j", "b64"],
            Self::Legacy09 => &["t", "jsonp", "disconnect"],
        }
    }
}

/// The part of a request that its session keeps: the target, and the header fields that fit into
/// [`Config::max_handshake_bytes`](crate::Config::max_handshake_bytes). They are copied out of the
/// receive buffer into one allocation, so that an idle session does not keep the buffer alive.
/// Names and values that many requests have take a byte or two there.
///
/// Header fields beyond the limit are left out as a whole, never cut ([`Handshake::left_out`]). The
/// fields of [`Config::handshake_headers`](crate::Config::handshake_headers) come first, so they
/// are left out last. The hook that decides about a request sees all fields.
pub struct Handshake {
    /// The sender's address; [`Handshake::left_out`] and [`Handshake::unix_time`]; the pairs of the
    /// query as a JSON object, for clients that have no other way to send credentials, or nothing;
    /// the target; and then each header's name and value ([`packed`](super::packed)).
    text: Box<str>,
    /// Which keys of the query are not an [`Auth`].
    parameters: Parameters,
    names_page: bool,
    is_secure: bool,
    has_address: bool,
    /// The time when the request came.
    pub issued: Time,
    /// The value of the caller that came with the request.
    pub extension: Option<Extension>,
    /// What the host counts and keeps for the session ([`HostSide`](super::HostSide)).
    pub(super) companion: OnceBox<Companion>,
    /// A number that the host keeps for the session. At first it is zero.
    pub(super) number: AtomicU32,
}

// Every session keeps one.
const _: () = assert!(size_of::<Handshake>() <= 56);

impl Handshake {
    /// The handshake of a session that was in another process: nothing of its request is known.
    #[must_use]
    pub fn unknown(issued: Time) -> Self {
        Self {
            text: Box::default(),
            parameters: Parameters::All,
            names_page: false,
            is_secure: false,
            has_address: false,
            issued,
            extension: None,
            companion: OnceBox::new(),
            number: AtomicU32::new(0),
        }
    }

    /// Copies the part of `request` that is kept. The keys of the query that do not belong to the
    /// protocol become the [object](Self::query_object).
    ///
    /// The cost grows with the length of the head, which [`http::Limits`] bound. So call it while
    /// no lock is held.
    pub(super) fn new(config: &Config, request: &Request, issued: Time, parameters: Parameters) -> Self {
        let Request {
            http, peer, extension, ..
        } = request;
        let target = &*http.target;
        let query = target.split_once('?').map_or("", |(_, query)| query);
        let object = match parameters {
            Parameters::All => None,
            Parameters::Engine3 | Parameters::Legacy09 => query_object(&[query], parameters.keys()),
        };
        let object = object.as_deref().unwrap_or_default();
        let kept = kept_fields(config, &http.headers);
        step!(bulk target.len());
        let mut text = Packer::new();
        text.push_address(peer.address);
        text.push_number(kept.left_out as usize);
        text.push_optional(request.unix_time);
        text.push(object, &NOTHING);
        text.push(target, &TARGETS);
        for (at, (name, value)) in http.headers.texts().enumerate() {
            if kept.has(at) {
                step!(bulk name.len().saturating_add(value.len()));
                text.push(name, &NAMES);
                text.push(value, &VALUES);
            }
        }
        Self {
            text: text.finish(),
            parameters,
            names_page: http.headers.known(http::Name::Origin).is_some(),
            is_secure: peer.secure,
            has_address: peer.address.is_some(),
            issued,
            extension: extension.clone(),
            companion: OnceBox::new(),
            number: AtomicU32::new(0),
        }
    }

    /// The bytes that it takes in memory, without the extension and what the companion holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>().saturating_add(self.text.len())
    }

    /// The sender.
    #[inline]
    #[must_use]
    pub fn peer(&self) -> Peer {
        Peer {
            address: if self.has_address { self.address() } else { None },
            secure: self.is_secure,
        }
    }

    fn address(&self) -> Option<SocketAddr> {
        Unpacker(&self.text).next_address()
    }

    /// The time when the request came, in seconds since the beginning of the year 1970, without
    /// leap seconds, if the caller has set it ([`Request::unix_time`]): JavaScript's
    /// `handshake.time`.
    #[must_use]
    pub fn unix_time(&self) -> Option<u64> {
        let mut texts = self.after_address();
        texts.next_number();
        texts.next_optional()
    }

    /// How many header fields are left out because they did not fit.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.after_address().next_number().unwrap_or_default()
    }

    /// The pairs of the query as one JSON object, without the keys that belong to the protocol. If
    /// a key is repeated, the last pair counts. `None` if there are no pairs, and for clients that
    /// send credentials with a CONNECT, or not at all: clients of 3.0 and later, and of 0.6.
    #[must_use]
    pub fn query_object(&self) -> Option<&str> {
        self.after_numbers().next(&NOTHING).filter(|object| !object.is_empty())
    }

    /// The request target as it came: path and query.
    #[must_use]
    pub fn target(&self) -> &str {
        self.after_object().next(&TARGETS).unwrap_or_default()
    }

    /// The raw query, without the `?`; empty if there is none.
    #[must_use]
    pub fn query(&self) -> &str {
        self.target().split_once('?').map_or("", |(_, query)| query)
    }

    /// The decoded pairs of the query in their order, including the parameters of the protocol:
    /// JavaScript's `handshake.query`. If a key is repeated, JavaScript has only the last value.
    /// Pairs beyond [`http::Query::MAX_PAIRS`] are left out.
    pub fn query_pairs(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        http::Query::pairs(self.query())
    }

    /// Whether the request named its page by `Origin`: JavaScript's `handshake.xdomain`. Browsers
    /// name the page in requests to another origin and in websockets. Other programs rarely do.
    #[must_use]
    pub const fn xdomain(&self) -> bool {
        self.names_page
    }

    /// The decoded value of the query's last pair with this key.
    #[must_use]
    pub fn query_value(&self, key: &str) -> Option<String> {
        http::Query::new(self.query()).get(key).map(Cow::into_owned)
    }

    /// The value of the first header with this name, compared without regard to case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// All headers that are kept, in the order in which they came. Headers whose values are not
    /// UTF-8 are not kept.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut texts = self.after_object();
        texts.next(&TARGETS);
        core::iter::from_fn(move || Some((texts.next(&NAMES)?, texts.next(&VALUES)?)))
    }

    /// The texts from the numbers on.
    fn after_address(&self) -> Unpacker<'_> {
        let mut texts = Unpacker(&self.text);
        texts.next(&NOTHING);
        texts
    }

    /// The texts from the object on.
    fn after_numbers(&self) -> Unpacker<'_> {
        let mut texts = self.after_address();
        texts.next_number();
        texts.next(&NOTHING);
        texts
    }

    /// The texts from the target on.
    fn after_object(&self) -> Unpacker<'_> {
        let mut texts = self.after_numbers();
        texts.next(&NOTHING);
        texts
    }
}

/// The fields that a session keeps, of those whose values are text.
#[derive(Default)]
struct Kept {
    /// For each of them whether it is kept. `None` if all are.
    is_kept: Option<Vec<bool>>,
    left_out: u32,
}

impl Kept {
    fn has(&self, at: usize) -> bool {
        self.is_kept
            .as_ref()
            .is_none_or(|is_kept| is_kept.get(at) == Some(&true))
    }
}

/// Chooses the fields that fit: first the fields that the config names, in its order, then the
/// others in their order.
fn kept_fields(config: &Config, headers: &http::Headers) -> Kept {
    // No field takes more here than there.
    if headers.bytes() <= config.max_handshake_bytes {
        return Kept::default();
    }
    let cost = |(name, value): (&str, &str)| {
        step!();
        let ends = size_of::<[u32; 2]>();
        name.len().saturating_add(value.len()).saturating_add(ends)
    };
    let all = headers.texts().map(cost).fold(0, usize::saturating_add);
    match all <= config.max_handshake_bytes {
        true => Kept::default(),
        false => chosen_fields(config, &headers.texts().collect::<Vec<_>>(), cost),
    }
}

/// Chooses among fields of which not all fit.
#[cold]
fn chosen_fields(config: &Config, fields: &[(&str, &str)], cost: impl Fn((&str, &str)) -> usize) -> Kept {
    let (mut is_kept, mut bytes) = (alloc::vec![false; fields.len()], 0_usize);
    let wanted = config.handshake_headers.iter().map(|name| Some(&**name));
    for name in wanted.chain([None]) {
        for (field, is_kept) in fields.iter().zip(&mut is_kept) {
            let is_meant = name.is_none_or(|name| field.0.eq_ignore_ascii_case(name));
            let with_field = bytes.saturating_add(cost(*field));
            if !is_meant || *is_kept || with_field > config.max_handshake_bytes {
                continue;
            }
            *is_kept = true;
            bytes = with_field;
        }
    }
    Kept {
        left_out: is_kept.iter().filter(|is_kept| !**is_kept).count() as u32,
        is_kept: Some(is_kept),
    }
}

/// The credentials of a client that asks for a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// No credentials.
    #[default]
    None,
    /// A JSON object, as the CONNECT of a client of 3.0 or later carried it.
    Payload(ByteString),
    /// Two queries of a client before 3.0: the query of the handshake, and this query of the
    /// CONNECT, which is raw and may be empty. They are [converted](Auth::to_json) to an object
    /// only when the application asks, because a client may send as many CONNECTs as it likes.
    Query(ByteString),
}

impl Auth {
    /// The credentials as one JSON object, if there are any. `handshake` belongs to the session.
    /// The call is cheap unless the CONNECT has a query. Then the cost grows with the length of
    /// both queries, so call it while no lock is held.
    #[must_use]
    pub fn to_json(&self, handshake: &Handshake) -> Option<ByteString> {
        match self {
            Self::None => None,
            Self::Payload(payload) => Some(payload.clone()),
            Self::Query(own) if own.is_empty() => handshake.query_object().map(ByteString::from),
            Self::Query(own) => query_object(&[handshake.query(), own], handshake.parameters.keys()),
        }
    }

    /// Bytes of it that are kept for the socket.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Payload(text) | Self::Query(text) => text.len(),
        }
    }
}

/// The pairs of raw queries as one JSON object, without the keys that belong to the protocol;
/// `None` if nothing is left. If a key is repeated, the last pair counts.
pub(crate) fn query_object(queries: &[&str], without: &[&str]) -> Option<ByteString> {
    let queries: Vec<_> = queries.iter().map(|query| http::Query::new(*query)).collect();
    let pairs = queries.iter().flat_map(http::Query::iter);
    let mut pairs: Vec<_> = pairs.filter(|(key, _)| !without.contains(&&**key)).collect();
    if pairs.is_empty() {
        return None;
    }
    // The sort is stable: equal keys stay in their order.
    pairs.sort_by(|(key, _), (other, _)| key.cmp(other));
    let raw = queries.iter().map(|query| query.raw().len());
    let mut object = BytesMut::with_capacity(raw.fold(0, usize::saturating_add).saturating_mul(2));
    let mut pairs = pairs.iter().peekable();
    while let Some((key, value)) = pairs.next() {
        step!(bulk key.len().saturating_add(value.len()));
        if pairs.peek().is_some_and(|(next, _)| next == key) {
            continue;
        }
        object.put_u8(if object.is_empty() { b'{' } else { b',' });
        json::write_string(&mut object, key);
        object.put_u8(b':');
        json::write_string(&mut object, value);
    }
    object.put_u8(b'}');
    // A copy in its own memory, exactly as large as needed.
    ByteString::try_from(Bytes::copy_from_slice(&object)).ok()
}

impl fmt::Debug for Handshake {
    /// Shows the path and the peer only: headers and query may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.target().split('?').next().unwrap_or_default();
        f.debug_struct("Handshake")
            .field("path", &http::Shown(path))
            .field("peer", &self.peer())
            .finish_non_exhaustive()
    }
}
