//! The last head of a connection, for a request whose head is the same.
//!
//! ```text
//!   GET /socket.io/?EIO=4&transport=polling&t=PrfXe2q&sid=… HTTP/1.1 CR LF Host: … CR LF CR LF
//!                                             ^^^^^^^ may be another text of the same length
//! ```
//! A client that polls sends the same head again and again. Only the value of `t`, which keeps
//! caches away, changes (docs/protocol/engine-io.md §1). So such a head is compared and not parsed.
//! The outcome is that of the parser: everything that it would find out stands at the same places.

use core::fmt;
use core::ops::Range;

use alloc::vec::Vec;
use bytes::BytesMut;
use bytestring::ByteString;

use super::body::Framing;
use super::head::RequestLine;
use super::headers::{Headers, is_token_byte};
use super::request::Request;
#[cfg(feature = "steps")]
use crate::holding::Holding;

/// A head, and what was found in it.
pub(super) struct Memo {
    head: Vec<u8>,
    /// Where the value of `t` stands.
    varies: Range<usize>,
    target: Range<usize>,
    line: RequestLine,
    headers: Headers,
    framing: Framing,
}

impl Memo {
    /// Remembers a head. `memory` is that of an older one.
    pub(super) fn new(
        head: &[u8],
        line: RequestLine,
        request: &Request,
        framing: Framing,
        mut memory: Vec<u8>,
    ) -> Self {
        memory.clear();
        memory.reserve_exact(head.len());
        memory.extend_from_slice(head);
        let target = line.target.range();
        Self {
            varies: varying(request.target.as_bytes(), target.start),
            target,
            head: memory,
            line,
            headers: request.headers.without_head(),
            framing,
        }
    }

    #[cfg(feature = "steps")]
    pub(super) fn holding(&self) -> Holding {
        let memory = self.head.capacity().saturating_add(size_of::<Self>());
        Holding::memory(memory).with([self.headers.bytes()])
    }

    /// Takes the memory of its head.
    pub(super) fn take_memory(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.head)
    }

    /// Whether `bytes` begin with this head, apart from the value of `t`.
    ///
    /// A head may hold the secret of a session, and behind a proxy the requests of a connection may
    /// be those of several clients. So it takes the same time wherever two heads differ.
    pub(super) fn fits(&self, bytes: &[u8]) -> bool {
        let Some(bytes) = bytes.get(..self.head.len()) else {
            return false;
        };
        step!(bulk bytes.len());
        let Range { start, end } = self.varies;
        let (Some(before), Some(value), Some(behind)) = (bytes.get(..start), bytes.get(start..end), bytes.get(end..))
        else {
            return false;
        };
        let difference = difference(before, self.head.get(..start).unwrap_or_default())
            | difference(behind, self.head.get(end..).unwrap_or_default());
        difference == 0 && value.iter().all(|byte| is_plain(*byte))
    }

    /// Takes the head off the front of `bytes`, which [fit](Self::fits).
    ///
    /// `None` takes nothing off. It is for a target that is no text, and a head with such a target
    /// does not fit.
    pub(super) fn take(&self, bytes: &mut BytesMut) -> Option<(Request, Framing)> {
        core::str::from_utf8(bytes.get(self.target.clone())?).ok()?;
        let head = bytes.split_to(self.head.len()).freeze();
        let target = head.slice(self.target.clone());
        let request = Request {
            method: self.line.method,
            target: ByteString::try_from(target).ok()?,
            version_minor: self.line.version_minor,
            headers: self.headers.with_head(head),
            body: Ok(bytes::Bytes::new()),
        };
        Some((request, self.framing))
    }
}

/// It shows no byte of the head: cookies, tokens and ids of sessions do not belong in a log.
impl fmt::Debug for Memo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memo")
            .field("bytes", &self.head.len())
            .field("framing", &self.framing)
            .finish_non_exhaustive()
    }
}

/// Bits that are set if two texts of the same length differ.
fn difference(a: &[u8], b: &[u8]) -> u8 {
    a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b))
}

/// Where the value of the first `t` of a target stands in the head, if it is plain. `start` is the
/// position of the target.
fn varying(target: &[u8], start: usize) -> Range<usize> {
    let nothing = start..start;
    let Some(path) = target.iter().position(|byte| *byte == b'?') else {
        return nothing;
    };
    let mut at = path.saturating_add(1);
    let query = target.get(at..).unwrap_or_default();
    for pair in query.split(|byte| *byte == b'&') {
        if let Some(value) = pair.strip_prefix(b"t=") {
            let begin = start.saturating_add(at).saturating_add(2);
            return match value.iter().all(|byte| is_plain(*byte)) {
                true => begin..begin.saturating_add(value.len()),
                false => nothing,
            };
        }
        at = at.saturating_add(pair.len()).saturating_add(1);
    }
    nothing
}

