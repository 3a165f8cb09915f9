//! The server's reading side: bytes to requests.
//!
//! ```text
//!            head complete,                body complete
//!            body wanted          +------+
//!   +------+ -------------------> | Body | --+
//!   | Head |                      +------+   |
//!   +------+ ------------------------------> + Request --- may go on ----------> Head
//!      |     head complete,                  |        --- close, or too large -> Over       (the rest is dropped)
//!      |     no body                         |        --- websocket upgrade ---> Upgraded   (the rest is left alone)
//!      +---- any error ----------------------+---------------------------------> Failed
//! ```
//!
//! An incomplete head stays in the caller's buffer, so that the complete head can be a slice of
//! this buffer. An incomplete body moves into the decoder. An idle decoder owns no memory.

use alloc::boxed::Box;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use super::body::{BodyReader, Framing};
use super::error::{BodyTooLarge, HttpError};
use super::head::{Head, HeadReader, RequestLine};
use super::known::Name;
use super::limits::Limits;
use super::memo::Memo;
use super::method::Method;
use super::request::Request;
#[cfg(feature = "steps")]
use crate::holding::Holding;

/// The result of a [`RequestDecoder`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "it is taken apart where it is made")]
pub enum Event {
    /// The peer waits for permission to send its body (`Expect: 100-continue`): write
    /// [`CONTINUE`](super::CONTINUE).
    ///
    /// This event comes at most once before a request. It does not come if the body is empty, or is
    /// known to be too large.
    Continue,
    /// A complete request.
    Request(Request),
}

/// Reads the requests of one connection, in order.
///
/// Call [`decode`](Self::decode) until it returns `None`, then append the next bytes of the peer.
/// Pipelined requests come one by one. A caller that stops asking makes the peer wait.
#[derive(Debug, Default)]
pub struct RequestDecoder {
    state: State,
    /// The last head, if it is remembered.
    memo: Option<Box<Memo>>,
    /// How many heads have been remembered. The number tells them apart.
    memos: u32,
    /// Whether the last request has the head that is remembered.
    is_remembered: bool,
    /// Whether a request has come.
    begun: bool,
}

#[derive(Debug)]
enum State {
    Head(HeadReader<RequestLine>),
    /// Boxed: few requests have a body, and few bodies come in several pieces.
    Body(Box<Pending>),
    /// No request may follow.
    Over,
    /// What follows is not HTTP.
    Upgraded,
    Failed(HttpError),
}

/// Every connection has one decoder, also while it is idle.
const _: () = assert!(size_of::<RequestDecoder>() <= 96);

impl Default for State {
    fn default() -> Self {
        Self::Head(HeadReader::default())
    }
}

/// A request whose body is still arriving.
#[derive(Debug)]
struct Pending {
    request: Request,
    body: BodyReader,
    told: bool,
}

impl RequestDecoder {
    /// A decoder for a new connection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What is kept of a request whose body is not complete, and of the head that is remembered.
    #[cfg(feature = "steps")]
    pub(crate) fn holding(&self) -> Holding {
        let memo = self.memo.as_ref().map_or_else(Holding::default, |memo| memo.holding());
        let pending = match &self.state {
            State::Body(pending) => Holding::memory(size_of_val(&**pending)),
            State::Head(_) | State::Over | State::Upgraded | State::Failed(_) => Holding::default(),
        };
        memo.and(pending).with([self.held_bytes()])
    }

    /// How many bytes are kept of a request whose body is not complete.
    pub(crate) fn held_bytes(&self) -> usize {
        match &self.state {
            State::Body(pending) => {
                let request = &pending.request;
                let head = request.target.len().saturating_add(request.headers.bytes());
                pending.body.held_bytes().saturating_add(head)
            }
            State::Head(_) | State::Over | State::Upgraded | State::Failed(_) => 0,
        }
    }

