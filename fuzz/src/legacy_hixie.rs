//! WebSocket before RFC 6455: frames, however the bytes are cut, and the keys of the handshake.

use bytes::BytesMut;
use sio_proto::legacy::hixie::{BODY_LEN, CLOSE, Decoder, Frame, HixieError, digest, write_text};

use crate::pieces::every_cut_is_the_same;

const MAX_FRAME_BYTES: usize = 64;

/// See the [module](self).
pub fn legacy_hixie(data: &[u8]) {
    let (frames, verdict) = every_cut_is_the_same(data, read);
    let mut written = BytesMut::new();
    for frame in &frames {
        match frame {
            Frame::Text(text) => {
                assert!(text.len() <= MAX_FRAME_BYTES);
                write_text(text, &mut written);
            }
            Frame::Close => written.extend_from_slice(CLOSE),
        }
    }
    if verdict.is_ok() {
        assert!(data.starts_with(&written), "there is one spelling");
    }

    let text = String::from_utf8_lossy(data);
    if let Some((key1, key2)) = text.split_once('\n') {
        let body = [b'x'; BODY_LEN];
        assert_eq!(digest(key1, key2, body).is_ok(), digest(key2, key1, body).is_ok());
    }
}

fn read(more: &mut dyn FnMut(&mut BytesMut) -> bool) -> (Vec<Frame>, Result<(), HixieError>) {
    let (mut decoder, mut buffer, mut frames) = (Decoder::new(MAX_FRAME_BYTES), BytesMut::new(), Vec::new());
    while more(&mut buffer) {
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(frame)) => {
                    assert_ne!(frames.last(), Some(&Frame::Close), "nothing comes after the end");
                    frames.push(frame);
                }
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.decode(&mut buffer), Err(error), "an error is final");
                    return (frames, Err(error));
                }
            }
        }
    }
    (frames, Ok(()))
}
