//! Which messages are refused, and with which status: the tables behind "one reading" (see the
//! parent module).
//!
//! Every case is fed once as a whole and once byte by byte, and both give the same outcome.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::decode::tests::{feed_both_ways, requests};
use super::{Event, HttpError, Limits};

/// Heads that break one rule each. A head that begins with `+` stands behind `POST / HTTP/1.1` and
/// a good `Host`.
#[test]
fn broken_heads_are_refused() {
    let cases: &[(&[u8], HttpError, u16)] = &[
        // start line
        (b"\n", HttpError::BareLf, 400),
        (b"\r\n\r\n", HttpError::EmptyLines, 400),
        (b"\r\n\n", HttpError::BareLf, 400),
        (b" GET / HTTP/1.1\r\n", HttpError::InvalidMethod, 400),
        (b"\x16\x03\x01\x02", HttpError::InvalidMethod, 400),
        (b"<policy-file-request/>\0", HttpError::InvalidMethod, 400),
        (b"G(T / HTTP/1.1\r\n", HttpError::InvalidMethod, 400),
        (b"GET\r\n", HttpError::InvalidTarget, 400),
        (b"GET  / HTTP/1.1\r\n", HttpError::InvalidTarget, 400),
        (b"GET /\x01 HTTP/1.1\r\n", HttpError::InvalidTarget, 400),
        (b"GET /\xff HTTP/1.1\r\n", HttpError::InvalidTarget, 400),
        (b"GET /\0 HTTP/1.1\r\n", HttpError::InvalidTarget, 400),
        (b"GET /\t HTTP/1.1\r\n", HttpError::InvalidTarget, 400),
        (b"GET /\r\n", HttpError::MissingVersion, 400),
        (b"GET / \r\n", HttpError::InvalidRequestLine, 400),
        (b"GET / x HTTP/1.1\r\n", HttpError::InvalidRequestLine, 400),
        (b"GET / HTTP/1.1 \r\n", HttpError::InvalidRequestLine, 400),
        (b"GET / HTTP/1.10\r\n", HttpError::InvalidRequestLine, 400),
        (b"GET / http/1.1\r\n", HttpError::InvalidRequestLine, 400),
        (b"GET / HTTP/1.1\n", HttpError::BareLf, 400),
        (b"GET / HTTP/1.1\r\r\n", HttpError::BareCr, 400),
        (b"GET /\rHost: a HTTP/1.1\r\n", HttpError::BareCr, 400),
        (b"GET / HTTP/0.9\r\n", HttpError::UnsupportedVersion, 505),
        (b"GET / HTTP/1.2\r\n", HttpError::UnsupportedVersion, 505),
        (b"GET / HTTP/2.0\r\n", HttpError::UnsupportedVersion, 505),
        (b"GET / HTTP/2\r\n", HttpError::UnsupportedVersion, 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HttpError::Http2Preface, 505),
        // header lines
        (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", HttpError::ObsFold, 400),
        (b"+X: a\r\n folded\r\n\r\n", HttpError::ObsFold, 400),
        (b"+X: a\r\n\t\r\n\r\n", HttpError::ObsFold, 400),
        (b"+X: a\n\r\n", HttpError::BareLf, 400),
        (b"+X: a\r\n\n", HttpError::BareLf, 400),
        (b"+X: a\rY: b\r\n\r\n", HttpError::BareCr, 400),
        (b"+X: a\r\r\n\r\n", HttpError::BareCr, 400),
        (b"+\rX: a\r\n\r\n", HttpError::BareCr, 400),
        (b"+X : a\r\n\r\n", HttpError::WhitespaceBeforeColon, 400),
        (b"+Content-Length\t: 1\r\n\r\n", HttpError::WhitespaceBeforeColon, 400),
        (b"+: a\r\n\r\n", HttpError::InvalidHeaderName, 400),
        (b"+X\r\n\r\n", HttpError::InvalidHeaderName, 400),
        (b"+X Y: a\r\n\r\n", HttpError::InvalidHeaderName, 400),
        (b"+X\0: a\r\n\r\n", HttpError::InvalidHeaderName, 400),
        (b"+X\xc3\xa9: a\r\n\r\n", HttpError::InvalidHeaderName, 400),
        (b"+X(): a\r\n\r\n", HttpError::InvalidHeaderName, 400),
        (b"+X: a\0b\r\n\r\n", HttpError::InvalidHeaderValue, 400),
        (b"+X: a\x0bb\r\n\r\n", HttpError::InvalidHeaderValue, 400),
        (
            b"+X: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\x7f\r\n\r\n",
            HttpError::InvalidHeaderValue,
            400,
        ),
        (b"+X: \x1b[31m\r\n\r\n", HttpError::InvalidHeaderValue, 400),
        // Host
        (b"GET / HTTP/1.1\r\n\r\n", HttpError::MissingHost, 400),
        (b"+host: a\r\n\r\n", HttpError::RepeatedHost, 400),
        (
            b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
            HttpError::RepeatedHost,
            400,
        ),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", HttpError::InvalidHost, 400),
        (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", HttpError::InvalidHost, 400),
        (b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", HttpError::InvalidHost, 400),
        (b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", HttpError::InvalidHost, 400),
        // Content-Length
        (b"+Content-Length:\r\n\r\n", HttpError::InvalidContentLength, 400),
        (b"+Content-Length: +1\r\n\r\n", HttpError::InvalidContentLength, 400),
        (b"+Content-Length: -1\r\n\r\n", HttpError::InvalidContentLength, 400),
        (b"+Content-Length: 1 1\r\n\r\n", HttpError::InvalidContentLength, 400),
        (b"+Content-Length: 0x1\r\n\r\n", HttpError::InvalidContentLength, 400),
        (b"+Content-Length: 1, 1\r\n\r\n", HttpError::InvalidContentLength, 400),
        (
            b"+Content-Length: 18446744073709551616\r\n\r\n",
            HttpError::InvalidContentLength,
            400,
        ),
        (
            b"+Content-Length: 1\r\ncontent-length: 1\r\n\r\n",
            HttpError::RepeatedContentLength,
            400,
        ),
        (
            b"+Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
            HttpError::RepeatedContentLength,
            400,
        ),
        // Transfer-Encoding
        (
            b"+Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            HttpError::LengthWithTransferEncoding,
            400,
        ),
        (
            b"+Transfer-Encoding: identity\r\nContent-Length: 1\r\n\r\n",
            HttpError::LengthWithTransferEncoding,
            400,
        ),
        (
            b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            HttpError::TransferEncodingInHttp10,
            400,
        ),
        (
            b"+Transfer-Encoding:\r\n\r\n",
            HttpError::UnsupportedTransferEncoding,
            501,
        ),
        (
            b"+Transfer-Encoding: xchunked\r\n\r\n",
            HttpError::UnsupportedTransferEncoding,
            501,
        ),
        (
            b"+Transfer-Encoding: identity\r\n\r\n",
            HttpError::UnsupportedTransferEncoding,
            501,
        ),
        (
            b"+Transfer-Encoding: gzip, chunked\r\n\r\n",
            HttpError::UnsupportedTransferEncoding,
            501,
        ),
        (
            b"+Transfer-Encoding: chunked, chunked\r\n\r\n",
            HttpError::UnsupportedTransferEncoding,
            501,
        ),
        (
            b"+Transfer-Encoding: chunked;q=1\r\n\r\n",
            HttpError::UnsupportedTransferEncoding,
            501,
        ),
        (
            b"+Transfer-Encoding: \"chunked\"\r\n\r\n",
            HttpError::UnsupportedTransferEncoding,
            501,
        ),
        (
            b"+Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
            HttpError::UnsupportedTransferEncoding,
            501,
        ),
        (b"+Transfer-Encoding: chunked\r\n\r\n5\nhello", HttpError::BareLf, 400),
    ];
    for (case, error, status) in cases {
        let mut input = Vec::new();
        let rest = case
            .strip_prefix(b"+")
            .inspect(|_| input.extend_from_slice(b"POST / HTTP/1.1\r\nHost: a\r\n"));
        input.extend_from_slice(rest.unwrap_or(case));
        let (events, _) = feed_both_ways(&input, &Limits::default());
        assert_eq!(events, [Err(*error)], "{}", case.escape_ascii());
        assert_eq!(error.status(), *status);
    }
}

#[test]
fn what_is_odd_but_legal_is_read() {
    for input in [
        &b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost:a\r\nX:\r\nY: \t\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: [::1]:3000\r\n\r\n",
        b"GET /caf\xc3\xa9 HTTP/1.1\r\nHost: a\r\nName: \xff\r\n\r\n",
        b"GET http://a/b?c HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /%zz//..;/ HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n",
        b"PROPFIND / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
    ] {
        assert_eq!(requests(input).len(), 1, "{}", input.escape_ascii());
    }
}

#[test]
fn heads_have_limits() {
    let head = |target: usize, headers: usize, filler: usize| {
        let mut text = format!("GET /{} HTTP/1.1\r\nHost: a\r\n", "t".repeat(target - 1));
        (1..headers).for_each(|i| text += &format!("h{i}:\r\n"));
        text + "X: " + &"x".repeat(filler) + "\r\n\r\n"
    };
    let base = head(10, 3, 0).len();
    let limits = Limits::default()
        .max_target_bytes(10)
        .max_headers(4)
        .max_head_bytes(base + 5);
    for (target, headers, filler, expected) in [
        (10, 3, 5, None),
        (10, 3, 6, Some((HttpError::HeadTooLarge, 431))),
        (10, 4, 0, Some((HttpError::TooManyHeaders, 431))),
        (11, 3, 0, Some((HttpError::TargetTooLong, 414))),
        (50, 3, 0, Some((HttpError::TargetTooLong, 414))),
        (500, 3, 0, Some((HttpError::TargetTooLong, 414))),
    ] {
        let (events, _) = feed_both_ways(head(target, headers, filler).as_bytes(), &limits);
        match (events.as_slice(), expected) {
            ([Ok(Event::Request(_))], None) => {}
            ([Err(error)], Some((wanted, status))) => assert_eq!((*error, error.status()), (wanted, status)),
            other => panic!("{other:?}"),
        }
    }
    // A line that never ends is refused when it reaches the limit, before its end.
    for (input, error) in [
        ("G".repeat(10 + 32), HttpError::TargetTooLong),
        (
            String::from("GET / HTTP/1.1\r\n") + &"x".repeat(base + 5 - 16),
            HttpError::HeadTooLarge,
        ),
    ] {
        assert_eq!(feed_both_ways(input.as_bytes(), &limits).0, [Err(error)]);
        let (less, _) = input.split_at(input.len() - 1);
        assert_eq!(feed_both_ways(less.as_bytes(), &limits).0, []);
    }
}

#[test]
fn a_smuggled_request_is_never_seen() {
    // Well-known attacks: two lengths, two codings, a hidden header, a body that looks like a
    // request.
    for input in [
        &b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 44\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let (events, _) = feed_both_ways(input, &Limits::default());
        assert!(matches!(events.as_slice(), [Err(_)]), "{}", input.escape_ascii());
    }
    let body = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";
    let input = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let [request] = requests(input.as_bytes()).try_into().expect("one request");
    assert_eq!(request.body.unwrap(), body);
}
