//! What goes into detection, and what comes out.

use crate::engine::Revision;
use crate::legacy::transports::Transport;

/// A part of a request target, by its place in it. So a [`Route`] keeps nothing but numbers of its
/// request, and can be kept beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    start: u32,
    len: u32,
}

impl Part {
    /// Where `part`, which must be a slice of `target`, stands in it. A part that is not yields an
    /// empty one.
    pub(super) fn locate(target: &str, part: &[u8]) -> Self {
        let start = part.as_ptr().addr().wrapping_sub(target.as_ptr().addr());
        match (u32::try_from(start), u32::try_from(part.len())) {
            (Ok(at), Ok(len)) if start <= target.len() => Self { start: at, len },
            _ => Self::default(),
        }
    }

    /// The part of `target` that this names; empty if `target` is another than the one that was
    /// looked at.
    #[must_use]
    pub fn of(self, target: &str) -> &str {
        let (start, len) = (self.start as usize, self.len as usize);
        target.get(start..start.saturating_add(len)).unwrap_or_default()
    }
}

/// What detection looks at in a request.
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

/// What a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// A file of the client's: its path below the prefix, one of a closed set of patterns.
    Static(Part),
    /// Engine.IO, that is Socket.IO 1 and later.
    EngineIo(EngineIo),
    /// The bare prefix without a transport: 400, or the `Welcome to socket.io.` that 0.9 gives.
    NotAProtocolRequest,
    /// Socket.IO 0.7-0.9.
    Legacy09(Legacy09),
    /// A protocol revision that never was: 500 `Protocol version not supported.`
    UnknownProtocol,
    /// Socket.IO 0.3-0.6, or the streaming codec on the same URLs.
    Legacy06(Legacy06),
    /// None of ours: the application's own.
    Foreign,
}

/// An Engine.IO request. What is wrong with it, if anything, is for the session table to say, in
/// the order of docs/protocol/engine-io.md §4.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineIo {
    /// The `EIO` parameter.
    pub version: EngineVersion,
    /// The `transport` parameter.
    pub transport: EngineTransport,
    /// The session id, as it stands in the target; absent also when empty. Genuine ids need no
    /// escapes, so an escaped one is an unknown one.
    pub sid: Option<Part>,
    /// The `j` parameter: answer as JSONP. Raw, possibly empty; the writer keeps its digits only.
    pub jsonp: Option<Part>,
    /// The peer cannot take binary (`b64` has a value).
    pub base64: bool,
    /// The handshake, if the request wants to become a websocket.
    pub upgrade: Option<Handshake>,
}

/// The value of `EIO`, compared as text: `04` is no 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineVersion {
    /// `4`: Socket.IO 3 and 4.
    V4,
    /// `3`: Socket.IO 1 and 2.
    V3,
    /// `2`: browsers with Socket.IO 1.0. The same wire as 3.
    V2,
    /// `1` or absent: before Socket.IO 1.0. Refused, or taken for 2, as the operator likes.
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
    /// Wants a session.
    Handshake {
        /// The index after `jsonp=`: answer as a script.
        jsonp: Option<u64>,
        /// A proxy that merges slashes turns the beacon `1//SID/?disconnect` into this: if that is
        /// a known session, it is the beacon.
        maybe_beacon_of: Option<Part>,
    },
    /// Uses a session.
    Transport {
        /// By which transport; never xhr-multipart.
        transport: Transport,
        /// The session id, as it stands in the target.
        session: Part,
        /// What it asks for.
        exchange: Exchange,
        /// The callback index of a JSONP poll (`i=`); 0 if missing or not a number.
        index: u64,
    },
    /// The page goes away and says so, by whatever transport.
    Disconnect {
        /// The session id, as it stands in the target.
        session: Part,
    },
    /// A CORS preflight.
    Preflight,
    /// 400.
    Malformed,
}

/// A request of the 0.6 family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Legacy06 {
    /// By which transport.
    pub transport: Transport,
    /// The session id, as it stands in the target; absent in the first request of a session.
    pub session: Option<Part>,
    /// `session` may really be the timestamp of a first request whose `//` a proxy has merged: if
    /// it is not a known session, this is a new one.
    pub maybe_timestamp: bool,
    /// What it asks for.
    pub exchange: Exchange,
    /// The callback index of a JSONP request. Without one a JSONP request is malformed: 400.
    pub index: Option<u64>,
}

/// What a request of 0.3-0.9 asks its transport for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exchange {
    /// Become a websocket.
    Upgrade(Handshake),
    /// Give what there is, once: a GET of a polling transport.
    Poll,
    /// Open a stream: a GET of htmlfile or xhr-multipart.
    Stream,
    /// Take data. The method decides, not the body: an empty POST is one.
    Send,
    /// A CORS preflight.
    Preflight,
    /// An upgrade where none can be, or none where there must be one: 400.
    Mismatch,
    /// No method of this wire: 405.
    BadMethod,
}

/// Which websocket handshake a request makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Handshake {
    /// RFC 6455, or the drafts 7 and 8 that differ from it in nothing but the version number.
    Rfc6455,
    /// hixie-76: eight more bytes follow the head.
    Hixie76,
    /// hixie-75: no key at all.
    Hixie75,
    /// A key with a version nobody speaks: 400 with `Sec-WebSocket-Version: 13`.
    Unsupported,
}
