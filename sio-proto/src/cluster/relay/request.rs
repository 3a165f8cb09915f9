//! A request as the bytes that are passed on.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

use bytes::{BufMut, BytesMut};

use crate::http::{Method, Request};

/// The fields that are written anew, because the body is complete here: its length, and no wish for
/// permission to send it.
const REWRITTEN: [&str; 3] = ["content-length", "transfer-encoding", "expect"];

/// Appends a complete request to `out`, as the bytes of a connection. Returns false if it is none
/// that another node could answer: only `GET` and `POST` name a session, and a body that is too
/// large is not there.
///
/// The owner of the session reads these bytes with the same limits as any others.
pub fn encode_request(request: &Request, out: &mut BytesMut) -> bool {
    let (Method::Get | Method::Post, Some(method), Ok(body)) = (request.method, request.method.name(), &request.body)
    else {
        return false;
    };
    let fields = request.headers.iter();
    let lengths = fields.flat_map(|(name, value)| [name.len(), value.len(), 4]);
    let lengths = lengths.chain([method.len(), request.target.len(), body.len(), 64]);
    out.reserve(lengths.fold(0, usize::saturating_add));
    out.put_slice(method.as_bytes());
    out.put_u8(b' ');
    out.put_slice(request.target.as_bytes());
    out.put_slice(if request.version_minor == 0 {
        b" HTTP/1.0\r\n"
    } else {
        b" HTTP/1.1\r\n"
    });
    for (name, value) in request.headers.iter() {
        if REWRITTEN.iter().any(|rewritten| name.eq_ignore_ascii_case(rewritten)) {
            continue;
        }
        out.put_slice(name.as_bytes());
        out.put_slice(b": ");
        out.put_slice(value);
        out.put_slice(b"\r\n");
    }
    if request.method == Method::Post {
        out.put_slice(alloc::format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    out.put_slice(b"\r\n");
    out.put_slice(body);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Event, Limits, RequestDecoder};
    use alloc::string::String;
    use alloc::vec::Vec;
    use bytes::Bytes;

    fn read(bytes: &[u8]) -> Request {
        let mut bytes = BytesMut::from(bytes);
        let mut decoder = RequestDecoder::new();
        loop {
            match decoder.decode(&mut bytes, &Limits::default()) {
                Ok(Some(Event::Request(request))) => return request,
                Ok(Some(Event::Continue)) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_request_is_the_same_on_the_other_side() {
        for text in [
            "GET /socket.io/?EIO=4&transport=polling&sid=x HTTP/1.1\r\nHost: a\r\nCookie: b=c; d\r\nX: \u{e9}\r\n\r\n",
            "GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            "POST /x HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello",
            "GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        ] {
            let request = read(text.as_bytes());
            let mut out = BytesMut::new();
            assert!(encode_request(&request, &mut out));
            let again = read(&out);
            assert_eq!((again.method, &again.target), (request.method, &request.target));
            assert_eq!((again.exchange(), &again.body), (request.exchange(), &request.body));
            let fields = |request: &Request| {
                let names = request.headers.iter().filter(|(name, _)| *name != "Content-Length");
                names
                    .map(|(name, value)| (name.into(), value.to_vec()))
                    .collect::<Vec<(String, _)>>()
            };
            assert_eq!(fields(&again), fields(&request));
        }
    }

    #[test]
    fn a_body_in_chunks_gets_its_length() {
        let head = "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue";
        let request = read(alloc::format!("{head}\r\n\r\n2\r\nhi\r\n0\r\n\r\n").as_bytes());
        let mut out = BytesMut::new();
        assert!(encode_request(&request, &mut out));
        assert_eq!(out, "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    }

    #[test]
    fn what_names_no_session_is_not_passed_on() {
        for text in [
            "OPTIONS /x HTTP/1.1\r\nHost: a\r\n\r\n",
            "BREW /x HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            assert!(!encode_request(&read(text.as_bytes()), &mut BytesMut::new()), "{text}");
        }
        let mut large = read(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
        large.body = Err(crate::http::BodyTooLarge);
        assert!(!encode_request(&large, &mut BytesMut::new()));
        large.body = Ok(Bytes::new());
        assert!(encode_request(&large, &mut BytesMut::new()));
    }
}
