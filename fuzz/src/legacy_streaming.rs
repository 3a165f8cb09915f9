//! The streaming codec of 2011: the packets do not depend on how the bytes are cut, and can be
//! written and read again.

use bytes::BytesMut;
use bytestring::ByteString;
use sio_proto::legacy::streaming::{Decoder, Packet, StreamError};

use crate::pieces::text_pieces;

const MAX_LENGTH: usize = 256;
const MAX_PACKETS: usize = 4096;

/// See the [module](self).
pub fn legacy_streaming(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let whole = read([text]);
    let mut pieces = Vec::new();
    text_pieces(text, |piece| pieces.push(piece));
    assert_eq!(read(pieces), whole, "random pieces differ from the whole");
    if text.len() <= 512 {
        let single = text.char_indices().map(|(at, c)| &text[at..at + c.len_utf8()]);
        assert_eq!(read(single), whole, "single characters differ from the whole");
    }

    let mut written = BytesMut::new();
    whole.0.iter().for_each(|packet| packet.encode(&mut written));
    let written = ByteString::try_from(written).expect("text");
    assert_eq!(read([&*written]), (whole.0, Ok(()), true));

    // If a text can be read, the same text from a form can be read too, whether or not newlines
    // were repaired.
    let mut packets = Vec::new();
    let mut decoder = Decoder::new(MAX_LENGTH, MAX_PACKETS);
    let verdict = decoder.decode_jsonp(&ByteString::from(text), &mut packets);
    assert!(verdict.is_ok() || whole.1.is_err());
}

fn read<'a>(pieces: impl IntoIterator<Item = &'a str>) -> (Vec<Packet>, Result<(), StreamError>, bool) {
    let (mut decoder, mut packets) = (Decoder::new(MAX_LENGTH, MAX_PACKETS), Vec::new());
    for piece in pieces {
        if let Err(error) = decoder.decode(&ByteString::from(piece), &mut packets) {
            assert_eq!(decoder.decode(&ByteString::from("0:0:,"), &mut Vec::new()), Err(error), "an error is final");
            return (packets, Err(error), false);
        }
    }
    (packets, Ok(()), decoder.is_at_boundary())
}
