//! The HTTP response decoder, which reads the answers of another server: the result does not depend
//! on how the bytes are cut.

use bytes::BytesMut;
use sio_proto::http::{
    BodyForm, Exchange, HttpError, Limits, Method, Response, ResponseDecoder, ResponseFraming, encode_chunk,
    encode_last_chunk, encode_response_head,
};

use crate::pieces::every_cut_is_the_same;

/// See the [module](self).
pub fn http_response(data: &[u8]) {
    let limits = Limits::default()
        .max_head_bytes(1024)
        .max_headers(16)
        .max_body_bytes(512)
        .max_chunk_extra_bytes(64);
    for method in [Method::Get, Method::Head] {
        let (responses, _) = every_cut_is_the_same(data, |more| read(more, method, &limits));
        for response in &responses {
            assert!(response.status >= 101);
            assert!(response.body.len() <= limits.max_body_bytes);
            assert!(response.headers.len() <= limits.max_headers);
            write_again(response);
        }
    }
}

fn read(
    more: &mut dyn FnMut(&mut BytesMut) -> bool,
    method: Method,
    limits: &Limits,
) -> (Vec<Response>, Result<(), HttpError>) {
    let (mut decoder, mut buffer, mut responses) = (ResponseDecoder::new(), BytesMut::new(), Vec::new());
    while more(&mut buffer) {
        loop {
            match decoder.decode(method, &mut buffer, limits) {
                Ok(Some(response)) => responses.push(response),
                Ok(None) => break,
                Err(error) => return (responses, Err(error)),
            }
        }
    }
    match decoder.decode_end(&buffer) {
        Ok(last) => {
            responses.extend(last);
            (responses, Ok(()))
        }
        Err(error) => (responses, Err(error)),
    }
}

/// Writes a response with a chunked body, as our server does for streams, and reads it again.
fn write_again(response: &Response) {
    let exchange = Exchange {
        is_head: false,
        version_minor: 1,
        keep_alive: true,
    };
    let mut out = BytesMut::new();
    let Ok(sent) = encode_response_head(&mut out, exchange, response.status, None, &[], ResponseFraming::Chunked) else {
        return;
    };
    let mut body = &response.body[..];
    match sent.body {
        BodyForm::None => body = &[],
        BodyForm::Chunked => {
            body.chunks(7).for_each(|chunk| encode_chunk(&mut out, chunk));
            encode_last_chunk(&mut out);
        }
        other => panic!("asked for chunks, got {other:?}"),
    }
    let again = ResponseDecoder::new().decode(Method::Get, &mut out, &Limits::default());
    match again {
        Ok(Some(again)) => assert_eq!((again.status, &again.body[..]), (response.status, body)),
        other => panic!("what we wrote was read as {other:?}"),
    }
}
