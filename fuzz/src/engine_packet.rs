//! Single Engine.IO packets of both revisions, text and binary.

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use sio_proto::engine::packet::{encode_base64, encode_binary};
use sio_proto::engine::{Packet, Revision};

/// See the [module](self).
pub fn engine_packet(data: &[u8]) {
    for revision in [Revision::V3, Revision::V4] {
        if let Ok(text) = ByteString::try_from(data)
            && let Ok(packet) = Packet::decode_text(revision, &text)
        {
            let mut written = BytesMut::new();
            packet.encode_text(revision, &mut written);
            let written = ByteString::try_from(written).expect("text");
            assert_eq!(Packet::decode_text(revision, &written), Ok(packet));
        }

        let bytes = Bytes::copy_from_slice(data);
        if let Ok(packet) = Packet::decode_binary(revision, bytes.clone()) {
            assert!(matches!(packet, Packet::Binary(_)), "only messages are binary");
        }
        let mut written = BytesMut::new();
        encode_binary(revision, data, &mut written);
        assert_eq!(Packet::decode_binary(revision, written.freeze()), Ok(Packet::Binary(bytes.clone())));
        let mut written = BytesMut::new();
        encode_base64(revision, data, &mut written);
        let written = ByteString::try_from(written).expect("base64 is text");
        assert_eq!(Packet::decode_text(revision, &written), Ok(Packet::Binary(bytes)));
    }
}
