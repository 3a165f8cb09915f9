//! The HTTP request decoder: the events do not depend on how the bytes are cut, and each request
//! can be written and read again.

use bytes::BytesMut;
use sio_proto::http::{Event, HttpError, Limits, Request, RequestDecoder, encode_request};

use crate::pieces::every_cut_is_the_same;

fn limits() -> Limits {
    Limits::default()
        .max_head_bytes(1024)
        .max_target_bytes(256)
        .max_headers(16)
        .max_body_bytes(512)
        .max_chunk_extra_bytes(64)
}

/// See the [module](self).
pub fn http_request(data: &[u8]) {
    let limits = limits();
    let (events, verdict, rest) = every_cut_is_the_same(data, |more| read(more, &limits));
    for event in &events {
        if let Event::Request(request) = event {
            check(request, &limits);
        }
    }
    assert!(verdict.is_ok() || rest.is_empty(), "nothing is kept of a broken stream");
}

/// Returns all events, the final result, and the bytes that are left for the next decoder.
fn read(more: &mut dyn FnMut(&mut BytesMut) -> bool, limits: &Limits) -> (Vec<Event>, Result<(), HttpError>, Vec<u8>) {
    let (mut decoder, mut buffer, mut events) = (RequestDecoder::new(), BytesMut::new(), Vec::new());
    while more(&mut buffer) {
        loop {
            match decoder.decode(&mut buffer, limits) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => {
                    assert!(decoder.is_finished());
                    let mut later = BytesMut::from(&b"GET / HTTP/1.1\r\n\r\n"[..]);
                    assert_eq!(decoder.decode(&mut later, limits), Err(error), "an error is final");
                    return (events, Err(error), Vec::new());
                }
            }
        }
        if let Some(head) = decoder.take_started() {
            assert!(decoder.take_started().is_none(), "told once");
            assert_eq!(head.body.map(|body| body.len()), Ok(0));
        }
    }
    (events, Ok(()), buffer.to_vec())
}

fn check(request: &Request, limits: &Limits) {
    assert!(request.target.len() <= limits.max_target_bytes);
    // A target in absolute form names the host, and may be the only one that does.
    assert!(request.headers.len() <= limits.max_headers + 1);
    assert_eq!(request.compact(), *request);
    let Ok(body) = &request.body else { return };
    assert!(body.len() <= limits.max_body_bytes);

    let ours = ["host", "content-length", "transfer-encoding", "expect"];
    let headers: Option<Vec<(&str, &str)>> = request
        .headers
        .iter()
        .filter(|(name, _)| !ours.iter().any(|our| name.eq_ignore_ascii_case(our)))
        .map(|(name, value)| Some((name, std::str::from_utf8(value).ok()?)))
        .collect();
    let Some(headers) = headers else { return };
    let host = request.headers.text("host").unwrap_or_default();
    let mut written = BytesMut::new();
    let body = (!body.is_empty()).then_some(&body[..]);
    if encode_request(&mut written, request.method, &request.target, &host, &headers, body).is_err() {
        return;
    }
    match RequestDecoder::new().decode(&mut written, &Limits::default()) {
        Ok(Some(Event::Request(again))) => {
            assert_eq!((again.method, &again.target), (request.method, &request.target));
            assert_eq!(again.body, request.body);
            for (name, value) in headers {
                assert!(again.headers.get_all(name).any(|other| other == value.as_bytes()), "{name} is lost");
            }
        }
        other => panic!("what we wrote was read as {other:?}"),
    }
}