    /// Takes the next event off the front of `bytes`. Returns `None` if more bytes are needed.
    ///
    /// Between two calls, bytes may only be appended to the bytes that are left in the buffer.
    /// After a websocket upgrade, all further bytes stay in the buffer for the next decoder. After
    /// the last request of a connection (`Connection: close`, or a body that was too large), all
    /// further bytes are dropped. So the caller may go on reading until the peer has seen the
    /// answer. The limits have to be the same each time: a head that is remembered is not compared
    /// with them again.
    ///
    /// # Errors
    ///
    /// The peer broke HTTP or a limit. Every later call returns the same error.
    pub fn decode(&mut self, bytes: &mut BytesMut, limits: &Limits) -> Result<Option<Event>, HttpError> {
        let outcome = match &mut self.state {
            State::Head(reader) => {
                if let Some(memo) = &self.memo
                    && reader.is_fresh()
                    && memo.fits(bytes)
                    && let Some((request, framing)) = memo.take(bytes)
                {
                    self.is_remembered = true;
                    self.read_body(request, framing, bytes, limits)
                } else {
                    match reader.read(bytes, limits) {
                        Ok(None) => return Ok(None),
                        Ok(Some(head)) => self.begin(head, bytes, limits),
                        Err(error) => Err(error),
                    }
                }
            }
            State::Body(pending) => match pending.body.read(bytes, limits).transpose() {
                None => return Ok(None),
                Some(body) => {
                    let State::Body(pending) = core::mem::take(&mut self.state) else {
                        return Ok(None);
                    };
                    self.end(pending.request, body)
                }
            },
            State::Upgraded => return Ok(None),
            State::Over => {
                bytes.clear();
                return Ok(None);
            }
            State::Failed(error) => {
                bytes.clear();
                return Err(*error);
            }
        };
        if let Err(error) = outcome {
            self.state = State::Failed(error);
        }
        outcome
    }

    /// The head of a request whose body is still arriving. Each such request is returned once.
    pub fn take_started(&mut self) -> Option<Request> {
        match &mut self.state {
            State::Body(pending) => {
                let told = core::mem::replace(&mut pending.told, true);
                (!told).then(|| pending.request.clone())
            }
            State::Head(_) | State::Over | State::Upgraded | State::Failed(_) => None,
        }
    }

    /// The head of a request whose body is still arriving.
    pub(crate) fn started(&self) -> Option<&Request> {
        match &self.state {
            State::Body(pending) => Some(&pending.request),
            State::Head(_) | State::Over | State::Upgraded | State::Failed(_) => None,
        }
    }