/// Whether a byte stands for itself in the value of a query, and ends nothing.
const fn is_plain(byte: u8) -> bool {
    is_token_byte(byte) && !matches!(byte, b'&' | b'%' | b'+' | b'#')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::decode::RequestDecoder;
    use crate::http::{Event, HttpError, Limits};
    use alloc::format;
    use alloc::string::String;
    use proptest::prelude::*;

    /// Reads everything, and counts the heads that were not parsed.
    fn read(stream: &[u8], limits: &Limits) -> (Vec<Result<Event, HttpError>>, usize) {
        let (mut decoder, mut bytes, mut events) = (RequestDecoder::new(), BytesMut::from(stream), Vec::new());
        let (mut repeated, mut last) = (0, None);
        loop {
            match decoder.decode(&mut bytes, limits) {
                Ok(None) => return (events, repeated),
                Ok(Some(event)) => {
                    let now = decoder.remembered();
                    if matches!(event, Event::Request(_)) {
                        repeated += usize::from(now.is_some() && now == last);
                        last = now.or(last);
                    }
                    events.push(Ok(event));
                }
                Err(error) => {
                    events.push(Err(error));
                    return (events, repeated);
                }
            }
        }
    }

    fn get(query: &str) -> String {
        format!("GET /a?{query} HTTP/1.1\r\nHost: a\r\nCookie: b=c\r\n\r\n")
    }

    #[test]
    fn a_head_that_comes_again_is_not_parsed() {
        for (queries, repeated) in [
            (["x", "x", "x", "x"], 2),
            (["t=1", "t=2", "t=3", "t=z"], 2),
            (["x=1&t=1&y", "x=1&t=2&y", "x=1&t=.&y", "x=1&t=-&y"], 2),
            // Not of the same length, another value, another key.
            (["t=1", "t=12", "t=123", "t=1234"], 0),
            (["x=1", "x=2", "x=3", "x=4"], 0),
            (["tt=1", "tt=2", "tt=3", "tt=4"], 0),
            (["sid=x?t=1", "sid=x?t=2", "sid=x?t=3", "sid=x?t=4"], 0),
            // Only the first `t` may change.
            (["t=1&t=1", "t=1&t=1", "t=2&t=1", "t=2&t=2"], 1),
            // These end the value, or are more than one character of it.
            (["t=1234", "t=1234", "t=1&34", "t=1%34"], 0),
            (["t=1", "t=1", "t=&", "t=+"], 0),
            (["t=%41", "t=%41", "t=%42", "t=%42"], 1),
        ] {
            let stream: String = queries.iter().map(|query| get(query)).collect();
            let (events, found) = read(stream.as_bytes(), &Limits::default());
            assert_eq!(found, repeated, "{queries:?}");
            for (event, query) in events.iter().zip(queries) {
                let Ok(Event::Request(request)) = event else {
                    panic!("{query}: {event:?}")
                };
                assert_eq!(request.query(), query);
                assert_eq!(request.headers.get("cookie"), Some(&b"b=c"[..]));
                assert_eq!(request.headers.get("host"), Some(&b"a"[..]));
            }
            assert_eq!(events.len(), queries.len());
        }
    }

    #[test]
    fn larger_heads_are_not_remembered() {
        let (head, limits) = (get("x"), Limits::default());
        let stream = head.repeat(4);
        // Where the two fields stand takes 16 bytes each.
        let bytes = head.len() + 32;
        for (most, repeated) in [(0, 0), (head.len(), 0), (bytes - 1, 0), (bytes, 2)] {
            let (events, found) = read(stream.as_bytes(), &limits.max_remembered_head_bytes(most));
            assert_eq!((events.len(), found), (4, repeated), "{most} bytes");
        }
        // Many short fields are a small head, and much to remember.
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "a:\r\n".repeat(99));
        for (most, repeated) in [(head.len() + 1_600 - 1, 0), (head.len() + 1_600, 2)] {
            let (events, found) = read(head.repeat(4).as_bytes(), &limits.max_remembered_head_bytes(most));
            assert_eq!((events.len(), found), (4, repeated), "{most} bytes");
        }
    }

    #[test]
    fn a_remembered_head_is_not_shown() {
        let mut decoder = RequestDecoder::new();
        let mut bytes = BytesMut::from(get("sid=secret").repeat(2).as_bytes());
        for _ in 0..2 {
            assert!(matches!(decoder.decode(&mut bytes, &Limits::default()), Ok(Some(_))));
        }
        assert!(decoder.remembered().is_some());
        let shown = format!("{decoder:?}");
        for secret in ["secret", "b=c", "[71, 69, 84"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    #[test]
    fn handshakes_and_last_requests_are_not_remembered() {
        let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        let last = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        for head in [upgrade, last] {
            let mut decoder = RequestDecoder::new();
            let mut bytes = BytesMut::from(format!("{}{head}", get("x")).as_bytes());
            for _ in 0..2 {
                assert!(matches!(decoder.decode(&mut bytes, &Limits::default()), Ok(Some(_))));
            }
            assert_eq!(decoder.remembered(), None, "{head}");
        }
    }

    const PARTS: [&str; 14] = [
        "GET /a?t=1&b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a?t=2&b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a?t=&&b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a?t= &b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a?t=1&c HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a?t=1&b HTTP/1.0\r\nHost: a\r\n\r\n",
        "GET /a?t=1&b HTTP/1.1\r\nHOST: a\r\n\r\n",
        "POST /a?t=1&b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        "POST /a?t=2&b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nxyz",
        "POST /a?t=2&b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        "POST /a?t=2&b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nxyz",
        "HEAD /a?t=1&b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a/a?t=1&b HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\n",
    ];

    proptest! {
        #![proptest_config(crate::cases::usually(3000))]

        /// Whatever came before on a connection, a request is what it is on a connection of its
        /// own.
        #[test]
        fn no_head_is_taken_for_another(
            parts in proptest::collection::vec((0..PARTS.len(), 1..4_usize), 1..8),
            damage in proptest::option::of((any::<prop::sample::Index>(), any::<u8>())),
        ) {
            let stream: String = parts.iter().map(|(part, times)| PARTS[*part].repeat(*times)).collect();
            let mut stream = stream.into_bytes();
            if let Some((at, byte)) = damage {
                let at = at.index(stream.len());
                stream[at] = byte;
            }
            let remembering = read(&stream, &Limits::default()).0;
            let (parsed, repeated) = read(&stream, &Limits::default().max_remembered_head_bytes(0));
            prop_assert_eq!(repeated, 0);
            prop_assert_eq!(remembering, parsed);
        }
    }
}
