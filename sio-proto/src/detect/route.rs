//! The input and the result of detection.

use crate::engine::Revision;
use crate::legacy::transports::Transport;

/// A part of a request target, given by its position. So a [`Route`] holds only numbers, and can be
/// kept beside its request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    start: u32,
    len: u32,
}

impl Part {
    /// The position of `part` in `target`. `part` must be a slice of `target`; otherwise the result
    /// is empty.
    pub(super) fn locate(target: &str, part: &[u8]) -> Self {
        let start = part.as_ptr().addr().wrapping_sub(target.as_ptr().addr());
        match (u32::try_from(start), u32::try_from(part.len())) {
            (Ok(at), Ok(len)) if start <= target.len() => Self { start: at, len },
            _ => Self::default(),
        }
    }

    /// The text of this part. `target` must be the target that detection looked at; otherwise the
    /// text is empty.
    #[must_use]
    pub fn of(self, target: &str) -> &str {
        let (start, len) = (self.start as usize, self.len as usize);
        target.get(start..start.saturating_add(len)).unwrap_or_default()
    }
}

/// The parts of a request that detection looks at.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestHead<'a> {
    /// The method, as it came.
    pub method: &'a str,
    /// The raw request target: path and query, nothing decoded or normalised.
    pub target: &'a str,
    /// Whether there is an `Upgrade` header that names `websocket`, in any case.
    pub upgrade: bool,
    /// The value of `Sec-WebSocket-Version`.
    pub websocket_version: Option<&'a str>,
    /// Whether there is a `Sec-WebSocket-Key`.
    pub websocket_key: bool,
    /// Whether there are both `Sec-WebSocket-Key1` and `Sec-WebSocket-Key2`.
    pub websocket_key_pair: bool,
}

/// The kind of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// A client file: its path below the prefix, which fits one of a closed set of patterns.
    Static(Part),
    /// Engine.IO, that is Socket.IO 1 and later.
    EngineIo(EngineIo),
    /// The bare prefix without a transport: 400, or `Welcome to socket.io.` as 0.9 answers.
    NotAProtocolRequest,
    /// Socket.IO 0.7-0.9.
    Legacy09(Legacy09),
    /// A protocol revision that never existed: 500 `Protocol version not supported.`
    UnknownProtocol,
    /// Socket.IO 0.3-0.6, or the streaming codec on the same URLs.
    Legacy06(Legacy06),
    /// No request of any generation: it belongs to the application.
    Foreign,
}

/// An Engine.IO request. The session table decides what is wrong with it, if anything, in the order
/// of docs/protocol/engine-io.md §4.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineIo {
    /// The `EIO` parameter.
    pub version: EngineVersion,
    /// The `transport` parameter.
    pub transport: EngineTransport,
    /// The session id, as it stands in the target; `None` also if it is empty. Genuine ids need no
    /// escapes, so an escaped id is an unknown id.
    pub sid: Option<Part>,
    /// The `j` parameter: answer as JSONP. It is raw and may be empty; the writer keeps only its
    /// digits.
    pub jsonp: Option<Part>,
    /// The peer cannot take binary (`b64` has a value).
    pub base64: bool,
    /// The handshake, if the request wants to become a websocket.
    pub upgrade: Option<Handshake>,
}

/// The value of `EIO`, compared as text: `04` is not 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineVersion {
    /// `4`: Socket.IO 3 and 4.
    V4,
    /// `3`: Socket.IO 1 and 2.
    V3,
    /// `2`: browsers with Socket.IO 1.0. The same wire as 3.
    V2,
    /// `1` or absent: before Socket.IO 1.0. The operator decides whether it is refused or treated
    /// as 2.
    Ancient,
    /// Anything else: error 5.
    Unsupported,
}

impl EngineVersion {
    /// The revision to speak, if the request names one.
    #[must_use]
    pub const fn revision(self) -> Option<Revision> {
        match self {
            Self::V4 => Some(Revision::V4),
            Self::V3 | Self::V2 => Some(Revision::V3),
            Self::Ancient | Self::Unsupported => None,
        }
    }
}

/// The value of `transport`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineTransport {
    /// `polling`
    Polling,
    /// `websocket`
    Websocket,
    /// `webtransport`, which is not spoken over plain HTTP: error 0.
    Webtransport,
    /// `flashsocket`, Socket.IO 1 only.
    Flashsocket,
    /// Anything else: error 0.
    Unknown,
}

/// A request of Socket.IO 0.7-0.9.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Legacy09 {
    /// The client wants a session.
    Handshake {
        /// The index after `jsonp=`: answer as a script.
        jsonp: Option<u64>,
        /// The id of a session that this request may disconnect. A proxy that merges slashes turns
        /// the beacon `1//SID/?disconnect` into a handshake request. If the id belongs to a known
        /// session, the request is the beacon.
        maybe_beacon_of: Option<Part>,
    },
    /// The client uses a session.
    Transport {
        /// The transport; never xhr-multipart.
        transport: Transport,
        /// The session id, as it stands in the target.
        session: Part,
        /// What the request asks for.
        exchange: Exchange,
        /// The callback index of a JSONP poll (`i=`); 0 if missing or not a number.
        index: u64,
    },
    /// The page goes away and tells the server, on any transport.
    Disconnect {
        /// The session id, as it stands in the target.
        session: Part,
    },
    /// A CORS preflight.
    Preflight,
    /// A malformed request: 400.
    Malformed,
}

/// A request of the 0.6 family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Legacy06 {
    /// The transport.
    pub transport: Transport,
    /// The session id, as it stands in the target; absent in the first request of a session.
    pub session: Option<Part>,
    /// `session` may be the timestamp of a first request whose `//` a proxy has merged. If it is
    /// not a known session, the request opens a new one.
    pub maybe_timestamp: bool,
    /// What the request asks for.
    pub exchange: Exchange,
    /// The callback index of a JSONP request. A JSONP request without an index is malformed: 400.
    pub index: Option<u64>,
}

/// The operation that a request of 0.3-0.9 asks its transport for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exchange {
    /// The connection becomes a websocket.
    Upgrade(Handshake),
    /// The client fetches the waiting packets once: a GET of a polling transport.
    Poll,
    /// The client opens a stream: a GET of htmlfile or xhr-multipart.
    Stream,
    /// The client sends data. The method decides, not the body: an empty POST sends data too.
    Send,
    /// A CORS preflight.
    Preflight,
    /// An upgrade on a transport that has none, or no upgrade on a transport that needs one: 400.
    Mismatch,
    /// A method that this wire does not have: 405.
    BadMethod,
}

/// The websocket handshake of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Handshake {
    /// RFC 6455, or the drafts 7 and 8, which differ from it only in the version number.
    Rfc6455,
    /// hixie-76: eight more bytes follow the head.
    Hixie76,
    /// hixie-75: no key at all.
    Hixie75,
    /// A key with a version that is not supported: 400 with `Sec-WebSocket-Version: 13`.
    Unsupported,
}