    /// Whether the decoder stands between two requests. If the buffer is empty too, the connection
    /// may end here without loss, and a peer that sends nothing here is not slow.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        matches!(&self.state, State::Head(reader) if reader.is_fresh())
    }

    /// Whether the head is complete and the body is not.
    #[must_use]
    pub const fn is_reading_body(&self) -> bool {
        matches!(self.state, State::Body(_))
    }

    /// Whether no more requests will come, whatever the peer sends.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        matches!(self.state, State::Over | State::Upgraded | State::Failed(_))
    }

    /// The head is complete: finds out which body follows.
    fn begin(
        &mut self,
        head: Head<RequestLine>,
        bytes: &mut BytesMut,
        limits: &Limits,
    ) -> Result<Option<Event>, HttpError> {
        self.is_remembered = false;
        let line @ RequestLine {
            method,
            target,
            version_minor,
        } = head.start;
        let target = head.bytes.slice_ref(target.of(&head.bytes));
        let mut request = Request {
            method,
            target: ByteString::try_from(target).map_err(|_| HttpError::InvalidTarget)?,
            version_minor,
            headers: head.headers,
            body: Ok(Bytes::new()),
        };
        let framing = Framing::of_request(version_minor, &request.headers)?;
        if !request.target.starts_with('/') {
            request.take_origin_form();
            check_form(&request)?;
        } else if self.begun && request.headers.bytes() <= limits.max_remembered_head_bytes && request.keep_alive() {
            self.remember(&head.bytes, line, &request, framing);
        }
        self.begun = true;
        self.read_body(request, framing, bytes, limits)
    }

    /// Remembers a head for the next request.
    fn remember(&mut self, head: &[u8], line: RequestLine, request: &Request, framing: Framing) {
        let memory = self.memo.as_mut().map(|memo| memo.take_memory()).unwrap_or_default();
        let memo = Memo::new(head, line, request, framing, memory);
        match &mut self.memo {
            Some(place) => **place = memo,
            None => self.memo = Some(Box::new(memo)),
        }
        self.memos = self.memos.wrapping_add(1);
        self.is_remembered = true;
    }

    /// The number of the head of the last request, if it is remembered. The same number stands for
    /// the same head, apart from the value of `t` in its target.
    pub(crate) fn remembered(&self) -> Option<u32> {
        self.is_remembered.then_some(self.memos)
    }

    /// The head is known: the body follows.
    ///
    /// A request is some hundred bytes, so the functions that pass it on are put together. So it is
    /// moved less often.
    #[inline(always)]
    fn read_body(
        &mut self,
        mut request: Request,
        framing: Framing,
        bytes: &mut BytesMut,
        limits: &Limits,
    ) -> Result<Option<Event>, HttpError> {
        let version_minor = request.version_minor;
        let mut body = match BodyReader::new(framing, limits) {
            Ok(body) if body.is_empty() => return Ok(Some(self.complete(request))),
            Ok(body) => body,
            Err(too_large) => {
                request.body = Err(too_large);
                return Ok(Some(self.complete(request)));
            }
        };
        let expects = request.headers.known(Name::Expect).is_some();
        if expects && version_minor >= 1 && request.headers.has_token("expect", "100-continue") {
            self.wait(&request, body);
            return Ok(Some(Event::Continue));
        }
        match body.read(bytes, limits).transpose() {
            Some(body) => self.end(request, body),
            None => {
                self.wait(&request, body);
                Ok(None)
            }
        }
    }

    /// The body is not complete yet. A peer can make this last long, so the head is copied and the
    /// read buffer is released.
    fn wait(&mut self, request: &Request, body: BodyReader) {
        self.state = State::Body(Box::new(Pending {
            request: request.compact(),
            body,
            told: false,
        }));
    }

    /// The body has ended, with or without an error.
    fn end(&mut self, mut request: Request, body: Result<Bytes, HttpError>) -> Result<Option<Event>, HttpError> {
        request.body = match body {
            Ok(body) => Ok(body),
            Err(HttpError::BodyTooLarge) => Err(BodyTooLarge),
            Err(error) => return Err(error),
        };
        Ok(Some(self.complete(request)))
    }

    #[inline(always)]
    fn complete(&mut self, request: Request) -> Event {
        self.state = if request.keep_alive() {
            State::default()
        } else if request.body.is_ok() && request.is_upgrade("websocket") {
            State::Upgraded
        } else {
            State::Over
        };
        Event::Request(request)
    }
}

