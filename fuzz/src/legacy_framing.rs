//! The `~m~` framing of 0.5 and 0.6.

use bytes::BytesMut;
use bytestring::ByteString;
use sio_proto::legacy::framing::{self, Frame, FramingError};

const MAX_FRAMES: usize = 16;

/// See the [module](self).
pub fn legacy_framing(data: &[u8]) {
    let Ok(payload) = ByteString::try_from(data) else { return };
    for decode in [framing::decode, framing::decode_jsonp] {
        let mut frames = vec![Frame::Text(ByteString::from_static("before"))];
        let verdict = decode(&payload, MAX_FRAMES, &mut frames);
        assert_eq!(frames.first(), Some(&Frame::Text(ByteString::from_static("before"))));
        let frames = &frames[1..];
        assert!(frames.len() <= MAX_FRAMES);
        if verdict == Err(FramingError::TooManyFrames) {
            assert_eq!(frames.len(), MAX_FRAMES);
        }
        let mut written = BytesMut::new();
        frames.iter().for_each(|frame| frame.encode(&mut written));
        let mut again = Vec::new();
        let written = ByteString::try_from(written).expect("text");
        assert_eq!(framing::decode(&written, MAX_FRAMES, &mut again), Ok(()));
        assert_eq!(again, frames);
    }
}