/// Checks a target that is no path (RFC 9112 §3.2). `*` asks about the server as a whole, and only
/// `OPTIONS` may do this. A URI of a scheme that is not served is allowed: it is a valid target,
/// although nothing is served there.
fn check_form(request: &Request) -> Result<(), HttpError> {
    let scheme = || request.target.split_once("://").map(|(scheme, _)| scheme.as_bytes());
    let is_sound = match &*request.target {
        "*" => request.method == Method::Options,
        target if target.starts_with('/') => true,
        // If a URI of a served scheme is still in absolute form here, it has no host, or an invalid
        // host.
        _ => scheme().is_some_and(|scheme| {
            !scheme.is_empty()
                && scheme.iter().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b))
                && !["http", "https", "ws", "wss"]
                    .iter()
                    .any(|ours| scheme.eq_ignore_ascii_case(ours.as_bytes()))
        }),
    };
    is_sound.then_some(()).ok_or(HttpError::InvalidTarget)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::http::Method;
    use alloc::format;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    /// Everything that a connection yields when its bytes come in these pieces, and the bytes that
    /// are left in the buffer.
    fn feed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, limits: &Limits) -> (Vec<Result<Event, HttpError>>, Bytes) {
        let (mut decoder, mut bytes, mut events) = (RequestDecoder::new(), BytesMut::new(), Vec::new());
        for piece in pieces {
            bytes.extend_from_slice(piece);
            loop {
                match decoder.decode(&mut bytes, limits) {
                    Ok(None) => break,
                    Ok(Some(event)) => events.push(Ok(event)),
                    Err(error) => {
                        assert!(decoder.is_finished());
                        assert_eq!(decoder.decode(&mut bytes, limits), Err(error), "errors stay");
                        events.push(Err(error));
                        return (events, Bytes::new());
                    }
                }
            }
        }
        (events, bytes.freeze())
    }

    pub(in crate::http) fn feed_both_ways(input: &[u8], limits: &Limits) -> (Vec<Result<Event, HttpError>>, Bytes) {
        let whole = feed([input], limits);
        assert_eq!(feed(input.chunks(1), limits), whole, "{}", input.escape_ascii());
        whole
    }

    pub(in crate::http) fn requests(input: &[u8]) -> Vec<Request> {
        let (events, rest) = feed_both_ways(input, &Limits::default());
        assert_eq!(rest, b""[..]);
        events
            .into_iter()
            .map(|event| match event {
                Ok(Event::Request(request)) => request,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn requests_come_out_in_order() {
        let all = requests(
            b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: localhost\r\n\r\n\
              POST /socket.io/?sid=x HTTP/1.1\r\nhost: localhost\r\nContent-Length: 3\r\n\r\n4hi\r\n\
              POST /b HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\n4h\r\n1;x=y\r\ni\r\n0\r\n\r\n\
              OPTIONS * HTTP/1.0\r\nConnection: keep-alive\r\n\r\n\
              get //a HTTP/1.1\r\nHost:\r\nconnection: close\r\n\r\n\
              GET /never HTTP/1.1\r\nHost: a\r\n\r\n",
        );
        let seen: Vec<_> = all
            .iter()
            .map(|r| (r.method, &*r.target, r.version_minor, r.body.clone().unwrap()))
            .collect();
        assert_eq!(
            seen,
            [
                (Method::Get, "/socket.io/?EIO=4&transport=polling", 1, Bytes::new()),
                (Method::Post, "/socket.io/?sid=x", 1, Bytes::from("4hi")),
                (Method::Post, "/b", 1, Bytes::from("4hi")),
                (Method::Options, "*", 0, Bytes::new()),
                (Method::Other, "//a", 1, Bytes::new()),
            ]
        );
    }

    #[test]
    fn a_body_over_the_limit_leaves_the_request_to_be_answered() {
        let limits = Limits::default().max_body_bytes(5);
        for (fields, bodies) in [
            ("Content-Length: 6", &["", "123456", "123456GET / HTTP/1.1\r\n\r\n"][..]),
            ("Content-Length: 6\r\nExpect: 100-continue", &["", "123456"]),
            ("Content-Length: 18446744073709551615", &["", "x"]),
            (
                "Transfer-Encoding: chunked",
                &["6\r\n", "6\r\n123456\r\n0\r\n\r\n", "3\r\n123\r\n3\r\n"],
            ),
        ] {
            for body in bodies {
                let input = format!("POST /socket.io/?sid=1 HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{body}");
                let (events, rest) = feed_both_ways(input.as_bytes(), &limits);
                let [Ok(Event::Request(request))] = events.as_slice() else {
                    panic!("{input:?}: {events:?}");
                };
                assert_eq!(request.body, Err(BodyTooLarge));
                assert_eq!(request.query(), "sid=1");
                assert!(!request.exchange().keep_alive);
                assert_eq!(rest, b""[..], "the rest is dropped");
            }
        }
        let exact = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345";
        assert!(matches!(&feed_both_ways(exact, &limits).0[..], [Ok(Event::Request(r))] if r.body.is_ok()));
    }

    #[test]
    fn leave_to_continue_is_asked_once() {
        let input = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-Continue\r\n\r\nhi\
                      POST / HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi";
        let (events, _) = feed_both_ways(input, &Limits::default());
        assert!(matches!(
            events.as_slice(),
            [Ok(Event::Continue), Ok(Event::Request(_)), Ok(Event::Request(_))]
        ));
    }

    #[test]
    fn what_follows_an_upgrade_is_left_alone() {
        let upgrade = b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
                        Connection: Upgrade\r\n\r\n";
        let mut bytes = BytesMut::from(&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..]);
        bytes.extend_from_slice(upgrade);
        bytes.extend_from_slice(b"\x81\x85GET / HTTP/1.1\r\n\r\n");
        let mut decoder = RequestDecoder::new();
        for expected in [false, true] {
            let Ok(Some(Event::Request(request))) = decoder.decode(&mut bytes, &Limits::default()) else {
                panic!("a request");
            };
            assert_eq!(request.is_upgrade("websocket"), expected);
            assert_eq!(decoder.is_finished(), expected);
        }
        for _ in 0..2 {
            assert_eq!(decoder.decode(&mut bytes, &Limits::default()), Ok(None));
            assert_eq!(bytes, b"\x81\x85GET / HTTP/1.1\r\n\r\n"[..]);
        }
    }

    #[test]
    fn a_request_in_one_piece_is_not_copied() {
        let mut bytes = BytesMut::from(&b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"[..]);
        let range = bytes.as_ptr_range();
        let Ok(Some(Event::Request(request))) = RequestDecoder::new().decode(&mut bytes, &Limits::default()) else {
            panic!("a request");
        };
        for part in [
            request.target.as_bytes().as_ref(),
            request.headers.get("host").unwrap(),
            &request.body.unwrap(),
        ] {
            assert!(range.contains(&part.as_ptr()));
        }
    }

    #[test]
    fn idleness_is_told_from_waiting() {
        let (mut decoder, mut bytes, limits) = (RequestDecoder::new(), BytesMut::new(), Limits::default());
        for (piece, idle) in [
            ("", true),
            ("G", false),
            ("ET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
            ("\r\n", true),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nh", false),
            ("i", true),
        ] {
            bytes.extend_from_slice(piece.as_bytes());
            while decoder.decode(&mut bytes, &limits).unwrap().is_some() {}
            assert_eq!(decoder.is_idle(), idle, "{piece:?}");
        }
        assert!(bytes.is_empty());
    }

    const STREAM: &[&[u8]] = &[
        b"GET /a?b=c HTTP/1.1\r\nHost: a\r\nCookie: x\r\n\r\n",
        b"\r\nPOST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n0123456789\n",
        b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nt: u\r\n\r\n",
        b"POST /d HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc",
        b"GET /e HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        b"POST /f HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n",
        b"GET /g HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x00",
        b"GET /h HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ];

    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![12 => 0..5usize, 1 => 5..STREAM.len()];
        let damage = proptest::collection::vec(
            (
                any::<prop::sample::Index>(),
                prop_oneof![Just(b'\r'), Just(b'\n'), Just(b' '), Just(b':'), any::<u8>()],
            ),
            0..3,
        );
        (proptest::collection::vec(part, 1..6), damage).prop_map(|(parts, damage)| {
            let mut bytes: Vec<u8> = parts.into_iter().flat_map(|i| STREAM[i].iter().copied()).collect();
            for (at, byte) in damage {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes
        })
    }

    fn small_limits() -> impl Strategy<Value = Limits> {
        (20..200usize, 5..40usize, 1..5usize, 0..40usize, 0..10usize).prop_map(
            |(head, target, headers, body, extra)| {
                Limits::default()
                    .max_head_bytes(head)
                    .max_target_bytes(target)
                    .max_headers(headers)
                    .max_body_bytes(body)
                    .max_chunk_extra_bytes(extra)
            },
        )
    }

    proptest! {
        #![proptest_config(crate::cases::usually(1500))]

        /// The module promises that the result does not depend on where the bytes are split, for
        /// good streams and for damaged streams.
        #[test]
        fn any_split_gives_the_same(
            input in stream(),
            limits in prop_oneof![Just(Limits::default()), small_limits()],
            mut cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let whole = feed([&input[..]], &limits);
            let mut at: Vec<usize> = cuts.drain(..).map(|cut| cut.index(input.len() + 1)).collect();
            at.extend([0, input.len()]);
            at.sort_unstable();
            prop_assert_eq!(&feed(at.windows(2).map(|w| &input[w[0]..w[1]]), &limits), &whole);
            prop_assert_eq!(&feed(input.chunks(1), &limits), &whole);
        }

        #[test]
        fn no_bytes_make_it_panic(input in proptest::collection::vec(any::<u8>(), 0..300)) {
            feed_both_ways(&input, &Limits::default());
            let mut after = STREAM[2][..60].to_vec();
            after.extend_from_slice(&input);
            feed_both_ways(&after, &Limits::default());
        }
    }
}
